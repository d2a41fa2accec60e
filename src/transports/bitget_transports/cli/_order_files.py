"""Reads the lines of lists of orders: one id per line, CSV, JSON lines, or one JSON document.

- The first line that is not empty decides the format.
- A line or a document that is too long is refused without being read to its end, so memory is
  bounded.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final, TypeAlias, cast

from bitget_proto.explain import quoted

from ._exit_codes import Failure

FILES_HELP: Final = """\
files:
  A file of orders has one of these formats:
    - one id per line
    - CSV whose header has some of the columns order_id, client_oid, inst_id,
      inst_type
    - JSON lines: on each line an object with these keys, or an id in quotes, or
      an array of these
    - JSON over several lines: an array of objects, or the body of a response of
      Bitget's REST API
  The names may also be spelled as in Bitget's API (orderId, clientOid, instId,
  instType, productType) or in ccxt (id, clientOrderId, symbol, also with values
  like BTC/USDT:USDT). Other columns and keys are ignored. Where a line has no
  instrument or product line, --instrument and --inst-type apply. Empty lines are
  skipped; comments are an error. The file name - is standard input.
"""

_MAX_BYTES = 65536
"""The longest line, in bytes."""

_MAX_JSON = 2**24
"""The longest JSON array or object, in bytes."""

_NAMES: Final = {
    "orderid": "order_id",
    "clientoid": "client_oid",
    "clientorderid": "client_oid",
    "instid": "inst_id",
    "instrument": "inst_id",
    "symbol": "symbol",
    "insttype": "inst_type",
    "producttype": "inst_type",
    "category": "inst_type",
    "attempts": "attempts",
}
"""The field of each column or key, which is compared without case and punctuation.

Bitget's REST API and ccxt call the instrument `symbol`; the REST API calls the product line
`productType`, and `category` for unified accounts."""

_LISTS = ("orderList", "entrustedList", "list")
"""The keys of the list of orders in the `data` of REST responses."""

_EXPECTED: Final = (
    "expected one object per line, like "
    '{"order_id": "1376695893517410304", "inst_id": "BTCUSDT"}, '
    "an array of objects, or the body of a REST response"
)

Fields: TypeAlias = Mapping[str, object]


def unnamed(plain: str, id: str) -> Fields:
    """Return the fields of an id that has no column name and no key."""
    return {plain: id, "unnamed": True}


def records(
    ids: Iterable[str], files: Iterable[str], plain: str, bad: list[str]
) -> Iterator[tuple[str, Fields]]:
    """Yield the place of each order in the input, and its fields. Add a message for each bad line
    to `bad`.

    `plain` is the field of an id without a column name.

    Raises: Failure when a file cannot be read, or holds a line that is too long.
    """
    for number, id in enumerate(ids, 1):
        yield f"argument {number}", unnamed(plain, id)
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
    header: list[str] | None = None
    plain_lines = begun = False
    delimiter = ","
    number = 0
    while data := _line(stream, f"{name}:{number + 1}"):
        number += 1
        where = f"{name}:{number}"
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            bad.append(f"{where}: not valid UTF-8")
            continue
        if not line:
            continue
        first, begun = not begun, True
        csv_began = plain_lines or header is not None
        if line[0] == "#" and (plain == "order_id" or line[1:2].isspace()):
            bad.append(
                f"{where}: {quoted(line)} looks like a comment, which is not allowed: "
                "remove the line"
            )
            continue
        if line[0] in "{[" or (line[0] == '"' and not csv_began):
            yield from _in_json(where, line, stream if first else None, plain, bad)
            continue
        if not csv_began:
            delimiter = next(
                (mark for mark in ("\t", ";") if mark in line and "," not in line), ","
            )
            names = _columns(_cells(line, delimiter), plain)
            if "order_id" in names or "client_oid" in names:
                header = names
                continue
            plain_lines = True
        cells = _cells(line, delimiter)
        if len(cells) > (most := 1 if header is None else len(header)):
            allowed = (
                "expected one id per line, or a header line with column names first"
                if header is None
                else f"expected at most {most}, as in the header"
            )
            bad.append(f"{where}: {quoted(line)} has {len(cells)} columns; {allowed}")
        elif header is None:
            yield where, unnamed(plain, cells[0])
        else:
            yield where, _named(header, cells)


def _line(stream: BinaryIO, where: str) -> bytes:
    data = stream.readline(_MAX_BYTES + 1)
    most = _MAX_BYTES
    if len(data) > most and data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        most = _MAX_JSON
        data += stream.readline(most + 1 - len(data))
    if len(data) > most:
        raise Failure(f"{where}: the line is longer than {most} bytes: write one order per line")
    return data


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _columns(names: Iterable[str], plain: str) -> list[str]:
    """Return the field of each column or key, and "" for one that is ignored.

    A column `id` holds the plain id, unless another column does.
    """
    bare = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    fields = [_NAMES.get(name, "") for name in bare]
    if plain not in fields:
        fields = [
            plain if name == "id" else field for name, field in zip(bare, fields, strict=True)
        ]
    return fields


def _named(columns: Iterable[str], values: Iterable[object]) -> Fields:
    return {column: value for column, value in zip(columns, values, strict=False) if column}


# --- JSON ---


def _in_json(
    where: str, line: str, rest: BinaryIO | None, plain: str, bad: list[str]
) -> Iterator[tuple[str, Fields]]:
    """Yield the orders of a line of JSON, or of a document that the line begins and `rest` ends."""
    try:
        value = _parsed(line, rest, where)
        items = _items(value)
    except ValueError as error:
        bad.append(f"{where}: {quoted(line)} {error}")
        return
    for number, item in enumerate(items, 1):
        place = f"{where}, item {number}" if len(items) > 1 else where
        if isinstance(item, str):
            yield place, unnamed(plain, item)
        elif isinstance(item, dict):
            given = cast("dict[str, object]", item)
            yield place, _named(_columns(given, plain), given.values())
        else:
            bad.append(
                f"{place}: {quoted(json.dumps(item))} is not an object or a string: {_EXPECTED}"
            )


def _parsed(line: str, rest: BinaryIO | None, where: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        if rest is None or not line.startswith(("[", "{")):
            raise ValueError(f"is not valid JSON: {_EXPECTED}") from None
    more = rest.read(_MAX_JSON)
    if len(more) == _MAX_JSON:
        raise Failure(
            f"{where}: the JSON is longer than {_MAX_JSON} bytes: write one order per line"
        )
    try:
        return json.loads(f"{line}\n{more.decode()}")
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and more:
            at = f", alone or with the lines below ({error.msg} in line {error.lineno} from here)"
        else:
            at = ""
        raise ValueError(f"is not valid JSON{at}: {_EXPECTED}") from None


def _items(value: object) -> list[object]:
    """Return the orders in a JSON value: an array, the body of a REST response, or one order.

    Raises: ValueError for a response that reports an error or has no list of orders.
    """
    if isinstance(value, list):
        return cast("list[object]", value)
    if not isinstance(value, dict) or not {"code", "data"} <= value.keys():
        return [value]
    body = cast("dict[str, Any]", value)
    if (code := body["code"]) != "00000":
        raise ValueError(
            f"is a response with the code {quoted(str(code))}, which lists no orders: "
            "save the body of a response without an error"
        )
    data: object = body["data"]
    if isinstance(data, dict):
        inside = cast("dict[str, object]", data)  # without orders, the list may be null
        data = next((inside[name] or [] for name in _LISTS if name in inside), None)
    if isinstance(data, list):
        return cast("list[object]", data)
    raise ValueError(f"has no list of orders in data: {_EXPECTED}")
