"""How a channel ended, as its events tell it."""

from __future__ import annotations

from bitget_proto import Closed, WhyClosed
from bitget_transports import ChannelEvent

from .colours import AnyChannel


async def closed(channel: AnyChannel) -> tuple[WhyClosed, list[ChannelEvent]]:
    """Read the events to their end: why it ended, and what was told before."""
    events = [event async for event in channel.events]
    assert isinstance(events[-1], Closed)
    return events[-1].why, events[:-1]
