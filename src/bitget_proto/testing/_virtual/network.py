"""A simulated network between a client and the exchange, in virtual time.

- Messages in one direction stay in order, whatever their latencies, as on one TCP connection. A
  close arrives after all messages of the end that closes.
- At equal times, arrivals are delivered before timers fire, those at the exchange first.
- Time advances from one due time to the next, and reaches each exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Generic, TypeAlias, TypeVar

from ..._values.events import Hangup, Transmit, Wait
from .._exchange.exchange_events import ConnectionDropped
from .._exchange.scripted_link import ScriptedLink
from .clock import VirtualClock

Latency: TypeAlias = float | Callable[[], float]
"""The latency of a message in seconds: a number, or a function that is called for each message.

A function that depends on the time can deliver in batches: with `lambda: -pair.clock.now % 0.5`,
messages are delivered every half second."""

_TOO_LONG = 1_000_000
"""The number of steps after which a run is considered endless."""

_T = TypeVar("_T", bound=Transmit)


class End(Enum):
    """An end of a wire."""

    CLIENT = "client"
    EXCHANGE = "exchange"


class Wire(Generic[_T]):
    """One WebSocket, including the exchange's end.

    `latencies` returns the latency to the exchange and the latency to the client. The client's
    frames are appended to `sent`, with their times.
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
        """The frame that was taken from the client while the wire is stalled."""
        self.stalled = False
        self.frozen = False
        self.connected = False
        self.hung_up = False
        """Whether the client has hung up."""

        self._clock = clock
        self._latencies = latencies
        self._sent = sent
        self._to_client: deque[tuple[float, str]] = deque()
        self._to_exchange: deque[tuple[float, str]] = deque()
        self._closes: dict[End, float] = {}
        """By end: when its close reaches the other end."""

        link.on_output = self.drain

    # --- the client's side ---

    def open(self) -> None:
        """Connect the client to the exchange."""
        self.connected = True
        self.link.opened(self._clock.now)
        self.drain()

    def write(self, transmit: _T) -> None:
        """Write a frame from the client, now or when the stall ends."""
        if self.stalled:
            self.unwritten = transmit
        else:
            self._sent.append((self._clock.now, transmit))
            self._to_exchange.append((self._arrival(End.EXCHANGE), transmit.text))

    def resume(self) -> None:
        """End the stall, and finish the pending write."""
        self.stalled = False
        held, self.unwritten = self.unwritten, None
        if held is not None:
            self.write(held)

    def hang_up(self, *, abort: bool) -> None:
        """Close the client's end; a frame that is not written yet is lost.

        With `abort`, the frames that wait on a frozen wire are lost too: the kernel discards them.
        """
        self.unwritten, self.hung_up = None, True
        if abort and self.frozen:
            self._to_exchange.clear()
        self._close(End.CLIENT)

    @property
    def unsent(self) -> tuple[str, ...]:
        """The ids of cancels that were not written, for the argument `unsent` of `lost`."""
        return () if self.unwritten is None else self.unwritten.ids

    # --- the network ---

    def next_arrival(self) -> float:
        """Return when something next arrives at either end; infinity when nothing will."""
        if self.frozen:
            return inf
        arrivals = (queue[0][0] for queue in (self._to_client, self._to_exchange) if queue)
        return min(min(arrivals, default=inf), min(self._closes.values(), default=inf))

    def next_due(self) -> float:
        """Return when something next arrives or the exchange's next timer fires."""
        return min(self.due, self.next_arrival())

    def next_due_there(self) -> float:
        """Return when a message next arrives at the exchange or its next timer fires."""
        return min(
            self.due, inf if self.frozen or not self._to_exchange else self._to_exchange[0][0]
        )

    def step_there(self) -> None:
        """Deliver one message to the exchange if one has arrived, or else fire its timers."""
        if not self.frozen and self._to_exchange and self._to_exchange[0][0] <= self._clock.now:
            self._deliver()
        else:
            self.fire()

    def arrive(self) -> str | End | None:
        """Deliver the first arrival.

        Return a text for the client, or None for a message that was delivered to the exchange. For
        a close, cut the wire and return the end that closed.
        """
        now = self._clock.now
        if self._to_exchange and self._to_exchange[0][0] <= now:
            self._deliver()
            return None
        if self._to_client and self._to_client[0][0] <= now:
            return self._to_client.popleft()[1]
        if self._closes.get(End.CLIENT, inf) <= now:
            self.cut("the client has hung up")
            return End.CLIENT
        self._cut()
        return End.EXCHANGE

    def fire(self) -> None:
        """Fire the exchange's timers that are due."""
        if self.due <= self._clock.now:
            self.link.handle_timeout(self._clock.now)
            self.drain()

    def cut(self, reason: str) -> None:
        """Cut the wire: messages in transit are lost, and the exchange notices."""
        self._cut()
        self.link.lost(self._clock.now, reason)
        self.drain()

    def drain(self) -> None:
        """Take the output of the exchange."""
        now = self._clock.now
        while not isinstance(output := self.link.poll(now), Wait):
            if isinstance(output, Transmit):
                self._to_client.append((self._arrival(End.CLIENT), output.text))
            elif isinstance(output, Hangup):
                self._close(End.EXCHANGE)
            else:
                assert isinstance(output, ConnectionDropped)
        self.due = inf if output.until is None else output.until

    # --- private ---

    def _deliver(self) -> None:
        self.link.receive(self._to_exchange.popleft()[1], self._clock.now)
        self.drain()

    def _arrival(self, end: End) -> float:
        """Return when a message sent now arrives at `end`: not before earlier messages."""
        there, back = self._latencies()
        latency, queue = (
            (there, self._to_exchange) if end is End.EXCHANGE else (back, self._to_client)
        )
        seconds = latency if isinstance(latency, float | int) else latency()
        return max(self._clock.now + seconds, queue[-1][0] if queue else -inf)

    def _close(self, end: End) -> None:
        """Send the close of `end` to the other end."""
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
    pair: object,
) -> None:
    """Advance the clock until `end`, calling `step` whenever something is due.

    Raises: AssertionError, with `pair` in its message, when the steps never come to an end.
    """
    for _ in range(_TOO_LONG):
        due = next_due()
        if due > end:
            clock.advance_to(end)
            return
        clock.advance_to(due)
        step()
    raise AssertionError(f"still busy after {_TOO_LONG} steps: {pair!r}")


def handshake_refused(status: int) -> str:
    """Return the reason for `lost` when the WebSocket handshake was refused."""
    return f"the exchange refused the handshake with HTTP {status}"
