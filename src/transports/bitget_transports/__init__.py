"""Transports that bind `bitget_proto` to one way of doing I/O each. Nothing about the protocol is decided here.

The three say the same words: `connect` in `bitget_transports.anyio`, `.asyncio` and `.blocking` gives a `Channel`. Each needs
the extra of its name.
"""

from ._errors import ConnectFailed, LoginRefused, UpgradeRefused
from ._inbox import ChannelEvent, Dropped
from ._limits import Limits
from ._target import DEMO_URL, LIVE_URL

__all__ = [
    "DEMO_URL",
    "LIVE_URL",
    "ChannelEvent",
    "ConnectFailed",
    "Dropped",
    "Limits",
    "LoginRefused",
    "UpgradeRefused",
]
