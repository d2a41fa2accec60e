"""The queue of a session: order, deadlines, `cancel_many`, `withdraw`, and costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf, nextafter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bitget_proto
from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Config,
    LinkTransmit,
    LocalProtocolError,
    NoRoom,
    Outcome,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    SessionOutput,
    SessionState,
    Timer,
    Unresolved,
    ValidationError,
    Wait,
    WhyUnresolved,
)
from bitget_proto.testing import Fault, ScriptedExchange, SessionPair

from .driving import LOGGED_IN, LOGIN, reply

ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(40)]
ALONE = CancelOrder("BTCUSDT", client_oid="mine")
GOING = '{"event":"error","code":30033,"msg":"going away"}'


def session(**config: Any) -> Session:
    return Session(SessionConfig(**config), jitter=lambda: 0.0)


def drain(session: Session, now: float) -> list[SessionOutput]:
    outputs: list[SessionOutput] = []
    while not outputs or not isinstance(outputs[-1], Wait):
        outputs.append(session.poll(now))
    return outputs


def connect(session: Session, link: int, now: float) -> list[SessionOutput]:
    """Open a link that was dialled and let its login be accepted."""
    session.opened(link, now, login=LOGIN)
    drain(session, now)
    session.receive(link, LOGGED_IN, now)
    return drain(session, now)


def up(**config: Any) -> Session:
    """A session that came up at 0, at 2 when its pace is free."""
    made = session(**config)
    drain(made, 0.0)
    connect(made, 1, 0.0)
    drain(made, 2.0)
    return made


def sent(outputs: list[SessionOutput]) -> list[str]:
    """The ids of the cancels that were handed out."""
    return [id for output in outputs if isinstance(output, LinkTransmit) for id in output.ids]


def outcomes(outputs: list[SessionOutput]) -> list[Outcome]:
    return [output for output in outputs if isinstance(output, Accepted | Rejected | Unresolved)]


def unresolved(outputs: list[SessionOutput]) -> list[tuple[str, bool, WhyUnresolved, float]]:
    return [
        (output.id, output.sent, output.why, output.resolved_at)
        for output in outputs
        if isinstance(output, Unresolved)
    ]


# --- while no link serves ---


def test_without_a_link_a_cancel_waits_ten_seconds_from_its_call() -> None:
    made = session()
    drain(made, 0.0)
    for number in range(3):
        made.cancel(ORDERS[number], float(number), id=str(number))
        assert drain(made, float(number)) == [Wait(until=10.0, timer=Timer.NO_LINK)], (
            "one alarm for all of them"
        )
    made.handle_timeout(nextafter(10.0, 0.0))
    assert drain(made, nextafter(10.0, 0.0)) == [Wait(until=10.0, timer=Timer.NO_LINK)]
    for number in range(3):
        made.handle_timeout(10.0 + number)
        *events, wait = drain(made, 10.0 + number)
        assert unresolved(events) == [(str(number), False, WhyUnresolved.NO_LINK, 10.0 + number)]
        assert wait == (
            Wait(until=11.0 + number, timer=Timer.NO_LINK)
            if number < 2
            else Wait(until=20.0, timer=Timer.DIALLED)
        )


def test_after_a_lost_link_cancels_wait_ten_seconds_from_then() -> None:
    made = up()
    budget_is_spent(made)
    made.cancel(ORDERS[0], 2.0, id="before")
    drain(made, 2.0)
    made.lost(1, 3.0)
    drain(made, 3.0)
    made.cancel(ORDERS[1], 4.0, id="after")
    made.handle_timeout(3.5)
    drain(made, 4.0)
    made.handle_timeout(nextafter(13.0, 0.0))
    assert outcomes(drain(made, nextafter(13.0, 0.0))) == []
    made.handle_timeout(13.0)
    assert unresolved(drain(made, 13.0)) == [("before", False, WhyUnresolved.NO_LINK, 13.0)]
    made.handle_timeout(14.0)
    assert unresolved(drain(made, 14.0)) == [("after", False, WhyUnresolved.NO_LINK, 14.0)]


def budget_is_spent(session: Session) -> None:
    """Let the account have no allowance left for a long time."""
    session._budget.debit(10, 2.0)


def test_the_next_lost_link_restarts_the_no_link_timeout() -> None:
    made = up()
    budget_is_spent(made)
    made.cancel(ORDERS[0], 2.0, id="a")
    drain(made, 2.0)
    made.lost(1, 2.5)
    assert drain(made, 2.5)[-1] == Wait(until=3.0, timer=Timer.DIAL)
    drain(made, 3.0)
    made.opened(2, 3.0, login=LOGIN)
    drain(made, 3.0)
    assert drain(made, 3.0)[-1] == Wait(until=12.5, timer=Timer.NO_LINK)
    made._budget.debit(10, 3.0)
    made.receive(2, LOGGED_IN, 3.0)
    assert drain(made, 3.0)[-1] == Wait(until=4.05, timer=Timer.PACING)
    made.lost(2, 4.0)
    drain(made, 4.0)
    made.handle_timeout(13.9)
    assert outcomes(drain(made, 13.9)) == []
    made.handle_timeout(14.0)
    assert unresolved(drain(made, 14.0)) == [("a", False, WhyUnresolved.NO_LINK, 14.0)]


def test_a_link_lost_during_a_dial_starts_the_no_link_timeout() -> None:
    made = up()
    made.receive(1, GOING, 2.0)
    drain(made, 2.5)
    made.lost(1, 3.0)
    made.cancel(ORDERS[0], 3.0, id="a")
    assert drain(made, 3.0)[-1] == Wait(until=13.0, timer=Timer.NO_LINK)


def test_the_timeout_and_queue_timeout_apply_without_a_link() -> None:
    made = session(link=Config(queue_timeout=8.0))
    drain(made, 0.0)
    made.cancel(ORDERS[0], 0.0, id="queue")
    made.cancel(ORDERS[1], 0.0, id="own", timeout=4.0)
    made.cancel(ORDERS[2], 0.0, id="long", timeout=1e9)
    assert drain(made, 0.0)[-1] == Wait(until=4.0, timer=Timer.REQUEST)
    made.handle_timeout(4.0)
    assert unresolved(drain(made, 4.0)) == [("own", False, WhyUnresolved.TIMEOUT, 4.0)]
    made.handle_timeout(8.0)
    late = unresolved(drain(made, 8.0))
    assert sorted(late) == [(id, False, WhyUnresolved.TIMEOUT, 8.0) for id in ("long", "queue")]


def test_without_a_no_link_timeout_the_queue_timeout_applies() -> None:
    made = session(no_link_timeout=None, dial_timeout=None)
    drain(made, 0.0)
    made.cancel(ORDERS[0], 0.0, id="a")
    assert drain(made, 0.0) == [Wait(until=150.0, timer=Timer.REQUEST)]
    made.handle_timeout(150.0)
    assert unresolved(drain(made, 150.0)) == [("a", False, WhyUnresolved.TIMEOUT, 150.0)]


def test_a_cancel_that_expires_during_pacing_is_not_sent() -> None:
    made = up(link=Config(messages_per_second=1))
    made.cancel(ORDERS[0], 2.0, id="a")
    made.cancel(ORDERS[1], 2.0, id="b", timeout=1.05)
    made.cancel(ORDERS[2], 2.0, id="c")
    assert sent(drain(made, 2.0)) == ["a"]
    assert sent(drain(made, 3.05)) == ["c"], "though its timer has not fired"
    made.handle_timeout(3.05)
    assert unresolved(drain(made, 3.05)) == [("b", False, WhyUnresolved.TIMEOUT, 3.05)]


# --- the order of what waits ---


def test_urgent_cancels_go_first_then_returned_ones_then_the_others() -> None:
    made = up(policy=Policy.RESEND, link=Config(messages_per_second=4))
    for id in ("a", "b"):
        made.cancel(ORDERS[0] if id == "a" else ORDERS[1], 2.0, id=id)
    made.cancel(ORDERS[2], 2.0, id="urgent and back", urgent=True)
    assert sent(drain(made, 2.0)) == ["urgent and back", "a", "b"]
    made.lost(1, 2.25)
    drain(made, 2.25)
    made.cancel(ORDERS[3], 2.25, id="normal")
    made.cancel(ORDERS[4], 2.25, id="urgent", urgent=True)
    made.cancel(ORDERS[5], 2.25, id="urgent too", urgent=True)
    drain(made, 3.5)
    frames = sent(connect(made, 2, 3.5))
    frames += sent(drain(made, 4.55)) + sent(drain(made, 5.6))
    assert frames == ["urgent and back", "urgent", "urgent too", "a", "b", "normal"]


def test_returned_cancels_go_in_the_order_taken() -> None:
    made = up(policy=Policy.RESEND)
    for number in range(5):
        made.cancel(ORDERS[number], 2.0, id=str(number))
    drain(made, 2.0)
    made.receive(1, reply("1"), 2.1)
    drain(made, 2.1)
    made.lost(1, 2.2, unsent=["3"])
    drain(made, 3.5)
    assert sent(connect(made, 2, 3.5)) == ["0", "2", "3", "4"]


def test_an_urgent_cancel_behind_a_thousand_is_sent_next() -> None:
    made = up()
    for number in range(999):
        made.cancel(ORDERS[number % 40], 2.0, id=str(number))
    assert len(sent(drain(made, 2.0))) == 10
    made.cancel(ORDERS[0], 2.5, id="now", urgent=True)
    assert drain(made, 2.5) == [Wait(until=3.05, timer=Timer.PACING)]
    assert sent(drain(made, 3.05))[:2] == ["now", "10"]


def test_a_returned_cancel_that_waits_does_not_block_the_others() -> None:
    made = up(policy=Policy.RESEND, backoff_min=None)
    made.cancel(ORDERS[0], 2.0, id="back")
    made.cancel(ORDERS[1], 2.0, id="back too", urgent=True)
    drain(made, 2.0)
    made.lost(1, 2.25)
    drain(made, 2.25)
    made.cancel(ORDERS[2], 2.5, id="new")
    outputs = connect(made, 2, 2.5)
    assert sent(outputs) == ["new"]
    assert outputs[-1] == Wait(until=3.0, timer=Timer.SPACING)
    assert sent(drain(made, nextafter(3.0, 0.0))) == []
    assert sent(drain(made, 3.0)) == ["back too", "back"]


def test_the_earliest_resend_time_is_announced() -> None:
    made = up(policy=Policy.RESEND, backoff_min=None)
    made.cancel(ORDERS[0], 2.0, id="later")
    drain(made, 2.0)
    made.cancel(ORDERS[1], 2.1, id="urgent", urgent=True)
    drain(made, 2.1)
    made.cancel(ORDERS[0], 2.2, id="again", policy=Policy.REPORT)
    drain(made, 2.2)
    made.lost(1, 2.3)
    drain(made, 2.3)
    outputs = connect(made, 2, 2.3)
    assert outputs[-1] == Wait(until=3.1, timer=Timer.SPACING)
    outputs = drain(made, 3.1)
    assert sent(outputs) == ["urgent"]
    assert outputs[-1] == Wait(until=3.2, timer=Timer.SPACING)
    assert sent(drain(made, 3.2)) == ["later"]


def test_outcomes_of_the_end_are_in_the_order_taken() -> None:
    made = up(policy=Policy.RESEND)
    made.cancel(ORDERS[0], 2.0, id="back")
    drain(made, 2.0)
    made.lost(1, 2.1)
    drain(made, 2.1)
    made.cancel(ORDERS[1], 2.2, id="normal")
    made.cancel(ORDERS[2], 2.2, id="urgent", urgent=True)
    made.cancel(ORDERS[3], 2.2, id="normal too")
    made.close(2.3)
    assert [(id, sent) for id, sent, *_ in unresolved(drain(made, 2.3))] == [
        ("back", True), ("normal", False), ("urgent", False), ("normal too", False),
    ]  # fmt: skip


def test_outcomes_of_two_lost_links_are_in_the_order_of_the_links() -> None:
    made = up()
    made.cancel(ORDERS[0], 2.0, id="old")
    drain(made, 2.0)
    made.receive(1, GOING, 2.0)
    drain(made, 2.5)
    connect(made, 2, 2.5)
    made.cancel(ORDERS[1], 2.6, id="new")
    drain(made, 2.6)
    made.close(3.0)
    made.close(3.0)
    assert [id for id, *_ in unresolved(drain(made, 3.0))] == ["old", "new"]


# --- withdraw ---


def test_a_withdrawn_cancel_is_not_sent() -> None:
    made = up(link=Config(messages_per_second=1))
    made.cancel(ORDERS[0], 2.0, id="a")
    made.cancel(ORDERS[1], 2.0, id="b")
    drain(made, 2.0)
    assert made.withdraw("b", 2.5)
    assert unresolved(drain(made, 2.5)) == [("b", False, WhyUnresolved.WITHDRAWN, 2.5)]
    assert sent(drain(made, 10.0)) == []
    assert made.in_flight == 1


@pytest.mark.parametrize("id", ["a", "answered", "never", "", None, 1])
def test_a_cancel_that_was_sent_or_is_not_open_cannot_be_withdrawn(id: str) -> None:
    made = up()
    for each in ("a", "answered"):
        made.cancel(ORDERS[0], 2.0, id=each)
    drain(made, 2.0)
    made.receive(1, reply("answered"), 2.1)
    drain(made, 2.1)
    assert made.withdraw(id, 2.2) is False
    assert outcomes(drain(made, 2.2)) == []
    assert made.in_flight == 1


def test_a_returned_cancel_that_was_sent_cannot_be_withdrawn() -> None:
    made = up(policy=Policy.RESEND)
    made.cancel(ORDERS[0], 2.0, id="left")
    made.cancel(ORDERS[1], 2.0, id="held")
    drain(made, 2.0)
    made.lost(1, 2.1, unsent=["held"])
    drain(made, 2.1)
    assert made.withdraw("left", 2.2) is False
    assert made.withdraw("held", 2.2) is True
    assert unresolved(drain(made, 2.2)) == [("held", False, WhyUnresolved.WITHDRAWN, 2.2)]
    drain(made, 3.1)
    assert sent(connect(made, 2, 3.1)) == ["left"]


# --- many at once ---


def test_cancel_many_applies_order_timeout_and_policy() -> None:
    made = up(link=Config(messages_per_second=2))
    ids = made.cancel_many((order for order in ORDERS[:3]), 2.0, timeout=5.0, policy=Policy.RESEND)
    assert ids == ["bgproto1", "bgproto2", "bgproto3"]
    assert sent(drain(made, 2.0)) == ids[:2]
    made.lost(1, 2.5)
    assert outcomes(drain(made, 2.5)) == []
    made.handle_timeout(7.0)
    assert sorted(unresolved(drain(made, 7.0)), key=lambda outcome: outcome[0]) == [
        (ids[0], True, WhyUnresolved.TIMEOUT, 7.0),
        (ids[1], True, WhyUnresolved.TIMEOUT, 7.0),
        (ids[2], False, WhyUnresolved.TIMEOUT, 7.0),
    ]


def test_cancel_many_takes_none_when_there_is_no_room_for_all() -> None:
    made = session(link=Config(max_in_flight=5))
    assert made.cancel_many(ORDERS[:3], 0.0) == ["bgproto1", "bgproto2", "bgproto3"]
    with pytest.raises(
        NoRoom,
        match=r"^Config\.max_in_flight is 5, and there is room for 2 of these 3: wait for outcomes",
    ):
        made.cancel_many(ORDERS[:3], 0.0)
    assert (made.in_flight, made.capacity) == (3, 2)
    assert made.cancel_many(ORDERS[:2], 0.0) == ["bgproto4", "bgproto5"]
    assert made.capacity == 0
    assert made.cancel_many([], 0.0) == []


MISTAKES: list[tuple[Callable[[Session], object], str]] = [
    (lambda made: made.cancel_many(5, 0.0), r"^orders must be an iterable of CancelOrder; got the int 5"),  # type: ignore[arg-type]
    (lambda made: made.cancel_many([ORDERS[0], "1"], 0.0), r"^order must be a CancelOrder; got '1'"),  # type: ignore[list-item]
    (lambda made: made.cancel_many(ORDERS[:2], 0.0, timeout=0), r"^timeout must be a number of seconds above 0"),
    (lambda made: made.cancel_many(ORDERS[:2], 0.0, policy="report"), r"^policy must be Policy\.REPORT or "),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_cancel_many_takes_none_when_an_argument_is_invalid(number: int) -> None:
    made = session()
    mistake, words = MISTAKES[number]
    with pytest.raises(ValidationError, match=words):
        mistake(made)
    assert made.in_flight == 0
    assert made.cancel(ORDERS[0], 0.0) == "bgproto1"


def test_cancel_many_is_refused_after_the_end() -> None:
    made = session()
    made.close(0.0)
    with pytest.raises(
        LocalProtocolError, match=r"^the session has ended and takes no more cancels"
    ):
        made.cancel_many(ORDERS[:2], 0.0)


def test_a_thousand_at_once_are_all_sent_and_answered_by_default() -> None:
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1000)]
    pair = SessionPair(Session(jitter=lambda: 0.0), ScriptedExchange(orders), latency=0.05)
    pair.start()
    pair.run(10.0)
    ids = pair.cancel_many(orders)
    pair.run(106.0)
    assert {type(pair.outcomes[id]) for id in ids} == {Accepted}
    assert pair.session.state is SessionState.UP


# --- what is sent again ---


def test_a_client_oid_alone_is_not_queued_for_a_resend() -> None:
    for unique in (False, True):
        made = up(policy=Policy.RESEND, client_oids_unique=unique)
        made.cancel(ALONE, 2.0, id="a")
        drain(made, 2.0)
        made.lost(1, 2.1)
        given = unresolved(drain(made, 2.1))
        assert given == ([] if unique else [("a", True, WhyUnresolved.LOST, 2.1)])


def test_a_cancel_returned_by_a_draining_link_is_sent_on_the_serving_one() -> None:
    pair = SessionPair(session(policy=Policy.RESEND), ScriptedExchange(ORDERS))
    pair.start()
    pair.run(2.0)
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.say(GOING)
    pair.run(1.0)
    assert [transmit.link for _, transmit in pair.sent if transmit.ids == (id,)] == [1]
    pair.drop(1)
    pair.run(0.0)
    assert [transmit.link for _, transmit in pair.sent if transmit.ids == (id,)] == [1, 2]
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert (outcome.attempts, outcome.why, outcome.code) == (2, WhyUnresolved.UNSURE, "43001"), (
        "the first one had worked"
    )


def test_a_cancel_returned_twice_keeps_its_timeout() -> None:
    made = up(
        policy=Policy.RESEND,
        no_link_timeout=None,
        lifetime=None,
        link=Config(messages_per_second=1, silence=None, answer_timeout=None),
    )
    older = made.cancel(ORDERS[0], 2.0)
    assert sent(drain(made, 2.0)) == [older]
    younger = made.cancel(ORDERS[1], 7.0)
    assert sent(drain(made, 7.0)) == [younger]
    made.lost(1, 8.0)
    drain(made, 9.0)
    connect(made, 2, 9.0)
    assert sent(drain(made, 11.0)) == [older]
    made.lost(2, 11.5)
    drain(made, 11.5)
    for deadline, id in ((152.0, older), (157.0, younger)):
        made.handle_timeout(nextafter(deadline, 0.0))
        assert not unresolved(drain(made, nextafter(deadline, 0.0)))
        made.handle_timeout(deadline)
        assert unresolved(drain(made, deadline)) == [(id, True, WhyUnresolved.TIMEOUT, deadline)]


# --- what goes before it ---


def test_a_due_ping_is_sent_before_cancels() -> None:
    made = up(link=Config(messages_per_second=1, silence=None))
    for order in ORDERS[:3]:
        made.cancel(order, 2.0)
    frames = [output for output in drain(made, 2.0) if isinstance(output, LinkTransmit)]
    made.handle_timeout(40.0)
    for now in (40.0, 41.1, 42.2):
        frames += [output for output in drain(made, now) if isinstance(output, LinkTransmit)]
    assert [", ".join(frame.ids) or frame.text for frame in frames] == [
        "bgproto1",
        "ping",
        "bgproto2",
        "bgproto3",
    ]


def test_own_frames_get_one_place_in_ten() -> None:
    made = up(link=Config(messages_per_second=None))
    made.cancel_many(ORDERS[:25], 2.0)
    for text in ("one", "two"):
        made.send(text, 2.0)
    frames = [output for output in drain(made, 2.0) if isinstance(output, LinkTransmit)]
    assert [place for place, frame in enumerate(frames) if not frame.ids] == [9, 19]


# --- what it costs ---


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of the library run: unlike seconds, it is the same on every machine."""
    root = str(Path(bitget_proto.__file__).parent)
    lines = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(root):
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


