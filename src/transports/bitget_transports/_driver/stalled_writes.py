"""Links whose last frame was not written completely, and when `Limits.write_timeout` expires.

When the peer stops reading, the buffers in between fill up, and then nothing more can be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol


class Stallable(Protocol):
    """A link."""

    @property
    def stalled_since(self) -> float:
        """The time at which the current, still incomplete write stalled; infinity if none is
        pending.
        """
        ...


class StalledWrites:
    """The numbers of the links in `links` that are stalled."""

    def __init__(self, timeout: float | None, links: Mapping[int, Stallable]) -> None:
        self._timeout = inf if timeout is None else timeout
        self._links = links
        self.numbers: set[int] = set()

    def due(self) -> float:
        """Return when the first write timeout expires; infinity if no link is stalled."""
        return min(
            (self._links[number].stalled_since + self._timeout for number in self.numbers),
            default=inf,
        )

    def overdue(self, now: float) -> list[int]:
        """Return the links whose write timeout has expired."""
        return [
            number
            for number in self.numbers
            if now >= self._links[number].stalled_since + self._timeout
        ]
