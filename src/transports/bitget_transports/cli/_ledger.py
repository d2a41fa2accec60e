"""What was asked, and what came of it: one outcome for each cancel, counted.

Rules of this file
- Nothing is guessed: an order without an outcome is listed as missing, and never counted as anything else.
- Percentiles are of what was really answered, from when it left to when its answer was known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from bitget_proto import (
    Accepted,
    CancelOrder,
    CodeClass,
    Outcome,
    Rejected,
    Unresolved,
    WhyUnresolved,
)


class Ledger:
    """The account of one run. Hand `orders()` to the run, and each outcome to `add`."""

    def __init__(self, asked: Iterable[CancelOrder]) -> None:
        self.asked = tuple(asked)
        self.outcomes: list[Outcome] = []
        """In the order in which they became known."""
        self.accepted = 0
        self.rejected = Counter[CodeClass]()
        self.sent = Counter[WhyUnresolved]()
        """Unresolved after they were sent."""
        self.not_sent = Counter[WhyUnresolved]()
        """Unresolved, and never sent."""
        self.given = 0
        """How many orders have been handed out."""

    def orders(self) -> Iterator[CancelOrder]:
        """What was asked, handed out one by one."""
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

    @property
    def unresolved(self) -> int:
        """How many are, whether or not they were sent."""
        return self.sent.total() + self.not_sent.total()

    @property
    def missing(self) -> tuple[CancelOrder, ...]:
        """Orders that were handed out and have no outcome. There are none, unless something is broken."""
        settled = Counter(outcome.order for outcome in self.outcomes)
        return tuple(order for order in self.asked[: self.given] if not settled[order])

    @property
    def latencies(self) -> list[float]:
        """Seconds from leaving to the answer, of all that were answered, in ascending order."""
        return sorted(
            latency for outcome in self.outcomes if (latency := latency_of(outcome)) is not None
        )


def percentile(ascending: list[float], share: float) -> float | None:
    """The smallest value that is not exceeded by this share of all (nearest rank); None of nothing."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else None


def latency_of(outcome: Outcome) -> float | None:
    """Seconds from leaving to the answer; None when there was none."""
    if outcome.sent_at is None or isinstance(outcome, Unresolved):
        return None
    return outcome.resolved_at - outcome.sent_at
