"""A small exchange for the tests of `Reconciler`: a book of orders, its pushes, and its REST API.

All in virtual time. What happens to an order is decided when it is made. REST shows the book as it was at some moment
that is at most `LAG` seconds old; each page has a moment of its own.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import count
from math import inf
from random import Random
from typing import TypeAlias

import attrs

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    CodeClass,
    Filled,
    Final,
    InstType,
    LookUp,
    LookUpReply,
    NoAnswer,
    NoSuchOrder,
    NotFound,
    OneOrder,
    OpenOrders,
    OrderHistory,
    OrderPage,
    OrderStatus,
    OrderUpdate,
    Outcome,
    Question,
    Reconciler,
    ReconcilerConfig,
    Rejected,
    StillOpen,
    Timer,
    Unknown,
    Unresolved,
    Wait,
    WhyUnknown,
    WhyUnresolved,
)

LAG = ReconcilerConfig().settle
"""Seconds by which REST may be behind."""

WAITING = ("ready", "one_by_one", "round", "doubted")
"""What an order may be while it has no `Final`, besides due later or looked up alone: see `LookUpLine`."""

OPEN, FILLED, CANCELLED = OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED


def accepted(order: CancelOrder, order_id: str | None = None) -> Accepted:
    return Accepted("a", order, 0.0, 0.0, 0.0, exchange_ts=1, order_id=order_id)


def rejected(order: CancelOrder) -> Rejected:
    return Rejected("r", order, 0.0, 0.0, 0.0, "43001", CodeClass.NOT_FOUND, "", 1)


def unresolved(order: CancelOrder, *, sent: bool = True) -> Unresolved:
    return Unresolved("u", order, 0.0, 0.0, 0.0, sent, WhyUnresolved.LOST)


def update(
    order_id: str | None = "1",
    status: OrderStatus = OPEN,
    filled: str | None = "0",
    client_oid: str | None = None,
    average_price: str | None = None,
    inst_type: InstType | None = InstType.SPOT,
) -> OrderUpdate:
    return OrderUpdate(
        order_id=order_id,
        client_oid=client_oid,
        inst_type=inst_type,
        inst_id="BTCUSDT",
        status=status,
        status_text=status.value,
        filled=None if filled is None else Decimal(filled),
        average_price=None if average_price is None else Decimal(average_price),
        reason="normal_cancel" if status is CANCELLED else None,
        updated_at=1763958366000,
    )


def drain(rec: Reconciler, now: float) -> tuple[list[LookUp], list[Final], Wait]:
    """All outputs before the `Wait`, by kind, and the `Wait`."""
    asked: list[LookUp] = []
    finals: list[Final] = []
    for _ in range(100_000):
        output = rec.poll(now)
        if isinstance(output, Wait):
            return asked, finals, output
        if isinstance(output, LookUp):
            asked.append(output)
        else:
            finals.append(output)
    raise AssertionError("poll never returns a Wait")


@attrs.define
class Order:
    """An order of the book and its states, each with its time; none if it never existed."""

    number: int
    inst_type: InstType | None
    states: list[tuple[float, OrderUpdate]]

    @property
    def order_id(self) -> str:
        return f"{1000000 + self.number}"

    @property
    def client_oid(self) -> str:
        return f"mine-{self.number}"

    def at(self, moment: float) -> OrderUpdate | None:
        """Its state at a moment."""
        shown = [state for time, state in self.states if time <= moment]
        return shown[-1] if shown else None


@attrs.frozen
class Faults:
    """How unreliable the exchange is. Each number is a probability."""

    push_lost: float = 0.0
    push_late: float = 0.0
    push_doubled: float = 0.0
    rest_failing: float = 0.0
    rest_throttled: float = 0.0
    rest_empty: float = 0.0
    rest_missing: float = 0.0
    """"No such order" for one that exists."""

    rest_silent: float = 0.0
    rest_slow: float = 0.0
    rest_doubled: float = 0.0
    until: float = 1000.0
    """When the faults of REST end."""


class Book:
    """The orders and what REST says of them."""

    def __init__(self, random: Random, page_size: int = 3) -> None:
        self.random = random
        self.page_size = page_size
        self.orders: list[Order] = []

    def add(
        self,
        inst_type: InstType | None,
        ends: OrderStatus | None,
        at: float,
        exists: bool = True,
        placed_at: float = -100.0,
    ) -> Order:
        """An order that fills in part, at random times, and may end at a time."""
        order = Order(len(self.orders), inst_type, [])
        filled = 0
        state = partial(update, order.order_id, client_oid=order.client_oid, inst_type=inst_type)
        times = sorted(
            at - self.random.choice([0.05, 1.0, 2.9]) for _ in range(self.random.randrange(3))
        )
        if exists:
            order.states.append((placed_at, state()))
            for time in times:
                filled += 1
                shown = state(filled=str(filled), average_price=str(10 + filled))
                order.states.append((time, shown))
            if ends is not None:
                filled += ends is FILLED
                average = str(10 + filled) if ends is FILLED else None
                last = state(status=ends, filled=str(filled), average_price=average)
                order.states.append((at, last))
        self.orders.append(order)
        return order

    def answer(self, question: Question, moment: float) -> LookUpReply:
        """What REST says when it shows the book of this moment."""
        if isinstance(question, OneOrder):
            asked = question.order
            for order in self.orders:
                state = order.at(moment)
                same = (
                    asked.order_id == order.order_id
                    if asked.order_id
                    else asked.client_oid == order.client_oid
                )
                if state is not None and same:
                    return OrderPage((state,))
            return NoSuchOrder("43001")
        before = int(question.page) if question.page else 10**9
        shown = [
            (order.number, state)
            for order in reversed(self.orders)
            if order.inst_type is question.inst_type
            and order.number < before
            and (state := order.at(moment)) is not None
            and (state.status is OPEN) == isinstance(question, OpenOrders)
        ]
        page = shown[: self.page_size]
        more = len(shown) > self.page_size
        return OrderPage(tuple(state for _, state in page), str(page[-1][0]) if more else None)


Event: TypeAlias = tuple[float, int, Callable[[], None]]


class World:
    """A reconciler with an exchange, driven in virtual time, and a ledger of what each was told."""

    def __init__(self, rec: Reconciler, book: Book, faults: Faults, latency: float = 0.1) -> None:
        self.rec, self.book, self.faults, self.latency = rec, book, faults, latency
        self.random = book.random
        self.now = 0.0
        self.events: list[Event] = []
        self.counter = count()
        self.connected = False
        self.tracked: dict[int, tuple[Order, Outcome, float]] = {}
        self.finals: dict[int, Final] = {}
        self.asked: list[tuple[float, Question]] = []
        self.unanswered: dict[int, float] = {}
        self.told: list[tuple[float, float | None, OrderUpdate]] = []
        """The updates that the reconciler was told: when, when that was asked, and what."""
        self.visited: Counter[object] = Counter()

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self.counter), act))

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # --- what happens ---

    def track(self, order: Order, outcome: Outcome) -> None:
        number = self.rec.track(outcome, self.now)
        assert number not in self.tracked
        self.tracked[number] = (order, outcome, self.now)

    def connect(self) -> None:
        self.connected = True
        self.rec.up(self.now)

    def disconnect(self) -> None:
        self.connected = False
        self.rec.down(self.now)

    def push_changes(self, order: Order) -> None:
        """Schedule the pushes of an order."""
        for time, state in order.states:
            if time >= 0:
                self.at(time, partial(self.push, state))

    def push(self, state: OrderUpdate) -> None:
        if not self.connected or self.chance(self.faults.push_lost):
            return
        for _ in range(1 + self.chance(self.faults.push_doubled)):
            delay = self.random.uniform(0.0, 8.0) if self.chance(self.faults.push_late) else 0.02
            self.at(self.now + delay, partial(self.pushed, state))

    def pushed(self, state: OrderUpdate) -> None:
        self.told.append((self.now, None, state))
        self.rec.pushed(state, self.now)

    def look_up(self, look_up: LookUp) -> None:
        """Decide what becomes of a look-up."""
        assert look_up.number not in self.unanswered
        self.asked.append((self.now, look_up.question))
        self.unanswered[look_up.number] = self.now
        limit = self.rec.config.max_look_ups
        timeout = self.rec.config.answer_timeout
        assert sum(at + timeout > self.now for at in self.unanswered.values()) <= limit
        faults = self.faults if self.now < self.faults.until else Faults()
        if self.chance(faults.rest_silent):
            self.visited["silent"] += 1
            return
        delay = self.random.uniform(0.0, 2 * self.latency)
        if self.chance(faults.rest_slow):
            delay = self.random.uniform(1.0, 15.0)
        moment = self.random.uniform(self.now - LAG, self.now + delay)
        reply: LookUpReply | None = self.book.answer(look_up.question, moment)
        single = isinstance(look_up.question, OneOrder)
        if self.chance(faults.rest_throttled):
            reply = NoAnswer("429", throttled=True)
        elif self.chance(faults.rest_failing):
            reply = self.random.choice([None, NoAnswer("500")])
        elif single and self.chance(faults.rest_missing):
            reply = NoSuchOrder("43001")
        elif single and self.chance(faults.rest_empty):
            reply = OrderPage(())
        for _ in range(1 + self.chance(faults.rest_doubled)):
            self.at(self.now + delay, partial(self.replied, look_up.number, self.now, reply))

    def replied(self, number: int, asked_at: float, reply: LookUpReply | None) -> None:
        self.visited["late reply"] += self.now - asked_at >= self.rec.config.answer_timeout
        if isinstance(reply, OrderPage) and number in self.unanswered:
            self.told += [(self.now, asked_at, state) for state in reply.orders]
        self.unanswered.pop(number, None)
        if reply is None:
            self.rec.failed(number, "connection reset", self.now)
        else:
            self.rec.looked_up(number, reply, self.now)

    # --- the driver ---

    def drain(self) -> Wait:
        for _ in range(100_000):
            output = self.rec.poll(self.now)
            if isinstance(output, Wait):
                self.visited["wait", output.timer] += 1
                for line in self.rec._look_ups._lines.values():
                    for name in WAITING:
                        self.visited[name] += bool(getattr(line, name))
                    self.visited["due"] += line.due.until < inf
                if len(self.tracked) < 100:
                    self.check_places()
                assert (
                    output.until is None
                    or output.until > self.now
                    or output.timer is not Timer.LOOK_UP
                )
                return output
            if isinstance(output, LookUp):
                self.look_up(output)
            else:
                self.check(output)
        raise AssertionError("poll never returns a Wait")

    def run(self, until: float) -> None:
        """Drive it; timers fire exactly, or a little late."""
        wait = self.drain()
        while True:
            fires = wait.until
            if fires is not None and self.chance(0.2):
                fires += self.random.choice([1e-9, 0.01, 0.3])
            event = self.events[0][0] if self.events else None
            due = min((time for time in (fires, event) if time is not None), default=None)
            if due is None or due > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, due)
            if event is not None and event <= self.now:
                heapq.heappop(self.events)[2]()
            else:
                self.rec.handle_timeout(self.now)
            wait = self.drain()

    # --- the checks ---

    def check(self, final: Final) -> None:
        """One `Final` for each, and the book does not contradict it."""
        assert final.number in self.tracked
        assert final.number not in self.finals
        self.finals[final.number] = final
        order, outcome, tracked_at = self.tracked[final.number]
        assert final.outcome is outcome
        assert (final.tracked_at, final.resolved_at) == (tracked_at, self.now)
        assert final.order_id in (None, order.order_id)
        assert final.client_oid in (None, order.client_oid)
        state = order.at(self.now)
        self.visited[type(final)] += 1
        self.visited[type(final), final.evidence] += 1
        if isinstance(final, Cancelled | Filled):
            assert state is not None
            assert state.status is (CANCELLED if isinstance(final, Cancelled) else FILLED)
            assert final.filled == state.filled
            assert final.average_price in (None, 10 + (state.filled or 0))
            self.visited["filled before"] += isinstance(final, Cancelled) and bool(final.filled)
        elif isinstance(final, StillOpen):
            assert tracked_at <= final.as_of <= self.now
            then = order.at(final.as_of)
            assert state is not None
            assert then is not None
            assert then.status is OPEN
            assert final.filled is not None
            assert then.filled is not None
            assert state.filled is not None
            assert final.filled <= state.filled
            self.visited["ended since"] += state.status is not OPEN
        elif isinstance(final, NotFound):
            assert state is None
            assert final.order_id is not None
        else:
            self.visited[Unknown, final.why] += 1
            self.check_unknown(final, order, tracked_at)

    def check_places(self) -> None:
        """Each order without a `Final` is in one place, or is being asked for alone."""
        look_ups = self.rec._look_ups
        alone = [asked.subject for asked in look_ups._unanswered.values()]
        for tracked in self.rec._orders.all.values():
            line = look_ups.line_of(tracked)
            waits = (line.ready, line.one_by_one, line.round)
            places = sum(waiting.get(tracked.number) is tracked for waiting in waits)
            assert places + (tracked.deadline < inf) + (tracked in alone) == 1, tracked

    def check_unknown(self, final: Unknown, order: Order, tracked_at: float) -> None:
        """Nothing that it was told proves what became of the order.

        Of what pages showed before an order was tracked, nothing is kept.
        """
        if final.why is WhyUnknown.AMBIGUOUS_ID:
            assert final.order_id is None
            assert not self.rec.config.client_oids_unique
            return
        assert final.why is not WhyUnknown.INTERRUPTED
        if final.why is WhyUnknown.DEADLINE:
            assert self.now >= tracked_at + self.rec.config.deadline
        for at, asked_at, told in self.told:
            if told.order_id == order.order_id and (asked_at is None or at >= tracked_at):
                assert told.status not in (CANCELLED, FILLED)
                assert asked_at is None or asked_at < tracked_at + LAG

    def check_paces(self) -> None:
        """No more look-ups of a kind in any second than the exchange allows."""
        config = self.rec.config
        for kind in (OneOrder, OpenOrders, OrderHistory):
            for limit, lines in (
                (config.look_ups_per_second, None),
                (config.futures_look_ups_per_second, (InstType.USDT_FUTURES,)),
            ):
                times = [
                    at
                    for at, question in self.asked
                    if isinstance(question, kind)
                    and (
                        lines is None
                        or (
                            question.order if isinstance(question, OneOrder) else question
                        ).inst_type
                        in lines
                    )
                ]
                assert limit is not None
                for first, later in zip(times, times[limit:], strict=False):
                    assert later - first >= 1.0
