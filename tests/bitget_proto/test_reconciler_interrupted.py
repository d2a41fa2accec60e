"""An exception at any line of any call of a reconciler: each tracked order gets exactly one `Final`.

A call is repeated from the same situation, and interrupted at its first line, its second, and so on, in the reconciler
and in all its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from bitget_proto import (
    CancelOrder,
    Final,
    LocalProtocolError,
    NoAnswer,
    NoSuchOrder,
    NotFound,
    OrderPage,
    Reconciler,
    Unknown,
    Wait,
    WhyUnknown,
)
from bitget_proto._machine import (
    deadlines,
    look_up_line,
    look_ups,
    rate_limit,
    reconciler,
    tracked_orders,
)

from .interrupting import interrupted, uncollected
from .order_book import CANCELLED, accepted, drain, update

PARTS = (reconciler, look_up_line, look_ups, tracked_orders, deadlines, rate_limit)
END = OrderPage((update("1", CANCELLED), update("2", CANCELLED)))

Call = Callable[[Reconciler], object]


def situation() -> Reconciler:
    """Six orders: one's look-up is unanswered, the others are read by pages; one has a `Final` that waits."""
    rec = Reconciler()
    for number in range(6):
        rec.track(accepted(CancelOrder("BTCUSDT", str(number))), 0.0)
        if number < 2:
            drain(rec, 0.0)
    rec.looked_up(1, NoAnswer("500"), 0.1)
    drain(rec, 3.0)
    rec.pushed(update("5", CANCELLED), 3.0)
    return rec


def doubted() -> Reconciler:
    """Two orders that do not exist. What is left to prove it is the history, look-up 6."""
    rec = Reconciler()
    rec.up(0.0)
    for number in range(2):
        rec.track(accepted(CancelOrder("BTCUSDT", str(number))), 0.0)
    drain(rec, 2.0)
    for number in (1, 2):
        rec.looked_up(number, NoSuchOrder("1"), 2.0)
    drain(rec, 2.0)
    rec.looked_up(3, OrderPage(()), 2.0)
    for now in (3.0, 4.0):
        drain(rec, now)
    return rec


CALLS: dict[str, Call] = {
    "track": lambda rec: rec.track(accepted(CancelOrder("BTCUSDT", "9")), 3.0),
    "track what has ended": lambda rec: rec.track(accepted(CancelOrder("BTCUSDT", "5")), 3.0),
    "track what has no name": lambda rec: rec.track(
        accepted(CancelOrder("BTCUSDT", client_oid="x")), 3.0
    ),
    "pushed": lambda rec: rec.pushed(update("3", CANCELLED), 3.0),
    "pushed open": lambda rec: rec.pushed(update("3"), 3.0),
    "looked up alone": lambda rec: rec.looked_up(2, NoSuchOrder("1"), 3.0),
    "looked up by a page": lambda rec: rec.looked_up(3, END, 3.0),
    "looked up by the history": lambda rec: rec.looked_up(4, END, 3.0),
    "not found": lambda rec: rec.looked_up(6, OrderPage(()), 4.0),
    "throttled": lambda rec: rec.looked_up(3, NoAnswer("429", throttled=True), 3.0),
    "failed": lambda rec: rec.failed(2, "", 3.0),
    "up": lambda rec: rec.up(3.0),
    "down": lambda rec: rec.down(3.0),
    "an answer is late": lambda rec: rec.handle_timeout(13.0),
    "the deadline": lambda rec: rec.handle_timeout(60.0),
    "close": lambda rec: rec.close(3.0),
    "poll": lambda rec: drain(rec, 5.0),
}


def finals_of(rec: Reconciler, now: float) -> list[Final]:
    """The finals that are left, after which there is nothing more."""
    finals: list[Final] = []
    while not isinstance(output := rec.poll(now), Wait):
        if isinstance(output, Final):
            finals.append(output)
    return finals


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_interrupted_anywhere_ends_with_one_final_for_each(name: str) -> None:
    nth, ended = 0, 0
    with uncollected():
        while True:
            nth += 1
            rec = doubted() if name == "not found" else situation()
            tracked = range(1, rec.tracked + 1)
            taken: list[Final] = []

            def call(rec: Reconciler = rec, taken: list[Final] = taken) -> None:
                if name != "poll":
                    CALLS[name](rec)
                    return
                while not isinstance(output := rec.poll(5.0), Wait):
                    if isinstance(output, Final):
                        taken.append(output)

            hit = interrupted(call, nth, PARTS)
            if not hit:
                break
            torn = rec._in_call
            ended += torn
            taken += finals_of(rec, 60.0)
            if not torn:
                rec.close(60.0)
                taken += finals_of(rec, 60.0)
            numbers = [final.number for final in taken]
            assert len(numbers) == len(set(numbers)), f"{name}, line {nth}: twice"
            more = {len(tracked) + 1} if name.startswith("track") else set[int]()
            assert set(tracked) <= set(numbers) <= {*tracked, *more}, f"{name}, line {nth}"
            assert rec.tracked == 0
            if torn:
                with pytest.raises(LocalProtocolError, match="closed"):
                    rec.track(accepted(CancelOrder("BTCUSDT", "9")), 60.0)
    assert nth > 5
    assert ended > 0


def torn_reconciler() -> Reconciler:
    rec = situation()
    nth = 0
    while not rec._in_call:
        nth += 1
        assert interrupted(lambda: rec.up(3.0), nth, PARTS)
    return rec


def test_the_history_is_the_last_proof() -> None:
    rec = doubted()
    rec.looked_up(6, OrderPage(()), 4.0)
    assert [type(final) for final in finals_of(rec, 4.0)] == [NotFound, NotFound]


def test_the_finals_of_an_interrupted_reconciler_say_so() -> None:
    rec = torn_reconciler()
    pushed, *rest = finals_of(rec, 4.0)
    assert pushed.order_id == "5"
    assert [final.number for final in rest] == [1, 2, 3, 4, 5]
    for final in rest:
        assert isinstance(final, Unknown)
        assert final.why is WhyUnknown.INTERRUPTED
    assert rec.poll(100.0) == Wait(None, None)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_recovers_first(name: str) -> None:
    rec = torn_reconciler()
    if name.startswith("track"):
        with pytest.raises(LocalProtocolError, match="closed"):
            CALLS[name](rec)
    else:
        CALLS[name](rec)
    assert not rec._in_call
    assert repr(rec).endswith("closed>")


def test_a_recovery_that_is_interrupted_is_repeated() -> None:
    nth = 0
    with uncollected():
        while True:
            nth += 1
            rec = torn_reconciler()
            if not interrupted(partial(rec.up, 4.0), nth, PARTS, within="_recover"):
                break
            assert sorted(final.number for final in finals_of(rec, 4.0)) == [1, 2, 3, 4, 5, 6]
    assert nth > 5
