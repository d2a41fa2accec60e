"""A connection that records its driver, for the conformance kit.

It behaves as a `Connection`. A broken rule is recorded and not raised, so that no event loop logs
it and the scenario runs to its end. The contents of logins are never recorded. The driver's thread
writes the record; other threads read it, and wait with `wait_for`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf, isfinite
from types import MappingProxyType
from typing import TypeVar

import attrs

from ..._machine.arguments import Queued
from ..._machine.connection import Connection
from ..._machine.connection_config import Config
from ..._values.credentials import SignedLogin
from ..._values.errors import LocalProtocolError
from ..._values.events import (
    Accepted,
    Closed,
    Event,
    Hangup,
    LoginRejected,
    Outcome,
    Output,
    Ready,
    Rejected,
    Transmit,
    Unresolved,
    Wait,
)
from ..._values.orders import CancelOrder
from .strict_connection import DriverError, Rule, StrictConnection

T = TypeVar("T")

_EXCERPT = 150

STALE = 0.5
"""Seconds by which a driver's `now` may lie in the past, for a machine that is busy.

With a longer patience, the patience.
"""

AHEAD = 0.05
"""Seconds by which the `now` of `handle_timeout` may lie ahead: a loop's tick and clock noise."""


@attrs.frozen(kw_only=True)
class DriverStep:
    """One call of the driver, or one output of `poll`."""

    at: float
    """Seconds since the connection was created, on the kit's clock."""

    now: float
    """The `now` that the driver passed."""

    call: str
    what: str
    """The argument or the output, shortened."""

    def __str__(self) -> str:
        return f"{self.at * 1000:9.1f} ms  now={self.now:.4f}  {self.call:<18} {self.what}"


