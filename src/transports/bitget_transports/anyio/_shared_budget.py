"""`shared_budget` over anyio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bitget_proto import Ask, Budget

from .._driver.shared_budget import AsyncSharedBudget
from .._redis.ring import Ring

if TYPE_CHECKING:
    from redis import Redis


@asynccontextmanager
async def shared_budget(
    store: str | Redis, account: str, *, per_second: int = 10, own_per_second: int = 0
) -> AsyncGenerator[Budget]:
    """Share an account's cancels per second with other processes, through Redis or Valkey.

    Like `bitget_transports.asyncio.shared_budget`, but `store` is a URL or your own blocking
    `redis.Redis`. The store is asked in a worker thread, on asyncio and on trio.

    Raises: ValidationError for an invalid argument. A store that cannot be reached raises nothing.
    """
    from .._redis.stores import blocking_store

    sooner = anyio.Event()

    def wake() -> None:
        sooner.set()

    async def news(seconds: float | None) -> None:
        nonlocal sooner
        with anyio.move_on_after(seconds):
            await sooner.wait()
        sooner = anyio.Event()

    async def ask(ask: Ask) -> tuple[float, str]:
        return await anyio.to_thread.run_sync(question, ask)

    ring = Ring(account, per_second)
    budget = AsyncSharedBudget(account, per_second, own_per_second, wake)
    raised: BaseException | None = None
    with blocking_store(store, ring) as question:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(budget.serve, ask, news)
            try:
                yield budget
            except BaseException as error:  # noqa: BLE001 - raised below, outside of the task group
                raised = error
            tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised
