"""The queue: urgent cancels, `cancel_many`, `withdraw`, and the caller's own frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import inf, nan, nextafter

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Config,
    Connection,
    LateReply,
    LocalProtocolError,
    NoRoom,
    Output,
    Rejected,
    State,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    WhyUnrecognised,
    WhyUnresolved,
)

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    OTHER_ORDER,
    answering,
    authenticating,
    drain,
    in_state,
    live,
    only,
    outcomes,
    outputs,
    ready,
    refusal,
    reply,
    snapshot,
    texts,
)

ONE_A_SECOND = Config(messages_per_second=1, pace_margin=None, ping_interval=None, silence=None)


def orders(count: int) -> list[CancelOrder]:
    return [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(count)]


def left(given: list[Output]) -> list[str | None]:
    """The ids of the frames, and the texts of those that have none."""
    return [", ".join(frame.ids) or frame.text for frame in only(Transmit, given)]


def leaving(conn: Connection, now: float, count: int) -> list[str | None]:
    """What leaves at this second and the next ones, one each."""
    return [frame for second in range(count) for frame in left(outputs(conn, now + second))]


# --- at the default settings, on the day that matters ---


@pytest.mark.parametrize("count", [300, 1000])
@pytest.mark.parametrize("how", ["cancel_many", "cancel"])
def test_many_cancels_at_once_are_all_sent_and_answered(count: int, how: str) -> None:
    conn = ready()
    came: list[tuple[float, Output]] = []
    if how == "cancel_many":
        ids = conn.cancel_many(orders(count), 2.0)
    else:
        ids = list[str]()
        for order in orders(count):
            assert conn.capacity > 0
            ids.append(conn.cancel(order, 2.0))
            came += [(2.0, output) for output in outputs(conn, 2.0)]
        for _, output in came:
            assert isinstance(output, Transmit)
            (id,) = output.ids
            conn.receive(reply(id), 2.0)
    came += live(conn, 2.0, 170.0, answering(0.02))
    given = [output for _, output in came]
    assert [outcome.id for outcome in only(Accepted, given)] == ids
    assert only(Unresolved, given) == []
    assert conn.state is State.READY
    times = [at for at, output in came if isinstance(output, Transmit)]
    assert all(later >= at + 1.05 for at, later in zip(times, times[10:], strict=False))
    last = max(at for at, output in came if isinstance(output, Transmit) and output.ids)
    windows = (count + len([text for text in texts(given) if text == "ping"]) - 1) // 10
    assert abs(last - (2.0 + 1.05 * windows)) < 1e-9
    assert last <= 2.0 + 1.06 * (count / 10)


def test_an_urgent_cancel_behind_a_thousand_is_sent_next() -> None:
    conn = ready()
    conn.cancel_many(orders(999), 2.0)
    assert len(texts(outputs(conn, 2.0))) == 10
    conn.cancel(ORDER, 2.5, id="now", urgent=True)
    assert outputs(conn, 2.5) == []
    assert left(outputs(conn, 2.0 + 1.05))[:2] == ["now", "bgproto11"]


# --- urgent ---


def test_urgent_cancels_are_sent_first_in_the_order_taken() -> None:
    conn = Connection()
    for id, urgent in (("n1", False), ("u1", True), ("n2", False), ("u2", True)):
        assert conn.cancel(ORDER, 0.0, id=id, urgent=urgent) == id
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    assert left(outputs(conn, 0.0)) == ["u1", "u2", "n1", "n2"]


def test_an_expired_urgent_cancel_blocks_no_other() -> None:
    conn = ready(ONE_A_SECOND)
    conn.cancel(ORDER, 2.0, id="u", timeout=1.0, urgent=True)
    conn.cancel(ORDER, 2.0, id="n")
    assert left(outputs(conn, 3.0)) == ["n"]


def test_urgent_changes_neither_the_times_nor_the_outcome() -> None:
    conn = ready(ONE_A_SECOND)
    conn.cancel(ORDER, 2.0, id="n")
    conn.cancel(ORDER, 2.5, id="u", urgent=True)
    outputs(conn, 3.0)
    conn.receive(reply("u"), 3.5)
    assert outputs(conn, 3.5) == [
        Accepted(
            id="u",
            order=ORDER,
            taken_at=2.5,
            sent_at=3.0,
            resolved_at=3.5,
            exchange_ts=1763958928351,
        )
    ]
    conn.lost(4.0)
    assert [(end.id, end.sent) for end in only(Unresolved, outputs(conn, 4.0))] == [("n", False)]


def test_the_outcomes_of_an_end_are_in_the_order_taken_urgent_or_not() -> None:
    conn = authenticating()
    for id, urgent in (("a", False), ("b", True), ("c", False)):
        conn.cancel(ORDER, 0.0, id=id, urgent=urgent)
    conn.lost(1.0)
    assert [end.id for end in only(Unresolved, outputs(conn, 1.0))] == ["a", "b", "c"]


# --- many at once ---


def test_cancel_many_returns_ids_in_the_order_of_the_orders() -> None:
    conn = ready()
    given = orders(3)
    assert conn.cancel_many(given, 2.0) == ["bgproto1", "bgproto2", "bgproto3"]
    frames = only(Transmit, outputs(conn, 2.0))
    assert [frame.ids for frame in frames] == [("bgproto1",), ("bgproto2",), ("bgproto3",)]
    assert [json.loads(frame.text)["args"][0]["params"]["orderId"] for frame in frames] == [
        "0",
        "1",
        "2",
    ]
    assert conn.cancel(ORDER, 2.0) == "bgproto4"
    for number in (3, 1, 2):
        conn.receive(reply(f"bgproto{number}"), 2.5)
    assert [outcome.order for outcome in only(Accepted, outputs(conn, 2.5))] == [
        given[2],
        given[0],
        given[1],
    ]


def test_the_timeout_of_cancel_many_applies_to_each() -> None:
    conn = authenticating()
    conn.cancel_many(orders(2), 2.0, timeout=1.5)
    conn.cancel_many(orders(1), 2.0, 2.5)
    conn.handle_timeout(3.5)
    assert [(end.id, end.why) for end in only(Unresolved, outputs(conn, 3.5))] == [
        ("bgproto1", WhyUnresolved.TIMEOUT),
        ("bgproto2", WhyUnresolved.TIMEOUT),
    ]
    conn.handle_timeout(4.5)
    assert [end.id for end in only(Unresolved, outputs(conn, 4.5))] == ["bgproto3"]


def one_by_one(count: int) -> Iterator[CancelOrder]:
    yield from orders(count)


@pytest.mark.parametrize(
    "make", [list, tuple, iter, one_by_one], ids=["list", "tuple", "iterator", "generator"]
)
def test_cancel_many_accepts_any_iterable_of_orders(make: Callable[..., object]) -> None:
    conn = ready()
    given: object = make(3) if make is one_by_one else make(orders(3))
    assert len(conn.cancel_many(given, 2.0)) == 3  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_cancel_many_of_no_orders_returns_no_ids() -> None:
    conn = ready()
    before = snapshot(conn)
    assert conn.cancel_many([], 1.0) == []
    assert snapshot(conn) == before


def test_cancel_many_takes_as_many_as_there_is_room_for() -> None:
    conn = ready(Config(max_in_flight=5))
    conn.cancel(ORDER, 2.0)
    assert conn.capacity == 4
    assert len(conn.cancel_many(orders(4), 2.0)) == 4
    assert conn.capacity == 0


def test_cancel_many_takes_none_when_there_is_no_room_for_all() -> None:
    conn = ready(Config(max_in_flight=5))
    conn.cancel(ORDER, 2.0)
    before = snapshot(conn)
    with pytest.raises(
        NoRoom,
        match=r"^Config\.max_in_flight is 5, and there is room for 4 of these 5: wait for outcomes",
    ):
        conn.cancel_many(orders(5), 2.0)
    assert snapshot(conn) == before
    assert len(conn.cancel_many(orders(4), 2.0)) == 4


def test_without_a_limit_any_number_is_taken() -> None:
    conn = ready(Config(max_in_flight=None))
    assert len(conn.cancel_many(orders(5000), 2.0)) == 5000


@pytest.mark.parametrize("bad", [None, "BTCUSDT", 7, ("BTCUSDT", "1")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_cancel_many_takes_none_when_one_is_not_an_order(bad: object, place: int) -> None:
    conn = ready()
    given: list[object] = [*orders(2)]
    given.insert(place, bad)
    before = snapshot(conn)
    with pytest.raises(ValidationError, match=r"^order must be a CancelOrder; got "):
        conn.cancel_many(given, 2.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert snapshot(conn) == before


@pytest.mark.parametrize("timeout", [0, -1.0, nan, "1", True])
def test_cancel_many_takes_none_with_an_invalid_timeout(timeout: float) -> None:
    conn = ready()
    before = snapshot(conn)
    with pytest.raises(ValidationError, match=r"^timeout must be a number of seconds above 0"):
        conn.cancel_many(orders(2), 2.0, timeout=timeout)
    assert snapshot(conn) == before


def test_an_iterable_that_raises_changes_nothing() -> None:
    def broken() -> Iterator[CancelOrder]:
        yield ORDER
        raise ZeroDivisionError

    conn = ready()
    before = snapshot(conn)
    with pytest.raises(ZeroDivisionError):
        conn.cancel_many(broken(), 2.0)
    assert snapshot(conn) == before


# --- taken back ---


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING, State.READY])
def test_a_queued_cancel_is_withdrawn_and_unresolved_at_once(state: State) -> None:
    conn = in_state(state)
    conn.cancel(ORDER, 1.0, id="a")
    assert conn.withdraw("a", 1.5) is True
    assert conn.in_flight == 0
    assert outputs(conn, 2.0, writable=False) == [
        Unresolved(
            id="a",
            order=ORDER,
            taken_at=1.0,
            sent_at=None,
            resolved_at=1.5,
            sent=False,
            why=WhyUnresolved.WITHDRAWN,
        )
    ]
    conn.handle_timeout(1000.0)
    assert outcomes(outputs(conn, 1000.0)) == []


def test_a_withdrawn_cancel_does_not_affect_the_others() -> None:
    conn = ready(ONE_A_SECOND)
    for id in "abc":
        conn.cancel(ORDER, 2.0, id=id)
    conn.cancel(ORDER, 2.0, id="u", urgent=True)
    assert conn.withdraw("b", 2.0)
    assert conn.withdraw("u", 2.0)
    assert leaving(conn, 2.0, 4) == ["a", "c"]


def test_the_id_of_a_withdrawn_cancel_is_free_after_its_outcome() -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.0, id="a")
    conn.withdraw("a", 0.0)
    with pytest.raises(ValidationError, match="'a' is in flight"):
        conn.cancel(ORDER, 0.0, id="a")
    outputs(conn, 0.0)
    assert conn.cancel(ORDER, 0.0, id="a") == "a"


def unknown(conn: Connection) -> None:
    """No cancel has ever had the id."""


def handed_out(conn: Connection) -> None:
    conn.cancel(ORDER, 2.0, id="a")
    assert left(outputs(conn, 2.0)) == ["a"]


def answered(conn: Connection) -> None:
    handed_out(conn)
    conn.receive(reply("a"), 2.0)


def timed_out(conn: Connection) -> None:
    handed_out(conn)
    conn.handle_timeout(12.0)
    outputs(conn, 12.0)


def ended(conn: Connection) -> None:
    conn.cancel(ORDER, 2.0, id="a")
    conn.lost(2.0)


@pytest.mark.parametrize("how", [unknown, handed_out, answered, timed_out, ended])
def test_a_cancel_that_was_sent_or_is_not_open_cannot_be_withdrawn(
    how: Callable[[Connection], None],
) -> None:
    conn = ready()
    how(conn)
    now = conn._now
    before = snapshot(conn)
    assert conn.withdraw("a", now) is False
    assert snapshot(conn) == before


@pytest.mark.parametrize("id", [None, 7, ["a"], b"a", ""])
def test_withdraw_of_an_invalid_id_returns_false(id: object) -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.0, id="a")
    assert conn.withdraw(id, 0.0) is False  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert conn.in_flight == 1


def test_a_cancel_behind_a_stalled_writer_can_be_withdrawn() -> None:
    conn = ready()
    conn.cancel(ORDER, 2.0, id="a")
    assert outputs(conn, 2.0, writable=False) == []
    assert conn.withdraw("a", 2.0)
    assert left(outputs(conn, 2.0)) == []


# --- frames of the caller's own ---


def test_own_frames_get_one_place_in_ten() -> None:
    conn = ready(ONE_A_SECOND)
    for number in range(40):
        conn.cancel(ORDER, 2.0, id=f"c{number}")
    for name in ("one", "two", "three"):
        conn.send(name, 2.0)
    came = leaving(conn, 2.0, 30)
    assert [place for place, frame in enumerate(came, 1) if frame in ("one", "two", "three")] == [
        10,
        20,
        30,
    ]
    assert [frame for frame in came if frame in ("one", "two", "three")] == ["one", "two", "three"]
    assert [frame for frame in came if frame not in ("one", "two", "three")] == [
        f"c{n}" for n in range(27)
    ]


def test_an_own_frame_behind_many_cancels_is_sent_next() -> None:
    conn = ready(ONE_A_SECOND)
    for number in range(40):
        conn.cancel(ORDER, 2.0, id=f"c{number}")
    leaving(conn, 2.0, 12)
    conn.send("one", 14.0)
    conn.send("two", 14.0)
    assert leaving(conn, 14.0, 11) == ["one", *[f"c{n}" for n in range(12, 21)], "two"]


def test_pings_do_not_take_the_place_of_own_frames() -> None:
    conn = ready(
        Config(
            messages_per_second=1,
            pace_margin=None,
            ping_interval=3.0,
            pong_timeout=None,
            silence=None,
        )
    )
    for number in range(20):
        conn.cancel(ORDER, 2.0, id=f"c{number}")
    conn.send("own", 2.0)
    came: list[str | None] = []
    for second in range(2, 20):
        conn.handle_timeout(float(second))
        came += left(outputs(conn, float(second)))
    assert [frame for frame in came if frame != "ping"].index("own") == 9
    assert "ping" in came[: came.index("own")]


def test_own_frames_are_sent_when_no_cancel_may_be_sent() -> None:
    conn = ready(budget=Budget(0))
    conn.cancel(ORDER, 2.0)
    for name in ("one", "two"):
        conn.send(name, 2.0)
    assert left(outputs(conn, 2.0)) == ["one", "two"]


# --- ids of frames of the caller's own ---


def placement(id: str, *more: str) -> str:
    """A frame of the caller's own that places orders."""
    args = [
        {"id": one, "instType": "SPOT", "instId": "BTCUSDT", "channel": "place-order"}
        for one in (id, *more)
    ]
    return json.dumps({"op": "trade", "args": args})


