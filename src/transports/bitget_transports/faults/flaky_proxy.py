"""A TCP proxy on loopback that breaks connections as networks do.

    with FlakyProxy(server.url, [Treatment(fault=NetworkFault.RESET, after=1000)]) as proxy:
        ...  # connect any client to proxy.url

The plan is a list of `Treatment`, one for each connection in order; later connections are passed on
unchanged. `random_plan` makes a plan from a seed, so that a run can be repeated. Bytes are counted
separately in each direction, from the first byte of the handshake.

Corruption is always detectable: it sets reserved bits in a frame header, or puts a NUL into the
handshake. A flipped bit inside a JSON text could leave valid JSON, which no client could detect;
TLS prevents that, and this proxy does not do it.

The proxy uses one thread and bounded memory, and closes everything when its context exits.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import copy
from enum import Enum
from math import inf
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import attrs

from ._fragments import Fragments

_READ = 2**14
_HELD = 2**16
"""Bytes that are buffered per direction; beyond them nothing is read."""

_CONNECT_TIMEOUT = 2.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: closing resets the connection."""

_RESERVED = 0x70
"""The reserved bits of a frame's first byte (RFC 6455, 5.2)."""


class Way(Enum):
    """A direction of a connection."""

    OUT = "out"
    """From the client to the exchange."""

    BACK = "back"
    """From the exchange to the client."""


class NetworkFault(Enum):
    """A fault of a connection, applied once."""

    CLOSE = "close"
    """Both sides see the end of the stream, possibly in the middle of a frame."""

    RESET = "reset"
    """Both sides see a reset."""

    STALL = "stall"
    """No more bytes are passed on in this direction; the other direction continues."""

    CORRUPT = "corrupt"
    """The next frame header has reserved bits set, or the handshake has a NUL."""


@attrs.frozen(kw_only=True)
class Treatment:
    """What the proxy does to one connection."""

    piece: int | None = None
    """Bytes that are passed on at a time; None passes them on as they come."""

    fragment: int | None = None
    """Bytes of each fragment into which messages from the exchange are cut, with an empty fragment
    before each; None passes messages on as they come. Not for TLS. A message is kept until it is
    complete.
    """

    delay: float = 0.0
    """Seconds by which all data is delayed."""

    fault: NetworkFault | None = None
    way: Way = Way.BACK
    """The direction whose bytes are counted for the fault, and which stalls."""

    after: int = 0
    """How many bytes are passed on in that direction before the fault."""

    stall: float = 10.0
    """Seconds after which a stalled connection is reset, as on a route that stays dead."""


_LEFT_ALONE = Treatment()


def random_plan(
    seed: int,
    cuts: int,
    mean: int,
    faults: Iterable[tuple[NetworkFault, int]] = (
        (NetworkFault.RESET, 4),
        (NetworkFault.CLOSE, 4),
        (NetworkFault.CORRUPT, 1),
        (NetworkFault.STALL, 1),
    ),
) -> Iterator[Treatment]:
    """Yield `cuts` treatments with a fault each, after `mean` bytes on average.

    One in ten comes after fewer than 300 bytes, so in the handshake or shortly after it.

    `faults` are the faults to choose from, with their relative weights.
    """
    chance = random.Random(seed)  # noqa: S311 - a plan is not a secret
    fragments = random.Random(f"fragments {seed}")  # noqa: S311
    names, weights = zip(*faults, strict=True)
    for _ in range(cuts):
        yield Treatment(
            piece=chance.choice((None, None, None, 1, 7, 50, 200)),
            fragment=fragments.choice((None, None, None, 1, 10)),
            delay=chance.choice((0.0, 0.0, 0.0, 0.0001, 0.001)),
            fault=chance.choices(names, weights)[0],
            way=chance.choice(tuple(Way)),
            after=chance.randrange(2 * mean) if chance.random() > 0.1 else chance.randrange(300),
        )


