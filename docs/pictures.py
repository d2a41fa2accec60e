"""Makes the pictures of README and the tutorials from real runs: python docs/pictures.py [NAME ...]

Rules of this file
- What a picture shows was printed by what it names: a command, or the code of the page that it stands on.
- A picture loads nothing from anywhere: the fonts that rich would have a browser fetch are left out.
- Those in `SAME_EACH_TIME` run in virtual time, and a test holds them against what is printed now. The others show times that
  a clock measured.
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
from bitget_transports.cli._screen import Column, Screen, console
from bitget_transports.cli._stop import Stop
from bitget_transports.cli._timeline import timeline
from bitget_transports.exchange import exchange_in_thread

DOCS = Path(__file__).parent
WIDTH = 98


class Terminal:
    """What a terminal shows, kept so that it can be drawn."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.out = Console(
            file=io.StringIO(), record=True, force_terminal=True, width=WIDTH, color_system="truecolor", markup=False,
            highlight=False, emoji=False, legacy_windows=False,
        )  # fmt: skip
        self.screen = Screen(out=self.out, err=console(cast("IO[str]", _Into(self.out))))

    def typed(self, *lines: str) -> None:
        """What somebody typed."""
        for number, line in enumerate(lines):
            self.out.print(Text(f"{' ' if number else '$'} {line}", style="bold"))

    def ran(self, run: Callable[..., int], *arguments: str) -> None:
        """Run a command as `bitget-cancel` does."""
        run(parser().parse_args(arguments), self.screen, Stop())

    def svg(self, name: str) -> str:
        svg = self.out.export_svg(title=self._title, theme=MONOKAI, unique_id=name)
        svg = svg.replace("Fira Code", "Menlo, Consolas, 'DejaVu Sans Mono'")
        svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
        return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


class _Into(io.TextIOBase):
    """Standard error, which on a terminal comes between the lines of standard output."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def write(self, text: str) -> int:
        self._out.print(Text(text), end="")
        return len(text)


# --- the pictures ---


def demo() -> Terminal:
    """README: the whole demonstration."""
    terminal = Terminal("bitget-cancel demo")
    terminal.typed("bitget-cancel demo")
    terminal.ran(_demo.run, "demo")
    return terminal


def tutorial_transport() -> Terminal:
    """Three of the four answers, and a session that goes on behind a drop."""
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
    """The bad day of the page's own component, as the core lived it, on the page's own loop."""
    page: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()):
        for code in code_of("tutorial-framework.md")[:3]:
            exec(code, page)  # noqa: S102 - the page's own code
    lines: list[str] = []
    page["exchange"] = exchange = ScriptedExchange(page["orders"])
    exchange.inject(None, Fault.SILENT, Fault.DROP_AFTER)
    page["StrictConnection"] = lambda: record(Connection(), lines.append)
    page["run_framework"](2, page["orders"][:4])
    terminal = Terminal(
        "tutorial-framework.md: one answer comes, one never, and then the connection drops"
    )
    _told(terminal, lines)
    return terminal


def tutorial_write_a_transport() -> Terminal:
    """The kit and the page's hasty driver."""
    page: dict[str, Any] = {}
    blocks = code_of("tutorial-write-a-transport.md")
    exec(blocks[0], page)  # noqa: S102 - the page's own code
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
    with redirect_stdout(io.StringIO()) as said:
        conformance(arguments)
    for line in said.getvalue().splitlines():
        terminal.out.print(Text(line, style="red" if "BROKEN" in line or "broken" in line else ""))
    return terminal


def tutorial_bot() -> Terminal:
    """What each fault does to an order, and to what its owner is told."""
    terminal = Terminal("what the exchange did, and what the bot was told")
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
        rows.append(("none" if fault is None else fault.value, happened, _word(pair.outcomes[id])))
    terminal.screen.table(
        (
            Column("fault", "bold"),
            Column("the order at the exchange"),
            Column("what the bot is told", "yellow"),
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


# --- what they share ---


def code_of(page: str) -> list[str]:
    """The Python of a page."""
    return re.findall(
        r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def _told(terminal: Terminal, lines: Iterable[str]) -> None:
    """A record, as `bitget-cancel replay` tells it."""
    moments = list(timeline(Trace(lines)))
    terminal.screen.table(_traces._COLUMNS, (_traces._row(moment) for moment in moments))


def _word(outcome: Any) -> str:
    fields = {name: getattr(outcome, name, None) for name in ("sent", "why", "code_class")}
    shown = [
        f"{name}={value.name if hasattr(value, 'name') else value}"
        for name, value in fields.items()
        if value is not None
    ]
    return f"{type(outcome).__name__}({', '.join(shown)})"


def main() -> None:
    """Draw the named pictures, or all."""
    arguments = argparse.ArgumentParser(
        description="Make the pictures of README and the tutorials from real runs.",
        epilog="example: python docs/pictures.py tutorial-bot",
    )
    arguments.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all by default"
    )
    wanted = arguments.parse_args().names
    if unknown := set(wanted) - set(PICTURES):
        arguments.error(f"there is no picture {', '.join(sorted(unknown))}")
    for name in wanted or PICTURES:
        (DOCS / f"{name}.svg").write_text(PICTURES[name]().svg(name), "utf-8")


if __name__ == "__main__":
    main()
