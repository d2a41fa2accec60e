"""When the next link may be dialled."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf, nan

import pytest

from bitget_proto import SessionConfig
from bitget_proto._machine.backoff import Redial


def redial(config: SessionConfig, jitter: float = 0.0) -> Redial:
    return Redial(config, lambda: jitter)


def test_the_first_dial_goes_at_once() -> None:
    assert redial(SessionConfig()).opens() == -inf


def test_the_backoff_doubles_up_to_its_bound_and_begins_anew_after_a_steady_link() -> None:
    made = redial(SessionConfig(backoff_min=0.5, backoff_max=3.0, steady_after=60.0))
    waits: list[float] = []
    for _ in range(5):
        made.back_off(100.0)
        waits.append(made.opens() - 100.0)
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    made.served(59.9)
    made.back_off(100.0)
    assert made.opens() == 103.0
    made.served(60.0)
    made.back_off(100.0)
    assert made.opens() == 100.5


@pytest.mark.parametrize(
    ("jitter", "part"),
    [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5), (nan, 1.0), (-1.0, 1.0), (1.1, 1.0), (inf, 1.0)],
)
def test_the_jitter_takes_up_to_a_half_away_and_nonsense_takes_nothing(
    jitter: float, part: float
) -> None:
    made = redial(SessionConfig(backoff_min=8.0), jitter)
    made.back_off(0.0)
    assert made.opens() == 8.0 * part


def test_the_jitter_is_asked_once_for_each_backoff_and_not_before_the_moment_is_wanted() -> None:
    numbers = iter([1.0, 0.5])
    made = Redial(SessionConfig(backoff_min=8.0), lambda: next(numbers))
    assert made.opens() == -inf
    made.back_off(0.0)
    assert [made.opens(), made.opens()] == [4.0, 4.0]
    made.back_off(100.0)
    assert [made.opens(), made.opens()] == [112.0, 112.0]


def test_what_the_jitter_raises_comes_out_once_and_then_the_whole_backoff_holds() -> None:
    numbers = iter(list[float]())  # it has none to give: this is the mistake
    made = Redial(SessionConfig(backoff_min=8.0), lambda: next(numbers))
    made.back_off(1.0)
    with pytest.raises(StopIteration):
        made.opens()
    assert made.opens() == 9.0


def test_a_recorder_stands_before_the_jitter() -> None:
    made = redial(SessionConfig(backoff_min=8.0), 1.0)

    def halved(jitter: Callable[[], float]) -> Callable[[], float]:
        return lambda: jitter() / 2

    made.overheard(halved)
    made.back_off(0.0)
    assert made.opens() == 6.0


def test_a_dial_that_is_needed_at_once_waits_for_no_more_than_a_first_backoff_if_the_link_was_steady() -> (
    None
):
    made = redial(SessionConfig(backoff_min=1.0, steady_after=2.0))
    for _ in range(4):
        made.back_off(0.0)
    assert made.opens() == 8.0
    made.hasten(1.0)
    assert made.opens() == 8.0, "the link was not steady"
    made.served(60.0)
    made.hasten(7.0)
    assert made.opens() == 8.0, "that is no later"
    made.hasten(6.5)
    assert made.opens() == 7.5
    made.back_off(10.0)
    assert made.opens() == 12.0, "it counts as the first"


def test_without_a_backoff_nothing_is_hastened() -> None:
    made = redial(SessionConfig(backoff_min=None))
    made.back_off(5.0)
    made.hasten(1.0)
    assert made.opens() == 5.0


def test_after_a_time_that_the_exchange_asks_for_the_next_dial_may_go_and_not_before() -> None:
    made = redial(SessionConfig(backoff_min=8.0))
    made.back_off(0.0)
    made.retry_after(0.0, 60.0)
    assert made.opens() == 60.0
    made.retry_after(1.0, 5.0)
    assert made.opens() == 60.0, "the later of both holds"
    made.back_off(59.0)
    assert made.opens() == 59.0 + 16.0, "the backoff holds when it is longer"


@pytest.mark.parametrize(
    ("seconds", "granted"),
    [(0.0, 0.0), (299.0, 299.0), (300.0, 300.0), (301.0, 300.0), (inf, 300.0)],
)
def test_the_exchange_is_granted_at_most_300_seconds(seconds: float, granted: float) -> None:
    made = redial(SessionConfig())
    made.retry_after(100.0, seconds)
    assert made.opens() == 100.0 + granted


def test_without_a_steady_time_any_link_that_served_is_steady() -> None:
    made = redial(SessionConfig(steady_after=None))
    for _ in range(3):
        made.back_off(0.0)
        assert made.opens() == 0.5
        made.served(0.0)


def test_without_a_bound_it_doubles_and_stays_a_number() -> None:
    made = redial(SessionConfig(backoff_max=None))
    for _ in range(5000):
        made.back_off(0.0)
    assert 1e15 < made.opens() < inf


def test_without_a_backoff_the_limit_of_five_minutes_still_holds() -> None:
    made = redial(SessionConfig(backoff_min=None, dials_per_5_minutes=7))
    now = 0.0
    dials: list[float] = []
    for _ in range(50):
        now = max(now, made.opens())
        dials.append(now)
        made.dialled(now)
        now += 1.0
        made.back_off(now)
    assert all(later >= at + 300.0 for at, later in zip(dials, dials[7:], strict=False))
    assert {later - at for at, later in pairwise(dials)} == {1.0, 294.0}


def test_without_a_limit_only_the_backoff_holds() -> None:
    made = redial(SessionConfig(dials_per_5_minutes=None))
    for _ in range(1000):
        made.dialled(0.0)
    assert made.opens() == -inf


def test_a_dial_that_is_needed_now_waits_no_longer_than_for_a_first_backoff_after_a_steady_link() -> (
    None
):
    redial = Redial(SessionConfig(backoff_min=0.5, backoff_max=30.0), lambda: 0.0)
    for _ in range(5):
        redial.back_off(100.0)
    assert redial.opens() == 108.0
    redial.served(2.0)
    redial.hasten(101.0)
    assert redial.opens() == 101.5


def test_after_a_link_that_was_not_steady_nothing_is_hastened() -> None:
    redial = Redial(SessionConfig(backoff_min=0.5, backoff_max=30.0), lambda: 0.0)
    for _ in range(5):
        redial.back_off(100.0)
    redial.served(1.0)
    redial.hasten(101.0)
    assert redial.opens() == 108.0


def test_a_dial_that_is_sooner_stays() -> None:
    redial = Redial(SessionConfig(backoff_min=0.5), lambda: 0.0)
    redial.back_off(100.0)
    redial.served(60.0)
    redial.hasten(100.25)
    assert redial.opens() == 100.5


def test_without_a_backoff_there_is_nothing_to_hasten() -> None:
    redial = Redial(SessionConfig(backoff_min=None), lambda: 0.0)
    redial.back_off(100.0)
    redial.served(60.0)
    redial.hasten(100.25)
    assert redial.opens() == 100.0
