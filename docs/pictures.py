"""Make the pictures of README and the tutorials from real runs: python docs/pictures.py [NAME ...].

- A picture shows the real output of the command that it names, or of the code on its page.
- A picture loads nothing from the network. rich would add web fonts; they are removed.
- The pictures in `SAME_EACH_TIME` run in virtual time, and a test compares them with the current
  output. The others show measured times.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from bitget_proto import CancelOrder, Connection, Trace, record
from bitget_proto.testing import Fault, Pair, ScriptedExchange
from bitget_proto.testing.__main__ import main as conformance
from bitget_transports.cli import _demo, _orders, _traces
from bitget_transports.cli._arguments import parser
from bitget_transports.cli._keys import VARIABLES
from bitget_transports.cli._profiles import apply
from bitget_transports.cli._screen import Column, Screen, console
from bitget_transports.cli._stop import Stop
from bitget_transports.cli._timeline import timeline
from bitget_transports.exchange import exchange_in_thread

DOCS = Path(__file__).parent
WIDTH = 98


class Terminal:
    """Records the output of a terminal, to draw it as SVG."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.out = Console(
            file=io.StringIO(), record=True, force_terminal=True, width=WIDTH, color_system="truecolor", markup=False,
            highlight=False, emoji=False, legacy_windows=False,
        )  # fmt: skip
        self.screen = Screen(out=self.out, err=console(cast("IO[str]", _Into(self.out))))

    def typed(self, *lines: str) -> None:
        """Show lines as typed at a prompt."""
        for number, line in enumerate(lines):
            self.out.print(Text(f"{' ' if number else '$'} {line}", style="bold"))

    def ran(self, run: Callable[..., int], *arguments: str) -> None:
        """Run a command as `bitget-cancel` does, and record its output."""
        given = parser().parse_args(arguments)
        apply(given, {})
        run(given, self.screen, Stop())

    def svg(self, name: str) -> str:
        """Return the recorded output as SVG, without web fonts; `name` is the prefix of its ids."""
        svg = self.out.export_svg(title=self._title, theme=MONOKAI, unique_id=name)
        svg = svg.replace("Fira Code", "Menlo, Consolas, 'DejaVu Sans Mono'")
        svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
        return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


class _Into(io.TextIOBase):
    """A standard error stream that writes to the console of standard output."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def write(self, text: str) -> int:
        self._out.print(Text(text), end="")
        return len(text)


# --- the pictures ---


def demo() -> Terminal:
    """Draw the demonstration of README."""
    terminal = Terminal("bitget-cancel demo")
    terminal.typed("bitget-cancel demo")
    terminal.ran(_demo.run, "demo")
    return terminal


def tutorial_transport() -> Terminal:
    """Draw three of the four kinds of answers, and a session that continues after a drop."""
    ids = ("1001", "9999", "1002", "1003")
    book = [CancelOrder("BTCUSDT", order_id=id) for id in ids if id != "9999"]
    os.environ.update(zip(VARIABLES.values(), ("key", "secret", "passphrase"), strict=True))
    terminal = Terminal("an exchange that drops the connection after the third cancel")
    with exchange_in_thread(ScriptedExchange(book)) as server:
        server.inject(None, None, Fault.DROP_AFTER)
        command = ("orders", "--url", server.url, "--instrument", "BTCUSDT", *ids)
        terminal.typed(
            f"bitget-cancel orders --url {server.url} \\",
            "    --instrument BTCUSDT " + " ".join(ids),
        )
        terminal.ran(_orders.run, *command)
    return terminal


def tutorial_framework() -> Terminal:
    """Draw a trace of the page's component and loop, with faults at the exchange."""
    page: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()):
        for code in code_of("tutorial-framework.md")[:3]:
            exec(code, page)  # noqa: S102 - code of the page
    lines: list[str] = []
    page["exchange"] = exchange = ScriptedExchange(page["orders"])
    exchange.inject(None, Fault.SILENT, Fault.DROP_AFTER)
    page["StrictConnection"] = lambda: record(Connection(), lines.append)
    page["run_framework"](2, page["orders"][:4])
    terminal = Terminal(
        "tutorial-framework.md: one answer comes, one never, and then the connection drops"
    )
    _print_timeline(terminal, lines)
    return terminal


