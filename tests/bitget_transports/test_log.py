"""The log of the transports: silent until configured, without secrets, and the whole story at INFO.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket

from bitget_proto import (
    Accepted,
    CancelOrder,
    Credentials,
    Rejected,
    RestRequest,
    SessionConfig,
    Unresolved,
    Up,
    sign_login,
    sign_request,
)
from bitget_proto.testing import Fault
from bitget_transports import ConnectFailed, Limits
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.hostile_server import After, HostileServer, Victim, refuse

from .colours import FAST, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import CLOSE, frame, nothing_left, tidy

KEY = Credentials("key-1A2B3C", "secret-4D5E6F", "passphrase-7G8H9I")
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
UNKNOWN = CancelOrder("BTCUSDT", order_id="999")
SECRETS = re.compile(r"1A2B3C|4D5E6F|7G8H9I|[A-Za-z0-9+/]{43}=|\\u0037G8H9I")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def story(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the log, with their levels; ports, and what varies, are replaced."""
    records = [each for each in caplog.records if each.name == "bitget_transports"]
    lines = [f"{each.levelname} {each.getMessage()}" for each in records]
    lines = [re.sub(r"127\.0\.0\.1:\d+", "HOST", line) for line in lines]
    return [re.sub(r"\d+\.\d s", "N s", line) for line in lines]


