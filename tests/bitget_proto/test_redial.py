"""Tests of when the next link may be dialled."""

from __future__ import annotations

from itertools import pairwise
from math import inf, nan
from typing import cast

import pytest

from bitget_proto import CallerError, SessionConfig
from bitget_proto._machine.backoff import Draw, Redial


def redial(config: SessionConfig, jitter: float = 0.0) -> Redial:
    return Redial(config, lambda: jitter)


def allowed_at(made: Redial) -> float:
    at = made.allowed_at()
    assert not isinstance(at, CallerError)
    return at


def test_the_first_dial_is_immediate() -> None:
    assert redial(SessionConfig()).allowed_at() == -inf


def test_the_backoff_doubles_to_its_bound_and_a_steady_link_resets_it() -> None:
    made = redial(SessionConfig(backoff_min=0.5, backoff_max=3.0, steady_after=60.0))
    waits: list[float] = []
    for _ in range(5):
        made.back_off(100.0)
        waits.append(allowed_at(made) - 100.0)
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    made.served(59.9)
    made.back_off(100.0)
    assert made.allowed_at() == 103.0
    made.served(60.0)
    made.back_off(100.0)
    assert made.allowed_at() == 100.5


@pytest.mark.parametrize(("jitter", "part"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5), (1, 0.5)])
def test_jitter_subtracts_up_to_a_half(jitter: float, part: float) -> None:
    made = redial(SessionConfig(backoff_min=8.0), jitter)
    made.back_off(0.0)
    assert made.allowed_at() == 8.0 * part


class Incomparable(float):
    def __ge__(self, other: object) -> bool:
        raise TimeoutError("not a number any more")

    __le__ = __ge__


@pytest.mark.parametrize(
    ("jitter", "detail"),
    [
        (nan, "got the float nan')"),
        (-1.0, "got the float -1.0')"),
        (1.1, "got the float 1.1')"),
        (inf, "got the float inf')"),
        (cast("float", None), "got None')"),
        (cast("float", "1"), "got '1'\")"),
        (Incomparable(), "TimeoutError('not a number any more')"),
    ],
)
def test_invalid_jitter_is_reported_once_and_subtracts_nothing(jitter: float, detail: str) -> None:
    made = redial(SessionConfig(backoff_min=8.0), jitter)
    made.back_off(0.0)
    failure = made.allowed_at()
    assert isinstance(failure, CallerError)
    assert failure.where == "jitter"
    assert failure.detail.endswith(detail)
    assert made.allowed_at() == 8.0


def test_jitter_is_drawn_once_per_backoff_and_only_when_needed() -> None:
    numbers = iter([1.0, 0.5])
    made = Redial(SessionConfig(backoff_min=8.0), lambda: next(numbers))
    assert made.allowed_at() == -inf
    made.back_off(0.0)
    assert [made.allowed_at(), made.allowed_at()] == [4.0, 4.0]
    made.back_off(100.0)
    assert [made.allowed_at(), made.allowed_at()] == [112.0, 112.0]


def test_an_error_of_jitter_is_returned_once_per_backoff() -> None:
    numbers = iter(list[float]())  # deliberately empty
    made = Redial(SessionConfig(backoff_min=8.0), lambda: next(numbers))
    for start, backoff in ((0.0, 8.0), (100.0, 16.0)):
        made.back_off(start)
        failure = made.allowed_at()
        assert failure == CallerError(where="jitter", detail="StopIteration()")
        assert isinstance(failure, CallerError)
        assert isinstance(failure.error, StopIteration)
        assert made.allowed_at() == start + backoff


def test_an_interrupt_in_jitter_passes_and_the_backoff_has_no_jitter() -> None:
    def interrupted() -> float:
        raise KeyboardInterrupt

    made = Redial(SessionConfig(backoff_min=8.0), interrupted)
    made.back_off(1.0)
    with pytest.raises(KeyboardInterrupt):
        made.allowed_at()
    assert made.allowed_at() == 9.0


def test_a_recorder_wraps_the_jitter() -> None:
    made = redial(SessionConfig(backoff_min=8.0), 1.0)

    def halved(jitter: Draw) -> Draw:
        return lambda: 0.5 if jitter() == 1.0 else 0.0

    made.wrap_jitter(halved)
    made.back_off(0.0)
    assert made.allowed_at() == 6.0


