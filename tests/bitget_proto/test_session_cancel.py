"""Cancels of a session: waiting for a link, moving to the next one, resends, and outcomes."""

from __future__ import annotations

import sys
from fractions import Fraction

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    CodeClass,
    Config,
    Ended,
    LateReply,
    LinkTransmit,
    NoRoom,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    SessionState,
    Timer,
    Unrecognised,
    Unresolved,
    ValidationError,
    Wait,
    WhyUnresolved,
)
from bitget_proto.testing import Fault, ScriptedExchange, SessionPair

ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(40)]
ALONE = CancelOrder("BTCUSDT", client_oid="mine-1")
GOING = '{"event":"error","code":30033,"msg":"going away"}'


def pair_up(
    *faults: Fault,
    policy: Policy = Policy.REPORT,
    config: SessionConfig | None = None,
    exchange: ScriptedExchange | None = None,
    budget: Budget | None = None,
) -> SessionPair:
    """A session that is up; a dial takes no time, and each backoff is half a second."""
    config = SessionConfig(policy=policy, backoff_max=0.5) if config is None else config
    session = Session(config, budget=budget, jitter=lambda: 0.0)
    pair = SessionPair(session, exchange or ScriptedExchange([*ORDERS[:30], ALONE]))
    pair.start()
    assert session.state is SessionState.UP
    pair.run(2.0)
    pair.exchange.inject(*faults)
    return pair


def unresolved(pair: SessionPair, id: str) -> Unresolved:
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    return outcome


# --- waiting for a link ---


def test_a_cancel_taken_while_down_is_sent_when_up() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS), dial_time=3.0)
    id = pair.cancel(ORDERS[0])
    assert (pair.session.in_flight, pair.session.capacity) == (1, 999)
    pair.run(5.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted)
    assert (outcome.taken_at, outcome.sent_at, outcome.resolved_at, outcome.attempts) == (
        0.0,
        3.0,
        3.0,
        1,
    )
    assert pair.session.in_flight == 0


def test_the_no_link_timeout_counts_from_the_call() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS))
    pair.hold_dials = True
    id = pair.cancel(ORDERS[0])
    assert pair.session.poll(0.0) == Wait(until=10.0, timer=Timer.NO_LINK)
    pair.run(9.9)
    assert not pair.outcomes
    pair.run(0.1)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.sent_at, outcome.attempts) == (
        False,
        WhyUnresolved.NO_LINK,
        None,
        1,
    )
    assert (outcome.taken_at, outcome.resolved_at) == (0.0, 10.0)


def test_a_cancels_timeout_applies_on_the_link_too() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS), dial_time=4.0)
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0], timeout=8.0)
    pair.run(10.0)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.TIMEOUT)
    assert (outcome.taken_at, outcome.sent_at, outcome.resolved_at) == (0.0, 4.0, 8.0)


def test_the_answer_timeout_counts_from_sending() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS), dial_time=4.0)
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.run(14.0)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.TIMEOUT)
    assert (outcome.taken_at, outcome.sent_at, outcome.resolved_at) == (0.0, 4.0, 14.0)


def test_a_cancel_whose_deadline_falls_on_the_login_is_not_sent() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS), dial_time=4.0)
    id = pair.cancel(ORDERS[0], timeout=4.0)
    pair.run(4.0)
    assert unresolved(pair, id).why is WhyUnresolved.TIMEOUT
    assert not pair.exchange.log


def test_without_limits_a_cancel_waits_for_a_link_indefinitely() -> None:
    config = SessionConfig(link=Config(queue_timeout=None), no_link_timeout=None)
    pair = SessionPair(Session(config, jitter=lambda: 0.0), ScriptedExchange(ORDERS))
    pair.refuse_dials = True
    id = pair.cancel(ORDERS[0])
    pair.run(3600.0)
    pair.refuse_dials = False
    pair.run(60.0)
    assert isinstance(pair.outcomes[id], Accepted)


def test_unsent_cancels_go_to_the_next_link_in_the_order_taken() -> None:
    pair = pair_up()
    pair.stall()
    ids = [pair.cancel(order) for order in ORDERS[:5]]
    pair.drop()
    late = pair.cancel(ORDERS[5])
    assert not pair.outcomes, "the one whose frame was held never left either"
    pair.run(1.0)
    assert list(pair.outcomes) == [*ids, late]
    for outcome in pair.outcomes.values():
        assert isinstance(outcome, Accepted)
        assert outcome.attempts == 1
        assert outcome.sent_at == 2.5


# --- report ---


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER])
def test_with_report_a_cancel_sent_on_a_lost_link_is_unresolved_at_once(fault: Fault) -> None:
    pair = pair_up(fault)
    id = pair.cancel(ORDERS[0])
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.attempts, outcome.sent_at) == (
        True,
        WhyUnresolved.LOST,
        1,
        2.0,
    )
    pair.run(60.0)
    assert len([transmit for _, transmit in pair.sent if transmit.ids == (id,)]) == 1


def test_a_cancel_on_a_replaced_link_keeps_its_answer_timeout() -> None:
    pair = pair_up(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.say(GOING)
    pair.run(9.9)
    assert pair.session.state is SessionState.UP
    assert not pair.outcomes
    pair.run(0.1)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.resolved_at) == (True, WhyUnresolved.TIMEOUT, 12.0)


# --- resend ---


def test_with_resend_it_is_sent_again_and_not_found_is_not_final() -> None:
    pair = pair_up(Fault.DROP_AFTER, policy=Policy.RESEND)
    id = pair.cancel(ORDERS[0])
    pair.run(5.0)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.code, outcome.attempts) == (
        True,
        WhyUnresolved.UNSURE,
        "43001",
        2,
    )
    assert (outcome.taken_at, outcome.sent_at, outcome.resolved_at) == (2.0, 3.0, 3.0)


def test_with_resend_the_second_attempt_can_be_accepted() -> None:
    pair = pair_up(Fault.DROP_BEFORE, policy=Policy.RESEND)
    id = pair.cancel(ORDERS[0])
    pair.run(5.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted)
    assert (outcome.attempts, outcome.taken_at, outcome.sent_at) == (2, 2.0, 3.0)


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("43001", False),
        ("40109", False),
        ("40769", True),
        ("45056", False),
        ("45129", False),
        ("99999", False),
        ("429", False),
    ],
)
def test_after_a_resend_only_a_refusal_of_an_ended_order_is_final(code: str, final: bool) -> None:
    exchange = ScriptedExchange(ORDERS, refusals={"0": code})
    pair = pair_up(Fault.DROP_BEFORE, policy=Policy.RESEND, exchange=exchange)
    id = pair.cancel(ORDERS[0])
    pair.run(5.0)
    outcome = pair.outcomes[id]
    assert outcome.attempts == 2
    if final:
        assert isinstance(outcome, Rejected)
    else:
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why, outcome.code) == (True, WhyUnresolved.UNSURE, code)
        assert outcome.message == "refused as scripted"


def test_a_refusal_of_a_first_attempt_is_final_whatever_the_policy() -> None:
    pair = pair_up(policy=Policy.RESEND, exchange=ScriptedExchange(ORDERS, refusals={"0": "45056"}))
    assert isinstance(pair.outcomes[pair.cancel(ORDERS[0])], Rejected)


def test_a_policy_may_be_given_for_one_cancel() -> None:
    for default, own, attempts in (
        (Policy.REPORT, Policy.RESEND, 2),
        (Policy.RESEND, Policy.REPORT, 1),
    ):
        pair = pair_up(Fault.DROP_AFTER, policy=default)
        id = pair.cancel(ORDERS[0], policy=own)
        pair.run(5.0)
        assert pair.outcomes[id].attempts == attempts


def test_a_client_oid_is_resent_only_if_client_oids_are_unique() -> None:
    for unique, attempts in ((False, 1), (True, 2)):
        config = SessionConfig(policy=Policy.RESEND, client_oids_unique=unique)
        pair = pair_up(Fault.DROP_AFTER, config=config)
        id = pair.cancel(ALONE)
        pair.run(5.0)
        assert pair.outcomes[id].attempts == attempts


def test_an_unsent_attempt_does_not_hide_an_earlier_sent_one() -> None:
    pair = pair_up(Fault.DROP_AFTER, policy=Policy.RESEND)
    id = pair.cancel(ORDERS[0])
    pair.run(0.5)
    pair.stall()
    pair.run(0.5)
    # Its second frame is held by the writer: not a byte of it leaves.
    pair.drop()
    pair.run(0.2)
    pair.close()
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.attempts, outcome.sent_at) == (
        True,
        WhyUnresolved.CLOSED,
        1,
        2.0,
    )


