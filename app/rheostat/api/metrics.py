"""Metrics for Prometheus: what requests come to, and what becomes of trials. Never a job or a token as a label.

The workers of one server share a folder, so that whichever is asked answers for all of them, also for one that has
died. What the database knows (how many trials run) is asked for at each scrape and is the same at every replica.
"""

import os
from collections.abc import Iterable, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import rheostat
from rheostat.api.metrics_directory import VARIABLE
from rheostat.schemas.server import TrialState
from rheostat.service.operations import Census

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SUCCESS = range(200, 300)


class Metrics:
    """The counts of this process, and the page that tells those of all workers."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._requests = Counter(
            "rheostat_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._own
        )
        self._duration = Histogram(
            "rheostat_http_request_duration_seconds",
            "Time from the head of a request to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._own,
        )
        self._problems = Counter(
            "rheostat_problems", "Answers that are problems, by their stable code.", ["code"], registry=self._own
        )
        self._started = Counter("rheostat_trials_started", "Trials that predict made.", registry=self._own)
        self._ended = Counter(
            "rheostat_trials_ended",
            "Trials that ended; one that was given up may end again.",
            ["state"],
            registry=self._own,
        )
        self._energy = Counter(
            "rheostat_trial_energy_joules", "Energy of ended trials, as reported.", ["state"], registry=self._own
        )
        self._time = Counter(
            "rheostat_trial_time_seconds", "Training time of ended trials, as reported.", ["state"], registry=self._own
        )

        self._by_route: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        for state in get_args(TrialState):
            if state != "running":
                self._ended.labels(state)  # from nought on, or the first of them would be no increase

    def count(self, method: str, route: str, status: int, seconds: float, facts: Mapping[str, object]) -> None:
        """Count a request that was answered.

        Args:
            method: Its method.
            route: Template of its path: the path itself would be a label without bound.
            status: What it was answered with.
            seconds: How long it took.
            facts: What the use case noted of it.
        """
        requests, duration = self._of_route(method if method in _METHODS else "other", route, status)
        requests.inc()
        duration.observe(seconds)
        if "problem" in facts:
            self._problems.labels(facts["problem"]).inc()
        if status not in _SUCCESS:
            return  # what was noted has been rolled back
        if facts.get("started"):
            self._started.inc()
        abandoned = facts.get("abandoned")
        if isinstance(abandoned, int):
            self._ended.labels("abandoned").inc(abandoned)
        if "ended" in facts:
            self._ended.labels(facts["ended"]).inc()
            for counter, figure in ((self._energy, "energy_joules"), (self._time, "time_seconds")):
                value = facts.get(figure)
                if isinstance(value, float):
                    counter.labels(facts["ended"]).inc(value)

    def _of_route(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """Return the counters with these labels; the library takes a lock to find them."""
        key = (method, route, status)
        found = self._by_route.get(key)
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._duration.labels(method, route)
            self._by_route[key] = found
        return found

    def page(self, counted: Census | None) -> bytes:
        """Return all metrics in the text format of Prometheus.

        Args:
            counted: What is in the database; None when it does not answer.
        """
        registry = CollectorRegistry()
        registry.register(_Now(counted))
        if os.environ.get(VARIABLE):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(registry) + generate_latest(self._own)


class _Now(Collector):
    def __init__(self, counted: Census | None) -> None:
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("rheostat_build_info", "The version that runs; always 1.", labels=["version"])
        build.add_metric([rheostat.__version__], 1)
        yield build
        yield GaugeMetricFamily("rheostat_database_up", "Whether the database answers.", self._counted is not None)
        if self._counted is not None:
            yield GaugeMetricFamily("rheostat_jobs", "Registered jobs.", self._counted.jobs)
            yield GaugeMetricFamily(
                "rheostat_trials_running", "Trials whose lease has not run out.", self._counted.running_trials
            )
