r"""The order to cancel, and the id under which the exchange answers.

Rules of this file
- A value is checked when it is made and never changes afterwards: whoever holds a `CancelOrder` holds one that can be
  written to the wire.
- Refusing to cancel a real order is the worse mistake. So a rule here is no tighter than what is known to be true, and
  where the exchange's page has no rule, only what could not be written or read back is refused.
- A pattern matches ASCII alone and the whole text: `$` admits a line feed at the end, and `\s` and `\d` admit Unicode.

It does not know JSON: how these values look on the wire is the codec's business.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import attrs

from ._errors import ValidationError, shown

_is_inst_id = re.compile(r"[0-9A-Za-z_]{1,40}").fullmatch
_is_order_id = re.compile(r"[ -~]{1,64}").fullmatch
is_request_id = re.compile(r"[0-9A-Za-z_:#\-+ ]{1,40}").fullmatch


class InstType(Enum):
    """The product line of an instrument; the value is the exchange's word."""

    SPOT = "SPOT"
    """The only one that the page of the cancel-order channel names."""

    USDT_FUTURES = "USDT-FUTURES"
    """The futures page documents the identical frame with this word."""

    COIN_FUTURES = "COIN-FUTURES"
    USDC_FUTURES = "USDC-FUTURES"

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


@attrs.frozen(init=False)
class CancelOrder:
    """One order that is to be cancelled; hand it to `Connection.cancel`.

    `inst_id` is 1 to 40 of `0-9A-Za-z_`, for example `BTCUSDT`. Of `order_id` (the exchange's) and `client_oid` (yours)
    at least one is needed, each 1 to 64 printable ASCII characters: the page gives no rule for them, so this is only
    what surely survives the way there and back. "If both are present, orderId prevails" (Cancel Order Channel).

    Raises: ValidationError (a ValueError) that names the field, what came, what is allowed and the likely fix.
    """

    inst_id: str
    order_id: str | None = None
    client_oid: str | None = None
    inst_type: InstType = InstType.SPOT

    def __init__(
        self,
        inst_id: str,
        order_id: str | None = None,
        client_oid: str | None = None,
        inst_type: InstType = InstType.SPOT,
    ) -> None:
        # What is usual is seen here, without a call.
        if not (
            type(inst_id) is str
            and type(order_id) is str
            and client_oid is None
            and type(inst_type) is InstType
            and inst_id.isalnum()
            and inst_id.isascii()
            and len(inst_id) <= 40
            and order_id.isascii()
            and order_id.isprintable()
            and 0 < len(order_id) <= 64
        ):
            inst_id = _checked_inst_id(inst_id)
            order_id = _checked_order_id("order_id", order_id)
            client_oid = _checked_order_id("client_oid", client_oid)
            _check_there_is_an_id(order_id, client_oid)
            _check_inst_type(inst_type)
        _set_inst_id(self, inst_id)
        _set_order_id(self, order_id)
        _set_client_oid(self, client_oid)
        _set_inst_type(self, inst_type)

    def __attrs_post_init__(self) -> None:
        # For subclasses that attrs makes: it writes an `__init__` for them that calls this, and not the one above.
        CancelOrder.__init__(self, self.inst_id, self.order_id, self.client_oid, self.inst_type)


# Past `__setattr__`, which refuses: in two thirds of the time that attrs' own way takes.
_set_inst_id, _set_order_id, _set_client_oid, _set_inst_type = (
    CancelOrder.__dict__[field.name].__set__ for field in attrs.fields(CancelOrder)
)


Identity: TypeAlias = tuple[InstType, str, bool, str]


def identity(order: CancelOrder) -> Identity:
    """What an order is told apart by: "If both are present, orderId prevails" (Cancel Order Channel)."""
    by_order_id = order.order_id is not None
    return order.inst_type, order.inst_id, by_order_id, order.order_id or order.client_oid or ""


def _checked_inst_id(value: object) -> str:
    """The instrument, a plain string even of a subclass: the f-string of an enum's member is not its value."""
    if isinstance(value, str):
        value = str.__str__(value)
        if _is_inst_id(value):
            return value
        # BTC/USDT, BTC-USDT, and BTC/USDT:USDT for futures; what has more parts than two is named in other ways.
        parts = re.split(r"[/\-.\s]", value.strip().partition(":")[0])
        guess = "".join(parts)
        hint = f": write {guess!r}" if len(parts) <= 2 and _is_inst_id(guess) else ": write it like 'BTCUSDT'"
    else:
        hint = ": write it like 'BTCUSDT'"
    raise ValidationError(f"inst_id must be 1 to 40 of the characters 0-9 A-Z a-z _; got {shown(value)}{hint}")


def _checked_order_id(field: str, value: object) -> str | None:
    """An id of the order, likewise a plain string; None for none."""
    if value is None:
        return None
    if isinstance(value, str):
        value = str.__str__(value)
        if _is_order_id(value):
            return value
        stripped = value.strip()
        if not stripped:
            hint = f": leave {field} out if there is none"
        elif stripped != value and _is_order_id(stripped):
            hint = f": write {stripped!r}"
        else:
            strange = re.search(r"[^ -~]", value)
            named = f"{strange[0]!r} is none of them, so " if strange else ""
            given = "as the exchange gave it" if field == "order_id" else "with which the order was placed"
            hint = f": {named}pass the id {given}"
    elif isinstance(value, int) and not isinstance(value, bool):
        hint = f": ids are strings on the wire, pass str({field})"
    else:
        hint = ": ids are strings on the wire"
    raise ValidationError(f"{field} must be 1 to 64 printable ASCII characters; got {shown(value)}{hint}")


def _check_there_is_an_id(order_id: str | None, client_oid: str | None) -> None:
    if order_id is None and client_oid is None:
        raise ValidationError(
            "CancelOrder needs an order_id or a client_oid, and got neither: pass order_id=… (the exchange's id) or "
            "client_oid=… (yours)"
        )


def _check_inst_type(inst_type: object) -> None:
    if type(inst_type) is not InstType:
        names = ", ".join(f"InstType.{member.name}" for member in InstType)
        raise ValidationError(
            f"inst_type must be one of {names}; got {shown(inst_type)}: InstType('SPOT') makes one of a name"
        )


def check_request_id(value: object) -> str:
    r"""The id of a request, checked: 1 to 40 of `0-9A-Za-z_:#-+` and the space.

    The page allows "Length<= 40 (^[0-9A-Za-z_:#\-+\s]*$)", which admits an empty id, line breaks and tabs as well. No
    reply could be told apart by the first, and the others do not survive every log, so they are refused here.

    Raises: ValidationError, and nothing has changed.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        if is_request_id(text):
            return text
    raise ValidationError(f"id must be 1 to 40 of the characters 0-9 A-Z a-z _ : # - + and space; got {shown(value)}")
