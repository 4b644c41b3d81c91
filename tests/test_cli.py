"""The commands that look into a database without a server, and at what waits for one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rheostat import JobSettings, cli
from rheostat.errors import RheostatError
from rheostat.schemas.trials import ObserveRequest
from rheostat.sdk.server import observe_request, register_job_request
from rheostat.sdk.spool import RequestQueue, spool_files
from tests.serving import SETTINGS, V100, operate, serving
from tests.waiting import PATIENCE_SECONDS


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rheostat", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one job that has run once."""
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log") as server:
        server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        run = {"batch_size": 32, "gpu": V100, "energy_joules": 100.0, "time_seconds": 1.0, "converged": True}
        server.client.post("/v1/jobs/nightly/observe", json=run).raise_for_status()
    return url


def test_jobs_are_listed_shown_and_rebuilt(url: str) -> None:
    assert run_command("jobs", "list", "--database-url", url).stdout == "nightly\t0 trials\tpolicy rheostat\n"
    shown = json.loads(run_command("jobs", "show", "nightly", "--database-url", url).stdout)
    assert shown["savings"]["placements"][0]["converged_runs"] == 0  # its run was not asked for
    assert "rebuilt from 1 observation\n" in run_command("jobs", "rebuild", "nightly", "--database-url", url).stdout


def test_settings_are_changed_and_the_job_deleted(url: str) -> None:
    changes = (
        "max-epochs=99",
        "target=accuracy>=0.97",
        "batch_sizes=8,16,32,64,128,512",
        "beta_knob=null",
        "policy=zeus",
    )
    changed = json.loads(operate(url, "jobs", "set", "nightly", *changes).partition(": ")[2])
    assert (changed["max_epochs"], changed["target"]["value"], changed["policy"]) == (99, 0.97, "zeus")
    assert (changed["batch_sizes"], changed["beta_knob"]) == ([8, 16, 32, 64, 128, 512], None)
    for wrong, why in (
        ("max_epochs", "setting=value"),
        ("seed=1", "seed: no setting that can be changed"),
        ("max_epochs=soon", "max_epochs"),
    ):
        refused = run_command("jobs", "set", "nightly", wrong, "--database-url", url)
        assert (refused.returncode, why in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)
    bare = run_command("jobs", "set", "nightly", "target=0.95", "--database-url", url)
    assert (bare.returncode, "Write it as 'target=accuracy>=0.95'." in " ".join(bare.stderr.split())) == (1, True)
    assert operate(url, "jobs", "delete", "nightly") == "nightly: deleted\n"
    assert operate(url, "jobs", "list") == ""


def test_a_job_is_pinned_paused_and_forced(url: str) -> None:
    def control() -> object:
        return json.loads(operate(url, "jobs", "show", "nightly"))["job"]["control"]

    pinned = operate(url, "jobs", "pin", "nightly", "64", "--power-limit", "200", "--reason", "as in the paper")
    assert "rheostat jobs unpin nightly" in pinned
    operate(url, "jobs", "pause", "nightly")
    operate(url, "jobs", "force", "nightly", "32")
    known = control()
    assert isinstance(known, dict)
    assert (known["pin"]["power_limit_watts"], known["force"]["batch_size"]) == (200, 32)
    operate(url, "jobs", "unpin", "nightly")
    operate(url, "jobs", "resume", "nightly")
    operate(url, "jobs", "force", "nightly", "--cancel")
    assert control() is None
    assert "Batch size 7 is not among" in run_command("jobs", "pin", "nightly", "7", "--database-url", url).stderr


