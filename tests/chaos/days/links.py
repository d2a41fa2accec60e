"""Days on which links fail: drops, maintenance, a dead route, a stuck or busy exchange, refused logins, sleep."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.chaos.days import judges
from tests.chaos.days.day import LATENCY, Day, Judge, Row, in_session, some_orders, started

from bitget_proto import Credentials, LocalProtocolError, Policy, Session, WhyEnded
from bitget_proto.testing import ScriptedExchange, SessionPair

_DETECTED = 2.0 + 3.0 + 1.05
"""Seconds from the sending of a cancel on a dead link until it is found out: `silence`, `silence_pong` and a pace."""

_NEXT_LINK = 0.5 + 2 * LATENCY + LATENCY
"""Seconds from there until the next link's first frame arrives: the backoff, the dial and the way."""

_AFTER_BACKOFF = 30.0 + 1.0
"""Seconds by which the longest backoff and a login are over."""


def _one_each(
    day: Day,
    pair: SessionPair,
    first: int,
    count: int,
    every: float,
    policy: Policy = Policy.REPORT,
) -> None:
    """Cancel so many orders, one after the other, for as long as the session takes them."""
    for order in some_orders(count, first):
        with suppress(LocalProtocolError):
            day.take(pair.cancel(order, policy=policy), order, pair.clock.now, policy)
        pair.run(every)


def _ended(day: Day, exchange: ScriptedExchange, pair: SessionPair) -> Day:
    day.dials = [at for at, _ in pair.dials]
    return day.end(exchange, began=min((taken.at for taken in day.taken.values()), default=0.0))


# --- drops ---


def _drops(policy: Policy, chance: random.Random) -> Day:
    """A thousand cancels at once; every 5 s the link is cut."""
    orders = some_orders(1000)
    day = Day()
    exchange = day.exchange(orders)
    pair = started(day, exchange, chance)
    now = day.marks["all"] = pair.clock.now
    for id, order in zip(pair.cancel_many(orders, policy=policy), orders, strict=True):
        day.take(id, order, now, policy)
    for _ in range(30):
        pair.run(5.0)
        if pair.links:
            pair.drop()
    pair.run(60.0)
    return _ended(day, exchange, pair)


def _flapping(chance: random.Random) -> Day:
    """For ten minutes the exchange accepts each login and drops each link 0.2 s later; then all is well."""
    day = Day()
    exchange = day.exchange(some_orders(200))
    pair = started(day, exchange, chance)
    end = pair.clock.now + 600.0
    first = 1
    while pair.clock.now < end:
        ups = sum(1 for _ in day.said('"event":"login"'))
        _one_each(day, pair, first, 1, 0.2)
        first += 1
        if pair.links:
            pair.drop()
        while sum(1 for _ in day.said('"event":"login"')) == ups and pair.clock.now < end:
            pair.run(0.2)
    day.marks["the flapping"] = pair.clock.now - 1.0
    pair.run(60.0)
    _one_each(day, pair, first, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


# --- maintenance ---


def _maintenance(chance: random.Random) -> Day:
    """The notice, the drop a minute later, and ten minutes of refused logins; a cancel every 7 s all the time."""
    day = Day()
    exchange = day.exchange(some_orders(150))
    pair = started(day, exchange, chance)
    _one_each(day, pair, 1, 3, 7.0)
    exchange.maintenance(pair.clock.now, seconds=600.0)
    day.marks["the cut"] = pair.clock.now + exchange.grace
    day.marks["maintenance"] = pair.clock.now + 600.0
    _one_each(day, pair, 4, 100, 7.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


# --- links that say nothing ---


def _half_open(policy: Policy, chance: random.Random) -> Day:
    """The route dies without a word; a cancel every second. Half a minute later the route is back."""
    day = Day()
    exchange = day.exchange(some_orders(60))
    pair = started(day, exchange, chance)
    _one_each(day, pair, 1, 10, 1.0, policy)
    pair.run(0.3 * chance.random())
    day.marks["the route died"] = pair.clock.now
    dead = max(pair.links)
    pair.freeze(dead)
    _one_each(day, pair, 11, 30, 1.0, policy)
    if dead in pair.links:
        pair.thaw(dead)
    _one_each(day, pair, 41, 10, 1.0, policy)
    pair.run(30.0)
    return _ended(day, exchange, pair)


def _stuck(policy: Policy, chance: random.Random) -> Day:
    """The server of the first link acts on what arrives and answers nothing; the next link is served as ever."""
    day = Day()
    exchange = day.exchange(some_orders(60))
    pair = started(day, exchange, chance)
    _one_each(day, pair, 1, 5, 1.0, policy)
    day.marks["stuck"] = pair.clock.now
    exchange.links[0].go_silent(acts=True)
    _one_each(day, pair, 6, 20, 1.0, policy)
    pair.run(30.0)
    return _ended(day, exchange, pair)


def _busy(chance: random.Random) -> Day:
    """Everything is answered 4 s late, logins and pongs included; single cancels, then a burst."""
    orders = some_orders(100)
    day = Day()
    exchange = day.exchange([*orders, *some_orders(8, 1001)])
    exchange.slow_down(4.0)
    pair = started(day, exchange, chance)
    pair.run(10.0)
    _one_each(day, pair, 1001, 8, 7.0)
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    pair.run(120.0)
    return _ended(day, exchange, pair)


def _bunches(chance: random.Random) -> Day:
    """What the exchange says comes in bunches, one every 4 s."""
    orders = some_orders(100)
    day = Day()
    exchange = day.exchange(orders)
    pair = started(day, exchange, chance)
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders), orders, strict=True):
        day.take(id, order, now)
    exchange.hold()
    for _ in range(10):
        pair.run(4.0)
        exchange.release()
        pair.settle()
        exchange.hold()
    exchange.release()
    pair.run(20.0)
    return _ended(day, exchange, pair)


