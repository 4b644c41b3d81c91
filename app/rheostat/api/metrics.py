"""Metrics for Prometheus: counts of requests and of what they changed. No label is ever a job or a token.

The workers of one server share a directory, so that any of them can answer a scrape for all, including those that have
exited. Gauges of the database (running trials) are queried at each scrape and are the same at every replica.
"""

import os
from collections.abc import Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import rheostat
from rheostat.api.metrics_directory import VARIABLE
from rheostat.api.request_record import RequestRecord
from rheostat.schemas.fields import TrialState
from rheostat.service import Counts, Event, PolicyFailureTolerated, TrialEnded, TrialStarted

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of this process, and the page with those of all workers."""

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
        self._started = Counter("rheostat_trials_started", "Trials that predict started.", registry=self._own)
        self._ended = Counter(
            "rheostat_trials_ended",
            "Trials that ended; an abandoned one may end again.",
            ["state"],
            registry=self._own,
        )
        self._energy = Counter(
            "rheostat_trial_energy_joules", "Energy of ended trials, as reported.", ["state"], registry=self._own
        )
        self._time = Counter(
            "rheostat_trial_time_seconds", "Training time of ended trials, as reported.", ["state"], registry=self._own
        )

        self._policy_failures = Counter(
            "rheostat_policy_failures_tolerated",
            "Errors of policies that a request was answered in spite of.",
            registry=self._own,
        )
        self._by_route: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        for state in get_args(TrialState):
            if state != "running":
                self._ended.labels(state)  # exported from zero: a series that starts at 1 shows no increase

    def count(self, method: str, route: str, status: int, seconds: float, record: RequestRecord) -> None:
        """Count a request that has been answered, and what it changed.

        Args:
            method: Its method.
            route: Template of its path; paths themselves would make an unbounded number of labels.
            status: Status of the answer.
            seconds: Time that it took.
            record: What is known of it.
        """
        requests, duration = self._of_route(method if method in _METHODS else "other", route, status)
        requests.inc()
        duration.observe(seconds)
        if record.problem is not None:
            self._problems.labels(record.problem).inc()
        for event in record.events:
            self._count_event(event)

    def _count_event(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._started.inc()
        elif isinstance(event, PolicyFailureTolerated):
            self._policy_failures.inc()
        elif isinstance(event, TrialEnded):
            self._ended.labels(event.state).inc()
            self._energy.labels(event.state).inc(event.energy_joules or 0.0)
            self._time.labels(event.state).inc(event.time_seconds or 0.0)

    def _of_route(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """Return the counters with these labels, from a cache: the library looks them up under a lock."""
        key = (method, route, status)
        found = self._by_route.get(key)
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._duration.labels(method, route)
            self._by_route[key] = found
        return found

    def page(self, counted: Counts | None) -> bytes:
        """Return all metrics in the text format of Prometheus.

        Args:
            counted: Counts of what is in the database; None when it does not answer.
        """
        registry = CollectorRegistry()
        registry.register(_Gauges(counted))
        if os.environ.get(VARIABLE):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(registry) + generate_latest(self._own)


class _Gauges(Collector):
    def __init__(self, counted: Counts | None) -> None:
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("rheostat_build_info", "Version of the server; always 1.", labels=["version"])
        build.add_metric([rheostat.__version__], 1)
        yield build
        yield GaugeMetricFamily("rheostat_database_up", "Whether the database answers.", self._counted is not None)
        if self._counted is not None:
            yield GaugeMetricFamily("rheostat_jobs", "Registered jobs.", self._counted.jobs)
            yield GaugeMetricFamily(
                "rheostat_trials_running", "Trials whose lease has not expired.", self._counted.running_trials
            )
