"""The protocol of Zeus's batch size optimizer server over HTTP, as its client speaks it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_authentication import PEER_SCOPES
from tests.serving import ZEUS_JOB, Serving, make_token, migrate, serving
from tests.waiting import PATIENCE_SECONDS

CONFIGURATION: dict[str, Any] = {
    "seed": 1,
    "eta_knob": 0.5,
    "beta_knob": 2,
    "target_metric": 0.5,
    "higher_is_better_metric": True,
    "num_pruning_rounds": 2,
    "window_size": 0,
    "mab_prior_mean": 0,
    "mab_prior_precision": 0,
    "mab_seed": None,
    "mab_num_explorations": 2,
}


class Peer:
    """What the peer's client sends: its bodies have no Content-Type."""

    def __init__(self, url: str) -> None:
        self.url = url

    def register(self, job_id: str | None, query: str = "", **changes: Any) -> httpx.Response:
        job = ZEUS_JOB | CONFIGURATION | {"job_id": job_id, **changes}
        return httpx.post(f"{self.url}/jobs{query}", content=json.dumps(job), timeout=PATIENCE_SECONDS)

    def predict(self, job_id: str) -> httpx.Response:
        return httpx.get(f"{self.url}/jobs/batch_size", params={"job_id": job_id}, timeout=PATIENCE_SECONDS)

    def report(self, trial: dict[str, Any], joules: float = 100.0, **changes: Any) -> httpx.Response:
        figures = {"time": joules / 1000, "energy": joules, "metric": 0.6, "current_epoch": 1}
        return httpx.post(f"{self.url}/report", content=json.dumps(trial | figures | changes), timeout=PATIENCE_SECONDS)

    def end(self, trial: dict[str, Any]) -> httpx.Response:
        return httpx.patch(f"{self.url}/trials", content=json.dumps(trial), timeout=PATIENCE_SECONDS)

    def delete(self, job_id: str) -> httpx.Response:
        return httpx.delete(f"{self.url}/jobs", params={"job_id": job_id}, timeout=PATIENCE_SECONDS)


@pytest.fixture
def peer(server: Serving) -> Peer:
    return Peer(f"{str(server.client.base_url).rstrip('/')}/zeus")


