"""Sessions on every transport: lost connections are replaced, and outcomes stay true.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import attrs
import pytest

from bitget_proto import (
    Accepted,
    CodeClass,
    Config,
    Credentials,
    Down,
    Ended,
    GoingAway,
    LinkClosed,
    Policy,
    Rejected,
    SessionConfig,
    SessionState,
    Unresolved,
    Up,
    ValidationError,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange
from bitget_transports import ConnectFailed, Limits, LoginRefused
from bitget_transports.exchange import ExchangeThread, exchange_in_thread
from bitget_transports.faults.flaky_proxy import FlakyProxy, NetworkFault, Treatment, Way
from bitget_transports.faults.hostile_server import HostileServer, Victim

from .colours import KEY, AnySession, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy, upgraded

pytestmark = pytest.mark.parametrize("flavour", Flavour)

CONFIG = SessionConfig(
    link=Config(messages_per_second=None, drain_timeout=0.5), backoff_min=0.01, backoff_max=0.05, steady_after=None,
    resend_interval=None, dials_per_5_minutes=None,
)  # fmt: skip
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2, up_timeout=10.0)

GOING_AWAY = '{"event":"error","code":30033,"msg":"Service upgrade in progress."}'

E = TypeVar("E")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def exchange(count: int = 0, **options: Any) -> ScriptedExchange:
    return fast_exchange(count, same_order_interval=None, **options)


async def until(channel: AnySession, kind: type[E], passed: list[Any] | None = None) -> E:
    """Return the next event of this kind; append the events before it to `passed`."""
    async for event in channel.events:
        if isinstance(event, kind):
            return event
        if passed is not None:
            passed.append(event)
    raise AssertionError(f"the session ended without {kind.__name__}")


def rest(channel: AnySession) -> list[Any]:
    return list(iter(channel.events.take, None))


async def stall(channel: AnySession, proxy: FlakyProxy) -> None:
    """Stop the way to the exchange, and write more than all buffers hold."""
    proxy.apply(NetworkFault.STALL, Way.OUT)
    await channel.send("x" * 20_000_000)
    # Let the write of the frame begin: nothing can overtake it.
    await channel.cancel(orders(9)[8], timeout=0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class RestartableExchange:
    """An exchange that can stop and start again on the same port."""

    def __init__(self, exchange: ScriptedExchange) -> None:
        self.exchange = exchange
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/v2/ws/private"
        self._stack = ExitStack()

    def start(self) -> ExchangeThread:
        return self._stack.enter_context(exchange_in_thread(self.exchange, port=self.port))

    def stop(self) -> None:
        self._stack.close()

    def start_in(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self.start)
        timer.start()
        self._stack.callback(timer.join)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


# --- lost connections ---


def test_a_dropped_connection_is_replaced(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(2, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                assert channel.state is SessionState.UP
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                server.drop()
                passed: list[Any] = []
                down = await until(channel, Down, passed)
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)
            return [*passed, down, *rest(channel)]

        events = flavour.run_session(tidy(scenario))
    assert [type(event) for event in events] == [Up, LinkClosed, Down, Up, LinkClosed, Ended]
    first, closed, down, second, *_ = events
    assert (first.link, closed.link, down.link, second.link) == (1, 1, 1, 2)
    assert (closed.why, down.why) == (WhyClosed.LOST, WhyClosed.LOST)
    assert first.down_for > 0.0
    assert down.up_for > 0.0
    assert 0.005 <= second.down_for < 10.0  # the backoff; jitter takes at most half of it


def test_drop_after_drop_leaves_nothing_in_memory(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "bitget_transports")  # pytest keeps what is logged
    with exchange_in_thread(exchange()) as server:

        async def drops(channel: AnySession, count: int) -> Counter[str]:
            for _ in range(count):
                server.drop()
                await until(channel, Up)
                await channel.cancel(orders(1)[0])
            server.exchange.log.clear()
            gc.collect()
            return Counter(type(thing).__name__ for thing in gc.get_objects())

        async def scenario(open_session: OpenSession) -> Counter[str]:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                await until(channel, Up)
                await drops(channel, 1)  # the first Counter fills the caches of isinstance
                before = await drops(channel, 10)
                return await drops(channel, 30) - before

        more = flavour.run_session(tidy(scenario))
    # trio keeps up to a thousand cancelled deadlines until its next cleanup.
    kept = {"CancelScope", "tuple"} if flavour is Flavour.ANYIO_TRIO else set[str]()
    assert {name: count for name, count in more.items() if count >= 20 and name not in kept} == {}


def test_report_sends_only_unsent_cancels_on_the_next_link(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(3)) as server:
        server.inject(Fault.SILENT, Fault.DROP_AFTER)

        async def scenario(open_session: OpenSession) -> list[Any]:
            # The login and two cancels are sent; the third waits.
            config = attrs.evolve(CONFIG, link=Config(messages_per_second=3, id_prefix=""))
            async with open_session(KEY, url=server.url, config=config, limits=LIMITS) as channel:
                return [outcome async for outcome in channel.cancel_many(orders(3))]

        outcomes = {outcome.id: outcome for outcome in flavour.run_session(tidy(scenario))}
    for id in ("1", "2"):
        assert isinstance(outcomes[id], Unresolved)
        assert (outcomes[id].sent, outcomes[id].why, outcomes[id].attempts) == (
            True,
            WhyUnresolved.LOST,
            1,
        )
    assert isinstance(outcomes["3"], Accepted)
    assert outcomes["3"].attempts == 1
    assert [act.id for act in server.exchange.log] == ["1", "2", "3"]


def test_resend_is_unsure_when_the_first_attempt_may_have_worked(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(3, refusals={"3": "40762"})) as server:

        async def scenario(open_session: OpenSession) -> tuple[Any, Any, Any]:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                server.inject(Fault.DROP_BEFORE)
                never_arrived = await channel.cancel(orders(3)[0], policy=Policy.RESEND)
                server.inject(Fault.DROP_AFTER)
                acted_on = [
                    outcome
                    async for outcome in channel.cancel_many(orders(3)[1:2], policy=Policy.RESEND)
                ]
                server.inject(Fault.DROP_BEFORE)
                return (
                    never_arrived,
                    acted_on[0],
                    await channel.cancel(orders(3)[2], policy=Policy.RESEND),
                )

        never_arrived, acted_on, refused = flavour.run_session(tidy(scenario))
    assert isinstance(never_arrived, Accepted)
    # As far as the client knows, the first attempt may have worked.
    for outcome, code in ((acted_on, "43001"), (refused, "40762")):
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why, outcome.code) == (True, WhyUnresolved.UNSURE, code)
    assert [outcome.attempts for outcome in (never_arrived, acted_on, refused)] == [2, 2, 2]
    assert [act.order.order_id for act in server.exchange.log] == ["1", "2", "2", "3"]


# --- replacing a link ---


def test_nothing_is_refused_or_lost_when_the_exchange_goes_away(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(300, late_by=0.05, grace=20.0)) as server:
        server.inject(
            *[None] * 50, Fault.LATE, Fault.GOING_AWAY, *[None] * 100, Fault.LATE, Fault.GOING_AWAY
        )

        async def scenario(open_session: OpenSession) -> tuple[list[Any], list[Any]]:
            config = attrs.evolve(CONFIG, link=attrs.evolve(CONFIG.link, max_in_flight=5))
            async with open_session(KEY, url=server.url, config=config, limits=LIMITS) as channel:
                outcomes: list[Any] = []
                async for outcome in channel.cancel_many(orders(300)):
                    outcomes.append(outcome)
                    time.sleep(0.001)  # else all cancels are done before the next link is up
                await until(channel, LinkClosed, passed := list[Any]())
                return outcomes, passed

        outcomes, events = flavour.run_session(tidy(scenario))
    assert [(type(outcome), outcome.attempts) for outcome in outcomes] == [(Accepted, 1)] * 300
    # The next link is up before the previous one is closed.
    assert [type(event) for event in events[:3]] == [Up, GoingAway, Up]
    assert events[2].down_for == 0.0
    assert not any(isinstance(event, Down) for event in events)


def test_a_link_is_rotated_before_its_lifetime_ends(flavour: Flavour) -> None:
    strict = ExchangeConfig(messages_per_second=None, lifetime=2.0)
    with exchange_in_thread(ScriptedExchange(config=strict, cancels_per_second=None)) as server:

        async def scenario(open_session: OpenSession) -> list[Any]:
            config = attrs.evolve(CONFIG, lifetime=2.0, rotate_before=1.8)
            async with open_session(KEY, url=server.url, config=config, limits=LIMITS) as channel:
                events: list[Any] = []
                while sum(isinstance(event, Up) for event in events) < 3:
                    assert isinstance(await channel.cancel(orders(1)[0]), Rejected)
                    events += rest(channel)
                return events

        began = time.monotonic()
        events = flavour.run_session(tidy(scenario))
        assert time.monotonic() - began >= 0.4  # two times 0.2 s, not repeated dials
    assert {event.why for event in events if isinstance(event, LinkClosed)} == {WhyClosed.ASKED}
    assert not any(isinstance(event, Down) for event in events)


def test_a_stalled_link_does_not_delay_its_successor(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(1)) as server, FlakyProxy(server.url) as proxy:

        async def scenario(open_session: OpenSession) -> list[Any]:
            limits = attrs.evolve(LIMITS, write_timeout=20.0)
            async with open_session(KEY, url=proxy.url, config=CONFIG, limits=limits) as channel:
                await stall(channel, proxy)
                server.say(GOING_AWAY)
                outcome = await channel.cancel(orders(1)[0], timeout=8.0)
                assert isinstance(outcome, Accepted)
                assert outcome.attempts == 1
                assert (await until(channel, LinkClosed)).link == 1
                return [outcome]

        began = time.monotonic()
        flavour.run_session(tidy(scenario))
        assert time.monotonic() - began < 8.0


def test_unsent_cancels_of_a_stalled_link_go_to_the_next(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(1)) as server, FlakyProxy(server.url) as proxy:

        async def scenario(open_session: OpenSession) -> None:
            limits = attrs.evolve(LIMITS, write_timeout=0.5)
            async with open_session(KEY, url=proxy.url, config=CONFIG, limits=limits) as channel:
                await stall(channel, proxy)
                outcome = await channel.cancel(orders(1)[0], timeout=8.0)
                assert isinstance(outcome, Accepted)
                assert outcome.attempts == 1
                assert "read nothing for 0.5 s" in (await until(channel, Down)).detail

        flavour.run_session(tidy(scenario))


# --- logins ---


def test_a_refused_login_ends_the_session_without_another_dial(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(credentials=KEY)) as server, FlakyProxy(server.url) as proxy:

        async def scenario(open_session: OpenSession) -> None:
            with pytest.raises(LoginRefused, match="30011") as refused:
                async with open_session(
                    Credentials("other", "secret", "passphrase"),
                    url=proxy.url,
                    config=CONFIG,
                    limits=LIMITS,
                ):
                    raise AssertionError("not reached")
            assert refused.value.code_class is CodeClass.LOGIN

        flavour.run_session(tidy(scenario))
        assert proxy.connections == 1


def test_a_wrong_clock_is_corrected_by_the_exchange_date(flavour: Flavour) -> None:
    with (
        exchange_in_thread(exchange(2, credentials=KEY)) as server,
        FlakyProxy(server.url) as proxy,
    ):

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY,
                url=proxy.url,
                config=CONFIG,
                limits=LIMITS,
                wall_clock=lambda: time.time() - 100.0,
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                assert proxy.connections == 2
                server.drop()
                await until(channel, Down)
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)
                assert proxy.connections == 3  # the clock correction was kept

        flavour.run_session(tidy(scenario))


@pytest.mark.parametrize(("ahead", "words"), [(-100.0, "behind"), (100.0, "ahead of")])
def test_without_a_session_the_clock_error_is_reported(
    flavour: Flavour, ahead: float, words: str
) -> None:
    with exchange_in_thread(exchange(credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            with pytest.raises(
                LoginRefused,
                match=rf"set this machine's clock, which is (99|10[01]) s {words} the exchange's$",
            ):
                async with connect(
                    KEY, url=server.url, limits=LIMITS, wall_clock=lambda: time.time() + ahead
                ):
                    raise AssertionError("not reached")

        flavour.run(tidy(scenario))


@pytest.mark.parametrize(
    "date", ["Fri, 01 Jan 1960 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday", ""]
)
def test_an_invalid_date_corrects_nothing(flavour: Flavour, date: str) -> None:
    def behave(victim: Victim) -> None:
        victim.write(
            upgraded(victim.read_head()).removesuffix(b"\r\n") + f"Date: {date}\r\n\r\n".encode()
        )
        victim.read_until('"login"')
        victim.say('{"event":"error","code":30014,"msg":"Timestamp expired"}')
        victim.hold()

    with HostileServer(behave) as server:

        async def scenario(open_session: OpenSession) -> None:
            with pytest.raises(LoginRefused, match="30014"):
                async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS):
                    raise AssertionError("not reached")

        flavour.run_session(tidy(scenario))


# --- no exchange ---


def test_a_session_that_never_connects_fails_in_time(flavour: Flavour) -> None:
    async def scenario(open_session: OpenSession) -> None:
        url = f"ws://127.0.0.1:{free_port()}/"
        with pytest.raises(
            ConnectFailed,
            match=r"no login was accepted within 0\.3 s; the last try: .*nothing listens",
        ):
            async with open_session(
                KEY, url=url, config=CONFIG, limits=attrs.evolve(LIMITS, up_timeout=0.3)
            ):
                raise AssertionError("not reached")

    began = time.monotonic()
    flavour.run_session(tidy(scenario))
    assert 0.3 <= time.monotonic() - began < 5.0


def test_fail_fast_raises_the_error_of_the_first_dial(flavour: Flavour) -> None:
    limits = attrs.evolve(LIMITS, first_dials=1)

    async def refused(open_session: OpenSession) -> None:
        with pytest.raises(ConnectFailed, match=r"refused the connection: nothing listens there"):
            async with open_session(
                KEY, url=f"ws://127.0.0.1:{free_port()}/", config=CONFIG, limits=limits
            ):
                raise AssertionError("not reached")

    flavour.run_session(tidy(refused))

    silent = exchange(1)
    silent.inject_login(Fault.SILENT)
    dropping = exchange(2)
    dropping.inject_login(Fault.GOING_AWAY)
    with exchange_in_thread(silent) as one, exchange_in_thread(dropping) as other:

        async def unanswered(open_session: OpenSession) -> None:
            config = attrs.evolve(CONFIG, link=attrs.evolve(CONFIG.link, login_timeout=0.2))
            with pytest.raises(ConnectFailed, match=r"gave no answer to the login within 0\.2 s"):
                async with open_session(KEY, url=one.url, config=config, limits=limits):
                    raise AssertionError("not reached")
            # Once up, the session redials without a limit.
            async with open_session(KEY, url=other.url, config=CONFIG, limits=limits) as channel:
                other.drop()
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted | Unresolved)
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)

        flavour.run_session(tidy(unanswered))


def test_an_unanswered_dial_times_out_and_the_next_succeeds(flavour: Flavour) -> None:
    silence = Treatment(fault=NetworkFault.STALL, way=Way.OUT)
    with exchange_in_thread(exchange(1)) as server, FlakyProxy(server.url, [silence] * 2) as proxy:

        async def scenario(open_session: OpenSession) -> None:
            config = attrs.evolve(CONFIG, dial_timeout=0.2)
            limits = attrs.evolve(LIMITS, open_timeout=None)
            async with open_session(KEY, url=proxy.url, config=config, limits=limits) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                events = rest(channel)
            assert [type(event) for event in events] == [LinkClosed, LinkClosed, Up]
            assert events[0].detail == "no answer to the dial within 0.2 s"

        flavour.run_session(tidy(scenario))
        assert proxy.connections == 3


def test_cancels_wait_while_the_exchange_restarts(flavour: Flavour) -> None:
    with RestartableExchange(exchange(20)) as restartable:

        async def scenario(open_session: OpenSession) -> list[Any]:
            async with open_session(
                KEY, url=restartable.url, config=CONFIG, limits=LIMITS
            ) as channel:
                restartable.stop()
                await until(channel, Down)
                restartable.start_in(0.3)
                outcomes = [
                    outcome async for outcome in channel.cancel_many(orders(20), timeout=10.0)
                ]
                assert (await until(channel, Up)).down_for >= 0.25
                return outcomes

        outcomes = flavour.run_session(tidy(scenario))
    assert [(type(outcome), outcome.attempts) for outcome in outcomes] == [(Accepted, 1)] * 20


def test_a_cancel_expires_unsent_while_the_session_is_down(flavour: Flavour) -> None:
    with RestartableExchange(exchange(2)) as restartable:

        async def scenario(open_session: OpenSession) -> list[Any]:
            async with open_session(
                KEY, url=restartable.url, config=CONFIG, limits=LIMITS
            ) as channel:
                restartable.stop()
                await until(channel, Down)
                outcomes = [await channel.cancel(order, timeout=0.2) for order in orders(2)]
                assert channel.in_flight == 0
                return outcomes

        for outcome in flavour.run_session(tidy(scenario)):
            assert isinstance(outcome, Unresolved)
            assert (outcome.sent, outcome.why, outcome.sent_at) == (
                False,
                WhyUnresolved.TIMEOUT,
                None,
            )
            assert (
                outcome.taken_at + 0.2 <= outcome.resolved_at < outcome.taken_at + 3.0
            )  # exact: no rounding error
    assert restartable.exchange.log == []


# --- the end ---


@pytest.mark.parametrize("backoff", [None, 0.01, 30.0])
def test_a_session_can_be_closed_while_it_is_down(flavour: Flavour, backoff: float | None) -> None:
    """Without a backoff, the next dial was just requested and has not begun."""
    with exchange_in_thread(exchange(1)) as server:

        async def scenario(open_session: OpenSession) -> None:
            config = attrs.evolve(CONFIG, backoff_min=backoff, backoff_max=30.0)
            async with open_session(KEY, url=server.url, config=config, limits=LIMITS) as channel:
                server.drop()
                await until(channel, Down)
                await channel.close()
                assert channel.state is SessionState.ENDED
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (False, WhyUnresolved.CLOSED)
            assert isinstance(rest(channel)[-1], Ended)

        began = time.monotonic()
        flavour.run_session(tidy(scenario))
        assert time.monotonic() - began < 5.0
    assert server.exchange.log == []


@pytest.mark.parametrize(
    "moment", ["up", "down", "the next link is dialled", "the next link logs in", "all at once"]
)
def test_an_error_in_the_body_ends_the_session_in_any_state(flavour: Flavour, moment: str) -> None:
    silence = Treatment(fault=NetworkFault.STALL, way=Way.OUT)
    plan = [Treatment(), silence] if moment == "the next link is dialled" else []
    with exchange_in_thread(exchange(2)) as server, FlakyProxy(server.url, plan) as proxy:
        server.inject_login(None, Fault.SILENT)

        async def reach(channel: AnySession) -> None:
            if moment in ("down", "all at once"):
                server.drop()
                await until(channel, Down)
            elif moment != "up":
                server.say(GOING_AWAY)
                end = time.monotonic() + 5.0
                while proxy.connections < 2 and time.monotonic() < end:
                    await channel.cancel(orders(1)[0])

        async def fail(open_session: OpenSession) -> None:
            backoff = 30.0 if moment == "down" else None if moment == "all at once" else 0.01
            config = attrs.evolve(CONFIG, backoff_min=backoff, backoff_max=30.0)
            async with open_session(KEY, url=proxy.url, config=config, limits=LIMITS) as channel:
                await reach(channel)
                raise ZeroDivisionError

        async def scenario(open_session: OpenSession) -> None:
            with pytest.raises(ZeroDivisionError):
                await fail(open_session)

        began = time.monotonic()
        flavour.run_session(tidy(scenario))
        assert time.monotonic() - began < 5.0


def test_an_invalid_policy_is_refused_and_changes_nothing(flavour: Flavour) -> None:
    with exchange_in_thread(exchange(1)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                wrong: Any = "resend"
                with pytest.raises(
                    ValidationError, match=r"Policy\.REPORT or Policy\.RESEND; got 'resend'"
                ):
                    await channel.cancel(orders(1)[0], policy=wrong)
                with pytest.raises(
                    ValidationError, match=r"Policy\.REPORT or Policy\.RESEND; got 'resend'"
                ):
                    _ = [outcome async for outcome in channel.cancel_many(orders(1), policy=wrong)]
                assert (channel.in_flight, channel.capacity) == (0, 1000)
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run_session(tidy(scenario))
    assert len(server.exchange.log) == 1
