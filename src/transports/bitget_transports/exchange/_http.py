"""The REST requests of one connection to the embedded exchange, parsed by h11."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bitget_proto.testing import ScriptedExchange

if TYPE_CHECKING:
    import h11

_PATHS = (b"GET /api/", b"POST /api/")
"""How the first line of a REST request begins."""


def may_be_rest(data: bytes) -> bool:
    """Return whether the first bytes of a connection are those of a REST request, or too few."""
    return any(start.startswith(data[: len(start)]) for start in _PATHS)


def is_rest(data: bytes) -> bool:
    """Return whether the first bytes of a connection are those of a REST request."""
    return data.startswith(_PATHS)


class RestRequests:
    """Answers the REST requests of one connection, one after the other."""

    def __init__(self, exchange: ScriptedExchange, now: Callable[[], float]) -> None:
        """Start with the first request.

        Raises: ImportError, with the command to install it, if h11 is missing.
        """
        try:
            import h11
        except ImportError as error:
            raise ImportError(
                "REST of the embedded exchange needs h11: pip install 'bitget-proto[rest]'"
            ) from error
        self._exchange = exchange
        self._now = now
        self._h11 = h11
        self._server = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        """Return what to write, and whether the connection goes on.

        A request that is not HTTP gets the answer 400.
        """
        h11, out = self._h11, b""
        try:
            self._server.receive_data(data)
            while True:
                event: Any = self._server.next_event()
                if isinstance(event, h11.Request):
                    self._request, self._body = event, b""
                elif isinstance(event, h11.Data):
                    self._body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage) and self._request is not None:
                    answer = self._answer(self._request)
                    if answer is None:
                        return out, False
                    out += self._encode(*answer)
                    if self._server.our_state is not h11.DONE:
                        return out, False
                    self._server.start_next_cycle()
                else:
                    return out, isinstance(event, type(h11.NEED_DATA)) or event is h11.NEED_DATA
        except h11.RemoteProtocolError as error:
            if self._server.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                out += self._encode(error.error_status_hint, b"not a request\n")
            return out, False

    def _answer(self, request: Any) -> tuple[int, bytes] | None:
        headers = {
            name.decode().lower(): value.decode("latin-1") for name, value in request.headers
        }
        return self._exchange.rest(
            request.method.decode(),
            request.target.decode(),
            headers,
            self._body,
            self._now(),
        )

    def _encode(self, status: int, body: bytes) -> bytes:
        h11 = self._h11
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        events = (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        return b"".join(self._server.send(event) or b"" for event in events)
