"""Rate limits of a connection and of an account.

Rules for changes
- At most N in any window. (A token bucket of N, refilled at N a second, allows 2 N - 1 in one
  second.) The window is one second plus a margin, because frames that are sent a second apart may
  arrive closer together.
- Compute the time at which a place is free again once, and use that float both in `Wait.until` and
  in the comparison with `now`. A sum that is computed again may differ in its last bit, and a
  driver that wakes up exactly at `Wait.until` would then spin.
- Each change is one assignment or one call into C, so that an interruption leaves no half-done
  change: a `Budget` outlives the interrupted connection.
"""

from __future__ import annotations

import sys
from collections import deque
from math import inf, isnan
from typing import Final, TypeGuard

from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.set_module import set_module
from .deadlines import finite_time

WINDOW = 1.0
"""Seconds. The exchange counts messages and cancels per second."""

MARGIN = 0.05
"""Seconds added to the window by default. Frames that are sent 1.05 s apart arrive at least 1 s
apart, unless their network delays differ by more than 50 ms. The margin is our choice: a thousand
cancels take 1.05 times as long."""

PAUSE = 1.0
"""Seconds for which the rate limits pause after "request too many" (30006). The exchange does not
say how long to pause. Our choice is one second, the window in which it counts."""


class SlidingWindow:
    """A rate limit: at most `limit` frames, cancels or dials in any `window` seconds; None for no
    limit.
    """

    __slots__ = ("_limit", "_places", "_window", "paused_until")

    def __init__(self, limit: int | None, window: float = WINDOW) -> None:
        self._limit = limit
        self._window = window
        self._places: deque[float] = deque(maxlen=limit)
        """When each of the last `limit` places is free again, the earliest first."""
        self.paused_until = -inf
        """When the pause ends."""

    def allowed_at(self) -> float:
        """Return the earliest time at which the next one may be sent.

        Infinity means that no amount of time will allow it: the limit is 0.
        """
        limit, places = self._limit, self._places
        if limit is None or len(places) < limit:
            return self.paused_until
        return max(places[0], self.paused_until) if places else inf

    def room(self, now: float) -> int:
        """Return how many may be sent now."""
        if self.paused_until > now:
            return 0
        if self._limit is None:
            return sys.maxsize
        return self._limit - sum(free > now for free in self._places)

    def take(self, now: float, count: int = 1) -> None:
        """Count what is sent at `now`, even if the limit does not allow it."""
        limit, places = self._limit, self._places
        if limit is None:
            return
        free = now + self._window
        # Another user of this limit may have passed a later `now`: keep the times in order.
        if places and places[-1] > free:
            free = places[-1]
        if count == 1:
            places.append(free)
        else:
            places.extend([free] * min(count, limit))

    def pause(self, now: float) -> None:
        """Allow nothing for one second."""
        self.paused_until = max(self.paused_until, now + PAUSE)


