"""The store that `Lease` asks, as a model: the ring of the last moments that it has booked.

It is written from docs/scaling.md, not from the script for Redis, which has tests of its own.
"""

from __future__ import annotations

from math import inf

LEASE = 0.02
SPACING = 1.07


class Store:
    """Books moments first come, first served, at most `limit` in `SPACING` seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.moments: list[float] = []
        self.since = inf

    def forget(self) -> None:
        """Lose everything, as in a restart."""
        self.moments, self.since = [], inf

    def ask(self, n: int, place: str, now: float) -> tuple[float, str]:
        """Return the delay and the place of what is booked, or of the place that is redeemed."""
        if self.since == inf:
            self.since = now + 2 * LEASE  # what was granted before may be used until then
        since, _, moment = place.partition("/")
        if moment and float(since) == self.since and now <= float(moment):
            return float(moment) - LEASE - now, place
        oldest = self.limit - n + 1
        before = self.moments[-oldest] if len(self.moments) >= oldest else self.since
        booked = max([now + LEASE, before + SPACING, *self.moments[-1:]])
        self.moments += [booked] * n
        return booked - LEASE - now, f"{self.since!r}/{booked!r}"
