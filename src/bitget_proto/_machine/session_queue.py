"""The cancels of a session that have no outcome yet, and which of those that no link holds is next."""

from __future__ import annotations

from math import inf

from .._values.orders import CancelOrder
from .cancel_attempts import Cancel
from .cancel_queue import CancelQueue, Rank
from .deadlines import Deadlines, after
from .order_spacing import Spacing
from .session_config import SessionConfig


class SessionQueue:
    """The open cancels of one session."""

    __slots__ = (
        "_deadlines",
        "_queue_timeout",
        "_resends",
        "_spacing",
        "_taken",
        "open",
        "waiting",
    )

    def __init__(self, config: SessionConfig) -> None:
        self._queue_timeout = config.link.queue_timeout
        self._taken = 0
        self._deadlines: Deadlines[Cancel] = Deadlines()
        """The deadlines of those in `waiting` that do not come in order."""
        self._spacing = Spacing(config.resend_interval)
        self._resends = False
        """Whether any cancel may be sent again; until then the spacing is not needed."""
        self.open: dict[str, Cancel] = {}
        """All that have no outcome."""
        self.waiting: CancelQueue[Cancel] = CancelQueue()
        """Those that no link holds."""

    def __len__(self) -> int:
        return len(self.open)

    def take(
        self, id: str, order: CancelOrder, now: float, until: float, *, resend: bool, urgent: bool
    ) -> None:
        """Add a new cancel, which waits for a link."""
        self._taken += 1
        rank = Rank.URGENT if urgent else Rank.NORMAL
        queue_until = after(now, self._queue_timeout)
        cancel = Cancel(id, order, now, queue_until, until, self._taken, rank, resend)
        self._resends = self._resends or resend
        self.open[id] = cancel
        self._wait(cancel)

    def give_back(self, cancel: Cancel) -> None:
        """Let a cancel wait again: its link has ended."""
        cancel.rank, cancel.returned = cancel.rank.returned(), True
        self._wait(cancel)

    def hand_out(self, cancel: Cancel, now: float) -> None:
        """A link holds the cancel from now on."""
        self._stop_waiting(cancel)
        if self._resends:
            self._spacing.handed_out(cancel.order, now)

    def remove(self, cancel: Cancel) -> None:
        """The cancel has its outcome."""
        del self.open[cancel.id]
        self._stop_waiting(cancel)

    def clear(self) -> None:
        """Forget them all."""
        self.open.clear()
        self.waiting.clear()
        self._deadlines.clear()

    def next(self, now: float) -> tuple[Cancel | None, float]:
        """Return the cancel that may be sent now; else None, and when one may."""
        first = self.waiting.first(now)
        if first is not None and first.sent_at is None:
            return first, now
        return self.waiting.first_open(now, self._spaced_until)

    def in_order(self) -> list[Cancel]:
        """Return those that wait, in the order taken."""
        return sorted(self.waiting, key=_in_order)

    def due(self) -> float:
        """Return when the first deadline of those that wait is due; infinity for none."""
        until = self._deadlines.until
        if self.waiting.size:
            until = min(until, *[cancel.deadline for cancel in self.waiting.heads()])
        return until

    def expired(self, now: float) -> Cancel | None:
        """Return a cancel that waits and whose deadline has passed."""
        first = self._deadlines.first()
        heads = self.waiting.heads() if first is None else [first, *self.waiting.heads()]
        for cancel in heads:
            if cancel.deadline <= now:
                return cancel
        return None

    def _wait(self, cancel: Cancel) -> None:
        self.waiting.add(cancel)
        # Cancels with the same timeout come in order, so the first of each rank is the first due.
        # Only the others need a place in `_deadlines`.
        if cancel.until == inf and not cancel.returned:
            cancel.deadline = cancel.queue_until
        else:
            self._deadlines.set(cancel, min(cancel.queue_until, cancel.until))

    def _stop_waiting(self, cancel: Cancel) -> None:
        self.waiting.discard(cancel)
        if cancel.until != inf or cancel.returned:
            self._deadlines.set(cancel, inf)

    def _spaced_until(self, cancel: Cancel) -> float:
        """Return when a cancel may be sent, with regard to earlier cancels of its order."""
        return -inf if cancel.sent_at is None else self._spacing.opens(cancel.order)


def _in_order(cancel: Cancel) -> int:
    return cancel.number
