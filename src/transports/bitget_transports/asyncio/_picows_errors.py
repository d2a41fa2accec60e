"""Why picows refused an answer to the handshake, or a frame.

picows refuses two answers that RFC 6455 and RFC 9110 allow: `Connection: keep-alive, Upgrade`, and
interim answers (1xx) before the 101. It parses the answer itself, so neither can be changed here.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from picows import (
    WSCloseCode,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSTransport,
    WSUpgradeResponse,
)

from .._driver import rfc6455
from .._driver.connect_errors import (
    answered_wrongly,
    protocol_broken,
    refused_by_picows,
    speaks_no_http,
    too_long,
)
from .._driver.errors import ConnectFailed
from .._driver.http_refusal import header, refusal
from .._driver.url import Target

_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]*\r\n")
"""The beginning of a chunk (RFC 9112, 7.1)."""


def refused_handshake(target: Target, error: WSHandshakeError) -> ConnectFailed:
    """Return why the handshake failed."""
    head, answer = (error.raw_header or b"") + b"\r\n\r\n", error.response
    failure: ConnectFailed | None = refusal(target.host, head, _body(head, error.raw_body or b""))
    if failure is None and head.startswith(b"HTTP/1.0 101"):
        failure = answered_wrongly(target, "HTTP/1.0 instead of HTTP/1.1")
    elif failure is None and answer is not None:
        failure = _wrong_answer(target, error, answer)
    failure = failure or speaks_no_http(target)
    failure.__cause__ = error
    return failure


def _body(head: bytes, raw: bytes) -> bytes:
    """Return what has arrived of the body of an answer."""
    if header(head, "Transfer-Encoding") != "chunked":
        return raw
    body = b""
    while (chunk := _CHUNK.match(raw)) is not None:
        size = int(chunk[1], 16)
        body += raw[chunk.end() : chunk.end() + size]
        raw = raw[chunk.end() + size + 2 :]
    return body


def _wrong_answer(
    target: Target, error: WSHandshakeError, answer: WSUpgradeResponse
) -> ConnectFailed | None:
    """Return why picows refused an answer of a status below 200."""
    if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        return refused_by_picows(target, f"an interim answer of status {answer.status:d}")
    wrong = rfc6455.wrong_upgrade(answer.headers.items(), None)
    if wrong is not None or not isinstance(error, WSInvalidHeaderError):
        return None if wrong is None else answered_wrongly(target, wrong)
    if error.name == "Sec-WebSocket-Accept":
        return answered_wrongly(target, rfc6455.WRONG_ACCEPT)
    return refused_by_picows(target, f"{error.name}: {error.value}")


def frame_error(websocket: WSTransport, limit: int) -> str:
    """Return why picows refused a frame."""
    sent = websocket.close_handshake.sent
    if sent is not None and sent.code == WSCloseCode.MESSAGE_TOO_BIG:
        return too_long(limit)
    return protocol_broken("a frame that cannot be read" if sent is None else sent.reason)
