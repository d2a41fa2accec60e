"""REST requests as values, their signature, and the reading of answers."""

from __future__ import annotations

import base64
import hmac
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import (
    CancelOrder,
    CodeClass,
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
    TradeReply,
    ValidationError,
    sign_request,
)
from bitget_proto.testing import ExchangeConfig, ScriptedExchange

CLASSIC, UNIFIED = RestCodec(), RestCodec("unified")
KEY = Credentials("key", "secret", "passphrase")
NOW = 1_763_958_366_123
FUTURES = InstType.USDT_FUTURES

SPOT_ORDER = CancelOrder("BTCUSDT", order_id="7")
FUTURES_ORDER = CancelOrder("BTCUSDT", client_oid="a#7 +", inst_type=FUTURES)


def body(data: object, code: object = "00000") -> str:
    return json.dumps({"code": code, "msg": "m", "requestTime": NOW, "data": data})


def asked(codec: RestCodec, question: Question) -> str:
    """The method and the target of a look-up."""
    request = codec.look_up(question)
    assert request.body == ""
    return f"{request.method} {request.target}"


# --- requests ---


@pytest.mark.parametrize(
    ("question", "classic", "unified"),
    [
        (
            OneOrder(SPOT_ORDER),
            "/api/v2/spot/trade/orderInfo?orderId=7",
            "/api/v3/trade/order-info?orderId=7",
        ),
        (
            OneOrder(FUTURES_ORDER),
            "/api/v2/mix/order/detail?clientOid=a%237%20%2B&productType=USDT-FUTURES&symbol=BTCUSDT",
            "/api/v3/trade/order-info?clientOid=a%237%20%2B",
        ),
        (
            OneOrder(CancelOrder("BTCUSDT", "7", "mine")),
            "/api/v2/spot/trade/orderInfo?orderId=7",
            "/api/v3/trade/order-info?orderId=7",
        ),
        (
            OpenOrders(None),
            "/api/v2/spot/trade/unfilled-orders?limit=100",
            "/api/v3/trade/unfilled-orders?limit=100",
        ),
        (
            OpenOrders(FUTURES, "BTCUSDT", "99"),
            "/api/v2/mix/order/orders-pending?idLessThan=99&limit=100&productType=USDT-FUTURES&symbol=BTCUSDT",
            "/api/v3/trade/unfilled-orders?category=USDT-FUTURES&cursor=99&limit=100&symbol=BTCUSDT",
        ),
        (
            OrderHistory(InstType.SPOT, "BTCUSDT"),
            "/api/v2/spot/trade/history-orders?limit=100&symbol=BTCUSDT",
            "/api/v3/trade/history-orders?category=SPOT&limit=100&symbol=BTCUSDT",
        ),
        (
            OrderHistory(FUTURES),
            "/api/v2/mix/order/orders-history?limit=100&productType=USDT-FUTURES",
            "/api/v3/trade/history-orders?category=USDT-FUTURES&limit=100",
        ),
    ],
    ids=["spot", "futures", "both ids", "open", "open page", "history", "futures history"],
)
def test_a_question_is_a_get_request(question: Question, classic: str, unified: str) -> None:
    assert asked(CLASSIC, question) == f"GET {classic}"
    assert asked(UNIFIED, question) == f"GET {unified}"


def test_an_instrument_in_any_script_is_percent_encoded() -> None:
    assert CLASSIC.look_up(OpenOrders(None, "币USDT")).query == "limit=100&symbol=%E5%B8%81USDT"


def test_what_a_query_may_have_is_not_encoded() -> None:
    order = CancelOrder("BTCUSDT", client_oid="a.B:c/d_e-f~$g")
    assert UNIFIED.look_up(OneOrder(order)).query == "clientOid=a.B:c/d_e-f~$g"


