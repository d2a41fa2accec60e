"""Why a driver is asked to wake up."""

from __future__ import annotations

from .enums import DescribedEnum
from .set_module import set_module


@set_module("bitget_proto")
class Timer(DescribedEnum):
    """Why a driver is asked to wake up. Each has a `sentence` that begins with "When"."""

    REQUEST = (
        "request",
        "When a cancel has not been sent or answered by its deadline, and becomes Unresolved.",
    )
    LOGIN = "login", "When the exchange has not answered the login, and the connection is given up."
    PONG = "pong", "When a ping has gone unanswered, and the connection must be taken for dead."
    DRAIN = (
        "drain",
        "When a closing connection has waited long enough for the answers that are still out.",
    )
    PING = "ping", "When the heartbeat is due, and a ping is to be sent."
    SILENCE = (
        "silence",
        "When an answer is due and the link has been silent: a ping is to be sent or, after that, the link is taken for dead.",
    )
    PACING = (
        "pacing",
        "When the paces let the next frame go. Nothing is due then: draining is enough.",
    )
    # Below: those of a session.
    DIAL = (
        "dial",
        "When the backoff and the exchange's limit let the next dial go. Nothing is due then: draining is enough.",
    )
    DIALLED = "dialled", "When the driver has not answered a dial, and it is given up."
    NO_LINK = "no link", "When a cancel has found no link for so long that it becomes Unresolved."
    SPACING = (
        "spacing",
        "When an order may be cancelled once more. Nothing is due then: draining is enough.",
    )
    ROTATION = (
        "rotation",
        "When a link nears the age at which the exchange cuts it, and its successor is to be dialled.",
    )
    # Below: the exchange's side, and the scripted one in `testing`.
    IDLE = (
        "idle",
        "When the client has sent no ping for so long that the exchange drops the connection.",
    )
    LIFETIME = (
        "lifetime",
        "When the connection has reached the age at which the exchange cuts every connection.",
    )
    SCRIPT = "script", "When the scripted exchange is to do what it was told to do late."
