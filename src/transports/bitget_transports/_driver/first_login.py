"""Whether the first login of a channel was accepted; until then, why not."""

from __future__ import annotations

from bitget_proto import (
    Closed,
    Ended,
    LinkClosed,
    LoginRejected,
    Output,
    Ready,
    SessionOutput,
    Up,
    WhyClosed,
    WhyEnded,
)

from .connect_errors import login_error, no_login
from .errors import ConnectFailed, LoginRefused
from .limits import Limits
from .url import Target


class FirstLogin:
    """Sees each output of the core until a login is accepted."""

    def __init__(self, target: Target, limits: Limits) -> None:
        self.accepted = False
        """Whether a login was accepted."""
        self.dial_failure: ConnectFailed | None = None
        """Why the link that is about to end could not be opened; None when it was open."""
        self.skew: float | None = None
        """Seconds by which the wall clock was ahead of the exchange's at the last handshake."""
        self._target = target
        self._limits = limits
        self._failed_dials = 0
        """The number of links that have ended, not counting those whose login was refused."""
        self._why: ConnectFailed | None = None
        """Why the last link has ended."""

    def add(self, output: Output | SessionOutput) -> None:
        """Take note of an output of the core."""
        if isinstance(output, (Ready, Up)):
            self.accepted = True
        elif isinstance(output, LoginRejected):
            self._why = LoginRefused(output, self.skew)
        elif isinstance(output, (Closed, LinkClosed)) and output.why is not WhyClosed.LOGIN_REFUSED:
            self._failed_dials += 1
            self._why = self.dial_failure or login_error(self._target, output)
            self.dial_failure = None

    def check(self, closed: Closed | Ended | None) -> bool:
        """Return whether a login was accepted. `closed` is how the channel has ended.

        Raises: ConnectFailed when no login will be accepted.
        """
        if self.accepted:
            return True
        if closed is not None:
            by_peer = isinstance(closed, Closed) or closed.why in (
                WhyEnded.REFUSED,
                WhyEnded.STAMP_REFUSED,
            )
            raise (by_peer and self._why) or login_error(self._target, closed)
        tries = self._limits.first_dials
        if self._why is not None and tries is not None and self._failed_dials >= tries:
            raise self._why
        return False

    def timeout_error(self) -> ConnectFailed:
        """Return the error for an expired `Limits.up_timeout`."""
        return no_login(self._limits, self._why)
