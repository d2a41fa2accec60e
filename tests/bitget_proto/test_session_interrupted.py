"""An exception at any line of any call of a session: each cancel gets exactly one outcome.

Rules for changes
- A call is repeated from the same situation, and interrupted at its first line, its second, and so
  on, in the session and in all its parts. Then the session continues to its end, and the ledger is
  compared.
- Three lines of `Session.poll` are left out: those between the removal of an output and its return.
  They call nothing, and CPython runs a signal handler only at a call or at the start of a loop
  iteration.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Config,
    Dial,
    Dialect,
    Ended,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LocalProtocolError,
    Outcome,
    Policy,
    Rejected,
    RestCancel,
    Session,
    SessionConfig,
    SessionOutput,
    SessionState,
    Unresolved,
    Up,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)
from bitget_proto._machine import session as module

from .driving import LOGGED_IN, LOGIN, error, refusal, reply
from .interrupting import uncollected

PARTS = frozenset(
    str(Path(module.__file__).with_name(f"{name}.py"))
    for name in (
        "session", "cancel_attempts", "cancel_queue", "backoff", "order_spacing", "deadlines", "connection", "heartbeat",
        "rate_limit", "request_ids", "frame_queue", "in_flight", "links", "session_queue", "rest_attempts",
        "outcomes", "message_events", "session_outcomes", "cancel_sender",
        "link_outputs", "own_frames", "session_closer",
    )
)  # fmt: skip
_BEHIND_THE_REMOVAL = frozenset({"return given", "if output is not None:", "return output"})
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(20)]
GOING = error(30033)


class _Interrupt(BaseException):
    """What a handler raises."""


def _left_out(path: str) -> frozenset[int]:
    """Lines of `Session.poll` at which no handler can run."""
    code = Session.poll.__code__
    if path != code.co_filename:
        return frozenset()
    source = Path(path).read_text(encoding="utf-8").splitlines()
    numbers = {number for *_, number in code.co_lines() if number is not None}
    return frozenset(
        number for number in numbers if source[number - 1].strip() in _BEHIND_THE_REMOVAL
    )


LEFT_OUT = {path: _left_out(path) for path in PARTS}


def interrupted(call: Callable[[], object], line: int) -> bool:
    """Call it, and raise at the n-th line of the session's parts that is run; whether it came so far."""
    left = line

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        path = frame.f_code.co_filename
        if path not in PARTS:
            return None
        if event == "line" and frame.f_lineno not in LEFT_OUT[path]:
            left -= 1
            if left == 0:
                raise _Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except _Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


class World:
    """A driver that keeps account of what it was given, and an exchange that answers logins, and cancels when asked to."""

    def __init__(
        self,
        policy: Policy = Policy.RESEND,
        dialect: Dialect = Dialect.CLASSIC,
        **config: Any,
    ) -> None:
        self.session = Session(
            SessionConfig(
                policy=policy, lifetime=500.0, rotate_before=100.0, backoff_max=0.5, **config
            ),
            Codec(dialect=dialect),
            jitter=lambda: 0.0,
        )
        self.now = 0.0
        self.taken: set[str] = set()
        self.perhaps: set[str] = set()
        """What was asked for in a call that was interrupted."""
        self.frames: dict[str, list[int]] = {}
        """On which links each cancel was handed out, or in which REST requests (negative numbers).

        Those that were taken back are not in it.
        """
        self.taken_back: set[str] = set()
        self.acknowledged: set[str] = set()
        self.outcomes: dict[str, Outcome] = {}
        self.once: Counter[tuple[type, int | None]] = Counter()
        """Outputs that may come once for each link, or once at all."""
        self.ended: Ended | None = None
        self.serving = 0
        self.welcome = True
        """Whether dials are answered."""
        self.mute = False
        """Whether pings are not answered."""

    # --- out ---

    def drain(self, busy: Iterable[int] = ()) -> None:
        for _ in range(1000):
            output = self.session.poll(self.now, frozenset(busy))
            if isinstance(output, Wait):
                return
            self.given(output)
        raise AssertionError("poll never gives a Wait")

    def given(self, output: SessionOutput) -> None:
        assert self.ended is None, f"after the end: {output}"
        match output:
            case Dial(link=link) | LinkClosed(link=link) | LinkHangup(link=link):
                self.once[type(output), link] += 1
                if isinstance(output, Dial) and self.welcome:
                    self.session.opened(link, self.now, login=LOGIN)
            case LinkTransmit(link=link, secret=True):
                self.once[LinkTransmit, link] += 1
                self.session.receive(link, LOGGED_IN, self.now)
            case LinkTransmit(link=link, text="ping"):
                if not self.mute:
                    self.session.receive(link, "pong", self.now)
            case LinkTransmit(link=link, ids=ids) if ids:
                for id in ids:
                    assert id not in self.outcomes, "sent after its outcome"
                    assert link not in self.frames.setdefault(id, []), "sent twice on one link"
                    self.frames[id].append(link)
            case RestCancel(id=id, number=number):
                assert id not in self.outcomes, "sent after its outcome"
                self.frames.setdefault(id, []).append(-number)
            case Accepted() | Rejected() | Unresolved():
                assert output.id in self.taken | self.perhaps, output
                assert output.id not in self.outcomes, f"a second outcome: {output}"
                self.outcomes[output.id] = output
                self.judge(output)
            case Up(link=link):
                self.serving = link
            case Ended():
                self.ended = output
            case _:
                pass
        assert not self.once or max(self.once.values()) == 1, self.once.most_common(1)

    def judge(self, outcome: Outcome) -> None:
        left = bool(self.frames.get(outcome.id))
        match outcome:
            case Unresolved(sent=sent, why=why):
                assert sent or not left, f"it was handed out: {outcome}"
                # Of what an interrupted call took out and did not return, or was to take back, it knows no better.
                doubtful = why is WhyUnresolved.INTERRUPTED or outcome.id in self.taken_back
                assert sent == left or doubtful, outcome
            case Accepted():
                assert outcome.id in self.acknowledged
            case Rejected():
                assert left

    # --- in ---

    def cancel(self, id: str, order: int = 0, **how: Any) -> None:
        self.session.cancel(ORDERS[order], self.now, id=id, **how)
        self.taken.add(id)

    def at(self, now: float) -> World:
        self.now = now
        self.session.handle_timeout(now)
        self.drain()
        return self

    def finish(self) -> None:
        """Let the life go on for as long as anything is due, then close it, and hold it against the ledger."""
        self.drain()
        for number, seconds in enumerate(
            (0.5, 0.6, 2.0, 5.0, 10.0, 2.5, 11.0, 21.0, 31.0, 150.0, 400.0)
        ):
            self.at(self.now + seconds)
            if self.session.capacity:
                self.cancel(f"later {number}", 10)
                self.drain()
        if self.ended is None:
            self.cancel("after all", 19)
            self.drain()
            self.session.close(self.now)
            self.drain()
            self.session.close(self.now)
            self.drain()
        assert self.ended is not None
        assert self.session.state is SessionState.ENDED
        assert self.taken <= set(self.outcomes)
        assert self.session.in_flight == self.session.capacity == 0
        self.session.handle_timeout(self.now)
        assert self.session.poll(self.now) == Wait(until=None, timer=None)


def down() -> World:
    """Nothing dialled yet, two cancels wait."""
    world = World()
    world.cancel("a", 0)
    world.cancel("b", 1, urgent=True, timeout=5.0)
    return world


def dialling() -> World:
    world = down()
    world.welcome = False
    world.drain()
    return world


def logging_in() -> World:
    world = dialling()
    world.session.opened(1, 0.0, login=LOGIN)
    output = world.session.poll(0.0)
    assert isinstance(output, LinkTransmit)
    world.once[LinkTransmit, 1] += 1
    world.welcome = True
    world.drain()
    return world


