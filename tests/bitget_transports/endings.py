"""Read how a channel ended from its events."""

from __future__ import annotations

from bitget_proto import Closed, WhyClosed
from bitget_transports import ChannelEvent

from .colours import AnyChannel


async def closed(channel: AnyChannel) -> tuple[WhyClosed, list[ChannelEvent]]:
    """Read all events; return why the channel ended, and the events before the last."""
    events = [event async for event in channel.events]
    assert isinstance(events[-1], Closed)
    return events[-1].why, events[:-1]
