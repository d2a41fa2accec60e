"""Tests of the order channel's messages: pushes, and answers to a subscription."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import (
    Codec,
    CodeClass,
    Dialect,
    Engine,
    ErrorReply,
    InstType,
    Malformed,
    Message,
    OrdersPush,
    OrderStatus,
    OrderUpdate,
    Other,
    SubscribeReply,
)

CLASSIC = [Codec(engine) for engine in Engine]
UNIFIED = [Codec(engine, Dialect.UNIFIED) for engine in Engine]
SPOT = {"instType": "SPOT", "channel": "orders", "instId": "default"}
ALL = {"instType": "UTA", "topic": "order"}

# Recorded on the live service.
FUTURES_ORDER = (
    '{"accBaseVolume":"0","cTime":"1765101259950","cancelReason":"normal_cancel","clientOid":"c1",'
    '"feeDetail":[{"fee":"0.00000000","feeCoin":"USDT"}],"force":"post_only","instId":"ETHUSDT",'
    '"leverage":"10","marginCoin":"USDT","marginMode":"crossed","notionalUsd":"30.2711",'
    '"orderId":"1381500303017938945","orderType":"limit","posMode":"hedge_mode","posSide":"long",'
    '"price":"3027.11","reduceOnly":"no","side":"buy","size":"0.01","status":"canceled",'
    '"stpMode":"none","totalProfits":"0","tradeSide":"open","uTime":"1765111572322"}'
)


def read(codecs: list[Codec], **frame: object) -> Message:
    """What every engine reads in a frame."""
    text = json.dumps(frame)
    first, *others = [codec.decode(text) for codec in codecs]
    assert others == [first] * len(others)
    return first


def pushed(data: object, arg: object = SPOT) -> OrdersPush:
    push = read(CLASSIC, action="snapshot", arg=arg, data=data, ts=1765111572330)
    assert isinstance(push, OrdersPush)
    return push


def update(**changes: object) -> OrderUpdate:
    """The update that a spot order with these keys is."""
    (made,) = pushed([{"orderId": "7", **changes}]).updates
    return made


def test_a_recorded_push_of_a_futures_order_is_read() -> None:
    arg = SPOT | {"instType": "USDT-FUTURES"}
    assert pushed([json.loads(FUTURES_ORDER)], arg) == OrdersPush(
        (
            OrderUpdate(
                order_id="1381500303017938945",
                client_oid="c1",
                inst_type=InstType.USDT_FUTURES,
                inst_id="ETHUSDT",
                status=OrderStatus.CANCELLED,
                status_text="canceled",
                filled=Decimal(0),
                average_price=None,
                reason="normal_cancel",
                updated_at=1765111572322,
            ),
        )
    )


def test_a_spot_order_names_what_was_filled_in_all_and_not_in_its_last_fill() -> None:
    made = update(
        instId="BTCUSDT", clientOid="", accBaseVolume="0.30", baseVolume="0.1", priceAvg="27000.5",
        status="partially_filled", uTime="5",
    )  # fmt: skip
    assert made == OrderUpdate(
        order_id="7",
        client_oid=None,
        inst_type=InstType.SPOT,
        inst_id="BTCUSDT",
        status=OrderStatus.OPEN,
        status_text="partially_filled",
        filled=Decimal("0.3"),
        average_price=Decimal("27000.5"),
        reason=None,
        updated_at=5,
    )


def test_an_order_of_a_unified_account_names_its_own_product_line() -> None:
    order = {
        "category": "usdt-futures", "symbol": "BTCUSDT", "orderId": "7", "clientOid": "c7",
        "orderStatus": "cancelled", "cumExecQty": "1.5", "avgPrice": "", "updatedTime": "9",
        "cancelReason": "stp_cancel",
    }  # fmt: skip
    assert read(UNIFIED, action="snapshot", arg=ALL, data=[order], ts=1) == OrdersPush(
        (
            OrderUpdate(
                order_id="7",
                client_oid="c7",
                inst_type=InstType.USDT_FUTURES,
                inst_id="BTCUSDT",
                status=OrderStatus.CANCELLED,
                status_text="cancelled",
                filled=Decimal("1.5"),
                average_price=None,
                reason="stp_cancel",
                updated_at=9,
            ),
        )
    )


@pytest.mark.parametrize("codecs", [CLASSIC, UNIFIED])
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("init", OrderStatus.OPEN),
        ("new", OrderStatus.OPEN),
        ("live", OrderStatus.OPEN),
        ("partially_filled", OrderStatus.OPEN),
        ("filled", OrderStatus.FILLED),
        ("cancelled", OrderStatus.CANCELLED),
        ("canceled", OrderStatus.CANCELLED),
        ("triggered", OrderStatus.UNKNOWN),
        ("", OrderStatus.UNKNOWN),
    ],
)
def test_every_spelling_of_a_status_is_read_and_an_unknown_one_is_kept(
    codecs: list[Codec], text: str, status: OrderStatus
) -> None:
    order = {"orderId": "7", "status": text, "orderStatus": text}
    push = read(codecs, arg=SPOT | ALL | {"instType": "UTA"}, data=[order])
    assert isinstance(push, OrdersPush)
    assert [(made.status, made.status_text) for made in push.updates] == [(status, text)]


@pytest.mark.parametrize(
    ("amount", "filled"),
    [
        ("0", Decimal(0)),
        ("0E-8", Decimal(0)),
        ("12.50", Decimal("12.5")),
        ("1e3", Decimal(1000)),
        ("-1", None),
        ("", None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        ("1_0", None),
        ("١", None),
        ("1e41", None),
        ("1e-999999999", None),
        pytest.param("0" * 81, None, id="too long"),
        ("one", None),
        pytest.param(1, None, id="a number"),
        pytest.param(1.5, None, id="a float"),
        (None, None),
        ([], None),
    ],
)
def test_an_amount_is_exact_or_none(amount: object, filled: Decimal | None) -> None:
    with localcontext() as context:
        context.prec = 1
        assert update(accBaseVolume=amount).filled == filled


def test_an_amount_does_not_depend_on_the_traps_of_the_caller() -> None:
    with localcontext() as context:
        context.clear_traps()
        assert update(accBaseVolume="one").filled is None


@pytest.mark.parametrize("price", ["0", "0.00", "", None])
def test_an_average_price_of_nothing_is_none(price: object) -> None:
    assert update(priceAvg=price).average_price is None


@pytest.mark.parametrize("wrong", [0, 1.5, True, None, [], {}])
def test_a_part_of_a_wrong_type_is_missing(wrong: object) -> None:
    made = update(clientOid=wrong, instId=wrong, status=wrong, cancelReason=wrong)
    assert (made.client_oid, made.inst_id, made.reason) == (None, None, None)
    assert (made.status, made.status_text) == (OrderStatus.UNKNOWN, "")


@pytest.mark.parametrize("line", ["SUSDT-FUTURES", "", 5, None, []])
def test_an_unknown_product_line_is_none(line: object) -> None:
    assert pushed([{"orderId": "7"}], SPOT | {"instType": line}).updates[0].inst_type is None


@pytest.mark.parametrize(
    ("data", "ids", "unreadable"),
    [
        ([], [], 0),
        ([{"orderId": "1"}, {"clientOid": "b"}], ["1", "b"], 0),
        ({"orderId": "1"}, ["1"], 0),
        ([{"orderId": "1"}, {"status": "filled"}, {"orderId": "2"}], ["1", "2"], 1),
        ([{"orderId": 1, "clientOid": ""}], [], 1),
        ([None, 1, "1", [{"orderId": "1"}]], [], 4),
        (None, [], 1),
        ("7", [], 1),
    ],
)
def test_an_item_without_an_id_is_counted_and_the_others_are_read(
    data: object, ids: list[str], unreadable: int
) -> None:
    push = pushed(data)
    assert [made.order_id or made.client_oid for made in push.updates] == ids
    assert push.unreadable == unreadable


@pytest.mark.parametrize(
    "arg", [[SPOT], SPOT | {"more": 1}, {"channel": "orders"}, SPOT | {"instId": "BTCUSDT"}]
)
def test_the_argument_of_a_push_may_be_a_list_of_one_and_have_other_keys(arg: object) -> None:
    assert len(pushed([{"orderId": "7"}], arg).updates) == 1


@pytest.mark.parametrize(
    "arg",
    [{}, [], [SPOT, SPOT], ALL, SPOT | {"channel": "orders-algo"}, SPOT | {"channel": ["orders"]}],
)
def test_a_push_of_anything_else_is_another_message_on_a_classic_account(arg: object) -> None:
    assert read(CLASSIC, action="snapshot", arg=arg, data=[{"orderId": "7"}]) == Other(None)


@pytest.mark.parametrize(
    "arg", [{}, [], SPOT, ALL | {"instType": "SPOT"}, {"topic": "order"}, ALL | {"topic": "fill"}]
)
def test_a_push_of_anything_else_is_another_message_on_a_unified_account(arg: object) -> None:
    assert read(UNIFIED, action="snapshot", arg=arg, data=[{"orderId": "7"}]) == Other(None)


# --- answers to a subscription ---


def test_an_answer_without_a_code_accepts_the_subscription() -> None:
    assert read(CLASSIC, event="subscribe", arg=SPOT) == SubscribeReply(
        InstType.SPOT, True, None, ""
    )
    assert read(UNIFIED, event="subscribe", arg=ALL, connId="x") == SubscribeReply(
        None, True, None, "", Dialect.UNIFIED
    )


@pytest.mark.parametrize(
    ("code", "accepted", "code_class"),
    [
        (0, True, CodeClass.ACCEPTED),
        ("00000", True, CodeClass.ACCEPTED),
        (None, True, CodeClass.ACCEPTED),
        (30004, False, CodeClass.LOGIN),
        ("what", False, CodeClass.UNREADABLE),
        (0.5, False, CodeClass.UNREADABLE),
    ],
)
def test_an_answer_with_another_code_than_0_does_not_accept_it(
    code: object, accepted: bool, code_class: CodeClass
) -> None:
    reply = read(CLASSIC, event="subscribe", arg=SPOT, code=code)
    assert isinstance(reply, SubscribeReply)
    assert reply.accepted is accepted
    assert reply.code_class is code_class


def test_an_error_that_names_the_channel_refuses_its_subscription() -> None:
    refused = read(CLASSIC, event="error", arg=SPOT, code=30001, msg="Channel does not exist")
    assert refused == SubscribeReply(InstType.SPOT, False, "30001", "Channel does not exist")
    refused = read(UNIFIED, event="error", arg=ALL, code=30001, msg="no", connId="x")
    assert refused == SubscribeReply(None, False, "30001", "no", Dialect.UNIFIED)


def test_an_error_with_code_0_refuses_the_subscription_without_a_readable_code() -> None:
    refused = read(CLASSIC, event="error", arg=SPOT, code=0, msg="")
    assert isinstance(refused, SubscribeReply)
    assert (refused.accepted, refused.code_class) == (False, CodeClass.UNREADABLE)


def test_an_error_with_the_id_of_a_request_answers_that_request() -> None:
    for arg in ([SPOT | {"id": "1"}], SPOT | {"id": "1"}):
        error = read(CLASSIC, event="error", arg=arg, code=30001, msg="")
        assert isinstance(error, ErrorReply)
        assert error.id == "1"


def test_the_end_of_a_subscription_is_another_message() -> None:
    assert read(CLASSIC, event="unsubscribe", arg=SPOT) == Other("unsubscribe")
    assert read(UNIFIED, event="unsubscribe", arg=ALL) == Other("unsubscribe")


# --- any content ---

WORDS = st.sampled_from(["orders", "order", "SPOT", "UTA", "7", "", "filled", "1.5"]) | st.text(
    max_size=3
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["orderId", "clientOid", "status", "accBaseVolume", "uTime"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PUSHES = st.fixed_dictionaries(
    {"arg": st.sampled_from([SPOT, [SPOT], ALL, [ALL]]) | VALUES, "data": VALUES},
    optional={"event": st.sampled_from(["subscribe", "error"]) | VALUES, "code": VALUES},
)


@given(PUSHES, st.sampled_from([CLASSIC, UNIFIED]))
def test_no_push_raises_and_the_engines_agree(
    frame: dict[str, object], codecs: list[Codec]
) -> None:
    message = read(codecs, **frame)
    if isinstance(message, OrdersPush):
        assert all(made.order_id or made.client_oid for made in message.updates)


@given(st.integers(5000, 6000))
def test_a_number_that_the_standard_library_refuses_is_malformed_for_every_engine(
    digits: int,
) -> None:
    text = f'{{"arg":{json.dumps(SPOT)},"data":[{{"orderId":"7"}}],"x":{"1" * digits}}}'
    assert {type(codec.decode(text)) for codec in CLASSIC} == {Malformed}


# --- the import of decimal ---


def test_the_package_imports_decimal_only_for_a_push() -> None:
    program = (
        "import sys, bitget_proto\n"
        "assert 'decimal' not in sys.modules\n"
        'push = \'{"arg":{"channel":"orders"},"data":{"orderId":"7","accBaseVolume":"1"}}\'\n'
        "assert str(bitget_proto.decode(push).updates[0].filled) == '1'\n"
        "assert 'decimal' in sys.modules\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_types_of_an_update_can_be_looked_up_all_the_same() -> None:
    program = (
        "import sys, typing, bitget_proto\n"
        "assert 'decimal' not in sys.modules\n"
        "print(typing.get_type_hints(bitget_proto.OrderUpdate)['filled'])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (ran.stdout.strip(), ran.stderr) == ("decimal.Decimal | None", "")
    hints = typing.get_type_hints(OrderUpdate)
    assert hints["filled"] == hints["average_price"] == Decimal | None
