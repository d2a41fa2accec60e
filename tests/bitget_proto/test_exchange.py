from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bitget_proto import (
    CancelOrder,
    Codec,
    Hangup,
    InstType,
    LocalProtocolError,
    State,
    Timer,
    Transmit,
    ValidationError,
    Wait,
    decode,
    encode_cancel,
    sign_login,
)
from bitget_proto import Credentials as Key
from bitget_proto.testing import (
    ABORT,
    CancelRequested,
    ConnectionDropped,
    ExchangeConfig,
    ExchangeConnection,
    LoginRequested,
    OtherRequested,
    WhyDropped,
)
from bitget_proto.testing._exchange.exchange_events import ExchangeOutput

ORDER = CancelOrder("BTCUSDT", order_id="1", inst_type=InstType.SPOT)
SUBSCRIBE = '{"op":"subscribe","args":[]}'
LOGIN = sign_login(Key("key", "secret", "passphrase"), 1_763_958_366)


def drain(
    exchange: ExchangeConnection, now: float = 0.0, *, writable: bool = True
) -> list[ExchangeOutput]:
    outputs: list[ExchangeOutput] = []
    while not outputs or not isinstance(outputs[-1], Wait):
        outputs.append(exchange.poll(now, writable))
    return outputs[:-1]


def said(outputs: list[ExchangeOutput]) -> list[Any]:
    return [
        output.text if output.text == "pong" else json.loads(output.text)
        for output in outputs_of(outputs)
    ]


def outputs_of(outputs: list[ExchangeOutput]) -> list[Transmit]:
    return [output for output in outputs if isinstance(output, Transmit)]


def connected(config: ExchangeConfig | None = None) -> ExchangeConnection:
    exchange = ExchangeConnection(config)
    exchange.opened(0.0)
    assert drain(exchange) == []
    return exchange


def ready(config: ExchangeConfig | None = None) -> ExchangeConnection:
    exchange = connected(config)
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    assert drain(exchange) == [LoginRequested(login=LOGIN)]
    exchange.accept_login(0.0)
    assert said(drain(exchange)) == [{"event": "login", "code": 0}]
    return exchange


def whole_state(exchange: ExchangeConnection) -> list[str]:
    return [
        repr(getattr(exchange, name))
        for name in exchange.__slots__
        if name not in ("_codec", "_config", "_pace")
    ]


def test_a_login_is_an_event_and_accepting_it_writes_the_recorded_reply() -> None:
    exchange = ready()
    assert exchange.state is State.READY
    assert "ready" in repr(exchange)


def test_a_refused_login_gets_an_error_and_closes_the_connection() -> None:
    exchange = connected()
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    drain(exchange)
    exchange.refuse_login("30015", "Invalid sign", 0.0)
    outputs = drain(exchange)
    assert said(outputs) == [{"event": "error", "code": 30015, "msg": "Invalid sign"}]
    assert outputs[1:] == [
        Hangup(code=1000, reason="Invalid sign"),
        ConnectionDropped(why=WhyDropped.LOGIN_REFUSED, detail="Invalid sign"),
    ]


def test_a_refused_login_may_leave_the_socket_open_as_observed() -> None:
    exchange = connected()
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    drain(exchange)
    exchange.refuse_login("30015", "Invalid sign", 0.0, stay=True)
    assert len(drain(exchange)) == 1
    assert exchange.state is State.AUTHENTICATING
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    assert drain(exchange) == [LoginRequested(login=LOGIN)]


def test_a_second_login_is_an_illegal_request() -> None:
    exchange = connected()
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    drain(exchange)
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    assert said(drain(exchange))[0]["code"] == 30002
    exchange.accept_login(0.0)
    drain(exchange)
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    assert said(drain(exchange))[0]["code"] == 30002


def test_a_cancel_before_the_login_gets_30004_without_an_id_as_recorded() -> None:
    exchange = connected()
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    exchange.receive('{"op":"trade","args":[{"id":"1"}]}', 0.0)
    answer = {"event": "error", "code": 30004, "msg": "User not logged in/User must be logged in"}
    assert said(drain(exchange)) == [answer, answer]


