"""REST requests for look-ups and cancels, and the reading of their answers.

- `classic_rest` and `unified_rest` have the paths and the keys of each API.
- An answer is evidence about orders, so an answer that cannot be read completely is `NoAnswer`. An
  empty or unreadable body never means that there is no order. An empty list, as the answer about
  one order, does.
- Reading never raises because of what an answer contains.
"""

from __future__ import annotations

from typing import Final, cast

from .._values.codes import CLASSES, REFUSALS, CodeClass
from .._values.dialects import Dialect
from .._values.errors import ValidationError, safe_repr
from .._values.order_updates import (
    LookUpReply,
    NoAnswer,
    NoSuchOrder,
    OneOrder,
    OpenOrders,
    OrderHistory,
    OrderPage,
    OrderUpdate,
    Question,
)
from .._values.orders import CancelOrder, InstType, check_instrument, prevailing_id
from .._values.rest_requests import COUNTDOWNS, RestRequest
from .._values.set_module import set_module
from . import classic_rest, unified_rest
from .codec import DialectName
from .json_engines import plain_loads
from .json_text import milliseconds, read_code, readable_text
from .message_limits import MAX_DEPTH, read_text
from .messages import ErrorReply, Malformed, TradeReply
from .order_items import named_order, read_orders
from .rest_pages import Page, get

MAX_BODY: Final = 4 * 2**20
"""A longer body is not read. The limit is our choice: a page of 100 orders has some 100 kB."""

NO_COUNTDOWN: Final = (
    "the exchange has a countdown for unified accounts only (Dialect.UNIFIED), and no other dead "
    "man's switch: on a classic account, run a separate process that cancels everything when your "
    "program ends (docs/scaling.md)"
)

_OK = 200
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_SUCCESS = "0"

_CLASSIC_ACCOUNT = "40084"

_NO_SUCH_ORDER = ("25204", "40109", "43001")
"""Either API may send any of them. The code for an id that never existed is not documented."""

_STAMP_REFUSED = ("40005", "40008")
"""The timestamp is invalid, or more than 30 s from the exchange's time."""

_MAX_REASON = 200

_loads = plain_loads()


