"""Random runs of a session, the scripted exchange and a reconciler together, in virtual time.

Pushes and look-ups go through the wire formats, and both are unreliable: lost, late, doubled, out of
order; REST is behind, throttled, empty, silent, wrong about what exists, or down; links drop. Orders
fill before, between and after their cancels. Each outcome gets one `Final`, and the exchange's book
does not contradict it at the time that it states. The run fails if a kind of `Final`, of evidence, of
fault, a reason or a state of an order was never reached.
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
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    Codec,
    Credentials,
    Dialect,
    Down,
    Evidence,
    Filled,
    Final,
    InstType,
    LookUp,
    LookUpReply,
    NoAnswer,
    NoSuchOrder,
    NotFound,
    OneOrder,
    OrderPage,
    OrderStatus,
    OrderUpdate,
    Outcome,
    Policy,
    Reconciler,
    ReconcilerConfig,
    Rejected,
    RestCodec,
    Session,
    SessionConfig,
    State,
    StillOpen,
    Subscribed,
    Timer,
    Unknown,
    Unrecognised,
    Unresolved,
    Up,
    Wait,
    WhyUnknown,
    sign_request,
)
from bitget_proto._machine.look_up_line import LookUpLine
from bitget_proto._machine.look_ups import LookUps
from bitget_proto._machine.tracked_orders import Tracked
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    RestFault,
    ScriptedExchange,
    ScriptedLink,
    SessionPair,
)
from bitget_proto.testing._exchange.order_book import BookOrder
from bitget_proto.testing._exchange.scripted_link import ExchangeLinks
from bitget_proto.testing._exchange.trading import Trading

KEY = Credentials("key", "secret", "passphrase")
SETTLE = ReconcilerConfig().settle
LAG = SETTLE - 1e-9
"""Seconds by which REST is behind at most; a little less, since times are rounded."""

CALM_FROM = 25.0
"""When the faults of REST end in some of the runs."""

LAST_CANCEL = 12.0
ENDED = {"filled": OrderStatus.FILLED, "cancelled": OrderStatus.CANCELLED}

FAULTS = [
    Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.SILENT, Fault.LATE, Fault.UNSURE, Fault.CUT, Fault.DUPLICATE,
    Fault.WRONG_TYPES, Fault.GOING_AWAY, Fault.THROTTLE, Fault.FILL_FIRST, Fault.HALF_FILL_FIRST, Fault.PUSH_FIRST,
]  # fmt: skip
"""Faults of cancels. What becomes of pushes is decided for each push instead."""

LOST_REPLY, DOUBLED_REPLY, LATE_REPLY, NO_SUCH_ORDER, EMPTY_LIST = (
    "lost", "doubled", "late", "no such order", "empty list",
)  # fmt: skip

Wrong: TypeAlias = RestFault | str
WRONGS: list[Wrong] = [
    *RestFault, LOST_REPLY, DOUBLED_REPLY, LATE_REPLY, NO_SUCH_ORDER, EMPTY_LIST,
]  # fmt: skip
"""What may be wrong with the answer to a look-up."""


@attrs.frozen
class Plan:
    """What a run is about."""

    seed: int
    dialect: Dialect
    orders: int
    fault: float
    """The probability that a cancel has a fault."""

    push_lost: float
    push_late: float
    rest_wrong: float
    rest_until: float
    """When the faults of REST end."""

    drops: int
    noise: int
    """How many further orders the account has."""

    policy: Policy
    unique: bool
    closes: bool
    dead: bool
    """Whether neither pushes nor REST ever work."""


RARE = st.sampled_from([0.0, 0.0, 0.1, 0.5])
RARELY = st.sampled_from([False] * 5 + [True])
PLANS = st.builds(
    Plan,
    seed=st.integers(0, 2**32),
    dialect=st.sampled_from(list(Dialect)),
    orders=st.sampled_from([1, 3, 5, 8, 20]),
    fault=RARE,
    push_lost=st.sampled_from([0.0, 0.3, 1.0]),
    push_late=RARE,
    rest_wrong=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    rest_until=st.sampled_from([0.0, CALM_FROM, CALM_FROM, 1000.0]),
    drops=st.sampled_from([0, 0, 1, 3]),
    noise=st.sampled_from([0, 0, 30, 130]),
    policy=st.sampled_from(list(Policy)),
    unique=st.booleans(),
    closes=RARELY,
    dead=RARELY,
)

visited: Counter[object] = Counter()


class Careless(ScriptedExchange):
    """An exchange whose pushes are lost, late, doubled and out of order."""

    def __init__(self, plan: Plan, random: Random) -> None:
        config = ExchangeConfig(dialect=plan.dialect)
        super().__init__(credentials=KEY, config=config, late_by=12.0, grace=3.0)
        self.random = random
        self.plan = plan
        self.placed: list[BookOrder] = []
        self._links = CarelessLinks(self, self._trading)

    def open_order(self, order: CancelOrder, now: float) -> BookOrder:
        placed = self._book.place(order, Decimal(4), Decimal(100), now)
        self.placed.append(placed)
        self._links.push(placed, None, now)
        return placed

    def find(self, order: CancelOrder) -> BookOrder | None:
        """Return the order with the id that prevails, whatever its product line."""
        for placed in self.placed:
            mine, theirs = order.order_id, placed.order.order_id
            if mine is None:
                mine, theirs = order.client_oid, placed.order.client_oid
            if mine == theirs:
                return placed
        return None


class CarelessLinks(ExchangeLinks):
    """Links of a careless exchange."""

    def __init__(self, exchange: Careless, trading: Trading) -> None:
        super().__init__(trading)
        self.exchange = exchange

    def push(self, placed: BookOrder, by: ScriptedLink | None, now: float) -> None:
        random, plan = self.exchange.random, self.exchange.plan
        lost = 1.0 if plan.dead else plan.push_lost
        for link in self.exchange.links:
            if link.state is not State.READY:
                continue
            for text in link._channels.pushes(placed, int(self.exchange.wall_clock(now) * 1000)):
                if random.random() < lost:
                    visited["push", "lost"] += 1
                elif random.random() < plan.push_late:
                    # Later states may arrive before it.
                    visited["push", "late"] += 1
                    link._delayed.put(now + random.uniform(0.0, 9.0), text)
                else:
                    for _ in range(random.choice([1, 1, 1, 2])):
                        link.say(text, now)
            if link is not by:
                link._notify()


class World(SessionPair):
    """A session with a reconciler beside it, as a driver would have it."""

    def __init__(self, plan: Plan) -> None:
        random = Random(plan.seed)
        latency = random.choice([0.0, 0.02, 0.2])
        exchange = Careless(plan, random)
        super().__init__(
            Session(SessionConfig(policy=plan.policy), Codec(dialect=plan.dialect), jitter=float),
            exchange=exchange,
            latency=lambda: random.uniform(0.0, 2 * latency),
            credentials=KEY,
        )
        self.plan, self.random, self.careless, self.rest_latency = plan, random, exchange, latency
        self.rec = Reconciler(ReconcilerConfig(client_oids_unique=plan.unique))
        self.rest = RestCodec(plan.dialect)
        self.rec_wait: float = inf
        self.later: list[tuple[float, int, Callable[[], object]]] = []
        self.counter = count()
        self.seen = 0
        self.asked: dict[int, tuple[float, LookUp]] = {}
        self.tracked: dict[int, tuple[Outcome, float]] = {}
        self.finals: dict[int, Final] = {}
        self.told: list[tuple[float, float | None, OrderUpdate]] = []
        """The updates that the reconciler was told: when, when that was asked, and what."""

    @property
    def now(self) -> float:
        return self.clock.now

    def at(self, time: float, act: Callable[[], object]) -> None:
        heapq.heappush(self.later, (time, next(self.counter), act))

    # --- the driver ---

    def next_due(self) -> float:
        later = self.later[0][0] if self.later else inf
        return min(super().next_due(), self.rec_wait, later)

    def _step(self) -> None:
        if self.later and self.later[0][0] <= self.now:
            heapq.heappop(self.later)[2]()
            self.drain_reconciler()
        elif self.rec_wait <= self.now:
            self.rec.handle_timeout(self.now)
            self.drain_reconciler()
        else:
            super()._step()

    def _drain_client(self) -> None:
        super()._drain_client()
        events, self.seen = self.events[self.seen :], len(self.events)
        for event in events:
            match event:
                case OrderUpdate():
                    self.told.append((self.now, None, event))
                    self.rec.pushed(event, self.now)
                case Subscribed():
                    self.rec.up(self.now)
                case Up() | Down():
                    self.rec.down(self.now)
                case Unrecognised(malformed=str()):
                    self.rec.down(self.now)
                    self.rec.up(self.now)
                case Accepted() | Rejected() | Unresolved(sent=True):
                    self.track(event)
                case _:
                    pass
            self.drain_reconciler()

    def track(self, outcome: Outcome) -> None:
        if self.rec_closed:
            return
        number = self.rec.track(outcome, self.now)
        assert number not in self.tracked
        self.tracked[number] = outcome, self.now
        placed = self.careless.find(outcome.order)
        status = "none" if placed is None else placed.last.status
        visited["tracked", type(outcome), status] += 1

    rec_closed = False

    def close_reconciler(self) -> None:
        self.rec_closed = True
        self.rec.close(self.now)

    def drain_reconciler(self) -> None:
        for _ in range(100_000):
            output = self.rec.poll(self.now)
            if isinstance(output, Wait):
                visited["wait", output.timer] += 1
                self.rec_wait = inf if output.until is None else output.until
                return
            if isinstance(output, LookUp):
                self.ask(output)
            else:
                self.check(output)
        raise AssertionError("poll never returns a Wait")

    # --- REST ---

    def ask(self, look_up: LookUp) -> None:
        """Send a look-up; it arrives a little later."""
        self.asked[look_up.number] = self.now, look_up
        visited["asked", type(look_up.question)] += 1
        self.at(
            self.now + self.random.uniform(0.0, self.rest_latency),
            partial(self.arrive, look_up, self.now),
        )

    def arrive(self, look_up: LookUp, asked_at: float) -> None:
        """Let the exchange answer, from a moment that is at most `LAG` seconds past."""
        plan, random, question = self.plan, self.random, look_up.question
        wrong: Wrong | None = None
        if plan.dead:
            wrong = RestFault.DOWN
        elif self.now < plan.rest_until and random.random() < plan.rest_wrong:
            wrong = random.choice(WRONGS)
            visited["rest", wrong] += 1
        self.careless.rest_behind = random.choice([0.0, LAG, random.uniform(0.0, LAG)])
        if isinstance(wrong, RestFault):
            self.careless.inject_rest(wrong)
        request = self.rest.look_up(question)
        stamp = int(self.careless.wall_clock(self.now) * 1000)
        signed = sign_request(KEY, request, stamp)
        headers = {name.lower(): value for name, value in signed.items()}
        answer = self.careless.rest(
            request.method, request.target, headers, request.body.encode(), self.now
        )
        if isinstance(question, OneOrder) and wrong is NO_SUCH_ORDER:
            answer = 400, b'{"code":"40109","msg":"not found","data":null}'
        elif isinstance(question, OneOrder) and wrong is EMPTY_LIST:
            answer = 200, b'{"code":"00000","msg":"success","data":[]}'
        reply: LookUpReply | None = None
        if answer is not None:
            reply = self.rest.read_look_up(question, *answer)
            visited["reply", type(reply), isinstance(reply, NoAnswer) and reply.throttled] += 1
        if wrong is LOST_REPLY:
            return
        delay = random.uniform(0.0, self.rest_latency)
        if wrong is LATE_REPLY:
            delay = random.uniform(1.0, 20.0)
        for _ in range(2 if wrong is DOUBLED_REPLY else 1):
            self.at(self.now + delay, partial(self.replied, look_up.number, asked_at, reply))

    def replied(self, number: int, asked_at: float, reply: LookUpReply | None) -> None:
        visited["late reply"] += self.now - asked_at >= self.rec.config.answer_timeout
        first = self.asked.pop(number, None) is not None
        if isinstance(reply, OrderPage) and first:
            self.told += [(self.now, asked_at, update) for update in reply.orders]
        if reply is None:
            self.rec.failed(number, "connection reset", self.now)
        else:
            self.rec.looked_up(number, reply, self.now)

    # --- the checks ---

    def check(self, final: Final) -> None:
        """One `Final` for each outcome, and the book does not contradict it."""
        assert final.number not in self.finals
        self.finals[final.number] = final
        outcome, tracked_at = self.tracked[final.number]
        assert final.outcome is outcome
        assert (final.tracked_at, final.resolved_at) == (tracked_at, self.now)
        visited[type(final), final.evidence] += 1
        placed = self.careless.find(outcome.order)
        if placed is not None:
            assert final.order_id in (None, placed.order.order_id)
            assert final.client_oid in (None, placed.order.client_oid)
        match final:
            case Cancelled() | Filled():
                assert placed is not None
                assert placed.last.status == ("cancelled" if type(final) is Cancelled else "filled")
                assert final.filled == placed.last.filled
                assert final.average_price in (None, placed.price)
                visited[type(final), "after a fill in part"] += 0 < placed.last.filled < placed.size
            case StillOpen():
                assert placed is not None
                assert tracked_at <= final.as_of <= self.now
                then = placed.as_of(final.as_of)
                assert then is not None
                assert then.status not in ENDED
                assert final.filled is not None
                assert then.filled <= final.filled <= placed.last.filled
                assert final.filled >= self.most_told(placed, tracked_at)
                visited[StillOpen, "filled in part"] += final.filled > 0
                visited[StillOpen, "ended since"] += placed.last.status in ENDED
            case NotFound():
                assert final.order_id is not None
                assert placed is None or line_of(placed.order) is not line_of(outcome.order)
                visited[NotFound, "by its product line"] += placed is not None
            case Unknown():
                visited[Unknown, final.why] += 1
                self.check_unknown(final, placed, tracked_at)

    def check_unknown(self, final: Unknown, placed: BookOrder | None, tracked_at: float) -> None:
        """Nothing that the reconciler was told proves what became of the order."""
        if final.why is WhyUnknown.AMBIGUOUS_ID:
            assert final.order_id is None
            assert not self.plan.unique
            return
        if final.why is WhyUnknown.DEADLINE:
            assert self.now >= tracked_at + self.rec.config.deadline
        else:
            assert final.why is WhyUnknown.CLOSED
            assert self.rec_closed
        if placed is None:
            return
        assert (final.filled or 0) >= self.most_told(placed, tracked_at)
        for at, asked_at, told in self.told:
            if told.order_id == placed.order.order_id and (asked_at is None or at >= tracked_at):
                assert told.status is OrderStatus.OPEN
                assert asked_at is None or asked_at < tracked_at + SETTLE

    def most_told(self, placed: BookOrder, tracked_at: float) -> Decimal:
        """Return the largest fill of an order that the reconciler was told while it tracked it."""
        told = [
            update.filled or Decimal(0)
            for at, _, update in self.told
            if update.order_id == placed.order.order_id and at > tracked_at
        ]
        return max(told, default=Decimal(0))

    def check_end(self) -> None:
        assert self.finals.keys() == self.tracked.keys()
        assert self.rec.tracked == 0
        calm = self.plan.rest_until <= CALM_FROM and not (self.plan.closes or self.plan.dead)
        for final in self.finals.values():
            if calm and self.can_be_known(final):
                assert not isinstance(final, Unknown), final

    def can_be_known(self, final: Final) -> bool:
        """Whether REST can tell what became of the order once it is calm."""
        order = final.outcome.order
        placed = self.careless.find(order)
        if placed is None:
            # By a `client_oid`, "no such order" proves nothing.
            return final.order_id is not None
        # REST does not find an order under another product line.
        named = final.order_id is not None or self.plan.unique
        return named and line_of(order) is line_of(placed.order)


# --- a run ---


def live(plan: Plan) -> World:
    """One run, until every order has its `Final`."""
    world = World(plan)
    random = world.random
    for number in range(plan.noise):
        add_noise(world, number)
    if random.random() < 0.9:
        world.subscribe_orders()
    world.start()
    for _ in range(plan.drops):
        world.at(random.uniform(0.0, 15.0), partial(drop, world))
    for number in range(plan.orders):
        add(world, number)
    if plan.closes:
        world.at(random.uniform(0.0, 20.0), world.close_reconciler)
    world.run(LAST_CANCEL + 180.0)
    world.close()
    world.run_until_ended()
    world.run(ReconcilerConfig().deadline)
    return world


def lines(world: World) -> list[InstType | None]:
    unified = [InstType.MARGIN] if world.plan.dialect is Dialect.UNIFIED else []
    return [None, InstType.SPOT, InstType.SPOT, InstType.USDT_FUTURES, *unified]


def line_of(order: CancelOrder) -> InstType:
    return order.inst_type or InstType.SPOT


def add_noise(world: World, number: int) -> None:
    line = world.random.choice(lines(world))
    order = CancelOrder("BTCUSDT", f"9{number:03}", f"noise-{number}", line)
    world.careless.open_order(order, -20.0)
    if number % 2:
        world.careless.fill(order, -10.0)


def add(world: World, number: int) -> None:
    """An order, its fills, and its cancels."""
    random = world.random
    line = random.choice(lines(world))
    order = CancelOrder(
        random.choice(["BTCUSDT", "ETHUSDT"]), f"{1000 + number}", f"mine-{number}", line
    )
    cancel_at = random.uniform(0.0, LAST_CANCEL)
    if random.random() < 0.9:
        placed_at = random.choice([0.0, max(0.0, cancel_at - random.choice([0.01, 0.5, 3.0]))])
        world.at(placed_at, lambda: world.careless.open_order(order, world.now))
        for _ in range(random.choice([0, 0, 1, 1, 2])):
            around = cancel_at + random.choice([-3.0, -0.1, 0.0, 0.1, 0.5, 1.0, 1.5, 1.9, 3.0])
            quantity = random.choice(["1", "2", None, None])
            world.at(max(placed_at, around), partial(fill, world, order, quantity))
    named = random.choice(["both", "order", "order", "client"])
    asked = attrs.evolve(
        order,
        order_id=None if named == "client" else order.order_id,
        client_oid=None if named == "order" else order.client_oid,
        # A wrong product line reads as "not found".
        inst_type=InstType.USDC_FUTURES if random.random() < 0.05 else line,
    )
    if random.random() < 0.3:
        # The order stays open.
        world.careless.refusals[asked.order_id or f"mine-{number}"] = "45056"
    for again in range(random.choice([1, 1, 1, 2])):
        world.at(cancel_at + again * random.choice([0.0, 1.0, 8.0]), partial(cancel, world, asked))


def fill(world: World, order: CancelOrder, quantity: str | None) -> None:
    placed = world.careless.find(order)
    assert placed is not None
    left = placed.size - placed.last.filled
    if placed.last.status not in ENDED and (quantity is None or Decimal(quantity) <= left):
        world.careless.fill(order, world.now, quantity)


def cancel(world: World, order: CancelOrder) -> None:
    wrong = world.random.random() < world.plan.fault
    world.careless.inject(world.random.choice(FAULTS) if wrong else None)
    world.cancel(order)


def drop(world: World) -> None:
    if world.links:
        world.drop()


# --- the test ---

TO_BE_VISITED: set[Any] = {
    *(
        (kind, evidence)
        for kind in (Cancelled, Filled)
        for evidence in (Evidence.PUSH, Evidence.LOOK_UP, Evidence.HISTORY)
    ),
    *((StillOpen, evidence) for evidence in (Evidence.LOOK_UP, Evidence.OPEN_ORDERS)),
    (NotFound, Evidence.HISTORY),
    (Unknown, None),
    *((Unknown, why) for why in WhyUnknown if why is not WhyUnknown.INTERRUPTED),
    (NotFound, "by its product line"),
    (Cancelled, "after a fill in part"),
    (StillOpen, "filled in part"),
    (StillOpen, "ended since"),
    *(("tracked", Accepted, status) for status in ("cancelled",)),
    *(("tracked", Rejected, status) for status in ("none", "live", "filled", "cancelled")),
    *(
        ("tracked", Unresolved, status)
        for status in ("live", "partially_filled", "filled", "cancelled", "none")
    ),
    *(("wait", timer) for timer in (Timer.LOOK_UP, Timer.ANSWER, Timer.UNKNOWN, None)),
    *(("rest", wrong) for wrong in WRONGS),
    *(("reply", kind, False) for kind in (OrderPage, NoSuchOrder, NoAnswer)),
    ("reply", NoAnswer, True),
    ("push", "lost"),
    ("push", "late"),
    "late reply",
}


def play(examples: int, *phases: Phase, seed_: int = 7) -> None:
    @seed(seed_)
    @settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate, *phases],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(plan=PLANS)
    def run(plan: Plan) -> None:
        live(plan).check_end()

    run()


def play_until_visited(examples: int) -> None:
    """Play, and then more if something rare was missed: what is drawn depends on what is imported."""
    visited.clear()
    missing = TO_BE_VISITED
    for number in range(7, 12):
        play(examples, Phase.shrink, seed_=number)
        missing = TO_BE_VISITED - {key for key, times in visited.items() if times}
        if not missing:
            return
    raise AssertionError(f"never visited: {missing}")


def test_every_outcome_gets_one_final_that_the_book_does_not_contradict() -> None:
    play_until_visited(120)


@pytest.mark.slow
def test_the_same_in_many_runs() -> None:
    play_until_visited(3000)


# --- planted faults ---


def still_open_now(self: Reconciler, tracked: Tracked, as_of: float) -> None:
    STILL_OPEN(self, tracked, self._now)


def learns_the_last_fill(self: Tracked, update: OrderUpdate, evidence: Evidence) -> None:
    self.evidence, self.filled = evidence, update.filled


def believes_pushes(
    self: Reconciler, update: OrderUpdate, evidence: Evidence, asked_at: float | None
) -> None:
    LEARN(self, update, evidence, self._now if asked_at is None else asked_at)


def doubts_at_once(self: LookUpLine, tracked: Tracked, asked_at: float) -> None:
    tracked.history_from = asked_at
    self.doubted[tracked.number] = tracked


def settles_twice(self: Reconciler, tracked: Tracked, final: Final) -> None:
    SETTLE_IT(self, tracked, final)
    if isinstance(final, StillOpen):
        self._outputs.append(final)


def never_looks_up(self: LookUps, tracked: Tracked, at: float) -> None:
    pass


LEARN, SETTLE_IT, STILL_OPEN = Reconciler._learn, Reconciler._settle, Reconciler._still_open
PLANTS = [
    (Reconciler, "_still_open", still_open_now),
    (Reconciler, "_settle", settles_twice),
    (Tracked, "learn", learns_the_last_fill),
    (Reconciler, "_learn", believes_pushes),
    (LookUpLine, "doubt", doubts_at_once),
    (LookUps, "add", never_looks_up),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "fault"), PLANTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_planted_fault_is_found(
    kind: type, name: str, fault: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, name, fault)
    with pytest.raises(AssertionError):
        play(1000)
