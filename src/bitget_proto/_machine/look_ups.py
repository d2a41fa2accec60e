"""The look-ups of a reconciler: what is asked next, and when the exchange's limits allow it.

"The rate limit of each API interface is calculated independently": look-ups of one order, of open
orders and of the history each have their own limit. Look-ups of futures orders also count against a
second limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from math import inf

from .._values.order_updates import OneOrder, OpenOrders, OrderHistory
from .._values.orders import InstType
from .look_up_line import LookUpLine, PageScan, PendingLookUp, retry_after
from .rate_limit import MARGIN, WINDOW, SlidingWindow
from .reconciler_config import ReconcilerConfig
from .tracked_orders import Tracked

_FUTURES = frozenset((InstType.USDT_FUTURES, InstType.COIN_FUTURES, InstType.USDC_FUTURES))

_LATE = 256
"""Look-ups that were not answered in time and whose replies still count. Our choice."""


class LookUps:
    """The look-ups of one reconciler, by product line."""

    __slots__ = (
        "_all_paces",
        "_config",
        "_count",
        "_futures_paces",
        "_late",
        "_lines",
        "_resumes",
        "_throttled",
        "_unanswered",
    )  # fmt: skip

    def __init__(self, config: ReconcilerConfig) -> None:
        self._config = config
        self._count = 0
        self._lines: OrderedDict[InstType | None, LookUpLine] = OrderedDict()
        """The product lines, the one that asked last at the end."""
        kinds = (OneOrder, OpenOrders, OrderHistory)
        self._all_paces = {kind: _pace(config.look_ups_per_second) for kind in kinds}
        self._futures_paces = {kind: _pace(config.futures_look_ups_per_second) for kind in kinds}
        self._unanswered: OrderedDict[int, PendingLookUp] = OrderedDict()
        self._late: OrderedDict[int, PendingLookUp] = OrderedDict()
        """Look-ups that were not answered in time."""
        self._throttled = 0
        """The number of pauses in a row."""
        self._resumes = -inf
        """When the last pause ends."""

    def add(self, tracked: Tracked, at: float) -> None:
        """Schedule the look-up of an order."""
        self.line_of(tracked).due.set(tracked, at)

    def discard(self, tracked: Tracked) -> None:
        """Forget an order that has its `Final`."""
        self.line_of(tracked).discard(tracked)

    def look_up_now(self, orders: Iterable[Tracked], now: float) -> None:
        """Look up at once the orders that only wait for a push."""
        for tracked in orders:
            if not tracked.was_asked and now < tracked.deadline < inf:
                self.line_of(tracked).schedule(tracked, now)

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._unanswered.clear()
        self._late.clear()

    # --- asking ---

    def next(self, now: float) -> PendingLookUp | float:
        """Return the look-up to ask now, or the earliest time at which one may be asked.

        Infinity means that only an input can lead to a look-up.
        """
        if len(self._unanswered) >= self._config.max_look_ups:
            return inf
        earliest = inf
        for line in self._lines.values():
            line.advance(now)
            earliest = min(earliest, line.due.until)
            scans = (line.open_orders, line.history)
            if not any(one.running for one in scans):
                earliest = min(earliest, *map(line.doubts_due, scans))
            for one in scans:
                if one.running and not one.waiting:
                    at = self._allowed_at(line, one)
                    if at <= now:
                        return self._ask(line, one, now)
                    earliest = min(earliest, at)
            for tracked in line.singles().values():
                at = self._allowed_at(line, tracked)
                if at <= now:
                    return self._ask(line, tracked, now)
                earliest = min(earliest, at)
                break
        return earliest

    def _allowed_at(self, line: LookUpLine, subject: Tracked | PageScan) -> float:
        kind = line.kind(subject)
        at = max(self._all_paces[kind].allowed_at(), self._resumes)
        if line.inst_type in _FUTURES:
            at = max(at, self._futures_paces[kind].allowed_at())
        return max(at, subject.not_before) if isinstance(subject, PageScan) else at

    def _ask(self, line: LookUpLine, subject: Tracked | PageScan, now: float) -> PendingLookUp:
        kind = line.kind(subject)
        self._all_paces[kind].take(now)
        if line.inst_type in _FUTURES:
            self._futures_paces[kind].take(now)
        self._count += 1
        until = now + self._config.answer_timeout
        asked = PendingLookUp(self._count, line.question(subject), line, subject, now, until)
        self._unanswered[asked.number] = asked
        line.mark_asked(subject, now)
        self._lines.move_to_end(line.inst_type)
        return asked

    # --- replies ---

    def answered(self, number: int) -> tuple[PendingLookUp | None, bool]:
        """Return the look-up of a reply, and whether the reply came in time.

        None means that no look-up has this number, or that it was answered before.
        """
        asked = self._unanswered.pop(number, None)
        if asked is not None:
            return asked, True
        return self._late.pop(number, None), False

    def first_unanswered(self) -> PendingLookUp | None:
        """Return the oldest look-up without a reply; None if there is none."""
        return next(iter(self._unanswered.values()), None)

    def give_up(self, asked: PendingLookUp, now: float) -> None:
        """Count a look-up as failed, because its reply did not come in time."""
        self._late[asked.number] = asked
        del self._unanswered[asked.number]
        if len(self._late) > _LATE:
            self._late.popitem(last=False)
        self.failed(asked, now)

    def succeeded(self, asked: PendingLookUp) -> None:
        """Handle a reply that is not a failure."""
        if asked.asked_at >= self._resumes:
            self._throttled = 0

    def failed(self, asked: PendingLookUp, now: float, *, throttled: bool = False) -> None:
        """Schedule a failed look-up again. After "too many requests", pause all look-ups."""
        # If several look-ups were asked together, only the first failure starts a pause.
        if throttled and asked.asked_at >= self._resumes:
            self._throttled += 1
            self._resumes = now + retry_after(self._throttled)
        line, subject = asked.line, asked.subject
        if isinstance(subject, PageScan):
            line.page_failed(subject, now, throttled=throttled)
        elif throttled:
            line.schedule(subject, now)
        else:
            subject.tries += 1
            line.schedule(subject, now + retry_after(subject.tries))

    def line_of(self, tracked: Tracked) -> LookUpLine:
        """Return the product line of an order."""
        inst_type = tracked.order.inst_type
        line = self._lines.get(inst_type)
        if line is None:
            line = self._lines[inst_type] = LookUpLine(inst_type, self._config)
        return line


def _pace(limit: int | None) -> SlidingWindow:
    return SlidingWindow(limit, WINDOW + MARGIN)