def placed(id: str, code: int = 0, event: str = "trade") -> str:
    """The exchange's answer to it."""
    echo = {
        "id": id,
        "channel": "place-order",
        "instType": "SPOT",
        "instId": "BTCUSDT",
        "params": {"orderId": "1376"},
    }
    return json.dumps({"event": event, "arg": [echo], "code": code, "msg": "Success"})


def test_the_answer_to_a_placement_settles_no_cancel() -> None:
    conn = ready()
    conn.cancel(OTHER_ORDER, 1.0, id="1")
    outputs(conn, 1.0)
    for text in (placed("1"), placed("1", 43012, "error")):
        conn.receive(text, 1.5)
        assert outputs(conn, 1.5) == [Unrecognised(text=text, why=WhyUnrecognised.OTHER_REQUEST)]
    conn.receive(refusal("1"), 2.0)
    assert [type(outcome) for outcome in outcomes(outputs(conn, 2.0))] == [Rejected]


def test_the_answer_to_a_placement_is_not_a_late_reply() -> None:
    conn = ready()
    conn.cancel(OTHER_ORDER, 1.0, id="1", timeout=1.0)
    outputs(conn, 1.0)
    conn.handle_timeout(2.0)
    outputs(conn, 2.0)
    conn.receive(placed("1"), 2.5)
    assert [type(output) for output in outputs(conn, 2.5)] == [Unrecognised]
    conn.receive(reply("1"), 3.0)
    assert [type(output) for output in outputs(conn, 3.0)] == [LateReply]


