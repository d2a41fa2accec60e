"""Urgent cancels, `withdraw`, and `close` with queued cancels."""

from __future__ import annotations

import attrs
import pytest

from bitget_proto import (
    Accepted,
    Config,
    Outcome,
    SessionConfig,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_transports import Limits
from bitget_transports._driver import driver
from bitget_transports.exchange import exchange_in_thread

from .colours import KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)


@pytest.fixture(autouse=True)
def short_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count messages in a window of 0.3 s."""
    monkeypatch.setattr("bitget_proto._machine.frame_queue.WINDOW", 0.3)


@pytest.fixture(autouse=True)
def _all_orders_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine `cancel_many` would take the first order only, and then serve the link."""
    monkeypatch.setattr(driver, "_FILL_SECONDS", 30.0)


_SLOW = Config(messages_per_second=2, pace_margin=0.001)
"""The login and one cancel are sent at once; the rest waits."""


def test_an_urgent_cancel_is_sent_before_queued_ones(flavour: Flavour) -> None:
    with nothing_left(), exchange_in_thread(fast_exchange(4)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            async with connect(KEY, url=server.url, config=_SLOW) as channel:
                many = channel.cancel_many(orders(3))
                first = await anext(many)
                urgent = await channel.cancel(orders(4)[3], urgent=True)
                return [first, urgent, *[outcome async for outcome in many]]

        outcomes = flavour.run(tidy(scenario))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert [act.order.order_id for act in server.exchange.log] == ["1", "4", "2", "3"]


def test_a_queued_cancel_can_be_withdrawn_and_a_sent_one_cannot(flavour: Flavour) -> None:
    with nothing_left(), exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> Outcome:
            async with connect(
                KEY, url=server.url, config=attrs.evolve(_SLOW, id_prefix="n")
            ) as channel:
                many = channel.cancel_many(orders(2))
                assert isinstance(await anext(many), Accepted)
                assert [await channel.withdraw(id) for id in ("n1", "n2", "n2", "other")] == [
                    False,
                    True,
                    False,
                    False,
                ]
                return await anext(many)

        outcome = flavour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.WITHDRAWN)
    assert len(server.exchange.log) == 1


def test_close_may_send_queued_cancels_first(flavour: Flavour) -> None:
    with nothing_left(), exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            async with connect(KEY, url=server.url, config=_SLOW) as channel:
                many = channel.cancel_many(orders(3))
                first = await anext(many)
                await channel.close(queued="send")
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved)
                assert not outcome.sent
                return [first, *[outcome async for outcome in many]]

        outcomes = flavour.run(tidy(scenario))
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3


def test_close_drops_queued_cancels_at_its_deadline(flavour: Flavour) -> None:
    with nothing_left(), exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            async with connect(KEY, url=server.url, config=_SLOW) as channel:
                many = channel.cancel_many(orders(3))
                first = await anext(many)
                with pytest.raises(ValidationError, match="queued must be"):
                    await channel.close(queued="later")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                await channel.close(queued="send", within=0.05)
                return [first, *[outcome async for outcome in many]]

        outcomes = flavour.run(tidy(scenario))
    assert [outcome.sent for outcome in outcomes if isinstance(outcome, Unresolved)] == [
        False,
        False,
    ]
    assert len(server.exchange.log) == 1


def test_a_cancel_without_a_link_expires_unsent(flavour: Flavour) -> None:
    link = Config(messages_per_second=None)
    config = SessionConfig(link=link, backoff_min=5.0, backoff_max=5.0, no_link_timeout=0.1)
    with nothing_left(), exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(open_session: OpenSession) -> Outcome:
            limits = Limits(close_timeout=0.1)
            async with open_session(
                KEY, url=server.url, config=config, limits=limits, jitter=lambda: 0.0
            ) as channel:
                server.drop()
                async for event in channel.events:
                    if type(event).__name__ == "Down":
                        break
                return await channel.cancel(orders(1)[0])

        outcome = flavour.run_session(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.NO_LINK)


def test_a_thousand_cancels_at_once_are_all_accepted(flavour: Flavour) -> None:
    with nothing_left(), exchange_in_thread(fast_exchange(1000)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            async with connect(
                KEY, url=server.url, config=Config(messages_per_second=2000)
            ) as channel:
                return [outcome async for outcome in channel.cancel_many(orders(1000))]

        outcomes = flavour.run(tidy(scenario))
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 1000
    assert len({outcome.order.order_id for outcome in outcomes}) == 1000
