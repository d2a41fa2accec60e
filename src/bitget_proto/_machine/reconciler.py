"""The state machine that finds out what became of orders. It does no I/O and reads no clock.

`track` takes an outcome. Pushes and the replies to look-ups are evidence. The first proof settles
the order. If there is no proof in time, the order's deadline settles it. Every order that was
tracked gets exactly one `Final`.

`TrackedOrders` finds the orders that an update is about, and `LookUps` decides what is asked next.

What is evidence
- An end state is final, whatever its source: an order that has ended never changes. Of two fills,
  the larger one counts. So evidence may come in any order, twice, or before `track`. After a
  reconnect, pushes can be handled before the look-ups are answered.
- A push that says "open" may be arbitrarily old, so it proves nothing. "Open" in a look-up proves
  that the order was open `settle` seconds before the request, because REST lags by at most
  `settle` seconds.
- Timestamps of the exchange are never compared with the caller's clock.

Rules for changes
- Only `poll` returns outputs; every other call adds to `_outputs`.
- An input never raises because of what the exchange said.
- An order gets its `Final` in `_settle` only. The exception is `_recover`.
- Deadlines fire in `handle_timeout` only. `poll` compares the rate limits with `now`.
- A call that makes several changes sets `_in_call` before the first change and clears it after the
  last. If a call finds `_in_call` set, an exception interrupted the previous call, and `_recover`
  ends the reconciler. `_recover` relies only on `_orders.all` and `_outputs`, so add a `Final` to
  `_outputs` before you remove its order from `_orders.all`. In `poll`, return at once after you
  remove an output or clear `_in_call`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from .._values.errors import LocalProtocolError, NoRoom, ValidationError, check_part, safe_repr
from .._values.events import Accepted, Outcome, Rejected, Unresolved, Wait
from .._values.finals import (
    Cancelled,
    Evidence,
    Filled,
    Final,
    LookUp,
    NotFound,
    ReconcilerOutput,
    StillOpen,
    Unknown,
    WhyUnknown,
)
from .._values.order_updates import (
    LookUpReply,
    NoAnswer,
    NoSuchOrder,
    OrderPage,
    OrderStatus,
    OrderUpdate,
)
from .._values.set_module import set_module
from .._values.timers import Timer
from .deadlines import MAX, finite_time
from .look_up_line import PageScan, PendingLookUp
from .look_ups import LookUps
from .reconciler_config import ReconcilerConfig
from .tracked_orders import Tracked, TrackedOrders, has_ended, order_of

_OUTCOMES = (Accepted, Rejected, Unresolved)
_NO_REPLY = "no reply to a look-up came in time"


@set_module("bitget_proto")
class Reconciler:
    """Finds out what became of orders, from pushes and look-ups.

    An outcome says what became of a request. Pass it to `track`, and exactly one `Final` says what
    became of the order. Use a reconciler next to a `Connection` or a `Session`: it changes nothing
    in them.

    Call an input when something has happened: `pushed` for each `OrderUpdate` of a push, `up` and
    `down` when pushes begin and cease to arrive, `looked_up` or `failed` for each `LookUp`, and
    `handle_timeout` at the time of a `Wait`. After each call, drain `poll`: call it until it
    returns a `Wait`.

    After `up`, it waits `ReconcilerConfig.settle` seconds for a push before it looks an order up.
    Before `up`, and after `down`, it looks an order up at once.

    `now` is the time in seconds on a clock of your choice that does not run backwards. A time
    earlier than the last one counts as the last one. Every call raises LocalProtocolError if `now`
    is not a finite number. A call that raises LocalProtocolError, or its subclass ValidationError
    or NoRoom, leaves the state unchanged.

    If an exception, such as one raised by a signal handler, interrupts a call that has begun to
    change the state, the next call ends the reconciler: each order without a `Final` is `Unknown`
    (INTERRUPTED). It is not thread-safe.

    Raises: ValidationError if `config` is not a `ReconcilerConfig`.
    """

    __slots__ = (
        "_closed",
        "_config",
        "_count",
        "_failure",
        "_in_call",
        "_look_ups",
        "_now",
        "_orders",
        "_outputs",
        "_up",
    )

    def __init__(self, config: ReconcilerConfig | None = None) -> None:
        check_part("config", config, ReconcilerConfig)
        self._config = ReconcilerConfig() if config is None else config
        self._now: float = -MAX
        self._in_call = False
        """Whether a call is in progress, or was interrupted by an exception."""
        self._closed = False
        self._up = False
        self._count = 0
        self._failure: tuple[float, str] = (-inf, "")
        """When the last look-up failed, and why."""
        self._orders = TrackedOrders(client_oids_unique=self._config.client_oids_unique)
        self._look_ups = LookUps(self._config)
        self._outputs: deque[Final] = deque()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self.tracked} tracked{', closed' * self._closed}>"

    @property
    def tracked(self) -> int:
        """The number of orders whose `Final` `poll` has not returned yet."""
        return len(self._orders.all) + len(self._outputs)

    @property
    def config(self) -> ReconcilerConfig:
        """The limits of the reconciler."""
        return self._config

    # --- commands ---

    def track(self, outcome: Outcome, now: float) -> int:
        """Take an outcome and return its number; exactly one `Final` follows. Then drain `poll`.

        Numbers count from 1. Every outcome whose request was sent may be tracked. An order that has
        only a `client_oid` is `Unknown` (AMBIGUOUS_ID), unless the exchange's answer named its
        `order_id` or `ReconcilerConfig.client_oids_unique` is true.

        Raises: ValidationError if `outcome` is not an outcome; NoRoom if
        `ReconcilerConfig.max_tracked` orders have no `Final`; LocalProtocolError for
        `Unresolved(sent=False)`, or if the reconciler is closed.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._in_call:
            self._recover()
        self._check_takes(outcome)
        self._in_call, self._now = True, now
        config = self._config
        self._count += 1
        tracked = Tracked(
            self._count,
            outcome,
            order_of(outcome),
            now,
            now + config.settle,
            now + config.deadline,
            outcome.order.client_oid,
        )
        orders = self._orders
        orders.add(tracked)
        if not orders.is_named(tracked.order):
            self._unknown(tracked, WhyUnknown.AMBIGUOUS_ID)
        elif (end := orders.end_of(tracked.order)) is not None:
            self._ended(tracked, *end)
        else:
            self._look_ups.add(tracked, tracked.settled_at if self._up else now)
        self._in_call = False
        return tracked.number

    def close(self, now: float) -> None:
        """End the reconciler: orders without a `Final` are `Unknown` (CLOSED). Then drain `poll`.

        After that, inputs and a second `close` are ignored.
        """
        self._input(now, self._close)

    # --- inputs: what has happened ---

    def pushed(self, update: OrderUpdate, now: float) -> None:
        """Handle what a push says about an order, tracked or not. Then drain `poll`.

        Pass every update, in any order, including updates from before `track`: the end states of
        the last 4,096 orders are kept.

        Raises: ValidationError if `update` is not an `OrderUpdate`.
        """
        if not isinstance(update, OrderUpdate):
            raise ValidationError(f"update must be an OrderUpdate; got {safe_repr(update)}")
        self._input(now, partial(self._learn, update, Evidence.PUSH, None))

    def looked_up(self, number: int, reply: LookUpReply, now: float) -> None:
        """Handle the reply to the `LookUp` with this number. Then drain `poll`.

        A number that is unknown or was replied to before is ignored. A reply after
        `ReconcilerConfig.answer_timeout` still counts as evidence.

        Raises: ValidationError if `reply` is not a reply, or `number` not a number.
        """
        if not isinstance(reply, (OrderPage, NoSuchOrder, NoAnswer)):
            raise ValidationError(
                f"reply must be an OrderPage, NoSuchOrder or NoAnswer; got {safe_repr(reply)}"
            )
        _check_number(number)
        self._input(now, partial(self._reply, number, reply))

    def failed(self, number: int, reason: str, now: float) -> None:
        """Report that the `LookUp` with this number got no reply. Then drain `poll`.

        `reason` is text for people; `Unknown.detail` shows it.

        Raises: ValidationError if `number` is not a number.
        """
        _check_number(number)
        self._input(now, partial(self._reply, number, NoAnswer(reason)))

    def up(self, now: float) -> None:
        """Report that pushes arrive from now on: the exchange has confirmed the subscription.

        An order that is tracked after this call waits for a push first. Then drain `poll`.
        """
        self._input(now, self._set_up)

    def down(self, now: float) -> None:
        """Report that pushes do not arrive, or that one could not be read.

        Orders that wait for a push are looked up at once. Then drain `poll`.
        """
        self._input(now, self._set_down)

    def handle_timeout(self, now: float) -> None:
        """Fire the deadlines that are due. Then drain `poll`.

        It may be called early, late or repeatedly.
        """
        self._input(now, self._fire)

    # --- outputs ---

    def poll(self, now: float) -> ReconcilerOutput:
        """Return the next output: a `Final`, a `LookUp` or a `Wait`.

        Call it after every input and command, until it returns a `Wait`.
        """
        self._now = now = self._begin(now)
        outputs = self._outputs
        if outputs:
            output = outputs[0]
            del outputs[0]
            return output
        until, timer = self._next_deadline()
        if until > now:
            self._in_call = True
            asked = self._look_ups.next(now)
            if isinstance(asked, PendingLookUp):
                look_up = LookUp(asked.number, asked.question)
                self._in_call = False
                return look_up
            self._in_call = False
            if asked < until:
                return Wait(asked, Timer.LOOK_UP)
        return Wait(None if timer is None else until, timer)

    # --- evidence ---

    def _learn(self, update: OrderUpdate, evidence: Evidence, asked_at: float | None) -> None:
        """Apply an update to the orders that it concerns. `asked_at` is None for a push."""
        orders = self._orders
        found = orders.find(update)
        ended = has_ended(update)
        if ended and (found or asked_at is None):
            orders.remember(update, evidence)
        for tracked in found:
            if ended:
                self._ended(tracked, update, evidence)
                continue
            tracked.learn(update, evidence)
            if (
                update.status is OrderStatus.OPEN
                and asked_at is not None
                and asked_at >= tracked.settled_at
            ):
                # Rounding could put the difference before `tracked_at`.
                as_of = max(tracked.tracked_at, asked_at - self._config.settle)
                self._still_open(tracked, as_of)
            else:
                self._look_ups.line_of(tracked).inconclusive(tracked, asked_at, self._now)

    def _reply(self, number: int, reply: LookUpReply) -> None:
        asked, in_time = self._look_ups.answered(number)
        if asked is None:
            return
        subject = asked.subject
        if isinstance(reply, OrderPage):
            self._page(asked, subject, reply, in_time=in_time)
        elif isinstance(reply, NoSuchOrder) and isinstance(subject, Tracked):
            if not subject.done:
                asked.line.doubt(subject, asked.asked_at)
            if in_time:
                self._look_ups.succeeded(asked)
                asked.line.retry(subject, asked.asked_at, self._now)
        elif in_time:
            if isinstance(reply, NoSuchOrder):
                reply = NoAnswer("no such order, although a page was asked for", reply.code)
            self._failure = self._now, reply.reason
            self._look_ups.failed(asked, self._now, throttled=reply.throttled)

    def _page(
        self, asked: PendingLookUp, subject: Tracked | PageScan, reply: OrderPage, *, in_time: bool
    ) -> None:
        """Take the evidence of a page, and then decide what is asked next."""
        evidence = subject.evidence if isinstance(subject, PageScan) else Evidence.LOOK_UP
        for update in reply.orders:
            self._learn(update, evidence, asked.asked_at)
        if not in_time:
            return
        self._look_ups.succeeded(asked)
        if isinstance(subject, Tracked):
            asked.line.retry(subject, asked.asked_at, self._now)
            return
        for tracked in asked.line.read(subject, reply, self._now):
            tracked.evidence = Evidence.HISTORY
            self._settle(tracked, NotFound(**self._common(tracked)))

    # --- finals ---

    def _ended(self, tracked: Tracked, update: OrderUpdate, evidence: Evidence) -> None:
        """Settle an order by its end state."""
        tracked.learn(update, evidence)
        common = self._common(tracked)
        common |= {"filled": tracked.filled, "average_price": tracked.average_price}
        common["updated_at"] = update.updated_at
        self._settle(
            tracked,
            Filled(**common)
            if update.status is OrderStatus.FILLED
            else Cancelled(**common, reason=update.reason),
        )

    def _still_open(self, tracked: Tracked, as_of: float) -> None:
        self._settle(
            tracked,
            StillOpen(
                **self._common(tracked),
                filled=tracked.filled,
                average_price=tracked.average_price,
                as_of=as_of,
            ),
        )

    def _unknown(self, tracked: Tracked, why: WhyUnknown) -> None:
        self._settle(tracked, self._why_unknown(tracked, why))

    def _why_unknown(self, tracked: Tracked, why: WhyUnknown) -> Unknown:
        failed_at, reason = self._failure
        detail = reason if failed_at >= tracked.tracked_at else ""
        return Unknown(**self._common(tracked), why=why, filled=tracked.filled, detail=detail)

    def _common(self, tracked: Tracked) -> dict[str, Any]:
        """Return the fields that every `Final` has."""
        return {
            "number": tracked.number,
            "outcome": tracked.outcome,
            "order_id": tracked.order.order_id,
            "client_oid": tracked.client_oid,
            "evidence": tracked.evidence,
            "tracked_at": tracked.tracked_at,
            "resolved_at": self._now,
        }

    def _settle(self, tracked: Tracked, final: Final) -> None:
        """Report what became of an order, and remove it."""
        self._outputs.append(final)
        self._orders.remove(tracked)
        self._look_ups.discard(tracked)

    # --- links, deadlines and the end ---

    def _set_up(self) -> None:
        self._up = True

    def _set_down(self) -> None:
        self._up = False
        self._look_ups.look_up_now(self._orders.all.values(), self._now)

    def _next_deadline(self) -> tuple[float, Timer | None]:
        until, timer = inf, None
        for tracked in self._orders.all.values():
            until, timer = tracked.final_at, Timer.UNKNOWN
            break
        asked = self._look_ups.first_unanswered()
        if asked is not None and asked.until < until:
            until, timer = asked.until, Timer.ANSWER
        return until, timer

    def _fire(self) -> None:
        while self._next_deadline()[0] <= self._now:
            asked = self._look_ups.first_unanswered()
            if asked is not None and asked.until <= self._now:
                self._failure = self._now, _NO_REPLY
                self._look_ups.give_up(asked, self._now)
            else:
                self._unknown(next(iter(self._orders.all.values())), WhyUnknown.DEADLINE)

    def _close(self) -> None:
        for tracked in list(self._orders.all.values()):
            self._unknown(tracked, WhyUnknown.CLOSED)
        self._finish()

    def _finish(self) -> None:
        self._look_ups.clear()
        self._orders.clear()
        # Last, so that `_recover` repeats an end that was interrupted.
        self._closed = True

    def _recover(self) -> None:
        """End the reconciler after a call that was interrupted at an unknown point.

        If this is interrupted too, the next call repeats it.
        """
        if not self._closed:
            done = {final.number for final in self._outputs}
            left = [each for each in self._orders.all.values() if each.number not in done]
            self._outputs = deque(
                [
                    *self._outputs,
                    *(self._why_unknown(each, WhyUnknown.INTERRUPTED) for each in left),
                ]
            )
            self._finish()
        self._in_call = False

    def _check_takes(self, outcome: object) -> None:
        """Check that an outcome can be tracked.

        Raises: the same as `track`.
        """
        if not isinstance(outcome, _OUTCOMES):
            raise ValidationError(
                f"outcome must be Accepted, Rejected or Unresolved; got {safe_repr(outcome)}"
            )
        if isinstance(outcome, Unresolved) and not outcome.sent:
            raise LocalProtocolError(
                "the cancel was never sent, so it did nothing to the order: send it again, or look "
                "the order up yourself"
            )
        if self._closed:
            raise LocalProtocolError("the reconciler is closed: create a new one")
        if len(self._orders.all) + len(self._outputs) >= self._config.max_tracked:
            raise NoRoom(
                f"ReconcilerConfig.max_tracked ({self._config.max_tracked}) is reached: drain poll, "
                "and try again after a Final"
            )

    def _input(self, now: float, change: Callable[[], object]) -> None:
        """Handle an input or command that changes nothing once the reconciler is closed."""
        now = self._begin(now)
        self._in_call, self._now = True, now
        if not self._closed:
            change()
        self._in_call = False

    def _begin(self, now: float) -> float:
        """Return the checked time of a call, and recover if the last call was interrupted.

        Raises: LocalProtocolError if `now` is not a finite number.
        """
        now = finite_time(now, self._now)
        if self._in_call:
            self._recover()
        return now


def _check_number(number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValidationError(f"number must be that of a LookUp; got {safe_repr(number)}")
