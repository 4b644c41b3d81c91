"""How many requests a token may make: a token bucket for each, in the memory of each worker.

Nothing that is true depends on it, so it need not be shared: with N workers a token gets up to N times the rate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

BURST_SECONDS = 5
"""A bucket that was left alone holds the requests of so many seconds."""


@dataclass(slots=True)
class _Bucket:
    requests: float
    filled_at: float


class RateLimit:
    """Buckets of requests, one a valid token: there are no more of them than operators made tokens.

    Args:
        per_second: Requests that flow into a bucket each second; 0: there is no limit.
        now: The clock.
    """

    def __init__(self, per_second: float, now: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._now = now
        self._buckets: dict[str, _Bucket] = {}

    def wait_seconds(self, token_id: str) -> int:
        """Take a request out of a token's bucket; return 0, or after how many seconds to come again."""
        if self._per_second == 0:
            return 0
        now = self._now()
        bucket = self._buckets.get(token_id)
        full = max(1.0, self._per_second * BURST_SECONDS)
        if bucket is None:
            bucket = self._buckets[token_id] = _Bucket(full, now)
        bucket.requests = min(full, bucket.requests + (now - bucket.filled_at) * self._per_second)
        bucket.filled_at = now
        if bucket.requests >= 1:
            bucket.requests -= 1
            return 0
        return ceil((1 - bucket.requests) / self._per_second)
