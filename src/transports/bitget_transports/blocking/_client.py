"""Open connections and sessions over a blocking socket.

Rules of this file
- Nothing about the protocol is decided here: `Driver` carries what the core hands out, and keeps the driver contract.
- Everything happens in the caller's thread, within the caller's call: no helper threads, no signals. Between calls nobody
  answers the exchange, which drops a connection that sent no ping for 2 minutes: `pump` serves it while you idle.
- Waiting, and what becomes of a call that is interrupted, is the driver's: see `_driver`.
"""

from __future__ import annotations

import random
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Self

from bitget_proto import (
    Budget,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Credentials,
    NoRoom,
    Outcome,
    Policy,
    Queued,
    Session,
    SessionConfig,
    SessionState,
    State,
    ValidationError,
    record,
)

from .._driver.checks import safe_repr
from .._driver.driver import Account, Jitter
from .._driver.limits import Limits
from .._driver.outcome_router import ChannelEvent, Waiter
from .._driver.set_module import set_module
from .._driver.single_link import SingleLink
from .._driver.url import LIVE_URL
from ._driver import BlockingDriver, Orders


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
    trace: Callable[[str], object] | None = None,
    sock: socket.socket | None = None,
    selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector,
) -> Generator[Channel]:
    """Connect, log in, and give a `Channel`; leaving closes it.

    `tls` is what the server's certificate is checked with, the system's authorities by default. `wall_clock` gives seconds
    since 1970 for the stamp of the login. `sock` is a socket that is connected already, through a proxy for example: it is
    closed with the channel. `selector` makes what is waited with: give another one to fit into a world like gevent's. All
    times inside are of `bitget_transports.clock`, which those who share a `budget` use as well. `Limits.open_timeout` does not
    bound the look-up of the host's name, which the system does in its own time.

    `trace` is called with each line of a record of this life, such as the `write` of a file: see `bitget_proto.record`.

    Leaving without an error waits for what is in flight, as `Channel.close` does; with one it ends at once.

    Ctrl-C, or whatever a signal handler of yours raises, comes out of the call that it interrupts, whatever its class. Nearly
    always that was waiting, and the channel goes on as before. In the middle of a step it is not known how far it came: then
    the channel ends at its next use. Either way the outcomes of what was in flight come in `events`: after such an end
    `Unresolved` with INTERRUPTED, `sent=True` where it may have left, and at last a `Closed` with INTERRUPTED; an `Ended`, for
    a session.

    Raises: ConnectFailed, or UpgradeRefused and LoginRefused, which are kinds of it; ValidationError for what makes no sense,
    and then nothing was dialled.
    """
    account = Account.of(credentials, url, tls, wall_clock, allow_plaintext=allow_plaintext)
    connection = record(Connection(config, codec, budget), trace)
    driver = BlockingDriver(
        SingleLink(connection), account, limits, connection.config, selector, sock
    )
    with driver.running():
        channel = Channel(driver)
        yield channel
        channel.close()


@contextmanager
def open_session(
    credentials: Credentials,
    *,
    url: str = LIVE_URL,
    config: SessionConfig | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    trace: Callable[[str], object] | None = None,
    jitter: Callable[[], float] = random.random,
    selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector,
) -> Generator[SessionChannel]:
    """Connect, log in, and stay connected: as `connect`, and what a dropped connection leaves is taken up by the next one.

    It dials again with backoff until the login is refused, and moves to a new connection before the exchange cuts the old one;
    all of this while you are in a call of the channel's, `pump` included. `jitter` gives numbers from 0 to 1 that spread the
    dials of a fleet. When the exchange refuses the stamp of a login, the next one is stamped with the exchange's own time, from
    its answer to the handshake.

    `trace` is called with each line of a record of this life, such as the `write` of a file: see `bitget_proto.record`.

    Raises: as `connect`; ConnectFailed also when no login was accepted within `Limits.up_timeout`.
    """
    account = Account.of(credentials, url, tls, wall_clock, allow_plaintext=allow_plaintext)
    asked = Jitter(jitter)
    session = record(
        Session(config, codec, budget, jitter=asked if callable(jitter) else jitter), trace
    )
    driver = BlockingDriver(session, account, limits, session.config.link, selector, jitter=asked)
    with driver.running(driver.limits.up_timeout):
        channel = SessionChannel(driver)
        yield channel
        channel.close()


