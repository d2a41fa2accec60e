"""Servers that misbehave at the level of the socket, in ways no exchange should. A transport must survive them.

    with HostileServer(half_frame(after=After.LOGIN)) as server:
        ...  # connect any client to server.url

A behaviour is a function of one connection, made by a function that takes its parameters: `refuse(403)`, `flood()`. Servers
listen on a free port of loopback, use threads and blocking sockets, and end with their context, whatever their clients do. An
error in a server is raised when the context exits, unless it only says that the client has gone.

Faults of single requests, such as a late answer, none, or garbage, are `bitget_proto.testing.Fault`.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self, TypeAlias

from bitget_proto.testing.framing import BINARY as _BINARY
from bitget_proto.testing.framing import CLOSE as _CLOSE
from bitget_proto.testing.framing import PING as _PING
from bitget_proto.testing.framing import PONG as _PONG
from bitget_proto.testing.framing import TEXT as _TEXT
from bitget_proto.testing.framing import frame_head as frame_head  # noqa: PLC0414 - a word of this module's too
from bitget_proto.testing.framing import key_of, parse, upgraded

_TICK = 0.05
"""Seconds after which a blocked call looks whether the server has ended."""

_LOGGED_IN = '{"event":"login","code":0}'


class After(Enum):
    """How far a connection comes before it turns hostile."""

    UPGRADE = "upgrade"
    """When the WebSocket is open."""

    LOGIN = "login"
    """When a login has been answered: it is accepted, whatever it says."""

    CANCEL = "cancel"
    """When a first cancel has arrived, which is not answered."""


class _Ended(Exception):
    """The server ends, so that whatever a connection does ends as well."""


class Victim:
    """A connection that a behaviour has in hand. Each call ends early when the server ends or the client has gone."""

    def __init__(self, accepted: socket.socket, ended: threading.Event) -> None:
        accepted.settimeout(_TICK)
        self._socket = accepted
        self._ended = ended
        self._read = b""

    # --- as an honest server would ---

    def upgrade(self, key: bytes | None = None) -> None:
        """Read the request and open the WebSocket; with `key`, answer that one instead of what was asked."""
        head = self.read_head()
        self.write(upgraded(key_of(head) if key is None else key))

    def reach(self, after: After) -> None:
        """Be honest up to there."""
        self.upgrade()
        if after is not After.UPGRADE:
            self.read_until('"login"')
            self.say(_LOGGED_IN)
        if after is After.CANCEL:
            self.read_until('"trade"')

    def say(self, text: str) -> None:
        """Send a text message."""
        self.frame(_TEXT, text.encode())

    def read_until(self, part: str) -> str:
        """Read messages until one holds this, and give it; a `ping` on the way is answered."""
        for message in self.messages():
            if part in message:
                return message
            if message == "ping":
                self.say("pong")
        raise _Ended

    def serve(self) -> None:
        """Go on honestly: each `ping` has its `pong`, and every cancel is accepted."""
        for message in self.messages():
            if message == "ping":
                self.say("pong")
            elif '"trade"' in message:
                self.say(
                    json.dumps(
                        {
                            "event": "trade",
                            "arg": json.loads(message)["args"],
                            "code": 0,
                            "msg": "Success",
                        }
                    )
                )

    def messages(self) -> Iterator[str]:
        """What the client says until it closes. Fragments are not put together: no client here needs them."""
        while True:
            while (parsed := parse(self._read)) is None:
                self._receive()
            frame, taken = parsed
            self._read = self._read[taken:]
            if frame.opcode == _CLOSE:
                return
            if frame.opcode == _PING:
                self.frame(_PONG, frame.data)
            elif frame.opcode == _TEXT:
                yield frame.data.decode()

    # --- as none should ---

    def read_head(self) -> bytes:
        """Read the HTTP request up to its empty line."""
        while b"\r\n\r\n" not in self._read:
            self._receive()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head

    def frame(self, opcode: int, data: bytes, *, final: bool = True) -> None:
        """Send one frame, as it is."""
        self.write(frame_head(opcode, len(data), final=final) + data)

    def write(self, data: bytes) -> None:
        """Send bytes, as they are."""
        view = memoryview(data)
        while view:
            with suppress(TimeoutError):
                view = view[self._socket.send(view) :]
            self._check()

    def hold(self) -> None:
        """Read and forget whatever comes, until the client has gone or the server ends."""
        while True:
            self._read = b""
            self._receive()

    def freeze(self) -> None:
        """Do nothing, not even read, until the server ends."""
        self._ended.wait()

    def end(self) -> None:
        """Say that nothing more comes, as a process does that has ended, and read on."""
        self._socket.shutdown(socket.SHUT_WR)
        self.hold()

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # --- inside ---

    def _receive(self) -> None:
        while True:
            with suppress(TimeoutError):
                data = self._socket.recv(65536)
                if not data:
                    raise _Ended
                self._read += data
                return
            self._check()

    def _check(self) -> None:
        if self._ended.is_set():
            raise _Ended


Behaviour: TypeAlias = Callable[[Victim], None]
"""What is done with one connection. It is closed when the function returns."""


# --- before there is a WebSocket ---


def mute() -> Behaviour:
    """Accept TCP and say nothing. Dialled with `wss://`, its TLS handshake never ends."""
    return Victim.hold


def refuse(status: int, reason: str = "Refused", body: bytes = b"") -> Behaviour:
    """Refuse the upgrade with an HTTP status."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        victim.write(head.encode() + body)

    return behave


