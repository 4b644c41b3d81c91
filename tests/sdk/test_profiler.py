"""How profiling ends and goes on, over a lease that fails as it is told; with a real agent in test_profiling.py."""

import logging
from collections.abc import Iterator, Sequence
from threading import Event, Thread
from time import monotonic

import pytest

from rheostat.errors import RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas.agent import EnergySource
from rheostat.schemas.power import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.sdk import profiling
from rheostat.sdk.gpu_lease import GpuLease, TotalUsage
from rheostat.sdk.profiling import Profiler
from rheostat.sdk.ranks import Alone
from rheostat.sdk.slices import SliceRules
from rheostat.sdk.step_clock import StepClock
from tests.waiting import Stopwatch, eventually

AWAY = ServerUnreachable("There is no agent socket.")
READ_ONLY = ServerRefused("The site forbids it.", status=403, server_code="gpu_read_only")
QUICK = SliceRules(shortest_settle_seconds=0.0, shortest_seconds=0.0, longest_seconds=0.05)


class FakeLease(GpuLease):
    """A lease without an agent.

    Attributes:
        limits_watts: What was set, in order; None is the limit found.
        problem: Why nothing can be set; None: it can.
        loses: Why only the limit found can be set; None: any can.
        joules: What a window used; None is unknown.
    """

    def __init__(self) -> None:
        self.gpus = ["GPU-0"]
        self.lease_id = "lease"
        self.limits_watts: list[float | None] = []
        self.problem: RheostatError | None = None
        self.loses: RheostatError | None = None
        self.joules: float | None = 1000.0
        self._changes = 0

    @property
    def energy_source(self) -> EnergySource:
        return "counter"

    def try_limit(self, power_limit_watts: float) -> bool:
        if self.loses is not None:
            raise self.loses
        return self._note(power_limit_watts)

    def settle(self, best_watts: float | None) -> None:
        self._note(best_watts)

    def usage(self, since_ns: int, until_ns: int) -> TotalUsage:
        return TotalUsage(self.joules)

    def _note(self, watts: float | None) -> bool:
        if self.problem is not None:
            raise self.problem
        self.limits_watts.append(watts)
        return True

    @property
    def in_force(self) -> float | None:
        return self.limits_watts[-1]


class Run:
    """A run whose steps end every few milliseconds, until it is told otherwise."""

    def __init__(self) -> None:
        self.clock, self.lease = StepClock(), FakeLease()
        self.sent: list[int] = []
        self.limits = [300, 200, 150]
        self.trains = Event()
        self.profiler = Profiler(self.clock, self.lease, Alone(), self.send, 100)
        self._over = Event()
        self._thread = Thread(target=self._train)
        self._thread.start()
        self.trains.set()

    def _train(self) -> None:
        while not self._over.wait(0.002):
            if self.trains.is_set():
                self.clock.step()

    def send(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        self.sent += [one.power_limit_watts or 0 for one in measurements]
        left = [watts for watts in self.limits if watts not in self.sent]
        return PowerLimitAnswer(power_limit_watts=None if left else 200, profile_power_limits_watts=left)

    def profile(self, known_watts: int | None = None) -> None:
        """Profile to the end."""
        self.profiler.start(known_watts, [] if known_watts else self.limits)
        self.end()

    def end(self) -> None:
        eventually(lambda: not self.profiler.is_running, 20)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.profiler.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Run]:
    caplog.set_level(logging.INFO, "rheostat")
    monkeypatch.setattr(profiling, "BY_COUNTER", QUICK)
    monkeypatch.setattr(profiling, "_SHORTEST_POLL_SECONDS", 0.01)
    monkeypatch.setattr(profiling, "_RETRY_SECONDS", 0.01)
    run = Run()
    yield run
    run.close()


