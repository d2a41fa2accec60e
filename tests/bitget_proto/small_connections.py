"""Small worlds of a `Connection`, and the rules that are checked at each step.

- The ledger holds what an observer can know: the inputs, the outputs, and the limits. It is written
  for clarity, not speed.
- Each output is checked against what was known before the input, and the outputs that the input
  requires must be there.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable
from math import inf
from typing import Any, ClassVar, Final

import attrs

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
    Output,
    Ready,
    Rejected,
    SignedLogin,
    State,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto._machine.arguments import Queued
from bitget_proto._machine.connection import _LATE_ANSWER_SECONDS
from bitget_proto._machine.frame_queue import CANCELS_PER_OWN_FRAME
from bitget_proto._machine.rate_limit import PAUSE

from .small_worlds import CODE, Input, Words, ahead, key_of, lately, on_the_clock, places, require

LOGIN: Final = SignedLogin("key", "pass", "1700000000", "c2lnbg==")
CODEC: Final = Words()
ORDERS: Final = {
    id: CancelOrder("BTCUSDT", order_id=f"100{id}") for id in ("a", "b", "c", "1", "2", "3")
}

BUSY: Final = "30006"
FATAL_ERRORS: Final = {"30004": WhyClosed.NOT_LOGGED_IN, "30007": WhyClosed.THROWN_OUT}
GOING_AWAY: Final = "30033"
NO_LOGIN: Final = (BUSY, GOING_AWAY, "30007", "40015")
"""Codes that do not answer a pending login: throttled, going away, retry later."""


@attrs.define(eq=False)
class Open:
    """A cancel that was taken and has no outcome yet."""

    of_the_ledger: ClassVar = True

    id: str
    order: CancelOrder
    number: int
    urgent: bool
    taken_at: float
    until: float
    """When the time of the whole cancel expires."""

    deadline: float
    sent_at: float | None = None


@attrs.define(eq=False)
class Ledger:
    """What an observer knows about one connection."""

    of_the_ledger: ClassVar = True

    now: float = 0.0
    wait: Wait = attrs.field(factory=lambda: Wait(None, None))
    open: dict[str, Open] = attrs.field(factory=lambda: dict[str, Open]())
    late: list[str] = attrs.field(factory=lambda: list[str]())
    """Ids of sent cancels that ended without a reply, the oldest first."""

    ended: list[str] = attrs.field(factory=lambda: list[str]())
    """Ids of cancels that ended in any other way."""

    taken: int = 0
    stalls: bool = False
    """Whether the writer will stall at the next frame."""

    stuck: Transmit | None = None
    """The frame at which the writer stalled."""

    login: str = "not due"
    """`not due`, `due`, `sent` or `accepted`."""

    login_until: float = inf
    closing: bool = False
    again: bool = False
    """Whether `close` was called again."""

    dropped: bool = False
    """Whether no more frames are sent."""

    drain_until: float = inf
    thrown_out: WhyClosed | None = None
    closed: bool = False

    hands: list[float] = attrs.field(factory=lambda: list[float]())
    """When the last three frames were emitted; no limit here is larger."""

    resumes: float = -inf
    spent: list[float] = attrs.field(factory=lambda: list[float]())
    granted_until: float = -inf
    """With a budget: when it was debited, and when a grant of one expires."""

    own: list[str] = attrs.field(factory=lambda: list[str]())
    own_ids: list[str] = attrs.field(factory=lambda: list[str]())
    in_a_row: int = 0

    ping_at: float = inf
    pong_until: float = inf
    ping_waits: bool = False
    ping_until: float = inf
    """The pong deadline of a heartbeat ping that is not sent yet."""

    heard_at: float = 0.0
    asked: float | None = None
    """After a probe of a silent link: the deadline for the next message."""

    question_waits: bool = False

    # Input and outputs of the current step.
    given: Input = ()
    events: list[Any] = attrs.field(factory=lambda: list[Any]())
    outcomes: list[Any] = attrs.field(factory=lambda: list[Any]())
    hangup: Hangup | None = None

    @property
    def ready(self) -> bool:
        return self.login == "accepted" and not self.dropped and not self.closed

    def sent(self) -> list[Open]:
        return [cancel for cancel in self.open.values() if cancel.sent_at is not None]

    def queue(self) -> list[Open]:
        """The waiting cancels that have not expired, in the order of sending."""
        waiting = [
            cancel
            for cancel in self.open.values()
            if cancel.sent_at is None and self.now < cancel.deadline
        ]
        return sorted(waiting, key=lambda cancel: (not cancel.urgent, cancel.number))


@attrs.define(eq=False)
class Run:
    """A connection and its ledger."""

    of_the_ledger: ClassVar = True

    core: Connection
    ledger: Ledger


@attrs.frozen
class ConnectionWorld:
    """A connection with these limits and possible inputs."""

    name: str
    config: Config
    alphabet: tuple[Input, ...]
    """The inputs besides those of the clock; inputs that make no sense are left out."""

    ids: tuple[str, ...] = ("a", "b", "c")
    """The ids of the cancels, used in this order."""

    reuse: bool = False
    """Whether an id is used again when it is free."""

    begin: tuple[Input, ...] = (("open",), ("say", "login 0"))
    per_second: int | None = None
    """The limit of the budget, if there is one."""

    within: float | None = None
    """The argument of `close`."""

    clock: tuple[str, ...] = ("tick", "pass", "late", "gap")

    # --- interface for the explorer ---

    def start(self) -> Run:
        budget = None if self.per_second is None else Budget(self.per_second, pace_margin=None)
        run = Run(Connection(self.config, CODEC, budget), Ledger())
        for given in self.begin:
            self.step(run, given, Counter())
        return run

    def key(self, run: Run) -> Hashable:
        ledger, now = run.ledger, run.ledger.now
        if ledger.closed:
            # A closed connection emits nothing, whatever happened before: each input checks that.
            return None
        return key_of(run.core, now), self._key(ledger, now)

    def _key(self, ledger: Ledger, now: float) -> Hashable:
        """The ledger in canonical form, with everything that the core may have forgotten."""
        silence = self.config.silence
        return (
            tuple(
                (
                    cancel.id,
                    cancel.urgent,
                    cancel.deadline - now,
                    cancel.until - now,
                    lately(cancel.sent_at, now, silence),
                )
                for cancel in ledger.open.values()
            ),
            (
                *ledger.late,
                None,
                *sorted(ledger.ended),
                None,
                *ledger.own,
                None,
                *sorted(ledger.own_ids),
            ),
            (
                ledger.stalls,
                ledger.stuck and ledger.stuck.text,
                ledger.login,
                ledger.login_until - now,
            ),
            (ledger.closing, ledger.dropped, ledger.drain_until - now, ledger.thrown_out),
            places(ledger.hands, now, self.config.messages_per_second),
            places(ledger.spent, now, self.per_second),
            (
                ahead(ledger.resumes, now),
                ahead(ledger.granted_until, now),
                min(ledger.in_a_row, CANCELS_PER_OWN_FRAME),
            ),
            (
                ledger.ping_at - now,
                ledger.pong_until - now,
                ledger.ping_waits,
                ledger.ping_until - now,
            ),
            (
                lately(ledger.heard_at, now, silence),
                ledger.asked and ledger.asked - now,
                ledger.question_waits,
            ),
            ledger.wait.until is not None and ledger.wait.until <= now,
        )

    def is_open(self, run: Run) -> bool:
        return bool(run.ledger.open)

    def inputs(self, run: Run) -> list[Input]:
        ledger = run.ledger
        if ledger.closed:
            return []
        given = on_the_clock(ledger.now, ledger.wait.until, self.clock)
        return given + [made for made in self.alphabet if self._makes_sense(made, ledger)]

    def _makes_sense(self, given: Input, ledger: Ledger) -> bool:
        match given:
            case ("stall",):
                return not ledger.stalls and ledger.stuck is None
            case ("written",):
                return ledger.stuck is not None or ledger.stalls
            case ("lost", "unsent"):
                return ledger.stuck is not None
            case ("cancel", *_):
                return self._next_id(ledger) is not None
            case ("open",):
                return ledger.login == "not due"
            case ("say", _):
                return ledger.login != "not due"
            case ("answer", id, kind):
                # One kind for all unknown ids.
                known = id in ledger.open or id in ledger.late or kind == "accepted"
                return ledger.login != "not due" and known
            case _:
                return True

    def _next_id(self, ledger: Ledger) -> str | None:
        """The id of the next cancel."""
        past = [*ledger.open, *ledger.late, *ledger.own_ids]
        if not self.reuse:
            if ledger.taken >= len(self.ids):
                return None
            past += ledger.ended
        return next((id for id in self.ids if id not in past), None)

    # --- one step ---

    def step(self, run: Run, given: Input, visited: Counter[Hashable]) -> None:
        core, ledger = run.core, run.ledger
        ledger.given, ledger.events, ledger.outcomes, ledger.hangup = given, [], [], None
        before = Before(ledger)
        visited[
            given[0], *(given[2:] if given[0] in ("answer", "withdraw", "again") else given[1:])
        ] += 1
        getattr(self, f"_{given[0]}")(run, *given[1:])
        self._drain(run, before, visited)
        self._check(run, before)
        visited[core.state] += 1

    # Each of these makes one input, and updates the ledger.

    def _open(self, run: Run) -> None:
        ledger = run.ledger
        run.core.opened(ledger.now, login=LOGIN)
        ledger.login = "due"
        ledger.login_until = ledger.now + (self.config.login_timeout or inf)
        ledger.ping_at = ledger.now + (self.config.ping_interval or inf)
        ledger.heard_at = ledger.now

    def _say(self, run: Run, text: str) -> None:
        ledger = run.ledger
        run.core.receive(text, ledger.now)
        self._heard(ledger)
        code = text.partition(" ")[2]
        if text == "pong":
            # It does not answer a ping that is not sent yet.
            ledger.pong_until = ledger.ping_until
        elif text == "login 0" and ledger.login == "sent":
            ledger.login, ledger.login_until = "accepted", inf
        elif text.startswith("error"):
            if code == BUSY:
                ledger.resumes = ledger.now + PAUSE
            if code in FATAL_ERRORS and ledger.login == "accepted" and ledger.thrown_out is None:
                ledger.thrown_out, ledger.closing = FATAL_ERRORS[code], True
                until = ledger.now + _LATE_ANSWER_SECONDS
                ledger.drain_until = min(ledger.drain_until, until) if ledger.dropped else until
                ledger.dropped = True
                ledger.own.clear()
                ledger.ping_at, ledger.pong_until, ledger.ping_waits, ledger.asked = (
                    inf,
                    inf,
                    False,
                    None,
                )

    def _answer(self, run: Run, id: str, kind: str) -> None:
        run.core.receive(f"{kind} {id}", run.ledger.now)
        self._heard(run.ledger)

    def _heard(self, ledger: Ledger) -> None:
        ledger.heard_at, ledger.asked = ledger.now, None

    def _lost(self, run: Run, unsent: str = "") -> None:
        ledger = run.ledger
        ids: list[str] = []
        if unsent and ledger.stuck is not None and ledger.stuck.ids:
            (id,) = ledger.stuck.ids
            ids = [id, "never heard of"]
            if id in ledger.open:
                ledger.open[id].sent_at = None
        run.core.lost(ledger.now, "reason", ids)

    def _cancel(self, run: Run, how: str = "") -> None:
        id = self._next_id(run.ledger)
        assert id is not None
        self._take(run, id, how)

    def _take(self, run: Run, id: str, how: str) -> None:
        core, ledger, config = run.core, run.ledger, self.config
        timeout = 1.0 if how == "timeout" else None
        named = None if self.config.id_prefix == "" and how != "named" else id
        if ledger.closing or ledger.closed:
            self._refused(run, lambda: core.cancel(ORDERS[id], ledger.now, id=named))
            return
        if config.max_in_flight is not None and len(ledger.open) >= config.max_in_flight:
            self._refused(run, lambda: core.cancel(ORDERS[id], ledger.now, id=named))
            return
        got = core.cancel(ORDERS[id], ledger.now, id=named, timeout=timeout, urgent=how == "urgent")
        require(
            got not in ledger.open and got not in ledger.late,
            "an id in use was generated",
            got,
        )
        require(got not in ledger.own_ids, "the id of a caller's frame was generated", got)
        if got in ledger.ended:
            ledger.ended.remove(got)
        ledger.taken += 1
        until = ledger.now + (timeout or inf)
        queued = ledger.now + (config.queue_timeout or inf)
        ledger.open[got] = Open(
            got, ORDERS[id], ledger.taken, how == "urgent", ledger.now, until, min(until, queued)
        )

    def _again(self, run: Run, id: str) -> None:
        """A cancel or a caller's frame with an id that is in use is refused."""
        ledger = run.ledger
        if id in ledger.open or id in ledger.late or id in ledger.own_ids:
            self._refused(run, lambda: run.core.cancel(ORDERS[id], ledger.now, id=id))
        if id in ledger.open or id in ledger.late:
            self._refused(run, lambda: run.core.send(f"place {id}", ledger.now))

    def _many(self, run: Run) -> None:
        """Fill the queue at once; one more cancel is refused."""
        ledger = run.ledger
        left = self.ids[ledger.taken :]
        limit = self.config.max_in_flight or 1_000
        if ledger.closing or ledger.closed:
            self._refused(run, lambda: run.core.cancel_many([ORDERS["a"]], ledger.now))
            return
        too_many = limit - len(ledger.open) + 1
        self._refused(run, lambda: run.core.cancel_many([ORDERS["a"]] * too_many, ledger.now))
        orders = [ORDERS[id] for id in left[: too_many - 1]]
        for order, got in zip(orders, run.core.cancel_many(orders, ledger.now), strict=True):
            ledger.taken += 1
            deadline = ledger.now + (self.config.queue_timeout or inf)
            ledger.open[got] = Open(got, order, ledger.taken, False, ledger.now, inf, deadline)

    def _withdraw(self, run: Run, id: str) -> None:
        ledger = run.ledger
        waits = id in ledger.open and ledger.open[id].sent_at is None
        require(
            run.core.withdraw(id, ledger.now) is waits,
            "withdraw returns True if the cancel was not sent",
            id,
        )

    def _send(self, run: Run, text: str = "subscribe") -> None:
        core, ledger = run.core, run.ledger
        limit = self.config.max_own_frames
        full = limit is not None and len(ledger.own) >= limit
        ids = text.split()[1:]
        if (
            ledger.closing
            or ledger.closed
            or full
            or any(id in ledger.open or id in ledger.late for id in ids)
        ):
            self._refused(run, lambda: core.send(text, ledger.now))
            return
        core.send(text, ledger.now)
        ledger.own.append(text)
        ledger.own_ids += [id for id in ids if id not in ledger.own_ids]

    def _refused(self, run: Run, command: Any) -> None:
        """An invalid command is an error and changes nothing."""
        before = key_of(run.core, run.ledger.now)
        try:
            command()
        except LocalProtocolError:
            require(
                key_of(run.core, run.ledger.now) == before,
                "a refused command changes nothing",
            )
        else:
            require(False, "an invalid command is refused")

    def _close(self, run: Run, queued: Queued) -> None:
        ledger = run.ledger
        run.core.close(ledger.now, queued, self.within)
        ledger.again = ledger.closing
        if queued == "send" and not ledger.closing:
            limit = self.config.queue_timeout if self.within is None else self.within
            ledger.drain_until = ledger.now + (limit or inf)
        else:
            self._drop(ledger)
        ledger.closing = True

    def _drop(self, ledger: Ledger) -> None:
        limit = self.config.drain_timeout if self.within is None else self.within
        ledger.dropped, ledger.drain_until = True, ledger.now + (limit or inf)
        ledger.own.clear()

    def _stall(self, run: Run) -> None:
        run.ledger.stalls = True

    def _written(self, run: Run) -> None:
        run.ledger.stalls, run.ledger.stuck = False, None

    def _debit(self, run: Run) -> None:
        """Another client of the account cancels by REST."""
        budget, ledger = run.core._frames.budget, run.ledger
        assert budget is not None
        budget.debit(1, ledger.now)
        self._spend(ledger)

    def _grant(self, run: Run) -> None:
        budget, ledger = run.core._frames.budget, run.ledger
        assert budget is not None
        if ledger.granted_until <= ledger.now:
            budget.grant(1, ledger.now + 1, ledger.now)
            ledger.granted_until = ledger.now + 1

    # --- the clock ---

    def _tick(self, run: Run) -> None:
        ledger = run.ledger
        assert ledger.wait.until is not None
        if ledger.wait.until > ledger.now:
            self._early(run)
        self._fire(run, max(ledger.wait.until, ledger.now))

    def _late(self, run: Run) -> None:
        assert run.ledger.wait.until is not None
        self._fire(run, run.ledger.wait.until + 1)

    def _gap(self, run: Run) -> None:
        assert run.ledger.wait.until is not None
        run.ledger.now = run.ledger.wait.until + 1

    def _pass(self, run: Run) -> None:
        run.ledger.now += 1
        run.core.handle_timeout(run.ledger.now)

    def _early(self, run: Run) -> None:
        run.core.handle_timeout(run.ledger.now)
        polled = self._poll(run)
        require(polled == run.ledger.wait, "a timer that fires early is harmless", polled)

    def _fire(self, run: Run, now: float) -> None:
        ledger = run.ledger
        ledger.now = now
        run.core.handle_timeout(now)
        silent = self._silent_at(ledger)
        if ledger.ping_at <= now:
            ledger.ping_at = now + (self.config.ping_interval or inf)
            ledger.ping_waits = True
            ledger.ping_until = min(ledger.ping_until, now + (self.config.pong_timeout or inf))
            ledger.pong_until = min(ledger.pong_until, ledger.ping_until)
        if silent <= now and ledger.asked is None:
            ledger.ping_waits = ledger.question_waits = True
            ledger.asked = max(now, self._pace_opens(ledger)) + (self.config.silence_pong or inf)
        if ledger.drain_until <= now and not ledger.dropped:
            self._drop(ledger)

    def _silent_at(self, ledger: Ledger) -> float:
        """When the link counts as silent: no message for so long with a cancel unanswered."""
        if ledger.asked is not None or self.config.silence is None or ledger.thrown_out:
            return inf
        spans = [
            (max(cancel.sent_at, ledger.heard_at) + self.config.silence, cancel.deadline)
            for cancel in ledger.sent()
            if cancel.sent_at is not None
        ]
        return min((at for at, deadline in spans if at < deadline), default=inf)

    # --- checks of outputs ---

    def _poll(self, run: Run) -> Output:
        return run.core.poll(run.ledger.now, writable=run.ledger.stuck is None)

    def _drain(self, run: Run, before: Before, visited: Counter[Hashable]) -> None:
        ledger = run.ledger
        for number in itertools.count():
            output = self._poll(run)
            require(number < 30, "a drain ends with a Wait", output)
            if isinstance(output, Wait):
                visited[Wait, output.timer] += 1
                ledger.wait = output
                return
            require(not ledger.closed, "no output comes after Closed", output)
            require(
                ledger.hangup is None or isinstance(output, Closed),
                "only Closed comes after a Hangup",
                output,
            )
            if isinstance(output, Transmit):
                self._handed_out(ledger, output)
                if ledger.stalls:
                    ledger.stalls, ledger.stuck = False, output
                visited[Transmit] += 1
            elif isinstance(output, Accepted | Rejected | Unresolved):
                self._settled(ledger, before, output)
                ledger.outcomes.append(output)
                visited[
                    type(output),
                    *((output.sent, output.why) if isinstance(output, Unresolved) else ()),
                ] += 1
            elif isinstance(output, Hangup):
                ledger.hangup = output
                visited[Hangup, output.abort] += 1
            elif isinstance(output, Closed):
                self._ended(ledger, before, output)
                visited[Closed, output.why] += 1
            else:
                ledger.events.append(output)
                visited[type(output), output.why if isinstance(output, Unrecognised) else None] += 1

    def _handed_out(self, ledger: Ledger, frame: Transmit) -> None:
        now = ledger.now
        require(ledger.stuck is None, "at most one frame is unwritten", frame)
        require(
            ledger.thrown_out is None,
            "no frame is sent once the exchange has thrown the connection out",
            frame,
        )
        require(ledger.hangup is None, "no frame is sent after a Hangup", frame)
        require(
            self._pace_opens(ledger) <= now, "no frame is sent faster than the pace allows", frame
        )
        self._hand(ledger)
        if frame.secret:
            require(ledger.login == "due", "the login is sent once, after `opened`", frame)
            ledger.login = "sent"
            return
        require(ledger.login in ("sent", "accepted"), "the login is sent first", frame)
        if frame.text == "ping":
            require(ledger.ping_waits, "a ping is sent only when one is due", frame)
            ledger.ping_waits, ledger.ping_until = False, inf
            if ledger.question_waits and ledger.asked is not None:
                ledger.asked = now + (self.config.silence_pong or inf)
            ledger.question_waits = False
            return
        require(
            ledger.ready,
            "cancels and callers' frames are sent only while the connection is ready",
            frame,
        )
        require(not ledger.ping_waits, "pings are sent first", frame)
        head = next(iter(ledger.queue()), None)
        blocked = self._budget_opens(ledger) > now
        own_turn = ledger.in_a_row >= CANCELS_PER_OWN_FRAME
        if not frame.ids:
            require(
                ledger.own and frame.text == ledger.own[0],
                "callers' frames are sent once, in order",
                frame,
            )
            require(
                head is None or blocked or own_turn,
                "a caller's frame is sent when no cancel may be, or in its turn",
                frame,
            )
            del ledger.own[0]
            ledger.in_a_row = 0
            return
        cancel = ledger.open.get(frame.ids[0])
        require(cancel is not None, "a sent cancel has no outcome yet", frame)
        assert cancel is not None
        require(cancel.sent_at is None, "no cancel is sent twice", frame)
        require(now < cancel.deadline, "no cancel is sent after its deadline", frame)
        require(
            not ledger.closing or now < ledger.drain_until,
            "no cancel is sent after the deadline of close",
            frame,
        )
        require(
            cancel is head,
            "cancels are sent in the order taken, urgent ones first",
            frame,
            head and head.id,
        )
        require(
            frame.text == f"cancel {cancel.order.order_id} {frame.ids[0]}",
            "a frame is the encoded cancel",
            frame,
        )
        require(not blocked, "no cancel is sent without allowance", frame)
        require(
            not (ledger.own and own_turn),
            "a fixed share of the frames is for callers' frames",
            frame,
        )
        cancel.sent_at = now
        cancel.deadline = min(cancel.until, now + (self.config.answer_timeout or inf))
        ledger.in_a_row += 1
        if self.per_second is not None:
            self._spend(ledger)

    def _settled(
        self, ledger: Ledger, before: Before, outcome: Accepted | Rejected | Unresolved
    ) -> None:
        cancel, now, given = ledger.open.pop(outcome.id, None), ledger.now, ledger.given
        require(
            cancel is not None, "an outcome is for a cancel that was taken and has none", outcome
        )
        assert cancel is not None
        handed_out = cancel.sent_at is not None
        require(outcome.order == cancel.order, "an outcome has the order of its cancel", outcome)
        require(
            outcome.taken_at == cancel.taken_at,
            "an outcome has the time when its cancel was taken",
            outcome,
        )
        require(
            outcome.sent_at == cancel.sent_at,
            "an outcome has the time when its cancel was sent",
            outcome,
        )
        require(
            outcome.resolved_at == now and outcome.attempts == 1,
            "an outcome has the time when it was decided",
            outcome,
        )
        answer = (
            given[2]
            if given[0] == "answer" and given[1] == outcome.id and outcome.id in before.sent
            else None
        )
        if not isinstance(outcome, Unresolved):
            code = outcome.code if isinstance(outcome, Rejected) else "accepted"
            expected = (
                "accepted"
                if answer == "accepted"
                else CODE.get(answer or "")
                if answer in REFUSED
                else None
            )
            require(code == expected, "an outcome repeats the exchange's reply", outcome)
            ledger.ended.append(outcome.id)
            return
        require(
            outcome.sent == handed_out,
            "`sent` is true when it was handed out and not taken back",
            outcome,
        )
        closed = (
            ledger.closing
            or (given[:1] == ("say",) and ledger.login == "sent")
            or before.login_due(now)
        )
        match outcome.why:
            case WhyUnresolved.TIMEOUT:
                holds = given[0] in FIRES and cancel.deadline <= now
            case WhyUnresolved.LOST:
                holds = given[0] == "lost" or given[0] in FIRES
            case WhyUnresolved.CLOSED:
                holds = closed
            case WhyUnresolved.UNSURE:
                holds = answer in UNSURE and handed_out and outcome.code == CODE.get(answer)
            case WhyUnresolved.WITHDRAWN:
                holds = given == ("withdraw", outcome.id) and not handed_out
            case _:
                holds = False
        require(holds, "the reason of an outcome holds", outcome)
        if handed_out:
            ledger.late.append(outcome.id)
            if self.config.late_ids is not None and len(ledger.late) > self.config.late_ids:
                ledger.ended.append(ledger.late.pop(0))
        else:
            ledger.ended.append(outcome.id)

    def _ended(self, ledger: Ledger, before: Before, closed: Closed) -> None:
        given, now = ledger.given, ledger.now
        ledger.closed = True
        require(not ledger.open, "at the end each cancel has an outcome", closed, *ledger.open)
        gone = given[0] == "lost"
        require(
            (ledger.hangup is None) == gone,
            "the end has a Hangup unless the transport is lost",
            closed,
        )
        match closed.why:
            case WhyClosed.ASKED:
                holds = ledger.closing
            case WhyClosed.LOST:
                holds = gone and ledger.thrown_out is None
            case WhyClosed.LOGIN_REFUSED:
                holds = before.login == "sent" and given in (
                    ("say", "login 30005"),
                    ("say", "error 30005"),
                )
            case WhyClosed.LOGIN_TIMEOUT:
                holds = given[0] in FIRES and before.login_due(now)
            case WhyClosed.NO_PONG:
                holds = given[0] in FIRES and min(before.pong_until, before.asked) <= now
            case WhyClosed.NOT_LOGGED_IN | WhyClosed.THROWN_OUT:
                holds = ledger.thrown_out is closed.why and (
                    gone or (given[0] in FIRES and before.drain_until <= now)
                )
                holds = holds or (ledger.thrown_out is closed.why and given[0] == "close")
            case _:
                holds = False
        require(holds, "the reason of the end holds", closed)
        abort = closed.why is WhyClosed.NO_PONG
        require(
            ledger.hangup is None or ledger.hangup.abort == abort,
            "a dead link is aborted",
            ledger.hangup,
        )

    # --- checks for missing outputs ---

    def _check(self, run: Run, before: Before) -> None:
        core, ledger = run.core, run.ledger
        now, given, wait = ledger.now, ledger.given, ledger.wait
        for polled in (self._poll(run), core.poll(now - 1, writable=ledger.stuck is None)):
            require(polled == wait, "polling again after a Wait gives an equal one", wait, polled)
        require(
            core.in_flight == len(ledger.open),
            "in_flight counts the cancels without an outcome",
            core.in_flight,
        )
        limit = self.config.max_in_flight or 1_000_000
        capacity = 0 if ledger.closing or ledger.closed else limit - len(ledger.open)
        require(
            core.capacity == capacity or capacity > 1_000,
            "capacity counts the free places",
            core.capacity,
        )
        require(
            (core.state is State.CLOSED) == ledger.closed,
            "the state is closed after Closed",
            core.state,
        )
        if given[0] == "answer" or given[0] == "say":
            self._check_events(ledger, before)
        else:
            require(not ledger.events, "only a message causes an event", ledger.events)
        self._check_order(ledger)
        require(given[0] != "lost" or ledger.closed, "a lost transport closes the connection")
        require(not ledger.again or ledger.closed, "a second close ends it at once")
        if given[0] == "withdraw" and given[1] in before.waiting:
            require(given[1] not in ledger.open, "a withdrawn cancel has an outcome", given[1])
        if ledger.closed:
            self._check_over(run)
            return
        if ledger.dropped:
            require(
                not any(c.sent_at is None for c in ledger.open.values()),
                "a cancel that can no longer be sent has an outcome",
            )
            require(
                ledger.open or ledger.thrown_out,
                "a closing connection with nothing open ends",
            )
            require(
                given[0] not in FIRES or now < ledger.drain_until,
                "the connection ends when the time to drain is over",
            )
        if ledger.closing and not ledger.thrown_out:
            require(ledger.open or ledger.own, "a closing connection with nothing open ends")
        if given[0] in FIRES:
            over = [cancel.id for cancel in ledger.open.values() if cancel.deadline <= now]
            require(not over, "an expired cancel has an outcome", over)
            require(now < ledger.login_until, "an unanswered login ends the connection")
            require(now < ledger.pong_until, "an unanswered ping ends the connection")
            require(
                ledger.asked is None or now < ledger.asked,
                "a probed link that stays silent is dead",
            )
        self._check_wait(ledger)

    def _check_events(self, ledger: Ledger, before: Before) -> None:
        """Each message has exactly one consequence."""
        came = [kind_of(event) for event in ledger.events]
        expected, settles = _consequence(ledger.given, before)
        require(
            came == ([] if expected is None else [expected]),
            "a message has exactly one consequence",
            came,
            expected,
        )
        answered = [outcome.id for outcome in ledger.outcomes if not _at_the_end(outcome)]
        require(
            answered == ([settles] if settles else []),
            "a reply settles the cancel that it names",
            answered,
            settles,
        )
        if expected == (LateReply, None):
            ledger.late.remove(ledger.given[1])
            ledger.ended.append(ledger.given[1])
            event = ledger.events[0]
            require(event.id == ledger.given[1], "a late reply has the id of its cancel", event)

    def _check_order(self, ledger: Ledger) -> None:
        ended = [outcome for outcome in ledger.outcomes if _at_the_end(outcome)]
        for why in (WhyUnresolved.LOST, WhyUnresolved.CLOSED):
            times = [
                (outcome.taken_at, outcome.sent_at or inf)
                for outcome in ended
                if outcome.why is why
            ]
            require(
                [at for at, _ in times] == sorted(at for at, _ in times),
                "at the end outcomes are in the order taken",
            )

    def _check_over(self, run: Run) -> None:
        """After the end no input has an effect."""
        core, now, over = run.core, run.ledger.now, Wait(None, None)
        require(
            run.ledger.wait == over, "after the end there is nothing to wait for", run.ledger.wait
        )
        core.handle_timeout(now + 9)
        core.receive("accepted a", now + 9)
        core.receive("login 0", now + 9)
        core.close(now + 9)
        core.lost(now + 9, "", ["a"])
        require(core.withdraw("a", now + 9) is False, "after the end no cancel is withdrawn")
        require(core.poll(now + 9) == over, "no output comes after the end")

    def _check_wait(self, ledger: Ledger) -> None:
        """The end of a drain: no output is held back, and the Wait is for the earliest deadline."""
        now, wait = ledger.now, ledger.wait
        due = [cancel.deadline for cancel in ledger.open.values()]
        silent = self._silent_at(ledger) if ledger.asked is None else ledger.asked
        due += [ledger.login_until, ledger.drain_until, ledger.ping_at, ledger.pong_until, silent]
        if ledger.stuck is None:
            opens = self._cancel_allowed_at(ledger)
            require(opens > now, "a frame that may be sent is sent")
            due.append(opens)
        first = min(due)
        require(
            wait.until == (None if first == inf else first),
            "a Wait is for the earliest deadline",
            wait,
            first,
        )
        if ledger.given[0] in FIRES:
            require(
                wait.until is None or wait.until > now, "firing what is due makes progress", wait
            )

    # --- the paces ---

    def _hand(self, ledger: Ledger) -> None:
        ledger.hands = [*ledger.hands[-2:], ledger.now]

    def _pace_opens(self, ledger: Ledger) -> float:
        """The earliest time at which the pace allows one more frame."""
        limit = self.config.messages_per_second
        if limit is None or len(ledger.hands) < limit:
            return ledger.resumes
        return max(ledger.hands[-limit] + 1, ledger.resumes)

    def _spend(self, ledger: Ledger) -> None:
        if ledger.now < ledger.granted_until:
            ledger.granted_until = -inf
        else:
            ledger.spent = [*ledger.spent[-2:], ledger.now]

    def _budget_opens(self, ledger: Ledger) -> float:
        limit = self.per_second
        if limit is None:
            return -inf
        if ledger.now < ledger.granted_until or len(ledger.spent) < limit:
            return ledger.resumes
        return max(ledger.spent[-limit] + 1, ledger.resumes) if limit else inf

    def _cancel_allowed_at(self, ledger: Ledger) -> float:
        """The earliest time at which the next frame may be sent."""
        over = ledger.closing and ledger.drain_until <= ledger.now
        waits = ledger.ready and (ledger.queue() or ledger.own) and not over
        if not (ledger.login == "due" or ledger.ping_waits or waits):
            return inf
        opens = self._pace_opens(ledger)
        if waits and not ledger.own and not ledger.ping_waits and opens <= ledger.now:
            return self._budget_opens(ledger)
        return opens