@pytest.mark.parametrize(
    ("codec", "order", "path", "sent"),
    [
        (
            CLASSIC,
            SPOT_ORDER,
            "/api/v2/spot/trade/cancel-order",
            {"symbol": "BTCUSDT", "orderId": "7"},
        ),
        (
            CLASSIC,
            FUTURES_ORDER,
            "/api/v2/mix/order/cancel-order",
            {"symbol": "BTCUSDT", "productType": "USDT-FUTURES", "clientOid": "a#7 +"},
        ),
        (UNIFIED, CancelOrder(order_id="7"), "/api/v3/trade/cancel-order", {"orderId": "7"}),
        (UNIFIED, FUTURES_ORDER, "/api/v3/trade/cancel-order", {"clientOid": "a#7 +"}),
    ],
    ids=["spot", "futures", "unified", "unified by client_oid"],
)
def test_a_cancel_is_a_post_request(
    codec: RestCodec, order: CancelOrder, path: str, sent: dict[str, str]
) -> None:
    request = codec.cancel(order)
    assert (request.method, request.target) == ("POST", path)
    assert json.loads(request.body) == sent


@pytest.mark.parametrize(
    "order", [CancelOrder(order_id="7"), CancelOrder("B", "7", None, InstType.MARGIN)]
)
def test_a_classic_account_refuses_an_order_that_it_cannot_have(order: CancelOrder) -> None:
    with pytest.raises(ValidationError, match=r"Dialect\.UNIFIED"):
        CLASSIC.cancel(order)
    with pytest.raises(ValidationError, match=r"Dialect\.UNIFIED"):
        CLASSIC.look_up(OneOrder(order))


@pytest.mark.parametrize(
    ("codec", "inst_type", "inst_id", "path", "sent"),
    [
        (CLASSIC, None, "BTCUSDT", "/api/v2/spot/trade", {"symbol": "BTCUSDT"}),
        (CLASSIC, InstType.SPOT, "BTCUSDT", "/api/v2/spot/trade", {"symbol": "BTCUSDT"}),
        (
            UNIFIED,
            InstType.USDT_FUTURES,
            "BTCUSDT",
            "/api/v3/trade",
            {"category": "USDT-FUTURES", "symbol": "BTCUSDT"},
        ),
        (UNIFIED, InstType.SPOT, None, "/api/v3/trade", {"category": "SPOT"}),
    ],
)
def test_a_cancel_by_symbol_is_a_post_request(
    codec: RestCodec, inst_type: InstType | None, inst_id: str | None, path: str, sent: object
) -> None:
    request = codec.cancel_by_symbol(inst_type, inst_id)
    assert (request.method, request.target) == ("POST", f"{path}/cancel-symbol-order")
    assert json.loads(request.body) == sent


