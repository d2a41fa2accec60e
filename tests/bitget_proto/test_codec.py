"""Tests of the wire format: exact bytes written, all spellings read, and agreeing engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast, get_args

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitget_proto import (
    CancelOrder,
    Codec,
    CodeClass,
    Dialect,
    Engine,
    ErrorReply,
    InstType,
    LoginReply,
    Malformed,
    Message,
    OrderReply,
    Other,
    Pong,
    SignedLogin,
    TradeReply,
    ValidationError,
    decode,
    encode_cancel,
)
from bitget_proto._wire.exchange_codec import decode_request
from bitget_proto._wire.requests import (
    BadRequest,
    BatchRequest,
    CancelRequest,
    LoginRequest,
    OtherRequest,
    Ping,
    Request,
)
from bitget_proto.testing import encode_event, encode_reply

CODECS = {engine: Codec(engine) for engine in Engine}
every_engine = pytest.mark.parametrize(
    "codec", CODECS.values(), ids=[engine.value for engine in CODECS]
)

MESSAGES = get_args(Message)
REQUESTS = get_args(Request)

VECTORS: dict[str, dict[str, str]] = {
    vector["name"]: vector
    for vector in map(
        json.loads,
        (Path(__file__).parents[1] / "vectors/frames.jsonl").read_text("utf-8").splitlines(),
    )
}


def frame(**keys: object) -> str:
    return json.dumps(keys)


# --- frames of the documentation and frames recorded on the live service ---

PAGE_ID = "xxxxx-xxx-xxx-xxxx-xxxxxx"
CLASSIC_LINES = [line for line in InstType if line is not InstType.MARGIN]


def with_line(order: CancelOrder) -> CancelOrder:
    """Return the order as a classic exchange reads it: without a product line it is a spot order."""
    return attrs.evolve(order, inst_type=order.inst_type or InstType.SPOT)


PAGE_ORDER = CancelOrder("BTCUSDT", "xxxxxxxxx", PAGE_ID, InstType.SPOT)

ID, OTHER_ID = "1396095071110135834", "1396095071110135835"

MEANING: dict[str, Message] = {
    "page-reply": TradeReply(PAGE_ID, True, "0", "Success", None),
    "accepted": TradeReply("1", True, "0", "Success", 1763958928351),
    "refused": ErrorReply("1", True, "43001", "The order does not exist", 1763958366418),
    "accepted-string-code": TradeReply("1", True, "0", "Success", None),
    "login-ok-page": LoginReply("0", ""),
    "login-ok-seen": LoginReply("0", ""),
    "login-bad-sign": ErrorReply(None, False, "30015", "Invalid sign", None),
    "not-logged-in": ErrorReply(
        None, False, "30004", "User not logged in/User must be logged in", None
    ),
    "pong": Pong(),
    "unified-accepted": TradeReply(
        "7", True, "0", "Success", 1768580937683, False, Dialect.UNIFIED, (OrderReply(ID, "AwAC-1"),)
    ),
    "unified-refused": ErrorReply(
        "7", True, "25204", "Order does not exist", None, False, Dialect.UNIFIED, for_batch=True
    ),
    "unified-upper-case": ErrorReply(
        "7", True, "41101", "Param category=USDT-FUTURES error", None, False, Dialect.UNIFIED,
        for_batch=True,
    ),
    "unified-batch-reply": TradeReply(
        "7", True, "0", "Success", 1768580937683, True, Dialect.UNIFIED,
        (
            OrderReply(ID, "AwAC-1", "0", "Success"),
            OrderReply(OTHER_ID, "AwAC-2", "25204", "Order does not exist"),
        ),
        for_batch=True,
    ),
    "unified-batch-refused": ErrorReply(
        "7", True, "25004", "Too many requests", None, False, Dialect.UNIFIED, for_batch=True
    ),
    "unified-limits": TradeReply(
        "7", True, "0", "Success", 1768580937683, False, Dialect.UNIFIED,
        (OrderReply(ID, "AwAC-1"),), remaining=9,
    ),
    "unified-login-ok": LoginReply("0", "", Dialect.UNIFIED),
    "unified-login-bad-sign": ErrorReply(
        None, False, "30015", "Invalid sign", None, False, Dialect.UNIFIED, for_batch=True
    ),
}  # fmt: skip
"""The message in every recorded frame of the exchange."""

CLASSES = {
    "page-reply": CodeClass.ACCEPTED,
    "accepted": CodeClass.ACCEPTED,
    "refused": CodeClass.NOT_FOUND,
    "accepted-string-code": CodeClass.ACCEPTED,
    "login-ok-page": CodeClass.ACCEPTED,
    "login-ok-seen": CodeClass.ACCEPTED,
    "login-bad-sign": CodeClass.LOGIN,
    "not-logged-in": CodeClass.LOGIN,
    "unified-accepted": CodeClass.ACCEPTED,
    "unified-refused": CodeClass.NOT_FOUND,
    "unified-upper-case": CodeClass.BAD_PARAMETERS,
    "unified-batch-reply": CodeClass.ACCEPTED,
    "unified-batch-refused": CodeClass.THROTTLED,
    "unified-limits": CodeClass.ACCEPTED,
    "unified-login-ok": CodeClass.ACCEPTED,
    "unified-login-bad-sign": CodeClass.LOGIN,
}


def of_vector(codec: Codec, name: str) -> Codec:
    """Return the codec of the account that the frame is of."""
    return Codec(codec.engine, Dialect(VECTORS[name].get("dialect", "classic")))


def test_every_recorded_frame_is_tested() -> None:
    assert {name for name, vector in VECTORS.items() if vector["from"] == "exchange"} == set(
        MEANING
    )
    assert {name for name, vector in VECTORS.items() if vector["from"] == "client"} == {
        "page-request",
        *UNIFIED_REQUESTS,
    }
    assert set(CLASSES) == set(MEANING) - {"pong"}


@every_engine
@pytest.mark.parametrize("name", MEANING)
def test_a_recorded_frame_is_read_alike_from_text_and_bytes(codec: Codec, name: str) -> None:
    text = VECTORS[name]["text"]
    codec = of_vector(codec, name)
    assert codec.decode(text) == MEANING[name]
    assert codec.decode(text.encode()) == MEANING[name]


@every_engine
@pytest.mark.parametrize("name", CLASSES)
def test_a_recorded_frame_has_its_code_class(codec: Codec, name: str) -> None:
    message = of_vector(codec, name).decode(VECTORS[name]["text"])
    assert isinstance(message, TradeReply | ErrorReply | LoginReply)
    assert message.code_class is CLASSES[name]


UNIFIED_REQUESTS: dict[str, CancelRequest | BatchRequest] = {
    "unified-request": CancelRequest(
        "7", CancelOrder(order_id=ID, inst_type=InstType.USDT_FUTURES)
    ),
    "unified-batch": BatchRequest("7", (CancelOrder(order_id=ID), CancelOrder(order_id=OTHER_ID))),
}


@every_engine
@pytest.mark.parametrize("name", UNIFIED_REQUESTS)
def test_a_request_of_a_unified_account_is_written_and_read_as_documented(
    codec: Codec, name: str
) -> None:
    request, text = UNIFIED_REQUESTS[name], VECTORS[name]["text"]
    codec = of_vector(codec, name)
    assert decode_request(text, dialect=Dialect.UNIFIED) == request
    if isinstance(request, CancelRequest):
        assert codec.encode_cancel(request.order, request.id) == text
    else:
        assert codec.encode_batch(request.orders, request.id) == text
    assert codec.trade_ids(text) == ("7",)


@every_engine
def test_the_documented_request_is_written_byte_for_byte(codec: Codec) -> None:
    page = """
    {
       "op":"trade",
       "args":[
          {
             "id":"xxxxx-xxx-xxx-xxxx-xxxxxx",
             "instType":"SPOT",
             "instId":"BTCUSDT",
             "channel":"cancel-order",
             "params":{
                "orderId":"xxxxxxxxx",
                "clientOid":"xxxxx-xxx-xxx-xxxx-xxxxxx"
             }
          }
       ]
    }
    """
    compact = "".join(page.split())
    assert compact == VECTORS["page-request"]["text"]
    assert codec.encode_cancel(PAGE_ORDER, PAGE_ID) == compact


@every_engine
def test_the_documented_request_is_read(codec: Codec) -> None:
    assert decode_request(VECTORS["page-request"]["text"]) == CancelRequest(PAGE_ID, PAGE_ORDER)


# --- writing ---


def test_an_id_that_is_none_is_not_written() -> None:
    head = '{"op":"trade","args":[{"id":"7","instType":"USDT-FUTURES","instId":"BTCUSDT","channel":"cancel-order",'
    by_order_id = CancelOrder("BTCUSDT", "0", inst_type=InstType.USDT_FUTURES)
    by_client_oid = CancelOrder("BTCUSDT", client_oid="0", inst_type=InstType.USDT_FUTURES)
    assert encode_cancel(by_order_id, "7") == head + '"params":{"orderId":"0"}}]}'
    assert encode_cancel(by_client_oid, "7") == head + '"params":{"clientOid":"0"}}]}'


@pytest.mark.parametrize(
    ("client_oid", "written"),
    [
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ('","op":"x', r'"\",\"op\":\"x"'),
        ("/", '"/"'),
        ("'", '"\'"'),
        (" ", '" "'),
        ("\\u0041", r'"\\u0041"'),
        ("~", '"~"'),
    ],
)
def test_a_client_oid_is_escaped_as_json(client_oid: str, written: str) -> None:
    text = encode_cancel(CancelOrder("BTCUSDT", client_oid=client_oid), "1")
    assert text.endswith(f'"params":{{"clientOid":{written}}}}}]}}')
    text = encode_cancel(CancelOrder("BTCUSDT", "9", client_oid), "1")
    assert text.endswith(f'"params":{{"orderId":"9","clientOid":{written}}}}}]}}')


@pytest.mark.parametrize(
    ("inst_id", "written"),
    [
        ("币安人生USDT", r'"\u5e01\u5b89\u4eba\u751fUSDT"'),
        ("😀USDT", r'"\ud83d\ude00USDT"'),
        ("BTCUSDT-250328", '"BTCUSDT-250328"'),
    ],
)
@pytest.mark.parametrize(("order_id", "client_oid"), [("9", None), (None, "9"), ("9", "8")])
def test_an_instrument_in_any_script_is_written_as_ascii_and_read_back(
    inst_id: str, written: str, order_id: str | None, client_oid: str | None
) -> None:
    order = CancelOrder(inst_id, order_id, client_oid)
    text = encode_cancel(order, "1")
    assert f'"instType":"SPOT","instId":{written},"channel":"cancel-order"' in text
    assert text.isascii()
    assert decode_request(text) == CancelRequest("1", with_line(order))
    assert decode_request(
        text.encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
    ) == (CancelRequest("1", with_line(order)))


PRINTABLE = st.text("".join(map(chr, range(32, 127))), min_size=1, max_size=64)
INST_IDS = st.from_regex(r"[0-9A-Z]{0,20}USDT", fullmatch=True) | st.text(
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF) | st.sampled_from("😀ÜÉ-&"),
    min_size=1,
    max_size=40,
)
ORDER_IDS = st.from_regex(r"[0-9]{1,19}", fullmatch=True) | st.text(
    "xyz!#{}[]:;%~", min_size=1, max_size=64
)
REQUEST_IDS = st.from_regex(r"[0-9A-Za-z_:#\-+ ]{1,40}", fullmatch=True)
ORDERS = st.builds(
    CancelOrder,
    INST_IDS,
    order_id=ORDER_IDS,
    client_oid=st.none() | PRINTABLE,
    inst_type=st.sampled_from([None, *CLASSIC_LINES]),
) | st.builds(CancelOrder, st.just("BTCUSDT"), client_oid=PRINTABLE)


@given(ORDERS, REQUEST_IDS)
def test_a_cancel_is_compact_json_with_the_documented_fields_in_order(
    order: CancelOrder, id: str
) -> None:
    params = {"orderId": order.order_id, "clientOid": order.client_oid}
    arg: dict[str, object] = {
        "id": id,
        "instType": (order.inst_type or InstType.SPOT).value,
        "instId": order.inst_id,
        "channel": "cancel-order",
    }
    arg["params"] = {key: value for key, value in params.items() if value is not None}
    expected = json.dumps({"op": "trade", "args": [arg]}, separators=(",", ":"))
    assert encode_cancel(order, id) == expected
    assert encode_cancel(order, id).isascii()


@given(ORDERS, REQUEST_IDS)
def test_a_written_cancel_reads_back_unchanged(order: CancelOrder, id: str) -> None:
    for codec in CODECS.values():
        assert decode_request(codec.encode_cancel(order, id)) == CancelRequest(id, with_line(order))


@given(ORDERS, REQUEST_IDS, st.integers(1, 99999), st.text(), st.none() | st.integers(0, 2**53 - 1))
def test_a_written_reply_reads_back_unchanged(
    order: CancelOrder, id: str, code: int, message: str, ts: int | None
) -> None:
    for codec in CODECS.values():
        assert codec.decode(encode_reply(order, id, exchange_ts=ts)) == TradeReply(
            id, True, "0", "Success", ts
        )
        refusal = encode_reply(order, id, code=code, message=message, exchange_ts=ts)
        assert codec.decode(refusal) == ErrorReply(id, True, str(code), message, ts)


@pytest.mark.parametrize(
    "id", ["", "a" * 41, "a\n", "é", "a.b", '"', "\u0660", "²", 5, None, True, b"1"]
)
def test_an_id_that_the_exchange_rejects_is_refused(id: object) -> None:
    with pytest.raises(ValidationError, match=r"^id must be 1 to 40"):
        encode_cancel(PAGE_ORDER, id)  # type: ignore[arg-type]  # as an untyped caller may pass


@pytest.mark.parametrize("id", ["1", "a" * 40, " ", "_:#-+ aZ9"])
def test_an_id_of_allowed_characters_is_written_unchanged(id: str) -> None:
    assert f'"id":"{id}"' in encode_cancel(PAGE_ORDER, id)


def test_a_reply_is_written_as_recorded() -> None:
    order = CancelOrder("BTCUSDT", "1376695893517410304")
    assert encode_reply(order, "1", exchange_ts=1763958928351) == VECTORS["accepted"]["text"]
    refused = encode_reply(
        CancelOrder("BTCUSDT", "12345"),
        "1",
        code=43001,
        message="The order does not exist",
        exchange_ts=1763958366418,
    )
    assert refused == VECTORS["refused"]["text"]


def test_an_event_is_written_without_fields_that_are_none() -> None:
    assert encode_event("login", 0, None) == VECTORS["login-ok-seen"]["text"]
    assert encode_event("error", 30015, "Invalid sign") == VECTORS["login-bad-sign"]["text"]
    assert encode_event("x", None, "", arg={"a": 1}) == '{"event":"x","arg":{"a":1},"msg":""}'


def test_a_login_is_written_as_documented_and_reads_back() -> None:
    login = SignedLogin("key", 'pass"phrase\\é', "1700000000", "c2ln")
    text = Codec().encode_login(login)
    assert text == (
        '{"op":"login","args":[{"apiKey":"key","passphrase":"pass\\"phrase\\\\\\u00e9","timestamp":"1700000000",'
        '"sign":"c2ln"}]}'
    )
    assert decode_request(text) == LoginRequest(login)


def test_the_module_functions_use_the_standard_librarys_codec() -> None:
    assert encode_cancel(PAGE_ORDER, "1") == Codec(Engine.STDLIB).encode_cancel(PAGE_ORDER, "1")
    assert decode("pong") == Pong()


# --- reading: the table of fields, row by row ---

ARG = [{"id": "1"}]


@every_engine
@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("trade", TradeReply),
        ("error", ErrorReply),
        ("login", LoginReply),
        ("subscribe", Other),
        ("", Other),
        ("Trade", Other),
        ("tomorrow", Other),
        (None, Other),
    ],
)
def test_the_event_selects_the_message_type_and_may_be_unknown(
    codec: Codec, event: str | None, kind: type[Message]
) -> None:
    message = codec.decode(frame(event=event, arg=ARG, code=0, msg=""))
    assert type(message) is kind
    if isinstance(message, Other):
        assert message.event == event


@every_engine
def test_a_frame_without_an_event_is_a_push(codec: Codec) -> None:
    push = frame(
        action="snapshot",
        arg={"instType": "SPOT", "channel": "account", "coin": "default"},
        data=[{"orderId": "1"}],
        ts=1,
    )
    assert codec.decode(push) == Other(None)


ARGS: list[tuple[object, str | None, bool]] = [
    ([{"id": "1"}], "1", True),
    ({"id": "1"}, "1", True),
    ([{"id": "1", "params": {}, "instId": 5}], "1", True),
    ([{"id": ""}], "", True),
    ([{"id": 1}], None, True),
    ([{"id": True}], None, True),
    ([{"id": ["1"]}], None, True),
    ([{"id": {"id": "1"}}], None, True),
    ({"id": 1.5}, None, True),
    ([{"id": None}], None, False),
    ([{}], None, False),
    ({}, None, False),
    ([], None, False),
    (None, None, False),
    ([{"id": "1"}, {"id": "2"}], None, True),
    ([{"id": "1"}, {"id": "1"}], None, True),
    ([{}, {}], None, True),
]


@every_engine
@pytest.mark.parametrize("event", ["trade", "error"])
@pytest.mark.parametrize(("arg", "id", "names_request"), ARGS)
def test_the_id_comes_from_the_one_request_named_and_is_never_guessed(
    codec: Codec, event: str, arg: object, id: str | None, names_request: bool
) -> None:
    message = codec.decode(frame(event=event, arg=arg, code=0))
    assert isinstance(message, TradeReply | ErrorReply)
    assert (message.id, message.names_request) == (id, names_request)


ECHOES: list[tuple[dict[str, object], bool]] = [
    ({}, False),
    ({"arg": [{"id": "1"}]}, False),
    ({"arg": [{"id": "1", "channel": None}]}, False),
    ({"arg": [{"id": "1", "channel": "cancel-order"}]}, False),
    ({"arg": {"id": "1", "channel": "cancel-order"}}, False),
    ({"arg": [{"channel": "cancel-order"}]}, False),
    ({"arg": []}, False),
    ({"id": "1", "topic": "cancel-order"}, False),
    ({"op": "trade"}, False),
    ({"op": None, "topic": None}, False),
    (
        {"arg": [{"id": "1", "channel": "cancel-order"}], "topic": "cancel-order", "op": "trade"},
        False,
    ),
    ({"channel": "place-order"}, False),
    ({"arg": [{"id": "1", "channel": "place-order"}]}, True),
    ({"arg": {"id": "1", "channel": "place-order"}}, True),
    ({"arg": {"instType": "SPOT", "channel": "positions", "instId": "default"}}, True),
    ({"arg": [{"channel": "fill"}]}, True),
    ({"arg": [{"id": "1", "channel": ""}]}, True),
    ({"arg": [{"id": "1", "channel": "Cancel-Order"}]}, True),
    ({"arg": [{"id": "1", "channel": 0}]}, True),
    ({"arg": [{"id": "1", "channel": ["cancel-order"]}]}, True),
    ({"arg": [{"id": "1", "channel": {}}]}, True),
    ({"arg": [{"id": "1", "channel": False}]}, True),
    ({"arg": [{"channel": "place-order"}, {"channel": "cancel-order"}]}, True),
    ({"id": "1", "topic": "place-order"}, True),
    ({"topic": 5}, True),
    ({"op": "subscribe"}, True),
    ({"op": "login"}, False),  # a refused login may have it
    ({"arg": [{"id": "1"}], "op": "login"}, True),  # names a request, which no login has
    ({"op": []}, True),
    ({"arg": [{"id": "1", "channel": "cancel-order"}], "op": "subscribe"}, True),
    ({"arg": [{"id": "1", "channel": "cancel-order"}], "topic": "place-order"}, True),
]
"""Keys of a reply, and whether they show that it does not answer a cancel."""


@every_engine
@pytest.mark.parametrize("event", ["trade", "error"])
@pytest.mark.parametrize(("keys", "other"), ECHOES)
def test_channel_topic_or_op_marks_a_reply_to_something_else(
    codec: Codec, event: str, keys: dict[str, object], other: bool
) -> None:
    for read in (codec.decode, CODECS[Engine.STDLIB].decode):
        message = read(frame(event=event, code=0, **keys))
        assert isinstance(message, TradeReply | ErrorReply)
        assert message.not_for_cancel is other


def test_a_reply_to_a_placement_does_not_answer_a_cancel_of_the_same_id() -> None:
    placed = (
        '{"event":"trade","arg":[{"id":"1","instType":"SPOT","channel":"place-order","instId":"BTCUSDT",'
        '"params":{"orderId":"1376","clientOid":"1"}}],"code":0,"msg":"Success","ts":1763958928351}'
    )
    for codec in CODECS.values():
        assert codec.decode(placed) == TradeReply(
            "1", True, "0", "Success", 1763958928351, not_for_cancel=True
        )


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('{"op":"trade","args":[{"id":"1","channel":"place-order"}]}', ("1",)),
        ('{"op":"trade","args":[{"id":"1"},{"id":"2"},{}]}', ("1", "2")),
        (
            '{"op":"trade","id":"7","topic":"place-order","category":"spot","args":[{"qty":"1"}]}',
            ("7",),
        ),
        ('{"op":"trade","id":"7","args":[{"id":"8"}]}', ("7", "8")),
        ('{"op":"trade","id":"7"}', ("7",)),
        ('{"op":"trade","args":{"id":"1"}}', ("1",)),
        ('{"\\u006fp":"tr\\u0061de","args":[{"\\u0069d":"\\u0031"}]}', ("1",)),
        (' {"op":"trade","id":""}\n', ("",)),
        ('{"op":"trade","id":7,"args":[{"id":8},{"id":null},5,"x",[{"id":"9"}],null]}', ()),
        ('{"op":"trade","args":null}', ()),
        ('{"op":"trade"}', ()),
        ('{"op":"subscribe","id":"7","args":[{"id":"1"}]}', ()),
        ('{"op":["trade"],"id":"7"}', ()),
        ('{"id":"7"}', ()),
        ('[{"op":"trade","id":"7"}]', ()),
        ('"trade"', ()),
        ("ping", ()),
        ("", ()),
        ('{"op":"trade","id":"7"', ()),
        ('{"op":"trade","id":"7","x":NaN}', ()),
        ('{"op":"trade","id":"7","x":' + "[" * 100_000 + "]" * 100_000 + "}", ()),
        ('{"op":"trade","id":"7","x":' + "9" * 5000 + "}", ()),
    ],
)
def test_trade_ids_returns_the_ids_in_replies_to_a_callers_frame(
    text: str, ids: tuple[str, ...]
) -> None:
    assert all(codec.trade_ids(text) == ids for codec in CODECS.values())


@given(ORDERS, REQUEST_IDS)
def test_trade_ids_of_a_cancel_is_the_id_in_its_frame(order: CancelOrder, id: str) -> None:
    assert Codec().trade_ids(encode_cancel(order, id)) == (id,)


@every_engine
def test_a_frame_without_arg_names_no_request(codec: Codec) -> None:
    assert codec.decode(frame(event="trade")) == TradeReply(None, False, None, "", None)
    assert codec.decode(frame(event="error")) == ErrorReply(None, False, None, "", None)


READABLE: list[tuple[str, str]] = [
    ("0", "0"),
    ("-0", "0"),
    ("43001", "43001"),
    ("9007199254740991", "9007199254740991"),
    ('"0"', "0"),
    ('"00000"', "0"),
    ('"000000000000"', "0"),
    ('"043001"', "43001"),
    ('"43001"', "43001"),
    ('"999999999999"', "999999999999"),
    ('"\\u0030"', "0"),
]

UNREADABLE = [
    "null", "true", "false", "0.0", "-0.0", "0e0", "1E3", "43001.0", "-1", "1e400", "9007199254740992", "9" * 30, "[]", "[0]",
    "{}", '""', '" "', '"0 "', '" 0"', '"0\\n"', '"+0"', '"-0"', '"0x0"', '"0.0"', '"1e3"', '"1_0"', '"0000000000000"',
    '"\\u0660"', '"\\u00b2"', '"\\uff10"', '"\\ud835\\udfce"', '"Success"', '"\\u0000"', '"NaN"',
]  # fmt: skip


@every_engine
@pytest.mark.parametrize("event", ["trade", "error", "login"])
@pytest.mark.parametrize(("code", "read"), READABLE)
def test_a_readable_code_becomes_a_decimal_string_without_leading_zeros(
    codec: Codec, event: str, code: str, read: str
) -> None:
    message = codec.decode(f'{{"event":"{event}","code":{code}}}')
    assert isinstance(message, TradeReply | ErrorReply | LoginReply)
    assert message.code == read


@every_engine
@pytest.mark.parametrize("event", ["trade", "error", "login"])
@pytest.mark.parametrize("code", UNREADABLE)
def test_any_other_code_is_unreadable_without_an_error(codec: Codec, event: str, code: str) -> None:
    message = codec.decode(f'{{"event":"{event}","code":{code},"arg":[{{"id":"1"}}]}}')
    assert isinstance(message, TradeReply | ErrorReply | LoginReply)
    assert message.code is None
    assert message.code_class is CodeClass.UNREADABLE
    if not isinstance(message, LoginReply):
        assert message.id == "1"


@given(st.integers(0, 2**53 - 1), st.integers(0, 4))
def test_a_code_reads_alike_as_a_number_and_as_a_string(code: int, zeros: int) -> None:
    spelled = "0" * zeros + str(code)
    for codec in CODECS.values():
        number = codec.decode(frame(event="trade", code=code))
        text = codec.decode(frame(event="trade", code=spelled))
        assert number == TradeReply(None, False, str(code), "", None)
        assert text == (number if len(spelled) <= 12 else TradeReply(None, False, None, "", None))


@every_engine
@pytest.mark.parametrize(
    ("msg", "read"),
    [
        ('"Success"', "Success"),
        ('""', ""),
        ('"\\u8ba2\\u5355"', "订单"),
        ('"订单"', "订单"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud83d"', "\\ud83d"),
        ('"\\ude00\\ud83d"', "\\ude00\\ud83d"),
        ('"a\\u0000\\n"', "a\x00\n"),
        ("null", ""),
        ("5", ""),
        ("[]", ""),
        ('{"a":1}', ""),
    ],
)
def test_the_message_text_is_always_encodable_and_may_be_missing(
    codec: Codec, msg: str, read: str
) -> None:
    message = codec.decode(f'{{"event":"error","msg":{msg}}}')
    assert message == ErrorReply(None, False, None, read, None)
    assert read.encode().decode() == read


@every_engine
def test_nothing_depends_on_the_message_text(codec: Codec) -> None:
    message = codec.decode(frame(event="error", arg=ARG, code=43001, msg="Success"))
    assert message == ErrorReply("1", True, "43001", "Success", None)


@every_engine
@pytest.mark.parametrize(
    ("ts", "read"),
    [
        ("1763958928351", 1763958928351),
        ('"1763958928351"', 1763958928351),
        ("0", 0),
        ('"0"', 0),
        ("9007199254740991", 2**53 - 1),
        ('"9007199254740991"', 2**53 - 1),
        ("9007199254740992", None),
        ('"9007199254740992"', None),
        ('"99999999999999999"', None),
        ('"0001763958928351"', 1763958928351),
        ('"00001763958928351"', None),
        ("-1", None),
        ('"-1"', None),
        ('""', None),
        ('"\\u0661"', None),
        ("1.5", None),
        ("1763958928351.0", None),
        ("true", None),
        ("null", None),
        ("[1]", None),
    ],
)
def test_the_exchanges_time_is_milliseconds_as_number_or_text_or_missing(
    codec: Codec, ts: str, read: int | None
) -> None:
    message = codec.decode(f'{{"event":"trade","ts":{ts}}}')
    assert message == TradeReply(None, False, None, "", read)


@every_engine
def test_unknown_fields_are_ignored(codec: Codec) -> None:
    more = '"connId":"a","Event":1,"args":[],"nested":{"event":"error","arg":[{"id":"2"}],"code":5},"":null'
    message = codec.decode(
        f'{{{more},"event":"trade","arg":[{{{more},"id":"1"}}],"code":0,"zz":[[],{{}}]}}'
    )
    assert message == TradeReply("1", True, "0", "", None)
    assert codec.decode(frame(event="login", code=0, connId="abc")) == LoginReply("0", "")


@every_engine
def test_a_login_answer_with_a_code_other_than_0_is_a_refusal(codec: Codec) -> None:
    message = codec.decode(frame(event="login", code="30015", msg="Invalid sign"))
    assert isinstance(message, LoginReply)
    assert message.code_class is CodeClass.LOGIN


@every_engine
@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r", " \r\n\t"])
def test_white_space_around_json_does_not_matter(codec: Codec, space: str) -> None:
    assert codec.decode(
        f'{space}{{{space}"event"{space}:{space}"login"{space}}}{space}'
    ) == LoginReply(None, "")


@every_engine
def test_a_key_may_be_spelled_with_escapes(codec: Codec) -> None:
    escaped = '{"\\u0065vent":"\\u0074rade","\\u0061rg":[{"\\u0069d":"\\u0031"}],"cod\\u0065":0}'
    assert codec.decode(escaped) == TradeReply("1", True, "0", "", None)


# --- the heartbeat ---


@every_engine
def test_pong_is_the_bare_text_and_nothing_else(codec: Codec) -> None:
    assert codec.decode("pong") == Pong()
    assert codec.decode(b"pong") == Pong()
    for other in ("pong\n", " pong", "PONG", "ping", "pongpong"):
        assert codec.decode(other) == Malformed("not JSON", other)
    assert codec.decode('"pong"') == Malformed("not an object", '"pong"')


def test_ping_is_the_bare_text_and_nothing_else() -> None:
    assert decode_request("ping") == Ping()
    assert decode_request(b"ping") == Ping()
    assert isinstance(decode_request("pong"), Malformed)
    assert isinstance(decode_request("ping "), Malformed)


# --- malformed frames ---

BROKEN = [
    "",
    " ",
    "{",
    "}",
    "{}}",
    "{}{}",
    "{},",
    "[",
    "nul",
    "'",
    '"',
    '{"event":}',
    '{"event" "trade"}',
    '{"event":"trade",}',
    '{,"event":"trade"}',
    "{event:1}",
    "{'event':1}",
    '{"a":01}',
    '{"a":1.}',
    '{"a":.5}',
    '{"a":+1}',
    '{"a":0x1}',
    '{"a":1e}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":-Infinity}',
    '{"a":True}',
    '{"a":"\n"}',
    '{"a":"\x00"}',
    '{"a":"\\q"}',
    '{"a":"\\u12"}',
    '{"a":"\\',
    '{"a":/**/1}',
    "{}//",
    "{}\x00",
    "{}\xa0",
    "{}\x0b",
    "\ufeff{}",
    "\x1e{}",
    '{"a":1 2}',
    '{"a":[1,]}',
    '{"a":[,1]}',
    "{1:1}",
    "{null:1}",
    '{"a":"b"',
    '{"a":"b}',
    "{]",
    '{"a":[}]',
]


@every_engine
@pytest.mark.parametrize("text", BROKEN)
def test_invalid_json_is_malformed(codec: Codec, text: str) -> None:
    assert codec.decode(text) == Malformed("not JSON", text)
    assert codec.decode(text.encode()) == Malformed("not JSON", text)
    assert decode_request(text) == Malformed("not JSON", "")


@every_engine
@pytest.mark.parametrize(
    "text", ["[]", "[{}]", "1", "-1.5e3", "null", "true", '"trade"', '[{"event":"trade"}]', " [] "]
)
def test_json_other_than_an_object_is_malformed(codec: Codec, text: str) -> None:
    assert codec.decode(text) == Malformed("not an object", text)
    assert decode_request(text) == Malformed("not an object", "")


@every_engine
@pytest.mark.parametrize(
    "text",
    [
        '{"event":1}', '{"event":true}', '{"event":[]}', '{"event":{}}', '{"event":"trade","arg":1}', '{"arg":"1"}',
        '{"arg":false}', '{"arg":[1]}', '{"arg":["1"]}', '{"arg":[null]}', '{"arg":[[{"id":"1"}]]}', '{"arg":[{"id":"1"},2]}',
    ],
)  # fmt: skip
def test_a_field_of_an_impossible_type_is_malformed(codec: Codec, text: str) -> None:
    assert codec.decode(text) == Malformed("wrong type", text)


@every_engine
@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xf4\x90\x80\x80"}',
        b'{"a":"\xe2\x82"}',
    ],
)
def test_invalid_utf8_is_malformed_even_in_an_unused_string(codec: Codec, message: bytes) -> None:
    read = codec.decode(message)
    assert isinstance(read, Malformed)
    assert read.reason == "not UTF-8"
    assert read.excerpt == message.decode("utf-8", "backslashreplace")
    assert decode_request(message) == Malformed("not UTF-8", "")


@every_engine
def test_an_excerpt_is_the_beginning_of_the_message(codec: Codec) -> None:
    text = "é" * 5 + "x" * 1000
    assert codec.decode(text) == Malformed("not JSON", text[:100])


# --- bounds ---


@every_engine
@pytest.mark.parametrize(
    "message",
    ["pong", '{"event":"login"}', b'{"event":"login"}', '{"msg":"éé"}', '{"msg":"éé"}'.encode()],
    ids=range(5),
)
def test_a_message_may_be_as_long_as_the_bound_in_characters_or_bytes(
    codec: Codec, message: str | bytes
) -> None:
    allowed, refused = (
        codec.decode(message, max_message=n) for n in (len(message), len(message) - 1)
    )
    assert not isinstance(allowed, Malformed)
    assert isinstance(refused, Malformed)
    assert refused.reason == "too large"


@every_engine
def test_the_default_bound_is_65536(codec: Codec) -> None:
    text = '{"event":"login"' + " " * (65536 - 17) + "}"
    assert len(text) == 65536
    assert codec.decode(text) == LoginReply(None, "")
    assert codec.decode(text + " ") == Malformed("too large", text[:100])
    assert decode_request(text + " ") == Malformed("too large", "")


@pytest.mark.parametrize(
    "piece", ["x", "[", "]", '"', "\\", '\\"', '"\\', "\\\\", '{"a":', "é", "[]", '"["']
)
def test_ten_megabytes_of_junk_are_malformed(piece: str) -> None:
    size = 10_000_000 // len(piece)
    for text in (piece * size, '{"x":"' + piece * size):
        assert decode(text) == Malformed("too large", text[:100])
        assert isinstance(decode(text, max_message=None), Malformed)


@every_engine
def test_ten_megabytes_are_read_when_there_is_no_bound(codec: Codec) -> None:
    text = '{"x":"' + '[\\"{' * 2_500_000 + '","event":"login","code":0}'
    assert codec.decode(text, max_message=None) == LoginReply("0", "")


@every_engine
def test_objects_and_lists_may_nest_as_deep_as_the_bound(codec: Codec) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for depth in (1, 5, 31):
            long = "x" * 16 * (depth + 1)
            nested = (
                f'{{"event":"login","long":"{long}","x":'
                + opening * depth
                + "1"
                + closing * depth
                + "}"
            )
            assert codec.decode(nested, max_depth=depth + 1) == LoginReply(None, "")
            assert codec.decode(nested, max_depth=depth) == Malformed("too deep", nested[:100])
            assert codec.decode(nested, max_depth=None) == LoginReply(None, "")
            beside = nested[:-1] + ',"y":[],"z":{}}'
            assert codec.decode(beside, max_depth=depth + 1) == LoginReply(None, "")
            assert codec.decode(beside, max_depth=depth) == Malformed("too deep", beside[:100])
    long = " " * 512
    assert codec.decode('{"x":' + "[" * 31 + "]" * 31 + "}" + long) == Other(None)
    assert codec.decode('{"x":' + "[" * 32 + "]" * 32 + "}" + long) == Malformed(
        "too deep", ('{"x":' + "[" * 32 + "]" * 32 + "}" + long)[:100]
    )


@every_engine
def test_levels_are_not_counted_up_to_16_characters_per_allowed_level(codec: Codec) -> None:
    nested = '{"event":"login","x":' + "[" * 100 + "]" * 100 + "}"
    assert codec.decode(nested.ljust(512)) == LoginReply(None, "")
    assert codec.decode(nested.ljust(513)) == Malformed("too deep", nested[:100])
    assert codec.decode(nested.ljust(320).encode(), max_depth=20) == LoginReply(None, "")
    assert codec.decode(nested.ljust(321).encode(), max_depth=20) == Malformed(
        "too deep", nested[:100]
    )


@every_engine
def test_levels_are_always_counted_beyond_512_characters(
    codec: Codec,
) -> None:
    nested = '{"event":"login","x":' + "[" * 300 + "]" * 300 + "}"
    assert codec.decode(nested, max_depth=301) == LoginReply(None, "")
    assert codec.decode(nested, max_depth=300) == Malformed("too deep", nested[:100])
    assert codec.decode(nested.encode(), max_depth=300) == Malformed("too deep", nested[:100])


@every_engine
def test_brackets_side_by_side_are_not_deep(codec: Codec) -> None:
    assert codec.decode('{"event":"login","x":[' + "[],{}," * 5000 + "0]}") == LoginReply(None, "")


@every_engine
@pytest.mark.parametrize(
    "inside",
    ["[" * 1000, "{" * 1000, '\\"' + "[" * 1000, "\\\\", '\\\\\\"' + "[" * 1000, "\\u005b" * 50],
)
def test_brackets_inside_strings_are_not_deep(codec: Codec, inside: str) -> None:
    assert codec.decode(f'{{"event":"login","{inside}":"{inside}"}}') == LoginReply(None, "")


@every_engine
def test_brackets_after_a_string_with_escapes_are_counted(codec: Codec) -> None:
    for string in (r'"\\"', r'"\""', r'"\\\""', r'"a\\"', '""'):
        text = f'{{"a":{string},"x":' + "[" * 300 + "]" * 300 + "}"
        assert codec.decode(text) == Malformed("too deep", text[:100])


@every_engine
@pytest.mark.parametrize(
    "where",
    [
        '{{"x":{}}}',
        '{{"event":"trade","arg":{}}}',
        '{{"event":"trade","arg":[{{"id":{}}}],"code":0}}',
        "{}",
    ],
)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ("[", "")])
def test_a_hundred_thousand_levels_are_malformed(
    codec: Codec, where: str, opening: str, closing: str
) -> None:
    deep = opening * 100_000 + "1" + closing * 100_000
    text = where.format(deep)
    for max_depth in (32, None):
        assert codec.decode(text, max_message=None, max_depth=max_depth) == Malformed(
            "too deep", text[:100]
        )
        assert decode_request(text, max_message=None, max_depth=max_depth) == Malformed(
            "too deep", ""
        )


# --- the engines agree ---

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
NAMES = (
    st.sampled_from(
        ["event", "arg", "code", "msg", "ts", "id", "params", "args", "op", "topic", "channel"]
    )
    | TEXTS
)
VALUES: st.SearchStrategy[object] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
CHANNELS = st.sampled_from(["cancel-order", "place-order"]) | VALUES
ENTRIES = st.fixed_dictionaries(
    {}, optional={"id": st.sampled_from(["1", ""]) | SCALARS, "channel": CHANNELS, "params": VALUES}
)
KNOWN_EVENTS = st.sampled_from(["trade", "error", "login", "subscribe"])
PARTS: dict[str, st.SearchStrategy[object]] = {
    "arg": st.lists(ENTRIES, max_size=2) | ENTRIES | VALUES,
    "code": st.sampled_from([0, "0", "00000", 43001, "30004"]) | VALUES,
    "msg": TEXTS | VALUES,
    "ts": st.integers(0, 2**53 - 1) | st.integers(0, 2**53 - 1).map(str) | VALUES,
    "topic": CHANNELS,
    "op": st.sampled_from(["trade", "subscribe"]) | VALUES,
    "connId": VALUES,
}
SOUND = {**PARTS, "arg": st.lists(ENTRIES, max_size=2) | ENTRIES}
PUSHED = {"arg": st.just({"channel": "orders"}), "data": st.lists(ENTRIES | VALUES, max_size=2)}
FRAMES = (
    st.fixed_dictionaries(PUSHED, optional={"event": KNOWN_EVENTS, "code": VALUES})
    | st.fixed_dictionaries({"event": KNOWN_EVENTS}, optional=SOUND)
    | st.fixed_dictionaries({"event": KNOWN_EVENTS}, optional=PARTS)
    | st.fixed_dictionaries({}, optional={"event": SCALARS, **PARTS})
)
"""Frames: of the order channel, valid, nearly valid, or arbitrary."""


def spelled(value: object, *, escaped: bool, space: str) -> str:
    """Respell JSON: escape every character of a string, and add white space where it is allowed."""
    if isinstance(value, str) and escaped:
        units = value.encode("utf-16-be")
        return (
            '"'
            + "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))
            + '"'
        )
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        inner = ",".join(
            f"{space}{spelled(key, escaped=escaped, space=space)}{space}:"
            f"{space}{spelled(item, escaped=escaped, space=space)}{space}"
            for key, item in items.items()
        )
        return f"{{{inner or space}}}"
    if isinstance(value, list):
        things = cast("list[object]", value)
        return f"[{','.join(space + spelled(item, escaped=escaped, space=space) + space for item in things) or space}]"
    return json.dumps(value, ensure_ascii=False)


kinds_seen: set[type] = set()


@settings(max_examples=300)
@given(FRAMES, st.booleans(), st.sampled_from(["", " ", "\r\n\t"]))
def check_that_the_engines_agree(data: dict[str, object], escaped: bool, space: str) -> None:
    text = spelled(data, escaped=escaped, space=space)
    assert json.loads(text) == data
    first, *others = (codec.decode(text) for codec in CODECS.values())
    assert all(other == first for other in others)
    assert all(codec.decode(text.encode()) == first for codec in CODECS.values())
    kinds_seen.add(type(first))


def test_the_engines_give_equal_results_on_every_i_json_frame() -> None:
    kinds_seen.clear()
    check_that_the_engines_agree()
    assert kinds_seen == set(MESSAGES) - {Pong}


READ, NOT_JSON = "read", "not JSON"
BY_NONE = dict.fromkeys(Engine, NOT_JSON)

DISPUTED: list[tuple[str, str | bytes, dict[Engine, str]]] = [
    # name, message, and for each engine whether it is read or why it is malformed
    ("a lone surrogate in a string that is not read", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\\ud800"}', {}),
    ("a lone surrogate in the text", '{"event":"trade","arg":[{"id":"1"}],"code":5,"msg":"\\udc00"}', {}),
    ("a lone surrogate in a key", '{"event":"trade","arg":[{"id":"1"}],"code":5,"\\ud800":0}', {}),
    ("a raw lone surrogate", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\ud800"}', {}),
    ("a key twice", '{"event":"login","event":"trade","arg":[{"id":"2"}],"arg":[{"id":"1"}],"code":4,"code":5}', {}),
    ("a key twice, first of a wrong type", '{"event":1,"arg":2,"event":"trade","arg":[{"id":"1"}],"code":5}', {}),
    ("a key twice in the echo", '{"event":"trade","arg":[{"id":"2","id":"1"}],"code":5}', {}),
    ("a key twice, once escaped", '{"event":"login","\\u0065vent":"trade","arg":[{"id":"1"}],"code":5}', {}),
    ("an integer beyond 64 bits", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":123456789012345678901234567890}', {}),
    ("an integer beyond 64 bits as the time", '{"event":"trade","arg":[{"id":"1"}],"code":5,"ts":18446744073709551616}', {}),
    ("an integer of 5000 digits that is not read", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":' + "9" * 5000 + "}",
     {Engine.STDLIB: NOT_JSON, Engine.ORJSON: NOT_JSON}),
    ("an integer of 5000 digits as the time", '{"event":"trade","arg":[{"id":"1"}],"code":5,"ts":' + "9" * 5000 + "}",
     BY_NONE),
    ("a number beyond a double", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":1e400}', {}),
    ("a number beyond a double as the time", '{"event":"trade","arg":[{"id":"1"}],"code":5,"ts":-1e400}', {}),
    ("a number below a double", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":1e-400}', {}),
    ("a number of 400 digits", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":0.' + "3" * 400 + "}", {}),
    ("NaN", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":NaN}', BY_NONE),
    ("infinity", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":-Infinity}', BY_NONE),
    ("a byte order mark", '\ufeff{"event":"trade","arg":[{"id":"1"}],"code":5}', BY_NONE),
    ("a byte order mark in bytes", b'\xef\xbb\xbf{"event":"trade","arg":[{"id":"1"}],"code":5}', BY_NONE),
    ("a control character in a string", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\x01"}', BY_NONE),
    ("a delete character in a string", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\x7f"}', {}),
    ("a noncharacter in a string", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\uffff"}', {}),
    ("an unknown escape", '{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\\x41"}', BY_NONE),
    ("a comment", '{"event":"trade","arg":[{"id":"1"}],"code":5/**/}', BY_NONE),
    ("a comma too many", '{"event":"trade","arg":[{"id":"1"}],"code":5,}', BY_NONE),
    ("a leading zero", '{"event":"trade","arg":[{"id":"1"}],"code":05}', BY_NONE),
    ("bytes that are no UTF-8 in a string that is not read", b'{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\xff"}',
     dict.fromkeys(Engine, "not UTF-8")),
    ("an encoded surrogate", b'{"event":"trade","arg":[{"id":"1"}],"code":5,"x":"\xed\xa0\x80"}',
     dict.fromkeys(Engine, "not UTF-8")),
    ("UTF-16", '{"event":"trade","arg":[{"id":"1"}],"code":5}'.encode("utf-16"), dict.fromkeys(Engine, "not UTF-8")),
]  # fmt: skip
"""Outside RFC 7493 engines may differ in whether a frame is malformed: these are the cases.

