"""What became of a channel's orders: a `Reconciler`, fed by the pushes of the channel and by REST.

There is no background task. The calls that wait for a `Final` do the work. One of them serves: it
sends the REST requests, and fires due timers, for all calls that wait. When it has its own `Final`,
or is cancelled, it hands over to another call.

Rules for changes:
- Each `Final` goes to the call that waits for it, and to `report`. If that call no longer
  waits, it goes to `report` alone.
- Nothing here waits. The transports wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from math import inf

import attrs

from bitget_proto import (
    Cancelled,
    CancelOrder,
    Closed,
    Dialect,
    Down,
    Event,
    Filled,
    Final,
    LookUp,
    LookUpReply,
    NoAnswer,
    OneOrder,
    OpenOrders,
    OrderPage,
    OrderStatus,
    OrderUpdate,
    Outcome,
    Question,
    Reconciler,
    RestCodec,
    RestRequest,
    SessionEvent,
    Subscribed,
    Unrecognised,
    Up,
    ValidationError,
    Wait,
)

from .account import Account
from .checks import safe_repr
from .clock import clock
from .errors import RestFailed
from .log import ChannelLog
from .rest import as_answer

NOT_FOLLOWED = "the channel does not follow orders: open it with orders=True"

_PAGE_INTERVAL = 0.1
"""Seconds between two pages of open orders: REST allows 10 a second for futures, 20 for others."""

_BY_SYMBOL_DELAY = 1.0
"""Seconds from a cancel by symbol to the first list of open orders. Our choice: the exchange
executes it "asynchronously", and REST may be about a second behind."""

_ATTEMPTS = 5
"""How many times a page of open orders is requested at most. Our choice."""

_FIRST_DELAY = 0.2
"""The wait before the second attempt, in seconds. Each further wait is twice as long."""


class FinalWaiter:
    """A call that waits for one or more finals. `wake` is called when one arrives."""

    __slots__ = ("expected", "finals", "wake")

    def __init__(self) -> None:
        self.wake: Callable[[], object] = _do_nothing
        self.finals: deque[Final] = deque()
        """The finals that have arrived and were not fetched."""
        self.expected = 0
        """The number of finals that are still to come."""

    def take(self) -> Iterator[Final]:
        """Yield the finals that have arrived."""
        while self.finals:
            yield self.finals.popleft()


class Confirmer:
    """Finds out what became of the orders of one channel."""

    def __init__(self, account: Account, dialect: Dialect) -> None:
        self.rest = RestCodec(dialect)
        self.until = inf
        """The time at which something is due again."""
        self.report: Callable[[Final], object] = _do_nothing
        """Called with each `Final`, after it was delivered."""
        self.exchange_time: Callable[[], float | None] = _do_nothing
        """Returns the exchange's time; None while the wall clock is used instead."""
        self.stamp_refused: Callable[[], object] = _do_nothing
        """Called when the exchange refused the timestamp of a request."""
        self.server_time: tuple[float, float] | None = None
        """The exchange's time, as `asking_time` found it, and when that was."""
        self.check_rest: Callable[[], object] = _do_nothing
        """Raises ImportError if REST needs httpx and it is missing."""
        self._look_ups: deque[LookUp] = deque()
        """The look-ups that have not begun."""
        self._serving: FinalWaiter | None = None
        """The call that serves."""
        self.account = account
        self._reconciler = Reconciler()
        self._waiters: dict[int, FinalWaiter] = {}
        self._noting: list[Ended] = []

    # --- calls that wait ---

    def confirm(self, outcome: Outcome, waiter: FinalWaiter) -> None:
        """Find out what became of the order of this outcome, for this waiter.

        Raises: the same as `Reconciler.track`, and as `RestCodec.look_up` for an order that REST
        cannot name; ImportError without httpx.
        """
        self.check_rest()
        if isinstance(outcome, Outcome):
            self.rest.look_up(OneOrder(outcome.order))
        number = self._reconciler.track(outcome, clock())
        self._waiters[number] = waiter
        waiter.expected += 1
        self._advance()

    def stop_waiting(self, waiter: FinalWaiter) -> None:
        """Stop waiting, and let another call serve if this one did."""
        waiter.expected, waiter.wake = 0, _do_nothing
        waiter.finals.clear()
        for number in [number for number, other in self._waiters.items() if other is waiter]:
            del self._waiters[number]
        self.stop_serving(waiter)

    def may_serve(self, waiter: FinalWaiter) -> bool:
        """Return whether this call serves. It begins to serve if no other call does."""
        if self._serving is None:
            self._serving = waiter
        return self._serving is waiter

    def stop_serving(self, waiter: FinalWaiter) -> None:
        """Let another call serve if this one did."""
        if self._serving is waiter:
            self._serving = None
            for other in self._waiters.values():
                if other is not waiter:
                    other.wake()
                    break

    # --- what has happened ---

    def saw(self, event: Event | SessionEvent) -> None:
        """Learn from an event of the channel."""
        now = clock()
        if isinstance(event, OrderUpdate):
            for ended in self._noting:
                ended.saw(event)
            self._reconciler.pushed(event, now)
        elif isinstance(event, Subscribed):
            self._reconciler.up(now)
        elif isinstance(event, (Closed, Down, Up)):
            # `Up`: the pushes of the previous link have ended, maybe without a `Down`.
            self._reconciler.down(now)
        elif isinstance(event, Unrecognised) and event.malformed is not None:
            # It may have been a push, such as one that is too long.
            self._reconciler.down(now)
            self._reconciler.up(now)
        else:
            return
        self._advance()

    def next_look_up(self) -> LookUp | None:
        """Fire what is due, and return the next look-up to send; None if there is none now."""
        if self.until <= clock():
            self._reconciler.handle_timeout(max(clock(), self.until))
            self._advance()
        return self._look_ups.popleft() if self._look_ups else None

    @contextmanager
    def noting_ends(self) -> Generator[Ended]:
        """While this context is open, note which orders the pushes show as ended."""
        ended = Ended()
        self._noting.append(ended)
        try:
            yield ended
        finally:
            self._noting.remove(ended)

    # --- requests ---

    @contextmanager
    def asking(self, look_up: LookUp) -> Generator[PendingRequest]:
        """Report to the reconciler what became of a look-up. An exception inside is no answer."""
        pending = PendingRequest(self.rest.look_up(look_up.question))
        try:
            yield pending
            reply = self.read(look_up.question, pending.answer)
        except Exception as error:  # noqa: BLE001 - no answer, whatever the reason
            self._failed(look_up, self.account.why(error))
        except BaseException:
            self._failed(look_up, "the call that asked was cancelled")
            raise
        else:
            self._reconciler.looked_up(look_up.number, reply, clock())
            self._advance()

    @contextmanager
    def cancelling_by_symbol(
        self, request: RestRequest, log: ChannelLog
    ) -> Generator[PendingRequest]:
        """Send the request to cancel by symbol. If it fails, log why: the list of open orders shows
        what it has done.
        """
        pending = PendingRequest(request)
        try:
            yield pending
            failure = self.rest.read_taken(*as_answer(pending.answer))
        except Exception as error:  # noqa: BLE001 - no answer, whatever the reason
            failure = NoAnswer(self.account.why(error))
        if failure is not None:
            log.not_cancelled_by_symbol(failure.reason)

    @contextmanager
    def asking_time(self) -> Generator[PendingRequest]:
        """Set `server_time` from a request made inside. An exception inside counts as no answer."""
        pending, began = PendingRequest(self.rest.server_time()), clock()
        try:
            yield pending
            found = self.rest.read_server_time(*as_answer(pending.answer))
        except Exception:  # noqa: BLE001 - no answer, whatever the reason
            found = None
        if found is not None:
            self.server_time = found / 1000, (began + clock()) / 2

    def signed(self, request: RestRequest) -> dict[str, str]:
        """Return the headers of a request, signed with the current time.

        Raises: RestFailed if the wall clock fails.
        """
        return self.account.sign_rest(request, self.exchange_time())

    def read(self, question: Question, answer: object) -> LookUpReply:
        """Return what the answer to a question says.

        Raises: ValidationError if it is not a status and a body.
        """
        reply = self.rest.read_look_up(question, *as_answer(answer))
        if not isinstance(reply, NoAnswer):
            return reply
        if reply.stamp_refused:
            self.stamp_refused()
        return attrs.evolve(reply, reason=self.account.redactor.hide(reply.reason))

    # --- private ---

    def _advance(self) -> None:
        """Deliver what the reconciler has found out, and note what it asks next."""
        while not isinstance(output := self._reconciler.poll(clock()), Wait):
            if isinstance(output, LookUp):
                self._look_ups.append(output)
                continue
            if (waiter := self._waiters.pop(output.number, None)) is not None:
                waiter.finals.append(output)
                waiter.expected -= 1
                waiter.wake()
            self.report(output)
        self.until = inf if output.until is None else output.until
        if self._serving is not None:
            self._serving.wake()

    def _failed(self, look_up: LookUp, reason: str) -> None:
        self._reconciler.failed(look_up.number, reason, clock())
        self._advance()


