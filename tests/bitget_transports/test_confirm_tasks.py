"""Many tasks that confirm at once: one serves for all, and hands over when it is done or cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest

import bitget_transports.anyio
import bitget_transports.asyncio
from bitget_proto import Accepted, Cancelled, Dialect, Final, LookUp, OneOrder, RestRequest
from bitget_proto.testing import Fault
from bitget_transports import Channel
from bitget_transports._driver.account import Account
from bitget_transports._driver.confirmer import Confirmer, FinalWaiter
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

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
