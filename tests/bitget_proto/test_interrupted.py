"""Tests of signal handlers that raise at any line of the core.

Each cancel still has exactly one outcome, and a true one. After an exception has passed through a
call, the next call ends the connection; pending outputs are returned first.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from itertools import count
from math import inf
from random import Random
from types import FrameType

import attrs
import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Closed,
    Codec,
    Config,
    Connection,
    Dialect,
    Hangup,
    LateReply,
    LocalProtocolError,
    Outcome,
    Output,
    Rejected,
    State,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnresolved,
)

from .driving import LOGGED_IN, LOGIN, ORDER, PONG, drain, error, outputs, refusal, reply
from .interrupting import PARTS, Interrupt, interrupted, lines, uncollected

CONFIG = Config(messages_per_second=4, pace_margin=None, answer_timeout=3.0, queue_timeout=20.0)


@attrs.define
class World:
    """A connection, and what its driver knows about it."""

    conn: Connection
    now: float = 2.0
    taken: list[str] = attrs.field(factory=list[str])
    """The cancels whose calls have returned."""

    perhaps: set[str] = attrs.field(factory=set[str])
    """The cancels whose calls were interrupted."""

    handed_out: set[str] = attrs.field(factory=set[str])
    login_handed_out: bool = False
    came: list[Output] = attrs.field(factory=list[Output])

    def cancel(
        self,
        id: str,
        timeout: float | None = None,
        *,
        urgent: bool = False,
        order: CancelOrder = ORDER,
    ) -> None:
        self.perhaps.add(id)
        self.conn.cancel(order, self.now, id=id, timeout=timeout, urgent=urgent)
        self.perhaps.discard(id)
        self.taken.append(id)

    def cancel_many(self, *expected: str) -> None:
        """With generated ids, which are predictable."""
        self.perhaps |= set(expected)
        assert self.conn.cancel_many([ORDER] * len(expected), self.now) == list(expected)
        self.perhaps -= set(expected)
        self.taken += expected

    def poll(self, *, writable: bool = True) -> Output:
        output = self.conn.poll(self.now, writable)
        if isinstance(output, Transmit):
            self.handed_out.update(output.ids)
            self.login_handed_out = self.login_handed_out or output.secret
        self.came.append(output)
        return output

    def drain(self) -> None:
        while not isinstance(self.poll(), Wait):
            pass

    def outcomes(self) -> list[Outcome]:
        return [output for output in self.came if isinstance(output, Outcome)]


def ready() -> World:
    """At 2 s: logged in, and frames may be sent."""
    world = World(Connection(CONFIG, budget=Budget(5)))
    world.conn.opened(0.0, login=LOGIN)
    world.drain()
    world.conn.receive(LOGGED_IN, 0.5)
    world.drain()
    return world


def busy() -> World:
    """At 4 s: one cancel remembered, two sent, two waiting, one answered; a frame waits, and two
    outputs are pending.
    """
    world = ready()
    world.cancel("late", timeout=0.5)
    world.drain()
    world.now = 3.5
    world.conn.handle_timeout(3.5)
    world.drain()
    for id in ("sent1", "answered", "sent2"):
        world.cancel(id, timeout=2.0 if id == "sent2" else None)
    world.drain()
    world.now = 4.0
    world.cancel("waits1")
    world.cancel("waits2", timeout=1.5)
    world.conn.send('{"op":"trade","args":[{"id":"own"}]}', 4.0)
    world.conn.receive("noise", 4.0)
    world.conn.receive(reply("answered"), 4.0)
    return world


def opening() -> World:
    """At 0 s: `opened` was not called, and two cancels wait."""
    world = World(Connection(CONFIG, budget=Budget(5)), now=0.0)
    world.cancel("waits1")
    world.cancel("waits2", timeout=1.5)
    return world


def logging_in() -> World:
    """At 0 s: the login was sent, and two cancels wait."""
    world = opening()
    world.conn.opened(0.0, login=LOGIN)
    world.drain()
    return world


def batch_to_come() -> World:
    """At 2 s: three cancels of a unified account wait, of which one has timed out in vain before."""
    world = World(Connection(CONFIG, Codec(dialect=Dialect.UNIFIED), Budget(5)), now=0.0)
    world.conn.opened(0.0, login=LOGIN)
    world.drain()
    for number, id in enumerate(("sent1", "short", "sent2")):
        world.cancel(id, 3.0 if id == "short" else None, order=CancelOrder(order_id=str(number)))
        world.drain()
    world.now = 2.0
    world.conn.receive(LOGGED_IN, 2.0)
    while not isinstance(world.poll(writable=False), Wait):
        pass
    return world


def batch_out() -> World:
    """At 4 s: a batch is out, of which one cancel has timed out; one cancel waits, and an output is
    pending.
    """
    world = batch_to_come()
    world.drain()
    assert world.handed_out == {"sent1", "short", "sent2"}
    world.now = 4.0
    world.conn.handle_timeout(4.0)
    world.drain()
    world.cancel("waits1", order=CancelOrder(order_id="9"))
    world.conn.receive("noise", 4.0)
    return world


def batch_reply(code: str = "0", **items: str) -> str:
    """Return the answer to the batch; `items` are the codes of its cancels."""
    args = [
        {"code": items[id], "msg": "text", "orderId": str(number)}
        for number, id in enumerate(("sent1", "short", "sent2"))
        if id in items
    ]
    event = "trade" if code == "0" else "error"
    return json.dumps({"event": event, "id": "bgproto1", "code": code, "msg": "text", "args": args})


def silent() -> World:
    """At 6 s: the link was probed, and has not answered yet."""
    world = busy()
    world.drain()
    world.now = 6.0
    world.conn.handle_timeout(6.0)
    world.drain()
    return world


def closing() -> World:
    world = busy()
    world.conn.close(4.0)
    world.drain()
    return world


def emptying() -> World:
    world = busy()
    world.conn.close(4.0, queued="send")
    return world


def drained(make: Callable[[], World], later: float = 0.0) -> Callable[[], World]:
    """All outputs were returned, but no frame."""

    def made() -> World:
        world = make()
        while not isinstance(world.poll(writable=False), Wait):
            pass
        world.now += later
        return world

    return made


def receives(message: str | bytes) -> Callable[[World], object]:
    return lambda world: world.conn.receive(message, world.now)


def timeout(at: float) -> Callable[[World], object]:
    return lambda world: world.conn.handle_timeout(at)


def opened() -> World:
    """At 0 s: the login waits to be sent."""
    world = opening()
    world.conn.opened(0.0, login=LOGIN)
    return world


def the_ping(world: World) -> None:
    world.conn.handle_timeout(6.5)
    world.drain()


CALLS: dict[str, tuple[Callable[[], World], Callable[[World], object]]] = {
    "opened": (opening, lambda world: world.conn.opened(0.0, login=LOGIN)),
    "an accepted login": (logging_in, receives(LOGGED_IN)),
    "a refused login": (logging_in, receives(error(30015))),
    "no answer to the login": (logging_in, timeout(10.0)),
    "an acceptance": (busy, receives(reply("sent1"))),
    "a refusal": (busy, receives(refusal("sent1"))),
    "an unreadable code": (busy, receives(refusal("sent1", "x"))),
    "a late reply": (busy, receives(reply("late"))),
    "a reply to none": (busy, receives(reply("zzz"))),
    "a reply to one that waits": (busy, receives(reply("waits1"))),
    "noise": (busy, receives(b"\xff")),
    "an answer to a batch": (
        batch_out,
        receives(batch_reply(sent1="0", short="25204", sent2="25204")),
    ),
    "an answer to a part of a batch": (batch_out, receives(batch_reply(short="0", sent2="x"))),
    "a refusal of a batch": (batch_out, receives(batch_reply("25204"))),
    "the deadline of a batch": (batch_out, timeout(12.0)),
    "a pong": (silent, receives(PONG)),
    "too many requests": (busy, receives(error(30006))),
    "going away": (busy, receives(error(30033))),
    "thrown out": (busy, receives(error(30007))),
    "thrown out while closing": (closing, receives(error(30007))),
    "the last answers while closing": (
        closing,
        lambda world: [receives(reply(f"sent{n}"))(world) for n in (1, 2)],
    ),
    "the deadline of an answer": (busy, timeout(6.5)),
    "all deadlines": (busy, timeout(25.0)),
    "a silence": (busy, timeout(6.0)),
    "a silence without an answer": (silent, timeout(9.0)),
    "the heartbeat": (ready, timeout(30.0)),
    "the end of the wait for answers": (closing, timeout(9.0)),
    "the end of the wait for the queue": (emptying, timeout(24.0)),
    "a cancel": (busy, lambda world: world.cancel("new")),
    "an urgent cancel": (busy, lambda world: world.cancel("new", timeout=5.0, urgent=True)),
    "many cancels": (busy, lambda world: world.cancel_many("bgproto1", "bgproto2", "bgproto3")),
    "a withdrawal": (busy, lambda world: world.conn.withdraw("waits2", 4.0)),
    "a withdrawal of what was sent": (busy, lambda world: world.conn.withdraw("sent1", 4.0)),
    "a frame of one's own": (
        busy,
        lambda world: world.conn.send('{"op":"trade","args":[{"id":"x"}]}', 4.0),
    ),
    "close": (busy, lambda world: world.conn.close(4.0)),
    "close, what is queued first": (busy, lambda world: world.conn.close(4.0, queued="send")),
    "close once more": (closing, lambda world: world.conn.close(4.0)),
    "close before anything was opened": (opening, lambda world: world.conn.close(0.0)),
    "lost": (busy, lambda world: world.conn.lost(4.0, "reset")),
    "lost, with one unsent": (busy, lambda world: world.conn.lost(4.0, "reset", ["sent2"])),
    "lost, with a batch": (batch_out, lambda world: world.conn.lost(4.0, "reset")),
    "lost, with a batch unsent": (
        batch_out,
        lambda world: world.conn.lost(4.0, "reset", ["short"]),
    ),
    "lost while thrown out": (closing, lambda world: world.conn.lost(4.0, "reset", ["sent2"])),
    "poll for an event": (busy, World.poll),
    "poll for a cancel": (drained(busy, 0.5), World.poll),
    "poll for a batch": (batch_to_come, World.poll),
    "poll for the login": (opened, World.poll),
    "poll for a ping": (drained(busy, 2.5), the_ping),
    "poll for all, to the wait": (busy, World.drain),
    "poll for the last of the queue": (drained(emptying, 0.5), World.drain),
}


def prefix_of(first: list[Output], all: list[Output]) -> bool:
    return all[: len(first)] == first


def judge(world: World, lost: frozenset[str] = frozenset()) -> None:
    """Each cancel has exactly one outcome, and a true one. `lost`: ids named as unsent."""
    assert world.conn.state is State.CLOSED
    assert world.conn.poll(1e6) == Wait(until=None, timer=None)
    counted = Counter(outcome.id for outcome in world.outcomes())
    assert set(counted.values()) <= {1}, counted
    assert set(world.taken) <= set(counted) <= set(world.taken) | world.perhaps
    for outcome in world.outcomes():
        if isinstance(outcome, Unresolved) and outcome.id in world.handed_out:
            assert outcome.sent or outcome.id in lost, f"{outcome.id} was emitted"
        elif isinstance(outcome, Accepted | Rejected):
            assert outcome.id in world.handed_out
    assert sum(isinstance(output, Closed) for output in world.came) == 1


def ends_as_interrupted(world: World, pending: list[Output]) -> None:
    """Drain it: pending outputs, then one outcome for each cancel, the hangup, and Closed."""
    begin = len(world.came)
    world.drain()
    given = world.came[begin:]
    assert prefix_of(pending, given), "pending outputs come first"
    assert given[-3:] == [
        Hangup(code=1000, reason="interrupted", abort=True),
        Closed(why=WhyClosed.INTERRUPTED, detail=""),
        Wait(until=None, timer=None),
    ]
    assert not [output for output in given if isinstance(output, Transmit)]
    left = [output for output in given[len(pending) : -3] if isinstance(output, Unresolved)]
    assert all(
        output.resolved_at == world.conn._now
        for output in left
        if output.why is WhyUnresolved.INTERRUPTED
    )


def goes_on(world: World) -> None:
    """Its state was not torn: it works as before, and ends in another way."""
    world.drain()
    for id in ("sent1", "waits1", "new"):
        world.conn.receive(reply(id), world.now)
    world.drain()
    world.conn.handle_timeout(world.now + 1.0)
    world.now += 1.0
    world.drain()
    world.conn.lost(world.now)
    world.drain()


NEXT: dict[str, Callable[[World], object]] = {
    "poll": lambda world: None,
    "handle_timeout": lambda world: world.conn.handle_timeout(world.now),
    "receive": lambda world: world.conn.receive(reply("sent1"), world.now),
    "lost": lambda world: world.conn.lost(world.now),
    "close": lambda world: world.conn.close(world.now),
    "withdraw": lambda world: world.conn.withdraw("waits1", world.now),
}
REFUSED: dict[str, Callable[[World], object]] = {
    "cancel": lambda world: world.conn.cancel(ORDER, world.now),
    "cancel_many": lambda world: world.conn.cancel_many([ORDER], world.now),
    "send": lambda world: world.conn.send("x", world.now),
}
NEXTS = [*NEXT, *REFUSED]


def come_back(world: World, then: str) -> None:
    """The driver's next call, one of these."""
    if then in REFUSED:
        with pytest.raises(LocalProtocolError, match="is closed"):
            REFUSED[then](world)
    else:
        NEXT[then](world)


