"""Tests of the exceptions for misuse, and of how they show a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import LocalProtocolError, NoRoom, ValidationError
from bitget_proto._values.errors import safe_repr


def test_every_error_is_a_local_protocol_error() -> None:
    assert issubclass(NoRoom, LocalProtocolError)
    assert issubclass(ValidationError, LocalProtocolError)


def test_a_full_queue_is_not_a_value_error() -> None:
    assert not issubclass(NoRoom, ValueError)
    assert issubclass(ValidationError, ValueError)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("BTC/USDT", "'BTC/USDT'"),
        ("", "''"),
        ("a\nb", r"'a\nb'"),
        ("a" * 48, repr("a" * 48)),
        ("a" * 49, f"'{'a' * 48}'… (49 characters)"),
        (None, "None"),
        (True, "True"),
        (5, "the int 5"),
        (-5, "the int -5"),
        (1.5, "the float 1.5"),
        (float("nan"), "the float nan"),
        (10**20 - 1, "the int 99999999999999999999"),
        (10**20, "a value of type int"),
        (-(10**20), "a value of type int"),
        (b"secret", "a value of type bytes"),
        (["secret"], "a value of type list"),
    ],
)
def test_a_value_is_shown_shortened(value: object, text: str) -> None:
    assert safe_repr(value) == text


@given(st.text())
def test_a_text_is_shown_short_encodable_and_on_one_line(text: str) -> None:
    line = safe_repr(text)
    assert len(line.splitlines()) == 1
    assert len(line) <= 48 * len("\\U0010ffff") + 40
    assert line.encode()


def test_a_value_whose_repr_raises_is_shown() -> None:
    class Awkward:
        def __repr__(self) -> str:
            raise RuntimeError

    assert safe_repr(Awkward()) == "a value of type Awkward"


def test_a_string_subclass_is_shown_by_its_value() -> None:
    class Loud(str):
        __slots__ = ()

        def __repr__(self) -> str:
            raise RuntimeError

        def __str__(self) -> str:
            raise RuntimeError

    assert safe_repr(Loud("a")) == "'a'"
    assert safe_repr(Loud("a" * 60)).endswith("'… (60 characters)")


def test_an_integer_too_long_for_str_is_shown_by_its_type() -> None:
    assert safe_repr(10**5000) == "a value of type int"
