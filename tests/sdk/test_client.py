import re
import socket
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import unquote

import pytest

from rheostat.errors import ConfigurationError, ServerRefused, ServerUnreachable
from rheostat.schemas.server import (
    Gpu,
    HeartbeatAnswer,
    JobDetail,
    JobPage,
    JobSettings,
    JobUpdate,
    ObserveAnswer,
    ObserveRequest,
    PredictRequest,
    Trial,
)
from rheostat.sdk.client import DEFAULT_URL, Client
from tests.sdk.scripted_server import Reply, ScriptedServer, Trouble, in_turn, problem

SETTINGS = JobSettings(batch_sizes=[32, 64], default_batch_size=32, max_epochs=10)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
JOB = JobDetail(
    job_id="nightly",
    settings=SETTINGS,
    effective_seed=1,
    trials=0,
    placements=[],
    created_at=NOW,
    updated_at=NOW,
)
TRIAL = Trial(
    trial_id="0" * 32,
    job_id="nightly",
    number=1,
    batch_size=32,
    learning_rate=None,
    power_limit_watts=None,
    profile_power_limits_watts=[],
    reason="its turn",
    lease_expires_at=NOW,
)
GOES_ON = ObserveAnswer(state="running", action="continue", reason="not there yet", power_limit_watts=None)


def client(server: ScriptedServer, *, timeout_seconds: float = 5.0, retry_for_seconds: float = 5.0) -> Client:
    return Client(server.url, timeout_seconds=timeout_seconds, retry_for_seconds=retry_for_seconds)


def nobodys_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class TestAnswers:
    def test_an_answer_comes_back_as_its_model(self) -> None:
        with ScriptedServer(in_turn(Reply(201, JOB))) as server, client(server) as rheostat:
            assert rheostat.register_job("nightly", SETTINGS) == JOB

    def test_what_was_left_to_its_default_is_not_sent(self) -> None:
        with ScriptedServer(in_turn(Reply(200, JOB))) as server, client(server) as rheostat:
            rheostat.update_job("nightly", JobUpdate(eta_knob=0.25))
            assert (server.seen[0].method, server.seen[0].body) == ("PATCH", {"eta_knob": 0.25})

    def test_null_is_sent_where_it_was_said(self) -> None:
        with ScriptedServer(in_turn(Reply(200, JOB))) as server, client(server) as rheostat:
            rheostat.update_job("nightly", JobUpdate(beta_knob=None))
            assert server.seen[0].body == {"beta_knob": None}

    @pytest.mark.parametrize("job_id", ["a/b", "a b", "a%2Fb", "a?force=true", "a#b", "ä"])
    def test_any_job_id_stays_one_segment_of_the_path(self, job_id: str) -> None:
        with ScriptedServer(in_turn(Reply(200, JOB))) as server, client(server) as rheostat:
            rheostat.get_job(job_id)
            assert re.fullmatch(r"/v1/jobs/[^/?#]+", server.seen[0].path)
            assert unquote(server.seen[0].path) == f"/v1/jobs/{job_id}"

    def test_a_path_in_the_address_stays_in_front(self) -> None:
        page = JobPage(jobs=[], next_cursor=None)
        with ScriptedServer(in_turn(Reply(200, page))) as server, Client(f"{server.url}/rheostat/") as rheostat:
            rheostat.list_jobs(limit=7)
            assert server.seen[0].path == "/rheostat/v1/jobs?limit=7"

    def test_a_delete_has_no_answer_to_read(self) -> None:
        with ScriptedServer(in_turn(Reply(204))) as server, client(server) as rheostat:
            rheostat.delete_job("nightly", force=True)
            assert (server.seen[0].method, server.seen[0].path) == ("DELETE", "/v1/jobs/nightly?force=true")

    def test_the_token_is_sent_as_bearer(self) -> None:
        with (
            ScriptedServer(in_turn(Reply(200, JOB))) as server,
            Client(server.url, token="secret\n") as rheostat,
        ):
            rheostat.get_job("nightly")
            assert server.seen[0].headers["Authorization"] == "Bearer secret"


