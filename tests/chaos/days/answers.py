"""Days on which the user's own frames share the socket, and ids collide."""

from __future__ import annotations

import json
import random
from contextlib import suppress

from tests.chaos.days import judges
from tests.chaos.days.day import Day, Row, connected, started

from bitget_proto import CancelOrder, LocalProtocolError
from bitget_proto.testing import Fault, Pair, ScriptedExchange, SessionPair

_REMEMBERED = 1024
"""How many ids of own trade frames the client remembers."""


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


def _cancel(day: Day, pair: Pair | SessionPair, client_oid: str, id: str | None = None) -> bool:
    """Cancel by the client's id; whether it was taken."""
    order = CancelOrder("BTCUSDT", client_oid=client_oid)
    try:
        taken = pair.cancel(order, id)
    except LocalProtocolError:
        return False
    day.take(taken, order, pair.clock.now)
    return True


def _collide(
    day: Day, exchange: ScriptedExchange, pair: Pair | SessionPair, chance: random.Random
) -> Day:
    """Placements are accepted where cancels are refused and the other way round, so that an answer taken for another shows."""
    ids = [f"mine-{number}" for number in range(120)]
    # Half of them are live already: to place them is refused (40786), to cancel them is accepted.
    for client_oid in ids[::2]:
        exchange.place(CancelOrder("BTCUSDT", f"7{client_oid[5:]}", client_oid))
    exchange.slow_down(0.6)
    for number, client_oid in enumerate(ids):
        # The id of a cancel that the client makes next, the clientOid, and ids that other clients make.
        for id in (f"bgproto{number + 1}", client_oid, str(number)):
            # Refused where a cancel has the id.
            with suppress(LocalProtocolError):
                pair.send(_placement(id, client_oid if id == client_oid else f"{client_oid}-{id}"))
        exchange.inject(chance.choice((None, None, Fault.DUPLICATE, Fault.LATE)))
        # The same id, chosen for placing and for cancelling; where that is refused, one that is generated.
        if not _cancel(day, pair, client_oid, id=client_oid):
            _cancel(day, pair, client_oid)
        pair.run(0.3 * chance.random())
    pair.run(60.0)
    # So many placements later the client has forgotten the first ids, and takes them for cancels. A second answer to such a
    # placement overtakes the cancel.
    exchange.slow_down(0.0)
    for number in range(_REMEMBERED + 30):
        pair.send(_placement(f"forgotten-{number}", f"forgotten-{number}"))
        pair.run(0.12)
    for number in range(10):
        _cancel(day, pair, f"nothing-{number}", id=f"forgotten-{number}")
        pair.say(_answer(f"forgotten-{number}"))
        _cancel(day, pair, f"forgotten-{number}", id=f"other-{number}")
        pair.run(0.3)
    pair.run(60.0)
    return day.end(exchange)


def _answer(id: str) -> str:
    """A second answer to a placement, after its id was taken for a cancel."""
    arg = {
        "id": id, "instType": "SPOT", "channel": "place-order", "instId": "BTCUSDT", "params": {"orderId": "1"},
    }  # fmt: skip
    return json.dumps(
        {"event": "trade", "arg": [arg], "code": 0, "msg": "Success", "ts": 1763958928351}
    )


def _on_a_connection(chance: random.Random) -> Day:
    day = Day()
    exchange = day.exchange()
    return _collide(day, exchange, connected(day, exchange), chance)


def _in_a_session(chance: random.Random) -> Day:
    day = Day()
    exchange = day.exchange()
    return _collide(day, exchange, started(day, exchange, chance), chance)


_JUDGES = (judges.honest, judges.no_answer_for_another, judges.none_unsent, judges.in_the_limits)

ROWS = (
    Row(
        "ids-connection",
        "own place-order frames with ids of cancels, late and double answers: none is mistaken",
        _on_a_connection,
        _JUDGES,
    ),
    Row(
        "ids-session",
        "own place-order frames with ids of cancels, late and double answers: none is mistaken",
        _in_a_session,
        _JUDGES,
    ),
)