WITHOUT_PACE = Config(messages_per_second=None, max_in_flight=None)


def resending(count: int) -> float:
    """Lines for each of so many cancels that were sent on a link, came back and are sent on the next one."""
    made = Session(
        SessionConfig(policy=Policy.RESEND, link=WITHOUT_PACE, backoff_min=None),
        budget=Budget(None),
        jitter=lambda: 0.0,
    )
    drain(made, 0.0)
    connect(made, 1, 0.0)
    made.cancel_many([CancelOrder("BTCUSDT", order_id=str(number)) for number in range(count)], 0.0)
    assert len(sent(drain(made, 0.0))) == count
    frames: list[str] = []

    def again() -> None:
        made.lost(1, 1.0)
        drain(made, 1.0)
        frames.extend(sent(connect(made, 2, 1.0)))

    lines = lines_run(again)
    assert frames == [f"bgproto{number}" for number in range(1, count + 1)]
    return lines / count


def test_the_cost_of_a_resend_does_not_depend_on_their_number() -> None:
    assert resending(2000) <= 1.05 * resending(500)
    assert resending(500) < 300


def one_more(waiting: int, what: str) -> int:
    """Lines for one call and its drain while so many wait."""
    made = up(link=Config(max_in_flight=None, queue_timeout=1e6), no_link_timeout=None)
    made.cancel_many(
        [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(waiting + 10)], 2.0
    )
    assert len(sent(drain(made, 2.0))) == 10
    if "down" in what:
        made.lost(1, 2.0)
        drain(made, 2.0)
    half = f"bgproto{10 + waiting // 2}"
    calls: dict[str, Callable[[], object]] = {
        "cancel": lambda: made.cancel(ORDERS[0], 2.1),
        "cancel while down": lambda: made.cancel(ORDERS[0], 2.1, timeout=3.0),
        "urgent": lambda: made.cancel(ORDERS[0], 2.1, urgent=True),
        "withdraw": lambda: made.withdraw(half, 2.1),
        "withdraw while down": lambda: made.withdraw(half, 2.1),
        "an answer": lambda: made.receive(1, reply("bgproto3"), 2.1),
        "a timer": lambda: made.handle_timeout(2.1),
        "a timer while down": lambda: made.handle_timeout(2.1),
        "the next places": lambda: drain(made, 3.06),
        "a frame of ones own": lambda: made.send('{"op":"subscribe"}', 2.1),
    }

    def call() -> None:
        calls[what]()
        drain(made, 3.06 if what == "the next places" else 2.1)

    return lines_run(call)


