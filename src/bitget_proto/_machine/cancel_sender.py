"""Sends the waiting cancels of a session: which goes next, on which link, in which frame.

A cancel is handed to a link only at the moment of sending, and comes back only after that link has
ended. So at most one live link has sent any given cancel. `rest_attempts` has the rules for cancels
that are sent by REST instead.
"""

from __future__ import annotations

from collections.abc import Container
from math import inf

from .._values.timers import Timer
from .cancel_attempts import Cancel
from .links import Link, Links
from .session_events import LinkTransmit
from .session_queue import SessionQueue


class CancelSender:
    """The waiting cancels of one session, and the links that can send them."""

    __slots__ = ("_cancels", "_links")

    def __init__(self, cancels: SessionQueue, links: Links) -> None:
        self._cancels = cancels
        self._links = links

    def waiting_for_grant(self, now: float) -> int:
        """Return how many cancels the links could send if the budget were granted more."""
        waiting = self._cancels.waiting.size
        return sum(
            link.connection._frames.waiting_for_grant(now, waiting) for link in self._links.serving
        )

    def next(self, now: float, busy: Container[int]) -> LinkTransmit | tuple[float, Timer | None]:
        """Return the frame of the next cancel, or when one may be sent and what it waits for."""
        best, link, size = (inf, inf), None, self._cancels.waiting.size
        for lane in self._links.lanes:
            serving = lane.serving
            if serving is None or serving.number in busy:
                continue
            connection = serving.connection
            # Of the links that may send now, choose the one with the fewest unanswered cancels: a
            # link that has fallen silent gets no more.
            rank = max(now, connection._cancel_allowed_at(now, size)), connection.in_flight
            if rank < best:
                best, link = rank, serving
        allowed_at, _ = best
        if link is None or allowed_at > now:
            return allowed_at, None if allowed_at == inf else Timer.PACING
        first, allowed_at = self._cancels.next(now)
        if first is None:
            return allowed_at, None if allowed_at == inf else Timer.SPACING
        chosen = link.connection._frames.choose(
            self._cancels.waiting, first, now, self._cancels.spaced_until
        )
        if isinstance(chosen, list):
            return self._send(chosen, link, now)
        return chosen, Timer.PACING

    def _send(self, cancels: list[Cancel], link: Link, now: float) -> LinkTransmit:
        connection = link.connection
        link.wrote_at = now
        for cancel in cancels:
            cancel.trying_since = now
        make = connection._in_flight.make
        frame = connection._hand_out(
            [make(one.id, one.order, one.taken_at, one.timeout_at, one.rank) for one in cancels],
            now,
        )
        for cancel in cancels:
            self._cancels.mark_sent(cancel, now)
        return LinkTransmit(frame.text, frame.ids, link=link.number)
