"""When samples were taken, whatever happens to the wall clock that stamps them."""

from itertools import pairwise

import pytest

from rheostat.agent.sample_clock import SampleClock

MS = 1_000_000


class Ring:
    """A ring of samples every 20 ms, whose values are the milliseconds at which they were taken."""

    def __init__(self) -> None:
        self.now_ms = 10_000
        self.offset_ms = 5_000_000
        self._samples: list[tuple[int, int]] = []
        self.clock = SampleClock(lambda: self.now_ms * MS, lambda: (self.now_ms + self.offset_ms) * MS)

    def run(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 20):
            self.now_ms += 20
            self._samples.append(((self.now_ms + self.offset_ms) * 1000, self.now_ms))
        self._samples = self._samples[-119:]

    def place(self) -> list[tuple[int, int]]:
        since_us = self.clock.since_us()
        return self.clock.place([sample for sample in self._samples if sample[0] > since_us])


def test_each_sample_is_returned_once_at_its_time() -> None:
    ring = Ring()
    ring.run(3000)
    placed = ring.place()
    assert len(placed) == 119
    ring.run(100)
    placed += ring.place()
    assert len(placed) == 124
    assert all(time == value * MS for time, value in placed)
    assert ring.place() == []


@pytest.mark.parametrize("jump_ms", [-3_600_000, -300, -100, 100, 300, 3_600_000])
@pytest.mark.parametrize("after_ms", [0, 20, 400])
def test_a_clock_that_is_set_does_not_move_samples(jump_ms: int, after_ms: int) -> None:
    ring = Ring()
    ring.run(3000)
    placed = ring.place()
    ring.run(300)
    ring.offset_ms += jump_ms
    ring.run(after_ms)
    placed += ring.place()
    ring.run(300)
    placed += ring.place()
    assert [value for _, value in placed] == list(range(placed[0][1], ring.now_ms + 1, 20))
    assert all(time == value * MS for time, value in placed)


def test_a_clock_that_is_slewed_hardly_moves_samples() -> None:
    ring = Ring()
    placed = []
    for _ in range(10):
        ring.run(500)
        placed += ring.place()
        ring.offset_ms += 1
    assert all(15 * MS < after[0] - before[0] < 25 * MS for before, after in pairwise(placed))
