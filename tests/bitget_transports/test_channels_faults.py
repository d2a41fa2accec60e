"""Faulty answers on every transport: late, repeated, with unknown ids, or missing."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    CodeClass,
    Config,
    Credentials,
    ExchangeError,
    GoingAway,
    LateReply,
    Outcome,
    Rejected,
    State,
    Unrecognised,
    Unresolved,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto.testing import Fault
from bitget_transports import ConnectFailed, Limits, LoginRefused
from bitget_transports._driver import driver as _driver
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.hostile_server import HostileServer, Victim

from .colours import FAST, KEY, AnyChannel, Connect, Flavour, fast_exchange, orders
from .endings import closed
from .tidy import upgraded

pytestmark = pytest.mark.parametrize("flavour", Flavour)

SOON = Limits(close_timeout=0.2)


async def take(channel: AnyChannel, kind: type[Any]) -> Any:
    """Return the next event of a kind."""
    async for event in channel.events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


# --- the connection is lost ---


def test_a_drop_before_the_login_answer_makes_connect_fail(
    flavour: Flavour,
) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        server.inject_login(Fault.DROP_AFTER)

        async def scenario(connect: Connect) -> None:
            with pytest.raises(ConnectFailed, match="before the login was answered") as failed:
                async with connect(KEY, url=server.url):
                    raise AssertionError("not reached")
            assert not isinstance(failed.value, LoginRefused)
            async with connect(KEY, url=server.url) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run(scenario)


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER])
def test_a_cancel_in_flight_at_a_drop_is_unresolved(flavour: Flavour, fault: Fault) -> None:
    with exchange_in_thread(fast_exchange(3)) as server:
        server.inject(fault)

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (True, WhyUnresolved.LOST)
                just_after = await channel.cancel(orders(2)[1])
                assert isinstance(just_after, Unresolved)
                assert (just_after.sent, just_after.why) == (False, WhyUnresolved.LOST)
                assert (await closed(channel))[0] is WhyClosed.LOST

        flavour.run(scenario)
        assert len(server.exchange.log) == (fault is Fault.DROP_AFTER)


def test_a_ping_without_a_pong_ends_the_connection(flavour: Flavour) -> None:
    def behave(victim: Victim) -> None:
        victim.upgrade()
        victim.read_until('"login"')
        victim.say('{"event":"login","code":0}')
        victim.hold()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> None:
            config = Config(ping_interval=0.05, pong_timeout=0.1)
            async with connect(KEY, url=server.url, config=config, limits=SOON) as channel:
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (True, WhyUnresolved.LOST)
                assert (await closed(channel))[0] is WhyClosed.NO_PONG

        flavour.run(scenario)


def test_pings_that_are_answered_keep_the_connection(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.3

        async def scenario(connect: Connect) -> None:
            config = Config(messages_per_second=None, ping_interval=0.02, pong_timeout=0.2)
            async with connect(KEY, url=server.url, config=config) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                assert channel.state is State.READY

        flavour.run(scenario)


def test_a_refused_login_is_raised_while_the_socket_stays_open(flavour: Flavour) -> None:
    def behave(victim: Victim) -> None:
        victim.upgrade()
        victim.read_until('"login"')
        victim.say('{"event":"error","code":30015,"msg":"Invalid sign"}')
        victim.hold()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> None:
            with pytest.raises(LoginRefused, match="secret") as refused:
                async with connect(KEY, url=server.url, limits=SOON):
                    raise AssertionError("not reached")
            assert refused.value.code == "30015"

        flavour.run(scenario)


def test_the_error_of_a_refused_login_shows_no_secret(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            with pytest.raises(LoginRefused) as refused:
                async with connect(
                    Credentials("key", "s3cr3t-wrong", "passphrase"), url=server.url
                ):
                    raise AssertionError("not reached")
            assert "s3cr3t" not in str(refused.value) + repr(refused.value)

        flavour.run(scenario)


BEYOND = b"Date: Mon, 01 Jan 2024 00:00:00 +9999999999999\r\n"
A_DATE = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"


@pytest.mark.parametrize(
    "dates", [BEYOND, A_DATE + A_DATE, A_DATE + b"Date: now\r\n"], ids=["beyond", "twice", "two"]
)
def test_an_invalid_or_repeated_date_header_is_ignored(flavour: Flavour, dates: bytes) -> None:
    def behave(victim: Victim) -> None:
        victim.write(upgraded(victim.read_head()).removesuffix(b"\r\n") + dates + b"\r\n")
        victim.read_until('"login"')
        victim.say('{"event":"login","code":0}')
        victim.serve()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run(scenario)


# --- late and repeated answers ---


@pytest.mark.parametrize("succeeds", [True, False], ids=["success", "refusal"])
def test_an_answer_after_the_timeout_is_a_late_reply(flavour: Flavour, succeeds: bool) -> None:
    with exchange_in_thread(fast_exchange(2 if succeeds else 0)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.1

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                outcome = await channel.cancel(orders(1)[0], id="late", timeout=0.03)
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (True, WhyUnresolved.TIMEOUT)
                late: LateReply = await take(channel, LateReply)
                assert (late.id, late.order) == ("late", orders(1)[0])
                assert late.code_class is (CodeClass.ACCEPTED if succeeds else CodeClass.NOT_FOUND)
                await channel.close()
                assert (await closed(channel))[1] == []

        flavour.run(scenario)


def test_a_duplicate_answer_is_one_outcome(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(2)) as server:
        server.inject(Fault.DUPLICATE)

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                assert isinstance(await take(channel, Unrecognised), Unrecognised)
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)
                assert channel.events.take() is None

        flavour.run(scenario)


# --- early answers ---


def test_an_answer_that_arrives_during_the_write_counts(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer arrives while the frame is being written, as from a peer in the same process."""
    drain = _driver.Driver.drain

    def eager(self: _driver.Driver, now: float) -> None:
        for number, link in list(self._links.items()):
            if not hasattr(link, "eager"):
                write: Any = link.write

                def answered(
                    text: str, ids: tuple[str, ...], number: int = number, write: Any = write
                ) -> None:
                    write(text, ids)
                    for id in ids:
                        self.received(
                            number,
                            f'{{"event":"trade","arg":[{{"id":"{id}"}}],"code":0,"msg":"Success"}}',
                        )

                with contextlib.suppress(AttributeError):
                    link.write = answered  # type: ignore[method-assign]
                    link.eager = True  # type: ignore[attr-defined]
        drain(self, now)

    monkeypatch.setattr(_driver.Driver, "drain", eager)
    with exchange_in_thread(fast_exchange(50)) as server:
        server.inject(*[Fault.SILENT] * 50)

        async def scenario(connect: Connect) -> Counter[str]:
            async with connect(
                KEY, url=server.url, config=Config(messages_per_second=None, answer_timeout=5.0)
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                return Counter(
                    [
                        type(outcome).__name__
                        async for outcome in channel.cancel_many(orders(50)[1:])
                    ]
                )

        assert flavour.run(scenario) == {"Accepted": 49}


# --- errors that name no request ---


@pytest.mark.parametrize("fault", [Fault.GOING_AWAY, Fault.THROTTLE, Fault.GARBAGE])
def test_a_notice_before_the_login_answer_is_not_the_answer(flavour: Flavour, fault: Fault) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        server.inject_login(fault)

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                kinds = {
                    Fault.GOING_AWAY: GoingAway,
                    Fault.THROTTLE: ExchangeError,
                    Fault.GARBAGE: Unrecognised,
                }
                assert isinstance(channel.events.take(), kinds[fault])
                assert channel.state is State.READY

        flavour.run(scenario)


@pytest.mark.parametrize("code", [30033, 30006, 30016])
def test_a_notice_settles_no_cancel_in_flight(flavour: Flavour, code: int) -> None:
    with exchange_in_thread(fast_exchange(5)) as server:
        server.inject(*[Fault.LATE] * 5)
        server.exchange.late_by = 0.08

        def some() -> Any:
            yield from orders(4)
            server.say(f'{{"event":"error","code":{code},"msg":"something"}}')

        async def scenario(connect: Connect) -> list[Outcome]:
            async with connect(KEY, url=server.url, config=FAST) as channel:
                outcomes = [outcome async for outcome in channel.cancel_many(some())]
                event = channel.events.take()
                assert isinstance(event, GoingAway if code == 30033 else ExchangeError)
                return outcomes

        assert [type(outcome) for outcome in flavour.run(scenario)] == [Accepted] * 4


@pytest.mark.parametrize(
    "fault", [Fault.NO_ARG, Fault.UNKNOWN_ID, Fault.WRONG_TYPES, Fault.GARBAGE]
)
def test_an_answer_without_a_known_id_settles_no_cancel(flavour: Flavour, fault: Fault) -> None:
    with exchange_in_thread(fast_exchange(2)) as server:
        server.inject(fault)

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                outcome = await channel.cancel(orders(1)[0], timeout=0.05)
                assert isinstance(outcome, Unresolved)
                assert (outcome.sent, outcome.why) == (True, WhyUnresolved.TIMEOUT)
                assert isinstance(
                    channel.events.take(), ExchangeError if fault is Fault.NO_ARG else Unrecognised
                )
                assert isinstance(await channel.cancel(orders(2)[1]), Accepted)

        flavour.run(scenario)


# --- ids ---


def test_the_ids_1_and_10_are_not_confused(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.05

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=Config(id_prefix="1")) as channel:
                some = [*orders(1), CancelOrder("BTCUSDT", order_id="unknown")]
                outcomes = {outcome.id: outcome async for outcome in channel.cancel_many(some)}
                assert {id: type(outcome) for id, outcome in outcomes.items()} == {
                    "11": Accepted,
                    "12": Rejected,
                }
            async with connect(KEY, url=server.url) as channel:
                first = await channel.cancel(some[1], id="1")
                tenth = await channel.cancel(CancelOrder("BTCUSDT", order_id="10"), id="10")
                assert (first.id, first.order, tenth.id) == ("1", some[1], "10")

        flavour.run(scenario)
