"""Tests of the timers, their names, and the store of deadlines."""

from __future__ import annotations

import copy
import pickle
from enum import Enum
from math import inf, nan

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import LocalProtocolError, Timer
from bitget_proto._machine.deadlines import MAX, Alarms, Deadlines, after, finite_time, is_seconds


@attrs.define(eq=False)
class Entry:
    name: int = 0
    deadline: float = inf
    version: int = 0


def in_order(deadlines: Deadlines[Entry]) -> list[Entry]:
    """Remove and return all entries, the earliest first."""
    came: list[Entry] = []
    while (first := deadlines.first()) is not None:
        came.append(first)
        deadlines.set(first, inf)
    return came


# --- names ---


def type_of(member: Enum) -> type[Enum]:
    """The enum as `Callable`: a lookup does not take the second argument of its `__new__`."""
    return type(member)


@pytest.mark.parametrize("timer", Timer)
def test_every_timer_has_a_name_and_a_meaning_beginning_with_when(timer: Timer) -> None:
    assert timer.sentence.startswith("When ")
    assert timer.sentence.endswith(".")
    assert type_of(timer)(timer.value) is timer
    assert pickle.loads(pickle.dumps(timer)) is timer
    assert copy.deepcopy(timer) is timer
    assert {timer: 1}[timer] == 1


def test_the_timers_are_listed_in_the_order_in_which_ties_fire() -> None:
    assert [timer.name for timer in Timer][:5] == ["REQUEST", "LOGIN", "PONG", "DRAIN", "PING"]


# --- the clock ---


def test_a_time_is_never_before_the_latest_one() -> None:
    assert finite_time(2.0, 1.0) == 2.0
    assert finite_time(1.0, 1.0) == 1.0
    assert finite_time(0.0, 1.0) == 1.0
    assert finite_time(-5.0, -inf) == -5.0


@pytest.mark.parametrize("now", [nan, inf, -inf, None, "1", b"2", [3]])
def test_a_time_that_is_not_finite_is_refused(now: object) -> None:
    with pytest.raises(
        LocalProtocolError, match=r"^now must be a finite number of seconds on your clock; got "
    ):
        finite_time(now, 0.0)  # type: ignore[arg-type]  # as an untyped caller may pass


@pytest.mark.parametrize("seconds", [1, 0.5, 5e-324, MAX, inf])
def test_a_positive_number_is_a_number_of_seconds(seconds: float) -> None:
    assert is_seconds(seconds)


@pytest.mark.parametrize("value", [0, 0.0, -1, -inf, nan, True, "1", None, [1], 10**400])
def test_anything_else_is_not_a_number_of_seconds(value: object) -> None:
    assert not is_seconds(value)


@pytest.mark.parametrize("now", [MAX, -MAX, 3, 0.0])
def test_any_finite_number_is_a_time(now: float) -> None:
    assert finite_time(now, -MAX) == now


@pytest.mark.parametrize("now", [True, 10**400, -(10**400)])
def test_a_bool_or_an_integer_beyond_every_float_is_not_a_time(now: float) -> None:
    with pytest.raises(LocalProtocolError, match=r"^now must be a finite number"):
        finite_time(now, 0.0)


def test_a_limit_that_is_none_is_never_reached() -> None:
    assert after(5.0, None) == inf
    assert after(5.0, 2.5) == 7.5


# --- alarms ---


def test_the_earliest_alarm_is_due_and_ties_go_by_order() -> None:
    alarms = Alarms(Timer.LOGIN, Timer.PONG, Timer.PING)
    assert (alarms.until, alarms.timer) == (inf, None)
    alarms[Timer.PING] = 5.0
    assert (alarms.until, alarms.timer) == (5.0, Timer.PING)
    alarms[Timer.PONG] = 5.0
    assert (alarms.until, alarms.timer) == (5.0, Timer.PONG)
    alarms[Timer.LOGIN] = 6.0
    assert (alarms.until, alarms.timer) == (5.0, Timer.PONG)
    alarms[Timer.LOGIN] = 4.0
    assert (alarms.until, alarms.timer) == (4.0, Timer.LOGIN)
    assert [alarms[timer] for timer in (Timer.LOGIN, Timer.PONG, Timer.PING)] == [4.0, 5.0, 5.0]