@pytest.mark.parametrize(
    ("codec", "inst_type", "inst_id", "said"),
    [
        (CLASSIC, InstType.USDT_FUTURES, "BTCUSDT", "has no request that cancels the futures"),
        (CLASSIC, InstType.MARGIN, "BTCUSDT", r"only unified accounts have InstType\.MARGIN"),
        (CLASSIC, InstType.SPOT, None, "^inst_id is missing"),
        (UNIFIED, None, "BTCUSDT", "^inst_type is missing"),
    ],
)
def test_a_cancel_by_symbol_that_the_exchange_does_not_have_is_refused(
    codec: RestCodec, inst_type: InstType | None, inst_id: str | None, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        codec.cancel_by_symbol(inst_type, inst_id)


def test_a_cancel_by_symbol_was_taken_or_the_answer_says_why_not() -> None:
    assert CLASSIC.read_taken(200, body({"symbol": "BTCUSDT"})) is None
    assert UNIFIED.read_taken(200, body({"list": []})) is None
    refused = CLASSIC.read_taken(400, body(None, "40014"))
    assert refused is not None
    assert (refused.code, refused.throttled) == ("40014", False)
    for status in (200, 429):
        unread = CLASSIC.read_taken(status, b"")
        assert unread is not None
        assert unread.throttled is (status == 429)


@pytest.mark.parametrize("question", [OpenOrders(InstType.MARGIN), OrderHistory(InstType.MARGIN)])
def test_a_classic_account_has_no_margin(question: Question) -> None:
    with pytest.raises(ValidationError, match=r"only unified accounts have InstType\.MARGIN"):
        CLASSIC.look_up(question)
    assert "category=MARGIN" in UNIFIED.look_up(question).query


def test_anything_but_a_question_is_refused() -> None:
    wrong: Any = SPOT_ORDER
    with pytest.raises(ValidationError, match="question must be a OneOrder"):
        CLASSIC.look_up(wrong)
    with pytest.raises(ValidationError, match="question must be a OneOrder"):
        CLASSIC.read_look_up(wrong, 200, body([]))
    with pytest.raises(ValidationError, match="dialect must be a Dialect"):
        RestCodec("v3")  # type: ignore[arg-type]
    assert repr(UNIFIED) == "RestCodec(Dialect.UNIFIED)"
    assert UNIFIED.dialect is Dialect.UNIFIED


# --- the signature ---


def signed(text: str) -> str:
    return base64.b64encode(hmac.digest(b"secret", text.encode(), "sha256")).decode()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (CLASSIC.server_time(), "GET/api/v2/public/time"),
        (
            CLASSIC.look_up(OneOrder(FUTURES_ORDER)),
            "GET/api/v2/mix/order/detail?clientOid=a#7 +&productType=USDT-FUTURES&symbol=BTCUSDT",
        ),
        (
            UNIFIED.look_up(OpenOrders(InstType.SPOT, "币USDT")),
            "GET/api/v3/trade/unfilled-orders?category=SPOT&limit=100&symbol=币USDT",
        ),
        (
            CLASSIC.cancel(SPOT_ORDER),
            'POST/api/v2/spot/trade/cancel-order{"symbol":"BTCUSDT","orderId":"7"}',
        ),
        (
            RestRequest(method="GET", path="/api/x", query="a=100%&b=%e5%b8%81%FF"),
            "GET/api/x?a=100%&b=币\ufffd",
        ),
    ],
)
def test_the_signature_is_of_the_values_before_they_are_encoded(
    request_: RestRequest, text: str
) -> None:
    assert sign_request(KEY, request_, NOW) == {
        "ACCESS-KEY": "key",
        "ACCESS-SIGN": signed(f"{NOW}{text}"),
        "ACCESS-TIMESTAMP": str(NOW),
        "ACCESS-PASSPHRASE": "passphrase",
        "Content-Type": "application/json",
    }


def test_a_request_of_demo_trading_says_so() -> None:
    request = CLASSIC.server_time()
    assert sign_request(KEY, request, NOW, demo=True) == sign_request(KEY, request, NOW) | {
        "paptrading": "1"
    }


def test_an_rsa_key_signs_with_rsa() -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    headers = sign_request(
        Credentials("key", pem.decode(), "passphrase"), CLASSIC.server_time(), NOW
    )
    key.public_key().verify(
        base64.b64decode(headers["ACCESS-SIGN"]),
        f"{NOW}GET/api/v2/public/time".encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )


