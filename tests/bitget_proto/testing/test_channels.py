from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Config,
    InstType,
    OrdersPush,
    OrderStatus,
    OrderUpdate,
    Ready,
    Subscribed,
    Transmit,
    Unresolved,
    Wait,
    decode,
    encode_cancel,
    sign_login,
)
from bitget_proto import Credentials as Key
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    Pair,
    ScriptedExchange,
    ScriptedLink,
    StrictConnection,
    VirtualClock,
)
from bitget_proto.testing._exchange.subscriptions import MAX_SUBSCRIPTIONS

ORDER = CancelOrder("BTCUSDT", order_id="1", client_oid="mine")
ORDERS = {"instType": "SPOT", "channel": "orders", "instId": "default"}


def ready(exchange: ScriptedExchange) -> Pair:
    pair = Pair(exchange=exchange)
    pair.open()
    assert pair.events.pop() == Ready()
    return pair


def pushes(pair: Pair) -> list[OrderUpdate]:
    """Return the updates that the client received since the last call."""
    received = [event for event in pair.events if isinstance(event, OrderUpdate)]
    pair.events.clear()
    return received


def asked(link: ScriptedLink, request: object) -> list[Any]:
    """Return the answers of a link to a request at time 0."""
    link.receive(json.dumps(request), 0.0)
    answers: list[Any] = []
    while not isinstance(output := link.poll(0.0), Wait):
        assert isinstance(output, Transmit)
        answers.append(json.loads(output.text))
    return answers


def link(
    *, login: bool = True, lenient: bool = False, config: ExchangeConfig | None = None
) -> ScriptedLink:
    made = ScriptedExchange(lenient=lenient, config=config).link()
    made.opened(0.0)
    if login:
        signed = sign_login(Key("key", "secret", "passphrase"), 1)
        assert asked(made, json.loads(Codec().encode_login(signed))) == [
            {"event": "login", "code": 0}
        ]
    return made


def subscribe(*args: object, op: str = "subscribe") -> dict[str, object]:
    return {"op": op, "args": list(args)}


def error(code: int, message: str, arg: object = None) -> dict[str, object]:
    answer: dict[str, object] = {"event": "error", "code": code, "msg": message}
    return answer if arg is None else answer | {"arg": arg}


# --- answers ---


def test_each_subscription_is_answered_with_its_own_arg() -> None:
    args = [
        ORDERS,
        {"instType": "SPOT", "channel": "account", "coin": "default"},
        {"channel": "fill"},
    ]
    assert asked(link(), subscribe(*args)) == [{"event": "subscribe", "arg": arg} for arg in args]
    assert asked(link(), subscribe(*args, op="unsubscribe")) == [
        {"event": "unsubscribe", "arg": arg} for arg in args
    ]


REFUSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (subscribe(), error(30001, "no channel is named to subscribe")),
    ({"op": "subscribe"}, error(30001, "no channel is named to subscribe")),
    ({"op": "unsubscribe", "args": {}}, error(30001, "no channel is named to unsubscribe")),
    (subscribe("orders"), error(30016, "Param error")),
    (subscribe({"topic": "order"}), error(30016, "Param error", {"topic": "order"})),
    (subscribe({"channel": 1}), error(30016, "Param error", {"channel": 1})),
    (
        subscribe({"channel": "ticker"}),
        error(30001, "channel:ticker doesn't exist", {"channel": "ticker"}),
    ),
    ({"op": "request", "args": [{}]}, error(30003, "op request is not supported")),
]


@pytest.mark.parametrize(
    ("request_", "answer"),
    REFUSED,
    ids=[
        "none",
        "no args",
        "an object",
        "a text",
        "a topic",
        "a number",
        "a public channel",
        "another op",
    ],
)
def test_an_invalid_subscription_is_refused_without_closing_the_connection(
    request_: dict[str, object], answer: dict[str, object]
) -> None:
    made = link()
    assert asked(made, request_) == [answer]
    assert asked(made, subscribe(ORDERS)) == [{"event": "subscribe", "arg": ORDERS}]


def test_subscriptions_are_refused_before_the_login() -> None:
    answer = error(30004, "User not logged in/User must be logged in")
    assert asked(link(login=False), subscribe(ORDERS, {"channel": "ticker"})) == [answer, answer]


