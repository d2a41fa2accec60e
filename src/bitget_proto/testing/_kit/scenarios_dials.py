"""Scenarios of the conformance kit for drivers of a session: dials, and links one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from ..._machine.session_config import Policy
from ..._values.events import Unresolved
from ..._wire.exchange_codec import encode_event
from .driver_checks import DriverError, Rule
from .harness import LOGGED_IN, Stage
from .scenario import HANGUP_LIMIT, QUIET, SESSION, SOON, TOO_LATE, Scenario
from .scenarios_links import GOING_AWAY, NEXT, SUCCESSOR, answered, refuse, works
from .websocket_peer import Gone, Peer, Silence

_KEY_REFUSED = encode_event("error", 30011, "Invalid ACCESS_KEY")

_DIALS = 20
"""How many dials a driver may need if it is slower than `dial_timeout`."""

_ENDS: Final[tuple[Callable[[Peer], None], ...]] = (
    Peer.end_of_stream,
    Peer.reset,
    lambda peer: peer.say_close(1001),
)

_GIVE_UP: Final = 0.4
"""Seconds after which a dial is given up."""


def _is_left(stage: Stage, peer: Peer, failure: str) -> None:
    """Wait until the driver has closed a socket.

    Raises: DriverError for `end` with the message `failure` when it does not.
    """
    peer.read_for(HANGUP_LIMIT + stage.patience)
    if not peer.gone:
        raise stage.missing(Rule.END, failure)


def _one_after_the_other(stage: Stage) -> None:
    stage.log_in()
    for number, end in enumerate(_ENDS):
        id = f"lost {number}"
        stage.cancel(id)
        stage.hear(id)
        end(stage.peer)
        stage.outcome_is(id, Unresolved, Rule.END, "a link ended, and lost was not called")
        stage.open_next_link(NEXT)
        works(stage, f"works {number}")


def _resent(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    stage.peer.reset()
    stage.open_next_link(NEXT)
    with stage.demands(Rule.DRAIN, "a cancel was to be resent on the next link, and never arrived"):
        stage.peer.read()
    answered(stage, stage.peer, "a", "an answer on the new link was not handed over")


def _failed_dials(stage: Stage) -> None:
    stage.thread.start()
    failure = "the driver did not open a WebSocket"
    with stage.demands(Rule.DIAL, failure):
        stage.peer.accept()
        refuse(stage.peer, "503 Service Unavailable")
    next_one = "a dial failed, and no WebSocket was opened for the next Dial"
    with stage.demands(Rule.DIAL, failure):
        stage.next_link(next_one).read_request()
    stage.peer.reset()
    stage.open_next_link(next_one)
    works(stage)


def _retry_after(stage: Stage) -> None:
    stage.thread.start()
    with stage.demands(Rule.DIAL, "the driver did not open a WebSocket"):
        stage.peer.accept()
        refuse(stage.peer, "429 Too Many Requests", "Retry-After: 30")
    stage.expect_closed(Rule.DIAL, "a dial was refused, and lost was not called")
    given = stage.link.retry_after
    if given is None or not 29 <= given <= 31:
        raise DriverError(
            Rule.DIAL,
            f"a dial was refused with Retry-After: 30, and lost got retry_after={given!r}",
        )


def _dial_in_progress(stage: Stage) -> None:
    stage.log_in()
    old = stage.peer
    stage.cancel("a")
    stage.hear("a")
    old.say(GOING_AWAY)
    new = stage.next_link(SUCCESSOR)
    held_up = "a dial in progress held up the old link"
    answered(stage, old, "a", held_up)
    stage.cancel("b", timeout=SOON)
    stage.outcome_is("b", Unresolved, Rule.OVERDUE, "no timer fired while a dial was in progress")
    stage.cancel("c")
    with stage.demands(Rule.DRAIN, held_up):
        while "c" not in stage.heard():
            old.read()
    answered(stage, old, "c", held_up)
    with stage.demands(Rule.DIAL, SUCCESSOR):
        new.upgrade()
    stage.accept_login()
    works(stage)


def _open_in_time(stage: Stage) -> None:
    """Open the next link. A dial that was given up, because the machine is busy, is repeated."""
    while not stage.link.ready:
        if len(stage.peers) > _DIALS:
            raise DriverError(Rule.DIAL, f"none of {_DIALS} dials was answered within dial_timeout")
        peer = stage.next_link("a dial was given up, and no WebSocket was opened for the next Dial")
        with suppress(Gone, Silence):
            peer.upgrade()
            peer.read()
            peer.say(LOGGED_IN)
        stage.expect(
            lambda: stage.link.ready or stage.link.closed is not None,
            Rule.READ,
            "the answer to the login was not handed over",
        )


def _given_up(stage: Stage) -> None:
    stage.thread.start()
    silent = stage.peer
    with stage.demands(Rule.DIAL, "the driver did not open a WebSocket"):
        silent.accept()
    stage.expect_closed(
        Rule.OVERDUE, "a dial was not answered within dial_timeout, and handle_timeout not called"
    )
    _open_in_time(stage)
    works(stage)
    _is_left(
        stage, silent, "LinkHangup was handed out for a dial, and its connection was not closed"
    )


def _late(stage: Stage) -> None:
    stage.thread.start()
    late = stage.peer
    with stage.demands(Rule.DIAL, "the driver did not open a WebSocket"):
        late.accept()
        request = late.read_request()
    with stage.held_up():
        stage.needs(stage.link.closed is None, TOO_LATE)
        late.answer(request)
        time.sleep(_GIVE_UP)
    stage.expect(
        lambda: stage.link.opened or stage.link.closed is not None,
        Rule.DIAL,
        "a dial was answered as it was given up, and neither opened nor handle_timeout was called",
    )
    if stage.link.closed is None:
        stage.accept_login()
    else:
        _open_in_time(stage)
        _is_left(
            stage, late, "LinkHangup was handed out for a dial, and its connection was not closed"
        )
    works(stage)


def _close_while_dialling(stage: Stage) -> None:
    stage.thread.start()
    with stage.demands(Rule.DIAL, "the driver did not open a WebSocket"):
        stage.peer.accept()
    stage.call(lambda session, now: session.close(now))
    stage.expect(
        lambda: stage.core.closed is not None,
        Rule.DRAIN,
        "close was called, and the drain did not reach Ended",
    )
    _is_left(
        stage, stage.peer, "LinkHangup was handed out for a dial, and its connection was not closed"
    )


def _abort(stage: Stage) -> None:
    stage.log_in()
    old = stage.peer
    stage.cancel("a")
    stage.expect_closed(
        Rule.OVERDUE, "no pong came within its time, and handle_timeout was not called"
    )
    _is_left(stage, old, "LinkHangup asked to abort a link, and its socket was not closed")
    stage.next_link(NEXT)


def _refused_for_good(stage: Stage) -> None:
    stage.open()
    with stage.demands(Rule.DRAIN, "opened was not followed by the login"):
        stage.peer.read()
    stage.peer.say(_KEY_REFUSED)
    stage.expect(
        lambda: stage.core.closed is not None,
        Rule.READ,
        "the refusal of the login was not handed over",
    )


DIALS: Final = (
    Scenario(
        name="links one after the other",
        rule=Rule.DIAL,
        tells="Links end by end of stream, reset and close frame: each is followed by another, which works.",
        play=_one_after_the_other,
    ),
    Scenario(
        name="resent on the next link",
        rule=Rule.END,
        tells="With Policy.RESEND, a link is reset while a cancel is in flight: it arrives on the next link.",
        play=_resent,
        session=attrs.evolve(SESSION, policy=Policy.RESEND),
    ),
    Scenario(
        name="failed dials",
        rule=Rule.DIAL,
        tells="A dial is refused with status 503 and the next is reset: lost is called once for each, and the third works.",
        play=_failed_dials,
    ),
    Scenario(
        name="retry after",
        rule=Rule.DIAL,
        tells="A dial is refused with status 429 and Retry-After: 30: lost gets the 30 s as retry_after.",
        play=_retry_after,
    ),
    Scenario(
        name="dial in progress",
        rule=Rule.READ,
        tells="A second link is being dialled, without an answer: on the first, frames, messages and timers go on.",
        play=_dial_in_progress,
    ),
    Scenario(
        name="dial given up",
        rule=Rule.END,
        tells="A dial is not answered within dial_timeout: its connection is closed, and the next Dial is obeyed.",
        play=_given_up,
        session=attrs.evolve(SESSION, dial_timeout=_GIVE_UP),
    ),
    Scenario(
        name="late link",
        rule=Rule.DIAL,
        tells="A dial is answered while the driver's thread is blocked past dial_timeout: it opens, or the next one does.",
        play=_late,
        session=attrs.evolve(SESSION, dial_timeout=_GIVE_UP),
        tolerates="one call of opened for the link that was given up",
    ),
    Scenario(
        name="close while dialling",
        rule=Rule.END,
        tells="The session is closed while a dial has no answer: the dial is abandoned, and run() returns.",
        play=_close_while_dialling,
    ),
    Scenario(
        name="link aborted",
        rule=Rule.END,
        tells="A ping is not answered, with a cancel in flight: the socket is aborted without a close frame.",
        play=_abort,
        config=attrs.evolve(QUIET, ping_interval=SOON, pong_timeout=SOON),
    ),
    Scenario(
        name="login refused for good",
        rule=Rule.END,
        tells="The exchange refuses the key of the login: the session ends, and run() returns.",
        play=_refused_for_good,
    ),
)
