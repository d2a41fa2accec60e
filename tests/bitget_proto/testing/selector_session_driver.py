"""A correct driver of a session on the standard library: one thread, one selector.

The tests of the conformance kit use it: each faulty session driver is this one with one change.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Container
from contextlib import suppress
from urllib.parse import urlsplit

from bitget_proto import (
    CancelOrder,
    Dial,
    Ended,
    LinkHangup,
    LinkTransmit,
    Session,
    SessionOutput,
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

from .selector_driver import CLOSING, KEY

SessionCall = Callable[[Session, float], object]

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Link:
    """A WebSocket, from its dial until its socket is closed."""

    def __init__(self, number: int, request: bytes) -> None:
        self.number = number
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.opened = False
        self.read_bytes = bytearray()
        self.fragments: list[bytes] = []
        self.out = request
        """Bytes that are not written yet."""
        self.last: tuple[tuple[str, ...], int] = ((), 0)
        """The ids and the size of the last frame."""
        self.close_sent = False
        self.leave_at: float | None = None
        """When the socket is closed; None if the session has not ended with this link."""

    @property
    def unsent(self) -> tuple[str, ...]:
        ids, size = self.last
        return ids if len(self.out) >= size > 0 else ()


class SelectorSessionDriver:
    def __init__(self, session: Session, url: str) -> None:
        self.session = session
        self.url = urlsplit(url)
        self.calls: deque[SessionCall] = deque()
        self.awake, self.waker = socket.socketpair()
        self.links: dict[int, Link] = {}
        """The links that are dialled or open."""
        self.dialled: list[Link] = []
        """All links."""
        self.leaving: list[Link] = []
        """The links whose sockets are about to be closed."""
        self.until: float | None = None
        self.ended = False

    # --- from other threads ---

    def call(self, fn: SessionCall) -> None:
        self.calls.append(fn)
        with suppress(OSError):
            self.waker.send(b"!")

    def abandon(self, order: CancelOrder) -> None:
        """Cancel the order; there is no wait that could be abandoned."""
        self.call(lambda session, now: session.cancel(order, now))

    # --- the loop ---

    def run(self) -> None:
        try:
            self.drain()
            while not self.ended or self.leaving:
                self.turn()
        finally:
            for link in self.dialled:
                link.socket.close()
            self.awake.close()
            self.waker.close()

    def turn(self) -> None:
        """Wait, then process calls, writes, messages and timers, in this order."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.awake, _READ)
            for link in [*self.links.values(), *self.leaving]:
                selector.register(link.socket, _READ | (_WRITE if link.out else 0))
            if any(key.fileobj is self.awake for key, _ in selector.select(self.timeout())):
                self.awake.recv(4096)
        self.run_calls()
        for link in [*self.links.values(), *self.leaving]:
            self.write_and_read(link)
        self.look_at_timer()

    def write_and_read(self, link: Link) -> None:
        self.go_on_writing(link)
        self.take_what_has_arrived(link)
        if link.leave_at is not None and self.now() >= link.leave_at:
            self.leave(link)

    def now(self) -> float:
        return time.monotonic()

    def timeout(self) -> float | None:
        if any(link.opened and parse(link.read_bytes) for link in self.links.values()):
            return 0.0
        times = [link.leave_at for link in self.leaving if link.leave_at is not None]
        times += [] if self.until is None else [self.until]
        return max(0.0, min(times) - self.now()) if times else None

    def run_calls(self) -> None:
        while self.calls and not self.ended:
            self.calls.popleft()(self.session, self.now())
            self.drain()

    def look_at_timer(self) -> None:
        if self.until is not None and not self.ended and self.now() >= self.until:
            self.session.handle_timeout(max(self.now(), self.until))
            self.drain()

    # --- inputs ---

    def opened(self, link: Link) -> None:
        link.opened = True
        self.session.opened(link.number, self.now(), login=sign_login(KEY, int(time.time())))
        self.drain()

    def received(self, link: Link, message: bytes) -> None:
        self.session.receive(link.number, message, self.now())
        self.drain()

    def lost(self, link: Link, reason: str, retry_after: float | None = None) -> None:
        if self.links.pop(link.number, None) is not None:
            unsent = link.unsent
            if unsent:
                link.out = b""
            self.session.lost(link.number, self.now(), reason, unsent, retry_after)
            self.leave_soon(link)
            self.drain()

    # --- outputs ---

    def drain(self) -> None:
        while True:
            output = self.session.poll(self.now(), self.busy())
            if isinstance(output, Wait):
                self.until = output.until
                return
            self.dispatch(output)

    def busy(self) -> Container[int]:
        return {link.number for link in self.links.values() if link.out}

    def dispatch(self, output: SessionOutput) -> None:
        if isinstance(output, LinkTransmit):
            self.transmit(output)
        elif isinstance(output, LinkHangup):
            self.hang_up(output)
        elif isinstance(output, Dial):
            self.dial(output)
        elif isinstance(output, Ended):
            self.ended = True

    def dial(self, output: Dial) -> None:
        request = (
            f"GET {self.url.path} HTTP/1.1\r\nHost: {self.url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        link = self.links[output.link] = Link(output.link, request.encode())
        self.dialled.append(link)
        link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.socket.connect_ex((self.url.hostname, self.url.port))

    def transmit(self, output: LinkTransmit) -> None:
        self.write(self.links[output.link], output)

    def write(self, link: Link, output: LinkTransmit) -> None:
        data = frame(TEXT, output.text.encode(), mask=os.urandom(4))
        link.last = (output.ids, len(data))
        link.out += data
        self.flush(link)

    def hang_up(self, output: LinkHangup) -> None:
        link = self.links.pop(output.link, None)
        if link is None:
            return
        if output.abort:
            link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.socket.close()
        elif link.opened:
            self.send_close(link, output.code, output.reason)
            self.leave_soon(link)
        else:
            link.socket.close()

    # --- bytes ---

    def go_on_writing(self, link: Link) -> None:
        stalled = bool(link.out)
        self.flush(link)
        if stalled and not link.out and link.number in self.links:
            self.drain()

    def flush(self, link: Link) -> None:
        with suppress(OSError):  # a broken connection is seen by the next read
            if link.out:
                link.out = link.out[link.socket.send(link.out) :]

    at_once = 200
    """Limit of messages, or reads of a socket, between two checks of the timer."""

    def take_what_has_arrived(self, link: Link) -> None:
        for _ in range(self.at_once):
            if link.socket.fileno() < 0 or not (self.hand_over(link) or self.read(link)):
                return

    def read(self, link: Link) -> bool:
        """Read once; return whether there was data."""
        try:
            data = link.socket.recv(4096)
        except BlockingIOError:
            return False
        except OSError as error:
            data, reason = b"", f"the connection broke: {error}"
        else:
            reason = "the stream has ended"
        if not data:
            self.lost(link, reason)
            self.leave(link)
        link.read_bytes += data
        return bool(data)

    def hand_over(self, link: Link) -> bool:
        """Pass on the next complete message; return whether there was a frame."""
        if not link.opened:
            return self.read_answer(link)
        parsed = parse(link.read_bytes)
        if parsed is None:
            return False
        got, taken = parsed
        del link.read_bytes[:taken]
        if got.opcode == CLOSE:
            self.lost(link, f"the exchange closed: {got.data!r}")
            self.send_close(link, int.from_bytes(got.data[:2], "big") or 1000, "")
        elif got.opcode == PING:
            link.out += frame(PONG, got.data, mask=os.urandom(4))
        elif got.opcode in (TEXT, BINARY, CONTINUATION) and link.number in self.links:
            link.fragments.append(got.data)
            if got.final:
                message = b"".join(link.fragments)
                link.fragments.clear()
                self.received(link, message)
        return True

    def read_answer(self, link: Link) -> bool:
        """Handle the answer to the upgrade request, once it is complete."""
        if b"\r\n\r\n" not in link.read_bytes:
            return False
        head, _, rest = bytes(link.read_bytes).partition(b"\r\n\r\n")
        link.read_bytes = bytearray(rest)
        if head.startswith(b"HTTP/1.1 101 "):
            self.opened(link)
        else:
            self.refused(link, head.decode())
        return True

    def refused(self, link: Link, head: str) -> None:
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        seconds = fields.get("Retry-After")
        self.lost(link, head[:40], None if seconds is None else float(seconds))
        self.leave(link)

    # --- the end of a link ---

    def send_close(self, link: Link, code: int, reason: str) -> None:
        if not link.close_sent:
            link.close_sent = True
            link.out += frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), mask=os.urandom(4))

    def leave_soon(self, link: Link) -> None:
        """Let the peer close the socket, for at most `CLOSING` seconds."""
        link.leave_at = self.now() + CLOSING
        self.leaving.append(link)

    def leave(self, link: Link) -> None:
        link.socket.close()
        if link in self.leaving:
            self.leaving.remove(link)
