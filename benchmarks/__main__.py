"""`python -m benchmarks`: the sides of `cases` and `round_trips`, measured in turns, with their ratio to the floor.

Rules of this file
- The sides of a group take turns (A B C A B C …, each round beginning with another one), so that what else the machine does
  hits them all alike. A ratio is the median of the ratios within the rounds.
- A round runs a side as often as takes about two milliseconds, with the garbage collector off and collected before.
- The numbers are of this machine and this moment. Only the ratios travel.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from itertools import groupby, repeat
from pathlib import Path
from time import perf_counter_ns, process_time_ns

import attrs

from benchmarks.cases import Side, sides
from benchmarks.round_trips import round_trips

_ROUNDS, _SECONDS_A_TURN = 151, 2e-3
_QUICK_ROUNDS, _QUICK_SECONDS_A_TURN = 5, 1e-4


@attrs.frozen(kw_only=True)
class Result:
    """What one side took."""

    group: str
    name: str
    floor: str | None
    microseconds: float
    """The median over the rounds."""

    spread: float
    """Between the first and the third quartile of the rounds lies this part of the median."""

    ratio: float | None
    """To the floor; None for a floor."""

    cpu_microseconds: float
    """Of this process alone: what a round trip costs while the other end has a core of its own."""

    per_second: float
    """How often in a second: frames for encode, build and decode, cancels for a cycle and a round trip."""

    megabytes_per_second: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("filter", nargs="?", default="", metavar="NAME", help="only groups whose name holds this")
    parser.add_argument("--quick", action="store_true", help="a few short rounds: whether it works, not how fast")
    parser.add_argument("--rounds", type=int, help=f"how many rounds (default: {_ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    arguments = parser.parse_args(argv)
    rounds = arguments.rounds or (_QUICK_ROUNDS if arguments.quick else _ROUNDS)
    seconds = _QUICK_SECONDS_A_TURN if arguments.quick else _SECONDS_A_TURN

    results: list[Result] = []
    for stage in (nullcontext(list(sides())), round_trips(0), round_trips(None)):
        with stage as connected:
            for name, group in groupby(connected, lambda side: side.group):
                if arguments.filter in name:
                    measured = measure(list(group), max(rounds, 3), seconds)
                    print_group(name, measured)
                    results += measured
    if not results:
        parser.error(f"no group has {arguments.filter!r} in its name")
    if arguments.json is not None:
        report = {"machine": machine(), "rounds": rounds, "results": [attrs.asdict(result) for result in results]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(group: list[Side], rounds: int, seconds: float) -> list[Result]:
    """Let the sides of one group take turns."""
    counts = [_how_often(side.run, seconds) for side in group]
    taken: list[list[float]] = [[] for _ in group]
    cpu: list[list[float]] = [[] for _ in group]
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for place in range(len(group)):
                number = (turn + place) % len(group)
                before = process_time_ns()
                taken[number].append(_timed(group[number].run, counts[number]))
                cpu[number].append((process_time_ns() - before) / counts[number] / 1e9)
    finally:
        gc.enable()
    places = {side.name: number for number, side in enumerate(group)}
    return [
        _result(side, taken[number], cpu[number], None if side.floor is None else taken[places[side.floor]])
        for number, side in enumerate(group)
    ]


def _how_often(run: Callable[[], object], seconds: float) -> int:
    """How many runs take about so long; it warms the caches on the way."""
    count = 1
    while (took := _timed(run, count) * count) < seconds / 2:
        count *= 2
    return max(1, round(count * seconds / took))


def _timed(run: Callable[[], object], count: int) -> float:
    """Seconds for one run, over so many."""
    start = perf_counter_ns()
    for _ in repeat(None, count):
        run()
    return (perf_counter_ns() - start) / count / 1e9


def _result(side: Side, times: list[float], cpu: list[float], floor: list[float] | None) -> Result:
    first, median, third = statistics.quantiles(times, n=4, method="inclusive")
    return Result(
        group=side.group,
        name=side.name,
        floor=side.floor,
        microseconds=median / side.per * 1e6,
        cpu_microseconds=statistics.median(cpu) / side.per * 1e6,
        spread=(third - first) / median,
        ratio=None if floor is None else statistics.median(ours / its for ours, its in zip(times, floor, strict=True)),
        per_second=side.per / median,
        megabytes_per_second=None if side.size is None else side.size / median / 1e6,
    )


def print_group(name: str, results: list[Result]) -> None:
    """One group as a plain table."""
    print(f"{name}\n{'':2}{'':<48}{'median':>10}{'cpu':>10}{'spread':>8}{'ratio':>7}{'a second':>12}{'MB/s':>8}  floor")
    for result in results:
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        megabytes = "" if result.megabytes_per_second is None else f"{result.megabytes_per_second:.0f}"
        cpu = f"{result.cpu_microseconds:.2f} us"
        print(
            f"{'':2}{result.name:<48}{result.microseconds:>7.2f} us{cpu:>10}{result.spread:>8.0%}{ratio:>7}"
            f"{result.per_second:>12,.0f}{megabytes:>8}  {result.floor or 'a floor itself'}"
        )
    print(flush=True)


def machine() -> dict[str, str]:
    """What the numbers were taken on."""
    parts = ("bitget-proto", "attrs", "cattrs", "msgspec", "orjson")
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        **{part: version(part) for part in parts},
    }


if __name__ == "__main__":
    sys.exit(main())
