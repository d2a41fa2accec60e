"""Days on which a signal handler raises in the middle of a call.

Rules of this file
- In virtual time the moment is drawn from the seed, among those at which CPython runs handlers: at the entry of a function, and
  behind a call of what is written in C.
- In the blocking transport the signals are real ones, so that the moments are the machine's.
- A cancel whose call was interrupted may or may not have been taken. Of the others each has exactly one outcome.
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
from tests.chaos.days.day import Day, Given, Row, dice, in_connection, in_session, some_orders

import bitget_proto
import bitget_transports
from bitget_proto import CancelOrder, Connection, Credentials, LocalProtocolError, Policy, Session
from bitget_proto.testing import Pair, ScriptedExchange, SessionPair
from bitget_transports.blocking import Channel, connect, open_session
from bitget_transports.exchange import exchange_in_thread

_LIVES = 150
_REAL_LIVES = 80
_SPAN = 0.05
"""Seconds within which the signal comes at the latest; else it comes at a moment of the time that the life before took."""
_CANCELS = 6
_CORE = str(Path(bitget_proto.__file__).parent)
_TRANSPORTS = str(Path(bitget_transports.__file__).parent)
_INPUTS = frozenset({"opened", "receive", "lost", "handle_timeout"})
_KEY = Credentials("key", "secret", "passphrase")
_T = TypeVar("_T", Connection, Session)


class Interrupt(BaseException):
    """What the handler raises."""


# --- virtual time ---


class Strike:
    """Raises at the given moment of a core, counted over all of its calls; without a moment it counts them."""

    def __init__(self, moment: int | None = None) -> None:
        self.moments = 0
        self.struck = False
        self._moment = moment

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """For `sys.setprofile`."""
        if event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            # What attrs has generated counts as the core. What the garbage collector calls does not: an error there has
            # no caller. (A generator is also entered to be closed, and there no handler runs.)
            inside = _is_core(frame) or frame.f_code.co_filename.startswith("<attrs generated")
        else:
            inside = event == "c_return" and _is_core(frame)
        if inside and not self.struck:
            self.moments += 1
            if self.moments == self._moment:
                self.struck = True
                raise Interrupt


def _is_core(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_CORE)


class _Watched:
    """Stands before a core: while one of its methods runs, the strike may come.

    An input that was interrupted is repeated, as a driver must do: when it had not begun, what it said would be lost. When it
    had, the repetition finds that the core has ended.
    """

    def __init__(self, core: object, strike: Strike) -> None:
        self._core, self._strike = core, strike

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._core, name)
        return partial(self._call, name, value) if callable(value) else value

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        before = sys.getprofile()
        sys.setprofile(self._strike.profile)
        try:
            return method(*arguments, **named)
        except Interrupt:
            sys.setprofile(before)
            if name in _INPUTS:
                method(*arguments, **named)
            raise
        finally:
            sys.setprofile(before)


def _watched(core: _T, strike: Strike) -> _T:
    return cast("_T", _Watched(core, strike))


def _step(day: Day, what: Callable[[], object]) -> None:
    """Do it. The signal handler may raise in it, and the core may have ended before."""
    try:
        what()
    except (Interrupt, LocalProtocolError):
        return
    except Exception as error:  # noqa: BLE001 - a fault of the library's, which the judge names
        day.raised.append(repr(error))


def _live(day: Day, pair: Pair | SessionPair, orders: list[CancelOrder], policy: Policy) -> None:
    """Cancels at once and one by one, a drop, a withdrawal, and time; the script goes on after the interruption."""
    _step(day, pair.start if isinstance(pair, SessionPair) else pair.open)
    _step(day, partial(pair.run, 2.0))
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
            day.take(id, order, now, policy, sure=False)
        else:
            day.take(id, order, now, policy)
        if place == 2 and isinstance(pair, SessionPair) and pair.links:
            _step(day, pair.drop)
        if place == 4:
            _step(day, partial(pair.withdraw, id))
        _step(day, partial(pair.run, 0.0 if place % 2 else 0.7))
    _step(day, partial(pair.run, 30.0))
    # One of these calls finds what the interruption has left, and reaches the end.
    for _ in range(3):
        _step(day, pair.close)
        _step(day, partial(pair.run, 60.0))


def _connection(day: Day, exchange: ScriptedExchange, strike: Strike) -> Pair:
    return in_connection(day, exchange, _watched(Connection(), strike))


def _session(day: Day, exchange: ScriptedExchange, strike: Strike) -> SessionPair:
    return in_session(day, exchange, _watched(Session(jitter=dice(0).random), strike))


def _interrupted(
    make: Callable[[Day, ScriptedExchange, Strike], Pair | SessionPair],
    policies: Sequence[Policy],
    chance: random.Random,
) -> Day:
    day = Day()
    day.marks |= {"lives": _LIVES, "struck": 0}
    exchanges: list[ScriptedExchange] = []
    moments: dict[Policy, int] = {}
    for policy in policies:
        trial, counting, orders = Day(), Strike(), some_orders(_CANCELS)
        _live(trial, make(trial, trial.exchange(orders), counting), orders, policy)
        moments[policy] = counting.moments
    for life in range(_LIVES):
        policy = policies[life % len(policies)]
        orders = some_orders(_CANCELS, 1 + life * _CANCELS)
        strike = Strike(chance.randint(1, moments[policy]))
        exchanges.append(day.exchange(orders))
        _live(day, make(day, exchanges[-1], strike), orders, policy)
        day.marks["struck"] += strike.struck
    return day.end(*exchanges)


# --- real signals ---


class _Alarm:
    """A real signal whose handler raises once, while the library is at work in this thread."""

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
        """Note what has come out of the library."""
        self.seen = self.seen or error is self._error

    def _ring(self, _: int, frame: FrameType | None) -> None:
        while frame is not None and not frame.f_code.co_filename.startswith(_TRANSPORTS):
            frame = frame.f_back
        if frame is None:
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
        else:
            self.raised = True
            raise self._error


def _real_life(day: Day, channel: Channel, alarm: _Alarm, orders: list[CancelOrder]) -> None:
    for place, order in enumerate(orders):
        id, now = f"{order.order_id}x", time.monotonic()
        day.take(id, order, now, sure=False)
        try:
            day.given.append(Given(now, channel.cancel(order, id)))
            day.take(id, order, now)
            if place % 2:
                channel.pump(0.001)
        except (Interrupt, TimeoutError) as error:
            alarm.saw(error)
    # A life that was quicker than the one before waits for its signal.
    end = time.monotonic() + _SPAN
    while not alarm.raised and time.monotonic() < end:
        channel.pump(0.001)


def _blocking(chance: random.Random) -> Day:
    day = Day(real=True)
    began = time.monotonic()
    day.marks |= {"lives": _REAL_LIVES, "struck": 0, "swallowed": 0}
    # The client's limits are the defaults; the exchange's allowance is not the subject.
    exchange = day.exchange(some_orders(_REAL_LIVES * _CANCELS), cancels_per_second=None)
    takes = _SPAN
    with exchange_in_thread(exchange) as server:
        for life in range(_REAL_LIVES):
            orders = some_orders(_CANCELS, 1 + life * _CANCELS)
            opener: Any = open_session if life % 2 else connect
            # TimeoutError is what the common idiom with `alarm` raises, and the network raises it too.
            error = TimeoutError("the alarm's") if life // 2 % 2 else Interrupt()
            alarm = _Alarm(error, 1e-4 + takes * chance.random())
            channel: Channel | None = None
            try:
                with opener(_KEY, url=server.url) as opened, alarm:
                    channel, up = opened, time.monotonic()
                    _real_life(day, opened, alarm, orders)
                    takes = min(_SPAN, time.monotonic() - up)
            except (Interrupt, TimeoutError) as raised:
                alarm.saw(raised)
            if channel is not None:
                day.given.extend(Given(time.monotonic(), event) for event in channel.events)
            day.marks["struck"] += alarm.raised
            day.marks["swallowed"] += alarm.raised and not alarm.seen
    day.end(exchange)
    day.seconds = time.monotonic() - began
    return day


_RIGHT = "a signal handler raises at random moments: one honest outcome each, then the end"

ROWS = (
    Row(
        "signals-connection",
        _RIGHT,
        partial(_interrupted, _connection, (Policy.REPORT,)),
        (judges.honest, partial(judges.interrupted, least=0.95)),
    ),
    Row(
        "signals-session",
        _RIGHT,
        partial(_interrupted, _session, tuple(Policy)),
        (judges.honest, partial(judges.interrupted, least=0.95)),
    ),
    Row(
        "signals-blocking",
        "the same with real signals in the blocking transport; what the handler raises comes out",
        _blocking,
        (judges.honest, partial(judges.interrupted, least=0.9), judges.none_swallowed),
    ),
)
