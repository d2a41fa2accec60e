"""Tests of recording: same behaviour as the core, complete traces, no secrets."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf, nan
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto import (
    Budget,
    CallerError,
    CancelOrder,
    Closed,
    Codec,
    Config,
    Connection,
    Credentials,
    Ended,
    Engine,
    LinkClosed,
    LocalProtocolError,
    LoginRejected,
    NoRoom,
    Policy,
    Ready,
    Session,
    SessionConfig,
    SignedLogin,
    Trace,
    Transmit,
    Unrecognised,
    ValidationError,
    Wait,
    record,
    replay,
    sign_login,
)
from bitget_proto._trace.recorder import RecordedSession
from bitget_proto.testing import (
    DriverError,
    Pair,
    RestFault,
    ScriptedExchange,
    SessionPair,
    StrictConnection,
)

from .driving import LOGGED_IN, LOGIN, ORDER, OTHER_ORDER, drain, outputs, reply


def steps(lines: list[str]) -> list[dict[str, Any]]:
    """The written lines, without the first."""
    return [json.loads(line) for line in lines[1:]]


def recorded(core: Connection | None = None) -> tuple[Connection, list[str]]:
    lines: list[str] = []
    return record(Connection() if core is None else core, lines.append), lines


def ready(core: Connection | None = None) -> tuple[Connection, list[str]]:
    conn, lines = recorded(core)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    assert outputs(conn, 0.0) == [Ready()]
    return conn, lines


# --- same API as the core ---


@pytest.mark.parametrize("kind", [Connection, Session])
def test_a_recorded_core_has_every_public_member(kind: type) -> None:
    core = Connection() if kind is Connection else Session(jitter=lambda: 0.5)
    held = type(record(core, lambda _: None))
    public = {name for name in vars(kind) if not name.startswith("_")} | {"__repr__"}
    assert public <= set(vars(held))
    for name in public - {"__repr__"}:
        theirs, ours = vars(kind)[name], vars(held)[name]
        if inspect.isfunction(theirs):
            assert inspect.signature(ours) == inspect.signature(theirs)
        assert ours.__doc__


def test_reading_a_property_of_a_recorded_core_writes_nothing() -> None:
    for core in (Connection(), Session(jitter=lambda: 0.5)):
        lines: list[str] = []
        held = record(core, lines.append)
        assert (held.state, held.in_flight, held.capacity, held.waiting_for_grant) == (
            core.state,
            core.in_flight,
            core.capacity,
            core.waiting_for_grant,
        )
        assert held.config is core.config
        assert repr(held) == repr(core)
        assert isinstance(held, type(core))
        assert len(lines) == 1


def test_without_a_write_function_the_core_is_returned() -> None:
    core = Connection()
    assert record(core, None) is core


def test_only_a_new_unrecorded_core_can_be_recorded() -> None:
    with pytest.raises(ValidationError, match="core must be a Connection or a Session; got None"):
        record(None, print)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(
        ValidationError, match="write must be a function that takes a line, or None; got 'a file'"
    ):
        record(Connection(), "a file")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    past = Connection()
    past.poll(0.0)
    with pytest.raises(ValidationError, match="core was used before"):
        record(past, print)
    grown = Session(jitter=lambda: 0.5)
    grown.poll(0.0)
    with pytest.raises(ValidationError, match="core was used before"):
        record(grown, print)
    with pytest.raises(ValidationError, match="already recorded"):
        record(recorded()[0], print)


def test_a_recorded_strict_connection_still_checks_its_driver() -> None:
    conn, lines = ready(StrictConnection())
    conn.cancel(ORDER, 0.0)
    with pytest.raises(DriverError):
        conn.receive("pong", 0.0)
    assert steps(lines)[-1]["raised"]["kind"] == "DriverError"
    difference = replay(lines)
    assert difference is not None
    assert difference.step == len(lines) - 1


# --- the lines ---


def test_the_first_line_names_the_core_its_engine_and_all_its_limits() -> None:
    lines: list[str] = []
    record(Connection(Config(max_in_flight=7), Codec(Engine.ORJSON), Budget(5)), lines.append)
    record(Session(SessionConfig(policy=Policy.RESEND), jitter=lambda: 0.5), lines.append)
    connection, session = (Trace([line]) for line in lines)
    assert (connection.core, connection.engine) == ("Connection", "orjson")
    assert (connection.has_budget, connection.per_second) == (True, 5)
    assert connection.config == Config(max_in_flight=7)
    assert (session.core, session.engine) == ("Session", "stdlib")
    assert (session.has_budget, session.per_second) == (True, 10)
    assert (Trace(recorded()[1]).has_budget, Trace(recorded()[1]).per_second) == (False, None)
    assert session.config == SessionConfig(policy=Policy.RESEND)
    assert set(json.loads(lines[0])["config"]) == set(attrs.fields_dict(Config))


def test_a_call_is_a_line_with_arguments_and_result_but_no_defaults() -> None:
    conn, lines = ready()
    conn.cancel(OTHER_ORDER, 1, timeout=inf)
    conn.poll(1.5, writable=False)
    conn.poll(1.5)
    conn.receive(b"\xff", 2.0)
    conn.receive(b"{}", 2.0)
    conn.receive(b"pong", 2.0)
    conn.receive("\ud800", 2.0)
    conn.send('{"op":"subscribe"}', 2.0)
    conn.lost(2.0, "reset", "bgproto1")
    assert steps(lines)[6:] == [
        {
            "n": 7, "call": "cancel", "now": 1, "order": {"inst_id": "ETHUSDT", "client_oid": "mine-2"},
            "timeout": {"float": "inf"}, "gave": "bgproto1",
        },
        {
            "n": 8, "call": "poll", "now": 1.5, "writable": False,
            "gave": {"kind": "Wait", "until": 30.0, "timer": "ping"},
        },
        {
            "n": 9, "call": "poll", "now": 1.5,
            "gave": {"kind": "Transmit", "text": Codec().encode_cancel(OTHER_ORDER, "bgproto1"), "ids": ["bgproto1"]},
        },
        {"n": 10, "call": "receive", "now": 2.0, "message": {"base64": "/w=="}},
        {"n": 11, "call": "receive", "now": 2.0, "message": {"utf8": "{}"}},
        {"n": 12, "call": "receive", "now": 2.0, "message": {"utf8": "pong"}},
        {"n": 13, "call": "receive", "now": 2.0, "message": {"surrogates": "7aCA"}},
        {"n": 14, "call": "send", "now": 2.0, "text": '{"op":"subscribe"}'},
        {"n": 15, "call": "lost", "now": 2.0, "reason": "reset", "unsent": ["bgproto1"]},
    ]  # fmt: skip
    assert [output.why.value for output in outputs(conn, 2.0) if isinstance(output, Unrecognised)] == [
        "malformed", "other", "malformed",
    ]  # fmt: skip
    assert replay(lines) is None


def test_an_error_of_the_core_is_raised_recorded_and_replayed() -> None:
    conn, lines = recorded(Connection(Config(max_in_flight=1)))
    conn.cancel(ORDER, 0.0)
    with pytest.raises(NoRoom):
        conn.cancel(ORDER, 0.0)
    with pytest.raises(LocalProtocolError):
        conn.poll(nan)
    with pytest.raises(ValidationError):
        conn.send("", 0.0)
    said = [step["raised"] for step in steps(lines)[1:]]
    assert [raised["kind"] for raised in said] == [
        "NoRoom",
        "LocalProtocolError",
        "ValidationError",
    ]
    assert all(raised["message"] for raised in said)
    assert replay(lines) is None
    assert replay([line.replace('"NoRoom"', '"ValidationError"') for line in lines]) is not None


WRONG: list[Callable[[Connection], object]] = [
    lambda conn: conn.opened(0.0, login="a secret"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.opened("a secret", login=LOGIN),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.receive({"a secret"}, 0.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.lost(0.0, "", 5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.lost(0.0, "", [b"a secret"]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.cancel("a secret", 0.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.cancel(ORDER, 0.0, id=b"a secret"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.cancel(ORDER, 0.0, timeout="a secret"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.cancel(ORDER, 0.0, timeout=10**1000),
    lambda conn: conn.cancel_many("a secret", 0.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.cancel_many([ORDER, "a secret"], 0.0),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.close(0.0, within="a secret"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.send(b"a secret", 0.0),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lambda conn: conn.send("a secret \ud800", 0.0),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_an_argument_of_a_wrong_type_is_written_as_its_type(
    number: int,
) -> None:
    conn, lines = recorded()
    with pytest.raises(LocalProtocolError):
        WRONG[number](conn)
    conn.poll(1.0)
    (step, *_) = Trace(lines)
    assert not step.replayable
    assert "a secret" not in "".join(lines)
    assert "message" not in step.data["raised"]
    assert replay(lines) is None


def test_invalid_calls_of_a_session_are_recorded() -> None:
    lines: list[str] = []
    session = record(Session(jitter=lambda: 0.5), lines.append)
    with pytest.raises(ValidationError):
        session.cancel(ORDER, 0.0, policy="resend")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError):
        session.receive("1", "pong", 0.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert [step.replayable for step in Trace(lines)] == [False, False]
    assert replay(lines) is None


def test_ids_from_an_iterator_reach_both_the_core_and_the_trace() -> None:
    conn, lines = ready()
    id = conn.cancel(ORDER, 0.0)
    outputs(conn, 0.0)

    def once() -> Iterator[str]:
        yield id

    conn.lost(0.0, unsent=once())
    assert steps(lines)[-1]["unsent"] == [id]
    assert [getattr(output, "sent", None) for output in outputs(conn, 0.0)] == [False, None]
    assert replay(lines) is None


def test_any_ids_are_replayed() -> None:
    conn, lines = recorded()
    conn.lost(0.0, unsent=["\ud800", "", "1"])
    assert steps(lines)[-1]["unsent"] == [{"surrogates": "7aCA"}, "", "1"]
    assert replay(lines) is None


def test_a_reason_of_any_type_is_written_readably() -> None:
    conn, lines = recorded()
    conn.lost(0.0, OSError("a secret"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    drain(conn, 0.0)
    assert steps(lines)[0]["reason"] == "<a value of type OSError>"
    assert replay(lines) is None


def test_a_bug_of_the_core_is_recorded_and_replayed() -> None:
    class Ill(Connection):
        def receive(self, message: str | bytes, now: float) -> None:
            raise KeyError("ill")

    conn, lines = recorded(Ill())
    with pytest.raises(KeyError):
        conn.receive("pong", 0.0)
    assert steps(lines)[0]["raised"] == {"kind": "KeyError", "message": "'ill'"}
    difference = replay(lines)
    assert difference is not None
    assert '- raised.kind: "KeyError"' in str(difference)


# --- the write function ---


class Writer:
    """A write function that raises an exception at one line, and keeps the lines."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at = at
        self.error = error
        self.tried: list[str] = []

    def __call__(self, line: str) -> None:
        self.tried.append(line)
        if len(self.tried) == self.at:
            raise self.error


