"""The Date and Retry-After headers of an HTTP response."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from bitget_transports._driver.http_refusal import header, http_date, retry_after

_DATE = "Wed, 26 Nov 2025 10:00:00 GMT"
_LATER = "Wed, 26 Nov 2025 10:01:30 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (_DATE, 1764151200.0),
        ("Wed, 26 Nov 2025 10:00:00", 1764151200.0),  # without a zone: taken as GMT
        ("Wednesday, 26-Nov-25 10:00:00 GMT", 1764151200.0),
        (None, None),
        ("", None),
        ("tomorrow", None),
        ("Wed, 31 Feb 2025 10:00:00 GMT", None),
        ("Wed, 26 Nov 9999 10:00:00 GMT", None),
        ("Wed, 26 Nov 99999999999 10:00:00 GMT", None),
    ],
)
def test_a_date_is_parsed_to_seconds_since_1970_or_none(
    text: str | None, seconds: float | None
) -> None:
    assert http_date(text) == seconds


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "60", 60.0),
        (503, "0", 0.0),
        (429, _LATER, 90.0),
        (429, _DATE, 0.0),
        (429, "Wed, 26 Nov 2025 09:00:00 GMT", 0.0),  # in the past
        (403, "60", None),
        (429, None, None),
        (429, "", None),
        (429, "soon", None),
        (429, "-1", None),
        (429, "1.5", None),
        (429, "\u0663", None),
        (429, "9" * 5000, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    status: int, value: str | None, seconds: float | None
) -> None:
    assert retry_after(status, value, _DATE) == seconds


def test_a_retry_after_date_falls_back_to_the_local_clock() -> None:
    seconds = retry_after(503, formatdate(time.time() + 100, usegmt=True), None)
    assert seconds is not None
    assert 90.0 < seconds <= 100.0


def test_a_header_is_found_regardless_of_case_and_blanks() -> None:
    head = b"HTTP/1.1 429 Too Many\r\nX: retry-after: 1\r\nRETRY-AFTER: \t7 \r\nRetry-After: 8\r\n\r\nRetry-After: 9\r\n"
    assert header(head, "Retry-After") == "7"
    assert header(head, "Date") is None
