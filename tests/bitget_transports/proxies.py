"""A proxy for tests, HTTP CONNECT or SOCKS5, that can misbehave in any way.

It accepts any name and forwards to one port of this machine. `answers` is what it does with each
connection, in turn; the last one repeats.
"""

from __future__ import annotations

import base64
import select
import socket
import struct
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeAlias

PIECE = 0.002
"""Seconds between two pieces of an answer."""

Answer: TypeAlias = Callable[["Proxy", socket.socket], bool]
"""Answers a connection that was accepted; returns whether to forward it."""


class Proxy:
    """Serves connections one after another, each in a thread of its own, until `end`."""

    def __init__(self, port: int, *answers: Answer, listening_on: int = 0) -> None:
        self.asked: list[str] = []
        """What each request asked to be connected to."""
        self.heads: list[str] = []
        """The whole of each CONNECT request."""
        self.users: list[tuple[str, str]] = []
        """The user and the password of each SOCKS request that had them."""
        self._to, self._answers = port, answers or (connect(),)
        self._listener = socket.create_server(("127.0.0.1", listening_on))
        self._listener.settimeout(0.02)
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._served = 0
        self._start(self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def end(self) -> None:
        self._ended.set()
        for thread in list(self._threads):
            thread.join()

    def wait(self, near: socket.socket) -> None:
        """Wait until the proxy ends, or the other side does."""
        with suppress(OSError):
            while not self._ended.is_set():
                if select.select([near], [], [], 0.02)[0] and not near.recv(65_536):
                    return

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        with self._listener:
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    near = self._listener.accept()[0]
                    answer = self._answers[min(self._served, len(self._answers) - 1)]
                    self._served += 1
                    self._start(lambda near=near, answer=answer: self._one(near, answer))  # type: ignore[misc]

    def _one(self, near: socket.socket, answer: Answer) -> None:
        near.settimeout(5.0)
        with near, suppress(OSError, EOFError):
            if answer(self, near):
                self._forward(near)

    def _forward(self, near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._to)) as far:
            other = {near: far, far: near}
            while not self._ended.is_set():
                for ready in select.select(list(other), [], [], 0.02)[0]:
                    if not (data := ready.recv(65_536)):
                        return
                    other[ready].sendall(data)


def _exactly(near: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (part := near.recv(count - len(data))):
            raise EOFError
        data += part
    return data


def _request(proxy: Proxy, near: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (part := near.recv(1000)):
            raise EOFError
        head += part
    proxy.heads.append(head.decode())
    proxy.asked.append(proxy.heads[-1].splitlines()[0])
    return proxy.heads[-1]


def _in_pieces(near: socket.socket, data: bytes, size: int | None) -> None:
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pause = threading.Event()
    for at in range(0, len(data), size or len(data)):
        near.sendall(data[at : at + (size or len(data))])
        if size is not None:
            pause.wait(PIECE)


def connect(
    status: str = "200 Connection established",
    *,
    head: bytes = b"",
    after: bytes = b"",
    pieces: int | None = None,
    interim: bool = False,
    user: tuple[str, str] | None = None,
) -> Answer:
    """Answer CONNECT with this status, then forward if it is a success.

    `user` is the user and the password that it demands.
    """

    def answer(proxy: Proxy, near: socket.socket) -> bool:
        request, said = _request(proxy, near), status
        if user is not None:
            wanted = base64.b64encode(":".join(user).encode()).decode()
            if f"Proxy-Authorization: Basic {wanted}" not in request:
                said = "407 Proxy Authentication Required"
        data = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" if interim else b""
        data += f"HTTP/1.1 {said}\r\n".encode() + head + b"\r\n" + after
        _in_pieces(near, data, pieces)
        return said.startswith("2")

    return answer


def echo(proxy: Proxy, near: socket.socket) -> bool:
    """Refuse, and show the request with its credentials everywhere in the answer."""
    request = " ".join(_request(proxy, near).split())
    near.sendall(f"HTTP/1.1 403 {request}\r\nX-Echo: {request}\r\n\r\n{request}".encode())
    return False


def raw(*data: bytes, then_wait: bool = False) -> Answer:
    """Answer whatever comes with these bytes, and end."""

    def answer(proxy: Proxy, near: socket.socket) -> bool:
        near.recv(1000)
        for part in data:
            near.sendall(part)
        if then_wait:
            proxy.wait(near)
        return False

    return answer


def hang(proxy: Proxy, near: socket.socket) -> bool:
    """Never answer."""
    proxy.wait(near)
    return False


def vanish(proxy: Proxy, near: socket.socket) -> bool:
    """Reset the connection after the request."""
    near.recv(1000)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def endless_headers(proxy: Proxy, near: socket.socket) -> bool:
    """Send headers until the other side leaves."""
    near.recv(1000)
    near.sendall(b"HTTP/1.1 200 OK\r\n")
    while not proxy.ended:
        near.sendall(b"X-More: of the same\r\n" * 50)
    return False


def socks(
    reply: int = 0, *, user: tuple[str, str] | None = None, pieces: int | None = None
) -> Answer:
    """Speak SOCKS5, demand these credentials, and answer with this reply (RFC 1928, 6)."""

    def answer(proxy: Proxy, near: socket.socket) -> bool:
        _, count = _exactly(near, 2)
        methods = _exactly(near, count)
        method = 0 if user is None else 2
        if method not in methods:
            _in_pieces(near, b"\x05\xff", pieces)
            return False
        _in_pieces(near, bytes((5, method)), pieces)
        if user is not None:
            name = _exactly(near, _exactly(near, 2)[1]).decode()
            password = _exactly(near, _exactly(near, 1)[0]).decode()
            proxy.users.append((name, password))
            _in_pieces(near, bytes((1, (name, password) != user)), pieces)
            if (name, password) != user:
                return False
        kind = _exactly(near, 4)[3]
        assert kind == 3, "the proxy is to resolve the name"
        host = _exactly(near, _exactly(near, 1)[0]).decode()
        proxy.asked.append(f"{host}:{int.from_bytes(_exactly(near, 2), 'big')}")
        _in_pieces(near, bytes((5, reply, 0, 1, 127, 0, 0, 1, 0, 1)), pieces)
        return reply == 0

    return answer


@contextmanager
def running(port: int, *answers: Answer, listening_on: int = 0) -> Generator[Proxy]:
    """Run a proxy to this port."""
    proxy = Proxy(port, *answers, listening_on=listening_on)
    try:
        yield proxy
    finally:
        proxy.end()
