"""Unified accounts through every transport, against the embedded exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Dialect,
    InstType,
    Outcome,
    Policy,
    Rejected,
    SessionConfig,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, KEY, Connect, Flavour, OpenSession
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

ORDERS = [
    CancelOrder("BTCUSDT", str(number), f"mine-{number}", InstType.USDT_FUTURES)
    for number in range(1, 9)
]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def unified() -> ScriptedExchange:
    config = ExchangeConfig(dialect=Dialect.UNIFIED, messages_per_second=None, max_in_flight=None)
    return ScriptedExchange(ORDERS, config=config, cancels_per_second=None, credentials=KEY)


@pytest.mark.parametrize(
    "options", [{"dialect": Dialect.UNIFIED}, {"codec": Codec(dialect=Dialect.UNIFIED)}]
)
def test_cancels_need_no_instrument(flavour: Flavour, options: dict[str, object]) -> None:
    with exchange_in_thread(unified()) as server:
        assert server.url.endswith("/v3/ws/private")

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, **options) as channel:
                one = await channel.cancel(CancelOrder(client_oid="mine-1"))
                assert isinstance(one, Accepted)
                assert one.order_id == "1"
                gone = await channel.cancel(CancelOrder(order_id="1"))
                assert isinstance(gone, Rejected)
                assert gone.code == "25204"
                rest = [CancelOrder(order_id=order.order_id) for order in ORDERS[1:]]
                outcomes = [outcome async for outcome in channel.cancel_many(rest)]
                assert all(isinstance(outcome, Accepted) for outcome in outcomes)

        flavour.run(tidy(scenario))
        assert not server.exchange.live


def test_a_cancel_after_the_end_needs_no_instrument_either(flavour: Flavour) -> None:
    with exchange_in_thread(unified()) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, dialect=Dialect.UNIFIED
            ) as channel:
                await channel.close()
                outcome = await channel.cancel(CancelOrder(order_id="1"))
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (False, WhyUnresolved.CLOSED)

        flavour.run(tidy(scenario))


def test_a_session_sends_again_after_a_drop(flavour: Flavour) -> None:
    with exchange_in_thread(unified()) as server:
        server.exchange.inject(Fault.DROP_BEFORE)

        async def scenario(open_session: OpenSession) -> None:
            config = SessionConfig(link=FAST, policy=Policy.RESEND, backoff_min=0.05)
            async with open_session(
                KEY, url=server.url, config=config, dialect=Dialect.UNIFIED
            ) as channel:
                outcome = await channel.cancel(CancelOrder(order_id="1"))
                assert isinstance(outcome, Accepted)
                assert outcome.attempts == 2

        flavour.run_session(tidy(scenario))


def test_a_contradiction_is_refused_before_anything_is_dialled(flavour: Flavour) -> None:
    async def scenario(connect: Connect) -> None:
        with pytest.raises(ValidationError, match=r"codec is for Dialect\.CLASSIC"):
            async with connect(KEY, dialect=Dialect.UNIFIED, codec=Codec()):
                raise AssertionError("a channel was opened")
        for url in (Dialect.CLASSIC.live_url, Dialect.CLASSIC.demo_url):
            with pytest.raises(ValidationError, match="which serves classic accounts"):
                async with connect(KEY, dialect=Dialect.UNIFIED, url=url):
                    raise AssertionError("a channel was opened")

    flavour.run(tidy(scenario))


def test_a_cancel_after_the_end_needs_no_more_than_before(flavour: Flavour) -> None:
    order = CancelOrder(order_id="1")
    made = ScriptedExchange([order], config=ExchangeConfig(dialect=Dialect.UNIFIED))
    with exchange_in_thread(made) as server:

        async def scenario(connect: Connect) -> Outcome:
            async with connect(KEY, url=server.url, dialect=Dialect.UNIFIED) as channel:
                await channel.close()
                return await channel.cancel(order)

        outcome = flavour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why, outcome.order) == (False, WhyUnresolved.CLOSED, order)
