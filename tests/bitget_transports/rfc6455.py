"""What a peer may send by RFC 6455, and what each transport makes of it.

`test_rfc6455` plays each row on every transport. Run as a script to write the tables into
docs/websocket.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

from bitget_transports._driver import rfc6455 as rules

from .tidy import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, masked

PAGE = Path(__file__).parents[2] / "docs" / "websocket.md"
COMMAND = "python -m tests.bitget_transports.rfc6455"

ACCEPT = b"<accept>"
"""Stands for the right value of `Sec-WebSocket-Accept`."""

PICOWS, ANYIO, WEBSOCKETS = "picows", "anyio", "websockets"


@attrs.frozen
class Row:
    """Bytes of a peer, and what becomes of them."""

    name: str
    section: str
    """The section of RFC 6455, unless it names another document."""
    peer: bytes
    """An answer to the handshake; or frames, sent after the login."""
    refused: str | None = None
    """Words of the reason when it is refused, or when it ends the connection."""
    closes: int | None = None
    """The code of the close frame that we send; 1005 for a close frame without one."""
    pieces: int = 0
    """How many bytes are sent at a time; 0 for all at once."""
    messages: tuple[str, ...] = ()
    """The messages that reach the core."""
    differs: Mapping[str, tuple[str | None, int | None]] = MappingProxyType({})
    """`refused` and `closes` of the libraries below that do it otherwise."""
    note: str = ""
    """What they do, in words."""


def answer(*lines: bytes, status: bytes = b"HTTP/1.1 101 Switching Protocols") -> bytes:
    return b"".join(line + b"\r\n" for line in (status, *lines)) + b"\r\n"


UPGRADE, CONNECTION = b"Upgrade: websocket", b"Connection: Upgrade"
ACCEPTED = b"Sec-WebSocket-Accept: " + ACCEPT
ALL = (UPGRADE, CONNECTION, ACCEPTED)
RIGHT = answer(*ALL)
FORBIDDEN = answer(b"Content-Length: 0", status=b"HTTP/1.1 403 Forbidden")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

NO_UPGRADE = "its Upgrade is not websocket"
NO_CONNECTION = "its Connection has no upgrade"
BY_PICOWS: Mapping[str, tuple[str | None, int | None]] = {
    PICOWS: ("which picows does not accept: use framing='websockets'", None)
}


def opens(name: str, *lines: bytes, pieces: int = 0) -> Row:
    return Row(name, "4.1", answer(*lines), pieces=pieces)


def keep_alive(name: str, *lines: bytes) -> Row:
    note = "picows accepts only `Connection: upgrade`"
    return Row(name, "4.1", answer(UPGRADE, *lines, ACCEPTED), differs=BY_PICOWS, note=note)


def wrong(name: str, says: str, *lines: bytes, section: str = "4.1") -> Row:
    return Row(name, section, answer(*lines), says)


def interim(name: str, peer: bytes, refused: str | None = None, pieces: int = 0) -> Row:
    note = "picows accepts no interim answer"
    return Row(name, "RFC 9110, 15.2", peer, refused, pieces=pieces, differs=BY_PICOWS, note=note)


def status(line: bytes, name: str = "", *lines: bytes) -> Row:
    number = line.split()[1].decode()
    peer = answer(*lines, b"Content-Length: 0", status=line)
    return Row(name or f"status {number}", "4.1", peer, f"with HTTP status {number}")


HANDSHAKE = [
    opens("the right answer", *ALL),
    opens("in small pieces", *ALL, pieces=7),
    opens("upper case", b"UPGRADE: WEBSOCKET", b"CONNECTION: UPGRADE", ACCEPTED),
    opens("lower case", b"upgrade: websocket", b"connection: upgrade", ACCEPTED),
    opens("blanks", b"Upgrade:  websocket ", b"Connection:upgrade", ACCEPTED + b" "),
    keep_alive("`Connection: keep-alive, Upgrade`", b"Connection: keep-alive, Upgrade"),
    keep_alive("two `Connection`", b"Connection: keep-alive", CONNECTION),
    wrong("no `Upgrade`", NO_UPGRADE, CONNECTION, ACCEPTED),
    wrong("`Upgrade: h2c`", NO_UPGRADE, b"Upgrade: h2c", CONNECTION, ACCEPTED),
    wrong(
        "`Upgrade: websocket, h2c`", NO_UPGRADE, b"Upgrade: websocket, h2c", CONNECTION, ACCEPTED
    ),
    wrong("two `Upgrade`", NO_UPGRADE, UPGRADE, *ALL),
    wrong("no `Connection`", NO_CONNECTION, UPGRADE, ACCEPTED),
    wrong("`Connection: close`", NO_CONNECTION, UPGRADE, b"Connection: close", ACCEPTED),
    wrong("`Connection: upgraded`", NO_CONNECTION, UPGRADE, b"Connection: upgraded", ACCEPTED),
    wrong("no `Sec-WebSocket-Accept`", "no Sec-WebSocket-Accept instead of 1", UPGRADE, CONNECTION),
    wrong(
        "`Sec-WebSocket-Accept` of another key",
        rules.WRONG_ACCEPT,
        UPGRADE,
        CONNECTION,
        b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=",
    ),
    wrong(
        "two `Sec-WebSocket-Accept`",
        "2 Sec-WebSocket-Accept instead of 1",
        *ALL,
        ACCEPTED,
        section="11.3.3",
    ),
    wrong(
        "an extension that was not offered",
        "an extension that was not offered",
        *ALL,
        b"Sec-WebSocket-Extensions: permessage-deflate",
    ),
    wrong(
        "a subprotocol that was not offered",
        "a subprotocol that was not offered",
        *ALL,
        b"Sec-WebSocket-Protocol: chat",
    ),
    Row(
        "HTTP/1.0",
        "4.2.2",
        answer(*ALL, status=b"HTTP/1.0 101 Switching Protocols"),
        "HTTP/1.0 instead of HTTP/1.1",
    ),
    interim("100 before the 101", CONTINUE + RIGHT),
    interim("103 before the 101", HINTS + RIGHT),
    interim("100 and 103, many times", (CONTINUE + HINTS) * 500 + RIGHT),
    interim("100 and 103, in small pieces", CONTINUE + HINTS + RIGHT, pieces=3),
    interim("100, then status 403", CONTINUE + FORBIDDEN, "with HTTP status 403"),
    status(b"HTTP/1.1 200 OK"),
    status(b"HTTP/1.1 200 OK", "status 200 with the headers of a 101", *ALL),
    status(b"HTTP/1.1 302 Found", "status 302", b"Location: /"),
    status(b"HTTP/1.1 403 Forbidden"),
    status(b"HTTP/1.0 403 Forbidden", "status 403 over HTTP/1.0"),
    status(b"HTTP/1.1 429 Too Many Requests"),
]
"""Answers to the handshake. A peer whose answer is accepted then behaves well."""


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def broken(name: str, section: str, data: bytes, how: str, code: int = 1002) -> Row:
    return Row(name, section, data, f"broke the WebSocket protocol: {how}", code)


def closed(code: int) -> Row:
    return Row(f"close code {code}", "7.4", close(code), f"closed with code {code}", code)


def wrong_code(code: int) -> Row:
    return broken(f"close code {code}", "7.4", close(code), rules.INVALID_CLOSE_CODE)


def parts(opcode: int, *fragments: bytes) -> bytes:
    """Return a fragmented message."""
    first, *between, last = fragments
    return b"".join(
        (
            frame(opcode, first, final=False),
            *(frame(CONTINUATION, each, final=False) for each in between),
            frame(CONTINUATION, last),
        )
    )


def not_utf8(name: str, data: bytes) -> Row:
    return broken(name, "8.1", data, rules.INVALID_TEXT, 1007)


def by_length(size: int, form: str) -> bytes:
    """Return a text message whose length is written as 16 or 64 bits."""
    head = b"\x81\x7e" if form == "!H" else b"\x81\x7f"
    return head + struct.pack(form, size) + b"x" * size


EURO = "€".encode()

FRAMES = [
    Row("a text message", "5.6", frame(TEXT, EURO), messages=("€",)),
    Row("a text message, byte by byte", "5.6", frame(TEXT, EURO), pieces=1, messages=("€",)),
    Row(
        "fragments that end within a character",
        "5.6",
        parts(TEXT, EURO[:1], EURO[1:2], EURO[2:]),
        messages=("€",),
    ),
    Row(
        "a ping between fragments",
        "5.4",
        frame(TEXT, b"a", final=False) + frame(PING, b"?") + frame(CONTINUATION, b"b"),
        messages=("ab",),
    ),
    not_utf8("text that is not UTF-8", frame(TEXT, b"\xff\xfe")),
    not_utf8("text that ends within a character", frame(TEXT, EURO[:2])),
    not_utf8("text with a surrogate", frame(TEXT, b"\xed\xa0\x80")),
    not_utf8("a first fragment that is not UTF-8", frame(TEXT, b"a\xff", final=False)),
    not_utf8("a last fragment that is not UTF-8", parts(TEXT, b"a", b"\xff")),
    not_utf8("a last fragment that ends within a character", parts(TEXT, EURO[:1], EURO[1:2])),
    Row("binary data", "5.6", frame(BINARY, b"\xff\xfe"), messages=("\\xff\\xfe",)),
    Row(
        "binary data in fragments",
        "5.6",
        parts(BINARY, b"\xff", b"\xfe"),
        messages=("\\xff\\xfe",),
    ),
    Row("a pong that was not asked for", "5.5.3", frame(PONG, b"hello")),
    broken("a masked frame", "5.1", masked(TEXT, b"hello"), rules.MASKED),
    *(
        broken(f"reserved bit {number}", "5.2", bytes((0x81 | bit, 2)) + b"{}", rules.RESERVED_BITS)
        for number, bit in ((1, 0x40), (2, 0x20), (3, 0x10))
    ),
    *(
        broken(f"opcode {opcode:#x}", "5.2", frame(opcode, b""), rules.RESERVED_OPCODE)
        for opcode in (0x3, 0x7, 0xB, 0xF)
    ),
    broken("a ping in fragments", "5.5", frame(PING, b"", final=False), rules.FRAGMENTED_CONTROL),
    broken(
        "a close frame in fragments",
        "5.5",
        frame(CLOSE, b"", final=False),
        rules.FRAGMENTED_CONTROL,
    ),
    broken("a ping of 126 bytes", "5.5", frame(PING, b"x" * 126), rules.LONG_CONTROL),
    broken(
        "a continuation without a message", "5.4", frame(CONTINUATION, b"hello"), rules.NO_START
    ),
    broken(
        "a message within a fragmented one",
        "5.4",
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        rules.NO_CONTINUATION,
    ),
    broken("125 bytes, length of 16 bits", "5.2", by_length(125, "!H"), rules.INVALID_LENGTH),
    Row("126 bytes, length of 16 bits", "5.2", by_length(126, "!H"), messages=("x" * 126,)),
    broken("65,535 bytes, length of 64 bits", "5.2", by_length(65_535, "!Q"), rules.INVALID_LENGTH),
    Row(
        "65,536 bytes, length of 64 bits", "5.2", by_length(65_536, "!Q"), messages=("x" * 65_536,)
    ),
    broken(
        "a length whose highest bit is 1", "5.2", b"\x81\x7f\x80" + bytes(7), rules.INVALID_LENGTH
    ),
    Row("a close frame without a code", "5.5.1", frame(CLOSE, b""), "closed without a code", 1005),
    Row(
        "a close frame with a reason",
        "5.5.1",
        close(1001, b"bye"),
        "closed with code 1001, saying 'bye'",
        1001,
    ),
    attrs.evolve(
        closed(1001),
        name="a close frame between fragments",
        section="5.4",
        peer=frame(TEXT, b"a", final=False) + close(1001),
        differs={WEBSOCKETS: ("closed with code 1001", 1002)},
        note="websockets answers with 1002",
    ),
    broken("a close frame of 1 byte", "5.5.1", frame(CLOSE, b"\x03"), rules.INVALID_CLOSE_CODE),
    broken(
        "a close reason that is not UTF-8",
        "5.5.1",
        close(1000, b"\xff"),
        rules.INVALID_REASON,
        1007,
    ),
    *map(wrong_code, (0, 999)),
    *map(closed, (1000, 1001, 1002, 1003)),
    *map(wrong_code, (1004, 1005, 1006)),
    *map(closed, (1007, 1008, 1009, 1010, 1011, 1012, 1013)),
    attrs.evolve(
        closed(1014),
        section="IANA",
        differs={ANYIO: (rules.INVALID_CLOSE_CODE, 1002)},
        note="wsproto (anyio) does not know it and answers with 1002",
    ),
    *map(wrong_code, (1015, 1016, 2999)),
    *map(closed, (3000, 4999)),
    *map(wrong_code, (5000, 65_535)),
]
"""Frames that a peer sends after the login."""


def tables() -> dict[str, str]:
    """Return the tables of the page."""
    return {"handshake": _table("Answer", HANDSHAKE), "frames": _table("Frames", FRAMES)}


def _table(head: str, rows: list[Row]) -> str:
    lines = [f"| {head} | RFC 6455 | Result | Except |", "|---|---|---|---|"]
    lines += [f"| {row.name} | {row.section} | {_result(row)} | {row.note} |" for row in rows]
    return "\n".join(lines) + "\n"


def _result(row: Row) -> str:
    if row.closes == 1005:
        return "closes, we answer without a code"
    if row.closes is not None:
        by_peer = row.refused is not None and row.refused.startswith("closed")
        return f"closes, we answer with {row.closes}" if by_peer else f"ended with {row.closes}"
    return "accepted" if row.refused is None else "refused"


def page(text: str) -> str:
    """Return the text of the page with today's tables."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: made by {COMMAND} -->\n\n", f"\n<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + table + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
