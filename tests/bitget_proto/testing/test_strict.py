"""Drivers that break the rules which a strict connection can check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitget_proto import (
    CancelOrder,
    Closed,
    Credentials,
    LocalProtocolError,
    Ready,
    State,
    Transmit,
    Unresolved,
    Wait,
    sign_login,
)
from bitget_proto.testing import DriverError, Rule, StrictConnection

ORDER = CancelOrder("BTCUSDT", order_id="1")
LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)


def drain(connection: StrictConnection, now: float = 0.0) -> list[object]:
    outputs: list[object] = []
    while not outputs or not isinstance(outputs[-1], Wait):
        outputs.append(connection.poll(now))
    return outputs[:-1]


def ready() -> StrictConnection:
    connection = StrictConnection()
    connection.opened(0.0, login=LOGIN)
    drain(connection)
    connection.receive('{"event":"login","code":0}', 0.0)
    assert drain(connection) == [Ready()]
    return connection


def broken(rule: Rule) -> pytest.RaisesExc[DriverError]:
    def names_the_rule(error: DriverError) -> bool:
        return error.rule is rule and rule.sentence in str(error)

    return pytest.raises(DriverError, check=names_the_rule)


def test_a_correct_driver_raises_no_error() -> None:
    connection = ready()
    connection.cancel(ORDER, 1.0)
    assert [type(output) for output in drain(connection, 1.0)] == [Transmit]
    connection.send("x", 1.0)
    drain(connection, 1.0)
    connection.handle_timeout(3.0)
    assert drain(connection, 3.0) == [Transmit("ping")]
    connection.receive("pong", 3.5)
    drain(connection, 3.5)
    connection.handle_timeout(11.0)
    assert [type(output) for output in drain(connection, 11.0)] == [Unresolved, Transmit]
    connection.close(12.0)
    assert isinstance(drain(connection, 12.0)[-1], Closed)
    connection.lost(13.0)
    assert drain(connection, 13.0) == []


@pytest.mark.parametrize("call", ["receive", "handle_timeout", "lost", "close", "cancel", "send"])
def test_a_missing_drain_is_reported_at_the_next_call(call: str) -> None:
    connection = ready()
    connection.cancel(ORDER, 0.0)
    calls: dict[str, Callable[[], object]] = {
        "receive": lambda: connection.receive("pong", 0.0),
        "handle_timeout": lambda: connection.handle_timeout(0.0),
        "lost": lambda: connection.lost(0.0),
        "close": lambda: connection.close(0.0),
        "cancel": lambda: connection.cancel(ORDER, 0.0),
        "send": lambda: connection.send("x", 0.0),
    }
    with broken(Rule.DRAIN):
        calls[call]()


def test_a_missing_drain_after_opened_is_reported_at_the_next_call() -> None:
    connection = StrictConnection()
    connection.opened(0.0, login=LOGIN)
    with broken(Rule.DRAIN):
        connection.receive('{"event":"login","code":0}', 0.0)


def test_an_input_during_a_drain_is_reported() -> None:
    connection = ready()
    connection.cancel(ORDER, 0.0)
    connection.poll(0.0)
    with broken(Rule.DRAIN):
        connection.receive("pong", 0.0)


def test_a_command_during_a_drain_is_allowed() -> None:
    connection = ready()
    connection.cancel(ORDER, 0.0)
    connection.poll(0.0)
    connection.cancel(ORDER, 0.0)
    connection.cancel(ORDER, 0.0)
    assert len(drain(connection)) == 2


def test_a_refused_command_needs_no_drain() -> None:
    connection = ready()
    with pytest.raises(ValueError, match="id must be"):
        connection.cancel(ORDER, 0.0, id="")
    connection.receive("pong", 0.0)
    assert drain(connection) == []


def test_inputs_that_do_not_fit_the_state_are_reported() -> None:
    connection = StrictConnection()
    with broken(Rule.END):
        connection.receive("pong", 0.0)
    connection.lost(0.0, "no route")
    drain(connection)
    calls: tuple[Callable[[], object], ...] = (
        lambda: connection.lost(0.0),
        lambda: connection.opened(0.0, login=LOGIN),
        lambda: connection.receive("pong", 0.0),
    )
    for call in calls:
        with broken(Rule.END):
            call()
    assert connection.state is State.CLOSED


def test_only_the_last_frame_may_be_unsent() -> None:
    connection = ready()
    ids: list[str] = []
    for _ in range(2):
        ids.append(connection.cancel(ORDER, 0.0))
        drain(connection)
    for wrong in (ids, ids[:1]):
        with broken(Rule.WRITE):
            connection.lost(0.0, "", wrong)
    connection.lost(0.0, "", ids[1])
    outcomes = [output for output in drain(connection) if isinstance(output, Unresolved)]
    assert [outcome.sent for outcome in outcomes] == [True, False]


def test_a_clock_that_runs_backwards_is_reported_by_each_call() -> None:
    calls: tuple[Callable[[StrictConnection], object], ...] = (
        lambda connection: connection.receive("pong", 0.5),
        lambda connection: connection.cancel(ORDER, 0.5),
        lambda connection: connection.poll(0.5),
    )
    for call in calls:
        connection = ready()
        connection.handle_timeout(1.0)
        drain(connection, 1.0)
        with broken(Rule.CLOCK):
            call(connection)


def test_an_early_timer_may_pass_its_deadline_as_now() -> None:
    connection = ready()
    connection.cancel(ORDER, 1.0)
    drain(connection, 1.0)
    connection.handle_timeout(3.0)  # max(2.999, until), as the rule requires
    assert drain(connection, 2.999) == [Transmit("ping")]
    with broken(Rule.CLOCK):
        connection.poll(2.998)


def test_a_timer_that_always_fires_early_is_reported() -> None:
    connection = ready()
    for _ in range(101):
        connection.handle_timeout(29.9)
        assert drain(connection, 29.9) == []
    with broken(Rule.OVERDUE):
        connection.handle_timeout(29.9)


def test_a_loop_that_polls_once_per_frame_is_not_spinning() -> None:
    connection = ready()
    for frame in range(1000):
        connection.handle_timeout(frame / 60)
        drain(connection, frame / 60)
    assert connection.state is State.READY


def test_a_flood_that_delays_timers_is_reported() -> None:
    connection = ready()
    for _ in range(1200):
        connection.receive("{}", 31.0)
        drain(connection, 31.0)
    with broken(Rule.ALTERNATE):
        connection.receive("{}", 31.0)


def test_a_driver_that_never_fires_timers_is_reported() -> None:
    connection = ready()
    with broken(Rule.OVERDUE):
        for _ in range(2401):
            drain(connection, 31.0)


def test_a_refused_time_is_not_recorded() -> None:
    connection = ready()
    for bad in (float("inf"), float("nan")):
        with pytest.raises(LocalProtocolError, match="now must be a finite number"):
            connection.cancel(ORDER, bad)
    connection.cancel(ORDER, 1.0)
    assert len(drain(connection, 1.0)) == 1


def test_lost_with_invalid_ids_is_refused_and_can_be_repeated() -> None:
    connection = ready()
    with pytest.raises(ValueError, match="unsent must be ids"):
        connection.lost(0.0, "", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    connection.lost(0.0)
    assert connection.state is State.CLOSED


def test_a_flood_with_timers_in_between_is_allowed() -> None:
    connection = ready()
    for number in range(2500):
        if number % 900 == 899:
            connection.handle_timeout(31.0)
            drain(connection, 31.0)
        connection.receive("{}", 31.0)
        drain(connection, 31.0)
    assert connection.state is State.READY


def test_a_second_outcome_is_reported_as_a_fault_of_the_library() -> None:
    connection = ready()
    connection.cancel(ORDER, 0.0)
    drain(connection)
    connection.handle_timeout(10.0)
    outcome = connection._outputs[0]
    connection._outputs.append(outcome)
    with pytest.raises(AssertionError, match="a second outcome"):
        drain(connection, 10.0)


def test_a_lost_outcome_is_reported_as_a_fault_of_the_library() -> None:
    connection = ready()
    connection.cancel(ORDER, 0.0)
    drain(connection)
    connection._in_flight.sent.clear()
    connection.close(1.0)
    with pytest.raises(AssertionError, match="closed without an outcome for"):
        drain(connection, 1.0)


def test_every_rule_has_a_description() -> None:
    for rule in Rule:
        assert rule.sentence.endswith(".")
        assert (
            str(DriverError(rule, "What happened"))
            == f'What happened. Rule "{rule.value}": {rule.sentence}'
        )
