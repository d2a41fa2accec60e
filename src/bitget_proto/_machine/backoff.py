"""The backoff between dials and the exchange's limit on dials.

The backoff doubles, up to its maximum, with each link that ends before it was steady. The jitter
takes off up to half of it, so that clients that were dropped at the same time do not all come back
at the same time. Independently of the backoff, the limit on dials in 5 minutes is never exceeded.

The jitter function is the caller's and may raise. Call it only in `allowed_at`, where no other
change is in progress.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TypeAlias

from .._values.errors import ValidationError, safe_repr
from .._values.events import CallerError
from .rate_limit import SlidingWindow
from .session_config import SessionConfig

FIVE_MINUTES = 300.0
"""Seconds: the window in which the exchange counts connection requests."""

_DOUBLINGS = 60
"""The maximum number of doublings: enough for any maximum, and no overflow of a float."""

Draw: TypeAlias = Callable[[], float | CallerError]
"""A jitter whose numbers are checked. It returns a failure instead of raising it."""


class Redial:
    """Computes the time of the next dial."""

    __slots__ = ("_at", "_backoff", "_config", "_failures", "_jitter", "_not_before", "_pace")

    def __init__(
        self, config: SessionConfig, jitter: Callable[[], float], pace: SlidingWindow | None = None
    ) -> None:
        self._config = config
        self._jitter: Draw = lambda: _draw(jitter)
        self._pace = dial_pace(config) if pace is None else pace
        self._failures = 0
        """The number of consecutive dials that led to no steady link."""
        self._at = -inf
        self._backoff = 0.0
        """The backoff to which the jitter has not been applied yet."""
        self._not_before = -inf

    def wrap_jitter(self, by: Callable[[Draw], Draw]) -> None:
        """Wrap the jitter function, for a recorder."""
        self._jitter = by(self._jitter)

    def allowed_at(self) -> float | CallerError:
        """Return when the next dial is allowed.

        After `back_off`, this calls the jitter function. If that fails, this returns the failure
        once, and this backoff has no jitter.
        """
        backoff, self._backoff = self._backoff, 0.0
        if backoff:
            number = self._jitter()
            if isinstance(number, CallerError):
                return number
            self._at -= backoff * 0.5 * number
        return max(self._at, self._not_before, self._pace.allowed_at())

    def dialled(self, now: float) -> None:
        """Count a dial."""
        self._pace.take(now)

    def served(self, seconds: float) -> None:
        """Reset the backoff if a link that was up for `seconds` was steady."""
        steady = self._config.steady_after
        if steady is None or seconds >= steady:
            self._failures = 0

    def retry_after(self, now: float, seconds: float) -> None:
        """Allow no dial for `seconds`, as the exchange asked, but for at most 300 s."""
        self._not_before = max(self._not_before, now + min(seconds, FIVE_MINUTES))

    def back_off(self, now: float) -> None:
        """Schedule the next dial after a backoff."""
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
        """Shorten the wait to a first backoff, if the last link was steady."""
        shortest = self._config.backoff_min
        if shortest is not None and not self._failures and now + shortest < self._at:
            self.back_off(now)


def dial_pace(config: SessionConfig) -> SlidingWindow:
    """Return the limit on dials, which all lanes of a session share."""
    return SlidingWindow(config.dials_per_5_minutes, FIVE_MINUTES)


def _draw(jitter: Callable[[], object]) -> float | CallerError:
    """Return a number from the caller's jitter, or how it failed.

    The jitter of a replay returns a recorded failure, which is returned unchanged.
    """
    try:
        number = jitter()
        if isinstance(number, CallerError):
            return number
        if isinstance(number, (float, int)) and 0.0 <= number <= 1.0:
            return number
    except Exception as error:  # noqa: BLE001 - it is the caller's
        return CallerError(where="jitter", error=error)
    refused = ValidationError(f"jitter must return a number from 0 to 1; got {safe_repr(number)}")
    return CallerError(where="jitter", error=refused)
