"""Scenarios of the conformance kit for drivers of a session: two links at once.

The scenarios of a connection are played with each link as well, so these are about what a single
link cannot show. Which frame belongs to which link is checked after every scenario (see
`invariants`).
"""

from __future__ import annotations

import time
from typing import Final

from ..._values.events import Accepted, Unresolved
from ..._wire.exchange_codec import encode_event
from .driver_checks import Rule
from .harness import LOGGED_IN, Stage
from .scenario import SOON, TOO_LATE, Scenario
from .scenarios_reading import PUSH
from .websocket_peer import Peer

GOING_AWAY = encode_event("error", 30033, "Service upgrade in progress.")

_BIG = "x" * 1_000_000
"""More than fits into the socket buffers, if the system allows small ones."""

NEXT = "a link ended, and no WebSocket was opened for the next Dial"
SUCCESSOR = "the exchange announced its end, and no WebSocket was opened for the next Dial"


def refuse(peer: Peer, status: str, *headers: str) -> None:
    """Answer the upgrade request with an HTTP error, and end the stream."""
    peer.read_request()
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers, "", ""]
    peer.write("\r\n".join(lines).encode())
    peer.end_of_stream()


def _move(stage: Stage, *ids: str) -> tuple[Peer, Peer]:
    """Open a link, cancel orders on it, and open a second link; return both peers."""
    stage.log_in()
    old = stage.peer
    stage.cancel(*ids)
    stage.hear(*ids)
    old.say(GOING_AWAY)
    return old, stage.open_next_link(SUCCESSOR)


def answered(stage: Stage, peer: Peer, id: str, failure: str, rule: Rule = Rule.READ) -> None:
    """Answer a cancel on a link, and check that it is accepted."""
    with stage.demands(Rule.END, failure):
        peer.say(stage.reply(id))
    stage.outcome_is(id, Accepted, rule, failure)


def works(stage: Stage, id: str = "works") -> None:
    """Check that a cancel is sent on the newest link, and answered."""
    stage.cancel(id)
    stage.hear(id)
    answered(stage, stage.peer, id, "an answer on the new link was not handed over")


# --- two links ---


def _two_links(stage: Stage) -> None:
    old, new = _move(stage, "a")
    stage.cancel("b")
    stage.hear("b")
    answered(stage, new, "b", "an answer on the new link was not handed over")
    time.sleep(SOON)
    answered(
        stage,
        old,
        "a",
        "the old link ended before its last cancel was answered",
        Rule.END,
    )
    with stage.demands(Rule.END, "LinkHangup was handed out, and no close frame came"):
        old.read_close()
    old.end_of_stream()
    works(stage)


def _interleaved(stage: Stage) -> None:
    old, new = _move(stage, "a", "b")
    stage.cancel("c", "d")
    stage.hear("c", "d")
    with stage.held_up():
        old.say(PUSH, stage.reply("a"))
        new.say(stage.reply("d"), PUSH, "new")
        old.say("old")
        new.say(stage.reply("c"))
        old.say(stage.reply("b"))
    for id in ("a", "b", "c", "d"):
        stage.outcome_is(
            id, Accepted, Rule.READ, "one of the answers on two links was not handed over"
        )


def _gap(stage: Stage) -> None:
    timeout = stage.longer(6 * SOON)
    stage.log_in()
    old = stage.peer
    stage.cancel("a", timeout=2 * timeout)
    end = time.monotonic() + 2 * timeout
    stage.hear("a")
    old.say(GOING_AWAY)
    new = stage.open_next_link(SUCCESSOR)
    stage.cancel("b", timeout=timeout)
    stage.hear("b")
    with stage.held_up():
        stage.needs(not stage.core.outcomes, TOO_LATE)
        new.say(stage.reply("b"))
        old.say(stage.reply("a"))
        time.sleep(max(SOON, end - time.monotonic(), timeout))
    for id in ("a", "b"):
        stage.outcome_is(
            id,
            Accepted,
            Rule.ALTERNATE,
            "the answers on two links had arrived before the driver read, and a timer fired first",
        )


def _old_link_lost(stage: Stage) -> None:
    old, new = _move(stage, "a")
    stage.cancel("b")
    stage.hear("b")
    old.reset()
    stage.outcome_is(
        "a", Unresolved, Rule.END, "the old link was reset, and lost was not called for it"
    )
    answered(stage, new, "b", "the old link was reset, and the new one did not go on")


