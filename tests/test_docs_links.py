"""Tests that links between pages work on disk and in a repository, and that code fits the page.

The build of the docs checks links on the site, anchors included.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CRONTAB = re.compile(r"(\d+ |\* ){5}")
"""A line of a crontab, which cannot be broken."""

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_points_to_an_existing_file(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    links = [
        link
        for link in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in link and not link.startswith("#")
    ]
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


def test_every_page_is_linked_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.name not in ("index.md", "changelog.md", "contributing.md"):
            assert f"]({page.name})" in index, f"docs/index.md has no link to {page.name}"


def test_the_pictures_of_the_docs_exist() -> None:
    for page in PAGES:
        for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / picture).is_file()


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_text_of_a_link_to_a_page_is_its_title(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"\[[^]]*\.md\]\(|\[\]\(", text)
    assert not found, "write the title of the page, as in [Sessions](session.md)"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_code_fits_the_page(page: Path) -> None:
    """At most 88 columns, and 100 of output, which is set smaller."""
    too_long = [
        line
        for language, code in re.findall(
            r"^ *```(\w*)[^\n]*\n(.*?)^ *```",
            page.read_text(encoding="utf-8"),
            flags=re.DOTALL | re.MULTILINE,
        )
        for line in code.splitlines()
        if len(line) > (100 if language == "text" else 88)
        if language != "mermaid" and not CRONTAB.match(line)
    ]
    # The commands of README can be copied as one line, and `.ci/run` runs them.
    if page.name == "README.md":
        too_long = [line for line in too_long if not line.startswith("$ python3 -m venv")]
    assert not too_long
