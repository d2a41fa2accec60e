"""`connect` and `open_session` over a blocking socket.

Everything happens in the caller's thread, during the caller's calls: there are no helper threads
and no signals. Between calls nothing is sent or read, and the exchange drops a connection after
2 minutes without a ping: call `pump` while you are idle. Waiting and interrupted calls
are handled in `_driver`.
"""

from __future__ import annotations

import random
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from math import inf
from types import TracebackType
from typing import Literal, Self, TypeVar

from bitget_proto import (
    Budget,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Credentials,
    Dialect,
    Event,
    Final,
    InstType,
    LocalProtocolError,
    NoRoom,
    Outcome,
    Policy,
    Queued,
    Session,
    SessionConfig,
    SessionEvent,
    SessionState,
    State,
    ValidationError,
    record,
)

from .._driver.account import Account
from .._driver.channel_events import ChannelEvent
from .._driver.checks import check_unused, codec_for, safe_repr
from .._driver.confirmer import NOT_FOLLOWED
from .._driver.limits import Limits
from .._driver.log import with_trace_log
from .._driver.outcome_router import Waiter
from .._driver.proxy import unless_connected
from .._driver.rest import SendRestBlocking
from .._driver.set_module import set_module
from .._driver.single_link import SingleLink
from .._driver.url import url_for
from ._confirming import Confirming, use_rest
from ._driver import BlockingDriver, ReleasingOrders

_SELECTOR: Callable[[], selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.DefaultSelector
)
"""`select.poll` owns no file descriptor that an interruption could leak, and is faster than
`select.epoll` for one socket."""


def connect(
    credentials: Credentials,
    *,
    url: str | None = None,
    dialect: Dialect | None = None,
    config: Config | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    proxy: str | Literal[True] | None = True,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    trace: Callable[[str], object] | None = None,
    observe: Callable[[Event | SessionEvent | Final, float], object] | None = None,
    orders: bool = False,
    rest: SendRestBlocking | None = None,
    sock: socket.socket | None = None,
    selector: Callable[[], selectors.BaseSelector] = _SELECTOR,
) -> Opener[Channel]:
    """Return an `Opener`: `with` connects, logs in, gives a `Channel`, and closes it at the end.
    `Opener.open` opens one without a context.

    `dialect` is the API of the account: `Dialect.UNIFIED` for a unified one. The default is the
    dialect of `codec`, or `Dialect.CLASSIC` without a codec. The default `url` is the dialect's URL
    for live trading.

    `tls` verifies the server's certificate; by default the system's certificate authorities are
    used. `wall_clock` returns seconds since 1970, for the timestamp of the login. `sock` is a
    socket that is already connected; it is closed with the channel. `selector` returns a new
    selector to wait with: pass another function for a framework such as gevent. All times are from
    `bitget_transports.clock()`. Everything that shares a `budget` must use that clock.
    `Limits.open_timeout` does not cover resolving the host name, which blocks in the system.

    `proxy` is the URL of a proxy: `http://` (through which the channel opens a tunnel with
    CONNECT), `socks5://` or `socks5h://` (with the extra `socks`), with a user and a password if
    the proxy requires them. With None, the channel connects directly. By default the environment
    decides (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; the lower-case name takes precedence),
    except for loopback. The proxy resolves the name of the exchange.

    `trace` is called with each line of a trace of this connection: pass the `write` method of a
    file, for example. See `bitget_proto.record`.

    `observe(event, time)` is called for each event, outcome and `Final`, including those that a
    call waits for. It must return quickly. `bitget_transports.telemetry` has functions that make
    metrics and spans.

    `orders=True` subscribes to changes of the account's orders, which arrive as `OrderUpdate`
    events, and enables `Channel.confirm` and `Channel.cancel_all`. These send REST requests with
    httpx (the extra `rest`) or with `rest`: a function that takes a `RestRequest` and its headers,
    sends the request to the exchange, and returns the status and the body of the answer. Without
    `rest`, requests go to the exchange's REST host if `url` is one of the exchange's own URLs, and
    otherwise to the host of `url`. Before the first login, an unsigned REST request fetches the
    exchange's time, if the wall clock seems wrong or the answer to the handshake has no date.

    If `wall_clock`, `trace` or `observe` raises an `Exception`, cancels continue. The exception is
    a `CallerError` in `events`, and is logged with its traceback to the logger `bitget_transports`.

    If the `with` block ends without an exception, the channel waits for the cancels in flight, as
    `Channel.close` does. With an exception, the channel ends at once.

    Ctrl-C, or any other exception from a signal handler, is raised by the call that it interrupts,
    whatever the exception's class. Nearly always that call was waiting, and the channel continues
    as before. If the exception interrupted a step in progress, the state is unknown, and the
    channel ends at its next use. In both cases the outcomes of the cancels in flight come in
    `events`. If the channel ends this way, they are `Unresolved` with INTERRUPTED, with `sent=True`
    where the frame may have been sent; the last event is `Closed` with INTERRUPTED, or `Ended` for
    a session.

    Raises: ConnectFailed, or its subclasses UpgradeRefused and LoginRefused; ValidationError for an
    invalid argument, before anything is dialled.
    """

    def channel() -> Channel:
        chosen = codec_for(dialect, codec)
        account = Account.of(
            credentials,
            url_for(url, chosen.dialect),
            tls,
            wall_clock,
            allow_plaintext=allow_plaintext,
            proxy=unless_connected(proxy, sock, "sock"),
        )
        connection = record(Connection(config, chosen, budget), with_trace_log(trace))
        driver = BlockingDriver(
            SingleLink(connection), account, limits, connection.config, selector, sock, observe
        )
        driver.share(budget)
        return Channel(driver, use_rest(driver, account, rest, orders=orders))

    return Opener(channel)


