"""Unified accounts (API V3): frames as recorded on the live service, and both cores with them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    CodeClass,
    Connection,
    Credentials,
    Dialect,
    Engine,
    ErrorReply,
    InstType,
    LoginReply,
    OrderReply,
    Other,
    Outcome,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    TradeReply,
    Unresolved,
    ValidationError,
    WhyUnresolved,
    record,
    replay,
    sign_login,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    Pair,
    ScriptedExchange,
    SessionPair,
    StrictConnection,
)

CODEC = Codec(dialect=Dialect.UNIFIED)
ID = "1396095071110135834"
ORDER = CancelOrder("BTCUSDT", ID, "AwAC-1", InstType.USDT_FUTURES)
LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)

ACCEPTED = (
    '{"event":"trade","id":"7","topic":"cancel-order","args":[{"orderId":"1396095071110135834",'
    '"clientOid":"AwAC-1"}],"code":"0","msg":"Success","ts":"1768580937683"}'
)
REFUSED = '{"event":"error","id":"7","code":"25204","msg":"Order does not exist"}'

engines = pytest.mark.parametrize("engine", Engine)


def exchange(*orders: CancelOrder) -> ScriptedExchange:
    return ScriptedExchange(orders or (ORDER,), config=ExchangeConfig(dialect=Dialect.UNIFIED))


def ready(made: ScriptedExchange | None = None) -> Pair:
    pair = Pair(StrictConnection(codec=CODEC), exchange() if made is None else made)
    pair.open()
    pair.events.clear()
    return pair


# --- frames ---


@pytest.mark.parametrize(
    ("order", "frame"),
    [
        (
            CancelOrder(order_id=ID),
            f'{{"op":"trade","id":"7","topic":"cancel-order","args":[{{"orderId":"{ID}"}}]}}',
        ),
        (
            ORDER,
            (
                '{"op":"trade","id":"7","topic":"cancel-order","category":"usdt-futures",'
                f'"args":[{{"orderId":"{ID}","clientOid":"AwAC-1"}}]}}'
            ),
        ),
        (
            CancelOrder(client_oid='a"\\', inst_type=InstType.MARGIN),
            (
                '{"op":"trade","id":"7","topic":"cancel-order","category":"margin",'
                '"args":[{"clientOid":"a\\"\\\\"}]}'
            ),
        ),
    ],
)
def test_a_cancel_is_written_as_recorded(order: CancelOrder, frame: str) -> None:
    assert CODEC.encode_cancel(order, "7") == frame
    assert json.loads(frame)["id"] == "7"
    assert CODEC.trade_ids(frame) == ("7",)


@pytest.mark.parametrize("line", InstType)
def test_a_product_line_is_written_in_lower_case(line: InstType) -> None:
    """Upper case is refused: "Param category=USDT-FUTURES error" (41101)."""
    frame = json.loads(CODEC.encode_cancel(CancelOrder(order_id="1", inst_type=line), "7"))
    assert frame["category"] == line.value.lower()


@engines
def test_an_accepting_answer_names_both_ids(engine: Engine) -> None:
    reply = Codec(engine, Dialect.UNIFIED).decode(ACCEPTED)
    assert reply == TradeReply(
        "7",
        True,
        "0",
        "Success",
        1768580937683,
        False,
        Dialect.UNIFIED,
        (OrderReply(ID, "AwAC-1"),),
    )
    assert isinstance(reply, TradeReply)
    assert reply.code_class is CodeClass.ACCEPTED


@engines
def test_a_refusal_has_an_id_and_nothing_to_echo(engine: Engine) -> None:
    reply = Codec(engine, Dialect.UNIFIED).decode(REFUSED)
    assert reply == ErrorReply(
        "7", True, "25204", "Order does not exist", None, False, Dialect.UNIFIED, for_batch=True
    )
    assert isinstance(reply, ErrorReply)
    assert reply.code_class is CodeClass.NOT_FOUND


@engines
@pytest.mark.parametrize(
    ("frame", "id", "names_request", "not_for_cancel"),
    [
        ({}, None, False, False),
        ({"id": 7}, None, True, False),
        ({"id": None}, None, False, False),
        ({"id": "7"}, "7", True, False),
        ({"id": "7", "topic": "place-order"}, "7", True, True),
        ({"id": "7", "op": "login"}, "7", True, True),
        ({"id": "7", "args": "?", "rateLimit": [{"limit": "10"}], "connId": "x"}, "7", True, False),
        ({"arg": [{"id": "7", "channel": "cancel-order"}]}, "7", True, False),
        ({"id": "7", "arg": [{"id": "8"}]}, "7", True, False),
    ],
)
def test_the_id_at_the_top_names_the_request(
    engine: Engine,
    frame: dict[str, object],
    id: str | None,
    names_request: bool,
    not_for_cancel: bool,
) -> None:
    reply = Codec(engine, Dialect.UNIFIED).decode(
        json.dumps({"event": "error", "code": "1"} | frame)
    )
    assert isinstance(reply, ErrorReply)
    assert (reply.id, reply.names_request, reply.not_for_cancel) == (
        id,
        names_request,
        not_for_cancel,
    )


@engines
@pytest.mark.parametrize(
    ("args", "orders"),
    [
        (None, ()),
        ([], ()),
        ({"orderId": "1"}, ()),
        (["1", {"orderId": "1"}], (OrderReply("1", None),)),
        ([{"orderId": 1, "clientOid": None}], (OrderReply(None, None),)),
        ([{"orderId": None, "clientOid": 2}], (OrderReply(None, None),)),
        ([{"orderId": "1"}, {"clientOid": "2"}], (OrderReply("1", None), OrderReply(None, "2"))),
    ],
)
def test_the_orders_of_an_answer_are_read_tolerantly(
    engine: Engine, args: object, orders: tuple[OrderReply, ...]
) -> None:
    text = json.dumps({"event": "trade", "id": "7", "code": "0", "args": args})
    reply = Codec(engine, Dialect.UNIFIED).decode(text)
    assert isinstance(reply, TradeReply)
    assert reply.orders == orders


@engines
def test_other_messages_are_read_as_on_classic_accounts(engine: Engine) -> None:
    codec = Codec(engine, Dialect.UNIFIED)
    login = codec.decode('{"event":"login","code":0,"connId":"x"}')
    assert login == LoginReply("0", "", Dialect.UNIFIED)
    assert codec.decode('{"event":"subscribe","arg":{"topic":"order"}}') == Other("subscribe")


def test_a_classic_codec_ignores_an_id_at_the_top() -> None:
    reply = Codec().decode(REFUSED)
    assert reply == ErrorReply(None, False, "25204", "Order does not exist", None)


@given(st.text(max_size=60), st.sampled_from(Engine))
def test_no_text_raises(text: str, engine: Engine) -> None:
    codec = Codec(engine, Dialect.UNIFIED)
    codec.decode(text)
    codec.decode(json.dumps({"event": text, "id": text, "args": [text], "code": text}))


# --- orders ---


@pytest.mark.parametrize(
    "order",
    [
        CancelOrder(order_id="1"),
        CancelOrder(client_oid="1", inst_type=InstType.SPOT),
        CancelOrder("BTCUSDT", "1", inst_type=InstType.MARGIN),
    ],
)
def test_a_classic_account_refuses_what_it_cannot_name_before_anything_changes(
    order: CancelOrder,
) -> None:
    good = CancelOrder("BTCUSDT", "2")
    cores: tuple[Connection | Session, ...] = (Connection(), Session(jitter=lambda: 0.5))
    for core in cores:
        with pytest.raises(ValidationError, match=r"Dialect\.UNIFIED"):
            core.cancel(order, 0.0)
        with pytest.raises(ValidationError, match=r"Dialect\.UNIFIED"):
            core.cancel_many([good, order], 0.0)
        assert core.in_flight == 0
        assert core.cancel(good, 0.0) == "bgproto1"
    with pytest.raises(ValidationError, match=r"Dialect\.UNIFIED"):
        Codec().encode_cancel(order, "1")
    with pytest.raises(ValidationError, match=r"Dialect\.UNIFIED"):
        Codec().check_order(order)
    Codec(dialect="unified").check_order(order)


def test_a_dialect_is_a_member_or_its_name() -> None:
    assert Codec(dialect="unified").dialect is Dialect.UNIFIED
    with pytest.raises(ValidationError, match="dialect must be a Dialect, or one of the names 'cl"):
        Codec(dialect="v3")  # type: ignore[arg-type]


def test_each_dialect_has_its_addresses() -> None:
    assert Dialect.CLASSIC.live_url == "wss://ws.bitget.com/v2/ws/private"
    assert Dialect.UNIFIED.live_url == "wss://ws.bitget.com/v3/ws/private"
    assert Dialect.CLASSIC.demo_url == "wss://wspap.bitget.com/v2/ws/private"
    assert Dialect.UNIFIED.demo_url == "wss://wspap.bitget.com/v3/ws/private"


# --- the cores ---


def test_a_cancel_by_client_oid_learns_the_order_id() -> None:
    pair = ready()
    id = pair.cancel(CancelOrder(client_oid="AwAC-1"))
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted)
    assert outcome.order_id == ID
    assert outcome.order == CancelOrder(client_oid="AwAC-1")
    assert not pair.exchange.live


def test_a_wrong_product_line_reads_as_not_found() -> None:
    pair = ready()
    id = pair.cancel(CancelOrder(order_id=ID, inst_type=InstType.SPOT))
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.code_class) == ("25204", CodeClass.NOT_FOUND)
    assert pair.exchange.live == (ORDER,)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("25204", Rejected),
        ("25245", Rejected),
        ("41101", Rejected),
        ("43001", Unresolved),
        ("25000", Unresolved),
        ("25003", Unresolved),
        ("99999", Unresolved),
    ],
)
def test_only_a_code_that_is_known_to_be_a_refusal_rejects(code: str, kind: type[Outcome]) -> None:
    made = exchange()
    made.refusals[ID] = code
    pair = ready(made)
    outcome = pair.outcomes[pair.cancel(CancelOrder(order_id=ID))]
    assert type(outcome) is kind
    assert isinstance(outcome, (Rejected, Unresolved))
    assert (outcome.code, outcome.message) == (code, "refused as scripted")
    if isinstance(outcome, Unresolved):
        assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_gives_one_outcome_that_the_exchange_does_not_contradict(fault: Fault) -> None:
    pair = ready()
    pair.exchange.inject(fault)
    id = pair.cancel(CancelOrder(order_id=ID))
    pair.run(40.0)
    (outcome,) = [event for event in pair.events if isinstance(event, Outcome)]
    assert outcome.id == id
    done = any(act.cancelled for act in pair.exchange.log)
    if isinstance(outcome, Accepted):
        assert done
    elif isinstance(outcome, Rejected) or not outcome.sent:
        assert not done


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.DROP_BEFORE])
def test_a_session_sends_again_by_order_id_alone(fault: Fault) -> None:
    made = exchange()
    pair = SessionPair(
        Session(SessionConfig(policy=Policy.RESEND), CODEC, jitter=lambda: 0.5), made
    )
    pair.run(1.0)
    made.inject(fault)
    id = pair.cancel(CancelOrder(order_id=ID))
    pair.run(30.0)
    outcome = pair.outcomes[id]
    assert outcome.attempts == 2
    # After the first attempt "not found" proves nothing.
    assert type(outcome) is (Unresolved if fault is Fault.DROP_AFTER else Accepted)
    assert not made.live


def test_a_trace_has_its_dialect_and_replays() -> None:
    lines: list[str] = []
    pair = Pair(record(Connection(codec=CODEC), lines.append), exchange())
    pair.open()
    pair.cancel(CancelOrder(client_oid="AwAC-1"))
    assert json.loads(lines[0])["dialect"] == "unified"
    assert replay(lines) is None
    assert replay([lines[0].replace('"unified"', '"classic"'), *lines[1:]]) is not None
    with pytest.raises(ValidationError, match="line 1 of the trace cannot be read"):
        replay([lines[0].replace('"unified"', '"v3"'), *lines[1:]])


# --- the exchange's side ---


UNDOCUMENTED: list[tuple[dict[str, object], str, str]] = [
    ({"category": "USDT-FUTURES"}, "41101", "Param category=USDT-FUTURES error"),
    ({"topic": "place-order"}, "25002", "the topic place-order is not supported"),
    ({"args": []}, "30016", "args must hold exactly one object; got 0"),
    ({"args": [{"orderId": "1"}, {"orderId": "2"}]}, "30016", "args must hold exactly one"),
    ({"args": [{}]}, "30016", "CancelOrder needs"),
    ({"more": 1}, "30016", "unknown: more"),
]


@pytest.mark.parametrize(("change", "code", "message"), UNDOCUMENTED)
def test_the_exchange_refuses_what_is_not_documented(
    change: dict[str, object], code: str, message: str
) -> None:
    pair = ready()
    request = {"op": "trade", "id": "a", "topic": "cancel-order", "args": [{"orderId": ID}]}
    pair.send(json.dumps(request | change))
    (error,) = pair.events
    assert getattr(error, "text", "").startswith(f'{{"event":"error","id":"a","code":"{code}"')
    assert message in getattr(error, "text", "")
    assert pair.exchange.live


def test_a_lenient_exchange_ignores_unknown_keys() -> None:
    config = ExchangeConfig(dialect=Dialect.UNIFIED, lenient=True)
    pair = ready(ScriptedExchange([ORDER], config=config))
    pair.send(
        json.dumps(
            {
                "op": "trade",
                "id": "a",
                "topic": "cancel-order",
                "args": [{"orderId": ID, "x": 1}],
                "y": 2,
            }
        )
    )
    assert not pair.exchange.live


@pytest.mark.parametrize("theirs", Dialect)
def test_a_frame_of_the_other_dialect_cancels_nothing(theirs: Dialect) -> None:
    other = Dialect.UNIFIED if theirs is Dialect.CLASSIC else Dialect.CLASSIC
    made = ScriptedExchange([ORDER], config=ExchangeConfig(dialect=theirs))
    pair = Pair(StrictConnection(codec=Codec(dialect=other)), made)
    pair.open()
    id = pair.cancel(ORDER)
    pair.run(20.0)
    assert made.live == (ORDER,)
    assert not isinstance(pair.outcomes[id], Accepted)
