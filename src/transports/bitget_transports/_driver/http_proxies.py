"""Connections of httpcore through the proxy of a channel.

The proxies of httpx itself are not used. With SOCKS, httpcore logs the password, and misreads an
answer that arrives in pieces. With HTTP, it does not tunnel `ws://`.
"""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import httpcore
from httpcore._backends.auto import AutoBackend

from .connect_errors import could_not_connect, proxy_ended
from .proxy import Proxy
from .tunnel import Tunnel
from .turns import PARSER_BYTES
from .url import Target


class ProxyBackend(AutoBackend):
    """Connects through a proxy, on every event loop."""

    def __init__(self, proxy: Proxy, target: Target) -> None:
        super().__init__()
        self._proxy = proxy
        self._target = target

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *arguments: Any, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        """Like `AutoBackend.connect_tcp`."""
        proxy, target = self._proxy, attrs.evolve(self._target, host=host, port=port)
        tunnel = Tunnel(proxy, target)
        try:
            stream = await super().connect_tcp(
                proxy.host, proxy.port, timeout, *arguments, **options
            )
        except httpcore.ConnectError as error:
            raise self.failure(error) from error
        try:
            while True:
                if data := tunnel.outgoing():
                    await stream.write(data, timeout)
                if tunnel.opened:
                    return stream
                tunnel.receive(await stream.read(PARSER_BYTES, timeout))
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            if isinstance(error, httpcore.NetworkError):
                raise proxy_ended(proxy, target) from error
            raise
        finally:
            tunnel.close()

    def failure(self, error: Exception) -> Exception:
        """Return why the proxy could not be connected to."""
        return could_not_connect(self._target, error.__cause__ or error, self._proxy)


class BlockingProxyBackend(httpcore.SyncBackend):
    """Like `ProxyBackend`, without an event loop."""

    def __init__(self, proxy: Proxy, target: Target) -> None:
        self._proxy = proxy
        self._target = target

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *arguments: Any, **options: Any
    ) -> httpcore.NetworkStream:
        """Like `SyncBackend.connect_tcp`."""
        proxy, target = self._proxy, attrs.evolve(self._target, host=host, port=port)
        tunnel = Tunnel(proxy, target)
        try:
            stream = super().connect_tcp(proxy.host, proxy.port, timeout, *arguments, **options)
        except httpcore.ConnectError as error:
            raise could_not_connect(target, error.__cause__ or error, proxy) from error
        try:
            while True:
                if data := tunnel.outgoing():
                    stream.write(data, timeout)
                if tunnel.opened:
                    return stream
                tunnel.receive(stream.read(PARSER_BYTES, timeout))
        except BaseException as error:
            stream.close()
            if isinstance(error, httpcore.NetworkError):
                raise proxy_ended(proxy, target) from error
            raise
        finally:
            tunnel.close()
