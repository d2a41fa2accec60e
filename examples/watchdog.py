"""Cancel everything when a program has ended: a dead man's switch for classic accounts.

Unified accounts need no such process: `guard` of the transports keeps the exchange's own switch from
firing. A classic account has none, so a second process watches the first one through a pipe. The
system closes the pipe when the program ends, however it ends. Then the second process cancels all
open orders of the product lines, and looks again until there are none.

The second process runs on the same machine as your bot. So it cannot help when the machine or its
network fails: the orders then stay open at the exchange.
"""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TextIO

from bitget_proto import InstType
from bitget_transports import RestFailed, SessionChannel
from bitget_transports.asyncio import open_session
from bitget_transports.exchange import exchange_in_thread
from embedded import KEY, exchange

if find_spec("httpx") is None:  # checked before there are orders to cancel
    raise SystemExit("REST needs httpx: pip install 'bitget-proto[rest]'")

DONE = "done\n"
READY = "ready\n"

_LOG = logging.getLogger("watchdog")


class Watchdog:
    """The program's side: start it before you place orders, and call `done` at a normal end."""

    def __init__(self, url: str, *lines: InstType) -> None:
        names = [line.value for line in lines]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "watch", url, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the program, and must not end both
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            raise RuntimeError("the watchdog could not log in")

    def done(self) -> None:
        """End the watchdog, and leave the orders as they are."""
        self._process.communicate(DONE)


async def watch(url: str, pipe: TextIO, out: TextIO, lines: Sequence[InstType]) -> bool:
    """Wait until the pipe closes, then cancel everything; return False after a call of `done`."""
    async with open_session(KEY, url=url, orders=True) as channel:
        # Nothing more is written to `out`: its reader may have ended too.
        print(READY, end="", file=out, flush=True)
        if await asyncio.to_thread(pipe.readline) == DONE:
            return False
        _LOG.warning("the program has ended: cancelling all open orders")
        for line in lines:
            while await cancel_open(channel, line):
                pass
        return True


async def cancel_open(channel: SessionChannel, line: InstType) -> bool:
    """Cancel the open orders; return whether there were any, or True if that is unknown."""
    found = False
    try:
        async for outcome, final in channel.cancel_all(line):
            found = True
            _LOG.warning("%s: %s", outcome.order.order_id, type(final or outcome).__name__)
    except RestFailed as error:
        _LOG.warning("%s", error)
        await asyncio.sleep(1.0)
        return True
    return found


def bot(url: str) -> None:
    """Stand in for a program that dies."""
    Watchdog(url, InstType.SPOT)
    print("the bot is killed", flush=True)
    raise SystemExit(1)


def demonstrate() -> None:
    """Start a bot with a watchdog, and show that the bot's orders do not outlive it."""
    with exchange_in_thread(exchange()) as server:
        print(f"{len(server.exchange.live)} orders are open")
        subprocess.run([sys.executable, __file__, "bot", server.url], check=False)
        while server.call(lambda: server.exchange.live) or server.connections:
            time.sleep(0.05)
        print("no order is open")


if __name__ == "__main__":
    logging.basicConfig(format="watchdog: %(message)s")
    match sys.argv[1:]:
        case ["bot", url]:
            bot(url)
        case ["watch", url, *names]:
            asyncio.run(watch(url, sys.stdin, sys.stdout, [InstType(name) for name in names]))
        case _:
            demonstrate()
