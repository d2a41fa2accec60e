"""What the examples do when they are run: eight cancels at the embedded exchange, two of them of orders that have ended.

Take this as the smallest bot there is: it is told events, and gives commands back. It needs no keys and no network.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from bitget_proto import (
    Accepted,
    CancelOrder,
    Connection,
    Credentials,
    Event,
    Outcome,
    Ready,
    Rejected,
    Unresolved,
)
from bitget_proto.testing import ScriptedExchange, StrictConnection
from bitget_transports.exchange import exchange_in_thread

KEY = Credentials("key", "secret", "passphrase")
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(8)]


def exchange() -> ScriptedExchange:
    """It holds six of the eight orders."""
    return ScriptedExchange(ORDERS[:6], credentials=KEY)


class Runs(Protocol):
    """A driver."""

    def run(self) -> None:
        """Drive the connection until it is closed."""


def play(make: Callable[[Connection, str, Callable[[Event], object]], Runs]) -> None:
    """Log in, cancel, close when every cancel has its outcome; say what became of them."""
    conn, outcomes = StrictConnection(), list[Outcome]()

    def tell(event: Event) -> None:
        if isinstance(event, Ready):
            for order in ORDERS:
                conn.cancel(order, time.monotonic())  # the drain that told the event goes on
        elif isinstance(event, (Accepted, Rejected, Unresolved)):
            outcomes.append(event)
            if len(outcomes) == len(ORDERS):
                conn.close(time.monotonic())

    with exchange_in_thread(exchange()) as server:
        make(conn, server.url, tell).run()
    report(outcomes)


def report(outcomes: Iterable[Outcome]) -> None:
    """Say what became of the cancels, and see that it is right."""
    tally = Counter(type(outcome).__name__ for outcome in outcomes)
    print(f"{tally.total()} cancels, one outcome each: {dict(tally)}")
    assert tally == {"Accepted": 6, "Rejected": 2}