@set_module("bitget_transports.blocking")
class Channel:
    """A connection that is logged in: cancel orders, send frames of your own, read events. `connect` gives it.

    One caller at a time: from several threads hold a lock of yours round each call.
    """

    def __init__(self, driver: BlockingDriver) -> None:
        self._driver = driver
        self._inbox = driver.inbox
        self.events: Events = Events(driver)

    def __repr__(self) -> str:
        return f"<Channel {self.state.value}, {self.in_flight} in flight>"

    @property
    def state(self) -> State | SessionState:
        """Where the connection, or the session, is in its life."""
        return self._inbox.core.state

    @property
    def in_flight(self) -> int:
        """How many cancels have no outcome yet."""
        return self._inbox.core.in_flight

    @property
    def capacity(self) -> int:
        """How many cancels would be taken now: outcomes that nobody has read hold their places. 0 after the end."""
        return self._inbox.room

    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        """Cancel an order and wait for the outcome. `id`, `timeout` (seconds) and `urgent` are those of `Connection.cancel`.

        An `urgent` one leaves before all that wait and are not. On a channel that has ended the outcome is
        `Unresolved(sent=False)`. If this wait is interrupted the request is not: its outcome comes in `events`.

        Raises: NoRoom when `Config.max_in_flight` cancels are unanswered or unread; ValidationError for an order, id or
        timeout that makes no sense. In each case nothing has changed.
        """
        return self._cancel(order, id, timeout, None, urgent=urgent)

    def cancel_many(
        self, orders: Iterable[CancelOrder], timeout: float | None = None
    ) -> Generator[Outcome]:
        """Cancel many orders, as many at a time as there is room for: `for outcome in channel.cancel_many(orders)`.

        Outcomes come in the order in which they become known; `outcome.order` says whose each is. Orders are taken from the
        iterable as there is room, and none after the loop is left: outcomes of those taken before then come in `events`. On
        a channel that has ended the outcome is `Unresolved(sent=False)` for all that remain.

        Raises: from the iteration, what `cancel` raises, and what the iterable raises; outcomes of orders taken before then
        come in `events`.
        """
        return self._cancel_many(iter(orders), timeout, None)

    def withdraw(self, id: str) -> bool:
        """Take back a cancel that has not left: its outcome is `Unresolved(sent=False)` with WITHDRAWN, where it is waited for.

        False, and nothing has changed, when it has left, or when no cancel of this id is open. To know the id, pass one to
        `cancel`.
        """
        self._driver.check_free()
        return self._driver.tell(partial(self._inbox.core.withdraw, id, self._driver.now()))

    def send(self, text: str) -> None:
        """Send a frame of your own on the same socket, after the login: a subscription, an order to be placed.

        Answers and pushes come in `events`. While cancels wait too, own frames get one place in ten. Send nothing that carries
        the `id` of a cancel, and cancel with no `id` of a frame of yours: an answer is matched by its id alone.

        Raises: as `Connection.send`, and nothing has changed.
        """
        self._driver.check_free()
        self._driver.tell(partial(self._inbox.core.send, text, self._driver.now()))

    def pump(self, seconds: float) -> None:
        """Serve the connection for so many seconds: read, answer, ping. It returns early when the channel has ended.

        Call it while you have nothing else to do, at least every 20 seconds: the exchange drops a connection that sent no
        ping for 2 minutes, and a pong that nobody reads counts as none. 0 handles what is there and does not wait.
        """
        if not isinstance(seconds, (float, int)) or not 0.0 <= seconds < inf:
            raise ValidationError(
                f"seconds must be a finite number from 0 up; got {safe_repr(seconds)}"
            )
        end = self._driver.now() + seconds
        self._driver.turn(end)
        while self._driver.now() < end and self._inbox.closed is None:
            self._driver.turn(end)

    def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """End the channel in good order, and wait until it has. Leaving the context does the same.

        With `queued="drop"` what was not sent is `Unresolved(sent=False)` at once, and what was sent has `within` seconds to be
        answered (without it `Config.drain_timeout`). With `queued="send"` what is queued leaves first, for at most `within`
        seconds (without it `Config.queue_timeout`), and nothing more is taken. A second call waits for the same end; one with
        "drop" after one with "send" ends the channel now.

        Raises: as `Connection.close`, and nothing has changed.
        """
        self._driver.check_free()
        self._driver.tell(partial(self._inbox.close, self._driver.now(), queued, within))
        while self._inbox.closed is None:
            self._driver.turn(inf)

    # --- inside ---

    def _cancel(
        self,
        order: CancelOrder,
        id: str | None,
        timeout: float | None,
        policy: Policy | None,
        *,
        urgent: bool,
    ) -> Outcome:
        driver, inbox = self._driver, self._inbox
        waiter = Waiter(_nobody)
        try:
            driver.cancel(waiter, order, id, timeout, policy, urgent=urgent)
            while not waiter.outcomes:
                driver.turn(inf)
            return inbox.pop_outcome(waiter)
        except BaseException:
            inbox.abandon(waiter)
            raise

    def _cancel_many(
        self, orders: Iterator[CancelOrder], timeout: float | None, policy: Policy | None
    ) -> Generator[Outcome]:
        inbox = self._inbox
        waiter = Waiter(_nobody, Orders(self._driver, orders))
        try:
            while True:
                more = self._driver.fill(waiter, timeout, policy)
                if more:
                    self._driver.turn(self._driver.now())
                if waiter.outcomes:
                    yield inbox.pop_outcome(waiter)
                elif more:
                    continue
                elif waiter.orders is None and not waiter.due:
                    return
                elif not waiter.due and not inbox.core.in_flight and inbox.taking:
                    # Whoever could read them is the caller of this.
                    raise NoRoom(
                        "outcomes that nobody has read hold every place of Config.max_in_flight: read channel.events, or go on "
                        "with the cancel_many that was begun before"
                    )
                else:
                    self._driver.turn(inf)
        finally:
            try:
                inbox.abandon(waiter)
            except BaseException:
                inbox.abandon(waiter)  # else nobody would know of what it holds
                raise


