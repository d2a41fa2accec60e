"""Checks after every scenario of the conformance kit.

- On each link, the messages that the peer received are a prefix of the frames that were handed
  out, and the messages that were handed over are a prefix of those that the peer sent.
- A driver of a session has opened connections only for a `Dial`.
- A cancel that is reported as unsent never arrived, not even in part.
- A driver that has returned leaves no open socket and no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from ..._machine.session_events import LinkHangup
from .driver_checks import DriverError, Rule
from .harness import Stage
from .recording import LinkRecord, describe_output
from .recording_session import SessionRecorder
from .websocket_peer import Gone, Peer, Silence

OTHER_THREAD: Final = "the other thread of the conformance kit"
"""The name of the thread that runs the driver, or the scenario if the driver has the main thread.
"""

_OF_THE_KIT: Final = frozenset({OTHER_THREAD, "calls the driver"})


def unwritten(stage: Stage) -> Iterator[DriverError]:
    """Check, while links are open, that all frames that were handed out arrive."""
    for number, peer, link in stage.links():

        def is_missing(peer: Peer = peer, link: LinkRecord = link) -> bool:
            return (
                peer.listens_on
                and link.closed is None
                and len(peer.received) < len(link.handed_out)
            )

        with suppress(Silence, Gone):
            while is_missing():
                peer.read()
        if is_missing():
            missing = describe_output(link.handed_out[len(peer.received)])
            yield stage.missing(
                Rule.WRITE, f"{missing} was handed out{stage.on(number)} and never arrived"
            )


def differences(stage: Stage) -> Iterator[DriverError]:
    """Check at the end that both ends of each link sent and received the same messages."""
    links = tuple(stage.links())
    sent = {number: [one.text.encode() for one in link.handed_out] for number, _, link in links}
    said = {number: peer.said for number, peer, _ in links}
    for number, peer, link in links:
        on = stage.on(number)
        for fault in peer.faults[:1]:
            yield DriverError(Rule.WRITE, fault + on)
        yield from _difference(
            number,
            [text.encode() for text in peer.received],
            sent,
            DriverError(Rule.WRITE, f"the exchange did not receive what was handed out{on}"),
            "a frame of link {} arrived on link {}",
        )
        yield from _difference(
            number,
            [one.encode() if isinstance(one, str) else one for one in link.handed_over],
            said,
            DriverError(Rule.READ, f"the driver did not hand over what the exchange sent{on}"),
            "a message of link {} was handed over for link {}",
        )
    yield from stage.core.about_the_clock(stage.patience)


def false_reports(stage: Stage) -> Iterator[DriverError]:
    """Check at the end that unsent cancels did not arrive, and that each hangup was obeyed."""
    for number, peer, link in stage.links():
        yield from _false_unsent(peer, link)
        yield from _disobeyed(stage, number, peer, link)


def unasked(stage: Stage) -> Iterator[DriverError]:
    """Check at the end that WebSockets were opened only for a `Dial`."""
    asked = len(stage.core.links)
    opened = sum(peer.connected for peer in stage.peers.values()) + stage.peer.backlog()
    if isinstance(stage.core, SessionRecorder) and opened > asked:
        yield DriverError(
            Rule.DIAL, f"the driver has opened {opened} connections for {asked} of `Dial`"
        )


def left_behind(
    stage: Stage, threads: set[threading.Thread], *, returned: bool
) -> Iterator[DriverError]:
    """Check at the end that `run` has returned, and left no socket or thread."""
    connection, patience = stage.core, stage.patience
    if stage.thread.failed:
        yield DriverError(Rule.END, stage.thread.failed)
    elif not returned:
        after = "the transport had ended" if connection.closed is None else connection.last_event
        what = f"{stage.thread.doing} had not returned {patience} s after {after}"
        yield stage.missing(Rule.END, what)
    elif connection.closed is None:
        yield stage.blame(
            Rule.END, f"run() returned before the {connection.noun} was {connection.last_event}"
        )
    elif any(peer.connected and not peer.gone for peer in stage.peers.values()):
        yield DriverError(Rule.END, "run() has returned, and its socket is still open")
    elif not _have_ended(threads, patience):
        yield DriverError(Rule.END, "run() has returned, and a thread that it started still runs")


def _difference(
    link: int,
    got: Sequence[bytes],
    expected: Mapping[int, Sequence[bytes]],
    error: DriverError,
    of_another: str,
) -> Iterator[DriverError]:
    """Yield `error`, with the first difference, if `got` is not the beginning of what is expected.

    If the wrong message is from another link, the rule is LINK and the text is `of_another`.
    """
    wanted = expected[link]
    wrong = next(
        (n for n, one in enumerate(got) if n >= len(wanted) or one != wanted[n]),
        None,
    )
    if wrong is None:
        return
    if wrong >= len(wanted):
        difference = f"there is an extra message, {_shown(got[wrong])}"
    else:
        difference = (
            f"message {wrong + 1} is {_shown(got[wrong])}; expected {_shown(wanted[wrong])}"
        )
    rule, what = error.rule, error.what
    for other, messages in expected.items():
        if other != link and got[wrong] in messages:
            rule, what = Rule.LINK, of_another.format(other, link)
            break
    yield DriverError(rule, f"{what}: {difference}")


def _shown(message: bytes) -> str:
    return "a login" if b'"login"' in message and b'"event"' not in message else repr(message[:60])


def _false_unsent(peer: Peer, link: LinkRecord) -> Iterator[DriverError]:
    texts = set(peer.received)
    arrived = {id for one in link.handed_out if one.text in texts for id in one.ids}
    if peer.has_part and len(peer.received) < len(link.handed_out):
        arrived.update(link.handed_out[len(peer.received)].ids)
    for id in link.unsent:
        if id in arrived:
            yield DriverError(
                Rule.END,
                f"the cancel {id!r} was reported as unsent, and it has arrived, at least in part",
            )
            return


def _disobeyed(stage: Stage, number: int, peer: Peer, link: LinkRecord) -> Iterator[DriverError]:
    hangup = link.hangup
    if hangup is None or not (peer.connected and link.opened and stage.reads_on):
        return
    came = "none" if peer.closed_with is None else f"one with code {peer.closed_with}"
    if not hangup.abort and peer.closed_with != hangup.code:
        yield DriverError(
            Rule.END,
            f"Hangup asked for a close frame with code {hangup.code}{stage.on(number)}; got {came}",
        )
    elif isinstance(hangup, LinkHangup) and hangup.abort and peer.closed_with is not None:
        yield DriverError(
            Rule.END, f"Hangup asked to abort link {number} without a close frame; got {came}"
        )


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
