"""One cancel of a session: what was tried for it, and what the outcome of an attempt says about the whole.

Rules of this file
- What is known of a cancel is what is known of all its attempts. One that may have worked is never forgotten: whatever comes
  later, `sent` stays true.
- An attempt counts when its frame was handed out and not provably kept back. A link says so itself: the outcome of such an
  attempt has a `sent_at`.
- An answer to one attempt is final for the cancel where it would be final for any of them. A refusal is not: the attempt before
  may have worked. "Finished" is, since the order has ended, by whichever attempt.

It does not know links, queues or when anything is sent again.
"""

from __future__ import annotations

import attrs

from ._codes import FINAL_AFTER_RESEND
from ._events import Accepted, Outcome, Rejected, Unresolved, WhyUnresolved
from ._orders import CancelOrder


@attrs.define(eq=False)
class Cancel:
    """A cancel that a session took."""

    id: str
    order: CancelOrder
    deadline: float
    taken_at: float
    resend: bool
    """Whether it may be sent again when a link ends before the answer."""

    number: int
    """Its place in the order taken."""

    attempts: int = 0
    """How many have ended that may have reached the exchange, …"""
    sent_at: float | None = None
    """… and when the last of them was handed out."""

    waiting: bool = False
    """Whether a link holds it and has not handed it out."""

    done: bool = False

    def outcome_of(self, attempt: Outcome, *, ending: bool) -> Outcome | None:
        """Count an attempt by its outcome. The cancel's own outcome, or None when it is to be tried on the next link: not
        when the session is `ending`.
        """
        if attempt.sent_at is not None:
            self.attempts += 1
            self.sent_at = attempt.sent_at
        if isinstance(attempt, Unresolved):
            back = attempt.why is WhyUnresolved.LOST or attempt.why is WhyUnresolved.CLOSED
            if back and not ending and (self.resend or not attempt.sent):
                return None
            return self.unresolved(attempt.why, attempt.resolved_at, attempt.code, attempt.message)
        if isinstance(attempt, Rejected) and self.attempts > 1 and attempt.code_class not in FINAL_AFTER_RESEND:
            return self.unresolved(WhyUnresolved.UNSURE, attempt.resolved_at, attempt.code, attempt.message)
        if self.attempts == 1 and attempt.taken_at == self.taken_at:
            return attempt
        return self._retold(attempt)

    def unresolved(
        self, why: WhyUnresolved, now: float, code: str | None = None, message: str | None = None
    ) -> Unresolved:
        """The cancel's own outcome when nobody knows what became of it, or when it never left."""
        return Unresolved(
            id=self.id,
            order=self.order,
            attempts=max(self.attempts, 1),
            taken_at=self.taken_at,
            sent_at=self.sent_at,
            resolved_at=now,
            sent=self.sent_at is not None,
            why=why,
            code=code,
            message=message,
        )

    def _retold(self, answer: Accepted | Rejected) -> Outcome:
        return attrs.evolve(answer, attempts=self.attempts, taken_at=self.taken_at)