class FlakyProxy:
    """A proxy between its clients and the server at `url`.

    Use it as in `with FlakyProxy(url, plan) as proxy: proxy.url`.
    """

    def __init__(self, url: str, plan: Iterable[Treatment] = ()) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._url = parts
        self._plan = iter(plan)
        self._selector = selectors.DefaultSelector()
        self._wired: set[_Wire] = set()
        self._calls: deque[Callable[[], object]] = deque()
        self._failure: BaseException | None = None
        self._running = False
        self.connections = 0
        """How many connections were accepted."""
        self.befallen: Counter[NetworkFault] = Counter()
        """How many faults were applied, by kind."""

    @property
    def url(self) -> str:
        """The server's URL with this proxy's port.

        Raises: RuntimeError outside the context.
        """
        self._check_running()
        return self._url._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}").geturl()

    @property
    def alive(self) -> int:
        """How many connections are open."""
        return len(self._wired)

    def apply(self, fault: NetworkFault, way: Way = Way.BACK) -> None:
        """Apply a fault to every open connection now.

        Raises: RuntimeError outside the context.
        """
        self._check_running()
        done = threading.Event()

        def apply_to_all() -> None:
            for wire in tuple(self._wired):
                wire.apply(fault, way)
            done.set()

        self._calls.append(apply_to_all)
        self._wakeup_writer.send(b"!")
        done.wait(10.0)

    def _check_running(self) -> None:
        if not self._running:
            raise RuntimeError("the proxy is not running: use it in `with`")

    # --- context ---

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0.0)
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()
        self._wakeup_reader.settimeout(0.0)
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="flaky proxy", daemon=True)
        self._thread.start()
        self._running = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running, self._ending = False, True
        with suppress(OSError):  # the thread has failed; its error is raised below
            self._wakeup_writer.send(b"!")
        self._thread.join(10.0)
        self._wakeup_writer.close()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        selector = self._selector
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(self._wakeup_reader, selectors.EVENT_READ)
        try:
            while not self._ending:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - raised when the context exits
            self._failure = error
        finally:
            for wire in tuple(self._wired):
                wire.close()
            self._listener.close()
            self._wakeup_reader.close()
            selector.close()

    def _turn(self) -> None:
        now = time.monotonic()
        due = min((wire.due for wire in self._wired), default=inf)
        ready = self._selector.select(None if due == inf else max(0.0, due - now))
        active = {wire for wire in self._wired if wire.due <= time.monotonic()}
        for key, _ in ready:
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wakeup_reader:
                self._wakeup_reader.recv(_READ)
                while self._calls:
                    self._calls.popleft()()
            else:
                active.add(key.data)
        for wire in active:
            wire.step()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            client, _ = self._listener.accept()
            self.connections += 1
            treatment = next(self._plan, _LEFT_ALONE)
            try:
                server = socket.create_connection(self._target, timeout=_CONNECT_TIMEOUT)
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                return
            self._wired.add(_Wire(self, client, server, treatment))

    # --- called by connections ---

    def watch(self, sock: socket.socket, events: int, wire: _Wire) -> None:
        """Select on these events of a socket; 0 for none."""
        known = self._selector.get_map().get(sock)
        if known is None:
            if events:
                self._selector.register(sock, events, wire)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events:
            self._selector.modify(sock, events, wire)

    def closed(self, wire: _Wire) -> None:
        """Forget a connection that has closed."""
        self._wired.discard(wire)