def _successor_lost(stage: Stage) -> None:
    stage.log_in()
    old = stage.peer
    old.say(GOING_AWAY)
    new = stage.next_link(SUCCESSOR)
    with stage.demands(Rule.DIAL, SUCCESSOR):
        new.upgrade()
        new.read()
    new.reset()
    stage.expect_closed(Rule.END, "the new link was reset, and lost was not called for it")
    stage.cancel("a")
    with stage.demands(Rule.DRAIN, "the new link was reset, and the old one did not go on"):
        old.read()
    answered(stage, old, "a", "the new link was reset, and the old one did not go on")
    stage.open_next_link(NEXT)
    works(stage)


def _successor_refused(stage: Stage) -> None:
    stage.log_in()
    old = stage.peer
    old.say(GOING_AWAY)
    with stage.demands(Rule.DIAL, SUCCESSOR):
        refuse(stage.next_link(SUCCESSOR), "503 Service Unavailable")
    stage.expect_closed(Rule.DIAL, "a dial was refused, and lost was not called")
    stage.cancel("a")
    with stage.demands(Rule.DRAIN, "a dial was refused, and the old link did not go on"):
        old.read()
    answered(stage, old, "a", "a dial was refused, and the old link did not go on")
    stage.open_next_link(NEXT)
    works(stage)


def _stalled_link(stage: Stage) -> None:
    stage.log_in()
    old = stage.peer
    stage.cancel("a")
    stage.hear("a")
    stage.call_soon(lambda session, now: session.send(_BIG, now))
    stage.expect(
        lambda: stage.link.handed_out[-1].text == _BIG, Rule.DRAIN, "a frame was not handed out"
    )
    with stage.demands(Rule.READ, "nothing was read while a write stalled"):
        old.say(GOING_AWAY)
    held_up = "a write on the old link stalled, and held up the new one"
    new = stage.next_link(held_up)
    with stage.demands(Rule.WRITE, held_up):
        new.upgrade()
        new.read()
    new.say(LOGGED_IN)
    stage.expect(lambda: stage.link.ready, Rule.READ, held_up)
    stage.call(lambda session, now: [session.cancel(stage.order(id), now, id) for id in ("b", "c")])
    with stage.demands(Rule.WRITE, held_up):
        while not {"b", "c"} <= stage.heard():
            new.read()
    answered(stage, new, "b", held_up)
    with stage.demands(Rule.WRITE, "a write stalled, and its frame never arrived"):
        old.read()
    answered(stage, old, "a", "an answer on the old link was not handed over")
    answered(stage, new, "c", "an answer on the new link was not handed over")


def _close_two(stage: Stage) -> None:
    old, new = _move(stage, "a")
    stage.cancel("b")
    stage.hear("b")
    stage.call(lambda session, now: session.close(now))
    why = "the session was closing, and an answer was not handed over"
    answered(stage, old, "a", why)
    answered(stage, new, "b", why)
    stage.expect(
        lambda: stage.core.closed is not None,
        Rule.DRAIN,
        "the last answer came, and the drain did not reach Ended",
    )
    with stage.demands(Rule.END, "LinkHangup was handed out, and no close frame came"):
        old.read_close()
        new.read_close()


LINKS: Final = (
    Scenario(
        name="two links",
        rule=Rule.LINK,
        tells="The exchange goes away: cancels go to the new link, and the old one lives until its last cancel is answered.",
        play=_two_links,
    ),
    Scenario(
        name="messages on two links",
        rule=Rule.LINK,
        tells="Answers and pushes arrive on two links in turn: each is handed over for its own link.",
        play=_interleaved,
    ),
    Scenario(
        name="gap with two links",
        rule=Rule.ALTERNATE,
        tells="The driver's thread is blocked past two deadlines while answers arrive on two links: both answers count.",
        play=_gap,
    ),
    Scenario(
        name="old link lost",
        rule=Rule.LINK,
        tells="The old of two links is reset: lost is called for it, and the new one goes on.",
        play=_old_link_lost,
    ),
    Scenario(
        name="new link lost",
        rule=Rule.LINK,
        tells="The new of two links is reset before its login is answered: the old one goes on, and another is dialled.",
        play=_successor_lost,
    ),
    Scenario(
        name="new link refused",
        rule=Rule.DIAL,
        tells="The dial of a second link is refused: lost is called for it, the old one goes on, and another is dialled.",
        play=_successor_refused,
    ),
    Scenario(
        name="a stalled link and another",
        rule=Rule.WRITE,
        tells="A write on the old link stalls: the new link is opened, and sends cancels. Then the write ends.",
        play=_stalled_link,
        narrow=True,
    ),
    Scenario(
        name="close with two links",
        rule=Rule.DRAIN,
        tells="The session is closed with a cancel on each of two links: both answers count, then run() returns.",
        play=_close_two,
    ),
)
"""Scenarios for drivers of a session only."""
