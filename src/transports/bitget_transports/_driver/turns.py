"""Bounded turns, by count: how much a link processes before timers and other tasks have their turn.

A link processes one turn at a time. Data that it has read beyond that waits here. Nothing more is
read meanwhile, so the peer must wait too. Nothing is lost or reordered: data that waits is
processed before the end of the link is reported.
"""

from __future__ import annotations

from collections import deque

PARSER_BYTES = 2**12
"""The most bytes that a parser gets in one turn. A frame of two bytes costs a parser in Python up
to 12 µs, so that a turn takes at most some 25 ms.
"""

CORE_MESSAGES = 64
"""The most messages that the core gets in one turn."""

READ = 2**16
"""The most bytes that are read from a socket at once."""

OVERDUE_MESSAGES = 1000
"""The most messages that the core gets past a deadline before timers fire: an answer to each cancel
that may be in flight.
"""

_OVERDUE_BYTES = 2**19
"""The most bytes that parsers get past a deadline before timers fire: `OVERDUE_MESSAGES` answers
fit.
"""

_WITHOUT_MESSAGE = 2**16
"""The same limit, while these bytes complete no message."""


class Unprocessed:
    """What a link has read and not processed yet: bytes for its parser, messages for the core."""

    __slots__ = ("messages", "parts")

    def __init__(self) -> None:
        self.parts: deque[bytes] = deque()
        """Each at most `PARSER_BYTES`."""
        self.messages: deque[str | bytes] = deque()
        """From the parts before those in `parts`."""

    def __bool__(self) -> bool:
        return bool(self.parts or self.messages)

    def add(self, data: bytes) -> None:
        """Add bytes that were read."""
        if len(data) <= PARSER_BYTES:
            self.parts.append(data)
        else:
            starts = range(0, len(data), PARSER_BYTES)
            self.parts.extend(data[start : start + PARSER_BYTES] for start in starts)

    def next_part(self) -> bytes:
        """Remove and return the bytes for the parser in this turn: none while messages wait."""
        return self.parts.popleft() if self.parts and not self.messages else b""

    def next_messages(self) -> list[str | bytes]:
        """Remove and return the messages for the core in this turn."""
        messages = self.messages
        return [messages.popleft() for _ in range(min(len(messages), CORE_MESSAGES))]

    def clear(self) -> None:
        """Discard everything."""
        self.parts.clear()
        self.messages.clear()


class Arrivals:
    """Counts what all links of a driver process, and decides when due timers may fire: after
    everything that has arrived, but after a bounded amount at most.
    """

    __slots__ = ("_latest", "_quiet", "_since_message", "bytes", "messages")

    def __init__(self) -> None:
        self.messages = 0
        """The number of messages past the deadline."""
        self.restart()

    def restart(self) -> None:
        """Start to count bytes: a deadline has passed, or timers have fired."""
        self.bytes = 0
        """The number of bytes that parsers got since then."""
        self._latest = (self.messages, 0)
        self._since_message = 0
        self._quiet = 0

    def timers_may_fire(self, quiet_turns: int) -> bool:
        """Return whether timers may fire. Call it after each turn past the deadline.

        After `quiet_turns` turns in a row without a byte, everything counts as processed.
        """
        messages, size = self._latest
        self._latest = (self.messages, self.bytes)
        if self._latest == (messages, size):
            self._quiet += 1
        else:
            self._quiet = 0
            self._since_message = 0 if self.messages != messages else (
                self._since_message + self.bytes - size
            )  # fmt: skip
        return (
            self._quiet >= quiet_turns
            or self._since_message >= _WITHOUT_MESSAGE
            or self.bytes >= _OVERDUE_BYTES
        )