class Recorder(StrictConnection):
    """A strict connection that records the calls of its driver and the rules it breaks."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.steps: list[DriverStep] = []
        self.complaints: list[DriverError] = []
        """The broken rules that the connection detected, in order."""
        self.handed_out: list[Transmit] = []
        self.handed_over: list[str | bytes] = []
        """The messages that the driver handed over, in order."""
        self.outcomes: dict[str, Outcome] = {}
        self.events: list[Event] = []
        """All events except outcomes."""
        self.ready = False
        self.login_rejected = False
        self.hangup: Hangup | None = None
        self.closed: Closed | None = None
        self.lost_calls = 0
        self.unsent: tuple[str, ...] = ()
        """The ids that `lost` named as unsent."""
        self.on_receive: Callable[[], object] | None = None
        """Called in the driver's thread by `receive`, as a busy application would be."""
        self.held_up_for = 0.0
        """Seconds for which the kit has blocked the driver's thread."""
        self.on_transmit: Callable[[Transmit], object] | None = None
        """Called in the driver's thread before `poll` returns a `Transmit`."""

        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._thread: int | None = None
        self._skew = inf
        """The smallest lead of the kit's clock over the driver's: their offset without delay."""
        self._stale: dict[float, tuple[float, str]] = {}
        """Each outdated `now`: the lead of the kit's clock over it, and the call that got it."""
        self._most_ahead = (0.0, inf)
        """The `handle_timeout` furthest ahead: its `now`, and the lead of the kit's clock."""

    @property
    def undrained(self) -> bool:
        """Whether the last call was not drained to its `Wait`, and no frame is being written."""
        return not self._settled_at_wait and not self.is_writing

    @property
    def is_writing(self) -> bool:
        """Whether the last output was a `Transmit`, which the driver is presumably writing."""
        return bool(self.steps) and self.steps[-1].what.startswith("Transmit")

    def wait_for(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait up to `seconds` until `holds` returns true; return whether it does."""
        with self._changed:
            return self._changed.wait_for(holds, seconds)

    def changed(self) -> None:
        """Wake the threads in `wait_for`, to check again."""
        with self._changed:
            self._changed.notify_all()

    def complain(self, rule: Rule, what: str) -> None:
        """Record a broken rule."""
        self.complaints.append(DriverError(rule, what))

    def about_the_clock(self, patience: float) -> Iterator[DriverError]:
        """Yield the errors of the driver's clock; called at the end."""
        limit = max(STALE, patience) + self.held_up_for
        stale = {now: one for now, one in self._stale.items() if one[0] - self._skew > limit}
        if len(stale) > 1:  # a busy machine may stop a driver once, after it has read its clock
            now, (skew, call) = max(stale.items(), key=lambda item: item[1])
            yield DriverError(
                Rule.CLOCK,
                f"{call} got the time {now:.3f}, which was {skew - self._skew:.2f} s in the past",
            )
        now, skew = self._most_ahead
        if self._skew - skew > AHEAD:
            yield DriverError(
                Rule.REARM,
                f"handle_timeout got the time {now:.3f}, which was {self._skew - skew:.3f} s in the future: "
                "a timer fired that was armed for an earlier Wait",
            )

    # --- the calls of a Connection, recorded ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        self._recorded("opened", "a login", now, lambda kind: kind.opened(self, now, login=login))

    def receive(self, message: str | bytes, now: float) -> None:
        self.handed_over.append(message if isinstance(message, (str, bytes)) else repr(message))

        def do(kind: type[StrictConnection]) -> None:
            if self.on_receive is not None:
                self.on_receive()
            kind.receive(self, message, now)

        self._recorded("receive", message, now, do)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        self.lost_calls += 1
        unsent = self.unsent = (unsent,) if isinstance(unsent, str) else tuple(unsent)
        what = f"{reason!r}" + (f", unsent={unsent!r}" if unsent else "")
        self._recorded("lost", what, now, lambda kind: kind.lost(self, now, reason, unsent))

    def handle_timeout(self, now: float) -> None:
        self._recorded("handle_timeout", "", now, lambda kind: kind.handle_timeout(self, now))

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        taken = self._recorded(
            "cancel",
            f"{order!r}",
            now,
            lambda kind: kind.cancel(self, order, now, id, timeout, urgent),
        )
        self._ledger.add(taken)
        return taken

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        given = list(orders)
        what = f"{len(given)} orders"
        taken = self._recorded(
            "cancel_many", what, now, lambda kind: kind.cancel_many(self, given, now, timeout)
        )
        self._ledger.update(taken)
        return taken

    def withdraw(self, id: str, now: float) -> bool:
        return self._recorded("withdraw", f"{id!r}", now, lambda kind: kind.withdraw(self, id, now))

    def send(self, text: str, now: float) -> None:
        self._recorded("send", text, now, lambda kind: kind.send(self, text, now))

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        what = (
            "" if queued == "drop" and within is None else f"queued={queued!r}, within={within!r}"
        )
        self._recorded("close", what, now, lambda kind: kind.close(self, now, queued, within))

    def poll(self, now: float, writable: bool = True) -> Output:
        output = self._recorded("poll", None, now, lambda kind: kind.poll(self, now, writable))
        if isinstance(output, Transmit):
            self.handed_out.append(output)
            if self.on_transmit is not None:
                self.on_transmit(output)
        elif isinstance(output, (Accepted, Rejected, Unresolved)):
            self._ledger.discard(output.id)
            self.outcomes[output.id] = output
        elif isinstance(output, Hangup):
            self.hangup = output
        elif not isinstance(output, Wait):
            self.events.append(output)
            self.ready = self.ready or isinstance(output, Ready)
            self.login_rejected = self.login_rejected or isinstance(output, LoginRejected)
            if isinstance(output, Closed):
                self.closed = output
        self._step("poll" if writable else "poll, not writable", now, describe_output(output))
        self.changed()
        return output

    # --- inside ---

    def _recorded(
        self,
        call: str,
        what: str | bytes | None,
        now: float,
        do: Callable[[type[StrictConnection]], T],
    ) -> T:
        self._check_thread(call)
        if call in _COMMANDS and self.steps and self.steps[-1].call in _COMMANDS:
            # Both commands belong to one call of the kit, which is drained afterwards. The driver
            # is not responsible for how long it takes.
            self._settled_at_wait = True
        else:
            self._check_clock(call, now)
        if what is not None:
            self._step(call, now, _short(what))
        try:
            return do(StrictConnection)
        except DriverError as complaint:
            self.complaints.append(complaint)
        except LocalProtocolError as error:
            if call in _INPUTS:
                rule = Rule.CLOCK if str(error).startswith("now ") else _INPUTS[call]
                self.complain(rule, f"{call} was refused: {error}")
            raise
        finally:
            self.changed()
        return self._repeat_leniently(call, do)

    def _repeat_leniently(self, call: str, do: Callable[[type[StrictConnection]], T]) -> T:
        """Make the call without checks, and reset the state of the checks."""
        self._latest = self._timeout_at = None
        self._spins = self._overdue = 0
        result = do(_LENIENT)
        self._settled_at_wait = isinstance(result, Wait)
        self._in_drain = call == "poll" and not self._settled_at_wait
        return result

    def _check_thread(self, call: str) -> None:
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        elif self._thread != thread:
            self._thread = thread
            self.complain(
                Rule.CALLER,
                f"{call} was called in another thread than the previous call; a lock is not enough, "
                "because only the thread that waits can set its timer and write in order",
            )

    def _check_clock(self, call: str, now: float) -> None:
        if not isinstance(now, (float, int)) or not isfinite(now):
            return  # `Connection` refuses it
        skew = time.monotonic() - now
        if skew - self._skew > STALE:
            self._stale[now] = max((skew, call), self._stale.get(now, (skew, call)))
        if call == "handle_timeout":
            if skew < self._most_ahead[1]:
                self._most_ahead = (now, skew)
        elif call != "poll":
            self._skew = min(self._skew, skew)

    def _step(self, call: str, now: float, what: str) -> None:
        self.steps.append(
            DriverStep(at=time.monotonic() - self._began, now=now, call=call, what=what)
        )


_LENIENT: type[StrictConnection] = Connection  # type: ignore[assignment]
"""The base class of `StrictConnection`, which does not check its driver."""

_COMMANDS = frozenset({"cancel", "cancel_many", "withdraw", "send", "close"})

_INPUTS = MappingProxyType({
    "opened": Rule.END, "receive": Rule.READ, "lost": Rule.END, "handle_timeout": Rule.CLOCK, "poll": Rule.CLOCK,
})  # fmt: skip
"""The calls of the driver itself, and the rule that is broken when one is refused."""


def describe_output(output: Output) -> str:
    """Return an output as short text, without the contents of a login."""
    if isinstance(output, Transmit):
        return "Transmit: a login" if output.secret else f"Transmit: {_short(output.text)}"
    if isinstance(output, Wait):
        return (
            "Wait: only for input"
            if output.timer is None
            else f"Wait until {output.until:.4f}, {output.timer.value}"
        )
    return _short(repr(output))


def _short(what: object) -> str:
    text = what if isinstance(what, str) else repr(what)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}… ({len(text)} characters)"
