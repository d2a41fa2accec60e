"""Tests that written values read back unchanged."""

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
def test_a_value_reads_back_exactly_and_with_the_same_type(
    value: object,
) -> None:
    written = line({"it": plain(value)})
    assert written.isascii()
    data = loaded(written)
    assert data is not None
    assert restored(data["it"]) == value
    assert type(restored(data["it"])) is type(value)


def test_nan_is_read_back_as_nan() -> None:
    assert isnan(restored(plain(nan)))


def test_any_value_at_all_can_be_written() -> None:
    assert plain({"a": [1, None, True, {1}], "b": 10**300, "c": ("d",)}) == {
        "a": [1, None, True, "<a value of type set>"],
        "b": "<a value of type int>",
        "c": ["d"],
    }


def test_secrets_are_hidden_in_every_nested_text() -> None:
    said = {"a": ["secret", b"a secret", b"\xffsecret"], "b": {"c": "\udcffsecret"}}
    assert "secret" not in json.dumps(plain(said, lambda text: text.replace("secret", "***")))
    assert plain(b"\xffsecret", lambda text: text.replace("secret", "***")) == plain(b"\xff***")


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{", "[" * 100_000])
def test_a_line_that_is_no_json_object_is_none(text: str) -> None:
    assert loaded(text) is None