@pytest.mark.parametrize("time", [0, -NOW, NOW // 1000, NOW * 1000, True, float(NOW), "1", None])
def test_a_time_that_is_not_in_milliseconds_is_refused(time: Any) -> None:
    with pytest.raises(ValidationError, match=r"pass int\(time\.time\(\) \* 1000\)"):
        sign_request(KEY, CLASSIC.server_time(), time)


def test_other_arguments_of_a_wrong_type_are_refused_without_showing_a_secret() -> None:
    wrong: Any = "hidden"
    with pytest.raises(ValidationError, match="credentials must be Credentials") as refused:
        sign_request(wrong, CLASSIC.server_time(), NOW)
    assert "hidden" not in str(refused.value)
    with pytest.raises(ValidationError, match="request must be a RestRequest"):
        sign_request(KEY, wrong, NOW)


def test_a_countdown_is_a_post_request_of_unified_accounts() -> None:
    for seconds in (0, 5, 60):
        request = UNIFIED.countdown(seconds)
        assert f"{request.method} {request.target}" == "POST /api/v3/trade/countdown-cancel-all"
        assert json.loads(request.body) == {"countdown": str(seconds)}
    wrong: Any
    for wrong in (1, 4, 61, -5, 30.0, True, "30", None):
        with pytest.raises(ValidationError, match="from 5 to 60, or 0"):
            UNIFIED.countdown(wrong)
    with pytest.raises(ValidationError, match="unified accounts only"):
        CLASSIC.countdown(30)


def test_only_a_readable_success_accepts_a_countdown() -> None:
    assert UNIFIED.read_taken(200, body(None)) is None
    assert UNIFIED.read_taken(200, body({}, 0)) is None
    refused = UNIFIED.read_taken(400, body(None, "25008"))
    assert refused == NoAnswer("HTTP 400, code 25008: m", code="25008")
    assert UNIFIED.read_taken(429, b"") == NoAnswer(
        "HTTP 429, and a body that cannot be read", throttled=True
    )
    for status, text in ((200, b""), (500, body(None)), (200, "[]"), (200, b"\xff")):
        assert isinstance(UNIFIED.read_taken(status, text), NoAnswer)


# --- answers about one order ---


def test_a_spot_order_is_in_a_list_and_a_futures_order_is_an_object() -> None:
    spot = {"orderId": "7", "symbol": "BTCUSDT", "status": "cancelled", "baseVolume": "0.5",
            "priceAvg": "27000", "cancelReason": "normal_cancel", "uTime": "5"}  # fmt: skip
    reply = CLASSIC.read_look_up(OneOrder(SPOT_ORDER), 200, body([spot]))
    update = OrderUpdate(
        order_id="7",
        client_oid=None,
        inst_type=InstType.SPOT,
        inst_id="BTCUSDT",
        status=OrderStatus.CANCELLED,
        status_text="cancelled",
        filled=Decimal("0.5"),
        average_price=Decimal(27000),
        reason="normal_cancel",
        updated_at=5,
    )
    assert reply == OrderPage((update,))
    futures = {"orderId": "7", "clientOid": "a#7 +", "state": "filled", "baseVolume": "1"}
    reply = CLASSIC.read_look_up(OneOrder(FUTURES_ORDER), 200, body(futures).encode())
    assert isinstance(reply, OrderPage)
    (update,) = reply.orders
    assert (update.status, update.inst_type) == (OrderStatus.FILLED, FUTURES)


def test_an_order_of_a_unified_account_names_its_product_line_in_upper_case() -> None:
    order = {"orderId": "7", "category": "USDT-FUTURES", "orderStatus": "new", "cumExecQty": "0"}
    reply = UNIFIED.read_look_up(OneOrder(SPOT_ORDER), 200, body(order))
    assert isinstance(reply, OrderPage)
    (update,) = reply.orders
    assert (update.status, update.inst_type) == (OrderStatus.OPEN, FUTURES)


@pytest.mark.parametrize("code", ["43001", "40109", "25204"])
@pytest.mark.parametrize("codec", [CLASSIC, UNIFIED])
@pytest.mark.parametrize("status", [200, 400, 404])
def test_three_codes_say_that_there_is_no_such_order(
    codec: RestCodec, code: str, status: int
) -> None:
    answer = body(None, code)
    assert codec.read_look_up(OneOrder(SPOT_ORDER), status, answer) == NoSuchOrder(code)
    assert isinstance(codec.read_look_up(OpenOrders(None), status, answer), NoAnswer)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_does_not_say_that_there_is_no_such_order(status: int) -> None:
    reply = CLASSIC.read_look_up(OneOrder(SPOT_ORDER), status, body(None, "43001"))
    assert reply == NoAnswer(f"HTTP {status}, code 43001: m", code="43001", throttled=status == 429)


@pytest.mark.parametrize("codec", [CLASSIC, UNIFIED])
@pytest.mark.parametrize("order", [SPOT_ORDER, FUTURES_ORDER])
def test_an_empty_list_says_that_there_is_no_such_order(
    codec: RestCodec, order: CancelOrder
) -> None:
    assert codec.read_look_up(OneOrder(order), 200, body([])) == NoSuchOrder(None)


NOT_ANSWERS: list[str | bytes] = [
    "", " ", "{}", "[]", "null", "<html>", b"\xff", "[" * 100_000, '{"code":"00000"}', "0",
    body([], None), body([], "0x"), body([], 1.5), body([], []), '{"data":[]}', "{" * 40 + "}" * 40,
    body("none"), body(5), body({"list": {}, "entrustedList": 5}), '{"code":"00000","data":NaN}',
    '{"code":"00000","data":[],"x":' + "1" * 5000 + "}", "\ufeff" + body([]),
    '"' + "x" * 5 * 2**20 + '"',
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(NOT_ANSWERS)))
@pytest.mark.parametrize("codec", [CLASSIC, UNIFIED])
@pytest.mark.parametrize("order", [SPOT_ORDER, FUTURES_ORDER])
def test_an_empty_or_unreadable_answer_never_means_that_there_is_no_order(
    codec: RestCodec, order: CancelOrder, index: int
) -> None:
    questions: list[Question] = [
        OneOrder(order),
        OpenOrders(order.inst_type),
        OrderHistory(order.inst_type),
    ]
    for question in questions:
        assert isinstance(codec.read_look_up(question, 200, NOT_ANSWERS[index]), NoAnswer)


@pytest.mark.parametrize("codec", [CLASSIC, UNIFIED])
@pytest.mark.parametrize("data", [None, {}, [{}], [None], {"orderId": 7}, {"list": None}])
def test_an_answer_about_one_order_without_an_id_is_no_answer(
    codec: RestCodec, data: object
) -> None:
    assert isinstance(codec.read_look_up(OneOrder(SPOT_ORDER), 200, body(data)), NoAnswer)


def test_an_answer_about_another_order_or_about_several_is_no_answer() -> None:
    for data in ([{"orderId": "8"}], [{"orderId": "7"}, {"orderId": "8"}], [{"clientOid": "7"}],
                 [{"orderId": "7"}, {"orderId": "7"}]):  # fmt: skip
        reply = CLASSIC.read_look_up(OneOrder(SPOT_ORDER), 200, body(data))
        assert isinstance(reply, NoAnswer)
    by_client_oid = OneOrder(CancelOrder("BTCUSDT", client_oid="mine"))
    same = CLASSIC.read_look_up(by_client_oid, 200, body([{"orderId": "8", "clientOid": "mine"}]))
    assert isinstance(same, OrderPage)


@pytest.mark.parametrize(
    ("status", "code", "throttled"),
    [
        (400, "40085", False),
        (429, "429", True),
        (429, None, True),
        (400, "30007", True),
        (500, "00000", False),
        (201, "00000", False),
    ],
)
def test_an_error_is_no_answer_and_says_whether_to_slow_down(
    status: int, code: str | None, throttled: bool
) -> None:
    reply = CLASSIC.read_look_up(OneOrder(SPOT_ORDER), status, body([], code))
    assert isinstance(reply, NoAnswer)
    assert (reply.throttled, reply.code) == (throttled, code and (code.lstrip("0") or "0"))
    assert str(status) in reply.reason
    empty = CLASSIC.read_look_up(OneOrder(SPOT_ORDER), status, "")
    assert isinstance(empty, NoAnswer)
    assert empty.throttled is (status == 429)


# --- pages ---


def orders(count: int, first: int = 0) -> list[dict[str, str]]:
    return [{"orderId": str(first + number)} for number in range(count)]


def page(codec: RestCodec, question: Question, data: object) -> LookUpReply:
    return codec.read_look_up(question, 200, body(data))


@pytest.mark.parametrize("question", [OpenOrders(None), OrderHistory(InstType.SPOT)])
def test_a_full_page_of_spot_orders_leads_to_the_orders_before_its_last(
    question: Question,
) -> None:
    full = page(CLASSIC, question, orders(100))
    assert isinstance(full, OrderPage)
    assert (len(full.orders), full.next_page) == (100, "99")
    assert {order.inst_type for order in full.orders} == {InstType.SPOT}
    assert page(CLASSIC, question, []) == page(CLASSIC, question, None) == OrderPage(())
    rest = page(CLASSIC, question, orders(99))
    assert isinstance(rest, OrderPage)
    assert rest.next_page is None


@pytest.mark.parametrize("question", [OpenOrders(FUTURES), OrderHistory(FUTURES)])
def test_a_full_page_of_futures_orders_names_where_it_ends(question: Question) -> None:
    full = page(CLASSIC, question, {"entrustedList": orders(100), "endId": "5"})
    assert isinstance(full, OrderPage)
    assert full.next_page == "5"
    assert page(CLASSIC, question, {"entrustedList": None, "endId": None}) == OrderPage(())
    assert isinstance(page(CLASSIC, question, orders(1)), NoAnswer)
    assert isinstance(page(CLASSIC, question, None), NoAnswer)


@pytest.mark.parametrize("question", [OpenOrders(None), OrderHistory(FUTURES)])
def test_a_page_of_a_unified_account_has_a_cursor(question: Question) -> None:
    some = page(UNIFIED, question, {"list": orders(3), "cursor": "5"})
    assert isinstance(some, OrderPage)
    assert some.next_page == "5"
    last = page(UNIFIED, question, {"list": orders(3), "cursor": ""})
    assert isinstance(last, OrderPage)
    assert last.next_page is None
    assert page(UNIFIED, question, {"list": None}) == OrderPage(())
    assert page(UNIFIED, question, {"list": [], "cursor": "5"}) == OrderPage(())


@pytest.mark.parametrize(
    ("codec", "question", "data"),
    [
        (CLASSIC, OpenOrders(None), [*orders(99), {"clientOid": "a"}]),
        (CLASSIC, OpenOrders(None), [*orders(99), None]),
        (CLASSIC, OpenOrders(None, None, "99"), orders(100)),
        (CLASSIC, OpenOrders(FUTURES), {"entrustedList": orders(100)}),
        (CLASSIC, OpenOrders(FUTURES, None, "5"), {"entrustedList": orders(100), "endId": "5"}),
        (UNIFIED, OpenOrders(None), {"list": orders(100)}),
        (UNIFIED, OpenOrders(None, None, "5"), {"list": orders(1), "cursor": "5"}),
        (CLASSIC, OpenOrders(None), [{"orderId": "1"}, {"status": "live"}]),
    ],
    ids=[
        "spot",
        "spot null",
        "spot loop",
        "futures",
        "futures loop",
        "unified",
        "unified loop",
        "unreadable",
    ],
)
def test_a_page_that_cannot_be_complete_is_no_answer(
    codec: RestCodec, question: Question, data: object
) -> None:
    assert isinstance(page(codec, question, data), NoAnswer)


# --- the server's time ---


def test_the_servers_time_is_in_milliseconds() -> None:
    request = UNIFIED.server_time()
    assert (request.method, request.target) == ("GET", "/api/v2/public/time")
    answer = body({"serverTime": "1763958366123"})
    assert CLASSIC.read_server_time(200, answer) == NOW
    assert CLASSIC.read_server_time(500, answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        body({}),
        body([]),
        body({"serverTime": "soon"}),
        body({"serverTime": "5"}, "40001"),
    ],
)
def test_any_other_answer_has_no_time(answer: str) -> None:
    assert CLASSIC.read_server_time(200, answer) is None


