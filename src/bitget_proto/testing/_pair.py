"""A client and an exchange, joined by a network that is a few queues, in virtual time.

Rules of this file
- It is a driver that keeps the contract to the letter, so that what a test finds is not the driver's fault.
- Time moves from deadline to deadline, and lands on each exactly.
- At one moment, what has arrived is handed over before timers fire.
- The order of messages in one direction is kept, whatever their latencies: it is one TCP connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TypeAlias

from .._connection import Connection
from .._credentials import Credentials, SignedLogin, sign_login
from .._errors import LocalProtocolError
from .._events import Accepted, Event, Hangup, Outcome, Rejected, Transmit, Unresolved, Wait
from .._exchange import Dropped
from .._orders import CancelOrder
from .._states import State
from ._clock import VirtualClock
from ._scripted import ScriptedExchange, ScriptedLink
from ._strict import StrictConnection

Latency: TypeAlias = float | Callable[[], float]
"""Seconds that a message is under way in one direction: a number, or a function that gives one for each message."""

_TOO_LONG = 1_000_000
"""Steps after which a run that should come to rest is taken for one that never will."""


class Pair:
    """A `Connection` and the `ScriptedExchange` it talks to, driven in virtual time.

    `open` connects them, `cancel` asks, `run` lets time pass. What the client was told stands in `events`, the outcomes
    among them by id in `outcomes`. `drop` cuts the network, `freeze` lets it deliver nothing any more, `stall` keeps
    the client from writing.
    """

    def __init__(
        self,
        client: Connection | None = None,
        exchange: ScriptedExchange | ScriptedLink | None = None,
        *,
        clock: VirtualClock | None = None,
        latency: Latency = 0.0,
        login: SignedLogin | None = None,
    ) -> None:
        self.client: Connection = StrictConnection() if client is None else client
        if exchange is None:
            exchange = ScriptedExchange()
        self.link: ScriptedLink = exchange if isinstance(exchange, ScriptedLink) else exchange.link()
        self.exchange: ScriptedExchange = self.link.exchange
        self.link.on_news = self._drain_exchange
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        self.latency = latency
        self.login = login
        self.events: list[Event] = []
        """What the client was told, in order."""
        self.outcomes: dict[str, Outcome] = {}
        """What became of each cancel."""
        self.sent: list[tuple[float, Transmit]] = []
        """What the client wrote, and when."""

        self._to_client: deque[tuple[float, str]] = deque()
        self._to_exchange: deque[tuple[float, str]] = deque()
        self._client_wait: float | None = None
        self._exchange_wait: float | None = None
        self._unwritten: Transmit | None = None
        self._stalled = False
        self._frozen = False
        self._connected = False
        self._hangups: dict[bool, float] = {}
        """When the close of one end (True: of the client's) reaches the other."""

    def __repr__(self) -> str:
        return f"<Pair at {self.clock.now}: {self.client!r}, {self.link!r}>"

    # --- what a test does ---

    def open(self) -> None:
        """Connect the two and let happen what happens at once: without latency, the client is then logged in."""
        now = self.clock.now
        login = self.login
        if login is None:
            credentials = self.exchange.credentials or Credentials("key", "secret", "passphrase")
            login = sign_login(credentials, int(self.exchange.wall_clock(now)))
        self._connected = True
        self.link.opened(now)
        self._drain_exchange()
        self.client.opened(now, login=login)
        self._drain_client()
        self.settle()

    def cancel(self, order: CancelOrder, id: str | None = None, timeout: float | None = None) -> str:
        """`Connection.cancel` now; then what happens at once."""
        taken = self.client.cancel(order, self.clock.now, id, timeout)
        self._drain_client()
        self.settle()
        return taken

    def send(self, text: str) -> None:
        """`Connection.send` now; then what happens at once."""
        self.client.send(text, self.clock.now)
        self._drain_client()
        self.settle()

    def close(self) -> None:
        """`Connection.close` now; then what happens at once."""
        self.client.close(self.clock.now)
        self._drain_client()
        self.settle()

    def say(self, text: str) -> None:
        """Let the exchange say anything; then what happens at once."""
        self.link.say(text, self.clock.now)
        self._drain_exchange()
        self.settle()

    def drop(self, reason: str = "connection reset") -> None:
        """Cut the network now: what is under way is lost in both directions, and both ends notice at once."""
        if self._connected:
            self._disconnect()
            self._client_lost(reason)
            self.link.lost(self.clock.now, reason)
            self._drain_exchange()

    def stall(self) -> None:
        """From now on the client's writes do not end: one frame at most is taken from it, and not sent."""
        self._stalled = True

    def resume(self) -> None:
        """The write under way ends, and the client may write again."""
        self._stalled = False
        if self._unwritten is not None:
            self._write(self._unwritten)
            self._unwritten = None
        self._drain_client()
        self.settle()

    def freeze(self) -> None:
        """From now on nothing arrives, in either direction, and nobody is told: a route that has died."""
        self._frozen = True

    def thaw(self) -> None:
        """What was held up arrives, and what is said from now on; then what happens at once."""
        self._frozen = False
        self.settle()

    def settle(self) -> None:
        """Let everything happen that is due now, without letting time pass."""
        self._run_to(self.clock.now)

    def run(self, seconds: float) -> None:
        """Let that many seconds pass, stopping at each moment at which something is due."""
        self._run_to(self.clock.now + seconds)

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
        timers = (at for at in (self._client_wait, self._exchange_wait) if at is not None)
        return min(min(timers, default=inf), self._next_arrival())

    # --- the driver ---

    def _run_to(self, end: float) -> None:
        for _ in range(_TOO_LONG):
            due = self.next_due()
            if due > end:
                self.clock.advance_to(end)
                return
            self.clock.advance_to(due)
            self._step()
        raise AssertionError(f"{_TOO_LONG} steps and no rest: {self!r}")

    def _next_arrival(self) -> float:
        if self._frozen:
            return inf
        queues = (self._to_client, self._to_exchange)
        arrivals = (queue[0][0] for queue in queues if queue)
        return min(min(arrivals, default=inf), min(self._hangups.values(), default=inf))

    def _step(self) -> None:
        """Hand over what has arrived by now, or else fire what is due."""
        now = self.clock.now
        if self._next_arrival() > now:
            self._fire(now)
        elif self._to_exchange and self._to_exchange[0][0] <= now:
            self.link.receive(self._to_exchange.popleft()[1], now)
            self._drain_exchange()
        elif self._to_client and self._to_client[0][0] <= now:
            text = self._to_client.popleft()[1]
            if self.client.state is not State.CLOSED:
                self.client.receive(text, now)
                self._drain_client()
        else:
            by_client = self._hangups.get(True, inf) <= now
            self._disconnect()
            if by_client:
                self.link.lost(now, "the client has hung up")
                self._drain_exchange()
            else:
                self._client_lost("the exchange has hung up")

    def _fire(self, now: float) -> None:
        if self._exchange_wait is not None and self._exchange_wait <= now:
            self.link.handle_timeout(now)
            self._drain_exchange()
        if self._client_wait is not None and self._client_wait <= now:
            self.client.handle_timeout(now)
            self._drain_client()

    def _drain_client(self) -> None:
        now = self.clock.now
        while True:
            output = self.client.poll(now, writable=self._unwritten is None)
            if isinstance(output, Wait):
                self._client_wait = output.until
                return
            if isinstance(output, Transmit):
                if self._stalled:
                    self._unwritten = output
                else:
                    self._write(output)
            elif isinstance(output, Hangup):
                self._hang_up(by_client=True)
            else:
                self.events.append(output)
                if isinstance(output, Accepted | Rejected | Unresolved):
                    self.outcomes[output.id] = output

    def _drain_exchange(self) -> None:
        now = self.clock.now
        while True:
            output = self.link.poll(now)
            if isinstance(output, Wait):
                self._exchange_wait = output.until
                return
            if isinstance(output, Transmit):
                self._to_client.append((self._arrival(self._to_client), output.text))
            elif isinstance(output, Hangup):
                self._hang_up(by_client=False)
            else:
                assert isinstance(output, Dropped)

    def _write(self, transmit: Transmit) -> None:
        self.sent.append((self.clock.now, transmit))
        self._to_exchange.append((self._arrival(self._to_exchange), transmit.text))

    def _arrival(self, queue: deque[tuple[float, str]]) -> float:
        latency = self.latency if isinstance(self.latency, float | int) else self.latency()
        return max(self.clock.now + latency, queue[-1][0] if queue else -inf)

    def _hang_up(self, *, by_client: bool) -> None:
        """The close of one end travels behind all that it said."""
        if self._connected:
            self._hangups[by_client] = self._arrival(self._to_exchange if by_client else self._to_client)

    def _disconnect(self) -> None:
        self._connected = False
        self._to_client.clear()
        self._to_exchange.clear()
        self._hangups.clear()

    def _client_lost(self, reason: str) -> None:
        if self.client.state is not State.CLOSED:
            unsent = () if self._unwritten is None or self._unwritten.id is None else (self._unwritten.id,)
            self.client.lost(self.clock.now, reason, unsent)
            self._drain_client()
        self._unwritten = None