def test_the_answer_to_a_placement_does_not_answer_a_queued_cancel() -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.0, id="1")
    text = placed("1")
    conn.receive(text, 0.5)
    assert outputs(conn, 0.5) == [Unrecognised(text=text, why=WhyUnrecognised.OTHER_REQUEST)]


def test_a_generated_id_is_not_that_of_an_own_frame() -> None:
    conn = ready()
    conn.send(placement("1"), 1.0)
    conn.send(placement("bgproto1", "bgproto4"), 1.0)
    assert conn.cancel(ORDER, 1.0) == "bgproto5"


def test_a_cancel_cannot_have_the_id_of_an_own_frame() -> None:
    conn = ready()
    conn.send(placement("a", "b"), 1.0)
    outputs(conn, 1.0)
    before = snapshot(conn)
    for id in ("a", "b"):
        with pytest.raises(
            ValidationError, match=rf"^the id '{id}' was used for a frame of your own"
        ):
            conn.cancel(ORDER, 1.0, id=id)
    assert snapshot(conn) == before
    assert conn.cancel(ORDER, 1.0, id="c") == "c"


UNIFIED = (
    '{"op":"trade","id":"%s","category":"spot","topic":"place-order","args":[{"symbol":"BTCUSDT"}]}'
)


@pytest.mark.parametrize("frame", [placement("a"), placement("b", "a"), UNIFIED % "a"])
@pytest.mark.parametrize("where", ["waits", "was sent", "may be answered late"])
def test_an_own_frame_cannot_have_the_id_of_a_cancel(frame: str, where: str) -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="a", timeout=1.0)
    if where != "waits":
        outputs(conn, 1.0)
    if where == "may be answered late":
        conn.handle_timeout(2.0)
        outputs(conn, 2.0)
    before = snapshot(conn)
    with pytest.raises(ValidationError, match=r"^the id 'a' in this frame "):
        conn.send(frame, 2.0)
    assert snapshot(conn) == before


