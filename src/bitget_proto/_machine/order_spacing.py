"""The minimum interval between two cancels of the same order.

"The same order may be cancelled once a second" (45129). Once a session has taken a cancel that it
may send again, every cancel that is sent starts the interval of its order. The end of the interval
is computed once, and the same float is announced and compared. Expired intervals are discarded.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf

from .._values.orders import CancelOrder


class Spacing:
    """When orders may be cancelled again; `interval` is in seconds, None for no limit."""

    __slots__ = ("_free", "_interval")

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._free: OrderedDict[object, float] = OrderedDict()
        """When each order may be cancelled again, the earliest first."""

    def allowed_at(self, order: CancelOrder) -> float:
        """Return when the order may be cancelled again; minus infinity if there is no limit."""
        return self._free.get(order.identity, -inf)

    def handed_out(self, order: CancelOrder, now: float) -> None:
        """Start the interval: a cancel of the order was sent."""
        if self._interval is None:
            return
        free = self._free
        while free and next(iter(free.values())) <= now:
            free.popitem(last=False)
        key = order.identity
        free.pop(key, None)
        free[key] = now + self._interval
