"""Exit codes, and failures that the user can fix.

A script can decide what to do next from the exit code alone. The message of a failure is one or two
lines that say what is wrong and what to do; it never contains a secret.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """The exit code of the process."""

    DONE = 0
    """All cancels were accepted; with `--confirm`, all orders have ended. `demo`: every outcome is
    correct. `replay`: no difference."""

    REJECTED = 1
    """Some cancels were rejected, and none is unresolved; with `--confirm`, some orders are still
    open or were not found. `demo`: some outcomes are wrong. `replay`: the replay differs."""

    USAGE = 2
    """The arguments, the input or the keys are invalid. Nothing was sent."""

    UNRESOLVED = 3
    """Some cancels are unresolved; others may be accepted or rejected. With `--confirm`, the state
    of some orders is unknown."""

    NOT_CONNECTED = 4
    """The connection failed, or the exchange refused the login. Nothing was sent."""

    BROKEN = 70
    """A bug of the command (EX_SOFTWARE of sysexits.h)."""

    INTERRUPTED = 130
    """Stopped by Ctrl-C (as a shell reports SIGINT)."""

    PIPE_CLOSED = 141
    """The output could not be written, usually because its reader closed the pipe (as a shell
    reports SIGPIPE)."""

    TERMINATED = 143
    """Stopped by SIGTERM."""


EXIT_CODES: Final = """\
exit codes:
  0    every cancel was accepted
  1    some cancels were rejected, and none is unresolved
  2    the arguments, the input or the keys are invalid; nothing was sent
  3    some cancels are unresolved: look up the sent ones, send the others again
  4    the connection failed, or the login was refused; nothing was sent
  70   a bug of this command: run it again with --debug
  130  interrupted by Ctrl-C (143: by SIGTERM); every outcome was reported
  141  the output could not be written, for example because the reader closed the
       pipe; sending was stopped as if by Ctrl-C

exit codes with --confirm, which then describe the orders:
  0    every order has ended: it was cancelled, or filled first
  1    some orders are still open or were not found, and none is unknown
  3    what became of some orders is unknown, or their cancel was not sent
"""

ALL_EXIT_CODES: Final = EXIT_CODES.replace(
    "keys are invalid; nothing", "keys are invalid, or the answer was not yes; nothing"
).replace("the connection failed,", "the connection or the list of open orders failed,")


class Failure(Exception):
    """The command cannot continue. The message is one or two lines that say why and what to do."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


def missing_extra(what: str, extra: str) -> str:
    """Return the message about a missing extra."""
    return f"{what} needs packages that are not installed: pip install 'bitget-proto[{extra}]'"
