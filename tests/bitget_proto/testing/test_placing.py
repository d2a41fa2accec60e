"""Placing orders on the trade channel of the scripted exchange."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Credentials,
    InstType,
    Transmit,
    Wait,
    encode_cancel,
    sign_login,
)
from bitget_proto import Codec as Wire
from bitget_proto.testing import ExchangeConfig, Fault, Pair, ScriptedExchange, ScriptedLink

LIMIT = {
    "orderType": "limit",
    "side": "buy",
    "size": "2",
    "price": "27000",
    "force": "gtc",
    "clientOid": "mine",
}
MARKET = {"orderType": "market", "side": "sell", "size": "0.1"}
FIRST = "1376000000000000001"


def placing(params: object = None, **changes: object) -> str:
    arg = {
        "id": "7",
        "instType": "SPOT",
        "instId": "BTCUSDT",
        "channel": "place-order",
        "params": LIMIT if params is None else params,
        **changes,
    }
    return json.dumps(
        {"op": "trade", "args": [{key: value for key, value in arg.items() if value is not ...}]}
    )


def asked(link: ScriptedLink, text: str) -> list[Any]:
    link.receive(text, 0.0)
    answers: list[Any] = []
    while not isinstance(output := link.poll(0.0), Wait):
        assert isinstance(output, Transmit)
        answers.append(json.loads(output.text))
    return answers


def linked(exchange: ScriptedExchange | None = None, *, login: bool = True) -> ScriptedLink:
    link = (ScriptedExchange() if exchange is None else exchange).link()
    link.opened(0.0)
    if login:
        asked(link, Wire().encode_login(sign_login(Credentials("key", "secret", "passphrase"), 1)))
    return link


def test_a_placed_order_is_answered_as_documented_and_can_be_cancelled() -> None:
    exchange = ScriptedExchange(epoch=1000.0)
    link = linked(exchange)
    assert asked(link, placing()) == [
        {
            "event": "trade",
            "arg": [
                {
                    "id": "7",
                    "instType": "SPOT",
                    "channel": "place-order",
                    "instId": "BTCUSDT",
                    "params": {"orderId": FIRST, "clientOid": "mine"},
                }
            ],
            "code": 0,
            "msg": "Success",
            "ts": 1000000,
        }
    ]
    order = CancelOrder("BTCUSDT", FIRST, "mine", InstType.SPOT)
    assert exchange.live == (order,)
    (answer,) = asked(link, encode_cancel(CancelOrder("BTCUSDT", client_oid="mine"), "8"))
    assert answer["code"] == 0
    assert not exchange.live


def test_a_futures_market_order_without_a_client_oid_is_accepted() -> None:
    exchange = ScriptedExchange()
    link = linked(exchange)
    (answer,) = asked(link, placing(MARKET, instType="USDT-FUTURES"))
    assert answer["arg"][0]["params"] == {"orderId": FIRST}
    assert exchange.live == (
        CancelOrder("BTCUSDT", order_id=FIRST, inst_type=InstType.USDT_FUTURES),
    )


def test_each_placed_order_gets_a_new_id() -> None:
    link = linked(ScriptedExchange([CancelOrder("BTCUSDT", order_id=FIRST)]))
    ids = [asked(link, placing(MARKET))[0]["arg"][0]["params"]["orderId"] for _ in range(2)]
    assert ids == ["1376000000000000002", "1376000000000000003"]


def test_a_placement_and_a_cancel_with_the_same_id_are_both_answered() -> None:
    order = CancelOrder("BTCUSDT", order_id="1")
    exchange = ScriptedExchange([order])
    link = linked(exchange)
    link.receive(encode_cancel(order, "7"), 0.0)
    link.receive(placing(MARKET), 0.0)
    answers = asked(link, placing(MARKET))
    assert [(answer["arg"][0]["id"], answer["arg"][0]["channel"]) for answer in answers] == [
        ("7", "cancel-order"),
        ("7", "place-order"),
        ("7", "place-order"),
    ]
    assert len(exchange.live) == 2


def test_a_placement_uses_no_injected_fault_and_is_not_logged() -> None:
    exchange = ScriptedExchange()
    link = linked(exchange)
    exchange.inject(Fault.SILENT)
    assert asked(link, placing())[0]["code"] == 0
    assert exchange.log == []
    assert asked(link, encode_cancel(CancelOrder("BTCUSDT", client_oid="mine"), "1")) == []


def test_a_placement_counts_as_a_message() -> None:
    exchange = ScriptedExchange(config=ExchangeConfig(messages_per_second=2))
    pair = Pair(exchange=exchange)
    pair.open()
    pair.link.receive(placing(), 0.0)
    pair.link.receive(placing(), 0.0)
    assert pair.link.connection.state.value == "closed"


def test_a_client_oid_of_a_live_order_is_refused_with_an_echo() -> None:
    exchange = ScriptedExchange()
    link = linked(exchange)
    asked(link, placing())
    (answer,) = asked(link, placing(id="8"))
    assert (answer["event"], answer["code"], answer["msg"]) == (
        "error",
        40786,
        "Duplicate clientOid",
    )
    assert answer["arg"] == json.loads(placing(id="8"))["args"]
    assert len(exchange.live) == 1


def test_placements_are_refused_before_the_login() -> None:
    exchange = ScriptedExchange()
    link = linked(exchange, login=False)
    assert asked(link, placing()) == [
        {"event": "error", "code": 30004, "msg": "User not logged in/User must be logged in"}
    ]
    assert exchange.live == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (placing(id=...), "id must be 1 to 40 of the characters"),
        (placing(id=7), "id must be 1 to 40 of the characters"),
        (placing(instType="MARGIN"), "instType must be a product line"),
        (placing(instType=...), "instType must be a product line"),
        (placing(instId=...), "instId must be a string that is not empty"),
        (placing(instId="a b"), "inst_id must be"),
        (placing([]), "params must be an object"),
        (placing({**LIMIT, "side": "long"}), "params.side must be one of buy, sell"),
        (placing({**LIMIT, "orderType": []}), "params.orderType must be one of limit, market"),
        (placing({**LIMIT, "size": 2}), "size must be a string that is not empty"),
        (placing({**LIMIT, "price": ""}), "price must be a string that is not empty"),
        (placing({**LIMIT, "clientOid": 5}), "clientOid must be a string that is not empty"),
        (placing({**LIMIT, "clientOid": "é"}), "client_oid must be"),
    ],
)
def test_an_invalid_placement_is_refused_with_an_echo(text: str, why: str) -> None:
    exchange = ScriptedExchange()
    link = linked(exchange)
    (answer,) = asked(link, text)
    assert (answer["event"], answer["code"]) == ("error", 30016)
    assert answer["msg"].startswith(why)
    assert answer["arg"] == json.loads(text)["args"]
    assert exchange.live == ()


def test_a_placed_order_is_pushed_to_subscribers_after_its_answer() -> None:
    exchange = ScriptedExchange()
    one, other = linked(exchange), linked(exchange)
    subscribe = (
        '{"op":"subscribe","args":[{"instType":"SPOT","channel":"orders","instId":"default"}]}'
    )
    asked(one, subscribe)
    asked(other, subscribe)
    news: list[int] = []
    for link in (one, other):
        link.on_output = lambda number=link.number: news.append(number)
    answer, push = asked(one, placing())
    assert answer["event"] == "trade"
    (order,) = push["data"]
    assert (order["orderId"], order["clientOid"], order["status"]) == (FIRST, "mine", "live")
    assert news == [other.number]
    assert asked(other, '{"op":"unsubscribe","args":[]}')[0] == push


def test_a_connection_can_place_and_cancel_on_the_same_socket() -> None:
    pair = Pair()
    pair.open()
    pair.send(placing())
    (order,) = pair.exchange.live
    assert isinstance(pair.outcomes[pair.cancel(order)], Accepted)
    assert pair.exchange.live == ()
