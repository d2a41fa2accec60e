"""REST for a channel: where it is, and how requests are sent.

httpx sends them, with any event loop and without one; it is imported when it is first needed. The
caller may pass a function that sends them instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from bitget_proto import Dialect, RestRequest, ValidationError

from .checks import safe_repr
from .clock import clock
from .http_client import HttpClient, http_errors, library_of
from .url import Target

if TYPE_CHECKING:
    import httpx

LIVE = "https://api.bitget.com"

TIMEOUT = 5.0
"""Seconds that a request may take to connect, and to be answered. Our choice."""

LONGEST = 15.0
"""Seconds after which a request that changes something is given up: our choice, and more than
`Config.answer_timeout`. A late answer still says what became of the cancel."""

_MAX_BODY = 4 * 2**20
"""Bytes of a body that are read. `RestCodec` does not read longer ones."""

Answer: TypeAlias = tuple[int, bytes]
"""The status and the body of an HTTP answer."""

SendRest: TypeAlias = Callable[[RestRequest, Mapping[str, str]], Awaitable[Answer]]
"""Sends a request with these headers, and returns the status and the body of the answer."""

SendRestBlocking: TypeAlias = Callable[[RestRequest, Mapping[str, str]], Answer]
"""Like `SendRest`, without an event loop."""


def origin_of(target: Target) -> tuple[str, bool]:
    """Return the origin for REST requests that belongs to this WebSocket, and whether both are for
    demo trading.
    """
    for dialect in Dialect:
        for url, demo in ((dialect.live_url, False), (dialect.demo_url, True)):
            if urlsplit(url).hostname == target.host:
                return LIVE, demo
    scheme = "http" if target.tls is None else "https"
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{scheme}://{host}:{target.port}", False


def check_rest(rest: object, *, orders: object, rest_after: float | None = None) -> None:
    """Check `rest` and `orders`, and that REST is available if `rest_after` needs it.

    Raises: ValidationError if `rest` is neither None nor a function, or is not used; ImportError,
    with the command to install it, if `rest_after` needs httpx and it is missing.
    """
    if not isinstance(orders, bool):
        raise ValidationError(f"orders must be True or False; got {safe_repr(orders)}")
    if rest is not None and not orders and rest_after is None:
        raise ValidationError(
            "rest is used by confirm and cancel_all, and with SessionConfig.rest_after: pass "
            "orders=True as well, set rest_after, or leave out rest"
        )
    if rest is None and rest_after is not None:
        _httpx()
    if rest is not None and not callable(rest):
        raise ValidationError(
            "rest must be a function that takes a RestRequest and its headers and returns the "
            f"status and the body of the answer, or None for httpx; got {safe_repr(rest)}"
        )


def as_answer(answer: object) -> tuple[int, bytes | str]:
    """Return what the sender of a request has returned: the status and the body.

    Raises: ValidationError if it is anything else.
    """
    match answer:
        case (int() as status, bytes() | str() as body):
            return status, body
        case _:
            raise ValidationError(
                f"rest must return the status and the body of the answer; got {safe_repr(answer)}"
            )


class _Sender:
    """What both senders share."""

    def __init__(self, target: Target) -> None:
        self._origin, _ = origin_of(target)
        self._target = target

    def _options(self) -> dict[str, Any]:
        """Return the options of a client. Certificates are verified as for the WebSocket."""
        # Each request gets a new connection: on a reused connection, an answer that was sent twice
        # would be read as the answer to the next request.
        return {
            "verify": self._target.tls or True,
            "timeout": TIMEOUT,
            "trust_env": False,
            "limits": _httpx().Limits(max_keepalive_connections=0),
        }

    def _pool_options(self) -> dict[str, Any]:
        return {
            "ssl_context": self._target.tls or _httpx().create_ssl_context(trust_env=False),
            "max_keepalive_connections": 0,
        }

    def _parts(
        self, library: Any, request: RestRequest, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the parts of a request, whose URL has exactly the characters that were signed."""
        url = library.URL(self._origin).copy_with(raw_path=request.target.encode("ascii"))
        return {
            "method": request.method,
            "url": url,
            "headers": {**headers, "Accept-Encoding": "identity"},
            "content": request.body.encode(),
            "timeout": library.Timeout(TIMEOUT, read=_seconds(request)),
        }


