"""`guard` on every transport: it renews, says what goes wrong, and leaves the countdown off or on.

A function in place of REST answers at once, fails or hangs. The times of the exchange are shortened,
except in the tests that use the embedded exchange.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import anyio
import pytest

import bitget_transports.blocking
from bitget_proto import (
    Armed,
    CancelOrder,
    Credentials,
    Dialect,
    Lapsed,
    NotRenewed,
    RestRequest,
    Stopped,
    ValidationError,
    WhyNotRenewed,
)
from bitget_proto._machine import dead_man_switch
from bitget_proto.testing import ExchangeConfig, ScriptedExchange
from bitget_transports import Guard, GuardFailed, clock
from bitget_transports.exchange import exchange_in_thread

from .colours import Flavour
from .tidy import nothing_left, tidy

KEY = Credentials("key-1A2B3C", "secret-4D5E6F", "passphrase-7G8H9I")
FLAVOURS = (
    Flavour.ASYNCIO, Flavour.UVLOOP, Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO, Flavour.BLOCKING,
)  # fmt: skip
pytestmark = pytest.mark.parametrize("flavour", FLAVOURS)

T = TypeVar("T")
MakeGuard: TypeAlias = Callable[..., AbstractAsyncContextManager[Guard]]
Scenario: TypeAlias = Callable[[MakeGuard], Coroutine[Any, Any, T]]
Answer: TypeAlias = tuple[int, bytes]

URL = "ws://127.0.0.1:9/v3/ws/private"
OK = 200, b'{"code":"00000","msg":"success","data":null}'


def refusal(code: str, status: int = 400) -> Answer:
    return status, json.dumps({"code": code, "msg": "no", "data": None}).encode()


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the times of the exchange."""
    monkeypatch.setattr(dead_man_switch, "_SPACING", 0.02)


@pytest.fixture
def hopeless(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon when the countdown cannot be turned off."""
    monkeypatch.setattr(dead_man_switch, "_STOP_WITHIN", 0.3)


@pytest.fixture
def often(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew often. An answer that takes as long is late, which happens on a busy machine."""
    monkeypatch.setattr(dead_man_switch, "_LONGEST_INTERVAL", 0.3)


@asynccontextmanager
async def _blocking_guard(*arguments: Any, **options: Any) -> AsyncGenerator[Guard]:
    with bitget_transports.blocking.guard(*arguments, **options) as guard:
        yield guard


def run(flavour: Flavour, scenario: Scenario[T]) -> T:
    return flavour._run(tidy(scenario), "guard", _blocking_guard)


async def until(flavour: Flavour, done: Callable[[], object]) -> None:
    """Wait for a condition."""
    while not done():
        if flavour is Flavour.BLOCKING:
            time.sleep(0.005)
        else:
            await anyio.sleep(0.005)


class Rest:
    """Answers in place of the exchange: each request with the next of `answers`, then with OK."""

    def __init__(self, flavour: Flavour, *answers: Answer | Exception | None) -> None:
        self.countdowns: list[str] = []
        """The countdowns that were asked for."""
        self.answers = list(answers)
        self.hang = threading.Event()
        """Set to end what hangs, which is what None stands for."""
        self.always: Answer | Exception | None = OK
        self._flavour = flavour

    @property
    def send(self) -> Any:
        return self._answer if self._flavour is Flavour.BLOCKING else self._answer_later

    def _next(self, request: RestRequest, headers: Mapping[str, str]) -> Answer | None:
        assert headers["ACCESS-KEY"] == KEY.api_key
        assert request.path == "/api/v3/trade/countdown-cancel-all"
        self.countdowns.append(json.loads(request.body)["countdown"])
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, request: RestRequest, headers: Mapping[str, str]) -> Answer:
        answer = self._next(request, headers)
        if answer is None:
            self.hang.wait(10.0)
            return OK
        return answer

    async def _answer_later(self, request: RestRequest, headers: Mapping[str, str]) -> Answer:
        answer = self._next(request, headers)
        if answer is None:
            await until(self._flavour, self.hang.is_set)
            return OK
        return answer


