"""`bitget-cancel guard`: a dead man's switch for a unified account.

It renews the exchange's countdown until it is interrupted. What happens is shown as it happens.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from bitget_proto import (
    Armed,
    Lapsed,
    NotRenewed,
    Stopped,
    ValidationError,
)

from ._exit_codes import Exit, Failure

if TYPE_CHECKING:
    from .._driver.guard import GuardEvent
    from ._screen import Screen
    from ._stop import Stop

_LOOK: Final = 0.2
"""The most seconds until a request to stop is noticed.

A signal that arrives just before a wait on a queue begins does not end the wait."""

GUARD_HELP: Final = """\
Let the exchange cancel all orders of a unified account if this command, this
machine or its network fails. The exchange counts down, and this command renews the
countdown every few seconds, until Ctrl-C, which turns it off. If renewals stop for
any other reason, the exchange cancels all orders at the end of the countdown.

Run it beside your bots: it guards all orders of the account, including those of other programs.
Guard an account with one command only. The exchange grants access to the countdown
on request. Classic accounts have no countdown.
"""

GUARD_EXAMPLES: Final = """\
examples:
  bitget-cancel guard
  bitget-cancel guard --countdown 10 --demo-trading --credentials keys.toml
  bitget-cancel guard --leave-on --json

exit codes:
  0    stopped by Ctrl-C or SIGTERM, and the countdown was turned off, or left on
       with --leave-on
  1    like 0, but in the meantime the countdown may have ended: all orders of the
       account may have been cancelled
  2    wrong arguments or keys; nothing was sent
  3    the countdown could not be turned off: the exchange may still cancel all
       orders of the account
  4    the countdown could not be started
  70   a bug of this command: run it again with --debug
  141  the output could not be written; the countdown was left on
"""


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:
    """Guard the account until interrupted, and return the exit code."""
    from .. import GuardFailed
    from ..blocking import guard
    from ._orders import for_shell, login_of

    login = login_of(arguments)
    events: SimpleQueue[GuardEvent] = SimpleQueue()
    view = _View(screen, arguments.countdown, leave_on=arguments.leave_on)
    try:
        with (
            stop.listening(),
            guard(
                login.credentials,
                countdown=arguments.countdown,
                disarm=not arguments.leave_on,
                url=login.url,
                tls=login.target.tls if arguments.ca_file else None,
                allow_plaintext=arguments.allow_plaintext,
                observe=lambda event, _: events.put(event),
            ),
        ):
            while not stop.asked:
                with suppress(Empty):
                    view.show(events.get(timeout=_LOOK))
            screen.aside("stopping" if arguments.leave_on else "turning the countdown off")
    except GuardFailed as failed:
        view.show_rest(events)
        code = Exit.UNRESOLVED if view.armed else Exit.NOT_CONNECTED
        raise Failure(for_shell(str(failed)), code) from failed
    except ValidationError as error:
        raise Failure(for_shell(str(error))) from error
    view.show_rest(events)
    return Exit.REJECTED if view.lapsed else Exit.DONE


class _View:
    """Shows what happens."""

    def __init__(self, screen: Screen, countdown: int, *, leave_on: bool) -> None:
        self.armed = self.lapsed = False
        """Whether the countdown was on at any time, and whether it may have ended."""
        self._screen = screen
        self._countdown = countdown
        self._leave_on = leave_on

    def show_rest(self, events: SimpleQueue[GuardEvent]) -> None:
        """Show what has happened and was not shown yet."""
        while not events.empty():
            self.show(events.get())

    def show(self, event: GuardEvent) -> None:
        """Show an event.

        Raises: OutputLost.
        """
        screen, countdown = self._screen, self._countdown
        match event:
            case Armed():
                again = " again" if self.armed else ""
                self.armed = True
                screen.data("armed", countdown=countdown)
                screen.say(
                    f"armed{again}: without a renewal, the exchange cancels all orders of the "
                    f"account after {countdown} s",
                    "green",
                )
            case NotRenewed():
                screen.data(
                    "not_renewed",
                    why=event.why.value,
                    code=event.code,
                    detail=event.detail,
                    armed=event.until is not None,
                )
                screen.say(f"not renewed, {event.why.value}: {event.detail}", "yellow")
            case Lapsed():
                self.lapsed = True
                screen.data("lapsed")
                screen.say(
                    "LAPSED: the exchange may have cancelled all orders of the account, and orders "
                    "placed from now on may be unprotected",
                    "bold red",
                )
            case Stopped():
                screen.data("stopped", disarmed=event.disarmed, detail=event.detail)
                if event.disarmed:
                    screen.say("off: the exchange cancels nothing by itself")
                elif self._leave_on:
                    screen.say(
                        f"left on: the exchange cancels all orders within {countdown} s", "yellow"
                    )
