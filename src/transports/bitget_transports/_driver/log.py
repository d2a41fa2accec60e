"""The log of the transports: the logger `bitget_transports`, which is silent until configured.

docs/operation.md lists what is logged, and at which level.

- Text from the exchange is shown on one line, bounded, and without secrets: see `Redactor`.
- Handlers and filters are the caller's code. An exception in one of them stops no cancel.
- An `Accepted` is not logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType

from bitget_proto import (
    Armed,
    CallerError,
    Closed,
    CodeClass,
    Down,
    Ended,
    Event,
    ExchangeError,
    Final,
    GoingAway,
    Lapsed,
    LateReply,
    LinkClosed,
    LoginRejected,
    NotRenewed,
    Ready,
    Rejected,
    SessionEvent,
    StillOpen,
    Stopped,
    StoreDown,
    StoreUp,
    Unknown,
    Unresolved,
    Up,
    WhyClosed,
    WhyEnded,
)

from .account import Account
from .errors import SKEW_NOTICED

_LOGGER = logging.getLogger("bitget_transports")
_LOGGER.addHandler(logging.NullHandler())

_TRACE = logging.getLogger("bitget_transports.trace")

_CONSEQUENCES = MappingProxyType({
    "jitter": "this backoff has no jitter",
    "observe": "nothing more is observed",
    "wall_clock": "the next dial waits until it returns a time",
    "trace": "nothing more is recorded",
})  # fmt: skip

_SHOWN = 300
"""Maximum characters of a text from the exchange."""


class ChannelLog:
    """Logs the events of one channel."""

    def __init__(self, account: Account) -> None:
        self._target = account.target
        self._redactor = account.redactor

    def dialling(self, link: int) -> None:
        """A link is dialled."""
        target = self._target
        through = "" if target.proxy is None else f" through {target.proxy}"
        self._log(
            logging.INFO, "link %d: dialling %s:%d%s", link, target.host, target.port, through
        )

    def skewed(self, seconds: float) -> None:
        """This machine's clock is ahead of the exchange's by this much, when a login is signed."""
        if abs(seconds) >= SKEW_NOTICED:
            where = "ahead of" if seconds > 0 else "behind"
            self._log(
                logging.WARNING,
                "this machine's clock is %.0f s %s the exchange's",
                abs(seconds),
                where,
            )

    def rest_not_sent(self, id: str, reason: str) -> None:
        """The REST request of a cancel was not sent."""
        self._log(logging.WARNING, "cancel %s: not sent by REST%s", id, self._text(reason))

    def dropped(self) -> None:
        """An unread event was discarded, for the first time since events were read."""
        self._log(logging.WARNING, "unread events are being discarded: read channel.events")

    def not_cancelled_by_symbol(self, reason: str) -> None:
        """The request to cancel by symbol was refused, or not answered."""
        self._log(
            logging.WARNING,
            "the cancel by symbol failed, so orders are cancelled one by one%s",
            self._text(reason),
        )

    def event(self, event: Event | SessionEvent | Final) -> None:
        """Log an event of the core, or a final, unless it is of no concern to an operator."""
        match event:
            case Ready():
                self._log(logging.INFO, "up: the login was accepted")
            case Up():
                after = f" after {event.down_for:.1f} s" if event.down_for else ""
                self._log(logging.INFO, "link %d: up%s", event.link, after)
            case Down():
                self._log(
                    logging.WARNING,
                    "down: link %d was up for %.1f s (%s); cancels wait for the next one",
                    event.link,
                    event.up_for,
                    event.why.value,
                )
            case LinkClosed():
                asked = event.why is WhyClosed.ASKED
                self._log(
                    logging.INFO if asked else logging.WARNING,
                    "link %d: closed, %s%s",
                    event.link,
                    event.why.value,
                    self._text(event.detail),
                )
            case LoginRejected() | ExchangeError():
                login = isinstance(event, LoginRejected)
                self._log(
                    logging.ERROR if login else logging.WARNING,
                    "the exchange %s: code %s, %s%s",
                    "refused the login" if login else "reported an error",
                    event.code,
                    event.code_class.value,
                    self._text(event.message),
                )
            case GoingAway():
                self._log(
                    logging.WARNING,
                    "the exchange is about to close the connection%s",
                    self._text(event.message),
                )
            case Rejected():
                self._log(
                    logging.WARNING if event.code_class is CodeClass.THROTTLED else logging.INFO,
                    "cancel %s: rejected, code %s, %s%s",
                    event.id,
                    event.code,
                    event.code_class.value,
                    self._text(event.message),
                )
            case Unresolved():
                self._log(
                    logging.WARNING,
                    "cancel %s: unresolved, %s, %s%s%s",
                    event.id,
                    "sent" if event.sent else "not sent",
                    event.why.value,
                    "" if event.code is None else f", code {event.code}",
                    self._text(event.message or event.hint or ""),
                )
            case LateReply():
                self._log(
                    logging.INFO,
                    "cancel %s: answered late, code %s, %s%s",
                    event.id,
                    event.code,
                    event.code_class.value,
                    self._text(event.message),
                )
            case StillOpen():
                self._log(
                    logging.WARNING,
                    "cancel %s: the order was still open, as the %s showed",
                    event.outcome.id,
                    "" if event.evidence is None else event.evidence.value,
                )
            case Unknown():
                self._log(
                    logging.WARNING,
                    "cancel %s: nothing shows what became of the order, %s%s",
                    event.outcome.id,
                    event.why.value,
                    self._text(event.detail),
                )
            case Closed() | Ended():
                asked = event.why in (WhyClosed.ASKED, WhyEnded.ASKED)
                self._log(
                    logging.INFO if asked else logging.ERROR,
                    "ended: %s%s",
                    event.why.value,
                    self._text(event.detail),
                )
            case _:
                pass

    def guard(self, event: Armed | NotRenewed | Lapsed | Stopped, countdown: int) -> None:
        """Log an event of a dead man's switch."""
        match event:
            case Armed():
                self._log(
                    logging.INFO,
                    "guard: the exchange cancels all orders %d s after the last renewal",
                    countdown,
                )
            case NotRenewed():
                self._log(
                    logging.WARNING,
                    "guard: not renewed, %s%s",
                    event.why.value,
                    self._text(event.detail),
                )
            case Lapsed():
                self._log(
                    logging.ERROR,
                    "guard: lapsed: the exchange may have cancelled all orders, and orders placed "
                    "from now on may be unprotected",
                )
            case Stopped():
                self._log(
                    logging.INFO if event.disarmed else logging.WARNING,
                    "guard: %s%s",
                    "turned off"
                    if event.disarmed
                    else "ended: the exchange may cancel all orders soon",
                    self._text(event.detail),
                )

    def _log(self, level: int, message: str, *arguments: object) -> None:
        with suppress(Exception):
            _LOGGER.log(level, message, *arguments)

    def _text(self, text: str) -> str:
        """Return a text, which may come from the exchange, as it may be logged after a message."""
        text = self._redactor.hide(text)
        if len(text) > _SHOWN:
            text = f"{text[:_SHOWN]}…"
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
        return f": {line}" if line else ""