def run(core: Any) -> list[object]:
    """Log in, cancel an order, lose the WebSocket, and close. Return the outputs without waits.

    A poll that Ctrl-C interrupts is repeated.
    """
    in_session = isinstance(core, Session)
    link = (1,) if in_session else ()
    returned: list[object] = []

    def drain_all() -> None:
        while True:
            with suppress(KeyboardInterrupt):
                output = core.poll(0.0)
                if isinstance(output, Wait):
                    return
                returned.append(output)

    drain_all()
    core.opened(*link, 0.0, login=LOGIN)
    drain_all()
    core.receive(*link, LOGGED_IN, 0.0)
    drain_all()
    core.cancel(ORDER, 0.0)
    drain_all()
    core.lost(*link, 0.0)
    drain_all()
    core.close(0.0)
    drain_all()
    return returned


CORES = [Connection, lambda: Session(jitter=lambda: 0.5)]


@pytest.mark.parametrize("make", CORES)
def test_a_write_that_raises_is_one_event_and_changes_nothing_else(
    make: Callable[[], Any],
) -> None:
    expected = run(make())
    lines: list[str] = []
    run(record(make(), lines.append))
    seen = 0
    for at in range(1, len(lines) + 1):
        writer = Writer(at, OSError(28, "No space left on device"))
        returned = run(record(make(), writer))
        failures = [output for output in returned if isinstance(output, CallerError)]
        assert [output for output in returned if output not in failures] == expected
        assert isinstance(returned[-1], (Closed, Ended))
        if failures:
            seen += 1
            (failure,) = failures
            assert (failure.where, failure.error) == ("trace", writer.error)
            assert failure.detail == "OSError(28, 'No space left on device')"
        else:
            rest = [json.loads(line).get("gave", {}).get("kind") for line in lines[at - 1 :]]
            assert set(rest) <= {None, "Wait"}, "only after the last event there is none"
        assert writer.tried == lines[:at]
        assert replay(writer.tried) is None
    assert seen > 12


