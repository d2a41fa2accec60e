"""The API of the asynchronous channels, shared by asyncio and anyio.

- Every cancel that was taken gets an outcome, whatever happens to the connection. Only misuse and a
  lack of room raise.
- Cancelling the wait does not cancel the request: its outcome comes as an event.
- No lock is held while waiting. Only `Opener.open` starts a task.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

from bitget_proto import (
    CancelOrder,
    Final,
    InstType,
    LocalProtocolError,
    Outcome,
    Policy,
    Queued,
    SessionState,
    State,
)

from .async_driver import AsyncDriver, Owner, TaskGroup, wait_for_event
from .channel_events import ChannelEvent
from .checks import check_unused
from .confirmer import NOT_FOLLOWED
from .confirming import AsyncConfirming
from .outcome_router import Waiter
from .set_module import set_module


@set_module("bitget_transports")
class Channel:
    """A logged-in connection, from `connect`: cancel orders, send frames of your own, read events.

    Use it in its event loop, from any number of tasks: a call from another thread or loop raises
    LocalProtocolError. Only `state`, `in_flight` and `capacity`, and the events of a channel that
    has ended, may be read anywhere. A call that raises LocalProtocolError leaves the state
    unchanged.
    """

    def __init__(self, driver: AsyncDriver, confirming: AsyncConfirming | None = None) -> None:
        self._driver = driver
        self._router = driver.router
        self._confirming = confirming
        self.events: Events = Events(driver)

    def __repr__(self) -> str:
        return f"<Channel {self.state.value}, {self.in_flight} in flight>"

    @property
    def state(self) -> State | SessionState:
        """The state of the connection, or of the session."""
        return self._router.core.state

    @property
    def in_flight(self) -> int:
        """The number of cancels that have no outcome yet."""
        return self._router.core.in_flight

    @property
    def capacity(self) -> int:
        """The number of cancels that you can submit now; 0 after the end.

        An outcome keeps its place in `Config.max_in_flight` until it is read.
        """
        return self._router.room

    async def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        """Cancel an order, wait for the outcome, and return it.

        `id`, `timeout` (in seconds) and `urgent` mean the same as in `Connection.cancel`. An urgent
        cancel is sent before all queued cancels that are not urgent. On a channel that has ended,
        the outcome is `Unresolved(sent=False)`. If this call is cancelled, the request continues:
        its outcome comes in `events`.

        Raises: NoRoom when `Config.max_in_flight` cancels are unanswered or unread; ValidationError
        for an invalid order, id or timeout.
        """
        return await self._cancel(order, id, timeout, None, urgent=urgent)

    def cancel_many(
        self, orders: Iterable[CancelOrder], timeout: float | None = None
    ) -> OutcomeIterator:
        """Cancel many orders, as many at a time as there is room for:
        `async for outcome in channel.cancel_many(orders)`.

        Outcomes come as they become known; `outcome.order` is the order that each belongs to.
        Orders are taken from the iterable as there is room. None are taken after the loop is left
        or the wait is cancelled: outcomes of orders taken before then come in `events`. On a
        channel that has ended, the outcome of each remaining order is `Unresolved(sent=False)`.

        Outcomes that have arrived and were not fetched keep their places. So do not start a
        `cancel_many` inside the loop over another `cancel_many` in the same task: when the outer
        loop holds every place, the inner one waits for room that only this task could free.

        Raises: during iteration, what `cancel` raises, and what the iterable raises; outcomes of
        orders taken before then come in `events`. NoRoom only when unread outcomes in `events` hold
        every place.
        """
        self._driver.check_loop()
        return OutcomeIterator(self._driver, iter(orders), timeout, None)

    async def confirm(self, outcome: Outcome) -> Final:
        """Find out what became of the order of an outcome, and return it.

        It waits for a push, and then looks the order up by REST, for up to 60 s: see `Reconciler`.
        The outcome may come from another channel, but its request must have been sent. The channel
        may already have ended. Cancelling this call affects neither the order nor other calls.

        Raises: LocalProtocolError if the channel was opened without `orders=True`, or for
        `Unresolved(sent=False)`; ValidationError if it is not an outcome;
        ImportError if `rest` was not passed and httpx is not installed.
        """
        return await self._confirming_or_raise().confirm(outcome)

    def cancel_all(
        self,
        inst_type: InstType | None = None,
        inst_id: str | None = None,
        *,
        rounds: int = 3,
        by_symbol: bool = False,
    ) -> AsyncGenerator[tuple[Outcome, Final | None]]:
        """Cancel all open orders of a product line, or of one instrument:
        `async for outcome, final in channel.cancel_all(InstType.SPOT)`.

        It lists the open orders by REST, cancels each, confirms each, and lists again until no
        order is open, at most `rounds` times. So an order that was open after its cancel, or was
        placed meanwhile, is cancelled in the next round. `final` is None if the cancel was never
        sent. Without `inst_type`, it cancels spot orders on classic accounts, and the orders of all
        product lines on unified accounts.

        With `by_symbol=True` it begins with the exchange's own request to cancel all orders of an
        instrument, which is one request; a hundred cancels take 10 s. It waits 1 s, and then lists
        and cancels the orders that are left. The orders that this request has cancelled are not
        yielded. If the request fails, a warning is logged, and all orders are cancelled one by one.
        On classic accounts the request exists for spot only: see `RestCodec.cancel_by_symbol`.

        Raises: during iteration, RestFailed if the list cannot be read, and what `cancel` and
        `confirm` raise; ValidationError, before anything is sent, unless `rounds` is a whole number
        from 1 up, or if the exchange has no such cancel by symbol.
        """
        return self._confirming_or_raise().cancel_all(
            self.cancel_many, inst_type, inst_id, rounds, by_symbol=by_symbol
        )

    def _confirming_or_raise(self) -> AsyncConfirming:
        self._driver.check_loop()
        if self._confirming is None:
            raise LocalProtocolError(NOT_FOLLOWED)
        return self._confirming

    async def _cancel(
        self,
        order: CancelOrder,
        id: str | None,
        timeout: float | None,
        policy: Policy | None,
        *,
        urgent: bool,
    ) -> Outcome:
        driver, router = self._driver, self._router
        driver.check_loop()
        flag, now = driver.flag(), driver.now()
        waiter = Waiter(flag.set)
        try:
            router.cancel(waiter, order, now, id, timeout, policy, urgent=urgent)
            driver.drain(now)
            await flag.wait()
            return router.pop_outcome(waiter)
        except BaseException:
            router.abandon(waiter)
            raise

    async def withdraw(self, id: str) -> bool:
        """Withdraw a cancel that has not been sent. The call that waits for it returns
        `Unresolved(sent=False)` with WITHDRAWN.

        Return False, and change nothing, when it was sent already or when no cancel with this id is
        open. To know the id, pass one to `cancel`.
        """
        self._driver.check_loop()
        now = self._driver.now()
        withdrawn = self._router.core.withdraw(id, now)
        self._driver.drain(now)
        return withdrawn

    async def send(self, text: str) -> None:
        """Send a frame of your own on the same socket, after the login: a subscription, or an order
        to place.

        Answers and pushes come in `events`. While both cancels and your frames are queued, every
        tenth frame is one of yours. An answer is matched by its id alone: never use the same `id`
        for a frame of your own and for a cancel.

        Raises: the same as `Connection.send`.
        """
        self._driver.check_loop()
        now = self._driver.now()
        self._router.core.send(text, now)
        self._driver.drain(now)

    async def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """Close the channel and wait until it has ended. Leaving the context calls this, and so
        does `aclose`, which then waits until the sockets are closed.

        With `queued="drop"`, cancels that were not sent are `Unresolved(sent=False)` at once, and
        those that were sent have `within` seconds to be answered (default: `Config.drain_timeout`).
        With `queued="send"`, what is queued is sent first, for at most `within` seconds (default:
        `Config.queue_timeout`). In both cases the channel takes no more cancels. A second call only
        waits for the end, except that "drop" after "send" ends the channel at once.

        Raises: the same as `Connection.close`.
        """
        driver, router = self._driver, self._router
        driver.check_loop()
        now = driver.now()
        router.close(now, queued, within)
        driver.drain(now)
        while router.closed is None:
            await wait_for_event(driver)

    async def aclose(self) -> None:
        """Close a channel that `Opener.open` has opened, and wait until its sockets are closed too.

        It waits for the cancels in flight, as `close` does. If this call is cancelled, the channel
        ends at once.

        Raises: the exception that ended the channel's background task, if any; only once.
        """
        driver = self._driver
        driver.check_loop()
        try:
            await self.close()
            if driver.owner is not None:
                await driver.owner.close()
        except BaseException:
            driver.end()
            raise


@set_module("bitget_transports")
class SessionChannel(Channel):
    """A channel that stays connected, from `open_session`: cancels survive lost connections.

    `events` include `Up` and `Down`. Subscriptions end with their connection: send them again after
    each `Up`.
    """

    async def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        """Like `Channel.cancel`. `policy` says what happens if the connection ends after the cancel
        was sent and before it was answered: REPORT (the default of `SessionConfig.policy`) returns
        `Unresolved(sent=True)`, RESEND sends it again.

        Raises: the same as `Channel.cancel`.
        """
        return await self._cancel(order, id, timeout, policy, urgent=urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> OutcomeIterator:
        """Like `Channel.cancel_many`, with the `policy` of `cancel`."""
        self._driver.check_loop()
        return OutcomeIterator(self._driver, iter(orders), timeout, policy)


class OutcomeIterator:
    """The iterator of `cancel_many`. Leaving the loop early does not cancel the requests."""

    # Only the `async for` loop may hold a reference to this object: it must be freed as soon as the
    # loop is left, not by a later run of the garbage collector.

    def __init__(
        self,
        driver: AsyncDriver,
        orders: Iterator[CancelOrder],
        timeout: float | None,
        policy: Policy | None,
    ) -> None:
        self._driver = driver
        self._timeout = timeout
        self._policy = policy
        self._waiter = Waiter(_no_wake, orders)
        self._iterated = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        driver, waiter = self._driver, self._waiter
        driver.check_loop()
        router = driver.router
        if self._iterated:
            raise LocalProtocolError(
                "these outcomes are already awaited by another task: call cancel_many in each task"
            )
        self._iterated = True
        try:
            while not waiter.abandoned:
                more = driver.submit_orders(waiter, self._timeout, self._policy)
                if more:
                    await driver.pause()
                if waiter.outcomes:
                    return router.pop_outcome(waiter)
                if more:
                    continue
                if waiter.orders is None and not waiter.expected:
                    break
                flag = driver.flag()
                waiter.wake = flag.set
                if waiter.orders is not None:
                    router.listen(flag.set)
                try:
                    await flag.wait()
                finally:
                    router.unlisten(flag.set)
        except BaseException:
            self._close()
            raise
        finally:
            self._iterated = False
        raise StopAsyncIteration

    def close(self) -> None:
        """Take no more orders. Outcomes not fetched so far come in `events`."""
        self._driver.check_loop()
        self._close()

    def _close(self) -> None:
        self._driver.router.abandon(self._waiter)
        self._waiter.wake()

    def __del__(self) -> None:
        self._close()


class Events:
    """Events, and outcomes that no call waits for: `async for event in channel.events`.

    Iteration ends after `Closed`, or `Ended` for a session.
    """

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    def __aiter__(self) -> Self:
        return self

    def take(self) -> ChannelEvent | None:
        """Return the oldest unread event, or None when there is none. It never waits."""
        self._driver.check_reader()
        return self._driver.router.pop_event()

    async def __anext__(self) -> ChannelEvent:
        self._driver.check_reader()
        router = self._driver.router
        while (event := router.pop_event()) is None:
            if router.closed is not None:
                raise StopAsyncIteration
            await wait_for_event(self._driver)
        return event


AnyChannel = TypeVar("AnyChannel", bound=Channel)


@set_module("bitget_transports")
class Opener(AbstractAsyncContextManager[AnyChannel]):
    """Opens one channel: with `async with`, or with `open` where the channel is opened and closed
    in different functions or tasks.
    """

    def __init__(self, channel: Callable[[], AnyChannel]) -> None:
        self._channel = channel
        self._used = False
        self._context: AbstractAsyncContextManager[AnyChannel]

    async def open(self, task_group: TaskGroup | None = None) -> AnyChannel:
        """Connect, log in, and return the channel. Close it with `Channel.aclose`, in any task.

        One task keeps the channel open. An exception in that task ends the channel, and is raised
        by `Channel.aclose`, not by the task. On trio, pass the nursery or the anyio task group in
        which the task runs; it must outlive the channel. On asyncio no task group is needed. If the
        event loop ends before the channel is closed, the cancels in flight are `Unresolved`, and
        asyncio gives a ResourceWarning.

        Raises: the same as `connect` or `open_session`; LocalProtocolError on trio without a task
        group.
        """
        channel = self._make()
        await Owner(channel._driver).open(task_group)
        return channel

    async def __aenter__(self) -> AnyChannel:
        self._context = _entered(self._make())
        return await self._context.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, traceback)

    def _make(self) -> AnyChannel:
        check_unused(used=self._used)
        self._used = True
        return self._channel()


@asynccontextmanager
async def _entered(channel: AnyChannel) -> AsyncGenerator[AnyChannel]:
    async with channel._driver.running():
        yield channel
        await channel.close()


def _no_wake() -> None:
    """The `wake` of a call that does not wait yet."""
