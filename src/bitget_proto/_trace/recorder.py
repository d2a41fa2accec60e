"""Records a life: a core that behaves as the one it holds does, and writes a line for each call.

Rules of this file
- Nothing changes for whoever drives it: what the core gives and raises is given and raised.
- What the core learns behind its driver's back is written as well: the numbers of its jitter, and what it hears of a budget
  that others spend from.
- A cancel's outcome is worth more than its record: a `write` that raises is not called again, and is no reason to stop.
- A core is entered by one door, `_overheard`, once and before its first call. What else is used of it is public.

A recorded core is a `Connection` or a `Session` by its type alone, so that it goes wherever one goes. It is never initialised
as one and has no state of its own: it holds a core, and each of its methods passes on to that.

How a call is spelled stands in `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import ParamSpec, TypeVar, overload

from .._machine.arguments import Queued
from .._machine.connection import Connection
from .._machine.connection_config import Config
from .._machine.rate_limit import Budget
from .._machine.session import Session
from .._machine.session_config import Policy, SessionConfig
from .._machine.session_events import SessionOutput
from .._machine.session_states import SessionState
from .._values.credentials import SignedLogin
from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import Output
from .._values.orders import CancelOrder
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
    """Record a connection or a session from its beginning: drive what this returns in the place of what it was given.

    `write` is called with each line, its end included: the `write` of a file that is open for text, or the `append` of a list.
    A line is whole when it is written, so that a file that is buffered by lines survives a crash up to the last one. Should
    `write` raise, it is not called again. With None nothing is recorded, and the core itself is returned.

    Neither key nor pass phrase nor signature of a login is written; `Trace` says what else is hidden. `replay` plays it again.

    Raises: ValidationError when the core has been told something already, or is recorded already; and for what is no function.
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
        raise ValidationError("core is recorded already: let one write do both")
    return (
        RecordedConnection(core, write)
        if isinstance(core, Connection)
        else RecordedSession(core, write)
    )


class TraceWriter:
    """What is written of one life."""

    __slots__ = ("_n", "_numbers", "_secrets", "_shared", "_write", "answers", "inside")

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write: Callable[[str], object] | None = write
        self._secrets = Secrets()
        self._n = 0
        self.inside = False
        """Whether a call is going on: what happens to a budget meanwhile is the core's doing."""
        self._shared: Budget | None = None
        self.answers: list[float | None] = []
        """What the budget told the core during this call, where others had spent or granted; None where they had not."""
        self._numbers: list[float] = []
        """Those of the jitter during this call."""

    def begin(self, kind: type, codec: Codec, config: Config | SessionConfig) -> None:
        """Write the first line."""
        self._put(header(kind.__name__, codec.engine.value, config, self._shared))

    def skip_to(self, n: int) -> None:
        """Leave out what was to be written up to the call of this number, that one included."""
        self._n = n

    def call(self, name: str, do: Callable[_P, _T], /, *none: _P.args, **passed: _P.kwargs) -> _T:
        """Do what was asked, and write what came of it."""
        call = CALLS[name]
        if isinstance(login := passed.get("login"), SignedLogin):
            self._secrets.learn(login)
        bare = call.told(passed)
        told: Plain = {name: self._plain(value) for name, value in bare.items()}
        self._n += 1
        data: Plain = {"n": self._n, "call": name, **told}
        self.inside = True
        try:
            gave = do(*none, **passed)
        except BaseException as error:
            if isinstance(error, LocalProtocolError):
                data |= _withheld(bare, told)
            self._drawn(data)
            data["raised"] = self._raised(error, data)
            self._put(line(data))
            raise
        self._drawn(data)
        said = call.gives(gave)
        self._put(line(data if said is None else data | {"gave": self._plain(said)}))
        return gave

    def _drawn(self, data: Plain) -> None:
        self.inside = False
        if any(answer is not None for answer in self.answers):
            data["budget"] = self._plain(self.answers)
        if self._numbers:
            data["jitter"] = self._plain(self._numbers)
        self.answers, self._numbers = [], []

    def _raised(self, error: BaseException, data: Plain) -> object:
        """The words of an error may repeat what was passed: where that is not recorded, they are not either."""
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
            except Exception:  # noqa: BLE001 - whatever it is, the cancels are not to suffer for it
                self._write = None

    # --- what a core learns behind its driver's back ---

    def watched(self, budget: Budget) -> Budget:
        """The same budget, and what it tells the core is noted."""
        self._shared = budget
        return _WatchedBudget(budget, self)

    def heard(self, jitter: Callable[[], float]) -> Callable[[], float]:
        """The same jitter, and its numbers are noted."""

        def heard() -> float:
            number = jitter()
            self._numbers.append(number)
            return number

        return heard


def _withheld(bare: Plain, told: Plain) -> Plain:
    """Of a call that was refused, the arguments that are not written as they were because they hold a secret: without it the
    call might be refused for another reason.
    """
    return {name: unrecorded(value) for name, value in bare.items() if plain(value) != told[name]}


