"""The floors of the round trips: the WebSocket libraries by hand, with plain data and no checks.

- A request is `orjson.dumps` of a dict literal, and a reply is the result of `orjson.loads`. The
  reply's id selects the future; with one request in flight at a time the id is ignored.
- Features that the exchange does not use (pings of the library, compression) are off, as in our
  transports.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import repeat

import orjson

from benchmarks import frames
from benchmarks.on_loop import Batch
from benchmarks.sides import Job


def dumped(id: str) -> bytes:
    return orjson.dumps(frames.request(id))


# --- without a loop ---


@contextmanager
def ready_frames(port: int) -> Generator[Job]:
    """Send a prepared frame over a socket."""
    request = dumped("1")
    frame = b"\x81\xfe" + len(request).to_bytes(2, "big") + b"\0\0\0\0" + request
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(
            b"GET /v2/ws/private HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        while b"\r\n\r\n" not in sock.recv(4096):
            pass
        send, receive = sock.sendall, sock.recv

        def run(count: int) -> None:
            for _ in repeat(None, count):
                send(frame)
                data = receive(4096)
                while len(data) < 4 + int.from_bytes(data[2:4], "big"):
                    data += receive(4096)

        yield lambda count: lambda: run(count)


@contextmanager
def blocking(url: str) -> Generator[Job]:
    from websockets.sync.client import connect

    with connect(url, ping_interval=None, compression=None, proxy=None) as client:

        def run(count: int) -> None:
            for _ in repeat(None, count):
                client.send(dumped("1"), text=True)
                orjson.loads(client.recv(decode=False))

        yield lambda count: lambda: run(count)


# --- on a loop ---


@asynccontextmanager
async def picows(url: str) -> AsyncGenerator[Batch]:
    # The keyword arguments of ws_connect have no types.
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect  # pyright: ignore[reportUnknownVariableType]

    create_future = asyncio.get_running_loop().create_future
    waiting: dict[str, asyncio.Future[object]] = {}

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
            if frame.msg_type == WSMsgType.TEXT:
                reply = orjson.loads(frame.get_payload_as_memoryview())
                waiting.pop(reply["arg"][0]["id"]).set_result(reply)

    transport, _ = await ws_connect(Listener, url)
    sent = 0

    async def batch(count: int) -> None:
        nonlocal sent
        for _ in repeat(None, count):
            sent += 1
            id = str(sent)
            future = waiting[id] = create_future()
            transport.send(WSMsgType.TEXT, dumped(id))
            await future

    yield batch
    transport.disconnect()
    await transport.wait_disconnected()


@asynccontextmanager
async def websockets(url: str, at_once: int = 1) -> AsyncGenerator[Batch]:
    """Send `at_once` requests, then await all replies, and repeat."""
    async with _websockets(url) as send:

        async def wave() -> None:
            for reply in [await send(str(number)) for number in range(at_once)]:
                await reply

        yield _waves(wave)


@asynccontextmanager
async def websockets_in_tasks(url: str, at_once: int) -> AsyncGenerator[Batch]:
    """Send `at_once` requests in a task each, await all replies, and repeat."""
    async with _websockets(url) as send:

        async def one(id: str) -> object:
            return await (await send(id))

        async def wave() -> None:
            await asyncio.gather(*(one(str(number)) for number in range(at_once)))

        yield _waves(wave)


@asynccontextmanager
async def _websockets(
    url: str,
) -> AsyncGenerator[Callable[[str], Awaitable[asyncio.Future[object]]]]:
    from websockets.asyncio.client import connect

    loop = asyncio.get_running_loop()
    waiting: dict[str, asyncio.Future[object]] = {}
    async with connect(url, ping_interval=None, compression=None, proxy=None) as client:

        async def read() -> None:
            while True:
                reply = orjson.loads(await client.recv(decode=False))
                waiting.pop(reply["arg"][0]["id"]).set_result(reply)

        async def send(id: str) -> asyncio.Future[object]:
            future = waiting[id] = loop.create_future()
            await client.send(dumped(id), text=True)
            return future

        reading = loop.create_task(read())
        yield send
        reading.cancel()
        await asyncio.wait([reading])


@asynccontextmanager
async def httpx_ws(url: str) -> AsyncGenerator[Batch]:
    import httpx
    from httpx_ws import AsyncWebSocketSession, aconnect_ws

    session: AsyncWebSocketSession

    async with (
        httpx.AsyncClient(trust_env=False) as client,
        aconnect_ws(url, client, keepalive_ping_interval_seconds=None) as session,
    ):

        async def one() -> None:
            await session.send_text(dumped("1").decode())
            orjson.loads(await session.receive_text())

        yield _waves(one)


def _waves(wave: Callable[[], Awaitable[object]]) -> Batch:
    async def batch(count: int) -> None:
        for _ in repeat(None, count):
            await wave()

    return batch
