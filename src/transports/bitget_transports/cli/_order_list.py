"""Reads orders from arguments, files and standard input.

- One invalid line makes the whole list invalid. The error names the file and the line, what was
  found, and what is expected.
- A duplicate order is dropped and reported.
- An id without a column name is accepted as an order id only if it consists of digits, like all
  order ids of the exchange. So a header or a stray word is not sent as an order id.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from bitget_proto import CancelOrder, Codec, InstType, ValidationError
from bitget_proto.explain import at_a_shell, meant_instrument, quoted

from ._exit_codes import Failure
from ._order_files import Fields, records

_MAX_SHOWN = 10
"""How many invalid or duplicate lines are reported one by one."""


@attrs.frozen
class OrderList:
    """The orders without duplicates."""

    orders: tuple[CancelOrder, ...]
    duplicates: tuple[str, ...]
    """A sentence for each duplicate, up to a limit."""
    attempts: Mapping[CancelOrder, int]
    """How many attempts of earlier runs may have reached the exchange, where there were any."""


@attrs.frozen(kw_only=True)
class Defaults:
    """The values that apply where a line does not give them."""

    inst_id: str | None
    inst_type: InstType | None
    client_oids: bool
    """Whether an id without a column name is a client order id."""

    codec: Codec
    """The codec of the account. It checks whether an order needs an instrument."""


MARGIN_IS_UNIFIED: Final = (
    "only unified accounts have the product line MARGIN: pass the order's own --inst-type, or "
    "--account unified for a unified account"
)


def line_of(arguments: argparse.Namespace) -> InstType | None:
    """Return the product line that the arguments name, if any."""
    return None if arguments.inst_type is None else InstType(arguments.inst_type)


def read_orders(ids: Iterable[str], files: Sequence[str], defaults: Defaults) -> OrderList:
    """Return all orders, in input order.

    Raises: Failure when a line is invalid, a file cannot be read, or there is no order.
    """
    first: dict[object, tuple[str, CancelOrder]] = {}
    attempts: dict[CancelOrder, int] = {}
    duplicates: list[str] = []
    bad: list[str] = []
    plain = "client_oid" if defaults.client_oids else "order_id"
    for where, fields in records(ids, files, plain, bad):
        try:
            order, earlier = _order(fields, defaults), _attempts(fields.get("attempts"))
        except ValidationError as error:
            bad.append(f"{where}: {at_a_shell(str(error))}")
            continue
        before = first.setdefault(order.identity, (where, order))
        if before[1] is not order:
            duplicates.append(
                f"{where}: {name_of(order)} is a duplicate of {before[0]}: it is sent once"
            )
        if earlier:
            attempts[before[1]] = max(earlier, attempts.get(before[1], 0))
    if bad:
        raise Failure("\n".join((*_bounded(bad, "more invalid lines"), "nothing was sent")))
    if not first:
        raise Failure(_no_order(files))
    return OrderList(
        tuple(order for _, order in first.values()),
        tuple(_bounded(duplicates, "more duplicates")),
        attempts,
    )


def name_of(order: CancelOrder) -> str:
    """Return a short name of an order: its instrument, and the id that identifies it.

    "If both are present, orderId prevails" (Cancel Order Channel).
    """
    if order.order_id is not None:
        return f"{order.inst_id} {order.order_id}"
    return f"{order.inst_id} client {order.client_oid}"


def _no_order(files: Sequence[str]) -> str:
    if not files:
        return "no order to cancel: give order ids, or --file FILE (- is standard input)"
    names = ", ".join("standard input" if file == "-" else quoted(file) for file in files)
    return f"no order to cancel: there is none in {names}"


def _bounded(lines: list[str], more: str) -> Iterator[str]:
    yield from lines[:_MAX_SHOWN]
    if len(lines) > _MAX_SHOWN:
        yield f"… and {len(lines) - _MAX_SHOWN} {more}"


def _order(fields: Fields, defaults: Defaults) -> CancelOrder:
    inst_id, meant_type = fields.get("inst_id"), None
    if not inst_id:
        inst_id, meant_type = _instrument(fields.get("symbol"))
    inst_id = inst_id or defaults.inst_id
    inst_type: object = fields.get("inst_type") or meant_type or defaults.inst_type
    if isinstance(inst_type, str):
        names = [member.value for member in InstType]
        if inst_type.upper() not in names:
            raise ValidationError(
                f"inst_type must be one of {', '.join(names)}; got {quoted(inst_type)}"
            )
        inst_type = InstType(inst_type.upper())
    order_id, client_oid = (_id(fields.get(name)) for name in ("order_id", "client_oid"))
    # CancelOrder checks the types: a value from JSON may have any.
    order = CancelOrder(inst_id, order_id, client_oid, inst_type)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    try:
        defaults.codec.check_order(order)
    except ValidationError:
        if inst_id is not None and order.inst_type is InstType.MARGIN:
            raise ValidationError(MARGIN_IS_UNIFIED) from None
        if inst_id is not None:
            raise
        raise ValidationError(
            "inst_id is missing: pass --instrument BTCUSDT, add it to the line, or pass --account "
            "unified for a unified account, which needs none"
        ) from None
    if "unnamed" in fields and order.order_id is not None and not order.order_id.isdigit():
        raise ValidationError(
            f"order_id has digits only; got {quoted(order.order_id)}: for other ids, write a first "
            "line with column names, or pass --client-oid if they are your own"
        )
    return order


def _instrument(symbol: object) -> tuple[object, InstType | None]:
    """Return the exchange's name of an instrument in ccxt's spelling, and its product line."""
    if isinstance(symbol, str) and "/" in symbol:
        meant = meant_instrument(symbol)
        if meant is not None and meant.inst_id is not None:
            return meant.inst_id, None if meant.inst_type is None else InstType[meant.inst_type]
    return symbol, None


def _id(value: object) -> object:
    """Return an integer from JSON as a string, and an empty CSV field as None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value == "" else value


def _attempts(value: object) -> int:
    text = str(value)
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValidationError(f"attempts must be a whole number from 0 up; got {quoted(text)}")
    return int(text)
