"""Regression tests."""

from __future__ import annotations

import copy
import pickle
from enum import Enum
from math import inf, nan
from typing import Any

import pytest

from bitget_proto import (
    Budget,
    CancelOrder,
    Closed,
    Codec,
    Config,
    Connection,
    Credentials,
    Dialect,
    Engine,
    LocalProtocolError,
    LoginReply,
    Malformed,
    Ready,
    State,
    Timer,
    Transmit,
    Unresolved,
    ValidationError,
    Wait,
    WhyClosed,
    decode,
    sign_login,
)
from bitget_proto._machine.deadlines import finite_time
from bitget_proto._wire.exchange_codec import decode_request
from bitget_proto._wire.requests import BadRequest

from .driving import LOGIN, ORDER, only, outputs, ready, reply, texts


class Text(str):
    """A subclass of str."""

    __slots__ = ()


class Name(str, Enum):  # noqa: UP042 - the case under test
    """An enum whose f-string is not its value."""

    DESK = "desk"


@pytest.mark.parametrize("engine", Engine)
def test_a_text_of_a_string_subclass_is_read(engine: Engine) -> None:
    assert Codec(engine).decode(Text('{"event":"login"}')) == LoginReply(None, "")


def test_a_prefix_of_a_string_subclass_is_used_by_value() -> None:
    config = Config(id_prefix=Name.DESK)
    assert type(config.id_prefix) is str
    assert Connection(config).cancel(ORDER, 0.0) == "desk1"


def test_a_bad_prefix_is_reported_as_id_prefix() -> None:
    with pytest.raises(
        ValidationError, match=r"id_prefix must be at most 20 of the characters .* got 'ü'"
    ):
        Config(id_prefix="ü")
    with pytest.raises(ValidationError, match=r"id_prefix must be at most 20 .* got None"):
        Config(id_prefix=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [nan, inf, None])
def test_a_budget_refuses_a_time_that_is_not_finite_and_is_unchanged(bad: Any) -> None:
    budget = Budget(1)
    budget.grant(1, inf, 0.0)
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        budget.debit(2, bad)
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        budget.grant(2, inf, bad)
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        budget.pause(bad)
    assert repr(budget) == "Budget(per_second=1, granted=1)"
    assert budget.allowed_at(0.0) <= 0.0


@pytest.mark.parametrize(
    "message", ['{"op":"login","args":[{"passphrase":"hush"}', b'\xff"hush"', "[" * 40 + "hush"]
)
def test_an_invalid_login_is_not_shown(message: str | bytes) -> None:
    request = decode_request(message)
    assert isinstance(request, Malformed)
    assert request.excerpt == ""
    assert "hush" not in repr(request)


def test_only_a_frame_without_secrets_can_be_pickled() -> None:
    with pytest.raises(TypeError, match="holds secrets and cannot be pickled"):
        pickle.dumps(Transmit(text="hush", secret=True))
    ping = Transmit(text="ping")
    assert pickle.loads(pickle.dumps(ping)) == copy.deepcopy(ping) == ping


def test_credentials_have_no_state_to_copy_and_cannot_be_initialized_again() -> None:
    credentials = Credentials("key", "hush", "passphrase")
    with pytest.raises(TypeError, match="holds secrets"):
        credentials.__getstate__()
    with pytest.raises(AttributeError, match="does not change"):
        credentials.__init__("other", "other", "other")  # type: ignore[misc]
    assert credentials.api_key == "key"


def test_a_private_key_of_an_unsupported_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    def unsupported(*_: object, **__: object) -> None:
        raise UnsupportedAlgorithm("hush")

    monkeypatch.setattr(serialization, "load_pem_private_key", unsupported)
    with pytest.raises(ValidationError, match="cannot be read as one") as caught:
        sign_login(Credentials("key", "-----BEGIN PRIVATE KEY-----", "passphrase"), 1)
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "message",
    [b"\xff" * 70_000, b"\xff" * 300, "é".encode() * 300, "x" * 300],
    ids=["wild", "wild too", "accents", "text"],
)
def test_an_excerpt_has_at_most_a_hundred_whole_characters(
    message: str | bytes,
) -> None:
    frame = decode(message)
    assert isinstance(frame, Malformed)
    assert len(frame.excerpt) == 100
    assert "\\xc3" not in frame.excerpt