class TestRetries:
    @pytest.mark.parametrize(
        "trouble",
        [
            Trouble.RESET,
            Reply(502, "<html>Bad Gateway</html>"),
            Reply(503, ""),
            Reply(504, ""),
            problem(503, "database_busy", retryable=True),
            problem(409, "job_busy", retryable=True),
        ],
        ids=["connection reset", "502", "503", "504", "problem 503", "problem 409"],
    )
    def test_what_may_pass_is_tried_again(self, trouble: Reply | Trouble) -> None:
        with ScriptedServer(in_turn(trouble, trouble, Reply(200, JOB))) as server, client(server) as rheostat:
            assert rheostat.get_job("nightly") == JOB
            assert len(server.seen) == 3

    def test_a_hanging_try_is_cut_short_and_repeated(self) -> None:
        with (
            ScriptedServer(in_turn(Trouble.HANG, Reply(200, JOB))) as server,
            client(server, timeout_seconds=0.2) as rheostat,
        ):
            assert rheostat.get_job("nightly") == JOB

    def test_a_repeated_predict_is_the_same_request(self) -> None:
        with (
            ScriptedServer(in_turn(Trouble.RESET, Reply(201, TRIAL))) as server,
            client(server) as rheostat,
        ):
            rheostat.predict("nightly", PredictRequest(gpu=GPU))
            first, second = (seen.headers["Idempotency-Key"] for seen in server.seen)
            assert first == second

    def test_two_predicts_are_two_requests(self) -> None:
        with ScriptedServer(in_turn(Reply(201, TRIAL))) as server, client(server) as rheostat:
            rheostat.predict("nightly", PredictRequest(gpu=GPU))
            rheostat.predict("nightly", PredictRequest(gpu=GPU))
            rheostat.predict("nightly", PredictRequest(gpu=GPU), idempotency_key="run-1")
            keys = [seen.headers["Idempotency-Key"] for seen in server.seen]
            assert len(set(keys)) == 3
            assert keys[2] == "run-1"

    def test_a_heartbeat_is_tried_once(self) -> None:
        alive = HeartbeatAnswer(state="running", lease_expires_at=NOW)
        with ScriptedServer(in_turn(Reply(503), Reply(200, alive))) as server, client(server) as rheostat:
            with pytest.raises(ServerUnreachable):
                rheostat.heartbeat("0" * 32)
            assert rheostat.heartbeat("0" * 32) == alive

    @pytest.mark.parametrize(
        ("retry_for_seconds", "at_most_seconds"), [(0.0, 2.0), (0.5, 3.0)], ids=["one try", "half a second"]
    )
    def test_they_end_with_their_time(self, retry_for_seconds: float, at_most_seconds: float) -> None:
        began = monotonic()
        with (
            Client(nobodys_url(), retry_for_seconds=retry_for_seconds) as rheostat,
            pytest.raises(ServerUnreachable),
        ):
            rheostat.get_job("nightly")
        assert monotonic() - began < at_most_seconds

    @pytest.mark.parametrize("trouble", [Trouble.HANG, Trouble.DRIBBLE])
    def test_a_server_that_never_finishes_does_not_hold_up(self, trouble: Trouble) -> None:
        began = monotonic()
        with (
            ScriptedServer(in_turn(trouble)) as server,
            client(server, timeout_seconds=0.3, retry_for_seconds=0.3) as rheostat,
            pytest.raises(ServerUnreachable),
        ):
            rheostat.get_job("nightly")
        assert monotonic() - began < 3


