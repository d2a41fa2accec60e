"""Carry the core over a WebSocket of your own: the asyncio client of the websockets library.

Take this when your program holds such a client already, with its proxies, headers or TLS, and only cancels are to be added to
it. `Carrier` is all that stands between the two; it runs against the embedded exchange, so that it needs no keys.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

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
    SignedLogin,
    Transmit,
    Unresolved,
    Wait,
    sign_login,
)
from bitget_proto.testing import ScriptedExchange, StrictConnection
from bitget_transports.exchange import exchange_in_thread

now = time.monotonic


class Carrier:
    """Joins a connection to a WebSocket. The rules are those of docs/driver.md."""

    def __init__(self, conn: Connection, socket: ClientConnection) -> None:
        self.conn, self.socket = conn, socket
        self.waiting: dict[str, asyncio.Future[Outcome]] = {}
        self.ready, self.over = asyncio.Event(), asyncio.Event()
        self.goodbye = 1000, ""
        self.writing: asyncio.Task[None] | None = None
        self.timer: asyncio.Handle | None = None
        self.until: float | None = None

    def drain(self) -> None:  # rule 1
        while True:
            match self.conn.poll(now(), writable=self.writing is None):
                case Transmit(text=text):  # rule 5: one at a time
                    self.writing = asyncio.create_task(self.write(text))
                case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id) as outcome:
                    if not (future := self.waiting.pop(id)).done():  # rule 6
                        future.set_result(outcome)
                case Ready():
                    self.ready.set()
                case Hangup(code=code, reason=reason):
                    self.goodbye = code, reason
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

    def due(self, until: float, turns: int = 10) -> None:
        if turns:  # rule 4: what has arrived goes first
            self.timer = asyncio.get_running_loop().call_soon(self.due, until, turns - 1)
        else:
            self.until = None
            self.conn.handle_timeout(max(now(), until))  # rule 3
            self.drain()

    async def read(self) -> None:
        try:
            while True:
                message = await self.socket.recv()
                if not self.over.is_set():  # rule 8
                    self.conn.receive(message, now())  # rule 7: it waits for nobody
                    self.drain()
                    await asyncio.sleep(0)  # what is buffered already does not wait: timers have a turn
        except (ConnectionClosed, OSError) as error:
            self.lost(str(error))

    async def write(self, text: str) -> None:
        try:
            await self.socket.send(text)
        except (ConnectionClosed, OSError) as error:
            self.lost(str(error))
        else:
            self.writing = None
            self.drain()

    def lost(self, reason: str) -> None:
        if not self.over.is_set():  # rule 8
            self.conn.lost(now(), reason)
            self.drain()

    async def cancel(self, order: CancelOrder) -> Outcome:
        id = self.conn.cancel(order, now())
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiting[id] = future
        self.drain()
        return await future


@asynccontextmanager
async def carried(conn: Connection, socket: ClientConnection, login: SignedLogin) -> AsyncGenerator[Carrier]:
    """Log in over a WebSocket that is open; at the end every cancel has its outcome, and the WebSocket is closed."""
    carrier = Carrier(conn, socket)
    reading = asyncio.create_task(carrier.read())
    try:
        conn.opened(now(), login=login)
        carrier.drain()
        await carrier.ready.wait()
        if carrier.over.is_set():
            raise ConnectionError("no login was accepted: the log says why")
        yield carrier
    finally:
        conn.close(now())
        carrier.drain()
        await carrier.over.wait()
        for task in (reading, carrier.writing):
            if task is not None:
                task.cancel()
        await socket.close(*carrier.goodbye)


async def main() -> None:
    """Eight orders, two of which have ended already."""
    key = Credentials("key", "secret", "passphrase")
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(8)]
    with exchange_in_thread(ScriptedExchange(orders[:6], credentials=key)) as server:
        async with (
            connect(server.url, ping_interval=None, proxy=None, close_timeout=2.0) as socket,
            carried(StrictConnection(), socket, sign_login(key, int(time.time()))) as carrier,
        ):
            outcomes = await asyncio.gather(*(carrier.cancel(order) for order in orders))
    tally = Counter(type(outcome).__name__ for outcome in outcomes)
    print(f"{len(outcomes)} cancels over a WebSocket of one's own, one outcome each: {dict(tally)}")
    assert tally == {"Accepted": 6, "Rejected": 2}


if __name__ == "__main__":
    asyncio.run(main())
