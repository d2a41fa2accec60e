"""The base of links on asyncio: dials, reads in bounded turns, tracks which bytes were sent, and
closes.

The framing is in `_websockets_link` and `_picows_link`.

- Each iteration of the loop processes at most one turn. While more data waits, reading is paused.
- Opening and closing are bounded. There is a task only during the dial.
- If `take_back` returns the id of a cancel, no byte of its frame was sent or will be sent.
- The end is reported to the driver. `finished` is set once the socket is closed and the dial's task
  has ended.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf

from .._driver.address_race import Address, AddressRace
from .._driver.connect_errors import could_not_connect, took_too_long
from .._driver.driver import Driver
from .._driver.errors import ConnectFailed
from .._driver.exception_origin import raised_by_caller, suppress_ours
from .._driver.tcp_reset import reset_when_closed
from .._driver.turns import PARSER_BYTES, READ, Unprocessed
from ._dial import connect_first, open_tunnel, package_of_loop

_PARTS_OVER_TLS = 2**19 // PARSER_BYTES


class AsyncioLink(asyncio.BufferedProtocol, ABC):
    """One WebSocket, from its dial to its end."""

    def __init__(
        self, driver: Driver, number: int, on_finished: Callable[[AsyncioLink], None]
    ) -> None:
        self._driver = driver
        self._on_finished = on_finished
        """Called when the socket is closed and the task of the dial has ended."""
        self._number = number
        self._target = driver.account.target
        self._race: AddressRace | None = None
        """The race of the host's addresses; None before it begins, and with `sock=`."""
        self._transport: asyncio.Transport | None = None
        # asyncio allocates 256 KiB for each read, which costs 13 µs for each message. A memoryview,
        # because asyncio's TLS writes into slices of it.
        self._buffer = memoryview(bytearray(READ))
        self._unprocessed = Unprocessed()
        self._turn: asyncio.Handle | None = None
        """The next turn, while something waits for it."""
        self._paused = False
        """Whether reading is paused."""
        self._transport_lost = False
        """Whether the transport has ended."""
        self._transport_error: Exception | None = None
        """Why the transport ended, if it failed."""
        self._total_queued = 0
        """The number of bytes passed to the transport so far, sent or not."""
        self._last: tuple[tuple[str, ...], int, int] = ((), 0, 0)
        """The ids and the size of the last frame, and `_total_queued` at its end."""
        self._last_refused = False
        """Whether nothing of the last frame was sent: the transport was closing, or failed."""
        self._abort_timer: asyncio.TimerHandle | None = None
        self._socket_closed = False
        """Whether the transport's socket is closed."""

        self.opening: asyncio.Task[None] | None = None
        self.stalled_since = inf
        self.finished = asyncio.Event()
        """Set when the socket is closed and the task of the dial has ended."""

    # --- for the framing ---

    @abstractmethod
    async def connect(self, sock: socket.socket) -> ConnectFailed | None:
        """Open the WebSocket on a connected socket. Return None, or why the peer did not open it.

        Raises: the exceptions of the libraries below.
        """

    @abstractmethod
    def partial_refusal(self) -> ConnectFailed | None:
        """Return the peer's HTTP refusal if, at the timeout, only part of it had arrived; else
        None.
        """

    @abstractmethod
    def write(self, text: str, ids: tuple[str, ...]) -> None:
        """Like `Link.write`; calls `record_write` with what was passed to the transport."""

    @abstractmethod
    def hang_up(self, code: int, reason: str) -> None:
        """Like `Link.hang_up`."""

    @abstractmethod
    def process(self, part: bytes) -> None:
        """Process one turn: parse these bytes, pass on messages, and report the end."""

    @abstractmethod
    def report_end(self) -> None:
        """Report the end of the transport, after all that arrived was processed."""

    def record_write(self, ids: tuple[str, ...], size: int) -> None:
        """Record that a frame was passed to the transport. `size` is 0 when the frame was refused."""
        self._total_queued += size
        self._last = (ids, size, self._total_queued)
        if not size or (self._transport is not None and self._transport.is_closing()):
            # The peer has closed, or the transport failed: the end is about to be reported. All
            # earlier frames were sent.
            self._last_refused = True
            self.pause_writing()

    def abort_with(self, error: BaseException) -> None:
        """End the link after an exception of the caller's own code in a callback, such as a signal
        handler, and pass the exception to the loop.

        If the callback raised the exception, it would be lost: asyncio ignores an OSError, and
        uvloop does not stop at a KeyboardInterrupt.
        """
        self.abort()
        self.pass_to_loop(error)

    def pass_to_loop(self, error: BaseException) -> None:
        """Pass an exception of the caller's own code to the loop, because no call of the caller can
        raise it.
        """
        loop = asyncio.get_running_loop()
        if isinstance(error, Exception):
            message = "an exception from the caller's code ended a connection"
            loop.call_exception_handler({"message": message, "exception": error, "protocol": self})
        elif isinstance(loop, asyncio.BaseEventLoop):
            raise error
        else:
            loop.call_soon(_raise, error)

    def on_socket_closed(self) -> None:
        """Note that the transport's socket is closed."""
        self._socket_closed = True
        if self.opening is None or self.opening.done():
            self._finish()

    # --- the dial ---

    @property
    def address(self) -> Address | None:
        """Like `Link.address`."""
        return None if self._race is None else self._race.winner

    async def open(self, sock: socket.socket | None) -> None:
        """Open the WebSocket within `Limits.open_timeout`, or report to the driver why it failed."""
        target, limits = self._target, self._driver.limits
        via = target.proxy if sock is None else None
        # The proxy, for error messages. None once its tunnel is open: later errors are the
        # exchange's.
        bound = asyncio.timeout(limits.open_timeout)
        try:
            async with bound:
                if sock is None:
                    self._race = self._driver.addresses.race(
                        await asyncio.get_running_loop().getaddrinfo(
                            *target.dialled, type=socket.SOCK_STREAM
                        )
                    )
                    sock = await connect_first(self._race)
                    if via is not None:
                        await open_tunnel(sock, via, target)
                        via = None
                else:
                    sock.getpeername()  # raises for an unconnected socket
                failure = await self.connect(sock)
        except Exception as error:  # noqa: BLE001 - the driver waits for this dial
            if bound.expired():
                failure = self.partial_refusal() or took_too_long(target, limits, self._race, via)
                failure.__cause__ = error
            elif isinstance(error, ConnectFailed) and not raised_by_caller(error):
                failure = error
            else:
                failure = could_not_connect(target, error, via)
                if raised_by_caller(error, target.tls, "picows", "uvloop", package_of_loop()):
                    self.pass_to_loop(error)
        finally:
            if sock is not None and self._transport is None:
                sock.close()
        if failure is not None:
            self.abort()
            self._driver.failed(self._number, failure)

    def on_dial_done(self, opening: asyncio.Task[None]) -> None:
        """Handle the end of the dial's task. If it was cancelled, nothing else may report the end:
        the task may never have started, and uvloop may not call `connection_lost`.
        """
        if self._transport is None or opening.cancelled():
            self.abort()
            self._finish()
            # Code that cancels all tasks cancels this one too, and a call may wait for the dial.
            self._driver.lost(self._number, "the dial was cancelled")
        elif self._socket_closed:
            self._finish()

    # --- callbacks of the transport ---

    def get_buffer(self, sizehint: int) -> memoryview:
        # TLS passes the number of bytes that it holds as `sizehint`. At the end of the stream, it
        # drops bytes that do not fit into the buffer.
        if sizehint > len(self._buffer):
            self._buffer = memoryview(bytearray(sizehint))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if nbytes <= PARSER_BYTES and self._turn is None:
            self._take_turn(data)
        else:
            self._unprocessed.add(data)
            if self._turn is None:
                self._take_turn(self._unprocessed.next_part())
            else:
                self._hold_back()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport_lost, self._transport_error = True, exc
        if self._turn is None:
            self._report_end_safely()

    def pause_writing(self) -> None:
        self.stalled_since = self._driver.now()
        self._driver.stalled(self._number)

    def resume_writing(self) -> None:
        self.stalled_since = inf
        self._driver.flowing(self._number)

    # --- methods of `Link` ---

    def take_back(self) -> tuple[str, ...]:
        ids, size, end = self._last
        if self.stalled_since == inf or self._transport is None:
            return ()
        if not size:
            return ids
        # A TLS transport does not show what was sent.
        tls = self._target.tls is not None
        if tls or (
            not self._last_refused
            and self._transport.get_write_buffer_size() < size + self._total_queued - end
        ):
            return ()
        self._stop_sending()
        self.abort()
        return ids

    def reset(self) -> None:
        sock = self._socket()
        if sock is not None:
            reset_when_closed(sock)
        self._stop_sending()
        self.abort()

    def abort(self) -> None:
        """Close the socket now."""
        self._unprocessed.clear()
        if self._transport is not None:
            self._transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def close(self) -> None:
        """Close once the buffered bytes are written, or after `Limits.close_timeout`. Called when
        the WebSocket has ended.
        """
        if self._transport is not None:
            self._transport.close()
            self.abort_after_close_timeout()

    def abort_after_close_timeout(self) -> None:
        """Abort the socket if it is not closed within `Limits.close_timeout`."""
        timeout = self._driver.limits.close_timeout
        if self._abort_timer is None and timeout is not None and not self._transport_lost:
            self._abort_timer = asyncio.get_running_loop().call_later(timeout, self.abort)

    def take_turn_soon(self) -> None:
        """Take a turn, or resume reading, in the next iteration of the loop."""
        self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    # --- private ---

    def _next_turn(self) -> None:
        """Process the next part. Resume reading only if nothing was waiting: uvloop would otherwise
        read and process more in the same iteration of the loop.
        """
        self._turn = None
        idle = not self._unprocessed
        self._take_turn(self._unprocessed.next_part())
        if idle:
            self._set_reading(paused=False)
        elif self._turn is None and not self._transport_lost:
            self.take_turn_soon()

    def _take_turn(self, part: bytes) -> None:
        try:
            self._driver.arrivals.bytes += len(part)
            self.process(part)
        except BaseException as error:  # noqa: BLE001 - given to the loop
            self.abort_with(error)
        if self._unprocessed:
            self._hold_back()
            self.take_turn_soon()
        elif self._transport_lost:
            self._report_end_safely()

    def _hold_back(self) -> None:
        """Read nothing more while data waits; uvloop would read up to 32 times in a row.

        If the stream ends while reading is paused, uvloop's TLS drops what it holds. So over TLS,
        reading is paused only when more data waits than the answers to all cancels in flight.
        """
        if self._target.tls is None or len(self._unprocessed.parts) > _PARTS_OVER_TLS:
            self._set_reading(paused=True)

    def _set_reading(self, *, paused: bool) -> None:
        if paused is not self._paused and self._transport is not None:
            self._paused = paused
            if not self._transport_lost and not self._transport.is_closing():
                if paused:
                    self._transport.pause_reading()
                else:
                    self._transport.resume_reading()

    def _report_end_safely(self) -> None:
        """Call `report_end`. If it raises, abort and pass the exception to the loop."""
        try:
            self.report_end()
        except BaseException as error:  # noqa: BLE001 - given to the loop
            self.abort_with(error)

    def _stop_sending(self) -> None:
        """Stop sending now. uvloop's `abort` drops its buffer only in the next iteration of the
        loop.
        """
        sock = self._socket()
        if sock is not None:
            # The object that uvloop provides for the socket has no `shutdown`.
            with suppress_ours(OSError), socket.socket(fileno=os.dup(sock.fileno())) as same:
                same.shutdown(socket.SHUT_WR)

    def _socket(self) -> socket.socket | None:
        """Return the transport's socket; None when it is closed, because its file descriptor may
        have been reused.
        """
        if self._transport is None or self._transport_lost:
            return None
        found: socket.socket | None = self._transport.get_extra_info("socket")
        return found

    def _finish(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self.finished.set()
        self._on_finished(self)


def _raise(error: BaseException) -> None:
    raise error
