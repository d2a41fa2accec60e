"""What the drivers on event loops share: the check of the caller's loop, waiting for events, and
the owner task of a channel that is used without `async with`.
"""

from __future__ import annotations

import asyncio
import warnings
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Protocol

from bitget_proto import Config, LocalProtocolError, RestCancel, ValidationError

from .account import Account
from .checks import safe_repr
from .driver import Driver
from .errors import ConnectFailed
from .limits import Limits
from .reporter import Observe
from .rest import SendRest
from .rest_cancels import RestCancels
from .single_link import Core


class Flag(Protocol):
    """Like an `anyio.Event`: set at least once, and awaited by one task."""

    def set(self) -> object: ...
    def wait(self) -> Awaitable[object]: ...


class TaskGroup(Protocol):
    """A trio nursery, or a task group of anyio."""

    def start_soon(self, run: Callable[[], Coroutine[Any, Any, None]], /) -> object: ...


class AsyncDriver(Driver):
    """A driver on an event loop."""

    recovery_pending = False
    """True while `break_off` has not finished: if it is itself interrupted, `end` runs it again."""

    last_step: Callable[[], Awaitable[None]] | None = None
    """Awaited when the channel has closed everything else."""

    rest_sender: SendRest | None = None
    """Sends the requests of `rest`."""
    ask_time: Callable[[], Awaitable[None]] | None = None
    """Requests the exchange's time by REST, and calls `time_answered`; None without REST."""

    owner: Owner | None = None
    """The task that keeps the channel open; None inside `async with`."""

    def __init__(
        self,
        core: Core,
        account: Account,
        limits: Limits | None,
        config: Config,
        current: Callable[[], object],
        observe: Observe | None = None,
    ) -> None:
        super().__init__(core, account, limits, config, observe)
        self._current = current
        """Returns the running event loop, or raises RuntimeError when none is running."""
        self.home = current()
        """The event loop of this driver."""

    @abstractmethod
    def flag(self) -> Flag:
        """Return a new flag for this event loop."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Dial and wait until a login is accepted; on exit close everything in bounded time."""

    def interrupted(self) -> None:
        self.recovery_pending = True
        self.break_off("a step was interrupted")
        self.recovery_pending = False

    def end(self) -> None:
        if self.recovery_pending:
            self.interrupted()
        super().end()

    @abstractmethod
    async def wait(self, flag: Flag, seconds: float) -> None:
        """Wait until the flag is set, for at most this many seconds."""

    @abstractmethod
    def bounded(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises TimeoutError when its body takes longer."""

    @abstractmethod
    def pause(self) -> Awaitable[object]:
        """Yield to the event loop once, so that other tasks can run."""

    @abstractmethod
    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a REST request in a task, which is cancelled after `LONGEST` seconds or at the end."""

    def send_rest(self, cancel: RestCancel) -> None:
        rest, send = self.rest, self.rest_sender
        if rest is not None and send is not None:
            rest.begin()
            self.spawn(partial(_ask_rest, rest, send, cancel))

    # --- the caller's event loop ---

    def check_loop(self) -> None:
        """Refuse a caller in another thread or event loop.

        Raises: LocalProtocolError.
        """
        try:
            here = self._current()
        except RuntimeError:
            here = None
        if here is not self.home:
            raise LocalProtocolError(
                "the channel was used outside of the event loop that opened it; it may be used only "
                "there: from another thread, pass the call to that loop "
                "(asyncio.run_coroutine_threadsafe, anyio.from_thread.run), or open a channel in "
                "this one"
            )

    def check_reader(self) -> None:
        """Like `check_loop`, but allow any caller to read the events of a channel that has ended. A
        channel whose event loop was closed ends here.
        """
        if self.router.closed is None and not self.end_without_loop():
            self.check_loop()

    def end_without_loop(self) -> bool:
        """End the channel if its event loop was closed first, and return whether it was."""
        if not isinstance(self.home, asyncio.AbstractEventLoop) or not self.home.is_closed():
            return False
        if self.router.closed is None:
            self.router.abandon_all()
            for link in self._links.values():
                with suppress(RuntimeError):  # the closed loop refuses
                    link.reset()
            self._links.clear()
            self.break_off("the event loop was closed")
            self.warn_unclosed()
        return True

    def warn_unclosed(self) -> None:
        """Warn that the event loop ended before the channel."""
        warnings.warn(
            "a channel was not closed before its event loop: await channel.aclose()",
            ResourceWarning,
            stacklevel=3,
            source=self,
        )


async def _ask_rest(rest: RestCancels, send: SendRest, cancel: RestCancel) -> None:
    with rest.asking(cancel) as pending:
        pending.answer = await send(cancel.request, rest.headers(cancel, pending))


class Owner:
    """One task that opens a driver and closes it after the end, so that the channel may be opened
    and closed in different tasks.

    A cancel scope must be left in the task that entered it, and `running` enters cancel scopes.
    """

    def __init__(self, driver: AsyncDriver) -> None:
        self.driver = driver
        self.finished = False
        """Whether every socket is closed and no task is left."""
        self._opened = driver.flag()
        self._failure: BaseException | None = None
        """The exception that ended the task, if any. `open` or `close` raises it, once."""
        self._task: asyncio.Task[None] | None = None
        self._unclosed = False
        """Whether the task was ended from outside, before the channel had ended."""

    async def open(self, task_group: TaskGroup | None) -> None:
        """Start the task, and wait until a login is accepted.

        Raises: ConnectFailed; LocalProtocolError without a task group where one is needed.
        """
        driver = self.driver
        if task_group is not None:
            if not callable(getattr(task_group, "start_soon", None)):
                raise ValidationError(
                    "task_group must be a trio nursery or an anyio task group; got "
                    f"{safe_repr(task_group)}: on asyncio, leave it out"
                )
            task_group.start_soon(self._run)
        elif isinstance(driver.home, asyncio.AbstractEventLoop):
            # Not `create_task`: an eager task factory would run it before `_task` is set.
            self._task = asyncio.Task(self._run(), loop=driver.home)
            self._task.add_done_callback(lambda _: self._task_done())
        else:
            raise LocalProtocolError(
                "open() got no task group, and on trio every task needs one: pass a nursery or an "
                "anyio task group that outlives the channel"
            )
        driver.owner = self
        try:
            await self._opened.wait()
        except BaseException:
            driver.end()  # the task closes the sockets
            raise
        self._raise_failure()

    async def close(self) -> None:
        """Wait until the task has closed everything: the channel has ended.

        Raises: what the task raised.
        """
        while not self.finished:
            await wait_for_event(self.driver)
        self._raise_failure()

    async def _run(self) -> None:
        driver, ended = self.driver, self.driver.flag()
        driver.router.on_end = ended.set
        try:
            async with driver.running():
                self._opened.set()
                try:
                    await ended.wait()
                except GeneratorExit:
                    driver.end_without_loop()
                    raise
                except BaseException:
                    self._unclosed = driver.router.closed is None
                    raise
        except Exception as error:  # noqa: BLE001 - raised by `open` or `close`
            self._finish(error)
        except BaseException as error:
            self._finish(error)
            if self._unclosed and self._task is not None:
                driver.warn_unclosed()
            raise
        else:
            self._finish(None)

    def _task_done(self) -> None:
        """The task has ended. If it was cancelled before its first step, it has run nothing."""
        if not self.finished:
            self._finish(asyncio.CancelledError())

    def _finish(self, failure: BaseException | None) -> None:
        self.finished, self._failure = True, failure
        if self.driver.router.closed is None:
            self.driver.end()
        self._opened.set()
        self.driver.router.wake_listeners()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if isinstance(failure, Exception):
            raise failure
        if failure is not None and not self.driver.first_login.accepted:
            raise ConnectFailed(
                "the task of the channel was cancelled before a login was accepted: open it in an "
                "event loop, or a task group, that is not about to end"
            ) from failure


async def wait_until_up(driver: AsyncDriver) -> None:
    """Wait until a login is accepted.

    Raises: ConnectFailed when no login will be accepted.
    """
    while not driver.is_up():
        if driver.waits_for_time and driver.ask_time is not None:
            await driver.ask_time()
        else:
            await wait_for_event(driver)


async def wait_for_event(driver: AsyncDriver) -> None:
    """Wait for the next event."""
    flag = driver.flag()
    driver.router.listen(flag.set)
    try:
        await flag.wait()
    finally:
        driver.router.unlisten(flag.set)
