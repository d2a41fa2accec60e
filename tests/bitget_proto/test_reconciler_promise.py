"""Random runs of a reconciler with an unreliable exchange, in virtual time.

Every order that was tracked gets one `Final`, and the exchange's book does not contradict it. The run fails if a kind of
`Final`, a kind of evidence, a reason or a timer was never reached.
"""

from __future__ import annotations

from collections import Counter
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

from .order_book import Book, Faults, Order, World, accepted, rejected, unresolved

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
        world.at(random.uniform(0.0, 12.0), lambda _: close(world))
    world.run(80.0)
    return world


def add(world: World, random: Random) -> None:
    """An order, its pushes, and the outcome of its cancel."""
    line = random.choice([None, InstType.SPOT, InstType.USDT_FUTURES])
    ends = random.choice([None, OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.CANCELLED])
    at = random.choice([-20.0, random.uniform(0.0, 10.0)])
    order = world.book.add(line, ends, at, exists=random.random() < 0.85)
    world.push_changes(order)
    known_at = max(0.0, at + random.choice([-3.0, -0.5, -0.1, 0.0, 0.1, 3.0]))
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
        world.at(known_at, lambda _: track(world, order, outcome))


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
    "closed",
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


@pytest.mark.slow
def test_the_same_in_many_runs() -> None:
    play(5000)
