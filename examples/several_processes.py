"""Several processes that share the cancels per second of an account.

With REDIS_URL in the environment, a Redis or Valkey server leases the cancels, so that each process
can use the cancels that the others do not use. Without REDIS_URL, each process has a fixed part and
needs no server. To try it, run this file: it starts two processes and an embedded exchange. It
needs the extras `asyncio`, `exchange` and, with a store, `redis`.
"""

import asyncio
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager, nullcontext

from bitget_proto import Accepted, Budget, CancelOrder, Credentials
from bitget_proto.testing import ScriptedExchange
from bitget_transports.asyncio import open_session, shared_budget
from bitget_transports.exchange import exchange_in_thread

KEY = Credentials("key", "secret", "passphrase")
PROCESSES, EACH = 2, 6


def budget() -> AbstractAsyncContextManager[Budget]:
    """Return the budget of this process, as a context: shared through a store, or a fixed part.

    The fixed parts of all processes add up to no more than the 10 cancels a second of the account.
    """
    if store := os.environ.get("REDIS_URL"):
        return shared_budget(store, "main account")
    return nullcontext(Budget(4))


async def work(url: str, first: int) -> None:
    """Cancel some orders within the account's limit."""
    orders = [CancelOrder("BTCUSDT", order_id=str(first + number)) for number in range(EACH)]
    async with budget() as allowance, open_session(KEY, url=url, budget=allowance) as channel:
        outcomes = [outcome async for outcome in channel.cancel_many(orders)]
    accepted = sum(isinstance(outcome, Accepted) for outcome in outcomes)
    print(f"{accepted} of {EACH} accepted")


def main() -> None:
    """Start the exchange and the processes, and check that the exchange refused none."""
    orders = [CancelOrder("BTCUSDT", order_id=str(n)) for n in range(PROCESSES * EACH)]
    exchange = ScriptedExchange(orders)
    with exchange_in_thread(exchange) as server:
        workers = [
            subprocess.Popen(
                [sys.executable, __file__, server.url, str(number * EACH)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(PROCESSES)
        ]
        for worker in workers:
            said, _ = worker.communicate()
            print(said, end="")
            assert worker.returncode == 0
    print("still open at the exchange:", len(exchange.live))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work(sys.argv[1], int(sys.argv[2])))
    else:
        main()