@set_module("bitget_proto")
class Budget:
    """The number of cancels that an account may send, shared by connections and your REST client.

    "Rate limit will be shared with Rest API" (Cancel Order Channel): by default 10 a second for a
    UID, more for VIP tiers. Pass the same `Budget` to every `Connection` of the account, and call
    `debit` for each cancel that you send by REST. With `per_second=0` only grants may be spent;
    None means no limit. `pace_margin` is the number of seconds added to the one-second window; None
    adds nothing. The default of 50 ms keeps the limit as long as network delays vary by no more
    than 50 ms. A cancel counts when `poll` returns its frame, whatever becomes of it afterwards.

    `batches_per_second` is the number of batches that a unified account may send in addition to
    single cancels, whatever the size of the batches. The exchange does not say how it counts a
    batch on the WebSocket, so the default, None, is the careful one: each order of a batch counts
    as one cancel. REST allows 5 batches a second.

    All users of a `Budget` must pass times of the same clock. A `Budget` is not thread-safe: share
    it within one thread. Give each thread or process a `Budget` of its own, and call `grant` with
    what a shared store leases to it.

    A call that raises LocalProtocolError leaves the state unchanged.

    Raises: ValidationError for a limit that is not a whole number from 0 up, or a margin that is
    not a number of seconds.
    """

    __slots__ = (
        "_batches",
        "_grants",
        "_observed",
        "_overdrawn",
        "_pace",
        "batches_per_second",
        "pace_margin",
        "per_second",
    )  # fmt: skip

    def __init__(
        self,
        per_second: int | None = 10,
        pace_margin: float | None = MARGIN,
        batches_per_second: int | None = None,
    ) -> None:
        if per_second is not None:
            _check_count("per_second", per_second)
        if batches_per_second is not None:
            _check_count("batches_per_second", batches_per_second)
        if pace_margin is not None and not (_is_number(pace_margin) and 0 <= pace_margin < inf):
            raise ValidationError(
                "pace_margin must be a number of seconds from 0 up, or None; got "
                f"{safe_repr(pace_margin)}"
            )
        self.per_second: Final = per_second
        self.pace_margin: Final = pace_margin
        self.batches_per_second: Final = batches_per_second
        window = WINDOW + (pace_margin or 0.0)
        self._pace = SlidingWindow(per_second, window)
        self._batches = (
            None if batches_per_second is None else SlidingWindow(batches_per_second, window)
        )
        """The limit of batches; None if each of their orders counts as a cancel."""
        self._observed: tuple[float, int] = (-inf, 0)
        """The last `remaining` from `observe`: when it expires, and how many cancels are left of
        it.
        """
        self._grants: tuple[tuple[float, int], ...] = ()
        """The end of each grant and what is left of it, the first to end first."""
        self._overdrawn = 0
        """The number spent beyond the grants, with `per_second=0`."""

    def __repr__(self) -> str:
        granted = sum(n for _, n in self._grants) - self._overdrawn
        return f"Budget(per_second={self.per_second}, granted={granted})"

    def allowed_at(self, now: float, waiting: int = 1) -> float:
        """Return when the next cancel may be sent; infinity if only a grant helps.

        If the result is not after `now`, the cancel may be sent at once. With more than one
        `waiting`, the limit of batches counts too, and the earlier time is returned.
        """
        granted = self._grants and self._grants[-1][0] > now
        allowed_at = self._pace.paused_until if granted else self._pace.allowed_at()
        if waiting > 1 and self._batches is not None:
            allowed_at = min(allowed_at, self._batches.allowed_at())
        until, left = self._observed
        return allowed_at if left > 0 or until <= now else max(allowed_at, until)

    @property
    def overdrawn(self) -> int:
        """The number of cancels that were sent without an allowance, with `per_second=0`."""
        return self._overdrawn

    def needs_grant(self, now: float, waiting: int = 1) -> bool:
        """Return whether a grant would let the next of the `waiting` cancels be sent sooner."""
        granted = self._grants and self._grants[-1][0] > now
        return not granted and self.allowed_at(now, waiting) > now

    def room(self, now: float) -> int:
        """Return how many cancels one frame may carry now."""
        if self._batches is not None:
            room = sys.maxsize if self._batches.allowed_at() <= now else 1
        else:
            room = self._pace.room(now)
            if self._pace.paused_until <= now:
                room += sum(n for until, n in self._grants if until > now)
        until, left = self._observed
        return room if until <= now else min(room, left)

    def debit(self, n: int, now: float, *, batch: bool = False) -> None:
        """Count `n` sent cancels against the budget.

        Pass `batch=True` if one frame or request contained them all. Connections and sessions call
        this for the cancels that they send; call it yourself for cancels that you send by other
        means, such as REST.

        This always succeeds and may overdraw the budget. Then no cancel is sent until the window
        has passed or, with `per_second=0`, until grants have made up for it.

        Raises: LocalProtocolError for a count below 0, or a time that is not a finite number.
        """
        _check_count("debit: n", n)
        now = finite_time(now, -inf)
        batches = self._batches if batch else None
        until, left = self._observed
        if until > now:
            self._observed = until, left - (n if batches is None else 1)
        if batches is not None:
            batches.take(now)
            return
        if self._grants:
            n = self._spend(n, now)
        if self.per_second != 0:
            self._pace.take(now, n)
        else:
            self._overdrawn += n

    def _spend(self, n: int, now: float) -> int:
        """Spend grants, the first to end first, and return how many of `n` are left to count."""
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
        """Add `n` cancels that a shared store has leased to this process until `until`.

        Grants are spent before the allowance per second. The rest of a grant is lost at `until`;
        infinity means that the grant does not end. After this call, drain `poll` of every
        connection that shares this budget: one of them may be waiting for it.

        Raises: LocalProtocolError for a count below 0, an `until` that is not a number, or a time
        that is not a finite number.
        """
        _check_count("grant: n", n)
        if not _is_number(until) or isnan(until):
            raise LocalProtocolError(
                "until must be a number of seconds on your clock, or math.inf; got "
                f"{safe_repr(until)}"
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
        """Allow no cancel for one second, whatever is granted.

        `Connection` calls this after 30006. Call it yourself when REST answers 429 to your request.
        """
        now = finite_time(now, -inf)
        self._pace.pause(now)
        if self._batches is not None:
            self._batches.pause(now)

    def observe(self, remaining: int, now: float) -> None:
        """Apply the number of cancels that the exchange itself says it would take now.

        `Connection` calls this for answers that contain the number (`rateLimit`, unified accounts),
        after it has subtracted its unanswered cancels. The number applies for one second, and only
        ever tightens the limit.

        Raises: ValidationError for a count below 0; LocalProtocolError for a time that is not a
        finite number.
        """
        _check_count("observe: remaining", remaining)
        now = finite_time(now, -inf)
        until, left = self._observed
        if until <= now or remaining < left:
            self._observed = now + WINDOW, remaining


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (float, int)) and not isinstance(value, bool)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValidationError(f"{name} must be a whole number from 0 up; got {safe_repr(value)}")
