"""What the caller's functions raise never stops a cancel, on any transport.

An `Exception` is an event and goes to the log. A KeyboardInterrupt passes through.
"""

from __future__ import annotations

import gc
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from errno import ECONNRESET
from math import nan
from typing import Any

import attrs
import pytest

from bitget_proto import (
    Accepted,
    CallerError,
    CancelOrder,
    Closed,
    Config,
    Down,
    Ended,
    LinkClosed,
    LoginRejected,
    Outcome,
    Policy,
    Rejected,
    SessionConfig,
    Unresolved,
    Up,
    ValidationError,
    WhyClosed,
    WhyUnresolved,
)
from bitget_transports import ConnectFailed, Limits
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.hostile_server import (
    After,
    HostileServer,
    Victim,
    end_of_stream,
    stop_reading,
)

from .colours import (
    FAST,
    KEY,
    AnyChannel,
    AnySession,
    Connect,
    Flavour,
    OpenSession,
    fast_exchange,
    orders,
)
from .test_interrupted_loops import innermost
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

CONFIG = SessionConfig(
    link=Config(messages_per_second=None, drain_timeout=0.5), backoff_min=0.01, backoff_max=0.05,
    steady_after=None, resend_interval=None, dials_per_5_minutes=None,
)  # fmt: skip
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2, up_timeout=10.0)

ERRORS = [
    ZeroDivisionError("mine"),
    ConnectionResetError(ECONNRESET, "reset by mine"),
    TimeoutError("mine"),
    ssl.SSLError(1, "mine"),
]
"""Some are of the classes that the network's errors have."""


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


class Failing:
    """A function of the caller that raises or returns something else at some of its calls."""

    def __init__(self, result: Callable[[], Any], failures: dict[int, Any]) -> None:
        self.calls = 0
        self._result = result
        self._failures = failures

    def __call__(self, *_: object) -> Any:
        self.calls += 1
        failure = self._failures.get(self.calls, self)
        if isinstance(failure, BaseException):
            raise failure
        return self._result() if failure is self else failure


def serve(victim: Victim) -> None:
    victim.reach(After.LOGIN)
    victim.serve()


def rest(channel: AnyChannel | AnySession) -> list[Any]:
    return list(iter(channel.events.take, None))


def caller_errors(events: list[Any]) -> list[CallerError]:
    return [event for event in events if isinstance(event, CallerError)]


def logged(caplog: pytest.LogCaptureFixture) -> list[BaseException | None]:
    """Return the exceptions that were logged, those raised by `Failing` with their traceback."""
    records = [record for record in caplog.records if "failed, and" in record.message]
    assert all(record.levelno == logging.ERROR for record in records)
    errors = [record.exc_info[1] if record.exc_info else None for record in records]
    raised = [error for error in errors if not isinstance(error, ValidationError)]
    assert caplog.text.count("raise failure\n") >= len(raised)
    return errors


# --- jitter ---


@pytest.mark.parametrize("error", [*ERRORS, nan, "x"])
def test_a_jitter_that_fails_loses_no_outcome_and_no_dial(
    flavour: Flavour, error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with HostileServer(end_of_stream(After.CANCEL), serve) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            jitter = Failing(lambda: 0.5, {1: error})
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, jitter=jitter
            ) as channel:
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (True, WhyUnresolved.LOST)
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)
            return rest(channel)

        events = flavour.run_session(tidy(scenario))
    assert [type(event) for event in events] == [
        Up, LinkClosed, Down, CallerError, Up, LinkClosed, Ended,
    ]  # fmt: skip
    (failure,) = caller_errors(events)
    assert failure.where == "jitter"
    if isinstance(error, Exception):
        assert failure.error is error
        assert failure.detail == repr(error)
    else:
        assert isinstance(failure.error, ValidationError)
    assert logged(caplog) == [failure.error]


def test_a_jitter_that_raises_does_not_leak_a_stalled_socket(flavour: Flavour) -> None:
    with HostileServer(stop_reading(), serve) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            limits = attrs.evolve(LIMITS, write_timeout=0.1)
            jitter = Failing(lambda: 0.5, {1: ZeroDivisionError()})
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=limits, jitter=jitter
            ) as channel:
                await channel.send("x" * 2**24)  # sent in part
                passed: list[Any] = []
                async for event in channel.events:
                    passed.append(event)
                    if isinstance(event, Up) and event.link == 2:
                        break
                return passed

        events = flavour.run_session(tidy(scenario))
    assert [type(event) for event in events] == [Up, LinkClosed, Down, CallerError, Up]
    assert events[2].detail == "the exchange read nothing for 0.1 s"


