"""Reading a reply."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import ACCEPTED, REFUSED, Side, decode

SIDES = (*decode("decode accepted", ACCEPTED), *decode("decode refused", REFUSED))


@pytest.mark.parametrize("side", SIDES, ids=[side.title for side in SIDES])
def test_a_reply_is_read(measure: Callable[[Side], None], side: Side) -> None:
    measure(side)
