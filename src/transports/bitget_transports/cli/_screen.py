"""What reaches the screen, and what reaches a program: people read tables, programs read JSON lines.

Rules of this file
- What a peer or a file wrote reaches no screen as it came: characters that move the cursor, turn the direction of the text or
  cannot be seen are shown as escapes, and rich's markup is never looked for in it.
- With `--json`, standard output holds JSON lines and nothing else; all that is for people goes to standard error.
- A table is drawn on a terminal; elsewhere it is plain text, with nothing cut off and nothing drawn over.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import attrs
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bitget_proto.explain import encodable, printable

_ENDLESS = 10_000
"""Columns of an output that is no terminal, and so has no edge."""


@attrs.frozen
class Column:
    """A column of a table; numbers are set to the right."""

    title: str
    style: str = ""
    number: bool = False


class OutputLost(Exception):
    """What is written reaches nobody: whoever read it went away, or the disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.by_reader = isinstance(error, BrokenPipeError)


@contextmanager
def _writing() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise OutputLost(error) from error


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError, and would exit with 1


def console(file: IO[str]) -> Console:
    """A console that takes every text for what it is."""
    drawn = _Console(file=file, markup=False, emoji=False, highlight=False)
    if not drawn.is_terminal:
        drawn.width = _ENDLESS
    return drawn


class Screen:
    """Where a command writes. `out` and `err` are consoles on standard output and standard error by default."""

    def __init__(
        self, *, json: bool = False, out: Console | None = None, err: Console | None = None
    ) -> None:
        self.json = json
        self.out = console(sys.stdout) if out is None else out
        self.err = (
            console(io.StringIO() if sys.stderr is None else sys.stderr) if err is None else err
        )
        self.people = self.err if json else self.out
        """Where results are told to people."""

    def say(self, text: str = "", style: str = "") -> None:
        """Tell people a result, or what goes on."""
        with _writing():
            for line in text.split("\n"):
                self.people.print(self._text(line, self.people, style))

    def aside(self, text: str, style: str = "") -> None:
        """Tell people on standard error: what is no result. When nobody reads there, that is no harm."""
        with suppress(OSError):
            self.err.print(self._text(text, self.err, style))

    def data(self, type: str, **fields: object) -> None:
        """Write one JSON line for programs, at once; without `--json`, nothing."""
        if self.json:
            # ASCII, and a delete character is no control character to JSON.
            line = json.dumps({"type": type, **fields}).replace("\x7f", "\\u007f")
            self.raw(line)

    def raw(self, line: str) -> None:
        """Write a line of a program's own, ASCII, to standard output."""
        file = self.out.file
        with _writing():
            file.write(line + "\n")
            file.flush()

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Show a table. The lines of a cell stay lines."""
        people, cells = self.people, [[self._cell(cell) for cell in row] for row in rows]
        table = self._table(columns, cells, drawn=people.is_terminal)
        if people.is_terminal:
            if (
                Measurement.get(people, people.options.update(width=_ENDLESS), table).maximum
                > people.width
            ):
                table.box, table.pad_edge, table.padding = None, False, (0, 1, 0, 0)
            with _writing():
                people.print(table)
            return
        with _writing():
            with people.capture() as captured:
                people.print(table)
            people.file.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())
            people.file.flush()

    def _table(
        self, columns: Sequence[Column], rows: Iterable[Sequence[Text]], *, drawn: bool
    ) -> Table:
        table = Table(box=box.ROUNDED if drawn else None, header_style="bold", pad_edge=drawn)
        for column in columns:
            table.add_column(
                self._cell(column.title),
                justify="right" if column.number else "left",
                style=column.style,
                overflow="fold",
            )
        for row in rows:
            table.add_row(*row)
        return table

    def progress(self) -> Progress:
        """Bars on standard error while something runs; none where nobody watches."""
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            TimeElapsedColumn(),
            console=self.err,
            transient=True,
            disable=not self.err.is_terminal,
        )

    def _cell(self, text: str) -> Text:
        lines = [self._text(line, self.people) for line in text.split("\n")]
        return Text("\n").join(lines)

    @staticmethod
    def _text(text: str, where: Console, style: str = "") -> Text:
        return Text(encodable(printable(text), where.encoding), style=style)
