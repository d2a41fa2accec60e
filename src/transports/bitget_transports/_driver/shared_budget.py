"""A `Budget` that is leased from a store, and the drivers whose connections share it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, Protocol
from weakref import WeakSet

from bitget_proto import Ask, Budget, Granted, Lease, StoreDown, StoreUp, Wait

from .clock import clock
from .log import log_store

CONNECT: Final = Ask(n=0, place="")
"""A question that books nothing. It is asked first, so that no cancel waits until the store is
connected.
"""


class Sharer(Protocol):
    """A driver whose connections share the budget."""

    until: float

    def waiting_for_grant(self) -> int: ...
    def drain(self, now: float) -> None: ...


class SharedBudget(Budget):
    """A budget with a lease. `own` cancels a second need no lease."""

    def __init__(self, account: str, per_second: int, own: int) -> None:
        super().__init__(own)
        self.lease = Lease(self, per_second)
        self.account = account
        self.sharers: WeakSet[Sharer] = WeakSet()

    @abstractmethod
    def drained(self) -> float:
        """Handle the end of a sharer's drain, and return when it must be drained again."""

    def report(self, error: Exception) -> None:
        """Log that the first, empty question failed. It only connects, and nothing waits for it."""
        log_store(self.account, StoreDown(reason=_reason(error)))

    def waiting(self) -> int:
        """Return the number of cancels that wait for a grant."""
        return sum(sharer.waiting_for_grant() for sharer in self.sharers)

    def advance(self) -> Ask | Granted | Wait:
        """Return the next thing that must be done."""
        while True:
            now = clock()
            self.lease.wanted(self.waiting(), now)
            output = self.lease.poll(now)
            if not isinstance(output, (StoreDown, StoreUp)):
                return output
            log_store(self.account, output)


class AsyncSharedBudget(SharedBudget):
    """A budget that a task serves, in the event loop of its sharers."""

    def __init__(self, account: str, per_second: int, own: int, wake: Callable[[], None]) -> None:
        super().__init__(account, per_second, own)
        self._wake = wake
        self._waiting = 0

    def drained(self) -> float:
        """Like `SharedBudget.drained`."""
        waiting = self.waiting()
        if waiting != self._waiting:
            self._waiting = waiting
            self._wake()
        return inf

    def debit(self, n: int, now: float, *, batch: bool = False) -> None:
        """Like `Budget.debit`."""
        super().debit(n, now, batch=batch)
        self._wake()

    async def serve(
        self,
        question: Callable[[Ask], Awaitable[tuple[float, str]]],
        news: Callable[[float | None], Awaitable[None]],
    ) -> None:
        """Lease what is wanted, until cancelled. `news` waits for a wake-up, or for a timeout."""
        try:
            await question(CONNECT)
        except Exception as error:  # noqa: BLE001 - whatever a client raises: it is logged
            self.report(error)
        while True:
            output = self.advance()
            if isinstance(output, Ask):
                try:
                    delay, place = await question(output)
                except Exception as error:  # noqa: BLE001 - whatever a client raises: it is logged
                    self.lease.failed(_reason(error), clock())
                else:
                    self.lease.granted(delay, place, clock())
            elif isinstance(output, Granted):
                for sharer in list(self.sharers):
                    sharer.drain(clock())
            else:
                await news(None if output.until is None else output.until - clock())


class BlockingSharedBudget(SharedBudget):
    """A budget that asks its store in the thread of its sharers, after each of their drains."""

    def __init__(
        self,
        account: str,
        per_second: int,
        own: int,
        question: Callable[[Ask], tuple[float, str]],
    ) -> None:
        super().__init__(account, per_second, own)
        self._question = question
        try:
            question(CONNECT)
        except Exception as error:  # noqa: BLE001 - whatever a client raises: it is logged
            self.report(error)

    def drained(self) -> float:
        """Like `SharedBudget.drained`."""
        while True:
            output = self.advance()
            if isinstance(output, Ask):
                self._ask(output)
            elif isinstance(output, Granted):
                now = clock()
                for sharer in self.sharers:
                    sharer.until = now
                return now
            else:
                return inf if output.until is None else output.until

    def _ask(self, ask: Ask) -> None:
        try:
            delay, place = self._question(ask)
        except Exception as error:  # noqa: BLE001 - whatever a client raises: it is logged
            self.lease.failed(_reason(error), clock())
        except BaseException:
            self.lease.failed("interrupted", clock())
            raise
        else:
            self.lease.granted(delay, place, clock())


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
