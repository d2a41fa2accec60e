"""A `ScriptedExchange` behind a real WebSocket server on loopback, for testing bots.

    with exchange_in_thread(ScriptedExchange(orders)) as server:
        ...  # connect any client to server.url

`ScriptedExchange` decides every answer; this package only transports it. The server listens on
loopback only, stops when its context exits, and leaves no task, thread or socket behind. A
connection ends as the exchange asks: with a close frame, or without one (code 1006). An error in
the server cuts the connection it happened in, and is raised when the context exits.

Requires the extra `exchange`. See docs/exchange.md.
"""

try:
    import websockets.server  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise ImportError(
        "the embedded exchange needs websockets: pip install 'bitget-proto[exchange]'"
    ) from error

from ._app import ExchangeApp
from ._server import ExchangeServer
from ._thread import ExchangeThread, exchange_in_thread

__all__ = ["ExchangeApp", "ExchangeServer", "ExchangeThread", "exchange_in_thread"]
