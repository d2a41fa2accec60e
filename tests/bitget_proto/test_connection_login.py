"""The login: it is sent once, and which messages accept or refuse it."""

from __future__ import annotations

import json

import pytest

from bitget_proto import (
    Accepted,
    Closed,
    CodeClass,
    Config,
    Connection,
    Dialect,
    ExchangeError,
    GoingAway,
    Hangup,
    LocalProtocolError,
    LoginRejected,
    Output,
    Ready,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyClosed,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto._values.codes import CODES as TABLES

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    OTHER_ORDER,
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
    waits,
)

CODES = TABLES[Dialect.CLASSIC]

NOT_THE_ANSWER = (CodeClass.THROTTLED, CodeClass.GOING_AWAY, CodeClass.RETRY_LATER)
REFUSING = [
    code
    for code_class, codes in CODES.items()
    for code in codes
    if code_class not in (*NOT_THE_ANSWER, CodeClass.ACCEPTED)
]
PASSED_OVER = [code for code_class in NOT_THE_ANSWER for code in CODES[code_class]]


def the_end(why: WhyClosed, detail: str) -> list[Output]:
    return [Hangup(code=1000, reason=why.value), Closed(why=why, detail=detail)]


def test_opened_sends_the_login_once_and_marks_it_as_secret() -> None:
    assert Connection().state is State.NEW
    conn = Connection()
    conn.opened(5.0, login=LOGIN)
    assert conn.state is State.AUTHENTICATING
    (frame,), wait = drain(conn, 5.0)
    assert isinstance(frame, Transmit)
    assert json.loads(frame.text) == {
        "op": "login",
        "args": [
            {"apiKey": "key", "passphrase": "pass", "timestamp": "1700000000", "sign": "c2lnbg=="}
        ],
    }
    assert (frame.ids, frame.secret) == ((), True)
    assert "pass" not in repr(frame)
    assert "c2ln" not in repr(frame)
    assert wait == Wait(until=15.0, timer=Timer.LOGIN)
    assert drain(conn, 5.0) == ([], wait)


def test_a_connection_that_was_never_opened_has_no_timer() -> None:
    conn = Connection()
    assert drain(conn, 0.0) == ([], Wait(until=None, timer=None))
    conn.handle_timeout(1e9)
    assert drain(conn, 1e9) == ([], Wait(until=None, timer=None))
    assert conn.state is State.NEW


def test_the_login_is_not_returned_while_a_write_is_in_progress() -> None:
    conn = Connection()
    conn.opened(0.0, login=LOGIN)
    assert drain(conn, 0.0, writable=False) == ([], Wait(until=10.0, timer=Timer.LOGIN))
    assert len(texts(outputs(conn, 0.0))) == 1


@pytest.mark.parametrize(
    "answer",
    [
        '{"event":"login","code":"0","msg":""}',
        '{"event":"login","code":0}',
        '{"event":"login","code":0,"msg":null,"connId":"c-1"}',
        '{"event":"login","code":"00000","msg":"success","extra":{"a":[1]}}',
        b'{"event":"login","code":0,"msg":"as bytes"}',
    ],
)
def test_each_spelling_of_an_accepted_login_makes_it_ready(answer: str | bytes) -> None:
    conn = authenticating()
    conn.receive(answer, 1.0)
    assert conn.state is State.READY
    assert drain(conn, 1.0) == ([Ready()], Wait(until=30.0, timer=Timer.PING))


def test_cancels_queued_before_the_login_are_sent_after_it_in_order() -> None:
    conn = Connection()
    conn.cancel(ORDER, 0.0, id="before")
    conn.send("mine", 0.0)
    conn.opened(0.0, login=LOGIN)
    conn.cancel(OTHER_ORDER, 0.0, id="during")
    assert len(texts(outputs(conn, 0.0))) == 1
    assert conn.in_flight == 2
    conn.receive(LOGGED_IN, 1.0)
    given = outputs(conn, 1.0)
    assert given[0] == Ready()
    assert [frame.ids for frame in only(Transmit, given)] == [("before",), ("during",), ()]
    assert texts(given)[-1] == "mine"


