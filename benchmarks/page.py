"""`python -m benchmarks.page`: write `benchmarks/results.json` into docs/performance.md.

It draws the plots too. No figure on the page is written by hand. Quick runs are refused: they only
check that the benchmarks work.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.table import amount, bounds, figure
from benchmarks.turns import Result

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
COMMAND = "python -m benchmarks --json benchmarks/results.json && python -m benchmarks.page"

FEWEST_ROUNDS = 101
"""With fewer rounds the quartiles are not meaningful."""

_FIGURES = re.compile(
    f"(?<=<!-- figures: made by {re.escape(COMMAND)} -->\n\n).*?(?=<!-- end of figures -->)",
    re.DOTALL,
)


def figures(report: Mapping[str, Any] | None) -> str:
    """Return the generated part of the page for a report of `python -m benchmarks --json`.

    `report` is None when there is no report yet.

    Raises: ValueError for a quick run, or one with too few rounds.
    """
    if report is None:
        return "No full run is recorded yet.\n\n"
    if report["quick"] or report["rounds"] < FEWEST_ROUNDS:
        raise ValueError(
            f"the page needs a full run of at least {FEWEST_ROUNDS} rounds; "
            f"got a {'quick ' if report['quick'] else ''}run of {report['rounds']}"
        )
    machine = ", ".join(
        part if name in ("python", "system") else f"{name} {part}"
        for name, part in report["machine"].items()
    )
    results = [Result.from_json(result) for result in report["results"]]
    return (
        f"{machine}; {report['rounds']} rounds.\n\n{_targets(results)}{_pictures(results)}"
        + "".join(_groups(results))
    )


def _targets(results: Sequence[Result]) -> str:
    rows = [
        (
            f"{result.group}: {result.name}",
            figure(result),
            bounds(result.target),
            result.verdict.value,
        )
        for result in results
        if result.verdict is not None
    ]
    head = ("", "measured", "target", "verdict")
    return f"### Targets\n\n{_table(head, rows, left=(0, 2, 3))}\n" if rows else ""


def _pictures(results: Sequence[Result]) -> str:
    return "".join(f"![{title}](pictures/{name})\n\n" for name, title in plots.pictures(results))


def _groups(results: Sequence[Result]) -> Iterator[str]:
    for name, group in groupby(results, lambda result: result.group):
        of_group = list(group)
        columns = [
            (head, left, column)
            for head, left, column in (
                ("", True, [result.name for result in of_group]),
                ("median", False, [amount(result.median, result.unit) for result in of_group]),
                (
                    "spread",
                    False,
                    [f"{result.spread:.0%}" if result.unit == "s" else "" for result in of_group],
                ),
                (
                    "of this process",
                    False,
                    ["" if result.cpu is None else amount(result.cpu, "s") for result in of_group],
                ),
                (
                    "a second",
                    False,
                    [
                        "" if result.per_second is None else f"{result.per_second:,.0f}"
                        for result in of_group
                    ],
                ),
                ("MB/s", False, [_megabytes(result) for result in of_group]),
                ("beside", True, [_beside(result) for result in of_group]),
            )
            # Empty columns are left out.
            if any(column)
        ]
        heads, lefts, cells = zip(*columns, strict=True)
        left = [number for number, is_left in enumerate(lefts) if is_left]
        yield f"### {name[0].upper()}{name[1:]}\n\n{_table(heads, list(zip(*cells, strict=True)), left)}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    line = ["---" if number in left else "---:" for number in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, line, *rows))


def _megabytes(result: Result) -> str:
    return "" if result.megabytes_per_second is None else f"{result.megabytes_per_second:,.0f}"


def _beside(result: Result) -> str:
    if result.ratio is None:
        return ""
    return f"{result.ratio:.2f} × {'as many as ' if result.by_rate else ''}{result.floor}"


def on_page(text: str, part: str) -> str:
    """Return the page with its generated part replaced."""
    return _FIGURES.sub(lambda _: part, text)


def recorded() -> Mapping[str, Any] | None:
    """Return the report for the page, or None when there is none."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


def main() -> None:
    """Write the page and the plots."""
    try:
        part = figures(recorded())
    except ValueError as error:
        sys.exit(f"{RESULTS.name}: {error}")
    report = recorded()
    if report is not None:
        plots.draw(
            [Result.from_json(result) for result in report["results"]], PAGE.parent / "pictures"
        )
    PAGE.write_text(on_page(PAGE.read_text(encoding="utf-8"), part), encoding="utf-8")


if __name__ == "__main__":
    main()
