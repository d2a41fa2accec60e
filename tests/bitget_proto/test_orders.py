"""Tests of CancelOrder and request ids: allowed values, refused values, error messages."""

from __future__ import annotations

import ast
import copy
import pickle
import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import CancelOrder, InstType, LocalProtocolError, ValidationError
from bitget_proto._values.orders import check_request_id

PRINTABLE = "".join(map(chr, range(32, 127)))
WORD_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
ID_CHARACTERS = WORD_CHARACTERS + ":#-+ "
INST_IDS = st.from_regex(r"[0-9A-Z]{0,20}USDT", fullmatch=True) | st.text(
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=40
)
ORDER_IDS = st.text(
    "".join(c for c in PRINTABLE if c not in " \"'`,\\."), min_size=1, max_size=64
).filter(
    lambda text: not re.fullmatch(r"\d[eE]\+?\d+|nan|none|null|undefined|<na>", text, re.IGNORECASE)
)


class Word(str):
    """A string whose f-string is not its value, as with an enum member."""

    __slots__ = ()

    def __str__(self) -> str:
        return "Word.BTC"

    __format__ = None  # type: ignore[assignment]  # formatting it is a bug: it must be converted first


BTC = Word("BTCUSDT")


# --- valid orders ---


def test_an_order_may_have_only_an_order_id() -> None:
    order = CancelOrder("BTCUSDT", order_id="1376695893517410304")
    assert (order.inst_id, order.order_id, order.client_oid, order.inst_type) == (
        "BTCUSDT",
        "1376695893517410304",
        None,
        None,
    )


def test_an_order_may_have_only_a_client_oid() -> None:
    assert CancelOrder("BTCUSDT", client_oid="mine").order_id is None


def test_both_ids_may_be_given() -> None:
    order = CancelOrder("BTCUSDT", "1", "mine", InstType.USDT_FUTURES)
    assert (order.order_id, order.client_oid, order.inst_type) == (
        "1",
        "mine",
        InstType.USDT_FUTURES,
    )


@pytest.mark.parametrize(
    "id", ["0", "00", "1376695893517410304", "-1", "{}", "a" * 64, "1e", "e18", "a.b", "1.2.3"]
)
def test_an_id_that_no_documented_rule_forbids_is_allowed(id: str) -> None:
    assert CancelOrder("BTCUSDT", order_id=id).order_id == id
    assert CancelOrder("BTCUSDT", client_oid=id).client_oid == id


@pytest.mark.parametrize(
    "id", ['"', "\\", "'", " ", "1.37670E+18", "nan", "5.0", "a,b", PRINTABLE[:64], PRINTABLE[31:]]
)
def test_a_client_oid_may_be_any_printable_ascii(id: str) -> None:
    assert CancelOrder("BTCUSDT", client_oid=id).client_oid == id


@pytest.mark.parametrize(
    "inst_id",
    [
        "币安人生USDT", "BTCUSDT-250328", "BTCUSD_250328", "1000BONKUSDT", "BTCPERP", "BTCUSDU25", "kPEPEUSDT", "TSLAxUSDT",
        "USDT", "PERPUSDT", "1", "Ü", "😀USDT", "BTC\u0660", "A&BUSDT", "SBTCSUSDT", "a" * 39 + "B", "é" * 40,
    ],
)  # fmt: skip
def test_an_instrument_may_be_in_any_script(inst_id: str) -> None:
    assert CancelOrder(inst_id, order_id="1").inst_id == inst_id


@given(INST_IDS, ORDER_IDS, st.text(PRINTABLE, min_size=1, max_size=64), st.sampled_from(InstType))
def test_valid_values_are_kept_unchanged(
    inst_id: str, one: str, two: str, inst_type: InstType
) -> None:
    order = CancelOrder(inst_id, one, two, inst_type)
    assert attrs.astuple(order) == (inst_id, one, two, inst_type)


def test_the_product_lines_are_those_of_the_exchange() -> None:
    assert [member.value for member in InstType] == [
        "SPOT",
        "USDT-FUTURES",
        "COIN-FUTURES",
        "USDC-FUTURES",
        "MARGIN",
    ]


# --- invalid orders ---

