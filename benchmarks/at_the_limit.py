"""A thousand cancels with the default config, in virtual time, compared with the exchange's limit.

The exchange is `ScriptedExchange`, which counts in a strict sliding second. The time is from
`cancel_many` to the last outcome. The floor sends ten messages at the start of each second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.sides import Group, Side, Target, Turn
from bitget_proto import Accepted, CancelOrder, Config
from bitget_proto.testing import Pair, ScriptedExchange

_ORDERS = 1_000
_LEAST = f"{_ORDERS:,} messages, ten at once in each second"


def groups() -> Iterator[Group]:
    yield Group(name=f"{_ORDERS:,} orders at the exchange's limit", sides=_sides, rounds=0.02)


def _sides(_: ExitStack) -> list[Side]:
    limit = Config().messages_per_second or 1
    least = float((_ORDERS - 1) // limit)
    return [
        Side(name=_LEAST, turn=lambda count: Turn(least * count, 0.0)),
        Side(
            name="Connection, at the defaults",
            turn=_cancelled,
            floor=_LEAST,
            target=Target(1.08, 1.06),
        ),
    ]


def _cancelled(count: int) -> Turn:
    return Turn(sum(_seconds() for _ in range(count)), 0.0)


def _seconds() -> float:
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(_ORDERS)]
    pair = Pair(exchange=ScriptedExchange(orders))
    pair.open()
    began = pair.clock.now
    pair.cancel_many(orders)
    while len(pair.outcomes) < _ORDERS:
        pair.run(1.0)
    assert all(isinstance(outcome, Accepted) for outcome in pair.outcomes.values())
    return max(outcome.resolved_at for outcome in pair.outcomes.values()) - began
