"""One direction of a connection through a `FlakyProxy`: delays, cuts and corrupts its bytes."""

from __future__ import annotations

import socket
import time
from collections import deque
from contextlib import suppress
from copy import copy
from math import inf

from ._fragments import Fragments
from ._treatments import Treatment, Way

READ = 2**14
_HELD = 2**16
"""Bytes that may be buffered per direction; when they are reached, nothing more is read."""

_RESERVED = 0x70
"""The reserved bits of a frame's first byte (RFC 6455, 5.2)."""


class Pipe:
    """One direction of a connection."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, treatment: Treatment, way: Way
    ) -> None:
        self.source = source
        self.fault = treatment.fault if treatment.way is way else None
        self.corrupting = self.over = False
        self.stalled_until: float | None = None
        self.full = False
        """Whether the receiving socket's buffer is full."""

        self._sink = sink
        self._treatment = treatment
        self._held: deque[tuple[float, bytes]] = deque()
        """Data that was read and not passed on yet, and when it is due."""
        self._size = 0
        self._left = treatment.after
        """Bytes left until the fault."""
        self._ended = False
        self._frames = _Frames()
        self._fragments = (
            Fragments(treatment.fragment)
            if treatment.fragment is not None and way is Way.BACK
            else None
        )

    @property
    def wants(self) -> bool:
        """Whether to read more."""
        return not self._ended and self.stalled_until is None and self._size < _HELD

    @property
    def due(self) -> float:
        """When the next data may be passed on, or when a stall ends in a reset."""
        if self.stalled_until is not None:
            return self.stalled_until
        return inf if self.full or not self._held else self._held[0][0]

    @property
    def fault_due(self) -> bool:
        """Whether the fault is to be applied now."""
        return self.fault is not None and self._left <= 0

    def read(self) -> None:
        """Read the data that has arrived."""
        if not self.wants:
            return
        try:
            data = self.source.recv(READ)
        except BlockingIOError:
            return
        self._ended = not data
        if self._fragments is not None:
            data = self._fragments.of(data) if data else self._fragments.rest()
        self._size += len(data)
        piece = self._treatment.piece or len(data) or 1
        # Pieces of one read are due together: to delay each of them in turn would take minutes.
        due = time.monotonic() + self._treatment.delay
        self._held.extend((due, data[at : at + piece]) for at in range(0, len(data), piece))

    def write(self) -> None:
        """Pass on the data that is due, up to the fault."""
        now = time.monotonic()
        self.full = False
        while (
            self._held
            and self._held[0][0] <= now
            and self.stalled_until is None
            and not self.fault_due
        ):
            due, data = self._held.popleft()
            whole = data
            if self.fault is not None:
                data = data[: self._left]
            if self.corrupting:
                data = self._corrupted(data)
            try:
                count = self._sink.send(data)
            except BlockingIOError:
                count, self.full = 0, True
            self._frames.advance(data[:count])
            self._left -= count
            self._size -= count
            if count < len(whole):
                rest = (data + whole[len(data) :])[count:]
                self._held.appendleft((due, rest))
            if self.full:
                return
        if self._ended and not self._held and not self.over:
            self.over = True
            with suppress(OSError):
                self._sink.shutdown(socket.SHUT_WR)

    def _corrupted(self, data: bytes) -> bytes:
        at = self._frames.next_head(data)
        if at is None:
            return data
        self.corrupting = False
        bad = 0 if self._frames.in_handshake else data[at] | _RESERVED
        return data[:at] + bytes((bad,)) + data[at + 1 :]


class _Frames:
    """Finds where frames begin in a stream that arrives in pieces."""

    def __init__(self) -> None:
        self.in_handshake = True
        """Whether the handshake has not ended yet."""
        self._tail = b""
        self._head = b""
        self._body = 0

    def next_head(self, data: bytes) -> int | None:
        """Return where in the next bytes a frame begins or the handshake goes on, or None."""
        ahead = copy(self)
        for at in range(len(data)):
            if ahead.in_handshake or not (ahead._head or ahead._body):
                return at
            ahead.advance(data[at : at + 1])
        return None

    def advance(self, data: bytes) -> None:
        """Advance over bytes that have been passed on."""
        if self.in_handshake:
            seen = self._tail + data
            end = seen.find(b"\r\n\r\n")
            if end < 0:
                self._tail = seen[-3:]
                return
            self.in_handshake = False
            data = seen[end + 4 :]
        while data:
            if self._body:
                data, self._body = data[self._body :], max(0, self._body - len(data))
                continue
            self._head, data = self._head + data[:1], data[1:]
            size = self._size_of_head()
            if size is not None and len(self._head) == size:
                self._body, self._head = self._length(), b""

    def _size_of_head(self) -> int | None:
        if len(self._head) < 2:
            return None
        second = self._head[1]
        return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)

    def _length(self) -> int:
        length = self._head[1] & 0x7F
        size = {126: 2, 127: 8}.get(length)
        return length if size is None else int.from_bytes(self._head[2 : 2 + size], "big")
