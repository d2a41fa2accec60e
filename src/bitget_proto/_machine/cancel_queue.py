"""Cancels that wait to be sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import IntEnum
from math import inf
from typing import Generic, Protocol, TypeVar

from .._values.orders import CancelOrder

_FEW = 10
"""How many orders of a rank are looked at whose cancels must not be sent yet."""


class Rank(IntEnum):
    """Which cancels go first."""

    RETURNED_URGENT = 0
    URGENT = 1
    RETURNED = 2
    NORMAL = 3

    def returned(self) -> Rank:
        """The rank of one that a link has given back: it was taken before others that are as urgent."""
        return Rank.RETURNED_URGENT if self <= Rank.URGENT else Rank.RETURNED


class Waiting(Protocol):
    """A cancel that waits."""

    rank: Rank

    @property
    def id(self) -> str: ...
    @property
    def order(self) -> CancelOrder: ...
    @property
    def deadline(self) -> float: ...


_C = TypeVar("_C", bound=Waiting)


class CancelQueue(Generic[_C]):
    """Cancels by rank; within a rank in the order added. All that it does takes the same time however many wait.

    `size` says how many wait.
    """

    __slots__ = ("_ranks", "size")

    def __init__(self) -> None:
        self._ranks: tuple[OrderedDict[str, _C], ...] = tuple(OrderedDict() for _ in Rank)
        self.size = 0

    def __iter__(self) -> Iterator[_C]:
        for rank in self._ranks:
            yield from rank.values()

    def get(self, id: str) -> _C | None:
        """The cancel of this id, if it waits."""
        for rank in self._ranks:
            if id in rank:
                return rank[id]
        return None

    def add(self, cancel: _C) -> None:
        """Let it wait behind the others of its rank."""
        self._ranks[cancel.rank][cancel.id] = cancel
        self.size += 1

    def discard(self, cancel: _C) -> None:
        """It waits no longer, if it did."""
        if self._ranks[cancel.rank].pop(cancel.id, None) is not None:
            self.size -= 1

    def first(self, now: float) -> _C | None:
        """The one to send next: the first that has not expired."""
        for rank in self._ranks:
            if rank:
                for cancel in rank.values():
                    if now < cancel.deadline:
                        return cancel
        return None

    def heads(self) -> list[_C]:
        """The first of each rank, expired or not."""
        return [next(iter(rank.values())) for rank in self._ranks if rank]

    def first_open(self, now: float, opens: Callable[[_C], float]) -> tuple[_C | None, float]:
        """The first that has not expired and may be sent, by what `opens` says; else None, and when one may.

        Ten orders of each rank are looked at that have to wait: one does not block the others.
        """
        # No generator here: an error that a signal handler raises while one is closed would be lost.
        soonest = inf
        for rank in self._ranks:
            waiting: set[object] = set()
            for cancel in rank.values():
                if now < cancel.deadline:
                    at = opens(cancel)
                    if at <= now:
                        return cancel, at
                    soonest = min(soonest, at)
                    waiting.add(cancel.order.identity)
                    if len(waiting) == _FEW:
                        break
        return None, soonest

    def clear(self) -> None:
        """None waits any longer."""
        for rank in self._ranks:
            rank.clear()
        self.size = 0
