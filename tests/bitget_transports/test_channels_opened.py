"""A channel without `async with`: opened and closed in different functions, tasks and fixtures."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
import trio
import uvloop

import bitget_transports.anyio
import bitget_transports.asyncio
import bitget_transports.blocking
from bitget_proto import (
    Accepted,
    Closed,
    Config,
    Ended,
    LocalProtocolError,
    SessionState,
    State,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_proto.testing import Fault
from bitget_transports import Channel, ConnectFailed, Limits, LoginRefused, Opener
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.hostile_server import HostileServer, Victim

from .colours import BOUND, KEY, Connect, Flavour, fast_exchange, orders
from .tidy import nothing_left, tidy

AWAITED = [flavour for flavour in Flavour if flavour is not Flavour.BLOCKING]
WITHOUT_TRIO = [flavour for flavour in AWAITED if flavour is not Flavour.ANYIO_TRIO]

UNHURRIED = Config(answer_timeout=None, drain_timeout=0.5)
"""A cancel without an answer waits until the channel is closed, which is soon done."""

awaited = pytest.mark.parametrize("flavour", AWAITED)
without_trio = pytest.mark.parametrize("flavour", WITHOUT_TRIO)


@asynccontextmanager
async def somewhere(flavour: Flavour) -> AsyncGenerator[Any]:
    """Give what `open` needs: a task group on trio, and nothing elsewhere."""
    if flavour is not Flavour.ANYIO_TRIO:
        yield None
        return
    async with anyio.create_task_group() as tasks:
        yield tasks


async def in_its_own_task(run: Callable[[], Awaitable[object]]) -> None:
    async def once() -> None:
        await run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(once)


async def abandoned_cancel(channel: Channel) -> None:
    """Send a cancel, and give up the wait for its outcome."""
    with anyio.move_on_after(BOUND) as waiting:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await channel.cancel(orders(1)[0], "open")

            tasks.start_soon(cancel)
            while not channel.in_flight:
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
    assert not waiting.cancelled_caught


async def no_task_left(flavour: Flavour) -> None:
    """Wait until the task of the channel has ended. On trio its task group waits for it."""
    if flavour is not Flavour.ANYIO_TRIO:
        with anyio.fail_after(BOUND):
            while len(asyncio.all_tasks()) > 1:
                await anyio.sleep(0.001)


def owners() -> list[asyncio.Task[Any]]:
    """Return the tasks that keep channels open, on asyncio."""
    return [task for task in asyncio.all_tasks() if "Owner" in repr(task.get_coro())]


class Bot:
    def __init__(self, connect: Any, url: str, **options: Any) -> None:
        self._opener: Opener[Channel] = connect(KEY, url=url, **options)
        self.channel: Channel

    async def start(self, tasks: Any) -> None:
        self.channel = await self._opener.open(tasks)

    async def stop(self) -> None:
        await self.channel.aclose()


@awaited
def test_a_bot_starts_and_stops_in_different_tasks(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> None:
            async with somewhere(flavour) as tasks:
                bot = Bot(connect, server.url)
                await in_its_own_task(partial(bot.start, tasks))
                assert isinstance(await bot.channel.cancel(orders(2)[0]), Accepted)
                await in_its_own_task(lambda: bot.channel.cancel(orders(2)[1]))
                await in_its_own_task(bot.stop)
                await bot.stop()
                assert bot.channel.state is State.CLOSED

        with nothing_left():
            flavour.run(tidy(scenario))
    assert len(server.exchange.log) == 2


@awaited
def test_a_session_is_opened_and_closed_too(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(open_session: Any) -> None:
            async with somewhere(flavour) as tasks:
                channel = await open_session(KEY, url=server.url).open(tasks)
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                await channel.aclose()
                assert channel.state is SessionState.ENDED

        with nothing_left():
            flavour.run_session(tidy(scenario))


@awaited
def test_an_exit_stack_closes_a_channel_in_another_task(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url)
            async with somewhere(flavour) as tasks:
                stack = AsyncExitStack()
                channel = await opener.open(tasks)
                stack.push_async_callback(channel.aclose)
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                await in_its_own_task(stack.aclose)
                assert channel.state is State.CLOSED

        with nothing_left():
            flavour.run(tidy(scenario))


@awaited
def test_closing_waits_for_the_answers_to_sent_cancels(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.1

        async def scenario(connect: Connect) -> None:
            outcomes: list[object] = []
            async with somewhere(flavour) as tasks:
                opener: Any = connect(KEY, url=server.url)
                channel: Channel = await opener.open(tasks)

                async def cancel() -> None:
                    outcomes.append(await channel.cancel(orders(1)[0]))

                async with anyio.create_task_group() as cancelling:
                    cancelling.start_soon(cancel)
                    await anyio.lowlevel.checkpoint()
                    while not channel.in_flight:
                        await anyio.lowlevel.checkpoint()
                    await channel.aclose()
            assert [type(outcome) for outcome in outcomes] == [Accepted]

        flavour.run(tidy(scenario))


@awaited
def test_closing_that_is_cancelled_ends_the_channel_at_once(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)
        config = Config(drain_timeout=60.0, answer_timeout=None)

        async def scenario(connect: Connect) -> None:
            async with somewhere(flavour) as tasks:
                opener: Any = connect(KEY, url=server.url, config=config)
                channel: Channel = await opener.open(tasks)
                await abandoned_cancel(channel)
                with anyio.move_on_after(0.01) as waiting:
                    await channel.aclose()
                assert waiting.cancelled_caught
                outcome = channel.events.take()
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (True, WhyUnresolved.CLOSED)
                assert isinstance(channel.events.take(), Closed)
                await channel.aclose()

        with nothing_left():
            flavour.run(tidy(scenario))


@awaited
def test_a_refused_login_is_raised_by_open(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange()) as server:
        server.exchange.refuse_logins(1, "30012")

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url)
            async with somewhere(flavour) as tasks:
                with pytest.raises(LoginRefused):
                    await opener.open(tasks)

        with nothing_left():
            flavour.run(tidy(scenario))


@awaited
@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_opening_that_is_cancelled_leaves_nothing_behind(flavour: Flavour, seconds: float) -> None:
    with HostileServer(Victim.hold) as server:
        limits = Limits(open_timeout=None)

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url, limits=limits)
            async with somewhere(flavour) as tasks:
                with anyio.move_on_after(seconds) as waiting:
                    await opener.open(tasks)
                assert waiting.cancelled_caught
            await no_task_left(flavour)

        with nothing_left():
            flavour.run(tidy(scenario))


@awaited
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_opening_whose_task_is_cancelled_fails(flavour: Flavour, steps: int) -> None:
    with HostileServer(Victim.hold) as server:

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url)
            raised: list[ConnectFailed] = []
            began = anyio.Event()

            async def fails(tasks: Any) -> None:
                began.set()
                with pytest.raises(ConnectFailed, match="was cancelled") as error:
                    await opener.open(tasks)
                raised.append(error.value)

            async with anyio.create_task_group() as callers, somewhere(flavour) as tasks:
                callers.start_soon(fails, tasks)
                await began.wait()
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                if tasks is None:
                    owners()[0].cancel()
                else:
                    tasks.cancel_scope.cancel()
            assert len(raised) == 1

        with nothing_left():
            flavour.run(tidy(scenario))


@pytest.mark.parametrize("flavour", Flavour)
def test_what_connect_returns_opens_one_channel(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> None:
            opener = connect(KEY, url=server.url)
            async with opener:
                pass
            with pytest.raises(LocalProtocolError, match="used before"):
                async with opener:
                    raise AssertionError("not reached")
            if flavour is not Flavour.BLOCKING:
                awaiting: Any = connect(KEY, url=server.url)
                async with awaiting:
                    with pytest.raises(LocalProtocolError, match="used before"):
                        await awaiting.open()

        if flavour is not Flavour.BLOCKING:
            flavour.run(tidy(scenario))
            return
        blocking = bitget_transports.blocking.connect(KEY, url=server.url)
        with blocking, pytest.raises(LocalProtocolError, match="used before"):
            blocking.open()


def test_on_trio_open_needs_a_task_group() -> None:
    async def scenario(connect: Connect) -> None:
        opener: Any = connect(KEY, url="ws://127.0.0.1:9/")
        with pytest.raises(LocalProtocolError, match="pass a nursery"):
            await opener.open()

    Flavour.ANYIO_TRIO.run(tidy(scenario))


def test_a_nursery_of_trio_is_a_task_group() -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                channel = await bitget_transports.anyio.connect(KEY, url=server.url).open(nursery)
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                await channel.aclose()

        with nothing_left():
            trio.run(main)


@without_trio
def test_a_task_group_without_start_soon_is_refused(flavour: Flavour) -> None:
    async def scenario(connect: Connect) -> None:
        opener: Any = connect(KEY, url="ws://127.0.0.1:9/")
        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(ValidationError, match="on asyncio, leave it out"):
                await opener.open(tasks)

    flavour.run(tidy(scenario))


@awaited
def test_a_channel_ends_with_the_task_group_that_it_was_given(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url, config=UNHURRIED)
            tasks = anyio.create_task_group()
            await tasks.__aenter__()
            channel: Channel = await opener.open(tasks)
            await abandoned_cancel(channel)
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)
            assert isinstance(outcome := channel.events.take(), Unresolved)
            assert outcome.sent
            await channel.aclose()

        with nothing_left():
            flavour.run(tidy(scenario))


@without_trio
def test_a_loop_that_ends_first_warns_and_gives_the_outcomes(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)

        async def scenario(connect: Connect) -> Channel:
            opener: Any = connect(KEY, url=server.url)
            channel: Channel = await opener.open()
            await abandoned_cancel(channel)
            return channel

        with nothing_left():
            with pytest.warns(ResourceWarning, match="await channel.aclose"):
                channel = flavour.run(scenario)
            outcome = channel.events.take()
            assert isinstance(outcome, Unresolved)
            assert (outcome.id, outcome.sent) == ("open", True)
            assert isinstance(channel.events.take(), Closed)
            assert channel.events.take() is None
            del channel


def _ignore(_loop: object, _context: object) -> None:
    """Take the place of a loop's exception handler."""


@pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("framing", ["websockets", "picows"])
@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_loop_closed_with_pending_tasks_gives_the_outcomes(
    session: bool, cancelled: bool, framing: Any, new_loop: Callable[[], Any]
) -> None:
    loop = new_loop()
    loop.set_exception_handler(_ignore)
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)
        to = bitget_transports.asyncio
        opener: Any = (to.open_session if session else to.connect)(
            KEY, url=server.url, framing=framing
        )

        async def begin() -> tuple[Channel, asyncio.Task[Any]]:
            channel: Channel = await opener.open()
            task = asyncio.create_task(channel.cancel(orders(1)[0], "open"))
            while not server.exchange.log:
                await asyncio.sleep(0.001)
            if cancelled:
                task.cancel()
                await asyncio.wait([task])
            return channel, task

        channel, task = loop.run_until_complete(begin())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # uvloop's, for its transport
            loop.close()
        with pytest.warns(ResourceWarning, match="await channel.aclose"):
            events = [channel.events.take()]
        while (event := channel.events.take()) is not None:
            events.append(event)
        (outcome,) = (event for event in events if isinstance(event, Unresolved))
        assert (outcome.id, outcome.sent, outcome.why) == ("open", True, WhyUnresolved.INTERRUPTED)
        assert isinstance(events[-1], Ended if session else Closed)
        with pytest.raises(LocalProtocolError, match="event loop"):
            asyncio.run(channel.cancel(orders(1)[0]))
        del channel, task
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, for its transport
            gc.collect()