@pytest.mark.parametrize(
    "what",
    [
        "cancel", "cancel while down", "urgent", "withdraw", "withdraw while down", "an answer", "a timer",
        "a timer while down", "the next places", "a frame of ones own",
    ],
)  # fmt: skip
def test_the_cost_of_a_call_does_not_depend_on_the_queue(what: str) -> None:
    assert one_more(20_000, what) <= one_more(30, what) + 5


def test_the_cost_of_the_end_is_linear() -> None:
    def ending(waiting: int) -> float:
        made = session(link=WITHOUT_PACE)
        made.cancel_many(
            [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(waiting)], 0.0
        )
        return (lines_run(lambda: made.close(1.0)) + lines_run(lambda: drain(made, 1.0))) / waiting

    assert ending(2000) <= 1.05 * ending(200)


@pytest.mark.parametrize("how", ["queue", "own time", "no link"])
def test_the_cost_of_expiring_is_linear(how: str) -> None:
    def expiring(waiting: int) -> float:
        made = session(link=WITHOUT_PACE, no_link_timeout=10.0 if how == "no link" else None)
        drain(made, 0.0)
        orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(waiting)]
        made.cancel_many(orders, 0.0, timeout=10.0 if how == "own time" else inf)
        drain(made, 0.0)
        lines = lines_run(lambda: made.handle_timeout(10.0 if how != "queue" else 150.0))
        assert len(outcomes(drain(made, 150.0))) == waiting
        return lines / waiting

    assert expiring(2000) <= 1.05 * expiring(200)


def test_an_order_that_must_wait_does_not_block_other_resends() -> None:
    made = up(policy=Policy.RESEND, backoff_min=None)
    same = [made.cancel(ORDERS[0], 3.0, id=f"same{n}") for n in range(3)]
    other = made.cancel(ORDERS[1], 3.0, id="other")
    assert sent(drain(made, 3.0)) == [*same, other]
    made.lost(1, 5.0)
    drain(made, 5.0)
    outputs = connect(made, 2, 5.0)
    assert sent(outputs) == ["same0", "other"], "the second for the same order waits a second"
    assert outputs[-1] == Wait(until=6.0, timer=Timer.SPACING)


def test_nothing_is_sent_after_the_time_of_close_without_a_timer() -> None:
    made = session()
    drain(made, 0.0)
    made.cancel(ORDERS[0], 0.0, id="a")
    made.close(0.5, "send", within=0.5)
    drain(made, 0.5)
    assert sent(connect(made, 1, 1.0)) == []
    made.handle_timeout(1.0)
    assert unresolved(drain(made, 1.0)) == [("a", False, WhyUnresolved.CLOSED, 1.0)]
