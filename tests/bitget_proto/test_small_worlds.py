"""Small worlds, exhaustively: every sequence of inputs to a `Connection` and to a `Session`, and faults that must be found.

Rules of this file
- A world has a small alphabet and limits of a few seconds, so that it closes: no new state appears. Several worlds, each of
  which covers a part, are better than one huge one.
- What is explored is counted. What no sequence reaches is said here.
- A planted fault is one line of the core that is wrong. It must be found, and for the reason that is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import attrs
import pytest
from pytest import MonkeyPatch

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    CodeClass,
    Config,
    Connection,
    Dial,
    Down,
    Ended,
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LoginRejected,
    Policy,
    Ready,
    Rejected,
    Session,
    SessionConfig,
    SessionState,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    Up,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto import _attempts as attempts_module
from bitget_proto import _connection as connection_module
from bitget_proto._attempts import Cancel
from bitget_proto._cancel_queue import CancelQueue, Rank
from bitget_proto._heartbeat import Heartbeat
from bitget_proto._pace import Pace
from bitget_proto._redial import Redial
from bitget_proto._request_ids import RequestIds
from bitget_proto._spacing import Spacing
from bitget_proto._timers import Deadlines, after

from .small_connections import ConnectionWorld
from .small_sessions import SessionWorld
from .small_worlds import Explored, Input, Violation, explore


def config(**limits: Any) -> Config:
    """Small whole numbers of seconds; what a world is not about is switched off."""
    small: dict[str, Any] = {
        "login_timeout": 2.0,
        "ping_interval": None,
        "pong_timeout": 2.0,
        "silence": None,
        "silence_pong": 1.0,
        "answer_timeout": 2.0,
        "queue_timeout": 3.0,
        "drain_timeout": 1.0,
        "messages_per_second": None,
        "pace_margin": None,
        "max_own_frames": 1,
    }
    return Config(**(small | limits))


def session_config(link: Config | None = None, **limits: Any) -> SessionConfig:
    small: dict[str, Any] = {
        "link": config() if link is None else link,
        "no_link_timeout": 2.0,
        "resend_interval": 1.0,
        "dial_timeout": 2.0,
        "dials_per_5_minutes": None,
        "backoff_min": 1.0,
        "backoff_max": 2.0,
        "steady_after": 1.0,
        "lifetime": None,
    }
    return SessionConfig(**(small | limits))


def answers(ids: str, *kinds: str) -> list[Input]:
    """Each kind of answer to each of these."""
    return [("answer", id, kind) for id in ids for kind in kinds]


def says(*texts: str, where: str = "") -> list[Input]:
    """Messages that name no cancel; from which link, of a session."""
    return [("say", where, text) if where else ("say", text) for text in texts]


CANCEL: Input = ("cancel",)
URGENT: Input = ("cancel", "urgent")
LOST: Input = ("lost",)
STALLS: list[Input] = [("stall",), ("written",), LOST, ("lost", "unsent")]
CLOSES: list[Input] = [("close", "drop"), ("close", "send")]
UP: list[Input] = [("opened",), ("say", "last", "login 0")]
LINK_LOST: Input = ("lost", "last")
LINKS_LOST: list[Input] = [("lost", "first"), LINK_LOST]
LINK_STALLS: list[Input] = [("stall",), ("written",), LINK_LOST, ("lost", "last", "unsent")]
GOING: Input = ("say", "first", "error 30033")
AT_ONCE = ("tick", "late")
"""A clock for worlds that are large enough: nothing comes between two timers, or after a gap and before them."""

CONNECTIONS = [
    ConnectionWorld(
        "answers",
        config(),
        (
            CANCEL, LOST, ("close", "drop"),
            *answers("abc", "accepted", "rejected", "finished", "unsure", "unlisted", "unreadable", "elsewhere"),
            *says("push", "garbage", "several", "nameless", "login 0", "error 30033", "error 30001"),
        ),
    ),
    ConnectionWorld(
        "a message a second", config(messages_per_second=1), (CANCEL, URGENT, ("withdraw", "b"), *answers("abc", "accepted"))
    ),
    ConnectionWorld(
        "two messages a second",
        config(messages_per_second=2, queue_timeout=2.0, id_prefix="", max_in_flight=3),
        (("cancel", "timeout"), ("many",), ("withdraw", "1"), *answers("123", "accepted"), *STALLS),
        ids=("1", "2", "3"),
    ),
    ConnectionWorld(
        "a budget",
        config(messages_per_second=2),
        (CANCEL, ("debit",), ("grant",), *says("error 30006"), *answers("a", "accepted")),
        ids=("a", "b"),
        per_second=1,
    ),
    ConnectionWorld("grants", config(), (CANCEL, ("grant",), LOST, *answers("ab", "accepted")), per_second=0),
    ConnectionWorld(
        "silence",
        config(silence=1.0, messages_per_second=1),
        (CANCEL, *answers("ab", "accepted"), *says("push", "pong"), *STALLS),
        ids=("a", "b"),
    ),
    ConnectionWorld(
        "heartbeat",
        config(silence=1.0, ping_interval=3.0),
        (CANCEL, *says("push", "pong"), *STALLS),
        ids=("a",),
    ),
    ConnectionWorld(
        "closing",
        config(messages_per_second=1),
        (CANCEL, URGENT, ("send",), ("withdraw", "b"), *answers("ab", "accepted"), *CLOSES),
        ids=("a", "b"),
    ),
    ConnectionWorld(
        "closing within a second",
        config(messages_per_second=1, silence=1.0),
        (CANCEL, *answers("ab", "accepted"), *CLOSES, *STALLS),
        ids=("a", "b"),
        within=1.0,
    ),
    ConnectionWorld(
        "thrown out",
        config(messages_per_second=1),
        (CANCEL, *answers("ab", "accepted", "unsure"), *says("error 30004", "error 30007"), *CLOSES, *STALLS),
        ids=("a", "b"),
    ),
    ConnectionWorld(
        "thrown out in a silence",
        config(silence=0.25),
        (CANCEL, ("send",), *answers("a", "accepted"), *says("error 30004"), *CLOSES, LOST),
        ids=("a",),
    ),
    ConnectionWorld(
        "login",
        config(messages_per_second=1, ping_interval=1.0, login_timeout=3.0),
        (
            ("open",), CANCEL, ("send",), ("close", "drop"), LOST, *answers("a", "accepted"),
            *says("login 0", "login 30005", "error 30005", "error 30006", "error 30007", "error 30033", "error 40015", "pong"),
        ),
        ids=("a",),
        begin=(),
    ),
    ConnectionWorld(
        "ids that are made",
        config(late_ids=1, max_in_flight=2, id_prefix="", messages_per_second=1),
        (
            CANCEL, ("cancel", "named"), ("again", "1"), ("again", "2"), ("send", "place 2"),
            *answers("123", "accepted", "unsure", "elsewhere"),
        ),
        ids=("1", "2", "3"),
    ),
    ConnectionWorld(
        "ids that are used again",
        config(late_ids=1, max_in_flight=2, queue_timeout=2.0),
        (CANCEL, ("again", "a"), ("again", "b"), *answers("abc", "accepted", "unsure")),
        reuse=True,
    ),
]  # fmt: skip

SESSIONS = [
    SessionWorld(
        "report",
        session_config(),
        (
            CANCEL, URGENT, ("withdraw", "a"), ("ghost",), *UP, LINK_LOST,
            *answers("ab", "accepted", "rejected", "unsure", "elsewhere"),
        ),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "report, stalled", session_config(), (CANCEL, *answers("a", "accepted"), *UP, *LINK_STALLS), clock=AT_ONCE
    ),
    SessionWorld(
        "resend",
        session_config(policy=Policy.RESEND),
        (
            CANCEL, ("cancel", "timeout"), ("withdraw", "a"), *UP, LINK_LOST,
            *answers("ab", "accepted", "rejected", "finished", "unsure"),
        ),
        clock=("tick", "pass"),
    ),
    SessionWorld(
        "resend, stalled",
        session_config(policy=Policy.RESEND),
        (CANCEL, *answers("a", "accepted", "rejected", "unsure"), *UP, *LINK_STALLS),
        ids=("a",),
    ),
    SessionWorld(
        "both policies, and closing",
        session_config(),
        (("cancel", "", "resend"), ("cancel", "", "report"), *answers("ab", "accepted"), *UP, LINK_LOST, *CLOSES),
        clock=AT_ONCE,
    ),
    SessionWorld("two links", session_config(), (CANCEL, *answers("ab", "accepted"), *UP, GOING, *LINKS_LOST)),
    SessionWorld(
        "two links, resend",
        session_config(policy=Policy.RESEND),
        (CANCEL, *answers("a", "accepted"), *UP, GOING, *says("login 30005", where="last"), *CLOSES, *LINKS_LOST),
        ids=("a",),
    ),
    SessionWorld(
        "rotation",
        session_config(lifetime=4.0, rotate_before=1.0),
        (CANCEL, *answers("a", "accepted"), *UP, ("no dial",), *LINKS_LOST),
        ids=("a",),
    ),
    SessionWorld(
        "refused logins",
        session_config(),
        (
            CANCEL, *UP, ("no dial",), ("no dial", "2"), LINK_LOST, *CLOSES,
            *says("login 30005", "error 30011", "error 30013", "error 40015", where="last"),
        ),
        ids=("a",),
        begin=(),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "thrown out",
        session_config(),
        (CANCEL, *UP, *says("error 30007", where="last"), *answers("a", "accepted", "unsure"), LINK_LOST),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "thrown out, resend",
        session_config(policy=Policy.RESEND),
        (CANCEL, *UP, *says("error 30004", where="last"), *answers("a", "accepted", "unsure"), LINK_LOST),
        ids=("a",),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "a message a second",
        session_config(config(messages_per_second=1)),
        (CANCEL, URGENT, *UP, *answers("ab", "accepted"), LINK_LOST, *says("error 30006", where="last")),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "own frames",
        session_config(config(messages_per_second=1)),
        (CANCEL, ("send",), *UP, *answers("a", "accepted"), GOING, *LINKS_LOST),
        ids=("a",),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "dials",
        session_config(dials_per_5_minutes=2, backoff_min=None),
        (*UP, ("no dial",), ("no dial", "2"), LINK_LOST),
        clock=AT_ONCE,
    ),
    SessionWorld(
        "an id that is used again",
        session_config(),
        (CANCEL, *UP, *answers("a", "accepted", "rejected", "unsure"), GOING, LINK_LOST),
        ids=("a",),
        reuse=True,
        clock=AT_ONCE,
    ),
    SessionWorld(
        "half open",
        session_config(config(silence=1.0), policy=Policy.RESEND),
        (CANCEL, *UP, *says("pong", where="last"), *answers("ab", "accepted"), ("stall",), ("written",)),
        clock=AT_ONCE,
    ),
]  # fmt: skip


def explored(worlds: Iterable[ConnectionWorld | SessionWorld]) -> tuple[Counter[Hashable], Explored]:
    """Every world to its end: what was visited, and how much that is."""
    visited: Counter[Hashable] = Counter()
    whole = Explored()
    for world in worlds:
        found: Explored = explore(world)
        print(world.name, found.states, found.steps, found.rechecked)
        assert found.states >= 100, f"{world.name} is smaller than it was meant to be"
        assert set(world.alphabet) <= found.given, f"{world.name}: {set(world.alphabet) - found.given} never happens"
        visited += found.visited
        whole.states += found.states
        whole.steps += found.steps
        whole.rechecked += found.rechecked
    return visited, whole


UNRESOLVED: set[Hashable] = {
    (Unresolved, sent, why)
    for sent in (True, False)
    for why in (WhyUnresolved.TIMEOUT, WhyUnresolved.LOST, WhyUnresolved.CLOSED)
} | {(Unresolved, True, WhyUnresolved.UNSURE), (Unresolved, False, WhyUnresolved.WITHDRAWN)}


def test_no_sequence_of_inputs_to_a_small_connection_breaks_the_promise() -> None:
    visited, whole = explored(CONNECTIONS)
    expected = UNRESOLVED | {*State, Accepted, Rejected, Transmit}
    expected |= {(Closed, why) for why in WhyClosed if why is not WhyClosed.INTERRUPTED}
    expected |= {(Hangup, abort) for abort in (True, False)}
    expected |= {(Unrecognised, why) for why in WhyUnrecognised}
    expected |= {(event, None) for event in (Ready, LoginRejected, LateReply, ExchangeError, GoingAway)}
    expected |= {
        (Wait, timer)
        for timer in (
            None, Timer.REQUEST, Timer.LOGIN, Timer.PONG, Timer.DRAIN, Timer.PING, Timer.SILENCE, Timer.PACING,
        )
    }  # fmt: skip
    assert not expected - set(visited), "some of it is never reached"
    assert whole.states > 10_000
    assert whole.rechecked > 500


def test_no_sequence_of_inputs_to_a_small_session_breaks_the_promise() -> None:
    visited, whole = explored(SESSIONS)
    expected = UNRESOLVED | {*SessionState}
    expected |= {(Unresolved, sent, WhyUnresolved.NO_LINK) for sent in (True, False)}
    expected |= {(Ended, why) for why in WhyEnded if why is not WhyEnded.INTERRUPTED}
    expected |= {(LinkClosed, why) for why in WhyClosed if why is not WhyClosed.INTERRUPTED}
    expected |= {(Down, why) for why in (WhyClosed.LOST, WhyClosed.NO_PONG, WhyClosed.THROWN_OUT)}
    expected |= {(kind, count) for kind in (Accepted, Rejected, Unresolved) for count in (1, 2)}
    expected |= {
        (event, None)
        for event in (Dial, LinkTransmit, LinkHangup, Up, LoginRejected, LateReply, ExchangeError, GoingAway)
    }
    expected |= {
        (Wait, timer)
        for timer in (
            None, Timer.REQUEST, Timer.LOGIN, Timer.DRAIN, Timer.SILENCE, Timer.PACING, Timer.DIAL, Timer.DIALLED,
            Timer.NO_LINK, Timer.SPACING, Timer.ROTATION,
        )
    }  # fmt: skip
    assert not expected - set(visited), "some of it is never reached"
    assert whole.states > 10_000
    assert whole.rechecked > 300