class _Body:
    """The body of an answer, with limits on its length and on the time to read it."""

    def __init__(self, request: RestRequest) -> None:
        self.read = bytearray()
        self._until = clock() + _seconds(request)

    def add(self, piece: bytes) -> bool:
        """Add a piece, and return whether the body is too long by now.

        Raises: TimeoutError if the request has taken too long.
        """
        if clock() > self._until:
            raise TimeoutError("the answer did not end in time")
        self.read += piece
        return len(self.read) > _MAX_BODY


def _seconds(request: RestRequest) -> float:
    """Return how many seconds the answer may take."""
    return TIMEOUT if request.method == "GET" else LONGEST


class HttpxSender(_Sender):
    """Sends requests with httpx, or through `client` if there is one."""

    def __init__(self, target: Target, client: HttpClient | None) -> None:
        super().__init__(target)
        self._given = client
        self._own: httpx.AsyncClient | None = None

    def open(self) -> Any:
        """Return the client, which the first call makes.

        Raises: ImportError, with the command to install it, if httpx is missing.
        """
        client = self._given or self._own
        if client is None:
            client = self._own = _httpx().AsyncClient(**self._options())
            if (proxy := self._target.proxy) is not None:
                import httpcore

                from .http_proxies import ProxyBackend

                backend = ProxyBackend(proxy, self._target)
                _replace_pool(
                    client,
                    httpcore.AsyncConnectionPool(network_backend=backend, **self._pool_options()),
                )
        return client

    async def __call__(self, request: RestRequest, headers: Mapping[str, str]) -> Answer:
        client = self.open()
        body = _Body(request)
        async with client.stream(**self._parts(library_of(client), request, headers)) as answer:
            async for piece in answer.aiter_raw():
                if body.add(piece):
                    break
        return answer.status_code, bytes(body.read)

    async def aclose(self) -> None:
        """Close the connections of its own client."""
        client, self._own = self._own, None
        if client is not None:
            await client.aclose()


class BlockingHttpxSender(_Sender):
    """Like `HttpxSender`, without an event loop."""

    _own: httpx.Client | None = None

    def open(self) -> httpx.Client:
        """Like `HttpxSender.open`."""
        client = self._own
        if client is None:
            client = self._own = _httpx().Client(**self._options())
            if (proxy := self._target.proxy) is not None:
                import httpcore

                from .http_proxies import BlockingProxyBackend

                backend = BlockingProxyBackend(proxy, self._target)
                _replace_pool(
                    client,
                    httpcore.ConnectionPool(network_backend=backend, **self._pool_options()),
                )
        return client

    def __call__(self, request: RestRequest, headers: Mapping[str, str]) -> Answer:
        client = self.open()
        body = _Body(request)
        with client.stream(**self._parts(_httpx(), request, headers)) as answer:
            for piece in answer.iter_raw():
                if body.add(piece):
                    break
        return answer.status_code, bytes(body.read)

    def close(self) -> None:
        """Close the connections."""
        client, self._own = self._own, None
        if client is not None:
            client.close()


def never_left(error: Exception) -> bool:
    """Return whether a client raised this before it had a connection, so that nothing was sent.

    Our clients open a new connection for each request, and retry nothing.
    """
    return isinstance(
        error, http_errors("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
    )


def _replace_pool(client: Any, pool: object) -> None:
    """Make a client of httpx use this pool of connections. httpx has no public way to do this.

    Raises: RuntimeError if httpx has changed, so that no request bypasses the proxy.
    """
    transport = client._transport
    if not hasattr(transport, "_pool"):
        raise RuntimeError(
            "no proxy can be set in this version of httpx: install httpx 0.28, or pass a function "
            "as rest"
        )
    transport._pool = pool


def _httpx() -> Any:
    """Return httpx.

    Raises: ImportError, with the command to install it, if it is missing.
    """
    try:
        import httpx
    except ImportError as error:
        raise ImportError(
            "REST needs httpx: pip install 'bitget-proto[rest]', or pass a function as rest"
        ) from error
    return httpx
