"""When the next link may be dialled: the backoff, and the exchange's limit.

Rules of this file
- The backoff doubles with each link that ends before it was steady, up to its bound; half of it is the jitter's to take
  away, so that a fleet that was dropped at one moment does not come back at one moment.
- Whatever the backoff says, no more dials go out in 5 minutes than the limit allows.
- The jitter is the caller's number, and may raise: it is asked in `opens` alone, when nothing else is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .rate_limit import Pace
from .session_config import SessionConfig

FIVE_MINUTES = 300.0
"""Seconds. The exchange counts connection requests by it."""

_DOUBLINGS = 60
"""More than any bound needs, and few enough for a float."""


class Redial:
    """The moment of the next dial."""

    __slots__ = ("_at", "_backoff", "_config", "_failures", "_jitter", "_not_before", "_pace")

    def __init__(self, config: SessionConfig, jitter: Callable[[], float]) -> None:
        self._config = config
        self._jitter = jitter
        self._pace = Pace(config.dials_per_5_minutes, FIVE_MINUTES)
        self._failures = 0
        """How many dials in a row have led to no steady link."""
        self._at = -inf
        self._backoff = 0.0
        """The backoff of which the jitter has not taken its part."""
        self._not_before = -inf

    def overheard(self, by: Callable[[Callable[[], float]], Callable[[], float]]) -> None:
        """Let a recorder stand before the jitter."""
        self._jitter = by(self._jitter)

    def opens(self) -> float:
        """When the next dial may go. Asks for the jitter after a `back_off`: what that raises comes out of here, and then the
        whole backoff holds.
        """
        backoff, self._backoff = self._backoff, 0.0
        if backoff:
            number = self._jitter()
            if 0.0 <= number <= 1.0:
                self._at -= backoff * 0.5 * number
        return max(self._at, self._not_before, self._pace.opens())

    def dialled(self, now: float) -> None:
        """A dial was handed out."""
        self._pace.take(now)

    def served(self, seconds: float) -> None:
        """The link has served for so long: when that was steady, the backoff begins anew."""
        steady = self._config.steady_after
        if steady is None or seconds >= steady:
            self._failures = 0

    def retry_after(self, now: float, seconds: float) -> None:
        """The exchange asks for no dial within so many seconds: up to 300 are granted."""
        self._not_before = max(self._not_before, now + min(seconds, FIVE_MINUTES))

    def back_off(self, now: float) -> None:
        """Another dial will be needed: choose its moment."""
        shortest, longest = self._config.backoff_min, self._config.backoff_max
        if shortest is None:
            self._at = now
            return
        self._backoff = min(
            shortest * 2.0 ** min(self._failures, _DOUBLINGS), inf if longest is None else longest
        )
        self._failures += 1
        self._at = now + self._backoff

    def hasten(self, now: float) -> None:
        """The dial is needed now: after a link that was steady, let it wait no longer than for a first backoff."""
        shortest = self._config.backoff_min
        if shortest is not None and not self._failures and now + shortest < self._at:
            self.back_off(now)
