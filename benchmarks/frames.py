"""The frames that all sides encode and decode, and a stream of mixed messages.

Each frame is like one in the exchange's documentation, or like a recorded one, with other ids and
times. The stream is random with a fixed seed, so it is the same in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

from bitget_proto import CancelOrder, Codec
from bitget_proto.testing import encode_event, encode_reply

ORDER_ID = "1376695893517410304"
CLIENT_OID = "xxxxx-xxx-xxx-xxxx-xxxxxx"
ID = "1"
TS = 1763958928351

ORDER = CancelOrder("BTCUSDT", ORDER_ID)
BOTH = CancelOrder("BTCUSDT", ORDER_ID, CLIENT_OID)
LOGIN_REQUEST = {
    "apiKey": "bg_0123456789abcdef0123456789abcdef",
    "passphrase": "a pass phrase",
    "timestamp": "1763958928",
    "sign": "mDPqNSiqFr9PYwS4tvmYnB9tWmCPJPh9b9iCtnyq2gM=",
}

_codec = Codec()
ACCEPTED = encode_reply(ORDER, ID, exchange_ts=TS)
ACCEPTED_BOTH = encode_reply(BOTH, ID, exchange_ts=TS)
REFUSED = encode_reply(ORDER, ID, code=43001, message="The order does not exist", exchange_ts=TS)
LOGGED_IN = encode_event("login", 0, None)

HEAD, TAIL = ACCEPTED.split(ID, 1)
"""An accepting reply, before and after its id."""


def request(id: str) -> dict[str, Any]:
    """Return the request that cancels `ORDER`, written by hand."""
    return {
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
    }


# --- the stream ---

STREAM = 100_000

_Make: TypeAlias = Callable[[random.Random, str], str]


def _accepted(chance: random.Random, id: str) -> str:
    return encode_reply(_some_order(chance), id, exchange_ts=TS + int(id))


def _accepted_in_strings(chance: random.Random, id: str) -> str:
    """Make a reply with the types of the documentation's table: `code` and `ts` are strings, and
    `arg` is an object."""
    order_id = _some_order(chance).order_id
    return (
        f'{{"event":"trade","arg":{{"id":"{id}","instType":"SPOT","channel":"cancel-order","instId":"BTCUSDT",'
        f'"params":{{"orderId":"{order_id}"}}}},"code":"0","msg":"Success","ts":"{TS + int(id)}"}}'
    )


def _refused(code: int, message: str) -> _Make:
    def make(chance: random.Random, id: str) -> str:
        return encode_reply(
            _some_order(chance), id, code=code, message=message, exchange_ts=TS + int(id)
        )

    return make


def _said(event: str, code: int, message: str | None) -> _Make:
    return lambda _, __: encode_event(event, code, message)


def _pong(_: random.Random, __: str) -> str:
    return "pong"


def _push(chance: random.Random, id: str) -> str:
    """Make a push of the `orders` channel."""
    return (
        '{"action":"snapshot","arg":{"instType":"SPOT","channel":"orders","instId":"default"},"data":[{"instId":"BTCUSDT",'
        f'"orderId":"{_some_order(chance).order_id}","clientOid":"{CLIENT_OID}","size":"0.0010","newSize":"0","notional":'
        '"96.1","orderType":"limit","force":"gtc","side":"buy","accBaseVolume":"0.0000","priceAvg":"0","status":"cancelled",'
        f'"cTime":"{TS}","uTime":"{TS + int(id)}","feeDetail":[],"enterPointSource":"API"}}],"ts":{TS + int(id)}}}'
    )


def _some_order(chance: random.Random) -> CancelOrder:
    order_id = str(chance.randrange(10**18, 10**19))
    client_oid = CLIENT_OID if chance.random() < 0.3 else None
    return CancelOrder("BTCUSDT", order_id, client_oid)


MIX: tuple[tuple[int, _Make], ...] = (
    (7000, _accepted),
    (300, _accepted_in_strings),
    (900, _refused(43001, "The order does not exist")),
    (300, _refused(40769, "Order is already cancelled or filled")),
    (150, _refused(45129, "The same order can be cancelled once per second")),
    (100, _refused(40010, "Request timed out")),
    (50, _refused(45056, "This order can't be cancelled")),
    (50, _refused(40015, "System is releasing, please try again later")),
    (1000, _push),
    (60, _pong),
    (60, _said("error", 30006, "request too many")),
    (20, _said("error", 30033, "Service upgrade in progress. Connection reset imminent. Please reconnect.")),
    (10, _said("login", 0, None)),
)  # fmt: skip
"""The frames per ten thousand, and the function that makes them."""


def stream(count: int = STREAM) -> list[str]:
    """Return `count` frames, nine in ten of them replies to a cancel."""
    chance = random.Random(20251124)
    makers = chance.choices([make for _, make in MIX], [weight for weight, _ in MIX], k=count)
    return [make(chance, str(number)) for number, make in enumerate(makers, 1)]