def test_nothing_is_logged_until_logging_is_configured() -> None:
    code = (
        "from bitget_proto import Credentials\n"
        "from bitget_transports.blocking import connect\n"
        "try:\n"
        "    connect(Credentials('k', 's', 'p'), url='ws://127.0.0.1:9').open()\n"
        "except ConnectionError:\n"
        "    print('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("failed\n", "")


@pytest.mark.parametrize("flavour", Flavour)
def test_the_log_tells_the_story_of_a_session(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = SessionConfig(link=FAST, backoff_min=0.01, backoff_max=0.05, steady_after=None)
    with exchange_in_thread(fast_exchange(4, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(KEY, url=server.url, config=config, limits=LIMITS) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                assert isinstance(await channel.cancel(UNKNOWN, id="a"), Rejected)
                server.inject(Fault.UNSURE)
                assert isinstance(await channel.cancel(orders(2)[1], id="b"), Unresolved)
                server.refuse_handshakes(1, 503)
                server.drop()
                async for event in channel.events:
                    if isinstance(event, Up) and event.link == 3:
                        break
                assert isinstance(await channel.cancel(orders(3)[2]), Accepted)
            assert isinstance(await channel.cancel(orders(4)[3], id="c"), Unresolved)

        flavour.run_session(tidy(scenario))
    lost = "lost: the connection ended without a close frame"
    refused = (
        "lost: 127.0.0.1 refused the WebSocket with HTTP status 503, saying "
        "'refused as scripted': try again later"
    )
    assert story(caplog) == [
        "INFO link 1: dialling HOST",
        "INFO link 1: up after N s",
        "INFO cancel a: rejected, code 43001, not found: The order does not exist",
        "WARNING cancel b: unresolved, sent, unsure, code 40010: Request timed out",
        f"WARNING link 1: closed, {lost}",
        "WARNING down: link 1 was up for N s (lost); cancels wait for the next one",
        "INFO link 2: dialling HOST",
        f"WARNING link 2: closed, {refused}",
        "INFO link 3: dialling HOST",
        "INFO link 3: up after N s",
        "INFO link 3: closed, asked",
        "INFO ended: asked",
        "WARNING cancel c: unresolved, not sent, closed",
    ]


@pytest.mark.parametrize("flavour", Flavour)
def test_the_log_of_a_connection_has_errors_and_the_maintenance_of_the_exchange(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with exchange_in_thread(fast_exchange(2, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                server.inject(Fault.GOING_AWAY, Fault.THROTTLE)
                for order in orders(2):
                    await channel.cancel(order, timeout=0.3)
                server.drop()
                async for _ in channel.events:
                    pass

        flavour.run(tidy(scenario))
    lines = story(caplog)
    assert lines[:2] == ["INFO link 1: dialling HOST", "INFO up: the login was accepted"]
    assert any(
        line.startswith("WARNING the exchange is about to close the connection") for line in lines
    ), lines
    assert any("throttled" in line and line.startswith("WARNING") for line in lines), lines
    assert lines[-1] == "ERROR ended: lost: the connection ended without a close frame"


ECHO = "{api_key} {passphrase} {sign}"


def _echo(victim: Victim) -> None:
    """Repeat the login in every kind of frame, in the plain and the escaped spelling."""
    victim.reach(After.UPGRADE)
    login = victim.read_until("login")
    sent = json.loads(login)["args"][0]
    all_of_it = " ".join(map(str, sent.values()))
    escaped = json.dumps(all_of_it).replace("7", "\\u0037").replace("/", "\\/")
    victim.say('{"event":"login","code":0}')
    for text in (
        login,
        json.dumps({"event": "push", "data": sent}),
        f'{{"event":"push","text":{escaped}}}',
        json.dumps({"event": "error", "code": 30006, "msg": f"slow down\n{all_of_it}"}),
        json.dumps({"event": "error", "code": 30033, "msg": all_of_it}),
        f'{{"event":"error","code":40010,"msg":{escaped}}}',
        f"not JSON: {all_of_it}",
    ):
        victim.say(text)
    request = victim.read_until("cancel-order")
    id = json.loads(request)["args"][0]["id"]
    victim.say(json.dumps({"event": "error", "arg": [{"id": id}], "code": 43001, "msg": all_of_it}))
    victim.read_until("cancel-order")
    victim.write(frame(CLOSE, b"\x03\xe9" + all_of_it.encode()[:120]))
    victim.hold()


@pytest.mark.parametrize("flavour", Flavour)
def test_an_exchange_that_repeats_the_login_everywhere_puts_none_of_it_into_the_log(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with HostileServer(_echo) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Rejected)
                await channel.send(json.dumps({"op": "subscribe", "secret": KEY.secret}))
                assert isinstance(await channel.cancel(orders(1)[0]), Unresolved)

        flavour.run(tidy(scenario))
    assert "slow down" in caplog.text
    assert '"call":"receive"' in caplog.text, "frames are in the log"
    for text in (caplog.text, *(repr(record.__dict__) for record in caplog.records)):
        assert not SECRETS.search(text), text
    assert all("\n" not in line for line in story(caplog))


def _refuse_login(victim: Victim) -> None:
    victim.reach(After.UPGRADE)
    sent = json.loads(victim.read_until("login"))["args"][0]
    victim.say(
        json.dumps({"event": "error", "code": 30012, "msg": f"wrong: {list(sent.values())}"})
    )
    victim.hold()


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("behave", [_refuse_login, refuse(403, body=b"not from here")])
def test_a_refused_login_is_in_the_log_without_the_login(
    flavour: Flavour, behave: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with HostileServer(behave) as server:  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS):
                raise AssertionError("a channel was opened")

        with pytest.raises(ConnectFailed):
            flavour.run(tidy(scenario))
    assert any(line.startswith("ERROR ended: ") for line in story(caplog))
    for text in (caplog.text, *(repr(record.__dict__) for record in caplog.records)):
        assert not SECRETS.search(text), text


@pytest.mark.parametrize("flavour", Flavour)
def test_discarded_events_are_in_the_log_once(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    limits = Limits(open_timeout=5.0, close_timeout=0.2, max_events=2)
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, limits=limits) as channel:
                for number in range(9):
                    server.say(f'{{"event":"push","number":{number}}}')
                await channel.cancel(orders(1)[0])

        flavour.run(tidy(scenario))
    found = [line for line in story(caplog) if "discarded" in line]
    assert found == ["WARNING unread events are being discarded: read channel.events"]


@pytest.mark.parametrize("flavour", [Flavour.ASYNCIO, Flavour.ANYIO_ASYNCIO, Flavour.BLOCKING])
def test_a_handler_that_fails_stops_no_cancel(flavour: Flavour) -> None:
    class Failing(logging.Handler):
        calls = 0

        def handle(self, record: logging.LogRecord) -> bool:
            if record.name.endswith("exchange"):
                return True
            Failing.calls += 1
            raise ZeroDivisionError("mine")

    logger, handler = logging.getLogger("bitget_transports"), Failing()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:

            async def scenario(connect: Connect) -> None:
                async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                    assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

            flavour.run(tidy(scenario))
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    assert Failing.calls > 3


def _logins() -> Iterator[str | bytes]:
    """Yield every kind of frame that may hold a login, whole and damaged."""
    login = sign_login(KEY, int(time.time()))
    sent = {
        "apiKey": KEY.api_key, "passphrase": KEY.passphrase,
        "timestamp": login.timestamp, "sign": login.sign,
    }  # fmt: skip
    whole = json.dumps({"op": "login", "args": [sent]})
    yield whole
    yield whole  # a second login
    yield whole.encode()
    yield json.dumps({"op": "login", "args": [sent | {"sign": KEY.secret}]})
    yield json.dumps({"op": "login", "args": [{**sent, "timestamp": KEY.passphrase}]})
    yield json.dumps({"op": "login", "args": sent})
    yield json.dumps({"op": "trade", "args": [{"id": login.sign, "channel": KEY.secret}]})
    yield json.dumps({"op": login.sign, KEY.secret: [sent]})
    yield json.dumps([sent])
    yield f"{KEY.secret} {login.sign}"
    yield from (whole[:at] for at in range(1, len(whole), 20))
    yield whole.encode() + b"\xff"
    yield json.dumps({"op": "login", "args": [sent], "more": "x" * 5_000})


def _requests(port: int) -> Iterator[bytes]:
    """Yield every kind of HTTP request with the headers of REST, and an upgrade that has them."""
    path = "/api/v2/spot/trade/orderInfo"
    signed = sign_request(
        KEY, RestRequest(method="GET", path=path, query="orderId=1"), int(time.time() * 1000)
    )
    headers = {"Host": f"127.0.0.1:{port}"} | signed
    for name in ("", *signed):
        changed = headers if not name else headers | {name: f"{KEY.secret}{headers[name]}"}
        head = "".join(f"{key}: {value}\r\n" for key, value in changed.items())
        for first in (f"GET {path}?orderId=1", f"GET {path}?{KEY.secret}", f"POST {path}"):
            yield f"{first} HTTP/1.1\r\n{head}\r\n".encode()
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    yield f"GET /api/ HTTP/1.1\r\n{head}{KEY.secret}\r\n\r\n".encode()
    yield f"GET /api/{KEY.secret} HTTP/1.1\r\n{head}\xff: x\r\n\r\n".encode("latin-1")
    yield f"POST /api/ {KEY.secret}\r\n\r\n".encode()
    yield f"GET /{KEY.secret} HTTP/1.1\r\n{head}\r\n".encode()
    yield f"{KEY.secret} {KEY.passphrase}\r\n\r\n".encode()


def test_the_log_of_the_exchange_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = KEY.secret.encode()
    with exchange_in_thread(fast_exchange(3, credentials=KEY)) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        for message in _logins():
            with connect_websocket(server.url, close_timeout=0.2) as websocket:
                websocket.send(message)
                websocket.close(4000, KEY.passphrase)
        with connect_websocket(f"{server.url}?{KEY.secret}") as websocket:
            websocket.socket.sendall(secret)  # not a frame
        for request in _requests(port):
            with socket.create_connection(("127.0.0.1", port), timeout=5.0) as peer:
                peer.sendall(request)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
        server.refuse_handshakes(1, 503)
        with pytest.raises(InvalidStatus):
            connect_websocket(server.url, additional_headers={"ACCESS-KEY": KEY.api_key})
    logged = [each for each in caplog.records if each.name == "bitget_transports.exchange"]
    assert {each.levelno for each in logged} == {logging.INFO}
    found = " ".join(each.getMessage() for each in logged)
    for part in ("connected from", "ended: ", "handshake refused with HTTP status 503"):
        assert part in found
    for record in caplog.records:
        # The client's own log, of websockets, shows what this test has sent.
        if not record.name.startswith("websockets"):
            text = f"{record.getMessage()} {record.__dict__!r}"
            assert not SECRETS.search(text), text
