"""How many wrong tokens an address may send."""

from rheostat.api import wrong_tokens
from rheostat.api.wrong_tokens import BURST, PER_MINUTE, WrongTokens


def _tries(counts: WrongTokens, address: str, now: float) -> int:
    """Return how many wrong tokens an address may send at once."""
    for tries in range(1000):
        if counts.is_over(address, now):
            return tries
        counts.add(address, now)
    raise AssertionError("without end")


def test_after_a_burst_there_is_a_rate() -> None:
    counts = WrongTokens()
    assert _tries(counts, "192.0.2.1", 100.0) == BURST
    assert counts.wait_seconds("192.0.2.1", 100.0) == 60 / PER_MINUTE
    assert _tries(counts, "192.0.2.1", 100.0 + 60.0) == PER_MINUTE
    assert _tries(counts, "192.0.2.1", 100.0 + 3600.0) == BURST


def test_what_comes_too_often_does_not_make_the_wait_longer() -> None:
    counts = WrongTokens()
    _tries(counts, "192.0.2.1", 0.0)
    for _ in range(1000):
        counts.add("192.0.2.1", 0.0)
    assert counts.wait_seconds("192.0.2.1", 0.0) == 60 / PER_MINUTE


def test_addresses_are_counted_apart_and_those_of_one_ipv6_host_together() -> None:
    counts = WrongTokens()
    _tries(counts, "192.0.2.1", 0.0)
    assert not counts.is_over("192.0.2.2", 0.0)
    _tries(counts, "2001:db8::1", 0.0)
    assert counts.is_over("2001:db8::ffff", 0.0)
    assert not counts.is_over("2001:db8:0:1::1", 0.0)


def test_the_addresses_remembered_are_bounded() -> None:
    counts = WrongTokens()
    for number in range(wrong_tokens._MAX_ADDRESSES + 100):
        counts.add(f"192.0.{number // 256}.{number % 256}", 0.0)
    assert len(counts._free_at) == wrong_tokens._MAX_ADDRESSES