def up() -> World:
    """A link serves. Three cancels are out, under each policy, and one waits for its place."""
    world = World(link=Config(messages_per_second=4))
    world.drain()
    world.cancel("a", 0)
    world.cancel("b", 1, policy=Policy.REPORT, timeout=30.0)
    world.cancel("c", 0)
    world.drain()
    world.cancel("d", 3)
    world.cancel("e", 4, urgent=True)
    world.drain()
    assert sorted(world.frames) == ["a", "b", "c"]
    return world


def batch_to_come() -> World:
    """A unified account. A link serves; three cancels, under each policy, wait for their place."""
    world = World(dialect=Dialect.UNIFIED, link=Config(messages_per_second=4))
    world.cancel("a", 0)
    world.cancel("b", 1, policy=Policy.REPORT, timeout=30.0)
    world.cancel("c", 2, timeout=0.5)
    output = world.session.poll(0.0)
    assert isinstance(output, Dial)
    world.session.opened(1, 0.0, login=LOGIN)
    assert isinstance(world.session.poll(0.0), LinkTransmit)
    world.session.receive(1, LOGGED_IN, 0.0)
    world.drain(busy={1})
    return world


def batch_out() -> World:
    """As `batch_to_come`; they are out in one batch, and one has timed out."""
    world = batch_to_come()
    world.drain()
    assert world.frames == {"a": [1], "b": [1], "c": [1]}
    return world.at(0.5)


def batch_reply(world: World, code: str, **items: str) -> None:
    """Answer the batch; `items` are the codes of its cancels."""
    args = [
        {"code": said, "msg": "text", "orderId": str("abc".index(id))} for id, said in items.items()
    ]
    world.acknowledged.update(id for id, said in items.items() if said == "0")
    event = "trade" if code == "0" else "error"
    answer = {"event": event, "id": "bgproto1", "code": code, "msg": "text", "args": args}
    world.session.receive(1, json.dumps(answer), 0.5)


def silent() -> World:
    """As `up`; the exchange says nothing, and was asked whether it is there."""
    world = up()
    world.mute = True
    return world.at(2.0)


def resent() -> World:
    """As `up`; then the link was lost, and what may be sent again is out on the second one."""
    world = up()
    world.session.lost(1, 0.25, "reset")
    world.now = 0.25
    world.drain()
    world.at(0.75).at(1.25)
    assert world.frames["a"] == [1, 2]
    return world


def moving() -> World:
    """As `up`; the exchange is going away, and the login of the successor is under way."""
    world = up()
    world.session.receive(1, GOING, 0.0)
    world.welcome = False
    world.drain()
    world.at(0.5)
    world.session.opened(2, 0.5, login=LOGIN)
    assert isinstance(world.session.poll(0.5), LinkTransmit)
    world.once[LinkTransmit, 2] += 1
    world.welcome = True
    world.drain()
    return world


def moved() -> World:
    """As `moving`; the second link serves, and the first one drains."""
    world = moving()
    world.session.receive(2, LOGGED_IN, 0.5)
    world.drain()
    assert world.serving == 2
    return world


def lost_while_one_drains() -> World:
    """As `moved`; the second link was lost too, and a third one is not dialled yet."""
    world = moved()
    world.welcome = False
    world.session.lost(2, 0.6)
    world.now = 0.6
    world.drain()
    return world


def closing() -> World:
    """As `moved`; `close` was called, and two links are waited for."""
    world = moved()
    world.session.close(0.5)
    world.drain()
    assert world.session.state is SessionState.CLOSING
    return world


def emptying() -> World:
    """As `up`; `close` was called, and what is queued is still sent."""
    world = up()
    world.session.send("{}", 0.0)
    world.session.close(0.0, queued="send")
    world.drain()
    return world


def with_a_last_frame() -> World:
    """All is answered, `close` was called, and a frame of the caller's own waits for its place."""
    world = up()
    world.at(0.1)
    world.session.send("{}", 0.1)
    for id in ("a", "b", "c"):
        answer(world, 1, id, 0.2)
    for id in ("d", "e"):
        withdraw(world, id)
    world.session.close(0.2, queued="send")
    world.now = 0.2
    world.drain()
    return world


