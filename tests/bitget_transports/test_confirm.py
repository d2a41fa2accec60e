"""`confirm` and `cancel_all` on every transport: each order gets one `Final`, and it is true."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest

from bitget_proto import (
    Accepted,
    Budget,
    Cancelled,
    CancelOrder,
    Dialect,
    Evidence,
    Filled,
    Final,
    InstType,
    LocalProtocolError,
    Outcome,
    Reconciler,
    ReconcilerConfig,
    Rejected,
    RestRequest,
    SessionConfig,
    StillOpen,
    Subscribed,
    Unknown,
    Unresolved,
    ValidationError,
    WhyUnknown,
)
from bitget_proto.testing import ExchangeConfig, Fault, RestFault, ScriptedExchange
from bitget_transports import RestFailed
from bitget_transports._driver import confirmer
from bitget_transports._driver import rest as rest_module
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

ONE = orders(1)[0]


@pytest.fixture(autouse=True)
def _soon(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look orders up sooner than by default, except once."""
    if flavour is not Flavour.BLOCKING:
        soon = partial(Reconciler, ReconcilerConfig(settle=0.2))
        monkeypatch.setattr(confirmer, "Reconciler", soon)
        monkeypatch.setattr(confirmer, "_FIRST_DELAY", 0.02)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def confirmed(flavour: Flavour, exchange: ScriptedExchange) -> tuple[Outcome, Final]:
    """Cancel an order and confirm it."""
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> tuple[Outcome, Final]:
            async with connect(KEY, url=server.url, config=FAST, orders=True) as channel:
                outcome = await channel.cancel(ONE)
                return outcome, await channel.confirm(outcome)

        return flavour.run(tidy(scenario))


def test_a_push_confirms_a_cancel(flavour: Flavour) -> None:
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject(Fault.HALF_FILL_FIRST)
    outcome, final = confirmed(flavour, exchange)
    assert isinstance(outcome, Accepted)
    assert isinstance(final, Cancelled)
    assert (final.filled, final.average_price) == (Decimal("0.5"), Decimal(100))
    assert (final.outcome, final.evidence) == (outcome, Evidence.PUSH)


def test_a_lost_push_is_replaced_by_a_look_up(flavour: Flavour) -> None:
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject(Fault.NO_PUSH)
    exchange.inject_rest(RestFault.EMPTY)
    outcome, final = confirmed(flavour, exchange)
    assert isinstance(outcome, Accepted)
    assert isinstance(final, Cancelled)
    assert final.evidence is Evidence.LOOK_UP


def test_an_order_that_filled_first_is_filled(flavour: Flavour) -> None:
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject(Fault.FILL_FIRST)
    outcome, final = confirmed(flavour, exchange)
    assert isinstance(outcome, Rejected)
    assert isinstance(final, Filled)
    assert final.filled == 1


def test_an_order_whose_cancel_never_arrived_is_still_open(flavour: Flavour) -> None:
    exchange = fast_exchange(1, credentials=KEY)
    exchange.inject(Fault.DROP_BEFORE)
    outcome, final = confirmed(flavour, exchange)
    assert isinstance(outcome, Unresolved)
    assert outcome.sent
    assert isinstance(final, StillOpen)
    assert exchange.live == (ONE,)


def test_every_open_order_is_cancelled_and_confirmed(flavour: Flavour) -> None:
    everything = [
        *orders(120),
        CancelOrder("ETHUSDT", "900"),
        CancelOrder("BTCUSDT", "901", inst_type=InstType.USDT_FUTURES),
    ]
    config = ExchangeConfig(messages_per_second=None, max_in_flight=None)
    exchange = ScriptedExchange(everything, config=config, cancels_per_second=None)
    exchange.inject_rest(RestFault.UNAVAILABLE, RestFault.CUT_IN_HALF)
    exchange.inject(Fault.DROP_BEFORE)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> list[tuple[Outcome, Final | None]]:
            options: dict[str, Any] = {"config": SessionConfig(link=FAST), "budget": Budget(None)}
            async with open_session(KEY, url=server.url, orders=True, **options) as channel:
                found = channel.cancel_all(InstType.SPOT, "BTCUSDT")
                return [pair async for pair in found]

        pairs = flavour.run_session(tidy(scenario))
    finals = [final for _, final in pairs]
    ended = {final.order_id for final in finals if isinstance(final, Cancelled)}
    assert ended == {order.order_id for order in orders(120)}
    assert [order.order_id for order in exchange.live] == ["900", "901"]


