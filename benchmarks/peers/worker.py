"""`python -m benchmarks.peers.worker NAME`: one library in a process of its own.

It prints `ready` and which release it is. Then each line that comes says how many cancels to do, and is answered with what they
took: nanoseconds, and nanoseconds of processor time. It ends with its input.

Rules of this file
- It imports nothing but the standard library: the interpreter is that of the peer, where ours may be missing.
- The garbage collector is off, as for all that is measured. The first turns are the caller's, and warm things up.
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
    """What a module of this folder holds."""

    def release(self) -> str: ...

    def driven(
        self,
    ) -> AbstractAsyncContextManager[Callable[[int], Callable[[], Awaitable[object]]]]:
        """Logged in; prepares so many cancels, and gives what does them, one after the other."""
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
    # What a peer prints is not for who reads the answers.
    with os.fdopen(os.dup(1), "w") as lines:
        os.dup2(2, 1)
        asyncio.run(_serve(cast("Peer", import_module(f"benchmarks.peers.{sys.argv[1]}")), lines))
