"""Links of a session: dials, backoff, refusals, moves, closing, and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, nan

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CallerError,
    CancelOrder,
    Codec,
    Config,
    Credentials,
    Dial,
    Down,
    Ended,
    GoingAway,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LocalProtocolError,
    LoginRejected,
    NoRoom,
    Rejected,
    Session,
    SessionConfig,
    SessionOutput,
    SessionState,
    SignedLogin,
    Timer,
    Unrecognised,
    Unresolved,
    Up,
    ValidationError,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)
from bitget_proto._machine.arguments import Queued
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange, SessionPair

LOGIN = SignedLogin("key", "pass", "1700000000", "c2lnbg==")
LOGGED_IN = '{"event":"login","code":0}'
GOING = '{"event":"error","code":30033,"msg":"going away"}'
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(40)]
IDLE = Wait(until=None, timer=None)


def session(
    config: SessionConfig | None = None, *, jitter: float = 0.0, budget: Budget | None = None
) -> Session:
    return Session(config, budget=budget, jitter=lambda: jitter)


def state_of(session: Session) -> SessionState:
    """Its state, which a type checker does not take for what it was a line ago."""
    return session.state


def drain(session: Session, now: float, busy: Iterable[int] = ()) -> list[SessionOutput]:
    outputs: list[SessionOutput] = []
    while True:
        outputs.append(session.poll(now, set(busy)))
        if isinstance(outputs[-1], Wait):
            return outputs


def connect(session: Session, link: int, now: float) -> list[SessionOutput]:
    """Open a link that was dialled and let its login be accepted."""
    session.opened(link, now, login=LOGIN)
    (login, *_) = drain(session, now)
    assert isinstance(login, LinkTransmit)
    assert (login.link, login.secret) == (link, True)
    session.receive(link, LOGGED_IN, now)
    return drain(session, now)


def up(config: SessionConfig | None = None, *, budget: Budget | None = None) -> Session:
    made = session(config, budget=budget)
    assert drain(made, 0.0)[0] == Dial(link=1)
    assert connect(made, 1, 0.0)[0] == Up(link=1, down_for=0.0)
    return made


def pair_up(
    config: SessionConfig | None = None,
    *,
    latency: float = 0.0,
    exchange: ScriptedExchange | None = None,
) -> SessionPair:
    made = SessionPair(session(config), exchange or ScriptedExchange(ORDERS), latency=latency)
    made.start()
    made.run(3 * latency)
    assert isinstance(made.events.pop(), Up)
    return made


# --- dialling ---


def test_the_first_output_is_a_dial() -> None:
    made = session()
    assert state_of(made) is SessionState.DOWN
    assert drain(made, 5.0) == [
        Dial(link=1, stamp_refused=False),
        Wait(until=25.0, timer=Timer.DIALLED),
    ]
    assert state_of(made) is SessionState.DIALLING
    assert repr(made) == "<Session dialling, 0 in flight>"


def test_it_is_up_when_the_login_is_accepted_and_reports_the_time() -> None:
    made = session()
    drain(made, 5.0)
    made.opened(1, 6.0, login=LOGIN)
    drain(made, 6.0)
    made.receive(1, LOGGED_IN, 7.5)
    assert drain(made, 7.5)[0] == Up(link=1, down_for=2.5)
    assert state_of(made) is SessionState.UP


def test_failed_dials_are_repeated_with_a_doubling_backoff() -> None:
    made = session(SessionConfig(backoff_min=1.0, backoff_max=5.0))
    now = 0.0
    for link, backoff in enumerate([1.0, 2.0, 4.0, 5.0, 5.0], start=1):
        assert drain(made, now)[0] == Dial(link=link)
        made.lost(link, now, "no route to host")
        closed, wait = drain(made, now)
        assert closed == LinkClosed(link=link, why=WhyClosed.LOST, detail="no route to host")
        assert wait == Wait(until=now + backoff, timer=Timer.DIAL)
        assert state_of(made) is SessionState.DOWN
        assert drain(made, now + 0.9 * backoff) == [wait]
        now += backoff


def test_an_unanswered_dial_is_given_up() -> None:
    made = session(SessionConfig(dial_timeout=20.0))
    drain(made, 0.0)
    made.handle_timeout(19.9)
    assert drain(made, 19.9) == [Wait(until=20.0, timer=Timer.DIALLED)]
    made.handle_timeout(20.0)
    hangup, closed, wait = drain(made, 20.0)
    assert hangup == LinkHangup(code=1000, reason="no answer to the dial within 20.0 s", link=1)
    assert closed == LinkClosed(
        link=1, why=WhyClosed.LOST, detail="no answer to the dial within 20.0 s"
    )
    assert wait == Wait(until=20.5, timer=Timer.DIAL)
    made.opened(1, 20.1, login=LOGIN)
    made.receive(1, LOGGED_IN, 20.1)
    made.lost(1, 20.1)
    assert drain(made, 20.1) == [wait], "too late: nobody listens to that link any more"


def test_without_a_dial_timeout_a_dial_is_never_given_up() -> None:
    made = session(SessionConfig(dial_timeout=None))
    assert drain(made, 0.0)[-1] == IDLE
    made.handle_timeout(1e9)
    assert drain(made, 1e9) == [IDLE]


def test_an_unanswered_login_leads_to_another_dial() -> None:
    made = session()
    drain(made, 0.0)
    made.opened(1, 0.0, login=LOGIN)
    assert drain(made, 0.0)[-1] == Wait(until=10.0, timer=Timer.LOGIN)
    made.handle_timeout(10.0)
    hangup, closed, _ = drain(made, 10.0)
    assert hangup == LinkHangup(code=1000, reason="login timeout", link=1)
    assert isinstance(closed, LinkClosed)
    assert closed.why is WhyClosed.LOGIN_TIMEOUT
    assert state_of(made) is SessionState.DOWN


def test_a_deadline_before_the_next_dial_is_announced() -> None:
    made = session(SessionConfig(backoff_min=5.0))
    made.cancel(ORDERS[0], 0.0, timeout=2.0)
    drain(made, 0.0)
    made.lost(1, 0.0)
    assert drain(made, 0.0)[-1] == Wait(until=2.0, timer=Timer.REQUEST)


def test_the_dials_in_five_minutes_are_limited() -> None:
    made = session(SessionConfig(dials_per_5_minutes=3, backoff_min=None))
    for link in (1, 2, 3):
        assert drain(made, 10.0)[-2:] == [Dial(link=link), Wait(until=30.0, timer=Timer.DIALLED)]
        made.lost(link, 10.0)
    assert drain(made, 10.0)[-1] == Wait(until=310.0, timer=Timer.DIAL)
    assert drain(made, 310.0)[0] == Dial(link=4)


@pytest.mark.parametrize("moment", ["before it is up", "up"])
def test_a_jitter_that_raises_leaves_the_session_consistent(moment: str) -> None:
    numbers = iter(list[float]())  # it has none to give: this is the mistake
    made = Session(jitter=lambda: next(numbers))
    drain(made, 0.0)
    if moment == "up":
        connect(made, 1, 0.0)
    made.cancel(ORDERS[0], 0.0)
    drain(made, 0.0)
    made.lost(1, 1.0)
    expected = [LinkClosed] if moment != "up" else [Unresolved, LinkClosed, Down]
    assert [type(made.poll(1.0)) for _ in expected] == expected
    assert made.poll(1.0) == CallerError(where="jitter", detail="StopIteration()")
    assert state_of(made) is SessionState.DOWN
    assert drain(made, 1.0) == [Wait(until=1.5, timer=Timer.DIAL)], "the whole backoff"
    assert Dial(link=2) in drain(made, 1.5)
    assert made.in_flight == (0 if moment == "up" else 1)


def test_only_a_steady_link_resets_the_backoff() -> None:
    made = session(SessionConfig(backoff_min=1.0, steady_after=60.0))
    drain(made, 0.0)
    made.lost(1, 0.0)
    drain(made, 1.0)
    connect(made, 2, 1.0)
    made.lost(2, 2.0, "reset")
    *_, down, wait = drain(made, 2.0)
    assert down == Down(link=2, why=WhyClosed.LOST, detail="reset", up_for=1.0)
    assert wait == Wait(until=4.0, timer=Timer.DIAL)
    assert drain(made, 4.0)[0] == Dial(link=3)
    assert connect(made, 3, 5.0)[0] == Up(link=3, down_for=3.0)
    made.lost(3, 65.0)
    assert drain(made, 65.0)[-1] == Wait(until=66.0, timer=Timer.DIAL)


@pytest.mark.parametrize(("served", "backoff"), [(1.9, 4.0), (2.0, 1.0)])
def test_a_steady_link_that_is_replaced_resets_the_backoff(served: float, backoff: float) -> None:
    made = session(SessionConfig(backoff_min=1.0, lifetime=None))
    now = 0.0
    for link in (1, 2):
        drain(made, now)
        made.lost(link, now)
        now += 3.0
    drain(made, now)
    assert connect(made, 3, now)[0] == Up(link=3, down_for=6.0)
    made.receive(3, GOING, now + served)
    assert drain(made, now + served)[-1] == Wait(until=now + served + backoff, timer=Timer.DIAL)


# --- refusals ---


def refuse(session: Session, link: int, code: int, now: float) -> list[SessionOutput]:
    session.opened(link, now, login=LOGIN)
    drain(session, now)
    session.receive(link, f'{{"event":"error","code":{code},"msg":"refused"}}', now)
    return drain(session, now)


def refuse_by_login(session: Session, link: int, code: int, now: float) -> list[SessionOutput]:
    """As recorded too: some refusals come as the answer to the login."""
    session.opened(link, now, login=LOGIN)
    drain(session, now)
    session.receive(link, f'{{"event":"login","code":{code},"msg":"refused"}}', now)
    return drain(session, now)


@pytest.mark.parametrize("code", [30011, 30012, 30015, 40014, 40018])
def test_a_permanent_refusal_of_the_login_ends_the_session(code: int) -> None:
    made = session()
    drain(made, 0.0)
    made.cancel(ORDERS[0], 0.0, id="a")
    rejected, hangup, closed, unresolved, ended, wait = refuse(made, 1, code, 1.0)
    assert isinstance(rejected, LoginRejected)
    assert isinstance(hangup, LinkHangup)
    assert isinstance(closed, LinkClosed)
    assert isinstance(unresolved, Unresolved)
    assert (unresolved.sent, unresolved.why) == (False, WhyUnresolved.CLOSED)
    assert ended == Ended(why=WhyEnded.REFUSED, detail="refused", code=str(code))
    assert wait == IDLE
    assert state_of(made) is SessionState.ENDED


@pytest.mark.parametrize("code", [30013, 30014])
def test_a_timestamp_refused_twice_ends_the_session(code: int) -> None:
    made = session()
    drain(made, 0.0)
    refuse(made, 1, code, 0.0)
    assert drain(made, 1.0)[0] == Dial(link=2, stamp_refused=True)
    made.lost(2, 1.0, "the corrected stamp was never tried")
    assert drain(made, 3.0)[-2] == Dial(link=3, stamp_refused=True)
    ended = refuse(made, 3, code, 3.0)[-2]
    assert ended == Ended(why=WhyEnded.STAMP_REFUSED, detail="refused", code=str(code))


def test_a_timestamp_may_be_refused_again_after_a_login_was_accepted() -> None:
    exchange = ScriptedExchange(ORDERS, credentials=Credentials("key", "secret", "passphrase"))
    pair = SessionPair(session(), exchange, skew=-100.0)
    pair.start()
    pair.run(1.0)
    assert [dial.stamp_refused for _, dial in pair.dials] == [False, True]
    assert state_of(pair.session) is SessionState.UP
    pair.skew = 100.0
    pair.drop()
    pair.run(5.0)
    assert [dial.stamp_refused for _, dial in pair.dials] == [False, True, False, True]
    assert state_of(pair.session) is SessionState.UP


@pytest.mark.parametrize("code", [30005, 30099, 40010, 40015, 40725, 45001])
def test_a_temporary_refusal_backs_off_and_does_not_end_the_session(code: int) -> None:
    made = session(SessionConfig(backoff_min=0.5, backoff_max=4.0))
    now = 0.0
    for link, backoff in enumerate([0.5, 1.0, 2.0, 4.0, 4.0, 4.0], start=1):
        assert drain(made, now)[-2] == Dial(link=link)
        rejected = refuse_by_login(made, link, code, now)[0]
        assert isinstance(rejected, LoginRejected)
        assert rejected.code == str(code)
        assert drain(made, now)[-1] == Wait(until=now + backoff, timer=Timer.DIAL)
        now += backoff
    assert state_of(made) is SessionState.DOWN
    drain(made, now)
    assert connect(made, 7, now)[0] == Up(link=7, down_for=now)


@pytest.mark.parametrize("code", [30013, 30014])
def test_a_refused_timestamp_never_ends_a_session_that_was_up(code: int) -> None:
    made = up()
    made.lost(1, 10.0)
    now = 10.0
    for link in range(2, 8):
        now += 30.0
        dial = next(output for output in drain(made, now) if isinstance(output, Dial))
        assert dial == Dial(link=link, stamp_refused=link > 2)
        refuse(made, link, code, now)
    assert state_of(made) is SessionState.DOWN


# --- down and up again ---


def test_down_follows_the_outcomes_of_the_lost_link() -> None:
    pair = pair_up()
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.run(2.0)
    pair.drop(reason="reset")
    unresolved, closed, down = pair.events
    assert unresolved == pair.outcomes[id]
    assert closed == LinkClosed(link=1, why=WhyClosed.LOST, detail="reset")
    assert down == Down(link=1, why=WhyClosed.LOST, detail="reset", up_for=2.0)
    pair.run(10.0)
    assert pair.events[-1] == Up(link=2, down_for=0.5)


@pytest.mark.parametrize(
    ("code", "why"), [(30004, WhyClosed.NOT_LOGGED_IN), (30007, WhyClosed.THROWN_OUT)]
)
def test_a_fatal_error_only_brings_the_session_down(code: int, why: WhyClosed) -> None:
    made = up()
    made.receive(1, f'{{"event":"error","code":{code},"msg":"so"}}', 3.0)
    (error, wait) = drain(made, 3.0)
    assert type(error).__name__ == "ExchangeError"
    assert wait == Wait(until=3.5, timer=Timer.DRAIN), "what was answered may be in the same read"
    made.handle_timeout(3.5)
    hangup, closed, down, wait = drain(made, 3.5)
    assert hangup == LinkHangup(code=1000, reason=why.value, link=1)
    assert closed == LinkClosed(link=1, why=why, detail="so")
    assert down == Down(link=1, why=why, detail="so", up_for=3.5)
    assert wait == Wait(until=4.0, timer=Timer.DIAL)


def test_other_events_are_passed_on_unchanged() -> None:
    made = up()
    made.receive(1, b'{"action":"snapshot"}', 1.0)
    assert isinstance(drain(made, 1.0)[0], Unrecognised)


# --- moving ---


def test_on_going_away_the_old_link_serves_until_the_new_one_is_up() -> None:
    made = up(SessionConfig(link=Config(ping_interval=None)))
    made.receive(1, GOING, 100.0)
    assert drain(made, 100.0) == [
        GoingAway(message="going away", text=GOING),
        Wait(until=100.5, timer=Timer.DIAL),
    ]
    assert state_of(made) is SessionState.MOVING
    assert drain(made, 100.5) == [Dial(link=2), Wait(until=120.5, timer=Timer.DIALLED)]
    made.cancel(ORDERS[0], 101.0)
    assert [output.link for output in drain(made, 101.0) if isinstance(output, LinkTransmit)] == [1]
    made.receive(1, GOING, 101.0)
    assert drain(made, 101.0)[0] == GoingAway(message="going away", text=GOING)
    taken_over, *_ = connect(made, 2, 102.0)
    assert taken_over == Up(link=2, down_for=0.0)
    assert state_of(made) is SessionState.UP
    made.cancel(ORDERS[1], 103.0)
    assert [output.link for output in drain(made, 103.0) if isinstance(output, LinkTransmit)] == [2]
    made.receive(1, GOING, 103.0)
    assert drain(made, 103.0)[0] == GoingAway(message="going away", text=GOING)
    assert state_of(made) is SessionState.UP, "the link that drains has been left already"


def test_a_link_is_replaced_before_the_end_of_its_lifetime() -> None:
    made = up(SessionConfig(lifetime=1000.0, rotate_before=100.0, link=Config(ping_interval=None)))
    assert drain(made, 0.0) == [Wait(until=900.0, timer=Timer.ROTATION)]
    made.handle_timeout(899.9)
    assert state_of(made) is SessionState.UP
    made.handle_timeout(900.0)
    assert state_of(made) is SessionState.MOVING
    assert drain(made, 900.5)[0] == Dial(link=2)
    connect(made, 2, 901.0)
    assert drain(made, 901.0)[-1] == Wait(until=1801.0, timer=Timer.ROTATION)


def test_without_a_lifetime_a_link_is_not_replaced() -> None:
    made = up(SessionConfig(lifetime=None, link=Config(ping_interval=None)))
    assert drain(made, 0.0) == [IDLE]


def test_a_link_going_away_before_its_login_is_replaced_once_it_serves() -> None:
    made = session()
    drain(made, 0.0)
    made.opened(1, 0.0, login=LOGIN)
    drain(made, 0.0)
    made.receive(1, GOING, 0.0)
    assert state_of(made) is SessionState.DIALLING
    made.receive(1, LOGGED_IN, 1.0)
    assert state_of(made) is SessionState.MOVING
    assert drain(made, 2.0)[1:] == [
        Up(link=1, down_for=1.0),
        Dial(link=2),
        Wait(until=22.0, timer=Timer.DIALLED),
    ]


def test_an_exchange_that_is_always_going_away_is_dialled_less_and_less() -> None:
    pair = pair_up(SessionConfig(backoff_min=1.0, backoff_max=16.0, steady_after=60.0))
    for _ in range(6):
        pair.say(GOING)
        pair.run(17.0)
    times = [at for at, _ in pair.dials]
    assert times == [0.0, 1.0, 19.0, 38.0, 59.0, 84.0, 101.0]


def test_a_successor_that_fails_is_dialled_again_while_the_old_link_serves() -> None:
    pair = pair_up()
    pair.refuse_dials = True
    pair.say(GOING)
    pair.run(3.0)
    assert state_of(pair.session) is SessionState.MOVING
    assert len(pair.dials) == 3
    assert isinstance(pair.outcomes[pair.cancel(ORDERS[0])], Accepted)
    pair.refuse_dials = False
    pair.run(10.0)
    assert state_of(pair.session) is SessionState.UP
    assert not [event for event in pair.events if isinstance(event, Down)]


def test_a_link_that_ends_while_its_successor_is_dialled_is_dialling() -> None:
    made = up()
    made.receive(1, GOING, 1.0)
    drain(made, 2.0)
    made.lost(1, 2.0)
    assert state_of(made) is SessionState.DIALLING
    assert drain(made, 2.0)[-1] == Wait(until=22.0, timer=Timer.DIALLED)
    assert connect(made, 2, 3.0)[0] == Up(link=2, down_for=1.0)


def test_a_link_that_ends_early_does_not_move_its_successors_dial() -> None:
    made = up()
    made.receive(1, GOING, 1.0)
    assert drain(made, 1.0)[-1] == Wait(until=1.5, timer=Timer.DIAL)
    made.lost(1, 1.2)
    assert state_of(made) is SessionState.DOWN
    assert drain(made, 1.2)[-1] == Wait(until=1.5, timer=Timer.DIAL)


def test_moving_refuses_and_loses_no_cancel() -> None:
    # 25 orders at 10 a second: the queue is full of them when the session moves.
    pair = pair_up(latency=0.05)
    ids = [pair.cancel(order) for order in ORDERS[:25]]
    pair.say(GOING)
    pair.run(5.0)
    assert state_of(pair.session) is SessionState.UP
    assert {type(pair.outcomes[id]) for id in ids} == {Accepted}
    assert {transmit.link for _, transmit in pair.sent if transmit.ids} == {1, 2}
    assert [outcome.id for outcome in pair.outcomes.values()] == ids
    assert len(pair.exchange.log) == 25


def test_without_a_budget_two_links_send_no_more_than_one() -> None:
    pair = pair_up()
    for order in ORDERS[:20]:
        pair.cancel(order)
    pair.say(GOING)
    pair.run(1.0)
    at = [at for at, transmit in pair.sent if transmit.ids]
    assert all(later >= earlier + 1.0 for earlier, later in zip(at, at[10:], strict=False))


def test_a_stalled_link_does_not_block_another() -> None:
    pair = pair_up(SessionConfig(link=Config(ping_interval=None)))
    pair.stall()
    ids = [pair.cancel(order, timeout=60.0) for order in ORDERS[:5]]
    pair.say(GOING)
    pair.run(1.0)
    assert set(pair.outcomes) == set(ids[1:]), "all but the one whose frame is held"
    pair.run(9.0)
    outcome = pair.outcomes[ids[0]]
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.LOST), "the silence is found out"


def test_only_frames_are_withheld_for_a_busy_link() -> None:
    made = up()
    made.cancel(ORDERS[0], 2.0)
    assert drain(made, 2.0, busy=[1]) == [Wait(until=30.0, timer=Timer.PING)]
    assert isinstance(drain(made, 2.0, busy=[2])[0], LinkTransmit)


# --- frames of one's own ---


def test_own_frames_wait_for_a_link_and_are_sent_on_the_serving_one() -> None:
    made = session(SessionConfig(link=Config(max_own_frames=2)))
    made.send("one", 0.0)
    made.send("two", 0.0)
    with pytest.raises(NoRoom, match=r"^Config\.max_own_frames \(2\) is reached: wait until"):
        made.send("three", 0.0)
    drain(made, 0.0)
    frames = [output for output in connect(made, 1, 0.0) if isinstance(output, LinkTransmit)]
    assert [frame.text for frame in frames] == ["one", "two"]
    made.send("three", 1.0)
    (frame, _) = drain(made, 1.0)
    assert frame == LinkTransmit(text="three", link=1)


def test_an_own_frame_that_waited_is_sent_on_one_link_only() -> None:
    made = session()
    drain(made, 0.0)
    made.send("own", 0.0)
    frames = connect(made, 1, 0.0)
    made.lost(1, 3.0)
    assert drain(made, 3.0)[-1] == Wait(until=3.5, timer=Timer.DIAL)
    drain(made, 3.5)
    frames += connect(made, 2, 3.5)
    texts = [frame.text for frame in frames if isinstance(frame, LinkTransmit)]
    assert texts == ["own"]


def test_close_hangs_up_after_the_last_own_frame() -> None:
    made = up()
    made.send("own", 2.0)
    made.close(2.0, queued="send")
    frame, hangup, *_ = drain(made, 2.0)
    assert isinstance(frame, LinkTransmit)
    assert frame.text == "own"
    assert isinstance(hangup, LinkHangup)


def test_an_own_frame_is_not_given_to_a_link_that_is_ending() -> None:
    made = up()
    made.receive(1, '{"event":"error","code":30007,"msg":"too many"}', 1.0)
    drain(made, 1.0)
    made.send("mine", 1.1)
    drain(made, 1.1)
    made.handle_timeout(1.5)
    drain(made, 1.5)
    drain(made, 2.0)
    frames = [output for output in connect(made, 2, 2.0) if isinstance(output, LinkTransmit)]
    assert [(frame.link, frame.text) for frame in frames] == [(2, "mine")]


def test_without_a_limit_any_number_of_own_frames_waits() -> None:
    made = session(SessionConfig(link=Config(max_own_frames=None)))
    for number in range(200):
        made.send(str(number), 0.0)


@pytest.mark.parametrize("text", ["", None, b"x", "\ud800"])
def test_an_invalid_own_frame_is_refused_up_and_down(text: str) -> None:
    for made in (session(), up()):
        with pytest.raises(ValidationError, match=r"^text "):
            made.send(text, 1.0)


# --- the end ---


def test_close_before_the_first_dial_ends_the_session() -> None:
    made = session()
    made.cancel(ORDERS[0], 0.0)
    made.close(1.0)
    unresolved, ended, wait = drain(made, 1.0)
    assert isinstance(unresolved, Unresolved)
    assert (unresolved.sent, unresolved.why, unresolved.resolved_at) == (
        False,
        WhyUnresolved.CLOSED,
        1.0,
    )
    assert ended == Ended(why=WhyEnded.ASKED, detail="", code=None)
    assert wait == IDLE


@pytest.mark.parametrize("queued", ["drop", "send"])
def test_close_with_nothing_open_ends_before_any_poll(queued: str) -> None:
    made = up()
    made.close(1.0, queued=queued)  # type: ignore[arg-type]
    assert state_of(made) is SessionState.ENDED
    assert [type(output) for output in drain(made, 1.0)] == [LinkHangup, LinkClosed, Ended, Wait]


def test_close_gives_up_a_dial() -> None:
    made = session()
    drain(made, 0.0)
    made.close(1.0)
    assert [type(output) for output in drain(made, 1.0)] == [LinkHangup, LinkClosed, Ended, Wait]


def test_close_waits_for_answers_for_within_seconds() -> None:
    pair = pair_up()
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.close(within=1.5)
    pair.run_until_ended()
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why, outcome.resolved_at) == (True, WhyUnresolved.CLOSED, 1.5)


def test_close_waits_for_answers_and_a_second_close_does_not() -> None:
    for seconds, twice in ((5.0, False), (0.0, True)):
        pair = pair_up()
        pair.exchange.inject(Fault.SILENT)
        id = pair.cancel(ORDERS[0])
        pair.close()
        assert state_of(pair.session) is SessionState.CLOSING
        if twice:
            pair.close()
        pair.run(seconds)
        assert state_of(pair.session) is SessionState.ENDED
        outcome = pair.outcomes[id]
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why, outcome.resolved_at) == (
            True,
            WhyUnresolved.CLOSED,
            seconds,
        )


@pytest.mark.parametrize("queued", ["send", "drop"])
def test_a_second_close_ends_the_sending_of_the_queue(queued: Queued) -> None:
    pair = pair_up()
    pair.exchange.inject(Fault.SILENT)
    sent = pair.cancel(ORDERS[0])
    waiting = [pair.cancel(ORDERS[n]) for n in range(1, 15)]
    pair.close(queued="send")
    assert state_of(pair.session) is SessionState.UP
    pair.close(queued=queued)
    assert state_of(pair.session) is SessionState.ENDED
    outcome = pair.outcomes[sent]
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why, outcome.resolved_at) == (True, WhyUnresolved.CLOSED, 0.0)
    last = pair.outcomes[waiting[-1]]
    assert isinstance(last, Unresolved)
    assert (last.sent, last.why) == (False, WhyUnresolved.CLOSED)


def test_close_lets_a_draining_link_continue() -> None:
    pair = pair_up(exchange=ScriptedExchange(ORDERS, late_by=3.0))
    pair.exchange.inject(Fault.LATE)
    id = pair.cancel(ORDERS[0])
    pair.say(GOING)
    pair.run(1.0)
    pair.close()
    pair.run_until_ended()
    assert isinstance(pair.outcomes[id], Accepted)


def test_after_the_end_nothing_is_returned_or_taken() -> None:
    made = session()
    drain(made, 0.0)
    made.close(0.0)
    drain(made, 0.0)
    made.close(1.0)
    made.handle_timeout(1.0)
    made.opened(1, 1.0, login=LOGIN)
    made.receive(1, LOGGED_IN, 1.0)
    made.lost(1, 1.0)
    assert drain(made, 1e9) == [IDLE]
    assert made.capacity == 0
    with pytest.raises(
        LocalProtocolError, match=r"^the session has ended and takes no more cancels"
    ):
        made.cancel(ORDERS[0], 1e9)
    with pytest.raises(
        LocalProtocolError, match=r"^the session has ended and takes no more frames"
    ):
        made.send("x", 1e9)


# --- misuse ---

CALLS: dict[str, Callable[[Session, float], object]] = {
    "opened": lambda made, now: made.opened(1, now, login=LOGIN),
    "receive": lambda made, now: made.receive(1, "pong", now),
    "lost": lambda made, now: made.lost(1, now),
    "handle_timeout": lambda made, now: made.handle_timeout(now),
    "cancel": lambda made, now: made.cancel(ORDERS[0], now),
    "cancel_many": lambda made, now: made.cancel_many(ORDERS[:1], now),
    "withdraw": lambda made, now: made.withdraw("none", now),
    "send": lambda made, now: made.send("x", now),
    "close": lambda made, now: made.close(now),
    "poll": lambda made, now: made.poll(now),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("now", [nan, inf, "1", None])
def test_every_call_refuses_a_time_that_is_not_a_finite_number(name: str, now: float) -> None:
    made = session()
    with pytest.raises(LocalProtocolError, match=r"^now must be a finite number"):
        CALLS[name](made, now)
    assert drain(made, 0.0)[0] == Dial(link=1)


def test_a_clock_that_runs_backwards_stands_still() -> None:
    made = session()
    drain(made, 5.0)
    made.lost(1, 3.0)
    assert drain(made, 1.0)[-1] == Wait(until=5.5, timer=Timer.DIAL)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "close"])
def test_no_call_has_an_earlier_time_than_the_one_before(name: str) -> None:
    made = session()
    drain(made, 0.0)
    CALLS[name](made, 5.0)
    made.cancel(ORDERS[1], 1.0, id="next")
    made.close(1.0)
    (outcome,) = [
        output
        for output in drain(made, 1.0)
        if isinstance(output, Unresolved) and output.id == "next"
    ]
    assert (outcome.taken_at, outcome.resolved_at) == (5.0, 5.0)


@pytest.mark.parametrize("link", ["1", None, True, 1.0])
def test_an_invalid_link_number_is_refused(link: int) -> None:
    made = up()
    calls: list[Callable[[], None]] = [
        lambda: made.opened(link, 1.0, login=LOGIN),
        lambda: made.receive(link, "pong", 1.0),
        lambda: made.lost(link, 1.0),
    ]
    for call in calls:
        with pytest.raises(
            ValidationError, match=r"^link must be the number of a link, as in Dial\.link; got "
        ):
            call()


@pytest.mark.parametrize("link", [0, -1, 2])
def test_a_link_that_was_never_dialled_is_refused(link: int) -> None:
    made = up()
    calls: list[Callable[[], None]] = [
        lambda: made.opened(link, 1.0, login=LOGIN),
        lambda: made.receive(link, "pong", 1.0),
        lambda: made.lost(link, 1.0),
    ]
    for call in calls:
        with pytest.raises(
            LocalProtocolError,
            match=rf"^link {link} was never dialled; the last Dial has link 1: pass the number",
        ):
            call()
    assert made.state is SessionState.UP
    with pytest.raises(LocalProtocolError, match=r"^link 1 was never dialled: drain poll first"):
        session().lost(1, 0.0)


def test_a_link_is_opened_once_and_with_a_signed_login() -> None:
    made = session()
    drain(made, 0.0)
    with pytest.raises(ValidationError, match=r"^login must be a SignedLogin"):
        made.opened(1, 1.0, login="secret")  # type: ignore[arg-type]  # this is the mistake
    assert drain(made, 1.0) == [Wait(until=20.0, timer=Timer.DIALLED)]
    made.opened(1, 1.0, login=LOGIN)
    with pytest.raises(LocalProtocolError, match=r"^opened was called before"):
        made.opened(1, 1.0, login=LOGIN)


def test_arguments_of_the_wrong_type_are_refused_by_name() -> None:
    for name, kind in (("config", "SessionConfig"), ("codec", "Codec"), ("budget", "Budget")):
        with pytest.raises(ValidationError, match=f"^{name} must be a {kind}, or None; got "):
            Session(**{name: "x"}, jitter=lambda: 0.0)  # type: ignore[arg-type]  # this is the mistake
    with pytest.raises(
        ValidationError,
        match=r"^jitter must be a function .* got the float 0\.5: pass random\.random",
    ):
        Session(jitter=0.5)  # type: ignore[arg-type]  # this is the mistake


def test_the_arguments_of_the_constructor_are_used() -> None:
    config = SessionConfig(link=Config(id_prefix="s-"))
    budget = Budget(0)
    made = Session(config, Codec(), budget, jitter=lambda: 0.0)
    assert made.config is config
    drain(made, 0.0)
    connect(made, 1, 0.0)
    assert made.cancel(ORDERS[0], 2.0) == "s-1"
    assert drain(made, 2.0) == [Wait(until=30.0, timer=Timer.PING)]
    budget.grant(1, inf, 2.0)
    assert isinstance(drain(made, 2.0)[0], LinkTransmit)


def test_an_exchange_that_cuts_old_links_never_brings_the_session_down() -> None:
    config = SessionConfig(lifetime=600.0, rotate_before=60.0)
    pair = pair_up(
        config,
        latency=0.05,
        exchange=ScriptedExchange(ORDERS, config=ExchangeConfig(lifetime=600.0)),
    )
    ids: list[str] = []
    for order in ORDERS[:30]:
        ids.append(pair.cancel(order))
        pair.run(100.0)
    assert {type(pair.outcomes[id]) for id in ids} == {Accepted}
    assert len(pair.dials) == 6
    assert not [event for event in pair.events if isinstance(event, Down | Rejected)]


@pytest.mark.parametrize(
    "busy", [None, 1, "1", b"1", object()], ids=lambda busy: type(busy).__name__
)
def test_an_invalid_busy_is_refused_and_changes_nothing(busy: object) -> None:
    made = up()
    id = made.cancel(ORDERS[0], 2.0)
    with pytest.raises(ValidationError, match=r"^busy must be a set of link numbers; got "):
        made.poll(2.0, busy)  # type: ignore[arg-type]  # this is the mistake
    frame = made.poll(2.0)
    assert isinstance(frame, LinkTransmit)
    assert frame.ids == (id,)
    assert state_of(made) is SessionState.UP


def test_busy_may_be_any_container_and_may_raise() -> None:
    class Odd:
        def __contains__(self, link: object) -> bool:
            raise ZeroDivisionError

    class All:
        def __contains__(self, link: object) -> bool:
            return True

    made = up()
    made.cancel(ORDERS[0], 2.0)
    with pytest.raises(ZeroDivisionError):
        made.poll(2.0, Odd())
    assert (
        drain(made, 2.0, busy=[1])[0] == made.poll(2.0, All()) == Wait(until=30.0, timer=Timer.PING)
    )
    assert isinstance(made.poll(2.0, {2: "another"}), LinkTransmit)
