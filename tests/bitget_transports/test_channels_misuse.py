"""Misuse raises on every transport, before anything is dialled or changed."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import bitget_transports.blocking
from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Config,
    Connection,
    LocalProtocolError,
    Outcome,
    State,
    Unresolved,
    ValidationError,
)
from bitget_proto.testing import Fault
from bitget_transports import ConnectFailed, Limits
from bitget_transports.blocking._socket_link import SocketLink
from bitget_transports.exchange import exchange_in_thread

from .colours import ASYNCIO, KEY, Connect, Flavour, fast_exchange, orders

pytestmark = pytest.mark.parametrize("flavour", Flavour)


@pytest.fixture
def unused_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(BlockingIOError):
            listener.accept()


WRONG: dict[str, Any] = {
    "credentials": ("key", "secret", "passphrase"),
    "url": 5,
    "url without a host": "ws://",
    "config": {"max_in_flight": 5},
    "codec": "json",
    "budget": 10,
    "tls": True,
    "limits": {"max_events": 5},
    "wall_clock": 1_763_958_366.0,
    "wall_clock that returns nan": lambda: math.nan,
    "sock": "127.0.0.1:80",
    "framing": "aiohttp",
    "client": "httpx",
    "selector": "select",
}

ONLY_OF = {
    "sock": (*ASYNCIO, Flavour.BLOCKING),
    "framing": ASYNCIO,
    "client": (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO),
    "selector": (Flavour.BLOCKING,),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_connect_arguments_are_refused_before_dialling(
    flavour: Flavour, name: str, unused_url: str
) -> None:
    if flavour not in ONLY_OF.get(name, Flavour):
        return

    async def scenario(connect: Connect) -> None:
        parameter = name.partition(" ")[0]
        options: dict[str, Any] = {"credentials": KEY, "url": unused_url, parameter: WRONG[name]}
        with pytest.raises(ValidationError, match=parameter):
            async with connect(options.pop("credentials"), **options):
                raise AssertionError("not reached")

    flavour.run(scenario)


@pytest.mark.parametrize("url", ["ws://a..b/", "ws://" + "a" * 64 + ".example/", "ws://xn--/"])
def test_an_impossible_host_makes_connect_fail(flavour: Flavour, url: str) -> None:
    async def scenario(connect: Connect) -> None:
        with pytest.raises((ConnectFailed, ValidationError)):
            async with connect(KEY, url=url, allow_plaintext=True, limits=Limits(open_timeout=3.0)):
                raise AssertionError("not reached")

    flavour.run(scenario)


CANCELS: dict[str, dict[str, Any]] = {
    "order": {"order": "1"},
    "no order": {"order": None},
    "id of another type": {"id": 5},
    "id that has no hash": {"id": ["1"]},
    "id with a slash": {"id": "a/b"},
    "id too long": {"id": "1" * 41},
    "no id": {"id": ""},
    "timeout of another type": {"timeout": "1"},
    "timeout 0": {"timeout": 0},
    "timeout below 0": {"timeout": -1.0},
    "timeout nan": {"timeout": math.nan},
}


@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
def test_invalid_cancels_are_refused_alike_before_and_after_the_end(
    flavour: Flavour, ended: bool
) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> dict[str, str]:
            said: dict[str, str] = {}
            async with connect(KEY, url=server.url) as channel:
                if ended:
                    await channel.close()
                for name, wrong in CANCELS.items():
                    some: dict[str, Any] = {"order": orders(1)[0], **wrong}
                    with pytest.raises(ValidationError) as refused:
                        await channel.cancel(**some)
                    said[name] = str(refused.value)
                    assert (channel.in_flight, channel.capacity) == (0, 0 if ended else 1000)
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved if ended else Accepted)
                assert outcome.order == orders(1)[0]
            return said

        said = flavour.run(scenario)
    for name, wrong in CANCELS.items():
        arguments: dict[str, Any] = {"order": orders(1)[0], "now": 0.0, **wrong}
        with pytest.raises(ValidationError) as refused:
            Connection().cancel(**arguments)
        assert said[name] == str(refused.value)


def test_a_closed_channel_refuses_frames_and_ends_its_events(
    flavour: Flavour,
) -> None:
    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                with pytest.raises(ValidationError):
                    await channel.send("")
                await channel.close()
                await channel.close()
                with pytest.raises(LocalProtocolError):
                    await channel.send("x")
                assert channel.state is State.CLOSED
                assert [type(event).__name__ async for event in channel.events] == ["Closed"]
                assert [event async for event in channel.events] == []
                assert channel.events.take() is None
            assert [event async for event in channel.events] == []
            with pytest.raises(LocalProtocolError):
                await channel.send("x")

        flavour.run(scenario)


@pytest.mark.parametrize("seconds", [math.nan, -1, -math.inf, math.inf, "1", None, [1.0], 1j])
def test_pump_takes_a_finite_number_of_seconds(flavour: Flavour, seconds: Any) -> None:
    if flavour is not Flavour.BLOCKING:
        return
    with (
        exchange_in_thread(fast_exchange()) as server,
        bitget_transports.blocking.connect(KEY, url=server.url) as channel,
    ):
        with pytest.raises(ValidationError, match="seconds"):
            channel.pump(seconds)
        channel.pump(0)
        channel.pump(0.001)


def test_a_second_thread_in_a_blocking_channel_is_refused(
    flavour: Flavour,
) -> None:
    if flavour is not Flavour.BLOCKING:
        return
    with (
        exchange_in_thread(fast_exchange(1)) as server,
        bitget_transports.blocking.connect(KEY, url=server.url) as channel,
    ):
        first = threading.Thread(target=channel.pump, args=(0.3,))
        first.start()
        while not channel._driver.unusable:
            time.sleep(0.001)
        for call in (
            lambda: channel.cancel(orders(1)[0]),
            lambda: next(channel.cancel_many(orders(1))),
            lambda: channel.send("x"),
            lambda: channel.pump(0),
            lambda: next(channel.events),
            channel.events.take,
            channel.close,
        ):
            with pytest.raises(LocalProtocolError, match="in use"):
                call()
        first.join()
        assert isinstance(channel.cancel(orders(1)[0]), Accepted)
    assert len(server.exchange.log) == 1


def test_leaving_a_channel_while_another_thread_waits_ends_both(
    flavour: Flavour,
) -> None:
    if flavour is not Flavour.BLOCKING:
        return
    outcomes: list[Outcome] = []
    exchange = fast_exchange(1)
    exchange.inject(Fault.SILENT)
    with exchange_in_thread(exchange) as server:
        config = Config(answer_timeout=None, queue_timeout=None)
        stack = ExitStack()
        channel = stack.enter_context(
            bitget_transports.blocking.connect(KEY, url=server.url, config=config)
        )
        other = threading.Thread(
            target=lambda: outcomes.append(channel.cancel(orders(1)[0])), daemon=True
        )
        other.start()
        while not channel._driver.unusable or not server.exchange.log:
            time.sleep(0.001)
        with pytest.raises(LocalProtocolError, match="in use"):
            stack.close()
        other.join(5.0)
        (outcome,) = outcomes
        assert isinstance(outcome, Unresolved)
        assert outcome.sent
        assert [type(event) for event in channel.events] == [Closed]


def test_reentrant_use_of_a_blocking_channel_is_refused(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flavour is not Flavour.BLOCKING:
        return
    wrote, refused = SocketLink.write, 0
    with (
        exchange_in_thread(fast_exchange(2)) as server,
        bitget_transports.blocking.connect(KEY, url=server.url) as channel,
    ):

        def write(self: SocketLink, text: str, ids: tuple[str, ...]) -> None:
            nonlocal refused
            wrote(self, text, ids)
            for call in (
                lambda: channel.cancel(orders(2)[1]),
                lambda: channel.send("x"),
                lambda: channel.pump(0),
            ):
                with pytest.raises(LocalProtocolError, match="in use"):
                    call()
                refused += 1

        monkeypatch.setattr(SocketLink, "write", write)
        assert isinstance(channel.cancel(orders(1)[0]), Accepted)
        channel.send("ping")
        monkeypatch.undo()
        assert refused == 6
    assert len(server.exchange.log) == 1


@pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])
def test_a_trace_may_not_use_its_blocking_channel_but_orders_may(
    flavour: Flavour, *, session: bool
) -> None:
    if flavour is not Flavour.BLOCKING:
        return
    channels: list[bitget_transports.blocking.Channel] = []
    refused: list[LocalProtocolError] = []

    def trace(line: str) -> None:
        for channel in channels:
            with pytest.raises(LocalProtocolError, match="in use") as refusal:
                channel.cancel(orders(3)[2])
            refused.append(refusal.value)

    def taken() -> Iterator[CancelOrder]:
        for order in orders(2):
            for channel in channels:
                channel.send("ping")
            yield order

    opening = (
        bitget_transports.blocking.open_session if session else bitget_transports.blocking.connect
    )
    with (
        exchange_in_thread(fast_exchange(3)) as server,
        opening(KEY, url=server.url, trace=trace) as channel,
    ):
        channels.append(channel)
        assert [type(outcome) for outcome in channel.cancel_many(taken())] == [Accepted] * 2
        channels.clear()
        assert refused
        assert isinstance(channel.cancel(orders(3)[2]), Accepted)
    assert len(server.exchange.log) == 3


def test_a_datagram_socket_makes_connect_fail(flavour: Flavour) -> None:
    if flavour not in ONLY_OF["sock"]:
        return

    async def scenario(connect: Connect) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(ConnectFailed):
            async with connect(
                KEY, url="ws://127.0.0.1:9/", sock=sock, limits=Limits(open_timeout=1.0)
            ):
                raise AssertionError("not reached")

    flavour.run(scenario)


def test_very_long_timeouts_are_accepted(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            config = Config(
                login_timeout=1e9, ping_interval=None, answer_timeout=1e300, queue_timeout=1e300
            )
            async with connect(
                KEY, url=server.url, config=config, limits=Limits(open_timeout=1e9)
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run(scenario)
