"""The blocking transport's driver: it waits in a selector, in the caller's thread, and knows what an interrupted call has torn.

Rules of this file
- All waiting is one call of the selector, in `turn`, and bounded: to open, to write, to close.
- An exception may come from outside at any moment, as Ctrl-C does. While it waits, that interrupts the wait and nothing else. A
  step (of the core, a link, the selector's table) is torn by it, and the channel ends at its next use: see `mend`. The usual
  way pays nothing for this.
- Who is in the middle of a step holds the driver: `held` refuses a second caller.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from math import inf
from typing import Self, TypeVar

from bitget_proto import CancelOrder, Config, LocalProtocolError, Policy, ValidationError

from .._driver.checks import safe_repr
from .._driver.driver import Account, Driver, Jitter
from .._driver.exception_origin import is_callers, suppress_ours
from .._driver.limits import Limits
from .._driver.outcome_router import Waiter
from .._driver.single_link import Core
from .._driver.sockets import check_sock
from ._socket_link import SocketLink

T = TypeVar("T")

_IN_USE = "in use"
_TORN = "torn"

_LONGEST = 3600.0
"""Seconds that a selector is asked to wait at most: those of the system take no more than some weeks."""


class Orders:
    """The caller's orders. They are asked when nothing is half done: meanwhile the channel is free."""

    def __init__(self, driver: BlockingDriver, orders: Iterator[CancelOrder]) -> None:
        self._driver = driver
        self._orders = orders

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CancelOrder:
        driver = self._driver
        driver.release()
        order = next(self._orders)
        if driver.held:
            driver.check_free()
        driver.held = _IN_USE
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
        jitter: Jitter | None = None,
    ) -> None:
        super().__init__(core, account, limits, config, jitter)
        check_sock(sock)
        if not callable(selector):
            raise ValidationError(
                f"selector must make a selector, as selectors.DefaultSelector; got {safe_repr(selector)}"
            )
        self._sock = sock
        self._selector = selector()
        self._alive: list[SocketLink] = []
        """The links whose sockets are not closed."""
        self.armed = -inf
        self.held = ""
        """Why nobody may go on: `_IN_USE`, `_TORN`; empty when one may."""

    @contextmanager
    def running(self, up_timeout: float | None = None) -> Generator[None]:
        """Dial, and wait until a login is accepted; at the end close everything, bounded."""
        try:
            deadline = inf if up_timeout is None else self.now() + up_timeout
            self.tell(_nothing)
            while not self.is_up():
                if self.now() >= deadline:
                    raise self.not_up_in_time()
                self.turn(deadline)
            yield
        finally:
            try:
                self.check_free()
                self.end()
                while self._alive:
                    self._serve(inf)
            except BaseException:
                self.held = _TORN
                raise
            finally:
                self._drop()
                self._selector.close()

    def turn(self, deadline: float) -> None:
        """Wait for news, at most until the deadline; hand over what has arrived, bounded; then fire what is due."""
        # On the way of every cancel: what is usual is seen here, without a call.
        if self.held:
            self.check_free()
        try:
            self.held = _IN_USE
            if self.inbox.closed is None:
                self._serve(deadline if deadline < self.until else self.until)
                if self.now() >= self.until:
                    self.fire(self.now())
            if self.held is _IN_USE:
                self.held = ""
        except BaseException as error:
            self.held = _TORN if self.held and error is not self._jitter.raised else ""
            raise

    def tell(self, command: Callable[[], T]) -> T:
        """Give the core a command, and take out what comes of it; what the command gives.

        Raises: as the command; a refusal changes nothing.
        """
        self.held = _IN_USE
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
        """Take a cancel for this waiter, and take out what comes of it.

        Raises: as `Inbox.cancel`, and nothing has changed.
        """
        if self.held:
            self.check_free()
        # As `tell` does, without its calls: this is on the way of every cancel.
        self.held = _IN_USE
        try:
            now = self.now()
            self.inbox.cancel(waiter, order, now, id, timeout, policy, urgent=urgent)
            self.drain(now)
            if self.held is _IN_USE:
                self.held = ""
        except BaseException as error:
            self.mark_interrupted(error)
            raise

    def fill(self, waiter: Waiter, timeout: float | None, policy: Policy | None) -> bool:
        self.check_free()
        self.held = _IN_USE
        try:
            more = super().fill(waiter, timeout, policy)
            self.release()
        except BaseException as error:
            # The orders are asked before anything is begun: what they raise changes nothing.
            if waiter.abandoned:
                self.release()
            else:
                self.mark_interrupted(error)
            raise
        return more

    def check_free(self) -> None:
        """Refuse a second caller, and mend what is torn.

        Raises: LocalProtocolError.
        """
        if self.held:
            self.recover()
            if self.held:
                raise LocalProtocolError(
                    "the channel is in use, by another thread or by the code that this interrupts: one caller at a time"
                )

    def release(self) -> None:
        """The step is done. If another thread has left the context meanwhile, the driver is torn and stays so."""
        if self.held is _IN_USE:
            self.held = ""

    def mark_interrupted(self, error: BaseException) -> None:
        """An exception passes out of a step, which is torn by it; not by a refusal, which has changed nothing, nor by what the
        caller's jitter raises.
        """
        if error is self._jitter.raised or (
            isinstance(error, LocalProtocolError) and not is_callers(error)
        ):
            self.release()
        else:
            self.held = _TORN

    def recover(self) -> None:
        """End what is torn: nobody knows how far it came. Again, when this was interrupted: harmless."""
        if self.held is _TORN:
            self._drop()
            self.break_off("a call was interrupted in the middle of a step")
            self.held = ""

    def dial(self, number: int) -> SocketLink:
        link = SocketLink(self, number, self._sock, unwatch=self._unwatch, on_gone=self._forget)
        self._alive.append(link)
        return link

    def interrupted(self) -> None:
        """Nothing to do: who began the step tears it, see `tear`."""

    def rearm(self) -> None:
        """Nothing to do: `turn` looks at `until` each time, so that nothing is ever set too late."""

    # --- for the links ---

    def _unwatch(self, link: SocketLink) -> None:
        """The link's socket is about to change, or to be closed."""
        if link.watched and link.sock is not None:
            self._selector.unregister(link.sock)
            link.watched = 0

    def _forget(self, link: SocketLink) -> None:
        """The link is over, and its socket closed."""
        if link in self._alive:
            self._alive.remove(link)

    # --- inside ---

    def _serve(self, deadline: float) -> None:
        """Wait until a link can go on, or for the deadline; then let those go on that can."""
        ready: list[SocketLink] = []
        limited = False
        for link in self._alive:
            interest = link.interest
            if not interest:
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
            self.release()  # the wait alone is interrupted
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
        """Close every socket now, however far it is, without a word to the selector."""
        for link in list(self._alive):
            # First: the thread that is woken finds none.
            sock, link.sock = link.sock, None
            if sock is not None:
                with suppress_ours(OSError):
                    sock.shutdown(socket.SHUT_RDWR)  # wakes another thread that still waits for it
                sock.close()
        self._alive.clear()
        if self._sock is not None:
            self._sock.close()

    def _watch(self, link: SocketLink, interest: int) -> None:
        """Let the selector wait for this on the link's socket."""
        assert link.sock is not None  # noqa: S101 - it has an interest
        if link.watched:
            self._selector.modify(link.sock, interest, link)
        else:
            self._selector.register(link.sock, interest, link)
        link.watched = interest


def _nothing() -> None:
    """A command that asks for nothing: what the core has to say is taken out."""