# --- rotation and refusals ---

_LIFETIME = 86400.0
_ROTATES = _LIFETIME - 600.0


def _rotation(code: str, chance: random.Random, *, lifts: bool) -> Day:
    """From the rotation on every other login is refused; the link that serves is cut a day after it was opened."""
    day = Day()
    exchange = day.exchange(some_orders(60))
    pair = started(day, exchange, chance)
    pair.run(_ROTATES - pair.clock.now - 20.0)
    exchange.refuse_logins(1000, code)
    _one_each(day, pair, 1, 40, 15.0)
    # The first link was opened when its dial was answered, and is cut a day after that.
    cut = day.marks["the cut"] = _LIFETIME + 2 * LATENCY
    pair.run(cut - 5.0 - pair.clock.now)
    if lifts:
        exchange._logins._coming.clear()
    pair.run(5.0)
    pair.run(40.0)
    if lifts:
        _one_each(day, pair, 41, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


def _second_login(chance: random.Random) -> Day:
    """The exchange takes one login of an account at a time: the successor gets 30005 until the link is cut."""
    day = Day()
    exchange = day.exchange(some_orders(60))
    exchange.refuse_second_logins("30005")
    pair = started(day, exchange, chance)
    pair.run(_ROTATES - pair.clock.now - 20.0)
    _one_each(day, pair, 1, 40, 15.0)
    cut = day.marks["the cut"] = _LIFETIME + 2 * LATENCY
    pair.run(cut + 40.0 - pair.clock.now)
    _one_each(day, pair, 41, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


_KEY = Credentials("key", "secret", "passphrase")


def _refused_key(chance: random.Random) -> Day:
    """A key that the exchange does not know; five cancels wait for the first login."""
    day = Day()
    exchange = day.exchange(some_orders(5), credentials=_KEY)
    pair = in_session(
        day,
        exchange,
        Session(jitter=chance.random),
        credentials=Credentials("another", "secret", "passphrase"),
    )
    pair.start()
    day.marks["the first dial"] = pair.clock.now
    _one_each(day, pair, 1, 5, 0.01)
    pair.run(60.0)
    return _ended(day, exchange, pair)


def _refused_30005(chance: random.Random) -> Day:
    """The first five logins are refused with 30005, which is no proof that the key is wrong."""
    day = Day()
    exchange = day.exchange(some_orders(10))
    exchange.refuse_logins(5, "30005")
    pair = in_session(day, exchange, Session(jitter=chance.random))
    pair.start()
    day.marks["the first dial"] = pair.clock.now
    pair.run(60.0)
    _one_each(day, pair, 1, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


def _wrong_clock(chance: random.Random) -> Day:
    """The machine's clock is two minutes wrong until the exchange's time is asked for."""
    day = Day()
    exchange = day.exchange(some_orders(10), credentials=_KEY)
    pair = in_session(day, exchange, Session(jitter=chance.random), credentials=_KEY, skew=120.0)
    pair.start()
    day.marks["the first dial"] = pair.clock.now
    pair.run(10.0)
    _one_each(day, pair, 1, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


def _retry_after(chance: random.Random) -> Day:
    """The first three handshakes are answered 429 with `Retry-After: 60`."""
    day = Day()
    exchange = day.exchange(some_orders(10))
    exchange.refuse_handshakes(3, retry_after=60)
    day.marks["refused"] = 3
    pair = in_session(day, exchange, Session(jitter=chance.random))
    pair.start()
    day.marks["the first dial"] = pair.clock.now
    pair.run(200.0)
    _one_each(day, pair, 1, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


# --- sleep ---


def _sleep(policy: Policy, chance: random.Random, *, answers: bool) -> Day:
    """Five cancels are sent and twenty wait when the machine falls asleep for two hours. The five answers arrive in the first
    minute, or the network is gone before.
    """
    orders = some_orders(25)
    day = Day()
    exchange = day.exchange([*orders, *some_orders(5, 101)])
    pair = started(day, exchange, chance)
    for _ in range(5):
        pair.send(
            '{"op":"subscribe","args":[{"instType":"SPOT","channel":"orders","instId":"default"}]}'
        )
    pair.settle()
    now = pair.clock.now
    for id, order in zip(pair.cancel_many(orders, policy=policy), orders, strict=True):
        day.take(id, order, now, policy)
    if not answers:
        pair.run(LATENCY)
        pair.freeze()
    pair.sleep(7200.0)
    day.marks["waking"] = pair.clock.now
    pair.run(30.0)
    _one_each(day, pair, 101, 5, 1.0)
    pair.run(20.0)
    return _ended(day, exchange, pair)


_HONEST = judges.honest


def _both(
    name: str,
    right: tuple[str, str],
    live: Callable[[Policy, random.Random], Day],
    each: tuple[Judge, ...],
) -> tuple[Row, Row]:
    """A row for each policy: under RESEND every order ends cancelled."""
    report = Row(f"{name}-report", right[0], partial(live, Policy.REPORT), each)
    return report, Row(
        f"{name}-resend", right[1], partial(live, Policy.RESEND), (*each, judges.all_cancelled)
    )


_FOUND_OUT = partial(judges.found_out, mark="the route died", seconds=_DETECTED + _NEXT_LINK)

ROWS = (
    *_both(
        "drops",
        (
            "1,000 at once, the link drops every 5 s: all outcomes in 120 s, nothing sent twice",
            "1,000 at once, the link drops every 5 s: all outcomes in 120 s, every order cancelled",
        ),
        _drops,
        (
            _HONEST,
            partial(judges.none_too_late, seconds=120.0),
            judges.in_the_limits,
            judges.spaced,
            judges.not_over,
        ),
    ),
    Row(
        "flapping",
        "each link drops 0.2 s after its login, for ten minutes: few dials, then back in 31 s",
        _flapping,
        (
            _HONEST,
            judges.in_the_limits,
            judges.not_over,
            partial(judges.none_too_late, seconds=10.0),
            partial(judges.dials, most=60),
            partial(judges.back_within, mark="the flapping", seconds=1.0 + _AFTER_BACKOFF),
        ),
    ),
    Row(
        "maintenance",
        "ten minutes of refused logins: cancels end NO_LINK after 10 s, back within a minute",
        _maintenance,
        (
            _HONEST,
            judges.not_over,
            judges.in_the_limits,
            partial(judges.served_until, mark="the cut"),
            partial(judges.unsent_for_want_of_a_link, down="the cut", seconds=10.0),
            partial(judges.back_within, mark="maintenance", seconds=60.0),
            *(partial(judges.informed, code=code) for code in ("45001", "40010", "40725", "40015")),
        ),
    ),
    *_both(
        "half-open",
        (
            "a dead route: found out in 2 + 3 s and a pace, cancels reported, none arrives late",
            "a dead route: found out in 2 + 3 s and a pace, all cancelled, none arrives late",
        ),
        _half_open,
        (
            _HONEST,
            _FOUND_OUT,
            partial(judges.nothing_from_the_dead, mark="the route died"),
            judges.spaced,
            judges.not_over,
        ),
    ),
    *_both(
        "stuck",
        (
            "a server that acts and does not answer: found out as soon, its cancels are reported",
            "the same: found out as soon; a resend that finds no order any more is unsure",
        ),
        _stuck,
        (
            _HONEST,
            partial(judges.found_out, mark="stuck", seconds=_DETECTED + _NEXT_LINK),
            judges.spaced,
            judges.not_over,
        ),
    ),
    Row(
        "busy",
        "everything is answered 4 s late: nothing is taken for dead, all accepted",
        _busy,
        (_HONEST, judges.all_accepted, judges.one_link, judges.in_the_limits),
    ),
    Row(
        "bunches",
        "answers come in bunches 4 s apart: nothing is taken for dead, all accepted",
        _bunches,
        (_HONEST, judges.all_accepted, judges.one_link, judges.in_the_limits),
    ),
    Row(
        "rotation-second",
        "successors get 30005 (one login an account): serves until the cut, back in 31 s",
        _second_login,
        (
            _HONEST,
            judges.all_accepted,
            judges.not_over,
            partial(judges.served_until, mark="the cut"),
            partial(judges.informed, code="30005"),
            partial(judges.back_within, mark="the cut", seconds=_AFTER_BACKOFF),
        ),
    ),
    Row(
        "rotation-40018",
        "successors get 40018 for a while: serves until the cut, back in 31 s",
        partial(_rotation, "40018", lifts=True),
        (
            _HONEST,
            judges.all_accepted,
            judges.not_over,
            partial(judges.served_until, mark="the cut"),
            partial(judges.informed, code="40018"),
            partial(judges.back_within, mark="the cut", seconds=_AFTER_BACKOFF),
        ),
    ),
    Row(
        "rotation-refused",
        "successors get 40018 for good: serves until the cut, and ends after the next refusal",
        partial(_rotation, "40018", lifts=False),
        (
            _HONEST,
            judges.all_accepted,
            partial(judges.served_until, mark="the cut"),
            partial(judges.informed, code="40018"),
            partial(
                judges.over_because, why=WhyEnded.REFUSED, mark="the cut", seconds=_AFTER_BACKOFF
            ),
        ),
    ),
    Row(
        "refused-key",
        "a key that is refused: one dial, the end at once, what waited is unsent",
        _refused_key,
        (
            _HONEST,
            partial(judges.informed, code="30011"),
            partial(judges.dials, most=1),
            partial(judges.over_because, why=WhyEnded.REFUSED, mark="the first dial", seconds=1.0),
        ),
    ),
    Row(
        "refused-30005",
        "30005 to five logins is no proof: the session goes on, and is up within a minute",
        _refused_30005,
        (
            _HONEST,
            judges.not_over,
            judges.all_accepted,
            partial(judges.informed, code="30005"),
            partial(judges.back_within, mark="the first dial", seconds=60.0),
        ),
    ),
    Row(
        "wrong-clock",
        "a clock that is two minutes wrong: one refused login, then up with the exchange's time",
        _wrong_clock,
        (
            _HONEST,
            judges.not_over,
            judges.all_accepted,
            partial(judges.informed, code="30014"),
            partial(judges.dials, most=2),
            partial(judges.back_within, mark="the first dial", seconds=2.0),
        ),
    ),
    Row(
        "retry-after",
        "three handshakes get 429 with Retry-After: 60: no dial before, then up",
        _retry_after,
        (
            _HONEST,
            judges.not_over,
            judges.all_accepted,
            partial(judges.waits_as_asked, seconds=60.0),
            partial(judges.back_within, mark="the first dial", seconds=200.0),
        ),
    ),
    Row(
        "sleep-answered",
        "asleep for 2 h, 5 sent and answered, 20 queued: outcomes on waking, nothing old sent",
        partial(_sleep, Policy.RESEND, answers=True),
        (
            _HONEST,
            judges.not_over,
            partial(judges.arrived_before, mark="waking", count=5),
            partial(judges.known_unsent, least=20),
            partial(judges.settled_by, mark="waking", within=0.0),
            partial(judges.nothing_old, mark="waking"),
            partial(judges.back_within, mark="waking", seconds=2.0),
        ),
    ),
    Row(
        "sleep-cut-off",
        "the same with the network gone: 5 reported as sent, 20 as unsent, nothing old sent",
        partial(_sleep, Policy.REPORT, answers=False),
        (
            _HONEST,
            judges.not_over,
            partial(judges.arrived_before, mark="waking", count=5),
            partial(judges.known_unsent, least=20),
            partial(judges.settled_by, mark="waking", within=0.0),
            partial(judges.nothing_old, mark="waking"),
            partial(judges.back_within, mark="waking", seconds=20.0),
        ),
    ),
)
