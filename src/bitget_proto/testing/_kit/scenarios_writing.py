"""Scenarios of the conformance kit: writing, and writes that stall.

That all frames arrive, whole, once and in order, is checked after every scenario (see
`invariants`), not in each. A write stalls because the peer does not read and the socket buffers
between the two are small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ..._machine.connection_config import Config
from ..._values.dialects import Dialect
from ..._values.events import Accepted, Unresolved
from ..._values.orders import CancelOrder
from ..._wire.codec import Codec, encode_cancel
from .driver_checks import DriverError, Rule
from .harness import Core, Stage
from .scenario import HANGUP_LIMIT, SOON, Scenario
from .websocket_peer import Gone, Silence

_FRAME = 125
"""Characters of a cancel. With frame header and mask it has 131 bytes, and four of them fill a
segment of the narrow connection, so a write mostly stalls between two frames."""

_BIG = "x" * 1_000_000
"""More than fits into the socket buffers, if the system allows small ones."""


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


def _write_big(stage: Stage, *first: str, timeout: float | None = None) -> None:
    """Log in, take the cancels `first`, and write a frame that does not fit the socket buffers."""
    stage.log_in()

    def take(connection: Core, now: float) -> None:
        for id in first:
            connection.cancel(stage.order(id), now, id, timeout)
        connection.send(_BIG, now)

    stage.call_soon(take)
    handed_out = stage.core.handed_out
    stage.expect(
        lambda: any(len(one.text) == len(_BIG) for one in handed_out),
        Rule.DRAIN,
        "a frame was not handed out",
    )


def _stall(stage: Stage, *first: str, timeout: float | None = None) -> None:
    """Like `_write_big`, and check that the write stalls."""
    _write_big(stage, *first, timeout=timeout)
    time.sleep(SOON)
    _check_stall(stage)


def _check_stall(stage: Stage) -> None:
    """Check that the big frame is not written yet, as far as the driver's calls show."""
    steps = stage.core.steps
    begun = max(number for number, step in enumerate(steps) if _BIG[:20] in step.what)
    stage.needs(
        all(step.call != "poll" for step in steps[begun + 1 :]),
        f"the socket buffers took {len(_BIG):,} bytes, and no write stalled",
    )


def _one_unwritten(stage: Stage) -> None:
    _write_big(stage)
    time.sleep(SOON)
    stage.cancel("a", "b", "c")
    time.sleep(SOON)
    early = [one for one in stage.core.handed_out if one.ids]
    if early:
        raise DriverError(
            Rule.WRITE,
            f"a write had not finished, and the driver polled {len(early)} more with writable=True: if the "
            "connection ends now, it is unknown whether they were sent",
        )
    stage.hear("a", "b", "c")


def _deadline_in_a_stall(stage: Stage) -> None:
    _write_big(stage, "a", timeout=2 * SOON)
    stage.outcome_is("a", Unresolved, Rule.OVERDUE, "no timer fired while a write stalled")
    _check_stall(stage)


def _reading_in_a_stall(stage: Stage) -> None:
    _write_big(stage, "a")
    stage.peer.say(stage.reply("a"))
    stage.outcome_is("a", Accepted, Rule.READ, "nothing was read while a write stalled")
    _check_stall(stage)


def _reset_in_a_stall(stage: Stage) -> None:
    _stall(stage, "a")
    stage.cancel("b")
    stage.peer.reset()
    stage.expect_closed(
        Rule.END, "the connection was reset while a write stalled, and lost was not called"
    )


def _close_in_a_stall(stage: Stage) -> None:
    ids = [f"n{number:04}" for number in range(2500)]
    stage.orders.update((id, _order_of_size(id, number)) for number, id in enumerate(ids))
    _close_while_writing(
        stage,
        lambda connection, now: [connection.cancel(stage.order(id), now, id) for id in ids],
    )


def _close_in_a_stalled_batch(stage: Stage) -> None:
    orders = _orders_of_batches()
    _close_while_writing(stage, lambda connection, now: connection.cancel_many(orders, now))


