"""The parts of a dialect's REST spelling, with helpers that write requests and read answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, cast

import attrs

from .._values.order_updates import OpenOrders, OrderHistory, Question
from .._values.orders import CancelOrder, InstType
from .._values.rest_requests import RestRequest
from .json_text import dumps, readable_text
from .order_items import OrderKeys

PAGE: Final = 100
"""The maximum number of orders on a page. Every request for a page asks for this number."""

Parameters: TypeAlias = dict[str, str | None]
"""The parameters of a request; those that are None are left out."""


@attrs.frozen
class Page:
    """The orders of an answer, not read yet."""

    items: list[object]
    next_page: str | None = None
    inst_type: InstType | None = None
    """The product line of orders that do not name it."""


@attrs.frozen(kw_only=True)
class Spelling:
    """The requests of one API, and the shapes of its answers."""

    one_order: Callable[[CancelOrder], RestRequest]
    open_orders: Callable[[OpenOrders], RestRequest]
    order_history: Callable[[OrderHistory], RestRequest]
    cancel: Callable[[CancelOrder], RestRequest]
    cancel_by_symbol: Callable[[InstType | None, str | None], RestRequest]

    page: Callable[[Question, object], Page | None]
    """Returns the orders in the `data` of a success; None if it has another shape."""

    keys: OrderKeys


def get(path: str, parameters: Parameters | None = None) -> RestRequest:
    """Return a GET request. The parameters are sorted by name, as other clients sign them."""
    return RestRequest(
        method="GET",
        path=path,
        query="&".join(
            f"{name}={_percent_encoded(value)}"
            for name, value in sorted((parameters or {}).items())
            if value is not None
        ),
    )


def post(path: str, parameters: Parameters) -> RestRequest:
    """Return a POST request with a JSON body."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return RestRequest(method="POST", path=path, body=dumps(given))


def listed(data: object, key: str | None = None) -> list[object] | None:
    """Return a list of orders, or the list under `key`; None for any other shape.

    An empty list may be null.
    """
    if key is not None:
        if not isinstance(data, dict) or key not in data:
            return None
        data = cast("dict[str, object]", data)[key]
    if data is None:
        return []
    return cast("list[object]", data) if isinstance(data, list) else None


def one_or_none(data: object) -> list[object] | None:
    """Return an object as a list of one, and an empty list as it is; None for any other shape."""
    if isinstance(data, dict):
        return [cast("dict[str, object]", data)]
    return [] if data == [] else None


def word(data: object, key: str) -> str | None:
    """Return a text under `key` that is not empty; None if there is none."""
    if not isinstance(data, dict):
        return None
    return readable_text(cast("dict[str, object]", data).get(key)) or None


def _percent_encoded(value: str) -> str:
    """Return a value percent-encoded, except for ASCII letters, digits and `-._~:/$`.

    A query may contain these characters, and no server decodes them.
    """
    return "".join(
        chr(byte)
        if (chr(byte).isalnum() and byte < 128) or chr(byte) in "-._~:/$"
        else f"%{byte:02X}"
        for byte in value.encode()
    )