def test_an_own_frame_may_have_the_id_of_an_answered_cancel() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="a")
    outputs(conn, 1.0)
    conn.receive(reply("a"), 1.0)
    outputs(conn, 1.0)
    conn.send(placement("a"), 1.0)
    assert left(outputs(conn, 1.0)) == [placement("a")]


def test_the_last_1024_ids_of_own_frames_are_remembered() -> None:
    conn = ready(Config(max_own_frames=None))
    for number in range(1025):
        conn.send(placement(f"own{number}"), 1.0)
    assert conn.cancel(ORDER, 1.0, id="own0") == "own0"
    for number in (1, 1024):
        with pytest.raises(ValidationError):
            conn.cancel(ORDER, 1.0, id=f"own{number}")


@pytest.mark.parametrize(
    "frame",
    [
        '{"op":"subscribe","args":[{"id":"a"}]}',
        "not JSON",
        '{"id":"a"}',
        "ping",
        '{"op":"trade","args":[{"id":1}]}',
    ],
)
def test_only_trade_requests_have_an_id(frame: str) -> None:
    conn = ready()
    conn.send(frame, 1.0)
    assert conn.cancel(ORDER, 1.0, id="a") == "a"
    conn.send(frame, 1.0)


def test_a_refused_frame_remembers_no_id() -> None:
    conn = ready(Config(max_own_frames=1))
    conn.cancel(ORDER, 1.0, id="a")
    with pytest.raises(ValidationError):
        conn.send(placement("x", "a"), 1.0)
    conn.send("own", 1.0)
    with pytest.raises(NoRoom):
        conn.send(placement("y"), 1.0)
    for id in ("x", "y"):
        assert conn.cancel(ORDER, 1.0, id=id) == id


