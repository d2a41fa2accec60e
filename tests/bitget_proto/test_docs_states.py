"""Tests that the page on states matches the code. Run as a script to regenerate those parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from bitget_proto import State, Timer, WhyClosed
from bitget_proto._values.states import TRANSITIONS, Step, diagram

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
COMMAND = "python tests/bitget_proto/test_docs_states.py"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def states() -> str:
    rows = [
        (
            f"`{state.name}`",
            state.sentence,
            ", ".join(f"`{target.name}`" for target in dict.fromkeys(row.values())) or "-",
        )
        for state, row in TRANSITIONS.items()
    ]
    return table(("State", "What it means", "Leads to"), rows)


def causes() -> str:
    rows: list[tuple[str, ...]] = []
    for cause in (*Step, *WhyClosed):
        found = [f"`{state.name}`" for state, row in TRANSITIONS.items() if cause in row]
        rows.append((f"`{type(cause).__name__}.{cause.name}`", cause.sentence, ", ".join(found)))
    return table(("Cause", "What it means", "Possible in"), rows)


def timers() -> str:
    return table(
        ("Timer", "A driver is asked to wake up…"),
        [(f"`{timer.name}`", timer.sentence) for timer in Timer],
    )


PARTS = {
    "diagram": f"```mermaid\n{diagram()}```\n",
    "states": states(),
    "causes": causes(),
    "timers": timers(),
}


def between_markers(name: str) -> re.Pattern[str]:
    return re.compile(
        f"(?<=<!-- {name}: made by {COMMAND} -->\n\n).*?(?=\n<!-- end of {name} -->)", re.DOTALL
    )


@pytest.mark.parametrize("name", PARTS)
def test_the_page_says_what_the_code_says(name: str) -> None:
    found = between_markers(name).findall(PAGE.read_text(encoding="utf-8"))
    assert found == [PARTS[name]], f"docs/states.md differs from the code: run {COMMAND}"


def test_the_tables_name_every_state_cause_and_timer() -> None:
    assert list(TRANSITIONS) == list(State)
    for cause in (*Step, *WhyClosed):
        assert any(cause in row for row in TRANSITIONS.values())
    for text in PARTS.values():
        assert "| |" not in text
    for timer in Timer:
        assert timer.sentence.startswith("When ")


def write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, part in PARTS.items():
        text = between_markers(name).sub(part.replace("\\", r"\\"), text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
