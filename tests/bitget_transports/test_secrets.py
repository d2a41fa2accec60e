"""No part of a login appears in a log, a warning, an error, or an object that an error holds.

On every transport.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import pytest

from bitget_proto import (
    Config,
    Credentials,
    Final,
    Reconciler,
    ReconcilerConfig,
    RestRequest,
    Unknown,
    Unresolved,
    sign_login,
)
from bitget_proto.testing import Fault, RestFault
from bitget_transports import ConnectFailed, Limits, RestFailed
from bitget_transports._driver import confirmer
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer

from . import proxies
from .colours import FAST, Connect, Flavour, fast_exchange, orders
from .test_proxies import URL, server_context, trusting
from .tidy import CLOSE, frame, nothing_left, then_write, tidy, upgrade_and

pytestmark = pytest.mark.parametrize("flavour", Flavour)

KEY = Credentials("key-1A2B3C", "secret-4D5E6F", "passphrase-7G8H9I")
LIMITS = Limits(open_timeout=1.0, write_timeout=0.3, close_timeout=0.2)

SECRETS = re.compile(r"1A2B3C|4D5E6F|7G8H9I|\"sign\"|[A-Za-z0-9+/]{43}=")
"""The credentials, and anything like a signature: 32 bytes in base64."""


@pytest.fixture(autouse=True)
def _everything_is_told(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[None]:
    """Turn on all logs and warnings, and search them for secrets."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with nothing_left(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [*(str(each.message) for each in caught), *capfd.readouterr()]
    # At teardown, `caplog.records` are those of the teardown.
    records = caplog.get_records("call")
    assert records or "test_the_check_finds" in request.node.name
    formatter = logging.Formatter()
    said += [f"{formatter.format(record)} {record.__dict__!r}" for record in records]
    for text in said:
        assert not SECRETS.search(text), text


def everything_in(error: BaseException) -> Iterator[str]:
    """Yield all that an error and its causes hold, whether or not a traceback shows it."""
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        at = pending.pop()
        if at is None or at in seen:
            continue
        seen.append(at)
        yield from (
            str(at),
            repr(at),
            repr(at.args),
            repr(vars(at)),
            *traceback.format_exception(at),
        )
        pending += [at.__cause__, at.__context__, *getattr(at, "exceptions", ())]


@contextmanager
def a_hostile_server(behaviour: Behaviour) -> Generator[str]:
    with HostileServer(behaviour) as server:
        yield server.url


@contextmanager
def exchange_that_refuses() -> Generator[str]:
    with exchange_in_thread(
        fast_exchange(credentials=Credentials("key", "another", "passphrase"))
    ) as server:
        yield server.url


FAILURES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "the login is refused": exchange_that_refuses,
    "the stream ends after the login": lambda: a_hostile_server(
        hostile_server.end_of_stream(After.UPGRADE)
    ),
    "the connection is reset after the login": lambda: a_hostile_server(
        hostile_server.reset(After.UPGRADE)
    ),
    "the login is not answered": lambda: a_hostile_server(hostile_server.silence(After.UPGRADE)),
    "the login is not read": lambda: a_hostile_server(hostile_server.stop_reading(After.UPGRADE)),
    "closed before the login": lambda: a_hostile_server(upgrade_and(frame(CLOSE, b"\x03\xf0"))),
    "garbage before the login": lambda: a_hostile_server(upgrade_and(b"\xff\xff")),
    "closed after the upgrade": lambda: a_hostile_server(
        then_write(frame(CLOSE, b"\x03\xe8"), After.UPGRADE)
    ),
    "the upgrade is refused": lambda: a_hostile_server(hostile_server.refuse(403, body=b"no")),
    "no WebSocket": lambda: a_hostile_server(hostile_server.wrong_accept()),
    "nothing listens": lambda: nullcontext("ws://127.0.0.1:9/"),
}


@pytest.mark.parametrize("failing", FAILURES.values(), ids=FAILURES)
def test_a_failed_login_shows_no_secret(
    flavour: Flavour, failing: Callable[[], AbstractContextManager[str]]
) -> None:
    async def scenario(connect: Connect) -> None:
        config = Config(messages_per_second=None, login_timeout=0.2)
        async with connect(KEY, url=url, config=config, limits=LIMITS):
            raise AssertionError("a channel was opened")

    with failing() as url, pytest.raises(ConnectFailed) as caught:
        flavour.run(tidy(scenario))
    for text in everything_in(caught.value):
        assert not SECRETS.search(text), text


