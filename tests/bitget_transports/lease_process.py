"""A process that cancels as fast as its share of a leased budget allows, until its input ends.

    python lease_process.py SETTINGS

`SETTINGS` is a JSON object: the URLs of the exchange and of Redis, the account's limit, the first order id,
and by how many seconds Redis is farther away. It prints one JSON object: when each cancel was sent,
on the clock of the transports, which all processes of a machine share; how many were refused; and
what was logged about the store.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bitget_proto import Accepted, CancelOrder, Credentials, Outcome, Rejected, Unresolved
from bitget_transports.asyncio import open_session, shared_budget

AT_ONCE = 20
"""The number of cancels in flight."""


class Lines(logging.Handler):
    """Collects what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def farther(url: str, seconds: float) -> Any:
    """Return a client whose server is farther away."""
    client: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0)
    )
    execute = client.execute_command

    async def execute_later(*arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(seconds / 2)
        answer = await execute(*arguments, **options)
        await asyncio.sleep(seconds / 2)
        return answer

    client.execute_command = execute_later
    return client


def kind(outcome: Outcome) -> str:
    """Return the class of an outcome, and why it is not `Accepted`."""
    match outcome:
        case Accepted():
            return "accepted"
        case Rejected(code_class=why) | Unresolved(why=why):
            return why.value


async def main(settings: dict[str, Any]) -> dict[str, Any]:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: over.set())
    numbers = count(settings["first"])
    sent, kinds = list[float](), Counter[str]()

    def orders() -> Iterator[CancelOrder]:
        while not over.is_set():
            yield CancelOrder("BTCUSDT", order_id=str(next(numbers)))

    store = (
        farther(settings["redis"], settings["farther"])
        if settings["farther"]
        else settings["redis"]
    )
    async with (
        shared_budget(store, "mine", per_second=settings["limit"]) as budget,
        open_session(
            Credentials("key", "secret", "passphrase"), url=settings["exchange"], budget=budget
        ) as channel,
    ):
        print("up", flush=True)

        async def worker() -> None:
            for order in orders():
                outcome = await channel.cancel(order)
                kinds[kind(outcome)] += 1
                if outcome.sent_at is not None:
                    sent.append(outcome.sent_at)

        workers = [asyncio.create_task(worker()) for _ in range(AT_ONCE)]
        await over.wait()
        await channel.close()
        await asyncio.wait(workers)
    if not isinstance(store, str):
        await store.aclose()
    return {"sent": sent, "kinds": kinds}


if __name__ == "__main__":
    log = Lines()
    logging.basicConfig(level=logging.INFO, handlers=[log])
    result = asyncio.run(main(json.loads(sys.argv[1])))
    print(json.dumps(result | {"log": log.lines}))
