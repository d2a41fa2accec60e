"""A cancel's life: taken, handed out, answered, settled."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import IN_FLIGHT, Side, cycle

SIDES = [side for count in IN_FLIGHT for side in cycle(count)]


@pytest.mark.parametrize("side", SIDES, ids=[side.title for side in SIDES])
def test_a_cancel_lives(measure: Callable[[Side], None], side: Side) -> None:
    measure(side)
