"""Pings: the heartbeat, and the question that a silent link is asked."""

from __future__ import annotations

from math import inf, nextafter

import pytest

from bitget_proto import Config, Timer
from bitget_proto._machine.deadlines import Alarms
from bitget_proto._machine.heartbeat import Heartbeat

PING, PONG = Timer.PING, Timer.PONG


def started(now: float = 0.0, config: Config | None = None) -> tuple[Heartbeat, Alarms]:
    alarms = Alarms(PONG, PING)
    heartbeat = Heartbeat(Config() if config is None else config, alarms)
    heartbeat.start(now)
    return heartbeat, alarms


# --- the heartbeat ---


def test_before_the_start_nothing_is_due() -> None:
    alarms = Alarms(PONG, PING)
    heartbeat = Heartbeat(Config(), alarms)
    assert (alarms.until, heartbeat.ping_due, heartbeat.asked_until) == (inf, False, None)


def test_the_first_ping_is_due_an_interval_after_the_start() -> None:
    heartbeat, alarms = started(100.0)
    assert (alarms[PING], alarms[PONG], heartbeat.ping_due) == (130.0, inf, False)


def test_a_ping_that_falls_due_waits_to_be_sent_and_the_pong_counts_from_then() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(31.0)
    assert heartbeat.ping_due
    assert (alarms[PING], alarms[PONG]) == (61.0, 41.0)
    heartbeat.sent(35.0)
    assert not heartbeat.ping_due
    assert (alarms[PING], alarms[PONG]) == (61.0, 41.0), "not from when it was sent"


def test_a_pong_clears_the_alarm_and_a_second_one_is_ignored() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(30.0)
    heartbeat.sent(30.0)
    heartbeat.pong()
    assert alarms[PONG] == inf
    heartbeat.beat(60.0)
    heartbeat.pong()
    assert alarms[PONG] == 70.0, "the ping has not left"


def test_a_ping_that_is_not_written_keeps_the_deadline_of_the_first_that_fell_due() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=4.0, pong_timeout=10.0))
    heartbeat.beat(4.0)
    heartbeat.beat(8.0)
    assert (alarms[PING], alarms[PONG]) == (12.0, 14.0)
    heartbeat.sent(9.0)
    heartbeat.pong()
    heartbeat.beat(12.0)
    assert alarms[PONG] == 22.0


def test_a_pong_to_the_ping_before_does_not_hide_one_that_cannot_be_written() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=4.0, pong_timeout=10.0))
    heartbeat.beat(4.0)
    heartbeat.sent(4.0)
    heartbeat.beat(8.0)
    assert alarms[PONG] == 14.0
    heartbeat.pong()
    assert alarms[PONG] == 18.0
    heartbeat.beat(12.0)
    assert alarms[PONG] == 18.0


def test_of_two_that_cannot_be_written_the_first_counts_when_a_pong_to_one_before_comes() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=4.0, pong_timeout=10.0))
    heartbeat.beat(4.0)
    heartbeat.sent(4.0)
    heartbeat.beat(8.0)
    heartbeat.beat(12.0)
    heartbeat.pong()
    assert alarms[PONG] == 18.0


def test_stopped_nothing_is_due_and_nothing_is_asked() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(30.0)
    heartbeat.ask(2.0)
    heartbeat.stop()
    assert (alarms[PING], alarms[PONG], heartbeat.ping_due, heartbeat.asked_until) == (
        inf,
        inf,
        False,
        None,
    )
    heartbeat.heard(31.0)
    assert heartbeat.silence_at(31.0) == inf


def test_without_limits_no_ping_and_no_pong_is_due() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=None, pong_timeout=None))
    assert alarms.until == inf
    heartbeat.beat(30.0)
    assert (alarms[PING], alarms[PONG], heartbeat.ping_due) == (inf, inf, True)


def test_on_a_clock_that_cannot_tick_nothing_is_due_at_once() -> None:
    heartbeat, alarms = started(1e300)
    heartbeat.beat(1e300)
    assert alarms[PING] == alarms[PONG] == nextafter(1e300, inf)
    heartbeat.ask(1e300)
    assert heartbeat.asked_until == nextafter(1e300, inf)
    heartbeat.sent(1e300)
    assert heartbeat.asked_until == nextafter(1e300, inf)


# --- the silence ---


