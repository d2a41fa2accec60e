"""Random runs of a reconciler with an unreliable exchange, in virtual time.

Every order that was tracked gets one `Final`, and the exchange's book does not contradict it. The run fails if a kind of
`Final`, a kind of evidence, a reason, a state of an order or a timer was never reached.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from functools import partial
from random import Random

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bitget_proto import (
    Cancelled,
    CancelOrder,
    Evidence,
    Filled,
    InstType,
    NotFound,
    OrderStatus,
    Outcome,
    Reconciler,
    ReconcilerConfig,
    StillOpen,
    Timer,
    Unknown,
    WhyUnknown,
)

from .order_book import (
    WAITING,
    Book,
    Faults,
    Order,
    World,
    accepted,
    drain,
    rejected,
    unresolved,
    update,
)

RARE = st.sampled_from([0.0, 0.0, 0.1, 0.5])
CALM_FROM = 25.0
"""When the faults of REST end in some of the runs."""


@attrs.frozen
class Plan:
    """What a run is about."""

    seed: int
    orders: int
    faults: Faults
    drops: bool
    connects: bool
    unique: bool
    closes: bool
    dead: bool
    """Whether neither pushes nor REST ever work."""


FAULTS = st.builds(
    Faults,
    push_lost=st.sampled_from([0.0, 0.3, 1.0]),
    push_late=RARE,
    push_doubled=RARE,
    rest_failing=RARE,
    rest_throttled=RARE,
    rest_empty=RARE,
    rest_missing=RARE,
    rest_silent=RARE,
    rest_slow=RARE,
    rest_doubled=RARE,
    until=st.sampled_from([0.0, CALM_FROM, CALM_FROM, 1000.0]),
)
RARELY = st.sampled_from([False] * 5 + [True])
PLANS = st.builds(
    Plan,
    seed=st.integers(0, 2**32),
    orders=st.sampled_from([1, 3, 4, 5, 8, 30]),
    faults=FAULTS,
    drops=st.booleans(),
    connects=st.booleans(),
    unique=st.booleans(),
    closes=RARELY,
    dead=RARELY,
)

visited: Counter[object] = Counter()


def live(plan: Plan) -> World:
    """One run, until a minute after the last order was tracked."""
    random = Random(plan.seed)
    faults = Faults(push_lost=1.0, rest_failing=1.0) if plan.dead else plan.faults
    book = Book(random)
    config = ReconcilerConfig(client_oids_unique=plan.unique)
    world = World(Reconciler(config), book, faults, latency=random.choice([0.02, 0.2]))
    if plan.connects:
        world.at(0.0, world.connect)
        if plan.drops:
            for _ in range(random.randrange(1, 4)):
                gone = random.uniform(0.0, 12.0)
                world.at(gone, world.disconnect)
                world.at(gone + random.choice([0.1, 1.0, 10.0]), world.connect)
    for _ in range(plan.orders):
        add(world, random)
    if plan.closes:
        world.at(random.uniform(0.0, 12.0), partial(close, world))
    world.run(80.0)
    return world


def add(world: World, random: Random) -> None:
    """An order, its pushes, and the outcome of its cancel."""
    line = random.choice([None, InstType.SPOT, InstType.USDT_FUTURES])
    ends = random.choice([None, OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.CANCELLED])
    at = random.choice([-20.0, random.uniform(0.0, 10.0)])
    known_at = max(0.0, at + random.choice([-3.0, -0.5, -0.1, 0.0, 0.1, 3.0]))
    placed_at = random.choice([-100.0, min(known_at, at - 3.0) - random.choice([0.01, 0.5])])
    order = world.book.add(line, ends, at, random.random() < 0.85, placed_at)
    world.push_changes(order)
    named = random.choice(["order", "order", "client", "answer"])
    asked = CancelOrder(
        "BTCUSDT",
        order.order_id if named == "order" else None,
        None if named == "order" else order.client_oid,
        line,
    )
    outcomes: list[Outcome] = [accepted(asked), rejected(asked), unresolved(asked)]
    outcome = accepted(asked, order.order_id) if named == "answer" else random.choice(outcomes)
    for _ in range(random.choice([1, 1, 1, 2])):
        world.at(known_at, partial(track, world, order, outcome))


def track(world: World, order: Order, outcome: Outcome) -> None:
    if "closed" not in world.visited:
        world.track(order, outcome)


def close(world: World) -> None:
    world.visited["closed"] += 1
    world.rec.close(world.now)


def check(plan: Plan, world: World) -> None:
    """What holds at the end of a run."""
    assert world.finals.keys() == world.tracked.keys()
    assert world.rec.tracked == 0
    world.check_paces()
    if plan.dead:
        return
    for number, final in world.finals.items():
        order, _, _ = world.tracked[number]
        calm = plan.faults.until <= CALM_FROM and not plan.closes
        named = final.order_id is not None or plan.unique
        if calm and named and (order.states or final.order_id is not None):
            assert not isinstance(final, Unknown), (number, final)


TO_BE_VISITED = {
    *(
        (kind, evidence)
        for kind in (Cancelled, Filled)
        for evidence in (Evidence.PUSH, Evidence.LOOK_UP, Evidence.HISTORY)
    ),
    (StillOpen, Evidence.LOOK_UP),
    (StillOpen, Evidence.OPEN_ORDERS),
    (NotFound, Evidence.HISTORY),
    (Unknown, None),
    *((Unknown, why) for why in WhyUnknown if why is not WhyUnknown.INTERRUPTED),
    *(("wait", timer) for timer in (Timer.LOOK_UP, Timer.ANSWER, Timer.UNKNOWN, None)),
    *WAITING,
    "closed",
    "due",
    "ended since",
    "filled before",
    "late reply",
    "silent",
}


def play(examples: int) -> None:
    visited.clear()

    @seed(7)
    @settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(plan=PLANS)
    def run(plan: Plan) -> None:
        world = live(plan)
        visited.update(world.visited)
        check(plan, world)

    run()
    missing = TO_BE_VISITED - {key for key, times in visited.items() if times}
    assert not missing, f"never visited: {missing}"


def test_every_order_gets_one_final_that_the_book_does_not_contradict() -> None:
    play(250)


# --- many at once ---

LINES = [(InstType.SPOT,), (InstType.USDT_FUTURES,), (None, InstType.USDT_FUTURES)]
ENDS = [(OrderStatus.CANCELLED,), (None,), (None, OrderStatus.CANCELLED, OrderStatus.FILLED)]


@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("ends", ENDS)
def test_a_thousand_orders_are_settled_within_ten_seconds_of_a_drop(
    lines: tuple[InstType | None, ...], ends: tuple[OrderStatus | None, ...]
) -> None:
    random = Random(1)
    book = Book(random, page_size=100)
    world = World(Reconciler(), book, Faults(push_lost=1.0), latency=0.2)
    world.connect()
    for _ in range(500):
        book.add(random.choice(lines), random.choice([None, OrderStatus.FILLED]), -20.0)
    for number in range(1000):
        line = random.choice(lines)
        order = book.add(line, random.choice(ends), random.uniform(-1.0, 1.5))
        outcome = unresolved(CancelOrder("BTCUSDT", order.order_id, None, line))
        world.at(number / 1000, partial(world.track, order, outcome))
    world.at(1.0, world.disconnect)
    world.run(11.0)
    assert world.finals.keys() == world.tracked.keys()
    assert len(world.finals) == 1000
    assert not [final for final in world.finals.values() if isinstance(final, Unknown)]
    assert len(world.asked) < 200
    world.check_paces()


def test_its_memory_is_bounded() -> None:
    rec = Reconciler(ReconcilerConfig(client_oids_unique=True))
    now = 0.0
    for number in range(10_000):
        now += 0.01
        if number % 300 == 0:
            rec.down(now) if number % 600 else rec.up(now)
        mine = f"mine-{number}"
        named = (
            CancelOrder("BTCUSDT", str(number)) if number % 2 else CancelOrder("A", client_oid=mine)
        )
        rec.track(accepted(named), now)
        drain(rec, now)
        if number % 3:
            rec.pushed(update(str(number), OrderStatus.CANCELLED, client_oid=mine), now)
        rec.handle_timeout(now)
        drain(rec, now)
    rec.handle_timeout(now + 60.0)
    drain(rec, now + 60.0)
    assert rec.tracked == 0
    orders, look_ups = rec._orders, rec._look_ups
    assert not orders.all
    assert not orders._by_order_id
    assert not orders._by_client_oid
    assert len(orders._ends) == len(orders._end_ids) == 4096
    assert len(look_ups._late) <= 256
    [line] = look_ups._lines.values()
    for waiting in (line.ready, line.one_by_one, line.round, line.doubted):
        assert not waiting
    assert len(line.due) <= 64


def test_a_tracked_order_takes_at_most_a_kibibyte() -> None:
    count = 2000
    due = [accepted(CancelOrder("BTCUSDT", str(number))) for number in range(count)]
    rec = Reconciler()
    rec.up(0.0)
    gc.collect()
    tracemalloc.start()
    try:
        for outcome in due:
            rec.track(outcome, 0.0)
            drain(rec, 0.0)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert rec.tracked == count
    assert taken <= 1024 * count


@pytest.mark.slow
def test_the_same_in_many_runs() -> None:
    play(5000)
