"""Cancel orders from a plain thread: a socket, and nothing that runs while you do something else.

    with bitget_transports.blocking.connect(credentials) as channel:
        outcome = channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

It needs the extra `blocking`.
"""

from ._client import Channel, SessionChannel, connect, open_session

__all__ = ["Channel", "SessionChannel", "connect", "open_session"]
