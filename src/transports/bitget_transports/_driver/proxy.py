"""The proxy through which a channel dials: from the caller, or from the environment.

No message, `repr` or log shows the user and password of a proxy.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit

import attrs

from bitget_proto import ValidationError

from .host_names import is_host

ProxySetting: TypeAlias = str | Literal[True] | None
"""The URL of a proxy; True for the proxy of the environment, None for no proxy."""

_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}
"""The default port of each supported kind of proxy."""

_EXAMPLES = "http://127.0.0.1:3128 or socks5://127.0.0.1:1080"

_FORBIDDEN = frozenset(map(chr, (*range(0x21), 0x7F)))
"""A URL with one of these characters is not valid; a library may drop the character silently."""

_LONGEST_SOCKS = 255
"""Maximum bytes of a user or a password (RFC 1929, 2)."""


@attrs.frozen
class Proxy:
    """A proxy that may be dialled."""

    scheme: str
    host: str
    port: int
    user: str | None = attrs.field(default=None, repr=False)
    password: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5 rather than HTTP."""
        return self.scheme != "http"

    @classmethod
    def choose(
        cls, setting: ProxySetting, *, host: str, port: int, secure: bool, loopback: bool
    ) -> Self | None:
        """Return the proxy for this host, or None to connect directly.

        For loopback, the environment is ignored.

        Raises: ValidationError for a URL that names no supported proxy; ImportError for a SOCKS
        proxy without python-socks.
        """
        if setting is None:
            return None
        if setting is True:
            found = None if loopback else _from_environment(host, port, secure=secure)
            if found is None:
                return None
            name, url = found
        elif isinstance(setting, str):
            name, url = "proxy", setting
        else:
            raise ValidationError(
                "proxy must be a URL, None for no proxy, or True for the proxy of the environment; got "
                f"a value of type {type(setting).__name__}"
            )
        proxy = cls._of(url, name)
        if proxy.is_socks:
            _check_socks(proxy, name)
        return proxy

    @classmethod
    def _of(cls, url: str, name: str) -> Self:
        """Check the URL of a proxy, from the argument or the environment variable `name`."""
        # No part of the URL is repeated: it may contain a password, even where none is expected.
        wrong = f"{name} is not the URL of a proxy, such as {_EXAMPLES}"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
            user = None if parts.username is None else unquote(parts.username, errors="strict")
            password = unquote(parts.password or "", errors="strict")
        except ValueError:
            raise ValidationError(
                f"{wrong}: check its port, and write special characters as %…"
            ) from None
        if parts.scheme == "https":
            raise ValidationError(
                f"{name} is an https:// proxy, which is not supported: use an http:// one, through "
                "which the connection to the exchange has TLS of its own"
            )
        if parts.scheme not in _PORTS:
            raise ValidationError(f"{wrong}: its scheme must be http, socks5 or socks5h")
        host = parts.hostname or ""
        if (
            _FORBIDDEN & {*url}
            or not is_host(host, bracketed="[" in parts.netloc.rpartition("@")[2])
            or port == 0
            or parts.path not in ("", "/")
            or parts.query
            or parts.fragment
        ):
            raise ValidationError(
                f"{wrong}: it must hold a host, a port and nothing after them, and special "
                "characters of a password as %…"
            )
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], user, password)


def unless_connected(setting: ProxySetting, given: object, name: str) -> ProxySetting:
    """Return the setting; None if the caller passed a connection, `given`, as the argument `name`.
    The environment does not apply then.

    Raises: ValidationError for both a proxy and a connection.
    """
    if given is None:
        return setting
    if setting is not None and setting is not True:
        raise ValidationError(
            f"proxy was given with {name}, which connects without it: leave one out"
        )
    return None


def _from_environment(host: str, port: int, *, secure: bool) -> tuple[str, str] | None:
    """Return the variable that names the proxy for this host, and its value.

    Like curl: HTTPS_PROXY for `wss://`, HTTP_PROXY for `ws://`, else ALL_PROXY; lower case first.
    """
    from urllib.request import proxy_bypass  # loads an HTTP client

    kind = "https" if secure else "http"
    names = [f"{kind}_proxy", f"{kind}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    if not secure and "REQUEST_METHOD" in os.environ:
        # In a CGI script a request can set HTTP_PROXY ("httpoxy", CVE-2016-1000110).
        names.remove("HTTP_PROXY")
    found = next(((name, value) for name in names if (value := os.environ.get(name))), None)
    if found is None:
        return None
    return None if proxy_bypass(f"{host}:{port}") else found


def _check_socks(proxy: Proxy, name: str) -> None:
    if find_spec("python_socks") is None:
        raise ImportError(
            f"{name} is a SOCKS proxy, which needs python-socks: pip install 'bitget-proto[socks]'"
        )
    if max(len((proxy.user or "").encode()), len(proxy.password.encode())) > _LONGEST_SOCKS:
        raise ValidationError(
            f"{name} has a user or a password of more than {_LONGEST_SOCKS} bytes, which SOCKS "
            "cannot carry"
        )
