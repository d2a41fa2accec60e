"""The orders of the scripted exchange, and the rate limits on cancelling them.

- An order has a size and a price. It may be filled, partly or completely, and it may be cancelled.
  Ended orders are remembered. Every change is kept with its time, because REST may be behind.
- An order is stored under each of its ids. A cancel with both ids is looked up by the exchange's
  id, which prevails.
- Refusals use the codes and messages of the exchange's documentation.
- Memory is bounded.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from decimal import Decimal
from math import inf
from typing import Literal, TypeAlias

import attrs

from ..._machine.rate_limit import SlidingWindow
from ..._values.dialects import Dialect
from ..._values.orders import CancelOrder, InstType

SAME_ORDER_INTERVAL = 1.0
"""Minimum seconds between two cancels of the same order.

Code 45129: "The same order may be cancelled once a second"."""

TOO_MANY = "429", "Too Many Requests"

_REMEMBERED = 10_000
"""The maximum number of ended orders, and of times of last cancels, that are remembered."""


Status: TypeAlias = Literal["live", "partially_filled", "filled", "cancelled"]


@attrs.frozen
class Moment:
    """The state of an order from a time on."""

    at: float
    status: Status
    filled: Decimal


@attrs.define(eq=False)
class BookOrder:
    """An order of the book, live or ended."""

    number: int
    """Its position in the order in which orders were placed."""

    order: CancelOrder
    size: Decimal
    price: Decimal
    moments: list[Moment]
    """Its states, the earliest first."""

    @property
    def last(self) -> Moment:
        """Its current state."""
        return self.moments[-1]

    def as_of(self, at: float) -> Moment | None:
        """Return its state at a time; None before it was placed."""
        return next((moment for moment in reversed(self.moments) if moment.at <= at), None)

    def change(self, now: float, status: Status, filled: Decimal) -> None:
        """Add a state."""
        self.moments.append(Moment(now, status, filled))


_Key: TypeAlias = tuple[object, ...]
"""The key of an order under one of its ids: whether the id is the exchange's, and the id.

