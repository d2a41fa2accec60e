"""typed-bitget: `await ClassicStreams.order.cancel("SPOT", "BTCUSDT", {"orderId": ...})`.

`websockets.connect`, which typed-core calls, is replaced by a fake client, so there is no WebSocket
framing. Replies are validated, as by default.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from benchmarks.peers.fake import FakeSocket, bitget, part


def release() -> str:
    return version("typed-bitget")


@asynccontextmanager
async def driven() -> AsyncGenerator[Callable[[int], Callable[[], Awaitable[object]]]]:
    state = part("websockets").State.OPEN

    async def connect(*_: object, **__: object) -> FakeSocket:
        return FakeSocket(bitget, state)

    part("typed_core.ws.socket").websockets.connect = connect
    credentials = part("typed_bitget.core.auth").Credentials(
        access_key="key", secret_key="secret", passphrase="phrase"
    )
    client = part("typed_bitget.core.transport.ws.classic").ClassicSocketStreamClient.new(
        credentials=credentials
    )
    async with client:
        cancel = part("typed_bitget.classic_streams").ClassicStreams(client=client).order.cancel

        def prepare(count: int) -> Callable[[], Awaitable[object]]:
            async def run() -> None:
                for _ in range(count):
                    reply = await cancel("SPOT", "BTCUSDT", {"orderId": "1376695893517410304"})
                    assert reply["code"] == 0

            return run

        yield prepare
