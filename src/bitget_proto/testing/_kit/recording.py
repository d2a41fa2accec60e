"""What the recording cores of the conformance kit have in common.

A recording core behaves like a strict core, but records a broken rule instead of raising it, so
that no event loop logs it and the scenario runs to its end. The contents of logins are never
recorded. The driver's thread writes the record; other threads read it, and wait with `wait_for`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from math import inf, isfinite
from types import MappingProxyType

import attrs

from ..._machine.session_events import (
    Dial,
    LinkClosed,
    RestCancel,
    SessionEvent,
    SessionOutput,
    Up,
)
from ..._values.errors import LocalProtocolError
from ..._values.events import (
    Accepted,
    Closed,
    Event,
    Hangup,
    Outcome,
    Output,
    Ready,
    Rejected,
    Transmit,
    Unresolved,
    Wait,
)
from .driver_checks import DriverChecks, DriverError, Rule

_EXCERPT = 150

STALE = 0.5
"""Seconds by which a driver's `now` may lie in the past, for a machine that is busy.

If the patience is longer, the patience is the limit.
"""

AHEAD = 0.05
"""Seconds by which the `now` of `handle_timeout` may be in the future: a tick and clock noise."""


@attrs.frozen(kw_only=True)
class DriverStep:
    """One call of the driver, or one output of `poll`."""

    at: float
    """Seconds since the core was created, on the kit's clock."""

    now: float
    """The `now` that the driver passed."""

    call: str
    what: str
    """The argument or the output, shortened."""

    def __str__(self) -> str:
        return f"{self.at * 1000:9.1f} ms  now={self.now:.4f}  {self.call:<18} {self.what}"


@attrs.define(eq=False)
class LinkRecord:
    """What a driver did with one WebSocket."""

    opened: bool = False
    ready: bool = False
    """Whether its login was accepted."""

    handed_out: list[Transmit] = attrs.field(factory=list[Transmit])
    """Its frames, in order."""

    handed_over: list[str | bytes] = attrs.field(factory=list[str | bytes])
    """The messages that the driver handed over, in order."""

    hangup: Hangup | None = None
    closed: Closed | LinkClosed | None = None
    lost_calls: int = 0
    unsent: tuple[str, ...] = ()
    """The ids that `lost` named as unsent."""

    retry_after: float | None = None
    """The `retry_after` that was passed to `lost`."""


