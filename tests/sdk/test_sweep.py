"""Which limits are measured, over steps in a time of their own, and a server that wants all of them."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate

import pytest

from rheostat.schemas.power import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.sdk.rhythm import Rhythm
from rheostat.sdk.slices import BY_COUNTER
from rheostat.sdk.sweep import MeasuredLimit, ServerAway, Sweep, cheapest_limit
from tests.sdk.steps import Sliced, accumulated, ends

LIMITS = [300, 250, 200, 150]


class Server:
    """It wants all limits, and then knows the highest as the best."""

    def __init__(self, limits: Sequence[int] = LIMITS) -> None:
        self.limits = limits
        self.known: dict[int, PowerLimitMeasurement] = {}
        self.reports: list[list[int]] = []
        self.answers = True

    def send(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        self.reports.append([one.power_limit_watts or 0 for one in measurements])
        self.known |= {one.power_limit_watts or 0: one for one in measurements}
        left = [watts for watts in self.limits if watts not in self.known]
        best = None if left else max(self.known)
        return PowerLimitAnswer(power_limit_watts=best, profile_power_limits_watts=left) if self.answers else None


def measured(watts: int, seconds: float = 1.0, *, draw: float = 1000.0, rhythm: int = 0) -> MeasuredLimit:
    measurement = PowerLimitMeasurement(power_limit_watts=watts, time_seconds=seconds, energy_joules=watts, steps=1)
    return MeasuredLimit(measurement, watts_per_gpu=draw, is_capped=draw > watts, rhythm=rhythm)


def lowest(measurements: Sequence[PowerLimitMeasurement]) -> int | None:
    return min((one.power_limit_watts or 0 for one in measurements), default=None)


def swept(server: Server, measure: Callable[[int, bool], MeasuredLimit | None]) -> Sweep:
    sweep = Sweep(server.limits, server.send, lowest)
    sweep.run(measure)
    return sweep


def test_limits_are_measured_from_the_highest_down_and_the_first_again_at_the_end() -> None:
    server, certain = Server(), list[bool]()

    def measure(watts: int, is_certain: bool) -> MeasuredLimit:
        certain.append(is_certain)
        return measured(watts)

    assert swept(server, measure).best == 300
    assert server.reports == [[300], [250], [200], [150], [300]]
    assert certain == [True, False, False, False, True]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_limits_end_in_a_best_one(count: int) -> None:
    server = Server(LIMITS[:count])
    assert swept(server, lambda watts, _: measured(watts)).best == 300


def test_where_only_some_limits_can_be_set_the_best_of_them_is_chosen_here() -> None:
    server = Server()
    assert swept(server, lambda watts, _: measured(watts) if watts < 220 else None).best == 150
    assert server.reports == [[200], [150]]


def test_where_none_can_be_set_none_is_the_best() -> None:
    assert swept(Server(), lambda watts, _: None).best is None


def test_limits_above_the_draw_are_reported_with_the_first() -> None:
    server = Server()
    swept(server, lambda watts, _: measured(watts, draw=180.0))
    assert server.reports == [[300, 250, 200], [150]]


def test_an_interrupted_sweep_goes_on_where_it_was() -> None:
    server, fails = Server(), iter([False, True, False, False, False, False])

    def measure(watts: int, is_certain: bool) -> MeasuredLimit:
        if next(fails):
            raise RuntimeError
        return measured(watts)

    sweep = Sweep(server.limits, server.send, lowest)
    with pytest.raises(RuntimeError):
        sweep.run(measure)
    sweep.run(measure)
    assert sweep.best == 300
    assert server.reports == [[300], [250], [200], [150], [300]]


def test_without_the_server_it_ends() -> None:
    server = Server()
    server.answers = False
    with pytest.raises(ServerAway):
        swept(server, lambda watts, _: measured(watts))


def test_limits_measured_before_the_pattern_of_steps_was_known_are_measured_again_a_few_times() -> None:
    server, rhythms = Server(), iter(range(100))
    swept(server, lambda watts, _: measured(watts, rhythm=next(rhythms)))
    assert len(server.reports) < 15


@pytest.mark.parametrize(
    ("batches", "batch_seconds", "update_seconds"),
    [
        (1, 0.0, 0.1),
        (2, 0.1, 0.7),
        (4, 0.1, 0.25),
        (8, 0.02, 0.1),
        (8, 0.05, 0.6),
        (16, 0.1, 0.9),
        (32, 0.02, 0.27),
        (64, 0.02, 0.5),
        (100, 0.01, 0.5),
    ],
)
def test_accumulated_gradients_are_measured_in_whole_updates(
    batches: int, batch_seconds: float, update_seconds: float
) -> None:
    noise, rhythm = random.Random(1), Rhythm()
    run = [one * noise.uniform(0.97, 1.03) for one in accumulated(2000, batches, batch_seconds, update_seconds)]
    steps, moments, server = ends(run), [0.0, *accumulate(run)], Server()
    at = 0

    def measure(watts: int, is_certain: bool) -> MeasuredLimit:
        nonlocal at
        sliced = Sliced(steps, BY_COUNTER, moments[at], rhythm, is_certain=is_certain)
        at = sliced.last
        return measured(watts, sliced.mean_seconds, rhythm=rhythm.changes)

    swept(server, measure)
    truth = (batch_seconds * (batches - 1) + update_seconds) / batches
    assert [one.time_seconds for one in server.known.values()] == pytest.approx([truth] * 4, rel=0.02)
    assert moments[at] < 60


def test_the_cheapest_limit_is_chosen_as_the_server_would() -> None:
    measurements = [
        PowerLimitMeasurement(power_limit_watts=watts, time_seconds=seconds * 10, energy_joules=joules * 10, steps=10)
        for watts, seconds, joules in ((300, 1.0, 300.0), (200, 1.1, 210.0), (100, 2.0, 190.0))
    ]
    gpu = Gpu(model="GPU", count=2, min_power_limit_watts=100, max_power_limit_watts=300)

    def chosen(eta_knob: float, max_slowdown: float | None = None) -> int | None:
        settings = JobSettings(
            batch_sizes=[8], default_batch_size=8, max_epochs=1, eta_knob=eta_knob, max_slowdown=max_slowdown
        )
        return cheapest_limit(measurements, settings, gpu)

    assert [chosen(eta) for eta in (0.0, 0.5, 1.0)] == [300, 200, 100]
    assert chosen(1.0, max_slowdown=1.2) == 200
    assert cheapest_limit([], JobSettings(batch_sizes=[8], default_batch_size=8, max_epochs=1), gpu) is None
