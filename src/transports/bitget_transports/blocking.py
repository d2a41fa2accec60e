"""Cancel orders from a plain thread: a socket, and nothing that runs while you do something else.

    with bitget_transports.blocking.connect(credentials) as channel:
        outcome = channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

Rules of this file
- Nothing about the protocol is decided here: it carries what `Connection` hands out, and keeps the driver contract.
- Everything happens in the caller's thread, within the caller's call: no helper threads, no signals. Between calls nobody
  answers the exchange, which drops a connection that sent no ping for 2 minutes: `pump` serves it while you idle.
- Every wait is one call of the selector, and bounded: to open, to write, to close.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from math import inf
from typing import Self

from bitget_proto import (
    Budget,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Credentials,
    Hangup,
    LocalProtocolError,
    Outcome,
    State,
    Transmit,
    ValidationError,
    sign_login,
)
from bitget_proto._errors import shown

from ._inbox import ChannelEvent, Inbox, Waiter
from ._limits import Limits
from ._opening import why_not_ready
from ._socket import SocketLink, now
from ._target import LIVE_URL, Target

__all__ = ["Channel", "Events", "connect"]


@contextmanager
def connect(
    credentials: Credentials,
    *,
    url: str = LIVE_URL,
    config: Config | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    sock: socket.socket | None = None,
    selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector,
) -> Generator[Channel]:
    """Connect, log in, and give a `Channel`; leaving closes it.

    `tls` is what the server's certificate is checked with, the system's authorities by default. `wall_clock` gives seconds
    since 1970 for the stamp of the login. `sock` is a socket that is connected already, through a proxy for example: it is
    closed with the channel. `selector` makes what is waited with: give another one to fit into a world like gevent's. All
    times inside are of `time.monotonic`, which those who share a `budget` use as well. `Limits.open_timeout` does not bound
    the look-up of the host's name, which the system does in its own time.

    Leaving without an error waits for what is in flight, as `Channel.close` does; with one it ends at once.

    Raises: ConnectFailed, or UpgradeRefused and LoginRefused, which are kinds of it; ValidationError for what makes no sense,
    and then nothing was dialled.
    """
    target = Target.of(url, tls, allow_plaintext=allow_plaintext)
    limits = Limits() if limits is None else limits
    connection = Connection(config, codec, budget)
    # Signed before anything is dialled: a key that cannot sign needs no connection.
    sign_login(credentials, int(wall_clock()))
    with selector() as waiting:
        link = SocketLink(target, limits, connection.config.max_message, waiting)
        channel = Channel(connection, link, limits)
        try:
            link.open(sock)
            channel._log_in(credentials, wall_clock)
            yield channel
            channel.close()
        finally:
            channel._end()


class Channel:
    """A connection that is logged in: cancel orders, send frames of your own, read events. `connect` gives it.

    One caller at a time: from several threads hold a lock of yours round each call.
    """

    def __init__(self, connection: Connection, link: SocketLink, limits: Limits) -> None:
        self._connection = connection
        self._link = link
        self._limits = limits
        self._inbox = Inbox(connection, limits)
        self._until = inf
        """When the connection wants `handle_timeout`."""
        self._busy = False
        self.events: Events = Events(self)

    def __repr__(self) -> str:
        return f"<Channel {self.state.value}, {self.in_flight} in flight>"

    @property
    def state(self) -> State:
        """Where the connection is in its life."""
        return self._connection.state

    @property
    def in_flight(self) -> int:
        """How many cancels have no outcome yet."""
        return self._connection.in_flight

    @property
    def capacity(self) -> int:
        """How many cancels would be taken now: outcomes that nobody has read hold their places. 0 after the end."""
        return self._inbox.room

    def cancel(self, order: CancelOrder, id: str | None = None, timeout: float | None = None) -> Outcome:
        """Cancel an order and wait for the outcome. `id` and `timeout` (seconds) are those of `Connection.cancel`.

        On a channel that has ended the outcome is `Unresolved(sent=False)`. If this wait is interrupted the request is not:
        its outcome comes in `events`.

        Raises: NoRoom when `Config.max_in_flight` cancels are unanswered or unread; ValidationError for an order, id or
        timeout that makes no sense. In each case nothing has changed.
        """
        inbox = self._inbox
        self._check_free()
        waiter = Waiter(_nobody)
        inbox.cancel(waiter, order, now(), id, timeout)
        try:
            self._drain()
            while not waiter.outcomes:
                self._turn(inf)
        except BaseException:
            inbox.abandon(waiter)
            raise
        return inbox.fetch(waiter)

    def cancel_many(self, orders: Iterable[CancelOrder], timeout: float | None = None) -> Generator[Outcome]:
        """Cancel many orders, as many at a time as there is room for: `for outcome in channel.cancel_many(orders)`.

        Outcomes come in the order in which they become known; `outcome.order` says whose each is. Orders are taken from the
        iterable as there is room, and none after the loop is left: outcomes of those taken before then come in `events`. On
        a channel that has ended the outcome is `Unresolved(sent=False)` for all that remain.

        Raises: from the iteration, what `cancel` raises, and what the iterable raises; outcomes of orders taken before then
        come in `events`.
        """
        inbox = self._inbox
        waiter = Waiter(_nobody, iter(orders))
        try:
            while True:
                self._check_free()
                try:
                    inbox.fill(waiter, now, timeout)
                finally:
                    self._drain()
                if waiter.outcomes:
                    yield inbox.fetch(waiter)
                elif waiter.orders is None and not waiter.due:
                    return
                else:
                    self._turn(inf)
        finally:
            inbox.abandon(waiter)

    def send(self, text: str) -> None:
        """Send a frame of your own on the same socket (a subscription, …), behind the cancels. Answers come in `events`.

        Raises: as `Connection.send`.
        """
        self._check_free()
        self._connection.send(text, now())
        self._drain()

    def pump(self, seconds: float) -> None:
        """Serve the connection for so many seconds: read, answer, ping. It returns early when the channel has ended.

        Call it while you have nothing else to do, at least every 20 seconds: the exchange drops a connection that sent no
        ping for 2 minutes, and a pong that nobody reads counts as none. 0 handles what is there and does not wait.
        """
        if not 0.0 <= seconds < inf:
            raise ValidationError(f"seconds must be a finite number from 0 up; got {shown(seconds)}")
        end = now() + seconds
        self._turn(end)
        while now() < end and self._inbox.closed is None:
            self._turn(end)

    def close(self) -> None:
        """End the channel in good order, and wait until it has: what was not sent is `Unresolved(sent=False)` at once, what
        was sent has `Config.drain_timeout` seconds to be answered. Leaving the context does the same.
        """
        self._check_free()
        if self._inbox.taking:
            self._connection.close(now())
            self._drain()
        while self._inbox.closed is None:
            self._turn(inf)

    # --- driving: the rules are those of docs/driver.md ---

    def _log_in(self, credentials: Credentials, wall_clock: Callable[[], float]) -> None:
        self._connection.opened(now(), login=sign_login(credentials, int(wall_clock())))
        self._drain()
        while not self._inbox.ready:
            if self._inbox.closed is not None:
                raise why_not_ready(self._link.target, self._inbox)
            self._turn(inf)

    def _drain(self) -> None:
        link = self._link
        while True:
            output = self._inbox.poll(now(), link.stalled_since == inf)
            if isinstance(output, Transmit):
                link.write(output.text, output.id)
            elif isinstance(output, Hangup):
                link.hang_up(output.code, output.reason)
            else:
                break
        self._until = inf if output.until is None else output.until

    def _turn(self, deadline: float) -> None:
        """Wait for news, at most until the deadline; hand over what has arrived, bounded; then fire what is due."""
        self._check_free()
        self._busy = True
        try:
            link, inbox, connection = self._link, self._inbox, self._connection
            if inbox.closed is not None:
                return
            patience = self._limits.write_timeout
            gives_up = inf if patience is None else link.stalled_since + patience
            link.wait(min(self._until, deadline, gives_up))
            for message in link.read():
                connection.receive(message, now())
                self._drain()
                if inbox.closed is not None:
                    return
            link.flush()
            if link.over is not None:
                connection.lost(now(), link.over, link.unsent())
            elif link.stalled_since < inf and now() >= gives_up:
                connection.lost(now(), f"the exchange took nothing for {patience} s", link.unsent())
            elif now() >= self._until:
                connection.handle_timeout(now())
            self._drain()
        finally:
            self._busy = False

    def _check_free(self) -> None:
        if self._busy:
            raise LocalProtocolError(
                "the channel is in use, by another thread or by the code that this interrupts: one caller at a time"
            )

    def _end(self) -> None:
        """Nobody wants anything any more: whatever is still open ends now, and the socket with it, bounded."""
        try:
            for _ in ("what was sent is waited for", "what was sent is not waited for"):
                self._connection.close(now())
                self._drain()
            self._link.wait_for_the_end()
        finally:
            self._link.close()


class Events:
    """What comes beside the outcomes that are waited for: `for event in channel.events`, until after `Closed`.

    Iterating waits for the next one, and serves the connection meanwhile.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __iter__(self) -> Self:
        return self

    def take(self) -> ChannelEvent | None:
        """The oldest event that nobody has read; None when there is none. It never waits, and serves nothing: see `pump`."""
        return self._channel._inbox.take()

    def __next__(self) -> ChannelEvent:
        inbox = self._channel._inbox
        while (event := inbox.take()) is None:
            if inbox.closed is not None:
                raise StopIteration
            self._channel._turn(inf)
        return event


def _nobody() -> None:
    """Nobody waits in another task: the caller looks for itself."""