@set_module("bitget_proto")
class RestCodec:
    """Makes REST requests about orders, and reads their answers, for one dialect.

    `dialect` is the API of the account. Sign a request with `sign_request`, send it with any HTTP
    client, and pass back the status and the body of the answer. Reading never raises because of
    what the answer contains.

    Raises: ValidationError if `dialect` is not a dialect.
    """

    __slots__ = ("_spelling", "dialect")

    def __init__(self, dialect: Dialect | DialectName = Dialect.CLASSIC) -> None:
        try:
            self.dialect: Final = Dialect(cast("str", dialect))
        except ValueError:
            names = ", ".join(repr(member.value) for member in Dialect)
            raise ValidationError(
                f"dialect must be a Dialect, or one of the names {names}; got {safe_repr(dialect)}"
            ) from None
        self._spelling = (
            classic_rest.SPELLING if self.dialect is Dialect.CLASSIC else unified_rest.SPELLING
        )

    def __repr__(self) -> str:
        return f"RestCodec({self.dialect})"

    # --- requests ---

    def look_up(self, question: Question) -> RestRequest:
        """Return the request that asks this question.

        An order that has both ids is looked up by its `order_id`. A classic account finds a spot
        order by its `client_oid` for 2 hours only.

        Raises: ValidationError for anything other than a question, or on classic accounts for an
        order without an `inst_id`, or for a product line that only unified accounts have.
        """
        _check_question(question)
        if isinstance(question, OneOrder):
            return self._spelling.one_order(question.order)
        if isinstance(question, OpenOrders):
            return self._spelling.open_orders(question)
        return self._spelling.order_history(question)

    def cancel(self, order: CancelOrder) -> RestRequest:
        """Return the request to cancel an order, named by its prevailing id.

        "Rate limit will be shared with Rest API" (Cancel Order Channel): the request counts like a
        cancel over the WebSocket.

        Raises: ValidationError on classic accounts for an order without an `inst_id`, or of a
        product line that only unified accounts have.
        """
        return self._spelling.cancel(order)

    def cancel_by_symbol(self, inst_type: InstType | None, inst_id: str | None) -> RestRequest:
        """Return the request to cancel all open orders of an instrument at once.

        On classic accounts the request exists only for spot and needs an `inst_id`; None for
        `inst_type` means SPOT there. On unified accounts it exists for each `inst_type`; without an
        `inst_id` it is for all instruments of that product line. "5 times/1s (UID)" (Cancel Symbol
        Orders).

        Raises: ValidationError where the exchange has no such request, and for an instrument or a
        product line that no order can have.
        """
        check_instrument(inst_id, inst_type)
        return self._spelling.cancel_by_symbol(inst_type, inst_id)

    def server_time(self) -> RestRequest:
        """Return the request for the exchange's time. It needs no signature."""
        return get("/api/v2/public/time")

    def account_kind(self) -> RestRequest:
        """Return the request whose answer tells a unified account from a classic one.

        A key of either kind can log in to both WebSockets, so a successful login does not show the
        kind.
        """
        return get("/api/v3/account/settings")

    def countdown(self, seconds: int) -> RestRequest:
        """Return the request that starts, restarts or stops the countdown of a unified account.

        When the countdown ends, the exchange cancels all orders of the account, and the countdown
        is off. `seconds` is 5 to 60, or 0 to stop the countdown. The exchange takes at most one
        such request a second, and grants access on request (REST API V3, Countdown Cancel All).

        Raises: ValidationError on classic accounts, which have no countdown, or for another number
        of seconds.
        """
        if self.dialect is Dialect.CLASSIC:
            raise ValidationError(NO_COUNTDOWN)
        if type(seconds) is not int or not (seconds == 0 or seconds in COUNTDOWNS):
            raise ValidationError(
                f"seconds must be a whole number from {COUNTDOWNS[0]} to {COUNTDOWNS[-1]}, or 0 to "
                f"turn the countdown off; got {safe_repr(seconds)}"
            )
        return unified_rest.countdown(seconds)

    # --- answers ---

    def read_look_up(self, question: Question, status: int, body: str | bytes) -> LookUpReply:
        """Return what the answer to this question says.

        `status` is the HTTP status and `body` the whole body. For `OneOrder`, an empty list or one
        of the codes 25204, 40109 and 43001 means `NoSuchOrder`. Everything that is not a complete
        answer is `NoAnswer`: other errors, a body or an order that cannot be read, and an answer
        about orders that were not asked for.

        Raises: ValidationError if the body is neither text nor bytes, for anything other than a
        question, and on classic accounts for a product line that only unified accounts have.
        """
        _check_question(question)
        data = _read_object(body)
        if data is None:
            return _unreadable(status)
        code = read_code(data.get("code"))
        if status != _OK or code != _SUCCESS:
            return self._refused(question, status, code, readable_text(data.get("msg")))
        page = self._spelling.page(question, data["data"]) if "data" in data else None
        if page is None:
            return NoAnswer("a success, but its data is not what was asked for")
        return self._page_of(question, page)

    def read_cancel(
        self, order: CancelOrder, status: int, body: str | bytes
    ) -> TradeReply | ErrorReply:
        """Return what the answer to the cancel of this order says.

        Return a `TradeReply` if the exchange accepted the request (status 200 and code 0), and an
        `ErrorReply` for any other answer. An answer proves nothing if it cannot be read or names
        another order, if it has code 0 with another status, or if it has the code of a refusal with
        a status of 500 or more. Its `ErrorReply` has no code, and `message` says what came.

        Raises: ValidationError if the body is neither text nor bytes.
        """
        data = _read_object(body)
        if data is None:
            return self._unsure(f"HTTP {status}, and a body that cannot be read")
        code, text = read_code(data.get("code")), readable_text(data.get("msg"))
        exchange_ts = milliseconds(data.get("requestTime"))
        named = named_order(data.get("data"))
        by_order_id, id = prevailing_id(order)
        if named is None or (named.order_id if by_order_id else named.client_oid) not in (None, id):
            return self._unsure("the answer names another order")
        if status == _OK and code == _SUCCESS:
            return TradeReply(
                id=None,
                names_request=False,
                code=code,
                message=text,
                exchange_ts=exchange_ts,
                dialect=self.dialect,
                orders=(named,),
            )
        refused = CLASSES[self.dialect][code] in REFUSALS
        if code in (None, _SUCCESS) or (refused and not _OK <= status < _SERVER_ERRORS):
            return self._unsure(f"HTTP {status}, code {code}: {text}", exchange_ts)
        return self._error(code, text, exchange_ts)

    def read_taken(self, status: int, body: str | bytes) -> NoAnswer | None:
        """Return None if the exchange took a `cancel_by_symbol` or `countdown`, else why not.

        Neither result says anything about an order: on classic accounts a cancel by symbol is
        "executed asynchronously" (Cancel Symbol Orders). Look the orders up. If there is no
        complete answer, the exchange may still have taken the request.

        Raises: ValidationError if the body is neither text nor bytes.
        """
        data = _read_object(body)
        if data is None:
            return _unreadable(status)
        code = read_code(data.get("code"))
        if status == _OK and code == _SUCCESS:
            return None
        return self._no_answer(status, code, readable_text(data.get("msg")))

    def read_server_time(self, status: int, body: str | bytes) -> int | None:
        """Return the exchange's time in milliseconds since 1970; None if the answer has none.

        Raises: ValidationError if the body is neither text nor bytes.
        """
        data = _read_object(body)
        if status != _OK or data is None or read_code(data.get("code")) != _SUCCESS:
            return None
        time = data.get("data")
        if not isinstance(time, dict):
            return None
        return milliseconds(cast("dict[str, object]", time).get("serverTime"))

    def read_account_kind(self, status: int, body: str | bytes) -> Dialect | None:
        """Return which API the account needs; None if the answer does not say.

        A unified account gets its settings; a classic one is refused with 40084.

        Raises: ValidationError if the body is neither text nor bytes.
        """
        data = _read_object(body)
        code = None if data is None else read_code(data.get("code"))
        if status == _OK and code == _SUCCESS:
            return Dialect.UNIFIED
        return Dialect.CLASSIC if code == _CLASSIC_ACCOUNT else None

    def _unsure(self, message: str, exchange_ts: int | None = None) -> ErrorReply:
        return self._error(None, message[:_MAX_REASON], exchange_ts)

    def _error(self, code: str | None, message: str, exchange_ts: int | None) -> ErrorReply:
        return ErrorReply(
            id=None,
            names_request=False,
            code=code,
            message=message,
            exchange_ts=exchange_ts,
            dialect=self.dialect,
        )

    def _refused(
        self, question: Question, status: int, code: str | None, message: str
    ) -> LookUpReply:
        answered = status < _SERVER_ERRORS and status != _TOO_MANY_REQUESTS
        if isinstance(question, OneOrder) and answered and code in _NO_SUCH_ORDER:
            return NoSuchOrder(code)
        return self._no_answer(status, code, message)

    def _no_answer(self, status: int, code: str | None, message: str) -> NoAnswer:
        return NoAnswer(
            f"HTTP {status}, code {code}: {message}"[:_MAX_REASON],
            code=code,
            throttled=status == _TOO_MANY_REQUESTS
            or CLASSES[self.dialect][code] is CodeClass.THROTTLED,
            stamp_refused=code in _STAMP_REFUSED,
        )

    def _page_of(self, question: Question, page: Page) -> LookUpReply:
        orders, unreadable = read_orders(page.items, self._spelling.keys, page.inst_type)
        if unreadable:
            return NoAnswer(f"{unreadable} of {len(page.items)} orders cannot be read")
        if isinstance(question, OpenOrders) and not all(
            _is_about(each, question) for each in orders
        ):
            return NoAnswer("the answer has orders that were not asked for")
        if isinstance(question, OneOrder):
            if not orders:
                return NoSuchOrder(None)
            by_order_id, id = prevailing_id(question.order)
            named = {order.order_id if by_order_id else order.client_oid for order in orders}
            if len(orders) != 1 or named != {id}:
                return NoAnswer("the answer is not about the one order that was asked for")
        return OrderPage(orders, page.next_page)


def _is_about(order: OrderUpdate, question: OpenOrders) -> bool:
    """Return whether the order may be one of those that were asked for."""
    asked, found = question.inst_id, order.inst_id
    return (asked is None or found is None or asked.upper() == found.upper()) and (
        question.inst_type is None or order.inst_type in (None, question.inst_type)
    )


def _check_question(question: object) -> None:
    if not isinstance(question, OneOrder | OpenOrders | OrderHistory):
        raise ValidationError(
            "question must be a OneOrder, an OpenOrders or an OrderHistory; got "
            f"{safe_repr(question)}"
        )


def _unreadable(status: int) -> NoAnswer:
    return NoAnswer(
        f"HTTP {status}, and a body that cannot be read", throttled=status == _TOO_MANY_REQUESTS
    )


def _read_object(body: str | bytes) -> dict[str, object] | None:
    """Return a body that is a JSON object; None for any other body."""
    text = read_text(body, MAX_BODY, MAX_DEPTH)
    if isinstance(text, Malformed):
        return None
    try:
        data = _loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", data) if isinstance(data, dict) else None
