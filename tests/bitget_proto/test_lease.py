"""Tests of `Lease`: what it asks, when its leases can be used, and what a bad store does to it."""

from __future__ import annotations

from math import inf, nan

import pytest

from bitget_proto import (
    Ask,
    Budget,
    Granted,
    Lease,
    LeaseOutput,
    LocalProtocolError,
    StoreDown,
    StoreUp,
    Timer,
    ValidationError,
    Wait,
)


def drain(lease: Lease, now: float) -> list[LeaseOutput]:
    """Return everything up to the `Wait`, and the `Wait`."""
    given = [lease.poll(now)]
    while not isinstance(given[-1], Wait):
        given.append(lease.poll(now))
        assert len(given) < 10, "poll never returns a Wait"
    return given


def asked(n: int = 1, now: float = 10.0, per_second: int = 80) -> tuple[Lease, Budget]:
    """Return a lease that has asked for `n`, and its budget."""
    budget = Budget(0)
    lease = Lease(budget, per_second)
    lease.wanted(n, now)
    assert drain(lease, now) == [Ask(n=n, place=""), Wait(None, None)]
    return lease, budget


def test_nothing_is_asked_while_nothing_waits() -> None:
    lease = Lease(Budget(0))
    assert drain(lease, 0.0) == [Wait(None, None)]


def test_a_lease_that_is_granted_at_once_feeds_the_budget_until_it_ends() -> None:
    lease, budget = asked(3, 10.0)
    assert budget.allowed_at(10.0) == inf
    lease.granted(0.0, "a place", 10.005)
    assert drain(lease, 10.005) == [Granted(n=3, until=10.0 + 0.02), Wait(None, None)]
    assert budget.room(10.0199) == 3
    assert budget.room(10.02) == 0


def test_a_lease_with_a_delay_begins_after_the_answer_and_ends_after_the_question() -> None:
    lease, budget = asked(1, 10.0)
    lease.granted(0.015, "a place", 10.0075)
    assert lease.poll(10.0075) == Wait(10.0225, Timer.LEASE)
    assert budget.room(10.0224) == 0
    assert lease.poll(10.0225) == Granted(n=1, until=10.0 + 0.015 + 0.02)
    assert budget.room(10.0349) == 1
    assert budget.room(10.035) == 0


def test_a_moment_far_ahead_is_a_place_for_which_the_process_comes_back() -> None:
    lease, budget = asked(2, 10.0)
    lease.granted(0.5, "a place", 10.004)
    assert drain(lease, 10.004) == [Wait(10.485, Timer.LEASE)]
    assert drain(lease, 10.485) == [Ask(n=2, place="a place"), Wait(None, None)]
    assert budget.room(10.5) == 0
    assert lease.poll(10.485) == Wait(None, None)
    lease.granted(0.015, "a place", 10.489)
    assert lease.poll(10.489) == Wait(10.489 + 0.015, Timer.LEASE)
    assert lease.poll(10.489 + 0.015) == Granted(n=2, until=10.485 + 0.015 + 0.02)
    assert budget.room(10.51) == 2


def test_a_process_that_comes_late_for_its_place_has_less_of_the_lease() -> None:
    lease, budget = asked(1, 10.0)
    lease.granted(0.5, "a place", 10.004)
    assert lease.poll(10.508) == Ask(n=1, place="a place")
    lease.granted(-0.01, "a place", 10.512)
    assert lease.poll(10.512) == Granted(n=1, until=10.508 - 0.01 + 0.02)
    assert budget.room(10.518) == 0


def test_a_place_that_nothing_needs_any_more_is_left() -> None:
    lease, _ = asked(1, 10.0)
    lease.granted(0.5, "a place", 10.004)
    lease.wanted(0, 10.1)
    assert drain(lease, 10.5) == [Wait(None, None)]
    lease.wanted(1, 10.6)
    assert lease.poll(10.6) == Ask(n=1, place="")


def test_one_question_at_a_time_asks_for_an_eighth_of_the_limit_at_most() -> None:
    lease = Lease(Budget(0), 60)
    lease.wanted(100, 0.0)
    assert drain(lease, 0.0) == [Ask(n=7, place=""), Wait(None, None)]
    small = Lease(Budget(0), 4)
    small.wanted(100, 0.0)
    assert small.poll(0.0) == Ask(n=1, place="")


def test_what_is_granted_is_no_longer_wanted() -> None:
    lease, _ = asked(2)
    lease.granted(0.0, "a place", 10.001)
    assert drain(lease, 10.001)[1:] == [Wait(None, None)]


def test_debits_beyond_the_grants_are_leased_too() -> None:
    budget = Budget(0)
    lease = Lease(budget, 80)
    budget.debit(2, 0.0)
    assert lease.poll(0.0) == Ask(n=2, place="")
    lease.granted(0.0, "a place", 0.001)
    assert drain(lease, 0.001) == [Granted(n=2, until=0.02), Wait(None, None)]
    assert budget.room(0.001) == 0


def test_an_answer_that_takes_as_long_as_a_lease_grants_nothing() -> None:
    lease, budget = asked(3, 10.0)
    lease.granted(0.0, "a place", 10.02)
    assert lease.poll(10.02) == Ask(n=1, place=""), "a store that is slow is asked for one"
    assert budget.room(10.02) == 0
    lease.granted(0.0, "a place", 10.04)
    assert drain(lease, 10.04) == [Wait(10.04 + 0.2, Timer.LEASE)]


