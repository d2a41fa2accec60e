"""A single connection in the words of a session, so that each transport drives both with one and the same driver."""

# ruff: noqa: ARG002 - a single connection has no use for some of the words

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from bitget_proto import (
    Connection,
    Dial,
    Output,
    Queued,
    SessionOutput,
    SessionState,
    SignedLogin,
    State,
)

ONLY = 1
"""The number of the only link."""


class Core(Protocol):
    """What a driver drives: a `Session`, or a `SingleLink` connection.

    Three calls are on the way of every cancel, and are those of the driven thing itself, so that nothing stands between it and
    its driver. `cancel` takes a policy only if that is a session; `receive` takes the link's number first if it is one; `poll`
    takes the time and, of a session, which links are busy, of a connection, whether its only one is writable.
    """

    @property
    def state(self) -> State | SessionState: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def opened(self, link: int, now: float, *, login: SignedLogin) -> None: ...
    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None: ...
    def handle_timeout(self, now: float) -> None: ...
    def send(self, text: str, now: float) -> None: ...
    def withdraw(self, id: str, now: float) -> bool: ...
    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None: ...
    @property
    def cancel(self) -> Callable[..., str]: ...
    @property
    def receive(self) -> Callable[..., None]: ...
    @property
    def poll(self) -> Callable[..., Output | SessionOutput]: ...


class SingleLink:
    """A `Connection` that is dialled once, and whose end is the end."""

    __slots__ = ("_connection", "cancel", "poll", "receive")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.cancel: Callable[..., str] = connection.cancel
        self.receive: Callable[..., None] = connection.receive
        self.poll: Callable[..., Output | Dial] = self._dial

    @property
    def state(self) -> State:
        return self._connection.state

    @property
    def in_flight(self) -> int:
        return self._connection.in_flight

    @property
    def capacity(self) -> int:
        return self._connection.capacity

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        self._connection.opened(now, login=login)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        self._connection.lost(now, reason, unsent)

    def handle_timeout(self, now: float) -> None:
        self._connection.handle_timeout(now)

    def send(self, text: str, now: float) -> None:
        self._connection.send(text, now)

    def withdraw(self, id: str, now: float) -> bool:
        return self._connection.withdraw(id, now)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        self._connection.close(now, queued, within)

    def _dial(self, now: float, writable: bool = True) -> Dial:
        self.poll = self._connection.poll
        return Dial(link=ONLY)
