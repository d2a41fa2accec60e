from __future__ import annotations

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Credentials,
    Dial,
    Ended,
    LateReply,
    LinkClosed,
    LocalProtocolError,
    LoginRejected,
    OrderStatus,
    OrderUpdate,
    Policy,
    Session,
    SessionConfig,
    SessionState,
    Unresolved,
    Up,
    ValidationError,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    RestFault,
    ScriptedExchange,
    SessionPair,
    VirtualClock,
)

ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(30)]


def started(**kwargs: float) -> SessionPair:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS), **kwargs)  # type: ignore[arg-type]  # times alone
    pair.start()
    return pair


def test_without_latency_a_session_is_up_at_once_and_a_cancel_is_answered() -> None:
    pair = started()
    id = pair.cancel(ORDERS[0], id="mine", timeout=3.0, policy=Policy.RESEND)
    assert id == "mine"
    assert isinstance(pair.outcomes[id], Accepted)
    assert pair.events == [Up(link=1, down_for=0.0), pair.outcomes[id]]
    assert pair.dials == [(0.0, Dial(link=1))]
    assert repr(pair) == "<SessionPair at 0.0: <Session up, 0 in flight>, links [1]>"
    assert list(pair.links) == [1]


def test_all_arguments_are_optional_and_the_clock_can_be_given() -> None:
    pair = SessionPair(clock=VirtualClock(50.0))
    pair.start()
    assert pair.session.state is SessionState.UP
    assert pair.clock.now == 50.0


def test_messages_take_the_latency_and_dials_the_dial_time() -> None:
    latencies = iter([0.25] * 4)
    pair = SessionPair(
        exchange=ScriptedExchange(ORDERS), latency=lambda: next(latencies), dial_time=1.0
    )
    pair.start()
    pair.run(1.4)
    assert not pair.events
    pair.run(0.1)
    assert pair.events == [Up(link=1, down_for=1.5)]
    pair.cancel(ORDERS[0])
    pair.run(0.5)
    assert pair.outcomes["bgproto1"].resolved_at == 2.0


def test_cancel_many_an_urgent_cancel_and_a_withdrawn_one() -> None:
    pair = started()
    ids = pair.cancel_many(ORDERS[:20])
    urgent = pair.cancel(ORDERS[20], urgent=True)
    assert pair.withdraw(ids[-1])
    assert not pair.withdraw(ids[0])
    pair.close(queued="send", within=60.0)
    pair.run_until_ended()
    assert list(pair.outcomes) == [*ids[:9], ids[-1], urgent, *ids[9:-1]]
    assert {type(outcome) for id, outcome in pair.outcomes.items() if id != ids[-1]} == {Accepted}


def test_a_dial_can_fail_or_never_be_answered() -> None:
    pair = SessionPair(dial_time=1.0)
    pair.refuse_dials = True
    pair.start()
    pair.run(1.0)
    assert pair.events == [LinkClosed(link=1, why=WhyClosed.LOST, detail="connection refused")]
    pair.refuse_dials, pair.hold_dials = False, True
    pair.run(10.0)
    assert len(pair.dials) == 2
    assert pair.session.state is SessionState.DIALLING
    pair.run(20.0)
    assert len(pair.dials) == 3


def test_a_dial_abandoned_before_its_answer_opens_no_link() -> None:
    pair = SessionPair(dial_time=25.0)
    pair.start()
    pair.run(24.0)
    assert not pair.links
    pair.run(5.0)
    assert not pair.links


def test_a_dropped_link_is_replaced() -> None:
    pair = started()
    pair.drop(1, "reset")
    assert not pair.links
    pair.run(5.0)
    assert list(pair.links) == [2]


def test_a_stalled_link_takes_one_frame_and_writes_it_when_resumed() -> None:
    pair = started()
    pair.stall()
    ids = [pair.cancel(order) for order in ORDERS[:2]]
    assert not pair.outcomes
    pair.resume()
    assert list(pair.outcomes) == ids
    pair.stall()
    pair.resume()


def test_a_frame_held_by_a_stalled_link_that_drops_is_unsent() -> None:
    pair = started()
    pair.stall()
    id = pair.cancel(ORDERS[0])
    pair.drop()
    pair.run(5.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted)
    assert outcome.attempts == 1
    pair.stall()
    pair.run(100.0)
    pair.send("held")
    pair.drop()


def test_a_frozen_link_delivers_nothing_until_it_thaws() -> None:
    pair = started()
    pair.freeze()
    id = pair.cancel(ORDERS[0])
    pair.run(4.0)
    assert not pair.outcomes
    pair.thaw()
    assert isinstance(pair.outcomes[id], Accepted)


def test_both_ends_can_hang_up() -> None:
    pair = started(latency=1.0)
    pair.run(3.0)
    pair.close()
    assert pair.session.state is SessionState.ENDED
    pair.run(2.0)
    assert not pair.links
    exchange = ScriptedExchange(ORDERS, config=ExchangeConfig(lifetime=50.0))
    pair = SessionPair(exchange=exchange, latency=1.0)
    pair.start()
    pair.run(51.1)
    assert pair.session.state is SessionState.DOWN


def test_frames_after_the_clients_hangup_are_not_read() -> None:
    pair = started(latency=1.0)
    pair.run(3.0)
    pair.cancel(ORDERS[0])
    pair.run(1.0)
    pair.close()
    pair.close()
    assert isinstance(pair.outcomes["bgproto1"], Unresolved)
    pair.run(10.0)
    assert isinstance(pair.events[-1], Ended)


