"""What must hold behind every scenario of the conformance kit, whatever it was about.

Rules of this file
- What the peer received is the beginning of what was handed out; what was handed over is the beginning of what the peer said.
- A cancel that is called unsent never arrived, not even a part of it.
- A driver that has returned leaves no open socket and no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from ..._values.events import Unresolved
from .harness import Stage
from .recording_connection import told
from .strict_connection import DriverError, Rule
from .websocket_peer import Gone, Silence


def unwritten(stage: Stage) -> Iterator[DriverError]:
    """While the connection lasts: all that was handed out arrives."""
    peer, connection = stage.peer, stage.connection

    def is_missing() -> bool:
        return (
            peer.listens_on
            and connection.closed is None
            and len(peer.received) < len(connection.handed_out)
        )

    with suppress(Silence, Gone):
        while is_missing():
            peer.read()
    if is_missing():
        missing = connection.handed_out[len(peer.received)]
        yield stage.blame(Rule.WRITE, f"{told(missing)} was handed out and never arrived")


def misfits(stage: Stage) -> Iterator[DriverError]:
    """When all is over: both ends tell the same story."""
    peer, connection = stage.peer, stage.connection
    for fault in peer.faults[:1]:
        yield DriverError(Rule.WRITE, fault)
    misfit = _misfit(
        [one.text.encode() for one in connection.handed_out],
        [text.encode() for text in peer.received],
    )
    if misfit is not None:
        yield DriverError(
            Rule.WRITE, "what arrived at the exchange is not what was handed out: " + misfit
        )
    misfit = _misfit(
        peer.said, [one.encode() if isinstance(one, str) else one for one in connection.handed_over]
    )
    if misfit is not None:
        yield DriverError(
            Rule.READ, "what was handed over is not what the exchange said: " + misfit
        )
    yield from connection.about_the_clock(stage.patience)


def untruths(stage: Stage) -> Iterator[DriverError]:
    """When all is over: what was called unsent is, and `Hangup` was obeyed."""
    peer, connection = stage.peer, stage.connection
    yield from _dishonest(stage)
    hangup = connection.hangup
    wants_frame = hangup is not None and not hangup.abort and peer.connected and stage.reads_on
    if hangup is not None and wants_frame and peer.closed_with != hangup.code:
        came = "none" if peer.closed_with is None else f"one with code {peer.closed_with}"
        yield DriverError(
            Rule.END,
            f"Hangup asked for a close frame with code {hangup.code}, and there came {came}",
        )


def left_behind(
    stage: Stage, threads: set[threading.Thread], *, returned: bool
) -> Iterator[DriverError]:
    """When all is over: `run` has returned, and there is nothing left of it."""
    connection, patience = stage.connection, stage.patience
    if stage.failed:
        yield DriverError(Rule.END, stage.failed)
    elif not returned:
        after = "Closed" if connection.closed is not None else "the transport had ended"
        yield DriverError(Rule.END, f"{stage.doing} had not returned {patience} s after {after}")
    elif connection.closed is None:
        yield stage.blame(Rule.END, "run() returned before the connection was Closed")
    elif stage.peer.connected and not stage.peer.gone:
        yield DriverError(Rule.END, "run() has returned, and its socket is still open")
    elif not _have_ended(threads, patience):
        yield DriverError(Rule.END, "run() has returned, and a thread that it started still runs")


def _misfit(expected: Sequence[bytes], got: Sequence[bytes]) -> str | None:
    """Where the second is no beginning of the first, in words."""
    for number, one in enumerate(got):
        if number >= len(expected):
            return f"there is one more, {one[:60]!r}"
        if one != expected[number]:
            return f"number {number + 1} is {one[:60]!r}, and should be {_shown(expected[number])}"
    return None


def _shown(message: bytes) -> str:
    return "a login" if b'"login"' in message else repr(message[:60])


def _dishonest(stage: Stage) -> Iterator[DriverError]:
    peer, connection = stage.peer, stage.connection
    arrived = stage.heard()
    if peer.has_part and len(peer.received) < len(connection.handed_out):
        arrived.add(connection.handed_out[len(peer.received)].id or "")
    for id, outcome in connection.outcomes.items():
        if isinstance(outcome, Unresolved) and not outcome.sent and id in arrived:
            yield DriverError(
                Rule.END,
                f"the cancel {id!r} was called unsent, and it, or a part of it, has arrived",
            )
            return


def _have_ended(threads: set[threading.Thread], seconds: float) -> bool:
    """Whether no thread runs but those."""
    end = time.monotonic() + seconds
    while left := [
        thread
        for thread in set(threading.enumerate()) - threads
        if thread.name != "calls the driver"
    ]:
        if time.monotonic() >= end:
            return False
        left[0].join(0.01)
    return True
