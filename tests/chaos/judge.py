"""Whether the promise was kept: outcomes against the exchange's own log. Nothing here knows a socket or a session.

Rules of this file
- The log has the last word: what the exchange received, and what it did.
- An outcome that claims less than is true (`sent=True` for what never arrived) is honest. One that claims more is a lie.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import attrs

from bitget_proto import Accepted, CancelOrder, CodeClass, Outcome, Policy, Rejected, Unresolved
from bitget_proto.testing import Act, SeenFrame

_FINAL = frozenset({CodeClass.FINISHED})


@attrs.define
class Log:
    """What an exchange received and did: give `seen` as its `on_frame`, and `acts` is its `log`."""

    acts: list[Act] = attrs.field(factory=list[Act])
    received: Counter[str] = attrs.field(factory=Counter[str])
    """How often a cancel of an id arrived."""

    def seen(self, frame: SeenFrame) -> None:
        """A frame went by."""
        if frame.direction == "received" and '"cancel-order"' in frame.text:
            self.received[json.loads(frame.text)["args"][0]["id"]] += 1


def broken_promises(
    asked: Mapping[str, int],
    outcomes: Iterable[Outcome],
    log: Log,
    policy: Policy,
    timeouts: Mapping[str, float],
) -> Iterator[str]:
    """What was promised and not kept, in words; nothing when all was.

    `asked` are the ids of the orders (the client's own where an order has no other) and how many cancels of each were taken;
    `timeouts` the seconds that those of an order had.
    """
    outcomes = list(outcomes)
    counts = Counter(name_of(outcome.order) for outcome in outcomes)
    for order_id in asked.keys() | counts.keys():
        if asked.get(order_id, 0) != counts[order_id]:
            yield f"order {order_id}: {asked.get(order_id, 0)} cancels taken, {counts[order_id]} outcomes"
    for id, count in Counter(outcome.id for outcome in outcomes).items():
        if count > 1:
            yield f"cancel {id}: {count} outcomes"
    acts: dict[str, list[Act]] = {}
    for act in log.acts:
        acts.setdefault(act.id, []).append(act)
    for outcome in outcomes:
        lie = _lie(outcome, acts.get(outcome.id, []), log.received[outcome.id], policy)
        if lie is not None:
            yield f"cancel {outcome.id}: {lie}: {outcome!r}"
        timeout = timeouts.get(name_of(outcome.order))
        if (
            timeout is not None
            and outcome.sent_at is not None
            and outcome.sent_at > outcome.taken_at + timeout
        ):
            yield f"cancel {outcome.id}: sent after its deadline: {outcome!r}"


def name_of(order: CancelOrder) -> str:
    """The order's id, or the client's where it has no other."""
    return order.order_id or order.client_oid or ""


def _lie(outcome: Outcome, acts: list[Act], received: int, policy: Policy) -> str | None:
    """What is wrong with an outcome; None when it is honest."""
    acted = any(act.cancelled for act in acts)
    if policy is Policy.REPORT and (received > 1 or outcome.attempts > 1):
        return f"received {received} times under REPORT"
    if received > outcome.attempts:
        return f"received {received} times"
    if isinstance(outcome, Accepted):
        return None if acted else "accepted, and the exchange did not act"
    if isinstance(outcome, Unresolved):
        return None if outcome.sent or not received else "said not to be sent, and was received"
    assert isinstance(outcome, Rejected)
    if outcome.code not in {act.code for act in acts}:
        return "the exchange gave no such answer"
    if outcome.attempts > 1:
        return None if outcome.code_class in _FINAL else "rejected after a resend"
    return "rejected, and the exchange acted" if acted else None
