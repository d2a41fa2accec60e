"""Counts the outcomes of a run.

An order without an outcome is listed as missing and counted nowhere else. Percentiles are of
answered cancels only, from the time the frame was sent to the time the answer was known.
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
    """The outcomes of one run. Pass `orders()` to the run, and each outcome to `add`."""

    def __init__(self, asked: Iterable[CancelOrder]) -> None:
        self.asked = tuple(asked)
        self.outcomes: list[Outcome] = []
        """The outcomes, in the order in which they were reported."""
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

    @property
    def unresolved(self) -> int:
        """The number of unresolved cancels, sent or not."""
        return self.sent.total() + self.not_sent.total()

    @property
    def missing(self) -> tuple[CancelOrder, ...]:
        """Orders that were yielded and have no outcome. There are none, except after a bug."""
        settled = Counter(outcome.order for outcome in self.outcomes)
        return tuple(order for order in self.asked[: self.given] if not settled[order])

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
