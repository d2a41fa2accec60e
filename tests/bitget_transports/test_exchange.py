"""The embedded exchange with the client of websockets.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

from bitget_proto import CancelOrder, Codec, Credentials, encode_cancel, sign_login
from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports.exchange import ExchangeServer, ExchangeThread, exchange_in_thread

KEY = Credentials("key", "secret", "passphrase")
ORDER = CancelOrder("BTCUSDT", order_id="1")
BOUND = 10.0


def dial(server: ExchangeThread) -> ClientConnection:
    return connect(
        server.url, ping_interval=None, proxy=None, open_timeout=BOUND, close_timeout=BOUND
    )


def ask(client: ClientConnection, text: str) -> Any:
    client.send(text)
    answer = client.recv(timeout=BOUND)
    return answer if answer == "pong" else json.loads(answer)


def log_in(client: ClientConnection, credentials: Credentials = KEY) -> Any:
    return ask(client, Codec().encode_login(sign_login(credentials, int(time.time()))))


def test_a_real_client_logs_in_and_cancels_an_order() -> None:
    with (
        exchange_in_thread(ScriptedExchange([ORDER], credentials=KEY)) as server,
        dial(server) as client,
    ):
        assert log_in(client) == {"event": "login", "code": 0}
        assert ask(client, "ping") == "pong"
        answer = ask(client, encode_cancel(ORDER, "7"))
        assert (answer["event"], answer["code"], answer["arg"][0]["id"]) == ("trade", 0, "7")
        assert abs(answer["ts"] / 1000 - time.time()) < 60.0
        assert server.connections == 1
        assert [act.cancelled for act in server.exchange.log] == [True]
        assert repr(server) == f"<ExchangeThread {server.url}>"


def test_a_refused_login_ends_with_a_close_frame() -> None:
    with exchange_in_thread(ScriptedExchange(credentials=KEY)) as server, dial(server) as client:
        answer = log_in(client, Credentials("key", "another secret", "passphrase"))
        assert answer == {"event": "error", "code": 30015, "msg": "Invalid sign"}
        with pytest.raises(ConnectionClosedOK):
            client.recv(timeout=BOUND)


def test_a_delayed_answer_is_sent_without_further_input() -> None:
    exchange = ScriptedExchange([ORDER], late_by=0.05)
    exchange.inject(Fault.LATE)
    with exchange_in_thread(exchange) as server, dial(server) as client:
        log_in(client)
        assert ask(client, encode_cancel(ORDER, "1"))["code"] == 0


def test_a_drop_is_without_a_close_frame_and_after_the_cancel() -> None:
    exchange = ScriptedExchange([ORDER])
    exchange.inject(Fault.DROP_AFTER)
    with exchange_in_thread(exchange) as server, dial(server) as client:
        log_in(client)
        client.send(encode_cancel(ORDER, "1"))
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=BOUND)
        assert [act.cancelled for act in exchange.log] == [True]


def test_a_message_is_sent_to_every_client() -> None:
    with exchange_in_thread() as server, dial(server) as one, dial(server) as other:
        ask(one, "ping")
        ask(other, "ping")
        server.say('{"event":"error","code":30033,"msg":"going away"}')
        for client in (one, other):
            assert json.loads(client.recv(timeout=BOUND))["code"] == 30033


def test_a_drop_ends_every_connection() -> None:
    with exchange_in_thread() as server, dial(server) as client:
        ask(client, "ping")
        server.drop()
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=BOUND)


def test_an_exchange_that_stops_reading_keeps_the_socket_open() -> None:
    with exchange_in_thread() as server, dial(server) as client:
        ask(client, "ping")
        server.stop_reading()
        client.send("ping")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.2)
        server.drop()
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=BOUND)


def test_an_exchange_that_stops_reading_ignores_new_clients_too() -> None:
    with exchange_in_thread() as server:
        server.stop_reading()
        with dial(server) as client:
            client.send("ping")
            with pytest.raises(TimeoutError):
                client.recv(timeout=0.2)
            server.drop()


def test_unexpected_messages_are_answered_and_do_not_disconnect() -> None:
    with exchange_in_thread() as server, dial(server) as client:
        assert ask(client, '{"op":"subscribe","args":[]}')["code"] == 30001
        assert client.ping().wait(BOUND)
        assert ask(client, "ping") == "pong"


def test_exit_disconnects_the_clients_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        with exchange_in_thread() as server:
            client = stack.enter_context(dial(server))
            ask(client, "ping")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=BOUND)
    assert set(threading.enumerate()) <= before
    with pytest.raises(RuntimeError, match="the exchange is not running"):
        server.server.url  # noqa: B018 - the access raises
    assert repr(server.server) == "<ExchangeServer, not running>"


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=r"(?i)address already in use"),
            exchange_in_thread(port=port),
        ):
            raise AssertionError("it must not start")


def test_an_error_in_the_body_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), exchange_in_thread():
        raise ZeroDivisionError


def test_it_runs_in_an_event_loop_too() -> None:
    async def main() -> None:
        async with ExchangeServer(ScriptedExchange([ORDER])) as server:
            assert repr(server) == f"<ExchangeServer {server.url}>"
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", int(server.url.split(":")[2].split("/")[0])
            )
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 426 ")
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_without_websockets_the_import_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "websockets.server", None)
    monkeypatch.delitem(sys.modules, "bitget_transports.exchange")
    with pytest.raises(ImportError, match=r"pip install 'bitget-proto\[exchange\]'"):
        importlib.import_module("bitget_transports.exchange")


def test_a_program_ends_although_it_never_left_the_context() -> None:
    """As the tutorial after its second step, or a program that ends with an exception."""
    program = (
        "from bitget_transports.exchange import exchange_in_thread\n"
        "entered = exchange_in_thread()\n"
        "entered.__enter__()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], timeout=BOUND, check=False)
    assert ran.returncode == 0
