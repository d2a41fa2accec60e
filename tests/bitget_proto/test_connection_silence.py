"""A silent link is probed, and a dead one is detected within seconds."""

from __future__ import annotations

from math import inf, nextafter

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    Closed,
    Config,
    Connection,
    Hangup,
    Output,
    State,
    Timer,
    Transmit,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnresolved,
)

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    PONG,
    answering,
    authenticating,
    drain,
    error,
    live,
    only,
    outputs,
    ready,
    refusal,
    reply,
    texts,
    waits,
)


def unanswered(config: Config | None = None, at: float = 10.0) -> Connection:
    """Ready, with a cancel that was sent at this time; the last message before came 1 s earlier."""
    conn = ready(config)
    conn.receive(PONG, at - 1.0)
    conn.cancel(ORDER, at, id="a")
    assert len(texts(outputs(conn, at))) == 1
    return conn


def dead(given: list[Output]) -> bool:
    return [end.why for end in only(Closed, given)] == [WhyClosed.NO_PONG]


# --- the question ---


def test_a_link_with_an_answer_due_is_probed_after_2_s_and_given_3_s() -> None:
    conn = unanswered()
    assert waits(conn, 10.0) == Wait(until=12.0, timer=Timer.SILENCE)
    conn.handle_timeout(nextafter(12.0, -inf))
    assert outputs(conn, nextafter(12.0, -inf)) == []
    conn.handle_timeout(12.0)
    assert drain(conn, 12.0) == ([Transmit("ping")], Wait(until=15.0, timer=Timer.SILENCE))
    conn.handle_timeout(nextafter(15.0, -inf))
    assert conn.state is State.READY
    conn.handle_timeout(15.0)
    given = outputs(conn, 15.0)
    assert [type(output) for output in given] == [Unresolved, Hangup, Closed]
    (lost,) = only(Unresolved, given)
    assert (lost.id, lost.sent, lost.why) == ("a", True, WhyUnresolved.LOST)
    assert given[1] == Hangup(code=1000, reason="no pong", abort=True)
    assert dead(given)


def test_a_link_without_an_answer_due_may_be_silent() -> None:
    conn = ready()
    assert waits(conn, 1.0) == Wait(until=30.0, timer=Timer.PING)
    conn.cancel(ORDER, 10.0, id="a")
    assert waits(conn, 10.0, writable=False).timer is Timer.PING, "what was not sent is no debt"
    outputs(conn, 10.0)
    conn.receive(reply("a"), 11.0)
    assert waits(conn, 11.0) == Wait(until=30.0, timer=Timer.PING)


def test_before_the_login_is_accepted_no_answer_is_due() -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.0)
    assert waits(conn, 0.0) == Wait(until=10.0, timer=Timer.LOGIN)


def test_the_silence_counts_from_the_oldest_unanswered_cancel() -> None:
    conn = ready()
    for id, now in (("a", 10.0), ("b", 10.5), ("c", 11.0)):
        conn.cancel(ORDER, now, id=id)
        outputs(conn, now)
    assert waits(conn, 11.0) == Wait(until=12.0, timer=Timer.SILENCE)
    conn.receive(reply("a"), 10.25)
    outputs(conn, 11.0)
    assert waits(conn, 11.0) == Wait(until=13.0, timer=Timer.SILENCE), (
        "the answer came at 11, the latest time known"
    )


def test_after_an_answer_the_silence_counts_from_the_next_sending() -> None:
    conn = ready()
    conn.cancel(ORDER, 10.0, id="a")
    outputs(conn, 10.0)
    conn.receive(reply("a"), 10.25)
    conn.cancel(ORDER, 10.5, id="b")
    outputs(conn, 10.5)
    assert waits(conn, 10.5) == Wait(until=12.5, timer=Timer.SILENCE)


@pytest.mark.parametrize(
    "message",
    [
        PONG,
        "noise",
        b"\xff",
        "",
        reply("another"),
        refusal("another"),
        error(43001),
        error(30033),
        LOGGED_IN,
        "[" * 99,
    ],
    ids=range(10),
)
@pytest.mark.parametrize("asked", [False, True], ids=["before", "after"])
def test_any_message_ends_the_silence(message: str | bytes, asked: bool) -> None:
    conn = unanswered()
    if asked:
        conn.handle_timeout(12.0)
        assert texts(outputs(conn, 12.0)) == ["ping"]
    conn.receive(message, 12.5)
    outputs(conn, 12.5)
    assert waits(conn, 12.5) == Wait(until=14.5, timer=Timer.SILENCE)
    conn.handle_timeout(15.0)
    assert conn.state is State.READY
    assert texts(outputs(conn, 15.0)) == ["ping"], "the next silent spell has a question of its own"


