"""When the same order may be cancelled once more."""

from __future__ import annotations

from math import inf

from bitget_proto import CancelOrder, InstType
from bitget_proto._spacing import Spacing

ORDER = CancelOrder("BTCUSDT", order_id="1")


def handed_out(spacing: Spacing, order: CancelOrder, now: float) -> None:
    spacing.waits(order)
    spacing.handed_out(order, now)


def test_an_order_that_was_never_cancelled_may_be() -> None:
    assert Spacing(1.0).opens(ORDER) == -inf


def test_after_a_hand_out_the_interval_has_to_pass() -> None:
    spacing = Spacing(1.0)
    handed_out(spacing, ORDER, 5.0)
    assert spacing.opens(ORDER) == 6.0
    handed_out(spacing, ORDER, 5.5)
    assert spacing.opens(ORDER) == 6.5


def test_while_one_waits_nobody_knows_when_the_next_may_go() -> None:
    spacing = Spacing(1.0)
    spacing.waits(ORDER)
    spacing.waits(ORDER)
    assert spacing.opens(ORDER) == inf
    spacing.withdrawn(ORDER)
    assert spacing.opens(ORDER) == inf
    spacing.withdrawn(ORDER)
    assert spacing.opens(ORDER) == -inf


def test_the_order_id_tells_orders_apart_and_without_one_the_client_oid_does() -> None:
    spacing = Spacing(1.0)
    handed_out(spacing, CancelOrder("BTCUSDT", order_id="1", client_oid="a"), 0.0)
    assert spacing.opens(CancelOrder("BTCUSDT", order_id="1", client_oid="b")) == 1.0
    for other in (
        CancelOrder("BTCUSDT", order_id="2", client_oid="a"),
        CancelOrder("BTCUSDT", client_oid="1"),
        CancelOrder("ETHUSDT", order_id="1"),
        CancelOrder("BTCUSDT", order_id="1", inst_type=InstType.USDT_FUTURES),
    ):
        assert spacing.opens(other) == -inf


def test_only_what_the_interval_still_needs_is_remembered() -> None:
    spacing = Spacing(1.0)
    for number in range(1000):
        handed_out(spacing, CancelOrder("BTCUSDT", order_id=str(number)), number / 10)
    assert len(spacing._free) <= 11
    assert not spacing._waiting


def test_without_an_interval_nothing_is_kept() -> None:
    spacing = Spacing(None)
    handed_out(spacing, ORDER, 0.0)
    spacing.waits(ORDER)
    spacing.withdrawn(ORDER)
    assert spacing.opens(ORDER) == -inf
    assert not spacing._free
    assert not spacing._waiting
