"""One WebSocket on an asyncio transport, whoever frames its messages: the dial, what has left, and the end.

Rules of this file
- Every wait is bounded: to open, to close. A task is for the time of a dial.
- What is taken back never left: not one byte of it, and none ever will.
- How it ended is told to the driver; its socket is closed when `gone` is set.

It does not know how a frame looks: `_websockets_link` and `_picows_link` do.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf

from .._driver.connect_errors import could_not_connect, took_too_long
from .._driver.driver import Driver
from .._driver.errors import ConnectFailed
from .._driver.exception_origin import is_callers, suppress_ours
from .._driver.tcp_reset import reset_when_closed

LONG = 0.01
"""Seconds after which what was read at a time took long."""


class AsyncioLink(ABC):
    """One WebSocket, from its dial to its end."""

    def __init__(self, driver: Driver, number: int, on_gone: Callable[[AsyncioLink], None]) -> None:
        self._driver = driver
        self._on_gone = on_gone
        """Called when the socket is closed, and the dial's task has ended."""
        self._number = number
        self._target = driver.account.target
        self._transport: asyncio.Transport | None = None
        self._given = 0
        """How many bytes the transport was given so far."""
        self._last: tuple[str | None, int, int] = (None, 0, 0)
        """The id and the size in bytes of the frame written last, and how many bytes were given up to its end."""
        self._refused = False
        """Whether the transport did not take that frame."""
        self._cut: asyncio.TimerHandle | None = None
        self._closed = False
        """Whether the transport's socket is closed."""

        self.opening: asyncio.Task[None] | None = None
        self.stalled_since = inf
        self.gone = asyncio.Event()
        """Set when the socket is closed, and the dial's task has ended."""

    # --- for whoever frames ---

    @abstractmethod
    async def connect(self, sock: socket.socket | None) -> ConnectFailed | None:
        """Open the WebSocket, on this socket where there is one; None, or why the other side did not open it.

        Raises: what the layers below do.
        """

    @abstractmethod
    def refused(self) -> ConnectFailed | None:
        """The other side's refusal, of which not all had come in time."""

    @abstractmethod
    def write(self, text: str, id: str | None) -> None:
        """As `Link.write`; what was given to the transport is told with `wrote`."""

    @abstractmethod
    def hang_up(self, code: int, reason: str) -> None:
        """As `Link.hang_up`."""

    def wrote(self, id: str | None, size: int) -> None:
        """A frame of so many bytes was given to the transport; of none when nothing may leave any more."""
        self._given += size
        self._last = (id, size, self._given)
        if not size or (self._transport is not None and self._transport.is_closing()):
            # The other side has closed, or the transport broke: the driver is about to be told. What came before had left.
            self._refused = True
            self.pause_writing()

    def failed(self, error: BaseException) -> None:
        """The caller's own code raised this in a callback: the jitter, a signal handler. The loop is given it, and this ends.

        Out of a callback it would be lost: asyncio says nothing of an OSError, and uvloop does not end at a KeyboardInterrupt.
        """
        self.abort()
        self.report(error)

    def report(self, error: BaseException) -> None:
        """Give the loop what the caller's own code raised where there is no call of the caller's for it to come out of."""
        loop = asyncio.get_running_loop()
        if isinstance(error, Exception):
            message = "an exception of the caller's own ended a connection"
            loop.call_exception_handler({"message": message, "exception": error, "protocol": self})
        elif isinstance(loop, asyncio.BaseEventLoop):
            raise error
        else:
            loop.call_soon(_raise, error)

    def closed(self) -> None:
        """The transport's socket is closed."""
        self._closed = True
        if self.opening is None or self.opening.done():
            self._gone()

    # --- the dial ---

    async def open(self, sock: socket.socket | None) -> None:
        """Open the WebSocket, within `Limits.open_timeout`, or tell the driver why not."""
        target, limits = self._target, self._driver.limits
        bound = asyncio.timeout(limits.open_timeout)
        try:
            async with bound:
                failure = await self.connect(sock)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for this dial
            if bound.expired():
                failure = self.refused() or took_too_long(target, limits)
                failure.__cause__ = error
            else:
                failure = could_not_connect(target, error)
                if is_callers(error, target.tls, "picows", "uvloop", package_of_loop()):
                    self.report(error)
        finally:
            if sock is not None and self._transport is None:
                sock.close()
        if failure is not None:
            self.abort()
            self._driver.failed(self._number, failure)

    def dialled(self, opening: asyncio.Task[None]) -> None:
        """The dial has ended. One that was given up may not even have begun, and uvloop does not tell its transport's end."""
        if self._transport is None or opening.cancelled():
            self.abort()
            self._gone()
            # Who cancels all tasks cancels this one, and somebody may wait for it.
            self._driver.lost(self._number, "the dial was cancelled")
        elif self._closed:
            self._gone()

    # --- the transport is full, or is not any more ---

    def pause_writing(self) -> None:
        self.stalled_since = self._driver.now()
        self._driver.stalled(self._number)

    def resume_writing(self) -> None:
        self.stalled_since = inf
        self._driver.flowing(self._number)

    # --- the driver wants something ---

    def take_back(self) -> tuple[str, ...]:
        id, size, behind = self._last
        if id is None or self.stalled_since == inf or self._transport is None:
            return ()
        if not size:
            return (id,)
        # A TLS transport does not tell what has left.
        secret = self._target.tls is not None
        if secret or (
            not self._refused
            and self._transport.get_write_buffer_size() < size + self._given - behind
        ):
            return ()
        self._stop_sending()
        self.abort()
        return (id,)

    def reset(self) -> None:
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is not None:
            reset_when_closed(sock)
        self._stop_sending()
        self.abort()

    def abort(self) -> None:
        """Close the socket now."""
        if self._transport is not None:
            self._transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def close(self) -> None:
        """The other side has ended the WebSocket: write what is left, bounded, and close."""
        if self._transport is not None:
            self._transport.close()
            self.bound()

    def bound(self) -> None:
        """From now on the socket has `Limits.close_timeout` to close."""
        timeout = self._driver.limits.close_timeout
        if self._cut is None and timeout is not None:
            self._cut = asyncio.get_running_loop().call_later(timeout, self.abort)

    def yield_to_loop(self) -> None:
        """What was read took long. Under load others have their turn between two reads: uvloop alone would read 32 times."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    # --- inside ---

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _stop_sending(self) -> None:
        """Let nothing leave from now on. uvloop's `abort` lets go of what it holds in the loop's next turn only."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is not None:
            # uvloop's own stand-in for a socket has no `shutdown`.
            with suppress_ours(OSError), socket.socket(fileno=os.dup(sock.fileno())) as same:
                same.shutdown(socket.SHUT_WR)

    def _gone(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self.gone.set()
        self._on_gone(self)


def _raise(error: BaseException) -> None:
    raise error


def package_of_loop() -> str:
    """The package of the running loop, whose errors are those of the network."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]