def test_a_resent_cancel_that_finds_no_link_in_time_was_sent() -> None:
    pair = pair_up(Fault.DROP_AFTER, policy=Policy.RESEND)
    pair.hold_dials = True
    id = pair.cancel(ORDERS[0])
    pair.run(10.0)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.attempts) == (True, WhyUnresolved.NO_LINK, 1)
    assert (outcome.sent_at, outcome.resolved_at) == (2.0, 12.0)


def test_a_cancel_that_expires_before_its_resend_was_sent() -> None:
    pair = pair_up(Fault.DROP_AFTER, policy=Policy.RESEND)
    pair.hold_dials = True
    id = pair.cancel(ORDERS[0], timeout=3.0)
    pair.run(3.0)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.attempts) == (True, WhyUnresolved.TIMEOUT, 1)
    assert (outcome.sent_at, outcome.resolved_at) == (2.0, 5.0)


def test_an_ending_session_resends_nothing() -> None:
    pair = pair_up(Fault.SILENT, policy=Policy.RESEND)
    id = pair.cancel(ORDERS[0])
    pair.close()
    pair.drop()
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.LOST)
    assert isinstance(pair.events[-1], Ended)


def test_an_ending_session_moves_no_unsent_frame_to_another_link() -> None:
    pair = pair_up()
    pair.stall()
    id = pair.cancel(ORDERS[0])
    pair.close()
    pair.drop()
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why, outcome.sent_at) == (False, WhyUnresolved.LOST, None)
    assert isinstance(pair.events[-1], Ended)


def test_a_provably_unsent_frame_is_not_an_attempt() -> None:
    pair = pair_up(policy=Policy.RESEND, exchange=ScriptedExchange(ORDERS, refusals={"0": "45056"}))
    pair.stall()
    id = pair.cancel(ORDERS[0])
    pair.drop()
    pair.run(1.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Rejected), "refused at the first attempt that left"
    assert (outcome.attempts, outcome.sent_at) == (1, 2.5)


# --- the same order once a second ---


def test_the_same_order_is_resent_a_second_after_its_last_cancel() -> None:
    pair = pair_up(Fault.SILENT, Fault.DROP_BEFORE, policy=Policy.RESEND)
    ids = [pair.cancel(ORDERS[0], timeout=60.0) for _ in range(2)]
    assert pair.session.poll(2.0) == Wait(until=2.5, timer=Timer.DIAL)
    pair.run(0.5)
    assert pair.session.poll(2.5) == Wait(until=3.0, timer=Timer.SPACING)
    pair.run(4.0)
    times = [(at, id) for at, transmit in pair.sent for id in transmit.ids]
    assert times == [(2.0, ids[0]), (2.0, ids[1]), (3.0, ids[0]), (4.0, ids[1])]
    assert [pair.outcomes[id].attempts for id in ids] == [2, 2]


def test_the_callers_cancel_of_the_same_order_delays_only_a_resend() -> None:
    pair = pair_up(Fault.DROP_BEFORE, policy=Policy.RESEND)
    first = pair.cancel(ORDERS[0], timeout=60.0)
    pair.run(0.9)
    second = pair.cancel(ORDERS[0], timeout=60.0)
    pair.run(10.0)
    times = [(at, id) for at, transmit in pair.sent for id in transmit.ids]
    assert times == [(2.0, first), (2.9, second), (3.9, first)]


def test_a_cancel_with_report_delays_the_resend_of_the_same_order() -> None:
    pair = pair_up(Fault.DROP_BEFORE)
    first = pair.cancel(ORDERS[0], policy=Policy.RESEND)
    pair.run(0.9)
    second = pair.cancel(ORDERS[0], policy=Policy.REPORT)
    pair.run(10.0)
    times = [(at, id) for at, transmit in pair.sent for id in transmit.ids]
    assert times == [(2.0, first), (2.9, second), (3.9, first)]


