"""Orders that a client of the scripted exchange places on the trade channel.

The wire format of the channel `place-order` is defined here and not in the codec, because
`Connection` does not use it.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from ..._values.errors import ValidationError, safe_repr
from ..._values.orders import CancelOrder, InstType, check_request_id
from ..._wire.exchange_codec import encode_event

_ALLOWED: Final = {"orderType": ("limit", "market"), "side": ("buy", "sell")}


def placement_of(text: str) -> dict[str, Any]:
    """Return the one object in `args` of a frame that the codec has recognized as a placement."""
    arg: dict[str, Any] = json.loads(text)["args"][0]
    return arg


def placed_order(arg: dict[str, Any], order_id: str) -> CancelOrder:
    """Return the order that is placed, with `order_id` as its exchange id.

    Raises: ValidationError for a part of the request that is missing or invalid.
    """
    check_request_id(arg.get("id"))
    inst_type = next((member for member in InstType if member.value == arg.get("instType")), None)
    if inst_type in (None, InstType.MARGIN):
        raise ValidationError("instType must be a product line")
    params = arg.get("params")
    if not isinstance(params, dict):
        raise ValidationError("params must be an object")
    given = cast("dict[str, Any]", params)
    for key, allowed in _ALLOWED.items():
        if given.get(key) not in allowed:
            raise ValidationError(f"params.{key} must be one of {', '.join(allowed)}")
    for key in ("size", "price") if given["orderType"] == "limit" else ("size",):
        _text(given, key)
    client_oid = None if given.get("clientOid") is None else _text(given, "clientOid")
    return CancelOrder(_text(arg, "instId"), order_id, client_oid, inst_type)


def check_amount(name: str, value: object) -> Decimal:
    """Return an amount or a price.

    Raises: ValidationError if it is not a decimal number above 0, as text.
    """
    try:
        amount = Decimal(value) if isinstance(value, str) else Decimal(0)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise ValidationError(
            f"{name} must be a decimal number above 0, as text, such as '0.01'; got "
            f"{safe_repr(value)}"
        )
    return amount


def encode_placed(id: str, order: CancelOrder, exchange_ts: int) -> str:
    """Return the answer that accepts a placement."""
    params = {"orderId": order.order_id, "clientOid": order.client_oid}
    arg = {
        "id": id,
        "instType": (order.inst_type or InstType.SPOT).value,
        "channel": "place-order",
        "instId": order.inst_id,
        "params": {key: value for key, value in params.items() if value is not None},
    }
    return encode_event("trade", 0, "Success", arg=[arg], exchange_ts=exchange_ts)


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str) or not value:
        raise ValidationError(f"{key} must be a string that is not empty")
    return value
