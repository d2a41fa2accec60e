"""The connection that the conformance kit gives to drivers: it records faults without raising."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Config,
    Credentials,
    LocalProtocolError,
    SessionConfig,
    Transmit,
    Unresolved,
    Wait,
    sign_login,
)
from bitget_proto.testing import Rule, encode_reply
from bitget_proto.testing._kit.recording_connection import Recorder
from bitget_proto.testing._kit.recording_session import SessionRecorder

from .patience import BUSY, PATIENCE

ORDER = CancelOrder("BTCUSDT", order_id="1")
LOGIN = sign_login(Credentials("key-of-mine", "secret", "passphrase"), 1_763_958_366)
LOGGED_IN = '{"event":"login","code":0}'


def drain(connection: Recorder, now: float | None = None) -> None:
    while not isinstance(connection.poll(time.monotonic() if now is None else now), Wait):
        pass


def ready() -> Recorder:
    connection = Recorder(Config())
    connection.opened(time.monotonic(), login=LOGIN)
    drain(connection)
    connection.receive(LOGGED_IN, time.monotonic())
    drain(connection)
    assert connection.links[1].ready
    return connection


def rules(connection: Recorder) -> list[Rule]:
    return [complaint.rule for complaint in connection.complaints]


def test_all_steps_are_recorded_except_the_login() -> None:
    connection = ready()
    id = connection.cancel(ORDER, time.monotonic())
    connection.send("x" * 1000, time.monotonic())  # in the same call of the kit
    drain(connection)
    connection.receive(encode_reply(ORDER, id), time.monotonic())
    drain(connection)
    connection.close(time.monotonic())
    drain(connection)
    connection.lost(time.monotonic(), "gone")
    drain(connection)
    assert rules(connection) == []
    assert isinstance(connection.outcomes[id], Accepted)
    assert isinstance(connection.closed, Closed)
    assert connection.links[1].hangup is not None
    assert [transmit.ids for transmit in connection.handed_out] == [(), (id,), ()]
    assert connection.links[1].handed_over[0] == LOGGED_IN
    story = "\n".join(map(str, connection.steps))
    assert "key-of-mine" not in story
    assert f"{'x' * 150}… (1000 characters)" in story
    assert connection.lost_calls == 1
    assert list(connection.about_the_clock(PATIENCE)) == []


def test_cancel_many_and_withdraw_are_recorded() -> None:
    connection = ready()
    first, second = connection.cancel_many([ORDER, ORDER], time.monotonic())
    assert connection.withdraw(second, time.monotonic())
    drain(connection)
    assert [transmit.ids for transmit in connection.handed_out] == [(), (first,)]
    assert isinstance(connection.outcomes[second], Unresolved)
    story = "\n".join(map(str, connection.steps))
    assert "2 orders" in story
    assert f"{second!r}" in story


def test_a_broken_rule_is_recorded_and_the_call_is_executed() -> None:
    connection = ready()
    connection.cancel(ORDER, time.monotonic(), id="a")
    connection.receive("push", time.monotonic())  # the cancel is not drained
    assert rules(connection) == [Rule.DRAIN]
    drain(connection)
    assert [transmit.ids for transmit in connection.handed_out] == [(), ("a",)]
    connection.lost(time.monotonic(), "reset", "a")
    drain(connection)
    connection.lost(time.monotonic(), "reset")
    connection.receive("push", time.monotonic())
    drain(connection)
    assert rules(connection)[1:3] == [Rule.END, Rule.DRAIN]
    assert connection.lost_calls == 2


def test_a_clock_that_runs_backwards_is_recorded() -> None:
    connection = ready()
    drain(connection, time.monotonic() - 1)
    assert rules(connection) == [Rule.CLOCK]


REFUSED: dict[str, tuple[Callable[[Recorder], object], Rule]] = {
    "receive at no time": (lambda connection: connection.receive("x", float("nan")), Rule.CLOCK),
    "poll at no number": (lambda connection: connection.poll("now"), Rule.CLOCK),  # type: ignore[arg-type]
    "no message": (lambda connection: connection.receive(7, time.monotonic()), Rule.READ),  # type: ignore[arg-type]
    "no ids": (lambda connection: connection.lost(time.monotonic(), "", [7]), Rule.END),  # type: ignore[list-item]
    "opened twice": (lambda connection: connection.opened(time.monotonic(), login=LOGIN), Rule.END),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_call_of_the_driver_is_recorded(what: str) -> None:
    call, rule = REFUSED[what]
    connection = ready()
    with pytest.raises(LocalProtocolError):
        call(connection)
    assert rules(connection) == [rule]


def test_a_refused_command_is_not_a_fault() -> None:
    connection = ready()
    with pytest.raises(LocalProtocolError):
        connection.send("", time.monotonic())
    assert rules(connection) == []


def test_times_in_the_past_and_in_the_future_are_reported_at_the_end() -> None:
    stale = ready()
    stale.poll(time.monotonic())
    time.sleep(0.6)
    drain(stale, stale.steps[-1].now)
    assert list(stale.about_the_clock(PATIENCE)) == []  # once: the machine may have been busy
    drain(stale, stale.steps[-1].now + 0.01)
    (complaint,) = stale.about_the_clock(PATIENCE)
    assert complaint.rule is Rule.CLOCK
    ahead = ready()
    ahead.handle_timeout(time.monotonic() + 0.2)
    (complaint,) = ahead.about_the_clock(PATIENCE)
    assert complaint.rule is Rule.REARM


def test_a_long_call_of_the_kit_is_not_a_fault_of_the_driver() -> None:
    connection = ready()
    now = time.monotonic()
    connection.cancel(ORDER, now, id="a")
    time.sleep(0.6)
    connection.cancel(ORDER, now, id="b")
    drain(connection)
    assert list(connection.about_the_clock(PATIENCE)) == []


def test_hooks_get_a_transmit_before_the_driver_and_see_each_message() -> None:
    connection = ready()
    seen: list[Transmit] = []
    connection.on_transmit = seen.append
    connection.cancel(ORDER, time.monotonic(), id="a")
    drain(connection)
    assert [transmit.ids for transmit in seen] == [("a",)]
    received: list[str | bytes] = []
    connection.on_receive = lambda: received.extend(connection.links[1].handed_over)
    connection.receive("push", time.monotonic())
    assert received[-1] == "push"
    assert connection.undrained
    drain(connection)
    assert not connection.undrained
    new = Recorder(Config())
    assert not new.undrained
    assert not new.is_writing


def test_the_time_for_which_the_kit_blocks_the_driver_is_allowed() -> None:
    connection = ready()
    connection.poll(time.monotonic())
    time.sleep(0.6)
    drain(connection, connection.steps[-1].now)
    drain(connection, connection.steps[-1].now + 0.01)
    assert list(connection.about_the_clock(PATIENCE)) != []
    connection.held_up_for = 0.6
    assert list(connection.about_the_clock(PATIENCE)) == []


def test_more_patience_allows_longer_delays() -> None:
    connection = ready()
    connection.poll(time.monotonic())
    time.sleep(0.6)
    drain(connection, connection.steps[-1].now)
    drain(connection, connection.steps[-1].now + 0.01)
    assert list(connection.about_the_clock(BUSY)) == []


def test_a_session_records_each_link() -> None:
    session = SessionRecorder(SessionConfig())

    def drain_session() -> None:
        while not isinstance(session.poll(time.monotonic()), Wait):
            pass

    drain_session()
    session.opened(1, time.monotonic(), login=LOGIN)
    drain_session()
    session.receive(1, LOGGED_IN, time.monotonic())
    drain_session()
    assert session.is_up
    first, second = session.cancel_many([ORDER, ORDER], time.monotonic())
    assert session.withdraw(second, time.monotonic())
    drain_session()
    assert [transmit.ids for transmit in session.links[1].handed_out] == [(), (first,)]
    calls: tuple[Callable[[], None], ...] = (
        lambda: session.receive(7, "x", time.monotonic()),
        lambda: session.lost(7, time.monotonic()),
    )
    for call in calls:
        with pytest.raises(LocalProtocolError, match="link 7 was never dialled"):
            call()
    assert [complaint.rule for complaint in session.complaints][::2] == [Rule.LINK, Rule.LINK]
    session.lost(1, time.monotonic(), "gone", retry_after=1.0)
    drain_session()
    assert not session.is_up
    assert session.links[1].retry_after == 1.0
    assert session.lost_calls == 1
