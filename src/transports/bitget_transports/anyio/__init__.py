"""Cancel orders from anyio, on asyncio or on trio, over httpx-ws: over the network, or in process against an ASGI app.

    async with bitget_transports.anyio.connect(credentials) as channel:
        outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

It needs the extra `anyio`.
"""

from ._client import connect, open_session

__all__ = ["connect", "open_session"]