def message(answer: httpx.Response, status: int) -> str:
    """Return the message of an error, which is nothing else."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["message"]
    return str(body["message"])


def test_a_job_is_new_once_and_answered_whole(peer: Peer) -> None:
    first, again = peer.register("whole"), peer.register("whole")
    assert (first.status_code, again.status_code) == (201, 200)
    wanted = ZEUS_JOB | CONFIGURATION | {"job_id": "whole"}
    del wanted["seed"]
    assert first.json() == again.json() == wanted
    assert "default_batch_size" in message(peer.register("whole", default_batch_size=8), 409)


def test_defaults_are_those_of_the_peer(peer: Peer) -> None:
    left_out = httpx.post(
        f"{peer.url}/jobs", json=ZEUS_JOB | {"job_id": "brief", "max_epochs": 100}, timeout=PATIENCE_SECONDS
    )
    named = peer.register("brief", max_epochs=100)
    assert (left_out.status_code, named.status_code) == (201, 200)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"job_id_prefix": "other"}, "job_id_prefix"),
        ({"job_id": "no/slash", "job_id_prefix": ""}, "job_id"),
        ({"batch_sizes": []}, "batch_sizes"),
        ({"batch_sizes": [8, 8, 32]}, "batch_sizes"),
        ({"batch_sizes": [-8, 32]}, "batch_sizes"),
        ({"batch_sizes": ["8", 32]}, "batch_sizes"),
        ({"default_batch_size": 128}, "default_batch_size"),
        ({"default_batch_size": 0}, "default_batch_size"),
        ({"eta_knob": 1.1}, "eta_knob"),
        ({"beta_knob": 0}, "beta_knob"),
        ({"beta_knob": True}, "beta_knob"),
        ({"target_metric": float("nan")}, "target_metric"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"num_pruning_rounds": -1}, "num_pruning_rounds"),
        ({"mab_num_explorations": -1}, "mab_num_explorations"),
        ({"max_power": 0}, "max_power"),
        ({"number_of_gpus": 0}, "number_of_gpus"),
        ({"gpu_model": ""}, "gpu_model"),
        ({"gpu_model": "nul\0"}, "gpu_model"),
    ],
)
def test_an_impossible_job_is_refused_by_the_name_of_the_field(peer: Peer, changes: dict[str, Any], field: str) -> None:
    assert field in message(peer.register(**{"job_id": "impossible", **changes}), 422)
    assert "impossible" in message(peer.predict("impossible"), 404)


def test_a_job_is_explored_in_the_published_order(peer: Peer) -> None:
    peer.register("ordered")
    costs = {8: 90.0, 16: 95.0, 32: 100.0, 64: 150.0}
    explored = []
    for number in range(1, 9):
        trial = peer.predict("ordered").json()
        assert (trial["job_id"], trial["trial_number"]) == ("ordered", number)
        explored.append(trial["batch_size"])
        verdict = peer.report(trial, costs[trial["batch_size"]]).json()
        assert (verdict["stop_train"], verdict["converged"]) == (True, True)
    assert explored == [32, 16, 8, 64, 8, 16, 32, 64]


def test_a_run_that_reaches_its_target_above_the_bound_has_not_converged(peer: Peer) -> None:
    peer.register("bounded")
    first = peer.predict("bounded").json()
    assert peer.report(first, metric=0.4).json()["stop_train"] is False
    assert peer.report(first, 110.0, current_epoch=2).json()["converged"] is True
    dear = peer.report(peer.predict("bounded").json(), 221.0, error=False, max_power=300).json()
    assert (dear["stop_train"], dear["converged"]) == (True, False)
    assert peer.predict("bounded").json()["batch_size"] == 64


def test_a_metric_that_is_nan_is_no_error(peer: Peer) -> None:
    peer.register("diverging")
    answer = peer.report(peer.predict("diverging").json(), metric=float("nan"))
    assert answer.status_code == 200
    assert answer.json()["stop_train"] is False


@pytest.mark.parametrize(
    "figures", [{"energy": float("inf")}, {"energy": "1"}, {"time": -1}, {"time": True}, {"current_epoch": 1.5}]
)
def test_impossible_figures_are_refused(peer: Peer, figures: dict[str, Any]) -> None:
    peer.register("figures")
    assert next(iter(figures)) in message(peer.report(peer.predict("figures").json(), **figures), 422)


def test_a_trial_that_ends_without_a_result_is_explored_again(peer: Peer) -> None:
    peer.register("ended")
    trial = peer.predict("ended").json()
    assert peer.end(trial).json() is None
    assert peer.end(trial).status_code == 200
    late = peer.report(trial).json()
    assert (late["stop_train"], late["converged"]) == (True, False)
    assert peer.predict("ended").json()["batch_size"] == trial["batch_size"]
    assert "has no trial 9" in message(peer.end(trial | {"trial_number": 9}), 404)


def test_a_deleted_job_can_be_registered_again(peer: Peer) -> None:
    peer.register("deleted")
    peer.predict("deleted")
    assert peer.delete("deleted").status_code == 200
    message(peer.delete("deleted"), 404)
    assert peer.register("deleted").status_code == 201
    assert peer.predict("deleted").json()["trial_number"] == 1


def test_a_job_appears_among_ours_and_moves_to_our_recommender_with_its_history(peer: Peer, server: Serving) -> None:
    peer.register("moving")
    peer.report(peer.predict("moving").json())
    settings = server.client.get("/v1/jobs/moving").json()["settings"]
    assert (settings["policy"], settings["target"]["value"], settings["max_epochs"]) == ("zeus", 0.5, 10)
    assert [trial["state"] for trial in server.client.get("/v1/jobs/moving/trials").json()["trials"]] == ["converged"]
    assert peer.register("moving", "?policy=rheostat").status_code == 200
    estimates = server.client.get("/v1/jobs/moving/estimates").json()
    assert estimates["policy"] == "rheostat"
    assert sum(arm["runs"] for arm in estimates["placements"][0]["arms"]) == 1
    assert peer.register("moving").status_code == 200
    assert server.client.get("/v1/jobs/moving").json()["settings"]["policy"] == "rheostat"
    assert peer.predict("moving").json()["trial_number"] == 2
    server.client.patch("/v1/jobs/moving", json={"policy": "zeus"}).raise_for_status()
    assert peer.predict("moving").json()["trial_number"] == 3


def test_a_new_job_may_start_with_another_policy(peer: Peer, server: Serving) -> None:
    assert peer.register("ours", "?policy=rheostat").status_code == 201
    assert server.client.get("/v1/jobs/ours").json()["settings"]["policy"] == "rheostat"
    message(peer.register("theirs", "?policy=nonsense"), 422)


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({}, True),
        ({"Content-Type": "application/json"}, True),
        ({"Content-Type": "text/plain"}, False),
        ({"Origin": "http://elsewhere.example"}, False),
    ],
)
def test_a_body_may_lack_its_type_unless_a_page_in_a_browser_sends_it(
    peer: Peer, headers: dict[str, str], is_taken: bool
) -> None:
    job = json.dumps(ZEUS_JOB | {"job_id": "typed"})
    answer = httpx.post(f"{peer.url}/jobs", content=job, headers=headers, timeout=PATIENCE_SECONDS)
    assert answer.is_success == is_taken
    ours = httpx.put(f"{peer.url.removesuffix('/zeus')}/v1/jobs/typed", content=job, timeout=PATIENCE_SECONDS)
    assert ours.status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "", 404), ("GET", "/nothing", 404), ("PUT", "/report", 405), ("GET", "/jobs/batch_size", 422)],
)
def test_errors_of_any_kind_are_messages(peer: Peer, method: str, path: str, status: int) -> None:
    assert message(httpx.request(method, peer.url + path), status)


def test_a_body_that_is_too_long_is_refused_with_a_message(peer: Peer) -> None:
    assert "longer" in message(peer.register("long", gpu_model="x" * 2**24), 413)


class Guarded:
    """A server that requires tokens, and the peer's client with one in its URL."""

    def __init__(self, server: Serving, tokens: dict[str, str]) -> None:
        self.address = str(server.client.base_url).rstrip("/").removeprefix("http://")
        self.tokens = tokens

    def peer(self, scope: str) -> Peer:
        return Peer(f"http://rheostat:{self.tokens[scope]}@{self.address}/zeus")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("guarded")
    url = f"sqlite:///{home / 'rheostat.db'}"
    tokens = {scope: make_token(url, scope, "--scope", scope) for scope in ("trainer", "read", "admin")}
    with serving(url, home / "log", RHEOSTAT_HOST="0.0.0.0") as server:
        yield Guarded(server, tokens | {"wrong": "rht_0_0"})
        assert not any(token in server.log() for token in tokens.values())