def test_a_resend_that_waits_lets_other_cancels_pass() -> None:
    pair = pair_up(Fault.DROP_BEFORE, policy=Policy.RESEND)
    first = pair.cancel(ORDERS[0])
    pair.run(0.6)
    second = pair.cancel(ORDERS[1])
    pair.run(1.0)
    times = [(at, id) for at, transmit in pair.sent for id in transmit.ids]
    assert times == [(2.0, first), (2.6, second), (3.0, first)]


def test_without_a_resend_interval_it_is_resent_at_once() -> None:
    config = SessionConfig(policy=Policy.RESEND, resend_interval=None)
    pair = pair_up(Fault.DROP_BEFORE, config=config)
    pair.cancel(ORDERS[0])
    pair.run(5.0)
    assert [at for at, transmit in pair.sent if transmit.ids] == [2.0, 2.5]


# --- late replies and ids ---


def test_a_late_reply_is_recognised_on_a_replaced_link() -> None:
    exchange = ScriptedExchange(ORDERS, late_by=4.0)
    pair = pair_up(Fault.LATE, Fault.SILENT, exchange=exchange)
    id = pair.cancel(ORDERS[0], timeout=1.0)
    pair.cancel(ORDERS[1])
    pair.run(1.0)
    assert unresolved(pair, id).why is WhyUnresolved.TIMEOUT
    pair.say(GOING)
    pair.run(1.0)
    assert pair.session.state is SessionState.UP
    assert [dial.link for _, dial in pair.dials] == [1, 2]
    with pytest.raises(
        ValidationError, match=rf"^the id '{id}' was used for a cancel whose answer may still come"
    ):
        pair.session.cancel(ORDERS[2], pair.clock.now, id=id)
    pair.run(2.0)
    (late,) = [event for event in pair.events if isinstance(event, LateReply)]
    assert (late.id, late.code_class) == (id, CodeClass.ACCEPTED)
    assert pair.cancel(ORDERS[2], id=id) == id


def test_the_id_of_a_cancel_that_ended_with_its_link_is_free_again() -> None:
    pair = pair_up(Fault.DROP_AFTER)
    id = pair.cancel(ORDERS[0], id="mine")
    pair.run(1.0)
    assert unresolved(pair, id).sent
    assert isinstance(pair.outcomes[pair.cancel(ORDERS[1], id="mine")], Accepted)


def test_a_second_answer_is_unrecognised() -> None:
    pair = pair_up(Fault.DUPLICATE)
    pair.cancel(ORDERS[0])
    assert [type(event) for event in pair.events[-2:]] == [Accepted, Unrecognised]


def test_generated_ids_count_over_all_links_and_skip_the_callers_ids() -> None:
    pair = pair_up(config=SessionConfig(link=Config(id_prefix="c")))
    assert pair.cancel(ORDERS[0]) == "c1"
    pair.drop()
    pair.run(1.0)
    pair.stall()
    assert pair.cancel(ORDERS[1]) == "c2"
    assert pair.cancel(ORDERS[2], id="c5") == "c5"
    assert pair.cancel(ORDERS[3], id="cx") == "cx"
    assert pair.cancel(ORDERS[4], id="c" + "9" * 16) == "c" + "9" * 16
    assert pair.cancel(ORDERS[5], id="9") == "9"
    assert pair.cancel(ORDERS[6]) == "c6"


def test_a_generated_id_is_never_in_use() -> None:
    pair = pair_up(Fault.SILENT, Fault.SILENT)
    pair.cancel(ORDERS[0], id="bgproto2", timeout=1.0)
    pair.cancel(ORDERS[1], id="bgproto3")
    pair.send('{"op":"trade","args":[{"id":"bgproto4"}]}')
    pair.run(1.0)
    assert pair.session.cancel(ORDERS[2], pair.clock.now) == "bgproto5"
    assert pair.session.cancel_many(ORDERS[3:5], pair.clock.now) == ["bgproto6", "bgproto7"]


def test_a_cancel_cannot_have_the_id_of_an_own_frame_on_any_link() -> None:
    pair = pair_up()
    pair.send('{"op":"trade","args":[{"id":"own"}]}')
    pair.drop()
    pair.run(1.0)
    with pytest.raises(ValidationError, match=r"^the id 'own' was used for a frame of your own"):
        pair.session.cancel(ORDERS[0], pair.clock.now, id="own")


