"""Servers that misbehave on the socket, to test that transports survive them.

    with HostileServer(half_frame(after=After.LOGIN)) as server:
        ...  # connect any client to server.url

A behaviour is a function of one connection, made by a function that takes its parameters, such as
`refuse(403)` or `flood()`. Servers listen on a free port of loopback, use threads and blocking
sockets, and end with their context, whatever their clients do. An error in a server is raised when
the context exits, unless it only means that the client has gone.

For faults of single requests, such as a late, missing or garbled answer, see
`bitget_proto.testing.Fault`.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias

from bitget_proto.testing.framing import BINARY, CLOSE, PONG, TEXT, frame_head

from ._victim import TICK, After, Ended, Victim

__all__ = [
    "After",
    "Behaviour",
    "HostileServer",
    "Victim",
    "bad_frame",
    "binary",
    "close",
    "end_of_stream",
    "endless_head",
    "endless_message",
    "flood",
    "half_frame",
    "half_frame_then_end",
    "half_head",
    "hang_up_at_once",
    "huge_message",
    "mute",
    "no_utf8",
    "not_http",
    "refuse",
    "refuse_slowly",
    "reset",
    "silence",
    "stop_reading",
    "stray_pong",
    "wrong_accept",
]

Behaviour: TypeAlias = Callable[[Victim], None]
"""Handles one connection, which is closed when the function returns."""


# --- before the WebSocket is open ---


def mute() -> Behaviour:
    """Accept TCP and send nothing. With a `wss://` URL the TLS handshake never ends."""
    return Victim.hold


def refuse(status: int, reason: str = "Refused", body: bytes = b"") -> Behaviour:
    """Refuse the upgrade with an HTTP status."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        victim.write(head.encode() + body)

    return behave


def refuse_slowly(status: int, length: int = 1_000_000) -> Behaviour:
    """Refuse the upgrade with an announced body of which only the beginning is sent."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(
            f"HTTP/1.1 {status} Refused\r\nContent-Length: {length}\r\n\r\nbeginning".encode()
        )
        victim.hold()

    return behave


def wrong_accept() -> Behaviour:
    """Answer the upgrade with a `Sec-WebSocket-Accept` for another key."""

    def behave(victim: Victim) -> None:
        victim.upgrade(b"AAAAAAAAAAAAAAAAAAAAAA==")
        victim.hold()

    return behave


def not_http() -> Behaviour:
    """Answer the upgrade with something other than HTTP."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(b"220 mail.example ESMTP\r\n")
        victim.hold()

    return behave


def half_head() -> Behaviour:
    """Answer the upgrade with the beginning of a response head, then send nothing."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso")
        victim.hold()

    return behave


def endless_head() -> Behaviour:
    """Answer the upgrade with headers that never end."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(b"HTTP/1.1 101 Switching Protocols\r\n")
        while True:
            victim.write(b"X-More: " + b"x" * 1000 + b"\r\n")

    return behave


def hang_up_at_once() -> Behaviour:
    """Accept TCP and close the connection."""
    return lambda victim: None  # noqa: ARG005 - the connection is closed when this returns


# --- once the WebSocket is open ---


def silence(after: After = After.UPGRADE) -> Behaviour:
    """Read everything and send nothing more: no answer, no `pong`, no close frame."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.hold()

    return behave


def stop_reading(after: After = After.LOGIN) -> Behaviour:
    """Stop reading, so that the client's writes stall; the socket stays open."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.freeze()

    return behave


def half_frame(after: After = After.LOGIN) -> Behaviour:
    """Send the beginning of a frame, then nothing."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(frame_head(TEXT, 100) + b"half")
        victim.hold()

    return behave


def half_frame_then_end(after: After = After.LOGIN) -> Behaviour:
    """Send the beginning of a frame, then end the stream."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(frame_head(TEXT, 100) + b"half")
        victim.end()

    return behave


def end_of_stream(after: After = After.LOGIN) -> Behaviour:
    """End the stream without a close frame."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.end()

    return behave


def reset(after: After = After.LOGIN) -> Behaviour:
    """Reset the TCP connection."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.reset()

    return behave


