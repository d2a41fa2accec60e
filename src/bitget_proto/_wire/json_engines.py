"""The JSON engines, which decode text into a `Frame`.

Rules for changes
- All engines give the same result. Text that a fast engine refuses is decoded again by the standard
  library, whose result is final. (Where JSON itself is ambiguous, outside RFC 7493, the tests list
  the differences.)
- No engine coerces: a value of an unexpected type is a `ValueError`.
- Converters are built and warmed up when a reader is created, so that the first real cancel is not
  slow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from typing import Any, Literal, NoReturn, TypeAlias, cast

import attrs
from cattrs import Converter

from .._values.set_module import set_module


@set_module("bitget_proto")
class Engine(Enum):
    """The library that decodes JSON. The value is the name of the extra that installs it."""

    STDLIB = "stdlib"
    """The `json` module, always available."""

    MSGSPEC = "msgspec"
    """The fastest: decodes directly into classes."""

    ORJSON = "orjson"


EngineName: TypeAlias = Literal["stdlib", "msgspec", "orjson"]
"""The values of `Engine`."""


@attrs.define
class Entry:
    """One entry of `arg`: the parts of the echo that are used."""

    id: Any = None
    channel: Any = None


@attrs.define
class Frame:
    """The keys of a message that are used. Values of type `Any` have not been checked.

    Other keys may appear at any time.
    """

    event: str | None = None
    arg: list[Entry] | Entry | None = None
    code: Any = None
    msg: Any = None
    ts: Any = None
    topic: Any = None
    op: Any = None
    id: Any = None
    args: Any = None
    rateLimit: Any = None  # noqa: N815 - the key of the frame


class WrongShape(ValueError):
    """The text is JSON, but not an object."""


class WrongType(ValueError):
    """A key has a value of an unexpected type."""


@attrs.frozen
class Reader:
    """The functions of a codec that decode JSON.

    `fast` is tried first; `plain` decodes text for which `fast` raises one of `refusals`. `plain`
    raises `ValueError` (including `WrongShape` and `WrongType`) or `RecursionError`.
    """

    fast: Callable[[str], Frame]
    refusals: tuple[type[Exception], ...]
    plain: Callable[[str], Frame]


def reader(engine: Engine) -> Reader:
    """Return the reader of an engine.

    Raises: ImportError, with the command to install it, if the engine is not installed.
    """
    loads, structure = plain_loads(), _structure()

    def plain(text: str) -> Frame:
        return structure(loads(text))

    if engine is Engine.MSGSPEC:
        msgspec = _import(engine)
        fast = msgspec.json.Decoder(_of_structs(msgspec)).decode
        return Reader(fast, (msgspec.MsgspecError, ValueError, RecursionError), plain)
    if engine is Engine.ORJSON:
        orjson_loads: Callable[[str], object] = _import(engine).loads
        return Reader(lambda text: structure(orjson_loads(text)), (ValueError,), plain)
    return Reader(plain, (), plain)


def plain_loads() -> Callable[[str], object]:
    """Return a standard-library decoder that refuses NaN and Infinity, which are not JSON."""
    return json.JSONDecoder(parse_constant=_refuse_constant).decode


def fastest() -> Engine:
    """Return the fastest installed engine: msgspec, then orjson, then the standard library."""
    for engine in (Engine.MSGSPEC, Engine.ORJSON):
        try:
            _import(engine)
        except ImportError:
            continue
        return engine
    return Engine.STDLIB


def _import(engine: Engine) -> Any:
    try:
        return import_module(engine.value)
    except ImportError:
        raise ImportError(
            f"the engine {engine.value} is not installed: pip install "
            f"'bitget-proto[{engine.value}]', or choose Engine.STDLIB"
        ) from None


def _of_structs(msgspec: Any) -> Any:
    """Return `Frame` as a msgspec struct, which decodes in two thirds of the time of our class."""
    # Plain data has no cycles, so the garbage collector does not have to track these.
    entry: Any = msgspec.defstruct("Entry", [("id", Any, None), ("channel", Any, None)], gc=False)
    types = {"event": str | None, "arg": list[entry] | entry | None}
    types |= dict.fromkeys(("code", "msg", "ts", "topic", "op", "id", "args", "rateLimit"), Any)
    return msgspec.defstruct(
        "Frame", [(name, type, None) for name, type in types.items()], gc=False
    )


def _structure() -> Callable[[object], Frame]:
    """Return a cattrs function from plain data to `Frame`, whose hooks refuse to coerce."""
    # Any: the annotations of cattrs do not specify the types of its hooks.
    converter: Any = Converter(detailed_validation=False)
    converter.register_structure_hook_func(for_type(str | None), _optional_text)
    entry: Callable[[object, type[Entry]], Entry] = converter.get_structure_hook(Entry)

    def entries(value: object, _: object) -> list[Entry] | Entry | None:
        return _entries(value, entry)

    converter.register_structure_hook_func(for_type(list[Entry] | Entry | None), entries)
    frame: Callable[[object, type[Frame]], Frame] = converter.get_structure_hook(Frame)

    def structure(data: object) -> Frame:
        if type(data) is not dict:
            raise WrongShape
        return frame(cast("dict[str, object]", data), Frame)

    structure(
        {
            "event": "error",
            "arg": [{"id": "", "channel": ""}],
            "code": 0,
            "msg": "",
            "ts": 0,
            "topic": "",
            "op": "",
            "id": "",
            "args": [],
            "rateLimit": [],
        }
    )
    return structure


def for_type(wanted: object) -> Callable[[object], bool]:
    """Return a predicate that matches one type; cattrs needs it for hooks of unions."""
    return lambda asked: asked == wanted


def _optional_text(value: object, _: object) -> str | None:
    if value is None or type(value) is str:
        return value
    raise WrongType


def _entries(
    value: object, entry: Callable[[object, type[Entry]], Entry]
) -> list[Entry] | Entry | None:
    if value is None:
        return None
    if type(value) is dict:
        return entry(cast("dict[str, object]", value), Entry)
    if type(value) is not list:
        raise WrongType
    made: list[Entry] = []
    for item in cast("list[object]", value):
        if type(item) is not dict:
            raise WrongType
        made.append(entry(cast("dict[str, object]", item), Entry))
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
