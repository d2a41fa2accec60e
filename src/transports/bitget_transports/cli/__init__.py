"""`bitget-cancel`: cancel orders, run a demonstration or the embedded exchange, replay a recording.

It needs the extra `cli`.

- The commands do not interpret the protocol: they run a transport and show the outcomes.
- An error that a user can cause is one or two lines that say what to do. `--debug` adds a
  traceback.
- Secrets come from the environment or from a file that only its owner can access, and are never
  shown or written.
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

from ._arguments import complete, parser
from ._exit_codes import Exit, Failure, missing_extra
from ._profiles import apply

if TYPE_CHECKING:
    from ._screen import Screen
    from ._stop import Stop

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. `argv` defaults to the arguments of the process."""
    top = parser()
    complete(top)
    try:
        arguments = top.parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help or an error
        return stop.code if isinstance(stop.code, int) else Exit.USAGE
    try:
        return int(_run(arguments))
    except Failure as failure:
        if arguments.debug:
            traceback.print_exc()
        _write_error(str(failure))
        return failure.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug, reported in one line
        if arguments.debug:
            traceback.print_exc()
        else:
            _write_error(
                f"internal error: {type(error).__name__}: {error}; "
                "run it again with --debug and report the traceback"
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
        apply(arguments, os.environ)
        code = _command(arguments.command)(arguments, screen, stop)
    except OutputLost as lost:
        _silence()
        if not lost.by_reader:  # a closed pipe is no error: the reader wanted no more
            _write_error(f"cannot write the output: {lost}")
        return Exit.PIPE_CLOSED
    except Failure as failure:
        with suppress(OutputLost):
            screen.data("error", message=str(failure), exit_code=int(failure.code))
        raise
    return code


def _command(name: str) -> Callable[[argparse.Namespace, Screen, Stop], Exit]:
    """Import and return the function that runs a command."""
    try:
        if name == "orders":
            from ._orders import run
        elif name == "all":
            from ._all import run
        elif name == "demo":
            from ._demo import run
        elif name == "guard":
            from ._guard import run
        elif name == "replay":
            from ._traces import run
        else:
            from ._exchange import run
    except ImportError as error:
        raise Failure(missing_extra(f"bitget-cancel {name}", "cli")) from error
    return run


def _silence() -> None:
    """Discard the buffered output. Otherwise Python would write it at exit, and fail again."""
    with suppress(OSError, ValueError):  # the output may have no file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_error(message: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            for line in message.split("\n"):
                sys.stderr.write(
                    encodable(f"bitget-cancel: {printable(line)}\n", sys.stderr.encoding)
                )
            sys.stderr.flush()
