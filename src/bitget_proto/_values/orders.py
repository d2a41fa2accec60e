r"""The order to cancel, and the check of request ids.

Rules for changes
- A value is checked when it is created and never changes: every `CancelOrder` can be written to the
  wire.
- Refusing to cancel a real order is worse than sending an id that the exchange rejects. A check
  must not be stricter than what is known to be true. Where the exchange's page has no rule, refuse
  only values that could not be written or read back, and values that no exchange creates.
- Patterns use `fullmatch` and ASCII classes: `$` also matches before a final line feed, and `\d`
  matches Unicode digits.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from .errors import ValidationError, safe_repr
from .foreign_symbols import Meant, meant_instrument, meant_product_line
from .set_module import set_module

_INVISIBLE = "\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
"""Zero-width characters, direction marks and the byte-order mark."""

_is_inst_id = re.compile(
    rf"""[^\s"'`“”‘’\\\x00-\x1f\x7f-\x9f\ud800-\udfff{_INVISIBLE}]{{1,40}}"""
).fullmatch
_is_order_id = re.compile(r"[!#-&(-+\--\[\]-_a-~]{1,64}").fullmatch
_is_client_oid = re.compile(r"[ -~]{1,64}").fullmatch
_strip = re.compile(rf"""^[\s"'`“”‘’,{_INVISIBLE}]+|[\s"'`“”‘’,{_INVISIBLE}]+$""").sub
_is_rounded = re.compile(
    r"[0-9](\.[0-9]+)?[eE]\+?[0-9]+|[0-9]+\.[0-9]*|[0-9]{1,3}(\.[0-9]{3})+"
).fullmatch
"""A number as formatted by a spreadsheet or a float: 1.37670E+18, 1.3767e+18, 5.0, 1.376.695."""
_is_missing = re.compile(r"nan|none|null|undefined|<na>", re.IGNORECASE).fullmatch
"""Texts that programs write for a missing value."""

_LONGEST = 128
"""The maximum length of a refused value for which an error message suggests a correction."""

is_request_id = re.compile(r"[0-9A-Za-z_:#\-+ ]{1,40}").fullmatch


