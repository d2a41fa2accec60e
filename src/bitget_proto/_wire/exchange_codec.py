"""The codec of the exchange's side: decodes requests and encodes answers.

Requests are decoded strictly by the rules of the exchange's page, unless `lenient` is set. The
codec keeps no state between frames. Only fake exchanges and `explain` use it; clients do not import
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, Final, cast

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.gen import make_dict_structure_fn, override

from .._values.credentials import SignedLogin
from .._values.dialects import Dialect
from .._values.errors import ValidationError
from .._values.orders import CancelOrder, InstType, check_request_id
from .classic import CHANNEL
from .codec import PING
from .json_engines import for_type, plain_loads
from .message_limits import MAX_DEPTH, MAX_MESSAGE, read_text
from .messages import Malformed
from .requests import (
    BadRequest,
    BatchRequest,
    CancelRequest,
    LoginRequest,
    OtherRequest,
    Ping,
    Request,
)
from .unified import BATCH, CATEGORIES

MAX_BATCH = 20
"""The maximum number of orders in a batch. REST has this limit; the WebSocket's page names none."""

_PING = Ping()
_dumps = json.JSONEncoder(separators=(",", ":")).encode
_loads = plain_loads()


def encode_reply(
    order: CancelOrder,
    id: str,
    *,
    code: int = 0,
    message: str = "Success",
    exchange_ts: int | None = None,
    dialect: Dialect = Dialect.CLASSIC,
    remaining: int | None = None,
) -> str:
    """Return the answer to a cancel, as recorded: `event` is `trade` for code 0, else `error`.

    `remaining` is how many more cancels a unified account may send now.
    """
    if dialect is Dialect.UNIFIED:
        if code:
            return encode_refusal(id, str(code), message)
        return _success(CHANNEL, id, [_ids(order)], exchange_ts, remaining)
    arg = [_echo(order, id)]
    return encode_event(
        "error" if code else "trade", code, message, arg=arg, exchange_ts=exchange_ts
    )


def encode_batch_reply(
    items: Iterable[tuple[CancelOrder, str, str]],
    id: str,
    exchange_ts: int | None = None,
    remaining: int | None = None,
) -> str:
    """Return the answer to a batch, as documented: with an order, a code and a text in each item.

    The answer as a whole always says "Success", even if items are refused.
    """
    args = [{"code": code, "msg": message, **_ids(order)} for order, code, message in items]
    return _success(BATCH, id, args, exchange_ts, remaining)


def encode_refusal(id: str, code: str, message: str) -> str:
    """Return a refusal of a unified account, as recorded: with an id and without an echo."""
    return _dumps({"event": "error", "id": id, "code": code, "msg": message})


def encode_event(
    event: str,
    code: int | None,
    message: str | None,
    *,
    arg: object = None,
    exchange_ts: int | None = None,
) -> str:
    """Return an event of the exchange. Parts that are None are omitted."""
    parts = {"event": event, "arg": arg, "code": code, "msg": message, "ts": exchange_ts}
    return _dumps({key: value for key, value in parts.items() if value is not None})


def decode_request(
    message: str | bytes,
    *,
    max_message: int | None = MAX_MESSAGE,
    max_depth: int | None = MAX_DEPTH,
    lenient: bool = False,
    dialect: Dialect = Dialect.CLASSIC,
) -> Request:
    """Decode a request of a client by the rules of the exchange's page.

    A request that breaks a rule is a `BadRequest`, with the code that refuses it. With `lenient`,
    deviations of existing clients are accepted: the timestamp of a login may be a number, its API
    key may be named `api_key`, and unknown keys are ignored. `dialect` is the API of the account.
    The limits are those of `decode`. Never raises for the content.
    """
    text = read_text(message, max_message, max_depth)
    if isinstance(text, Malformed):
        return Malformed(text.reason, "")
    if text == PING:
        return _PING
    try:
        data = _loads(text)
    except RecursionError:
        return Malformed("too deep", "")
    except ValueError:
        return Malformed("not JSON", "")
    if type(data) is not dict:
        return Malformed("not an object", "")
    request = cast("dict[str, Any]", data)
    if lenient:
        request = _normalised(request, dialect)
    if dialect is Dialect.UNIFIED and request.get("op") == "trade":
        return _unified_request(request)
    return _request(request)


# --- decoding ---


