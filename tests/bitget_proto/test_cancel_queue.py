"""Tests of the queue of cancels: ordered by rank, and within a rank as added."""

from __future__ import annotations

from math import inf

import attrs
import pytest

from bitget_proto import CancelOrder
from bitget_proto._machine.cancel_queue import CancelQueue, Rank

URGENT, RETURNED, NORMAL = Rank.URGENT, Rank.RETURNED, Rank.NORMAL


@attrs.define(eq=False)
class Waits:
    id: str
    rank: Rank = NORMAL
    deadline: float = inf
    of: str | None = None
    """The id of the order; by default the id of the cancel."""

    @property
    def order(self) -> CancelOrder:
        return CancelOrder("BTCUSDT", client_oid=self.of or self.id)


def queue(*cancels: Waits) -> CancelQueue[Waits]:
    made: CancelQueue[Waits] = CancelQueue()
    for cancel in cancels:
        made.add(cancel)
    return made


def ids(cancels: CancelQueue[Waits]) -> str:
    return " ".join(cancel.id for cancel in cancels)


def test_urgent_cancels_come_first_then_returned_ones_then_the_rest() -> None:
    waiting = queue(
        Waits("n1"),
        Waits("r1", RETURNED),
        Waits("u1", URGENT),
        Waits("n2"),
        Waits("u2", URGENT),
        Waits("r2", RETURNED),
    )
    assert ids(waiting) == "u1 u2 r1 r2 n1 n2"
    assert waiting.size == 6


def test_a_returned_cancel_precedes_others_of_the_same_urgency() -> None:
    waiting = queue(
        Waits("u", URGENT),
        Waits("n"),
        Waits("ur", URGENT.returned()),
        Waits("r", NORMAL.returned()),
    )
    assert ids(waiting) == "ur u r n"
    assert URGENT.returned().returned() is URGENT.returned()
    assert RETURNED.returned() is NORMAL.returned()


def test_an_empty_queue_has_no_first_cancel() -> None:
    waiting = queue()
    assert (waiting.size, ids(waiting), waiting.first(0.0), list(waiting.heads())) == (
        0,
        "",
        None,
        [],
    )
    assert waiting.get("a") is None


@pytest.mark.parametrize("rank", Rank)
def test_a_waiting_cancel_is_found_by_id_and_discarded_once(rank: Rank) -> None:
    cancel = Waits("a", rank)
    waiting = queue(Waits("b"), cancel)
    assert waiting.get("a") is cancel
    waiting.discard(cancel)
    assert (waiting.get("a"), waiting.size, ids(waiting)) == (None, 1, "b")
    waiting.discard(cancel)
    assert waiting.size == 1, "it no longer waits"


def test_the_first_cancel_is_the_head_of_the_highest_rank() -> None:
    urgent, returned, normal, behind = (
        Waits("u", URGENT),
        Waits("r", RETURNED),
        Waits("n"),
        Waits("n2"),
    )
    waiting = queue(normal, behind, returned, urgent)
    for cancel in (urgent, returned, normal, behind):
        assert waiting.first(0.0) is cancel
        waiting.discard(cancel)
    assert waiting.first(0.0) is None


def test_a_cancel_is_skipped_from_the_moment_it_expires() -> None:
    urgent, one, two = Waits("u", URGENT, 5.0), Waits("n1", deadline=5.0), Waits("n2", deadline=6.0)
    waiting = queue(urgent, one, two)
    assert waiting.first(4.75) is urgent
    assert waiting.first(5.0) is two
    assert waiting.first(6.0) is None
    assert waiting.size == 3, "a skipped cancel is not discarded"


def looked_at(waiting: CancelQueue[Waits], now: float) -> list[str]:
    """The ids of the cancels that are examined when none may be sent."""
    asked: list[str] = []

    def allowed_at(cancel: Waits) -> float:
        asked.append(cancel.id)
        return inf

    assert waiting.first_open(now, allowed_at) == (None, inf)
    return asked


def test_heads_yields_the_first_cancel_of_each_rank() -> None:
    urgent, returned = Waits("u", URGENT, 5.0), Waits("r", RETURNED, 4.0)
    behind, normal = Waits("r2", RETURNED, 9.0), Waits("n", deadline=7.0)
    waiting = queue(normal, Waits("n2"), returned, behind, urgent)
    assert list(waiting.heads()) == [urgent, returned, normal]
    assert looked_at(waiting, -inf) == [urgent.id, returned.id, "r2", "n", "n2"]
    assert looked_at(waiting, 4.0) == [urgent.id, "r2", "n", "n2"]
    assert looked_at(waiting, 7.0) == ["r2", "n2"]
    assert looked_at(waiting, 9.0) == ["n2"]


def test_many_cancels_of_a_spaced_order_block_no_other_order() -> None:
    waiting = queue(*(Waits(f"n{n}", of="7") for n in range(30)), other := Waits("other", of="8"))
    first, _ = waiting.first_open(0.0, lambda cancel: inf if cancel.of == "7" else 0.0)
    assert first is other


def test_as_many_waiting_orders_as_a_second_of_batches_has_block_no_other() -> None:
    waiting = queue(*(Waits(f"w{n}", RETURNED) for n in range(199)), other := Waits("o", RETURNED))
    first, _ = waiting.first_open(0.0, lambda cancel: inf if cancel.id[0] == "w" else 0.0)
    assert first is other


def test_at_most_200_waiting_orders_of_each_rank_are_examined() -> None:
    waiting = queue(
        *(Waits(f"r{n}", RETURNED) for n in range(202)), *(Waits(f"n{n}") for n in range(201))
    )
    wanted = [*(f"r{n}" for n in range(200)), *(f"n{n}" for n in range(200))]
    assert looked_at(waiting, 0.0) == wanted


def test_first_open_returns_an_open_cancel_or_when_one_opens() -> None:
    opens = {"r": 3.0, "n": 2.0, "n2": 5.0}
    returned, normal = Waits("r", RETURNED), Waits("n")
    waiting = queue(Waits("n2"), normal, returned)

    def first(now: float) -> tuple[Waits | None, float]:
        return waiting.first_open(now, lambda cancel: opens[cancel.id])

    assert first(1.5) == (None, 2.0)
    assert first(2.0) == (normal, 2.0)
    assert first(3.0) == (returned, 3.0)
    assert queue().first_open(0.0, lambda _: 0.0) == (None, inf)


def test_a_cleared_queue_is_empty_and_can_be_used_again() -> None:
    waiting = queue(Waits("u", URGENT), Waits("r", RETURNED), Waits("n"))
    waiting.clear()
    assert (waiting.size, ids(waiting), waiting.first(0.0)) == (0, "", None)
    waiting.add(Waits("a"))
    assert (waiting.size, ids(waiting)) == (1, "a")
