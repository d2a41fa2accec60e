"""The orders that are live at the scripted exchange, and how often they may be cancelled.

Rules of this file
- An order is found under each of its ids, and looked up by the one that prevails.
- A verdict is what the exchange's documentation would say, in its own codes and words.
- What is remembered is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

from ..._machine.rate_limit import Pace
from ..._values.orders import CancelOrder, InstType

SAME_ORDER_INTERVAL = 1.0
"""Seconds between two cancels of the same order: "The same order may be cancelled once a second" is what 45129 says."""

_REMEMBERED = 10_000
"""How many orders' last cancels are remembered."""


class Book:
    """Live orders, what is to be refused, and the allowance of the account.

    `refusals` are order ids and the codes with which their cancels are refused; `same_order_interval` is how many seconds must
    lie between two cancels of an order; `jitter` is how many seconds cancels may arrive closer together than the limits allow.
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
        """The orders that are live, in the order they were placed."""
        return tuple({id(order): order for order in self._live.values()}.values())

    def place(self, order: CancelOrder) -> None:
        """Put a live order into the book, under each of its ids."""
        for key in _keys(order):
            self._live[key] = order

    def knows(self, order: CancelOrder) -> bool:
        """Whether a live order has one of these ids."""
        return any(key in self._live for key in _keys(order))

    def cancel(self, order: CancelOrder, now: float) -> tuple[str, str, CancelOrder | None]:
        """Do what a cancel asks, as far as it goes: the code, the words, and the order that was live and is no more."""
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
        if self._allowance.opens() > soon:
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
    """What an order is found under: each of its ids."""
    keys: list[object] = [order.identity]
    if order.order_id is not None and order.client_oid is not None:
        by_client_oid = CancelOrder(
            order.inst_id, client_oid=order.client_oid, inst_type=order.inst_type
        )
        keys.append(by_client_oid.identity)
    return keys