class TestRefusals:
    def test_a_problem_is_told_in_the_servers_words(self) -> None:
        refusal = problem(422, "invalid_input", retryable=False, detail="gpu.count is wrong.")
        with ScriptedServer(in_turn(refusal)) as server, client(server) as rheostat:
            with pytest.raises(ServerRefused, match=r"gpu\.count is wrong\. Try this\.") as refused:
                rheostat.get_job("nightly")
            assert len(server.seen) == 1
        assert (refused.value.status, refused.value.server_code) == (422, "invalid_input")
        assert not refused.value.server_retryable
        assert refused.value.fields[0].field == "gpu.count"

    def test_a_conflict_that_does_not_pass_stays_a_refusal(self) -> None:
        refusal = problem(409, "job_busy", retryable=True)
        with (
            ScriptedServer(in_turn(refusal)) as server,
            client(server, retry_for_seconds=0.2) as rheostat,
            pytest.raises(ServerRefused) as refused,
        ):
            rheostat.delete_job("nightly")
        assert refused.value.server_retryable

    def test_an_unavailable_server_that_says_not_to_retry_is_asked_once(self) -> None:
        outdated = problem(503, "schema_outdated", retryable=False)
        with ScriptedServer(in_turn(outdated)) as server, client(server) as rheostat:
            with pytest.raises(ServerRefused):
                rheostat.get_job("nightly")
            assert len(server.seen) == 1

    @pytest.mark.parametrize(
        "strange",
        [
            Reply(200, "<html>Please log in</html>"),
            Reply(200, {"job_id": "nightly"}),
            Reply(200, ""),
            Reply(404, "<html>Not Found</html>"),
            Reply(500, "Internal Server Error"),
            Reply(302, "", {"Location": "http://elsewhere.invalid/"}),
        ],
        ids=["login page", "another model", "nothing", "foreign 404", "bare 500", "redirect"],
    )
    def test_another_program_is_named_by_its_address(self, strange: Reply) -> None:
        with ScriptedServer(in_turn(strange)) as server, client(server) as rheostat:
            with pytest.raises(ServerUnreachable, match=re.escape(server.url)):
                rheostat.get_job("nightly")
            assert len(server.seen) == 1

    def test_an_answer_in_a_false_encoding_is_no_answer(self) -> None:
        garbled = Reply(200, "not gzip", {"Content-Encoding": "gzip"})
        with (
            ScriptedServer(in_turn(garbled)) as server,
            client(server, retry_for_seconds=0.0) as rheostat,
            pytest.raises(ServerUnreachable),
        ):
            rheostat.observe("0" * 32, ObserveRequest(epoch=1.0))


class TestConfiguration:
    def test_the_address_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RHEOSTAT_URL", "http://rheostat.example:80/")
        assert Client().base_url == "http://rheostat.example:80"
        monkeypatch.delenv("RHEOSTAT_URL")
        assert Client().base_url == DEFAULT_URL

    @pytest.mark.parametrize("url", ["localhost:8420", "ftp://host", "http://", "rheostat", "http://[::1"])
    def test_what_is_no_address_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="http://host:8420"):
            Client(url)

    def test_a_token_that_no_header_carries_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigurationError):
            Client(token="two\nlines")

    @pytest.mark.parametrize("proxy", ["nobody's", "socks5://127.0.0.1:9", "no proxy at all"])
    def test_a_proxy_never_stands_before_loopback(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = nobodys_url() if proxy == "nobody's" else proxy
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with ScriptedServer(in_turn(Reply(200, JOB))) as server:
            for host in ("127.0.0.1", "localhost"):
                with Client(server.url.replace("127.0.0.1", host), retry_for_seconds=0.0) as rheostat:
                    assert rheostat.get_job("nightly") == JOB

    def test_a_proxy_stands_before_other_hosts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with ScriptedServer(in_turn(Reply(200, GOES_ON))) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            with Client("http://rheostat.invalid", retry_for_seconds=0.0) as rheostat:
                assert rheostat.observe("0" * 32, ObserveRequest(epoch=1.0)) == GOES_ON

    def test_a_malformed_proxy_is_named_before_any_training(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "nonsense://proxy")
        with pytest.raises(ConfigurationError, match="proxy"):
            Client("http://rheostat.invalid")
