"""Connects a socket to the first address of a host that answers, for the blocking transport.

Each attempt has a socket of its own, which the driver's selector watches.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from errno import EINPROGRESS, EWOULDBLOCK
from math import inf
from typing import Protocol

from .._driver.address_race import Address, AddressRace
from .._driver.exception_origin import is_systems


class Watched(Protocol):
    """A socket that the driver's selector watches, of a link or of an attempt to connect."""

    sock: socket.socket | None
    watched: int
    """The events that the selector waits for on the socket; 0 when it is not registered."""

    @property
    def deadline(self) -> float:
        """When to step even without an event."""
        ...

    @property
    def interest(self) -> int | None:
        """The selector events to wait for; 0 to be stepped at once, None to wait for `deadline`."""
        ...

    def step(self) -> None:
        """Do what the socket is ready for."""
        ...


class Watcher(Protocol):
    """The driver, as seen by what it watches."""

    def add(self, watched: Watched) -> None:
        """Watch this from now on."""
        ...

    def unwatch(self, watched: Watched) -> None:
        """Remove the socket from the selector, before it changes or is closed."""
        ...

    def forget(self, watched: Watched) -> None:
        """Stop watching this: it has ended, and its socket is closed or was handed over."""
        ...


class Dial:
    """The attempts of one race. `on_step` is called when an attempt has ended."""

    def __init__(self, race: AddressRace, watcher: Watcher, on_step: Callable[[], None]) -> None:
        self.race = race
        self._watcher = watcher
        self._on_step = on_step
        self._attempts: list[_Attempt] = []

    def begin_due(self, now: Callable[[], float]) -> None:
        """Begin the attempts that are due."""
        while (address := self.race.next(now())) is not None:
            attempt = _Attempt(address, self.race, self._watcher, self._on_step)
            # Recorded first, so that its socket is closed even if `begin` is interrupted.
            self._attempts.append(attempt)
            self._watcher.add(attempt)
            attempt.begin()

    def hand_over(self, to: Watched) -> None:
        """Give the connected socket to `to`, and close the others."""
        for attempt in self._attempts:
            if attempt.address == self.race.winner:
                self._watcher.unwatch(attempt)
                to.sock, attempt.sock = attempt.sock, None
        self.close()

    def close(self) -> None:
        """Close the sockets of all attempts."""
        for attempt in self._attempts:
            attempt.close()


class _Attempt:
    """One socket that connects."""

    interest = selectors.EVENT_WRITE
    deadline = inf

    def __init__(
        self, address: Address, race: AddressRace, watcher: Watcher, on_step: Callable[[], None]
    ) -> None:
        self.address = address
        self.sock: socket.socket | None = None
        self.watched = 0
        self._race = race
        self._watcher = watcher
        self._on_step = on_step

    def begin(self) -> None:
        try:
            self.sock = sock = socket.socket(*self.address[:3])
        except OSError as error:
            if not is_systems(error, resolver_package()):
                raise
            # Without the traceback: a later check would judge the error's origin by it again.
            self._failed(error.with_traceback(None))
            return
        sock.settimeout(0.0)
        code = sock.connect_ex(self.address[4])
        if code not in (EINPROGRESS, EWOULDBLOCK):
            self._connected_or_failed(code)

    def step(self) -> None:
        """Like `Watched.step`; does nothing if the race has ended meanwhile."""
        if self.sock is not None:
            self._connected_or_failed(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            self._on_step()

    def close(self) -> None:
        self._watcher.unwatch(self)
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        self._watcher.forget(self)

    def _connected_or_failed(self, code: int) -> None:
        if code:
            self._failed(OSError(code, os.strerror(code)))
        else:
            self._race.connected(self.address)

    def _failed(self, error: OSError) -> None:
        self._race.failed(self.address, error)
        self.close()


def resolver_package() -> str:
    """Return the package that resolves names: `socket`, unless it is patched, for example by
    gevent.
    """
    return socket.getaddrinfo.__module__.partition(".")[0]
