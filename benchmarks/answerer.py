"""The server for the round trips: `python -m benchmarks.answerer` listens on 127.0.0.1.

It prints its port, and runs until its standard input ends. `--core` pins it to a core; `--tls`
makes it use TLS with the certificate and key in that file. It answers a login, a `ping`, and a
cancel, which it always accepts. It checks nothing and reads only short frames, so the client's
cost dominates.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
import ssl
import sys
from contextlib import suppress
from typing import cast

_REPLY = (
    b'{"event":"trade","arg":[{"id":"%b","instType":"SPOT","channel":"cancel-order","instId":"BTCUSDT",'
    b'"params":{"orderId":"1376695893517410304"}}],"code":0,"msg":"Success","ts":1763958928351}'
)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class _Client(asyncio.Protocol):
    def __init__(self) -> None:
        self._read = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._open:
            head, found, rest = self._read.partition(b"\r\n\r\n")
            if not found:
                return
            key = head.lower().partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
            key = head[head.lower().index(b"sec-websocket-key: ") + 19 :][: len(key)]
            accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
            self._write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self._open, self._read = True, rest
        answers: list[bytes] = []
        while (frame := self._next()) is not None:
            opcode, text = frame
            if opcode == 8:
                self._write(b"\x88\x00")
                self._transport.close()
                return
            if b'"login"' in text:
                answers.append(_framed(b'{"event":"login","code":0}'))
            elif text == b"ping":
                answers.append(_framed(b"pong"))
            elif opcode == 1:
                answers.append(_framed(_REPLY % text.partition(b'"id":"')[2].partition(b'"')[0]))
        self._write(b"".join(answers))

    def _next(self) -> tuple[int, bytes] | None:
        """Return the opcode and the payload of the next frame, unmasked as one integer."""
        data = self._read
        if len(data) < 2:
            return None
        length, at = data[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        end = at + 4 + length
        if len(data) < end:
            return None
        mask = (data[at : at + 4] * (length // 4 + 1))[:length]
        text = (int.from_bytes(data[at + 4 : end], "big") ^ int.from_bytes(mask, "big")).to_bytes(
            length, "big"
        )
        self._read = data[end:]
        return data[0] & 0x0F, text


def _framed(text: bytes) -> bytes:
    length = len(text)
    return (
        b"\x81" + (bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big"))
    ) + text


async def _serve(tls: ssl.SSLContext | None) -> None:
    server = await asyncio.get_running_loop().create_server(
        _Client, "127.0.0.1", 0, ssl=tls, backlog=1000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answerer")
    parser.add_argument("--core", type=int)
    parser.add_argument("--tls", metavar="PEM")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    tls = None
    if arguments.tls is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.tls)
    new_loop = asyncio.new_event_loop
    with suppress(ImportError):
        from uvloop import new_event_loop as new_loop
    with asyncio.Runner(loop_factory=new_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(_serve(tls))


if __name__ == "__main__":
    main()
