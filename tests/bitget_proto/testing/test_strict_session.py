"""Drivers that break the rules which a strict session can check."""

from __future__ import annotations

from collections.abc import Callable, Container

import pytest

from bitget_proto import (
    CancelOrder,
    Config,
    Credentials,
    Dial,
    Ended,
    LinkHangup,
    LinkTransmit,
    LocalProtocolError,
    SessionConfig,
    SessionState,
    Unresolved,
    Up,
    Wait,
    sign_login,
)
from bitget_proto.testing import DriverError, Rule, ScriptedExchange, SessionPair, StrictSession

ORDER = CancelOrder("BTCUSDT", order_id="1")
LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)
LOGGED_IN = '{"event":"login","code":0}'
GOING = '{"event":"error","code":30033,"msg":"Service upgrade in progress."}'
CONFIG = SessionConfig(link=Config(ping_interval=None), backoff_min=None)

Call = Callable[[StrictSession], object]


def drain(session: StrictSession, now: float = 0.0, busy: Container[int] = ()) -> list[object]:
    outputs: list[object] = []
    while not outputs or not isinstance(outputs[-1], Wait):
        outputs.append(session.poll(now, busy))
    return outputs[:-1]


def up() -> StrictSession:
    session = StrictSession(CONFIG, jitter=lambda: 0.0)
    assert drain(session) == [Dial(link=1)]
    session.opened(1, 0.0, login=LOGIN)
    drain(session)
    session.receive(1, LOGGED_IN, 0.0)
    assert drain(session) == [Up(link=1, down_for=0.0)]
    return session


def moving() -> StrictSession:
    """A session with two links: 1 is up, and 2 was dialled."""
    session = up()
    session.receive(1, GOING, 0.0)
    assert drain(session)[-1] == Dial(link=2)
    return session


def broken(rule: Rule) -> pytest.RaisesExc[DriverError]:
    def names_the_rule(error: DriverError) -> bool:
        return error.rule is rule and rule.sentence in str(error)

    return pytest.raises(DriverError, check=names_the_rule)


def test_a_correct_driver_raises_no_error() -> None:
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(9)]
    session = StrictSession(SessionConfig(), jitter=lambda: 0.5)
    pair = SessionPair(session, ScriptedExchange(orders), latency=0.05)
    pair.start()
    ids = [pair.cancel(orders[0]), *pair.cancel_many(orders[1:8])]
    pair.run(5.0)
    pair.send("x")
    pair.say(GOING)
    pair.run(5.0)
    assert pair.withdraw("none") is False
    pair.drop()
    pair.run(20.0)
    ids.append(pair.cancel(orders[8]))
    pair.run(1.0)
    pair.close()
    pair.run_until_ended()
    assert set(pair.outcomes) == set(ids)


def test_a_missing_drain_is_reported_at_the_next_call() -> None:
    calls: tuple[Call, ...] = (
        lambda session: session.opened(1, 0.0, login=LOGIN),
        lambda session: session.receive(1, "pong", 0.0),
        lambda session: session.lost(1, 0.0),
        lambda session: session.handle_timeout(0.0),
        lambda session: session.cancel(ORDER, 0.0),
        lambda session: session.cancel_many([ORDER], 0.0),
        lambda session: session.withdraw("a", 0.0),
        lambda session: session.send("x", 0.0),
        lambda session: session.close(0.0),
    )
    for call in calls:
        session = up()
        session.cancel(ORDER, 0.0)
        with broken(Rule.DRAIN):
            call(session)


def test_a_clock_that_runs_backwards_is_reported() -> None:
    calls: tuple[Call, ...] = (
        lambda session: session.poll(0.5),
        lambda session: session.receive(1, "pong", 0.5),
        lambda session: session.cancel(ORDER, 0.5),
    )
    for call in calls:
        session = up()
        session.handle_timeout(1.0)
        drain(session, 1.0)
        with broken(Rule.CLOCK):
            call(session)


