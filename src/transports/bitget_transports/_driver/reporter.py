"""Reports each event of a channel to its log, and to the caller's `observe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bitget_proto import (
    Accepted,
    CallerError,
    Event,
    Rejected,
    SessionEvent,
    Unresolved,
    ValidationError,
)

from .checks import safe_repr
from .clock import clock
from .log import ChannelLog

Observe: TypeAlias = Callable[[Event | SessionEvent, float], object]
"""Called with each event and when it happened, on `bitget_transports.clock`."""


class Reporter:
    """Reports the events of one channel."""

    def __init__(self, log: ChannelLog, observe: Observe | None) -> None:
        if observe is not None and not callable(observe):
            raise ValidationError(
                f"observe must be a function of an event and a time, or None; got {safe_repr(observe)}"
            )
        self.log = log
        self.observe = observe
        """The caller's function; None also after it has failed."""

    def report(self, event: Event | SessionEvent) -> CallerError | None:
        """Report an event. Return how `observe` failed; it is not called again then."""
        if type(event) is not Accepted:  # which is not logged
            self.log.event(event)
        if self.observe is None:
            return None
        at = event.resolved_at if isinstance(event, (Accepted, Rejected, Unresolved)) else clock()
        try:
            self.observe(event, at)
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self.observe = None
            return CallerError(where="observe", error=error)
        return None