def test_an_alarm_that_is_set_again_moves_and_infinity_clears_it() -> None:
    alarms = Alarms(Timer.LOGIN, Timer.PONG)
    alarms[Timer.LOGIN] = 1.0
    alarms[Timer.PONG] = 2.0
    alarms[Timer.LOGIN] = 3.0
    assert (alarms.until, alarms.timer) == (2.0, Timer.PONG)
    alarms[Timer.PONG] = inf
    assert (alarms.until, alarms.timer) == (3.0, Timer.LOGIN)
    alarms.clear()
    assert (alarms.until, alarms.timer) == (inf, None)
    assert alarms[Timer.LOGIN] == inf
    alarms[Timer.PONG] = 7.0
    assert (alarms.until, alarms.timer) == (7.0, Timer.PONG)


# --- deadlines ---


def test_an_empty_store_has_no_first_entry() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    assert deadlines.first() is None
    assert (len(deadlines), deadlines.until) == (0, inf)


def test_reading_the_first_entry_does_not_remove_it() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    entry = Entry()
    deadlines.set(entry, 1.0)
    assert entry.deadline == 1.0
    assert deadlines.first() is entry
    assert deadlines.first() is entry
    assert (len(deadlines), deadlines.until) == (1, 1.0)


def test_an_entry_without_a_deadline_is_not_stored() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    endless, entry = Entry(), Entry()
    deadlines.set(endless, inf)
    assert len(deadlines) == 0
    deadlines.set(entry, 1.0)
    deadlines.set(endless, inf)
    assert deadlines.first() is entry


def test_an_earlier_deadline_set_later_is_first() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    late, early, between = Entry(), Entry(), Entry()
    for entry, deadline in ((late, 3.0), (early, 1.0), (between, 2.0)):
        deadlines.set(entry, deadline)
    assert in_order(deadlines) == [early, between, late]


@pytest.mark.parametrize(
    ("added", "order"),
    [((5.0, 1.0, 5.0, 1.0, 5.0), [1, 3, 0, 2, 4]), ((1.0, 5.0, 1.0, 5.0, 1.0), [0, 2, 4, 1, 3])],
)
def test_equal_deadlines_come_in_the_order_they_were_set(
    added: tuple[float, ...], order: list[int]
) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    for n, deadline in enumerate(added):
        deadlines.set(Entry(n), deadline)
    assert [entry.name for entry in in_order(deadlines)] == order


@pytest.mark.parametrize("moved_to", [0.5, 1.5, 9.0])
def test_setting_a_deadline_again_replaces_it(moved_to: float) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    moved, one, two = Entry(), Entry(), Entry()
    for entry, deadline in ((moved, 1.0), (one, 1.0), (two, 2.0)):
        deadlines.set(entry, deadline)
    deadlines.set(moved, moved_to)
    assert deadlines.until == min(moved_to, 1.0)
    expected = sorted([(moved_to, moved), (1.0, one), (2.0, two)], key=lambda item: item[0])
    assert in_order(deadlines) == [entry for _, entry in expected]


def test_clearing_the_first_deadline_makes_the_next_one_first() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    entries = [Entry(n) for n in range(4)]
    for entry, deadline in zip(entries, (3.0, 1.0, 4.0, 2.0), strict=True):
        deadlines.set(entry, deadline)
    for nth, until in ((1, 2.0), (3, 3.0), (0, 4.0), (2, inf)):
        deadlines.set(entries[nth], inf)
        assert deadlines.until == until
    assert len(deadlines) == 0


def test_clearing_a_later_deadline_leaves_the_first() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    one, two = Entry(), Entry()
    deadlines.set(one, 1.0)
    deadlines.set(two, 2.0)
    deadlines.set(two, inf)
    assert (deadlines.first(), deadlines.until) == (one, 1.0)


def test_a_cleared_and_reset_deadline_comes_after_its_equals() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    first, again, between = Entry(), Entry(), Entry()
    for entry in (first, again, between):
        deadlines.set(entry, 5.0)
    deadlines.set(again, inf)
    deadlines.set(again, 5.0)
    assert in_order(deadlines) == [first, between, again]


