"""The scripted exchange behind a real WebSocket server on loopback, to test bots against.

Rules of this package
- Nothing about the protocol is decided here: `ScriptedExchange` says what is answered, this carries it.
- It listens on loopback and nowhere else, stops when its context is left, and leaves no task, thread or socket behind.
- A connection ends as the exchange asks: with a close frame, or (code 1006) with none at all.
- What fails in here is raised where the context is left; a connection in which something failed is cut at once.

    with exchange_in_thread(ScriptedExchange(orders)) as server:
        ...  # connect any client to server.url

It needs the extra `exchange`. docs/exchange.md shows all of it.
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
