"""Reads orders, as pushes of the order channel and answers of REST describe them.

The names of the keys differ between the two APIs, and between pushes and REST. Each dialect has a
table of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import attrs

from .._values.order_updates import OrderStatus, OrderUpdate
from .._values.orders import InstType
from .json_text import milliseconds, readable_text
from .messages import OrderReply

if TYPE_CHECKING:
    from decimal import Decimal

STATUSES: Mapping[str, OrderStatus] = MappingProxyType({
    "init": OrderStatus.OPEN,
    "new": OrderStatus.OPEN,
    "live": OrderStatus.OPEN,
    "partially_filled": OrderStatus.OPEN,
    "filled": OrderStatus.FILLED,
    "cancelled": OrderStatus.CANCELLED,
    "canceled": OrderStatus.CANCELLED,
})  # fmt: skip
"""Every spelling of either API. Spot has "cancelled", futures have "canceled"."""

_LINES: Mapping[str, InstType] = MappingProxyType({line.value: line for line in InstType})

_MAX_DIGITS = 40
"""The largest exponent of an amount that is readable, positive or negative. An amount with more
than twice as many characters is not readable either. Both limits are our choice."""


@attrs.frozen(kw_only=True)
class OrderKeys:
    """The names of the keys of an order that differ between APIs, or between pushes and REST."""

    inst_id: str
    inst_type: str | None
    """None if an order does not name its product line."""

    status: tuple[str, ...]
    filled: str
    average_price: str
    updated_at: str


def read_order(item: object, keys: OrderKeys, inst_type: InstType | None) -> OrderUpdate | None:
    """Return an order; None if `item` is not an object, or has no id that is a string.

    `inst_type` is the product line of an order that does not name it.
    """
    if not isinstance(item, dict):
        return None
    order = cast("dict[str, object]", item)
    order_id, client_oid = _word(order.get("orderId")), _word(order.get("clientOid"))
    if order_id is None and client_oid is None:
        return None
    status = next((word for key in keys.status if (word := _word(order.get(key)))), "")
    return OrderUpdate(
        order_id=order_id,
        client_oid=client_oid,
        inst_type=inst_type if keys.inst_type is None else product_line(order.get(keys.inst_type)),
        inst_id=_word(order.get(keys.inst_id)),
        status=STATUSES.get(status, OrderStatus.UNKNOWN),
        status_text=status,
        filled=_amount(order.get(keys.filled)),
        average_price=_amount(order.get(keys.average_price)) or None,
        reason=_word(order.get("cancelReason")),
        updated_at=milliseconds(order.get(keys.updated_at)),
    )


def read_orders(
    items: object, keys: OrderKeys, inst_type: InstType | None
) -> tuple[tuple[OrderUpdate, ...], int]:
    """Return the orders of a list, and how many of its items cannot be read.

    An object counts as a list of one. Anything else counts as one item that cannot be read.
    """
    listed: Iterable[object] = cast("list[object]", items) if isinstance(items, list) else [items]
    read = [read_order(item, keys, inst_type) for item in listed]
    orders = tuple(order for order in read if order is not None)
    return orders, len(read) - len(orders)


def named_order(data: object) -> OrderReply | None:
    """Return the ids of the order that the answer to a REST cancel names.

    An id that the answer does not name is None. The result is None if the answer names something
    else, such as a list.
    """
    if data in (None, ""):
        return OrderReply(None, None)
    if not isinstance(data, dict):
        return None
    named = cast("dict[str, object]", data)
    ids = named.get("orderId"), named.get("clientOid")
    if named and not {"orderId", "clientOid"} & named.keys():
        return None
    if not all(id is None or isinstance(id, str) for id in ids):
        return None
    return OrderReply(_word(ids[0]), _word(ids[1]))


def product_line(value: object) -> InstType | None:
    """Return a product line; None for one that is not known.

    The WebSocket of unified accounts has lower case, everything else upper case.
    """
    return _LINES.get(value.upper()) if isinstance(value, str) else None


def _word(value: object) -> str | None:
    return readable_text(value) or None


def _amount(value: object) -> Decimal | None:
    """Return an amount from 0 up, which both APIs send as a string; None for anything else."""
    if not isinstance(value, str) or not value.isascii() or "_" in value:
        return None
    if len(value) > 2 * _MAX_DIGITS:
        return None
    # The import takes a millisecond, and a program without pushes does not need it.
    from decimal import Decimal, InvalidOperation

    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    readable = amount.is_finite() and not amount.is_signed()
    return amount if readable and abs(amount.adjusted()) <= _MAX_DIGITS else None
