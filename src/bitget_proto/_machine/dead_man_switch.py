"""Renews the exchange's countdown, which cancels all orders of a unified account when it ends.

This is a dead man's switch: a program that stops renewing, for whatever reason, leaves no orders
behind. A renewal is a REST request, `POST /api/v3/trade/countdown-cancel-all`, with 5 to 60
seconds, or with 0 to turn the countdown off. The exchange takes at most one a second. After the
countdown has fired, it is off. Rules that a change could break:

- The exchange starts the countdown between request and answer. So the countdown ends no earlier
  than `countdown` seconds after the request. Only until then is the switch known to be armed.
- The exchange may still execute a request without an answer, while its signature is valid. So the
  countdown counts as off only if every request to start it in the last 30 s has an answer.
- One request at a time: two could overtake each other.
- A renewal without an answer after `interval` counts as late, and is repeated. Its answer still
  counts when it comes.
"""

from collections import deque
from math import inf
from typing import Final, TypeAlias

import attrs

from .._values.codes import CLASSES, CodeClass
from .._values.dialects import Dialect
from .._values.enums import DescribedEnum
from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import Wait
from .._values.rest_requests import COUNTDOWNS, RestRequest
from .._values.set_module import set_module
from .._values.timers import Timer
from .._wire.rest import RestCodec
from .deadlines import finite_time
from .rate_limit import MARGIN, WINDOW

_LONGEST_INTERVAL: Final = 5.0
"""Seconds between two renewals, at most: "renew every 3 to 5 s". For a countdown below 15 s, the
interval is a third of the countdown: one renewal may fail, and the next is still in time."""

_SPACING: Final = WINDOW + MARGIN
"""Seconds between two requests, at least: the exchange takes one a second."""

_SIGNATURE_VALID: Final = 30.0
"""Seconds for which the exchange may still execute a request after it was signed (40008)."""

_STOP_WITHIN: Final = 10.0
"""Seconds after `stop` within which the countdown must be turned off. Our choice."""


@set_module("bitget_proto")
class WhyNotRenewed(DescribedEnum):
    """Why a renewal failed. Each member has a `sentence`."""

    LATE = "late", "No answer came in time. The request may have been done."
    REFUSED = "refused", "The exchange refused the request; `code` says why."
    UNREADABLE = "unreadable", "The answer cannot be read. The request may have been done."
    FAILED = "failed", "The request could not be sent, or got no answer."


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class SetCountdown:
    """Send this request, and pass its answer to `DeadManSwitch.replied`.

    If no answer comes, call `DeadManSwitch.failed` instead. Exactly one of the two must be called.
    Give up after `timeout` seconds.
    """

    number: int
    seconds: int
    """The countdown, or 0 to turn it off."""

    request: RestRequest
    timeout: float


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Armed:
    """The exchange has begun to count down: for the first time, or again after `Lapsed`.

    If no renewal reaches it, it cancels all orders of the account, but not before `until`. Renewals
    move `DeadManSwitch.armed_until` without another event.
    """

    until: float


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class NotRenewed:
    """A request failed, and is repeated. The switch is still armed until `until`; if `until` is
    None, the switch is not known to be armed.
    """

    why: WhyNotRenewed
    detail: str
    """Text for people."""

    code: str | None = None
    code_class: CodeClass = CodeClass.UNREADABLE
    until: float | None = None


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Lapsed:
    """No renewal was confirmed before the countdown could end at `at`.

    The exchange may have cancelled all orders of the account, and the switch may be off: orders
    that are placed now are not guarded. Renewals go on; `Armed` follows when one is confirmed.
    """

    at: float


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Stopped:
    """The last output, after `stop`.

    If `disarmed` is true, the countdown is off. If it is false, the exchange will cancel all orders
    of the account, or may do so: within `countdown` seconds, or within `countdown` + 30 s if a
    request has no answer.
    """

    disarmed: bool
    detail: str
    """Text for people: why the countdown may be on. Empty if it is off, or was left on."""


DeadManSwitchOutput: TypeAlias = SetCountdown | Armed | NotRenewed | Lapsed | Stopped | Wait
"""Everything that `DeadManSwitch.poll` returns."""


