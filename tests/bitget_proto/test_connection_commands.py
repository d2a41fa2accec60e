"""Commands: refused calls change nothing; ids, capacity, limits and memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf, nan

import attrs
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
    State,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
)

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    OTHER_ORDER,
    PONG,
    authenticating,
    closed,
    drain,
    draining,
    error,
    in_state,
    only,
    outcomes,
    outputs,
    ready,
    refusal,
    reply,
    snapshot,
    texts,
)


class Text(str):
    """A string that is not plain."""

    __slots__ = ()


def busy() -> tuple[Connection, Budget]:
    """Ready and full: outputs that were not taken, cancels handed out and queued, one remembered, frames that wait."""
    budget = Budget(2)
    conn = ready(Config(max_in_flight=4, max_own_frames=2, late_ids=2), budget=budget)
    conn.cancel(ORDER, 1.0, id="late", timeout=1.0)
    conn.cancel(ORDER, 1.0, id="sent")
    outputs(conn, 1.0)
    conn.handle_timeout(2.0)
    outputs(conn, 2.0)
    for id in ("q1", "q2", "q3"):
        conn.cancel(OTHER_ORDER, 2.0, id=id)
    conn.send("own", 2.0)
    assert isinstance(conn.poll(2.0), Transmit), (
        "the budget holds the cancels back, and not the frame"
    )
    conn.send("own", 2.0)
    conn.receive("noise", 2.0)
    assert conn.capacity == 0
    return conn, budget


REFUSED: dict[str, tuple[Callable[[Connection], object], type[Exception]]] = {
    "no room": (lambda conn: conn.cancel(ORDER, 2.0), NoRoom),
    "no room, with an id": (lambda conn: conn.cancel(ORDER, 2.0, id="new"), NoRoom),
    "no room, and no order": (lambda conn: conn.cancel(None, 2.0), NoRoom),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "no room for many": (lambda conn: conn.cancel_many([ORDER], 2.0), NoRoom),
    "no orders": (lambda conn: conn.cancel_many(None, 2.0), ValidationError),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "an order and none": (lambda conn: conn.cancel_many([ORDER, None], 2.0), ValidationError),  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    "a frame with the id of a cancel": (
        lambda conn: conn.send('{"op":"trade","id":"q1"}', 2.0),
        ValidationError,
    ),
    "a way to close that there is not": (lambda conn: conn.close(2.0, "later"), ValidationError),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "no time to close": (lambda conn: conn.close(2.0, "send", 0), ValidationError),
    "opened again": (lambda conn: conn.opened(2.0, login=LOGIN), LocalProtocolError),
    "text empty": (lambda conn: conn.send("", 2.0), ValidationError),
    "text no text": (lambda conn: conn.send(b"x", 2.0), ValidationError),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "text None": (lambda conn: conn.send(None, 2.0), ValidationError),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "text with half a pair": (lambda conn: conn.send("x\ud800", 2.0), ValidationError),
    "message no message": (lambda conn: conn.receive(7, 2.0), ValidationError),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "now is NaN": (lambda conn: conn.cancel(ORDER, nan), LocalProtocolError),
    "now is infinite": (lambda conn: conn.handle_timeout(inf), LocalProtocolError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_changes_nothing(name: str) -> None:
    act, kind = REFUSED[name]
    conn, budget = busy()
    before, budget_before = snapshot(conn), snapshot(budget)
    with pytest.raises(LocalProtocolError) as caught:
        act(conn)
    assert type(caught.value) is kind
    assert (snapshot(conn), snapshot(budget)) == (before, budget_before)


REFUSED_CANCELS: dict[str, tuple[object, object]] = {
    "id in flight and queued": ("queued", None),
    "id in flight and sent": ("sent", None),
    "id remembered": ("late", None),
    "id not plain but in flight": (Text("sent"), None),
    "id empty": ("", None),
    "id too long": ("x" * 41, None),
    "id with a line feed": ("x\n", None),
    "id with a tab": ("x\ty", None),
    "id with a no-break space": ("x\u00a0y", None),
    "id with a quote": ('x"', None),
    "id in Arabic digits": ("\u0661", None),
    "id a number": (1, None),
    "id bytes": (b"x", None),
    "id false": (False, None),
    "timeout zero": (None, 0),
    "timeout negative": (None, -1.0),
    "timeout minus infinity": (None, -inf),
    "timeout NaN": (None, nan),
    "timeout a string": (None, "1"),
    "timeout true": (None, True),
    "timeout a list": (None, [1]),
}


@pytest.mark.parametrize("name", REFUSED_CANCELS)
def test_a_cancel_with_an_invalid_id_or_timeout_is_refused(
    name: str,
) -> None:
    id, timeout = REFUSED_CANCELS[name]
    budget = Budget(10)
    conn = ready(budget=budget)
    conn.cancel(ORDER, 1.0, id="late", timeout=1.0)
    conn.cancel(ORDER, 1.0, id="sent")
    outputs(conn, 1.0)
    conn.handle_timeout(2.0)
    conn.cancel(ORDER, 2.0, id="queued")
    before, budget_before = snapshot(conn), snapshot(budget)
    with pytest.raises(ValidationError):
        conn.cancel(ORDER, 2.5, id=id, timeout=timeout)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert (snapshot(conn), snapshot(budget)) == (before, budget_before)


@pytest.mark.parametrize("state", [State.DRAINING, State.CLOSED])
def test_when_closing_or_closed_the_error_names_the_state(
    state: State,
) -> None:
    conn = in_state(state)
    with pytest.raises(LocalProtocolError) as caught:
        conn.cancel(None, 2.0, id="", timeout=-1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert type(caught.value) is LocalProtocolError


def test_a_refused_call_does_not_advance_the_time() -> None:
    conn = ready()
    with pytest.raises(LocalProtocolError):
        conn.cancel(ORDER, 500.0, id="")
    conn.cancel(ORDER, 2.0, id="a")
    outputs(conn, 2.0)
    conn.receive(reply("a"), 2.0)
    assert outcomes(outputs(conn, 2.0))[0].taken_at == 2.0


def test_properties_change_nothing() -> None:
    for state in State:
        conn = in_state(state)
        before = snapshot(conn)
        assert conn.state is state
        assert (conn.in_flight, conn.capacity >= 0, conn.config is conn.config) == (
            1 if state is State.DRAINING else 0,
            True,
            True,
        )
        assert state.value in repr(conn)
        assert snapshot(conn) == before


@pytest.mark.parametrize("name", ["state", "in_flight", "capacity", "config"])
def test_properties_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Connection(), name, None)


# --- capacity ---


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING, State.READY])
def test_capacity_is_the_number_of_cancels_that_would_be_taken(state: State) -> None:
    config = Config(max_in_flight=3, login_timeout=None)
    conn = {
        State.NEW: lambda: Connection(config),
        State.AUTHENTICATING: lambda: authenticating(config),
        State.READY: lambda: ready(config),
    }[state]()
    for left in (3, 2, 1):
        assert conn.capacity == left
        conn.cancel(ORDER, 1.0)
        if left == 2:
            outputs(conn, 1.0)
    assert (conn.capacity, conn.in_flight) == (0, 3)
    with pytest.raises(NoRoom):
        conn.cancel(ORDER, 1.0)
    outputs(conn, 1.0)
    conn.handle_timeout(11.0 if state is State.READY else 151.0)
    assert (conn.capacity, conn.in_flight) == (3, 0)


def test_capacity_is_zero_when_draining_or_closed_even_without_a_limit() -> None:
    config = Config(max_in_flight=None)
    assert ready(config).capacity == sys.maxsize
    assert draining(config).capacity == 0
    conn = ready(config)
    conn.lost(2.0)
    assert conn.capacity == 0


def test_an_expired_cancel_counts_until_it_has_its_outcome() -> None:
    conn = ready(Config(max_in_flight=1))
    conn.cancel(ORDER, 1.0, timeout=1.0)
    assert outputs(conn, 5.0) == []
    assert conn.capacity == 0
    conn.handle_timeout(5.0)
    assert conn.capacity == 1


def test_a_settled_cancel_does_not_count_before_poll_returns_its_outcome() -> None:
    conn = ready(Config(max_in_flight=1))
    conn.cancel(ORDER, 1.0, id="a")
    outputs(conn, 1.0)
    conn.receive(reply("a"), 1.0)
    assert conn.capacity == 1


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING, State.READY])
def test_own_frames_are_limited_until_one_is_sent(state: State) -> None:
    config = Config(max_own_frames=2)
    conn = {
        State.NEW: lambda: Connection(config),
        State.AUTHENTICATING: lambda: authenticating(config),
        State.READY: lambda: ready(config),
    }[state]()
    conn.send("1", 1.0)
    conn.send("2", 1.0)
    before = snapshot(conn)
    with pytest.raises(NoRoom):
        conn.send("3", 1.0)
    assert snapshot(conn) == before
    if state is State.READY:
        assert texts(outputs(conn, 1.0)) == ["1", "2"]
        conn.send("3", 1.0)
        assert texts(outputs(conn, 1.0)) == ["3"]


def test_without_a_limit_any_number_of_own_frames_waits() -> None:
    conn = Connection(Config(max_own_frames=None))
    for number in range(1000):
        conn.send(str(number), 0.0)
    assert len(conn._frames.own) == 1000


# --- ids ---


def test_generated_ids_are_a_prefix_and_a_counter() -> None:
    conn = ready(Config(id_prefix="bot 1:"))
    assert [conn.cancel(ORDER, 1.0) for _ in range(3)] == ["bot 1:1", "bot 1:2", "bot 1:3"]
    assert [Connection().cancel(ORDER, 0.0) for _ in range(2)] == ["bgproto1", "bgproto1"], (
        "and never random"
    )


def test_generated_ids_skip_the_ids_of_the_caller() -> None:
    conn = ready(Config(id_prefix="p"))
    conn.cancel(ORDER, 1.0, id="p1", timeout=1.0)
    conn.cancel(ORDER, 1.0, id="p2")
    outputs(conn, 1.0)
    conn.cancel(ORDER, 1.0, id="p4")
    conn.handle_timeout(2.0)
    outputs(conn, 2.0, writable=False)
    assert [conn.cancel(ORDER, 2.0) for _ in range(3)] == ["p5", "p6", "p7"]


def test_a_refused_cancel_uses_up_no_generated_id() -> None:
    conn = ready(Config(max_in_flight=1))
    with pytest.raises(ValidationError):
        conn.cancel(ORDER, 1.0, timeout=-1)
    with pytest.raises(ValidationError):
        conn.cancel_many([ORDER], 1.0, timeout=-1)
    assert conn.cancel(ORDER, 1.0) == "bgproto1"
    with pytest.raises(NoRoom):
        conn.cancel(ORDER, 1.0)
    with pytest.raises(NoRoom):
        conn.cancel_many([ORDER], 1.0)
    outputs(conn, 1.0)
    conn.receive(reply("bgproto1"), 1.0)
    assert conn.cancel(ORDER, 1.0) == "bgproto2", "and none comes twice"


def test_an_id_is_free_once_answered_forgotten_or_ended_unsent() -> None:
    conn = ready(Config(late_ids=1))
    conn.cancel(ORDER, 1.0, id="answered")
    conn.cancel(ORDER, 1.0, id="dropped", timeout=1.0)
    conn.cancel(ORDER, 1.0, id="late", timeout=2.0)
    outputs(conn, 1.0)
    conn.cancel(ORDER, 1.0, id="unsent", timeout=2.0)
    conn.receive(reply("answered"), 1.0)
    conn.handle_timeout(3.0)
    outputs(conn, 3.0)
    for id in ("answered", "dropped", "unsent"):
        assert conn.cancel(ORDER, 3.0, id=id) == id
    with pytest.raises(ValidationError):
        conn.cancel(ORDER, 3.0, id="late")
    conn.receive(reply("late"), 3.0)
    assert len(only(LateReply, outputs(conn, 3.0))) == 1
    assert conn.cancel(ORDER, 3.0, id="late") == "late"


def test_an_id_of_40_characters_of_every_kind_makes_the_round_trip() -> None:
    id = "aZ09_:#-+ " * 4
    conn = ready()
    assert conn.cancel(ORDER, 1.0, id=id) == id
    outputs(conn, 1.0)
    conn.receive(reply(id), 1.0)
    (outcome,) = outcomes(outputs(conn, 1.0))
    assert isinstance(outcome, Accepted)
    assert outcome.id == id


def test_an_id_of_a_str_subclass_becomes_a_str() -> None:
    conn = ready()
    id = conn.cancel(ORDER, 1.0, id=Text("a"))
    assert type(id) is str
    (frame,) = only(Transmit, outputs(conn, 1.0))
    assert [type(id) for id in frame.ids] == [str]


def test_one_order_may_be_cancelled_twice_at_once_under_two_ids() -> None:
    conn = ready()
    ids = [conn.cancel(ORDER, 1.0), conn.cancel(ORDER, 1.0)]
    outputs(conn, 1.0)
    for id in ids:
        conn.receive(reply(id), 1.0)
    assert [outcome.id for outcome in outcomes(outputs(conn, 1.0))] == ids


def test_the_outcome_has_the_order_object_that_was_passed() -> None:
    order = CancelOrder("BTCUSDT", order_id="0", client_oid='a"b\\')
    conn = ready()
    conn.cancel(order, 1.0, id="a")
    outputs(conn, 1.0)
    conn.receive(reply("a"), 1.0)
    assert outcomes(outputs(conn, 1.0))[0].order is order


def test_the_default_limits_are_as_documented() -> None:
    assert attrs.asdict(Connection().config) == {
        "login_timeout": 10,
        "ping_interval": 30,
        "pong_timeout": 10,
        "answer_timeout": 10,
        "queue_timeout": 150,
        "silence": 2,
        "silence_pong": 3,
        "drain_timeout": 5,
        "messages_per_second": 10,
        "pace_margin": 0.05,
        "max_in_flight": 1000,
        "max_message": 65536,
        "max_batch": 20,
        "max_depth": 32,
        "max_own_frames": 100,
        "late_ids": 1024,
        "id_prefix": "bgproto",
    }


# --- what stays behind ---


def stored(conn: Connection) -> dict[str, int]:
    """How many items each private store holds."""
    sizes = {
        name: len(getattr(part, name))
        for part in (conn, conn._in_flight, conn._frames)
        for name in part.__slots__
        if name != "_in_flight" and hasattr(getattr(part, name), "__len__")
    }
    waiting = len(list(conn._in_flight.queue))
    assert conn._in_flight.queue.size == waiting
    return sizes | {"queue": waiting}


def test_ten_thousand_cancels_leave_nothing_behind() -> None:
    budget = Budget(None)
    conn = ready(Config(messages_per_second=None, ping_interval=None, silence=None), budget=budget)
    counts: dict[type, int] = {Accepted: 0, Unresolved: 0, LateReply: 0}
    now = 2.0
    for number in range(10_000):
        now += 0.01
        timeout = 0.5 if number % 3 == 0 else 2.0 if number % 3 == 1 else inf
        id = conn.cancel(ORDER, now, timeout=timeout)
        outputs(conn, now)
        if number % 5:
            conn.receive(reply(id), now)
        else:
            conn.handle_timeout(now + 2.0)
            if id in conn._in_flight.sent:
                conn.receive(refusal(id, 40010), now)
            conn.receive(reply(id), now)
            now += 2.0
        for output in outputs(conn, now):
            counts[type(output)] += 1
        if number % 1000 == 0:
            sizes = stored(conn)
            assert sizes["_deadlines"] <= 64
            assert sum(sizes.values()) - sizes["_deadlines"] == 0
    assert counts == {Accepted: 8000, Unresolved: 2000, LateReply: 2000}
    assert (len(budget._pace._places), budget._grants) == (0, ())


def test_answered_cancels_leave_nothing_behind_an_unanswered_one() -> None:
    conn = ready(Config(messages_per_second=None, ping_interval=None))
    conn.cancel(ORDER, 2.0, id="still out", timeout=50.0)
    for number in range(3000):
        id = conn.cancel(ORDER, 2.0, timeout=60.0 if number % 2 else 55.0)
        outputs(conn, 2.0)
        conn.receive(reply(id), 2.0)
        outputs(conn, 2.0)
    assert conn.in_flight == 1
    assert stored(conn)["_deadlines"] <= 2 + 64


def test_rate_limits_remember_one_window_of_frames() -> None:
    budget = Budget(50)
    conn = ready(Config(messages_per_second=100, ping_interval=None), budget=budget)
    for number in range(2000):
        conn.cancel(ORDER, 2.0 + number / 64, timeout=0.5)
        outputs(conn, 2.0 + number / 64)
        conn.handle_timeout(2.0 + number / 64)
        outputs(conn, 2.0 + number / 64)
        assert len(conn._frames._pace._places) <= 100
        assert len(budget._pace._places) <= 50


def test_unanswered_cancels_leave_limited_memory_until_the_end() -> None:
    conn = ready(Config(messages_per_second=None, ping_interval=None, late_ids=10))
    for number in range(3000):
        conn.cancel(ORDER, 2.0 + number, timeout=0.5)
        outputs(conn, 2.0 + number)
        conn.handle_timeout(2.5 + number)
        outputs(conn, 2.5 + number)
    assert stored(conn)["late"] == 10
    assert sum(stored(conn).values()) <= 10 + 64
    conn.lost(1e6)
    drain(conn, 1e6)
    assert sum(stored(conn).values()) == 0


@pytest.mark.parametrize("make", [authenticating, ready, draining])
def test_a_flood_from_the_peer_grows_only_the_outputs(make: Callable[..., Connection]) -> None:
    conn = make(
        Config(
            late_ids=5, answer_timeout=None, silence=None, drain_timeout=None, login_timeout=None
        )
    )
    before = stored(conn)
    flood: list[str | bytes] = [
        PONG, "x", b"\xff", reply("zzz"), refusal("yyy"), reply(1), error(30006), error(30033), error(429),
        '{"event":"login","code":null}', '{"event":"subscribe"}', '{"event":"trade","code":0}', "[" * 1000,
    ]  # fmt: skip
    state = conn.state
    for number in range(2000):
        conn.receive(flood[number % len(flood)], 2.0 + number / 1000)
        conn.receive(reply(f"n{number}"), 2.0 + number / 1000)
    assert conn.state is state
    after = stored(conn)
    assert after.pop("_outputs") > 2000
    before.pop("_outputs")
    assert after == before
    assert len(outputs(conn, 5.0, writable=False)) > 2000


def test_the_end_clears_every_store() -> None:
    conn, _ = busy()
    conn.lost(3.0)
    assert len(outputs(conn, 3.0)) == 1 + 4 + 1
    assert sum(stored(conn).values()) == 0
    for conn in (closed(), draining()):
        conn.close(5.0)
        outputs(conn, 5.0)
        assert sum(stored(conn).values()) == 0


def test_many_own_ids_do_not_slow_down_generated_ids() -> None:
    conn = ready(Config(max_in_flight=None))
    for number in range(1, 2001):
        conn.cancel(ORDER, 1.0, id=f"bgproto{number}")
    assert [conn.cancel(ORDER, 1.0) for _ in range(3)] == [
        "bgproto2001",
        "bgproto2002",
        "bgproto2003",
    ]


def test_connections_share_no_state() -> None:
    one, two = ready(), ready()
    one.cancel(ORDER, 1.0, id="a")
    outputs(one, 1.0)
    text = reply("a")
    two.receive(text, 1.0)
    assert isinstance(outputs(two, 1.0)[0], Unrecognised)
    one.receive(text, 1.0)
    assert isinstance(outputs(one, 1.0)[0], Accepted)
    assert LOGGED_IN not in texts(outputs(two, 1.0))