def test_a_login_reply_with_another_code_refuses_the_login() -> None:
    conn = authenticating()
    text = '{"event":"login","code":"30012","msg":"bad pass"}'
    conn.receive(text, 1.0)
    given, wait = drain(conn, 1.0)
    assert given == [
        LoginRejected(code="30012", code_class=CodeClass.LOGIN, message="bad pass", text=text),
        *the_end(WhyClosed.LOGIN_REFUSED, "bad pass"),
    ]
    assert (conn.state, wait) == (State.CLOSED, Wait(until=None, timer=None))


@pytest.mark.parametrize("code", [*REFUSING, "99999"])
def test_an_error_without_id_refuses_the_login(code: str) -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.5, id="b")
    conn.cancel(OTHER_ORDER, 0.5, id="a")
    text = error(int(code), "no")
    conn.receive(text, 1.0)
    assert conn.state is State.CLOSED
    given = outputs(conn, 1.0)
    assert given[0] == LoginRejected(
        code=code, code_class=CodeClass.of(code), message="no", text=text
    )
    for outcome, id in zip(given[1:3], "ba", strict=True):
        assert isinstance(outcome, Unresolved)
        assert (outcome.id, outcome.sent, outcome.sent_at, outcome.why) == (
            id,
            False,
            None,
            WhyUnresolved.CLOSED,
        )
    assert given[3:] == the_end(WhyClosed.LOGIN_REFUSED, "no")


@pytest.mark.parametrize(
    ("code", "shown"), [(0, "0"), ("00", "0"), (None, None), ("x", None), (1.5, None), (True, None)]
)
def test_an_error_without_id_and_known_code_refuses_the_login(
    code: object, shown: str | None
) -> None:
    conn = authenticating()
    conn.receive(error(code), 1.0)
    first = outputs(conn, 1.0)[0]
    assert first == LoginRejected(
        code=shown, code_class=CodeClass.UNREADABLE, message="text", text=error(code)
    )


@pytest.mark.parametrize(
    "arg", ["[]", "{}", "null", "[{}]", '[{"id":null}]', '[{"instType":"SPOT"}]']
)
def test_an_arg_that_names_no_request_counts_as_missing(arg: str) -> None:
    conn = authenticating()
    conn.receive(f'{{"event":"error","arg":{arg},"code":30015,"msg":"Invalid sign"}}', 1.0)
    assert isinstance(outputs(conn, 1.0)[0], LoginRejected)


@pytest.mark.parametrize(
    "more",
    [
        '"arg":{"channel":"positions"}',
        '"arg":[{"channel":"positions"}]',
        '"op":"subscribe"',
        '"topic":"order"',
    ],
)
def test_an_error_that_answers_another_request_does_not_refuse_the_login(more: str) -> None:
    conn = authenticating()
    text = f'{{"event":"error",{more},"code":30015,"msg":"Invalid sign"}}'
    conn.receive(text, 1.0)
    assert outputs(conn, 1.0) == [
        ExchangeError(code="30015", code_class=CodeClass.LOGIN, message="Invalid sign", text=text)
    ]
    assert conn.state is State.AUTHENTICATING


def test_an_error_that_names_the_login_refuses_it() -> None:
    conn = authenticating()
    conn.receive('{"event":"error","op":"login","code":30015,"msg":"Invalid sign"}', 1.0)
    assert isinstance(outputs(conn, 1.0)[0], LoginRejected)


@pytest.mark.parametrize("code", PASSED_OVER)
def test_a_temporary_error_does_not_refuse_the_login(
    code: str,
) -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.5, id="a")
    text = error(int(code), "later")
    conn.receive(text, 1.0)
    assert conn.state is State.AUTHENTICATING
    expected: Output = (
        GoingAway(message="later", text=text)
        if code == "30033"
        else ExchangeError(code=code, code_class=CodeClass.of(code), message="later", text=text)
    )
    assert drain(conn, 1.0) == ([expected], Wait(until=10.0, timer=Timer.LOGIN))
    conn.receive(LOGGED_IN, 3.0)
    given = outputs(conn, 3.0)
    assert given[0] == Ready()
    assert [frame.ids for frame in only(Transmit, given)] == [("a",)]


