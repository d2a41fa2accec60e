"""The cancels of one connection that have no outcome yet, and what a reply means for its cancel.

A cancel waits in `queue` until `poll` returns its frame. From then on it counts as sent and is in
`sent`, until a reply, a deadline or the end of the connection settles it. A cancel that was sent
and ended `Unresolved` is remembered in `late`, because its reply may still come.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from math import inf
from typing import TypeAlias

import attrs

from .._values.codes import CLASSES, REFUSALS, CodeClass
from .._values.events import (
    Accepted,
    LateReply,
    Outcome,
    Rejected,
    Unrecognised,
    Unresolved,
    WhyUnrecognised,
    WhyUnresolved,
)
from .._values.orders import CancelOrder, prevailing_id
from .._wire.message_limits import as_text
from .._wire.messages import ErrorReply, TradeReply
from .arguments import no_room_error
from .cancel_queue import CancelQueue, Rank
from .connection_config import Config
from .deadlines import Deadlines, after
from .request_ids import IN_FLIGHT, MAY_BE_ANSWERED

_ACCEPTED = CodeClass.ACCEPTED


@attrs.define(eq=False)
class OpenCancel:
    """A cancel that has no outcome yet."""

    id: str
    order: CancelOrder
    taken_at: float
    timeout_at: float
    """When its own timeout ends; infinity if it has none."""

    number: int
    """Its position in the order in which cancels were taken."""

    rank: Rank
    deadline: float = inf
    """When it must be sent; once it is sent, when it must be answered."""

    version: int = 0
    """Set by `Deadlines`."""

    sent_at: float = inf
    """When `poll` returned its frame; infinity if it was not sent, or provably not written."""

    def outcome_from(self, reply: TradeReply | ErrorReply, now: float) -> Outcome:
        """Return the outcome that follows from the reply to this cancel."""
        code, code_class = reply.code, reply.code_class
        if isinstance(reply, TradeReply) and code_class is _ACCEPTED:
            named = reply.orders
            order_id = named[0].order_id if len(named) == 1 else None
            # Positional arguments: keywords take twice as long.
            return Accepted(
                self.id, self.order, self.taken_at, self.sent_at, now, reply.exchange_ts, order_id
            )
        if code is not None and code_class in REFUSALS:
            return Rejected(
                id=self.id,
                order=self.order,
                taken_at=self.taken_at,
                sent_at=self.sent_at,
                resolved_at=now,
                code=code,
                code_class=code_class,
                message=reply.message,
                exchange_ts=reply.exchange_ts,
            )
        return self.unresolved(WhyUnresolved.UNSURE, now, code, reply.message)

    def own_answer(self, reply: TradeReply | ErrorReply) -> TradeReply | ErrorReply | None:
        """Return what the answer to a batch says about this cancel; None if nothing is certain.

        Items are matched by the order's id. An order with one item has the result of that item,
        except that a success in a refused batch proves nothing. An order without an item has the
        refusal of the batch, unless another item reports success. Nothing is certain for an order
        with several items, or without an item in a successful batch.
        """
        by_order_id, id = prevailing_id(self.order)
        items = [
            item
            for item in reply.orders
            if (item.order_id if by_order_id else item.client_oid) == id
        ]
        batch_accepted = isinstance(reply, TradeReply) and reply.code_class is _ACCEPTED
        if not items:
            item_accepted = any(
                CLASSES[reply.dialect][item.code] is _ACCEPTED for item in reply.orders
            )
            return None if batch_accepted or item_accepted else reply
        if len(items) > 1:
            return None
        (item,) = items
        answer = TradeReply(
            id=self.id,
            names_request=True,
            code=item.code,
            message=item.message,
            exchange_ts=reply.exchange_ts,
            dialect=reply.dialect,
            orders=(item,),
        )
        return answer if batch_accepted or answer.code_class is not _ACCEPTED else None

    def unresolved(
        self,
        why: WhyUnresolved,
        now: float,
        code: str | None = None,
        message: str | None = None,
        hint: str | None = None,
    ) -> Unresolved:
        """Return an `Unresolved` outcome for the cancel."""
        sent = self.sent_at != inf
        return Unresolved(
            id=self.id,
            order=self.order,
            taken_at=self.taken_at,
            sent_at=self.sent_at if sent else None,
            resolved_at=now,
            sent=sent,
            why=why,
            code=code,
            message=message,
            hint=hint,
        )


Batch: TypeAlias = tuple[OpenCancel, ...]
"""The cancels of one frame."""


class InFlight:
    """The cancels of one connection that have no outcome yet."""

    __slots__ = (
        "_answer_timeout",
        "_deadlines",
        "_late_ids",
        "_limit",
        "_queue_timeout",
        "_taken",
        "batches",
        "late",
        "queue",
        "sent",
    )

    def __init__(self, config: Config) -> None:
        self._queue_timeout, self._answer_timeout = config.queue_timeout, config.answer_timeout
        self._late_ids = config.late_ids
        self._limit = config.max_in_flight
        self._taken = 0
        self._deadlines: Deadlines[OpenCancel] = Deadlines()
        self.queue: CancelQueue[OpenCancel] = CancelQueue()
        """The cancels that were not sent."""
        self.sent: OrderedDict[str, OpenCancel] = OrderedDict()
        """The cancels that were sent, the oldest first."""
        self.late: OrderedDict[str, CancelOrder] = OrderedDict()
        """The orders of cancels that were sent and ended `Unresolved`, by id, the oldest first."""
        self.batches: OrderedDict[str, Batch] = OrderedDict()
        """The batches that were sent and not answered, by the id of their frame, the oldest first.

        Their cancels may have ended."""

    def __len__(self) -> int:
        return self.queue.size + len(self.sent)

    @property
    def room(self) -> int:
        """The number of further cancels for which there is room."""
        return sys.maxsize if self._limit is None else self._limit - len(self)

    def check_room(self, count: int) -> None:
        """Raise NoRoom if there is no room for `count` more cancels."""
        if self._limit is not None and len(self) + count > self._limit:
            raise no_room_error(self._limit, len(self), count)

    def in_order(self) -> list[OpenCancel]:
        """Return all cancels, in the order in which they were taken."""
        both = {cancel.id: cancel for cancel in self.queue} | self.sent
        return sorted(both.values(), key=_in_order)

    def id_conflict(self, id: str) -> str | None:
        """Return why this id cannot be used for a new request, as text for an error message; None
        if it can.
        """
        if id in self.sent or self.queue.get(id) is not None:
            return IN_FLIGHT
        return MAY_BE_ANSWERED if id in self.late or id in self.batches else None

    # --- adding, sending, settling ---

    def make(
        self, id: str, order: CancelOrder, taken_at: float, until: float, rank: Rank
    ) -> OpenCancel:
        """Return a new cancel, not yet added; `until` is when its own timeout ends."""
        self._taken += 1
        return OpenCancel(id, order, taken_at, until, self._taken, rank)

    def enqueue(self, id: str, order: CancelOrder, now: float, until: float, rank: Rank) -> None:
        """Add a new cancel to the queue; `until` is when its own timeout ends."""
        cancel = self.make(id, order, now, until, rank)
        self._set_deadline(cancel, after(now, self._queue_timeout))
        self.queue.add(cancel)

    def mark_sent(self, cancel: OpenCancel, now: float) -> None:
        """Move a cancel to `sent`: its frame is sent now."""
        cancel.sent_at = now
        self.sent[cancel.id] = cancel
        self.queue.discard(cancel)
        timeout = self._answer_timeout
        self._set_deadline(cancel, inf if timeout is None else now + timeout)

    def add_batch(self, id: str, batch: Batch) -> None:
        """Remember a batch that is sent in a frame with this id."""
        self.batches[id] = batch
        if self._late_ids is not None and len(self.batches) > self._late_ids:
            for old, cancels in self.batches.items():
                if not any(self.sent.get(cancel.id) is cancel for cancel in cancels):
                    del self.batches[old]
                    break

    def mark_unsent(self, ids: Iterable[str]) -> None:
        """Mark cancels as not sent: not one byte of their frames was written."""
        named = set(ids)
        for batch in self.batches.values():
            # Skip a cancel that has ended if a newer cancel has its id.
            if any(
                cancel.id in named and self.sent.get(cancel.id, cancel) is cancel
                for cancel in batch
            ):
                named.update(cancel.id for cancel in batch)
        for id in named:
            if id in self.sent:
                self.sent[id].sent_at = inf

    def settle(self, cancel: OpenCancel, outcome: Outcome) -> None:
        """Remove a cancel. Add its outcome to the outputs of the connection before this call."""
        if type(outcome) is Unresolved and outcome.sent:
            self.late[cancel.id] = cancel.order
            if self._late_ids is not None and len(self.late) > self._late_ids:
                self.late.popitem(last=False)
        if self.sent.pop(cancel.id, None) is None:
            self.queue.discard(cancel)
        if cancel.timeout_at != inf:
            self._deadlines.set(cancel, inf)

    def clear(self) -> None:
        """Remove all cancels."""
        self.queue.clear()
        self.sent.clear()
        self.late.clear()
        self.batches.clear()
        self._deadlines.clear()

    # --- replies ---

    def event_for_unmatched(
        self, id: str, reply: TradeReply | ErrorReply, message: str | bytes
    ) -> LateReply | Unrecognised:
        """Return the event for a reply to a request that is not in `sent`."""
        waits, order = self.queue.get(id) is not None, self.late.get(id)
        if order is not None and not waits:
            return LateReply(
                id=id,
                order=order,
                code=reply.code,
                code_class=reply.code_class,
                message=reply.message,
                exchange_ts=reply.exchange_ts,
                text=as_text(message),
            )
        why = WhyUnrecognised.NEVER_SENT if waits else WhyUnrecognised.UNKNOWN_ID
        return Unrecognised(text=as_text(message), why=why)

    # --- deadlines ---

    def next_deadline(self) -> float:
        """Return the first deadline; infinity if there is none."""
        until = self._deadlines.until
        for oldest in self.sent.values():
            until = min(until, oldest.deadline)
            break
        if self.queue.size:
            until = min(until, *[cancel.deadline for cancel in self.queue.heads()])
        return until

    def first_to_expire(self) -> OpenCancel:
        """Return the cancel with the first deadline; if several have it, the one taken first."""
        firsts = [*self.queue.heads(), *islice(self.sent.values(), 1)]
        first = self._deadlines.first()
        return min(firsts if first is None else [*firsts, first], key=_by_deadline)

    def _set_deadline(self, cancel: OpenCancel, deadline: float) -> None:
        """Set the deadline, or the end of the cancel's own timeout if that is earlier.

        Without a timeout of their own, cancels expire in the order of `queue` or `sent`, so the
        first entry has the first deadline. Only cancels with a timeout need `_deadlines`.
        """
        if cancel.timeout_at == inf:
            cancel.deadline = deadline
        else:
            self._deadlines.set(cancel, min(deadline, cancel.timeout_at))


def _in_order(cancel: OpenCancel) -> int:
    return cancel.number


def _by_deadline(cancel: OpenCancel) -> tuple[float, int]:
    return cancel.deadline, cancel.number
