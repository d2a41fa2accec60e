"""Cancels that wait to be sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, Protocol, TypeVar


class Rank(IntEnum):
    """Which cancels go first."""

    URGENT = 0
    RETURNED = 1
    """Those that a link has given back: they were taken before the others."""

    NORMAL = 2


class Waiting(Protocol):
    """A cancel that waits."""

    @property
    def id(self) -> str: ...
    @property
    def deadline(self) -> float: ...


_C = TypeVar("_C", bound=Waiting)


class CancelQueue(Generic[_C]):
    """Cancels by rank; within a rank in the order added. All that it does takes the same time however many wait."""

    __slots__ = ("_ranks",)

    def __init__(self) -> None:
        self._ranks: tuple[OrderedDict[str, _C], ...] = tuple(OrderedDict() for _ in Rank)

    def __len__(self) -> int:
        urgent, returned, normal = self._ranks
        return len(urgent) + len(returned) + len(normal)

    def __iter__(self) -> Iterator[_C]:
        for rank in self._ranks:
            yield from rank.values()

    def get(self, id: str) -> _C | None:
        """The cancel of this id, if it waits."""
        for rank in self._ranks:
            if id in rank:
                return rank[id]
        return None

    def add(self, cancel: _C, rank: Rank) -> None:
        """Let it wait behind the others of its rank."""
        self._ranks[rank][cancel.id] = cancel

    def discard(self, id: str) -> None:
        """It waits no longer."""
        for rank in self._ranks:
            if rank.pop(id, None) is not None:
                return

    def heads(self, now: float) -> Iterator[_C]:
        """The first of each rank that has not expired."""
        for rank in self._ranks:
            for cancel in rank.values():
                if now < cancel.deadline:
                    yield cancel
                    break

    def clear(self) -> None:
        """None waits any longer."""
        for rank in self._ranks:
            rank.clear()
