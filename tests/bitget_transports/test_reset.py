"""An aborted socket discards the data in the kernel's buffer, even if the peer reads again."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from bitget_proto import Config, WhyClosed
from bitget_transports import Limits
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

from .colours import BOUND, KEY, Connect, Flavour
from .endings import closed
from .tidy import nothing_left, tidy

_LARGE = 200_000
"""Bytes: more than the peer's kernel buffers unread, and less than this side's kernel does."""


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize(
    ("size", "config", "limits", "why"),
    [
        # As far as this side knows, the frame was sent.
        (
            _LARGE,
            Config(ping_interval=0.1, pong_timeout=0.2),
            Limits(write_timeout=None),
            WhyClosed.NO_PONG,
        ),
        # The frame is sent in part.
        (2**24, Config(), Limits(write_timeout=0.2), WhyClosed.LOST),
    ],
    ids=["no pong", "write timeout"],
)
def test_data_in_the_kernel_is_not_delivered_after_an_abort(
    flavour: Flavour, size: int, config: Config, limits: Limits, why: WhyClosed
) -> None:
    again, done = threading.Event(), threading.Event()
    received: list[bytes] = []

    def stop_and_read_again(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        again.wait(BOUND)
        victim._socket.settimeout(BOUND)
        with suppress(ConnectionError):
            while data := victim._socket.recv(65536):
                received.append(data)
        done.set()

    with nothing_left(), HostileServer(stop_and_read_again) as server:
        assert server._listener is not None
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        async def scenario(connect: Connect) -> WhyClosed:
            async with connect(KEY, url=server.url, config=config, limits=limits) as channel:
                await channel.send("x" * size)
                return (await closed(channel))[0]

        assert flavour.run(tidy(scenario)) is why
        again.set()
        assert done.wait(BOUND)
    assert len(b"".join(received)) < _LARGE