def test_a_channel_that_is_collected_after_its_loop_warns() -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # it logs the task of the channel
    with exchange_in_thread(fast_exchange()) as server:
        loop.run_until_complete(bitget_transports.asyncio.connect(KEY, url=server.url).open())
        loop.close()
        with warnings.catch_warnings(record=True, action="always") as caught:
            gc.collect()
        assert any("await channel.aclose" in str(warning.message) for warning in caught)


@awaited
def test_a_failure_of_the_task_ends_the_channel_and_is_raised_once(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ZeroDivisionError("mine")
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)

        async def scenario(connect: Connect) -> None:
            async with somewhere(flavour) as tasks:
                opener: Any = connect(KEY, url=server.url, config=UNHURRIED)
                channel: Channel = opener._channel()
                opener._channel = lambda: channel
                running = channel._driver.running

                @asynccontextmanager
                async def fails() -> AsyncGenerator[None]:
                    async with running():
                        yield
                        raise mine

                monkeypatch.setattr(channel._driver, "running", fails)
                assert await opener.open(tasks) is channel
                await abandoned_cancel(channel)
                with pytest.raises(ZeroDivisionError) as raised:
                    await channel.aclose()
                assert raised.value is mine
                assert isinstance(channel.events.take(), Accepted | Unresolved)
                await channel.aclose()

        with nothing_left():
            flavour.run(tidy(scenario))