def test_a_message_before_the_probe_is_sent_ends_the_silence() -> None:
    conn = unanswered()
    conn.handle_timeout(12.0)
    assert outputs(conn, 12.0, writable=False) == []
    conn.receive("noise", 12.5)
    assert waits(conn, 12.5, writable=False) == Wait(until=14.5, timer=Timer.SILENCE)
    assert texts(outputs(conn, 12.5)) == ["ping"]
    assert waits(conn, 12.5) == Wait(until=14.5, timer=Timer.SILENCE)


def test_a_silent_period_has_one_probe() -> None:
    conn = unanswered()
    came = live(conn, 10.0, 100.0, lambda frame, now: [])
    assert [(now, text) for now, output in came for text in texts([output])] == [(12.0, "ping")]
    assert [now for now, output in came if isinstance(output, Closed)] == [15.0]


def test_the_three_seconds_count_from_the_sending_of_the_probe() -> None:
    conn = unanswered()
    conn.handle_timeout(12.0)
    assert drain(conn, 12.0, writable=False) == ([], Wait(until=15.0, timer=Timer.SILENCE))
    assert drain(conn, 14.0) == ([Transmit("ping")], Wait(until=17.0, timer=Timer.SILENCE))


def test_the_probe_is_sent_next_within_the_rate_limit() -> None:
    conn = ready(Config(messages_per_second=2, pace_margin=None, silence=0.5))
    for id in "abc":
        conn.cancel(ORDER, 10.0, id=id)
    assert len(texts(outputs(conn, 10.0))) == 2
    conn.handle_timeout(10.5)
    assert drain(conn, 10.5) == ([], Wait(until=11.0, timer=Timer.PACING))
    given, wait = drain(conn, 11.0)
    assert [", ".join(frame.ids) or frame.text for frame in only(Transmit, given)] == ["ping", "c"]
    assert wait == Wait(until=14.0, timer=Timer.SILENCE)


def test_a_probe_does_not_spend_the_budget() -> None:
    budget = Budget(1)
    conn = ready(budget=budget)
    conn.cancel(ORDER, 10.0)
    outputs(conn, 10.0)
    conn.handle_timeout(12.0)
    assert texts(outputs(conn, 12.0)) == ["ping"]
    assert budget.allowed_at(12.0) <= 12.0


def test_the_probe_stays_when_the_unanswered_cancel_expires() -> None:
    conn = unanswered(Config(answer_timeout=3.0))
    conn.handle_timeout(12.0)
    outputs(conn, 12.0)
    conn.handle_timeout(13.0)
    assert [end.why for end in only(Unresolved, outputs(conn, 13.0))] == [WhyUnresolved.TIMEOUT]
    assert waits(conn, 13.0) == Wait(until=15.0, timer=Timer.SILENCE)
    conn.handle_timeout(15.0)
    assert dead(outputs(conn, 15.0))


def test_a_draining_connection_is_probed_too() -> None:
    conn = unanswered(Config(drain_timeout=60.0))
    conn.close(11.0)
    assert drain(conn, 11.0) == ([], Wait(until=12.0, timer=Timer.SILENCE))
    conn.handle_timeout(12.0)
    assert texts(outputs(conn, 12.0)) == ["ping"]
    conn.handle_timeout(15.0)
    assert dead(outputs(conn, 15.0))


@pytest.mark.parametrize("code", [30004, 30007])
def test_a_connection_that_was_thrown_out_is_not_probed(code: int) -> None:
    conn = unanswered(Config(silence=0.1, silence_pong=0.1))
    conn.receive(error(code), 10.05)
    outputs(conn, 10.05)
    assert waits(conn, 10.05) == Wait(until=10.55, timer=Timer.DRAIN)
    conn.receive("noise", 10.1)
    outputs(conn, 10.1)
    assert waits(conn, 10.1) == Wait(until=10.55, timer=Timer.DRAIN)


def test_without_a_silence_limit_nothing_is_probed() -> None:
    conn = unanswered(Config(silence=None))
    assert waits(conn, 10.0) == Wait(until=20.0, timer=Timer.REQUEST)


def test_without_a_limit_for_the_pong_the_link_is_probed_and_kept() -> None:
    conn = unanswered(Config(silence_pong=None, answer_timeout=None, ping_interval=None))
    conn.handle_timeout(12.0)
    assert drain(conn, 12.0) == ([Transmit("ping")], Wait(until=None, timer=None))


# --- beside the heartbeat ---


def test_the_heartbeat_keeps_its_own_timeout() -> None:
    conn = ready(Config(answer_timeout=60.0))
    conn.handle_timeout(30.0)
    assert texts(outputs(conn, 30.0)) == ["ping"]
    for now in range(31, 40):
        conn.receive("noise", float(now))
    outputs(conn, 39.0)
    assert waits(conn, 39.0) == Wait(until=40.0, timer=Timer.PONG)
    conn.handle_timeout(40.0)
    given = outputs(conn, 40.0)
    assert dead(given)
    assert only(Hangup, given) == [Hangup(code=1000, reason="no pong", abort=True)]


