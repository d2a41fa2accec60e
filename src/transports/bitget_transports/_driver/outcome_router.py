"""Who waits for which outcome, and what comes that nobody waits for.

Rules of this file
- Each outcome goes to one place: to whoever waits for it, or else among the events. None is ever dropped: it holds a place in
  the channel's capacity until it is read.
- Other events are kept up to a bound; beyond it the oldest go, and a `Dropped` tells how many.
- Giving up a wait gives up nothing else: what the wait had not fetched, and what comes for it later, are events.
- An exception may come from outside at any call, as Ctrl-C does. So what is moved arrives before it leaves, and nothing is
  called between taking it out and returning it: signals are looked for where something is called, and in loops.
- Nothing here waits, wakes up by itself, or knows a socket.

All channels stand on it, whatever their colour: they differ in how one waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, MutableSequence
from itertools import chain
from typing import TypeAlias

import attrs

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Ended,
    Event,
    ExchangeError,
    GoingAway,
    LateReply,
    LinkClosed,
    LocalProtocolError,
    LoginRejected,
    NoRoom,
    Outcome,
    Policy,
    Queued,
    Ready,
    Rejected,
    SessionEvent,
    SessionState,
    State,
    Unrecognised,
    Unresolved,
    Up,
    ValidationError,
    WhyClosed,
    WhyUnresolved,
    encode_cancel,
)

from .checks import check_timeout, safe_repr
from .exception_origin import is_callers
from .limits import Limits
from .set_module import set_module
from .single_link import Core


@set_module("bitget_transports")
@attrs.frozen
class Dropped:
    """So many events are missing here: nobody read `channel.events`, and there were more than `Limits.max_events`, or than
    `Limits.max_event_chars` hold. Never outcomes.
    """

    n: int


ChannelEvent: TypeAlias = Event | SessionEvent | Dropped
"""What `channel.events` gives."""


_ENDING = frozenset({State.DRAINING, State.CLOSED, SessionState.CLOSING, SessionState.ENDED})


_WORDY = (ExchangeError, GoingAway, LateReply, LoginRejected)


def _chars(event: Event | SessionEvent) -> int:
    """How many characters of the exchange's an event holds."""
    if isinstance(event, Unrecognised):
        return len(event.text)
    return len(event.message) if isinstance(event, _WORDY) else 0


class Waiter:
    """Somebody who waits for the outcomes of one or of many cancels. `wake` is called when there is news."""

    __slots__ = ("abandoned", "due", "orders", "outcomes", "wake")

    def __init__(
        self, wake: Callable[[], object], orders: Iterator[CancelOrder] | None = None
    ) -> None:
        self.wake = wake
        self.orders = orders
        """Those that are not taken yet; None when there are no more."""
        # A list is made in half the time, and is as quick where there is one.
        self.outcomes: MutableSequence[Outcome] = [] if orders is None else deque()
        """Those that have come and are not fetched."""
        self.due = 0
        """How many are still to come."""
        self.abandoned = False


