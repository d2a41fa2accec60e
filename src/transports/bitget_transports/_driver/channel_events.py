"""The items of `channel.events`."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from bitget_proto import (
    Event,
    ExchangeError,
    GoingAway,
    LateReply,
    LoginRejected,
    SessionEvent,
    SubscribeRefused,
    Unrecognised,
)

from .set_module import set_module


@set_module("bitget_transports")
@attrs.frozen
class Dropped:
    """`n` events were dropped here, because `channel.events` was not read and held more than
    `Limits.max_events` or `Limits.max_event_chars` allow. Outcomes are never dropped.
    """

    n: int


ChannelEvent: TypeAlias = Event | SessionEvent | Dropped
"""The type of the items of `channel.events`."""

_WITH_MESSAGE = (ExchangeError, GoingAway, LateReply, LoginRejected, SubscribeRefused)


def chars(event: Event | SessionEvent) -> int:
    """Return the number of characters from the exchange in an event."""
    if isinstance(event, Unrecognised):
        return len(event.text)
    return len(event.message) if isinstance(event, _WITH_MESSAGE) else 0
