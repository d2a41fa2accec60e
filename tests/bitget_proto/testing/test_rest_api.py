"""The REST API of the scripted exchange: its book, its limits and its faults."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Connection,
    Credentials,
    Dialect,
    InstType,
    OrderStatus,
    OrderUpdate,
    Rejected,
    Session,
    ValidationError,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    Pair,
    RestFault,
    ScriptedExchange,
    SessionPair,
)

KEY = Credentials("key", "secret", "passphrase")
SPOT = CancelOrder("BTCUSDT", "1", "a")
FUTURES = CancelOrder("ETHUSDT", "2", inst_type=InstType.USDT_FUTURES)

ONE_SPOT = "/api/v2/spot/trade/orderInfo"
ONE_FUTURES = "/api/v2/mix/order/detail"
ONE_UNIFIED = "/api/v3/trade/order-info"


def classic(*orders: CancelOrder, **options: Any) -> ScriptedExchange:
    return ScriptedExchange(orders or (SPOT, FUTURES), **options)


def unified(*orders: CancelOrder) -> ScriptedExchange:
    config = ExchangeConfig(dialect=Dialect.UNIFIED)
    return ScriptedExchange(orders or (SPOT, FUTURES), config=config)


def get(exchange: ScriptedExchange, path: str, now: float = 0.0, **query: str) -> tuple[int, Any]:
    target = f"{path}?{urlencode(query)}" if query else path
    return ask(exchange, "GET", target, b"", now)


def post(exchange: ScriptedExchange, path: str, now: float = 0.0, **keys: str) -> tuple[int, Any]:
    return ask(exchange, "POST", path, json.dumps(keys).encode(), now)


def ask(
    exchange: ScriptedExchange, method: str, target: str, body: bytes, now: float
) -> tuple[int, Any]:
    answer = exchange.rest(method, target, {}, body, now)
    assert answer is not None
    return answer[0], json.loads(answer[1])


def test_one_order_has_the_shape_of_its_endpoint() -> None:
    exchange = classic()
    exchange.fill(SPOT, 1.0, "0.25")
    status, whole = get(exchange, ONE_SPOT, 2.0, orderId="1")
    assert (status, whole["code"], whole["msg"]) == (200, "00000", "success")
    (row,) = whole["data"]
    assert (row["orderId"], row["clientOid"], row["symbol"]) == ("1", "a", "BTCUSDT")
    assert (row["status"], row["baseVolume"], row["priceAvg"]) == (
        "partially_filled",
        "0.25",
        "100",
    )
    _, whole = get(
        exchange, ONE_FUTURES, 2.0, orderId="2", symbol="ETHUSDT", productType="USDT-FUTURES"
    )
    assert (whole["data"]["state"], "status" in whole["data"]) == ("live", False)
    _, whole = get(unified(), ONE_UNIFIED, 2.0, clientOid="a")
    data = whole["data"]
    assert (data["orderStatus"], data["cumExecQty"], data["category"]) == ("new", "0", "SPOT")


def test_an_order_that_never_was_is_not_found() -> None:
    for exchange, path, code in (
        (classic(), ONE_SPOT, "40109"),
        (classic(), ONE_FUTURES, "40109"),
        (unified(), ONE_UNIFIED, "25204"),
    ):
        status, whole = get(exchange, path, orderId="77", symbol="X")
        assert (status, whole["code"], whole["data"]) == (400, code, None)


def test_a_cancelled_order_is_spelled_as_its_product_line_does() -> None:
    exchange = classic()
    post(exchange, "/api/v2/spot/trade/cancel-order", 1.0, symbol="BTCUSDT", orderId="1")
    post(
        exchange,
        "/api/v2/mix/order/cancel-order",
        1.0,
        symbol="ETHUSDT",
        productType="USDT-FUTURES",
        orderId="2",
    )
    assert not exchange.live
    _, spot = get(exchange, ONE_SPOT, 2.0, orderId="1")
    _, futures = get(exchange, ONE_FUTURES, 2.0, orderId="2", symbol="ETHUSDT")
    assert (spot["data"][0]["status"], futures["data"]["state"]) == ("cancelled", "canceled")
    assert spot["data"][0]["cancelReason"] == "normal_cancel"


def test_pages_have_each_order_once_and_the_newest_first() -> None:
    orders = [CancelOrder("BTCUSDT", str(n), inst_type=InstType.SPOT) for n in range(1, 251)]
    exchange, seen, query = unified(*orders), list[str](), dict[str, str]()
    for size in (100, 100, 50):
        _, whole = get(exchange, "/api/v3/trade/unfilled-orders", 0.0, **query)
        page = whole["data"]
        assert len(page["list"]) == size
        seen += [row["orderId"] for row in page["list"]]
        query = {"cursor": page["cursor"]}
    assert seen == [order.order_id for order in reversed(orders)]
    _, whole = get(exchange, "/api/v3/trade/unfilled-orders", 0.0, **query)
    assert whole["data"] == {"list": [], "cursor": None}


def test_the_history_has_what_has_ended_and_the_list_what_is_open() -> None:
    exchange = classic()
    exchange.fill(SPOT, 1.0)
    _, still = get(exchange, "/api/v2/spot/trade/unfilled-orders", 1.0)
    _, ended = get(exchange, "/api/v2/spot/trade/history-orders", 1.0)
    assert (still["data"], [row["status"] for row in ended["data"]]) == ([], ["filled"])
    _, futures = get(exchange, "/api/v2/mix/order/orders-history", 1.0, productType="USDT-FUTURES")
    assert futures["data"] == {"entrustedList": None, "endId": ""}


def test_rest_is_behind_by_a_settable_time() -> None:
    exchange = classic()
    exchange.rest_behind = 2.0
    exchange.fill(SPOT, 10.0)
    for now, status in ((11.9, "live"), (12.0, "filled")):
        _, whole = get(exchange, ONE_SPOT, now, orderId="1")
        assert whole["data"][0]["status"] == status


def test_rest_and_the_websocket_share_the_allowance_of_cancels() -> None:
    orders = [CancelOrder("BTCUSDT", str(n)) for n in range(12)]
    exchange = classic(*orders)
    given = [
        post(exchange, "/api/v2/spot/trade/cancel-order", symbol="BTCUSDT", orderId=str(n))[0]
        for n in range(12)
    ]
    assert given == [200] * 10 + [429] * 2
    assert exchange._book.remaining(0.0) == 0


def test_cancelling_by_symbol_is_one_request_for_all() -> None:
    orders = [CancelOrder("BTCUSDT", str(n)) for n in range(30)]
    exchange = classic(*orders, CancelOrder("ETHUSDT", "99"))
    status, _ = post(exchange, "/api/v2/spot/trade/cancel-symbol-order", symbol="BTCUSDT")
    assert (status, [order.order_id for order in exchange.live]) == (200, ["99"])
    exchange = unified(*orders)
    _, whole = post(
        exchange, "/api/v3/trade/cancel-symbol-order", category="SPOT", symbol="BTCUSDT"
    )
    assert len(whole["data"]["list"]) == 30
    assert not exchange.live


def test_an_order_that_was_placed_without_a_product_line_is_a_spot_order() -> None:
    orders = [CancelOrder("BTCUSDT", str(n)) for n in (1, 2)]
    exchange = unified(*orders)
    (row, _) = get(exchange, "/api/v3/trade/unfilled-orders")[1]["data"]["list"]
    assert row["category"] == "SPOT"
    pair = Pair(Connection(codec=Codec(dialect=Dialect.UNIFIED)), exchange=exchange)
    pair.open()
    for order, outcome in zip(orders, (Accepted, Rejected), strict=True):
        line = InstType.SPOT if outcome is Accepted else InstType.MARGIN
        id = pair.cancel(attrs.evolve(order, inst_type=line))
        assert isinstance(pair.outcomes[id], outcome)


def test_each_endpoint_has_a_limit_of_its_own() -> None:
    exchange = classic()
    given = [get(exchange, ONE_SPOT, orderId="1")[0] for _ in range(21)]
    assert given == [200] * 20 + [429]
    assert get(exchange, ONE_FUTURES, orderId="2", symbol="ETHUSDT")[0] == 200
    assert get(exchange, ONE_SPOT, 1.0, orderId="1")[0] == 200


@pytest.mark.parametrize(
    ("fault", "status", "acts"),
    [
        (RestFault.DOWN, None, False),
        (RestFault.UNAVAILABLE, 503, False),
        (RestFault.TOO_MANY, 429, False),
        (RestFault.CUT_AFTER, None, True),
        (RestFault.FAILED_AFTER, 500, True),
        (RestFault.EMPTY, 200, True),
        (RestFault.CUT_IN_HALF, 200, True),
    ],
)
def test_a_fault_applies_to_one_request(fault: RestFault, status: int | None, acts: bool) -> None:
    exchange = classic()
    exchange.inject_rest(fault)
    body = json.dumps({"symbol": "BTCUSDT", "orderId": "1"}).encode()
    path = "/api/v2/spot/trade/cancel-order"
    answer = exchange.rest("POST", path, {}, body, 0.0)
    assert (None if answer is None else answer[0]) == status
    assert (SPOT in exchange.live) is not acts
    assert get(exchange, ONE_SPOT, orderId="1")[0] == 200
    # The same applies to a request that is refused: this order has ended, or its symbol is wrong.
    exchange.inject_rest(fault)
    wrong = json.dumps({"symbol": "ETHUSDT", "orderId": "1"}).encode()
    answer = exchange.rest("POST", path, {}, wrong, 2.0)
    assert (None if answer is None else answer[0]) == status


def test_a_fault_is_a_rest_fault() -> None:
    with pytest.raises(ValidationError, match=r"^fault must be None or one of RestFault\.DOWN"):
        classic().inject_rest(RestFault.DOWN, Fault.LATE)  # type: ignore[arg-type]


def test_an_account_of_the_other_kind_is_told_so() -> None:
    assert get(classic(), ONE_UNIFIED, orderId="1")[1]["code"] == "40084"
    assert get(unified(), ONE_SPOT, orderId="1")[1]["code"] == "40085"
    assert get(classic(), "/api/v3/account/settings")[1]["code"] == "40084"
    assert get(unified(), "/api/v3/account/settings")[0] == 200
    assert get(unified(), "/api/v2/public/time")[0] == 200


def signed(stamp: int, target: str, secret: str = "secret") -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{stamp}GET{target}".encode(), hashlib.sha256).digest()
    return {
        "access-key": "key",
        "access-passphrase": "passphrase",
        "access-timestamp": str(stamp),
        "access-sign": base64.b64encode(digest).decode(),
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "00000"),
        ({"access-key": "other"}, "40006"),
        ({"access-passphrase": "other"}, "40012"),
        ({"access-timestamp": "soon"}, "40005"),
        ({"access-timestamp": "1763958331999"}, "40008"),
        ({"access-sign": "x"}, "40009"),
    ],
)
def test_private_requests_are_signed(change: dict[str, str], code: str) -> None:
    exchange = classic(credentials=KEY)
    exchange.epoch = 1_763_958_362.0
    target = f"{ONE_SPOT}?orderId=1"
    headers = signed(1_763_958_362_000, target) | change
    answer = exchange.rest("GET", target, headers, b"", 0.0)
    assert answer is not None
    assert json.loads(answer[1])["code"] == code
    time = exchange.rest("GET", "/api/v2/public/time", {}, b"", 0.0)
    assert time is not None
    assert json.loads(time[1])["data"] == {"serverTime": "1763958362000"}


def test_a_listed_order_without_a_product_line_can_be_cancelled() -> None:
    exchange = unified(SPOT)
    (row,) = get(exchange, "/api/v3/trade/unfilled-orders", category="SPOT")[1]["data"]["list"]
    listed = CancelOrder(row["symbol"], row["orderId"], inst_type=InstType(row["category"]))
    session = Session(codec=Codec(dialect=Dialect.UNIFIED), jitter=float)
    pair = SessionPair(session, exchange)
    pair.start()
    assert isinstance(pair.outcomes[pair.cancel(listed)], Accepted)


def test_a_signature_is_of_the_values_before_they_are_encoded() -> None:
    exchange = ScriptedExchange([SPOT], credentials=KEY, epoch=1_763_958_362.0)
    stamp, found = 1_763_958_362_000, list[str]()
    for text in ("orderId=1&symbol=币USDT", "orderId=1&symbol=%E5%B8%81USDT"):
        headers = signed(stamp, f"{ONE_SPOT}?{text}")
        target = f"{ONE_SPOT}?orderId=1&symbol=%E5%B8%81USDT"
        answer = exchange.rest("GET", target, headers, b"", 0.0)
        assert answer is not None
        found.append(json.loads(answer[1])["code"])
    # "sign signature error"
    assert found == ["00000", "40009"]


@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    target=st.sampled_from([ONE_SPOT, ONE_FUTURES, "/api/v2/spot/trade/cancel-order", "/x"]),
    query=st.text(max_size=40),
    body=st.binary(max_size=60)
    | st.sampled_from([b"{}", b'{"symbol":1}', b'{"orderId":"1"}', b"[]"]),
)
def test_no_request_raises(method: str, target: str, query: str, body: bytes) -> None:
    exchange = classic()
    answer = exchange.rest(method, f"{target}?{query}", {}, body, 0.0)
    assert answer is not None
    assert json.loads(answer[1])["code"]
    assert SPOT in exchange.live


def test_a_fill_must_fit() -> None:
    exchange = classic()
    with pytest.raises(
        ValidationError, match=r"^quantity must be at most 1, the unfilled part; got 2$"
    ):
        exchange.fill(SPOT, 0.0, "2")
    with pytest.raises(
        ValidationError, match=r"^quantity must be a decimal number above 0, as text"
    ):
        exchange.fill(SPOT, 0.0, "-1")
    exchange.fill(SPOT, 0.0)
    with pytest.raises(ValidationError, match=r"^order must be live on the exchange; got Cancel"):
        exchange.fill(SPOT, 0.0)


def test_what_a_request_lacks_is_named() -> None:
    classic_cancel = "/api/v2/spot/trade/cancel-order"
    for exchange, method, path, parts in (
        (classic(), get, "/api/v2/spot/trade/unfilled-orders", {"limit": "101"}),
        (classic(), get, "/api/v2/mix/order/orders-pending", {"productType": "usdt"}),
        (classic(), post, classic_cancel, {"symbol": "BTCUSDT"}),
        (classic(), post, "/api/v2/spot/trade/cancel-symbol-order", {}),
    ):
        status, whole = method(exchange, path, 0.0, **parts)
        assert status == 400
        assert whole["code"] in ("40019", "40020")


# --- the countdown ---

COUNTDOWN = "/api/v3/trade/countdown-cancel-all"


def test_a_parameter_that_is_not_text_is_refused() -> None:
    body: Any = {"symbol": 5, "orderId": "1"}
    status, whole = post(classic(), "/api/v2/spot/trade/cancel-order", 0.0, **body)
    assert (status, whole["code"]) == (400, "40020")


def test_at_the_end_of_the_countdown_all_orders_are_cancelled_and_it_is_off() -> None:
    exchange = unified()
    exchange.fill(SPOT, 0.0, "0.25")
    assert post(exchange, COUNTDOWN, 1.0, countdown="5")[0] == 200
    assert exchange.countdown_ends == 6.0
    exchange.handle_timeout(5.9)
    assert len(exchange.live) == 2
    exchange.handle_timeout(7.0)
    assert not exchange.live
    assert exchange.countdown_ends is None
    _, whole = get(exchange, ONE_UNIFIED, 8.0, orderId="1")
    order = whole["data"]
    assert (order["orderStatus"], order["cumExecQty"]) == ("cancelled", "0.25")
    assert int(order["updatedTime"]) == int((exchange.epoch + 6.0) * 1000)
    assert exchange.log == []


def test_a_countdown_starts_anew_and_is_turned_off() -> None:
    exchange = unified()
    for now in (0.0, 4.0, 8.0):
        post(exchange, COUNTDOWN, now, countdown="5")
    assert exchange.countdown_ends == 13.0
    post(exchange, COUNTDOWN, 9.0, countdown="0")
    assert exchange.countdown_ends is None
    exchange.handle_timeout(99.0)
    assert len(exchange.live) == 2


def test_a_request_after_the_end_sees_the_orders_gone() -> None:
    exchange = unified()
    post(exchange, COUNTDOWN, 0.0, countdown="5")
    _, whole = get(exchange, "/api/v3/trade/unfilled-orders", 6.0)
    assert whole["data"]["list"] == []


def test_a_countdown_has_5_to_60_seconds_once_a_second_on_unified_accounts() -> None:
    exchange = unified()
    for text in ("4", "61", "-5", "5.0", "x", "", "100"):
        status, whole = post(exchange, COUNTDOWN, 10.0 * len(text), countdown=text)
        if status != 429:
            assert (status, whole["code"]) == (400, "40020")
    assert post(exchange, COUNTDOWN, 50.0, countdown="5")[0] == 200
    assert post(exchange, COUNTDOWN, 50.9, countdown="0")[0] == 429
    assert exchange.countdown_ends == 55.0
    assert post(classic(), COUNTDOWN, countdown="5")[1]["code"] == "40084"


def test_a_connected_client_gets_the_pushes_when_the_countdown_ends() -> None:
    pair = Pair(
        Connection(codec=Codec(dialect=Dialect.UNIFIED)),
        unified(),
    )
    pair.open()
    pair.subscribe_orders()
    post(pair.exchange, COUNTDOWN, pair.clock.now, countdown="5")
    ends = pair.exchange.countdown_ends
    pair.run(4.9)
    assert not [event for event in pair.events if isinstance(event, OrderUpdate)]
    pair.run(0.2)
    updates = [event for event in pair.events if isinstance(event, OrderUpdate)]
    assert {update.order_id for update in updates} == {"1", "2"}
    assert {update.status for update in updates} == {OrderStatus.CANCELLED}
    assert ends == 5.0
    # A client that sends something after the end gets them first.
    pair.exchange.place(SPOT)
    post(pair.exchange, COUNTDOWN, pair.clock.now, countdown="5")
    pair.client.cancel(SPOT, pair.clock.now + 6.0)
    pair.run(7.0)
    assert isinstance(next(iter(pair.outcomes.values())), Rejected)
