"""Trainers that go on whatever happens, and note what was acknowledged to them."""

from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import monotonic, sleep
from typing import Any, Self
from uuid import uuid4

import httpx

from tests.serving import SETTINGS, V100
from tests.waiting import PATIENCE_SECONDS

JOB = "hot"
JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


@dataclass
class Acknowledged:
    """What the server said it had done: numbers of trials by their ids, and figures of reports by trial and epoch."""

    trials: dict[str, int] = field(default_factory=dict)
    reports: dict[tuple[str, float], float] = field(default_factory=dict)
    refusals: list[tuple[int, str]] = field(default_factory=list)


class Trainers:
    """Threads that run trials until the block ends; a request that fails is sent again, as the SDK does.

    Args:
        urls: Where to ask; trainers take turns.
        count: How many trainers.
        vanish: Every so manieth trial is left without a report.
    """

    def __init__(self, urls: list[str], count: int = 4, vanish: int = 5) -> None:
        self.urls = urls
        self.said = Acknowledged()
        self._vanish = vanish
        self._stop = Event()
        self._lock = Lock()
        self._threads = [Thread(target=self._train, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def wait_for_reports(self, more: int) -> None:
        """Wait until so many more reports were acknowledged."""
        before, give_up_at = len(self.said.reports), monotonic() + PATIENCE_SECONDS
        while len(self.said.reports) < before + more:
            assert monotonic() < give_up_at, self.said.refusals[-1:]
            sleep(0.01)

    def _train(self, number: int) -> None:
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as http:
            while not self._stop.is_set():
                self._recur(http, number)

    def _recur(self, http: httpx.Client, at: int) -> None:
        trial = self._insist(http, at, f"/v1/jobs/{JOB}/predict", {"gpu": V100}, {"Idempotency-Key": uuid4().hex})
        if trial is None:
            return
        with self._lock:
            self.said.trials[trial["trial_id"]] = trial["number"]
        if trial["number"] % self._vanish == 0:
            return
        joules = JOULES[trial["batch_size"]] * (1 + trial["number"] % 7 / 100)
        for epoch, metric in ((1.0, 0.5), (2.0, 0.95)):
            body = {"epoch": epoch, "metric": metric, "energy_joules": joules * epoch / 2, "time_seconds": epoch}
            answer = self._insist(http, at, f"/v1/trials/{trial['trial_id']}/observe", body, {})
            if answer is None:
                return
            with self._lock:
                self.said.reports[trial["trial_id"], epoch] = joules * epoch / 2
            if answer["action"] == "stop":
                return

    def _insist(
        self, http: httpx.Client, at: int, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any] | None:
        while not self._stop.is_set():
            try:
                answer = http.post(self.urls[at % len(self.urls)] + path, json=body, headers=headers)
            except httpx.HTTPError:
                self._stop.wait(0.02)
                continue
            if answer.is_success:
                done: dict[str, Any] = answer.json()
                return done
            with self._lock:
                self.said.refusals.append((answer.status_code, answer.text))
            if answer.status_code < 500:
                return None
            self._stop.wait(0.02)
        return None


def register(url: str) -> None:
    """Register the job that all trainers share."""
    httpx.put(f"{url}/v1/jobs/{JOB}", json=SETTINGS, timeout=PATIENCE_SECONDS, trust_env=False).raise_for_status()