@set_module("bitget_proto")
class InstType(Enum):
    """The product line of an instrument; the value is the exchange's name for it."""

    SPOT = "SPOT"
    """The only product line that the page of the cancel-order channel names."""

    USDT_FUTURES = "USDT-FUTURES"
    """The futures page documents the identical frame with this value."""

    COIN_FUTURES = "COIN-FUTURES"
    USDC_FUTURES = "USDC-FUTURES"

    MARGIN = "MARGIN"
    """Unified accounts only."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


def _product_line(inst_type: InstType | None) -> InstType:
    """Return the product line of an order on a classic account."""
    return InstType.SPOT if inst_type is None else inst_type


@set_module("bitget_proto")
@attrs.frozen(init=False)
class CancelOrder:
    """An order to cancel; pass it to `Connection.cancel`.

    `inst_id` is the exchange's name of the instrument, for example `BTCUSDT`. Unified accounts
    (`Dialect.UNIFIED`) do not need it; classic accounts do. It has 1 to 40 characters in any
    script, without blanks, quotes, backslashes and control characters. Names in the format of
    another library or of an older API are refused (`BTC/USDT:USDT`, `BTCUSDT_UMCBL`, `btcusdt`);
    the error names the instrument and the product line to use instead.

    At least one of `order_id` (the exchange's) and `client_oid` (yours) is required, each 1 to 64
    printable ASCII characters. An `order_id` has no blanks, quotes, commas or backslashes, and is
    not a rounded number. The exchange's page has no rule for either; these limits only exclude what
    no exchange creates and what does not survive the round trip. "If both are present, orderId
    prevails" (Cancel Order Channel).

    `inst_type` is the product line. None means SPOT on classic accounts and any product line on
    unified accounts, and compares equal to SPOT. On unified accounts the exchange answers a wrong
    product line with "not found".

    Raises: ValidationError (a ValueError) that names the field, what came, what is allowed and the
    likely fix.
    """

    inst_id: str | None = None
    order_id: str | None = None
    client_oid: str | None = None
    inst_type: InstType | None = attrs.field(default=None, eq=_product_line)

    def __init__(
        self,
        inst_id: str | None = None,
        order_id: str | None = None,
        client_oid: str | None = None,
        inst_type: InstType | None = None,
    ) -> None:
        # Fast path: the common case needs no further call.
        if not (
            type(inst_id) is str
            and type(order_id) is str
            and client_oid is None
            and (inst_type is None or type(inst_type) is InstType)
            and inst_id.isupper()
            and inst_id.isalnum()
            and inst_id.isascii()
            and len(inst_id) <= 40
            and order_id.isdigit()
            and order_id.isascii()
            and len(order_id) <= 64
        ):
            inst_id = _checked_inst_id(inst_id, inst_type)
            order_id = _checked_order_id(order_id)
            client_oid = _checked_client_oid(client_oid)
            _check_there_is_an_id(order_id, client_oid)
            _check_inst_type(inst_type)
        _set_inst_id(self, inst_id)
        _set_order_id(self, order_id)
        _set_client_oid(self, client_oid)
        _set_inst_type(self, inst_type)

    @property
    def identity(self) -> object:
        """A key that is equal for two instances that name the same order in the same way.

        "If both are present, orderId prevails" (Cancel Order Channel).
        """
        if self.order_id is not None:
            return self.order_id
        return _product_line(self.inst_type), self.inst_id, self.client_oid

    def __attrs_post_init__(self) -> None:
        # attrs generates an `__init__` for subclasses that calls this, not the `__init__` above.
        CancelOrder.__init__(self, self.inst_id, self.order_id, self.client_oid, self.inst_type)


# Bypass the `__setattr__` of a frozen class, in two thirds of the time that attrs' own way takes.
_set_inst_id, _set_order_id, _set_client_oid, _set_inst_type = (
    CancelOrder.__dict__[field.name].__set__ for field in attrs.fields(CancelOrder)
)


def prevailing_id(order: CancelOrder) -> tuple[bool, str]:
    """Return `(True, order_id)`, or `(False, client_oid)` for an order without an `order_id`."""
    if order.order_id is not None:
        return True, order.order_id
    return False, str(order.client_oid)


def check_instrument(inst_id: object, inst_type: object) -> None:
    """Check the instrument and the product line of a request about orders; either may be None.

    Raises: ValidationError for a value that `CancelOrder` refuses.
    """
    _checked_inst_id(inst_id, inst_type)
    _check_inst_type(inst_type)


def _checked_inst_id(value: object, inst_type: object) -> str | None:
    """Return the instrument as a plain `str`, or None.

    A `str` subclass may format differently: the f-string of an enum member is not its value.
    """
    if value is None:
        return None
    hint = ": write it like 'BTCUSDT'"
    if isinstance(value, str):
        value = str.__str__(value)
        bare = _bare(value)
        meant = meant_instrument(bare)
        if meant is not None:
            raise ValidationError(
                "inst_id must be the exchange's own name of the instrument; got "
                f"{safe_repr(value)}, another library's format: {_instead(meant, inst_type)}"
            )
        if _is_inst_id(value):
            return value
        if _is_inst_id(bare):
            hint = f": write {bare!r}"
    raise ValidationError(
        "inst_id must be 1 to 40 characters without blanks, quotes, backslashes and control "
        f"characters; got {safe_repr(value)}{hint}"
    )


def _bare(value: str) -> str:
    """Return the text without surrounding blanks, quotes and commas; empty if too long."""
    return _strip("", value) if len(value) <= _LONGEST else ""


def _instead(meant: Meant, inst_type: object) -> str:
    """Return advice on what to write instead.

    The product line is the one in the name or, if the name has none, the one that was passed.
    """
    name, line = meant
    if name is not None and _is_inst_id(name) and meant_instrument(name) is None:
        what = f"write {name!r}"
    else:
        what = "write the name that the exchange lists, like 'BTCUSDT',"
    if line is None and isinstance(inst_type, InstType) and inst_type is not InstType.SPOT:
        line = inst_type.name
    if line is None:
        return f"{what} and the product line of the order, inst_type=InstType.SPOT for a spot order"
    return f"{what} and inst_type=InstType.{line}"


def _checked_order_id(value: object) -> str | None:
    """Return the exchange's id of the order as a plain `str`, or None."""
    if value is None:
        return None
    if isinstance(value, str):
        value = str.__str__(value)
        bare = _bare(value)
        if _is_rounded(bare):
            raise ValidationError(
                f"order_id must be the exchange's whole id; got {safe_repr(value)}, which a "
                "spreadsheet or a float has rounded or reformatted: export the column as text, and "
                "keep ids as strings"
            )
        if _is_missing(bare):
            raise ValidationError(
                f"order_id must be the exchange's id; got {safe_repr(value)}, which stands for a "
                "missing value: leave order_id out if there is none"
            )
        if _is_order_id(value):
            return value
        hint = _hint_of_id(
            "order_id", value, bare if _is_order_id(bare) else None, "as the exchange gave it"
        )
    else:
        hint = _hint_of_type("order_id", value)
    raise ValidationError(
        "order_id must be 1 to 64 printable ASCII characters without blanks, quotes, commas and "
        f"backslashes; got {safe_repr(value)}{hint}"
    )


def _checked_client_oid(value: object) -> str | None:
    """Return the client's id of the order as a plain `str`, or None."""
    if value is None:
        return None
    if isinstance(value, str):
        value = str.__str__(value)
        if _is_client_oid(value):
            return value
        bare = value.strip()
        hint = _hint_of_id(
            "client_oid",
            value,
            bare if _is_client_oid(bare) else None,
            "with which the order was placed",
        )
    else:
        hint = _hint_of_type("client_oid", value)
    raise ValidationError(
        f"client_oid must be 1 to 64 printable ASCII characters; got {safe_repr(value)}{hint}"
    )


def _hint_of_id(field: str, value: str, better: str | None, given: str) -> str:
    """Return advice for a refused id; `better` is a corrected id, if there is one."""
    if not value.strip():
        return f": leave {field} out if there is none"
    if better is not None:
        return f": write {better!r}"
    strange = re.search(r"[^ -~]", value)
    return f": {f'{strange[0]!r} is not allowed, so ' if strange else ''}pass the id {given}"


def _hint_of_type(field: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f": ids are strings on the wire, pass str({field})"
    return ": ids are strings on the wire"


def _check_there_is_an_id(order_id: str | None, client_oid: str | None) -> None:
    if order_id is None and client_oid is None:
        raise ValidationError(
            "CancelOrder needs an order_id or a client_oid; got neither: pass order_id=… (the "
            "exchange's id) or client_oid=… (yours)"
        )


def _check_inst_type(inst_type: object) -> None:
    if inst_type is not None and type(inst_type) is not InstType:
        names = ", ".join(f"InstType.{member.name}" for member in InstType)
        line = meant_product_line(inst_type) if isinstance(inst_type, str) else None
        hint = (
            "the member of the order's product line"
            if line is None
            else f"inst_type=InstType.{line}"
        )
        raise ValidationError(
            f"inst_type must be one of {names}; got {safe_repr(inst_type)}: pass {hint}"
        )


def check_request_id(value: object) -> str:
    r"""Return a valid request id as a plain `str`: 1 to 40 of `0-9A-Za-z_:#-+` and the space.

    The page allows "Length<= 40 (^[0-9A-Za-z_:#\-+\s]*$)", which also admits an empty id, line
    breaks and tabs. They are refused here: an empty id identifies no reply, and line breaks and
    tabs do not survive every log.

    Raises: ValidationError for any other value.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        if is_request_id(text):
            return text
    raise ValidationError(
        "id must be 1 to 40 of the characters 0-9 A-Z a-z _ : # - + and space; got "
        f"{safe_repr(value)}"
    )
