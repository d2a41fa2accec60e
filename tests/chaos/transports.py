"""Cancel batches of orders in a session, with any transport."""

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
from bitget_proto import CancelOrder, Credentials, Dialect, Outcome, SessionConfig
from bitget_transports import ChannelEvent, Limits

_KEY = Credentials("key", "secret", "passphrase")


@attrs.frozen
class Batch:
    """Orders to cancel, each with the same timeout in seconds."""

    orders: list[CancelOrder]
    timeout: float


@attrs.frozen
class Answer:
    """The outcomes of a batch and the events since the one before."""

    outcomes: list[Outcome]
    events: list[ChannelEvent]
    tasks: int
    """Number of tasks in the event loop; of threads, where there is no loop."""


@attrs.frozen
class Run:
    """The input of one session."""

    url: str
    config: SessionConfig
    limits: Limits
    batches: Iterable[Batch]
    """The next one is taken when all cancels of the one before have an outcome."""

    answered: Callable[[Answer], object]
    dialect: Dialect = Dialect.CLASSIC

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `open_session`."""
        return {
            "url": self.url, "config": self.config, "limits": self.limits, "dialect": self.dialect,
        }  # fmt: skip


class Transport(Enum):
    """A transport, with its event loop or its framing library."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"
    PICOWS = "picows"
    ANYIO = "anyio"
    TRIO = "trio"
    BLOCKING = "blocking"

    def run(self, run: Run) -> list[ChannelEvent]:
        """Run the session and return the events that came after the last batch."""
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
            run.answered(Answer(outcomes, _take_events(channel), _tasks()))
    return _take_events(channel)


def _blocking(run: Run) -> list[ChannelEvent]:
    with bitget_transports.blocking.open_session(_KEY, **run.options) as channel:
        for batch in run.batches:
            outcomes = list(channel.cancel_many(batch.orders, batch.timeout))
            run.answered(Answer(outcomes, _take_events(channel), threading.active_count()))
    return _take_events(channel)


def _take_events(channel: Any) -> list[ChannelEvent]:
    events: list[ChannelEvent] = []
    while (event := channel.events.take()) is not None:
        events.append(event)
    return events


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living
