"""Error messages and details of a `Connection`, and cases that mutation testing found untested."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, cast

import pytest

from bitget_proto import (
    CancelOrder,
    Closed,
    Codec,
    Config,
    Connection,
    Engine,
    LocalProtocolError,
    Malformed,
    NoRoom,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    Wait,
    decode,
    encode_cancel,
    sign_login,
)

from .driving import LOGIN, ORDER, authenticating, draining, only, outputs, ready, texts, waits


def full_of_one(id: str = "one", config: Config | None = None) -> Connection:
    connection = ready(config)
    connection.cancel(ORDER, 0.0, id=id, timeout=5.0)
    outputs(connection, 0.0)
    return connection


def full() -> Connection:
    connection = ready(Config(max_in_flight=2, max_own_frames=1, messages_per_second=1))
    connection.cancel(ORDER, 0.0, id="sent")
    connection.cancel(ORDER, 0.0, id="waits")
    connection.send("x", 0.0)
    return connection


def late() -> Connection:
    connection = full_of_one("late")
    connection.handle_timeout(10.0)
    outputs(connection, 10.0)
    return connection


def with_own_frame() -> Connection:
    connection = ready()
    connection.send('{"op":"trade","args":[{"id":"own"}]}', 0.0)
    return connection


REFUSED: dict[
    str,
    tuple[Callable[[], Connection], Callable[[Connection], object], type[LocalProtocolError], str],
] = {
    "opened twice": (
        ready,
        lambda it: it.opened(1.0, login=LOGIN),
        LocalProtocolError,
        "opened was called before: create a new Connection for each WebSocket",
    ),
    "a login that is none": (
        Connection,
        lambda it: it.opened(1.0, login="me"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "login must be a SignedLogin; got 'me': pass sign_login(credentials, int(time.time()))",
    ),
    "a message that is none": (
        ready,
        lambda it: it.receive(7, 1.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "message must be str or bytes; got the int 7",
    ),
    "ids that are none": (
        ready,
        lambda it: it.lost(1.0, "", 7),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "unsent must be ids of cancels; got the int 7: leave out every id that may have been sent",
    ),
    "a cancel while closing": (
        draining,
        lambda it: it.cancel(ORDER, 1.0),
        LocalProtocolError,
        "the connection is closing and takes no more cancels: use another one",
    ),
    "a frame while closing": (
        draining,
        lambda it: it.send("x", 1.0),
        LocalProtocolError,
        "the connection is closing and takes no more frames: use another one",
    ),
    "an order that is none": (
        ready,
        lambda it: it.cancel("BTCUSDT", 1.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "order must be a CancelOrder; got 'BTCUSDT': pass CancelOrder('BTCUSDT', order_id=…)",
    ),
    "a cancel too many": (
        full,
        lambda it: it.cancel(ORDER, 1.0),
        NoRoom,
        "Config.max_in_flight is 2, and there is no room for one more: wait for outcomes and try again",
    ),
    "some cancels too many": (
        lambda: full_of_one(config=Config(max_in_flight=3)),
        lambda it: it.cancel_many([ORDER] * 7, 1.0),
        NoRoom,
        "Config.max_in_flight is 3, and there is room for 2 of these 7: wait for outcomes and try again",
    ),
    "orders that are none": (
        ready,
        lambda it: it.cancel_many(5, 1.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "orders must be an iterable of CancelOrder; got the int 5",
    ),
    "orders of which one is none": (
        ready,
        lambda it: it.cancel_many([ORDER, "BTCUSDT"], 1.0),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "order must be a CancelOrder; got 'BTCUSDT': pass CancelOrder('BTCUSDT', order_id=…)",
    ),
    "a frame too many": (
        full,
        lambda it: it.send("x", 1.0),
        NoRoom,
        "Config.max_own_frames (1) is reached: wait until one of your frames has been sent and try again",
    ),
    "a timeout that is none": (
        ready,
        lambda it: it.cancel(ORDER, 1.0, timeout=0),
        ValidationError,
        "timeout must be a number of seconds above 0 (math.inf or None for no limit); got the int 0",
    ),
    "an id in flight": (
        full_of_one,
        lambda it: it.cancel(ORDER, 1.0, id="one"),
        ValidationError,
        "the id 'one' is in flight: pass another id, or leave id out to have one generated",
    ),
    "an id whose answer may come": (
        late,
        lambda it: it.cancel(ORDER, 11.0, id="late"),
        ValidationError,
        (
            "the id 'late' was used for a cancel whose answer may still come: pass another id, or "
            "leave id out to have one generated"
        ),
    ),
    "an id of a frame of one's own": (
        with_own_frame,
        lambda it: it.cancel(ORDER, 1.0, id="own"),
        ValidationError,
        "the id 'own' was used for a frame of your own: pass another id, or leave id out to have one generated",
    ),
    "a frame with the id of a cancel": (
        full_of_one,
        lambda it: it.send('{"op":"trade","args":[{"id":"one"}]}', 1.0),
        ValidationError,
        "the id 'one' in this frame is in flight, so that its answer could be taken for the cancel's: use another id",
    ),
    "a frame with an id whose answer may come": (
        late,
        lambda it: it.send('{"op":"trade","args":[{"id":"late"}]}', 11.0),
        ValidationError,
        (
            "the id 'late' in this frame was used for a cancel whose answer may still come, so that its answer could be "
            "taken for the cancel's: use another id"
        ),
    ),
    "a way to close that there is not": (
        ready,
        lambda it: it.close(1.0, "later"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ValidationError,
        "queued must be 'drop' or 'send'; got 'later'",
    ),
    "a time to close that is none": (
        ready,
        lambda it: it.close(1.0, within=-1),
        ValidationError,
        "within must be a number of seconds above 0, or None; got the int -1",
    ),
    "an empty frame": (
        ready,
        lambda it: it.send("", 1.0),
        ValidationError,
        "text must be a string that is not empty; got ''",
    ),
    "a frame that cannot be written": (
        ready,
        lambda it: it.send("\ud800", 1.0),
        ValidationError,
        "text must be a string that can be encoded as UTF-8; got one with a lone surrogate: remove it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_message_says_what_came_what_is_allowed_and_what_to_do(case: str) -> None:
    made, call, kind, words = REFUSED[case]
    connection = made()
    with pytest.raises(LocalProtocolError) as caught:
        call(connection)
    assert type(caught.value) is kind
    assert str(caught.value) == words


def test_closed_explains_the_end_in_its_detail() -> None:
    unanswered = ready()
    unanswered.handle_timeout(30.0)
    unanswered.handle_timeout(40.0)
    assert [event.detail for event in only(Closed, outputs(unanswered, 40.0))] == [
        "no pong within 10.0 s of a ping"
    ]
    silent = full_of_one(config=Config(answer_timeout=60.0, silence_pong=0.5))
    silent.handle_timeout(3.0)
    assert texts(outputs(silent, 3.0)) == ["ping"]
    silent.handle_timeout(3.5)
    assert [event.detail for event in only(Closed, outputs(silent, 3.5))] == [
        "answers were due, and no message came within 0.5 s of a ping"
    ]
    mute = authenticating(Config(login_timeout=4.0))
    mute.handle_timeout(4.0)
    assert [event.detail for event in only(Closed, outputs(mute, 4.0))] == [
        "no answer to the login within 4.0 s"
    ]
    closing = draining(Config(drain_timeout=5.0, answer_timeout=60.0, silence=None))
    closing.handle_timeout(6.0)
    details = [event.detail for event in only(Closed, outputs(closing, 6.0))]
    assert details == ["answers were still due when the drain timeout expired"]


def test_the_given_codec_is_used() -> None:
    class Deaf(Codec):
        def decode(self, message: str | bytes, **limits: int | None) -> Malformed:
            return Malformed("not JSON", "")

    connection = Connection(codec=Deaf())
    connection.opened(0.0, login=LOGIN)
    outputs(connection, 0.0)
    connection.receive('{"event":"login","code":0}', 0.0)
    assert connection.state is State.AUTHENTICATING


def test_expired_cancels_do_not_cause_pacing() -> None:
    connection = Connection(Config(ping_interval=None))
    connection.cancel(ORDER, 0.0, timeout=1.0)
    connection.opened(0.0, login=LOGIN)
    outputs(connection, 0.0)
    connection.receive('{"event":"login","code":0}', 2.0)
    assert waits(connection, 2.0) == Wait(until=1.0, timer=Timer.REQUEST)
    connection.handle_timeout(2.0)
    (outcome,) = only(Unresolved, outputs(connection, 2.0))
    assert not outcome.sent


def test_bytes_are_reported_as_text() -> None:
    connection = ready()
    connection.receive(b'{"action":"snapshot"}', 0.0)
    connection.receive(b"\xff", 0.0)
    assert [event.text for event in only(Unrecognised, outputs(connection, 0.0))] == [
        '{"action":"snapshot"}',
        "\\xff",
    ]


def test_an_unexpected_pong_does_not_hide_an_unwritten_ping() -> None:
    connection = ready()
    connection.handle_timeout(30.0)
    assert texts(outputs(connection, 30.0)) == ["ping"]
    connection.receive("pong", 31.0)
    connection.handle_timeout(60.0)
    outputs(connection, 60.0, writable=False)
    connection.receive("pong", 61.0)
    connection.handle_timeout(70.0)
    assert connection.state is State.CLOSED


def test_the_counter_skips_ids_with_its_prefix_and_no_others() -> None:
    connection = ready()
    for id, following in (
        ("x", "bgproto1"),
        ("bgprotox1", "bgproto2"),
        ("bgproto7", "bgproto8"),
        ("bgproto007", "bgproto9"),
        ("bgproto", "bgproto10"),
        ("7", "bgproto11"),
        ("bgproto1234567890123456", "bgproto12"),
        ("bgproto123456789012345", "bgproto123456789012346"),
    ):
        connection.cancel(ORDER, 0.0, id=id)
        assert connection.cancel(ORDER, 0.0) == following


def test_decode_applies_its_limits() -> None:
    assert decode("[" * 9 + "]" * 9, max_depth=1) == Malformed("too deep", "[" * 9 + "]" * 9)
    assert decode("{  }", max_message=3) == Malformed("too large", "{  }")
    deep = "[" * 300 + "]" * 300
    assert decode(deep) == Malformed("too deep", deep[:100])
    assert decode(deep, max_depth=None) == Malformed("not an object", deep[:100])
    large = "{" + " " * 70_000 + "}"
    assert decode(large) == Malformed("too large", large[:100])
    assert not isinstance(decode(large, max_message=None), Malformed)


def test_only_a_login_is_secret() -> None:
    connection = Connection(Config(answer_timeout=None))
    connection.opened(0.0, login=LOGIN)
    login = connection.poll(0.0)
    assert isinstance(login, Transmit)
    assert login.secret
    connection.cancel(CancelOrder("BTCUSDT", "1"), 0.0, timeout=inf)
    connection.receive('{"event":"login","code":0}', 0.0)
    assert [output.secret for output in only(Transmit, outputs(connection, 0.0))] == [False]


def test_arguments_of_the_wrong_type_are_refused_by_the_constructor() -> None:
    calls: dict[str, Callable[[], object]] = {
        "config must be a Config, or None; got a value of type dict": lambda: Connection({}),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "codec must be a Codec, or None; got a value of type Engine": lambda: Connection(
            codec=Engine.STDLIB  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ),
        "budget must be a Budget, or None; got the int 10": lambda: Connection(budget=10),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    }
    for words, call in calls.items():
        with pytest.raises(ValidationError) as caught:
            call()
        assert str(caught.value) == words


def test_module_functions_refuse_invalid_orders_messages_and_keys() -> None:
    bad: Any = 5
    with pytest.raises(
        ValidationError, match=r"order must be a CancelOrder; got the int 5: pass CancelOrder\("
    ):
        encode_cancel(bad, "1")
    with pytest.raises(ValidationError, match="message must be str or bytes; got the int 5"):
        decode(bad)
    with pytest.raises(
        ValidationError,
        match=r"^credentials must be Credentials; got a value of type tuple: pass Credentials\(",
    ):
        sign_login(cast("Any", ("key", "hush", "passphrase")), 1)
