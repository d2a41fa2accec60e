"""Tests that the page on codes and errors matches the code.

Run as a script to regenerate those parts.
"""

from __future__ import annotations

import re
from inspect import getdoc
from pathlib import Path

import pytest

from bitget_proto import CodeClass, LocalProtocolError, NoRoom, ValidationError
from bitget_proto._values.codes import FATAL_ERRORS, NOTES, TOO_MANY_REQUESTS
from bitget_proto.explain import _without_id, codes_of, outcome_of
from bitget_proto.testing import ContractBroken, DriverError
from bitget_transports import ConnectFailed, LoginRefused, UpgradeRefused
from bitget_transports._driver.errors import _LOGIN_HINTS, _UPGRADE_HINTS

PAGE = Path(__file__).parents[1] / "docs" / "codes.md"
COMMAND = "python tests/test_docs_codes.py"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def anchor(code_class: CodeClass) -> str:
    """The anchor of a class on the page, as both GitHub and MyST derive it from its heading."""
    return code_class.name.lower()


def classes() -> str:
    rows: list[tuple[str, ...]] = [
        (
            f"[`{code_class.name}`](#{anchor(code_class)})",
            f"`{outcome_of(code_class)}`",
            code_class.sentence,
        )
        for code_class in CodeClass
    ]
    return table(("`CodeClass`", "A cancel that is answered so ends", "What it says"), rows)


def codes() -> str:
    parts: list[str] = []
    for code_class in CodeClass:
        known = codes_of(code_class)
        if not known:
            continue
        noted: list[tuple[str, ...]] = [
            (f"`{code}`", accounts, NOTES[code])
            for code, accounts in known.items()
            if code in NOTES
        ]
        listed = [
            f"`{code}`" if accounts == "both" else f"`{code}` ({accounts})"
            for code, accounts in known.items()
            if code not in NOTES
        ]
        part = f"### {code_class.name}\n\n{code_class.sentence} Ends `{outcome_of(code_class)}`.\n"
        if noted:
            part += "\n" + table(("Code", "Accounts", "What is known of it"), noted)
        if listed:
            part += f"\n{'Also ' if noted else ''}{', '.join(listed)}.\n"
        parts.append(part)
    return "\n".join(parts)


def without_id() -> str:
    rows: list[tuple[str, ...]] = []
    for code in (*filter(None, FATAL_ERRORS), TOO_MANY_REQUESTS, "30033", "30016"):
        _, _, more = _without_id(code, CodeClass.of(code)).partition("; ")
        rows.append((f"`{code}`", f"`{CodeClass.of(code).name}`", more.rstrip(".") or "nothing"))
    return table(("Code", "`CodeClass`", "What it does to the connection"), rows)


def exceptions() -> str:
    rows: list[tuple[str, ...]] = []
    for error in (
        LocalProtocolError,
        ValidationError,
        NoRoom,
        ConnectFailed,
        UpgradeRefused,
        LoginRefused,
        DriverError,
        ContractBroken,
    ):
        module = error.__module__.split("._")[0]
        bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
        about = " ".join((getdoc(error) or "").split("\n\n")[0].split())
        rows.append((f"`{module}.{error.__name__}`", bases, about))
    return table(("Exception", "Is a", "When"), rows)


def hints() -> str:
    rows: list[tuple[str, ...]] = [(f"code `{code}`", hint) for code, hint in _LOGIN_HINTS.items()]
    rows += [(f"HTTP status `{status}`", hint) for status, hint in _UPGRADE_HINTS.items()]
    return table(("Refused with", "What to do"), rows)


PARTS = {
    "classes": classes(),
    "codes": codes(),
    "errors without an id": without_id(),
    "exceptions": exceptions(),
    "hints": hints(),
}


def between_markers(name: str) -> re.Pattern[str]:
    return re.compile(
        f"(?<=<!-- {name}: made by {COMMAND} -->\n\n).*?(?=<!-- end of {name} -->)", re.DOTALL
    )


@pytest.mark.parametrize("name", PARTS)
def test_the_page_says_what_the_code_says(name: str) -> None:
    found = between_markers(name).findall(PAGE.read_text(encoding="utf-8"))
    assert found == [PARTS[name] + "\n"], f"docs/codes.md differs from the code: run {COMMAND}"


def test_the_page_names_every_class_and_every_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for code_class in CodeClass:
        assert f"`{code_class.name}`" in text
        for code in codes_of(code_class):
            assert f"`{code}`" in text
    assert "| |" not in text


def test_every_link_to_a_class_has_its_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= headings


def write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, part in PARTS.items():
        text = between_markers(name).sub((part + "\n").replace("\\", r"\\"), text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
