"""Counts the outcomes of a run, and knows which orders remain after it.

- An order without an outcome is listed as missing and counted nowhere else.
- Percentiles are of answered cancels only, from the time the frame was sent to the time the answer
  was known.
- If the final state of an order was looked up, it takes precedence over the outcome of the cancel.
- After an earlier attempt that may have reached the exchange, a refusal says nothing about that
  attempt, unless it says that the order has ended (docs/outcomes.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    CodeClass,
    Filled,
    Final,
    Outcome,
    Rejected,
    StillOpen,
    Unresolved,
    WhyUnresolved,
)


class Ledger:
    """The outcomes of one run. Pass `orders()` to the run, and each outcome to `add`.

    `earlier` has the attempts of earlier runs that may have reached the exchange.
    """

    def __init__(
        self, asked: Iterable[CancelOrder], earlier: Mapping[CancelOrder, int] | None = None
    ) -> None:
        self.asked = tuple(asked)
        self.earlier = dict(earlier or {})
        self.outcomes: list[Outcome] = []
        """The outcomes, in the order in which they were reported."""
        self.finals: dict[CancelOrder, Final] = {}
        """What became of the orders, as far as it was looked up."""
        self.accepted = 0
        self.rejected = Counter[CodeClass]()
        self.sent = Counter[WhyUnresolved]()
        """Unresolved cancels that were sent, by reason."""
        self.not_sent = Counter[WhyUnresolved]()
        """Unresolved cancels that were not sent, by reason."""
        self.given = 0
        """How many orders `orders` has yielded."""

    def orders(self) -> Iterator[CancelOrder]:
        """Yield the orders to cancel, and count them."""
        for order in self.asked:
            self.given += 1
            yield order

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.outcomes.append(outcome)
        match outcome:
            case Accepted():
                self.accepted += 1
            case Rejected(code_class=code_class):
                self.rejected[code_class] += 1
            case Unresolved(sent=True, why=why):
                self.sent[why] += 1
            case Unresolved(why=why):
                self.not_sent[why] += 1

    def confirm(self, final: Final) -> None:
        """Note what became of an order."""
        self.finals[final.outcome.order] = final

    def has_ended(self, order: CancelOrder) -> bool:
        """Return whether the order is known to have ended, cancelled or filled."""
        return isinstance(self.finals.get(order), (Cancelled, Filled))

    @property
    def unresolved(self) -> int:
        """The number of unresolved cancels, sent or not."""
        return self.sent.total() + self.not_sent.total()

    @property
    def missing(self) -> tuple[CancelOrder, ...]:
        """Orders that were yielded and have no outcome. There are none, except after a bug."""
        settled = Counter(outcome.order for outcome in self.outcomes)
        return tuple(order for order in self.asked[: self.given] if not settled[order])

    def attempts(self, outcome: Outcome) -> int:
        """Return how many attempts, with those of earlier runs, may have reached the exchange."""
        now = 0 if outcome.sent_at is None else outcome.attempts
        return self.earlier.get(outcome.order, 0) + now

    def left(self) -> Iterator[tuple[CancelOrder, int]]:
        """Yield the orders whose cancel is not settled, and their attempts, in the input's order.

        A cancel with 0 attempts is safe to send. The others may have taken effect. An order that is
        known to have ended is left out, and one that was still open may be cancelled again.
        """
        settled = {outcome.order: outcome for outcome in self.outcomes}
        for number, order in enumerate(self.asked):
            outcome = settled.get(order)
            if outcome is None:
                missing = number < self.given
                yield order, self.earlier.get(order, 0) + missing
                continue
            if self.has_ended(order):
                continue
            if isinstance(self.finals.get(order), StillOpen):
                yield order, 0
                continue
            attempts = self.attempts(outcome)
            match outcome:
                case Unresolved():
                    yield order, attempts
                case Rejected(code_class=CodeClass.THROTTLED):
                    yield order, attempts - 1  # the refused attempt had no effect
                case Rejected(code_class=code_class) if (
                    attempts > 1 and code_class is not CodeClass.FINISHED
                ):
                    yield order, attempts - 1
                case _:
                    pass

    @property
    def latencies(self) -> list[float]:
        """Seconds from sending to the answer of each answered cancel, in ascending order."""
        return sorted(
            latency for outcome in self.outcomes if (latency := latency_of(outcome)) is not None
        )


def percentile(ascending: list[float], share: float) -> float | None:
    """Return a percentile by nearest rank (`share` is from 0 to 1), or None for an empty list."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else None


def latency_of(outcome: Outcome) -> float | None:
    """Return the seconds from sending to the answer, or None without an answer."""
    if outcome.sent_at is None or isinstance(outcome, Unresolved):
        return None
    return outcome.resolved_at - outcome.sent_at
