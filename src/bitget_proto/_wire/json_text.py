"""Reads the values of frames, and writes JSON text."""

from __future__ import annotations

import json

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that all JSON decoders agree on (RFC 7493)."""

dumps = json.JSONEncoder(separators=(",", ":")).encode


def quoted(value: str) -> str:
    """Return an ASCII JSON string. The values of an order contain no control characters."""
    return (
        f'"{value}"' if value.isascii() and '"' not in value and "\\" not in value else dumps(value)
    )


def read_code(value: object) -> str | None:
    """Return a code as a decimal string without leading zeros; None if it is not a code.

    A code is a JSON integer from 0 to 2**53-1, or a string of up to 12 ASCII digits ("00000" in
    REST).
    """
    if type(value) is int:
        return str(value) if 0 <= value <= MAX_SAFE_INTEGER else None
    if type(value) is str and len(value) <= 12 and value.isascii() and value.isdigit():
        return value.lstrip("0") or "0"
    return None


def readable_text(value: object) -> str:
    """Return text for people, with unpaired surrogates escaped.

    Terminals and log files cannot encode unpaired surrogates.
    """
    if type(value) is not str:
        return ""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def milliseconds(value: object) -> int | None:
    """Return milliseconds since 1970, given as a number or a string; None for anything else."""
    if type(value) is str and len(value) <= 16 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_SAFE_INTEGER else None