@pytest.mark.parametrize("make", CORES)
def test_an_interrupt_in_write_passes_and_loses_no_event(make: Callable[[], Any]) -> None:
    lines: list[str] = []
    run(record(make(), lines.append))
    polls = [number for number, step in enumerate(steps(lines), 2) if step["call"] == "poll"]
    expected = [type(output) for output in run(make()) if not isinstance(output, Transmit)]
    assert len(polls) > 10
    for at in polls:
        returned = run(record(make(), Writer(at, KeyboardInterrupt())))
        assert [type(output) for output in returned if not isinstance(output, Transmit)] == expected


def test_a_trace_is_written_in_whole_lines() -> None:
    written: list[str] = []
    conn = record(Connection(), written.append)
    conn.opened(0.0, login=LOGIN)
    assert len(written) == 2
    conn.poll(0.0)
    assert len(written) == 3
    assert all(
        line.endswith("}\n") and line.isascii() and line.count("\n") == 1 for line in written
    )


# --- shared budgets and jitter ---


def test_changes_of_a_shared_budget_by_others_are_replayed() -> None:
    budget = Budget(2)
    budget.debit(1, 0.0)
    conn, lines = recorded(Connection(budget=budget))
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    for _ in range(6):
        conn.cancel(ORDER, 0.0)
    counts = [len(outputs(conn, 0.0))]
    budget.grant(2, inf, 0.5)
    counts.append(len(outputs(conn, 0.5)))
    budget.pause(1.0)
    counts.append(len(outputs(conn, 1.5)))
    conn.receive('{"event":"error","code":30006}', 2.0)
    counts.append(len(outputs(conn, 2.0)))
    counts.append(len(outputs(conn, 3.5)))
    assert counts == [2, 2, 0, 1, 2]
    changes = [step["budget"] for step in steps(lines) if "budget" in step]
    assert changes
    assert replay(lines) is None
    assert replay([line for line in lines if True][:4]) is None
    without = [json.dumps({key: value for key, value in json.loads(line).items() if key != "budget"},
                          separators=(",", ":")) for line in lines]  # fmt: skip
    assert replay([lines[0], *without[1:]]) is not None