def test_a_process_that_sleeps_through_its_lease_asks_again_at_once() -> None:
    lease, budget = asked(2, 10.0)
    lease.granted(0.01, "a place", 10.001)
    assert lease.poll(10.5) == Ask(n=2, place="")
    assert budget.room(10.5) == 0


def test_the_third_late_answer_in_a_row_says_that_the_store_is_down() -> None:
    lease, _ = asked(1, 0.0)
    lease.granted(0.0, "a place", 0.03)
    assert drain(lease, 0.03) == [Ask(n=1, place=""), Wait(None, None)]
    lease.granted(0.0, "a place", 0.06)
    assert drain(lease, 0.06) == [Wait(0.26, Timer.LEASE)]
    assert isinstance(lease.poll(0.26), Ask)
    lease.granted(0.0, "a place", 0.29)
    assert drain(lease, 0.29)[0] == StoreDown(
        reason="its answer took 0.030 s, and the lease had ended"
    )


def test_a_late_place_does_not_say_that_the_store_is_up() -> None:
    lease, _ = asked(1, 0.0)
    lease.failed("refused", 0.0)
    assert drain(lease, 0.0) == [StoreDown(reason="refused"), Wait(0.1, Timer.LEASE)]
    assert isinstance(lease.poll(0.1), Ask)
    lease.granted(0.5, "a place", 0.15)
    assert drain(lease, 0.15) == [Wait(0.585, Timer.LEASE)]


def test_a_store_that_fails_is_asked_again_ever_later_and_reported_once() -> None:
    lease, budget = asked(5, 0.0)
    now, steps = 0.0, list[float]()
    for attempt in range(6):
        lease.failed("connection refused", now)
        given = drain(lease, now)
        assert given[:-1] == ([StoreDown(reason="connection refused")] if attempt == 0 else [])
        assert isinstance(given[-1], Wait)
        assert given[-1].until is not None
        steps.append(given[-1].until - now)
        now = given[-1].until
        assert lease.poll(now) == Ask(n=1, place="")
    assert steps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    lease.granted(0.0, "a place", now)
    assert [*drain(lease, now)[:2]] == [StoreUp(), Granted(n=1, until=now + 0.02)]
    assert budget.room(now) == 1


def test_a_store_that_fails_is_left_alone_once_nothing_waits() -> None:
    lease, _ = asked(1, 0.0)
    lease.failed("connection refused", 0.0)
    lease.wanted(0, 0.0)
    assert drain(lease, 0.0)[1:] == [Wait(None, None)]


def test_while_the_store_is_down_the_own_slice_of_the_budget_is_all_that_may_be_spent() -> None:
    stops, slice_ = Budget(0), Budget(2)
    for budget in (stops, slice_):
        lease = Lease(budget)
        lease.wanted(5, 0.0)
        lease.poll(0.0)
        lease.failed("connection refused", 0.0)
        drain(lease, 0.0)
    assert (stops.room(0.0), slice_.room(0.0)) == (0, 2)


def test_a_clock_that_stands_still_or_runs_backwards_ends_every_drain() -> None:
    lease, _ = asked(1, 10.0)
    lease.granted(0.0, "a place", 9.0)
    assert drain(lease, 10.0) == [Granted(n=1, until=10.02), Wait(None, None)]
    lease.wanted(1, 3.0)
    assert lease.poll(3.0) == Ask(n=1, place="")
    lease.granted(0.01, "a place", 3.0)
    wait = lease.poll(3.0)
    assert wait == Wait(10.01, Timer.LEASE)
    assert lease.poll(10.01) == Granted(n=1, until=10.0 + 0.01 + 0.02)


def test_an_answer_to_no_question_is_refused() -> None:
    lease = Lease(Budget(0))
    with pytest.raises(LocalProtocolError, match="failed was called and nothing was asked"):
        lease.failed("lost", 0.0)
    lease, _ = asked()
    lease.failed("timeout", 11.0)
    with pytest.raises(LocalProtocolError, match="granted was called and nothing was asked"):
        lease.granted(0.0, "a place", 11.0)


@pytest.mark.parametrize(
    ("delay", "place"),
    [(-inf, "a"), (nan, "a"), (inf, "a"), (True, "a"), ("1", "a"), (0.0, ""), (0.0, None)],
)
def test_an_answer_that_is_none_changes_nothing(delay: float, place: str) -> None:
    lease, _ = asked()
    with pytest.raises(LocalProtocolError, match="granted takes the delay"):
        lease.granted(delay, place, 10.0)
    lease.granted(0.0, "a place", 10.0)
    assert lease.poll(10.0) == Granted(n=1, until=10.02)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValidationError, match="budget"):
        Lease(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for limit in (0, -1, True, 1.5):
        with pytest.raises(ValidationError, match="per_second must be a whole number"):
            Lease(Budget(0), limit)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lease, _ = asked()
    with pytest.raises(ValidationError, match="reason must be a string; got None"):
        lease.failed(None, 10.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError, match="wanted: n must be a whole number"):
        lease.wanted(-1, 10.0)
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        lease.poll(nan)


def test_the_repr_says_whether_the_store_is_down() -> None:
    lease, _ = asked(3)
    assert repr(lease) == "<Lease up, 3 wanted>"
    lease.failed("timeout", 10.0)
    assert repr(lease) == "<Lease down, 3 wanted>"
