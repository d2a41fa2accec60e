"""Ends a session: waiting cancels are settled, each link closes, and `Ended` is the last event.

`connection` has the rules for interruptions. `interrupted` must work wherever a call was
interrupted, and again if it is interrupted itself.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from .._values.events import LateReply, Outcome
from .._values.states import State, WhyClosed
from .arguments import Queued
from .connection import NORMAL_CLOSURE
from .connection_config import Config
from .deadlines import after
from .link_outputs import LinkOutputs
from .links import Link, Links
from .session_events import Ended, LinkClosed, LinkHangup, SessionOutput
from .session_outcomes import SessionOutcomes
from .session_queue import SessionQueue
from .session_states import SessionState, SessionStep, WhyEnded

if TYPE_CHECKING:
    from .rest_attempts import RestAttempts

_ASKED = Ended(why=WhyEnded.ASKED, detail="", code=None)


class SessionCloser:
    """Ends one session, step by step."""

    __slots__ = (
        "_cancels",
        "_config",
        "_link_outputs",
        "_links",
        "_outcomes",
        "_outputs",
        "_rest",
        "close_at",
        "closing",
        "pending",
    )

    def __init__(
        self,
        config: Config,
        cancels: SessionQueue,
        links: Links,
        outcomes: SessionOutcomes,
        link_outputs: LinkOutputs,
        rest: RestAttempts | None,
        outputs: deque[SessionOutput],
    ) -> None:
        self._config = config
        self._cancels = cancels
        self._links = links
        self._outcomes = outcomes
        self._link_outputs = link_outputs
        self._rest = rest
        self._outputs = outputs
        self.closing = False
        """Whether `close(queued="send")` was called, so that nothing more is taken."""
        self.close_at = inf
        """The deadline that `close(queued="send")` set for sending what is still queued."""
        self.pending: Ended | None = None
        """The last event, added when every link has ended; None if the session is not ending."""

    def close(self, queued: Queued, within: float | None, now: float) -> None:
        """Handle `Session.close`."""
        again = self.closing or self.pending is not None
        if self.pending is None and (again or queued == "drop"):
            self._begin(_ASKED, now, within=within)
        if again:
            for link in list(self._links.all.values()):
                link.connection.close(now)
                self.handle_outputs(link, now)
            if self._rest is not None:
                self._rest.closes_at = now
                self.expire_rest(now)
        elif queued == "send":
            self.closing = True
            seconds = self._config.queue_timeout if within is None else within
            self.close_at = after(now, seconds)
            self.end_if_done(now)

    def handle_outputs(self, link: Link, now: float) -> None:
        """Handle the outputs of a link, which may end the session."""
        ending = self.pending is not None
        end = self._link_outputs.collect(link, now, ending=ending)
        if end is not None:
            self._begin(end, now)
        elif ending:
            self._finish_if_over()

    def rest_ended(self, result: Outcome | LateReply | None, now: float) -> None:
        """Handle the end of a REST request. The session may have waited only for this."""
        if isinstance(result, LateReply):
            self._outputs.append(result)
        elif result is not None:
            self._outcomes.attempt(result, now, ending=self.pending is not None)
            self.end_if_done(now)
            self._finish_if_over()

    def expire_rest(self, now: float) -> None:
        """Settle the cancels whose REST request was not answered in time."""
        if self._rest is not None:
            self._outcomes.expire_rest(self._rest, now)
            self._finish_if_over()

    def handle_timeout(self, now: float) -> None:
        """End a closing session whose time for sending has expired."""
        if self.close_at <= now and self.pending is None:
            self._begin(_ASKED, now)
        self.end_if_done(now)

    def end_if_done(self, now: float) -> None:
        """End a closing session if no cancel is open.

        If time is left, each link first sends the caller's frames that it has queued.
        """
        if self.closing and self.pending is None and not self._cancels:
            left = self.close_at - now
            self._begin(_ASKED, now, "send" if left > 0 else "drop", left if left > 0 else None)

    def _begin(
        self, ended: Ended, now: float, queued: Queued = "drop", within: float | None = None
    ) -> None:
        """Settle the waiting cancels and close each link.

        The session ends when no link and no REST request is left.
        """
        self.pending = ended
        self._links.clear_roles()
        self._outcomes.settle_waiting(now)
        if self._finish_if_over():
            return
        seconds = self._config.drain_timeout if within is None else within
        if self._rest is not None:
            self._rest.closes_at = after(now, seconds)
        for link in list(self._links.all.values()):
            if link.connection.state is State.DRAINING and link.connection.in_flight:
                # It was closed before: another `close` would end it at once.
                link.connection._drain_within(now, seconds)
            else:
                link.connection.close(now, queued, inf if seconds is None else seconds)
                self.handle_outputs(link, now)
        if self._links.state is not SessionState.ENDED:
            self._links.move(SessionStep.CLOSING)

    def _finish_if_over(self) -> bool:
        """End a session that is ending if no link and no unanswered REST request is left.

        Return whether this has ended it.
        """
        ended = self.pending
        if (
            ended is not None
            and self._links.state is not SessionState.ENDED
            and not self._links.all
            and not (self._rest is not None and self._rest.unanswered)
        ):
            self._outputs.append(ended)
            if self._rest is not None:
                self._rest.clear()
            self._links.move(ended.why)
            return True
        return False

    def interrupted(self, now: float) -> None:
        """End after an interrupted call.

        Keep the outputs, add an outcome for each cancel that has none, and end every link and the
        session.
        """
        self._outcomes.settle_interrupted(now)
        for output in [output for output in self._outputs if self._is_final(output)]:
            self._outputs.remove(output)
        why = WhyClosed.INTERRUPTED
        for link in self._links.all:
            self._outputs.append(
                LinkHangup(code=NORMAL_CLOSURE, reason=why.value, abort=True, link=link)
            )
            self._outputs.append(LinkClosed(link=link, why=why, detail=""))
        self.pending = Ended(why=WhyEnded.INTERRUPTED, detail="", code=None)
        self._outputs.append(self.pending)
        self._links.clear_roles()
        self._links.all.clear()
        self._cancels.clear()
        if self._rest is not None:
            self._rest.clear()
        self._links.move(WhyEnded.INTERRUPTED)

    def _is_final(self, output: SessionOutput) -> bool:
        """Return whether `interrupted` replaces this output: `Ended`, or the hangup or close of a
        link that is still open.
        """
        return isinstance(output, Ended) or (
            isinstance(output, LinkHangup | LinkClosed) and output.link in self._links.all
        )