class _Wire:
    """One client's connection, in both directions."""

    def __init__(
        self, proxy: FlakyProxy, client: socket.socket, server: socket.socket, treatment: Treatment
    ) -> None:
        self._proxy = proxy
        self._stall = treatment.stall
        for sock in (client, server):
            sock.settimeout(0.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pipes = {
            Way.OUT: _Pipe(client, server, treatment, Way.OUT),
            Way.BACK: _Pipe(server, client, treatment, Way.BACK),
        }
        self._watch()

    @property
    def due(self) -> float:
        """When the next data may be passed on."""
        return min(pipe.due for pipe in self._pipes.values())

    def step(self) -> None:
        """Pass on the data that is due, and apply a fault that is due."""
        try:
            for way, pipe in self._pipes.items():
                if pipe.stalled_until is not None and pipe.stalled_until <= time.monotonic():
                    self.close()
                    return
                pipe.read()
                pipe.write()
                if pipe.fault_due:
                    assert pipe.fault is not None  # noqa: S101 - `fault_due` implies it
                    self.apply(pipe.fault, way)
                    if not self._pipes:
                        return
        except OSError:
            self.close()
            return
        if all(pipe.over for pipe in self._pipes.values()):
            self.close(reset=False)
        else:
            self._watch()

    def apply(self, fault: NetworkFault, way: Way) -> None:
        """Apply a fault now."""
        self._proxy.befallen[fault] += 1
        pipe = self._pipes[way]
        pipe.fault = None
        if fault is NetworkFault.STALL:
            pipe.stalled_until = time.monotonic() + self._stall
        elif fault is NetworkFault.CORRUPT:
            pipe.corrupting = True
        else:
            self.close(reset=fault is NetworkFault.RESET)
            return
        self._watch()

    def close(self, *, reset: bool = True) -> None:
        """Close both sockets, by default with a reset."""
        self._proxy.closed(self)
        for pipe in self._pipes.values():
            self._proxy.watch(pipe.source, 0, self)
        for pipe in self._pipes.values():
            with suppress(OSError):
                if reset:
                    pipe.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                else:
                    pipe.source.shutdown(socket.SHUT_WR)
            pipe.source.close()
        self._pipes = {}

    def _watch(self) -> None:
        out, back = self._pipes[Way.OUT], self._pipes[Way.BACK]
        for reading, writing in ((out, back), (back, out)):
            events = (selectors.EVENT_READ if reading.wants else 0) | (
                selectors.EVENT_WRITE if writing.full else 0
            )
            self._proxy.watch(reading.source, events, self)


class _Pipe:
    """One direction of a connection."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, treatment: Treatment, way: Way
    ) -> None:
        self.source = source
        self.fault = treatment.fault if treatment.way is way else None
        self.corrupting = self.over = False
        self.stalled_until: float | None = None
        self.full = False
        """Whether the receiving socket's buffer is full."""

        self._sink = sink
        self._treatment = treatment
        self._held: deque[tuple[float, bytes]] = deque()
        """Data that was read and not passed on yet, and when it is due."""
        self._size = 0
        self._left = treatment.after
        """Bytes left until the fault."""
        self._ended = False
        self._frames = _Frames()
        self._fragments = (
            Fragments(treatment.fragment)
            if treatment.fragment is not None and way is Way.BACK
            else None
        )

    @property
    def wants(self) -> bool:
        """Whether to read more."""
        return not self._ended and self.stalled_until is None and self._size < _HELD

    @property
    def due(self) -> float:
        """When the next data may be passed on, or when a stall ends in a reset."""
        if self.stalled_until is not None:
            return self.stalled_until
        return inf if self.full or not self._held else self._held[0][0]

    @property
    def fault_due(self) -> bool:
        """Whether the fault is to be applied now."""
        return self.fault is not None and self._left <= 0

    def read(self) -> None:
        """Read the data that has arrived."""
        if not self.wants:
            return
        try:
            data = self.source.recv(_READ)
        except BlockingIOError:
            return
        self._ended = not data
        if self._fragments is not None:
            data = self._fragments.of(data) if data else self._fragments.rest()
        self._size += len(data)
        piece = self._treatment.piece or len(data) or 1
        # Pieces of one read are due together: to delay each of them in turn would take minutes.
        due = time.monotonic() + self._treatment.delay
        self._held.extend((due, data[at : at + piece]) for at in range(0, len(data), piece))

    def write(self) -> None:
        """Pass on the data that is due, up to the fault."""
        now = time.monotonic()
        self.full = False
        while (
            self._held
            and self._held[0][0] <= now
            and self.stalled_until is None
            and not self.fault_due
        ):
            due, data = self._held.popleft()
            whole = data
            if self.fault is not None:
                data = data[: self._left]
            if self.corrupting:
                data = self._corrupted(data)
            try:
                count = self._sink.send(data)
            except BlockingIOError:
                count, self.full = 0, True
            self._frames.advance(data[:count])
            self._left -= count
            self._size -= count
            if count < len(whole):
                rest = (data + whole[len(data) :])[count:]
                self._held.appendleft((due, rest))
            if self.full:
                return
        if self._ended and not self._held and not self.over:
            self.over = True
            with suppress(OSError):
                self._sink.shutdown(socket.SHUT_WR)

    def _corrupted(self, data: bytes) -> bytes:
        at = self._frames.next_head(data)
        if at is None:
            return data
        self.corrupting = False
        bad = 0 if self._frames.in_handshake else data[at] | _RESERVED
        return data[:at] + bytes((bad,)) + data[at + 1 :]


class _Frames:
    """Finds where frames begin in a stream that arrives in pieces."""

    def __init__(self) -> None:
        self.in_handshake = True
        """Whether the handshake has not ended yet."""
        self._tail = b""
        self._head = b""
        self._body = 0

    def next_head(self, data: bytes) -> int | None:
        """Return where in the next bytes a frame begins or the handshake goes on, or None."""
        ahead = copy(self)
        for at in range(len(data)):
            if ahead.in_handshake or not (ahead._head or ahead._body):
                return at
            ahead.advance(data[at : at + 1])
        return None

    def advance(self, data: bytes) -> None:
        """Advance over bytes that have been passed on."""
        if self.in_handshake:
            seen = self._tail + data
            end = seen.find(b"\r\n\r\n")
            if end < 0:
                self._tail = seen[-3:]
                return
            self.in_handshake = False
            data = seen[end + 4 :]
        while data:
            if self._body:
                data, self._body = data[self._body :], max(0, self._body - len(data))
                continue
            self._head, data = self._head + data[:1], data[1:]
            size = self._size_of_head()
            if size is not None and len(self._head) == size:
                self._body, self._head = self._length(), b""

    def _size_of_head(self) -> int | None:
        if len(self._head) < 2:
            return None
        second = self._head[1]
        return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)

    def _length(self) -> int:
        length = self._head[1] & 0x7F
        size = {126: 2, 127: 8}.get(length)
        return length if size is None else int.from_bytes(self._head[2 : 2 + size], "big")
