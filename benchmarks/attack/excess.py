"""One client with a valid token that does too much of what is allowed: it may slow itself, not the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import httpx

from benchmarks.attack.target import Attack, Target, Verdict

SECONDS = 20.0
"""How long each goes on."""

MOST_GROWTH = 3.0
"""How much longer the last requests may take than the first."""

_PATIENCE_SECONDS = 60.0
_SHARE = 10
_GPU = {"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250}
_MANY = list(range(8, 8 + 64 * 8, 8))
_SETTINGS: dict[str, Any] = {
    "batch_sizes": _MANY,
    "default_batch_size": 64,
    "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
    "max_epochs": 1_000_000,
    "power_limits_watts": list(range(101, 101 + 64 * 2, 2)),
}
_RUN = {"gpu": _GPU, "batch_size": 64, "energy_joules": 1000.0, "time_seconds": 10.0}

_Ask = Callable[..., Any]


@contextmanager
def _job(target: Target, name: str, **changes: Any) -> Iterator[_Ask]:
    """Register a job as large as jobs may be, and yield what sends requests about it."""
    with httpx.Client(base_url=f"http://127.0.0.1:{target.port}", timeout=_PATIENCE_SECONDS, trust_env=False) as client:

        def ask(method: str, path: str, body: Any = None) -> Any:
            answer = client.request(method, path.replace("JOB", f"/v1/jobs/{name}"), json=body)
            if answer.is_error:
                raise RuntimeError(f"{answer.status_code} {answer.text[:300]}")
            return answer.json()

        ask("PUT", "JOB", _SETTINGS | changes)
        yield ask


def _growth(step: Callable[[int], object]) -> Verdict:
    """Repeat a step, and compare how long the first ones and the last ones took."""
    times: list[float] = []
    began = perf_counter()
    refused = ""
    while (now := perf_counter()) < began + SECONDS:
        try:
            step(len(times))
        except RuntimeError as error:
            refused = f"; then {error}"
            break
        times.append(perf_counter() - now)
    part = max(len(times) // _SHARE, 1)
    first, last = (sorted(some)[len(some) // 2] for some in (times[:part], times[-part:]))
    words = f"{len(times)} times, from {1000 * first:.1f} to {1000 * last:.1f} ms{refused}"
    return Verdict(words, last <= MOST_GROWTH * first and not refused.startswith("; then 5"))


def _running(target: Target) -> Verdict:
    """Start trials and end none."""
    with _job(target, "never-ends") as ask:
        return _growth(lambda _: ask("POST", "JOB/predict", {"gpu": _GPU}))


def _reports(target: Target) -> Verdict:
    """Report a trial at ever smaller fractions of an epoch."""
    with _job(target, "talkative", beta_knob=None) as ask:
        trial = ask("POST", "JOB/predict", {"gpu": _GPU})["trial_id"]
        return _growth(
            lambda number: ask(
                "POST",
                f"/v1/trials/{trial}/observe",
                {"epoch": (number + 1) / 1000, "metric": 0.1 + number % 7 / 10**4, "energy_joules": number + 1.0,
                 "time_seconds": (number + 1) / 100},
            )
        )  # fmt: skip


def _curves(target: Target) -> Verdict:
    """Import whole runs, each with the longest curve."""
    curve = [[epoch / 10, 0.5 + epoch / 10**5] for epoch in range(1, 10_001)]
    with _job(target, "historian") as ask:
        return _growth(
            lambda number: ask(
                "POST", "JOB/observe", _RUN | {"curve": curve, "epochs": 1000, "batch_size": _MANY[number % 64]}
            )
        )


def _measured(target: Target) -> Verdict:
    """Measure 64 power limits of 64 batch sizes again and again."""
    measurements = [
        {"power_limit_watts": watts, "time_seconds": 1.0, "energy_joules": 50.0, "steps": 10, "steps_per_epoch": 10}
        for watts in _SETTINGS["power_limits_watts"]
    ] * 4
    with _job(target, "profiler") as ask:
        return _growth(
            lambda number: ask(
                "POST",
                "JOB/power/observe",
                {"gpu": _GPU, "batch_size": _MANY[number % 64], "measurements": measurements},
            )
        )


def _changed(target: Target) -> Verdict:
    """Change a knob again and again."""
    with _job(target, "restless") as ask:
        for number in range(200):
            ask("POST", "JOB/observe", _RUN | {"batch_size": _MANY[number % 64]})
        return _growth(lambda number: ask("PATCH", "JOB", {"eta_knob": number % 2 / 2}))


def _registered(target: Target) -> Verdict:
    """Register jobs without end."""
    with _job(target, "prolific") as ask:
        return _growth(lambda number: ask("PUT", f"/v1/jobs/prolific-{number}", _SETTINGS))


def _estimated(target: Target) -> Verdict:
    """Ask for the estimates of 64 batch sizes under 64 power limits, all of which have run."""
    with _job(target, "curious") as ask:
        for batch_size in _MANY:
            ask("POST", "JOB/observe", _RUN | {"batch_size": batch_size})
        return _growth(lambda _: ask("GET", "JOB/estimates"))


EXCESS = (
    Attack("trials that never end", _running),
    Attack("reports without end", _reports),
    Attack("runs with the longest curves", _curves),
    Attack("256 measurements at a time", _measured),
    Attack("a knob changed again and again", _changed),
    Attack("jobs without end", _registered),
    Attack("estimates of 64 batch sizes", _estimated),
)
"""What a client may do, too often; as large as it may be."""
