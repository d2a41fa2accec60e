"""The embedded exchange on real sockets; each wait is bounded."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import trustme
import uvloop
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from bitget_proto import CancelOrder, Codec, Credentials, ValidationError, encode_cancel, sign_login
from bitget_proto.testing import ABORT, ExchangeConfig, Fault, ScriptedExchange, SeenFrame
from bitget_transports.exchange import ExchangeServer, ExchangeThread, exchange_in_thread

KEY = Credentials("key", "secret", "passphrase")
ORDER = CancelOrder("BTCUSDT", order_id="1")
BOUND = 10.0
HEAD = (
    b"GET /any/path HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Check that no thread or socket is left: an unclosed socket warns when it is collected."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
    gc.collect()


def dial(server: ExchangeThread) -> ClientConnection:
    return connect(
        server.url, ping_interval=None, proxy=None, open_timeout=BOUND, close_timeout=BOUND
    )


def plain(server: ExchangeThread | ExchangeServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=BOUND)


def upgraded(server: ExchangeThread) -> socket.socket:
    client = plain(server)
    client.sendall(HEAD)
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        seen += client.recv(1)
    assert seen.startswith(b"HTTP/1.1 101 ")
    return client


def frame(text: str, *, opcode: Opcode = Opcode.TEXT, final: bool = True) -> bytes:
    return bytes(Frame(opcode, text.encode(), final).serialize(mask=True))


def ended(client: socket.socket) -> bool:
    """Read until the connection ends, with or without a reset."""
    with suppress(ConnectionError):
        while client.recv(65536):
            pass
    return True


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + BOUND
    while not holds():
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.001)


def log_in(client: ClientConnection) -> None:
    client.send(Codec().encode_login(sign_login(KEY, int(time.time()))))
    assert json.loads(client.recv(timeout=BOUND)) == {"event": "login", "code": 0}


# --- TLS ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # No session ticket after the handshake: websockets' client reads it in one thread and writes in
    # another, which OpenSSL does not allow, so it sometimes hangs.
    context.num_tickets = 0
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def test_it_serves_tls_as_localhost(authority: trustme.CA, tls: ssl.SSLContext) -> None:
    with exchange_in_thread(ScriptedExchange([ORDER]), tls=tls) as server:
        assert server.url.startswith("wss://localhost:")
        with connect(
            server.url, ssl=trusting(authority), proxy=None, ping_interval=None, open_timeout=BOUND
        ) as client:
            log_in(client)
            client.send(encode_cancel(ORDER, "1"))
            assert json.loads(client.recv(timeout=BOUND))["code"] == 0


def test_hang_up_sends_a_close_code_over_tls(authority: trustme.CA, tls: ssl.SSLContext) -> None:
    with (
        exchange_in_thread(tls=tls) as server,
        connect(
            server.url, ssl=trusting(authority), proxy=None, ping_interval=None, open_timeout=BOUND
        ) as client,
    ):
        server.hang_up(1001, "maintenance")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=BOUND)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001


def test_a_failed_tls_handshake_is_not_a_server_error(
    tls: ssl.SSLContext,
) -> None:
    with exchange_in_thread(tls=tls) as server:
        with (
            pytest.raises(ssl.SSLCertVerificationError),
            connect(server.url, proxy=None, open_timeout=BOUND),
        ):
            pass
        with plain(server) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert ended(client)
        assert server.connections == 0


def test_an_unfinished_tls_handshake_does_not_block_exit(tls: ssl.SSLContext) -> None:
    with exchange_in_thread(tls=tls) as server:
        client = plain(server)
        client.sendall(b"\x16\x03\x01")
        until(lambda: bool(server.call(lambda: len(server.server._handshakes))))
    with client:
        assert ended(client)


# --- run-time control of how connections begin and end ---


@pytest.mark.parametrize(("status", "retry_after"), [(403, None), (429, 60)])
def test_the_given_number_of_handshakes_is_refused_with_a_status(
    status: int, retry_after: int | None
) -> None:
    with exchange_in_thread() as server:
        server.refuse_handshakes(2, status, retry_after=retry_after)
        for _ in range(2):
            with pytest.raises(InvalidStatus) as caught, dial(server):
                pass
            assert caught.value.response.status_code == status
            said = caught.value.response.headers.get("Retry-After")
            assert said == (None if retry_after is None else str(retry_after))
        with dial(server):
            assert server.connections == 1


@pytest.mark.parametrize("status", [101, 200, 302, 1000])
def test_an_invalid_refusal_status_is_refused_and_changes_nothing(status: int) -> None:
    with exchange_in_thread() as server:
        with pytest.raises(ValidationError, match=str(status)):
            server.refuse_handshakes(1, status)
        with dial(server):
            pass


def test_hang_up_closes_every_connection_with_a_code() -> None:
    with exchange_in_thread() as server, dial(server) as one, dial(server) as other:
        server.hang_up(4001, "é" * 100)
        for client in (one, other):
            with pytest.raises(ConnectionClosedError) as caught:
                client.recv(timeout=BOUND)
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "é" * 61)
        until(lambda: server.connections == 0)


def test_hang_up_with_abort_sends_no_close_frame() -> None:
    with exchange_in_thread() as server, dial(server) as client:
        server.hang_up(ABORT)
        with pytest.raises(ConnectionClosedError) as caught:
            client.recv(timeout=BOUND)
        assert caught.value.rcvd is None


@pytest.mark.parametrize("code", [0, 999, 1005, 2999, 5000])
def test_an_invalid_close_code_is_refused_and_changes_nothing(code: int) -> None:
    with exchange_in_thread() as server, dial(server) as client:
        with pytest.raises(
            ValueError, match=rf"^code must be one that a close frame may carry, .*; got {code}$"
        ):
            server.hang_up(code)
        client.send("ping")
        assert client.recv(timeout=BOUND) == "pong"


def test_hang_up_disconnects_clients_without_a_websocket() -> None:
    with exchange_in_thread() as server, plain(server) as client:
        until(lambda: bool(server.server._state.clients))
        assert server.connections == 0
        server.hang_up()
        assert ended(client)


def test_a_client_that_does_not_answer_the_close_frame_is_dropped() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        server.hang_up()
        server.hang_up()
        server.say("too late")
        assert client.recv(1000) == b"\x88\x07" + struct.pack("!H", 1001) + b"asked"
        began = time.monotonic()
        assert ended(client)
        until(lambda: not server.server._state.clients)
        assert time.monotonic() - began < 3.0


def test_resume_reading_answers_what_was_not_read() -> None:
    with exchange_in_thread() as server, dial(server) as client:
        server.stop_reading()
        client.send("ping")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)
        server.resume_reading()
        assert client.recv(timeout=BOUND) == "pong"


def test_faults_and_orders_can_be_added_at_run_time() -> None:
    with exchange_in_thread() as server, dial(server) as client:
        server.inject_login(Fault.GARBAGE)
        client.send(Codec().encode_login(sign_login(KEY, int(time.time()))))
        assert [client.recv(timeout=BOUND) for _ in range(2)] == [
            "<html>",
            '{"event":"login","code":0}',
        ]
        server.place(ORDER, CancelOrder("BTCUSDT", order_id="2"))
        server.inject(Fault.DUPLICATE)
        client.send(encode_cancel(ORDER, "1"))
        first, second = client.recv(timeout=BOUND), client.recv(timeout=BOUND)
        assert first == second
        assert server.call(lambda: server.exchange.live) == (CancelOrder("BTCUSDT", order_id="2"),)
        assert 0.0 < server.now() < 60.0


def test_an_error_in_a_called_function_is_raised_to_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with exchange_in_thread() as server:
        with pytest.raises(ZeroDivisionError):
            server.call(fail)
        with dial(server):
            pass


def test_a_method_called_after_the_end_raises_runtime_error() -> None:
    with exchange_in_thread() as server:
        pass
    with pytest.raises(RuntimeError, match="its context has been left"):
        server.drop()


def test_no_log_at_any_level_shows_what_a_client_sends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with exchange_in_thread() as server, upgraded(server) as client:
        client.sendall(frame(Codec().encode_login(sign_login(KEY, int(time.time())))))
        assert b'"login"' in client.recv(1000)
    assert "apiKey" not in caplog.text


# --- run-time control of behaviour ---


def login_code(server: ExchangeThread, key: str = "key") -> int:
    """Log in on a new connection and return the code of the answer."""
    with dial(server) as client:
        client.send(
            Codec().encode_login(
                sign_login(Credentials(key, "secret", "passphrase"), int(time.time()))
            )
        )
        code: int = json.loads(client.recv(timeout=BOUND))["code"]
        return code


def test_logins_can_be_refused_by_count_or_per_account() -> None:
    with exchange_in_thread() as server:
        server.refuse_logins(2, "40725")
        assert [login_code(server) for _ in range(3)] == [40725, 40725, 0]
        server.refuse_second_logins()
        with dial(server) as first:
            log_in(first)
            assert [login_code(server), login_code(server, "another")] == [30005, 0]
            server.refuse_second_logins(None)
            assert login_code(server) == 0


def test_a_login_refused_in_maintenance_can_keep_its_socket() -> None:
    with exchange_in_thread() as server:
        server.maintenance(codes=["40015"], stay=True)
        with dial(server) as client:
            client.send(Codec().encode_login(sign_login(KEY, int(time.time()))))
            assert json.loads(client.recv(timeout=BOUND))["code"] == 40015
            server.end_maintenance()
            log_in(client)


def test_maintenance_sends_a_notice_drops_links_and_refuses_logins() -> None:
    with exchange_in_thread() as server:
        with dial(server) as one, dial(server) as other:
            log_in(one)
            log_in(other)
            server.maintenance(grace=0.05)
            for client in (one, other):
                assert json.loads(client.recv(timeout=BOUND))["code"] == 30033
                with pytest.raises(ConnectionClosedError) as caught:
                    client.recv(timeout=BOUND)
                assert caught.value.rcvd is None
        assert [login_code(server) for _ in range(2)] == [45001, 40010]
        server.end_maintenance()
        assert login_code(server) == 0


def test_maintenance_ends_by_itself() -> None:
    with exchange_in_thread() as server:
        server.maintenance(seconds=0.2, codes=["40015"])
        assert login_code(server) == 40015
        until(lambda: login_code(server) == 0)


def test_a_slow_exchange_sends_everything_late_and_in_order() -> None:
    with exchange_in_thread(ScriptedExchange([ORDER])) as server, dial(server) as client:
        log_in(client)
        server.slow_down(0.2)
        began = time.monotonic()
        client.send(encode_cancel(ORDER, "1"))
        client.send("ping")
        assert json.loads(client.recv(timeout=BOUND))["code"] == 0
        assert client.recv(timeout=BOUND) == "pong"
        assert 0.2 <= time.monotonic() - began < BOUND
        server.slow_down(0)
        client.send("ping")
        assert client.recv(timeout=BOUND) == "pong"


def test_a_slow_exchange_closes_late_too() -> None:
    seen: list[SeenFrame] = []
    with (
        exchange_in_thread(ScriptedExchange(on_frame=seen.append)) as server,
        dial(server) as client,
    ):
        server.slow_down(0.1)
        client.send("ping")
        until(lambda: bool(seen))
        server.hang_up(4001, "enough")
        assert client.recv(timeout=BOUND) == "pong"
        with pytest.raises(ConnectionClosedError) as caught:
            client.recv(timeout=BOUND)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4001


def test_held_messages_are_released_together() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        server.hold()
        client.sendall(frame("ping") * 3)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1000)
        client.settimeout(BOUND)
        server.release()
        assert client.recv(1000) == b"\x81\x04pong" * 3


def test_a_silent_exchange_answers_neither_pings_nor_a_close_frame() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        server.go_silent()
        client.sendall(
            frame("ping") + frame("beat", opcode=Opcode.PING) + b"\x88\x80\x00\x00\x00\x00"
        )
        client.settimeout(1.5)  # longer than a client has to answer a close frame
        with pytest.raises(TimeoutError):
            client.recv(1000)
        with upgraded(server) as late:
            late.settimeout(0.1)
            late.sendall(frame("ping"))
            with pytest.raises(TimeoutError):
                late.recv(1000)
            server.speak()
            late.settimeout(BOUND)
            late.sendall(frame("ping"))
            assert late.recv(1000) == b"\x81\x04pong"


@pytest.mark.parametrize("acts", [False, True])
def test_a_silent_exchange_still_cancels_on_request(*, acts: bool) -> None:
    exchange = ScriptedExchange([ORDER])
    with exchange_in_thread(exchange) as server, dial(server) as client:
        log_in(client)
        server.go_silent(acts=acts)
        client.send(encode_cancel(ORDER, "1"))
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.2)
        assert [act.cancelled for act in exchange.log] == [True] * acts
        server.drop()


def test_orders_are_placed_and_cancelled_under_the_same_id() -> None:
    place = {
        "id": "7",
        "instType": "SPOT",
        "instId": "BTCUSDT",
        "channel": "place-order",
        "params": {"orderType": "market", "side": "buy", "size": "10"},
    }
    with exchange_in_thread() as server, dial(server) as client:
        log_in(client)
        client.send(json.dumps({"op": "trade", "args": [place]}))
        answer = json.loads(client.recv(timeout=BOUND))
        order_id = answer["arg"][0]["params"]["orderId"]
        client.send(encode_cancel(CancelOrder("BTCUSDT", order_id=order_id), "7"))
        second = json.loads(client.recv(timeout=BOUND))
        assert [one["arg"][0]["channel"] for one in (answer, second)] == [
            "place-order",
            "cancel-order",
        ]
        assert (answer["code"], second["code"]) == (0, 0)


def test_the_eleventh_message_in_a_second_ends_the_connection() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        client.sendall(frame("ping") * 11)
        seen = b""
        with suppress(ConnectionError):
            while data := client.recv(1000):
                seen += data
        assert seen.count(b"pong") == 10
        assert b"30007" in seen


# --- what clients send ---


def test_fragments_are_joined_and_a_ping_between_them_is_answered() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        for data in (
            frame("p", final=False),
            frame("", opcode=Opcode.CONT, final=False),
            frame("beat", opcode=Opcode.PING),
            frame("ing", opcode=Opcode.CONT),
            frame("ping", opcode=Opcode.BINARY),
        ):
            client.sendall(data)
        wanted = b"\x8a\x04beat" + b"\x81\x04pong" * 2
        seen = b""
        while len(seen) < len(wanted):
            seen += client.recv(1000)
        assert seen == wanted


def test_a_message_that_is_too_long_ends_the_connection_with_1009() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        client.sendall(b"\x81\xff" + struct.pack("!Q", 2**40) + b"\x00" * 4)
        assert client.recv(4)[2:] == struct.pack("!H", 1009)


def test_a_cancel_just_before_a_close_takes_effect_without_an_answer() -> None:
    exchange = ScriptedExchange([ORDER])
    with exchange_in_thread(exchange) as server, upgraded(server) as client:
        login = Codec().encode_login(sign_login(KEY, int(time.time())))
        client.sendall(
            frame(login) + frame(encode_cancel(ORDER, "1")) + b"\x88\x80\x00\x00\x00\x00"
        )
        assert client.recv(1000) == b"\x88\x00"
        assert ended(client)
        assert [act.cancelled for act in exchange.log] == [True]


def test_a_client_that_half_closes_is_disconnected() -> None:
    with exchange_in_thread() as server, upgraded(server) as client:
        until(lambda: server.connections == 1)
        client.shutdown(socket.SHUT_WR)
        assert ended(client)
        until(lambda: not server.server._state.clients)


def test_a_client_that_does_not_speak_http_is_disconnected() -> None:
    with exchange_in_thread() as server, plain(server) as client:
        client.sendall(b"\x00\x01\r\n\r\n")
        assert ended(client)


def test_a_client_without_limits_cancels_ten_thousand_orders_quickly() -> None:
    count = 10_000
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(count)]
    config = ExchangeConfig(messages_per_second=None, max_in_flight=None)
    exchange = ScriptedExchange(orders, config=config, cancels_per_second=None)
    with exchange_in_thread(exchange) as server, upgraded(server) as client:
        client.sendall(frame(Codec().encode_login(sign_login(KEY, int(time.time())))))
        assert b'"login"' in client.recv(1000)
        data = b"".join(
            frame(encode_cancel(order, str(number))) for number, order in enumerate(orders)
        )
        writer = threading.Thread(target=client.sendall, args=[data])
        writer.start()
        answers = b""
        while answers.count(b'"Success"') < count:
            answers += client.recv(2**20)
        writer.join()
        assert sum(act.cancelled for act in exchange.log) == count


def test_a_client_that_does_not_read_is_dropped_in_bounded_memory() -> None:
    config = ExchangeConfig(messages_per_second=None)
    with (
        exchange_in_thread(ScriptedExchange(config=config), write_timeout=0.3) as server,
        upgraded(server) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(20):
            server.say("x" * 1_000_000)
        with pytest.raises(ConnectionError):
            # More than all buffers hold: the server does not read while the client does not.
            client.sendall(frame("ping") * 2_000_000)
        until(lambda: server.connections == 0)
        with dial(server) as other:
            other.send("ping")
            assert other.recv(timeout=BOUND) == "pong"


def test_a_client_that_reads_late_gets_everything() -> None:
    config = ExchangeConfig(messages_per_second=None)
    with exchange_in_thread(ScriptedExchange(config=config)) as server, upgraded(server) as client:
        said = "x" * 1_000_000
        for _ in range(10):
            server.say(said)
        client.sendall(frame("ping"))
        wanted, seen = 10 * (len(said) + 10) + 6, 0
        while seen < wanted:
            seen += len(client.recv(65536))
        assert seen == wanted


# --- failures and cleanup ---


class Broken(ScriptedExchange):
    """An exchange that raises at each login."""

    def wall_clock(self, now: float) -> float:
        raise ZeroDivisionError


def break_it(server: ExchangeThread) -> None:
    with dial(server) as client:
        client.send(Codec().encode_login(sign_login(KEY, int(time.time()))))
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=BOUND)


def test_an_error_in_the_server_is_raised_on_exit() -> None:
    with pytest.raises(ZeroDivisionError), exchange_in_thread(Broken(credentials=KEY)) as server:
        break_it(server)


def test_server_errors_are_grouped_with_the_body_error_as_context() -> None:
    exchange = Broken(credentials=KEY)
    with pytest.raises(ExceptionGroup) as caught, exchange_in_thread(exchange) as server:  # noqa: PT012
        break_it(server)
        break_it(server)
        raise KeyError
    assert [type(error) for error in caught.value.exceptions] == [
        ZeroDivisionError,
        ZeroDivisionError,
    ]
    assert isinstance(caught.value.__context__, KeyError)


def test_an_error_in_the_listener_is_raised_on_exit() -> None:
    async def main() -> None:
        async with ExchangeServer() as server:
            loop = asyncio.get_running_loop()
            accept = loop.sock_accept

            async def fail(listener: socket.socket) -> tuple[socket.socket, object]:
                accepted, _ = await accept(listener)
                accepted.close()
                raise ZeroDivisionError

            loop.sock_accept = fail  # type: ignore[method-assign,assignment]
            for _ in range(2):
                with plain(server):
                    await asyncio.sleep(0.05)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_exit_with_clients_in_every_state_leaves_no_task(run: Callable[..., None]) -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        async with ExchangeServer() as server:
            port = urlsplit(server.url).port
            clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for _, writer in clients[1:]:
                writer.write(HEAD)
            clients[2][1].write(frame("ping") * 3)
            assert (await clients[2][0].readuntil(b"pong")).endswith(b"\x81\x04pong")
            server.stop_reading()
            clients[2][1].write(frame("ping") * 3)
        for reader, writer in clients:
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), BOUND)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        assert asyncio.all_tasks() == before

    run(main())


def test_cancelling_the_server_leaves_no_task() -> None:
    async def serve(up: asyncio.Event) -> None:
        async with ExchangeServer() as server:
            _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port)
            try:
                up.set()
                await asyncio.sleep(BOUND)
            finally:
                writer.close()

    async def main() -> None:
        up = asyncio.Event()
        task = asyncio.create_task(serve(up))
        await up.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_exit_works_when_its_own_port_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect_ex(sock: socket.socket, address: object) -> int:
        return errno.ENETUNREACH

    with exchange_in_thread():
        monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
