"""A client and an exchange on a simulated network, in virtual time.

`Pair` must keep the driver contract exactly, so that a failing test is never the driver's fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from ..._machine.arguments import Queued
from ..._machine.connection import Connection
from ..._values.credentials import Credentials, SignedLogin, sign_login
from ..._values.errors import LocalProtocolError
from ..._values.events import Accepted, Event, Hangup, Outcome, Rejected, Transmit, Unresolved, Wait
from ..._values.orders import CancelOrder, InstType
from ..._values.set_module import set_module
from ..._values.states import State
from .._exchange.scripted_exchange import ScriptedExchange
from .._exchange.scripted_link import ScriptedLink
from .._kit.strict_connection import StrictConnection
from .clock import VirtualClock
from .network import End, Latency, Wire, handshake_refused, let_pass


@set_module("bitget_proto.testing")
class Pair:
    """A `Connection` and the `ScriptedExchange` it talks to, driven in virtual time.

    `open` connects them, `cancel` requests a cancel, `run` lets time pass. `events` holds
    everything that the client reports, `outcomes` the outcomes by id.

    `drop` cuts the network, `freeze` stops all delivery, `stall` blocks the client's writes, and
    `sleep` suspends the client. `latency` applies to both directions, unless `latency_back` is
    given for messages from the exchange.

    Most methods settle: they also process everything that is due at the current time.
    """

    def __init__(
        self,
        client: Connection | None = None,
        exchange: ScriptedExchange | None = None,
        *,
        clock: VirtualClock | None = None,
        latency: Latency = 0.0,
        latency_back: Latency | None = None,
        login: SignedLogin | None = None,
    ) -> None:
        self.client: Connection = StrictConnection() if client is None else client
        self.exchange: ScriptedExchange = ScriptedExchange() if exchange is None else exchange
        self.link: ScriptedLink = self.exchange.link()
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        self.latency = latency
        self.latency_back = latency_back
        self.login = login
        self.events: list[Event] = []
        """The events and outcomes of the client, in order."""
        self.outcomes: dict[str, Outcome] = {}
        """The outcome of each cancel, by its id."""
        self.sent: list[tuple[float, Transmit]] = []
        """The frames that the client wrote, with their times."""

        self._wire = Wire(self.link, self.clock, self._latencies, self.sent)
        self._client_wait: float | None = None

    def __repr__(self) -> str:
        return f"<Pair at {self.clock.now}: {self.client!r}, {self.link!r}>"

    # --- for tests ---

    def open(self) -> None:
        """Connect the client and settle. Without latency the client is then logged in.

        When the exchange refuses the handshake, the client's `lost` is called instead.
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
        """Call `Connection.cancel` now, and settle."""
        taken = self.client.cancel(order, self.clock.now, id, timeout, urgent)
        self._drain_client()
        self.settle()
        return taken

    def cancel_many(self, orders: Iterable[CancelOrder], timeout: float | None = None) -> list[str]:
        """Call `Connection.cancel_many` now, and settle."""
        taken = self.client.cancel_many(orders, self.clock.now, timeout)
        self._drain_client()
        self.settle()
        return taken

    def withdraw(self, id: str) -> bool:
        """Call `Connection.withdraw` now, and settle."""
        withdrawn = self.client.withdraw(id, self.clock.now)
        self._drain_client()
        self.settle()
        return withdrawn

    def send(self, text: str) -> None:
        """Call `Connection.send` now, and settle."""
        self.client.send(text, self.clock.now)
        self._drain_client()
        self.settle()

    def subscribe_orders(self, inst_types: Iterable[InstType] | None = None) -> None:
        """Call `Connection.subscribe_orders` now, and settle."""
        self.client.subscribe_orders(self.clock.now, inst_types)
        self._drain_client()
        self.settle()

    def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        """Call `Connection.close` now, and settle."""
        self.client.close(self.clock.now, queued, within)
        self._drain_client()
        self.settle()

    def say(self, text: str) -> None:
        """Send any text from the exchange, and settle."""
        self.link.say(text, self.clock.now)
        self._wire.drain()
        self.settle()

    def drop(self, reason: str = "connection reset") -> None:
        """Cut the network. Messages in transit are lost, and both ends notice at once."""
        if self._wire.connected:
            self._client_lost(reason)
            self._wire.cut(reason)

    def stall(self) -> None:
        """Block the client's writes. At most one frame is taken from it, and waits for `resume`."""
        self._wire.stalled = True

    def resume(self) -> None:
        """End the stall: finish the pending write, and settle."""
        self._wire.resume()
        self._drain_client()
        self.settle()

    def freeze(self) -> None:
        """Stop delivery in both directions, as on a dead route. Neither end notices."""
        self._wire.frozen = True

    def thaw(self) -> None:
        """Resume delivery, starting with the delayed messages, and settle."""
        self._wire.frozen = False
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
        let_pass(
            self.clock.now + seconds,
            self.clock,
            self._wire.next_due_there,
            self._wire.step_there,
            self,
        )
        self.settle()

    def run_until_closed(self) -> None:
        """Let time pass until the client's connection is closed.

        Raises: LocalProtocolError when nothing is scheduled and the connection is not closed.
        """
        while self.client.state is not State.CLOSED:
            due = self.next_due()
            if due == inf:
                raise LocalProtocolError(
                    f"nothing is scheduled, and the client is {self.client.state.value}: "
                    "close it or drop the network"
                )
            self._run_to(max(due, self.clock.now))

    def next_due(self) -> float:
        """Return when the next arrival or timer is due; infinity when nothing is scheduled."""
        return min(inf if self._client_wait is None else self._client_wait, self._wire.next_due())

    # --- the driver ---

    def _latencies(self) -> tuple[Latency, Latency]:
        return self.latency, self.latency if self.latency_back is None else self.latency_back

    def _run_to(self, end: float) -> None:
        let_pass(end, self.clock, self.next_due, self._step, self)

    def _step(self) -> None:
        """Deliver one arrival if there is one, or else fire the timers that are due."""
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
