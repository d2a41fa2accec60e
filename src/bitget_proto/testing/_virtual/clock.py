"""Time that passes when the test says so.

Rules of this file
- It never runs backwards, and never by itself.
"""

from __future__ import annotations

from math import inf

from ..._values.errors import ValidationError, safe_repr
from ..._values.set_module import set_module


@set_module("bitget_proto.testing")
class VirtualClock:
    """A clock for tests: `now` is in seconds, and moves only by `advance` and `advance_to`."""

    __slots__ = ("_now",)

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __repr__(self) -> str:
        return f"VirtualClock({self._now})"

    @property
    def now(self) -> float:
        """The time, in seconds since the clock's own beginning."""
        return self._now

    def __call__(self) -> float:
        """The time, for code that takes a clock as a function, like `time.monotonic`."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass.

        Raises: ValidationError for a negative or infinite number, and nothing has changed.
        """
        if not 0 <= seconds < inf:
            raise ValidationError(
                f"seconds must be a finite number from 0 up; got {safe_repr(seconds)}"
            )
        self._now += seconds

    def advance_to(self, now: float) -> None:
        """Let time pass until `now`, exactly; a moment that has passed already changes nothing.

        Raises: ValidationError for a time that is never reached, and nothing has changed.
        """
        if not -inf < now < inf:
            raise ValidationError(f"now must be a finite number of seconds; got {safe_repr(now)}")
        self._now = max(self._now, now)
