"""The frames of unified accounts (API V3), as recorded on the live service.

- A cancel needs only an id of the order. The product line is optional; the exchange answers a wrong
  product line with "not found".
- The id of a request, and of its answer, is at the top level of the frame.
- `code` and `ts` of an answer are strings. A refusal has an id, a code and a text, and nothing
  else.
- A batch names up to 20 orders, all by the exchange's ids or all by the client's ids. If a frame
  has both kinds, the exchange ignores the client's ids. A success of the whole answer says nothing
  about an order; the code in the order's item does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

from .._values.dialects import Dialect
from .._values.orders import CancelOrder, InstType, prevailing_id
from . import classic
from .json_engines import Entry, Frame
from .json_text import quoted, read_code, readable_text
from .messages import (
    ErrorReply,
    LoginReply,
    Message,
    OrderReply,
    OrdersPush,
    SubscribeReply,
    TradeReply,
)
from .order_items import OrderKeys
from .orders_channel import OfChannel, one_object, read_message

CATEGORIES: Mapping[InstType, str] = MappingProxyType(
    {line: line.value.lower() for line in InstType}
)
"""The names of the product lines on the WebSocket. The exchange refuses upper case with 41101."""

BATCH = "batch-cancel"
"""The `topic` of a batch and of its answer."""

_BATCH_TOPICS = (BATCH, "batch-cancel-order")
"""The exchange's page has the first; another client sends the second."""


ORDERS = "order"
"""The `topic` of pushes about orders."""

_ACCOUNT = "UTA"
"""The `instType` of every channel of a unified account."""

ORDER_KEYS = OrderKeys(
    inst_id="symbol",
    inst_type="category",
    status=("orderStatus",),
    filled="cumExecQty",
    average_price="avgPrice",
    updated_at="updatedTime",
)
"""The keys of an order, in pushes and in REST."""


def encode_cancel(order: CancelOrder, id: str) -> str:
    """Return the request to cancel `order`."""
    category = "" if order.inst_type is None else f'"category":"{CATEGORIES[order.inst_type]}",'
    return f'{{"op":"trade","id":"{id}","topic":"cancel-order",{category}"args":[{_named(order)}]}}'


def encode_batch(orders: Sequence[CancelOrder], id: str) -> str:
    """Return the request to cancel these orders, each named by one id."""
    args = ",".join(
        f'{{"{"orderId" if by_order_id else "clientOid"}":{quoted(id)}}}'
        for by_order_id, id in map(prevailing_id, orders)
    )
    return f'{{"op":"trade","id":"{id}","topic":"{BATCH}","args":[{args}]}}'


def encode_subscribe(_: Iterable[InstType] | None) -> str:
    """Return the request for pushes about the orders of all product lines."""
    return f'{{"op":"subscribe","args":[{{"instType":"{_ACCOUNT}","topic":"{ORDERS}"}}]}}'


def check_order(order: CancelOrder) -> None:
    """Accept every order: a unified account needs only an id, and every order has one."""


def _named(order: CancelOrder) -> str:
    """Return the object that names an order, with all of its ids."""
    ids = {"orderId": order.order_id, "clientOid": order.client_oid}
    return (
        "{" + ",".join(f'"{key}":{quoted(id)}' for key, id in ids.items() if id is not None) + "}"
    )


def message(frame: Frame, text: str, of_channel: OfChannel) -> Message:
    """Return the message that a frame contains.

    A frame is read like a frame of a classic account, as if `arg` had the id.
    """
    if frame.id is not None:
        frame.arg = [Entry(frame.id)]
    topic = frame.topic
    if topic in _BATCH_TOPICS:
        frame.topic = None
    made = classic.message(frame, text, of_channel)
    if isinstance(made, (TradeReply, ErrorReply, LoginReply)):
        made.dialect = Dialect.UNIFIED
    if isinstance(made, (TradeReply, ErrorReply)):
        made.orders = _orders(frame.args)
        made.remaining = _remaining(frame.rateLimit)
        made.for_batch = not made.not_for_cancel and topic != classic.CHANNEL
        made.not_for_cancel = made.not_for_cancel or topic in _BATCH_TOPICS
    return made


def channel_message(data: Mapping[str, object]) -> OrdersPush | SubscribeReply | None:
    """Return the message of the order channel in a frame; None if it is not about that channel."""
    arg = one_object(data.get("arg"))
    if arg.get("topic") != ORDERS or arg.get("instType") != _ACCOUNT:
        return None
    return read_message(data, ORDER_KEYS, None, Dialect.UNIFIED)


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
        read_code(item.get("code")),
        readable_text(item.get("msg")),
    )


def _remaining(limits: object) -> int | None:
    """Return the smallest `remaining` of the limits in an answer."""
    if not isinstance(limits, list):
        return None
    counts = [
        read_code(cast("dict[str, object]", limit).get("remaining"))
        for limit in cast("list[object]", limits)
        if isinstance(limit, dict)
    ]
    return min((int(count) for count in counts if count is not None), default=None)