def open_session(
    credentials: Credentials,
    *,
    url: str | None = None,
    dialect: Dialect | None = None,
    config: SessionConfig | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    proxy: str | Literal[True] | None = True,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    trace: Callable[[str], object] | None = None,
    observe: Callable[[Event | SessionEvent | Final, float], object] | None = None,
    orders: bool = False,
    rest: SendRestBlocking | None = None,
    jitter: Callable[[], float] = random.random,
    selector: Callable[[], selectors.BaseSelector] = _SELECTOR,
) -> Opener[SessionChannel]:
    """Connect, log in, and stay connected: like `connect`, but when a connection is lost, the next
    one takes over its cancels.

    The session redials, with backoff, until the exchange refuses its login for good. It also moves
    to a new connection before the exchange closes the old one. All of this happens only during
    calls of the channel, `pump` included. `jitter` returns numbers from 0 to 1, which spread the
    dials of many clients. When the exchange refuses the timestamp of a login, the next login uses
    the exchange's own time, from its answer to the handshake.

    With `SessionConfig.rest_after`, cancels that no connection takes are sent by REST, with httpx
    (the extra `rest`) or with `rest`: see `connect`. If `rest` raises, the cancel may have reached
    the exchange: its outcome is `Unresolved(sent=True)`. While a request waits for its answer,
    nothing else is served: with httpx, for up to 5 s to connect and 15 s for the answer.

    `trace` is called with each line of a trace of this session: pass the `write` method of a file,
    for example. See `bitget_proto.record`.

    Raises: the same as `connect`; ConnectFailed also when no login was accepted within
    `Limits.up_timeout`; ImportError if `rest_after` is set, `rest` was not passed and httpx is not
    installed.
    """

    def channel() -> SessionChannel:
        chosen = codec_for(dialect, codec)
        account = Account.of(
            credentials,
            url_for(url, chosen.dialect),
            tls,
            wall_clock,
            allow_plaintext=allow_plaintext,
            proxy=proxy,
        )
        session = record(Session(config, chosen, budget, jitter=jitter), with_trace_log(trace))
        driver = BlockingDriver(
            session, account, limits, session.config.link, selector, observe=observe
        )
        driver.share(budget)
        return SessionChannel(
            driver, use_rest(driver, account, rest, orders=orders, session=session)
        )

    return Opener(channel)


