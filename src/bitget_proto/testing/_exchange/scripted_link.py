"""The exchange's end of one WebSocket, and what all links of a scripted exchange share."""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Protocol, TypeAlias

import attrs

from ..._machine.deadlines import finite_time
from ..._values.credentials import SignedLogin
from ..._values.events import Hangup, Transmit, Wait
from ..._values.set_module import set_module
from ..._values.states import State
from ..._values.timers import Timer
from ..._wire.exchange_codec import encode_event
from .answers import Sent, answers, going_away
from .behaviour import Behaviour, Outbox, _BehaviourCommands
from .delayed import Delayed
from .exchange_connection import ExchangeConnection
from .exchange_events import (
    ABORT,
    BatchRequested,
    CancelRequested,
    ConnectionDropped,
    LoginRequested,
    OtherRequested,
)
from .faults import AT_LOGIN, Fault, FaultQueue
from .logins import Logins, Refusal, invalid_login, refusal
from .order_book import BookOrder
from .rest_api import Account
from .seen_frames import Direction, SeenFrame, redacted
from .subscriptions import Channels
from .trading import Trading

_NOT_LOGGED_IN = "30004", "User not logged in/User must be logged in"

ScriptedOutput: TypeAlias = Transmit | Hangup | ConnectionDropped | Wait
"""What `ScriptedLink.poll` returns."""


class Exchange(Account, Protocol):
    """The exchange that a link belongs to: a `ScriptedExchange`, whose settings may change."""

    late_by: float
    grace: float
    tells_limits: bool
    on_frame: Callable[[SeenFrame], object] | None

    def handle_timeout(self, now: float) -> None: ...


class ExchangeLinks:
    """What all links of an exchange share."""

    def __init__(self, trading: Trading) -> None:
        self.trading = trading
        self.faults: FaultQueue[Fault] = FaultQueue(frozenset(Fault))
        self.login_faults: FaultQueue[Fault] = FaultQueue(AT_LOGIN)
        self.logins: Logins = Logins()
        self.behaviour: Behaviour = Behaviour()
        """The behaviour of a link that has none of its own."""

        self.open: dict[ScriptedLink, None] = {}
        """The open links, in the order they were opened."""

    def behave(self, **changes: Any) -> None:
        """Change the behaviour of all links."""
        self.behaviour = attrs.evolve(self.behaviour, **changes)
        for link in tuple(self.open):
            link._behave(**changes)

    def push(self, placed: BookOrder, by: "ScriptedLink | None", now: float) -> None:
        """Send the order's new state to all links that have subscribed to it."""
        for link in tuple(self.open):
            if link._push(placed, now) and link is not by:
                link._notify()

    def go_away(self, now: float, grace: float) -> None:
        """Announce on every link that it will be dropped after `grace` seconds."""
        for link in tuple(self.open):
            link._go_away(now, grace)
            link._notify()

    def notify_all(self) -> None:
        """Call `on_output` of every link, because its output or its next timer may have changed."""
        for link in tuple(self.open):
            link._notify()


