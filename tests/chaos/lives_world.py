"""A random run: a caller, a driver, a network and an exchange in virtual time, with their faults.

- Every choice comes from the dice, and the first choice is always the one without a fault.
- The exchange is written from its documentation alone and shares nothing with the library or its
  tests.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Protocol, TypeVar, cast

import attrs
from tests.chaos.lives_dice import Dice
from tests.chaos.lives_ledger import CODES_OF, Broken, Frame, Ledger, Meaning

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Closed,
    Codec,
    CodeClass,
    Config,
    Connection,
    Credentials,
    Dial,
    Dialect,
    Ended,
    Hangup,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LocalProtocolError,
    NoRoom,
    Policy,
    Ready,
    Session,
    SessionConfig,
    SessionOutput,
    SignedLogin,
    Transmit,
    Unresolved,
    Up,
    ValidationError,
    Wait,
    WhyEnded,
    sign_login,
)

T = TypeVar("T")

LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1763958366)
MAX_STEPS, MAX_POLLS = 6000, 4000
"""Limits of loop steps per run and of outputs per drain; more count as a busy loop."""


class Core(Protocol):
    """A `Session`, a `Connection` with its API, or one of them with a planted fault."""

    @property
    def capacity(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str: ...
    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]: ...
    def withdraw(self, id: str, now: float) -> bool: ...
    def send(self, text: str, now: float) -> None: ...
    def close(self, now: float, queued: str = "drop", within: float | None = None) -> None: ...
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
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput: ...


class OneConnection:
    """A `Connection` with the API of a session: its only link is 1, and its end is `Ended`."""

    def __init__(self, config: Config, budget: Budget | None, codec: Codec) -> None:
        self._core = Connection(config, codec, budget)
        self._dialled = False
        self._closed: Closed | None = None

    @property
    def capacity(self) -> int:
        return self._core.capacity

    @property
    def in_flight(self) -> int:
        return self._core.in_flight

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        return self._core.cancel(order, now, id, timeout, urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        return self._core.cancel_many(orders, now, timeout)

    def withdraw(self, id: str, now: float) -> bool:
        return self._core.withdraw(id, now)

    def send(self, text: str, now: float) -> None:
        self._core.send(text, now)

    def close(self, now: float, queued: str = "drop", within: float | None = None) -> None:
        self._core.close(now, queued, within)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        if link == 1:
            self._core.opened(now, login=login)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        if link == 1:
            self._core.receive(message, now)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        if link == 1:
            self._core.lost(now, reason, unsent)

    def handle_timeout(self, now: float) -> None:
        self._core.handle_timeout(now)

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        if not self._dialled:
            self._dialled = True
            return Dial(link=1)
        if self._closed is not None:
            closed, self._closed = self._closed, None
            return Ended(why=WhyEnded.ASKED, detail=closed.detail, code=None)
        output = self._core.poll(now, 1 not in busy)
        if isinstance(output, Transmit):
            return LinkTransmit(output.text, output.ids, output.secret, link=1)
        if isinstance(output, Hangup):
            return LinkHangup(code=output.code, reason=output.reason, abort=output.abort, link=1)
        if isinstance(output, Ready):
            return Up(link=1, down_for=0.0)
        if isinstance(output, Closed):
            self._closed = output
            return LinkClosed(link=1, why=output.why, detail=output.detail)
        return output


@attrs.frozen
class Plant:
    """A planted fault that the runs must find."""

    name: str
    config: Callable[[SessionConfig], SessionConfig] | None = None
    wrap: Callable[[Core, Dice], Core] | None = None
    per_second: int = 10


@attrs.define(eq=False)
class Wire:
    """A WebSocket, as the network and the exchange see it."""

    link: int
    latency: float = 0.05
    open: bool = False
    gone: bool = False
    """The client knows that it is over."""
    cut: bool = False
    """The exchange knows that it is over."""
    drops_received: bool = False
    drops_sent: bool = False
    last_received_at: float = -math.inf
    last_sent_at: float = -math.inf
    writing: LinkTransmit | None = None
    logged_in: bool = False
    going: bool = False


@attrs.frozen
class FaultPlan:
    """The faults of a run; the integers are percentages, except `refusal`."""

    answers: int = 0
    answer_kinds: tuple[str, ...] = ()
    drops: int = 0
    dial_faults: int = 0
    dial_kinds: tuple[str, ...] = ()
    login_faults: int = 0
    login_kinds: tuple[str, ...] = ()
    refused_until: float = -math.inf
    refusal: int = 0
    stalls: int = 0
    half_open: int = 0
    all_late: float = 0.0
    no_pong: int = 0
    late_timers: int = 0
    timers_first: int = 0
    undrained: int = 0
    dead_inputs: int = 0
    lag: float = 0.0
    jitter: int = 0


ANSWER_FAULTS = (
    "late",
    "refused",
    "again later",
    "unknown outcome",
    "unlisted",
    "unreadable",
    "code 0 in an error",
    "refused in a trade",
    "twice",
    "twice in one read",
    "another channel",
    "another topic",
    "two entries",
    "no id",
    "garbage",
    "silence",
    "drop before",
    "drop after",
    "too many",
    "thrown out",
    "not logged in",
    "going away",
    "bare echo",
    "object echo",
    "many in one read",
)
DIAL_FAULTS = ("slow", "very slow", "fails", "fails for a while", "never answered", "too late")
LOGIN_FAULTS = (
    "silent",
    "going away first",
    "throttled first",
    "dropped",
    "noise first",
    "string code",
    "slow",
    "late",
)
LOGIN_REFUSALS = (
    45001, 40010, 40725, 40015, 40808, 30005, 30016, 30004, 99999, 30001, 429, 30006, 30007, 30033, 25003,
    40910, 30013, 30014, 30011, 30012, 30015, 40018, 40014, 40301,
)  # fmt: skip
GARBAGE: tuple[str | bytes, ...] = (
    "", "[]", "null", "7", '"x"', "{", "\x00", b"\xff\xfe", "[" * 500, '{"event":"tra', '{"event":1,"arg":7}', "{}",
    '{"event":"what","arg":[{"id":"1"}]}', '{"event":"trade","arg":[],"code":0}', "PONG", "pong pong",
    '{"action":"snapshot","arg":{"channel":"fill"},"data":[{"orderId":"1","status":"live"}],"ts":1}',
    '{"event":"subscribe","arg":{"instType":"SPOT","channel":"fill","instId":"default"}}',
)  # fmt: skip
UNREADABLE: tuple[object, ...] = (True, -1, [], "abc", 1.5, None, {}, "", "-3", "4300١")


class RandomRun:
    """One run, from the first dial to `Ended`. Raises `Broken` when a promise is not kept."""

    def __init__(
        self,
        dice: Dice,
        visits: Counter[str],
        *,
        session: bool = True,
        plant: Plant | None = None,
        log: list[str] | None = None,
        dialect: Dialect = Dialect.CLASSIC,
    ) -> None:
        self._dice = dice
        self._unified = dialect is Dialect.UNIFIED
        self._codes = CODES_OF[dialect]
        self._refusal = 25204 if self._unified else 43001
        self._visits = visits
        self._log = log
        self._session = session
        self._now = dice.pick((0.0, 1000.0, 2.5e6))
        self._shift = 0.0
        self._frozen: tuple[float, float] | None = None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._steps = 0
        self._wires: dict[int, Wire] = {}
        self._busy: set[int] = set()
        self._until: float | None = None
        self._timer_at = math.inf
        self._fired: float | None = None
        self._own = 0
        self._last_budget_now = -math.inf
        self._free_ids: list[str] = []
        plan = self._make_plan()
        self._plan = plan
        config, budget, per_second = self._make_config(plan)
        self._ledger = Ledger(
            config, per_second, visits, session=session, slack=plan.lag, dialect=dialect
        )
        self._budget = budget
        real = plant.config(config) if plant is not None and plant.config is not None else config
        if plant is not None and plant.per_second != 10 and budget is None:
            budget = Budget(plant.per_second)
        jitter = {0: 0.0, 1: 1.0, 2: 0.5}[dice.below(3)]
        core: Core
        if session:
            core = Session(real, Codec(dialect=dialect), budget, jitter=lambda: jitter)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
            self._log_line(
                f"s = Session({_short(config)}, Codec(dialect={dialect}), {budget!r}, "
                f"jitter=lambda: {jitter})"
            )
        else:
            core = OneConnection(real.link, budget, Codec(dialect=dialect))
            self._log_line(f"c = Connection({config.link!r}, Codec(dialect={dialect}), {budget!r})")
        self._core = (
            plant.wrap(core, dice) if plant is not None and plant.wrap is not None else core
        )
        self._name = "s" if session else "c"

    # Setup

    def _make_plan(self) -> FaultPlan:
        dice = self._dice
        if not dice.chance(85):
            return FaultPlan()

        def rate() -> int:
            return dice.pick((0, 0, 0, 5, 25, 70))

        def some(kinds: tuple[str, ...], most: int) -> tuple[str, ...]:
            return tuple(dice.pick(kinds) for _ in range(1 + dice.below(most)))

        answers = dice.pick((0, 0, 10, 40, 90))
        dial_faults = rate()
        login_faults = rate()
        refused = dice.chance(25)
        return FaultPlan(
            answers=answers,
            answer_kinds=some(ANSWER_FAULTS, 4) if answers else (),
            drops=rate() // 2,
            dial_faults=dial_faults,
            dial_kinds=some(DIAL_FAULTS, 3) if dial_faults else (),
            login_faults=login_faults,
            login_kinds=some(LOGIN_FAULTS, 3) if login_faults else (),
            refused_until=self._now + dice.pick((1.0, 20.0, 120.0, 600.0))
            if refused
            else -math.inf,
            refusal=dice.pick(LOGIN_REFUSALS) if refused else 0,
            stalls=rate(),
            half_open=rate() // 2,
            all_late=4.0 if dice.chance(8) else 0.0,
            no_pong=rate(),
            late_timers=rate(),
            timers_first=rate(),
            undrained=rate() // 2,
            dead_inputs=rate(),
            lag=dice.pick((0.0, 0.0, 0.0, 0.0, 0.01, 0.3)),
            jitter=rate(),
        )

    def _make_config(self, plan: FaultPlan) -> tuple[SessionConfig, Budget | None, int | None]:
        dice = self._dice
        link = Config(max_in_flight=dice.pick((1000, 1000, 1000, 3, 12)))
        if self._unified:
            link = attrs.evolve(link, max_batch=dice.pick((20, 20, 20, 1, 3)))
        config = SessionConfig(
            link=link,
            policy=dice.pick((Policy.REPORT, Policy.RESEND)),
            client_oids_unique=dice.chance(20),
            dials_per_5_minutes=dice.pick((300, 300, 300, 4)),
        )
        choice = dice.pick(("own", "own", "own", "shared", "shared", "granted", "none"))
        if choice == "own":
            return config, None, 10 if self._session or self._unified else None
        if choice == "shared":
            return config, Budget(10), 10
        if choice == "granted":
            return config, Budget(0), 0
        return config, Budget(None), None

    # Time

    def _clock(self) -> float:
        if self._frozen is not None:
            until, value = self._frozen
            if self._now < until:
                return value
            self._frozen = None
        return self._now + self._shift

    def _when(self, reading: float) -> float:
        """Return the world's time at which the client's clock shows `reading`."""
        if reading <= self._clock():
            return self._now
        at = reading - self._shift
        return at if self._frozen is None else max(at, self._frozen[0])

    def _at(self, delay: float, call: Callable[[], None]) -> float:
        moment = self._now + delay
        self._scheduled += 1
        heapq.heappush(self._heap, (moment, self._scheduled, call))
        return moment

    def _step(self, horizon: float) -> bool:
        """Do what is due next; return False, with the time at the horizon, when nothing is."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Broken("spin", f"{MAX_STEPS} steps until {self._now}")
        world = self._heap[0][0] if self._heap else math.inf
        timer = math.inf
        if self._until is not None:
            timer = max(self._when(self._until), self._timer_at)
        if min(world, timer) > horizon:
            self._now = max(self._now, horizon)
            return False
        first = timer < world
        if timer <= self._now and world <= self._now:
            first = self._dice.chance(self._plan.timers_first)
        if first:
            self._now = max(self._now, timer)
            assert self._until is not None
            self._fire(max(self._clock(), self._until))
        else:
            self._now = max(self._now, world)
            heapq.heappop(self._heap)[2]()
        return True

    def _advance(self, seconds: float) -> None:
        horizon = self._now + seconds
        while self._step(horizon):
            pass

    # Calls

    def _log_line(self, text: str) -> None:
        if self._log is not None:
            self._log.append(text)

    def _begin(self) -> float:
        now = self._clock()
        self._ledger.tick(now)
        return now

    def _called(self, text: str) -> None:
        self._ledger.note()
        self._log_line(f"{self._name}.{text}")

    def _fire(self, now: float) -> None:
        self._ledger.tick(now)
        self._ledger.firing()
        self._log_line(f"{self._name}.handle_timeout({now!r})")
        self._guard(lambda: self._core.handle_timeout(now))
        self._ledger.fired = self._ledger.now
        self._drain(now)

    @staticmethod
    def _guard(call: Callable[[], T]) -> T:
        """Make a call that must not raise."""
        try:
            return call()
        except Broken:
            raise
        except LocalProtocolError as error:
            raise Broken("raise", f"LocalProtocolError for an allowed call: {error}") from error
        except Exception as error:
            raise Broken("raise", f"{type(error).__name__}: {error}") from error

    def _input(self, text: str, call: Callable[[], object], now: float) -> None:
        self._called(text)
        self._guard(call)
        if not self._dice.chance(self._plan.undrained):
            self._drain(now)
        else:
            self._visits["undrained"] += 1
            self._at(0.0, self._drain_now)

    def _drain_now(self) -> None:
        self._drain(self._begin())

    def _drain(self, now: float) -> None:
        ledger, core = self._ledger, self._core
        if self._plan.lag:
            now += self._plan.lag * self._dice.pick((0.0, 0.5, 1.0))
            ledger.tick(now)
            self._log_line(f"    # drained at {now!r}")
        for _ in range(MAX_POLLS):
            output = self._poll(now)
            if isinstance(output, Wait):
                self._log_line(f"    -> {output!r}")
                ledger.waiting(output, self._busy, complete=True)
                self._until = output.until
                self._timer_at = -math.inf
                if self._dice.chance(self._plan.late_timers):
                    when = self._when(output.until) if output.until is not None else self._now
                    self._timer_at = when + self._dice.pick((0.001, 0.3, 2.0, 8.0, 40.0))
                if (core.in_flight, core.capacity) != (len(ledger.open), ledger.capacity):
                    found = (core.in_flight, core.capacity)
                    raise Broken(
                        "count",
                        f"in_flight, capacity = {found}, not {(len(ledger.open), ledger.capacity)}",
                    )
                return
            self._log_line(f"    -> {output!r}")
            ledger.output(output, self._busy)
            self._dispatch(output)
        raise Broken("spin", f"{MAX_POLLS} outputs in one drain")

    def _poll(self, now: float) -> SessionOutput:
        return self._guard(lambda: self._core.poll(now, self._busy))

    def _dispatch(self, output: SessionOutput) -> None:
        match output:
            case LinkTransmit(link=link):
                self._write(self._wires[link], output)
            case LinkHangup(link=link):
                self._hung_up(self._wires[link])
            case Dial(link=link):
                self._dial(link)
            case Accepted() | Unresolved():
                self._free_ids.append(output.id)
            case _:
                pass

    # The driver and the network

    def _dial(self, link: int) -> None:
        wire = Wire(link, latency=self._dice.pick((0.05, 0.001, 0.4)))
        self._wires[link] = wire
        fault = "none"
        if self._dice.chance(self._plan.dial_faults):
            fault = self._dice.pick(self._plan.dial_kinds)
            self._visits[f"dial: {fault}"] += 1
        if fault in {"none", "slow", "very slow", "too late"}:
            delay = {"none": 0.05, "slow": 1.5, "very slow": 12.0, "too late": 21.0}[fault]
            self._at(delay, lambda: self._open(wire))
        elif fault == "fails":
            self._at(0.02, lambda: self._lose(wire, "refused"))
        elif fault == "fails for a while":
            retry_after = self._dice.pick((0.0, 1.0, 60.0, 250.0, 1000.0))
            self._at(0.02, lambda: self._lose(wire, "429", retry_after))

    def _open(self, wire: Wire) -> None:
        if wire.gone and not self._dice.chance(self._plan.dead_inputs):
            return
        now = self._begin()
        if wire.gone:
            self._visits["opened after the end"] += 1
        else:
            wire.open = True
        self._ledger.opened(wire.link)
        self._input(
            f"opened({wire.link}, {now!r}, login=…)",
            lambda: self._core.opened(wire.link, now, login=LOGIN),
            now,
        )

    def _lose(self, wire: Wire, reason: str, retry_after: float | None = None) -> None:
        """End the client's side of the socket."""
        dead = wire.gone
        if dead and not self._dice.chance(self._plan.dead_inputs):
            return
        now = self._begin()
        unsent: list[str] = []
        writing = wire.writing
        if writing is not None and self._dice.chance(50) and not dead:
            unsent += writing.ids
        if self._dice.chance(self._plan.dead_inputs):
            unsent.append(self._dice.pick(("unknown", "bgproto999", "")))
        if dead:
            self._visits["lost after the end"] += 1
        wire.gone = wire.cut = True
        wire.writing = None
        was_busy = wire.link in self._busy
        self._busy.discard(wire.link)
        self._ledger.lost(wire.link, unsent, retry_after)
        text = f"lost({wire.link}, {now!r}, {reason!r}, unsent={unsent!r}, retry_after={retry_after!r})"
        call = lambda: self._core.lost(wire.link, now, reason, unsent, retry_after)  # noqa: E731
        if not dead or was_busy:
            self._input(text, call, now)
            return
        # Inputs for a link that is over are ignored: not even the wait may change.
        self._log_line(f"{self._name}.{text}")
        self._guard(call)
        self._drain(now)

    def _hung_up(self, wire: Wire) -> None:
        wire.gone = True
        wire.writing = None
        self._busy.discard(wire.link)
        if wire.open:
            self._at(wire.latency, lambda: self._cut(wire))
            if self._dice.chance(self._plan.dead_inputs):
                self._at(2 * wire.latency, lambda: self._lose(wire, "closed"))

    def _cut(self, wire: Wire) -> None:
        wire.cut = True

    def _write(self, wire: Wire, output: LinkTransmit) -> None:
        if self._dice.chance(self._plan.stalls):
            self._visits["stalled writer"] += 1
            wire.writing = output
            self._busy.add(wire.link)
            self._at(
                self._dice.pick((0.01, 0.3, 3.0, 8.0, 60.0)), lambda: self._written(wire, output)
            )
        else:
            self._send(wire, output)

    def _written(self, wire: Wire, output: LinkTransmit) -> None:
        if wire.writing is not output:
            return
        wire.writing = None
        self._busy.discard(wire.link)
        self._send(wire, output)
        self._ledger.note()
        self._log_line(f"# the write on link {wire.link} ends")
        self._drain(self._begin())

    def _send(self, wire: Wire, output: LinkTransmit) -> None:
        """Send the frame to the exchange."""
        cancel = self._ledger.open.get(output.ids[0]) if output.ids else None
        request = cancel.hand_outs[-1].number if cancel is not None and cancel.hand_outs else 0
        arrives = max(wire.last_received_at, self._now + wire.latency + self._extra_latency())
        wire.last_received_at = self._at(
            arrives - self._now, lambda: self._exchange_receives(wire, output.text, request)
        )

    def _extra_latency(self) -> float:
        return (
            self._dice.pick((0.0, 0.04, 0.9))
            if self._plan.jitter and self._dice.chance(self._plan.jitter)
            else 0.0
        )

    # The exchange

    def _exchange_receives(self, wire: Wire, text: str, request: int) -> None:
        if wire.cut or wire.drops_received:
            return
        if self._dice.chance(self._plan.half_open):
            self._visits["half-open link"] += 1
            wire.drops_received = wire.drops_sent = True
            if self._dice.chance(50):
                self._at(self._dice.pick((1.0, 30.0, 200.0)), lambda: self._lose(wire, "reset"))
            return
        if self._dice.chance(self._plan.drops):
            self._visits["dropped"] += 1
            self._drop(wire)
            return
        if text == "ping":
            if self._dice.chance(self._plan.no_pong):
                self._visits["no pong"] += 1
            else:
                self._reply(wire, Frame("pong", Meaning.PONG))
            return
        frame = json.loads(text)
        if frame["op"] == "login":
            self._login(wire)
        elif frame["op"] == "subscribe":
            self._reply(
                wire,
                Frame(json.dumps({"event": "subscribe", "arg": frame["args"][0]}), Meaning.NOISE),
            )
        elif self._unified:
            self._request(wire, frame, request)
        elif frame["args"][0]["channel"] == "place-order":
            self._reply(
                wire,
                self._foreign(frame["args"][0]["id"], "place-order", frame["args"][0]["params"]),
            )
        else:
            self._cancel(wire, frame["args"][0], request)

    def _request(self, wire: Wire, frame: dict[str, object], request: int) -> None:
        """Receive a request of a unified account."""
        if frame["topic"] == "place-order":
            self._reply(wire, self._foreign(str(frame["id"]), "place-order", {}))
        else:
            self._cancel(wire, frame, request)

    def _reply(self, wire: Wire, *frames: Frame, delay: float = 0.0) -> None:
        """Send frames to the client, which arrive in one read."""
        arrives = max(
            wire.last_sent_at,
            self._now + delay + wire.latency + self._plan.all_late + self._extra_latency(),
        )
        if delay:
            self._at(arrives - self._now, lambda: self._arrive(wire, frames))
        else:
            wire.last_sent_at = self._at(arrives - self._now, lambda: self._arrive(wire, frames))

    def _arrive(self, wire: Wire, frames: Sequence[Frame]) -> None:
        if wire.drops_sent or (not wire.open):
            return
        if wire.gone and not self._dice.chance(self._plan.dead_inputs):
            return
        now = self._begin()
        for frame in frames:
            self._ledger.received(wire.link, frame)
            text = f"receive({wire.link}, {frame.text!r}, {now!r})"
            if wire.gone:
                # It must not count as an input.
                self._visits["received after the end"] += 1
                self._log_line(f"{self._name}.{text}")
            else:
                self._visits[f"received: {frame.meaning.value}"] += 1
                self._called(text)
            self._guard(lambda frame=frame: self._core.receive(wire.link, frame.text, now))  # type: ignore[misc]
        if self._dice.chance(self._plan.undrained):
            self._at(0.0, self._drain_now)
        else:
            self._drain(now)

    def _drop(self, wire: Wire) -> None:
        wire.cut = True
        arrives = max(wire.last_sent_at, self._now + wire.latency)
        self._at(arrives - self._now, lambda: self._lose(wire, "reset"))

    def _login(self, wire: Wire) -> None:
        dice, plan = self._dice, self._plan
        if wire.logged_in:
            return
        if self._now < plan.refused_until:
            code = plan.refusal
            event = (
                dice.pick(("error", "error", "login"))
                if code not in {30006, 30007, 429, 30033, 40015, 40808, 25003}
                else "error"
            )
            meaning = Meaning.LOGIN if event == "login" else Meaning.ERROR
            frame = {"event": event, "code": dice.pick((code, str(code))), "msg": "no"}
            self._visits[f"login answered {code}"] += 1
            self._reply(wire, Frame(json.dumps(frame), meaning, code=str(code), message="no"))
            return
        fault = "none"
        if dice.chance(plan.login_faults):
            fault = dice.pick(plan.login_kinds)
            self._visits[f"login: {fault}"] += 1
        delay = 0.0
        frames: list[Frame] = []
        match fault:
            case "silent":
                return
            case "dropped":
                self._drop(wire)
                return
            case "slow":
                delay = 6.0
            case "late":
                delay = 10.5
            case "going away first":
                frames.append(self._error(30033))
            case "throttled first":
                frames.append(self._error(dice.pick((30006, 40015, 30007))))
            case "noise first":
                frames.append(
                    Frame(dice.pick(GARBAGE[2:7]), Meaning.NOISE)
                    if not dice.chance(30)
                    else self._error(30033)
                )
            case _:
                pass
        wire.logged_in = True
        answer: dict[str, object] = {"event": "login", "code": 0}
        if fault == "string code":
            answer = {"event": "login", "code": "0", "msg": "", "connId": "x"}
        frames = [frame for frame in frames if _readable(frame)]
        self._reply(wire, *frames, Frame(json.dumps(answer), Meaning.LOGIN, code="0"), delay=delay)

    def _error(self, code: int) -> Frame:
        text = json.dumps(
            {"event": "error", "code": self._dice.pick((code, str(code))), "msg": "m"}
        )
        return Frame(text, Meaning.ERROR, code=str(code), message="m")

    def _foreign(self, id: str, channel: str, params: object) -> Frame:
        code = self._dice.pick((0, self._refusal))
        event = "trade" if code == 0 else "error"
        if self._unified:
            reply = {"event": event, "id": id, "topic": channel, "code": str(code), "msg": "m"}
            return Frame(json.dumps(reply), Meaning.FOREIGN, id)
        echo = {
            "id": id,
            "instType": "SPOT",
            "channel": channel,
            "instId": "BTCUSDT",
            "params": params,
        }
        return Frame(
            json.dumps({"event": event, "arg": [echo], "code": code, "msg": "m"}),
            Meaning.FOREIGN,
            id,
        )

    def _answer(
        self,
        args: dict[str, object],
        request: int,
        code: object,
        *,
        event: str | None = None,
        wrap: str = "list",
    ) -> Frame:
        readable = _canonical(code)
        if event is None:
            event = "trade" if readable == "0" else "error"
        echo: dict[str, object] = dict(args)
        if self._unified:
            return self._unified_answer(args, request, code, event, wrap)
        if wrap == "bare":
            echo = {"id": args["id"]}
        elif wrap == "other keys":
            echo["other"] = [1, {"id": "7"}]
        reply: dict[str, object] = {
            "event": event,
            "arg": echo if wrap == "object" else [echo],
            "code": code,
            "msg": "m",
        }
        return self._finished(reply, str(args["id"]), readable, request)

    def _finished(
        self,
        reply: dict[str, object],
        id: str,
        readable: str | None,
        request: int,
        items: tuple[tuple[str, str], ...] | None = None,
    ) -> Frame:
        """Add a time to an answer, and encode it."""
        dice = self._dice
        ts, known, shown = 1763958928351, True, dice.pick((0, 1, 2, 3))
        exchange_ts: int | None = ts
        if shown == 0:
            reply["ts"] = ts
        elif shown == 1:
            reply["ts"] = str(ts)
        elif shown == 2:
            exchange_ts = None
        else:
            reply["ts"], known = dice.pick(("x", True, -1, [])), False
        if reply["code"] is None and dice.chance(50):
            del reply["code"]
        text: str | bytes = json.dumps(reply, ensure_ascii=dice.chance(50))
        if dice.chance(20) and isinstance(text, str):
            text = text.encode()
        contradiction = readable == "0" and reply["event"] == "error"
        return Frame(
            text,
            Meaning.ANSWER,
            id,
            readable,
            "m",
            exchange_ts,
            request,
            known,
            contradiction,
            items,
        )

    def _unified_answer(
        self, frame: dict[str, object], request: int, code: object, event: str, wrap: str
    ) -> Frame:
        """Return an answer of a unified account; a refusal names nothing but the request."""
        dice, readable = self._dice, _canonical(code)
        batch = frame["topic"] == "batch-cancel"
        named = cast("list[dict[str, str]]", frame["args"])
        shown: list[dict[str, str]] = [dict(order) for order in named]
        items: tuple[tuple[str, str], ...] | None = () if batch else None
        if isinstance(code, int) and not isinstance(code, bool):
            code = dice.pick((code, str(code), str(code)))
        reply: dict[str, object] = {
            "event": event, "id": frame["id"], "code": code, "msg": "m",
        }  # fmt: skip
        if batch and readable == "0" and event == "trade":
            shown = self._items(shown)
            items = tuple((next(iter(item.values())), item["code"]) for item in shown)
        if event == "trade":
            # The refusal of a batch names no order.
            reply |= {"topic": frame["topic"], "args": [] if items == () else shown}
        if wrap == "other keys" and event == "trade":
            reply["other"] = [1, {"id": "7"}]
        elif wrap == "bare" and not batch:
            reply.pop("args", None)
        return self._finished(reply, str(frame["id"]), readable, request, items)

    def _items(self, shown: list[dict[str, str]]) -> list[dict[str, str]]:
        """Return the items of the answer to a batch, each with a code of its own."""
        dice = self._dice
        codes = (0, 0, 0, 25204, 25204, 25000, 25102, 99999, 25653)
        some = dice.chance(30)
        items = [
            item | {"code": str(dice.pick(codes) if some else 0), "msg": "m"} for item in shown
        ]
        if dice.chance(self._plan.answers):
            match dice.pick(("missing", "twice", "reordered", "none")):
                case "missing":
                    items = items[::2]
                case "twice":
                    items = [*items, items[0] | {"code": "25204"}]
                case "reordered":
                    items = items[::-1]
                case _:
                    items = []
            self._visits["items of a batch missing, twice or reordered"] += 1
        return items

    def _cancel(self, wire: Wire, args: dict[str, object], request: int) -> None:
        dice = self._dice
        fault = "none"
        if dice.chance(self._plan.answers):
            fault = dice.pick(self._plan.answer_kinds)
            self._visits[f"answer: {fault}"] += 1
        good = self._answer(args, request, 0)
        match fault:
            case "none":
                if not dice.chance(25):
                    self._reply(wire, good)
                else:
                    self._reply(wire, self._answer(args, request, self._refusal))
            case "late":
                self._reply(wire, good, delay=dice.pick((0.5, 4.0, 9.0, 9.99, 11.0, 30.0)))
            case "refused":
                kinds = [
                    kind
                    for kind in self._codes
                    if kind.value not in {"outcome unknown", "unlisted", "retry later"}
                ]
                code = dice.pick(self._codes[dice.pick(kinds)])
                self._reply(
                    wire, self._answer(args, request, dice.pick((code, str(code), f"00{code}")))
                )
            case "again later":
                codes = self._codes[CodeClass.RETRY_LATER]
                self._reply(wire, self._answer(args, request, dice.pick(codes)))
            case "unknown outcome":
                codes = self._codes[CodeClass.OUTCOME_UNKNOWN]
                self._reply(wire, self._answer(args, request, dice.pick(codes)))
            case "unlisted":
                self._reply(wire, self._answer(args, request, dice.pick((99999, 12345, 31999, 7))))
            case "unreadable":
                self._reply(
                    wire,
                    self._answer(
                        args, request, dice.pick(UNREADABLE), event=dice.pick(("error", "trade"))
                    ),
                )
            case "code 0 in an error":
                self._reply(wire, self._answer(args, request, 0, event="error"))
            case "refused in a trade":
                self._reply(
                    wire,
                    self._answer(
                        args, request, dice.pick((self._refusal, 45001, 45055)), event="trade"
                    ),
                )
            case "twice":
                self._reply(wire, good)
                self._reply(
                    wire,
                    dice.pick((good, self._answer(args, request, self._refusal))),
                    delay=dice.pick((0.0, 0.5, 5.0)),
                )
            case "twice in one read":
                self._reply(wire, good, self._answer(args, request, self._refusal))
            case _:
                self._cancel_with_rare_fault(wire, args, request, fault, good)

    def _cancel_with_rare_fault(
        self, wire: Wire, args: dict[str, object], request: int, fault: str, good: Frame
    ) -> None:
        dice = self._dice
        named: dict[str, object]
        match fault:
            case "another channel":
                self._reply(wire, self._foreign(str(args["id"]), "place-order", {"orderId": "1"}))
                if dice.chance(50):
                    self._reply(wire, good)
            case "another topic":
                named = {"id": args["id"]} if self._unified else {"arg": [{"id": args["id"]}]}
                text = json.dumps({"event": "trade", "topic": "place-order", "code": 0} | named)
                self._reply(wire, Frame(text, Meaning.FOREIGN, str(args["id"])))
            case "two entries":
                named = {"arg": [args, {**args, "id": "9"}]}
                if self._unified:
                    named = {"id": [args["id"], "9"]}
                text = json.dumps({"event": "trade", "code": 0, "msg": "m"} | named)
                self._reply(wire, Frame(text, Meaning.FOREIGN, str(args["id"])))
            case "no id":
                self._reply(wire, self._error(dice.pick((43001, 45001, 99999, 40015, 30001))))
            case "garbage":
                self._reply(
                    wire,
                    Frame(
                        dice.pick(
                            [text for text in GARBAGE if _readable(Frame(text, Meaning.NOISE))]
                        ),
                        Meaning.NOISE,
                    ),
                )
            case "silence":
                pass
            case "drop before":
                self._drop(wire)
            case "drop after":
                self._drop(wire)
            case "too many":
                self._reply(wire, self._error(30006))
            case "thrown out":
                self._reply(wire, self._error(30007), *([good] if dice.chance(50) else []))
                if dice.chance(70):
                    self._drop(wire)
            case "not logged in":
                self._reply(wire, *([good] if dice.chance(50) else []), self._error(30004))
            case "going away":
                self._reply(wire, good, self._error(30033))
                if not wire.going:
                    wire.going = True
                    self._at(dice.pick((60.0, 5.0, 0.5)), lambda: self._drop(wire))
            case "bare echo":
                self._reply(wire, self._answer(args, request, 0, wrap="bare"))
            case "object echo":
                self._reply(
                    wire, self._answer(args, request, 0, wrap=dice.pick(("object", "other keys")))
                )
            case "many in one read":
                noise = Frame("{}", Meaning.NOISE)
                self._reply(
                    wire, noise, self._foreign(str(args["id"]), "place-order", {}), good, noise
                )
            case _:
                raise AssertionError(fault)

    # The caller

    def run(self) -> None:
        """Run from the first dial to `Ended`."""
        self._drain(self._begin())
        dice = self._dice
        for _ in range(dice.parts()):
            dice.begin()
            self._act()
            self._advance(dice.pick((0.0, 0.0, 0.02, 0.1, 0.5, 1.0, 3.0, 12.0, 40.0)))
            if self._ledger.ended is not None:
                break
        self._end()

    def _end(self) -> None:
        dice, ledger = self._dice, self._ledger
        dice.begin(end=True)
        self._reset_clock()
        if dice.chance(60):
            horizon = self._now + 2500.0
            while ledger.open and ledger.ended is None and self._now < horizon:
                if not self._step(horizon):
                    break
            if ledger.open and ledger.ended is None:
                raise Broken("one outcome", f"{list(ledger.open)} have no outcome after 2,500 s")
        if ledger.ended is None and ledger.closing_at is None:
            self._close()
        horizon = self._now + 400.0
        if ledger.closing_by < math.inf:
            horizon += max(0.0, ledger.closing_by - ledger.now)
        while ledger.ended is None and self._now < horizon and self._step(horizon):
            pass
        if ledger.ended is None and not ledger.session and ledger.closing_by == math.inf:
            # It may wait without limit for the driver's dial. A second close ends it.
            self._close()
            while ledger.ended is None and self._step(horizon + 400.0):
                pass
        if ledger.ended is None:
            raise Broken("end", f"close was called, but there was no Ended until {self._now}")
        self._after_the_end()

    def _after_the_end(self) -> None:
        ledger = self._ledger
        for _ in range(1 + self._dice.below(3)):
            self._now += self._dice.pick((1.0, 1000.0))
            now = self._begin()
            self._fire(now)
        now = self._begin()
        self._refused("cancel after the end", lambda: self._core.cancel(ORDERS[0], now))
        self._refused("cancel_many after the end", lambda: self._core.cancel_many(ORDERS[:2], now))
        self._refused("send after the end", lambda: self._core.send("{}", now))
        self._guard(lambda: self._core.close(now))
        self._guard(lambda: self._core.lost(1, now))
        self._guard(lambda: self._core.receive(1, "pong", now))
        self._drain(now)
        if ledger.open:
            raise Broken("one outcome", f"{list(ledger.open)} have no outcome")

    def _refused(
        self,
        what: str,
        call: Callable[[], object],
        kinds: tuple[type[Exception], ...] = (LocalProtocolError,),
    ) -> None:
        """Make a call that must be refused and must change nothing."""
        self._visits[f"refused: {what}"] += 1
        try:
            result = call()
        except kinds as error:
            self._log_line(f"# {what}: {type(error).__name__}: {error}")
        except Exception as error:
            raise Broken("raise", f"{what}: {type(error).__name__}: {error}") from error
        else:
            raise Broken("raise", f"{what} was not refused: {result!r}")
        quiet = self._ledger.quiet
        self._drain(self._begin())
        self._ledger.quiet = quiet or self._ledger.quiet

    def _reset_clock(self) -> None:
        self._frozen = None
        self._timer_at = -math.inf
        self._shift = max(self._shift, self._ledger.now - self._now)

    def _act(self) -> None:
        action = self._dice.pick(ACTIONS)
        getattr(self, f"_act_{action}")()

    def _act_nothing(self) -> None:
        pass

    def _order(self) -> CancelOrder:
        return self._dice.pick(ORDERS[: self._dice.pick((len(ORDERS), 12))])

    def _act_cancel(self) -> None:
        self._take(self._order())

    def _act_burst(self) -> None:
        for _ in range(self._dice.pick((2, 5, 12, 30))):
            self._take(self._order())

    def _act_cancel_special(self) -> None:
        dice, ledger = self._dice, self._ledger
        id = None
        match dice.below(8):
            case 0 | 1:
                id = f"own{dice.below(40)}"
            case 2 if self._free_ids:
                id = dice.pick(self._free_ids)
            case 3 if ledger.open:
                id = dice.pick(list(ledger.open))
            case 4 if ledger.own_ids:
                id = dice.pick(sorted(ledger.own_ids))
            case 5:
                id = f"bgproto{dice.below(30)}"
            case 6 if ledger.late:
                id = dice.pick(list(ledger.late))
            case _:
                pass
        timeout = dice.pick((None, None, 0.05, 1.0, 2.5, 9.0, 60.0, 400.0, math.inf))
        policy = dice.pick((None, Policy.REPORT, Policy.RESEND)) if self._session else None
        self._take(self._order(), id, timeout, policy, urgent=dice.chance(40))

    def _take(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> None:
        ledger = self._ledger
        now = self._begin()
        text = f"cancel({_order(order)}, {now!r}, id={id!r}, timeout={timeout!r}, policy={policy}, urgent={urgent})"
        self._log_line(f"{self._name}.{text}")
        try:
            taken = self._core.cancel(order, now, id, timeout, policy, urgent)
        except NoRoom as error:
            self._visits["refused: no room"] += 1
            if ledger.capacity:
                raise Broken("room", f"{error}; there is room for {ledger.capacity}") from error
        except ValidationError as error:
            self._visits["refused: id"] += 1
            if id is None or not ledger.may_refuse_id(id):
                raise Broken("id", f"{error}; the id {id!r} is free") from error
        except LocalProtocolError as error:
            self._visits["refused: closing"] += 1
            if ledger.capacity:
                raise Broken("room", f"{error}; there is room for {ledger.capacity}") from error
        except Exception as error:
            raise Broken("raise", f"{type(error).__name__}: {error}") from error
        else:
            if not ledger.capacity:
                raise Broken("room", f"{taken!r} was taken, but there is no room")
            if id is not None and ledger.must_refuse_id(id):
                raise Broken(
                    "id", f"the id {id!r} was accepted, but it is open, late or of an own frame"
                )
            if (id is not None and taken != id) or (
                id is None and (not taken.startswith("bgproto") or ledger.may_refuse_id(taken))
            ):
                raise Broken("id", f"{taken!r} was given for {id!r}")
            if id is not None and id in self._free_ids:
                self._visits["id reused"] += 1
            ledger.note()
            ledger.taken(taken, order, timeout, policy, urgent=urgent)
            self._log_line(f"    {taken!r}")
            if not self._dice.chance(self._plan.undrained):
                self._drain(now)
            else:
                self._at(0.0, self._drain_now)
            return
        self._drain(now)

    def _act_cancel_many(self) -> None:
        dice, ledger = self._dice, self._ledger
        count = dice.pick((2, 3, 15, 40, 150))
        orders = [ORDERS[(dice.below(len(ORDERS)) + index) % len(ORDERS)] for index in range(count)]
        timeout = dice.pick((None, None, 2.0, 30.0))
        policy = dice.pick((None, Policy.RESEND)) if self._session else None
        now = self._begin()
        self._log_line(
            f"{self._name}.cancel_many([{', '.join(map(_order, orders))}], {now!r}, timeout={timeout!r}, policy={policy})"
        )
        try:
            ids = self._core.cancel_many(orders, now, timeout, policy)
        except LocalProtocolError as error:
            self._visits["refused: many"] += 1
            if ledger.capacity >= count:
                raise Broken("room", f"{error}; there is room for {ledger.capacity}") from error
        except Exception as error:
            raise Broken("raise", f"{type(error).__name__}: {error}") from error
        else:
            if ledger.capacity < count or len(ids) != count:
                raise Broken(
                    "room", f"{ids} were taken for {count}; there is room for {ledger.capacity}"
                )
            ledger.note()
            for id, order in zip(ids, orders, strict=True):
                ledger.taken(id, order, timeout, policy, urgent=False)
        self._drain(now)

    def _act_withdraw(self) -> None:
        dice, ledger = self._dice, self._ledger
        id = "unknown"
        if ledger.open and not dice.chance(20):
            id = dice.pick(list(ledger.open))
        elif ledger.done:
            id = dice.pick(list(ledger.done))
        now = self._begin()
        self._called(f"withdraw({id!r}, {now!r})")
        taken_back = self._guard(lambda: self._core.withdraw(id, now)) is True
        self._log_line(f"    {taken_back}")
        self._visits[f"withdraw: {taken_back}"] += 1
        ledger.withdrew(id, taken_back=taken_back)
        self._drain(now)

    def _act_send(self) -> None:
        dice, ledger = self._dice, self._ledger
        self._own += 1
        id = None
        match dice.below(6):
            case 0:
                subscription = {"instType": "SPOT", "channel": "fill", "instId": f"X{self._own}"}
                text = json.dumps({"op": "subscribe", "args": [subscription]})
            case 1 if ledger.open:
                id = dice.pick(list(ledger.open))
                text = _placement(id, self._own, unified=self._unified)
            case 2 if ledger.late:
                id = dice.pick(list(ledger.late))
                text = _placement(id, self._own, unified=self._unified)
            case 3:
                id = f"bgproto{len(ledger.done) + len(ledger.open) + 1 + dice.below(3)}"
                text = _placement(id, self._own, unified=self._unified)
            case 4:
                id = f"own{dice.below(40)}"
                text = _placement(id, self._own, unified=self._unified)
            case _:
                id = f"placed{self._own}"
                text = _placement(id, self._own, unified=self._unified)
        now = self._begin()
        self._log_line(f"{self._name}.send({text!r}, {now!r})")
        closing = ledger.closed_to_commands
        busy_id = id is not None and ledger.is_busy(id)
        must = id is not None and (
            id in ledger.open
            or (
                id in ledger.late
                and ledger.late[id].certain
                and ledger.late[id].link in ledger.living
            )
        )
        try:
            self._core.send(text, now)
        except NoRoom as error:
            if len(ledger.own_waiting) < 100:
                raise Broken("room", f"{error}; {len(ledger.own_waiting)} frames wait") from error
        except ValidationError as error:
            self._visits["refused: frame with the id of a cancel"] += 1
            if not busy_id:
                raise Broken("id", f"{error}; the id {id!r} is free") from error
        except LocalProtocolError as error:
            if not closing:
                raise Broken("raise", f"{error}") from error
        except Exception as error:
            raise Broken("raise", f"{type(error).__name__}: {error}") from error
        else:
            if closing:
                raise Broken("raise", "send was accepted after close")
            if must:
                raise Broken("id", f"a frame with the id {id!r} of a cancel was accepted")
            ledger.note()
            ledger.sent_own(text, id)
        self._drain(now)

    def _act_drop(self) -> None:
        wire = self._some_wire()
        if wire is not None:
            self._visits["dropped by the network"] += 1
            self._drop(wire)

    def _act_half_open(self) -> None:
        wire = self._some_wire()
        if wire is not None:
            self._visits["half-open link"] += 1
            wire.drops_sent = True
            wire.drops_received = self._dice.chance(50)

    def _some_wire(self) -> Wire | None:
        wires = [
            wire for wire in self._wires.values() if wire.open and not wire.gone and not wire.cut
        ]
        return self._dice.pick(wires) if wires else None

    def _act_push(self) -> None:
        wire, dice, ledger = self._some_wire(), self._dice, self._ledger
        if wire is None:
            return
        wait = [id for id, cancel in ledger.open.items() if not cancel.hand_outs]
        match dice.below(9):
            case 0:
                frame = self._error(30033)
                if not wire.going:
                    wire.going = True
                    self._at(dice.pick((60.0, 5.0, 0.5)), lambda: self._drop(wire))
            case 1:
                frame = self._error(30006)
            case 2:
                frame = self._error(dice.pick((30007, 30004)))
            case 3:
                frame = Frame("pong", Meaning.PONG)
            case 4 if wait:
                # An answer to a cancel that was never sent.
                args: dict[str, object] = {"id": dice.pick(wait), "channel": "cancel-order"}
                if self._unified:
                    args |= {"topic": "cancel-order", "args": []}
                frame = self._answer(args, 0, 0)
            case 5 if ledger.open:
                frame = self._foreign(
                    dice.pick(list(ledger.open)), dice.pick(("place-order", "orders")), {}
                )
            case 6 if ledger.open:
                args = {"id": dice.pick(list(ledger.open)), "channel": "cancel-order"}
                named = {"id": [args["id"]]} if self._unified else {"arg": [args, args]}
                text = json.dumps({"event": "trade", "code": 0} | named)
                frame = Frame(text, Meaning.FOREIGN)
            case 7:
                frame = self._error(dice.pick((43001, 45001, 40018, 99999, 30016)))
            case _:
                frame = Frame(dice.pick(GARBAGE), Meaning.NOISE)
                if not _readable(frame):
                    return
        if not wire.logged_in and frame.meaning is Meaning.ERROR and frame.code != "30033":
            return
        self._reply(wire, frame)

    def _act_clock(self) -> None:
        match self._dice.below(4):
            case 0:
                self._shift += self._dice.pick((0.5, 5.0, 600.0, 7200.0, 86000.0, 400000.0))
                self._visits["clock: ahead"] += 1
            case 1:
                self._shift -= self._dice.pick((0.01, 1.0, 30.0, 3600.0))
                self._visits["clock: back"] += 1
            case 2:
                self._frozen = (self._now + self._dice.pick((1.0, 20.0)), self._clock())
                self._visits["clock: stopped"] += 1
            case _:
                self._now += self._dice.pick((0.2, 6.0, 45.0, 4000.0))
                self._visits["driver paused"] += 1
        self._log_line(f"# the clock shows {self._clock()!r}")

    def _act_timer(self) -> None:
        now = self._begin()
        self._visits["handle_timeout without a timer"] += 1
        for _ in range(1 + self._dice.below(3)):
            self._fire(now)

    def _act_budget(self) -> None:
        if self._budget is None:
            return
        dice = self._dice
        self._begin()
        # A `Budget` has its own clock, which does not see the times given to the session.
        now = self._ledger.now
        count = dice.pick((1, 3, 12, 30))
        if dice.chance(60):
            until = now + dice.pick((0.02, 1.0, 20.0, math.inf))
            self._log_line(f"budget.grant({count}, {until!r}, {now!r})")
            self._budget.grant(count, until, now)
            self._ledger.allowance.grant(count, until)
            self._visits["granted"] += 1
        else:
            self._log_line(f"budget.debit({count}, {now!r})")
            self._budget.debit(count, now)
            self._ledger.allowance.spend(count, self._ledger.now)
            self._visits["debited"] += 1
        self._ledger.note()
        self._drain(now)

    def _act_bad_call(self) -> None:
        what, call = self._dice.pick(BAD_CALLS)
        now = self._begin()
        if self._ledger.ended is not None:
            return
        self._log_line(f"# {what}")
        self._refused(what, lambda: call(self._core, now))

    def _act_close(self) -> None:
        if self._dice.chance(25):
            self._close()

    def _close(self) -> None:
        dice = self._dice
        queued = dice.pick(("drop", "send"))
        within = dice.pick((None, None, 0.01, 0.5, 20.0, math.inf))
        now = self._begin()
        again = self._ledger.closing_at is not None
        self._visits["close: again" if again else f"close: {queued}"] += 1
        self._ledger.closing(queued, within)
        self._input(
            f"close({now!r}, queued={queued!r}, within={within!r})",
            lambda: self._core.close(now, queued, within),
            now,
        )


ACTIONS = (
    "nothing", "cancel", "cancel", "cancel", "cancel_special", "cancel_special", "cancel_special", "burst", "cancel_many",
    "withdraw", "send", "drop", "half_open", "push", "push", "clock", "timer", "budget", "bad_call", "close",
)  # fmt: skip

ORDERS = tuple(
    CancelOrder("BTCUSDT", order_id=str(number))
    if number % 4
    else CancelOrder("BTCUSDT", client_oid=f"mine-{number}")
    if number % 8
    else CancelOrder("ETHUSDT", order_id=str(number), client_oid=f'q"{number}')
    for number in range(1, 200)
)

BAD_CALLS: tuple[tuple[str, Callable[[Core, float], object]], ...] = (
    ("cancel at nan", lambda core, _: core.cancel(ORDERS[0], math.nan)),
    ("cancel at infinity", lambda core, _: core.cancel(ORDERS[0], math.inf)),
    ("cancel of a string", lambda core, now: core.cancel("1", now)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("cancel with a number as id", lambda core, now: core.cancel(ORDERS[0], now, 7)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("cancel with an empty id", lambda core, now: core.cancel(ORDERS[0], now, "")),
    ("cancel with an id of 41 characters", lambda core, now: core.cancel(ORDERS[0], now, "x" * 41)),
    ("cancel with a line break in the id", lambda core, now: core.cancel(ORDERS[0], now, "a\n")),
    ("timeout of 0", lambda core, now: core.cancel(ORDERS[0], now, timeout=0.0)),
    ("timeout below 0", lambda core, now: core.cancel(ORDERS[0], now, timeout=-1.0)),
    ("timeout of nan", lambda core, now: core.cancel(ORDERS[0], now, timeout=math.nan)),
    ("cancel_many with None", lambda core, now: core.cancel_many([ORDERS[0], None], now)),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    ("cancel_many with a number", lambda core, now: core.cancel_many(7, now)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("send of a number", lambda core, now: core.send(7, now)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("receive of a number", lambda core, now: core.receive(1, 7, now)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("receive at nan", lambda core, _: core.receive(1, "pong", math.nan)),
    ("lost with a number as id", lambda core, now: core.lost(1, now, unsent=[7])),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    ("lost with a number as unsent", lambda core, now: core.lost(1, now, unsent=7)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("close with an unknown queued", lambda core, now: core.close(now, "perhaps")),
    ("close within -1", lambda core, now: core.close(now, "send", -1.0)),
    ("close within 0", lambda core, now: core.close(now, "send", 0.0)),
    ("close within nan", lambda core, now: core.close(now, "drop", math.nan)),
    ("handle_timeout at nan", lambda core, _: core.handle_timeout(math.nan)),
    ("poll at nan", lambda core, _: core.poll(math.nan)),
)


def _placement(id: str, number: int, *, unified: bool) -> str:
    if unified:
        order = {"qty": str(number)}
        return json.dumps({"op": "trade", "id": id, "topic": "place-order", "args": [order]})
    args = {
        "id": id,
        "instType": "SPOT",
        "channel": "place-order",
        "instId": "BTCUSDT",
        "params": {"size": str(number)},
    }
    return json.dumps({"op": "trade", "args": [args]})


def _readable(frame: Frame) -> bool:
    if isinstance(frame.text, str):
        return True
    try:
        frame.text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _canonical(code: object) -> str | None:
    if isinstance(code, bool):
        return None
    if isinstance(code, int) and code >= 0:
        return str(code)
    if isinstance(code, str) and 0 < len(code) <= 12 and code.isascii() and code.isdigit():
        return code.lstrip("0") or "0"
    return None


def _order(order: CancelOrder) -> str:
    ids = [
        f"{name}={value!r}"
        for name, value in (("order_id", order.order_id), ("client_oid", order.client_oid))
        if value
    ]
    return f"CancelOrder({order.inst_id!r}, {', '.join(ids)})"


def _short(config: SessionConfig) -> str:
    parts = [f"policy={config.policy}"]
    if config.client_oids_unique:
        parts.append("client_oids_unique=True")
    if config.dials_per_5_minutes != 300:
        parts.append(f"dials_per_5_minutes={config.dials_per_5_minutes}")
    if config.link.max_in_flight != 1000:
        parts.append(f"link=Config(max_in_flight={config.link.max_in_flight})")
    return f"SessionConfig({', '.join(parts)})"
