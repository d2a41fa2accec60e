"""`SessionConfig.rest_after` on every transport: Falling back to REST.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from bitget_proto import (
    Accepted,
    CodeClass,
    Config,
    Dialect,
    Down,
    Outcome,
    Rejected,
    RestRequest,
    SessionConfig,
    Unresolved,
    WhyUnresolved,
    replay,
)
from bitget_proto.testing import RestFault
from bitget_transports import Limits
from bitget_transports._driver import rest as rest_module
from bitget_transports._driver.rest_cancels import AT_ONCE
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

from .colours import KEY, AnySession, Flavour, OpenSession, fast_exchange, orders
from .test_sessions import RestartableExchange
from .tidy import nothing_left, tidy

every = pytest.mark.parametrize("flavour", Flavour)

CONFIG = SessionConfig(
    link=Config(messages_per_second=None, drain_timeout=0.5),
    rest_after=0.1,
    no_link_timeout=3.0,
    backoff_min=0.05,
    backoff_max=0.1,
    dials_per_5_minutes=None,
)
LIMITS = Limits(close_timeout=0.2, up_timeout=10.0)
ONE, TWO = orders(2)

loop_flavours = pytest.mark.parametrize(
    "flavour", [one for one in Flavour if one is not Flavour.BLOCKING]
)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


async def cut_off(channel: Any, server: ExchangeThread, dials: int = 1_000_000) -> None:
    """Drop the link and refuse this many dials. REST works."""
    server.refuse_handshakes(dials, 503)
    server.drop()
    async for event in channel.events:
        if isinstance(event, Down):
            return


def cancelled(flavour: Flavour, *faults: RestFault | None, **options: Any) -> tuple[Outcome, int]:
    """The outcome of a cancel while no link is up, and how often the exchange was asked to cancel."""
    lines: list[str] = []
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject_rest(*faults)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> Outcome:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, trace=lines.append, **options
            ) as channel:
                await cut_off(channel, server)
                return await channel.cancel(ONE)

        outcome = flavour.run_session(tidy(scenario))
    assert replay(lines) is None
    return outcome, len(exchange.log)


@every
def test_a_cancel_goes_by_rest_while_no_link_is_up(flavour: Flavour) -> None:
    outcome, acts = cancelled(flavour)
    assert isinstance(outcome, Accepted)
    assert (outcome.attempts, outcome.by_rest, outcome.order_id) == (1, (1,), "1")
    assert acts == 1


@every
@pytest.mark.parametrize("fault", [RestFault.DOWN, RestFault.CUT_AFTER, RestFault.UNAVAILABLE])
def test_no_answer_of_rest_is_unsure(flavour: Flavour, fault: RestFault) -> None:
    outcome, acts = cancelled(flavour, fault)
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why, outcome.by_rest) == (True, WhyUnresolved.UNSURE, (1,))
    assert (outcome.hint is None) is (fault is RestFault.UNAVAILABLE)
    assert acts == (fault is RestFault.CUT_AFTER)


@every
def test_a_link_takes_what_rest_refused_with_429(flavour: Flavour) -> None:
    exchange = fast_exchange(1, credentials=KEY)
    exchange.inject_rest(RestFault.TOO_MANY)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> Outcome:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                await cut_off(channel, server, 4)
                return await channel.cancel(ONE)

        outcome = flavour.run_session(tidy(scenario))
    assert isinstance(outcome, Accepted)
    assert outcome.attempts == 1


@every
def test_what_cannot_even_be_sent_was_not_sent(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    with RestartableExchange(fast_exchange(1, credentials=KEY)) as server:
        config = SessionConfig(rest_after=0.1, no_link_timeout=0.6, backoff_min=0.05)

        async def scenario(open_session: OpenSession) -> Outcome:
            async with open_session(KEY, url=server.url, config=config, limits=LIMITS) as channel:
                server.stop()
                async for event in channel.events:
                    if isinstance(event, Down):
                        break
                return await channel.cancel(ONE)

        outcome = flavour.run_session(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why, outcome.by_rest) == (False, WhyUnresolved.NO_LINK, ())
    assert "cancel bgproto1: not sent by REST: ConnectError" in caplog.text


@pytest.mark.parametrize("flavour", [Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO])
def test_a_client_of_the_callers_that_fails_may_have_sent_the_cancel(flavour: Flavour) -> None:
    with RestartableExchange(fast_exchange(1, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> Outcome:
            async with (
                httpx.AsyncClient() as client,
                open_session(
                    KEY, url=server.url, config=CONFIG, limits=LIMITS, client=client
                ) as channel,
            ):
                server.stop()
                async for event in channel.events:
                    if isinstance(event, Down):
                        break
                return await channel.cancel(ONE)

        outcome = flavour.run_session(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)


# --- a function of the caller's ---


def function(flavour: Flavour, answer: Any) -> Any:
    """A function for `rest` that gives this answer, or raises it."""

    def send(request: RestRequest, headers: Any) -> Any:
        assert request.path == "/api/v2/spot/trade/cancel-order"
        assert "ACCESS-SIGN" in headers
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def send_soon(request: RestRequest, headers: Any) -> Any:
        return send(request, headers)

    return send if flavour is Flavour.BLOCKING else send_soon


@every
def test_a_function_of_the_callers_may_ask_rest(flavour: Flavour) -> None:
    refusal = (400, b'{"code":"43001","msg":"The order does not exist"}')
    outcome, acts = cancelled(flavour, rest=function(flavour, refusal))
    assert isinstance(outcome, Rejected)
    assert outcome.code_class is CodeClass.NOT_FOUND
    assert acts == 0


@every
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (httpx.ConnectError("it is not ours"), "ConnectError: it is not ours"),
        ("nonsense", "rest must return the status and the body"),
    ],
    ids=["an exception", "no answer"],
)
def test_a_function_that_fails_may_have_sent_the_cancel(
    flavour: Flavour, answer: Any, hint: str
) -> None:
    outcome, _ = cancelled(flavour, rest=function(flavour, answer))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)
    assert hint in (outcome.hint or "")


@every
def test_a_request_that_cannot_be_signed_was_not_sent(flavour: Flavour) -> None:
    broken: list[bool] = []

    def clock() -> float:
        if broken:
            raise OSError("no clock")
        return time.time()

    exchange = fast_exchange(1)
    with exchange_in_thread(exchange) as server:
        config = SessionConfig(rest_after=0.1, no_link_timeout=0.3, backoff_min=0.05)

        async def scenario(open_session: OpenSession) -> Outcome:
            async with open_session(
                KEY, url=server.url, config=config, limits=LIMITS, wall_clock=clock
            ) as channel:
                await cut_off(channel, server)
                broken.append(True)
                return await channel.cancel(ONE)

        outcome = flavour.run_session(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.NO_LINK)


@loop_flavours
def test_a_few_requests_are_out_at_once(flavour: Flavour) -> None:
    out: list[int] = [0]
    most: list[int] = [0]

    async def send(_: RestRequest, __: Any) -> tuple[int, bytes]:
        out[0] += 1
        most[0] = max(most[0], out[0])
        await anyio.sleep(0.01)
        out[0] -= 1
        return 200, b'{"code":"00000"}'

    with exchange_in_thread(fast_exchange(0)) as server:

        async def scenario(open_session: OpenSession) -> list[Outcome]:
            from bitget_proto import Budget

            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, rest=send, budget=Budget(None)
            ) as channel:
                await cut_off(channel, server)
                return [one async for one in channel.cancel_many(orders(40))]

        outcomes = flavour.run_session(tidy(scenario))
    assert [type(one) for one in outcomes] == [Accepted] * 40
    assert most == [AT_ONCE]


@loop_flavours
def test_an_end_cancels_what_is_out(flavour: Flavour) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def send(_: RestRequest, __: Any) -> tuple[int, bytes]:
        begun.append("")
        try:
            await anyio.sleep(60.0)
        finally:
            ended.append("")
        raise AssertionError

    with exchange_in_thread(fast_exchange(0)) as server:

        async def scenario(open_session: OpenSession) -> Any:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, rest=send
            ) as channel:
                await cut_off(channel, server)
                with anyio.move_on_after(0.3):
                    await channel.cancel(ONE)
                assert begun
            return list(iter(channel.events.take, None))

        events = flavour.run_session(tidy(scenario))
    (outcome,) = [event for event in events if isinstance(event, Unresolved)]
    assert (outcome.sent, outcome.why, outcome.by_rest) == (True, WhyUnresolved.CLOSED, (1,))
    assert ended


@loop_flavours
def test_close_waits_for_the_answer_of_rest(flavour: Flavour) -> None:
    begun: list[str] = []

    async def send(_: RestRequest, __: Any) -> tuple[int, bytes]:
        begun.append("")
        await anyio.sleep(0.2)
        return 200, b'{"code":"00000"}'

    with exchange_in_thread(fast_exchange(0)) as server:

        async def scenario(open_session: OpenSession) -> Any:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, rest=send
            ) as channel:
                await cut_off(channel, server)
                with anyio.move_on_after(0.2):
                    await channel.cancel(ONE)
                assert begun
                await channel.close()
                return list(iter(channel.events.take, None))

        events = flavour.run_session(tidy(scenario))
    (outcome,) = [event for event in events if isinstance(event, Accepted)]
    assert outcome.by_rest == (1,)


@loop_flavours
def test_a_request_without_an_end_is_given_up(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitget_transports.anyio import _client as anyio_client
    from bitget_transports.asyncio import _client as asyncio_client

    monkeypatch.setattr(asyncio_client, "LONGEST", 0.1)
    monkeypatch.setattr(anyio_client, "LONGEST", 0.1)

    async def send(_: RestRequest, __: Any) -> tuple[int, bytes]:
        await anyio.sleep(60.0)
        raise AssertionError

    outcome, _ = cancelled(flavour, rest=send)
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)
    assert outcome.hint == "a REST request got no answer: the request was given up"


# --- refused at once ---


@every
def test_without_httpx_and_without_a_function_it_is_refused_at_once(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise ImportError("REST needs httpx")

    monkeypatch.setattr(rest_module, "_httpx", missing)
    with exchange_in_thread(fast_exchange(0)) as server:

        async def scenario(open_session: OpenSession) -> None:
            with pytest.raises(ImportError, match="REST needs httpx"):
                async with open_session(KEY, url=server.url, config=CONFIG):
                    raise AssertionError

        flavour.run_session(tidy(scenario))
        assert server.connections == 0


# --- the exchange's time ---


@every
def test_a_wrong_clock_is_corrected_for_rest_too(flavour: Flavour) -> None:
    exchange = fast_exchange(1, credentials=KEY, epoch=time.time())
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> Outcome:
            async with open_session(
                KEY,
                url=server.url,
                config=CONFIG,
                limits=LIMITS,
                wall_clock=lambda: time.time() + 500.0,
            ) as channel:
                await cut_off(channel, server)
                return await channel.cancel(ONE)

        outcome = flavour.run_session(tidy(scenario))
    assert isinstance(outcome, Accepted), outcome
    assert outcome.by_rest == (1,)


# --- blocking ---

blocking = pytest.mark.parametrize("flavour", [Flavour.BLOCKING])


@blocking
def test_an_interrupted_request_may_have_arrived_and_the_channel_goes_on(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(2, credentials=KEY)) as server:
        origin = server.url.replace("ws", "http", 1).removesuffix(Dialect.CLASSIC.path)
        interrupt: list[bool] = [True]

        def send(request: RestRequest, headers: Any) -> tuple[int, bytes]:
            if interrupt:
                interrupt.clear()
                raise KeyboardInterrupt
            answer = httpx.post(origin + request.target, headers=headers, content=request.body)
            return answer.status_code, answer.content

        async def scenario(open_session: OpenSession) -> tuple[Any, Outcome]:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, rest=send
            ) as channel:
                await cut_off(channel, server)
                with pytest.raises(KeyboardInterrupt):
                    await channel.cancel(ONE)
                found = [
                    event
                    for event in iter(channel.events.take, None)
                    if isinstance(event, Unresolved)
                ]
                return found, await channel.cancel(TWO)

        (first,), second = flavour.run_session(tidy(scenario))
    assert (first.sent, first.why, first.by_rest) == (True, WhyUnresolved.UNSURE, (1,))
    assert isinstance(second, Accepted)
    assert second.by_rest == (1,)


class Left(Exception):
    """The context is left."""


@blocking
def test_a_request_that_has_not_begun_at_the_end_is_not_sent(flavour: Flavour) -> None:
    channels: list[AnySession] = []
    exchange = fast_exchange(2, credentials=KEY)
    with exchange_in_thread(exchange) as server:

        async def leave(open_session: OpenSession) -> None:
            async with open_session(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                channels.append(channel)
                await cut_off(channel, server)
                async for outcome in channel.cancel_many([ONE, TWO]):
                    assert isinstance(outcome, Accepted)
                    raise Left

        with pytest.raises(Left):
            flavour.run_session(leave)
    events = list(iter(channels[0].events.take, None))
    (second,) = [event for event in events if isinstance(event, Unresolved)]
    assert (second.order, second.sent, second.why) == (TWO, False, WhyUnresolved.CLOSED)
    assert len(exchange.log) == 1


@pytest.mark.parametrize("flavour", [Flavour.ASYNCIO])
def test_a_closed_loop_ends_what_is_out(flavour: Flavour) -> None:
    del flavour
    import warnings

    import bitget_transports.asyncio

    begun: list[str] = []

    async def send(_: RestRequest, __: Any) -> tuple[int, bytes]:
        begun.append("")
        await asyncio.sleep(60.0)
        raise AssertionError

    with exchange_in_thread(fast_exchange(0)) as server:

        async def scenario() -> Any:
            opener = bitget_transports.asyncio.open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, rest=send
            )
            channel = await opener.open()
            await cut_off(channel, server)
            waiting = asyncio.create_task(channel.cancel(ONE))
            while not begun:
                await asyncio.sleep(0.01)
            waiting.cancel()
            return channel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            channel = asyncio.run(scenario())
            events = list(iter(channel.events.take, None))
    (outcome,) = [event for event in events if isinstance(event, Unresolved)]
    assert outcome.sent
