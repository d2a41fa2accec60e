"""A cancel there and back on loopback, over real sockets: our transports beside the bare libraries.

Rules of this file
- The other end is `answerer`, a process of its own, the same for all sides of a group, which each hold a connection to it.
- A floor is the least that the library below allows: it checks nothing, knows no deadline, and its replies are plain data.
- Measured twice: client and answerer on one core, where no wake-up between cores drowns what the client costs, and free.

It does not know how time is measured.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import orjson

from benchmarks.cases import ORDER_ID, Side
from bitget_proto import CancelOrder, Codec, Config, Credentials, fastest

_KEY = Credentials("key", "secret", "passphrase")
_ORDER = CancelOrder("BTCUSDT", ORDER_ID)
_FAST = Config(messages_per_second=None)
_BATCH = 40
"""Round trips in one run of a side on an event loop, so that entering the loop counts little."""

_AT_ONCE = 64

_Batch: TypeAlias = Callable[[], Awaitable[object]]

_encode = Codec().encode_cancel


@contextmanager
def answerer(core: int | None) -> Generator[int]:
    """The other end, on this core or on any; gives its port. This process is put on the same core."""
    before = os.sched_getaffinity(0)
    arguments = [] if core is None else [str(core)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answerer", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})
            yield int(process.stdout.readline())
        finally:
            os.sched_setaffinity(0, before)
            process.stdin.close()
            process.wait(10.0)


@contextmanager
def round_trips(core: int | None) -> Generator[list[Side]]:
    """All sides, connected."""
    where = "free" if core is None else "one core"
    with answerer(core) as port, ExitStack() as stack:
        url = f"ws://127.0.0.1:{port}/v2/ws/private"
        enter = stack.enter_context
        sides: list[Side] = []
        group = f"round trip, blocking, {where}"
        sides.append(Side(group, "bare socket, ready frames", None, enter(_bare_socket(port))))
        sides.append(Side(group, "bitget_transports.blocking", "bare socket, ready frames", enter(_blocking(url))))
        for loop_name, new_loop in _loops():
            group = f"round trip, {loop_name}, {where}"
            floor = None
            if _has("picows"):
                floor = "picows, a future for each reply"
                sides.append(Side(group, floor, None, enter(_on_loop(new_loop, lambda: _picows(url))), per=_BATCH))
            sides.append(
                Side(
                    group,
                    "bitget_transports.asyncio",
                    floor,
                    enter(_on_loop(new_loop, lambda: _asyncio(url))),
                    per=_BATCH,
                )
            )
        group = f"{_AT_ONCE} in flight, asyncio, {where}"
        floor = "websockets' asyncio client, untyped"
        run = enter(_on_loop(asyncio.new_event_loop, lambda: _websockets_many(url)))
        sides.append(Side(group, floor, None, run, per=_AT_ONCE))
        run = enter(_on_loop(asyncio.new_event_loop, lambda: _asyncio_many(url)))
        sides.append(Side(group, "bitget_transports.asyncio", floor, run, per=_AT_ONCE))
        if _has("httpx_ws"):
            group, floor = f"round trip, anyio, {where}", "bare httpx-ws, untyped"
            run = enter(_on_loop(asyncio.new_event_loop, lambda: _httpx_ws(url)))
            sides.append(Side(group, floor, None, run, per=_BATCH))
            run = enter(_on_loop(asyncio.new_event_loop, lambda: _anyio(url)))
            sides.append(Side(group, "bitget_transports.anyio", floor, run, per=_BATCH))
        yield sides


# --- without a loop ---


@contextmanager
def _bare_socket(port: int) -> Generator[Callable[[], object]]:
    request = _encode(_ORDER, "1").encode()
    frame = b"\x81\xfe" + len(request).to_bytes(2, "big") + b"\0\0\0\0" + request
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(
            b"GET /v2/ws/private HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        while b"\r\n\r\n" not in sock.recv(4096):
            pass

        def run() -> None:
            sock.sendall(frame)
            data = sock.recv(65536)
            while len(data) < 4 + int.from_bytes(data[2:4], "big"):
                data += sock.recv(65536)

        yield run


@contextmanager
def _blocking(url: str) -> Generator[Callable[[], object]]:
    from bitget_transports.blocking import connect

    with connect(_KEY, url=url, config=_FAST, codec=Codec(fastest())) as channel:
        yield lambda: channel.cancel(_ORDER)


# --- on a loop ---


def _loops() -> Generator[tuple[str, Callable[[], asyncio.AbstractEventLoop]]]:
    yield "asyncio", asyncio.new_event_loop
    if _has("uvloop"):
        from uvloop import new_event_loop

        yield "uvloop", new_event_loop


@contextmanager
def _on_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], connected: Callable[[], Any]
) -> Generator[Callable[[], object]]:
    """Hold a connection open in a task of a loop; each run is one batch in that loop."""
    loop = new_loop()
    ready: asyncio.Future[_Batch] = loop.create_future()
    done = asyncio.Event()

    async def hold() -> None:
        try:
            async with connected() as batch:
                ready.set_result(batch)
                await done.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    holding = loop.create_task(hold())
    try:
        batch = loop.run_until_complete(ready)

        async def run() -> None:
            await batch()

        yield lambda: loop.run_until_complete(run())
    finally:
        done.set()
        loop.run_until_complete(holding)
        loop.close()


def _batch_of(one: _Batch) -> _Batch:
    async def batch() -> None:
        for _ in range(_BATCH):
            await one()

    return batch


@asynccontextmanager
async def _asyncio(url: str) -> AsyncGenerator[_Batch]:
    from bitget_transports.asyncio import connect

    async with connect(_KEY, url=url, config=_FAST, codec=Codec(fastest())) as channel:
        yield _batch_of(lambda: channel.cancel(_ORDER))


@asynccontextmanager
async def _asyncio_many(url: str) -> AsyncGenerator[_Batch]:
    from bitget_transports.asyncio import connect

    async with connect(_KEY, url=url, config=_FAST, codec=Codec(fastest())) as channel:

        async def batch() -> None:
            async for _ in channel.cancel_many([_ORDER] * _AT_ONCE):
                pass

        yield batch


@asynccontextmanager
async def _anyio(url: str) -> AsyncGenerator[_Batch]:
    from bitget_transports.anyio import connect

    async with connect(_KEY, url=url, config=_FAST, codec=Codec(fastest())) as channel:
        yield _batch_of(lambda: channel.cancel(_ORDER))


@asynccontextmanager
async def _picows(url: str) -> AsyncGenerator[_Batch]:
    # Its keywords have no types.
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect  # pyright: ignore[reportUnknownVariableType]

    loop = asyncio.get_running_loop()
    waiting: dict[str, asyncio.Future[object]] = {}

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
            if frame.msg_type == WSMsgType.TEXT:
                reply = orjson.loads(frame.get_payload_as_memoryview())
                waiting.pop(reply["arg"][0]["id"]).set_result(reply)

    transport, _ = await ws_connect(Listener, url)
    count = 0

    async def one() -> object:
        nonlocal count
        count += 1
        id = str(count)
        future = waiting[id] = loop.create_future()
        transport.send(WSMsgType.TEXT, _encode(_ORDER, id).encode())
        return await future

    yield _batch_of(one)
    transport.disconnect()
    await transport.wait_disconnected()


@asynccontextmanager
async def _websockets_many(url: str) -> AsyncGenerator[_Batch]:
    from websockets.asyncio.client import connect

    loop = asyncio.get_running_loop()
    waiting: dict[str, asyncio.Future[object]] = {}
    async with connect(url, ping_interval=None, compression=None, proxy=None) as client:

        async def read() -> None:
            async for text in client:
                reply = orjson.loads(text)
                waiting.pop(reply["arg"][0]["id"]).set_result(reply)

        async def one(id: str) -> object:
            future = waiting[id] = loop.create_future()
            await client.send(_encode(_ORDER, id))
            return await future

        reading = loop.create_task(read())

        async def batch() -> None:
            await asyncio.gather(*(one(str(number)) for number in range(_AT_ONCE)))

        yield batch
    await reading


@asynccontextmanager
async def _httpx_ws(url: str) -> AsyncGenerator[_Batch]:
    import httpx
    from httpx_ws import AsyncWebSocketSession, aconnect_ws

    session: AsyncWebSocketSession

    async with (
        httpx.AsyncClient(trust_env=False) as client,
        aconnect_ws(url, client, keepalive_ping_interval_seconds=None) as session,
    ):

        async def one() -> object:
            await session.send_text(_encode(_ORDER, "1"))
            return orjson.loads(await session.receive_text())

        yield _batch_of(one)


def _has(name: str) -> bool:
    """Whether a library is installed."""
    from importlib.util import find_spec

    return find_spec(name) is not None
