"""Scenarios of the conformance kit: what arrives, and in which order with the timers.

Rules of this file
- All that the peer said must be handed over, whole, once and in order: that is compared behind every scenario, not in each.
- What has arrived before the driver could look counts, however late it looks.
"""

from __future__ import annotations

import time
from typing import Final

from ..._values.events import Accepted, Unresolved
from ..framing import PING, TEXT, frame
from .harness import LOGGED_IN, Stage
from .scenario import SOON, Scenario
from .strict_connection import DriverError, Rule

_ENDLESS = 10**9

_SLOW = 0.0002
"""Seconds that the connection takes for a message in a flood, so that no driver is faster than the flood."""
_PUSH = '{"action":"snapshot","arg":{"channel":"orders"},"data":["' + "x" * 200 + '"]}'


def _login(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    stage.peer.say(stage.reply("a"))
    stage.outcome_is("a", Accepted, Rule.READ, "an answer was not handed over")


def _two_in_one(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", "b")
    stage.hear("a", "b")
    stage.peer.say(stage.reply("a"), stage.reply("b"))
    for id in ("a", "b"):
        stage.outcome_is(
            id, Accepted, Rule.READ, "of two answers that came in one read, one was not handed over"
        )


def _with_the_login(stage: Stage) -> None:
    stage.open()
    stage.cancel("a")
    with stage.demands(Rule.DRAIN, "opened was not followed by the login"):
        stage.peer.read()
    stage.peer.say("early", LOGGED_IN, "late")
    stage.hear("a")
    stage.peer.say(stage.reply("a"))
    stage.outcome_is("a", Accepted, Rule.READ, "an answer was not handed over")


def _text_and_bytes(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", "b")
    stage.hear("a", "b")
    stage.peer.say(stage.reply("a").encode(), "é…𝄞", b"\xff\x00", "", b"", stage.reply("b"))
    for id in ("a", "b"):
        stage.outcome_is(
            id,
            Accepted,
            Rule.READ,
            "an answer in a binary message, or one behind an empty message, was not handed over",
        )


def _fragments(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    stage.peer.say_in_fragments("é" * 10, 1, 2, 15)
    stage.peer.say_in_fragments(stage.reply("a"), 1, 20, between=frame(PING, b"are you there?"))
    stage.peer.say("y" * 60_000)
    stage.outcome_is("a", Accepted, Rule.READ, "an answer in several frames was not handed over")
    stage.expect(
        lambda: len(stage.connection.handed_over) == 4,
        Rule.READ,
        "a long message was not handed over",
    )


def _half_a_message(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", timeout=2 * SOON)
    stage.cancel("b")
    stage.hear("a", "b")
    whole = frame(TEXT, stage.reply("b").encode())
    stage.peer.write(whole[:30])
    stage.outcome_is(
        "a", Unresolved, Rule.OVERDUE, "the first half of a message kept the timers from firing"
    )
    stage.peer.said.append(stage.reply("b").encode())
    stage.peer.write(whole[30:])
    stage.outcome_is(
        "b", Accepted, Rule.READ, "a message that came in two halves was not handed over"
    )


def _nobody_listens(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    with stage.demands(
        Rule.READ, "2,000 messages that nobody takes from the driver kept it from reading on"
    ):
        stage.peer.write(stage.peer.flood(_PUSH, 2000, lambda: False))
        stage.peer.say(stage.reply("a"))
    stage.expect_all_read(
        "2,000 messages that nobody takes from the driver kept it from reading on"
    )
    stage.outcome_is("a", Accepted, Rule.READ, "an answer was not handed over")


def _gap(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", timeout=0.15)
    stage.hear("a")
    with stage.held_up():
        stage.peer.say(stage.reply("a"))
        time.sleep(0.2)
    stage.outcome_is(
        "a",
        Accepted,
        Rule.ALTERNATE,
        "the answer had arrived before the driver looked, and the timer went first",
    )


def _flood(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", timeout=SOON)
    stage.hear("a")
    stage.connection.takes = _SLOW
    with stage.demands(Rule.READ, "the driver stopped to read"):
        rest = stage.peer.flood(_PUSH, _ENDLESS, lambda: "a" in stage.connection.outcomes)
        stage.connection.takes = 0.0
        if "a" not in stage.connection.outcomes:
            read = len(stage.connection.handed_over)
            raise DriverError(
                Rule.ALTERNATE, f"a flood of {read} messages kept the timers from firing"
            )
        stage.peer.write(rest)
    stage.expect_all_read("the rest of a flood was not read")


def _ten_thousand(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", timeout=SOON)
    stage.hear("a")
    before, push = len(stage.peer.said), '{"n":1}'
    with stage.demands(Rule.READ, "the driver stopped to read"):
        with stage.held_up():
            end = time.monotonic() + 2 * SOON
            rest = stage.peer.flood(push, 10_000, lambda: time.monotonic() > end)
            time.sleep(max(0.0, end - time.monotonic()))
        stage.peer.write(rest)
        stage.peer.write(
            stage.peer.flood(push, 10_000 - (len(stage.peer.said) - before), lambda: False)
        )
    stage.expect_all_read("of 10,000 messages some were not read")
    stage.outcome_is(
        "a",
        Unresolved,
        Rule.ALTERNATE,
        "a deadline was due, and 10,000 messages kept it from firing",
    )


def _before_the_write(stage: Stage) -> None:
    stage.log_in()
    stage.connection.on_transmit = lambda _: stage.peer.say(stage.reply("a"))
    stage.cancel("a")
    stage.outcome_is(
        "a",
        Accepted,
        Rule.READ,
        "an answer that came before the write had returned was not handed over",
    )


def _answers_then_close(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", "b", "c", "d")
    stage.hear("a", "b", "c", "d")
    stage.peer.say_close(1001, "bye", [stage.reply(id) for id in ("a", "b", "c")])
    stage.shake_hands()
    for id in ("a", "b", "c"):
        stage.outcome_is(
            id,
            Accepted,
            Rule.READ,
            "an answer that came in one read with the close frame was not handed over",
        )
    stage.outcome_is("d", Unresolved, Rule.END, "a close frame was not followed by lost")


def _answers_then_end(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", "b", "c")
    stage.hear("a", "b", "c")
    with stage.held_up():
        stage.peer.say(stage.reply("a"), stage.reply("b"))
        stage.peer.end_of_stream()
    for id in ("a", "b"):
        stage.outcome_is(
            id,
            Accepted,
            Rule.READ,
            "an answer had arrived before the stream ended, and was not handed over",
        )
    stage.outcome_is(
        "c", Unresolved, Rule.END, "the stream ended without a close frame, and lost was not called"
    )


READING: Final = (
    Scenario(
        name="login and a cancel",
        rule=Rule.DRAIN,
        tells="The login is sent and answered, a cancel is sent and answered. Without this no other scenario is played.",
        play=_login,
    ),
    Scenario(
        name="two answers in one read",
        rule=Rule.READ,
        tells="Two answers arrive in one segment: both are handed over, without waiting for a third.",
        play=_two_in_one,
    ),
    Scenario(
        name="a cancel before the login",
        rule=Rule.DRAIN,
        tells="A cancel is taken before the login is answered, and the answer comes between two pushes: it leaves then.",
        play=_with_the_login,
    ),
    Scenario(
        name="text and bytes",
        rule=Rule.READ,
        tells="Answers in text and in binary messages, and what is no JSON, two empty messages among it: all are handed over.",
        play=_text_and_bytes,
    ),
    Scenario(
        name="fragments",
        rule=Rule.READ,
        tells="A message in fragments with a WebSocket ping between them, one cut inside a character, a long one: whole.",
        play=_fragments,
    ),
    Scenario(
        name="half a message",
        rule=Rule.OVERDUE,
        tells="The first half of a message arrives, then nothing: deadlines fire; then the rest, and it is handed over.",
        play=_half_a_message,
    ),
    Scenario(
        name="nobody listens",
        rule=Rule.READ,
        tells="2,000 pushes that nobody takes from the driver, then an answer: it is read.",
        play=_nobody_listens,
    ),
    Scenario(
        name="gap",
        rule=Rule.ALTERNATE,
        tells="The driver's thread is held up past a deadline while the answer arrives: the answer counts.",
        play=_gap,
    ),
    Scenario(
        name="flood",
        rule=Rule.ALTERNATE,
        tells="Messages arrive as fast as they are read, without end: a deadline fires among them.",
        play=_flood,
    ),
    Scenario(
        name="10,000 messages with a deadline due",
        rule=Rule.ALTERNATE,
        tells="The driver's thread is held up past a deadline while messages pile up: it fires after at most 1,000 of them.",
        play=_ten_thousand,
    ),
    Scenario(
        name="answer before the write returns",
        rule=Rule.READ,
        tells="The answer is there before the frame is written: it counts.",
        play=_before_the_write,
    ),
    Scenario(
        name="answer and end in one read",
        rule=Rule.READ,
        tells="Three answers and a close frame arrive in one segment: the answers are handed over, then the end.",
        play=_answers_then_close,
    ),
    Scenario(
        name="answers and end of stream",
        rule=Rule.READ,
        tells="The driver's thread is held up while answers arrive and the stream ends: the answers are handed over first.",
        play=_answers_then_end,
    ),
)
