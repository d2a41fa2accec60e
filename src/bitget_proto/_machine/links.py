"""The links of a session: one that is up, one that is to follow it, and those that drain."""

from __future__ import annotations

from collections.abc import Container
from math import inf

import attrs

from .._values.errors import ValidationError, safe_repr
from .._values.events import LoginRejected
from .connection import Connection


@attrs.define(eq=False)
class Link:
    """One link, from its dial to its end."""

    number: int
    connection: Connection
    dial_until: float
    """When the dial is given up; infinity once it has been answered."""

    rotate_at: float = inf
    up_at: float = inf
    leaving: bool = False
    """Whether it is to be replaced: the exchange is going away, or it is too old."""

    refusal: LoginRejected | None = None


class Links:
    """The links that are not over, by number."""

    __slots__ = ("_dialled", "all", "following", "serving")

    def __init__(self) -> None:
        self._dialled = 0
        self.all: dict[int, Link] = {}
        self.serving: Link | None = None
        """The link that sends cancels."""
        self.following: Link | None = None
        """The link that was dialled and is not logged in yet."""

    def dial(self, connection: Connection, until: float) -> Link:
        """Add a link whose dial is given up at `until`."""
        self._dialled += 1
        link = Link(self._dialled, connection, until)
        self.all[link.number] = self.following = link
        return link

    def find(self, number: int) -> Link | None:
        """Return the link of this number; None when it is over.

        Raises: ValidationError for anything but a number.
        """
        if type(number) is not int:
            raise ValidationError(
                f"link must be the number of a link, as Dial gave it; got {safe_repr(number)}"
            )
        return self.all.get(number)

    def busy(self, busy: Container[int]) -> Container[int]:
        """Return which links are busy, as a container that raises nothing when it is asked.

        Raises: ValidationError for what is no container of numbers.
        """
        if type(busy) in _SAFE:
            return busy
        if isinstance(busy, (str, bytes)) or not isinstance(busy, Container):
            raise ValidationError(
                f"busy must be a set of the numbers of links; got {safe_repr(busy)}"
            )
        return [number for number in self.all if number in busy]

    def none_leads(self) -> None:
        """No link sends cancels any more, and none is to follow."""
        self.serving = self.following = None


_SAFE = (tuple, set, frozenset, list)
"""Containers whose `in` raises nothing for a number."""
