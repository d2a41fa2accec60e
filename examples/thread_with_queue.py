"""Give synchronous callers, in any thread, a cancel that blocks until it has its outcome: one thread, behind a queue.

Take this when your program is made of threads, and several of them cancel. All that happens, a call as much as bytes that
arrive, is a function in one queue, and one thread runs them; what they do stands in driver.py.
"""

import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from threading import Semaphore, Thread

from bitget_proto import (
    Accepted,
    CancelOrder,
    Connection,
    Event,
    LocalProtocolError,
    Outcome,
    Ready,
    Rejected,
    Unresolved,
)
from bitget_proto.testing import StrictConnection
from bitget_transports.exchange import exchange_in_thread
from driver import CLOSING, Call, now
from embedded import ORDERS, exchange, report
from plain_socket import PlainSocket


class Desk(PlainSocket):
    """Drives one connection, and takes cancels from every thread."""

    def __init__(self, conn: Connection, url: str) -> None:
        super().__init__(conn, url, self.told)
        self.ready, self.waiting = Future[None](), dict[str, Future[Outcome]]()
        self.inbox, self.outbox = Queue[Callable[[], object]](), Queue[bytes | None]()
        self.under_way, self.room = 0, Semaphore(8)

    # --- for callers ---

    def call(self, fn: Call) -> None:  # rule 10
        self.inbox.put(partial(self.do, fn))

    def cancel(self, order: CancelOrder, timeout: float | None = None) -> Outcome:
        """Raises: TimeoutError, and the cancel goes on (rule 6); LocalProtocolError, and nothing has changed."""
        future: Future[Outcome] = Future()

        def begin() -> None:
            try:
                self.waiting[self.conn.cancel(order, now())] = future
            except LocalProtocolError as error:
                future.set_exception(error)
            else:
                self.drain()

        self.inbox.put(begin)
        if self.over:
            raise ConnectionError("it is over")
        return future.result(timeout)

    def abandon(self, order: CancelOrder) -> None:
        with suppress(TimeoutError):
            self.cancel(order, timeout=0.0)

    def told(self, event: Event) -> None:
        match event:
            case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id):
                if id in self.waiting:
                    self.waiting.pop(id).set_result(event)
            case Ready():
                self.ready.set_result(None)
            case _:
                logging.getLogger("desk").info("%s", event)

    # --- the thread ---

    def run(self) -> None:
        self.dial()
        if self.over:
            self.leave()
            return
        self.socket.settimeout(None)
        with self.socket:
            threads = [Thread(target=self.send_all), Thread(target=self.receive)]
            for thread in threads:
                thread.start()
            while not self.over:
                try:
                    self.next()()
                except Empty:
                    self.due()  # what has arrived has gone first: rule 4
            self.outbox.put(None)
            self.room.release()
            for thread in threads:  # the close frame leaves, and is answered, or not in time
                thread.join(CLOSING)
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
        while not self.inbox.empty():  # who came too late is told
            self.inbox.get()()

    def next(self) -> Callable[[], object]:
        """Raises: Empty when there is nothing to do until it is time."""
        return (
            partial(self.read, at_most=1)
            if self.unread
            else self.inbox.get(timeout=self.patience())
        )

    def fed(self, data: bytes) -> None:
        self.room.release()
        self.put(self.websocket.feed(data))

    def can_write(self) -> bool:
        return not self.under_way

    def write(self, text: str) -> None:
        self.put(self.websocket.text(text))

    def hang_up(self, code: int, reason: str) -> None:
        self.put(self.websocket.close(code, reason))

    def put(self, data: bytes) -> None:
        if data:
            self.under_way += 1
            self.outbox.put(data)

    def written(self) -> None:
        self.under_way -= 1
        self.drain()

    # --- two more, which do nothing but wait ---

    def send_all(self) -> None:
        with suppress(OSError):  # the other finds it
            while (data := self.outbox.get()) is not None:
                self.socket.sendall(data)
                self.inbox.put(self.written)

    def receive(self) -> None:  # rule 7
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
