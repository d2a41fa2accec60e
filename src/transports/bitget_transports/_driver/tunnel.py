"""A tunnel through a proxy, without its socket: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS5.

Write `outgoing`, pass what arrives to `receive`, and repeat until `opened`. Afterwards the socket
acts like one that is connected to the exchange. The Sans-I/O part of python-socks, which is private
to that library, speaks SOCKS5; all use of it is in this file.

- The proxy resolves the name of the exchange.
- An answer is bounded in size. Only its status is repeated in messages, because an answer may echo
  the credentials.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, cast

from . import rfc6455
from .connect_errors import (
    proxy_ended,
    proxy_refused,
    proxy_sent_garbage,
    proxy_wants_credentials,
)
from .exception_origin import raised_by_caller
from .proxy import Proxy
from .url import Target

_LONGEST = 2**14
"""Maximum bytes of an answer."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)[ \r]")

_FAILED_LOGIN = re.compile("acceptable|authentication", re.IGNORECASE)
"""What python-socks calls a refusal because of wrong or missing credentials."""


class Tunnel:
    """Asks a proxy for a connection to the exchange."""

    def __init__(self, proxy: Proxy, target: Target) -> None:
        self.opened = False
        """Whether the proxy has connected to the exchange."""
        self._proxy = proxy
        self._target = target
        self._outgoing = b""
        self._arrived = bytearray()
        self._ended = False
        self._steps: Coroutine[Any, Any, object] = (
            self._socks() if proxy.is_socks else self._connect()
        )
        self._advance()

    def outgoing(self) -> bytes:
        """Return what to write now."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive(self, data: bytes) -> None:
        """Process bytes from the proxy; b"" is the end of the stream.

        Raises: ConnectFailed when the proxy does not connect to the exchange.
        """
        self._arrived += data
        self._ended = not data
        self._advance()

    def close(self) -> None:
        """Give up: no more bytes follow."""
        self._steps.close()

    # --- private ---

    def _advance(self) -> None:
        try:
            self._steps.send(None)
        except StopIteration:
            # More bytes are an error: in TLS and in HTTP, the exchange does not speak first.
            if self._arrived:
                raise proxy_sent_garbage(self._proxy, "more than an answer") from None
            self.opened = True

    async def _connect(self) -> None:
        """Speak HTTP."""
        proxy, target = self._proxy, self._target
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
        if proxy.user is not None:
            credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {credentials}")
        self._outgoing += ("\r\n".join(lines) + "\r\n\r\n").encode()
        final, answer = rfc6455.FinalAnswer(), b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            if len(answer) > _LONGEST:
                raise proxy_sent_garbage(proxy, f"an answer of more than {_LONGEST} bytes")
            await self._more()
            answer += final.receive(bytes(self._arrived))
            self._arrived.clear()
            if not rfc6455.begins_http(answer):
                raise proxy_sent_garbage(proxy, "something that is not HTTP")
        line = _STATUS.match(answer)
        if line is None:
            raise proxy_sent_garbage(proxy, "something that is not HTTP")
        status = int(line[1])
        if status == 407:
            raise proxy_wants_credentials(proxy, target, "HTTP status 407")
        if status >= 300:
            raise proxy_refused(proxy, target, f"HTTP status {status}")
        self._arrived += answer[end + 4 :]

    async def _socks(self) -> None:
        """Speak SOCKS5 (RFC 1928, RFC 1929)."""
        from python_socks._abc import AsyncResolver, AsyncSocketStream
        from python_socks._connectors.socks5_async import Socks5AsyncConnector
        from python_socks._protocols.errors import ReplyError

        proxy, target = self._proxy, self._target
        user, password = (None, None) if proxy.user is None else (proxy.user, proxy.password)
        connector = Socks5AsyncConnector(user, password, rdns=True, resolver=AsyncResolver())
        try:
            await connector.connect(
                cast("AsyncSocketStream", _Stream(self)), target.host, target.port
            )
        except ReplyError as error:
            if raised_by_caller(error):
                raise
            if error.error_code is not None:
                raise proxy_refused(proxy, target, f"SOCKS reply {int(error.error_code)}") from None
            if _FAILED_LOGIN.search(str(error)):
                raise proxy_wants_credentials(proxy, target, "SOCKS") from None
            raise proxy_sent_garbage(proxy, "something that is not SOCKS5") from None

    async def _more(self) -> None:
        """Wait for bytes.

        Raises: ConnectFailed at the end of the stream.
        """
        await _pause()
        if self._ended:
            raise proxy_ended(self._proxy, self._target)


class _Stream:
    """What the connector of python-socks reads and writes."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    async def write(self, data: bytes) -> None:
        self._tunnel._outgoing += data

    async def read_exactly(self, n: int) -> bytes:
        arrived = self._tunnel._arrived
        while len(arrived) < n:
            await self._tunnel._more()
        data = bytes(arrived[:n])
        del arrived[:n]
        return data


@coroutine
def _pause() -> Generator[None]:
    yield
