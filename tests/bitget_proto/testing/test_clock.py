from __future__ import annotations

import pytest

from bitget_proto import ValidationError
from bitget_proto.testing import VirtualClock


def test_time_only_moves_when_advanced() -> None:
    clock = VirtualClock(5.0)
    assert clock.now == clock() == 5.0
    clock.advance(1.5)
    assert clock() == 6.5
    clock.advance_to(7.0)
    assert clock.now == 7.0
    assert repr(clock) == "VirtualClock(7.0)"


def test_a_time_in_the_past_changes_nothing() -> None:
    clock = VirtualClock(5.0)
    clock.advance_to(4.0)
    assert clock.now == 5.0


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_time_can_run_neither_backwards_nor_forever(seconds: float) -> None:
    clock = VirtualClock()
    with pytest.raises(ValidationError, match="seconds must be a finite number from 0 up"):
        clock.advance(seconds)
    assert clock.now == 0.0


@pytest.mark.parametrize("now", [float("-inf"), float("inf"), float("nan")])
def test_a_time_that_is_not_finite_is_refused(now: float) -> None:
    clock = VirtualClock()
    with pytest.raises(ValidationError, match="now must be a finite number"):
        clock.advance_to(now)
    assert clock.now == 0.0
