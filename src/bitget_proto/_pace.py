"""How much may leave in a second: the pace of one connection, and the allowance of one account.

Rules of this file
- At most N in any window of one second. (A bucket of N that is refilled at N a second lets 2 N - 1 through in a second.)
- A place that is taken is free again at a moment that is computed once, and that very number is both announced and
  compared. A sum computed anew may differ in its last bit, and then a clock that stands on the announced deadline spins.
- Nothing here sends, queues or waits.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from ._errors import ValidationError, shown
from ._timers import finite_time

WINDOW = 1.0
"""Seconds. The exchange counts messages and cancels by the second."""

PAUSE = 1.0
"""Seconds that the paces stand still after «request too many» (30006). The exchange names no time: ours is its window."""


class Pace:
    """At most `limit` in any window of one second, or of so many; None for no limit."""

    __slots__ = ("_limit", "_places", "_taken", "_window", "resumes")

    def __init__(self, limit: int | None, window: float = WINDOW) -> None:
        self._limit = limit
        self._window = window
        self._places: deque[tuple[float, int]] = deque()
        """How many places become free again when, in that order."""
        self._taken = 0
        self.resumes = -inf
        """When the pause ends."""

    def opens(self, now: float) -> float:
        """When the next may leave: not after `now` if it may already, infinity if no waiting helps."""
        if self._limit is None:
            return self.resumes
        self._release(now)
        excess = self._taken - self._limit
        if excess < 0:
            return self.resumes
        for free, count in self._places:
            excess -= count
            if excess < 0:
                return max(free, self.resumes)
        return inf

    def take(self, now: float, count: int = 1) -> None:
        """Count what leaves at `now`, whether or not there is room for it."""
        if self._limit is None or count == 0:
            return
        self._release(now)
        places = self._places
        free = now + self._window
        if places and places[-1][0] >= free:
            # The same moment, or a sharer's clock that is a little behind: the later moment holds for both.
            places[-1] = (places[-1][0], places[-1][1] + count)
        else:
            places.append((free, count))
        self._taken += count

    def pause(self, now: float) -> None:
        """Let nothing leave for a second."""
        self.resumes = max(self.resumes, now + PAUSE)

    def _release(self, now: float) -> None:
        places = self._places
        while places and now >= places[0][0]:
            self._taken -= places.popleft()[1]


class Budget:
    """The cancels that an account may send, shared by its connections and by your own REST client.

    "Rate limit will be shared with Rest API" (Cancel Order Channel): by default 10 a second for a UID, more for VIP
    tiers. Hand the same `Budget` to every `Connection` of the account, and `debit` it for each cancel you send by REST.
    With `per_second=0` only what is granted may be spent; None is no limit. A cancel claims its place when it is handed
    out, and never gives it back.

    All who share one pass times of one clock. It is not thread-safe: share it within a thread, and let a shared store
    `grant` to the `Budget` of each thread or process.

    Raises: ValidationError for a limit that is no whole number from 0 up.
    """

    __slots__ = ("_granted", "_pace", "per_second")

    def __init__(self, per_second: int | None = 10) -> None:
        if per_second is not None:
            _check_count("per_second", per_second)
        self.per_second: Final = per_second
        self._pace = Pace(per_second)
        self._granted = 0

    def __repr__(self) -> str:
        return f"Budget(per_second={self.per_second}, granted={self._granted})"

    def opens(self, now: float) -> float:
        """When the next cancel may leave: not after `now` if it may already, infinity if only a grant helps."""
        return self._pace.resumes if self._granted > 0 else self._pace.opens(now)

    def debit(self, n: int, now: float) -> None:
        """Count `n` cancels that were sent elsewhere. Never refused: it may overdraw, and then nothing leaves until the
        window has passed or, with `per_second=0`, until grants have made up for it.

        Raises: LocalProtocolError for a count below 0 or a time that is no finite number, and nothing has changed.
        """
        _check_count("debit: n", n)
        now = finite_time(now, -inf)
        from_grants = min(n, max(self._granted, 0)) if self.per_second != 0 else n
        self._granted -= from_grants
        self._pace.take(now, n - from_grants)

    def grant(self, n: int, now: float) -> None:
        """Add `n` cancels that a shared store has leased to this process; they are spent before the allowance of the
        second. Then drain `poll` of every connection that shares this budget: one of them may be waiting for it.

        Raises: LocalProtocolError for a count below 0 or a time that is no finite number, and nothing has changed.
        """
        _check_count("grant: n", n)
        finite_time(now, -inf)
        self._granted += n

    def pause(self, now: float) -> None:
        """Let nothing leave for a second, grants or not. `Connection` calls it at 30006; call it when REST answers 429."""
        self._pace.pause(finite_time(now, -inf))


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValidationError(f"{name} must be a whole number from 0 up; got {shown(value)}")
