"""A ledger of a session's inputs and outputs that checks each promise.

- The ledger reads only public values of the library. It derives the expected outputs from the
  contract and the wire format alone.
- Times are those of the session's own clock: the latest `now` that it was given.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Callable, Container, Iterator
from enum import Enum
from typing import Any

import attrs

from bitget_proto import (
    Accepted,
    CallerError,
    CancelOrder,
    CodeClass,
    Dial,
    Dialect,
    Down,
    Ended,
    ExchangeError,
    GoingAway,
    LateReply,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LoginRejected,
    OrderUpdate,
    Policy,
    Rejected,
    RestCancel,
    SessionConfig,
    SessionOutput,
    Subscribed,
    SubscribeRefused,
    Unrecognised,
    Unresolved,
    Up,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)

EPS = 1e-6
"""Tolerance in seconds between two computations of the same time."""

LOGIN_TIMEOUT, PING_INTERVAL, PONG_TIMEOUT, ANSWER_TIMEOUT, QUEUE_TIMEOUT = (
    10.0,
    30.0,
    10.0,
    10.0,
    150.0,
)
SILENCE, SILENCE_PONG, DRAIN_TIMEOUT, NO_LINK_TIMEOUT, DIAL_TIMEOUT = 2.0, 3.0, 5.0, 10.0, 20.0
RESEND_INTERVAL, STEADY_AFTER, BACKOFF_MIN, BACKOFF_MAX, CONDEMNED = 1.0, 2.0, 0.5, 30.0, 0.5
PER_SECOND, WINDOW, PAUSE = 10, 1.05, 1.0
_EXAMINED = 50
"""So many open cancels a batch surely chooses from."""
LIFETIME, ROTATE_BEFORE, MAX_RETRY_AFTER, DIAL_WINDOW = 86400.0, 600.0, 300.0, 300.0

CODES: dict[CodeClass, tuple[int, ...]] = {
    CodeClass.NOT_FOUND: (43001, 22001, 31007, 40109, 40768, 40819, 43004, 45057, 80011, 25204),
    CodeClass.FINISHED: (40769, 45031, 45055, 45134, 50062),
    CodeClass.NOT_CANCELLABLE: (45056, 45125, 45126, 45024, 43002, 43003),
    CodeClass.THROTTLED: (429, 45129, 25004, 70228),
    CodeClass.OUTCOME_UNKNOWN: (40010, 40725, 45001, 40910, 25001, 25000, 40200, 40604, 500, 50008),
    CodeClass.RETRY_LATER: (40015, 40808, 25003, 40908),
    CodeClass.BAD_PARAMETERS: (40017, 40019, 40020, 40034, 40402, 41101, 400172, 40304, 40305),
    CodeClass.PERMISSION: (40014, 40018, 40022, 40023, 40025, 40026, 40038, 40085, 40301),
    CodeClass.PROTOCOL: (30001, 30002, 30003, 30016),
    CodeClass.UNLISTED: (99999, 12345, 31999, 7),
}

UNIFIED_CODES: dict[CodeClass, tuple[int, ...]] = {
    CodeClass.NOT_FOUND: (25204, 24056),
    CodeClass.NOT_CANCELLABLE: (25102, 25106),
    CodeClass.THROTTLED: (429, 25004),
    CodeClass.OUTCOME_UNKNOWN: (40010, 40725, 45001, 25001, 25000),
    CodeClass.RETRY_LATER: (25003, 25653),
    CodeClass.BAD_PARAMETERS: (41101,),
    CodeClass.PERMISSION: (25006, 25007, 25008, 25012, 25013, 25245, 25620, 40084),
    CodeClass.PROTOCOL: (25002, 30001, 30002, 30003, 30016),
    CodeClass.UNLISTED: (99999, 12345, 31999, 7, 43001, 40769),
}
"""Those of unified accounts; many of classic ones mean nothing there."""
CODES_OF = {Dialect.CLASSIC: CODES, Dialect.UNIFIED: UNIFIED_CODES}
CLASS_OF = {
    dialect: {str(code): kind for kind, codes in table.items() for code in codes}
    for dialect, table in CODES_OF.items()
}

UNSURE_CLASSES = {CodeClass.OUTCOME_UNKNOWN, CodeClass.UNLISTED, CodeClass.UNREADABLE}
KEY_CODES = {"30011", "30012", "30015", *(str(code) for code in CODES[CodeClass.PERMISSION])}
"""A wrong key, passphrase, signature or permission: another dial cannot help."""
STAMP_CODES = {"30013", "30014"}
NO_REFUSAL = {
    "30006",
    "30007",
    "429",
    "45129",
    "25004",
    "70228",
    "30033",
    "40015",
    "40808",
    "25003",
    "40908",
}
"""Errors without an id that do not refuse a login: throttled, going away, retry later."""


class Broken(Exception):
    """A promise was broken: `rule` names it, and `detail` says how."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class Meaning(Enum):
    """The meaning of a frame of the exchange."""

    ANSWER = "answer to one cancel"
    FOREIGN = "not an answer to a cancel"
    ERROR = "error without a request"
    LOGIN = "answer to a login"
    PONG = "pong"
    NOISE = "other"


@attrs.frozen(eq=False)
class Frame:
    """A frame of the exchange and its meaning."""

    text: str | bytes
    meaning: Meaning
    id: str = ""
    code: str | None = None
    message: str | None = ""
    exchange_ts: int | None = None
    request: int = 0
    """The number of the hand-out that it answers, from 1; 0 for none."""
    known_ts: bool = True

    contradiction: bool = False
    """Whether its event and its code contradict each other."""

    items: tuple[tuple[str, str], ...] | None = None
    """The ids of the orders and their codes, if it answers a batch; then `id` is that of the batch."""

    @property
    def plain(self) -> str:
        """The frame's text, as the library reports it."""
        return self.text if isinstance(self.text, str) else self.text.decode()


@attrs.define(eq=False)
class HandOut:
    """One hand-out of a cancel's frame."""

    number: int
    link: int
    at: float
    unsent: bool = False


@attrs.define(eq=False)
class Cancel:
    """A cancel that was taken."""

    number: int
    id: str
    order: CancelOrder
    taken_at: float
    deadline: float
    policy: Policy
    urgent: bool
    hand_outs: list[HandOut] = attrs.Factory(list[HandOut])
    on: int | None = None
    """The link on which it was sent and may still be answered."""
    answer: Frame | None = None
    withdrawn: bool = False

    @property
    def answer_due(self) -> float:
        """The time at which it ends without an answer."""
        return min(self.deadline, self.hand_outs[-1].at + ANSWER_TIMEOUT)

    @property
    def attempts(self) -> list[HandOut]:
        """The hand-outs that may have reached the exchange."""
        return [one for one in self.hand_outs if not one.unsent]


@attrs.frozen(eq=False)
class Batch:
    """A frame with several cancels, of whose ends each is that of one hand-out."""

    link: int
    cancels: tuple[tuple[Cancel, HandOut], ...]


@attrs.define(eq=False)
class Late:
    """A cancel that ended without an answer on a link that is still open."""

    cancel: Cancel
    link: int
    certain: bool


