"""How the command ends: its exit codes, and the failures that people can mend.

Rules of this file
- Each code is one answer to «what do I do now?», so that a script need not read the output.
- A failure is one or two lines that say what came and what to do. It never holds a secret.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """What the process ends with."""

    DONE = 0
    """All accepted; or, for `demo`, the promise held; or, for `replay`, it was the same."""

    REJECTED = 1
    """Some were rejected, and none is unresolved; or, for `demo`, the promise did not hold; or, for `replay`, it differed."""

    USAGE = 2
    """The arguments, the input or the keys make no sense: nothing was sent."""

    UNRESOLVED = 3
    """Some are unresolved, whatever became of the others."""

    NOT_CONNECTED = 4
    """No connection came about, or the exchange refused the login: nothing was sent."""

    BROKEN = 70
    """A bug in here: EX_SOFTWARE of sysexits.h."""

    INTERRUPTED = 130
    """Stopped by Ctrl-C: what a shell gives for SIGINT."""

    PIPE_CLOSED = 141
    """The output cannot be written, mostly because whoever read it went away: what a shell gives for SIGPIPE."""

    TERMINATED = 143
    """Stopped by SIGTERM."""


EXIT_CODES: Final = """\
exit codes:
  0    every cancel was accepted
  1    some were rejected, and none is unresolved
  2    the arguments, the input or the keys make no sense: nothing was sent
  3    some are unresolved: look the sent ones up, send the others again
  4    not connected, or the login was refused: nothing was sent
  70   a bug of this command: run it again with --debug
  130  interrupted by Ctrl-C (143: by SIGTERM); what is unresolved was reported
  141  the output could not be written (whoever read it went away): sending was stopped as by Ctrl-C
"""


class Failure(Exception):
    """What was asked cannot be done; the message is one or two lines that say why, and what to do."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


def missing_extra(what: str, extra: str) -> str:
    """The line about a package that is not installed."""
    return f"{what} needs packages that are not installed: pip install 'bitget-proto[{extra}]'"
