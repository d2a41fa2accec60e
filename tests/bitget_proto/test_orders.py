"""The order to cancel: what is taken, what is refused, and what a refusal says."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import CancelOrder, InstType, LocalProtocolError, ValidationError
from bitget_proto._orders import check_request_id

PRINTABLE = "".join(map(chr, range(32, 127)))
INST_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
ID_CHARACTERS = INST_CHARACTERS + ":#-+ "


class Word(str):
    """A string whose f-string is not its value, as that of an enum's member is not."""

    __slots__ = ()

    def __str__(self) -> str:
        return "Word.BTC"

    __format__ = None  # type: ignore[assignment]  # whoever formats it has not made it plain


BTC = Word("BTCUSDT")


# --- orders that are taken ---


def test_an_order_is_named_by_the_exchanges_id_alone() -> None:
    order = CancelOrder("BTCUSDT", order_id="1376695893517410304")
    assert (order.inst_id, order.order_id, order.client_oid, order.inst_type) == (
        "BTCUSDT",
        "1376695893517410304",
        None,
        InstType.SPOT,
    )


def test_an_order_is_named_by_the_clients_id_alone() -> None:
    assert CancelOrder("BTCUSDT", client_oid="mine").order_id is None


def test_both_ids_may_be_given() -> None:
    order = CancelOrder("BTCUSDT", "1", "mine", InstType.USDT_FUTURES)
    assert (order.order_id, order.client_oid, order.inst_type) == ("1", "mine", InstType.USDT_FUTURES)


@pytest.mark.parametrize("id", ["0", "00", '"', "\\", "'", " ", "{}", "a" * 64, PRINTABLE[:64], PRINTABLE[31:]])
def test_an_order_id_the_page_has_no_rule_against_is_taken(id: str) -> None:
    assert CancelOrder("BTCUSDT", order_id=id).order_id == id
    assert CancelOrder("BTCUSDT", client_oid=id).client_oid == id


@given(
    st.text(INST_CHARACTERS, min_size=1, max_size=40),
    st.text(PRINTABLE, min_size=1, max_size=64),
    st.text(PRINTABLE, min_size=1, max_size=64),
    st.sampled_from(InstType),
)
def test_whatever_keeps_the_rules_is_taken_as_it_came(inst_id: str, one: str, two: str, inst_type: InstType) -> None:
    order = CancelOrder(inst_id, one, two, inst_type)
    assert attrs.astuple(order) == (inst_id, one, two, inst_type)


def test_the_product_lines_are_those_of_the_exchange() -> None:
    assert [member.value for member in InstType] == ["SPOT", "USDT-FUTURES", "COIN-FUTURES", "USDC-FUTURES"]


# --- orders that are refused ---

NO_INST_ID = [
    "",
    " ",
    "BTC/USDT",
    "BTCUSDT\n",
    "BTCUSDT ",
    "BTC\u0660",
    "BTCÜSDT",
    "ＢＴＣＵＳＤＴ",
    "a" * 41,
    "BTC\x00USDT",
    '"',
    None,
    5,
    b"BTCUSDT",
    True,
]


@pytest.mark.parametrize("inst_id", NO_INST_ID)
def test_an_instrument_outside_the_rule_is_refused_by_the_name_of_the_field(inst_id: object) -> None:
    with pytest.raises(ValidationError, match=r"^inst_id must be 1 to 40 of the characters 0-9 A-Z a-z _; got "):
        CancelOrder(inst_id, order_id="1")  # type: ignore[arg-type]  # what an unchecked caller passes


NO_ORDER_ID = ["", "a" * 65, "1\n", "\n", "\t", "a\x7f", "a\x00", "é", "\u0660", "\ud800", 5, 5.0, True, b"1", ["1"]]