def test_a_unified_account_is_confirmed_alike(flavour: Flavour) -> None:
    named = [CancelOrder("BTCUSDT", str(n), inst_type=InstType.USDT_FUTURES) for n in range(1, 31)]
    config = ExchangeConfig(dialect=Dialect.UNIFIED, messages_per_second=None)
    exchange = ScriptedExchange(named, config=config, cancels_per_second=None)
    exchange.inject(Fault.NO_PUSH)
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> list[tuple[Outcome, Final | None]]:
            options: dict[str, Any] = {"dialect": Dialect.UNIFIED, "budget": Budget(None)}
            async with connect(KEY, url=server.url, orders=True, **options) as channel:
                return [pair async for pair in channel.cancel_all()]

        pairs = flavour.run(tidy(scenario))
    assert len(pairs) == 30
    assert all(isinstance(final, Cancelled) for _, final in pairs)
    assert not exchange.live


SPOT_AND_FUTURES = [
    *orders(30),
    CancelOrder("ETHUSDT", "900"),
    CancelOrder("BTCUSDT", "901", inst_type=InstType.USDT_FUTURES),
]


def all_cancelled(
    flavour: Flavour, exchange: ScriptedExchange, *asked: Any
) -> list[tuple[Outcome, Final | None]]:
    """Cancel all orders, first by symbol."""
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> list[tuple[Outcome, Final | None]]:
            options: dict[str, Any] = {"dialect": exchange.config.dialect, "config": FAST}
            async with connect(KEY, url=server.url, orders=True, **options) as channel:
                return [pair async for pair in channel.cancel_all(*asked, by_symbol=True)]

        return flavour.run(tidy(scenario))


@pytest.mark.parametrize("dialect", Dialect)
def test_one_request_cancels_all_orders_of_a_symbol(
    flavour: Flavour, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmer, "_BY_SYMBOL_DELAY", 0.0)
    config = ExchangeConfig(dialect=dialect, messages_per_second=None, max_in_flight=None)
    exchange = ScriptedExchange(SPOT_AND_FUTURES, config=config, cancels_per_second=None)
    assert all_cancelled(flavour, exchange, InstType.SPOT, "BTCUSDT") == []
    assert [order.order_id for order in exchange.live] == ["900", "901"]
    assert not any(act.id for act in exchange.log)  # not one cancel of the WebSocket


def test_pushes_show_what_a_cancel_by_symbol_has_done_when_rest_is_behind(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmer, "_BY_SYMBOL_DELAY", 0.5)
    exchange = fast_exchange(5, credentials=KEY)
    exchange.rest_behind = 60.0
    assert all_cancelled(flavour, exchange, InstType.SPOT, "BTCUSDT") == []
    assert not exchange.live
    assert not any(act.id for act in exchange.log)


