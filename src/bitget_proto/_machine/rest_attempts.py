"""The cancels that a session sends by REST: which may be sent, and what an answer means.

A session does this only with `SessionConfig.rest_after`. A cancel that no link has taken for that
long is sent by REST, unless a serving link can send it now. The links and REST spend from the same
`Budget`: "Rate limit will be shared with Rest API" (Cancel Order Channel).

Rules for changes
- A request counts as sent once `poll` has returned it. Only 429 and `unsent` undo this: the cancel
  is then queued again.
- A request that failed, an answer that cannot be read, and 5xx prove nothing: the attempt is
  UNSURE. An attempt without an answer by its deadline is TIMEOUT, or CLOSED in a closing session.
- While a request is unanswered, its cancel is not in the queue, so no link gets it.
- After a refused login, nothing is sent by REST until a login is accepted: the exchange would
  refuse the same key or the same timestamp. "System busy" and "try again later" do not count as
  refusals: the exchange sends them during maintenance of the WebSocket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from math import inf

from .._values.codes import CodeClass
from .._values.dialects import Dialect
from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import LateReply, Outcome, WhyUnresolved
from .._values.timers import Timer
from .._wire.message_limits import as_text
from .._wire.rest import RestCodec
from .cancel_attempts import Cancel
from .deadlines import Deadlines, after
from .in_flight import OpenCancel
from .links import REST, Link
from .rate_limit import PAUSE, Budget
from .session_config import SessionConfig
from .session_events import RestCancel
from .session_queue import SessionQueue

_TOO_MANY_REQUESTS = 429

_SAYS_NOTHING_OF_THE_KEY = frozenset({CodeClass.OUTCOME_UNKNOWN, CodeClass.RETRY_LATER})

_MAX_REASON = 200


class RestAttempts:
    """The REST requests of one session."""

    __slots__ = (
        "_answer_timeout",
        "_codec",
        "_count",
        "_deadlines",
        "_late",
        "_late_ids",
        "_resumes",
        "_stalled_after",
        "closes_at",
        "refused",
        "unanswered",
    )

    def __init__(self, config: SessionConfig, dialect: Dialect) -> None:
        self._answer_timeout = config.link.answer_timeout
        self._late_ids = config.link.late_ids
        self._stalled_after = config.rest_after or 0.0
        self._codec = RestCodec(dialect)
        self._count = 0
        self._deadlines: Deadlines[OpenCancel] = Deadlines()
        self._late: OrderedDict[int, OpenCancel] = OrderedDict()
        """The attempts that had no answer in time, by number, the oldest first."""
        self._resumes = -inf
        """When the pause after a request that was not taken ends."""
        self.unanswered: dict[int, OpenCancel] = {}
        """The attempts whose request has no answer yet, by the number of the request."""
        self.refused = False
        """Whether a login or a REST signature was refused since a login was last accepted."""
        self.closes_at = inf
        """When a closing session stops waiting for answers."""

    def login_refused(self, code_class: CodeClass) -> None:
        """Handle a login that was rejected with a code of this class."""
        if code_class not in _SAYS_NOTHING_OF_THE_KEY:
            self.refused = True

    # --- requests ---

    def next(
        self,
        queue: SessionQueue,
        serving: list[Link],
        budget: Budget,
        busy: Container[int],
        now: float,
    ) -> RestCancel | tuple[float, Timer | None]:
        """Return the next request, or when one may be sent and what it waits for.

        Call it only when no link can send a cancel now.
        """
        if self.refused or REST in busy:
            return inf, None
        first, allowed_at = queue.next_by_rest(now)
        allowed_at = max(allowed_at, self._resumes)
        if serving and all(link.number in busy for link in serving):
            # A write that takes long is a stall. Other writes end in a moment.
            allowed_at = max(
                allowed_at, max(link.wrote_at for link in serving) + self._stalled_after
            )
        if first is None or allowed_at > now:
            return allowed_at, None if allowed_at == inf else Timer.REST
        allowed_at = budget.allowed_at(now)
        if allowed_at > now:
            return allowed_at, None if allowed_at == inf else Timer.PACING
        first.trying_since, first.trying_by_rest = now, True
        budget.debit(1, now)
        queue.mark_sent(first, now)
        return self._begin(first, now)

    def _begin(self, cancel: Cancel, now: float) -> RestCancel:
        self._count += 1
        attempt = OpenCancel(
            cancel.id,
            cancel.order,
            cancel.taken_at,
            cancel.timeout_at,
            self._count,
            cancel.rank,
            sent_at=now,
        )
        self.unanswered[self._count] = attempt
        self._deadlines.set(attempt, min(after(now, self._answer_timeout), cancel.timeout_at))
        return RestCancel(
            number=self._count, id=cancel.id, request=self._codec.cancel(cancel.order)
        )

    def waiting_for_grant(self, queue: SessionQueue, budget: Budget, now: float) -> int:
        """Return how many cancels could be sent by REST if the budget were granted more."""
        if self.refused or not budget.needs_grant(now):
            return 0
        return sum(cancel.rest_at <= now for cancel in queue.waiting)

    # --- answers ---

    def check_number(self, number: object) -> None:
        """Check the number of a request.

        Raises: ValidationError if it is not a whole number; LocalProtocolError if `poll` has
        returned no request with this number.
        """
        if type(number) is not int:
            raise ValidationError(
                "number must be the number of a request, as in RestCancel.number; got "
                f"{safe_repr(number)}"
            )
        if not 0 < number <= self._count:
            raise LocalProtocolError(
                f"poll has returned no RestCancel with the number {number}: pass the number that "
                "RestCancel.number gave"
            )

    def replied(
        self, number: int, status: int, body: str | bytes, budget: Budget, now: float
    ) -> Outcome | LateReply | None:
        """Return the outcome of an attempt that was answered, or a late reply.

        None means that it was answered before, or that its deadline expired too long ago.
        """
        late = self._late.pop(number, None)
        attempt = late or self._end(number)
        if attempt is None:
            return None
        reply = self._codec.read_cancel(attempt.order, status, body)
        if late is not None:
            return LateReply(
                id=late.id,
                order=late.order,
                code=reply.code,
                code_class=reply.code_class,
                message=reply.message,
                exchange_ts=reply.exchange_ts,
                text=as_text(body),
            )
        if status == _TOO_MANY_REQUESTS or reply.code == str(_TOO_MANY_REQUESTS):
            budget.pause(now)
            return self._not_taken(attempt, now)
        if reply.code_class is CodeClass.LOGIN:
            self.refused = True
        return attempt.outcome_from(reply, now)

    def failed(self, number: int, reason: str, now: float, *, unsent: bool) -> Outcome | None:
        """Return the outcome of an attempt that got no answer; None if it has already ended."""
        self._late.pop(number, None)
        attempt = self._end(number)
        if attempt is None:
            return None
        if unsent:
            return self._not_taken(attempt, now)
        hint = f"a REST request got no answer: {reason}"[:_MAX_REASON]
        return attempt.unresolved(WhyUnresolved.UNSURE, now, hint=hint)

    def _not_taken(self, attempt: OpenCancel, now: float) -> Outcome:
        """Return the outcome of an attempt that does not count: the cancel is queued again."""
        self._resumes = now + PAUSE
        attempt.sent_at = inf
        return attempt.unresolved(WhyUnresolved.CLOSED, now)

    def _end(self, number: int) -> OpenCancel | None:
        attempt = self.unanswered.pop(number, None)
        if attempt is not None:
            self._deadlines.set(attempt, inf)
        return attempt

    # --- time ---

    def due(self) -> tuple[float, Timer | None]:
        """Return when the next deadline expires, and its timer."""
        if not self.unanswered:
            return inf, None
        if self.closes_at < self._deadlines.until:
            return self.closes_at, Timer.DRAIN
        until = self._deadlines.until
        return until, None if until == inf else Timer.REQUEST

    def expired(self, now: float) -> tuple[str, WhyUnresolved] | None:
        """Give up one attempt whose deadline has expired. Return the cancel's id and the reason.

        Return None if there is no such attempt. A later answer is a late reply.
        """
        attempt, why = self._deadlines.first(), WhyUnresolved.TIMEOUT
        if attempt is None or attempt.deadline > now:
            attempt, why = next(iter(self.unanswered.values()), None), WhyUnresolved.CLOSED
            if attempt is None or self.closes_at > now:
                return None
        self._end(attempt.number)
        self._late[attempt.number] = attempt
        if self._late_ids is not None and len(self._late) > self._late_ids:
            self._late.popitem(last=False)
        return attempt.id, why

    def clear(self) -> None:
        """Forget everything."""
        self.unanswered.clear()
        self._late.clear()
        self._deadlines.clear()
