"""Tests that troubleshooting and cheat sheet agree with the messages and defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bitget_proto
import bitget_transports

ROOT = Path(__file__).parents[1]
MESSAGES = (ROOT / "tests" / "messages.txt").read_text("utf-8") + "".join(
    # A message that is broken over two lines is one text.
    re.sub(r'"\s+f?"', "", path.read_text("utf-8"))
    for path in (ROOT / "src").rglob("*.py")
)
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8").partition("## By error message")[2]
SHEET = (ROOT / "docs" / "cheat-sheet.md").read_text("utf-8")

QUOTED = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
DEFAULTS = re.findall(r"^\| `(\w+)\.(\w+)` \| ([\d,]+)( s)? \|", SHEET, re.MULTILINE)


def test_the_tables_are_found() -> None:
    assert len(QUOTED) > 20
    assert len(DEFAULTS) > 8


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_of_the_page_is_one_of_the_code(message: str) -> None:
    assert message in MESSAGES


@pytest.mark.parametrize(("owner", "field", "value", "_unit"), DEFAULTS)
def test_a_default_of_the_sheet_is_that_of_the_code(
    owner: str, field: str, value: str, _unit: str
) -> None:
    settings = getattr(bitget_proto, owner, None) or getattr(bitget_transports, owner)
    assert getattr(settings(), field) == float(value.replace(",", ""))
