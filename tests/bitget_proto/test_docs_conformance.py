"""Tests that the page on the conformance kit matches the kit.

Run as a script to regenerate that part.
"""

from __future__ import annotations

import re
from pathlib import Path

from bitget_proto.testing import Rule
from bitget_proto.testing._kit.runner import OF_SESSIONS, SCENARIOS
from bitget_proto.testing._kit.scenario import Scenario

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "conformance.md"
COMMAND = "python tests/bitget_proto/test_docs_conformance.py"
PARTS: dict[str, tuple[Scenario, ...]] = {"scenarios": SCENARIOS, "session scenarios": OF_SESSIONS}


def part(name: str) -> re.Pattern[str]:
    return re.compile(
        f"(?<=<!-- {name}: made by {COMMAND} -->\n\n).*?(?=\n<!-- end of {name} -->)", re.DOTALL
    )


def table(scenarios: tuple[Scenario, ...]) -> str:
    lines = [
        "| Rule | Scenario | What is played and demanded | What it tolerates |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {rule.value} | {one.name} | {one.tells} | {one.tolerates or '-'} |"
        for rule in Rule
        for one in scenarios
        if one.rule is rule
    ]
    return "\n".join(lines) + "\n"


def test_the_page_says_what_the_kit_does() -> None:
    for name, scenarios in PARTS.items():
        assert part(name).findall(PAGE.read_text("utf-8")) == [table(scenarios)], (
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
    assert len(titles) == 12


def write() -> None:
    text = PAGE.read_text("utf-8")
    for name, scenarios in PARTS.items():
        for before in part(name).findall(text):
            text = text.replace(before, table(scenarios))
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
