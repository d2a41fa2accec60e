"""Tests of how many cancels wait for a grant: what a `Lease` is told after each drain."""

from __future__ import annotations

from math import inf

from bitget_proto import (
    Budget,
    Config,
    Connection,
    LinkTransmit,
    Session,
    SessionConfig,
    Transmit,
    Wait,
    record,
)
from bitget_proto.testing import ScriptedExchange, SessionPair

from .driving import LOGGED_IN, LOGIN, ORDER, OTHER_ORDER, drain, only, ready


def test_cancels_wait_for_a_grant_once_the_budget_is_all_that_holds_them_back() -> None:
    budget = Budget(0)
    conn = Connection(budget=budget)
    conn.cancel(ORDER, 0.0)
    conn.cancel(OTHER_ORDER, 0.0)
    assert conn.waiting_for_grant == 0, "not connected"
    conn.opened(0.0, login=LOGIN)
    drain(conn, 0.0)
    assert conn.waiting_for_grant == 0, "not logged in"
    conn.receive(LOGGED_IN, 0.0)
    drain(conn, 0.0)
    assert conn.waiting_for_grant == 2

    budget.grant(1, 5.0, 0.0)
    assert conn.waiting_for_grant == 0, "it can send"
    assert len(only(Transmit, drain(conn, 0.0)[0])) == 1
    assert conn.waiting_for_grant == 1
    assert drain(conn, 1.0)[1].until is not None


def test_a_cancel_that_the_rate_of_the_connection_holds_back_waits_for_no_grant() -> None:
    budget = Budget(0)
    conn = ready(Config(messages_per_second=1), budget=budget, settled=False)
    conn.cancel(ORDER, 0.0)
    drain(conn, 0.0)
    assert conn.waiting_for_grant == 0, "the login has taken the place"
    _, wait = drain(conn, 0.0)
    assert wait.until is not None
    drain(conn, wait.until)
    assert conn.waiting_for_grant == 1


def test_no_more_wait_for_a_grant_than_the_rate_of_the_connection_has_room_for() -> None:
    conn = ready(Config(messages_per_second=3), budget=Budget(0), settled=False)
    for _ in range(5):
        conn.cancel(ORDER, 0.0)
    drain(conn, 0.0)
    assert conn.waiting_for_grant == 2, "the login has taken a place"
    drain(conn, 2.0)
    assert conn.waiting_for_grant == 3


def test_an_allowance_of_its_own_comes_first_and_a_grant_helps_when_it_is_used() -> None:
    budget = Budget(1)
    conn = ready(budget=budget)
    conn.cancel(ORDER, 2.0)
    assert conn.waiting_for_grant == 0
    drain(conn, 2.0)
    conn.cancel(OTHER_ORDER, 2.0)
    drain(conn, 2.0)
    assert conn.waiting_for_grant == 1


def test_a_pause_asks_for_no_second_grant_and_ends_by_itself() -> None:
    budget = Budget(0)
    conn = ready(budget=budget)
    conn.cancel(ORDER, 2.0)
    budget.pause(2.0)
    budget.grant(1, 2.5, 2.0)
    _, wait = drain(conn, 2.0)
    assert conn.waiting_for_grant == 0
    assert wait.until == 3.0
    drain(conn, 3.0)
    assert conn.waiting_for_grant == 1, "the grant has ended"


def test_a_session_counts_what_no_link_holds() -> None:
    budget = Budget(0)
    pair = SessionPair(
        Session(budget=budget, jitter=lambda: 0.0), ScriptedExchange([ORDER, OTHER_ORDER])
    )
    pair.session.cancel(ORDER, 0.0)
    assert pair.session.waiting_for_grant == 0, "no link serves"
    pair.start()
    pair.run(2.0)
    pair.cancel(OTHER_ORDER)
    assert pair.session.waiting_for_grant == 2
    budget.grant(2, inf, pair.clock.now)
    assert isinstance(pair.session.poll(pair.clock.now), LinkTransmit)
    assert pair.session.waiting_for_grant == 0, "the grant suffices"
    assert isinstance(pair.session.poll(pair.clock.now), LinkTransmit)
    assert isinstance(pair.session.poll(pair.clock.now), Wait)
    assert pair.session.waiting_for_grant == 0


def test_a_recorded_connection_says_the_same_and_writes_nothing() -> None:
    budget, lines = Budget(0), list[str]()
    core = Connection(budget=budget)
    conn = record(core, lines.append)
    conn.opened(0.0, login=LOGIN)
    drain(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    conn.cancel(ORDER, 0.0)
    drain(conn, 0.0)
    written = len(lines)
    assert conn.waiting_for_grant == core.waiting_for_grant == 1
    budget.grant(1, 5.0, 0.0)
    assert conn.waiting_for_grant == 0
    assert len(lines) == written


def test_a_session_wakes_up_when_the_rate_of_its_link_allows_a_cancel_that_needs_a_grant() -> None:
    config = SessionConfig(link=Config(messages_per_second=1))
    pair = SessionPair(
        Session(config, budget=Budget(0), jitter=lambda: 0.0), ScriptedExchange([ORDER])
    )
    pair.start()
    pair.cancel(ORDER)
    assert pair.session.waiting_for_grant == 0, "the login has taken the place"
    pair.run(pair.clock.now + 2.0)
    assert pair.session.waiting_for_grant == 1
