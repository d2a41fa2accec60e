"""One way to cancel batches of orders in a session, whatever the transport."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any

import anyio
import attrs
import trio

import bitget_transports.anyio
import bitget_transports.asyncio
import bitget_transports.blocking
from bitget_proto import CancelOrder, Credentials, Outcome, SessionConfig
from bitget_transports import ChannelEvent, Limits

_KEY = Credentials("key", "secret", "passphrase")


@attrs.frozen
class Batch:
    """Orders to cancel, all of which have so many seconds."""

    orders: list[CancelOrder]
    timeout: float


@attrs.frozen
class Answer:
    """What came of a batch."""

    outcomes: list[Outcome]
    events: list[ChannelEvent]
    tasks: int
    """How many live in the event loop; threads, where there is none."""


@attrs.frozen
class Run:
    """What to do in one session."""

    url: str
    config: SessionConfig
    limits: Limits
    batches: Iterable[Batch]
    """Taken as the one before has been answered."""

    answered: Callable[[Answer], object]

    @property
    def options(self) -> dict[str, Any]:
        """What `open_session` is called with."""
        return {"url": self.url, "config": self.config, "limits": self.limits}


class Transport(Enum):
    """A transport, and the event loop that it runs on, or the library that frames for it."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"
    PICOWS = "picows"
    ANYIO = "anyio"
    TRIO = "trio"
    BLOCKING = "blocking"

    def go(self, run: Run) -> list[ChannelEvent]:
        """Do it, to its end; what came beside the outcomes after the last batch."""
        match self:
            case Transport.ASYNCIO:
                return asyncio.run(_async(bitget_transports.asyncio.open_session, run))
            case Transport.UVLOOP:
                import uvloop

                return uvloop.run(_async(bitget_transports.asyncio.open_session, run))
            case Transport.PICOWS:
                return asyncio.run(
                    _async(partial(bitget_transports.asyncio.open_session, framing="picows"), run)
                )
            case Transport.ANYIO:
                return anyio.run(_async, bitget_transports.anyio.open_session, run)
            case Transport.TRIO:
                return anyio.run(_async, bitget_transports.anyio.open_session, run, backend="trio")
            case Transport.BLOCKING:
                return _blocking(run)


async def _async(open_session: Callable[..., Any], run: Run) -> list[ChannelEvent]:
    async with open_session(_KEY, **run.options) as channel:
        for batch in run.batches:
            outcomes = [
                outcome async for outcome in channel.cancel_many(batch.orders, batch.timeout)
            ]
            run.answered(Answer(outcomes, _taken(channel), _tasks()))
    return _taken(channel)


def _blocking(run: Run) -> list[ChannelEvent]:
    with bitget_transports.blocking.open_session(_KEY, **run.options) as channel:
        for batch in run.batches:
            outcomes = list(channel.cancel_many(batch.orders, batch.timeout))
            run.answered(Answer(outcomes, _taken(channel), threading.active_count()))
    return _taken(channel)


def _taken(channel: Any) -> list[ChannelEvent]:
    events: list[ChannelEvent] = []
    while (event := channel.events.take()) is not None:
        events.append(event)
    return events


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living
