"""Drive the core on Twisted's reactor, over autobahn's WebSocket client.

Use this when your program is a Twisted application: everything runs in callbacks of the reactor,
and nothing blocks. The part that is the same for every loop is in driver.py.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# ruff: noqa: N802, N803, ARG002, FBT003 - the names and calls of autobahn and Twisted
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.selectreactor import SelectReactor

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent, now
from embedded import play


class OnReactor(Driver, WebSocketClientProtocol):
    """Drives one connection. It is autobahn's protocol, and the producer that Twisted pauses."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        Driver.__init__(self, conn, on_event)
        WebSocketClientProtocol.__init__(self)
        self.url, self.paused, self.timer = url, False, None

    def run(self) -> None:
        # A program has one `twisted.internet.reactor`; the kit needs one for each connection.
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

    # --- called by autobahn ---

    def onOpen(self) -> None:
        # Twisted pauses the producer above 64 KiB. Cancels that wait in its buffer may have been
        # sent, and are reported as that.
        self.registerProducer(self, True)
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

    # --- called by Twisted ---

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.drain()

    def stopProducing(self) -> None:
        """Do nothing: the connection ends, and `onClose` is called."""

    # --- the methods of Driver ---

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
        """Call `due` after some iterations of the reactor: messages are read first (rule 4)."""
        if turns:
            self.timer = self.reactor.callLater(0, self.soon, turns - 1)
        else:
            self.due()


make_driver = OnReactor

if __name__ == "__main__":
    play(OnReactor)
