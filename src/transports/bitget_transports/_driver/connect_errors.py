"""Error messages for connections that could not be opened, or ended. All transports use the same
ones, whatever the libraries below them say.

- Errors are returned and not raised, because they may be raised in another task or in a later call.
  Each says what to do.
- A message names the host and the port, and never any part of a key.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from errno import (
    EACCES,
    ECONNREFUSED,
    EHOSTUNREACH,
    EMFILE,
    ENETUNREACH,
    ENFILE,
    EPERM,
    ETIMEDOUT,
)

from bitget_proto import CallerError, Closed, Ended, LinkClosed, WhyClosed

from . import rfc6455
from .address_race import AddressesFailed, AddressRace
from .errors import ConnectFailed
from .limits import Limits
from .proxy import Proxy
from .url import Target

NO_CODE = 1005
"""The code that stands for a close frame without a code (RFC 6455, 7.1.5)."""

_ENDS = (
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    EOFError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL calls bytes that are not TLS."""

_NO_DESCRIPTOR = "no socket could be opened for {}"
_NOT_ALLOWED = "this machine does not allow a connection to {}", "check its firewall"
_NO_ROUTE = "there is no route to {}", "check the network and the URL"
_PARTS = {
    EMFILE: (_NO_DESCRIPTOR, "close files and sockets of this process, or raise its limit (ulimit -n)"),
    ENFILE: (_NO_DESCRIPTOR, "close files and sockets on this machine, or raise its limit"),
    EACCES: _NOT_ALLOWED,
    EPERM: _NOT_ALLOWED,
    ENETUNREACH: _NO_ROUTE,
    EHOSTUNREACH: _NO_ROUTE,
    ETIMEDOUT: ("{} did not answer", "check the network and the URL"),
}  # fmt: skip
"""For each errno, what failed and what to do."""

_CHECK_PROXY = "check the URL of the proxy (proxy=, HTTPS_PROXY)"

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


def could_not_connect(
    target: Target, error: BaseException, via: Proxy | None = None
) -> ConnectFailed:
    """Return the error for a failed TCP connection or TLS handshake, caused by `error`. `via` is
    the proxy, until it has connected to the exchange; then None.
    """
    failure = _describe(target, error) if via is None else _unreachable(via, error)
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
    if is_end(error):
        return ended_early(target) if target.tls is None else _ended_in_tls(target)
    if isinstance(error, ssl.SSLError):
        return _no_tls(target, error)
    if isinstance(error, socket.gaierror):
        return ConnectFailed(
            f"the name {target.host} cannot be resolved ({error.strerror}): check the URL and the "
            "network"
        )
    number = error.errno if isinstance(error, OSError) else None
    tried = ""
    if number is not None and isinstance(error, AddressesFailed):  # else its text names them
        tried = f" (tried {', '.join(error.addresses)})"
    if number == ECONNREFUSED:
        return ConnectFailed(
            f"{where} refused the connection: nothing listens there{tried}; check the URL and its "
            "port"
        )
    why = os.strerror(number) if number else str(error) or type(error).__name__
    what, advice = _PARTS.get(number or 0, ("no connection to {}", "check the network and the URL"))
    return ConnectFailed(f"{what.format(where)} ({why}){tried}: {advice}")


