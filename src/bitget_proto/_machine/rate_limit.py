"""Rate limits: the pace of one connection, and the allowance of one account.

Rules of this file
- At most N in any window. (A bucket of N that is refilled at N a second lets 2 N - 1 through in a second.) The window is one
  second and a margin: frames that leave a second apart may arrive closer together.
- The moment at which a place is free again is computed once. That very number is both announced and compared: a sum computed
  anew may differ in its last bit, and then a clock that stands on the announced deadline spins.
- Each change is one assignment or one call into C, so that an interruption leaves nothing half done: a `Budget` outlives the
  connection that was interrupted.
- Nothing here sends, queues or waits.
"""

from __future__ import annotations

from collections import deque
from math import inf, isnan
from typing import Final, TypeGuard

from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.set_module import set_module
from .deadlines import finite_time

WINDOW = 1.0
"""Seconds. The exchange counts messages and cancels by the second."""

MARGIN = 0.05
"""Seconds added to the window by default. Frames that leave 1.05 s apart arrive at least 1 s apart unless the network delays
them by amounts that differ by more than 50 ms. Ours: a thousand cancels take 1.05 times as long."""

PAUSE = 1.0
"""Seconds that the paces stand still after "request too many" (30006). The exchange names no time: ours is its window."""


class Pace:
    """At most `limit` in any window of so many seconds; None for no limit."""

    __slots__ = ("_limit", "_places", "_window", "resumes")

    def __init__(self, limit: int | None, window: float = WINDOW) -> None:
        self._limit = limit
        self._window = window
        self._places: deque[float] = deque(maxlen=limit)
        """When each of the last `limit` places is free again, the earliest first."""
        self.resumes = -inf
        """When the pause ends."""

    def opens(self) -> float:
        """When the next one may leave; infinity if waiting does not help."""
        limit, places = self._limit, self._places
        if limit is None or len(places) < limit:
            return self.resumes
        return max(places[0], self.resumes) if places else inf

    def take(self, now: float, count: int = 1) -> None:
        """Count what leaves at `now`, whether or not there is room for it."""
        limit, places = self._limit, self._places
        if limit is None:
            return
        free = now + self._window
        # A sharer's clock may be a little behind: the later moment holds for both.
        if places and places[-1] > free:
            free = places[-1]
        if count == 1:
            places.append(free)
        else:
            places.extend([free] * min(count, limit))

    def pause(self, now: float) -> None:
        """Let nothing leave for a second."""
        self.resumes = max(self.resumes, now + PAUSE)


@set_module("bitget_proto")
class Budget:
    """The cancels that an account may send, shared by its connections and by your own REST client.

    "Rate limit will be shared with Rest API" (Cancel Order Channel): by default 10 a second for a UID, more for VIP
    tiers. Hand the same `Budget` to every `Connection` of the account, and `debit` it for each cancel you send by REST.
    With `per_second=0` only what is granted may be spent; None is no limit. `pace_margin` is the number of seconds added to
    the second in which they are counted, None for none: 50 ms keep the limit although the network varies by that much. A
    cancel claims its place when it is handed out, and never gives it back.

    All sharers pass times of one clock. A `Budget` is not thread-safe: share it within a thread, and let a shared store
    `grant` to the `Budget` of each thread or process.

    Raises: ValidationError for a limit that is no whole number from 0 up, or a margin that is no number of seconds.
    """

    __slots__ = ("_grants", "_overdrawn", "_pace", "pace_margin", "per_second")

    def __init__(self, per_second: int | None = 10, pace_margin: float | None = MARGIN) -> None:
        if per_second is not None:
            _check_count("per_second", per_second)
        if pace_margin is not None and not (_is_number(pace_margin) and 0 <= pace_margin < inf):
            raise ValidationError(
                f"pace_margin must be a number of seconds from 0 up, or None; got {safe_repr(pace_margin)}"
            )
        self.per_second: Final = per_second
        self.pace_margin: Final = pace_margin
        self._pace = Pace(per_second, WINDOW + (pace_margin or 0.0))
        self._grants: tuple[tuple[float, int], ...] = ()
        """Until when a grant lasts and how much of it is left, the first to end first."""
        self._overdrawn = 0
        """With `per_second=0`: what was spent beyond the grants."""

    def __repr__(self) -> str:
        return f"Budget(per_second={self.per_second}, granted={sum(n for _, n in self._grants) - self._overdrawn})"

    def opens(self, now: float) -> float:
        """When the next cancel may leave: not after `now` if it may already, infinity if only a grant helps."""
        if self._grants and self._grants[-1][0] > now:
            return self._pace.resumes
        return self._pace.opens()

    def debit(self, n: int, now: float) -> None:
        """Count `n` cancels that were sent elsewhere. Never refused: it may overdraw, and then nothing leaves until the
        window has passed or, with `per_second=0`, until grants have made up for it.

        Raises: LocalProtocolError for a count below 0 or a time that is no finite number, and nothing has changed.
        """
        _check_count("debit: n", n)
        now = finite_time(now, -inf)
        if self._grants:
            n = self._spend(n, now)
        if self.per_second != 0:
            self._pace.take(now, n)
        else:
            self._overdrawn += n

    def _spend(self, n: int, now: float) -> int:
        """Spend what is granted, the first to end first; how many are left to spend."""
        left: list[tuple[float, int]] = []
        for until, granted in self._grants:
            if until > now:
                spent = min(n, granted)
                n -= spent
                if granted > spent:
                    left.append((until, granted - spent))
        self._grants = tuple(left)
        return n

    def grant(self, n: int, until: float, now: float) -> None:
        """Add `n` cancels that a shared store has leased to this process until then; they are spent before the allowance of
        the second. What is not spent at `until` is gone; infinity for a grant without an end. Then drain `poll` of every
        connection that shares this budget: one of them may be waiting for it.

        Raises: LocalProtocolError for a count below 0, an `until` that is no number or a time that is no finite number, and
        nothing has changed.
        """
        _check_count("grant: n", n)
        if not _is_number(until) or isnan(until):
            raise LocalProtocolError(
                f"until must be a number of seconds on your clock, or math.inf; got {safe_repr(until)}"
            )
        now = finite_time(now, -inf)
        if until <= now:
            return
        made_up = min(n, self._overdrawn)
        kept = [grant for grant in self._grants if grant[0] > now]
        if n > made_up:
            kept.append((until, n - made_up))
        self._overdrawn -= made_up
        self._grants = tuple(sorted(kept))

    def pause(self, now: float) -> None:
        """Let nothing leave for a second, grants or not. `Connection` calls it at 30006; call it when REST answers 429."""
        self._pace.pause(finite_time(now, -inf))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (float, int)) and not isinstance(value, bool)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValidationError(f"{name} must be a whole number from 0 up; got {safe_repr(value)}")