UNTORN = {
    # It looks at an output, removes it and returns it, with no call in between.
    "poll for an event",
    # A frame is added in one call into C, and has no outcome.
    "a frame of one's own",
}
"""Calls that leave the state consistent at every line."""


def tears(conn: Connection) -> bool:
    return conn._in_call and conn.state is not State.CLOSED


@pytest.mark.slow
@pytest.mark.parametrize("what", CALLS)
def test_an_interrupt_at_any_line_leaves_one_true_outcome_per_cancel(what: str) -> None:
    make, call = CALLS[what]
    torn = 0
    came_so_far = True
    for nth in count(1):
        world = make()
        pending = list(world.conn._outputs)
        came_so_far = interrupted(partial(call, world), nth)
        # What poll has returned since is no longer pending.
        pending = pending[sum(1 for output in world.came if output in pending) :]
        if tears(world.conn):
            torn += 1
            come_back(world, NEXTS[nth % len(NEXTS)])
            ends_as_interrupted(world, pending)
        else:
            assert set(world.conn._in_flight.sent) <= world.handed_out, "a frame was lost silently"
            assert not world.conn._frames.login_sent or world.login_handed_out
            goes_on(world)
        judge(world, unsent(what))
        if not came_so_far:
            break
    assert (torn > 0) is (what not in UNTORN)


