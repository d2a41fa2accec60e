"""Transports that bind `bitget_proto` to one way of doing I/O each. Nothing about the protocol is decided here.

`connect` and `open_session` in `bitget_transports.anyio` and `.asyncio` give a `Channel` and a `SessionChannel`; those in
`.blocking` give channels of its own with the same methods. Each needs the extra of its name.

It imports nothing private of `bitget_proto`.

The names below are imported when they are first asked for: pytest imports this package, for its plugin, in every run of
whoever has it installed.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._driver.channel import Channel, SessionChannel
    from ._driver.clock import clock
    from ._driver.errors import ConnectFailed, LoginRefused, UpgradeRefused
    from ._driver.limits import Limits
    from ._driver.outcome_router import ChannelEvent, Dropped
    from ._driver.url import DEMO_URL, LIVE_URL

__all__ = [
    "DEMO_URL",
    "LIVE_URL",
    "Channel",
    "ChannelEvent",
    "ConnectFailed",
    "Dropped",
    "Limits",
    "LoginRefused",
    "SessionChannel",
    "UpgradeRefused",
    "clock",
]

_HOMES = MappingProxyType({
    "Channel": "._driver.channel",
    "ChannelEvent": "._driver.outcome_router",
    "ConnectFailed": "._driver.errors",
    "DEMO_URL": "._driver.url",
    "Dropped": "._driver.outcome_router",
    "LIVE_URL": "._driver.url",
    "Limits": "._driver.limits",
    "LoginRefused": "._driver.errors",
    "SessionChannel": "._driver.channel",
    "UpgradeRefused": "._driver.errors",
    "clock": "._driver.clock",
})  # fmt: skip


if not TYPE_CHECKING:  # or else every name would be one

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