def waiting_to_return() -> World:
    """As `up`; the link was lost, and what is to be sent again waits for its second."""
    world = up()
    world.session.lost(1, 0.25, "reset")
    world.now = 0.25
    world.drain()
    return world.at(0.8)


def by_rest() -> World:
    """No link serves. Two cancels are out by REST, and one waits for its place."""
    world = World(link=Config(messages_per_second=2), rest_after=2.0)
    world.welcome = False
    world.cancel("a", 0)
    world.cancel("b", 1, policy=Policy.REPORT, timeout=30.0)
    world.cancel("c", 2)
    world.drain()
    world.at(2.0)
    assert world.frames == {"a": [-1], "b": [-2]}
    return world


def by_rest_too_late() -> World:
    """As `by_rest`; their time has passed."""
    world = by_rest().at(12.0)
    assert sorted(world.outcomes) == ["a", "b", "c"]
    return world


def by_rest_while_closing() -> World:
    """As `by_rest`; `close` was called."""
    world = by_rest()
    world.session.close(2.0)
    world.drain()
    assert world.session.state is SessionState.CLOSING
    return world


def rest_reply(world: World, number: int, status: int, code: str) -> None:
    if code == "00000":
        world.acknowledged.add("ab"[number - 1])
    world.session.rest_replied(number, (status, json.dumps({"code": code})), world.now)


def rest_not_taken(world: World, number: int, status: int | None) -> None:
    world.taken_back.add("ab"[number - 1])
    world.frames["ab"[number - 1]].remove(-number)
    if status is None:
        world.session.rest_failed(number, "refused", world.now, unsent=True)
    else:
        world.session.rest_replied(number, (status, ""), world.now)


def answer(world: World, link: int, id: str, now: float) -> None:
    world.acknowledged.add(id)
    world.session.receive(link, reply(id), now)


def take(world: World, call: Callable[[], object], *ids: str) -> None:
    world.perhaps.update(ids)
    call()
    world.taken.update(ids)


def take_many(world: World) -> None:
    # The session makes the ids itself: here they are known.
    take(
        world,
        lambda: world.session.cancel_many(ORDERS[5:8], 0.0),
        "bgproto1",
        "bgproto2",
        "bgproto3",
    )


def withdraw(world: World, id: str) -> None:
    assert world.session.withdraw(id, world.now)


def give_back(world: World, link: int, now: float, *unsent: str) -> None:
    for id in unsent:
        world.taken_back.add(id)
        world.frames[id].remove(link)
    world.session.lost(link, now, "reset", unsent)


def drain_at(now: float) -> Callable[[World], None]:
    def drain(world: World) -> None:
        world.now = now
        output: SessionOutput | None = None
        while not isinstance(output, Wait):
            # What was returned is not lost by what comes after it.
            output = world.session.poll(now)
            if not isinstance(output, Wait):
                GIVEN.append(output)

    return drain


GIVEN: list[SessionOutput] = []
"""What `drain_at` was given."""

