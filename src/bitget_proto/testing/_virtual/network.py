"""The network between a client and the exchange: a few queues, in virtual time.

Rules of this file
- The order of messages in one direction is kept, whatever their latencies: it is one TCP connection. A close travels behind
  all that its end has said.
- At one moment, what has arrived is handed over before timers fire, and what has arrived at the exchange first.
- Time moves from deadline to deadline, and lands on each exactly.

It does not know what the client is: a connection, or one link of a session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Generic, TypeAlias, TypeVar

from ..._values.events import Hangup, Transmit, Wait
from .._exchange.exchange_connection import ConnectionDropped
from .._exchange.scripted_exchange import ScriptedLink
from .clock import VirtualClock

Latency: TypeAlias = float | Callable[[], float]
"""Seconds that a message is under way in one direction: a number, or a function that gives one for each message. One that
looks at the clock makes bunches: `lambda: -pair.clock.now % 0.5` delivers every half second what was sent before it."""

_TOO_LONG = 1_000_000
"""Steps after which a run that should come to rest is taken for one that never will."""

_T = TypeVar("_T", bound=Transmit)


class End(Enum):
    """One of the two ends of a wire."""

    CLIENT = "client"
    EXCHANGE = "exchange"


class Wire(Generic[_T]):
    """One WebSocket, and the exchange's end of it. `latencies` gives those to the exchange and to the client; `sent` is where
    it notes what the client wrote, and when.
    """

    def __init__(
        self,
        link: ScriptedLink,
        clock: VirtualClock,
        latencies: Callable[[], tuple[Latency, Latency]],
        sent: list[tuple[float, _T]],
    ) -> None:
        self.link = link
        self.due = inf
        """When the exchange's next timer fires."""
        self.unwritten: _T | None = None
        """The frame that was taken from the client and does not leave."""
        self.stalled = False
        self.frozen = False
        self.connected = False
        self.hung_up = False
        """Whether the client has."""

        self._clock = clock
        self._latencies = latencies
        self._sent = sent
        self._to_client: deque[tuple[float, str]] = deque()
        self._to_exchange: deque[tuple[float, str]] = deque()
        self._closes: dict[End, float] = {}
        """When the close of one end reaches the other."""

        link.on_news = self.drain

    # --- the client's side ---

    def open(self) -> None:
        """Let the exchange know that a client has connected."""
        self.connected = True
        self.link.opened(self._clock.now)
        self.drain()

    def write(self, transmit: _T) -> None:
        """Take a frame of the client's: it leaves now, or when the wire is stalled no longer."""
        if self.stalled:
            self.unwritten = transmit
        else:
            self._sent.append((self._clock.now, transmit))
            self._to_exchange.append((self._arrival(End.EXCHANGE), transmit.text))

    def resume(self) -> None:
        """The write under way ends."""
        self.stalled = False
        held, self.unwritten = self.unwritten, None
        if held is not None:
            self.write(held)

    def hang_up(self, *, abort: bool) -> None:
        """The client closes; a frame of its that has not left never will. With `abort` neither will what a dead route holds
        up, as its kernel forgets it.
        """
        self.unwritten, self.hung_up = None, True
        if abort and self.frozen:
            self._to_exchange.clear()
        self._close(End.CLIENT)

    @property
    def unsent(self) -> tuple[str, ...]:
        """The id of the cancel whose frame has not left, as `lost` takes it."""
        return () if self.unwritten is None or self.unwritten.id is None else (self.unwritten.id,)

    # --- the network ---

    def next_arrival(self) -> float:
        """When something arrives at either end; infinity when nothing is under way, or the route has died."""
        if self.frozen:
            return inf
        arrivals = (queue[0][0] for queue in (self._to_client, self._to_exchange) if queue)
        return min(min(arrivals, default=inf), min(self._closes.values(), default=inf))

    def next_due(self) -> float:
        """When something arrives, or the exchange's next timer fires."""
        return min(self.due, self.next_arrival())

    def next_due_there(self) -> float:
        """When a message arrives at the exchange, or its next timer fires."""
        return min(
            self.due, inf if self.frozen or not self._to_exchange else self._to_exchange[0][0]
        )

    def step_there(self) -> None:
        """Hand over to the exchange the first message that has arrived there, or else let it do what is due."""
        if not self.frozen and self._to_exchange and self._to_exchange[0][0] <= self._clock.now:
            self._hear()
        else:
            self.fire()

    def arrive(self) -> str | End | None:
        """Hand over the first that has arrived. A text for the client; or the end whose close has reached the other, and then
        the wire is cut; None when the exchange has got it.
        """
        now = self._clock.now
        if self._to_exchange and self._to_exchange[0][0] <= now:
            self._hear()
            return None
        if self._to_client and self._to_client[0][0] <= now:
            return self._to_client.popleft()[1]
        if self._closes.get(End.CLIENT, inf) <= now:
            self.cut("the client has hung up")
            return End.CLIENT
        self._cut()
        return End.EXCHANGE

    def fire(self) -> None:
        """Let the exchange do what is due."""
        if self.due <= self._clock.now:
            self.link.handle_timeout(self._clock.now)
            self.drain()

    def cut(self, reason: str) -> None:
        """What is under way is lost in both directions, and the exchange notices."""
        self._cut()
        self.link.lost(self._clock.now, reason)
        self.drain()

    def drain(self) -> None:
        """Take out what the exchange has to say."""
        now = self._clock.now
        while not isinstance(output := self.link.poll(now), Wait):
            if isinstance(output, Transmit):
                self._to_client.append((self._arrival(End.CLIENT), output.text))
            elif isinstance(output, Hangup):
                self._close(End.EXCHANGE)
            else:
                assert isinstance(output, ConnectionDropped)
        self.due = inf if output.until is None else output.until

    # --- inside ---

    def _hear(self) -> None:
        self.link.receive(self._to_exchange.popleft()[1], self._clock.now)
        self.drain()

    def _arrival(self, end: End) -> float:
        """When what is said now arrives at this end: not before what was said before."""
        there, back = self._latencies()
        latency, queue = (
            (there, self._to_exchange) if end is End.EXCHANGE else (back, self._to_client)
        )
        seconds = latency if isinstance(latency, float | int) else latency()
        return max(self._clock.now + seconds, queue[-1][0] if queue else -inf)

    def _close(self, end: End) -> None:
        """Let the close of this end travel to the other."""
        if self.connected:
            self._closes[end] = self._arrival(End.EXCHANGE if end is End.CLIENT else End.CLIENT)

    def _cut(self) -> None:
        self.connected = False
        self._to_client.clear()
        self._to_exchange.clear()
        self._closes.clear()


def let_pass(
    end: float,
    clock: VirtualClock,
    next_due: Callable[[], float],
    step: Callable[[], object],
    who: object,
) -> None:
    """Let time pass until `end`, with a step at each moment at which something is due.

    Raises: AssertionError that shows `who` when that comes to no rest.
    """
    for _ in range(_TOO_LONG):
        due = next_due()
        if due > end:
            clock.advance_to(end)
            return
        clock.advance_to(due)
        step()
    raise AssertionError(f"{_TOO_LONG} steps and no rest: {who!r}")


def handshake_refused(status: int) -> str:
    """How a client says that its WebSocket handshake was refused."""
    return f"the exchange refused the handshake with HTTP {status}"
