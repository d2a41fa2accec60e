"""When the same order may be cancelled once more.

Rules of this file
- "The same order may be cancelled once a second" (45129): counted from the last cancel of it that was handed out, whichever
  cancel that was. While one waits to be handed out, its moment is unknown, and so the next one has none yet.
- A moment is computed once, and that very number is both announced and compared.
- Only what the interval still needs is remembered.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from math import inf

from ._orders import CancelOrder, Identity, identity


class Spacing:
    """The moments from which orders may be cancelled once more; `interval` is in seconds, None for no limit."""

    __slots__ = ("_free", "_interval", "_waiting")

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._waiting: Counter[Identity] = Counter()
        """How many cancels of an order wait to be handed out."""
        self._free: OrderedDict[Identity, float] = OrderedDict()
        """When an order may be cancelled once more, the earliest first."""

    def opens(self, order: CancelOrder) -> float:
        """When the order may be cancelled once more; infinity while a cancel of it waits to be handed out."""
        key = identity(order)
        return inf if self._waiting[key] else self._free.get(key, -inf)

    def waits(self, order: CancelOrder) -> None:
        """A cancel of the order now waits to be handed out."""
        if self._interval is not None:
            self._waiting[identity(order)] += 1

    def withdrawn(self, order: CancelOrder) -> None:
        """It waits no longer, and was not handed out."""
        if self._interval is not None:
            key = identity(order)
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    def handed_out(self, order: CancelOrder, now: float) -> None:
        """It was handed out."""
        if self._interval is None:
            return
        self.withdrawn(order)
        free = self._free
        while free and next(iter(free.values())) <= now:
            free.popitem(last=False)
        key = identity(order)
        free.pop(key, None)
        free[key] = now + self._interval
