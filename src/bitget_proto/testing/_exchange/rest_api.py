"""The REST API of the scripted exchange: look-ups, cancels and the time.

It covers the part of the exchange's REST API that concerns how orders end, with the exchange's
envelope, codes and limits. It shows the same book as the WebSocket, and its cancels count towards
the same rate limit. It does no I/O: a server passes each request to `answer`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, cast
from urllib.parse import parse_qsl, unquote

import attrs

from ..._machine.rate_limit import SlidingWindow
from ..._values.credentials import Credentials
from ..._values.dialects import Dialect
from ..._values.errors import ValidationError
from ..._values.orders import CancelOrder, InstType
from ..._values.rest_requests import COUNTDOWNS
from .exchange_config import ExchangeConfig
from .faults import FaultQueue, RestFault
from .order_book import Book, BookOrder, Moment
from .order_shapes import Row, is_futures, looked_up

STAMP_VALID = 30_000
"""Milliseconds by which the timestamp of a request may be behind or ahead (40008)."""

PAGE = 100
"""The most orders in a page."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode


RestAnswer: TypeAlias = tuple[int, bytes]
"""The status and the body of an HTTP answer."""


class Refused(Exception):
    """A request that is refused with a code."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Account(Protocol):
    """The account whose orders are shown: a `ScriptedExchange`."""

    config: ExchangeConfig
    credentials: Credentials | None
    rest_behind: float
    countdown_ends: float | None

    def wall_clock(self, now: float) -> float: ...


class CancelIt(Protocol):
    """Cancels an order for a REST request, and pushes its end; returns the code and the message."""

    def __call__(self, order: CancelOrder, now: float, *, counted: bool) -> tuple[str, str]: ...


@attrs.frozen
class _Call:
    """A request, decoded."""

    api: RestApi
    given: Mapping[str, Any]
    """The parameters of the query, or the keys of the body."""

    now: float

    def text(self, key: str) -> str | None:
        """Return a parameter; None if it is missing or empty.

        Raises: Refused if it is not text.
        """
        value = self.given.get(key)
        if value is not None and not isinstance(value, str):
            raise Refused("40020", f"Parameter {key} error")
        return value or None


_Handler: TypeAlias = Callable[[_Call], object]


class RestApi:
    """The REST API of one `ScriptedExchange`."""

    def __init__(self, account: Account, book: Book, cancel: CancelIt) -> None:
        self.account = account
        self.cancel = cancel
        self._book = book
        self.faults = FaultQueue(frozenset(RestFault))
        self._paces: dict[str, SlidingWindow] = {}

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> RestAnswer | None:
        """Answer a request, like `ScriptedExchange.rest`."""
        fault = self.faults.pop()
        if fault is RestFault.DOWN:
            return None
        if fault is RestFault.UNAVAILABLE:
            return 503, b"<html>Service Unavailable</html>"
        if fault is RestFault.TOO_MANY:
            return self._envelope(429, "429", "Too Many Requests", None, now)
        try:
            data = self._data(method, target, headers, body, now)
            answer = self._envelope(200, "00000", "success", data, now)
        except Refused as refused:
            answer = self._envelope(refused.status, refused.code, refused.message, None, now)
        match fault:
            case RestFault.CUT_AFTER:
                return None
            case RestFault.FAILED_AFTER:
                return self._envelope(500, "40010", "Request timed out", None, now)
            case RestFault.EMPTY:
                return 200, b""
            case RestFault.CUT_IN_HALF:
                return 200, answer[1][: len(answer[1]) // 2]
            case _:
                return answer

    # --- private ---

    def _data(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> object:
        path, _, query = target.partition("?")
        found = _ENDPOINTS.get((method, path))
        if found is None:
            raise Refused("40404", "Request URL NOT FOUND", 404)
        unified = self.account.config.dialect is Dialect.UNIFIED
        if path not in _PUBLIC:
            self._check_signed(method, target, headers, body, now)
            if path.startswith("/api/v2/") is unified:
                raise _wrong_kind(unified=unified)
        limit, handler = found
        pace = self._paces.setdefault(path, SlidingWindow(limit))
        if pace.allowed_at() > now:
            raise Refused("429", "Too Many Requests", 429)
        pace.take(now)
        return handler(_Call(self, _given(method, query, body), now))

    def _check_signed(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> None:
        """Check the headers of a private request.

        The signature covers the query before URL encoding.

        Raises: Refused if the headers do not match the account's credentials.
        """
        known = self.account.credentials
        if known is None:
            return
        if headers.get("access-key") != known.api_key:
            raise Refused("40006", "Invalid ACCESS_KEY")
        if headers.get("access-passphrase") != known.passphrase:
            raise Refused("40012", "apikey/password is incorrect")
        stamp = headers.get("access-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15):
            raise Refused("40005", "Invalid ACCESS_TIMESTAMP")
        if abs(self._milliseconds(now) - int(stamp)) > STAMP_VALID:
            raise Refused("40008", "Request timestamp expired")
        signed = (stamp + method + unquote(target)).encode() + body
        sign = hmac.new(known.secret.encode(), signed, hashlib.sha256).digest()
        if headers.get("access-sign") != base64.b64encode(sign).decode():
            raise Refused("40009", "sign signature error")

    def _envelope(
        self, status: int, code: str, message: str, data: object, now: float
    ) -> RestAnswer:
        whole = {"code": code, "msg": message, "requestTime": self._milliseconds(now), "data": data}
        return status, _dumps(whole).encode()

    def _milliseconds(self, now: float) -> int:
        return int(self.account.wall_clock(now) * 1000)

    def row(self, placed: BookOrder, moment: Moment, now: float) -> Row:
        """Return an order in one of its states."""
        at = self._milliseconds(max(moment.at, 0.0) if moment.at <= now else now)
        return looked_up(placed, moment, self.account.config.dialect, at)

    def seen(self, now: float) -> list[tuple[BookOrder, Moment]]:
        """Return all orders, newest first, as REST sees them: `rest_behind` seconds late."""
        at = now - self.account.rest_behind
        orders = self._book.newest_first()
        states = [(placed, placed.as_of(at)) for placed in orders]
        return [(placed, moment) for placed, moment in states if moment is not None]


# --- the endpoints ---


def _one(call: _Call, *, futures: bool) -> object:
    order_id, client_oid = call.text("orderId"), call.text("clientOid")
    if order_id is None and client_oid is None:
        raise Refused("40019", "Parameter orderId cannot be empty")
    unified = call.api.account.config.dialect is Dialect.UNIFIED
    for placed, moment in call.api.seen(call.now):
        order = placed.order
        if (
            (order.order_id == order_id if order_id else order.client_oid == client_oid)
            and (unified or is_futures(order.inst_type) is futures)
            and (not futures or unified or order.inst_id == call.text("symbol"))
        ):
            row = call.api.row(placed, moment, call.now)
            return row if unified or futures else [row]
    raise _not_found(unified=unified)


def _one_spot(call: _Call) -> object:
    return _one(call, futures=False)


def _one_futures(call: _Call) -> object:
    return _one(call, futures=True)


def _page(call: _Call, line: InstType | None, cursor: str, *, ended: bool) -> tuple[list[Row], str]:
    """Return one page of the orders of a product line, and the cursor of the next one."""
    symbol, before = call.text("symbol"), call.text(cursor)
    size = call.text("limit") or str(PAGE)
    if not (size.isascii() and size.isdigit() and 1 <= int(size) <= PAGE):
        raise Refused("40020", "Parameter limit error")
    matching = [
        (placed, moment)
        for placed, moment in call.api.seen(call.now)
        if (moment.status in ("filled", "cancelled")) is ended
        and line in (None, placed.order.inst_type or InstType.SPOT)
        and symbol in (None, placed.order.inst_id)
    ]
    if before is not None:
        numbers = [placed.number for placed, _ in matching if _cursor_of(placed) == before]
        number = numbers[0] if numbers else int(before) if before.isdecimal() else 0
        matching = [(placed, moment) for placed, moment in matching if placed.number < number]
    shown = matching[: int(size)]
    rows = [call.api.row(placed, moment, call.now) for placed, moment in shown]
    return rows, _cursor_of(shown[-1][0]) if shown else ""


def _cursor_of(placed: BookOrder) -> str:
    return placed.order.order_id or str(placed.number)


def _spot_page(call: _Call, *, ended: bool) -> object:
    return _page(call, InstType.SPOT, "idLessThan", ended=ended)[0]


def _futures_page(call: _Call, *, ended: bool) -> object:
    line = _line(call.text("productType"), "productType")
    rows, last = _page(call, line, "idLessThan", ended=ended)
    return {"entrustedList": rows or None, "endId": last}


def _unified_page(call: _Call, *, ended: bool) -> object:
    named = call.text("category")
    line = None if named is None else _line(named, "category")
    rows, last = _page(call, line, "cursor", ended=ended)
    return {"list": rows, "cursor": last or None}


def _cancel(call: _Call) -> object:
    unified = call.api.account.config.dialect is Dialect.UNIFIED
    order_id, client_oid = call.text("orderId"), call.text("clientOid")
    line, symbol = None, None
    if not unified:
        symbol = call.text("symbol")
        named = call.text("productType")
        line = InstType.SPOT if named is None else _line(named, "productType")
    try:
        order = CancelOrder(symbol, order_id, client_oid, line)
    except ValidationError as error:
        raise Refused("40019", str(error)) from None
    code, message = call.api.cancel(order, call.now, counted=True)
    if code != "0":
        raise Refused(code, message, 429 if code == "429" else 400)
    return {"orderId": order_id or "", "clientOid": client_oid or ""}


def _cancel_symbol(call: _Call) -> object:
    symbol = call.text("symbol")
    unified = call.api.account.config.dialect is Dialect.UNIFIED
    line = _line(call.text("category"), "category") if unified else InstType.SPOT
    if symbol is None and not unified:
        raise Refused("40019", "Parameter symbol cannot be empty")
    named: list[dict[str, str]] = []
    for placed, moment in call.api.seen(call.now):
        order = placed.order
        if (
            moment.status in ("live", "partially_filled")
            and (order.inst_type or InstType.SPOT) is line
            and symbol in (None, order.inst_id)
        ):
            code, message = call.api.cancel(order, call.now, counted=False)
            failed = {} if code == "0" else {"code": code, "msg": message}
            ids = {"orderId": order.order_id or "", "clientOid": order.client_oid or ""}
            named.append(ids | failed)
    return {"list": named} if unified else {"symbol": symbol}


def _countdown(call: _Call) -> object:
    text = call.text("countdown") or ""
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else -1
    if seconds != 0 and seconds not in COUNTDOWNS:
        raise Refused("40020", "Parameter countdown error")
    call.api.account.countdown_ends = call.now + seconds if seconds else None
    return None


def _time(call: _Call) -> object:
    return {"serverTime": str(int(call.api.account.wall_clock(call.now) * 1000))}


_ENDPOINTS: Final[Mapping[tuple[str, str], tuple[int, _Handler]]] = MappingProxyType({
    ("GET", "/api/v2/public/time"): (20, _time),
    ("GET", "/api/v2/spot/trade/orderInfo"): (20, _one_spot),
    ("GET", "/api/v2/mix/order/detail"): (10, _one_futures),
    ("GET", "/api/v3/trade/order-info"): (20, _one_spot),
    ("GET", "/api/v2/spot/trade/unfilled-orders"): (20, lambda call: _spot_page(call, ended=False)),
    ("GET", "/api/v2/mix/order/orders-pending"): (10, lambda call: _futures_page(call, ended=False)),
    ("GET", "/api/v3/trade/unfilled-orders"): (20, lambda call: _unified_page(call, ended=False)),
    ("GET", "/api/v2/spot/trade/history-orders"): (20, lambda call: _spot_page(call, ended=True)),
    ("GET", "/api/v2/mix/order/orders-history"): (10, lambda call: _futures_page(call, ended=True)),
    ("GET", "/api/v3/trade/history-orders"): (20, lambda call: _unified_page(call, ended=True)),
    ("POST", "/api/v2/spot/trade/cancel-order"): (1000, _cancel),
    ("POST", "/api/v2/mix/order/cancel-order"): (1000, _cancel),
    ("POST", "/api/v3/trade/cancel-order"): (1000, _cancel),
    ("POST", "/api/v2/spot/trade/cancel-symbol-order"): (5, _cancel_symbol),
    ("POST", "/api/v3/trade/cancel-symbol-order"): (5, _cancel_symbol),
    ("POST", "/api/v3/trade/countdown-cancel-all"): (1, _countdown),
    ("GET", "/api/v3/account/settings"): (20, lambda _: {"accountMode": "unified"}),
})  # fmt: skip
"""The requests per second and the handler of each endpoint.

Cancels of a single order also count towards the account's rate limit."""

_PUBLIC = ("/api/v2/public/time",)


# --- helpers ---


def _given(method: str, query: str, body: bytes) -> Mapping[str, Any]:
    if method == "GET":
        return dict(parse_qsl(query))
    try:
        data: object = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Refused("40020", "Parameter error: the body must be a JSON object")
    return cast("dict[str, Any]", data)


def _line(value: str | None, key: str) -> InstType:
    """Return the product line with this value, which REST writes in upper case.

    Raises: Refused for any other value.
    """
    for member in InstType:
        if member.value == value:
            return member
    raise Refused("40020", f"Parameter {key} error")


def _not_found(*, unified: bool) -> Refused:
    if unified:
        return Refused("25204", "Order does not exist")
    return Refused(
        "40109", "The data of the order cannot be found, please confirm the order number"
    )


def _wrong_kind(*, unified: bool) -> Refused:
    if unified:
        return Refused(
            "40085", "You are in Unified Account mode, and the Classic Account API is not supported"
        )
    return Refused(
        "40084", "You are in Classic Account mode, and the Unified Account API is not supported"
    )