def test_an_own_frame_cannot_have_the_id_of_an_open_or_late_cancel() -> None:
    pair = pair_up(Fault.SILENT, Fault.SILENT)
    pair.cancel(ORDERS[0], id="late", timeout=1.0)
    pair.cancel(ORDERS[1], id="out")
    pair.run(1.0)
    pair.stall()
    pair.cancel(ORDERS[2], id="held")
    pair.cancel(ORDERS[3], id="waits")
    for id, why in (
        ("late", "was used for a cancel whose answer may still come"),
        ("out", "is in flight"),
        ("held", "is in flight"),
        ("waits", "is in flight"),
    ):
        with pytest.raises(ValidationError, match=rf"^the id '{id}' in this frame {why}"):
            pair.session.send(f'{{"op":"trade","args":[{{"id":"{id}"}}]}}', pair.clock.now)


def test_an_id_is_free_once_its_outcome_was_returned() -> None:
    session = Session(jitter=lambda: 0.0)
    session.cancel(ORDERS[0], 0.0, id="a")
    assert session.withdraw("a", 0.0)
    with pytest.raises(ValidationError, match=r"^the id 'a' is in flight"):
        session.cancel(ORDERS[0], 0.0, id="a")
    assert isinstance(session.poll(0.0), Unresolved)
    assert session.cancel(ORDERS[0], 0.0, id="a") == "a"


# --- misuse ---


def taken(session: Session, **kwargs: object) -> str:
    return session.cancel(*(ORDERS[0], 1.0), **kwargs)  # type: ignore[arg-type]  # misuse is what is tested


def test_an_invalid_cancel_is_refused_and_changes_nothing() -> None:
    session = Session(jitter=lambda: 0.0)
    with pytest.raises(
        ValidationError, match=r"^order must be a CancelOrder; got 'x': pass CancelOrder"
    ):
        session.cancel("x", 1.0)  # type: ignore[arg-type]  # this is the mistake
    for timeout in (0, -1, "1", Fraction(1), True):
        with pytest.raises(ValidationError, match=r"^timeout must be a number of seconds above 0"):
            taken(session, timeout=timeout)
    for id in ("", "x\n", 1):
        with pytest.raises(ValidationError, match=r"^id must be 1 to 40"):
            taken(session, id=id)
    for policy in ("report", 1, True):
        with pytest.raises(
            ValidationError, match=r"^policy must be Policy\.REPORT or Policy\.RESEND; got "
        ):
            taken(session, policy=policy)
    assert taken(session, id="a") == "a"
    with pytest.raises(ValidationError, match=r"^the id 'a' is in flight"):
        taken(session, id="a")
    assert session.in_flight == 1
    assert taken(session) == "bgproto1"


def test_one_limit_applies_to_all_links_and_the_queue() -> None:
    pair = pair_up(Fault.SILENT, config=SessionConfig(link=Config(max_in_flight=2)))
    pair.cancel(ORDERS[0])
    pair.say(GOING)
    pair.run(1.0)
    pair.stall()
    pair.cancel(ORDERS[1])
    assert pair.session.capacity == 0
    with pytest.raises(
        NoRoom,
        match=r"^Config\.max_in_flight is 2, and there is no room for one more: wait for outcomes",
    ):
        pair.session.cancel(ORDERS[2], pair.clock.now)


def test_without_a_limit_any_number_is_taken() -> None:
    session = Session(SessionConfig(link=Config(max_in_flight=None)), jitter=lambda: 0.0)
    session.cancel(ORDERS[0], 0.0)
    assert session.capacity == sys.maxsize


# --- time ---


def test_an_expired_cancel_is_not_sent_before_its_timer_fires() -> None:
    session = Session(jitter=lambda: 0.0)
    session.cancel(ORDERS[0], 0.0, timeout=1.0)
    pair = SessionPair(session, ScriptedExchange(ORDERS))
    pair.clock.advance(5.0)
    pair.start()
    assert [transmit for _, transmit in pair.sent if transmit.ids] == []
    assert unresolved(pair, "bgproto1").resolved_at == 5.0


def test_frames_name_their_link_and_their_cancel() -> None:
    pair = pair_up()
    id = pair.cancel(ORDERS[0])
    _, frame = pair.sent[-1]
    assert isinstance(frame, LinkTransmit)
    assert (frame.link, frame.ids, frame.secret) == (1, (id,), False)
