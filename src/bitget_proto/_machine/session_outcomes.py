"""Gives each cancel of a session its one outcome: from its attempts, its deadlines or the end.

A cancel gets its outcome in `SessionOutcomes.settle` only, which also removes it from
`SessionQueue`. The exception is `settle_interrupted`, which must work wherever a call was
interrupted. `cancel_attempts` decides what the outcome of an attempt means for the cancel.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .._values.events import Outcome, Unresolved, WhyUnresolved
from .cancel_attempts import Cancel
from .links import Links
from .outcomes import settled_ids
from .request_ids import IN_FLIGHT
from .session_events import SessionOutput
from .session_queue import SessionQueue

if TYPE_CHECKING:
    from .rest_attempts import RestAttempts


class SessionOutcomes:
    """The outcomes of one session; adds them to the session's outputs."""

    __slots__ = ("_cancels", "_links", "_outputs", "answered")

    def __init__(self, cancels: SessionQueue, links: Links, outputs: deque[SessionOutput]) -> None:
        self._cancels = cancels
        self._links = links
        self._outputs = outputs
        self.answered = False
        """Whether the exchange has answered a cancel on a link."""

    def settle(self, cancel: Cancel, outcome: Outcome) -> None:
        """Report the outcome of a cancel and remove the cancel."""
        self._outputs.append(outcome)
        self._cancels.remove(cancel)

    def link_attempt(self, attempt: Outcome, now: float, *, ending: bool) -> None:
        """Handle the outcome that a link reports for a cancel.

        `ending` says whether the session is ending.
        """
        self.answered = (
            self.answered
            or not isinstance(attempt, Unresolved)
            or attempt.why is WhyUnresolved.UNSURE
        )
        self.attempt(attempt, now, ending=ending)

    def attempt(self, attempt: Outcome, now: float, *, ending: bool) -> None:
        """Handle the outcome of an attempt: settle the cancel, or queue it again."""
        cancel = self._cancels.open[attempt.id]
        outcome = cancel.outcome_of(attempt, ending=ending)
        if outcome is None:
            self._cancels.give_back(cancel, now)
        else:
            self.settle(cancel, outcome)

    def settle_waiting(self, now: float) -> None:
        """Settle the waiting cancels of a session that ends."""
        for cancel in self._cancels.in_order():
            self.settle(cancel, cancel.unresolved(WhyUnresolved.CLOSED, now))

    def settle_interrupted(self, now: float) -> None:
        """Add an outcome for each cancel that has none among the outputs.

        If this is interrupted, call it again. The cancels stay in `SessionQueue`.
        """
        done = settled_ids(self._outputs)
        for cancel in self._cancels.open.values():
            if cancel.id not in done:
                self._outputs.append(cancel.unresolved(WhyUnresolved.INTERRUPTED, now))

    # --- deadlines ---

    def expire(self, now: float) -> None:
        """Settle the waiting cancels whose time has expired."""
        while (cancel := self._cancels.expired(now)) is not None:
            self.settle(cancel, cancel.unresolved(WhyUnresolved.TIMEOUT, now))
        while (cancel := self._expired_without_link(now)) is not None:
            self.settle(cancel, cancel.unresolved(WhyUnresolved.NO_LINK, now))

    def expire_rest(self, rest: RestAttempts, now: float) -> None:
        """Settle the cancels whose REST request was not answered in time."""
        while (expired := rest.expired(now)) is not None:
            id, why = expired
            cancel = self._cancels.open[id]
            self.settle(cancel, cancel.unresolved(why, now))

    def _expired_without_link(self, now: float) -> Cancel | None:
        """Return a cancel that has waited too long for a link."""
        if self._links.serving:
            return None
        for cancel in self._cancels.first_without_link():
            if self._links.no_link_until(cancel.taken_at) <= now:
                return cancel
        return None

    # --- ids ---

    def id_conflict(self, id: str) -> str | None:
        """Return why a new cancel cannot have this id, as text for an error; None if it can."""
        return IN_FLIGHT if id in settled_ids(self._outputs) else self.open_conflict(id)

    def open_conflict(self, id: str) -> str | None:
        """Return why no frame of the caller's own can have this id; None if one can."""
        if id in self._cancels.open:
            return IN_FLIGHT
        for link in self._links.all.values():
            if (why := link.connection._in_flight.id_conflict(id)) is not None:
                return why
        return None
