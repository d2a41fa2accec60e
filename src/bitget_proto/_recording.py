"""Records a life: a core that behaves as the one it holds does, and writes a line for each call.

Rules of this file
- Nothing changes for whoever drives it: what the core gives and raises is given and raised.
- What the core learns behind its driver's back is written as well: the numbers of its jitter, and what it hears of a budget
  that others spend from.
- A cancel's outcome is worth more than its record: a `write` that raises is not called again, and is no reason to stop.

How a line is spelled stands in `_trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any, Final, TypeVar, overload

from . import _trace as spell
from ._codec import DEFAULT
from ._config import Config
from ._connection import Connection
from ._credentials import SignedLogin
from ._errors import LocalProtocolError, ValidationError, shown
from ._events import Output
from ._orders import CancelOrder
from ._pace import Budget
from ._session import Session
from ._session_config import Policy, SessionConfig
from ._session_events import SessionOutput
from ._session_states import SessionState
from ._states import State
from ._timers import MAX
from ._trace import Plain, Secrets

_T = TypeVar("_T")

_OPEN: Final = Secrets()
"""Knows no secret."""


@overload
def record(core: Connection, write: Callable[[str], object] | None) -> Connection: ...
@overload
def record(core: Session, write: Callable[[str], object] | None) -> Session: ...
def record(core: Connection | Session, write: Callable[[str], object] | None) -> Connection | Session:
    """Record a connection or a session from its beginning: drive what this returns in the place of what it was given.

    `write` is called with each line, its end included: the `write` of a file that is open for text, or the `append` of a list.
    A line is whole when it is written, so that a file that is buffered by lines survives a crash up to the last one. Should
    `write` raise, it is not called again. With None nothing is recorded, and the core itself is returned.

    Neither key nor pass phrase nor signature of a login is written; `Trace` says what else is hidden. `replay` plays it again.

    Raises: ValidationError when the core has been told something already, or is recorded already; and for what is no function.
    """
    if not isinstance(core, (Connection, Session)):
        raise ValidationError(f"core must be a Connection or a Session; got {shown(core)}")
    if write is None:
        return core
    if not callable(write):
        raise ValidationError(
            f"write must be a function that takes a line, or None; got {shown(write)}: pass file.write"
        )
    if isinstance(core, (RecordedConnection, RecordedSession)):
        raise ValidationError("core is recorded already: let one write do both")
    if core._now > -MAX:
        raise ValidationError("core has a past that would be missing: record it before anything else is called")
    return RecordedConnection(core, write) if isinstance(core, Connection) else RecordedSession(core, write)


class Life:
    """What is written of one life."""

    __slots__ = ("budget", "inside", "jitter", "n", "secrets", "write")

    def __init__(self, write: Callable[[str], object], first: str) -> None:
        self.write: Callable[[str], object] | None = write
        self.secrets = Secrets()
        self.n = 0
        self.inside = False
        """Whether a call is going on: what happens to a budget meanwhile is the core's doing."""
        self.budget: list[float | None] = []
        """What the budget told the core during this call, where others had spent or granted; None where they had not."""
        self.jitter: list[float] = []
        self._put(first)

    def call(self, name: str, arguments: Plain, do: Callable[[], _T], spelled: Callable[[_T], object]) -> _T:
        """Do what was asked, and write what came of it."""
        self.n += 1
        told: Plain = {name: self.secrets.plain(value) for name, value in arguments.items()}
        data: Plain = {"n": self.n, "call": name, **told}
        self.inside = True
        try:
            gave = do()
        except BaseException as error:
            data |= self._withheld(arguments, told, error)
            self._drawn(data)
            data["raised"] = self._raised(error, data)
            self._put(spell.line(data))
            raise
        self._drawn(data)
        said = spelled(gave)
        self._put(spell.line(data if said is None else data | {"gave": said}))
        return gave

    def _drawn(self, data: Plain) -> None:
        self.inside = False
        if any(answer is not None for answer in self.budget):
            data["budget"] = self.secrets.plain(self.budget)
        if self.jitter:
            data["jitter"] = self.secrets.plain(self.jitter)
        self.budget, self.jitter = [], []

    def _withheld(self, arguments: Plain, told: Plain, error: BaseException) -> Plain:
        """Of a call that was refused, the arguments that are not written as they were because they hold a secret: without it
        the call might be refused for another reason.
        """
        if not isinstance(error, LocalProtocolError):
            return {}
        return {name: spell.unrecorded(value) for name, value in arguments.items() if _OPEN.plain(value) != told[name]}

    def _raised(self, error: BaseException, data: Plain) -> object:
        """The words of an error may repeat what was passed: where that is not recorded, they are not either."""
        kind = type(error).__name__
        return {"kind": kind, "message": self.secrets.plain(str(error))} if spell.is_whole(data) else {"kind": kind}

    def _put(self, line: str) -> None:
        if self.write is not None:
            try:
                self.write(line)
            except Exception:  # noqa: BLE001 - whatever it is, the cancels are not to suffer for it
                self.write = None

    # --- what a core learns behind its driver's back ---

    def watched(self, budget: Budget) -> Budget:
        """The same budget, and what it tells the core is noted."""
        return _WatchedBudget(budget, self)

    def heard(self, jitter: Callable[[], float]) -> Callable[[], float]:
        """The same jitter, and its numbers are noted."""

        def heard() -> float:
            number = jitter()
            self.jitter.append(number)
            return number

        return heard


