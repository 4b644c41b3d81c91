"""How many requests a token may make."""

from rheostat.api.rate_limit import BURST_SECONDS, RateLimit


class _Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_burst_is_taken_and_then_the_rate() -> None:
    clock = _Clock()
    limit = RateLimit(10.0, clock)
    assert [limit.wait_seconds("a") for _ in range(10 * BURST_SECONDS)] == [0] * 10 * BURST_SECONDS
    assert limit.wait_seconds("a") == 1
    clock.time += 0.2
    assert [limit.wait_seconds("a") for _ in range(3)] == [0, 0, 1]


def test_the_wait_is_as_long_as_the_next_request_takes_to_flow_in() -> None:
    clock = _Clock()
    limit = RateLimit(0.1, clock)
    assert limit.wait_seconds("a") == 0
    assert limit.wait_seconds("a") == 10
    clock.time += 10
    assert limit.wait_seconds("a") == 0


def test_tokens_do_not_share_a_bucket() -> None:
    limit = RateLimit(0.1, _Clock())
    assert [limit.wait_seconds(token) for token in "abab"] == [0, 0, 10, 10]


def test_nought_is_no_limit() -> None:
    limit = RateLimit(0.0, _Clock())
    assert not any(limit.wait_seconds("a") for _ in range(10_000))
