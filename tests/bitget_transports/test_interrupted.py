"""The blocking transport is interrupted at any point: by Ctrl-C, or by another signal handler.

CPython checks for signals at calls and in loops. So the test repeats a run and interrupts it at
each such place in turn: before a line that calls or jumps back, and after a call of a C function,
before its result is stored. No signal handler can run in between.

A ledger tracks each cancel: whether it was taken, whether the peer read it, and which outcome was
reported.
"""

from __future__ import annotations

import dis
import functools
import gc
import itertools
import json
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, suppress
from errno import EAGAIN, ECONNRESET, ETIMEDOUT
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self, TypeAlias

import attrs
import pytest
import websockets

import bitget_proto
import bitget_transports
from bitget_proto import (
    Accepted,
    Closed,
    Config,
    Connection,
    Ended,
    LocalProtocolError,
    NoRoom,
    Outcome,
    Rejected,
    Session,
    SessionConfig,
    SessionState,
    State,
    Unrecognised,
    Unresolved,
)
from bitget_proto.testing.framing import CLOSE, TEXT, frame, key_of, parse, upgraded
from bitget_transports import ConnectFailed, Limits
from bitget_transports.blocking import Channel, Opener, connect, open_session

from .colours import KEY, orders
from .tidy import nothing_left

_BOUND = 10.0
"""Seconds after which the peer times out."""

_OVER = b"over"
"""Sent to the peer when a run is over."""

_ORDERS = orders(10)
_DROPPED, *_LAST = _ORDERS[7:]
"""The peer drops the connection at the first; the others are sent after an interrupt."""

_CONFIG = Config(messages_per_second=None, max_in_flight=3, answer_timeout=5.0)
_SESSION = SessionConfig(
    link=_CONFIG, backoff_min=0.001, backoff_max=0.002, dials_per_5_minutes=None
)
_LIMITS = Limits(open_timeout=5.0, close_timeout=1.0, write_timeout=5.0)


class Peer:
    """An exchange on a socket that accepts every cancel and records it. One client at a time."""

    def __init__(self) -> None:
        self.read: list[str] = []
        """The order of each cancel that was read, with repeats."""
        self.faults: list[str] = []
        self._idle = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_BOUND)

    def take_read(self) -> list[str]:
        """Wait until no client is connected; return what was read since the last call."""
        with socket.create_connection(self._listener.getsockname()) as last_client:
            last_client.sendall(_OVER)
        assert self._idle.acquire(timeout=_BOUND), "a client left its socket open"
        read, self.read = self.read, []
        return read

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                with accepted:
                    accepted.settimeout(_BOUND)
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._serve(accepted)

    def _serve(self, client: socket.socket) -> None:
        data = b""
        with suppress(ConnectionError):
            while b"\r\n\r\n" not in data:
                if not (more := client.recv(65536)):
                    return
                data += more
                if data == _OVER:
                    self._idle.release()
            head, _, data = data.partition(b"\r\n\r\n")
            client.sendall(upgraded(key_of(head)))
            while True:
                while (parsed := parse(data)) is None:
                    if not (more := client.recv(65536)):
                        return
                    data += more
                data = data[parsed[1] :]
                answer = self._answer(parsed[0].opcode, parsed[0].data, masked=parsed[0].masked)
                if answer is None:
                    return
                client.sendall(answer)

    def _answer(self, opcode: int, data: bytes, *, masked: bool) -> bytes | None:
        if opcode == CLOSE:
            return None
        try:
            asked: Any = data.decode() if data in (b"ping", b"subscribe") else json.loads(data)
        except ValueError:
            asked = None
        if opcode != TEXT or not masked or asked is None:
            self.faults.append(f"not a frame of a client: {opcode} {data!r}")
            return None
        if asked == "ping":
            return frame(TEXT, b"pong")
        if asked == "subscribe":
            return frame(TEXT, b'{"event":"subscribe"}')
        if asked["op"] == "login":
            return frame(TEXT, b'{"event":"login","code":0}')
        order = asked["args"][0]["params"]["orderId"]
        self.read.append(order)
        if order == _DROPPED.order_id:
            return None
        return frame(
            TEXT,
            json.dumps(
                {"event": "trade", "arg": asked["args"], "code": 0, "msg": "Success"}
            ).encode(),
        )


