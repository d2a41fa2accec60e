"""The stage of a conformance scenario: a driver in its thread, its core, and the peers.

The core is a connection or a session. A connection has one link, with number 1; the links of a
session are accepted one after the other.

The driver and the scenario run in different threads; either of them may run in the caller's thread.
The driver is made, run and freed in the same thread. Every wait is bounded by `patience`. If an
event is missing by then, the scenario reports the rule that it tests, or a more basic rule that
`blame` finds broken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias, runtime_checkable

from ..._machine.connection import Connection
from ..._machine.session import Session
from ..._machine.session_events import LinkClosed
from ..._values.errors import LocalProtocolError
from ..._values.events import Closed, Outcome
from ..._values.orders import CancelOrder
from ..._wire.exchange_codec import encode_event, encode_reply
from .driver_checks import DriverError, Rule
from .driver_thread import AnyDriver, DriverThread
from .recording import LinkRecord
from .recording_connection import ONLY_LINK, Recorder
from .recording_session import SessionRecorder
from .websocket_peer import Gone, Peer, Silence

_SLICE = 0.05
"""Seconds after which a wait checks again whether the driver still runs."""

LOGGED_IN = encode_event("login", 0, "")


class NotPlayed(Exception):
    """The scenario does not apply to this driver."""


class NotReached(Exception):
    """The situation of the scenario did not arise, so the run shows nothing about the driver."""


@runtime_checkable
class Abandons(Protocol):
    """An optional method of drivers whose users wait for outcomes."""

    def abandon(self, order: CancelOrder, /) -> object:
        """Cancel an order like the driver's users, then cancel the wait for its outcome.

        It is called from another thread.
        """
        ...


Core: TypeAlias = Recorder | SessionRecorder


class Stage:
    """The driver, core and peers of one scenario."""

    def __init__(
        self,
        core: Core,
        make: Callable[[str], AnyDriver],
        patience: float,
        *,
        narrow: bool,
        attempt: int = 0,
    ) -> None:
        self.attempt = attempt
        """How often the scenario was played before without reaching its situation."""
        self.core = core
        self.patience = patience
        self.peer = Peer(patience, narrow=narrow)
        """The peer of the newest link."""
        self.peers = {ONLY_LINK: self.peer}
        """The peers by the number of their link."""
        self.orders: dict[str, CancelOrder] = {}
        """The orders to cancel, by request id."""

        self.reads_on = True
        """Whether the peer reads to the end, so that the driver's close frame can arrive."""

        self._callers: list[threading.Thread] = []
        self.thread = DriverThread(lambda: make(self.peer.url), self.core.changed)

    # --- the driver ---

    @property
    def driver(self) -> AnyDriver:
        """The driver, once `make_driver` has returned it.

        Raises: RuntimeError when `make_driver` has failed or takes too long.
        """
        return self.thread.driver(self.patience)

    def open(self) -> None:
        """Start the driver and open the WebSocket."""
        self.thread.start()
        with self.demands(Rule.END, "the driver did not open a WebSocket"):
            self.peer.accept()
            self.peer.upgrade()

    def log_in(self) -> None:
        """Start the driver, open the WebSocket, and accept any login."""
        self.open()
        self.accept_login()

    def accept_login(self) -> None:
        """Accept the login of the newest link."""
        with self.demands(Rule.DRAIN, "opened was not followed by the login"):
            self.peer.read()
        self.peer.say(LOGGED_IN)
        self.expect(
            lambda: self.link.ready, Rule.READ, "the answer to the login was not handed over"
        )

    def call(self, fn: Callable[[Core, float], object]) -> None:
        """Have the driver run `fn`, and wait until it has."""
        refused: list[Exception] = []

        def tried(connection: Core, now: float) -> None:
            try:
                fn(connection, now)
            except LocalProtocolError as error:
                refused.append(error)

        if not self.call_soon(tried).wait(self.patience):
            raise self.unreachable()
        if refused:
            raise DriverError(Rule.END, f"the {self.core.noun} refused a command: {refused[0]}")

    def call_soon(self, fn: Callable[[Core, float], object]) -> threading.Event:
        """Have the driver run `fn`; return an event that is set when it has."""
        done = threading.Event()

        def inside(connection: Connection | Session, now: float) -> None:
            if connection is not self.core:
                self.core.complain(Rule.CALLER, f"call(fn) passed another {self.core.noun} to fn")
            since = time.monotonic()
            try:
                fn(self.core, now)
            finally:
                self.core.held_up_for += time.monotonic() - since
                done.set()

        # In a thread, because a call may wait for a loop that has stopped.
        thread = threading.Thread(
            target=self._call, args=(inside,), name="calls the driver", daemon=True
        )
        self._callers.append(thread)
        thread.start()
        return done

    def release(self) -> None:
        """Have the driver freed, once no call of the kit refers to it."""
        for thread in self._callers:
            thread.join(_SLICE)  # a thread that waits for a stopped loop never ends
        self.thread.release()

    def _call(self, inside: Callable[[Connection | Session, float], None]) -> None:
        try:
            self.driver.call(inside)
        except BaseException as error:  # noqa: BLE001 - reported in the result
            if not self.has_ended:
                self.core.complain(Rule.CALLER, f"call(fn) raised {error!r}")

    def held_up(self) -> AbstractContextManager[None]:
        """Block the driver's thread during the body, like a suspended laptop or a GC pause."""
        return self._held_up(self.call_soon, self.unreachable)

    def held_up_in_receive(self, message: str) -> AbstractContextManager[None]:
        """Like `held_up`, while the driver hands over this message of the peer."""

        def begin(hold: Callable[..., object]) -> None:
            def timed() -> None:
                since = time.monotonic()
                hold()
                self.core.held_up_for += time.monotonic() - since

            self.core.on_receive = timed
            self.peer.say(message)

        return self._held_up(
            begin, lambda: self.missing(Rule.READ, "a message was not handed over")
        )

    @contextmanager
    def _held_up(
        self,
        begin: Callable[[Callable[..., object]], object],
        missing: Callable[[], DriverError],
    ) -> Generator[None]:
        held, go_on = threading.Event(), threading.Event()

        def hold(*_: object) -> None:
            held.set()
            go_on.wait()

        begin(hold)
        try:
            if not held.wait(self.patience):
                raise missing()
            yield
        finally:
            self.core.on_receive = None
            go_on.set()

    # --- links ---

    def links(self) -> Iterator[tuple[int, Peer, LinkRecord]]:
        """Yield the links that were dialled and accepted: number, peer, and record."""
        for number, peer in self.peers.items():
            if number in self.core.links:
                yield number, peer, self.core.links[number]

    def on(self, number: int) -> str:
        """Return " on link …" for a session, and an empty string for a connection."""
        return f" on link {number}" if isinstance(self.core, SessionRecorder) else ""

    @property
    def link(self) -> LinkRecord:
        """What the driver did with the newest link.

        Raises: DriverError when the link was accepted although no `Dial` had asked for it.
        """
        number = max(self.peers)
        if number not in self.core.links and not self.peer.connected:
            return LinkRecord()
        if number not in self.core.links:
            what = f"the driver opened {number} WebSockets, and the session returned {number - 1} `Dial`"
            raise DriverError(Rule.DIAL, what)
        return self.core.links[number]

    def next_link(self, failure: str) -> Peer:
        """Accept the connection of the next link of a session, and return its peer.

        Raises: DriverError with the message `failure` when no connection comes in time; DriverError
        when no `Dial` had asked for one.
        """
        peer = self.peer.another()
        with self.demands(Rule.DIAL, failure):
            peer.accept()
        self.peer = self.peers[max(self.peers) + 1] = peer
        _ = self.link
        return peer

    def open_next_link(self, failure: str) -> Peer:
        """Accept the next link of a session, open it, and accept its login."""
        peer = self.next_link(failure)
        with self.demands(Rule.DIAL, failure):
            peer.upgrade()
        self.accept_login()
        return peer

    @contextmanager
    def listening(self) -> Generator[None]:
        """Listen during the body; then close all sockets of the peers."""
        with self.peer:
            try:
                yield
            finally:
                for peer in self.peers.values():
                    peer.close()

    def finish(self) -> None:
        """End the session, and the connection of each link in order."""
        if isinstance(self.core, SessionRecorder):
            self._close()
        for peer in self.peers.values():
            peer.finish()

    def _close(self) -> None:
        """Close the session at once: the second `close` does not wait for answers."""
        end = time.monotonic() + self.patience
        for _ in range(2):
            if not self.has_ended:
                done = self.call_soon(lambda session, now: session.close(now))
                while not (done.wait(_SLICE) or self.has_ended or time.monotonic() >= end):
                    pass

    @property
    def has_ended(self) -> bool:
        """Whether the core has ended, or the driver has returned."""
        return self.core.closed is not None or not self.thread.running

    # --- cancels ---

    def order(self, id: str) -> CancelOrder:
        """Return the order to cancel under this id; each id has its own."""
        return self.orders.setdefault(
            id, CancelOrder("BTCUSDT", order_id=str(len(self.orders) + 1))
        )

    def cancel(self, *ids: str, timeout: float | None = None, sleep: float = 0.0) -> None:
        """Have the driver cancel orders under these ids in one call, which sleeps at the end."""
        orders = [(id, self.order(id)) for id in ids]

        def take(connection: Core, now: float) -> None:
            for id, order in orders:
                connection.cancel(order, now, id, timeout)
            time.sleep(sleep)

        self.call(take)

    def abandon(self, order: CancelOrder) -> str:
        """Have the driver start a wait for an outcome and cancel it; return the cancel's id."""
        left = self.core.handed_out
        before, driver = len(left), self.driver
        if not isinstance(driver, Abandons):
            raise NotPlayed(
                "the driver has no abandon(order), so its users do not wait for outcomes"
            )
        driver.abandon(order)
        never = "a wait was cancelled, and its cancel was never sent"
        self.expect(lambda: any(one.ids for one in left[before:]), Rule.ABANDON, never)
        return next(one.ids[0] for one in left[before:] if one.ids)

    def reply(self, id: str) -> str:
        """Return the exchange's reply that accepts this cancel."""
        return encode_reply(self.orders[id], id)

    def hear(self, *ids: str) -> None:
        """Have the peer read until these cancels have arrived."""
        with self.demands(
            Rule.DRAIN, f"the cancel {ids[-1]!r} was taken and never arrived at the exchange"
        ):
            while not set(ids) <= self.heard():
                self.peer.read()

    def heard(self) -> set[str]:
        """Return the ids of the cancels that have arrived, on any link."""
        texts = {text for peer in self.peers.values() for text in peer.received}
        return {id for one in self.core.handed_out if one.text in texts for id in one.ids}

    def outcome(self, id: str, rule: Rule, failure: str) -> Outcome:
        """Return the outcome of a cancel.

        Raises: DriverError for `rule` with the message `failure` when there is none in time.
        """
        self.expect(lambda: id in self.core.outcomes, rule, failure)
        return self.core.outcomes[id]

    def outcome_is(self, id: str, kind: type[Outcome], rule: Rule, failure: str) -> None:
        """Check that the outcome of a cancel is of this kind.

        Raises: DriverError for `rule` with the message `failure` when it is not.
        """
        outcome = self.outcome(id, rule, failure)
        if not isinstance(outcome, kind):
            raise self.blame(rule, f"{failure}: the cancel {id!r} became {type(outcome).__name__}")

    def shake_hands(self) -> None:
        """Wait for the driver's answer to a close frame, then end the stream as a server does."""
        with self.demands(Rule.END, "the exchange's close frame was not answered with one"):
            self.peer.read_close()
        self.peer.end_of_stream()

    # --- requirements ---

    def needs(self, holds: bool, failure: str) -> None:
        """Check that the situation of the scenario has arisen.

        Raises: NotReached with the message `failure` when it has not.
        """
        if not holds:
            raise NotReached(failure)

    def longer(self, seconds: float) -> float:
        """Return a timeout: twice as long in each further attempt, for a machine that is busy."""
        return seconds * 2.0**self.attempt

    def expect(self, holds: Callable[[], bool], rule: Rule, failure: str) -> None:
        """Wait until `holds` returns true.

        Raises: DriverError for `rule` with the message `failure` when it does not in time.
        """
        end = time.monotonic() + self.patience
        while not self.core.wait_for(holds, min(_SLICE, max(0.0, end - time.monotonic()))):
            if (time.monotonic() >= end or not self.thread.running) and not holds():
                raise self.missing(rule, failure)

    def expect_all_read(self, failure: str) -> None:
        """Wait until all messages of the peer are handed over, as long as there is progress."""
        read = self.link.handed_over
        while (count := len(read)) < len(self.peer.said):
            self.expect(lambda: len(read) > count, Rule.READ, failure)

    @contextmanager
    def demands(self, rule: Rule, failure: str) -> Generator[None]:
        """Turn a failed read or write of the peer into a broken rule, with the message `failure`."""
        try:
            yield
        except (Silence, Gone) as error:
            raise self.missing(rule, f"{failure} ({error})") from None

    def expect_closed(self, rule: Rule, failure: str) -> Closed | LinkClosed:
        """Wait for the end of the newest link and return it.

        Raises: DriverError for `rule` with the message `failure` when it does not come in time.
        """
        self.expect(lambda: self.link.closed is not None, rule, failure)
        closed = self.link.closed
        assert closed is not None
        return closed

    def unreachable(self) -> DriverError:
        """Return the error for a driver that did not run `fn` in time."""
        what = f"call(fn) did not run fn within {self.patience} s"
        if self.thread.running and self.core.is_writing:
            what = f"the driver did nothing else while a write stalled: {what}"
            return DriverError(Rule.READ, what + self.thread.stands())
        return self.missing(Rule.CALLER if self.thread.running else Rule.END, what)

    def missing(self, rule: Rule, what: str) -> DriverError:
        """Return the error for something that did not happen, with where the driver's thread is."""
        error = self.blame(rule, what)
        return DriverError(error.rule, error.what + self.thread.stands())

    def blame(self, rule: Rule, what: str) -> DriverError:
        """Return the error for a broken rule, or for a more basic one that explains it.

        The more basic rules are LINK if `lost` was called for the wrong link, WRITE if only the
        beginning of a frame has arrived, READ if bytes are unread, and DRAIN if a call was not
        drained. If the driver's `run` raised, the message says so.
        """
        mixed_up = self._mixed_up() if rule is Rule.END else ""
        if mixed_up:
            return DriverError(Rule.LINK, f"{what}: {mixed_up}")
        if any(peer.has_part for peer in self.peers.values()):
            return DriverError(Rule.WRITE, f"{what}: only the beginning of a frame arrived")
        if self.thread.failed:
            what += f"; {self.thread.failed}"
        elif not self.thread.running:
            what += "; run() had returned"
        elif not self.thread.made:
            what += "; make_driver had not returned"
        elif rule is Rule.END and self.link.closed is None and self.peer.unread:
            rule, what = Rule.READ, f"{what}: {self.peer.unread} bytes lie unread"
        elif self._is_undrained():
            return DriverError(Rule.DRAIN, f"{what}: the last call was not drained to its Wait")
        return DriverError(rule, what)

    def _mixed_up(self) -> str:
        """Describe a call of `lost` for an open link instead of an ended one; empty if none."""
        links = tuple(self.links())
        open_ = [n for n, peer, link in links if peer.listens_on and link.lost_calls]
        over = [
            n
            for n, peer, link in links
            if peer.connected and not (peer.listens_on or link.lost_calls or link.hangup)
        ]
        if not (open_ and over):
            return ""
        return f"lost was called for link {open_[0]}, which is open, and not for link {over[0]}"

    def _is_undrained(self) -> bool:
        """Whether the last call was not drained, and the driver makes no progress."""
        before = len(self.core.steps)
        for _ in range(3):
            time.sleep(_SLICE)
            if not self.core.undrained or len(self.core.steps) != before:
                return False
        return True
