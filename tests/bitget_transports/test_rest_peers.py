"""What a peer of REST may do to a request: answer twice, send a body without end, or take for ever."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat

import anyio
import pytest

from bitget_proto import RestRequest
from bitget_transports._driver import rest as rest_module
from bitget_transports._driver.rest import Answer, BlockingHttpxSender, HttpxSender
from bitget_transports._driver.url import Target

CANCEL = RestRequest(method="POST", path="/api/v2/spot/trade/cancel-order", body="{}")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def whole(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@contextmanager
def peer(*answers: Iterator[bytes]) -> Generator[Target]:
    """Give one of the answers to each connection, in order."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                for pieces in answers:
                    client, _ = server.accept()
                    with client:
                        client.settimeout(10.0)
                        client.recv(65536)
                        for piece in pieces:
                            client.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Target.of(
                f"ws://127.0.0.1:{server.getsockname()[1]}/v2/ws/private",
                None,
                allow_plaintext=False,
            )
        finally:
            server.close()
            thread.join(10.0)
    assert not thread.is_alive()


def in_blocking_code(target: Target, count: int) -> list[Answer]:
    sender = BlockingHttpxSender(target)
    try:
        return [sender(CANCEL, {}) for _ in range(count)]
    finally:
        sender.close()


def on_an_event_loop(target: Target, count: int) -> list[Answer]:
    async def send() -> list[Answer]:
        sender = HttpxSender(target, None)
        try:
            return [await sender(CANCEL, {}) for _ in range(count)]
        finally:
            await sender.aclose()

    return anyio.run(send)


Send = Callable[[Target, int], list[Answer]]
each_way = pytest.mark.parametrize("send", [in_blocking_code, on_an_event_loop])


@each_way
def test_a_second_answer_is_not_the_answer_to_the_next_request(send: Send) -> None:
    twice = iter([whole(b"first") * 2])
    with peer(twice, iter([whole(b"second")])) as target:
        assert send(target, 2) == [(200, b"first"), (200, b"second")]


@each_way
def test_a_body_without_end_is_not_read_to_the_end(send: Send) -> None:
    def endless() -> Iterator[bytes]:
        yield CHUNKED
        yield from repeat(b"10000\r\n" + b" " * 65536 + b"\r\n")

    with peer(endless()) as target:
        ((status, body),) = send(target, 1)
    assert status == 200
    assert rest_module._MAX_BODY < len(body) < 2 * rest_module._MAX_BODY


@each_way
def test_a_body_that_drips_without_end_is_given_up(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "LONGEST", 0.3)
    stop = threading.Event()

    def dripping() -> Iterator[bytes]:
        yield CHUNKED
        while not stop.wait(0.02):
            yield b"1\r\n \r\n"

    with peer(dripping()) as target:
        try:
            with pytest.raises(TimeoutError):
                send(target, 1)
        finally:
            stop.set()