def test_a_temporary_error_alone_ends_in_the_login_timeout() -> None:
    conn = authenticating()
    conn.receive(error(30007), 1.0)
    outputs(conn, 1.0)
    conn.handle_timeout(9.999)
    assert outputs(conn, 9.999) == []
    conn.handle_timeout(10.0)
    (hangup, end), wait = drain(conn, 10.0)
    assert hangup == Hangup(code=1000, reason="login timeout")
    assert isinstance(end, Closed)
    assert end.why is WhyClosed.LOGIN_TIMEOUT
    assert wait == Wait(until=None, timer=None)


def test_the_login_timeout_counts_from_opened() -> None:
    conn = authenticating(Config(login_timeout=3.0), now=100.0)
    conn.cancel(ORDER, 101.0, id="a")
    conn.handle_timeout(103.0)
    given = outputs(conn, 103.0)
    (outcome,) = outcomes(given)
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.sent, outcome.why) == ("a", False, WhyUnresolved.CLOSED)
    assert [type(output) for output in given] == [Unresolved, Hangup, Closed]
    assert only(Closed, given)[0].why is WhyClosed.LOGIN_TIMEOUT


def test_the_login_timeout_counts_even_if_the_login_was_not_written() -> None:
    conn = Connection()
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0, writable=False)
    conn.handle_timeout(10.0)
    given = outputs(conn, 10.0, writable=False)
    assert only(Closed, given)[0].why is WhyClosed.LOGIN_TIMEOUT
    assert outputs(conn, 10.0) == [], "a login left after the end"


def test_the_login_timer_is_cleared_once_ready() -> None:
    conn = authenticating()
    conn.receive(LOGGED_IN, 1.0)
    outputs(conn, 1.0)
    conn.handle_timeout(10.0)
    assert conn.state is State.READY


def test_without_a_login_timeout_there_is_no_login_timer() -> None:
    conn = authenticating(Config(login_timeout=None, ping_interval=None))
    assert waits(conn, 0.0) == Wait(until=None, timer=None)
    conn.handle_timeout(1e9)
    assert conn.state is State.AUTHENTICATING


@pytest.mark.parametrize("state", [State.READY, State.DRAINING])
@pytest.mark.parametrize("code", [0, 30015])
def test_an_unexpected_answer_to_the_login_is_unrecognised(state: State, code: int) -> None:
    conn = ready() if state is State.READY else draining()
    text = json.dumps({"event": "login", "code": code})
    conn.receive(text, 2.0)
    assert outputs(conn, 2.0) == [Unrecognised(text=text, why=WhyUnrecognised.UNEXPECTED)]
    assert conn.state is state


@pytest.mark.parametrize("code", ["null", '"x"', "1.5", "true", "-1", "[]"])
def test_an_answer_to_the_login_without_a_code_is_unrecognised(
    code: str,
) -> None:
    conn = authenticating()
    text = f'{{"event":"login","code":{code}}}'
    conn.receive(text, 1.0)
    assert outputs(conn, 1.0) == [Unrecognised(text=text, why=WhyUnrecognised.UNEXPECTED)]
    assert conn.state is State.AUTHENTICATING
    conn.receive(LOGGED_IN, 2.0)
    assert outputs(conn, 2.0) == [Ready()]


@pytest.mark.parametrize("code", [0, 30015])
def test_an_answer_to_a_login_that_was_not_sent_is_unrecognised(code: int) -> None:
    conn = Connection()
    conn.opened(0.0, login=LOGIN)
    text = json.dumps({"event": "login", "code": code})
    conn.receive(text, 0.5)
    given = outputs(conn, 0.5)
    assert given[0] == Unrecognised(text=text, why=WhyUnrecognised.NEVER_SENT)
    assert len(texts(given)) == 1, "the login still leaves"
    assert conn.state is State.AUTHENTICATING


