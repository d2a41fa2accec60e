"""When the same order may be cancelled once more: "The same order may be cancelled once a second" (45129).

It is counted from the last cancel of the order under `Policy.RESEND` that was handed out, whichever cancel that was. The moment
is computed once, and that very number is both announced and compared. Only what the interval still needs is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf

from .._values.orders import CancelOrder


class Spacing:
    """The moments from which orders may be cancelled once more; `interval` is in seconds, None for no limit."""

    __slots__ = ("_free", "_interval")

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._free: OrderedDict[object, float] = OrderedDict()
        """When an order may be cancelled once more, the earliest first."""

    def opens(self, order: CancelOrder) -> float:
        """When the order may be cancelled once more; minus infinity when nothing is known against it."""
        return self._free.get(order.identity, -inf)

    def handed_out(self, order: CancelOrder, now: float) -> None:
        """A cancel of the order was handed out."""
        if self._interval is None:
            return
        free = self._free
        while free and next(iter(free.values())) <= now:
            free.popitem(last=False)
        key = order.identity
        free.pop(key, None)
        free[key] = now + self._interval