class Inbox:
    """The mail of one channel: takes cancels, and sorts what comes."""

    def __init__(self, core: Core, limits: Limits, id_prefix: str) -> None:
        self.core = core
        self.ready = False
        """Whether a login was accepted."""
        self.login_rejected: LoginRejected | None = None
        """How the last login was refused, when one was."""
        self.closed: Closed | Ended | None = None
        """How it ended."""
        self.closing: Queued | None = None
        """How `close` was called, when it was."""
        self.failed_dials = 0
        """How many links ended before a login was accepted, refused logins aside."""
        self.last_dial: LinkClosed | None = None
        """How the last of them ended."""

        self._id_prefix = id_prefix
        self._max_events = limits.max_events
        self._max_chars = limits.max_event_chars
        self._waiting: dict[str, tuple[Waiter, CancelOrder, float]] = {}
        """By its id, who waits for which cancel, and when it was taken."""
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._events: deque[tuple[int, Event | SessionEvent]] = deque()
        self._chars = 0
        """How many characters of the exchange's these events hold."""
        self._count = 0
        self._dropped = 0
        self._unread = 0
        """Outcomes that came and were not fetched, wherever they lie."""
        self._refused = 0
        self._listeners: set[Callable[[], object]] = set()

    # --- looking ---

    @property
    def room(self) -> int:
        """How many calls of `cancel` would be taken now: outcomes that nobody has read hold their places."""
        return max(0, self.core.capacity - self._unread)

    @property
    def taking(self) -> bool:
        """Whether it takes cancels, now or when there is room again."""
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
        """Take a cancel for this waiter. Once the connection has ended its outcome is there at once: it was not sent.

        Raises: as `Connection.cancel`, except that an end is an outcome; and nothing has changed.
        """
        if self._unread and not self.room and self.taking:
            raise NoRoom(
                f"{self._unread} outcomes that nobody has read hold the places of Config.max_in_flight: read channel.events"
            )
        try:
            taken = self.core.cancel(order, now, id, timeout, policy, urgent)
            self._waiting[taken] = (waiter, order, now)
        except LocalProtocolError as error:
            if self.taking or is_callers(error):
                raise
        else:
            waiter.due += 1
            return
        outcome = self._not_sent(order, now, id, timeout)
        self._unread += 1
        waiter.outcomes.append(outcome)
        waiter.wake()

    def take_next_order(
        self, waiter: Waiter, now: float, timeout: float | None, policy: Policy | None = None
    ) -> bool:
        """Take the next of the waiter's orders, if there is room; whether one was taken.

        Raises: as `cancel`, and what the orders' iterator raises. NoRoom only when waiting would not help: when outcomes that
        nobody has read hold every place.
        """
        if waiter.orders is None:
            return False
        if self.taking:
            clogged = not self.core.in_flight and len(self._outcomes) >= self._unread
            if not self.room and not (clogged and not waiter.outcomes):
                return False
        elif waiter.outcomes:
            return False  # one at a time: there may be many
        try:
            order = next(waiter.orders)
        except StopIteration:
            waiter.orders = None
            return False
        except BaseException:
            # The caller's own, which ends the wait and nothing else.
            waiter.abandoned = True
            raise
        try:
            self.cancel(waiter, order, now, None, timeout, policy)
        except NoRoom as error:
            if is_callers(error):
                raise
            what = repr(order) if isinstance(order, CancelOrder) else safe_repr(order)
            raise NoRoom(f"{error}. The orders gave {what}, and it was not taken") from None
        return True

    def pop_outcome(self, waiter: Waiter) -> Outcome:
        """The next outcome that has come for this waiter; its place in the capacity is free again."""
        if self._listeners:
            self._tell()
        outcomes = waiter.outcomes
        outcome = outcomes[0]
        self._unread -= 1
        del outcomes[0]
        return outcome

    def abandon(self, waiter: Waiter) -> None:
        """The wait is given up, the requests are not: what came unread, and what is still to come, are events now."""
        waiter.abandoned = True
        waiter.orders = None
        while waiter.outcomes:
            self._count += 1
            self._outcomes += ((self._count, waiter.outcomes[0]),)
            del waiter.outcomes[0]
        self._tell()

    def close(self, now: float, queued: Queued, within: float | None) -> None:
        """Ask the core to end in good order. Once it was asked, only the wish to drop what is queued is news.

        Raises: as `Connection.close`, and nothing has changed.
        """
        if self.taking or (self.closing == "send" and queued == "drop"):
            self.core.close(now, queued, within)
            self.closing = queued

    # --- events ---

    def pop_event(self) -> ChannelEvent | None:
        """The oldest event that nobody has read; None when there is none."""
        if self._dropped:
            dropped, self._dropped = Dropped(self._dropped), 0
            return dropped
        outcomes, events = self._outcomes, self._events
        if outcomes and (not events or outcomes[0][0] < events[0][0]):
            if self._listeners:
                self._tell()
            outcome = outcomes[0][1]
            self._unread -= 1
            del outcomes[0]
            return outcome
        return self._oldest() if events else None

    def listen(self, wake: Callable[[], object]) -> None:
        """Call this once: at the next event, at the end, or when room is made."""
        self._listeners.add(wake)

    def unlisten(self, wake: Callable[[], object]) -> None:
        """Call it no more."""
        self._listeners.discard(wake)

    def dispatch(self, event: Event | SessionEvent) -> None:
        """Take in what the core gave that is not the driver's to do."""
        # The usual one first: it is compared sooner than found among several.
        if type(event) is Accepted or isinstance(event, (Accepted, Rejected, Unresolved)):
            self._unread += 1
            entry = self._waiting.get(event.id)
            if entry is None:
                self._keep(event)
                return
            waiter = entry[0]
            if waiter.abandoned:
                self._keep(event)
                del self._waiting[event.id]
                return
            waiter.outcomes.append(event)
            waiter.due -= 1
            del self._waiting[event.id]
            waiter.wake()
            return
        if isinstance(event, Ready):
            self.ready = True
            self._tell()
            return
        if isinstance(event, LoginRejected):
            self.login_rejected = event
        elif isinstance(event, Up):
            self.ready = True
        elif (
            isinstance(event, LinkClosed)
            and not self.ready
            and event.why is not WhyClosed.LOGIN_REFUSED
        ):
            self.failed_dials += 1
            self.last_dial = event
        self._count += 1
        self._events.append((self._count, event))
        self._chars += _chars(event)
        while self._too_many():
            self._oldest()
            self._dropped += 1
        if isinstance(event, (Closed, Ended)):
            self.closed = event
        self._tell()

    def break_off(self, now: float, closed: Closed | Ended) -> None:
        """The core is torn and will be asked no more: each outcome that it owes is told here, then its end. Whether such a
        cancel was sent nobody knows. Again, when this was interrupted: harmless.
        """
        waiters = {waiter for waiter, _, _ in self._waiting.values()}
        kept = [outcome for _, outcome in self._outcomes]
        told = {
            (outcome.id, outcome.taken_at)
            for outcome in chain(kept, *(waiter.outcomes for waiter in waiters))
        }
        for id, (waiter, order, taken_at) in list(self._waiting.items()):
            if (id, taken_at) not in told:
                self.dispatch(
                    Unresolved(
                        id=id,
                        order=order,
                        taken_at=taken_at,
                        sent_at=taken_at,  # it cannot have been earlier
                        resolved_at=now,
                        sent=True,
                        why=WhyUnresolved.INTERRUPTED,
                    )
                )
            # Nothing is due to a wait of which something is left here.
            waiter.due = 0
            self._waiting.pop(id, None)
        if self.closed is None:
            self.closed = next(
                (event for _, event in self._events if isinstance(event, (Closed, Ended))), None
            )
        if self.closed is None:
            self.dispatch(closed)

    # --- inside ---

    def _oldest(self) -> Event | SessionEvent:
        event = self._events[0][1]
        self._chars -= _chars(event)
        del self._events[0]
        return event

    def _too_many(self) -> bool:
        """Whether an event is to be dropped: never the only one, however long it is."""
        count = len(self._events)
        return count > 1 and (
            (self._max_events is not None and count > self._max_events)
            or (self._max_chars is not None and self._chars > self._max_chars)
        )

    def _keep(self, outcome: Outcome) -> None:
        self._count += 1
        self._outcomes.append((self._count, outcome))
        self._tell()

    def _tell(self) -> None:
        listeners, self._listeners = self._listeners, set()
        for wake in listeners:
            wake()

    def _not_sent(
        self, order: CancelOrder, now: float, id: str | None, timeout: float | None
    ) -> Outcome:
        """What becomes of a cancel that comes after the end: the same as of one that was queued just before it."""
        if isinstance(id, str) and id in self._waiting:
            raise ValidationError(
                f"the id {safe_repr(id)} is in flight: pass another one, or none to have one made"
            )
        if id is None:
            self._refused += 1
            # Not a digit behind the prefix: no id that the connection makes can be the same.
            id = f"{self._id_prefix}-{self._refused}"
        encode_cancel(order, id)  # checks both
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
