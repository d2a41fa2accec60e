"""The methods of both cores, and how their arguments and results are encoded in a trace.

- `trace_writer` encodes calls with this table, and `reader` decodes them with it.
- An argument that equals its default is not written.
- An argument of a wrong type is written as its type only: the call was refused, and the argument
  may be anything.
- Only the timestamp of a login is written. The text of its frame is not written.

Other secrets are removed later, by `trace_redaction`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import attrs

from .._machine.session_config import Policy
from .._machine.session_events import SessionOutput
from .._values.credentials import SignedLogin
from .._values.errors import safe_repr
from .._values.events import CallerError, Output, Transmit
from .._values.orders import CancelOrder, InstType
from .json_values import BRIEF, STRICT, Plain, fits, is_unicode, restored, same
from .trace_redaction import own_frame

REQUIRED: Final = object()
"""Marks an argument without a default."""

_NOT_RECORDED = "not recorded"


@attrs.frozen
class Argument:
    """An argument of a call."""

    name: str
    write: Callable[[Any], object]
    """Encodes the argument."""

    read: Callable[[Any], object] = restored
    """Decodes the argument."""

    default: object = REQUIRED
    """The default in the signatures of the cores, as `write` encodes it; or REQUIRED."""


@attrs.frozen
class Call:
    """A method of a core.

    If the two cores differ, it has the arguments of both; each core takes those that it knows.
    """

    arguments: tuple[Argument, ...]
    """In the order of the line, which differs from the signature: the time comes first."""

    gives: Callable[[Any], object] = lambda _: None
    """Encodes the result; None when there is nothing to write."""

    def written(self, passed: Mapping[str, object]) -> Plain:
        """Return the encoded arguments, without those that equal their default."""
        arguments: Plain = {}
        for argument in self.arguments:
            if argument.name in passed:
                value = argument.write(passed[argument.name])
                if value != argument.default:
                    arguments[argument.name] = value
        return arguments


def unrecorded(value: object) -> Plain:
    """Return the placeholder for an argument that is not written."""
    return {"unrecorded": type(value).__name__}


def is_whole(data: Mapping[str, Any]) -> bool:
    """Return whether every argument of a call was written."""
    return not any("unrecorded" in value for value in data.values() if isinstance(value, dict))


# --- encoding and decoding of arguments ---


def _kind(kind: type, write: Callable[[Any], object] = same) -> Callable[[object], object]:
    return lambda value: write(value) if isinstance(value, kind) else unrecorded(value)


def _or_none(write: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else write(value)


def _number(value: object) -> object:
    """Encode a time, a number of seconds, or the number of a link."""
    return (
        value
        if isinstance(value, float) or (isinstance(value, int) and fits(value))
        else unrecorded(value)
    )


def _stamp(login: SignedLogin) -> Plain:
    stamp = login.timestamp
    return {"stamp": stamp if len(stamp) <= 20 and stamp.isascii() and stamp.isdigit() else None}


def _login(data: Plain) -> SignedLogin:
    return SignedLogin(_NOT_RECORDED, _NOT_RECORDED, data["stamp"] or _NOT_RECORDED, _NOT_RECORDED)


def _message(message: str | bytes) -> object:
    if isinstance(message, (bytearray, memoryview)):
        return bytes(message)
    return message if isinstance(message, (str, bytes)) else unrecorded(message)


def _text(text: object) -> object:
    return (
        own_frame(str.__str__(text))
        if isinstance(text, str) and is_unicode(text)
        else unrecorded(text)
    )


def _ids(ids: Iterable[str]) -> object:
    listed = isinstance(ids, (list, tuple)) and all(isinstance(id, str) for id in ids)
    return tuple(ids) if listed else unrecorded(ids)


def _each(data: Iterable[object]) -> list[Any]:
    return [restored(value) for value in data]


def _unsent(unsent: object) -> object:
    return unsent if isinstance(unsent, bool) else _ids(cast("Iterable[str]", unsent))


def _read_unsent(data: object) -> object:
    return data if isinstance(data, bool) else _each(cast("Iterable[object]", data))


def _reply(reply: object) -> object:
    match reply:
        case (int() as status, (str() | bytes()) as body) if fits(status):
            return status, body
        case _:
            return unrecorded(reply)


def _read_reply(data: Iterable[object]) -> tuple[Any, ...]:
    return tuple(_each(data))


def _brief_order(order: CancelOrder) -> Plain:
    return cast("Plain", BRIEF.unstructure(order, CancelOrder))


def _order(data: object) -> CancelOrder:
    if not isinstance(data, dict):
        raise TypeError(f"order must be an object; got {safe_repr(data)}")
    return cast("CancelOrder", STRICT.structure(data, CancelOrder))


def _many(orders: Iterable[CancelOrder]) -> object:
    listed = isinstance(orders, list) and all(isinstance(order, CancelOrder) for order in orders)
    return [_brief_order(order) for order in orders] if listed else unrecorded(orders)


def _read_many(data: Iterable[object]) -> list[CancelOrder]:
    return [_order(order) for order in data]


def _lines(lines: Iterable[InstType]) -> object:
    listed = isinstance(lines, list) and all(isinstance(line, InstType) for line in lines)
    return [line.value for line in lines] if listed else unrecorded(lines)


def _read_lines(data: Iterable[object]) -> list[InstType]:
    return [STRICT.structure(line, InstType) for line in data]


def _policy(data: object) -> Policy:
    return cast("Policy", STRICT.structure(data, Policy))


def _output(output: Output | SessionOutput) -> Plain:
    if isinstance(output, CallerError):  # without the exception
        return {"kind": "CallerError", "where": output.where, "detail": output.detail}
    data: Plain = {"kind": type(output).__name__, **BRIEF.unstructure(output)}
    if isinstance(output, Transmit):
        if output.secret:
            del data["text"]
        elif not output.ids:
            data["text"] = own_frame(output.text)
    return data


# --- the table ---


_NOW = Argument("now", _number)
_LINK = Argument("link", _number)
_ID = Argument("id", _or_none(_kind(str)), default=None)
_TIMEOUT = Argument("timeout", _or_none(_number), default=None)
_POLICY = Argument(
    "policy", _or_none(_kind(Policy, lambda policy: policy.value)), _policy, default=None
)

_NUMBER = Argument("number", _number)
_REASON = Argument("reason", same, default="")
_UNSENT = Argument("unsent", _unsent, _read_unsent, default=())

CALLS: Final[Mapping[str, Call]] = MappingProxyType({
    "opened": Call((_NOW, _LINK, Argument("login", _kind(SignedLogin, _stamp), _login))),
    "receive": Call((_NOW, _LINK, Argument("message", _message))),
    "lost": Call(
        (
            _NOW,
            _LINK,
            _REASON,
            _UNSENT,
            Argument("retry_after", _or_none(_number), default=None),
        )
    ),
    "rest_replied": Call((_NOW, _NUMBER, Argument("reply", _reply, _read_reply))),
    "rest_failed": Call(
        (_NOW, _NUMBER, attrs.evolve(_REASON, default=REQUIRED), attrs.evolve(_UNSENT, default=False))
    ),
    "handle_timeout": Call((_NOW,)),
    "cancel": Call(
        (
            _NOW,
            Argument("order", _kind(CancelOrder, _brief_order), _order),
            _ID,
            _TIMEOUT,
            _POLICY,
            Argument("urgent", bool, default=False),
        ),
        gives=same,
    ),
    "cancel_many": Call((_NOW, Argument("orders", _many, _read_many), _TIMEOUT, _POLICY), gives=same),
    "withdraw": Call((_NOW, attrs.evolve(_ID, default=REQUIRED)), gives=same),
    "subscribe_orders": Call(
        (_NOW, Argument(
                "inst_types",
                lambda lines: None if lines is None else _lines(lines),
                _read_lines,
                default=None,
            ))
    ),
    "send": Call((_NOW, Argument("text", _text))),
    "close": Call((_NOW, Argument("queued", same, default="drop"), Argument("within", _or_none(_number), default=None))),
    "poll": Call(
        (_NOW, Argument("writable", bool, default=True), Argument("busy", tuple, _each, default=())),
        gives=_output,
    ),
})  # fmt: skip

ARGUMENTS: Final[Mapping[str, Argument]] = MappingProxyType({
    argument.name: argument for call in CALLS.values() for argument in call.arguments
})  # fmt: skip
"""All arguments by name: arguments of the same name are encoded alike in every call."""
