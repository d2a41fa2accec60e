"""The driver contract on every transport, checked from inside and with real peers.

Each channel here drives a `StrictConnection`. An event loop would only log what it raises, so the
errors are collected and checked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Codec,
    Config,
    Credentials,
    Outcome,
    Output,
    Unrecognised,
    Unresolved,
    WhyClosed,
    WhyUnresolved,
)
from bitget_proto.testing import Fault, StrictConnection
from bitget_proto.testing.framing import frame_head
from bitget_transports import ConnectFailed, Limits
from bitget_transports._driver import exception_origin as _origin
from bitget_transports.anyio import _client as anyio_client
from bitget_transports.asyncio import _client as asyncio_client
from bitget_transports.blocking import _client as blocking_client
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

from .colours import BOUND, KEY, Connect, Flavour, T, fast_exchange, orders
from .endings import closed
from .tidy import TEXT, frame, upgraded

pytestmark = pytest.mark.parametrize("flavour", Flavour)

_CLIENTS = (anyio_client, asyncio_client, blocking_client)


class Watched(StrictConnection):
    """A strict connection that keeps its complaints."""

    complaints: list[AssertionError]

    def __init__(self, config: Config | None, codec: Codec | None, budget: Budget | None) -> None:
        super().__init__(config, codec, budget)
        self.complaints = []

    def opened(self, *arguments: Any, **options: Any) -> None:
        self._watch(partial(super().opened, *arguments, **options))

    def receive(self, *arguments: Any, **options: Any) -> None:
        self._watch(partial(super().receive, *arguments, **options))

    def lost(self, *arguments: Any, **options: Any) -> None:
        self._watch(partial(super().lost, *arguments, **options))

    def handle_timeout(self, *arguments: Any, **options: Any) -> None:
        self._watch(partial(super().handle_timeout, *arguments, **options))

    def cancel(self, *arguments: Any, **options: Any) -> str:
        return self._watch(partial(super().cancel, *arguments, **options))

    def withdraw(self, *arguments: Any, **options: Any) -> bool:
        return self._watch(partial(super().withdraw, *arguments, **options))

    def send(self, *arguments: Any, **options: Any) -> None:
        self._watch(partial(super().send, *arguments, **options))

    def close(self, *arguments: Any, **options: Any) -> None:
        self._watch(partial(super().close, *arguments, **options))

    def poll(self, *arguments: Any, **options: Any) -> Output:
        return self._watch(partial(super().poll, *arguments, **options))

    def _watch(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except AssertionError as complaint:
            self.complaints.append(complaint)
            raise


@pytest.fixture(autouse=True)
def strict_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[Watched] = []

    def make(
        config: Config | None = None, codec: Codec | None = None, budget: Budget | None = None
    ) -> Watched:
        made.append(Watched(config, codec, budget))
        return made[-1]

    for module in _CLIENTS:
        monkeypatch.setattr(module, "Connection", make)
    # Count what a watched connection raises as the library's, although it passes this file.
    monkeypatch.setattr(_origin, "_KNOWN", _origin._KNOWN | {__name__.partition(".")[0]})
    yield
    assert made
    assert [complaint for connection in made for complaint in connection.complaints] == []


# --- rules that are checked from inside ---


def test_a_run_with_many_faults_keeps_the_contract(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(60)) as server:
        server.inject(
            None,
            Fault.LATE,
            Fault.SILENT,
            Fault.DUPLICATE,
            Fault.UNSURE,
            Fault.GARBAGE,
            Fault.GOING_AWAY,
        )
        server.exchange.late_by = 0.2

        async def scenario(connect: Connect) -> None:
            config = Config(
                messages_per_second=None, ping_interval=0.05, pong_timeout=5.0, max_in_flight=20
            )
            async with connect(KEY, url=server.url, config=config) as channel:
                outcomes = [
                    outcome async for outcome in channel.cancel_many(orders(60), timeout=0.1)
                ]
                assert sorted(int(outcome.order.order_id or 0) for outcome in outcomes) == [
                    *range(1, 61)
                ]
                await channel.send('{"op":"subscribe","args":[]}')
                await channel.cancel(orders(1)[0], id="mine", timeout=0.5)
                await channel.close()
                assert (await closed(channel))[0] is WhyClosed.ASKED

        flavour.run(scenario)


@pytest.mark.parametrize("burst", [220, 10_000])
def test_timers_fire_while_messages_flood_in(flavour: Flavour, burst: int) -> None:
    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        push = frame(TEXT, b'{"event":"push"}') * burst
        for _ in range(11_000 // burst + 1):  # 0.2 MB without a pong
            victim.write(push)
            time.sleep(0.005)
        victim.hold()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> tuple[WhyClosed, Outcome]:
            config = Config(messages_per_second=None, ping_interval=0.03, pong_timeout=0.06)
            async with connect(
                KEY, url=server.url, config=config, limits=Limits(close_timeout=0.2)
            ) as channel:
                outcome = await channel.cancel(orders(1)[0])
                return (await closed(channel))[0], outcome

        why, outcome = flavour.run(scenario)
        assert why is WhyClosed.NO_PONG
        assert isinstance(outcome, Unresolved)
        assert outcome.why is WhyUnresolved.LOST


@pytest.mark.parametrize("end", ["drop", "hang up", "kicked", "exit", "exit by an error", "closed"])
def test_every_end_is_reported_once_and_leaves_no_cancel_open(flavour: Flavour, end: str) -> None:
    with exchange_in_thread(fast_exchange(30)) as server:
        server.inject(*[Fault.SILENT] * 5)

        async def scenario(connect: Connect) -> None:
            config = Config(drain_timeout=0.1)
            async with connect(
                KEY, url=server.url, config=config, limits=Limits(close_timeout=0.2)
            ) as channel:
                outcome = await channel.cancel(orders(1)[0], timeout=0.01)
                assert isinstance(outcome, Unresolved)
                match end:
                    case "drop":
                        server.drop()
                    case "hang up":
                        server.hang_up(1001, "bye")
                    case "kicked":
                        server.say('{"event":"error","code":30007,"msg":"thrown out"}')
                    case "closed":
                        await channel.close()
                    case "exit by an error":
                        raise ZeroDivisionError
                    case _:
                        return
                outcomes = [outcome async for outcome in channel.cancel_many(orders(30)[1:])]
                assert len(outcomes) == 29
                await closed(channel)

        try:
            flavour.run(scenario)
        except ZeroDivisionError:
            assert end == "exit by an error"


def test_a_refused_login_keeps_the_contract(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            with pytest.raises(ConnectFailed):
                async with connect(Credentials("other", "secret", "passphrase"), url=server.url):
                    raise AssertionError("not reached")

        flavour.run(scenario)
        assert server.connections == 0


def test_a_message_that_arrives_with_the_handshake_is_received(flavour: Flavour) -> None:
    def behave(victim: Victim) -> None:
        victim.write(upgraded(victim.read_head()) + frame(TEXT, b"early"))
        victim.read_until('"login"')
        victim.say('{"event":"login","code":0}')
        victim.serve()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> Any:
            async with connect(KEY, url=server.url) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                return channel.events.take()

        event = flavour.run(scenario)
        assert isinstance(event, Unrecognised)
        assert event.text == "early"


def test_nothing_is_written_after_a_close_frame_is_received(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message before the close frame makes the client drain while the pace allows a send.

    Even so, nothing may be sent.
    """
    monkeypatch.setattr("bitget_proto._machine.frame_queue.WINDOW", 0.5)
    received: list[str] = []
    written = threading.Event()

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        received.append(victim.read_until('"trade"'))
        time.sleep(0.6)  # the pace allows a send again, but the client has not woken up yet
        victim.write(frame_head(1, 4) + b"push" + frame_head(8, 2) + b"\x03\xe9")
        written.set()
        with suppress(Exception):
            received.append(victim.read_until('"trade"'))
            received.append(victim.read_until('"trade"'))

    def sleepy() -> Iterator[CancelOrder]:
        yield from orders(3)
        # Over anyio the first frame is not sent yet: another task writes it.
        written.wait(0.7 if flavour in (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO) else BOUND)

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            config = Config(messages_per_second=2, pace_margin=None)
            async with connect(
                KEY, url=server.url, config=config, limits=Limits(close_timeout=0.2)
            ) as channel:
                return [outcome async for outcome in channel.cancel_many(sleepy())]

        outcomes = flavour.run(scenario)
    assert len(outcomes) == 3
    sent = [outcome.id for outcome in outcomes if isinstance(outcome, Unresolved) and outcome.sent]
    assert all(any(f'"id":"{id}"' in frame for id in sent) for frame in received)
    if flavour not in (
        Flavour.ANYIO_ASYNCIO,
        Flavour.ANYIO_TRIO,
    ):  # httpx-ws delivers the message before it writes
        assert len(sent) == 1
