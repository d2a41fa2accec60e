"""A task is cancelled while its session dials, is down, or has two links.

The session ends at once and leaves nothing behind.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import attrs
import pytest

from bitget_proto import Accepted, Down, SessionState, Unresolved
from bitget_proto.testing import Fault
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults import hostile_server
from bitget_transports.faults.flaky_proxy import FlakyProxy, NetworkFault, Treatment, Way
from bitget_transports.faults.hostile_server import After, HostileServer

from .colours import ASYNCIO, KEY, AnySession, Flavour, OpenSession, orders
from .test_sessions import CONFIG, GOING_AWAY, LIMITS, exchange, until
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize(
    "flavour", [flavour for flavour in Flavour if flavour is not Flavour.BLOCKING]
)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


@asynccontextmanager
async def cancelled(flavour: Flavour) -> AsyncGenerator[Callable[[float], object]]:
    """Yield a function that cancels the body after the given number of seconds.

    asyncio cancels once, anyio at each wait.
    """
    if flavour in ASYNCIO:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                yield lambda seconds: timeout.reschedule(loop.time() + seconds)
    else:
        with anyio.CancelScope() as scope:
            yield lambda seconds: setattr(scope, "deadline", anyio.current_time() + seconds)
        assert scope.cancelled_caught


async def enter(session: AbstractAsyncContextManager[AnySession]) -> None:
    async with session:
        raise AssertionError("not reached")


BEHAVIOURS = {
    "the peer sends nothing": hostile_server.mute(),
    "the peer sends half of the handshake": hostile_server.half_head(),
    "the login is not answered": hostile_server.silence(After.UPGRADE),
    "each dial is disconnected": hostile_server.hang_up_at_once(),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("after", [0.0, 0.001, 0.1])
def test_cancelling_the_task_during_the_first_dial(
    flavour: Flavour, behaviour: str, after: float
) -> None:
    with HostileServer(BEHAVIOURS[behaviour]) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with cancelled(flavour) as start:
                start(after)
                await enter(open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS))

        began = time.monotonic()
        flavour.run_session(tidy(scenario))
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("backoff", [0.01, 30.0])
def test_cancelling_the_task_while_the_session_is_down(flavour: Flavour, backoff: float) -> None:
    with exchange_in_thread(exchange(1)) as server, FlakyProxy(server.url, [Treatment()]) as proxy:
        url = proxy.url

        async def scenario(open_session: OpenSession) -> None:
            config = attrs.evolve(CONFIG, backoff_min=backoff, backoff_max=30.0)
            async with (
                cancelled(flavour) as start,
                open_session(KEY, url=url, config=config, limits=LIMITS) as channel,
            ):
                server.refuse_handshakes(1000, 503)
                proxy.apply(NetworkFault.RESET)
                await until(channel, Down)
                start(0.2)
                try:
                    await channel.cancel(orders(1)[0])
                finally:
                    assert channel.state in (SessionState.DOWN, SessionState.DIALLING)
                    assert channel.in_flight == 1
            outcomes = [
                event for event in iter(channel.events.take, None) if isinstance(event, Unresolved)
            ]
            assert [outcome.sent for outcome in outcomes] == [False]

        began = time.monotonic()
        flavour.run_session(tidy(scenario))
        assert time.monotonic() - began < 5.0
    assert server.exchange.log == []


@pytest.mark.parametrize("second", ["is dialled", "logs in"])
def test_cancelling_the_task_while_two_links_are_open(flavour: Flavour, second: str) -> None:
    plan = (
        [Treatment(), Treatment(fault=NetworkFault.STALL, way=Way.OUT)]
        if second == "is dialled"
        else []
    )
    with exchange_in_thread(exchange(1)) as server, FlakyProxy(server.url, plan) as proxy:
        server.inject_login(None, Fault.SILENT)
        server.inject(Fault.SILENT)

        async def scenario(open_session: OpenSession) -> None:
            async with (
                cancelled(flavour) as start,
                open_session(KEY, url=proxy.url, config=CONFIG, limits=LIMITS) as channel,
            ):
                server.say(GOING_AWAY)
                start(0.5)
                try:
                    await channel.cancel(orders(1)[0])
                finally:
                    assert channel.state is SessionState.MOVING
                    assert proxy.connections == 2
            outcomes = [
                event for event in iter(channel.events.take, None) if isinstance(event, Unresolved)
            ]
            assert [outcome.sent for outcome in outcomes] == [True]

        began = time.monotonic()
        flavour.run_session(tidy(scenario))
        assert time.monotonic() - began < 5.0


def test_an_abandoned_cancel_is_sent_on_the_next_link(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(2)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                server.refuse_handshakes(5, 503)
                server.drop()
                await until(channel, Down)
                with anyio.move_on_after(0.0):
                    await channel.cancel(orders(1)[0], id="abandoned")
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)
                outcome = await until(channel, Accepted)
                assert (outcome.id, outcome.attempts) == ("abandoned", 1)

        flavour.run_session(tidy(scenario))


@pytest.mark.parametrize("second", ["is dialled", "logs in"])
def test_repeated_cancellation_while_the_session_ends(flavour: Flavour, second: str) -> None:
    """anyio cancels at each wait: everything is aborted, and gone a few event loop steps later."""
    plan = (
        [Treatment(), Treatment(fault=NetworkFault.STALL, way=Way.OUT)]
        if second == "is dialled"
        else []
    )
    with exchange_in_thread(exchange(1)) as server, FlakyProxy(server.url, plan) as proxy:
        server.inject_login(None, Fault.SILENT)
        server.inject(Fault.SILENT)

        async def scenario(open_session: OpenSession) -> None:
            with anyio.CancelScope() as scope:
                async with open_session(
                    KEY, url=proxy.url, config=CONFIG, limits=LIMITS
                ) as channel:
                    server.say(GOING_AWAY)
                    scope.deadline = anyio.current_time() + 0.3
                    await channel.cancel(orders(1)[0])
            assert scope.cancelled_caught
            await anyio.sleep(0.05)

        flavour.run_session(tidy(scenario))
