"""What one day leaves behind: what was asked of the client, what came out of it, and what the exchange saw.

It does not judge.
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
"""Seconds that a frame is under way in virtual time, unless a row says otherwise."""


@attrs.frozen
class Taken:
    """A cancel that the client has taken."""

    order: CancelOrder
    at: float
    policy: Policy = Policy.REPORT
    sure: bool = True
    """Whether the call returned. One that was interrupted may or may not have taken the cancel."""


@attrs.frozen
class Given:
    """What came out of the client, and when by the clock of the harness."""

    at: float
    event: object


@attrs.frozen
class SeenCancel:
    """A cancel as it arrived at the exchange."""

    at: float
    link: int
    id: str


@attrs.define
class Day:
    """The record of one day. Times are seconds on the clock of the day."""

    real: bool = False
    """Whether its seconds are real ones."""

    taken: dict[str, Taken] = attrs.field(factory=dict[str, Taken])
    given: list[Given] = attrs.field(factory=list[Given])
    frames: list[SeenFrame] = attrs.field(factory=list[SeenFrame])
    """All that the exchange received and said."""

    acts: list[Act] = attrs.field(factory=list[Act])
    """What the exchange did."""

    live: set[str] = attrs.field(factory=set[str])
    """The names of the orders that are live at the end."""

    dials: list[float] = attrs.field(factory=list[float])
    """When the network was asked for a link."""

    marks: dict[str, float] = attrs.field(factory=dict[str, float])
    """Moments and counts that a judge needs."""

    raised: list[str] = attrs.field(factory=list[str])
    """What the library has raised and should not have."""

    seconds: float = 0.0
    """How long it took to the last outcome."""

    # --- while it is lived ---

    def exchange(self, orders: Iterable[CancelOrder] = (), **options: Any) -> ScriptedExchange:
        """An exchange whose frames are recorded here."""
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
        """Note a cancel that the client has taken; returns its id."""
        self.taken[id] = Taken(order, at, policy, sure)
        return id

    def end(self, *exchanges: ScriptedExchange, began: float = 0.0) -> Day:
        """Note what the exchanges did, and how long it took from `began` on; returns the day."""
        for exchange in exchanges:
            self.acts += exchange.log
            self.live |= {name_of(order) for order in exchange.live}
        self.seconds = max((given.at for given in self.outcomes_given()), default=began) - began
        return self

    # --- when it is over ---

    @property
    def outcomes(self) -> list[Outcome]:
        """Every outcome that came out, doubles included."""
        return [
            given.event
            for given in self.given
            if isinstance(given.event, Accepted | Rejected | Unresolved)
        ]

    def outcomes_given(self) -> Iterator[Given]:
        """The outcomes, with the times at which they came out."""
        return (
            given
            for given in self.given
            if isinstance(given.event, Accepted | Rejected | Unresolved)
        )

    def received(self) -> Iterator[SeenCancel]:
        """The cancels that arrived, in order."""
        for frame in self.frames:
            if frame.direction == "received" and '"cancel-order"' in frame.text:
                yield SeenCancel(frame.at, frame.link, json.loads(frame.text)["args"][0]["id"])

    def said(self, part: str) -> Iterator[SeenFrame]:
        """The frames that the exchange has said and that hold this text."""
        return (frame for frame in self.frames if frame.direction == "sent" and part in frame.text)

    def when(self, kind: type) -> list[float]:
        """When events of this kind came out."""
        return [given.at for given in self.given if isinstance(given.event, kind)]


class _Stamped(list[Any]):
    """A list of events that notes when each came out."""

    def __init__(self, day: Day, clock: Callable[[], float]) -> None:
        super().__init__()
        self._day, self._clock = day, clock

    def append(self, event: object, /) -> None:
        self._day.given.append(Given(self._clock(), event))
        super().append(event)


def in_connection(
    day: Day,
    exchange: ScriptedExchange,
    client: Connection | None = None,
    latency: Latency = LATENCY,
) -> Pair:
    """A connection at its defaults, not opened yet, with its record in `day`."""
    pair = Pair(client, exchange, latency=latency)
    pair.events = _Stamped(day, pair.clock)
    return pair


def connected(day: Day, exchange: ScriptedExchange, latency: Latency = LATENCY) -> Pair:
    """A connection at its defaults, logged in, with its record in `day`."""
    pair = in_connection(day, exchange, latency=latency)
    pair.open()
    pair.run(2.0)
    return pair


def in_session(
    day: Day,
    exchange: ScriptedExchange,
    session: Session,
    *,
    latency: Latency = LATENCY,
    skew: float = 0.0,
    credentials: Credentials | None = None,
) -> SessionPair:
    """A session, not started yet, with its record in `day`."""
    pair = SessionPair(
        session,
        exchange,
        latency=latency,
        dial_time=2 * LATENCY,
        skew=skew,
        credentials=credentials,
    )
    pair.events = _Stamped(day, pair.clock)
    return pair


def started(
    day: Day,
    exchange: ScriptedExchange,
    chance: random.Random,
    *,
    budget: Budget | None = None,
    latency: Latency = LATENCY,
) -> SessionPair:
    """A session at its defaults, logged in, with its record in `day`."""
    pair = in_session(day, exchange, Session(budget=budget, jitter=chance.random), latency=latency)
    pair.start()
    pair.run(2.0)
    return pair


def dice(seed: int) -> random.Random:
    """What is random on a day."""
    return random.Random(seed)


def some_orders(count: int, first: int = 1) -> list[CancelOrder]:
    """So many orders, numbered."""
    return [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(first, first + count)]


Judge: TypeAlias = Callable[[Day], Iterator[str]]
"""Gives what went wrong on a day, in words; nothing when all was right."""


@attrs.frozen
class Row:
    """One kind of bad day."""

    name: str
    right: str
    """The right result, in words."""

    live: Callable[[random.Random], Day]
    judges: Sequence[Judge]

    def run(self, seed: int) -> Day:
        """Live the day."""
        return self.live(dice(seed))

    def missed(self, day: Day) -> list[str]:
        """What went wrong on it, in words."""
        return [f"{judge_name(judge)}: {fault}" for judge in self.judges for fault in judge(day)]


def judge_name(judge: Judge) -> str:
    """The name of a judge, without what it was given."""
    function = judge.func if isinstance(judge, partial) else judge
    named: str = getattr(function, "__name__", repr(function))
    return named
