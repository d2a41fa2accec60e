"""The two APIs of the exchange, one for each kind of account.

Only names and addresses are here. The frames are in `_wire`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .enums import DescribedEnum
from .set_module import set_module


@set_module("bitget_proto")
class Dialect(DescribedEnum):
    """The API of an account, which decides how its frames are written.

    Each member has a `sentence`, and its own addresses: `live_url`, and `demo_url` for demo keys.
    """

    CLASSIC = "classic", "Classic accounts (API V2): a cancel needs the name of the instrument."
    UNIFIED = "unified", "Unified accounts (API V3): a cancel needs only the id of the order."

    @property
    def path(self) -> str:
        """The path of the private WebSocket."""
        return f"/{_VERSIONS[self]}/ws/private"

    @property
    def live_url(self) -> str:
        """The address of the private WebSocket for live trading."""
        return f"wss://ws.bitget.com{self.path}"

    @property
    def demo_url(self) -> str:
        """The address of the private WebSocket for demo trading, which needs a demo API key."""
        return f"wss://wspap.bitget.com{self.path}"


_VERSIONS: Mapping[Dialect, str] = MappingProxyType({Dialect.CLASSIC: "v2", Dialect.UNIFIED: "v3"})
