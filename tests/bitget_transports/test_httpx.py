"""What the anyio transport adds to httpx-ws: apps in process, and each of its known faults.

Real sockets on loopback, where sockets are used; each wait is bounded. `test_bad_peers`,
`test_opening`, `test_secrets` and `test_tls` check all transports alike.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from errno import ECONNRESET
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from httpx_ws import AsyncWebSocketSession
from httpx_ws.transport import ASGIWebSocketTransport
from wsproto.utilities import LocalProtocolError

from bitget_proto import (
    Cancelled,
    Closed,
    Reconciler,
    ReconcilerConfig,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_proto.testing import Fault
from bitget_transports import Channel, ConnectFailed, Limits, UpgradeRefused
from bitget_transports._driver import confirmer
from bitget_transports.anyio import connect
from bitget_transports.anyio._httpx_link import HttpxWebSocket
from bitget_transports.exchange import ExchangeApp, exchange_in_thread
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, HostileServer

from .colours import BOUND, FAST, KEY, Flavour, fast_exchange, orders
from .tidy import CLOSE, TEXT, frame, nothing_left, then_write, tidy, upgrade_and

BACKENDS = [Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO]

pytestmark = pytest.mark.parametrize("flavour", BACKENDS)

with_both = pytest.mark.parametrize("library", ["httpx", "httpx2"])
"""The library of a client that the caller passes."""

LIMITS = Limits(open_timeout=5.0, write_timeout=0.3, close_timeout=0.2)
URL = "wss://exchange.example/v2/ws/private"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def run(flavour: Flavour, scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded(_: object) -> None:
        with anyio.fail_after(BOUND):
            await scenario()

    flavour.run(tidy(bounded))


def library_named(name: str) -> Any:
    """Return httpx, or httpx2 where it is installed."""
    return pytest.importorskip(name, exc_type=ModuleNotFoundError)


def client_of(app: Any, name: str) -> httpx.AsyncClient:
    """Return a client, of this library, of an app in this process."""
    library = library_named(name)
    if name == "httpx2":
        library_named("httpx2.websockets")
        transport = library.websockets.ASGIWebSocketTransport(app)
    else:
        transport = ASGIWebSocketTransport(app)
    made: httpx.AsyncClient = library.AsyncClient(transport=transport)
    return made


# --- in process ---


@with_both
def test_cancels_to_an_app_in_process_have_one_outcome_each(flavour: Flavour, library: str) -> None:
    app = ExchangeApp(fast_exchange(200, credentials=KEY))

    async def scenario() -> None:
        async with (
            client_of(app, library) as client,
            connect(KEY, url=URL, config=FAST, limits=LIMITS, client=client) as channel,
        ):
            counted = Counter(
                [type(outcome).__name__ async for outcome in channel.cancel_many(orders(250))]
            )
            assert counted == {"Accepted": 200, "Rejected": 50}
            await app_closes(channel)

    async def app_closes(channel: Channel) -> None:
        app.hang_up(1001, "maintenance")
        events = [event async for event in channel.events]
        assert [type(event) for event in events] == [Closed]
        assert "closed with code 1001, saying 'maintenance'" in str(events[0])

    run(flavour, scenario)
    assert app.connections == 0


def failure(flavour: Flavour, library: str, app: Any) -> ConnectFailed:
    failed: list[ConnectFailed] = []

    async def scenario() -> None:
        async with client_of(app, library) as client:
            with pytest.raises(ConnectFailed) as caught:
                async with connect(KEY, url=URL, config=FAST, limits=LIMITS, client=client):
                    raise AssertionError("a channel was opened")
            failed.append(caught.value)

    run(flavour, scenario)
    return failed[0]


@with_both
def test_the_refusal_of_an_app_is_raised_with_its_status(flavour: Flavour, library: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    error = failure(flavour, library, app)
    assert isinstance(error, UpgradeRefused)
    assert error.status == 403


@with_both
def test_an_app_that_fails_at_once_makes_connect_fail(flavour: Flavour, library: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("in the app")

    assert "no connection to exchange.example:443" in str(failure(flavour, library, app))


@with_both
@pytest.mark.parametrize("says_why", [True, False])
def test_an_app_that_ends_during_a_cancel_ends_the_connection_once(
    flavour: Flavour, says_why: bool, library: str
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": '{"event":"login","code":0}'})
        await receive()
        if not says_why:
            raise ZeroDivisionError("in the app")
        await send({"type": "websocket.close", "code": 1001, "reason": "maintenance"})

    async def scenario() -> None:
        async with (
            client_of(app, library) as client,
            connect(KEY, url=URL, config=FAST, limits=LIMITS, client=client) as channel,
        ):
            outcome = await channel.cancel(orders(1)[0])
            assert isinstance(outcome, Unresolved)
            assert outcome.sent
            assert [type(event) async for event in channel.events] == [Closed]

    run(flavour, scenario)


@with_both
def test_an_app_that_breaks_asgi_makes_connect_fail(flavour: Flavour, library: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    assert "ended the connection before the login was answered" in str(
        failure(flavour, library, app)
    )


# --- known faults, each on a socket ---


def ended(flavour: Flavour, behaviour: hostile_server.Behaviour) -> tuple[Closed, list[Unresolved]]:
    """Return how the connection ends, and the outcome of one cancel."""
    found: list[tuple[Closed, list[Unresolved]]] = []

    async def scenario() -> None:
        with HostileServer(behaviour) as server:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                outcome = await channel.cancel(orders(1)[0])
                events = [event async for event in channel.events]
        assert isinstance(outcome, Unresolved)
        assert [type(event) for event in events] == [Closed]
        assert isinstance(events[0], Closed)
        found.append((events[0], [outcome]))

    run(flavour, scenario)
    return found[0]


def test_a_frame_refused_by_httpx_ws_was_not_sent(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote = AsyncWebSocketSession.send_text

    async def send_text(self: AsyncWebSocketSession, data: str) -> None:
        if '"op":"trade"' in data:
            # As after a close frame that `run` has not reported yet.
            raise LocalProtocolError(
                "Event Message(...) cannot be sent in state ConnectionState.REMOTE_CLOSING."
            )
        await wrote(self, data)

    monkeypatch.setattr(AsyncWebSocketSession, "send_text", send_text)
    _, (outcome,) = ended(flavour, hostile_server.silence(After.LOGIN))
    assert not outcome.sent


def test_messages_arrive_without_the_shortcut_past_the_queue(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bypass_nothing(*_: object) -> None:
        """Leave messages in the queue."""

    monkeypatch.setattr(HttpxWebSocket, "_bypass_queue", bypass_nothing)
    test_cancels_to_an_app_in_process_have_one_outcome_each(flavour, "httpx")


def test_a_message_in_fragments_has_a_limit(flavour: Flavour) -> None:
    closed, _ = ended(flavour, hostile_server.endless_message(after=After.CANCEL))
    assert closed.detail == f"the exchange sent a message longer than {2**20} bytes"


def test_many_messages_do_not_exceed_the_limit_of_one(flavour: Flavour) -> None:
    batch = frame(TEXT, b'{"event":"push","arg":"%s"}' % (b"x" * 10_000))

    async def scenario() -> None:
        with HostileServer(then_write(batch * 300)) as server:
            limits = Limits(close_timeout=0.2, max_events=None)
            async with connect(KEY, url=server.url, config=FAST, limits=limits) as channel:
                seen = 0
                async for _ in channel.events:
                    seen += 1
                    if seen == 300:
                        break

    run(flavour, scenario)


def test_httpx_ws_sends_no_keepalive_pings(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[AsyncWebSocketSession] = []
    init = AsyncWebSocketSession.__init__

    def watched(self: AsyncWebSocketSession, *given: Any, **options: Any) -> None:
        init(self, *given, **options)
        made.append(self)

    monkeypatch.setattr(AsyncWebSocketSession, "__init__", watched)

    async def scenario() -> None:
        with HostileServer(hostile_server.silence(After.LOGIN)) as server:
            async with connect(KEY, url=server.url, limits=LIMITS):
                pass

    run(flavour, scenario)
    assert [session._keepalive_ping_interval_seconds for session in made] == [None]


@with_both
def test_the_login_is_not_sent_to_a_redirect_target(flavour: Flavour, library: str) -> None:
    async def scenario() -> None:
        with HostileServer(hostile_server.silence()) as other:

            def redirect(victim: hostile_server.Victim) -> None:
                victim.read_head()
                where = other.url.replace("ws:", "http:")
                victim.write(
                    f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()
                )
                victim.hold()

            with HostileServer(redirect) as server, pytest.raises(UpgradeRefused, match="302"):
                async with (
                    library_named(library).AsyncClient(follow_redirects=True) as client,
                    connect(KEY, url=server.url, limits=LIMITS, client=client),
                ):
                    pass
            assert other.connections == 0

    run(flavour, scenario)


@with_both
def test_a_clients_own_timeouts_do_not_end_a_quiet_connection(
    flavour: Flavour, library: str
) -> None:
    async def scenario() -> None:
        with HostileServer(hostile_server.silence(After.LOGIN)) as server:
            async with (
                library_named(library).AsyncClient(timeout=0.2) as client,
                connect(KEY, url=server.url, limits=LIMITS, client=client) as channel,
            ):
                await anyio.sleep(0.5)
                assert channel.capacity == 1000

    run(flavour, scenario)


PEERS: dict[str, hostile_server.Behaviour] = {
    "ends after the upgrade": hostile_server.end_of_stream(After.UPGRADE),
    "ends after the login": hostile_server.end_of_stream(After.LOGIN),
    "ends after a cancel": hostile_server.end_of_stream(After.CANCEL),
    "hangs up at once": hostile_server.hang_up_at_once(),
    "resets after the upgrade": hostile_server.reset(After.UPGRADE),
    "resets after the login": hostile_server.reset(After.LOGIN),
    "stops reading": hostile_server.stop_reading(After.LOGIN),
    "refuses": hostile_server.refuse(403, body=b"no"),
    "speaks no HTTP": hostile_server.not_http(),
    "accepts wrongly": hostile_server.wrong_accept(),
    "sends an endless message": hostile_server.endless_message(after=After.CANCEL),
    "sends garbage": upgrade_and(b"\xff\xff"),
    "sends half a frame": hostile_server.half_frame_then_end(After.CANCEL),
    "sends a stray pong": hostile_server.stray_pong(),
    "closes": then_write(frame(CLOSE, b"\x03\xe9away"), After.LOGIN),
}


@pytest.mark.parametrize("peer", PEERS)
def test_a_client_of_httpx2_says_the_same_as_one_of_httpx(flavour: Flavour, peer: str) -> None:
    libraries = [library_named("httpx"), library_named("httpx2")]
    said: list[list[str]] = []

    async def scenario() -> None:
        for library in libraries:
            said.append([])
            with HostileServer(PEERS[peer]) as server:
                async with library.AsyncClient() as client:
                    try:
                        async with connect(
                            KEY, url=server.url, config=FAST, limits=LIMITS, client=client
                        ) as channel:
                            outcome = await channel.cancel(orders(1)[0], timeout=0.3)
                            ended = (
                                isinstance(outcome, Unresolved)
                                and outcome.why is not WhyUnresolved.TIMEOUT
                            )
                            said[-1].append(f"{type(outcome).__name__}, {ended}")
                            if ended:
                                said[-1] += [repr(event) async for event in channel.events]
                    except ConnectFailed as error:
                        said[-1].append(f"{type(error).__name__}: {error}")
                port = server.url.rpartition(":")[2].partition("/")[0]
                said[-1] = [line.replace(port, "PORT") for line in said[-1]]

    run(flavour, scenario)
    assert said[0] == said[1]


@with_both
def test_orders_are_confirmed_through_the_callers_client(
    flavour: Flavour, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(Reconciler, config=ReconcilerConfig(settle=0.05))
    monkeypatch.setattr(confirmer, "Reconciler", quick)
    exchange = fast_exchange(1, credentials=KEY)
    exchange.inject(Fault.NO_PUSH)
    used: list[str] = []

    async def note(request: httpx.Request) -> None:
        used.append(request.url.path)

    async def scenario() -> None:
        with exchange_in_thread(exchange) as server:
            async with (
                library_named(library).AsyncClient(event_hooks={"request": [note]}) as client,
                connect(
                    KEY, url=server.url, config=FAST, limits=LIMITS, client=client, orders=True
                ) as channel,
            ):
                pairs = [pair async for pair in channel.cancel_all()]
                assert [type(final) for _, final in pairs] == [Cancelled]

    run(flavour, scenario)
    assert "/v2/ws/private" in used
    assert "/api/v2/spot/trade/unfilled-orders" in used


def test_other_clients_are_refused(flavour: Flavour) -> None:
    async def scenario() -> None:
        with httpx.Client() as client, pytest.raises(ValidationError, match="client must be an"):
            connect(KEY, url=URL, client=client)._make()  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    run(flavour, scenario)


class ResetInTheHandshake(httpx.AsyncBaseTransport):
    """Fails as httpcore does for a reset in the TLS handshake, while a read is pending."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reset = ConnectionResetError(ECONNRESET, "Connection reset by peer")
        reset.__context__ = ssl.SSLWantReadError(2, "The operation did not complete (read)")
        raise httpx.ConnectError("") from reset


def test_a_reset_in_the_tls_handshake_is_reported_as_the_end_of_the_connection(
    flavour: Flavour,
) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(transport=ResetInTheHandshake()) as client:
            with pytest.raises(
                ConnectFailed, match=r"ended the connection during the TLS handshake"
            ):
                async with connect(KEY, url="wss://exchange.test/ws", limits=LIMITS, client=client):
                    raise AssertionError("a channel was opened")

    run(flavour, scenario)