def test_a_link_that_was_never_dialled_is_reported() -> None:
    calls: tuple[Call, ...] = (
        lambda session: session.opened(2, 0.0, login=LOGIN),
        lambda session: session.receive(2, "pong", 0.0),
        lambda session: session.lost(2, 0.0),
    )
    session = up()
    for call in calls:
        with broken(Rule.LINK):
            call(session)
    with pytest.raises(LocalProtocolError, match=r"^link must be the number of a link"):
        session.lost("1", 0.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert session.state is SessionState.UP


def test_a_link_that_is_opened_twice_is_reported() -> None:
    session = moving()
    with broken(Rule.DIAL):
        session.opened(1, 0.0, login=LOGIN)
    session.lost(1, 0.0)
    drain(session)
    with broken(Rule.END):
        session.opened(1, 0.0, login=LOGIN)


def test_a_message_before_opened_is_reported() -> None:
    with broken(Rule.END):
        moving().receive(2, LOGGED_IN, 0.0)


def test_anything_after_lost_is_reported() -> None:
    session = moving()
    session.lost(1, 0.0)
    drain(session)
    calls: tuple[Call, ...] = (
        lambda session: session.receive(1, "pong", 0.0),
        lambda session: session.lost(1, 0.0),
    )
    for call in calls:
        with broken(Rule.END):
            call(session)


def test_late_reports_of_a_link_that_has_ended_are_allowed() -> None:
    session = moving()
    session.handle_timeout(20.0)
    assert isinstance(drain(session, 20.0)[0], LinkHangup)
    session.opened(2, 20.0, login=LOGIN)
    drain(session, 20.0)
    session.receive(2, LOGGED_IN, 20.0)
    drain(session, 20.0)
    session.lost(2, 20.0)
    drain(session, 20.0)
    assert session.state is SessionState.MOVING


def test_after_the_end_only_lost_is_allowed() -> None:
    session = moving()
    session.close(0.0)
    assert isinstance(drain(session)[-1], Ended)
    with broken(Rule.END):
        session.receive(1, "pong", 0.0)
    with broken(Rule.END):
        session.opened(2, 0.0, login=LOGIN)
    session.lost(1, 0.0)
    assert drain(session) == []


def test_only_the_last_frame_of_the_link_can_be_unsent() -> None:
    session = moving()
    for id in ("a", "b"):
        session.cancel(ORDER, 0.0, id)
        drain(session)
    with broken(Rule.WRITE):
        session.lost(1, 0.0, unsent=("a", "b"))
    with broken(Rule.WRITE):
        session.lost(1, 0.0, unsent="a")
    with broken(Rule.WRITE):
        session.lost(2, 0.0, unsent=["b"])
    session.lost(1, 0.0, unsent=["b"])
    outcomes = [output for output in drain(session) if isinstance(output, Unresolved)]
    assert [(outcome.id, outcome.sent) for outcome in outcomes] == [("a", True)]


def test_a_busy_link_gets_no_frame() -> None:
    session = up()
    session.cancel(ORDER, 0.0)
    assert drain(session, busy={1}) == []
    assert [type(output) for output in drain(session)] == [LinkTransmit]


def test_a_flood_that_delays_timers_is_reported() -> None:
    session = up()
    session.cancel(ORDER, 0.0)
    drain(session)
    with broken(Rule.ALTERNATE):
        for _ in range(1201):
            session.receive(1, "{}", 31.0)
            drain(session, 31.0)


def test_a_timer_that_always_fires_early_is_reported() -> None:
    session = up()
    with broken(Rule.OVERDUE):
        for _ in range(102):
            session.handle_timeout(1.0)
            drain(session, 1.0)


def test_a_lost_outcome_is_reported_as_a_fault_of_the_library() -> None:
    session = up()
    session.cancel(ORDER, 0.0)
    drain(session)
    session._cancels.clear()
    session._links.all.clear()
    session.close(1.0)
    with pytest.raises(AssertionError, match="closed without an outcome for"):
        drain(session, 1.0)
