"""Groups of sides to measure. A side is compared with its floor, and may have a target.

- A floor is the same work by hand with the same library. It does less: no checks, no bookkeeping,
  no deadlines. The ratio shows what these cost.
- What is prepared outside the measured time for a side is prepared for its floor too.
- A job repeats its work in a loop of its own. A function call for each repetition would add the
  same time to both sides and hide the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import Enum
from importlib.util import find_spec
from time import perf_counter_ns, process_time_ns
from typing import TypeAlias

import attrs

Job: TypeAlias = Callable[[int], Callable[[], object]]
"""Prepares `count` repetitions, and returns the function that runs them."""


class Verdict(Enum):
    """The result of comparing a figure with its target."""

    AIM = "aim"
    """The figure reaches `Target.aim`."""

    MUST = "must"
    """The figure reaches `Target.must` only."""

    MISSED = "MISSED"
    """The figure does not reach `Target.must`."""


@attrs.frozen
class Target:
    """The required and the desired bound of a ratio to the floor, or of a size in bytes."""

    must: float
    aim: float
    at_least: bool = False
    """Whether the bounds are lower bounds."""

    def verdict(self, value: float) -> Verdict:
        for verdict, bound in ((Verdict.AIM, self.aim), (Verdict.MUST, self.must)):
            if value >= bound if self.at_least else value <= bound:
                return verdict
        return Verdict.MISSED


@attrs.frozen
class Turn:
    """The time of one turn of a side."""

    seconds: float
    cpu_seconds: float
    """Processor time of this process only."""


@attrs.frozen(kw_only=True)
class Side:
    """A side that is measured in time."""

    name: str
    turn: Callable[[int], Turn]
    """Runs the given number of repetitions."""

    floor: str | None = None
    """The name of the side in the same group to compare with; None for a floor, or without one."""

    target: Target | None = None
    size: float | None = None
    """Bytes that one repetition encodes or decodes; None where throughput is not meaningful."""

    per: int = 1
    """The number of frames or cancels in one repetition."""

    collector: bool = False
    """Whether Python's garbage collector is on."""


@attrs.frozen(kw_only=True)
class Weight:
    """A side that is measured in bytes."""

    name: str
    weigh: Callable[[bool], float]
    """Returns the bytes of each; with True, measures only a few."""

    target: Target | None = None


@attrs.frozen(kw_only=True)
class Skipped:
    """A side that cannot be measured here."""

    name: str
    why: str


Part: TypeAlias = Side | Weight | Skipped


@attrs.frozen(kw_only=True)
class Group:
    """Sides that are measured together."""

    name: str
    sides: Callable[[ExitStack], Sequence[Part]]
    """Builds the sides. Resources to close at the end go onto the stack."""

    seconds: float = 2e-3
    """The approximate duration of a turn."""

    rounds: float = 1.0
    """The number of rounds, as a fraction of the usual number."""

    by_rate: bool = False
    """Whether ratios are of rates instead of times, so that more is better."""


def timed(job: Job) -> Callable[[int], Turn]:
    """Return the turn of a job, which times the run but not the preparation."""

    def turn(count: int) -> Turn:
        run = job(count)
        cpu_before = process_time_ns()
        before = perf_counter_ns()
        run()
        seconds = (perf_counter_ns() - before) / 1e9
        return Turn(seconds, (process_time_ns() - cpu_before) / 1e9)

    return turn


def missing(module: str, name: str, extra: str = "bench") -> Skipped | None:
    """Return a `Skipped` side when `module` is not installed, else None."""
    if find_spec(module) is not None:
        return None
    return Skipped(name=name, why=f"{module} is not installed: pip install -e '.[{extra}]'")
