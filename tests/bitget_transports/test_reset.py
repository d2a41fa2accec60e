"""A socket that is aborted delivers nothing more, although the system held it and the other side reads again."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from bitget_proto import Config, WhyClosed
from bitget_transports import Limits
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

from .colours import BOUND, KEY, Colour, Connect
from .endings import closed
from .tidy import nothing_left, tidy

_LARGE = 200_000
"""Bytes: more than the other side's system takes in without being read, and less than this side's does."""


@pytest.mark.parametrize("colour", Colour)
@pytest.mark.parametrize(
    ("size", "config", "limits", "why"),
    [
        # It has left, as far as is known here.
        (
            _LARGE,
            Config(ping_interval=0.1, pong_timeout=0.2),
            Limits(write_timeout=None),
            WhyClosed.NO_PONG,
        ),
        # It leaves in part.
        (2**24, Config(), Limits(write_timeout=0.2), WhyClosed.LOST),
    ],
    ids=["no pong", "nothing leaves"],
)
def test_what_the_system_holds_when_a_link_is_found_dead_is_never_delivered(
    colour: Colour, size: int, config: Config, limits: Limits, why: WhyClosed
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

        assert colour.run(tidy(scenario)) is why
        again.set()
        assert done.wait(BOUND)
    assert len(b"".join(received)) < _LARGE
