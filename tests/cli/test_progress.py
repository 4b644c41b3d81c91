"""Long commands: what they show, and how they are interrupted."""

import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, func, select, update
from typer.testing import CliRunner

from rheostat import cli
from rheostat import service as use_cases
from rheostat.cli import progress
from rheostat.cli.progress import ProgressLine, interruptible
from rheostat.service import Service
from rheostat.service.operations import Progress
from rheostat.storage import retention
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from rheostat.storage.steps import Steps
from rheostat.storage.tables import jobs, observations, policy_states, trials
from tests.domain.examples import JOB
from tests.service.examples import predict, register, report
from tests.serving import operate


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with a trial that reported often and ended long ago, and a deleted job whose row is still there."""
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    database = Database(url)
    upgrade(database)
    service = Service.of(database)
    register(service, "deleted")
    use_cases.delete_job(service, "deleted", force=True).result()
    register(service, max_epochs=100)
    trial = predict(service)
    for epoch in range(1, 21):
        report(service, trial, epoch, metric=0.95 if epoch == 20 else 0.1)
    long_ago = datetime.now(UTC) - timedelta(days=9)
    database.write(lambda connection: connection.execute(update(trials).values(ended_at=long_ago)))
    service.close()
    return url


def _left(url: str) -> tuple[int, int]:
    database = Database(url)
    left = database.read(
        lambda connection: (
            connection.execute(select(func.count()).select_from(jobs)).scalar_one(),
            connection.execute(select(func.count()).select_from(observations)).scalar_one(),
        )
    )
    database.close()
    return left


def _interrupting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process what Ctrl-C sends, in the middle of every step."""
    take = Steps.take

    def interrupted(self: Steps, work: Callable[[Connection], int]) -> int:
        signal.raise_signal(signal.SIGINT)
        return take(self, work)

    monkeypatch.setattr(Steps, "take", interrupted)


def test_a_prune_deletes_reports_and_what_is_left_of_deleted_jobs(url: str) -> None:
    assert operate(url, "db", "prune", "--keep-days", "1") == "deleted 19 reports\n"
    assert _left(url) == (1, 1)


def test_a_job_is_deleted_with_its_rows(url: str) -> None:
    operate(url, "jobs", "delete", JOB)  # takes along the other one's
    assert _left(url) == (0, 0)


def test_a_prune_that_is_interrupted_says_how_to_go_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operate(url, "db", "prune", "--keep-days", "100")
    monkeypatch.setattr(retention, "_LOOKED_AT", 10)
    with monkeypatch.context() as patched:
        _interrupting(patched)
        done = CliRunner().invoke(cli.app, ["db", "prune", "--keep-days", "1", "--database-url", url])
    assert (done.exit_code, done.stdout) == (130, "deleted 10 reports\n")
    assert "run the same command again" in done.stderr
    assert _left(url) == (1, 10)
    assert operate(url, "db", "prune", "--keep-days", "1") == "deleted 9 reports\n"


def test_a_deletion_that_is_interrupted_is_done_all_the_same(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        _interrupting(patched)
        done = CliRunner().invoke(cli.app, ["jobs", "delete", JOB, "--database-url", url])
    assert (done.exit_code, done.stdout) == (0, f"{JOB}: deleted\n")
    assert "deletes the rest" in done.stderr
    assert operate(url, "jobs", "list") == ""
    assert _left(url)[1] > 0
    operate(url, "db", "prune", "--keep-days", "1")
    assert _left(url) == (0, 0)


def test_an_upgrade_says_how_many_jobs_are_derived(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(url)
    is_sum = policy_states.c.part == "totals"
    database.write(lambda connection: connection.execute(delete(policy_states).where(is_sum)))
    database.close()
    monkeypatch.setattr(progress, "_FILE_SECONDS", 0.0)
    done = CliRunner().invoke(cli.app, ["db", "upgrade", "--database-url", url])
    assert (done.exit_code, done.stderr) == (0, "deriving states of an older version: 1 jobs done, 100%\n")


def test_the_first_signal_is_noted_and_the_second_does_what_it_did_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("on_terminal", "shown"),
    [
        (True, "\rdeleting reports: 1 deleted, 25%\033[K\rdeleting reports: 2 deleted\033[K\n"),
        (False, "deleting reports: 1 deleted, 25%\ndeleting reports: 2 deleted\n"),
    ],
)
def test_progress_is_one_line_on_a_terminal_and_plain_lines_elsewhere(
    on_terminal: bool, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal)
    monkeypatch.setattr(progress, "_TERMINAL_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_FILE_SECONDS", 0.0)
    with ProgressLine("deleting reports") as line:
        line.show(Progress(1, 0.25))
        line.show(Progress(2))
    assert capsys.readouterr().err == shown


def test_what_takes_no_time_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("deleting reports") as line:
        line.show(Progress(1, 0.25))
    assert capsys.readouterr().err == ""


def test_no_command_takes_the_namespace_of_deleted_jobs(url: str) -> None:
    done = CliRunner().invoke(cli.app, ["jobs", "list", "--namespace", "/deleted", "--database-url", url])
    assert done.exit_code == 1
    assert "'/deleted' is not a valid namespace." in str(done.exception)