def test_an_accepted_cancel_is_answered_as_recorded() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(ORDER, "a:1"), 0.0)
    assert drain(exchange) == [CancelRequested(id="a:1", order=ORDER)]
    assert exchange.in_flight == 1
    exchange.accept("a:1", 0.0, exchange_ts=1763958928351)
    (answer,) = drain(exchange)
    assert answer == Transmit(
        text='{"event":"trade","arg":[{"id":"a:1","instType":"SPOT","channel":"cancel-order","instId":"BTCUSDT",'
        '"params":{"orderId":"1"}}],"code":0,"msg":"Success","ts":1763958928351}',
    )
    assert exchange.in_flight == 0


def test_a_refused_cancel_is_answered_with_an_error_as_recorded() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(CancelOrder("BTCUSDT", client_oid='my"own'), "1"), 0.0)
    drain(exchange)
    exchange.refuse("1", "43001", "The order does not exist", 0.0)
    (answer,) = said(drain(exchange))
    assert answer["event"] == "error"
    assert answer["code"] == 43001
    assert answer["arg"][0]["params"] == {"clientOid": 'my"own'}
    assert "ts" not in answer


def test_a_cancel_may_be_forgotten() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    drain(exchange)
    exchange.forget("1", 0.0)
    assert exchange.in_flight == 0
    with pytest.raises(LocalProtocolError, match="no cancel with the id '1'"):
        exchange.accept("1", 0.0)


def test_an_id_that_is_in_flight_is_refused_and_the_first_stays_open() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    outputs = drain(exchange)
    assert [answer["code"] for answer in said(outputs)] == [30016]
    assert exchange.in_flight == 1


def test_more_cancels_than_the_limit_are_throttled() -> None:
    exchange = ready(ExchangeConfig(max_in_flight=1))
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    exchange.receive(encode_cancel(ORDER, "2"), 0.0)
    assert said(drain(exchange)) == [{"event": "error", "code": 30006, "msg": "request too many"}]
    unlimited = ready(ExchangeConfig(max_in_flight=None))
    unlimited.receive(encode_cancel(ORDER, "1"), 0.0)
    assert drain(unlimited) == [CancelRequested(id="1", order=ORDER)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", 30002),
        ("[]", 30002),
        (b"\xff", 30002),
        ('{"op":1}', 30003),
        ("{}", 30003),
        ('{"op":"login","args":[]}', 30016),
        ('{"op":"login","args":[{"api_key":"k"}]}', 30016),
        (encode_cancel(ORDER, "1").replace("cancel-order", "modify-order"), 30001),
        (encode_cancel(ORDER, "1").replace('"SPOT"', '"MARGIN"'), 30016),
        (encode_cancel(ORDER, "1").replace('"1"}', '"1","extra":1}'), 30016),
        (encode_cancel(ORDER, "1").replace('"id":"1"', '"id":""'), 30016),
        (encode_cancel(ORDER, "1").replace('"op"', '"more":1,"op"'), 30016),
        ('{"op":"trade","args":{}}', 30016),
    ],
)
def test_a_request_that_is_not_allowed_is_refused_with_its_code(
    text: str | bytes, code: int
) -> None:
    exchange = ready()
    exchange.receive(text, 0.0)
    (answer,) = said(drain(exchange))
    assert answer["event"] == "error"
    assert answer["code"] == code
    assert exchange.state is State.READY


def test_a_refusal_echoes_the_id_so_that_the_client_can_find_its_request() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(ORDER, "77").replace('"SPOT"', '"MARGIN"'), 0.0)
    (answer,) = outputs_of(drain(exchange))
    reply = decode(answer.text)
    assert getattr(reply, "id", None) == "77"


def test_two_objects_in_args_are_refused() -> None:
    exchange = ready()
    one = json.loads(encode_cancel(ORDER, "1"))
    one["args"] *= 2
    exchange.receive(json.dumps(one), 0.0)
    assert said(drain(exchange))[0]["code"] == 30016


def test_a_ping_is_answered_by_a_pong_before_and_after_the_login() -> None:
    exchange = connected()
    exchange.receive("ping", 0.0)
    exchange.receive(b"ping", 0.0)
    assert said(drain(exchange)) == ["pong", "pong"]


