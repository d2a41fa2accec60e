"""Orders as the exchange shows them: in pushes and over REST, for each kind of account.

The keys are those of the exchange's documentation and of recorded frames. Amounts that the scripted
exchange does not have, such as fees, are left out. The wire format is defined here and not in the
codec, because clients only read it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from ..._values.dialects import Dialect
from ..._values.orders import InstType
from .order_book import BookOrder, Moment

Row: TypeAlias = dict[str, object]


def is_futures(line: InstType | None) -> bool:
    """Return whether an order of this product line is a futures order."""
    return line not in (None, InstType.SPOT, InstType.MARGIN)


def pushed(placed: BookOrder, dialect: Dialect, milliseconds: int) -> Row:
    """Return an order as a push of the order channel shows it."""
    moment = placed.last
    if dialect is Dialect.UNIFIED:
        return _unified(placed, moment, milliseconds)
    row = _named(placed) | {
        "instId": placed.order.inst_id,
        "price": str(placed.price),
        "size": str(placed.size),
        "orderType": "limit",
        "force": "gtc",
        "side": "buy",
        "accBaseVolume": str(moment.filled),
        "priceAvg": _average(placed, moment),
        "status": _status(placed, moment),
        "cTime": str(milliseconds),
        "uTime": str(milliseconds),
    }
    if is_futures(placed.order.inst_type):
        row |= {"marginCoin": "USDT", "posSide": "long", "tradeSide": "open"}
        row |= _reason(moment)
    else:
        row |= {"newSize": str(placed.size), "notional": str(placed.size * placed.price)}
    return row


def looked_up(placed: BookOrder, moment: Moment, dialect: Dialect, milliseconds: int) -> Row:
    """Return an order as REST shows it, in one of its states."""
    if dialect is Dialect.UNIFIED:
        return _unified(placed, moment, milliseconds)
    futures = is_futures(placed.order.inst_type)
    status = "status" if not futures else "state"
    return (
        _named(placed)
        | {
            "symbol": placed.order.inst_id,
            "price": str(placed.price),
            "size": str(placed.size),
            "orderType": "limit",
            "side": "buy",
            status: _status(placed, moment),
            "baseVolume": str(moment.filled),
            "priceAvg": _average(placed, moment),
            "cTime": str(milliseconds),
            "uTime": str(milliseconds),
        }
        | _reason(moment)
    )


def _unified(placed: BookOrder, moment: Moment, milliseconds: int) -> Row:
    line = placed.order.inst_type or InstType.SPOT
    return (
        _named(placed)
        | {
            "category": line.value,
            "symbol": placed.order.inst_id or "",
            "price": str(placed.price),
            "qty": str(placed.size),
            "side": "buy",
            "orderType": "limit",
            "timeInForce": "gtc",
            "cumExecQty": str(moment.filled),
            "cumExecValue": str(moment.filled * placed.price),
            "avgPrice": _average(placed, moment),
            "orderStatus": "new" if moment.status == "live" else moment.status,
            "createdTime": str(milliseconds),
            "updatedTime": str(milliseconds),
        }
        | _reason(moment)
    )


def _named(placed: BookOrder) -> Row:
    return {"orderId": placed.order.order_id or "", "clientOid": placed.order.client_oid or ""}


def _status(placed: BookOrder, moment: Moment) -> str:
    """Return the status as classic accounts spell it: futures have one l in "canceled"."""
    if moment.status == "cancelled" and is_futures(placed.order.inst_type):
        return "canceled"
    return moment.status


def _average(placed: BookOrder, moment: Moment) -> str:
    return str(placed.price) if moment.filled > Decimal(0) else ""


def _reason(moment: Moment) -> Row:
    return {"cancelReason": "normal_cancel"} if moment.status == "cancelled" else {}
