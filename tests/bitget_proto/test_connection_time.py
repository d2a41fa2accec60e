"""Time: deadlines, timers and their order, the heartbeat, and clocks that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, nextafter

import pytest

from bitget_proto import (
    Accepted,
    Closed,
    Config,
    Connection,
    Hangup,
    LocalProtocolError,
    Output,
    Ready,
    State,
    Timer,
    Transmit,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto.explain import NEVER_ANSWERED

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    PONG,
    authenticating,
    drain,
    draining,
    in_state,
    only,
    outcomes,
    outputs,
    ready,
    reply,
    snapshot,
    texts,
    waits,
)

STATES = list(State)

QUIET = Config(ping_interval=None, silence=None)
"""Nothing is due but what cancels bring."""


def just_before(moment: float) -> float:
    return nextafter(moment, -inf)


# --- deadlines ---


def test_the_answer_timeout_counts_from_sending_and_is_exact() -> None:
    conn = ready(Config(answer_timeout=2.5, silence=None))
    conn.cancel(ORDER, 2.0, id="a")
    assert waits(conn, 3.0) == Wait(until=5.5, timer=Timer.REQUEST)
    conn.handle_timeout(just_before(5.5))
    assert outputs(conn, just_before(5.5)) == []
    conn.handle_timeout(5.5)
    assert outputs(conn, 5.5) == [
        Unresolved(
            id="a",
            order=ORDER,
            taken_at=2.0,
            sent_at=3.0,
            resolved_at=5.5,
            sent=True,
            why=WhyUnresolved.TIMEOUT,
            hint=NEVER_ANSWERED,
        )
    ]
    assert conn.state is State.READY


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING])
def test_the_queue_timeout_is_exact(state: State) -> None:
    config = Config(queue_timeout=2.5, login_timeout=None)
    conn = Connection(config) if state is State.NEW else authenticating(config)
    conn.cancel(ORDER, 2.0, id="a")
    assert waits(conn, 2.0) == Wait(until=4.5, timer=Timer.REQUEST)
    conn.handle_timeout(just_before(4.5))
    assert outputs(conn, just_before(4.5)) == []
    conn.handle_timeout(4.5)
    assert outputs(conn, 4.5) == [
        Unresolved(
            id="a",
            order=ORDER,
            taken_at=2.0,
            sent_at=None,
            resolved_at=4.5,
            sent=False,
            why=WhyUnresolved.TIMEOUT,
        )
    ]
    assert conn.state is state


def test_time_in_the_queue_does_not_shorten_the_answer_timeout() -> None:
    conn = authenticating(Config(login_timeout=None, ping_interval=None, silence=None))
    conn.cancel(ORDER, 1.0, id="a")
    assert waits(conn, 1.0) == Wait(until=151.0, timer=Timer.REQUEST)
    conn.receive(LOGGED_IN, 150.0)
    outputs(conn, 150.0)
    assert waits(conn, 150.0) == Wait(until=160.0, timer=Timer.REQUEST)


@pytest.mark.parametrize(
    ("timeout", "until"), [(5.0, 6.0), (12.0, 13.0), (160.0, 151.0), (inf, 151.0), (None, 151.0)]
)
def test_a_cancels_timeout_can_only_shorten_the_queue_timeout(
    timeout: float | None, until: float
) -> None:
    conn = Connection()
    conn.cancel(ORDER, 1.0, timeout=timeout)
    assert waits(conn, 1.0) == Wait(until=until, timer=Timer.REQUEST)


@pytest.mark.parametrize(
    ("timeout", "until"),
    [(0.5, 1.5), (9.0, 10.0), (12.0, 13.0), (14.0, 14.0), (inf, 14.0), (None, 14.0)],
)
def test_a_cancels_timeout_can_only_shorten_the_answer_timeout(
    timeout: float | None, until: float
) -> None:
    conn = ready(QUIET)
    conn.cancel(ORDER, 1.0, timeout=timeout)
    outputs(conn, min(until - 0.25, 4.0))
    assert waits(conn, min(until - 0.25, 4.0)) == Wait(until=until, timer=Timer.REQUEST)
    conn.handle_timeout(just_before(until))
    assert conn.in_flight == 1
    conn.handle_timeout(until)
    (outcome,) = only(Unresolved, outputs(conn, until))
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.TIMEOUT)


def test_queue_and_answer_deadlines_are_kept_together() -> None:
    conn = ready(
        Config(
            messages_per_second=1,
            pace_margin=None,
            ping_interval=None,
            silence=None,
            queue_timeout=5,
            answer_timeout=3,
        )
    )
    for n in range(8):
        conn.cancel(ORDER, 2.0, id=f"c{n}", timeout={1: 1.5, 6: 4.5}.get(n))
    ended: list[tuple[float, str, bool]] = []
    now = 2.0
    while conn.in_flight:
        given, wait = drain(conn, now)
        ended += [(now, end.id, end.sent) for end in only(Unresolved, given)]
        assert wait.until is not None
        assert wait.until > now
        now = wait.until
        conn.handle_timeout(now)
    ended += [(now, end.id, end.sent) for end in only(Unresolved, outputs(conn, now))]
    # One leaves each second, from 2 on: c0, c1, c2, c3, c4. At 7 the queue's time is over.
    assert ended == [
        (3.5, "c1", True), (5.0, "c0", True), (6.5, "c6", False), (7.0, "c2", True), (7.0, "c5", False),
        (7.0, "c7", False), (8.0, "c3", True), (9.0, "c4", True),
    ]  # fmt: skip


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING])
def test_the_timeout_of_a_cancel_includes_the_queue(state: State) -> None:
    conn = in_state(state)
    conn.cancel(ORDER, 1.0, id="a", timeout=2.0)
    assert waits(conn, 1.0) == Wait(until=3.0, timer=Timer.REQUEST)
    conn.handle_timeout(3.0)
    (outcome,) = outputs(conn, 3.0)
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.sent_at, outcome.why) == (False, None, WhyUnresolved.TIMEOUT)
    assert conn.state is state


def test_poll_sends_a_cancel_just_before_its_deadline_and_not_at_it() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="gone", timeout=1.0)
    conn.cancel(ORDER, 1.0, id="kept", timeout=1.5)
    assert [id for frame in only(Transmit, outputs(conn, 2.0)) for id in frame.ids] == ["kept"]
    conn = ready()
    conn.cancel(ORDER, 1.0, id="kept", timeout=1.0)
    assert [
        id for frame in only(Transmit, outputs(conn, just_before(2.0))) for id in frame.ids
    ] == ["kept"]


def test_with_mixed_timeouts_only_unexpired_cancels_are_sent() -> None:
    conn = ready(Config(messages_per_second=2, pace_margin=None, ping_interval=None, silence=None))
    timeouts = [5.0, 0.5, 3.0, 1.0, 0.25, 9.0, 2.0, 1.5]
    for number, timeout in enumerate(timeouts):
        conn.cancel(ORDER, 2.0, id=f"c{number}", timeout=timeout)
    handed_out: list[tuple[float, str | None]] = []
    ended: list[tuple[float, str, bool]] = []
    now = 2.0
    while conn.in_flight:
        given, wait = drain(conn, now)
        handed_out += [(now, id) for frame in only(Transmit, given) for id in frame.ids]
        ended += [(now, end.id, end.sent) for end in only(Unresolved, given)]
        assert wait.until is not None
        assert wait.until > now
        now = wait.until
        conn.handle_timeout(now)
    ended += [(now, end.id, end.sent) for end in only(Unresolved, outputs(conn, now))]
    assert handed_out == [(2.0, "c0"), (2.0, "c1"), (3.0, "c2"), (3.0, "c5")]
    for moment, id in handed_out:
        assert id is not None
        assert moment < 2.0 + timeouts[int(id[1:])]
    was_sent = {id for _, id in handed_out}
    assert sorted(ended) == sorted(
        (2.0 + timeouts[n], f"c{n}", f"c{n}" in was_sent) for n in range(len(timeouts))
    )


def test_an_expired_cancel_does_not_use_the_rate_limit() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None))
    for _ in range(5):
        conn.cancel(ORDER, 1.0, timeout=1.0)
    conn.cancel(ORDER, 1.0, id="kept", timeout=9.0)
    assert outputs(conn, 1.0)[0] is not None
    assert [id for frame in only(Transmit, outputs(conn, 2.0)) for id in frame.ids] == ["kept"]


def test_without_timeouts_only_a_cancels_own_timeout_sets_a_deadline() -> None:
    conn = ready(Config(answer_timeout=None, queue_timeout=None, ping_interval=None, silence=None))
    conn.cancel(ORDER, 2.0, id="for ever")
    conn.cancel(ORDER, 2.0, id="for ever too", timeout=inf)
    assert waits(conn, 2.0, writable=False) == Wait(until=None, timer=None)
    assert waits(conn, 2.0) == Wait(until=None, timer=None)
    conn.cancel(ORDER, 2.0, id="a second", timeout=1.0)
    assert waits(conn, 2.0) == Wait(until=3.0, timer=Timer.REQUEST)
    conn.handle_timeout(1e6)
    assert [outcome.id for outcome in outcomes(outputs(conn, 1e6))] == ["a second"]
    conn.receive(reply("for ever"), 1e6)
    assert len(only(Accepted, outputs(conn, 1e6))) == 1


def test_cancels_expire_by_deadline_and_equal_ones_in_the_order_taken() -> None:
    conn = ready()
    conn.cancel(ORDER, 2.0, id="late", timeout=3.0)
    conn.cancel(ORDER, 2.0, id="c", timeout=2.0)
    conn.cancel(ORDER, 2.0, id="soon", timeout=1.0)
    conn.cancel(ORDER, 2.0, id="b", timeout=2.0)
    conn.cancel(ORDER, 2.0, id="a", timeout=2.0)
    outputs(conn, 2.0)
    conn.handle_timeout(6.0)
    assert [outcome.id for outcome in outcomes(outputs(conn, 6.0))] == [
        "soon",
        "c",
        "b",
        "a",
        "late",
    ]


def test_equal_deadlines_keep_the_order_with_a_later_one_between() -> None:
    conn = ready()
    for id, timeout in (("first", 3.0), ("long", 9.0), ("second", 3.0), ("third", 3.0)):
        conn.cancel(ORDER, 2.0, id=id, timeout=timeout)
    outputs(conn, 2.0)
    conn.handle_timeout(5.0)
    assert [outcome.id for outcome in outcomes(outputs(conn, 5.0))] == ["first", "second", "third"]


# --- early, late, repeated ---


@pytest.mark.parametrize("state", STATES)
def test_handle_timeout_early_is_harmless(state: State) -> None:
    conn = in_state(state)
    outputs(conn, 1.0)
    conn.handle_timeout(1.0)
    before = snapshot(conn)
    conn.handle_timeout(1.0)
    conn.handle_timeout(0.5)
    assert snapshot(conn) == before
    assert outputs(conn, 1.0) == []
    assert conn.state is state


def test_handle_timeout_repeated_fires_once() -> None:
    conn = ready()
    conn.cancel(ORDER, 2.0, id="a")
    outputs(conn, 2.0)
    for _ in range(3):
        conn.handle_timeout(12.0)
    assert len(outcomes(outputs(conn, 12.0))) == 1
    conn.receive("anything", 13.0)
    outputs(conn, 13.0)
    conn.handle_timeout(31.0)
    conn.handle_timeout(31.0)
    assert texts(outputs(conn, 31.0)) == ["ping"]


def test_handle_timeout_late_fires_all_that_is_due_by_deadline() -> None:
    conn = ready(Config(pong_timeout=5.0))
    conn.handle_timeout(30.0)
    assert texts(outputs(conn, 30.0)) == ["ping"]
    conn.cancel(ORDER, 31.0, id="after", timeout=5.0)
    conn.cancel(ORDER, 31.0, id="before", timeout=1.0)
    outputs(conn, 31.0)
    conn.handle_timeout(1000.0)
    given = outputs(conn, 1000.0)
    first, second = outcomes(given)
    assert isinstance(first, Unresolved)
    assert isinstance(second, Unresolved)
    assert (first.id, first.why, first.resolved_at) == ("before", WhyUnresolved.TIMEOUT, 1000.0)
    assert (second.id, second.why) == ("after", WhyUnresolved.LOST)
    assert [type(output) for output in given[2:]] == [Hangup, Closed]
    assert texts(given) == []


def test_only_handle_timeout_fires_timers() -> None:
    for conn in (ready(), authenticating(), draining()):
        state = conn.state
        conn.poll(1e6)
        conn.receive("unrelated", 1e6)
        conn.poll(1e6)
        assert conn.state is state
        if state is State.READY:
            conn.send("x", 1e6)
            conn.cancel(ORDER, 1e6)
        given = outputs(conn, 1e6)
        assert only(Closed, given) == []
        assert "ping" not in texts(given)
        wait = waits(conn, 1e6)
        assert wait.until is not None
        assert wait.until < 1e6, "what is due stays due until handle_timeout is called"


# --- ties ---


def firing_order(given: list[Output]) -> list[str]:
    names: list[str] = []
    for output in given:
        if isinstance(output, Unresolved | Closed):
            names.append(output.why.value)
        elif isinstance(output, Transmit):
            names.append(output.text)
    return names


def test_request_comes_before_login() -> None:
    conn = authenticating(Config(login_timeout=5.0))
    conn.cancel(ORDER, 0.0, timeout=5.0)
    assert waits(conn, 0.0) == Wait(until=5.0, timer=Timer.REQUEST)
    conn.handle_timeout(5.0)
    assert firing_order(outputs(conn, 5.0)) == ["timeout", "login timeout"]


def test_request_comes_before_pong() -> None:
    conn = ready(Config(ping_interval=5.0, pong_timeout=5.0))
    conn.handle_timeout(5.0)
    outputs(conn, 5.0)
    conn.cancel(ORDER, 6.0, timeout=4.0)
    conn.handle_timeout(10.0)
    assert firing_order(outputs(conn, 10.0)) == ["timeout", "no pong"]


def test_request_comes_before_drain() -> None:
    conn = ready(Config(drain_timeout=4.0))
    conn.cancel(ORDER, 1.0, id="a", timeout=5.0)
    conn.cancel(ORDER, 1.0, id="b", timeout=6.0)
    outputs(conn, 1.0)
    conn.close(2.0)
    conn.handle_timeout(6.0)
    assert firing_order(outputs(conn, 6.0)) == ["timeout", "closed", "asked"]


def test_request_comes_before_ping() -> None:
    conn = ready(Config(silence=None))
    conn.cancel(ORDER, 20.0, timeout=10.0)
    outputs(conn, 20.0)
    assert waits(conn, 20.0) == Wait(until=30.0, timer=Timer.REQUEST)
    conn.handle_timeout(30.0)
    assert firing_order(outputs(conn, 30.0)) == ["timeout", "ping"]


def test_login_comes_before_pong() -> None:
    conn = authenticating(Config(login_timeout=10.0, ping_interval=5.0, pong_timeout=5.0))
    conn.handle_timeout(5.0)
    outputs(conn, 5.0)
    assert waits(conn, 6.0) == Wait(until=10.0, timer=Timer.LOGIN)
    conn.handle_timeout(10.0)
    assert firing_order(outputs(conn, 10.0)) == ["login timeout"]


def test_login_comes_before_ping() -> None:
    conn = authenticating(Config(login_timeout=10.0, ping_interval=10.0))
    assert waits(conn, 0.0) == Wait(until=10.0, timer=Timer.LOGIN)
    conn.handle_timeout(10.0)
    assert firing_order(outputs(conn, 10.0)) == ["login timeout"]


def test_pong_comes_before_drain() -> None:
    conn = ready(Config(ping_interval=5.0, pong_timeout=5.0, drain_timeout=4.0, silence=None))
    conn.cancel(ORDER, 3.0, id="a", timeout=60.0)
    outputs(conn, 3.0)
    conn.handle_timeout(5.0)
    outputs(conn, 5.0)
    conn.close(6.0)
    assert waits(conn, 6.0) == Wait(until=10.0, timer=Timer.PONG)
    conn.handle_timeout(10.0)
    assert firing_order(outputs(conn, 10.0)) == ["lost", "no pong"]


def test_pong_comes_before_ping() -> None:
    conn = ready(Config(ping_interval=5.0, pong_timeout=5.0))
    conn.handle_timeout(5.0)
    outputs(conn, 5.0)
    assert waits(conn, 5.0) == Wait(until=10.0, timer=Timer.PONG)
    conn.handle_timeout(10.0)
    assert firing_order(outputs(conn, 10.0)) == ["no pong"]


def test_drain_comes_before_ping() -> None:
    conn = ready(Config(drain_timeout=5.0, silence=None))
    conn.cancel(ORDER, 25.0, timeout=60.0)
    outputs(conn, 25.0)
    conn.close(25.0)
    assert waits(conn, 25.0) == Wait(until=30.0, timer=Timer.DRAIN)
    conn.handle_timeout(30.0)
    assert firing_order(outputs(conn, 30.0)) == ["closed", "asked"]


@pytest.mark.parametrize(
    ("timer", "config", "expected"),
    [
        (Timer.REQUEST, Config(answer_timeout=2.0), ["timeout"]),
        (Timer.PING, Config(ping_interval=4.0), ["ping"]),
        (Timer.DRAIN, Config(drain_timeout=2.0), ["closed", "asked"]),
        (Timer.PONG, Config(ping_interval=3.0, pong_timeout=1.0), ["lost", "no pong"]),
    ],
    ids=lambda value: value.value if isinstance(value, Timer) else "",
)
def test_silence_comes_last(timer: Timer, config: Config, expected: list[str]) -> None:
    conn = ready(config)
    conn.cancel(ORDER, 2.0)
    outputs(conn, 2.0)
    if timer is Timer.DRAIN:
        conn.close(2.0)
    conn.handle_timeout(3.0)
    assert waits(conn, 3.0) == Wait(until=4.0, timer=timer)
    conn.handle_timeout(4.0)
    assert firing_order(outputs(conn, 4.0)) == expected


def test_a_due_timer_comes_before_pacing_in_what_a_wait_says() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None))
    conn.cancel(ORDER, 2.0, timeout=1.0)
    conn.cancel(ORDER, 2.0)
    assert waits(conn, 2.0) == Wait(until=3.0, timer=Timer.REQUEST)


def test_every_timer_is_announced() -> None:
    for timer in Timer:
        assert timer.sentence.startswith("When ")
        assert timer.sentence.endswith(".")


# --- the heartbeat ---


def test_pings_are_sent_30_s_after_opened_and_after_the_last_ping() -> None:
    conn = ready(now=100.0)
    assert waits(conn, 101.0) == Wait(until=130.0, timer=Timer.PING)
    conn.handle_timeout(just_before(130.0))
    assert outputs(conn, just_before(130.0)) == []
    conn.handle_timeout(133.0)
    assert texts(outputs(conn, 133.0)) == ["ping"]
    conn.receive(PONG, 134.0)
    assert drain(conn, 134.0) == ([], Wait(until=163.0, timer=Timer.PING))


def test_pings_are_sent_while_authenticating_after_the_login() -> None:
    conn = Connection(Config(ping_interval=2.0))
    conn.opened(0.0, login=LOGIN)
    conn.handle_timeout(2.0)
    first, second = texts(outputs(conn, 2.0))
    assert '"login"' in first
    assert second == "ping"


def test_the_heartbeat_continues_while_draining() -> None:
    config = Config(
        ping_interval=3.0, pong_timeout=1.0, drain_timeout=60.0, answer_timeout=60.0, silence=None
    )
    conn = draining(config)
    assert waits(conn, 1.0) == Wait(until=3.0, timer=Timer.PING)
    conn.handle_timeout(3.0)
    assert texts(outputs(conn, 3.0)) == ["ping"]
    conn.receive(PONG, 3.5)
    conn.handle_timeout(6.0)
    assert texts(outputs(conn, 6.0)) == ["ping"]
    conn.handle_timeout(7.0)
    assert [type(output) for output in outputs(conn, 7.0)] == [Unresolved, Hangup, Closed]


@pytest.mark.parametrize("state", [State.AUTHENTICATING, State.READY, State.DRAINING])
@pytest.mark.parametrize("written", [True, False], ids=["written", "not written"])
def test_the_pong_timer_is_set_when_a_ping_is_due_written_or_not(
    state: State, written: bool
) -> None:
    config = Config(login_timeout=None, drain_timeout=None, answer_timeout=None, silence=None)
    conn = {
        State.AUTHENTICATING: lambda: authenticating(config),
        State.READY: lambda: ready(config),
        State.DRAINING: lambda: draining(config),
    }[state]()
    assert conn.state is state
    conn.handle_timeout(30.0)
    given, wait = drain(conn, 30.0, writable=written)
    assert texts(given) == (["ping"] if written else [])
    assert wait == Wait(until=40.0, timer=Timer.PONG)
    conn.handle_timeout(40.0)
    given, wait = drain(conn, 40.0, writable=written)
    (end,) = only(Closed, given)
    assert end.why is WhyClosed.NO_PONG
    assert only(Hangup, given) == [Hangup(code=1000, reason="no pong", abort=True)]
    assert wait == Wait(until=None, timer=None)
    assert outputs(conn, 40.0) == [], "no ping after the end"


def test_without_a_pong_the_cancels_are_unresolved_as_lost() -> None:
    conn = ready()
    conn.handle_timeout(30.0)
    outputs(conn, 30.0)
    conn.cancel(ORDER, 35.0, id="sent")
    outputs(conn, 35.0)
    conn.cancel(ORDER, 35.0, id="unsent")
    conn.handle_timeout(40.0)
    given = only(Unresolved, outputs(conn, 40.0))
    assert [(end.id, end.sent, end.why) for end in given] == [
        ("sent", True, WhyUnresolved.LOST),
        ("unsent", False, WhyUnresolved.LOST),
    ]


@pytest.mark.parametrize("pong", ["pong", b"pong"], ids=["text", "bytes"])
def test_a_pong_clears_its_timer_up_to_the_deadline(pong: str | bytes) -> None:
    conn = ready()
    conn.handle_timeout(30.0)
    outputs(conn, 30.0)
    conn.receive(pong, 40.0)
    conn.handle_timeout(40.0)
    assert drain(conn, 40.0) == ([], Wait(until=60.0, timer=Timer.PING))


@pytest.mark.parametrize(
    "message",
    [
        "PONG",
        '"pong"',
        "ping",
        "pong ",
        '{"event":"pong"}',
        '{"op":"pong"}',
        reply("zzz"),
        LOGGED_IN,
    ],
)
def test_only_a_pong_clears_the_pong_timer(message: str) -> None:
    conn = ready()
    conn.handle_timeout(30.0)
    outputs(conn, 30.0)
    conn.receive(message, 31.0)
    assert waits(conn, 31.0) == Wait(until=40.0, timer=Timer.PONG)


@pytest.mark.parametrize("state", STATES)
def test_a_stray_pong_is_ignored(state: State) -> None:
    conn = in_state(state)
    conn.receive(PONG, 1.0)
    # It is a message, so that it ends a silent spell, and nothing more.
    conn._heartbeat.heard_at = 0.0
    conn._now = 1.0
    after = snapshot(conn)
    before_it = in_state(state)
    before_it._heartbeat.heard_at = 0.0
    before_it._now = 1.0
    assert after == snapshot(before_it)
    assert outputs(conn, 1.0, writable=False) == []


def test_a_pong_before_the_ping_was_sent_is_not_its_answer() -> None:
    conn = ready()
    conn.handle_timeout(30.0)
    assert outputs(conn, 30.0, writable=False) == []
    conn.receive(PONG, 31.0)
    assert waits(conn, 31.0, writable=False) == Wait(until=40.0, timer=Timer.PONG)
    assert texts(outputs(conn, 32.0)) == ["ping"]
    conn.receive(PONG, 33.0)
    assert waits(conn, 33.0) == Wait(until=60.0, timer=Timer.PING)


def test_two_pongs_do_not_answer_the_next_ping_in_advance() -> None:
    conn = ready()
    conn.handle_timeout(30.0)
    outputs(conn, 30.0)
    conn.receive(PONG, 31.0)
    conn.receive(PONG, 32.0)
    conn.handle_timeout(60.0)
    outputs(conn, 60.0)
    conn.handle_timeout(70.0)
    assert conn.state is State.CLOSED


def test_a_ping_due_while_one_waits_adds_none_and_keeps_the_pong_timer() -> None:
    conn = ready(Config(ping_interval=4.0, pong_timeout=10.0))
    for now in (4.0, 8.0, 12.0):
        conn.handle_timeout(now)
        outputs(conn, now, writable=False)
    assert waits(conn, 12.0, writable=False) == Wait(until=14.0, timer=Timer.PONG)
    assert texts(outputs(conn, 12.0)) == ["ping"]


def test_after_a_long_gap_one_ping_is_sent_with_time_to_answer() -> None:
    conn = ready()
    conn.handle_timeout(10_000.0)
    assert drain(conn, 10_000.0)[0] == [Transmit(text="ping")]
    assert waits(conn, 10_000.0) == Wait(until=10_010.0, timer=Timer.PONG)


def test_the_heartbeat_and_its_timeout_can_be_switched_off() -> None:
    conn = ready(Config(ping_interval=None))
    conn.handle_timeout(1e6)
    assert drain(conn, 1e6) == ([], Wait(until=None, timer=None))
    conn = ready(Config(pong_timeout=None))
    conn.handle_timeout(30.0)
    assert drain(conn, 30.0) == ([Transmit(text="ping")], Wait(until=60.0, timer=Timer.PING))
    conn.handle_timeout(60.0)
    assert drain(conn, 60.0) == ([Transmit(text="ping")], Wait(until=90.0, timer=Timer.PING))


# --- clocks ---

CALLS: dict[str, Callable[[Connection, float], object]] = {
    "opened": lambda conn, now: conn.opened(now, login=LOGIN),
    "receive": lambda conn, now: conn.receive("pong", now),
    "lost": lambda conn, now: conn.lost(now),
    "handle_timeout": lambda conn, now: conn.handle_timeout(now),
    "cancel": lambda conn, now: conn.cancel(ORDER, now),
    "cancel_many": lambda conn, now: conn.cancel_many([ORDER], now),
    "withdraw": lambda conn, now: conn.withdraw("a", now),
    "send": lambda conn, now: conn.send("x", now),
    "close": lambda conn, now: conn.close(now),
    "poll": lambda conn, now: conn.poll(now),
}


@pytest.mark.parametrize("now", [nan, inf, -inf, "1", None, [1.0], 1j, b"1", object], ids=str)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES)
def test_a_time_that_is_not_a_finite_number_is_refused(state: State, call: str, now: float) -> None:
    conn = in_state(state)
    before = snapshot(conn)
    with pytest.raises(LocalProtocolError):
        CALLS[call](conn, now)
    assert snapshot(conn) == before


def test_a_time_that_goes_backwards_counts_as_standing_still() -> None:
    conn = ready(Config(answer_timeout=2.0))
    conn.handle_timeout(5.0)
    conn.cancel(ORDER, 3.0, id="a")
    outputs(conn, -7.0)
    assert waits(conn, 0.0) == Wait(until=7.0, timer=Timer.REQUEST)
    conn.receive(reply("a"), 1.0)
    (outcome,) = outcomes(outputs(conn, 2.0))
    assert (outcome.taken_at, outcome.sent_at, outcome.resolved_at) == (5.0, 5.0, 5.0)


def test_opened_in_the_past_counts_as_the_latest_time() -> None:
    conn = Connection()
    conn.handle_timeout(50.0)
    conn.opened(10.0, login=LOGIN)
    assert waits(conn, 0.0) == Wait(until=60.0, timer=Timer.LOGIN)


@pytest.mark.parametrize("start", [-1e6, 0.0, -0.0, 1e9, 2**40, -5])
def test_the_zero_of_the_clock_does_not_matter(start: float) -> None:
    conn = ready(Config(silence=None), now=start)
    conn.cancel(ORDER, start + 2, id="a")
    outputs(conn, start + 2)
    assert waits(conn, start + 2) == Wait(until=start + 12, timer=Timer.REQUEST)
    conn.handle_timeout(start + 12)
    (outcome,) = outcomes(outputs(conn, start + 12))
    assert outcome.taken_at == start + 2


def test_a_clock_that_stands_still_fires_nothing_and_ends_every_drain() -> None:
    conn = ready(settled=False)
    for _ in range(30):
        conn.cancel(ORDER, 0.0)
    given, wait = drain(conn, 0.0)
    assert len(texts(given)) == 9
    assert wait == Wait(until=1.05, timer=Timer.PACING)
    for _ in range(5):
        conn.handle_timeout(0.0)
        assert drain(conn, 0.0) == ([], wait)


@pytest.mark.parametrize("now", [1e300, 1.7976931348623157e308, 10**300, 2**60 + 1])
def test_with_a_clock_too_large_to_tick_every_call_ends(
    now: float,
) -> None:
    conn = Connection()
    conn.opened(now, login=LOGIN)
    outputs(conn, now)
    conn.receive(LOGGED_IN, now)
    id = conn.cancel(ORDER, now)
    given = outputs(conn, now)
    assert given[0] == Ready()
    for _ in range(3):
        conn.handle_timeout(now)
        given += outputs(conn, now)
    conn.lost(now)
    given += outputs(conn, now)
    assert [outcome.id for outcome in outcomes(given)] == [id]
    assert conn.state is State.CLOSED


def test_a_clock_that_cannot_tick_fires_no_endless_pings() -> None:
    conn = Connection(Config(pong_timeout=None, login_timeout=None))
    conn.opened(1e300, login=LOGIN)
    outputs(conn, 1e300)
    conn.handle_timeout(1e300)
    assert texts(outputs(conn, 1e300)) == ["ping"]
    assert conn.state is State.AUTHENTICATING


def test_the_same_inputs_give_the_same_outputs() -> None:
    def run() -> list[Output]:
        conn = Connection(Config(messages_per_second=3, late_ids=2))
        given: list[Output] = []
        conn.cancel(ORDER, 0.0)
        conn.opened(0.0, login=LOGIN)
        for step in range(200):
            now = step * 0.37
            given += outputs(conn, now, writable=step % 3 != 0)
            if step == 1:
                conn.receive(LOGGED_IN, now)
            if conn.capacity and step % 2:
                conn.cancel(ORDER, now, timeout=1.0 + step % 5)
            conn.receive((reply(f"bgproto{step % 40}"), PONG, "x")[step % 3], now)
            conn.handle_timeout(now)
        conn.close(80.0)
        conn.close(81.0)
        return given + outputs(conn, 81.0)

    first, second = run(), run()
    assert first == second
    assert len(outcomes(first)) > 50
    assert isinstance(first[-1], Closed)
