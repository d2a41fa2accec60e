"""Reports each event of a channel to its log, and to the caller's `observe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bitget_proto import (
    Accepted,
    CallerError,
    Cancelled,
    Event,
    Filled,
    Final,
    NotFound,
    Rejected,
    SessionEvent,
    StillOpen,
    Unknown,
    Unresolved,
    ValidationError,
)

from .checks import safe_repr
from .clock import clock
from .log import ChannelLog

Observe: TypeAlias = Callable[[Event | SessionEvent | Final, float], object]
"""Called with each event, outcome and final, and its time on `bitget_transports.clock`."""

_TIMED = (Accepted, Rejected, Unresolved, Cancelled, Filled, StillOpen, NotFound, Unknown)
"""The events that carry their own time."""


class Reporter:
    """Reports the events of one channel."""

    def __init__(self, log: ChannelLog, observe: Observe | None) -> None:
        if observe is not None and not callable(observe):
            raise ValidationError(
                f"observe must be a function of an event and a time, or None; got {safe_repr(observe)}"
            )
        self.log = log
        self.observe = observe
        """The caller's function; None without one, and after it has failed."""

    def report(self, event: Event | SessionEvent | Final) -> CallerError | None:
        """Report an event or a final. If `observe` fails, return how; it is not called again."""
        if type(event) is not Accepted:  # which is not logged
            self.log.event(event)
        if self.observe is None:
            return None
        at = event.resolved_at if isinstance(event, _TIMED) else clock()
        try:
            self.observe(event, at)
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self.observe = None
            return CallerError(where="observe", error=error)
        return None
