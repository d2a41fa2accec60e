"""`python -m benchmarks.page`: writes the figures of `benchmarks/results.json` into docs/performance.md.

Rules of this file
- No figure on the page is written by hand, and none is rounded further than its spread allows to be told apart.
- A quick run is for finding out whether the benchmarks work: it has no place on the page.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
COMMAND = "python -m benchmarks --json benchmarks/results.json && python -m benchmarks.page"

FEWEST_ROUNDS = 101
"""Of fewer, the quartiles say little."""

_HEAD = ("", "median", "of this process", "spread", "beside its floor", "a second")
_FIGURES = re.compile(
    f"(?<=<!-- figures: made by {re.escape(COMMAND)} -->\n\n).*?(?=<!-- end of figures -->)", re.DOTALL
)


def figures(report: Mapping[str, Any] | None) -> str:
    """The marked part of the page, for a report as `python -m benchmarks --json` writes it; None when there is none yet.

    Raises: ValueError for a report of too few rounds.
    """
    if report is None:
        return "No full run is recorded yet.\n\n"
    if report["rounds"] < FEWEST_ROUNDS:
        raise ValueError(
            f"a report of {report['rounds']} rounds is for trying out; the page needs {FEWEST_ROUNDS} or more"
        )
    machine = ", ".join(
        part if name in ("python", "system") else f"{name} {part}" for name, part in report["machine"].items()
    )
    return f"{machine}; {report['rounds']} rounds.\n\n" + "".join(_groups(report["results"]))


def _groups(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name, group in groupby(results, lambda result: result["group"]):
        rows = [_row(result) for result in group]
        table = "".join(f"| {' | '.join(row)} |\n" for row in (_HEAD, ("---", *["---:"] * 5), *rows))
        yield f"### {name[0].upper()}{name[1:]}\n\n{table}\n"


def _row(result: Mapping[str, Any]) -> tuple[str, ...]:
    beside = "the floor" if result["ratio"] is None else f"{result['ratio']:.2f} × {result['floor']}"
    return (
        result["name"],
        _microseconds(result["microseconds"]),
        _microseconds(result["cpu_microseconds"]),
        f"{result['spread']:.0%}",
        beside,
        f"{result['per_second']:,.0f}",
    )


def _microseconds(value: float) -> str:
    return f"{value:.3g} µs" if value < 1000 else f"{value:,.0f} µs"


def on_page(text: str, part: str) -> str:
    """The page with this part in it."""
    return _FIGURES.sub(lambda _: part, text)


def recorded() -> Mapping[str, Any] | None:
    """The report that the page is made of, if there is one."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


def main() -> None:
    """Write the page anew."""
    try:
        part = figures(recorded())
    except ValueError as error:
        sys.exit(f"{RESULTS.name}: {error}")
    PAGE.write_text(on_page(PAGE.read_text(encoding="utf-8"), part), encoding="utf-8")


if __name__ == "__main__":
    main()