class Recording:
    """Records the calls of a driver on its strict core, and the rules that it breaks."""

    _checks: DriverChecks

    def _begin_recording(self) -> None:
        self.steps: list[DriverStep] = []
        self.complaints: list[DriverError] = []
        """The broken rules that the core detected, in order."""
        self.links: dict[int, LinkRecord] = {}
        """The links that were dialled, by number."""
        self.handed_out: list[Transmit] = []
        """All frames, in order."""
        self.outcomes: dict[str, Outcome] = {}
        self.events: list[Event | SessionEvent] = []
        """All events except outcomes."""
        self.on_receive: Callable[[], object] | None = None
        """Called in the driver's thread by `receive`, to simulate a busy application."""
        self.held_up_for = 0.0
        """Seconds for which the kit has blocked the driver's thread."""
        self.on_transmit: Callable[[Transmit], object] | None = None
        """Called in the driver's thread before `poll` returns a `Transmit`."""

        self._checks.complain = self.complaints.append
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
    def lost_calls(self) -> int:
        """How often `lost` was called."""
        return sum(link.lost_calls for link in self.links.values())

    @property
    def undrained(self) -> bool:
        """Whether the last call was not drained to its `Wait`.

        A driver that is presumably writing or dialling has not finished its drain.
        """
        dialling = bool(self.steps) and self.steps[-1].what.startswith("Dial(")
        return not (self._checks.settled or self.is_writing or dialling)

    @property
    def is_writing(self) -> bool:
        """Whether the last output was a frame, which the driver is presumably writing."""
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
        """Yield the errors about the driver's clock; called at the end."""
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

    # --- for the methods of the core ---

    @contextmanager
    def _recorded(self, call: str, what: object, now: float) -> Generator[None]:
        """Record a call, which the body makes, and whether it is refused."""
        self._check_thread(call)
        if call in _COMMANDS and self.steps and self.steps[-1].call in _COMMANDS:
            # Both commands belong to one call of the kit, which is drained afterwards. The driver
            # is not responsible for how long it takes.
            self._checks.settled = True
        else:
            self._check_clock(call, now)
        if what is not None:
            self._step(call, now, short(what))
        try:
            yield
        except LocalProtocolError as error:
            if call in _INPUTS:
                rule = Rule.CLOCK if str(error).startswith("now ") else _INPUTS[call]
                self.complain(rule, f"{call} was refused: {error}")
            raise
        finally:
            self.changed()

    @contextmanager
    def _received(
        self, link: int, message: str | bytes, what: object, now: float
    ) -> Generator[None]:
        """Like `_recorded`, for a message that is handed over."""
        if link in self.links:
            self.links[link].handed_over.append(
                message if isinstance(message, (str, bytes)) else repr(message)
            )
        with self._recorded("receive", what, now):
            if self.on_receive is not None:
                self.on_receive()
            yield

    def _note_lost(
        self, link: int, reason: str, unsent: Iterable[str], retry_after: float | None = None
    ) -> str:
        """Record the end of a link, and return the arguments as text."""
        unsent = (unsent,) if isinstance(unsent, str) else tuple(unsent)
        if link in self.links:
            record = self.links[link]
            record.lost_calls += 1
            record.unsent, record.retry_after = unsent, retry_after
        return (
            f"{reason!r}"
            + (f", unsent={unsent!r}" if unsent else "")
            + (f", retry_after={retry_after!r}" if retry_after is not None else "")
        )

    def _note_output(
        self, output: Output | SessionOutput, record: LinkRecord, call: str, now: float
    ) -> None:
        """Record what `poll` returned; `record` is that of its link."""
        if isinstance(output, Transmit):
            self.handed_out.append(output)
            record.handed_out.append(output)
            if self.on_transmit is not None:
                self.on_transmit(output)
        elif isinstance(output, (Accepted, Rejected, Unresolved)):
            self.outcomes[output.id] = output
        elif isinstance(output, Hangup):
            record.hangup = output
        elif not isinstance(output, (Dial, RestCancel, Wait)):
            self.events.append(output)
            if isinstance(output, (Ready, Up)):
                record.ready = True
            elif isinstance(output, (Closed, LinkClosed)):
                record.closed = output
        self._step(call, now, describe_output(output))
        self.changed()

    # --- private ---

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
            return  # the core refuses it
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


_COMMANDS = frozenset({"cancel", "cancel_many", "withdraw", "send", "close"})

_INPUTS = MappingProxyType({
    "opened": Rule.END, "receive": Rule.READ, "lost": Rule.END, "handle_timeout": Rule.CLOCK, "poll": Rule.CLOCK,
})  # fmt: skip
"""The calls of the driver itself, and the rule that is broken when one is refused."""


def describe_output(output: Output | SessionOutput) -> str:
    """Return an output as short text, without the contents of a login."""
    if isinstance(output, Transmit):
        return f"{_transmit(output)}: {'a login' if output.secret else short(output.text)}"
    if isinstance(output, Wait):
        return (
            "Wait: only for input"
            if output.timer is None
            else f"Wait until {output.until:.4f}, {output.timer.value}"
        )
    return short(repr(output))


def _transmit(output: Transmit) -> str:
    link = getattr(output, "link", None)
    return "Transmit" if link is None else f"Transmit on link {link}"


def short(what: object) -> str:
    """Return the beginning of a text, or of the repr of anything else."""
    text = what if isinstance(what, str) else repr(what)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}… ({len(text)} characters)"


def describe_close(queued: str, within: float | None) -> str:
    """Return the arguments of `close` as text."""
    return "" if queued == "drop" and within is None else f"queued={queued!r}, within={within!r}"
