"""A TCP proxy on loopback that breaks connections like a bad network.

    with FlakyProxy(server.url, [Treatment(fault=NetworkFault.RESET, after=1000)]) as proxy:
        ...  # connect any client to proxy.url

The plan is a list of `Treatment`, one for each connection in order; later connections are passed on
unchanged. `random_plan` makes a plan from a seed, so that a run can be repeated. Bytes are counted
separately in each direction, from the first byte of the handshake.

Corruption is always detectable: it sets reserved bits in a frame header, or puts a NUL into the
handshake. A flipped bit inside a JSON text could leave valid JSON, which no client could detect;
TLS prevents such corruption, and this proxy never causes it.

The proxy uses one thread and bounded memory, and closes everything when its context exits.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from ._pipe import READ, Pipe
from ._treatments import NetworkFault, Treatment, Way, random_plan

__all__ = ["FlakyProxy", "NetworkFault", "Treatment", "Way", "random_plan"]

_CONNECT_TIMEOUT = 2.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: closing resets the connection."""

_LEFT_ALONE = Treatment()


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
        self.applied: Counter[NetworkFault] = Counter()
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
                self._wakeup_reader.recv(READ)
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
            Way.OUT: Pipe(client, server, treatment, Way.OUT),
            Way.BACK: Pipe(server, client, treatment, Way.BACK),
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
        self._proxy.applied[fault] += 1
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
