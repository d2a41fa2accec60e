"""The cancels of a session that are sent by REST: their requests, and what became of them.

- A request is sent once, whatever happens: nothing here tries again.
- An error of our own client may show that nothing was sent. An error of the caller's function never
  does: the function may have sent the request before it failed.
- Nothing here waits. The transports wait.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import attrs

from bitget_proto import RestCancel, Session, ValidationError

from .account import Account
from .login_time import LoginTime
from .rest import as_answer, never_left

AT_ONCE = 8
"""How many REST requests may wait for an answer at the same time on an event loop. Our choice: with
answers after 0.1 s, this allows nearly as many cancels as any account may send."""


class Report(Protocol):
    """Reports to the session what became of a request."""

    def __call__(self, now: float) -> None: ...


class RestDriver(Protocol):
    """What requests need from their driver."""

    account: Account

    @property
    def login_time(self) -> LoginTime: ...

    def rest_not_sent(self, cancel: RestCancel, reason: str) -> None: ...
    def rest_ended(self, report: Report) -> None: ...


@attrs.define
class PendingRequest:
    """A request that is being sent."""

    headers: Mapping[str, str] | None = None
    """None before it was signed."""

    answer: object = None
    """The status and the body of the answer."""


class RestCancels:
    """The REST requests of one session."""

    def __init__(
        self, session: Session, driver: RestDriver, *, ours: bool, at_once: int = AT_ONCE
    ) -> None:
        self._session = session
        self._driver = driver
        self._ours = ours
        """Whether a client of our own sends the requests."""
        self._at_once = at_once
        self._out = 0

    @property
    def full(self) -> bool:
        """Whether no further request may be sent now."""
        return self._out >= self._at_once

    def begin(self) -> None:
        """Note that a request is about to be sent: call `asking` or `drop` for it."""
        self._out += 1

    @contextmanager
    def asking(self, cancel: RestCancel) -> Generator[PendingRequest]:
        """Report what became of a request sent inside. An exception counts as no answer."""
        pending = PendingRequest()
        try:
            yield pending
        except Exception as error:  # noqa: BLE001 - it may come from the caller's function
            reason = self._driver.account.why(error)
            if pending.headers is None or (self._ours and never_left(error)):
                self._not_sent(cancel, reason)
            else:
                self._end(partial(self._session.rest_failed, cancel.number, reason))
        except BaseException:
            reason = "the request was given up"
            self._end(partial(self._session.rest_failed, cancel.number, reason))
            raise
        else:
            self._end(partial(self._answered, cancel, pending.answer))

    def headers(self, cancel: RestCancel, pending: PendingRequest) -> Mapping[str, str]:
        """Return the headers of a request, signed with the current time.

        Raises: RestFailed if the wall clock fails.
        """
        account = self._driver.account
        pending.headers = account.sign_rest(cancel.request, self._driver.login_time.corrected())
        return pending.headers

    def drop(self, cancel: RestCancel) -> None:
        """Report that a request was not sent, because the channel was closed first."""
        self._not_sent(cancel, "the channel is closed")

    def _not_sent(self, cancel: RestCancel, reason: str) -> None:
        self._driver.rest_not_sent(cancel, reason)
        self._end(partial(self._session.rest_failed, cancel.number, reason, unsent=True))

    def _end(self, report: Report) -> None:
        self._out -= 1
        self._driver.rest_ended(report)

    def _answered(self, cancel: RestCancel, answer: object, now: float) -> None:
        try:
            reply = as_answer(answer)
        except ValidationError as error:
            self._session.rest_failed(cancel.number, str(error), now)
        else:
            self._session.rest_replied(cancel.number, reply, now)
