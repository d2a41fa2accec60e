"""A client and an exchange, joined by a wire, in virtual time.

Rules of this file
- It is a driver that keeps the contract to the letter, so that what a test finds is not the driver's fault.

How time passes, and what arrives when, is `network`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from ..._machine.arguments import Queued
from ..._machine.connection import Connection
from ..._values.credentials import Credentials, SignedLogin, sign_login
from ..._values.errors import LocalProtocolError
from ..._values.events import Accepted, Event, Hangup, Outcome, Rejected, Transmit, Unresolved, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._values.states import State
from .._exchange.scripted_exchange import ScriptedExchange, ScriptedLink
from .._kit.strict_connection import StrictConnection
from .clock import VirtualClock
from .network import End, Latency, Wire, handshake_refused, let_pass


@set_module("bitget_proto.testing")
class Pair:
    """A `Connection` and the `ScriptedExchange` it talks to, driven in virtual time.

    `open` connects them, `cancel` asks, `run` lets time pass. What the client reports stands in `events`, the outcomes
    among them by id in `outcomes`. `drop` cuts the network, `freeze` lets it deliver nothing any more, `stall` keeps
    the client from writing; `sleep` lets the clock jump for it. `latency` holds for both directions, unless `latency_back` is
    another for what the exchange says.
    """

    def __init__(
        self,
        client: Connection | None = None,
        exchange: ScriptedExchange | ScriptedLink | None = None,
        *,
        clock: VirtualClock | None = None,
        latency: Latency = 0.0,
        latency_back: Latency | None = None,
        login: SignedLogin | None = None,
    ) -> None:
        self.client: Connection = StrictConnection() if client is None else client
        if exchange is None:
            exchange = ScriptedExchange()
        self.link: ScriptedLink = (
            exchange if isinstance(exchange, ScriptedLink) else exchange.link()
        )
        self.exchange: ScriptedExchange = self.link.exchange
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        self.latency = latency
        self.latency_back = latency_back
        self.login = login
        self.events: list[Event] = []
        """What the client reported, in order."""
        self.outcomes: dict[str, Outcome] = {}
        """What became of each cancel."""
        self.sent: list[tuple[float, Transmit]] = []
        """What the client wrote, and when."""

        self._wire = Wire(self.link, self.clock, self._latencies, self.sent)
        self._client_wait: float | None = None

    def __repr__(self) -> str:
        return f"<Pair at {self.clock.now}: {self.client!r}, {self.link!r}>"

    # --- what a test does ---

    def open(self) -> None:
        """Connect the two and let happen what happens at once: without latency, the client is then logged in. When the
        exchange refuses the handshake, the client loses its dial.
        """
        now = self.clock.now
        if (refused := self.exchange.handshake()) is not None:
            self._client_lost(handshake_refused(refused[0]))
            return
        login = self.login
        if login is None:
            credentials = self.exchange.credentials or Credentials("key", "secret", "passphrase")
            login = sign_login(credentials, int(self.exchange.wall_clock(now)))
        self._wire.open()
        self.client.opened(now, login=login)
        self._drain_client()
        self.settle()

    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> str:
        """`Connection.cancel` now; then what happens at once."""
        taken = self.client.cancel(order, self.clock.now, id, timeout, urgent)
        self._drain_client()
        self.settle()
        return taken

    def cancel_many(self, orders: Iterable[CancelOrder], timeout: float | None = None) -> list[str]:
        """`Connection.cancel_many` now; then what happens at once."""
        taken = self.client.cancel_many(orders, self.clock.now, timeout)
        self._drain_client()
        self.settle()
        return taken

    def withdraw(self, id: str) -> bool:
        """`Connection.withdraw` now; then what happens at once."""
        withdrawn = self.client.withdraw(id, self.clock.now)
        self._drain_client()
        self.settle()
        return withdrawn

    def send(self, text: str) -> None:
        """`Connection.send` now; then what happens at once."""
        self.client.send(text, self.clock.now)
        self._drain_client()
        self.settle()

    def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """`Connection.close` now; then what happens at once."""
        self.client.close(self.clock.now, queued, within)
        self._drain_client()
        self.settle()

    def say(self, text: str) -> None:
        """Let the exchange say anything; then what happens at once."""
        self.link.say(text, self.clock.now)
        self._wire.drain()
        self.settle()

    def drop(self, reason: str = "connection reset") -> None:
        """Cut the network now: what is under way is lost in both directions, and both ends notice at once."""
        if self._wire.connected:
            self._client_lost(reason)
            self._wire.cut(reason)

    def stall(self) -> None:
        """From now on the client's writes do not end: one frame at most is taken from it, and not sent."""
        self._wire.stalled = True

    def resume(self) -> None:
        """The write under way ends, and the client may write again."""
        self._wire.resume()
        self._drain_client()
        self.settle()

    def freeze(self) -> None:
        """From now on nothing arrives, in either direction, and neither end notices: a route that has died."""
        self._wire.frozen = True

    def thaw(self) -> None:
        """What was held up arrives, and what is said from now on; then what happens at once."""
        self._wire.frozen = False
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
        let_pass(
            self.clock.now + seconds,
            self.clock,
            self._wire.next_due_there,
            self._wire.step_there,
            self,
        )
        self.settle()

    def run_until_closed(self) -> None:
        """Let time pass until the client's end is over.

        Raises: LocalProtocolError when nothing is due any more and it is not.
        """
        while self.client.state is not State.CLOSED:
            due = self.next_due()
            if due == inf:
                raise LocalProtocolError(
                    f"nothing is due any more, and the client is {self.client.state.value}: close it, or let it be ended"
                )
            self._run_to(max(due, self.clock.now))

    def next_due(self) -> float:
        """When something happens next, as far as is known now; infinity when nothing does by itself."""
        return min(inf if self._client_wait is None else self._client_wait, self._wire.next_due())

    # --- the driver ---

    def _latencies(self) -> tuple[Latency, Latency]:
        return self.latency, self.latency if self.latency_back is None else self.latency_back

    def _run_to(self, end: float) -> None:
        let_pass(end, self.clock, self.next_due, self._step, self)

    def _step(self) -> None:
        """Hand over what has arrived by now, or else fire what is due."""
        now, wire = self.clock.now, self._wire
        if wire.next_arrival() <= now:
            arrived = wire.arrive()
            if arrived is End.EXCHANGE:
                self._client_lost("the exchange has hung up")
            elif isinstance(arrived, str) and self.client.state is not State.CLOSED:
                self.client.receive(arrived, now)
                self._drain_client()
            return
        wire.fire()
        if self._client_wait is not None and self._client_wait <= now:
            self.client.handle_timeout(now)
            self._drain_client()

    def _drain_client(self) -> None:
        now, wire = self.clock.now, self._wire
        while True:
            output = self.client.poll(now, writable=wire.unwritten is None)
            if isinstance(output, Wait):
                self._client_wait = output.until
                return
            if isinstance(output, Transmit):
                wire.write(output)
            elif isinstance(output, Hangup):
                wire.hang_up(abort=output.abort)
            else:
                self.events.append(output)
                if isinstance(output, Accepted | Rejected | Unresolved):
                    self.outcomes[output.id] = output

    def _client_lost(self, reason: str) -> None:
        if self.client.state is not State.CLOSED:
            self.client.lost(self.clock.now, reason, self._wire.unsent)
            self._drain_client()
        self._wire.unwritten = None