def ends(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    start = "Profiling of power limits ends: "
    return [(one.levelno, one.message.removeprefix(start)) for one in caplog.records if one.message.startswith(start)]


def test_a_sweep_ends_at_the_best_limit_and_says_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.profile()
    assert run.sent == [300, 200, 150, 300]
    assert run.lease.in_force == 200
    assert ends(caplog) == []


def test_a_run_that_ends_before_a_limit_is_measured_says_so_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.trains.clear()
    run.profiler.start(None, run.limits)
    for _ in range(2):
        run.profiler.close()
    (told,) = [record for record in caplog.records if "too soon to measure" in record.message]
    assert told.levelno == logging.WARNING


def test_a_run_whose_best_limit_is_known_may_be_short(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.trains.clear()
    run.profiler.start(200, [])
    run.profiler.close()
    assert "too soon" not in caplog.text


@pytest.mark.parametrize("known_watts", [None, 200])
def test_too_few_steps_end_it_after_a_time(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, known_watts: int | None
) -> None:
    never = SliceRules(fewest_steps=10**9, give_up_seconds=0.2, give_up_steps=20)
    monkeypatch.setattr(profiling, "BY_COUNTER", never)
    run.profile(known_watts)
    assert run.lease.in_force == known_watts
    ((level, why),) = ends(caplog)
    assert level == (logging.WARNING if known_watts is None else logging.INFO)
    assert "too few steps" in why


def test_a_run_that_no_longer_steps_ends_it(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "_IDLE_SECONDS", 0.2)
    run.trains.clear()
    run.profile()
    assert run.lease.limits_watts == [300, None]
    assert "No step" in ends(caplog)[0][1]


def test_a_sweep_that_takes_too_long_ends(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "BY_COUNTER", SliceRules(fewest_steps=10**9))
    monkeypatch.setattr(profiling, "_LONGEST_SECONDS", 0.2)
    monkeypatch.setattr(profiling, "_MOST_STEPS", 20)
    run.profile()
    assert run.lease.in_force is None
    assert "more than" in ends(caplog)[0][1]


def test_unknown_energy_is_measured_again_and_then_ends_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.lease.joules = None
    run.profile()
    assert run.lease.limits_watts.count(300) == 6  # three times set, and checked
    assert run.lease.in_force is None
    assert "energy" in ends(caplog)[0][1]


def test_a_limit_that_nobody_may_change_is_no_warning(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.lease.problem = READ_ONLY
    run.profile()
    assert run.lease.limits_watts == []
    assert ends(caplog) == [(logging.INFO, "The site forbids it.")]


def test_a_server_that_does_not_answer_is_no_second_warning(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.profiler, "_send", lambda _: None)
    run.profile()
    assert run.lease.in_force is None
    assert ends(caplog)[0][0] == logging.INFO


def test_interruptions_are_bounded(run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(since_ns: int, until_ns: int) -> TotalUsage:
        raise AWAY

    monkeypatch.setattr(run.lease, "usage", usage)
    run.profile()
    assert run.lease.limits_watts == [300, None] * 10
    assert "too often" in ends(caplog)[0][1]


def test_a_gpu_that_is_lost_under_the_limit_found_is_not_tried_ten_times_in_a_moment(run: Run) -> None:
    run.profiler.start(None, run.limits)
    eventually(lambda: run.sent != [])
    run.lease.loses = AWAY
    begin = monotonic()
    eventually(lambda: run.lease.limits_watts.count(None) == 5)
    run.lease.loses = None
    assert monotonic() - begin > (1 + 2 + 4 + 8) * profiling._RETRY_SECONDS
    run.end()
    assert run.lease.in_force == 200


def test_while_the_agent_is_away_the_limit_found_is_tried_until_the_trial_ends(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.profiler.start(None, run.limits)
    eventually(lambda: run.lease.limits_watts != [])
    run.lease.problem = AWAY
    eventually(lambda: "is interrupted" in caplog.text)
    watch = Stopwatch()
    run.profiler.close()
    assert watch.seconds() < 1
    assert not run.profiler.is_running
    assert ends(caplog) == []