Where several engines read a frame, they read the same message.
"""


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize(
    ("message", "verdicts"), [row[1:] for row in DISPUTED], ids=[row[0] for row in DISPUTED]
)
def test_a_frame_outside_i_json_is_read_alike_or_malformed(
    engine: Engine, message: str | bytes, verdicts: dict[Engine, str]
) -> None:
    read = CODECS[engine].decode(message)
    if (verdict := verdicts.get(engine, READ)) == READ:
        assert isinstance(read, TradeReply)
        assert (read.id, read.names_request, read.code, read.exchange_ts) == ("1", True, "5", None)
    else:
        assert isinstance(read, Malformed)
        assert read.reason == verdict


def agree_but_for_what_is_malformed(message: str | bytes) -> None:
    read = [codec.decode(message) for codec in CODECS.values()]
    assert all(isinstance(one, MESSAGES) for one in read)
    readable = [one for one in read if not isinstance(one, Malformed)]
    assert all(one == readable[0] for one in readable)


@given(st.text() | st.binary())
def test_decode_never_raises(message: str | bytes) -> None:
    agree_but_for_what_is_malformed(message)
    for codec in CODECS.values():
        assert isinstance(codec.decode(message, max_message=None, max_depth=None), MESSAGES)
        assert isinstance(decode_request(message), REQUESTS)


SPLINTERS = st.sampled_from(
    [
        *'"\\{}[],:01-.e',
        "\\u",
        "\\ud800",
        "\\udc00",
        "\x00",
        "\x7f",
        "é",
        "\ud800",
        "😀",
        "null",
        "true",
        "NaN",
        " ",
        "\n",
        "\xa0",
        "\ufeff",
        "9" * 20,
        "1e400",
        ',"id":"2"',
        ',"event":"login"',
        '"arg":null,',
        "\\u0000",
        "",
    ]
)
MUTILATIONS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 8), SPLINTERS), min_size=1, max_size=3
)


def mutilated(text: str, mutilations: list[tuple[int, int, str]]) -> str:
    for at, length, splinter in mutilations:
        start = at % (len(text) + 1)
        text = text[:start] + splinter + text[start + length :]
    return text


@settings(max_examples=300)
@given(st.sampled_from(sorted(VECTORS)), MUTILATIONS)
def test_a_mutated_frame_is_read_alike_or_malformed(
    name: str, mutilations: list[tuple[int, int, str]]
) -> None:
    text = mutilated(VECTORS[name]["text"], mutilations)
    agree_but_for_what_is_malformed(text)
    assert isinstance(decode_request(text), REQUESTS)


@given(VALUES, VALUES, VALUES)
@example({"op": "trade"}, {}, "")
def test_decode_request_never_raises(one: object, two: object, three: object) -> None:
    cancel = {
        "id": one,
        "instType": "SPOT",
        "instId": two,
        "channel": "cancel-order",
        "params": three,
    }
    for data in (
        one,
        {"op": one, "args": two},
        {"op": "trade", "args": one},
        {"op": "trade", "args": [one, two]},
        {"op": "trade", "args": [cancel]},
        {
            "op": "trade",
            "args": [
                {
                    **cancel,
                    "id": "1",
                    "instId": "BTCUSDT",
                    "params": {"orderId": one, "clientOid": two},
                }
            ],
        },
        {"op": "trade", "args": [{**cancel, "instType": one, "channel": two}]},
        {"op": "login", "args": one},
        {
            "op": "login",
            "args": [{"apiKey": one, "passphrase": two, "timestamp": three, "sign": one}],
        },
    ):
        assert isinstance(decode_request(json.dumps(data)), REQUESTS)


# --- reading requests ---


def cancel_text(**changes: object) -> str:
    """The documented request with other fields; a field that is `...` is left out."""
    arg: dict[str, Any] = {
        "id": "7",
        "instType": "SPOT",
        "instId": "BTCUSDT",
        "channel": "cancel-order",
        "params": {"orderId": "1"},
        **changes,
    }
    return json.dumps(
        {"op": "trade", "args": [{key: value for key, value in arg.items() if value is not ...}]}
    )


def test_fields_of_a_request_may_come_in_any_order() -> None:
    text = (
        '{"args":[{"params":{"clientOid":"c","orderId":"1"},"channel":"cancel-order","instId":"X","instType":"SPOT",'
        '"id":"7"}],"op":"trade"}'
    )
    assert decode_request(text) == CancelRequest("7", CancelOrder("X", "1", "c", InstType.SPOT))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ...},
        {"id": 7},
        {"id": None},
        {"id": ""},
        {"id": "a" * 41},
        {"id": "é"},
        {"instType": ...},
        {"instType": "spot"},
        {"instType": "MARGIN"},
        {"instType": None},
        {"instType": ["SPOT"]},
        {"instId": ...},
        {"instId": "BTC/USDT"},
        {"instId": 5},
        {"channel": ...},
        {"channel": 5},
        {"params": ...},
        {"params": None},
        {"params": []},
        {"params": "orderId"},
        {"params": {}},
        {"params": {"orderId": 1}},
        {"params": {"orderId": ""}},
        {"params": {"orderId": None}},
        {"params": {"clientOid": "é"}},
        {"params": {"orderId": "1", "more": 1}},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_bad_cancel_is_a_bad_parameter_and_names_what_to_echo(
    changes: dict[str, object],
) -> None:
    text = cancel_text(**changes)
    request = decode_request(text)
    assert isinstance(request, BadRequest)
    assert request.code == "30016"
    assert request.message
    assert request.arg == json.loads(text)["args"]


def test_an_unknown_channel_is_named() -> None:
    request = decode_request(cancel_text(channel="modify-order"))
    assert isinstance(request, BadRequest)
    assert request.code == "30001"
    assert "modify-order" in request.message
    assert request.arg == json.loads(cancel_text(channel="modify-order"))["args"]


@pytest.mark.parametrize("lenient", [False, True])
def test_a_request_to_place_an_order_is_another_request(*, lenient: bool) -> None:
    text = cancel_text(channel="place-order", params={"side": "buy"}, more=1)
    assert decode_request(text, lenient=lenient) == OtherRequest("trade")
    two = json.loads(text)
    two["args"] *= 2
    assert isinstance(decode_request(json.dumps(two), lenient=lenient), BadRequest)


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_request_must_hold_exactly_one_cancel(count: int) -> None:
    args = json.loads(cancel_text())["args"] * count
    request = decode_request(json.dumps({"op": "trade", "args": args}))
    assert request == BadRequest(
        "30016", f"args must hold exactly one object; got {count}", args or None
    )


@pytest.mark.parametrize(
    "args", [None, 5, "x", "", {}, {"id": "1"}, [1], [None], [[]], ["a"]], ids=repr
)
def test_args_other_than_a_list_of_objects_leave_nothing_to_echo(args: object) -> None:
    request = decode_request(json.dumps({"op": "trade", "args": args}))
    assert isinstance(request, BadRequest)
    assert (request.code, request.arg) == ("30016", None)


def test_a_request_without_args_is_a_bad_parameter() -> None:
    for op in ("trade", "login"):
        request = decode_request(json.dumps({"op": op}))
        assert isinstance(request, BadRequest)
        assert (request.code, request.arg) == ("30016", None)


def test_a_key_beside_op_and_args_is_a_bad_parameter() -> None:
    request = decode_request(json.dumps({**json.loads(cancel_text()), "more": 1}))
    assert isinstance(request, BadRequest)
    assert request.code == "30016"


@pytest.mark.parametrize("op", [..., None, 5, True, ["trade"], {}])
def test_a_request_without_a_readable_op_is_a_bad_op(op: object) -> None:
    data = {} if op is ... else {"op": op}
    request = decode_request(json.dumps(data))
    assert isinstance(request, BadRequest)
    assert (request.code, request.arg) == ("30003", None)


@pytest.mark.parametrize("op", ["subscribe", "unsubscribe", "", "Trade", "tomorrow"])
def test_any_other_op_is_another_request(op: str) -> None:
    assert decode_request(json.dumps({"op": op, "args": 5})) == OtherRequest(op)


LOGIN_ARG = {
    "apiKey": "hush-key",
    "passphrase": "hush-pass",
    "timestamp": "1700000000",
    "sign": "hush-sign",
}


def test_the_documented_login_is_read() -> None:
    request = decode_request(json.dumps({"op": "login", "args": [LOGIN_ARG]}))
    assert request == LoginRequest(SignedLogin("hush-key", "hush-pass", "1700000000", "hush-sign"))


@pytest.mark.parametrize(
    "args",
    [
        [],
        [LOGIN_ARG, LOGIN_ARG],
        [{**LOGIN_ARG, "timestamp": 1700000000}],
        [{**LOGIN_ARG, "passphrase": ""}],
        [{**LOGIN_ARG, "sign": None}],
        [{**LOGIN_ARG, "api_key": "hush"}],
        [{key: value for key, value in LOGIN_ARG.items() if key != "sign"}],
        LOGIN_ARG,
        ["hush"],
    ],
    ids=range(9),
)
def test_a_bad_login_is_refused_without_showing_its_content(args: object) -> None:
    request = decode_request(json.dumps({"op": "login", "args": args}))
    assert isinstance(request, BadRequest)
    assert (request.code, request.arg) == ("30016", None)
    assert "hush" not in repr(request)
