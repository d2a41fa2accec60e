"""Scenarios of the conformance kit: reading.

That all messages of the peer are handed over, whole, once and in order, is checked after every
scenario (see `invariants`), not in each.
"""

from __future__ import annotations

from typing import Final

from ..._values.events import Accepted, Unresolved
from ..framing import PING, TEXT, frame
from .driver_checks import Rule
from .harness import LOGGED_IN, Stage
from .scenario import SOON, TOO_LATE, Scenario

PUSH = '{"action":"snapshot","arg":{"channel":"orders"},"data":["' + "x" * 200 + '"]}'


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
            id, Accepted, Rule.READ, "one of two answers that came in one read was not handed over"
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
            "an answer in a binary message, or after an empty message, was not handed over",
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
        lambda: len(stage.link.handed_over) == 4,
        Rule.READ,
        "a long message was not handed over",
    )


def _half_a_message(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", timeout=stage.longer(2 * SOON))
    stage.cancel("b")
    stage.hear("a", "b")
    whole = frame(TEXT, stage.reply("b").encode())
    stage.peer.write(whole[:30])
    in_time = "a" not in stage.core.outcomes
    stage.outcome_is(
        "a", Unresolved, Rule.OVERDUE, "the first part of a message kept the timers from firing"
    )
    stage.peer.said.append(stage.reply("b").encode())
    stage.peer.write(whole[30:])
    stage.outcome_is(
        "b", Accepted, Rule.READ, "a message that came in two parts was not handed over"
    )
    stage.needs(in_time, TOO_LATE)


def _unread_messages(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    with stage.demands(
        Rule.READ, "the driver stopped reading after 2,000 messages that its user did not take"
    ):
        stage.peer.write(stage.peer.flood(PUSH, 2000, lambda: False))
        stage.peer.say(stage.reply("a"))
    stage.expect_all_read(
        "the driver stopped reading after 2,000 messages that its user did not take"
    )
    stage.outcome_is("a", Accepted, Rule.READ, "an answer was not handed over")


def _pings(stage: Stage) -> None:
    stage.log_in()
    for data in (b"", b"are you there?"):
        stage.peer.write(frame(PING, data))
        with stage.demands(Rule.READ, "a WebSocket ping was not answered with a pong"):
            stage.peer.read_pong(data)
    stage.cancel("a")
    stage.hear("a")
    stage.peer.say(stage.reply("a"))
    stage.outcome_is("a", Accepted, Rule.READ, "an answer after a ping was not handed over")


def _before_the_write(stage: Stage) -> None:
    stage.log_in()
    stage.core.on_transmit = lambda _: stage.peer.say(stage.reply("a"))
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
            "an answer that had arrived before the stream ended was not handed over",
        )
    stage.outcome_is(
        "c", Unresolved, Rule.END, "the stream ended without a close frame, and lost was not called"
    )


READING: Final = (
    Scenario(
        name="login and a cancel",
        rule=Rule.DRAIN,
        tells="A login and a cancel are sent and answered. If this fails, no other scenario is played.",
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
        tells="A cancel is taken before the login is answered; the answer comes between two pushes: the cancel is sent then.",
        play=_with_the_login,
    ),
    Scenario(
        name="text and bytes",
        rule=Rule.READ,
        tells="Answers come as text and as binary, among messages that are empty or not JSON: all are handed over.",
        play=_text_and_bytes,
    ),
    Scenario(
        name="fragments",
        rule=Rule.READ,
        tells="Messages in fragments, with a ping between them or cut inside a character, and a long one: handed over whole.",
        play=_fragments,
    ),
    Scenario(
        name="WebSocket pings",
        rule=Rule.READ,
        tells="The exchange sends WebSocket pings: each is answered with a pong that has the same data.",
        play=_pings,
    ),
    Scenario(
        name="half a message",
        rule=Rule.OVERDUE,
        tells="The first part of a message arrives: deadlines fire. Then the rest arrives: the message is handed over.",
        play=_half_a_message,
    ),
    Scenario(
        name="events not read",
        rule=Rule.READ,
        tells="2,000 pushes that the user does not take from the driver arrive, then an answer: the answer is handed over.",
        play=_unread_messages,
    ),
    Scenario(
        name="answer before the write returns",
        rule=Rule.READ,
        tells="The answer arrives before the write of its cancel has returned: it counts.",
        play=_before_the_write,
    ),
    Scenario(
        name="answer and end in one read",
        rule=Rule.READ,
        tells="Three answers and a close frame arrive in one segment: the answers are handed over before lost.",
        play=_answers_then_close,
    ),
    Scenario(
        name="answers and end of stream",
        rule=Rule.READ,
        tells="The driver's thread is blocked while answers arrive and the stream ends: the answers are handed over first.",
        play=_answers_then_end,
    ),
)
