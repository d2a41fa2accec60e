"""Where to connect to, and how safely: checked before anything is dialled.

Rules of this file
- Nothing is dialled or looked up here: what is wrong with a URL is told before anybody could hear of a key.
- What may hold a password is repeated in no message.
- What passes is read alike by each library below: what two of them would take for different hosts is refused.

It does not know credentials, the protocol, or which transport asks.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from typing import Self
from urllib.parse import urlsplit

import attrs

from bitget_proto import ValidationError

from .checks import safe_repr

LIVE_URL = "wss://ws.bitget.com/v2/ws/private"
"""The private WebSocket of live trading (Websocket API, Connect)."""

DEMO_URL = "wss://wspap.bitget.com/v2/ws/private"
"""The private WebSocket of demo trading: it wants a demo API key (Demo trading, Websocket)."""

_VISIBLE = re.compile(r"[!-~]*")

_NAME = re.compile(r"[0-9a-z_]([0-9a-z_-]{0,62})(\.[0-9a-z_-]{1,63})*\.?")
"""A host's name, in small letters, or an IPv4 address (RFC 1123, 2.1; the underscore is seen in the wild)."""

_LONGEST_NAME = 253


@attrs.frozen
class Target:
    """A WebSocket URL that may be dialled."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    """What the server's certificate is checked with; None for a plain `ws://`."""

    loopback: bool

    @classmethod
    def of(cls, url: str, tls: ssl.SSLContext | None, *, allow_plaintext: bool) -> Self:
        """Check a URL. Without a context of the caller's, certificates are verified against the system's authorities.

        Raises: ValidationError for what is no WebSocket URL, and for a plain one beyond loopback unless it is allowed.
        """
        if not isinstance(url, str):
            raise ValidationError(
                f"url must be a string; got {safe_repr(url)}: pass {LIVE_URL}, or leave it out"
            )
        # What may hold a password is not repeated.
        got = "" if "@" in url else f"; got {safe_repr(url)}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            why = f" ({error})" if got else ""
            raise ValidationError(
                f"url must be one that can be read{got}{why}: the live one is {LIVE_URL}"
            ) from None
        host = parts.hostname
        if "@" in parts.netloc or parts.fragment:
            raise ValidationError(
                "url must hold no user, password or fragment: leave them out, for the key goes into the login alone"
            )
        if parts.scheme not in ("ws", "wss") or not host:
            raise ValidationError(
                f"url must begin with wss:// and a host{got}: the live one is {LIVE_URL}"
            )
        if not _VISIBLE.fullmatch(url):
            raise ValidationError(
                f"url must be in ASCII, without spaces{got}: write xn--… for other letters in a host's name, and %… in a path"
            )
        if not _is_host(host, bracketed=parts.netloc.startswith("[")):
            raise ValidationError(
                f"url must hold a host name or an IP address; got {safe_repr(host)}: the live one is {LIVE_URL}"
            )
        if port == 0:
            raise ValidationError(f"url must hold a port from 1 to 65535, or none{got}")
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise ValidationError(f"tls must be an ssl.SSLContext, or None; got {safe_repr(tls)}")
        loopback = _is_loopback(host)
        secure = parts.scheme == "wss"
        if secure:
            tls = ssl.create_default_context() if tls is None else tls
        elif tls is not None:
            raise ValidationError(
                "tls was given for a ws:// url, which is plain: write wss://, or leave tls out"
            )
        elif not (loopback or allow_plaintext):
            raise ValidationError(
                f"url is plain ws:// to {safe_repr(host)}, where everybody on the way reads the login: write wss://, or pass "
                "allow_plaintext=True if that is meant"
            )
        # The scheme may have come in capitals, which not every layer below understands.
        url = parts.scheme + url[len(parts.scheme) :]
        return cls(
            url=url, host=host, port=port or (443 if secure else 80), tls=tls, loopback=loopback
        )


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        if bracketed:
            return ipaddress.IPv6Address(host).scope_id is None
        if host.removesuffix(".").rpartition(".")[2].isdigit():
            # No name ends so (RFC 1123, 2.1): it is an address, and must be one that each layer below reads alike.
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return len(host) <= _LONGEST_NAME and _NAME.fullmatch(host) is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
