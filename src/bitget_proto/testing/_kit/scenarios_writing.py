"""Scenarios of the conformance kit: what leaves, and writes that stall.

Rules of this file
- What was handed out must arrive, whole, once and in order: that is compared behind every scenario, not in each.
- A write stalls because the peer does not read, and because little fits between the two.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from ..._values.events import Accepted, Unresolved
from ..._values.orders import CancelOrder
from ..._wire.codec import encode_cancel
from .harness import Stage
from .recording_connection import Recorder
from .scenario import DEAF, SOON, Scenario
from .strict_connection import DriverError, Rule
from .websocket_peer import Gone, Silence

_FRAME = 125
"""Characters of a cancel. With the frame's head and its mask they are 131 bytes, four of which fill a segment of the narrow
connection: so a write mostly stalls between two frames, and the next is held whole."""

_BIG = "x" * 1_000_000
"""More than fits between the two ends, wherever the system lets it be made small."""


def _in_order(stage: Stage) -> None:
    stage.log_in()
    ids = [f"n{number}" for number in range(30)]
    stage.cancel(*ids)
    stage.call(lambda connection, now: connection.send('{"op":"subscribe","args":["é𝄞"]}', now))
    stage.call(lambda connection, now: connection.send("y" * 70_000, now))
    stage.hear(*ids)
    stage.peer.say(*(stage.reply(id) for id in ids))
    for id in ids:
        stage.outcome_is(id, Accepted, Rule.READ, "an answer was not handed over")


def _stall(stage: Stage, *first: str, timeout: float | None = None) -> None:
    """Log in, and let a frame be written that does not fit; cancels are taken before it."""
    stage.log_in()

    def take(connection: Recorder, now: float) -> None:
        for id in first:
            connection.cancel(stage.order(id), now, id, timeout)
        connection.send(_BIG, now)

    stage.call_soon(take)
    handed_out = stage.connection.handed_out
    stage.expect(
        lambda: any(len(one.text) == len(_BIG) for one in handed_out),
        Rule.DRAIN,
        "a frame was not handed out",
    )


def _one_unwritten(stage: Stage) -> None:
    _stall(stage)
    time.sleep(SOON)
    stage.cancel("a", "b", "c")
    time.sleep(SOON)
    early = [one.id for one in stage.connection.handed_out if one.id is not None]
    if early:
        raise DriverError(
            Rule.WRITE,
            f"a frame was not written yet, and with poll(writable=True) the driver asked for {len(early)} more: if the "
            "connection ends now, nobody can say whether they left",
        )
    stage.hear("a", "b", "c")


def _deadline_in_a_stall(stage: Stage) -> None:
    _stall(stage, "a", timeout=2 * SOON)
    stage.outcome_is("a", Unresolved, Rule.OVERDUE, "a write stalled, and meanwhile no timer fired")


def _reading_in_a_stall(stage: Stage) -> None:
    _stall(stage, "a")
    stage.peer.say(stage.reply("a"))
    stage.outcome_is("a", Accepted, Rule.READ, "a write stalled, and meanwhile nothing was read")


def _reset_in_a_stall(stage: Stage) -> None:
    _stall(stage, "a")
    time.sleep(SOON)
    stage.cancel("b")
    stage.peer.reset()
    stage.expect_closed(
        Rule.END, "the connection was reset while a write stalled, and lost was not called"
    )


def _close_in_a_stall(stage: Stage) -> None:
    stage.log_in()
    ids = [f"n{number:04}" for number in range(2500)]
    stage.orders.update((id, _order_of_size(id, number)) for number, id in enumerate(ids))
    stage.call_soon(
        lambda connection, now: [connection.cancel(stage.order(id), now, id) for id in ids]
    )
    counts = [-1]
    # Until it stalls, or all are out.
    while not (
        _stands_still(counts[-2:], stage) or (len(counts) > 5 and _stands_still(counts[-5:]))
    ):
        time.sleep(SOON / 2)
        counts.append(len(stage.connection.handed_out))
    stage.peer.say_close(1001, "bye")
    stage.expect(
        lambda: stage.connection.lost_calls > 0,
        Rule.READ,
        "a write stalled, and a close frame was not read",
    )
    with suppress(Silence, Gone):
        stage.peer.read_close()
    stage.peer.end_of_stream()
    stage.expect_closed(
        Rule.END, "the exchange closed while a write stalled, and lost was not called"
    )


def _hangup_in_a_stall(stage: Stage) -> None:
    stage.reads_on = False
    _stall(stage)
    time.sleep(SOON)
    stage.call(lambda connection, now: connection.close(now))
    stage.expect_closed(Rule.DRAIN, "close was called, and the drain did not go on to Closed")
    if not stage.returned(DEAF + stage.patience):
        raise DriverError(
            Rule.END,
            "a write stalled, the connection was closed, and run() went on waiting for that write",
        )


def _stands_still(counts: Sequence[int], stage: Stage | None = None) -> bool:
    """Whether nothing more was handed out; with a stage, and the driver has said that it cannot write."""
    told = stage is None or stage.connection.steps[-1].call == "poll, not writable"
    return told and len(set(counts)) == 1 and len(counts) > 1


def _order_of_size(id: str, number: int) -> CancelOrder:
    """An order whose cancel has `_FRAME` characters under this id."""
    digits = 1 + _FRAME - len(encode_cancel(CancelOrder("BTC", order_id="1"), id))
    return CancelOrder("BTC", order_id=f"{number:0{digits}}")


def _sent_then_reset(stage: Stage) -> None:
    stage.log_in()
    stage.cancel("a")
    stage.hear("a")
    stage.peer.reset()
    stage.outcome_is("a", Unresolved, Rule.END, "the connection was reset, and lost was not called")


WRITING: Final = (
    Scenario(
        name="frames in order",
        rule=Rule.WRITE,
        tells="Thirty cancels in one call, then frames of the user's own, a long one among them: whole and in order.",
        play=_in_order,
    ),
    Scenario(
        name="one frame unwritten",
        rule=Rule.WRITE,
        tells="The peer does not read, a write stalls, and cancels are taken: none is handed out before that write has ended.",
        play=_one_unwritten,
        narrow=True,
    ),
    Scenario(
        name="deadline while a write stalls",
        rule=Rule.OVERDUE,
        tells="The peer does not read, and a write stalls: deadlines fire.",
        play=_deadline_in_a_stall,
        narrow=True,
    ),
    Scenario(
        name="answer while a write stalls",
        rule=Rule.READ,
        tells="The peer does not read, and a write stalls: what arrives is handed over.",
        play=_reading_in_a_stall,
        narrow=True,
    ),
    Scenario(
        name="reset while a write stalls",
        rule=Rule.END,
        tells="A write stalls, and the connection is reset: one lost, and no frame that left is called unsent.",
        play=_reset_in_a_stall,
        narrow=True,
    ),
    Scenario(
        name="close frame while a write stalls",
        rule=Rule.END,
        tells="The writing of 2,500 cancels stalls, and the exchange closes: no cancel that arrived is called unsent.",
        play=_close_in_a_stall,
        narrow=True,
    ),
    Scenario(
        name="hangup while a write stalls",
        rule=Rule.END,
        tells="The peer does not read, a write stalls, and the connection is closed: run() returns all the same.",
        play=_hangup_in_a_stall,
        narrow=True,
        tolerates=f"{DEAF:g} s of waiting for the write, and that the close frame is given up with it",
    ),
    Scenario(
        name="reset",
        rule=Rule.END,
        tells="The connection is reset while a cancel is in flight: one lost, and the cancel is not called unsent.",
        play=_sent_then_reset,
    ),
)
