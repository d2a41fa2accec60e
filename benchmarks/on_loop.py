"""A connection held open in a task of an event loop, and batches of round trips run in that loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeAlias

from benchmarks.sides import Job

NewLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

Batch: TypeAlias = Callable[[int], Awaitable[object]]
"""So many round trips, or waves of them."""

Connected: TypeAlias = Callable[[], AbstractAsyncContextManager[Batch]]
"""Connects, and closes in the end."""


@contextmanager
def on_loop(new_loop: NewLoop, connected: Connected) -> Generator[Job]:
    """Connect, and give the job: entering the loop is timed, once for all round trips of a turn."""
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
