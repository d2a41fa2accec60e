"""The part of a driver that is the same for every event loop and WebSocket (see docs/driver.md).

Use it as it is when your loop can write a text message, set a timer and close the connection. It
reads a clock and calls the connection; it never blocks.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from bitget_proto import Closed, Connection, Credentials, Event, Hangup, Transmit, Wait, sign_login

KEY = Credentials("key", "secret", "passphrase")

CLOSING = 0.5
"""How long the closing handshake may take, in seconds."""

LATE = 200
"""The most messages that are passed on after a deadline has expired, before it is handled."""

Call = Callable[[Connection, float], object]
"""A function of the connection and the time, to be called in the driver's thread."""

OnEvent = Callable[[Event], object]
"""Called with each event."""

now = time.monotonic  # rule 9


class Driver(ABC):
    """Connects a `Connection` to a WebSocket and a timer."""

    def __init__(self, conn: Connection, on_event: OnEvent = bool) -> None:
        self.conn, self.on_event = conn, on_event
        self.until: float | None = None
        self.over, self.late = False, 0

    # --- implemented for each loop ---

    @abstractmethod
    def can_write(self) -> bool:
        """Return whether everything passed to `write` has been written."""

    @abstractmethod
    def write(self, text: str) -> None:
        """Start to send a text message, whole and after the previous one (rule 5)."""

    @abstractmethod
    def hang_up(self, code: int, reason: str) -> None:
        """Start to close, and give the closing handshake at most `CLOSING` seconds (rule 8)."""

    @abstractmethod
    def arm(self, until: float | None) -> None:
        """Set the timer that calls `due`, in place of the previous one. None means no timer."""

    # --- called by the loop ---

    def opened(self) -> None:
        """Log in. Call it when the WebSocket is open."""
        self.conn.opened(now(), login=sign_login(KEY, int(time.time())))
        self.drain()

    def received(self, message: str | bytes) -> None:
        """Pass on a whole message."""
        if not self.over:  # rule 8
            self.conn.receive(message, now())
            self.drain()
            self.late = self.late + 1 if self.overdue else 0
            if self.late > LATE:  # rule 4
                self.due()

    def lost(self, reason: str, unsent: Iterable[str] = ()) -> None:
        """Report that the WebSocket has ended, or could not be opened."""
        if not self.over:  # rule 8
            self.conn.lost(now(), reason, unsent)
            self.drain()

    def do(self, fn: Call) -> None:
        """Call a function with the connection and the time, then drain."""
        if not self.over:
            fn(self.conn, now())
            self.drain()

    def due(self) -> None:
        """Handle the expired deadline. Before, pass on the messages that have arrived (rule 4)."""
        until, self.until, self.late = self.until, None, 0
        if until is not None:
            # Rule 3: a timer may fire slightly early.
            self.conn.handle_timeout(max(now(), until))
            self.drain()

    @property
    def overdue(self) -> bool:
        """Whether the deadline has expired."""
        return self.until is not None and now() >= self.until

    def patience(self) -> float | None:
        """Return the seconds until the deadline, or None without one."""
        return None if self.until is None else max(0.0, self.until - now())

    def drain(self) -> None:
        """Poll until `Wait`, and act on every output (rule 1)."""
        while True:
            match self.conn.poll(now(), writable=self.can_write()):
                case Transmit(text=text):
                    self.write(text)
                case Hangup(code=code, reason=reason):
                    self.hang_up(code, reason)
                case Wait(until=until):
                    # Rule 2: the latest deadline counts. An unchanged one keeps its timer;
                    # otherwise a flood of messages would restart it forever.
                    if until != self.until:
                        self.until = until
                        self.arm(until)
                    return
                case event:
                    self.over = self.over or isinstance(event, Closed)
                    self.on_event(event)
