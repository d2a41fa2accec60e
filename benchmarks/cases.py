"""What is measured, once for both ways of measuring: `python -m benchmarks` and `python -m pytest benchmarks`.

Rules of this file
- A side stands beside its floor: the least that anyone could do who uses the same JSON library by hand. The floor does
  less (it checks nothing, remembers nothing, knows no deadline), which is the point of showing both.
- Sides of one group get the same frames. Nothing is prepared for one side that its floor does not get prepared as well.
- A side is a function without arguments, so that both ways of measuring pay the same for calling it.

It does not know how time is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import attrs
import msgspec
import orjson

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Engine,
    InstType,
    SignedLogin,
    Transmit,
    Wait,
)

ORDER_ID = "1376695893517410304"
ID = "1"
IN_FLIGHT = (1, 10_000)


@attrs.frozen
class Side:
    """One thing that is measured."""

    group: str
    name: str
    floor: str | None
    """The name of the side of the same group that it is compared with; None for a floor."""

    run: Callable[[], object]
    size: int | None = None
    """Bytes of the frame that one run writes or reads; None where it does both."""

    per: int = 1
    """How many of what is measured one run does."""

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"


def sides() -> Iterator[Side]:
    """All of them, floors first in each group. Each call builds connections anew: a side can be run on its own."""
    yield from encode()
    yield from build()
    yield from decode("decode accepted", ACCEPTED)
    yield from decode("decode refused", REFUSED)
    for in_flight in IN_FLIGHT:
        yield from cycle(in_flight)


# --- encode: a request becomes a frame ---


def encode() -> Iterator[Side]:
    group, order, encode_cancel = "encode", CancelOrder("BTCUSDT", ORDER_ID), Codec().encode_cancel
    size = len(encode_cancel(order, ID))
    yield Side(group, ORJSON_DUMPS, None, lambda: _dumped(ID), size)
    yield Side(group, "ready CancelOrder to frame", ORJSON_DUMPS, lambda: encode_cancel(order, ID), size)


def build() -> Iterator[Side]:
    group, encode_cancel = "build", Codec().encode_cancel
    size = len(encode_cancel(CancelOrder("BTCUSDT", ORDER_ID), ID))
    inst_id, order_id = "BTCUSDT", ORDER_ID
    yield Side(group, ORJSON_DUMPS, None, lambda: _dumped(ID), size)
    yield Side(
        group, "strings to CancelOrder to frame", ORJSON_DUMPS,
        lambda: encode_cancel(CancelOrder(inst_id, order_id), ID), size,
    )  # fmt: skip


ORJSON_DUMPS = "orjson.dumps of a dict literal"


def _dumped(id: str) -> bytes:
    return orjson.dumps({
        "op": "trade",
        "args": [
            {
                "id": id,
                "instType": "SPOT",
                "instId": "BTCUSDT",
                "channel": "cancel-order",
                "params": {"orderId": ORDER_ID},
            }
        ],
    })  # fmt: skip


# --- decode: a reply becomes a typed message ---

_ORDER = CancelOrder("BTCUSDT", ORDER_ID, inst_type=InstType.SPOT)
ACCEPTED = Codec().encode_reply(_ORDER, ID, exchange_ts=1763958928351)
REFUSED = Codec().encode_reply(
    _ORDER, ID, code=43001, message="The order does not exist", exchange_ts=1763958366418
)  # fmt: skip


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
    arg: list[Arg]
    code: int | str
    msg: str
    ts: int | None = None


def decode(group: str, frame: str) -> Iterator[Side]:
    size, typed_decode = len(frame), msgspec.json.Decoder(Reply).decode
    typed = "msgspec typed decode into attrs classes"
    yield Side(group, "json.loads", None, lambda: json.loads(frame), size)
    yield Side(group, "orjson.loads", None, lambda: orjson.loads(frame), size)
    yield Side(group, typed, None, lambda: typed_decode(frame), size)
    for engine, floor in (
        (Engine.STDLIB, "json.loads"), (Engine.ORJSON, "orjson.loads"), (Engine.MSGSPEC, typed)
    ):  # fmt: skip
        yield Side(group, f"Codec({engine.value}).decode", floor, _decoding(engine, frame), size)


def _decoding(engine: Engine, frame: str) -> Callable[[], object]:
    read = Codec(engine).decode
    return lambda: read(frame)


# --- cycle: cancel, Transmit, reply, Accepted, Wait ---

BY_HAND = "orjson.dumps, orjson.loads, dict pop"
_HEAD, _TAIL = ACCEPTED.split(ID, 1)
"""A reply around its id."""


def cycle(in_flight: int) -> Iterator[Side]:
    group = f"cycle, {in_flight:,} in flight"
    yield Side(group, BY_HAND, None, _by_hand(in_flight))
    for engine in Engine:
        yield Side(group, f"Connection with {engine.value}", BY_HAND, _cycling(engine, in_flight))
    yield Side(
        group, "Connection with msgspec, drained after each call", BY_HAND, _cycling_drained(Engine.MSGSPEC, in_flight)
    )


def _by_hand(in_flight: int) -> Callable[[], object]:
    """The floor: a request is a key of a dict, and its reply takes it out again."""
    waiting = {str(number): number for number in range(1, in_flight)}
    sent, answered = in_flight - 1, 0

    def run() -> int:
        nonlocal sent, answered
        sent += 1
        id = str(sent)
        waiting[id] = sent
        _dumped(id)
        answered += 1
        reply = orjson.loads(f"{_HEAD}{answered}{_TAIL}")
        return waiting.pop(reply["arg"][0]["id"])

    return run


def ready(engine: Engine, in_flight: int) -> Connection:
    """A connection after its login with so many cancels in flight less one, and nothing to slow it down."""
    connection = Connection(Config(messages_per_second=None, max_in_flight=None), Codec(engine))
    connection.opened(0.0, login=SignedLogin("key", "phrase", "1763958928", "sign"))
    connection.poll(0.0)
    connection.receive('{"event":"login","code":0}', 0.0)
    for _ in range(in_flight - 1):
        connection.cancel(_ORDER, 0.0)
    while not isinstance(connection.poll(0.0), Wait):
        pass
    return connection


def _cycling(engine: Engine, in_flight: int) -> Callable[[], object]:
    """One more cancel leaves, the oldest is answered; the clock goes on by 10 µs."""
    connection = ready(engine, in_flight)
    cancel, poll, receive = connection.cancel, connection.poll, connection.receive
    now, answered = 0.0, 0

    def run() -> object:
        nonlocal now, answered
        now += 1e-5
        cancel(_ORDER, now)
        poll(now)
        answered += 1
        receive(f"{_HEAD}{answered}{_TAIL}", now)
        poll(now)
        return poll(now)

    return run


def _cycling_drained(engine: Engine, in_flight: int) -> Callable[[], object]:
    """The same as the driver contract has it: drained until `Wait` after the cancel, too, and each output looked at."""
    connection = ready(engine, in_flight)
    cancel, poll, receive = connection.cancel, connection.poll, connection.receive
    now, answered = 0.0, 0

    def drain(seen: type[object]) -> None:
        while not isinstance(output := poll(now), Wait):
            assert isinstance(output, seen)

    def run() -> None:
        nonlocal now, answered
        now += 1e-5
        cancel(_ORDER, now)
        drain(Transmit)
        answered += 1
        receive(f"{_HEAD}{answered}{_TAIL}", now)
        drain(Accepted)

    return run
