"""Tests that the page on performance has exactly the recorded figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import page
from benchmarks.sides import Target, Verdict
from benchmarks.turns import Result

FLOOR = Result(
    group="encode",
    name="by hand",
    unit="s",
    median=1.0156e-6,
    cpu=1e-6,
    spread=0.1,
    per_second=984563.9,
    rounds=151,
)
OURS = Result(
    group="encode", name="ours", unit="s", median=1.2345e-3, cpu=1e-3, spread=0.02, per_second=810.04, rounds=151,
    floor="by hand", ratio=1.267, ratio_quartiles=(1.2, 1.3), target=Target(2.5, 1.5), verdict=Verdict.AIM,
)  # fmt: skip
MEMORY = Result(group="memory", name="ours", unit="B", median=1234.4, spread=0.0)


def report(**changes: Any) -> dict[str, Any]:
    machine = {"python": "CPython 3.11.7", "system": "Linux x86_64", "attrs": "26.1.0"}
    results = [result.as_json() for result in (FLOOR, OURS, MEMORY)]
    return {"machine": machine, "rounds": 151, "quick": False, "results": results} | changes


def test_the_page_has_the_recorded_figures() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.on_page(text, page.figures(page.recorded())), (
        f"docs/performance.md: run {page.COMMAND}"
    )
    assert text.count("<!-- figures") == 1


def test_each_side_is_a_row_and_each_target_is_listed() -> None:
    assert page.figures(report()) == (
        "CPython 3.11.7, Linux x86_64, attrs 26.1.0; 151 rounds.\n\n"
        "### Targets\n\n"
        "|  | measured | target | verdict |\n"
        "| --- | ---: | --- | --- |\n"
        "| encode: ours | 1.27 | must ≤ 2.5, aim ≤ 1.5 | aim |\n\n"
        "### Encode\n\n"
        "|  | median | spread | of this process | a second | beside |\n"
        "| --- | ---: | ---: | ---: | ---: | --- |\n"
        "| by hand | 1.02 µs | 10% | 1 µs | 984,564 |  |\n"
        "| ours | 1.23 ms | 2% | 1 ms | 810 | 1.27 × by hand |\n\n"
        "### Memory\n\n"
        "|  | median |\n"
        "| --- | ---: |\n"
        "| ours | 1,234 B |\n\n"
    )


def test_a_written_result_reads_back() -> None:
    assert [Result.from_json(result.as_json()) for result in (FLOOR, OURS, MEMORY)] == [
        FLOOR,
        OURS,
        MEMORY,
    ]


def test_a_quick_run_is_refused_for_the_page() -> None:
    with pytest.raises(ValueError, match="needs a full run of at least 101 rounds; got a run of 5"):
        page.figures(report(rounds=5))
    with pytest.raises(ValueError, match="needs a full run"):
        page.figures(report(quick=True))


def test_the_command_writes_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy, results = tmp_path / "performance.md", tmp_path / "results.json"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setattr(page, "RESULTS", results)
    page.main()
    assert "No full run is recorded yet." in copy.read_text(encoding="utf-8")

    results.write_text('{"rounds": 5, "quick": true}', encoding="utf-8")
    with pytest.raises(SystemExit, match="needs a full run"):
        page.main()
