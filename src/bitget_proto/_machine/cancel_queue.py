"""Queue of cancels that wait to be sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import islice
from math import inf
from typing import Generic, Protocol, TypeVar

from .._values.orders import CancelOrder, prevailing_id

_MOST_WAITING = 200
"""The number of waiting orders per rank that `first_open` examines before it gives up.

A unified account may cancel this many orders in a second, the interval for which they wait: 10
frames of 20 orders."""

_EXAMINED = 100
"""The number of cancels that `batch` examines before it gives up."""


class Rank(IntEnum):
    """The priority of a cancel; lower values are sent first."""

    RETURNED_URGENT = 0
    URGENT = 1
    RETURNED = 2
    NORMAL = 3

    def returned(self) -> Rank:
        """Return the rank after the cancel came back from a link: ahead of equally urgent ones."""
        return Rank.RETURNED_URGENT if self <= Rank.URGENT else Rank.RETURNED


class Waiting(Protocol):
    """A cancel in the queue."""

    rank: Rank

    @property
    def id(self) -> str: ...
    @property
    def order(self) -> CancelOrder: ...
    @property
    def deadline(self) -> float: ...


_C = TypeVar("_C", bound=Waiting)


class CancelQueue(Generic[_C]):
    """Cancels by rank, and within a rank in the order in which they were added.

    `size` is the number of waiting cancels. The time to add, find or remove one does not depend on
    it.
    """

    __slots__ = ("_ranks", "size")

    def __init__(self) -> None:
        self._ranks: tuple[OrderedDict[str, _C], ...] = tuple(OrderedDict() for _ in Rank)
        self.size = 0

    def __iter__(self) -> Iterator[_C]:
        for rank in self._ranks:
            yield from rank.values()

    def get(self, id: str) -> _C | None:
        """Return the cancel with this id, or None if it is not in the queue."""
        for rank in self._ranks:
            if id in rank:
                return rank[id]
        return None

    def add(self, cancel: _C) -> None:
        """Add a cancel behind the others of its rank."""
        self._ranks[cancel.rank][cancel.id] = cancel
        self.size += 1

    def discard(self, cancel: _C) -> None:
        """Remove a cancel if it is in the queue."""
        if self._ranks[cancel.rank].pop(cancel.id, None) is not None:
            self.size -= 1

    def first(self, now: float) -> _C | None:
        """Return the cancel to send next: the first one that has not expired."""
        for rank in self._ranks:
            if rank:
                for cancel in rank.values():
                    if now < cancel.deadline:
                        return cancel
        return None

    def batch(
        self, first: _C, now: float, size: int, earliest: Callable[[_C], float] | None = None
    ) -> list[_C]:
        """Return `first` and other cancels that fit into its frame, at most `size`.

        A frame names its orders by one kind of id, and each order once. An order that is named by
        its `client_oid` and a product line is cancelled alone, because a batch has no product line.
        """
        by_order_id, named = prevailing_id(first.order)
        batch, names = [first], {named}
        if not _fits(first.order):
            return batch
        for cancel in islice(self, _EXAMINED):
            if len(batch) == size:
                break
            alike, name = prevailing_id(cancel.order)
            if (
                now < cancel.deadline
                and alike is by_order_id
                and name not in names
                and _fits(cancel.order)
                and (earliest is None or earliest(cancel) <= now)
            ):
                batch.append(cancel)
                names.add(name)
        return batch

    def heads(self) -> list[_C]:
        """Return the first cancel of each rank, expired or not."""
        return [next(iter(rank.values())) for rank in self._ranks if rank]

    def returned(self) -> list[_C]:
        """Return the cancels that came back, expired or not."""
        return [
            cancel
            for rank in (Rank.RETURNED_URGENT, Rank.RETURNED)
            for cancel in self._ranks[rank].values()
        ]

    def first_open(self, now: float, earliest: Callable[[_C], float]) -> tuple[_C | None, float]:
        """Return the first unexpired cancel that may be sent now, and its `earliest` time.

        If there is none, return None and the earliest time found. An order that has to wait does
        not block the others: up to 200 waiting orders of each rank are examined.
        """
        # Not a generator: if a signal handler raises while a generator is being closed, the
        # exception is lost.
        soonest = inf
        for rank in self._ranks:
            waiting: set[object] = set()
            for cancel in rank.values():
                if now < cancel.deadline:
                    at = earliest(cancel)
                    if at <= now:
                        return cancel, at
                    soonest = min(soonest, at)
                    waiting.add(cancel.order.identity)
                    if len(waiting) == _MOST_WAITING:
                        break
        return None, soonest

    def clear(self) -> None:
        """Remove all cancels."""
        for rank in self._ranks:
            rank.clear()
        self.size = 0


def _fits(order: CancelOrder) -> bool:
    """Return whether a batch can name this order."""
    return order.order_id is not None or order.inst_type is None
