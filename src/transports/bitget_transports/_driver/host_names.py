"""Checks of host names and addresses, without a look-up."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"[0-9a-z_]([0-9a-z_-]{0,62})(\.[0-9a-z_-]{1,63})*\.?")
"""A host name in lower case, or an IPv4 address (RFC 1123, 2.1; underscores occur in practice)."""

_LONGEST_NAME = 253


def is_host(host: str, *, bracketed: bool) -> bool:
    """Return whether this is a host name in lower case or an IP address, which all libraries read
    alike. `bracketed` is whether the URL has it in brackets, like an IPv6 address.
    """
    try:
        if bracketed:
            return ipaddress.IPv6Address(host).scope_id is None
        if host.removesuffix(".").rpartition(".")[2].isdigit():
            # No host name has a last label of digits (RFC 1123, 2.1): this is an address, and must
            # be one that all libraries below read alike.
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return len(host) <= _LONGEST_NAME and _NAME.fullmatch(host) is not None


def is_loopback(host: str) -> bool:
    """Return whether this is an address of this machine, or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
