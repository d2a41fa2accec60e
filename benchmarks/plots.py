"""`--plots DIR`: draws the results as SVG files.

A bar is a median; the line on it spans the quartiles. Floors are grey. The same results give the
same files: no date, no random ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.turns import Result

_PICTURES = (
    ("throughput", "Megabytes a second", ("encode", "decode")),
    ("cycle", "Cycle of a cancel in process, µs", ("cycle", "peers")),
    ("round-trips", "Round trip of a cancel on one core, µs", ("round trip", "64 in flight")),
)
_FLOOR, _OURS, _OTHERS = "#b8bec8", "#1f6feb", "#d99a2b"
_STYLE = {
    "svg.hashsalt": "bitget-proto",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write the plots for which there are results, and return their files."""
    # Imported here because it is slow to import.
    rc_context = import_module("matplotlib").rc_context

    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with rc_context(_STYLE):
        for name, title, groups in _PICTURES:
            if shown := _shown(name, groups, results):
                files.append(folder / f"{name}.svg")
                _bars(shown, title, files[-1], megabytes=name == "throughput")
    return files


def pictures(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the file names and titles of the plots that `draw` would write."""
    return [
        (f"{name}.svg", title) for name, title, groups in _PICTURES if _shown(name, groups, results)
    ]


def _shown(name: str, groups: tuple[str, ...], results: Sequence[Result]) -> list[Result]:
    return [
        result
        for result in results
        if result.group.startswith(groups)
        and "free" not in result.group
        and (name != "throughput" or result.megabytes_per_second is not None)
    ]


def _bars(results: Sequence[Result], title: str, file: Path, *, megabytes: bool) -> None:
    # A row is a heading, the name of a group, or a bar.
    rows: list[str | Result] = []
    for group, members in groupby(results, key=lambda result: result.group):
        rows += [group, *members]
    # Any, because matplotlib's annotations are incomplete.
    figure: Any = import_module("matplotlib.figure").Figure(
        figsize=(8, 0.7 + 0.2 * len(rows)), layout="constrained"
    )
    axes = figure.subplots()
    for place, row in enumerate(rows):
        if isinstance(row, str):
            axes.annotate(
                row, (0, place), xytext=(-8, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="center", weight="bold",
            )  # fmt: skip
            continue
        value = (row.megabytes_per_second or 0.0) if megabytes else row.median * 1e6
        error = value * row.spread / 2
        axes.barh(place, value, xerr=error, color=_color_of(row), ecolor="#444444")
        axes.annotate(
            f"{value:,.3g}", (value + error, place), xytext=(6, 0), textcoords="offset points",
            va="center",
        )  # fmt: skip
    places = [place for place, row in enumerate(rows) if not isinstance(row, str)]
    axes.set_yticks(places, [row.name for row in rows if not isinstance(row, str)])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.12)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    figure.savefig(file, metadata={"Date": None})


def _color_of(result: Result) -> str:
    if result.name.startswith(
        ("Codec", "Connection", "bitget_transports", "a ready", "a Signed", "strings", "…")
    ):
        return _OURS
    return _OTHERS if result.group.startswith("peers") else _FLOOR
