"""How much may leave in a second, against a count by hand of every window."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitget_proto import Budget, ValidationError
from bitget_proto._pace import Pace

EIGHTHS = st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.5, 0.875, 1.0, 1.125, 2.5])
"""Steps of a clock that are exact in binary, so that a count by hand has no rounding of its own."""


def in_the_last_second(left: list[tuple[float, int]], now: float) -> int:
    """How many left in the second that ends now: what left exactly a second ago counts no longer."""
    return sum(count for at, count in left if Fraction(now) - Fraction(at) < 1)


def busiest_second(left: list[tuple[float, int]]) -> int:
    """The most that ever left within one second, whichever second: each begins with a departure."""
    return max((sum(n for other, n in left if 0 <= Fraction(other) - Fraction(at) < 1) for at, _ in left), default=0)


# --- the pace of a connection ---


@given(st.integers(1, 4), st.integers(0, 1000), st.lists(st.tuples(EIGHTHS, st.booleans()), max_size=60))
def test_a_pace_is_open_exactly_when_the_last_second_has_room(
    limit: int, start: int, steps: list[tuple[float, bool]]
) -> None:
    pace, now, left = Pace(limit), float(start), list[tuple[float, int]]()
    for step, to_the_deadline in steps:
        opens = pace.opens(now)
        now = opens if to_the_deadline and opens > now else now + step
        assert (pace.opens(now) <= now) == (in_the_last_second(left, now) < limit)
        while pace.opens(now) <= now:
            pace.take(now)
            left.append((now, 1))
    assert busiest_second(left) <= limit


@given(
    st.integers(0, 4),
    st.lists(st.tuples(EIGHTHS, st.integers(0, 7)), max_size=40),
)
def test_the_announced_moment_is_the_first_that_has_room(limit: int, steps: list[tuple[float, int]]) -> None:
    pace, now, left = Pace(limit), 0.0, list[tuple[float, int]]()
    for step, count in steps:
        now += step
        pace.take(now, count)
        left.append((now, count))
        opens = pace.opens(now)
        if limit == 0:
            assert opens == inf
        elif opens > now:
            assert in_the_last_second(left, opens) < limit
            assert in_the_last_second(left, opens - 0.0625) >= limit
        else:
            assert in_the_last_second(left, now) < limit


@given(
    st.integers(1, 3),
    st.floats(-1e9, 1e9),
    st.lists(st.one_of(st.none(), st.floats(0, 1.5), st.just(0.1)), min_size=5, max_size=60),
)
@example(3, 0.7, [None] * 10)
@example(1, 1e9 + 0.1, [None] * 10)
def test_a_clock_that_stands_on_the_announced_moment_finds_the_pace_open(
    limit: int, start: float, steps: list[float | None]
) -> None:
    pace, now, left = Pace(limit), start, list[float]()
    for step in steps:
        opens = pace.opens(now)
        if step is None and opens > now:
            now = opens
            assert pace.opens(now) <= now
        else:
            now += step or 0.0
        while pace.opens(now) <= now:
            pace.take(now)
            left.append(now)
    assert all(later >= earlier + 1.0 for earlier, later in zip(left, left[limit:], strict=False))


def test_a_bucket_that_is_refilled_would_let_more_through() -> None:
    pace = Pace(10)
    left = 0
    for n in range(16):
        while pace.opens(n / 16) <= n / 16:
            pace.take(n / 16)
            left += 1
    assert left == 10
    assert pace.opens(15 / 16) == 1.0
    assert pace.opens(1.0) <= 1.0


def test_without_a_limit_the_pace_is_always_open() -> None:
    pace = Pace(None)
    pace.take(0.0, 10**6)
    assert pace.opens(0.0) == -inf


def test_with_a_limit_of_nothing_no_waiting_helps() -> None:
    pace = Pace(0)
    assert pace.opens(0.0) == inf
    pace.take(0.0)
    assert pace.opens(0.0) == pace.opens(100.0) == inf


def test_taking_more_than_there_is_closes_the_pace_until_the_window_has_passed() -> None:
    pace = Pace(2)
    pace.take(0.0, 30)
    pace.take(0.5, 1)
    assert pace.opens(0.5) == 1.0
    pace.take(1.0, 1)
    assert pace.opens(1.0) == 1.5


def test_a_sharers_clock_that_is_behind_frees_no_place_early() -> None:
    pace = Pace(2)
    pace.take(5.0)
    pace.take(4.0)
    assert pace.opens(5.0) == 6.0
    assert pace.opens(6.0) <= 6.0


def test_looking_takes_nothing() -> None:
    pace = Pace(1)
    assert [pace.opens(0.0) for _ in range(5)] == [-inf] * 5


@pytest.mark.parametrize("limit", [None, 0, 5])
def test_a_pause_lets_nothing_leave_for_a_second(limit: int | None) -> None:
    pace = Pace(limit)
    pace.pause(3.0)
    assert pace.opens(3.0) == (inf if limit == 0 else 4.0)
    assert pace.opens(4.0) == (inf if limit == 0 else 4.0)


def test_a_pause_is_made_longer_but_never_shorter() -> None:
    pace = Pace(5)
    pace.pause(3.0)
    pace.pause(2.0)
    assert pace.opens(3.0) == 4.0
    pace.pause(3.5)
    assert pace.opens(3.5) == 4.5


def test_the_later_of_the_pause_and_the_window_is_announced() -> None:
    pace = Pace(1)
    pace.take(0.0)
    pace.pause(0.5)
    assert pace.opens(0.5) == 1.5
    pace = Pace(1)
    pace.pause(0.0)
    pace.take(0.5)
    assert pace.opens(0.5) == 1.5


# --- the allowance of an account ---


def spend(budget: Budget, now: float, at_most: int = 1000) -> int:
    """Claim one after the other while the budget is open, as connections do."""
    spent = 0
    while spent < at_most and budget.opens(now) <= now:
        budget.debit(1, now)
        spent += 1
    return spent


def test_ten_cancels_a_second_is_the_allowance_of_an_account() -> None:
    budget = Budget()
    assert budget.per_second == 10
    assert spend(budget, 0.0) == 10
    assert budget.opens(0.0) == 1.0
    assert spend(budget, 0.5) == 0
    assert spend(budget, 1.0) == 10


def test_a_cancel_by_rest_is_debited_from_the_same_allowance() -> None:
    budget = Budget(10)
    budget.debit(4, 0.25)
    assert spend(budget, 0.5) == 6
    assert budget.opens(0.5) == 1.25
    assert spend(budget, 1.25) == 4


def test_a_debit_is_never_refused_and_overdraws() -> None:
    budget = Budget(2)
    budget.debit(50, 0.0)
    assert spend(budget, 0.875) == 0
    assert budget.opens(0.875) == 1.0
    assert spend(budget, 1.0) == 2


def test_a_debit_of_nothing_takes_nothing() -> None:
    budget = Budget(1)
    budget.debit(0, 0.0)
    assert spend(budget, 0.0) == 1


def test_a_grant_is_spent_before_the_allowance_of_the_second() -> None:
    budget = Budget(2)
    budget.grant(3, 0.0)
    assert spend(budget, 0.0) == 5
    assert spend(budget, 0.875) == 0
    assert spend(budget, 1.0) == 2


def test_a_grant_opens_a_budget_that_is_used_up() -> None:
    budget = Budget(1)
    assert spend(budget, 0.0) == 1
    budget.grant(2, 0.5)
    assert spend(budget, 0.5) == 2
    assert budget.opens(0.5) == 1.0


def test_a_debit_beyond_the_grants_takes_the_rest_from_the_allowance() -> None:
    budget = Budget(5)
    budget.grant(2, 0.0)
    budget.debit(4, 0.0)
    assert spend(budget, 0.0) == 3


def test_with_an_allowance_of_nothing_only_grants_are_spent() -> None:
    budget = Budget(0)
    assert budget.opens(0.0) == inf
    budget.grant(2, 0.0)
    assert spend(budget, 0.0) == 2
    assert budget.opens(100.0) == inf


def test_with_an_allowance_of_nothing_grants_first_make_up_for_what_was_overdrawn() -> None:
    budget = Budget(0)
    budget.debit(3, 0.0)
    budget.grant(3, 5.0)
    assert spend(budget, 5.0) == 0
    budget.grant(1, 5.0)
    assert spend(budget, 5.0) == 1


def test_without_a_limit_everything_may_leave() -> None:
    budget = Budget(None)
    assert spend(budget, 0.0, at_most=500) == 500


@pytest.mark.parametrize("per_second", [10, None, 0])
def test_a_pause_stops_even_what_was_granted(per_second: int | None) -> None:
    budget = Budget(per_second)
    budget.grant(1, 0.0)
    budget.pause(0.0)
    assert budget.opens(0.0) == 1.0
    assert spend(budget, 0.875) == 0
    assert spend(budget, 1.0, at_most=1) == 1


def test_looking_at_a_budget_spends_nothing() -> None:
    budget = Budget(1)
    budget.grant(1, 0.0)
    assert [budget.opens(0.0) for _ in range(5)] == [-inf] * 5
    assert spend(budget, 0.0) == 2


def test_a_budget_shows_what_it_is() -> None:
    budget = Budget(60)
    budget.grant(2, 0.0)
    assert repr(budget) == "Budget(per_second=60, granted=2)"


NO_COUNTS = [-1, 1.5, True, "1", b"2"]


@pytest.mark.parametrize("count", NO_COUNTS)
def test_a_limit_that_is_no_whole_number_is_refused(count: object) -> None:
    with pytest.raises(ValidationError, match=r"^per_second must be a whole number from 0 up; got "):
        Budget(count)  # type: ignore[arg-type]  # what an unchecked caller passes


@pytest.mark.parametrize("count", [*NO_COUNTS, None])
def test_a_count_that_is_no_whole_number_is_refused_and_nothing_has_changed(count: object) -> None:
    budget = Budget(3)
    budget.grant(1, 0.0)
    for refused in (budget.debit, budget.grant):
        with pytest.raises(ValidationError, match=r"^(debit|grant): n must be a whole number from 0 up; got "):
            refused(count, 0.0)  # type: ignore[arg-type]  # what an unchecked caller passes
    assert spend(budget, 0.0) == 4


BUDGET_STEPS = st.lists(
    st.tuples(EIGHTHS, st.sampled_from(["spend", "spend", "debit", "grant"]), st.integers(0, 6)), max_size=50
)


@given(st.sampled_from([0, 1, 3, None]), BUDGET_STEPS)
def test_a_budget_agrees_with_the_accounts_kept_by_hand(
    per_second: int | None, steps: list[tuple[float, str, int]]
) -> None:
    budget, now = Budget(per_second), 0.0
    granted = 0
    left: list[tuple[float, int]] = []

    def is_open() -> bool:
        return granted > 0 or per_second is None or in_the_last_second(left, now) < per_second

    def claim(n: int) -> None:
        nonlocal granted
        from_grants = n if per_second == 0 else min(n, granted)
        granted -= from_grants
        left.append((now, n - from_grants))

    for step, action, n in steps:
        now += step
        if action == "grant":
            budget.grant(n, now)
            granted += n
        elif action == "debit":
            budget.debit(n, now)
            claim(n)
        else:
            for _ in range(n):
                assert (budget.opens(now) <= now) == is_open()
                if is_open():
                    budget.debit(1, now)
                    claim(1)
        assert (budget.opens(now) <= now) == is_open()


@given(st.integers(1, 3), st.lists(st.tuples(EIGHTHS, st.integers(0, 5)), max_size=40))
def test_those_who_share_a_budget_never_exceed_it_together(per_second: int, steps: list[tuple[float, int]]) -> None:
    budget, now, left = Budget(per_second), 0.0, list[tuple[float, int]]()
    for step, wanted in steps:
        now += step
        left.append((now, spend(budget, now, at_most=wanted)))
    assert busiest_second(left) <= per_second
