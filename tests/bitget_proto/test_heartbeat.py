"""Tests of pings: the heartbeat, and the probe of a silent link."""

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


def test_nothing_is_due_before_the_start() -> None:
    alarms = Alarms(PONG, PING)
    heartbeat = Heartbeat(Config(), alarms)
    assert (alarms.until, heartbeat.ping_pending, heartbeat.probe_deadline) == (inf, False, None)


def test_the_first_ping_is_due_an_interval_after_the_start() -> None:
    heartbeat, alarms = started(100.0)
    assert (alarms[PING], alarms[PONG], heartbeat.ping_pending) == (130.0, inf, False)


def test_the_pong_deadline_counts_from_when_the_ping_falls_due() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(31.0)
    assert heartbeat.ping_pending
    assert (alarms[PING], alarms[PONG]) == (61.0, 41.0)
    heartbeat.sent(35.0)
    assert not heartbeat.ping_pending
    assert (alarms[PING], alarms[PONG]) == (61.0, 41.0), "counts from when it fell due"


def test_a_pong_clears_the_alarm_and_a_second_one_is_ignored() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(30.0)
    heartbeat.sent(30.0)
    heartbeat.pong()
    assert alarms[PONG] == inf
    heartbeat.beat(60.0)
    heartbeat.pong()
    assert alarms[PONG] == 70.0, "the ping was not sent"


def test_an_unwritten_ping_keeps_the_deadline_of_the_first_one_due() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=4.0, pong_timeout=10.0))
    heartbeat.beat(4.0)
    heartbeat.beat(8.0)
    assert (alarms[PING], alarms[PONG]) == (12.0, 14.0)
    heartbeat.sent(9.0)
    heartbeat.pong()
    heartbeat.beat(12.0)
    assert alarms[PONG] == 22.0


def test_a_pong_to_an_earlier_ping_does_not_hide_an_unwritten_one() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=4.0, pong_timeout=10.0))
    heartbeat.beat(4.0)
    heartbeat.sent(4.0)
    heartbeat.beat(8.0)
    assert alarms[PONG] == 14.0
    heartbeat.pong()
    assert alarms[PONG] == 18.0
    heartbeat.beat(12.0)
    assert alarms[PONG] == 18.0


def test_an_earlier_pong_leaves_the_deadline_of_the_first_unwritten_ping() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=4.0, pong_timeout=10.0))
    heartbeat.beat(4.0)
    heartbeat.sent(4.0)
    heartbeat.beat(8.0)
    heartbeat.beat(12.0)
    heartbeat.pong()
    assert alarms[PONG] == 18.0


def test_after_a_stop_nothing_is_due_and_no_ping_is_wanted() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(30.0)
    heartbeat.probe(2.0)
    heartbeat.stop()
    assert (alarms[PING], alarms[PONG], heartbeat.ping_pending, heartbeat.probe_deadline) == (
        inf,
        inf,
        False,
        None,
    )
    heartbeat.heard(31.0)
    assert heartbeat.silence_due_at(31.0) == inf


def test_without_limits_neither_ping_nor_pong_is_due() -> None:
    heartbeat, alarms = started(config=Config(ping_interval=None, pong_timeout=None))
    assert alarms.until == inf
    heartbeat.beat(30.0)
    assert (alarms[PING], alarms[PONG], heartbeat.ping_pending) == (inf, inf, True)


def test_nothing_is_due_at_once_where_the_clock_is_too_coarse() -> None:
    heartbeat, alarms = started(1e300)
    heartbeat.beat(1e300)
    assert alarms[PING] == alarms[PONG] == nextafter(1e300, inf)
    heartbeat.probe(1e300)
    assert heartbeat.probe_deadline == nextafter(1e300, inf)
    heartbeat.sent(1e300)
    assert heartbeat.probe_deadline == nextafter(1e300, inf)


# --- the silence ---


def test_silence_counts_from_the_later_of_last_message_and_sending() -> None:
    heartbeat, _ = started(1.0)
    assert heartbeat.silence_due_at(5.0) == 7.0
    heartbeat.heard(6.0)
    assert heartbeat.silence_due_at(5.0) == 8.0
    assert heartbeat.silence_due_at(6.0) == 8.0
    assert heartbeat.silence_due_at(6.5) == 8.5