@pytest.mark.parametrize("text", [SUBSCRIBE, SUBSCRIBE.encode()], ids=["text", "bytes"])
def test_other_requests_are_events_with_the_whole_request(text: str | bytes) -> None:
    exchange = connected()
    exchange.receive(text, 0.0)
    assert drain(exchange) == [OtherRequested(op="subscribe", text=SUBSCRIBE)]


def test_an_eleventh_message_within_a_second_closes_the_connection() -> None:
    exchange = connected()
    for _ in range(10):
        exchange.receive("ping", 0.0)
    assert len(drain(exchange)) == 10
    exchange.receive("ping", 0.5)
    outputs = drain(exchange, 0.5)
    assert said(outputs) == [{"event": "error", "code": 30007, "msg": "request too many"}]
    assert outputs[1:] == [
        Hangup(code=1000, reason="too many messages"),
        ConnectionDropped(why=WhyDropped.TOO_MANY_MESSAGES, detail=""),
    ]
    exchange.receive("ping", 5.0)
    assert drain(exchange, 5.0) == []


def test_an_argument_that_is_no_message_is_refused_and_not_counted() -> None:
    exchange = connected(ExchangeConfig(messages_per_second=1))
    for _ in range(3):
        with pytest.raises(ValidationError, match=r"^message must be str or bytes; got the int 7$"):
            exchange.receive(7, 5.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    exchange.receive("ping", 0.0)
    assert said(drain(exchange)) == ["pong"]
    assert exchange.poll(0.0) == Wait(until=120.0, timer=Timer.IDLE)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ExchangeConnection(5), "config must be an ExchangeConfig, or None; got the int 5"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_config_of_a_wrong_type_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValidationError, match=f"^{why}$"):
        make()


@pytest.mark.parametrize(("jitter", "at", "state"), [
    (None, 0.999, State.CLOSED),
    (None, 1.0, State.AUTHENTICATING),
    (0.1, 0.9, State.AUTHENTICATING),
    (0.1, 0.899, State.CLOSED),
])  # fmt: skip
def test_no_second_may_hold_more_than_the_limit_except_for_jitter(
    jitter: float | None, at: float, state: State
) -> None:
    exchange = connected(ExchangeConfig(jitter=jitter))
    for number in range(10):
        exchange.receive("ping", number / 1000)
    exchange.receive("ping", at)
    assert exchange.state is state


def test_the_limit_holds_in_a_sliding_second() -> None:
    exchange = connected()
    for number in range(9):
        exchange.receive("ping", 0.9 + number / 100)
    states: list[State] = []
    for now in (1.85, 1.89):
        exchange.receive("ping", now)
        states.append(exchange.state)
    assert states == [State.AUTHENTICATING, State.CLOSED]


def test_a_request_to_place_an_order_is_an_event_with_the_whole_request() -> None:
    exchange = ready()
    text = encode_cancel(ORDER, "1").replace("cancel-order", "place-order")
    exchange.receive(text, 0.0)
    assert drain(exchange) == [OtherRequested(op="trade", text=text)]
    assert exchange.in_flight == 0


def test_a_client_is_dropped_two_minutes_after_its_last_ping() -> None:
    exchange = connected()
    assert exchange.poll(0.0) == Wait(until=120.0, timer=Timer.IDLE)
    exchange.receive("ping", 100.0)
    drain(exchange, 100.0)
    exchange.handle_timeout(120.0)
    assert exchange.poll(120.0) == Wait(until=220.0, timer=Timer.IDLE)
    exchange.handle_timeout(220.0)
    assert drain(exchange, 220.0) == [
        Hangup(code=1000, reason="no ping for 120.0 s"),
        ConnectionDropped(why=WhyDropped.NO_PING, detail="no ping for 120.0 s"),
    ]
    assert exchange.poll(221.0) == Wait(until=None, timer=None)


def test_a_connection_is_closed_at_its_maximum_age() -> None:
    exchange = connected(ExchangeConfig(ping_timeout=None))
    assert exchange.poll(0.0) == Wait(until=86400.0, timer=Timer.LIFETIME)
    exchange.handle_timeout(86399.0)
    assert exchange.state is State.AUTHENTICATING
    exchange.handle_timeout(86400.0)
    assert drain(exchange, 86400.0)[-1] == ConnectionDropped(
        why=WhyDropped.TOO_OLD, detail="86400.0 s old"
    )


