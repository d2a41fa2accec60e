"""What the scripted exchange sends for a cancel: its answer, or what a fault makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from ..._values.events import Hangup
from ..._wire.exchange_codec import encode_event
from .exchange_events import ABORT
from .faults import Fault
from .trading import Encode

Sent: TypeAlias = tuple[float | None, str | Hangup]
"""A delay in seconds, or None for at once, and the message or hangup that is due then."""

_NOTICE: Final = encode_event(
    "error", 30033, "Service upgrade in progress. Connection reset imminent. Please reconnect."
)


def answers(
    fault: Fault | None, id: str, encode: Encode, *, late_by: float, grace: float
) -> Iterator[Sent]:
    """Yield what is sent for the request with this id."""
    answer = encode(id=id)
    match fault:
        case Fault.SILENT:
            pass
        case Fault.LATE:
            yield late_by, answer
        case Fault.DUPLICATE:
            yield None, answer
            yield None, answer
        case Fault.GARBAGE:
            yield None, "\x00\x1b[2Jnot json"
        case Fault.WRONG_TYPES:
            wrong = answer.replace(f'"id":"{id}"', '"id":7')
            yield None, re.sub(r'"code":"?\d+"?', '"code":true', wrong)
        case Fault.UNKNOWN_ID:
            yield None, encode(id=f"{id[:38]}:x")
        case Fault.NO_ARG:
            yield None, encode_event("error", 30016, "Param error")
        case Fault.CUT:
            yield None, answer[: len(answer) // 2]
        case Fault.DROP_AFTER:
            yield None, Hangup(code=ABORT, reason=fault.value)
        case Fault.GOING_AWAY:
            yield from going_away(grace)
            yield None, answer
        case _:
            yield None, answer


def going_away(grace: float) -> Iterator[Sent]:
    """Yield the notice of a release, and the drop `grace` seconds after it."""
    yield None, _NOTICE
    yield grace, Hangup(code=ABORT, reason=Fault.GOING_AWAY.value)
