"""Describes the machine and the versions of a run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PARTS = (
    "bitget-proto",
    "attrs",
    "cattrs",
    "msgspec",
    "orjson",
    "websockets",
    "httpx-ws",
    "anyio",
    "uvloop",
    "picows",
)


def machine() -> dict[str, str]:
    """Return Python, system, cores, and the versions of the measured libraries."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{part: found for part in _PARTS if (found := _version(part)) is not None},
    }


def _version(part: str) -> str | None:
    try:
        return version(part)
    except PackageNotFoundError:
        return None
