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
from bitget_proto import (
    CancelOrder,
    Credentials,
    Dialect,
    Final,
    InstType,
    Outcome,
    SessionConfig,
    Unresolved,
)
from bitget_transports import ChannelEvent, Limits, RestFailed

_MOST_ROUNDS = 50
"""How often open orders are listed. What is open then is reported."""

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
    confirmed: Callable[[Outcome, Final | None], object] | None = None
    """Called with what became of each order. Orders of batches are confirmed one by one; after the
    last batch, all that are open are cancelled and confirmed. None to confirm nothing."""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `open_session`."""
        return {
            "url": self.url, "config": self.config, "limits": self.limits, "dialect": self.dialect,
            "orders": self.confirmed is not None,
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
            if run.confirmed is not None:
                async with anyio.create_task_group() as tasks:
                    for outcome in outcomes:
                        tasks.start_soon(_confirm, channel, outcome, run.confirmed)
        if run.confirmed is not None:
            await _cancel_all(channel, run.confirmed)
    return _take_events(channel)


def _blocking(run: Run) -> list[ChannelEvent]:
    with bitget_transports.blocking.open_session(_KEY, **run.options) as channel:
        for batch in run.batches:
            outcomes = list(channel.cancel_many(batch.orders, batch.timeout))
            run.answered(Answer(outcomes, _take_events(channel), threading.active_count()))
            if run.confirmed is not None:
                for outcome in outcomes:
                    run.confirmed(outcome, channel.confirm(outcome) if _was_sent(outcome) else None)
        if run.confirmed is not None:
            _cancel_all_blocking(channel, run.confirmed)
    return _take_events(channel)


def _was_sent(outcome: Outcome) -> bool:
    return not isinstance(outcome, Unresolved) or outcome.sent


async def _confirm(
    channel: Any, outcome: Outcome, confirmed: Callable[[Outcome, Final | None], object]
) -> None:
    confirmed(outcome, await channel.confirm(outcome) if _was_sent(outcome) else None)


async def _cancel_all(channel: Any, confirmed: Callable[[Outcome, Final | None], object]) -> None:
    """Cancel all open orders, until none is listed."""
    for _ in range(_MOST_ROUNDS):
        count = 0
        try:
            async for outcome, final in channel.cancel_all(InstType.SPOT, rounds=1):
                count += 1
                confirmed(outcome, final)
        except RestFailed:
            continue
        if not count:
            return


def _cancel_all_blocking(
    channel: Any, confirmed: Callable[[Outcome, Final | None], object]
) -> None:
    """As `_cancel_all`."""
    for _ in range(_MOST_ROUNDS):
        count = 0
        try:
            for outcome, final in channel.cancel_all(InstType.SPOT, rounds=1):
                count += 1
                confirmed(outcome, final)
        except RestFailed:
            continue
        if not count:
            return


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