def close(
    code: int = 1001, reason: str = "", after: After = After.LOGIN, *, linger: bool = False
) -> Behaviour:
    """Send a close frame with any code, legal or not; with `linger`, keep the TCP connection."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(CLOSE, struct.pack("!H", code) + reason.encode())
        if linger:
            victim.hold()
        for _ in victim.messages():
            pass  # until the client's close frame

    return behave


def flood(text: str = '{"event":"push"}', after: After = After.LOGIN) -> Behaviour:
    """Send the same message without end, as fast as the client reads."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        batch = (frame_head(TEXT, len(text.encode())) + text.encode()) * 100
        while True:
            victim.write(batch)

    return behave


def stray_pong(after: After = After.LOGIN) -> Behaviour:
    """Send an unsolicited WebSocket pong; then behave correctly."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(PONG, b"unsolicited")
        victim.serve()

    return behave


def huge_message(
    size: int = 30_000_000, fragment: int = 65_536, after: After = After.LOGIN
) -> Behaviour:
    """Send one text message of `size` bytes in fragments; then behave correctly.

    With a `fragment` of 0 it is one frame.
    """

    def behave(victim: Victim) -> None:
        victim.reach(after)
        if not fragment:
            victim.frame(TEXT, b"x" * size)
        else:
            left, opcode = size, TEXT
            while left:
                part = min(fragment, left)
                left -= part
                victim.frame(opcode, b"x" * part, final=not left)
                opcode = 0
        victim.serve()

    return behave


def endless_message(fragment: int = 65_536, after: After = After.LOGIN) -> Behaviour:
    """Send fragments of one message that never ends."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(TEXT, b"x" * fragment, final=False)
        while True:
            victim.frame(0, b"x" * fragment, final=False)

    return behave


def binary(data: bytes = b"\xff\x00", after: After = After.LOGIN) -> Behaviour:
    """Send a binary message; then behave correctly."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(BINARY, data)
        victim.serve()

    return behave


def no_utf8(after: After = After.LOGIN) -> Behaviour:
    """Send a text message that is not valid UTF-8."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(TEXT, b"\xff\xfe")
        victim.hold()

    return behave


def bad_frame(after: After = After.LOGIN) -> Behaviour:
    """Send a frame with reserved bits and an undefined opcode."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(b"\xff\x00")
        victim.hold()

    return behave


class HostileServer:
    """A server on loopback whose connections have these behaviours.

    Use it as in `with HostileServer(refuse(403)) as server: server.url`. The first connection gets
    the first behaviour, and so on; all later ones get the last. With `tls`, an `ssl.SSLContext` for
    a server with its certificate, the server serves `wss://localhost`.
    """

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        if not behaviours:
            raise TypeError("a HostileServer needs a behaviour, such as refuse(403)")
        self.connections = 0
        """How many connections have been accepted so far."""
        self._behaviours = behaviours
        self._tls = tls
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._listener: socket.socket | None = None

    @property
    def url(self) -> str:
        """The URL to connect to.

        Raises: RuntimeError outside the context.
        """
        if self._listener is None:
            raise RuntimeError("the server is not running: use it in `with`")
        origin = "ws://127.0.0.1" if self._tls is None else "wss://localhost"
        return f"{origin}:{self._listener.getsockname()[1]}/v2/ws/private"

    def __enter__(self) -> Self:
        listener = self._listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(TICK)
        self._start(self._accept, listener)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        end = time.monotonic() + 10.0
        # The accepting thread is the first and starts the others: no new ones after its join.
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if any(thread.is_alive() for thread in self._threads):
            self._failures.append(TimeoutError("a hostile server's connection did not end"))
        if self._failures:
            raise self._failures[0]

    def _accept(self, listener: socket.socket) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                accepted, _ = listener.accept()
                behave = self._behaviours[min(self.connections, len(self._behaviours) - 1)]
                self.connections += 1
                self._start(self._serve, accepted, behave)

    def _serve(self, accepted: socket.socket, behave: Behaviour) -> None:
        with accepted as plain, suppress(Ended, OSError):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                behave(Victim(plain, self._ended))
                return
            plain.settimeout(5.0)
            with self._tls.wrap_socket(plain, server_side=True) as secured:
                behave(Victim(secured, self._ended))

    def _start(self, run: Callable[..., None], *given: object) -> None:
        def body() -> None:
            try:
                run(*given)
            except BaseException as error:  # noqa: BLE001 - raised when the context exits
                self._failures.append(error)

        thread = threading.Thread(target=body, name="hostile server")
        self._threads.append(thread)
        thread.start()
