"""`python -m benchmarks`: compare encoding, decoding and cancelling with floors and peers.

The times depend on this machine and its load; compare only ratios between machines. A side that
cannot be measured is reported with the reason. A missed target is reported too, but is not an
error: the machine may be busy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import (
    at_the_limit,
    codec,
    cycles,
    floods,
    imports,
    memory,
    peers,
    plots,
    round_trips,
    table,
)
from benchmarks.machine import machine
from benchmarks.sides import Group, missing
from benchmarks.turns import QUICK_ROUNDS, ROUNDS, Result, measure

_EXAMPLES = """\
examples:
  python -m benchmarks --list
  python -m benchmarks --quick
  python -m benchmarks decode --json results.json --plots plots
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write the JSON and the plots. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(
            "Measure encoding, decoding and cancelling, compared with floors and other libraries."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "filter",
        nargs="?",
        default="",
        metavar="NAME",
        help="run only the groups whose name contains NAME",
    )
    parser.add_argument(
        "--list", action="store_true", help="print the names of the groups and exit"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run a few short rounds, to check that the benchmarks work",
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"the number of rounds (default: {ROUNDS})"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the results to this file"
    )
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="DIR",
        help="draw the results as SVG files in this directory; needs matplotlib",
    )
    arguments = parser.parse_args(argv)
    if arguments.plots is not None and (absent := missing("matplotlib", "--plots")) is not None:
        parser.error(f"--plots: {absent.why}")
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    chosen = [group for group in groups() if arguments.filter in group.name]
    if not chosen:
        parser.error(f"no group name contains {arguments.filter!r}: --list prints all names")
    if arguments.list:
        print(*(group.name for group in chosen), sep="\n")
        return 0

    results: list[Result] = []
    for group in chosen:
        measured, skipped = measure(group, rounds, quick=arguments.quick)
        table.show_group(group.name, measured, skipped)
        results += measured
    table.show_targets(results)
    if arguments.json is not None:
        report = {
            "machine": machine(),
            "rounds": rounds,
            "quick": arguments.quick,
            "results": [result.as_json() for result in results],
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if arguments.plots is not None:
        for file in plots.draw(results, arguments.plots):
            print(file)
    return 0


def groups() -> Iterator[Group]:
    """Yield all groups."""
    for module in (codec, cycles, at_the_limit, peers, memory, imports, round_trips, floods):
        yield from module.groups()


if __name__ == "__main__":
    sys.exit(main())
