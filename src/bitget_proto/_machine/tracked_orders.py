"""The orders of a reconciler that have no `Final`, and how an update of the exchange finds them.

Rules for changes
- An `order_id` always names the same order. A `client_oid` names an order only if the caller says
  that its ids are never reused, and only until the `order_id` is known.
- The end states of the last orders are kept, tracked or not: a push may come before `track`.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from math import inf

import attrs

from .._values.errors import ValidationError
from .._values.events import Accepted, Outcome
from .._values.finals import Evidence
from .._values.order_updates import OrderStatus, OrderUpdate
from .._values.orders import CancelOrder

_MAX_ENDS = 4096
"""End states that are kept. Our choice."""

_ENDED = (OrderStatus.CANCELLED, OrderStatus.FILLED)


@attrs.define(eq=False)
class Tracked:
    """An order without a `Final`."""

    number: int
    outcome: Outcome
    order: CancelOrder
    """The order, with its `order_id` as soon as it is known."""

    tracked_at: float
    settled_at: float
    """From when a look-up shows what was true after `tracked_at`, even if REST is behind."""

    final_at: float
    """When it ends `Unknown`."""

    client_oid: str | None
    """The caller's id of the order, as far as it is known."""

    done: bool = False
    """Whether it has its `Final`."""

    filled: Decimal | None = None
    """The largest fill that was shown."""

    average_price: Decimal | None = None
    evidence: Evidence | None = None
    """What showed the order last; None if nothing did."""

    # How it is looked up.
    deadline: float = inf
    """When it is to be looked up; infinity if no look-up is scheduled."""

    version: int = 0
    was_asked: bool = False
    """Whether it was looked up, alone or by pages."""

    tries: int = 0
    """The number of look-ups that showed nothing."""

    history_from: float = inf
    """A scan of the history that begins at this time or later, and does not show the order,
    proves that it does not exist. The time is `settle` seconds after the end of a scan of the
    open orders that did not show it; infinity before such a scan."""

    def learn(self, update: OrderUpdate, evidence: Evidence) -> None:
        """Keep the ids, the largest fill, and the average price that belongs to it."""
        self.evidence = evidence
        if self.client_oid is None:
            self.client_oid = update.client_oid
        filled = update.filled
        if filled is None or not filled.is_finite():
            return
        if self.filled is None or filled > self.filled:
            self.filled, self.average_price = filled, update.average_price
        elif filled == self.filled and update.average_price is not None:
            self.average_price = update.average_price


def has_ended(update: OrderUpdate) -> bool:
    """Return whether the update shows that the order cannot change any more."""
    return update.status in _ENDED


def order_of(outcome: Outcome) -> CancelOrder:
    """Return the order of an outcome, with the `order_id` that the exchange's answer named."""
    order = outcome.order
    if order.order_id is None and isinstance(outcome, Accepted) and outcome.order_id is not None:
        return _with_order_id(order, outcome.order_id)
    return order


def _with_order_id(order: CancelOrder, order_id: str) -> CancelOrder:
    """Return the order with this id, or as it is if no order can have such an id."""
    try:
        return CancelOrder(order.inst_id, order_id, order.client_oid, order.inst_type)
    except ValidationError:
        return order


class TrackedOrders:
    """The orders without a `Final`, in the order in which they were tracked."""

    __slots__ = ("_by_client_oid", "_by_order_id", "_end_ids", "_ends", "_unique", "all")

    def __init__(self, *, client_oids_unique: bool) -> None:
        self._unique = client_oids_unique
        self.all: OrderedDict[int, Tracked] = OrderedDict()
        self._by_order_id: dict[str, list[Tracked]] = {}
        self._by_client_oid: dict[str, list[Tracked]] = {}
        self._ends: OrderedDict[str, tuple[OrderUpdate, Evidence]] = OrderedDict()
        """The last end states by `order_id`, the oldest first."""
        self._end_ids: dict[str, str] = {}
        """The `order_id` of each end state by `client_oid`, if client ids are never reused."""

    def clear(self) -> None:
        """Forget everything."""
        self.all.clear()
        self._by_order_id.clear()
        self._by_client_oid.clear()
        self._ends.clear()
        self._end_ids.clear()

    def is_named(self, order: CancelOrder) -> bool:
        """Return whether the ids name exactly one order."""
        return order.order_id is not None or self._unique

    def add(self, tracked: Tracked) -> None:
        """Add an order. The caller settles it at once if `is_named` is false for it."""
        self.all[tracked.number] = tracked
        self._index(tracked)

    def remove(self, tracked: Tracked) -> None:
        """Remove an order that has its `Final`."""
        tracked.done = True
        del self.all[tracked.number]
        order = tracked.order
        if order.order_id is not None:
            _take_out(self._by_order_id, order.order_id, tracked)
        else:
            _take_out(self._by_client_oid, str(order.client_oid), tracked)

    def find(self, update: OrderUpdate) -> list[Tracked]:
        """Return the tracked orders that an update is about."""
        found: list[Tracked] = []
        if update.order_id is not None:
            found += self._by_order_id.get(update.order_id, ())
        if update.client_oid is not None:
            by_client_oid = self._by_client_oid.get(update.client_oid, ())
            found += by_client_oid
            if update.order_id is not None:
                for tracked in list(by_client_oid):
                    self._learn_order_id(tracked, update.client_oid, update.order_id)
        return found

    def remember(self, update: OrderUpdate, evidence: Evidence) -> None:
        """Keep an end state."""
        if update.order_id is None:
            return
        ends = self._ends
        ends.setdefault(update.order_id, (update, evidence))
        if self._unique and update.client_oid is not None:
            self._end_ids[update.client_oid] = update.order_id
        if len(ends) > _MAX_ENDS:
            _, (oldest, _) = ends.popitem(last=False)
            self._end_ids.pop(oldest.client_oid or "", None)

    def end_of(self, order: CancelOrder) -> tuple[OrderUpdate, Evidence] | None:
        """Return the end state of an order, if it was shown before, and what showed it."""
        order_id = order.order_id
        if order_id is None:
            order_id = self._end_ids.get(str(order.client_oid), "")
        return self._ends.get(order_id)

    def _index(self, tracked: Tracked) -> None:
        order = tracked.order
        if order.order_id is not None:
            self._by_order_id.setdefault(order.order_id, []).append(tracked)
        else:
            self._by_client_oid.setdefault(str(order.client_oid), []).append(tracked)

    def _learn_order_id(self, tracked: Tracked, client_oid: str, order_id: str) -> None:
        order = _with_order_id(tracked.order, order_id)
        if order is not tracked.order:
            tracked.order = order
            self._index(tracked)
            _take_out(self._by_client_oid, client_oid, tracked)


def _take_out(index: dict[str, list[Tracked]], id: str, tracked: Tracked) -> None:
    same = index[id]
    same.remove(tracked)
    if not same:
        del index[id]
