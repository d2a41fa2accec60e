"""Explores every input sequence of small worlds of a `Connection` and a `Session`.

- A world has few inputs and limits of a few seconds, so that its states are finite. Several worlds
  that each cover a part are better than one huge world.
- Coverage is counted, and everything that no sequence reaches is listed here.
- A planted bug is one wrong line of the core. It must be found, and for the reason that is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from math import inf
from typing import Any

import attrs
import pytest

from bitget_proto import (
    Accepted,
    Closed,
    CodeClass,
    Config,
    Connection,
    Dial,
    Down,
    Ended,
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LoginRejected,
    Policy,
    Ready,
    Rejected,
    Session,
    SessionConfig,
    SessionState,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    Up,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto._machine import cancel_attempts as attempts_module
from bitget_proto._machine import frame_queue as frame_queue_module
from bitget_proto._machine import in_flight as in_flight_module
from bitget_proto._machine.backoff import Redial
from bitget_proto._machine.cancel_attempts import Cancel
from bitget_proto._machine.cancel_queue import CancelQueue, Rank
from bitget_proto._machine.deadlines import after
from bitget_proto._machine.heartbeat import Heartbeat
from bitget_proto._machine.in_flight import InFlight
from bitget_proto._machine.links import Links
from bitget_proto._machine.order_spacing import Spacing
from bitget_proto._machine.outcomes import Outcomes
from bitget_proto._machine.rate_limit import SlidingWindow
from bitget_proto._machine.request_ids import RequestIds
from bitget_proto._machine.session_queue import SessionQueue
from bitget_proto._values.codes import FINAL_AFTER_RESEND, REFUSALS

from .small_connections import ConnectionWorld, Run
from .small_sessions import SessionWorld
from .small_worlds import Explored, Input, Violation, World, explore


def config(**limits: Any) -> Config:
    """Limits of a few whole seconds; limits that a world does not test are off."""
    small: dict[str, Any] = {
        "login_timeout": 2.0,
        "ping_interval": None,
        "pong_timeout": 2.0,
        "silence": None,
        "silence_pong": 1.0,
        "answer_timeout": 2.0,
        "queue_timeout": 3.0,
        "drain_timeout": 1.0,
        "messages_per_second": None,
        "pace_margin": None,
        "max_own_frames": 1,
    }
    return Config(**(small | limits))


def session_config(link: Config | None = None, **limits: Any) -> SessionConfig:
    small: dict[str, Any] = {
        "link": config() if link is None else link,
        "no_link_timeout": 2.0,
        "resend_interval": 1.0,
        "dial_timeout": 2.0,
        "dials_per_5_minutes": None,
        "backoff_min": 1.0,
        "backoff_max": 2.0,
        "steady_after": 1.0,
        "lifetime": None,
    }
    return SessionConfig(**(small | limits))


def answers(ids: str, *kinds: str) -> list[Input]:
    """Each kind of reply to each of these ids."""
    return [("answer", id, kind) for id in ids for kind in kinds]


def says(*texts: str, where: str = "") -> list[Input]:
    """Messages that name no cancel; for a session, with the link that they come from."""
    return [("say", where, text) if where else ("say", text) for text in texts]


CANCEL: Input = ("cancel",)
URGENT: Input = ("cancel", "urgent")
LOST: Input = ("lost",)
STALLS: list[Input] = [("stall",), ("written",), LOST, ("lost", "unsent")]
CLOSES: list[Input] = [("close", "drop"), ("close", "send")]
UP: list[Input] = [("opened",), ("say", "last", "login 0")]
LINK_LOST: Input = ("lost", "last")
LINKS_LOST: list[Input] = [("lost", "first"), LINK_LOST]
LINK_STALLS: list[Input] = [("stall",), ("written",), LINK_LOST, ("lost", "last", "unsent")]
GOING: Input = ("say", "first", "error 30033")
AT_ONCE = ("tick", "late")
"""A coarser clock for large worlds: no input between timers, or a gap and timers."""

CONNECTIONS = [
    ConnectionWorld(
        "answers",
        config(),
        (
            CANCEL, LOST, ("close", "drop"),
            *answers("abc", "accepted", "rejected", "finished", "unsure", "unlisted", "unreadable", "elsewhere"),
            *says("push", "garbage", "several", "nameless", "login 0", "error 30033", "error 30001"),
        ),
    ),
    ConnectionWorld(
        "a message a second", config(messages_per_second=1), (CANCEL, URGENT, ("withdraw", "b"), *answers("abc", "accepted"))
    ),
    ConnectionWorld(
        "two messages a second",
        config(messages_per_second=2, queue_timeout=2.0, id_prefix="", max_in_flight=3),
        (("cancel", "timeout"), ("many",), ("withdraw", "1"), *answers("123", "accepted"), *STALLS),
        ids=("1", "2", "3"),
    ),
    ConnectionWorld(
        "a budget",
        config(messages_per_second=2),
        (CANCEL, ("debit",), ("grant",), *says("error 30006"), *answers("a", "accepted")),
        ids=("a", "b"),
        per_second=1,
    ),
    ConnectionWorld("grants", config(), (CANCEL, ("grant",), LOST, *answers("ab", "accepted")), per_second=0),
    ConnectionWorld(
        "silence",
        config(silence=1.0, messages_per_second=1),
        (CANCEL, *answers("ab", "accepted"), *says("push", "pong"), *STALLS),
        ids=("a", "b"),
    ),
    ConnectionWorld(
        "heartbeat",
        config(silence=1.0, ping_interval=3.0),
        (CANCEL, *says("push", "pong"), *STALLS),
        ids=("a",),
    ),
    ConnectionWorld(
        "closing",
        config(messages_per_second=1),
        (CANCEL, URGENT, ("send",), ("withdraw", "b"), *answers("ab", "accepted"), *CLOSES),
        ids=("a", "b"),
    ),
    ConnectionWorld(
        "closing within a second",
        config(messages_per_second=1, silence=1.0),
        (CANCEL, *answers("ab", "accepted"), *CLOSES, *STALLS),
        ids=("a", "b"),
        within=1.0,
        clock=AT_ONCE,
    ),
    ConnectionWorld(
        "thrown out",
        config(messages_per_second=1),
        (CANCEL, *answers("ab", "accepted"), *says("error 30004", "error 30007"), *CLOSES, *STALLS),
        ids=("a", "b"),
    ),
    ConnectionWorld(
        "thrown out in a silence",
        config(silence=0.25),
        (CANCEL, ("send",), *answers("a", "accepted"), *says("error 30004"), *CLOSES, LOST),
        ids=("a",),
    ),
    ConnectionWorld(
        "login",
        config(messages_per_second=1, ping_interval=1.0, login_timeout=3.0),
        (
            ("open",), CANCEL, ("send",), ("close", "drop"), LOST, *answers("a", "accepted"),
            *says("login 0", "login 30005", "error 30005", "error 30006", "error 30007", "error 30033", "error 40015", "pong"),
        ),
        ids=("a",),
        begin=(),
    ),
    ConnectionWorld(
        "own frames, one place in ten",
        config(messages_per_second=1),
        (CANCEL, ("send",), *answers("ab", "accepted")),
        ids=("a", "b"),
        reuse=True,
        clock=("tick",),
    ),
    ConnectionWorld(
        "ids that are made",
        config(late_ids=1, max_in_flight=2, id_prefix="", messages_per_second=1),
        (
            CANCEL, ("cancel", "named"), ("again", "1"), ("again", "2"), ("send", "place 2"),
            *answers("123", "accepted", "unsure", "elsewhere"),
        ),
        ids=("1", "2", "3"),
    ),
    ConnectionWorld(
        "ids that are used again",
        config(late_ids=1, max_in_flight=2, queue_timeout=2.0),
        (CANCEL, ("again", "a"), ("again", "b"), *answers("abc", "accepted", "unsure")),
        reuse=True,
    ),
]  # fmt: skip

SESSIONS = [
    SessionWorld(
        "report",
        session_config(),
        (
            CANCEL, URGENT, ("withdraw", "a"), ("ghost",), *UP, LINK_LOST,
            *answers("ab", "accepted", "rejected", "unsure", "elsewhere"),
        ),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "report, stalled",
        session_config(),
        (CANCEL, *answers("a", "accepted"), *UP, ("close", "drop"), *LINK_STALLS),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "resend",
        session_config(policy=Policy.RESEND, resend_interval=2.0),
        (
            CANCEL, ("cancel", "timeout"), ("withdraw", "a"), *UP, LINK_LOST,
            *answers("ab", "accepted", "rejected", "finished", "unsure"),
        ),
        clock=("tick", "pass"),
    ),
    SessionWorld(
        "resend, stalled",
        session_config(policy=Policy.RESEND),
        (CANCEL, *answers("a", "accepted", "rejected", "unsure"), *UP, *LINK_STALLS),
        ids=("a",),
    ),
    SessionWorld(
        "both policies, and closing",
        session_config(),
        (("cancel", "", "resend"), ("cancel", "", "report"), *answers("ab", "accepted"), *UP, LINK_LOST, *CLOSES),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "two links",
        session_config(),
        (CANCEL, *answers("a", "accepted"), *UP, GOING, *LINKS_LOST),
        clock=("tick", "pass"),
    ),
    SessionWorld(
        "two links, resend",
        session_config(policy=Policy.RESEND),
        (CANCEL, *answers("a", "accepted"), *UP, GOING, *says("login 30005", where="last"), *LINKS_LOST),
        ids=("a",),
        clock=("tick", "late", "gap"),
    ),
    SessionWorld(
        "two links, urgent",
        session_config(config(answer_timeout=4.0), policy=Policy.RESEND),
        (URGENT, *UP, GOING, *LINKS_LOST),
        clock=("tick",),
    ),
    SessionWorld(
        "two links, closing",
        session_config(),
        (("cancel", "", "resend"), ("cancel", "", "report"), *answers("a", "accepted"), *UP, GOING, LINK_LOST, *CLOSES),
        ids=("a",),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "rotation",
        session_config(lifetime=4.0, rotate_before=1.0),
        (CANCEL, *answers("a", "accepted"), *UP, ("no dial",), *LINKS_LOST),
        ids=("a",),
    ),
    SessionWorld(
        "refused logins",
        session_config(),
        (
            CANCEL, *UP, ("no dial",), ("no dial", "2"), LINK_LOST, *CLOSES,
            *says("login 30005", "error 30011", "error 30013", "error 40015", where="last"),
        ),
        ids=("a",),
        begin=(),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "thrown out",
        session_config(),
        (CANCEL, *UP, *says("error 30007", where="last"), *answers("a", "accepted", "unsure"), LINK_LOST),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "thrown out, resend",
        session_config(policy=Policy.RESEND),
        (CANCEL, *UP, *says("error 30004", where="last"), *answers("a", "accepted", "unsure"), LINK_LOST),
        ids=("a",),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "a message a second on a link",
        session_config(config(messages_per_second=1)),
        (CANCEL, URGENT, *UP, *answers("ab", "accepted"), LINK_LOST, *says("error 30006", where="last")),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "own frames",
        session_config(config(messages_per_second=1)),
        (CANCEL, ("send",), *UP, GOING, ("close", "send")),
        ids=("a",),
        clock=("tick",),
    ),
    SessionWorld(
        "dials",
        session_config(dials_per_5_minutes=2, backoff_min=None),
        (*UP, ("no dial",), ("no dial", "2"), LINK_LOST),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "an id that is used again",
        session_config(),
        (CANCEL, *UP, *answers("a", "accepted", "unsure"), GOING, LINK_LOST),
        ids=("a",),
        reuse=True,
        clock=("tick",),
    ),
    SessionWorld(
        "half open",
        session_config(config(silence=1.0), policy=Policy.RESEND),
        (CANCEL, *UP, *says("pong", where="last"), *answers("ab", "accepted"), ("stall",), ("written",)),
        clock=AT_ONCE,
    ),
]  # fmt: skip


def explored(worlds: Iterable[World[Any]]) -> tuple[Counter[Hashable], Explored]:
    """Explore every world completely: what was visited, and how many states."""
    visited: Counter[Hashable] = Counter()
    whole = Explored()
    for world in worlds:
        found = explore(world)
        assert found.states >= 100, f"{world.name} is smaller than it was meant to be"
        assert set(world.alphabet) <= found.given, (
            f"{world.name}: {set(world.alphabet) - found.given} never happens"
        )
        visited += found.visited
        whole.states += found.states
        whole.steps += found.steps
        whole.rechecked += found.rechecked
    return visited, whole


UNRESOLVED: set[Hashable] = {
    (Unresolved, True, WhyUnresolved.TIMEOUT), (Unresolved, False, WhyUnresolved.TIMEOUT),
    (Unresolved, True, WhyUnresolved.LOST), (Unresolved, False, WhyUnresolved.LOST),
    (Unresolved, True, WhyUnresolved.CLOSED), (Unresolved, False, WhyUnresolved.CLOSED),
    (Unresolved, True, WhyUnresolved.UNSURE), (Unresolved, False, WhyUnresolved.WITHDRAWN),
}  # fmt: skip


@pytest.mark.slow
def test_no_sequence_of_inputs_to_a_small_connection_breaks_the_promise() -> None:
    visited, whole = explored(CONNECTIONS)
    expected = UNRESOLVED | {*State, (Accepted,), (Rejected,), Transmit}
    expected |= {(Closed, why) for why in WhyClosed if why is not WhyClosed.INTERRUPTED}
    expected |= {(Hangup, abort) for abort in (True, False)}
    # No push of orders is among the inputs.
    whys = set(WhyUnrecognised) - {WhyUnrecognised.UNREADABLE_ORDER}
    expected |= {(Unrecognised, why) for why in whys}
    expected |= {
        (event, None) for event in (Ready, LoginRejected, LateReply, ExchangeError, GoingAway)
    }
    expected |= {
        (Wait, timer)
        for timer in (
            None, Timer.REQUEST, Timer.LOGIN, Timer.PONG, Timer.DRAIN, Timer.PING, Timer.SILENCE, Timer.PACING,
        )
    }  # fmt: skip
    never = expected - set(visited)
    assert not never
    assert whole.states > 10_000
    assert whole.rechecked > 500


@pytest.mark.slow
def test_no_sequence_of_inputs_to_a_small_session_breaks_the_promise() -> None:
    visited, whole = explored(SESSIONS)
    expected = UNRESOLVED | {*SessionState}
    expected |= {(Unresolved, sent, WhyUnresolved.NO_LINK) for sent in (True, False)}
    expected |= {(Ended, why) for why in WhyEnded if why is not WhyEnded.INTERRUPTED}
    expected |= {(LinkClosed, why) for why in WhyClosed if why is not WhyClosed.INTERRUPTED}
    expected |= {(Down, why) for why in (WhyClosed.LOST, WhyClosed.NO_PONG, WhyClosed.THROWN_OUT)}
    expected |= {(kind, count) for kind in (Accepted, Rejected, Unresolved) for count in (1, 2)}
    expected |= {
        (event, None)
        for event in (
            Dial,
            LinkTransmit,
            LinkHangup,
            Up,
            LoginRejected,
            LateReply,
            ExchangeError,
            GoingAway,
        )
    }
    expected |= {
        (Wait, timer)
        for timer in (
            None, Timer.REQUEST, Timer.LOGIN, Timer.DRAIN, Timer.SILENCE, Timer.PACING, Timer.DIAL, Timer.DIALLED,
            Timer.NO_LINK, Timer.SPACING, Timer.ROTATION,
        )
    }  # fmt: skip
    never = expected - set(visited)
    assert not never
    assert whole.states > 10_000
    assert whole.rechecked > 300


# --- planted bugs ---


@attrs.frozen
class Fault:
    """One wrong line of the core, the world in which it is found, and the violated rule."""

    name: str
    world: str
    rule: str
    part: Any
    attribute: str
    wrong: Any
    """A value, or a function that receives the original one before its arguments."""

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        right, wrong = getattr(self.part, self.attribute), self.wrong

        def method(*args: Any, **named: Any) -> Any:
            return wrong(right, *args, **named)

        patch.setattr(self.part, self.attribute, method if callable(wrong) else wrong)


def expired_is_sent(right: Any, queue: Any, now: float) -> Any:
    return right(queue, -inf)


def waiting_is_settled(right: Any, outcomes: Any, id: str, *reply: Any) -> None:
    in_flight, now = outcomes._in_flight, reply[-1]
    if (waiting := in_flight.queue.get(id)) is not None:
        in_flight.sent[id] = waiting
        waiting.sent_at = now
    right(outcomes, id, *reply)


def unsent_is_sent(right: Any, conn: Any, now: float, reason: str, unsent: Any) -> None:
    right(conn, now, reason)


def urgent_is_normal(right: Any, in_flight: Any, *taken: Any) -> None:
    right(in_flight, *taken[:-1], Rank.NORMAL)


def nothing(right: Any, *args: Any) -> None:
    """Do nothing."""


def sent_is_forgotten(right: Any, in_flight: Any) -> list[Any]:
    return [cancel for cancel in right(in_flight) if cancel.id not in in_flight.sent]


def asks_once_more(right: Any, heartbeat: Any, opens: float) -> None:
    if right(heartbeat, opens) is not None:
        heartbeat.probe_deadline = None
        right(heartbeat, opens)


def pong_answers_all(right: Any, heartbeat: Any) -> None:
    right(heartbeat)
    heartbeat._alarms[Timer.PONG] = inf


def late_for_ever(right: Any, outcomes: Any, *reply: Any) -> None:
    in_flight = outcomes._in_flight
    late = in_flight.late.copy()
    right(outcomes, *reply)
    in_flight.late = late | in_flight.late


def fires_too_late(right: Any, conn: Any, now: float) -> None:
    right(conn, now - 0.001)


def remembers_what_is_refused(right: Any, ids: Any, texts: Iterable[str], taken: Any) -> None:
    ids._own.update(dict.fromkeys(texts))
    right(ids, texts, taken)


def always_resends(
    right: Any, queue: Any, id: str, order: Any, now: float, until: float, policy: Any, **how: Any
) -> None:
    right(queue, id, order, now, until, Policy.RESEND, **how)


def counts_what_never_left(right: Any, cancel: Cancel, attempt: Any, **how: Any) -> Any:
    tried = cancel.trying_since is not None and attempt.sent_at is None
    outcome = right(cancel, attempt, **how)
    cancel.attempts += tried
    return outcome


def counts_from_cancel(right: Any, links: Any, taken_at: float) -> float:
    return after(taken_at, links._config.no_link_timeout)


def none_is_busy(right: Any, session: Any, now: float, busy: Any = ()) -> Any:
    return right(session, now)


def none_waits(right: Any, queue: Any) -> Any:
    return iter(())


def link_before_stays(right: Any, links: Any, link: Any, now: float) -> Any:
    link.lane.serving = None
    return right(links, link, now)


FAULTS = [
    Fault(
        "a cancel that has expired is sent",
        "a message a second",
        "no cancel is sent after its deadline",
        CancelQueue, "first", expired_is_sent,
    ),
    Fault(
        "a reply settles a cancel that was never sent",
        "a message a second",
        "an outcome has the time when its cancel was sent",
        Outcomes, "reply", waiting_is_settled,
    ),
    Fault(
        "an unsent cancel counts as sent",
        "two messages a second",
        "an outcome has the time when its cancel was sent",
        Connection, "lost", unsent_is_sent,
    ),
    Fault(
        "an unknown outcome is reported as rejected",
        "answers",
        "an outcome repeats the exchange's reply",
        in_flight_module, "REFUSALS", REFUSALS | {CodeClass.OUTCOME_UNKNOWN},
    ),
    Fault(
        "urgent cancels are queued like others",
        "a message a second",
        "cancels are sent in the order taken, urgent ones first",
        InFlight, "enqueue", urgent_is_normal,
    ),
    Fault(
        '"too many requests" does not pause the paces',
        "a budget",
        "no frame is sent faster than the pace allows",
        SlidingWindow, "pause", nothing,
    ),
    Fault(
        "a caller's frame gets one place in eleven",
        "own frames, one place in ten",
        "a fixed share of the frames is for callers' frames",
        frame_queue_module, "CANCELS_PER_OWN_FRAME", 10,
    ),
    Fault(
        "the end forgets sent cancels",
        "closing",
        "at the end each cancel has an outcome",
        InFlight, "in_order", sent_is_forgotten,
    ),
    Fault(
        "a silent link is probed forever",
        "silence",
        "a ping is sent only when one is due",
        Heartbeat, "probe", asks_once_more,
    ),
    Fault(
        "a pong answers a ping that is not sent yet",
        "heartbeat",
        "a Wait is for the earliest deadline",
        Heartbeat, "pong", pong_answers_all,
    ),
    Fault(
        "a second late reply is reported as well",
        "answers",
        "a message has exactly one consequence",
        Outcomes, "reply", late_for_ever,
    ),
    Fault(
        "a closing connection waits although all cancels are answered",
        "closing",
        "a closing connection with nothing open ends",
        Connection, "_end_if_done", nothing,
    ),
    Fault(
        "a timer fires too late",
        "answers",
        "an expired cancel has an outcome",
        Connection, "handle_timeout", fires_too_late,
    ),
    Fault(
        "a refused frame leaves its id behind",
        "ids that are made",
        "a refused command changes nothing",
        RequestIds, "remember", remembers_what_is_refused,
    ),
    Fault(
        "REPORT resends",
        "report",
        "when a link ends, its cancels have an outcome or wait again",
        SessionQueue, "take", always_resends,
    ),
    Fault(
        "an unsent attempt is counted",
        "resend, stalled",
        "an outcome has the number of attempts",
        Cancel, "outcome_of", counts_what_never_left,
    ),
    Fault(
        "after a resend a refusal is final",
        "resend",
        "after a resend only Accepted and FINISHED are final",
        attempts_module, "FINAL_AFTER_RESEND", FINAL_AFTER_RESEND | {CodeClass.NOT_FOUND},
    ),
    Fault(
        "an order is cancelled again at once",
        "resend",
        "cancels are sent in order",
        Spacing, "handed_out", nothing,
    ),
    Fault(
        "the time without a link counts from `cancel`",
        "resend",
        "the reason of an outcome holds",
        Links, "no_link_until", counts_from_cancel,
    ),
    Fault(
        "a steady link is dialled again like an unsteady one",
        "two links",
        "a Wait is not later than the earliest deadline",
        Redial, "served", nothing,
    ),
    Fault(
        "the previous link is not replaced",
        "two links",
        "a replaced link ends when all its cancels are answered",
        Links, "serve", link_before_stays,
    ),
    Fault(
        "a stalled writer gets more frames",
        "report, stalled",
        "at most one frame is unwritten on a link",
        Session, "poll", none_is_busy,
    ),
    Fault(
        "the end of a session forgets waiting cancels",
        "both policies, and closing",
        "at the end each cancel has an outcome",
        CancelQueue, "__iter__", none_waits,
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_bug_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds: list[World[Any]] = [*CONNECTIONS, *SESSIONS]
    (world,) = [world for world in worlds if world.name == fault.world]
    fault.plant(monkeypatch)
    with pytest.raises(Violation, match=fault.rule):
        explore(world)


def test_a_violation_is_reported_with_a_shortest_input_sequence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FAULTS[0].plant(monkeypatch)
    (world,) = [world for world in CONNECTIONS if world.name == FAULTS[0].world]
    with pytest.raises(Violation) as raised:
        explore(world)
    assert str(raised.value).endswith(", after\n  cancel\n  cancel\n  tick\n  gap")


class Careless(ConnectionWorld):
    """Merges states that differ in their deadlines."""

    def key(self, run: Run) -> Hashable:
        return run.core.state, tuple(run.ledger.open)


def test_merged_states_that_behave_differently_are_found() -> None:
    with pytest.raises(Violation, match="the key lacks something"):
        explore(Careless("careless", config(), (CANCEL, *answers("ab", "accepted"))), recheck=1)
