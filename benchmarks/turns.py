"""Measures a group: its sides take turns.

- The sides run in turn (A B C, B C A, ...), each round starting with another one, so that other
  load of the machine affects all alike. A ratio is the median of the ratios within the rounds.
- The first round is discarded, because it fills caches.
- The garbage collector runs before the rounds and is off during them, except for a side with
  `collector`.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
from cattrs import Converter

from benchmarks.sides import Group, Side, Skipped, Target, Turn, Verdict, Weight

ROUNDS = 151
QUICK_ROUNDS = 3
_QUICK = 0.02
"""The duration of a turn in a quick run, as a fraction of the usual one."""


@attrs.frozen(kw_only=True)
class Result:
    """The result of one side."""

    group: str
    name: str
    unit: str
    """`s` for seconds, `B` for bytes."""

    median: float
    """The median over the rounds, for one frame or cancel."""

    spread: float
    """The distance between the first and the third quartile, as a fraction of the median."""

    cpu: float | None = None
    """Processor time of this process only, in seconds: the client's part of a round trip."""

    per_second: float | None = None
    megabytes_per_second: float | None = None
    floor: str | None = None
    by_rate: bool = False
    ratio: float | None = None
    """The ratio to the floor; None without a floor."""

    ratio_quartiles: tuple[float, float] | None = None
    target: Target | None = None
    verdict: Verdict | None = None
    rounds: int = 1

    def as_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = _CONVERTER.unstructure(self)
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        return _CONVERTER.structure(data, cls)


_CONVERTER = Converter(forbid_extra_keys=True)


def measure(group: Group, rounds: int, *, quick: bool) -> tuple[list[Result], list[Skipped]]:
    """Build the sides of a group and measure them. Return the results and the skipped sides."""
    with ExitStack() as stack:
        parts = group.sides(stack)
        results = [_weighed(group, part, quick=quick) for part in parts if isinstance(part, Weight)]
        taken = _take_turns(
            [part for part in parts if isinstance(part, Side)],
            max(3, round(rounds * group.rounds)),
            group.seconds * (_QUICK if quick else 1.0),
        )
    of_all = {side.name: [turn.seconds for turn in turns] for side, turns in taken}
    results += [_result(group, side, turns, of_all) for side, turns in taken]
    return results, [part for part in parts if isinstance(part, Skipped)]


def _take_turns(
    sides: Sequence[Side], rounds: int, seconds: float
) -> list[tuple[Side, list[Turn]]]:
    counts = [_how_often(side, seconds) for side in sides]
    taken: list[tuple[Side, list[Turn]]] = [(side, []) for side in sides]
    gc.collect()
    gc.disable()
    try:
        for number in range(-1, rounds):
            for place in range(len(sides)):
                which = (number + place) % len(sides)
                side, turns = taken[which]
                if side.collector:
                    gc.enable()
                turn = side.turn(counts[which])
                gc.disable()
                if number >= 0:
                    times = counts[which] * side.per
                    turns.append(Turn(turn.seconds / times, turn.cpu_seconds / times))
    finally:
        gc.enable()
    return taken


def _how_often(side: Side, seconds: float) -> int:
    """Return the number of repetitions that takes about `seconds`."""
    count = 1
    while (took := side.turn(count).seconds) < seconds / 2:
        count *= 2
    return max(1, round(count * seconds / took))


def _result(group: Group, side: Side, turns: list[Turn], of_all: dict[str, list[float]]) -> Result:
    times = of_all[side.name]
    first, median, third = _quartiles(times)
    ratios = None
    # The floor may have been skipped.
    floor = side.floor if side.floor in of_all else None
    if floor is not None:
        ratios = _quartiles([
            its / ours if group.by_rate else ours / its
            for ours, its in zip(times, of_all[floor], strict=True)
        ])  # fmt: skip
    return Result(
        group=group.name,
        name=side.name,
        unit="s",
        median=median,
        spread=(third - first) / median,
        cpu=statistics.median(turn.cpu_seconds for turn in turns),
        per_second=1 / median,
        megabytes_per_second=None if side.size is None else side.size / side.per / median / 1e6,
        floor=floor,
        by_rate=group.by_rate,
        ratio=None if ratios is None else ratios[1],
        ratio_quartiles=None if ratios is None else (ratios[0], ratios[2]),
        target=side.target,
        verdict=None if side.target is None or ratios is None else side.target.verdict(ratios[1]),
        rounds=len(times),
    )


def _weighed(group: Group, weight: Weight, *, quick: bool) -> Result:
    size = weight.weigh(quick)
    verdict = None if weight.target is None else weight.target.verdict(size)
    return Result(
        group=group.name,
        name=weight.name,
        unit="B",
        median=size,
        spread=0.0,
        target=weight.target,
        verdict=verdict,
    )


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, median, third
