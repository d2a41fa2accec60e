"""The output on the screen: nothing moves the cursor, and nothing is cut off."""

from __future__ import annotations

import io
import json

import pytest

from bitget_proto import CancelOrder, CodeClass, ExchangeError, Rejected
from bitget_transports.cli import main
from bitget_transports.cli._exit_codes import EXIT_CODES, Exit
from bitget_transports.cli._ledger import Ledger, percentile
from bitget_transports.cli._results import Results
from bitget_transports.cli._screen import Column, OutputLost, Screen, _Console, console
from bitget_transports.cli._stop import Stop

from .running import Shell

NASTY = "\x1b[2J\x1b]0;x\x07\r[bold red]x[/] :boom: \u202e\x9b31m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(width: int = 120) -> _Console:
    return _Console(
        file=Terminal(), markup=False, emoji=False, highlight=False, width=width, force_terminal=True, no_color=True,
        color_system=None, legacy_windows=False,
    )  # fmt: skip


def written(screen: Screen) -> str:
    assert isinstance(screen.out.file, io.StringIO)
    return screen.out.file.getvalue()


@pytest.mark.parametrize("plain", [True, False])
def test_text_from_the_peer_is_escaped_and_its_markup_is_plain_text(plain: bool) -> None:
    out = console(io.StringIO()) if plain else terminal(200)
    screen = Screen(out=out, err=out)
    order = CancelOrder("BTCUSDT", client_oid="[red]:boom:")
    results = Results(Ledger([order]), screen, Stop(), "here", 1.0)
    list(results.ledger.orders())
    results.on_outcome(
        Rejected(
            id="1", order=order, taken_at=0.0, sent_at=0.0, resolved_at=1.0, code="99", code_class=CodeClass.UNLISTED,
            message=NASTY, exchange_ts=None,
        )
    )  # fmt: skip
    results.on_event(
        ExchangeError(code="30016", code_class=CodeClass.PROTOCOL, message=NASTY, text=NASTY)
    )
    assert results.show() is Exit.REJECTED
    text = written(screen)
    assert "\\x1b[2J" in text
    assert "[bold red]x[/] :boom: \\u202e" in text
    assert "client [red]:boom:" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_json_line_is_ascii_and_round_trips() -> None:
    screen = Screen(json=True, out=console(io.StringIO()), err=console(io.StringIO()))
    screen.data("x", text=NASTY + "\x7f\udfff")
    line = written(screen)
    assert line.isascii()
    assert line.rstrip("\n").isprintable()
    assert json.loads(line) == {"type": "x", "text": NASTY + "\x7f\udfff"}


COLUMNS = (Column("order"), Column("n", number=True))


def test_a_table_that_is_too_wide_loses_its_frame_but_not_its_text() -> None:
    wide, narrow = (Screen(out=terminal(width)) for width in (60, 25))
    for screen in (wide, narrow):
        screen.table(COLUMNS, [("1376695893517410304", "1"), ("2\n3", "10")])
        assert "1376695893517410304" in written(screen)
    assert "╭" in written(wide)
    assert "╭" not in written(narrow)


def test_a_table_is_not_cut_without_a_terminal() -> None:
    screen = Screen(out=console(io.StringIO()))
    screen.table(COLUMNS, [("x" * 500, "1")])
    assert written(screen).splitlines()[1] == "x" * 500 + "  1"


def test_characters_outside_the_encoding_are_escaped() -> None:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding="ascii")
    screen = Screen(out=console(file), err=console(file))
    screen.say("snö")
    screen.table(COLUMNS, [("ö", "1")])
    file.flush()
    assert b"sn\\xf6" in written.getvalue()


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(out=console(Terminal()))
    screen.say("x", "red")
    assert ("\x1b[31m" in written(screen)) is not no_color


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_failed_write_to_the_output_is_reported() -> None:
    screen = Screen(json=True, out=console(Full()), err=console(Full()))
    with pytest.raises(OutputLost, match="No space left"):
        screen.data("x")
    with pytest.raises(OutputLost, match="No space left"):
        screen.table(COLUMNS, [("1", "1")])
    screen.aside("not read")


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 2.0), (0.99, 4.0), (0.0, 1.0), (0.25, 1.0), (0.26, 2.0)]
)
def test_a_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == value
    assert percentile([], share) is None


# --- help and arguments ---


@pytest.mark.parametrize("command", ["demo", "orders", "replay", "exchange"])
def test_every_command_has_help_with_examples_in_ascii(shell: Shell, command: str) -> None:
    ran = shell(command, "--help")
    assert ran.code == 0
    assert "examples:" in ran.out
    assert ran.out.isascii()
    assert f"bitget-cancel {command}" in ran.out


def test_the_help_lists_every_exit_code(shell: Shell) -> None:
    assert EXIT_CODES in shell("orders", "--help").out
    for code in Exit:
        assert f"{int(code)}" in EXIT_CODES


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("demo", "--orders", "0"),
        ("demo", "--transport", "carrier-pigeon"),
        ("orders", "--timeout", "nan", "1"),
        ("orders", "--timeout", "0", "1"),
        ("orders", "--demo-trading", "--url", "wss://x/", "1"),
        ("orders", "--secret", "x"),
        ("exchange", "--port", "65536"),
        ("exchange", "--fault", "x"),
        ("orders", "--\x1b[2J"),
    ],
)
def test_wrong_arguments_are_exit_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    ran = shell(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


def test_an_unknown_option_shows_the_usage_of_its_command(
    shell: Shell,
) -> None:
    assert shell("replay", "--jsn", "record").err.startswith("usage: bitget-cancel replay [-h]")


def test_a_traceback_is_shown_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["orders", "--debug", "--file", "/no/such", "--instrument", "X", "1"]) == 2
    assert "Traceback" in capsys.readouterr().err
