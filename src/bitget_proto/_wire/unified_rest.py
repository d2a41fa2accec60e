"""The REST requests and answers of unified accounts (API V3).

- A product line is a `category`, in upper case, unlike on the WebSocket. It is optional.
- An answer about one order is an object. An answer about several orders is an object with a list,
  which may be null, and a `cursor` to the next page.
"""

from __future__ import annotations

from typing import Final

from .._values.errors import ValidationError
from .._values.order_updates import OneOrder, OpenOrders, OrderHistory, Question
from .._values.orders import CancelOrder, InstType, prevailing_id
from .._values.rest_requests import RestRequest
from .rest_pages import PAGE, Page, Parameters, Spelling, get, listed, one_or_none, post, word
from .unified import ORDER_KEYS


def _named(order: CancelOrder) -> Parameters:
    """Return the parameter that names an order."""
    by_order_id, id = prevailing_id(order)
    return {"orderId" if by_order_id else "clientOid": id}


def _one_order(order: CancelOrder) -> RestRequest:
    return get("/api/v3/trade/order-info", _named(order))


def _cancel(order: CancelOrder) -> RestRequest:
    return post("/api/v3/trade/cancel-order", _named(order))


def _cancel_by_symbol(inst_type: InstType | None, inst_id: str | None) -> RestRequest:
    if inst_type is None:
        raise ValidationError(
            "inst_type is missing: on a unified account the exchange cancels the orders of one "
            "product line, so pass one such as InstType.SPOT, or cancel the orders one by one "
            "(by_symbol=False)"
        )
    parameters: Parameters = {"category": inst_type.value, "symbol": inst_id}
    return post("/api/v3/trade/cancel-symbol-order", parameters)


def countdown(seconds: int) -> RestRequest:
    """Return the request that starts or restarts the countdown, or stops it with 0."""
    return post("/api/v3/trade/countdown-cancel-all", {"countdown": str(seconds)})


def _open_orders(question: OpenOrders) -> RestRequest:
    return get("/api/v3/trade/unfilled-orders", _paged(question))


def _order_history(question: OrderHistory) -> RestRequest:
    return get("/api/v3/trade/history-orders", _paged(question))


def _paged(question: OpenOrders | OrderHistory) -> Parameters:
    return {
        "category": _category(question.inst_type),
        "symbol": question.inst_id,
        "cursor": question.page,
        "limit": str(PAGE),
    }


def _category(inst_type: InstType | None) -> str | None:
    return None if inst_type is None else inst_type.value


def _page(question: Question, data: object) -> Page | None:
    if isinstance(question, OneOrder):
        items = one_or_none(data)
        return None if items is None else Page(items)
    items = listed(data, "list")
    if not items:
        return None if items is None else Page(items)
    cursor = word(data, "cursor")
    if cursor is None:
        # A full page must name the next one. Otherwise it proves nothing about other orders.
        return Page(items) if len(items) < PAGE else None
    return None if cursor == question.page else Page(items, cursor)


SPELLING: Final = Spelling(
    one_order=_one_order,
    open_orders=_open_orders,
    order_history=_order_history,
    cancel=_cancel,
    cancel_by_symbol=_cancel_by_symbol,
    page=_page,
    keys=ORDER_KEYS,
)