# --- where a run is interrupted ---

Place: TypeAlias = tuple[str, int, str]
"""A file, a line, and "before" or the name of the called function."""

_LOOKS = ("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD", "RESUME")
"""Prefixes of the instructions at which CPython checks for signals."""

_TRANSPORT = Path(bitget_transports.__file__).parent
_CORE = Path(bitget_proto.__file__).parent
_WEBSOCKETS = Path(websockets.__file__).parent
_PATHS = [
    *(
        _TRANSPORT / "blocking" / f"{name}.py"
        for name in ("_client", "_dial", "_driver", "_socket_link")
    ),
    *(
        _TRANSPORT / "_driver" / f"{name}.py"
        for name in ("address_race", "driver", "outcome_router", "single_link", "websocket")
    ),
    *(_CORE / "_machine" / f"{name}.py" for name in ("connection", "session")),
    *(_WEBSOCKETS / f"{name}.py" for name in ("client", "frames", "protocol")),
]
assert all(path.is_file() for path in _PATHS)
_FILES = frozenset(map(str, _PATHS))


_CONTEXT = tuple(vars(Opener)[name].__code__ for name in ("__enter__", "__exit__"))
"""Not interrupted before their first step, as the functions of contextlib are not: when a context
was not left, the garbage collector closes the channel."""

_CANCELS = (Connection.cancel.__code__, Session.cancel.__code__)


@functools.cache
def _calling(code: CodeType) -> frozenset[int]:
    """Return the lines of this code on which CPython checks for signals."""
    lines: set[int] = set()
    line = code.co_firstlineno
    starts = dict(dis.findlinestarts(code))
    for instruction in dis.get_instructions(code):
        line = starts.get(instruction.offset) or line
        if instruction.opname.startswith(_LOOKS):
            lines.add(line)
    return frozenset(lines)


ERRORS: tuple[Callable[[], BaseException], ...] = (
    KeyboardInterrupt,
    partial(TimeoutError, "alarm"),
    partial(TimeoutError, ETIMEDOUT, "alarm"),
    partial(BlockingIOError, EAGAIN, "alarm"),
    partial(ssl.SSLWantReadError, ssl.SSL_ERROR_WANT_READ, "alarm"),
    partial(ConnectionResetError, ECONNRESET, "alarm"),
    partial(ConnectFailed, "alarm"),
    partial(NoRoom, "alarm"),
    partial(LocalProtocolError, "alarm"),
    partial(KeyError, "alarm"),
    partial(ValueError, "alarm"),
    partial(EOFError, "alarm"),
)
"""What a signal handler may raise, including what the network or the library raises."""


class Interrupt:
    """Raise an error in this thread when it reaches a place for the given time.

    Without a place, only record the places.
    """

    def __init__(
        self,
        place: Place | None = None,
        time: int = 1,
        error: Callable[[], BaseException] = KeyboardInterrupt,
    ) -> None:
        self.seen: Counter[Place] = Counter()
        self.error = error()
        self.raised = False
        self.taken: list[str] = []
        """The order of each cancel that the core took before the interrupt."""
        self._place = place
        self._time = time
        self._before = sys.gettrace()

    def start(self) -> None:
        sys.settrace(self._trace)
        sys.setprofile(self._profile)

    def stop(self) -> None:
        sys.setprofile(None)
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in _FILES or frame.f_code in _CONTEXT:
            return None
        if event == "line" and frame.f_lineno in _calling(frame.f_code):
            self._at((frame.f_code.co_filename, frame.f_lineno, "before"))
        return self._trace

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_return" and frame.f_code.co_filename in _FILES:
            self._at((frame.f_code.co_filename, frame.f_lineno, arg.__name__))
        elif event == "return" and frame.f_code in _CANCELS and arg is not None:
            local = frame.f_locals
            # A connection that was never opened answers cancels after the end: see `OutcomeRouter.cancel`.
            if local["self"].state is not State.NEW:
                self.taken.append(local["order"].order_id)

    def _at(self, place: Place) -> None:
        self.seen[place] += 1
        if place == self._place and self.seen[place] == self._time and not self.raised:
            self.raised = True
            raise self.error


