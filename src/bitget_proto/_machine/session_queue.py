"""The cancels of a session that have no outcome yet.

The queue also decides which cancel is sent next, of those that no link holds.
"""

from __future__ import annotations

import sys
from math import inf

from .._values.orders import CancelOrder
from .arguments import no_room_error
from .cancel_attempts import Cancel
from .cancel_queue import CancelQueue, Rank
from .deadlines import Deadlines, after
from .order_spacing import Spacing
from .session_config import Policy, SessionConfig


class SessionQueue:
    """The cancels of one session that have no outcome yet."""

    __slots__ = (
        "_deadlines",
        "_limit",
        "_oids_unique",
        "_queue_timeout",
        "_resends",
        "_rest_after",
        "_spacing",
        "_taken",
        "open",
        "waiting",
    )

    def __init__(self, config: SessionConfig) -> None:
        self._limit = config.link.max_in_flight
        self._oids_unique = config.client_oids_unique
        self._queue_timeout = config.link.queue_timeout
        self._rest_after = config.rest_after
        self._taken = 0
        self._deadlines: Deadlines[Cancel] = Deadlines()
        """The deadlines of the cancels in `waiting` that may expire out of order."""
        self._spacing = Spacing(config.resend_interval)
        self._resends = False
        """Whether any cancel may be sent again; if not, the spacing is not needed."""
        self.open: dict[str, Cancel] = {}
        """All cancels without an outcome, by id."""
        self.waiting: CancelQueue[Cancel] = CancelQueue()
        """The cancels that no link holds."""

    def __len__(self) -> int:
        return len(self.open)

    @property
    def room(self) -> int:
        """The number of further cancels for which there is room."""
        return sys.maxsize if self._limit is None else self._limit - len(self)

    def check_room(self, count: int) -> None:
        """Raise NoRoom if there is no room for `count` more cancels."""
        if self._limit is not None and len(self) + count > self._limit:
            raise no_room_error(self._limit, len(self), count)

    def take(
        self, id: str, order: CancelOrder, now: float, until: float, policy: Policy, *, urgent: bool
    ) -> None:
        """Add a new cancel, which waits to be sent."""
        resend = policy is Policy.RESEND and (order.order_id is not None or self._oids_unique)
        self._taken += 1
        rank = Rank.URGENT if urgent else Rank.NORMAL
        queue_until = after(now, self._queue_timeout)
        cancel = Cancel(id, order, now, queue_until, until, self._taken, rank, resend)
        self._resends = self._resends or resend
        self.open[id] = cancel
        self._wait(cancel, now)

    def give_back(self, cancel: Cancel, now: float) -> None:
        """Queue a cancel again after its link has ended, or REST has not taken it."""
        cancel.rank, cancel.returned = cancel.rank.returned(), True
        self._wait(cancel, now)

    def mark_sent(self, cancel: Cancel, now: float) -> None:
        """Remove a cancel from `waiting`: it was sent, on a link that now holds it or by REST."""
        self._stop_waiting(cancel)
        if self._resends:
            self._spacing.handed_out(cancel.order, now)

    def remove(self, cancel: Cancel) -> None:
        """Remove a cancel that has its outcome."""
        del self.open[cancel.id]
        self._stop_waiting(cancel)

    def clear(self) -> None:
        """Remove all cancels."""
        self.open.clear()
        self.waiting.clear()
        self._deadlines.clear()

    def next(self, now: float) -> tuple[Cancel | None, float]:
        """Return the cancel to send now, or None, and the time from which one may be sent."""
        first = self.waiting.first(now)
        if first is not None and first.sent_at is None:
            return first, now
        return self.waiting.first_open(now, self.spaced_until)

    def next_by_rest(self, now: float) -> tuple[Cancel | None, float]:
        """Return the cancel to send by REST now, or None, and the time from which one may be."""
        return self.waiting.first_open(now, self._rest_allowed_at)

    def first_without_link(self) -> list[Cancel]:
        """Return waiting cancels, among them the one whose time without a link ends first."""
        first = self.waiting.heads()
        # Cancels come back from REST in any order.
        return first if self._rest_after is None else first + self.waiting.returned()

    def in_order(self) -> list[Cancel]:
        """Return the waiting cancels, in the order in which they were taken."""
        return sorted(self.waiting, key=_in_order)

    def due(self) -> float:
        """Return the first deadline of the waiting cancels; infinity if there is none."""
        until = self._deadlines.until
        if self.waiting.size:
            until = min(until, *[cancel.deadline for cancel in self.waiting.heads()])
        return until

    def expired(self, now: float) -> Cancel | None:
        """Return a waiting cancel whose deadline has expired, or None."""
        first = self._deadlines.first()
        heads = self.waiting.heads() if first is None else [first, *self.waiting.heads()]
        for cancel in heads:
            if cancel.deadline <= now:
                return cancel
        return None

    def _wait(self, cancel: Cancel, now: float) -> None:
        self.waiting.add(cancel)
        if self._rest_after is not None:
            cancel.rest_at = now + self._rest_after
        # New cancels without a timeout of their own expire in the order of their rank's queue, so
        # the first of each rank has the first deadline. Only the others need `_deadlines`.
        if cancel.timeout_at == inf and not cancel.returned:
            cancel.deadline = cancel.queue_until
        else:
            self._deadlines.set(cancel, min(cancel.queue_until, cancel.timeout_at))

    def _stop_waiting(self, cancel: Cancel) -> None:
        self.waiting.discard(cancel)
        if cancel.timeout_at != inf or cancel.returned:
            self._deadlines.set(cancel, inf)

    def spaced_until(self, cancel: Cancel) -> float:
        """Return when a cancel may be sent, after earlier cancels of the same order."""
        return -inf if cancel.sent_at is None else self._spacing.allowed_at(cancel.order)

    def _rest_allowed_at(self, cancel: Cancel) -> float:
        return max(cancel.rest_at, self.spaced_until(cancel))


def _in_order(cancel: Cancel) -> int:
    return cancel.number
