"""HTTP clients of the caller: those of httpx, and of httpx2, which continues it under another name.

The two have the same methods, but share no class: clients, URLs and exceptions differ. httpx2 is
never imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class HttpClient(Protocol):
    """An `AsyncClient` of httpx or of httpx2."""

    def request(self, method: str, url: str) -> Awaitable[Any]: ...
    def stream(self, method: str, url: str) -> AbstractAsyncContextManager[Any]: ...


def library_of(client: object) -> Any:
    """Return the module, httpx or httpx2, that this client comes from; None for anything else."""
    return next((each for each in _loaded("httpx") if isinstance(client, each.AsyncClient)), None)


def http_errors(*names: str) -> tuple[type[Exception], ...]:
    """Return the exceptions with these names, from httpx and from httpx2."""
    return tuple(getattr(module, name) for module in _loaded("httpx") for name in names)


def core_of(part: object) -> Any:
    """Return the module, httpcore or httpcore2, that a stream or an exception comes from; None if
    it comes from neither.
    """
    name = type(part).__module__.partition(".")[0]
    return next((each for each in _loaded("httpcore") if each.__name__ == name), None)


def _loaded(name: str) -> list[Any]:
    """Return the module of this name and its successor, as far as they are imported."""
    return [sys.modules[each] for each in (name, f"{name}2") if each in sys.modules]
