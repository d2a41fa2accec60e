"""What every driver does alike, whatever its loop and its WebSocket: the part of docs/driver.md that needs neither.

Take this as it stands when your loop gives you three things: to write a text, to arm a timer, to hang up. It reads a clock and
calls the connection; it never waits.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from bitget_proto import Closed, Connection, Credentials, Event, Hangup, Transmit, Wait, sign_login

KEY = Credentials("key", "secret", "passphrase")

CLOSING = 0.5
"""Seconds for the closing handshake."""

LATE = 200
"""Messages that are handed over past a deadline before it is looked at."""

Call = Callable[[Connection, float], object]
"""What another thread wants of a connection: a function of it and of the time."""

Tell = Callable[[Event], object]
"""Who is told the events."""

now = time.monotonic  # rule 9


class Driver(ABC):
    """Joins a connection to a WebSocket and to a timer."""

    def __init__(self, conn: Connection, tell: Tell = bool) -> None:
        self.conn, self.tell = conn, tell
        self.until: float | None = None
        self.over, self.late = False, 0

    # --- what a loop gives ---

    @abstractmethod
    def can_write(self) -> bool:
        """Whether all that was to be written is."""

    @abstractmethod
    def write(self, text: str) -> None:
        """Begin to send a text message, whole and behind the one before (rule 5)."""

    @abstractmethod
    def hang_up(self, code: int, reason: str) -> None:
        """Begin to close, and do not wait for it longer than `CLOSING` (rule 8)."""

    @abstractmethod
    def arm(self, until: float | None) -> None:
        """Call `due` then, and no more at the time told before; None is for never."""

    # --- what happens ---

    def opened(self) -> None:
        """The WebSocket is open."""
        self.conn.opened(now(), login=sign_login(KEY, int(time.time())))
        self.drain()

    def received(self, message: str | bytes) -> None:
        """A message has come, whole."""
        if not self.over:  # rule 8
            self.conn.receive(message, now())
            self.drain()
            self.late = self.late + 1 if self.overdue else 0
            if self.late > LATE:  # rule 4
                self.due()

    def lost(self, reason: str, unsent: Iterable[str] = ()) -> None:
        """The WebSocket has ended, or never was."""
        if not self.over:  # rule 8
            self.conn.lost(now(), reason, unsent)
            self.drain()

    def do(self, fn: Call) -> None:
        """Somebody wants something."""
        if not self.over:
            fn(self.conn, now())
            self.drain()

    def due(self) -> None:
        """It is time. Before this a loop hands over what has arrived (rule 4)."""
        until, self.until, self.late = self.until, None, 0
        if until is not None:
            self.conn.handle_timeout(
                max(now(), until)
            )  # rule 3: a timer that fires a tick early counts
            self.drain()

    @property
    def overdue(self) -> bool:
        """Whether it is time."""
        return self.until is not None and now() >= self.until

    def patience(self) -> float | None:
        """Seconds until it is time; None when only input can bring news."""
        return None if self.until is None else max(0.0, self.until - now())

    def drain(self) -> None:
        """Take everything out (rule 1)."""
        while True:
            match self.conn.poll(now(), writable=self.can_write()):
                case Transmit(text=text):
                    self.write(text)
                case Hangup(code=code, reason=reason):
                    self.hang_up(code, reason)
                case Wait(until=until):
                    if (
                        until != self.until
                    ):  # rule 2: the latest one counts; the same goes on, or a flood would begin it anew
                        self.until = until
                        self.arm(until)
                    return
                case event:
                    self.over = self.over or isinstance(event, Closed)
                    self.tell(event)
