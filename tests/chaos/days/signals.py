"""Scenarios in which a signal handler raises in the middle of a call.

- In virtual time the point is drawn from the seed, among those at which CPython runs handlers: at
  the entry of a function and after a call of a function written in C.
- The blocking transport gets real signals, whose timing depends on the machine.
- A cancel whose call was interrupted may or may not have been taken. Every other one has exactly
  one outcome.
"""

from __future__ import annotations

import inspect
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar, cast

from tests.chaos.days import judges
from tests.chaos.days.day import (
    Given,
    Record,
    Scenario,
    dice,
    in_connection,
    in_session,
    some_orders,
)

import bitget_proto
import bitget_transports
from bitget_proto import CancelOrder, Connection, Credentials, LocalProtocolError, Policy, Session
from bitget_proto.testing import Pair, ScriptedExchange, SessionPair
from bitget_transports.blocking import Channel, connect, open_session
from bitget_transports.exchange import exchange_in_thread

_RUNS = 150
_REAL_RUNS = 80
_SPAN = 0.05
"""Longest delay of a signal in seconds; it is drawn from the duration of the run before."""
_CANCELS = 6
_CORE = str(Path(bitget_proto.__file__).parent)
_TRANSPORTS = str(Path(bitget_transports.__file__).parent)
_INPUTS = frozenset({"opened", "receive", "lost", "handle_timeout"})
_KEY = Credentials("key", "secret", "passphrase")
_T = TypeVar("_T", Connection, Session)


class Interrupt(BaseException):
    """The exception that the handler raises."""


# --- virtual time ---


class Interrupter:
    """Raises at the given point of a core, counted over all of its calls.

    Without a point it only counts them.
    """

    def __init__(self, point: int | None = None) -> None:
        self.points = 0
        self.interrupted = False
        self._point = point

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """For `sys.setprofile`."""
        if event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            # Code that attrs generated counts as the core. What the garbage collector calls does
            # not: an error there has no caller. (A generator is also entered to be closed, and no
            # handler runs there.)
            inside = _is_core(frame) or frame.f_code.co_filename.startswith("<attrs generated")
        else:
            inside = event == "c_return" and _is_core(frame)
        if inside and not self.interrupted:
            self.points += 1
            if self.points == self._point:
                self.interrupted = True
                raise Interrupt


def _is_core(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_CORE)


class _Watched:
    """Wraps a core whose methods the interrupt may hit.

    An interrupted input is repeated, as a driver must do: if it had not begun, it would be lost.
    If it had, the core has ended and the repetition has no effect.
    """

    def __init__(self, core: object, interrupter: Interrupter) -> None:
        self._core, self._interrupter = core, interrupter

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._core, name)
        return partial(self._call, name, value) if callable(value) else value

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        before = sys.getprofile()
        sys.setprofile(self._interrupter.profile)
        try:
            return method(*arguments, **named)
        except Interrupt:
            sys.setprofile(before)
            if name in _INPUTS:
                method(*arguments, **named)
            raise
        finally:
            sys.setprofile(before)


def _watched(core: _T, interrupter: Interrupter) -> _T:
    return cast("_T", _Watched(core, interrupter))


def _step(record: Record, what: Callable[[], object]) -> None:
    """Call `what`. The signal handler may raise in it, or the core may already have ended."""
    try:
        what()
    except (Interrupt, LocalProtocolError):
        return
    except Exception as error:  # noqa: BLE001 - a fault of the library, reported by the judge
        record.raised.append(repr(error))


def _run_script(
    record: Record, pair: Pair | SessionPair, orders: list[CancelOrder], policy: Policy
) -> None:
    """Cancel with pauses, a drop and a withdrawal; the script goes on after an interruption."""
    _step(record, pair.start if isinstance(pair, SessionPair) else pair.open)
    _step(record, partial(pair.run, 2.0))
    for place, order in enumerate(orders):
        id, now = f"{order.order_id}x", pair.clock.now
        try:
            if isinstance(pair, SessionPair):
                pair.session.cancel(order, now, id, None, policy)
            else:
                pair.client.cancel(order, now, id)
        except LocalProtocolError:
            continue
        except Interrupt:
            record.take(id, order, now, policy, sure=False)
        else:
            record.take(id, order, now, policy)
        if place == 2 and isinstance(pair, SessionPair) and pair.links:
            _step(record, pair.drop)
        if place == 4:
            _step(record, partial(pair.withdraw, id))
        _step(record, partial(pair.run, 0.0 if place % 2 else 0.7))
    _step(record, partial(pair.run, 30.0))
    # One of these calls detects the interruption and ends the core.
    for _ in range(3):
        _step(record, pair.close)
        _step(record, partial(pair.run, 60.0))


def _connection(record: Record, exchange: ScriptedExchange, interrupter: Interrupter) -> Pair:
    return in_connection(record, exchange, _watched(Connection(), interrupter))