def with_trace_log(trace: Callable[[str], object] | None) -> Callable[[str], object] | None:
    """Return a function that writes the lines of a trace to `trace`, and to the log if DEBUG is
    enabled now for `bitget_transports.trace`.
    """
    if not _TRACE.isEnabledFor(logging.DEBUG) or not (trace is None or callable(trace)):
        return trace

    def write(line: str) -> None:
        with suppress(Exception):
            _TRACE.debug("%s", line.rstrip("\n"))
        if trace is not None:
            trace(line)

    return write


def log_store(account: str, event: StoreDown | StoreUp) -> None:
    """Log that the store of a shared budget grants nothing, or grants again."""
    # The handlers and filters of a log are the caller's as well.
    with suppress(Exception):
        if isinstance(event, StoreDown):
            _LOGGER.warning("no leases for account %s: %s", account, event.reason)
        else:
            _LOGGER.info("leases for account %s again", account)


def log_caller_error(event: CallerError) -> None:
    """Log that a function of the caller failed, with its traceback; then drop the traceback.

    A traceback holds frames, which hold their callers' frames. An event with a traceback would keep
    alive an iterator of `cancel_many` whose loop the caller has left.
    """
    # The handlers and filters of a log are the caller's as well.
    with suppress(Exception):
        _LOGGER.error(
            "%s failed, and %s: %s",
            event.where,
            _CONSEQUENCES[event.where],
            event.detail,
            exc_info=event.error,
        )
    errors: list[BaseException | None] = [event.error]
    for error in errors:
        if error is not None and error.__traceback__ is not None:
            error.__traceback__ = None
            errors += [error.__cause__, error.__context__]
