"""Tests that the page on the conformance kit matches the kit.

Run as a script to regenerate that part.
"""

from __future__ import annotations

import re
from pathlib import Path

from bitget_proto.testing import Rule
from bitget_proto.testing._kit.runner import SCENARIOS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "conformance.md"
COMMAND = "python tests/bitget_proto/test_docs_conformance.py"
PART = re.compile(
    f"(?<=<!-- scenarios: made by {COMMAND} -->\n\n).*?(?=\n<!-- end of scenarios -->)", re.DOTALL
)


def table() -> str:
    lines = [
        "| Rule | Scenario | What is played and demanded | What it tolerates |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {rule.value} | {one.name} | {one.tells} | {one.tolerates or '-'} |"
        for rule in Rule
        for one in SCENARIOS
        if one.rule is rule
    ]
    return "\n".join(lines) + "\n"


def test_the_page_says_what_the_kit_does() -> None:
    assert PART.findall(PAGE.read_text("utf-8")) == [table()], (
        f"docs/conformance.md differs from the kit: run {COMMAND}"
    )


def test_every_rule_of_the_contract_has_a_name() -> None:
    titles = re.findall(
        r"^\d+\. \*\*([^.]*)\.\*\*", (DOCS / "driver.md").read_text("utf-8"), re.MULTILINE
    )
    named = {
        Rule.REARM: "Re-arm",
        Rule.WRITE: "Write whole",
        Rule.ABANDON: "Abandon the wait, not the request",
    }
    named |= {
        Rule.READ: "Read on",
        Rule.END: "One end",
        Rule.CLOCK: "One clock",
        Rule.CALLER: "One caller",
    }
    assert {named.get(rule, rule.value.capitalize()) for rule in Rule} == set(titles)
    assert len(titles) == 10


def write() -> None:
    text = PAGE.read_text("utf-8")
    PAGE.write_text(PART.sub(lambda _: table(), text), "utf-8")


if __name__ == "__main__":
    write()
