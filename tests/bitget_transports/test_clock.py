"""All transports use one clock, which goes on while the machine is suspended."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

import bitget_transports
from bitget_proto import CancelOrder, Config, Outcome, Unresolved, WhyUnresolved
from bitget_transports._driver.driver import Driver
from bitget_transports.exchange import exchange_in_thread

from .colours import KEY, Connect, Flavour, fast_exchange, orders
from .tidy import nothing_left, tidy


def test_the_drivers_use_the_public_clock() -> None:
    assert Driver.now is bitget_transports.clock


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CLOCK_BOOTTIME")
def test_the_clock_counts_suspended_time_on_linux() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = bitget_transports.clock()
    assert before <= now <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("flavour", Flavour)
def test_a_cancel_that_expires_during_suspend_is_not_sent(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = [0.0]
    monkeypatch.setattr(Driver, "now", staticmethod(lambda: bitget_transports.clock() + asleep[0]))

    def then_sleep() -> Iterator[CancelOrder]:
        yield orders(1)[0]
        asleep[0] = 7200.0

    with nothing_left(), exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            # The login uses the one message per second, so the cancel waits.
            config = Config(messages_per_second=1)
            async with connect(KEY, url=server.url, config=config) as channel:
                return [
                    outcome async for outcome in channel.cancel_many(then_sleep(), timeout=10.0)
                ]

        (outcome,) = flavour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.TIMEOUT)
    assert server.exchange.log == []
