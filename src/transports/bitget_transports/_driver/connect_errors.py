"""Why a connection did not come about, or ended, in words. The layers below each say it in their own.

Rules of this file
- What is an error is made and not raised: somebody may wait for it in another task, or in a later call. It says what to do.
- A message names the host and the port, and nothing of a key.

It does not know which library said so below, nor the protocol beyond the reason of an end.
"""

from __future__ import annotations

import socket
import ssl

from bitget_proto import Closed, Ended, LinkClosed, WhyClosed

from .errors import ConnectFailed
from .limits import Limits
from .url import Target

NO_CODE = 1005
"""What stands for the code of a close frame that has none (RFC 6455, 7.1.5)."""

NO_CLOSE_FRAME = "the connection ended without a close frame"


def could_not_connect(target: Target, error: BaseException) -> ConnectFailed:
    """Say why there is no socket, or no TLS on it; `error` is the cause of what is said."""
    failure = _in_words(target, error)
    failure.__cause__ = error
    return failure


def _in_words(target: Target, error: BaseException) -> ConnectFailed:
    where = f"{target.host}:{target.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectFailed(
            f"{where} shows a certificate that is not valid for it ({error.verify_message}): check the URL and this machine's "
            "clock; if the authority is one of your own, pass tls=ssl.create_default_context(cafile=…)"
        )
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(
            f"{where} does not speak TLS as expected ({getattr(error, 'reason', None) or error}): check the URL and its port"
        )
    if isinstance(error, socket.gaierror):
        return ConnectFailed(
            f"the name {target.host} cannot be resolved ({error.strerror}): check the URL and the network"
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(
            f"{where} refused the connection: nothing listens there; check the URL and its port"
        )
    return ConnectFailed(
        f"no connection to {where} ({str(error) or type(error).__name__}): check the network and the URL"
    )


def took_too_long(target: Target, limits: Limits) -> ConnectFailed:
    """Say that `Limits.open_timeout` passed."""
    return ConnectFailed(
        f"{target.host}:{target.port} did not open a WebSocket within {limits.open_timeout} s: check the network, and whether "
        "a proxy is needed, or raise Limits.open_timeout"
    )


def answered_wrongly(target: Target, error: object) -> ConnectFailed:
    """Say that what answered is no WebSocket, or none of ours."""
    return ConnectFailed(
        f"{target.host} answered the WebSocket's handshake wrongly ({error}): check the URL"
    )


def speaks_no_http(target: Target, error: object) -> ConnectFailed:
    """Say that what answered is no HTTP."""
    return ConnectFailed(f"{target.host} does not speak HTTP ({error}): check the URL and its port")


def ended_early(target: Target) -> ConnectFailed:
    """Say that nothing answered."""
    return ConnectFailed(
        f"{target.host} ended the connection before the WebSocket was open: check the URL and its port"
    )


def not_logged_in(target: Target, closed: Closed | Ended | LinkClosed) -> ConnectFailed:
    """Say why the connection ended before the login was answered."""
    if closed.why is WhyClosed.LOGIN_TIMEOUT:
        return ConnectFailed(
            f"{target.host} gave {closed.detail}: try again, or raise Config.login_timeout"
        )
    return ConnectFailed(
        f"{target.host} ended the connection before the login was answered ({closed.detail}): try again later"
    )


def closed_by_peer(code: int, reason: str) -> str:
    """A close frame of the other side, in words."""
    with_code = "without a code" if code == NO_CODE else f"with code {code}"
    return f"the exchange closed {with_code}" + (f", saying {reason!r}" if reason else "")


def interrupted(error: BaseException) -> str:
    """What the caller's own code raised in the middle of a step, in words."""
    return f"an exception of the caller's own interrupted it: {error!r}"


def protocol_broken(how: object) -> str:
    """What no WebSocket may do, in words."""
    return f"the exchange broke the WebSocket protocol: {how}"
