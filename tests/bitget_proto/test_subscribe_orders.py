"""Subscribing to changes of orders, on a connection and in a session, and the events of pushes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Codec,
    CodeClass,
    Config,
    Connection,
    Dialect,
    ExchangeError,
    GoingAway,
    InstType,
    LinkTransmit,
    LocalProtocolError,
    OrderStatus,
    OrderUpdate,
    Ready,
    Session,
    SessionConfig,
    State,
    Subscribed,
    SubscribeRefused,
    Transmit,
    Unrecognised,
    Up,
    ValidationError,
    Wait,
    WhyClosed,
    WhyUnrecognised,
    record,
    replay,
)
from bitget_proto.testing import DriverError, StrictConnection, StrictSession

from .driving import LOGGED_IN, LOGIN, ORDER, drain, in_state, ready, reply, texts

SPOT = '{"op":"subscribe","args":[{"instType":"SPOT","channel":"orders","instId":"default"}]}'
UNIFIED = '{"op":"subscribe","args":[{"instType":"UTA","topic":"order"}]}'
FUTURES = [InstType.USDT_FUTURES, InstType.COIN_FUTURES, InstType.USDC_FUTURES]
ALL = Codec().encode_subscribe()
ARG = {"instType": "SPOT", "channel": "orders", "instId": "default"}


def frame(**keys: object) -> str:
    return json.dumps(keys)


PUSH = frame(arg=ARG, data=[{"orderId": "1001", "status": "filled", "accBaseVolume": "2"}], ts=1)
SUBSCRIBED = frame(event="subscribe", arg=ARG)


def refused(code: int, arg: object = ARG) -> str:
    return frame(event="error", arg=arg, code=code, msg="no")


# --- the frame ---


def test_a_subscription_is_written_as_the_page_has_it() -> None:
    assert Codec().encode_subscribe([InstType.SPOT]) == SPOT
    assert Codec(dialect=Dialect.UNIFIED).encode_subscribe() == UNIFIED


def test_without_product_lines_it_is_for_all_that_a_classic_account_has() -> None:
    assert [arg["instType"] for arg in json.loads(ALL)["args"]] == [
        "SPOT", "USDT-FUTURES", "COIN-FUTURES", "USDC-FUTURES",
    ]  # fmt: skip
    assert len(ALL.encode()) <= 4096


def test_a_unified_account_has_one_subscription_whatever_the_product_lines() -> None:
    codec = Codec(dialect=Dialect.UNIFIED)
    assert codec.encode_subscribe([InstType.MARGIN, InstType.SPOT]) == UNIFIED


def test_the_order_and_the_repetition_of_product_lines_do_not_matter() -> None:
    spot, futures = InstType.SPOT, InstType.USDT_FUTURES
    assert Codec().encode_subscribe([futures, spot, futures]) == Codec().encode_subscribe(
        iter([spot, futures])
    )


@pytest.mark.parametrize("lines", [[], ["SPOT"], InstType.SPOT, "SPOT", 5, [None]])
@pytest.mark.parametrize("dialect", Dialect)
def test_anything_but_product_lines_is_refused(lines: Any, dialect: Dialect) -> None:
    with pytest.raises(ValidationError, match="inst_types must be one InstType or more"):
        Codec(dialect=dialect).encode_subscribe(lines)


def test_a_classic_account_has_no_margin() -> None:
    with pytest.raises(ValidationError, match=r"only unified accounts have InstType\.MARGIN"):
        Codec().encode_subscribe([InstType.SPOT, InstType.MARGIN])


# --- a connection ---


def test_it_is_sent_behind_the_login_and_before_every_waiting_cancel() -> None:
    conn = Connection()
    conn.cancel(ORDER, 0.0, id="1", urgent=True)
    conn.send("{}", 0.0)
    conn.subscribe_orders(0.0, [InstType.SPOT])
    assert drain(conn, 0.0)[0] == []
    conn.opened(0.0, login=LOGIN)
    (login,), _ = drain(conn, 0.0)
    assert isinstance(login, Transmit)
    assert login.secret
    conn.receive(LOGGED_IN, 0.0)
    outputs, _ = drain(conn, 0.0)
    assert outputs[:2] == [Ready(), Transmit(SPOT)]
    assert texts(outputs)[1:] == [Codec().encode_cancel(ORDER, "1"), "{}"]


def test_it_is_sent_before_the_cancels_that_the_pace_holds_back() -> None:
    conn = ready(Config(messages_per_second=2))
    conn.cancel_many([ORDER] * 4, 5.0)
    assert len(texts(drain(conn, 5.0)[0])) == 2
    conn.subscribe_orders(5.5)
    outputs, wait = drain(conn, 5.5)
    assert outputs == []
    assert wait.until is not None
    assert texts(drain(conn, wait.until)[0]) == [ALL, Codec().encode_cancel(ORDER, "bgproto3")]


def test_it_is_sent_once_until_it_is_asked_for_again() -> None:
    conn = Connection()
    for lines in (None, [InstType.SPOT], FUTURES, [InstType.SPOT], None):
        conn.subscribe_orders(0.0, lines)
    conn.opened(0.0, login=LOGIN)
    drain(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    assert texts(drain(conn, 0.0)[0]) == [ALL, SPOT, Codec().encode_subscribe(FUTURES)]
    conn.subscribe_orders(0.0)
    assert texts(drain(conn, 0.0)[0]) == [ALL]


def test_it_waits_while_nothing_can_be_written() -> None:
    conn = ready()
    conn.subscribe_orders(1.0)
    assert drain(conn, 1.0, writable=False)[0] == []
    assert texts(drain(conn, 1.0)[0]) == [ALL]


@pytest.mark.parametrize("queued", ["drop", "send"])
def test_close_drops_it_or_sends_it_with_what_is_queued(queued: Any) -> None:
    conn = ready()
    conn.subscribe_orders(1.0, [InstType.SPOT])
    conn.cancel(ORDER, 1.0, id="1")
    conn.close(1.0, queued)
    sent = texts(drain(conn, 1.0)[0])
    assert sent == ([] if queued == "drop" else [SPOT, Codec().encode_cancel(ORDER, "1")])


@pytest.mark.parametrize("state", [State.DRAINING, State.CLOSED])
def test_a_connection_that_is_closing_takes_no_subscription(state: State) -> None:
    conn = in_state(state)
    with pytest.raises(LocalProtocolError, match=r"is clos(ing|ed) and takes no more frames"):
        conn.subscribe_orders(20.0)
    conn = ready()
    conn.cancel(ORDER, 1.0)
    conn.close(1.0, "send")
    with pytest.raises(LocalProtocolError, match="is closing"):
        conn.subscribe_orders(1.0)


def test_a_refused_call_queues_nothing() -> None:
    conn = ready()
    with pytest.raises(ValidationError):
        conn.subscribe_orders(1.0, [InstType.MARGIN])
    assert drain(conn, 1.0)[0] == []


# --- its answers and pushes ---


def test_the_answer_is_an_event_that_says_what_was_asked() -> None:
    conn = ready()
    conn.receive(SUBSCRIBED, 1.0)
    conn.receive(refused(30001), 1.0)
    assert drain(conn, 1.0)[0] == [
        Subscribed(inst_type=InstType.SPOT),
        SubscribeRefused(
            inst_type=InstType.SPOT,
            code="30001",
            code_class=CodeClass.of("30001"),
            message="no",
            text=refused(30001),
        ),
    ]


def test_the_answer_on_a_unified_account_is_for_all_product_lines() -> None:
    conn = Connection(codec=Codec(dialect=Dialect.UNIFIED))
    conn.opened(0.0, login=LOGIN)
    drain(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    drain(conn, 0.0)
    arg = {"instType": "UTA", "topic": "order"}
    conn.receive(frame(event="subscribe", arg=arg, connId="x"), 1.0)
    conn.receive(refused(30001, arg), 1.0)
    accepted, error = drain(conn, 1.0)[0]
    assert accepted == Subscribed(inst_type=None)
    assert isinstance(error, SubscribeRefused)
    assert error.inst_type is None


@pytest.mark.parametrize("dialect", Dialect)
def test_the_refusal_of_a_subscription_is_not_that_of_the_login(dialect: Dialect) -> None:
    conn = Connection(codec=Codec(dialect=dialect))
    conn.opened(0.0, login=LOGIN)
    drain(conn, 0.0)
    arg = ARG if dialect is Dialect.CLASSIC else {"instType": "UTA", "topic": "order"}
    conn.receive(refused(30011, arg), 0.0)
    assert [type(output) for output in drain(conn, 0.0)[0]] == [SubscribeRefused]
    assert conn.state is State.AUTHENTICATING


@pytest.mark.parametrize(
    ("code", "why"), [(30004, WhyClosed.NOT_LOGGED_IN), (30007, WhyClosed.THROWN_OUT)]
)
def test_a_refusal_with_a_fatal_code_ends_the_connection_all_the_same(
    code: int, why: WhyClosed
) -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="1")
    drain(conn, 1.0)
    conn.receive(refused(code), 1.0)
    assert [type(output) for output in drain(conn, 1.0)[0]] == [SubscribeRefused]
    conn.handle_timeout(2.0)
    end = drain(conn, 2.0)[0][-1]
    assert isinstance(end, Closed)
    assert end.why is why


def test_a_refusal_that_asks_to_slow_down_pauses_every_frame() -> None:
    conn = ready()
    conn.receive(refused(30006), 1.0)
    conn.cancel(ORDER, 1.0)
    outputs, wait = drain(conn, 1.0)
    assert [type(output) for output in outputs] == [SubscribeRefused]
    assert wait.until == 2.0


def test_going_away_is_announced_whatever_the_frame_answers() -> None:
    conn = ready()
    conn.receive(refused(30033), 1.0)
    assert [type(output) for output in drain(conn, 1.0)[0]] == [GoingAway]


def test_an_error_of_another_channel_stays_an_exchange_error() -> None:
    conn = ready()
    conn.receive(refused(30001, ARG | {"channel": "fill"}), 1.0)
    assert [type(output) for output in drain(conn, 1.0)[0]] == [ExchangeError]


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.NEW, State.CLOSED)]
)
def test_a_push_is_an_update_for_each_order_and_settles_no_cancel(state: State) -> None:
    conn = in_state(state)
    drain(conn, 20.0)
    open_cancels = conn.in_flight
    conn.receive(PUSH, 20.0)
    (update,) = drain(conn, 20.0)[0]
    assert isinstance(update, OrderUpdate)
    assert (update.order_id, update.status, str(update.filled)) == ("1001", OrderStatus.FILLED, "2")
    assert conn.in_flight == open_cancels


def test_a_push_with_an_unreadable_order_is_passed_on_behind_the_others() -> None:
    conn = ready()
    push = frame(arg=ARG, data=[{"orderId": "1"}, {"status": "filled"}, {"orderId": "2"}])
    conn.receive(push, 1.0)
    *updates, rest = drain(conn, 1.0)[0]
    assert [update.order_id for update in updates if isinstance(update, OrderUpdate)] == ["1", "2"]
    assert rest == Unrecognised(text=push, why=WhyUnrecognised.UNREADABLE_ORDER)


def test_a_push_shows_that_a_silent_link_lives() -> None:
    conn = ready(Config(ping_interval=None))
    conn.cancel(ORDER, 1.0)
    drain(conn, 1.0)
    conn.receive(PUSH, 2.5)
    assert drain(conn, 2.5)[1].until == 4.5


# --- a session ---


def up(session: Session, link: int, now: float) -> list[Any]:
    """Dial, log in, and return what follows the login."""
    drained(session, now)
    session.opened(link, now, login=LOGIN)
    drained(session, now)
    session.receive(link, LOGGED_IN, now)
    return drained(session, now)


def drained(session: Session, now: float) -> list[Any]:
    outputs: list[Any] = []
    while not isinstance(output := session.poll(now), Wait):
        outputs.append(output)
    return outputs


def session(config: SessionConfig | None = None, codec: Codec | None = None) -> Session:
    return Session(config, codec, jitter=lambda: 0.5)


def sent(outputs: list[Any]) -> list[tuple[int, str]]:
    return [(frame.link, frame.text) for frame in outputs if isinstance(frame, LinkTransmit)]


def test_a_session_subscribes_on_each_link_before_its_first_cancel() -> None:
    made = session()
    made.subscribe_orders(0.0, [InstType.SPOT])
    made.cancel(ORDER, 0.0, id="1", urgent=True)
    outputs = up(made, 1, 0.0)
    assert isinstance(outputs[0], Up)
    assert sent(outputs) == [(1, SPOT), (1, Codec().encode_cancel(ORDER, "1"))]
    made.receive(1, reply("1"), 0.0)
    made.lost(1, 1.0)
    made.cancel(CancelOrder("BTCUSDT", "2"), 1.0, id="2")
    wait = 1.0
    while made.state.value == "down":
        outputs = drained(made, wait)
        wait += 0.1
    outputs = up(made, 2, wait)
    assert sent(outputs) == [
        (2, SPOT),
        (2, Codec().encode_cancel(CancelOrder("BTCUSDT", "2"), "2")),
    ]


def test_a_session_that_is_up_subscribes_at_once_and_its_successor_too() -> None:
    made = session()
    up(made, 1, 0.0)
    made.receive(1, '{"event":"error","code":30033,"msg":""}', 10.0)
    drained(made, 11.0)
    made.subscribe_orders(11.0)
    assert sent(drained(made, 11.0)) == [(1, ALL)]
    made.opened(2, 11.0, login=LOGIN)
    drained(made, 11.0)
    made.receive(2, LOGGED_IN, 11.0)
    assert sent(drained(made, 11.0)) == [(2, ALL)]


def test_a_link_with_a_write_in_progress_gets_neither_it_nor_a_cancel() -> None:
    made = session()
    up(made, 1, 0.0)
    made.subscribe_orders(1.0)
    made.cancel(ORDER, 1.0)
    assert isinstance(made.poll(1.0, busy=[1]), Wait)
    assert sent(drained(made, 1.0))[0] == (1, ALL)


def test_a_session_reports_pushes_and_answers_of_every_link() -> None:
    made = session()
    up(made, 1, 0.0)
    for message in (SUBSCRIBED, refused(30001), PUSH):
        made.receive(1, message, 1.0)
    assert [type(output) for output in drained(made, 1.0)] == [
        Subscribed,
        SubscribeRefused,
        OrderUpdate,
    ]


def test_a_link_that_drains_is_not_subscribed() -> None:
    made = session()
    up(made, 1, 0.0)
    made.cancel(ORDER, 0.0, id="1")
    drained(made, 0.0)
    made.receive(1, '{"event":"error","code":30033,"msg":""}', 10.0)
    drained(made, 11.0)
    up(made, 2, 11.0)
    made.subscribe_orders(11.0)
    assert sent(drained(made, 11.0)) == [(2, ALL)]


@pytest.mark.parametrize("queued", ["drop", "send"])
def test_a_session_that_is_closing_takes_no_subscription(queued: Any) -> None:
    made = session()
    up(made, 1, 0.0)
    made.cancel(ORDER, 0.0)
    drained(made, 0.0)
    made.close(0.0, queued)
    with pytest.raises(LocalProtocolError, match="is closing and takes no more frames"):
        made.subscribe_orders(0.0)


# --- traces, and the cores that check their driver ---


@pytest.mark.parametrize("lines", [None, [InstType.SPOT], (InstType.SPOT,), [InstType.MARGIN], [5]])
def test_a_trace_has_the_command_and_the_events_and_replays(lines: Any) -> None:
    trace: list[str] = []
    conn = record(Connection(), trace.append)
    conn.opened(0.0, login=LOGIN)
    drain(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    try:
        conn.subscribe_orders(0.0, lines)
    except ValidationError:
        assert lines in ([InstType.MARGIN], [5])
    drain(conn, 0.0)
    for message in (SUBSCRIBED, refused(30001), PUSH):
        conn.receive(message, 1.0)
    assert [type(output).__name__ for output in drain(conn, 1.0)[0]] == [
        "Subscribed",
        "SubscribeRefused",
        "OrderUpdate",
    ]
    text = "".join(trace)
    assert '"kind":"OrderUpdate"' in text
    assert '"filled":"2"' in text
    assert replay(text) is None


def test_a_trace_of_a_session_replays_its_subscription() -> None:
    trace: list[str] = []
    made = record(session(), trace.append)
    made.subscribe_orders(0.0, iter([InstType.SPOT]))
    assert sent(up(made, 1, 0.0)) == [(1, SPOT)]
    made.receive(1, PUSH, 1.0)
    drained(made, 1.0)
    assert '"inst_types":["SPOT"]' in trace[1]
    assert replay(trace) is None


def test_the_strict_cores_want_a_drain_before_the_command() -> None:
    conn = StrictConnection()
    conn.subscribe_orders(0.0)
    with pytest.raises(DriverError):
        conn.subscribe_orders(0.0)
    strict = StrictSession(jitter=lambda: 0.5)
    strict.subscribe_orders(0.0)
    with pytest.raises(DriverError):
        strict.subscribe_orders(0.0)


def test_an_accepted_cancel_and_its_push_are_two_events() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="1")
    drain(conn, 1.0)
    conn.receive(PUSH, 1.0)
    conn.receive(reply("1"), 1.0)
    assert [type(output) for output in drain(conn, 1.0)[0]] == [OrderUpdate, Accepted]
