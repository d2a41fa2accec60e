"""`StrictConnection`, a `Connection` that checks its driver.

It behaves exactly as a `Connection`, and adds only `DriverError`. It reports what is visible from
inside: breaks of drain, end and clock at once, and gross breaks of write, overdue and alternate.
What a driver does with its socket and timers (writing whole and in order, arming, reading while the
application is busy) is visible only to a peer.

It also checks the library: a second outcome, or none by the end, is an AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from ..._machine.arguments import Queued, unsent_ids
from ..._machine.connection import Connection
from ..._machine.connection_config import Config
from ..._machine.rate_limit import Budget
from ..._values.credentials import SignedLogin
from ..._values.enums import DescribedEnum
from ..._values.events import Accepted, Closed, Output, Rejected, Transmit, Unresolved, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._values.states import State
from ..._wire.codec import Codec

_SPIN = 100
"""How often in a row `handle_timeout` may get the same time; beyond that the driver spins."""

BACKLOG = 1200
"""How many messages a driver may hand over past a deadline before it must fire timers: an answer to
each of the 1000 cancels that may be in flight, and some more, because drains after writes count too.

It may drain twice as often.
"""


@set_module("bitget_proto.testing")
class Rule(DescribedEnum):
    """The rules of the driver contract, each with a sentence for the author of a driver."""

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
        "Hand over nothing before `opened` or after the end, which is one truthful `lost` or an obeyed `Hangup`.",
    )
    CLOCK = "clock", "`now` comes from one clock that does not run backwards."
    CALLER = (
        "caller",
        "One thread calls the connection; other threads reach it through a queue that wakes that thread.",
    )


@set_module("bitget_proto.testing")
class DriverError(AssertionError):
    """A driver broke a rule of the driver contract: `rule`."""

    def __init__(self, rule: Rule, what: str) -> None:
        super().__init__(f'{what}. Rule "{rule.value}": {rule.sentence}')
        self.rule = rule
        self.what = what


@set_module("bitget_proto.testing")
class StrictConnection(Connection):
    """A `Connection` that raises `DriverError` from the call with which its driver breaks a rule.

    It detects breaks of drain, end and clock; of write, when `lost` names more than one frame; of
    overdue, when a timer fires early again and again, or never; and of alternate, when messages are
    handed over past a deadline without end. Use it in tests wherever a `Connection` is expected.
    """

    __slots__ = (
        "_in_drain", "_latest", "_ledger", "_lost", "_overdue", "_settled_at_wait", "_spins", "_timeout_at", "_wait",
    )  # fmt: skip

    def __init__(
        self, config: Config | None = None, codec: Codec | None = None, budget: Budget | None = None
    ) -> None:
        super().__init__(config, codec, budget)
        self._latest: float | None = None
        self._ledger: set[str] = set()
        """The cancels that were taken and have no outcome yet."""
        self._settled_at_wait = True
        """Whether the last drain ended in a `Wait` and there was no input or command since."""
        self._in_drain = False
        """Whether a drain has begun and not ended."""
        self._lost = False
        self._wait = Wait(until=None, timer=None)
        self._spins = 0
        self._timeout_at: float | None = None
        """The last time that `handle_timeout` got."""
        self._overdue = 0
        """How many drains have ended past a deadline since the last `handle_timeout`."""

    # --- inputs ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """As `Connection.opened`; raises DriverError when the connection has ended."""
        self._input("opened", now)
        if self.state is State.CLOSED:
            raise DriverError(
                Rule.END,
                "opened was called after the end: close the socket instead",
            )
        super().opened(now, login=login)
        self._owe_drain()

    def receive(self, message: str | bytes, now: float) -> None:
        """As `Connection.receive`.

        Raises: DriverError before `opened`, after the end, and for starved timers.
        """
        self._input("receive", now)
        if self.state is State.NEW:
            raise DriverError(Rule.END, "receive was called before opened")
        if self.state is State.CLOSED:
            raise DriverError(Rule.END, "receive was called after the end")
        if self._overdue >= BACKLOG:
            raise DriverError(
                Rule.ALTERNATE,
                f"{BACKLOG} messages were handed over past a deadline, and no timer fired",
            )
        super().receive(message, now)
        self._owe_drain()

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """As `Connection.lost`; raises DriverError for a second call or several unsent frames."""
        self._input("lost", now)
        if self._lost:
            raise DriverError(Rule.END, "lost was called a second time")
        ids = unsent_ids(unsent)
        if len(ids) > 1:
            raise DriverError(
                Rule.WRITE,
                f"lost got {len(ids)} unsent frames: a driver may hold at most one",
            )
        super().lost(now, reason, ids)
        self._lost = True
        self._owe_drain()

    def handle_timeout(self, now: float) -> None:
        """As `Connection.handle_timeout`; raises DriverError for the same time again and again."""
        before, self._timeout_at = self._timeout_at, now
        # `until` may be a tick ahead of the driver's clock (rule "overdue"), so that later calls
        # may have an earlier time.
        self._input("handle_timeout", now, keeps_clock=now == self._wait.until)
        self._spins = self._spins + 1 if before == now else 0
        if self._spins > _SPIN:
            raise DriverError(
                Rule.OVERDUE,
                f"handle_timeout got the time {now} {self._spins} times in a row",
            )
        self._overdue = 0
        super().handle_timeout(now)
        self._owe_drain()

    # --- commands ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """As `Connection.cancel`; raises DriverError when the previous call was not drained."""
        self._command("cancel", now)
        taken = super().cancel(order, now, id, timeout, urgent)
        self._ledger.add(taken)
        self._owe_drain()
        return taken

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """As `Connection.cancel_many`; raises DriverError when the last call was not drained."""
        self._command("cancel_many", now)
        taken = super().cancel_many(orders, now, timeout)
        self._ledger.update(taken)
        self._owe_drain()
        return taken

    def withdraw(self, id: str, now: float) -> bool:
        """As `Connection.withdraw`; raises DriverError when the previous call was not drained."""
        self._command("withdraw", now)
        withdrawn = super().withdraw(id, now)
        self._owe_drain()
        return withdrawn

    def send(self, text: str, now: float) -> None:
        """As `Connection.send`; raises DriverError when the previous call was not drained."""
        self._command("send", now)
        super().send(text, now)
        self._owe_drain()

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """As `Connection.close`; raises DriverError when the previous call was not drained."""
        self._command("close", now)
        super().close(now, queued, within)
        self._owe_drain()

    # --- outputs ---

    def poll(self, now: float, writable: bool = True) -> Output:
        """As `Connection.poll`; raises DriverError for a clock that runs backwards."""
        self._tick("poll", now)
        output = super().poll(now, writable)
        self._in_drain = not isinstance(output, Wait)
        if isinstance(output, Wait):
            self._settled_at_wait = True
            self._wait = output
            self._note_overdue(now)
        elif isinstance(output, Transmit):
            assert writable, "a Transmit was given to a driver that cannot write"
        elif isinstance(output, Accepted | Rejected | Unresolved):
            assert output.id in self._ledger, (
                f"a second outcome, or one for a cancel that was never taken: {output!r}"
            )
            self._ledger.remove(output.id)
        elif isinstance(output, Closed):
            assert not self._ledger, f"closed without an outcome for {sorted(self._ledger)}"
        return output

    # --- checks ---

    def _note_overdue(self, now: float) -> None:
        until = self._wait.until
        self._overdue = self._overdue + 1 if until is not None and now >= until else 0
        if self._overdue > 2 * BACKLOG:
            raise DriverError(
                Rule.OVERDUE,
                f"{self._overdue} drains ended past a deadline, and handle_timeout was not called",
            )

    def _tick(self, call: str, now: float) -> None:
        if not isinstance(now, (float, int)) or not -inf < now < inf:
            return  # refused by `Connection`
        if self._latest is not None and now < self._latest:
            raise DriverError(Rule.CLOCK, f"{call} got the time {now} after {self._latest}")
        self._latest = now

    def _input(self, call: str, now: float, *, keeps_clock: bool = False) -> None:
        if not keeps_clock:
            self._tick(call, now)
        if not self._settled_at_wait:
            raise DriverError(Rule.DRAIN, f"{call} was called before the drain had ended in a Wait")
        self._in_drain = False
        if call != "handle_timeout":
            self._spins = 0

    def _command(self, call: str, now: float) -> None:
        # An application may answer an event with a command in the middle of a drain.
        self._tick(call, now)
        if not (self._settled_at_wait or self._in_drain):
            raise DriverError(
                Rule.DRAIN, f"{call} was called, and the previous call was not drained"
            )
        self._spins = 0

    def _owe_drain(self) -> None:
        self._settled_at_wait = False
