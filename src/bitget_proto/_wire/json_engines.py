"""The JSON engines: text in, a `Frame` out.

Rules of this file
- The engines agree. What the fast ones refuse is read once more by the standard library, whose word is final, so that
  a frame means the same whichever engine is at work. (Where JSON itself leaves the meaning open, outside RFC 7493, the
  tests list what is in dispute.)
- No engine coerces: a value of a type that the wire never has is a `ValueError`, not a guess.
- Converters are built when a reader is made, and primed at once: the first live cancel must not pay for them.

It does not know what a frame means, nor how large or deep one may be.
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
    """Which library reads the JSON. The value is the name of the extra that installs it."""

    STDLIB = "stdlib"
    """Python's own, always there."""

    MSGSPEC = "msgspec"
    """The fastest: decodes straight onto classes."""

    ORJSON = "orjson"


EngineName: TypeAlias = Literal["stdlib", "msgspec", "orjson"]
"""The values of `Engine`."""


@attrs.define
class Entry:
    """One entry of `arg`: what is used of the echo."""

    id: Any = None
    channel: Any = None


@attrs.define
class Frame:
    """The keys that matter in what an exchange says, as they came. Other keys may appear at any time."""

    event: str | None = None
    arg: list[Entry] | Entry | None = None
    code: Any = None
    msg: Any = None
    ts: Any = None
    topic: Any = None
    op: Any = None


class WrongShape(ValueError):
    """The text is JSON, but not an object."""


class WrongType(ValueError):
    """A key holds a value of a type that it never has."""


@attrs.frozen
class Reader:
    """How a codec reads: `fast` first, and `plain` for what `fast` refuses with one of `refusals`.

    `plain` raises `ValueError` (`WrongShape` and `WrongType` among them) or `RecursionError` for what cannot be read.
    """

    fast: Callable[[str], Frame]
    refusals: tuple[type[Exception], ...]
    plain: Callable[[str], Frame]


def reader(engine: Engine) -> Reader:
    """The reader of an engine.

    Raises: ImportError, with the command that mends it, when the engine is not installed.
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
    """The standard library's reader, without the constants that are no JSON (NaN, Infinity)."""
    return json.JSONDecoder(parse_constant=_refuse_constant).decode


def fastest() -> Engine:
    """The fastest engine that is installed: msgspec, then orjson, then the standard library."""
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
            f"the engine {engine.value} is not installed: pip install 'bitget-proto[{engine.value}]', or choose "
            "Engine.STDLIB"
        ) from None


def _of_structs(msgspec: Any) -> Any:
    """`Frame` as msgspec's own kind of class, which it fills in two thirds of the time that ours takes."""
    # Plain data holds no cycles: the garbage collector need not know them.
    entry: Any = msgspec.defstruct("Entry", [("id", Any, None), ("channel", Any, None)], gc=False)
    types = {"event": str | None, "arg": list[entry] | entry | None}
    types |= dict.fromkeys(("code", "msg", "ts", "topic", "op"), Any)
    return msgspec.defstruct(
        "Frame", [(name, type, None) for name, type in types.items()], gc=False
    )


def _structure() -> Callable[[object], Frame]:
    """cattrs' generated function from plain data to `Frame`, with hooks that refuse instead of coercing."""
    # Any: cattrs' annotations leave the types of its hooks open.
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
        }
    )
    return structure


def for_type(wanted: object) -> Callable[[object], bool]:
    """Whether a hook is for this type: cattrs asks hooks for unions so."""
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
