"""Our `Connection` at the peers' task, with the same fake exchange."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeAlias

from benchmarks.peers.fake import bitget
from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Engine,
    SignedLogin,
    Transmit,
)

Prepare: TypeAlias = Callable[[int], Callable[[], Awaitable[object]]]


@asynccontextmanager
async def connection_driven(engine: Engine) -> AsyncGenerator[Prepare]:
    connection = Connection(Config(messages_per_second=None), Codec(engine))
    cancel, poll, receive = connection.cancel, connection.poll, connection.receive
    connection.opened(monotonic(), login=SignedLogin("key", "phrase", "1763958928", "sign"))
    login = poll(monotonic())
    assert isinstance(login, Transmit)
    receive(bitget(login.text), monotonic())
    poll(monotonic())

    def prepare(count: int) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            for _ in range(count):
                now = monotonic()
                cancel(CancelOrder("BTCUSDT", "1376695893517410304"), now)
                request = poll(now)
                assert isinstance(request, Transmit)
                reply = bitget(request.text)
                poll(now)  # the Wait
                now = monotonic()
                receive(reply, now)
                outcome = poll(now)
                assert isinstance(outcome, Accepted)
                poll(now)  # the Wait

        return run

    yield prepare