Events: TypeAlias = list[Armed | NotRenewed | Lapsed | Stopped]


def guarded(
    flavour: Flavour,
    rest: Rest,
    body: Callable[[Guard, Events], Awaitable[None]] | None = None,
    **options: Any,
) -> Events:
    """Guard while `body` runs, and return the events."""
    events: Events = []

    def observe(event: Armed | NotRenewed | Lapsed | Stopped, at: float) -> None:
        events.append(event)

    async def scenario(guard: MakeGuard) -> None:
        async with guard(KEY, url=URL, rest=rest.send, observe=observe, **options) as made:
            assert made.armed
            if body is not None:
                await body(made, events)

    try:
        run(flavour, scenario)
    finally:
        rest.hang.set()
    return events


@pytest.mark.usefixtures("often")
def test_it_renews_and_turns_the_countdown_off(flavour: Flavour) -> None:
    rest = Rest(flavour)

    async def body(guard: Guard, _: Events) -> None:
        assert repr(guard) == "<Guard armed>"
        guard.check()
        first = guard.armed_until
        assert first is not None
        assert clock() < first <= clock() + 30.0
        await until(flavour, lambda: len(rest.countdowns) >= 3)
        assert guard.armed_until is not None
        assert guard.armed_until > first

    armed, *_, stopped = guarded(flavour, rest, body)
    assert isinstance(armed, Armed)
    assert stopped == Stopped(disarmed=True, detail="")
    *renewals, last = rest.countdowns
    assert set(renewals) == {"30"}
    assert last == "0"


@pytest.mark.usefixtures("quick")
def test_it_may_leave_the_countdown_on(flavour: Flavour) -> None:
    rest = Rest(flavour)
    events = guarded(flavour, rest, countdown=60, disarm=False)
    assert events[-1] == Stopped(disarmed=False, detail="")
    assert rest.countdowns == ["60"]


@pytest.mark.usefixtures("quick")
def test_an_exception_leaves_the_countdown_on(flavour: Flavour) -> None:
    rest = Rest(flavour)
    events: Events = []

    async def body(_: Guard, seen: Events) -> None:
        nonlocal events
        events = seen
        raise KeyError("the program")

    with pytest.raises(KeyError, match="the program"):
        guarded(flavour, rest, body)
    assert events[-1] == Stopped(disarmed=False, detail="")
    assert rest.countdowns == ["30"]