def _request(data: dict[str, Any]) -> Request:
    op = data.get("op")
    if type(op) is not str:
        return BadRequest("30003", "op is missing or not a string", None)
    if op not in ("login", "trade"):
        return OtherRequest(op)
    args = data.get("args")
    if op == "trade" and _channel(args) == "place-order":
        return OtherRequest(op)
    arg = _echoable(args) if op == "trade" else None
    count = len(cast("list[object]", args)) if isinstance(args, list) else 0
    if count != 1:
        # "So far websocket trading doesn't support canceling batch orders" (Cancel Order Channel).
        return BadRequest("30016", f"args must hold exactly one object; got {count}", arg)
    try:
        if op == "login":
            return LoginRequest(_structure(data, _Login).args[0].signed())
        cancel = _structure(data, _Trade).args[0]
        if cancel.channel != "cancel-order":
            return BadRequest("30001", f"the channel {cancel.channel} does not exist", arg)
        return CancelRequest(check_request_id(cancel.id), cancel.order())
    except BaseValidationError as error:
        return BadRequest("30016", _all_reasons(error), arg)
    except ValidationError as error:
        return BadRequest("30016", str(error), arg)


def _unified_request(data: dict[str, Any]) -> Request:
    """Decode a trade request of a unified account."""
    id, topic = data.get("id"), data.get("topic")
    named = id if isinstance(id, str) else None
    if topic not in (CHANNEL, BATCH):
        return BadRequest("25002", f"the topic {topic} is not supported", named)
    if not isinstance(data.get("args", []), list):
        return BadRequest("30016", "not a list @ $.args", named)
    try:
        trade = _structure(data, _UnifiedTrade)
        check_request_id(trade.id)
        count = len(trade.args)
        line = None
        if trade.category is not None:
            line = _LINES.get(trade.category)
            if line is None:
                return BadRequest("41101", f"Param category={trade.category} error", named)
        if topic == BATCH:
            if not 1 <= count <= MAX_BATCH:
                return BadRequest(
                    "30016", f"args must hold 1 to {MAX_BATCH} objects; got {count}", named
                )
            return BatchRequest(trade.id, _batch(trade.args, line))
        if count != 1:
            return BadRequest("30016", f"args must hold exactly one object; got {count}", named)
        ids = trade.args[0]
        return CancelRequest(trade.id, CancelOrder(None, ids.order_id, ids.client_oid, line))
    except BaseValidationError as error:
        return BadRequest("30016", _all_reasons(error), named)
    except ValidationError as error:
        return BadRequest("30016", str(error), named)


def _batch(named: list[_Params], line: InstType | None) -> tuple[CancelOrder, ...]:
    """Return the orders of a batch. If any has an `orderId`, orders without one are ignored.

    The page shows no `category` for a batch; npm's bitget-api sends one.
    """
    by_order_id = any(one.order_id is not None for one in named)
    return tuple(
        CancelOrder(None, one.order_id, one.client_oid, line)
        for one in named
        if one.order_id is not None or not by_order_id
    )


def _success(
    topic: str,
    id: str,
    args: list[dict[str, str]],
    exchange_ts: int | None,
    remaining: int | None,
) -> str:
    limits = None if remaining is None else [{"limit": "10", "remaining": str(remaining)}]
    return _dumps({
        "event": "trade",
        "id": id,
        "topic": topic,
        "args": args,
        "code": "0",
        "msg": "Success",
        **({} if exchange_ts is None else {"ts": str(exchange_ts)}),
        **({} if limits is None else {"rateLimit": limits}),
    })  # fmt: skip


def _ids(order: CancelOrder) -> dict[str, str]:
    ids = {"orderId": order.order_id, "clientOid": order.client_oid}
    return {key: value for key, value in ids.items() if value is not None}


def _echo(order: CancelOrder, id: str) -> dict[str, object]:
    return {
        "id": id,
        "instType": (order.inst_type or InstType.SPOT).value,
        "channel": "cancel-order",
        "instId": order.inst_id,
        "params": _ids(order),
    }


def _echoable(args: object) -> list[object] | None:
    """Return what a refusal echoes to identify its request; None if it is not a list of objects."""
    if not isinstance(args, list) or not args:
        return None
    items = cast("list[object]", args)
    return items if all(isinstance(item, dict) for item in items) else None


def _channel(args: object) -> object:
    """Return the channel of a trade request; None if `args` is not a list of one object."""
    if (
        not isinstance(args, list)
        or len(items := cast("list[object]", args)) != 1
        or not isinstance(items[0], dict)
    ):
        return None
    return cast("dict[str, object]", items[0]).get("channel")


_KNOWN_KEYS = MappingProxyType({
    "login": frozenset({"apiKey", "passphrase", "timestamp", "sign"}),
    "trade": frozenset({"id", "instType", "instId", "channel", "params"}),
})  # fmt: skip
"""The keys that the object in `args` may have."""

