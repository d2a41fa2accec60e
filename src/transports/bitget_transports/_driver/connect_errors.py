"""Error messages for connections that could not be opened, or ended. All transports use the same
ones, whatever the libraries below them say.

- Errors are returned and not raised, because they may be raised in another task or in a later call.
  Each says what to do.
- A message names the host and the port, and nothing of a key.
"""

from __future__ import annotations

import re
import socket
import ssl

from bitget_proto import CallerError, Closed, Ended, LinkClosed, WhyClosed

from . import rfc6455
from .address_race import AddressesFailed, AddressRace
from .errors import ConnectFailed
from .limits import Limits
from .url import Target

NO_CODE = 1005
"""The code that stands for a close frame without a code (RFC 6455, 7.1.5)."""

NO_CLOSE_FRAME = "the connection ended without a close frame"

_VIOLATIONS = {
    "invalid utf-8 reason|decoding close reason": rfc6455.INVALID_REASON,
    "codec can't decode": rfc6455.INVALID_TEXT,
    "unexpected continuation": rfc6455.NO_START,
    "expected continuation": rfc6455.NO_CONTINUATION,
    "reserved bit": rfc6455.RESERVED_BITS,
    "invalid opcode": rfc6455.RESERVED_OPCODE,
    "masked frame": rfc6455.MASKED,
    "fragment(ed)? control": rfc6455.FRAGMENTED_CONTROL,
    "control frame with payload": rfc6455.LONG_CONTROL,
    "payload len": rfc6455.INVALID_LENGTH,
    "close with|close frame too short|invalid status code": rfc6455.INVALID_CLOSE_CODE,
}
"""What the libraries below call a violation of RFC 6455, and what we call it."""


def could_not_connect(target: Target, error: BaseException) -> ConnectFailed:
    """Return the error for a failed TCP connection or TLS handshake, caused by `error`."""
    failure = _describe(target, error)
    failure.__cause__ = error
    return failure


def _describe(target: Target, error: BaseException) -> ConnectFailed:
    where = f"{target.host}:{target.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectFailed(
            f"{where} presented an invalid certificate ({error.verify_message}): check the URL and "
            "this machine's clock; for a certificate authority of your own, pass "
            "tls=ssl.create_default_context(cafile=…)"
        )
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(
            f"{where} does not speak TLS as expected ({getattr(error, 'reason', None) or error}): "
            "check the URL and its port"
        )
    if isinstance(error, socket.gaierror):
        return ConnectFailed(
            f"the name {target.host} cannot be resolved ({error.strerror}): check the URL and the "
            "network"
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(
            f"{where} refused the connection: nothing listens there; check the URL and its port"
        )
    if isinstance(error, AddressesFailed) and error.refused:
        return ConnectFailed(
            f"{where} refused the connection: nothing listens there (tried "
            f"{', '.join(error.addresses)}); check the URL and its port"
        )
    return ConnectFailed(
        f"no connection to {where} ({str(error) or type(error).__name__}): check the network and "
        "the URL"
    )


def took_too_long(target: Target, limits: Limits, race: AddressRace | None = None) -> ConnectFailed:
    """Return the error for an expired `Limits.open_timeout`."""
    progress = "" if race is None else race.progress()
    return ConnectFailed(
        f"{target.host}:{target.port} did not open a WebSocket within {limits.open_timeout} s"
        f"{progress and f' ({progress})'}: "
        "check the network, and whether a proxy is needed, or raise Limits.open_timeout"
    )


def answered_wrongly(target: Target, error: object) -> ConnectFailed:
    """Return the error for an answer that is not a valid answer to our handshake."""
    return ConnectFailed(
        f"{target.host} sent an invalid answer to the WebSocket handshake ({error}): check the URL"
    )


def refused_by_picows(target: Target, what: str) -> ConnectFailed:
    """Return the error for an answer that RFC 6455 allows and picows does not accept."""
    return ConnectFailed(
        f"{target.host} answered the WebSocket handshake with {what}, which picows does not "
        "accept: use framing='websockets'"
    )


def speaks_no_http(target: Target, error: object) -> ConnectFailed:
    """Return the error for an answer that is not HTTP."""
    return ConnectFailed(f"{target.host} does not speak HTTP ({error}): check the URL and its port")


def ended_early(target: Target) -> ConnectFailed:
    """Return the error for a connection that ended without an answer."""
    return ConnectFailed(
        f"{target.host} ended the connection before the WebSocket was open: check the URL and its "
        "port"
    )


def login_error(target: Target, closed: Closed | Ended | LinkClosed) -> ConnectFailed:
    """Return the error for a connection that ended before the login was answered."""
    if closed.why is WhyClosed.LOGIN_TIMEOUT:
        return ConnectFailed(
            f"{target.host} gave {closed.detail}: try again, or raise Config.login_timeout"
        )
    return ConnectFailed(
        f"{target.host} ended the connection before the login was answered ({closed.detail}): "
        "try again later"
    )


def clock_failed(failure: CallerError) -> str:
    """Describe a wall clock that gave no time for a login."""
    return (
        f"no login can be signed, because wall_clock failed ({failure.detail}): pass a function "
        "that returns seconds since 1970, such as time.time"
    )


def closed_by_peer(code: int, reason: str) -> str:
    """Describe a close frame from the peer."""
    with_code = "without a code" if code == NO_CODE else f"with code {code}"
    return f"the exchange closed {with_code}" + (f", saying {reason!r}" if reason else "")


def interrupted(error: BaseException) -> str:
    """Describe an exception from the caller's code that interrupted a step."""
    return f"interrupted by an exception from the caller's code: {error!r}"


def protocol_broken(how: object) -> str:
    """Describe a violation of the WebSocket protocol, in our words or in those of a library below."""
    found = str(how)
    for pattern, words in _VIOLATIONS.items():
        if re.search(pattern, found, re.IGNORECASE):
            found = words
            break
    return f"the exchange broke the WebSocket protocol: {found}"
