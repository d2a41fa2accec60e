"""Scenarios of the conformance kit: messages have arrived, and a deadline is due, at the same time.

A message counts if it has arrived before its deadline is handled, however late the driver reads it.
Which of the two a loop handles first may depend on which it was given first, so gaps are played
in several situations.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Final

from ..._values.events import Accepted, Unresolved
from .driver_checks import BACKLOG, DriverError, Rule
from .harness import Stage
from .scenario import SOON, TOO_LATE, Scenario
from .scenarios_reading import PUSH

_ENDLESS = 10**9

_SLOW = 0.0002
"""Seconds per message of a flood, so that no driver reads faster than the flood arrives."""

_LONG = "x" * 100_000
"""More than fits into small socket buffers."""


def _take(stage: Stage, id: str, timeout: float) -> float:
    """Have a cancel taken that expires; return a time after its deadline."""
    stage.cancel(id, timeout=timeout)
    end = time.monotonic() + timeout
    stage.hear(id)
    return end


def _answer_in_a_gap(stage: Stage, id: str, end: float, gap: AbstractContextManager[None]) -> None:
    """Block the driver's thread until `end` while the answer arrives: it must count."""
    with gap:
        stage.needs(id not in stage.core.outcomes, TOO_LATE)
        stage.peer.say(stage.reply(id))
        time.sleep(max(SOON, end - time.monotonic()))
    stage.outcome_is(
        id,
        Accepted,
        Rule.ALTERNATE,
        "the answer had arrived before the driver read, and the timer fired first",
    )


def _gap(stage: Stage) -> None:
    stage.log_in()
    for id in ("a", "b", "c"):
        end = _take(stage, id, stage.longer(3 * SOON))
        _answer_in_a_gap(stage, id, end, stage.held_up())
        stage.cancel(f"{id} expires", timeout=SOON / 2)
        stage.outcome(
            f"{id} expires", Rule.OVERDUE, "a deadline passed after a gap, and no timer fired"
        )


def _gap_in_a_read(stage: Stage) -> None:
    stage.log_in()
    for id in ("a", "b"):
        end = _take(stage, id, stage.longer(3 * SOON))
        _answer_in_a_gap(stage, id, end, stage.held_up_in_receive(PUSH))


def _gap_after_a_stall(stage: Stage) -> None:
    stage.log_in()
    end = _take(stage, "a", stage.longer(8 * SOON))
    stage.call_soon(lambda connection, now: connection.send(_LONG, now))
    stage.expect(
        lambda: stage.core.handed_out[-1].text == _LONG,
        Rule.DRAIN,
        "a frame was not handed out",
    )
    time.sleep(SOON)
    with stage.demands(Rule.WRITE, "a write stalled, and its frame never arrived"):
        stage.peer.read()
    _answer_in_a_gap(stage, "a", end, stage.held_up())


def _flood(stage: Stage) -> None:
    stage.log_in()
    end, read = _take(stage, "a", stage.longer(SOON)), stage.link.handed_over
    stage.needs("a" not in stage.core.outcomes, TOO_LATE)
    at_deadline = 0

    def enough() -> bool:
        nonlocal at_deadline
        if time.monotonic() < end:
            at_deadline = len(read)
        return "a" in stage.core.outcomes or len(read) - at_deadline > BACKLOG

    stage.core.on_receive = lambda: time.sleep(_SLOW)
    with stage.demands(Rule.READ, "the driver stopped reading"):
        rest, before = b"", -1
        while not enough() and len(read) > before:  # as long as there is progress
            stage.peer.write(rest)
            before = len(read)
            rest = stage.peer.flood(PUSH, _ENDLESS, enough)
        stage.core.on_receive = None
        if "a" not in stage.core.outcomes and enough():
            late = len(read) - at_deadline
            raise DriverError(
                Rule.ALTERNATE, f"a flood of {late} messages kept the timers from firing"
            )
        stage.peer.write(rest)
    stage.expect_all_read("the rest of a flood was not read")
    stage.outcome("a", Rule.OVERDUE, "a deadline passed in a flood, and no timer fired")


def _ten_thousand(stage: Stage) -> None:
    stage.log_in()
    timeout = stage.longer(SOON)
    stage.cancel("a", timeout=timeout)
    stage.hear("a")
    before, push = len(stage.peer.said), '{"n":1}'
    with stage.demands(Rule.READ, "the driver stopped reading"):
        with stage.held_up():
            stage.needs("a" not in stage.core.outcomes, TOO_LATE)
            end = time.monotonic() + timeout + SOON
            rest = stage.peer.flood(push, 10_000, lambda: time.monotonic() > end)
            time.sleep(max(0.0, end - time.monotonic()))
        stage.peer.write(rest)
        stage.peer.write(
            stage.peer.flood(push, 10_000 - (len(stage.peer.said) - before), lambda: False)
        )
    stage.expect_all_read("some of 10,000 messages were not read")
    stage.outcome_is(
        "a",
        Unresolved,
        Rule.ALTERNATE,
        "10,000 messages kept a due deadline from firing",
    )


GAPS: Final = (
    Scenario(
        name="gap",
        rule=Rule.ALTERNATE,
        tells="Three times, the driver's thread is blocked past a deadline while the answer arrives: the answer counts.",
        play=_gap,
    ),
    Scenario(
        name="gap while a message is handled",
        rule=Rule.ALTERNATE,
        tells="The driver's thread is blocked in receive past a deadline while an answer arrives: the answer counts.",
        play=_gap_in_a_read,
    ),
    Scenario(
        name="gap after a write has stalled",
        rule=Rule.ALTERNATE,
        tells="A deadline is set, then a write stalls and ends, then the driver's thread is blocked: the answer counts.",
        play=_gap_after_a_stall,
        narrow=True,
    ),
    Scenario(
        name="flood",
        rule=Rule.ALTERNATE,
        tells="Messages arrive without end, as fast as they are read: a deadline fires among them.",
        play=_flood,
    ),
    Scenario(
        name="10,000 messages with a deadline due",
        rule=Rule.ALTERNATE,
        tells="The driver's thread is blocked past a deadline while messages pile up: it fires after at most 1,000 of them.",
        play=_ten_thousand,
    ),
)