@set_module("bitget_transports.blocking")
class Channel:
    """A logged-in connection, from `connect`: cancel orders, send frames of your own, read events.

    Use it from one thread at a time: with several threads, hold a lock of your own around each
    call. A call of `cancel`, `withdraw`, `send` or `close` that raises LocalProtocolError leaves
    the state unchanged.
    """

    def __init__(self, driver: BlockingDriver, confirming: Confirming | None = None) -> None:
        self._driver = driver
        self._router = driver.router
        self._confirming = confirming
        self.events: Events = Events(driver)

    def __repr__(self) -> str:
        return f"<Channel {self.state.value}, {self.in_flight} in flight>"

    @property
    def state(self) -> State | SessionState:
        """The state of the connection, or of the session."""
        return self._router.core.state

    @property
    def in_flight(self) -> int:
        """The number of cancels that have no outcome yet."""
        return self._router.core.in_flight

    @property
    def capacity(self) -> int:
        """The number of cancels that you can submit now; 0 after the end.

        An outcome keeps its place in `Config.max_in_flight` until it is read.
        """
        return self._router.room

    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        """Cancel an order, wait for the outcome, and return it.

        `id`, `timeout` (in seconds) and `urgent` mean the same as in `Connection.cancel`. An urgent
        cancel is sent before all queued cancels that are not urgent. On a channel that has ended,
        the outcome is `Unresolved(sent=False)`. If this call is interrupted, the request continues:
        its outcome comes in `events`.

        Raises: NoRoom when `Config.max_in_flight` cancels are unanswered or unread; ValidationError
        for an invalid order, id or timeout.
        """
        return self._cancel(order, id, timeout, None, urgent=urgent)

    def cancel_many(
        self, orders: Iterable[CancelOrder], timeout: float | None = None
    ) -> Generator[Outcome]:
        """Cancel many orders, as many at a time as there is room for:
        `for outcome in channel.cancel_many(orders)`.

        Outcomes come as they become known; `outcome.order` is the order that each belongs to.
        Orders are taken from the iterable as there is room. None are taken after the loop is left:
        outcomes of orders taken before then come in `events`. On a channel that has ended, the
        outcome of each remaining order is `Unresolved(sent=False)`.

        Raises: during iteration, what `cancel` raises, and what the iterable raises; outcomes of
        orders taken before then come in `events`.
        """
        return self._cancel_many(iter(orders), timeout, None)

    def confirm(self, outcome: Outcome) -> Final:
        """Find out what became of the order of an outcome, and return it.

        It waits for a push, and then looks the order up by REST, for up to 60 s: see `Reconciler`.
        It serves the connection meanwhile, except while a REST request waits for its answer: with
        httpx, for up to 5 s to connect and 5 s for the answer. The outcome may come from another
        channel, but its request must have been sent. The channel may already have ended.

        Raises: LocalProtocolError if the channel was opened without `orders=True`, or for
        `Unresolved(sent=False)`; ValidationError if it is not an outcome;
        ImportError if `rest` was not passed and httpx is not installed.
        """
        return self._confirming_or_raise().confirm(outcome)

    def cancel_all(
        self,
        inst_type: InstType | None = None,
        inst_id: str | None = None,
        *,
        rounds: int = 3,
        by_symbol: bool = False,
    ) -> Generator[tuple[Outcome, Final | None]]:
        """Cancel all open orders of a product line, or of one instrument:
        `for outcome, final in channel.cancel_all(InstType.SPOT)`.

        It lists the open orders by REST, cancels each, confirms each, and lists again until no
        order is open, at most `rounds` times. So an order that was open after its cancel, or was
        placed meanwhile, is cancelled in the next round. `final` is None if the cancel was never
        sent. Without `inst_type`, it cancels spot orders on classic accounts, and the orders of all
        product lines on unified accounts.

        With `by_symbol=True` it begins with the exchange's own request to cancel all orders of an
        instrument, which is one request; a hundred cancels take 10 s. It waits 1 s, and then lists
        and cancels the orders that are left. The orders that this request has cancelled are not
        yielded. If the request fails, a warning is logged, and all orders are cancelled one by one.
        On classic accounts the request exists for spot only: see `RestCodec.cancel_by_symbol`.

        Raises: during iteration, RestFailed if the list cannot be read, and what `cancel` and
        `confirm` raise; ValidationError, before anything is sent, unless `rounds` is a whole number
        from 1 up, or if the exchange has no such cancel by symbol.
        """
        return self._confirming_or_raise().cancel_all(
            self.cancel_many, inst_type, inst_id, rounds, by_symbol=by_symbol
        )

    def _confirming_or_raise(self) -> Confirming:
        if self._confirming is None:
            raise LocalProtocolError(NOT_FOLLOWED)
        return self._confirming

    def withdraw(self, id: str) -> bool:
        """Withdraw a cancel that has not been sent. The call that waits for it returns
        `Unresolved(sent=False)` with WITHDRAWN.

        Return False, and change nothing, when it was sent already or when no cancel with this id is
        open. To know the id, pass one to `cancel`.
        """
        self._driver.check_free()
        return self._driver.execute(partial(self._router.core.withdraw, id, self._driver.now()))

    def send(self, text: str) -> None:
        """Send a frame of your own on the same socket, after the login: a subscription, or an order
        to place.

        Answers and pushes come in `events`. While both cancels and your frames are queued, every
        tenth frame is one of yours. An answer is matched by its id alone: never use the same `id`
        for a frame of your own and for a cancel.

        Raises: the same as `Connection.send`.
        """
        self._driver.check_free()
        self._driver.execute(partial(self._router.core.send, text, self._driver.now()))

    def pump(self, seconds: float) -> None:
        """Serve the connection for this many seconds: read, answer, ping.

        It returns early when the channel has ended. Call it while you have nothing else to do, at
        least every 20 seconds: the exchange drops a connection that sent no ping for 2 minutes, and
        a pong that is not read counts as missing. With 0, it handles what has arrived and does not
        wait.
        """
        if not isinstance(seconds, (float, int)) or not 0.0 <= seconds < inf:
            raise ValidationError(
                f"seconds must be a finite number from 0 up; got {safe_repr(seconds)}"
            )
        end = self._driver.now() + seconds
        self._driver.run_once(end)
        while self._driver.now() < end and self._router.closed is None:
            self._driver.run_once(end)

    def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """Close the channel, and wait until it has ended and its sockets are closed. Leaving the
        context does the same.

        With `queued="drop"`, cancels that were not sent are `Unresolved(sent=False)` at once, and
        those that were sent have `within` seconds to be answered (default: `Config.drain_timeout`).
        With `queued="send"`, what is queued is sent first, for at most `within` seconds (default:
        `Config.queue_timeout`). In both cases nothing more is taken. A second call waits for the
        same end; a call with "drop" after one with "send" ends the channel now.

        Raises: the same as `Connection.close`.
        """
        self._driver.check_free()
        self._driver.execute(partial(self._router.close, self._driver.now(), queued, within))
        while self._router.closed is None:
            self._driver.run_once(inf)
        self._driver.stop()

    # --- private ---

    def _cancel(
        self,
        order: CancelOrder,
        id: str | None,
        timeout: float | None,
        policy: Policy | None,
        *,
        urgent: bool,
    ) -> Outcome:
        driver, router = self._driver, self._router
        waiter = Waiter(_no_wake)
        try:
            driver.cancel(waiter, order, id, timeout, policy, urgent=urgent)
            while not waiter.outcomes:
                driver.run_once(inf)
            return router.pop_outcome(waiter)
        except BaseException:
            router.abandon(waiter)
            raise

    def _cancel_many(
        self, orders: Iterator[CancelOrder], timeout: float | None, policy: Policy | None
    ) -> Generator[Outcome]:
        router = self._router
        waiter = Waiter(_no_wake, ReleasingOrders(self._driver, orders))
        try:
            while True:
                more = self._driver.submit_orders(waiter, timeout, policy)
                if more:
                    self._driver.run_once(self._driver.now())
                if waiter.outcomes:
                    yield router.pop_outcome(waiter)
                elif more:
                    continue
                elif waiter.orders is None and not waiter.expected:
                    return
                elif not waiter.expected and not router.core.in_flight and router.takes_cancels:
                    # Nothing in flight can free a place, and only the caller can read the outcomes
                    # that fill all places: waiting here would never end.
                    raise NoRoom(
                        "unread outcomes use up Config.max_in_flight: read channel.events, or "
                        "continue the cancel_many that was started before"
                    )
                else:
                    self._driver.run_once(inf)
        finally:
            try:
                router.abandon(waiter)
            except BaseException:
                router.abandon(waiter)  # or its outcomes would be lost
                raise


