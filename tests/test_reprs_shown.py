"""The repr of every public value, collected in `tests/reprs.txt`.

Run as a script to regenerate it.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import attrs

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Codec,
    CodeClass,
    Connection,
    Credentials,
    InstType,
    OneOrder,
    Reconciler,
    RestCodec,
    RestRequest,
    Session,
    Trace,
    sign_login,
)
from bitget_proto.testing import (
    ExchangeConnection,
    Fault,
    Pair,
    Rule,
    ScriptedExchange,
    SessionPair,
    StrictConnection,
    StrictSession,
    VirtualClock,
)
from bitget_proto.testing._kit.runner import SCENARIOS

PAGE = Path(__file__).with_name("reprs.txt")
COMMAND = "python tests/test_reprs_shown.py"
MODULES = ("bitget_proto", "bitget_proto.testing", "bitget_transports")

KEY = Credentials("the-key", "the-secret", "the-passphrase")
OUTCOME = Accepted("7", CancelOrder("BTCUSDT", order_id="1"), 1.0, 1.25, 1.5, exchange_ts=None)
SAMPLES: dict[str, Any] = {
    "id": "7", "order": CancelOrder("BTCUSDT", order_id="1376695893517410304"), "taken_at": 1.0, "sent_at": 1.25,
    "resolved_at": 1.5, "exchange_ts": 1763958366000, "code": "43001", "code_class": CodeClass.NOT_FOUND, "sent": True,
    "message": "The order does not exist", "inst_id": "BTCUSDT", "detail": "no pong", "link": 1, "up_for": 3.5,
    "down_for": 0.5, "text": '{"op":"subscribe"}', "reason": "normal closure", "until": 30.0,
    "login": sign_login(KEY, 1763958366),
    "names_request": True, "excerpt": "{", "op": "subscribe", "step": 3, "call": "poll", "recorded": "{}", "came": "[]", "n": 3,
    "data": {}, "arg": None, "at": 0.5, "cancelled": True, "rule": Rule.DRAIN, "what": "a call was not drained", "now": 0.5,
    "direction": "sent", "results": (), "scenario": SCENARIOS[0], "tells": "a login", "name": "login", "play": None,
    "event": "login", "where": "jitter", "orders": (), "order_id": "1376695893517410304", "client_oid": "a7",
    "number": 7, "outcome": OUTCOME, "tracked_at": 1.5, "as_of": 2.0, "inst_type": InstType.SPOT, "filled": Decimal("0.5"),
    "average_price": Decimal("27000.5"), "updated_at": 1763958366000, "status_text": "canceled",
    "question": OneOrder(CancelOrder("BTCUSDT", order_id="1376695893517410304")),
    "method": "GET", "path": "/api/v2/public/time", "updates": (), "accepted": True,
    "place": "1795982145681383/1795982147935304", "request": RestRequest(method="POST", path="/api/v3/trade/cancel-order"),
    "disarmed": True, "seconds": 30, "timeout": 5.0,
}  # fmt: skip
"""Values of required fields, by name; for an enum its first member."""

EXCHANGE = ScriptedExchange([SAMPLES["order"]], credentials=KEY)
EXCHANGE.inject(None, Fault.LATE)
EXCHANGE.inject_login(Fault.SILENT)

MADE: dict[str, object] = {
    "Credentials": KEY, "SignedLogin": SAMPLES["login"], "Budget": Budget(10), "Codec": Codec(), "Connection": Connection(),
    "Session": Session(jitter=lambda: 0.5), "Reconciler": Reconciler(),
    "ExchangeConnection": ExchangeConnection(), "StrictConnection": StrictConnection(),
    "Lease": import_module("bitget_proto").Lease(Budget(10)),
    "DeadManSwitch": import_module("bitget_proto").DeadManSwitch(30),
    "StrictSession": StrictSession(jitter=lambda: 0.5),
    "Pair": Pair(), "SessionPair": SessionPair(), "VirtualClock": VirtualClock(), "CancelOrder": SAMPLES["order"],
    "Hangup": import_module("bitget_proto").Hangup(code=1000, reason="asked"),
    "LinkHangup": import_module("bitget_proto").LinkHangup(code=1000, reason="asked", link=1),
    "Transmit": import_module("bitget_proto").Transmit(text='{"op":"login"}', secret=True), "Scenario": SCENARIOS[0],
    "ScriptedExchange": EXCHANGE, "ScriptedLink": EXCHANGE.link(),
    "RestCodec": RestCodec(),
    "Trace": Trace('{"trace":1,"version":"0.1.0","core":"Session","engine":"stdlib","config":{},"budget":null}'),
}  # fmt: skip
"""Classes that are no plain values, or have a repr of their own."""

WITHOUT = {
    "Channel",
    "DriverUnderTest",
    "Guard",
    "Opener",
    "SessionChannel",
    "SessionDriverUnderTest",
}
"""A protocol, and classes that only a running transport instantiates."""


def public() -> Iterator[tuple[str, type[Any]]]:
    seen: set[type[Any]] = set()
    for module in map(import_module, MODULES):
        for name in module.__all__:
            found: object = getattr(module, name)
            if (
                isinstance(found, type)
                and not issubclass(found, (Enum, BaseException))
                and found not in seen
            ):
                kind = cast("type[Any]", found)
                seen.add(kind)
                yield f"{module.__name__}.{name}", kind


def made(kind: type[Any]) -> object:
    """An instance; a required field without a sample is a KeyError."""
    if kind.__name__ in MADE:
        return MADE[kind.__name__]
    given: dict[str, Any] = {}
    for field in attrs.fields(kind):
        if field.default is attrs.NOTHING:
            types = [field.type, *typing.get_args(field.type)]
            members = [
                next(iter(one)) for one in types if isinstance(one, type) and issubclass(one, Enum)
            ]
            given[field.name] = SAMPLES[field.name] if field.name in SAMPLES else members[0]
    return kind(**given)


def text() -> str:
    lines: list[str] = []
    for name, kind in public():
        if kind.__name__ not in WITHOUT:
            if attrs.has(kind):
                attrs.resolve_types(kind)
            lines.append(f"{name}\n    {made(kind)!r}\n")
    return f"How every public value shows itself. Made by {COMMAND}.\n\n" + "\n".join(lines)


def test_every_public_repr_is_that_of_the_file() -> None:
    assert text() == PAGE.read_text("utf-8"), f"tests/reprs.txt is out of date: run {COMMAND}"


def test_no_repr_shows_an_address_or_a_secret() -> None:
    assert not re.search(r"0x[0-9a-f]+|the-(key|secret|passphrase)", PAGE.read_text("utf-8"))


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
