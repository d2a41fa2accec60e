"""Drive the core over a real WebSocket, with the blocking client of the websockets library.

Use this in a script or in a thread of its own, without an event loop. It is a complete driver, and
it runs against the embedded exchange, so it needs no keys and no network. It is short because it
trusts its peer: a write that stalls also stalls timers and reading. Where that matters, use
`bitget_transports.blocking`, which passes the conformance kit.
"""

import time
from collections import Counter
from collections.abc import Iterable

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bitget_proto import (  # fmt: skip
    Accepted,
    CancelOrder,
    Closed,
    Connection,
    Credentials,
    Hangup,
    Outcome,
    Ready,
    Rejected,
    Transmit,
    Unresolved,
    Wait,
    sign_login,
)
from bitget_proto.testing import ScriptedExchange, StrictConnection
from bitget_transports.exchange import exchange_in_thread


def cancel_all(
    conn: Connection, socket: ClientConnection, key: Credentials, orders: Iterable[CancelOrder]
) -> list[Outcome]:
    """Log in, cancel, wait for the outcomes, and close, following the rules of docs/driver.md."""
    outcomes: list[Outcome] = []
    waiting = set[str]()

    def drain() -> float | None:
        """Poll until `Wait`. Return when to wake up, or None when the connection has ended."""
        while True:
            match conn.poll(time.monotonic()):
                case Transmit(text=text):
                    socket.send(text)
                case Ready():
                    waiting.update(conn.cancel(order, time.monotonic()) for order in orders)
                case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id) as outcome:
                    outcomes.append(outcome)
                    waiting.discard(id)
                    if not waiting:
                        conn.close(time.monotonic())
                case Hangup(code=code, reason=reason):
                    socket.close(code, reason)
                case Closed():
                    return None
                case Wait(until=until):
                    return time.monotonic() + 60.0 if until is None else until
                case event:
                    print("event:", event)

    try:
        conn.opened(time.monotonic(), login=sign_login(key, int(time.time())))
        while (until := drain()) is not None:
            try:
                message = socket.recv(timeout=max(0.0, until - time.monotonic()))
            except TimeoutError:
                conn.handle_timeout(max(time.monotonic(), until))
            else:
                conn.receive(message, time.monotonic())
    except (ConnectionClosed, OSError) as error:
        conn.lost(time.monotonic(), str(error))
        drain()
    return outcomes


def main() -> None:
    """Cancel twenty orders, four of which have already ended."""
    key = Credentials("key", "secret", "passphrase")
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(20)]
    with (
        exchange_in_thread(ScriptedExchange(orders[:16], credentials=key)) as server,
        connect(server.url, ping_interval=None, proxy=None) as socket,
    ):
        outcomes = cancel_all(StrictConnection(), socket, key, orders)
    tally = Counter(type(outcome).__name__ for outcome in outcomes)
    print(f"{len(outcomes)} cancels over a WebSocket, one outcome each: {dict(tally)}")
    assert tally == {"Accepted": 16, "Rejected": 4}


if __name__ == "__main__":
    main()
