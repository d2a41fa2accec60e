"""Scenarios in which links fail.

Drops, maintenance, a dead route, a stuck or busy exchange, refused logins, sleep.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs
from tests.chaos.days import judges
from tests.chaos.days.day import LATENCY, Judge, Record, Scenario, in_session, some_orders, started
from tests.chaos.judge import name_of

from bitget_proto import (
    Credentials,
    LocalProtocolError,
    Policy,
    Session,
    SessionConfig,
    WhyEnded,
)
from bitget_proto.testing import ScriptedExchange, SessionPair

_DETECTION_TIME = 2.0 + 3.0 + 1.05
"""Seconds from a cancel on a dead link to its detection: `silence`, `silence_pong` and a pace."""

_NEXT_LINK = 0.5 + 2 * LATENCY + LATENCY
"""Seconds from there to the next link's first frame: the backoff, the dial and the latency."""

_AFTER_BACKOFF = 30.0 + 1.0
"""Seconds of the longest backoff and a login."""


def _cancel_each(
    record: Record,
    pair: SessionPair,
    first: int,
    count: int,
    every: float,
    policy: Policy = Policy.REPORT,
) -> None:
    """Cancel `count` orders, one after the other, while the session takes them."""
    for order in some_orders(count, first):
        with suppress(LocalProtocolError):
            record.take(pair.cancel(order, policy=policy), order, pair.clock.now, policy)
        pair.run(every)


def _end(record: Record, exchange: ScriptedExchange, pair: SessionPair) -> Record:
    record.dials = [at for at, _ in pair.dials]
    return record.end(
        exchange, began=min((taken.at for taken in record.taken.values()), default=0.0)
    )


# --- drops ---


def _drops(policy: Policy, chance: random.Random) -> Record:
    """A thousand cancels at once; the link is cut every 5 s."""
    orders = some_orders(1000)
    record = Record()
    exchange = record.exchange(orders)
    pair = started(record, exchange, chance)
    now = record.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders, policy=policy), orders, strict=True):
        record.take(id, order, now, policy)
    for _ in range(30):
        pair.run(5.0)
        if pair.links:
            pair.drop()
    pair.run(60.0)
    return _end(record, exchange, pair)