@awaited
def test_a_channel_that_was_lost_needs_no_closing(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange()) as server:
        server.inject(Fault.DROP_BEFORE)

        async def scenario(connect: Connect) -> None:
            opener: Any = connect(KEY, url=server.url)
            async with somewhere(flavour) as tasks:
                channel: Channel = await opener.open(tasks)
                await channel.cancel(orders(1)[0])
                assert [type(event) async for event in channel.events] == [Closed]
            await no_task_left(flavour)

        with nothing_left():
            flavour.run(scenario)


# --- pytest ---


@pytest.fixture
def url() -> Generator[str]:
    with exchange_in_thread(fast_exchange(1)) as server:
        yield server.url


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def channel(anyio_backend: str, url: str) -> AsyncGenerator[Channel]:
    async with anyio.create_task_group() as tasks:
        channel = await bitget_transports.anyio.connect(KEY, url=url).open(tasks)
        yield channel
        await channel.aclose()


async def test_a_fixture_of_anyio_yields_a_channel(channel: Channel) -> None:
    assert isinstance(await channel.cancel(orders(1)[0]), Accepted)


@pytest.mark.parametrize("to", [bitget_transports.asyncio, bitget_transports.anyio])
def test_a_fixture_whose_steps_are_tasks_yields_a_channel(url: str, to: Any) -> None:
    """As pytest-asyncio runs a fixture and its test: each step is a task of the same loop."""

    async def fixture() -> AsyncGenerator[Channel]:
        channel = await to.connect(KEY, url=url).open()
        yield channel
        await channel.aclose()

    async def cancel(channel: Channel) -> None:
        assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

    with nothing_left(), asyncio.Runner() as runner:
        steps = fixture()
        runner.run(cancel(runner.run(anext(steps))))
        with pytest.raises(StopAsyncIteration):
            runner.run(anext(steps))


# --- blocking ---


def test_a_blocking_channel_is_opened_and_closed() -> None:
    with nothing_left(), exchange_in_thread(fast_exchange(1)) as server:
        channel = bitget_transports.blocking.connect(KEY, url=server.url).open()
        assert isinstance(channel.cancel(orders(1)[0]), Accepted)
        channel.close()
        channel.close()
        assert not channel._driver._alive
        session = bitget_transports.blocking.open_session(KEY, url=server.url).open()
        session.close()
        assert session.state is SessionState.ENDED
        server.exchange.refuse_logins(1, "30012")
        with pytest.raises(LoginRefused):
            bitget_transports.blocking.connect(KEY, url=server.url).open()


def test_a_blocking_channel_moves_from_one_thread_to_another() -> None:
    opened: list[bitget_transports.blocking.Channel] = []
    with nothing_left(), exchange_in_thread(fast_exchange(1)) as server:
        opener = bitget_transports.blocking.connect(KEY, url=server.url)
        worker = threading.Thread(target=lambda: opened.append(opener.open()))
        worker.start()
        worker.join(BOUND)
        assert isinstance(opened[0].cancel(orders(1)[0]), Accepted)
        opened[0].close()
