"""What can go wrong with one request to the scripted exchange.

Rules of this file
- A fault is asked for by name and applies to one request. Nothing is random.
- What concerns a whole link (slow, holding back, silent) is `behaviour`'s; which logins are refused, `logins`'s. What only a
  socket can do wrong (half a frame) is not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from ..._values.errors import ValidationError, safe_repr
from ..._values.set_module import set_module


@set_module("bitget_proto.testing")
class Fault(Enum):
    """What goes wrong with one request. Unless it says otherwise the exchange acts on the request all the same."""

    LATE = "late"
    """The answer comes `ScriptedExchange.late_by` seconds late."""

    DUPLICATE = "duplicate"
    """The answer comes twice."""

    SILENT = "silent"
    """No answer ever comes."""

    GARBAGE = "garbage"
    """Something that is no JSON comes instead of the answer."""

    WRONG_TYPES = "wrong types"
    """The answer comes with a number for its id and `true` for its code."""

    UNKNOWN_ID = "unknown id"
    """The answer comes under an id that no request had."""

    NO_ARG = "no arg"
    """An error that names no request (30016) comes instead of the answer."""

    UNSURE = "unsure"
    """The answer is a code (40010) which says that the outcome is unknown."""

    DROP_BEFORE = "drop before"
    """The connection drops before the exchange acts: it never does."""

    DROP_AFTER = "drop after"
    """The connection drops after the exchange has acted, before it answers."""

    GOING_AWAY = "going away"
    """The notice 30033 comes first, then the answer; `ScriptedExchange.grace` seconds later the connection drops."""

    THROTTLE = "throttle"
    """The exchange does not act: 30006 comes, which names no request."""

    PUSH_FIRST = "push first"
    """The push of the `orders` channel comes before the answer, for those who have subscribed to it."""

    NO_PUSH = "no push"
    """The push of the `orders` channel is lost."""


KEPT_BACK: Final = frozenset({
    Fault.LATE, Fault.SILENT, Fault.GARBAGE, Fault.WRONG_TYPES, Fault.UNKNOWN_ID, Fault.NO_ARG,
})  # fmt: skip
"""The faults with which the proper answer is not given, or not in time."""

AT_LOGIN: Final = frozenset({
    Fault.SILENT, Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.GOING_AWAY, Fault.THROTTLE, Fault.GARBAGE,
})  # fmt: skip
"""The faults that a login can have."""


def check_faults(faults: Iterable[object], allowed: frozenset[Fault]) -> None:
    """Let nothing pass that is no fault, or none of those.

    Raises: ValidationError, and nothing has changed.
    """
    for fault in faults:
        if fault is not None and fault not in allowed:
            names = ", ".join(str(member) for member in Fault if member in allowed)
            raise ValidationError(f"fault must be None or one of {names}; got {safe_repr(fault)}")
