"""Reads an HTTP answer that refuses the WebSocket: its status, its date, and when to retry
(RFC 9110, 5.6.7 and 10.2.3).

Nothing here raises for what the peer wrote: an unreadable value is None.
"""

from __future__ import annotations

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from .errors import UpgradeRefused
from .exception_origin import raised_by_caller

_TOO_LATE = 4e9
"""Seconds since 1970, in the year 2096: a later date is not the clock of an exchange."""

_REFUSAL = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)[ \r].*?\r\n\r\n", re.DOTALL)
"""The complete head of an answer that refuses the WebSocket."""

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def http_date(text: str | None) -> float | None:
    """Return an HTTP date as seconds since 1970; None when it is not a date, or cannot be the
    timestamp of a login.
    """
    try:
        said = parsedate_to_datetime(text or "")
        # HTTP dates are GMT, whether or not they say so.
        seconds = (said if said.tzinfo is not None else said.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        if raised_by_caller(error):
            raise
        return None
    return seconds if 0.0 < seconds < _TOO_LATE else None


def retry_after(status: int, value: str | None, date: str | None) -> float | None:
    """Return the number of seconds after which an answer of 429 or 503 asks to retry; None when it
    does not ask.

    `value` is its `Retry-After`, in whole seconds or as a date. Such a date is compared with
    `date`, the answer's `Date`, so that this machine's clock need not be right. Without a `Date`,
    it is compared with this machine's clock.
    """
    if status not in (429, 503) or value is None:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    asked = http_date(date)
    return max(0.0, until - (time.time() if asked is None else asked))


def refusal(host: str, head: bytes, body: bytes) -> UpgradeRefused | None:
    """Return the error for the raw head of an answer; None when it is not a complete refusal."""
    found = _REFUSAL.match(head)
    if found is None:
        return None
    status = int(found[1])
    wait = retry_after(status, header(head, "Retry-After"), header(head, "Date"))
    return UpgradeRefused(host, status, body, wait)


def header(head: bytes, name: str) -> str | None:
    """Return the first header with this name from the raw head of an answer."""
    found = re.search(rb"(?i)\r\n%b:[ \t]*([^\r\n]*?)[ \t]*\r\n" % re.escape(name.encode()), head)
    return None if found is None else found[1].decode("latin-1")