@pytest.mark.parametrize("fault", [RestFault.UNAVAILABLE, RestFault.TOO_MANY, RestFault.DOWN])
def test_orders_are_cancelled_one_by_one_when_the_cancel_by_symbol_fails(
    flavour: Flavour,
    fault: RestFault,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(confirmer, "_BY_SYMBOL_DELAY", 0.0)
    exchange = fast_exchange(3, credentials=KEY)
    exchange.inject_rest(fault)
    pairs = all_cancelled(flavour, exchange, InstType.SPOT, "BTCUSDT")
    assert [type(final) for _, final in pairs] == [Cancelled] * 3
    assert not exchange.live
    (warned,) = [line for line in caplog.messages if "cancel by symbol" in line]
    assert warned.startswith("the cancel by symbol failed, so orders are cancelled one by one: ")


def test_a_cancel_by_symbol_that_the_exchange_does_not_have_sends_nothing(
    flavour: Flavour,
) -> None:
    exchange = fast_exchange(1)
    with pytest.raises(ValidationError, match=r"cancel them one by one \(by_symbol=False\)$"):
        all_cancelled(flavour, exchange, InstType.USDT_FUTURES, "BTCUSDT")
    with pytest.raises(ValidationError, match=r"^inst_id is missing"):
        all_cancelled(flavour, exchange)
    assert exchange.live == (ONE,)
    assert not exchange.log


def test_rest_that_is_behind_has_no_order_cancelled_twice(flavour: Flavour) -> None:
    exchange = fast_exchange(3, credentials=KEY)
    exchange.rest_behind = 60.0
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> list[tuple[Outcome, Final | None]]:
            async with connect(KEY, url=server.url, config=FAST, orders=True) as channel:
                return [pair async for pair in channel.cancel_all(InstType.SPOT)]

        pairs = flavour.run(tidy(scenario))
    assert [type(final) for _, final in pairs] == [Cancelled] * 3
    assert len(exchange.log) == 3


def test_rest_may_be_a_function_of_the_callers(flavour: Flavour) -> None:
    exchange, asked = fast_exchange(1, credentials=KEY), list[str]()
    exchange.inject(Fault.NO_PUSH)
    with exchange_in_thread(exchange) as server:
        origin = server.url.replace("ws", "http", 1).removesuffix(Dialect.CLASSIC.path)

        def send(request: RestRequest, headers: Any) -> tuple[int, bytes]:
            asked.append(request.target)
            answer = httpx.request(
                request.method, origin + request.target, headers=headers, content=request.body
            )
            return answer.status_code, answer.content

        async def send_soon(request: RestRequest, headers: Any) -> tuple[int, bytes]:
            return send(request, headers)

        rest = send if flavour is Flavour.BLOCKING else send_soon

        async def scenario(connect: Connect) -> Final:
            async with connect(KEY, url=server.url, orders=True, rest=rest) as channel:
                return await channel.confirm(await channel.cancel(ONE))

        final = flavour.run(tidy(scenario))
    assert isinstance(final, Cancelled)
    assert asked == ["/api/v2/spot/trade/orderInfo?orderId=1"]


def test_a_channel_without_orders_costs_nothing_and_says_what_is_missing(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                outcome = await channel.cancel(ONE)
                with pytest.raises(LocalProtocolError, match=r"open it with orders=True$"):
                    await channel.confirm(outcome)
                with pytest.raises(LocalProtocolError, match=r"open it with orders=True$"):
                    await anext(aiter(channel.cancel_all()))
                assert channel.events.take() is None

        flavour.run(tidy(scenario))


def test_what_cannot_be_confirmed_is_refused(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, orders=True) as channel:
                await channel.close()
                outcome = await channel.cancel(ONE)
                with pytest.raises(LocalProtocolError, match="was never sent"):
                    await channel.confirm(outcome)
                with pytest.raises(ValidationError, match=r"^rounds must be a whole number"):
                    await anext(aiter(channel.cancel_all(rounds=0)))

        flavour.run(tidy(scenario))


@pytest.mark.slow
def test_a_list_that_cannot_be_read_is_an_error(flavour: Flavour) -> None:
    exchange = fast_exchange(1)
    exchange.inject_rest(*[RestFault.UNAVAILABLE] * 5)
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, orders=True) as channel:
                with pytest.raises(RestFailed, match="after 5 attempts: HTTP 503, and a body"):
                    await anext(aiter(channel.cancel_all()))

        flavour.run(tidy(scenario))
    assert exchange.live == (ONE,)


def test_an_order_is_unknown_at_its_deadline_though_nothing_else_happens(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(Reconciler, config=ReconcilerConfig(deadline=0.1, settle=0.2))
    monkeypatch.setattr(confirmer, "Reconciler", quick)
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject(Fault.NO_PUSH)
    _, final = confirmed(flavour, exchange)
    assert isinstance(final, Unknown)
    assert final.why is WhyUnknown.DEADLINE


def test_each_link_of_a_session_subscribes(flavour: Flavour) -> None:
    exchange = fast_exchange(2, credentials=KEY)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> list[int]:
            counts = list[int]()
            async with open_session(KEY, url=server.url, orders=True) as channel:
                for _ in range(2):
                    count = 0
                    async for event in channel.events:
                        count += isinstance(event, Subscribed)
                        if count == 4:
                            break
                    counts.append(count)
                    server.drop()
            return counts

        assert flavour.run_session(tidy(scenario)) == [4, 4]


def test_wrong_arguments_are_refused(flavour: Flavour) -> None:
    async def scenario(connect: Connect) -> None:
        for options, message in (
            ({"rest": print}, r"^rest is used by confirm and cancel_all, and with"),
            ({"orders": True, "rest": 5}, r"^rest must be a function that takes a RestRequest"),
            ({"orders": 1}, r"^orders must be True or False; got the int 1$"),
        ):
            with pytest.raises(ValidationError, match=message):
                async with connect(KEY, **options):
                    raise AssertionError

    flavour.run(scenario)


def test_without_httpx_confirm_and_cancel_all_are_refused_at_once(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise ImportError("REST needs httpx")

    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            monkeypatch.setattr(rest_module, "_httpx", missing)
            async with connect(KEY, url=server.url, orders=True, config=FAST) as channel:
                outcome = await channel.cancel(orders(1)[0])
                with pytest.raises(ImportError, match="REST needs httpx"):
                    await channel.confirm(outcome)
                with pytest.raises(ImportError, match="REST needs httpx"):
                    await anext(channel.cancel_all(InstType.SPOT))

        flavour.run(tidy(scenario))
