"""Reads messages of the order channel: pushes, and the answers to a subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from .._values.dialects import Dialect
from .._values.orders import InstType
from .json_text import read_code, readable_text
from .messages import OrdersPush, SubscribeReply
from .order_items import OrderKeys, read_orders

OfChannel: TypeAlias = Callable[[str], OrdersPush | SubscribeReply | None]
"""Returns the message of the order channel in a frame; None if it is not about that channel."""


def one_object(arg: object) -> Mapping[str, object]:
    """Return `arg` if it is an object, or a list of one object; else an empty object."""
    if isinstance(arg, list) and len(cast("list[object]", arg)) == 1:
        (arg,) = cast("list[object]", arg)
    return cast("dict[str, object]", arg) if isinstance(arg, dict) else {}


def read_message(
    data: Mapping[str, object],
    keys: OrderKeys,
    inst_type: InstType | None,
    dialect: Dialect = Dialect.CLASSIC,
) -> OrdersPush | SubscribeReply | None:
    """Return the message in a frame whose `arg` names the order channel of `inst_type`.

    None if the frame is neither a push nor the answer to a subscription.
    """
    event = data.get("event")
    if event is None:
        return OrdersPush(*read_orders(data.get("data"), keys, inst_type))
    if event not in ("subscribe", "error"):
        return None
    code = read_code(data.get("code"))
    # The answer on the exchange's page has no code.
    accepted = event == "subscribe" and (code == "0" or data.get("code") is None)
    return SubscribeReply(inst_type, accepted, code, readable_text(data.get("msg")), dialect)
