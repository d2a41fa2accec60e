"""The links of a session.

A session has `SessionConfig.links` lanes, one by default. In a lane at most one link serves, which
means that it sends cancels, and at most one is being dialled. The others drain.
"""

from __future__ import annotations

from collections.abc import Container
from math import inf

import attrs

from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import LoginRejected
from .backoff import Redial
from .connection import Connection
from .session_states import SessionState


@attrs.define(eq=False)
class Lane:
    """One of the links that a session keeps open, and its successors."""

    redial: Redial
    state: SessionState = SessionState.DOWN
    serving: Link | None = None
    """The link that sends cancels."""

    successor: Link | None = None
    """The link that was dialled and whose login is not accepted yet."""


@attrs.define(eq=False)
class Link:
    """A connection of a session, from its dial to its end."""

    number: int
    lane: Lane
    connection: Connection
    dial_until: float
    """When the dial is given up; infinity once the driver has answered it."""

    rotate_at: float = inf
    """When its successor is dialled because of its age."""

    up_at: float = inf
    """When its login was accepted; infinity before that."""

    wrote_at: float = -inf
    """When `poll` returned its last frame."""

    leaving: bool = False
    """Whether the exchange announced the end of the link (30033) before its login was accepted."""

    refusal: LoginRejected | None = None
    """The refusal of its login."""


class Links:
    """The links that have not ended."""

    __slots__ = ("_dialled", "all", "lanes")

    def __init__(self, lanes: list[Lane]) -> None:
        self._dialled = 0
        self.lanes = lanes
        self.all: dict[int, Link] = {}
        """The links by number."""

    @property
    def serving(self) -> list[Link]:
        """The links that send cancels."""
        return [lane.serving for lane in self.lanes if lane.serving is not None]

    def dial(self, lane: Lane, connection: Connection, until: float) -> Link:
        """Add a link to a lane and return it. Its dial is given up at `until`."""
        self._dialled += 1
        link = Link(self._dialled, lane, connection, until)
        self.all[link.number] = lane.successor = link
        return link

    def find(self, number: int) -> Link | None:
        """Return the link with this number; None if it has ended.

        Raises: ValidationError if `number` is not a whole number; LocalProtocolError if no link
        with this number was dialled.
        """
        if type(number) is not int:
            raise ValidationError(
                f"link must be the number of a link, as in Dial.link; got {safe_repr(number)}"
            )
        if not 0 < number <= self._dialled:
            raise LocalProtocolError(
                f"link {number} was never dialled; the last Dial has link {self._dialled}: pass "
                "the number that Dial.link gave"
                if self._dialled
                else f"link {number} was never dialled: drain poll first, which returns a Dial"
            )
        return self.all.get(number)

    def busy(self, busy: Container[int]) -> Container[int]:
        """Return the numbers of the busy links, in a container whose `in` does not raise.

        Raises: ValidationError if `busy` is not a container of link numbers.
        """
        if type(busy) in _SAFE:
            return busy
        if isinstance(busy, (str, bytes)) or not isinstance(busy, Container):
            raise ValidationError(f"busy must be a set of link numbers; got {safe_repr(busy)}")
        return [number for number in (REST, *self.all) if number in busy]

    def clear_roles(self) -> None:
        """Let no link serve or follow. The links stay in `all`."""
        for lane in self.lanes:
            lane.serving = lane.successor = None


REST = 0
"""Stands for REST among the numbers of links that are busy."""

_SAFE = (tuple, set, frozenset, list)
"""Containers whose `in` does not raise for a number."""
