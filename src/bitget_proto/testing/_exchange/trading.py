"""What the scripted exchange does with orders: it cancels, places and fills them, and keeps a log.

Without a fault, every answer returned here agrees with the book. The fault UNSURE and the faults of
a batch's items change the content of an answer here; all other faults of answers are in `answers`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs

from ..._values.dialects import Dialect
from ..._values.errors import ValidationError
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._wire.exchange_codec import (
    encode_batch_reply,
    encode_event,
    encode_refusal,
    encode_reply,
)
from .exchange_events import BatchRequested, CancelRequested
from .faults import Fault
from .order_book import TOO_MANY, Book, BookOrder
from .placed_orders import check_amount, encode_placed, placed_order, placement_of

_FIRST_ORDER_ID = 1_376_000_000_000_000_001
"""The id of the first order that a client places."""

_AMOUNTS = ("size", "price")

_FILLS_FIRST = (Fault.FILL_FIRST, Fault.HALF_FILL_FIRST)

_TIMED_OUT = "40010", "Request timed out"

Encode: TypeAlias = Callable[..., str]
"""Returns an answer; `id` is the id of the request that it answers."""


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class Act:
    """An entry of `ScriptedExchange.log`: what the exchange did with one cancel request."""

    at: float
    id: str
    order: CancelOrder
    cancelled: bool
    """Whether this request cancelled the order, that is, the order was live before."""

    code: str
    """The code of the true answer, even when a fault withheld or replaced it."""

    fault: Fault | None = None
    batch: bool = False
    """Whether the order was in a batch. If so, `id` is the id of the batch."""


class Trading:
    """The requests about the orders of a book.

    `changed` is called with an order whose state was changed by a fill or by a REST request, not by
    a request on a link.
    """

    def __init__(
        self, book: Book, dialect: Dialect, changed: Callable[[BookOrder, float], None]
    ) -> None:
        self.log: list[Act] = []
        self._book = book
        self._dialect = dialect
        self._changed = changed
        self._placed = 0

    # --- cancels ---

    def act(
        self,
        id: str,
        order: CancelOrder,
        now: float,
        fault: Fault | None = None,
        *,
        batch: bool = False,
        counted: bool = True,
    ) -> tuple[str, str, BookOrder | None]:
        """Carry out a cancel; return the true code and message, and the cancelled order."""
        book = self._book
        placed = book.find(order)
        if placed is not None and fault in _FILLS_FIRST:
            left = placed.size - placed.last.filled
            book.fill(placed, left if fault is Fault.FILL_FIRST else left / 2, now)
            self._changed(placed, now)
        code, message, gone = book.cancel(
            order, now, counted=counted and (not batch or book.counts_orders)
        )
        self.log.append(
            Act(
                at=now,
                id=id,
                order=order,
                cancelled=gone is not None,
                code=code,
                fault=fault,
                batch=batch,
            )
        )
        return code, message, gone

    def cancel_by_rest(self, order: CancelOrder, now: float, *, counted: bool) -> tuple[str, str]:
        """Carry out a cancel that came by REST; return the true code and message."""
        code, message, gone = self.act("", order, now, counted=counted)
        if gone is not None:
            self._changed(gone, now)
        return code, message

    def cancel(
        self,
        request: CancelRequested,
        now: float,
        fault: Fault | None,
        exchange_ts: int,
        *,
        tells_limits: bool,
    ) -> tuple[Encode, list[BookOrder]]:
        """Carry out a cancel. Return the encoder of its answer, and the cancelled order."""
        order = request.order
        code, message, gone = self.act(request.id, order, now, fault)
        if fault is Fault.UNSURE:
            code, message = _TIMED_OUT
        if gone is not None and self._dialect is Dialect.UNIFIED:
            order = gone.order  # answers to unified accounts name both ids
        encode = partial(
            encode_reply,
            order,
            code=int(code),
            message=message,
            exchange_ts=exchange_ts,
            dialect=self._dialect,
            remaining=self._book.remaining(now) if tells_limits else None,
        )
        return encode, [] if gone is None else [gone]

    def cancel_batch(
        self,
        request: BatchRequested,
        now: float,
        fault: Fault | None,
        exchange_ts: int,
        *,
        tells_limits: bool,
    ) -> tuple[Encode, list[BookOrder]]:
        """Carry out a batch. Return the encoder of its answer, and the cancelled orders."""
        if not self._book.takes_batch(now):
            code, message = TOO_MANY
            return partial(encode_refusal, code=code, message=message), []
        items: list[tuple[CancelOrder, str, str]] = []
        cancelled: list[BookOrder] = []
        for order in request.orders:
            code, message, gone = self.act(request.id, order, now, fault, batch=True)
            items.append((order if gone is None else gone.order, code, message))
            if gone is not None:
                cancelled.append(gone)
        if fault is Fault.UNSURE:
            code, message = _TIMED_OUT
            return partial(encode_refusal, code=code, message=message), cancelled
        if fault is Fault.ITEM_MISSING:
            items = items[::2]
        elif fault is Fault.ITEM_TWICE:
            items = [*items[:1], *items]
        elif fault is Fault.REORDERED:
            items = items[::-1]
        encode = partial(
            encode_batch_reply,
            items,
            exchange_ts=exchange_ts,
            remaining=self._book.remaining(now) if tells_limits else None,
        )
        return encode, cancelled

    # --- placing and filling ---

    def place(self, text: str, now: float, exchange_ts: int) -> tuple[str, BookOrder | None]:
        """Add the order that a request asks for. Return the answer, and the order if it is new."""
        arg = placement_of(text)
        try:
            order = self._new_order(arg)
            # A market order has no price.
            size, price = (check_amount(key, arg["params"].get(key, "1")) for key in _AMOUNTS)
        except ValidationError as error:
            return self._refused(30016, str(error), arg, exchange_ts), None
        if self._book.knows(order):
            return self._refused(40786, "Duplicate clientOid", arg, exchange_ts), None
        placed = self._book.place(order, size, price, now)
        return encode_placed(arg["id"], order, exchange_ts), placed

    def fill(self, order: CancelOrder, now: float, quantity: str | None) -> None:
        """Fill a live order, completely or by `quantity`.

        Raises: the same as `ScriptedExchange.fill`.
        """
        placed = self._book.find(order)
        if placed is None:
            raise ValidationError(f"order must be live on the exchange; got {order}")
        left = placed.size - placed.last.filled
        amount = left if quantity is None else check_amount("quantity", quantity)
        if amount > left:
            raise ValidationError(
                f"quantity must be at most {left}, the unfilled part; got {amount}"
            )
        self._book.fill(placed, amount, now)
        self._changed(placed, now)

    def _new_order(self, arg: dict[str, Any]) -> CancelOrder:
        """Return the order that a placement asks for, with an id that no live order has.

        Raises: ValidationError for a request that contradicts the documentation; nothing changes
        then.
        """
        while True:
            order = placed_order(arg, str(_FIRST_ORDER_ID + self._placed))
            self._placed += 1
            if not self._book.knows(
                CancelOrder(order.inst_id, order.order_id, inst_type=order.inst_type)
            ):
                return order

    @staticmethod
    def _refused(code: int, message: str, arg: dict[str, Any], exchange_ts: int) -> str:
        return encode_event("error", code, message, arg=[arg], exchange_ts=exchange_ts)
