"""Writing a cancel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import Side, build, encode

SIDES = (*encode(), *build())


@pytest.mark.parametrize("side", SIDES, ids=[side.title for side in SIDES])
def test_a_cancel_is_written(measure: Callable[[Side], None], side: Side) -> None:
    measure(side)
