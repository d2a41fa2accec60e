"""Cancel orders from a thread with a blocking socket; nothing runs in the background.

    with bitget_transports.blocking.connect(credentials) as channel:
        outcome = channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

It needs the extra `blocking`.
"""

from ._client import Channel, Opener, SessionChannel, connect, open_session
from ._guard import guard
from ._shared_budget import shared_budget

__all__ = [
    "Channel",
    "Opener",
    "SessionChannel",
    "connect",
    "guard",
    "open_session",
    "shared_budget",
]
