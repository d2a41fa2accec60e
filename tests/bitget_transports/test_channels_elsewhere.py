"""Use of a channel from another thread or event loop is refused before anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

import bitget_transports.anyio
import bitget_transports.asyncio
from bitget_proto import Accepted, Closed, LocalProtocolError, State
from bitget_transports import Channel
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, KEY, Connect, Flavour, fast_exchange, orders
from .tidy import nothing_left

Use = Callable[[Any], Coroutine[Any, Any, object]]


async def take(channel: Channel) -> object:
    return channel.events.take()


async def start_many(channel: Channel) -> object:
    return channel.cancel_many(orders(1))


USES: dict[str, Use] = {
    "cancel": lambda channel: channel.cancel(orders(1)[0], "elsewhere"),
    "cancel_many": start_many,
    "withdraw": lambda channel: channel.withdraw("elsewhere"),
    "send": lambda channel: channel.send("subscribe"),
    "close": lambda channel: channel.close(),
    "aclose": lambda channel: channel.aclose(),
    "events": lambda channel: anext(channel.events),
    "take": take,
}

awaited = pytest.mark.parametrize(
    "flavour", [flavour for flavour in Flavour if flavour is not Flavour.BLOCKING]
)


def refused(use: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError, match="outside of the event loop"):
        use()


def in_another_loop(use: Use, channel: Channel) -> None:
    refused(lambda: asyncio.run(use(channel)))


@awaited
def test_another_thread_is_refused_and_nothing_is_written(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url, config=FAST)
            async with opener as channel:
                many = channel.cancel_many(orders(1))

                def elsewhere() -> None:
                    for use in USES.values():
                        in_another_loop(use, channel)
                    refused(channel.events.take)
                    refused(lambda: channel.cancel_many(orders(1)))
                    refused(many.close)
                    in_another_loop(anext, many)
                    assert (channel.state, channel.in_flight) == (State.READY, 0)
                    assert channel.capacity == 1000

                await anyio.to_thread.run_sync(elsewhere)
                assert not server.exchange.log
                assert [outcome async for outcome in many]
                assert isinstance(await channel.cancel(orders(2)[1], "elsewhere"), Accepted)
            await anyio.to_thread.run_sync(read_to_the_end, channel)

        with nothing_left():
            flavour.run(scenario)
    assert len(server.exchange.log) == 2


def read_to_the_end(channel: Channel) -> None:
    """Anyone may read the events of a channel that has ended."""

    async def read() -> None:
        assert [type(event) async for event in channel.events] == [Closed]

    asyncio.run(read())
    assert channel.events.take() is None


@pytest.mark.parametrize("to", [bitget_transports.asyncio, bitget_transports.anyio])
@pytest.mark.parametrize("name", USES)
def test_another_loop_of_the_same_thread_is_refused(to: Any, name: str) -> None:
    with (
        nothing_left(),
        exchange_in_thread(fast_exchange(1)) as server,
        asyncio.Runner() as runner,
    ):
        channel = runner.run(to.connect(KEY, url=server.url).open())
        in_another_loop(USES[name], channel)
        assert not server.exchange.log
        assert isinstance(runner.run(channel.cancel(orders(1)[0])), Accepted)
        runner.run(channel.aclose())
