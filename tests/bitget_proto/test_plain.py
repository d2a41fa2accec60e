"""What is read back is what was written."""

from __future__ import annotations

import json
from math import isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto._trace.json_values import line, loaded, plain, restored

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**300) + 1, 10**300 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters()),
    st.binary(),
)


@settings(deadline=None, derandomize=True, database=None)
@given(VALUES)
def test_a_value_is_read_from_its_line_as_it_was_to_the_last_bit_and_of_the_same_type(
    value: object,
) -> None:
    written = line({"it": plain(value)})
    assert written.isascii()
    data = loaded(written)
    assert data is not None
    assert restored(data["it"]) == value
    assert type(restored(data["it"])) is type(value)


def test_what_is_no_number_is_read_as_that() -> None:
    assert isnan(restored(plain(nan)))


def test_any_value_at_all_can_be_written() -> None:
    assert plain({"a": [1, None, True, {1}], "b": 10**300, "c": ("d",)}) == {
        "a": [1, None, True, "<a value of type set>"],
        "b": "<a value of type int>",
        "c": ["d"],
    }


def test_every_text_is_as_it_was_left_wherever_it_stands() -> None:
    said = {"a": ["secret", b"a secret", b"\xffsecret"], "b": {"c": "\udcffsecret"}}
    assert "secret" not in json.dumps(plain(said, lambda text: text.replace("secret", "***")))
    assert plain(b"\xffsecret", lambda text: text.replace("secret", "***")) == plain(b"\xff***")


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{", "[" * 100_000])
def test_what_is_no_object_is_no_line(text: str) -> None:
    assert loaded(text) is None
