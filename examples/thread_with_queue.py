"""Give synchronous callers, in any thread, a cancel that blocks until it has its outcome: one thread, behind a queue.

Take this when your program is made of threads, and several of them cancel. All that happens, a call as much as bytes
that arrive, is a function in one queue, and one thread runs them; the rules are those of docs/driver.md.
"""

import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from threading import Semaphore, Thread

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Connection,
    Hangup,
    LocalProtocolError,
    Outcome,
    Ready,
    Rejected,
    Transmit,
    Unresolved,
    Wait,
    sign_login,
)  # fmt: skip
from bitget_proto.testing import StrictConnection
from bitget_transports.exchange import exchange_in_thread
from dialling import dial
from embedded import KEY, ORDERS, exchange, report
from sansio_websocket import CLOSING, Call, WebSocket

now = time.monotonic


class Desk:
    """Drives one connection, and takes cancels from every thread."""

    def __init__(self, conn: Connection, url: str) -> None:
        self.conn, self.websocket, self.ready = conn, WebSocket(url), Future[bool]()
        self.waiting = dict[str, Future[Outcome]]()
        self.inbox, self.outbox = Queue[Callable[[], object]](), Queue[bytes | None]()
        self.over, self.under_way, self.room = False, 0, Semaphore(8)
        self.until: float | None = None

    def call(self, fn: Call) -> None:  # rule 10
        self.inbox.put(lambda: fn(self.conn, now()))

    def cancel(self, order: CancelOrder, timeout: float | None = None) -> Outcome:
        """Raises: TimeoutError, and the cancel goes on (rule 6); LocalProtocolError, and nothing has changed."""
        future: Future[Outcome] = Future()

        def begin(conn: Connection, now: float) -> None:
            try:
                self.waiting[conn.cancel(order, now)] = future
            except LocalProtocolError as error:
                future.set_exception(error)

        self.call(begin)
        if self.over:
            raise ConnectionError("it is over")
        return future.result(timeout)

    def abandon(self, order: CancelOrder) -> None:
        with suppress(TimeoutError):
            self.cancel(order, timeout=0.0)

    def run(self) -> None:
        try:
            self.socket = dial(self.websocket)
        except OSError as error:
            self.lost(str(error))
            return
        self.socket.settimeout(None)
        with self.socket:
            threads = [Thread(target=self.write), Thread(target=self.read)]
            for thread in threads:
                thread.start()
            self.conn.opened(now(), login=sign_login(KEY, int(time.time())))
            self.drain()
            self.serve()
            self.outbox.put(None)
            self.room.release()
            for thread in threads:  # the close frame leaves, and is answered, or not in time
                thread.join(CLOSING)
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
        while not self.inbox.empty():  # who came too late is told
            with suppress(LocalProtocolError):
                self.inbox.get()()

    def serve(self) -> None:
        taken = 0
        while not self.over:
            overdue = self.until is not None and now() >= self.until
            try:
                if overdue and taken >= 200:  # rule 4: what has arrived goes first, but not without end
                    raise Empty  # noqa: TRY301 - as if there were nothing
                self.next(overdue)()
                taken += 1
            except Empty:
                taken = 0
                self.conn.handle_timeout(max(now(), self.until or 0.0))  # rule 3
            self.drain()

    def next(self, overdue: bool) -> Callable[[], object]:
        """Raises: Empty when there is nothing to do until it is time."""
        if self.websocket.arrived:
            return lambda: self.conn.receive(self.websocket.arrived.popleft(), now())
        if self.websocket.over is not None:
            return lambda: self.lost(self.websocket.over or "")
        return self.inbox.get(timeout=None if self.until is None else 0.0 if overdue else max(0.0, self.until - now()))

    def lost(self, reason: str) -> None:  # rule 8
        self.conn.lost(now(), reason)
        self.drain()

    def read(self) -> None:  # rule 7: a thread that waits for nobody
        data = b"more"
        while data:
            if not self.over:
                self.room.acquire()  # for what nobody has taken memory has an end
            try:
                data = self.socket.recv(2**14)
            except OSError:
                data = b""
            if not self.over:
                self.inbox.put(partial(self.fed, data))

    def fed(self, data: bytes) -> None:
        self.room.release()
        self.put(self.websocket.feed(data))

    def put(self, data: bytes) -> None:
        if data:
            self.under_way += 1
            self.outbox.put(data)

    def write(self) -> None:
        with suppress(OSError):  # the reader finds it
            while (data := self.outbox.get()) is not None:
                self.socket.sendall(data)
                self.inbox.put(self.written)

    def written(self) -> None:
        self.under_way -= 1

    def drain(self) -> None:  # rule 1
        while True:
            match self.conn.poll(now(), writable=not self.under_way):
                case Transmit(text=text):  # rule 5
                    self.put(self.websocket.text(text))
                case Hangup(code=code, reason=reason):
                    self.put(self.websocket.close(code, reason))
                case Wait(until=until):  # rule 2
                    self.until = until
                    return
                case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id) as outcome:
                    if id in self.waiting:
                        self.waiting.pop(id).set_result(outcome)
                case Ready():
                    self.ready.set_result(True)
                case Closed():
                    self.over = True
                case event:
                    logging.getLogger("desk").info("%s", event)


make_driver = Desk


def main() -> None:
    """Eight threads, an order each."""
    with exchange_in_thread(exchange()) as server:
        desk = Desk(StrictConnection(), server.url)
        thread = Thread(target=desk.run)
        thread.start()
        desk.ready.result(5.0)
        with ThreadPoolExecutor(8) as callers:
            report(callers.map(desk.cancel, ORDERS))
        desk.call(lambda conn, now: conn.close(now))
        thread.join()


if __name__ == "__main__":
    main()
