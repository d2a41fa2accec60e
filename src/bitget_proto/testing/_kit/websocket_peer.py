"""The exchange's end of the driver's WebSocket: a plain socket that a scenario controls.

It listens on a free port of loopback, and every call ends within `patience` seconds. All messages
that were sent and received are kept, in order, to be compared with what the driver did. There is no
thread: the peer does nothing, not even read, unless a scenario calls for it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
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
"""Send buffer in bytes: small, so that the rest of a flood is read quickly once it has ended."""


class Silence(Exception):
    """The driver did not send or read anything in time."""


class Gone(Exception):
    """The driver has ended the connection."""


class Peer:
    """A listener on loopback and the one connection that it accepts.

    With `narrow`, the socket buffers between the two ends are small.
    """

    def __init__(self, patience: float, *, narrow: bool = False) -> None:
        self.patience = patience
        self.url = ""
        """The URL that it listens on."""
        self.received: list[str] = []
        """The text messages that were received, in order."""
        self.said: list[bytes] = []
        """The messages that were sent, in order."""
        self.pongs: list[bytes] = []
        """The data of the WebSocket pongs that were received."""
        self.faults: list[str] = []
        """The errors in the frames that were received."""
        self.closed_with: int | None = None
        """The code of the driver's close frame; 1005 when the frame had none."""
        self.gone = False
        """Whether the driver's socket is closed."""

        self._narrow = narrow
        self._listener: socket.socket | None = None
        self._socket: socket.socket | None = None
        self._in = bytearray()
        self._fragments: list[bytes] = []
        self._ports: tuple[int, int] | None = None
        """The ports of the driver's socket and of this end."""
        self._opened = False
        self._over = False
        """Whether this end has ended its direction of the stream."""

    # --- listening ---

    def __enter__(self) -> Self:
        listener = self._listener = socket.socket()
        if self._narrow:
            # Where the system supports it, this keeps the send buffer of the other end small.
            with suppress(OSError, AttributeError):
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
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for held in (self._listener, self._socket):
            if held is not None:
                held.close()

    def another(self) -> Peer:
        """Return a peer for the next connection to the same listener, which this one closes."""
        other = Peer(self.patience)
        other.url, other._listener = self.url, self._listener
        return other

    def backlog(self) -> int:
        """Accept and close all pending connections; return their number."""
        count = 0
        with suppress(OSError):
            self._listening.settimeout(0.0)
            while True:
                self._listening.accept()[0].close()
                count += 1
        return count

    def stop_listening(self) -> None:
        """Close the listener."""
        self._listening.close()

    def accept(self) -> None:
        """Accept the driver's connection.

        Raises: Silence when none comes in time.
        """
        try:
            self._socket, (_, port) = self._listening.accept()
        except TimeoutError:
            raise Silence("no connection came in time") from None
        self._ports = port, self._socket.getsockname()[1]
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BACKLOG)

    def read_request(self) -> bytes:
        """Read the driver's upgrade request and return its head."""
        end = time.monotonic() + self.patience
        while b"\r\n\r\n" not in self._in:
            self._fill(end)
        head, _, rest = self._in.partition(b"\r\n\r\n")
        self._in = bytearray(rest)
        return bytes(head)

    def upgrade(self) -> None:
        """Answer the driver's upgrade request.

        Raises: Silence when none comes in time, Gone when it is not a WebSocket request.
        """
        self.answer(self.read_request())

    def answer(self, request: bytes) -> None:
        """Answer an upgrade request.

        Raises: Silence and Gone, like `write`; Gone also when it is not a WebSocket request.
        """
        try:
            key = key_of(request)
        except KeyError:
            raise Gone(
                "its request is not a WebSocket upgrade: it has no Sec-WebSocket-Key"
            ) from None
        self.write(upgraded(key))
        self._opened = True

    # --- sending ---

    def say(self, *messages: str | bytes) -> None:
        """Send these messages, text or bytes, in one write."""
        self.write(b"".join(self._frames(messages)))

    def say_in_fragments(self, message: str, *cuts: int, between: bytes = b"") -> None:
        """Send a text message in several frames, cut at these offsets.

        `between` is sent after each frame but the last.
        """
        data = message.encode()
        self.said.append(data)
        cuts = (0, *cuts, len(data))
        for index, (begin, end) in enumerate(pairwise(cuts)):
            part = frame(CONTINUATION if index else TEXT, data[begin:end], final=end == len(data))
            self.write(part if end == len(data) else part + between)

    def flood(self, message: str, at_most: int, enough: Callable[[], bool]) -> bytes:
        """Send a text message repeatedly, as fast as the driver reads.

        It ends after `at_most` messages, when `enough()` is true, or after `patience` seconds.
        Return the missing rest of the last frame, which the caller must write.

        Raises: Gone when the driver has ended the connection.
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
        """Send raw bytes.

        Raises: Silence when the driver does not read them, Gone when it has ended the connection.
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
        """Send what fits within 10 ms; return the number of bytes.

        Raises: Gone when the driver has ended the connection.
        """
        connected = self._connected
        connected.settimeout(0.01)
        try:
            return connected.send(data)
        except TimeoutError:
            return 0
        except OSError as error:
            raise Gone(str(error)) from None

    # --- receiving ---

    def read(self) -> str:
        """Read and return the next text message.

        Raises: Silence when none comes in time, Gone when the driver has closed.
        """
        count, end = len(self.received), time.monotonic() + self.patience
        while len(self.received) == count:
            if self.closed_with is not None:
                raise Gone(f"the driver has closed with code {self.closed_with}")
            if not self._take_frame():
                self._fill(end)
        return self.received[count]

    def read_pong(self, data: bytes) -> None:
        """Read up to the WebSocket pong with this data.

        Raises: Silence when none comes in time, Gone when the driver has closed.
        """
        end = time.monotonic() + self.patience
        while data not in self.pongs:
            if not self._take_frame():
                self._fill(end)

    def read_for(self, seconds: float) -> None:
        """Read all that arrives within this time."""
        end = time.monotonic() + seconds
        with suppress(Silence, Gone):
            while True:
                if not self._take_frame():
                    self._fill(end)

    def read_close(self) -> int:
        """Read up to the driver's close frame; return its code.

        Raises: Silence when none comes in time, Gone when the driver ends without one.
        """
        end = time.monotonic() + self.patience
        while self.closed_with is None:
            if not self._take_frame():
                self._fill(end)
        return self.closed_with

    @property
    def connected(self) -> bool:
        """Whether the driver's connection was accepted."""
        return self._socket is not None

    @property
    def listens_on(self) -> bool:
        """Whether the WebSocket is open at this end."""
        return self._opened and not self._over and not self.gone

    @property
    def unread(self) -> int:
        """Bytes that lie unread in the driver's socket, its end included; 0 where it is unknown.

        Linux lists them in /proc/net/tcp.
        """
        with suppress(OSError):
            for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
                _, local, remote, _, queues, *_ = line.split()
                if (int(local[9:], 16), int(remote[9:], 16)) == self._ports:
                    return int(queues[9:], 16)
        return 0

    @property
    def has_part(self) -> bool:
        """Whether an incomplete frame has arrived."""
        return self._opened and bool(self._in)

    # --- ending ---

    def end_of_stream(self) -> None:
        """End the stream without a close frame, as a terminated process does."""
        self._over = True
        with suppress(OSError):
            self._connected.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the TCP connection."""
        self._over = True
        self._connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connected.close()
        self.gone = True

    def say_close(
        self, code: int | None, reason: str = "", behind: Sequence[str | bytes] = ()
    ) -> None:
        """Send the messages `behind` and then a close frame, in one write.

        Without a code the close frame is empty.
        """
        self._over = True
        self.write(
            b"".join(self._frames(behind))
            + (frame(CLOSE, b"") if code is None else close_frame(code, reason))
        )

    def finish(self) -> None:
        """Close the connection in order and read it to its end.

        After that, `gone` says whether the driver has closed its socket.
        """
        if self._socket is None or self.gone:
            return
        with suppress(Silence, Gone):
            if self.listens_on:
                self.say_close(1001, "the scenario is over")
            if self._opened:
                self.read_close()
        self.end_of_stream()
        self.read_for(self.patience)

    # --- private ---

    @property
    def _listening(self) -> socket.socket:
        assert self._listener is not None, "only inside the context"
        return self._listener

    @property
    def _connected(self) -> socket.socket:
        assert self._socket is not None, "accept must be called first"
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
            raise Silence("the driver sent nothing")
        connected.settimeout(left)
        try:
            data = connected.recv(_READ)
        except TimeoutError:
            raise Silence("the driver sent nothing") from None
        except OSError as error:
            self.gone = True
            raise Gone(str(error)) from None
        if not data:
            self.gone = True
            raise Gone("the driver has closed its socket")
        self._in += data

    def _take_frame(self) -> bool:
        """Handle one frame of the received data; return False when there is no whole frame."""
        if not self._opened:
            self._in.clear()  # an upgrade request that is not answered
        parsed = parse(self._in)
        if parsed is None:
            return False
        got, taken = parsed
        del self._in[:taken]
        if not got.masked:
            self.faults.append("a frame was not masked, as a client's must be (RFC 6455, 5.1)")
        if self.closed_with is not None:
            self.faults.append("a frame came after the close frame")
        elif got.opcode == CLOSE:
            self.closed_with = int.from_bytes(got.data[:2], "big") if len(got.data) >= 2 else 1005
        elif got.opcode == PING:
            self.write(frame(PONG, got.data))
        elif got.opcode in (TEXT, CONTINUATION):
            self._take_text(got)
        elif got.opcode == PONG:
            self.pongs.append(got.data)
        else:
            self.faults.append(f"a frame came that is not text (opcode {got.opcode})")
        return True

    def _take_text(self, got: Frame) -> None:
        self._fragments.append(got.data)
        if got.final:
            self.received.append(b"".join(self._fragments).decode("utf-8", "replace"))
            self._fragments.clear()
