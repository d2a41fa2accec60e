"""The caller's own frames and the subscriptions of a session, and how its links get them."""

from __future__ import annotations

from collections import deque

from .._values.states import State
from .connection import Connection
from .links import Links

_TAKES_FRAMES = (State.NEW, State.AUTHENTICATING, State.READY)
"""The states of a link that may still send a frame."""


class OwnFrames:
    """The frames that wait for a link, and the subscriptions that are sent on each link."""

    __slots__ = ("_links", "_subscriptions", "_waiting")

    def __init__(self, links: Links) -> None:
        self._links = links
        self._waiting: deque[str] = deque()
        self._subscriptions: list[str] = []

    def queue(self) -> deque[str]:
        """Return the queue for the next frame: that of a serving link, or of the next link."""
        for link in self._links.serving:
            if link.connection.state is State.READY:
                return link.connection._frames.own
        return self._waiting

    def subscribe(self, text: str) -> None:
        """Send a subscription on each link, now and later."""
        if text not in self._subscriptions:
            self._subscriptions.append(text)
        for link in self._links.all.values():
            if link.connection.state in _TAKES_FRAMES:
                link.connection._frames.subscribe(text)

    def dialled(self, connection: Connection) -> None:
        """Give a new connection the subscriptions."""
        connection._frames.subscriptions.extend(self._subscriptions)

    def ready(self, connection: Connection) -> None:
        """Give the waiting frames to a connection that begins to serve."""
        connection._frames.own.extend(self._waiting)
        self._waiting.clear()
