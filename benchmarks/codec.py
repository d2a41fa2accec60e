"""Encoding and decoding: `Codec` compared with the JSON libraries by hand, in time and throughput.

- All sides of a group encode or decode the same frame. Decoders get the same `str`.
- The `msgspec` floor decodes into classes for the whole reply, as one would write them by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import cycle, islice, repeat
from typing import Any

import attrs
import msgspec
import orjson

from benchmarks import frames
from benchmarks.frames import ID, LOGIN_REQUEST, ORDER, ORDER_ID
from benchmarks.sides import Group, Side, Target, Turn, timed
from bitget_proto import CancelOrder, Codec, Engine, SignedLogin

DUMPS = "orjson.dumps of a dict literal"
LOADS, ORJSON_LOADS, TYPED = "json.loads", "orjson.loads", "msgspec into attrs classes"

_CHUNK = 2_000
"""Frames of the stream that are decoded at a time."""


def groups() -> Iterator[Group]:
    yield Group(name="encode", sides=_encode)
    yield Group(name="build", sides=_build)
    yield Group(name="encode, both ids", sides=_encode_both)
    yield Group(name="encode, login", sides=_encode_login)
    for name, frame in (
        ("decode", frames.ACCEPTED),
        ("decode, both ids", frames.ACCEPTED_BOTH),
        ("decode, refusal", frames.REFUSED),
        ("decode, login", frames.LOGGED_IN),
    ):
        # Only replies to a cancel have targets.
        yield Group(name=name, sides=_decode(frame, {} if frame == frames.LOGGED_IN else _TARGETS))
    yield Group(name=f"decode, {frames.STREAM:,} mixed", sides=_decode_stream, seconds=1e-3)


# --- encoding ---


def _encode(_: ExitStack) -> list[Side]:
    encode_cancel, size = Codec().encode_cancel, _size(ORDER)

    def ours(count: int) -> None:
        for _ in repeat(None, count):
            encode_cancel(ORDER, ID)

    target = Target(0.7, 0.4)
    return [
        *_floors(size),
        Side(name="a ready CancelOrder", turn=_loop(ours), floor=DUMPS, target=target, size=size),
    ]


def _build(_: ExitStack) -> list[Side]:
    encode_cancel, size = Codec().encode_cancel, _size(ORDER)
    inst_id, order_id = "BTCUSDT", ORDER_ID

    def ours(count: int) -> None:
        for _ in repeat(None, count):
            encode_cancel(CancelOrder(inst_id, order_id), ID)

    target = Target(2.5, 1.5)
    return [
        *_floors(size),
        Side(
            name="strings to CancelOrder", turn=_loop(ours), floor=DUMPS, target=target, size=size
        ),
    ]


def _floors(size: int) -> list[Side]:
    id, inst_id, order_id, orjson_dumps, json_dumps = (
        ID,
        "BTCUSDT",
        ORDER_ID,
        orjson.dumps,
        json.dumps,
    )

    # The literal is inline: a function call would add a tenth to the floor.
    def with_orjson(count: int) -> None:
        for _ in repeat(None, count):
            orjson_dumps({"op": "trade", "args": [{
                "id": id, "instType": "SPOT", "instId": inst_id, "channel": "cancel-order", "params": {"orderId": order_id},
            }]})  # fmt: skip

    def with_json(count: int) -> None:
        for _ in repeat(None, count):
            json_dumps({"op": "trade", "args": [{
                "id": id, "instType": "SPOT", "instId": inst_id, "channel": "cancel-order", "params": {"orderId": order_id},
            }]})  # fmt: skip

    return [
        Side(name=DUMPS, turn=_loop(with_orjson), size=size),
        Side(name="json.dumps of a dict literal", turn=_loop(with_json), size=size),
    ]


def _encode_both(_: ExitStack) -> list[Side]:
    encode_cancel, orjson_dumps, size = Codec().encode_cancel, orjson.dumps, _size(frames.BOTH)
    id, inst_id, order_id, client_oid, both = (
        ID,
        "BTCUSDT",
        ORDER_ID,
        frames.CLIENT_OID,
        frames.BOTH,
    )

    def floor(count: int) -> None:
        for _ in repeat(None, count):
            orjson_dumps({"op": "trade", "args": [{
                "id": id, "instType": "SPOT", "instId": inst_id, "channel": "cancel-order",
                "params": {"orderId": order_id, "clientOid": client_oid},
            }]})  # fmt: skip

    def ours(count: int) -> None:
        for _ in repeat(None, count):
            encode_cancel(both, ID)

    return [
        Side(name=DUMPS, turn=_loop(floor), size=size),
        Side(name="a ready CancelOrder", turn=_loop(ours), floor=DUMPS, size=size),
    ]


def _encode_login(_: ExitStack) -> list[Side]:
    encode_login, orjson_dumps = Codec().encode_login, orjson.dumps
    key, phrase, stamp, sign = LOGIN_REQUEST.values()
    login = SignedLogin(key, phrase, stamp, sign)
    size = len(encode_login(login))

    def floor(count: int) -> None:
        for _ in repeat(None, count):
            orjson_dumps({
                "op": "login", "args": [{"apiKey": key, "passphrase": phrase, "timestamp": stamp, "sign": sign}]
            })  # fmt: skip

    def ours(count: int) -> None:
        for _ in repeat(None, count):
            encode_login(login)

    return [
        Side(name=DUMPS, turn=_loop(floor), size=size),
        Side(name="a SignedLogin", turn=_loop(ours), floor=DUMPS, size=size),
    ]


def _size(order: CancelOrder) -> int:
    return len(Codec().encode_cancel(order, ID))


def _loop(run: Callable[[int], object]) -> Callable[[int], Turn]:
    return timed(lambda count: lambda: run(count))


# --- decoding ---


@attrs.define
class Params:
    orderId: str | None = None  # noqa: N815 - the wire's names, as msgspec needs them
    clientOid: str | None = None  # noqa: N815


@attrs.define
class Arg:
    id: str
    instType: str  # noqa: N815
    channel: str
    instId: str  # noqa: N815
    params: Params


@attrs.define
class Reply:
    event: str
    code: int | str
    arg: list[Arg] | None = None
    msg: str | None = None
    ts: int | None = None


@attrs.define
class Anything:
    """A class that fits every message of the stream."""

    event: str | None = None
    arg: Any = None
    code: Any = None
    msg: Any = None
    ts: Any = None


_FLOORS = {Engine.STDLIB: LOADS, Engine.ORJSON: ORJSON_LOADS, Engine.MSGSPEC: TYPED}
_TARGETS = {Engine.STDLIB: Target(2.8, 2.0), Engine.MSGSPEC: Target(1.5, 1.15)}


def _decode(frame: str, targets: Mapping[Engine, Target]) -> Callable[[ExitStack], list[Side]]:
    size = len(frame)

    def sides(_: ExitStack) -> list[Side]:
        floors: dict[str, Callable[[str], object]] = {
            LOADS: json.loads,
            ORJSON_LOADS: orjson.loads,
            TYPED: msgspec.json.Decoder(Reply).decode,
        }
        return [
            *(
                Side(name=name, turn=_reads(read, frame), size=size)
                for name, read in floors.items()
            ),
            *(
                Side(
                    name=f"Codec({engine.value!r})",
                    turn=_reads(Codec(engine).decode, frame),
                    floor=floor,
                    target=targets.get(engine),
                    size=size,
                )
                for engine, floor in _FLOORS.items()
            ),
        ]

    return sides


def _reads(read: Callable[[str], object], frame: str) -> Callable[[int], Turn]:
    def run(count: int) -> None:
        for _ in repeat(None, count):
            read(frame)

    return _loop(run)


def _decode_stream(_: ExitStack) -> list[Side]:
    texts = frames.stream()
    size = sum(len(text.encode()) for text in texts) / len(texts) * _CHUNK
    floors: dict[str, Callable[[str], object]] = {
        LOADS: json.loads,
        ORJSON_LOADS: orjson.loads,
        TYPED: msgspec.json.Decoder(Anything).decode,
    }
    return [
        *(
            Side(name=name, turn=_reads_stream(read, texts, _by_hand), size=size, per=_CHUNK)
            for name, read in floors.items()
        ),
        *(
            Side(
                name=f"Codec({engine.value!r})",
                turn=_reads_stream(Codec(engine).decode, texts, _all),
                floor=floor,
                size=size,
                per=_CHUNK,
            )
            for engine, floor in _FLOORS.items()
        ),
    ]


def _reads_stream(
    read: Callable[[str], object],
    texts: list[str],
    loop: Callable[[Callable[[str], object], list[str]], object],
) -> Callable[[int], Turn]:
    """Decode the next frames of the stream each time, starting over at the end."""
    endless = cycle(texts)

    def job(count: int) -> Callable[[], object]:
        part = list(islice(endless, count * _CHUNK))
        return lambda: loop(read, part)

    return timed(job)


def _all(read: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        read(text)


def _by_hand(read: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        if text != "pong":
            read(text)
