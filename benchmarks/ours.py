"""Round trips with our transports, through their public API, with the fastest JSON engine.

All checks, deadlines and bookkeeping are on. Only the rate limit is off; otherwise it would
dominate.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import repeat
from typing import TYPE_CHECKING

from benchmarks.frames import ORDER
from benchmarks.on_loop import Batch
from benchmarks.sides import Job
from bitget_proto import Codec, Config, Credentials, SessionConfig, fastest

if TYPE_CHECKING:
    from bitget_transports._driver.reporter import Observe
    from bitget_transports.asyncio._client import Framing

KEY = Credentials("key", "secret", "passphrase")
UNPACED = Config(messages_per_second=None)


@contextmanager
def blocking(url: str) -> Generator[Job]:
    from bitget_transports.blocking import connect

    with connect(KEY, url=url, config=UNPACED, codec=Codec(fastest())) as channel:

        def run(count: int) -> None:
            for _ in repeat(None, count):
                channel.cancel(ORDER)

        yield lambda count: lambda: run(count)


@asynccontextmanager
async def asyncio(
    url: str, framing: Framing = "websockets", observe: Observe | None = None
) -> AsyncGenerator[Batch]:
    from bitget_transports.asyncio import connect

    async with connect(
        KEY, url=url, config=UNPACED, codec=Codec(fastest()), framing=framing, observe=observe
    ) as channel:

        async def batch(count: int) -> None:
            for _ in repeat(None, count):
                await channel.cancel(ORDER)

        yield batch


@asynccontextmanager
async def asyncio_session(url: str) -> AsyncGenerator[Batch]:
    from bitget_transports.asyncio import open_session

    config = SessionConfig(link=UNPACED)
    async with open_session(KEY, url=url, config=config, codec=Codec(fastest())) as channel:

        async def batch(count: int) -> None:
            for _ in repeat(None, count):
                await channel.cancel(ORDER)

        yield batch


@asynccontextmanager
async def asyncio_many(url: str, at_once: int) -> AsyncGenerator[Batch]:
    """Cancel `at_once` orders with `cancel_many`, and repeat."""
    from bitget_transports.asyncio import connect

    wave = [ORDER] * at_once
    async with connect(KEY, url=url, config=UNPACED, codec=Codec(fastest())) as channel:

        async def batch(count: int) -> None:
            for _ in repeat(None, count):
                async for _ in channel.cancel_many(wave):
                    pass

        yield batch


@asynccontextmanager
async def asyncio_in_tasks(
    url: str, at_once: int, framing: Framing = "websockets"
) -> AsyncGenerator[Batch]:
    """Cancel `at_once` orders in a task each, and repeat."""
    from asyncio import gather

    from bitget_transports.asyncio import connect

    async with connect(
        KEY, url=url, config=UNPACED, codec=Codec(fastest()), framing=framing
    ) as channel:

        async def batch(count: int) -> None:
            for _ in repeat(None, count):
                await gather(*(channel.cancel(ORDER) for _ in range(at_once)))

        yield batch


@asynccontextmanager
async def anyio(url: str) -> AsyncGenerator[Batch]:
    from bitget_transports.anyio import connect

    async with connect(KEY, url=url, config=UNPACED, codec=Codec(fastest())) as channel:

        async def batch(count: int) -> None:
            for _ in repeat(None, count):
                await channel.cancel(ORDER)

        yield batch
