"""No part of a login appears in a log, a warning, an error, or an object that an error holds.

On every transport.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from bitget_proto import Config, Credentials, Unresolved, sign_login
from bitget_transports import ConnectFailed, Limits
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer

from .colours import FAST, Connect, Flavour, fast_exchange, orders
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
) -> Iterator[None]:
    """Turn on all logs and warnings, and search them for secrets."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with nothing_left(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [caplog.text, *(str(each.message) for each in caught), *capfd.readouterr()]
    said += [repr(record.__dict__) for record in caplog.records]
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