@attrs.define(eq=False)
class Link:
    """A link that was dialled."""

    number: int
    dialled_at: float
    stamp_refused: bool
    opened_at: float | None = None
    ready: bool = False
    up_at: float | None = None
    left: bool = False
    """Whether another link has replaced it."""
    lost_at: float | None = None
    lost_now: bool = False
    """Whether it was lost since the last complete drain."""
    retry_after: float | None = None
    refused: str | None = None
    """The code with which its login was refused."""
    hung_up: bool = False
    aborted: bool = False
    closed: bool = False
    condemned_at: float | None = None
    condemned_why: WhyClosed | None = None
    going: bool = False
    went_early: bool = False
    others_failed: bool = False
    """Whether a dial failed while it served."""
    logged_in: bool = False
    """Whether its login was handed out."""
    frames: deque[float] = attrs.Factory(deque[float])
    paused_until: float = -math.inf
    may_pause_until: float = -math.inf
    last_message: float = -math.inf
    last_pong: float = -math.inf
    pings: list[float] = attrs.Factory(list[float])
    silence_twice: bool = False
    waited_at: float = -math.inf
    """The last time at which a cancel was in flight on it."""
    pings_before: int = 0
    """Number of pings handed out when the heartbeat became due."""
    next_heartbeat: float | None = None
    heartbeat_due: float | None = None
    """The time at which the unanswered heartbeat became due."""
    busy_at: float = -math.inf
    """The last time at which a write was pending on it."""
    asked: bool = False
    """Whether a ping became due in this silent period."""
    question_waits: bool = False
    """Whether that ping is not handed out yet, even if the period is over."""
    silence_ping: float | None = None
    """The time of the ping of this silent period."""
    regular_ping: float | None = None
    """The time of the first unanswered heartbeat."""
    in_flight: dict[str, Cancel] = attrs.Factory(dict[str, Cancel])

    @property
    def over(self) -> bool:
        """Whether it has ended, as far as can be seen from outside."""
        return self.closed or self.hung_up or self.lost_at is not None or self.refused is not None

    def allowed_at(self, now: float) -> float:
        """Return the time at which its rate limit allows the next frame."""
        opens = max(now, self.paused_until, self.may_pause_until)
        if len(self.frames) >= PER_SECOND:
            opens = max(opens, self.frames[-PER_SECOND] + WINDOW)
        return opens

    def spell(self) -> float | None:
        """Return since when a cancel has waited on the silent link.

        Cancels that end before the silence counts are ignored.
        """
        waiting: list[Cancel] = list(self.in_flight.values())
        while waiting:
            spell = max(min(one.hand_outs[-1].at for one in waiting), self.last_message)
            patient = [one for one in waiting if one.answer_due > spell + SILENCE]
            if len(patient) == len(waiting):
                return spell
            waiting = patient
        return None


class Allowance:
    """The account's allowance of cancels, as counted by the ledger."""

    def __init__(self, per_second: int | None) -> None:
        self._per_second = per_second
        self._used: list[float] = []
        self._grants: list[list[float]] = []
        self._debt = 0
        self.paused_until = self.may_pause_until = -math.inf
        self.granted = False

    def allowed_at(self, now: float) -> float:
        """Return the time at which the next cancel may be sent."""
        opens = max(now, self.paused_until)
        self._grants = [grant for grant in self._grants if grant[0] > now and grant[1] > 0]
        if self._grants or self._per_second is None:
            return opens
        if self._per_second == 0:
            return math.inf
        self._used = [used for used in self._used if used + WINDOW > now - EPS]
        if len(self._used) >= self._per_second:
            opens = max(opens, self._used[-self._per_second] + WINDOW)
        return opens

    def surely_open(self, now: float) -> bool:
        """Whether a cancel may be sent now, and also slightly earlier or later."""
        if max(self.paused_until, self.may_pause_until) > now - EPS:
            return False
        if self._per_second is None or any(
            until > now + EPS and count > 0 for until, count in self._grants
        ):
            return True
        return sum(used + WINDOW > now - EPS for used in self._used) < self._per_second

    def spend(self, count: int, now: float) -> None:
        """Count sent cancels."""
        self.allowed_at(now)
        for grant in sorted(self._grants):
            spent = min(count, int(grant[1]))
            grant[1] -= spent
            count -= spent
        if self._per_second == 0:
            self._debt += count
        else:
            self._used.extend([now] * count)

    def grant(self, count: int, until: float) -> None:
        """Count granted cancels."""
        self.granted = True
        paid = min(self._debt, count)
        self._debt -= paid
        self._grants.append([until, count - paid])


