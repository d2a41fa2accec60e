"""One cancel of a session: what was tried for it, and what the outcome of an attempt says about the whole.

Rules of this file
- What is known of a cancel is what is known of all its attempts. One that may have worked is never forgotten: whatever comes
  later, `sent` stays true.
- An attempt counts when its frame was handed out and not provably kept back. A link says so itself: the outcome of such an
  attempt has a `sent_at`.
- An answer to the only attempt is final. After an earlier one, which may have worked, only two answers are: the exchange took
  the request, or the order is filled or cancelled already.

It does not know links, queues or when anything is sent again.
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
    """A cancel that a session took."""

    id: str
    order: CancelOrder
    taken_at: float
    queue_until: float
    """Until when it must be sent; infinity for no limit."""

    until: float
    """The end of all its time; infinity for none."""

    number: int
    """Its place in the order taken."""

    rank: Rank
    resend: bool
    """Whether it may be sent again when a link ends before the answer."""

    deadline: float = inf
    """Until when it must be sent."""

    returned: bool = False
    """Whether a link has given it back."""

    turn: int = 0
    """Set by `Deadlines`."""

    attempts: int = 0
    """How many have ended that may have reached the exchange, …"""
    sent_at: float | None = None
    """… and when the last of them was handed out."""

    trying_since: float | None = None
    """When the attempt under way was handed out."""

    def outcome_of(self, attempt: Outcome, *, ending: bool) -> Outcome | None:
        """Count an attempt by its outcome. The cancel's own outcome, or None when it is to be tried on the next link: not
        when the session is `ending`.
        """
        if attempt.sent_at is not None:
            # In one: an interruption in between would forget that it was sent.
            self.attempts, self.sent_at, self.trying_since = (
                self.attempts + 1,
                attempt.sent_at,
                None,
            )
        else:
            self.trying_since = None
        if isinstance(attempt, Unresolved):
            back = attempt.why is WhyUnresolved.LOST or attempt.why is WhyUnresolved.CLOSED
            if back and not ending and (self.resend or not attempt.sent):
                return None
            return self.unresolved(attempt.why, attempt.resolved_at, attempt.code, attempt.message)
        if self.attempts == 1:
            return attempt
        if isinstance(attempt, Rejected) and attempt.code_class not in FINAL_AFTER_RESEND:
            return self.unresolved(
                WhyUnresolved.UNSURE, attempt.resolved_at, attempt.code, attempt.message
            )
        return attrs.evolve(attempt, attempts=self.attempts)

    def unresolved(
        self, why: WhyUnresolved, now: float, code: str | None = None, message: str | None = None
    ) -> Unresolved:
        """The cancel's own outcome when what became of it is not known, or when it never left."""
        sent_at = self.sent_at if self.trying_since is None else self.trying_since
        return Unresolved(
            id=self.id,
            order=self.order,
            attempts=max(self.attempts + (self.trying_since is not None), 1),
            taken_at=self.taken_at,
            sent_at=sent_at,
            resolved_at=now,
            sent=sent_at is not None,
            why=why,
            code=code,
            message=message,
        )