FIRES: Final = ("tick", "late", "pass")
REFUSED: Final = ("rejected", "finished")
UNSURE: Final = ("unsure", "unlisted", "unreadable")


@attrs.define(eq=False, init=False)
class Before:
    """What was known before the step."""

    sent: list[str]
    waiting: list[str]
    late: list[str]
    login: str
    login_until: float
    pong_until: float
    asked: float
    drain_until: float

    def __init__(self, ledger: Ledger) -> None:
        self.sent = [cancel.id for cancel in ledger.sent()]
        self.waiting = [id for id in ledger.open if id not in self.sent]
        self.late = list(ledger.late)
        self.login, self.login_until = ledger.login, ledger.login_until
        self.pong_until, self.drain_until = ledger.pong_until, ledger.drain_until
        self.asked = inf if ledger.asked is None else ledger.asked

    def login_due(self, now: float) -> bool:
        """Whether the login has expired."""
        return self.login_until <= now


def _at_the_end(outcome: Accepted | Rejected | Unresolved) -> bool:
    return isinstance(outcome, Unresolved) and outcome.why in (
        WhyUnresolved.LOST,
        WhyUnresolved.CLOSED,
    )


def kind_of(event: object) -> tuple[type[Any], Hashable]:
    """The fields of an event that follow from a message."""
    return type(event), event.why if isinstance(event, Unrecognised) else None


