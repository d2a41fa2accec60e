"""Which orders: from arguments, from files (one id a line, CSV, JSON lines), from standard input.

Rules of this file
- Either every line is good, or nothing is sent: a bad one is told as file:line, what came, what is allowed.
- An order that comes twice is taken once, and that is said.
- Memory is bounded by what is kept: a line that is too long is refused, not read to its end.

It does not know what is done with the orders.
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
  One id a line; or CSV with a header that has some of the columns order_id, client_oid, inst_id, inst_type; or JSON lines with
  these keys, or a plain id, in each, or an array of such on one line. The exchange's own spelling of the names works too, and
  id and symbol; other columns are left alone. Without inst_id or inst_type in a line, --instrument and --inst-type count.
  Empty lines are skipped, comments are refused. - is standard input.
"""

_LONGEST = 65536
"""Bytes of a line."""

_TOLD = 10
"""How many bad or double lines are told one by one."""

_NAMES: Final = {
    "orderid": "order_id",
    "clientoid": "client_oid",
    "instid": "inst_id",
    "insttype": "inst_type",
}
"""Columns and keys, without case and punctuation; the exchange's REST says `symbol` for the instrument."""

_SAME: Final = {"symbol": "instid", "instrument": "instid", "clientorderid": "clientoid"}

Fields: TypeAlias = Mapping[str, object]


@attrs.frozen
class Asked:
    """The orders, each once, and where those stand that came again."""

    orders: tuple[CancelOrder, ...]
    doubles: tuple[str, ...]
    """Sentences about them, bounded."""


@attrs.frozen(kw_only=True)
class Defaults:
    """What counts where a line does not say it."""

    inst_id: str | None
    inst_type: InstType
    client_oids: bool
    """Whether a plain id is the client's own."""


def read_orders(ids: Iterable[str], files: Iterable[str], defaults: Defaults) -> Asked:
    """All orders, in the order they came.

    Raises: Failure when a line is bad, a file cannot be read, or there is none.
    """
    first: dict[object, tuple[str, CancelOrder]] = {}
    doubles: list[str] = []
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
            doubles.append(f"{where}: {name_of(order)} came before ({before[0]}): it is sent once")
    if bad:
        raise Failure("\n".join((*_bounded(bad, "more bad lines"), "nothing was sent")))
    if not first:
        raise Failure("no order to cancel: give order ids, or --file FILE (- is standard input)")
    return Asked(
        tuple(order for _, order in first.values()),
        tuple(_bounded(doubles, "more that came before")),
    )


def name_of(order: CancelOrder) -> str:
    """An order in a few words, as it is looked up: "If both are present, orderId prevails" (Cancel Order Channel)."""
    if order.order_id is not None:
        return f"{order.inst_id} {order.order_id}"
    return f"{order.inst_id} client {order.client_oid}"


def _bounded(lines: list[str], more: str) -> Iterator[str]:
    yield from lines[:_TOLD]
    if len(lines) > _TOLD:
        yield f"… and {len(lines) - _TOLD} {more}"


def _order(fields: Fields, defaults: Defaults) -> CancelOrder:
    values = dict(fields)
    inst_id = values.get("inst_id") or defaults.inst_id
    if inst_id is None:
        raise ValidationError(
            "inst_id is missing: pass --instrument BTCUSDT, or name it in the line"
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
    # Checked when made: what came may be of any type.
    return CancelOrder(inst_id, order_id, client_oid, inst_type)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def _id(value: object) -> object:
    """An id that JSON gives as a whole number, or a CSV as an empty field."""
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
        # Standard input is closed with the rest of the process, not here.
        return open(sys.stdin.fileno(), "rb", closefd=False) if file == "-" else open(file, "rb")
    except (ValueError, AttributeError):
        raise Failure(f"cannot read {quoted(file)}: there is no such input") from None


def _records(
    name: str, stream: BinaryIO, plain: str, bad: list[str]
) -> Iterator[tuple[str, Fields]]:
    """The lines as fields: the first that is not empty tells what kind of file it is."""
    columns: list[str] | None = None
    delimiter = ","
    number = 0
    while data := stream.readline(_LONGEST + 1):
        number += 1
        where = f"{name}:{number}"
        if len(data) > _LONGEST:
            raise Failure(
                f"{where}: the line is longer than {_LONGEST} bytes: one order a line is allowed"
            )
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            bad.append(f"{where}: no text in UTF-8")
            continue
        if not line:
            continue
        if line[0] == "#" and (plain == "order_id" or line[1:2].isspace()):
            bad.append(
                f"{where}: {quoted(line)} looks like a comment, and a list of orders has none: take the line out"
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
                "one id" if columns == [plain] else f"{len(columns)} columns, as its header says"
            )
            bad.append(
                f"{where}: {quoted(line)} has {len(cells)} columns: a line holds {allowed}; a header with the names of the "
                "columns may come first"
            )
            continue
        yield where, {column: cell for column, cell in zip(columns, cells, strict=False) if column}


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _columns(names: Iterable[str], plain: str) -> list[str]:
    """The fields that columns or keys are for; empty for one that is left alone.

    A bare `id` is a plain id, where no other column is for that.
    """
    bare = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    fields = [_NAMES.get(_SAME.get(name, name), "") for name in bare]
    if plain not in fields:
        fields = [
            plain if name == "id" else field for name, field in zip(bare, fields, strict=True)
        ]
    return fields


def _json(line: str, plain: str) -> list[Fields] | str:
    """The fields of each order of a line of JSON, or what is wrong with it."""
    allowed = (
        'allowed is one object a line, like {"order_id": "1376695893517410304", "inst_id": "BTCUSDT"}, or an array of '
        "objects on one line"
    )
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return f"{quoted(line)} is no JSON: {allowed}"
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
            return f"{quoted(line)} is no object: {allowed}"
    return found
