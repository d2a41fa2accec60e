"""Fuzz `decode`: no message raises, the engines agree, and no unnamed cancel is affected.

The same text is also a push and an answer of REST: nothing raises, and no unnamed order is settled.

    python tests/fuzz/decode.py tests/fuzz/corpus/decode -max_total_time=600 \
        -max_len=2048 -len_control=0

The corpus is kept, and the next run starts from it. A finding is written to a file `crash-…`;
`python tests/fuzz/decode.py crash-…` reproduces it.
"""

import json
import sys

import atheris

with atheris.instrument_imports(include=["bitget_proto"]):
    from order_shapes import settles_only_what_it_names

    from bitget_proto import (
        Budget,
        CancelOrder,
        Codec,
        Config,
        Connection,
        Credentials,
        Dialect,
        Engine,
        ErrorReply,
        Malformed,
        State,
        TradeReply,
        Wait,
        sign_login,
    )
    from bitget_proto._wire.exchange_codec import decode_request

CODECS = {dialect: [Codec(engine, dialect) for engine in Engine] for dialect in Dialect}
LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)
ORDERS = [CancelOrder("BTCUSDT", order_id=order_id) for order_id in ("1", "10")]
BATCH = "11"
"""The id of the batch: the first one that is made with the prefix below."""


def sent(codec: Codec, max_batch: int, ids: tuple[str, str]) -> Connection:
    """Return a connection whose two cancels have been sent."""
    config = Config(messages_per_second=None, max_batch=max_batch, id_prefix="1")
    connection = Connection(config, codec, Budget(None))
    connection.opened(0.0, login=LOGIN)
    drain(connection)
    for id, order in zip(ids, ORDERS, strict=True):
        connection.cancel(order, 0.0, id=id)
    connection.receive('{"event":"login","code":0}', 0.0)
    drain(connection)
    return connection


def drain(connection: Connection) -> None:
    while not isinstance(connection.poll(0.0), Wait):
        pass


def is_i_json(text: str) -> bool:
    """Return whether every parser must read the text alike (RFC 7493).

    Such a text has no duplicate key, no unpaired surrogate and no unsafe number.
    """

    def refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a duplicate key")
        return dict(pairs)

    def is_safe(value: object) -> bool:
        match value:
            case dict():
                return all(is_safe(key) and is_safe(item) for key, item in value.items())
            case list():
                return all(is_safe(item) for item in value)
            case str():
                return not any("\ud800" <= character <= "\udfff" for character in value)
            case bool() | None:
                return True
            case int():
                return abs(value) < 2**53
            case _:
                return abs(value) < float("inf")

    try:
        return is_safe(json.loads(text, object_pairs_hook=refuse_duplicates))
    except (ValueError, RecursionError):
        return False


def one_input(data: bytes) -> None:
    """Decode the message as each dialect with each engine, as bytes and as text.

    Then pass it to a connection with two cancels in flight, and to one with a batch of two.
    """
    for dialect, codecs in CODECS.items():
        read = [codec.decode(data) for codec in codecs]
        readable = [message for message in read if not isinstance(message, Malformed)]
        assert all(message == readable[0] for message in readable), read
        try:
            text = data.decode()
        except UnicodeDecodeError:
            assert not readable, read
            return
        assert [codec.decode(text) for codec in codecs] == read
        if is_i_json(text):
            assert all(message == read[0] for message in read), read
        decode_request(data, dialect=dialect)
        for status in (200, 400) if '"data"' in text else ():
            settles_only_what_it_names(text, dialect, status)
        named = read[0].id if isinstance(read[0], TradeReply | ErrorReply) else None

        connection = sent(codecs[0], 1, ("1", "10"))
        connection.receive(data, 1.0)
        for_cancel = isinstance(read[0], TradeReply | ErrorReply) and not read[0].not_for_cancel
        if connection.state is State.READY:
            left = 1 if named in ("1", "10") and for_cancel else 2
            assert connection.in_flight == left, read
        connection.lost(2.0)
        assert connection.in_flight == 0

    connection = sent(CODECS[Dialect.UNIFIED][0], 20, ("a", "b"))
    connection.receive(data, 1.0)
    for_batch = isinstance(read[0], TradeReply | ErrorReply) and read[0].for_batch
    if connection.state is State.READY:
        assert connection.in_flight == (0 if named == BATCH and for_batch else 2), read
    connection.lost(2.0)
    assert connection.in_flight == 0


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