# --- any content ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["7", "00000", "43001", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["orderId", "clientOid", "list", "entrustedList", "cursor", "endId"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
BODIES = (
    st.text()
    | st.binary()
    | st.fixed_dictionaries(
        {"code": st.just("00000") | VALUES}, optional={"data": VALUES, "msg": VALUES | st.text()}
    ).map(json.dumps)
)
QUESTIONS: st.SearchStrategy[Question] = st.sampled_from(
    [
        OneOrder(SPOT_ORDER),
        OneOrder(FUTURES_ORDER),
        OpenOrders(None),
        OpenOrders(FUTURES, None, "7"),
        OrderHistory(FUTURES),
    ]
)


@given(
    st.sampled_from([CLASSIC, UNIFIED]), QUESTIONS, st.sampled_from([200, 400, 429, 500]), BODIES
)
def test_no_answer_raises_and_only_a_real_one_is_about_orders(
    codec: RestCodec, question: Question, status: int, answer: str | bytes
) -> None:
    codec.read_server_time(status, answer)
    codec.read_account_kind(status, answer)
    reply = codec.read_look_up(question, status, answer)
    if isinstance(reply, OrderPage):
        assert status == 200
        assert all(order.order_id or order.client_oid for order in reply.orders)
    elif isinstance(reply, NoSuchOrder):
        assert isinstance(question, OneOrder)
        assert status < 429


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "00000", Dialect.UNIFIED),
        (400, "40084", Dialect.CLASSIC),
        (400, "40006", None),
        (429, "429", None),
        (500, "00000", None),
    ],
)
def test_the_settings_tell_the_kind_of_the_account(
    status: int, code: str, kind: Dialect | None
) -> None:
    assert CLASSIC.account_kind() == UNIFIED.account_kind()
    body = json.dumps({"code": code, "msg": "text", "data": {"accountMode": "unified"}})
    assert CLASSIC.read_account_kind(status, body) is kind
    assert CLASSIC.read_account_kind(status, "") is None
    for dialect in Dialect:
        exchange = ScriptedExchange(config=ExchangeConfig(dialect=dialect))
        answer = exchange.rest("GET", CLASSIC.account_kind().target, {}, b"", 0.0)
        assert answer is not None
        assert CLASSIC.read_account_kind(*answer) is dialect


