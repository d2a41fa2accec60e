"""Drive the core on Twisted's reactor, over autobahn's WebSocket client.

Take this when your program is a Twisted application: everything happens in the reactor's callbacks, and nothing waits. The
rules that no loop changes stand in driver.py.
"""

# The library need not be there where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# ruff: noqa: N802, N803, ARG002, FBT003 - as autobahn and Twisted name and call them
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.selectreactor import SelectReactor

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, Tell, now
from embedded import play


class OnReactor(Driver, WebSocketClientProtocol):
    """Drives one connection; it is the protocol that autobahn calls, and the producer that Twisted pauses."""

    def __init__(self, conn: Connection, url: str, tell: Tell = bool) -> None:
        Driver.__init__(self, conn, tell)
        WebSocketClientProtocol.__init__(self)
        self.url, self.paused, self.timer = url, False, None

    def run(self) -> None:
        # Yours is `twisted.internet.reactor`, which runs once in a program; the kit wants one for each connection.
        self.reactor = txaio.config.loop = SelectReactor()
        factory = WebSocketClientFactory(self.url, reactor=self.reactor)
        factory.setProtocolOptions(maxMessagePayloadSize=2**20, closeHandshakeTimeout=0)
        factory.protocol, factory.clientConnectionFailed = lambda: self, self.failed
        self.reactor.connectTCP(factory.host, factory.port, factory, timeout=5)
        self.reactor.run(installSignalHandlers=False)

    def call(self, fn: Call) -> None:  # rule 10: from another thread
        self.reactor.callFromThread(self.do, fn)

    def failed(self, _: Any, reason: Any) -> None:
        self.lost(reason.getErrorMessage())
        self.reactor.stop()

    # --- as autobahn calls it ---

    def onOpen(self) -> None:
        self.registerProducer(
            self, True
        )  # it pauses beyond 64 KiB: what waits there may have left, and is called so
        self.opened()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.received(payload)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> None:
        super().onCloseFrame(code, reasonRaw)
        self.lost(f"closed with code {code}")
        self.reactor.callLater(CLOSING, self.dropConnection, abort=True)

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        self.lost(str(reason))
        self.reactor.stop()

    # --- as Twisted calls a producer ---

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.drain()

    def stopProducing(self) -> None:
        """The connection ends, and `onClose` tells."""

    # --- as the core wants it ---

    def can_write(self) -> bool:
        return not self.paused

    def write(self, text: str) -> None:
        self.sendMessage(text.encode())

    def hang_up(self, code: int, reason: str) -> None:
        self.sendClose(code, reason)
        self.reactor.callLater(CLOSING, self.dropConnection, abort=True)

    def arm(self, until: float | None) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if until is not None:
            self.timer = self.reactor.callLater(max(0.0, until - now()), self.soon)

    def soon(self, turns: int = 10) -> None:
        """It is time, once what has arrived had some turns of the reactor (rule 4)."""
        if turns:
            self.timer = self.reactor.callLater(0, self.soon, turns - 1)
        else:
            self.due()


make_driver = OnReactor

if __name__ == "__main__":
    play(OnReactor)
