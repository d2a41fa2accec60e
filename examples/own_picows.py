"""Drive the core over picows, a fast WebSocket client that calls back for each frame.

Use this when every microsecond counts: there is no task and no queue between the socket and the
core. The part that is the same for other asyncio clients is in on_asyncio.py.
"""

import asyncio

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType]
)

from bitget_proto import Connection
from driver import CLOSING
from on_asyncio import OnAsyncio, show


class Own(OnAsyncio, WSListener):
    """Drives a connection over picows, by the rules of docs/driver.md."""

    def __init__(self, conn: Connection, url: str) -> None:
        WSListener.__init__(self)
        OnAsyncio.__init__(self, conn, url)
        self.parts, self.paused = bytearray(), False

    async def dial(self) -> None:
        try:
            await ws_connect(lambda: self, self.url)
        except WSError as error:
            raise ConnectionError(str(error)) from error

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        # At most one frame may wait in the transport's buffer.
        transport.underlying_transport.set_write_buffer_limits(0)
        self.opened()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self.parts += frame.get_payload_as_memoryview()
            if frame.fin:
                message, self.parts = bytes(self.parts), bytearray()
                self.received(message)
            elif len(self.parts) > 2**20:
                transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
                transport.disconnect()
        elif frame.msg_type == WSMsgType.CLOSE:
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code())  # the answer that RFC 6455 requires
            self.lost("closed by the peer")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' API
        self.lost("the connection was lost")

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.drain()

    def can_write(self) -> bool:
        return not self.paused

    def write(self, text: str) -> None:
        self.transport.send(WSMsgType.TEXT, text.encode())

    def hang_up(self, code: int, reason: str) -> None:
        self.transport.send_close(WSCloseCode(code), reason.encode())

    async def leave(self) -> None:
        closing = asyncio.create_task(self.transport.wait_disconnected())
        await asyncio.wait([closing], timeout=CLOSING)
        self.transport.disconnect(graceful=False)
        await closing


make_driver = Own

if __name__ == "__main__":
    asyncio.run(show(Own))
