"""A kill switch: cancels everything when the bot stops giving signs of life.

It is a process of its own, and logs in before it is needed. The bot touches a file every second
(`Path.touch`). When the file has not changed for some seconds, all open orders are cancelled, and
each is confirmed. The account is shared with the bot, so each has a part of the rate limit.

    python kill_switch.py /run/bot/alive

The keys come from BITGET_API_KEY, BITGET_SECRET and BITGET_PASSPHRASE; BITGET_URL is optional.
Without an argument it runs a demonstration on an embedded exchange. It needs the extras `asyncio`,
`exchange` and `rest`.
"""

import asyncio
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from bitget_proto import (
    Budget,
    Cancelled,
    CancelOrder,
    Credentials,
    Filled,
    InstType,
    SessionState,
)
from bitget_proto.testing import ScriptedExchange
from bitget_transports import RestFailed, SessionChannel, clock
from bitget_transports.asyncio import open_session
from bitget_transports.exchange import exchange_in_thread

if find_spec("httpx") is None:  # checked before there are orders to cancel
    raise SystemExit("REST needs httpx: pip install 'bitget-proto[rest]'")

SILENCE = 5.0
"""Seconds without a sign of life after which everything is cancelled."""

PER_SECOND = 3
"""Cancels a second for the switch. The bot takes the other seven: `Budget(7)`."""

LINES: tuple[InstType | None, ...] = (InstType.SPOT,)
"""The product lines to clear. On a unified account, (None,) means all of them."""


async def wait_for_silence(heartbeat: Path, silence: float, channel: SessionChannel) -> None:
    """Return when the file has not changed for `silence` seconds.

    Raises: RuntimeError when the session ends, because the switch could not cancel anything then.
    """
    seen, since = 0, clock()
    while True:
        if channel.state is SessionState.ENDED:
            raise RuntimeError("the session of the kill switch has ended: see its log")
        try:
            stamp = heartbeat.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = 0
        if stamp != seen:
            seen, since = stamp, clock()
        elif clock() - since >= silence:
            return
        await asyncio.sleep(silence / 20)


async def cancel_everything(channel: SessionChannel) -> bool:
    """Cancel all open orders and confirm each; return whether all are known to be over.

    Raises: RestFailed.
    """
    over: dict[str | None, bool] = {}
    for line in LINES:
        async for outcome, final in channel.cancel_all(line, rounds=10):
            print(f"{outcome.order.order_id}: {type(final).__name__}", flush=True)
            over[outcome.order.order_id] = isinstance(final, Cancelled | Filled)
    return all(over.values())


async def guard(
    credentials: Credentials, heartbeat: Path, *, url: str | None = None, silence: float = SILENCE
) -> bool:
    """Wait for silence, then cancel everything; return whether all orders are known to be over.

    Raises: ConnectFailed; RuntimeError when the session ends before it is needed.
    """
    async with open_session(
        credentials, url=url, orders=True, budget=Budget(PER_SECOND)
    ) as channel:
        print("armed", flush=True)
        await wait_for_silence(heartbeat, silence, channel)
        while True:
            try:
                return await cancel_everything(channel)
            except RestFailed as error:  # the orders cannot be listed: try again
                print(error, flush=True)
                await asyncio.sleep(1.0)


def show() -> bool:
    """Guard an embedded exchange with three orders, without a bot."""
    exchange = ScriptedExchange([CancelOrder("BTCUSDT", order_id=str(n)) for n in range(1, 4)])
    with tempfile.TemporaryDirectory() as folder, exchange_in_thread(exchange) as server:
        key = Credentials("key", "secret", "passphrase")
        heartbeat = Path(folder, "alive")
        return asyncio.run(guard(key, heartbeat, url=server.url, silence=0.2))


def main() -> int:
    """Return 0 if everything is known to be over."""
    if len(sys.argv) == 1:
        return 0 if show() else 1
    key = Credentials(
        os.environ["BITGET_API_KEY"], os.environ["BITGET_SECRET"], os.environ["BITGET_PASSPHRASE"]
    )
    heartbeat = Path(sys.argv[1])
    return 0 if asyncio.run(guard(key, heartbeat, url=os.environ.get("BITGET_URL"))) else 1


if __name__ == "__main__":
    sys.exit(main())