def test_a_hastened_dial_waits_at_most_a_first_backoff() -> None:
    made = redial(SessionConfig(backoff_min=1.0, steady_after=2.0))
    for _ in range(4):
        made.back_off(0.0)
    assert made.allowed_at() == 8.0
    made.hasten(1.0)
    assert made.allowed_at() == 8.0, "the link was not steady"
    made.served(60.0)
    made.hasten(7.0)
    assert made.allowed_at() == 8.0, "not earlier than the backoff"
    made.hasten(6.5)
    assert made.allowed_at() == 7.5
    made.back_off(10.0)
    assert made.allowed_at() == 12.0, "it counts as the first failure"


def test_hasten_changes_nothing_without_a_backoff() -> None:
    made = redial(SessionConfig(backoff_min=None))
    made.back_off(5.0)
    made.hasten(1.0)
    assert made.allowed_at() == 5.0


def test_the_next_dial_waits_for_the_retry_after_of_the_exchange() -> None:
    made = redial(SessionConfig(backoff_min=8.0))
    made.back_off(0.0)
    made.retry_after(0.0, 60.0)
    assert made.allowed_at() == 60.0
    made.retry_after(1.0, 5.0)
    assert made.allowed_at() == 60.0, "the later time applies"
    made.back_off(59.0)
    assert made.allowed_at() == 59.0 + 16.0, "the backoff applies when it is longer"


@pytest.mark.parametrize(
    ("seconds", "granted"),
    [(0.0, 0.0), (299.0, 299.0), (300.0, 300.0), (301.0, 300.0), (inf, 300.0)],
)
def test_a_retry_after_counts_for_at_most_300_seconds(seconds: float, granted: float) -> None:
    made = redial(SessionConfig())
    made.retry_after(100.0, seconds)
    assert made.allowed_at() == 100.0 + granted


def test_without_steady_after_any_link_that_served_is_steady() -> None:
    made = redial(SessionConfig(steady_after=None))
    for _ in range(3):
        made.back_off(0.0)
        assert made.allowed_at() == 0.5
        made.served(0.0)


def test_without_a_bound_the_backoff_doubles_and_stays_finite() -> None:
    made = redial(SessionConfig(backoff_max=None))
    for _ in range(5000):
        made.back_off(0.0)
    assert 1e15 < allowed_at(made) < inf


def test_without_a_backoff_the_limit_of_five_minutes_still_holds() -> None:
    made = redial(SessionConfig(backoff_min=None, dials_per_5_minutes=7))
    now = 0.0
    dials: list[float] = []
    for _ in range(50):
        now = max(now, allowed_at(made))
        dials.append(now)
        made.dialled(now)
        now += 1.0
        made.back_off(now)
    assert all(later >= at + 300.0 for at, later in zip(dials, dials[7:], strict=False))
    assert {later - at for at, later in pairwise(dials)} == {1.0, 294.0}


def test_without_a_limit_of_dials_only_the_backoff_applies() -> None:
    made = redial(SessionConfig(dials_per_5_minutes=None))
    for _ in range(1000):
        made.dialled(0.0)
    assert made.allowed_at() == -inf


def test_after_a_steady_link_hasten_shortens_the_wait() -> None:
    redial = Redial(SessionConfig(backoff_min=0.5, backoff_max=30.0), lambda: 0.0)
    for _ in range(5):
        redial.back_off(100.0)
    assert redial.allowed_at() == 108.0
    redial.served(2.0)
    redial.hasten(101.0)
    assert redial.allowed_at() == 101.5


def test_after_an_unsteady_link_hasten_changes_nothing() -> None:
    redial = Redial(SessionConfig(backoff_min=0.5, backoff_max=30.0), lambda: 0.0)
    for _ in range(5):
        redial.back_off(100.0)
    redial.served(1.0)
    redial.hasten(101.0)
    assert redial.allowed_at() == 108.0


def test_hasten_does_not_delay_an_earlier_dial() -> None:
    redial = Redial(SessionConfig(backoff_min=0.5), lambda: 0.0)
    redial.back_off(100.0)
    redial.served(60.0)
    redial.hasten(100.25)
    assert redial.allowed_at() == 100.5


def test_without_backoff_min_hasten_changes_nothing() -> None:
    redial = Redial(SessionConfig(backoff_min=None), lambda: 0.0)
    redial.back_off(100.0)
    redial.served(60.0)
    redial.hasten(100.25)
    assert redial.allowed_at() == 100.0
