"""`shared_budget` on every transport, with a real Redis server."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from redis import Redis

import bitget_transports.anyio
import bitget_transports.asyncio
import bitget_transports.blocking
from bitget_proto import (
    Accepted,
    Budget,
    Config,
    SessionConfig,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_proto.testing import ExchangeConfig, ScriptedExchange
from bitget_transports import clock
from bitget_transports.exchange import exchange_in_thread

from .colours import ASYNCIO, FAST, KEY, Connect, Flavour, OpenSession, orders
from .redis_server import RedisServer, redis_server

every_flavour = pytest.mark.parametrize("flavour", Flavour, ids=lambda flavour: flavour.value)

SharedBudget = Callable[..., AbstractAsyncContextManager[Budget]]


def shared_budget(flavour: Flavour) -> SharedBudget:
    """Return the function of this transport, as one for `async with`."""
    if flavour is Flavour.BLOCKING:
        return _blocking
    if flavour in ASYNCIO:
        return bitget_transports.asyncio.shared_budget
    return bitget_transports.anyio.shared_budget


@asynccontextmanager
async def _blocking(*arguments: Any, **options: Any) -> AsyncGenerator[Budget]:
    with bitget_transports.blocking.shared_budget(*arguments, **options) as budget:
        yield budget


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def strict_exchange(count: int, per_second: int) -> ScriptedExchange:
    """Return an exchange that refuses what exceeds the account's limit, and counts refusals."""
    config = ExchangeConfig(messages_per_second=None, max_in_flight=None)
    return ScriptedExchange(orders(count), config=config, cancels_per_second=per_second)


@pytest.fixture
def nothing_listens() -> Generator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.slow
@every_flavour
def test_two_channels_and_rest_share_what_the_store_leases(
    flavour: Flavour, server: RedisServer
) -> None:
    exchange = strict_exchange(120, 100)
    with exchange_in_thread(exchange) as running:

        async def scenario(open_session: OpenSession) -> list[object]:
            config = SessionConfig(link=FAST)
            outcomes = list[object]()
            async with (
                shared_budget(flavour)(server.url, flavour.value, per_second=100) as budget,
                open_session(KEY, url=running.url, config=config, budget=budget) as first,
                open_session(KEY, url=running.url, config=config, budget=budget) as second,
            ):
                budget.debit(3, clock())
                async for outcome in first.cancel_many(orders(60)):
                    outcomes.append(outcome)
                async for outcome in second.cancel_many(orders(120)[60:]):
                    outcomes.append(outcome)
            return outcomes

        outcomes = flavour.run_session(scenario)
    assert len(outcomes) == 120
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


@every_flavour
def test_without_a_store_cancels_wait_but_for_the_own_slice(
    flavour: Flavour, nothing_listens: str, caplog: pytest.LogCaptureFixture
) -> None:
    with exchange_in_thread(strict_exchange(3, 10)) as running:

        async def scenario(connect: Connect) -> list[object]:
            async with (
                shared_budget(flavour)(nothing_listens, "mine", own_per_second=2) as budget,
                connect(KEY, url=running.url, config=FAST, budget=budget) as channel,
            ):
                return [await channel.cancel(order, timeout=0.5) for order in orders(3)]

        with caplog.at_level(logging.INFO, "bitget_transports"):
            *accepted, waited = flavour.run(scenario)
    assert all(isinstance(outcome, Accepted) for outcome in accepted)
    assert isinstance(waited, Unresolved)
    assert (waited.sent, waited.why) == (False, WhyUnresolved.TIMEOUT)
    logged = [record.getMessage() for record in caplog.records]
    warnings = [text for text in logged if text.startswith("no leases for account mine: ")]
    assert len(warnings) == 2, "one when it connects, one when a cancel waits"
    assert "ConnectionError" in warnings[0]


@pytest.mark.slow
@every_flavour
def test_a_store_that_comes_back_is_used_again(flavour: Flavour, server: RedisServer) -> None:
    with exchange_in_thread(strict_exchange(3, 10)) as running:

        async def scenario(connect: Connect) -> list[object]:
            async with (
                shared_budget(flavour)(server.url, flavour.value, per_second=10) as budget,
                connect(KEY, url=running.url, config=FAST, budget=budget) as channel,
            ):
                before = await channel.cancel(orders(3)[0])
                server.kill()
                down = await channel.cancel(orders(3)[1], timeout=0.3)
                server.start()
                return [before, down, await channel.cancel(orders(3)[2])]

        before, down, after = flavour.run(scenario)
    assert isinstance(before, Accepted)
    assert isinstance(down, Unresolved)
    assert not down.sent
    assert isinstance(after, Accepted)


@every_flavour
def test_a_budget_that_nobody_uses_asks_nothing_and_is_left_at_once(
    flavour: Flavour, server: RedisServer
) -> None:
    server.flush()

    async def scenario(_: Connect) -> None:
        async with shared_budget(flavour)(server.url, "idle"):
            if flavour is not Flavour.BLOCKING:
                await anyio.sleep(0.2)

    flavour.run(scenario)
    with server.client() as client:
        assert client.keys() == [b"bitget-proto:{idle}:since"]


@every_flavour
def test_an_error_inside_the_context_comes_out_as_it_is(
    flavour: Flavour, server: RedisServer
) -> None:
    async def scenario(_: Connect) -> None:
        async with shared_budget(flavour)(server.url, "mine"):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        flavour.run(scenario)


@every_flavour
def test_wrong_arguments_are_refused_before_anything_is_dialled(flavour: Flavour) -> None:
    async def entered(*arguments: Any, **options: Any) -> None:
        async with shared_budget(flavour)(*arguments, **options):
            pass

    def enter(*arguments: Any, **options: Any) -> None:
        flavour.run(lambda _: entered(*arguments, **options))

    with pytest.raises(ValidationError, match="store is not the URL"):
        enter("127.0.0.1:6379", "mine")
    with pytest.raises(ValidationError, match=r"store must be a URL or a redis\.(asyncio\.)?Redis"):
        enter(6379, "mine")
    with pytest.raises(ValidationError, match="per_second must be a whole number from 1 up"):
        enter("redis://127.0.0.1", "mine", per_second=0)
    with pytest.raises(ValidationError, match="per_second must be a whole number from 0 up"):
        enter("redis://127.0.0.1", "mine", own_per_second=-1)
    with pytest.raises(ValidationError, match="account must be a name"):
        enter("redis://127.0.0.1", "")


def test_a_link_that_may_not_write_asks_for_no_lease() -> None:
    config = Config(messages_per_second=1)
    server_orders = orders(1)
    with exchange_in_thread(strict_exchange(1, 10)) as running:
        asked = list[object]()

        class Counting(Redis):
            def execute_command(self, *arguments: Any, **options: Any) -> Any:
                asked.append(arguments)
                raise LookupError("counted")

        with (
            bitget_transports.blocking.shared_budget(Counting(), "mine") as budget,
            bitget_transports.blocking.connect(
                KEY, url=running.url, config=config, budget=budget
            ) as channel,
        ):
            connected = len(asked)
            outcome = channel.cancel(server_orders[0], timeout=0.5)
    assert isinstance(outcome, Unresolved)
    assert len(asked) == connected == 1
