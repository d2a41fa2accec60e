"""A session and an exchange on a simulated network, in virtual time.

- `SessionPair` must keep the driver contract exactly, so that a failing test is never the driver's
  fault.
- Links do not wait for each other. At equal times, dials are answered first, then REST requests
  are handled, and then messages arrive on links.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import attrs

from ..._machine.arguments import Queued
from ..._machine.session import Session
from ..._machine.session_config import Policy
from ..._machine.session_events import (
    Dial,
    LinkHangup,
    LinkTransmit,
    RestCancel,
    SessionEvent,
)
from ..._machine.session_states import SessionState
from ..._values.credentials import Credentials, SignedLogin, sign_login
from ..._values.errors import LocalProtocolError, ValidationError, safe_repr
from ..._values.events import Accepted, Outcome, Rejected, Unresolved, Wait
from ..._values.orders import CancelOrder, InstType
from ..._values.rest_requests import sign_request
from ..._values.set_module import set_module
from .._exchange.scripted_exchange import ScriptedExchange
from .._exchange.scripted_link import ScriptedLink
from .clock import VirtualClock
from .network import End, Latency, Wire, handshake_refused, let_pass


@attrs.define
class _Request:
    """A REST request."""

    cancel: RestCancel
    due: float
    """When the request arrives at the exchange or, after that, its answer at the client."""

    refused: bool = False
    """Whether no connection could be opened for it."""

    arrived: bool = False
    answer: tuple[int, bytes] | None = None


@set_module("bitget_proto.testing")
class SessionPair:
    """A `Session` and the `ScriptedExchange` it talks to, driven in virtual time.

    `start` makes it dial, `cancel` requests a cancel, `run` lets time pass. `events` holds
    everything that the session reports, `outcomes` the outcomes by id; `dials`, `sent` and
    `rest_sent` hold its dials, frames and REST requests, with their times.

    A dial takes `dial_time` seconds. With `refuse_dials` it then fails, with `hold_dials` it is
    never answered; both may be changed at any time. `latency` applies to both directions, unless
    `latency_back` is given for messages from the exchange. `skew` is the error of the login
    timestamps in seconds, until a `Dial` asks for a corrected one.

    With `refuse_rest` no connection for a REST request can be opened, and with `hold_rest` requests
    arrive and are never answered. `ScriptedExchange.inject_rest` has more faults.

    `drop`, `stall`, `resume`, `freeze`, `thaw` and `say` apply to one link, by default the newest.
    `sleep` suspends the client. Most methods settle: they also process everything that is due at
    the current time.
    """

    def __init__(
        self,
        session: Session | None = None,
        exchange: ScriptedExchange | None = None,
        *,
        clock: VirtualClock | None = None,
        latency: Latency = 0.0,
        latency_back: Latency | None = None,
        dial_time: float = 0.0,
        skew: float = 0.0,
        credentials: Credentials | None = None,
    ) -> None:
        self.session: Session = Session(jitter=lambda: 0.5) if session is None else session
        self.exchange: ScriptedExchange = ScriptedExchange() if exchange is None else exchange
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        self.latency = latency
        self.latency_back = latency_back
        self.dial_time = dial_time
        self.skew: float = skew
        self.credentials = credentials
        self.refuse_dials = False
        self.hold_dials = False
        self.refuse_rest = False
        self.hold_rest = False
        self.events: list[SessionEvent] = []
        """The events and outcomes of the client, in order."""
        self.outcomes: dict[str, Outcome] = {}
        """The outcome of each cancel, by its id."""
        self.sent: list[tuple[float, LinkTransmit]] = []
        """The frames that the client wrote, with their times."""
        self.dials: list[tuple[float, Dial]] = []
        """The dials of the client, with their times."""
        self.rest_sent: list[tuple[float, RestCancel]] = []
        """The REST requests that the client sent, with their times."""

        self._wires: dict[int, Wire[LinkTransmit]] = {}
        self._dialling: dict[int, tuple[float, bool, Dial]] = {}
        """By link: when a dial is answered, whether it succeeds, and the dial."""
        self._requests: dict[int, _Request] = {}
        """The REST requests that were sent and not answered, by number."""
        self._client_wait: float | None = None

    def __repr__(self) -> str:
        return f"<SessionPair at {self.clock.now}: {self.session!r}, links {sorted(self._wires)}>"

    @property
    def links(self) -> dict[int, ScriptedLink]:
        """The exchange's ends of the open links, by number."""
        return {number: wire.link for number, wire in self._wires.items()}

    # --- for tests ---

    def start(self) -> None:
        """Let the session dial, and settle. Without latency it is then up."""
        self._drain_client()
        self.settle()

    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> str:
        """Call `Session.cancel` now, and settle."""
        taken = self.session.cancel(order, self.clock.now, id, timeout, policy, urgent)
        self.start()
        return taken

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """Call `Session.cancel_many` now, and settle."""
        taken = self.session.cancel_many(orders, self.clock.now, timeout, policy)
        self.start()
        return taken

    def withdraw(self, id: str) -> bool:
        """Call `Session.withdraw` now, and settle."""
        withdrawn = self.session.withdraw(id, self.clock.now)
        self.start()
        return withdrawn

    def send(self, text: str) -> None:
        """Call `Session.send` now, and settle."""
        self.session.send(text, self.clock.now)
        self.start()

    def subscribe_orders(self, inst_types: Iterable[InstType] | None = None) -> None:
        """Call `Session.subscribe_orders` now, and settle."""
        self.session.subscribe_orders(self.clock.now, inst_types)
        self.start()

    def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """Call `Session.close` now, and settle."""
        self.session.close(self.clock.now, queued, within)
        self.start()

    def say(self, text: str, link: int | None = None) -> None:
        """Send any text from the exchange on a link, and settle."""
        wire = self._wires[self._number(link)]
        wire.link.say(text, self.clock.now)
        wire.drain()
        self.settle()

    def drop(self, link: int | None = None, reason: str = "connection reset") -> None:
        """Cut a link. Messages in transit are lost, and both ends notice at once."""
        number = self._number(link)
        wire = self._wires[number]
        self._client_lost(number, reason)
        wire.cut(reason)
        self.settle()

    def stall(self, link: int | None = None) -> None:
        """Block the client's writes on a link.

        At most one frame is taken from the client, and waits for `resume`.
        """
        self._wires[self._number(link)].stalled = True

    def resume(self, link: int | None = None) -> None:
        """End the stall of a link: finish the pending write, and settle."""
        self._wires[self._number(link)].resume()
        self.start()

    def freeze(self, link: int | None = None) -> None:
        """Stop delivery on a link in both directions, as on a dead route. Neither end notices."""
        self._wires[self._number(link)].frozen = True

    def thaw(self, link: int | None = None) -> None:
        """Resume delivery on a link, starting with the delayed messages, and settle."""
        self._wires[self._number(link)].frozen = False
        self.settle()

    def settle(self) -> None:
        """Process everything that is due now. The time does not change."""
        self._run_to(self.clock.now)

    def run(self, seconds: float) -> None:
        """Advance the time by `seconds`, from one due time to the next."""
        self._run_to(self.clock.now + seconds)

    def sleep(self, seconds: float) -> None:
        """Suspend the client's machine for `seconds`, while the exchange keeps running.

        On waking, the client first receives everything that has arrived, and then its timers fire.
        """
        let_pass(self.clock.now + seconds, self.clock, self._next_due_there, self._step_there, self)
        self.settle()

    def run_until_ended(self) -> None:
        """Let time pass until the session has ended.

        Raises: LocalProtocolError when nothing is scheduled and the session has not ended.
        """
        while self.session.state is not SessionState.ENDED:
            due = self.next_due()
            if due == inf:
                raise LocalProtocolError(
                    f"nothing is scheduled, and the session is {self.session.state.value}: close it"
                )
            self._run_to(max(due, self.clock.now))

    def next_due(self) -> float:
        """Return when the next arrival or timer is due; infinity when nothing is scheduled."""
        dials = (at for at, _, _ in self._dialling.values())
        wires = (wire.next_due() for wire in self._wires.values())
        requests = (request.due for request in self._requests.values())
        client = inf if self._client_wait is None else self._client_wait
        return min((client, *dials, *wires, *requests))

    # --- the driver ---

    def _number(self, link: int | None) -> int:
        number = max(self._wires, default=0) if link is None else link
        if number not in self._wires:
            raise ValidationError(
                f"link must be an open link, one of {sorted(self._wires)}; got {safe_repr(link)}"
            )
        return number

    def _latencies(self) -> tuple[Latency, Latency]:
        return self.latency, self.latency if self.latency_back is None else self.latency_back

    def _next_due_there(self) -> float:
        wires = (wire.next_due_there() for wire in self._wires.values())
        requests = (request.due for request in self._on_their_way())
        return min((*wires, *requests), default=inf)

    def _step_there(self) -> None:
        request = min(self._on_their_way(), key=lambda one: one.due, default=None)
        if request is not None and request.due <= self.clock.now:
            self._let_arrive(request)
        else:
            min(self._wires.values(), key=lambda wire: wire.next_due_there()).step_there()

    def _run_to(self, end: float) -> None:
        let_pass(end, self.clock, self.next_due, self._step, self)

    def _step(self) -> None:
        """Deliver one arrival if there is one, or else fire the timers that are due."""
        now = self.clock.now
        for number, (at, answered, dial) in self._dialling.items():
            if at <= now:
                del self._dialling[number]
                self._answer(dial, answered=answered)
                return
        for request in self._requests.values():
            if request.due <= now:
                if request.arrived or request.refused:
                    self._answered(request)
                else:
                    self._let_arrive(request)
                return
        for number, wire in self._wires.items():
            if wire.next_arrival() <= now:
                self._arrived(number, wire, wire.arrive())
                return
        for wire in self._wires.values():
            wire.fire()
        if self._client_wait is not None and self._client_wait <= now:
            self.session.handle_timeout(now)
            self._drain_client()

    def _answer(self, dial: Dial, *, answered: bool) -> None:
        """Open the dialled link, or let the dial fail."""
        refused = self.exchange.handshake() if answered else None
        if refused is not None:
            status, retry_after = refused
            self.session.lost(
                dial.link, self.clock.now, handshake_refused(status), retry_after=retry_after
            )
        elif answered:
            self._open(dial)
        else:
            self.session.lost(dial.link, self.clock.now, "connection refused")
        self._drain_client()

    def _open(self, dial: Dial) -> None:
        wire = self._wires[dial.link] = Wire(
            self.exchange.link(), self.clock, self._latencies, self.sent
        )
        wire.open()
        self.session.opened(dial.link, self.clock.now, login=self._sign(dial))

    def _sign(self, dial: Dial) -> SignedLogin:
        if dial.stamp_refused:
            self.skew = 0.0
        return sign_login(self._key(), int(self.exchange.wall_clock(self.clock.now) + self.skew))

    def _send(self, cancel: RestCancel) -> None:
        """Send a REST request, if a connection can be opened."""
        due = self.clock.now + _seconds(self._latencies()[0])
        if not self.refuse_rest:
            self.rest_sent.append((self.clock.now, cancel))
        self._requests[cancel.number] = _Request(cancel, due, refused=self.refuse_rest)

    def _on_their_way(self) -> list[_Request]:
        return [one for one in self._requests.values() if not (one.arrived or one.refused)]

    def _let_arrive(self, request: _Request) -> None:
        """Deliver a REST request to the exchange."""
        now, asked = self.clock.now, request.cancel.request
        stamp = int(self.exchange.wall_clock(now) * 1000)
        signed = sign_request(self._key(), asked, stamp)
        headers = {name.lower(): value for name, value in signed.items()}
        request.answer = self.exchange.rest(
            asked.method, asked.target, headers, asked.body.encode(), now
        )
        request.arrived = True
        request.due = inf if self.hold_rest else now + _seconds(self._latencies()[1])

    def _answered(self, request: _Request) -> None:
        number, now = request.cancel.number, self.clock.now
        del self._requests[number]
        if request.refused:
            self.session.rest_failed(number, "connection refused", now, unsent=True)
        elif request.answer is None:
            self.session.rest_failed(number, "connection reset", now)
        else:
            self.session.rest_replied(number, request.answer, now)
        self._drain_client()

    def _key(self) -> Credentials:
        given = self.credentials or self.exchange.credentials
        return given or Credentials("key", "secret", "passphrase")

    def _arrived(self, number: int, wire: Wire[LinkTransmit], what: str | End | None) -> None:
        if what is End.CLIENT:
            del self._wires[number]
        elif what is End.EXCHANGE:
            self._client_lost(number, "the exchange has hung up")
        elif what is not None and not wire.hung_up:
            self.session.receive(number, what, self.clock.now)
            self._drain_client()

    def _drain_client(self) -> None:
        now = self.clock.now
        while True:
            busy = {number for number, wire in self._wires.items() if wire.unwritten is not None}
            output = self.session.poll(now, busy)
            match output:
                case Wait():
                    self._client_wait = output.until
                    return
                case LinkTransmit():
                    self._wires[output.link].write(output)
                case LinkHangup():
                    # A dial without an answer is abandoned.
                    self._dialling.pop(output.link, None)
                    if output.link in self._wires:
                        self._wires[output.link].hang_up(abort=output.abort)
                case RestCancel():
                    self._send(output)
                case Dial():
                    self.dials.append((now, output))
                    if not self.hold_dials:
                        self._dialling[output.link] = (
                            now + self.dial_time,
                            not self.refuse_dials,
                            output,
                        )
                case _:
                    self.events.append(output)
                    if isinstance(output, Accepted | Rejected | Unresolved):
                        self.outcomes[output.id] = output

    def _client_lost(self, number: int, reason: str) -> None:
        """Report the loss of a link to the client, unless it has hung up itself."""
        wire = self._wires.pop(number)
        if not wire.hung_up:
            self.session.lost(number, self.clock.now, reason, wire.unsent)
            self._drain_client()


def _seconds(latency: Latency) -> float:
    return latency if isinstance(latency, float | int) else latency()
