"""Refusals of logins: for an invalid key, passphrase, timestamp or signature, and scripted ones.

The scripted refusals apply whatever the login contains: during maintenance, to the next n logins,
or to a second login of an account.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import cycle
from math import inf
from types import MappingProxyType
from typing import Final

import attrs

from ..._machine.connection_config import check_flag
from ..._machine.deadlines import after, is_seconds
from ..._values.credentials import Credentials, SignedLogin, sign_stamp
from ..._values.errors import ValidationError, safe_repr
from .exchange_connection import LENIENT_HINT, check_refusal

MAINTENANCE_CODES: Final = MappingProxyType({
    "45001": "Unknown error",
    "40010": "Request timed out",
    "40725": "service return an error",
    "40015": "System is abnormal, please try again later",
})  # fmt: skip
"""The codes with which logins were refused around releases, and their messages."""

_WORDS: Final = MappingProxyType({**MAINTENANCE_CODES, "30005": "error"})


STAMP_VALID = 30.0
"""Seconds by which the timestamp of a login may be behind or ahead of the exchange's clock."""

_MILLISECONDS_FROM = 10**11
"""Timestamps from here on are in milliseconds: in seconds this would be the year 5138."""


@attrs.frozen
class Refusal:
    """The code and message of a refused login, and whether its socket stays open."""

    code: str
    message: str
    stay: bool = attrs.field(default=False, validator=check_flag)


def refusal(code: str, *, stay: bool = False) -> Refusal:
    """Return the refusal with this code and its usual message.

    Raises: ValidationError for a code that is not a refusal code.
    """
    check_refusal(code)
    return Refusal(code, _WORDS.get(code, "refused as scripted"), stay)


def invalid_login(
    login: SignedLogin, credentials: Credentials, wall_clock: float, *, lenient: bool
) -> Refusal | None:
    """Return the refusal of a login that does not match the credentials or whose timestamp is not
    valid at `wall_clock`; None for a valid login.
    """
    if login.api_key != credentials.api_key:
        return Refusal("30011", "Invalid ACCESS_KEY")
    if login.passphrase != credentials.passphrase:
        return Refusal("30012", "Invalid ACCESS_PASSPHRASE")
    stamp = login.timestamp
    seconds: float = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 15 else inf
    if seconds >= _MILLISECONDS_FROM and lenient:
        seconds /= 1000
    if seconds >= _MILLISECONDS_FROM:
        readable = seconds < 1000 * _MILLISECONDS_FROM and not lenient
        hint = LENIENT_HINT if readable else ""
        return Refusal("30013", f"Invalid ACCESS_TIMESTAMP{hint}")
    if abs(wall_clock - seconds) > STAMP_VALID:
        return Refusal("30014", "Timestamp expired")
    if login != sign_stamp(credentials, stamp):
        return Refusal("30015", "Invalid sign")
    return None


class Logins:
    """The scripted refusals."""

    def __init__(self) -> None:
        self.second: str | None = None
        """The code that refuses a login with a key in use on another link; None accepts it."""
        self._coming: deque[Refusal] = deque()
        self._in_maintenance: Iterator[Refusal] = iter(())
        self._maintenance_until = -inf

    def refuse(self, n: int, code: str, *, stay: bool) -> None:
        """Refuse the next `n` logins."""
        self._coming.extend([refusal(code, stay=stay)] * check_times(n))

    def begin_maintenance(
        self, now: float, seconds: float | None, codes: Iterable[str] | None, *, stay: bool
    ) -> None:
        """Refuse all logins for `seconds`, with these codes in turn.

        Raises: the same as `ScriptedExchange.maintenance`.
        """
        if seconds is not None and not is_seconds(seconds):
            raise ValidationError(
                f"seconds must be a number above 0, or None; got {safe_repr(seconds)}"
            )
        given = MAINTENANCE_CODES if codes is None else codes
        refusals = [refusal(code, stay=stay) for code in given]
        if not refusals:
            raise ValidationError("codes must hold at least one code; got none")
        self._in_maintenance, self._maintenance_until = cycle(refusals), after(now, seconds)

    def end_maintenance(self) -> None:
        """Accept logins again."""
        self._maintenance_until = -inf

    def refusal(self, now: float) -> Refusal | None:
        """Return the refusal for the login that has just arrived, or None."""
        if now < self._maintenance_until:
            return next(self._in_maintenance)
        return self._coming.popleft() if self._coming else None


def check_times(n: object) -> int:
    """Check and return a whole number from 1 up.

    Raises: ValidationError for anything else.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValidationError(f"n must be a whole number from 1 up; got {safe_repr(n)}")
    return n