def _flapping(chance: random.Random) -> Record:
    """For ten minutes each link is dropped 0.2 s after its login was accepted.

    Then links are served normally.
    """
    record = Record()
    exchange = record.exchange(some_orders(200))
    pair = started(record, exchange, chance)
    end = pair.clock.now + 600.0
    first = 1
    while pair.clock.now < end:
        ups = sum(1 for _ in record.sent_frames('"event":"login"'))
        _cancel_each(record, pair, first, 1, 0.2)
        first += 1
        if pair.links:
            pair.drop()
        while sum(1 for _ in record.sent_frames('"event":"login"')) == ups and pair.clock.now < end:
            pair.run(0.2)
    record.marks["the flapping"] = pair.clock.now - 1.0
    pair.run(60.0)
    _cancel_each(record, pair, first, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


# --- maintenance ---


def _maintenance(chance: random.Random) -> Record:
    """A notice, the drop a minute later, and ten minutes of refused logins.

    There is a cancel every 7 s.
    """
    record = Record()
    exchange = record.exchange(some_orders(150))
    pair = started(record, exchange, chance)
    _cancel_each(record, pair, 1, 3, 7.0)
    exchange.maintenance(pair.clock.now, seconds=600.0)
    record.marks["the cut"] = pair.clock.now + exchange.grace
    record.marks["maintenance"] = pair.clock.now + 600.0
    _cancel_each(record, pair, 4, 100, 7.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


def _maintenance_with_rest(chance: random.Random) -> Record:
    """The same for five minutes, while REST works, with `rest_after`."""
    orders = some_orders(60)
    record = Record()
    exchange = record.exchange(orders)
    config = SessionConfig(rest_after=2.0)
    pair = in_session(record, exchange, Session(config, jitter=chance.random))
    pair.start()
    pair.run(2.0)
    _cancel_each(record, pair, 1, 3, 7.0)
    exchange.maintenance(pair.clock.now, seconds=300.0)
    record.marks["maintenance"] = pair.clock.now + 300.0
    _cancel_each(record, pair, 4, 50, 7.0)
    pair.run(20.0)
    record = _end(record, exchange, pair)
    # The exchange does not know the ids of cancels that come by REST.
    ids = {name_of(taken.order): id for id, taken in record.taken.items()}
    record.acts = [
        act if act.id else attrs.evolve(act, id=ids[name_of(act.order)]) for act in record.acts
    ]
    return record


# --- silent links ---


def _half_open(policy: Policy, chance: random.Random) -> Record:
    """The route dies silently, with a cancel every second; it is back half a minute later."""
    record = Record()
    exchange = record.exchange(some_orders(60))
    pair = started(record, exchange, chance)
    _cancel_each(record, pair, 1, 10, 1.0, policy)
    pair.run(0.3 * chance.random())
    record.marks["the route died"] = pair.clock.now
    dead = max(pair.links)
    pair.freeze(dead)
    _cancel_each(record, pair, 11, 30, 1.0, policy)
    if dead in pair.links:
        pair.thaw(dead)
    _cancel_each(record, pair, 41, 10, 1.0, policy)
    pair.run(30.0)
    return _end(record, exchange, pair)


def _stuck(policy: Policy, chance: random.Random) -> Record:
    """The server of the first link acts on what arrives but answers nothing.

    The next link is served normally.
    """
    record = Record()
    exchange = record.exchange(some_orders(60))
    pair = started(record, exchange, chance)
    _cancel_each(record, pair, 1, 5, 1.0, policy)
    record.marks["stuck"] = pair.clock.now
    exchange.links[0].go_silent(acts=True)
    _cancel_each(record, pair, 6, 20, 1.0, policy)
    pair.run(30.0)
    return _end(record, exchange, pair)


def _busy(chance: random.Random) -> Record:
    """Every answer is 4 s late, logins and pongs included; single cancels, then a burst."""
    orders = some_orders(100)
    record = Record()
    exchange = record.exchange([*orders, *some_orders(8, 1001)])
    exchange.slow_down(4.0)
    pair = started(record, exchange, chance)
    pair.run(10.0)
    _cancel_each(record, pair, 1001, 8, 7.0)
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    pair.run(120.0)
    return _end(record, exchange, pair)


def _bunches(chance: random.Random) -> Record:
    """The frames of the exchange come in bunches, one every 4 s."""
    orders = some_orders(100)
    record = Record()
    exchange = record.exchange(orders)
    pair = started(record, exchange, chance)
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        record.take(id, order, now)
    exchange.hold()
    for _ in range(10):
        pair.run(4.0)
        exchange.release()
        pair.settle()
        exchange.hold()
    exchange.release()
    pair.run(20.0)
    return _end(record, exchange, pair)


# --- rotation and refusals ---

_LIFETIME = 86400.0
_ROTATES = _LIFETIME - 600.0


def _rotation(code: str, chance: random.Random, *, lifts: bool) -> Record:
    """Every login after the first is refused, from the rotation on.

    The serving link is cut 24 h after it was opened.
    """
    record = Record()
    exchange = record.exchange(some_orders(60))
    pair = started(record, exchange, chance)
    pair.run(_ROTATES - pair.clock.now - 20.0)
    exchange.refuse_logins(1000, code)
    _cancel_each(record, pair, 1, 40, 15.0)
    # The first link was opened when its dial was answered, and is cut 24 h later.
    cut = record.marks["the cut"] = _LIFETIME + 2 * LATENCY
    pair.run(cut - 5.0 - pair.clock.now)
    if lifts:
        exchange._links.logins._coming.clear()
    pair.run(5.0)
    pair.run(40.0)
    if lifts:
        _cancel_each(record, pair, 41, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


def _second_login(chance: random.Random) -> Record:
    """The exchange allows one login per account: new links get 30005 until the first is cut."""
    record = Record()
    exchange = record.exchange(some_orders(60))
    exchange.refuse_second_logins("30005")
    pair = started(record, exchange, chance)
    pair.run(_ROTATES - pair.clock.now - 20.0)
    _cancel_each(record, pair, 1, 40, 15.0)
    cut = record.marks["the cut"] = _LIFETIME + 2 * LATENCY
    pair.run(cut + 40.0 - pair.clock.now)
    _cancel_each(record, pair, 41, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


_KEY = Credentials("key", "secret", "passphrase")


def _refused_key(chance: random.Random) -> Record:
    """The exchange does not know the key; five cancels wait for the first login."""
    record = Record()
    exchange = record.exchange(some_orders(5), credentials=_KEY)
    pair = in_session(
        record,
        exchange,
        Session(jitter=chance.random),
        credentials=Credentials("another", "secret", "passphrase"),
    )
    pair.start()
    record.marks["the first dial"] = pair.clock.now
    _cancel_each(record, pair, 1, 5, 0.01)
    pair.run(60.0)
    return _end(record, exchange, pair)


def _refused_30005(chance: random.Random) -> Record:
    """The first five logins are refused with 30005, which does not prove that the key is wrong."""
    record = Record()
    exchange = record.exchange(some_orders(10))
    exchange.refuse_logins(5, "30005")
    pair = in_session(record, exchange, Session(jitter=chance.random))
    pair.start()
    record.marks["the first dial"] = pair.clock.now
    pair.run(60.0)
    _cancel_each(record, pair, 1, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


def _wrong_clock(chance: random.Random) -> Record:
    """The machine's clock is two minutes wrong until the exchange's time is requested."""
    record = Record()
    exchange = record.exchange(some_orders(10), credentials=_KEY)
    pair = in_session(record, exchange, Session(jitter=chance.random), credentials=_KEY, skew=120.0)
    pair.start()
    record.marks["the first dial"] = pair.clock.now
    pair.run(10.0)
    _cancel_each(record, pair, 1, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


def _retry_after(chance: random.Random) -> Record:
    """The first three handshakes are answered with 429 and `Retry-After: 60`."""
    record = Record()
    exchange = record.exchange(some_orders(10))
    exchange.refuse_handshakes(3, retry_after=60)
    record.marks["refused"] = 3
    pair = in_session(record, exchange, Session(jitter=chance.random))
    pair.start()
    record.marks["the first dial"] = pair.clock.now
    pair.run(200.0)
    _cancel_each(record, pair, 1, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


# --- sleep ---


def _sleep(policy: Policy, chance: random.Random, *, answers: bool) -> Record:
    """The machine sleeps for two hours with five cancels sent and twenty queued.

    With `answers` the five answers arrive in the first minute; else the network is gone before.
    """
    orders = some_orders(25)
    record = Record()
    exchange = record.exchange([*orders, *some_orders(5, 101)])
    pair = started(record, exchange, chance)
    for _ in range(5):
        pair.send(
            '{"op":"subscribe","args":[{"instType":"SPOT","channel":"orders","instId":"default"}]}'
        )
    pair.settle()
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders, policy=policy), orders, strict=True):
        record.take(id, order, now, policy)
    if not answers:
        pair.run(LATENCY)
        pair.freeze()
    pair.sleep(7200.0)
    record.marks["waking"] = pair.clock.now
    pair.run(30.0)
    _cancel_each(record, pair, 101, 5, 1.0)
    pair.run(20.0)
    return _end(record, exchange, pair)


_HONEST = judges.honest


def _both(
    name: str,
    expected: tuple[str, str],
    script: Callable[[Policy, random.Random], Record],
    checks: tuple[Judge, ...],
) -> tuple[Scenario, Scenario]:
    """Return a scenario for each policy; with RESEND every order is cancelled in the end."""
    report = Scenario(f"{name}-report", expected[0], partial(script, Policy.REPORT), checks)
    return report, Scenario(
        f"{name}-resend",
        expected[1],
        partial(script, Policy.RESEND),
        (*checks, judges.all_cancelled),
    )


_DETECTED = partial(
    judges.dead_link_detected, mark="the route died", seconds=_DETECTION_TIME + _NEXT_LINK
)

SCENARIOS = (
    *_both(
        "drops",
        (
            "1,000 at once, the link drops every 5 s: all outcomes in 120 s, nothing sent twice",
            "1,000 at once, the link drops every 5 s: all outcomes in 120 s, every order cancelled",
        ),
        _drops,
        (
            _HONEST,
            partial(judges.outcomes_in_time, seconds=120.0),
            judges.within_limits,
            judges.one_second_between_cancels,
            judges.still_running,
        ),
    ),
    Scenario(
        "flapping",
        "each link drops 0.2 s after its login, for ten minutes: few dials, then up in 31 s",
        _flapping,
        (
            _HONEST,
            judges.within_limits,
            judges.still_running,
            partial(judges.outcomes_in_time, seconds=10.0),
            partial(judges.dials, most=60),
            partial(judges.back_within, mark="the flapping", seconds=1.0 + _AFTER_BACKOFF),
        ),
    ),
    Scenario(
        "maintenance",
        "ten minutes of refused logins: cancels end with NO_LINK in 10 s, up in a minute",
        _maintenance,
        (
            _HONEST,
            judges.still_running,
            judges.within_limits,
            partial(judges.served_until, mark="the cut"),
            partial(judges.no_link_outcomes, down="the cut", seconds=10.0),
            partial(judges.back_within, mark="maintenance", seconds=60.0),
            *(
                partial(judges.refusals_reported, code=code)
                for code in ("45001", "40010", "40725", "40015")
            ),
        ),
    ),
    Scenario(
        "maintenance-rest",
        "five minutes of refused logins while REST works, rest_after=2: all accepted in 3 s",
        _maintenance_with_rest,
        (
            _HONEST,
            judges.still_running,
            judges.all_accepted,
            judges.all_cancelled,
            judges.one_second_between_cancels,
            partial(judges.outcomes_in_time, seconds=3.0),
            partial(judges.went_by_rest, least=25),
            partial(judges.back_within, mark="maintenance", seconds=_AFTER_BACKOFF),
        ),
    ),
    *_both(
        "half-open",
        (
            "a dead route: detected in 2 + 3 s plus pacing, cancels reported, none arrives late",
            "a dead route: detected in 2 + 3 s plus pacing, all cancelled, none arrives late",
        ),
        _half_open,
        (
            _HONEST,
            _DETECTED,
            partial(judges.dead_link_delivers_nothing, mark="the route died"),
            judges.one_second_between_cancels,
            judges.still_running,
        ),
    ),
    *_both(
        "stuck",
        (
            "a server that acts but does not answer: detected as fast, its cancels are reported",
            "the same: detected as fast; a resend for an order already cancelled ends UNSURE",
        ),
        _stuck,
        (
            _HONEST,
            partial(judges.dead_link_detected, mark="stuck", seconds=_DETECTION_TIME + _NEXT_LINK),
            judges.one_second_between_cancels,
            judges.still_running,
        ),
    ),
    Scenario(
        "busy",
        "every answer is 4 s late: the link is kept, all accepted",
        _busy,
        (_HONEST, judges.all_accepted, judges.one_link, judges.within_limits),
    ),
    Scenario(
        "bunches",
        "answers come in bunches 4 s apart: the link is kept, all accepted",
        _bunches,
        (_HONEST, judges.all_accepted, judges.one_link, judges.within_limits),
    ),
    Scenario(
        "rotation-second",
        "new links get 30005 (one login per account): serves until the cut, up in 31 s",
        _second_login,
        (
            _HONEST,
            judges.all_accepted,
            judges.still_running,
            partial(judges.served_until, mark="the cut"),
            partial(judges.refusals_reported, code="30005"),
            partial(judges.back_within, mark="the cut", seconds=_AFTER_BACKOFF),
        ),
    ),
    Scenario(
        "rotation-40018",
        "new links get 40018 for a while: serves until the cut, up in 31 s",
        partial(_rotation, "40018", lifts=True),
        (
            _HONEST,
            judges.all_accepted,
            judges.still_running,
            partial(judges.served_until, mark="the cut"),
            partial(judges.refusals_reported, code="40018"),
            partial(judges.back_within, mark="the cut", seconds=_AFTER_BACKOFF),
        ),
    ),
    Scenario(
        "rotation-refused",
        "new links get 40018 for good: serves until the cut, ends with the next refusal",
        partial(_rotation, "40018", lifts=False),
        (
            _HONEST,
            judges.all_accepted,
            partial(judges.served_until, mark="the cut"),
            partial(judges.refusals_reported, code="40018"),
            partial(
                judges.ended_with, why=WhyEnded.REFUSED, mark="the cut", seconds=_AFTER_BACKOFF
            ),
        ),
    ),
    Scenario(
        "refused-key",
        "a refused key: one dial, the session ends at once, queued cancels end unsent",
        _refused_key,
        (
            _HONEST,
            partial(judges.refusals_reported, code="30011"),
            partial(judges.dials, most=1),
            partial(judges.ended_with, why=WhyEnded.REFUSED, mark="the first dial", seconds=1.0),
        ),
    ),
    Scenario(
        "refused-30005",
        "30005 to five logins is not final: the session goes on and is up within a minute",
        _refused_30005,
        (
            _HONEST,
            judges.still_running,
            judges.all_accepted,
            partial(judges.refusals_reported, code="30005"),
            partial(judges.back_within, mark="the first dial", seconds=60.0),
        ),
    ),
    Scenario(
        "wrong-clock",
        "a clock two minutes wrong: one refused login, then up with the exchange's time",
        _wrong_clock,
        (
            _HONEST,
            judges.still_running,
            judges.all_accepted,
            partial(judges.refusals_reported, code="30014"),
            partial(judges.dials, most=2),
            partial(judges.back_within, mark="the first dial", seconds=2.0),
        ),
    ),
    Scenario(
        "retry-after",
        "three handshakes get 429 with Retry-After: 60: no earlier dial, then up",
        _retry_after,
        (
            _HONEST,
            judges.still_running,
            judges.all_accepted,
            partial(judges.retry_after_respected, seconds=60.0),
            partial(judges.back_within, mark="the first dial", seconds=200.0),
        ),
    ),
    Scenario(
        "sleep-answered",
        "sleep of 2 h, 5 sent and answered, 20 queued: outcomes on waking, nothing old sent",
        partial(_sleep, Policy.RESEND, answers=True),
        (
            _HONEST,
            judges.still_running,
            partial(judges.arrived_before, mark="waking", count=5),
            partial(judges.reported_unsent, least=20),
            partial(judges.resolved_by, mark="waking", within=0.0),
            partial(judges.no_old_cancels, mark="waking"),
            partial(judges.back_within, mark="waking", seconds=2.0),
        ),
    ),
    Scenario(
        "sleep-cut-off",
        "the same with the network gone: 5 reported as sent, 20 as unsent, nothing old sent",
        partial(_sleep, Policy.REPORT, answers=False),
        (
            _HONEST,
            judges.still_running,
            partial(judges.arrived_before, mark="waking", count=5),
            partial(judges.reported_unsent, least=20),
            partial(judges.resolved_by, mark="waking", within=0.0),
            partial(judges.no_old_cancels, mark="waking"),
            partial(judges.back_within, mark="waking", seconds=20.0),
        ),
    ),
)
