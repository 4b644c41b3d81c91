import pickle
import re
from threading import enumerate as threads

import pytest

from rheostat.errors import ServerRefused, ServerUnreachable
from rheostat.schemas.trials import HeartbeatAnswer, ObserveRequest, PredictRequest
from rheostat.sdk.client import Client
from rheostat.sdk.server import register_job_request
from tests.sdk.examples import GPU, JOB, NOW, SETTINGS, TRIAL, client, unused_url
from tests.sdk.scripted_server import Reply, ScriptedServer, Trouble, in_turn, problem
from tests.waiting import Stopwatch, eventually


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
    def test_a_temporary_failure_is_retried(self, trouble: Reply | Trouble) -> None:
        with ScriptedServer(in_turn(trouble, trouble, Reply(200, JOB))) as server, client(server) as rheostat:
            assert rheostat.get_job("nightly") == JOB
            assert len(server.seen) == 3

    def test_a_try_that_hangs_times_out_and_is_retried(self) -> None:
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
    def test_retries_end_with_their_time(self, retry_for_seconds: float, at_most_seconds: float) -> None:
        watch = Stopwatch()
        with (
            Client(unused_url(), retry_for_seconds=retry_for_seconds) as rheostat,
            pytest.raises(ServerUnreachable),
        ):
            rheostat.get_job("nightly")
        assert watch.seconds() < at_most_seconds

    @pytest.mark.parametrize("trouble", [Trouble.HANG, Trouble.DRIBBLE, Trouble.DRIBBLE_HEADERS])
    def test_a_server_that_never_finishes_times_out(self, trouble: Trouble) -> None:
        with (
            ScriptedServer(in_turn(trouble)) as server,
            client(server, timeout_seconds=0.3, retry_for_seconds=0.3) as rheostat,
        ):
            watch = Stopwatch()
            with pytest.raises(ServerUnreachable):
                rheostat.get_job("nightly")
            assert watch.seconds() < 3
            eventually(lambda: not any(thread.name == "rheostat-request" for thread in threads()))

    def test_all_tries_together_are_bounded(self) -> None:
        with ScriptedServer(in_turn(Trouble.HANG)) as server, client(server, timeout_seconds=0.3) as rheostat:
            watch = Stopwatch()
            with pytest.raises(ServerUnreachable):
                rheostat.send(register_job_request("nightly", SETTINGS), within_seconds=0.5)
            assert watch.seconds() < 2
            assert len(server.seen) == 2

    def test_where_nothing_listens_retries_end_early(self) -> None:
        with Client(unused_url(), retry_for_seconds=5.0) as rheostat:
            watch = Stopwatch()
            with pytest.raises(ServerUnreachable):
                rheostat.get_job("nightly")
            assert watch.seconds() < 3


def test_a_client_can_be_sent_to_another_process() -> None:
    with ScriptedServer(in_turn(Reply(200, JOB))) as server, Client(server.url, token="secret") as rheostat:
        with pickle.loads(pickle.dumps(rheostat)) as copied:
            assert copied.get_job("nightly") == JOB
        assert server.seen[0].headers["Authorization"] == "Bearer secret"


class TestRefusals:
    def test_a_problem_is_raised_in_the_servers_words(self) -> None:
        refusal = problem(422, "invalid_input", retryable=False, detail="gpu.count is wrong.")
        with ScriptedServer(in_turn(refusal)) as server, client(server) as rheostat:
            with pytest.raises(ServerRefused, match=r"gpu\.count is wrong\. Try this\.") as refused:
                rheostat.get_job("nightly")
            assert len(server.seen) == 1
        assert (refused.value.status, refused.value.server_code) == (422, "invalid_input")
        assert not refused.value.server_retryable
        assert refused.value.fields[0].field == "gpu.count"

    def test_a_conflict_that_lasts_is_a_refusal(self) -> None:
        refusal = problem(409, "job_busy", retryable=True)
        with (
            ScriptedServer(in_turn(refusal)) as server,
            client(server, retry_for_seconds=0.2) as rheostat,
            pytest.raises(ServerRefused) as refused,
        ):
            rheostat.delete_job("nightly")
        assert refused.value.server_retryable

    def test_a_server_that_says_not_to_retry_is_asked_once(self) -> None:
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

    def test_an_answer_with_a_wrong_encoding_is_an_error(self) -> None:
        garbled = Reply(200, "not gzip", {"Content-Encoding": "gzip"})
        with (
            ScriptedServer(in_turn(garbled)) as server,
            client(server, retry_for_seconds=0.0) as rheostat,
            pytest.raises(ServerUnreachable),
        ):
            rheostat.observe("0" * 32, ObserveRequest(epoch=1.0))
