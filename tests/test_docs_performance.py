"""The page on performance has the recorded figures, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import page


def report(**changes: Any) -> dict[str, Any]:
    floor = {
        "group": "encode",
        "name": "by hand",
        "floor": None,
        "microseconds": 1.0156,
        "cpu_microseconds": 1.0,
        "spread": 0.1,
        "ratio": None,
        "per_second": 984563.9,
        "megabytes_per_second": 136.8,
    }
    ours = floor | {"name": "ours", "floor": "by hand", "microseconds": 1234.5, "ratio": 1.267, "per_second": 810.04}
    machine = {"python": "CPython 3.11.7", "system": "Linux x86_64", "attrs": "26.1.0"}
    return {"machine": machine, "rounds": 151, "results": [floor, ours]} | changes


def test_the_page_has_what_is_recorded() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.on_page(text, page.figures(page.recorded())), f"docs/performance.md: run {page.COMMAND}"
    assert text.count("<!-- figures") == 1


def test_each_side_is_a_row_of_its_group() -> None:
    assert page.figures(report()) == (
        "CPython 3.11.7, Linux x86_64, attrs 26.1.0; 151 rounds.\n\n"
        "### Encode\n\n"
        "|  | median | of this process | spread | beside its floor | a second |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| by hand | 1.02 µs | 1 µs | 10% | the floor | 984,564 |\n"
        "| ours | 1,234 µs | 1 µs | 10% | 1.27 × by hand | 810 |\n\n"
    )


def test_a_quick_run_has_no_place_on_the_page() -> None:
    with pytest.raises(ValueError, match="5 rounds is for trying out"):
        page.figures(report(rounds=5))


def test_the_command_writes_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy, results = tmp_path / "performance.md", tmp_path / "results.json"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setattr(page, "RESULTS", results)
    page.main()
    assert "No full run is recorded yet." in copy.read_text(encoding="utf-8")

    results.write_text('{"rounds": 5}', encoding="utf-8")
    with pytest.raises(SystemExit, match="for trying out"):
        page.main()
