"""Holds a connection open in a task of an event loop, and runs batches of round trips in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeAlias

from benchmarks.sides import Job

NewLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

Batch: TypeAlias = Callable[[int], Awaitable[object]]
"""Does `count` round trips, or waves of them."""

Connected: TypeAlias = Callable[[], AbstractAsyncContextManager[Batch]]
"""Connects, yields the batch function, and closes at the end."""


@contextmanager
def on_loop(new_loop: NewLoop, connected: Connected) -> Generator[Job]:
    """Connect and yield the job. Entering the loop is timed, once per turn."""
    loop = new_loop()
    ready: asyncio.Future[Batch] = loop.create_future()
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

        async def run(count: int) -> None:
            await batch(count)

        yield lambda count: lambda: loop.run_until_complete(run(count))
    finally:
        done.set()
        loop.run_until_complete(holding)
        loop.close()
