"""Why httpx did not open a WebSocket.

httpx and h11 wait for the whole head of an answer, and httpx-ws drops the body of a refusal. So
this module watches the bytes as they arrive, and reads the body itself.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpcore
import httpx
from httpx_ws import WebSocketUpgradeError

from .._driver.connect_errors import could_not_connect, ended_early, speaks_no_http
from .._driver.errors import ConnectFailed, UpgradeRefused
from .._driver.http_client import HttpClient, core_of, http_errors
from .._driver.http_refusal import refusal, retry_after
from .._driver.proxy import Proxy
from .._driver.rfc6455 import begins_http
from .._driver.url import Target

_HEAD = 2**14
"""How many bytes of the answer are kept."""

_BODY = 2**10
"""How many bytes of the body of a refusal are read."""


class Handshake:
    """The answer to the handshake, as far as it has arrived."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client: HttpClient | None = None
        self._watched: list[httpcore.AsyncNetworkStream] = []
        self._head = b""
        """The first bytes of the answer."""
        self._ended = False
        """Whether the stream has ended."""
        self._body = b""
        """The beginning of the body of a refusal."""
        self.via = target.proxy
        """The proxy, until it has connected to the exchange."""

    def of(self, client: HttpClient) -> Handshake:
        """Use this client, and return the object to pass to httpx-ws in its place."""
        self._client = client
        return self

    @asynccontextmanager
    async def stream(self, *arguments: Any, **options: Any) -> AsyncGenerator[httpx.Response]:
        """Like `httpx.AsyncClient.stream`, which is all that httpx-ws calls."""
        assert self._client is not None  # noqa: S101 - `of` was called
        stream = cast("httpx.AsyncClient", self._client).stream
        async with stream(*arguments, **options) as response:
            if response.status_code != httpx.codes.SWITCHING_PROTOCOLS:
                self._body = await _beginning(response)
            yield response

    def traced(self, event: str, info: dict[str, Any]) -> None:
        """Watch a stream when it is made; pass each event of httpcore's trace."""
        if event.endswith("start_tls.started"):
            self._head = b""  # a proxy's answer
        elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.via = None
            self._watch(info["return_value"])

    def opened(self) -> None:
        """Stop watching: the WebSocket is open."""
        for stream in self._watched:
            vars(stream).pop("read", None)

    def early_refusal(self) -> UpgradeRefused | None:
        """Return the refusal if its head is complete, although its body has not ended."""
        return refusal(self._target.host, self._head, b"")

    def failure(self, error: Exception) -> ConnectFailed:
        """Return why the WebSocket was not opened."""
        target = self._target
        error = _unwrapped(error)
        if isinstance(error, ConnectFailed):
            return error  # of the proxy
        if isinstance(error, _upgrade_errors()):
            response: Any = getattr(error, "response")  # noqa: B009 - of either library
            status, headers = response.status_code, response.headers
            wait = retry_after(status, headers.get("Retry-After"), headers.get("Date"))
            return UpgradeRefused(target.host, status, self._body, wait)
        if isinstance(error, http_errors("ProxyError")):
            return ConnectFailed(
                f"the proxy of the client did not connect to {target.host}:{target.port}: check its "
                "URL, and the credentials in it"
            )
        wrong = http_errors("RemoteProtocolError")
        if isinstance(error, (*wrong, *http_errors("ReadError", "WriteError"))):
            ended = self._ended or not isinstance(error, wrong)
            return self.early_refusal() or (
                ended_early(target) if ended and begins_http(self._head) else speaks_no_http(target)
            )
        return connect_failure(target, error)

    def _watch(self, stream: httpcore.AsyncNetworkStream) -> None:
        read, self._head = stream.read, b""

        async def watched(max_bytes: int, timeout: float | None = None) -> bytes:
            data = await read(max_bytes, timeout)
            self._head += data[: _HEAD - len(self._head)]
            self._ended = not data
            if not begins_http(self._head):
                core = core_of(stream) or httpcore
                raise core.RemoteProtocolError("the answer is not HTTP")
            return data

        stream.read = watched  # type: ignore[method-assign]
        self._watched.append(stream)


def connect_failure(target: Target, error: Exception, via: Proxy | None = None) -> ConnectFailed:
    """Return why no connection was made, from an error of httpx or httpcore."""
    for cause in (*_attempts(error), *causes(error)):
        if isinstance(cause, OSError):
            return could_not_connect(target, cause, via)
    return could_not_connect(target, error, via)


def _upgrade_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions for a refused handshake: that of httpx-ws, and that of httpx2, whose
    transport for apps raises its own.
    """
    successor = sys.modules.get("httpx2.websockets")
    if successor is None:
        return (WebSocketUpgradeError,)
    return WebSocketUpgradeError, successor.WebSocketUpgradeError


async def _beginning(response: httpx.Response) -> bytes:
    """Return the beginning of the body; b"" when it cannot be read."""
    body = b""
    try:
        async for part in response.aiter_raw():
            body += part
            if len(body) >= _BODY:
                break
    except http_errors("HTTPError"):
        return b""
    return body


def _unwrapped(error: BaseException) -> Exception:
    """Return the error itself, without the exception groups around it."""
    while (inside := _first_of_group(error)) is not None:
        error = inside
    assert isinstance(error, Exception)  # noqa: S101 - a group of exceptions holds no others
    return error


_PENDING = ssl.SSLWantReadError, ssl.SSLWantWriteError
"""Not failures: TLS waits for the socket. The failure of the socket is raised in this context."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Return the error and its causes, the deepest first; for a group, its first exception."""
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        if not isinstance(at, _PENDING):
            found.append(at)
        at = _first_of_group(at) or at.__cause__ or at.__context__
    return reversed(found)


def _attempts(error: BaseException) -> Iterator[OSError]:
    """Return one error for the attempts to connect to several addresses, if they failed
    differently.
    """
    for cause in causes(error):
        if isinstance(cause, ExceptionGroup):
            group = cast("ExceptionGroup[Exception]", cause).exceptions
            if len({getattr(each, "errno", None) for each in group}) > 1:
                yield OSError("; ".join(map(str, group)))


def _first_of_group(error: BaseException) -> BaseException | None:
    """Return the first exception of a group; None when this is not a group."""
    return (
        cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        if isinstance(error, BaseExceptionGroup)
        else None
    )
