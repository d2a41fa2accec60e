"""The states of a session, and the table of all its transitions.

Rules of this file
- The table is the machine: `Session` changes its state in one function, and only by looking here. What is not in the table
  cannot happen.
- It says where a cause leads, not what makes the cause happen: that is `Session`'s.
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
    """Where a session is in its life."""

    DOWN = (
        "down",
        "No link serves, and none is on its way: the next dial waits for its time. Cancels are taken and wait.",
    )
    DIALLING = (
        "dialling",
        "No link serves; one was dialled and has not been logged in yet. Cancels are taken and wait.",
    )
    UP = "up", "A link serves: cancels are handed out on it."
    MOVING = (
        "moving",
        "A link serves, and is to be left: its successor is being dialled, or waits to be.",
    )
    CLOSING = (
        "closing",
        "Nothing more is taken, dialled or handed out; what was sent may still be answered.",
    )
    ENDED = "ended", "Over. Every cancel has its outcome."


class SessionStep(DescribedEnum):
    """A cause that does not end the session."""

    DIALLED = "dialled", "The dial of a link was handed out."
    READY = (
        "ready",
        "The exchange has accepted the login of the link that was dialled: it serves from now on.",
    )
    LOST = (
        "lost",
        "The link that served, or the one that was dialled, has ended, and no other is on its way.",
    )
    OVERTAKEN = "overtaken", "The link that served has ended while its successor was on its way."
    LEAVING = (
        "leaving",
        "The exchange is going away, or the link nears the age at which the exchange cuts it.",
    )
    CLOSING = (
        "closing",
        "The session ends, and links are still waited for: what was sent on them may be answered.",
    )


@set_module("bitget_proto")
class WhyEnded(DescribedEnum):
    """What ended the session."""

    ASKED = "asked", "`close` was called."
    REFUSED = (
        "refused",
        "The exchange refused the key, its signature or its permissions: the same login would be refused again.",
    )
    STAMP_REFUSED = (
        "stamp refused",
        "The exchange refused the stamp of the first login, and the corrected one too (30013, 30014): the clock is wrong.",
    )
    INTERRUPTED = (
        "interrupted",
        "An exception, such as a signal handler's, passed through a call, so that what it did is not known.",
    )


SessionCause: TypeAlias = SessionStep | WhyEnded
"""What leads a session from one state to another."""

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
        SessionStep.OVERTAKEN: SessionState.DIALLING,
        SessionStep.LOST: SessionState.DOWN,
        SessionStep.CLOSING: SessionState.CLOSING,
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
    }),
    SessionState.CLOSING: MappingProxyType({
        WhyEnded.ASKED: SessionState.ENDED,
        WhyEnded.INTERRUPTED: SessionState.ENDED,
        WhyEnded.REFUSED: SessionState.ENDED,
    }),
    SessionState.ENDED: MappingProxyType({}),
})  # fmt: skip
"""Every transition of a session: from a state, by a cause, to a state."""


def session_diagram() -> str:
    """The table of a session's states as a Mermaid state diagram, as the docs show it."""
    return drawn(SESSION_TRANSITIONS, SessionState.DOWN, SessionState.ENDED)