CALLS: dict[str, tuple[Callable[[], World], Callable[[World], object]]] = {
    "opened": (dialling, lambda world: world.session.opened(1, 0.0, login=LOGIN)),
    "receive the login's answer": (logging_in, lambda world: world.session.receive(1, LOGGED_IN, 0.0)),
    "receive the login's refusal": (logging_in, lambda world: world.session.receive(1, error(30012), 0.0)),
    "receive a refusal that passes": (logging_in, lambda world: world.session.receive(1, error(45001), 0.0)),
    "receive an answer": (up, lambda world: answer(world, 1, "a", 0.1)),
    "receive a refusal": (up, lambda world: world.session.receive(1, refusal("b"), 0.1)),
    "receive an answer to a batch": (
        batch_out, lambda world: batch_reply(world, "0", a="0", b="25204", c="0"),
    ),
    "receive an answer to a part of a batch": (batch_out, lambda world: batch_reply(world, "0", b="0")),
    "receive a refusal of a batch": (batch_out, lambda world: batch_reply(world, "25204")),
    "lost with a batch": (batch_out, lambda world: give_back(world, 1, 0.5)),
    "lost with a batch that never left": (batch_out, lambda world: give_back(world, 1, 0.5, "a", "b", "c")),
    "poll that sends a batch": (batch_to_come, drain_at(0.0)),
    "receive an answer to the second attempt": (resent, lambda world: answer(world, 2, "a", 1.3)),
    "receive a refusal of the second attempt": (resent, lambda world: world.session.receive(2, refusal("a"), 1.3)),
    "receive 30033": (up, lambda world: world.session.receive(1, GOING, 0.1)),
    "receive 30007": (up, lambda world: world.session.receive(1, error(30007), 0.1)),
    "receive the answer to the successor's login": (moving, lambda world: world.session.receive(2, LOGGED_IN, 0.5)),
    "receive the refusal of the successor": (moving, lambda world: world.session.receive(2, error(30012), 0.5)),
    "receive the last answer to a link that drains": (moved, lambda world: answer(world, 1, "a", 0.6)),
    "receive an answer while closing": (closing, lambda world: answer(world, 1, "a", 0.6)),
    "receive an answer while emptying": (emptying, lambda world: answer(world, 1, "a", 0.6)),
    "lost": (up, lambda world: give_back(world, 1, 0.1)),
    "lost with what never left": (up, lambda world: give_back(world, 1, 0.1, "a", "b")),
    "lost after a second attempt": (resent, lambda world: give_back(world, 2, 1.3)),
    "lost while dialling": (dialling, lambda world: world.session.lost(1, 0.1, "refused", retry_after=3.0)),
    "lost while moving": (moving, lambda world: give_back(world, 1, 0.6)),
    "lost a link that drains": (moved, lambda world: give_back(world, 1, 0.6)),
    "lost while closing": (closing, lambda world: give_back(world, 1, 0.6)),
    "cancel": (up, lambda world: take(world, lambda: world.session.cancel(ORDERS[5], 0.0, id="f"), "f")),
    "cancel without an id": (
        up, lambda world: take(world, lambda: world.session.cancel(ORDERS[5], 0.0, urgent=True), "bgproto1"),
    ),
    "cancel_many": (up, take_many),
    "withdraw": (up, lambda world: withdraw(world, "d")),
    "withdraw while down": (down, lambda world: withdraw(world, "a")),
    "send": (up, lambda world: world.session.send('{"op":"trade","args":[{"id":"own"}]}', 0.0)),
    "close": (up, lambda world: world.session.close(0.0)),
    "close before anything was dialled": (down, lambda world: world.session.close(0.0)),
    "close while dialling": (dialling, lambda world: world.session.close(0.0)),
    "close while two links are alive": (moved, lambda world: world.session.close(0.5)),
    "close, what is queued first": (up, lambda world: world.session.close(0.0, queued="send", within=3.0)),
    "close once more": (closing, lambda world: world.session.close(0.6)),
    "close while emptying": (emptying, lambda world: world.session.close(0.6)),
    "handle_timeout of the queue": (down, lambda world: world.session.handle_timeout(6.0)),
    "handle_timeout without a link": (dialling, lambda world: world.session.handle_timeout(11.0)),
    "handle_timeout of a dial": (dialling, lambda world: world.session.handle_timeout(20.0)),
    "handle_timeout of a login": (logging_in, lambda world: world.session.handle_timeout(10.0)),
    "handle_timeout of a link's age": (
        lambda: World(link=Config(ping_interval=None)).at(0.0), lambda world: world.session.handle_timeout(400.0),
    ),
    "handle_timeout of the silence": (
        silent, lambda world: world.session.handle_timeout(5.0),
    ),
    "handle_timeout of the answers": (
        lambda: up().at(9.0), lambda world: world.session.handle_timeout(10.0),
    ),
    "handle_timeout while emptying": (emptying, lambda world: world.session.handle_timeout(150.0)),
    "handle_timeout while closing": (closing, lambda world: world.session.handle_timeout(5.5)),
    "rest_replied": (by_rest, lambda world: rest_reply(world, 1, 200, "00000")),
    "rest_replied with a refusal": (by_rest, lambda world: rest_reply(world, 2, 400, "43001")),
    "rest_replied with a refused signature": (by_rest, lambda world: rest_reply(world, 2, 400, "40009")),
    "rest_replied with 429": (by_rest, lambda world: rest_not_taken(world, 1, 429)),
    "rest_replied too late": (by_rest_too_late, lambda world: world.session.rest_replied(1, (200, ""), 12.0)),
    "rest_replied while closing": (by_rest_while_closing, lambda world: rest_reply(world, 1, 200, "00000")),
    "rest_failed": (by_rest, lambda world: world.session.rest_failed(1, "reset", 2.0)),
    "rest_failed, unsent": (by_rest, lambda world: rest_not_taken(world, 2, None)),
    "rest_failed, unsent, while closing": (by_rest_while_closing, lambda world: rest_not_taken(world, 2, None)),
    "close while REST is out": (by_rest, lambda world: world.session.close(2.0)),
    "close once more while REST is out": (by_rest_while_closing, lambda world: world.session.close(2.0)),
    "handle_timeout of REST": (by_rest, lambda world: world.session.handle_timeout(12.0)),
    "handle_timeout of REST while closing": (by_rest_while_closing, lambda world: world.session.handle_timeout(7.0)),
    "poll that sends by REST": (by_rest, drain_at(3.06)),
    "poll that dials": (down, drain_at(0.0)),
    "poll that hands over": (up, drain_at(1.05)),
    "poll that sends again": (waiting_to_return, drain_at(1.8)),
    "poll of two links": (moved, drain_at(1.55)),
    "poll of two links that were lost": (lost_while_one_drains, drain_at(1.2)),
    "poll of a last frame": (with_a_last_frame, drain_at(1.3)),
    "poll while emptying": (emptying, drain_at(1.05)),
}  # fmt: skip


