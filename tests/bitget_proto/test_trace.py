"""Tests of the trace reader: exact values, and errors for invalid traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto import (
    CancelOrder,
    Config,
    Connection,
    InstType,
    LocalProtocolError,
    Policy,
    Session,
    SignedLogin,
    Trace,
    ValidationError,
    Wait,
    record,
    replay,
)
from bitget_proto._trace.recorder import RecordedConnection

from .driving import LOGIN, ORDER, outputs

CALMLY = settings(deadline=None, derandomize=True, database=None)


def a_trace() -> list[str]:
    lines: list[str] = []
    conn = record(Connection(), lines.append)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.cancel(ORDER, 0.5)
    conn.lost(1.0, "reset")
    outputs(conn, 1.0)
    return lines


def write(trace: list[str], at: int, change: Callable[[dict[str, object]], object]) -> list[str]:
    data = json.loads(trace[at])
    change(data)
    return [*trace[:at], json.dumps(data), *trace[at + 1 :]]


# --- valid traces ---


def test_a_trace_is_read_from_lines_a_file_or_a_string() -> None:
    lines = a_trace()
    bare = [line.rstrip("\n") for line in lines]
    read = [
        list(Trace(given))
        for given in (lines, bare, "".join(lines), iter(lines), [f"{line}\r\n" for line in bare])
    ]
    assert all(steps == read[0] for steps in read)
    assert [step.call for step in read[0]][:2] == ["opened", "poll"]
    assert [step.n for step in read[0]] == list(range(1, len(lines)))
    assert [step.text for step in read[0]] == bare[1:]


def test_a_trace_is_read_lazily() -> None:
    read: list[int] = []

    def endless() -> object:
        lines = a_trace()
        yield lines[0]
        for n in range(1, 10**9):
            read.append(n)
            yield json.dumps({"n": n, "call": "poll", "now": 0.0})

    steps = iter(Trace(endless()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    next(steps)
    next(steps)
    assert len(read) == 2


def test_the_arguments_of_a_step_are_those_of_the_call() -> None:
    order = CancelOrder("BTCUSDT", client_oid="mine", inst_type=InstType.USDT_FUTURES)
    lines: list[str] = []
    session = record(Session(jitter=lambda: 0.5), lines.append)
    while not isinstance(session.poll(0), Wait):
        pass
    session.opened(1, 0.5, login=LOGIN)
    session.cancel(order, 1, "id", inf, Policy.RESEND)
    session.receive(1, "text", 1.0)
    session.receive(1, b"bytes", 1.0)
    session.receive(1, b"\xff", 1.0)
    session.receive(1, "\udcff\ud83d\ude00", 1.0)
    session.lost(1, 2.0, "why", ["a", "b"])
    read = [step.arguments() for step in Trace(lines) if step.call != "poll"]
    assert read == [
        {
            "now": 0.5,
            "link": 1,
            "login": SignedLogin("not recorded", "not recorded", "1700000000", "not recorded"),
        },
        {"now": 1, "order": order, "id": "id", "timeout": inf, "policy": Policy.RESEND},
        {"now": 1.0, "link": 1, "message": "text"},
        {"now": 1.0, "link": 1, "message": b"bytes"},
        {"now": 1.0, "link": 1, "message": b"\xff"},
        {"now": 1.0, "link": 1, "message": "\udcff\ud83d\ude00"},
        {"now": 2.0, "link": 1, "reason": "why", "unsent": ["a", "b"]},
    ]
    assert type(read[1]["now"]) is int
    assert replay(lines) is None


@CALMLY
@given(
    st.floats(allow_nan=False),
    st.integers(-(2**70), 2**70),
    st.one_of(st.text(st.characters()), st.binary()),
)
def test_numbers_texts_and_bytes_read_back_exactly(
    number: float, whole: int, message: str | bytes
) -> None:
    lines: list[str] = []
    conn = record(Connection(), lines.append)
    for now in (number, whole):
        try:
            conn.receive(message, now)
        except LocalProtocolError:
            assert abs(now) == inf
    read = [step.arguments() for step in Trace(lines)]
    assert [(arguments["now"], arguments["message"]) for arguments in read] == [
        (number, message),
        (whole, message),
    ]
    assert [type(arguments["now"]) for arguments in read] == [float, int]
    assert replay(lines) is None


def test_nan_is_read_back_as_nan() -> None:
    lines: list[str] = []
    with pytest.raises(LocalProtocolError):
        record(Connection(), lines.append).poll(nan)
    (step,) = Trace(lines)
    assert isnan(step.arguments()["now"])


# --- traces cut off by a crash ---


def test_an_incomplete_last_line_is_skipped_and_reported() -> None:
    lines = a_trace()
    whole = list(Trace(lines))
    for cut in range(1, len(lines[-1]) - 1):
        trace = Trace("".join(lines)[: -cut - 1])
        assert list(trace) == whole[:-1]
        assert trace.torn == lines[-1][: -cut - 1]
        assert replay("".join(lines)[: -cut - 1]) is None
    for ended in (lines, [*lines, "\n"], [*lines, "", "\n"], "".join(lines)[:-1]):
        trace = Trace(ended)
        assert list(trace) == whole
        assert trace.torn is None
    zeros = Trace([*lines, "\0\0\0"])
    assert list(zeros) == whole
    assert zeros.torn == "\0\0\0"


@pytest.mark.parametrize("torn", ['{"n":3,', "[]", "null", "7", '"text"', "[" * 100_000])
def test_an_unreadable_line_before_the_last_is_an_error(torn: str) -> None:
    lines = a_trace()
    with pytest.raises(
        ValidationError,
        match="line 4 of the trace cannot be read, and only the last line may be torn",
    ):
        replay([*lines[:3], torn, *lines[3:]])


# --- invalid traces ---


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (
            "",
            'a trace must begin with a line {"trace":1,…}; got an empty line: pass the lines that record wrote',
        ),
        (
            "hello",
            'a trace must begin with a line {"trace":1,…}; got another line: pass the lines that record wrote',
        ),
        (
            "[]",
            'a trace must begin with a line {"trace":1,…}; got another line: pass the lines that record wrote',
        ),
        (
            '{"trace":2}',
            "a trace must be of format 1; got the int 2: read it with the version of bitget-proto that wrote it",
        ),
        ('{"trace":1}', "line 1 of the trace cannot be read: 'core' is missing"),
        (
            '{"trace":1,"core":"Socket"}',
            "line 1 of the trace cannot be read: core must be Connection or Session; got 'Socket'",
        ),
        (
            '{"trace":1,"core":"Connection","engine":"stdlib","version":"0","config":{},"budget":{"per_second":"10"}}',
            "line 1 of the trace cannot be read: per_second must be int; got '10'",
        ),
        (
            '{"trace":1,"core":[]}',
            "core must be Connection or Session; got a value of type list",
        ),
    ],
)
def test_a_file_that_is_no_trace_is_refused(first: str, words: str) -> None:
    for lines in ([first], first, [first, *a_trace()]):
        with pytest.raises(ValidationError) as caught:
            Trace(lines)
        assert words in str(caught.value)
    with pytest.raises(ValidationError, match="got an empty line"):
        Trace([])


def test_unknown_or_invalid_limits_are_an_error_that_names_them() -> None:
    lines = a_trace()
    wrong: dict[str, tuple[object, str]] = {
        "new_limit": (1, "new_limit is unknown"),
        "login_timeout": ("10", "login_timeout must be float or int; got '10'"),
        "max_in_flight": (1.5, "1.5"),
        "late_ids": (0, "late_ids"),
    }
    for name, (value, words) in wrong.items():

        def change(data: dict[str, object], name: str = name, value: object = value) -> None:
            config = data["config"]
            assert isinstance(config, dict)
            config[name] = value

        with pytest.raises(ValidationError, match="line 1 of the trace cannot be read: ") as caught:
            Trace(write(lines, 0, change))
        assert words in str(caught.value)


def test_a_limit_that_is_missing_has_its_default() -> None:
    def forget(data: dict[str, object]) -> None:
        data["config"] = {}

    assert Trace(write(a_trace(), 0, forget)).config == Config()


def test_missing_steps_and_steps_of_another_trace_are_an_error() -> None:
    lines = a_trace()
    with pytest.raises(
        ValidationError,
        match="line 3 of the trace must be step 2; got the int 3: steps are missing",
    ):
        replay([*lines[:2], *lines[3:]])
    with pytest.raises(
        ValidationError, match=f"line {len(lines) + 1} of the trace is not a step: 'n' is missing"
    ):
        replay([*lines, *lines])
    with pytest.raises(
        ValidationError,
        match=r"line 2 of the trace is not a step: call must be cancel, .* or withdraw; got 'explode'",
    ):
        replay(write(lines, 1, lambda data: data.update(call="explode")))
    with pytest.raises(
        ValidationError, match="line 2 of the trace is not a step: 'call' is missing"
    ):
        replay(write(lines, 1, lambda data: data.pop("call")))


UNREADABLE: list[tuple[str, object, str]] = [
    ("order", {"inst_id": "BTC/USDT", "order_id": "1"}, "inst_id must be"),
    ("order", {"inst_id": 7, "order_id": "1"}, "inst_id must be str; got the int 7"),
    ("order", {"inst_id": "BTCUSDT"}, "CancelOrder needs an order_id or a client_oid"),
    ("order", "1", "order must be an object; got '1'"),
    ("now", {"float": "soon"}, "soon"),
    ("now", {"date": "soon"}, "'date' is missing"),
    ("now", {"float": "1", "utf8": "1"}, "too many"),
    ("now", {"float": None}, "float"),
    ("id", {"surrogates": "!"}, "base64"),
    ("policy", "perhaps", "perhaps"),
    ("budget", 5, "not iterable"),
    ("jitter", [{"float": "x"}], "could not convert"),
]


@pytest.mark.parametrize(("name", "value", "words"), UNREADABLE)
def test_an_invalid_argument_is_an_error_that_names_the_step(
    name: str, value: object, words: str
) -> None:
    lines = a_trace()
    at = next(n for n, line in enumerate(lines) if '"cancel"' in line)
    with pytest.raises(ValidationError, match=f"step {at} of the trace cannot be read: ") as caught:
        replay(write(lines, at, lambda data: data.update({name: value})))
    assert words in str(caught.value)


def test_an_argument_that_the_call_does_not_have_is_an_error() -> None:
    with pytest.raises(
        ValidationError,
        match="step 1 of the trace has arguments that opened does not take: another version",
    ):
        replay(write(a_trace(), 1, lambda data: data.update(link=1)))


def test_the_class_of_a_recorded_connection_is_not_public() -> None:
    import bitget_proto

    assert RecordedConnection.__name__ not in bitget_proto.__all__