def test_an_unshared_budget_is_not_in_the_trace() -> None:
    conn, lines = ready(Connection(budget=Budget(2)))
    for _ in range(5):
        conn.cancel(ORDER, 1.0)
    outputs(conn, 1.0)
    conn.handle_timeout(2.0)
    outputs(conn, 2.0)
    assert not any("budget" in step for step in steps(lines))
    assert replay(lines) is None


def test_changes_of_a_recorded_budget_between_calls_are_by_others() -> None:
    budget = Budget(2)
    core = Connection(budget=budget)
    recorded(core)
    watched = core._frames.budget
    assert watched is not None
    watched.debit(1, 0.0)
    watched.grant(1, inf, 0.0)
    watched.pause(0.0)
    assert repr(watched) == repr(Budget(2))
    assert watched.allowed_at(0.0) == budget.allowed_at(0.0) == 1.0
    assert repr(budget) == "Budget(per_second=2, granted=1)"


@pytest.mark.parametrize("number", [0.0, 0.25, 1.0, nan, inf, -inf, 5.0, 1, None, "x", object()])
def test_jitter_is_replayed_and_not_drawn_again(number: Any) -> None:
    lines: list[str] = []
    session = record(Session(jitter=lambda: number), lines.append)
    session.poll(0.0)
    session.lost(1, 0.0)
    session.poll(0.0)
    assert not any("jitter" in step for step in steps(lines)), (
        "an event was pending, so no dial was considered"
    )
    output = session.poll(0.0)
    valid = isinstance(number, (float, int)) and 0.0 <= number <= 1.0
    assert isinstance(output, Wait if valid else CallerError)
    assert len(steps(lines)[-1]["jitter"]) == 1
    session.poll(0.0)
    assert "jitter" not in steps(lines)[-1]
    assert replay(lines) is None