def test_the_silence_counts_from_the_later_of_the_last_message_and_the_sending() -> None:
    heartbeat, _ = started(1.0)
    assert heartbeat.silence_at(5.0) == 7.0
    heartbeat.heard(6.0)
    assert heartbeat.silence_at(5.0) == 8.0
    assert heartbeat.silence_at(6.0) == 8.0
    assert heartbeat.silence_at(6.5) == 8.5


def test_the_start_counts_as_a_message() -> None:
    heartbeat, _ = started(1.0)
    assert heartbeat.silence_at(0.5) == 3.0


def test_where_nothing_is_unanswered_there_is_no_silence() -> None:
    heartbeat, _ = started()
    assert heartbeat.silence_at(inf) == inf


def test_without_a_limit_there_is_no_silence() -> None:
    heartbeat, _ = started(config=Config(silence=None))
    assert heartbeat.silence_at(5.0) == inf


def test_a_silent_link_is_asked_once_and_has_its_time_from_the_sending() -> None:
    heartbeat, alarms = started()
    assert heartbeat.ask(7.0) is False
    assert heartbeat.ping_due
    assert heartbeat.asked_until == heartbeat.silence_at(0.0) == 10.0, "the ping could be sent at 7"
    heartbeat.sent(9.0)
    assert heartbeat.asked_until == heartbeat.silence_at(0.0) == 12.0
    assert heartbeat.silence_at(inf) == 12.0, "also when what was unanswered has timed out"
    assert alarms[PONG] == inf, "this ping has its own time"
    assert heartbeat.ask(12.0) is True


def test_a_question_that_leaves_after_a_message_gives_the_next_silence_no_end() -> None:
    heartbeat, _ = started()
    heartbeat.ask(2.0)
    heartbeat.heard(3.0)
    heartbeat.sent(3.5)
    assert heartbeat.asked_until is None
    assert heartbeat.ask(5.0) is False
    assert heartbeat.asked_until == 8.0


def test_without_a_limit_for_its_answer_a_silent_link_is_asked_and_not_given_up() -> None:
    heartbeat, _ = started(config=Config(silence_pong=None))
    heartbeat.ask(2.0)
    heartbeat.sent(9.0)
    assert heartbeat.silence_at(0.0) == inf


def test_any_message_ends_the_silent_spell_and_the_next_is_asked_anew() -> None:
    heartbeat, _ = started()
    heartbeat.ask(2.0)
    heartbeat.sent(2.0)
    heartbeat.heard(4.0)
    assert heartbeat.asked_until is None
    assert heartbeat.silence_at(0.0) == 6.0
    assert heartbeat.ask(2.0) is False


def test_a_ping_of_the_heartbeat_that_leaves_in_a_silent_spell_asks_too() -> None:
    heartbeat, alarms = started()
    heartbeat.ask(2.0)
    heartbeat.beat(30.0)
    heartbeat.sent(30.5)
    assert heartbeat.asked_until == 33.5
    assert alarms[PONG] == 40.0


def test_a_ping_of_the_heartbeat_behind_the_one_that_asked_does_not_put_off_the_end() -> None:
    heartbeat, _ = started()
    heartbeat.ask(2.0)
    heartbeat.sent(29.0)
    heartbeat.beat(30.0)
    heartbeat.sent(30.0)
    assert heartbeat.asked_until == 32.0


def test_a_ping_that_waits_since_the_silence_gets_its_pong_deadline_when_the_heartbeat_is_due() -> (
    None
):
    heartbeat, alarms = started()
    heartbeat.ask(2.0)
    heartbeat.beat(30.0)
    assert alarms[PONG] == 40.0, "a stalled writer must be noticed"


def test_the_deadline_of_a_ping_that_was_answered_does_not_return_with_the_next() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(30.0)
    heartbeat.sent(30.0)
    heartbeat.pong()
    heartbeat.ask(2.0)
    heartbeat.beat(60.0)
    assert alarms[PONG] == 70.0


@pytest.mark.parametrize("first", ["ask", "beat"])
def test_one_ping_is_enough_for_the_heartbeat_and_the_silence(first: str) -> None:
    heartbeat, _ = started()
    if first == "ask":
        heartbeat.ask(2.0)
        heartbeat.beat(30.0)
    else:
        heartbeat.beat(30.0)
        heartbeat.ask(2.0)
    heartbeat.sent(30.0)
    assert not heartbeat.ping_due
