"""The timers and their names, and the store of many deadlines."""

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
from bitget_proto._timers import Deadlines, after, finite_time


@attrs.define(eq=False)
class Entry:
    deadline: float
    name: int = 0
    done: bool = False


def settle(deadlines: Deadlines[Entry], entry: Entry) -> None:
    entry.done = True
    deadlines.settled(entry)


# --- names ---


def type_of(member: Enum) -> type[Enum]:
    """The enum, without the second argument of its `__new__`, which looking a member up does not take."""
    return type(member)


@pytest.mark.parametrize("timer", Timer)
def test_every_timer_has_a_name_and_a_sentence_that_begins_with_when(timer: Timer) -> None:
    assert timer.sentence.startswith("When ")
    assert timer.sentence.endswith(".")
    assert type_of(timer)(timer.value) is timer
    assert pickle.loads(pickle.dumps(timer)) is timer
    assert copy.deepcopy(timer) is timer
    assert {timer: 1}[timer] == 1


def test_the_timers_of_a_connection_stand_in_the_order_in_which_ties_fire() -> None:
    assert [timer.name for timer in Timer][:5] == ["REQUEST", "LOGIN", "PONG", "DRAIN", "PING"]


# --- the clock ---


def test_a_time_is_never_before_the_latest_that_was_told() -> None:
    assert finite_time(2.0, 1.0) == 2.0
    assert finite_time(1.0, 1.0) == 1.0
    assert finite_time(0.0, 1.0) == 1.0
    assert finite_time(-5.0, -inf) == -5.0


@pytest.mark.parametrize("now", [nan, inf, -inf, None, "1", b"2", [3]])
def test_what_is_no_finite_number_of_seconds_is_refused(now: object) -> None:
    with pytest.raises(LocalProtocolError, match=r"^now must be a finite number of seconds on your clock; got "):
        finite_time(now, 0.0)  # type: ignore[arg-type]  # what an unchecked caller passes


def test_a_limit_that_is_switched_off_is_never_reached() -> None:
    assert after(5.0, None) == inf
    assert after(5.0, 2.5) == 7.5


# --- deadlines ---


def test_nothing_is_due_first_in_an_empty_store() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    assert deadlines.first() is None
    assert len(deadlines) == 0
    assert list(deadlines) == []


def test_looking_at_the_first_leaves_it() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    entry = Entry(1.0)
    deadlines.add(entry)
    assert deadlines.first() is entry
    assert deadlines.first() is entry


def test_one_without_an_end_is_not_kept() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    endless, entry = Entry(inf), Entry(1.0)
    deadlines.add(endless)
    assert len(deadlines) == 0
    deadlines.add(entry)
    settle(deadlines, endless)
    assert deadlines.first() is entry
    assert list(deadlines) == [entry]


def test_an_earlier_one_that_comes_later_is_first() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    late, early, between = Entry(3.0), Entry(1.0), Entry(2.0)
    for entry in (late, early, between):
        deadlines.add(entry)
    came: list[Entry] = []
    while (first := deadlines.first()) is not None:
        came.append(first)
        settle(deadlines, first)
    assert came == [early, between, late]


@pytest.mark.parametrize(
    ("added", "order"), [((5.0, 1.0, 5.0, 1.0, 5.0), [1, 3, 0, 2, 4]), ((1.0, 5.0, 1.0, 5.0, 1.0), [0, 2, 4, 1, 3])]
)
def test_equal_deadlines_come_in_the_order_they_were_added(added: tuple[float, ...], order: list[int]) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    entries = [Entry(deadline, n) for n, deadline in enumerate(added)]
    for entry in entries:
        deadlines.add(entry)
    came: list[int] = []
    while (first := deadlines.first()) is not None:
        came.append(first.name)
        settle(deadlines, first)
    assert came == order


def test_a_cleared_store_is_empty_and_can_be_used_again() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    for deadline in (2.0, 1.0):
        deadlines.add(Entry(deadline))
    deadlines.clear()
    assert deadlines.first() is None
    assert len(deadlines) == 0
    entry = Entry(9.0)
    deadlines.add(entry)
    assert deadlines.first() is entry


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_the_dead_never_pile_up_in_front_of_nor_behind_the_living(step: float) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    living = Entry(-(10.0**6))
    deadlines.add(living)
    for n in range(5000):
        entry = Entry(step * n)
        deadlines.add(entry)
        settle(deadlines, entry)
        assert len(deadlines) <= 2 * 1 + 64 + 1
    assert deadlines.first() is living
    assert list(deadlines) == [living]


ACTIONS = st.lists(st.tuples(st.sampled_from(["add", "add", "settle", "first"]), st.integers(0, 12)), max_size=300)


@given(ACTIONS)
def test_the_store_agrees_with_a_sorted_list(actions: list[tuple[str, int]]) -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    living: list[Entry] = []
    for count, (action, n) in enumerate(actions):
        if action == "add":
            entry = Entry(inf if n == 12 else float(n), count)
            deadlines.add(entry)
            living.append(entry)
        elif action == "settle" and living:
            settle(deadlines, living.pop(n % len(living)))
        finite = sorted((e for e in living if e.deadline < inf), key=lambda e: (e.deadline, e.name))
        if action == "first":
            assert deadlines.first() is (finite[0] if finite else None)
        assert sorted(deadlines, key=lambda e: e.name) == sorted(finite, key=lambda e: e.name)
        assert len(deadlines) <= 2 * len(finite) + 64 + 1


def test_what_is_done_is_not_first_though_nobody_told() -> None:
    deadlines: Deadlines[Entry] = Deadlines()
    entry, later = Entry(1.0), Entry(2.0)
    deadlines.add(entry)
    deadlines.add(later)
    entry.done = True
    assert deadlines.first() is later
    assert deadlines.until == 2.0
