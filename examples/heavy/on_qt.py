"""Drive the core in a Qt event loop, over PySide6's QWebSocket.

Use this when your program is a Qt application, with or without windows. The part that is the same
for every loop is in driver.py.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, Qt, QTimer, QUrl
from PySide6.QtNetwork import QAbstractSocket
from PySide6.QtWebSockets import QWebSocket, QWebSocketProtocol

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent, now
from embedded import play

APP = QCoreApplication.instance() or QCoreApplication([])  # in your program: its own application


class Calls(QObject):
    """The calls from other threads. Each posts an event, which is allowed from any thread."""

    def __init__(self, do: Callable[[Call], object]) -> None:
        super().__init__()
        self.do, self.queue = do, deque[Call]()

    def put(self, fn: Call) -> None:
        self.queue.append(fn)
        QCoreApplication.postEvent(self, QEvent(QEvent.Type.User))

    def customEvent(self, _: QEvent) -> None:  # noqa: N802 - Qt's name
        self.do(self.queue.popleft())


class InQt(Driver):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, on_event)
        self.url, self.loop, self.calls, self.turns = QUrl(url), QEventLoop(), Calls(self.do), 0
        self.hung_up = False
        self.call = self.calls.put  # rule 10
        self.timer = QTimer()
        self.timer.setSingleShot(True)
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self.soon)
        self.socket = QWebSocket()
        self.socket.setMaxAllowedIncomingMessageSize(2**20)
        self.socket.connected.connect(self.opened)
        self.socket.textMessageReceived.connect(self.received)
        self.socket.binaryMessageReceived.connect(lambda message: self.received(message.data()))
        self.socket.bytesWritten.connect(self.drain, Qt.ConnectionType.QueuedConnection)
        self.socket.aboutToClose.connect(self.closing)
        self.socket.disconnected.connect(self.gone)
        self.socket.errorOccurred.connect(self.gone)

    def run(self) -> None:
        self.socket.open(self.url)
        self.loop.exec()
        self.socket.abort()
        del self.socket, self.timer, self.loop  # Qt objects must be deleted in their own thread

    def gone(self, *_: QAbstractSocket.SocketError) -> None:
        self.lost(f"{self.socket.errorString()}, closed with code {self.socket.closeCode()}")
        self.loop.quit()

    def closing(self) -> None:
        """Stop sending: a close frame was sent, by `hang_up` or as an answer to the peer's."""
        if not self.hung_up:
            self.lost(f"closed with code {self.socket.closeCode()}")
        QTimer.singleShot(int(CLOSING * 1000), self.loop.quit)

    def can_write(self) -> bool:
        return not self.socket.bytesToWrite()

    def write(self, text: str) -> None:
        self.socket.sendTextMessage(text)

    def hang_up(self, code: int, reason: str) -> None:
        self.hung_up = True
        self.socket.close(QWebSocketProtocol.CloseCode(code), reason)

    def arm(self, until: float | None) -> None:
        self.timer.stop()
        if until is not None:
            self.turns = 10
            self.timer.start(max(0, round(1000 * (until - now()))))

    def soon(self) -> None:
        """Call `due` after some iterations of the loop: messages are read first (rule 4)."""
        self.turns -= 1
        if self.turns:
            self.timer.start(0)
        else:
            self.due()


make_driver = InQt

if __name__ == "__main__":
    play(InQt)
