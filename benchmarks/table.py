"""Prints results as plain tables."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.sides import Skipped, Target, Verdict
from benchmarks.turns import Result

_HEAD = (
    "median",
    "spread",
    "cpu",
    "a second",
    "MB/s",
    "ratio",
    "quartiles",
    "must",
    "aim",
    "verdict",
)
_WIDTHS = (10, 7, 10, 12, 6, 7, 13, 7, 6, 8)
_NAME = 44


def show_group(name: str, results: Sequence[Result], skipped: Sequence[Skipped]) -> None:
    """Print the results of a group, in the given order, and its skipped sides."""
    print(f"{name}\n  {'':<{_NAME}}" + _cells(_HEAD) + "  beside")
    for result in results:
        print(
            (
                f"  {result.name:<{_NAME}}" + _cells(cells(result)) + f"  {result.floor or ''}"
            ).rstrip()
        )
    for part in skipped:
        print(f"  {part.name}: skipped, {part.why}")
    print(flush=True)


def show_targets(results: Sequence[Result]) -> None:
    """Print each result that has a target, with its verdict."""
    judged = [result for result in results if result.target is not None]
    if not judged:
        return
    print("targets")
    for result in judged:
        verdict = "" if result.verdict is None else result.verdict.value
        print(
            f"  {f'{result.group}: {result.name}':<76}{figure(result):>10}{bounds(result.target):>26}  {verdict}"
        )
    counts = [sum(result.verdict is verdict for result in judged) for verdict in Verdict]
    print(f"  {counts[0]} aim, {counts[1]} must, {counts[2]} missed", flush=True)


def cells(result: Result) -> tuple[str, ...]:
    """Return the cells of a result's row."""
    target = result.target
    quartiles = result.ratio_quartiles
    return (
        amount(result.median, result.unit),
        f"{result.spread:.0%}" if result.unit == "s" else "",
        "" if result.cpu is None else amount(result.cpu, "s"),
        "" if result.per_second is None else f"{result.per_second:,.0f}",
        "" if result.megabytes_per_second is None else f"{result.megabytes_per_second:,.0f}",
        "" if result.ratio is None else f"{result.ratio:.2f}",
        "" if quartiles is None else f"{quartiles[0]:.2f}–{quartiles[1]:.2f}",
        "" if target is None else bound(target.must),
        "" if target is None else bound(target.aim),
        "" if result.verdict is None else result.verdict.value,
    )


def figure(result: Result) -> str:
    """Return the figure that is compared with the target."""
    if result.unit == "B":
        return amount(result.median, "B")
    return "no floor" if result.ratio is None else f"{result.ratio:.2f}"


def bounds(target: Target | None) -> str:
    """Return the bounds of a target as text."""
    if target is None:
        return ""
    sign = "≥" if target.at_least else "≤"
    return f"must {sign} {bound(target.must)}, aim {sign} {bound(target.aim)}"


def bound(value: float) -> str:
    return f"{value:g}"


def amount(value: float, unit: str) -> str:
    """Format bytes, or seconds with three significant digits."""
    if unit == "B":
        return f"{value:,.0f} B" if value < 10_240 else f"{value / 1024:,.1f} KiB"
    for scale, name in ((1e-6, "µs"), (1e-3, "ms")):
        if value < 1000 * scale:
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g} s"


def _cells(values: Sequence[str]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, _WIDTHS, strict=True))
