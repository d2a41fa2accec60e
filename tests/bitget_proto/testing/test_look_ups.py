"""The core and the scripted exchange understand each other: pushes, and look-ups over REST."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from bitget_proto import (
    CancelOrder,
    Codec,
    Credentials,
    Dialect,
    InstType,
    LookUpReply,
    NoAnswer,
    NoSuchOrder,
    OneOrder,
    OpenOrders,
    OrderHistory,
    OrderPage,
    OrderStatus,
    OrderUpdate,
    Question,
    RestCodec,
    RestRequest,
    Session,
    Subscribed,
    sign_request,
)
from bitget_proto.testing import ExchangeConfig, RestFault, ScriptedExchange, SessionPair

KEY = Credentials("key", "secret", "passphrase")
SPOT = CancelOrder("BTCUSDT", "1", "a b#")
FUTURES = CancelOrder("ETHUSDT", "2", "c", InstType.USDT_FUTURES)

dialects = pytest.mark.parametrize("dialect", Dialect)


def exchange_of(dialect: Dialect, *orders: CancelOrder) -> ScriptedExchange:
    return ScriptedExchange(
        orders or (SPOT, FUTURES), credentials=KEY, config=ExchangeConfig(dialect=dialect)
    )


def sent(exchange: ScriptedExchange, request: RestRequest, now: float) -> tuple[int, bytes]:
    """Sign and send a request as an HTTP client does."""
    stamp = int(exchange.wall_clock(now) * 1000)
    headers = {name.lower(): value for name, value in sign_request(KEY, request, stamp).items()}
    answer = exchange.rest(request.method, request.target, headers, request.body.encode(), now)
    assert answer is not None
    return answer


def ask(exchange: ScriptedExchange, question: Question, now: float) -> LookUpReply:
    rest = RestCodec(exchange.config.dialect)
    return rest.read_look_up(question, *sent(exchange, rest.look_up(question), now))


def one(reply: LookUpReply) -> OrderUpdate:
    assert isinstance(reply, OrderPage), reply
    (update,) = reply.orders
    return update


@dialects
@pytest.mark.parametrize("order", [SPOT, FUTURES])
@pytest.mark.parametrize("by_client_oid", [False, True])
def test_one_order_is_looked_up_from_its_placing_to_its_end(
    dialect: Dialect, order: CancelOrder, by_client_oid: bool
) -> None:
    exchange = exchange_of(dialect)
    id = None if by_client_oid else order.order_id
    question = OneOrder(CancelOrder(order.inst_id, id, order.client_oid, order.inst_type))
    live = one(ask(exchange, question, 0.0))
    assert (live.order_id, live.client_oid) == (order.order_id, order.client_oid)
    assert (live.inst_type, live.inst_id) == (order.inst_type or InstType.SPOT, order.inst_id)
    assert (live.status, live.filled) == (OrderStatus.OPEN, Decimal(0))
    exchange.fill(order, 1.0, "0.25")
    part = one(ask(exchange, question, 2.0))
    assert (part.status, part.filled) == (OrderStatus.OPEN, Decimal("0.25"))
    assert part.average_price is not None
    exchange.fill(order, 3.0)
    assert one(ask(exchange, question, 4.0)).status is OrderStatus.FILLED


@dialects
@pytest.mark.parametrize("order", [SPOT, FUTURES])
def test_a_cancel_over_rest_ends_the_order_with_what_was_filled(
    dialect: Dialect, order: CancelOrder
) -> None:
    exchange = exchange_of(dialect)
    exchange.fill(order, 0.0, "0.25")
    status, body = sent(exchange, RestCodec(dialect).cancel(order), 1.0)
    assert (status, json.loads(body)["code"]) == (200, "00000")
    update = one(ask(exchange, OneOrder(order), 5.0))
    assert (update.status, update.filled) == (OrderStatus.CANCELLED, Decimal("0.25"))
    assert update.reason == "normal_cancel"


@dialects
@pytest.mark.parametrize("line", [None, InstType.USDT_FUTURES])
def test_an_unknown_order_is_no_such_order(dialect: Dialect, line: InstType | None) -> None:
    unknown = OneOrder(CancelOrder("BTCUSDT", "99", inst_type=line))
    assert isinstance(ask(exchange_of(dialect), unknown, 0.0), NoSuchOrder)


@dialects
@pytest.mark.parametrize("line", [InstType.SPOT, InstType.USDT_FUTURES])
def test_every_page_is_read_to_the_last(dialect: Dialect, line: InstType) -> None:
    orders = [CancelOrder("BTCUSDT", str(n), inst_type=line) for n in range(1, 251)]
    exchange = exchange_of(dialect, *orders)
    for order in orders[:120]:
        exchange.fill(order, 0.0)
    for kind, expected in ((OpenOrders, orders[120:]), (OrderHistory, orders[:120])):
        found: list[str | None] = []
        now, page = 1.0, None
        while True:
            reply = ask(exchange, kind(line, None, page), now)
            assert isinstance(reply, OrderPage)
            found += [update.order_id for update in reply.orders]
            now, page = now + 1.0, reply.next_page
            if page is None:
                break
        assert found == [order.order_id for order in reversed(expected)]


@dialects
@pytest.mark.parametrize(
    "fault",
    [RestFault.UNAVAILABLE, RestFault.TOO_MANY, RestFault.EMPTY, RestFault.CUT_IN_HALF],
)
def test_a_fault_is_no_answer(dialect: Dialect, fault: RestFault) -> None:
    exchange = exchange_of(dialect)
    exchange.inject_rest(fault)
    reply = ask(exchange, OneOrder(SPOT), 0.0)
    assert isinstance(reply, NoAnswer)
    assert reply.throttled is (fault is RestFault.TOO_MANY)


def test_an_account_of_the_other_kind_is_no_answer_with_its_code() -> None:
    exchange, classic = exchange_of(Dialect.UNIFIED), RestCodec()
    question = OneOrder(SPOT)
    reply = classic.read_look_up(question, *sent(exchange, classic.look_up(question), 0.0))
    assert isinstance(reply, NoAnswer)
    assert reply.code == "40085"


@dialects
def test_the_servers_time_is_that_of_the_exchange(dialect: Dialect) -> None:
    exchange, rest = exchange_of(dialect), RestCodec(dialect)
    now = rest.read_server_time(*sent(exchange, rest.server_time(), 5.0))
    assert now == int(exchange.wall_clock(5.0) * 1000)


@dialects
def test_a_session_hears_of_fills_and_cancels_on_every_link(dialect: Dialect) -> None:
    exchange = ScriptedExchange((SPOT, FUTURES), config=ExchangeConfig(dialect=dialect))
    pair = SessionPair(Session(codec=Codec(dialect=dialect), jitter=lambda: 0.5), exchange=exchange)
    pair.subscribe_orders()
    pair.run(1.0)
    answers = [event for event in pair.events if isinstance(event, Subscribed)]
    assert len(answers) == (1 if dialect is Dialect.UNIFIED else 4)
    pair.drop()
    pair.run(5.0)
    pair.events.clear()
    exchange.fill(SPOT, pair.clock.now, "0.25")
    pair.cancel(SPOT)
    pair.cancel(FUTURES)
    pair.run(1.0)
    updates = [event for event in pair.events if isinstance(event, OrderUpdate)]
    assert [(update.order_id, update.status, update.filled) for update in updates] == [
        ("1", OrderStatus.OPEN, Decimal("0.25")),
        ("1", OrderStatus.CANCELLED, Decimal("0.25")),
        ("2", OrderStatus.CANCELLED, Decimal(0)),
    ]
    assert [update.inst_type for update in updates] == [
        InstType.SPOT,
        InstType.SPOT,
        InstType.USDT_FUTURES,
    ]
