"""A correct driver on the standard library: one thread, one selector, one socket.

The tests of the conformance kit use it: each faulty driver is this one with one method changed.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar
from urllib.parse import urlsplit

from bitget_proto import (
    CancelOrder,
    Closed,
    Connection,
    Credentials,
    Hangup,
    Output,
    Transmit,
    Wait,
    sign_login,
)
from bitget_proto.testing.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    parse,
)

KEY = Credentials("key", "secret", "passphrase")
CLOSING = 0.3
"""Timeout in seconds of the closing handshake."""

Call = Callable[[Connection, float], object]


class SelectorDriver:
    running: ClassVar[list[SelectorDriver]] = []
    """The drivers whose `run` has not returned, among them those that the kit has given up."""

    def __init__(self, connection: Connection, url: str) -> None:
        self.connection = connection
        self.url = urlsplit(url)
        self.calls: deque[Call] = deque()
        self.awake, self.waker = socket.socketpair()
        self.socket: socket.socket | None = None
        self.read_bytes = bytearray()
        self.fragments: list[bytes] = []
        self.out = b""
        """Bytes that are not written yet."""
        self.last: tuple[tuple[str, ...], int] = ((), 0)
        """The ids and the size of the last frame."""
        self.until: float | None = None
        self.closed = False
        self.close_sent = False
        self.broken: str | None = None

    # --- from other threads ---

    def call(self, fn: Call) -> None:
        self.calls.append(fn)
        self.wake()

    def wake(self) -> None:
        with suppress(OSError):
            self.waker.send(b"!")

    def abandon(self, order: CancelOrder) -> None:
        """Cancel the order; there is no wait that could be abandoned."""
        self.call(lambda connection, now: connection.cancel(order, now))

    # --- the loop ---

    def run(self) -> None:
        self.running.append(self)
        try:
            try:
                self.dial()
            except OSError as error:
                self.lost(str(error))
            else:
                self.opened()
                self.serve()
        finally:
            self.running.remove(self)
            self.leave()

    def now(self) -> float:
        return time.monotonic()

    def dial(self) -> None:
        self.socket = dialled = socket.create_connection(
            (self.url.hostname, self.url.port or 80), timeout=5.0
        )
        request = (
            f"GET {self.url.path} HTTP/1.1\r\nHost: {self.url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialled.sendall(request.encode())
        while b"\r\n\r\n" not in self.read_bytes:
            data = dialled.recv(4096)
            if not data:
                raise OSError("the exchange ended the connection before the WebSocket was open")
            self.read_bytes += data
        head, _, rest = self.read_bytes.partition(b"\r\n\r\n")
        self.read_bytes = bytearray(rest)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise OSError(f"the upgrade was refused: {head[:40]!r}")
        dialled.setblocking(False)

    def serve(self) -> None:
        assert self.socket is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self.awake, selectors.EVENT_READ)
            while not self.closed:
                writes = selectors.EVENT_WRITE if self.out else 0
                selector.modify(self.socket, selectors.EVENT_READ | writes)
                ready = selector.select(self.timeout())
                if any(key.fileobj is self.awake for key, _ in ready):
                    self.awake.recv(4096)
                self.run_calls()
                self.go_on_writing()
                self.take_what_has_arrived()
                if self.broken is not None:
                    self.lost(self.broken)
                self.look_at_timer()

    def timeout(self) -> float | None:
        if parse(self.read_bytes) is not None:
            return 0.0
        return None if self.until is None else max(0.0, self.until - self.now())

    def run_calls(self) -> None:
        while self.calls and not self.closed:
            self.calls.popleft()(self.connection, self.now())
            self.drain()

    def go_on_writing(self) -> None:
        stalled = bool(self.out)
        self.flush()
        if stalled and not self.out and not self.closed:
            self.drain()

    def look_at_timer(self) -> None:
        if self.until is not None and not self.closed and self.now() >= self.until:
            self.handle_timeout(max(self.now(), self.until))

    # --- inputs ---

    def opened(self) -> None:
        self.connection.opened(self.now(), login=sign_login(KEY, int(time.time())))
        self.drain()

    def received(self, message: str | bytes) -> None:
        self.connection.receive(message, self.now())
        self.drain()

    def lost(self, reason: str) -> None:
        if not self.closed:
            unsent = self.unsent()
            if unsent:
                self.forget()
            self.connection.lost(self.now(), reason, unsent)
            self.drain()

    def forget(self) -> None:
        """Discard the frame, so that it is not sent after being reported as unsent."""
        self.out = b""

    def handle_timeout(self, now: float) -> None:
        self.connection.handle_timeout(now)
        self.drain()

    def unsent(self) -> tuple[str, ...]:
        ids, size = self.last
        return ids if len(self.out) >= size > 0 else ()

    # --- outputs ---

    def drain(self) -> None:
        while True:
            output = self.poll()
            if isinstance(output, Wait):
                self.arm(output.until)
                return
            self.dispatch(output)

    def poll(self) -> Output:
        return self.connection.poll(self.now(), writable=not self.out)

    def arm(self, until: float | None) -> None:
        self.until = until

    def dispatch(self, output: Output) -> None:
        if isinstance(output, Transmit):
            self.transmit(output)
        elif isinstance(output, Hangup):
            self.hang_up(output)
        elif isinstance(output, Closed):
            self.closed = True

    def transmit(self, output: Transmit) -> None:
        data = frame(TEXT, output.text.encode(), mask=os.urandom(4))
        self.last = (output.ids, len(data))
        self.out += data
        self.flush()

    def hang_up(self, output: Hangup) -> None:
        self.send_close(output.code, output.reason)

    # --- bytes ---

    def flush(self) -> None:
        if self.out and self.socket is not None:
            try:
                self.out = self.out[self.socket.send(self.out) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self.broken = f"the connection broke: {error}"

    def take_what_has_arrived(self) -> None:
        """Pass on at most `at_once` received messages."""
        for _ in range(self.at_once):
            if self.closed or not (self.hand_over() or self.read()):
                return

    at_once = 200
    """Limit of messages, or reads of the socket, between two checks of the timer."""

    def read(self) -> bool:
        """Read once; return whether there was data."""
        assert self.socket is not None
        try:
            data = self.socket.recv(4096)
        except BlockingIOError:
            return False
        except OSError as error:
            self.lost(f"the connection broke: {error}")
            return False
        if not data:
            self.lost("the stream has ended")
        self.read_bytes += data
        return bool(data)

    def hand_over(self) -> bool:
        """Pass on the next complete message; return whether there was a frame."""
        parsed = parse(self.read_bytes)
        if parsed is None:
            return False
        got, taken = parsed
        del self.read_bytes[:taken]
        if got.opcode == CLOSE:
            self.closed_by_peer(got.data)
        elif got.opcode == PING:
            self.out += frame(PONG, got.data, mask=os.urandom(4))
        elif got.opcode in (TEXT, BINARY, CONTINUATION):
            self.fragments.append(got.data)
            if got.final:
                message = b"".join(self.fragments)
                self.fragments.clear()
                self.received(message)
        return True

    def closed_by_peer(self, data: bytes) -> None:
        self.lost(f"the exchange closed: {data!r}")
        self.send_close(int.from_bytes(data[:2], "big") or 1000, "")

    def send_close(self, code: int, reason: str) -> None:
        if not self.close_sent:
            self.close_sent = True
            self.out += frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), mask=os.urandom(4))

    def leave(self) -> None:
        """Write the rest, wait for the peer to close, at most `CLOSING` seconds, and close."""
        end = time.monotonic() + CLOSING
        self.awake.close()
        self.waker.close()
        if self.socket is not None:
            with self.socket, suppress(OSError):
                if not self.close_sent:
                    return
                self.socket.settimeout(CLOSING)
                self.socket.sendall(self.out)
                while self.socket.recv(4096) and time.monotonic() < end:
                    pass
