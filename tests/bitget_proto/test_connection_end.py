"""The end of a connection: the order of its outputs, and the table of transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from bitget_proto import (
    Accepted,
    Closed,
    CodeClass,
    Config,
    Connection,
    ExchangeError,
    GoingAway,
    Hangup,
    LocalProtocolError,
    LoginRejected,
    Output,
    Rejected,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto._values.states import TRANSITIONS, Cause, Step

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    PONG,
    authenticating,
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
    waits,
)
from .interrupting import interrupt

Act = Callable[[Connection], object]


def with_two_sent_and_two_queued(config: Config | None = None) -> Connection:
    """Ready at 1, with the cancels d and b handed out and c and a still queued."""
    conn = ready(
        config or Config(messages_per_second=2, pace_margin=None, ping_interval=None, silence=None)
    )
    for id in "dbca":
        conn.cancel(ORDER, 1.0, id=id)
    assert [id for frame in only(Transmit, outputs(conn, 1.0)) for id in frame.ids] == ["d", "b"]
    return conn


def unresolved(given: list[Output]) -> list[tuple[str, bool, WhyUnresolved]]:
    return [(end.id, end.sent, end.why) for end in only(Unresolved, given)]


# --- the order of the end ---


def test_the_end_of_a_lost_link_has_one_order() -> None:
    conn = with_two_sent_and_two_queued()
    conn.lost(2.0, "reset by peer")
    assert (conn.state, conn.in_flight, conn.capacity) == (State.CLOSED, 0, 0)
    given, wait = drain(conn, 2.0)
    lost = WhyUnresolved.LOST
    assert unresolved(given) == [
        ("d", True, lost),
        ("b", True, lost),
        ("c", False, lost),
        ("a", False, lost),
    ]
    assert given[4:] == [Closed(why=WhyClosed.LOST, detail="reset by peer")]
    assert wait == Wait(until=None, timer=None)


@pytest.mark.parametrize(
    ("code", "why"),
    [(30004, WhyClosed.NOT_LOGGED_IN), ("30007", WhyClosed.THROWN_OUT)],
    ids=["30004", "30007"],
)
def test_the_end_after_a_fatal_error_has_the_same_order(code: object, why: WhyClosed) -> None:
    conn = with_two_sent_and_two_queued()
    conn.receive(error(code, "no more"), 2.0)
    assert (conn.state, conn.in_flight, conn.capacity) == (State.DRAINING, 2, 0)
    given, wait = drain(conn, 2.0)
    assert [type(output) for output in given] == [ExchangeError, Unresolved, Unresolved]
    closed = WhyUnresolved.CLOSED
    assert unresolved(given) == [("c", False, closed), ("a", False, closed)]
    assert wait == Wait(until=2.5, timer=Timer.DRAIN)
    conn.handle_timeout(2.5)
    given, wait = drain(conn, 2.5)
    assert unresolved(given) == [("d", True, closed), ("b", True, closed)]
    assert given[2:] == [Hangup(code=1000, reason=why.value), Closed(why=why, detail="no more")]
    assert wait == Wait(until=None, timer=None)


def test_the_end_without_a_pong_has_the_same_order() -> None:
    conn = with_two_sent_and_two_queued(
        Config(messages_per_second=2, pace_margin=None, ping_interval=1.5, pong_timeout=0.25)
    )
    conn.handle_timeout(1.5)
    conn.handle_timeout(1.75)
    given, wait = drain(conn, 1.75)
    lost = WhyUnresolved.LOST
    assert unresolved(given) == [
        ("d", True, lost),
        ("b", True, lost),
        ("c", False, lost),
        ("a", False, lost),
    ]
    assert given[4] == Hangup(code=1000, reason="no pong", abort=True)
    assert given[5:] == [Closed(why=WhyClosed.NO_PONG, detail="no pong within 0.25 s of a ping")]
    assert wait == Wait(until=None, timer=None)


def test_the_end_follows_the_outputs_before_it() -> None:
    conn = with_two_sent_and_two_queued()
    conn.receive(reply("b"), 1.5)
    conn.receive(error(30033), 1.5)
    conn.lost(2.0)
    assert [type(output) for output in outputs(conn, 2.0)] == [
        Accepted,
        GoingAway,
        *[Unresolved] * 3,
        Closed,
    ]


def test_the_outputs_of_the_end_are_returned_while_a_write_is_in_progress() -> None:
    conn = with_two_sent_and_two_queued()
    conn.receive(error(30007), 2.0)
    assert len(outputs(conn, 2.0, writable=False)) == 3
    conn.handle_timeout(2.5)
    assert len(outputs(conn, 2.5, writable=False)) == 4


def test_after_the_end_every_call_leads_to_an_endless_wait() -> None:
    conn = with_two_sent_and_two_queued()
    conn.lost(2.0)
    outputs(conn, 2.0)
    before = snapshot(conn)
    acts: list[Callable[[], None]] = [
        lambda: conn.receive(reply("d"), 2.0),
        lambda: conn.receive(refusal("a"), 2.0),
        lambda: conn.receive(LOGGED_IN, 2.0),
        lambda: conn.receive(error(30007), 2.0),
        lambda: conn.receive(b"\xff", 2.0),
        lambda: conn.receive(PONG, 2.0),
        lambda: conn.lost(2.0, "again", ["d"]),
        lambda: conn.handle_timeout(2.0),
        lambda: conn.close(2.0),
    ]
    for act in acts:
        act()
        assert drain(conn, 2.0) == ([], Wait(until=None, timer=None))
    assert snapshot(conn) == before
    conn.handle_timeout(1e9)
    assert drain(conn, 1e9) == ([], Wait(until=None, timer=None))


def test_outcomes_of_the_end_have_the_time_of_the_end() -> None:
    conn = with_two_sent_and_two_queued()
    conn.lost(7.5)
    assert {(end.taken_at, end.resolved_at) for end in only(Unresolved, outputs(conn, 9.0))} == {
        (1.0, 7.5)
    }


# --- lost ---


def test_unsent_ids_end_with_sent_false() -> None:
    conn = with_two_sent_and_two_queued()
    conn.lost(2.0, "", unsent=["b"])
    given = only(Unresolved, outputs(conn, 2.0))
    assert unresolved(list(given)) == [
        ("d", True, WhyUnresolved.LOST),
        ("b", False, WhyUnresolved.LOST),
        ("c", False, WhyUnresolved.LOST),
        ("a", False, WhyUnresolved.LOST),
    ]
    assert [end.sent_at for end in given] == [1.0, None, None, None]


UNSENT: dict[str, Callable[[], Iterable[str]]] = {
    "tuple": lambda: ("d", "b"),
    "list": lambda: ["b", "d"],
    "set": lambda: {"d", "b"},
    "iterator": lambda: iter("db"),
    "more than there are": lambda: ("d", "b", "b", "zzz", "a"),
}


@pytest.mark.parametrize("unsent", UNSENT.values(), ids=UNSENT.keys())
def test_unsent_is_any_iterable_and_other_ids_are_ignored(
    unsent: Callable[[], Iterable[str]],
) -> None:
    conn = with_two_sent_and_two_queued()
    conn.lost(2.0, "", unsent=unsent())
    given = only(Unresolved, outputs(conn, 2.0))
    assert [(end.id, end.sent) for end in given] == [
        ("d", False),
        ("b", False),
        ("c", False),
        ("a", False),
    ]


def test_unsent_as_one_string_is_one_id() -> None:
    conn = with_two_sent_and_two_queued()
    conn.lost(2.0, "", unsent="db")
    assert [end.sent for end in only(Unresolved, outputs(conn, 2.0))] == [True, True, False, False]
    conn = with_two_sent_and_two_queued()
    conn.lost(2.0, "", unsent="d")
    assert [end.sent for end in only(Unresolved, outputs(conn, 2.0))] == [False, True, False, False]


def test_unsent_changes_no_earlier_outcome() -> None:
    conn = with_two_sent_and_two_queued()
    conn.receive(reply("d"), 1.5)
    conn.receive(refusal("b", 40010), 1.5)
    conn.lost(2.0, "", unsent=["d", "b"])
    given = outcomes(outputs(conn, 2.0))
    assert [(type(end), end.id) for end in given[:2]] == [(Accepted, "d"), (Unresolved, "b")]
    assert unresolved(list(given))[0] == ("b", True, WhyUnresolved.UNSURE)
    assert len(given) == 4


def test_unsent_ids_count_while_draining() -> None:
    conn = draining(ids=("a", "b"))
    conn.lost(2.0, "", unsent=["a"])
    assert unresolved(outputs(conn, 2.0)) == [
        ("a", False, WhyUnresolved.LOST),
        ("b", True, WhyUnresolved.LOST),
    ]


def test_lost_in_new_is_a_failed_dial() -> None:
    conn = Connection()
    conn.cancel(ORDER, 0.0, id="a")
    conn.lost(1.0, "no route to host")
    given = outputs(conn, 1.0)
    assert unresolved(given) == [("a", False, WhyUnresolved.LOST)]
    assert given[1:] == [Closed(why=WhyClosed.LOST, detail="no route to host")]


def test_lost_twice_is_one_end() -> None:
    conn = ready()
    conn.lost(2.0)
    conn.lost(2.0)
    assert outputs(conn, 2.0) == [Closed(why=WhyClosed.LOST, detail="")]


# --- close ---


def test_close_settles_the_queue_at_once_and_waits_for_sent_cancels() -> None:
    conn = with_two_sent_and_two_queued()
    conn.close(2.0)
    assert (conn.state, conn.in_flight, conn.capacity) == (State.DRAINING, 2, 0)
    given, wait = drain(conn, 2.0)
    assert unresolved(given) == [
        ("c", False, WhyUnresolved.CLOSED),
        ("a", False, WhyUnresolved.CLOSED),
    ]
    assert len(given) == 2
    assert wait == Wait(until=7.0, timer=Timer.DRAIN)
    conn.handle_timeout(7.0)
    given, wait = drain(conn, 7.0)
    assert unresolved(given) == [
        ("d", True, WhyUnresolved.CLOSED),
        ("b", True, WhyUnresolved.CLOSED),
    ]
    assert given[2] == Hangup(code=1000, reason="asked")
    assert isinstance(given[3], Closed)
    assert given[3].why is WhyClosed.ASKED
    assert wait == Wait(until=None, timer=None)


def test_close_with_nothing_sent_ends_at_once() -> None:
    conn = ready(Config(messages_per_second=1), settled=False)
    conn.cancel(ORDER, 0.5, id="b")
    conn.cancel(ORDER, 0.5, id="a")
    assert outputs(conn, 0.5) == []
    conn.close(0.5)
    given = outputs(conn, 0.5)
    assert unresolved(given) == [
        ("b", False, WhyUnresolved.CLOSED),
        ("a", False, WhyUnresolved.CLOSED),
    ]
    assert given[2:] == [Hangup(code=1000, reason="asked"), Closed(why=WhyClosed.ASKED, detail="")]


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING, State.READY])
def test_close_with_nothing_in_flight_ends_at_once(state: State) -> None:
    conn = in_state(state)
    conn.close(2.0)
    assert outputs(conn, 2.0) == [
        Hangup(code=1000, reason="asked"),
        Closed(why=WhyClosed.ASKED, detail=""),
    ]
    assert conn.state is State.CLOSED


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING])
def test_close_before_ready_settles_the_queue_and_ends_at_once(state: State) -> None:
    conn = in_state(state)
    conn.cancel(ORDER, 1.0, id="b")
    conn.cancel(ORDER, 1.0, id="a")
    conn.close(2.0)
    given = outputs(conn, 2.0)
    assert unresolved(given) == [
        ("b", False, WhyUnresolved.CLOSED),
        ("a", False, WhyUnresolved.CLOSED),
    ]
    assert [type(output) for output in given[2:]] == [Hangup, Closed]


def test_a_second_close_ends_at_once() -> None:
    conn = draining(ids=("b", "a"))
    conn.close(2.0)
    given = outputs(conn, 2.0)
    assert unresolved(given) == [
        ("b", True, WhyUnresolved.CLOSED),
        ("a", True, WhyUnresolved.CLOSED),
    ]
    assert given[2:] == [Hangup(code=1000, reason="asked"), Closed(why=WhyClosed.ASKED, detail="")]
    conn.close(3.0)
    assert outputs(conn, 3.0) == []


def test_close_drops_own_frames() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None, silence=None))
    conn.cancel(ORDER, 1.0, id="a")
    conn.send("mine", 1.0)
    outputs(conn, 1.0)
    conn.close(1.0)
    assert len(conn._frames.own) == 0
    assert texts(outputs(conn, 3.0)) == []
    assert conn.state is State.DRAINING


def test_draining_ends_when_the_last_cancel_expires() -> None:
    conn = ready(Config(drain_timeout=60.0))
    conn.cancel(ORDER, 1.0, id="a", timeout=3.0)
    conn.cancel(ORDER, 1.0, id="b", timeout=2.0)
    outputs(conn, 1.0)
    conn.close(1.0)
    conn.handle_timeout(3.0)
    assert conn.state is State.DRAINING
    conn.handle_timeout(4.0)
    given = outputs(conn, 4.0)
    assert unresolved(given) == [
        ("b", True, WhyUnresolved.TIMEOUT),
        ("a", True, WhyUnresolved.TIMEOUT),
    ]
    assert given[2:] == [Hangup(code=1000, reason="asked"), Closed(why=WhyClosed.ASKED, detail="")]


def test_without_a_drain_timeout_only_the_cancels_deadlines_end_it() -> None:
    conn = draining(Config(drain_timeout=None, ping_interval=None, silence=None))
    assert waits(conn, 1.0) == Wait(until=11.0, timer=Timer.REQUEST)


def test_close_settles_an_expired_cancel_whose_timer_has_not_fired() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="a", timeout=1.0)
    assert outputs(conn, 5.0) == []
    conn.close(5.0)
    given = outputs(conn, 5.0)
    assert unresolved(given) == [("a", False, WhyUnresolved.CLOSED)]
    assert conn.state is State.CLOSED


def test_going_away_is_only_an_event() -> None:
    for conn in (ready(), draining()):
        state = conn.state
        conn.receive(error(30033, "upgrade"), 2.0)
        given, wait = drain(conn, 2.0)
        assert given == [GoingAway(message="upgrade", text=error(30033, "upgrade"))]
        assert conn.state is state
        assert wait.timer in (Timer.PING, Timer.SILENCE)
        if state is State.READY:
            conn.cancel(ORDER, 2.0)
            assert len(texts(outputs(conn, 2.0))) == 1


# --- the table ---


def reach(state: State) -> Connection:
    """A connection in this state to which each cause can still happen."""
    config = Config(
        ping_interval=2.0,
        pong_timeout=1.0,
        login_timeout=60.0,
        drain_timeout=None,
        answer_timeout=None,
        silence=None,
    )
    match state:
        case State.NEW:
            return Connection(config)
        case State.AUTHENTICATING:
            return authenticating(config)
        case State.READY:
            conn = ready(config)
            conn.cancel(ORDER, 1.0, id="a")
            outputs(conn, 1.0)
            return conn
        case State.DRAINING:
            return draining(config)
        case State.CLOSED:
            raise AssertionError


def no_pong(conn: Connection) -> None:
    conn.handle_timeout(2.0)
    conn.handle_timeout(3.0)


def asked(conn: Connection) -> None:
    if conn.state is State.READY:
        conn.receive(reply("a"), 2.0)
    conn.close(2.0)


def no_answer_but_pongs(conn: Connection) -> None:
    for second in range(2, 61):
        conn.handle_timeout(float(second))
        if conn.poll(float(second)) == Transmit(text="ping"):
            conn.receive(PONG, float(second))


def refused(conn: Connection, code: int) -> None:
    conn.receive(error(code), 1.0)
    conn.handle_timeout(1.5)


def interrupted(conn: Connection) -> None:
    interrupt(conn, 1.0)
    conn.handle_timeout(1.0)


CAUSES: dict[Cause, Act] = {
    Step.OPENED: lambda conn: conn.opened(1.0, login=LOGIN),
    Step.LOGGED_IN: lambda conn: conn.receive(LOGGED_IN, 1.0),
    Step.CLOSING: lambda conn: conn.close(1.0),
    WhyClosed.ASKED: asked,
    WhyClosed.LOST: lambda conn: conn.lost(1.0),
    WhyClosed.LOGIN_REFUSED: lambda conn: conn.receive(error(30015), 1.0),
    WhyClosed.LOGIN_TIMEOUT: no_answer_but_pongs,
    WhyClosed.NO_PONG: no_pong,
    WhyClosed.NOT_LOGGED_IN: lambda conn: refused(conn, 30004),
    WhyClosed.THROWN_OUT: lambda conn: refused(conn, 30007),
    WhyClosed.INTERRUPTED: interrupted,
}


@pytest.mark.parametrize(
    ("state", "cause"),
    [(state, cause) for state, row in TRANSITIONS.items() for cause in row],
    ids=lambda value: value.value,
)
def test_each_transition_of_the_table_can_happen(state: State, cause: Cause) -> None:
    conn = reach(state)
    CAUSES[cause](conn)
    assert conn.state is TRANSITIONS[state][cause]
    if isinstance(cause, WhyClosed):
        (end,) = only(Closed, outputs(conn, 60.0))
        assert end.why is cause


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (state, cause)
        for state in State
        for cause in CAUSES
        if state is not State.CLOSED
        and cause not in TRANSITIONS[state]
        # What the same input means in another state is its own line of the table, and tested above.
        and (state, cause) != (State.NEW, Step.CLOSING)
        and (state, cause) != (State.AUTHENTICATING, Step.CLOSING)
        and (state, cause) != (State.DRAINING, Step.CLOSING)
        and (state, cause) != (State.AUTHENTICATING, WhyClosed.NOT_LOGGED_IN)
        and (state, cause) != (State.READY, WhyClosed.NOT_LOGGED_IN)
        and (state, cause) != (State.READY, WhyClosed.THROWN_OUT)
    ],
    ids=lambda value: value.value,
)
def test_a_cause_without_a_transition_does_not_change_the_state(state: State, cause: Cause) -> None:
    conn = reach(state)
    if cause is Step.OPENED:
        with pytest.raises(LocalProtocolError):
            CAUSES[cause](conn)
    else:
        CAUSES[cause](conn)
    assert only(Closed, outputs(conn, 60.0)) == []
    assert conn.state is state


def test_30004_before_ready_is_a_refused_login() -> None:
    conn = authenticating()
    conn.receive(error(30004), 1.0)
    given = outputs(conn, 1.0)
    assert isinstance(given[0], LoginRejected)
    assert only(Closed, given)[0].why is WhyClosed.LOGIN_REFUSED


@pytest.mark.parametrize("code", [30004, 30006, 30007, 30015, 30033, 99999])
@pytest.mark.parametrize("state", [State.NEW, State.CLOSED])
def test_messages_before_opened_and_after_the_end_are_ignored(state: State, code: int) -> None:
    conn = in_state(state)
    messages: list[str | bytes] = [
        error(code),
        reply("a", code),
        f'{{"event":"login","code":{code}}}',
        "x",
        b"\xff",
        PONG,
    ]
    for message in messages:
        conn.receive(message, 1.0)
        assert drain(conn, 1.0) == ([], Wait(until=None, timer=None))
    assert conn.state is state


@pytest.mark.parametrize(
    ("state", "how"), [(State.DRAINING, "is closing"), (State.CLOSED, "is closed")]
)
def test_commands_are_refused_when_closing_and_closed(state: State, how: str) -> None:
    conn = in_state(state)
    assert conn.capacity == 0
    before = snapshot(conn)
    with pytest.raises(
        LocalProtocolError, match=rf"^the connection {how} and takes no more cancels"
    ):
        conn.cancel(ORDER, 2.0)
    with pytest.raises(
        LocalProtocolError, match=rf"^the connection {how} and takes no more cancels"
    ):
        conn.cancel_many([ORDER], 2.0)
    with pytest.raises(
        LocalProtocolError, match=rf"^the connection {how} and takes no more frames"
    ):
        conn.send("x", 2.0)
    assert snapshot(conn) == before


def test_no_other_message_ends_a_connection() -> None:
    contents: list[str | bytes] = [
        "x", b"\xff", "[]", "null", "[" * 100_000, PONG, LOGGED_IN, reply("zzz"), refusal("zzz", 30004),
        refusal(1, 30004), refusal(["a"], 30007), '{"event":"trade","code":30004}', '{"event":"trade","code":30007}',
        '{"event":"error","arg":[{"id":"x"},{"id":"y"}],"code":30007}', '{"event":"login","code":30004}',
        '{"event":"other","code":30004}', '{"code":30007}', '{"event":"close"}', "close", '{"op":"close"}',
    ]  # fmt: skip
    contents += [error(code) for code in range(30000, 30040) if code not in (30004, 30007)]
    for conn in (ready(), draining(Config(drain_timeout=None, answer_timeout=None))):
        state = conn.state
        for content in contents:
            conn.receive(content, 2.0)
            given = outputs(conn, 2.0)
            assert [type(output) for output in given] == (
                [] if content == PONG else [type(given[0])]
            )
            assert isinstance(
                given[0] if given else GoingAway(message="", text=""),
                Unrecognised | ExchangeError | GoingAway,
            )
            assert conn.state is state


def test_the_code_of_a_fatal_error_may_be_spelled_in_any_way() -> None:
    for code, why in (("30004", WhyClosed.NOT_LOGGED_IN), ("0030007", WhyClosed.THROWN_OUT)):
        conn = ready()
        conn.receive(error(code), 2.0)
        (first,) = outputs(conn, 2.0)
        assert isinstance(first, ExchangeError)
        assert first.code_class in (CodeClass.LOGIN, CodeClass.THROTTLED)
        conn.handle_timeout(2.5)
        assert only(Closed, outputs(conn, 2.5))[0].why is why


def test_a_rejection_while_draining_comes_before_the_end() -> None:
    conn = draining()
    conn.receive(refusal("a"), 2.0)
    assert [type(output) for output in outputs(conn, 2.0)] == [Rejected, Hangup, Closed]