class _WatchedBudget(Budget):
    """A budget, and beside it what it would be if nobody else spent from it: where the two differ, the answer is an input."""

    __slots__ = ("_life", "_shared")

    def __init__(self, shared: Budget, life: TraceWriter) -> None:
        super().__init__(shared.per_second, shared.pace_margin)
        self._shared = shared
        self._life = life

    def opens(self, now: float) -> float:
        opens, alone = self._shared.opens(now), super().opens(now)
        if self._life.inside:
            self._life.answers.append(None if opens == alone else opens)
        return opens

    def debit(self, n: int, now: float) -> None:
        self._shared.debit(n, now)
        if self._life.inside:
            super().debit(n, now)

    def pause(self, now: float) -> None:
        self._shared.pause(now)
        if self._life.inside:
            super().pause(now)

    def grant(self, n: int, until: float, now: float) -> None:
        self._shared.grant(n, until, now)


def _listed(given: Iterable[_T]) -> Iterable[_T]:
    """What can be iterated over once perhaps, for the core and for the record."""
    return list(given) if isinstance(given, Iterable) else given


class RecordedConnection(Connection):
    """A `Connection` that holds another one: what is public is passed on to it, and the calls are written."""

    __slots__ = ("core", "life")

    def __init__(self, core: Connection, write: Callable[[str], object]) -> None:
        self.core = core
        self.life = TraceWriter(write)
        codec = core._overheard(self.life.watched)
        self.life.begin(Connection, codec, core.config)

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
    def config(self) -> Config:
        """As `Connection.config`."""
        return self.core.config

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """As `Connection.opened`."""
        self.life.call("opened", self.core.opened, now=now, login=login)

    def receive(self, message: str | bytes, now: float) -> None:
        """As `Connection.receive`."""
        self.life.call("receive", self.core.receive, message=message, now=now)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """As `Connection.lost`."""
        self.life.call(
            "lost",
            self.core.lost,
            now=now,
            reason=reason,
            unsent=[unsent] if isinstance(unsent, str) else _listed(unsent),
        )

    def handle_timeout(self, now: float) -> None:
        """As `Connection.handle_timeout`."""
        self.life.call("handle_timeout", self.core.handle_timeout, now=now)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """As `Connection.cancel`."""
        return self.life.call(
            "cancel", self.core.cancel, order=order, now=now, id=id, timeout=timeout, urgent=urgent
        )

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """As `Connection.cancel_many`."""
        return self.life.call(
            "cancel_many", self.core.cancel_many, orders=_listed(orders), now=now, timeout=timeout
        )

    def withdraw(self, id: str, now: float) -> bool:
        """As `Connection.withdraw`."""
        return self.life.call("withdraw", self.core.withdraw, id=id, now=now)

    def send(self, text: str, now: float) -> None:
        """As `Connection.send`."""
        self.life.call("send", self.core.send, text=text, now=now)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """As `Connection.close`."""
        self.life.call("close", self.core.close, now=now, queued=queued, within=within)

    def poll(self, now: float, writable: bool = True) -> Output:
        """As `Connection.poll`."""
        return self.life.call("poll", self.core.poll, now=now, writable=writable)


class RecordedSession(Session):
    """A `Session` that holds another one: what is public is passed on to it, and the calls are written."""

    __slots__ = ("core", "life", "links")

    def __init__(self, core: Session, write: Callable[[str], object]) -> None:
        self.core = core
        self.life = TraceWriter(write)
        codec, self.links = core._overheard(self.life.watched, self.life.heard)
        self.life.begin(Session, codec, core.config)

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
    def config(self) -> SessionConfig:
        """As `Session.config`."""
        return self.core.config

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """As `Session.opened`."""
        self.life.call("opened", self.core.opened, link=link, now=now, login=login)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """As `Session.receive`."""
        self.life.call("receive", self.core.receive, link=link, message=message, now=now)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """As `Session.lost`."""
        self.life.call(
            "lost",
            self.core.lost,
            link=link,
            now=now,
            reason=reason,
            unsent=[unsent] if isinstance(unsent, str) else _listed(unsent),
            retry_after=retry_after,
        )

    def handle_timeout(self, now: float) -> None:
        """As `Session.handle_timeout`."""
        self.life.call("handle_timeout", self.core.handle_timeout, now=now)

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
        return self.life.call(
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
        return self.life.call(
            "cancel_many",
            self.core.cancel_many,
            orders=_listed(orders),
            now=now,
            timeout=timeout,
            policy=policy,
        )

    def withdraw(self, id: str, now: float) -> bool:
        """As `Session.withdraw`."""
        return self.life.call("withdraw", self.core.withdraw, id=id, now=now)

    def send(self, text: str, now: float) -> None:
        """As `Session.send`."""
        self.life.call("send", self.core.send, text=text, now=now)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """As `Session.close`."""
        self.life.call("close", self.core.close, now=now, queued=queued, within=within)

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """As `Session.poll`."""
        return self.life.call(
            "poll", self.core.poll, now=now, busy=[link for link in self.links if link in busy]
        )