def test_runs_of_before_are_imported_once(url: str, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("run,batch_size,gpu_model,gpu_count,energy_joules\nfirst,32,V100,4,100\nsecond,64,V100,4,90\n")
    for _ in range(2):
        done = run_command("jobs", "import", str(file), "--job", "nightly", "--database-url", url)
        assert done.stdout == "nightly: 2 runs are recorded\n", done.stderr
    assert "rebuilt from 3 observations" in run_command("jobs", "rebuild", "nightly", "--database-url", url).stdout
    file.write_text("batch_size,gpu_model,energy_joules\n32,V100,much\n")
    refused = run_command("jobs", "import", str(file), "--job", "nightly", "--database-url", url)
    assert (refused.returncode, "line 2, column energy_joules" in refused.stderr) == (1, True)


def test_a_plain_table_of_past_runs_is_imported_into_a_job_that_a_file_registers(tmp_path: Path) -> None:
    url, table, job = f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "past.csv", tmp_path / "job.toml"
    table.write_text("batch_size,epochs,metric,energy_joules,time_seconds\n32,10,0.95,800,4\n64,12,0.5,900,3\n")
    command = ("jobs", "import", str(table), "--job", "nightly", "--gpu-model", "V100", "--database-url", url)
    unknown = run_command(*command)
    assert (unknown.returncode, "--config job.toml" in unknown.stderr) == (1, True)
    job.write_text(
        "batch_sizes = [32, 64]\ndefault_batch_size = 32\nmax_epochs = 20\n"
        "[target]\nmetric = 'accuracy'\nvalue = 0.9\ndirection = 'maximize'\n"
    )
    for _ in range(2):
        done = run_command(*command, "--config", str(job))
        assert done.stdout == "nightly: 2 runs are recorded\n", done.stderr
    (placement,) = json.loads(operate(url, "jobs", "show", "nightly"))["estimates"]["placements"]
    assert (placement["gpu"]["model"], [arm["runs"] for arm in placement["arms"]]) == ("V100", [1, 1])


def test_jobs_of_another_namespace_are_reached_by_its_name(url: str) -> None:
    assert operate(url, "jobs", "list", "--namespace", "vision") == ""
    with pytest.raises(AssertionError, match="no job 'nightly'"):
        operate(url, "jobs", "rebuild", "nightly", "--namespace", "vision")
    assert "nightly" in operate(url, "jobs", "list", "--namespace", "default")


def test_a_job_that_is_not_there_is_an_error_in_words(url: str) -> None:
    missing = run_command("jobs", "show", "weekly", "--database-url", url)
    assert missing.returncode == 1
    assert "no job 'weekly'" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_the_schema_is_upgraded_and_its_status_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    before = run_command("db", "status", "--database-url", url)
    assert (before.returncode, "schema: empty" in before.stdout) == (1, True)
    upgraded = run_command("db", "upgrade", "--database-url", url).stdout
    head = upgraded.removeprefix("schema: empty -> ")
    assert upgraded != head
    assert run_command("db", "upgrade", "--database-url", url).stdout == f"schema: already at {head}"
    assert run_command("db", "status", "--database-url", url).returncode == 0


def test_what_waits_for_a_server_is_listed_and_sent(tmp_path: Path, spool: Path) -> None:
    job = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=10)
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        here, away = str(server.client.base_url).rstrip("/"), "http://127.0.0.1:9"
        for url in (here, away):
            queue = RequestQueue(url, spool)
            queue.append(register_job_request("nightly", job))
            queue.close()
        listed = run_command("spool", "list").stdout.splitlines()
        assert sorted(line.split("\t", 1)[1] for line in listed) == sorted(f"1 report\t{url}" for url in (here, away))
        sent = run_command("spool", "send", "--server", here)
        assert (sent.returncode, sent.stdout.splitlines()[0]) == (0, f"sent 1 of 1 report to {here}")
        assert f"1 report waits for {away}, where no server answers." in sent.stdout
        assert f"rheostat spool send --from {away} --to {here}\n" in sent.stdout
        unsent = run_command("spool", "send", "--server", away)
        assert (unsent.returncode, unsent.stdout.splitlines()[0]) == (1, f"sent 0 of 1 report to {away}")
        assert "A report still waits: " in unsent.stderr
        assert f"rheostat spool send --from {away} --to ADDRESS\n" in unsent.stdout
        assert server.client.get("/v1/jobs/nightly").status_code == 200


def test_after_a_server_has_moved_what_waits_is_sent_to_its_new_address(tmp_path: Path, spool: Path) -> None:
    job = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=10)
    report = ObserveRequest(epoch=1.0, metric=0.5, time_seconds=1.0)
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        here, old, other = str(server.client.base_url).rstrip("/"), "http://127.0.0.1:9", "http://127.0.0.1:10"
        for url, request in ((old, register_job_request("nightly", job)), (other, observe_request("0" * 32, report))):
            queue = RequestQueue(url, spool)
            queue.append(request)
            queue.close()
        sent = run_command("spool", "send", "--from", f"{old}/", "--to", here)
        assert (sent.returncode, sent.stdout.splitlines()[0]) == (0, f"sent 1 of 1 report to {here}")
        assert server.client.get("/v1/jobs/nightly").status_code == 200
        # What another server's trial is told is not lost here.
        rest = run_command("spool", "send", "--to", here)
        assert (rest.returncode, rest.stdout) == (1, f"sent 0 of 1 report to {here}\n")
        assert "A report still waits: There is no trial" in rest.stderr
        assert [left.url for left in spool_files(spool)] == [other]


