"""What a push or an answer of REST may do to a reconciler, whatever it looks like.

The oracle reads the JSON by itself: an order may be settled only by an object in it that has the id
of the order and a status that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    Codec,
    Dialect,
    Filled,
    Final,
    InstType,
    LookUp,
    OrdersPush,
    Reconciler,
    ReconcilerConfig,
    RestCodec,
    StillOpen,
    Unknown,
    Wait,
    WhyUnknown,
)

ORDERS = [
    CancelOrder("BTCUSDT", "1", inst_type=InstType.SPOT),
    *(CancelOrder("BTCUSDT", str(number), inst_type=InstType.SPOT) for number in range(10, 15)),
]
BY_CLIENT_OID = CancelOrder("BTCUSDT", client_oid="mine", inst_type=InstType.USDT_FUTURES)
STATUSES: dict[type[Any], set[str]] = {
    Cancelled: {"cancelled", "canceled"},
    Filled: {"filled"},
    StillOpen: {"init", "new", "live", "partially_filled"},
}
CODECS = {dialect: (Codec(dialect=dialect), RestCodec(dialect)) for dialect in Dialect}
ASKED_AT, LATE = 3.0, 100.0


def statuses(data: str | bytes) -> set[tuple[str, str]]:
    """Return each id in a JSON text with each status that stands beside it."""
    found: set[tuple[str, str]] = set()
    try:
        rest: list[Any] = [json.loads(data)]
    except (ValueError, RecursionError):
        return found
    while rest:
        item: Any = rest.pop()
        if isinstance(item, list):
            rest += item
        elif isinstance(item, dict):
            rest += item.values()
            ids = [item.get(key) for key in ("orderId", "clientOid")]
            words = [item.get(key) for key in ("status", "state", "orderStatus")]
            found |= {
                (id, word)
                for id in ids
                for word in words
                if isinstance(id, str) and isinstance(word, str)
            }
    return found


def drained(rec: Reconciler, now: float) -> tuple[list[LookUp], list[Final]]:
    asked: list[LookUp] = []
    finals: list[Final] = []
    while not isinstance(output := rec.poll(now), Wait):
        if isinstance(output, LookUp):
            asked.append(output)
        else:
            finals.append(output)
    return asked, finals


def reconcilers() -> Iterator[tuple[Reconciler, list[LookUp]]]:
    """Yield reconcilers with their look-ups: of one order, of one by its `client_oid`, of pages."""
    for orders in ([ORDERS[0]], [BY_CLIENT_OID], ORDERS):
        rec = Reconciler(ReconcilerConfig(client_oids_unique=True))
        rec.up(0.0)
        for order in orders:
            rec.track(Accepted("a", order, 0.0, 0.0, 0.0, exchange_ts=None), 0.0)
        asked, finals = drained(rec, ASKED_AT)
        assert asked
        assert not finals
        yield rec, asked


def check(rec: Reconciler, tracked: int, data: str | bytes) -> set[type[Final]]:
    """Check what was settled, and that the deadline settles the rest."""
    _, finals = drained(rec, ASKED_AT)
    said = statuses(data)
    for final in finals:
        words = {word for id, word in said if id in (final.order_id, final.client_oid)}
        assert words & STATUSES.get(type(final), set()), (final, data)
    rec.handle_timeout(LATE)
    _, rest = drained(rec, LATE)
    assert all(isinstance(final, Unknown) for final in rest)
    assert all(final.why is WhyUnknown.DEADLINE for final in rest if isinstance(final, Unknown))
    assert len({final.number for final in finals + rest}) == len(finals + rest) == tracked
    return {type(final) for final in finals}


def settles_only_what_it_names(
    data: str | bytes, dialect: Dialect, status: int = 200
) -> set[type[Final]]:
    """Pass a text as a push and as the answer to each question; return what was settled."""
    codec, rest = CODECS[dialect]
    kinds: set[type[Final]] = set()
    message = codec.decode(data)
    if isinstance(message, OrdersPush):
        for rec, _ in reconcilers():
            tracked = rec.tracked
            for update in message.updates:
                rec.pushed(update, ASKED_AT)
            pushed = check(rec, tracked, data)
            assert StillOpen not in pushed, data
            kinds |= pushed
    for rec, asked in reconcilers():
        tracked = rec.tracked
        for look_up in asked:
            reply = rest.read_look_up(look_up.question, status, data)
            rec.looked_up(look_up.number, reply, ASKED_AT)
        found = check(rec, tracked, data)
        assert status == 200 or not found, data
        kinds |= found
    return kinds
