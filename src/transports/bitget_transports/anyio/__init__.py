"""Cancel orders from anyio, on asyncio or trio, with httpx-ws: over the network, or against an ASGI
app in the same process.

    async with bitget_transports.anyio.connect(credentials) as channel:
        outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

It needs the extra `anyio`.
"""

from ._client import connect, open_session
from ._guard import guard
from ._shared_budget import shared_budget

__all__ = ["connect", "guard", "open_session", "shared_budget"]