# --- answers to a cancel ---


def cancelled(
    status: int, answer: str, order: CancelOrder = SPOT_ORDER, codec: RestCodec = CLASSIC
) -> tuple[str | None, CodeClass, str]:
    """What the answer to a cancel says."""
    reply = codec.read_cancel(order, status, answer)
    assert isinstance(reply, TradeReply) is (reply.code_class is CodeClass.ACCEPTED)
    assert reply.dialect is codec.dialect
    return reply.code, reply.code_class, reply.message


@pytest.mark.parametrize("codec", [CLASSIC, UNIFIED])
@pytest.mark.parametrize(
    "data", [{"orderId": "7", "clientOid": ""}, {"orderId": "7"}, {}, None, ""]
)
def test_a_success_with_the_order_or_without_an_id_is_accepted(codec: RestCodec, data: Any) -> None:
    answer = body(data)
    assert cancelled(200, answer, codec=codec) == ("0", CodeClass.ACCEPTED, "m")
    reply = codec.read_cancel(SPOT_ORDER, 200, answer)
    assert reply.exchange_ts == NOW
    named = isinstance(data, dict) and "orderId" in data
    assert [order.order_id for order in reply.orders] == ["7" if named else None]


@pytest.mark.parametrize(
    ("order", "data"),
    [
        (SPOT_ORDER, {"orderId": "8"}),
        (FUTURES_ORDER, {"orderId": "8", "clientOid": "another"}),
        (CancelOrder("BTCUSDT", "7", "mine"), {"orderId": "8", "clientOid": "mine"}),
    ],
)
def test_a_success_for_another_order_proves_nothing(order: CancelOrder, data: Any) -> None:
    assert cancelled(200, body(data), order) == (
        None,
        CodeClass.UNREADABLE,
        "the answer names another order",
    )