_UNIFIED_KEYS = frozenset({"op", "id", "topic", "category", "args"})
"""The keys of a trade request of a unified account."""

_LINES = MappingProxyType({category: line for line, category in CATEGORIES.items()})


def _normalised(request: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return a login or cancel without unknown keys and with the page's spelling.

    Other errors are left as they are.
    """
    op, args = request.get("op"), request.get("args")
    if type(op) is not str or op not in _KNOWN_KEYS or not isinstance(args, list):
        return request
    if op == "trade" and dialect is Dialect.UNIFIED:
        kept = {key: value for key, value in request.items() if key in _UNIFIED_KEYS}
        return {**kept, "args": [_normalised_ids(entry) for entry in cast("list[object]", args)]}
    return {
        "op": op,
        "args": [_normalised_entry(op, entry) for entry in cast("list[object]", args)],
    }


def _normalised_entry(op: str, entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    given = cast("dict[str, Any]", entry)
    kept = {key: value for key, value in given.items() if key in _KNOWN_KEYS[op]}
    if op == "login":
        if "api_key" in given:
            kept.setdefault("apiKey", given["api_key"])
        if type(kept.get("timestamp")) is int:
            kept["timestamp"] = str(kept["timestamp"])
    elif "params" in kept:
        kept["params"] = _normalised_ids(kept["params"])
    return kept


def _normalised_ids(ids: object) -> object:
    if not isinstance(ids, dict):
        return ids
    given = cast("dict[str, Any]", ids)
    return {key: value for key, value in given.items() if key in ("orderId", "clientOid")}


@attrs.frozen
class _Params:
    order_id: str | None = None
    client_oid: str | None = None


@attrs.frozen
class _Cancel:
    id: str
    inst_type: InstType
    inst_id: str
    channel: str
    params: _Params

    def order(self) -> CancelOrder:
        return CancelOrder(
            self.inst_id, self.params.order_id, self.params.client_oid, self.inst_type
        )


@attrs.frozen
class _Trade:
    op: str
    args: list[_Cancel]


@attrs.frozen
class _UnifiedTrade:
    op: str
    id: str
    topic: str
    args: list[_Params]
    category: str | None = None


@attrs.frozen
class _LoginArg:
    api_key: str
    passphrase: str
    timestamp: str
    sign: str

    def signed(self) -> SignedLogin:
        return SignedLogin(self.api_key, self.passphrase, self.timestamp, self.sign)


@attrs.frozen
class _Login:
    op: str
    args: list[_LoginArg]


_SPELLED = MappingProxyType({
    "order_id": "orderId",
    "client_oid": "clientOid",
    "inst_type": "instType",
    "inst_id": "instId",
    "api_key": "apiKey",
})  # fmt: skip


def _request_converter() -> Any:
    """Return a cattrs converter to the requests above: strict types, and no unknown keys."""
    converter: Any = Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, _strictly_text)
    converter.register_structure_hook_func(for_type(str | None), _strictly_optional_text)
    converter.register_structure_hook(InstType, _inst_type)
    for made in (_Params, _Cancel, _LoginArg, _Trade, _UnifiedTrade, _Login):
        names = (field.name for field in attrs.fields(made))
        renamed: Any = {name: override(rename=_SPELLED[name]) for name in names if name in _SPELLED}
        structure = make_dict_structure_fn(
            made, converter, _cattrs_forbid_extra_keys=True, **renamed
        )
        converter.register_structure_hook(made, _from_an_object(structure))
    return converter


def _from_an_object(structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(value: object, to: object) -> Any:
        if type(value) is not dict:
            raise TypeError("not an object")
        return structure(value, to)

    return checked


def _strictly_text(value: object, _: object) -> str:
    if type(value) is not str:
        raise TypeError("not a string")
    return value


def _strictly_optional_text(value: object, _: object) -> str | None:
    return None if value is None else _strictly_text(value, None)


def _inst_type(value: object, _: object) -> InstType:
    for member in InstType:
        if member.value == value and member is not InstType.MARGIN:
            return member
    raise ValueError("not a product line")


def _why_refused(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(error.extra_fields))}"
    return str(error)


def _all_reasons(error: BaseValidationError) -> str:
    """Return what is wrong and where, with the keys of the wire format."""
    reasons = "; ".join(transform_error(error, format_exception=_why_refused))
    for name, key in _SPELLED.items():
        reasons = reasons.replace(f".{name}", f".{key}")
    return reasons


_structure: Final = _request_converter().structure
