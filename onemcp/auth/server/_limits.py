"""How often somebody may ask: a bucket of tokens for each, bounded in number."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, NamedTuple

from onemcp.auth.server._errors import TooManyRequests

MAX_KNOWN: Final = 10_000


class _Bucket(NamedTuple):
    level: float
    at: float


class RateLimit:
    """Lets each of many through so many times in a period, as a leaky bucket does."""

    def __init__(self, count: int, period: float) -> None:
        """Let through `count` at once, and as many again in `period` seconds."""
        self.count = count
        self.period = period
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __repr__(self) -> str:
        return f"<RateLimit {self.count} in {self.period:g} s, {len(self._buckets)} known>"

    def check(self, who: str, now: float) -> None:
        """Count one more request.

        Args:
            who: Whose; whoever is unknown may ask.
            now: The time, in seconds.

        Raises:
            TooManyRequests: It is one too many.
        """
        bucket = self._buckets.pop(who, _Bucket(0, now))
        drained = max(0.0, bucket.level - max(0.0, now - bucket.at) * self.count / self.period)
        allowed = drained + 1 <= self.count
        self._buckets[who] = _Bucket(drained + 1 if allowed else drained, now)
        if len(self._buckets) > MAX_KNOWN:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = (drained + 1 - self.count) * self.period / self.count
            raise TooManyRequests(max(1, math.ceil(wait)))

    def forget(self, who: str) -> None:
        """Let somebody start anew."""
        self._buckets.pop(who, None)
