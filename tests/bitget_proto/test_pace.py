"""How much may leave in a second, against a count by hand of every window."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan, nextafter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitget_proto import Budget, LocalProtocolError, ValidationError
from bitget_proto._machine.rate_limit import Pace

EIGHTHS = st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.5, 0.875, 1.0, 1.125, 2.5])
"""Steps of a clock that are exact in binary, so that a count by hand has no rounding of its own."""


def in_the_last_second(left: list[tuple[float, int]], now: float) -> int:
    """How many left in the second that ends now: what left exactly a second ago counts no longer."""
    return sum(count for at, count in left if Fraction(now) - Fraction(at) < 1)


def busiest_second(left: list[tuple[float, int]]) -> int:
    """The most that ever left within one second, whichever second: each begins with a departure."""
    return max(
        (sum(n for other, n in left if 0 <= Fraction(other) - Fraction(at) < 1) for at, _ in left),
        default=0,
    )


# --- the pace of a connection ---


def test_what_is_overdrawn_without_an_allowance_adds_up() -> None:
    budget = Budget(0)
    budget.debit(1, 0.0)
    budget.debit(2, 0.0)
    budget.grant(3, inf, 0.0)
    assert budget.opens(0.0) == inf
    budget.grant(1, inf, 0.0)
    assert budget.opens(0.0) <= 0.0


def test_a_clock_that_is_behind_another_frees_no_place_before_the_later_moment() -> None:
    budget = Budget(2, pace_margin=None)
    budget.debit(1, 5.0)
    budget.debit(1, 4.875)
    assert budget.opens(5.875) == 6.0
    budget.debit(1, 6.0)
    assert budget.opens(6.0) == 6.0, "the later moment held for both"


@given(
    st.integers(1, 4),
    st.integers(0, 1000),
    st.lists(st.tuples(EIGHTHS, st.booleans()), max_size=60),
)
def test_a_pace_is_open_exactly_when_the_last_second_has_room(
    limit: int, start: int, steps: list[tuple[float, bool]]
) -> None:
    pace, now, left = Pace(limit), float(start), list[tuple[float, int]]()
    for step, to_the_deadline in steps:
        opens = pace.opens()
        now = opens if to_the_deadline and opens > now else now + step
        assert (pace.opens() <= now) == (in_the_last_second(left, now) < limit)
        while pace.opens() <= now:
            pace.take(now)
            left.append((now, 1))
    assert busiest_second(left) <= limit


@given(
    st.integers(0, 4),
    st.lists(st.tuples(EIGHTHS, st.integers(0, 7)), max_size=40),
)
def test_the_announced_moment_is_the_first_that_has_room(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    pace, now, left = Pace(limit), 0.0, list[tuple[float, int]]()
    for step, count in steps:
        now += step
        pace.take(now, count)
        left.append((now, count))
        opens = pace.opens()
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
        opens = pace.opens()
        if step is None and opens > now:
            now = opens
            assert pace.opens() <= now
        else:
            now += step or 0.0
        while pace.opens() <= now:
            pace.take(now)
            left.append(now)
    assert all(later >= earlier + 1.0 for earlier, later in zip(left, left[limit:], strict=False))


def test_a_bucket_that_is_refilled_would_let_more_through() -> None:
    pace = Pace(10)
    left = 0
    for n in range(16):
        while pace.opens() <= n / 16:
            pace.take(n / 16)
            left += 1
    assert left == 10
    assert pace.opens() == 1.0
    assert pace.opens() <= 1.0


def test_without_a_limit_the_pace_is_always_open() -> None:
    pace = Pace(None)
    pace.take(0.0, 10**6)
    assert pace.opens() == -inf


def test_with_a_limit_of_nothing_no_waiting_helps() -> None:
    pace = Pace(0)
    assert pace.opens() == inf
    pace.take(0.0)
    assert pace.opens() == inf


def test_taking_more_than_there_is_closes_the_pace_until_the_window_has_passed() -> None:
    pace = Pace(2)
    pace.take(0.0, 30)
    pace.take(0.5, 1)
    assert pace.opens() == 1.0
    pace.take(1.0, 1)
    assert pace.opens() == 1.5


def test_a_sharers_clock_that_is_behind_frees_no_place_early() -> None:
    pace = Pace(2)
    pace.take(5.0)
    pace.take(4.0)
    assert pace.opens() == 6.0
    assert pace.opens() <= 6.0


def test_a_place_is_free_again_when_the_window_has_passed() -> None:
    pace = Pace(2, 1.25)
    pace.take(0.0)
    assert pace.opens() == -inf
    pace.take(0.5)
    assert pace.opens() == 1.25
    pace.take(1.25)
    assert pace.opens() == 1.75


def test_of_many_taken_at_once_no_more_than_the_limit_are_remembered() -> None:
    pace = Pace(3)
    pace.take(0.0)
    pace.take(0.25, 2)
    assert pace.opens() == 1.0
    pace.take(0.5, 2)
    assert pace.opens() == 1.25
    pace.take(0.75, 10**15)
    assert pace.opens() == 1.75


def test_taking_none_takes_nothing() -> None:
    pace = Pace(1)
    pace.take(0.0, 0)
    assert pace.opens() == -inf


def test_looking_takes_nothing() -> None:
    pace = Pace(1)
    assert [pace.opens() for _ in range(5)] == [-inf] * 5


@pytest.mark.parametrize("limit", [None, 0, 5])
def test_a_pause_lets_nothing_leave_for_a_second(limit: int | None) -> None:
    pace = Pace(limit)
    pace.pause(3.0)
    assert pace.opens() == (inf if limit == 0 else 4.0)


def test_a_pause_is_made_longer_but_never_shorter() -> None:
    pace = Pace(5)
    pace.pause(3.0)
    pace.pause(2.0)
    assert pace.opens() == 4.0
    pace.pause(3.5)
    assert pace.opens() == 4.5


def test_the_later_of_the_pause_and_the_window_is_announced() -> None:
    pace = Pace(1)
    pace.take(0.0)
    pace.pause(0.5)
    assert pace.opens() == 1.5
    pace = Pace(1)
    pace.pause(0.0)
    pace.take(0.5)
    assert pace.opens() == 1.5


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
    assert (budget.per_second, budget.pace_margin) == (10, 0.05)
    assert spend(budget, 0.0) == 10
    assert budget.opens(0.0) == 1.05
    assert spend(budget, 1.049) == 0
    assert spend(budget, 1.05) == 10


@pytest.mark.parametrize(
    ("margin", "opens"), [(None, 1.0), (0, 1.0), (0.0, 1.0), (0.25, 1.25), (2, 3.0)]
)
def test_the_margin_is_added_to_the_second(margin: float | None, opens: float) -> None:
    budget = Budget(1, margin)
    assert budget.pace_margin == margin
    budget.debit(1, 0.0)
    assert budget.opens(0.0) == opens


@pytest.mark.parametrize("margin", [-0.05, inf, -inf, nan, True, "1", b"2", [1]])
def test_a_margin_that_is_no_number_of_seconds_is_refused(margin: object) -> None:
    with pytest.raises(
        ValidationError, match=r"^pace_margin must be a number of seconds from 0 up, or None; got "
    ):
        Budget(1, margin)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_a_cancel_by_rest_is_debited_from_the_same_allowance() -> None:
    budget = Budget(10, None)
    budget.debit(4, 0.25)
    assert spend(budget, 0.5) == 6
    assert budget.opens(0.5) == 1.25
    assert spend(budget, 1.25) == 4


def test_a_debit_is_never_refused_and_overdraws() -> None:
    budget = Budget(2, None)
    budget.debit(50, 0.0)
    assert spend(budget, 0.875) == 0
    assert budget.opens(0.875) == 1.0
    assert spend(budget, 1.0) == 2


def test_a_debit_of_nothing_takes_nothing() -> None:
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
    assert budget.opens(0.5) == 1.0


def test_a_debit_beyond_the_grants_takes_the_rest_from_the_allowance() -> None:
    budget = Budget(5, None)
    budget.grant(2, inf, 0.0)
    budget.debit(4, 0.0)
    assert spend(budget, 0.0) == 3


def test_a_grant_ends_at_its_time() -> None:
    budget = Budget(0)
    budget.grant(2, 5.0, 0.0)
    assert spend(budget, nextafter(5.0, 0.0), at_most=1) == 1
    assert budget.opens(5.0) == inf
    assert spend(budget, 5.0) == 0
    budget.debit(1, 5.0)
    budget.grant(1, inf, 5.0)
    assert spend(budget, 5.0) == 0, "what was gone paid for nothing"


@pytest.mark.parametrize("until", [5.0, 4.0, -inf])
def test_a_grant_that_has_ended_when_it_comes_is_none(until: float) -> None:
    budget = Budget(0)
    budget.debit(1, 0.0)
    budget.grant(7, until, 5.0)
    assert repr(budget) == "Budget(per_second=0, granted=-1)"
    assert budget.opens(5.0) == inf


def test_what_ends_first_is_spent_first() -> None:
    budget = Budget(0)
    budget.grant(2, 9.0, 0.0)
    budget.grant(3, 5.0, 0.0)
    budget.grant(1, inf, 0.0)
    budget.debit(4, 1.0)
    assert spend(budget, 5.0, at_most=1) == 1, "one of those until 9"
    assert spend(budget, 9.0) == 1, "the one without an end"


def test_a_debit_may_take_all_of_one_grant_and_a_part_of_the_next() -> None:
    budget = Budget(0)
    budget.grant(2, 5.0, 0.0)
    budget.grant(2, 9.0, 0.0)
    budget.debit(3, 1.0)
    assert repr(budget) == "Budget(per_second=0, granted=1)"
    assert budget.opens(5.0) == -inf, "the one that is left lasts until 9"


def test_one_that_ends_later_is_open_behind_one_that_has_ended() -> None:
    budget = Budget(0)
    budget.grant(1, 5.0, 0.0)
    budget.grant(1, 9.0, 0.0)
    assert budget.opens(6.0) == -inf
    assert spend(budget, 6.0) == 1


def test_two_grants_with_one_end_both_count() -> None:
    budget = Budget(0)
    budget.grant(1, 5.0, 0.0)
    budget.grant(2, 5.0, 0.0)
    assert spend(budget, 1.0) == 3


def test_a_debit_passes_over_grants_that_have_ended() -> None:
    budget = Budget(2, None)
    budget.grant(9, 5.0, 0.0)
    budget.debit(2, 5.0)
    assert budget.opens(5.0) == 6.0


def test_a_new_grant_forgets_those_that_have_ended() -> None:
    budget = Budget(0)
    budget.grant(9, 5.0, 0.0)
    budget.grant(1, 9.0, 5.0)
    assert repr(budget) == "Budget(per_second=0, granted=1)"


def test_what_was_overdrawn_is_made_up_for_before_a_grant_is_kept() -> None:
    budget = Budget(0)
    budget.debit(5, 0.0)
    budget.grant(2, 9.0, 0.0)
    assert repr(budget) == "Budget(per_second=0, granted=-3)"
    budget.grant(4, 9.0, 0.0)
    assert repr(budget) == "Budget(per_second=0, granted=1)"
    assert spend(budget, 1.0) == 1


def test_a_debit_overdraws_by_what_no_grant_covers() -> None:
    budget = Budget(0)
    budget.grant(2, 9.0, 0.0)
    budget.debit(5, 0.0)
    assert repr(budget) == "Budget(per_second=0, granted=-3)"
    assert budget.opens(0.0) == inf


@pytest.mark.parametrize("until", [nan, None, "5", True, [5]])
def test_a_grant_without_a_readable_end_is_refused_and_nothing_has_changed(until: object) -> None:
    budget = Budget(0)
    with pytest.raises(
        LocalProtocolError,
        match=r"^until must be a number of seconds on your clock, or math\.inf; got ",
    ):
        budget.grant(1, until, 0.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert spend(budget, 0.0) == 0


def test_with_an_allowance_of_nothing_only_grants_are_spent() -> None:
    budget = Budget(0)
    assert budget.opens(0.0) == inf
    budget.grant(2, inf, 0.0)
    assert spend(budget, 0.0) == 2
    assert budget.opens(100.0) == inf


def test_with_an_allowance_of_nothing_grants_first_make_up_for_what_was_overdrawn() -> None:
    budget = Budget(0)
    budget.debit(3, 0.0)
    budget.grant(3, inf, 5.0)
    assert spend(budget, 5.0) == 0
    budget.grant(1, inf, 5.0)
    assert spend(budget, 5.0) == 1


def test_without_a_limit_everything_may_leave() -> None:
    budget = Budget(None)
    assert spend(budget, 0.0, at_most=500) == 500


@pytest.mark.parametrize("per_second", [10, None, 0])
def test_a_pause_stops_even_what_was_granted(per_second: int | None) -> None:
    budget = Budget(per_second, None)
    budget.grant(1, inf, 0.0)
    budget.pause(0.0)
    assert budget.opens(0.0) == 1.0
    assert spend(budget, 0.875) == 0
    assert spend(budget, 1.0, at_most=1) == 1


def test_looking_at_a_budget_spends_nothing() -> None:
    budget = Budget(1, None)
    budget.grant(1, inf, 0.0)
    assert [budget.opens(0.0) for _ in range(5)] == [-inf] * 5
    assert spend(budget, 0.0) == 2


def test_a_budget_shows_what_it_is() -> None:
    budget = Budget(60)
    budget.grant(2, inf, 0.0)
    assert repr(budget) == "Budget(per_second=60, granted=2)"


NO_COUNTS = [-1, 1.5, True, "1", b"2"]


@pytest.mark.parametrize("count", NO_COUNTS)
def test_a_limit_that_is_no_whole_number_is_refused(count: object) -> None:
    with pytest.raises(
        ValidationError, match=r"^per_second must be a whole number from 0 up; got "
    ):
        Budget(count)  # type: ignore[arg-type]  # what an unchecked caller passes


@pytest.mark.parametrize("count", [*NO_COUNTS, None])
def test_a_count_that_is_no_whole_number_is_refused_and_nothing_has_changed(count: object) -> None:
    budget = Budget(3, None)
    budget.grant(1, inf, 0.0)
    with pytest.raises(ValidationError, match=r"^debit: n must be a whole number from 0 up; got "):
        budget.debit(count, 0.0)  # type: ignore[arg-type]  # what an unchecked caller passes
    with pytest.raises(ValidationError, match=r"^grant: n must be a whole number from 0 up; got "):
        budget.grant(count, inf, 0.0)  # type: ignore[arg-type]  # what an unchecked caller passes
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
def test_a_budget_agrees_with_the_accounts_kept_by_hand(
    per_second: int | None, steps: list[tuple[float, str, int, float]]
) -> None:
    budget, now = Budget(per_second, None), 0.0
    grants: list[float] = []
    """The end of each single one that was granted and is not spent."""
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
                assert (budget.opens(now) <= now) == is_open()
                if is_open():
                    budget.debit(1, now)
                    claim(1)
        assert (budget.opens(now) <= now) == is_open()


@given(st.integers(1, 3), st.lists(st.tuples(EIGHTHS, st.integers(0, 5)), max_size=40))
def test_those_who_share_a_budget_never_exceed_it_together(
    per_second: int, steps: list[tuple[float, int]]
) -> None:
    budget, now, left = Budget(per_second, None), 0.0, list[tuple[float, int]]()
    for step, wanted in steps:
        now += step
        left.append((now, spend(budget, now, at_most=wanted)))
    assert busiest_second(left) <= per_second
