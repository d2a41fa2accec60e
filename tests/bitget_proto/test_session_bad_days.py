"""Sessions at default settings: dead links, refused logins, failed moves, and closing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf, nan

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Config,
    Credentials,
    Dial,
    Down,
    Ended,
    ExchangeError,
    LinkClosed,
    LinkHangup,
    LocalProtocolError,
    LoginRejected,
    Policy,
    Session,
    SessionConfig,
    SessionOutput,
    SessionState,
    Timer,
    Unresolved,
    Up,
    ValidationError,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)
from bitget_proto.testing import Fault, ScriptedExchange, SessionPair

KEY = Credentials("key", "secret", "passphrase")
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(60)]
GOING = '{"event":"error","code":30033,"msg":"going away"}'


def up(policy: Policy = Policy.REPORT, **config: object) -> SessionPair:
    """A session at its defaults that has been up for most of a minute; its dials take 0.1 s."""
    session = Session(SessionConfig(policy=policy, **config), jitter=lambda: 0.0)  # type: ignore[arg-type]
    pair = SessionPair(
        session, ScriptedExchange(ORDERS, credentials=KEY), latency=0.05, dial_time=0.1
    )
    pair.start()
    pair.run(45.0)
    assert state_of(pair) is SessionState.UP
    return pair


def state_of(pair: SessionPair) -> SessionState:
    """Its state, which a type checker does not take for what it was a line ago."""
    return pair.session.state


def unresolved(pair: SessionPair, id: str) -> Unresolved:
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    return outcome


# --- a link that is dead without a word ---


def test_with_resend_a_dead_link_delays_cancels_by_a_few_seconds() -> None:
    pair = up(Policy.RESEND)
    pair.freeze()
    ids: list[str] = []
    for order in ORDERS[:40]:
        ids.append(pair.cancel(order))
        pair.run(1.0)
    pair.run(10.0)
    assert all(isinstance(pair.outcomes[id], Accepted) for id in ids)
    times = [pair.outcomes[id] for id in ids]
    assert [outcome.attempts for outcome in times] == [2] * 5 + [1] * 35, (
        "those of the five seconds before it was found out"
    )
    assert max(outcome.resolved_at - outcome.taken_at for outcome in times) < 6.0
    (down,) = [event for event in pair.events if isinstance(event, Down)]
    assert down.why is WhyClosed.NO_PONG


def test_with_report_a_dead_link_is_replaced_within_seconds() -> None:
    pair = up(Policy.REPORT)
    pair.freeze()
    ids: list[str] = []
    for order in ORDERS[:40]:
        ids.append(pair.cancel(order))
        pair.run(1.0)
    pair.run(10.0)
    lost, served = ids[:5], ids[5:]
    for id in lost:
        outcome = unresolved(pair, id)
        assert (outcome.sent, outcome.why, outcome.resolved_at) == (True, WhyUnresolved.LOST, 50.0)
    assert all(isinstance(pair.outcomes[id], Accepted) for id in served)


def test_a_dead_link_is_aborted_before_its_cancels_are_sent_again() -> None:
    session = Session(SessionConfig(policy=Policy.RESEND), jitter=lambda: 0.0)
    pair = SessionPair(session, ScriptedExchange(ORDERS))
    pair.start()
    pair.freeze()
    pair.cancel(ORDERS[0])
    given: list[SessionOutput] = []
    for now in (2.0, 5.0):
        session.handle_timeout(now)
        while not isinstance(output := session.poll(now), Wait):
            given.append(output)
    (hangup,) = [output for output in given if isinstance(output, LinkHangup)]
    assert hangup == LinkHangup(code=1000, reason="no pong", abort=True, link=1)
    assert output == Wait(until=5.5, timer=Timer.DIAL)
    kinds = [type(output) for output in given]
    assert kinds.index(LinkHangup) < kinds.index(LinkClosed) < kinds.index(Down)


# --- logins that are refused ---


@pytest.mark.parametrize("codes", [["45001"], ["40010"], ["40725"], ["40015"], ["99999"], None])
def test_after_ten_minutes_of_refused_logins_it_recovers_in_half_a_minute(
    codes: list[str] | None,
) -> None:
    pair = up()
    begun = pair.clock.now
    pair.exchange.maintenance(begun, seconds=600.0, grace=5.0, codes=codes)
    pair.run(600.0)
    assert state_of(pair) in (SessionState.DOWN, SessionState.DIALLING)
    assert not [event for event in pair.events if isinstance(event, Ended)]
    refused = [event for event in pair.events if isinstance(event, LoginRejected)]
    # "Retry later" (40015) is not taken for the login's answer: the exchange hangs up behind it.
    not_now = [event for event in pair.events if isinstance(event, ExchangeError)]
    assert len(refused) + len(not_now) >= 18
    assert {event.code for event in refused} | {event.code for event in not_now} == {
        *(codes or ("45001", "40010", "40725", "40015"))
    }
    pair.run(31.0)
    assert state_of(pair) is SessionState.UP
    assert isinstance(pair.events[-1], Up)
    id = pair.cancel(ORDERS[0])
    pair.run(1.0)
    assert isinstance(pair.outcomes[id], Accepted)
    times = [at for at, _ in pair.dials if at > begun + 5.0 + 0.1]
    waits = [round(later - at, 3) for at, later in pairwise(times)]
    assert round(times[0] - begun, 6) == 5.55, "soon after the link that served was dropped"
    assert waits[:6] == sorted(waits[:6]), "ever more rarely, up to the bound"
    assert max(waits) <= 30.2


@pytest.mark.parametrize("code", ["30011", "30012", "30015", "40014", "40018"])
def test_a_refusal_of_the_key_ends_a_session_that_is_down(code: str) -> None:
    pair = up()
    pair.exchange.refuse_logins(1, code)
    pair.drop()
    id = pair.cancel(ORDERS[0])
    pair.run_until_ended()
    ended = pair.events[-1]
    assert isinstance(ended, Ended)
    assert (ended.why, ended.code) == (WhyEnded.REFUSED, code)
    outcome = unresolved(pair, id)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.CLOSED)


@pytest.mark.parametrize("code", ["30013", "30014"])
def test_a_timestamp_refused_twice_ends_only_a_session_never_up(code: str) -> None:
    never = SessionPair(Session(jitter=lambda: 0.0), ScriptedExchange(credentials=KEY))
    never.exchange.refuse_logins(2, code)
    never.start()
    never.run(5.0)
    ended = never.events[-1]
    assert isinstance(ended, Ended)
    assert (ended.why, ended.code) == (WhyEnded.STAMP_REFUSED, code)
    assert [dial.stamp_refused for _, dial in never.dials] == [False, True]
    once = up()
    once.exchange.refuse_logins(6, code)
    once.drop()
    once.run(80.0)
    assert state_of(once) is SessionState.UP
    assert [dial.stamp_refused for _, dial in once.dials] == [False, False, *[True] * 6]


# --- a successor that is refused while a link serves ---


def test_a_refused_successor_ends_nothing_while_the_old_link_serves() -> None:
    pair = up()
    pair.exchange.refuse_logins(3, "40018")
    pair.say(GOING)
    for order in ORDERS[:10]:
        pair.cancel(order)
        pair.run(0.25)
    assert state_of(pair) is SessionState.MOVING
    refused = [event for event in pair.events if isinstance(event, LoginRejected)]
    assert [event.code for event in refused] == ["40018"] * len(refused)
    assert refused
    assert len(pair.outcomes) == 10
    assert all(isinstance(outcome, Accepted) for outcome in pair.outcomes.values())
    assert pair.session.capacity == 1000
    pair.run(10.0)
    assert state_of(pair) is SessionState.UP
    assert not [event for event in pair.events if isinstance(event, Down | Ended)]
    assert pair.dials[-1][1] == Dial(link=5)


def test_after_both_links_are_lost_only_a_refused_key_ends_it() -> None:
    for refusals, why in ((1, None), (2, WhyEnded.REFUSED)):
        pair = up()
        pair.exchange.refuse_logins(refusals, "40018")
        pair.say(GOING)
        pair.run(1.0)
        assert len([event for event in pair.events if isinstance(event, LoginRejected)]) == 1
        pair.drop()
        assert state_of(pair) is SessionState.DOWN, "the refusal from before ends nothing"
        pair.run(10.0)
        ended = [event.why for event in pair.events if isinstance(event, Ended)]
        assert ended == ([] if why is None else [why])
        assert state_of(pair) is (SessionState.UP if why is None else SessionState.ENDED)


def test_a_refused_key_ends_it_and_a_draining_link_may_be_answered() -> None:
    pair = up()
    pair.exchange.late_by = 3.0
    pair.exchange.inject(Fault.LATE)
    id = pair.cancel(ORDERS[0])
    pair.say(GOING)
    pair.run(1.0)
    assert state_of(pair) is SessionState.UP
    pair.exchange.refuse_logins(1, "30012")
    pair.drop()
    pair.run(1.5)
    assert state_of(pair) is SessionState.CLOSING
    assert pair.session.capacity == 0
    pair.run(1.0)
    assert isinstance(pair.outcomes[id], Accepted)
    assert pair.events[-1] == Ended(why=WhyEnded.REFUSED, detail=ended_detail(pair), code="30012")


def ended_detail(pair: SessionPair) -> str:
    (refused,) = [event for event in pair.events if isinstance(event, LoginRejected)]
    return refused.message


# --- Retry-After ---


def test_retry_after_delays_the_next_dial() -> None:
    pair = SessionPair(Session(jitter=lambda: 0.0), ScriptedExchange(ORDERS))
    pair.exchange.refuse_handshakes(2, retry_after=60)
    pair.start()
    pair.run(200.0)
    assert [at for at, _ in pair.dials] == [0.0, 60.0, 120.0]
    assert state_of(pair) is SessionState.UP


def test_retry_after_counts_up_to_300_seconds() -> None:
    pair = SessionPair(Session(jitter=lambda: 0.0), ScriptedExchange(ORDERS))
    pair.exchange.refuse_handshakes(1, retry_after=86400)
    pair.start()
    pair.run(400.0)
    assert [at for at, _ in pair.dials] == [0.0, 300.0]


def test_retry_after_on_a_successor_leaves_the_link_that_serves_alone() -> None:
    pair = up()
    pair.exchange.refuse_handshakes(1, retry_after=20)
    pair.say(GOING)
    pair.run(10.0)
    assert state_of(pair) is SessionState.MOVING
    id = pair.cancel(ORDERS[0])
    pair.run(12.0)
    assert isinstance(pair.outcomes[id], Accepted)
    assert state_of(pair) is SessionState.UP


@pytest.mark.parametrize("value", [-1, nan, "60", True, -0.5])
def test_an_invalid_retry_after_is_refused_and_changes_nothing(value: float) -> None:
    session = Session(jitter=lambda: 0.0)
    session.poll(0.0)
    with pytest.raises(
        ValidationError, match=r"^retry_after must be a number of seconds from 0 up, or None; got "
    ):
        session.lost(1, 0.0, retry_after=value)
    assert session.state is SessionState.DIALLING


def test_without_retry_after_or_with_0_only_the_backoff_applies() -> None:
    for seconds in (None, 0, 0.25):
        session = Session(jitter=lambda: 0.0)
        session.poll(0.0)
        session.lost(1, 1.0, retry_after=seconds)
        session.poll(1.0)
        assert session.poll(1.0) == Wait(until=1.5, timer=Timer.DIAL)


def test_the_retry_after_of_an_ended_link_is_ignored() -> None:
    session = Session(jitter=lambda: 0.0)
    session.poll(0.0)
    session.lost(1, 0.0)
    session.lost(1, 0.0, retry_after=inf)
    session.poll(0.0)
    assert session.poll(0.0) == Wait(until=0.5, timer=Timer.DIAL)


# --- a move ---


def test_a_cancel_sent_before_a_move_keeps_its_deadline() -> None:
    pair = up(link=Config(answer_timeout=60.0, drain_timeout=5.0))
    pair.exchange.late_by = 40.0
    pair.exchange.inject(Fault.LATE, Fault.SILENT)
    late = pair.cancel(ORDERS[0], timeout=60.0)
    silent = pair.cancel(ORDERS[1], timeout=50.0)
    pair.run(0.3)
    pair.say(GOING)
    pair.run(2.0)
    assert state_of(pair) is SessionState.UP
    assert len(pair.links) == 2
    pair.run(38.0)
    assert isinstance(pair.outcomes[late], Accepted)
    assert silent not in pair.outcomes
    pair.run(10.0)
    outcome = unresolved(pair, silent)
    assert (outcome.sent, outcome.why, outcome.resolved_at) == (True, WhyUnresolved.TIMEOUT, 95.0)
    pair.run(1.0)
    assert len(pair.links) == 1, "then the old link is left"


# --- close ---


def test_close_with_send_takes_nothing_and_ends_when_all_is_answered() -> None:
    pair = up()
    ids = pair.cancel_many(ORDERS[:35])
    pair.close(queued="send")
    assert state_of(pair) is SessionState.UP
    assert pair.session.capacity == 0
    for refused in (
        lambda: pair.cancel(ORDERS[40]),
        lambda: pair.cancel_many(ORDERS[40:42]),
        lambda: pair.send("x"),
    ):
        with pytest.raises(LocalProtocolError, match=r"^the session is closing and takes no more "):
            refused()
    pair.run_until_ended()
    assert all(isinstance(pair.outcomes[id], Accepted) for id in ids)
    assert round(pair.clock.now, 6) == 45.0 + 3 * 1.05 + 0.1
    assert pair.events[-1] == Ended(why=WhyEnded.ASKED, detail="", code=None)


def test_close_with_send_ends_at_once_when_nothing_is_open() -> None:
    pair = up()
    pair.close(queued="send")
    assert state_of(pair) is SessionState.ENDED


def test_close_with_send_waits_for_at_most_within_seconds() -> None:
    pair = up()
    ids = pair.cancel_many(ORDERS[:35])
    pair.close(queued="send", within=2.0)
    pair.run_until_ended()
    sent = [id for id in ids if isinstance(pair.outcomes[id], Accepted)]
    assert sent == ids[:20]
    for id in ids[20:]:
        outcome = unresolved(pair, id)
        assert (outcome.sent, outcome.why, outcome.resolved_at) == (
            False,
            WhyUnresolved.CLOSED,
            47.0,
        )


def test_after_close_with_send_sent_cancels_have_the_drain_timeout() -> None:
    pair = up()
    pair.exchange.inject(*[None] * 10, Fault.SILENT)
    ids = pair.cancel_many(ORDERS[:15])
    pair.close(queued="send", within=1.06)
    pair.run_until_ended()
    outcome = unresolved(pair, ids[10])
    assert (outcome.sent, outcome.why, outcome.resolved_at) == (True, WhyUnresolved.CLOSED, 51.06)


def test_close_with_send_continues_to_dial() -> None:
    session = Session(jitter=lambda: 0.0)
    pair = SessionPair(session, ScriptedExchange(ORDERS), dial_time=3.0)
    ids = pair.cancel_many(ORDERS[:3])
    pair.close(queued="send")
    assert state_of(pair) is SessionState.DIALLING
    pair.run_until_ended()
    assert all(isinstance(pair.outcomes[id], Accepted) for id in ids)


def test_close_with_send_while_down_keeps_the_no_link_timeout() -> None:
    pair = up()
    pair.refuse_dials = True
    pair.drop()
    ids = pair.cancel_many(ORDERS[:3])
    pair.close(queued="send")
    assert state_of(pair) is SessionState.DOWN
    pair.run_until_ended()
    assert len(pair.dials) > 3
    for id in ids:
        outcome = unresolved(pair, id)
        assert (outcome.sent, outcome.why, outcome.resolved_at) == (
            False,
            WhyUnresolved.NO_LINK,
            55.0,
        )


def test_close_with_send_resends_what_a_link_lost() -> None:
    pair = up(Policy.RESEND)
    pair.exchange.inject(Fault.DROP_BEFORE)
    id = pair.cancel(ORDERS[0])
    pair.close(queued="send")
    pair.run_until_ended()
    assert isinstance(pair.outcomes[id], Accepted)
    assert pair.outcomes[id].attempts == 2


def test_withdrawing_the_last_cancel_ends_a_closing_session() -> None:
    pair = up()
    pair.refuse_dials = True
    pair.drop()
    id = pair.cancel(ORDERS[0])
    pair.close(queued="send")
    assert pair.withdraw(id)
    assert state_of(pair) is SessionState.ENDED


def test_close_with_send_sends_own_frames() -> None:
    pair = up(link=Config(messages_per_second=2))
    ids = pair.cancel_many(ORDERS[:2])
    pair.send("own")
    pair.close(queued="send")
    pair.run_until_ended()
    assert all(isinstance(pair.outcomes[id], Accepted) for id in ids)
    assert pair.sent[-1][1].text == "own"


def test_close_with_send_ends_when_a_lost_link_settles_the_last_cancel() -> None:
    pair = up()
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.run(0.1)
    pair.close(queued="send")
    assert state_of(pair) is SessionState.UP
    pair.drop()
    assert unresolved(pair, id).sent
    assert state_of(pair) is SessionState.ENDED


def test_close_with_send_ends_when_the_last_cancel_expires() -> None:
    pair = up(link=Config(silence=None))
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0], timeout=1.0)
    pair.run(0.1)
    pair.close(queued="send")
    pair.run(0.89)
    assert id not in pair.outcomes
    pair.run(0.02)
    assert unresolved(pair, id).why is WhyUnresolved.TIMEOUT
    assert state_of(pair) is SessionState.ENDED


@pytest.mark.parametrize(("within", "seconds"), [(None, 5.0), (2.0, 2.0)])
def test_close_ends_a_replaced_link_when_its_time_is_over(
    within: float | None, seconds: float
) -> None:
    pair = up(link=Config(silence=None, answer_timeout=None))
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(ORDERS[0])
    pair.run(0.1)
    pair.say(GOING)
    pair.run(3.0)
    assert list(pair.links) == [1, 2]
    pair.close(within=within)
    pair.run(seconds - 0.01)
    assert id not in pair.outcomes
    pair.run(0.02)
    assert (unresolved(pair, id).sent, unresolved(pair, id).why) == (True, WhyUnresolved.CLOSED)


@pytest.mark.parametrize("first", ["drop", "send"])
@pytest.mark.parametrize("again", ["drop", "send"])
def test_a_second_close_ends_at_once(first: str, again: str) -> None:
    pair = up()
    pair.exchange.inject(*[Fault.SILENT] * 10)
    ids = pair.cancel_many(ORDERS[:15])
    pair.close(queued=first)  # type: ignore[arg-type]
    assert state_of(pair) is (SessionState.UP if first == "send" else SessionState.CLOSING)
    pair.close(queued=again)  # type: ignore[arg-type]
    assert state_of(pair) is SessionState.ENDED
    assert [unresolved(pair, id).sent for id in ids] == [True] * 10 + [False] * 5
    assert {unresolved(pair, id).why for id in ids} == {WhyUnresolved.CLOSED}


def test_closing_sends_own_frames_for_as_long_as_it_was_told() -> None:
    pair = SessionPair()
    pair.start()
    pair.stall()
    for text in ("first", "second"):
        pair.send(text)
    pair.close(queued="send", within=20.0)
    pair.run(8.0)
    pair.resume()
    assert [sent.text for _, sent in pair.sent[-2:]] == ["first", "second"]
    assert pair.session.state is SessionState.ENDED


def test_closing_drops_own_frames_that_were_not_sent_within_its_time() -> None:
    pair = SessionPair()
    pair.start()
    pair.stall()
    for text in ("first", "second"):
        pair.send(text)
    pair.close(queued="send", within=7.0)
    pair.run(8.0)
    assert pair.session.state is SessionState.ENDED
    assert "second" not in [sent.text for _, sent in pair.sent]


def test_the_end_of_close_with_send_is_announced() -> None:
    session = Session(SessionConfig(no_link_timeout=None), jitter=lambda: 0.0)
    session.cancel(ORDERS[0], 0.0)
    session.poll(0.0)
    session.close(1.0, queued="send", within=4.0)
    assert session.poll(1.0) == Wait(until=5.0, timer=Timer.DRAIN)
    session.handle_timeout(4.9)
    assert session.poll(4.9) == Wait(until=5.0, timer=Timer.DRAIN)
    session.handle_timeout(5.0)
    outcome = session.poll(5.0)
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.CLOSED)


MISTAKES: list[tuple[Callable[[Session], object], str]] = [
    (
        lambda session: session.close(0.0, queued="all"),  # type: ignore[arg-type]
        r"^queued must be 'drop' or 'send'; got 'all'",
    ),
    (
        lambda session: session.close(0.0, within=0),
        r"^within must be a number of seconds above 0, or None; got the int 0",
    ),
    (
        lambda session: session.close(0.0, within=nan),
        r"^within must be a number of seconds above 0, or None; got ",
    ),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES)
def test_an_invalid_close_is_refused_and_changes_nothing(
    mistake: Callable[[Session], object], words: str
) -> None:
    session = Session(jitter=lambda: 0.0)
    with pytest.raises(ValidationError, match=words):
        mistake(session)
    assert session.capacity == 1000
    assert session.poll(0.0) == Dial(link=1)