def _unrecognised(why: WhyUnrecognised) -> tuple[type[Any], Hashable]:
    return Unrecognised, why


def _consequence(
    given: Input, before: Before
) -> tuple[tuple[type[Any], Hashable] | None, str | None]:
    """The event that follows from a message, and the cancel that it settles."""
    kind, text, *rest = given
    if kind == "answer":
        if rest == ["elsewhere"]:
            return _unrecognised(WhyUnrecognised.OTHER_REQUEST), None
        if text in before.sent:
            return None, text
        if text in before.waiting:
            return _unrecognised(WhyUnrecognised.NEVER_SENT), None
        if text in before.late:
            return (LateReply, None), None
        return _unrecognised(WhyUnrecognised.UNKNOWN_ID), None
    what, _, code = text.partition(" ")
    match what:
        case "pong":
            return None, None
        case "push":
            return _unrecognised(WhyUnrecognised.OTHER), None
        case "several":
            return _unrecognised(WhyUnrecognised.NO_SINGLE_ID), None
        case "nameless":
            return _unrecognised(WhyUnrecognised.NO_ID), None
        case "garbage":
            return _unrecognised(WhyUnrecognised.MALFORMED), None
        case "login":
            if before.login == "due":
                return _unrecognised(WhyUnrecognised.NEVER_SENT), None
            if before.login == "accepted":
                return _unrecognised(WhyUnrecognised.UNEXPECTED), None
            return (Ready, None) if code == "0" else (LoginRejected, None), None
        case _:
            if code == GOING_AWAY:
                return (GoingAway, None), None
            refused = before.login == "sent" and code not in NO_LOGIN
            return (LoginRejected, None) if refused else (ExchangeError, None), None
