"""The driver that all transports share: it joins a core to its links and to the clock.

It follows the driver contract (docs/driver.md): drain after every input and command, one `lost` for
each link, nothing after the end. Nothing here waits.

- Each transport has its own kind of `Link`. A link writes the frames that it is given, reports what
  happened, and reports when it cannot take more. It holds at most one unwritten frame.
- An `Exception` that a function of the caller raises becomes an event. Any other exception that
  escapes a step (a call of the core, with its drain) came from outside, for example from a signal
  handler. The state may be inconsistent then: see `interrupted`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from math import inf
from typing import Protocol

import attrs

from bitget_proto import (
    Budget,
    Closed,
    Config,
    Dial,
    Ended,
    Hangup,
    LinkHangup,
    LinkTransmit,
    Policy,
    Ready,
    RestCancel,
    Transmit,
    Unresolved,
    Up,
    ValidationError,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)

from .account import Account
from .address_race import Address, AddressBook
from .checks import safe_repr
from .clock import clock
from .confirmer import Confirmer
from .errors import ConnectFailed, UpgradeRefused
from .first_login import FirstLogin
from .http_refusal import http_date
from .limits import Limits
from .log import ChannelLog
from .login_time import LoginTime
from .outcome_router import OutcomeRouter, Waiter
from .reporter import Observe, Reporter
from .rest_cancels import Report, RestCancels
from .shared_budget import SharedBudget
from .single_link import ONLY_LINK, Core, SingleLink
from .stalled_writes import StalledWrites
from .turns import OVERDUE_MESSAGES, Arrivals

REST = 0
"""Stands for REST among the links that are busy: see `Session.poll`."""

_FILL_SECONDS = 1e-2
"""Seconds for which orders are submitted before arrived messages are processed."""


class Link(Protocol):
    """One WebSocket of a transport, dialled or open."""

    @property
    def stalled_since(self) -> float:
        """The time at which the current, still incomplete write stalled; infinity if none is
        pending.
        """
        ...

    @property
    def address(self) -> Address | None:
        """The address that the transport connected to; None if it did not choose the address."""
        ...

    def write(self, text: str, ids: tuple[str, ...]) -> None: ...
    def take_back(self) -> tuple[str, ...]:
        """Return the ids of the cancels in the frame that this link still holds, if it is certain
        that no byte of the frame was sent; otherwise return none. Called when the link has ended.

        After this call no byte of the frame is sent, even if the peer reads again.
        """
        ...

    def hang_up(self, code: int, reason: str) -> None:
        """Close the WebSocket with a close frame, within `Limits.close_timeout`; or cancel the
        dial.
        """
        ...

    def reset(self) -> None:
        """Abort the socket now, without a close frame, so that bytes still in the kernel's send
        buffer cannot reach the exchange.
        """
        ...


class Driver(ABC):
    """Drives a core over any number of links, by the rules of docs/driver.md."""

    def __init__(
        self,
        core: Core,
        account: Account,
        limits: Limits | None,
        config: Config,
        observe: Observe | None = None,
    ) -> None:
        if limits is not None and not isinstance(limits, Limits):
            raise ValidationError(f"limits must be a Limits, or None; got {safe_repr(limits)}")
        self.limits = Limits() if limits is None else limits
        self.log = ChannelLog(account)
        self.router = OutcomeRouter(
            core, self.limits, config.id_prefix, Reporter(self.log, observe)
        )
        self.account = account
        self.addresses = AddressBook()
        self.max_message = config.max_message
        self.first_login = FirstLogin(account.target, self.limits)
        self.login_time = LoginTime(account, self.first_login, self.log, self.router.dispatch)
        # Seconds within which a login must be accepted. A connection has limits of its own.
        self.up_timeout = None if isinstance(core, SingleLink) else self.limits.up_timeout
        self.until = inf
        """The next deadline: call `fire` then."""
        self.armed = inf
        """The time for which the transport has set its timer: `until` or earlier."""
        self.arrivals = Arrivals()

        self.shared: SharedBudget | None = None
        """The budget, if it is leased."""
        self._core = core
        self._links: dict[int, Link] = {}
        """The links that are dialled or open."""
        self._stalled = StalledWrites(self.limits.write_timeout, self._links)
        self.confirmer: Confirmer | None = None
        """Finds out what became of orders, after `follow_orders`."""
        self.rest: RestCancels | None = None
        """The cancels that are sent by REST, with `SessionConfig.rest_after`."""
        self._awaiting_time: set[int] = set()
        """The links whose login waits for the exchange's time."""

    def follow_orders(self, confirmer: Confirmer) -> None:
        """Subscribe to changes of the account's orders, and find out what becomes of them."""
        self.confirmer = confirmer
        confirmer.report = self.router.report
        confirmer.exchange_time = self.login_time.corrected
        confirmer.stamp_refused = self.login_time.stamp_refused
        self._core.subscribe_orders(self.now())

    # --- implemented by each transport ---

    @abstractmethod
    def dial(self, number: int) -> Link:
        """Start to open a WebSocket; then call `opened`, `failed` or `lost`."""

    @abstractmethod
    def send_rest(self, cancel: RestCancel) -> None:
        """Send a REST request, soon and once; then call `rest_ended`."""

    @abstractmethod
    def interrupted(self) -> None:
        """Handle an exception that interrupted a step, for example one from a signal handler."""

    @abstractmethod
    def rearm(self) -> None:
        """Set the timer earlier: `until` is earlier than `armed`."""

    now = staticmethod(clock)
    """The clock of all transports."""

    # --- reports from the links ---

    def opened(self, number: int, date: str | None) -> None:
        """The WebSocket is open; `date` is the Date of the answer to the handshake."""
        if number not in self._links:
            return
        theirs = http_date(date)
        self.login_time.handshake(theirs)
        if self.confirmer is not None and self.login_time.must_ask(theirs):
            self._awaiting_time.add(number)
            self.router.wake_listeners()
        else:
            self._log_in(number)

    def _log_in(self, number: int) -> None:
        login = self.login_time.sign(self.login_time.exchange_time())
        if login is None:
            link = self._links[number]
            try:
                self.lost(number, str(self.first_login.dial_failure))
            finally:
                link.hang_up(1000, "")
            return
        now = self.now()
        self._core.opened(number, now, login=login)
        self.drain(now)

    def received(self, number: int, message: str | bytes) -> None:
        """The WebSocket received a message."""
        if number in self._links:
            now = self.now()
            try:
                self._core.receive(number, message, now)
            finally:
                self.drain(now)
            if now < self.until:
                self.arrivals.messages = 0
                return
            self.arrivals.messages += 1
            if self.arrivals.messages >= OVERDUE_MESSAGES:
                self.fire(self.now())

    def lost(self, number: int, reason: str, retry_after: float | None = None) -> None:
        """The WebSocket has ended, or could not be opened. A repeated call does nothing."""
        link = self._links.pop(number, None)
        if link is not None:
            try:
                self._stalled.numbers.discard(number)
                self._awaiting_time.discard(number)
                now = self.now()
                self._core.lost(number, now, reason, link.take_back(), retry_after)
            except BaseException:
                self.interrupted()
                raise
            self.drain(now)

    def failed(self, number: int, failure: ConnectFailed) -> None:
        """The dial failed."""
        if number in self._links:
            self.first_login.dial_failure = failure
            self.lost(
                number,
                str(failure),
                failure.retry_after if isinstance(failure, UpgradeRefused) else None,
            )

    def stalled(self, number: int) -> None:
        """A frame was only partly written. The link gets no other frame until it reports
        `flowing`.
        """
        if number in self._links:
            self._stalled.numbers.add(number)

    def flowing(self, number: int) -> None:
        """Everything was written."""
        if number in self._stalled.numbers:
            self._stalled.numbers.discard(number)
            self.drain(self.now())

    def rest_not_sent(self, cancel: RestCancel, reason: str) -> None:
        """A REST request was not sent; `rest_ended` follows."""
        self.log.rest_not_sent(cancel.id, reason)

    def rest_ended(self, report: Report) -> None:
        """A REST request has ended; `report` informs the core how."""
        if self.router.closed is None:
            now = self.now()
            try:
                report(now)
            except BaseException:
                self.interrupted()
                raise
            self.drain(now)

    # --- time ---

    def fire(self, now: float) -> None:
        """Fire what is due: give up links that cannot write, and call the core's timers."""
        self.arrivals.messages = 0
        self.arrivals.restart()
        for number in self._stalled.overdue(now):
            link = self._links[number]
            try:
                self.lost(number, f"the exchange read nothing for {self.limits.write_timeout} s")
            finally:
                link.reset()
        try:
            if self.router.closed is None:
                self._core.handle_timeout(now)
        finally:
            self.drain(self.now())  # `now` may be ahead by a tick of the loop

    # --- the exchange's time ---

    @property
    def waits_for_time(self) -> bool:
        """Whether a login waits for the exchange's time: request it by REST, then call
        `time_answered`.
        """
        return bool(self._awaiting_time)

    def time_answered(self, answer: tuple[float, float] | None) -> None:
        """Handle the answer to the request for the exchange's time, and log in on the waiting
        links.

        `answer` is the exchange's time, and the `clock()` time at which it was read; None without
        an answer.
        """
        self.login_time.answered(answer)
        waiting, self._awaiting_time = self._awaiting_time, set()
        for number in waiting & self._links.keys():
            self._log_in(number)

    # --- many at once ---

    def submit_orders(self, waiter: Waiter, timeout: float | None, policy: Policy | None) -> bool:
        """Submit as many of the waiter's orders as there is room for, and drain after each.

        Return whether there may be more: it stops after 10 ms, so that arrived messages are
        processed.

        Raises: the same as `OutcomeRouter.submit_next_order`.
        """
        stop = self.now() + _FILL_SECONDS
        while self.router.submit_next_order(waiter, self.now(), timeout, policy):
            self.drain(self.now())  # the iterable may have been slow
            if self.now() >= stop:
                return True
        return False

    # --- output of the core ---

    def drain(self, now: float) -> None:
        """Handle all output of the core. Call it after every command, with the same `now`."""
        core, links, busy, rest = self._core, self._links, self._stalled.numbers, self.rest
        try:
            while True:
                output = core.poll(now, busy if rest is None or not rest.full else (*busy, REST))
                if isinstance(output, Wait):
                    break
                if isinstance(output, Transmit):
                    links[output.link if isinstance(output, LinkTransmit) else ONLY_LINK].write(
                        output.text, output.ids
                    )
                    now = self.now()  # writing takes time, and the link may have reported something
                elif isinstance(output, Hangup):
                    number = output.link if isinstance(output, LinkHangup) else ONLY_LINK
                    link = links.pop(number, None)
                    if link is not None:
                        busy.discard(number)
                        if output.abort:
                            link.reset()
                        else:
                            link.hang_up(output.code, output.reason)
                    now = self.now()
                elif isinstance(output, RestCancel):
                    self.send_rest(output)
                elif isinstance(output, Dial):
                    if output.stamp_refused:
                        self.login_time.stamp_refused()
                    if self.login_time.fails():
                        core.lost(output.link, now, str(self.first_login.dial_failure))
                    else:
                        self.log.dialling(output.link)
                        links[output.link] = self.dial(output.link)
                    now = self.now()
                else:
                    if isinstance(output, (Ready, Up)):
                        self._served(output.link if isinstance(output, Up) else ONLY_LINK)
                    if not self.first_login.accepted:
                        self.first_login.add(output)
                    self.router.dispatch(output)
                    if self.confirmer is not None:
                        self.confirmer.saw(output)
            until = inf if output.until is None else output.until
            if busy:
                until = min(until, self._stalled.due())
            if self.shared is not None:
                until = min(until, self.shared.drained())
            self.until = until
            if until < self.armed:
                self.rearm()
        except BaseException:
            self.interrupted()
            raise

    def share(self, budget: Budget | None) -> None:
        """Note that the core spends from this budget."""
        if isinstance(budget, SharedBudget):
            self.shared = budget
            budget.sharers.add(self)

    def waiting_for_grant(self) -> int:
        """Return how many more cancels could be sent with a larger grant; 0 while a write is
        stalled.
        """
        return 0 if self._stalled.numbers else self._core.waiting_for_grant

    def _served(self, number: int) -> None:
        """The login of this link was accepted."""
        link = self._links.get(number)
        if link is not None and link.address is not None:
            self.addresses.served(link.address)

    def is_up(self) -> bool:
        """Like `FirstLogin.check`."""
        return self.first_login.check(self.router.closed)

    def break_off(self, why: str) -> None:
        """End everything after an interrupted step. Nothing more is written.

        The core ends, with an outcome for each cancel that it knows. The router adds one for each
        cancel that was between the core and the router. If this is interrupted, call it again.
        """
        core, now, router = self._core, self.now(), self.router
        numbers = {ONLY_LINK} if isinstance(core, SingleLink) else set(self._links)
        for link in self._links.values():
            link.reset()
        self._links.clear()
        self._stalled.numbers.clear()
        self.until = inf
        losses = [partial(core.lost, number, now, why) for number in numbers]
        close = partial(core.close, now)
        for step in (*losses, close, close):
            step()
            while not isinstance(output := core.poll(now, {*numbers, REST}), Wait):
                if isinstance(output, Unresolved) and output.why in (
                    WhyUnresolved.LOST,
                    WhyUnresolved.CLOSED,
                ):
                    router.dispatch(attrs.evolve(output, why=WhyUnresolved.INTERRUPTED))
                elif not isinstance(output, (Transmit, Hangup, Dial, RestCancel, Closed, Ended)):
                    router.dispatch(output)
        router.settle_all(
            now,
            Closed(why=WhyClosed.INTERRUPTED, detail=why)
            if isinstance(core, SingleLink)
            else Ended(why=WhyEnded.INTERRUPTED, detail=why, code=None),
        )

    def end(self) -> None:
        """End at once what is still open. The links close themselves in bounded time."""
        # The first `close` waits for answers to what was sent, the second does not.
        for _ in range(2):
            now = self.now()
            self._core.close(now)
            self.drain(now)
