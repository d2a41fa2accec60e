"""Helpers for the tests of `Connection`: connections in each state, `drain`, and frames.

The exchange's frames are written by hand, from its documentation and from recordings, and not made
by the codec under test. Nothing here reads a clock or decides what is right.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias, TypeVar, cast

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Config,
    Connection,
    Event,
    Outcome,
    Output,
    Ready,
    Rejected,
    SignedLogin,
    State,
    Transmit,
    Unresolved,
    Wait,
)
from bitget_proto._machine.cancel_queue import CancelQueue
from bitget_proto._machine.deadlines import Alarms, Deadlines
from bitget_proto._machine.frame_queue import FrameQueue
from bitget_proto._machine.heartbeat import Heartbeat
from bitget_proto._machine.in_flight import InFlight, OpenCancel
from bitget_proto._machine.outcomes import Outcomes
from bitget_proto._machine.rate_limit import SlidingWindow
from bitget_proto._machine.request_ids import RequestIds

LOGIN = SignedLogin("key", "pass", "1700000000", "c2lnbg==")
ORDER = CancelOrder("BTCUSDT", order_id="1001")
OTHER_ORDER = CancelOrder("ETHUSDT", client_oid="mine-2")

LOGGED_IN = '{"event":"login","code":0}'
PONG = "pong"

_T = TypeVar("_T")


def drain(conn: Connection, now: float, *, writable: bool = True) -> tuple[list[Output], Wait]:
    """Return all outputs before the `Wait`, and the `Wait`."""
    outputs: list[Output] = []
    while True:
        output = conn.poll(now, writable)
        if isinstance(output, Wait):
            return outputs, output
        outputs.append(output)
        assert len(outputs) < 100_000, "poll never returns a Wait"


def outputs(conn: Connection, now: float, *, writable: bool = True) -> list[Output]:
    """Return all outputs before the `Wait`."""
    return drain(conn, now, writable=writable)[0]


def waits(conn: Connection, now: float, *, writable: bool = True) -> Wait:
    """Drain and return only the `Wait`."""
    return drain(conn, now, writable=writable)[1]


def only(kind: type[_T], given: list[Output]) -> list[_T]:
    """Return the outputs of one type."""
    return [output for output in given if isinstance(output, kind)]


def outcomes(given: list[Output]) -> list[Outcome]:
    """Return the outcomes."""
    return [output for output in given if isinstance(output, Accepted | Rejected | Unresolved)]


def events(given: list[Output]) -> list[Event]:
    """Return the outputs other than frames and waits."""
    return [output for output in given if not isinstance(output, Transmit | Wait)]  # type: ignore[misc]


def texts(given: list[Output]) -> list[str]:
    """Return the texts of the frames."""
    return [output.text for output in given if isinstance(output, Transmit)]


def ready(
    config: Config | None = None,
    now: float = 0.0,
    *,
    budget: Budget | None = None,
    settled: bool = True,
) -> Connection:
    """Return a connection that is logged in and drained.

    With `settled`, more than a second has passed since the login, so that the rate limit is unused.
    """
    conn = Connection(config=config, budget=budget)
    conn.opened(now, login=LOGIN)
    (frame,), _ = drain(conn, now)
    assert isinstance(frame, Transmit)
    conn.receive(LOGGED_IN, now)
    assert outputs(conn, now) == [Ready()]
    assert conn.state is State.READY
    if settled:
        conn.handle_timeout(now + 1.0)
        assert outputs(conn, now + 1.0) == []
    return conn


def authenticating(
    config: Config | None = None, now: float = 0.0, *, budget: Budget | None = None
) -> Connection:
    """Return a connection whose login was sent and not answered."""
    conn = Connection(config=config, budget=budget)
    conn.opened(now, login=LOGIN)
    assert len(texts(outputs(conn, now))) == 1
    return conn


def draining(
    config: Config | None = None, now: float = 0.0, *, ids: tuple[str, ...] = ("a",)
) -> Connection:
    """Return a DRAINING connection with these sent cancels, closed at `now + 1`."""
    conn = ready(config, now)
    for id in ids:
        conn.cancel(ORDER, now + 1.0, id=id)
    assert [frame.ids for frame in only(Transmit, outputs(conn, now + 1.0))] == [
        (id,) for id in ids
    ]
    conn.close(now + 1.0)
    assert outputs(conn, now + 1.0) == []
    assert conn.state is State.DRAINING
    return conn


def closed(now: float = 0.0) -> Connection:
    """Return a connection that has ended and was drained."""
    conn = ready(None, now)
    conn.lost(now + 1.0)
    drain(conn, now + 1.0)
    assert conn.state is State.CLOSED
    return conn


def in_state(state: State) -> Connection:
    """Return a connection in this state; its latest time is at most 1."""
    match state:
        case State.NEW:
            return Connection()
        case State.AUTHENTICATING:
            return authenticating()
        case State.READY:
            return ready()
        case State.DRAINING:
            return draining()
        case State.CLOSED:
            return closed()


Answers: TypeAlias = Callable[[Transmit, float], list[tuple[float, str]]]
"""Returns the messages that a frame sent at a time leads to, and when they arrive."""


def live(
    conn: Connection, now: float, until: float, exchange: Answers
) -> list[tuple[float, Output]]:
    """Drive a connection in virtual time up to `until`, and return its outputs with their times.

    A message that arrives when a timer is due is handled first.
    """
    came: list[tuple[float, Output]] = []
    arrivals: list[tuple[float, int, str]] = []
    while True:
        given, wait = drain(conn, now)
        came += [(now, output) for output in given]
        for frame in only(Transmit, given):
            for at, text in exchange(frame, now):
                heapq.heappush(arrivals, (at, len(came) + len(arrivals), text))
        due = inf if wait.until is None else wait.until
        arrives = arrivals[0][0] if arrivals else inf
        if min(due, arrives) > until:
            return came
        assert min(due, arrives) >= now
        if arrives <= due:
            now, _, text = heapq.heappop(arrivals)
            conn.receive(text, now)
        else:
            now = due
            conn.handle_timeout(now)


def answering(latency: float) -> Answers:
    """Return an exchange that accepts every cancel and answers every ping after `latency` s."""

    def answers(frame: Transmit, now: float) -> list[tuple[float, str]]:
        if frame.ids:
            return [(now + latency, reply(frame.ids[0]))]
        return [(now + latency, PONG)] if frame.text == "ping" else []

    return answers


def reply(id: object, code: object = 0, event: str = "trade", **more: object) -> str:
    """Return the answer to a cancel, as recorded: `arg` is a list of one object with the id."""
    echo = {
        "id": id,
        "instType": "SPOT",
        "channel": "cancel-order",
        "instId": "BTCUSDT",
        "params": {"orderId": "1001"},
    }
    return json.dumps(
        {"event": event, "arg": [echo], "code": code, "msg": "text", "ts": 1763958928351, **more}
    )


def refusal(id: object, code: object = 43001) -> str:
    """Return the refusal of a cancel, as recorded."""
    return reply(id, code, event="error")


def error(code: object, msg: str = "text") -> str:
    """Return an error that names no request, as recorded: it has no `arg`."""
    return json.dumps({"event": "error", "code": code, "msg": msg})


def snapshot(value: Any) -> Any:
    """Return the whole state, including private parts, as plain data that can be compared.

    The codec and the configuration stay as they are.
    """
    for type_ in _INSPECTED:
        if isinstance(value, type_):
            names = [name for name in type_.__slots__ if name[:2] != "__"]
            return (
                type_.__name__,
                [(name, snapshot(getattr(value, name))) for name in names],
            )
    if isinstance(value, dict):
        return [snapshot(item) for item in cast("Any", value).items()]
    if isinstance(value, deque | list | tuple):
        return [snapshot(item) for item in cast("Any", value)]
    return value


_INSPECTED: tuple[Any, ...] = (
    Connection, InFlight, FrameQueue, Budget, SlidingWindow, Deadlines, OpenCancel, CancelQueue, Heartbeat, RequestIds, Alarms,
    Outcomes,
)  # fmt: skip