class Ledger:
    """All inputs and outputs of a run, checked against the contract."""

    def __init__(
        self,
        config: SessionConfig,
        per_second: int | None,
        visits: Counter[str],
        *,
        session: bool,
        slack: float,
        dialect: Dialect = Dialect.CLASSIC,
    ) -> None:
        self.dialect = dialect
        self.batches: dict[str, Batch] = {}
        """The batches that were sent, by the id of the frame, until they are answered."""
        self.config = config
        self.session = session
        self.slack = slack
        self.visits = visits
        self.now = -math.inf
        self.open: dict[str, Cancel] = {}
        self.links: dict[int, Link] = {}
        self.living: dict[int, Link] = {}
        self.serving: Link | None = None
        self.down_at = -math.inf
        self.ever_up = False
        self.late: dict[str, Late] = {}
        self.own_waiting: deque[str] = deque()
        self.own_for: dict[str, int | None] = {}
        self.own_ids: set[str] = set()
        self.done: dict[str, Cancel] = {}
        self.closing_at: float | None = None
        self.closing_by = math.inf
        self.closing_send = False
        self.closed_again = False
        self.ended: WhyEnded | None = None
        self.dials: list[float] = []
        self.fails = self.fails_at_most = 0
        self.dial_from = -math.inf
        self.dial_by = -math.inf
        self.not_before = -math.inf
        self.allowance = Allowance(per_second)
        self.last_wait: Wait | None = None
        self.quiet = False
        """Whether nothing but the passing of time has happened since the last `Wait`."""
        self.fired: float | None = None
        self._expected: list[tuple[frozenset[type], str | None, bool]] = []
        self._optional = False
        self._later: list[Callable[[], None]] = []
        self._last_hand_out: dict[object, float] = {}
        self._taken = 0
        self._handed = 0
        self.hand_outs: dict[int, Cancel] = {}

    # Inputs

    def tick(self, now: float) -> None:
        """Record the `now` of a call."""
        self.now = max(self.now, now)

    def firing(self) -> None:
        """Record that `handle_timeout` is about to be called."""
        for link in self.living.values():
            if link.heartbeat_due is None:
                link.pings_before = len(link.pings)
            spell = link.spell()
            if (
                link.ready
                and spell is not None
                and self.now >= spell + SILENCE
                and link.condemned_at is None
            ):
                link.question_waits = not link.asked or link.question_waits
                link.asked = True

    def note(self) -> None:
        """Record that something other than the passing of time has happened."""
        self.quiet = False
        self.fired = None

    @property
    def closed_to_commands(self) -> bool:
        """Whether commands are refused."""
        if self.closing_at is not None or self.ended is not None:
            return True
        return not self.session and any(
            link.over or link.condemned_at is not None for link in self.links.values()
        )

    @property
    def capacity(self) -> int:
        """The number of cancels that would be taken now."""
        if self.closed_to_commands:
            return 0
        return (self.config.link.max_in_flight or 10**9) - len(self.open)

    def may_refuse_id(self, id: str) -> bool:
        """Whether this id of the caller's may be refused."""
        return self.is_busy(id) or id in self.own_ids

    def is_busy(self, id: str) -> bool:
        """Whether an answer to a request with this id may still come."""
        return id in self.open or id in self.late or id in self.batches

    def must_refuse_id(self, id: str) -> bool:
        """Whether this id of the caller's must be refused."""
        if id in self.open or id in self.own_ids:
            return True
        late = self.late.get(id)
        return late is not None and late.certain and late.link in self.living

    def taken(
        self,
        id: str,
        order: CancelOrder,
        timeout: float | None,
        policy: Policy | None,
        *,
        urgent: bool,
    ) -> None:
        """Record a cancel that was taken."""
        if id in self.open:
            raise Broken("one outcome", f"the id {id!r} was taken although it is open")
        self._taken += 1
        deadline = self.now + (math.inf if timeout is None else timeout)
        cancel = Cancel(
            self._taken, id, order, self.now, deadline, policy or self.config.policy, urgent
        )
        self.open[id] = cancel
        self.done.pop(id, None)
        self.late.pop(id, None)
        self.visits["taken"] += 1

    def opened(self, number: int) -> None:
        """Record a successful dial."""
        link = self.links[number]
        if not link.over:
            link.opened_at = self.now

    def lost(self, number: int, unsent: Container[str], retry_after: float | None) -> None:
        """Record a lost link."""
        link = self.links.get(number)
        if link is None or link.over:
            return
        link.lost_at = self.now
        link.lost_now = True
        link.retry_after = retry_after
        for cancel in link.in_flight.values():
            if cancel.id in unsent and cancel.answer is None:
                cancel.hand_outs[-1].unsent = True
                self.visits["named in unsent"] += 1
        for batch in self.batches.values():
            # One frame had them all.
            if batch.link == number and any(
                cancel.id in unsent and self.open.get(cancel.id, cancel) is cancel
                for cancel, _ in batch.cancels
            ):
                for cancel, hand_out in batch.cancels:
                    if cancel.id in self.open and cancel.answer is None:
                        hand_out.unsent = True
                self.visits["a batch named in unsent"] += 1

    def sent_own(self, text: str, id: str | None) -> None:
        """Record an own frame of the caller."""
        self.own_waiting.append(text)
        self.own_for[text] = self.serving.number if self.serving is not None else None
        if id is not None:
            self.own_ids.add(id)

    def withdrew(self, id: str, *, taken_back: bool) -> None:
        """Check the result of `withdraw`."""
        cancel = self.open.get(id)
        may = (
            cancel is not None
            and not cancel.attempts
            and not cancel.withdrawn
            and cancel.answer is None
        )
        if cancel is not None and cancel.on is not None and not self.links[cancel.on].over:
            may = False
        if may and cancel is not None and self.must_have_expired(cancel):
            # Its deadline has expired, but no timer has fired yet: both results are right.
            may = taken_back
        if may != taken_back:
            raise Broken(
                "withdraw",
                f"withdraw({id!r}) returned {taken_back}, but the cancel "
                f"{'was not' if may else 'was'} sent",
            )
        if cancel is not None and taken_back:
            cancel.withdrawn = True

    def must_have_expired(self, cancel: Cancel) -> bool:
        """Whether a deadline of a queued cancel has expired."""
        limit = min(cancel.deadline, cancel.taken_at + QUEUE_TIMEOUT)
        return self.now >= limit - self.slack

    def closing(self, queued: str, within: float | None) -> None:
        """Record a `close`."""
        if self.closing_at is not None or self.ended is not None:
            self.closed_again = True
            return
        self.closing_at = self.now
        self.closing_send = queued == "send"
        length = (
            within if within is not None else QUEUE_TIMEOUT if self.closing_send else DRAIN_TIMEOUT
        )
        self.closing_by = self.now + length

    def received(self, number: int, frame: Frame) -> None:
        """Derive the expected outputs of a received frame."""
        link = self.links.get(number)
        if link is None or link.over or link.opened_at is None or self.ended is not None:
            return
        link.last_message = self.now
        link.silence_ping = None
        link.asked = False
        text = frame.plain
        # A replaced or closing link may end with the last answer; frames behind it in the same read
        # are then ignored.
        self._optional = link.left or self.closing_at is not None
        if frame.meaning is Meaning.PONG:
            link.last_pong = self.now
            link.regular_ping = None
            if len(link.pings) > link.pings_before:
                # A pong that comes before the ping was written answers another ping.
                link.heartbeat_due = None
            return
        if frame.meaning is Meaning.ERROR and frame.code == "30033":
            self._expect(text, GoingAway)
            if not link.going and (link.up_at is None or self.now - link.up_at < STEADY_AFTER):
                link.went_early = True
            link.going = True
        elif not link.ready:
            self._received_before_login(link, frame, text)
        elif frame.meaning is Meaning.ANSWER:
            self._answered(link, frame, text)
        elif frame.meaning is Meaning.ERROR:
            self._expect(text, ExchangeError)
            if frame.code in {"30004", "30007"} and link.condemned_at is None:
                link.condemned_at = self.now
                link.condemned_why = (
                    WhyClosed.NOT_LOGGED_IN if frame.code == "30004" else WhyClosed.THROWN_OUT
                )
            if frame.code == "30006":
                link.paused_until = self.now + PAUSE
                if self.session or self.dialect is Dialect.UNIFIED:
                    self.allowance.paused_until = self.now + PAUSE
        elif frame.meaning is Meaning.LOGIN:
            self._expect(text, Unrecognised, ExchangeError)
        else:
            self._expect(
                text, Unrecognised, *([ExchangeError] if frame.meaning is Meaning.FOREIGN else [])
            )

    def _received_before_login(self, link: Link, frame: Frame, text: str) -> None:
        if frame.meaning is Meaning.LOGIN and frame.code == "0":
            if not link.logged_in:
                self._expect(text, Unrecognised)
                return
            link.ready = True
            if not (self.closing_at is not None and not self.closing_send):
                self._expect(None, Up)
        elif frame.meaning is Meaning.LOGIN or frame.meaning is Meaning.ERROR:
            if frame.code in NO_REFUSAL:
                if frame.code == "30006":
                    link.may_pause_until = self.allowance.may_pause_until = self.now + PAUSE
                self._expect(text, ExchangeError)
                return
            link.refused = frame.code or "unreadable"
            self.visits[f"login refused {link.refused}"] += 1
            self._expect(text, LoginRejected)
        else:
            self._expect(
                text, Unrecognised, *([ExchangeError] if frame.meaning is Meaning.FOREIGN else [])
            )

    def _batch_answered(
        self, link: Link, frame: Frame, items: tuple[tuple[str, str], ...], text: str
    ) -> None:
        batch = self.batches.get(frame.id)
        if batch is None or batch.link != link.number:
            self._expect(text, Unrecognised)
            return
        del self.batches[frame.id]
        late: list[Late] = []
        settled = 0
        for cancel, hand_out in batch.cancels:
            answer = self._item(frame, items, name_of(cancel.order))
            if (
                link.in_flight.get(cancel.id) is cancel
                and cancel.hand_outs[-1] is hand_out
                and cancel.answer is None
                and cancel.id in self.open
            ):
                cancel.answer = answer
                settled += 1
                continue
            found = self.late.get(cancel.id)
            if (
                found is not None
                and found.cancel is cancel
                and found.link == link.number
                and answer.message is not None
            ):
                late.append(found)
                del self.late[cancel.id]
        self.visits["answer to a batch"] += 1
        certain = [one for one in late if one.certain]
        optional = self._optional
        for one in late:
            self._optional = optional or not one.certain
            self._expect(text, *([LateReply] if one.certain else [LateReply, Unrecognised]))
        self._optional = optional or len(late) > len(certain)
        if not settled and not certain:
            self._expect(text, Unrecognised)

    def _item(self, frame: Frame, items: tuple[tuple[str, str], ...], name: str) -> Frame:
        """Return what the answer to a batch says of one order.

        "Outer success says nothing of an order". A refusal of the batch is one of each order.
        """
        codes = [code for named, code in items if named == name]
        if frame.code != "0" or frame.contradiction:
            return frame
        known = len(codes) == 1
        return attrs.evolve(
            frame, code=codes[0] if known else None, message=frame.message if known else None
        )

    def _answered(self, link: Link, frame: Frame, text: str) -> None:
        if frame.items is not None:
            self._batch_answered(link, frame, frame.items, text)
            return
        cancel = link.in_flight.get(frame.id)
        if cancel is not None and cancel.answer is None and cancel.id in self.open:
            if self.hand_outs.get(frame.request) is not cancel:
                self.visits["a stale copy resolved a reused id"] += 1
            cancel.answer = frame
            return
        late = self.late.get(frame.id)
        if late is not None and late.link == link.number:
            self._expect(text, *([LateReply] if late.certain else [LateReply, Unrecognised]))
            del self.late[frame.id]
        elif cancel is not None:
            # A second copy in the same read: the first has resolved the cancel, whose outcome has
            # not been polled yet.
            self._expect(text, LateReply, Unrecognised)
        else:
            self._expect(text, Unrecognised)

    def _expect(self, text: str | None, *kinds: type) -> None:
        self._expected.append((frozenset(kinds), text, self._optional))

    # Outputs

    def output(self, output: SessionOutput, busy: Container[int]) -> None:
        """Check an output other than `Wait`."""
        if self.quiet:
            wait = self.last_wait
            until = wait.until if wait is not None else None
            if until is None or self.now < until - EPS:
                raise Broken(
                    "wait", f"{output!r} at {self.now} without an input; Wait was until {until}"
                )
        if self.ended is not None:
            raise Broken("end", f"{output!r} came after Ended")
        self.visits[type(output).__name__] += 1
        match output:
            case LinkTransmit():
                self._transmit(output, busy)
            case LinkHangup():
                self._hangup(output)
            case Dial():
                self._dial(output)
            case Accepted() | Rejected() | Unresolved():
                self._outcome(output)
            case Up():
                self._up(output)
            case Down():
                self._down(output)
            case LinkClosed():
                self._link_closed(output)
            case Ended():
                self._ended(output)
            case (
                Wait()
                | CallerError()
                | OrderUpdate()
                | Subscribed()
                | SubscribeRefused()
                | RestCancel()
            ):
                raise AssertionError
            case LateReply() | ExchangeError() | GoingAway() | LoginRejected() | Unrecognised():
                self._event(output, output.text)

    def _event(self, output: object, text: str | None) -> None:
        for index, (kinds, expected, _) in enumerate(self._expected):
            if type(output) in kinds and (expected is None or text is None or expected == text):
                del self._expected[index]
                return
        raise Broken("event", f"{output!r} has no matching input")

    def _transmit(self, output: LinkTransmit, busy: Container[int]) -> None:
        link = self.links.get(output.link)
        now = self.now
        if link is None or link.over or link.opened_at is None:
            raise Broken(
                "link",
                f"a frame for link {output.link}, which {'is over' if link else 'never existed'}: "
                f"{output!r}",
            )
        if output.link in busy:
            raise Broken(
                "busy", f"a frame for link {output.link}, on which a write is pending: {output!r}"
            )
        if link.condemned_at is not None:
            raise Broken("link", f"a frame for link {output.link} after 30004 or 30007: {output!r}")
        if len(link.frames) >= PER_SECOND and now < link.frames[-PER_SECOND] + WINDOW - EPS:
            raise Broken(
                "pace", f"11 frames on link {link.number} from {link.frames[-PER_SECOND]} to {now}"
            )
        if now < link.paused_until - EPS:
            raise Broken(
                "pace", f"a frame on link {link.number} at {now}, within a second of 30006"
            )
        first = not link.logged_in
        link.frames.append(now)
        if len(link.frames) > PER_SECOND:
            link.frames.popleft()
        if output.text == "ping":
            if output.ids or first:
                raise Broken("frame", f"a ping with an id, or before the login: {output!r}")
            self._ping(link)
            return
        frame: Any = json.loads(output.text)
        if frame.get("op") == "login":
            if not first or not output.secret or output.ids or link.ready:
                raise Broken("frame", f"not the first frame of the link, or not secret: {output!r}")
            link.logged_in = True
            return
        if first or not link.ready:
            raise Broken("frame", f"before the login was accepted: {output!r}")
        if output.ids:
            id, *others = output.ids
            if others:
                self._batch_sent(link, output.ids, frame)
            else:
                self._cancel_sent(link, id, frame)
            return
        if not self.own_waiting or output.text not in self.own_for:
            raise Broken("own frame", f"a frame that was not requested, or a duplicate: {output!r}")
        while self.own_waiting[0] != output.text:
            dropped = self.own_waiting.popleft()
            given = self.own_for.pop(dropped)
            if given is None or not (self.links[given].over or self.links[given].left):
                raise Broken("own frame", f"{output!r} was sent before {dropped!r}")
        self.own_waiting.popleft()
        del self.own_for[output.text]
        self.visits["own frame handed out"] += 1

    def _ping(self, link: Link) -> None:
        link.pings.append(self.now)
        if link.asked and link.silence_ping is None:
            link.silence_ping = self.now
            self.visits["ping of a silent period"] += 1
        elif link.silence_ping is not None:
            link.silence_twice = True
            self.visits["second ping in a silent period"] += 1
        else:
            # The heartbeat has its own schedule, which a ping of a silent period does not move.
            due = (
                (link.opened_at or 0.0) + PING_INTERVAL
                if link.next_heartbeat is None
                else link.next_heartbeat
            )
            idle = self.now >= due - self.slack - EPS
            # A ping that was due for a silence may be handed out late, before the heartbeat is due.
            if link.regular_ping is None and idle and not link.question_waits:
                link.regular_ping = self.now
            self.visits["ping of the heartbeat"] += 1
        link.question_waits = False

    def _cancel_sent(self, link: Link, id: str, frame: Any) -> None:
        cancel = self.open.get(id)
        if cancel is None:
            raise Broken("hand-out", f"a cancel {id!r} that is not open")
        order = cancel.order
        params: dict[str, str] = {}
        if order.order_id is not None:
            params["orderId"] = order.order_id
        if order.client_oid is not None:
            params["clientOid"] = order.client_oid
        wanted: object
        if self.dialect is Dialect.UNIFIED:
            wanted = {"op": "trade", "id": id, "topic": "cancel-order", "args": [params]}
        else:
            inst_type = getattr(order.inst_type, "value", "SPOT") or "SPOT"
            args = {
                "id": id,
                "instType": inst_type,
                "instId": order.inst_id,
                "channel": "cancel-order",
                "params": params,
            }
            wanted = {"op": "trade", "args": [args]}
        if frame != wanted:
            raise Broken("frame", f"{frame!r} is not the cancel of {order!r} with id {id!r}")
        self._handed_out(link, cancel)

    def _batch_sent(self, link: Link, ids: tuple[str, ...], frame: Any) -> None:
        cancels = [self.open.get(id) for id in ids]
        members = [cancel for cancel in cancels if cancel is not None]
        if len(members) < len(ids) or len(set(ids)) < len(ids):
            raise Broken("hand-out", f"a batch {ids!r} with a cancel that is not open, or twice")
        orders = [cancel.order for cancel in members]
        key = "orderId" if orders[0].order_id is not None else "clientOid"
        names = [order.order_id if key == "orderId" else order.client_oid for order in orders]
        id = frame.get("id")
        args = [{key: name} for name in names]
        wanted = {"op": "trade", "id": id, "topic": "batch-cancel", "args": args}
        if self.dialect is not Dialect.UNIFIED or frame != wanted:
            raise Broken("frame", f"{frame!r} is not the batch of {orders!r}")
        if any((order.order_id is not None) is not (key == "orderId") for order in orders):
            raise Broken("batch", f"both kinds of ids in one frame: {frame!r}")
        most = self.config.link.max_batch
        if len(set(names)) < len(names) or (most is not None and len(names) > most):
            raise Broken("batch", f"an order twice, or more than {most}: {frame!r}")
        if not isinstance(id, str) or self.may_refuse_id(id):
            raise Broken("id", f"the id of a batch is that of another request: {frame!r}")
        for place, cancel in enumerate(members):
            self._handed_out(link, cancel, members[:place], alone=False)
        self.batches[id] = Batch(
            link.number, tuple((cancel, cancel.hand_outs[-1]) for cancel in members)
        )
        self.visits["batch"] += 1

    def _handed_out(
        self, link: Link, cancel: Cancel, before: list[Cancel] | None = None, *, alone: bool = True
    ) -> None:
        """Check and record that a cancel was handed out, behind those of the same frame."""
        now, id, order = self.now, cancel.id, cancel.order
        if cancel.on is not None:
            raise Broken(
                "hand-out",
                f"{id!r} on link {link.number}, while it may be answered on link {cancel.on}",
            )
        if cancel.answer is not None or cancel.withdrawn:
            raise Broken("hand-out", f"{id!r} was handed out after it was resolved")
        if self.session and self.serving is not link:
            raise Broken("hand-out", f"{id!r} on link {link.number}, which does not serve")
        attempts = cancel.attempts
        deadline = min(cancel.deadline, math.inf if attempts else cancel.taken_at + QUEUE_TIMEOUT)
        if self.closing_at is not None:
            if not self.closing_send:
                raise Broken("close", f"{id!r} was handed out after close")
            if now >= self.closing_by:
                raise Broken(
                    "within",
                    f"{id!r} was handed out at {now}; close allowed it until {self.closing_by}",
                )
        if now >= deadline:
            raise Broken("deadline", f"{id!r} was handed out at {now}; its deadline was {deadline}")
        if now < self.allowance.allowed_at(now) - EPS:
            raise Broken(
                "budget",
                f"{id!r} was handed out at {now}; "
                f"the allowance opens at {self.allowance.allowed_at(now)}",
            )
        self.allowance.spend(1, now)
        key = order_key(order)
        if attempts:
            if cancel.policy is not Policy.RESEND:
                raise Broken("resend", f"{id!r} was resent with {cancel.policy}")
            if order.order_id is None and not self.config.client_oids_unique:
                raise Broken(
                    "resend", f"{id!r} was resent by a client_oid that may name another order"
                )
            if now < self._last_hand_out.get(key, -math.inf) + RESEND_INTERVAL - EPS:
                raise Broken(
                    "resend",
                    f"{id!r} was resent at {now}; the last time was {self._last_hand_out[key]}",
                )
            self.visits["resent"] += 1
        elif alone or not before:
            self._check_turn(cancel)
        else:
            self._check_turn_in_batch(cancel, before)
        self._handed += 1
        self.hand_outs[self._handed] = cancel
        cancel.hand_outs.append(HandOut(self._handed, link.number, now))
        cancel.on = link.number
        link.in_flight[id] = cancel
        self._last_hand_out[key] = now

    def _check_turn(self, cancel: Cancel) -> None:
        for other in self.open.values():
            if other.number > cancel.number and not (other.urgent and not cancel.urgent):
                continue
            if (
                other is cancel
                or other.on is not None
                or other.hand_outs
                or (cancel.urgent and not other.urgent)
            ):
                continue
            if (
                other.withdrawn
                or other.answer is not None
                or self.must_have_expired(other)
                or self._spaced(other)
            ):
                continue
            rule = "turn"
            if any(
                one.on is None and one is not other and self._spaced(one)
                for one in self.open.values()
            ):
                rule = "stuck behind a spaced order"
            raise Broken(rule, f"{cancel.id!r} was handed out before {other.id!r}")

    def _check_turn_in_batch(self, cancel: Cancel, before: list[Cancel]) -> None:
        """Check that no cancel that fits into the frame as well was passed over."""
        by_order_id = cancel.order.order_id is not None
        names = {name_of(one.order) for one in before}
        for other in self.open.values():
            if (
                other.number < cancel.number
                and other.urgent >= cancel.urgent
                and other is not cancel
                and other.on is None
                and not other.hand_outs
                and (other.order.order_id is not None) is by_order_id
                and name_of(other.order) not in names
                and name_of(other.order) != name_of(cancel.order)
                and not other.withdrawn
                and other.answer is None
                and not self.must_have_expired(other)
                and not self._spaced(other)
                and len(self.open) <= _EXAMINED
            ):
                raise Broken("turn", f"{cancel.id!r} was handed out before {other.id!r}")

    def _spaced(self, cancel: Cancel) -> bool:
        return (
            self.now
            < self._last_hand_out.get(order_key(cancel.order), -math.inf) + RESEND_INTERVAL + EPS
        )

    def _hangup(self, output: LinkHangup) -> None:
        link = self.links.get(output.link)
        if (
            link is None
            or link.hung_up
            or link.closed
            or (link.lost_at is not None and not link.lost_now)
        ):
            raise Broken("hangup", f"{output!r} for a link that is over or never existed")
        link.hung_up = True
        link.aborted = output.abort
        if output.abort:
            self.visits["aborted"] += 1

    def _dial(self, output: Dial) -> None:
        now = self.now
        if output.link in self.links or output.link != len(self.links) + 1:
            raise Broken("dial", f"{output!r} after {len(self.links)} links")
        if any(not link.over and not link.ready for link in self.living.values()):
            raise Broken("dial", f"{output!r} while another dial is pending")
        if self.closing_at is not None and not (self.closing_send and self.open):
            raise Broken("dial", f"{output!r} after close")
        if now < self.not_before - self.slack - EPS:
            raise Broken(
                "retry after", f"dialled at {now}; Retry-After allowed it from {self.not_before}"
            )
        if now < self.dial_from - EPS:
            raise Broken("backoff", f"dialled at {now}; not before {self.dial_from} was allowed")
        if self.dials and now < self.dials[-1] + BACKOFF_MIN / 2 - EPS:
            raise Broken("backoff", f"dialled at {self.dials[-1]} and at {now}")
        limit = self.config.dials_per_5_minutes
        if (
            limit is not None
            and len(self.dials) >= limit
            and now < self.dials[-limit] + DIAL_WINDOW - EPS
        ):
            raise Broken("dials", f"{limit + 1} dials from {self.dials[-limit]} to {now}")
        serving = self.serving
        if (
            serving is not None
            and not serving.over
            and not serving.going
            and serving.condemned_at is None
        ):
            opened = serving.opened_at or 0.0
            if now < opened + LIFETIME - ROTATE_BEFORE - EPS:
                raise Broken("dial", f"{output!r} while link {serving.number} serves")
            self.visits["dialled to rotate"] += 1
        if output.stamp_refused:
            self.visits["dialled with a corrected stamp"] += 1
            if not any(link.refused in STAMP_CODES for link in self.links.values()):
                raise Broken("dial", f"{output!r}, but no stamp was refused")
        if serving is not None:
            self.fails_at_most = max(1, self.fails_at_most)
        self.dials.append(now)
        link = Link(output.link, now, output.stamp_refused)
        self.links[output.link] = link
        self.living[output.link] = link

    def _up(self, output: Up) -> None:
        link = self.links.get(output.link)
        if link is None or not link.ready or link.closed or link.hung_up or link.up_at is not None:
            raise Broken("up", f"{output!r} for a link that is not logged in or is over")
        self._event(output, None)
        if self.serving is not None:
            self.serving.left = True
            if self.now - (self.serving.up_at or 0.0) >= STEADY_AFTER:
                self.fails, self.fails_at_most = 0, 1
            else:
                self.fails_at_most += 1
            self.visits["moved"] += 1
        link.up_at = self.now
        self.serving = link
        for text, given in self.own_for.items():
            if given is None:
                self.own_for[text] = link.number
        self.ever_up = True

    def _down(self, output: Down) -> None:
        if self.serving is None or self.serving.number != output.link:
            raise Broken("down", f"{output!r}, but that link did not serve")
        link = self.serving
        self.visits[f"down: {output.why.value}"] += 1
        self.serving = None
        self.down_at = self.now
        self._later.append(lambda: self._check_over(link))

    def _check_over(self, link: Link) -> None:
        if not link.closed:
            raise Broken("link", f"link {link.number} went down without LinkClosed")

    def _link_closed(self, output: LinkClosed) -> None:
        link = self.links.get(output.link)
        now = self.now
        if link is None or link.closed:
            raise Broken(
                "link closed", f"{output!r}, which {'is a duplicate' if link else 'never existed'}"
            )
        if link.lost_at is None and not link.hung_up:
            raise Broken("link closed", f"{output!r} without LinkHangup")
        link.closed = True
        del self.living[link.number]
        why = output.why
        self.visits[f"closed: {why.value}"] += 1
        leaving = link.left or self.closing_at is not None
        if link.refused is not None:
            right = why is WhyClosed.LOGIN_REFUSED
        elif why is WhyClosed.LOST:
            given_up = link.opened_at is None and now >= link.dialled_at + DIAL_TIMEOUT - EPS
            right = link.lost_at is not None or given_up or link.condemned_at is not None or leaving
        elif why is WhyClosed.NO_PONG:
            right = self._may_be_dead(link)
            if (
                not right
                and link.pings
                and link.last_message < link.pings[-1] <= now - SILENCE_PONG + EPS
            ):
                raise Broken(
                    "dead too soon",
                    f"{output!r} at {now}; pings at {link.pings}, last message {link.last_message}",
                )
            if not right and (not link.pings or link.last_pong >= link.pings[-1]):
                raise Broken(
                    "dead though it answers",
                    f"{output!r} at {now}; the last pong was at {link.last_pong}",
                )
            if not link.aborted:
                raise Broken("abort", f"{output!r}, but its LinkHangup did not abort")
        elif why is WhyClosed.LOGIN_TIMEOUT:
            right = (
                link.opened_at is not None
                and not link.ready
                and now >= link.opened_at + LOGIN_TIMEOUT - EPS
            )
        elif why is WhyClosed.NOT_LOGGED_IN or why is WhyClosed.THROWN_OUT:
            right = why is link.condemned_why
            ripe = link.condemned_at is not None and now >= link.condemned_at + CONDEMNED - EPS
            right = right and (ripe or link.lost_at is not None or leaving)
        elif why is WhyClosed.ASKED:
            right = leaving or (
                link.opened_at is None and now >= link.dialled_at + DIAL_TIMEOUT - EPS
            )
            if not right:
                self._later.append(lambda: self._check_ending(output))
                right = True
        else:
            right = False
        if not right:
            raise Broken("link closed", f"{output!r} at {now} with a wrong reason: {link!r}")
        for cancel in link.in_flight.values():
            cancel.on = None
        link.in_flight.clear()
        for id in [id for id, late in self.late.items() if late.link == link.number]:
            self.late[id].certain = False
        self._count_backoff(link)

    def _check_ending(self, output: LinkClosed) -> None:
        left = self.links[output.link].left
        if self.ended is None and not left:
            raise Broken("link closed", f"{output!r}, which was not requested")

    def _count_backoff(self, link: Link) -> None:
        now = self.now
        if link.retry_after is not None:
            self.not_before = max(self.not_before, now + min(link.retry_after, MAX_RETRY_AFTER))
        if link.left:
            return
        if self.serving is not None and self.serving is not link:
            self.serving.others_failed = True
        served = now - link.up_at if link.up_at is not None else -math.inf
        self.fails = 0 if served >= STEADY_AFTER - self.slack else self.fails + 1
        if served < STEADY_AFTER + self.slack:
            self.fails_at_most += 1
        elif not link.others_failed:
            self.fails_at_most = 1
        if link.going or (
            link.opened_at is not None and now >= link.opened_at + LIFETIME - ROTATE_BEFORE - EPS
        ):
            self.dial_from, self.dial_by = -math.inf, now + BACKOFF_MAX
            return
        alone = link.up_at is not None or self.serving is None
        self.dial_from = now - self.slack + (backoff(self.fails) if alone else BACKOFF_MIN) / 2
        # Moves to another link are dials, too; how they count cannot be seen from outside.
        moved = any(one.going or one.left for one in self.links.values())
        self.dial_by = now + (backoff(self.fails_at_most) if alone and not moved else BACKOFF_MAX)
        stamp = link.refused in STAMP_CODES and not link.stamp_refused
        if stamp:
            self.dial_from = -math.inf

    def _may_be_dead(self, link: Link) -> bool:
        now = self.now
        if link.silence_ping is not None and now >= link.silence_ping + SILENCE_PONG - EPS:
            return True
        if (
            link.asked
            and link.silence_ping is None
            and now >= link.last_message + SILENCE + SILENCE_PONG - EPS
        ):
            # The ping could not be written: it counts from when it could have been sent.
            return True
        if (
            link.heartbeat_due is not None
            and now >= link.heartbeat_due + PONG_TIMEOUT - self.slack - EPS
        ):
            # It is due but not written: a write is pending, or the rate limit delays it.
            return True
        held = WINDOW if len(link.frames) >= PER_SECOND else self.slack
        return any(link.last_pong < ping <= now - PONG_TIMEOUT + held + EPS for ping in link.pings)

    def _ended(self, output: Ended) -> None:
        if self.open:
            raise Broken("one outcome", f"{output!r}, but these have no outcome: {list(self.open)}")
        alive = list(self.living)
        if alive:
            raise Broken("end", f"{output!r} before the end of the links {alive}")
        self.ended = output.why
        self.visits[f"ended: {output.why.value}"] += 1
        refused = [link.refused for link in self.links.values() if link.refused]
        if output.why is WhyEnded.ASKED:
            right = self.closing_at is not None
        elif output.why is WhyEnded.REFUSED:
            right = bool(refused) and refused[-1] in KEY_CODES and output.code == refused[-1]
        elif output.why is WhyEnded.STAMP_REFUSED:
            last = [link for link in self.links.values() if link.refused in STAMP_CODES]
            right = bool(last) and last[-1].stamp_refused and not self.ever_up
        else:
            right = False
        if not right and self.session:
            raise Broken(
                "end", f"{output!r} at {self.now} with a wrong reason: refused with {refused}"
            )

    # Outcomes

    def _outcome(self, output: Accepted | Rejected | Unresolved) -> None:
        cancel = self.open.pop(output.id, None)
        if cancel is None:
            known = "already had its outcome" if output.id in self.done else "was never taken"
            raise Broken("one outcome", f"{output!r}, but that id {known}")
        self.done[output.id] = cancel
        attempts = cancel.attempts
        sent_at = attempts[-1].at if attempts else None
        expected = (cancel.order, cancel.taken_at, sent_at, max(1, len(attempts)))
        if (output.order, output.taken_at, output.sent_at, output.attempts) != expected:
            raise Broken(
                "times", f"{output!r}; order, taken_at, sent_at and attempts must be {expected!r}"
            )
        if not cancel.taken_at <= output.resolved_at <= self.now:
            raise Broken("times", f"{output!r} at {self.now}: impossible resolved_at")
        link = self.links[cancel.on] if cancel.on is not None else None
        if cancel.withdrawn and not (
            isinstance(output, Unresolved) and output.why is WhyUnresolved.WITHDRAWN
        ):
            raise Broken("withdraw", f"{output!r}, but withdraw had returned true")
        match output:
            case Accepted():
                self.visits["outcome: accepted"] += 1
                self._check_answer(output, cancel)
            case Rejected():
                self.visits[f"outcome: rejected, {output.code_class.value}"] += 1
                self._check_answer(output, cancel)
            case Unresolved():
                sent = "sent" if output.sent else "not sent"
                self.visits[f"outcome: unresolved, {output.why.value}, {sent}"] += 1
                if output.sent != bool(attempts):
                    raise Broken("sent", f"{output!r}, but its hand-outs are {cancel.hand_outs!r}")
                if output.why is WhyUnresolved.UNSURE:
                    self._check_answer(output, cancel)
                else:
                    self._check_why(output, cancel, link)
        if len(attempts) > 1:
            self.visits["outcome of a resent cancel"] += 1
        if link is not None:
            link.in_flight.pop(cancel.id, None)
            cancel.on = None
            if isinstance(output, Unresolved) and output.sent and not cancel.hand_outs[-1].unsent:
                resent = len(attempts) > 1 and cancel.answer is not None
                self.late[cancel.id] = Late(cancel, link.number, not resent and not link.over)

    def _check_answer(self, output: Accepted | Rejected | Unresolved, cancel: Cancel) -> None:
        frame = cancel.answer
        if frame is None:
            raise Broken("answer", f"{output!r}, but the exchange has not answered it")
        kind = CodeClass.UNREADABLE if frame.contradiction else class_of(frame.code, self.dialect)
        if kind is CodeClass.ACCEPTED:
            wanted: tuple[type, ...] = (Accepted,)
        elif kind in UNSURE_CLASSES or (
            kind is not CodeClass.FINISHED and len(cancel.attempts) > 1
        ):
            wanted = (Unresolved,)
        else:
            wanted = (Rejected, Unresolved) if kind is CodeClass.RETRY_LATER else (Rejected,)
        if not isinstance(output, wanted):
            raise Broken(
                "answer",
                f"{output!r}, but the answer was {frame.text!r} "
                f"after {len(cancel.attempts)} attempts",
            )
        right = True
        if isinstance(output, Rejected):
            right = (output.code, output.message) == (
                frame.code,
                frame.message,
            ) and output.code_class is kind
        elif isinstance(output, Unresolved):
            right = (output.code, output.message) == (frame.code, frame.message)
        if not isinstance(output, Unresolved) and frame.known_ts:
            right = right and output.exchange_ts == frame.exchange_ts
        if not right:
            raise Broken(
                "answer", f"{output!r}, but the answer was {frame.text!r}, which is {kind}"
            )

    def _check_why(self, output: Unresolved, cancel: Cancel, link: Link | None) -> None:
        now = self.now + self.slack + EPS
        why = output.why
        if cancel.answer is not None:
            raise Broken(
                "answer", f"{output!r}, but the exchange had answered it: {cancel.answer.text!r}"
            )
        attempts = cancel.attempts
        if why is WhyUnresolved.TIMEOUT:
            limits = [cancel.deadline]
            if attempts:
                limits.append(attempts[-1].at + ANSWER_TIMEOUT)
            if link is None or not attempts:
                limits.append(cancel.taken_at + QUEUE_TIMEOUT)
            if min(limits) > now:
                raise Broken("deadline", f"{output!r} at {self.now}; its deadline is {min(limits)}")
        elif why is WhyUnresolved.LOST or why is WhyUnresolved.CLOSED:
            self._later.append(lambda: self._check_gone(output, cancel, link))
        elif why is WhyUnresolved.NO_LINK:
            since = max(cancel.taken_at, self.down_at)
            up_at = self.serving.up_at if self.serving is not None else None
            waited = (now if up_at is None else up_at + EPS) - since
            if not self.session or (link is not None and not link.over) or waited < NO_LINK_TIMEOUT:
                raise Broken(
                    "no link",
                    f"{output!r} at {self.now}; no link has served since {since}, for {waited} s",
                )
        elif why is WhyUnresolved.WITHDRAWN:
            if not cancel.withdrawn:
                raise Broken("withdraw", f"{output!r}, but it was not withdrawn")
        else:
            raise Broken("why", f"{output!r} with a wrong reason")

    def _check_gone(self, output: Unresolved, cancel: Cancel, link: Link | None) -> None:
        over = self.closing_at is not None or self.ended is not None
        if not self.session:
            if not over and not any(
                one.closed or one.condemned_at is not None for one in self.links.values()
            ):
                raise Broken("lost", f"{output!r}, but the connection is open")
            return
        attempts = cancel.attempts
        if not over:
            if link is None:
                raise Broken("lost", f"{output!r}, but it was on no link and may wait for the next")
            if not link.closed:
                raise Broken("lost", f"{output!r}, but link {link.number} is open")
            if not attempts:
                raise Broken(
                    "lost", f"{output!r}, but it was not sent and may wait for the next link"
                )
            if cancel.policy is Policy.RESEND and (
                cancel.order.order_id or self.config.client_oids_unique
            ):
                raise Broken("resend", f"{output!r}, but it must be resent")
        elif self.closed_again:
            return
        elif (
            self.ended is None
            and output.why is WhyUnresolved.CLOSED
            and link is not None
            and attempts
        ):
            if self.now < self.closing_by - EPS and not link.over:
                raise Broken(
                    "close",
                    f"{output!r} at {self.now}; it may be answered until {self.closing_by}",
                )
        elif (
            self.ended is None
            and self.closing_send
            and not attempts
            and self.now < self.closing_by - EPS
        ):
            raise Broken(
                "close", f"{output!r} at {self.now}; it may be sent until {self.closing_by}"
            )

    # The end of a drain

    def waiting(self, wait: Wait, busy: Container[int], *, complete: bool) -> None:
        """Check the `Wait` that ends a drain; `complete` counts its timer as a visit."""
        for check in self._later:
            check()
        self._later.clear()
        for kinds, text, optional in self._expected:
            if optional:
                continue
            raise Broken(
                "event", f"{text!r} caused none of {sorted(kind.__name__ for kind in kinds)}"
            )
        self._expected.clear()
        until = wait.until
        before = self.last_wait if self.quiet else None
        early = before is not None and (before.until is None or self.now < before.until - EPS)
        granted = self.allowance.granted
        if before is not None and early and until != before.until and not granted:
            raise Broken("wait", f"{wait!r} at {self.now}; nothing has happened since {before!r}")
        if self.ended is not None:
            if until is not None:
                raise Broken("end", f"{wait!r} after Ended")
        else:
            self._check_state(busy)
            if until is not None and self.fired is not None and until <= self.fired:
                raise Broken("spin", f"{wait!r} after handle_timeout({self.fired})")
            for moment, what in self._bounds(busy):
                if moment < math.inf and (until is None or until > moment + EPS + self.slack):
                    rule = "late" if moment <= self.now else "wait"
                    if "next dial" in what and any(one.went_early for one in self.links.values()):
                        rule = "backoff after an early 30033"
                    held = any(one.on is None and self._spaced(one) for one in self.open.values())
                    if "may be sent" in what and held:
                        rule = "stuck behind a spaced order"
                    if "is silent" in what and any(
                        one.silence_twice for one in self.living.values()
                    ):
                        rule = "silence and heartbeat"
                    raise Broken(rule, f"{wait!r} at {self.now}, but {what} at {moment}")
        for link in self.living.values():
            link.lost_now = False
            if link.opened_at is not None and self.fired is not None:
                next_due = (
                    link.opened_at + PING_INTERVAL
                    if link.next_heartbeat is None
                    else link.next_heartbeat
                )
                if self.fired >= next_due - self.slack - EPS:
                    link.next_heartbeat = self.fired + PING_INTERVAL
                    link.heartbeat_due = (
                        link.heartbeat_due if link.heartbeat_due is not None else self.fired
                    )
            if link.in_flight:
                link.waited_at = self.now
            if link.number in busy:
                link.busy_at = self.now
        if complete:
            self.visits[f"timer {wait.timer.value if wait.timer else None}"] += 1
        self.last_wait = wait
        self.quiet = True
        self.fired = None

    def _check_state(self, busy: Container[int]) -> None:
        for cancel in self.open.values():
            if cancel.answer is not None or cancel.withdrawn:
                raise Broken("one outcome", f"{cancel!r} was resolved, but its outcome is missing")
            if cancel.on is None and self.closing_at is not None and not self.closing_send:
                raise Broken("close", f"{cancel!r} is queued after close")
            if cancel.on is None and cancel.attempts and not self._may_resend(cancel):
                raise Broken("lost", f"{cancel!r} was lost, but its outcome is missing")
        for link in self.living.values():
            if link.over:
                raise Broken("link closed", f"link {link.number} is over without LinkClosed")
            for cancel in link.in_flight.values():
                if cancel.hand_outs[-1].unsent:
                    raise Broken("lost", f"{cancel!r} was named in unsent without an effect")
        if self.serving is not None and self.serving.closed and self.closing_at is not None:
            self.serving = None
        if self.serving is not None and self.serving.closed:
            raise Broken("down", f"link {self.serving.number} is over without Down")
        # With queued="send" the caller's own frames are sent first as well.
        settled = not self.open and not (self.closing_send and self.own_waiting)
        # After 30004 or 30007 a link ends half a second later, whatever is open.
        settled = settled and all(link.condemned_at is None for link in self.living.values())
        if self.closing_at is not None and (self.closed_again or settled):
            raise Broken(
                "second close" if self.open else "close",
                f"all resolved, or close called again, but there is no Ended: {list(self.open)}",
            )
        if not self.session:
            return
        refused = [link for link in self.links.values() if link.refused in KEY_CODES]
        if refused and not self.living:
            last = self.links[len(self.links)]
            if last is refused[-1]:
                raise Broken(
                    "end", f"the key was refused with {last.refused}, but the session goes on"
                )
        last = self.links[len(self.links)]
        if (
            last.refused in STAMP_CODES
            and last.stamp_refused
            and not self.ever_up
            and not self.living
        ):
            raise Broken("end", "the corrected stamp was refused, but the session goes on")
        self._check_stuck(busy)

    def _may_resend(self, cancel: Cancel) -> bool:
        if not self.session or cancel.policy is not Policy.RESEND:
            return False
        return cancel.order.order_id is not None or self.config.client_oids_unique

    def _check_stuck(self, busy: Container[int]) -> None:
        """Raise when a frame could have been sent and was not."""
        link = self.serving
        if link is None or link.over or link.condemned_at is not None or link.number in busy:
            return
        if len(link.frames) >= PER_SECOND and link.frames[-PER_SECOND] + WINDOW > self.now - EPS:
            return
        if max(link.may_pause_until, link.paused_until) > self.now - EPS:
            return
        if self.closing_at is None or (self.closing_send and self.now < self.closing_by - EPS):
            for text in self.own_waiting:
                given = self.own_for[text]
                if given is None or given == link.number:
                    raise Broken("stuck", f"an own frame could be sent at {self.now}: {text!r}")
        if not self.allowance.surely_open(self.now):
            return
        for cancel in self.open.values():
            if cancel.on is None and not self._spaced(cancel) and not self._past(cancel):
                rule = "stuck"
                if any(one.on is None and self._spaced(one) for one in self.open.values()):
                    rule = "stuck behind a spaced order"
                raise Broken(rule, f"{cancel!r} could be sent at {self.now}")

    def _past(self, cancel: Cancel) -> bool:
        limit = min(cancel.deadline, self.closing_by if self.closing_send else math.inf)
        limit = min(limit, cancel.taken_at + QUEUE_TIMEOUT)
        return self.now >= limit - EPS

    def _bounds(self, busy: Container[int]) -> Iterator[tuple[float, str]]:
        """Yield the time of each due event, with a description."""
        for cancel in self.open.values():
            attempts = cancel.attempts
            yield cancel.deadline, f"the timeout of {cancel.id!r} ends"
            if cancel.on is not None:
                yield attempts[-1].at + ANSWER_TIMEOUT, f"the answer to {cancel.id!r} is due"
                continue
            if not attempts:
                yield cancel.taken_at + QUEUE_TIMEOUT, f"the queue timeout of {cancel.id!r} ends"
                if self.closing_send:
                    yield self.closing_by, f"{cancel.id!r} is dropped"
            if self.session and self.serving is None:
                yield (
                    max(cancel.taken_at, self.down_at) + NO_LINK_TIMEOUT,
                    f"{cancel.id!r} ends with NO_LINK",
                )
        if self.closing_at is not None and not self.closing_send:
            yield self.closing_by, "the session ends"
        for link in self.living.values():
            yield from self._link_bounds(link, busy)
        yield from self._pace_bounds(busy)
        needed = self.closing_at is None or (
            self.closing_send and any(one.on is None for one in self.open.values())
        )
        if (
            needed
            and self.session
            and self.serving is None
            and all(link.ready for link in self.living.values())
        ):
            by = max(self.dial_by, self.not_before)
            limit = self.config.dials_per_5_minutes
            if limit is not None and len(self.dials) >= limit:
                by = max(by, self.dials[-limit] + DIAL_WINDOW)
            yield by, "the next dial is due"

    def _link_bounds(self, link: Link, busy: Container[int]) -> Iterator[tuple[float, str]]:
        now = self.now
        if link.opened_at is None:
            if self.session:
                yield link.dialled_at + DIAL_TIMEOUT, f"the dial of link {link.number} times out"
            return
        if not link.ready:
            yield link.opened_at + LOGIN_TIMEOUT, f"the login of link {link.number} times out"
        if link.condemned_at is not None:
            yield link.condemned_at + CONDEMNED, f"link {link.number} ends after 30004 or 30007"
            return
        if not link.ready or link.number in busy:
            return
        opens = link.allowed_at(now)
        ping = (link.pings[-1] if link.pings else link.opened_at) + PING_INTERVAL
        if link.regular_ping is None:
            yield max(ping, opens), f"link {link.number} must be pinged"
        else:
            yield link.regular_ping + PONG_TIMEOUT, f"link {link.number} has not answered a ping"
        spell = link.spell()
        if spell is not None:
            if link.silence_ping is not None:
                yield (
                    link.silence_ping + SILENCE_PONG,
                    f"link {link.number} is silent since {spell}",
                )
            else:
                due = spell + SILENCE
                yield max(due, opens), f"link {link.number} must be pinged for its silence"

    def _pace_bounds(self, busy: Container[int]) -> Iterator[tuple[float, str]]:
        link = self.serving
        if link is None or link.over or link.condemned_at is not None or link.number in busy:
            return
        opens = link.allowed_at(self.now)
        waits = any(self.own_for[text] in {None, link.number} for text in self.own_waiting)
        if waits and (
            self.closing_at is None or (self.closing_send and opens < self.closing_by - EPS)
        ):
            yield opens, "an own frame may be sent"
        budget = max(opens, self.allowance.allowed_at(self.now), self.allowance.may_pause_until)
        for cancel in self.open.values():
            if cancel.on is None and not self._past(cancel):
                spaced = (
                    self._last_hand_out.get(order_key(cancel.order), -math.inf) + RESEND_INTERVAL
                )
                yield max(budget, spaced), f"{cancel.id!r} may be sent"


def name_of(order: CancelOrder) -> str:
    """Return the id that prevails."""
    return order.order_id or order.client_oid or ""


def order_key(order: CancelOrder) -> object:
    """Return the identity of an order: "If both are present, orderId prevails"."""
    return (order.inst_type, order.inst_id, order.order_id or ("client", order.client_oid))


def backoff(fails: int) -> float:
    """Return the longest wait before the next dial after `fails` failed links."""
    return min(BACKOFF_MAX, BACKOFF_MIN * 2.0 ** min(10, max(fails - 1, 0)))


def class_of(code: str | None, dialect: Dialect) -> CodeClass:
    """Return the class of a code according to the wire documentation."""
    if code is None:
        return CodeClass.UNREADABLE
    if code == "0":
        return CodeClass.ACCEPTED
    return CLASS_OF[dialect].get(code, CodeClass.UNLISTED)
