"""Drive the core in a Qt event loop, over PySide6's QWebSocket: signals in, slots out.

Take this when your program has windows, or is a Qt service without one, and the cancels are to live in its event loop. The
rules that no loop changes stand in driver.py.
"""

# The library need not be there where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, Qt, QTimer, QUrl
from PySide6.QtNetwork import QAbstractSocket
from PySide6.QtWebSockets import QWebSocket, QWebSocketProtocol

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, Tell, now
from embedded import play

APP = QCoreApplication.instance() or QCoreApplication([])  # yours, in your program


class Calls(QObject):
    """What other threads want: an event is what may be posted from there."""

    def __init__(self, do: Callable[[Call], object]) -> None:
        super().__init__()
        self.do, self.wanted = do, deque[Call]()

    def put(self, fn: Call) -> None:
        self.wanted.append(fn)
        QCoreApplication.postEvent(self, QEvent(QEvent.Type.User))

    def customEvent(self, _: QEvent) -> None:  # noqa: N802 - as Qt calls it
        self.do(self.wanted.popleft())


class InQt(Driver):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, tell: Tell = bool) -> None:
        super().__init__(conn, tell)
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
        del self.socket, self.timer, self.loop  # a thread's objects end in their thread

    def gone(self, *_: QAbstractSocket.SocketError) -> None:
        self.lost(f"{self.socket.errorString()}, closed with code {self.socket.closeCode()}")
        self.loop.quit()

    def closing(self) -> None:
        """A close frame has been sent, perhaps as an answer: nothing may be sent behind that."""
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
        """It is time, once what has arrived had some turns of the loop (rule 4)."""
        self.turns -= 1
        if self.turns:
            self.timer.start(0)
        else:
            self.due()


make_driver = InQt

if __name__ == "__main__":
    play(InQt)