def _session(record: Record, exchange: ScriptedExchange, interrupter: Interrupter) -> SessionPair:
    return in_session(record, exchange, _watched(Session(jitter=dice(0).random), interrupter))


def _interrupted(
    make: Callable[[Record, ScriptedExchange, Interrupter], Pair | SessionPair],
    policies: Sequence[Policy],
    chance: random.Random,
) -> Record:
    record = Record()
    record.marks |= {"runs": _RUNS, "interrupted": 0}
    exchanges: list[ScriptedExchange] = []
    points: dict[Policy, int] = {}
    for policy in policies:
        trial, counting, orders = Record(), Interrupter(), some_orders(_CANCELS)
        _run_script(trial, make(trial, trial.exchange(orders), counting), orders, policy)
        points[policy] = counting.points
    for number in range(_RUNS):
        policy = policies[number % len(policies)]
        orders = some_orders(_CANCELS, 1 + number * _CANCELS)
        interrupter = Interrupter(chance.randint(1, points[policy]))
        exchanges.append(record.exchange(orders))
        _run_script(record, make(record, exchanges[-1], interrupter), orders, policy)
        record.marks["interrupted"] += interrupter.interrupted
    return record.end(*exchanges)


# --- real signals ---


class _Alarm:
    """A real signal whose handler raises once, while the library runs in this thread."""

    def __init__(self, error: BaseException, seconds: float) -> None:
        self.raised = self.seen = False
        self._error, self._seconds = error, seconds
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._before)

    def saw(self, error: BaseException) -> None:
        """Record an exception that the library let through."""
        self.seen = self.seen or error is self._error

    def _ring(self, _: int, frame: FrameType | None) -> None:
        while frame is not None and not frame.f_code.co_filename.startswith(_TRANSPORTS):
            frame = frame.f_back
        if frame is None:
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
        else:
            self.raised = True
            raise self._error


def _run_channel(
    record: Record, channel: Channel, alarm: _Alarm, orders: list[CancelOrder]
) -> None:
    for place, order in enumerate(orders):
        id, now = f"{order.order_id}x", time.monotonic()
        record.take(id, order, now, sure=False)
        try:
            record.given.append(Given(now, channel.cancel(order, id)))
            record.take(id, order, now)
            if place % 2:
                channel.pump(0.001)
        except (Interrupt, TimeoutError) as error:
            alarm.saw(error)
    # A run that was shorter than the one before waits for its signal.
    end = time.monotonic() + _SPAN
    while not alarm.raised and time.monotonic() < end:
        channel.pump(0.001)


def _blocking(chance: random.Random) -> Record:
    record = Record(real=True)
    began = time.monotonic()
    record.marks |= {"runs": _REAL_RUNS, "interrupted": 0, "swallowed": 0}
    # The client has its default limits; the exchange's allowance does not matter here.
    exchange = record.exchange(some_orders(_REAL_RUNS * _CANCELS), cancels_per_second=None)
    duration = _SPAN
    with exchange_in_thread(exchange) as server:
        for number in range(_REAL_RUNS):
            orders = some_orders(_CANCELS, 1 + number * _CANCELS)
            opener: Any = open_session if number % 2 else connect
            # TimeoutError is what handlers of `alarm` usually raise; the network raises it as well.
            error = TimeoutError("raised by the alarm") if number // 2 % 2 else Interrupt()
            alarm = _Alarm(error, 1e-4 + duration * chance.random())
            channel: Channel | None = None
            try:
                with opener(_KEY, url=server.url) as opened, alarm:
                    channel, up = opened, time.monotonic()
                    _run_channel(record, opened, alarm, orders)
                    duration = min(_SPAN, time.monotonic() - up)
            except (Interrupt, TimeoutError) as raised:
                alarm.saw(raised)
            if channel is not None:
                record.given.extend(Given(time.monotonic(), event) for event in channel.events)
            record.marks["interrupted"] += alarm.raised
            record.marks["swallowed"] += alarm.raised and not alarm.seen
    record.end(exchange)
    record.seconds = time.monotonic() - began
    return record


_EXPECTED = "a signal handler raises at random points: one honest outcome each, then the end"

SCENARIOS = (
    Scenario(
        "signals-connection",
        _EXPECTED,
        partial(_interrupted, _connection, (Policy.REPORT,)),
        (judges.honest, partial(judges.interrupted, least=0.95)),
    ),
    Scenario(
        "signals-session",
        _EXPECTED,
        partial(_interrupted, _session, tuple(Policy)),
        (judges.honest, partial(judges.interrupted, least=0.95)),
    ),
    Scenario(
        "signals-blocking",
        "the same with real signals and the blocking transport; the exception reaches the caller",
        _blocking,
        (judges.honest, partial(judges.interrupted, least=0.9), judges.no_exception_swallowed),
    ),
)