@set_module("bitget_transports.blocking")
class SessionChannel(Channel):
    """A channel that stays connected, from `open_session`: cancels survive lost connections.

    `events` include `Up` and `Down`. Subscriptions end with their connection: send them again after
    each `Up`.
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
        """Like `Channel.cancel`, with a `policy` for the case that the connection ends after the
        cancel was sent and before it was answered: REPORT (the default of `SessionConfig.policy`)
        returns `Unresolved(sent=True)`, RESEND sends it again.

        Raises: the same as `Channel.cancel`.
        """
        return self._cancel(order, id, timeout, policy, urgent=urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> Generator[Outcome]:
        """Like `Channel.cancel_many`, with the `policy` of `cancel`."""
        return self._cancel_many(iter(orders), timeout, policy)


class Events:
    """Events, and outcomes that no call waits for: `for event in channel.events`.

    Iteration ends after `Closed`, or `Ended` for a session. It waits for the next event, and serves
    the connection meanwhile.
    """

    def __init__(self, driver: BlockingDriver) -> None:
        self._driver = driver

    def __iter__(self) -> Self:
        return self

    def take(self) -> ChannelEvent | None:
        """Return the oldest unread event, or None when there is none. It never waits, and does not
        serve the connection: see `pump`.
        """
        self._driver.check_free()
        return self._driver.router.pop_event()

    def __next__(self) -> ChannelEvent:
        router = self._driver.router
        while (event := self.take()) is None:
            if router.closed is not None:
                raise StopIteration
            self._driver.run_once(inf)
        return event


AnyChannel = TypeVar("AnyChannel", bound=Channel)


@set_module("bitget_transports.blocking")
class Opener(AbstractContextManager[AnyChannel]):
    """Opens one channel: with `with`, or with `open` where the channel is opened and closed in
    different functions.
    """

    def __init__(self, channel: Callable[[], AnyChannel]) -> None:
        self._channel = channel
        self._used = False
        self._context: AbstractContextManager[AnyChannel]

    def open(self) -> AnyChannel:
        """Connect, log in, and return the channel. Close it with `Channel.close`.

        Raises: the same as `connect` or `open_session`.
        """
        channel = self._make()
        channel._driver.start()
        return channel

    def __enter__(self) -> AnyChannel:
        self._context = _entered(self._make())
        return self._context.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._context.__exit__(kind, error, traceback)

    def _make(self) -> AnyChannel:
        check_unused(used=self._used)
        self._used = True
        return self._channel()


@contextmanager
def _entered(channel: AnyChannel) -> Generator[AnyChannel]:
    with channel._driver.running():
        yield channel
        channel.close()


def _no_wake() -> None:
    """The `wake` of a blocking call, which looks for outcomes itself."""
