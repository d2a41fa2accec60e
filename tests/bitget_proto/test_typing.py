"""Tests of the types: mypy rejects a `match` that omits a member, and accepts a complete one.

All tests use one run of mypy over one generated file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from bitget_proto import Event, Message, Outcome, Output

ROOT = Path(__file__).parents[2]
# Concurrent runs of mypy must not share a cache: each process of a parallel run has its own.
CACHE = ROOT / ".mypy_cache" / f"typing-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
UNIONS: dict[str, Any] = {
    "Outcome": Outcome,
    "Event": Event,
    "Output": Output,
    "Message": Message,
}


class Case(NamedTuple):
    name: str
    union: str
    forgotten: str | None
    style: str
    """Whether the match has no final case ("open"), or ends in `assert_never`."""


def cases() -> Iterator[Case]:
    for union, members in UNIONS.items():
        names = [member.__name__ for member in get_args(members)]
        for style in ("open", "assert_never"):
            yield Case(f"{union}_complete_{style}", union, None, style)
            for name in names:
                yield Case(f"{union}_without_{name}_{style}", union, name, style)


CASES = list(cases())


def snippet(case: Case) -> list[str]:
    lines = [f"def {case.name}(value: bitget_proto.{case.union}) -> None:", "    match value:"]
    for member in get_args(UNIONS[case.union]):
        if member.__name__ != case.forgotten:
            lines += [f"        case bitget_proto.{member.__name__}():", "            pass"]
    if case.style == "assert_never":
        lines += ["        case _:", "            assert_never(value)"]
    return [*lines, ""]


OTHERS = """
def the_sent_of_an_unresolved_narrows(outcome: bitget_proto.Outcome) -> str:
    match outcome:
        case bitget_proto.Accepted():
            return outcome.id
        case bitget_proto.Rejected(code_class=bitget_proto.CodeClass.NOT_FOUND):
            return outcome.code
        case bitget_proto.Rejected():
            return outcome.message
        case bitget_proto.Unresolved():
            return outcome.why.value

def every_output_is_known(connection: bitget_proto.Connection, now: float) -> None:
    reveal_type(connection.poll(now))

def a_member_is_found_by_its_word_which_is_a_string(why: bitget_proto.WhyClosed) -> str:
    return bitget_proto.WhyClosed(why.value).value

def an_outcome_does_not_change(outcome: bitget_proto.Accepted) -> None:
    outcome.id = "other"

def an_order_does_not_change(order: bitget_proto.CancelOrder) -> None:
    order.inst_id = "other"

def a_code_may_be_missing(late: bitget_proto.LateReply) -> str:
    return late.code

def a_login_is_signed_first(connection: bitget_proto.Connection, key: bitget_proto.Credentials) -> None:
    connection.opened(0.0, login=key)
"""
REFUSED = {
    "an_outcome_does_not_change": "read-only",
    "an_order_does_not_change": "read-only",
    "a_code_may_be_missing": "Incompatible return value",
    "a_login_is_signed_first": 'expected "SignedLogin"',
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """mypy's errors by function."""
    folder = tmp_path_factory.mktemp("typing")
    lines = ["from typing import assert_never", "import bitget_proto", ""]
    for case in CASES:
        lines += snippet(case)
    lines += OTHERS.splitlines()
    (folder / "made.py").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "mypy.ini").write_text(
        "[mypy]\nstrict = true\nenable_error_code = exhaustive-match\n", "utf-8"
    )
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            "mypy.ini",
            "--cache-dir",
            str(CACHE),
            "made.py",
        ],
        cwd=folder,
        env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    functions = [
        (n, line[4 : line.index("(")]) for n, line in enumerate(lines, 1) if line.startswith("def ")
    ]
    by_function: dict[str, list[str]] = {}
    for line in run.stdout.splitlines()[:-1]:
        found = re.fullmatch(r"made\.py:(\d+): (error|note): (.*)", line)
        assert found is not None, line
        name = [function for n, function in functions if n <= int(found[1])][-1]
        by_function.setdefault(name, []).append(found[3])
    return by_function


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_match_is_rejected_exactly_when_it_omits_a_member(
    case: Case, said: dict[str, list[str]]
) -> None:
    messages = said.get(case.name, [])
    if case.forgotten is None:
        assert messages == []
    elif case.style == "open":
        assert any(
            case.forgotten in message and "[exhaustive-match]" in message for message in messages
        )
    else:
        assert any(
            case.forgotten in message and '"assert_never"' in message for message in messages
        )


def test_a_match_over_the_types_of_an_outcome_is_complete(said: dict[str, list[str]]) -> None:
    assert "the_sent_of_an_unresolved_narrows" not in said


def test_a_poll_reveals_the_closed_union(said: dict[str, list[str]]) -> None:
    (revealed,) = said["every_output_is_known"]
    for member in get_args(Output):
        assert member.__name__ in revealed
    assert "Any" not in revealed


@pytest.mark.parametrize(("function", "reason"), REFUSED.items())
def test_a_mistake_is_rejected_by_mypy(
    function: str, reason: str, said: dict[str, list[str]]
) -> None:
    assert any(reason in message for message in said[function])


def test_mypy_reports_nothing_else(said: dict[str, list[str]]) -> None:
    expected = (
        {case.name for case in CASES if case.forgotten} | set(REFUSED) | {"every_output_is_known"}
    )
    assert set(said) == expected
