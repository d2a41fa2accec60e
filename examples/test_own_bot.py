"""Tests of your own bot, here bot.py, with pytest.

Copy both files into your own folder, and run `python -m pytest` there. The fixture
`bitget_exchange` comes with the package. It needs the extras `asyncio`, `exchange` and `rest`.
"""

import asyncio

import pytest

from bitget_proto import Cancelled, CancelOrder, Credentials, Filled, Final
from bitget_proto.testing import Fault
from bitget_transports.exchange import ExchangeThread
from bot import Bot

KEY = Credentials("key", "secret", "passphrase")
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, 4)]

pytestmark = pytest.mark.bitget_exchange(ORDERS, credentials=KEY)


def run(exchange: ExchangeThread, *orders: CancelOrder) -> list[Final | None]:
    """Run the bot until it has ended these orders, and return what it believes."""

    async def main() -> list[Final | None]:
        bot = Bot(KEY, exchange.url)
        await bot.start()
        try:
            return [await bot.end(order) for order in orders]
        finally:
            await bot.stop()

    return asyncio.run(main())


@pytest.mark.parametrize("fault", [None, Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.NO_PUSH])
def test_the_bot_believes_what_is_true(
    bitget_exchange: ExchangeThread, fault: Fault | None
) -> None:
    bitget_exchange.inject(fault)
    [believed] = run(bitget_exchange, ORDERS[0])
    assert isinstance(believed, Cancelled)
    assert ORDERS[0] not in bitget_exchange.exchange.live


def test_an_order_that_filled_first_is_not_taken_for_cancelled(
    bitget_exchange: ExchangeThread,
) -> None:
    bitget_exchange.inject(Fault.FILL_FIRST)
    assert isinstance(run(bitget_exchange, ORDERS[0])[0], Filled)
