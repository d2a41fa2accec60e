"""Tests that the page on sessions matches the code. Run as a script to regenerate those parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bitget_proto import SessionState, WhyEnded
from bitget_proto._machine.session_states import SESSION_TRANSITIONS, SessionStep, session_diagram

PAGE = Path(__file__).parents[2] / "docs" / "session.md"
COMMAND = "python tests/bitget_proto/test_docs_session.py"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def states() -> str:
    rows: list[tuple[str, ...]] = [
        (
            f"`{state.name}`",
            state.sentence,
            ", ".join(f"`{target.name}`" for target in dict.fromkeys(row.values())) or "-",
        )
        for state, row in SESSION_TRANSITIONS.items()
    ]
    return table(("State", "What it means", "Leads to"), rows)


def causes() -> str:
    rows: list[tuple[str, ...]] = []
    for cause in (*SessionStep, *WhyEnded):
        found = [f"`{state.name}`" for state, row in SESSION_TRANSITIONS.items() if cause in row]
        rows.append((f"`{type(cause).__name__}.{cause.name}`", cause.sentence, ", ".join(found)))
    return table(("Cause", "What it means", "Possible in"), rows)


PARTS = {"diagram": f"```mermaid\n{session_diagram()}```\n", "states": states(), "causes": causes()}


def between_markers(name: str) -> re.Pattern[str]:
    return re.compile(
        f"(?<=<!-- {name}: made by {COMMAND} -->\n\n).*?(?=\n?<!-- end of {name} -->)", re.DOTALL
    )


@pytest.mark.parametrize("name", PARTS)
def test_the_page_says_what_the_code_says(name: str) -> None:
    found = between_markers(name).findall(PAGE.read_text(encoding="utf-8"))
    assert found == [PARTS[name]], f"docs/session.md differs from the code: run {COMMAND}"


def test_the_tables_name_every_state_and_cause() -> None:
    assert list(SESSION_TRANSITIONS) == list(SessionState)
    for text in PARTS.values():
        assert "| |" not in text


def write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, part in PARTS.items():
        text = between_markers(name).sub((part + "\n").replace("\\", r"\\"), text)
    PAGE.write_text(re.sub(r"\n{3,}", "\n\n", text), encoding="utf-8")


if __name__ == "__main__":
    write()
