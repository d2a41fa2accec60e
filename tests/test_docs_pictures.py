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


def script(name: str) -> Any:
    spec = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = script("pictures")
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


# --- state diagrams ---

DIAGRAMS = [
    text
    for page in sorted((ROOT / "docs").glob("*.md"))
    for text in re.findall(
        r"^```mermaid\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
]


@pytest.mark.parametrize("text", DIAGRAMS, ids=["session", "connection"])
def test_a_state_diagram_has_every_state_and_every_cause(text: str) -> None:
    module = script("state_diagrams")
    transitions = module.transitions(text)
    assert len(transitions) == text.count("-->") > 5
    svg = module.state_diagram(text)
    drawn = words(svg)
    for before, after, causes in transitions:
        assert {before, after} - {"[*]"} <= set(drawn)
        for cause in causes:
            assert any(cause in " ".join(drawn[n : n + 3]) for n in range(len(drawn)))
    assert svg.count('class="arrow"') == len([step for step in transitions if step[1] != "[*]"])


@pytest.mark.parametrize(
    ("text", "what"),
    [("graph TD\n A --> B", "only stateDiagram-v2"), ("stateDiagram-v2\n A --- B", "'A --- B'")],
)
def test_a_diagram_that_cannot_be_drawn_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        script("state_diagrams").state_diagram(text)
