"""Decides which frame of a connection is sent next, and when.

The order is: the login, pings, subscriptions, cancels, the caller's own frames. But while both
cancels and frames of the caller are queued, every tenth frame is one of the caller's. The rate
limits apply to every frame.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TypeVar

from .._values.credentials import SignedLogin
from .._values.events import Transmit
from .._wire.codec import PING, Codec
from .cancel_queue import CancelQueue, Waiting
from .connection_config import Config
from .heartbeat import Heartbeat
from .in_flight import InFlight, OpenCancel
from .rate_limit import WINDOW, Budget, SlidingWindow
from .request_ids import RequestIds

_C = TypeVar("_C", bound=Waiting)

CANCELS_PER_OWN_FRAME = 9
"""How many cancels may be sent in a row while one of the caller's frames waits."""


class FrameQueue:
    """The frames of one connection that wait to be sent."""

    __slots__ = (
        "_cancels_in_a_row",
        "_codec",
        "_heartbeat",
        "_in_flight",
        "_max_batch",
        "_pace",
        "budget",
        "login",
        "login_sent",
        "own",
        "subscriptions",
    )

    def __init__(
        self,
        config: Config,
        codec: Codec,
        budget: Budget | None,
        heartbeat: Heartbeat,
        in_flight: InFlight,
    ) -> None:
        self._codec = codec
        self._heartbeat = heartbeat
        self._in_flight = in_flight
        self._pace = SlidingWindow(config.messages_per_second, WINDOW + (config.pace_margin or 0.0))
        self._cancels_in_a_row = 0
        self._max_batch = (config.max_batch or sys.maxsize) if codec.batches else 1
        if budget is None and codec.batches:
            # The limit of messages does not limit the cancels in them.
            budget = Budget(config.messages_per_second, config.pace_margin)
        self.budget = budget
        self.login: SignedLogin | None = None
        """The login, until it is sent."""
        self.login_sent = False
        self.subscriptions: deque[str] = deque()
        self.own: deque[str] = deque()
        """The caller's own frames."""

    def next(self, now: float, ids: RequestIds, *, ready: bool, cancels: bool) -> Transmit | float:
        """Return the frame to send now, or the earliest time at which one may be sent.

        Infinity means that no amount of time will allow it: nothing that is queued may be sent.
        Without `ready`, only the login and pings may be sent. `cancels` says whether cancels and
        the caller's frames may be sent. `ids` makes the ids of batches.
        """
        heartbeat, own = self._heartbeat, self.own
        if not ready and not heartbeat.ping_pending and self.login is None:
            return inf
        allowed_at = self._pace.allowed_at()
        if allowed_at > now:
            return allowed_at
        if self.login is not None:
            text = self._codec.encode_login(self.login)
            self.login, self.login_sent = None, True
            self._pace.take(now)
            return Transmit(text, secret=True)
        if heartbeat.ping_pending:
            heartbeat.sent(now)
            self._pace.take(now)
            return Transmit(PING)
        if not cancels:
            return inf
        if self.subscriptions:
            self._pace.take(now)
            return Transmit(self.subscriptions.popleft())
        queue = self._in_flight.queue
        allowed_at = self._budget_allows_at(now, queue.size)
        first = None if allowed_at > now else queue.first(now)
        if first is not None and not (own and self._cancels_in_a_row >= CANCELS_PER_OWN_FRAME):
            chosen = [first] if self._max_batch == 1 else self.choose(queue, first, now)
            if isinstance(chosen, list):
                return self.hand_out(chosen, ids, now)
            allowed_at = chosen
        if own:
            self._cancels_in_a_row = 0
            self._pace.take(now)
            return Transmit(own.popleft())
        # Expired cancels are not sent: `handle_timeout` settles them.
        return allowed_at if allowed_at > now else inf

    def choose(
        self,
        queue: CancelQueue[_C],
        first: _C,
        now: float,
        earliest: Callable[[_C], float] | None = None,
    ) -> list[_C] | float:
        """Return the cancels of the next frame, or the time from which it may be sent.

        The frame contains `first`, and may contain other cancels of `queue`. `earliest` says when
        a cancel may be sent.
        """
        budget = self.budget
        if self._max_batch == 1 or budget is None:
            return [first]
        size = min(self._max_batch, budget.room(now))
        batch = [first] if size == 1 else queue.batch(first, now, size, earliest)
        if len(batch) == 1 and (single := budget.allowed_at(now)) > now:
            return single
        return batch

    def hand_out(self, cancels: list[OpenCancel], ids: RequestIds, now: float) -> Transmit:
        """Return the frame of these cancels, and count them as sent."""
        self._cancels_in_a_row += 1
        self._pace.take(now)
        if len(cancels) == 1:
            (cancel,) = cancels
            if self.budget is not None:
                self.budget.debit(1, now)
            self._in_flight.mark_sent(cancel, now)
            return Transmit(self._codec.encode_cancel(cancel.order, cancel.id), (cancel.id,))
        assert self.budget is not None  # noqa: S101 - `choose` forms no batch without one
        self.budget.debit(len(cancels), now, batch=True)
        id = ids.make()
        for cancel in cancels:
            self._in_flight.mark_sent(cancel, now)
        self._in_flight.add_batch(id, tuple(cancels))
        text = self._codec.encode_batch([cancel.order for cancel in cancels], id)
        return Transmit(text, tuple(cancel.id for cancel in cancels))

    def observe(self, remaining: int | None, now: float) -> None:
        """Apply how many cancels an answer says are left, minus the unanswered cancels."""
        if remaining is not None and self.budget is not None:
            self.budget.observe(max(0, remaining - len(self._in_flight.sent)), now)

    def allowed_at(self, now: float, waiting: int) -> float:
        """Return when one of `waiting` cancels may be sent; infinity if other frames go first."""
        if (
            self._heartbeat.ping_pending
            or self.subscriptions
            or (self.own and self._cancels_in_a_row >= CANCELS_PER_OWN_FRAME)
        ):
            return inf
        allowed_at = self._pace.allowed_at()
        # Like `next`: ask the budget only when the pace allows a frame.
        return allowed_at if allowed_at > now else self._budget_allows_at(now, waiting)

    def _budget_allows_at(self, now: float, waiting: int) -> float:
        """Return when the budget allows one of the `waiting` cancels to be sent."""
        if self.budget is None:
            return -inf
        return self.budget.allowed_at(now, min(waiting, self._max_batch))

    def waiting_for_grant(self, now: float, waiting: int) -> int:
        """Return how many of `waiting` cancels could be sent now if the budget got a grant."""
        if not waiting or self.budget is None or not self.budget.needs_grant(now, waiting):
            return 0
        return min(waiting, self._pace.room(now) * self._max_batch)

    def ping_allowed_at(self, now: float) -> float:
        """Return when a ping may be sent."""
        return max(now, self._pace.allowed_at())

    def pause(self, now: float) -> None:
        """Send nothing for a second, after "request too many" (30006)."""
        self._pace.pause(now)
        if self.budget is not None:
            self.budget.pause(now)

    def subscribe(self, text: str) -> None:
        """Queue a subscription. It is sent once, however often it is queued before that."""
        if text not in self.subscriptions:
            self.subscriptions.append(text)

    def drop(self) -> None:
        """Drop the subscriptions and the caller's own frames."""
        self.subscriptions.clear()
        self.own.clear()

    def clear(self) -> None:
        """Drop all frames but pings."""
        self.login = None
        self.drop()
