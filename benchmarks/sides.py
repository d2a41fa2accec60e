"""What is measured: groups of sides, each beside its floor, some with a target.

Rules of this file
- A side stands beside its floor: the least that anyone could do by hand with the same library. The floor does less (it checks
  nothing, remembers nothing, knows no deadline), which is the point of showing both.
- What is prepared for one side, and is not measured, is prepared for its floor as well.
- A job does its work so often by a loop of its own: a call each time would add the same to both sides, and hide what they
  differ in.

It does not know how turns are taken, nor how results are shown.
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
"""Prepares to do something so often, and gives what does it."""


class Verdict(Enum):
    """What a figure is beside its target."""

    AIM = "aim"
    """As good as was hoped for, or better."""

    MUST = "must"
    """Good enough."""

    MISSED = "MISSED"


@attrs.frozen
class Target:
    """Where the ratio of a side to its floor, or a size in bytes, must land, and where it should."""

    must: float
    aim: float
    at_least: bool = False
    """Whether more is better."""

    def verdict(self, value: float) -> Verdict:
        for verdict, bound in ((Verdict.AIM, self.aim), (Verdict.MUST, self.must)):
            if value >= bound if self.at_least else value <= bound:
                return verdict
        return Verdict.MISSED


@attrs.frozen
class Turn:
    """What a side took for one turn."""

    seconds: float
    cpu_seconds: float
    """Of this process alone."""


@attrs.frozen(kw_only=True)
class Side:
    """One thing that is measured in time."""

    name: str
    turn: Callable[[int], Turn]
    """Does it so often."""

    floor: str | None = None
    """The name of the side of the same group that it is compared with; None for a floor, and for what has none."""

    target: Target | None = None
    size: float | None = None
    """Bytes that doing it once writes or reads; None where that says nothing."""

    per: int = 1
    """How many of what is counted doing it once does: frames, cancels."""

    collector: bool = False
    """Whether Python's garbage collector is on."""


@attrs.frozen(kw_only=True)
class Weight:
    """One thing that is measured in bytes."""

    name: str
    weigh: Callable[[bool], float]
    """Bytes for each of many; of few when it is told to be quick."""

    target: Target | None = None


@attrs.frozen(kw_only=True)
class Skipped:
    """What cannot be measured here."""

    name: str
    why: str


Part: TypeAlias = Side | Weight | Skipped


@attrs.frozen(kw_only=True)
class Group:
    """Sides that take turns, or weights."""

    name: str
    sides: Callable[[ExitStack], Sequence[Part]]
    """Builds them; whatever must be closed in the end goes onto the stack."""

    seconds: float = 2e-3
    """How long a turn takes, about."""

    rounds: float = 1.0
    """How many rounds, as a part of the usual number."""

    by_rate: bool = False
    """Whether the ratios are those of how much is done in a second, so that more is better."""


def timed(job: Job) -> Callable[[int], Turn]:
    """A turn of this job: what is done is timed, what is prepared is not."""

    def turn(count: int) -> Turn:
        run = job(count)
        cpu_before = process_time_ns()
        before = perf_counter_ns()
        run()
        seconds = (perf_counter_ns() - before) / 1e9
        return Turn(seconds, (process_time_ns() - cpu_before) / 1e9)

    return turn


def missing(module: str, name: str, extra: str = "bench") -> Skipped | None:
    """Why a side is skipped that needs this module; None where it is installed."""
    if find_spec(module) is not None:
        return None
    return Skipped(name=name, why=f"{module} is not installed: pip install -e '.[{extra}]'")
