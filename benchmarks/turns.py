"""How a group is measured: its sides take turns.

Rules of this file
- The sides of a group take turns (A B C A B C …, each round beginning with another one), so that what else the machine does
  hits them all alike. A ratio is the median of the ratios within the rounds.
- A first round is thrown away: whatever is made or looked up once has been by then.
- The garbage collector is off, and has collected before, except where a side asks for it.
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
"""The part of its time that a turn has in a quick run."""


@attrs.frozen(kw_only=True)
class Result:
    """What one side took."""

    group: str
    name: str
    unit: str
    """`s` for seconds, `B` for bytes."""

    median: float
    """Of one, over the rounds."""

    spread: float
    """Between the first and the third quartile of the rounds lies this part of the median."""

    cpu: float | None = None
    """Seconds of this process alone: what a round trip costs while the other end has a core of its own."""

    per_second: float | None = None
    megabytes_per_second: float | None = None
    floor: str | None = None
    by_rate: bool = False
    ratio: float | None = None
    """To the floor; None where there is none."""

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
    """Build the sides of a group, and let them take their turns."""
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
    """How many times take about so long."""
    count = 1
    while (took := side.turn(count).seconds) < seconds / 2:
        count *= 2
    return max(1, round(count * seconds / took))


def _result(group: Group, side: Side, turns: list[Turn], of_all: dict[str, list[float]]) -> Result:
    times = of_all[side.name]
    first, median, third = _quartiles(times)
    ratios = None
    # A floor can have been skipped.
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