# --- an id is free when its outcome has come out ---


def test_an_id_is_not_free_before_its_outcome_was_returned() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="x")
    outputs(conn, 1.0)
    conn.receive(reply("x"), 1.5)
    conn.receive("noise", 1.5)
    before = snapshot(conn)
    with pytest.raises(ValidationError, match="the id 'x' is in flight"):
        conn.cancel(ORDER, 1.5, id="x")
    assert snapshot(conn) == before
    assert isinstance(conn.poll(1.5), Accepted)
    assert conn.cancel(ORDER, 1.5, id="x") == "x", "though another output waits"
    outputs(conn, 1.5)
    conn.receive(refusal("x"), 2.0)
    assert [type(outcome) for outcome in outcomes(outputs(conn, 2.0))] == [Rejected]


@pytest.mark.parametrize("end", ["refused", "unsure", "timed out", "withdrawn"])
def test_an_id_is_not_free_before_any_kind_of_outcome_was_returned(end: str) -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="x", timeout=1.0)
    if end in ("refused", "unsure"):
        outputs(conn, 1.0)
        conn.receive(refusal("x", 43001 if end == "refused" else 40010), 1.0)
    elif end == "withdrawn":
        conn.withdraw("x", 1.0)
    else:
        conn.handle_timeout(2.0)
    with pytest.raises(ValidationError):
        conn.cancel(ORDER, 2.0, id="x")
    assert len(outcomes(outputs(conn, 2.0))) == 1
    if end == "unsure":
        with pytest.raises(ValidationError, match="whose answer may still come"):
            conn.cancel(ORDER, 2.0, id="x")
    else:
        assert conn.cancel(ORDER, 2.0, id="x") == "x"


# --- a place that is not used ---


def test_a_cancel_is_not_sent_at_any_of_its_deadlines() -> None:
    for config, timeout in ((Config(queue_timeout=1.0), None), (Config(), 1.0)):
        conn = ready(config)
        conn.cancel(ORDER, 2.0, id="a", timeout=timeout)
        assert left(outputs(conn, 3.0)) == []
        conn = ready(config)
        conn.cancel(ORDER, 2.0, id="a", timeout=timeout)
        assert left(outputs(conn, nextafter(3.0, -inf))) == ["a"]


def test_commands_are_refused_after_the_end() -> None:
    conn = ready()
    conn.lost(2.0)
    with pytest.raises(LocalProtocolError, match="is closed"):
        conn.cancel_many(orders(1), 2.0)
    assert conn.withdraw("a", 2.0) is False
    assert drain(conn, 2.0)[1].until is None