def test_a_jitter_that_raises_is_replayed_and_its_secrets_are_hidden() -> None:
    lines: list[str] = []

    def jitter() -> float:
        raise ValueError("no entropy for a long passphrase\n")

    session = record(Session(jitter=jitter), lines.append)
    session.poll(0.0)
    session.opened(1, 0.0, login=SignedLogin("key", "a long passphrase", "1", "signature"))
    session.lost(1, 0.0)
    assert isinstance(session.poll(0.0), LinkClosed)
    failure = session.poll(0.0)
    assert isinstance(failure, CallerError)
    assert isinstance(failure.error, ValueError)
    assert "a long passphrase" in failure.detail
    step = steps(lines)[-1]
    hidden = "ValueError('no entropy for ***\\n')"
    assert step["jitter"] == [hidden]
    assert step["gave"] == {"kind": "CallerError", "where": "jitter", "detail": hidden}
    assert replay(lines) is None


# --- secrets ---


SECRETS = st.text(min_size=8, max_size=40).map(lambda text: f"~{text}~")
"""The first character occurs in no part of a trace: else a secret could equal any word in it."""

ENOUGH = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def spellings(secret: str) -> set[str]:
    plain = json.dumps(secret)[1:-1]
    return {
        secret,
        plain,
        json.dumps(secret, ensure_ascii=False)[1:-1],
        plain.replace("\\", "\\\\"),
    }


@ENOUGH
@given(st.lists(SECRETS, min_size=4, max_size=4, unique=True))
def test_no_secret_is_in_a_trace(
    secrets: list[str],
) -> None:
    key, secret, passphrase, other = secrets
    login = sign_login(Credentials(key, secret, passphrase), 1_763_958_366)
    lines: list[str] = []
    session = record(Session(SessionConfig(), jitter=lambda: 0.5), lines.append)

    def attempt(call: Callable[[], object]) -> None:
        with suppress(LocalProtocolError):
            call()

    def taken_out(now: float) -> list[object]:
        out: list[object] = []
        while not out or not isinstance(out[-1], Wait):
            out.append(session.poll(now))
        return out

    session.poll(0.0)
    attempt(lambda: session.opened(1, 0.0, login=secret))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.opened(1, 0.0, login=login)
    taken_out(0.0)
    for echoed in (key, passphrase, login.sign):
        text = json.dumps({"event": "subscribe", "msg": f"you said {echoed}."})
        session.receive(1, text, 0.0)
        session.receive(1, text.encode(), 0.0)
        session.receive(1, json.dumps({"msg": echoed}, ensure_ascii=False).replace("/", "\\/"), 0.0)
        session.receive(1, b"\xff" + echoed.encode("utf-8", "surrogatepass"), 0.0)
    session.send(json.dumps({"op": "login", "args": [{"any": other}]}), 0.0)
    session.send(json.dumps({"op": "x", "secret": other}), 0.0)
    session.send(f"{secret} {other} {passphrase}", 0.0)
    attempt(lambda: session.opened(1, 0.0, login=login))
    attempt(lambda: session.cancel(ORDER, 0.0, id=f"{passphrase}!"))
    text = json.dumps(
        {"event": "login", "code": 30011, "msg": f"{key}, {passphrase} and {login.sign} are wrong"}
    )
    session.receive(1, text, 0.0)
    rejected = [output for output in taken_out(0.0) if isinstance(output, LoginRejected)]
    assert passphrase in rejected[0].message or not passphrase.isprintable()
    trace = "".join(lines)
    for hidden in (key, secret, passphrase, login.sign, other):
        assert not any(spelling in trace for spelling in spellings(hidden))
    assert trace.count("***") >= 10
    assert replay(lines) is None


