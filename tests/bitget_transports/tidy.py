"""Checks that a scenario leaves nothing behind, and more bad peers than `hostile_server` has.

with nothing_left():
    flavour.run(tidy(scenario))
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from unittest.mock import patch

import sniffio
import trio
import uvloop
from websockets.utils import accept_key

from bitget_proto.testing.framing import frame_head
from bitget_transports.faults import _victim, hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, Victim

from .colours import BOUND, T

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10

_DESCRIPTORS = Path("/proc/self/fd")

_Connect = TypeVar("_Connect")
"""`connect` or `open_session`."""

# The first uvloop event loop keeps a pipe open for the whole process.
uvloop.new_event_loop().close()


def _descriptors() -> set[tuple[str, str]]:
    if not _DESCRIPTORS.exists():  # only Linux lists them
        return set()
    found = set[tuple[str, str]]()
    for name in os.listdir(_DESCRIPTORS):
        try:
            found.add((name, os.readlink(_DESCRIPTORS / name)))
        except OSError:  # the descriptor of the listing itself
            continue
    return {
        (name, target)
        for name, target in found
        if target.startswith(("socket:", "pipe:", "anon_inode:"))
    }


def _threads() -> set[threading.Thread]:
    # trio keeps name lookup threads for ten seconds, for reuse.
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


def _too_long(number: int, at: FrameType | None) -> None:
    raise TimeoutError(f"the scenario did not end within {BOUND} s")


@contextmanager
def nothing_left() -> Generator[None]:
    """Fail if the body leaves a thread or a descriptor, or takes more than `BOUND` seconds.

    Anything unclosed that the garbage collector finds raises a ResourceWarning.
    """
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, BOUND)
    try:
        with _nothing_left():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


@contextmanager
def _nothing_left() -> Generator[None]:
    threads, descriptors = _threads(), _descriptors()
    # So that servers stop at once.
    with patch.object(hostile_server, "TICK", 0.005), patch.object(_victim, "TICK", 0.005):
        yield
    gc.collect()
    end = time.monotonic() + 5.0
    # The peer's threads are still ending. What one look finds is what counts: a peer may accept a
    # connection, and start a thread for it, after the client has closed it.
    while (
        left := {*(_threads() - threads), *(_descriptors() - descriptors)}
    ) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left


def tidy(
    scenario: Callable[[_Connect], Coroutine[Any, Any, T]],
) -> Callable[[_Connect], Coroutine[Any, Any, T]]:
    """Wrap a scenario to check that it leaves no task behind."""

    async def run(connect: _Connect) -> T:
        before = _tasks()
        result = await scenario(connect)
        if (left := _tasks() - before) > 0:
            raise AssertionError(f"{left} tasks were left behind")
        return result

    return run


def _tasks() -> int:
    library = sniffio.current_async_library_cvar.get() or _running()
    if library == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks()) if library == "asyncio" else 0


def _running() -> str | None:
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return None


# --- peers ---


def speaks_first(greeting: bytes) -> Behaviour:
    """Send a greeting at once, as SSH and mail servers do and HTTP servers do not."""

    def behave(victim: Victim) -> None:
        victim.write(greeting)
        victim.hold()

    return behave


def upgrade_and(more: bytes) -> Behaviour:
    """Send `more` in the same segment as the handshake, then keep reading."""

    def behave(victim: Victim) -> None:
        victim.write(upgraded(victim.read_head()) + more)
        victim.hold()

    return behave


def upgraded(head: bytes) -> bytes:
    """Return the response to an upgrade request."""
    lines = (line.split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
    key = {name.strip().lower(): value.strip() for name, value in lines}[b"sec-websocket-key"]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key.decode()).encode() + b"\r\n\r\n"
    )


def then_write(data: bytes, after: After = After.LOGIN) -> Behaviour:
    """Behave well up to `after`, then write these bytes and keep reading."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        victim.write(data)
        victim.hold()

    return behave


def then_write_without_end(data: bytes, after: After = After.LOGIN) -> Behaviour:
    """Behave well up to `after`, then write these bytes repeatedly and read nothing."""

    def behave(victim: Victim) -> None:
        victim.reach(after)
        batch = data * (1 + 65_536 // len(data))
        while True:
            victim.write(batch)

    return behave


def frame(opcode: int, data: bytes, *, final: bool = True) -> bytes:
    """Return an unmasked frame, as a server sends it."""
    return frame_head(opcode, len(data), final=final) + data


def masked(opcode: int, data: bytes) -> bytes:
    """Return a short masked frame, which only a client may send."""
    return bytes((0x80 | opcode, 0x80 | len(data))) + bytes(4) + data
