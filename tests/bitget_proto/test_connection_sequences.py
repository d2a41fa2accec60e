"""Random sequences of inputs to a `Connection`, checked against a ledger.

Rules for changes
- The ledger records what was put in and what came out: cancels taken, sent and answered. It knows
  what the library promises, not how it works. It reads one private store, the outputs that were not
  returned yet, so that each is judged when it is decided.
- A run is a string of bytes, three for each step: what to do, with what, and when. It plays one
  connection after the other, from NEW and from READY in turn. Times fall exactly on a deadline as
  often as just beside one.
- States, transitions, timers and outcomes are counted, and a run fails if one was never reached.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from enum import Enum
from functools import partial
from math import inf, nextafter
from random import Random

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Closed,
    Config,
    Connection,
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LocalProtocolError,
    LoginRejected,
    Outcome,
    Output,
    Queued,
    Ready,
    Rejected,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto._values.states import TRANSITIONS, Step

from .driving import LOGIN, PONG, error, snapshot
from .interrupting import interrupted

CONFIG = Config(
    login_timeout=8.0,
    ping_interval=5.0,
    pong_timeout=2.5,
    answer_timeout=4.0,
    queue_timeout=6.0,
    silence=1.5,
    silence_pong=1.0,
    drain_timeout=1.5,
    messages_per_second=4,
    pace_margin=0.125,
    max_in_flight=6,
    max_own_frames=2,
    late_ids=2,
)
ALLOWANCE = 3
WINDOW = 1.125
NOISY = Random(1).randbytes(1000)
"""Laid over each tape: what is drawn holds many equal bytes, and most of what is to be done would never be done."""


class Kind(Enum):
    """What a reply makes of a cancel that was handed out."""

    ACCEPTED = Accepted
    REJECTED = Rejected
    UNSURE = Unresolved


REPLIES: list[tuple[str, object, Kind]] = [
    ("trade", 0, Kind.ACCEPTED),
    ("trade", "00", Kind.ACCEPTED),
    ("error", 43001, Kind.REJECTED),
    ("trade", "43001", Kind.REJECTED),
    ("error", 30004, Kind.REJECTED),
    ("error", 30006, Kind.REJECTED),
    ("error", 99999, Kind.UNSURE),
    ("error", 0, Kind.UNSURE),
    ("trade", None, Kind.UNSURE),
    ("error", 1.5, Kind.UNSURE),
    ("error", 40010, Kind.UNSURE),
]
ARGS = [
    '[{{"id":{id}}}]',
    '{{"id":{id}}}',
    '[{{"id":{id}}},{{"id":"2"}}]',
    "[]",
    '[{{"id":[{id}]}}]',
    "[{{}}]",
    "{id}",
    '[{{"id":{id},"channel":"place-order"}}]',
]
"""Of these the first two name one request by a string."""
NOISE: list[str | bytes] = [
    "", "x", "[1]", "{", b"\xff", "[" * 5000, '{"event":"trade","code":0}', '{"event":"subscribe"}', "ping", "null",
    '{"event":"login"}', '{"event":"trade","arg":[{"id":1}],"code":0}', '{"event":"error","arg":[[]],"code":30004}',
]  # fmt: skip
TIMEOUTS: list[float | None] = [None, None, None, 1.0, 2.0, 0.25, inf, 8.0, 6.0, 0.0, 1e-9]
IDS = [None, None, None, None, "1", "2", "bgproto3", "a", "b", "", "x\n"]
OWN = [
    "own",
    "own",
    '{"op":"trade","id":"a"}',
    '{"op":"trade","args":[{"id":"1"},{"id":"bgproto2"}]}',
    "",
    "\udc00",
]
OWN_IDS: dict[str, tuple[str, ...]] = {OWN[2]: ("a",), OWN[3]: ("1", "bgproto2")}
ERRORS: list[object] = [
    30006,
    30006,
    30033,
    30033,
    43001,
    429,
    40010,
    43001,
    0,
    None,
    99999,
    40808,
    30015,
    30004,
    30007,
]


@attrs.define(eq=False)
class Entry:
    """A cancel that was taken."""

    order: CancelOrder
    taken_at: float
    until: float
    urgent: bool = False
    sent_at: float | None = None
    outcome: Outcome | None = None

    @property
    def deadline(self) -> float:
        return min(self.taken_at + 6.0 if self.sent_at is None else self.sent_at + 4.0, self.until)


class Play:
    """One run: a connection, and the ledger beside it."""

    def __init__(self, seen: Counter[object], tape: bytes, *, from_ready: bool) -> None:
        self.seen = seen
        self.budget = Budget(ALLOWANCE, 0.125) if tape[0] % 2 else None
        self.conn = Connection(CONFIG, budget=self.budget)
        self.now = self.latest_counted = 0.0
        self.entries: OrderedDict[str, list[Entry]] = OrderedDict()
        self.open: OrderedDict[str, Entry] = OrderedDict()
        self.late: OrderedDict[str, Entry] = OrderedDict()
        self.judged: list[Output] = []
        self.taken_out: list[Output] = []
        self.frames: list[float] = []
        self.cancel_frames: list[float] = []
        self.own: deque[str] = deque()
        self.own_ids: set[str] = set()
        self.cancels_in_a_row = 0
        self.closing = False
        self.cause: WhyClosed | None = None
        """What the exchange has announced as the reason of the end."""
        self.heard_at = -inf
        self.paused_until = -inf
        self.login_sent = False
        self.orders = 0
        self.wait = Wait(until=None, timer=None)
        self.visit()
        self.drain(writable=True)
        if from_ready:
            self.do_opened(0, 0.0)
            self.drain(writable=True)
            self.do_login(0, 0.0)
            assert self.conn.state is State.READY

    # --- what was decided ---

    def visit(self) -> None:
        self.seen[self.conn.state] += 1

    def decided(self) -> list[Output]:
        """The outputs that have been added since the last look."""
        stored = [*self.taken_out, *self.conn._outputs]
        assert stored[: len(self.judged)] == self.judged
        new = stored[len(self.judged) :]
        self.judged = stored
        return new

    def settle(self, outcome: Outcome, sent: bool) -> None:
        entry = self.open.pop(outcome.id, None)
        assert entry is not None, f"an outcome for {outcome.id}, which is not open"
        assert entry.outcome is None
        entry.outcome = outcome
        assert outcome.order is entry.order
        assert outcome.attempts == 1
        assert (outcome.taken_at, outcome.resolved_at) == (entry.taken_at, self.now)
        if isinstance(outcome, Unresolved):
            assert outcome.sent == sent
            assert outcome.sent_at == (entry.sent_at if sent else None)
            self.seen[outcome.why] += 1
            self.seen["sent" if sent else "unsent", outcome.why] += 1
            if sent:
                self.late[outcome.id] = entry
                while len(self.late) > 2:
                    self.late.popitem(last=False)
        else:
            assert sent, "an answer for a cancel that never left"
            assert outcome.sent_at == entry.sent_at
        self.seen[type(outcome)] += 1

    def judge(
        self,
        before: State,
        *,
        reply: tuple[str, Kind] | None = None,
        fires: bool = False,
        unsent: tuple[str, ...] = (),
        withdrawn: str | None = None,
        gone: bool = False,
        torn: bool = False,
    ) -> list[Output]:
        """Look at what an input has decided: `reply` is what it said of which id, `fires` whether it may fire timers, `gone`
        whether the transport is, `torn` whether it was interrupted before.
        """
        new = self.decided()
        ends = [output for output in new if isinstance(output, Closed)]
        assert len(ends) <= 1
        order_taken = list(self.open)
        at_the_end: list[str] = []
        answered = False
        for output in new:
            assert not isinstance(output, Transmit | Wait)
            if isinstance(output, Unresolved):
                entry = self.open.get(output.id)
                assert entry is not None, f"an outcome for {output.id}, which is not open"
                sent = entry.sent_at is not None and output.id not in unsent
                match output.why:
                    case WhyUnresolved.TIMEOUT:
                        assert fires
                        assert entry.deadline <= self.now
                    case WhyUnresolved.UNSURE:
                        assert reply == (output.id, Kind.UNSURE)
                        answered = True
                    case WhyUnresolved.WITHDRAWN:
                        assert output.id == withdrawn
                        assert not sent
                    case WhyUnresolved.INTERRUPTED:
                        assert torn
                        at_the_end.append(output.id)
                    case WhyUnresolved.NO_LINK:
                        raise AssertionError
                    case WhyUnresolved.LOST | WhyUnresolved.CLOSED if torn:
                        pass
                    case WhyUnresolved.LOST:
                        assert [end.why in (WhyClosed.LOST, WhyClosed.NO_PONG) for end in ends] == [
                            True
                        ]
                        at_the_end.append(output.id)
                    case WhyUnresolved.CLOSED:
                        # At the end of the wait for the queue what waits is dropped. In the same call it may end otherwise.
                        dropped = fires and self.closing and not sent
                        if ends:
                            assert dropped or ends[0].why not in (WhyClosed.LOST, WhyClosed.NO_PONG)
                        else:
                            assert not sent
                            assert (before, self.conn.state) == (State.READY, State.DRAINING)
                        if not dropped:
                            at_the_end.append(output.id)
                self.settle(output, sent)
            elif isinstance(output, Accepted | Rejected):
                assert reply == (output.id, Kind(type(output)))
                answered = True
                self.settle(output, self.open[output.id].sent_at is not None)
            elif isinstance(output, LateReply):
                assert reply is not None
                assert output.id == reply[0]
                assert self.late.pop(output.id).order is output.order
                answered = True
            elif isinstance(output, Ready):
                assert (before, self.conn.state, self.login_sent) == (
                    State.AUTHENTICATING,
                    State.READY,
                    True,
                )
            elif isinstance(output, LoginRejected):
                assert before is State.AUTHENTICATING
                assert self.login_sent
        if reply is not None and self.open.get(reply[0]) is not None:
            assert self.open[reply[0]].sent_at is None or answered, (
                "a reply for a cancel in flight settled nothing"
            )
        assert at_the_end == [id for id in order_taken if id in at_the_end], (
            "not in the order taken"
        )
        self.moved(before, ends)
        if ends:
            assert not self.open
            self.late.clear()
            assert new[-1] is ends[0]
            hangups = [output for output in new if isinstance(output, Hangup)]
            assert hangups == ([] if gone else [new[-2]])
            aborts = ends[0].why in (WhyClosed.NO_PONG, WhyClosed.INTERRUPTED)
            assert all(hangup.abort is aborts for hangup in hangups)
            assert (ends[0].why is WhyClosed.INTERRUPTED) is torn
            assert self.cause is None or ends[0].why in (self.cause, WhyClosed.INTERRUPTED)
            if at_the_end:
                last = new[: -1 - len(hangups)][-len(at_the_end) :]
                assert [getattr(output, "id", None) for output in last] == at_the_end
        assert self.conn.in_flight == len(self.open)
        assert self.closing or self.conn.state is not State.DRAINING
        closing = self.closing or self.conn.state in (State.DRAINING, State.CLOSED)
        assert self.conn.capacity == (0 if closing else 6 - len(self.open))
        return new

    def moved(self, before: State, ends: list[Closed]) -> None:
        after = self.conn.state
        self.visit()
        assert (after is State.CLOSED and before is not State.CLOSED) == bool(ends)
        if before is after:
            return
        steps = {
            State.AUTHENTICATING: Step.OPENED,
            State.READY: Step.LOGGED_IN,
            State.DRAINING: Step.CLOSING,
        }
        cause = ends[0].why if ends else steps[after]
        assert TRANSITIONS[before][cause] is after
        self.seen[before, cause] += 1

    # --- the way out ---

    def poll(self, writable: bool) -> Output:
        before = self.conn.state
        stored = len(self.conn._outputs)
        output = self.conn.poll(self.now, writable)
        if isinstance(output, Wait):
            assert stored == 0
            assert self.conn.state is before
            self.check_wait(output, writable)
        elif isinstance(output, Transmit):
            assert writable
            assert stored == 0
            self.check_frame(output, before)
            if self.conn.state is not before:
                assert self.closing
                assert not self.own
                self.judge(before)
                self.seen["ended with its last own frame"] += 1
        else:
            assert len(self.conn._outputs) == stored - 1
            self.taken_out.append(output)
        return output

    def check_frame(self, frame: Transmit, state: State) -> None:
        now = self.now
        assert state in (State.AUTHENTICATING, State.READY, State.DRAINING)
        assert now >= self.paused_until
        assert len(self.frames) < 4 or self.frames[-4] + WINDOW <= now, "more than 4 in a window"
        self.frames.append(now)
        if frame.ids:
            (id,) = frame.ids
            assert state is State.READY
            assert self.may_leave()[:1] == [id], "not the first that may leave"
            assert not (self.own and self.cancels_in_a_row >= 9), (
                "an own frame waits behind ten cancels"
            )
            self.cancels_in_a_row += 1
            (arg,) = json.loads(frame.text)["args"]
            entry = self.open[id]
            assert (arg["id"], arg["params"]["orderId"]) == (id, entry.order.order_id)
            entry.sent_at = now
            self.cancel_frames.append(now)
            if self.budget is not None and len(self.cancel_frames) > ALLOWANCE:
                assert self.cancel_frames[-1 - ALLOWANCE] + WINDOW <= now, "more than the allowance"
        elif frame.secret:
            assert state is State.AUTHENTICATING
            assert not self.login_sent
            self.login_sent = True
        elif frame.text == "ping":
            self.seen["ping"] += 1
        else:
            assert state is State.READY
            assert frame.text == self.own.popleft()
            assert self.cancels_in_a_row >= 9 or self.budget is not None or not self.may_leave()
            self.cancels_in_a_row = 0
            self.seen["own frame"] += 1

    def may_leave(self) -> list[str]:
        """The cancels that may leave, the next one first."""
        waiting = [
            (not entry.urgent, place, id)
            for place, (id, entry) in enumerate(self.open.items())
            if entry.sent_at is None and self.now < entry.deadline
        ]
        return [id for _, _, id in sorted(waiting)]

    def check_wait(self, wait: Wait, writable: bool) -> None:
        self.wait = wait
        assert (wait.until is None) == (wait.timer is None)
        deadlines = [entry.deadline for entry in self.open.values() if entry.deadline < inf]
        if deadlines:
            assert wait.until is not None, "a deadline is slept over"
            assert wait.until <= min(deadlines), "a deadline is slept over"
        sent = [entry.sent_at for entry in self.open.values() if entry.sent_at is not None]
        if sent and writable and self.cause is None:
            assert wait.until is not None
            silent = max(min(sent), self.heard_at) + 1.5
            assert wait.until <= max(silent, self.now + 1.0), "a silence is slept over"
        if wait.timer is not None:
            self.seen[wait.timer] += 1
        if wait.timer is Timer.PACING:
            assert writable
            assert wait.until is not None
            assert wait.until > self.now, "PACING is announced for now, and nothing left"
        if self.conn.state is State.CLOSED:
            assert wait == Wait(until=None, timer=None)

    def drain(self, writable: bool) -> None:
        for _ in range(500):
            if isinstance(self.poll(writable), Wait):
                return
        raise AssertionError("poll never gives a Wait")

    # --- the steps ---

    def step(self, what: int, how: int, when: int) -> None:
        passed = self.move_clock(when)
        acts = self.WEIGHTED
        act = acts[what % len(acts)]
        act(self, how, passed)

    def move_clock(self, when: int) -> float:
        """The time to pass; what counts is never before the latest."""
        marks = [entry.deadline for entry in self.open.values() if entry.deadline < inf]
        if self.wait.until is not None:
            marks.append(self.wait.until)
        mark = marks[(when >> 4) % len(marks)] if marks else self.now + 0.5
        now = (
            *[self.now] * 6,
            *[mark] * 2,
            nextafter(mark, -inf),
            nextafter(mark, inf),
            nextafter(self.now, inf),
            self.now + 0.125,
            self.now + 0.25,
            self.now + 1.0,
            self.now + 1.0 / 3.0,
            self.now - 1.0,
        )[when & 15]
        if now > self.now + 3.0:
            now = self.now + 0.5  # not yet: a connection that lives for a while gets somewhere
        self.latest_counted = self.now
        self.now = max(self.now, now)
        return now

    def not_counted(self) -> None:
        """The call was refused, or not made: its time counts for nothing."""
        self.now = self.latest_counted

    def do_drain(self, how: int, passed: float) -> None:
        self.drain(how % 4 != 0)

    def do_poll(self, how: int, passed: float) -> None:
        self.poll(how % 4 != 0)

    def do_handle_timeout(self, how: int, passed: float) -> None:
        before, due = self.conn.state, self.wait
        self.conn.handle_timeout(passed)
        new = self.judge(before, fires=True)
        for output in new:
            if isinstance(output, Closed):
                self.seen["fired", output.why] += 1
                if output.why is WhyClosed.ASKED and any(
                    isinstance(other, Unresolved) and other.why is WhyUnresolved.CLOSED
                    for other in new
                ):
                    self.seen["fired", Timer.DRAIN] += 1
        assert due is self.wait
        assert all(entry.deadline > self.now for entry in self.open.values()), (
            "a deadline passed and nothing was said"
        )

    def do_opened(self, how: int, passed: float) -> None:
        before = self.conn.state
        state = snapshot(self.conn)
        try:
            self.conn.opened(passed, login=LOGIN)
            self.heard_at = self.now
        except LocalProtocolError:
            assert before is not State.NEW
            assert snapshot(self.conn) == state
            self.not_counted()
        self.judge(before)

    def do_cancel(self, how: int, passed: float) -> None:
        before = self.conn.state
        id, timeout = IDS[how % len(IDS)], TIMEOUTS[(how // len(IDS)) % len(TIMEOUTS)]
        state, budget = snapshot(self.conn), snapshot(self.budget)
        self.orders += 1
        order = CancelOrder("BTCUSDT", order_id=f"o{self.orders}")
        room = self.conn.capacity
        urgent = how % 5 == 0
        sensible = (
            (timeout is None or timeout > 0)
            and id not in ("", "x\n")
            and (id is None or self.is_free(id))
        )
        try:
            got = self.conn.cancel(order, passed, id=id, timeout=timeout, urgent=urgent)
        except LocalProtocolError:
            assert not (room and sensible)
            assert (snapshot(self.conn), snapshot(self.budget)) == (state, budget)
            self.seen["refused"] += 1
            self.not_counted()
        else:
            assert room
            assert sensible
            assert id is None or got == id
            self.taken(got, order, timeout, urgent=urgent)
        self.judge(before)

    def do_cancel_many(self, how: int, passed: float) -> None:
        before = self.conn.state
        timeout = TIMEOUTS[how % len(TIMEOUTS)]
        state = snapshot(self.conn)
        orders = [CancelOrder("BTCUSDT", order_id=f"m{number}") for number in range(how % 5)]
        room = self.conn.capacity
        sensible = (
            (timeout is None or timeout > 0) and before is not State.CLOSED and not self.closing
        )
        try:
            ids = self.conn.cancel_many(orders, passed, timeout)
        except LocalProtocolError:
            assert not (sensible and room >= len(orders))
            assert snapshot(self.conn) == state
            self.seen["many refused"] += 1
            self.not_counted()
        else:
            assert sensible
            assert room >= len(orders)
            for id, order in zip(ids, orders, strict=True):
                self.taken(id, order, timeout, urgent=False)
        self.judge(before)

    def is_free(self, id: str) -> bool:
        waiting = {
            output.id
            for output in self.conn._outputs
            if isinstance(output, Accepted | Rejected | Unresolved)
        }
        return not (id in self.open or id in self.late or id in self.own_ids or id in waiting)

    def taken(self, id: str, order: CancelOrder, timeout: float | None, *, urgent: bool) -> None:
        assert self.is_free(id)
        entry = Entry(order, self.now, inf if timeout is None else self.now + timeout, urgent)
        self.open[id] = entry
        self.entries.setdefault(id, []).append(entry)
        self.seen["taken"] += 1

    def do_withdraw(self, how: int, passed: float) -> None:
        before = self.conn.state
        known = [*self.open, "zzz"]
        id = known[how % len(known)]
        waits = id in self.open and self.open[id].sent_at is None
        assert self.conn.withdraw(id, passed) is waits
        self.judge(before, withdrawn=id)
        assert id not in self.open or not waits

    def do_send(self, how: int, passed: float) -> None:
        before = self.conn.state
        state = snapshot(self.conn)
        text = OWN[how % len(OWN)]
        ids = OWN_IDS.get(text, ())
        sensible = text not in ("", "\udc00") and not any(
            id in self.open or id in self.late for id in ids
        )
        room = (
            len(self.own) < 2
            and before in (State.NEW, State.AUTHENTICATING, State.READY)
            and not self.closing
        )
        try:
            self.conn.send(text, passed)
        except LocalProtocolError:
            assert not (sensible and room)
            assert snapshot(self.conn) == state
            self.not_counted()
        else:
            assert sensible
            assert room
            self.own.append(text)
            self.own_ids.update(ids)
        self.judge(before)

    def do_interrupt(self, how: int, passed: float) -> None:
        before = self.conn.state
        if (
            interrupted(partial(self.conn.handle_timeout, passed), 1 + how % 60)
            and not self.conn._in_call
        ):
            self.not_counted()
            self.judge(before)
            return
        torn = self.conn._in_call and self.conn.state is not State.CLOSED
        if self.conn._in_call:
            self.conn.handle_timeout(self.now)
        self.judge(before, fires=True, torn=torn)
        assert not torn or self.conn.state is State.CLOSED

    def do_reply(self, how: int, passed: float) -> None:
        before = self.conn.state
        known = [*self.open, *self.late, *list(self.entries)[-3:], "1", "zzz"]
        id = known[how % len(known)]
        event, code, kind = REPLIES[(how // 3) % len(REPLIES)]
        arg = ARGS[(how // 8) % len(ARGS)] if how % 4 == 3 else ARGS[how % 2]
        one = arg in ARGS[:2]
        text = f'{{"event":"{event}","arg":{arg.format(id=json.dumps(id))},"code":{json.dumps(code)},"msg":"m"}}'
        entry, late = self.open.get(id), id in self.late
        if event == "error" and arg in ("[]", "[{{}}]"):
            self.is_fatal(code, before)
        self.conn.receive(text if how % 2 else text.encode(), passed)
        self.heard_at = self.now
        new = self.judge(before, reply=(id, kind) if one else None)
        if before in (State.NEW, State.CLOSED):
            assert new == []
        elif one and entry is not None and entry.sent_at is not None:
            assert entry.outcome is not None
            assert type(entry.outcome) is kind.value
        elif one and late:
            assert [type(output) for output in new] == [LateReply]
        elif one:
            assert [type(output) for output in new] == [Unrecognised]
            self.seen["a reply that nothing waits for"] += 1
        assert (
            not (one and self.conn.state is State.CLOSED and before is not State.CLOSED)
            or self.closing
        )

    def do_login(self, how: int, passed: float) -> None:
        before = self.conn.state
        code = (0, 0, 0, 0, 0, 0, "0", None, 30015, "x")[how % 10]
        self.conn.receive(json.dumps({"event": "login", "code": code}), passed)
        self.heard_at = self.now
        self.judge(before)
        if before is not State.AUTHENTICATING or not self.login_sent:
            assert self.conn.state is before
        elif code in (0, "0"):
            assert self.conn.state is State.READY

    def do_error(self, how: int, passed: float) -> None:
        before = self.conn.state
        code = ERRORS[how % len(ERRORS)]
        self.conn.receive(error(code), passed)
        self.heard_at = self.now
        fatal = self.is_fatal(code, before)
        new = self.judge(before)
        if before in (State.READY, State.DRAINING):
            assert self.conn.state is (State.DRAINING if fatal else before)
            assert isinstance(new[0], ExchangeError | GoingAway)
            assert len(new) == 1 or (fatal and before is State.READY), (
                "an error without id settled something"
            )
        if (
            code == 30006
            and before not in (State.NEW, State.CLOSED)
            and self.conn.state is not State.CLOSED
        ):
            self.paused_until = self.now + 1.0

    def is_fatal(self, code: object, before: State) -> bool:
        """Whether an error that names no request announces the end."""
        fatal = code in (30004, 30007) and before in (State.READY, State.DRAINING)
        if fatal:
            self.closing = True
            self.own.clear()
            self.cause = self.cause or (
                WhyClosed.NOT_LOGGED_IN if code == 30004 else WhyClosed.THROWN_OUT
            )
        return fatal

    def do_noise(self, how: int, passed: float) -> None:
        before = self.conn.state
        self.conn.receive(NOISE[how % len(NOISE)], passed)
        self.heard_at = self.now
        new = self.judge(before)
        assert self.conn.state is before
        assert len(new) == (0 if before in (State.NEW, State.CLOSED) else 1)

    def do_pong(self, how: int, passed: float) -> None:
        before = self.conn.state
        self.conn.receive(PONG, passed)
        self.heard_at = self.now
        assert self.judge(before) == []

    def do_close(self, how: int, passed: float) -> None:
        before = self.conn.state
        if how % (4 if self.conn.in_flight else 16):
            self.not_counted()
            return
        again, self.closing = self.closing, True
        queued: Queued = "send" if how % 8 < 4 else "drop"
        self.conn.close(passed, queued, (None, 0.5, 3.0)[how % 3])
        if queued == "drop" or again:
            self.own.clear()
        self.judge(before)
        if again:
            assert self.conn.state is State.CLOSED
        elif queued == "drop":
            assert self.conn.state in (State.DRAINING, State.CLOSED)
            assert all(entry.sent_at is not None for entry in self.open.values())
        else:
            assert self.conn.state in (before, State.CLOSED)
            assert (self.conn.state is State.CLOSED) == (
                before is State.CLOSED or not (self.open or self.own)
            )
            self.seen["close, what is queued first"] += self.conn.state is not State.CLOSED

    def do_lost(self, how: int, passed: float, *, surely: bool = False) -> None:
        before = self.conn.state
        if how % (3 if before is State.DRAINING else 8) and not surely:
            self.not_counted()
            return
        unsent = tuple(id for index, id in enumerate(self.open) if how >> 3 & 1 << index)
        self.conn.lost(passed, "gone", unsent)
        self.judge(before, unsent=unsent, gone=True)
        assert self.conn.state is State.CLOSED

    WEIGHTED = (
        [do_drain] * 8
        + [do_poll] * 2
        + [do_handle_timeout] * 5
        + [do_opened] * 3
        + [do_cancel] * 8
        + [do_cancel_many]
        + [do_withdraw]
        + [do_send] * 2
        + [do_reply] * 8
        + [do_login] * 2
        + [do_error] * 2
        + [do_noise]
        + [do_pong] * 5
        + [do_close] * 3
        + [do_lost]
        + [do_interrupt]
    )

    def end(self, how: int) -> None:
        """Bring it to CLOSED in one of the ways that are always open, and check the sum of it all."""
        before = self.conn.state
        match how % 3:
            case 0:
                self.do_lost(how, self.now, surely=True)
            case 1:
                for _ in range(2):
                    before = self.conn.state
                    self.closing = True
                    self.conn.close(self.now)
                    self.judge(before)
            case _:
                self.closing = True
                self.conn.close(self.now)
                self.judge(before)
                self.now += 2.0
                before = self.conn.state
                self.conn.handle_timeout(self.now)
                self.judge(before, fires=True)
        assert self.conn.state is State.CLOSED
        self.drain(writable=True)
        assert self.taken_out == self.judged, "what was decided is not what came out"
        given = [
            output
            for output in self.taken_out
            if isinstance(output, Accepted | Rejected | Unresolved)
        ]
        counted = Counter(outcome.id for outcome in given)
        assert counted == {id: len(entries) for id, entries in self.entries.items()}
        assert all(
            entry.outcome is not None for entries in self.entries.values() for entry in entries
        )
        for later in (self.now, self.now + 100.0):
            self.conn.handle_timeout(later)
            assert self.conn.poll(later) == Wait(until=None, timer=None)


def play(tape: bytes, seen: Counter[object], *, from_ready: bool) -> list[Output]:
    """Play the tape to its end: connection after connection, from NEW and from READY in turn."""
    tape = bytes(byte ^ noise for byte, noise in zip(tape, NOISY, strict=False))
    given: list[Output] = []
    run, left = Play(seen, tape, from_ready=from_ready), 4
    for index in range(1, len(tape) - 3, 3):
        run.step(*tape[index : index + 3])
        if run.conn.state is State.CLOSED:
            left -= 1
            if not left:
                run.end(tape[index])
                given += run.taken_out
                from_ready = not from_ready
                run, left = Play(seen, tape[index:], from_ready=from_ready), 4
    run.end(tape[-1])
    return given + run.taken_out


def must_be_seen() -> set[object]:
    """All that a run over any inputs has to have visited."""
    timers = {
        Timer.REQUEST,
        Timer.LOGIN,
        Timer.PONG,
        Timer.DRAIN,
        Timer.PING,
        Timer.SILENCE,
        Timer.PACING,
    }
    transitions = {(state, cause) for state, row in TRANSITIONS.items() for cause in row}
    fired = {
        ("fired", WhyClosed.LOGIN_TIMEOUT),
        ("fired", WhyClosed.NO_PONG),
        ("fired", Timer.DRAIN),
        "ping",
    }
    reasons = set(WhyUnresolved) - {WhyUnresolved.NO_LINK}
    outcomes = {Accepted, Rejected, Unresolved, *reasons}
    flags = {(flag, why) for flag in ("sent", "unsent") for why in reasons}
    never = {("unsent", WhyUnresolved.UNSURE), ("sent", WhyUnresolved.WITHDRAWN)}
    others = {
        "refused",
        "many refused",
        "own frame",
        "close, what is queued first",
        "ended with its last own frame",
        "a reply that nothing waits for",
    }
    return {*State, *timers, *transitions, *fired, *outcomes, *(flags - never), *others}


@pytest.mark.slow
def test_any_inputs_give_every_cancel_exactly_one_honest_outcome() -> None:
    seen: Counter[object] = Counter()

    @settings(
        derandomize=True,
        deadline=None,
        max_examples=300,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(tape=st.binary(min_size=400, max_size=900))
    def runs(tape: bytes) -> None:
        play(tape, seen, from_ready=tape[0] % 2 == 0)

    runs()
    missing = {thing for thing in must_be_seen() if not seen[thing]}
    assert not missing, f"never visited: {missing}"


@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(tape=st.binary(min_size=60, max_size=200))
def test_the_same_sequence_of_inputs_gives_the_same_outputs(tape: bytes) -> None:
    assert play(tape, Counter(), from_ready=True) == play(tape, Counter(), from_ready=True)
