"""`python -m pytest benchmarks`: the sides of `cases` under pytest-benchmark, a table for each group.

pytest-benchmark measures one side after the other. On a machine that is busy with other things as well, believe the ratios
of `python -m benchmarks`, which takes turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from benchmarks.cases import Side


class _Benchmark(Protocol):
    """What is used of pytest-benchmark's fixture, which has no annotations."""

    group: str | None
    extra_info: dict[str, object]

    def __call__(self, measured: Callable[[], object], /) -> object: ...


@pytest.fixture
def measure(benchmark: _Benchmark) -> Callable[[Side], None]:
    """Measure one side, in the table of its group."""

    def measure_side(side: Side) -> None:
        benchmark.group = side.group
        benchmark.extra_info.update(floor=side.floor, size=side.size)
        benchmark(side.run)

    return measure_side
