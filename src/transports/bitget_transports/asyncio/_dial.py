"""Connects a socket to the first address of a host that answers.

Each attempt is a task that closes its own socket unless it wins, so that a dial can be cancelled at
any point.
"""

from __future__ import annotations

import asyncio
import socket
from math import inf

from .._driver.address_race import Address, AddressRace
from .._driver.clock import clock
from .._driver.exception_origin import raised_by_caller
from .._driver.proxy import Proxy
from .._driver.tunnel import Tunnel
from .._driver.turns import PARSER_BYTES
from .._driver.url import Target


async def connect_first(race: AddressRace) -> socket.socket:
    """Run this race, and return the connected socket.

    Raises: OSError when every address has failed.
    """
    won: list[socket.socket] = []
    attempts: set[asyncio.Task[None]] = set()
    try:
        try:
            while not won:
                if (address := race.next(clock())) is not None:
                    # Not `create_task`: an eager task factory would run the attempt here.
                    attempts.add(asyncio.Task(_attempt(race, address, won)))
                if race.exhausted:
                    raise race.error()
                timeout = None if race.until == inf else max(0.0, race.until - clock())
                done, attempts = await asyncio.wait(
                    attempts, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in done:
                    attempt.result()
        finally:
            for attempt in attempts:
                attempt.cancel()
            if attempts:
                await asyncio.wait(attempts)
    except BaseException:
        for sock in won:
            sock.close()
        raise
    return won[0]


async def open_tunnel(sock: socket.socket, proxy: Proxy, target: Target) -> None:
    """Ask this proxy, to which the socket is connected, to connect to the exchange.

    Raises: ConnectFailed when the proxy does not connect to the exchange; OSError.
    """
    loop, tunnel = asyncio.get_running_loop(), Tunnel(proxy, target)
    try:
        while True:
            if data := tunnel.outgoing():
                await loop.sock_sendall(sock, data)
            if tunnel.opened:
                return
            tunnel.receive(await loop.sock_recv(sock, PARSER_BYTES))
    finally:
        tunnel.close()


async def _attempt(race: AddressRace, address: Address, won: list[socket.socket]) -> None:
    sock: socket.socket | None = None
    try:
        sock = socket.socket(*address[:3])
        sock.settimeout(0.0)
        await asyncio.get_running_loop().sock_connect(sock, address[4])
        if race.connected(address):
            won.append(sock)
            sock = None
    except OSError as error:
        if raised_by_caller(error, "uvloop", package_of_loop()):
            raise
        race.failed(address, error)
    finally:
        if sock is not None:
            sock.close()


def package_of_loop() -> str:
    """Return the package of the running loop; its exceptions count as network errors."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def on_uvloop() -> bool:
    """Return whether the running loop is uvloop's."""
    return any(
        base.__module__.partition(".")[0] == "uvloop"
        for base in type(asyncio.get_running_loop()).__mro__
    )
