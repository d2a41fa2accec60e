"""The states of a connection, and the table of all its transitions.

Rules of this file
- The table is the machine: `Connection` changes its state in one function, and only by looking here. What is not in the
  table cannot happen.
- It says where a cause leads, not what makes the cause happen: that is `Connection`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from .enums import DescribedEnum
from .set_module import set_module


@set_module("bitget_proto")
class State(DescribedEnum):
    """Where a connection is in its life."""

    NEW = "new", "Nothing is known of a socket yet. Cancels are taken and wait."
    AUTHENTICATING = (
        "authenticating",
        "The socket is open and the exchange has not answered the login. Cancels wait.",
    )
    READY = "ready", "Logged in: cancels are handed out as the paces allow."
    DRAINING = (
        "draining",
        "Closing: nothing more is taken or sent, what was sent may still be answered.",
    )
    CLOSED = "closed", "Over. Every cancel has its outcome."


class Step(DescribedEnum):
    """A cause that does not end the connection."""

    OPENED = "opened", "The socket is open."
    LOGGED_IN = "logged in", "The exchange has accepted the login."
    CLOSING = (
        "closing",
        "What was sent may still be answered: `close` was called, or the exchange ends the connection (30004, 30007).",
    )


@set_module("bitget_proto")
class WhyClosed(DescribedEnum):
    """What ended the connection."""

    ASKED = (
        "asked",
        "`close` was called, and what was sent was answered, waited for or, at a second `close`, given up.",
    )
    LOST = "lost", "The transport ended, or was never there."
    LOGIN_REFUSED = "login refused", "The exchange refused the login."
    LOGIN_TIMEOUT = "login timeout", "The exchange did not answer the login in time."
    NO_PONG = "no pong", "A ping went unanswered."
    NOT_LOGGED_IN = (
        "not logged in",
        "The exchange says that the connection is not logged in (30004).",
    )
    THROWN_OUT = "thrown out", "The exchange closes the connection for too many requests (30007)."
    INTERRUPTED = (
        "interrupted",
        "An exception, such as a signal handler's, passed through a call, so that what it did is not known.",
    )


Cause: TypeAlias = Step | WhyClosed
"""What leads from one state to another."""

TRANSITIONS: Mapping[State, Mapping[Cause, State]] = MappingProxyType({
    State.NEW: MappingProxyType({
        Step.OPENED: State.AUTHENTICATING,
        WhyClosed.ASKED: State.CLOSED,
        WhyClosed.LOST: State.CLOSED,
        WhyClosed.INTERRUPTED: State.CLOSED,
    }),
    State.AUTHENTICATING: MappingProxyType({
        Step.LOGGED_IN: State.READY,
        WhyClosed.ASKED: State.CLOSED,
        WhyClosed.LOST: State.CLOSED,
        WhyClosed.INTERRUPTED: State.CLOSED,
        WhyClosed.LOGIN_REFUSED: State.CLOSED,
        WhyClosed.LOGIN_TIMEOUT: State.CLOSED,
        WhyClosed.NO_PONG: State.CLOSED,
    }),
    State.READY: MappingProxyType({
        Step.CLOSING: State.DRAINING,
        WhyClosed.ASKED: State.CLOSED,
        WhyClosed.LOST: State.CLOSED,
        WhyClosed.INTERRUPTED: State.CLOSED,
        WhyClosed.NO_PONG: State.CLOSED,
    }),
    State.DRAINING: MappingProxyType({
        WhyClosed.ASKED: State.CLOSED,
        WhyClosed.LOST: State.CLOSED,
        WhyClosed.INTERRUPTED: State.CLOSED,
        WhyClosed.NO_PONG: State.CLOSED,
        WhyClosed.NOT_LOGGED_IN: State.CLOSED,
        WhyClosed.THROWN_OUT: State.CLOSED,
    }),
    State.CLOSED: MappingProxyType({}),
})  # fmt: skip
"""Every transition there is: from a state, by a cause, to a state."""


def diagram() -> str:
    """The table as a Mermaid state diagram, as the docs show it; `python -m bitget_proto diagram` prints it."""
    return drawn(TRANSITIONS, State.NEW, State.CLOSED)


_S = TypeVar("_S", bound=DescribedEnum)
_C = TypeVar("_C", bound=DescribedEnum)


def drawn(table: Mapping[_S, Mapping[_C, _S]], first: _S, last: _S) -> str:
    """A table of transitions as a Mermaid state diagram, from its first state to its last."""
    lines = ["stateDiagram-v2", f"    [*] --> {first.name}"]
    for state, row in table.items():
        for target in dict.fromkeys(row.values()):
            causes = "<br>".join(
                cause.value for cause, leads_to in row.items() if leads_to is target
            )
            lines.append(f"    {state.name} --> {target.name}: {causes}")
    lines.append(f"    {last.name} --> [*]")
    return "\n".join(lines) + "\n"
