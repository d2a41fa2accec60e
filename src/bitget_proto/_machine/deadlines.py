"""Timers and deadlines of a connection.

A deadline is a time on the caller's clock; it expires when `now >= deadline`. Nothing here reads a
clock or acts on a deadline: this module only finds the next one.
"""

from __future__ import annotations

import heapq
import sys
from collections import deque
from math import inf
from typing import Generic, Protocol, TypeGuard, TypeVar

from .._values.errors import LocalProtocolError, safe_repr
from .._values.timers import Timer

MAX = sys.float_info.max
"""The latest possible time."""


def finite_time(now: float, latest: float) -> float:
    """Return the later of `now` and `latest`, so that time never runs backwards.

    Raises: LocalProtocolError if `now` is not a finite number.
    """
    if isinstance(now, (float, int)) and not isinstance(now, bool) and -MAX <= now <= MAX:
        return max(latest, now)
    raise LocalProtocolError(
        f"now must be a finite number of seconds on your clock; got {safe_repr(now)}"
    )


def is_seconds(value: object) -> TypeGuard[float]:
    """Return whether the value is a number of seconds above 0 that fits a float, or infinity."""
    return (
        isinstance(value, (float, int))
        and not isinstance(value, bool)
        and value > 0
        and (value <= MAX or value == inf)
    )


def after(now: float, seconds: float | None) -> float:
    """Return the deadline `seconds` after `now`; infinity if `seconds` is None."""
    return inf if seconds is None else now + seconds


class Alarms:
    """A fixed set of timers. Setting a timer again moves it; infinity clears it.

    `timer` is the next timer, and `until` its time. Of two timers with the same time, the one that
    was passed first to the constructor is next.
    """

    __slots__ = ("_at", "timer", "until")

    def __init__(self, *timers: Timer) -> None:
        self._at = dict.fromkeys(timers, inf)
        self.until = inf
        self.timer: Timer | None = None

    def __getitem__(self, timer: Timer) -> float:
        """Return when the timer expires; infinity if it is not set."""
        return self._at[timer]

    def __setitem__(self, timer: Timer, at: float) -> None:
        """Set the timer."""
        self._at[timer] = at
        self._refresh()

    def clear(self) -> None:
        """Clear all timers."""
        self._at = dict.fromkeys(self._at, inf)
        self._refresh()

    def _refresh(self) -> None:
        self.until, self.timer = inf, None
        for timer, at in self._at.items():
            if at < self.until:
                self.until, self.timer = at, timer


class Expiring(Protocol):
    """An entry of `Deadlines`."""

    deadline: float
    """Infinity if there is none."""

    version: int
    """The number of the item with the current deadline, set by `Deadlines`; 0 without a deadline.
    """


_E = TypeVar("_E", bound=Expiring)


class Deadlines(Generic[_E]):
    """A priority queue of deadlines; equal ones are in the order in which they were set.

    Most deadlines are set in order, because requests have the same timeouts: these go to a queue. A
    deadline before the last one of the queue goes to a heap, so setting and removing are always
    cheap. An item is stale once its entry has another deadline. Stale items are removed when they
    come to the front, or when there are too many of them.

    `until` is the time of the first deadline; infinity if there is none.
    """

    __slots__ = ("_count", "_current", "_heap", "_queue", "until")

    def __init__(self) -> None:
        self.until = inf
        self._queue: deque[tuple[float, int, _E]] = deque()
        self._heap: list[tuple[float, int, _E]] = []
        self._count = 0
        self._current = 0

    def set(self, entry: _E, deadline: float) -> None:
        """Replace the deadline of the entry; infinity removes it."""
        before, kept = entry.deadline, entry.version != 0
        if kept and before == deadline:
            return
        entry.deadline, entry.version = deadline, 0
        if deadline != inf:
            self._count += 1
            self._current += 1
            entry.version = self._count
            item = (deadline, self._count, entry)
            if not self._queue or self._queue[-1][0] <= deadline:
                self._queue.append(item)
            else:
                heapq.heappush(self._heap, item)
            if deadline < self.until:
                self.until = deadline
        if kept:
            self._current -= 1
            if before <= self.until:
                self.first()
            if len(self) > 2 * self._current + 64:
                self._queue = deque(filter(_is_current, self._queue))
                self._heap = list(filter(_is_current, self._heap))
                heapq.heapify(self._heap)

    def first(self) -> _E | None:
        """Return the entry with the first deadline, without removing it."""
        queue, heap = self._queue, self._heap
        while queue and not _is_current(queue[0]):
            queue.popleft()
        while heap and not _is_current(heap[0]):
            heapq.heappop(heap)
        if heap and not (queue and queue[0] < heap[0]):
            first = heap[0]
        elif queue:
            first = queue[0]
        else:
            self.until = inf
            return None
        self.until = first[0]
        return first[2]

    def clear(self) -> None:
        """Remove all deadlines."""
        self._queue.clear()
        self._heap.clear()
        self._current = 0
        self.until = inf

    def __len__(self) -> int:
        """Return the number of items, stale included: at most twice the current ones plus 64."""
        return len(self._queue) + len(self._heap)


def _is_current(item: tuple[float, int, Expiring]) -> bool:
    return item[2].version == item[1]
