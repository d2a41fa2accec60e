"""The words of a channel for `await`, the same on every event loop.

Rules of this file
- A cancel that was taken is answered with an outcome, whatever happens to the connection. Only misuse and no room raise.
- A wait that is cancelled is given up, not the request: its outcome comes as an event.
- No task is started here, and nothing is held while it waits.

It does not know which event loop it runs on: it is given the loop's kind of `Event`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Iterable, Iterator
from typing import Protocol, Self

from bitget_proto import (
    CancelOrder,
    LocalProtocolError,
    Outcome,
    Policy,
    Queued,
    SessionState,
    State,
)

from .driver import Driver
from .outcome_router import ChannelEvent, Waiter
from .set_module import set_module


class Flag(Protocol):
    """As an `anyio.Event`: set once or more often, and waited for by one."""

    def set(self) -> object: ...
    def wait(self) -> Awaitable[object]: ...


class AsyncDriver(Driver):
    """A driver on an event loop."""

    torn = False
    """Whether an exception has passed out of a step, and the end that follows was interrupted too."""

    @abstractmethod
    def flag(self) -> Flag:
        """A new one, of the loop's kind."""

    def interrupted(self) -> None:
        self.torn = True
        self.break_off("a step was interrupted")
        self.torn = False

    def end(self) -> None:
        if self.torn:
            self.interrupted()
        super().end()

    @abstractmethod
    def pause(self) -> Awaitable[object]:
        """One turn of the loop for the others."""


@set_module("bitget_transports")
class Channel:
    """A connection that is logged in: cancel orders, send frames of your own, read events. `connect` gives it.

    Use it within its event loop's thread, from as many tasks as you like.
    """

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self._inbox = driver.inbox
        self.events: Events = Events(driver)

    def __repr__(self) -> str:
        return f"<Channel {self.state.value}, {self.in_flight} in flight>"

    @property
    def state(self) -> State | SessionState:
        """Where the connection, or the session, is in its life."""
        return self._inbox.core.state

    @property
    def in_flight(self) -> int:
        """How many cancels have no outcome yet."""
        return self._inbox.core.in_flight

    @property
    def capacity(self) -> int:
        """How many cancels would be taken now: outcomes that nobody has read hold their places. 0 after the end."""
        return self._inbox.room

    async def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        """Cancel an order and wait for the outcome. `id`, `timeout` (seconds) and `urgent` are those of `Connection.cancel`.

        An `urgent` one leaves before all that wait and are not. On a channel that has ended the outcome is
        `Unresolved(sent=False)`. If this wait is cancelled the request is not: its outcome comes in `events`.

        Raises: NoRoom when `Config.max_in_flight` cancels are unanswered or unread; ValidationError for an order, id or
        timeout that makes no sense. In each case nothing has changed.
        """
        return await self._cancel(order, id, timeout, None, urgent=urgent)

    def cancel_many(self, orders: Iterable[CancelOrder], timeout: float | None = None) -> Outcomes:
        """Cancel many orders, as many at a time as there is room for: `async for outcome in channel.cancel_many(orders)`.

        Outcomes come in the order in which they become known; `outcome.order` says whose each is. Orders are taken from the
        iterable as there is room, and none after the loop is left or the wait cancelled: outcomes of those taken before
        then come in `events`. On a channel that has ended the outcome is `Unresolved(sent=False)` for all that remain.

        Outcomes that have come and are not fetched hold their places. So do not begin one of these inside the loop over
        another one, in one and the same task: when the outer one holds every place, the inner one waits for room that only
        this task could make.

        Raises: from the iteration, what `cancel` raises, and what the iterable raises; outcomes of orders taken before then
        come in `events`. NoRoom only when outcomes that nobody has read in `events` hold every place.
        """
        return Outcomes(self._driver, iter(orders), timeout, None)

    async def _cancel(
        self,
        order: CancelOrder,
        id: str | None,
        timeout: float | None,
        policy: Policy | None,
        *,
        urgent: bool,
    ) -> Outcome:
        driver, inbox = self._driver, self._inbox
        flag, now = driver.flag(), driver.now()
        waiter = Waiter(flag.set)
        try:
            inbox.cancel(waiter, order, now, id, timeout, policy, urgent=urgent)
            driver.drain(now)
            await flag.wait()
            return inbox.pop_outcome(waiter)
        except BaseException:
            inbox.abandon(waiter)
            raise

    async def withdraw(self, id: str) -> bool:
        """Take back a cancel that has not left: its outcome is `Unresolved(sent=False)` with WITHDRAWN, where it is waited for.

        False, and nothing has changed, when it has left, or when no cancel of this id is open. To know the id, pass one to
        `cancel`.
        """
        now = self._driver.now()
        withdrawn = self._inbox.core.withdraw(id, now)
        self._driver.drain(now)
        return withdrawn

    async def send(self, text: str) -> None:
        """Send a frame of your own on the same socket, after the login: a subscription, an order to be placed.

        Answers and pushes come in `events`. While cancels wait too, own frames get one place in ten. Send nothing that carries
        the `id` of a cancel, and cancel with no `id` of a frame of yours: an answer is matched by its id alone.

        Raises: as `Connection.send`, and nothing has changed.
        """
        now = self._driver.now()
        self._inbox.core.send(text, now)
        self._driver.drain(now)

    async def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """End the channel in good order, and wait until it has. Leaving the context does the same.

        With `queued="drop"` what was not sent is `Unresolved(sent=False)` at once, and what was sent has `within` seconds to be
        answered (without it `Config.drain_timeout`). With `queued="send"` what is queued leaves first, for at most `within`
        seconds (without it `Config.queue_timeout`), and nothing more is taken. A second call waits for the same end; one with
        "drop" after one with "send" ends the channel now.

        Raises: as `Connection.close`, and nothing has changed.
        """
        driver, inbox = self._driver, self._inbox
        now = driver.now()
        inbox.close(now, queued, within)
        driver.drain(now)
        while inbox.closed is None:
            await news(driver)