@attrs.define
class PendingRequest:
    """A request that is being sent."""

    request: RestRequest
    answer: object = None
    """The status and the body of the answer."""


class Listing:
    """Reads the open orders, page by page.

    Pass `settling=True` after a cancel by symbol.
    """

    def __init__(
        self, confirmer: Confirmer, question: OpenOrders, *, settling: bool = False
    ) -> None:
        self.orders: list[CancelOrder] = []
        """The open orders of the pages that were read."""
        self.complete = False
        self.delay = _BY_SYMBOL_DELAY if settling else 0.0
        """Seconds to wait before the next page, or before the same one again."""
        self._confirmer = confirmer
        self._question = question
        self._failures = 0

    @contextmanager
    def asking(self) -> Generator[PendingRequest]:
        """Read one page.

        Raises: RestFailed after the last attempt.
        """
        pending = PendingRequest(self._confirmer.rest.look_up(self._question))
        try:
            yield pending
            page = self._confirmer.read(self._question, pending.answer)
        except Exception as error:  # noqa: BLE001 - no answer, whatever the reason
            page = NoAnswer(self._confirmer.account.why(error))
        if isinstance(page, OrderPage):
            self._add(page)
        else:
            self._fail(page.reason if isinstance(page, NoAnswer) else "not a list")

    def _add(self, page: OrderPage) -> None:
        self.delay, self._failures = _PAGE_INTERVAL, 0
        self.orders += [
            CancelOrder(
                order.inst_id,
                order.order_id,
                None if order.order_id else order.client_oid,
                order.inst_type,
            )
            for order in page.orders
        ]
        self.complete = page.next_page is None
        self._question = attrs.evolve(self._question, page=page.next_page)

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if self._failures == _ATTEMPTS:
            raise RestFailed(
                f"the open orders could not be read after {_ATTEMPTS} attempts: {reason}"
            )
        self.delay = _FIRST_DELAY * 2 ** (self._failures - 1)


class Ended:
    """The orders that are known to have ended. REST may lag behind, and still list them as open."""

    def __init__(self) -> None:
        self._ids: set[str | None] = set()

    def add(self, final: Final) -> None:
        """Note what became of an order."""
        if isinstance(final, (Cancelled, Filled)) and final.order_id is not None:
            self._ids.add(final.order_id)

    def saw(self, update: OrderUpdate) -> None:
        """Learn from a push."""
        if update.status in (OrderStatus.CANCELLED, OrderStatus.FILLED):
            self._ids.add(update.order_id)

    def without(self, orders: list[CancelOrder]) -> list[CancelOrder]:
        """Return the orders that may be open."""
        ids = self._ids
        return [order for order in orders if order.order_id is None or order.order_id not in ids]


def check_rounds(rounds: object) -> None:
    """Check the argument `rounds` of `cancel_all`.

    Raises: ValidationError unless it is a whole number from 1 up.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValidationError(f"rounds must be a whole number from 1 up; got {safe_repr(rounds)}")


def _do_nothing(_: object = None) -> None:
    """Do nothing: the default."""
