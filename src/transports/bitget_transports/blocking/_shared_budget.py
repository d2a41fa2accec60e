"""`shared_budget` for blocking channels."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bitget_proto import Budget

from .._driver.shared_budget import BlockingSharedBudget
from .._redis.ring import Ring

if TYPE_CHECKING:
    from redis import Redis


@contextmanager
def shared_budget(
    store: str | Redis, account: str, *, per_second: int = 10, own_per_second: int = 0
) -> Generator[Budget]:
    """Share an account's cancels per second with other processes, through Redis or Valkey.

    Like `bitget_transports.asyncio.shared_budget`, but `store` is a URL or your own blocking
    `redis.Redis`. The store is asked in the thread of the channels, which are not served meanwhile:
    for up to 0.25 s at a time if the store does not answer.

    Raises: ValidationError for an invalid argument. A store that cannot be reached raises nothing.
    """
    from .._redis.stores import blocking_store

    with blocking_store(store, Ring(account, per_second)) as question:
        yield BlockingSharedBudget(account, per_second, own_per_second, question)