# --- wall_clock ---


@pytest.mark.parametrize("error", ERRORS)
def test_a_wall_clock_that_raises_at_first_is_refused_before_dialling(
    flavour: Flavour, error: Exception
) -> None:
    with HostileServer(serve) as server:

        async def scenario(connect: Connect | OpenSession) -> None:
            clock = Failing(time.time, {1: error})
            with pytest.raises(ValidationError, match="wall_clock failed") as caught:
                async with connect(KEY, url=server.url, wall_clock=clock):
                    pass
            assert caught.value.__cause__ is error

        flavour.run(scenario)
        flavour.run_session(scenario)


@pytest.mark.parametrize("error", [*ERRORS, nan, "x", -1.0, 1.8e12])
def test_connect_names_a_wall_clock_that_fails_when_it_is_open(
    flavour: Flavour, error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with HostileServer(serve) as server:

        async def scenario(connect: Connect) -> BaseException | None:
            clock = Failing(time.time, {2: error})
            with pytest.raises(ConnectFailed, match="because wall_clock failed") as caught:
                async with connect(KEY, url=server.url, limits=LIMITS, wall_clock=clock):
                    pass
            return caught.value.__cause__

        cause = flavour.run(tidy(scenario))
    if isinstance(error, Exception):
        assert cause is error
    else:
        assert isinstance(cause, ValidationError)
    assert logged(caplog) == [cause]


@pytest.mark.parametrize("error", ERRORS)
def test_a_session_dials_again_when_the_wall_clock_works_again(
    flavour: Flavour, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    connected: list[None] = []

    def count(victim: Victim) -> None:
        connected.append(None)
        serve(victim)

    with HostileServer(count) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            clock = Failing(time.time, {2: error, 3: error})
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, wall_clock=clock
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                return rest(channel)

        events = flavour.run_session(tidy(scenario))
    assert [type(event) for event in events] == [
        CallerError, LinkClosed, CallerError, LinkClosed, Up,
    ]  # fmt: skip
    assert "wall_clock" in events[1].detail
    assert events[1].why is WhyClosed.LOST
    assert events[4].link == 3
    assert len(connected) == 2, "without a time, nothing is dialled"
    assert logged(caplog) == [error, error]


@pytest.mark.parametrize("policy", Policy)
def test_a_wall_clock_that_fails_after_a_lost_link_loses_no_outcome(
    flavour: Flavour, policy: Policy
) -> None:
    with HostileServer(end_of_stream(After.CANCEL), serve) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            clock = Failing(time.time, {3: OSError("no clock")})
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, wall_clock=clock
            ) as channel:
                outcomes = [await channel.cancel(order, policy=policy) for order in orders(2)]
                expected = Unresolved if policy is Policy.REPORT else Accepted
                assert [type(outcome) for outcome in outcomes] == [expected, Accepted]
                return rest(channel)

        events = flavour.run_session(tidy(scenario))
    assert [type(event) for event in events] == [
        Up, LinkClosed, Down, CallerError, LinkClosed, Up,
    ]  # fmt: skip


def test_open_session_names_a_wall_clock_that_never_works_again(flavour: Flavour) -> None:
    with HostileServer(serve) as server:

        async def scenario(open_session: OpenSession) -> None:
            clock = Failing(time.time, dict.fromkeys(range(2, 10_000), OSError("no clock")))
            limits = attrs.evolve(LIMITS, up_timeout=0.2)
            with pytest.raises(ConnectFailed, match="wall_clock"):
                async with open_session(
                    KEY, url=server.url, config=CONFIG, limits=limits, wall_clock=clock
                ):
                    pass
            with pytest.raises(ConnectFailed, match="wall_clock"):
                async with open_session(
                    KEY,
                    url=server.url,
                    config=CONFIG,
                    limits=attrs.evolve(LIMITS, first_dials=2),
                    wall_clock=Failing(
                        time.time, {2: OSError("no clock"), 3: OSError("still none")}
                    ),
                ):
                    pass

        flavour.run_session(tidy(scenario))


def test_the_exchanges_time_replaces_a_wall_clock_that_fails(flavour: Flavour) -> None:
    exchange = fast_exchange(1, credentials=KEY)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            failures = dict.fromkeys(range(3, 10_000), OSError("no clock"))
            clock = Failing(lambda: time.time() - 100.0, failures)
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, wall_clock=clock
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                return rest(channel)

        events = flavour.run_session(tidy(scenario))
    assert [type(event) for event in events] == [LoginRejected, LinkClosed, CallerError, Up]


# --- trace ---


@pytest.mark.parametrize(("line", "error"), [*zip([1, 2, 5, 12], ERRORS, strict=True)])
@pytest.mark.parametrize("in_session", [False, True])
def test_a_trace_that_raises_is_detached(
    flavour: Flavour,
    line: int,
    error: Exception,
    in_session: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> list[Any]:
            trace = Failing(lambda: None, {line: error})
            config = CONFIG if in_session else FAST
            async with connect(KEY, url=server.url, config=config, trace=trace) as channel:
                outcomes = [await channel.cancel(order) for order in orders(3)]
                assert [type(outcome) for outcome in outcomes] == [Accepted] * 3
            assert trace.calls == line
            return rest(channel)

        run = flavour.run_session if in_session else flavour.run
        events = run(tidy(scenario))  # type: ignore[arg-type]
    others = {Up, LinkClosed, Ended} if in_session else {Closed}
    assert {type(event) for event in events} == {CallerError, *others}
    assert isinstance(events[-1], Ended if in_session else Closed)
    (failure,) = caller_errors(events)
    assert failure == CallerError(where="trace", detail=repr(error))
    assert failure.error is error
    assert logged(caplog) == [error]


def test_an_event_keeps_no_iterator_alive_that_was_left(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flavour is Flavour.BLOCKING:
        return  # `BlockingChannel` itself keeps the iterator
    # pytest keeps each record, with its traceback.
    monkeypatch.setattr(logging.getLogger("bitget_transports"), "propagate", False)

    def trace(line: str) -> None:
        if '"call":"cancel"' in line:
            try:
                _ = dict[str, int]()["no such key"]
            except KeyError as error:
                raise OSError("full") from error

    with exchange_in_thread(fast_exchange(9)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, trace=trace) as channel:
                taken = 0

                def counted() -> Iterator[CancelOrder]:
                    nonlocal taken
                    for taken, order in enumerate(orders(9), 1):  # noqa: B007 - counted
                        yield order

                gc.disable()
                try:
                    async for _ in channel.cancel_many(counted()):
                        break
                    await channel.close()
                    events = [event async for event in channel.events]
                    assert len(caller_errors(events)) == 1
                    assert sum(isinstance(event, Outcome) for event in events) == taken - 1
                finally:
                    gc.enable()

        flavour.run(tidy(scenario))


def test_a_log_that_raises_changes_nothing(flavour: Flavour) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise TimeoutError("the log is the caller's, too")

    logger = logging.getLogger("bitget_transports")
    logger.addFilter(refuse)
    try:
        with exchange_in_thread(fast_exchange(1)) as server:

            async def scenario(connect: Connect) -> list[Any]:
                trace = Failing(lambda: None, {2: OSError("full")})
                async with connect(KEY, url=server.url, trace=trace) as channel:
                    assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                return rest(channel)

            assert len(caller_errors(flavour.run(tidy(scenario)))) == 1
    finally:
        logger.removeFilter(refuse)


# --- KeyboardInterrupt ---


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize(
    ("function", "call"),
    [("jitter", 1), ("wall_clock", 2), ("wall_clock", 3)]
    + [("trace", line) for line in (2, 12, 16, 20, 24)],
)
def test_a_keyboard_interrupt_passes_and_each_cancel_has_one_outcome(
    flavour: Flavour, function: str, call: int, policy: Policy
) -> None:
    results = {"jitter": lambda: 0.5, "wall_clock": time.time, "trace": lambda: None}
    failing = Failing(results[function], {call: KeyboardInterrupt()})
    outcomes: list[Any] = []
    taken: list[str | None] = []

    def take() -> Iterator[CancelOrder]:
        for order in orders(3):
            taken.append(order.order_id)
            yield order

    with HostileServer(end_of_stream(After.CANCEL), serve) as server:

        async def scenario(open_session: OpenSession) -> None:
            entered: list[AnySession] = []
            try:
                async with open_session(
                    KEY, url=server.url, config=CONFIG, limits=LIMITS, **{function: failing}
                ) as channel:
                    entered.append(channel)
                    async for outcome in channel.cancel_many(take(), policy=policy):
                        outcomes.append(outcome)
                    taken.append("4")
                    outcomes.append(await channel.cancel(orders(4)[3]))
            finally:
                outcomes.extend(
                    event
                    for channel in entered
                    for event in rest(channel)
                    if isinstance(event, (Accepted, Rejected, Unresolved))
                )

        with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
            flavour.run_session(scenario)
    assert isinstance(innermost(caught.value), KeyboardInterrupt)
    assert sorted(outcome.order.order_id for outcome in outcomes) == taken