@set_module("bitget_proto.testing")
class ScriptedLink(_BehaviourCommands):
    """The exchange's end of one WebSocket to a `ScriptedExchange`. Drive it like a `Connection`.

    A request on one link may cause a push on another. Set `on_output` to a function that drains
    this link. It is called whenever the link may have output that your own calls on it did not
    cause.
    """

    def __init__(self, exchange: Exchange, links: ExchangeLinks, number: int) -> None:
        self._exchange = exchange
        self._links = links
        self.number = number
        """The number of this link, counted from 1."""

        self.account: str | None = None
        """The API key that was used to log in."""

        self.on_output: Callable[[], object] | None = None
        self.connection: ExchangeConnection = ExchangeConnection(exchange.config)
        self._channels = Channels(exchange.config.dialect, lenient=exchange.config.lenient)
        self._outbox = Outbox(links.behaviour)
        self._behaviour_changes: dict[str, Any] = {}
        """The behaviour that was set for this link."""
        self._delayed = Delayed()
        self._now: float = 0.0

    def __repr__(self) -> str:
        return f"<ScriptedLink {self.state.value}>"

    @property
    def state(self) -> State:
        """The state of this end of the connection."""
        return self.connection.state

    @property
    def silent(self) -> bool:
        """Whether the link is silent, after `go_silent`."""
        return self._outbox.behaviour.silent

    def opened(self, now: float) -> None:
        """Handle a connection from the client."""
        self.connection.opened(now)
        if self.state is State.AUTHENTICATING:
            self._links.open[self] = None
            self._outbox.behaviour = attrs.evolve(self._links.behaviour, **self._behaviour_changes)

    def receive(self, message: str | bytes, now: float) -> None:
        """Handle a message from the client."""
        self._exchange.handle_timeout(now)
        if not self._outbox.behaviour.deaf:
            self._seen("received", message, now)
            self.connection.receive(message, now)

    def lost(self, now: float, reason: str = "") -> None:
        """Handle the end of the transport."""
        self._leave()
        self.connection.lost(now, reason)
        self._outbox.end()

    def close(self, now: float, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Code 1006 drops the transport without a close frame."""
        self._leave()
        self.connection.close(now, code, reason)

    def say(self, text: str, now: float) -> None:
        """Send any text: a push, a notice, garbage."""
        self.connection.say(text, now)

    def handle_timeout(self, now: float) -> None:
        """Fire the timers that are due, and perform the delayed sends and hangups that are due."""
        self._exchange.handle_timeout(now)
        if self.silent:
            return
        self.connection.handle_timeout(now)
        while self._delayed.due <= now:
            what = self._delayed.pop()
            if self.state is not State.CLOSED:
                self._send(what, now)

    def poll(self, now: float, writable: bool = True) -> ScriptedOutput:
        """Return the next output. Call it after every other call, until it returns a `Wait`."""
        self._now = now = finite_time(now, self._now)
        wait = self._collect(now)
        output = self._outbox.pop(now, writable=writable)
        if output is None:
            return (
                wait
                if (until := self._due(wait, writable=writable)) is None
                else Wait(until=until, timer=Timer.SCRIPT)
            )
        if isinstance(output, Transmit):
            self._seen("sent", output.text, now)
        return output

    # --- requests and answers ---

    def _collect(self, now: float) -> Wait:
        """Handle all requests, move output to the outbox, and return the connection's own wait."""
        while not isinstance(output := self.connection.poll(now), Wait):
            if isinstance(output, LoginRequested):
                self._login(output.login, now)
            elif isinstance(output, (CancelRequested, BatchRequested)):
                self._cancel(output, now)
            elif isinstance(output, OtherRequested):
                self._other(output, now)
            else:
                if isinstance(output, ConnectionDropped):
                    self._leave()
                self._outbox.put(output, now)
        return Wait(until=None, timer=None) if self.silent else output

    def _due(self, wait: Wait, *, writable: bool) -> float | None:
        """Return when the next scripted output is due; None if the connection's own timer is
        earlier.
        """
        due = self._outbox.due(writable=writable)
        ends = self._exchange.countdown_ends
        if ends is not None and self in self._links.open:
            due = min(due, ends)
        if not self.silent:
            due = min(due, self._delayed.due)
        return due if due < (inf if wait.until is None else wait.until) else None

    def _behave(self, **changes: Any) -> None:
        self._behaviour_changes |= changes
        self._outbox.behaviour = attrs.evolve(self._outbox.behaviour, **changes)
        if self.silent:
            self._outbox.forget()
        self._notify()

    def _notify(self) -> None:
        if self.on_output is not None:
            self.on_output()

    def _other(self, request: OtherRequested, now: float) -> None:
        if self.state is State.CLOSED:
            return
        ready = self.state is State.READY
        if request.op != "trade":
            for answer in self._channels.answers(request.op, request.text, ready=ready):
                self.say(answer, now)
        elif not ready:
            self._say_error(*_NOT_LOGGED_IN, now)
        else:
            answer, placed = self._links.trading.place(request.text, now, self._exchange_ts(now))
            self.say(answer, now)
            if placed is not None:
                self._links.push(placed, self, now)

    def _push(self, placed: BookOrder, now: float) -> bool:
        """Send the pushes that this client has subscribed to; return whether there were any."""
        if self.state is not State.READY:
            return False
        pushes = tuple(self._channels.pushes(placed, self._exchange_ts(now)))
        for push in pushes:
            self.say(push, now)
        return bool(pushes)

    def _leave(self) -> None:
        self._delayed.clear()
        self._links.open.pop(self, None)

    def _seen(self, direction: Direction, message: str | bytes, now: float) -> None:
        if self._exchange.on_frame is not None:
            self._exchange.on_frame(
                SeenFrame(at=now, link=self.number, direction=direction, text=redacted(message))
            )

    def _exchange_ts(self, now: float) -> int:
        return int(self._exchange.wall_clock(now) * 1000)

    def _login(self, login: SignedLogin, now: float) -> None:
        fault = self._links.login_faults.pop()
        if self.state is State.CLOSED or fault is Fault.SILENT:
            return
        if fault in (Fault.DROP_BEFORE, Fault.DROP_AFTER):
            self.close(now, ABORT, fault.value)
            return
        if fault is Fault.GOING_AWAY:
            self._go_away(now, self._exchange.grace)
        elif fault is Fault.THROTTLE:
            self._say_error("30006", "request too many", now)
        elif fault is Fault.GARBAGE:
            self.say("<html>", now)
        refused = self._refusal(login, now)
        if refused is None:
            self.account = login.api_key
            self.connection.accept_login(now)
        else:
            self.connection.refuse_login(refused.code, refused.message, now, stay=refused.stay)

    def _refusal(self, login: SignedLogin, now: float) -> Refusal | None:
        """Return the refusal of a login, or None when it is accepted."""
        exchange, logins = self._exchange, self._links.logins
        if (scripted := logins.refusal(now)) is not None:
            return scripted
        wrong = None
        if exchange.credentials is not None:
            wrong = invalid_login(
                login,
                exchange.credentials,
                exchange.wall_clock(now),
                lenient=exchange.config.lenient,
            )
        if wrong is not None:
            return wrong
        if logins.second is not None and any(
            link.account == login.api_key and link.state is State.READY for link in self._links.open
        ):
            return refusal(logins.second)
        return None

    def _cancel(self, request: CancelRequested | BatchRequested, now: float) -> None:
        fault = self._links.faults.pop()
        if self.state is State.CLOSED:
            return
        if fault is Fault.DROP_BEFORE:
            self.close(now, ABORT, fault.value)
            return
        self.connection.forget(request.id, now)
        if fault is Fault.THROTTLE:
            self._say_error("30006", "request too many", now)
            return
        exchange, trading = self._exchange, self._links.trading
        stamp, tells = self._exchange_ts(now), exchange.tells_limits
        encode, gone = (
            trading.cancel(request, now, fault, stamp, tells_limits=tells)
            if isinstance(request, CancelRequested)
            else trading.cancel_batch(request, now, fault, stamp, tells_limits=tells)
        )
        if fault is Fault.PUSH_FIRST:
            self._push_cancelled(gone, now)
        self._send_all(
            answers(fault, request.id, encode, late_by=exchange.late_by, grace=exchange.grace), now
        )
        if fault not in (Fault.PUSH_FIRST, Fault.NO_PUSH, Fault.PUSH_LATE):
            self._push_cancelled(gone, now)
        if fault is Fault.PUSH_TWICE:
            self._push_cancelled(gone, now)
        elif fault is Fault.PUSH_LATE:
            self._push_late(gone, now)

    def _push_cancelled(self, orders: list[BookOrder], now: float) -> None:
        for placed in orders:
            self._links.push(placed, self, now)

    def _push_late(self, orders: list[BookOrder], now: float) -> None:
        """Delay the pushes to all links by `late_by` seconds."""
        late_by = self._exchange.late_by
        for link in tuple(self._links.open):
            for placed in orders:
                for push in link._channels.pushes(placed, self._exchange_ts(now)):
                    link._delayed.put(now + late_by, push)
            if link is not self:
                link._notify()

    def _go_away(self, now: float, grace: float) -> None:
        if self.state is not State.CLOSED:
            self._send_all(going_away(grace), now)

    def _say_error(self, code: str, message: str, now: float) -> None:
        self.say(encode_event("error", int(code), message), now)

    def _send_all(self, items: Iterable[Sent], now: float) -> None:
        """Send what is due now, and delay the rest."""
        for seconds, what in items:
            if seconds is None:
                self._send(what, now)
            else:
                self._delayed.put(now + seconds, what)

    def _send(self, what: str | Hangup, now: float) -> None:
        if isinstance(what, Hangup):
            self.connection.close(now, what.code, what.reason)
        else:
            self.connection.say(what, now)