def _unreachable(proxy: Proxy, error: BaseException) -> ConnectFailed:
    """Return the error for a proxy that could not be connected to, or broke the connection."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror):
        why = f"its name cannot be resolved: {error.strerror}"
    else:
        why = os.strerror(number) if number else str(error) or type(error).__name__
    return ConnectFailed(
        f"no connection to {proxy} ({why}): {_CHECK_PROXY}, and that it is running"
    )


def proxy_ended(proxy: Proxy, target: Target) -> ConnectFailed:
    """Return the error for a proxy that ended the connection before it answered."""
    return ConnectFailed(
        f"{proxy} ended the connection before it had connected to {target.host}:{target.port}: "
        f"{_CHECK_PROXY}, or try again later"
    )


def proxy_refused(proxy: Proxy, target: Target, answer: str) -> ConnectFailed:
    """Return the error for a proxy that did not connect to the exchange."""
    return ConnectFailed(
        f"{proxy} did not connect to {target.host}:{target.port} ({answer}): check that it allows "
        "this host and port, and can reach them"
    )


def proxy_wants_credentials(proxy: Proxy, target: Target, answer: str) -> ConnectFailed:
    """Return the error for a proxy that refused the user and password, or requires them."""
    given = (
        "refused its user and password" if proxy.user is not None else "wants a user and a password"
    )
    return ConnectFailed(
        f"{proxy} {given} for {target.host}:{target.port} ({answer}): give the proxy's user and "
        "password in its URL, such as http://USER:PASSWORD@HOST:PORT, with special characters as %…"
    )


def proxy_sent_garbage(proxy: Proxy, what: str) -> ConnectFailed:
    """Return the error for an answer of a proxy that is not valid."""
    return ConnectFailed(f"{proxy} sent {what}: {_CHECK_PROXY}, its scheme and its port")


def _no_tls(target: Target, error: ssl.SSLError) -> ConnectFailed:
    """Return the error for a TLS handshake that failed."""
    where, reason = f"{target.host}:{target.port}", getattr(error, "reason", None)
    if reason is None or reason in _NOT_TLS:
        return ConnectFailed(f"{where} does not speak TLS: check the URL and its port")
    return ConnectFailed(
        f"the TLS handshake with {where} failed ({reason.lower().replace('_', ' ')}): check the "
        "URL, and which versions of TLS this machine allows"
    )


def _ended_in_tls(target: Target) -> ConnectFailed:
    return ConnectFailed(
        f"{target.host}:{target.port} ended the connection during the TLS handshake: check the URL "
        "and its port"
    )


def is_end(error: BaseException) -> bool:
    """Return whether this error means that the peer has ended the connection. The libraries below
    do not all distinguish the end of the stream from a reset.
    """
    return isinstance(error, _ENDS)


def took_too_long(
    target: Target, limits: Limits, race: AddressRace | None = None, via: Proxy | None = None
) -> ConnectFailed:
    """Return the error for an expired `Limits.open_timeout`. `via` is the proxy, until it has
    connected to the exchange; then None.
    """
    progress = "" if race is None else race.progress()
    if via is not None:
        return ConnectFailed(
            f"{via} did not connect to {target.host}:{target.port} within {limits.open_timeout} s"
            f"{progress and f' ({progress})'}: {_CHECK_PROXY}, or raise Limits.open_timeout"
        )
    return ConnectFailed(
        f"{target.host}:{target.port} did not open a WebSocket within {limits.open_timeout} s"
        f"{progress and f' ({progress})'}: "
        "check the network, and whether a proxy is needed, or raise Limits.open_timeout"
    )


def answered_wrongly(target: Target, error: str) -> ConnectFailed:
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


def speaks_no_http(target: Target) -> ConnectFailed:
    """Return the error for an answer that is not HTTP."""
    return ConnectFailed(
        f"{target.host}:{target.port} does not speak HTTP: check the URL and its port"
    )


def ended_early(target: Target) -> ConnectFailed:
    """Return the error for a connection that ended without a whole answer to the handshake."""
    return ConnectFailed(
        f"{target.host}:{target.port} ended the connection before the WebSocket was open: check "
        "the URL and its port"
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


def no_login(limits: Limits, last: ConnectFailed | None) -> ConnectFailed:
    """Return the error for an expired `Limits.up_timeout`; `last` is why the last link ended."""
    if last is None:
        why = ", and the first connection has not ended: check the network, or raise Limits.up_timeout"
    else:
        why = f"; the last try: {last}"
    failure = ConnectFailed(f"no login was accepted within {limits.up_timeout} s{why}")
    failure.__cause__ = last
    return failure


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


def connection_broken(error: BaseException | None = None) -> str:
    """Describe the end of an open WebSocket without a close frame; None stands for the end of the
    stream.
    """
    if isinstance(error, ssl.SSLError) and not is_end(error):
        return f"the connection broke: TLS failed ({error.reason or 'without a reason'})"
    if isinstance(error, OSError) and error.errno and not is_end(error):
        return f"the connection broke: {os.strerror(error.errno)}"
    return "the connection ended without a close frame"


def too_long(limit: int | None) -> str:
    """Describe a message that is longer than `frame_limit` allows."""
    return f"the exchange sent a message longer than {limit} bytes"


def protocol_broken(how: object) -> str:
    """Describe a violation of the WebSocket protocol, in our words or in those of a library below."""
    found = str(how)
    for pattern, words in _VIOLATIONS.items():
        if re.search(pattern, found, re.IGNORECASE):
            found = words
            break
    return f"the exchange broke the WebSocket protocol: {found}"
