"""A single connection with the methods of a session, so that one driver drives both."""

# ruff: noqa: ARG002 - a single connection ignores the number of its link

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Protocol

from bitget_proto import (
    CancelOrder,
    Codec,
    Connection,
    Dial,
    Output,
    Policy,
    Queued,
    SessionOutput,
    SessionState,
    SignedLogin,
    State,
)

ONLY_LINK = 1
"""The number of the only link."""


class Core(Protocol):
    """What a driver drives: a `Session`, or a `Connection` as a `SingleLink`."""

    @property
    def state(self) -> State | SessionState: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def waiting_for_grant(self) -> int: ...
    def opened(self, link: int, now: float, *, login: SignedLogin) -> None: ...
    def receive(self, link: int, message: str | bytes, now: float) -> None: ...
    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None: ...
    def handle_timeout(self, now: float) -> None: ...
    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str: ...
    def send(self, text: str, now: float) -> None: ...
    def subscribe_orders(self, now: float) -> None: ...
    def withdraw(self, id: str, now: float) -> bool: ...
    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None: ...
    def poll(self, now: float, busy: Container[int] = ()) -> Output | SessionOutput: ...


class SingleLink:
    """A `Connection` with the methods of a `Session`. It is dialled once and never replaced."""

    __slots__ = ("_connection", "_dialled")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialled = False

    @property
    def codec(self) -> Codec:
        return self._connection.codec

    @property
    def state(self) -> State:
        return self._connection.state

    @property
    def in_flight(self) -> int:
        return self._connection.in_flight

    @property
    def capacity(self) -> int:
        return self._connection.capacity

    @property
    def waiting_for_grant(self) -> int:
        return self._connection.waiting_for_grant

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        self._connection.opened(now, login=login)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        self._connection.receive(message, now)

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

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        return self._connection.cancel(order, now, id, timeout, urgent)

    def send(self, text: str, now: float) -> None:
        self._connection.send(text, now)

    def subscribe_orders(self, now: float) -> None:
        self._connection.subscribe_orders(now)

    def withdraw(self, id: str, now: float) -> bool:
        return self._connection.withdraw(id, now)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        self._connection.close(now, queued, within)

    def poll(self, now: float, busy: Container[int] = ()) -> Output | Dial:
        if not self._dialled:
            self._dialled = True
            if self._connection.state is State.NEW:  # not closed before it was dialled
                return Dial(link=ONLY_LINK)
        return self._connection.poll(now, ONLY_LINK not in busy)
