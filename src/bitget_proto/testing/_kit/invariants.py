"""Checks after every scenario of the conformance kit.

- The messages that the peer received are the first of the frames that were handed out, and the
  messages that were handed over are the first of those that the peer sent.
- A cancel that is reported as unsent never arrived, not even in part.
- A driver that has returned leaves no open socket and no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from ..._values.events import Unresolved
from .harness import Stage
from .recording_connection import describe_output
from .strict_connection import DriverError, Rule
from .websocket_peer import Gone, Silence

OTHER_THREAD: Final = "the other thread of the conformance kit"
"""The name of the thread that runs the driver, or the scenario if the driver has the main thread."""

_OF_THE_KIT: Final = frozenset({OTHER_THREAD, "calls the driver"})


def unwritten(stage: Stage) -> Iterator[DriverError]:
    """Check, while the connection is open, that all frames that were handed out arrive."""
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
        yield stage.blame(
            Rule.WRITE, f"{describe_output(missing)} was handed out and never arrived"
        )


def differences(stage: Stage) -> Iterator[DriverError]:
    """Check at the end that both ends sent and received the same messages."""
    peer, connection = stage.peer, stage.connection
    for fault in peer.faults[:1]:
        yield DriverError(Rule.WRITE, fault)
    difference = _difference(
        [one.text.encode() for one in connection.handed_out],
        [text.encode() for text in peer.received],
    )
    if difference is not None:
        yield DriverError(
            Rule.WRITE, "the exchange did not receive what was handed out: " + difference
        )
    difference = _difference(
        peer.said, [one.encode() if isinstance(one, str) else one for one in connection.handed_over]
    )
    if difference is not None:
        yield DriverError(
            Rule.READ, "the driver did not hand over what the exchange sent: " + difference
        )
    yield from connection.about_the_clock(stage.patience)


def false_reports(stage: Stage) -> Iterator[DriverError]:
    """Check at the end that unsent cancels did not arrive, and that `Hangup` was obeyed."""
    peer, connection = stage.peer, stage.connection
    yield from _false_unsent(stage)
    hangup = connection.hangup
    wants_frame = hangup is not None and not hangup.abort and peer.connected and stage.reads_on
    if hangup is not None and wants_frame and peer.closed_with != hangup.code:
        came = "none" if peer.closed_with is None else f"one with code {peer.closed_with}"
        yield DriverError(
            Rule.END,
            f"Hangup asked for a close frame with code {hangup.code}; got {came}",
        )


def left_behind(
    stage: Stage, threads: set[threading.Thread], *, returned: bool
) -> Iterator[DriverError]:
    """Check at the end that `run` has returned, and left no socket or thread."""
    connection, patience = stage.connection, stage.patience
    if stage.thread.failed:
        yield DriverError(Rule.END, stage.thread.failed)
    elif not returned:
        after = "Closed" if connection.closed is not None else "the transport had ended"
        what = f"{stage.thread.doing} had not returned {patience} s after {after}"
        yield stage.missing(Rule.END, what)
    elif connection.closed is None:
        yield stage.blame(Rule.END, "run() returned before the connection was Closed")
    elif stage.peer.connected and not stage.peer.gone:
        yield DriverError(Rule.END, "run() has returned, and its socket is still open")
    elif not _have_ended(threads, patience):
        yield DriverError(Rule.END, "run() has returned, and a thread that it started still runs")


def _difference(expected: Sequence[bytes], got: Sequence[bytes]) -> str | None:
    """Describe where `got` is not the beginning of `expected`; None when it is."""
    for number, one in enumerate(got):
        if number >= len(expected):
            return f"there is an extra message, {one[:60]!r}"
        if one != expected[number]:
            return f"message {number + 1} is {one[:60]!r}; expected {_shown(expected[number])}"
    return None


def _shown(message: bytes) -> str:
    return "a login" if b'"login"' in message else repr(message[:60])


def _false_unsent(stage: Stage) -> Iterator[DriverError]:
    peer, connection = stage.peer, stage.connection
    arrived = stage.heard()
    if peer.has_part and len(peer.received) < len(connection.handed_out):
        arrived.add(connection.handed_out[len(peer.received)].id or "")
    for id, outcome in connection.outcomes.items():
        if isinstance(outcome, Unresolved) and not outcome.sent and id in arrived:
            yield DriverError(
                Rule.END,
                f"the cancel {id!r} was reported as unsent, and it has arrived, at least in part",
            )
            return


def _have_ended(threads: set[threading.Thread], seconds: float) -> bool:
    """Wait up to `seconds` until no thread runs except `threads`; return whether that is so."""
    end = time.monotonic() + seconds
    while left := [
        thread for thread in set(threading.enumerate()) - threads if thread.name not in _OF_THE_KIT
    ]:
        if time.monotonic() >= end:
            return False
        left[0].join(0.01)
    return True
