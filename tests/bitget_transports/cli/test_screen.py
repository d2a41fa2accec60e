"""The output on the screen: nothing moves the cursor, and nothing is cut off."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bitget_proto import (
    CancelOrder,
    CodeClass,
    ExchangeError,
    Rejected,
    Unresolved,
    WhyUnresolved,
)
from bitget_transports.cli import main
from bitget_transports.cli._exit_codes import EXIT_CODES, Exit
from bitget_transports.cli._help import FAULTS, FAULTS_HELP
from bitget_transports.cli._ledger import Ledger, percentile
from bitget_transports.cli._results import Results
from bitget_transports.cli._screen import Column, OutputLost, Screen, _Console, console
from bitget_transports.cli._stop import Stop
from bitget_transports.cli._wrapping import wrapped

from .running import Shell, finished, process

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


WRAPPING = (Column("order"), Column("outcome", wraps=True), Column("detail", wraps=True))
ROW = ("1376695893517410304", "unresolved, not sent", 'unsure: 40010 "Request timed out"')


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_table_wraps_between_words(width: int) -> None:
    screen = Screen(out=terminal(width))
    screen.table(WRAPPING, [ROW] * 2)
    shown = [line.split() for line in written(screen).splitlines()]
    assert max(map(len, written(screen).splitlines())) <= width
    words = {word for line in shown for word in line}
    assert {word for cell in ROW for word in cell.split()} <= words


def test_rows_become_lists_where_a_table_does_not_fit() -> None:
    screen = Screen(out=terminal(35))
    screen.table((*WRAPPING, Column("p50/\nms", number=True)), [(*ROW, "")] * 2)
    text = written(screen)
    assert max(map(len, text.splitlines())) <= 35
    assert text.count("order   1376695893517410304") == 2
    assert text.count('detail  unsure: 40010 "Request') == 2
    assert "p50" not in text  # the cell is empty


def test_a_cell_has_the_style_of_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(out=console(Terminal()))
    screen.table((Column("outcome", styles={"rejected": "yellow"}),), [("rejected",), ("x",)])
    assert "\x1b[33mrejected\x1b[0m" in written(screen)
    assert "\x1b[33mx" not in written(screen)


def test_text_wraps_below_its_label() -> None:
    screen = Screen(out=terminal(30))
    screen.say("    51  accepted: the exchange cancelled each")
    assert written(screen).splitlines() == [
        "    51  accepted: the exchange",
        "        cancelled each",
    ]


@pytest.mark.parametrize("width", [60, 120])
def test_progress_is_not_cut(width: int) -> None:
    screen = Screen(err=terminal(width))
    with screen.progress() as progress:
        progress.add_task("anyio on asyncio", total=9000, completed=1234, said="1 accepted, " * 3)
    text = written(Screen(out=screen.err))
    assert "1234/9000" in text
    assert "…" not in text


@pytest.mark.parametrize(("remaining", "shown"), [(False, ["2", "1", "3"]), (True, ["1", "3"])])
def test_cancels_never_sent_are_listed_first_or_in_their_file_and_the_others_in_order(
    remaining: bool, shown: list[str]
) -> None:
    orders = [CancelOrder("BTCUSDT", str(n)) for n in range(1, 4)]
    out = console(io.StringIO())
    screen = Screen(out=out, err=out)
    results = Results(Ledger(orders), screen, Stop(), "here", 1.0, remaining=remaining)
    list(results.ledger.orders())
    for n in (1, 2, 0):
        never = n == 1
        results.on_outcome(
            Unresolved(
                id=str(n), order=orders[n], taken_at=0.0, sent_at=None if never else 0.0, resolved_at=1.0,
                sent=not never, why=WhyUnresolved.CLOSED, code=None, message=None,
            )
        )  # fmt: skip
    results.show()
    table = written(screen).splitlines()[1 : len(shown) + 1]
    assert [line.split()[1] for line in table] == shown


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


@pytest.mark.parametrize("command", ["demo", "orders", "all", "replay", "exchange"])
def test_every_command_has_help_with_examples_in_ascii(shell: Shell, command: str) -> None:
    ran = shell(command, "--help")
    assert ran.code == 0
    assert "examples:" in ran.out
    assert ran.out.isascii()
    assert f"bitget-cancel {command}" in ran.out


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("command", ["", "demo", "orders", "all", "replay", "exchange"])
def test_the_help_fits_the_terminal_and_uses_its_width(
    shell: Shell, command: str, width: int
) -> None:
    shell.patch.setenv("COLUMNS", str(width))
    lines = shell(*command.split(), "--help").out.splitlines()
    assert width - 25 < max(map(len, lines)) <= width or (not command and width == 160)


def test_the_help_explains_every_fault() -> None:
    lines = FAULTS_HELP.splitlines()[1:]
    assert len(lines) == len(FAULTS)
    assert [line for line in lines if len(line.split()) < 3] == []


def test_lists_and_labels_keep_their_shape_and_commands_stay_commands() -> None:
    text = (
        "A sentence that goes\non.\n\n  0    one two three\n       four\n"
        "  - five six seven\n  bitget-cancel orders --file x\n"
    )
    assert wrapped(text, 20).splitlines() == [
        "A sentence that goes", "on.", "", "  0    one two three", "       four", "  - five six seven",
        "  bitget-cancel \\", "      orders \\", "      --file x",
    ]  # fmt: skip
    assert wrapped(text, 80).splitlines() == [
        "A sentence that goes on.", "", "  0    one two three four", "  - five six seven",
        "  bitget-cancel orders --file x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("bitget-cancel or", {"orders"}),
        ("bitget-cancel orders --inst", {"--instrument", "--inst-type"}),
        ("bitget-cancel orders --inst-type C", {"COIN-FUTURES"}),
        ("bitget-cancel demo --transport ", {"anyio", "trio", "asyncio", "blocking"}),
    ],
)
def test_a_shell_completes_commands_options_and_values(
    tmp_path: Path, typed: str, completed: set[str]
) -> None:
    found = tmp_path / "completed"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(found),
        "_ARGCOMPLETE_IFS": "\n",
    }
    with process(
        environment=asked | {"COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    ) as running:
        assert finished(running).code == 0
    assert {word.strip() for word in found.read_text().splitlines()} == completed


def test_both_modules_run_the_command() -> None:
    for module in ("bitget_transports", "bitget_transports.cli"):
        ran = subprocess.run(
            [sys.executable, "-m", module, "--version"], check=True, capture_output=True, text=True
        )
        assert ran.stdout.startswith("bitget-proto ")


def test_the_help_lists_every_exit_code(shell: Shell) -> None:
    shell.patch.setenv("COLUMNS", "102")
    assert wrapped(EXIT_CODES, 100) in shell("orders", "--help").out
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
