"""Many tasks that confirm at once: one serves for all, and hands over when it is done or cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from httpx_ws.transport import ASGIWebSocketTransport

import bitget_transports.anyio
import bitget_transports.asyncio
import bitget_transports.blocking
from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    Config,
    Dialect,
    Final,
    LookUp,
    OneOrder,
    Reconciler,
    ReconcilerConfig,
    RestRequest,
    ValidationError,
)
from bitget_proto.testing import Fault
from bitget_transports import Channel
from bitget_transports._driver.account import Account
from bitget_transports._driver.confirmer import Confirmer, FinalWaiter
from bitget_transports.exchange import ExchangeApp, ExchangeThread, exchange_in_thread

from .colours import FAST, KEY, fast_exchange, orders

Send = Callable[[RestRequest, Mapping[str, str]], Awaitable[tuple[int, bytes]]]


def asking(server: ExchangeThread, delay: float) -> Send:
    """Return a function that asks the exchange itself, after a while."""

    async def send(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
        await anyio.sleep(delay)
        lower = {name.lower(): value for name, value in headers.items()}
        body = request.body.encode()
        exchange = server.exchange
        answer = server.call(
            lambda: exchange.rest(request.method, request.target, lower, body, server.now())
        )
        assert answer is not None
        return answer

    return send


def silent(count: int) -> Any:
    """Return an exchange whose pushes about the first cancels are lost."""
    exchange = fast_exchange(count, credentials=KEY)
    exchange.inject(*[Fault.NO_PUSH] * count)
    return exchange


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_forty_tasks_confirm_at_once(backend: str) -> None:
    with exchange_in_thread(silent(40)) as server:

        async def main() -> list[Final]:
            finals = list[Final]()

            async def one(channel: Channel, number: int) -> None:
                outcome = await channel.cancel(orders(40)[number])
                finals.append(await channel.confirm(outcome))

            connect = bitget_transports.anyio.connect
            async with connect(
                KEY, url=server.url, config=FAST, orders=True, rest=asking(server, 0.01)
            ) as channel:
                with anyio.fail_after(20.0):
                    async with anyio.create_task_group() as tasks:
                        for number in range(40):
                            tasks.start_soon(one, channel, number)
            return finals

        finals = anyio.run(main, backend=backend)
    assert len(finals) == 40
    assert all(isinstance(final, Cancelled) for final in finals)
    assert len({final.outcome.id for final in finals}) == 40


def test_a_task_that_is_cancelled_while_it_asks_hands_over() -> None:
    with exchange_in_thread(silent(8)) as server:
        began = asyncio.Event()
        ask = asking(server, 0.05)

        async def send(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
            began.set()
            return await ask(request, headers)

        async def main() -> list[Final]:
            async with bitget_transports.asyncio.connect(
                KEY, url=server.url, config=FAST, orders=True, rest=send
            ) as channel:
                outcomes = [await channel.cancel(order) for order in orders(8)]
                tasks = [asyncio.create_task(channel.confirm(outcome)) for outcome in outcomes]
                async with asyncio.timeout(20.0):
                    await began.wait()
                    for task in tasks[:4]:
                        task.cancel()
                        await asyncio.sleep(0.01)
                    return await asyncio.gather(*tasks[4:])

        finals = asyncio.run(main())
    assert [type(final) for final in finals] == [Cancelled] * 4


def test_an_order_is_confirmed_after_the_end_of_the_connection() -> None:
    with exchange_in_thread(silent(1)) as server:

        async def main() -> Final:
            async with bitget_transports.asyncio.connect(
                KEY, url=server.url, orders=True, rest=asking(server, 0.0)
            ) as channel:
                outcome = await channel.cancel(orders(1)[0])
                await channel.close()
                return await channel.confirm(outcome)

        assert isinstance(asyncio.run(main()), Cancelled)


@pytest.mark.parametrize("answer", [None, (200,), ("200", b"{}"), (200, b"\xff"), (200, "[]"), 5])
def test_rest_that_answers_nonsense_proves_nothing(answer: object) -> None:
    account = Account.of(KEY, "ws://127.0.0.1:1", None, time.time, allow_plaintext=False)
    confirmer, waiter = Confirmer(account, Dialect.CLASSIC), FinalWaiter()
    order = orders(1)[0]
    confirmer.confirm(Accepted("1", order, 0.0, 0.1, 0.2, None), waiter)
    with confirmer.asking(LookUp(1, OneOrder(order))) as asked:
        asked.answer = answer
    assert (list(waiter.finals), waiter.expected) == ([], 1)


def test_rest_goes_through_the_client_of_the_channel() -> None:
    app = ExchangeApp(silent(1))

    async def main() -> Final:
        transport = ASGIWebSocketTransport(app)
        async with (
            httpx.AsyncClient(transport=transport) as client,
            bitget_transports.anyio.connect(
                KEY, url="ws://127.0.0.1:1/v2/ws/private", client=client, orders=True
            ) as channel,
        ):
            return await channel.confirm(await channel.cancel(orders(1)[0]))

    assert isinstance(anyio.run(main), Cancelled)


def test_finals_come_while_other_orders_are_still_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand orders take 105 s to cancel, which is longer than an order may wait for proof."""
    impatient = partial(Reconciler, ReconcilerConfig(deadline=1.5, settle=0.1))
    monkeypatch.setattr("bitget_transports._driver.confirmer.Reconciler", impatient)
    slow = Config(messages_per_second=3)
    with exchange_in_thread(silent(8)) as server:

        def check(pairs: list[tuple[str, Final | None]]) -> None:
            assert [type(final) for _, final in pairs] == [Cancelled] * 8
            assert pairs[0][0] == "still cancelling"

        async def main() -> list[tuple[str, Final | None]]:
            async with bitget_transports.asyncio.connect(
                KEY, url=server.url, config=slow, orders=True, rest=asking(server, 0.01)
            ) as channel:
                return [
                    ("still cancelling" if channel.in_flight else "done", final)
                    async for _, final in channel.cancel_all(rounds=1)
                ]

        check(asyncio.run(main()))
    with (
        exchange_in_thread(silent(8)) as server,
        bitget_transports.blocking.connect(
            KEY, url=server.url, config=slow, orders=True
        ) as channel,
    ):
        check(
            [
                ("still cancelling" if channel.in_flight else "done", final)
                for _, final in channel.cancel_all(rounds=1)
            ]
        )


def test_an_order_that_rest_cannot_name_is_refused_before_it_is_tracked() -> None:
    """Its look-ups would fail in another call, which serves."""
    account = Account.of(KEY, "ws://127.0.0.1:1", None, time.time, allow_plaintext=False)
    confirmer, waiter = Confirmer(account, Dialect.CLASSIC), FinalWaiter()
    nameless = Accepted("1", CancelOrder(order_id="1"), 0.0, 0.1, 0.2, None)
    with pytest.raises(ValidationError, match=r"^a classic account needs the instrument"):
        confirmer.confirm(nameless, waiter)
    assert waiter.expected == 0
    assert confirmer.next_look_up() is None
