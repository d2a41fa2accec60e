"""How metrics name events. The number of different values is bounded, whatever the exchange sends."""

from __future__ import annotations

import re
from typing import Protocol

from bitget_proto import (
    Accepted,
    CallerError,
    Closed,
    CodeClass,
    Down,
    Ended,
    Event,
    ExchangeError,
    Final,
    LateReply,
    LinkClosed,
    LoginRejected,
    Outcome,
    Ready,
    Rejected,
    SessionEvent,
    Unknown,
    Unrecognised,
    Up,
)

_OTHER = "other"
"""Stands for every code that is not listed."""

_WORD = re.compile("(?<!^)(?=[A-Z])")


class Counted(Protocol):
    """What the gauges need from a channel."""

    @property
    def in_flight(self) -> int: ...
    @property
    def capacity(self) -> int: ...


def outcome_labels(outcome: Outcome) -> tuple[str, str, str]:
    """Return the kind, the reason and the exchange's code of an outcome; "" for what it lacks.

    The kinds are accepted, rejected, unresolved (the cancel may have taken effect) and unsent (it
    was not sent).
    """
    if isinstance(outcome, Accepted):
        return "accepted", "", ""
    if isinstance(outcome, Rejected):
        return "rejected", outcome.code_class.value, _code(outcome.code, outcome.code_class)
    kind = "unresolved" if outcome.sent else "unsent"
    code = "" if outcome.code is None else _code(outcome.code, CodeClass.of(outcome.code))
    return kind, outcome.why.value, code


def final_labels(final: Final) -> tuple[str, str, str]:
    """Return the kind, the reason and the evidence of a final; "" for what it lacks.

    The kinds are cancelled, filled, still_open, not_found and unknown.
    """
    evidence = "" if final.evidence is None else final.evidence.value
    return _snake(final), final.why.value if isinstance(final, Unknown) else "", evidence


def event_labels(event: Event | SessionEvent) -> tuple[str, str, str]:
    """Return the kind, the reason and the exchange's code of an event that is not an outcome."""
    kind = _snake(event)
    if isinstance(event, (LoginRejected, ExchangeError, LateReply)):
        code = "" if event.code is None else _code(event.code, event.code_class)
        return kind, event.code_class.value, code
    if isinstance(event, (Down, LinkClosed, Closed, Ended, Unrecognised)):
        return kind, event.why.value, ""
    if isinstance(event, CallerError):
        return kind, event.where, ""
    return kind, "", ""


def up_after(event: Event | SessionEvent) -> bool | None:
    """Return whether the channel can send cancels after this event; None when it changes nothing."""
    if isinstance(event, (Ready, Up)):
        return True
    return False if isinstance(event, (Down, Closed, Ended)) else None


def _snake(event: object) -> str:
    """Return the name of the class of an event in snake case."""
    return _WORD.sub("_", type(event).__name__).lower()


def _code(code: str, code_class: CodeClass) -> str:
    return _OTHER if code_class in (CodeClass.UNLISTED, CodeClass.UNREADABLE) else code