@pytest.mark.parametrize(
    ("status", "code", "code_class"),
    [
        (400, "43001", CodeClass.NOT_FOUND),
        (200, "43001", CodeClass.NOT_FOUND),
        (400, "40009", CodeClass.LOGIN),
        (403, "40014", CodeClass.PERMISSION),
        (429, "429", CodeClass.THROTTLED),
        (400, "45129", CodeClass.THROTTLED),
        (400, "99999", CodeClass.UNLISTED),
        (500, "40010", CodeClass.OUTCOME_UNKNOWN),
        (503, "40200", CodeClass.OUTCOME_UNKNOWN),
    ],
)
def test_a_refusal_of_a_cancel_has_its_code(status: int, code: str, code_class: CodeClass) -> None:
    assert cancelled(status, body(None, code)) == (code, code_class, "m")


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (500, body(None, "43001"), "HTTP 500, code 43001: m"),
        (502, body(None, "40009"), "HTTP 502, code 40009: m"),
        (100, body(None, "43001"), "HTTP 100, code 43001: m"),
        (400, body(None), "HTTP 400, code 0: m"),
        (201, body({"orderId": "7"}), "HTTP 201, code 0: m"),
        (200, body({"orderId": "7"}, code=True), "HTTP 200, code None: m"),
        (200, "", "HTTP 200, and a body that cannot be read"),
        (200, "[]", "HTTP 200, and a body that cannot be read"),
        (503, "<html>", "HTTP 503, and a body that cannot be read"),
        (429, "<html>", "HTTP 429, and a body that cannot be read"),
    ],
)
def test_an_answer_that_contradicts_itself_or_cannot_be_read_has_no_code(
    status: int, answer: str, message: str
) -> None:
    assert cancelled(status, answer) == (None, CodeClass.UNREADABLE, message)