def test_the_token_may_be_a_password_in_the_url(guarded: Guarded) -> None:
    trainer, admin = guarded.peer("trainer"), guarded.peer("admin")
    assert trainer.register("nightly").status_code == 201
    assert trainer.report(trainer.predict("nightly").json()).json()["converged"] is True
    assert "scope admin" in message(trainer.register("nightly", "?policy=rheostat"), 403)
    assert admin.register("nightly", "?policy=rheostat").status_code == 200
    assert "scope admin" in message(trainer.delete("nightly"), 403)
    assert admin.delete("nightly").status_code == 200


@pytest.mark.parametrize(("who", "status"), [("read", 403), ("wrong", 401), (None, 401)])
def test_without_a_fitting_token_nothing_is_done(guarded: Guarded, who: str | None, status: int) -> None:
    peer = Peer(f"http://{guarded.address}/zeus") if who is None else guarded.peer(who)
    trial = {"job_id": "nightly", "batch_size": 8, "trial_number": 1}
    answers = [peer.register("nightly"), peer.predict("nightly"), peer.report(trial), peer.end(trial)]
    answers.append(peer.delete("nightly"))
    assert len(answers) == len(PEER_SCOPES)
    assert all(message(answer, status) for answer in answers)


@pytest.mark.parametrize("credentials", ["Basic", "Basic !", "Basic eA==", "Basic gDqA"])
def test_what_is_no_password_is_no_token(guarded: Guarded, credentials: str) -> None:
    answer = httpx.get(
        f"http://{guarded.address}/zeus/jobs/batch_size",
        headers={"Authorization": credentials},
        timeout=PATIENCE_SECONDS,
    )
    message(answer, 401)


def test_a_password_is_taken_by_no_other_route(guarded: Guarded) -> None:
    url = guarded.peer("admin").url.removesuffix("/zeus")
    assert httpx.get(f"{url}/v1/jobs", timeout=PATIENCE_SECONDS).status_code == 401


def test_two_workers_answer_trainers_of_one_job_without_an_error(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    with serving(database_url, tmp_path / "log", "--workers", "2") as server:
        peer = Peer(f"{str(server.client.base_url).rstrip('/')}/zeus")

        def train(_: int) -> list[int]:
            assert peer.register("nightly").is_success
            numbers = []
            for _ in range(4):
                trial = peer.predict("nightly").raise_for_status().json()
                numbers.append(trial["trial_number"])
                assert peer.report(trial).raise_for_status().json()["converged"]
                peer.end(trial).raise_for_status()
            return numbers

        with ThreadPoolExecutor(16) as pool:
            numbers = [number for numbers in pool.map(train, range(16)) for number in numbers]
        assert sorted(numbers) == list(range(1, 65))
        assert "Traceback" not in server.log()
