"""`--plots DIR`: draws the results as SVG files.

A bar is a median; the line on it spans the quartiles. Floors are grey. The same results give the
same files: no date, no random ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
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
    "font.size": 9,
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
    # Any, because matplotlib's annotations are incomplete.
    figure: Any = import_module("matplotlib.figure").Figure(
        figsize=(8, 0.8 + 0.22 * len(results)), layout="constrained"
    )
    axes = figure.subplots()
    values = [
        (result.megabytes_per_second or 0.0) if megabytes else result.median * 1e6
        for result in results
    ]
    errors = [value * result.spread / 2 for value, result in zip(values, results, strict=True)]
    places = range(len(results))
    axes.barh(
        places,
        values,
        xerr=errors,
        color=[_color_of(result) for result in results],
        ecolor="#444444",
    )
    axes.set_yticks(places, [f"{result.group}: {result.name}" for result in results])
    axes.invert_yaxis()
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value:,.3g}", (value, place), xytext=(6, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.12)
    axes.set_title(title, loc="left")
    figure.savefig(file, metadata={"Date": None})


def _color_of(result: Result) -> str:
    if result.name.startswith(
        ("Codec", "Connection", "bitget_transports", "a ready", "a Signed", "strings", "…")
    ):
        return _OURS
    return _OTHERS if result.group.startswith("peers") else _FLOOR
