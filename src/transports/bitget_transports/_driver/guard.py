"""Keeps the exchange's countdown running: the code that the `guard` functions of all transports
share.

A task or a thread renews in the background. Each request has a task or a thread of its own, so that
a request that hangs delays no other. The rules are in `DeadManSwitch`.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, TypeAlias

from bitget_proto import (
    Armed,
    CallerError,
    CodeClass,
    Credentials,
    DeadManSwitch,
    Dialect,
    Lapsed,
    NotRenewed,
    RestCodec,
    RestRequest,
    SetCountdown,
    Stopped,
    ValidationError,
    Wait,
    WhyNotRenewed,
)

from .account import Account
from .async_driver import Flag
from .checks import safe_repr
from .clock import clock
from .errors import GuardFailed
from .log import ChannelLog, log_caller_error
from .proxy import ProxySetting
from .rest import SendRest, as_answer, never_left
from .set_module import set_module
from .url import url_for

GuardEvent: TypeAlias = Armed | NotRenewed | Lapsed | Stopped
"""What a guard reports."""

ObserveGuard: TypeAlias = Callable[[GuardEvent, float], object]
"""Called with each event and the time at which it happened, on `bitget_transports.clock`."""

_ATTEMPTS = 3
"""Give up starting the countdown after this many failed requests. Our choice."""

_FOR_GOOD = (
    CodeClass.BAD_PARAMETERS,
    CodeClass.PERMISSION,
    CodeClass.PROTOCOL,
    CodeClass.LOGIN,
    CodeClass.UNLISTED,
)
"""A refusal of one of these classes ends the attempts to start the countdown at once."""


@set_module("bitget_transports")
class Guard:
    """The countdown of an account, which `guard` renews in the background."""

    def __init__(self, switch: DeadManSwitch) -> None:
        self._switch = switch

    def __repr__(self) -> str:
        return f"<Guard {'armed' if self.armed else 'not armed'}>"

    @property
    def armed_until(self) -> float | None:
        """The time until which the countdown is known to be on, on `bitget_transports.clock`; None
        if it is not known to be on. Each renewal moves this time.
        """
        until = self._switch.armed_until
        return None if until is None or until <= clock() else until

    @property
    def armed(self) -> bool:
        """Whether the countdown is known to be on."""
        return self.armed_until is not None

    def check(self) -> None:
        """Check that the countdown is known to be on, for example before you place an order.

        Raises: GuardFailed if it is not.
        """
        if not self.armed:
            raise GuardFailed(
                "the countdown may have ended: the exchange may have cancelled all orders of the "
                "account, and orders placed from now on may be unprotected; the guard keeps trying to "
                "renew it (see the log)"
            )


def guarded_account(
    credentials: Credentials,
    dialect: Dialect,
    url: str | None,
    tls: ssl.SSLContext | None,
    wall_clock: Callable[[], float],
    *,
    allow_plaintext: bool,
    proxy: ProxySetting,
) -> Account:
    """Check the arguments of `guard`.

    Raises: ValidationError for an invalid argument, or for classic accounts.
    """
    RestCodec(dialect).countdown(0)
    return Account.of(
        credentials,
        url_for(url, Dialect.UNIFIED),
        tls,
        wall_clock,
        allow_plaintext=allow_plaintext,
        proxy=proxy,
    )


class GuardDriver:
    """Drives a `DeadManSwitch`, except for waiting and sending."""

    def __init__(
        self, account: Account, countdown: int, disarm: object, observe: ObserveGuard | None
    ) -> None:
        if not isinstance(disarm, bool):
            raise ValidationError(f"disarm must be True or False; got {safe_repr(disarm)}")
        if observe is not None and not callable(observe):
            raise ValidationError(
                f"observe must be a function of an event and a time, or None; got {safe_repr(observe)}"
            )
        self._switch = DeadManSwitch(countdown)
        self.guard = Guard(self._switch)
        self.failure: GuardFailed | None = None
        """Why the countdown could not be started."""
        self.settled = False
        """Whether the start is over: the countdown was started, or could not be."""
        self.stopped: Stopped | None = None
        self._account = account
        self._countdown = countdown
        self._disarm = disarm
        self._observe = observe
        self._log = ChannelLog(account)
        self._attempts = 0

    def advance(self) -> SetCountdown | Wait:
        """Report what has happened, and return what must be done next."""
        while True:
            output = self._switch.poll(clock())
            if isinstance(output, (SetCountdown, Wait)):
                return output
            self._learn(output)
            self._report(output)

    def stop(self, *, disarm: bool) -> None:
        """Like `DeadManSwitch.stop`."""
        self._switch.stop(clock(), disarm=disarm)

    def stop_as_asked(self) -> None:
        """Stop because the context is left without an exception."""
        self.stop(disarm=self._disarm)

    def signed(self, request: RestRequest) -> Mapping[str, str]:
        """Return the headers of a request, signed with the current time.

        Raises: RestFailed if the wall clock fails.
        """
        return self._account.sign_rest(request)

    def answered(self, number: int, answer: object) -> None:
        """Handle what the sender of a request has returned."""
        try:
            status, body = as_answer(answer)
        except ValidationError as error:
            self._switch.failed(number, str(error), clock())
        else:
            self._switch.replied(number, status, body, clock())

    def failed(self, number: int, error: Exception, *, unsent: bool = False) -> None:
        """Handle what the sender of a request has raised."""
        reason = self._account.why(error)
        self._switch.failed(number, reason, clock(), unsent=unsent or never_left(error))

    def not_armed(self) -> GuardFailed:
        """Return why the countdown could not be started, and whether it may be on."""
        failure, stopped = self.failure, self.stopped
        if failure is None:
            return GuardFailed("the guard has ended because of an error in it")
        if stopped is not None and not stopped.disarmed:
            return GuardFailed(f"{failure}. {self._may_fire()}")
        return failure

    def check_stopped(self) -> None:
        """Check that the countdown is off, if it should be.

        Raises: GuardFailed.
        """
        stopped = self.stopped
        if stopped is None:
            raise self.not_armed()
        if self._disarm and not stopped.disarmed:
            raise GuardFailed(
                f"the countdown could not be turned off: {stopped.detail}. {self._may_fire()}"
            )

    # --- private ---

    def _may_fire(self) -> str:
        return (
            "The exchange may still cancel all orders of the account, within "
            f"{self._countdown} s, or within {self._countdown + 30} s if a request has no answer"
        )

    def _learn(self, event: GuardEvent) -> None:
        if isinstance(event, Armed):
            self.settled = True
        elif isinstance(event, Stopped):
            self.stopped = event
        elif isinstance(event, NotRenewed) and not self.settled:
            self._attempts += 1
            for_good = event.why is WhyNotRenewed.REFUSED and event.code_class in _FOR_GOOD
            if for_good or self._attempts == _ATTEMPTS:
                self.failure, self.settled = _failure(event, self._attempts), True
                self.stop(disarm=True)

    def _report(self, event: GuardEvent) -> None:
        self._log.guard(event, self._countdown)
        if self._observe is None:
            return
        try:
            self._observe(event, clock())
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self._observe = None
            log_caller_error(CallerError(where="observe", error=error))


def _failure(event: NotRenewed, attempts: int) -> GuardFailed:
    if event.code == "40084":
        return GuardFailed(
            f"the account is a classic one ({event.detail}), and the exchange has a countdown for "
            "unified accounts only: run a separate process that cancels everything when your program "
            "ends (docs/scaling.md)"
        )
    if event.why is WhyNotRenewed.REFUSED:
        return GuardFailed(
            f"the exchange refused the countdown: {event.detail}: check the key and its permissions; "
            "access to the countdown is granted on request"
        )
    return GuardFailed(
        f"the countdown could not be started after {attempts} attempts: {event.detail}: check the "
        "network, and any proxy"
    )


class AsyncGuardDriver(GuardDriver, ABC):
    """A guard that a task serves."""

    def __init__(
        self,
        account: Account,
        countdown: int,
        disarm: object,
        observe: ObserveGuard | None,
        send: SendRest,
    ) -> None:
        super().__init__(account, countdown, disarm, observe)
        self._send = send
        self._over = False
        self._news = self.flag()
        """Set when the serving task has something to do."""
        self._progress = self.flag()
        """Set when the serving task has done something."""

    @abstractmethod
    def flag(self) -> Flag:
        """Return a new flag."""

    @abstractmethod
    async def wait(self, flag: Flag, seconds: float) -> None:
        """Wait until the flag is set, for at most this many seconds."""

    @abstractmethod
    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError after this many seconds."""

    @abstractmethod
    def spawn(
        self, ask: Callable[[SetCountdown], Coroutine[Any, Any, None]], request: SetCountdown
    ) -> None:
        """Start a task."""

    async def serve(self) -> None:
        """Renew, until stopped."""
        try:
            while self.stopped is None:
                self._news = self.flag()
                output = self.advance()
                self._progress.set()
                if isinstance(output, SetCountdown):
                    self.spawn(self._ask, output)
                elif self.stopped is None:
                    await self.wait(
                        self._news, inf if output.until is None else output.until - clock()
                    )
        finally:
            self._over = True
            self._progress.set()

    async def arm(self) -> None:
        """Wait until the countdown has begun.

        Raises: GuardFailed.
        """
        await self._until(lambda: self.settled)
        if self.failure is not None or self._over:
            await self._until(lambda: self.stopped is not None)
            raise self.not_armed()

    async def finish(self) -> None:
        """Stop as asked, and wait until that is done.

        Raises: GuardFailed if the countdown should be off, but may still be on.
        """
        self.stop_as_asked()
        await self._until(lambda: self.stopped is not None)
        self.check_stopped()

    async def _until(self, done: Callable[[], bool]) -> None:
        self._news.set()
        while not (done() or self._over):
            self._progress = self.flag()
            await self.wait(self._progress, inf)

    async def _ask(self, countdown: SetCountdown) -> None:
        try:
            headers = self.signed(countdown.request)
        except Exception as error:  # noqa: BLE001 - the wall clock is the caller's
            self.failed(countdown.number, error, unsent=True)
        else:
            try:
                async with self.within(countdown.timeout):
                    answer = await self._send(countdown.request, headers)
            except Exception as error:  # noqa: BLE001 - no answer, whatever the reason
                self.failed(countdown.number, error)
            else:
                self.answered(countdown.number, answer)
        self._news.set()
