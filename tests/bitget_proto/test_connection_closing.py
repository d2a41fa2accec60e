"""`close` with a queue, and the end after a fatal error of the exchange (30004, 30007)."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter

import attrs
import pytest

from bitget_proto import (
    Accepted,
    Budget,
    Closed,
    Config,
    Connection,
    ExchangeError,
    Hangup,
    LateReply,
    LocalProtocolError,
    Output,
    Ready,
    Rejected,
    State,
    Timer,
    Transmit,
    Unresolved,
    ValidationError,
    Wait,
    WhyClosed,
    WhyUnresolved,
)

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    answering,
    authenticating,
    drain,
    draining,
    error,
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
    waits,
)

ONE_A_SECOND = Config(messages_per_second=1, pace_margin=None, ping_interval=None, silence=None)


def one_sent_two_queued(config: Config = ONE_A_SECOND) -> Connection:
    """At 2 s: "a" was sent; "b" and "c" wait."""
    conn = ready(config)
    for id in "abc":
        conn.cancel(ORDER, 2.0, id=id)
    assert ids(outputs(conn, 2.0)) == "a"
    return conn


def ids(given: list[Output]) -> str:
    return " ".join(", ".join(frame.ids) or frame.text for frame in only(Transmit, given))


def ended(given: list[Output]) -> list[tuple[str, bool, WhyUnresolved]]:
    return [(end.id, end.sent, end.why) for end in only(Unresolved, given)]


ASKED: list[Output] = [Hangup(code=1000, reason="asked"), Closed(why=WhyClosed.ASKED, detail="")]
CLOSED, TIMEOUT = WhyUnresolved.CLOSED, WhyUnresolved.TIMEOUT


# --- send what is queued, then close ---


def test_close_sends_the_queue_and_the_last_answer_ends_the_connection() -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued="send")
    assert (conn.state, conn.capacity, conn.in_flight) == (State.READY, 0, 3)
    came = live(conn, 2.0, 5.0, answering(0.25))
    assert [(at, output.ids) for at, output in came if isinstance(output, Transmit)] == [
        (3.0, ("b",)),
        (4.0, ("c",)),
    ]
    conn.receive(reply("a"), 5.0)
    given = [output for _, output in came] + outputs(conn, 5.0)
    assert [outcome.id for outcome in only(Accepted, given)] == ["b", "c", "a"]
    assert given[-2:] == ASKED


def test_close_sends_a_thousand_queued_cancels() -> None:
    conn = ready()
    conn.cancel_many([ORDER] * 1000, 2.0)
    conn.close(2.0, queued="send")
    given = [output for _, output in live(conn, 2.0, 200.0, answering(0.02))]
    assert len(only(Accepted, given)) == 1000
    assert only(Unresolved, given) == []
    assert given[-2:] == ASKED


def test_nothing_is_taken_while_close_sends_the_queue() -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued="send")
    before = snapshot(conn)
    with pytest.raises(
        LocalProtocolError, match=r"^the connection is closing and takes no more cancels"
    ):
        conn.cancel(ORDER, 2.0)
    with pytest.raises(
        LocalProtocolError, match=r"^the connection is closing and takes no more cancels"
    ):
        conn.cancel_many([], 2.0)
    with pytest.raises(
        LocalProtocolError, match=r"^the connection is closing and takes no more frames"
    ):
        conn.send("x", 2.0)
    assert snapshot(conn) == before


def test_close_sends_own_frames_too_and_ends_after_the_last() -> None:
    conn = ready(ONE_A_SECOND)
    conn.send("one", 2.0)
    conn.send("two", 2.0)
    conn.close(2.0, queued="send")
    assert ids(outputs(conn, 2.0)) == "one"
    assert conn.state is State.READY
    given = outputs(conn, 3.0)
    assert ids(given) == "two"
    assert given[1:] == ASKED


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING])
def test_a_closing_queue_waits_for_the_login(state: State) -> None:
    conn = in_state(state)
    conn.cancel(ORDER, 1.0, id="a")
    conn.close(1.0, queued="send")
    assert drain(conn, 1.0)[0] == []
    assert (conn.state, conn.capacity) == (state, 0)
    if state is State.NEW:
        conn.opened(1.0, login=LOGIN)
        assert len(texts(outputs(conn, 1.0))) == 1
    conn.receive(LOGGED_IN, 1.5)
    assert ids(outputs(conn, 1.5)) == "a"
    conn.receive(reply("a"), 2.0)
    assert outputs(conn, 2.0)[1:] == ASKED


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING, State.READY])
def test_close_with_nothing_open_ends_at_once(state: State) -> None:
    conn = in_state(state)
    conn.close(2.0, queued="send")
    assert outputs(conn, 2.0) == ASKED
    assert conn.state is State.CLOSED


def test_a_close_ends_when_the_queue_has_expired_or_was_withdrawn() -> None:
    conn = authenticating(Config(login_timeout=None))
    conn.cancel(ORDER, 1.0, id="a", timeout=2.0)
    conn.cancel(ORDER, 1.0, id="b")
    conn.close(1.0, queued="send")
    conn.handle_timeout(3.0)
    assert ended(outputs(conn, 3.0)) == [("a", False, TIMEOUT)]
    assert conn.withdraw("b", 4.0)
    given = outputs(conn, 4.0)
    assert ended(given) == [("b", False, WhyUnresolved.WITHDRAWN)]
    assert given[1:] == ASKED


@pytest.mark.parametrize(("within", "until"), [(None, 2.0 + 150.0), (1.5, 3.5), (7, 9.0)])
def test_after_within_the_queue_is_dropped_and_answers_still_count(
    within: float | None, until: float
) -> None:
    conn = ready(
        Config(queue_timeout=150.0, answer_timeout=None, ping_interval=None, silence=None),
        budget=Budget(0),
    )
    conn.cancel(ORDER, 2.0, id="a", timeout=inf)
    conn.close(2.0, queued="send", within=within)
    wait = waits(conn, 2.0)
    assert wait.until == until
    conn.handle_timeout(nextafter(until, -inf))
    assert outputs(conn, nextafter(until, -inf)) == []
    conn.handle_timeout(until)
    given = outputs(conn, until)
    assert ended(given) == [("a", False, TIMEOUT if within is None else CLOSED)]
    assert given[1:] == ASKED


def test_after_within_sent_cancels_have_the_drain_timeout() -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued="send", within=1.5)
    assert ids(outputs(conn, 3.0)) == "b"
    conn.handle_timeout(3.5)
    given, wait = drain(conn, 3.5)
    assert ended(given) == [("c", False, CLOSED)]
    assert (conn.state, conn.in_flight) == (State.DRAINING, 2)
    assert wait == Wait(until=8.5, timer=Timer.DRAIN)
    conn.receive(reply("b"), 5.0)
    conn.handle_timeout(8.5)
    given = outputs(conn, 8.5)
    assert [type(output) for output in given] == [Accepted, Unresolved, Hangup, Closed]
    assert ended(given) == [("a", True, CLOSED)]


def test_an_infinite_within_leaves_only_the_cancels_own_deadlines() -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued="send", within=inf)
    assert waits(conn, 2.0) == Wait(until=3.0, timer=Timer.PACING)


def test_a_lost_link_ends_a_closing_connection() -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued="send")
    conn.lost(2.5, "reset")
    given = outputs(conn, 2.5)
    lost = WhyUnresolved.LOST
    assert ended(given) == [("a", True, lost), ("b", False, lost), ("c", False, lost)]
    assert given[3:] == [Closed(why=WhyClosed.LOST, detail="reset")]


def test_a_refused_login_ends_a_closing_connection() -> None:
    conn = authenticating()
    conn.cancel(ORDER, 1.0, id="a")
    conn.close(1.0, queued="send")
    conn.receive(error(30015), 1.0)
    given = outputs(conn, 1.0)
    assert ended(given) == [("a", False, CLOSED)]
    assert only(Closed, given)[0].why is WhyClosed.LOGIN_REFUSED


# --- a second call ---


@pytest.mark.parametrize("second", ["drop", "send"])
@pytest.mark.parametrize("first", ["drop", "send"])
def test_a_second_close_ends_the_sending_of_the_queue(first: str, second: str) -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued=first)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    dropped = outputs(conn, 2.0)
    assert ended(dropped) == (
        [("b", False, CLOSED), ("c", False, CLOSED)] if first == "drop" else []
    )
    conn.close(2.5, queued=second)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    given = outputs(conn, 2.5)
    waiting = [] if first == "drop" else [("b", False, CLOSED), ("c", False, CLOSED)]
    assert ended(given) == [("a", True, CLOSED), *waiting]
    assert given[-2:] == ASKED
    conn.close(3.0)
    assert outputs(conn, 3.0) == []


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING])
def test_a_second_close_before_the_login_is_accepted_ends_at_once(state: State) -> None:
    conn = in_state(state)
    conn.cancel(ORDER, 1.0, id="a")
    conn.close(1.0, queued="send")
    conn.close(1.0)
    given = outputs(conn, 1.0)
    assert ended(given) == [("a", False, CLOSED)]
    assert given[1:] == ASKED


# --- drop what is queued ---


@pytest.mark.parametrize(("within", "until"), [(None, 7.0), (1.5, 3.5), (60, 62.0)])
def test_sent_cancels_have_within_seconds_to_be_answered(
    within: float | None, until: float
) -> None:
    conn = one_sent_two_queued(attrs.evolve(ONE_A_SECOND, answer_timeout=None))
    conn.close(2.0, within=within)
    given, wait = drain(conn, 2.0)
    assert ended(given) == [("b", False, CLOSED), ("c", False, CLOSED)]
    assert wait == Wait(until=until, timer=Timer.DRAIN)
    conn.handle_timeout(until)
    assert ended(outputs(conn, until)) == [("a", True, CLOSED)]


def test_with_an_infinite_within_sent_cancels_have_their_own_deadlines() -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, within=inf)
    assert waits(conn, 2.0) == Wait(until=12.0, timer=Timer.REQUEST)


REFUSED: dict[str, Callable[[Connection], object]] = {
    "queued another word": lambda conn: conn.close(2.0, "later"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "queued a list": lambda conn: conn.close(2.0, ["send"]),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "queued None": lambda conn: conn.close(2.0, None),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "within zero": lambda conn: conn.close(2.0, within=0),
    "within negative": lambda conn: conn.close(2.0, "send", within=-1.0),
    "within NaN": lambda conn: conn.close(2.0, within=float("nan")),
    "within true": lambda conn: conn.close(2.0, within=True),
    "within a string": lambda conn: conn.close(2.0, within="1"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_close_is_refused_and_changes_nothing(name: str, state: State) -> None:
    conn = in_state(state)
    before = snapshot(conn)
    with pytest.raises(ValidationError, match=r"^(queued|within) must be "):
        REFUSED[name](conn)
    assert snapshot(conn) == before


# --- 30004 and 30007: what came in the same read still counts ---

FATAL_ERRORS = pytest.mark.parametrize(
    ("code", "why"),
    [(30004, WhyClosed.NOT_LOGGED_IN), (30007, WhyClosed.THROWN_OUT)],
    ids=["30004", "30007"],
)


def sent(*names: str) -> Connection:
    conn = ready()
    for id in names:
        conn.cancel(ORDER, 2.0, id=id)
    assert len(texts(outputs(conn, 2.0))) == len(names)
    return conn


@FATAL_ERRORS
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_answers_in_the_same_read_as_the_fatal_error_count_in_any_order(
    code: int, why: WhyClosed, place: int
) -> None:
    conn = sent("a", "b", "c")
    read = [reply("a"), refusal("b"), reply("c")]
    read.insert(place, error(code, "bye"))
    for message in read:
        conn.receive(message, 3.0)
    given, wait = drain(conn, 3.0)
    assert [(type(outcome), outcome.id) for outcome in outcomes(given)] == [
        (Accepted, "a"),
        (Rejected, "b"),
        (Accepted, "c"),
    ]
    assert len(only(ExchangeError, given)) == 1
    assert wait == Wait(until=3.5, timer=Timer.DRAIN)
    conn.handle_timeout(3.5)
    assert outputs(conn, 3.5) == [
        Hangup(code=1000, reason=why.value),
        Closed(why=why, detail="bye"),
    ]


@FATAL_ERRORS
def test_nothing_is_sent_after_a_fatal_error(code: int, why: WhyClosed) -> None:
    conn = one_sent_two_queued()
    conn.send("own", 2.0)
    conn.receive(error(code), 2.25)
    given = outputs(conn, 2.25)
    assert [type(output) for output in given] == [ExchangeError, Unresolved, Unresolved]
    assert ended(given) == [("b", False, CLOSED), ("c", False, CLOSED)]
    assert (conn.state, conn.capacity, conn.in_flight) == (State.DRAINING, 0, 1)
    with pytest.raises(LocalProtocolError, match=r"^the connection is closing"):
        conn.cancel(ORDER, 2.25)
    assert texts(outputs(conn, 2.7)) == []


@FATAL_ERRORS
def test_a_waiting_ping_is_not_sent_after_a_fatal_error(code: int, why: WhyClosed) -> None:
    conn = sent("a")
    conn.handle_timeout(30.0)
    conn.receive(error(code), 30.0)
    assert texts(outputs(conn, 30.0)) == []
    conn.handle_timeout(30.5)
    assert only(Closed, outputs(conn, 30.5))[0].why is why


@FATAL_ERRORS
def test_the_connection_ends_half_a_second_after_a_fatal_error(code: int, why: WhyClosed) -> None:
    conn = sent("a")
    conn.receive(error(code, "bye"), 3.0)
    outputs(conn, 3.0)
    conn.handle_timeout(nextafter(3.5, -inf))
    assert outputs(conn, nextafter(3.5, -inf)) == []
    conn.handle_timeout(3.5)
    given = outputs(conn, 3.5)
    assert ended(given) == [("a", True, CLOSED)]
    assert given[1:] == [Hangup(code=1000, reason=why.value), Closed(why=why, detail="bye")]


@FATAL_ERRORS
@pytest.mark.parametrize("names", [(), ("a",)], ids=["with nothing open", "with one open"])
def test_the_loss_of_the_link_ends_it_at_once_after_a_fatal_error(
    code: int, why: WhyClosed, names: tuple[str, ...]
) -> None:
    conn = sent(*names)
    conn.receive(error(code, "bye"), 3.0)
    assert len(outputs(conn, 3.0)) == 1
    conn.lost(3.1, "reset by peer")
    given = outputs(conn, 3.1)
    assert ended(given) == [(id, True, CLOSED) for id in names]
    assert given[len(names) :] == [Closed(why=why, detail="bye")], "and no hangup"


@FATAL_ERRORS
def test_unsent_ids_count_after_a_fatal_error(code: int, why: WhyClosed) -> None:
    conn = sent("a", "b")
    conn.receive(error(code), 3.0)
    outputs(conn, 3.0)
    conn.lost(3.1, "", unsent=["b"])
    assert ended(outputs(conn, 3.1)) == [("a", True, CLOSED), ("b", False, CLOSED)]


@FATAL_ERRORS
def test_close_ends_it_at_once_after_a_fatal_error(code: int, why: WhyClosed) -> None:
    conn = sent("a")
    conn.receive(error(code, "bye"), 3.0)
    outputs(conn, 3.0)
    conn.close(3.1)
    given = outputs(conn, 3.1)
    assert ended(given) == [("a", True, CLOSED)]
    assert given[1:] == [Hangup(code=1000, reason=why.value), Closed(why=why, detail="bye")]


def test_the_first_of_two_fatal_errors_counts() -> None:
    conn = sent("a")
    conn.receive(error(30007, "first"), 3.0)
    conn.receive(error(30004, "second"), 3.25)
    given, wait = drain(conn, 3.25)
    assert [event.code for event in only(ExchangeError, given)] == ["30007", "30004"]
    assert wait == Wait(until=3.5, timer=Timer.DRAIN)
    conn.handle_timeout(3.5)
    assert only(Closed, outputs(conn, 3.5)) == [Closed(why=WhyClosed.THROWN_OUT, detail="first")]


@FATAL_ERRORS
def test_a_late_reply_is_reported_after_a_fatal_error(code: int, why: WhyClosed) -> None:
    conn = sent("a")
    conn.handle_timeout(12.0)
    outputs(conn, 12.0)
    conn.receive(error(code), 13.0)
    conn.receive(reply("a"), 13.0)
    assert [late.id for late in only(LateReply, outputs(conn, 13.0))] == ["a"]


@FATAL_ERRORS
def test_a_deadline_within_the_half_second_is_kept(code: int, why: WhyClosed) -> None:
    conn = ready()
    conn.cancel(ORDER, 2.0, id="a", timeout=1.25)
    outputs(conn, 2.0)
    conn.receive(error(code), 3.0)
    outputs(conn, 3.0)
    conn.handle_timeout(3.25)
    assert ended(outputs(conn, 3.25)) == [("a", True, TIMEOUT)]
    assert conn.state is State.DRAINING
    conn.handle_timeout(3.5)
    assert only(Closed, outputs(conn, 3.5))[0].why is why


@FATAL_ERRORS
@pytest.mark.parametrize(("within", "until"), [(60.0, 3.5), (1.25, 3.25)])
def test_a_fatal_error_shortens_the_time_of_a_closing_connection(
    code: int, why: WhyClosed, within: float, until: float
) -> None:
    conn = sent("a")
    conn.close(2.0, within=within)
    conn.receive(error(code, "bye"), 3.0)
    given, wait = drain(conn, 3.0)
    assert [type(output) for output in given] == [ExchangeError]
    assert wait == Wait(until=until, timer=Timer.DRAIN)
    conn.handle_timeout(until)
    assert only(Closed, outputs(conn, until)) == [Closed(why=why, detail="bye")]


@FATAL_ERRORS
def test_the_last_answer_does_not_hide_the_fatal_error(code: int, why: WhyClosed) -> None:
    conn = draining(ids=("a",))
    conn.receive(error(code, "bye"), 2.0)
    conn.receive(reply("a"), 2.0)
    given = outputs(conn, 2.0)
    assert [type(output) for output in given] == [ExchangeError, Accepted]
    conn.lost(2.1)
    assert outputs(conn, 2.1) == [Closed(why=why, detail="bye")]


@FATAL_ERRORS
def test_a_fatal_error_drops_the_queue_that_close_was_sending(code: int, why: WhyClosed) -> None:
    conn = one_sent_two_queued()
    conn.close(2.0, queued="send")
    conn.receive(error(code), 2.25)
    given, wait = drain(conn, 2.25)
    assert ended(given) == [("b", False, CLOSED), ("c", False, CLOSED)]
    assert wait == Wait(until=2.75, timer=Timer.DRAIN)


def test_nothing_queued_is_sent_after_the_time_of_close_without_a_timer() -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.0, id="a")
    conn.send("{}", 0.0)
    conn.close(1.0, "send", within=0.5)
    assert outputs(conn, 1.0) == []
    conn.receive(LOGGED_IN, 1.5)
    assert drain(conn, 1.5) == ([Ready()], Wait(until=1.5, timer=Timer.DRAIN))
    conn.handle_timeout(1.5)
    assert ended(outputs(conn, 1.5)) == [("a", False, CLOSED)]
