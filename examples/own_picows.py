"""Carry the core over a WebSocket of your own: picows, the fastest of them, which calls back for each frame.

Take this when every microsecond counts: there is no task and no queue between the socket and the core. `Carrier` is all that
stands between the two; it runs against the embedded exchange, so that it needs no keys.
"""

import asyncio
import time
from collections import Counter

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType]
)

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Connection,
    Credentials,
    Hangup,
    Outcome,
    Ready,
    Rejected,
    Transmit,
    Unresolved,
    Wait,
    sign_login,
)
from bitget_proto.testing import ScriptedExchange, StrictConnection
from bitget_transports.exchange import exchange_in_thread

now = time.monotonic


class Carrier(WSListener):
    """Joins a connection to a WebSocket. The rules are those of docs/driver.md."""

    def __init__(self, conn: Connection, key: Credentials) -> None:
        super().__init__()
        self.conn, self.key = conn, key
        self.waiting: dict[str, asyncio.Future[Outcome]] = {}
        self.ready, self.over = asyncio.Event(), asyncio.Event()
        self.timer: asyncio.Handle | None = None
        self.until: float | None = None
        self.writable = True
        self.parts = bytearray()

    def drain(self) -> None:  # rule 1
        while True:
            match self.conn.poll(now(), self.writable):
                case Transmit(text=text):  # rule 5: it waits in the transport's buffer, which is limited to one
                    self.transport.send(WSMsgType.TEXT, text.encode())
                case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id) as outcome:
                    if not (future := self.waiting.pop(id)).done():  # rule 6
                        future.set_result(outcome)
                case Ready():
                    self.ready.set()
                case Hangup(code=code, reason=reason):
                    self.transport.send_close(WSCloseCode(code), reason.encode())
                    asyncio.get_running_loop().call_later(2.0, self.transport.disconnect)
                case Closed():
                    self.ready.set()
                    self.over.set()
                case Wait(until=until):  # rule 2: the latest one counts
                    if until != self.until:  # the same is left alone: under a flood it would begin anew for ever
                        if self.timer is not None:
                            self.timer.cancel()
                        self.until = until
                        if until is not None:
                            self.timer = asyncio.get_running_loop().call_later(max(0.0, until - now()), self.due, until)
                    return
                case event:
                    print("worth a line in the log:", event)

    def due(self, until: float, turns: int = 2) -> None:
        if turns:  # rule 4: what has arrived goes first
            self.timer = asyncio.get_running_loop().call_soon(self.due, until, turns - 1)
        else:
            self.until = None
            self.conn.handle_timeout(max(now(), until))  # rule 3
            self.drain()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.underlying_transport.set_write_buffer_limits(0)
        self.conn.opened(now(), login=sign_login(self.key, int(time.time())))
        self.drain()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self.parts += frame.get_payload_as_memoryview()
            if frame.fin and not self.over.is_set():  # rule 8
                self.conn.receive(bytes(self.parts), now())
                self.drain()
            if frame.fin or len(self.parts) > 2**20:
                self.parts.clear()
        elif frame.msg_type == WSMsgType.CLOSE:
            if not self.over.is_set():
                transport.send_close(frame.get_close_code())  # an answer, as RFC 6455 wants it
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - as picows calls it
        if not self.over.is_set():
            self.conn.lost(now(), "disconnected")
            self.drain()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self.drain()

    async def cancel(self, order: CancelOrder) -> Outcome:
        id = self.conn.cancel(order, now())
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiting[id] = future
        self.drain()
        return await future


async def main() -> None:
    """Eight orders, two of which have ended already."""
    key = Credentials("key", "secret", "passphrase")
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(8)]
    with exchange_in_thread(ScriptedExchange(orders[:6], credentials=key)) as server:
        carrier = Carrier(StrictConnection(), key)
        transport, _ = await ws_connect(lambda: carrier, server.url)
        await carrier.ready.wait()
        outcomes = await asyncio.gather(*(carrier.cancel(order) for order in orders))
        carrier.conn.close(now())
        carrier.drain()
        await transport.wait_disconnected()
    tally = Counter(type(outcome).__name__ for outcome in outcomes)
    print(f"{len(outcomes)} cancels over a WebSocket of one's own, one outcome each: {dict(tally)}")
    assert tally == {"Accepted": 6, "Rejected": 2}


if __name__ == "__main__":
    asyncio.run(main())
