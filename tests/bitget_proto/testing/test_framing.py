"""WebSocket frames as bytes."""

from __future__ import annotations

import pytest

from bitget_proto.testing import framing as _framing
from bitget_proto.testing.framing import (
    BINARY,
    CLOSE,
    TEXT,
    Frame,
    close_frame,
    frame,
    frame_head,
    key_of,
    parse,
)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("mask", [None, b"\x01\x02\xfe\xff"])
def test_a_written_frame_is_read_back(size: int, mask: bytes | None) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    written = frame(TEXT, data[:size], mask=mask)
    assert parse(written + b"more") == (
        Frame(TEXT, data[:size], final=True, masked=mask is not None),
        len(written),
    )
    assert (mask is None or size == 0) == (data[:size] in written)


@pytest.mark.parametrize("size", [1, 200, 70_000])
def test_an_incomplete_frame_is_none(size: int) -> None:
    written = frame(BINARY, b"x" * size, final=False)
    assert all(
        parse(written[:cut]) is None
        for cut in (0, 1, 2, 3, 9, len(written) - 1)
        if cut < len(written)
    )
    parsed = parse(bytearray(written))
    assert parsed is not None
    assert not parsed[0].final
    assert written.startswith(frame_head(BINARY, size, final=False))


def test_a_close_frame_holds_its_code_and_reason() -> None:
    parsed = parse(close_frame(1001, "bye"))
    assert parsed is not None
    assert parsed[0] == Frame(CLOSE, b"\x03\xe9bye", final=True, masked=False)


def test_an_upgrade_is_answered_with_the_hash_of_its_key() -> None:
    key = key_of(
        b"GET / HTTP/1.1\r\nHost: x\r\nsec-websocket-KEY:  dGhlIHNhbXBsZSBub25jZQ== \r\n\r\n"
    )
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in _framing.upgraded(
        key
    )  # RFC 6455, 1.3
