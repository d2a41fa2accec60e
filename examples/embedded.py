"""What the examples do when they run: eight cancels on the embedded exchange.

Two of the orders have already ended. This is a minimal bot: it gets events and calls the
connection. It needs no keys and no network.
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
    """Return an exchange with six of the eight orders."""
    return ScriptedExchange(ORDERS[:6], credentials=KEY)


class Runnable(Protocol):
    """A driver."""

    def run(self) -> None:
        """Drive the connection until it is closed."""


def play(make: Callable[[Connection, str, Callable[[Event], object]], Runnable]) -> None:
    """Log in, cancel, close when every cancel has its outcome, and report the outcomes."""
    conn, outcomes = StrictConnection(), list[Outcome]()

    def on_event(event: Event) -> None:
        if isinstance(event, Ready):
            for order in ORDERS:
                conn.cancel(order, time.monotonic())  # the drain that called this sends it
        elif isinstance(event, (Accepted, Rejected, Unresolved)):
            outcomes.append(event)
            if len(outcomes) == len(ORDERS):
                conn.close(time.monotonic())

    with exchange_in_thread(exchange()) as server:
        make(conn, server.url, on_event).run()
    report(outcomes)


def report(outcomes: Iterable[Outcome]) -> None:
    """Print how many cancels got each outcome, and check the numbers."""
    tally = Counter(type(outcome).__name__ for outcome in outcomes)
    print(f"{tally.total()} cancels, one outcome each: {dict(tally)}")
    assert tally == {"Accepted": 6, "Rejected": 2}
