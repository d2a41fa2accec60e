"""Random choices that can be recorded, repeated and shrunk."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

Tape = Sequence[Sequence[int]]
"""The choices of a run, one part per action. The first part sets it up, the last one ends it."""


class Dice:
    """The source of all choices of a run: a seed, or the tape of another run.

    A part that is exhausted gives 0, and 0 is always the simplest choice, so a shorter tape is a
    simpler run.
    """

    def __init__(self, seed: int | None = None, tape: Tape | None = None) -> None:
        self._given = tape
        self._random = random.Random(seed).random
        self._part: list[int] = []
        self._parts: list[list[int]] = [self._part]
        self._pending_end = False

    @property
    def tape(self) -> Tape:
        """The choices made so far."""
        return self._parts if self._pending_end else [*self._parts, []]

    def begin(self, *, end: bool = False) -> None:
        """Begin another part, the last one with `end`."""
        self._part = []
        self._parts.append(self._part)
        self._pending_end = end

    def parts(self) -> int:
        """Return the number of parts between the first and the last one."""
        if self._given is None:
            return 3 + int(self._random() * (8, 30, 60)[int(self._random() * 3)])
        return max(0, len(self._given) - 2)

    def below(self, count: int) -> int:
        """Return a number from 0 up to, not including, `count`."""
        if self._given is None:
            value = int(self._random() * count)
        else:
            part, at = len(self._parts) - 1, len(self._part)
            if self._pending_end:
                part = len(self._given) - 1
            known = part < len(self._given) and at < len(self._given[part])
            value = self._given[part][at] % count if known else 0
        self._part.append(value)
        return value

    def chance(self, percent: int) -> bool:
        """Return true in `percent` of the cases; never at the end of a part."""
        return self.below(100) >= 100 - percent

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices; the first at the end of a part."""
        return choices[self.below(len(choices))]


def shrink(tape: Tape, fails: Callable[[Tape], bool], seconds: float = 20.0) -> list[list[int]]:
    """Return the shortest tape found within `seconds` that fails in the same way."""
    end = time.monotonic() + seconds
    best = [list(part) for part in tape]

    def take(tape: list[list[int]]) -> bool:
        nonlocal best
        if time.monotonic() < end and fails(tape):
            best = tape
            return True
        return False

    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for size in (16, 4, 2, 1):
            start = len(best) - 1 - size
            while start >= 1:
                progress |= take(best[:start] + best[start + size :])
                start -= size
        for number in range(len(best) - 1, -1, -1):
            part = best[number]
            if part and not take([*best[:number], [], *best[number + 1 :]]):
                for length in (len(part) // 2, len(part) - 1):
                    progress |= take([*best[:number], part[:length], *best[number + 1 :]])
            for size in (16, 4, 1):
                start = len(best[number]) - size
                while start >= 0:
                    part = best[number]
                    progress |= take(
                        [*best[:number], part[:start] + part[start + size :], *best[number + 1 :]]
                    )
                    start = min(start, len(best[number])) - size
            for index in range(len(best[number])):
                part = best[number]
                for smaller in (0, part[index] // 2, part[index] - 1) if index < len(part) else ():
                    if smaller < part[index]:
                        changed = [*part[:index], smaller, *part[index + 1 :]]
                        if take([*best[:number], changed, *best[number + 1 :]]):
                            progress = True
                            break
    return best
