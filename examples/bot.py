"""A bot class with one channel for its whole life, which reconnects by itself.

`start` and `stop` may run in different tasks, so it fits frameworks that have such methods. To try
it, run this file: it needs the extras `asyncio`, `exchange` and `rest`, but no keys and no network.
"""

import asyncio
import logging
from collections.abc import Iterable

from bitget_proto import (
    Cancelled,
    CancelOrder,
    Credentials,
    Filled,
    Final,
    InstType,
    OrderUpdate,
    StillOpen,
    Unresolved,
)
from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports import SessionChannel
from bitget_transports.asyncio import open_session
from bitget_transports.exchange import exchange_in_thread

log = logging.getLogger("bot")


class Bot:
    """Cancels orders, and knows what became of each.

    On a unified account, pass `dialect=Dialect.UNIFIED` to `open_session`.
    """

    ATTEMPTS = 3

    def __init__(self, credentials: Credentials, url: str | None = None) -> None:
        self.credentials, self.url = credentials, url
        self.ended = asyncio.Event()
        """Set when the session has ended: after `stop`, or because the key was refused."""

    async def start(self) -> None:
        """Connect and log in.

        Raises: ConnectFailed.
        """
        opener = open_session(self.credentials, url=self.url, orders=True)
        self.channel: SessionChannel = await opener.open()
        self.watching = asyncio.create_task(self.watch())

    async def stop(self) -> None:
        """Wait for the answers to what was sent, and close."""
        await self.channel.aclose()
        await self.watching

    async def watch(self) -> None:
        """Handle everything that no call waits for, until the session ends."""
        async for event in self.channel.events:
            match event:
                case OrderUpdate(order_id=id, status_text=status):
                    log.info("order %s: %s", id, status)
                case _:
                    log.info("%s", event)
        self.ended.set()

    async def end(self, order: CancelOrder) -> Final | None:
        """Cancel an order until it is known what became of it, at most `ATTEMPTS` times.

        None means that no request left this machine, because the connection was down for too long.
        """
        final: Final | None = None
        for _ in range(self.ATTEMPTS):
            outcome = await self.channel.cancel(order)
            if isinstance(outcome, Unresolved) and not outcome.sent:
                continue  # it cannot have happened: safe to send again
            final = await self.channel.confirm(outcome)
            if not isinstance(final, StillOpen):
                break
        return final

    async def end_everything(self, lines: Iterable[InstType | None] = (InstType.SPOT,)) -> bool:
        """Cancel all open orders of these product lines; return whether all are known to be over.

        On a unified account, None means all product lines.

        Raises: RestFailed when the exchange does not list the orders.
        """
        over: dict[str | None, bool] = {}
        for line in lines:
            async for outcome, final in self.channel.cancel_all(line):
                over[outcome.order.order_id] = isinstance(final, Cancelled | Filled)
                log.info("order %s: %s", outcome.order.order_id, type(final).__name__)
        return all(over.values())


async def main(url: str, orders: list[CancelOrder]) -> None:
    """Cancel one order, and then the others."""
    bot = Bot(Credentials("key", "secret", "passphrase"), url)
    await bot.start()
    try:
        print("one order:", type(await bot.end(orders[0])).__name__)
        print("the others:", "all over" if await bot.end_everything() else "not all over")
    finally:
        await bot.stop()


if __name__ == "__main__":
    book = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, 6)]
    exchange = ScriptedExchange(book)
    exchange.inject(Fault.DROP_AFTER)  # the first answer is lost, with the connection
    with exchange_in_thread(exchange) as server:
        asyncio.run(main(server.url, book))
    print("still open at the exchange:", len(exchange.live))
