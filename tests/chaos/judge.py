"""Check outcomes against the exchange's own log.

The log of what the exchange received and did decides. An outcome that claims less than is true
(`sent=True` for a cancel that never arrived) is honest. One that claims more is false.

A batch has an id of its own, and names orders alone. So the cancels of batches are found by their
orders. If an order was cancelled several times, its other cancels explain what they may.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import attrs

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    CodeClass,
    Filled,
    Final,
    NotFound,
    Outcome,
    Policy,
    Rejected,
    StillOpen,
    Unknown,
    Unresolved,
)
from bitget_proto.testing import Act, SeenFrame
from bitget_proto.testing._exchange.order_book import BookOrder

_FINAL = frozenset({CodeClass.FINISHED})
_OPEN = ("live", "partially_filled")
_SKEW = 0.05
"""Seconds by which the two clocks may be compared wrongly."""


@attrs.define
class Log:
    """What an exchange received and did: `seen` is its `on_frame`, and `acts` its `log`."""

    acts: list[Act] = attrs.field(factory=list[Act])
    received: Counter[str] = attrs.field(factory=Counter[str])
    """How often a cancel with each id arrived."""

    received_in_batches: Counter[str] = attrs.field(factory=Counter[str])
    """How often each order arrived in a batch."""

    def seen(self, frame: SeenFrame) -> None:
        """Count the frame if it is a cancel that the exchange received."""
        if frame.direction == "received" and '"cancel-order"' in frame.text:
            request = json.loads(frame.text)
            self.received[request.get("id") or request["args"][0]["id"]] += 1
        elif frame.direction == "received" and '"batch-cancel"' in frame.text:
            args = json.loads(frame.text)["args"]
            self.received_in_batches.update(arg.get("orderId") or arg["clientOid"] for arg in args)


def broken_promises(
    asked: Mapping[str, int],
    outcomes: Iterable[Outcome],
    log: Log,
    policy: Policy,
    timeouts: Mapping[str, float],
) -> Iterator[str]:
    """Yield a message for each broken promise.

    `asked` has the number of cancels taken for each order id (the client's id where an order has no
    other). `timeouts` has the timeout in seconds of each order's cancels.
    """
    outcomes = list(outcomes)
    counts = Counter(name_of(outcome.order) for outcome in outcomes)
    for order_id in asked.keys() | counts.keys():
        if asked.get(order_id, 0) != counts[order_id]:
            taken = asked.get(order_id, 0)
            yield f"order {order_id}: {taken} cancels taken, {counts[order_id]} outcomes"
    for id, count in Counter(outcome.id for outcome in outcomes).items():
        if count > 1:
            yield f"cancel {id}: {count} outcomes"
    acts: dict[tuple[bool, str], list[Act]] = {}
    for act in log.acts:
        name = name_of(act.order) if act.batch else act.id
        acts.setdefault((act.batch, name), []).append(act)
    attempts: Counter[str] = Counter()
    for outcome in outcomes:
        attempts[name_of(outcome.order)] += outcome.attempts
    for outcome in outcomes:
        name = name_of(outcome.order)
        alone = acts.get((False, outcome.id), [])
        others = attempts[name] - outcome.attempts
        in_batches = max(0, log.received_in_batches[name] - others)
        theirs = alone + acts.get((True, name), [])
        surely = theirs if counts[name] == 1 else alone
        fault = _fault(outcome, theirs, surely, log.received[outcome.id] + in_batches, policy)
        if fault is not None:
            yield f"cancel {outcome.id}: {fault}: {outcome!r}"
        timeout = timeouts.get(name_of(outcome.order))
        if (
            timeout is not None
            and outcome.sent_at is not None
            and outcome.sent_at > outcome.taken_at + timeout
        ):
            yield f"cancel {outcome.id}: sent after its deadline: {outcome!r}"


def broken_finals(
    pairs: Iterable[tuple[Outcome, Final | None]], book: Mapping[str, BookOrder], offset: float
) -> Iterator[str]:
    """Yield a message for each outcome whose `Final` is missing, or that the book contradicts.

    `book` has the orders by id, with every state that they had. `offset` is how many seconds the
    client's clock is ahead of that of the book.
    """
    for outcome, final in pairs:
        if final is None:
            if not isinstance(outcome, Unresolved) or outcome.sent:
                yield f"cancel {outcome.id}: no final: {outcome!r}"
            continue
        if final.outcome is not outcome:
            yield f"cancel {outcome.id}: a final of another outcome: {final!r}"
        fault = _fault_of_final(final, book.get(name_of(outcome.order)), offset)
        if fault is not None:
            yield f"cancel {outcome.id}: {fault}: {final!r}"


def name_of(order: CancelOrder) -> str:
    """Return the order's id, or the client's id where it has no other."""
    return order.order_id or order.client_oid or ""


def _fault(
    outcome: Outcome, acts: list[Act], surely: list[Act], received: int, policy: Policy
) -> str | None:
    """Return what is wrong with an outcome; None when it is honest.

    `acts` are those that may be of this cancel, and `surely` those that are of no other.
    """
    acted = any(act.cancelled for act in acts)
    if policy is Policy.REPORT and (received > 1 or outcome.attempts > 1):
        return f"received {received} times under REPORT"
    if received > outcome.attempts:
        return f"received {received} times"
    if isinstance(outcome, Accepted):
        return None if acted else "accepted, but the exchange did not act"
    if isinstance(outcome, Unresolved):
        return None if outcome.sent or not received else "reported as not sent, but received"
    assert isinstance(outcome, Rejected)
    if outcome.code not in {act.code for act in acts}:
        return "the exchange gave no such answer"
    if outcome.attempts > 1:
        return None if outcome.code_class in _FINAL else "rejected after a resend"
    acted = any(act.cancelled for act in surely)
    return "rejected, but the exchange acted" if acted else None


def _fault_of_final(final: Final, placed: BookOrder | None, offset: float) -> str | None:
    """Return what is wrong with a final; None when it is true."""
    if isinstance(final, Unknown):
        return None
    if placed is None:
        return None if isinstance(final, NotFound) else "there is no such order"
    last = placed.last
    match final:
        case NotFound():
            return "there is such an order"
        case StillOpen():
            then = placed.as_of(final.as_of - offset)
            if then is None or then.status not in _OPEN:
                return "it was not open then"
            if final.filled is None or not then.filled <= final.filled <= last.filled:
                return f"{then.filled} were filled then"
            return None
        case Cancelled() | Filled():
            status = "cancelled" if isinstance(final, Cancelled) else "filled"
            if (last.status, last.filled) != (status, final.filled):
                return f"it is {last.status}, with {last.filled} filled"
            late = last.at - (final.resolved_at - offset)
            return f"it was, but only {late} s later" if late > _SKEW else None
