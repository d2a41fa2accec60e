"""A connection that keeps a record of its driver, for the conformance kit.

Rules of this file
- It behaves as a `Connection` does. A broken rule is noted and not raised, so that an event loop need not log it and the
  scenario can be played to its end.
- What a login says is never kept.
- The driver's thread writes; others read, and wait by `wait_for`.
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
"""Seconds by which a driver's `now` may lie behind when it is told, for a machine that is busy with something else; with more
patience than usual, a quarter of that."""

AHEAD = 0.05
"""Seconds by which `handle_timeout` may be told a time that is still to come: a loop's tick, and the noise of two clocks."""


@attrs.frozen(kw_only=True)
class DriverStep:
    """One call of the driver's, and what it gave."""

    at: float
    """Seconds since the connection was made, by the kit's clock."""

    now: float
    """The time that the driver told."""

    call: str
    what: str
    """What was handed over, or what came out, shortened."""

    def __str__(self) -> str:
        return f"{self.at * 1000:9.1f} ms  now={self.now:.4f}  {self.call:<18} {self.what}"


class Recorder(StrictConnection):
    """A strict connection that notes what its driver does and what rules it breaks."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.steps: list[DriverStep] = []
        self.complaints: list[DriverError] = []
        """The rules that were broken in sight of the connection, in that order."""
        self.handed_out: list[Transmit] = []
        self.handed_over: list[str | bytes] = []
        """The messages that the driver handed over, in that order."""
        self.outcomes: dict[str, Outcome] = {}
        self.events: list[Event] = []
        """All that is no outcome."""
        self.ready = False
        self.login_rejected = False
        self.hangup: Hangup | None = None
        self.closed: Closed | None = None
        self.lost_calls = 0
        self.takes: float = 0.0
        """Seconds that a message takes at least: the application is busy."""
        self.on_transmit: Callable[[Transmit], object] | None = None
        """Called in the driver's thread before a `Transmit` is handed out."""

        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._thread: int | None = None
        self._skew = inf
        """The least that the kit's clock has been ahead of the driver's: the difference of the two, without any delay."""
        self._latest_told = ("", 0.0, -inf)
        """The call that was told its time the latest: its name, that time, and how far the kit's clock was ahead of it."""
        self._earliest_fired = (0.0, inf)
        """Of all calls of `handle_timeout` the one that was told its time the earliest, in the same way."""

    @property
    def undrained(self) -> bool:
        """Whether the last call is not drained to its `Wait`, while nothing that was handed out is being written."""
        return not self._settled_at_wait and not self.is_writing

    @property
    def is_writing(self) -> bool:
        """Whether a frame was handed out last: the driver is writing it, if it does anything."""
        return bool(self.steps) and self.steps[-1].what.startswith("Transmit")

    def wait_for(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, at most so long; whether it does."""
        with self._changed:
            return self._changed.wait_for(holds, seconds)

    def changed(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def complain(self, rule: Rule, what: str) -> None:
        """Note a broken rule."""
        self.complaints.append(DriverError(rule, what))

    def about_the_clock(self, patience: float) -> Iterator[DriverError]:
        """What is to be said of the driver's clock, once all is over."""
        call, now, skew = self._latest_told
        if skew - self._skew > max(STALE, patience / 4):
            yield DriverError(
                Rule.CLOCK,
                f"{call} was told the time {now:.3f}, which lay {skew - self._skew:.2f} s back",
            )
        now, skew = self._earliest_fired
        if self._skew - skew > AHEAD:
            yield DriverError(
                Rule.REARM,
                f"handle_timeout was told the time {now:.3f}, which was still {self._skew - skew:.3f} s ahead: a timer fired "
                "that had been armed for an earlier Wait",
            )

    # --- as a Connection, and noted ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        self._noted("opened", "a login", now, lambda kind: kind.opened(self, now, login=login))

    def receive(self, message: str | bytes, now: float) -> None:
        self.handed_over.append(message if isinstance(message, (str, bytes)) else repr(message))
        if self.takes:
            time.sleep(self.takes)
        self._noted("receive", message, now, lambda kind: kind.receive(self, message, now))

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        self.lost_calls += 1
        unsent = (unsent,) if isinstance(unsent, str) else tuple(unsent)
        what = f"{reason!r}" + (f", unsent={unsent!r}" if unsent else "")
        self._noted("lost", what, now, lambda kind: kind.lost(self, now, reason, unsent))

    def handle_timeout(self, now: float) -> None:
        self._noted("handle_timeout", "", now, lambda kind: kind.handle_timeout(self, now))

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        taken = self._noted(
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
        taken = self._noted(
            "cancel_many", what, now, lambda kind: kind.cancel_many(self, given, now, timeout)
        )
        self._ledger.update(taken)
        return taken

    def withdraw(self, id: str, now: float) -> bool:
        return self._noted("withdraw", f"{id!r}", now, lambda kind: kind.withdraw(self, id, now))

    def send(self, text: str, now: float) -> None:
        self._noted("send", text, now, lambda kind: kind.send(self, text, now))

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        what = (
            "" if queued == "drop" and within is None else f"queued={queued!r}, within={within!r}"
        )
        self._noted("close", what, now, lambda kind: kind.close(self, now, queued, within))

    def poll(self, now: float, writable: bool = True) -> Output:
        output = self._noted("poll", None, now, lambda kind: kind.poll(self, now, writable))
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
        self._step("poll" if writable else "poll, not writable", now, told(output))
        self.changed()
        return output

    # --- inside ---

    def _noted(
        self,
        call: str,
        what: str | bytes | None,
        now: float,
        do: Callable[[type[StrictConnection]], T],
    ) -> T:
        self._look_at_thread(call)
        if call in _COMMANDS and self.steps and self.steps[-1].call in _COMMANDS:
            # Both of one call of the kit's, which is drained behind it: how long it takes is not the driver's doing.
            self._settled_at_wait = True
        else:
            self._look_at_clock(call, now)
        if what is not None:
            self._step(call, now, _short(what))
        try:
            return do(StrictConnection)
        except DriverError as complaint:
            self.complaints.append(complaint)
        except LocalProtocolError as error:
            if call in _INPUTS:
                rule = Rule.CLOCK if str(error).startswith("now ") else _INPUTS[call]
                self.complain(rule, f"{call} was called wrongly: {error}")
            raise
        finally:
            self.changed()
        return self._forgiven(call, do)

    def _forgiven(self, call: str, do: Callable[[type[StrictConnection]], T]) -> T:
        """Do it all the same, and begin to look anew."""
        self._latest = self._told = None
        self._spins = self._overdue = 0
        result = do(_LENIENT)
        self._settled_at_wait = isinstance(result, Wait)
        self._in_drain = call == "poll" and not self._settled_at_wait
        return result

    def _look_at_thread(self, call: str) -> None:
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        elif self._thread != thread:
            self._thread = thread
            self.complain(
                Rule.CALLER, f"{call} was called in another thread than the call before it"
            )

    def _look_at_clock(self, call: str, now: float) -> None:
        if not isinstance(now, (float, int)) or not isfinite(now):
            return  # refused below
        skew = time.monotonic() - now
        if skew > self._latest_told[2]:
            self._latest_told = (call, now, skew)
        if call == "handle_timeout":
            if skew < self._earliest_fired[1]:
                self._earliest_fired = (now, skew)
        elif call != "poll":
            self._skew = min(self._skew, skew)

    def _step(self, call: str, now: float, what: str) -> None:
        self.steps.append(
            DriverStep(at=time.monotonic() - self._began, now=now, call=call, what=what)
        )


_LENIENT: type[StrictConnection] = Connection  # type: ignore[assignment]
"""What a strict connection is without looking at its driver."""

_COMMANDS = frozenset({"cancel", "cancel_many", "withdraw", "send", "close"})

_INPUTS = MappingProxyType({
    "opened": Rule.END, "receive": Rule.READ, "lost": Rule.END, "handle_timeout": Rule.CLOCK, "poll": Rule.CLOCK,
})  # fmt: skip
"""The calls that are the driver's own, and the rule that is broken when one is refused."""


def told(output: Output) -> str:
    """An output, as it may be shown: short, and a login not at all."""
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
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}… ({len(text)} in all)"
