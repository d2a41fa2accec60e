"""The time with which logins and REST requests are signed: the wall clock's or the exchange's.

The wall clock is used until the exchange refuses one of its timestamps, or REST shows that it is
wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from bitget_proto import CallerError, SignedLogin

from .account import Account
from .clock import clock
from .connect_errors import clock_failed
from .errors import SKEW_NOTICED, ConnectFailed
from .first_login import FirstLogin
from .log import ChannelLog


class LoginTime:
    """The time for the logins of one channel. `report` is called when the wall clock fails."""

    def __init__(
        self,
        account: Account,
        first_login: FirstLogin,
        log: ChannelLog,
        report: Callable[[CallerError], None],
    ) -> None:
        self._account = account
        self._first_login = first_login
        self._log = log
        self._report = report
        self._use_exchange_time = False
        """Whether the exchange's own time is used, because the exchange refused a timestamp of the
        wall clock, or REST showed that the wall clock is wrong.
        """
        self._clock_failed = False
        """Whether the wall clock failed when it was read last. Then nothing is dialled until it
        works again, unless the exchange's time is used.
        """
        self._reference: tuple[float, float] | None = None
        """The exchange's time when it was read last, and when that was on the clock of the
        transports.
        """
        self._asked = False
        """Whether the exchange's time was requested by REST."""

    def handshake(self, theirs: float | None) -> None:
        """Take over the exchange's time from the answer to a handshake."""
        if theirs is not None:
            self._reference = theirs, clock()

    def must_ask(self, theirs: float | None) -> bool:
        """Return whether the exchange's time must be requested by REST before the first login,
        because a login with the wall clock's time might be refused.
        """
        return (
            not self._asked
            and not self._first_login.accepted
            and (self._use_exchange_time or theirs is None or self._is_skewed(theirs))
        )

    def answered(self, answer: tuple[float, float] | None) -> None:
        """Take over the exchange's time from REST. `answer` is that time, and when it was read on
        the clock of the transports; None if REST did not give it.
        """
        self._asked = True
        if answer is not None:
            self._reference = answer
            self._use_exchange_time = self._is_skewed(self.exchange_time())

    def exchange_time(self) -> float | None:
        """Return the exchange's time now; None if it was never read."""
        if self._reference is None:
            return None
        theirs, at = self._reference
        return theirs + clock() - at

    def corrected(self) -> float | None:
        """Return the exchange's time if it is used in place of the wall clock."""
        return self.exchange_time() if self._use_exchange_time else None

    def stamp_refused(self) -> None:
        """Handle the exchange's refusal of a timestamp of the wall clock."""
        self._use_exchange_time = True

    def fails(self) -> bool:
        """Return whether nothing can be signed: the wall clock failed, and fails again now."""
        return self._clock_failed and not self._use_exchange_time and self.sign(None) is None

    def sign(self, theirs: float | None) -> SignedLogin | None:
        """Return a login signed with the current time. `theirs` is the exchange's time, if known.

        If the wall clock fails, report that and return None, unless the exchange's time is used.
        """
        now, first_login = self._account.sign_now(), self._first_login
        self._clock_failed, first_login.skew = isinstance(now, CallerError), None
        if isinstance(now, CallerError):
            first_login.dial_failure = ConnectFailed(clock_failed(now))
            first_login.dial_failure.__cause__ = now.error
            self._report(now)
            login = None
        else:
            time, login = now
            if theirs is not None:
                first_login.skew = time - theirs
                self._log.skewed(first_login.skew)
        return (
            self._account.sign(theirs) if self._use_exchange_time and theirs is not None else login
        )

    def _is_skewed(self, theirs: float | None) -> bool:
        now = self._account.sign_now()
        return (
            theirs is not None
            and not isinstance(now, CallerError)
            and abs(now[0] - theirs) >= SKEW_NOTICED
        )
