"""A session and an exchange, joined by as many links as the session dials, in virtual time.

Rules of this file
- It is a driver that keeps the contract to the letter, so that what a test finds is not the driver's fault.
- Links do not wait for each other. At one moment dials are answered first.

How time passes, and what arrives on a link when, is `network`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from ..._machine.arguments import Queued
from ..._machine.session import Session
from ..._machine.session_config import Policy
from ..._machine.session_events import Dial, LinkHangup, LinkTransmit, SessionEvent
from ..._machine.session_states import SessionState
from ..._values.credentials import Credentials, SignedLogin, sign_login
from ..._values.errors import LocalProtocolError, ValidationError, safe_repr
from ..._values.events import Accepted, Outcome, Rejected, Unresolved, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from .._exchange.scripted_exchange import ScriptedExchange, ScriptedLink
from .clock import VirtualClock
from .network import End, Latency, Wire, handshake_refused, let_pass


@set_module("bitget_proto.testing")
class SessionPair:
    """A `Session` and the `ScriptedExchange` it talks to, driven in virtual time.

    `start` lets it dial, `cancel` asks, `run` lets time pass. What the client reports stands in `events`, the outcomes among
    them by id in `outcomes`; `dials` and `sent` say what it did, and when. A dial takes `dial_time` seconds; with
    `refuse_dials` it fails then, with `hold_dials` it is never answered: both may be changed at any time. `latency` holds for
    both directions, unless `latency_back` is another for what the exchange says. `skew` is by how many seconds the stamps of
    logins are off, until a `Dial` asks for a corrected one. `drop`, `stall`, `freeze` and `say` concern one link: the
    youngest, unless another is named. `sleep` lets the clock jump for the client.
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
        self.events: list[SessionEvent] = []
        """What the client reported, in order."""
        self.outcomes: dict[str, Outcome] = {}
        """What became of each cancel."""
        self.sent: list[tuple[float, LinkTransmit]] = []
        """What the client wrote, and when."""
        self.dials: list[tuple[float, Dial]] = []
        """What it dialled, and when."""

        self._wires: dict[int, Wire[LinkTransmit]] = {}
        self._dialling: dict[int, tuple[float, bool, Dial]] = {}
        """When a dial is answered, and whether by `opened`."""
        self._client_wait: float | None = None

    def __repr__(self) -> str:
        return f"<SessionPair at {self.clock.now}: {self.session!r}, links {sorted(self._wires)}>"

    @property
    def links(self) -> dict[int, ScriptedLink]:
        """The exchange's ends of the links that are open, by their numbers."""
        return {number: wire.link for number, wire in self._wires.items()}

    # --- what a test does ---

    def start(self) -> None:
        """Let the session dial, and what happens at once: without latency it is then up."""
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
        """`Session.cancel` now; then what happens at once."""
        taken = self.session.cancel(order, self.clock.now, id, timeout, policy, urgent)
        self.start()
        return taken

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """`Session.cancel_many` now; then what happens at once."""
        taken = self.session.cancel_many(orders, self.clock.now, timeout, policy)
        self.start()
        return taken

    def withdraw(self, id: str) -> bool:
        """`Session.withdraw` now; then what happens at once."""
        withdrawn = self.session.withdraw(id, self.clock.now)
        self.start()
        return withdrawn

    def send(self, text: str) -> None:
        """`Session.send` now; then what happens at once."""
        self.session.send(text, self.clock.now)
        self.start()

    def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """`Session.close` now; then what happens at once."""
        self.session.close(self.clock.now, queued, within)
        self.start()

    def say(self, text: str, link: int | None = None) -> None:
        """Let the exchange say anything on a link; then what happens at once."""
        wire = self._wires[self._number(link)]
        wire.link.say(text, self.clock.now)
        wire.drain()
        self.settle()

    def drop(self, link: int | None = None, reason: str = "connection reset") -> None:
        """Cut the network of a link now: what is under way is lost, and both ends notice at once."""
        number = self._number(link)
        wire = self._wires[number]
        self._client_lost(number, reason)
        wire.cut(reason)
        self.settle()

    def stall(self, link: int | None = None) -> None:
        """From now on the client's writes on a link do not end: one frame at most is taken from it, and not sent."""
        self._wires[self._number(link)].stalled = True

    def resume(self, link: int | None = None) -> None:
        """The write under way on a link ends, and the client may write there again."""
        self._wires[self._number(link)].resume()
        self.start()

    def freeze(self, link: int | None = None) -> None:
        """From now on nothing arrives on a link, in either direction, and neither end notices: a route that has died."""
        self._wires[self._number(link)].frozen = True

    def thaw(self, link: int | None = None) -> None:
        """What was held up on a link arrives, and what is said from now on; then what happens at once."""
        self._wires[self._number(link)].frozen = False
        self.settle()

    def settle(self) -> None:
        """Let everything happen that is due now, without letting time pass."""
        self._run_to(self.clock.now)

    def run(self, seconds: float) -> None:
        """Let that many seconds pass, stopping at each moment at which something is due."""
        self._run_to(self.clock.now + seconds)

    def sleep(self, seconds: float) -> None:
        """Let the client's machine sleep: so many seconds pass and it does nothing. Then it gets what has arrived meanwhile,
        and only then its timers fire. The exchange is awake all the time.
        """
        let_pass(self.clock.now + seconds, self.clock, self._next_due_there, self._step_there, self)
        self.settle()

    def run_until_ended(self) -> None:
        """Let time pass until the session's end is over.

        Raises: LocalProtocolError when nothing is due any more and it is not.
        """
        while self.session.state is not SessionState.ENDED:
            due = self.next_due()
            if due == inf:
                raise LocalProtocolError(
                    f"nothing is due any more, and the session is {self.session.state.value}: close it, or let it be ended"
                )
            self._run_to(max(due, self.clock.now))

    def next_due(self) -> float:
        """When something happens next, as far as is known now; infinity when nothing does by itself."""
        dials = (at for at, _, _ in self._dialling.values())
        wires = (wire.next_due() for wire in self._wires.values())
        return min((inf if self._client_wait is None else self._client_wait, *dials, *wires))

    # --- the driver ---

    def _number(self, link: int | None) -> int:
        number = max(self._wires, default=0) if link is None else link
        if number not in self._wires:
            raise ValidationError(
                f"link must be one that is open, {sorted(self._wires)}; got {safe_repr(link)}"
            )
        return number

    def _latencies(self) -> tuple[Latency, Latency]:
        return self.latency, self.latency if self.latency_back is None else self.latency_back

    def _next_due_there(self) -> float:
        return min((wire.next_due_there() for wire in self._wires.values()), default=inf)

    def _step_there(self) -> None:
        min(self._wires.values(), key=lambda wire: wire.next_due_there()).step_there()

    def _run_to(self, end: float) -> None:
        let_pass(end, self.clock, self.next_due, self._step, self)

    def _step(self) -> None:
        """Hand over what has arrived by now, or else fire what is due."""
        now = self.clock.now
        for number, (at, answered, dial) in self._dialling.items():
            if at <= now:
                del self._dialling[number]
                self._answer(dial, answered=answered)
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
        """Open the link that was dialled, or let the dial fail."""
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
        credentials = (
            self.credentials
            or self.exchange.credentials
            or Credentials("key", "secret", "passphrase")
        )
        if dial.stamp_refused:
            self.skew = 0.0
        return sign_login(credentials, int(self.exchange.wall_clock(self.clock.now) + self.skew))

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
                    # A dial that was not answered is given up.
                    self._dialling.pop(output.link, None)
                    if output.link in self._wires:
                        self._wires[output.link].hang_up(abort=output.abort)
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
        """The client notices that a link has ended, unless it has hung up by itself before."""
        wire = self._wires.pop(number)
        if not wire.hung_up:
            self.session.lost(number, self.clock.now, reason, wire.unsent)
            self._drain_client()
