"""Explores a small world exhaustively: every sequence of its inputs, until no new state appears.

- A world holds a core and a ledger of what an observer knows: the inputs and the outputs. Every check
  is made against the ledger, and nothing in the ledger is read from the core.
- The search is breadth-first, so that a violation is reported with a shortest sequence of inputs.
- States that behave alike have the same key and are merged. In a key, times are offsets from now, and
  anything that cannot influence the future is left out. Each slot of each part of the core has a line
  in `KEYS`; a part or a slot without one is an error, so that additions to the core are noticed here.
  A sample of the merged states is explored anyway, and must lead to the same states.
- Copies share immutable values. A type that is not known as immutable or mutable is an error.
"""

from __future__ import annotations

import gc
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import Enum
from math import inf
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar, cast

import attrs

from bitget_proto import (
    Budget,
    CancelOrder,
    Codec,
    CodeClass,
    Config,
    Connection,
    Dialect,
    Session,
    SessionConfig,
    SignedLogin,
)
from bitget_proto._machine.backoff import Redial
from bitget_proto._machine.cancel_attempts import Cancel
from bitget_proto._machine.cancel_queue import CancelQueue
from bitget_proto._machine.cancel_sender import CancelSender
from bitget_proto._machine.deadlines import Alarms, Deadlines
from bitget_proto._machine.frame_queue import CANCELS_PER_OWN_FRAME, FrameQueue
from bitget_proto._machine.heartbeat import Heartbeat
from bitget_proto._machine.in_flight import InFlight, OpenCancel
from bitget_proto._machine.link_outputs import LinkOutputs
from bitget_proto._machine.links import Lane, Link, Links
from bitget_proto._machine.order_spacing import Spacing
from bitget_proto._machine.outcomes import Outcomes
from bitget_proto._machine.own_frames import OwnFrames
from bitget_proto._machine.rate_limit import SlidingWindow
from bitget_proto._machine.request_ids import RequestIds
from bitget_proto._machine.session_closer import SessionCloser
from bitget_proto._machine.session_outcomes import SessionOutcomes
from bitget_proto._machine.session_queue import SessionQueue
from bitget_proto._values.codes import CODES as TABLES
from bitget_proto._wire.messages import (
    ErrorReply,
    LoginReply,
    Malformed,
    Message,
    Other,
    Pong,
    TradeReply,
)

CODES = TABLES[Dialect.CLASSIC]

Input: TypeAlias = tuple[str, ...]
"""An input: a kind, and its arguments."""

TICK: Final[Input] = ("tick",)
"""The clock moves to the next deadline, and the timers fire."""


def on_the_clock(now: float, until: float | None, kinds: tuple[str, ...]) -> list[Input]:
    """The possible moves of the clock after a Wait until that time.

    `tick`: it moves to the deadline, and the timers fire. `late`: they fire a second later. `gap`: it moves as far, and
    something else comes before they fire. `pass`: a second passes in which nothing is due.
    """
    if until is None:
        made = ["pass"]
    elif until <= now:
        made = ["tick"]
    else:
        made = ["tick", "late", "gap"] + ["pass"] * (now + 1 < until)
    return [(kind,) for kind in made if kind in kinds]


class Violation(AssertionError):
    """A broken rule; the message names it, and a shortest sequence of inputs that leads there."""


def require(holds: object, rule: str, *about: object) -> None:
    """One rule at one step."""
    if not holds:
        raise Violation(" ".join([f"{rule}:", *map(repr, about)]) if about else rule)


# --- messages of the exchange, in words ---

CODE: Final[Mapping[str, str]] = {
    "rejected": CODES[CodeClass.NOT_FOUND][0],
    "finished": CODES[CodeClass.FINISHED][0],
    "unsure": CODES[CodeClass.OUTCOME_UNKNOWN][0],
    "unlisted": "99999",
}
"""The code of each kind of refusal."""


