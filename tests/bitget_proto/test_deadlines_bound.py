"""Tests of the number of stored deadlines, for any order in which cancels are settled."""

from __future__ import annotations

from math import inf

import attrs

from bitget_proto._machine.deadlines import Deadlines


@attrs.define(eq=False)
class _Entry:
    deadline: float = inf
    version: int = 0


def test_cleared_entries_stay_few_when_the_first_are_cleared_last() -> None:
    deadlines: Deadlines[_Entry] = Deadlines()
    entries = [_Entry() for _ in range(2000)]
    for n, entry in enumerate(entries):
        deadlines.set(entry, float(n))
    living = len(entries)
    # From the middle, then from the front: the last entry keeps those of the middle stored.
    for entry in (*entries[967:-1], *entries[:967]):
        deadlines.set(entry, inf)
        living -= 1
        assert len(deadlines) <= 2 * living + 64


def test_cleared_entries_are_dropped_in_bulk_when_deadlines_are_set_again() -> None:
    """Cancels of a session do this when a link returns them."""
    deadlines: Deadlines[_Entry] = Deadlines()
    entries = [_Entry() for _ in range(500)]
    for n, entry in enumerate(entries):
        deadlines.set(entry, float(n))
    dropped, stored = 0, deadlines._queue
    for _ in range(5):
        # Not the first: cleared entries behind it stay stored.
        for n, entry in enumerate(entries[1:], 1):
            deadlines.set(entry, inf)
            assert len(deadlines) <= 2 * 499 + 64
            deadlines.set(entry, float(n))
            if deadlines._queue is not stored:
                dropped, stored = dropped + 1, deadlines._queue
    assert dropped == 5 * 499 // (500 + 64)
    for living, entry in zip(range(499, -1, -1), entries, strict=True):
        assert deadlines.first() is entry
        deadlines.set(entry, inf)
        assert len(deadlines) <= 2 * living + 64
