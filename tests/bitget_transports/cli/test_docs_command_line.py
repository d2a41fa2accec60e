"""docs/command-line.md: its commands are valid, and it lists what the command has."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bitget_proto import CancelOrder
from bitget_proto.testing import ScriptedExchange
from bitget_transports.cli._arguments import parser
from bitget_transports.cli._exit_codes import Exit
from bitget_transports.cli._outcome_rows import STATES
from bitget_transports.cli._profiles import _CHECKS, apply
from bitget_transports.exchange import exchange_in_thread

from .running import Shell

# A command may go on in the next line.
PAGE = re.sub(
    r" \\\n +", " ", (Path(__file__).parents[3] / "docs" / "command-line.md").read_text("utf-8")
)
_is_command = re.compile(
    r"\$ (\.venv/bin/)?bitget-cancel |\$ docker run |bitget-cancel all |ExecStart=|0 22 "
).match
COMMANDS = list(
    dict.fromkeys(
        line[line.index("bitget-cancel ") :] for line in PAGE.splitlines() if _is_command(line)
    )
)


def section(title: str) -> str:
    """Return the text below a heading, up to the next one of its level."""
    level = re.search(rf"^(#+) {title}$", PAGE, re.MULTILINE)
    assert level is not None, title
    rest = PAGE[level.end() :]
    return re.split(rf"^#{{1,{len(level[1])}}} ", rest, flags=re.MULTILINE)[0]


def subcommands() -> dict[str, argparse.ArgumentParser]:
    for action in parser()._actions:
        if action.dest == "command":
            choices: Any = action.choices
            return dict(choices)
    raise AssertionError


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_valid(line: str) -> None:
    assert parser().parse_args(shlex.split(line)[1:]).command in subcommands()


def test_the_page_has_commands_of_every_kind() -> None:
    words = {word for line in COMMANDS for word in line.split()}
    assert subcommands().keys() <= words
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("command", ["orders", "all", "exchange"])
def test_every_option_is_on_the_page(command: str) -> None:
    text = PAGE if command == "exchange" else section("Commands")
    listed = {"-h", *re.findall("--[a-z-]+", text)}
    options = [
        option for action in subcommands()[command]._actions for option in action.option_strings
    ]
    assert [option for option in options if option not in listed] == []


def test_every_exit_code_and_state_is_on_the_page() -> None:
    listed = re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.MULTILINE)
    codes = {int(code) for row in listed for code in row.split(",")}
    assert codes == set(Exit)
    assert set(re.findall(r"^\| ([a-z ]+) \|", section("orders"), re.MULTILINE)) - {
        "option",
        "state",
    } == set(STATES)


def test_the_profiles_of_the_page_are_valid(tmp_path: Path) -> None:
    text = PAGE.split("```toml\n")[1].split("```")[0]
    file = tmp_path / "profiles.toml"
    file.write_text(text)
    for name in tomllib.loads(text):
        arguments = parser().parse_args(
            ["orders", "--config", str(file), "--profile", name, "--instrument", "BTCUSDT", "1"]
        )
        apply(arguments, {})
        assert arguments.transport
    assert [key for key in _CHECKS if f"`{key}`" not in section("Profiles")] == []


def test_the_first_cancel_shows_what_the_page_shows(shell: Shell) -> None:
    orders = [CancelOrder("BTCUSDT", str(1000001 + n), f"mine-{n + 1}") for n in range(3)]
    command = next(line for line in COMMANDS if "--confirm 1000001" in line)
    with exchange_in_thread(ScriptedExchange(orders)) as server:
        words = shlex.split(command)[1:]
        words[words.index("--url") + 1] = server.url
        ran = shell(*words)
    assert ran.code == 0
    shown = section("A first cancel").split("```text\n")[1].split("```")[0]
    assert without_times(ran.out) == without_times(shown)


def without_times(text: str) -> list[Any]:
    return [re.sub(r"\b\d+( ms\)|$)", "", line).split() for line in text.splitlines()]
