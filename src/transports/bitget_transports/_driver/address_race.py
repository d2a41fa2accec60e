"""The order in which the addresses of a host are dialled, and when (RFC 8305, "Happy Eyeballs").

Nothing here resolves, connects or reads a clock: the caller does that, and reports what happened.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterable
from itertools import count
from math import inf
from typing import Any, TypeAlias

Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""A result of `getaddrinfo`: family, kind, protocol, canonical name, and socket address."""

DELAY = 0.25
"""Seconds from the start of one attempt to the next (RFC 8305, 5: recommended)."""


class AddressesFailed(OSError):
    """No address of the host could be connected to, and there were several."""

    def __init__(self, failures: dict[Address, OSError]) -> None:
        super().__init__("; ".join(_failure(*failure) for failure in failures.items()))
        self.addresses = [_host(address) for address in failures]
        numbers = {error.errno for error in failures.values()}
        self.errno = numbers.pop() if len(numbers) == 1 else None
        """The errno of all attempts, when they failed with the same one; else None."""


class AddressBook:
    """Remembers how dials of one host went, and orders its addresses for the next dial.

    The address where a login was accepted last comes first. Addresses that were connected to, and
    where no login has been accepted since, come last; the one that was tried longest ago comes
    first among them.
    """

    def __init__(self) -> None:
        self._ranks: dict[tuple[Any, ...], int] = {}
        """The rank of each socket address: -1 comes first; 0, or no rank, comes in between; larger
        numbers, which grow with each connection, come last.
        """
        self._turns = count(1)

    def race(self, addresses: Iterable[Address]) -> AddressRace:
        """Return a race of these addresses, which `getaddrinfo` gave."""
        ordered = _interleaved(dict.fromkeys(addresses))
        names = {address[4] for address in ordered}
        self._ranks = {name: rank for name, rank in self._ranks.items() if name in names}
        return AddressRace(
            sorted(ordered, key=lambda address: self._ranks.get(address[4], 0)), self
        )

    def connected(self, address: Address) -> None:
        """A connection to this address was made; whether it serves is not known yet."""
        self._ranks[address[4]] = next(self._turns)

    def served(self, address: Address) -> None:
        """A login was accepted at this address."""
        self._ranks = {name: max(rank, 0) for name, rank in self._ranks.items()}
        self._ranks[address[4]] = -1


class AddressRace:
    """One dial: attempts to connect to the addresses of a host. The first to connect wins.

    Call `next` at `until` and after each `failed`, and begin the attempt that it returns.
    """

    def __init__(self, addresses: Iterable[Address], book: AddressBook) -> None:
        self.winner: Address | None = None
        """The address that was connected to first."""
        self._book = book
        self._waiting = deque(addresses)
        self._failures: dict[Address, OSError | None] = {}
        """How each attempt failed, in the order in which they began; None for a pending one."""
        self._next_at = -inf

    @property
    def until(self) -> float:
        """When to call `next`; infinity when no attempt is left to begin."""
        return self._next_at if self._waiting and self.winner is None else inf

    @property
    def exhausted(self) -> bool:
        """Whether every address has failed."""
        return self.winner is None and not self._waiting and None not in self._failures.values()

    def next(self, now: float) -> Address | None:
        """Return the address to connect to now; None when it is not time to begin an attempt."""
        if now < self.until:
            return None
        address = self._waiting.popleft()
        self._failures[address] = None
        self._next_at = now + DELAY
        return address

    def failed(self, address: Address, error: OSError) -> None:
        """An attempt failed: the next one begins now."""
        self._failures[address] = error
        self._next_at = -inf

    def connected(self, address: Address) -> bool:
        """An attempt succeeded. Return whether it is the first; if not, close its socket."""
        if self.winner is not None:
            return False
        self.winner = address
        self._book.connected(address)
        return True

    def error(self) -> OSError:
        """Return the error to raise when every address has failed."""
        failures = {
            address: error for address, error in self._failures.items() if error is not None
        }
        if not failures:
            return OSError("the name has no address")
        return next(iter(failures.values())) if len(failures) == 1 else AddressesFailed(failures)

    def progress(self) -> str:
        """Describe how the attempts went, for a message; "" when there is nothing to add, because
        the host has only one address or is connected.
        """
        if self.winner is not None or len(self._waiting) + len(self._failures) < 2:
            return ""
        return "; ".join(
            f"no answer from {_host(address)}" if error is None else _failure(address, error)
            for address, error in self._failures.items()
        )


def _interleaved(addresses: Iterable[Address]) -> list[Address]:
    """Return the addresses with their families in turn (RFC 8305, 4)."""
    families: dict[socket.AddressFamily, deque[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], deque()).append(address)
    rounds = max(map(len, families.values()), default=0)
    return [
        group[turn] for turn in range(rounds) for group in families.values() if turn < len(group)
    ]


def _host(address: Address) -> str:
    return str(address[4][0])


def _failure(address: Address, error: OSError) -> str:
    # asyncio replaces the system's text.
    return f"{_host(address)}: {os.strerror(error.errno) if error.errno else error}"