@pytest.mark.parametrize("field", ["order_id", "client_oid"])
@pytest.mark.parametrize("id", NO_ORDER_ID)
def test_an_order_id_outside_the_rule_is_refused_by_the_name_of_the_field(field: str, id: object) -> None:
    with pytest.raises(ValidationError, match=rf"^{field} must be 1 to 64 printable ASCII characters; got "):
        CancelOrder("BTCUSDT", **{field: id})  # type: ignore[arg-type]  # what an unchecked caller passes


@pytest.mark.parametrize("field", ["order_id", "client_oid"])
@pytest.mark.parametrize("id", NO_ORDER_ID)
def test_a_bad_order_id_is_refused_beside_a_good_one(field: str, id: object) -> None:
    other = "client_oid" if field == "order_id" else "order_id"
    with pytest.raises(ValidationError, match=rf"^{field} must"):
        CancelOrder("BTCUSDT", **{field: id, other: "1"})  # type: ignore[arg-type]  # what an unchecked caller passes


def test_an_order_without_an_id_is_refused_and_told_both_ways_out() -> None:
    with pytest.raises(ValidationError, match=r"neither: pass order_id=… .* or client_oid=…"):
        CancelOrder("BTCUSDT")


@pytest.mark.parametrize("inst_type", ["SPOT", "spot", None, 5])
def test_a_product_line_that_is_no_member_is_refused_with_all_members(inst_type: object) -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder("BTCUSDT", "1", inst_type=inst_type)  # type: ignore[arg-type]  # what an unchecked caller passes
    assert str(refused.value).startswith("inst_type must be one of InstType.SPOT, InstType.USDT_FUTURES")
    assert "InstType.COIN_FUTURES, InstType.USDC_FUTURES; got " in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("BTC/USDT", "BTCUSDT"),
        ("BTC-USDT", "BTCUSDT"),
        ("BTC.USDT", "BTCUSDT"),
        ("BTC USDT", "BTCUSDT"),
        (" BTCUSDT\n", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTCUSDT"),
        ("BTCUSDT_UMCBL:x", "BTCUSDT_UMCBL"),
    ],
)
def test_a_refused_instrument_comes_with_the_likely_fix(wrong: str, right: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder(wrong, order_id="1")
    assert str(refused.value).endswith(f"got {wrong!r}: write {right!r}")
    assert CancelOrder(right, order_id="1").inst_id == right


def test_an_instrument_without_a_likely_fix_comes_with_an_example() -> None:
    with pytest.raises(ValidationError, match=r"got '': write|got '', for example 'BTCUSDT'$"):
        CancelOrder("", order_id="1")


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        (5, r"got the int 5: ids are strings on the wire, pass str\(order_id\)$"),
        (True, r"got True: ids are strings on the wire$"),
        (b"5", r"got a value of type bytes: ids are strings on the wire$"),
        ("1\n", r"got '1\\n': write '1'$"),
        ("", r"got '': leave order_id out if there is none$"),
        ("\t", r"got '\\t': leave order_id out if there is none$"),
        ("a\nb", r"got 'a\\nb': '\\n' is none of them, so pass the id as the exchange gave it$"),
        ("ö", r"got 'ö': 'ö' is none of them, so pass the id as the exchange gave it$"),
        ("x" * 65, r"… \(65 characters\): pass the id as the exchange gave it$"),
        ("1é ", r"got '1é ': 'é' is none of them, so pass the id as the exchange gave it$"),
    ],
)
def test_a_refused_order_id_comes_with_the_likely_fix(wrong: object, fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        CancelOrder("BTCUSDT", order_id=wrong)  # type: ignore[arg-type]  # what an unchecked caller passes


def test_a_refused_client_oid_is_told_to_be_that_of_the_order() -> None:
    with pytest.raises(ValidationError, match=r"'ö' is none of them, so pass the id with which the order was placed$"):
        CancelOrder("BTCUSDT", client_oid="ö")


def test_a_long_refused_value_is_cut_short_in_the_message() -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder("BTCUSDT", order_id="x" * 100_000)
    assert "(100000 characters)" in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_refusal_is_a_value_error_and_a_local_one() -> None:
    assert issubclass(ValidationError, ValueError)
    assert issubclass(ValidationError, LocalProtocolError)


# --- an order does not change ---


def test_an_order_cannot_be_changed() -> None:
    order = CancelOrder("BTCUSDT", "1")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        order.inst_id = "ETHUSDT"  # type: ignore[misc]  # this is the mistake


def test_an_order_that_is_evolved_is_checked_again() -> None:
    with pytest.raises(ValidationError, match=r"^inst_id must"):
        attrs.evolve(CancelOrder("BTCUSDT", "1"), inst_id="BTC/USDT")


def test_equal_orders_are_equal_and_hash_alike() -> None:
    assert CancelOrder("BTCUSDT", "1") == CancelOrder("BTCUSDT", "1")
    assert len({CancelOrder("BTCUSDT", "1"), CancelOrder("BTCUSDT", "1"), CancelOrder("BTCUSDT", None, "1")}) == 2


def test_an_order_survives_copying_and_pickling() -> None:
    order = CancelOrder("BTCUSDT", '"', "\\", InstType.COIN_FUTURES)
    for again in (copy.copy(order), copy.deepcopy(order), pickle.loads(pickle.dumps(order))):
        assert again == order
        assert again.inst_type is InstType.COIN_FUTURES


def test_a_string_subclass_becomes_the_plain_string_of_its_value() -> None:
    order = CancelOrder(BTC, BTC, BTC)
    assert [type(value) for value in (order.inst_id, order.order_id, order.client_oid)] == [str, str, str]
    assert f"{order.inst_id} {order.order_id} {order.client_oid}" == "BTCUSDT BTCUSDT BTCUSDT"


@attrs.frozen
class Noted(CancelOrder):
    note: str = ""


@pytest.mark.parametrize(("inst_id", "order_id"), [("BTC/USDT", "1"), ("BTCUSDT", "1\n"), ("BTCUSDT", None)])
def test_an_order_of_a_subclass_that_attrs_makes_is_checked_as_well(inst_id: str, order_id: str | None) -> None:
    with pytest.raises(ValidationError):
        Noted(inst_id, order_id)
    with pytest.raises(ValidationError):
        attrs.evolve(Noted("ETHUSDT", "2"), inst_id=inst_id, order_id=order_id)


def test_of_a_subclass_that_attrs_makes_string_subclasses_become_plain_strings_as_well() -> None:
    order = Noted(BTC, BTC, note="mine")
    assert [type(order.inst_id), type(order.order_id), order.note] == [str, str, "mine"]


# --- ids of requests ---


@given(st.text(ID_CHARACTERS, min_size=1, max_size=40))
def test_a_request_id_of_the_pages_characters_is_taken(id: str) -> None:
    assert check_request_id(id) == id


@pytest.mark.parametrize("character", ID_CHARACTERS)
def test_each_character_of_the_page_makes_an_id(character: str) -> None:
    assert check_request_id(character) == character


@pytest.mark.parametrize(
    "id",
    [
        "", "a" * 41, "a\n", "\n", "a\tb", "a\rb", "a\x0bb", "a\x0cb", "a\u00a0b", "a\u2003b", "\u0660", "é", "a.b", "a/b", '"',
        "a\\b", "\ud800", "\x00", None, 5, b"1", True,
    ],
)  # fmt: skip
def test_any_other_request_id_is_refused_with_the_rule(id: object) -> None:
    with pytest.raises(ValidationError) as refused:
        check_request_id(id)
    assert str(refused.value).startswith("id must be 1 to 40 of the characters 0-9 A-Z a-z _ : # - + and space; got ")


@given(st.characters().filter(lambda c: c not in ID_CHARACTERS))
def test_no_character_outside_the_page_slips_in(character: str) -> None:
    for id in (character, f"a{character}", f"{character}a"):
        with pytest.raises(ValidationError):
            check_request_id(id)


def test_an_id_that_is_a_string_subclass_becomes_a_plain_string() -> None:
    id = check_request_id(BTC)
    assert type(id) is str
    assert id == "BTCUSDT"