def test_a_lenient_exchange_takes_any_channel_and_public_ones_before_login() -> None:
    ticker = {"instType": "SPOT", "channel": "ticker", "instId": "BTCUSDT"}
    answer = {"event": "subscribe", "arg": ticker}
    assert asked(link(lenient=True), subscribe(ticker)) == [answer]
    assert asked(link(lenient=True, login=False), subscribe(ticker, ORDERS)) == [
        answer,
        error(30004, "User not logged in/User must be logged in"),
    ]
    assert asked(link(lenient=True), subscribe({"topic": "order"})) == [
        error(30016, "Param error", {"topic": "order"})
    ]


def test_subscriptions_are_limited_but_one_can_be_repeated() -> None:
    made = link(config=ExchangeConfig(max_message=None, max_depth=None))
    args = [ORDERS | {"instId": f"A{number}"} for number in range(MAX_SUBSCRIPTIONS + 1)]
    answers = asked(made, subscribe(*args))
    assert [answer["event"] for answer in answers] == ["subscribe"] * MAX_SUBSCRIPTIONS + ["error"]
    assert answers[-1]["code"] == 30006
    assert asked(made, subscribe(args[0]))[0]["event"] == "subscribe"
    assert asked(made, subscribe(args[0], op="unsubscribe"))[0]["event"] == "unsubscribe"
    assert asked(made, subscribe(args[-1]))[0]["event"] == "subscribe"


def test_requests_behind_one_that_ends_the_link_are_not_answered() -> None:
    exchange = ScriptedExchange()
    made = exchange.link()
    made.opened(0.0)
    exchange.inject_login(Fault.DROP_BEFORE)
    made.receive(Codec().encode_login(sign_login(Key("key", "secret", "passphrase"), 1)), 0.0)
    made.receive(json.dumps(subscribe(ORDERS)), 0.0)
    while not isinstance(output := made.poll(0.0), Wait):
        assert not isinstance(output, Transmit)


# --- pushes ---


def push(
    order_id: str = "1", client_oid: str | None = "mine", inst_type: InstType = InstType.SPOT
) -> OrderUpdate:
    futures = inst_type is not InstType.SPOT
    return OrderUpdate(
        order_id=order_id,
        client_oid=client_oid,
        inst_type=inst_type,
        inst_id="BTCUSDT",
        status=OrderStatus.CANCELLED,
        status_text="canceled" if futures else "cancelled",
        filled=Decimal(0),
        average_price=None,
        reason="normal_cancel" if futures else None,
        updated_at=1763958366000,
    )


def test_a_cancelled_order_is_pushed_with_both_ids_after_the_answer() -> None:
    pair = ready(ScriptedExchange([ORDER]))
    pair.send(json.dumps(subscribe(ORDERS)))
    assert pair.events == [Subscribed(inst_type=InstType.SPOT)]
    pair.events.clear()
    id = pair.cancel(CancelOrder("BTCUSDT", client_oid="mine"))
    assert isinstance(pair.outcomes[id], Accepted)
    assert [type(event) for event in pair.events] == [Accepted, OrderUpdate]
    assert pushes(pair) == [push()]


def test_a_push_can_be_sent_before_the_answer() -> None:
    pair = ready(ScriptedExchange([ORDER]))
    pair.send(json.dumps(subscribe(ORDERS)))
    pair.events.clear()
    pair.exchange.inject(Fault.PUSH_FIRST)
    pair.cancel(ORDER)
    assert [type(event) for event in pair.events] == [OrderUpdate, Accepted]
    assert pushes(pair) == [push()]


@pytest.mark.parametrize(
    ("fault", "pushed"), [(Fault.NO_PUSH, False), (Fault.SILENT, True), (Fault.LATE, True)]
)
def test_a_push_is_sent_or_lost_according_to_the_fault(fault: Fault, *, pushed: bool) -> None:
    pair = ready(ScriptedExchange([ORDER]))
    pair.send(json.dumps(subscribe(ORDERS)))
    pair.events.clear()
    pair.exchange.inject(fault)
    id = pair.cancel(ORDER)
    assert bool(pushes(pair)) is pushed
    pair.run(10.0)
    assert isinstance(pair.outcomes[id], Accepted if fault is Fault.NO_PUSH else Unresolved)


