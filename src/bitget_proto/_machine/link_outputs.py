"""What the outputs of a link mean for its session."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, cast

from .._values.events import (
    Accepted,
    Closed,
    Event,
    GoingAway,
    Hangup,
    LoginRejected,
    Ready,
    Rejected,
    Unresolved,
)
from .._values.states import State
from .links import Link, Links
from .own_frames import OwnFrames
from .session_events import Down, Ended, LinkClosed, LinkHangup, SessionOutput, Up
from .session_outcomes import SessionOutcomes

if TYPE_CHECKING:
    from .rest_attempts import RestAttempts


class LinkOutputs:
    """Handles the outputs of the links of one session; adds to the session's outputs."""

    __slots__ = ("_links", "_outcomes", "_outputs", "_own", "_rest")

    def __init__(
        self,
        links: Links,
        outcomes: SessionOutcomes,
        own: OwnFrames,
        rest: RestAttempts | None,
        outputs: deque[SessionOutput],
    ) -> None:
        self._links = links
        self._outcomes = outcomes
        self._own = own
        self._rest = rest
        self._outputs = outputs

    def collect(self, link: Link, now: float, *, ending: bool) -> Ended | None:
        """Handle the outputs of a link, but not its frames: only `poll` sends these.

        Return `Ended` if the session must end. `ending` says whether it is already ending.
        """
        end = None
        while outputs := link.connection._outputs:
            output = cast("Hangup | Event", outputs.popleft())
            if isinstance(output, (Accepted, Rejected, Unresolved)):
                self._outcomes.link_attempt(output, now, ending=ending)
            elif isinstance(output, Closed):
                end = self._ended(link, output, now, ending=ending)
            elif isinstance(output, Ready):
                self._ready(link, now, ending=ending)
            elif isinstance(output, Hangup):
                self._outputs.append(
                    LinkHangup(
                        code=output.code, reason=output.reason, abort=output.abort, link=link.number
                    )
                )
            else:
                self._outputs.append(output)
                if isinstance(output, LoginRejected):
                    link.refusal = output
                    if self._rest is not None:
                        self._rest.login_refused(output.code_class)
                elif isinstance(output, GoingAway):
                    self._links.going_away(link, now)
        return end

    def _ready(self, link: Link, now: float, *, ending: bool) -> None:
        """Let the dialled link serve.

        The previous link drains; the cancels sent on it keep their deadlines.
        """
        before, down_for = self._links.serve(link, now)
        if self._rest is not None:
            self._rest.refused = False
        self._outputs.append(Up(link=link.number, down_for=down_for))
        if before is not None and before.connection.state is State.READY:
            before.connection.close(now, within=inf)
            self.collect(before, now, ending=ending)
        self._own.ready(link.connection)
        if link.leaving:
            self._links.leave(link, now)

    def _ended(self, link: Link, closed: Closed, now: float, *, ending: bool) -> Ended | None:
        """Remove a link that has ended. Its cancels are queued again or have their outcomes."""
        links, lane = self._links, link.lane
        self._outputs.append(LinkClosed(link=link.number, why=closed.why, detail=closed.detail))
        del links.all[link.number]
        if ending:
            return None
        if link is lane.serving:
            if links.lost(link, now):
                up_for = now - link.up_at
                self._outputs.append(
                    Down(link=link.number, why=closed.why, detail=closed.detail, up_for=up_for)
                )
        elif link is lane.successor:
            return links.dial_failed(link, now)
        return None