def test_an_integer_beyond_every_float_is_refused_as_a_time() -> None:
    with pytest.raises(ValidationError, match="answer_timeout must be a finite number"):
        Config(answer_timeout=10**400)
    connection = ready()
    with pytest.raises(ValidationError, match="timeout must be a number of seconds"):
        connection.cancel(ORDER, 0.0, timeout=10**400)
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        connection.poll(10**400)
    assert finite_time(3, -inf) == 3.0


def test_a_time_that_only_looks_like_a_number_is_refused() -> None:
    from decimal import Decimal

    bad: Any = Decimal(1)
    connection = Connection()
    with pytest.raises(
        LocalProtocolError, match=r"now must be a finite number .* got a value of type Decimal"
    ):
        connection.opened(bad, login=LOGIN)
    assert connection._now == Connection()._now


@pytest.mark.parametrize("engine", ["nonsense", None, []])
def test_an_unknown_engine_is_refused(engine: Any) -> None:
    with pytest.raises(
        ValidationError,
        match="engine must be an Engine, or one of the names 'stdlib', 'msgspec', 'orjson'; got",
    ):
        Codec(engine)


def test_an_engine_may_be_chosen_by_its_name() -> None:
    assert [Codec(engine.value).engine for engine in Engine] == list(Engine)
    assert Codec("msgspec").decode("pong") == decode("pong")


def test_immutable_outputs_can_be_hashed() -> None:
    assert (
        len(
            {
                Ready(),
                Ready(),
                Closed(why=WhyClosed.LOST, detail=""),
                Closed(why=WhyClosed.LOST, detail=""),
            }
        )
        == 2
    )


def test_a_returned_wait_is_not_shared_with_the_connection() -> None:
    connection = ready()
    wait = connection.poll(1.0)
    assert isinstance(wait, Wait)
    wait.until = 99.0
    assert connection.poll(1.0) == Wait(until=30.0, timer=Timer.PING)
    assert connection.poll(1.0) is not connection.poll(1.0)


