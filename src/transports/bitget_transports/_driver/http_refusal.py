"""What an HTTP answer says about time: its date, and when to ask again (RFC 9110, 5.6.7 and 10.2.3).

Nothing here raises for what the other side wrote: what cannot be read is None.
"""

from __future__ import annotations

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from .exception_origin import is_callers

_TOO_LATE = 4e9
"""Seconds since 1970: the year 2096. What says that it is later is no exchange's clock."""

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def http_date(text: str | None) -> float | None:
    """An HTTP date as seconds since 1970; None for what is none, or is no time that a login could be stamped with."""
    try:
        said = parsedate_to_datetime(text or "")
        # HTTP dates are GMT, whether or not they say so.
        seconds = (said if said.tzinfo is not None else said.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        if is_callers(error):
            raise
        return None
    return seconds if 0.0 < seconds < _TOO_LATE else None


def retry_after(status: int, value: str | None, date: str | None) -> float | None:
    """For how many seconds an answer of 429 or 503 asks to stay away; None when it does not.

    `value` is its `Retry-After`, whole seconds or a date. `date` is its `Date`, with which a date is compared, so that this
    machine's clock need not be right; without one it is compared with this machine's.
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


def header(head: bytes, name: str) -> str | None:
    """The first header of this name, out of the raw head of an answer."""
    found = re.search(rb"(?i)\r\n%b:[ \t]*([^\r\n]*?)[ \t]*\r\n" % re.escape(name.encode()), head)
    return None if found is None else found[1].decode("latin-1")
