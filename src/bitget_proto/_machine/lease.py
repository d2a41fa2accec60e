"""Leases a process's part of an account's allowance from a store that all processes share.

The store keeps the last N moments that it has booked (N is the limit per second), on its own clock.
It books each cancel at least `SPACING` after the cancel N places before it, first come, first
served. Rules that a change could break:

- The booked moment is the end of a lease, which may be used for the `LEASE` seconds before it. So
  two cancels whose moments are `SPACING` apart leave at least `SPACING - LEASE` apart, which is the
  window of `Budget`.
- A lease ends `delay + LEASE` seconds after the process asked, and begins `delay` seconds after the
  answer came. The store read its clock between question and answer, so the process is never earlier
  and never later than the store has booked, and no two clocks must agree.
- A moment that is more than `LEASE` ahead is not a lease, but a place in a queue: the process asks
  again when its place is due. So nothing is used later than `2 * LEASE` after the store was asked,
  and a store that has lost its memory knows when everything that it had granted has ended.
- One question at a time. A lost answer wastes what was booked, and nothing is asked twice.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final, TypeAlias

import attrs

from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import Wait
from .._values.set_module import set_module
from .._values.timers import Timer
from .deadlines import MAX, finite_time
from .rate_limit import MARGIN, WINDOW, Budget, _check_count

LEASE = 0.02
"""Seconds for which a lease can be used. Our choice: an answer that takes that long is useless, and
a longer lease costs more of the allowance."""

SPACING = WINDOW + MARGIN + LEASE
"""Seconds from the moment of a cancel to that of the N-th cancel after it. N is the limit per
second."""

AHEAD = 0.015
"""Seconds before the start of its lease at which a process asks again for its place, so that the
round trip to the store takes nothing from the lease. Our choice."""

SHARE = 8
"""One question asks for at most the limit per second divided by this number. Our choice."""

_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 1.0
"""Seconds after which a store that failed is asked again: doubled each time, up to the longest."""

_LATE: Final = 3
"""The number of late answers in a row after which the store is reported as down."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Ask:
    """Ask the store for `n` cancels, and pass its answer to `Lease.granted` or `Lease.failed`.

    Exactly one of the two must be called, in bounded time. Ask at once, and only once: an answer
    that takes 20 ms or longer grants nothing.
    """

    n: int
    place: str
    """The place in the store's queue that this question redeems, as the store named it; empty if
    the question asks for a new place."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Granted:
    """The budget may spend `n` more until `until`: drain each connection that shares the budget."""

    n: int
    until: float


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class StoreDown:
    """The store grants nothing now. Cancels wait, except for those that the budget itself allows.

    The store is asked again for as long as cancels wait: after 0.1 s, then at intervals that double
    up to 1 s.
    """

    reason: str


@set_module("bitget_proto")
@attrs.frozen
class StoreUp:
    """The store, which was down, grants again."""


LeaseOutput: TypeAlias = Ask | Granted | StoreDown | StoreUp | Wait
"""Everything that `Lease.poll` returns."""


@set_module("bitget_proto")
class Lease:
    """Feeds a `Budget` from a store that all processes of an account share.

    Create one for each `Budget`. `per_second` is the limit that the store keeps, by default the 10
    cancels a second of a UID. After each drain of a connection that shares the budget, call
    `wanted` with the sum of their `waiting_for_grant`; then call `poll` until it returns a `Wait`,
    and again at its `until`.

    The store must book moments as docs/scaling.md describes; `bitget_transports` has such a store
    on Redis. The times of all calls are on the clock of the budget.

    While the store is down, only the budget's own `per_second` may be spent. With `Budget(0)`, that
    is nothing. With any other budget, it is a fixed slice, which is also in use while the store is
    up. The account's limit is kept if the limit of the store and the slices of all processes add up
    to at most that limit.

    A call that raises LocalProtocolError leaves the state unchanged.

    Raises: ValidationError if `budget` is not a `Budget`, or `per_second` is not a whole number
    from 1 up.
    """

    __slots__ = (
        "_ask",
        "_asked_at",
        "_at_once",
        "_begins",
        "_budget",
        "_down",
        "_ends",
        "_failures",
        "_held",
        "_now",
        "_outputs",
        "_place",
        "_resumes",
        "_wanted",
    )

    def __init__(self, budget: Budget, per_second: int = 10) -> None:
        if not isinstance(budget, Budget):
            raise ValidationError(f"budget must be a Budget; got {safe_repr(budget)}")
        _check_count("per_second", per_second)
        if per_second == 0:
            raise ValidationError("per_second must be a whole number from 1 up; got 0")
        self._budget = budget
        self._at_once = max(1, per_second // SHARE)
        """The largest number to ask for."""
        self._now: float = -MAX
        self._outputs: deque[StoreDown | StoreUp] = deque()
        self._wanted = 0
        self._ask: Ask | None = None
        """The question that has no answer yet."""
        self._asked_at = -inf
        self._held = 0
        """The number of cancels that the lease or the place is for; 0 if there is none."""
        self._place = ""
        """The place in the queue; empty for a lease, which is usable from `_begins` to `_ends`."""
        self._begins = self._ends = inf
        self._resumes = -inf
        """When the store may be asked again after a failure."""
        self._failures = 0
        """The number of questions in a row without a useful answer."""
        self._down = False

    def __repr__(self) -> str:
        state = "down" if self._down else "up"
        return f"<Lease {state}, {self._wanted} wanted>"

    def wanted(self, n: int, now: float) -> None:
        """Say how many cancels wait for a grant. What the budget has overdrawn is added.

        Raises: LocalProtocolError for a count below 0, or a time that is not a finite number.
        """
        _check_count("wanted: n", n)
        self._now = finite_time(now, self._now)
        self._wanted = n

    def granted(self, delay: float, place: str, now: float) -> None:
        """Handle the store's answer: the cancels that were asked for may leave from `delay` seconds
        after the store read its clock, for 20 ms. `place` is the store's name for their place in
        its queue. A delay below 0 means that a part of the 20 ms is over.

        Raises: LocalProtocolError if nothing was asked, for a delay that is not a finite number of
        seconds, a place that is empty or not a string, or a time that is not a finite number.
        """
        ask = self._check_asked("granted")
        if (
            isinstance(delay, bool)
            or not isinstance(delay, (float, int))
            or not -MAX <= delay <= MAX
            or not isinstance(place, str)
            or not place
        ):
            raise LocalProtocolError(
                "granted takes the delay, in seconds, and the place that the store named; got "
                f"{safe_repr(delay)} and {safe_repr(place)}"
            )
        now = self._now = finite_time(now, self._now)
        self._ask = None
        late = now - self._asked_at
        self._begins, self._ends = now + max(0.0, delay), self._asked_at + delay + LEASE
        if delay > LEASE:
            self._held, self._place, self._begins = ask.n, place, self._asked_at + delay - AHEAD
        elif self._begins < self._ends:
            self._held, self._place = ask.n, ""
        else:
            self._fail(f"its answer took {late:.3f} s, and the lease had ended", _LATE)
            return
        if self._begins < self._ends and late < LEASE:
            self._failures = 0
            if self._down:
                self._down = False
                self._outputs.append(StoreUp())

    def failed(self, reason: str, now: float) -> None:
        """Report that the store gave no answer, or one that grants nothing.

        Raises: LocalProtocolError if nothing was asked, or for a time that is not a finite number;
        ValidationError for a reason that is not a string.
        """
        self._check_asked("failed")
        if not isinstance(reason, str):
            raise ValidationError(f"reason must be a string; got {safe_repr(reason)}")
        self._now = finite_time(now, self._now)
        self._ask = None
        self._fail(reason, 1)

    def poll(self, now: float) -> LeaseOutput:
        """Return the next output: a question for the store, what to do, or how long to wait.

        Raises: LocalProtocolError for a time that is not a finite number.
        """
        now = self._now = finite_time(now, self._now)
        if self._outputs:
            return self._outputs.popleft()
        if self._ask is not None:
            return Wait(None, None)
        if self._held and now < self._begins:
            return Wait(self._begins, Timer.LEASE)
        n, self._held = self._held, 0
        needed = self._wanted + self._budget.overdrawn
        if n and not self._place:
            if now < self._ends:
                self._wanted = max(0, self._wanted - n)
                self._budget.grant(n, self._ends, now)
                return Granted(n=n, until=self._ends)
            n = 0  # the process has slept through its lease
        place = self._place if n else ""
        self._place = ""
        if not needed:
            return Wait(None, None)
        if now < self._resumes:
            return Wait(self._resumes, Timer.LEASE)
        n = n or min(needed, 1 if self._failures else self._at_once)
        self._ask, self._asked_at = Ask(n=n, place=place), now
        return self._ask

    def _check_asked(self, call: str) -> Ask:
        if self._ask is None:
            raise LocalProtocolError(
                f"{call} was called and nothing was asked: call granted or failed once for each Ask"
            )
        return self._ask

    def _fail(self, reason: str, tolerated: int) -> None:
        """Count a failure. After `tolerated` failures in a row, report the store as down.

        After the first late answer the store is asked again at once: it may be the process that was
        slow.
        """
        if self._failures or tolerated == 1:
            pause = min(_LONGEST_RETRY, _RETRY * 2.0 ** min(self._failures, 10))
            self._resumes = self._now + pause
        self._failures += 1
        if self._failures >= tolerated and not self._down:
            self._down = True
            self._outputs.append(StoreDown(reason=reason))