@set_module("bitget_transports.blocking")
class SessionChannel(Channel):
    """A channel that stays connected: cancels outlive dropped connections. `open_session` gives it.

    `events` tell when it is `Up` and `Down`. Subscriptions end with their connection: send them again at each `Up`.
    """

    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        """As `Channel.cancel`, and `policy` says what becomes of the cancel when its connection ends after it was sent and
        before it was answered: REPORT (the default of `SessionConfig.policy`) gives `Unresolved(sent=True)`, RESEND sends it
        again.

        Raises: as `Channel.cancel`.
        """
        return self._cancel(order, id, timeout, policy, urgent=urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> Generator[Outcome]:
        """As `Channel.cancel_many`, with a policy as `cancel` has."""
        return self._cancel_many(iter(orders), timeout, policy)


class Events:
    """What comes beside the outcomes that are waited for: `for event in channel.events`, until after `Closed`.

    Iterating waits for the next one, and serves the connection meanwhile.
    """

    def __init__(self, driver: BlockingDriver) -> None:
        self._driver = driver

    def __iter__(self) -> Self:
        return self

    def take(self) -> ChannelEvent | None:
        """The oldest event that nobody has read; None when there is none. It never waits, and serves nothing: see `pump`."""
        self._driver.recover()
        return self._driver.inbox.pop_event()

    def __next__(self) -> ChannelEvent:
        inbox = self._driver.inbox
        while (event := self.take()) is None:
            if inbox.closed is not None:
                raise StopIteration
            self._driver.turn(inf)
        return event


def _nobody() -> None:
    """Nobody waits in another task: the caller looks for itself."""
