"""Logins and handshakes refused by the scripted exchange, and maintenance windows."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Credentials,
    GoingAway,
    Hangup,
    LinkClosed,
    LocalProtocolError,
    LoginRejected,
    Ready,
    Session,
    State,
    Transmit,
    ValidationError,
    Wait,
    WhyClosed,
    sign_login,
)
from bitget_proto import Codec as Wire
from bitget_proto.testing import (
    ABORT,
    Pair,
    ScriptedExchange,
    ScriptedLink,
    SessionPair,
    VirtualClock,
)
from bitget_proto.testing._exchange.scripted_link import ScriptedOutput

ORDER = CancelOrder("BTCUSDT", order_id="1")


def drained(link: ScriptedLink, now: float) -> list[ScriptedOutput]:
    outputs: list[ScriptedOutput] = []
    while not isinstance(output := link.poll(now), Wait):
        outputs.append(output)
    return outputs


def log_in(link: ScriptedLink, now: float = 0.0, key: str = "key") -> str:
    """Log in and return the code of the answer, with a dot when the socket stays open."""
    if link.state is State.NEW:
        link.opened(now)
    link.receive(Wire().encode_login(sign_login(Credentials(key, "secret", "passphrase"), 1)), now)
    answer, *end = drained(link, now)
    assert isinstance(answer, Transmit)
    return f"{json.loads(answer.text)['code']}{'' if end else '.'}"


# --- counted refusals ---


def test_a_number_of_logins_is_refused_and_then_accepted() -> None:
    exchange = ScriptedExchange()
    exchange.refuse_logins(2)
    exchange.refuse_logins(1, "30005", stay=True)
    assert [log_in(exchange.link()) for _ in range(4)] == ["40015", "40015", "30005.", "0."]


def test_a_client_can_log_in_again_on_the_socket_of_a_refused_login() -> None:
    exchange = ScriptedExchange()
    exchange.refuse_logins(1, "40725", stay=True)
    link = exchange.link()
    assert log_in(link) == "40725."
    assert log_in(link) == "0."


def test_a_refusal_has_the_exchanges_message() -> None:
    pair = Pair()
    pair.exchange.refuse_logins(1, "45001")
    pair.open()
    rejected, closed = pair.events
    assert isinstance(rejected, LoginRejected)
    assert (rejected.code, rejected.message) == ("45001", "Unknown error")
    assert isinstance(closed, Closed)


# --- one link per account ---


def test_a_second_login_of_an_account_is_refused_while_the_first_is_open() -> None:
    exchange = ScriptedExchange()
    exchange.refuse_second_logins()
    first = exchange.link()
    assert log_in(first) == "0."
    assert log_in(exchange.link()) == "30005"
    assert log_in(exchange.link(), key="another") == "0."
    first.lost(0.0)
    assert log_in(exchange.link()) == "0."


def test_second_logins_can_be_allowed_again() -> None:
    exchange = ScriptedExchange()
    exchange.refuse_second_logins("40018")
    assert [log_in(exchange.link()) for _ in range(2)] == ["0.", "40018"]
    exchange.refuse_second_logins(None)
    assert log_in(exchange.link()) == "0."


# --- maintenance ---


def test_maintenance_sends_a_notice_and_drops_all_links_after_the_grace() -> None:
    clock = VirtualClock()
    exchange = ScriptedExchange([ORDER])
    pairs = [Pair(exchange=exchange, clock=clock) for _ in range(2)]
    for pair in pairs:
        pair.open()
        pair.events.clear()
    exchange.maintenance(clock.now, grace=20.0)
    for pair in pairs:
        pair.settle()
        assert [type(event) for event in pair.events] == [GoingAway]
    pairs[0].run(19.0)
    assert isinstance(pairs[0].outcomes[pairs[0].cancel(ORDER)], Accepted)
    pairs[0].run(1.0)
    assert [pair.link.state for pair in pairs] == [State.CLOSED, State.READY]
    pairs[1].settle()
    assert pairs[1].link.state is State.CLOSED
    assert exchange.links == ()


def test_the_grace_has_a_default_and_the_drop_sends_no_close_frame() -> None:
    exchange = ScriptedExchange(grace=5.0)
    link = exchange.link()
    log_in(link)
    exchange.maintenance(1.0)
    assert [type(output) for output in drained(link, 1.0)] == [Transmit]
    assert link.poll(1.0).until == 6.0  # type: ignore[union-attr]
    link.handle_timeout(6.0)
    assert drained(link, 6.0)[0] == Hangup(code=ABORT, reason="going away")


def test_logins_during_maintenance_are_refused_with_each_code_in_turn() -> None:
    exchange = ScriptedExchange()
    exchange.maintenance(0.0)
    codes = [log_in(exchange.link()) for _ in range(5)]
    assert codes == ["45001", "40010", "40725", "40015", "45001"]
    exchange.end_maintenance()
    assert log_in(exchange.link()) == "0."


def test_maintenance_ends_after_its_duration() -> None:
    exchange = ScriptedExchange()
    exchange.maintenance(100.0, seconds=600.0, codes=["40015"], stay=True)
    link = exchange.link()
    assert log_in(link, 100.0) == "40015."
    assert log_in(link, 699.9) == "40015."
    assert log_in(link, 700.0) == "0."


def test_a_client_that_retries_logs_in_after_maintenance() -> None:
    exchange = ScriptedExchange()
    exchange.maintenance(0.0, seconds=10.0)
    exchange.refuse_logins(1, "30005")
    assert log_in(exchange.link(), 1.0) == "45001"
    assert log_in(exchange.link(), 10.0) == "30005"  # the refusals requested before come after it
    assert log_in(exchange.link(), 10.0) == "0."


def test_a_link_that_has_ended_is_sent_no_notice() -> None:
    exchange = ScriptedExchange()
    link = exchange.link()
    log_in(link)
    link.connection.close(0.0)  # its driver does not know yet
    exchange.maintenance(0.0)
    assert isinstance(drained(link, 0.0)[0], Hangup)


# --- handshakes ---


def test_a_number_of_handshakes_is_refused() -> None:
    exchange = ScriptedExchange()
    exchange.refuse_handshakes(2, retry_after=60)
    exchange.refuse_handshakes(1, 503)
    assert [exchange.handshake() for _ in range(4)] == [(429, 60), (429, 60), (503, None), None]


def test_a_refused_handshake_fails_the_dial_of_a_pair() -> None:
    pair = Pair()
    pair.exchange.refuse_handshakes(1)
    pair.open()
    assert pair.events == [
        Closed(why=WhyClosed.LOST, detail="the exchange refused the handshake with HTTP 429")
    ]
    assert pair.link.state is State.NEW
    other = Pair(exchange=pair.exchange)
    other.open()
    assert other.events == [Ready()]


class RecordingSession(Session):
    """A session that records the arguments of `lost`."""

    waits: list[float | None]

    def lost(self, *args: object, **kwargs: object) -> None:
        self.waits.append(kwargs.get("retry_after"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        super().lost(*args, **kwargs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_session_gets_the_retry_after_of_a_refused_handshake() -> None:
    session = RecordingSession(jitter=lambda: 0.5)
    session.waits = []
    pair = SessionPair(session)
    pair.exchange.refuse_handshakes(1, retry_after=60)
    pair.exchange.refuse_handshakes(1, 503)
    pair.start()
    pair.run(400.0)
    assert session.waits == [60, None]
    details = [event.detail for event in pair.events if isinstance(event, LinkClosed)]
    assert details == [
        f"the exchange refused the handshake with HTTP {status}" for status in (429, 503)
    ]
    assert list(pair.links) == [3]


# --- invalid arguments ---


INVALID: list[tuple[Callable[[Any], object], str]] = [
    (
        lambda exchange: exchange.refuse_logins(0),
        "n must be a whole number from 1 up; got the int 0",
    ),
    (lambda exchange: exchange.refuse_logins(True), "n must be a whole number from 1 up; got True"),
    (
        lambda exchange: exchange.refuse_logins(1.5),
        "n must be a whole number from 1 up; got the float 1.5",
    ),
    (
        lambda exchange: exchange.refuse_logins(1, "0"),
        "code must be a decimal string other than '0'",
    ),
    (
        lambda exchange: exchange.refuse_logins(1, stay=1),
        "stay must be True or False; got the int 1",
    ),
    (
        lambda exchange: exchange.refuse_second_logins("x"),
        "code must be a decimal string other than '0'",
    ),
    (
        lambda exchange: exchange.refuse_handshakes(0),
        "n must be a whole number from 1 up; got the int 0",
    ),
    (
        lambda exchange: exchange.refuse_handshakes(1, 200),
        "status must be an HTTP error status, such as 429",
    ),
    (
        lambda exchange: exchange.refuse_handshakes(1, 499),
        "status must be an HTTP error status, such as 429",
    ),
    (
        lambda exchange: exchange.refuse_handshakes(1, retry_after=-1),
        "retry_after must be a whole number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.refuse_handshakes(1, retry_after=1.5),
        "retry_after must be a whole number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.refuse_handshakes(1, retry_after=True),
        "retry_after must be a whole number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.maintenance(0.0, codes=[]),
        "codes must hold at least one code; got none",
    ),
    (
        lambda exchange: exchange.maintenance(0.0, codes=["0"]),
        "code must be a decimal string other than '0'",
    ),
    (lambda exchange: exchange.maintenance(0.0, stay="no"), "stay must be True or False; got 'no'"),
    (
        lambda exchange: exchange.maintenance(0.0, seconds=0),
        "seconds must be a number above 0, or None",
    ),
    (
        lambda exchange: exchange.maintenance(0.0, grace=-1),
        "grace must be a finite number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.maintenance(0.0, grace=inf),
        "grace must be a finite number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.slow_down(nan),
        "seconds must be a finite number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.slow_down(True),
        "seconds must be a finite number of seconds from 0 up",
    ),
    (
        lambda exchange: exchange.slow_down("1"),
        "seconds must be a finite number of seconds from 0 up",
    ),
]


@pytest.mark.parametrize(("ask", "why"), INVALID, ids=range(len(INVALID)))
def test_an_invalid_argument_is_refused_and_changes_nothing(
    ask: Callable[[Any], object], why: str
) -> None:
    exchange = ScriptedExchange()
    link = exchange.link()
    assert log_in(link) == "0."
    with pytest.raises(ValidationError, match=f"^{why}"):
        ask(exchange)
    assert drained(link, 0.0) == []
    assert exchange.handshake() is None
    assert log_in(exchange.link()) == "0."


def test_an_invalid_time_does_not_begin_maintenance() -> None:
    exchange = ScriptedExchange()
    with pytest.raises(LocalProtocolError, match="now must be a finite number"):
        exchange.maintenance(nan)
    assert log_in(exchange.link()) == "0."
