"""The states of a connection and the table of its transitions.

`Connection._move` looks up every change of state in this table, so a transition that is not in the
table cannot happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from .enums import DescribedEnum
from .set_module import set_module


@set_module("bitget_proto")
class State(DescribedEnum):
    """The state of a connection."""

    NEW = "new", "The socket is not open yet. Cancels are taken and wait."
    AUTHENTICATING = (
        "authenticating",
        "The socket is open, and the exchange has not answered the login. Cancels wait.",
    )
    READY = "ready", "Logged in: cancels are sent as the rate limits allow."
    DRAINING = (
        "draining",
        "Closing: no more cancels are taken or sent; those already sent may still be answered.",
    )
    CLOSED = "closed", "Ended. Every cancel has its outcome."


class Step(DescribedEnum):
    """A cause that does not end the connection."""

    OPENED = "opened", "The socket is open."
    LOGGED_IN = "logged in", "The exchange has accepted the login."
    CLOSING = (
        "closing",
        (
            "`close` was called, or the exchange ends the connection (30004, 30007); cancels "
            "already sent may still be answered."
        ),
    )


@set_module("bitget_proto")
class WhyClosed(DescribedEnum):
    """Why a connection ended."""

    ASKED = (
        "asked",
        (
            "`close` was called; cancels already sent were answered, timed out or, at a second "
            "`close`, given up."
        ),
    )
    LOST = "lost", "The transport ended, or was never open."
    LOGIN_REFUSED = "login refused", "The exchange refused the login."
    LOGIN_TIMEOUT = "login timeout", "The exchange did not answer the login in time."
    NO_PONG = "no pong", "A ping was not answered in time."
    NOT_LOGGED_IN = (
        "not logged in",
        "The exchange reported that the connection is not logged in (30004).",
    )
    THROWN_OUT = "thrown out", "The exchange closes the connection after too many requests (30007)."
    INTERRUPTED = (
        "interrupted",
        "An exception, such as one raised by a signal handler, interrupted a call: its effect is unknown.",
    )


Cause: TypeAlias = Step | WhyClosed
"""The cause of a transition."""

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
"""All transitions: from a state, by a cause, to a state."""


def diagram() -> str:
    """Return the states of a connection as a Mermaid state diagram, as shown in the docs."""
    return drawn(TRANSITIONS, State.NEW, State.CLOSED)


_S = TypeVar("_S", bound=DescribedEnum)
_C = TypeVar("_C", bound=DescribedEnum)


def drawn(table: Mapping[_S, Mapping[_C, _S]], first: _S, last: _S) -> str:
    """Return a table of transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {first.name}"]
    for state, row in table.items():
        for target in dict.fromkeys(row.values()):
            causes = "<br>".join(
                cause.value for cause, leads_to in row.items() if leads_to is target
            )
            lines.append(f"    {state.name} --> {target.name}: {causes}")
    lines.append(f"    {last.name} --> [*]")
    return "\n".join(lines) + "\n"
