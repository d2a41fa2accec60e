"""The record of one scenario: the cancels, the client's events and the exchange's frames.

It does not judge; `judges` does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import attrs
from tests.chaos.judge import name_of

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Connection,
    Credentials,
    Outcome,
    Policy,
    Rejected,
    Session,
    Unresolved,
)
from bitget_proto.testing import Act, Latency, Pair, ScriptedExchange, SeenFrame, SessionPair

LATENCY = 0.03
"""Latency of a frame in virtual seconds, unless a scenario has another one."""


@attrs.frozen
class Taken:
    """A cancel that the client took."""

    order: CancelOrder
    at: float
    policy: Policy = Policy.REPORT
    sure: bool = True
    """Whether the call returned. An interrupted call may or may not have taken the cancel."""


@attrs.frozen
class Given:
    """An event of the client, with its time on the clock of the harness."""

    at: float
    event: object


@attrs.frozen
class SeenCancel:
    """A cancel as it arrived at the exchange."""

    at: float
    link: int
    id: str


@attrs.define
class Record:
    """The record of one scenario. Times are seconds on its clock."""

    real: bool = False
    """Whether it ran in real time."""

    taken: dict[str, Taken] = attrs.field(factory=dict[str, Taken])
    given: list[Given] = attrs.field(factory=list[Given])
    frames: list[SeenFrame] = attrs.field(factory=list[SeenFrame])
    """All frames that the exchange received and sent."""

    acts: list[Act] = attrs.field(factory=list[Act])
    """What the exchange did."""

    live: set[str] = attrs.field(factory=set[str])
    """The names of the orders that are live at the end."""

    dials: list[float] = attrs.field(factory=list[float])
    """The times at which a link was dialled."""

    marks: dict[str, float] = attrs.field(factory=dict[str, float])
    """Times and counts that a judge needs."""

    raised: list[str] = attrs.field(factory=list[str])
    """Exceptions that the library should not have raised."""

    seconds: float = 0.0
    """The time to the last outcome."""

    # --- during the run ---

    def exchange(self, orders: Iterable[CancelOrder] = (), **options: Any) -> ScriptedExchange:
        """Return an exchange whose frames are recorded here."""
        return ScriptedExchange(orders, on_frame=self.frames.append, **options)

    def take(
        self,
        id: str,
        order: CancelOrder,
        at: float,
        policy: Policy = Policy.REPORT,
        *,
        sure: bool = True,
    ) -> str:
        """Record a cancel that the client took; return its id."""
        self.taken[id] = Taken(order, at, policy, sure)
        return id

    def end(self, *exchanges: ScriptedExchange, began: float = 0.0) -> Record:
        """Record what the exchanges did, and the seconds since `began`; return the record."""
        for exchange in exchanges:
            self.acts += exchange.log
            self.live |= {name_of(order) for order in exchange.live}
        self.seconds = max((given.at for given in self.outcomes_given()), default=began) - began
        return self

    # --- after the run ---

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes, including duplicates."""
        return [
            given.event
            for given in self.given
            if isinstance(given.event, Accepted | Rejected | Unresolved)
        ]

    def outcomes_given(self) -> Iterator[Given]:
        """Yield the outcomes with their times."""
        return (
            given
            for given in self.given
            if isinstance(given.event, Accepted | Rejected | Unresolved)
        )

    def received(self) -> Iterator[SeenCancel]:
        """Yield the cancels that arrived, in order."""
        for frame in self.frames:
            if frame.direction == "received" and '"cancel-order"' in frame.text:
                yield SeenCancel(frame.at, frame.link, json.loads(frame.text)["args"][0]["id"])

    def sent_frames(self, part: str) -> Iterator[SeenFrame]:
        """Yield the frames that the exchange sent and that contain this text."""
        return (frame for frame in self.frames if frame.direction == "sent" and part in frame.text)

    def when(self, kind: type) -> list[float]:
        """Return the times of the events of this kind."""
        return [given.at for given in self.given if isinstance(given.event, kind)]


class _TimedList(list[Any]):
    """A list of events that records the time of each."""

    def __init__(self, record: Record, clock: Callable[[], float]) -> None:
        super().__init__()
        self._record, self._clock = record, clock

    def append(self, event: object, /) -> None:
        self._record.given.append(Given(self._clock(), event))
        super().append(event)


def in_connection(
    record: Record,
    exchange: ScriptedExchange,
    client: Connection | None = None,
    latency: Latency = LATENCY,
) -> Pair:
    """Return an unopened connection with the default settings, recorded in `record`."""
    pair = Pair(client, exchange, latency=latency)
    pair.events = _TimedList(record, pair.clock)
    return pair


def connected(record: Record, exchange: ScriptedExchange, latency: Latency = LATENCY) -> Pair:
    """Return a logged-in connection with the default settings, recorded in `record`."""
    pair = in_connection(record, exchange, latency=latency)
    pair.open()
    pair.run(2.0)
    return pair


def in_session(
    record: Record,
    exchange: ScriptedExchange,
    session: Session,
    *,
    latency: Latency = LATENCY,
    skew: float = 0.0,
    credentials: Credentials | None = None,
) -> SessionPair:
    """Return a session that has not been started, recorded in `record`."""
    pair = SessionPair(
        session,
        exchange,
        latency=latency,
        dial_time=2 * LATENCY,
        skew=skew,
        credentials=credentials,
    )
    pair.events = _TimedList(record, pair.clock)
    return pair


def started(
    record: Record,
    exchange: ScriptedExchange,
    chance: random.Random,
    *,
    budget: Budget | None = None,
    latency: Latency = LATENCY,
) -> SessionPair:
    """Return a logged-in session with the default settings, recorded in `record`."""
    pair = in_session(
        record, exchange, Session(budget=budget, jitter=chance.random), latency=latency
    )
    pair.start()
    pair.run(2.0)
    return pair


def dice(seed: int) -> random.Random:
    """Return the source of a scenario's random values."""
    return random.Random(seed)


def some_orders(count: int, first: int = 1) -> list[CancelOrder]:
    """Return `count` orders, numbered from `first`."""
    return [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(first, first + count)]


Judge: TypeAlias = Callable[[Record], Iterator[str]]
"""Yields a message for each fault in a record."""


@attrs.frozen
class Scenario:
    """A scenario."""

    name: str
    expected: str
    """The expected result, in words."""

    script: Callable[[random.Random], Record]
    judges: Sequence[Judge]

    def run(self, seed: int) -> Record:
        """Run the scenario and return its record."""
        return self.script(dice(seed))

    def faults(self, record: Record) -> list[str]:
        """Return a message for each fault in its record."""
        return [f"{judge_name(judge)}: {fault}" for judge in self.judges for fault in judge(record)]


def judge_name(judge: Judge) -> str:
    """Return the name of a judge, without its arguments."""
    function = judge.func if isinstance(judge, partial) else judge
    named: str = getattr(function, "__name__", repr(function))
    return named
