"""Scenarios of the conformance kit: the ways a connection ends, and calls from other threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import attrs

from ..._values.events import Accepted, Unresolved
from ..._values.states import WhyClosed
from ..._wire.exchange_codec import encode_event, encode_reply
from ..framing import TEXT, frame
from .driver_checks import DriverError, Rule
from .harness import Core, Stage
from .scenario import HANGUP_LIMIT, QUIET, SOON, Scenario


def _in_flight(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a", "b")
    stage.hear("a", "b")


def _lost(stage: Stage, how: str) -> None:
    stage.outcome_is("a", Unresolved, Rule.END, f"{how}, and lost was not called")
    stage.expect_closed(Rule.END, f"{how}, and lost was not called")


def _end_of_stream(stage: Stage) -> None:
    _in_flight(stage)
    stage.peer.end_of_stream()
    _lost(stage, "the stream ended without a close frame")


def _end_in_a_message(stage: Stage) -> None:
    _in_flight(stage)
    stage.peer.write(frame(TEXT, stage.reply("a").encode())[:-5])
    stage.peer.end_of_stream()
    _lost(stage, "the stream ended in the middle of a message")


def _close_frame(stage: Stage) -> None:
    _in_flight(stage)
    stage.peer.say_close(1001, "going away")
    stage.shake_hands()
    _lost(stage, "a close frame came")


def _bare_close_frame(stage: Stage) -> None:
    _in_flight(stage)
    stage.peer.say_close(None)
    stage.shake_hands()
    _lost(stage, "a close frame without a code came")


def _hangup(stage: Stage) -> None:
    stage.log_in()
    stage.call(lambda connection, now: connection.close(now))
    stage.expect_closed(Rule.DRAIN, "close was called, and the drain did not reach Closed")
    with stage.demands(Rule.END, "Hangup was handed out, and no close frame came"):
        stage.peer.read_close()


def _unanswered_hangup(stage: Stage) -> None:
    stage.log_in()
    stage.call(lambda connection, now: connection.close(now))
    stage.expect_closed(Rule.DRAIN, "close was called, and the drain did not reach Closed")
    if not stage.thread.returned(HANGUP_LIMIT + stage.patience):
        raise DriverError(
            Rule.END,
            "the exchange did not answer the close frame, and run() went on waiting for the answer",
        )


def _messages_after_the_end(stage: Stage) -> None:
    stage.open()
    with stage.demands(Rule.DRAIN, "opened was not followed by the login"):
        stage.peer.read()
    refusal = encode_event("error", 30005, "login failed")
    stage.peer.say(refusal, encode_event("login", 0, ""), "pong")
    stage.expect_closed(Rule.READ, "the refusal of the login was not handed over")


def _close_answered(stage: Stage) -> None:
    _in_flight(stage)
    stage.call(lambda connection, now: connection.close(now))
    stage.peer.say(stage.reply("a"), stage.reply("b"))
    for id in ("a", "b"):
        stage.outcome_is(
            id,
            Accepted,
            Rule.READ,
            "an answer that came while the connection was closing was not handed over",
        )
    stage.expect_closed(Rule.DRAIN, "the last answer came, and the drain did not reach Closed")


def _close_twice(stage: Stage) -> None:
    _in_flight(stage)
    for _ in range(2):
        stage.call(lambda connection, now: connection.close(now))
    stage.outcome_is(
        "a",
        Unresolved,
        Rule.DRAIN,
        "close was called twice, and the drain did not return the outcomes",
    )
    stage.expect_closed(Rule.DRAIN, "close was called twice, and the drain did not reach Closed")


def _login_refused(stage: Stage) -> None:
    stage.open()
    with stage.demands(Rule.DRAIN, "opened was not followed by the login"):
        stage.peer.read()
    stage.peer.say(encode_event("error", 30005, "login failed"))
    stage.expect_closed(Rule.READ, "the refusal of the login was not handed over")


def _connection_refused(stage: Stage) -> None:
    stage.peer.stop_listening()
    stage.thread.start()
    _dial_failed(stage, "the TCP connection was refused")


def _upgrade_refused(stage: Stage) -> None:
    stage.thread.start()
    with stage.demands(Rule.END, "the driver did not request a WebSocket"):
        stage.peer.accept()
        stage.peer.read_request()
        stage.peer.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    stage.peer.end_of_stream()
    _dial_failed(stage, "the upgrade was refused")


def _dial_failed(stage: Stage, how: str) -> None:
    closed = stage.expect_closed(Rule.END, f"{how}, and lost was not called")
    if any(step.call == "opened" for step in stage.core.steps):
        raise DriverError(Rule.END, f"{how}, and opened was called")
    if closed.why is not WhyClosed.LOST:
        raise DriverError(Rule.END, f"{how}, and the connection did not end as lost")


def _many_threads(stage: Stage) -> None:
    stage.log_in()
    ids = [f"n{number}" for number in range(20)]

    def one(id: str) -> Callable[[Core, float], object]:
        order = stage.order(id)
        return lambda connection, now: connection.cancel(order, now, id)

    with stage.held_up():
        calls = [stage.call_soon(one(id)) for id in ids]
        time.sleep(SOON)
    for done in calls:
        if not done.wait(stage.patience):
            raise stage.blame(
                Rule.CALLER, "twenty threads called at once, and one call(fn) did not run fn"
            )
    stage.hear(*ids)
    stage.peer.say(*(stage.reply(id) for id in ids))
    for id in ids:
        stage.outcome_is(
            id,
            Accepted,
            Rule.CALLER,
            "one of the cancels from twenty threads at once has no answer",
        )


def _abandoned(stage: Stage) -> None:
    stage.log_in()
    order = stage.order("abandoned")
    id = stage.abandon(order)
    barrier = stage.call_soon(lambda _, __: None)
    if not barrier.wait(stage.patience) or not stage.thread.running or not stage.core.is_up:
        raise stage.blame(Rule.ABANDON, "a wait was cancelled, and the connection ended with it")
    stage.cancel("a")
    stage.hear("a")
    stage.peer.say(encode_reply(order, id), stage.reply("a"))
    stage.outcome_is(
        id,
        Accepted,
        Rule.ABANDON,
        "a wait was cancelled, and its cancel has no outcome",
    )
    stage.outcome_is(
        "a",
        Accepted,
        Rule.ABANDON,
        "a wait was cancelled, and another cancel has no outcome",
    )


END: Final = (
    Scenario(
        name="end of stream",
        rule=Rule.END,
        tells="The stream ends without a close frame, with cancels in flight: one call of lost, and an outcome for each.",
        play=_end_of_stream,
    ),
    Scenario(
        name="end in the middle of a message",
        rule=Rule.END,
        tells="The stream ends in the middle of a message: lost is called once, and the incomplete message is not handed over.",
        play=_end_in_a_message,
    ),
    Scenario(
        name="close frame",
        rule=Rule.END,
        tells="The exchange closes with code 1001, with cancels in flight: its frame is answered, and lost called once.",
        play=_close_frame,
    ),
    Scenario(
        name="close frame without a code",
        rule=Rule.END,
        tells="The exchange's close frame is empty, as RFC 6455 allows: it is answered, and lost is called once.",
        play=_bare_close_frame,
    ),
    Scenario(
        name="hangup",
        rule=Rule.END,
        tells="The connection is closed with nothing in flight: a close frame with the code of Hangup arrives.",
        play=_hangup,
    ),
    Scenario(
        name="hangup at a deaf exchange",
        rule=Rule.END,
        tells="The exchange neither answers the close frame nor closes the socket: run() returns anyway.",
        play=_unanswered_hangup,
        tolerates=f"waiting {HANGUP_LIMIT:g} s for an answer",
    ),
    Scenario(
        name="nothing after the end",
        rule=Rule.END,
        tells="The refusal of the login arrives with more messages after it: those are not handed over.",
        play=_messages_after_the_end,
        tolerates="one call of lost after Closed",
    ),
    Scenario(
        name="close while cancels are in flight",
        rule=Rule.DRAIN,
        tells="The connection is closed, and the answers come within drain_timeout: each counts, then the connection ends.",
        play=_close_answered,
    ),
    Scenario(
        name="close twice",
        rule=Rule.DRAIN,
        tells="The connection is closed twice while cancels are in flight: it ends at once.",
        play=_close_twice,
    ),
    Scenario(
        name="login refused",
        rule=Rule.READ,
        tells="The exchange refuses the login: the connection ends and hangs up.",
        play=_login_refused,
    ),
    Scenario(
        name="connection refused",
        rule=Rule.END,
        tells="The TCP connection is refused: lost is called once, and run() returns.",
        play=_connection_refused,
    ),
    Scenario(
        name="upgrade refused",
        rule=Rule.END,
        tells="The upgrade is refused with status 503: lost is called once, and run() returns.",
        play=_upgrade_refused,
    ),
    Scenario(
        name="calls from many threads",
        rule=Rule.CALLER,
        tells="Twenty threads call while the driver is blocked: one thread calls the connection, and every cancel is answered.",
        play=_many_threads,
    ),
    Scenario(
        name="abandoned wait",
        rule=Rule.ABANDON,
        tells="A wait for an outcome is cancelled as soon as it has begun: the outcome still arrives.",
        play=_abandoned,
        config=attrs.evolve(QUIET, id_prefix="made-"),
        tolerates="a driver without abandon(order): the scenario is not played",
    ),
)
