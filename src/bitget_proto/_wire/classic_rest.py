"""The REST requests and answers of classic accounts (API V2).

Spot has one path for each request, and the futures lines another, with a `productType`.
- Spot answers with lists, even about one order. Futures answer about one order with an object, and
  about several orders with a list inside an object. The list may be null.
- The status of a futures order is in `state`; the page's table says `status`.
- A page that is not full is the last one.
"""

from __future__ import annotations

from typing import Final, cast

from .._values.errors import ValidationError
from .._values.order_updates import OneOrder, OpenOrders, OrderHistory, Question
from .._values.orders import CancelOrder, InstType, prevailing_id
from .._values.rest_requests import RestRequest
from . import classic
from .order_items import OrderKeys
from .rest_pages import PAGE, Page, Parameters, Spelling, get, listed, one_or_none, post, word

_KEYS: Final = OrderKeys(
    inst_id="symbol",
    inst_type=None,
    status=("status", "state"),
    filled="baseVolume",
    average_price="priceAvg",
    updated_at="uTime",
)


def _is_spot(inst_type: InstType | None) -> bool:
    if inst_type is InstType.MARGIN:
        raise ValidationError(
            "only unified accounts have InstType.MARGIN: ask about another product line, or use "
            "Dialect.UNIFIED for a unified account"
        )
    return inst_type is None or inst_type is InstType.SPOT


def _product_type(inst_type: InstType | None) -> str | None:
    return None if inst_type is None or _is_spot(inst_type) else inst_type.value


def _named(order: CancelOrder) -> Parameters:
    """Return the parameters that name an order."""
    classic.check_order(order)
    by_order_id, id = prevailing_id(order)
    return {
        "symbol": order.inst_id,
        "productType": _product_type(order.inst_type),
        "orderId" if by_order_id else "clientOid": id,
    }


def _one_order(order: CancelOrder) -> RestRequest:
    parameters = _named(order)
    if _is_spot(order.inst_type):
        del parameters["symbol"]
        return get("/api/v2/spot/trade/orderInfo", parameters)
    return get("/api/v2/mix/order/detail", parameters)


def _cancel(order: CancelOrder) -> RestRequest:
    spot = _is_spot(order.inst_type)
    path = "/api/v2/spot/trade/cancel-order" if spot else "/api/v2/mix/order/cancel-order"
    return post(path, _named(order))


def _cancel_by_symbol(inst_type: InstType | None, inst_id: str | None) -> RestRequest:
    if not _is_spot(inst_type):
        raise ValidationError(
            "on a classic account the exchange has no request that cancels the futures orders of "
            f"one instrument; got {inst_type}: cancel them one by one (by_symbol=False)"
        )
    if inst_id is None:
        raise ValidationError(
            "inst_id is missing: on a classic account the exchange cancels by instrument, so pass "
            "one such as 'BTCUSDT', or cancel the orders one by one (by_symbol=False)"
        )
    return post("/api/v2/spot/trade/cancel-symbol-order", {"symbol": inst_id})


def _open_orders(question: OpenOrders) -> RestRequest:
    spot = _is_spot(question.inst_type)
    path = "/api/v2/spot/trade/unfilled-orders" if spot else "/api/v2/mix/order/orders-pending"
    return get(path, _paged(question))


def _order_history(question: OrderHistory) -> RestRequest:
    spot = _is_spot(question.inst_type)
    path = "/api/v2/spot/trade/history-orders" if spot else "/api/v2/mix/order/orders-history"
    return get(path, _paged(question))


def _paged(question: OpenOrders | OrderHistory) -> Parameters:
    return {
        "symbol": question.inst_id,
        "productType": _product_type(question.inst_type),
        "idLessThan": question.page,
        "limit": str(PAGE),
    }


def _page(question: Question, data: object) -> Page | None:
    asked = question.order if isinstance(question, OneOrder) else question
    spot, line = _is_spot(asked.inst_type), asked.inst_type or InstType.SPOT
    if isinstance(question, OneOrder):
        # An answer of null is not an empty list: it says nothing about the order.
        items = one_or_none(data)
        if spot and isinstance(data, list):
            items = cast("list[object]", data)
        return None if items is None else Page(items, inst_type=line)
    items = listed(data) if spot else listed(data, "entrustedList")
    if items is None or len(items) < PAGE:
        return None if items is None else Page(items, inst_type=line)
    next_page = word(items[-1], "orderId") if spot else word(data, "endId")
    # A full page must name the next one. Otherwise it proves nothing about other orders.
    return None if next_page in (None, question.page) else Page(items, next_page, line)


SPELLING: Final = Spelling(
    one_order=_one_order,
    open_orders=_open_orders,
    order_history=_order_history,
    cancel=_cancel,
    cancel_by_symbol=_cancel_by_symbol,
    page=_page,
    keys=_KEYS,
)
