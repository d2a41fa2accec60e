"""Cancel orders from asyncio or uvloop: callbacks only, no task and no queue between the socket and
your `await`.

    async with bitget_transports.asyncio.connect(credentials) as channel:
        outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

It needs the extra `asyncio`.
"""

from ._client import connect, open_session
from ._guard import guard
from ._shared_budget import shared_budget

__all__ = ["connect", "guard", "open_session", "shared_budget"]
