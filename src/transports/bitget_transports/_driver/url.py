"""URLs, checked before anything is dialled.

- Nothing is dialled or resolved here.
- No message repeats a URL that may contain a password.
- A URL that two of the libraries below could read as different hosts is refused.
"""

from __future__ import annotations

import re
import ssl
from typing import Self
from urllib.parse import urlsplit

import attrs

from bitget_proto import Dialect, ValidationError

from .checks import safe_repr
from .host_names import is_host, is_loopback
from .proxy import Proxy, ProxySetting

_LIVE_URL = f"{Dialect.CLASSIC.live_url} (classic accounts) or {Dialect.UNIFIED.live_url} (unified)"

_VISIBLE = re.compile(r"[!-~]*")


def url_for(url: str | None, dialect: Dialect) -> str:
    """Return the URL to dial: by default the dialect's URL for live trading.

    Raises: ValidationError for an address of the other dialect.
    """
    if url is None:
        return dialect.live_url
    for other in Dialect:
        if other is not dialect and url in (other.live_url, other.demo_url):
            raise ValidationError(
                f"url is {url}, which serves {other.value} accounts, and the dialect is {dialect}: "
                f"pass dialect={other}, or {dialect.live_url}"
            )
    return url


@attrs.frozen
class Target:
    """A WebSocket URL that may be dialled."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    """Verifies the server's certificate; None for a plain `ws://`."""

    proxy: Proxy | None = None
    """The proxy to dial through."""

    @property
    def dialled(self) -> tuple[str, int]:
        """The host and the port to connect to: those of the proxy, if there is one."""
        return (self.host, self.port) if self.proxy is None else (self.proxy.host, self.proxy.port)

    @classmethod
    def of(
        cls,
        url: str,
        tls: ssl.SSLContext | None,
        *,
        allow_plaintext: bool,
        proxy: ProxySetting = None,
    ) -> Self:
        """Check a URL. Without `tls`, certificates are verified against the system's authorities.

        Raises: ValidationError for an invalid WebSocket URL, for a plain `ws://` one to a host
        other than loopback unless `allow_plaintext` is set, and for an invalid proxy.
        """
        if not isinstance(url, str):
            raise ValidationError(
                f"url must be a string; got {safe_repr(url)}: pass {_LIVE_URL}, or leave it out"
            )
        # A URL that may contain a password is not repeated.
        got = "" if "@" in url else f"; got {safe_repr(url)}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            why = f" ({error})" if got else ""
            raise ValidationError(
                f"url must be a valid URL{got}{why}: the live one is {_LIVE_URL}"
            ) from None
        host = parts.hostname
        if "@" in parts.netloc or parts.fragment:
            raise ValidationError(
                "url must hold no user, password or fragment: leave them out, since the API key is "
                "sent in the login only"
            )
        if parts.scheme not in ("ws", "wss") or not host:
            raise ValidationError(
                f"url must begin with wss:// and a host{got}: the live one is {_LIVE_URL}"
            )
        if not _VISIBLE.fullmatch(url):
            raise ValidationError(
                f"url must be in ASCII, without spaces{got}: write other letters as xn--… in a "
                "host name, and as %… in a path"
            )
        if not is_host(host, bracketed=parts.netloc.startswith("[")):
            raise ValidationError(
                f"url must hold a host name or an IP address; got {safe_repr(host)}: the live one "
                f"is {_LIVE_URL}"
            )
        if port == 0:
            raise ValidationError(f"url must hold a port from 1 to 65535, or none{got}")
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise ValidationError(f"tls must be an ssl.SSLContext, or None; got {safe_repr(tls)}")
        loopback = is_loopback(host)
        secure = parts.scheme == "wss"
        if secure:
            tls = ssl.create_default_context() if tls is None else tls
        elif tls is not None:
            raise ValidationError(
                "tls was given for a ws:// url, which is plain: write wss://, or leave tls out"
            )
        elif not (loopback or allow_plaintext):
            raise ValidationError(
                f"url is plain ws:// to {safe_repr(host)}, which sends the login unencrypted: "
                "write wss://, or pass allow_plaintext=True if that is intended"
            )
        # The scheme may be in upper case, which not every library below accepts.
        url = parts.scheme + url[len(parts.scheme) :]
        port = port or (443 if secure else 80)
        chosen = Proxy.choose(proxy, host=host, port=port, secure=secure, loopback=loopback)
        return cls(url=url, host=host, port=port, tls=tls, proxy=chosen)