# --- the outcomes ---


@attrs.define
class Ledger:
    taken: list[str] = attrs.field(factory=list[str])
    reported: list[Outcome] = attrs.field(factory=list[Outcome])
    ends: list[Closed | Ended] = attrs.field(factory=list[Closed | Ended])
    channel: Channel | None = None

    def note(self, events: Iterable[object]) -> None:
        for event in events:
            if isinstance(event, (Accepted, Rejected, Unresolved)):
                self.reported.append(event)
            elif isinstance(event, (Closed, Ended)):
                self.ends.append(event)

    def read_all(self) -> None:
        """Read the events so far, and the outcomes of all cancels in flight."""
        channel = self.channel
        assert channel is not None
        while (event := channel.events.take()) is not None:
            self.note([event])
        while channel.in_flight:
            self.note([next(channel.events)])

    def go_on(self) -> None:
        """Check that after an interrupt each cancel in flight has an outcome.

        The channel is then usable or has ended.
        """
        channel = self.channel
        assert channel is not None
        self.read_all()
        # The first one may be lost: the peer's drop may not have been noticed yet.
        outcomes = [channel.cancel(order) for order in _LAST]
        self.note(outcomes)
        assert isinstance(outcomes[-1], Accepted) or channel.state in (
            State.CLOSED,
            SessionState.ENDED,
        )

    def check(self, read: list[str]) -> None:
        """Check that each cancel taken or read has one outcome and none was read twice.

        No outcome of a cancel that was read says that it was not sent.
        """
        reported = Counter(outcome.order.order_id for outcome in self.reported)
        assert not [order for order, times in Counter(read).items() if times > 1]
        assert not [order for order, times in reported.items() if times > 1]
        assert not (set(self.taken) | set(read)) - set(reported)
        unsent = {
            outcome.order.order_id
            for outcome in self.reported
            if isinstance(outcome, Unresolved) and not outcome.sent
        }
        assert not unsent & set(read)
        accepted = {
            outcome.order.order_id for outcome in self.reported if isinstance(outcome, Accepted)
        }
        assert not accepted - set(read)
        if self.channel is not None:
            assert len(self.ends) == 1
            assert self.channel.state in (State.CLOSED, SessionState.ENDED)
            assert (self.channel.in_flight, self.channel.capacity) == (0, 0)


Script: TypeAlias = Callable[[Channel, Ledger], None]


def nothing(channel: Channel, ledger: Ledger) -> None: ...


def two_cancels(channel: Channel, ledger: Ledger) -> None:
    for order in _ORDERS[:2]:
        ledger.note([channel.cancel(order)])


def a_cancel_many(channel: Channel, ledger: Ledger) -> None:
    ledger.note(channel.cancel_many(_ORDERS[:7]))


def a_cancel_many_left_early(channel: Channel, ledger: Ledger) -> None:
    with closing(channel.cancel_many(_ORDERS[:7])) as outcomes:
        ledger.note([next(outcomes)])
        channel.pump(0.002)  # more outcomes arrive and are not read


def an_event(channel: Channel, ledger: Ledger) -> None:
    channel.send("subscribe")
    event = next(event for event in channel.events if isinstance(event, Unrecognised))
    assert event.text == '{"event":"subscribe"}'


def an_idle_wait(channel: Channel, ledger: Ledger) -> None:
    channel.pump(0.001)


def a_close(channel: Channel, ledger: Ledger) -> None:
    channel.close()


def a_drop(channel: Channel, ledger: Ledger) -> None:
    ledger.note([channel.cancel(_DROPPED)])
    ledger.note([channel.cancel(_ORDERS[0])])


SCRIPTS: tuple[Script, ...] = (
    nothing,
    two_cancels,
    a_cancel_many,
    a_cancel_many_left_early,
    an_event,
    an_idle_wait,
    a_close,
    a_drop,
)


@attrs.frozen
class Kind:
    """A kind of channel: a connection or a session."""

    times: int
    """How many of the first passes through a place are interrupted."""

    open: Callable[[str], AbstractContextManager[Channel]]


