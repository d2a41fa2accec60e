"""`bitget-cancel orders --record FILE` and `bitget-cancel replay FILE`.

An existing file is never overwritten. An error while recording is reported at the end and does not
stop the run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

from bitget_proto import Difference, Engine, Trace, ValidationError, replay
from bitget_proto.explain import quoted

from ._exit_codes import Exit, Failure
from ._screen import Column, Screen
from ._stop import Stop
from ._timeline import Moment, timeline

_COLUMNS = (
    Column("seconds", number=True),
    Column("link", number=True),
    Column("what"),
    Column("id"),
    Column("description", wraps=True),
)
_WHAT = {"came": "received", "became": "outcome", "asked": "called", "happened": "event"}
"""What the table shows for the values of `Moment.what`."""


class Recording:
    """Writes the lines of a trace to a file, flushes each, and keeps the first error."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost: OSError | None = None

    def write(self, line: str) -> None:
        """Write one line.

        Raises: OSError when it cannot be written; `write` must not be called again then.
        """
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self.lost = error
            raise


@contextmanager
def recording(path: str | None, screen: Screen) -> Generator[Recording | None]:
    """Record to a new file that only its owner can access, and report its state at the end.

    Yield None without a path.

    Raises: Failure when the file exists or cannot be created.
    """
    if path is None:
        yield None
        return
    try:
        file = open(path, "x", encoding="ascii", opener=owner_only)  # noqa: SIM115 - closed below
    except FileExistsError:
        raise Failure(
            f"{quoted(path)} already exists and is not overwritten: choose another file for --record"
        ) from None
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot record to {quoted(path)}: {getattr(error, 'strerror', None) or error}"
        ) from None
    record = Recording(file)
    try:
        yield record
    finally:
        try:
            file.close()
        except OSError as error:
            record.lost = record.lost or error
        if record.lost is None:
            screen.aside(f"recorded to {quoted(path)}: show it with bitget-cancel replay")
        else:
            screen.aside(
                f"the recording in {quoted(path)} is incomplete: {record.lost.strerror or record.lost}",
                "yellow",
            )


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:  # noqa: ARG001 - nothing waits here
    """Show a trace, replay it, and return the exit code."""
    lines = _read(arguments.file)
    engine = None if arguments.engine is None else Engine(arguments.engine)
    try:
        trace = Trace(lines)
        moments = list(timeline(trace))
        difference = replay(lines, engine)
    except ValidationError as error:
        raise Failure(f"{quoted(arguments.file)}: {error}") from None
    except ImportError as error:
        raise Failure(str(error)) from None
    _show(trace, moments, screen)
    return _show_difference(
        trace, difference, "the recorded" if engine is None else f"the {engine.value}", screen
    )


def _read(path: str) -> list[str]:
    try:
        if path == "-":
            return sys.stdin.readlines()
        with open(path, encoding="ascii", errors="backslashreplace") as file:
            return file.readlines()
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot read {quoted(path)}: {getattr(error, 'strerror', None) or error}"
        ) from None


def _show(trace: Trace, moments: list[Moment], screen: Screen) -> None:
    for moment in moments:
        screen.data(
            "moment",
            n=moment.n,
            at=moment.at,
            link=moment.link,
            what=moment.what,
            id=moment.id,
            text=moment.text,
        )
    if not screen.json:
        screen.table(_COLUMNS, (_row(moment) for moment in moments))
    screen.say(
        f"recording of a {trace.core.lower()} by bitget-proto {trace.version}, JSON engine {trace.engine}"
    )
    if trace.torn is not None:
        screen.say(
            "the last line is incomplete: the program crashed while writing it; the step is lost",
            "yellow",
        )


def _row(moment: Moment) -> tuple[str, ...]:
    at = "" if moment.at is None else f"{moment.at:.3f}"
    return (
        at,
        "" if moment.link is None else str(moment.link),
        _WHAT.get(moment.what, moment.what),
        moment.id or "",
        moment.text,
    )


def _show_difference(
    trace: Trace, difference: Difference | None, engine: str, screen: Screen
) -> Exit:
    code = Exit.DONE if difference is None else Exit.REJECTED
    if difference is None:
        screen.say(f"replayed with {engine} engine: identical, byte for byte", "bold green")
    else:
        screen.say(str(difference), "red")
    screen.data(
        "replay",
        core=trace.core,
        engine=trace.engine,
        version=trace.version,
        torn=trace.torn is not None,
        same=difference is None,
        step=None if difference is None else difference.step,
        recorded=None if difference is None else difference.recorded,
        came=None if difference is None else difference.came,
        exit_code=int(code),
    )
    return code


def owner_only(path: str, flags: int) -> int:
    """Open a file that only its owner can access; an `opener` for `open`."""
    return os.open(path, flags, 0o600)
