"""The exchange's end of the driver's WebSocket, in the hands of a scenario: a plain socket that does what it is told.

Rules of this file
- Everything is on loopback, on a free port, and every call ends within `patience` seconds.
- What was said and what was received is kept, whole and in order, so that both can be compared with what the driver did.
- No thread: what a scenario does not ask for does not happen, reading included.

It does not know the connection, nor what the messages mean.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from types import TracebackType
from typing import Self

from ..framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
    frame,
    key_of,
    parse,
    upgraded,
)

_READ = 2**16

_BACKLOG = 2**16
"""Bytes that wait at this end to be read by the driver: few, so that a flood is soon read once it has ended."""


class Silence(Exception):
    """The driver did not say or take anything in time."""


class Gone(Exception):
    """The driver has ended the connection."""


class Peer:
    """A listener on loopback and the one connection that it takes. With `narrow`, little fits between the two ends."""

    def __init__(self, patience: float, *, narrow: bool = False) -> None:
        self.patience = patience
        self.url = ""
        """Where it listens."""
        self.received: list[str] = []
        """The text messages that came, whole and in order."""
        self.said: list[bytes] = []
        """The messages that were said, whole and in order."""
        self.faults: list[str] = []
        """What was wrong with the frames that came."""
        self.closed_with: int | None = None
        """The code of the driver's close frame; 1005 when it had none."""
        self.gone = False
        """Whether the driver's end is closed."""

        self._narrow = narrow
        self._listener: socket.socket | None = None
        self._socket: socket.socket | None = None
        self._in = bytearray()
        self._fragments: list[bytes] = []
        self._opened = False
        self._over = False
        """Whether this end has said that nothing more comes."""

    # --- listening ---

    def __enter__(self) -> Self:
        listener = self._listener = socket.socket()
        if self._narrow:
            with suppress(
                OSError, AttributeError
            ):  # where the system has it: the other end's buffer is made small by it
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(self.patience)
        self.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/v2/ws/private"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for held in (self._listener, self._socket):
            if held is not None:
                held.close()

    def stop_listening(self) -> None:
        """From now on nobody is there."""
        self._listening.close()

    def accept(self) -> None:
        """Take the driver's connection.

        Raises: Silence when none comes.
        """
        try:
            self._socket, _ = self._listening.accept()
        except TimeoutError:
            raise Silence("nobody connected") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BACKLOG)

    def read_request(self) -> bytes:
        """The driver's request for an upgrade."""
        end = time.monotonic() + self.patience
        while b"\r\n\r\n" not in self._in:
            self._fill(end)
        head, _, rest = self._in.partition(b"\r\n\r\n")
        self._in = bytearray(rest)
        return bytes(head)

    def upgrade(self) -> None:
        """Open the WebSocket.

        Raises: Silence when nothing is asked in time, Gone when it is none that is asked for.
        """
        try:
            key = key_of(self.read_request())
        except KeyError:
            raise Gone(
                "its request was none for a WebSocket: it has no Sec-WebSocket-Key"
            ) from None
        self.write(upgraded(key))
        self._opened = True

    # --- saying ---

    def say(self, *messages: str | bytes) -> None:
        """Say these messages, text or bytes, in one write."""
        self.write(b"".join(self._frames(messages)))

    def say_in_fragments(self, message: str, *cuts: int, between: bytes = b"") -> None:
        """Say a text message in several frames, cut at these bytes, with other frames between them."""
        data = message.encode()
        self.said.append(data)
        cuts = (0, *cuts, len(data))
        for index, (begin, end) in enumerate(pairwise(cuts)):
            part = frame(CONTINUATION if index else TEXT, data[begin:end], final=end == len(data))
            self.write(part if end == len(data) else part + between)

    def flood(self, message: str, at_most: int, enough: Callable[[], bool]) -> bytes:
        """Say a text message again and again, as fast as the driver takes it, so many times or until it is enough, and for no
        longer than `patience`; what is missing of the last one is to be written.

        Raises: Gone when the driver has ended.
        """
        data = message.encode()
        one = frame(TEXT, data)
        batch, size = one * (1 + _BACKLOG // len(one)), at_most * len(one)
        written, end = 0, time.monotonic() + self.patience
        while written < size and not enough() and time.monotonic() < end:
            at = written % len(one)
            written += self.write_some(batch[at : at + size - written])
        self.said.extend([data] * -(-written // len(one)))
        return one[written % len(one) :] if written % len(one) else b""

    def write(self, data: bytes) -> None:
        """Send bytes, as they are.

        Raises: Silence when the driver does not take them, Gone when it has ended.
        """
        connected = self._connected
        connected.settimeout(self.patience)
        try:
            connected.sendall(data)
        except TimeoutError:
            raise Silence(f"the driver did not read {len(data)} bytes") from None
        except OSError as error:
            raise Gone(str(error)) from None

    def write_some(self, data: bytes) -> int:
        """Send as much as the driver takes within a moment; how much it was."""
        connected = self._connected
        connected.settimeout(0.01)
        try:
            return connected.send(data)
        except TimeoutError:
            return 0
        except OSError as error:
            raise Gone(str(error)) from None

    # --- hearing ---

    def read(self) -> str:
        """The next text message.

        Raises: Silence when none comes in time, Gone when the driver has closed.
        """
        count, end = len(self.received), time.monotonic() + self.patience
        while len(self.received) == count:
            if self.closed_with is not None:
                raise Gone(f"the driver has closed with code {self.closed_with}")
            if not self._take_frame():
                self._fill(end)
        return self.received[count]

    def read_for(self, seconds: float) -> None:
        """Read whatever comes for so long."""
        end = time.monotonic() + seconds
        with suppress(Silence, Gone):
            while True:
                if not self._take_frame():
                    self._fill(end)

    def read_close(self) -> int:
        """Read up to the driver's close frame; its code.

        Raises: Silence when none comes in time, Gone when the driver ends without one.
        """
        end = time.monotonic() + self.patience
        while self.closed_with is None:
            if not self._take_frame():
                self._fill(end)
        return self.closed_with

    @property
    def connected(self) -> bool:
        """Whether the driver's connection was taken."""
        return self._socket is not None

    @property
    def listens_on(self) -> bool:
        """Whether there is a WebSocket that this end has not ended."""
        return self._opened and not self._over and not self.gone

    @property
    def has_part(self) -> bool:
        """Whether the beginning of a frame has come, and not the rest of it."""
        return bool(self._in)

    # --- ending ---

    def end_of_stream(self) -> None:
        """Say that nothing more comes, without a close frame, as a process does that has ended."""
        self._over = True
        with suppress(OSError):
            self._connected.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self._over = True
        self._connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connected.close()
        self.gone = True

    def say_close(
        self, code: int | None, reason: str = "", behind: Sequence[str | bytes] = ()
    ) -> None:
        """Send a close frame, an empty one without a code, in one write with the messages that it comes behind."""
        self._over = True
        self.write(
            b"".join(self._frames(behind))
            + (frame(CLOSE, b"") if code is None else close_frame(code, reason))
        )

    def finish(self) -> None:
        """End the connection in good order, and read it to its end; then `gone` tells whether the driver closed its socket."""
        if self._socket is None or self.gone:
            return
        with suppress(Silence, Gone):
            if self.listens_on:
                self.say_close(1001, "the scenario is over")
            if self._opened:
                self.read_close()
        self.end_of_stream()
        self.read_for(self.patience)

    # --- inside ---

    @property
    def _listening(self) -> socket.socket:
        assert self._listener is not None, "only in its context"
        return self._listener

    @property
    def _connected(self) -> socket.socket:
        assert self._socket is not None, "accept comes first"
        return self._socket

    def _frames(self, messages: Sequence[str | bytes]) -> Iterator[bytes]:
        for message in messages:
            data = message if isinstance(message, bytes) else message.encode()
            self.said.append(data)
            yield frame(BINARY if isinstance(message, bytes) else TEXT, data)

    def _fill(self, end: float) -> None:
        connected = self._connected
        left = end - time.monotonic()
        if left <= 0:
            raise Silence("the driver said nothing")
        connected.settimeout(left)
        try:
            data = connected.recv(_READ)
        except TimeoutError:
            raise Silence("the driver said nothing") from None
        except OSError as error:
            self.gone = True
            raise Gone(str(error)) from None
        if not data:
            self.gone = True
            raise Gone("the driver has closed its socket")
        self._in += data

    def _take_frame(self) -> bool:
        """Take a frame out of what was read; False when there is none."""
        parsed = parse(self._in)
        if parsed is None:
            return False
        got, taken = parsed
        del self._in[:taken]
        if not got.masked:
            self.faults.append("a frame was not masked, as a client's must be (RFC 6455, 5.1)")
        if self.closed_with is not None:
            self.faults.append("a frame came behind the close frame")
        elif got.opcode == CLOSE:
            self.closed_with = int.from_bytes(got.data[:2], "big") if len(got.data) >= 2 else 1005
        elif got.opcode == PING:
            self.write(frame(PONG, got.data))
        elif got.opcode in (TEXT, CONTINUATION):
            self._take_text(got)
        elif got.opcode != PONG:
            self.faults.append(f"a frame came that is no text (opcode {got.opcode})")
        return True

    def _take_text(self, got: Frame) -> None:
        self._fragments.append(got.data)
        if got.final:
            self.received.append(b"".join(self._fragments).decode("utf-8", "replace"))
            self._fragments.clear()
