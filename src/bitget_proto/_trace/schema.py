"""The calls of both cores, as a table: what each is told and what it gives, and how that stands on a line of a trace.

Rules of this file
- How something is spelled stands here once: `recorder` writes by this table, `reader` reads by it.
- An argument that has its default is not written.
- An argument of a wrong type is written as its type alone: the call was refused, and what was passed may be anything.
- A login is written as its stamp and nothing more, and its frame not at all.

It does not know what a call does, nor a secret when it sees one: `secrets` takes those out of what is spelled here.
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
from .._values.events import Output, Transmit
from .._values.orders import CancelOrder
from .json_values import BRIEF, STRICT, Plain, fits, is_unicode, restored, same
from .trace_redaction import own_frame

REQUIRED: Final = object()
"""In the place of a default: there is none."""

_NOT_RECORDED = "not recorded"


@attrs.frozen
class Argument:
    """What a call is told under one name."""

    name: str
    write: Callable[[Any], object]
    """From what was passed to what is written of it."""

    read: Callable[[Any], object] = restored
    """From what stands on the line to what the call takes."""

    default: object = REQUIRED
    """As in the signatures of the cores, and as `write` writes it; or REQUIRED."""


@attrs.frozen
class Call:
    """A method of a core. Where the two differ it has the arguments of both, and a core takes those that it knows."""

    arguments: tuple[Argument, ...]
    """In the order of the line, which is not that of the signature: the time comes first."""

    gives: Callable[[Any], object] = lambda _: None
    """From what it gave to what is written of it; None for nothing."""

    def told(self, passed: Mapping[str, object]) -> Plain:
        """The arguments that were passed, as they are written."""
        told: Plain = {}
        for argument in self.arguments:
            if argument.name in passed:
                written = argument.write(passed[argument.name])
                if written != argument.default:
                    told[argument.name] = written
        return told


def unrecorded(value: object) -> Plain:
    """Instead of an argument that is not written."""
    return {"unrecorded": type(value).__name__}


def is_whole(data: Mapping[str, Any]) -> bool:
    """Whether every argument of a call is written."""
    return not any("unrecorded" in value for value in data.values() if isinstance(value, dict))


# --- each kind of argument, written and read ---


def _kind(kind: type, write: Callable[[Any], object] = same) -> Callable[[object], object]:
    return lambda value: write(value) if isinstance(value, kind) else unrecorded(value)


def _or_none(write: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else write(value)


def _number(value: object) -> object:
    """A time, a number of seconds, or that of a link."""
    return (
        value
        if isinstance(value, float) or (isinstance(value, int) and fits(value))
        else unrecorded(value)
    )


def _stamp(login: SignedLogin) -> Plain:
    said = login.timestamp
    return {"stamp": said if len(said) <= 20 and said.isascii() and said.isdigit() else None}


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


def _policy(data: object) -> Policy:
    return cast("Policy", STRICT.structure(data, Policy))


def _output(output: Output | SessionOutput) -> Plain:
    data: Plain = {"kind": type(output).__name__, **BRIEF.unstructure(output)}
    if isinstance(output, Transmit):
        if output.secret:
            del data["text"]
        elif output.id is None:
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

CALLS: Final[Mapping[str, Call]] = MappingProxyType({
    "opened": Call((_NOW, _LINK, Argument("login", _kind(SignedLogin, _stamp), _login))),
    "receive": Call((_NOW, _LINK, Argument("message", _message))),
    "lost": Call(
        (
            _NOW,
            _LINK,
            Argument("reason", same, default=""),
            Argument("unsent", _ids, _each, default=()),
            Argument("retry_after", _or_none(_number), default=None),
        )
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
"""By their names: what has one name is spelled one way, whichever call it belongs to."""