def test_without_limits_it_waits_only_for_input() -> None:
    exchange = connected(ExchangeConfig(ping_timeout=None, lifetime=None, messages_per_second=None))
    assert exchange.poll(0.0) == Wait(until=None, timer=None)
    for _ in range(1000):
        exchange.receive("ping", 0.0)
    exchange.handle_timeout(1e9)
    assert exchange.state is State.AUTHENTICATING


def test_an_invalid_limit_is_refused_like_one_of_a_connection() -> None:
    with pytest.raises(ValidationError, match="lenient must be True or False; got the int 1"):
        ExchangeConfig(lenient=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError, match="jitter must be a finite number of seconds above 0"):
        ExchangeConfig(jitter=-0.1)


def test_a_stalled_writer_delays_frames_and_the_hangup_after_them() -> None:
    exchange = connected()
    exchange.receive("ping", 0.0)
    exchange.receive('{"op":"x"}', 0.0)
    exchange.close(0.0, reason="bye")
    assert drain(exchange, writable=False) == [OtherRequested(op="x", text='{"op":"x"}')]
    assert drain(exchange) == [
        Transmit(text="pong"),
        Hangup(code=1000, reason="bye"),
        ConnectionDropped(why=WhyDropped.ASKED, detail="bye"),
    ]


def test_a_lost_transport_closes_it_and_drops_unwritten_frames() -> None:
    exchange = connected()
    exchange.receive("ping", 0.0)
    exchange.lost(1.0, "reset")
    assert drain(exchange, 1.0) == [ConnectionDropped(why=WhyDropped.CLIENT_LEFT, detail="reset")]
    exchange.lost(1.0, "again")
    exchange.close(1.0)
    exchange.opened(1.0)
    assert drain(exchange, 1.0) == []


def test_close_can_ask_for_no_close_frame() -> None:
    exchange = connected()
    exchange.close(0.0, ABORT)
    assert drain(exchange)[0] == Hangup(code=1006, reason="asked")


def test_say_writes_any_text_and_answers_no_request() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    exchange.say("<html>", 0.0)
    assert Transmit(text="<html>") in drain(exchange)
    assert exchange.in_flight == 1


def test_refused_commands_change_nothing() -> None:
    exchange = ready()
    exchange.receive(encode_cancel(ORDER, "1"), 0.0)
    drain(exchange)
    before = whole_state(exchange)
    with pytest.raises(LocalProtocolError, match="opened was called before"):
        exchange.opened(1.0)
    with pytest.raises(LocalProtocolError, match="no login waits"):
        exchange.accept_login(1.0)
    with pytest.raises(LocalProtocolError, match="no login waits"):
        exchange.refuse_login("30015", "", 1.0)
    with pytest.raises(LocalProtocolError, match="no cancel with the id '2'"):
        exchange.refuse("2", "43001", "", 1.0)
    with pytest.raises(LocalProtocolError, match="no cancel with the id '2'"):
        exchange.forget("2", 1.0)
    for bad in ("0", "00", "x", 43001):
        with pytest.raises(
            ValidationError,
            match="code must be a decimal string other than '0', such as '43001'; got",
        ):
            exchange.refuse("1", bad, "", 1.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        exchange.accept("1", float("nan"))
    assert whole_state(exchange) == before


def test_an_invalid_refusal_of_the_login_changes_nothing() -> None:
    exchange = connected()
    exchange.receive(Codec().encode_login(LOGIN), 0.0)
    drain(exchange)
    with pytest.raises(ValidationError, match="code must be a decimal string"):
        exchange.refuse_login("abc", "", 0.0)
    exchange.accept_login(0.0)
    assert exchange.state is State.READY


def test_commands_are_refused_before_the_start_and_after_the_end() -> None:
    exchange = ExchangeConnection()
    with pytest.raises(LocalProtocolError, match="the connection is new"):
        exchange.say("x", 0.0)
    exchange.receive("ping", 0.0)
    assert drain(exchange) == []
    exchange.close(0.0)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        exchange.accept("1", 0.0)
