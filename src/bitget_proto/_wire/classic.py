"""The frames of classic accounts (API V2).

"The page" is "Cancel Order Channel" of the exchange's V2 Websocket API. Requests match it byte for
byte, with its order of fields.

Where recorded answers differ from the page, both forms are accepted:
- The page types `code` as a string ("code | String"), but recorded frames carry a number.
- It types `arg` as an object ("arg | Object"), but its own example and every recorded trade reply
  have a list of one.
- `ts`, and `connId` in other messages, are undocumented. Any key may appear at any time.
- The page's example of a failure has `event: "trade"` and code 0; recorded refusals have
  `event: "error"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._values.errors import ValidationError
from .._values.orders import CancelOrder, InstType
from .json_engines import Entry, Frame
from .json_text import MAX_SAFE_INTEGER, milliseconds, quoted, read_code, readable_text
from .messages import (
    ErrorReply,
    LoginReply,
    Message,
    OrdersPush,
    Other,
    SubscribeReply,
    TradeReply,
)
from .order_items import OrderKeys, product_line
from .orders_channel import OfChannel, one_object, read_message

CHANNEL = "cancel-order"
"""The `channel` of a cancel request and of its answer; `topic` on unified accounts."""

ORDERS = "orders"
"""The `channel` of pushes about orders."""

_PUSHED = OrderKeys(
    inst_id="instId",
    inst_type=None,
    status=("status",),
    filled="accBaseVolume",
    average_price="priceAvg",
    updated_at="uTime",
)
"""The keys of an order in a push. `baseVolume` is the amount of the last fill alone."""

_SPOT = InstType.SPOT.value
_MARGIN = InstType.MARGIN


def encode_cancel(order: CancelOrder, id: str) -> str:
    """Return the request to cancel `order`.

    Raises: the same as `check_order`.
    """
    order_id, client_oid, inst_id, inst_type = (
        order.order_id, order.client_oid, order.inst_id, order.inst_type,
    )  # fmt: skip
    line = _SPOT if inst_type is None else inst_type._value_
    if inst_id is None or inst_type is _MARGIN:
        raise _refusal(order)
    if client_oid is None and inst_id.isascii():
        # Fast path for the common case: a single f-string is a fifth faster than two.
        return (
            f'{{"op":"trade","args":[{{"id":"{id}","instType":"{line}",'
            f'"instId":"{inst_id}","channel":"cancel-order",'
            f'"params":{{"orderId":"{order_id}"}}}}]}}'
        )
    params = "" if order_id is None else f'"orderId":"{order_id}"'
    if client_oid is not None:
        params += f'{"," if params else ""}"clientOid":{quoted(client_oid)}'
    return (
        f'{{"op":"trade","args":[{{"id":"{id}","instType":"{line}",'
        f'"instId":{quoted(inst_id)},"channel":"cancel-order","params":{{{params}}}}}]}}'
    )


def encode_subscribe(inst_types: Iterable[InstType] | None) -> str:
    """Return the request for pushes about the orders of these product lines; None means all.

    Raises: ValidationError for a product line that classic accounts do not have.
    """
    lines = [line for line in InstType if line is not _MARGIN] if inst_types is None else inst_types
    if _MARGIN in lines:
        raise ValidationError(
            "only unified accounts have InstType.MARGIN: leave it out of inst_types, or use "
            "Dialect.UNIFIED for a unified account"
        )
    args = ",".join(
        f'{{"instType":"{line.value}","channel":"{ORDERS}","instId":"default"}}' for line in lines
    )
    return f'{{"op":"subscribe","args":[{args}]}}'


def check_order(order: CancelOrder) -> None:
    """Check that the order can be cancelled on a classic account.

    Raises: ValidationError for an order without an `inst_id`, or of a product line that classic
    accounts do not have.
    """
    if order.inst_id is None or order.inst_type is _MARGIN:
        raise _refusal(order)


def _refusal(order: CancelOrder) -> ValidationError:
    if order.inst_id is None:
        return ValidationError(
            "a classic account needs the instrument of an order; got "
            f"{order}: pass inst_id, such as 'BTCUSDT', or use Dialect.UNIFIED for a "
            "unified account"
        )
    return ValidationError(
        f"only unified accounts have InstType.MARGIN; got {order}: pass the order's own "
        "inst_type, or use Dialect.UNIFIED for a unified account"
    )


def message(frame: Frame, text: str, of_channel: OfChannel) -> Message:
    """Return the message that a frame contains.

    `of_channel` reads a message of the order channel from the `text` of the frame.
    """
    event = frame.event
    if event == "trade":
        made: type[TradeReply | ErrorReply] = TradeReply
    elif event == "error":
        made = ErrorReply
    elif event == "login":
        return LoginReply(read_code(frame.code), readable_text(frame.msg))
    else:
        return of_channel(text) or Other(event)
    # Fast path of every answer: the common case needs no further call.
    arg = frame.arg
    channel = None
    if type(arg) is list and len(arg) == 1 and type(id := (entry := arg[0]).id) is str:
        names_request, channel = True, entry.channel
    else:
        id, names_request = _named_request(arg)
        if not names_request and made is ErrorReply and (refusal := of_channel(text)) is not None:
            return refusal
        if arg:
            channel = (arg[0] if isinstance(arg, list) else arg).channel
    topic, op = frame.topic, frame.op
    not_for_cancel = not (
        (channel == CHANNEL or channel is None)
        and (topic is None or topic == CHANNEL)
        and (op is None or op == "trade" or (op == "login" and not names_request))
    )
    code = frame.code
    code = "0" if code == 0 and type(code) is int else read_code(code)
    words = frame.msg
    if type(words) is not str or not words.isascii():
        words = readable_text(words)
    ts = frame.ts
    if type(ts) is not int or not 0 <= ts <= MAX_SAFE_INTEGER:
        ts = milliseconds(ts)
    return made(id, names_request, code, words, ts, not_for_cancel)


def channel_message(data: Mapping[str, object]) -> OrdersPush | SubscribeReply | None:
    """Return the message of the order channel in a frame; None if it is not about that channel."""
    arg = one_object(data.get("arg"))
    if arg.get("channel") != ORDERS:
        return None
    return read_message(data, _PUSHED, product_line(arg.get("instType")))


def _named_request(arg: list[Entry] | Entry | None) -> tuple[str | None, bool]:
    """Return the id of the single request that is named, and whether any request is named.

    - `(id, True)`: exactly one entry with a string id.
    - `(None, True)`: an id that is not a string, or several entries, so no single cancel can be
      matched.
    - `(None, False)`: no entry, or an entry without an id.
    """
    if arg is None:
        return None, False
    if isinstance(arg, list):
        if len(arg) != 1:
            return None, bool(arg)
        arg = arg[0]
    id = arg.id
    if type(id) is str:
        return id, True
    return None, id is not None