class _WatchedBudget(Budget):
    """A budget, and beside it what it would be if nobody else spent from it: where the two differ, the answer is an input."""

    __slots__ = ("_life", "_shared")

    def __init__(self, shared: Budget, life: Life) -> None:
        super().__init__(shared.per_second)
        self._shared = shared
        self._life = life

    def opens(self, now: float) -> float:
        opens, alone = self._shared.opens(now), super().opens(now)
        if self._life.inside:
            self._life.budget.append(None if opens == alone else opens)
        return opens

    def debit(self, n: int, now: float) -> None:
        self._shared.debit(n, now)
        if self._life.inside:
            super().debit(n, now)

    def pause(self, now: float) -> None:
        self._shared.pause(now)
        if self._life.inside:
            super().pause(now)

    def grant(self, n: int, now: float) -> None:
        self._shared.grant(n, now)


def _begin(core: Connection | Session, write: Callable[[str], object]) -> Life:
    codec, budget = core._codec, core._budget
    engine = (DEFAULT if codec is None else codec).engine.value
    kind = "Connection" if isinstance(core, Connection) else "Session"
    said: Plain | None = None if budget is None else {"per_second": budget.per_second}
    life = Life(write, spell.header(kind, engine, core.config, said))
    if budget is not None:
        core._budget = life.watched(budget)
    return life


def _nothing(_: None) -> None:
    return None


def _same(id: str) -> object:
    return id


def _message(message: str | bytes) -> object:
    if isinstance(message, (bytearray, memoryview)):
        return bytes(message)
    return message if isinstance(message, (str, bytes)) else spell.unrecorded(message)


def _unsent(unsent: Iterable[str]) -> tuple[Iterable[str], Plain]:
    """The ids, which can be gone through once perhaps, for the core and for the record."""
    if isinstance(unsent, str):
        return unsent, {"unsent": [unsent]}
    if not isinstance(unsent, Iterable):
        return unsent, {"unsent": spell.unrecorded(unsent)}
    ids = list(unsent)
    told: Plain = {"unsent": ids if all(isinstance(id, str) for id in ids) else spell.unrecorded(ids)}
    return ids, told if ids else {}


def _cancelled(order: CancelOrder, now: float, id: str | None, timeout: float | None) -> Plain:
    told: Plain = {"now": spell.number(now), "order": spell.order(order)}
    if id is not None:
        told["id"] = id if isinstance(id, str) else spell.unrecorded(id)
    if timeout is not None:
        told["timeout"] = spell.number(timeout)
    return told


def _reason(reason: str) -> Plain:
    return {} if reason == "" else {"reason": reason}