def test_a_secret_is_hidden_in_any_json_spelling() -> None:
    secret = 'a/b"c\\d\u00e9\U0001f600\nxyz'
    conn, lines = recorded()
    conn.opened(0.0, login=SignedLogin("another key", secret, "1700000000", "another sign"))
    spelled = "".join(
        f"\\u{ord(char):04X}" if ord(char) < 2**16 else json.dumps(char)[1:-1] for char in secret
    )
    mixed = json.dumps(secret)[1:-1].replace("/", "\\/").replace("b", "\\u0062")
    for spelling in (
        spelled,
        mixed,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    ):
        message = f'{{"msg":"<{spelling}>","other":"\\u0061"}}'
        assert json.loads(message)["msg"] == f"<{secret}>"
        conn.receive(message, 0.0)
        assert steps(lines)[-1]["message"] == '{"msg":"<***>","other":"\\u0061"}'
        conn.receive(message.encode(), 0.0)
        assert steps(lines)[-1]["message"] == {"utf8": '{"msg":"<***>","other":"\\u0061"}'}
    outputs(conn, 0.0)
    assert replay(lines) is None


def test_an_id_that_is_a_secret_is_hidden_in_outputs_too() -> None:
    conn, lines = recorded()
    conn.opened(
        0.0, login=SignedLogin("another key", "my-pass-phrase", "1700000000", "another sign")
    )
    assert conn.cancel(ORDER, 0.0, id="my-pass-phrase") == "my-pass-phrase"
    assert (steps(lines)[-1]["id"], steps(lines)[-1]["gave"]) == ("***", "***")


def test_a_login_is_written_as_its_timestamp() -> None:
    for stamp, said in (
        ("1700000000", "1700000000"),
        ("a stamp of letters", None),
        ("1" * 21, None),
    ):
        conn, lines = recorded()
        conn.opened(0.0, login=SignedLogin("key", "pass", stamp, "sign"))
        outputs(conn, 0.0)
        assert steps(lines)[0]["login"] == {"stamp": said}
        assert steps(lines)[1]["gave"] == {"kind": "Transmit", "secret": True}
        assert replay(lines) is None


def test_a_value_too_short_to_be_a_secret_is_not_hidden() -> None:
    conn, lines = recorded()
    conn.opened(0.0, login=SignedLogin("event", "login", "1700000000", "code"))
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    assert outputs(conn, 0.0) == [Ready()]
    assert "***" not in "".join(lines)


def test_only_the_latest_logins_are_remembered_and_hidden() -> None:
    lines: list[str] = []
    session = record(Session(SessionConfig(backoff_min=None), jitter=lambda: 0.5), lines.append)
    for number in range(1, 100):
        while not isinstance(session.poll(float(number)), Wait):
            pass
        session.opened(
            number,
            float(number),
            login=SignedLogin("the-key!", "the-pass", "1", f"signature-{number}-"),
        )
        session.lost(number, float(number), f"the-key! the-pass signature-{number}- signature-1-")
    assert steps(lines)[-1]["reason"] == "*** *** *** signature-1-"
    assert len(cast("RecordedSession", session).writer._secrets._known) == 32
    assert replay(lines) is None


def test_a_callers_frame_hides_likely_secrets_and_invalid_json() -> None:
    conn, lines = ready()
    said = {
        '{"op":"subscribe","args":[]}': '{"op":"subscribe","args":[]}',
        '{"op":"login","args":[{"apiKey":"k"}]}': '{"op":"login","args":[{"apiKey":"***"}]}',
        '{"op":"x","passphrase":"p"}': '{"op":"x","passphrase":"***"}',
        "not JSON": "<8 characters that are no JSON object>",
        "<8 characters that are no JSON object> or": "<41 characters that are no JSON object>",
        "ping": "ping",
    }
    for text in said:
        conn.send(text, 0.0)
    assert [step["text"] for step in steps(lines) if step["call"] == "send"] == [*said.values()]
    assert [output.text for output in outputs(conn, 0.0) if isinstance(output, Transmit)] == [*said]
    assert replay(lines) is None


# --- used as a core ---


def test_a_recorded_connection_works_as_a_connection() -> None:
    lines: list[str] = []
    pair = Pair(record(StrictConnection(), lines.append))
    pair.open()
    pair.cancel(ORDER)
    pair.run(31.0)
    pair.close()
    assert replay(lines) is None
    assert "StrictConnection" not in lines[0]


