"""What a scenario of the conformance kit is played on: a driver in its thread, its connection, and the exchange's end.

Rules of this file
- The driver runs in a thread of its own; the scenario, and with it the peer, in the caller's.
- Every wait is bounded by `patience`. What should have happened by then has not, and that is a broken rule.
- The scenario names the rule; if the driver left a call undrained, or its `run` raised, that is said too.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

from ..._machine.connection import Connection
from ..._machine.connection_config import Config
from ..._values.errors import LocalProtocolError
from ..._values.events import Closed, Outcome
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._wire.codec import encode_cancel
from ..._wire.exchange_codec import encode_event, encode_reply
from .recording_connection import Recorder
from .strict_connection import DriverError, Rule
from .websocket_peer import Gone, Peer, Silence

_SLICE = 0.05
"""Seconds after which a wait looks whether the driver still runs."""

LOGGED_IN = encode_event("login", 0, "")


class NotPlayed(Exception):
    """The scenario is not for this driver."""


@set_module("bitget_proto.testing")
class DriverUnderTest(Protocol):
    """A driver, as the kit needs it."""

    def run(self) -> None:
        """Dial, open, and drive the connection until it is `Closed`, on whatever event loop; then return."""
        ...

    def call(self, fn: Callable[[Connection, float], object], /) -> object:
        """Run `fn(connection, now)` in the thread of `run`, then drain. It is called from other threads."""
        ...


@runtime_checkable
class Abandons(Protocol):
    """What a driver may have besides, if its users wait for outcomes."""

    def abandon(self, order: CancelOrder, /) -> object:
        """Cancel an order in the way of the driver's users, and give up the wait as soon as it has begun. It is called from
        another thread.
        """
        ...


MakeDriver: TypeAlias = Callable[[Connection, str], DriverUnderTest]
"""Makes a driver for a connection and the URL of the exchange; called in the thread in which `run` will be."""


class Stage:
    """One scenario's driver, connection and peer."""

    def __init__(
        self, make_driver: MakeDriver, config: Config, patience: float, *, narrow: bool
    ) -> None:
        self.connection = Recorder(config)
        self.patience = patience
        self.peer = Peer(patience, narrow=narrow)
        self.failed = ""
        """What `make_driver` or `run` raised, and where, or that it made no driver; empty while there is nothing."""
        self.orders: dict[str, CancelOrder] = {}
        """What was to be cancelled, by id."""

        self.reads_on = True
        """Whether the peer reads on to the end, so that a close frame of the driver's can get through."""

        self._make_driver = make_driver
        self._driver: DriverUnderTest | None = None
        self._made = threading.Event()
        self._thread: threading.Thread | None = None

    # --- the driver ---

    @property
    def driver(self) -> DriverUnderTest:
        """The driver, once it is made.

        Raises: RuntimeError when making it has failed, or takes too long.
        """
        self._made.wait(self.patience)
        if self._driver is None:
            raise RuntimeError("there is no driver")
        return self._driver

    @property
    def doing(self) -> str:
        """What the driver's thread does, or did at last."""
        return "make_driver" if self._driver is None else "run()"

    @property
    def running(self) -> bool:
        """Whether `run` was called and has not returned."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Make the driver and let it run, in a thread of its own."""
        url = self.peer.url

        def body() -> None:
            try:
                made = self._make_driver(self.connection, url)
                lacks = [
                    name for name in ("run", "call") if not callable(getattr(made, name, None))
                ]
                if lacks:
                    self.failed = f"make_driver gave {made!r}, which has no {lacks[0]}(): a driver has run() and call(fn)"
                    return
                self._driver, run = made, cast("Callable[[], object]", made.run)
                self._made.set()
                result = run()
                if isinstance(result, Coroutine):
                    result.close()
                    self.failed = "run() is a coroutine function: it must block, on whatever loop it starts itself"
            except BaseException as error:  # noqa: BLE001 - it is told in the report
                self.failed = f"{self.doing} raised {error!r}{raised_at(error)}"
            finally:
                self.connection.changed()

        self._thread = threading.Thread(target=body, name="the driver under test", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Start, and open the WebSocket."""
        self.start()
        with self.demands(Rule.END, "the driver did not open a WebSocket"):
            self.peer.accept()
            self.peer.upgrade()

    def log_in(self) -> None:
        """Start, open the WebSocket, and accept the login, whatever it says."""
        self.open()
        with self.demands(Rule.DRAIN, "opened was not followed by the login"):
            self.peer.read()
        self.peer.say(LOGGED_IN)
        self.expect(
            lambda: self.connection.ready, Rule.READ, "the answer to the login was not handed over"
        )

    def call(self, fn: Callable[[Recorder, float], object]) -> None:
        """Let the driver call this, and wait until it has."""
        refused: list[Exception] = []

        def tried(connection: Recorder, now: float) -> None:
            try:
                fn(connection, now)
            except LocalProtocolError as error:
                refused.append(error)

        if not self.call_soon(tried).wait(self.patience):
            raise self.unreachable()
        if refused:
            raise DriverError(Rule.END, f"the connection took no command any more: {refused[0]}")

    def call_soon(self, fn: Callable[[Recorder, float], object]) -> threading.Event:
        """Let the driver call this; the event is set when it has."""
        done = threading.Event()

        def inside(connection: Connection, now: float) -> None:
            if connection is not self.connection:
                self.connection.complain(Rule.CALLER, "call(fn) gave fn another connection")
            try:
                fn(self.connection, now)
            finally:
                done.set()

        # A thread, because a call may wait for a loop that has stopped.
        threading.Thread(
            target=self._call, args=(inside,), name="calls the driver", daemon=True
        ).start()
        return done

    def _call(self, inside: Callable[[Connection, float], None]) -> None:
        try:
            self.driver.call(inside)
        except BaseException as error:  # noqa: BLE001 - it is told in the report
            if self.running:
                self.connection.complain(Rule.CALLER, f"call(fn) raised {error!r}")

    @contextmanager
    def held_up(self) -> Generator[None]:
        """The driver's thread does nothing else meanwhile: a suspended laptop, a long pause of the garbage collector."""
        held, go_on = threading.Event(), threading.Event()

        def hold(_: Recorder, __: float) -> None:
            held.set()
            go_on.wait(self.patience)

        done = self.call_soon(hold)
        if not held.wait(self.patience):
            raise self.unreachable()
        try:
            yield
        finally:
            go_on.set()
            done.wait(self.patience)

    def returned(self, seconds: float) -> bool:
        """Wait for the end of `run`; whether it has returned."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.running

    # --- cancels ---

    def order(self, id: str) -> CancelOrder:
        """The order that is to be cancelled under this id: one of its own for each."""
        return self.orders.setdefault(
            id, CancelOrder("BTCUSDT", order_id=str(len(self.orders) + 1))
        )

    def cancel(self, *ids: str, timeout: float | None = None, sleep: float = 0.0) -> None:
        """Let the driver cancel orders under these ids, in one call, which then takes so long."""
        orders = [(id, self.order(id)) for id in ids]

        def take(connection: Recorder, now: float) -> None:
            for id, order in orders:
                connection.cancel(order, now, id, timeout)
            time.sleep(sleep)

        self.call(take)

    def abandon(self, order: CancelOrder) -> str:
        """Let somebody wait for the outcome of a cancel, in the way of the driver's users, and give up the wait; its id."""
        left = self.connection.handed_out
        before, driver = len(left), self.driver
        if not isinstance(driver, Abandons):
            raise NotPlayed(
                "the driver has no abandon(order): none of its users waits for an outcome"
            )
        driver.abandon(order)
        never = "a wait was given up, and its cancel never left"
        self.expect(lambda: any(one.id for one in left[before:]), Rule.ABANDON, never)
        return next(one.id for one in left[before:] if one.id)

    def reply(self, id: str) -> str:
        """What the exchange says when it has accepted this cancel."""
        return encode_reply(self.orders[id], id)

    def hear(self, *ids: str) -> None:
        """Let the peer read until it has these cancels."""
        with self.demands(
            Rule.DRAIN, f"the cancel {ids[-1]!r} was taken and never arrived at the exchange"
        ):
            while not set(ids) <= self.heard():
                self.peer.read()

    def heard(self) -> set[str]:
        """The ids of the cancels that have arrived at the peer."""
        texts = set(self.peer.received)
        return {id for id, order in self.orders.items() if encode_cancel(order, id) in texts}

    def outcome(self, id: str, rule: Rule, unless: str) -> Outcome:
        """The outcome of a cancel; if none comes in time this rule is broken, in these words."""
        self.expect(lambda: id in self.connection.outcomes, rule, unless)
        return self.connection.outcomes[id]

    def outcome_is(self, id: str, kind: type[Outcome], rule: Rule, unless: str) -> None:
        """See that the cancel comes to that outcome; if not this rule is broken, in these words."""
        outcome = self.outcome(id, rule, unless)
        if not isinstance(outcome, kind):
            raise self.blame(rule, f"{unless}: the cancel {id!r} became {type(outcome).__name__}")

    def shake_hands(self) -> None:
        """The peer has sent a close frame: wait for the driver's, then end the stream, as a server does."""
        with self.demands(Rule.END, "a close frame came, and was not answered with one"):
            self.peer.read_close()
        self.peer.end_of_stream()

    # --- demands ---

    def expect(self, holds: Callable[[], bool], rule: Rule, unless: str) -> None:
        """Wait until something holds; if it does not in time this rule is broken, in these words."""
        end = time.monotonic() + self.patience
        while not self.connection.wait_for(holds, min(_SLICE, max(0.0, end - time.monotonic()))):
            if (time.monotonic() >= end or not self.running) and not holds():
                raise self.blame(rule, unless)

    def expect_all_read(self, unless: str) -> None:
        """Wait until all that the peer has said is handed over, for as long as it goes on."""
        read = self.connection.handed_over
        while (count := len(read)) < len(self.peer.said):
            self.expect(lambda: len(read) > count, Rule.READ, unless)

    @contextmanager
    def demands(self, rule: Rule, unless: str) -> Generator[None]:
        """What the peer waits for in here must come; if not this rule is broken, in these words."""
        try:
            yield
        except (Silence, Gone) as error:
            raise self.blame(rule, f"{unless} ({error})") from None

    def expect_closed(self, rule: Rule, unless: str) -> Closed:
        """Wait for `Closed`; if it does not come in time this rule is broken, in these words."""
        self.expect(lambda: self.connection.closed is not None, rule, unless)
        closed = self.connection.closed
        assert closed is not None
        return closed

    def unreachable(self) -> DriverError:
        """What is to be said of a driver that did not run what it was to call."""
        what = f"call(fn) did not run fn within {self.patience} s"
        if self.running and self.connection.is_writing:
            return DriverError(
                Rule.READ, f"a write stalled, and meanwhile the driver did nothing else: {what}"
            )
        return self.blame(Rule.CALLER, what)

    def blame(self, rule: Rule, what: str) -> DriverError:
        """The broken rule; where the last call was not drained it is that one."""
        if self.peer.has_part:
            return DriverError(
                Rule.WRITE, f"{what}: the beginning of a frame arrived, and not the rest of it"
            )
        if self.failed:
            what += f"; {self.failed}"
        elif not self.running:
            what += "; run() had returned"
        elif self._driver is None:
            what += "; make_driver had not returned"
        elif self._is_undrained():
            return DriverError(Rule.DRAIN, f"{what}: the last call was not drained to its Wait")
        return DriverError(rule, what)

    def _is_undrained(self) -> bool:
        """Whether a call was not drained, and the driver does nothing about it."""
        before = len(self.connection.steps)
        for _ in range(3):
            time.sleep(_SLICE)
            if not self.connection.undrained or len(self.connection.steps) != before:
                return False
        return True


def raised_at(error: BaseException) -> str:
    """The innermost line that an error came from, in brackets; empty when it is none of the driver's."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return (
        ""
        if last.filename == __file__ or last.filename.startswith("<")
        else f" ({Path(last.filename).name}, line {last.lineno})"
    )
