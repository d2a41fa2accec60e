"""`bitget-cancel orders --record FILE`, and `bitget-cancel replay FILE`: what happened, kept and told.

Rules of this file
- A file that is there already is not written over: it may be the only witness.
- What cannot be recorded is told in the end, and stops nothing.
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
    Column("s", number=True), Column("link", number=True), Column("what"), Column("id"), Column("in words"),
)  # fmt: skip


class Recording:
    """Writes the lines of a trace to a file, each at once, and remembers why it had to stop."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost: OSError | None = None

    def write(self, line: str) -> None:
        """Write one line.

        Raises: OSError when that cannot be done; it is not called again then.
        """
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self.lost = error
            raise


@contextmanager
def recording(path: str | None, screen: Screen) -> Generator[Recording | None]:
    """A recording to this file, which only its owner can read; None without a path. In the end it is told what it holds."""
    if path is None:
        yield None
        return
    try:
        file = open(path, "x", encoding="ascii", opener=_for_its_owner)  # noqa: SIM115 - only what opening raises is its fault
    except FileExistsError:
        raise Failure(
            f"{quoted(path)} is there already, and is not written over: name another file to record to"
        ) from None
    except (OSError, ValueError) as error:
        raise Failure(
            f"cannot record to {quoted(path)}: {getattr(error, 'strerror', None) or error}"
        ) from None
    kept = Recording(file)
    try:
        yield kept
    finally:
        try:
            file.close()
        except OSError as error:
            kept.lost = kept.lost or error
        if kept.lost is None:
            screen.aside(f"recorded to {quoted(path)}: bitget-cancel replay tells what happened")
        else:
            screen.aside(
                f"the recording in {quoted(path)} ends early: {kept.lost.strerror or kept.lost}",
                "yellow",
            )


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:  # noqa: ARG001 - nothing waits here
    """Tell what a trace holds, and play it again; gives the exit code."""
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
    return _judge(trace, difference, "the recorded" if engine is None else engine.value, screen)


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
        f"a {trace.core.lower()}, recorded by bitget-proto {trace.version} with the engine {trace.engine}"
    )
    if trace.torn is not None:
        screen.say(
            "the last line is torn: whoever wrote it crashed, and what it was about is unknown",
            "yellow",
        )


def _row(moment: Moment) -> tuple[str, ...]:
    at = "" if moment.at is None else f"{moment.at:.3f}"
    return (
        at,
        "" if moment.link is None else str(moment.link),
        moment.what,
        moment.id or "",
        moment.text,
    )


def _judge(trace: Trace, difference: Difference | None, engine: str, screen: Screen) -> Exit:
    code = Exit.DONE if difference is None else Exit.REJECTED
    if difference is None:
        screen.say(f"played again with {engine} engine: the same, byte for byte", "bold green")
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


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