def refuse_slowly(status: int, length: int = 1_000_000) -> Behaviour:
    """Refuse the upgrade with a body that never comes to its end."""

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
    """Answer the upgrade with what is no HTTP."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(b"220 mail.example ESMTP\r\n")
        victim.hold()

    return behave


def half_head() -> Behaviour:
    """Answer the upgrade with the beginning of a head, then with silence."""

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
    """Accept TCP and hang up."""
    return lambda victim: None  # noqa: ARG005 - the connection is closed when this returns


# --- when there is one ---


def silence(after: After = After.UPGRADE) -> Behaviour:
    """Read everything, and never say anything again: no answer, no `pong`, no close frame."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.hold()

    return behave


def stop_reading(after: After = After.LOGIN) -> Behaviour:
    """Read nothing any more, so that the client's writes stall, while the socket stays open."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.freeze()

    return behave


def half_frame(after: After = After.LOGIN) -> Behaviour:
    """Send the beginning of a frame, then silence."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(frame_head(_TEXT, 100) + b"half")
        victim.hold()

    return behave


def half_frame_then_end(after: After = After.LOGIN) -> Behaviour:
    """Send the beginning of a frame, then the end of the stream."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(frame_head(_TEXT, 100) + b"half")
        victim.end()

    return behave


def end_of_stream(after: After = After.LOGIN) -> Behaviour:
    """End the stream without a close frame."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.end()

    return behave


def reset(after: After = After.LOGIN) -> Behaviour:
    """Cut the connection with a TCP reset."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.reset()

    return behave


def close(
    code: int = 1001, reason: str = "", after: After = After.LOGIN, *, linger: bool = False
) -> Behaviour:
    """Send a close frame with any code, legal or not; with `linger`, never end the TCP connection behind it."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(_CLOSE, struct.pack("!H", code) + reason.encode())
        if linger:
            victim.hold()
        for _ in victim.messages():
            pass  # until its own close frame

    return behave


def flood(text: str = '{"event":"push"}', after: After = After.LOGIN) -> Behaviour:
    """Say the same without end, as fast as the client reads."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        batch = (frame_head(_TEXT, len(text.encode())) + text.encode()) * 100
        while True:
            victim.write(batch)

    return behave


def stray_pong(after: After = After.LOGIN) -> Behaviour:
    """Send a WebSocket pong that nobody asked for; then go on honestly."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(_PONG, b"nobody asked")
        victim.serve()

    return behave


def huge_message(
    size: int = 30_000_000, fragment: int = 65_536, after: After = After.LOGIN
) -> Behaviour:
    """Send one text message of this many bytes in fragments; with `fragment` of 0, in one frame. Then go on honestly."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        if not fragment:
            victim.frame(_TEXT, b"x" * size)
        else:
            left, opcode = size, _TEXT
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
        victim.frame(_TEXT, b"x" * fragment, final=False)
        while True:
            victim.frame(0, b"x" * fragment, final=False)

    return behave


def binary(data: bytes = b"\xff\x00", after: After = After.LOGIN) -> Behaviour:
    """Send a binary message; then go on honestly."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(_BINARY, data)
        victim.serve()

    return behave


def no_utf8(after: After = After.LOGIN) -> Behaviour:
    """Send a text message that is no UTF-8."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.frame(_TEXT, b"\xff\xfe")
        victim.hold()

    return behave


def bad_frame(after: After = After.LOGIN) -> Behaviour:
    """Send a frame with reserved bits and an opcode that does not exist."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(b"\xff\x00")
        victim.hold()

    return behave


class HostileServer:
    """A server on loopback that treats its connections so: `with HostileServer(refuse(403)) as server: server.url`.

    Given several behaviours, the first connection gets the first one, and so on; all later ones get the last. `tls` is the
    context of a server with its certificate; its name is `localhost` then.
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
        """Where it listens.

        Raises: RuntimeError outside its context.
        """
        if self._listener is None:
            raise RuntimeError("the server is not running: use it in `with`")
        origin = "ws://127.0.0.1" if self._tls is None else "wss://localhost"
        return f"{origin}:{self._listener.getsockname()[1]}/v2/ws/private"

    def __enter__(self) -> Self:
        listener = self._listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(_TICK)
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
        # The thread that accepts starts the others, and has ended when the first join has.
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
        with accepted as plain, suppress(_Ended, OSError):
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
            except BaseException as error:  # noqa: BLE001 - raised where the context is left
                self._failures.append(error)

        thread = threading.Thread(target=body, name="hostile server")
        self._threads.append(thread)
        thread.start()
