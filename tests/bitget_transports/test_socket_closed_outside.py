"""Closing the caller's own socket ends the blocking channel as a lost connection does."""

from __future__ import annotations

import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from bitget_proto import CancelOrder, Credentials, Unresolved
from bitget_transports import Limits, blocking
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import HostileServer

if sys.platform == "win32":
    pytest.skip("Windows has no poll", allow_module_level=True)


ORDER = CancelOrder("BTCUSDT", order_id="1")


@contextmanager
def closed_outside() -> Generator[blocking.Channel]:
    with HostileServer(hostile_server.stray_pong()) as server:
        url = urlsplit(server.url)
        sock = socket.create_connection((url.hostname, url.port))
        with blocking.connect(
            Credentials("key", "secret", "passphrase"),
            url=server.url,
            allow_plaintext=True,
            sock=sock,
            limits=Limits(open_timeout=3.0, close_timeout=0.5),
        ) as channel:
            channel.cancel(ORDER)
            sock.close()
            yield channel


def test_a_cancel_after_the_socket_is_closed_is_unresolved() -> None:
    with closed_outside() as channel:
        outcome = channel.cancel(ORDER, timeout=1.0)
    assert isinstance(outcome, Unresolved)
    assert not outcome.sent


def test_exit_raises_nothing() -> None:
    with closed_outside():
        pass
