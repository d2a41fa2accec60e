"""`python -m benchmarks.peers.worker NAME`: run one library in a process of its own.

It prints `ready` and the release of the library. Then it reads a number of cancels from each line
of standard input, runs them, and prints the time and the processor time in nanoseconds. It ends at
the end of its input.

This module imports only the standard library, because it runs in the peers' environment, where ours
may be missing. The garbage collector is off, as for all sides.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from time import perf_counter_ns, process_time_ns
from typing import Protocol, TextIO, cast


class Peer(Protocol):
    """The interface of the peer modules."""

    def release(self) -> str: ...

    def driven(
        self,
    ) -> AbstractAsyncContextManager[Callable[[int], Callable[[], Awaitable[object]]]]:
        """Log in. Yield a function that prepares `count` cancels and returns what runs them."""
        ...


async def _serve(peer: Peer, answers: TextIO) -> None:
    loop = asyncio.get_running_loop()
    async with peer.driven() as prepare:
        await prepare(1)()
        print("ready", peer.release(), file=answers, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            run = prepare(int(line))
            gc.collect()
            cpu_before = process_time_ns()
            before = perf_counter_ns()
            await run()
            taken = perf_counter_ns() - before
            print(taken, process_time_ns() - cpu_before, file=answers, flush=True)


if __name__ == "__main__":
    logging.disable()
    gc.disable()
    # Keep the output of the peer out of the answers.
    with os.fdopen(os.dup(1), "w") as lines:
        os.dup2(2, 1)
        asyncio.run(_serve(cast("Peer", import_module(f"benchmarks.peers.{sys.argv[1]}")), lines))