def _close_while_writing(stage: Stage, take: Callable[[Core, float], object]) -> None:
    """Have the exchange close once the writing of many cancels has stalled."""
    stage.log_in()
    stage.call_soon(take)
    counts, settled = [-1], 2 + 5 * stage.attempt
    # Wait until the write stalls, or all are handed out. A short standstill may only be a pause of
    # a busy machine.
    while not (
        _stands_still(counts[-settled:], stage)
        or (len(counts) > 5 * settled and _stands_still(counts[-5 * settled :]))
    ):
        time.sleep(SOON / 2)
        counts.append(len(stage.core.handed_out))
    stage.peer.say_close(1001, "bye")
    stage.expect(
        lambda: stage.core.lost_calls > 0,
        Rule.READ,
        "a close frame was not read while a write stalled",
    )
    with suppress(Silence, Gone):
        stage.peer.read_close()
    stage.peer.end_of_stream()
    stage.expect_closed(
        Rule.END, "the exchange closed while a write stalled, and lost was not called"
    )
    stage.needs(bool(stage.link.unsent), "lost named no frame as unsent")


def _hangup_in_a_stall(stage: Stage) -> None:
    stage.reads_on = False
    _stall(stage)
    stage.call(lambda connection, now: connection.close(now))
    stage.expect_closed(Rule.DRAIN, "close was called, and the drain did not reach Closed")
    if not stage.thread.returned(HANGUP_LIMIT + stage.patience):
        raise DriverError(
            Rule.END,
            "the connection was closed while a write stalled, and run() went on waiting for the write",
        )


def _stands_still(counts: Sequence[int], stage: Stage | None = None) -> bool:
    """Whether the counts do not grow and, with a stage, the last poll was not writable."""
    stalled = stage is None or stage.core.steps[-1].call.startswith("poll, ")
    return stalled and len(set(counts)) == 1 and len(counts) > 1


def _order_of_size(id: str, number: int) -> CancelOrder:
    """Return an order whose cancel under this id has `_FRAME` characters."""
    digits = 1 + _FRAME - len(encode_cancel(CancelOrder("BTC", order_id="1"), id))
    return CancelOrder("BTC", order_id=f"{number:0{digits}}")


def _orders_of_batches() -> list[CancelOrder]:
    """Return orders each of whose batches fills a segment of the narrow connection.

    A write then mostly stalls between two frames.
    """
    size, prefix = Config().max_batch, Config().id_prefix
    assert size is not None
    count = 625 * size
    short = [CancelOrder(order_id=str(number)) for number in range(10, 10 + size)]
    text = Codec(dialect=Dialect.UNIFIED).encode_batch(short, f"{prefix}{count}")
    # The header of such a frame, with its mask, has 8 bytes.
    digits = 2 * size + 4 * (_FRAME + 6) - 8 - len(text)
    return [
        CancelOrder(order_id=f"{number:0{(digits + number % size) // size}}")
        for number in range(count)
    ]


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
        tells="Thirty cancels in one call, then frames of the user, one of them long: all arrive whole and in order.",
        play=_in_order,
    ),
    Scenario(
        name="one frame unwritten",
        rule=Rule.WRITE,
        tells="The peer does not read, a write stalls, and cancels are taken: none is handed out until the write ends.",
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
        tells="The peer does not read, and a write stalls: messages that arrive are handed over.",
        play=_reading_in_a_stall,
        narrow=True,
    ),
    Scenario(
        name="reset while a write stalls",
        rule=Rule.END,
        tells="A write stalls, and the connection is reset: lost is called once, and reports no sent frame as unsent.",
        play=_reset_in_a_stall,
        narrow=True,
    ),
    Scenario(
        name="close frame while a write stalls",
        rule=Rule.END,
        tells="The writing of 2,500 cancels stalls, and the exchange closes: no cancel that arrived is reported as unsent.",
        play=_close_in_a_stall,
        narrow=True,
        tolerates="a driver that names no frame as unsent: the scenario is not played",
    ),
    Scenario(
        name="close frame while a batch stalls",
        rule=Rule.END,
        tells="The writing of 625 batches stalls, and the exchange closes: no cancel that arrived is reported as unsent.",
        play=_close_in_a_stalled_batch,
        dialect=Dialect.UNIFIED,
        narrow=True,
        tolerates="a driver that names no frame as unsent: the scenario is not played",
    ),
    Scenario(
        name="hangup while a write stalls",
        rule=Rule.END,
        tells="The peer does not read, a write stalls, and the connection is closed: run() returns anyway.",
        play=_hangup_in_a_stall,
        narrow=True,
        tolerates=f"waiting {HANGUP_LIMIT:g} s for the write, and dropping the close frame with it",
    ),
    Scenario(
        name="reset",
        rule=Rule.END,
        tells="The connection is reset while a cancel is in flight: lost is called once, and does not report it as unsent.",
        play=_sent_then_reset,
    ),
)
