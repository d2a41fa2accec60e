"""Tests of `DeadManSwitch`: when it renews, what it says about bad answers, and how it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from bitget_proto import (
    Armed,
    CodeClass,
    DeadManSwitch,
    DeadManSwitchOutput,
    Dialect,
    Lapsed,
    LocalProtocolError,
    NotRenewed,
    RestRequest,
    SetCountdown,
    Stopped,
    Timer,
    ValidationError,
    Wait,
    WhyNotRenewed,
)

DIALECT = Dialect.UNIFIED
OK = b'{"code":"00000","msg":"success","requestTime":1,"data":null}'


def refusal(code: str) -> str:
    return json.dumps({"code": code, "msg": "no", "requestTime": 1, "data": None})


def drain(switch: DeadManSwitch, now: float) -> list[DeadManSwitchOutput]:
    """Return everything up to the `Wait`, and the `Wait`."""
    given = [switch.poll(now)]
    while not isinstance(given[-1], Wait):
        given.append(switch.poll(now))
        assert len(given) < 10, "poll never returns a Wait"
    return given


def sent(switch: DeadManSwitch, now: float) -> SetCountdown:
    """Return the one output, which must be a request."""
    request, wait = drain(switch, now)
    assert isinstance(request, SetCountdown)
    assert isinstance(wait, Wait)
    return request


def armed(countdown: int = 30, now: float = 0.0, took: float = 0.5) -> DeadManSwitch:
    """Return a switch that was armed at `now`."""
    switch = DeadManSwitch(countdown)
    request = sent(switch, now)
    switch.replied(request.number, 200, OK, now + took)
    assert drain(switch, now + took)[:-1] == [Armed(until=now + countdown)]
    return switch


def test_the_first_request_is_sent_at_once() -> None:
    switch = DeadManSwitch(40)
    assert drain(switch, 7.0) == [
        SetCountdown(
            number=1,
            seconds=40,
            request=RestRequest(
                method="POST",
                path="/api/v3/trade/countdown-cancel-all",
                body='{"countdown":"40"}',
            ),
            timeout=5.0,
        ),
        Wait(12.0, Timer.COUNTDOWN),
    ]
    assert switch.armed_until is None


def test_it_is_armed_from_the_question_and_renewed_after_5_seconds() -> None:
    switch = armed(30, 10.0, took=2.0)
    assert switch.armed_until == 40.0
    assert drain(switch, 14.999) == [Wait(15.0, Timer.COUNTDOWN)]
    request = sent(switch, 15.0)
    switch.replied(request.number, 200, OK, 15.1)
    assert switch.armed_until == 45.0
    assert drain(switch, 15.1) == [Wait(20.0, Timer.COUNTDOWN)]


def test_a_short_countdown_is_renewed_three_times() -> None:
    switch = armed(5)
    assert drain(switch, 0.5) == [Wait(5 / 3, Timer.COUNTDOWN)]
    assert sent(switch, 5 / 3).timeout == 5 / 3


def test_a_late_renewal_is_reported_and_repeated() -> None:
    switch = armed(30)
    sent(switch, 5.0)
    assert drain(switch, 9.9) == [Wait(10.0, Timer.COUNTDOWN)]
    late, again, _ = drain(switch, 10.0)
    assert late == NotRenewed(why=WhyNotRenewed.LATE, detail="no answer within 5.0 s", until=30.0)
    assert isinstance(again, SetCountdown)
    switch.replied(again.number, 200, OK, 10.1)
    assert switch.armed_until == 40.0


def test_an_answer_that_comes_late_still_counts() -> None:
    switch = armed(30)
    first = sent(switch, 5.0)
    _, second, _ = drain(switch, 10.0)
    switch.replied(first.number, 200, OK, 11.0)
    assert switch.armed_until == 35.0
    assert isinstance(second, SetCountdown)
    switch.replied(second.number, 200, OK, 12.0)
    assert switch.armed_until == 40.0
    # A second answer, or an older one, changes nothing.
    switch.replied(second.number, 200, OK, 12.0)
    assert switch.armed_until == 40.0


def test_an_older_answer_does_not_shorten_what_is_known() -> None:
    switch = armed(30)
    first = sent(switch, 5.0)
    _, second, _ = drain(switch, 10.0)
    assert isinstance(second, SetCountdown)
    switch.replied(second.number, 200, OK, 10.5)
    switch.replied(first.number, 200, OK, 11.0)
    assert switch.armed_until == 40.0


@pytest.mark.parametrize(
    ("status", "body", "why", "code", "again_at"),
    [
        (400, refusal("25008"), WhyNotRenewed.REFUSED, "25008", 10.0),
        (429, refusal("429"), WhyNotRenewed.REFUSED, "429", 6.05),
        (429, b"slow down", WhyNotRenewed.UNREADABLE, None, 6.05),
        (500, refusal("40010"), WhyNotRenewed.UNREADABLE, "40010", 6.05),
        (200, refusal("x"), WhyNotRenewed.UNREADABLE, None, 6.05),
        (200, b"", WhyNotRenewed.UNREADABLE, None, 6.05),
        (503, b"<html>", WhyNotRenewed.UNREADABLE, None, 6.05),
    ],
)
def test_a_bad_answer_is_reported_and_the_request_repeated(
    status: int, body: Any, why: WhyNotRenewed, code: str | None, again_at: float
) -> None:
    switch = armed(30)
    request = sent(switch, 5.0)
    switch.replied(request.number, status, body, 5.2)
    failed, wait = drain(switch, 5.2)
    assert isinstance(failed, NotRenewed)
    assert (failed.why, failed.code, failed.until) == (why, code, 30.0)
    assert failed.code_class is CodeClass.of(code, DIALECT)
    assert wait == Wait(again_at, Timer.COUNTDOWN)
    sent(switch, again_at)


def test_a_request_that_failed_is_repeated_after_a_second() -> None:
    switch = armed(30)
    request = sent(switch, 5.0)
    switch.failed(request.number, "refused", 5.1, unsent=True)
    assert drain(switch, 5.1) == [
        NotRenewed(why=WhyNotRenewed.FAILED, detail="refused", until=30.0),
        Wait(6.05, Timer.COUNTDOWN),
    ]


def test_a_switch_that_may_have_fired_has_lapsed_and_is_armed_again() -> None:
    switch = armed(5)
    now = 5 / 3
    while now < 5.0:
        for output in drain(switch, now):
            if isinstance(output, SetCountdown):
                switch.failed(output.number, "down", now)
        until = drain(switch, now)[-1]
        assert isinstance(until, Wait)
        assert until.until is not None
        now = until.until
    assert now == 5.0
    assert switch.armed_until == 5.0
    assert drain(switch, now)[0] == Lapsed(at=5.0)
    assert switch.armed_until is None
    request = sent(switch, 7.0)
    switch.replied(request.number, 200, OK, 7.1)
    assert drain(switch, 7.1)[0] == Armed(until=12.0)


def test_a_process_that_has_slept_says_so() -> None:
    switch = armed(30)
    lapsed, request, _ = drain(switch, 3600.0)
    assert lapsed == Lapsed(at=30.0)
    assert isinstance(request, SetCountdown)


def test_an_answer_after_the_countdown_it_began_arms_nothing() -> None:
    switch = DeadManSwitch(5)
    first = sent(switch, 0.0)
    switch.replied(first.number, 200, OK, 5.0)
    assert switch.armed_until is None
    assert isinstance(drain(switch, 5.0)[0], SetCountdown)


# --- the stop ---


def test_stopping_turns_the_countdown_off() -> None:
    switch = armed(30)
    switch.stop(0.6)
    assert drain(switch, 0.6) == [Wait(1.05, Timer.COUNTDOWN)]
    request = sent(switch, 1.05)
    assert (request.seconds, request.request.body) == (0, '{"countdown":"0"}')
    switch.stop(1.1)
    switch.replied(request.number, 200, OK, 1.2)
    assert drain(switch, 1.2) == [Stopped(disarmed=True, detail=""), Wait(None, None)]
    assert switch.armed_until is None
    switch.stop(1.3)
    switch.replied(request.number, 200, OK, 1.3)
    switch.failed(request.number, "", 1.3)
    assert drain(switch, 1.3) == [Wait(None, None)]


def test_stopping_may_leave_the_countdown_on() -> None:
    switch = armed(30)
    switch.stop(1.0, disarm=False)
    assert drain(switch, 1.0) == [Stopped(disarmed=False, detail=""), Wait(None, None)]


def test_a_renewal_that_is_out_is_waited_for_so_that_it_cannot_overtake_the_stop() -> None:
    switch = armed(30)
    request = sent(switch, 5.0)
    switch.stop(5.1)
    assert drain(switch, 8.0) == [Wait(10.0, Timer.COUNTDOWN)]
    switch.replied(request.number, 200, OK, 8.0)
    assert sent(switch, 8.0).seconds == 0


def test_what_was_never_armed_needs_no_stop() -> None:
    switch = DeadManSwitch()
    switch.stop(0.0)
    assert drain(switch, 0.0) == [Stopped(disarmed=True, detail=""), Wait(None, None)]
    switch = DeadManSwitch()
    switch.replied(sent(switch, 0.0).number, 400, refusal("25008"), 0.1)
    switch.stop(0.2)
    assert drain(switch, 0.2)[1:] == [Stopped(disarmed=True, detail=""), Wait(None, None)]


def test_a_stop_that_cannot_be_sent_ends_once_nothing_can_be_on() -> None:
    switch = DeadManSwitch()
    first = sent(switch, 0.0)
    switch.stop(0.1)
    _, request, _ = drain(switch, 5.0)
    assert isinstance(request, SetCountdown)
    assert request.seconds == 0
    switch.failed(first.number, "no route", 5.1, unsent=True)
    assert drain(switch, 5.1) == [Stopped(disarmed=True, detail=""), Wait(None, None)]


def test_a_renewal_without_an_answer_may_still_be_done_after_the_stop() -> None:
    switch = armed(30)
    switch.failed(sent(switch, 5.0).number, "reset", 5.5)
    switch.stop(5.6)
    failed, _ = drain(switch, 5.6)
    assert isinstance(failed, NotRenewed)
    request = sent(switch, 6.05)
    switch.replied(request.number, 200, OK, 6.5)
    stopped, _ = drain(switch, 6.5)
    assert stopped == Stopped(
        disarmed=False, detail="a request sent 1.5 s ago has no answer, and may still be done"
    )


def test_a_stop_whose_first_answer_was_lost_has_turned_it_off() -> None:
    switch = armed(30)
    switch.stop(1.1)
    first = sent(switch, 1.1)
    switch.failed(first.number, "reset", 1.2)
    failed, _ = drain(switch, 1.2)
    assert isinstance(failed, NotRenewed)
    second = sent(switch, 6.2)
    assert second.seconds == 0
    switch.replied(second.number, 200, OK, 6.3)
    assert drain(switch, 6.3)[0] == Stopped(disarmed=True, detail="")


def test_once_it_may_be_off_it_is_not_said_to_be_armed() -> None:
    switch = armed(30)
    late = sent(switch, 5.0)
    switch.stop(6.0)
    failed, request, _ = drain(switch, 10.0)
    assert isinstance(failed, NotRenewed)
    assert isinstance(request, SetCountdown)
    assert request.seconds == 0
    assert switch.armed_until is None
    switch.replied(late.number, 200, OK, 10.5)
    assert switch.armed_until is None
    switch.replied(request.number, 200, OK, 11.0)
    assert drain(switch, 11.0)[0] == Stopped(disarmed=True, detail="")


def test_a_signature_that_has_expired_can_do_no_more() -> None:
    switch = armed(60)
    switch.failed(sent(switch, 5.0).number, "reset", 5.5)
    drain(switch, 5.5)
    switch.replied(sent(switch, 10.0).number, 200, OK, 10.1)
    switch.stop(36.0)
    switch.replied(sent(switch, 36.0).number, 200, OK, 36.1)
    assert drain(switch, 36.1)[0] == Stopped(disarmed=True, detail="")


def test_a_stop_without_an_answer_ends_after_ten_seconds_and_says_why() -> None:
    switch = armed(60)
    switch.stop(5.0)
    now, outputs = 5.0, list[DeadManSwitchOutput]()
    while not any(isinstance(output, Stopped) for output in outputs):
        for output in drain(switch, now):
            outputs.append(output)
            if isinstance(output, SetCountdown):
                assert output.seconds == 0
            elif isinstance(output, Wait) and output.until is not None:
                now = output.until
    assert now == 15.0
    assert Stopped(disarmed=False, detail="no answer within 5.0 s") in outputs


# --- misuse ---


@pytest.mark.parametrize("wrong", [4, 61, 0, 30.0, True, "30", None])
def test_a_countdown_is_5_to_60_whole_seconds(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="from 5 to 60"):
        DeadManSwitch(wrong)


def test_misuse_raises_and_changes_nothing() -> None:
    switch = DeadManSwitch()
    number = sent(switch, 1.0).number
    wrong: Any
    for wrong in (0, 2, "1", True):
        with pytest.raises(LocalProtocolError, match="must be that of a SetCountdown"):
            switch.replied(wrong, 200, OK, 1.0)
        with pytest.raises(LocalProtocolError, match="must be that of a SetCountdown"):
            switch.failed(wrong, "", 1.0)
    calls: tuple[Callable[[float], object], ...] = (
        lambda now: switch.replied(number, 200, OK, now),
        lambda now: switch.failed(number, "", now),
        switch.stop,
        switch.poll,
    )
    for wrong in (nan, inf, "1"):
        for call in calls:
            with pytest.raises(LocalProtocolError, match="now must be"):
                call(wrong)
    wrong = 7
    with pytest.raises(ValidationError, match="reason"):
        switch.failed(number, wrong, 1.0)
    with pytest.raises(ValidationError):
        switch.replied(number, 200, wrong, 1.0)
    switch.replied(number, 200, OK, 0.0)
    assert switch.armed_until == 31.0


def test_its_repr_says_whether_it_is_armed() -> None:
    switch = DeadManSwitch(20)
    assert repr(switch) == "<DeadManSwitch not armed, 20 s>"
    assert repr(armed(20)) == "<DeadManSwitch armed, 20 s>"
    switch.stop(0.0, disarm=False)
    assert repr(switch) == "<DeadManSwitch stopped, 20 s>"
