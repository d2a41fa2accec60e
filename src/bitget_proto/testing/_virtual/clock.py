"""A virtual clock. It never runs backwards, and advances only when a test advances it."""

from __future__ import annotations

from math import inf

from ..._values.errors import ValidationError, safe_repr
from ..._values.set_module import set_module


@set_module("bitget_proto.testing")
class VirtualClock:
    """A clock for tests. Its time changes only by `advance` and `advance_to`."""

    __slots__ = ("_now",)

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __repr__(self) -> str:
        return f"VirtualClock({self._now})"

    @property
    def now(self) -> float:
        """The current time, in seconds."""
        return self._now

    def __call__(self) -> float:
        """Return the current time, for code that takes a function such as `time.monotonic`."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the time by `seconds`.

        Raises: ValidationError for a negative or infinite number; nothing changes then.
        """
        if not 0 <= seconds < inf:
            raise ValidationError(
                f"seconds must be a finite number from 0 up; got {safe_repr(seconds)}"
            )
        self._now += seconds

    def advance_to(self, now: float) -> None:
        """Set the time to exactly `now`. A time in the past changes nothing.

        Raises: ValidationError for a time that is not finite; nothing changes then.
        """
        if not -inf < now < inf:
            raise ValidationError(f"now must be a finite number of seconds; got {safe_repr(now)}")
        self._now = max(self._now, now)