def test_a_recorded_session_works_as_a_session() -> None:
    lines: list[str] = []
    pair = SessionPair(record(Session(jitter=lambda: 0.25), lines.append))
    pair.start()
    pair.cancel(CancelOrder("BTCUSDT", order_id="1"), policy=Policy.RESEND)
    pair.stall()
    pair.cancel(CancelOrder("BTCUSDT", order_id="2"))
    pair.cancel(CancelOrder("BTCUSDT", order_id="3"), id="third", timeout=20)
    assert steps(lines)[-1]["busy"] == [1]
    pair.drop()
    pair.run(31.0)
    pair.close()
    assert replay(lines) is None


def test_every_session_command_is_replayed_with_all_arguments() -> None:
    lines: list[str] = []
    session = record(Session(jitter=lambda: 0.25), lines.append)
    pair = SessionPair(session)
    ids = session.cancel_many(iter([ORDER, OTHER_ORDER]), 0.0, timeout=5, policy=Policy.RESEND)
    assert steps(lines)[-1]["orders"] == [
        {"inst_id": "BTCUSDT", "order_id": "1001"}, {"inst_id": "ETHUSDT", "client_oid": "mine-2"},
    ]  # fmt: skip
    assert steps(lines)[-1]["gave"] == ids
    session.cancel(ORDER, 0.0, id="first", urgent=True)
    assert steps(lines)[-1]["urgent"] is True
    assert [session.withdraw(id, 0.0) for id in (ids[1], "another", cast("str", None))] == [
        True,
        False,
        False,
    ]
    pair.start()
    session.lost(1, 0.5, "429", retry_after=60)
    assert steps(lines)[-1]["retry_after"] == 60
    pair.start()
    with pytest.raises(ValidationError):
        session.close(0.5, queued="at once")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.close(0.5, queued="send", within=2)
    assert (steps(lines)[-1]["queued"], steps(lines)[-1]["within"]) == ("send", 2)
    pair.run(100.0)
    assert replay(lines) is None


def test_what_became_of_rest_requests_is_replayed() -> None:
    lines: list[str] = []
    session = record(Session(SessionConfig(rest_after=1.0), jitter=lambda: 0.25), lines.append)
    pair = SessionPair(session, ScriptedExchange([ORDER]))
    pair.refuse_dials = True
    pair.start()
    for fault in (None, RestFault.CUT_AFTER):
        pair.exchange.inject_rest(fault)
        id = pair.cancel(ORDER)
        pair.run(3.0)
        assert pair.outcomes[id].by_rest == (1,)
    called = [step["call"] for step in steps(lines)]
    assert (called.count("rest_replied"), called.count("rest_failed")) == (1, 1)
    assert replay(lines) is None


def test_every_connection_command_is_replayed_with_all_arguments() -> None:
    conn, lines = ready()
    ids = conn.cancel_many((ORDER, OTHER_ORDER), 0.0, timeout=inf)
    assert conn.cancel(ORDER, 0.0, urgent=True) == "bgproto3"
    assert [conn.withdraw(id, 0.0) for id in (ids[1], "another", cast("str", None))] == [
        True,
        False,
        False,
    ]
    conn.close(0.0, queued="send", within=inf)
    outputs(conn, 0.0)
    assert [step["call"] for step in steps(lines) if step.get("gave") in (True, False)] == [
        "withdraw"
    ] * 3
    assert replay(lines) is None


def test_a_reply_is_replayed_by_any_engine() -> None:
    conn, lines = ready()
    id = conn.cancel(ORDER, 0.0)
    outputs(conn, 0.0)
    conn.receive(reply(id, 43001), 0.5)
    outputs(conn, 0.5)
    for engine in Engine:
        assert replay(lines, engine) is None
        assert replay(lines, engine.value) is None


@pytest.mark.parametrize(
    "message", [bytearray(b"pong"), memoryview(b"pong")], ids=["bytearray", "memoryview"]
)
def test_a_message_in_a_mutable_buffer_is_recorded_by_content(message: Any) -> None:
    conn, lines = ready()
    conn.receive(message, 1.0)
    outputs(conn, 1.0)
    assert any(json.loads(line).get("message") == {"utf8": "pong"} for line in lines)
    assert replay(lines) is None
