"""The memory of a cancel in flight, a tracked order, an idle session and an open channel.

- Python objects are measured by tracemalloc, over many of them, without those that existed before
  the first one: classes, codec, config.
- An open channel is measured by the size of a process with many channels, because tracemalloc does
  not see OpenSSL's memory: `python -m benchmarks.channels`.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.channels import bytes_per_channel
from benchmarks.cycles import UNPACED, following, outcomes, ready
from benchmarks.frames import LOGGED_IN, ORDER, ORDER_ID
from benchmarks.sides import Group, Target, Weight
from bitget_proto import (
    CancelOrder,
    Codec,
    Config,
    Connection,
    Dial,
    Engine,
    LinkTransmit,
    Session,
    SessionConfig,
    SignedLogin,
    Up,
    Wait,
    fastest,
)

_MANY, _FEW = 100_000, 1_000
_SESSIONS, _FEW_SESSIONS = 2_000, 50
_TARGET, _IN_A_SESSION = Target(1024, 500), Target(1200, 1000)


def groups() -> Iterator[Group]:
    yield Group(name="memory, a cancel in flight", sides=_cancels)
    yield Group(name="memory, an order of a Reconciler", sides=_orders)
    yield Group(name="memory, an idle session", sides=_sessions)
    yield Group(name="memory, an open channel of a process", sides=_channels)


def _cancels(_: ExitStack) -> list[Weight]:
    return [
        Weight(name="in a dict of ids to orders, by hand", weigh=partial(_each, _by_hand)),
        Weight(name="in a Connection, all of one order", weigh=partial(_each, _in_connection)),
        Weight(
            name="in a Connection, and its order",
            weigh=partial(_each, _with_orders),
            target=_TARGET,
        ),
        Weight(
            name="in a Session, and its order",
            weigh=partial(_each, _in_session),
            target=_IN_A_SESSION,
        ),
    ]


def _orders(_: ExitStack) -> list[Weight]:
    return [
        Weight(name="tracked, beside its outcome", weigh=partial(_each, tracked), target=_TARGET)
    ]


def _sessions(_: ExitStack) -> list[Weight]:
    return [
        Weight(name="a Connection, logged in", weigh=_a_connection),
        Weight(name="a Session, up", weigh=_a_session, target=Target(20 * 1024, 8 * 1024)),
    ]


def _channels(_: ExitStack) -> list[Weight]:
    return [
        Weight(
            name="open_session, its socket and buffers", weigh=partial(bytes_per_channel, tls=False)
        ),
        Weight(name="open_session, with TLS", weigh=partial(bytes_per_channel, tls=True)),
    ]


def weigh(make: Callable[[], object]) -> int:
    """Return the bytes that `make` allocates and does not free, its result included."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    del made
    return after - before


# --- cancels in flight ---


def _each(make: Callable[[int], Callable[[], object]], quick: bool) -> float:
    count = _FEW if quick else _MANY
    return weigh(make(count)) / count


def _by_hand(count: int) -> Callable[[], object]:
    return lambda: {str(number): ORDER for number in range(count)}


def _in_connection(count: int) -> Callable[[], object]:
    connection = ready(Engine.STDLIB, 0)

    def take() -> None:
        for _ in range(count):
            connection.cancel(ORDER, 0.0)
            connection.poll(0.0)
        assert connection.in_flight == count

    return take


def _with_orders(count: int) -> Callable[[], object]:
    connection = ready(Engine.STDLIB, 0)

    def take() -> None:
        for number in range(count):
            connection.cancel(CancelOrder("BTCUSDT", str(int(ORDER_ID) + number)), 0.0)
            connection.poll(0.0)

    return take


def _in_session(count: int) -> Callable[[], object]:
    session = up(SessionConfig(link=UNPACED), Codec())

    def take() -> None:
        for number in range(count):
            # The orders differ: a session sends one cancel a second for the same order.
            session.cancel(CancelOrder("BTCUSDT", str(int(ORDER_ID) + number)), 0.0)
            assert isinstance(session.poll(0.0), LinkTransmit)

    return take


# --- orders of a reconciler ---


def tracked(count: int) -> Callable[[], object]:
    due, reconciler = outcomes(count), following(count)

    def take() -> None:
        for outcome in due:
            reconciler.track(outcome, 0.0)
            assert isinstance(reconciler.poll(0.0), Wait)

    return take


# --- idle sessions ---


def up(config: SessionConfig, codec: Codec) -> Session:
    """Return a session with one link, logged in."""
    session = Session(config, codec, jitter=float)
    dial = session.poll(0.0)
    assert isinstance(dial, Dial)
    session.opened(dial.link, 0.0, login=SignedLogin("key", "phrase", "1763958928", "sign"))
    assert isinstance(session.poll(0.0), LinkTransmit)
    session.receive(dial.link, LOGGED_IN, 0.0)
    assert isinstance(session.poll(0.0), Up)
    assert isinstance(session.poll(0.0), Wait)
    return session


def _a_session(quick: bool) -> float:
    config, codec, count = SessionConfig(), Codec(fastest()), _FEW_SESSIONS if quick else _SESSIONS
    return weigh(lambda: [up(config, codec) for _ in range(count)]) / count


def _a_connection(quick: bool) -> float:
    config, codec, count = Config(), Codec(fastest()), _FEW_SESSIONS if quick else _SESSIONS

    def make() -> list[Connection]:
        connections = [Connection(config, codec) for _ in range(count)]
        for connection in connections:
            connection.opened(0.0, login=SignedLogin("key", "phrase", "1763958928", "sign"))
            connection.poll(0.0)
            connection.receive(LOGGED_IN, 0.0)
            while not isinstance(connection.poll(0.0), Wait):
                pass
        return connections

    return weigh(make) / count