@set_module("bitget_proto")
class DeadManSwitch:
    """Keeps the exchange's countdown for a unified account from ending, until `stop`.

    `countdown` is the number of seconds after which the exchange cancels all orders of the account
    when renewals stop: 5 to 60 (REST API V3, Countdown Cancel All). It is renewed every 5 s, or
    three times in a countdown below 15 s. Use it in only one process of an account, because an
    account has only one countdown. Classic accounts have none.

    Call `poll` until it returns a `Wait`: at the start, after each other call, and at its `until`.
    `now` is the time in seconds on a clock of your choice. Use one that keeps running while the
    machine sleeps, because the exchange's countdown keeps running.

    A call that raises LocalProtocolError leaves the state unchanged.

    Raises: ValidationError unless `countdown` is a whole number from 5 to 60.
    """

    __slots__ = (
        "_asked",
        "_countdown",
        "_ended",
        "_interval",
        "_next_at",
        "_now",
        "_numbers",
        "_open",
        "_outputs",
        "_reason",
        "_rest",
        "_sent_at",
        "_stop_by",
        "_until",
        "_was_armed",
    )

    def __init__(self, countdown: int = 30) -> None:
        if type(countdown) is not int or countdown not in COUNTDOWNS:
            raise ValidationError(
                f"countdown must be a whole number of seconds from {COUNTDOWNS[0]} to "
                f"{COUNTDOWNS[-1]}; got {safe_repr(countdown)}"
            )
        self._countdown = countdown
        self._interval = min(_LONGEST_INTERVAL, countdown / 3)
        self._rest = RestCodec(Dialect.UNIFIED)
        self._outputs: deque[Armed | NotRenewed | Lapsed | Stopped] = deque()
        self._now = -inf
        self._numbers = 0
        self._asked: dict[int, tuple[int, float]] = {}
        """The countdown and the time of each request that may still be done."""
        self._open: int | None = None
        """The number of the request whose answer is awaited; None if there is none."""
        self._next_at = -inf
        """When the next request is due."""
        self._sent_at = -inf
        """When the last request was sent."""
        self._was_armed = False
        """Whether the exchange has ever accepted a countdown."""
        self._until: float | None = None
        """Until when the switch is known to be armed; None if it is not."""
        self._stop_by: float | None = None
        """The deadline that `stop` set; None before `stop`."""
        self._reason = ""
        """Why the last request failed."""
        self._ended = False

    def __repr__(self) -> str:
        state = "stopped" if self._ended else "not armed" if self._until is None else "armed"
        return f"<DeadManSwitch {state}, {self._countdown} s>"

    @property
    def armed_until(self) -> float | None:
        """Until when the switch is known to be armed; None if it is not."""
        return self._until

    # --- inputs ---

    def replied(self, number: int, status: int, body: str | bytes, now: float) -> None:
        """Handle the answer to `SetCountdown`: the HTTP status, and the whole body. Then drain
        `poll`. An answer that comes late still counts.

        Raises: LocalProtocolError if no request has this number, or for a time that is not a finite
        number; ValidationError if the body is neither text nor bytes.
        """
        self._check_number(number)
        refusal = self._rest.read_taken(status, body)
        now = self._now = finite_time(now, self._now)
        self._close(number)
        if number not in self._asked or self._ended:
            return
        if refusal is None:
            self._accepted(number, now)
            return
        if refusal.code is not None and status < 500:
            del self._asked[number]  # it was not done, and will not be
            why = WhyNotRenewed.REFUSED
        else:
            why = WhyNotRenewed.UNREADABLE
        code_class = CLASSES[Dialect.UNIFIED][refusal.code]
        self._failed(why, refusal.reason, refusal.code, code_class)

    def failed(self, number: int, reason: str, now: float, *, unsent: bool = False) -> None:
        """Report that no answer to `SetCountdown` came. Then drain `poll`.

        `reason` is text for people. Pass `unsent=True` only if no byte of the request was sent.

        Raises: LocalProtocolError if no request has this number, or for a time that is not a finite
        number; ValidationError for a reason that is not a string.
        """
        self._check_number(number)
        if not isinstance(reason, str):
            raise ValidationError(f"reason must be a string; got {safe_repr(reason)}")
        self._now = finite_time(now, self._now)
        if unsent is True:
            self._asked.pop(number, None)
        if self._close(number):
            self._failed(WhyNotRenewed.FAILED, reason)

    def stop(self, now: float, *, disarm: bool = True) -> None:
        """Stop renewing, and turn the countdown off; `Stopped` is the last output. Then drain
        `poll`.

        This takes up to 10 s. With `disarm=False`, the switch stops at once and leaves the
        countdown on: the exchange cancels all orders when the countdown ends.

        Raises: LocalProtocolError for a time that is not a finite number.
        """
        now = self._now = finite_time(now, self._now)
        if self._ended:
            return
        if not disarm:
            self._end(disarmed=False)
        elif self._stop_by is None:
            self._stop_by = now + _STOP_WITHIN
            self._next_at = min(self._next_at, self._sent_at + _SPACING)

    # --- outputs ---

    def poll(self, now: float) -> DeadManSwitchOutput:
        """Return the next output: a request to send, what has happened, or how long to wait.

        Raises: LocalProtocolError for a time that is not a finite number.
        """
        now = self._now = finite_time(now, self._now)
        if not self._ended:
            self._fire(now)
        if self._outputs:
            return self._outputs.popleft()
        if self._ended:
            return Wait(None, None)
        if self._open is None and self._next_at <= now:
            return self._ask(now)
        until = self._next_at if self._open is None else self._late_at(self._open)
        for deadline in (self._until, self._stop_by):
            if deadline is not None:
                until = min(until, deadline)
        return Wait(until, Timer.COUNTDOWN)

    # --- private ---

    def _fire(self, now: float) -> None:
        """Note what is late, and what has ended."""
        if self._open is not None and self._late_at(self._open) <= now:
            self._open = None
            self._failed(WhyNotRenewed.LATE, f"no answer within {self._interval:.1f} s")
        if self._until is not None and self._until <= now:
            self._outputs.append(Lapsed(at=self._until))
            self._until = None
        if self._stop_by is None:
            return
        if not self._was_armed and not any(seconds for seconds, _ in self._asked.values()):
            self._end(disarmed=True)  # it never was on
        elif self._stop_by <= now:
            self._end(disarmed=False, detail=self._reason)

    def _ask(self, now: float) -> SetCountdown:
        self._asked = {
            number: (seconds, at)
            for number, (seconds, at) in self._asked.items()
            if at > now - max(_SIGNATURE_VALID, self._countdown)
        }
        self._numbers += 1
        seconds = self._countdown if self._stop_by is None else 0
        self._open, self._sent_at = self._numbers, now
        self._asked[self._open] = seconds, now
        if not seconds:
            self._until = None  # it may be off from now on
        self._next_at = now + self._interval
        return SetCountdown(
            number=self._open,
            seconds=seconds,
            request=self._rest.countdown(seconds),
            timeout=self._interval,
        )

    def _late_at(self, number: int) -> float:
        return self._asked[number][1] + self._interval

    def _close(self, number: int) -> bool:
        """Stop waiting for the answer to this request. Return whether it was awaited."""
        was_open = number == self._open
        if was_open:
            self._open = None
        return was_open

    def _accepted(self, number: int, now: float) -> None:
        seconds, at = self._asked.pop(number)
        if not seconds:
            # A request to turn it off does no harm if it is done late.
            unsure = [
                at
                for seconds, at in self._asked.values()
                if seconds and at > now - _SIGNATURE_VALID
            ]
            self._end(
                disarmed=not unsure,
                detail=f"a request sent {now - max(unsure):.1f} s ago has no answer, and may still be done"
                if unsure
                else "",
            )
            return
        self._was_armed = True
        if self._stop_by is not None:
            return  # a request to turn it off may have been done since
        until = at + seconds
        if until > now and (self._until is None or until > self._until):
            if self._until is None:
                self._outputs.append(Armed(until=until))
            self._until = until

    def _failed(
        self,
        why: WhyNotRenewed,
        detail: str,
        code: str | None = None,
        code_class: CodeClass = CodeClass.UNREADABLE,
    ) -> None:
        """Report a failure, and repeat the request soon.

        A request that the exchange refused is repeated at the next interval, unless the refusal is
        about the rate limit.
        """
        self._reason = detail
        self._outputs.append(
            NotRenewed(why=why, detail=detail, code=code, code_class=code_class, until=self._until)
        )
        if why is not WhyNotRenewed.REFUSED or code_class is CodeClass.THROTTLED:
            self._next_at = min(self._next_at, self._sent_at + _SPACING)

    def _end(self, *, disarmed: bool, detail: str = "") -> None:
        self._ended, self._open, self._until = True, None, None
        self._asked.clear()
        self._outputs.append(Stopped(disarmed=disarmed, detail=detail))

    def _check_number(self, number: object) -> None:
        if type(number) is not int or not 0 < number <= self._numbers:
            raise LocalProtocolError(
                f"number must be that of a SetCountdown; got {safe_repr(number)}"
            )