For classic accounts, the product line and the instrument come first.
"""


class Book:
    """The live orders, the scripted refusals, and the rate limit of the account.

    `refusals` maps order ids to the codes with which their cancels are refused.
    `same_order_interval` is the minimum number of seconds between two cancels of an order. `jitter`
    is by how many seconds cancels may arrive closer together than the limits allow.
    `batches_per_second` limits batches; their orders then do not count as cancels.
    """

    def __init__(
        self,
        refusals: dict[str, str],
        cancels_per_second: int | None,
        jitter: float,
        same_order_interval: float | None = SAME_ORDER_INTERVAL,
        dialect: Dialect = Dialect.CLASSIC,
        batches_per_second: int | None = None,
    ) -> None:
        self._unified = dialect is Dialect.UNIFIED
        self._refusals = refusals
        self._jitter = jitter
        self._interval = same_order_interval
        self._live: dict[object, BookOrder] = {}
        self._ended: deque[BookOrder] = deque(maxlen=_REMEMBERED)
        self._placed = 0
        self._last_cancel: OrderedDict[object, float] = OrderedDict()
        self._allowance = SlidingWindow(cancels_per_second)
        self._batches = None if batches_per_second is None else SlidingWindow(batches_per_second)

    @property
    def live(self) -> tuple[CancelOrder, ...]:
        """The live orders, in the order they were placed."""
        return tuple(placed.order for placed in self._all_live())

    def newest_first(self) -> list[BookOrder]:
        """Return all live and remembered orders, the most recently placed first."""
        return sorted([*self._ended, *self._all_live()], key=_number, reverse=True)

    def place(
        self, order: CancelOrder, size: Decimal, price: Decimal, now: float = -inf
    ) -> BookOrder:
        """Add a live order, under each of its ids, and return it."""
        self._placed += 1
        moments = [Moment(now, "live", Decimal(0))]
        placed = BookOrder(self._placed, order, size, price, moments)
        for key in self._keys(order):
            self._live[key] = placed
        return placed

    def find(self, order: CancelOrder) -> BookOrder | None:
        """Return the live order that `order` names; None if there is none."""
        return self._live.get(self._key(order))

    def fill(self, placed: BookOrder, quantity: Decimal, now: float) -> None:
        """Fill a live order, in part or completely."""
        filled = placed.last.filled + quantity
        if filled < placed.size:
            placed.change(now, "partially_filled", filled)
        else:
            self._end(placed, now, "filled", filled)

    def knows(self, order: CancelOrder) -> bool:
        """Return whether a live order has one of the ids of `order`."""
        return any(key in self._live for key in self._keys(order))

    def cancel(
        self, order: CancelOrder, now: float, *, counted: bool = True
    ) -> tuple[str, str, BookOrder | None]:
        """Cancel an order, or refuse to; return the code, the message, and the cancelled order.

        If `counted` is false, the rate limit on cancels does not apply.
        """
        key = self._key(order)
        refusal = self._refusal(key, order, now, counted=counted)
        if refusal is not None:
            return (*refusal, None)
        gone = self._live[key]
        self._end(gone, now, "cancelled", gone.last.filled)
        return "0", "Success", gone

    def cancel_all(self, now: float) -> list[BookOrder]:
        """Cancel every live order without a cancel request, and return them."""
        gone = list(self._all_live())
        for placed in gone:
            self._end(placed, now, "cancelled", placed.last.filled)
        return gone

    def takes_batch(self, now: float) -> bool:
        """Count a batch, and return whether the limit of batches allows it."""
        if self._batches is None:
            return True
        if self._batches.allowed_at() > now + self._jitter:
            return False
        self._batches.take(now)
        return True

    @property
    def counts_orders(self) -> bool:
        """Whether each order of a batch counts as a cancel."""
        return self._batches is None

    def remaining(self, now: float) -> int:
        """Return how many more cancels the account may send now."""
        return self._allowance.room(now)

    def _refusal(
        self, key: _Key, order: CancelOrder, now: float, *, counted: bool
    ) -> tuple[str, str] | None:
        last = self._last_cancel.pop(key, None)
        self._last_cancel[key] = now
        if len(self._last_cancel) > _REMEMBERED:
            self._last_cancel.popitem(last=False)
        soon = now + self._jitter
        if counted:
            if self._allowance.allowed_at() > soon:
                return TOO_MANY
            self._allowance.take(now)
        interval = None if self._unified else self._interval
        if last is not None and interval is not None and soon < last + interval:
            return (
                "45129",
                "The cancel order frequency of the same orderId cannot exceed 1 time per second",
            )
        code = self._refusals.get(order.order_id or order.client_oid or "")
        if code is not None:
            return code, "refused as scripted"
        live = self._live.get(key)
        # An order without a product line is a spot order.
        line = None if live is None else live.order.inst_type or InstType.SPOT
        if self._unified and (line is None or order.inst_type not in (None, line)):
            return "25204", "Order does not exist"
        if live is None:
            return "43001", "The order does not exist"
        return None

    def _end(self, placed: BookOrder, now: float, status: Status, filled: Decimal) -> None:
        placed.change(now, status, filled)
        self._ended.append(placed)
        for key in self._keys(placed.order):
            self._live.pop(key, None)

    def _all_live(self) -> Iterator[BookOrder]:
        return iter({placed.number: placed for placed in self._live.values()}.values())

    def _keys(self, order: CancelOrder) -> list[_Key]:
        """Return the keys of an order, one for each of its ids."""
        keys = [self._key(order)]
        if order.order_id is not None and order.client_oid is not None:
            keys.append(self._key(attrs.evolve(order, order_id=None)))
        return keys

    def _key(self, order: CancelOrder) -> _Key:
        """Return the key for the id that prevails: the exchange's id if there is one."""
        place = () if self._unified else (order.inst_type or InstType.SPOT, order.inst_id)
        by_order_id = order.order_id is not None
        return *place, by_order_id, order.order_id or order.client_oid or ""


def _number(placed: BookOrder) -> int:
    return placed.number
