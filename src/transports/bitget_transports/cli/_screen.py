"""Output: text and tables for people, JSON lines for programs.

- Text from a peer or a file is never written as it is: characters that move the cursor, change the
  direction of the text or are invisible are shown as escapes, and rich's markup is not interpreted.
- With `--json`, standard output contains JSON lines only; text goes to standard error.
- Tables are drawn on a terminal. Elsewhere they are plain text, with nothing cut off.
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

_NO_LIMIT = 10_000
"""The width of an output that is not a terminal, in characters."""


@attrs.frozen
class Column:
    """A column of a table. Numbers are right-aligned."""

    title: str
    style: str = ""
    number: bool = False


class OutputLost(Exception):
    """Standard output cannot be written: its reader has closed it, or the disk is full."""

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
        raise  # noqa: PLE0704 - rich calls this in its `except`, and would exit with 1


def console(file: IO[str]) -> Console:
    """Return a console that does not interpret markup, emoji codes or numbers in text."""
    drawn = _Console(file=file, markup=False, emoji=False, highlight=False)
    if not drawn.is_terminal:
        drawn.width = _NO_LIMIT
    return drawn


class Screen:
    """The output of a command.

    `out` and `err` are consoles on standard output and standard error by default.
    """

    def __init__(
        self, *, json: bool = False, out: Console | None = None, err: Console | None = None
    ) -> None:
        self.json = json
        self.out = console(sys.stdout) if out is None else out
        self.err = (
            console(io.StringIO() if sys.stderr is None else sys.stderr) if err is None else err
        )
        self.people = self.err if json else self.out
        """The console for results: `err` with `--json`, else `out`."""

    def say(self, text: str = "", style: str = "") -> None:
        """Write a result for people.

        Raises: OutputLost.
        """
        with _writing():
            for line in text.split("\n"):
                self.people.print(self._text(line, self.people, style))

    def aside(self, text: str, style: str = "") -> None:
        """Write a message that is not a result to standard error. Errors of writing are ignored."""
        with suppress(OSError):
            self.err.print(self._text(text, self.err, style))

    def data(self, type: str, **fields: object) -> None:
        """Write a JSON line and flush it. Without `--json`, do nothing.

        Raises: OutputLost.
        """
        if self.json:
            # The line is ASCII; JSON does not escape the delete character by itself.
            line = json.dumps({"type": type, **fields}).replace("\x7f", "\\u007f")
            self.raw(line)

    def raw(self, line: str) -> None:
        """Write an ASCII line to standard output and flush it.

        Raises: OutputLost.
        """
        file = self.out.file
        with _writing():
            file.write(line + "\n")
            file.flush()

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Write a table. A cell may have several lines.

        Raises: OutputLost.
        """
        people, cells = self.people, [[self._cell(cell) for cell in row] for row in rows]
        table = self._table(columns, cells, drawn=people.is_terminal)
        if people.is_terminal:
            if (
                Measurement.get(people, people.options.update(width=_NO_LIMIT), table).maximum
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
        """Return progress bars on standard error; they are disabled when it is not a terminal."""
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
