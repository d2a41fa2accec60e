"""Replies to cancels: which reply settles which cancel, and the outcome that follows."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs
import pytest

from bitget_proto import (
    Accepted,
    Closed,
    Codec,
    CodeClass,
    Config,
    Connection,
    Dialect,
    Engine,
    ExchangeError,
    LateReply,
    LocalProtocolError,
    Outcome,
    Rejected,
    State,
    Transmit,
    Unrecognised,
    Unresolved,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto._values.codes import CODES as TABLES

from .driving import (
    LOGGED_IN,
    LOGIN,
    ORDER,
    OTHER_ORDER,
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

CODES = TABLES[Dialect.CLASSIC]

QUIET = Config(silence=None)
"""No ping asks whether the link is there."""


def sent(*ids: str, config: Config | None = None) -> Connection:
    """Ready, with these cancels handed out at time 1."""
    conn = ready(config)
    for id in ids:
        conn.cancel(ORDER, 1.0, id=id)
    assert [frame.ids for frame in only(Transmit, outputs(conn, 1.0))] == [(id,) for id in ids]
    return conn


SETTLES_NOTHING = {
    CodeClass.OUTCOME_UNKNOWN,
    CodeClass.RETRY_LATER,
    CodeClass.GOING_AWAY,
    CodeClass.UNLISTED,
}
"""What such a code says, or does not say, leaves open whether the exchange acted."""

# --- the plain way ---


def test_a_cancel_is_sent_as_one_frame_with_its_id() -> None:
    conn = ready()
    assert conn.cancel(OTHER_ORDER, 2.0, id="my id") == "my id"
    (frame,) = outputs(conn, 2.0)
    assert isinstance(frame, Transmit)
    assert (frame.ids, frame.secret) == (("my id",), False)
    (arg,) = json.loads(frame.text)["args"]
    assert arg["id"] == "my id"
    assert arg["params"] == {"clientOid": "mine-2"}


def test_accepted_has_the_order_and_three_times_on_the_callers_clock() -> None:
    conn = ready(Config(messages_per_second=1, pace_margin=None))
    conn.cancel(OTHER_ORDER, 2.0, id="first")
    outputs(conn, 2.0)
    conn.cancel(ORDER, 2.25, id="a")
    outputs(conn, 2.5)
    outputs(conn, 3.0)
    conn.receive(reply("a", ts=77), 4.5)
    assert outputs(conn, 5.0) == [
        Accepted(id="a", order=ORDER, taken_at=2.25, sent_at=3.0, resolved_at=4.5, exchange_ts=77)
    ]
    assert conn.in_flight == 1


def test_rejected_has_code_class_message_and_times() -> None:
    conn = sent("a")
    conn.receive(refusal("a", 43001), 1.5)
    assert outputs(conn, 1.5) == [
        Rejected(
            id="a",
            order=ORDER,
            taken_at=1.0,
            sent_at=1.0,
            resolved_at=1.5,
            code="43001",
            code_class=CodeClass.NOT_FOUND,
            message="text",
            exchange_ts=1763958928351,
        )
    ]


def test_outcomes_count_one_attempt() -> None:
    conn = sent("a", "b", "c")
    conn.receive(reply("a"), 1.5)
    conn.receive(refusal("b"), 1.5)
    conn.lost(2.0)
    assert [outcome.attempts for outcome in outcomes(outputs(conn, 2.0))] == [1, 1, 1]


def test_replies_in_any_order_settle_their_own_cancels() -> None:
    conn = sent("1", "10", "a")
    conn.receive(refusal("10"), 1.1)
    conn.receive(reply("a"), 1.2)
    conn.receive(reply("1"), 1.3)
    assert [(type(outcome), outcome.id) for outcome in outcomes(outputs(conn, 1.3))] == [
        (Rejected, "10"),
        (Accepted, "a"),
        (Accepted, "1"),
    ]


@pytest.mark.parametrize(
    "code", [code for codes in CODES.values() for code in codes] + ["77777", "1"]
)
@pytest.mark.parametrize("event", ["trade", "error"])
def test_the_code_decides_unless_the_event_contradicts_it(event: str, code: str) -> None:
    conn = sent("a")
    conn.receive(reply("a", int(code), event=event), 2.0)
    (outcome,) = outcomes(outputs(conn, 2.0))
    code_class = CodeClass.of(code)
    if code_class is CodeClass.ACCEPTED:
        if event == "trade":
            assert isinstance(outcome, Accepted)
        else:
            assert isinstance(outcome, Unresolved)
            assert (outcome.sent, outcome.why, outcome.code) == (True, WhyUnresolved.UNSURE, "0")
    elif code_class in SETTLES_NOTHING:
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why, outcome.code) == (True, WhyUnresolved.UNSURE, code)
        assert outcome.message == "text"
    else:
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.code_class) == (code, code_class)
    assert conn.state is State.READY, "no code on a known id ends a connection"


# --- contents ---

ACCEPTED, REJECTED, UNSURE, NOTHING = "accepted", "rejected", "unsure", "nothing"


def arg(raw: str, code: str = "0", event: str = "trade") -> str:
    return f'{{"event":"{event}","arg":{raw},"code":{code},"msg":"m"}}'


def code(raw: str, event: str = "trade") -> str:
    return arg('[{"id":"1"}]', raw, event)


CONTENTS: dict[str, tuple[str | bytes, str, WhyUnrecognised | None]] = {
    # what cannot be read
    "bytes that are not UTF-8": (reply("1", msg="?").encode().replace(b"?", b"\xff"), NOTHING, WhyUnrecognised.MALFORMED),
    "half of a UTF-8 character": (reply("1").encode() + b"\xc3", NOTHING, WhyUnrecognised.MALFORMED),
    "UTF-16": (reply("1").encode("utf-16"), NOTHING, WhyUnrecognised.MALFORMED),
    "a byte order mark": ("\ufeff" + reply("1"), NOTHING, WhyUnrecognised.MALFORMED),
    "not JSON": ("<html>1</html>", NOTHING, WhyUnrecognised.MALFORMED),
    "nothing": ("", NOTHING, WhyUnrecognised.MALFORMED),
    "no bytes": (b"", NOTHING, WhyUnrecognised.MALFORMED),
    "cut short": (reply("1")[:-1], NOTHING, WhyUnrecognised.MALFORMED),
    "something behind it": (reply("1") + "x", NOTHING, WhyUnrecognised.MALFORMED),
    "two frames in one": (reply("1") + reply("10"), NOTHING, WhyUnrecognised.MALFORMED),
    "pong with a line feed": ("pong\n", NOTHING, WhyUnrecognised.MALFORMED),
    "PONG": ("PONG", NOTHING, WhyUnrecognised.MALFORMED),
    "a JSON number": ("1", NOTHING, WhyUnrecognised.MALFORMED),
    "a JSON string": ('"1"', NOTHING, WhyUnrecognised.MALFORMED),
    "null": ("null", NOTHING, WhyUnrecognised.MALFORMED),
    "true": ("true", NOTHING, WhyUnrecognised.MALFORMED),
    "NaN": ("NaN", NOTHING, WhyUnrecognised.MALFORMED),
    "a list of two replies": (f"[{reply('1')},{reply('10')}]", NOTHING, WhyUnrecognised.MALFORMED),
    "a list of one reply": (f"[{reply('1')}]", NOTHING, WhyUnrecognised.MALFORMED),
    "100,000 lists deep": ("[" * 100_000, NOTHING, WhyUnrecognised.MALFORMED),
    "100,000 objects deep": ('{"a":' * 100_000 + "1" + "}" * 100_000, NOTHING, WhyUnrecognised.MALFORMED),
    "a reply with 300 lists": (reply("1")[:-1] + ',"x":' + "[" * 300 + "]" * 300 + "}", NOTHING, WhyUnrecognised.MALFORMED),
    "10 MB": (reply("1", msg="x" * 10_000_000), NOTHING, WhyUnrecognised.MALFORMED),
    "10 MB of bytes": (b"\x00" * 10_000_000, NOTHING, WhyUnrecognised.MALFORMED),
    "lone surrogates as they are": (reply("1")[:-1] + ',"x":"\ud800"', NOTHING, WhyUnrecognised.MALFORMED),
    # numbers
    "a huge integer as code": (code("1" + "0" * 400), UNSURE, None),
    "an integer that Python refuses": (code("1" + "0" * 5000), NOTHING, WhyUnrecognised.MALFORMED),
    "a number beyond any float": (code("1e999"), UNSURE, None),
    "NaN as code": (code("NaN"), NOTHING, WhyUnrecognised.MALFORMED),
    "Infinity as code": (code("-Infinity"), NOTHING, WhyUnrecognised.MALFORMED),
    "huge ts": (reply("1", ts=10**400), ACCEPTED, None),
    "negative ts": (reply("1", ts=-1), ACCEPTED, None),
    "ts that is a string": (reply("1", ts="1763958928351"), ACCEPTED, None),
    "ts that is an object": (reply("1", ts={"a": 1}), ACCEPTED, None),
    # codes
    "code 0": (code("0"), ACCEPTED, None),
    'code "0"': (code('"0"'), ACCEPTED, None),
    'code "00000"': (code('"00000"'), ACCEPTED, None),
    "code -0": (code("-0"), ACCEPTED, None),
    "code 43001": (code("43001", "error"), REJECTED, None),
    'code "43001"': (code('"43001"', "error"), REJECTED, None),
    'code "0043001"': (code('"0043001"', "error"), REJECTED, None),
    "code 43001 beside trade": (code("43001"), REJECTED, None),
    "code 0 beside error": (code("0", "error"), UNSURE, None),
    'code "0" beside error': (code('"0"', "error"), UNSURE, None),
    "code true": (code("true"), UNSURE, None),
    "code false": (code("false"), UNSURE, None),
    "code 1.5": (code("1.5"), UNSURE, None),
    "code 0.0": (code("0.0"), UNSURE, None),
    "code 0e0": (code("0e0"), UNSURE, None),
    "code null": (code("null"), UNSURE, None),
    "code null beside error": (code("null", "error"), UNSURE, None),
    "code missing": ('{"event":"trade","arg":[{"id":"1"}]}', UNSURE, None),
    "code missing beside error": ('{"event":"error","arg":[{"id":"1"}]}', UNSURE, None),
    "code -1": (code("-1"), UNSURE, None),
    "code empty": (code('""'), UNSURE, None),
    'code " 0"': (code('" 0"'), UNSURE, None),
    'code "+0"': (code('"+0"'), UNSURE, None),
    'code "0x0"': (code('"0x0"'), UNSURE, None),
    "code of 13 digits": (code('"0000000000000"'), UNSURE, None),
    "code in Arabic digits": (code('"\u0660"'), UNSURE, None),
    "code in superscript": (code('"\u00b2"'), UNSURE, None),
    "code a list": (code("[0]"), UNSURE, None),
    "code an object": (code('{"code":0}'), UNSURE, None),
    # arg and id
    "arg an object": (arg('{"id":"1"}'), ACCEPTED, None),
    "arg a list": (arg('[{"id":"1"}]'), ACCEPTED, None),
    "arg of another instrument": (arg('[{"id":"1","channel":"cancel-order","instId":"X","params":[]}]'), ACCEPTED, None),
    "arg of a placement": (arg('[{"id":"1","channel":"place-order","params":{}}]'), NOTHING, WhyUnrecognised.OTHER_REQUEST),
    "arg an object of a placement": (arg('{"id":"1","channel":"place-order"}'), NOTHING, WhyUnrecognised.OTHER_REQUEST),
    "a refused placement": (
        arg('[{"id":"1","channel":"place-order","params":{}}]', "43012", "error"), NOTHING, WhyUnrecognised.OTHER_REQUEST,
    ),
    "another topic": (arg('[{"id":"1"}]')[:-1] + ',"topic":"place-order"}', NOTHING, WhyUnrecognised.OTHER_REQUEST),
    "another op": (arg('[{"id":"1"}]', "30001", "error")[:-1] + ',"op":"subscribe"}', NOTHING, WhyUnrecognised.OTHER_REQUEST),
    "the topic of cancels": (arg('[{"id":"1"}]')[:-1] + ',"topic":"cancel-order"}', ACCEPTED, None),
    "arg empty": (arg("[]"), NOTHING, WhyUnrecognised.NO_ID),
    "arg an empty object": (arg("{}"), NOTHING, WhyUnrecognised.NO_ID),
    "arg missing": ('{"event":"trade","code":0}', NOTHING, WhyUnrecognised.NO_ID),
    "arg null": (arg("null"), NOTHING, WhyUnrecognised.NO_ID),
    "arg without id": (arg('[{"channel":"cancel-order"}]'), NOTHING, WhyUnrecognised.NO_ID),
    "arg a string": (arg('"1"'), NOTHING, WhyUnrecognised.MALFORMED),
    "arg a list of strings": (arg('["1"]'), NOTHING, WhyUnrecognised.MALFORMED),
    "arg a list of null": (arg("[null]"), NOTHING, WhyUnrecognised.MALFORMED),
    "arg a list of a list": (arg('[[{"id":"1"}]]'), NOTHING, WhyUnrecognised.MALFORMED),
    "arg with two entries": (arg('[{"id":"1"},{"id":"10"}]'), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "arg with the same entry twice": (arg('[{"id":"1"},{"id":"1"}]'), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "arg with an empty second entry": (arg('[{"id":"1"},{}]'), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "several refused": (arg('[{"id":"1"},{"id":"10"}]', "43001", "error"), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "several not logged in": (arg('[{"id":"1"},{"id":"10"}]', "30004", "error"), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "id a number": (reply(1), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "id a float": (reply(1.0), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "id true": (reply(True), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "id a list": (reply(["1"]), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "id an object": (reply({"id": "1"}), NOTHING, WhyUnrecognised.NO_SINGLE_ID),
    "id null": (reply(None), NOTHING, WhyUnrecognised.NO_ID),
    "id empty": (reply(""), NOTHING, WhyUnrecognised.UNKNOWN_ID),
    "id with a space behind": (reply("1 "), NOTHING, WhyUnrecognised.UNKNOWN_ID),
    "id with a zero before": (reply("01"), NOTHING, WhyUnrecognised.UNKNOWN_ID),
    "id in full width": (reply("\uff11"), NOTHING, WhyUnrecognised.UNKNOWN_ID),
    "id with a lone surrogate": (reply("1\ud800"), NOTHING, WhyUnrecognised.UNKNOWN_ID),
    "id escaped": (arg('[{"id":"\\u0031"}]'), ACCEPTED, None),
    "id at the top": ('{"event":"trade","id":"1","code":0}', NOTHING, WhyUnrecognised.NO_ID),
    "id in args": ('{"event":"trade","args":[{"id":"1"}],"code":0}', NOTHING, WhyUnrecognised.NO_ID),
    # events and the rest
    "event unknown": (reply("1", event="trade2"), NOTHING, WhyUnrecognised.OTHER),
    "event in capitals": (reply("1", event="TRADE"), NOTHING, WhyUnrecognised.OTHER),
    "event missing": ('{"arg":[{"id":"1"}],"code":0}', NOTHING, WhyUnrecognised.OTHER),
    "event null": ('{"event":null,"arg":[{"id":"1"}],"code":0}', NOTHING, WhyUnrecognised.OTHER),
    "event a number": ('{"event":1,"arg":[{"id":"1"}],"code":0}', NOTHING, WhyUnrecognised.MALFORMED),
    "event login": (reply("1", event="login"), NOTHING, WhyUnrecognised.UNEXPECTED),
    "event subscribe": ('{"event":"subscribe","arg":{"channel":"fill","id":"1"}}', NOTHING, WhyUnrecognised.OTHER),
    "a push": ('{"action":"snapshot","arg":{"channel":"fill"},"data":[{"id":"1"}]}', NOTHING, WhyUnrecognised.OTHER),
    "an order without ids": ('{"arg":{"channel":"orders"},"data":[{"id":"1"}]}', NOTHING, WhyUnrecognised.UNREADABLE_ORDER),
    "a request": ('{"op":"trade","args":[{"id":"1"}],"code":0}', NOTHING, WhyUnrecognised.OTHER),
    "more keys": (reply("1", connId="x", new=[1, {"a": None}]), ACCEPTED, None),
    "msg a number": (reply("1", msg=1), ACCEPTED, None),
    "msg with lone surrogates": (refusal("1")[:-1] + ',"msg":"\\ud800"}', REJECTED, None),
    "spaces around": ("\n " + reply("1") + "\t\r\n", ACCEPTED, None),
    "a key twice, the same": (code("0")[:-1] + ',"code":0}', ACCEPTED, None),
}  # fmt: skip


def all_engines() -> list[Engine]:
    return list(Engine)


@pytest.mark.parametrize("engine", all_engines(), ids=lambda engine: engine.value)
@pytest.mark.parametrize("name", CONTENTS)
def test_a_message_affects_only_its_own_cancel(name: str, engine: Engine) -> None:
    message, expected, why = CONTENTS[name]
    conn = Connection(codec=Codec(engine))
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    outputs(conn, 0.0)
    for id in ("1", "10", "a"):
        conn.cancel(ORDER, 1.0, id=id)
    assert len(texts(outputs(conn, 1.0))) == 3
    conn.receive(message, 2.0)
    given = outputs(conn, 2.0)
    assert len(given) == 1
    if expected == NOTHING:
        (said,) = given
        assert isinstance(said, Unrecognised)
        assert said.why is why
        assert (said.malformed is None) == (why is not WhyUnrecognised.MALFORMED)
        assert len(said.text) >= len(message) // 2, "the whole text is handed on"
        if isinstance(message, str):
            assert said.text == message
    else:
        (outcome,) = outcomes(given)
        assert outcome.id == "1"
        check_outcome(outcome, expected)
    assert conn.state is State.READY
    # The others still get theirs, and the first gets exactly one.
    conn.receive(reply("10"), 3.0)
    conn.receive(refusal("a"), 3.0)
    conn.handle_timeout(11.0)
    rest = outcomes(outputs(conn, 11.0))
    assert [(type(outcome), outcome.id) for outcome in rest[:2]] == [
        (Accepted, "10"),
        (Rejected, "a"),
    ]
    if expected == NOTHING:
        (last,) = rest[2:]
        assert isinstance(last, Unresolved)
        assert (last.id, last.sent, last.why) == ("1", True, WhyUnresolved.TIMEOUT)
    else:
        assert rest[2:] == []


def check_outcome(outcome: Outcome, expected: str) -> None:
    if expected == ACCEPTED:
        assert isinstance(outcome, Accepted)
        assert outcome.exchange_ts is None or outcome.exchange_ts == 1763958928351
    elif expected == REJECTED:
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.code_class) == ("43001", CodeClass.NOT_FOUND)
        outcome.message.encode()
    else:
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)
        assert outcome.code in (None, "0")


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"trade","arg":[{"id":"1"}],"arg":[{"id":"10"}],"code":0}',
        '{"event":"trade","arg":[{"id":"1","id":"10"}],"code":0}',
        '{"event":"trade","arg":[{"id":"10"}],"code":43001,"code":0}',
        '{"event":"error","event":"trade","arg":[{"id":"10"}],"code":0}',
    ],
    ids=["arg", "id", "code", "event"],
)
def test_a_duplicate_key_settles_at_most_one_cancel(
    text: str,
) -> None:
    conn = sent("1", "10")
    conn.receive(text, 2.0)
    assert [(type(outcome), outcome.id) for outcome in outcomes(outputs(conn, 2.0))] == [
        (Accepted, "10")
    ]
    assert conn.in_flight == 1


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview], ids=["bytes", "bytearray", "memoryview"]
)
def test_any_bytes_like_message_is_read(make: Callable[[bytes], bytes]) -> None:
    conn = sent("a")
    conn.receive(make(reply("a").encode()), 2.0)
    assert len(only(Accepted, outputs(conn, 2.0))) == 1


@pytest.mark.parametrize("message", [None, 1, ["x"], {"event": "trade"}, 1.5])
def test_a_message_that_is_neither_text_nor_bytes_is_refused(
    message: object,
) -> None:
    conn = sent("a")
    before = snapshot(conn)
    with pytest.raises(LocalProtocolError, match="message must be str or bytes"):
        conn.receive(message, 2.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert snapshot(conn) == before


def test_the_limits_of_a_message_come_from_the_config() -> None:
    text = reply("a")
    conn = sent("a", config=Config(max_message=len(text) - 1))
    conn.receive(text, 2.0)
    assert outputs(conn, 2.0) == [
        Unrecognised(text=text, why=WhyUnrecognised.MALFORMED, malformed="too large")
    ]
    conn = sent("a", config=Config(max_message=len(text), max_depth=3))
    conn.receive(text[:-1].replace("1001", "[]") + "}", 2.0)
    assert conn.in_flight == 1, "not JSON"
    conn.receive(text, 2.0)
    assert conn.in_flight == 1, "four deep"
    conn = sent("a", config=Config(max_message=None, max_depth=None))
    conn.receive(reply("a", msg="x" * 200_000), 2.0)
    assert conn.in_flight == 0


def test_without_a_depth_limit_100000_levels_are_survived() -> None:
    conn = sent("a", config=Config(max_message=None, max_depth=None))
    text = '{"event":"trade","arg":' + "[" * 100_000
    conn.receive(text, 2.0)
    (said,) = outputs(conn, 2.0)
    assert isinstance(said, Unrecognised)
    assert said.malformed in ("too deep", "not JSON")


# --- what names no request ---


@pytest.mark.parametrize(
    "code",
    [code for codes in CODES.values() for code in codes if code not in ("30004", "30007", "30033")]
    + ["77777"],
)
def test_an_error_that_names_no_request_settles_no_cancel(
    code: str,
) -> None:
    conn = sent("a")
    text = error(int(code), "m")
    conn.receive(text, 2.0)
    code_class = CodeClass.UNREADABLE if code == "0" else CodeClass.of(code)
    assert outputs(conn, 2.0) == [
        ExchangeError(code=code, code_class=code_class, message="m", text=text)
    ]
    assert (conn.state, conn.in_flight) == (State.READY, 1)
    conn.receive(reply("a"), 3.0)
    assert len(only(Accepted, outputs(conn, 3.0))) == 1


@pytest.mark.parametrize("raw", ["null", '"x"', "1.5", "true", "-1"])
def test_an_error_without_id_and_readable_code_is_an_exchange_error(raw: str) -> None:
    conn = sent("a")
    text = f'{{"event":"error","code":{raw}}}'
    conn.receive(text, 2.0)
    assert outputs(conn, 2.0) == [
        ExchangeError(code=None, code_class=CodeClass.UNREADABLE, message="", text=text)
    ]
    assert conn.in_flight == 1


def test_an_error_that_ends_the_connection_rejects_no_cancel() -> None:
    for code in (30004, 30007):
        conn = sent("a")
        conn.receive(error(code), 2.0)
        assert outcomes(outputs(conn, 2.0)) == [], "its answer may be in the same read"
        conn.handle_timeout(2.5)
        (outcome,) = outcomes(outputs(conn, 2.5))
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why, outcome.code) == (True, WhyUnresolved.CLOSED, None)
        assert conn.state is State.CLOSED


@pytest.mark.parametrize(
    ("code", "kind"), [(30004, Rejected), (30006, Rejected), (30007, Rejected), (30033, Unresolved)]
)
def test_a_connection_error_code_with_a_known_id_only_settles_that_cancel(
    code: int, kind: type[Outcome]
) -> None:
    conn = sent("a")
    conn.receive(refusal("a", code), 2.0)
    (outcome,) = outputs(conn, 2.0)
    assert type(outcome) is kind
    assert conn.state is State.READY
    conn.cancel(ORDER, 2.0)
    assert len(texts(outputs(conn, 2.0))) == 1, "and it pauses nothing"


@pytest.mark.parametrize("code", [30004, 30007, 30033, 30006])
def test_a_connection_error_code_with_an_unknown_id_is_unrecognised(code: int) -> None:
    conn = sent("a")
    text = refusal("zzz", code)
    conn.receive(text, 2.0)
    assert outputs(conn, 2.0) == [Unrecognised(text=text, why=WhyUnrecognised.UNKNOWN_ID)]
    assert (conn.state, conn.in_flight) == (State.READY, 1)


# --- never handed out ---


@pytest.mark.parametrize("state", [State.NEW, State.AUTHENTICATING, State.READY])
@pytest.mark.parametrize("code", [0, 43001])
def test_a_reply_to_a_cancel_that_was_not_sent_is_unrecognised(state: State, code: int) -> None:
    conn = in_state(state)
    conn.cancel(ORDER, 1.0, id="a")
    text = reply("a", code)
    conn.receive(text, 2.0)
    given = outputs(conn, 2.0, writable=False)
    assert given == (
        [] if state is State.NEW else [Unrecognised(text=text, why=WhyUnrecognised.NEVER_SENT)]
    )
    assert conn.in_flight == 1
    conn.lost(3.0)
    (outcome,) = outcomes(outputs(conn, 3.0))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.sent_at) == (False, None)


def test_a_reply_to_a_cancel_that_expired_in_the_queue_is_unrecognised() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="a", timeout=1.0)
    assert outputs(conn, 2.0) == []
    conn.receive(reply("a"), 2.0)
    (said,) = outputs(conn, 2.0)
    assert isinstance(said, Unrecognised)
    assert said.why is WhyUnrecognised.NEVER_SENT
    conn.handle_timeout(2.0)
    (outcome,) = outcomes(outputs(conn, 2.0))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.TIMEOUT)
    conn.receive(reply("a"), 3.0)
    (said,) = outputs(conn, 3.0)
    assert isinstance(said, Unrecognised), "one that never left is not remembered as late"
    assert said.why is WhyUnrecognised.UNKNOWN_ID


# --- answered before, and late ---


def test_a_second_reply_to_an_answered_id_is_unrecognised() -> None:
    conn = sent("a", "b")
    for id, first in (("a", reply("a")), ("b", refusal("b"))):
        conn.receive(first, 2.0)
        assert len(outcomes(outputs(conn, 2.0))) == 1
        for again in (reply(id), refusal(id), reply(id)):
            conn.receive(again, 2.5)
            assert outputs(conn, 2.5) == [Unrecognised(text=again, why=WhyUnrecognised.UNKNOWN_ID)]


def test_a_late_reply_is_reported_once() -> None:
    conn = sent("a", config=QUIET)
    conn.handle_timeout(11.0)
    outputs(conn, 11.0)
    text = refusal("a", 43001)
    conn.receive(text, 12.0)
    assert outputs(conn, 12.0) == [
        LateReply(
            id="a",
            order=ORDER,
            code="43001",
            code_class=CodeClass.NOT_FOUND,
            message="text",
            exchange_ts=1763958928351,
            text=text,
        )
    ]
    conn.receive(text, 13.0)
    assert outputs(conn, 13.0) == [Unrecognised(text=text, why=WhyUnrecognised.UNKNOWN_ID)]


@pytest.mark.parametrize(
    ("event", "code", "code_class"),
    [
        ("trade", 0, CodeClass.ACCEPTED),
        ("error", 0, CodeClass.UNREADABLE),
        ("trade", None, CodeClass.UNREADABLE),
        ("error", 40010, CodeClass.OUTCOME_UNKNOWN),
        ("trade", 43001, CodeClass.NOT_FOUND),
    ],
)
def test_a_late_reply_is_accepted_only_if_the_exchange_accepted(
    event: str, code: object, code_class: CodeClass
) -> None:
    conn = sent("a")
    conn.handle_timeout(11.0)
    outputs(conn, 11.0)
    conn.receive(reply("a", code, event=event), 12.0)
    (late,) = only(LateReply, outputs(conn, 12.0))
    assert late.code_class is code_class


def test_an_unsure_outcome_is_remembered_too() -> None:
    conn = sent("a")
    conn.receive(refusal("a", 40010), 2.0)
    outputs(conn, 2.0)
    conn.receive(reply("a"), 3.0)
    (late,) = outputs(conn, 3.0)
    assert isinstance(late, LateReply)
    assert late.code_class is CodeClass.ACCEPTED


def test_a_late_reply_is_reported_while_draining() -> None:
    conn = ready()
    conn.cancel(ORDER, 1.0, id="a", timeout=1.0)
    conn.cancel(ORDER, 1.0, id="b")
    outputs(conn, 1.0)
    conn.handle_timeout(2.0)
    conn.close(2.0)
    outputs(conn, 2.0)
    conn.receive(reply("a"), 2.5)
    assert len(only(LateReply, outputs(conn, 2.5))) == 1
    assert conn.state is State.DRAINING


def test_beyond_the_limit_the_oldest_late_id_is_forgotten() -> None:
    conn = sent("a", "b", "c", config=Config(late_ids=2))
    conn.handle_timeout(11.0)
    outputs(conn, 11.0)
    assert len(conn._in_flight.late) == 2
    for id in "abc":
        conn.receive(reply(id), 12.0)
    given = outputs(conn, 12.0)
    assert [type(output) for output in given] == [Unrecognised, LateReply, LateReply]
    assert [late.id for late in only(LateReply, given)] == ["b", "c"]
    assert len(conn._in_flight.late) == 0


def test_the_oldest_late_id_is_the_one_that_ended_first() -> None:
    conn = ready(Config(late_ids=1, silence=None))
    conn.cancel(ORDER, 1.0, id="first", timeout=5.0)
    conn.cancel(ORDER, 1.0, id="second", timeout=2.0)
    outputs(conn, 1.0)
    conn.handle_timeout(3.0)
    conn.handle_timeout(6.0)
    outputs(conn, 6.0)
    conn.receive(reply("second"), 7.0)
    conn.receive(reply("first"), 7.0)
    assert [type(output) for output in outputs(conn, 7.0)] == [Unrecognised, LateReply]


def test_without_a_limit_all_late_ids_are_remembered() -> None:
    conn = ready(
        Config(late_ids=None, messages_per_second=None, max_in_flight=None, ping_interval=None)
    )
    ids = [conn.cancel(ORDER, 1.0) for _ in range(2000)]
    outputs(conn, 1.0)
    conn.handle_timeout(11.0)
    outputs(conn, 11.0)
    for id in ids:
        conn.receive(reply(id), 12.0)
    assert len(only(LateReply, outputs(conn, 12.0))) == 2000


def test_a_reply_after_the_deadline_counts_until_the_timer_fires() -> None:
    conn = sent("a")
    conn.receive(reply("a"), 11.0)
    conn.handle_timeout(11.0)
    assert [type(outcome) for outcome in outcomes(outputs(conn, 11.0))] == [Accepted]


def test_while_draining_the_last_reply_ends_the_connection() -> None:
    conn = draining(ids=("a", "b"))
    conn.receive(reply("b"), 2.0)
    assert [type(output) for output in outputs(conn, 2.0)] == [Accepted]
    assert conn.state is State.DRAINING
    conn.receive(refusal("a", 40010), 2.0)
    given = outputs(conn, 2.0)
    assert isinstance(given[0], Unresolved)
    assert given[0].why is WhyUnresolved.UNSURE
    assert isinstance(given[-1], Closed)


def test_outcomes_are_values_that_can_be_compared() -> None:
    conn = sent("a")
    conn.receive(reply("a"), 2.0)
    (outcome,) = outcomes(outputs(conn, 2.0))
    assert attrs.evolve(outcome, resolved_at=2.0) == outcome
    assert attrs.evolve(outcome, resolved_at=2.5) != outcome
