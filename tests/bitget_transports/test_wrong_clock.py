"""A machine whose clock is wrong: REST's server time, where REST is used, spares the refused login.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from bitget_proto import (
    Cancelled,
    Evidence,
    LoginRejected,
    Reconciler,
    ReconcilerConfig,
    RestRequest,
    SessionConfig,
    Up,
)
from bitget_proto.testing import Fault
from bitget_transports import Limits, LoginRefused
from bitget_transports._driver import confirmer, confirming
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

from .colours import FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
CONFIG = SessionConfig(link=FAST, backoff_min=0.01, backoff_max=0.05)
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    quick = partial(Reconciler, config=ReconcilerConfig(settle=0.05))
    monkeypatch.setattr(confirmer, "Reconciler", quick)
    with nothing_left():
        yield


def ahead(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds


def into(seen: list[Any]) -> Callable[[Any, float], None]:
    """Return an observer that keeps the events."""
    return lambda event, _: seen.append(event)


class Rest:
    """Sends requests with httpx, for any transport, unless it fails."""

    def __init__(self, flavour: Flavour, url: str, fails: Callable[[], object] = str) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.given = self.send if flavour is Flavour.BLOCKING else self.send_async
        self._origin = url.replace("ws", "http", 1).partition("/v2")[0]
        self._fails = fails

    def send(self, request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.asked.append(request.path)
        self.headers.append(dict(headers))
        self._fails()
        answer = httpx.request(
            request.method, self._origin + request.target, headers=dict(headers), trust_env=False
        )
        return answer.status_code, answer.content

    async def send_async(
        self, request: RestRequest, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        return self.send(request, headers)


def times(rest: Rest) -> int:
    """Return how often the exchange's time was asked for."""
    return rest.asked.count("/api/v2/public/time")


def shift(server: ExchangeThread, seconds: float) -> None:
    """Set the exchange's clock, but not the Date of its handshakes."""

    def shift() -> None:
        server.exchange.epoch += seconds

    server.call(shift)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_with_rest_no_login_is_refused(
    flavour: Flavour, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exchange, seen = fast_exchange(2, credentials=KEY), list[Any]()
    exchange.inject(Fault.NO_PUSH)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, wall_clock=ahead(seconds),
                orders=True, observe=into(seen),
            ) as channel:  # fmt: skip
                final = await channel.confirm(await channel.cancel(orders(1)[0]))
                assert isinstance(final, Cancelled)
                assert final.evidence is Evidence.LOOK_UP, "a request of REST was signed for now"
                server.drop()
                async for event in channel.events:
                    if isinstance(event, Up) and event.link == 2:
                        break

        flavour.run_session(tidy(scenario))
    assert not [event for event in seen if isinstance(event, LoginRejected)]
    where = "ahead of" if seconds > 0 else "behind"
    assert f"{where} the exchange's" in caplog.text


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_single_connection_logs_in_as_well(flavour: Flavour, seconds: float) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, wall_clock=ahead(seconds),
                orders=True,
            ) as channel:  # fmt: skip
                assert len([pair async for pair in channel.cancel_all()]) == 1

        flavour.run(tidy(scenario))


@pytest.mark.parametrize("seconds", [0.0, -3.0, 3.0])
def test_a_clock_that_is_right_asks_nothing(flavour: Flavour, seconds: float) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        rest = Rest(flavour, server.url)

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, wall_clock=ahead(seconds),
                orders=True, rest=rest.given,
            ):  # fmt: skip
                pass

        flavour.run(tidy(scenario))
    assert rest.asked == []


def test_rest_is_believed_rather_than_the_date_of_the_handshake(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        shift(server, HOUR)
        rest = Rest(flavour, server.url)

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, wall_clock=ahead(HOUR),
                orders=True, rest=rest.given,
            ):  # fmt: skip
                pass

        flavour.run(tidy(scenario))
    assert times(rest) == 1
    assert rest.headers == [{}], "the request is not signed"


def test_rest_is_asked_after_a_refusal_that_the_date_does_not_explain(flavour: Flavour) -> None:
    seen: list[Any] = []
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        shift(server, HOUR)
        rest = Rest(flavour, server.url)

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, orders=True, rest=rest.given,
                observe=into(seen),
            ):  # fmt: skip
                pass

        flavour.run_session(tidy(scenario))
    assert times(rest) == 1
    assert len([event for event in seen if isinstance(event, LoginRejected)]) == 1


def fail() -> None:
    raise OSError("no network")


def test_without_an_answer_of_rest_the_login_is_refused_as_before(flavour: Flavour) -> None:
    seen: list[Any] = []
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        rest = Rest(flavour, server.url, fail)
        options: dict[str, Any] = {
            "url": server.url, "limits": LIMITS, "wall_clock": ahead(HOUR), "orders": True,
            "rest": rest.given,
        }  # fmt: skip

        async def alone(connect: Connect) -> None:
            with pytest.raises(LoginRefused, match=r"3600 s ahead|3599 s ahead|3601 s ahead"):
                async with connect(KEY, config=FAST, **options):
                    pass

        flavour.run(tidy(alone))
        assert times(rest) == 1

        async def session(open_session: OpenSession) -> None:
            async with open_session(KEY, config=CONFIG, observe=into(seen), **options):
                pass

        flavour.run_session(tidy(session))
    assert times(rest) == 2
    assert len([event for event in seen if isinstance(event, LoginRejected)]) == 1


def test_rest_that_does_not_answer_delays_the_login_and_no_more(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flavour is Flavour.BLOCKING:
        pytest.skip("a function of the caller's runs in the caller's thread")
    monkeypatch.setattr(confirming, "TIMEOUT", 0.05)

    async def never(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
        await anyio.sleep_forever()
        raise AssertionError

    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, wall_clock=ahead(HOUR),
                orders=True, rest=never,
            ):  # fmt: skip
                pass

        flavour.run_session(tidy(scenario))


def test_a_link_that_ends_while_rest_is_asked_is_dialled_again(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:
        rest = Rest(flavour, server.url, server.drop)

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=CONFIG, limits=LIMITS, wall_clock=ahead(HOUR),
                orders=True, rest=rest.given,
            ) as channel:  # fmt: skip
                assert len([pair async for pair in channel.cancel_many(orders(1))]) == 1

        flavour.run_session(tidy(scenario))
    assert times(rest) == 1


def test_a_clock_that_is_set_wrong_later_delays_a_look_up_and_no_more(flavour: Flavour) -> None:
    wrong = [0.0]
    exchange = fast_exchange(1, credentials=KEY)
    exchange.inject(Fault.NO_PUSH)
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, orders=True,
                wall_clock=lambda: time.time() + wrong[0],
            ) as channel:  # fmt: skip
                outcome = await channel.cancel(orders(1)[0])
                wrong[0] = HOUR
                final = await channel.confirm(outcome)
                assert isinstance(final, Cancelled)
                assert final.evidence is Evidence.LOOK_UP

        flavour.run(tidy(scenario))