KINDS = {
    "connection": Kind(2, lambda url: connect(KEY, url=url, config=_CONFIG, limits=_LIMITS)),
    "session": Kind(1, lambda url: open_session(KEY, url=url, config=_SESSION, limits=_LIMITS)),
}


def run_once(kind: Kind, peer: Peer, script: Script, interrupt: Interrupt) -> None:
    """Run a script once, interrupt it at one place, and check the outcomes."""
    ledger = Ledger()
    came_out = False
    try:
        if script is nothing:
            interrupt.start()  # the other scripts connect in the same way
        with kind.open(peer.url) as ledger.channel:
            try:
                interrupt.start()
                script(ledger.channel, ledger)
            except BaseException as error:
                interrupt.stop()
                if error is not interrupt.error:
                    raise
                came_out = True
                ledger.go_on()
    except BaseException as error:
        if error is not interrupt.error:
            raise
        came_out = True
    finally:
        interrupt.stop()
    assert came_out == interrupt.raised
    if ledger.channel is not None:
        ledger.note(ledger.channel.events)
    ledger.taken = interrupt.taken
    ledger.check(peer.take_read())
    assert not peer.faults


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_interrupt_at_any_point_leaves_one_outcome_per_cancel(
    kind: Kind, script: Script
) -> None:
    raised = 0
    with nothing_left(), Peer() as peer:
        interrupt = Interrupt()
        run_once(kind, peer, script, interrupt)
        places = interrupt.seen
        errors = itertools.cycle(ERRORS)
        for place, times in places.items():
            for time in range(1, min(times, kind.times) + 1):
                interrupt = Interrupt(place, time, next(errors))
                try:
                    run_once(kind, peer, script, interrupt)
                except BaseException as error:
                    error.add_note(f"interrupted at pass {time} with {interrupt.error!r}: {place}")
                    raise
                raised += interrupt.raised
    # A run may have fewer steps than the first: the peer's messages arrive at varying times.
    assert raised > 0.8 * sum(min(times, kind.times) for times in places.values()) > 100


# --- random alarms ---

_ALARMS = 2000
"""The number of cancels that an alarm may interrupt."""


class Alarm:
    """The common idiom of a timer whose handler raises TimeoutError.

    Here it expires at a random moment of a cancel.
    """

    def __init__(self) -> None:
        self.raised = 0
        self._random = random.Random(1)
        self._began = 0.0
        self._usual = 3e-4
        """The usual seconds that a cancel takes."""

    def __enter__(self) -> Self:
        self._handler = signal.signal(signal.SIGALRM, self._ring)
        self._timer, _ = signal.setitimer(signal.ITIMER_REAL, 0.0)
        gc.disable()  # an exception raised in a callback of the collector is lost
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGALRM, self._handler)
        signal.setitimer(signal.ITIMER_REAL, self._timer)
        gc.enable()

    def set(self) -> None:
        self._began = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, self._random.uniform(1e-6, self._usual))

    def stop(self) -> None:
        """Stop the timer: the cancel was not interrupted."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._usual += 0.1 * (time.perf_counter() - self._began - self._usual)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        # Once the outcome has been returned, the test must not lose it.
        if frame is not None and frame.f_code.co_filename != __file__:
            self.raised += 1
            raise TimeoutError("alarm")


@pytest.mark.slow
def test_random_alarms_repeat_no_cancel_and_are_all_raised() -> None:
    remaining = orders(_ALARMS)
    came_out = 0
    with nothing_left(), Peer() as peer, Alarm() as alarm:
        while remaining:
            ledger = Ledger()
            with KINDS["session"].open(peer.url) as channel:
                ledger.channel = channel
                while remaining and channel.state is SessionState.UP:
                    order = remaining.pop()
                    alarm.set()
                    try:
                        outcome = channel.cancel(order)
                    except TimeoutError:
                        came_out += 1
                        ledger.read_all()
                    else:
                        alarm.stop()
                        ledger.note([outcome])
            ledger.note(channel.events)
            ledger.check(peer.take_read())
    assert not peer.faults
    assert came_out == alarm.raised > _ALARMS / 4