class RecordedConnection(Connection):
    """A `Connection` that holds another one: what is public is passed on and written, what is private is the other's."""

    __slots__ = ("_core", "_life")

    def __init__(self, core: Connection, write: Callable[[str], object]) -> None:
        self._core = core
        self._life = _begin(core, write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def __repr__(self) -> str:
        return repr(self._core)

    @property
    def state(self) -> State:
        """As `Connection.state`."""
        return self._core.state

    @property
    def in_flight(self) -> int:
        """As `Connection.in_flight`."""
        return self._core.in_flight

    @property
    def capacity(self) -> int:
        """As `Connection.capacity`."""
        return self._core.capacity

    @property
    def config(self) -> Config:
        """As `Connection.config`."""
        return self._core.config

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """As `Connection.opened`."""
        life = self._life
        told: Plain = {"now": spell.number(now), "login": spell.stamp(login)}
        if isinstance(login, SignedLogin):
            life.secrets.learn(login)
        life.call("opened", told, lambda: self._core.opened(now, login=login), _nothing)

    def receive(self, message: str | bytes, now: float) -> None:
        """As `Connection.receive`."""
        told: Plain = {"now": spell.number(now), "message": _message(message)}
        self._life.call("receive", told, lambda: self._core.receive(message, now), _nothing)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """As `Connection.lost`."""
        ids, told = _unsent(unsent)
        told = {"now": spell.number(now), **_reason(reason), **told}
        self._life.call("lost", told, lambda: self._core.lost(now, reason, ids), _nothing)

    def handle_timeout(self, now: float) -> None:
        """As `Connection.handle_timeout`."""
        self._life.call("handle_timeout", {"now": spell.number(now)}, lambda: self._core.handle_timeout(now), _nothing)

    def cancel(self, order: CancelOrder, now: float, id: str | None = None, timeout: float | None = None) -> str:
        """As `Connection.cancel`."""
        told = _cancelled(order, now, id, timeout)
        return self._life.call("cancel", told, lambda: self._core.cancel(order, now, id, timeout), _same)

    def send(self, text: str, now: float) -> None:
        """As `Connection.send`."""
        self._life.call("send", spell.sent(text, now), lambda: self._core.send(text, now), _nothing)

    def close(self, now: float) -> None:
        """As `Connection.close`."""
        self._life.call("close", {"now": spell.number(now)}, lambda: self._core.close(now), _nothing)

    def poll(self, now: float, writable: bool = True) -> Output:
        """As `Connection.poll`."""
        told: Plain = {"now": spell.number(now)}
        if not writable:
            told["writable"] = False
        return self._life.call("poll", told, lambda: self._core.poll(now, writable), self._life.secrets.output)


class RecordedSession(Session):
    """A `Session` that holds another one: what is public is passed on and written, what is private is the other's."""

    __slots__ = ("_core", "_life")

    def __init__(self, core: Session, write: Callable[[str], object]) -> None:
        self._core = core
        self._life = _begin(core, write)
        core._redial._jitter = self._life.heard(core._redial._jitter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def __repr__(self) -> str:
        return repr(self._core)

    @property
    def state(self) -> SessionState:
        """As `Session.state`."""
        return self._core.state

    @property
    def in_flight(self) -> int:
        """As `Session.in_flight`."""
        return self._core.in_flight

    @property
    def capacity(self) -> int:
        """As `Session.capacity`."""
        return self._core.capacity

    @property
    def config(self) -> SessionConfig:
        """As `Session.config`."""
        return self._core.config

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """As `Session.opened`."""
        life = self._life
        told: Plain = {"now": spell.number(now), "link": spell.number(link), "login": spell.stamp(login)}
        if isinstance(login, SignedLogin):
            life.secrets.learn(login)
        life.call("opened", told, lambda: self._core.opened(link, now, login=login), _nothing)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """As `Session.receive`."""
        told: Plain = {"now": spell.number(now), "link": spell.number(link), "message": _message(message)}
        self._life.call("receive", told, lambda: self._core.receive(link, message, now), _nothing)

    def lost(self, link: int, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """As `Session.lost`."""
        ids, told = _unsent(unsent)
        told = {"now": spell.number(now), "link": spell.number(link), **_reason(reason), **told}
        self._life.call("lost", told, lambda: self._core.lost(link, now, reason, ids), _nothing)

    def handle_timeout(self, now: float) -> None:
        """As `Session.handle_timeout`."""
        self._life.call("handle_timeout", {"now": spell.number(now)}, lambda: self._core.handle_timeout(now), _nothing)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> str:
        """As `Session.cancel`."""
        told = _cancelled(order, now, id, timeout)
        if policy is not None:
            told["policy"] = policy.value if isinstance(policy, Policy) else spell.unrecorded(policy)
        return self._life.call("cancel", told, lambda: self._core.cancel(order, now, id, timeout, policy), _same)

    def send(self, text: str, now: float) -> None:
        """As `Session.send`."""
        self._life.call("send", spell.sent(text, now), lambda: self._core.send(text, now), _nothing)

    def close(self, now: float) -> None:
        """As `Session.close`."""
        self._life.call("close", {"now": spell.number(now)}, lambda: self._core.close(now), _nothing)

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """As `Session.poll`."""
        told: Plain = {"now": spell.number(now)}
        if stalled := [number for number in self._core._links if number in busy]:
            told["busy"] = stalled
        return self._life.call("poll", told, lambda: self._core.poll(now, busy), self._life.secrets.output)
