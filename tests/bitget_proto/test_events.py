"""Tests of the outputs of a connection: their unions, fields and immutability."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, get_args

import attrs
import pytest

from bitget_proto import (
    Accepted,
    CallerError,
    CancelOrder,
    Closed,
    CodeClass,
    Event,
    ExchangeError,
    GoingAway,
    Hangup,
    InstType,
    LateReply,
    LoginRejected,
    OrderStatus,
    OrderUpdate,
    Outcome,
    Output,
    Ready,
    Rejected,
    Subscribed,
    SubscribeRefused,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto._values import events as module
from bitget_proto._values.enums import DescribedEnum
from bitget_proto.testing import WhyDropped

ORDER = CancelOrder("BTCUSDT", "1")
ACCEPTED = Accepted(
    id="7", order=ORDER, taken_at=1.0, sent_at=2.0, resolved_at=3.0, exchange_ts=None
)


def parts(kind: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(kind)]


def test_a_cancel_has_one_of_three_outcomes() -> None:
    assert get_args(Outcome) == (Accepted, Rejected, Unresolved)


def test_the_unions_are_nested_and_complete() -> None:
    events, outputs = set(get_args(Event)), set(get_args(Output))
    assert set(get_args(Outcome)) < events < outputs
    assert outputs - events == {Transmit, Hangup, Wait}
    defined = {
        getattr(module, node.name)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    assert {value for value in defined if not issubclass(value, Enum)} == outputs - {OrderUpdate}


def test_the_other_events_are_the_documented_ones() -> None:
    assert [event.__name__ for event in get_args(Event)[3:]] == [
        "Ready",
        "LoginRejected",
        "LateReply",
        "OrderUpdate",
        "Subscribed",
        "SubscribeRefused",
        "ExchangeError",
        "GoingAway",
        "Unrecognised",
        "CallerError",
        "Closed",
    ]


_OF_A_CANCEL = ["id", "order", "taken_at", "sent_at", "resolved_at"]

BY_POSITION: dict[type[Any], list[str]] = {
    Transmit: ["text", "ids", "secret"],
    Wait: ["until", "timer"],
    Accepted: [*_OF_A_CANCEL, "exchange_ts", "order_id"],
    Rejected: [*_OF_A_CANCEL, "code", "code_class", "message", "exchange_ts"],
    Unresolved: [*_OF_A_CANCEL, "sent", "why", "code", "message", "hint"],
}
"""The positional fields of outputs made for each cancel; their order never changes."""


@pytest.mark.parametrize("kind", get_args(Output))
def test_outputs_are_keyword_only_except_those_made_for_each_cancel(
    kind: type[Any],
) -> None:
    parameters = inspect.signature(kind).parameters.values()
    by_position = [
        one.name for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert by_position == BY_POSITION.get(kind, [])
    assert all(
        one.kind is inspect.Parameter.KEYWORD_ONLY
        for one in parameters
        if one.name not in by_position
    )


@pytest.mark.parametrize("kind", get_args(Outcome))
def test_every_outcome_names_its_cancel_and_its_times(kind: type[Any]) -> None:
    assert {"id", "order", "attempts", "taken_at", "sent_at", "resolved_at"} <= set(parts(kind))


def test_the_outcomes_have_the_documented_fields() -> None:
    assert "exchange_ts" in parts(Accepted)
    assert {"code", "code_class", "message"} <= set(parts(Rejected))
    assert {"sent", "why", "code", "message"} <= set(parts(Unresolved))


def test_an_outcome_of_a_connection_has_one_attempt() -> None:
    assert ACCEPTED.attempts == 1


def test_an_unresolved_outcome_has_a_code_only_if_one_was_received() -> None:
    unresolved = Unresolved(
        id="7",
        order=ORDER,
        taken_at=1.0,
        sent_at=None,
        resolved_at=3.0,
        sent=False,
        why=WhyUnresolved.TIMEOUT,
    )
    assert (unresolved.code, unresolved.message) == (None, None)


def test_the_reasons_for_unresolved_are_the_documented_ones() -> None:
    assert [why.name for why in WhyUnresolved] == [
        "TIMEOUT",
        "LOST",
        "CLOSED",
        "UNSURE",
        "NO_LINK",
        "WITHDRAWN",
        "INTERRUPTED",
    ]


@pytest.mark.parametrize("member", [*WhyUnresolved, *WhyUnrecognised])
def test_a_reason_is_found_by_value_and_can_be_a_dictionary_key(member: Enum) -> None:
    assert type(member)(member.value) is member
    assert {member: 1}[member] == 1


@pytest.mark.parametrize("member", [*WhyUnresolved, *WhyUnrecognised, *WhyDropped])
def test_a_reason_has_a_meaning_of_one_sentence(member: DescribedEnum) -> None:
    assert member.sentence[0].isupper() or member.sentence[0] == "`"
    assert member.sentence.endswith(".")
    assert len({other.sentence for other in type(member)}) == len(type(member))


def test_outcomes_compare_by_value() -> None:
    assert attrs.evolve(ACCEPTED) == ACCEPTED
    assert attrs.evolve(ACCEPTED, resolved_at=4.0) != ACCEPTED
    assert attrs.evolve(ACCEPTED) is not ACCEPTED


def test_a_match_statement_distinguishes_outcomes() -> None:
    def in_words(outcome: Outcome) -> str:
        match outcome:
            case Accepted():
                return "accepted"
            case Rejected(code_class=CodeClass.NOT_FOUND):
                return "gone"
            case Rejected():
                return "rejected"
            case Unresolved(sent=True):
                return "may have happened"
            case Unresolved(sent=False):
                return "cannot have happened"
            case Unresolved():
                return "unreachable"

    gone = Rejected(
        id="7",
        order=ORDER,
        taken_at=1.0,
        sent_at=2.0,
        resolved_at=3.0,
        code="43001",
        code_class=CodeClass.NOT_FOUND,
        message="",
        exchange_ts=None,
    )
    unresolved = Unresolved(
        id="7",
        order=ORDER,
        taken_at=1.0,
        sent_at=2.0,
        resolved_at=3.0,
        sent=True,
        why=WhyUnresolved.LOST,
    )
    assert in_words(ACCEPTED) == "accepted"
    assert in_words(gone) == "gone"
    assert (
        in_words(attrs.evolve(gone, code="40019", code_class=CodeClass.BAD_PARAMETERS))
        == "rejected"
    )
    assert in_words(unresolved) == "may have happened"
    assert in_words(attrs.evolve(unresolved, sent=False)) == "cannot have happened"


def test_a_frame_to_write_shows_its_text_unless_it_holds_secrets() -> None:
    assert repr(Transmit(text="ping")) == "Transmit(text='ping', ids=())"
    assert repr(Transmit(text="{}", ids=("7",))) == "Transmit(text='{}', ids=('7',))"
    hidden = repr(Transmit(text="hush", secret=True))
    assert "hush" not in hidden
    assert "4 characters" in hidden
    assert str(Transmit(text="hush", secret=True)) == hidden


def test_a_frame_is_not_secret_by_default() -> None:
    assert Transmit(text="ping").secret is False


@pytest.mark.parametrize(
    "output",
    [ACCEPTED, Ready(), Wait(until=None, timer=None), Closed(why=WhyClosed.LOST, detail="")],
)
def test_an_output_has_slots(output: object) -> None:
    with pytest.raises(AttributeError):
        object.__setattr__(output, "more", 1)


CHANGEABLE = (Transmit, Hangup, Wait)
"""Outputs for the driver only, made for each call."""

SAMPLES: dict[type[Any], Callable[[], Output]] = {
    Transmit: lambda: Transmit("ping", ("7",)),
    Hangup: lambda: Hangup(code=1000, reason="asked"),
    Wait: lambda: Wait(1.0, Timer.PING),
    Accepted: lambda: attrs.evolve(ACCEPTED),
    Rejected: lambda: Rejected("7", ORDER, 1.0, 2.0, 3.0, "43001", CodeClass.NOT_FOUND, "no", 5),
    Unresolved: lambda: Unresolved("7", ORDER, 1.0, None, 3.0, False, WhyUnresolved.TIMEOUT),
    Ready: lambda: Ready(),
    LoginRejected: lambda: LoginRejected(
        code="30015", code_class=CodeClass.LOGIN, message="no", text="{}"
    ),
    LateReply: lambda: LateReply(
        id="7",
        order=ORDER,
        code="0",
        code_class=CodeClass.ACCEPTED,
        message="",
        exchange_ts=None,
        text="{}",
    ),
    OrderUpdate: lambda: OrderUpdate(
        order_id="1",
        client_oid=None,
        inst_type=InstType.SPOT,
        inst_id="BTCUSDT",
        status=OrderStatus.FILLED,
        status_text="filled",
        filled=Decimal("0.5"),
        average_price=None,
        reason=None,
        updated_at=5,
    ),
    Subscribed: lambda: Subscribed(inst_type=InstType.SPOT),
    SubscribeRefused: lambda: SubscribeRefused(
        inst_type=None, code="30001", code_class=CodeClass.UNLISTED, message="no", text="{}"
    ),
    ExchangeError: lambda: ExchangeError(
        code="30006", code_class=CodeClass.THROTTLED, message="", text="{}"
    ),
    GoingAway: lambda: GoingAway(message="soon", text="{}"),
    Unrecognised: lambda: Unrecognised(
        text="x", why=WhyUnrecognised.MALFORMED, malformed="not JSON"
    ),
    CallerError: lambda: CallerError(where="trace", error=OSError("full")),
    Closed: lambda: Closed(why=WhyClosed.LOST, detail=""),
}


def test_there_is_a_sample_of_each_output() -> None:
    assert set(SAMPLES) == set(get_args(Output))
    assert all(type(make()) is kind for kind, make in SAMPLES.items())


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind not in CHANGEABLE])
def test_an_outcome_or_event_is_immutable_and_stays_found_in_a_set(
    kind: type[Any],
) -> None:
    one, other = SAMPLES[kind](), SAMPLES[kind]()
    assert one is not other
    assert (one, hash(one)) == (other, hash(other))
    for name in parts(kind):
        before = getattr(one, name)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(one, name, "another")
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(one, name)
        assert getattr(one, name) is before
    kept = set[object]([other])
    assert one in kept


@pytest.mark.parametrize("kind", CHANGEABLE)
def test_a_mutable_output_has_no_hash(kind: type[Any]) -> None:
    with pytest.raises(TypeError, match="unhashable type"):
        hash(SAMPLES[kind]())
    assert SAMPLES[kind]() == SAMPLES[kind]()


def test_an_order_is_immutable() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ORDER.order_id = "2"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    assert hash(ORDER) == hash(CancelOrder("BTCUSDT", "1"))


class Odd(Exception):
    def __init__(self, shown: str | BaseException) -> None:
        self.shown = shown

    def __repr__(self) -> str:
        if isinstance(self.shown, BaseException):
            raise self.shown
        return self.shown


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (None, ""),
        (OSError(28, "No space left on device"), "OSError(28, 'No space left on device')"),
        (Odd("two\nlines \ud800"), "two\\nlines \\ud800"),
        (Odd("x" * 201), "x" * 200 + "…"),
        (Odd(RecursionError()), "Odd"),
    ],
)
def test_the_detail_of_a_callers_error_is_short_and_on_one_line(
    error: Exception | None, detail: str
) -> None:
    event = CallerError(where="jitter", error=error)
    assert event.detail == detail
    assert event == CallerError(where="jitter", detail=detail)
    assert repr(event) == f"CallerError(where='jitter', detail={detail!r})"


def test_an_interrupt_in_a_repr_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        CallerError(where="jitter", error=Odd(KeyboardInterrupt()))
