"""Rate limits: how many frames are sent in a second and in which order; shared budgets."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter

import pytest

from bitget_proto import (
    Budget,
    Config,
    Connection,
    ExchangeError,
    State,
    Timer,
    Transmit,
    Unresolved,
    Wait,
    WhyUnresolved,
)

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    PONG,
    authenticating,
    drain,
    draining,
    error,
    only,
    outcomes,
    outputs,
    ready,
    reply,
    texts,
    waits,
)


def follow(conn: Connection, now: float, end: float) -> list[tuple[float, str]]:
    """Drive by the announced waits alone, answering each ping; when which frame left."""
    left: list[tuple[float, str]] = []
    steps = 0
    while now <= end:
        given, wait = drain(conn, now)
        for frame in only(Transmit, given):
            left.append((now, ", ".join(frame.ids) or frame.text[:12]))
            if frame.text == "ping":
                conn.receive(PONG, now)
        steps += 1
        assert steps < 5000, "a standing clock spins"
        again = waits(conn, now)
        if again.until is None:
            break
        if again.until == now:
            assert again.timer is not Timer.PACING, "PACING is announced for now, and nothing left"
        now = again.until
        conn.handle_timeout(now)
        assert wait.until is None or wait.until >= now or again != wait
    return left


def check_pace(left: list[tuple[float, str]], limit: int) -> None:
    for index in range(len(left) - limit):
        assert left[index + limit][0] >= left[index][0] + 1.0, (
            f"more than {limit} in a second: {left[index:]}"
        )


# --- the pace of the connection ---


def test_ten_frames_a_second_are_sent_including_the_login() -> None:
    conn = ready(settled=False)
    for number in range(25):
        conn.cancel(ORDER, 0.0, id=f"c{number}")
    given, wait = drain(conn, 0.0)
    assert len(texts(given)) == 9
    assert wait == Wait(until=1.05, timer=Timer.PACING)
    assert outputs(conn, 1.049999) == []
    assert len(texts(outputs(conn, 1.05))) == 10
    assert len(texts(outputs(conn, 2.099999))) == 0
    assert len(texts(outputs(conn, 2.1))) == 6


def test_without_a_margin_ten_frames_are_sent_each_second() -> None:
    conn = ready(Config(pace_margin=None), settled=False)
    for _ in range(25):
        conn.cancel(ORDER, 0.0)
    assert drain(conn, 0.0)[1] == Wait(until=1.0, timer=Timer.PACING)
    assert outputs(conn, 0.999999) == []
    assert len(texts(outputs(conn, 1.0))) == 10


def test_frames_bunched_by_the_network_arrive_at_most_ten_a_second() -> None:
    """Ten that take 50 ms to arrive and ten behind them that take none."""
    conn = ready()
    for _ in range(20):
        conn.cancel(ORDER, 2.0)
    first, wait = drain(conn, 2.0)
    assert wait.until is not None
    second = outputs(conn, wait.until)
    assert len(texts(first)) == len(texts(second)) == 10
    assert round(wait.until - (2.0 + 0.05), 9) >= 1.0


def test_pacing_needs_no_handle_timeout() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None, silence=None))
    conn.cancel(ORDER, 2.0, id="a")
    conn.cancel(ORDER, 2.0, id="b")
    outputs(conn, 2.0)
    assert waits(conn, 2.0) == Wait(until=3.0, timer=Timer.PACING)
    conn.handle_timeout(3.0)
    assert waits(conn, 2.0, writable=False) == Wait(until=12.0, timer=Timer.REQUEST)
    assert [id for frame in only(Transmit, outputs(conn, 3.0)) for id in frame.ids] == ["b"]


@pytest.mark.parametrize("limit", [1, 2, 7, 10])
@pytest.mark.parametrize("start", [0.0, 0.1, 1234.5678, 1e9 + 0.3])
def test_no_second_has_more_frames_than_the_limit_including_pings(limit: int, start: float) -> None:
    config = Config(
        messages_per_second=limit, ping_interval=0.7, pace_margin=None, answer_timeout=None
    )
    conn = Connection(config)
    for number in range(3 * limit):
        conn.cancel(ORDER, start, id=f"c{number}")
        conn.send(f"own {number}", start)
    conn.opened(start, login=LOGIN)
    left = [(start, text[:12]) for text in texts(outputs(conn, start))]
    conn.receive(LOGGED_IN, start)
    left += follow(conn, start, start + 10.0)
    check_pace(left, limit)
    assert len(left) >= min(10 * limit, 6 * limit + 10)
    assert left[0][1].startswith('{"op":"login')
    kinds = {name[:3] for _, name in left}
    assert "pin" in kinds
    if limit > 1:
        assert kinds >= {"pin", "own", "c0", "c1"}


def test_the_rate_limit_is_a_window_and_not_a_token_bucket() -> None:
    conn = ready()
    left: list[tuple[float, str]] = []
    for tick in range(200):
        now = 2.0 + tick / 16
        conn.cancel(ORDER, now)
        left += [(now, text[:5]) for text in texts(outputs(conn, now))]
        if tick % 40 == 39:
            now += 1 / 32
            for _ in range(12):
                conn.cancel(ORDER, now)
            left += [(now, text[:5]) for text in texts(outputs(conn, now))]
    check_pace(left, 10)
    assert len(left) > 100


def test_without_a_rate_limit_everything_is_sent_at_once() -> None:
    conn = ready(Config(messages_per_second=None, max_in_flight=None))
    for _ in range(3000):
        conn.cancel(ORDER, 1.0)
    assert len(texts(outputs(conn, 1.0))) == 3000


def test_a_cancel_is_sent_exactly_when_the_budget_allows_it() -> None:
    conn = ready(Config(messages_per_second=None), budget=Budget(1, pace_margin=None))
    conn.cancel(ORDER, 2.0, id="a")
    conn.cancel(ORDER, 2.0, id="b")
    assert [id for frame in only(Transmit, outputs(conn, 2.0)) for id in frame.ids] == ["a"]
    assert waits(conn, 2.0) == Wait(until=3.0, timer=Timer.PACING)
    assert [id for frame in only(Transmit, outputs(conn, 3.0)) for id in frame.ids] == ["b"]


def test_pings_are_sent_before_cancels_and_cancels_before_own_frames() -> None:
    conn = ready(Config(messages_per_second=3, pace_margin=None))
    conn.send("own 1", 29.0)
    conn.send("own 2", 29.0)
    conn.cancel(ORDER, 29.0, id="b")
    conn.cancel(ORDER, 29.0, id="a")
    conn.handle_timeout(30.0)
    given, wait = drain(conn, 30.0)
    assert [", ".join(frame.ids) or frame.text for frame in only(Transmit, given)] == [
        "ping",
        "b",
        "a",
    ]
    assert wait == Wait(until=31.0, timer=Timer.PACING)
    assert texts(outputs(conn, 31.0)) == ["own 1", "own 2"]


def test_the_login_is_sent_before_a_ping() -> None:
    conn = Connection(Config(ping_interval=1.5, messages_per_second=1, pace_margin=None))
    conn.opened(0.0, login=LOGIN)
    conn.handle_timeout(1.5)
    (login,) = texts(outputs(conn, 1.5))
    assert "login" in login
    assert waits(conn, 1.5) == Wait(until=2.5, timer=Timer.PACING)
    assert texts(outputs(conn, 2.5)) == ["ping"]


def test_an_own_frame_is_sent_unchanged_and_its_answer_is_unrecognised() -> None:
    conn = ready()
    conn.send('{"op":"subscribe"} \n\u00e9', 2.0)
    assert outputs(conn, 2.0) == [Transmit(text='{"op":"subscribe"} \n\u00e9')]


def test_own_frames_wait_for_the_login() -> None:
    conn = Connection()
    conn.send("early", 0.0)
    assert outputs(conn, 0.0) == []
    conn.opened(0.0, login=LOGIN)
    assert "early" not in texts(outputs(conn, 0.0))
    conn.receive(LOGGED_IN, 0.0)
    assert texts(outputs(conn, 0.0)) == ["early"]


def test_own_frames_need_no_budget() -> None:
    conn = ready(budget=Budget(0))
    conn.cancel(ORDER, 1.0, id="a")
    conn.send("own", 1.0)
    assert texts(outputs(conn, 1.0)) == ["own"]


# --- a write under way ---


def test_without_writable_only_frames_are_withheld() -> None:
    conn = ready(Config(ping_interval=3.0, pong_timeout=2.0))
    conn.cancel(ORDER, 2.0, id="a", timeout=1.5)
    conn.cancel(ORDER, 2.0, id="b")
    conn.send("own", 2.0)
    conn.receive("push", 2.0)
    given, wait = drain(conn, 2.0, writable=False)
    assert [type(output).__name__ for output in given] == ["Unrecognised"]
    assert wait == Wait(until=3.0, timer=Timer.PING)
    conn.handle_timeout(3.5)
    (outcome,) = outputs(conn, 3.5, writable=False)
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.sent) == ("a", False)
    given = outputs(conn, 3.5)
    assert [", ".join(frame.ids) or frame.text for frame in only(Transmit, given)] == [
        "ping",
        "b",
        "own",
    ]


def test_without_writable_no_pacing_is_announced() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None, silence=None))
    conn.cancel(ORDER, 2.0)
    conn.cancel(ORDER, 2.0)
    outputs(conn, 2.0)
    assert waits(conn, 2.0, writable=False) == Wait(until=12.0, timer=Timer.REQUEST)
    assert waits(conn, 2.0) == Wait(until=3.0, timer=Timer.PACING)


def test_a_stalled_writer_leaves_the_queue_provably_unsent() -> None:
    conn = ready()
    for id in "abc":
        conn.cancel(ORDER, 2.0, id=id)
    first = conn.poll(2.0)
    assert isinstance(first, Transmit)
    assert outputs(conn, 2.0, writable=False) == []
    conn.lost(3.0)
    assert [(end.id, end.sent) for end in only(Unresolved, outputs(conn, 3.0))] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]


# --- request too many ---


def test_30006_pauses_sending_for_a_second_and_settles_nothing() -> None:
    conn = ready()
    conn.cancel(ORDER, 2.0, id="a")
    outputs(conn, 2.0)
    conn.receive(error(30006, "request too many"), 2.25)
    conn.cancel(ORDER, 2.25, id="b")
    given, wait = drain(conn, 2.25)
    assert [type(output) for output in given] == [ExchangeError]
    assert wait == Wait(until=3.25, timer=Timer.PACING)
    assert outputs(conn, 3.2499) == []
    assert [id for frame in only(Transmit, outputs(conn, 3.25)) for id in frame.ids] == ["b"]
    assert conn.in_flight == 2


def test_30006_pauses_pings_and_own_frames_and_a_second_one_restarts_it() -> None:
    conn = ready()
    conn.handle_timeout(30.0)
    conn.receive(error("30006"), 30.0)
    conn.receive(error("30006"), 30.5)
    conn.send("own", 30.5)
    given, wait = drain(conn, 31.0)
    assert texts(given) == []
    assert wait == Wait(until=31.5, timer=Timer.PACING)
    assert texts(outputs(conn, 31.5)) == ["ping", "own"]


def test_a_pause_holds_although_the_window_has_room() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None))
    conn.cancel(ORDER, 2.0, id="a")
    conn.cancel(ORDER, 2.0, id="b")
    outputs(conn, 2.0)
    conn.receive(error(30006), 2.5)
    assert waits(conn, 2.5) == Wait(until=3.5, timer=Timer.PACING)
    assert outputs(conn, 3.0) == []
    assert [id for frame in only(Transmit, outputs(conn, 3.5)) for id in frame.ids] == ["b"]


def test_30006_pauses_even_without_a_rate_limit() -> None:
    conn = ready(Config(messages_per_second=None))
    conn.receive(error(30006), 2.0)
    conn.cancel(ORDER, 2.0)
    given, wait = drain(conn, 2.0)
    assert texts(given) == []
    assert wait == Wait(until=3.0, timer=Timer.PACING)
    assert len(texts(outputs(conn, 3.0))) == 1


def test_30006_pauses_the_shared_budget_with_or_without_grants() -> None:
    budget = Budget(10)
    budget.grant(5, inf, 0.0)
    one, two = ready(budget=budget), ready(budget=budget)
    one.receive(error(30006), 2.0)
    outputs(one, 2.0)
    two.cancel(ORDER, 2.0)
    assert drain(two, 2.0) == ([], Wait(until=3.0, timer=Timer.PACING))
    assert len(texts(outputs(two, 3.0))) == 1


@pytest.mark.parametrize("code", [30007, 45129, 429])
def test_other_codes_of_the_class_of_30006_pause_nothing(code: int) -> None:
    budget = Budget(10)
    one, two = ready(budget=budget), ready(budget=budget)
    one.receive(error(code), 2.0)
    outputs(one, 2.0)
    two.cancel(ORDER, 2.0)
    assert len(texts(outputs(two, 2.0))) == 1


# --- the budget ---


def test_two_connections_share_a_budget() -> None:
    budget = Budget(5)
    one, two = ready(budget=budget), ready(budget=budget)
    for _ in range(4):
        one.cancel(ORDER, 2.0)
        two.cancel(ORDER, 2.0)
    assert len(texts(outputs(one, 2.0))) == 4
    given, wait = drain(two, 2.0)
    assert len(texts(given)) == 1
    assert wait == Wait(until=3.05, timer=Timer.PACING)
    assert outputs(two, 3.049999) == []
    assert len(texts(outputs(two, 3.05))) == 3


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_connections_that_share_a_budget_never_exceed_it(limit: int) -> None:
    budget = Budget(limit)
    sharers = [
        ready(Config(ping_interval=None, silence=None, answer_timeout=None), budget=budget)
        for _ in range(3)
    ]
    left: list[tuple[float, str]] = []
    now = 2.0
    for step in range(80):
        now += (0.0, 0.25, 0.125, 0.5)[step % 4]
        sharers[step % 3].cancel(ORDER, now)
        for conn in sharers[step % 2 :] + sharers[: step % 2]:
            left += [
                (now, ", ".join(frame.ids) or "?") for frame in only(Transmit, outputs(conn, now))
            ]
    while any(conn._in_flight.queue.size for conn in sharers):
        untils = [until for conn in sharers if (until := waits(conn, now).until) is not None]
        assert untils, "cancels wait, and nothing is announced"
        assert min(untils) > now
        now = min(untils)
        for conn in sharers:
            left += [
                (now, ", ".join(frame.ids) or "?") for frame in only(Transmit, outputs(conn, now))
            ]
    check_pace(left, limit)
    assert len(left) == 80


def test_the_budget_is_spent_by_sending_and_never_refunded() -> None:
    budget = Budget(2)
    conn = ready(budget=budget)
    for id in "abc":
        conn.cancel(ORDER, 2.0, id=id)
    assert budget.allowed_at(2.0) <= 2.0
    assert len(texts(outputs(conn, 2.0))) == 2
    assert budget.allowed_at(2.0) == 3.05
    conn.receive(reply("a"), 2.0)
    conn.lost(2.0, "", unsent=["b"])
    outputs(conn, 2.0)
    assert budget.allowed_at(2.0) == 3.05


def test_only_sent_cancels_spend_the_budget() -> None:
    budget = Budget(1)
    conn = Connection(budget=budget)
    conn.opened(0.0, login=LOGIN)
    conn.cancel(ORDER, 0.0, timeout=29.0)
    conn.send("own", 0.0)
    outputs(conn, 0.0)
    conn.handle_timeout(10.0 - 1)
    conn.receive(LOGGED_IN, 29.5)
    assert texts(outputs(conn, 29.5)) == ["own"]
    conn.handle_timeout(30.0)
    assert texts(outputs(conn, 30.0)) == ["ping"]
    assert budget.allowed_at(29.5) <= 29.5


def test_debit_always_succeeds_and_may_overdraw() -> None:
    budget = Budget(2)
    conn = ready(budget=budget)
    budget.debit(7, 2.0)
    conn.cancel(ORDER, 2.0)
    assert drain(conn, 2.0) == ([], Wait(until=3.05, timer=Timer.PACING))
    assert len(texts(outputs(conn, 3.05))) == 1


def test_a_grant_allows_more_after_the_next_drain() -> None:
    budget = Budget(0)
    one, two = ready(budget=budget), ready(budget=budget)
    for conn in (one, two):
        conn.cancel(ORDER, 2.0)
        conn.cancel(ORDER, 2.0)
        assert drain(conn, 2.0) == ([], Wait(until=30.0, timer=Timer.PING))
    budget.grant(3, 10.0, 2.5)
    assert len(texts(outputs(one, 2.5))) == 2
    assert len(texts(outputs(two, 2.5))) == 1
    assert outputs(two, 11.0) == []


def test_a_grant_can_be_spent_before_its_end_and_not_at_it() -> None:
    budget = Budget(0)
    conn = ready(budget=budget)
    budget.grant(10, 3.0, 2.0)
    conn.cancel(ORDER, 2.0, id="in time")
    assert len(texts(outputs(conn, nextafter(3.0, 0.0)))) == 1
    conn.cancel(ORDER, 3.0, id="too late")
    assert texts(outputs(conn, 3.0)) == []


def test_an_expired_grant_allows_nothing() -> None:
    budget = Budget(0)
    budget.grant(10, 1.1, 0.1)
    conn = ready(Config(ping_interval=None), budget=budget)
    for _ in range(10):
        conn.cancel(ORDER, 29.0)
    assert drain(conn, 29.0) == ([], Wait(until=179.0, timer=Timer.REQUEST))


def test_grants_make_up_for_debits_beyond_earlier_grants() -> None:
    budget = Budget(0)
    conn = ready(budget=budget)
    budget.debit(2, 2.0)
    conn.cancel(ORDER, 2.0)
    budget.grant(2, inf, 2.0)
    assert outputs(conn, 2.0) == []
    budget.grant(1, inf, 2.0)
    assert len(texts(outputs(conn, 2.0))) == 1


def test_a_budget_without_a_limit_allows_everything() -> None:
    conn = ready(Config(messages_per_second=None), budget=Budget(None))
    for _ in range(100):
        conn.cancel(ORDER, 2.0)
    assert len(texts(outputs(conn, 2.0))) == 100


def test_a_cancel_without_a_grant_ends_unsent_at_its_deadline() -> None:
    conn = ready(Config(ping_interval=None), budget=Budget(0))
    conn.cancel(ORDER, 2.0, id="a")
    assert waits(conn, 2.0) == Wait(until=152.0, timer=Timer.REQUEST)
    conn.handle_timeout(152.0)
    (outcome,) = outcomes(outputs(conn, 152.0))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.TIMEOUT)


def test_the_later_of_two_rate_limits_is_announced() -> None:
    budget = Budget(1, None)
    conn = ready(Config(messages_per_second=2, pace_margin=None), budget=budget)
    conn.cancel(ORDER, 2.0)
    conn.cancel(ORDER, 2.0)
    outputs(conn, 2.0)
    budget.debit(1, 2.5)
    wait = waits(conn, 2.5)
    assert wait == Wait(until=3.5, timer=Timer.PACING)
    assert outputs(conn, 3.0) == []
    assert len(texts(outputs(conn, 3.5))) == 1


@pytest.mark.parametrize("make", [authenticating, ready, draining])
def test_no_wait_ends_in_the_past_for_a_correct_driver(
    make: Callable[..., Connection],
) -> None:
    conn = make(
        Config(
            ping_interval=1.5,
            pong_timeout=9.0,
            messages_per_second=2,
            login_timeout=4.0,
            drain_timeout=4.0,
        )
    )
    now = 1.0
    for _ in range(200):
        conn.handle_timeout(now)
        wait = waits(conn, now)
        if wait.until is None:
            break
        assert now < wait.until < inf
        now = wait.until
    assert conn.state is State.CLOSED
