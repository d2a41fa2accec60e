"""Runs the script of the ring with redis-py, through its asyncio client or its blocking one.

Neither this module nor our clients retry anything: a late answer is useless, and `Lease` asks
again. A client that the caller passes keeps its own settings, and is not closed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, cast

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from bitget_proto import Ask, ValidationError

from .._driver.checks import safe_repr
from .ring import SCRIPT, TIMEOUT, Answer, Ring

Question: TypeAlias = Callable[[Ask], tuple[float, str]]
AsyncQuestion: TypeAlias = Callable[[Ask], Awaitable[tuple[float, str]]]


@contextmanager
def blocking_store(store: str | Redis, ring: Ring) -> Generator[Question]:
    """Yield a function that asks the store and blocks for at most 0.25 s per step."""
    client = store if isinstance(store, Redis) else _client(Redis, store, Retry(NoBackoff(), 0))
    script = client.register_script(SCRIPT)

    def ask(ask: Ask) -> tuple[float, str]:
        return ring.read(cast("Answer", script(ring.keys, ring.arguments(ask))))

    try:
        yield ask
    finally:
        if client is not store:
            client.close()


@asynccontextmanager
async def asyncio_store(store: str | AsyncRedis, ring: Ring) -> AsyncGenerator[AsyncQuestion]:
    """Yield a function that asks the store."""
    client = (
        store
        if isinstance(store, AsyncRedis)
        else _client(AsyncRedis, store, AsyncRetry(NoBackoff(), 0))
    )
    script = client.register_script(SCRIPT)

    async def ask(ask: Ask) -> tuple[float, str]:
        return ring.read(cast("Answer", await script(ring.keys, ring.arguments(ask))))

    try:
        yield ask
    finally:
        if client is not store:
            await client.aclose()


def _client(kind: Any, url: object, retry: object) -> Any:
    name = f"{kind.__module__.partition('.client')[0]}.Redis"
    if not isinstance(url, str):
        raise ValidationError(f"store must be a URL or a {name}; got {safe_repr(url)}")
    try:
        return kind.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=retry
        )
    except ValueError as error:
        # The URL itself is not repeated: it may hold a password.
        raise ValidationError(f"store is not the URL of a Redis server: {error}") from None
