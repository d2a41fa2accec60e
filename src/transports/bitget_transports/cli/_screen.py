"""Output: text and tables for people, JSON lines for programs.

- Text from a peer or a file is never written as it is: characters that move the cursor, change the
  direction of the text or are invisible are shown as escapes, and rich's markup is not interpreted.
- With `--json`, standard output contains JSON lines only; text goes to standard error.
- Tables are drawn on a terminal. Elsewhere they are plain text, with nothing cut off.
- On a narrow terminal a table loses its frame, then columns wrap between words, and then each row
  becomes a list of its own. Nothing is left out.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import attrs
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bitget_proto.explain import encodable, printable

from ._wrapping import wrapped

_NO_LIMIT = 10_000
"""The width of an output that is not a terminal, in characters."""

_NARROW = 80
"""Below this width, progress is shown without the outcomes so far."""

_LONG_WORD = 24
"""A column that wraps is at least as wide as its longest word, up to this many characters."""


@attrs.frozen
class Column:
    """A column of a table. Numbers are right-aligned."""

    title: str
    style: str = ""
    number: bool = False
    wraps: bool = False
    """Whether its text may be wrapped on a narrow terminal."""
    styles: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """The styles of cells with a given text."""


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
            for line in self._lines(text, self.people):
                self.people.print(Text(line, style=style))

    def aside(self, text: str, style: str = "") -> None:
        """Write a message that is not a result to standard error. Errors of writing are ignored."""
        with suppress(OSError):
            for line in self._lines(text, self.err):
                self.err.print(Text(line, style=style))

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
        people = self.people
        cells = [
            [
                self._cell(cell, column.styles.get(cell, ""))
                for column, cell in zip(columns, row, strict=True)
            ]
            for row in rows
        ]
        if people.is_terminal:
            with _writing():
                people.print(self._drawn(columns, cells, people.width))
            return
        with _writing():
            with people.capture() as captured:
                people.print(self._framed(columns, cells, None, framed=False))
            people.file.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())
            people.file.flush()

    def _drawn(
        self, columns: Sequence[Column], cells: Sequence[Sequence[Text]], width: int
    ) -> RenderableType:
        """Return the table in the form that fits the width."""
        most = [
            max(_width(cell) for cell in (self._cell(column.title), *(row[n] for row in cells)))
            for n, column in enumerate(columns)
        ]
        count = len(columns)
        if sum(most) + 3 * count + 1 <= width:
            return self._framed(columns, cells, most, framed=True)
        least = [
            min(
                most[n],
                max(
                    min(_width(Text("\n".join(cell.plain.split()))), _LONG_WORD)
                    for cell in (self._cell(column.title), *(row[n] for row in cells))
                ),
            )
            if column.wraps
            else most[n]
            for n, column in enumerate(columns)
        ]
        spare = width - (count - 1) - sum(least)
        if spare < 0:
            return Group(*(self._listed(columns, row) for row in cells))
        for n in sorted(range(count), key=most.__getitem__, reverse=True):
            more = min(spare, most[n] - least[n])
            least[n] += more
            spare -= more
        return self._framed(columns, cells, least, framed=False)

    def _framed(
        self,
        columns: Sequence[Column],
        cells: Iterable[Sequence[Text]],
        widths: Sequence[int] | None,
        *,
        framed: bool,
    ) -> Table:
        table = Table(box=box.ROUNDED if framed else None, header_style="bold", pad_edge=framed)
        if widths is not None and not framed:
            table.padding = (0, 1, 0, 0)
        for n, column in enumerate(columns):
            table.add_column(
                self._cell(column.title),
                justify="right" if column.number else "left",
                style=column.style,
                overflow="fold",
                width=None if widths is None else widths[n],
            )
        for row in cells:
            table.add_row(*row)
        return table

    def _listed(self, columns: Sequence[Column], row: Sequence[Text]) -> Table:
        """Return one row as a list of its cells that are not empty, one below the other."""
        listed = Table.grid(padding=(0, 1, 0, 0))
        for column, cell in zip(columns, row, strict=True):
            if cell.plain:
                title = column.title.replace("/\n", "/").replace("\n", " ")
                listed.add_row(Text(title, style="bold"), Text.assemble(cell, style=column.style))
        listed.add_row("")
        return listed

    def progress(self) -> Progress:
        """Return progress bars on standard error; they are disabled when it is not a terminal."""
        narrow = self.err.width < _NARROW
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None if narrow else 30),
            MofNCompleteColumn(),
            *(() if narrow else (TextColumn("{task.fields[said]}", markup=False),)),
            TimeElapsedColumn(),
            console=self.err,
            transient=True,
            disable=not self.err.is_terminal,
        )

    def _cell(self, text: str, style: str = "") -> Text:
        lines = [self._text(line, self.people, style) for line in text.split("\n")]
        return Text("\n").join(lines)

    def _lines(self, text: str, where: Console) -> Iterator[str]:
        for line in text.split("\n"):
            shown = encodable(printable(line), where.encoding)
            yield from wrapped(shown, where.width).split("\n")

    @staticmethod
    def _text(text: str, where: Console, style: str = "") -> Text:
        return Text(encodable(printable(text), where.encoding), style=style)


def _width(cell: Text) -> int:
    """Return the width of the widest line of a cell."""
    return max((cell_len(line) for line in cell.plain.split("\n")), default=0)
