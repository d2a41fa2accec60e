"""Reads orders from arguments, files (one id per line, CSV, JSON lines) and standard input.

- One invalid line makes the whole list invalid. The error names the file and the line, what was
  found, and what is expected.
- A duplicate order is dropped and reported.
- A line that is too long is refused without being read to its end, so memory is bounded.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, TypeAlias, cast

import attrs

from bitget_proto import CancelOrder, InstType, ValidationError
from bitget_proto.explain import at_a_shell, quoted

from ._exit_codes import Failure

FILES_HELP: Final = """\
files:
  A file of orders has one of these formats:
    - one id per line
    - CSV whose header has some of the columns order_id, client_oid, inst_id,
      inst_type
    - JSON lines: on each line an object with these keys, or an id in quotes, or
      an array of these
  The names may also be spelled as in Bitget's API (orderId, clientOid, instId,
  instType), and id and symbol work too. Other columns and keys are ignored. Where
  a line has no inst_id or inst_type, --instrument and --inst-type apply. Empty
  lines are skipped; comments are an error. The file name - is standard input.
"""

_MAX_BYTES = 65536
"""The longest line, in bytes."""

_MAX_SHOWN = 10
"""How many invalid or duplicate lines are reported one by one."""

_NAMES: Final = {
    "orderid": "order_id",
    "clientoid": "client_oid",
    "instid": "inst_id",
    "insttype": "inst_type",
}
"""The field of each column or key, which is compared without case and punctuation."""

_ALIASES: Final = {"symbol": "instid", "instrument": "instid", "clientorderid": "clientoid"}
"""Other names. Bitget's REST API calls the instrument `symbol`."""

"""Other names. Bitget's REST API calls the instrument `symbol`."""

Fields: TypeAlias = Mapping[str, object]


@attrs.frozen
class OrderList:
    """The orders without duplicates."""

    orders: tuple[CancelOrder, ...]
    duplicates: tuple[str, ...]
    """A sentence for each duplicate, up to a limit."""


@attrs.frozen(kw_only=True)
class Defaults:
    """The values that apply where a line does not give them."""

    inst_id: str | None
    inst_type: InstType
    client_oids: bool
    """Whether an id without a column name is a client order id."""


def read_orders(ids: Iterable[str], files: Iterable[str], defaults: Defaults) -> OrderList:
    """Return all orders, in input order.

    Raises: Failure when a line is invalid, a file cannot be read, or there is no order.
    """
    first: dict[object, tuple[str, CancelOrder]] = {}
    duplicates: list[str] = []
    bad: list[str] = []
    count = 0
    for where, fields in _lines(ids, files, defaults, bad):
        try:
            order = _order(fields, defaults)
        except ValidationError as error:
            bad.append(f"{where}: {at_a_shell(str(error))}")
            continue
        count += 1
        before = first.setdefault(order.identity, (where, order))
        if before[1] is not order:
            duplicates.append(
                f"{where}: {name_of(order)} is a duplicate of {before[0]}: it is sent once"
            )
    if bad:
        raise Failure("\n".join((*_bounded(bad, "more invalid lines"), "nothing was sent")))
    if not first:
        raise Failure("no order to cancel: give order ids, or --file FILE (- is standard input)")
    return OrderList(
        tuple(order for _, order in first.values()),
        tuple(_bounded(duplicates, "more duplicates")),
    )


def name_of(order: CancelOrder) -> str:
    """Return a short name of an order: its instrument, and the id that identifies it.

    "If both are present, orderId prevails" (Cancel Order Channel).
    """
    if order.order_id is not None:
        return f"{order.inst_id} {order.order_id}"
    return f"{order.inst_id} client {order.client_oid}"


def _bounded(lines: list[str], more: str) -> Iterator[str]:
    yield from lines[:_MAX_SHOWN]
    if len(lines) > _MAX_SHOWN:
        yield f"… and {len(lines) - _MAX_SHOWN} {more}"


