"""Faults of the scripted exchange. Each applies to one request; nothing is random.

Behaviours of a whole link (slow, holding back, silent) are in `behaviour`, refused logins in
`logins`. Faults of sockets, such as half a frame, are not here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from enum import Enum
from typing import Final, Generic, TypeVar

from ..._values.errors import ValidationError, safe_repr
from ..._values.set_module import set_module

_Fault = TypeVar("_Fault", bound=Enum)


@set_module("bitget_proto.testing")
class Fault(Enum):
    """A fault of one request. Unless stated otherwise, the exchange acts on the request."""

    LATE = "late"
    """The answer comes `ScriptedExchange.late_by` seconds late."""

    DUPLICATE = "duplicate"
    """The answer comes twice."""

    SILENT = "silent"
    """No answer ever comes."""

    GARBAGE = "garbage"
    """Text that is not JSON comes instead of the answer."""

    WRONG_TYPES = "wrong types"
    """The answer comes with a number for its id and `true` for its code."""

    UNKNOWN_ID = "unknown id"
    """The answer has an id that no request had."""

    NO_ARG = "no arg"
    """An error without a request id (30016) comes instead of the answer."""

    UNSURE = "unsure"
    """The answer has a code (40010) that leaves the outcome unknown."""

    DROP_BEFORE = "drop before"
    """The connection drops, and the exchange does not act on the request."""

    DROP_AFTER = "drop after"
    """The connection drops after the exchange has acted on the request and before it answers."""

    GOING_AWAY = "going away"
    """The notice 30033 comes before the answer.

    The connection drops `ScriptedExchange.grace` seconds after the notice."""

    THROTTLE = "throttle"
    """The exchange does not act on the request; it sends the error 30006, without a request id."""

    CUT = "cut"
    """The first half of the answer comes, as a whole message."""

    ITEM_MISSING = "item missing"
    """The answer to a batch leaves out every second order. It has no effect on a single cancel."""

    ITEM_TWICE = "item twice"
    """The answer to a batch names its first order twice. It has no effect on a single cancel."""

    REORDERED = "reordered"
    """The answer to a batch names the orders in reverse. It has no effect on a single cancel."""

    FILL_FIRST = "fill first"
    """The order fills before the request reaches it, so the cancel is refused."""

    HALF_FILL_FIRST = "half fill first"
    """Half of what is left of the order fills before the request reaches it."""

    PUSH_LATE = "push late"
    """The push of the order channel comes `ScriptedExchange.late_by` seconds late."""

    PUSH_TWICE = "push twice"
    """The push of the order channel comes twice."""

    PUSH_FIRST = "push first"
    """The push of the `orders` channel comes before the answer, to all subscribers."""

    NO_PUSH = "no push"
    """The push of the `orders` channel is lost."""


@set_module("bitget_proto.testing")
class RestFault(Enum):
    """A fault of one REST request. Unless stated otherwise, the exchange acts on the request, or
    refuses it.
    """

    DOWN = "down"
    """The connection is cut without an answer, and the exchange does not act on the request."""

    CUT_AFTER = "cut after"
    """The connection is cut without an answer."""

    UNAVAILABLE = "unavailable"
    """503 with a page of HTML. The exchange does not act on the request."""

    FAILED_AFTER = "failed after"
    """500 with the code 40010."""

    TOO_MANY = "too many"
    """429. The exchange does not act on the request."""

    EMPTY = "empty"
    """200 with an empty body."""

    CUT_IN_HALF = "cut in half"
    """200 with the first half of the body."""


AT_LOGIN: Final = frozenset({
    Fault.SILENT, Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.GOING_AWAY, Fault.THROTTLE, Fault.GARBAGE,
})  # fmt: skip
"""The faults that apply to logins."""


class FaultQueue(Generic[_Fault]):
    """The faults of the next requests, each of them in `allowed`; None means no fault."""

    def __init__(self, allowed: Collection[_Fault]) -> None:
        self._allowed = allowed
        self._coming: deque[_Fault | None] = deque()

    def __len__(self) -> int:
        return len(self._coming)

    def add(self, faults: Collection[_Fault | None]) -> None:
        """Add these faults, one for each request, after the faults that are already queued.

        Raises: ValidationError for a value that is not allowed; nothing changes then.
        """
        for fault in faults:
            if fault is not None and fault not in self._allowed:
                kind = type(next(iter(self._allowed)))
                names = ", ".join(str(member) for member in kind if member in self._allowed)
                raise ValidationError(
                    f"fault must be None or one of {names}; got {safe_repr(fault)}"
                )
        self._coming.extend(faults)

    def pop(self) -> _Fault | None:
        """Return the fault for the request that has just arrived."""
        return self._coming.popleft() if self._coming else None
