"""Tests of the interval between two cancels of the same order."""

from __future__ import annotations

from math import inf

from bitget_proto import CancelOrder, InstType
from bitget_proto._machine.order_spacing import Spacing

ORDER = CancelOrder("BTCUSDT", order_id="1")


def test_an_order_that_was_never_cancelled_is_open() -> None:
    assert Spacing(1.0).allowed_at(ORDER) == -inf


def test_an_order_is_open_again_after_the_interval() -> None:
    spacing = Spacing(1.0)
    spacing.handed_out(ORDER, 5.0)
    assert spacing.allowed_at(ORDER) == 6.0
    spacing.handed_out(ORDER, 5.5)
    assert spacing.allowed_at(ORDER) == 6.5


def test_orders_are_distinguished_by_order_id_or_else_client_oid() -> None:
    spacing = Spacing(1.0)
    spacing.handed_out(CancelOrder("BTCUSDT", order_id="1", client_oid="a"), 0.0)
    assert spacing.allowed_at(CancelOrder("BTCUSDT", order_id="1", client_oid="b")) == 1.0
    for other in (
        CancelOrder("BTCUSDT", order_id="2", client_oid="a"),
        CancelOrder("BTCUSDT", client_oid="1"),
    ):
        assert spacing.allowed_at(other) == -inf
    spacing.handed_out(CancelOrder("BTCUSDT", client_oid="a"), 0.0)
    for other in (
        CancelOrder("ETHUSDT", client_oid="a"),
        CancelOrder("BTCUSDT", client_oid="a", inst_type=InstType.USDT_FUTURES),
    ):
        assert spacing.allowed_at(other) == -inf
    assert spacing.allowed_at(CancelOrder("BTCUSDT", None, "a", InstType.SPOT)) == 1.0


def test_the_id_of_the_exchange_alone_names_an_order() -> None:
    """A unified account needs neither the instrument nor the product line."""
    spacing = Spacing(1.0)
    spacing.handed_out(CancelOrder("BTCUSDT", order_id="1"), 0.0)
    assert spacing.allowed_at(CancelOrder(order_id="1")) == 1.0


def test_only_orders_within_the_interval_are_remembered() -> None:
    spacing = Spacing(1.0)
    for number in range(1000):
        spacing.handed_out(CancelOrder("BTCUSDT", order_id=str(number)), number / 8)
    assert len(spacing._free) == 8, "a cancel exactly a second old no longer counts"


def test_an_order_that_is_cancelled_again_moves_behind_the_others() -> None:
    spacing = Spacing(1.0)
    other = CancelOrder("BTCUSDT", order_id="2")
    spacing.handed_out(ORDER, 0.0)
    spacing.handed_out(other, 0.25)
    spacing.handed_out(ORDER, 0.5)
    spacing.handed_out(CancelOrder("BTCUSDT", order_id="3"), 1.25)
    assert spacing.allowed_at(other) == -inf
    assert spacing.allowed_at(ORDER) == 1.5


def test_without_an_interval_no_order_is_remembered() -> None:
    spacing = Spacing(None)
    spacing.handed_out(ORDER, 0.0)
    assert spacing.allowed_at(ORDER) == -inf
    assert not spacing._free
