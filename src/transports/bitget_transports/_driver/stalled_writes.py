"""Links whose last frame has not left, and when one has waited too long: `Limits.write_timeout`.

A peer that stops reading fills the buffers between; from then on nothing leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol


class Stallable(Protocol):
    """A link."""

    @property
    def stalled_since(self) -> float:
        """When its last frame did not leave whole; infinity while all have left."""
        ...


class StalledWrites:
    """The numbers of the links in `links` that are stalled."""

    def __init__(self, timeout: float | None, links: Mapping[int, Stallable]) -> None:
        self._timeout = inf if timeout is None else timeout
        self._links = links
        self.numbers: set[int] = set()

    def due(self) -> float:
        """Return when the first of them has waited too long; infinity for never."""
        return min(
            (self._links[number].stalled_since + self._timeout for number in self.numbers),
            default=inf,
        )

    def overdue(self, now: float) -> list[int]:
        """Return those that have waited too long."""
        return [
            number
            for number in self.numbers
            if now >= self._links[number].stalled_since + self._timeout
        ]
