"""The timers of a connection, a session, a reconciler and the fake exchange."""

from __future__ import annotations

from .enums import DescribedEnum
from .set_module import set_module


@set_module("bitget_proto")
class Timer(DescribedEnum):
    """The reason for a `Wait`. Each member has a `sentence` that begins with "When"."""

    REQUEST = (
        "request",
        "When a cancel was not sent or answered before its deadline, and ends Unresolved.",
    )
    LOGIN = "login", "When the login was not answered in time, and the connection is closed."
    PONG = "pong", "When a ping was not answered in time, and the connection is considered dead."
    DRAIN = (
        "drain",
        "When a closing connection stops waiting for outstanding answers.",
    )
    PING = "ping", "When the heartbeat is due, and a ping must be sent."
    SILENCE = (
        "silence",
        (
            "When an answer is due and the link is silent: a ping is sent or, if that went "
            "unanswered, the link is considered dead."
        ),
    )
    PACING = (
        "pacing",
        "When the rate limits allow the next frame. No deadline expires: draining is enough.",
    )
    # Timers of a session.
    DIAL = (
        "dial",
        "When backoff and dial limit allow the next dial. No deadline expires: draining is enough.",
    )
    DIALLED = "dialled", "When the driver did not answer a dial in time, and it is given up."
    NO_LINK = "no link", "When a cancel has waited too long for a link, and ends Unresolved."
    SPACING = (
        "spacing",
        "When an order may be cancelled again. No deadline expires: draining is enough.",
    )
    REST = (
        "REST",
        (
            "When a cancel that no link can send may be sent by REST. No deadline expires: draining is "
            "enough."
        ),
    )
    ROTATION = (
        "rotation",
        "When a link approaches the age at which the exchange cuts it, and a successor is dialled.",
    )
    # Timers of a reconciler.
    LOOK_UP = (
        "look-up",
        "When an order may be looked up. No deadline expires: draining is enough.",
    )
    ANSWER = "answer", "When a look-up was not answered in time, and counts as failed."
    UNKNOWN = (
        "unknown",
        "When nothing showed before its deadline what became of an order, and it ends Unknown.",
    )
    # The timer of a lease.
    LEASE = (
        "lease",
        (
            "When a lease or a place in the store's queue begins, or the store may be asked again. "
            "No deadline expires: draining is enough."
        ),
    )
    # The timer of a dead man's switch.
    COUNTDOWN = (
        "countdown",
        "When the countdown must be renewed, a renewal is late, or the countdown may have ended.",
    )
    # Timers of the fake exchange in `testing`.
    IDLE = (
        "idle",
        "When the client has sent no ping for too long, and the exchange drops the connection.",
    )
    LIFETIME = (
        "lifetime",
        "When the connection reaches the age at which the exchange cuts every connection.",
    )
    SCRIPT = "script", "When the scripted exchange performs a delayed action."
