"""The blocking transport's own selector says what `selectors.PollSelector` says."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no poll", allow_module_level=True)

from bitget_transports.blocking._poll import Poll

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def seen(
    selector: selectors.BaseSelector, sock: socket.socket, events: int
) -> list[tuple[object, int]]:
    """What it says of the socket at once."""
    with selector:
        selector.register(sock, events, "data")
        return [(key.data, said) for key, said in selector.select(0.0)]


@pytest.mark.parametrize("events", [READ, WRITE, READ | WRITE])
@pytest.mark.parametrize(
    "happened", ["nothing", "a message", "an end", "a shutdown", "a full buffer"]
)
def test_what_is_ready_is_what_selectors_says(
    pair: tuple[socket.socket, socket.socket], events: int, happened: str
) -> None:
    ours, theirs = pair
    if happened == "a message":
        theirs.send(b"x")
    elif happened == "an end":
        theirs.close()
    elif happened == "a shutdown":
        theirs.shutdown(socket.SHUT_WR)
    elif happened == "a full buffer":
        ours.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65536)
    assert seen(Poll(), ours, events) == seen(selectors.PollSelector(), ours, events)


def test_a_socket_is_changed_and_forgotten(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    with Poll() as selector:
        registered = selector.register(ours, WRITE, 1)
        assert dict(selector.get_map()) == {ours.fileno(): registered}
        selector.modify(ours, READ, 2)
        assert [(key.fileobj, key.data, said) for key, said in selector.select(None)] == [
            (ours, 2, READ)
        ]
        assert selector.unregister(ours).data == 2
        assert selector.select(0.0) == []
        with pytest.raises(KeyError):
            selector.unregister(ours)


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 1e-9, 0.001])
def test_a_wait_ends_without_news(
    pair: tuple[socket.socket, socket.socket], timeout: float
) -> None:
    with Poll() as selector:
        selector.register(pair[0], READ)
        assert selector.select(timeout) == []
