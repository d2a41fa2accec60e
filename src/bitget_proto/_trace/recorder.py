"""Records a trace: wraps a core and writes a line for each call.

- A recorded core behaves like the core it wraps: it returns and raises the same, with one
  exception, the `CallerError` of `write`.
- Inputs that do not come from the driver are recorded as well: the numbers of the jitter, and the
  answers of a budget that others spend from.
- Outcomes matter more than the trace: when `write` raises, it is not called again, and the core
  continues. `poll` returns a `CallerError` before the next `Wait` or the last event.
- The only private method of a core that is used is `_attach_recorder`, once, before its first call.

A recorded core is a subclass of `Connection` or `Session` so that it is accepted in place of one.
It is never initialised as one and has no such state: each method calls the same method of the core
it wraps.

The encoding of calls is in `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import ParamSpec, TypeVar, cast, overload

from .._machine.arguments import Queued
from .._machine.backoff import Draw
from .._machine.connection import Connection
from .._machine.connection_config import Config
from .._machine.links import REST
from .._machine.rate_limit import Budget
from .._machine.session import Session
from .._machine.session_config import Policy, SessionConfig
from .._machine.session_events import Ended, SessionOutput
from .._machine.session_states import SessionState
from .._values.credentials import SignedLogin
from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import CallerError, Closed, Output, Transmit, Wait
from .._values.orders import CancelOrder, InstType
from .._values.states import State
from .._wire.codec import Codec
from .json_values import Plain, line, plain
from .reader import header
from .schema import CALLS, is_whole, unrecorded
from .trace_redaction import Secrets

_P = ParamSpec("_P")
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
    and `poll` returns a `CallerError`. If `write` is None, nothing is recorded, and `core` itself is
    returned.

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
        raise ValidationError("core is recorded already: pass a write function that does both")
    return (
        RecordedConnection(core, write)
        if isinstance(core, Connection)
        else RecordedSession(core, write)
    )


class TraceWriter:
    """Writes the trace of one core."""

    __slots__ = (
        "_ended",
        "_failure",
        "_held",
        "_n",
        "_numbers",
        "_secrets",
        "_shared",
        "_write",
        "answers",
        "in_call",
    )  # fmt: skip

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write: Callable[[str], object] | None = write
        self._failure: CallerError | None = None
        """What `write` raised, until `poll` returns it."""
        self._ended = False
        """Whether `poll` has returned the last event."""
        self._held: object = None
        """An output of the core that `poll` has not returned yet, because Ctrl-C interrupted
        `write`, or because it is the last event and the failure of `write` comes before it."""
        self._secrets = Secrets()
        self._n = 0
        self.in_call = False
        """Whether a call is in progress: changes of the budget during it come from the core."""
        self._shared: Budget | None = None
        self.answers: list[float | None] = []
        """The answers of the budget during this call.

        None means that the other users of the budget made no difference: the answer is the same as
        if this core alone had spent from it."""
        self._numbers: list[float | str] = []
        """The numbers of the jitter during this call; a string for a jitter that failed."""

    def begin(self, kind: type, codec: Codec, config: Config | SessionConfig) -> None:
        """Write the first line."""
        self._put(header(kind.__name__, codec, config, self._shared))

    def skip_to(self, n: int) -> None:
        """Count calls up to and including this number as written."""
        self._n = n

    def call(self, name: str, do: Callable[_P, _T], /, *none: _P.args, **passed: _P.kwargs) -> _T:
        """Call a method of the core, and write the call with its result."""
        call = CALLS[name]
        if isinstance(login := passed.get("login"), SignedLogin):
            self._secrets.learn(login)
        bare = call.written(passed)
        written: Plain = {name: self._plain(value) for name, value in bare.items()}
        self._n += 1
        data: Plain = {"n": self._n, "call": name, **written}
        self.in_call = True
        try:
            gave = do(*none, **passed)
        except BaseException as error:
            if isinstance(error, LocalProtocolError):
                data |= _withheld(bare, written)
            self._add_inputs(data)
            data["raised"] = self._raised(error, data)
            self._put(line(data))
            raise
        if name == "poll" and not isinstance(gave, (Transmit, Wait)):
            self._held = gave
        self._add_inputs(data)
        result = call.gives(gave)
        self._put(line(data if result is None else data | {"gave": self._plain(result)}))
        return gave

    def poll(
        self, do: Callable[_P, _T], /, *none: _P.args, **passed: _P.kwargs
    ) -> _T | CallerError:
        """Call `poll` of the core, write the call, and return the output or how `write` failed."""
        output = cast("_T | None", self._held)
        if output is None:
            if self._failure is None:
                output = self.call("poll", do, *none, **passed)
            if self._failure is not None and (
                output is None or isinstance(output, (Wait, Closed, Ended))
            ):
                failure, self._failure = self._failure, None
                return failure
        if isinstance(output, (Closed, Ended)):
            self._ended = True
        self._held = None
        return cast("_T", output)

    def _add_inputs(self, data: Plain) -> None:
        self.in_call = False
        if any(answer is not None for answer in self.answers):
            data["budget"] = self._plain(self.answers)
        if self._numbers:
            data["jitter"] = self._plain(self._numbers)
        self.answers, self._numbers = [], []

    def _raised(self, error: BaseException, data: Plain) -> object:
        """Return an error as data.

        Its message may quote the arguments, so it is left out when an argument is not recorded.
        """
        kind = type(error).__name__
        return (
            {"kind": kind, "message": self._plain(str(error))} if is_whole(data) else {"kind": kind}
        )

    def _plain(self, value: object) -> object:
        return plain(value, self._secrets.out_of)

    def _put(self, text: str) -> None:
        if self._write is not None:
            try:
                self._write(text)
            except Exception as error:  # noqa: BLE001 - a failing trace must not affect the cancels
                self._write = None
                if not self._ended:
                    self._failure = CallerError(where="trace", error=error)

    # --- inputs that do not come from the driver ---

    def watch_budget(self, budget: Budget) -> Budget:
        """Return the same budget, with its answers to the core recorded."""
        self._shared = budget
        return _WatchedBudget(budget, self)

    def watch_jitter(self, jitter: Draw) -> Draw:
        """Return the same jitter, with its numbers and failures recorded."""

        def watched() -> float | CallerError:
            number = jitter()
            self._numbers.append(number.detail if isinstance(number, CallerError) else number)
            return number

        return watched


def _withheld(bare: Plain, written: Plain) -> Plain:
    """Return the arguments of a refused call that hold a secret, as unrecorded.

    If only the secret were replaced, the replayed call might be refused for a different reason, so
    the whole argument is left out.
    """
    return {
        name: unrecorded(value) for name, value in bare.items() if plain(value) != written[name]
    }


class _WatchedBudget(Budget):
    """A shared budget, compared with the same budget as if only this core spent from it.

    Where the answers of the two differ, the answer is an input and is recorded.
    """

    __slots__ = ("_shared", "_writer")

    def __init__(self, shared: Budget, writer: TraceWriter) -> None:
        super().__init__(shared.per_second, shared.pace_margin, shared.batches_per_second)
        self._shared = shared
        self._writer = writer

    def needs_grant(self, now: float, waiting: int = 1) -> bool:
        return self._shared.needs_grant(now, waiting)

    def allowed_at(self, now: float, waiting: int = 1) -> float:
        opens, alone = self._shared.allowed_at(now, waiting), super().allowed_at(now, waiting)
        if self._writer.in_call:
            self._writer.answers.append(None if opens == alone else opens)
        return opens

    def room(self, now: float) -> int:
        room, alone = self._shared.room(now), super().room(now)
        self._writer.answers.append(None if room == alone else room)
        return room

    def debit(self, n: int, now: float, *, batch: bool = False) -> None:
        self._shared.debit(n, now, batch=batch)
        if self._writer.in_call:
            super().debit(n, now, batch=batch)

    def observe(self, remaining: int, now: float) -> None:
        self._shared.observe(remaining, now)
        super().observe(remaining, now)

    def pause(self, now: float) -> None:
        self._shared.pause(now)
        if self._writer.in_call:
            super().pause(now)

    def grant(self, n: int, until: float, now: float) -> None:
        self._shared.grant(n, until, now)


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
        """As `Connection.state`."""
        return self.core.state

    @property
    def in_flight(self) -> int:
        """As `Connection.in_flight`."""
        return self.core.in_flight

    @property
    def capacity(self) -> int:
        """As `Connection.capacity`."""
        return self.core.capacity

    @property
    def waiting_for_grant(self) -> int:
        """As `Connection.waiting_for_grant`."""
        return self.core.waiting_for_grant

    @property
    def config(self) -> Config:
        """As `Connection.config`."""
        return self.core.config

    @property
    def codec(self) -> Codec:
        """As `Connection.codec`."""
        return self.core.codec

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """As `Connection.opened`."""
        self.writer.call("opened", self.core.opened, now=now, login=login)

    def receive(self, message: str | bytes, now: float) -> None:
        """As `Connection.receive`."""
        self.writer.call("receive", self.core.receive, message=message, now=now)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """As `Connection.lost`."""
        self.writer.call(
            "lost",
            self.core.lost,
            now=now,
            reason=reason,
            unsent=[unsent] if isinstance(unsent, str) else _listed(unsent),
        )

    def handle_timeout(self, now: float) -> None:
        """As `Connection.handle_timeout`."""
        self.writer.call("handle_timeout", self.core.handle_timeout, now=now)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """As `Connection.cancel`."""
        return self.writer.call(
            "cancel", self.core.cancel, order=order, now=now, id=id, timeout=timeout, urgent=urgent
        )

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """As `Connection.cancel_many`."""
        return self.writer.call(
            "cancel_many", self.core.cancel_many, orders=_listed(orders), now=now, timeout=timeout
        )

    def withdraw(self, id: str, now: float) -> bool:
        """As `Connection.withdraw`."""
        return self.writer.call("withdraw", self.core.withdraw, id=id, now=now)

    def send(self, text: str, now: float) -> None:
        """As `Connection.send`."""
        self.writer.call("send", self.core.send, text=text, now=now)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """As `Connection.subscribe_orders`."""
        self.writer.call(
            "subscribe_orders",
            self.core.subscribe_orders,
            now=now,
            inst_types=None if inst_types is None else _listed(inst_types),
        )

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """As `Connection.close`."""
        self.writer.call("close", self.core.close, now=now, queued=queued, within=within)

    def poll(self, now: float, writable: bool = True) -> Output:
        """As `Connection.poll`."""
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
        """As `Session.state`."""
        return self.core.state

    @property
    def in_flight(self) -> int:
        """As `Session.in_flight`."""
        return self.core.in_flight

    @property
    def capacity(self) -> int:
        """As `Session.capacity`."""
        return self.core.capacity

    @property
    def waiting_for_grant(self) -> int:
        """As `Session.waiting_for_grant`."""
        return self.core.waiting_for_grant

    @property
    def config(self) -> SessionConfig:
        """As `Session.config`."""
        return self.core.config

    @property
    def codec(self) -> Codec:
        """As `Session.codec`."""
        return self.core.codec

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """As `Session.opened`."""
        self.writer.call("opened", self.core.opened, link=link, now=now, login=login)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """As `Session.receive`."""
        self.writer.call("receive", self.core.receive, link=link, message=message, now=now)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """As `Session.lost`."""
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
        """As `Session.rest_replied`."""
        self.writer.call(
            "rest_replied", self.core.rest_replied, number=number, reply=reply, now=now
        )

    def rest_failed(self, number: int, reason: str, now: float, *, unsent: bool = False) -> None:
        """As `Session.rest_failed`."""
        self.writer.call(
            "rest_failed",
            self.core.rest_failed,
            number=number,
            reason=reason,
            now=now,
            unsent=unsent,
        )

    def handle_timeout(self, now: float) -> None:
        """As `Session.handle_timeout`."""
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
        """As `Session.cancel`."""
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
        """As `Session.cancel_many`."""
        return self.writer.call(
            "cancel_many",
            self.core.cancel_many,
            orders=_listed(orders),
            now=now,
            timeout=timeout,
            policy=policy,
        )

    def withdraw(self, id: str, now: float) -> bool:
        """As `Session.withdraw`."""
        return self.writer.call("withdraw", self.core.withdraw, id=id, now=now)

    def send(self, text: str, now: float) -> None:
        """As `Session.send`."""
        self.writer.call("send", self.core.send, text=text, now=now)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """As `Session.subscribe_orders`."""
        self.writer.call(
            "subscribe_orders",
            self.core.subscribe_orders,
            now=now,
            inst_types=None if inst_types is None else _listed(inst_types),
        )

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """As `Session.close`."""
        self.writer.call("close", self.core.close, now=now, queued=queued, within=within)

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """As `Session.poll`."""
        return self.writer.poll(
            self.core.poll, now=now, busy=[link for link in (REST, *self.links) if link in busy]
        )