def test_a_cleared_store_is_empty_and_can_be_used_again() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    for deadline in (2.0, 1.0):
        deadlines.set(Entry(), deadline)
    deadlines.clear()
    assert deadlines.first() is None
    assert (len(deadlines), deadlines.until) == (0, inf)
    entry = Entry()
    deadlines.set(entry, 9.0)
    assert deadlines.first() is entry
    for n in range(100):
        dead = Entry()
        deadlines.set(dead, 10.0 + n)
        deadlines.set(dead, inf)
        assert len(deadlines) <= 2 * 1 + 64, "cleared entries are not returned"


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_cleared_entries_never_pile_up(step: float) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    living = Entry()
    deadlines.set(living, -(10.0**6))
    for n in range(5000):
        entry = Entry()
        deadlines.set(entry, step * n)
        deadlines.set(entry, inf)
        assert len(deadlines) <= 2 * 1 + 64
    assert in_order(deadlines) == [living]


def test_an_entry_cleared_and_reset_repeatedly_is_stored_boundedly() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    entry = Entry()
    for _ in range(1000):
        deadlines.set(entry, 5.0)
        deadlines.set(entry, inf)
    deadlines.set(entry, 5.0)
    assert len(deadlines) <= 2 * 1 + 64
    assert deadlines.first() is entry


def test_after_cleared_entries_are_dropped_the_earliest_is_first() -> None:
    # In descending order all but the first go to the heap. The cleared entries are its last leaves,
    # so that the rest is not a heap until it is heapified.
    deadlines: Deadlines[Entry] = Deadlines()
    entries = [Entry(n) for n in range(300)]
    order = sorted(range(300), key=lambda n: (n * 7919) % 300)
    deadlines.set(Entry(-1), 1000.0)
    for n in order:
        deadlines.set(entries[n], float(n))
    for n in range(0, 300, 3):
        deadlines.set(entries[n], inf)
    for n in range(1, 300, 3):
        deadlines.set(entries[n], inf)
    assert len(deadlines) < 301, "the cleared entries were dropped"
    assert [entry.name for entry in in_order(deadlines)] == [*range(2, 300, 3), -1]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "move", "drop", "first"]),
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    max_size=300,
)


@given(ACTIONS)
def test_the_store_agrees_with_a_sorted_list(actions: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    living: list[tuple[float, int, Entry]] = []
    for count, (action, n, which) in enumerate(actions):
        deadline = inf if n == 12 else float(n)
        if action == "add":
            entry = Entry(count)
        elif living and action in ("move", "drop"):
            deadline = inf if action == "drop" else deadline
            was, _, entry = living[which % len(living)]
            if was == deadline:
                continue
            living.pop(which % len(living))
        else:
            continue
        deadlines.set(entry, deadline)
        if deadline < inf:
            living.append((deadline, count, entry))
        living.sort(key=lambda item: item[:2])
        assert deadlines.until == (living[0][0] if living else inf)
        assert deadlines.first() is (living[0][2] if living else None)
        assert len(deadlines) <= 2 * len(living) + 64 + 1
    assert in_order(deadlines) == [entry for _, _, entry in living]


def test_an_entry_with_a_deadline_from_elsewhere_is_stored() -> None:
    """Such as a cancel of a session that waited in the order taken, and returns to the queue."""
    deadlines: Deadlines[Entry] = Deadlines()
    entry = Entry(deadline=5.0)
    deadlines.set(entry, 5.0)
    assert (deadlines.first(), deadlines.until, len(deadlines)) == (entry, 5.0, 1)
    deadlines.set(entry, inf)
    assert (deadlines.first(), deadlines.until, entry.deadline) == (None, inf, inf)


def test_clearing_an_entry_from_elsewhere_clears_no_other() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    kept = [Entry(n) for n in range(40)]
    for n, entry in enumerate(kept):
        deadlines.set(entry, float(n))
    stored = deadlines._queue
    for _ in range(100):
        entry = Entry(deadline=0.0)
        deadlines.set(entry, inf)
        assert entry.deadline == inf
    assert (deadlines._current, deadlines._queue is stored) == (40, True)
    assert in_order(deadlines) == kept
