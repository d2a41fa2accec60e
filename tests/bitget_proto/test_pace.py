"""Tests of SlidingWindow and Budget against a simple count of every window of a second."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan, nextafter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitget_proto import Budget, LocalProtocolError, ValidationError
from bitget_proto._machine.rate_limit import SlidingWindow

EIGHTHS = st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.5, 0.875, 1.0, 1.125, 2.5])
"""Clock steps that are exact in binary, so that the count has no rounding errors."""


def in_the_last_second(left: list[tuple[float, int]], now: float) -> int:
    """The number sent in the second that ends now, without those sent exactly a second ago."""
    return sum(count for at, count in left if Fraction(now) - Fraction(at) < 1)


def busiest_second(left: list[tuple[float, int]]) -> int:
    """The largest number sent within any second; each such second begins with a send."""
    return max(
        (sum(n for other, n in left if 0 <= Fraction(other) - Fraction(at) < 1) for at, _ in left),
        default=0,
    )


# --- the pace of a connection ---


def test_debits_add_up_where_there_is_no_allowance() -> None:
    budget = Budget(0)
    budget.debit(1, 0.0)
    budget.debit(2, 0.0)
    budget.grant(3, inf, 0.0)
    assert budget.allowed_at(0.0) == inf
    budget.grant(1, inf, 0.0)
    assert budget.allowed_at(0.0) <= 0.0


def test_a_debit_by_a_clock_that_lags_counts_at_the_latest_time() -> None:
    budget = Budget(2, pace_margin=None)
    budget.debit(1, 5.0)
    budget.debit(1, 4.875)
    assert budget.allowed_at(5.875) == 6.0
    budget.debit(1, 6.0)
    assert budget.allowed_at(6.0) == 6.0, "both debits count at the later time"


@given(
    st.integers(1, 4),
    st.integers(0, 1000),
    st.lists(st.tuples(EIGHTHS, st.booleans()), max_size=60),
)
def test_a_pace_is_open_exactly_when_the_last_second_has_room(
    limit: int, start: int, steps: list[tuple[float, bool]]
) -> None:
    pace, now, left = SlidingWindow(limit), float(start), list[tuple[float, int]]()
    for step, to_the_deadline in steps:
        opens = pace.allowed_at()
        now = opens if to_the_deadline and opens > now else now + step
        assert (pace.allowed_at() <= now) == (in_the_last_second(left, now) < limit)
        while pace.allowed_at() <= now:
            pace.take(now)
            left.append((now, 1))
    assert busiest_second(left) <= limit


@given(
    st.integers(0, 4),
    st.lists(st.tuples(EIGHTHS, st.integers(0, 7)), max_size=40),
)
def test_opens_returns_the_first_time_that_has_room(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    pace, now, left = SlidingWindow(limit), 0.0, list[tuple[float, int]]()
    for step, count in steps:
        now += step
        pace.take(now, count)
        left.append((now, count))
        opens = pace.allowed_at()
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
def test_the_pace_is_open_at_exactly_the_time_that_opens_returned(
    limit: int, start: float, steps: list[float | None]
) -> None:
    pace, now, left = SlidingWindow(limit), start, list[float]()
    for step in steps:
        opens = pace.allowed_at()
        if step is None and opens > now:
            now = opens
            assert pace.allowed_at() <= now
        else:
            now += step or 0.0
        while pace.allowed_at() <= now:
            pace.take(now)
            left.append(now)
    assert all(later >= earlier + 1.0 for earlier, later in zip(left, left[limit:], strict=False))


def test_the_pace_lets_less_through_than_a_token_bucket() -> None:
    pace = SlidingWindow(10)
    left = 0
    for n in range(16):
        while pace.allowed_at() <= n / 16:
            pace.take(n / 16)
            left += 1
    assert left == 10
    assert pace.allowed_at() == 1.0
    assert pace.allowed_at() <= 1.0


def test_without_a_limit_the_pace_is_always_open() -> None:
    pace = SlidingWindow(None)
    pace.take(0.0, 10**6)
    assert pace.allowed_at() == -inf


def test_with_a_limit_of_zero_the_pace_never_opens() -> None:
    pace = SlidingWindow(0)
    assert pace.allowed_at() == inf
    pace.take(0.0)
    assert pace.allowed_at() == inf


def test_taking_too_many_closes_the_pace_until_the_window_has_passed() -> None:
    pace = SlidingWindow(2)
    pace.take(0.0, 30)
    pace.take(0.5, 1)
    assert pace.allowed_at() == 1.0
    pace.take(1.0, 1)
    assert pace.allowed_at() == 1.5


def test_a_lagging_clock_frees_no_place_early() -> None:
    pace = SlidingWindow(2)
    pace.take(5.0)
    pace.take(4.0)
    assert pace.allowed_at() == 6.0
    assert pace.allowed_at() <= 6.0


def test_a_place_is_free_again_when_the_window_has_passed() -> None:
    pace = SlidingWindow(2, 1.25)
    pace.take(0.0)
    assert pace.allowed_at() == -inf
    pace.take(0.5)
    assert pace.allowed_at() == 1.25
    pace.take(1.25)
    assert pace.allowed_at() == 1.75


def test_of_many_taken_at_once_only_the_limit_is_remembered() -> None:
    pace = SlidingWindow(3)
    pace.take(0.0)
    pace.take(0.25, 2)
    assert pace.allowed_at() == 1.0
    pace.take(0.5, 2)
    assert pace.allowed_at() == 1.25
    pace.take(0.75, 10**15)
    assert pace.allowed_at() == 1.75


def test_taking_zero_takes_nothing() -> None:
    pace = SlidingWindow(1)
    pace.take(0.0, 0)
    assert pace.allowed_at() == -inf


def test_calling_opens_takes_nothing() -> None:
    pace = SlidingWindow(1)
    assert [pace.allowed_at() for _ in range(5)] == [-inf] * 5


@pytest.mark.parametrize("limit", [None, 0, 5])
def test_a_pause_closes_the_pace_for_a_second(limit: int | None) -> None:
    pace = SlidingWindow(limit)
    pace.pause(3.0)
    assert pace.allowed_at() == (inf if limit == 0 else 4.0)


def test_a_pause_may_be_extended_but_not_shortened() -> None:
    pace = SlidingWindow(5)
    pace.pause(3.0)
    pace.pause(2.0)
    assert pace.allowed_at() == 4.0
    pace.pause(3.5)
    assert pace.allowed_at() == 4.5


def test_opens_returns_the_later_of_the_pause_and_the_window() -> None:
    pace = SlidingWindow(1)
    pace.take(0.0)
    pace.pause(0.5)
    assert pace.allowed_at() == 1.5
    pace = SlidingWindow(1)
    pace.pause(0.0)
    pace.take(0.5)
    assert pace.allowed_at() == 1.5


# --- the allowance of an account ---


def spend(budget: Budget, now: float, at_most: int = 1000) -> int:
    """Debit one at a time while the budget is open, as connections do."""
    spent = 0
    while spent < at_most and budget.allowed_at(now) <= now:
        budget.debit(1, now)
        spent += 1
    return spent


def test_the_default_allowance_is_ten_cancels_a_second() -> None:
    budget = Budget()
    assert (budget.per_second, budget.pace_margin) == (10, 0.05)
    assert spend(budget, 0.0) == 10
    assert budget.allowed_at(0.0) == 1.05
    assert spend(budget, 1.049) == 0
    assert spend(budget, 1.05) == 10


@pytest.mark.parametrize(
    ("margin", "opens"), [(None, 1.0), (0, 1.0), (0.0, 1.0), (0.25, 1.25), (2, 3.0)]
)
def test_the_margin_is_added_to_the_window_of_a_second(margin: float | None, opens: float) -> None:
    budget = Budget(1, margin)
    assert budget.pace_margin == margin
    budget.debit(1, 0.0)
    assert budget.allowed_at(0.0) == opens


@pytest.mark.parametrize("margin", [-0.05, inf, -inf, nan, True, "1", b"2", [1]])
def test_an_invalid_margin_is_refused(margin: object) -> None:
    with pytest.raises(
        ValidationError, match=r"^pace_margin must be a number of seconds from 0 up, or None; got "
    ):
        Budget(1, margin)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_a_cancel_by_rest_counts_against_the_same_allowance() -> None:
    budget = Budget(10, None)
    budget.debit(4, 0.25)
    assert spend(budget, 0.5) == 6
    assert budget.allowed_at(0.5) == 1.25
    assert spend(budget, 1.25) == 4


def test_a_debit_is_never_refused_and_overdraws() -> None:
    budget = Budget(2, None)
    budget.debit(50, 0.0)
    assert spend(budget, 0.875) == 0
    assert budget.allowed_at(0.875) == 1.0
    assert spend(budget, 1.0) == 2


def test_a_debit_of_zero_takes_nothing() -> None:
    budget = Budget(1, None)
    budget.debit(0, 0.0)
    assert spend(budget, 0.0) == 1


def test_a_grant_is_spent_before_the_allowance_of_the_second() -> None:
    budget = Budget(2, None)
    budget.grant(3, inf, 0.0)
    assert spend(budget, 0.0) == 5
    assert spend(budget, 0.875) == 0
    assert spend(budget, 1.0) == 2


def test_a_grant_opens_a_budget_that_is_used_up() -> None:
    budget = Budget(1, None)
    assert spend(budget, 0.0) == 1
    budget.grant(2, inf, 0.5)
    assert spend(budget, 0.5) == 2
    assert budget.allowed_at(0.5) == 1.0


def test_a_debit_beyond_the_grants_takes_the_rest_from_the_allowance() -> None:
    budget = Budget(5, None)
    budget.grant(2, inf, 0.0)
    budget.debit(4, 0.0)
    assert spend(budget, 0.0) == 3


def test_a_grant_expires_at_its_end() -> None:
    budget = Budget(0)
    budget.grant(2, 5.0, 0.0)
    assert spend(budget, nextafter(5.0, 0.0), at_most=1) == 1
    assert budget.allowed_at(5.0) == inf
    assert spend(budget, 5.0) == 0
    budget.debit(1, 5.0)
    budget.grant(1, inf, 5.0)
    assert spend(budget, 5.0) == 0, "an expired grant paid for nothing"


@pytest.mark.parametrize("until", [5.0, 4.0, -inf])
def test_a_grant_that_has_expired_on_arrival_is_ignored(until: float) -> None:
    budget = Budget(0)
    budget.debit(1, 0.0)
    budget.grant(7, until, 5.0)
    assert repr(budget) == "Budget(per_second=0, granted=-1)"
    assert budget.allowed_at(5.0) == inf


def test_the_grant_that_expires_first_is_spent_first() -> None:
    budget = Budget(0)
    budget.grant(2, 9.0, 0.0)
    budget.grant(3, 5.0, 0.0)
    budget.grant(1, inf, 0.0)
    budget.debit(4, 1.0)
    assert spend(budget, 5.0, at_most=1) == 1, "one of the grant until 9"
    assert spend(budget, 9.0) == 1, "the grant without an end"


def test_a_debit_may_take_all_of_one_grant_and_a_part_of_the_next() -> None:
    budget = Budget(0)
    budget.grant(2, 5.0, 0.0)
    budget.grant(2, 9.0, 0.0)
    budget.debit(3, 1.0)
    assert repr(budget) == "Budget(per_second=0, granted=1)"
    assert budget.allowed_at(5.0) == -inf, "the remaining grant lasts until 9"


def test_a_later_grant_is_available_after_an_earlier_one_expired() -> None:
    budget = Budget(0)
    budget.grant(1, 5.0, 0.0)
    budget.grant(1, 9.0, 0.0)
    assert budget.allowed_at(6.0) == -inf
    assert spend(budget, 6.0) == 1


def test_two_grants_with_the_same_end_both_count() -> None:
    budget = Budget(0)
    budget.grant(1, 5.0, 0.0)
    budget.grant(2, 5.0, 0.0)
    assert spend(budget, 1.0) == 3


def test_a_debit_skips_expired_grants() -> None:
    budget = Budget(2, None)
    budget.grant(9, 5.0, 0.0)
    budget.debit(2, 5.0)
    assert budget.allowed_at(5.0) == 6.0


def test_a_new_grant_drops_expired_ones() -> None:
    budget = Budget(0)
    budget.grant(9, 5.0, 0.0)
    budget.grant(1, 9.0, 5.0)
    assert repr(budget) == "Budget(per_second=0, granted=1)"


def test_a_grant_first_covers_the_overdraft() -> None:
    budget = Budget(0)
    budget.debit(5, 0.0)
    budget.grant(2, 9.0, 0.0)
    assert repr(budget) == "Budget(per_second=0, granted=-3)"
    budget.grant(4, 9.0, 0.0)
    assert repr(budget) == "Budget(per_second=0, granted=1)"
    assert spend(budget, 1.0) == 1


def test_a_debit_overdraws_by_the_part_that_no_grant_covers() -> None:
    budget = Budget(0)
    budget.grant(2, 9.0, 0.0)
    budget.debit(5, 0.0)
    assert repr(budget) == "Budget(per_second=0, granted=-3)"
    assert budget.allowed_at(0.0) == inf


@pytest.mark.parametrize("until", [nan, None, "5", True, [5]])
def test_a_grant_with_an_invalid_end_is_refused_and_changes_nothing(until: object) -> None:
    budget = Budget(0)
    with pytest.raises(
        LocalProtocolError,
        match=r"^until must be a number of seconds on your clock, or math\.inf; got ",
    ):
        budget.grant(1, until, 0.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert spend(budget, 0.0) == 0


def test_with_an_allowance_of_zero_only_grants_are_spent() -> None:
    budget = Budget(0)
    assert budget.allowed_at(0.0) == inf
    budget.grant(2, inf, 0.0)
    assert spend(budget, 0.0) == 2
    assert budget.allowed_at(100.0) == inf


def test_with_an_allowance_of_zero_grants_first_cover_the_overdraft() -> None:
    budget = Budget(0)
    budget.debit(3, 0.0)
    budget.grant(3, inf, 5.0)
    assert spend(budget, 5.0) == 0
    budget.grant(1, inf, 5.0)
    assert spend(budget, 5.0) == 1


def test_without_a_limit_the_budget_is_always_open() -> None:
    budget = Budget(None)
    assert spend(budget, 0.0, at_most=500) == 500


@pytest.mark.parametrize("per_second", [10, None, 0])
def test_a_pause_blocks_grants_too(per_second: int | None) -> None:
    budget = Budget(per_second, None)
    budget.grant(1, inf, 0.0)
    budget.pause(0.0)
    assert budget.allowed_at(0.0) == 1.0
    assert spend(budget, 0.875) == 0
    assert spend(budget, 1.0, at_most=1) == 1


def test_reading_a_budget_spends_nothing() -> None:
    budget = Budget(1, None)
    budget.grant(1, inf, 0.0)
    assert [budget.allowed_at(0.0) for _ in range(5)] == [-inf] * 5
    assert spend(budget, 0.0) == 2


def test_the_repr_of_a_budget_shows_its_limit_and_grants() -> None:
    budget = Budget(60)
    budget.grant(2, inf, 0.0)
    assert repr(budget) == "Budget(per_second=60, granted=2)"


NO_COUNTS = [-1, 1.5, True, "1", b"2"]


@pytest.mark.parametrize("count", NO_COUNTS)
def test_a_limit_that_is_not_an_integer_is_refused(count: object) -> None:
    with pytest.raises(
        ValidationError, match=r"^per_second must be a whole number from 0 up; got "
    ):
        Budget(count)  # type: ignore[arg-type]  # as an untyped caller may pass


@pytest.mark.parametrize("count", [*NO_COUNTS, None])
def test_an_invalid_count_is_refused_and_changes_nothing(count: object) -> None:
    budget = Budget(3, None)
    budget.grant(1, inf, 0.0)
    with pytest.raises(ValidationError, match=r"^debit: n must be a whole number from 0 up; got "):
        budget.debit(count, 0.0)  # type: ignore[arg-type]  # as an untyped caller may pass
    with pytest.raises(ValidationError, match=r"^grant: n must be a whole number from 0 up; got "):
        budget.grant(count, inf, 0.0)  # type: ignore[arg-type]  # as an untyped caller may pass
    assert spend(budget, 0.0) == 4


BUDGET_STEPS = st.lists(
    st.tuples(
        EIGHTHS,
        st.sampled_from(["spend", "spend", "debit", "grant"]),
        st.integers(0, 6),
        st.sampled_from([0.125, 0.5, 1.0, 2.0, inf]),
    ),
    max_size=50,
)


@given(st.sampled_from([0, 1, 3, None]), BUDGET_STEPS)
def test_a_budget_agrees_with_a_simple_model(
    per_second: int | None, steps: list[tuple[float, str, int, float]]
) -> None:
    budget, now = Budget(per_second, None), 0.0
    grants: list[float] = []
    """The expiry of each granted unit that is not spent."""
    overdrawn = 0
    left: list[tuple[float, int]] = []

    def is_open() -> bool:
        return (
            any(end > now for end in grants)
            or per_second is None
            or in_the_last_second(left, now) < per_second
        )

    def claim(n: int) -> None:
        nonlocal overdrawn
        for _ in range(n):
            if lasting := sorted(end for end in grants if end > now):
                grants.remove(lasting[0])
            elif per_second == 0:
                overdrawn += 1
            else:
                left.append((now, 1))

    for step, action, n, lasts in steps:
        now += step
        if action == "grant":
            budget.grant(n, now + lasts, now)
            made_up = min(n, overdrawn)
            overdrawn -= made_up
            grants += [now + lasts] * (n - made_up)
        elif action == "debit":
            budget.debit(n, now)
            claim(n)
        else:
            for _ in range(n):
                assert (budget.allowed_at(now) <= now) == is_open()
                if is_open():
                    budget.debit(1, now)
                    claim(1)
        assert (budget.allowed_at(now) <= now) == is_open()


@given(st.integers(1, 3), st.lists(st.tuples(EIGHTHS, st.integers(0, 5)), max_size=40))
def test_connections_that_share_a_budget_never_exceed_it_together(
    per_second: int, steps: list[tuple[float, int]]
) -> None:
    budget, now, left = Budget(per_second, None), 0.0, list[tuple[float, int]]()
    for step, wanted in steps:
        now += step
        left.append((now, spend(budget, now, at_most=wanted)))
    assert busiest_second(left) <= per_second
