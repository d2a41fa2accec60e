"""A cancel of a session, and how the outcomes of its attempts combine.

Rules for changes
- An attempt that may have succeeded is never forgotten: once `sent` is true, it stays true.
- An attempt counts if its frame was passed to the driver and was not provably held back: its
  outcome then has a `sent_at`.
- The answer to the only attempt is final. After an earlier attempt, which may have succeeded, only
  two answers are final: the exchange accepted the request, or the order is already filled or
  cancelled.
"""

from __future__ import annotations

from math import inf

import attrs

from .._values.codes import FINAL_AFTER_RESEND
from .._values.events import Outcome, Rejected, Unresolved, WhyUnresolved
from .._values.orders import CancelOrder
from .cancel_queue import Rank


@attrs.define(eq=False)
class Cancel:
    """A cancel that was taken by a session."""

    id: str
    order: CancelOrder
    taken_at: float
    queue_until: float
    """The time by which it must be sent; infinity for no limit."""

    timeout_at: float
    """The time by which it must have its outcome; infinity for no limit."""

    number: int
    """Its position in the order in which cancels were taken."""

    rank: Rank
    resend: bool
    """Whether it may be sent again if a link ends before the answer."""

    deadline: float = inf
    """The time by which it must be sent. Set by `Deadlines`."""

    returned: bool = False
    """Whether it came back, from a link that ended or from REST."""

    version: int = 0
    """Set by `Deadlines`."""

    attempts: int = 0
    """The number of ended attempts that may have reached the exchange."""
    sent_at: float | None = None
    """When the last of these attempts was sent."""

    by_rest: tuple[int, ...] = ()
    """Which of these attempts were sent by REST, counted from 1."""

    trying_since: float | None = None
    """When the current attempt was sent; None if there is none."""

    trying_by_rest: bool = False
    """Whether the current attempt was sent by REST."""

    rest_at: float = inf
    """When it may be sent by REST, while it waits; infinity without `SessionConfig.rest_after`."""

    def outcome_of(self, attempt: Outcome, *, ending: bool) -> Outcome | None:
        """Count an attempt by its outcome and return the outcome of the cancel.

        Return None if the cancel must be queued again. This does not happen when the session is
        `ending`.
        """
        if attempt.sent_at is not None:
            # One assignment: an interruption in between would lose the fact that it was sent.
            self.attempts, self.sent_at, self.by_rest, self.trying_since, self.trying_by_rest = (
                self.attempts + 1,
                attempt.sent_at,
                self._all_by_rest(),
                None,
                False,
            )
        else:
            self.trying_since, self.trying_by_rest = None, False
        if isinstance(attempt, Unresolved):
            back = attempt.why is WhyUnresolved.LOST or attempt.why is WhyUnresolved.CLOSED
            if back and not ending and (self.resend or not attempt.sent):
                return None
            return self.unresolved(
                attempt.why, attempt.resolved_at, attempt.code, attempt.message, attempt.hint
            )
        if self.attempts == 1:
            return attrs.evolve(attempt, by_rest=self.by_rest) if self.by_rest else attempt
        if isinstance(attempt, Rejected) and attempt.code_class not in FINAL_AFTER_RESEND:
            return self.unresolved(
                WhyUnresolved.UNSURE, attempt.resolved_at, attempt.code, attempt.message
            )
        return attrs.evolve(attempt, attempts=self.attempts, by_rest=self.by_rest)

    def unresolved(
        self,
        why: WhyUnresolved,
        now: float,
        code: str | None = None,
        message: str | None = None,
        hint: str | None = None,
    ) -> Unresolved:
        """Return an `Unresolved` outcome for the cancel, over all its attempts."""
        sent_at = self.sent_at if self.trying_since is None else self.trying_since
        return Unresolved(
            id=self.id,
            order=self.order,
            attempts=max(self.attempts + (self.trying_since is not None), 1),
            by_rest=self._all_by_rest(),
            taken_at=self.taken_at,
            sent_at=sent_at,
            resolved_at=now,
            sent=sent_at is not None,
            why=why,
            code=code,
            message=message,
            hint=hint,
        )

    def _all_by_rest(self) -> tuple[int, ...]:
        """Return which attempts were sent by REST, including the current one."""
        return (*self.by_rest, self.attempts + 1) if self.trying_by_rest else self.by_rest
