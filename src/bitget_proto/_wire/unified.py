"""The frames of unified accounts (API V3), as recorded on the live service.

- A cancel names the order alone. Its product line is optional, and a wrong one reads as "not
  found".
- The id of a request, and of its answer, is at the top of the frame.
- `code` and `ts` of an answer are strings. A refusal has an id, a code and a text, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from .._values.dialects import Dialect
from .._values.orders import CancelOrder, InstType
from . import classic
from .json_engines import Entry, Frame
from .json_text import quoted
from .messages import ErrorReply, LoginReply, Message, OrderReply, TradeReply

CATEGORIES: Mapping[InstType, str] = MappingProxyType(
    {line: line.value.lower() for line in InstType}
)
"""The names of the product lines on the WebSocket. Upper case is refused with 41101."""


def encode_cancel(order: CancelOrder, id: str) -> str:
    """Return the request to cancel `order`."""
    category = "" if order.inst_type is None else f'"category":"{CATEGORIES[order.inst_type]}",'
    return f'{{"op":"trade","id":"{id}","topic":"cancel-order",{category}"args":[{_named(order)}]}}'


def check_order(order: CancelOrder) -> None:
    """Accept every order: an order id is all that a unified account needs."""


def _named(order: CancelOrder) -> str:
    """Return the object that names an order, by each of its ids."""
    ids = {"orderId": order.order_id, "clientOid": order.client_oid}
    return (
        "{" + ",".join(f'"{key}":{quoted(id)}' for key, id in ids.items() if id is not None) + "}"
    )


def message(frame: Frame) -> Message:
    """Return the message that a frame contains.

    A frame is read like one of a classic account whose `arg` has the id.
    """
    if frame.id is not None:
        frame.arg = [Entry(frame.id)]
    made = classic.message(frame)
    if isinstance(made, (TradeReply, ErrorReply, LoginReply)):
        made.dialect = Dialect.UNIFIED
    if isinstance(made, TradeReply):
        made.orders = _orders(frame.args)
    return made


def _orders(args: object) -> tuple[OrderReply, ...]:
    """Return the orders that an answer names."""
    if not isinstance(args, list):
        return ()
    return tuple(
        _order(cast("dict[str, object]", item))
        for item in cast("list[object]", args)
        if isinstance(item, dict)
    )


def _order(item: dict[str, object]) -> OrderReply:
    order_id, client_oid = item.get("orderId"), item.get("clientOid")
    return OrderReply(
        order_id if isinstance(order_id, str) else None,
        client_oid if isinstance(client_oid, str) else None,
    )
