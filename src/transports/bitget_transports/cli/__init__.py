"""`bitget-cancel`: cancel orders from a shell, watch a demonstration, run the embedded exchange, or replay a record.

Rules of this package
- Nothing about the protocol is decided here: a command reads what is asked, hands it to a transport, and shows what came of it.
- An error that a user can meet is one or two lines that say what to do; a traceback is for `--debug`.
- Secrets come from the environment or a file that only its owner can read, and reach neither screen nor output.

It needs the extra `cli`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from bitget_proto.explain import encodable, printable

from ._arguments import parser
from ._exit_codes import Exit, Failure, missing_extra

if TYPE_CHECKING:
    from ._screen import Screen
    from ._stop import Stop

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, with the arguments of the process by default; returns its exit code."""
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help, or what is wrong
        return stop.code if isinstance(stop.code, int) else Exit.USAGE
    try:
        return int(_run(arguments))
    except Failure as failure:
        if arguments.debug:
            traceback.print_exc()
        _complain(str(failure))
        return failure.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug, told in one line
        if arguments.debug:
            traceback.print_exc()
        else:
            _complain(
                f"a bug: {type(error).__name__}: {error}; run it again with --debug, and report what that shows"
            )
        return Exit.BROKEN


def _run(arguments: argparse.Namespace) -> Exit:
    try:
        from ._screen import OutputLost, Screen
    except ImportError as error:
        raise Failure(missing_extra("this command", "cli")) from error
    from ._stop import Stop

    if sys.stdout is None:
        raise Failure("cannot write the output: standard output is closed")
    screen, stop = Screen(json=arguments.json), Stop()
    try:
        code = _command(arguments.command)(arguments, screen, stop)
    except OutputLost as lost:
        _silence()
        if not lost.by_reader:  # who went away knows it
            _complain(f"cannot write the output: {lost}")
        return Exit.PIPE_CLOSED
    except Failure as failure:
        with suppress(OutputLost):
            screen.data("error", message=str(failure), exit_code=int(failure.code))
        raise
    return code


def _command(name: str) -> Callable[[argparse.Namespace, Screen, Stop], Exit]:
    """What runs it: imported when it is asked for, with what it needs."""
    try:
        if name == "orders":
            from ._orders import run
        elif name == "demo":
            from ._demo import run
        elif name == "replay":
            from ._traces import run
        else:
            from ._exchange import run
    except ImportError as error:
        raise Failure(missing_extra(f"bitget-cancel {name}", "cli")) from error
    return run


def _silence() -> None:
    """Send what is still buffered nowhere: at exit Python would try to write it once more, and complain."""
    with suppress(OSError, ValueError):  # an output without a descriptor keeps its buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            for line in message.split("\n"):
                sys.stderr.write(
                    encodable(f"bitget-cancel: {printable(line)}\n", sys.stderr.encoding)
                )
            sys.stderr.flush()
