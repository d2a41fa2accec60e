"""Scenarios in which the user's own frames share the socket and ids collide."""

from __future__ import annotations

import json
import random
from contextlib import suppress

from tests.chaos.days import judges
from tests.chaos.days.day import Record, Scenario, connected, started

from bitget_proto import CancelOrder, LocalProtocolError
from bitget_proto.testing import Fault, Pair, ScriptedExchange, SessionPair

_REMEMBERED = 1024
"""Number of ids of own trade frames that the client remembers."""


def _placement(id: str, client_oid: str) -> str:
    params = {
        "orderType": "limit", "side": "buy", "size": "0.01", "price": "27000", "force": "gtc", "clientOid": client_oid,
    }  # fmt: skip
    arg = {
        "id": id,
        "instType": "SPOT",
        "instId": "BTCUSDT",
        "channel": "place-order",
        "params": params,
    }
    return json.dumps({"op": "trade", "args": [arg]})


def _cancel(
    record: Record, pair: Pair | SessionPair, client_oid: str, id: str | None = None
) -> bool:
    """Cancel by the client's id; return whether the cancel was taken."""
    order = CancelOrder("BTCUSDT", client_oid=client_oid)
    try:
        taken = pair.cancel(order, id)
    except LocalProtocolError:
        return False
    record.take(taken, order, pair.clock.now)
    return True


def _collide(
    record: Record, exchange: ScriptedExchange, pair: Pair | SessionPair, chance: random.Random
) -> Record:
    """Place and cancel with the same ids.

    A placement is accepted where the cancel is refused and vice versa, so a mistaken answer shows.
    """
    ids = [f"mine-{number}" for number in range(120)]
    # Half of them are live already: placing them is refused (40786), cancelling is accepted.
    for client_oid in ids[::2]:
        exchange.place(CancelOrder("BTCUSDT", f"7{client_oid[5:]}", client_oid))
    exchange.slow_down(0.6)
    for number, client_oid in enumerate(ids):
        # The id that the client generates next, the clientOid, and an id as other clients use.
        for id in (f"bgproto{number + 1}", client_oid, str(number)):
            # Refused when a cancel in flight has the id.
            with suppress(LocalProtocolError):
                pair.send(_placement(id, client_oid if id == client_oid else f"{client_oid}-{id}"))
        exchange.inject(chance.choice((None, None, Fault.DUPLICATE, Fault.LATE)))
        # The id of the placement; when it is refused, a generated id.
        if not _cancel(record, pair, client_oid, id=client_oid):
            _cancel(record, pair, client_oid)
        pair.run(0.3 * chance.random())
    pair.run(60.0)
    # After these placements the client has forgotten the first ids and accepts them for cancels. A
    # second answer to such a placement overtakes the answer to the cancel.
    exchange.slow_down(0.0)
    for number in range(_REMEMBERED + 30):
        pair.send(_placement(f"forgotten-{number}", f"forgotten-{number}"))
        pair.run(0.12)
    for number in range(10):
        _cancel(record, pair, f"nothing-{number}", id=f"forgotten-{number}")
        pair.say(_answer(f"forgotten-{number}"))
        _cancel(record, pair, f"forgotten-{number}", id=f"other-{number}")
        pair.run(0.3)
    pair.run(60.0)
    return record.end(exchange)


def _answer(id: str) -> str:
    """Return a second answer to a placement, whose id a cancel has meanwhile."""
    arg = {
        "id": id, "instType": "SPOT", "channel": "place-order", "instId": "BTCUSDT", "params": {"orderId": "1"},
    }  # fmt: skip
    return json.dumps(
        {"event": "trade", "arg": [arg], "code": 0, "msg": "Success", "ts": 1763958928351}
    )


def _with_connection(chance: random.Random) -> Record:
    record = Record()
    exchange = record.exchange()
    return _collide(record, exchange, connected(record, exchange), chance)


def _with_session(chance: random.Random) -> Record:
    record = Record()
    exchange = record.exchange()
    return _collide(record, exchange, started(record, exchange, chance), chance)


_JUDGES = (judges.honest, judges.answers_match, judges.all_arrived, judges.within_limits)

SCENARIOS = (
    Scenario(
        "ids-connection",
        "own place-order frames with ids of cancels, late and double answers: no mismatch",
        _with_connection,
        _JUDGES,
    ),
    Scenario(
        "ids-session",
        "own place-order frames with ids of cancels, late and double answers: no mismatch",
        _with_session,
        _JUDGES,
    ),
)
