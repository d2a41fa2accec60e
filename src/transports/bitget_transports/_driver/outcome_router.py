"""Routes outcomes to the calls that wait for them, and everything else to the events of the
channel. All transports use it. Nothing here waits.

Rules for changes:
- Each outcome goes to one place: to the call that waits for it, or else to the events. No outcome
  is ever dropped: each keeps a place in the channel's capacity until it is read.
- Other events are kept up to a bound. Beyond it the oldest are dropped, and a `Dropped` gives their
  number.
- When a wait is abandoned, its requests continue. Outcomes that it did not fetch, and later ones,
  become events.
- An exception such as Ctrl-C may interrupt any call. So always add an outcome to its new container
  before removing it from the old one, and call nothing between removing an outcome and returning
  it: Python checks for signals at calls and in loops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, MutableSequence
from itertools import chain

from bitget_proto import (
    Accepted,
    CallerError,
    CancelOrder,
    Closed,
    Ended,
    Event,
    Final,
    LocalProtocolError,
    NoRoom,
    Outcome,
    Policy,
    Queued,
    Ready,
    Rejected,
    SessionEvent,
    SessionState,
    State,
    Unresolved,
    ValidationError,
    WhyClosed,
    WhyUnresolved,
)

from .channel_events import ChannelEvent, Dropped, chars
from .checks import check_timeout, safe_repr
from .exception_origin import raised_by_caller
from .limits import Limits
from .log import log_caller_error
from .reporter import Reporter
from .single_link import Core

_ENDING = frozenset({State.DRAINING, State.CLOSED, SessionState.CLOSING, SessionState.ENDED})


class Waiter:
    """A call that waits for the outcomes of one or more cancels. `wake` is called when one arrives."""

    __slots__ = ("abandoned", "expected", "orders", "outcomes", "wake")

    def __init__(
        self, wake: Callable[[], object], orders: Iterator[CancelOrder] | None = None
    ) -> None:
        self.wake = wake
        self.orders = orders
        """The orders that were not taken yet; None when there are no more."""
        # A list is created in half the time, and is as fast for a single outcome.
        self.outcomes: MutableSequence[Outcome] = [] if orders is None else deque()
        """The outcomes that have arrived and were not fetched."""
        self.expected = 0
        """The number of outcomes that are still to come."""
        self.abandoned = False


class OutcomeRouter:
    """Takes the cancels of one channel, and routes the events of its core."""

    def __init__(
        self, core: Core, limits: Limits, id_prefix: str, reporter: Reporter | None = None
    ) -> None:
        self.core = core
        self.closed: Closed | Ended | None = None
        """How the channel ended."""
        self.on_end: Callable[[], object] = _do_nothing
        """Called when the channel has ended."""
        self.closing: Queued | None = None
        """The `queued` argument of the last `close` call that had an effect; None if there was
        none."""

        self._id_prefix = id_prefix
        self._reporter = reporter
        self._max_events = limits.max_events
        self._max_chars = limits.max_event_chars
        self._waiting: dict[str, tuple[Waiter, CancelOrder, float]] = {}
        """For each id: the waiter, the order, and when the cancel was taken."""
        self._event_outcomes: deque[tuple[int, Outcome]] = deque()
        """The outcomes that became events because no call waits for them, with their numbers."""
        self._events: deque[tuple[int, Event | SessionEvent]] = deque()
        """The other events, with their numbers."""
        self._chars = 0
        """The number of characters from the exchange in these events."""
        self._sequence = 0
        """The number of the newest event, including outcomes."""
        self._dropped = 0
        self._unread = 0
        """The number of outcomes that were not fetched, in waiters and in events."""
        self._cancels_after_end = 0
        self._listeners: set[Callable[[], object]] = set()

    # --- state ---

    @property
    def room(self) -> int:
        """The number of cancels that would be taken now. Unread outcomes keep their places."""
        return max(0, self.core.capacity - self._unread)

    @property
    def takes_cancels(self) -> bool:
        """Whether cancels are taken, now or when there is room again."""
        return self.closing is None and self.core.state not in _ENDING

    # --- cancels ---

    def cancel(
        self,
        waiter: Waiter,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> None:
        """Submit a cancel on behalf of this waiter. If the channel takes no more cancels, the
        waiter immediately gets `Unresolved(sent=False)`, not an exception.

        Raises: the same as `Connection.cancel`, except that the end of the channel is not an error.
        """
        if self._unread and not self.room and self.takes_cancels:
            raise NoRoom(
                f"{self._unread} unread outcomes hold the places of Config.max_in_flight: read "
                "channel.events"
            )
        try:
            taken = self.core.cancel(order, now, id, timeout, policy, urgent)
            self._waiting[taken] = (waiter, order, now)
        except LocalProtocolError as error:
            if self.takes_cancels or raised_by_caller(error):
                raise
        else:
            waiter.expected += 1
            return
        outcome = self._not_sent(order, now, id, timeout)
        self._unread += 1
        waiter.outcomes.append(outcome)
        waiter.wake()
        self.report(outcome)

    def submit_next_order(
        self, waiter: Waiter, now: float, timeout: float | None, policy: Policy | None = None
    ) -> bool:
        """Submit the next of the waiter's orders if there is room, and return whether one was
        taken.

        Raises: the same as `cancel`, and what the iterator of the orders raises. NoRoom only when
        waiting would not help, because unread outcomes hold every place.
        """
        if waiter.orders is None:
            return False
        if self.takes_cancels:
            only_events_hold_places = (
                not self.core.in_flight and len(self._event_outcomes) >= self._unread
            )
            if not self.room and not (only_events_hold_places and not waiter.outcomes):
                return False
        elif waiter.outcomes:
            # The channel has ended: make one outcome at a time, so that a huge iterable does not
            # fill memory.
            return False
        try:
            order = next(waiter.orders)
        except StopIteration:
            waiter.orders = None
            return False
        except BaseException:
            # Raised by the caller's iterator: it ends this wait and nothing else.
            waiter.abandoned = True
            raise
        try:
            self.cancel(waiter, order, now, None, timeout, policy)
        except NoRoom as error:
            if raised_by_caller(error):
                raise
            what = repr(order) if isinstance(order, CancelOrder) else safe_repr(order)
            raise NoRoom(f"{error}. The iterable had yielded {what}, which was not taken") from None
        return True

    def pop_outcome(self, waiter: Waiter) -> Outcome:
        """Return the next outcome for this waiter, and free its place in the capacity."""
        if self._listeners:
            self.wake_listeners()
        outcomes = waiter.outcomes
        outcome = outcomes[0]
        self._unread -= 1
        del outcomes[0]
        return outcome

    def abandon(self, waiter: Waiter) -> None:
        """Abandon the wait but not the requests: outcomes not fetched, and later ones, become
        events.
        """
        waiter.abandoned = True
        waiter.orders = None
        while waiter.outcomes:
            self._sequence += 1
            self._event_outcomes += ((self._sequence, waiter.outcomes[0]),)
            del waiter.outcomes[0]
        self.wake_listeners()

    def close(self, now: float, queued: Queued, within: float | None) -> None:
        """Ask the core to close. A second call has an effect only when it changes "send" to "drop".

        Raises: the same as `Connection.close`.
        """
        if self.takes_cancels or (self.closing == "send" and queued == "drop"):
            self.core.close(now, queued, within)
            self.closing = queued

    # --- events ---

    def pop_event(self) -> ChannelEvent | None:
        """Return the oldest unread event, or None when there is none."""
        if self._dropped:
            dropped, self._dropped = Dropped(self._dropped), 0
            return dropped
        outcomes, events = self._event_outcomes, self._events
        if outcomes and (not events or outcomes[0][0] < events[0][0]):
            if self._listeners:
                self.wake_listeners()
            outcome = outcomes[0][1]
            self._unread -= 1
            del outcomes[0]
            return outcome
        return self._pop_oldest() if events else None

    def listen(self, wake: Callable[[], object]) -> None:
        """Call `wake` once: at the next event, at the end, or when there is room again."""
        self._listeners.add(wake)

    def unlisten(self, wake: Callable[[], object]) -> None:
        """Do not call `wake` any more."""
        self._listeners.discard(wake)

    def dispatch(self, event: Event | SessionEvent) -> None:
        """Dispatch an event from the core, and report it.

        `Closed` or `Ended` is reported before it is routed, so that a failure of `observe` precedes
        it in the events.
        """
        reporter = self._reporter
        if type(event) is Accepted and (reporter is None or reporter.observe is None):
            self._route(event)  # nearly always, there is nothing to report
        elif isinstance(event, (Closed, Ended)):
            self.report(event)
            self._route(event)
        else:
            self._route(event)
            self.report(event)

    def report(self, event: Event | SessionEvent | Final) -> None:
        """Report an event, or a `Final`, to the log and to `observe`."""
        failure = None if self._reporter is None else self._reporter.report(event)
        if failure is not None:
            self.dispatch(failure)

    def _route(self, event: Event | SessionEvent) -> None:
        # The usual type first: one comparison is faster than a search among several.
        if type(event) is Accepted or isinstance(event, (Accepted, Rejected, Unresolved)):
            self._unread += 1
            entry = self._waiting.get(event.id)
            if entry is None:
                self._add_outcome(event)
                return
            waiter = entry[0]
            if waiter.abandoned:
                self._add_outcome(event)
                del self._waiting[event.id]
                return
            waiter.outcomes.append(event)
            waiter.expected -= 1
            del self._waiting[event.id]
            waiter.wake()
            return
        if isinstance(event, Ready):
            self.wake_listeners()
            return
        if isinstance(event, CallerError):
            log_caller_error(event)
        self._sequence += 1
        self._events.append((self._sequence, event))
        self._chars += chars(event)
        while self._too_many():
            self._pop_oldest()
            self._dropped += 1
            if self._dropped == 1 and self._reporter is not None:
                self._reporter.log.dropped()
        if isinstance(event, (Closed, Ended)):
            self.closed = event
            self.on_end()
        self.wake_listeners()

    def settle_all(self, now: float, closed: Closed | Ended) -> None:
        """Report an outcome for each cancel that has none, then the end.

        The state of the core may be inconsistent, so the core is not called any more. Whether these
        cancels were sent is unknown. If this is interrupted, call it again.
        """
        waiters = {waiter for waiter, _, _ in self._waiting.values()}
        kept = [outcome for _, outcome in self._event_outcomes]
        reported = {
            (outcome.id, outcome.taken_at)
            for outcome in chain(kept, *(waiter.outcomes for waiter in waiters))
        }
        for id, (waiter, order, taken_at) in list(self._waiting.items()):
            if (id, taken_at) not in reported:
                self.dispatch(
                    Unresolved(
                        id=id,
                        order=order,
                        taken_at=taken_at,
                        sent_at=taken_at,  # the earliest possible time
                        resolved_at=now,
                        sent=True,
                        why=WhyUnresolved.INTERRUPTED,
                    )
                )
            # No more outcomes will arrive for this waiter.
            waiter.expected = 0
            self._waiting.pop(id, None)
        if self.closed is None:
            self.closed = next(
                (event for _, event in self._events if isinstance(event, (Closed, Ended))), None
            )
        if self.closed is None:
            self.dispatch(closed)
        # Repeated here, because `dispatch` may have been interrupted before these two calls.
        self.on_end()
        self.wake_listeners()

    def abandon_all(self) -> None:
        """Abandon every wait and wake none, because the event loop of the callers is closed."""
        self._listeners.clear()
        self.on_end = _do_nothing
        for waiter, _, _ in list(self._waiting.values()):
            self.abandon(waiter)

    def wake_listeners(self) -> None:
        """Call every `wake` that was passed to `listen`."""
        listeners, self._listeners = self._listeners, set()
        for wake in listeners:
            wake()

    # --- private ---

    def _pop_oldest(self) -> Event | SessionEvent:
        event = self._events[0][1]
        self._chars -= chars(event)
        del self._events[0]
        return event

    def _too_many(self) -> bool:
        """Return whether to drop an event. A single event is kept, however long it is."""
        count = len(self._events)
        return count > 1 and (
            (self._max_events is not None and count > self._max_events)
            or (self._max_chars is not None and self._chars > self._max_chars)
        )

    def _add_outcome(self, outcome: Outcome) -> None:
        self._sequence += 1
        self._event_outcomes.append((self._sequence, outcome))
        self.wake_listeners()

    def _not_sent(
        self, order: CancelOrder, now: float, id: str | None, timeout: float | None
    ) -> Outcome:
        """Return the outcome of a cancel that the channel no longer takes: the same as for a
        cancel that is still queued when the channel ends.
        """
        if isinstance(id, str) and id in self._waiting:
            raise ValidationError(
                f"the id {safe_repr(id)} is in flight: pass another id, or leave id out to have "
                "one generated"
            )
        if id is None:
            self._cancels_after_end += 1
            # No digit follows the prefix, so no id from the connection can be the same.
            id = f"{self._id_prefix}-{self._cancels_after_end}"
        self.core.codec.encode_cancel(order, id)  # Called only to validate `order` and `id`.
        if timeout is not None:
            check_timeout(timeout)
        lost = isinstance(self.closed, Closed) and self.closed.why in (
            WhyClosed.LOST,
            WhyClosed.NO_PONG,
        )
        return Unresolved(
            id,
            order,
            taken_at=now,
            sent_at=None,
            resolved_at=now,
            sent=False,
            why=WhyUnresolved.LOST if lost else WhyUnresolved.CLOSED,
        )


def _do_nothing() -> None:
    """The default `on_end`."""