def _order(fields: Fields, defaults: Defaults) -> CancelOrder:
    values = dict(fields)
    inst_id = values.get("inst_id") or defaults.inst_id
    if inst_id is None:
        raise ValidationError(
            "inst_id is missing: pass --instrument BTCUSDT, or add it to the line"
        )
    inst_type: object = values.get("inst_type") or defaults.inst_type
    if isinstance(inst_type, str):
        names = [member.value for member in InstType]
        if inst_type.upper() not in names:
            raise ValidationError(
                f"inst_type must be one of {', '.join(names)}; got {quoted(inst_type)}"
            )
        inst_type = InstType(inst_type.upper())
    order_id, client_oid = (_id(values.get(name)) for name in ("order_id", "client_oid"))
    # CancelOrder checks the types: a value from JSON may have any.
    return CancelOrder(inst_id, order_id, client_oid, inst_type)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def _id(value: object) -> object:
    """Return an integer from JSON as a string, and an empty CSV field as None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value == "" else value


# --- lines ---


def _lines(
    ids: Iterable[str], files: Iterable[str], defaults: Defaults, bad: list[str]
) -> Iterator[tuple[str, Fields]]:
    plain = "client_oid" if defaults.client_oids else "order_id"
    for number, id in enumerate(ids, 1):
        yield f"argument {number}", {plain: id}
    for file in files:
        name = "standard input" if file == "-" else file
        try:
            with _opened(file) as stream:
                yield from _records(name, stream, plain, bad)
        except OSError as error:
            raise Failure(f"cannot read {quoted(name)}: {error.strerror or error}") from None


def _opened(file: str) -> BinaryIO:
    try:
        # Standard input stays open until the process ends.
        return open(sys.stdin.fileno(), "rb", closefd=False) if file == "-" else open(file, "rb")
    except (ValueError, AttributeError):
        raise Failure(f"cannot read {quoted(file)}: invalid file name, or no input") from None


def _records(
    name: str, stream: BinaryIO, plain: str, bad: list[str]
) -> Iterator[tuple[str, Fields]]:
    """Yield the fields of each order. The first line that is not empty decides the format."""
    columns: list[str] | None = None
    delimiter = ","
    number = 0
    while data := stream.readline(_MAX_BYTES + 1):
        number += 1
        where = f"{name}:{number}"
        if len(data) > _MAX_BYTES:
            raise Failure(
                f"{where}: the line is longer than {_MAX_BYTES} bytes: write one order per line"
            )
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            bad.append(f"{where}: not valid UTF-8")
            continue
        if not line:
            continue
        if line[0] == "#" and (plain == "order_id" or line[1:2].isspace()):
            bad.append(
                f"{where}: {quoted(line)} looks like a comment, which is not allowed: "
                "remove the line"
            )
            continue
        if line[0] in "{[" or (line[0] == '"' and columns is None):
            found = _json(line, plain)
            if isinstance(found, str):
                bad.append(f"{where}: {found}")
            else:
                for fields in found:
                    yield where, fields
            continue
        if columns is None:
            delimiter = next(
                (mark for mark in ("\t", ";") if mark in line and "," not in line), ","
            )
            names = _columns(_cells(line, delimiter), plain)
            columns = names if "order_id" in names or "client_oid" in names else [plain]
            if columns is names:
                continue
        cells = _cells(line, delimiter)
        if len(cells) > len(columns):
            allowed = (
                "expected one id per line, or a header line with column names first"
                if columns == [plain]
                else f"expected at most {len(columns)}, as in the header"
            )
            bad.append(f"{where}: {quoted(line)} has {len(cells)} columns; {allowed}")
            continue
        yield where, {column: cell for column, cell in zip(columns, cells, strict=False) if column}


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _columns(names: Iterable[str], plain: str) -> list[str]:
    """Return the field of each column or key, and "" for one that is ignored.

    A column `id` holds the plain id, unless another column does.
    """
    bare = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    fields = [_NAMES.get(_ALIASES.get(name, name), "") for name in bare]
    if plain not in fields:
        fields = [
            plain if name == "id" else field for name, field in zip(bare, fields, strict=True)
        ]
    return fields


def _json(line: str, plain: str) -> list[Fields] | str:
    """Return the fields of each order on a line of JSON, or a message about what is wrong."""
    expected = (
        "expected one object per line, like "
        '{"order_id": "1376695893517410304", "inst_id": "BTCUSDT"}, '
        "or an array of objects on one line"
    )
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return f"{quoted(line)} is not valid JSON: {expected}"
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    found: list[Fields] = []
    for item in items:
        if isinstance(item, str):
            found.append({plain: item})
        elif isinstance(item, dict):
            given = cast("dict[str, object]", item)
            columns = _columns(given, plain)
            found.append(
                {
                    column: what
                    for column, what in zip(columns, given.values(), strict=True)
                    if column
                }
            )
        else:
            return f"{quoted(line)} is not an object or a string: {expected}"
    return found
