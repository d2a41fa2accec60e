"""Frames of other clients, from their sources in 2025 and 2026, sent to the scripted exchange.

When strict, the exchange refuses what the documentation does not have, with a code; when lenient,
it accepts what they send. This is no judgement of those clients: the live exchange accepts these
logins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from bitget_proto import (
    CancelOrder,
    Codec,
    Credentials,
    Dialect,
    Transmit,
    Wait,
    encode_cancel,
)  # fmt: skip
from bitget_proto.testing import ConnectionDropped, ExchangeConfig, ScriptedExchange, ScriptedLink

EPOCH = 1_763_958_366
KEY = Credentials("key", "secret", "passphrase")
ORDER = CancelOrder("BTCUSDT", order_id="1", client_oid="mine")


def sign(stamp: object) -> str:
    return base64.b64encode(
        hmac.new(b"secret", f"{stamp}GET/user/verify".encode(), hashlib.sha256).digest()
    ).decode()


def login(stamp: object, key: str = "apiKey", **more: object) -> dict[str, Any]:
    arg = {key: "key", "passphrase": "passphrase", "timestamp": stamp, "sign": sign(stamp)}
    return {"op": "login", "args": [arg | more]}


@attrs.frozen
class Client:
    """The first frames of a client: its login and its subscriptions."""

    name: str
    login: dict[str, Any]
    subscriptions: list[dict[str, Any]]
    refused: int | None
    """The code with which a strict exchange refuses its login; None when it is accepted."""


CLIENTS = [
    Client(
        # python/ccxt/pro/bitget.py: authenticate, watch_private. Seconds, as a string.
        "ccxt",
        login(str(EPOCH)),
        [
            {
                "op": "subscribe",
                "args": [{"instType": "SPOT", "channel": "orders", "instId": "default"}],
            },
            {
                "op": "subscribe",
                "args": [{"instType": "SPOT", "channel": "account", "coin": "default"}],
            },
        ],
        None,
    ),
    Client(
        # tiagosiebler/bitget-api, src/websocket-client-v2.ts: getWsAuthRequestEvent,
        # getWsRequestEvents. Seconds, as a number.
        "bitget-api",
        login(EPOCH),
        [
            {
                "op": "subscribe",
                "args": [
                    {"channel": "orders", "instType": "SPOT", "instId": "default"},
                    {"channel": "account", "instType": "SPOT", "coin": "default"},
                ],
            }
        ],
        30016,
    ),
    Client(
        # Quantweb3-com/NexusTrader, nexustrader/exchange/bitget/websockets.py: _get_auth_payload,
        # subscribe_orders and others.
        # Milliseconds, as a number.
        "NexusTrader",
        login(EPOCH * 1000 + 123),
        [
            {
                "op": "subscribe",
                "args": [{"instType": "SPOT", "channel": "orders", "instId": "default"}],
            },
            {
                "op": "subscribe",
                "args": [{"instType": "USDT-FUTURES", "channel": "positions", "instId": "default"}],
            },
            {
                "op": "subscribe",
                "args": [{"instType": "USDT-FUTURES", "channel": "account", "coin": "default"}],
            },
        ],
        30016,
    ),
    Client(
        # A Go client whose source sends milliseconds as a string.
        "milliseconds as a string",
        login(str(EPOCH * 1000 + 999)),
        [
            {
                "op": "subscribe",
                "args": [{"instType": "USDT-FUTURES", "channel": "orders", "instId": "BTCUSDT"}],
            }
        ],
        30013,
    ),
    Client(
        # Seen on the live service: another spelling of the key, and additional keys.
        "another spelling",
        login(str(EPOCH), key="api_key", recvWindow=5000) | {"id": 1},
        [
            {
                "op": "subscribe",
                "args": [{"instType": "SPOT", "channel": "orders", "instId": "default"}],
                "id": 2,
            }
        ],
        30016,
    ),
]

each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)

CANCELS: list[Callable[[], dict[str, Any]]] = [
    # NexusTrader, `_submit`: by the client's id only.
    lambda: cancel(params={"clientOid": "mine"}),
    # What a futures client sends: `marginCoin` is not a key of this request.
    lambda: cancel(params={"orderId": "1", "clientOid": "mine", "marginCoin": "USDT"}, more=1),
]


def cancel(params: dict[str, object], **more: object) -> dict[str, Any]:
    entry = {
        "id": "a1",
        "instType": "SPOT",
        "instId": "BTCUSDT",
        "channel": "cancel-order",
        "params": params,
    }
    return {"op": "trade", "args": [entry | more], **more}


def opened(*, lenient: bool) -> ScriptedLink:
    link = ScriptedExchange([ORDER], credentials=KEY, epoch=EPOCH, lenient=lenient).link()
    link.opened(0.0)
    return link


def answers(link: ScriptedLink, request: object) -> list[Any]:
    link.receive(json.dumps(request), 0.0)
    replies: list[Any] = []
    while not isinstance(output := link.poll(0.0), Wait):
        if isinstance(output, Transmit):
            replies.append(json.loads(output.text))
        elif isinstance(output, ConnectionDropped):
            replies.append(None)
    return replies


@each_client
def test_a_strict_exchange_accepts_a_login_or_refuses_it_with_a_code(client: Client) -> None:
    (answer, *end) = answers(opened(lenient=False), client.login)
    assert ("lenient=True" in answer.get("msg", "")) is (client.refused is not None)
    if client.refused is None:
        assert answer == {"event": "login", "code": 0}
    else:
        assert (answer["event"], answer["code"]) == ("error", client.refused)
        # A refused login closes the connection; a frame that is not a login does not.
        assert end == ([None] if client.refused == 30013 else [])


@each_client
def test_a_lenient_exchange_accepts_each_clients_login_and_subscriptions(client: Client) -> None:
    link = opened(lenient=True)
    assert answers(link, client.login) == [{"event": "login", "code": 0}]
    for request in client.subscriptions:
        assert answers(link, request) == [
            {"event": "subscribe", "arg": arg} for arg in request["args"]
        ]


@pytest.mark.parametrize("lenient", [True, False])
def test_a_client_that_follows_the_documentation_can_subscribe(lenient: bool) -> None:
    link = opened(lenient=lenient)
    ccxt = CLIENTS[0]
    answers(link, ccxt.login)
    for request in ccxt.subscriptions:
        assert answers(link, request) == [
            {"event": "subscribe", "arg": arg} for arg in request["args"]
        ]


def test_a_lenient_exchange_accepts_a_cancel_with_additional_keys() -> None:
    for made in CANCELS:
        link = opened(lenient=True)
        answers(link, CLIENTS[0].login)
        (answer,) = answers(link, made())
        assert (answer["event"], answer["arg"][0]["id"]) == ("trade", "a1")
        assert set(answer["arg"][0]["params"]) <= {"orderId", "clientOid"}


def test_a_strict_exchange_refuses_additional_keys() -> None:
    link = opened(lenient=False)
    answers(link, CLIENTS[0].login)
    (answer,) = answers(link, CANCELS[1]())
    assert (answer["event"], answer["code"]) == ("error", 30016)
    assert answer["msg"].endswith("lenient=True accepts this form")


def test_a_cancel_of_the_other_kind_of_account_is_not_said_to_be_accepted_when_lenient() -> None:
    config = ExchangeConfig(dialect=Dialect.UNIFIED)
    link = ScriptedExchange([ORDER], credentials=KEY, epoch=EPOCH, config=config).link()
    link.opened(0.0)
    answers(link, CLIENTS[0].login)
    (answer,) = answers(link, json.loads(encode_cancel(ORDER, "1")))
    assert answer["msg"] == "the topic None is not supported"


def test_a_batch_that_only_lenient_accepts_says_so() -> None:
    config = ExchangeConfig(dialect=Dialect.UNIFIED)
    link = ScriptedExchange([ORDER], credentials=KEY, epoch=EPOCH, config=config).link()
    link.opened(0.0)
    answers(link, CLIENTS[0].login)
    batch = json.loads(Codec(dialect=Dialect.UNIFIED).encode_batch([ORDER], "1"))
    (answer,) = answers(link, batch | {"more": 1})
    assert answer["msg"].endswith("lenient=True accepts this form")


@pytest.mark.parametrize("stamp", [-1, float(EPOCH), True, None, "x", str(EPOCH * 10**6)])
def test_no_hint_is_given_for_a_login_that_no_exchange_accepts(stamp: Any) -> None:
    (answer, *_) = answers(opened(lenient=False), login(stamp))
    assert answer["event"] == "error"
    assert ("lenient" in answer["msg"]) is (stamp == -1)  # its form is accepted, not its value


BOUNDS: list[tuple[dict[str, Any], int]] = [
    (login(float(EPOCH)), 30016),
    (login(True), 30016),
    (login(None), 30016),
    ({"op": "login", "args": [{"api_key": "other"} | login(str(EPOCH))["args"][0]]}, 0),
    ({"op": "login", "args": [{"api_key": 1}]}, 30016),
    ({"op": "login", "args": ["text"]}, 30016),
    ({"op": "login", "args": {}}, 30016),
    (login(str(EPOCH * 1000), key="api_key") | {"args": []}, 30016),
    (login(EPOCH * 1000 + 30_001), 30014),
    (login(EPOCH * 1000 - 30_001), 30014),
    (login(EPOCH * 10**6), 30013),
    (login(-1), 30013),
    (login("x"), 30013),
    ({"op": "login", "args": [login(EPOCH * 1000)["args"][0] | {"sign": sign(EPOCH)}]}, 30015),
    ({"op": "trade", "args": [{"params": 1}]}, 30004),
    ({"op": 1}, 30003),
    ({"args": []}, 30003),
]


@pytest.mark.parametrize(("request_", "code"), BOUNDS)
def test_a_lenient_exchange_still_refuses_invalid_requests(
    request_: dict[str, Any], code: int
) -> None:
    (answer, *_) = answers(opened(lenient=True), request_)
    assert answer["code"] == code
    assert "lenient=True" not in answer.get("msg", "")
