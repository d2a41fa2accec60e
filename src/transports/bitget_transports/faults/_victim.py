"""One connection of a `HostileServer`, with the methods that a behaviour needs."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum

from bitget_proto.testing.framing import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    frame_head,
    key_of,
    parse,
    upgraded,
)

from .._driver.set_module import set_module

TICK = 0.05
"""Seconds after which a blocked call checks again whether the server has ended."""

_LOGGED_IN = '{"event":"login","code":0}'


@set_module("bitget_transports.faults.hostile_server")
class After(Enum):
    """How far a connection gets before it turns hostile."""

    UPGRADE = "upgrade"
    """The WebSocket is open."""

    LOGIN = "login"
    """The login has been answered; any login is accepted."""

    CANCEL = "cancel"
    """The first cancel has arrived; it is not answered."""


class Ended(Exception):
    """The server or the client has ended, so the behaviour ends as well."""


@set_module("bitget_transports.faults.hostile_server")
class Victim:
    """A connection, as passed to a behaviour.

    Each call ends early when the server ends or the client has gone.
    """

    def __init__(self, accepted: socket.socket, ended: threading.Event) -> None:
        accepted.settimeout(TICK)
        self._socket = accepted
        self._ended = ended
        self._read = b""

    # --- correct behaviour ---

    def upgrade(self, key: bytes | None = None) -> None:
        """Read the request and open the WebSocket.

        With `key`, accept that key instead of the requested one.
        """
        head = self.read_head()
        self.write(upgraded(key_of(head) if key is None else key))

    def reach(self, after: After) -> None:
        """Behave correctly up to this point."""
        self.upgrade()
        if after is not After.UPGRADE:
            self.read_until('"login"')
            self.say(_LOGGED_IN)
        if after is After.CANCEL:
            self.read_until('"trade"')

    def say(self, text: str) -> None:
        """Send a text message."""
        self.frame(TEXT, text.encode())

    def read_until(self, part: str) -> str:
        """Read messages until one contains `part`, and return it; answer each `ping` before it."""
        for message in self.messages():
            if part in message:
                return message
            if message == "ping":
                self.say("pong")
        raise Ended

    def serve(self) -> None:
        """Behave correctly: answer each `ping` with `pong`, and accept every cancel."""
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
        """Yield the client's messages until it closes. Fragments are not reassembled."""
        while True:
            while (parsed := parse(self._read)) is None:
                self._receive()
            frame, taken = parsed
            self._read = self._read[taken:]
            if frame.opcode == CLOSE:
                return
            if frame.opcode == PING:
                self.frame(PONG, frame.data)
            elif frame.opcode == TEXT:
                yield frame.data.decode()

    # --- primitives ---

    def read_head(self) -> bytes:
        """Read the HTTP request up to its empty line."""
        while b"\r\n\r\n" not in self._read:
            self._receive()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head

    def frame(self, opcode: int, data: bytes, *, final: bool = True) -> None:
        """Send one frame with any opcode and data."""
        self.write(frame_head(opcode, len(data), final=final) + data)

    def write(self, data: bytes) -> None:
        """Send raw bytes."""
        view = memoryview(data)
        while view:
            with suppress(TimeoutError):
                view = view[self._socket.send(view) :]
            self._check()

    def hold(self) -> None:
        """Read and discard everything, until the client has gone or the server ends."""
        while True:
            self._read = b""
            self._receive()

    def freeze(self) -> None:
        """Do nothing, not even read, until the server ends."""
        self._ended.wait()

    def end(self) -> None:
        """End the stream without a close frame, as a terminated process does, and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)
        self.hold()

    def reset(self) -> None:
        """Reset the TCP connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # --- private ---

    def _receive(self) -> None:
        while True:
            with suppress(TimeoutError):
                data = self._socket.recv(65536)
                if not data:
                    raise Ended
                self._read += data
                return
            self._check()

    def _check(self) -> None:
        if self._ended.is_set():
            raise Ended
