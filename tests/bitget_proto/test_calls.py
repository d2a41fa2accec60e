"""Tests that the table of calls matches the cores, and that written arguments read back."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from math import inf
from types import FunctionType
from typing import Any

import pytest

from bitget_proto import CancelOrder, Connection, InstType, Policy, Session, SignedLogin
from bitget_proto._trace.json_values import line, loaded, plain
from bitget_proto._trace.reader import BESIDE_ARGUMENTS
from bitget_proto._trace.schema import ARGUMENTS, CALLS, REQUIRED

CORES = (Connection, Session)
OF_SESSIONS = {"rest_replied", "rest_failed"}
"""The calls that a connection does not have."""

ORDER = CancelOrder("BTCUSDT", client_oid="mine", inst_type=InstType.USDT_FUTURES)


def taken(core: type, call: str) -> dict[str, object]:
    """The parameters of a call of this core, each with its default or REQUIRED."""
    _, *parameters = inspect.signature(vars(core)[call]).parameters.values()
    return {
        parameter.name: REQUIRED if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
    }


@pytest.mark.parametrize("core", CORES)
def test_the_table_has_every_call_of_a_core(core: type) -> None:
    calls = {
        name
        for name, value in vars(core).items()
        if isinstance(value, FunctionType) and not name.startswith("_")
    }
    assert calls == set(CALLS) - (OF_SESSIONS if core is Connection else set())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("core", CORES)
def test_the_table_has_every_parameter_with_its_default(core: type, call: str) -> None:
    table: Mapping[str, object] = {
        argument.name: argument.default for argument in CALLS[call].arguments
    }
    if core is Session or call not in OF_SESSIONS:
        assert taken(core, call).items() <= table.items()


@pytest.mark.parametrize("call", CALLS)
def test_the_table_has_no_argument_that_no_core_accepts(call: str) -> None:
    assert {argument.name for argument in CALLS[call].arguments} == {
        name for core in CORES if call in vars(core) for name in taken(core, call)
    }


def test_each_argument_name_has_one_format_and_no_other_use_on_a_line() -> None:
    for argument in (argument for call in CALLS.values() for argument in call.arguments):
        known = ARGUMENTS[argument.name]
        assert (known.write, known.read) == (argument.write, argument.read)
    assert not set(ARGUMENTS) & BESIDE_ARGUMENTS


@pytest.mark.parametrize("name", CALLS)
def test_a_default_is_not_written(name: str) -> None:
    for argument in CALLS[name].arguments:
        if argument.default is not REQUIRED:
            assert CALLS[name].written({argument.name: argument.default}) == {}


def test_the_required_id_of_withdraw_is_always_written() -> None:
    assert CALLS["withdraw"].written({"id": None}) == {"id": None}
    assert CALLS["withdraw"].written({"id": 1}) == {"id": {"unrecorded": "int"}}


@pytest.mark.parametrize("reply", [None, 200, (200,), ("200", b""), (2**2000, b"")])
def test_a_reply_that_is_no_answer_is_written_as_its_type(reply: object) -> None:
    assert CALLS["rest_replied"].written({"reply": reply}) == {
        "reply": {"unrecorded": type(reply).__name__}
    }


def test_whether_a_request_was_unsent_is_written_as_it_is() -> None:
    assert CALLS["rest_failed"].written({"unsent": True}) == {"unsent": True}
    assert ARGUMENTS["unsent"].read(True) is True


@pytest.mark.parametrize("orders", [None, "abc", (ORDER,), [ORDER, "1"]])
def test_orders_that_are_no_list_are_written_as_their_type(orders: object) -> None:
    assert CALLS["cancel_many"].written({"orders": orders}) == {
        "orders": {"unrecorded": type(orders).__name__}
    }


EXAMPLES: dict[str, list[Any]] = {
    "now": [0.5, 1, 2**70],
    "link": [1],
    "message": ["text", b"bytes", b"\xff", "\ud800"],
    "reason": ["reset", "\ud800"],
    "unsent": [["a", "b"], ["\ud800"], [""]],
    "number": [1],
    "reply": [(200, b"{}"), (503, "text"), (0, b"\xff")],
    "retry_after": [0, 0.5, inf],
    "order": [ORDER],
    "orders": [[], [ORDER, ORDER]],
    "id": ["", "mine"],
    "timeout": [5, 0.5, inf],
    "policy": [*Policy],
    "urgent": [True],
    "queued": ["send"],
    "within": [5, 0.5, inf],
    "inst_types": [[InstType.SPOT], [InstType.USDT_FUTURES, InstType.MARGIN]],
    "text": ["", '{"op":"subscribe"}'],
    "writable": [False],
    "busy": [[1, 2]],
    "login": [SignedLogin("not recorded", "not recorded", "1700000000", "not recorded")],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_written_argument_reads_back_as_the_passed_value(name: str) -> None:
    call = next(call for call in CALLS.values() if ARGUMENTS[name] in call.arguments)
    for value in EXAMPLES[name]:
        data = loaded(
            line({name: plain(each) for name, each in call.written({name: value}).items()})
        )
        assert data is not None
        assert ARGUMENTS[name].read(data[name]) == value


def test_an_equivalent_of_a_default_is_not_written() -> None:
    assert CALLS["poll"].written({"now": 0.0, "writable": 1, "busy": []}) == {"now": 0.0}
    assert CALLS["lost"].written({"unsent": []}) == {}
    assert CALLS["poll"].written({"writable": 0}) == {"writable": False}