def test_a_refused_cancel_is_not_pushed() -> None:
    pair = ready(ScriptedExchange([ORDER], refusals={"1": "45056"}))
    pair.send(json.dumps(subscribe(ORDERS)))
    pair.events.clear()
    for fault in (None, Fault.PUSH_FIRST):
        pair.exchange.inject(fault)
        pair.cancel(ORDER)
        pair.run(2.0)
    assert pushes(pair) == []


@pytest.mark.parametrize(
    ("arg", "pushed"),
    [
        ({"instType": "SPOT", "channel": "orders"}, True),
        ({"instType": "SPOT", "channel": "orders", "instId": "BTCUSDT"}, True),
        ({"instType": "SPOT", "channel": "orders", "instId": "ETHUSDT"}, False),
        ({"instType": "USDT-FUTURES", "channel": "orders", "instId": "default"}, False),
        ({"instType": "SPOT", "channel": "fill", "instId": "default"}, False),
    ],
    ids=["all", "its own", "another", "futures", "fill"],
)
def test_only_subscribed_channels_are_pushed(arg: dict[str, str], *, pushed: bool) -> None:
    pair = ready(ScriptedExchange([ORDER]))
    pair.send(json.dumps(subscribe(arg)))
    pushes(pair)
    pair.cancel(ORDER)
    assert pushes(pair) == ([push()] if pushed else [])


def test_a_missing_client_oid_is_pushed_empty_also_for_futures() -> None:
    order = CancelOrder("BTCUSDT", order_id="9", inst_type=InstType.USDT_FUTURES)
    arg = ORDERS | {"instType": "USDT-FUTURES"}
    pair = ready(ScriptedExchange([order]))
    pair.send(json.dumps(subscribe(arg)))
    pushes(pair)
    pair.cancel(order)
    assert pushes(pair) == [push("9", None, InstType.USDT_FUTURES)]


def test_nothing_is_pushed_after_unsubscribing() -> None:
    pair = ready(ScriptedExchange([ORDER]))
    for op in ("subscribe", "unsubscribe"):
        pair.send(json.dumps(subscribe(ORDERS, op=op)))
    pushes(pair)
    pair.cancel(ORDER)
    assert pushes(pair) == []


def two(exchange: ScriptedExchange) -> Iterable[Pair]:
    clock = VirtualClock()
    for _ in range(2):
        pair = Pair(StrictConnection(Config()), exchange, clock=clock)
        pair.open()
        pair.send(json.dumps(subscribe(ORDERS)))
        pushes(pair)
        yield pair


@pytest.mark.parametrize("fault", [None, Fault.PUSH_FIRST, Fault.DROP_AFTER])
def test_a_cancel_by_one_client_is_pushed_to_all(fault: Fault | None) -> None:
    exchange = ScriptedExchange([ORDER])
    one, other = two(exchange)
    exchange.inject(fault)
    one.cancel(ORDER)
    other.settle()
    assert pushes(other) == [push()]
    one.settle()
    if fault is not Fault.DROP_AFTER:
        assert pushes(one) == [push()]


@pytest.mark.parametrize("how", ["drop", "close", "end", "end untold"])
def test_nothing_is_pushed_to_a_link_that_has_ended(how: str) -> None:
    exchange = ScriptedExchange([ORDER])
    one, other = two(exchange)
    match how:
        case "drop":
            other.drop()
        case "close":
            other.link.close(0.0)
        case "end":
            other.link.connection.close(0.0)
            other._wire.drain()
        case _:
            # It is over, but its driver does not know yet.
            other.link.connection.close(0.0)
    one.cancel(ORDER)
    assert isinstance(next(iter(one.outcomes.values())), Accepted)
    other._wire.drain()
    assert exchange.links == (one.link,)


def test_a_link_without_a_wake_callback_gets_pushes_with_its_next_drain() -> None:
    exchange = ScriptedExchange([ORDER])
    links = [exchange.link(), exchange.link()]
    login = json.loads(Codec().encode_login(sign_login(Key("key", "secret", "passphrase"), 1)))
    for made in links:
        made.opened(0.0)
        asked(made, login)
        asked(made, subscribe(ORDERS))
    answers = asked(links[0], json.loads(encode_cancel(ORDER, "1")))
    assert [answer.get("event") for answer in answers] == ["trade", None]
    output = links[1].poll(0.0)
    assert isinstance(output, Transmit)
    assert decode(output.text) == OrdersPush((push(),))