def test_a_dropped_channel_shows_no_secret(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(10, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                assert not SECRETS.search(repr(channel))
                async for outcome in channel.cancel_many(orders(10)):
                    assert not SECRETS.search(repr(outcome))
                server.drop()
                async for event in channel.events:
                    assert not SECRETS.search(repr(event))
                assert isinstance(await channel.cancel(orders(1)[0]), Unresolved)

        flavour.run(tidy(scenario))


Answering = Callable[[RestRequest, Mapping[str, str]], tuple[int, bytes]]


def raises_them(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
    raise OSError(f"{request} with {dict(headers)} and {KEY.secret} failed")


def repeats_them(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
    msg = " ".join([*headers.values(), KEY.secret])
    return 400, json.dumps({"code": "40009", "msg": msg, "data": None}).encode()


def repeats_a_part(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The message is cut where a reason becomes too long."""
    msg = f"{'x' * 171} {headers['ACCESS-SIGN']}"
    return 400, json.dumps({"code": "40009", "msg": msg, "data": None}).encode()


def returns_them(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
    return dict(headers)  # type: ignore[return-value] # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("failing", [raises_them, repeats_them, repeats_a_part, returns_them])
def test_rest_that_repeats_the_headers_shows_no_secret(
    flavour: Flavour,
    failing: Answering,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(confirmer, "_FIRST_DELAY", 0.0)
    quick = partial(Reconciler, config=ReconcilerConfig(deadline=0.4, settle=0.01))
    monkeypatch.setattr(confirmer, "Reconciler", quick)
    signatures: list[str] = []

    def blocking(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
        signatures.append(headers["ACCESS-SIGN"])
        return failing(request, headers)

    async def waiting(request: RestRequest, headers: Mapping[str, str]) -> tuple[int, bytes]:
        return blocking(request, headers)

    exchange = fast_exchange(1, credentials=KEY)
    exchange.inject(Fault.NO_PUSH)
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> Final:
            rest = blocking if flavour is Flavour.BLOCKING else waiting
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, orders=True, rest=rest
            ) as channel:
                final = await channel.confirm(await channel.cancel(orders(1)[0]))
                with pytest.raises(RestFailed) as caught:
                    async for _ in channel.cancel_all():
                        pass
            own = caught.value
            if failing is raises_them:
                assert isinstance(own.__context__, OSError)
                own.__context__ = None  # the caller's own error, as it was raised
            for text in everything_in(own):
                assert not SECRETS.search(text), text
            return final

        final = flavour.run(tidy(scenario))
    assert isinstance(final, Unknown)
    assert "nothing shows what became of the order, deadline: " in caplog.text
    for sign in signatures:
        assert sign[:8] not in f"{final} {caplog.text}"
    assert not SECRETS.search(repr(final)), final


@pytest.mark.parametrize("fault", [None, *RestFault])
def test_rest_with_httpx_shows_no_secret(flavour: Flavour, fault: RestFault | None) -> None:
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject_rest(fault)
    exchange.inject(Fault.FILL_FIRST)
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, orders=True
            ) as channel:
                assert len([pair async for pair in channel.cancel_all()]) >= 1

        flavour.run(tidy(scenario))


@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
def test_rest_through_a_proxy_shows_no_secret(flavour: Flavour, kind: str) -> None:
    user = ("user-1A2B3C", "word-4D5E6F")
    demand = proxies.connect if kind == "http" else proxies.socks
    answer = demand(user=user, pieces=1)
    with (
        exchange_in_thread(fast_exchange(1, credentials=KEY), tls=server_context()) as server,
        proxies.running(int(server.url.rpartition(":")[2].partition("/")[0]), answer) as proxy,
    ):
        url = f"{kind}://{':'.join(user)}@127.0.0.1:{proxy.port}"

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=URL, tls=trusting(), proxy=url, config=FAST, limits=LIMITS, orders=True,
                rest=None,
            ) as channel:  # fmt: skip
                assert len([pair async for pair in channel.cancel_all()]) == 1

        flavour.run(tidy(scenario))
    assert len(proxy.asked) > 1  # the WebSocket, and REST: each request has a connection


def test_the_check_finds_a_secret(flavour: Flavour, caplog: pytest.LogCaptureFixture) -> None:
    assert SECRETS.search(sign_login(KEY, int(time.time())).sign)
    error = ConnectFailed("hidden")
    error.__context__ = ValueError(KEY.secret)
    error.__suppress_context__ = True
    assert any(SECRETS.search(text) for text in everything_in(error))
    if flavour is Flavour.ASYNCIO:

        async def debugging() -> bool:
            return asyncio.get_running_loop().get_debug()

        assert asyncio.run(debugging())
