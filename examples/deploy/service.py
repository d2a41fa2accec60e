"""The bot of bot.py as a service, with a clean stop.

At SIGTERM or SIGINT it cancels everything, confirms it, and closes the session. The keys come from
BITGET_API_KEY, BITGET_SECRET and BITGET_PASSPHRASE. BITGET_URL is optional: demo trading, or an
embedded exchange. It needs the extras `asyncio`, `exchange` and `rest`.
"""

import asyncio
import logging
import os
import signal
import sys

from bitget_proto import Credentials
from bitget_transports import LoginRefused, RestFailed
from bot import Bot

STOP_WITHIN = 100.0
"""Seconds for a stop. The service manager must wait longer: bot.service and compose.yaml do."""

CLEAN, NOT_CLEAN, REFUSED = 0, 1, 78
"""Exit codes. REFUSED: the exchange refused the key, so a restart would not help."""


async def main() -> int:
    """Run until a signal, and return the exit code."""
    key = Credentials(
        os.environ["BITGET_API_KEY"], os.environ["BITGET_SECRET"], os.environ["BITGET_PASSPHRASE"]
    )
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not signal.signal: its handlers interrupt whatever runs.
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    bot = Bot(key, os.environ.get("BITGET_URL"))
    try:
        await bot.start()
    except LoginRefused as refused:
        print(refused, file=sys.stderr)
        return REFUSED
    print("up", flush=True)

    waiting = [asyncio.create_task(event.wait()) for event in (asked, bot.ended)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    clean = False
    try:
        async with asyncio.timeout(STOP_WITHIN):
            try:
                clean = await bot.end_everything()
            except RestFailed as failed:
                print(failed, file=sys.stderr)
            await bot.stop()
    except TimeoutError:
        print(f"not stopped within {STOP_WITHIN:.0f} s", file=sys.stderr)
    print("all orders are over" if clean else "some orders may be open", flush=True)
    return CLEAN if clean and asked.is_set() else NOT_CLEAN


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(asyncio.run(main()))
