"""The look-ups of one product line: which orders are due, and what is asked next.

Up to four orders that are due are looked up one by one. From five on, pages are cheaper: a round
reads the open orders and the history in parallel. An order that rounds repeatedly do not show is
looked up alone.

An order that the exchange says does not exist is doubted. A scan of the open orders that lacks
it proves that it is not open. A scan of the history that begins `settle` seconds after that
proves that it has not ended either, even if REST is behind.

Rules for changes
- An order without a `Final` is in exactly one of `due`, `ready`, `one_by_one` and `round`, or its
  own look-up is unanswered. It may be in `doubted` as well.
- `Reconciler` first takes the evidence of every reply. This module then only decides what is asked
  next.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import attrs

from .._values.finals import Evidence
from .._values.order_updates import OneOrder, OpenOrders, OrderHistory, OrderPage, Question
from .._values.orders import InstType
from .deadlines import Deadlines
from .reconciler_config import ReconcilerConfig
from .tracked_orders import Tracked

_PAGES_FROM = 5
"""The number of due orders of a product line from which pages are cheaper. Our choice."""

_FIRST_RETRY, _LAST_RETRY = 1.0, 8.0
"""Seconds to wait after look-ups that showed nothing; they double. Our choice."""

_PAGE_TRIES = 2
"""Failures of a page after which its scan is given up. Our choice."""


def retry_after(tries: int) -> float:
    """Return how many seconds to wait after `tries` failures in a row."""
    return min(_FIRST_RETRY * 2.0 ** min(tries - 1, 10), _LAST_RETRY)


@attrs.define(eq=False)
class PageScan:
    """A scan of the open orders or the history, page by page."""

    evidence: Evidence
    """OPEN_ORDERS or HISTORY."""

    begun: float = inf
    """When its first page was asked; infinity if none was."""

    running: bool = False
    for_round: bool = False
    """Whether it reads for a round, and not only for doubted orders."""

    waiting: bool = False
    """Whether a page is unanswered."""

    page: str | None = None
    pages: int = 0
    """The number of pages read."""

    tries: int = 0
    """The number of failures of this page."""

    not_before: float = -inf
    """When it may go on, or begin again."""

    doubts_from: float = -inf
    """When it may begin again for doubted orders alone, so that one scan serves several."""

    def start(self, *, for_round: bool) -> None:
        """Begin at the first page."""
        self.begun, self.running, self.for_round, self.page, self.pages = (
            inf,
            True,
            for_round,
            None,
            0,
        )

    def stop(self) -> None:
        """End the scan."""
        self.running = self.for_round = False
        self.tries = 0


@attrs.frozen(eq=False)
class PendingLookUp:
    """A look-up without a reply."""

    number: int
    question: Question
    line: LookUpLine
    subject: Tracked | PageScan
    asked_at: float
    until: float
    """When it counts as failed."""


class LookUpLine:
    """The look-ups of one product line."""

    __slots__ = (
        "_config",
        "doubted",
        "due",
        "history",
        "inst_type",
        "one_by_one",
        "open_orders",
        "ready",
        "round",
        "round_size",
    )

    def __init__(self, inst_type: InstType | None, config: ReconcilerConfig) -> None:
        self._config = config
        self.inst_type = inst_type
        self.due: Deadlines[Tracked] = Deadlines()
        """Orders whose look-up is scheduled, by its time."""
        self.ready: dict[int, Tracked] = {}
        """Orders that are due: the time of their look-up has come."""
        self.one_by_one: dict[int, Tracked] = {}
        """Orders that are due, and to be looked up one by one because pages did not show them."""
        self.round: dict[int, Tracked] = {}
        """Orders for which the round reads pages, and that the pages have not shown yet."""
        self.round_size = 0
        """How many orders the round began with. For these it reads at most as many pages."""
        self.doubted: dict[int, Tracked] = {}
        """Orders that do not exist according to the exchange, and that nothing has shown."""
        self.open_orders = PageScan(Evidence.OPEN_ORDERS)
        self.history = PageScan(Evidence.HISTORY)

    # --- what is asked next ---

    def advance(self, now: float) -> None:
        """Collect what is due, and begin the scans that are needed."""
        while self.due.until <= now and (tracked := self.due.first()) is not None:
            self.ready[tracked.number] = tracked
            self.due.set(tracked, inf)
        scans = (self.open_orders, self.history)
        if any(one.running for one in scans):
            return
        if len(self.ready) >= _PAGES_FROM and all(one.not_before <= now for one in scans):
            self.round, self.ready = self.ready, {}
            self.round_size = len(self.round)
            for one in scans:
                one.start(for_round=True)
            return
        for one in scans:
            if self.doubts_due(one) <= now:
                one.start(for_round=False)

    def doubts_due(self, one: PageScan) -> float:
        """Return when a scan is due for a doubted order; infinity if none is."""
        if not self.doubted:
            return inf
        since = [tracked.history_from for tracked in self.doubted.values()]
        due = min(since) if one is self.history else -inf if inf in since else inf
        return max(due, one.not_before, one.doubts_from)

    def singles(self) -> dict[int, Tracked]:
        """Return the orders to look up one by one now."""
        if self.one_by_one:
            return self.one_by_one
        # Failing pages must not delay an order.
        failing = self.open_orders.tries or self.history.tries
        reading = self.open_orders.running or self.history.running
        return self.ready if len(self.ready) < _PAGES_FROM or failing or not reading else {}

    def question(self, subject: Tracked | PageScan) -> Question:
        """Return the question that looks an order up, or reads the next page."""
        if isinstance(subject, Tracked):
            return OneOrder(subject.order)
        if subject is self.open_orders:
            return OpenOrders(self.inst_type, page=subject.page)
        return OrderHistory(self.inst_type, page=subject.page)

    def kind(self, subject: Tracked | PageScan) -> type[Question]:
        """Return the class of the question for this subject. Each class has its own rate limit."""
        if isinstance(subject, Tracked):
            return OneOrder
        return OpenOrders if subject is self.open_orders else OrderHistory

    def mark_asked(self, subject: Tracked | PageScan, now: float) -> None:
        """Mark a look-up as asked."""
        if isinstance(subject, Tracked):
            self.one_by_one.pop(subject.number, None)
            self.ready.pop(subject.number, None)
            subject.was_asked = True
        else:
            subject.waiting = True
            if subject.page is None:
                subject.begun = now

    # --- what came of it ---

    def schedule(self, tracked: Tracked, at: float) -> None:
        """Schedule the look-up of an order, unless the order has its `Final`."""
        if not tracked.done:
            self.due.set(tracked, at)

    def discard(self, tracked: Tracked) -> None:
        """Forget an order that has its `Final`."""
        for orders in (self.ready, self.one_by_one, self.round, self.doubted):
            orders.pop(tracked.number, None)
        self.due.set(tracked, inf)

    def inconclusive(self, tracked: Tracked, asked_at: float | None, now: float) -> None:
        """Handle an update that showed an order, but proved nothing."""
        self.doubted.pop(tracked.number, None)
        if asked_at is not None and self.round.pop(tracked.number, None) is not None:
            self.retry(tracked, asked_at, now)

    def retry(self, tracked: Tracked, asked_at: float, now: float) -> None:
        """Look an order up again, after a look-up at `asked_at` that proved nothing.

        It is due at `settled_at` if that look-up was earlier, and after a pause if not.
        """
        tracked.was_asked = True
        if asked_at < tracked.settled_at:
            self.schedule(tracked, max(tracked.settled_at, now))
        else:
            tracked.tries += 1
            self.schedule(tracked, now + retry_after(tracked.tries))

    def doubt(self, tracked: Tracked, asked_at: float) -> None:
        """Handle "no such order", which is a proof only together with both scans."""
        if (
            asked_at >= tracked.settled_at
            and tracked.order.order_id is not None
            and tracked.evidence is None
        ):
            self.doubted[tracked.number] = tracked

    def read(self, one: PageScan, reply: OrderPage, now: float) -> list[Tracked]:
        """Handle a page; return the orders that are proved not to exist."""
        one.waiting, one.tries = False, 0
        one.pages, one.page = one.pages + 1, reply.next_page
        whole = reply.next_page is None
        if not whole and one.pages < self._config.max_pages and self._needs(one):
            return []
        missing: list[Tracked] = []
        if one is self.history:
            missing = [each for each in self.doubted.values() if each.history_from <= one.begun]
        elif whole:
            for tracked in self.doubted.values():
                if tracked.settled_at <= one.begun and tracked.history_from == inf:
                    tracked.history_from = now + self._config.settle
        self._stop(one, now)
        return missing

    def page_failed(self, one: PageScan, now: float, *, throttled: bool) -> None:
        """Handle a look-up of a page that failed."""
        one.waiting = False
        if throttled:
            return
        one.tries += 1
        one.not_before = now + retry_after(one.tries)
        if one.tries >= _PAGE_TRIES:
            one.not_before = now + _LAST_RETRY
            if one.for_round:
                self._look_up_one_by_one(self.round.values())
            self._stop(one, now)

    def _needs(self, one: PageScan) -> bool:
        """Return whether the next page may show or prove anything."""
        if one.for_round and self.round and one.pages < self.round_size:
            return True
        if one is self.open_orders:
            return any(each.history_from == inf for each in self.doubted.values())
        return any(each.history_from <= one.begun for each in self.doubted.values())

    def _stop(self, one: PageScan, now: float) -> None:
        """End a scan. If it is the second scan of a round, end the round."""
        of_round = one.for_round
        one.stop()
        one.doubts_from = now + self._config.settle
        if not of_round or self.open_orders.for_round or self.history.for_round:
            return
        left, self.round = list(self.round.values()), {}
        for tracked in left:
            tracked.was_asked = True
            if tracked.settled_at > one.begun:
                self.schedule(tracked, max(tracked.settled_at, now))
            else:
                tracked.tries += 1
                if tracked.tries > 1:
                    self.one_by_one[tracked.number] = tracked
                else:
                    self.schedule(tracked, now + _FIRST_RETRY)

    def _look_up_one_by_one(self, orders: Iterable[Tracked]) -> None:
        for tracked in list(orders):
            self.round.pop(tracked.number)
            self.one_by_one[tracked.number] = tracked
