"""`python -m benchmarks.channels COUNT [--tls]`: print the memory of an open session, in bytes.

The sessions use the asyncio transport and are connected to the answerer on loopback. The memory is
the growth of the process (its resident set) from the first tenth of the sessions to the last, so
it does not include what the first sessions load. The kernel's memory for a socket is not included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import ssl
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from benchmarks.other_end import answerer, with_tls
from bitget_proto import Codec, Credentials, SessionConfig, fastest
from bitget_transports.asyncio import open_session

_MANY, _FEW = 400, 20


def bytes_per_channel(quick: bool, *, tls: bool) -> float:
    """Measure in a new process, which does nothing else."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.channels",
        str(_FEW if quick else _MANY),
        *(["--tls"] if tls else []),
    ]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


async def _held(count: int, port: int, tls: ssl.SSLContext | None) -> float:
    url = f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/v2/ws/private"
    credentials, config, codec = (
        Credentials("key", "secret", "phrase"),
        SessionConfig(),
        Codec(fastest()),
    )
    first = max(1, count // 10)
    before = 0
    async with AsyncExitStack() as stack:
        for number in range(count):
            if number == first:
                before = _resident()
            await stack.enter_async_context(
                open_session(credentials, url=url, config=config, codec=codec, tls=tls)
            )
        return (_resident() - before) / (count - first)


def _resident() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.channels")
    parser.add_argument("count", type=int)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        pem, context = stack.enter_context(with_tls()) if arguments.tls else (None, None)
        port = stack.enter_context(answerer(pem=pem))
        print(asyncio.run(_held(arguments.count, port, context)))


if __name__ == "__main__":
    main()