NO_INST_ID = [
    "", " ", "BTCUSDT\n", "BTCUSDT ", "BTC\u00a0USD T", "\ufeffBTCUSDT", "BTC\u200bUSDT", "\u202eBTC", "A" * 41, "é" * 41,
    "BTC\x00USDT", "BTC\x7fUSDT", "BTC\x85", '"', "BTC'", "“BTCUSDT”", "`", "BTC\\USDT", "\ud800", "BTC\udfff", 5,
    b"BTCUSDT", True, "A" * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("inst_id", NO_INST_ID)
def test_an_invalid_instrument_is_refused(inst_id: object) -> None:
    with pytest.raises(
        ValidationError,
        match=r"^inst_id must be 1 to 40 characters without blanks, quotes, backslashes and control characters; got ",
    ):
        CancelOrder(inst_id, order_id="1")  # type: ignore[arg-type]  # as an untyped caller may pass


NO_ORDER_ID = [
    "",
    "a" * 65,
    "1\n",
    "\n",
    "\t",
    "a\x7f",
    "a\x00",
    "é",
    "\u0660",
    "\ud800",
    5,
    5.0,
    True,
    b"1",
    ["1"],
]


@pytest.mark.parametrize("field", ["order_id", "client_oid"])
@pytest.mark.parametrize("id", NO_ORDER_ID)
def test_an_invalid_id_is_refused_with_the_name_of_the_field(field: str, id: object) -> None:
    with pytest.raises(
        ValidationError, match=rf"^{field} must be 1 to 64 printable ASCII characters.*; got "
    ):
        CancelOrder("BTCUSDT", **{field: id})  # type: ignore[arg-type]  # as an untyped caller may pass


@pytest.mark.parametrize("field", ["order_id", "client_oid"])
@pytest.mark.parametrize("id", NO_ORDER_ID)
def test_an_invalid_id_is_refused_beside_a_valid_one(field: str, id: object) -> None:
    other = "client_oid" if field == "order_id" else "order_id"
    with pytest.raises(ValidationError, match=rf"^{field} must"):
        CancelOrder("BTCUSDT", **{field: id, other: "1"})  # type: ignore[arg-type]  # as an untyped caller may pass


def test_an_order_without_an_id_is_refused_with_both_remedies() -> None:
    with pytest.raises(ValidationError, match=r"neither: pass order_id=… .* or client_oid=…"):
        CancelOrder("BTCUSDT")


@pytest.mark.parametrize(
    ("inst_type", "hint"),
    [
        ("SPOT", "inst_type=InstType.SPOT"),
        ("spot", "inst_type=InstType.SPOT"),
        ("spbl", "inst_type=InstType.SPOT"),
        ("USDT-FUTURES", "inst_type=InstType.USDT_FUTURES"),
        ("usdt-futures", "inst_type=InstType.USDT_FUTURES"),
        ("USDT_FUTURES", "inst_type=InstType.USDT_FUTURES"),
        ("umcbl", "inst_type=InstType.USDT_FUTURES"),
        ("linear", "inst_type=InstType.USDT_FUTURES"),
        ("COIN-FUTURES", "inst_type=InstType.COIN_FUTURES"),
        ("DMCBL", "inst_type=InstType.COIN_FUTURES"),
        ("inverse", "inst_type=InstType.COIN_FUTURES"),
        ("coin-m", "inst_type=InstType.COIN_FUTURES"),
        ("USDC-FUTURES", "inst_type=InstType.USDC_FUTURES"),
        ("cmcbl", "inst_type=InstType.USDC_FUTURES"),
        ("SUSDT-FUTURES", "inst_type=InstType.USDT_FUTURES"),
        ("swap", "the member of the order's product line"),
        ("margin", "the member of the order's product line"),
        (5, "the member of the order's product line"),
    ],
)
def test_an_invalid_product_line_is_refused_with_the_likely_member(
    inst_type: object, hint: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder("BTCUSDT", "1", inst_type=inst_type)  # type: ignore[arg-type]  # as an untyped caller may pass
    said = str(refused.value)
    assert said.startswith(
        "inst_type must be one of InstType.SPOT, InstType.USDT_FUTURES, InstType.COIN_FUTURES, "
        "InstType.USDC_FUTURES, InstType.MARGIN; got "
    )
    assert said.endswith(f": pass {hint}")


NAMES_OF_OTHERS = [
    ("BTC/USDT:USDT", "BTCUSDT", "USDT_FUTURES"),
    ("BTC/USD:BTC", "BTCUSD", "COIN_FUTURES"),
    ("BTC/USDC:USDC", "BTCPERP", "USDC_FUTURES"),
    ("ETH/USD:USDC", "ETHPERP", "USDC_FUTURES"),
    ("币安人生/USDT:USDT", "币安人生USDT", "USDT_FUTURES"),
    ("btc/usdt:usdt", "BTCUSDT", "USDT_FUTURES"),
    (" BTC/USDT:USDT\n", "BTCUSDT", "USDT_FUTURES"),
    ('"BTC/USDT:USDT"', "BTCUSDT", "USDT_FUTURES"),
    ("BTC/USDT:USDT-250328", None, "USDT_FUTURES"),
    ("BTC/USD:BTC-250328", None, "COIN_FUTURES"),
    ("BTCUSDT_SPBL", "BTCUSDT", "SPOT"),
    ("BTCUSDT_UMCBL", "BTCUSDT", "USDT_FUTURES"),
    ("BTCUSD_DMCBL", "BTCUSD", "COIN_FUTURES"),
    ("BTCPERP_CMCBL", "BTCPERP", "USDC_FUTURES"),
    ("btcusdt_umcbl", "BTCUSDT", "USDT_FUTURES"),
    ("BTCUSD_DMCBL_230929", None, "COIN_FUTURES"),
    ("BTCUSDT_UMCBL_UTA", "BTCUSDT", "USDT_FUTURES"),
    ("BTCUSDT_SPBL-MABL", "BTCUSDT", "SPOT"),
    ("SBTCSUSDT_SUMCBL", "BTCUSDT", "USDT_FUTURES"),
    ("SBTCSUSD_SDMCBL", "BTCUSD", "COIN_FUTURES"),
    ("SBTCSPERP_SCMCBL", "BTCPERP", "USDC_FUTURES"),
    ("BTCUSDT_SUMCBL", "BTCUSDT", "USDT_FUTURES"),
    ("BTC-USDT-SWAP", "BTCUSDT", "USDT_FUTURES"),
    ("BTC-USD-SWAP", "BTCUSD", "COIN_FUTURES"),
    ("BTC-USDC-SWAP", "BTCPERP", "USDC_FUTURES"),
    ("BTC_USDT_PERP", "BTCUSDT", "USDT_FUTURES"),
    ("BTCUSDT-PERP", "BTCUSDT", "USDT_FUTURES"),
    ("BTCUSDT-PERP.BITGET", "BTCUSDT", "USDT_FUTURES"),
    ("BITGET:BTCUSDT.P", "BTCUSDT", "USDT_FUTURES"),
    ("BTCUSDT-SPOT", "BTCUSDT", "SPOT"),
    ("BTC/USDT", "BTCUSDT", None),
    ("BTC-USDT", "BTCUSDT", None),
    ("BTC_USDT", "BTCUSDT", None),
    ("BTC.USDT", "BTCUSDT", None),
    ("BTC USDT", "BTCUSDT", None),
    ("BTCUSDT.BITGET", "BTCUSDT", None),
    ("BITGET:BTCUSDT", "BTCUSDT", None),
    ("btcusdt", "BTCUSDT", None),
    ("币安人生usdt", "币安人生USDT", None),
    ("BINANCE:BTCUSDT", None, None),
    ("BTC/EUR:EUR", None, None),
    ("BTC/USDT/USDC", None, None),
    ("a" * 41, None, None),
]
"""A name, and the exchange's instrument and product line as far as the name implies them."""


@pytest.mark.parametrize(("name", "inst_id", "line"), NAMES_OF_OTHERS)
@pytest.mark.parametrize("given_line", InstType)
def test_another_clients_name_is_refused_with_the_right_instrument(
    name: str, inst_id: str | None, line: str | None, given_line: InstType
) -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder(name, order_id="1", inst_type=given_line)
    instrument = (
        "the name that the exchange lists, like 'BTCUSDT'," if inst_id is None else repr(inst_id)
    )
    if line is None and given_line is not InstType.SPOT:
        line = given_line.name
    product_line = (
        "the product line of the order, inst_type=InstType.SPOT for a spot order"
        if line is None
        else f"inst_type=InstType.{line}"
    )
    assert str(refused.value) == (
        f"inst_id must be the exchange's own name of the instrument; got {name!r}, another library's format: "
        f"write {instrument} and {product_line}"
    )
    if inst_id is not None:
        assert CancelOrder(inst_id, order_id="1").inst_id == inst_id


@given(st.text(min_size=1, max_size=60) | st.text('aBTCUSDP/:_-. "S', min_size=1, max_size=60))
def test_an_instrument_that_an_error_suggests_is_valid(name: str) -> None:
    try:
        assert CancelOrder(name, order_id="1").inst_id == name
    except ValidationError as refused:
        said = str(refused)
        if proposed := re.search(": write ('[^']*')", said):
            CancelOrder(ast.literal_eval(proposed[1]), order_id="1")


@pytest.mark.parametrize(
    "wrong", [" BTCUSDT\n", '"BTCUSDT"', "'BTCUSDT", "\ufeffBTCUSDT", "“BTCUSDT”", "BTCUSDT\u200b"]
)
def test_the_hint_strips_what_a_paste_adds_to_an_instrument(
    wrong: str,
) -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder(wrong, order_id="1")
    assert str(refused.value).endswith(f"got {wrong!r}: write 'BTCUSDT'")


def test_an_instrument_without_a_likely_fix_comes_with_an_example() -> None:
    with pytest.raises(ValidationError, match=r"got '': write it like 'BTCUSDT'$"):
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
        ("a\nb", r"got 'a\\nb': '\\n' is not allowed, so pass the id as the exchange gave it$"),
        ("ö", r"got 'ö': 'ö' is not allowed, so pass the id as the exchange gave it$"),
        ("x" * 65, r"… \(65 characters\): pass the id as the exchange gave it$"),
        ("1é ", r"got '1é ': 'é' is not allowed, so pass the id as the exchange gave it$"),
        ("'1376695893517410305", r": write '1376695893517410305'$"),
        ('"1"', r": write '1'$"),
        ("1,", r": write '1'$"),
        ("\ufeff1", r": write '1'$"),
        ("1,2", r"got '1,2': pass the id as the exchange gave it$"),
        ("not json", r"got 'not json': pass the id as the exchange gave it$"),
        ("a\\b", r": pass the id as the exchange gave it$"),
    ],
)
def test_a_refused_order_id_comes_with_the_likely_fix(wrong: object, fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        CancelOrder("BTCUSDT", order_id=wrong)  # type: ignore[arg-type]  # as an untyped caller may pass


@pytest.mark.parametrize(
    "id",
    [
        "1.37670E+18",
        "1.3766958935174103e+18",
        "1E+18",
        "1e18",
        "5.0",
        "1376.",
        "1.376.695",
        "'1.37670E+18",
        " 1E+18 ",
    ],
)
def test_an_order_id_rounded_by_a_spreadsheet_or_float_is_refused(id: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder("BTCUSDT", order_id=id)
    assert str(refused.value) == (
        f"order_id must be the exchange's whole id; got {id!r}, which a spreadsheet or a float has rounded or reformatted: "
        "export the column as text, and keep ids as strings"
    )


@pytest.mark.parametrize("id", ["nan", "NaN", "None", "null", "undefined", "<NA>", '"null"'])
def test_an_order_id_that_stands_for_a_missing_value_is_refused(id: str) -> None:
    with pytest.raises(
        ValidationError,
        match=r"which stands for a missing value: leave order_id out if there is none$",
    ):
        CancelOrder("BTCUSDT", order_id=id)


@pytest.mark.parametrize("character", " \"'`,\\")
def test_an_order_id_has_no_blank_quote_comma_or_backslash(character: str) -> None:
    for id in (character, f"1{character}", f"{character}1", f"1{character}1"):
        with pytest.raises(
            ValidationError,
            match=r"^order_id must be 1 to 64 printable ASCII characters without blanks",
        ):
            CancelOrder("BTCUSDT", order_id=id)


def test_an_invalid_client_oid_is_refused_with_advice() -> None:
    with pytest.raises(
        ValidationError,
        match=r"'ö' is not allowed, so pass the id with which the order was placed$",
    ):
        CancelOrder("BTCUSDT", client_oid="ö")


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(ValidationError) as refused:
        CancelOrder("BTCUSDT", order_id="x" * 100_000)
    assert "(100000 characters)" in str(refused.value)
    assert len(str(refused.value)) < 260


def test_a_validation_error_is_a_value_error_and_a_local_error() -> None:
    assert issubclass(ValidationError, ValueError)
    assert issubclass(ValidationError, LocalProtocolError)


# --- immutability, equality, copies ---


def test_a_cancel_order_is_immutable() -> None:
    order = CancelOrder("BTCUSDT", "1")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        order.inst_id = "ETHUSDT"  # type: ignore[misc]  # deliberate misuse


def test_an_evolved_order_is_checked_again() -> None:
    with pytest.raises(ValidationError, match=r"^inst_id must"):
        attrs.evolve(CancelOrder("BTCUSDT", "1"), inst_id="BTC/USDT")


def test_orders_compare_and_hash_by_value() -> None:
    assert CancelOrder("BTCUSDT", "1") == CancelOrder("BTCUSDT", "1")
    assert (
        len(
            {
                CancelOrder("BTCUSDT", "1"),
                CancelOrder("BTCUSDT", "1"),
                CancelOrder("BTCUSDT", None, "1"),
            }
        )
        == 2
    )


def test_an_order_survives_copying_and_pickling() -> None:
    order = CancelOrder("币安人生USDT", "1", "\\", InstType.COIN_FUTURES)
    for again in (copy.copy(order), copy.deepcopy(order), pickle.loads(pickle.dumps(order))):
        assert again == order
        assert again.inst_type is InstType.COIN_FUTURES


def test_a_string_subclass_becomes_the_plain_string_of_its_value() -> None:
    order = CancelOrder(BTC, BTC, BTC)
    assert [type(value) for value in (order.inst_id, order.order_id, order.client_oid)] == [
        str,
        str,
        str,
    ]
    assert f"{order.inst_id} {order.order_id} {order.client_oid}" == "BTCUSDT BTCUSDT BTCUSDT"


@attrs.frozen
class Noted(CancelOrder):
    note: str = ""


@pytest.mark.parametrize(
    ("inst_id", "order_id"), [("BTC/USDT", "1"), ("BTCUSDT", "1\n"), ("BTCUSDT", None)]
)
def test_an_order_of_an_attrs_subclass_is_checked(inst_id: str, order_id: str | None) -> None:
    with pytest.raises(ValidationError):
        Noted(inst_id, order_id)
    with pytest.raises(ValidationError):
        attrs.evolve(Noted("ETHUSDT", "2"), inst_id=inst_id, order_id=order_id)


def test_an_attrs_subclass_stores_plain_strings_too() -> None:
    order = Noted(BTC, BTC, note="mine")
    assert [type(order.inst_id), type(order.order_id), order.note] == [str, str, "mine"]


# --- ids of requests ---


@given(st.text(ID_CHARACTERS, min_size=1, max_size=40))
def test_a_request_id_of_the_documented_characters_is_allowed(id: str) -> None:
    assert check_request_id(id) == id


@pytest.mark.parametrize("character", ID_CHARACTERS)
def test_each_documented_character_is_an_id_by_itself(character: str) -> None:
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
    assert str(refused.value).startswith(
        "id must be 1 to 40 of the characters 0-9 A-Z a-z _ : # - + and space; got "
    )


@given(st.characters().filter(lambda c: c not in ID_CHARACTERS))
def test_no_other_character_is_allowed_in_an_id(character: str) -> None:
    for id in (character, f"a{character}", f"{character}a"):
        with pytest.raises(ValidationError):
            check_request_id(id)


def test_an_id_that_is_a_string_subclass_becomes_a_plain_string() -> None:
    id = check_request_id(BTC)
    assert type(id) is str
    assert id == "BTCUSDT"
