"""How many deadlines are kept, whatever the order in which cancels are settled."""

from __future__ import annotations

import attrs

from bitget_proto._timers import Deadlines


@attrs.define(eq=False)
class _Entry:
    deadline: float
    done: bool = False


def test_the_dead_stay_few_when_the_first_are_settled_last() -> None:
    deadlines: Deadlines[_Entry] = Deadlines()
    entries = [_Entry(float(n)) for n in range(2000)]
    for entry in entries:
        deadlines.add(entry)
    living = len(entries)
    # From the middle, then from the front: the last one keeps those in the middle from being dropped.
    for entry in (*entries[967:-1], *entries[:967]):
        entry.done = True
        deadlines.settled(entry)
        living -= 1
        assert len(deadlines) <= 2 * living + 64
