"""Pushes and REST answers of any shape raise nothing, and settle no order that they do not name."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from tests.fuzz.order_shapes import settles_only_what_it_names

from bitget_proto import Cancelled, Dialect, Filled, StillOpen

IDS = st.sampled_from(["1", "1", "10", "11", "12", "13", "14", "mine", "1 ", "01", "", "\uff11"])
WORDS = st.sampled_from([
    "live", "new", "init", "partially_filled", "filled", "cancelled", "canceled", "FILLED", "expired", "",
])  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | IDS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(IDS | WORDS, inner, max_size=3),
    max_leaves=5,
)
AMOUNTS = st.sampled_from(["0", "0.5", "1", "-1", "1E9999", "NaN", "", "x"]) | ANYTHING
ROWS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("orderId", "clientOid"), IDS | ANYTHING),
        **dict.fromkeys(("status", "state", "orderStatus"), WORDS | ANYTHING),
        **dict.fromkeys(("accBaseVolume", "baseVolume", "cumExecQty", "avgPrice"), AMOUNTS),
        **dict.fromkeys(("uTime", "instId", "symbol", "category"), ANYTHING),
    },
)
STATES = st.sampled_from(["live", "filled", "cancelled", "canceled", "live", "filled"])
GOOD = st.fixed_dictionaries({
    "orderId": st.sampled_from(["1", "1", "1", "10", "7"]),
    "clientOid": st.sampled_from(["mine", "other"]),
    "status": STATES,
    "orderStatus": STATES,
})  # fmt: skip
LISTS = st.lists(GOOD | ROWS | ANYTHING, max_size=4) | st.lists(GOOD, max_size=6)
DATA = (
    LISTS
    | GOOD
    | st.fixed_dictionaries({"list": LISTS}, optional={"cursor": IDS})
    | st.fixed_dictionaries({"entrustedList": LISTS}, optional={"endId": IDS})
    | ANYTHING
)
ARGS = st.sampled_from([
    {"instType": "SPOT", "channel": "orders", "instId": "default"},
    {"instType": "UTA", "topic": "order"},
    {"instType": "USDT-FUTURES", "channel": "orders"},
])  # fmt: skip
ALIKE = st.lists(GOOD, min_size=1, max_size=3)
REAL = st.fixed_dictionaries({
    "code": st.just("00000"),
    "arg": ARGS,
    "data": st.lists(GOOD, min_size=1, max_size=1)
    | GOOD
    | ALIKE
    | st.fixed_dictionaries({"list": ALIKE})
    | st.fixed_dictionaries({"entrustedList": ALIKE}),
})  # fmt: skip
STRANGE = st.fixed_dictionaries(
    {"data": DATA},
    optional={
        "code": st.just("00000") | ANYTHING,
        "arg": ARGS | ANYTHING,
        "event": ANYTHING,
        "msg": ANYTHING,
    },
)
TEXTS = st.one_of(REAL, REAL, REAL, STRANGE).map(json.dumps)


def play(examples: int, number: int, visited: Counter[Any]) -> None:
    @seed(number)
    @settings(max_examples=examples, database=None)
    @given(
        text=st.one_of(TEXTS, TEXTS, TEXTS, st.text()),
        dialect=st.sampled_from(list(Dialect)),
        status=st.sampled_from([200] * 6 + [400, 429, 500]),
        cut=st.sampled_from([False, False, False, True]),
    )
    def run(text: str, dialect: Dialect, status: int, cut: bool) -> None:
        whole = text[: len(text) // 2] if cut else text
        for kind in settles_only_what_it_names(whole, dialect, status):
            visited[dialect, kind] += 1

    run()


def play_until_visited(examples: int) -> None:
    """Play, and then more if something was missed: what is drawn depends on what is imported."""
    visited: Counter[Any] = Counter()
    kinds = {(dialect, kind) for dialect in Dialect for kind in (Cancelled, Filled, StillOpen)}
    for number in range(10):
        play(examples, number, visited)
        if kinds <= visited.keys():
            return
    raise AssertionError(f"never settled: {kinds - visited.keys()}")


def test_orders_of_any_shape_settle_only_what_they_name() -> None:
    play_until_visited(150)


@pytest.mark.slow
def test_the_same_with_many_shapes() -> None:
    play_until_visited(3000)