def test_an_error_before_the_login_was_sent_is_not_its_refusal() -> None:
    conn = Connection()
    conn.opened(0.0, login=LOGIN)
    conn.receive(error(30004, "early"), 0.5)
    given = outputs(conn, 0.5)
    assert given[0] == ExchangeError(
        code="30004", code_class=CodeClass.LOGIN, message="early", text=error(30004, "early")
    )
    assert len(texts(given)) == 1
    assert conn.state is State.AUTHENTICATING


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (refusal("a", 30015), WhyUnrecognised.NEVER_SENT),
        (reply("a"), WhyUnrecognised.NEVER_SENT),
        (refusal("unknown", 30015), WhyUnrecognised.UNKNOWN_ID),
        (refusal(7, 30015), WhyUnrecognised.NO_SINGLE_ID),
        (
            '{"event":"error","arg":[{"id":"a"},{"id":"b"}],"code":30015}',
            WhyUnrecognised.NO_SINGLE_ID,
        ),
        ('{"event":"error","arg":[{},{}],"code":30015}', WhyUnrecognised.NO_SINGLE_ID),
    ],
)
def test_an_error_that_names_another_request_is_not_the_logins_refusal(
    text: str, why: WhyUnrecognised
) -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.5, id="a")
    conn.receive(text, 1.0)
    assert outputs(conn, 1.0) == [Unrecognised(text=text, why=why)]
    assert conn.state is State.AUTHENTICATING
    assert conn.in_flight == 1


@pytest.mark.parametrize("state", [State.AUTHENTICATING, State.READY, State.DRAINING, State.CLOSED])
def test_a_second_opened_is_refused_and_changes_nothing(state: State) -> None:
    conn = in_state(state)
    before = snapshot(conn)
    with pytest.raises(LocalProtocolError, match="opened was called before"):
        conn.opened(2.0, login=LOGIN)
    assert snapshot(conn) == before


@pytest.mark.parametrize("login", [None, "x", ("key", "pass", "1", "s"), {"apiKey": "key"}])
def test_opened_without_a_signed_login_is_refused_and_changes_nothing(login: object) -> None:
    conn = Connection()
    before = snapshot(conn)
    with pytest.raises(LocalProtocolError, match="login must be a SignedLogin"):
        conn.opened(2.0, login=login)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert snapshot(conn) == before
    conn.opened(2.0, login=LOGIN)
    assert conn.state is State.AUTHENTICATING


def test_a_refused_login_is_not_repeated_in_the_error_message() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Connection().opened(0.0, login=("key", "hunter2hunter2"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("how", ["lost", "close"])
def test_opened_after_the_end_is_ignored(how: str) -> None:
    conn = Connection()
    if how == "lost":
        conn.lost(1.0, "refused")
    else:
        conn.close(1.0)
    outputs(conn, 1.0)
    conn.opened(2.0, login=LOGIN)
    assert conn.state is State.CLOSED
    assert drain(conn, 2.0) == ([], Wait(until=None, timer=None))


def test_no_signed_login_is_kept_after_it_was_sent_or_after_the_end() -> None:
    assert authenticating()._frames.login is None
    unwritten = Connection()
    unwritten.opened(0.0, login=LOGIN)
    assert unwritten._frames.login is LOGIN
    unwritten.lost(0.0)
    assert unwritten._frames.login is None
    assert closed()._frames.login is None


def test_an_accepted_login_does_not_settle_a_cancel() -> None:
    conn = authenticating()
    conn.cancel(ORDER, 0.0, id="a")
    conn.receive('{"event":"login","arg":[{"id":"a"}],"code":0}', 1.0)
    assert only(Accepted, outputs(conn, 1.0)) == []
    assert conn.in_flight == 1
