"""What a link of the scripted exchange does at a later time."""

from __future__ import annotations

import heapq
from math import inf

from ..._values.events import Hangup


class Delayed:
    """Messages to send and hangups to perform, by time; at equal times, in the order added."""

    def __init__(self) -> None:
        self._items: list[tuple[float, int, str | Hangup]] = []
        self._count = 0

    @property
    def due(self) -> float:
        """When the first is due; infinity if there is none."""
        return self._items[0][0] if self._items else inf

    def put(self, at: float, what: str | Hangup) -> None:
        """Add a message or a hangup."""
        self._count += 1
        heapq.heappush(self._items, (at, self._count, what))

    def pop(self) -> str | Hangup:
        """Remove and return the first."""
        return heapq.heappop(self._items)[2]

    def clear(self) -> None:
        """Remove all."""
        self._items.clear()