class Words(Codec):
    """Reads messages in words instead of JSON, which would take most of the time."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[str, Message] = {}

    def decode(
        self, message: str | bytes, *, max_message: int | None = None, max_depth: int | None = None
    ) -> Message:
        text = str(message)
        if text not in self._read:
            self._read[text] = _read(*text.split())
        return self._read[text]

    def encode_cancel(self, order: CancelOrder, id: str) -> str:
        return f"cancel {order.order_id} {id}"

    def trade_ids(self, text: str) -> tuple[str, ...]:
        word, *ids = text.split()
        return tuple(ids) if word == "place" else ()


def _read(kind: str, id: str = "") -> Message:
    match kind:
        case "accepted" | "unreadable" | "elsewhere":
            code = None if kind == "unreadable" else "0"
            return TradeReply(id, True, code, "", None, not_for_cancel=kind == "elsewhere")
        case "several" | "nameless":
            return TradeReply(None, kind == "several", "0", "", None)
        case "login":
            return LoginReply(id, "")
        case "error":
            return ErrorReply(None, False, id, "", None)
        case "pong":
            return Pong()
        case "push":
            return Other(None)
        case "garbage":
            return Malformed("not JSON", "")
        case _:
            return ErrorReply(id, True, CODE[kind], "", None)


# --- copies ---

_SHARED: set[type[Any]] = {
    type(None), bool, int, float, str, Words, CancelOrder, SignedLogin, Config, SessionConfig, type(lambda: 0),
}  # fmt: skip
"""Types that are immutable or have no influence."""

_Copy: TypeAlias = "Callable[[Any, dict[int, Any]], Any]"


def copied(value: Any) -> Any:
    """A copy that shares no mutable value."""
    return _COPIES[type(value)](value, {})


def _items(value: Any, memo: dict[int, Any]) -> list[Any]:
    return [item if type(item) in _SHARED else _COPIES[type(item)](item, memo) for item in value]


def _list(value: Any, memo: dict[int, Any]) -> Any:
    return _items(value, memo) if value else []


def _tuple(value: Any, memo: dict[int, Any]) -> Any:
    return tuple(_items(value, memo))


def _deque(value: Any, memo: dict[int, Any]) -> Any:
    if id(value) in memo:
        return memo[id(value)]  # the outputs, which have two owners
    made = memo[id(value)] = value.copy()
    if made and type(made[0]) not in _SHARED:
        made.extend(_items([made.popleft() for _ in value], memo))
    return made


def _mapping(value: Any, memo: dict[int, Any]) -> Any:
    made = value.copy()
    for key, item in value.items():
        if type(item) not in _SHARED:
            made[key] = _COPIES[type(item)](item, memo)
    return made


class _Copies(dict[type[Any], _Copy]):
    """How values of each type are copied."""

    def __missing__(self, kind: type[Any]) -> _Copy:
        if kind in KEYS or hasattr(kind, "of_the_ledger"):
            self[kind] = _of_slots(kind)
        elif issubclass(kind, Enum) or attrs.has(kind):
            # Outputs, which are never changed here.
            self[kind] = lambda value, _: value
            _SHARED.add(kind)
        else:
            raise TypeError(f"say whether {kind.__name__} is copied or shared")
        return self[kind]


def slots(kind: type[Any]) -> list[str]:
    """The names of all slots of a class."""
    return [
        name for part in kind.__mro__ for name in getattr(part, "__slots__", ()) if name[:2] != "__"
    ]


def _of_slots(kind: type[Any]) -> _Copy:
    """Generated slot by slot: copies take half of the time."""
    lines = [
        f"    item = value.{name}\n    made.{name} = item if type(item) in shared else copies[type(item)](item, memo)"
        for name in slots(kind)
    ]
    text = "\n".join([
        "def copy(value, memo):",
        "    if id(value) in memo: return memo[id(value)]",
        "    made = memo[id(value)] = new(kind)",
        *lines,
        "    return made",
    ])  # fmt: skip
    names: dict[str, Any] = {
        "kind": kind,
        "new": kind.__new__,
        "shared": _SHARED,
        "copies": _COPIES,
    }
    exec(text, names)
    return cast("_Copy", names["copy"])


# --- keys ---

_Key: TypeAlias = "Callable[[Any, float], Hashable]"
_LATE = 3.0
"""More seconds than any driver of a small world is late: times older than a limit plus this have no
effect.
"""


def off(at: float, now: float) -> float:
    """A time as an offset."""
    return at - now


def _off_if_any(at: float | None, now: float) -> float | None:
    return None if at is None else at - now


def doublings(shortest: float | None, longest: float | None) -> int:
    """The number of failures from which the backoff no longer grows; it doubles with each."""
    return 0 if shortest is None or longest is None else math.ceil(math.log2(longest / shortest))


def ahead(at: float, now: float) -> float:
    """A time from which something is allowed; all past times are equal."""
    return at - now if at > now else -inf


def places(
    moments: Sequence[float], now: float, limit: int | None, window: float = 1.0
) -> tuple[float, ...]:
    """The times that a limit still counts."""
    return tuple(at - now for at in moments[-limit:] if at > now - window) if limit else ()


def lately(at: float | None, now: float, limit: float | None) -> float | None:
    """A time from which a limit counts; all times long past are equal."""
    return None if at is None or limit is None else max(at - now, -limit - _LATE)


def _as_it_is(value: Any, now: float) -> Hashable:
    return cast("Hashable", value)


def _order(value: Any, now: float) -> Hashable:
    return tuple(value)


def _is_there(value: Any, now: float) -> Hashable:
    return value is not None


def _never_there(value: Any, now: float) -> Hashable:
    """No small world uses REST: test_rest_promise.py does."""
    require(value is None, "a small world uses REST", value)
    return None


def key_of(part: Any, now: float) -> Hashable:
    """The state of a core, or of a part of it, that can influence the future."""
    return _COMPILED[type(part)](part, now)


def _all_past(value: Any, now: float) -> Hashable:
    """Empty after each drain."""
    require(not value, "an output was left behind a Wait", value)
    return None


class _Left(Enum):
    OUT = "out"


LEFT_OUT: Final = _Left.OUT
"""For a slot that cannot influence the future, or that follows from the others."""


def _of_connection(conn: Any, now: float) -> Hashable:
    """Values that are in more than one slot."""
    silence = conn._config.silence
    return (
        min(conn._frames._cancels_in_a_row, CANCELS_PER_OWN_FRAME),
        tuple(
            (id, lately(cancel.sent_at, now, silence), cancel.deadline - now)
            for id, cancel in conn._in_flight.sent.items()
        ),
        lately(conn._heartbeat.heard_at, now, silence),
    )


def _of_session(session: Any, now: float) -> Hashable:
    config = session._config
    links: list[Hashable] = [
        (
            key_of(link.connection, now),
            off(link.dial_until, now),
            max(off(link.rotate_at, now), -_LATE),
            lately(link.up_at, now, config.steady_after),
            link.leaving,
            link.refusal and link.refusal.code,
            link is link.lane.serving,
            link is link.lane.successor,
        )
        for link in session._links.all.values()
    ]
    cancels: list[Hashable] = [
        (
            id,
            max(off(cancel.queue_until, now), -_LATE),
            max(off(cancel.timeout_at, now), -_LATE),
            lately(cancel.taken_at, now, config.no_link_timeout),
            cancel.rank,
            cancel.returned,
            cancel.resend,
            min(cancel.attempts, 2),
            cancel.sent_at is None,
            cancel.trying_since is None,
        )
        for id, cancel in session._cancels.open.items()
    ]
    lanes = [(lane.state, key_of(lane.redial, now)) for lane in session._links.lanes]
    down_since = lately(session._links.down_since, now, config.no_link_timeout)
    return tuple(links), tuple(cancels), tuple(lanes), down_since


def _of_deadlines(deadlines: Any, now: float) -> Hashable:
    items = [item for item in (*deadlines._queue, *deadlines._heap) if item[2].version == item[1]]
    return tuple((at - now, entry.id) for at, _, entry in sorted(items, key=lambda item: item[:2]))


def _of_queue(queue: Any, now: float) -> Hashable:
    return tuple(
        tuple((id, cancel.deadline - now, cancel.timeout_at - now) for id, cancel in rank.items())
        for rank in queue._ranks
    )


def _of_redial(redial: Any, now: float) -> Hashable:
    config = redial._config
    failures: int = redial._failures
    return min(failures, doublings(config.backoff_min, config.backoff_max))


# Their relevant state is in the keys of their owners.
_OF_THE_CONNECTION: Final = (
    "id",
    "order",
    "taken_at",
    "timeout_at",
    "number",
    "rank",
    "deadline",
    "version",
    "sent_at",
)
_OF_THE_SESSION: Final = (
    "id", "order", "taken_at", "queue_until", "timeout_at", "number", "rank", "resend", "deadline", "returned", "version",
    "attempts", "sent_at", "by_rest", "trying_since", "trying_by_rest", "rest_at",
)  # fmt: skip
_OF_THE_LINKS: Final = (
    "number",
    "lane",
    "connection",
    "dial_until",
    "rotate_at",
    "up_at",
    "wrote_at",
    "leaving",
    "refusal",
)

KEYS: Final[Mapping[type[Any], tuple[_Key | None, Mapping[str, _Key | _Left]]]] = {
    Connection: (
        _of_connection,
        {
            "_alarms": key_of, "_cause": _as_it_is, "_closing": _as_it_is, "_codec": LEFT_OUT, "_config": LEFT_OUT,
            "_detail": LEFT_OUT, "_frames": key_of, "_heartbeat": key_of, "_ids": key_of, "_in_flight": key_of,
            "_in_call": _as_it_is, "_now": LEFT_OUT, "_opened": _as_it_is, "_outcomes": key_of, "_outputs": _all_past,
            "_state": _as_it_is,
        },
    ),
    Outcomes: (
        None,
        {"_frames": LEFT_OUT, "_in_flight": LEFT_OUT, "_outputs": LEFT_OUT, "answered": _as_it_is},
    ),
    InFlight: (
        None,
        {
            "_answer_timeout": LEFT_OUT, "_deadlines": key_of, "_late_ids": LEFT_OUT, "_limit": LEFT_OUT,
            "_queue_timeout": LEFT_OUT, "_taken": LEFT_OUT, "batches": _order, "late": _order, "queue": key_of,
            "sent": LEFT_OUT,
        },
    ),
    FrameQueue: (
        None,
        {
            "_cancels_in_a_row": LEFT_OUT, "_codec": LEFT_OUT, "_heartbeat": LEFT_OUT, "_in_flight": LEFT_OUT,
            "_max_batch": LEFT_OUT,
            "_pace": key_of, "budget": key_of, "login": _is_there, "login_sent": _as_it_is, "own": _order,
            "subscriptions": _order,
        },
    ),
    Session: (
        _of_session,
        {
            "_budget": key_of, "_cancels": key_of, "_codec": LEFT_OUT, "_config": LEFT_OUT, "_closer": key_of,
            "_ids": key_of, "_in_call": _as_it_is, "_links": key_of, "_now": LEFT_OUT, "_outcomes": key_of,
            "_outputs": _all_past, "_own": key_of, "_rest": _never_there, "_sender": LEFT_OUT,
        },
    ),
    SessionCloser: (
        None,
        {
            **dict.fromkeys(
                ("_cancels", "_config", "_link_outputs", "_links", "_outcomes", "_outputs", "_rest"), LEFT_OUT
            ),
            "close_at": off, "closing": _as_it_is, "pending": _as_it_is,
        },
    ),
    CancelSender: (None, dict.fromkeys(("_cancels", "_links"), LEFT_OUT)),
    LinkOutputs: (
        None,
        dict.fromkeys(("_links", "_outcomes", "_outputs", "_own", "_rest"), LEFT_OUT),
    ),
    OwnFrames: (None, {"_links": LEFT_OUT, "_subscriptions": _order, "_waiting": _order}),
    SessionOutcomes: (
        None,
        {**dict.fromkeys(("_cancels", "_links", "_outputs"), LEFT_OUT), "answered": _as_it_is},
    ),
    Links: (
        None,
        {
            **dict.fromkeys(("_config", "_dialled", "all", "down_since", "lanes"), LEFT_OUT),
            "_ever_up": _as_it_is, "stamp_refused": _as_it_is, "state": _as_it_is,
        },
    ),
    Lane: (None, dict.fromkeys(("redial", "state", "successor", "serving"), LEFT_OUT)),
    SessionQueue: (
        None,
        {
            "_deadlines": key_of, "_limit": LEFT_OUT, "_oids_unique": LEFT_OUT,
            "_queue_timeout": LEFT_OUT, "_resends": _as_it_is,
            "_rest_after": LEFT_OUT,
            "_spacing": key_of, "_taken": LEFT_OUT, "open": LEFT_OUT, "waiting": key_of,
        },
    ),
    OpenCancel: (None, dict.fromkeys(_OF_THE_CONNECTION, LEFT_OUT)),
    Cancel: (None, dict.fromkeys(_OF_THE_SESSION, LEFT_OUT)),
    Link: (None, dict.fromkeys(_OF_THE_LINKS, LEFT_OUT)),
    CancelQueue: (_of_queue, {"_ranks": LEFT_OUT, "size": _as_it_is}),
    Deadlines: (
        _of_deadlines,
        {"_count": LEFT_OUT, "_heap": LEFT_OUT, "_current": LEFT_OUT, "_queue": LEFT_OUT, "until": off},
    ),
    Alarms: (
        None,
        {"_at": lambda at, now: tuple(due - now for due in at.values()), "timer": _as_it_is, "until": off},
    ),
    Heartbeat: (
        None,
        {
            "_alarms": LEFT_OUT, "_config": LEFT_OUT, "_queued_ping_deadline": off,
            "_probe_queued": _as_it_is, "_silence": _as_it_is, "probe_deadline": _off_if_any, "heard_at": LEFT_OUT,
            "ping_pending": _as_it_is,
        },
    ),
    SlidingWindow: (
        None,
        {
            "_limit": LEFT_OUT, "_places": lambda places, now: tuple(at - now for at in places if at > now),
            "_window": LEFT_OUT, "paused_until": ahead,
        },
    ),
    Budget: (
        None,
        {
            "_grants": lambda grants, now: tuple((at - now, left) for at, left in grants if at > now),
            "_overdrawn": _as_it_is, "_pace": key_of, "pace_margin": LEFT_OUT, "per_second": LEFT_OUT,
            "_batches": _as_it_is, "_observed": _as_it_is, "batches_per_second": LEFT_OUT,
        },
    ),
    RequestIds: (None, {"_counter": _as_it_is, "_own": lambda own, _: tuple(sorted(own)), "_prefix": LEFT_OUT}),
    Redial: (
        _of_redial,
        {
            "_at": ahead, "_backoff": _as_it_is, "_config": LEFT_OUT, "_failures": LEFT_OUT, "_jitter": LEFT_OUT,
            "_not_before": ahead, "_pace": key_of,
        },
    ),
    Spacing: (
        None,
        {
            "_free": lambda free, now: tuple((order, at - now) for order, at in free.items() if at > now),
            "_interval": LEFT_OUT,
        },
    ),
}  # fmt: skip
"""The key of each part of the core: one line for each slot, and values made of several slots."""

_COPIES: Final = _Copies(
    {list: _list, tuple: _tuple, deque: _deque, dict: _mapping, OrderedDict: _mapping}
)


def _compiled(kind: type[Any]) -> _Key:
    """Generated slot by slot, like copies."""
    whole, treated = KEYS[kind]
    if set(slots(kind)) != set(treated):
        raise TypeError(
            f"{kind.__name__}: say what of {set(slots(kind)) ^ set(treated)} is in the key"
        )
    names: dict[str, Any] = {"keys": _COMPILED, "whole": whole}
    parts: list[str] = []
    for name, made in treated.items():
        if made is _as_it_is:
            parts.append(f"part.{name}")
        elif made is off:
            parts.append(f"part.{name} - now")
        elif made is key_of:
            parts.append(f"keys[type(part.{name})](part.{name}, now)")
        elif made is not LEFT_OUT:
            names[f"of{name}"] = made
            parts.append(f"of{name}(part.{name}, now)")
    if whole is not None:
        parts.append("whole(part, now)")
    exec(f"def key(part, now): return ({''.join(f'{part}, ' for part in parts)})", names)
    return cast("_Key", names["key"])


_COMPILED: Final[dict[type[Any], _Key]] = {type(None): lambda part, now: None}
_COMPILED.update((kind, _compiled(kind)) for kind in KEYS)


# --- the explorer ---

_L = TypeVar("_L")


class World(Protocol[_L]):
    """The inputs of a core and its ledger (together a run), and the checks at each step."""

    @property
    def name(self) -> str: ...
    @property
    def alphabet(self) -> tuple[Input, ...]: ...
    def start(self) -> _L: ...
    def inputs(self, run: _L) -> list[Input]: ...
    def step(self, run: _L, given: Input, visited: Counter[Hashable]) -> None: ...
    def key(self, run: _L) -> Hashable: ...
    def is_open(self, run: _L) -> bool: ...


@attrs.define
class Explored:
    """The coverage of an exploration."""

    states: int = 0
    steps: int = 0
    rechecked: int = 0
    """The number of merged states that were explored anyway."""

    given: set[Input] = attrs.field(factory=lambda: set[Input]())
    visited: Counter[Hashable] = attrs.field(factory=lambda: Counter[Hashable]())


@attrs.define
class _Seen:
    """A state: how it was first reached, and where its inputs lead."""

    came_from: int
    by: Input
    is_open: bool
    leads_to: dict[Input, int] = attrs.field(factory=lambda: dict[Input, int]())


def explore(world: World[_L], *, at_most: int = 20_000, recheck: int = 100) -> Explored:
    """Explore every sequence of inputs until no new state appears.

    One in so many merged states is explored anyway.

    Raises: Violation, with the shortest sequence of inputs.
    """
    # Copies have no cycles, and the garbage collector would scan them repeatedly.
    gc.disable()
    try:
        return _Exploration(world, at_most, recheck).run()
    finally:
        gc.enable()


class _Exploration(Generic[_L]):
    """One exploration."""

    def __init__(self, world: World[_L], at_most: int, recheck: int) -> None:
        self.world, self.at_most, self.recheck = world, at_most, recheck
        self.found = Explored()
        first = world.start()
        self.keys: dict[Hashable, int] = {world.key(first): 0}
        self.seen: list[_Seen] = [_Seen(-1, (), world.is_open(first))]
        self.todo: deque[tuple[int, _L]] = deque([(0, first)])
        self.merged: list[tuple[int, _L, int, Input]] = []
        """The state it was merged with, the state itself, its predecessor and the input."""

    def run(self) -> Explored:
        while self.todo:
            index, run = self.todo.popleft()
            for given in self.world.inputs(run):
                self.found.given.add(given)
                self.seen[index].leads_to[given] = self.lands(index, run, given)
        self.check_time()
        self.check_merged()
        self.found.states, self.found.rechecked = len(self.seen), len(self.merged)
        return self.found

    def after(self, run: _L, index: int, *given: Input) -> _L:
        """A copy of the state at `index` after these inputs."""
        branch = cast("_L", copied(run))
        try:
            self.world.step(branch, given[-1], self.found.visited)
        except Exception as error:
            raise self.violation(index, given, error) from error
        self.found.steps += 1
        return branch

    def lands(self, index: int, run: _L, given: Input) -> int:
        """The state to which an input leads."""
        branch = self.after(run, index, given)
        key = self.world.key(branch)
        known = self.keys.get(key)
        if known is None:
            known = self.keys[key] = len(self.seen)
            require(
                known < self.at_most,
                f"{self.world.name} does not close: {self.at_most} states and more",
            )
            self.seen.append(_Seen(index, given, self.world.is_open(branch)))
            self.todo.append((known, branch))
        elif self.found.steps % self.recheck == 0:
            self.merged.append((known, branch, index, given))
        return known

    def check_time(self) -> None:
        """Check that time alone settles each open cancel in a bounded number of steps."""
        settles = [not state.is_open for state in self.seen]
        for start in range(len(self.seen)):
            way = [start]
            while not settles[way[-1]]:
                onward = self.seen[way[-1]].leads_to.get(TICK)
                if onward is None or len(way) > 100:
                    raise self.violation(
                        start, [TICK], Violation("time alone never leads to an outcome")
                    )
                way.append(onward)
            for index in way:
                settles[index] = True

    def check_merged(self) -> None:
        """Check that merged states behave alike."""
        for known, run, index, by in self.merged:
            for given, leads_to in self.seen[known].leads_to.items():
                lands = self.keys.get(self.world.key(self.after(run, index, by, given)))
                if lands != leads_to:
                    error = Violation(
                        "states with the same key lead to different states: the key lacks something"
                    )
                    raise self.violation(index, [by, given], error)

    def violation(self, index: int, given: Sequence[Input], error: Exception) -> Violation:
        """The message of a violation: the broken rule, and the inputs that led there."""
        inputs = list(given)
        while index:
            inputs.insert(0, self.seen[index].by)
            index = self.seen[index].came_from
        what = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
        return Violation("\n  ".join([f"{self.world.name}: {what}, after", *map(" ".join, inputs)]))