def tutorial_write_a_transport() -> Terminal:
    """Draw the output of the kit for the page's driver `Hasty`."""
    page: dict[str, Any] = {}
    blocks = code_of("tutorial-write-a-transport.md")
    exec(blocks[0], page)  # noqa: S102 - code of the page
    exec(blocks[3].partition("\n\n\nreport")[0], page)  # noqa: S102
    module = ModuleType("mydriver")
    module.__dict__.update(page)
    sys.modules["mydriver"] = module
    scenarios = ("login and a cancel", "fragments", "gap", "deadline", "reset", "hangup")
    arguments = ["mydriver:Hasty", *(word for name in scenarios for word in ("--scenario", name))]
    terminal = Terminal("the conformance kit and a driver that is hasty after a gap")
    terminal.typed(
        'python -m bitget_proto.testing mydriver:Hasty --scenario "login and a cancel" \\',
        "  --scenario fragments --scenario gap --scenario deadline --scenario reset --scenario hangup",
    )
    with redirect_stdout(io.StringIO()) as output:
        conformance(arguments)
    for line in output.getvalue().splitlines():
        terminal.out.print(Text(line, style="red" if "BROKEN" in line or "broken" in line else ""))
    return terminal


def tutorial_bot() -> Terminal:
    """Draw a table of each fault: what happens to the order, and the outcome."""
    terminal = Terminal("what the exchange did, and what the bot saw")
    order = CancelOrder("BTCUSDT", order_id="1")
    rows: list[tuple[str, ...]] = []
    for fault in (None, *Fault):
        exchange = ScriptedExchange([order])
        exchange.inject(fault)
        pair = Pair(exchange=exchange)
        pair.open()
        id = pair.cancel(order)
        pair.run(60.0)
        happened = "cancelled" if any(act.cancelled for act in exchange.log) else "still live"
        rows.append(
            ("none" if fault is None else fault.value, happened, _summary(pair.outcomes[id]))
        )
    terminal.screen.table(
        (
            Column("fault", "bold"),
            Column("the order at the exchange"),
            Column("the outcome", "yellow", wraps=True),
        ),
        rows,
    )
    return terminal


PICTURES: dict[str, Callable[[], Terminal]] = {
    "demo": demo,
    "tutorial-transport": tutorial_transport,
    "tutorial-framework": tutorial_framework,
    "tutorial-write-a-transport": tutorial_write_a_transport,
    "tutorial-bot": tutorial_bot,
}

SAME_EACH_TIME = ("tutorial-framework", "tutorial-bot")


# --- helpers ---


def code_of(page: str) -> list[str]:
    """Return the Python code blocks of a page."""
    return re.findall(
        r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def _print_timeline(terminal: Terminal, lines: Iterable[str]) -> None:
    """Print a trace as `bitget-cancel replay` does."""
    moments = list(timeline(Trace(lines)))
    terminal.screen.table(_traces._COLUMNS, (_traces._row(moment) for moment in moments))


def _summary(outcome: Any) -> str:
    """Return an outcome as its class and main fields."""
    fields = {name: getattr(outcome, name, None) for name in ("sent", "why", "code_class")}
    shown = [
        f"{name}={value.name if hasattr(value, 'name') else value}"
        for name, value in fields.items()
        if value is not None
    ]
    return f"{type(outcome).__name__}({', '.join(shown)})"


def main() -> None:
    """Draw the named pictures, or all of them."""
    arguments = argparse.ArgumentParser(
        description="Draw the pictures of README and the tutorials from real runs.",
        epilog="example: python docs/pictures.py tutorial-bot",
    )
    arguments.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(PICTURES)}; default: all"
    )
    wanted = arguments.parse_args().names
    if unknown := set(wanted) - set(PICTURES):
        arguments.error(
            f"NAME must be one of {', '.join(PICTURES)}; got {', '.join(sorted(unknown))}"
        )
    for name in wanted or PICTURES:
        (DOCS / f"{name}.svg").write_text(PICTURES[name]().svg(name), "utf-8")


if __name__ == "__main__":
    main()
