"""What the exchange says about an order, in a push or in the answer to a look-up.

An update is a statement about a moment. It never says which request changed the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from .enums import DescribedEnum
from .orders import CancelOrder, InstType, check_instrument
from .set_module import set_module

if TYPE_CHECKING:
    from decimal import Decimal


@set_module("bitget_proto")
class OrderStatus(DescribedEnum):
    """The status of an order, independent of how the API spells it."""

    OPEN = "open", "It is on the book, filled in part or not at all (`live`, `new`, `init`)."
    FILLED = "filled", "It is filled completely. It cannot change any more."
    CANCELLED = (
        "cancelled",
        "It was cancelled; it may have been filled in part before. It cannot change any more.",
    )
    UNKNOWN = "unknown", "The exchange sent a status that this library does not know."


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class OrderUpdate:
    """The state of an order at one moment."""

    order_id: str | None
    client_oid: str | None
    inst_type: InstType | None
    inst_id: str | None
    status: OrderStatus
    status_text: str
    """The status as the exchange sent it."""

    filled: Decimal | None
    """The amount filled so far, in the base currency; None if it is not readable."""

    average_price: Decimal | None
    """The average price of the fills; None if nothing was filled, or if no price was readable."""

    reason: str | None
    """Why the order was cancelled (`cancelReason`). Classic spot orders have none."""

    updated_at: int | None
    """When the order last changed, by the exchange's clock, in milliseconds since 1970. Two changes
    may have the same time."""


# `typing.get_type_hints` evaluates these strings. An import above would cost every program a
# millisecond.
OrderUpdate.__annotations__.update(
    dict.fromkeys(("filled", "average_price"), "__import__('decimal').Decimal | None")
)


# --- look-ups: questions for the REST API, and its replies ---


@set_module("bitget_proto")
@attrs.frozen
class OneOrder:
    """A question: the state of one order."""

    order: CancelOrder


@set_module("bitget_proto")
@attrs.frozen
class OpenOrders:
    """A question: the open orders, one page of up to 100.

    Raises: ValidationError for an instrument or a product line that no order can have.
    """

    inst_type: InstType | None
    inst_id: str | None = None
    page: str | None = None
    """Where the page begins: the `OrderPage.next_page` of the page before; None for the first."""

    def __attrs_post_init__(self) -> None:
        check_instrument(self.inst_id, self.inst_type)


@set_module("bitget_proto")
@attrs.frozen
class OrderHistory:
    """A question: the orders that have ended, one page of up to 100, the latest first.

    Raises: the same as `OpenOrders`.
    """

    inst_type: InstType | None
    inst_id: str | None = None
    page: str | None = None

    def __attrs_post_init__(self) -> None:
        check_instrument(self.inst_id, self.inst_type)


Question: TypeAlias = OneOrder | OpenOrders | OrderHistory
"""What a look-up asks."""


@set_module("bitget_proto")
@attrs.frozen
class OrderPage:
    """An answer: the orders of one page or, for `OneOrder`, the one order."""

    orders: tuple[OrderUpdate, ...]
    next_page: str | None = None
    """Where the next page begins; None if this page is the last."""


@set_module("bitget_proto")
@attrs.frozen
class NoSuchOrder:
    """An answer to `OneOrder`: the exchange says that there is no such order."""

    code: str | None


@set_module("bitget_proto")
@attrs.frozen
class NoAnswer:
    """No answer: an error, or a body that cannot be read. It says nothing about any order."""

    reason: str
    """Text for people."""

    code: str | None = None
    throttled: bool = False
    """Whether the exchange asked to slow down: HTTP 429, or a code of the class THROTTLED."""

    stamp_refused: bool = False
    """Whether the exchange refused the timestamp of the request, usually because of a skewed clock:
    sign the next request with the exchange's own time."""


LookUpReply: TypeAlias = OrderPage | NoSuchOrder | NoAnswer
"""The reply of the REST API to a look-up."""
