"""The rules of the driver contract, and the checks that a strict core makes of its driver.

`DriverChecks` holds the checks that do not depend on the core: of the rules drain, clock, overdue,
alternate and, in part, write, and that each cancel gets one outcome. A broken rule is raised, or
passed to `complain`; in the latter case, the call continues as if the rule had been kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from ..._machine.session_events import SessionOutput
from ..._values.enums import DescribedEnum
from ..._values.events import Accepted, Output, Rejected, Unresolved, Wait
from ..._values.set_module import set_module

_SPIN = 100
"""How many times in a row `handle_timeout` may get the same time before it counts as spinning."""

BACKLOG = 1200
"""How many messages a driver may hand over past a deadline before it must fire timers: an answer to
each of the 1000 cancels that may be in flight, and some more, because drains after writes count
too.

The number of drains past a deadline may be twice as high.
"""


@set_module("bitget_proto.testing")
class Rule(DescribedEnum):
    """The rules of the driver contract, each with a sentence for the author of a driver.

    DIAL and LINK are rules for drivers of a `Session`.
    """

    DRAIN = "drain", "After every input or command, call `poll` until it returns a `Wait`."
    WRITE = (
        "write",
        "Write each `Transmit` whole and in order, and hold at most one that is not written.",
    )
    REARM = (
        "re-arm",
        "`Wait.until` may become earlier or later after any call: arm the timer from the latest one.",
    )
    OVERDUE = (
        "overdue",
        "If `now >= until` already, call `handle_timeout` before waiting; pass it max(now, until).",
    )
    ALTERNATE = (
        "alternate",
        "Hand over what has arrived before firing timers, but not without limit: alternate under load.",
    )
    ABANDON = (
        "abandon",
        "Cancelling the wait for an outcome does not cancel the request: its outcome still arrives.",
    )
    READ = (
        "read",
        "The reader never waits for the application; each message is handed over whole, once and in order.",
    )
    END = (
        "end",
        "Hand over nothing before `opened` or after the end; the end is one true `lost` or one obeyed `Hangup`.",
    )
    CLOCK = "clock", "`now` comes from one clock that does not run backwards."
    CALLER = (
        "caller",
        "One thread calls the connection; other threads reach it through a queue that wakes that thread.",
    )
    DIAL = (
        "dial",
        "Open exactly one WebSocket for each `Dial`; answer with one `opened`, or with `lost` and `retry_after`.",
    )
    LINK = (
        "link",
        (
            "Report each link under its own number, and each REST request once; write each "
            "`LinkTransmit` on its own link."
        ),
    )


@set_module("bitget_proto.testing")
class DriverError(AssertionError):
    """A driver broke a rule of the driver contract: `rule`."""

    def __init__(self, rule: Rule, what: str) -> None:
        super().__init__(f'{what}. Rule "{rule.value}": {rule.sentence}')
        self.rule = rule
        self.what = what


class DriverChecks:
    """What a strict core knows about its driver."""

    __slots__ = (
        "_latest", "_overdue", "_spins", "_timeout_at", "_wait", "complain", "in_drain", "open", "settled",
    )  # fmt: skip

    def __init__(self) -> None:
        self.complain: Callable[[DriverError], object] | None = None
        """Called with each broken rule; if None, it is raised."""
        self.open: set[str] = set()
        """The cancels that were taken and have no outcome yet."""
        self.settled = True
        """Whether the last drain ended in a `Wait` and no input or command has come since."""
        self.in_drain = False
        """Whether a drain has begun and not ended."""
        self._latest: float | None = None
        self._wait = Wait(until=None, timer=None)
        self._spins = 0
        self._timeout_at: float | None = None
        """The `now` of the last call of `handle_timeout`."""
        self._overdue = 0
        """How many drains have ended past a deadline since the last `handle_timeout`."""

    def broken(self, rule: Rule, what: str) -> None:
        """Report a broken rule.

        Raises: DriverError, unless there is a `complain`.
        """
        error = DriverError(rule, what)
        if self.complain is None:
            raise error
        self.complain(error)

    # --- before a call ---

    def input(self, call: str, now: float) -> None:
        """Check an input, which must come after a drain."""
        self._tick(call, now)
        self._check_drained(call)
        self._spins = 0

    def receive(self) -> None:
        """Check that timers are not starved by messages."""
        if self._overdue >= BACKLOG:
            self._overdue = 0
            self.broken(
                Rule.ALTERNATE,
                f"{BACKLOG} messages were handed over past a deadline, and no timer fired",
            )

    def lost(self, unsent: tuple[str, ...], last: tuple[str, ...]) -> None:
        """Check that a driver held no frame but the last one, which carried the ids `last`."""
        if not set(unsent) <= set(last):
            self.broken(
                Rule.WRITE,
                f"lost named {_ids(unsent)} as unsent, and the last frame carried {_ids(last)}: a "
                "driver may hold at most one frame",
            )

    def timeout(self, now: float) -> None:
        """Check a call of `handle_timeout`."""
        before, self._timeout_at = self._timeout_at, now
        # `until` may be a tick ahead of the driver's clock (rule "overdue"), so later calls may
        # pass an earlier time.
        if now != self._wait.until:
            self._tick("handle_timeout", now)
        self._check_drained("handle_timeout")
        self._spins = self._spins + 1 if before == now else 0
        if self._spins > _SPIN:
            spins, self._spins = self._spins, 0
            self.broken(
                Rule.OVERDUE,
                f"handle_timeout got the time {now} {spins} times in a row",
            )
        self._overdue = 0

    def command(self, call: str, now: float) -> None:
        """Check a command, which an application may also give in the middle of a drain."""
        self._tick(call, now)
        if not (self.settled or self.in_drain):
            self.broken(Rule.DRAIN, f"{call} was called, and the previous call was not drained")
        self._spins = 0

    def poll(self, now: float) -> None:
        """Check a call of `poll`."""
        self._tick("poll", now)

    # --- after a call ---

    def done(self, taken: Iterable[str] = ()) -> None:
        """Note that a call has to be drained, and which cancels it took."""
        self.open.update(taken)
        self.settled = False

    def output(self, output: Output | SessionOutput, now: float) -> None:
        """Check what `poll` returned."""
        self.in_drain = not isinstance(output, Wait)
        if isinstance(output, Wait):
            self.settled = True
            self._wait = output
            self._note_overdue(now)
        elif isinstance(output, Accepted | Rejected | Unresolved):
            assert output.id in self.open, (
                f"a second outcome, or one for a cancel that was never taken: {output!r}"
            )
            self.open.remove(output.id)

    def ended(self) -> None:
        """Check that every cancel has its outcome."""
        assert not self.open, f"closed without an outcome for {sorted(self.open)}"

    # --- private ---

    def _tick(self, call: str, now: float) -> None:
        if not isinstance(now, (float, int)) or not -inf < now < inf:
            return  # refused by the core
        before, self._latest = self._latest, now
        if before is not None and now < before:
            self._timeout_at = None
            self.broken(Rule.CLOCK, f"{call} got the time {now} after {before}")

    def _check_drained(self, call: str) -> None:
        if not self.settled:
            self.broken(Rule.DRAIN, f"{call} was called before the drain had ended in a Wait")
        self.in_drain = False

    def _note_overdue(self, now: float) -> None:
        until = self._wait.until
        self._overdue = self._overdue + 1 if until is not None and now >= until else 0
        if self._overdue > 2 * BACKLOG:
            overdue, self._overdue = self._overdue, 0
            self.broken(
                Rule.OVERDUE,
                f"{overdue} drains ended past a deadline, and handle_timeout was not called",
            )


def _ids(ids: tuple[str, ...]) -> str:
    return ", ".join(map(repr, ids)) or "no cancel"
