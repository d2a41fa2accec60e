"""Tests of the pictures of README and tutorials: present, self-contained and up to date."""

from __future__ import annotations

import html
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = "python docs/pictures.py"


def script() -> Any:
    spec = spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = script()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("tutorial-*.md"))]


def words(svg: str) -> list[str]:
    """The text of a picture without positions, which differ between releases of rich."""
    return [
        html.unescape(text).replace("\xa0", " ").rstrip()
        for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    ]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_readme_begins_with_a_picture_made_by_the_script(page: Path) -> None:
    first_screen, _, _ = page.read_text("utf-8").partition("\n## ")
    [picture] = re.findall(r"!\[[^]]{20,}\]\(([^)]+)\.svg\)", first_screen)
    assert Path(picture).name in PICTURES.PICTURES, f"{COMMAND} makes no {picture}.svg"


@pytest.mark.parametrize("name", PICTURES.PICTURES)
def test_a_picture_loads_nothing(name: str) -> None:
    svg = (ROOT / "docs" / f"{name}.svg").read_text("utf-8")
    assert words(svg)
    assert set(re.findall(r"https?://[^\s\"']+", svg)) == {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    }
    assert not re.search(r"<(image|script|use)\b|@import|@font-face", svg)


@pytest.mark.parametrize("name", PICTURES.SAME_EACH_TIME)
def test_a_picture_of_virtual_time_shows_the_current_output(name: str) -> None:
    drawn = words(PICTURES.PICTURES[name]().svg(name))
    there = words((ROOT / "docs" / f"{name}.svg").read_text("utf-8"))
    assert there == drawn, f"docs/{name}.svg is out of date: run {COMMAND} {name}"
