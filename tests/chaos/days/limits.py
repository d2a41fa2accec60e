"""Scenarios with rate limits: a thousand cancels at once, jitter, a shared account."""

from __future__ import annotations

import random
from functools import partial

from tests.chaos.days import judges
from tests.chaos.days.day import LATENCY, Record, Scenario, connected, some_orders, started
from tests.chaos.judge import name_of

from bitget_proto import Budget, CancelOrder, WhyEnded
from bitget_proto.testing import Fault, Pair, ScriptedExchange, SessionPair

_THOUSAND = 1000
_FASTEST = 1.08
"""The time that a thousand cancels may take, as a multiple of the least possible time."""


def _run_thousand(record: Record, exchange: ScriptedExchange, pair: Pair | SessionPair) -> Record:
    *many, urgent = some_orders(_THOUSAND + 1)
    now = record.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(many), many, strict=True):
        record.take(id, order, now)
    pair.run(30.0)
    now = record.marks["urgent"] = pair.clock.now
    record.marks["latency"] = LATENCY
    record.take(pair.cancel(urgent, urgent=True), urgent, now)
    pair.run(120.0)
    return record.end(exchange, began=record.marks["all"])


def _thousand_connection(_: random.Random) -> Record:
    record = Record()
    exchange = record.exchange(some_orders(_THOUSAND + 1))
    return _run_thousand(record, exchange, connected(record, exchange))


def _thousand_session(chance: random.Random) -> Record:
    record = Record()
    exchange = record.exchange(some_orders(_THOUSAND + 1))
    return _run_thousand(record, exchange, started(record, exchange, chance))


def _jitter(chance: random.Random) -> Record:
    """Each frame has a latency of 20 to 70 ms, in either direction."""
    orders = some_orders(300)
    record = Record()
    exchange = record.exchange(orders)
    pair = connected(record, exchange, latency=lambda: 0.02 + 0.05 * chance.random())
    now = record.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    pair.run(60.0)
    return record.end(exchange, began=now)


def _jitter_moving(chance: random.Random) -> Record:
    """The exchange goes away three times during a burst; two links then share the allowance."""
    orders = some_orders(300)
    record = Record()
    exchange = record.exchange(orders)
    pair = started(record, exchange, chance, latency=lambda: 0.02 + 0.05 * chance.random())
    now = record.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    for _ in range(3):
        pair.run(6.0 + chance.random())
        exchange.maintenance(pair.clock.now, grace=3.0)
        exchange.end_maintenance()
    pair.run(60.0)
    return record.end(exchange, began=now)


def _cancel_with_rest(
    pair: SessionPair, exchange: ScriptedExchange, burst: int, first: int, budget: Budget
) -> None:
    """A REST client of the same account cancels `burst` orders at once and debits them."""
    budget.debit(burst, pair.clock.now)
    pair.run(LATENCY)
    for order in some_orders(burst, first):
        exchange._trading.act(f"rest-{name_of(order)}", order, pair.clock.now)


def _shared_budget(chance: random.Random) -> Record:
    orders = some_orders(200)
    record = Record()
    exchange = record.exchange([*orders, *some_orders(500, 10_000)])
    budget = Budget()
    pair = started(record, exchange, chance, budget=budget)
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    rest = 10_000
    for _ in range(20):
        pair.run(1.5 + 2 * chance.random())
        burst = chance.choice((3, 10, 30))
        _cancel_with_rest(pair, exchange, burst, rest, budget)
        rest += burst
    pair.run(60.0)
    return record.end(exchange, began=now)


def _unknown_rest(chance: random.Random) -> Record:
    """A REST client cancels in bursts of 0.4 s that the client does not know of.

    The exchange also answers four of the client's own messages with 30006.
    """
    orders = some_orders(200)
    record = Record()
    exchange = record.exchange([*orders, *some_orders(200, 10_000)])
    pair = started(record, exchange, chance)
    record.marks["latency"] = LATENCY
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    for turn in range(10):
        pair.run(1.0 + chance.random())
        for order in some_orders(20, 10_000 + 20 * turn):
            pair.run(0.02)
            exchange._trading.act(f"rest-{name_of(order)}", order, pair.clock.now)
        if turn % 3 == 0:
            exchange.inject(Fault.THROTTLE)
        elif turn % 3 == 1:
            # The order of the client's next cancel: 45129, the same order within a second.
            exchange._trading.act(f"rest-{turn}", _next_of(record), pair.clock.now)
    pair.run(60.0)
    return record.end(exchange, began=now)


def _next_of(record: Record) -> CancelOrder:
    """Return the order whose cancel arrives next."""
    arrived = {cancel.id for cancel in record.received()}
    return next(taken.order for id, taken in record.taken.items() if id not in arrived)


def _close_queued(chance: random.Random) -> Record:
    orders = some_orders(300)
    record = Record()
    exchange = record.exchange(orders)
    pair = started(record, exchange, chance)
    now = record.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    pair.close(queued="send")
    pair.run(60.0)
    record.dials = [at for at, _ in pair.dials]
    return record.end(exchange, began=now)


_AT_FULL_SPEED = partial(judges.at_full_speed, factor=_FASTEST)

SCENARIOS = (
    Scenario(
        "thousand-connection",
        "1,000 at once: all accepted in 1.08 of the minimum time; an urgent one is sent next",
        _thousand_connection,
        (
            judges.honest,
            judges.all_accepted,
            judges.within_limits,
            _AT_FULL_SPEED,
            judges.urgent_first,
        ),
    ),
    Scenario(
        "thousand-session",
        "1,000 at once: all accepted in 1.08 of the minimum time; an urgent one is sent next",
        _thousand_session,
        (
            judges.honest,
            judges.all_accepted,
            judges.within_limits,
            _AT_FULL_SPEED,
            judges.urgent_first,
        ),
    ),
    Scenario(
        "jitter",
        "300 at once, 50 ms of jitter each way, strict limits: all accepted, never disconnected",
        _jitter,
        (judges.honest, judges.all_accepted, judges.within_limits),
    ),
    Scenario(
        "jitter-moving",
        "the same, and the exchange goes away three times: two links share one allowance",
        _jitter_moving,
        (judges.honest, judges.all_accepted, judges.within_limits, judges.still_running),
    ),
    Scenario(
        "shared-budget",
        "a REST client with the same Budget overdraws: all accepted, none over the limit",
        _shared_budget,
        (judges.honest, judges.all_accepted, judges.within_limits),
    ),
    Scenario(
        "unknown-rest",
        "a REST client without the Budget: 429 and 45129 are reported, every cancel is sent",
        _unknown_rest,
        (
            judges.honest,
            judges.all_arrived,
            judges.pauses_after_30006,
            partial(judges.refused, code="429"),
            partial(judges.refused, code="45129"),
        ),
    ),
    Scenario(
        "close-queued",
        'close(queued="send") with 300 queued: all accepted, then the session ends',
        _close_queued,
        (
            judges.honest,
            judges.all_accepted,
            judges.within_limits,
            partial(judges.ended_with, why=WhyEnded.ASKED, mark="all", seconds=33.0),
        ),
    ),
)