def test_what_waits_for_another_server_that_answers_is_sent_there(tmp_path: Path, spool: Path) -> None:
    with (
        serving(f"sqlite:///{tmp_path / 'one.db'}", tmp_path / "one") as one,
        serving(f"sqlite:///{tmp_path / 'two.db'}", tmp_path / "two") as two,
    ):
        here, other = (str(server.client.base_url).rstrip("/") for server in (one, two))
        leave_report(other, spool)
        sent = run_command("spool", "send", "--server", here)
        line = f"1 report waits for {other}. Send: rheostat spool send --server {other}"
        assert sent.stdout.splitlines() == [f"sent 0 of 0 reports to {here}", line]


def test_what_waits_is_thrown_away_once_that_is_confirmed(spool: Path) -> None:
    gone, other = "http://gone:8420", "http://other:8420"
    for url in (gone, other):
        leave_report(url, spool)
    asked = CliRunner().invoke(cli.app, ["spool", "discard", "--server", f"{gone}/"], input="n\n")
    assert asked.exit_code == 1
    assert f"Throw away 1 report for {gone}?" in asked.output
    assert len(spool_files(spool)) == 2
    done = run_command("spool", "discard", "--server", gone, "--yes")
    assert (done.returncode, done.stdout.endswith(f"\t1 report\t{gone}\n")) == (0, True)
    assert [left.url for left in spool_files(spool)] == [other]
    assert f"No reports wait for {gone}" in run_command("spool", "discard", "--server", gone).stderr


def test_what_a_run_still_writes_is_not_thrown_away(spool: Path) -> None:
    url = "http://server:8420"
    queue = RequestQueue(url, spool)
    queue.append(observe_request("0" * 32, ObserveRequest(epoch=1.0, metric=0.5)))
    done = run_command("spool", "discard", "--server", url, "--yes")
    queue.close()
    assert (done.stdout, "a run that is still going writes it" in done.stderr) == ("", True)
    assert len(spool_files(spool)) == 1


def leave_report(url: str, spool: Path) -> None:
    """Let a report wait for a server, as a run does that has ended."""
    queue = RequestQueue(url, spool)
    queue.append(observe_request("0" * 32, ObserveRequest(epoch=1.0, metric=0.5)))
    queue.close()


@pytest.mark.parametrize("command", [("savings",), ("jobs", "list"), ("jobs", "show", "nightly")])
def test_a_command_that_reads_the_database_says_so_where_a_server_is_named(
    command: tuple[str, ...], url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RHEOSTAT_URL", "http://server:8420")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "state" / "rheostat" / "rheostat.db"
    missing = run_command(*command)
    assert f"Uses the database {path} itself, not the server at http://server:8420: " in missing.stderr
    assert f"There is no database {path}." in missing.stderr
    assert (missing.returncode, path.parent.exists()) == (1, False)
    assert "itself" not in run_command(*command, "--database-url", url).stderr
    monkeypatch.setenv("RHEOSTAT_DATABASE_URL", url)
    assert "itself" not in run_command(*command).stderr


def test_an_empty_list_says_so_where_no_script_reads_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    operate(url, "db", "upgrade")
    for command, words in (
        (("jobs", "list", "--database-url", url), "There are no jobs in namespace default"),
        (("savings", "--database-url", url), f"There are no jobs in {tmp_path / 'rheostat.db'}."),
        (("token", "list", "--database-url", url), "There are no tokens"),
        (("audit", "--database-url", url), "Nobody has changed anything"),
        (("spool", "list"), "No reports wait in"),
    ):
        done = run_command(*command)
        assert (done.returncode, done.stdout) == (0, "")
        assert words in done.stderr


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database")
    for command in (("serve", "--port", "0"), ("jobs", "list"), ("db", "status")):
        done = run_command(*command, "--database-url", f"sqlite:///{path}")
        assert done.returncode == 1
        assert f"{path} is not an SQLite database." in done.stderr
    assert path.read_text() == "no database"


def test_two_servers_may_serve_one_file_and_the_second_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rheostat.db"
    with (
        serving(f"sqlite:///{path}", tmp_path / "first") as first,
        serving(f"sqlite:///{path}", tmp_path / "second") as second,
    ):
        assert f"the database is {path}" in first.log().splitlines()[0]
        assert "another server" not in first.log()
        assert f"another server of this machine serves {path} as well: that is safe" in second.log()
        for number, server in enumerate((first, second, first, second)):
            server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
            trial = server.client.post("/v1/jobs/nightly/predict", json={"gpu": V100}).raise_for_status().json()
            assert trial["number"] == number + 1


def test_what_a_server_says_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise RheostatError("no \x1b[2J\u202e")

    monkeypatch.setattr(cli, "app", refused)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "rheostat: no \\x1b[2J\\u202e\n"
