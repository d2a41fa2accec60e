"""Transports: `bitget_proto` over asyncio, anyio and blocking sockets.

`connect` and `open_session` in `bitget_transports.anyio` and `.asyncio` open a `Channel` and a
`SessionChannel`. The functions in `.blocking` open channels of their own, with the same methods.
Each transport needs the extra of the same name.

This package imports only public names of `bitget_proto`. The names below are imported lazily,
because pytest imports this package for its plugin in every run where it is installed.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._driver.channel import Channel, Opener, SessionChannel
    from ._driver.channel_events import ChannelEvent, Dropped
    from ._driver.clock import clock
    from ._driver.errors import (
        ConnectFailed,
        GuardFailed,
        LoginRefused,
        RestFailed,
        UpgradeRefused,
    )
    from ._driver.guard import Guard
    from ._driver.limits import Limits

__all__ = [
    "Channel",
    "ChannelEvent",
    "ConnectFailed",
    "Dropped",
    "Guard",
    "GuardFailed",
    "Limits",
    "LoginRefused",
    "Opener",
    "RestFailed",
    "SessionChannel",
    "UpgradeRefused",
    "clock",
]

_HOMES = MappingProxyType({
    "Channel": "._driver.channel",
    "ChannelEvent": "._driver.channel_events",
    "ConnectFailed": "._driver.errors",
    "Dropped": "._driver.channel_events",
    "Guard": "._driver.guard",
    "GuardFailed": "._driver.errors",
    "Limits": "._driver.limits",
    "LoginRefused": "._driver.errors",
    "RestFailed": "._driver.errors",
    "Opener": "._driver.channel",
    "SessionChannel": "._driver.channel",
    "UpgradeRefused": "._driver.errors",
    "clock": "._driver.clock",
})  # fmt: skip


if not TYPE_CHECKING:  # for a type checker, every name would exist

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
