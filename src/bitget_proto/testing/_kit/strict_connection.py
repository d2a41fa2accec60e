"""`StrictConnection`, a `Connection` that checks its driver.

It behaves exactly like a `Connection`, and adds only `DriverError`. It reports what is visible from
inside: breaks of drain, end and clock at once, and gross breaks of write, overdue and alternate.
What a driver does with its socket and timers (writing whole and in order, arming, reading while the
application is busy) is visible only to a peer.

It also checks the library: a second outcome for a cancel, or none by the end, raises an
AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..._machine.arguments import Queued, unsent_ids
from ..._machine.connection import Connection
from ..._machine.connection_config import Config
from ..._machine.rate_limit import Budget
from ..._values.credentials import SignedLogin
from ..._values.events import Closed, Output, Transmit
from ..._values.orders import CancelOrder, InstType
from ..._values.set_module import set_module
from ..._values.states import State
from ..._wire.codec import Codec
from .driver_checks import DriverChecks, Rule


@set_module("bitget_proto.testing")
class StrictConnection(Connection):
    """A `Connection` that raises `DriverError` from the call with which its driver breaks a rule.

    It detects breaks of the rules drain, end and clock. It detects a break of write when `lost`
    names a frame other than the last; of overdue when a timer fires early again and again, or
    never; and of alternate when messages are handed over past a deadline without end. Use it in
    tests wherever a `Connection` is expected.
    """

    __slots__ = ("_checks", "_last", "_lost")

    def __init__(
        self, config: Config | None = None, codec: Codec | None = None, budget: Budget | None = None
    ) -> None:
        super().__init__(config, codec, budget)
        self._checks = DriverChecks()
        self._last: tuple[str, ...] = ()
        """The ids of the cancels in the last frame."""
        self._lost = False

    # --- inputs ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """Like `Connection.opened`; raises DriverError when the connection has ended."""
        self._checks.input("opened", now)
        if self.state is State.CLOSED:
            self._checks.broken(
                Rule.END,
                "opened was called after the end: close the socket instead",
            )
        super().opened(now, login=login)
        self._checks.done()

    def receive(self, message: str | bytes, now: float) -> None:
        """Like `Connection.receive`.

        Raises: DriverError before `opened`, after the end, and for starved timers.
        """
        self._checks.input("receive", now)
        if self.state is State.NEW:
            self._checks.broken(Rule.END, "receive was called before opened")
        if self.state is State.CLOSED:
            self._checks.broken(Rule.END, "receive was called after the end")
        self._checks.receive()
        super().receive(message, now)
        self._checks.done()

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """Like `Connection.lost`; raises DriverError for a second call or several unsent frames."""
        self._checks.input("lost", now)
        if self._lost:
            self._checks.broken(Rule.END, "lost was called a second time")
        ids = unsent_ids(unsent)
        self._checks.lost(ids, self._last)
        super().lost(now, reason, ids)
        self._lost = True
        self._checks.done()

    def handle_timeout(self, now: float) -> None:
        """Like `Connection.handle_timeout`; raises DriverError for the same time again and again."""
        self._checks.timeout(now)
        super().handle_timeout(now)
        self._checks.done()

    # --- commands ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """Like `Connection.cancel`; raises DriverError when the previous call was not drained."""
        self._checks.command("cancel", now)
        taken = super().cancel(order, now, id, timeout, urgent)
        self._checks.done([taken])
        return taken

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """Like `Connection.cancel_many`; raises DriverError when the last call was not drained."""
        self._checks.command("cancel_many", now)
        taken = super().cancel_many(orders, now, timeout)
        self._checks.done(taken)
        return taken

    def withdraw(self, id: str, now: float) -> bool:
        """Like `Connection.withdraw`; raises DriverError when the previous call was not drained."""
        self._checks.command("withdraw", now)
        withdrawn = super().withdraw(id, now)
        self._checks.done()
        return withdrawn

    def send(self, text: str, now: float) -> None:
        """Like `Connection.send`; raises DriverError when the previous call was not drained."""
        self._checks.command("send", now)
        super().send(text, now)
        self._checks.done()

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """Like `Connection.subscribe_orders`; raises DriverError when the last call was not
        drained.
        """
        self._checks.command("subscribe_orders", now)
        super().subscribe_orders(now, inst_types)
        self._checks.done()

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """Like `Connection.close`; raises DriverError when the previous call was not drained."""
        self._checks.command("close", now)
        super().close(now, queued, within)
        self._checks.done()

    # --- outputs ---

    def poll(self, now: float, writable: bool = True) -> Output:
        """Like `Connection.poll`; raises DriverError for a clock that runs backwards."""
        self._checks.poll(now)
        output = super().poll(now, writable)
        self._checks.output(output, now)
        if isinstance(output, Transmit):
            assert writable, "a Transmit was given to a driver that cannot write"
            self._last = output.ids
        elif isinstance(output, Closed):
            self._checks.ended()
        return output