def test_the_start_counts_as_a_message() -> None:
    heartbeat, _ = started(1.0)
    assert heartbeat.silence_due_at(0.5) == 3.0


def test_there_is_no_silence_without_an_unanswered_cancel() -> None:
    heartbeat, _ = started()
    assert heartbeat.silence_due_at(inf) == inf


def test_there_is_no_silence_without_a_limit() -> None:
    heartbeat, _ = started(config=Config(silence=None))
    assert heartbeat.silence_due_at(5.0) == inf


def test_a_silent_link_is_probed_once_and_has_its_time_from_sending() -> None:
    heartbeat, alarms = started()
    assert heartbeat.probe(7.0) is None
    assert heartbeat.ping_pending
    assert heartbeat.probe_deadline == heartbeat.silence_due_at(0.0) == 10.0, (
        "the ping could be sent at 7"
    )
    heartbeat.sent(9.0)
    assert heartbeat.probe_deadline == heartbeat.silence_due_at(0.0) == 12.0
    assert heartbeat.silence_due_at(inf) == 12.0, "also if the unanswered cancel has expired"
    assert alarms[PONG] == inf, "this ping has its own deadline"
    assert heartbeat.probe(12.0) is not None


def test_a_probe_sent_after_a_message_sets_no_deadline() -> None:
    heartbeat, _ = started()
    heartbeat.probe(2.0)
    heartbeat.heard(3.0)
    heartbeat.sent(3.5)
    assert heartbeat.probe_deadline is None
    assert heartbeat.probe(5.0) is None
    assert heartbeat.probe_deadline == 8.0


def test_without_a_pong_limit_a_silent_link_is_probed_and_kept() -> None:
    heartbeat, _ = started(config=Config(silence_pong=None))
    heartbeat.probe(2.0)
    heartbeat.sent(9.0)
    assert heartbeat.silence_due_at(0.0) == inf


def test_any_message_ends_the_silence_and_the_next_one_is_probed() -> None:
    heartbeat, _ = started()
    heartbeat.probe(2.0)
    heartbeat.sent(2.0)
    heartbeat.heard(4.0)
    assert heartbeat.probe_deadline is None
    assert heartbeat.silence_due_at(0.0) == 6.0
    assert heartbeat.probe(2.0) is None


def test_a_heartbeat_ping_sent_during_a_silence_is_a_probe() -> None:
    heartbeat, alarms = started()
    heartbeat.probe(2.0)
    heartbeat.beat(30.0)
    heartbeat.sent(30.5)
    assert heartbeat.probe_deadline == 33.5
    assert alarms[PONG] == 40.0


def test_a_heartbeat_ping_after_the_probe_does_not_extend_the_deadline() -> None:
    heartbeat, _ = started()
    heartbeat.probe(2.0)
    heartbeat.sent(29.0)
    heartbeat.beat(30.0)
    heartbeat.sent(30.0)
    assert heartbeat.probe_deadline == 32.0


def test_an_unsent_probe_gets_a_pong_deadline_at_the_next_heartbeat() -> None:
    heartbeat, alarms = started()
    heartbeat.probe(2.0)
    heartbeat.beat(30.0)
    assert alarms[PONG] == 40.0, "a stalled writer must be noticed"


def test_an_answered_pings_deadline_does_not_return_with_the_next() -> None:
    heartbeat, alarms = started()
    heartbeat.beat(30.0)
    heartbeat.sent(30.0)
    heartbeat.pong()
    heartbeat.probe(2.0)
    heartbeat.beat(60.0)
    assert alarms[PONG] == 70.0


@pytest.mark.parametrize("first", ["ask", "beat"])
def test_one_ping_serves_the_heartbeat_and_the_silence(first: str) -> None:
    heartbeat, _ = started()
    if first == "ask":
        heartbeat.probe(2.0)
        heartbeat.beat(30.0)
    else:
        heartbeat.beat(30.0)
        heartbeat.probe(2.0)
    heartbeat.sent(30.0)
    assert not heartbeat.ping_pending