@pytest.mark.slow
@pytest.mark.parametrize("what", [what for what in CALLS if what not in UNTORN])
def test_a_second_interrupt_during_recovery_changes_nothing(what: str) -> None:
    make, call = CALLS[what]
    world = make()
    places = lines(partial(call, world), partial(tears, world.conn))
    first = places[len(places) // 2]
    second = 0
    while True:
        second += 1
        world = make()
        assert interrupted(partial(call, world), first)
        pending = list(world.conn._outputs)
        again = partial(world.conn.handle_timeout, world.now)
        if not interrupted(again, second, within="_recover"):
            break
        if second % 2:
            interrupted(again, second // 2 + 1, within="_recover")
        ends_as_interrupted(
            world, [output for output in pending if not isinstance(output, Hangup | Closed)]
        )
        judge(world, unsent(what))
    assert second > 20


def unsent(what: str) -> frozenset[str]:
    """The cancels of the frame that this call of `lost` names as unsent."""
    if what == "lost, with a batch unsent":
        return frozenset({"sent1", "sent2", "short"})
    return frozenset({"sent2"} if what.startswith("lost") else ())


def test_an_interrupt_after_the_end_does_not_close_it_again() -> None:
    """An interrupt after the connection has ended, and before the call returns."""
    for nth in count(1):
        world = busy()
        if not interrupted(partial(world.conn.lost, 4.0, "reset"), nth):
            break
        if world.conn.state is State.CLOSED:
            world.drain()
            assert [output.why for output in world.came if isinstance(output, Closed)] == [
                WhyClosed.LOST
            ]
            judge(world)
            return
    raise AssertionError("no line behind the end was found")


def test_no_late_reply_is_reported_after_an_interrupt() -> None:
    world = busy()
    world.drain()
    for nth in count(1):
        assert interrupted(partial(world.conn.receive, reply("late"), 4.0), nth)
        if world.conn._in_call:
            break
    world.drain()
    world.conn.receive(reply("sent1"), 4.0)
    world.drain()
    assert not [output for output in world.came if isinstance(output, LateReply)]
    assert len([output for output in world.came if isinstance(output, Unrecognised)]) == 1, (
        "only the earlier noise"
    )


# --- signals ---


@contextmanager
def storm(random: Random, hits: list[int]) -> Generator[None]:
    """A timer whose signals raise while a connection's method runs, and only then."""
    core = {module.__file__ for module in PARTS}

    def handler(_: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename not in core:
            frame = frame.f_back
        if frame is not None:
            hits.append(frame.f_lineno)
            raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3), 3e-4)
    try:
        with uncollected():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def drive(world: World, random: Random, upto: int) -> None:
    """Random calls of a driver, which continues after interrupts."""
    numbers = count(1)
    while len(world.taken) < upto:
        world.now += random.choice((0.0, 0.01, 0.3))
        try:
            if world.conn.state is State.CLOSED:
                return
            match random.randrange(8):
                case 0 | 1 | 2:
                    world.cancel(f"c{next(numbers)}", timeout=random.choice((None, 1.0, inf)))
                case 3:
                    world.conn.handle_timeout(world.now)
                case 4 | 5:
                    if world.handed_out:
                        world.conn.receive(
                            reply(random.choice(sorted(world.handed_out))), world.now
                        )
                case 6:
                    if world.taken:
                        world.conn.withdraw(random.choice(world.taken), world.now)
                case _:
                    world.drain()
        except Interrupt:
            continue
        except LocalProtocolError:
            # Not through the property: a signal during it would be raised here.
            assert world.conn._state is State.CLOSED, (
                "an interrupted connection ends at the next call"
            )


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no interval timers")
def test_under_many_signals_each_cancel_has_one_true_outcome() -> None:
    random = Random(13)
    hits: list[int] = []
    ended: Counter[WhyClosed] = Counter()
    cancels = 0
    for _ in range(3000):
        world = ready()
        with storm(random, hits):
            drive(world, random, upto=400)
        if world.conn.state is not State.CLOSED:
            world.conn.lost(world.now)
        world.drain()
        judge(world)
        cancels += len(world.taken)
        ended.update(output.why for output in world.came if isinstance(output, Closed))
        if ended[WhyClosed.INTERRUPTED] >= 200:
            break
    assert ended[WhyClosed.INTERRUPTED] >= 50
    assert len(hits) >= ended[WhyClosed.INTERRUPTED]
    assert cancels > 200
    assert len(set(hits)) > 20, "at many lines"


def test_an_exception_of_the_caller_in_a_call_ends_the_connection() -> None:
    class Broken(Budget):
        __slots__ = ()

        def debit(self, n: int, now: float, *, batch: bool = False) -> None:
            raise ZeroDivisionError

    conn = Connection(budget=Broken())
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    outputs(conn, 0.0)
    conn.cancel(ORDER, 1.0, id="a")
    with pytest.raises(ZeroDivisionError):
        conn.poll(1.0)
    given, wait = drain(conn, 1.0)
    assert [type(output) for output in given] == [Unresolved, Hangup, Closed]
    assert isinstance(given[0], Unresolved)
    assert (given[0].id, given[0].sent, given[0].why) == ("a", False, WhyUnresolved.INTERRUPTED)
    assert wait == Wait(until=None, timer=None)
