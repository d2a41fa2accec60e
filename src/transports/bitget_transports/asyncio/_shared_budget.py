"""`shared_budget` over asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from bitget_proto import Budget

from .._driver.shared_budget import AsyncSharedBudget
from .._redis.ring import Ring

if TYPE_CHECKING:
    from redis.asyncio import Redis


@asynccontextmanager
async def shared_budget(
    store: str | Redis, account: str, *, per_second: int = 10, own_per_second: int = 0
) -> AsyncGenerator[Budget]:
    """Share an account's cancels per second with other processes, through Redis or Valkey.

    Pass the budget to each `connect` and `open_session` of the account in this event loop, and open
    them inside this context. Each cancel then waits until the store has leased it. Count cancels
    that you send by REST with `Budget.debit`. It needs the extra `redis`.

    `store` is a URL, such as `redis://127.0.0.1:6379`, or your own `redis.asyncio.Redis`, which
    should retry nothing and is not closed. `account` is your name for the account, the same in
    every process. `per_second` is the number of cancels per second that the store leases to all
    processes together. The default is the exchange's limit for a UID, 10 (Cancel Order Channel).

    While the store is down, cancels wait, and time out like others that wait too long. A warning is
    logged. `own_per_second` cancels per second need no lease, at any time. The sum of `per_second`
    and the `own_per_second` of all processes may be at most the account's limit. See
    docs/scaling.md.

    Raises: ValidationError for an invalid argument. A store that cannot be reached raises nothing.
    """
    from .._redis.stores import asyncio_store

    sooner = asyncio.Event()

    async def news(seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await sooner.wait()
        sooner.clear()

    ring = Ring(account, per_second)
    budget = AsyncSharedBudget(account, per_second, own_per_second, sooner.set)
    async with asyncio_store(store, ring) as question:
        task = asyncio.create_task(budget.serve(question, news))
        try:
            yield budget
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
