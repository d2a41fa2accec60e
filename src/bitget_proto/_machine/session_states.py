"""The states of a session and the table of its transitions.

`Links.move` looks up every change of state in this table, so a transition that is not in the
table cannot happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from .._values.enums import DescribedEnum
from .._values.set_module import set_module
from .._values.states import drawn


@set_module("bitget_proto")
class SessionState(DescribedEnum):
    """The state of a session."""

    DOWN = (
        "down",
        "No link is up or being dialled; the next dial is pending. Cancels are taken and wait.",
    )
    DIALLING = (
        "dialling",
        "No link is up; one was dialled and is not logged in yet. Cancels are taken and wait.",
    )
    UP = "up", "A link is up: cancels are sent on it."
    MOVING = (
        "moving",
        "A link is up and about to be replaced: its successor is being dialled, or soon will be.",
    )
    CLOSING = (
        "closing",
        "Nothing more is taken, dialled or sent; cancels already sent may still be answered.",
    )
    ENDED = "ended", "Ended. Every cancel has its outcome."


class SessionStep(DescribedEnum):
    """A cause that does not end the session."""

    DIALLED = "dialled", "A link was dialled."
    READY = (
        "ready",
        "The exchange has accepted the login of the dialled link: the link is up.",
    )
    LOST = (
        "lost",
        "The link that was up, or being dialled, has ended, and no other is being dialled.",
    )
    LOST_WHILE_MOVING = (
        "overtaken",
        "The link that was up has ended while its successor was being dialled.",
    )
    LEAVING = (
        "leaving",
        "The exchange is going away, or the link approaches the age at which it is cut.",
    )
    CLOSING = (
        "closing",
        "The session is ending; cancels already sent on its links may still be answered.",
    )


@set_module("bitget_proto")
class WhyEnded(DescribedEnum):
    """Why a session ended."""

    ASKED = "asked", "`close` was called."
    REFUSED = (
        "refused",
        "The exchange refused the key, its signature or its permissions: a retry would be refused.",
    )
    STAMP_REFUSED = (
        "stamp refused",
        (
            "The exchange refused the timestamp of the first login and the corrected one "
            "(30013, 30014): the clock is wrong."
        ),
    )
    INTERRUPTED = (
        "interrupted",
        "An exception, such as one raised by a signal handler, interrupted a call: its effect is unknown.",
    )


SessionCause: TypeAlias = SessionStep | WhyEnded
"""The cause of a transition of a session."""

SESSION_TRANSITIONS: Mapping[SessionState, Mapping[SessionCause, SessionState]] = MappingProxyType({
    SessionState.DOWN: MappingProxyType({
        SessionStep.DIALLED: SessionState.DIALLING,
        SessionStep.CLOSING: SessionState.CLOSING,
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
    }),
    SessionState.DIALLING: MappingProxyType({
        SessionStep.READY: SessionState.UP,
        SessionStep.LOST: SessionState.DOWN,
        SessionStep.CLOSING: SessionState.CLOSING,
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
        WhyEnded.REFUSED: SessionState.ENDED,
        WhyEnded.STAMP_REFUSED: SessionState.ENDED,
    }),
    SessionState.UP: MappingProxyType({
        SessionStep.LEAVING: SessionState.MOVING,
        SessionStep.LOST: SessionState.DOWN,
        SessionStep.CLOSING: SessionState.CLOSING,
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
    }),
    SessionState.MOVING: MappingProxyType({
        SessionStep.READY: SessionState.UP,
        SessionStep.LOST_WHILE_MOVING: SessionState.DIALLING,
        SessionStep.LOST: SessionState.DOWN,
        SessionStep.CLOSING: SessionState.CLOSING,
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
    }),
    SessionState.CLOSING: MappingProxyType({
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
        WhyEnded.REFUSED: SessionState.ENDED,
        WhyEnded.STAMP_REFUSED: SessionState.ENDED,
    }),
    SessionState.ENDED: MappingProxyType({}),
})  # fmt: skip
"""All transitions of a session: from a state, by a cause, to a state."""


def session_diagram() -> str:
    """Return the states of a session as a Mermaid state diagram, as shown in the docs."""
    return drawn(SESSION_TRANSITIONS, SessionState.DOWN, SessionState.ENDED)
