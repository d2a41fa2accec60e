"""Tests of the JSON engines, and of an engine that is not installed."""

from __future__ import annotations

import builtins
import sys

import pytest

from bitget_proto import Codec, Engine, Malformed, TradeReply, fastest
from bitget_proto._wire.json_engines import Entry, Frame, WrongShape, WrongType, plain_loads, reader

FRAME = (
    '{"event":"trade","arg":[{"id":"1","channel":"c","more":2}],"code":0,"msg":"Success","ts":5,"topic":"t","op":"o",'
    '"more":{}}'
)
READ = Frame("trade", [Entry("1", "c")], 0, "Success", 5, "t", "o")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Hide engines with `setitem(sys.modules, name, None)`: importing one raises ImportError."""
    return monkeypatch


def test_an_engine_is_named_like_the_extra_that_installs_it() -> None:
    assert [engine.value for engine in Engine] == ["stdlib", "msgspec", "orjson"]


def fields(frame: Frame) -> tuple[object, ...]:
    """The content of a frame; an engine may have its own class for it."""
    arg = frame.arg
    entries = [] if arg is None else arg if isinstance(arg, list) else [arg]
    echo = arg is None, isinstance(arg, list), [(entry.id, entry.channel) for entry in entries]
    return frame.event, echo, frame.code, frame.msg, frame.ts, frame.topic, frame.op


@pytest.mark.parametrize("engine", Engine)
def test_every_engine_reads_a_frame_alike(engine: Engine) -> None:
    read = reader(engine)
    assert fields(read.fast(FRAME)) == fields(READ)
    assert read.plain(FRAME) == READ


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", WrongShape),
        ("1", WrongShape),
        ("null", WrongShape),
        ('{"event":1}', WrongType),
        ('{"event":[]}', WrongType),
        ('{"arg":1}', WrongType),
        ('{"arg":"1"}', WrongType),
        ('{"arg":[1]}', WrongType),
        ('{"arg":[null]}', WrongType),
        ('{"arg":[[]]}', WrongType),
        ("{", ValueError),
        ("", ValueError),
        ('{"x":NaN}', ValueError),
        ('{"x":Infinity}', ValueError),
        ('{"x":-Infinity}', ValueError),
    ],
)
def test_every_engine_refuses_alike_after_the_standard_librarys_reading(
    engine: Engine, text: str, error: type[ValueError]
) -> None:
    read = reader(engine)
    with pytest.raises((*read.refusals, ValueError)):
        read.fast(text)
    with pytest.raises(error) as refused:
        read.plain(text)
    assert isinstance(refused.value, WrongShape | WrongType) == (error is not ValueError)


@pytest.mark.parametrize("engine", Engine)
def test_nothing_is_coerced_and_missing_fields_are_none(engine: Engine) -> None:
    assert fields(reader(engine).fast("{}")) == fields(Frame())
    assert fields(
        reader(engine).fast(
            '{"code":"5","ts":"5","msg":5,"arg":{"id":5,"channel":[]},"topic":0,"op":{}}'
        )
    ) == fields(Frame(None, Entry(5, []), "5", 5, "5", 0, {}))
    assert fields(reader(engine).fast('{"event":null,"arg":null}')) == fields(Frame())


def test_plain_data_is_read_unchanged() -> None:
    assert plain_loads()('{"a":[1,"1",null,true,1.5]}') == {"a": [1, "1", None, True, 1.5]}


def test_the_fastest_is_msgspec_then_orjson_then_the_standard_library(
    without: pytest.MonkeyPatch,
) -> None:
    assert fastest() is Engine.MSGSPEC
    without.setitem(sys.modules, "msgspec", None)
    assert fastest() is Engine.ORJSON
    without.setitem(sys.modules, "orjson", None)
    assert fastest() is Engine.STDLIB


@pytest.mark.parametrize("engine", [Engine.MSGSPEC, Engine.ORJSON])
def test_a_missing_engine_names_the_command_that_installs_it(
    engine: Engine, without: pytest.MonkeyPatch
) -> None:
    without.setitem(sys.modules, engine.value, None)
    with pytest.raises(ImportError) as refused:
        Codec(engine)
    assert str(refused.value) == (
        f"the engine {engine.value} is not installed: pip install 'bitget-proto[{engine.value}]', or choose Engine.STDLIB"
    )


def test_the_standard_library_is_the_default_and_needs_nothing_else(
    without: pytest.MonkeyPatch,
) -> None:
    for engine in (Engine.MSGSPEC, Engine.ORJSON):
        without.setitem(sys.modules, engine.value, None)
    codec = Codec()
    assert codec.engine is Engine.STDLIB
    assert repr(codec) == "Codec(Engine.STDLIB, Dialect.CLASSIC)"
    assert isinstance(codec.decode(FRAME), TradeReply)


@pytest.mark.parametrize("engine", Engine)
def test_decoding_the_first_frame_imports_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec(engine)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an import on the way of a live frame")

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", refuse)
        read, refused = codec.decode(FRAME), codec.decode("[")
    assert isinstance(read, TradeReply)
    assert isinstance(refused, Malformed)