@pytest.mark.usefixtures("often")
def test_a_failed_renewal_is_reported_and_repeated(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    rest = Rest(flavour, OK, refusal("429", 429), (200, b""), OSError("cut"), (200,))  # type: ignore[arg-type]
    caplog.set_level(logging.INFO, "bitget_transports")

    async def body(guard: Guard, seen: Events) -> None:
        guard._switch._interval = 5.0  # so that no answer is late, however busy the machine
        await until(flavour, lambda: len(rest.countdowns) >= 6)
        assert guard.armed

    events = guarded(flavour, rest, body, disarm=False)
    failed = [event for event in events if isinstance(event, NotRenewed)]
    assert [event.why for event in failed] == [
        WhyNotRenewed.REFUSED,
        WhyNotRenewed.UNREADABLE,
        WhyNotRenewed.FAILED,
        WhyNotRenewed.FAILED,
    ]
    assert failed[2].detail == "OSError: cut"
    assert failed[3].detail.startswith("rest must return the status and the body")
    assert all(event.until is not None for event in failed)
    lines = [f"{each.levelname} {each.getMessage()}" for each in caplog.records]
    assert lines[0] == "INFO guard: the exchange cancels all orders 30 s after the last renewal"
    assert "WARNING guard: not renewed, failed: OSError: cut" in lines


@pytest.mark.usefixtures("often")
def test_a_renewal_that_hangs_is_late_and_the_next_one_is_sent(flavour: Flavour) -> None:
    rest = Rest(flavour, OK, None)

    async def body(guard: Guard, seen: Events) -> None:
        await until(flavour, lambda: len(rest.countdowns) >= 4)
        assert guard.armed
        rest.hang.set()

    events = guarded(flavour, rest, body, disarm=False)
    failed = [event for event in events if isinstance(event, NotRenewed)]
    # On an event loop, the request is given up at the same moment.
    assert failed[0].why in (WhyNotRenewed.LATE, WhyNotRenewed.FAILED)


@pytest.mark.usefixtures("often")
def test_a_countdown_that_may_have_ended_is_loud(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    rest = Rest(flavour, OK)
    rest.always = OSError("down")

    async def body(guard: Guard, seen: Events) -> None:
        # Instead of waiting for 5 s, the least countdown of the exchange.
        guard._switch._until = clock()
        await until(flavour, lambda: any(isinstance(event, Lapsed) for event in seen))
        assert not guard.armed
        assert repr(guard) == "<Guard not armed>"
        with pytest.raises(GuardFailed, match="countdown may have ended"):
            guard.check()
        rest.always = OK
        await until(flavour, lambda: isinstance(seen[-1], Armed))
        guard.check()

    guarded(flavour, rest, body, disarm=False)
    (lapsed,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert lapsed.getMessage().startswith("guard: lapsed: the exchange may have cancelled")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("25008", r"^the exchange refused the countdown: HTTP 400, code 25008: no: check the key"),
        ("40084", r"^the account is a classic one .* countdown for unified accounts only: run a"),
        ("99999", r"^the exchange refused the countdown: HTTP 400, code 99999"),
    ],
)
def test_a_refused_countdown_raises_at_once(flavour: Flavour, code: str, why: str) -> None:
    rest = Rest(flavour, refusal(code))
    with pytest.raises(GuardFailed, match=why):
        guarded(flavour, rest)
    assert rest.countdowns == ["30"]


@pytest.mark.usefixtures("hopeless")
def test_a_countdown_that_cannot_be_started_raises_and_says_that_it_may_be_on(
    flavour: Flavour,
) -> None:
    rest = Rest(flavour)
    rest.always = OSError("cut")
    why = (
        r"^the countdown could not be started after 3 attempts: OSError: cut: check the network, and "
        r"any proxy\. The exchange may still cancel all orders of the account, within 30 s, or"
    )
    with pytest.raises(GuardFailed, match=why):
        guarded(flavour, rest)
    assert [rest.countdowns[:3], {*rest.countdowns[3:]}] == [["30"] * 3, {"0"}]


@pytest.mark.usefixtures("hopeless")
def test_a_countdown_that_cannot_be_turned_off_raises(flavour: Flavour) -> None:
    rest = Rest(flavour, OK)

    async def body(_: Guard, seen: Events) -> None:
        rest.always = 503, b"<html>"

    with pytest.raises(GuardFailed, match=r"^the countdown could not be turned off: HTTP 503"):
        guarded(flavour, rest, body)
    assert "0" in rest.countdowns


@pytest.mark.usefixtures("often")
def test_a_request_without_an_answer_may_turn_it_on_again(flavour: Flavour) -> None:
    rest = Rest(flavour, OK, OSError("cut"))

    async def body(_: Guard, seen: Events) -> None:
        await until(flavour, lambda: len(rest.countdowns) >= 3)

    with pytest.raises(GuardFailed, match="has no answer, and may still be done"):
        guarded(flavour, rest, body)


@pytest.mark.usefixtures("quick")
def test_without_a_connection_nothing_can_be_on(flavour: Flavour) -> None:
    async def scenario(guard: MakeGuard) -> None:
        async with guard(KEY, url=URL):
            raise AssertionError("it cannot be armed")

    with pytest.raises(GuardFailed, match=r"attempts: ConnectError: .* any proxy$"):
        run(flavour, scenario)


@pytest.mark.usefixtures("often")
def test_what_the_caller_s_functions_raise_stops_no_renewal(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    rest = Rest(flavour)
    called: list[object] = []

    def observe(event: object, at: float) -> None:
        called.append(event)
        raise RuntimeError("broken")

    async def scenario(guard: MakeGuard) -> None:
        async with guard(KEY, url=URL, rest=rest.send, observe=observe):
            await until(flavour, lambda: len(rest.countdowns) >= 3)

    run(flavour, scenario)
    assert len(called) == 1
    assert "observe failed, and nothing more is observed" in caplog.text
    times = [time.time(), time.time()]

    def wall_clock() -> float:
        return times.pop()  # the first is for a check

    async def other(guard: MakeGuard) -> None:
        async with guard(KEY, url=URL, rest=rest.send, wall_clock=wall_clock) as made:
            await until(flavour, lambda: "pop from empty list" in caplog.text)
            made.check()
            times.extend([time.time()] * 1000)

    run(flavour, other)


def test_wrong_arguments_raise_before_anything_is_sent(flavour: Flavour) -> None:
    rest = Rest(flavour)
    for options, why in (
        ({"dialect": Dialect.CLASSIC}, "unified accounts only"),
        ({"countdown": 4}, "whole number of seconds from 5 to 60"),
        ({"disarm": 1}, "disarm must be True or False"),
        ({"observe": 1}, "observe must be a function"),
        ({"url": Dialect.CLASSIC.live_url}, "serves classic accounts"),
        ({"url": "ws://example.org"}, "plain ws://"),
        ({"wall_clock": 1}, "wall_clock must be callable"),
        ({"rest": 1}, "rest must be a function"),
    ):
        given = {"url": URL, "rest": rest.send} | options

        async def scenario(guard: MakeGuard, given: dict[str, Any] = given) -> None:
            async with guard(KEY, **given):
                pass

        with pytest.raises(ValidationError, match=why):
            run(flavour, scenario)
    assert rest.countdowns == []


@pytest.mark.usefixtures("quick")
def test_a_body_that_is_cancelled_leaves_nothing(flavour: Flavour) -> None:
    if flavour is Flavour.BLOCKING:
        pytest.skip("a thread cannot be cancelled")
    rest = Rest(flavour)

    async def scenario(guard: MakeGuard) -> None:
        with anyio.move_on_after(0.2):
            async with guard(KEY, url=URL, rest=rest.send):
                await anyio.sleep(10.0)
        rest.always = None
        with anyio.move_on_after(0.05):
            async with guard(KEY, url=URL, rest=rest.send):
                raise AssertionError("it is not armed")

    run(flavour, scenario)
    assert "0" not in rest.countdowns


# --- with the embedded exchange, at the exchange's own times ---


def exchange_of(*orders: CancelOrder) -> ScriptedExchange:
    return ScriptedExchange(orders, credentials=KEY, config=ExchangeConfig(dialect=Dialect.UNIFIED))


@pytest.mark.slow
def test_the_exchange_cancels_all_orders_when_renewals_stop(flavour: Flavour) -> None:
    order = CancelOrder(order_id="1")
    exchange = exchange_of(order)
    with exchange_in_thread(exchange) as server:

        async def scenario(guard: MakeGuard) -> None:
            async with guard(KEY, url=server.url, countdown=5, disarm=False):
                began = clock()
                await until(flavour, lambda: clock() > began + 6.0)
                assert server.call(lambda: exchange.live) == (order,)
            await until(flavour, lambda: not server.call(lambda: exchange.live))

        run(flavour, scenario)
        assert server.call(lambda: exchange.countdown_ends) is None


@pytest.mark.slow
def test_the_exchange_cancels_nothing_once_it_is_turned_off(flavour: Flavour) -> None:
    exchange = exchange_of(CancelOrder(order_id="1"))
    with exchange_in_thread(exchange) as server:

        async def scenario(guard: MakeGuard) -> None:
            async with guard(KEY, url=server.url):
                assert server.call(lambda: exchange.countdown_ends) is not None

        run(flavour, scenario)
        assert server.call(lambda: exchange.countdown_ends) is None
        assert server.call(lambda: exchange.live)