@set_module("bitget_transports")
class SessionChannel(Channel):
    """A channel that stays connected: cancels outlive dropped connections. `open_session` gives it.

    `events` tell when it is `Up` and `Down`. Subscriptions end with their connection: send them again at each `Up`.
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
        """As `Channel.cancel`, and `policy` says what becomes of the cancel when its connection ends after it was sent and
        before it was answered: REPORT (the default of `SessionConfig.policy`) gives `Unresolved(sent=True)`, RESEND sends it
        again.

        Raises: as `Channel.cancel`.
        """
        return await self._cancel(order, id, timeout, policy, urgent=urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> Outcomes:
        """As `Channel.cancel_many`, with a policy as `cancel` has."""
        return Outcomes(self._driver, iter(orders), timeout, policy)


class Outcomes:
    """What `cancel_many` gives: outcomes, as they come. Leaving the loop early leaves the requests alone."""

    # Nothing may refer to this but who iterates: when the loop is left it must go at once, not when the collector comes.

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
        self._waiter = Waiter(_nobody, orders)
        self._iterated = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        driver, waiter = self._driver, self._waiter
        inbox = driver.inbox
        if self._iterated:
            raise LocalProtocolError(
                "these outcomes are awaited already: one task at a time, or a cancel_many for each"
            )
        self._iterated = True
        try:
            while not waiter.abandoned:
                more = driver.fill(waiter, self._timeout, self._policy)
                if more:
                    await driver.pause()
                if waiter.outcomes:
                    return inbox.pop_outcome(waiter)
                if more:
                    continue
                if waiter.orders is None and not waiter.due:
                    break
                flag = driver.flag()
                waiter.wake = flag.set
                if waiter.orders is not None:
                    inbox.listen(flag.set)
                try:
                    await flag.wait()
                finally:
                    inbox.unlisten(flag.set)
        except BaseException:
            self.close()
            raise
        finally:
            self._iterated = False
        raise StopAsyncIteration

    def close(self) -> None:
        """Take no more orders; what has not been fetched, and what is still to come, comes in `events`."""
        self._driver.inbox.abandon(self._waiter)
        self._waiter.wake()

    def __del__(self) -> None:
        self.close()


class Events:
    """What comes beside the outcomes that are waited for: `async for event in channel.events`, until after `Closed`."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    def __aiter__(self) -> Self:
        return self

    def take(self) -> ChannelEvent | None:
        """The oldest event that nobody has read; None when there is none. It never waits."""
        return self._driver.inbox.pop_event()

    async def __anext__(self) -> ChannelEvent:
        inbox = self._driver.inbox
        while (event := inbox.pop_event()) is None:
            if inbox.closed is not None:
                raise StopAsyncIteration
            await news(self._driver)
        return event


async def is_up(driver: AsyncDriver) -> None:
    """Wait until a login is accepted.

    Raises: ConnectFailed when none ever will be.
    """
    while not driver.is_up():
        await news(driver)


async def news(driver: AsyncDriver) -> None:
    """Wait for the next event."""
    flag = driver.flag()
    driver.inbox.listen(flag.set)
    try:
        await flag.wait()
    finally:
        driver.inbox.unlisten(flag.set)


def _nobody() -> None:
    """Nobody waits yet."""