@pytest.mark.parametrize(
    ("dialect", "text", "reason"),
    [
        ("classic", '"args":[null]', "not an object @ $.args[0]"),
        ("classic", '"args":[["1"]]', "not an object @ $.args[0]"),
        (
            "classic",
            '"args":[{"id":"1","instType":"SPOT","instId":"B","channel":"cancel-order","params":null}]',
            "not an object @ $.args[0].params",
        ),
        ("unified", '"id":"1","topic":"cancel-order","args":["1"]', "not an object @ $.args[0]"),
        ("unified", '"id":"1","topic":"cancel-order","args":5', "not a list @ $.args"),
        (
            "unified",
            '"id":"1","topic":"batch-cancel","args":{"orderId":"1"}',
            "not a list @ $.args",
        ),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_request_of_another_shape_is_refused_without_words_of_python(
    dialect: str, text: str, reason: str, lenient: bool
) -> None:
    request = decode_request(f'{{"op":"trade",{text}}}', dialect=Dialect(dialect), lenient=lenient)
    assert isinstance(request, BadRequest)
    assert (request.code, request.message) == ("30016", reason)


def test_a_lenient_exchange_says_which_part_is_missing() -> None:
    request = decode_request('{"op":"trade","args":[{"id":"1","instType":"SPOT"}]}', lenient=True)
    assert isinstance(request, BadRequest)
    assert "missing @ $.args[0].params" in request.message


def test_a_bad_request_is_reported_with_the_names_of_the_wire() -> None:
    request = decode_request(
        '{"op":"trade","args":[{"id":"1","instType":7,"more":1,"params":{"orderId":"1"}}]}'
    )
    assert isinstance(request, BadRequest)
    assert request.message == (
        "not a product line @ $.args[0].instType; missing @ $.args[0].instId; missing @ $.args[0].channel; "
        "unknown: more @ $.args[0]"
    )
    for args in ("null", "1", '{"id":"1"}'):
        request = decode_request(f'{{"op":"trade","args":{args}}}')
        assert isinstance(request, BadRequest)
        assert request.message == "args must hold exactly one object; got 0"
    login = decode_request('{"op":"login","args":[{"apiKey":"k","hush":1}]}')
    assert isinstance(login, BadRequest)
    assert "_Login" not in login.message


def test_any_refused_value_can_be_shown() -> None:
    class Odd(int):
        def __repr__(self) -> str:
            raise RuntimeError

    bad: Any = Odd(3)
    with pytest.raises(ValidationError, match=r"order_id must be .* got a value of type Odd"):
        CancelOrder("BTCUSDT", order_id=bad)
    with pytest.raises(ValidationError, match=r"got \"it's x+\"… \(104 characters\)"):
        CancelOrder("it's " + "x" * 99, order_id="1")


@pytest.mark.parametrize(
    "unsent",
    [None, 7, ["1", ["2"]], ["1", 3]],
    ids=["none", "a number", "a list in it", "a number in it"],
)
def test_lost_refuses_unsent_that_are_no_ids_and_changes_nothing(unsent: Any) -> None:
    connection = ready()
    connection.cancel(ORDER, 1.0, id="1")
    outputs(connection, 1.0)
    with pytest.raises(ValidationError, match="unsent must be ids of cancels"):
        connection.lost(2.0, "", unsent)
    assert connection._in_flight.sent["1"].sent_at == 1.0
    assert connection.state is State.READY
    connection.lost(2.0)
    (outcome,) = only(Unresolved, outputs(connection, 2.0))
    assert outcome.sent


def pinged_twice(*, writable: bool) -> Connection:
    """Ping 1 was sent at 5 s; ping 2 fell due at 10 s, and the pong to ping 1 came at 11 s."""
    connection = ready(Config(ping_interval=5.0, pong_timeout=8.0))
    connection.handle_timeout(5.0)
    assert texts(outputs(connection, 5.0)) == ["ping"]
    connection.handle_timeout(10.0)
    assert texts(outputs(connection, 10.0, writable=writable)) == (["ping"] if writable else [])
    connection.receive("pong", 11.0)
    return connection


def test_a_pong_to_an_earlier_ping_does_not_hide_a_stalled_writer() -> None:
    connection = pinged_twice(writable=False)
    connection.handle_timeout(17.9)
    assert connection.state is State.READY
    connection.handle_timeout(18.0)
    assert [event.why for event in only(Closed, outputs(connection, 18.0))] == [WhyClosed.NO_PONG]


def test_a_delayed_ping_is_answered_by_the_next_pong() -> None:
    connection = pinged_twice(writable=False)
    assert texts(outputs(connection, 12.0)) == ["ping"]
    connection.receive("pong", 13.0)
    connection.handle_timeout(18.0)
    assert connection.state is State.READY


def test_a_generated_id_is_not_one_that_the_caller_has_used() -> None:
    connection = ready(Config(id_prefix="a"))
    for id in ("a1", "a7", "a12345678901234567", "b9", "a", "ax"):
        connection.cancel(ORDER, 1.0, id=id)
        outputs(connection, 1.0)
        connection.receive(reply(id), 1.0)
        outputs(connection, 1.0)
    # Otherwise a second reply to "a1" would settle the next cancel with that id.
    assert connection.in_flight == 0
    assert connection.cancel(ORDER, 2.0) == "a8"
    assert connection.cancel(ORDER, 2.0) == "a9"


def test_unclosed_lists_are_too_deep_as_well() -> None:
    long = " " * 512
    assert decode("[" * 40 + long) == Malformed("too deep", ("[" * 40 + long)[:100])
    assert decode("[" * 32 + long) == Malformed("not JSON", ("[" * 32 + long)[:100])


def test_all_unknown_keys_of_a_request_are_named() -> None:
    request = decode_request('{"op":"login","args":[{"x":1,"a":2}]}')
    assert isinstance(request, BadRequest)
    assert request.message.endswith("unknown: a, x @ $.args[0]")
