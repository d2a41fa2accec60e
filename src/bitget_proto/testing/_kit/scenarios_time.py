"""Scenarios of the conformance kit: timers and the clock.

Deadlines are 10 to 120 ms. No scenario fails for lateness alone, since the machine may be busy: a
missing event is waited for as long as the run's `patience`.
"""

from __future__ import annotations

import time
from typing import Final

import attrs

from ..._values.events import Accepted, Unresolved
from .driver_checks import DriverError, Rule
from .harness import Core, Stage
from .scenario import QUIET, SOON, TOO_LATE, Scenario

_SPINS = 100
"""How often a driver may call `handle_timeout` with nothing due, as loops with a frame rate do."""


def _on_time(stage: Stage) -> None:
    stage.log_in()
    for id in ("a", "b", "c"):
        stage.cancel(id, timeout=SOON / 2)
        stage.outcome_is(
            id,
            Unresolved,
            Rule.OVERDUE,
            "the deadline passed, and handle_timeout was not called at or after it",
        )


def _already_past(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", timeout=0.01, sleep=SOON)
    stage.outcome_is(
        "a",
        Unresolved,
        Rule.OVERDUE,
        "a Wait named a time that had passed, and handle_timeout was not called",
    )


def _sooner(stage: Stage) -> None:
    stage.log_in()
    time.sleep(SOON)
    stage.cancel("a", timeout=SOON)
    stage.outcome_is(
        "a",
        Unresolved,
        Rule.REARM,
        "the timer was armed for the heartbeat, and not moved to the earlier deadline",
    )


def _answered_in_time(stage: Stage, id: str) -> float:
    """Have a cancel taken and answered before its deadline; return its timeout."""
    timeout = stage.longer(2 * SOON)
    stage.cancel(id, timeout=timeout)
    stage.hear(id)
    stage.peer.say(stage.reply(id))
    outcome = stage.outcome(id, Rule.READ, "an answer was not handed over")
    stage.needs(isinstance(outcome, Accepted), TOO_LATE)
    return timeout


def _later(stage: Stage) -> None:
    stage.log_in()
    timeout = _answered_in_time(stage, "a")
    stage.cancel("b", timeout=stage.patience + 5)
    stage.hear("b")
    time.sleep(2 * timeout)
    stage.peer.say(stage.reply("b"))
    stage.outcome_is(
        "b",
        Accepted,
        Rule.REARM,
        "a timer that had been armed for an earlier Wait ended a later cancel",
    )


def _nothing_due(stage: Stage) -> None:
    stage.log_in()
    timeout = _answered_in_time(stage, "a")
    time.sleep(2 * timeout)
    if stage.link.closed is not None or not stage.thread.running:
        raise stage.blame(Rule.REARM, "the timer fired although nothing was due")
    fired = sum(step.call == "handle_timeout" for step in stage.core.steps)
    if fired > _SPINS:
        raise DriverError(
            Rule.REARM, f"handle_timeout was called {fired} times although nothing was due"
        )
    stage.cancel("b")
    stage.hear("b")
    stage.peer.say(stage.reply("b"))
    stage.outcome_is(
        "b", Accepted, Rule.REARM, "after Wait(until=None) the driver did not continue"
    )


def _in_a_row(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("d", timeout=stage.patience + 30)
    for id, timeout in (("c", 3 * SOON), ("b", 2 * SOON), ("a", SOON)):
        stage.cancel(id, timeout=timeout)
    for id in ("a", "b", "c"):
        stage.outcome_is(
            id,
            Unresolved,
            Rule.REARM,
            "one of several deadlines, each earlier than the previous one, was missed",
        )


def _paced(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", "b", "c")
    stage.hear("a", "b")
    time.sleep(1.0)
    with stage.demands(
        Rule.OVERDUE,
        "the pace allowed the next frame after a second, and the driver did not poll for it",
    ):
        while "c" not in stage.heard():
            stage.peer.read()


def _heartbeat(stage: Stage) -> None:
    stage.log_in()
    with stage.demands(Rule.OVERDUE, "a ping was due again and again, and did not arrive"):
        for _ in range(4):
            stage.peer.read()
            stage.peer.say("pong")


def _no_pong(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.expect_closed(
        Rule.OVERDUE, "no pong came within its time, and handle_timeout was not called"
    )


def _login_unanswered(stage: Stage) -> None:
    stage.open()
    stage.expect_closed(
        Rule.OVERDUE,
        "the login was not answered within its time, and handle_timeout was not called",
    )


def _close_unanswered(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    stage.call(lambda connection, now: connection.close(now))
    stage.expect_closed(Rule.OVERDUE, "drain_timeout had passed, and handle_timeout was not called")


def _clock(stage: Stage) -> None:
    seen: list[tuple[float, float]] = []

    def look(_: Core, now: float) -> None:
        seen.append((now, time.monotonic()))

    stage.log_in()
    stage.call(look)
    time.sleep(_WATCHED)
    stage.call(look)
    if abs(seen[-1][0] - time.time()) < _ABOUT_NOW:
        raise DriverError(
            Rule.CLOCK,
            f"`now` was {seen[-1][0]:.3f}, the time of the wall clock, which runs backwards when it is set: use "
            "time.monotonic() or a clock like it",
        )
    theirs, ours = (late - early for early, late in zip(*seen, strict=True))
    if abs(theirs - ours) > _WATCHED / 2:
        raise DriverError(
            Rule.CLOCK, f"in {ours:.2f} s the driver's clock advanced by {theirs:.3g} s"
        )


_WATCHED: Final = 0.3
"""Seconds for which the driver's clock is observed."""

_ABOUT_NOW: Final = 3600.0
"""Seconds: a clock that differs less than this from the wall clock is taken for the wall clock."""

TIME: Final = (
    Scenario(
        name="deadline",
        rule=Rule.OVERDUE,
        tells="Three cancels in turn are not answered: each deadline fires, even if the loop wakes a tick early.",
        play=_on_time,
    ),
    Scenario(
        name="deadline already past",
        rule=Rule.OVERDUE,
        tells="A call takes so long that the deadline has passed before the drain: it fires anyway.",
        play=_already_past,
        tolerates="a drain with the time from before the call, which sends the frame",
    ),
    Scenario(
        name="wait moves sooner",
        rule=Rule.REARM,
        tells="The heartbeat is due in 30 s when a cancel with a short deadline is taken: the short deadline fires.",
        play=_sooner,
        config=attrs.evolve(QUIET, ping_interval=30.0),
    ),
    Scenario(
        name="wait moves later",
        rule=Rule.REARM,
        tells="A cancel is answered before its deadline, and the next has a long one: the old timer does not end it.",
        play=_later,
    ),
    Scenario(
        name="nothing is due",
        rule=Rule.REARM,
        tells="The only cancel is answered, and Wait.until is None: the driver waits, and takes the next cancel.",
        play=_nothing_due,
        tolerates=f"{_SPINS} calls of handle_timeout in 160 ms",
    ),
    Scenario(
        name="deadlines in a row",
        rule=Rule.REARM,
        tells="A far deadline, then three, each earlier than the previous one: the three fire.",
        play=_in_a_row,
    ),
    Scenario(
        name="pace",
        rule=Rule.OVERDUE,
        tells="There are more frames than the pace allows: the rest are sent when it allows them, a second later.",
        play=_paced,
        config=attrs.evolve(QUIET, messages_per_second=3),
    ),
    Scenario(
        name="heartbeat",
        rule=Rule.OVERDUE,
        tells="A ping is due every 30 ms: they keep arriving.",
        play=_heartbeat,
        config=attrs.evolve(QUIET, ping_interval=0.03),
    ),
    Scenario(
        name="no pong",
        rule=Rule.OVERDUE,
        tells="A ping is not answered: the connection ends and hangs up.",
        play=_no_pong,
        config=attrs.evolve(QUIET, ping_interval=SOON, pong_timeout=SOON),
    ),
    Scenario(
        name="login unanswered",
        rule=Rule.OVERDUE,
        tells="The login is not answered: the connection ends and hangs up.",
        play=_login_unanswered,
        config=attrs.evolve(QUIET, login_timeout=SOON),
    ),
    Scenario(
        name="close unanswered",
        rule=Rule.OVERDUE,
        tells="The connection is closed while a cancel is in flight that is never answered: drain_timeout ends it.",
        play=_close_unanswered,
        config=attrs.evolve(QUIET, drain_timeout=SOON),
    ),
    Scenario(
        name="clock",
        rule=Rule.CLOCK,
        tells="The driver's clock advances by one second per second, and is not the wall clock.",
        play=_clock,
        tolerates="an error of half of the observed 300 ms",
    ),
)
