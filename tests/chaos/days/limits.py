"""Days on which the limits decide: a thousand cancels at once, jitter, an account that is shared."""

from __future__ import annotations

import random
from functools import partial

from tests.chaos.days import judges
from tests.chaos.days.day import LATENCY, Day, Row, connected, some_orders, started
from tests.chaos.judge import name_of

from bitget_proto import Budget, CancelOrder, WhyEnded
from bitget_proto.testing import Fault, Pair, ScriptedExchange, SessionPair

_THOUSAND = 1000
_FASTEST = 1.08
"""How much longer than the least possible time a thousand cancels may take."""


def _a_thousand(day: Day, exchange: ScriptedExchange, pair: Pair | SessionPair) -> Day:
    *many, urgent = some_orders(_THOUSAND + 1)
    now = day.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(many), many, strict=True):
        day.take(id, order, now)
    pair.run(30.0)
    now = day.marks["urgent"] = pair.clock.now
    day.marks["latency"] = LATENCY
    day.take(pair.cancel(urgent, urgent=True), urgent, now)
    pair.run(120.0)
    return day.end(exchange, began=day.marks["all"])


def _thousand_connection(_: random.Random) -> Day:
    day = Day()
    exchange = day.exchange(some_orders(_THOUSAND + 1))
    return _a_thousand(day, exchange, connected(day, exchange))


def _thousand_session(chance: random.Random) -> Day:
    day = Day()
    exchange = day.exchange(some_orders(_THOUSAND + 1))
    return _a_thousand(day, exchange, started(day, exchange, chance))


def _jitter(chance: random.Random) -> Day:
    """Each frame is 20 to 70 ms under way, in either direction."""
    orders = some_orders(300)
    day = Day()
    exchange = day.exchange(orders)
    pair = connected(day, exchange, latency=lambda: 0.02 + 0.05 * chance.random())
    now = day.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    pair.run(60.0)
    return day.end(exchange, began=now)


def _moving(chance: random.Random) -> Day:
    """The exchange goes away three times within a burst: each time two links share one allowance."""
    orders = some_orders(300)
    day = Day()
    exchange = day.exchange(orders)
    pair = started(day, exchange, chance, latency=lambda: 0.02 + 0.05 * chance.random())
    now = day.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    for _ in range(3):
        pair.run(6.0 + chance.random())
        exchange.maintenance(pair.clock.now, grace=3.0)
        exchange.end_maintenance()
    pair.run(60.0)
    return day.end(exchange, began=now)


def _elsewhere(
    pair: SessionPair, exchange: ScriptedExchange, burst: int, first: int, budget: Budget
) -> None:
    """A REST client of the same account cancels so many orders at once, and debits them."""
    budget.debit(burst, pair.clock.now)
    pair.run(LATENCY)
    for order in some_orders(burst, first):
        exchange._act(f"rest-{name_of(order)}", order, pair.clock.now, None)


def _shared_budget(chance: random.Random) -> Day:
    orders = some_orders(200)
    day = Day()
    exchange = day.exchange([*orders, *some_orders(500, 10_000)])
    budget = Budget()
    pair = started(day, exchange, chance, budget=budget)
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    rest = 10_000
    for _ in range(20):
        pair.run(1.5 + 2 * chance.random())
        burst = chance.choice((3, 10, 30))
        _elsewhere(pair, exchange, burst, rest, budget)
        rest += burst
    pair.run(60.0)
    return day.end(exchange, began=now)


def _unknown_rest(chance: random.Random) -> Day:
    """Half a second of cancels at a time that the client knows nothing of; and the exchange says 30006 to four of its own."""
    orders = some_orders(200)
    day = Day()
    exchange = day.exchange([*orders, *some_orders(200, 10_000)])
    pair = started(day, exchange, chance)
    day.marks["latency"] = LATENCY
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    for turn in range(10):
        pair.run(1.0 + chance.random())
        for order in some_orders(20, 10_000 + 20 * turn):
            pair.run(0.02)
            exchange._act(f"rest-{name_of(order)}", order, pair.clock.now, None)
        if turn % 3 == 0:
            exchange.inject(Fault.THROTTLE)
        elif turn % 3 == 1:
            # The very order that is the client's next: 45129, for the same order within a second.
            exchange._act(f"rest-{turn}", _next_of(day), pair.clock.now, None)
    pair.run(60.0)
    return day.end(exchange, began=now)


def _next_of(day: Day) -> CancelOrder:
    """The order whose cancel arrives next."""
    arrived = {cancel.id for cancel in day.received()}
    return next(taken.order for id, taken in day.taken.items() if id not in arrived)


def _closing(chance: random.Random) -> Day:
    orders = some_orders(300)
    day = Day()
    exchange = day.exchange(orders)
    pair = started(day, exchange, chance)
    now = day.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    pair.close(queued="send")
    pair.run(60.0)
    day.dials = [at for at, _ in pair.dials]
    return day.end(exchange, began=now)


_AT_FULL_SPEED = partial(judges.at_full_speed, factor=_FASTEST)

ROWS = (
    Row(
        "thousand-connection",
        "1,000 at once: all accepted, in 1.08 of the least time; an urgent one leaves next",
        _thousand_connection,
        (
            judges.honest,
            judges.all_accepted,
            judges.in_the_limits,
            _AT_FULL_SPEED,
            judges.urgent_next,
        ),
    ),
    Row(
        "thousand-session",
        "1,000 at once: all accepted, in 1.08 of the least time; an urgent one leaves next",
        _thousand_session,
        (
            judges.honest,
            judges.all_accepted,
            judges.in_the_limits,
            _AT_FULL_SPEED,
            judges.urgent_next,
        ),
    ),
    Row(
        "jitter",
        "300 at once, 50 ms of jitter each way, a strict second: all accepted, never thrown out",
        _jitter,
        (judges.honest, judges.all_accepted, judges.in_the_limits),
    ),
    Row(
        "jitter-moving",
        "the same, and the exchange goes away three times: two links keep one allowance",
        _moving,
        (judges.honest, judges.all_accepted, judges.in_the_limits, judges.not_over),
    ),
    Row(
        "shared-budget",
        "a REST client overdraws through the same Budget: all accepted, none over the limit",
        _shared_budget,
        (judges.honest, judges.all_accepted, judges.in_the_limits),
    ),
    Row(
        "unknown-rest",
        "a REST client that no Budget knows: 429 and 45129 are reported, none is left unsent",
        _unknown_rest,
        (
            judges.honest,
            judges.none_unsent,
            judges.pauses,
            partial(judges.refused, code="429"),
            partial(judges.refused, code="45129"),
        ),
    ),
    Row(
        "close-queued",
        'close(queued="send") with 300 queued: all accepted, then the end',
        _closing,
        (
            judges.honest,
            judges.all_accepted,
            judges.in_the_limits,
            partial(judges.over_because, why=WhyEnded.ASKED, mark="all", seconds=33.0),
        ),
    ),
)
