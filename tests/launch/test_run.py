import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import httpx
import pytest

from rheostat import Client
from rheostat.errors import ServerRefused
from rheostat.schemas.trials import TrialDetail
from rheostat.sdk.client import ANSWER_VARIABLE
from rheostat.sdk.outbox import deliver_spool
from tests.launch.runs import GPU, OPTIONS, SETTINGS, TARGET, Run, ended
from tests.sdk.scripted_server import Reply, ScriptedServer, Seen, Trouble
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS, Stopwatch, eventually

# Runs until it is ended, as a trainer that would go on.
TRAINS_ON = "for acc in 0.5 0.95; do echo acc=$acc; done; sleep 60 & wait"


def trial_of(client: Client, job: str) -> TrialDetail:
    (trial,) = client.list_trials(job).trials
    return trial


class TestTheCommand:
    def test_it_gets_what_to_train_with_in_arguments_and_environment(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        script = 'printf "%s\\n" "$@"; env | grep ^RHEOSTAT_ | sort >&2'
        rate = ("--learning-rate", "0.1", "--lr-scaling", "none", "--gpu-count", "4")
        arguments = (
            "{batch_size} {per_device_batch_size} {learning_rate} {epochs}",
            "{seed}",
            "{trial_id}",
            '{"a": {}}',
        )
        run = ended(server.url, job, script, *OPTIONS, *rate, "--quiet", arguments=arguments)
        trial = trial_of(client, job)
        first, seed, trial_id, braces = run.out.splitlines()
        assert first == "64 16 0.1 10"
        assert (trial_id, braces) == (trial.trial_id, '{"a": {}}')
        assert 0 <= int(seed) < 2**31
        environment = dict(line.split("=", 1) for line in run.err.splitlines() if line.startswith("RHEOSTAT_"))
        assert environment["RHEOSTAT_JOB_ID"] == job
        assert environment["RHEOSTAT_TRIAL_ID"] == trial_id
        assert (environment["RHEOSTAT_BATCH_SIZE"], environment["RHEOSTAT_LEARNING_RATE"]) == ("64", "0.1")
        assert (environment["RHEOSTAT_SEED"], environment["RHEOSTAT_EPOCHS"]) == (seed, "10")

    def test_its_tags_are_those_of_the_trial(self, server: ServerProcess, client: Client, job: str) -> None:
        tags = ("--tag", "mlflow_run=https://mlflow.test/?run=7", "--tag", "team=vision")
        assert ended(server.url, job, "echo acc=0.95", *OPTIONS, *tags).code == 0
        (trial,) = client.list_trials(job, tag="mlflow_run=https://mlflow.test/?run=7").trials
        assert trial.tags == {"mlflow_run": "https://mlflow.test/?run=7", "team": "vision"}
        assert client.list_trials(job, tag="team=speech").trials == []

    def test_its_output_passes_untouched_and_at_once(self, server: ServerProcess, job: str, tmp_path: Path) -> None:
        script = (
            r"printf 'half\r'; while [ ! -e $1 ]; do sleep 0.02; done; printf '\033[1mwhole\000\377\n'; printf acc=1"
        )
        with Run(server.url, job, script, *OPTIONS, arguments=(f"{tmp_path}/on",)) as run:
            eventually(lambda: run.raw == b"half\r")
            (tmp_path / "on").touch()
            assert run.code == 0
            assert run.raw == b"half\r\x1b[1mwhole\x00\xff\nacc=1"

    def test_one_that_cannot_be_run_makes_no_trial_and_says_what_to_do(
        self, server: ServerProcess, client: Client, job: str, tmp_path: Path
    ) -> None:
        script = tmp_path / "train.py"
        script.touch(mode=0o600)
        for program, code, remedy in (
            ("no-such-command", 127, "installed"),
            ("64", 127, "lists have commas"),
            (f"{tmp_path}/gone.sh", 127, "no such file"),
            (str(script), 126, f"python {script}"),
            (str(tmp_path), 126, "is a directory"),
        ):
            with Run(server.url, job, "", *OPTIONS, command=(program,)) as run:
                assert (run.code, program in run.err, remedy in run.err) == (code, True, True), run.err
        with pytest.raises(ServerRefused, match="job"):
            client.get_job(job)

    def test_one_without_the_batch_size_is_warned_of(self, server: ServerProcess, job: str, tmp_path: Path) -> None:
        script = tmp_path / "train.sh"
        script.write_text("echo acc=0.95 $RHEOSTAT_BATCH_SIZE")
        for command, warning in (
            (("echo", "acc=0.95"), "no {batch_size}"),
            (("echo", "acc=0.95", "{batchsize}"), "did you mean {batch_size}?"),
            (("echo", "acc=0.95", "{batch_size}"), ""),
            (("sh", "-c", "echo acc=0.95 $RHEOSTAT_BATCH_SIZE"), ""),
            (("sh", str(script)), ""),
        ):
            with Run(server.url, job, "", *OPTIONS, command=command) as run:
                assert run.code == 0
                assert warning in run.err
                assert ("The command has" in run.err) == bool(warning), run.err


class TestTheEnd:
    def test_at_the_target_it_is_ended_with_success(
        self, server: ServerProcess, client: Client, job: str, tmp_path: Path
    ) -> None:
        script = f"trap 'echo saved > {tmp_path}/model; exit 1' TERM; {TRAINS_ON}"
        run = ended(server.url, job, script, *OPTIONS)
        assert run.code == 0, run.err
        assert (tmp_path / "model").read_text() == "saved\n"
        trial = trial_of(client, job)
        assert (trial.state, trial.epochs, trial.metric) == ("converged", 2, 0.95)
        assert trial.time_seconds is not None
        assert trial.energy_joules is None

    def test_one_that_ignores_the_signal_is_killed_with_all_that_it_started(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        script = "trap '' TERM; while :; do echo acc=0.95; done"
        run = ended(server.url, job, script, *OPTIONS, "--stop-grace", "0.3")
        assert run.code == 0
        assert trial_of(client, job).state == "converged"

    def test_a_run_that_costs_too_much_exits_with_124(self, server: ServerProcess, client: Client, job: str) -> None:
        bound = (*SETTINGS, *TARGET, *GPU, "--beta-knob", "1")
        assert ended(server.url, job, "echo acc=0.95", *bound).code == 0
        run = ended(server.url, job, "sleep 1; echo acc=0.1; exec sleep 60", *bound)
        assert (run.code, client.list_trials(job).trials[0].state) == (124, "stopped")

    def test_what_bounds_exploring_is_registered(self, server: ServerProcess, client: Client, job: str) -> None:
        bounds = ("--first-run", "default", "--exploration-budget", "0.5")
        assert ended(server.url, job, "echo acc=0.95", *OPTIONS, *bounds).code == 0
        settings = client.get_job(job).settings
        assert (settings.first_run, settings.exploration_budget_runs) == ("default", 0.5)

    def test_after_its_last_epoch_it_ends_by_itself_and_has_failed(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo acc=0.1; done; sleep 0.5; echo saved"
        run = ended(server.url, job, script, *OPTIONS)
        assert (run.code, run.out.splitlines()[-1]) == (124, "saved")
        assert trial_of(client, job).state == "failed"

    @pytest.mark.parametrize(
        ("script", "end"),
        [
            ("echo acc=0.95", (0, "converged")),
            ("echo acc=0.95; exit 3", (3, "converged")),
            ("echo acc=0.1; exit 3", (3, "cancelled")),
            ("exit 3", (3, "cancelled")),
            ("echo acc=0.1; kill -SEGV $$", (139, "cancelled")),
            ("echo 'torch.OutOfMemoryError: CUDA out of memory.' >&2; exit 1", (1, "oom")),
            ("echo 'MemoryError' >&2; seq 100000 >&2; exit 1", (1, "oom")),
            ("echo 'hint: avoid running out of memory'; exit 1", (1, "cancelled")),
            ("echo 'MemoryError: went on'; echo acc=0.1", (124, "failed")),
            ("echo nobody has room; exit 4", (4, "oom")),
        ],
    )
    def test_one_that_ends_by_itself_has_its_own_exit_code(
        self, server: ServerProcess, client: Client, job: str, script: str, end: tuple[int, str]
    ) -> None:
        run = ended(server.url, job, script, *OPTIONS, "--oom-pattern", "^nobody has room")
        assert (run.code, trial_of(client, job).state) == end

    def test_one_that_ends_short_of_its_target_is_no_success(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        run = ended(server.url, job, "echo acc=0.1; echo acc=0.2", *OPTIONS)
        assert (run.code, trial_of(client, job).state) == (124, "failed")
        assert "The command ended by itself after 2 of 10 epochs, and the run has not converged" in run.err

    @pytest.mark.parametrize(("epochs", "end"), [(10, (0, "converged")), (3, (124, "failed"))])
    def test_without_a_target_success_is_to_have_run_all_epochs(
        self, server: ServerProcess, client: Client, job: str, epochs: int, end: tuple[int, str]
    ) -> None:
        script = f"for i in $(seq {epochs}); do echo acc=0.1; done"
        run = ended(server.url, job, script, *SETTINGS, *GPU, *TARGET[2:])
        assert (run.code, trial_of(client, job).state) == end

    def test_the_trial_says_how_it_failed(self, server: ServerProcess, client: Client, job: str) -> None:
        ended(server.url, job, "echo 'ValueError: a bug' >&2; exit 3", *OPTIONS)
        reason = trial_of(client, job).state_reason
        assert reason.endswith("The command ended with exit code 3. Its last line was: ValueError: a bug")

    @pytest.mark.parametrize("reports", [2, 5])
    def test_a_metric_that_is_no_number_ends_it_after_three(
        self, server: ServerProcess, client: Client, job: str, reports: int
    ) -> None:
        script = f"for i in $(seq {reports}); do echo acc=nan; sleep 0.3; done"
        run = ended(server.url, job, script, *OPTIONS)
        trial = trial_of(client, job)
        assert (trial.state, run.code) == ("failed", 124)
        assert "accuracy was NaN or infinite in" in trial.state_reason

    def test_without_a_target_success_is_convergence(self, server: ServerProcess, client: Client, job: str) -> None:
        run = ended(server.url, job, "true", *SETTINGS, *GPU)
        assert (run.code, trial_of(client, job).state) == (0, "converged")


class TestTheMetric:
    def test_it_is_read_from_a_file_of_the_trial(
        self, server: ServerProcess, client: Client, job: str, tmp_path: Path
    ) -> None:
        file = f"{tmp_path}/{{trial_id}}.csv"
        script = 'echo epoch,accuracy > "$1"; echo 0,0.5 >> "$1"; printf 1,0.8 >> "$1"'
        options = ("--target", "accuracy>=0.9", "--metrics-file", file, "--first-epoch", "0")
        ended(server.url, job, script, *SETTINGS, *GPU, *options, arguments=(file,))
        trial = trial_of(client, job)
        assert (trial.epochs, trial.metric) == (2, 0.8)

    def test_a_document_that_is_written_whole_again_is_read_as_it_grows(
        self, server: ServerProcess, client: Client, job: str, tmp_path: Path
    ) -> None:
        history = """{"epoch": 1.0, "accuracy": 0.1}"""
        script = f"""mkdir $1
        echo '{{"log_history": [{history}]}}' > $1/trainer_state.json
        sleep 0.5
        echo '{{"log_history": [{history}, {{"epoch": 2.0, "accuracy": 0.95}}]}}' > $1/trainer_state.json
        exec sleep 60"""
        options = ("--target", "accuracy>=0.9", "--metrics-file", f"{tmp_path}/*/trainer_state.json")
        run = ended(server.url, job, script, *SETTINGS, *GPU, *options, arguments=(f"{tmp_path}/checkpoint-1",))
        trial = trial_of(client, job)
        assert (run.code, trial.state, trial.epochs, trial.metric) == (0, "converged", 2, 0.95)

    def test_it_is_read_from_dictionaries_in_the_output(self, server: ServerProcess, client: Client, job: str) -> None:
        """As Hugging Face's trainer prints them."""
        script = """echo "{'loss': 2.5, 'epoch': 0.5}"; echo "{'accuracy': 0.8, 'epoch': 1.0}"; echo 'a, b: 1'"""
        ended(server.url, job, script, *SETTINGS, *GPU, "--target", "accuracy>=0.9", "--metrics-file", "-")
        trial = trial_of(client, job)
        assert (trial.epochs, trial.metric) == (1, 0.8)

    def test_an_epoch_is_reported_once(self, server: ServerProcess, client: Client, job: str) -> None:
        pattern = ("--metric-pattern", r"epoch (?P<epoch>[\d.]+) acc=(?P<metric>\S+)")
        script = "for line in '0.5 acc=0.1' '1 acc=0.2' '1 acc=0.3' '2 acc=0.4'; do echo epoch $line; done"
        run = ended(server.url, job, script, *OPTIONS, *pattern)
        trial = trial_of(client, job)
        assert (trial.epochs, trial.metric) == (2, 0.4)
        assert "contradicts" not in run.err

    def test_a_number_that_the_pattern_cuts_is_no_success(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        run = ended(server.url, job, "echo acc=9.9e-05; echo acc=9.1e-1", *OPTIONS)
        trial = trial_of(client, job)
        assert (trial.state, trial.epochs, trial.metric) == ("failed", 2, None)
        assert run.err.count("reads only '9.9'") == 1
        assert "{metric}" in run.err

    def test_the_placeholder_reads_whole_numbers(self, server: ServerProcess, client: Client, job: str) -> None:
        pattern = ("--metric-pattern", "epoch {epoch} acc={metric}")
        script = "echo epoch 1 acc=9.9e-05; echo epoch 2 acc=9.1e-1; exec sleep 60"
        run = ended(server.url, job, script, *OPTIONS, *pattern)
        trial = trial_of(client, job)
        assert (run.code, trial.state, trial.epochs, trial.metric) == (0, "converged", 2, 0.91)

    def test_the_server_is_asked_without_an_agent_and_without_a_description_of_the_gpus(
        self, server: ServerProcess, client: Client, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RHEOSTAT_AGENT_DIR", str(tmp_path))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        run = ended(server.url, job, "echo acc=0.95; exec sleep 60", *SETTINGS, *TARGET)
        trial = trial_of(client, job)
        assert (run.code, trial.state, trial.gpu.model) == (0, "converged", "unknown")
        assert "There is no agent socket" in run.err

    def test_when_none_was_found_the_end_says_what_was_there(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        run = ended(server.url, job, "seq 5; echo loss=1; echo accuracy=0.95; echo", *OPTIONS)
        trial = trial_of(client, job)
        assert (run.code, trial.state) == (124, "cancelled")
        for told in (run.err, trial.state_reason):
            assert told.count("No evaluation was found: no line of the output matched --metric-pattern 'acc=") == 1
            assert "Its last lines are: '5', 'loss=1', 'accuracy=0.95'." in told

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ('{"eval_acc": 0.95}', "has 'accuracy'; there are: eval_acc."),
            ('{\n  "log_history": [{"eval_loss": 2.5}]\n}', "has 'accuracy'; there are: eval_loss."),
            ("loss,acc\n1,0.5", "has 'accuracy'; there are: loss, acc."),
            ("accuracy\n", "has a number as 'accuracy'."),
            ("it went well", "has nothing new that is JSON or CSV."),
            ("", "has nothing new"),
        ],
    )
    def test_nor_was_one_found_in_a_file(
        self, server: ServerProcess, job: str, tmp_path: Path, content: str, words: str
    ) -> None:
        file = tmp_path / "metrics"
        options = ("--target", "accuracy>=0.9", "--metrics-file", str(file))
        run = ended(server.url, job, 'printf %s "$1" > "$2"', *SETTINGS, *GPU, *options, arguments=(content, str(file)))
        assert words in run.err
        assert run.err.count("No evaluation was found") == 1
        assert ("has no column" in run.err) == ("," in content and "{" not in content)

    @pytest.mark.parametrize("name", ["metrics.json", "*.json"])
    def test_a_file_that_was_never_written_is_told(
        self, server: ServerProcess, job: str, tmp_path: Path, name: str
    ) -> None:
        file = str(tmp_path / name)
        run = ended(server.url, job, "true", *SETTINGS, *GPU, "--target", "accuracy>=0.9", "--metrics-file", file)
        assert f"No evaluation was found: --metrics-file {file} was not written." in run.err

    def test_one_of_epoch_0_is_not_taken_for_a_success_at_no_cost(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        pattern = ("--metric-pattern", "epoch {epoch} acc={metric}")
        run = ended(server.url, job, "echo epoch 0 acc=0.95; echo epoch 1 acc=0.96", *OPTIONS, *pattern)
        trial = trial_of(client, job)
        assert (trial.state, trial.epochs, trial.metric) == ("converged", 1, 0.95)
        assert run.err.count("counts its epochs from 0") == 1

    def test_one_before_the_first_epoch_that_is_named_does_not_count(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        options = (*OPTIONS, "--metric-pattern", "epoch {epoch} acc={metric}", "--first-epoch", "1")
        run = ended(server.url, job, "echo epoch 0 acc=0.95; echo epoch 1 acc=0.96", *options)
        trial = trial_of(client, job)
        assert (trial.state, trial.epochs, trial.metric) == ("converged", 1, 0.96)
        assert run.err.count("give --first-epoch 0") == 1


class TestASlowServer:
    """Each of its answers to a report takes a tenth of a second, or never comes."""

    @pytest.fixture(params=["slow", "never"])
    def answer(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def slow_url(self, server: ServerProcess, answer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        monkeypatch.setenv(ANSWER_VARIABLE, "2")

        def passed_on(seen: Seen) -> Reply | Trouble:
            if seen.path.endswith("/observe"):
                if answer == "never":
                    return Trouble.HANG
                sleep(0.1)
            headers = {name: value for name, value in seen.headers.items() if name == "Idempotency-Key"}
            with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
                response = http.request(seen.method, seen.path, json=seen.body, headers=headers)
            return Reply(response.status_code, response.text, {"Content-Type": response.headers["Content-Type"]})

        with ScriptedServer(passed_on) as slow:
            yield slow.url

    def test_it_does_not_hold_up_the_end_of_a_command_that_writes_fast(
        self, slow_url: str, client: Client, job: str, tmp_path: Path
    ) -> None:
        many = ("--max-epochs", "1000")
        over = tmp_path / "over"
        script = f"i=0; while [ $i -lt 600 ]; do echo acc=0.1; i=$((i+1)); done; touch {shlex.quote(str(over))}"
        with Run(slow_url, job, script, *OPTIONS, *many) as run:
            eventually(over.exists)
            watch = Stopwatch()
            assert run.code == 124, run.err
            # One after the other, 600 reports take a minute.
            assert watch.seconds() < 15

    def test_a_success_among_many_lines_is_found(self, slow_url: str, answer: str, client: Client, job: str) -> None:
        lines = "i=0; while [ $i -lt 300 ]; do echo acc=0.1; i=$((i+1)); done"
        run = ended(slow_url, job, f"{lines}; echo acc=0.95; {lines}; exec sleep 60", *OPTIONS, "--max-epochs", "1000")
        assert run.code == 0
        trial = trial_of(client, job)
        assert (trial.state, trial.epochs) in (
            ("converged", 301),
            ("running", None),
        )  # the report may wait in the spool


class TestTheSettings:
    def test_a_registered_job_needs_none(self, server: ServerProcess, client: Client, job: str) -> None:
        ended(server.url, job, "echo acc=0.95", *OPTIONS)
        run = ended(server.url, job, "echo $RHEOSTAT_BATCH_SIZE acc=0.95", *TARGET[2:], *GPU)
        assert run.code == 0, run.err
        assert [trial.state for trial in client.list_trials(job).trials] == ["converged", "converged"]

    def test_a_mistake_runs_nothing(self, server: ServerProcess, job: str, tmp_path: Path) -> None:
        run = ended(server.url, job, f"touch {tmp_path}/ran", *SETTINGS, *GPU, "--target", "accuracy")
        assert run.code == 125
        assert "'accuracy>=0.96'" in run.err
        assert not (tmp_path / "ran").exists()

    def test_a_name_that_no_job_can_have_is_a_wrong_option(self, server: ServerProcess, tmp_path: Path) -> None:
        run = ended(server.url, "team/nightly", f"touch {tmp_path}/ran", *OPTIONS)
        assert run.code == 2
        assert "'team/nightly' is not the name of a job" in run.err
        assert "Traceback" not in run.err
        assert not (tmp_path / "ran").exists()

    def test_other_settings_than_were_registered_are_kept_or_taken_over_as_asked(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        ended(server.url, job, "echo acc=0.95", *OPTIONS)
        more = (*OPTIONS, "--max-epochs", "11")
        run = ended(server.url, job, "echo $RHEOSTAT_EPOCHS; echo acc=0.95", *more)
        assert (run.code, run.out.split()[0]) == (0, "10")
        assert "max_epochs 10 instead of 11" in run.err
        assert "--on-conflict update" in run.err
        run = ended(server.url, job, "echo $RHEOSTAT_EPOCHS; echo acc=0.95", *more, "--on-conflict", "update")
        assert (run.code, run.out.split()[0], "instead of" in run.err) == (0, "11", False)
        assert client.get_job(job).settings.max_epochs == 11

    def test_the_key_of_a_run_that_has_ended_runs_nothing_or_a_new_trial_as_asked(
        self, server: ServerProcess, client: Client, job: str
    ) -> None:
        keyed = (*OPTIONS, "--key", "night")
        assert ended(server.url, job, "echo acc=0.95", *keyed).code == 0
        again = ended(server.url, job, "echo ran", *keyed)
        assert (again.code, again.out) == (125, "")
        assert "--on-used-key new" in again.err
        assert ended(server.url, job, "echo acc=0.95", *keyed, "--on-used-key", "new").code == 0
        assert [trial.state for trial in client.list_trials(job).trials] == ["converged", "converged"]


class TestWithoutAServer:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ANSWER_VARIABLE, "2")

    @pytest.mark.parametrize("reply", [Reply(200, "<html>"), Reply(500, "")])
    def test_another_program_at_its_address_does_not_matter(self, job: str, reply: Reply) -> None:
        with ScriptedServer(lambda _: reply) as server:
            run = ended(server.url, job, "echo $1; exit 3", *OPTIONS, arguments=("{batch_size}",))
        assert (run.code, run.out) == (3, "64\n")
        assert run.err.count("without the server") == 1

    def test_it_trains_with_the_default_and_is_recorded_later(
        self, server: ServerProcess, client: Client, job: str, spool: Path
    ) -> None:
        away = "http://127.0.0.1:9"
        run = ended(away, job, "echo $1; echo acc=0.95; exec sleep 60", *OPTIONS, arguments=("{batch_size}",))
        assert (run.code, run.out.split()[0]) == (0, "64")
        assert run.err.count("rheostat:") == 3, run.err
        (left,) = spool.glob("*.jsonl")
        header, *requests = left.read_text().splitlines()
        assert [json.loads(request)["method"] for request in requests] == ["PUT", "POST"]
        # The server is back, at the address of the one that runs here.
        left.write_text("\n".join([header.replace(away, server.url), *requests, ""]))
        assert deliver_spool(client, spool) == 0
        assert client.estimates(job).placements[0].arms[1].runs == 1

    def test_reports_after_the_server_died_are_sent_later(self, tmp_path: Path, job: str, spool: Path) -> None:
        with ServerProcess(tmp_path) as own, Client(own.url) as client:
            script = f"echo acc=0.1; while [ ! -e {tmp_path}/on ]; do sleep 0.05; done; echo acc=0.2; echo acc=0.95"
            with Run(own.url, job, script, *OPTIONS) as run:
                run.until("acc=0.1")
                eventually(lambda: trial_of(client, job).epochs == 1)
                own.kill()
                (tmp_path / "on").touch()
                assert run.code == 0, run.err
            own.start()
            assert deliver_spool(client, spool) == 0
            trial = trial_of(client, job)
        assert (trial.state, trial.epochs, trial.metric) == ("converged", 3, 0.95)
