"""`StrictSession`, a `Session` that checks its driver.

It is to `Session` what `StrictConnection` is to `Connection`, and also checks, for each link, that
`opened` comes once and before any message, and that nothing comes after `lost`.

A link may end while a report about it is on its way. So a message, one `opened` and one `lost` for
a link that has ended are no errors, as in `Session`. After `Ended`, only one `lost` for each link
is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

import attrs

from ..._machine.arguments import Queued, unsent_ids
from ..._machine.links import REST
from ..._machine.rate_limit import Budget
from ..._machine.session import Session
from ..._machine.session_config import Policy, SessionConfig
from ..._machine.session_events import Dial, Ended, LinkTransmit, RestCancel, SessionOutput
from ..._machine.session_states import SessionState
from ..._values.credentials import SignedLogin
from ..._values.orders import CancelOrder, InstType
from ..._values.set_module import set_module
from ..._wire.codec import Codec
from .driver_checks import DriverChecks, Rule


@attrs.define
class _Reports:
    """What a driver has reported about a link."""

    opened: bool = False
    lost: bool = False
    last: tuple[str, ...] = ()
    """The ids of the cancels in the last frame for this link."""


@set_module("bitget_proto.testing")
class StrictSession(Session):
    """A `Session` that raises `DriverError` from the call with which its driver breaks a rule.

    It detects what `StrictConnection` detects. It also detects wrong reports: a report for a link
    that was never dialled, a second `opened` or `lost` for a link, a message before `opened`, any
    report after `lost`, any report except `lost` after `Ended`, and a second report of a REST
    request. Use it in tests wherever a `Session` is expected.
    """

    __slots__ = ("_checks", "_reports", "_requests")

    def __init__(
        self,
        config: SessionConfig | None = None,
        codec: Codec | None = None,
        budget: Budget | None = None,
        *,
        jitter: Callable[[], float],
    ) -> None:
        super().__init__(config, codec, budget, jitter=jitter)
        self._checks = DriverChecks()
        self._reports: dict[int, _Reports] = {}
        self._requests: set[int] = set()
        """The numbers of the REST requests about which nothing has been reported yet."""

    # --- inputs ---

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """Like `Session.opened`; raises DriverError for a second call, or a call after `lost`."""
        self._checks.input("opened", now)
        reports = self._of("opened", link)
        if reports.opened:
            self._checks.broken(Rule.DIAL, f"opened was called a second time for link {link}")
        super().opened(link, now, login=login)
        reports.opened = True
        self._checks.done()

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """Like `Session.receive`.

        Raises: DriverError before `opened`, after `lost`, after the end, and for starved timers.
        """
        self._checks.input("receive", now)
        if not self._of("receive", link).opened:
            self._checks.broken(Rule.END, f"receive was called for link {link} before opened")
        self._checks.receive()
        super().receive(link, message, now)
        self._checks.done()

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """Like `Session.lost`.

        Raises: DriverError for a second call, and for ids of frames other than the last frame that
        was given to this link.
        """
        self._checks.input("lost", now)
        reports = self._of("lost", link)
        ids = unsent_ids(unsent)
        self._checks.lost(ids, reports.last)
        super().lost(link, now, reason, ids, retry_after)
        reports.lost = True
        self._checks.done()

    def rest_replied(self, number: int, reply: tuple[int, str | bytes], now: float) -> None:
        """Like `Session.rest_replied`; raises DriverError for a second report of a request."""
        self._checks.input("rest_replied", now)
        super().rest_replied(number, reply, now)
        self._reported("rest_replied", number)

    def rest_failed(self, number: int, reason: str, now: float, *, unsent: bool = False) -> None:
        """Like `Session.rest_failed`; raises DriverError for a second report of a request."""
        self._checks.input("rest_failed", now)
        super().rest_failed(number, reason, now, unsent=unsent)
        self._reported("rest_failed", number)

    def handle_timeout(self, now: float) -> None:
        """Like `Session.handle_timeout`; raises DriverError for the same time again and again."""
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
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        """Like `Session.cancel`; raises DriverError when the previous call was not drained."""
        self._checks.command("cancel", now)
        taken = super().cancel(order, now, id, timeout, policy, urgent)
        self._checks.done([taken])
        return taken

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """Like `Session.cancel_many`; raises DriverError when the previous call was not drained."""
        self._checks.command("cancel_many", now)
        taken = super().cancel_many(orders, now, timeout, policy)
        self._checks.done(taken)
        return taken

    def withdraw(self, id: str, now: float) -> bool:
        """Like `Session.withdraw`; raises DriverError when the previous call was not drained."""
        self._checks.command("withdraw", now)
        withdrawn = super().withdraw(id, now)
        self._checks.done()
        return withdrawn

    def send(self, text: str, now: float) -> None:
        """Like `Session.send`; raises DriverError when the previous call was not drained."""
        self._checks.command("send", now)
        super().send(text, now)
        self._checks.done()

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """Like `Session.subscribe_orders`; raises DriverError when the last call was not drained."""
        self._checks.command("subscribe_orders", now)
        super().subscribe_orders(now, inst_types)
        self._checks.done()

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """Like `Session.close`; raises DriverError when the previous call was not drained."""
        self._checks.command("close", now)
        super().close(now, queued, within)
        self._checks.done()

    # --- outputs ---

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """Like `Session.poll`; raises DriverError for a clock that runs backwards."""
        self._checks.poll(now)
        output = super().poll(now, busy)
        self._checks.output(output, now)
        if isinstance(output, Dial):
            self._reports[output.link] = _Reports()
        elif isinstance(output, LinkTransmit):
            assert output.link not in busy, "a LinkTransmit was given to a link that is busy"
            self._reports[output.link].last = output.ids
        elif isinstance(output, RestCancel):
            assert REST not in busy, "a RestCancel was given although REST is busy"
            self._requests.add(output.number)
        elif isinstance(output, Ended):
            self._checks.ended()
        return output

    # --- private ---

    def _reported(self, call: str, number: int) -> None:
        """Note that the result of a REST request was reported."""
        if number in self._requests:
            self._requests.remove(number)
        else:
            self._checks.broken(
                Rule.LINK, f"{call} was called a second time for the REST request {number}"
            )
        self._checks.done()

    def _of(self, call: str, link: int) -> _Reports:
        """Return the reports about a link, and check that another report may come.

        For a link that was never dialled, `Session` refuses the call itself.
        """
        reports = self._reports.get(link) if type(link) is int else None
        if reports is None:
            if type(link) is int:
                self._checks.broken(
                    Rule.LINK,
                    f"{call} was called for link {link}, which no Dial has named",
                )
            return _Reports(opened=call == "receive")
        if reports.lost and call == "lost":
            self._checks.broken(Rule.END, f"lost was called a second time for link {link}")
        elif reports.lost:
            self._checks.broken(Rule.END, f"{call} was called for link {link} after its lost")
        elif self.state is SessionState.ENDED and call != "lost":
            self._checks.broken(Rule.END, f"{call} was called for link {link} after Ended")
        return reports
