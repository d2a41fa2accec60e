"""The driver of the blocking transport. It waits in a selector, in the caller's thread, and
recovers from interrupted calls.

- All waiting happens in one call of the selector, in `_serve`. Opening, writing and closing are
  each bounded by a limit.
- An exception such as Ctrl-C may be raised at any moment. During the wait, it interrupts the wait
  and nothing else. During a step (of the core, a link, or the selector's table) it may leave the
  state inconsistent, and the channel ends at its next use: see `recover`.
- REST requests are sent between two turns, one at a time. An exception during a request interrupts
  that request and nothing else.
- `unusable` is set during a step, so that a second caller is refused.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from math import inf
from typing import Self, TypeVar

from bitget_proto import (
    CancelOrder,
    Config,
    LocalProtocolError,
    Policy,
    RestCancel,
    ValidationError,
)

from .._driver.account import Account
from .._driver.checks import safe_repr
from .._driver.driver import Driver
from .._driver.exception_origin import raised_by_caller, suppress_ours
from .._driver.limits import Limits
from .._driver.outcome_router import Waiter
from .._driver.reporter import Observe
from .._driver.rest import SendRestBlocking
from .._driver.single_link import Core
from .._driver.sockets import check_sock
from ._dial import Watched
from ._socket_link import SocketLink

T = TypeVar("T")

_IN_USE = "in use"
_INTERRUPTED = "interrupted"

_LONGEST = 3600.0
"""Maximum seconds for one wait of the selector: the system's selectors accept at most some weeks.
"""


class ReleasingOrders:
    """Iterates over the caller's orders, and releases the channel while the caller's iterator runs."""

    def __init__(self, driver: BlockingDriver, orders: Iterator[CancelOrder]) -> None:
        self._driver = driver
        self._orders = orders

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CancelOrder:
        driver = self._driver
        driver.release()
        order = next(self._orders)
        if driver.unusable:
            driver.check_free()
        driver.unusable = _IN_USE
        return order


class BlockingDriver(Driver):
    """Waits in a selector, in the caller's thread."""

    def __init__(
        self,
        core: Core,
        account: Account,
        limits: Limits | None,
        config: Config,
        selector: Callable[[], selectors.BaseSelector],
        sock: socket.socket | None = None,
        observe: Observe | None = None,
    ) -> None:
        super().__init__(core, account, limits, config, observe)
        check_sock(sock)
        if not callable(selector):
            raise ValidationError(
                "selector must be callable and make a selector, such as selectors.DefaultSelector; "
                f"got {safe_repr(selector)}"
            )
        self._sock = sock
        self._selector = selector()
        self._alive: list[Watched] = []
        """The links whose sockets are not closed, and their attempts to connect."""
        self.armed = -inf
        self.unusable = ""
        """Why no call may proceed: `_IN_USE` or `_INTERRUPTED`; empty when calls may."""
        self.last_step: Callable[[], None] | None = None
        """Called when the channel has closed everything else."""
        self.rest_sender: SendRestBlocking | None = None
        """Sends the requests of `rest`."""
        self._to_rest: RestCancel | None = None
        """The cancel whose REST request is about to be sent."""
        self.ask_time: Callable[[], None] | None = None
        """Requests the exchange's time by REST, and calls `time_answered`; None without REST."""
        self._stopped = False
        """Whether the selector and all sockets are closed."""

    @contextmanager
    def running(self) -> Generator[None]:
        """Dial and wait until a login is accepted; on exit close everything in bounded time."""
        try:
            self._start()
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Dial and wait until a login is accepted."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close everything in bounded time. A second call does nothing."""
        if self._stopped:
            return
        try:
            self.check_free()
            self.end()
            while self._alive:
                self._serve(inf)
        except BaseException:
            self.unusable = _INTERRUPTED
            raise
        finally:
            self._drop()
            self._selector.close()
            self._stopped = True
            if self.last_step is not None:
                self.last_step()

    def run_once(self, deadline: float) -> None:
        """Wait until something arrives or the deadline expires, and process one turn. Due timers
        fire after everything that had arrived was processed: see `Arrivals`.
        """
        # Every cancel passes here: the usual case is checked without a call.
        if self.unusable:
            self.check_free()
        try:
            self.unusable = _IN_USE
            if self.router.closed is None:
                if self._to_rest is not None:
                    self._ask_rest()
                    deadline = self.now()
                self._serve(deadline if deadline < self.until else self.until)
                if (now := self.now()) < self.until:
                    self.arrivals.restart()
                elif self.arrivals.timers_may_fire(1):
                    self.fire(now)
            if self.unusable is _IN_USE:
                self.unusable = ""
        except BaseException:
            self.unusable = _INTERRUPTED if self.unusable else ""
            raise

    def execute(self, command: Callable[[], T]) -> T:
        """Run a command of the core, handle its output, and return its result.

        Raises: the same as the command; a refusal changes nothing.
        """
        self.unusable = _IN_USE
        try:
            given = command()
            self.drain(self.now())
            self.release()
        except BaseException as error:
            self.mark_interrupted(error)
            raise
        return given

    def cancel(
        self,
        waiter: Waiter,
        order: CancelOrder,
        id: str | None,
        timeout: float | None,
        policy: Policy | None,
        *,
        urgent: bool,
    ) -> None:
        """Take a cancel for this waiter, and handle the output of the core.

        Raises: the same as `OutcomeRouter.cancel`.
        """
        if self.unusable:
            self.check_free()
        # Like `execute`, but inlined: every cancel passes here.
        self.unusable = _IN_USE
        try:
            now = self.now()
            self.router.cancel(waiter, order, now, id, timeout, policy, urgent=urgent)
            self.drain(now)
            if self.unusable is _IN_USE:
                self.unusable = ""
        except BaseException as error:
            self.mark_interrupted(error)
            raise

    def submit_orders(self, waiter: Waiter, timeout: float | None, policy: Policy | None) -> bool:
        self.check_free()
        self.unusable = _IN_USE
        try:
            more = super().submit_orders(waiter, timeout, policy)
            self.release()
        except BaseException as error:
            # The iterator of the orders runs before a step begins: what it raises changes nothing.
            if waiter.abandoned:
                self.release()
            else:
                self.mark_interrupted(error)
            raise
        return more

    def check_free(self) -> None:
        """Recover from an interrupted step, and refuse a second caller.

        Raises: LocalProtocolError.
        """
        if self.unusable:
            self.recover()
            if self.unusable:
                raise LocalProtocolError(
                    "the channel is in use, by another thread or by the code that this call "
                    "interrupts: allow one caller at a time"
                )

    def release(self) -> None:
        """End the step. If another thread has left the context meanwhile, the driver stays marked
        as interrupted.
        """
        if self.unusable is _IN_USE:
            self.unusable = ""

    def mark_interrupted(self, error: BaseException) -> None:
        """Mark the step as interrupted by this exception.

        A refusal changes nothing: after it the driver is free.
        """
        if isinstance(error, LocalProtocolError) and not raised_by_caller(error):
            self.release()
        else:
            self.unusable = _INTERRUPTED

    def recover(self) -> None:
        """End the channel after an interrupted step. If this is interrupted, call it again."""
        if self.unusable is _INTERRUPTED:
            self._drop()
            self.break_off("a call was interrupted in the middle of a step")
            self.unusable = ""

    def dial(self, number: int) -> SocketLink:
        link = SocketLink(self, number, self._sock, self)
        self.add(link)
        return link

    def send_rest(self, cancel: RestCancel) -> None:
        if self.rest is not None:
            self._to_rest = cancel
            self.rest.begin()

    def end(self) -> None:
        cancel, self._to_rest = self._to_rest, None
        if cancel is not None and self.rest is not None:
            self.rest.drop(cancel)
        super().end()

    def interrupted(self) -> None:
        """Do nothing: the method that began the step calls `mark_interrupted`."""

    def rearm(self) -> None:
        """Do nothing: `run_once` reads `until` each time."""

    # --- methods of `Watcher` ---

    def add(self, watched: Watched) -> None:
        """Like `Watcher.add`."""
        self._alive.append(watched)

    def unwatch(self, watched: Watched) -> None:
        """Like `Watcher.unwatch`."""
        if watched.watched and watched.sock is not None:
            self._selector.unregister(watched.sock)
            watched.watched = 0

    def forget(self, watched: Watched) -> None:
        """Like `Watcher.forget`."""
        if watched in self._alive:
            self._alive.remove(watched)

    # --- private ---

    def _ask_rest(self) -> None:
        """Send the REST request, wait for its answer, and report it."""
        # Whatever interrupts this, the request is not sent twice.
        cancel, self._to_rest = self._to_rest, None
        rest, send = self.rest, self.rest_sender
        if cancel is None or rest is None or send is None:
            return
        interrupted: BaseException | None = None
        try:
            with rest.asking(cancel) as pending:
                headers = rest.headers(cancel, pending)
                try:
                    pending.answer = send(cancel.request, headers)
                except BaseException as error:
                    interrupted = error
                    raise
        except BaseException as error:
            if error is interrupted:
                self.release()  # only the wait was interrupted, and that is reported
            raise

    def _start(self) -> None:
        timeout = self.up_timeout
        deadline = inf if timeout is None else self.now() + timeout
        self.execute(_no_command)
        while not self.is_up():
            if self.now() >= deadline:
                raise self.first_login.timeout_error()
            if self.waits_for_time and self.ask_time is not None:
                self.ask_time()
            else:
                self.run_once(deadline)

    def _serve(self, deadline: float) -> None:
        """Wait until a link is ready or the deadline expires; then step the links that are ready."""
        ready: list[Watched] = []
        limited = False
        for link in self._alive:
            interest = link.interest
            if not interest:
                if interest is not None:
                    ready.append(link)
            elif interest != link.watched:
                self._watch(link, interest)
            if link.deadline < deadline:
                deadline, limited = link.deadline, True
        timeout = None
        if ready or deadline != inf:
            timeout = 0.0 if ready else deadline - self.now()
            if not 0.0 <= timeout <= _LONGEST:
                timeout = 0.0 if timeout < 0.0 else _LONGEST
        try:
            selected = self._selector.select(timeout)
        except BaseException:
            self.release()  # only the wait was interrupted
            raise
        for key, _ in selected:
            if key.data not in ready:
                ready.append(key.data)
        if limited:
            now = self.now()
            ready += [link for link in self._alive if now >= link.deadline and link not in ready]
        for link in ready:
            link.step()

    def _drop(self) -> None:
        """Close every socket now, in any state, without updating the selector."""
        for link in list(self._alive):
            # First, so that the thread that is woken finds no socket.
            sock, link.sock = link.sock, None
            if sock is not None:
                with suppress_ours(OSError):
                    sock.shutdown(socket.SHUT_RDWR)  # wakes another thread that still waits
                sock.close()
        self._alive.clear()
        if self._sock is not None:
            self._sock.close()

    def _watch(self, link: Watched, interest: int) -> None:
        """Let the selector wait for these events on the link's socket."""
        assert link.sock is not None  # noqa: S101 - it has an interest
        if link.watched:
            self._selector.modify(link.sock, interest, link)
        else:
            self._selector.register(link.sock, interest, link)
        link.watched = interest


def _no_command() -> None:
    """A command for `execute` that does nothing: only the output of the core is handled."""