def test_both_ends_hanging_up_at_once_is_not_a_lost_link() -> None:
    exchange = ScriptedExchange(ORDERS, credentials=Credentials("key", "secret", "passphrase"))
    pair = SessionPair(
        exchange=exchange, credentials=Credentials("key", "wrong", "passphrase"), latency=1.0
    )
    pair.start()
    pair.run(10.0)
    assert [type(event) for event in pair.events] == [LoginRejected, LinkClosed, Ended]
    assert not pair.links


def test_timestamps_can_be_wrong_until_corrected() -> None:
    exchange = ScriptedExchange(ORDERS, credentials=Credentials("key", "secret", "passphrase"))
    pair = SessionPair(exchange=exchange, skew=60.0)
    pair.start()
    pair.run(1.0)
    assert pair.skew == 0.0
    assert [dial.stamp_refused for _, dial in pair.dials] == [False, True]


def test_text_pushed_by_the_exchange_is_received() -> None:
    pair = started()
    pair.say("anything")
    assert type(pair.events[-1]).__name__ == "Unrecognised"
    pair.exchange.inject(Fault.SILENT)


def test_a_cancel_by_another_client_is_pushed_at_once() -> None:
    exchange = ScriptedExchange(ORDERS)
    one, other = SessionPair(exchange=exchange), SessionPair(exchange=exchange)
    one.start()
    other.start()
    other.send(
        '{"op":"subscribe","args":[{"instType":"SPOT","channel":"orders","instId":"default"}]}'
    )
    before = len(other.events)
    one.cancel(ORDERS[0])
    other.settle()
    (update,) = other.events[before:]
    assert isinstance(update, OrderUpdate)
    assert update.status is OrderStatus.CANCELLED


def test_naming_a_link_that_is_not_open_is_an_error() -> None:
    pair = started()
    with pytest.raises(
        ValidationError, match=r"^link must be an open link, one of \[1\]; got the int 2"
    ):
        pair.drop(2)
    pair.drop()
    with pytest.raises(ValidationError, match=r"^link must be an open link, one of \[\]; got None"):
        pair.drop()


def test_run_until_ended_raises_when_the_session_can_never_end() -> None:
    pair = started()
    pair.exchange.inject(Fault.SILENT)
    pair.cancel(ORDERS[0])
    pair.close()
    pair.run_until_ended()
    assert pair.clock.now == 5.0
    pair = SessionPair(Session(SessionConfig(dial_timeout=None), jitter=lambda: 0.0))
    pair.hold_dials = True
    pair.start()
    with pytest.raises(
        LocalProtocolError,
        match=r"^nothing is scheduled, and the session is dialling: close it$",
    ):
        pair.run_until_ended()


def test_a_session_that_never_settles_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitget_proto.testing._virtual.network._TOO_LONG", 3)
    with pytest.raises(AssertionError, match=r"^still busy after 3 steps: <SessionPair at "):
        started()


# --- REST ---


def by_rest(*, latency: float = 0.0) -> tuple[SessionPair, str]:
    """A pair whose dials fail, and a cancel that goes by REST after a second."""
    session = Session(SessionConfig(rest_after=1.0), jitter=lambda: 0.5)
    pair = SessionPair(session, ScriptedExchange(ORDERS), latency=latency)
    pair.refuse_dials = True
    return pair, pair.cancel(ORDERS[0])


def test_a_rest_request_takes_the_latency_there_and_back() -> None:
    pair, id = by_rest(latency=0.25)
    pair.run(1.0)
    assert [(at, request.id) for at, request in pair.rest_sent] == [(1.0, id)]
    pair.run(0.2)
    assert not pair.exchange.log
    pair.run(0.1)
    assert [act.at for act in pair.exchange.log] == [1.25]
    pair.latency_back = lambda: 9.0
    pair.run(0.2)
    assert pair.outcomes[id].resolved_at == 1.5


def test_rest_requests_that_are_held_arrive_and_are_never_answered() -> None:
    pair, id = by_rest()
    pair.hold_rest = True
    pair.run(5.0)
    assert len(pair.exchange.log) == 1
    assert id not in pair.outcomes
    pair.run(10.0)
    assert pair.outcomes[id].by_rest == (1,)


def test_rest_requests_that_are_refused_are_not_sent() -> None:
    pair, id = by_rest()
    pair.refuse_rest = True
    pair.run(1.5)
    assert not pair.rest_sent
    pair.refuse_rest = False
    pair.run(1.5)
    assert isinstance(pair.outcomes[id], Accepted)
    assert len(pair.rest_sent) == 1


def test_a_rest_request_arrives_while_the_client_sleeps_and_is_answered_afterwards() -> None:
    pair, id = by_rest(latency=2.0)
    pair.run(1.0)
    pair.sleep(30.0)
    assert [act.at for act in pair.exchange.log] == [3.0]
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted), "what has arrived comes before the timers"
    assert outcome.resolved_at == 31.0


def test_rest_has_faults_and_late_answers() -> None:
    pair, id = by_rest()
    pair.exchange.inject_rest(RestFault.CUT_AFTER)
    pair.run(1.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert outcome.why is WhyUnresolved.UNSURE
    pair.latency = 8.0
    late = pair.cancel(ORDERS[1])
    pair.run(20.0)
    assert isinstance(pair.outcomes[late], Unresolved)
    assert isinstance(pair.events[-1], LateReply)


def test_a_cancel_by_rest_is_pushed_on_the_link() -> None:
    session = Session(SessionConfig(rest_after=1.0), jitter=lambda: 0.5)
    pair = SessionPair(session, ScriptedExchange(ORDERS))
    pair.start()
    pair.subscribe_orders()
    pair.stall()
    pair.cancel(ORDERS[0])
    id = pair.cancel(ORDERS[1])
    pair.run(1.0)
    assert pair.outcomes[id].by_rest == (1,)
    updates = [event for event in pair.events if isinstance(event, OrderUpdate)]
    assert [update.order_id for update in updates] == ["1"]
