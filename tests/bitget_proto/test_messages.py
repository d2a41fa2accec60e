"""Tests of the frames as values: code classes, and closed unions."""

from __future__ import annotations

import ast
import inspect
from typing import get_args

import attrs
import pytest

from bitget_proto import (
    CodeClass,
    ErrorReply,
    LoginReply,
    Malformed,
    Message,
    OrderReply,
    Other,
    Pong,
    TradeReply,
)
from bitget_proto._wire import messages, requests
from bitget_proto._wire.requests import Ping, Request


def test_there_are_eight_types_of_messages() -> None:
    assert [member.__name__ for member in get_args(Message)] == [
        "TradeReply",
        "ErrorReply",
        "LoginReply",
        "Pong",
        "OrdersPush",
        "SubscribeReply",
        "Other",
        "Malformed",
    ]


def test_there_are_seven_types_of_requests() -> None:
    assert [member.__name__ for member in get_args(Request)] == [
        "LoginRequest",
        "CancelRequest",
        "BatchRequest",
        "Ping",
        "OtherRequest",
        "BadRequest",
        "Malformed",
    ]


def test_every_frame_type_is_in_a_union() -> None:
    defined = {
        getattr(module, node.name)
        for module in (messages, requests)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef)
    }
    assert defined == {OrderReply, *get_args(Message), *get_args(Request)}
    assert all(attrs.has(member) for member in defined)


@pytest.mark.parametrize(
    ("code", "as_trade", "as_error"),
    [
        ("0", CodeClass.ACCEPTED, CodeClass.UNREADABLE),
        ("43001", CodeClass.NOT_FOUND, CodeClass.NOT_FOUND),
        ("40725", CodeClass.OUTCOME_UNKNOWN, CodeClass.OUTCOME_UNKNOWN),
        ("30004", CodeClass.LOGIN, CodeClass.LOGIN),
        ("12345678", CodeClass.UNLISTED, CodeClass.UNLISTED),
        (None, CodeClass.UNREADABLE, CodeClass.UNREADABLE),
    ],
)
def test_an_error_with_the_code_of_acceptance_is_unreadable(
    code: str | None, as_trade: CodeClass, as_error: CodeClass
) -> None:
    assert TradeReply("1", True, code, "", None).code_class is as_trade
    assert ErrorReply("1", True, code, "", None).code_class is as_error
    assert LoginReply(code, "").code_class is as_trade


def test_frames_compare_by_value() -> None:
    assert TradeReply("1", True, "0", "", None) == TradeReply("1", True, "0", "", None, False)
    assert TradeReply("1", True, "0", "", None) != TradeReply("1", True, "0", "", None, True)
    assert Pong() == Pong()
    assert Other(None) != Other("")


def test_frames_of_different_types_are_never_equal() -> None:
    kinds: list[Message | Request] = [
        TradeReply("1", True, "0", "", None),
        ErrorReply("1", True, "0", "", None),
        Pong(),
        Ping(),
    ]
    assert [[one == other for other in kinds] for one in kinds] == [
        [i == j for j in range(4)] for i in range(4)
    ]


@pytest.mark.parametrize(
    "frame", [TradeReply("1", True, "0", "m", 5), LoginReply("0", "m"), Malformed("not JSON", "{")]
)
def test_the_repr_of_a_frame_shows_its_fields(frame: object) -> None:
    assert (
        repr(frame)
        == f"{type(frame).__name__}("
        + ", ".join(
            f"{field.name}={getattr(frame, field.name)!r}"
            for field in attrs.fields(type(frame))  # type: ignore[arg-type]  # any of the unions
        )
        + ")"
    )


def test_frames_have_slots() -> None:
    for frame in (Other("x"), Pong(), Ping(), Malformed("not JSON", "")):
        with pytest.raises(AttributeError):
            object.__setattr__(frame, "more", 1)
