"""The live orders of the scripted exchange, and the rate limits on cancelling them.

- An order is stored under each of its ids. A cancel with both ids is looked up by the one that
  prevails.
- Refusals use the codes and messages of the exchange's documentation.
- Memory is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

from ..._machine.rate_limit import Pace
from ..._values.orders import CancelOrder, InstType

SAME_ORDER_INTERVAL = 1.0
"""Minimum seconds between two cancels of the same order.

Code 45129: "The same order may be cancelled once a second"."""

_REMEMBERED = 10_000
"""The number of orders whose last cancel is remembered."""


class Book:
    """The live orders, the scripted refusals, and the rate limit of the account.

    `refusals` maps order ids to the codes with which their cancels are refused.
    `same_order_interval` is the minimum number of seconds between two cancels of an order. `jitter`
    is how many seconds closer together than the limits allow cancels may arrive.
    """

    def __init__(
        self,
        refusals: dict[str, str],
        cancels_per_second: int | None,
        jitter: float,
        same_order_interval: float | None = SAME_ORDER_INTERVAL,
    ) -> None:
        self._refusals = refusals
        self._jitter = jitter
        self._interval = same_order_interval
        self._live: dict[object, CancelOrder] = {}
        self._last_cancel: OrderedDict[object, float] = OrderedDict()
        self._allowance = Pace(cancels_per_second)

    @property
    def live(self) -> tuple[CancelOrder, ...]:
        """The live orders, in the order they were placed."""
        return tuple({id(order): order for order in self._live.values()}.values())

    def place(self, order: CancelOrder) -> None:
        """Add a live order, under each of its ids."""
        for key in _keys(order):
            self._live[key] = order

    def knows(self, order: CancelOrder) -> bool:
        """Return whether a live order has one of the ids of `order`."""
        return any(key in self._live for key in _keys(order))

    def cancel(self, order: CancelOrder, now: float) -> tuple[str, str, CancelOrder | None]:
        """Cancel an order, or refuse to; return the code, the message, and the cancelled order."""
        key = order.identity
        refusal = self._refusal(key, now)
        if refusal is not None:
            return (*refusal, None)
        gone = self._live[key]
        for other in _keys(gone):
            self._live.pop(other, None)
        return "0", "Success", gone

    def _refusal(self, key: tuple[InstType, str, bool, str], now: float) -> tuple[str, str] | None:
        last = self._last_cancel.pop(key, None)
        self._last_cancel[key] = now
        if len(self._last_cancel) > _REMEMBERED:
            self._last_cancel.popitem(last=False)
        soon = now + self._jitter
        if self._allowance.allowed_at() > soon:
            return "429", "Too Many Requests"
        self._allowance.take(now)
        if last is not None and self._interval is not None and soon < last + self._interval:
            return (
                "45129",
                "The cancel order frequency of the same orderId cannot exceed 1 time per second",
            )
        if key[3] in self._refusals:
            return self._refusals[key[3]], "refused as scripted"
        if key not in self._live:
            return "43001", "The order does not exist"
        return None


def _keys(order: CancelOrder) -> list[object]:
    """Return the keys of an order, one for each of its ids."""
    keys: list[object] = [order.identity]
    if order.order_id is not None and order.client_oid is not None:
        by_client_oid = CancelOrder(
            order.inst_id, client_oid=order.client_oid, inst_type=order.inst_type
        )
        keys.append(by_client_oid.identity)
    return keys
