"""The full cycle of a cancel in process, compared with JSON and a dict of requests by hand.

- `Connection` is driven by the driver contract: polled until `Wait` after each call.
- The replies are prepared in advance for all sides. The floor makes its own ids, as `Connection`
  does.
- Rate limit and in-flight limit are off; otherwise they would dominate.

`Reconciler.track` is measured too, for outcomes of different orders while pushes arrive. Its floor
keeps each outcome and its deadline by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from heapq import heappush

import attrs
import orjson

from benchmarks.frames import HEAD, ORDER, ORDER_ID, TAIL
from benchmarks.sides import Group, Side, Target, Turn, timed
from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Engine,
    Outcome,
    Reconciler,
    ReconcilerConfig,
    SignedLogin,
    Wait,
)

BY_HAND = "orjson.dumps, orjson.loads, dict pop"
UNPACED = Config(messages_per_second=None, max_in_flight=None, id_prefix="")

_MANY = 100_000
_TICK = 1e-5
"""Seconds from one cancel to the next, on the clock of the connection."""


def groups() -> Iterator[Group]:
    yield Group(name="cycle", sides=_engines)
    yield Group(name=f"cycle, {_MANY:,} in flight", sides=_in_flight)
    yield Group(name="track", sides=_tracks)


def _engines(_: ExitStack) -> list[Side]:
    target = Target(6.0, 4.0)
    return [
        Side(name=BY_HAND, turn=_by_hand(1)),
        Side(
            name="Connection, msgspec",
            turn=_drained(Engine.MSGSPEC, 1),
            floor=BY_HAND,
            target=target,
        ),
        Side(name="Connection, orjson", turn=_drained(Engine.ORJSON, 1), floor=BY_HAND),
        Side(name="Connection, stdlib", turn=_drained(Engine.STDLIB, 1), floor=BY_HAND),
    ]


def _in_flight(_: ExitStack) -> list[Side]:
    one, hand = "Connection, 1 in flight", "by hand, 1 in flight"
    return [
        Side(name=hand, turn=_by_hand(1)),
        Side(name=f"by hand, {_MANY:,} in flight", turn=_by_hand(_MANY), floor=hand),
        Side(name=one, turn=_drained(Engine.MSGSPEC, 1)),
        Side(name="Connection, 1,000 in flight", turn=_drained(Engine.MSGSPEC, 1_000), floor=one),
        Side(
            name=f"Connection, {_MANY:,} in flight",
            turn=_drained(Engine.MSGSPEC, _MANY),
            floor=one,
            target=Target(1.3, 1.1),
        ),
        Side(
            name="… with the garbage collector on", turn=_drained(Engine.MSGSPEC, _MANY), floor=one, collector=True
        ),
    ]  # fmt: skip


def ready(engine: Engine, in_flight: int, config: Config = UNPACED) -> Connection:
    """Return a connection after its login, with `in_flight` cancels sent."""
    connection = Connection(config, Codec(engine))
    connection.opened(0.0, login=SignedLogin("key", "phrase", "1763958928", "sign"))
    connection.poll(0.0)
    connection.receive('{"event":"login","code":0}', 0.0)
    connection.poll(0.0)
    for _ in range(in_flight):
        connection.cancel(ORDER, 0.0)
        connection.poll(0.0)
    assert isinstance(connection.poll(0.0), Wait)
    assert connection.in_flight == in_flight
    return connection


@attrs.define(eq=False)
class _Waiting:
    """An order that waits for its end, by hand."""

    outcome: Outcome
    deadline: float
    filled: None = None


def _tracks(_: ExitStack) -> list[Side]:
    hand = "objects in a dict and a heap, by hand"
    return [
        Side(name=hand, turn=timed(_tracked_by_hand)),
        Side(name="Reconciler.track", turn=timed(_tracked), floor=hand, target=Target(8.0, 5.0)),
    ]


def outcomes(count: int) -> list[Accepted]:
    """Return the outcomes of different orders."""
    return [
        Accepted(
            str(number),
            CancelOrder("BTCUSDT", str(int(ORDER_ID) + number)),
            0.0, 0.0, 0.0,
            exchange_ts=1763958928351,
        )
        for number in range(count)
    ]  # fmt: skip


def following(most: int) -> Reconciler:
    """Return a reconciler that receives pushes, and tracks at most `most` orders."""
    reconciler = Reconciler(ReconcilerConfig(max_tracked=most))
    reconciler.up(0.0)
    return reconciler


def _tracked_by_hand(count: int) -> Callable[[], object]:
    due, waiting = outcomes(count), dict[str | None, _Waiting]()
    deadlines: list[tuple[float, str]] = []

    def run() -> None:
        now = 0.0
        for outcome in due:
            now += _TICK
            waiting[outcome.order.order_id] = _Waiting(outcome, now + 60.0)
            heappush(deadlines, (now + 60.0, outcome.id))

    return run


def _tracked(count: int) -> Callable[[], object]:
    due, track = outcomes(count), following(count).track

    def run() -> None:
        now = 0.0
        for outcome in due:
            now += _TICK
            track(outcome, now)

    return run


class _Replies:
    """The next replies, in the order of the cancels."""

    def __init__(self) -> None:
        self._answered = 0

    def next(self, count: int) -> list[str]:
        first, self._answered = self._answered + 1, self._answered + count
        return [f"{HEAD}{number}{TAIL}" for number in range(first, first + count)]


def _by_hand(in_flight: int) -> Callable[[int], Turn]:
    waiting = {str(number): number for number in range(1, in_flight)}
    replies, sent = _Replies(), in_flight - 1
    dumps, loads, inst_id, order_id = orjson.dumps, orjson.loads, "BTCUSDT", ORDER_ID

    def job(count: int) -> Callable[[], object]:
        due = replies.next(count)

        def run() -> None:
            nonlocal sent
            number = sent
            for reply in due:
                number += 1
                id = str(number)
                waiting[id] = number
                dumps({"op": "trade", "args": [{
                    "id": id, "instType": "SPOT", "instId": inst_id, "channel": "cancel-order",
                    "params": {"orderId": order_id},
                }]})  # fmt: skip
                waiting.pop(loads(reply)["arg"][0]["id"])
            sent = number

        return run

    return timed(job)


def _drained(engine: Engine, in_flight: int) -> Callable[[int], Turn]:
    """Send a cancel and receive the reply to the oldest one, each time."""
    connection, replies, ticks = ready(engine, in_flight - 1), _Replies(), _Ticks()
    cancel, poll, receive = connection.cancel, connection.poll, connection.receive

    def job(count: int) -> Callable[[], object]:
        assert connection.in_flight == in_flight - 1
        due = list(zip(ticks.next(count), replies.next(count), strict=True))

        def run() -> None:
            for now, reply in due:
                cancel(ORDER, now)
                poll(now)  # the Transmit
                poll(now)  # the Wait
                receive(reply, now)
                poll(now)  # the Accepted
                poll(now)  # the Wait

        return run

    return timed(job)


class _Ticks:
    """The next times on the clock of a connection."""

    def __init__(self) -> None:
        self._now = 0

    def next(self, count: int) -> list[float]:
        first, self._now = self._now + 1, self._now + count
        return [number * _TICK for number in range(first, first + count)]
