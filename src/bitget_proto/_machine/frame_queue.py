"""Decides which frame of a connection is sent next, and when.

The order is: the login, pings, cancels, the caller's own frames. But while both cancels and frames
of the caller are queued, every tenth frame is one of the caller's. The rate limits apply to every
frame.
"""

from __future__ import annotations

from collections import deque
from math import inf

from .._values.credentials import SignedLogin
from .._values.events import Transmit
from .._wire.codec import PING, Codec
from .connection_config import Config
from .heartbeat import Heartbeat
from .in_flight import InFlight, OpenCancel
from .rate_limit import WINDOW, Budget, Pace

CANCELS_PER_OWN_FRAME = 9
"""How many cancels may be sent in a row while one of the caller's frames waits."""


class FrameQueue:
    """The frames of one connection that wait to be sent."""

    __slots__ = (
        "_cancels_in_a_row",
        "_codec",
        "_heartbeat",
        "_in_flight",
        "_pace",
        "budget",
        "login",
        "login_sent",
        "own",
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
        self._pace = Pace(config.messages_per_second, WINDOW + (config.pace_margin or 0.0))
        self._cancels_in_a_row = 0
        self.budget = budget
        self.login: SignedLogin | None = None
        """The login, until it is sent."""
        self.login_sent = False
        self.own: deque[str] = deque()
        """The caller's own frames."""

    def next(self, now: float, *, ready: bool, cancels: bool) -> Transmit | float:
        """Return the frame to send now, or the earliest time at which one may be sent.

        Infinity means that no amount of time will allow it: nothing that is queued may be sent.
        Without `ready`, only the login and pings may be sent. `cancels` says whether cancels and
        the caller's frames may be sent.
        """
        heartbeat, own = self._heartbeat, self.own
        if not ready and not heartbeat.ping_pending and self.login is None:
            return inf
        opens = self._pace.allowed_at()
        if opens > now:
            return opens
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
        opens = -inf if self.budget is None else self.budget.allowed_at(now)
        cancel = None if opens > now else self._in_flight.queue.first(now)
        if cancel is not None and not (own and self._cancels_in_a_row >= CANCELS_PER_OWN_FRAME):
            return Transmit(self.hand_out(cancel, now), cancel.id)
        if own:
            self._cancels_in_a_row = 0
            self._pace.take(now)
            return Transmit(own.popleft())
        # Expired cancels are not sent: `handle_timeout` settles them.
        return opens if opens > now else inf

    def hand_out(self, cancel: OpenCancel, now: float) -> str:
        """Return the frame of a cancel, and count the cancel as sent."""
        self._cancels_in_a_row += 1
        self._pace.take(now)
        if self.budget is not None:
            self.budget.debit(1, now)
        self._in_flight.mark_sent(cancel, now)
        return self._codec.encode_cancel(cancel.order, cancel.id)

    def allowed_at(self, now: float) -> float:
        """Return when a cancel may be sent; infinity while other frames go first."""
        if self._heartbeat.ping_pending or (
            self.own and self._cancels_in_a_row >= CANCELS_PER_OWN_FRAME
        ):
            return inf
        opens = self._pace.allowed_at()
        return opens if self.budget is None else max(opens, self.budget.allowed_at(now))

    def ping_allowed_at(self, now: float) -> float:
        """Return when a ping may be sent."""
        return max(now, self._pace.allowed_at())

    def pause(self, now: float) -> None:
        """Send nothing for a second, after "request too many" (30006)."""
        self._pace.pause(now)
        if self.budget is not None:
            self.budget.pause(now)

    def clear(self) -> None:
        """Drop the login and the caller's own frames."""
        self.login = None
        self.own.clear()
