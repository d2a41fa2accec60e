"""The deadlines of one connection.

A deadline is a number on the caller's clock, and it is reached when `now >= deadline`. Nothing here reads a clock, and nothing
here acts: it says what is due next and why, and `Connection` decides what that means.
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
"""The largest time there is."""


def finite_time(now: float, latest: float) -> float:
    """`now`, but never before the latest: a clock that runs backwards counts as standing still.

    Raises: LocalProtocolError for what is no finite number, and nothing has changed.
    """
    if isinstance(now, (float, int)) and not isinstance(now, bool) and -MAX <= now <= MAX:
        return max(latest, now)
    raise LocalProtocolError(
        f"now must be a finite number of seconds on your clock; got {safe_repr(now)}"
    )


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether the value is a number of seconds above 0, infinity included. An integer beyond every float is none."""
    return (
        isinstance(value, (float, int))
        and not isinstance(value, bool)
        and value > 0
        and (value <= MAX or value == inf)
    )


def after(now: float, seconds: float | None) -> float:
    """The deadline that many seconds on; infinity when there is no limit."""
    return inf if seconds is None else now + seconds


class Alarms:
    """Timers of which there is one each. Setting one that is set moves it; infinity clears it.

    `until` says when the first is due, and `timer` which: of two at once the one that was named first.
    """

    __slots__ = ("_at", "timer", "until")

    def __init__(self, *timers: Timer) -> None:
        self._at = dict.fromkeys(timers, inf)
        self.until = inf
        self.timer: Timer | None = None

    def __getitem__(self, timer: Timer) -> float:
        """When it is due."""
        return self._at[timer]

    def __setitem__(self, timer: Timer, at: float) -> None:
        """Let it be due then."""
        self._at[timer] = at
        self._look()

    def clear(self) -> None:
        """None of them is due any more."""
        self._at = dict.fromkeys(self._at, inf)
        self._look()

    def _look(self) -> None:
        self.until, self.timer = inf, None
        for timer, at in self._at.items():
            if at < self.until:
                self.until, self.timer = at, timer


class Expiring(Protocol):
    """What `Deadlines` keeps."""

    deadline: float
    """Infinity for none."""

    turn: int
    """Which item holds its deadline; 0 while it is not kept here. Set by `Deadlines` alone."""


_E = TypeVar("_E", bound=Expiring)


class Deadlines(Generic[_E]):
    """Many deadlines, the earliest first; equal ones in the order they were set.

    Most of them are set in order, since requests have the same timeouts: those stand in a queue. One that is earlier than the
    last of the queue goes to a heap, so that setting and dropping stay cheap whatever comes. An item is dead when its entry was
    given another deadline since: dead items are dropped when they come to the front, or when they outnumber the living.

    `until` says when the first is due: infinity when there is none.
    """

    __slots__ = ("_count", "_heap", "_living", "_queue", "until")

    def __init__(self) -> None:
        self.until = inf
        self._queue: deque[tuple[float, int, _E]] = deque()
        self._heap: list[tuple[float, int, _E]] = []
        self._count = 0
        self._living = 0

    def set(self, entry: _E, deadline: float) -> None:
        """Give the entry this deadline instead of the one it has; infinity for none any more."""
        before, kept = entry.deadline, entry.turn != 0
        if kept and before == deadline:
            return
        entry.deadline, entry.turn = deadline, 0
        if deadline != inf:
            self._count += 1
            self._living += 1
            entry.turn = self._count
            item = (deadline, self._count, entry)
            if not self._queue or self._queue[-1][0] <= deadline:
                self._queue.append(item)
            else:
                heapq.heappush(self._heap, item)
            if deadline < self.until:
                self.until = deadline
        if kept:
            self._living -= 1
            if before <= self.until:
                self.first()
            if len(self) > 2 * self._living + 64:
                self._queue = deque(filter(_lives, self._queue))
                self._heap = list(filter(_lives, self._heap))
                heapq.heapify(self._heap)

    def first(self) -> _E | None:
        """The entry whose deadline comes first; it stays."""
        queue, heap = self._queue, self._heap
        while queue and not _lives(queue[0]):
            queue.popleft()
        while heap and not _lives(heap[0]):
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
        """Forget them all."""
        self._queue.clear()
        self._heap.clear()
        self._living = 0
        self.until = inf

    def __len__(self) -> int:
        """How many items are stored, the dead included: at most twice the living, and 64."""
        return len(self._queue) + len(self._heap)


def _lives(item: tuple[float, int, Expiring]) -> bool:
    return item[2].turn == item[1]