def carry_on(world: World, *, torn: bool) -> bool:
    """What comes after a call, interrupted or not; whether the session has ended for it."""
    for output in GIVEN:
        world.given(output)
    GIVEN.clear()
    over_before = world.session.state is SessionState.ENDED
    world.session.handle_timeout(world.now)
    at_once = not over_before and world.session.state is SessionState.ENDED
    world.finish()
    assert world.ended is not None
    ended = world.ended.why is WhyEnded.INTERRUPTED
    assert not ended or (torn and (at_once or over_before)), "not at the next call"
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_after_an_interruption_at_any_line_each_cancel_has_one_outcome(name: str) -> None:
    begin, call = CALLS[name]
    noticed, line, came_so_far = 0, 0, True
    while came_so_far:
        line += 1
        world = begin()
        came_so_far = interrupted(partial(call, world), line)
        try:
            noticed += carry_on(world, torn=came_so_far)
        except Exception as found:
            raise AssertionError(f"interrupted at line {line} that it ran") from found
    assert line > 10
    if name != "send":
        assert noticed > 3, "an interruption ends it"


NEXT: dict[str, Callable[[World], object]] = {
    "poll": lambda world: GIVEN.append(world.session.poll(world.now)),
    "handle_timeout": lambda world: world.session.handle_timeout(world.now),
    "receive": lambda world: world.session.receive(1, LOGGED_IN, world.now),
    "lost": lambda world: world.session.lost(1, world.now),
    "close": lambda world: world.session.close(world.now),
    "withdraw": lambda world: world.session.withdraw("a", world.now),
}


