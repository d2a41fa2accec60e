"""Records a trace: wraps a core, and writes its calls with a `TraceWriter`.

A recorded core returns and raises the same as the core it wraps. The only difference is the
`CallerError` that `poll` returns after `write` has failed. The only private method of the wrapped
core that is used is `_attach_recorder`, once, before the first call.

A recorded core is a subclass of `Connection` or `Session` so that it is accepted in place of one.
The base class is never initialised, so its state does not exist: each method calls the same method
of the wrapped core.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TypeVar, overload

from .._machine.arguments import Queued
from .._machine.connection import Connection
from .._machine.connection_config import Config
from .._machine.links import REST
from .._machine.session import Session
from .._machine.session_config import Policy, SessionConfig
from .._machine.session_events import SessionOutput
from .._machine.session_states import SessionState
from .._values.credentials import SignedLogin
from .._values.errors import ValidationError, safe_repr
from .._values.events import Output
from .._values.orders import CancelOrder, InstType
from .._values.states import State
from .._wire.codec import Codec
from .trace_writer import TraceWriter

_T = TypeVar("_T")


@overload
def record(core: Connection, write: Callable[[str], object] | None) -> Connection: ...
@overload
def record(core: Session, write: Callable[[str], object] | None) -> Session: ...
def record(
    core: Connection | Session, write: Callable[[str], object] | None
) -> Connection | Session:
    """Record a connection or a session from its beginning.

    Drive the returned core instead of `core`.

    `write` is called with each line, including its line ending: pass the `write` method of a text
    file or the `append` method of a list. Each call gets a complete line, so a line-buffered file
    survives a crash up to its last line. If `write` raises an `Exception`, it is not called again,
    and `poll` returns a `CallerError`. If `write` is None, nothing is recorded, and `core` itself
    is returned.

    The key, passphrase and signature of a login are never written; docs/traces.md lists what else
    is hidden. `replay` replays the trace.

    Raises: ValidationError when a method of the core was called before, when the core is recorded
    already, or when an argument has the wrong type.
    """
    if not isinstance(core, (Connection, Session)):
        raise ValidationError(f"core must be a Connection or a Session; got {safe_repr(core)}")
    if write is None:
        return core
    if not callable(write):
        raise ValidationError(
            f"write must be a function that takes a line, or None; got {safe_repr(write)}: pass file.write"
        )
    if isinstance(core, (RecordedConnection, RecordedSession)):
        raise ValidationError(
            "core is already recorded: call record once, with a function that writes to both places"
        )
    return (
        RecordedConnection(core, write)
        if isinstance(core, Connection)
        else RecordedSession(core, write)
    )


def _listed(given: Iterable[_T]) -> Iterable[_T]:
    """Return a list, since both the core and the trace iterate over it."""
    return list(given) if isinstance(given, Iterable) else given


class RecordedConnection(Connection):
    """A `Connection` that wraps another one and records its calls."""

    __slots__ = ("core", "writer")

    def __init__(self, core: Connection, write: Callable[[str], object]) -> None:
        self.core = core
        self.writer = TraceWriter(write)
        codec = core._attach_recorder(self.writer.watch_budget)
        self.writer.begin(Connection, codec, core.config)

    def __repr__(self) -> str:
        return repr(self.core)

    @property
    def state(self) -> State:
        """Like `Connection.state`."""
        return self.core.state

    @property
    def in_flight(self) -> int:
        """Like `Connection.in_flight`."""
        return self.core.in_flight

    @property
    def capacity(self) -> int:
        """Like `Connection.capacity`."""
        return self.core.capacity

    @property
    def waiting_for_grant(self) -> int:
        """Like `Connection.waiting_for_grant`."""
        return self.core.waiting_for_grant

    @property
    def config(self) -> Config:
        """Like `Connection.config`."""
        return self.core.config

    @property
    def codec(self) -> Codec:
        """Like `Connection.codec`."""
        return self.core.codec

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """Like `Connection.opened`."""
        self.writer.call("opened", self.core.opened, now=now, login=login)

    def receive(self, message: str | bytes, now: float) -> None:
        """Like `Connection.receive`."""
        self.writer.call("receive", self.core.receive, message=message, now=now)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """Like `Connection.lost`."""
        self.writer.call(
            "lost",
            self.core.lost,
            now=now,
            reason=reason,
            unsent=[unsent] if isinstance(unsent, str) else _listed(unsent),
        )

    def handle_timeout(self, now: float) -> None:
        """Like `Connection.handle_timeout`."""
        self.writer.call("handle_timeout", self.core.handle_timeout, now=now)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """Like `Connection.cancel`."""
        return self.writer.call(
            "cancel", self.core.cancel, order=order, now=now, id=id, timeout=timeout, urgent=urgent
        )

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """Like `Connection.cancel_many`."""
        return self.writer.call(
            "cancel_many", self.core.cancel_many, orders=_listed(orders), now=now, timeout=timeout
        )

    def withdraw(self, id: str, now: float) -> bool:
        """Like `Connection.withdraw`."""
        return self.writer.call("withdraw", self.core.withdraw, id=id, now=now)

    def send(self, text: str, now: float) -> None:
        """Like `Connection.send`."""
        self.writer.call("send", self.core.send, text=text, now=now)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """Like `Connection.subscribe_orders`."""
        self.writer.call(
            "subscribe_orders",
            self.core.subscribe_orders,
            now=now,
            inst_types=None if inst_types is None else _listed(inst_types),
        )

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """Like `Connection.close`."""
        self.writer.call("close", self.core.close, now=now, queued=queued, within=within)

    def poll(self, now: float, writable: bool = True) -> Output:
        """Like `Connection.poll`."""
        return self.writer.poll(self.core.poll, now=now, writable=writable)


class RecordedSession(Session):
    """A `Session` that wraps another one and records its calls."""

    __slots__ = ("core", "links", "writer")

    def __init__(self, core: Session, write: Callable[[str], object]) -> None:
        self.core = core
        self.writer = TraceWriter(write)
        codec, self.links = core._attach_recorder(
            self.writer.watch_budget, self.writer.watch_jitter
        )
        self.writer.begin(Session, codec, core.config)

    def __repr__(self) -> str:
        return repr(self.core)

    @property
    def state(self) -> SessionState:
        """Like `Session.state`."""
        return self.core.state

    @property
    def in_flight(self) -> int:
        """Like `Session.in_flight`."""
        return self.core.in_flight

    @property
    def capacity(self) -> int:
        """Like `Session.capacity`."""
        return self.core.capacity

    @property
    def waiting_for_grant(self) -> int:
        """Like `Session.waiting_for_grant`."""
        return self.core.waiting_for_grant

    @property
    def config(self) -> SessionConfig:
        """Like `Session.config`."""
        return self.core.config

    @property
    def codec(self) -> Codec:
        """Like `Session.codec`."""
        return self.core.codec

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """Like `Session.opened`."""
        self.writer.call("opened", self.core.opened, link=link, now=now, login=login)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """Like `Session.receive`."""
        self.writer.call("receive", self.core.receive, link=link, message=message, now=now)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """Like `Session.lost`."""
        self.writer.call(
            "lost",
            self.core.lost,
            link=link,
            now=now,
            reason=reason,
            unsent=[unsent] if isinstance(unsent, str) else _listed(unsent),
            retry_after=retry_after,
        )

    def rest_replied(self, number: int, reply: tuple[int, str | bytes], now: float) -> None:
        """Like `Session.rest_replied`."""
        self.writer.call(
            "rest_replied", self.core.rest_replied, number=number, reply=reply, now=now
        )

    def rest_failed(self, number: int, reason: str, now: float, *, unsent: bool = False) -> None:
        """Like `Session.rest_failed`."""
        self.writer.call(
            "rest_failed",
            self.core.rest_failed,
            number=number,
            reason=reason,
            now=now,
            unsent=unsent,
        )

    def handle_timeout(self, now: float) -> None:
        """Like `Session.handle_timeout`."""
        self.writer.call("handle_timeout", self.core.handle_timeout, now=now)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        """Like `Session.cancel`."""
        return self.writer.call(
            "cancel",
            self.core.cancel,
            order=order,
            now=now,
            id=id,
            timeout=timeout,
            policy=policy,
            urgent=urgent,
        )

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """Like `Session.cancel_many`."""
        return self.writer.call(
            "cancel_many",
            self.core.cancel_many,
            orders=_listed(orders),
            now=now,
            timeout=timeout,
            policy=policy,
        )

    def withdraw(self, id: str, now: float) -> bool:
        """Like `Session.withdraw`."""
        return self.writer.call("withdraw", self.core.withdraw, id=id, now=now)

    def send(self, text: str, now: float) -> None:
        """Like `Session.send`."""
        self.writer.call("send", self.core.send, text=text, now=now)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """Like `Session.subscribe_orders`."""
        self.writer.call(
            "subscribe_orders",
            self.core.subscribe_orders,
            now=now,
            inst_types=None if inst_types is None else _listed(inst_types),
        )

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """Like `Session.close`."""
        self.writer.call("close", self.core.close, now=now, queued=queued, within=within)

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """Like `Session.poll`."""
        return self.writer.poll(
            self.core.poll, now=now, busy=[link for link in (REST, *self.links) if link in busy]
        )