@given(status=st.integers(0, 999), answer=st.binary() | st.text())
def test_no_answer_to_a_cancel_raises_or_is_accepted_by_chance(
    status: int, answer: str | bytes
) -> None:
    assert CLASSIC.read_cancel(SPOT_ORDER, status, answer).code_class is CodeClass.UNREADABLE


# --- what another peer might answer ---


@pytest.mark.parametrize(
    "data",
    [
        {"orderId": 999},
        {"orderId": "999"},
        {"failureList": [{"orderId": "1001"}]},
        [{"orderId": "999"}],
        [],
        "999",
        {"orderId": ["1001"]},
    ],
)
@pytest.mark.parametrize(("status", "code"), [(200, "00000"), (400, "43001")])
@pytest.mark.parametrize("rest", [CLASSIC, UNIFIED])
def test_an_answer_that_names_anything_else_proves_nothing(
    rest: RestCodec, status: int, code: str, data: object
) -> None:
    reply = rest.read_cancel(CancelOrder("BTCUSDT", order_id="1001"), status, body(data, code))
    assert (type(reply).__name__, reply.code) == ("ErrorReply", None)


@pytest.mark.parametrize("rest", [CLASSIC, UNIFIED])
def test_a_list_with_another_instrument_is_no_answer(rest: RestCodec) -> None:
    question = OpenOrders(InstType.SPOT, "BTCUSDT")
    item = {"orderId": "1", "symbol": "ETHUSDT", "status": "live", "orderStatus": "live"}
    data: object = [item] if rest is CLASSIC else {"list": [item], "cursor": None}
    reply = rest.read_look_up(question, 200, body(data))
    assert isinstance(reply, NoAnswer)


@pytest.mark.parametrize("inst_id", ["", "BTC/USDT", 5])
def test_open_orders_of_no_instrument_are_refused(inst_id: Any) -> None:
    with pytest.raises(ValidationError, match="inst_id"):
        OpenOrders(InstType.SPOT, inst_id)
    with pytest.raises(ValidationError, match="inst_id"):
        CLASSIC.cancel_by_symbol(InstType.SPOT, inst_id)


def test_open_orders_of_no_product_line_are_refused() -> None:
    wrong: Any = "SPOT"
    with pytest.raises(ValidationError, match="inst_type"):
        OpenOrders(wrong, "BTCUSDT")
    with pytest.raises(ValidationError, match="inst_type"):
        UNIFIED.cancel_by_symbol(wrong, "BTCUSDT")


@pytest.mark.parametrize(("code", "refused"), [("40008", True), ("40005", True), ("40014", False)])
@pytest.mark.parametrize("rest", [CLASSIC, UNIFIED])
def test_a_refused_timestamp_differs_from_other_refusals(
    rest: RestCodec, code: str, *, refused: bool
) -> None:
    reply = rest.read_look_up(OneOrder(SPOT_ORDER), 400, body(None, code))
    assert isinstance(reply, NoAnswer)
    assert reply.stamp_refused is refused