@pytest.mark.slow
@pytest.mark.parametrize("after", NEXT)
@pytest.mark.parametrize(
    "name",
    [
        "lost after a second attempt",
        "receive the answer to the successor's login",
        "close while two links are alive",
    ],
)
def test_after_an_interrupted_recovery_each_cancel_has_one_outcome(name: str, after: str) -> None:
    begin, call = CALLS[name]
    noticed, first, came_so_far = 0, 0, True
    while came_so_far:
        first += 89
        second, came_again = 0, True
        while came_again:
            second += 1
            world = begin()
            came_so_far = interrupted(partial(call, world), first)
            came_again = interrupted(partial(NEXT[after], world), second)
            GIVEN[:] = [output for output in GIVEN if not isinstance(output, Wait)]
            try:
                noticed += carry_on(world, torn=came_so_far or came_again)
            except Exception as found:
                raise AssertionError(
                    f"interrupted at line {first}, then at line {second}"
                ) from found
    assert noticed > 20


@pytest.mark.parametrize("again", ["cancel", "cancel_many", "send"])
def test_a_command_after_an_interruption_is_refused(again: str) -> None:
    world = up()
    assert interrupted(lambda: world.session.lost(1, 0.1), 100)
    commands: dict[str, Callable[[], object]] = {
        "cancel": lambda: world.session.cancel(ORDERS[5], 0.1),
        "cancel_many": lambda: world.session.cancel_many(ORDERS[5:7], 0.1),
        "send": lambda: world.session.send("{}", 0.1),
    }
    with pytest.raises(LocalProtocolError, match=r"^the session has ended and takes no more "):
        commands[again]()
    world.finish()
    assert {outcome.id for outcome in world.outcomes.values()} == {"a", "b", "c", "d", "e"}


def test_the_end_after_an_interruption_has_one_order() -> None:
    world = moved()
    answer(world, 1, "a", 0.5)
    assert interrupted(lambda: world.session.lost(2, 0.6), 60)
    outputs: list[SessionOutput] = []
    while not isinstance(output := world.session.poll(0.7), Wait):
        outputs.append(output)
    assert [type(output) for output in outputs] == [
        Accepted, *[Unresolved] * 4, LinkHangup, LinkClosed, LinkHangup, LinkClosed, Ended,
    ]  # fmt: skip
    assert [output.id for output in outputs if isinstance(output, Unresolved)] == [
        "b",
        "c",
        "d",
        "e",
    ], "as taken"
    assert {
        (output.why, output.resolved_at) for output in outputs if isinstance(output, Unresolved)
    } == {(WhyUnresolved.INTERRUPTED, 0.6)}
    why = WhyClosed.INTERRUPTED
    assert outputs[5:9] == [
        LinkHangup(code=1000, reason="interrupted", abort=True, link=1),
        LinkClosed(link=1, why=why, detail=""),
        LinkHangup(code=1000, reason="interrupted", abort=True, link=2),
        LinkClosed(link=2, why=why, detail=""),
    ]
    assert outputs[-1] == Ended(why=WhyEnded.INTERRUPTED, detail="", code=None)
    assert not world.session.in_flight


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_after_many_real_signals_each_cancel_has_one_outcome() -> None:
    noticed = 0
    armed = False

    def handler(_: int, __: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise _Interrupt

    def shot_at(call: Callable[[World], object], world: World, after: float) -> bool:
        nonlocal armed
        try:
            armed = True
            with uncollected():
                signal.setitimer(signal.ITIMER_REAL, after)
                call(world)
                armed = False
        except _Interrupt:
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        return False

    before = signal.signal(signal.SIGALRM, handler)
    try:
        end = monotonic() + 2.0
        tries = 0
        while monotonic() < end and noticed < 200:
            for name, (begin, call) in CALLS.items():
                if name.startswith("poll"):
                    # What `poll` has returned is the caller's, and here the handler may raise in the caller too.
                    continue
                tries += 1
                world = begin()
                torn = shot_at(call, world, 1e-6 * (1 + tries % 97))
                noticed += carry_on(world, torn=torn)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert noticed > 10
