"""Fuzz `Connection` with any inputs and commands in any order, at any time.

    python tests/fuzz/connection.py tests/fuzz/corpus/connection -max_total_time=600 \
        -max_len=512 -len_control=0

Each byte chooses what happens next. An independent ledger checks that every cancel that was taken
has exactly one outcome.
"""

import json
import sys
from math import inf

import atheris

with atheris.instrument_imports(include=["bitget_proto"]):
    from bitget_proto import (
        Accepted,
        Budget,
        CancelOrder,
        Closed,
        Codec,
        Config,
        Connection,
        Credentials,
        Dialect,
        LocalProtocolError,
        Rejected,
        State,
        Transmit,
        Unresolved,
        Wait,
        sign_login,
    )

LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)
ORDERS = [
    *(CancelOrder("BTCUSDT", order_id=str(number)) for number in range(4)),
    CancelOrder("BTCUSDT", client_oid="4"),
]
CODECS = [Codec(dialect=dialect) for dialect in Dialect]
MESSAGES = [
    '{"event":"login","code":0}',
    '{"event":"login","code":"30011"}',
    "pong",
    '{"event":"error","code":30004}',
    '{"event":"error","code":30006}',
    '{"event":"error","code":30007}',
    '{"event":"error","code":30033}',
    '{"event":"error","code":40808}',
    '{"event":"trade","arg":[],"code":0}',
    '{"event":"trade","arg":[{"id":"1"},{"id":"2"}],"code":0}',
    "{",
    b"\xff",
]
REPLY = '{{"event":"{}","arg":[{{"id":"{}"}}],"code":{}}}'
CODES = ["0", "43001", "40010", "true", "null", '"00000"', "1.5"]
TIMEOUTS = [None, 0.5, 3.0, inf]
QUEUE_TIMEOUT = 150.0


class Ledger:
    """The cancels that were taken, handed out and resolved, seen from outside."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.taken: dict[str, float] = {}
        self.handed_out: dict[str, float] = {}
        self.unsent: set[str] = set()
        self.resolved: set[str] = set()
        self.batches: dict[str, tuple[str, ...]] = {}
        """The ids of the cancels of each batch, by the id of the batch."""
        self.closed = False

    def drain(self, now: float, writable: bool) -> float | None:
        while True:
            output = self.connection.poll(now, writable)
            assert not self.closed or output == Wait(until=None, timer=None), output
            match output:
                case Wait(until=until):
                    assert self.connection.in_flight == len(self.taken) - len(self.resolved)
                    return until
                case Transmit(text=text, ids=ids) if ids:
                    assert writable
                    if len(ids) > 1:
                        self.batches[json.loads(text)["id"]] = ids
                    for id in ids:
                        assert id not in self.handed_out
                        assert now < self.taken[id], "handed out after its deadline"
                        self.handed_out[id] = now
                case Accepted(id=id) | Rejected(id=id):
                    assert id in self.handed_out
                    self.resolve(id)
                case Unresolved(id=id, sent=sent):
                    assert sent == (id in self.handed_out and id not in self.unsent), output
                    self.resolve(id)
                case Closed():
                    self.closed = True
                    assert self.resolved == set(self.taken)
                case _:
                    pass

    def take_back(self, unsent: list[str]) -> None:
        """Note that these, and all of their batches, were not written."""
        self.unsent.update(unsent)
        for ids in self.batches.values():
            if set(ids) & (set(unsent) - self.resolved):
                self.unsent.update(ids)

    def resolve(self, id: str) -> None:
        assert id in self.taken
        assert id not in self.resolved, "a second outcome"
        self.resolved.add(id)


def one_input(data: bytes) -> None:
    """Run the inputs and commands that the bytes choose."""
    choose = atheris.FuzzedDataProvider(data)
    config = Config(
        messages_per_second=choose.PickValueInList([None, 1, 10]),
        ping_interval=choose.PickValueInList([None, 4.0, 30.0]),
        max_in_flight=choose.PickValueInList([1, 5, 1000]),
        late_ids=choose.PickValueInList([1, 1024]),
        drain_timeout=choose.PickValueInList([None, 5.0]),
        max_batch=choose.PickValueInList([1, 2, None]),
    )
    budget = Budget(
        choose.PickValueInList([None, 0, 2]),
        batches_per_second=choose.PickValueInList([None, 0, 1]),
    )
    connection = Connection(config, choose.PickValueInList(CODECS), budget)
    ledger = Ledger(connection)
    now, until = 0.0, None
    while choose.remaining_bytes():
        writable = choose.ConsumeIntInRange(0, 7) > 0
        try:
            match choose.ConsumeIntInRange(0, 17):
                case 0:
                    connection.opened(now, login=LOGIN)
                case 1 | 2 | 3:
                    connection.receive(choose.PickValueInList(MESSAGES), now)
                case 4 | 5 | 6:
                    id = str(choose.ConsumeIntInRange(1, 12))
                    event = choose.PickValueInList(["trade", "error"])
                    connection.receive(REPLY.format(event, id, choose.PickValueInList(CODES)), now)
                case 7:
                    connection.handle_timeout(now)
                case 8 if until is not None:
                    now = max(now, until)
                    connection.handle_timeout(now)
                case 9:
                    now += choose.PickValueInList([0.001, 0.999, 1.0, 7.0, 30.0])
                case 10 | 11 | 12 | 13:
                    timeout = choose.PickValueInList(TIMEOUTS)
                    id = choose.PickValueInList([None, "1", "2", "x"])
                    room = connection.capacity
                    taken = connection.cancel(choose.PickValueInList(ORDERS), now, id, timeout)
                    assert room > 0
                    assert taken not in ledger.taken or taken in ledger.resolved
                    if taken in ledger.taken:  # an id can be reused after its outcome
                        ledger.resolved.discard(taken)
                        ledger.handed_out.pop(taken, None)
                        ledger.unsent.discard(taken)
                    seconds = QUEUE_TIMEOUT if timeout is None else min(timeout, QUEUE_TIMEOUT)
                    ledger.taken[taken] = now + seconds
                case 16:
                    orders = ORDERS[choose.ConsumeIntInRange(0, 4) :]
                    room = connection.capacity
                    for id in connection.cancel_many(orders, now):
                        assert id not in ledger.taken
                        ledger.taken[id] = now + QUEUE_TIMEOUT
                    assert room >= len(orders)
                case 17 if ledger.batches:
                    id = choose.PickValueInList([*ledger.batches])
                    items = [
                        {"orderId": str(choose.ConsumeIntInRange(0, 4)), "code": code}
                        for code in CODES[: choose.ConsumeIntInRange(0, 6)]
                    ]
                    code = choose.PickValueInList(["0", "0", "25204", "25000"])
                    answer = {"event": "trade", "id": id, "code": code, "args": items}
                    connection.receive(json.dumps(answer), now)
                case 14:
                    connection.send("x", now) if choose.ConsumeBool() else connection.close(now)
                case 15 if choose.ConsumeIntInRange(0, 3) == 0:
                    unsent = [id for id in ("1", "x") if choose.ConsumeBool()]
                    if connection.state is not State.CLOSED:
                        ledger.take_back(unsent)
                    connection.lost(now, "reset", unsent)
                case _:
                    pass
        except LocalProtocolError:
            pass
        until = ledger.drain(now, writable)
    if connection.state is not State.CLOSED:
        connection.lost(now)
        ledger.drain(now, writable=True)
    assert ledger.closed
    assert connection.in_flight == 0


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