def test_one_late_call_does_not_fire_a_ping_and_its_pong_together() -> None:
    conn = unanswered(Config(answer_timeout=None))
    conn.handle_timeout(1000.0)
    assert drain(conn, 1000.0) == ([Transmit("ping")], Wait(until=1003.0, timer=Timer.SILENCE))
    assert conn.state is State.READY


def test_a_waiting_probe_does_not_shorten_the_heartbeats_timeout() -> None:
    conn = ready(Config(answer_timeout=None))
    conn.handle_timeout(30.0)
    outputs(conn, 30.0)
    conn.receive(PONG, 31.0)
    conn.cancel(ORDER, 57.5, id="a")
    outputs(conn, 57.5)
    conn.handle_timeout(60.0)  # The silence since 59.5, and the heartbeat.
    assert conn.state is State.READY
    assert drain(conn, 60.0) == ([Transmit("ping")], Wait(until=63.0, timer=Timer.SILENCE))


def test_a_stalled_writer_is_noticed_as_soon_as_a_silent_peer() -> None:
    conn = unanswered(Config(answer_timeout=None), at=20.0)
    conn.handle_timeout(22.0)
    assert drain(conn, 22.0, writable=False) == ([], Wait(until=25.0, timer=Timer.SILENCE))
    conn.handle_timeout(25.0)
    assert dead(outputs(conn, 25.0, writable=False))


def test_a_probe_that_waits_for_the_rate_limit_has_three_seconds_from_then() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None, silence=0.25))
    conn.cancel(ORDER, 10.0, id="a")
    assert len(texts(outputs(conn, 10.0))) == 1
    conn.handle_timeout(10.25)
    assert drain(conn, 10.25, writable=False) == ([], Wait(until=14.0, timer=Timer.SILENCE))


# --- as it happens ---


def test_a_busy_exchange_that_answers_4_s_late_is_not_dead() -> None:
    conn = ready()
    for n in range(60):
        conn.cancel(ORDER, 2.0, id=f"c{n}")
    came = live(conn, 2.0, 29.0, answering(4.0))
    given = [output for _, output in came]
    assert len(only(Accepted, given)) == 60
    assert only(Unresolved, given) == []
    assert conn.state is State.READY
    assert [(now, text) for now, output in came for text in texts([output]) if text == "ping"] == [
        (2.0 + 1.05 + 1.05, "ping")
    ]


def test_a_single_cancel_answered_4_s_late_is_accepted() -> None:
    conn = ready()
    conn.cancel(ORDER, 2.0, id="a")
    came = live(conn, 2.0, 29.0, answering(4.0))
    assert [now for now, output in came if isinstance(output, Accepted)] == [6.0]
    assert conn.state is State.READY


def test_a_half_open_link_is_detected_within_six_seconds() -> None:
    conn = ready()
    came: list[tuple[float, Output]] = []
    now = 1.0

    def half_open(frame: Transmit, at: float) -> list[tuple[float, str]]:
        return answering(0.05)(frame, at) if at < 20.0 else []

    for second in range(2, 40):
        if conn.state is State.CLOSED:
            break
        now = float(second)
        conn.cancel(ORDER, now, id=f"c{second}")
        came += live(conn, now, now + 0.9, half_open)
        conn.handle_timeout(now + 0.9)
    ended = next(at for at, output in came if isinstance(output, Closed))
    assert ended == 25.0, "the first that was unanswered left at 20"
    given = [output for _, output in came]
    assert [end.id for end in only(Unresolved, given)] == ["c20", "c21", "c22", "c23", "c24", "c25"]
    assert {(end.sent, end.why) for end in only(Unresolved, given)} == {(True, WhyUnresolved.LOST)}
    assert len(only(Accepted, given)) == 18


def test_a_late_driver_probes_before_the_link_is_given_up() -> None:
    """Many messages may lie unread when a process was stopped for a while."""
    conn = unanswered()
    conn.handle_timeout(600.0)
    given = outputs(conn, 600.0)
    assert [end.why for end in only(Unresolved, given)] == [WhyUnresolved.TIMEOUT]
    assert texts(given) == ["ping"]
    conn.receive(reply("a"), 600.0)
    outputs(conn, 600.0)
    assert conn.state is State.READY


def test_nothing_is_probed_before_opened() -> None:
    conn = Connection()
    conn.cancel(ORDER, 0.0)
    conn.handle_timeout(100.0)
    assert waits(conn, 100.0) == Wait(until=150.0, timer=Timer.REQUEST)
    conn.opened(100.0, login=LOGIN)
    outputs(conn, 100.0)
    conn.receive(LOGGED_IN, 101.0)
    outputs(conn, 101.0)
    assert waits(conn, 101.0) == Wait(until=103.0, timer=Timer.SILENCE)
