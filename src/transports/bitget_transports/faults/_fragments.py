"""Cuts the messages in a server's stream of frames into fragments."""

from __future__ import annotations

from bitget_proto.testing.framing import BINARY, TEXT, frame_head, parse

_CONTINUATION = 0


class Fragments:
    """The stream from a server, with each whole message in fragments of `size` bytes.

    An empty fragment comes before each of them. Everything else passes unchanged.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._in_handshake = True
        self._read = b""

    def of(self, data: bytes) -> bytes:
        """Return the next bytes. An incomplete frame is kept."""
        self._read += data
        if self._in_handshake:
            head, end, rest = self._read.partition(b"\r\n\r\n")
            if not end:
                return b""
            self._in_handshake, self._read = False, rest
            return head + end + self.of(b"")
        passed = b""
        while (parsed := parse(self._read)) is not None:
            frame, taken = parsed
            if frame.opcode in (TEXT, BINARY) and frame.final:
                passed += self._cut(frame.opcode, frame.data)
            else:
                passed += self._read[:taken]
            self._read = self._read[taken:]
        return passed

    def rest(self) -> bytes:
        """Return the kept bytes, at the end of the stream."""
        rest, self._read = self._read, b""
        return rest

    def _cut(self, opcode: int, data: bytes) -> bytes:
        empty = frame_head(_CONTINUATION, 0, final=False)
        cut = frame_head(opcode, 0, final=False)
        for start in range(0, len(data), self._size):
            part = data[start : start + self._size]
            cut += empty + frame_head(_CONTINUATION, len(part), final=False) + part
        return cut + frame_head(_CONTINUATION, 0, final=True)
