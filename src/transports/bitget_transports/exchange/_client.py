"""One client of the embedded exchange: passes messages between a socket and a `ScriptedLink`.

- No task and no queue is on the data path: data is read, answered and written in one callback,
  with one write.
- Memory is bounded. While a client does not read what was sent to it, nothing is read from it;
  after `write_timeout` seconds its connection is cut.
- Messages are framed by websockets' Sans-I/O layer. Compression is declined, any path is served.
- A connection whose first request is for `/api/` is plain HTTP and carries REST requests.
- An error in this module ends the connection, and is raised when the server's context exits.
- Connections and their ends are logged; frames are not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TypeVarTuple, Unpack, cast

import attrs
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF
from websockets.protocol import State as Framing
from websockets.server import ServerProtocol

from bitget_proto import Hangup, State, Transmit, Wait
from bitget_proto.testing import ABORT, ScriptedExchange

from .._driver.websocket import SILENT
from ._http import RestRequests, is_rest, may_be_rest

_LOGGER = logging.getLogger("bitget_transports.exchange")

_UPGRADE_TIMEOUT = 10.0
"""Seconds that a client has to request the upgrade."""

_CLOSE_TIMEOUT = 1.0
"""Seconds that a client has to answer a close frame before its connection is cut."""

_MAX_SIZE = 2**22
"""Largest message in bytes, over all fragments; a larger one fails the connection (code 1009)."""

_REFUSED = "refused as scripted\n"

_MAX_REASON = 123
"""Largest reason of a close frame, in bytes (RFC 6455, 5.5)."""

_DATA = (Opcode.TEXT, Opcode.CONT, Opcode.BINARY)

_Given = TypeVarTuple("_Given")


@attrs.define
class ServerState:
    """The state that the clients of one server share."""

    exchange: ScriptedExchange
    write_timeout: float
    clients: set[Client] = attrs.field(factory=set["Client"])
    """Clients whose TCP connection is open, with or without a WebSocket."""
    failures: list[BaseException] = attrs.field(factory=list[BaseException])
    reading: bool = True
    started: float = attrs.field(factory=time.monotonic)
    countdown: asyncio.TimerHandle | None = None
    """The timer for the end of the countdown."""

    def now(self) -> float:
        """Seconds since the server was started: the `now` of its exchange."""
        return time.monotonic() - self.started

    def await_countdown(self) -> None:
        """Set the timer for the end of the countdown, in case no client is connected then."""
        if self.countdown is not None:
            self.countdown.cancel()
        if (ends := self.exchange.countdown_ends) is not None:
            self.countdown = asyncio.get_running_loop().call_later(
                ends - self.now(), lambda: self.exchange.handle_timeout(self.now())
            )


class Client(asyncio.Protocol):
    """The protocol of one connection: feeds the link, writes its output, and runs its timer."""

    def __init__(self, server: ServerState) -> None:
        self.link = server.exchange.link()
        self.left = asyncio.Event()
        """Set when the TCP connection has ended."""
        self._server = server
        self._framing = ServerProtocol(max_size=_MAX_SIZE, logger=SILENT)
        self._loop = asyncio.get_running_loop()
        self._first = b""
        """The data that arrived before it was known whether the connection carries REST."""
        self._rest: RestRequests | None = None
        self._parts: list[bytes] = []
        """The fragments of an incomplete message."""
        self._writable = True
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        """When `_timer` fires, on the exchange's clock."""
        self._cut: asyncio.TimerHandle | None = None
        """Cuts a client that takes too long to upgrade, to read or to answer a close frame."""
        self._transport: asyncio.Transport

    @property
    def connected(self) -> bool:
        """Whether the client has an open WebSocket."""
        return self.link.state not in (State.NEW, State.CLOSED)

    # --- called by the server ---

    def say(self, text: str) -> None:
        """Send any text now, if connected."""
        if self.connected:
            self.link.say(text, self._server.now())
            self._settle()

    def hang_up(self, code: int, reason: str) -> None:
        """End the connection with a close frame, or without one (1006)."""
        if self.connected:
            self.link.close(self._server.now(), code, reason)
            self._settle()
        elif self.link.state is State.NEW:
            self.abort()

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    def update_reading(self) -> None:
        """Resume or pause reading, depending on the server and on whether the client reads."""
        if self._transport.is_closing():
            return
        if self._writable and (self._server.reading or not self.connected):
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.clients.add(self)
        self._cut_in(_UPGRADE_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        self._guarded(self._received, data)

    def eof_received(self) -> None:
        self._guarded(self._ended)

    def pause_writing(self) -> None:
        self._writable = False
        self._cut_in(self._server.write_timeout)
        self.update_reading()

    def resume_writing(self) -> None:
        self._writable = True
        self._guarded(self._written)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.clients.discard(self)
        self._guarded(self._lost, "" if exc is None else str(exc))
        for timer in (self._timer, self._cut):
            if timer is not None:
                timer.cancel()
        self.left.set()

    # --- private ---

    def _guarded(self, step: Callable[[Unpack[_Given]], None], *given: *_Given) -> None:
        try:
            step(*given)
        except Exception as error:  # noqa: BLE001 - raised when the context exits
            self._server.failures.append(error)
            self.abort()

    def _received(self, data: bytes) -> None:
        framing = self._framing
        if self._rest is not None:
            self._answer_rest(data)
            return
        if self.link.state is State.NEW and may_be_rest(first := self._first + data):
            self._first = first
            if is_rest(first):
                self._rest = RestRequests(self._server.exchange, self._server.now)
                self._cancel_cut()
                self._answer_rest(first)
            return
        data, self._first = self._first + data, b""
        framing.receive_data(data)
        for event in framing.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Request):
                self._upgrade(event)
        if self.connected and framing.state is not Framing.OPEN:
            code = (
                framing.close_rcvd and f"the client has closed with code {framing.close_rcvd.code}"
            )
            self._lost(str(framing.parser_exc or code or "the client has closed"))
        self._settle()

    def _answer_rest(self, data: bytes) -> None:
        assert self._rest is not None  # noqa: S101 - checked by the callers
        out, goes_on = self._rest.receive(data)
        self._server.await_countdown()
        if out:
            self._transport.write(out)
        if not goes_on:
            self._transport.close()

    def _upgrade(self, request: Request) -> None:
        framing, refused = self._framing, self._server.exchange.handshake()
        if refused is None:
            response = framing.accept(request)
        else:
            status, retry_after = refused
            response = framing.reject(HTTPStatus(status), _REFUSED)
            if retry_after is not None:
                response.headers["Retry-After"] = str(retry_after)
        framing.send_response(response)
        if framing.state is Framing.OPEN:
            peer = self._transport.get_extra_info("peername")  # None if it has left already
            self._note("connected" + (f" from {peer[0]}:{peer[1]}" if peer else ""))
        else:
            self._note(f"handshake refused with HTTP status {response.status_code}")
        self._write(framing.data_to_send())  # a silent exchange still completes the upgrade
        if framing.state is Framing.OPEN:
            self._cancel_cut()
            self.link.on_output = lambda: self._loop.call_soon(self._guarded, self._settle)
            self.link.opened(self._server.now())
            self.update_reading()

    def _frame(self, frame: Frame) -> None:
        if frame.opcode not in _DATA:
            return  # websockets answers pings; a close shows in its state
        message = bytes(frame.data)
        if not frame.fin or frame.opcode is Opcode.CONT:
            if message:
                self._parts.append(message)
            if not frame.fin:
                return
            message, self._parts = b"".join(self._parts), []
        # Text or binary: invalid UTF-8 is refused like any unreadable text.
        self.link.receive(message, self._server.now())
        self._drain()

    def _drain(self) -> None:
        """Poll the link until it waits; frame its output and arm the timer."""
        link, now, framing = self.link, self._server.now(), self._framing
        while True:
            output = link.poll(now, self._writable)
            if isinstance(output, Transmit):
                # Nothing is sent after the client has closed, even if an answer was due.
                if framing.state is Framing.OPEN:
                    framing.send_text(output.text.encode("utf-8", "surrogatepass"))
            elif isinstance(output, Hangup):
                self._hangup(output)
            elif isinstance(output, Wait):
                self._arm(output.until, now)
                return

    def _hangup(self, hangup: Hangup) -> None:
        how = "cut" if hangup.code == ABORT else f"closed with code {hangup.code}"
        self._note(f"{how} by the exchange: {hangup.reason}")
        if hangup.code == ABORT:
            self._flush()
            self.abort()
        elif self._framing.state is Framing.OPEN:
            reason = hangup.reason.encode()[:_MAX_REASON].decode("utf-8", "ignore")
            self._framing.send_close(hangup.code, reason)

    def _settle(self) -> None:
        """Poll the link, write its output, and start the close timeout if a close is due."""
        self._drain()
        self._flush()
        if self._framing.close_expected() and not self.link.silent:
            self._cut_in(_CLOSE_TIMEOUT)

    def _flush(self) -> None:
        chunks = self._framing.data_to_send()
        if not self.link.silent:  # a silent exchange answers no close frame and no WebSocket ping
            self._write(chunks)

    def _write(self, chunks: list[bytes]) -> None:
        if chunks and not self._transport.is_closing():
            self._transport.write(b"".join(chunks))
            if chunks[-1] == SEND_EOF:
                if self._transport.can_write_eof():
                    with suppress(OSError):  # the client has gone already
                        self._transport.write_eof()
                else:
                    self._transport.close()

    def _written(self) -> None:
        self._cancel_cut()
        self._settle()
        self.update_reading()

    def _ended(self) -> None:
        self._framing.receive_eof()
        self._lost("the client has hung up")
        self._settle()

    def _lost(self, reason: str) -> None:
        if self.connected:
            self._note(f"ended: {reason or 'the client has hung up'}")
        self.link.lost(self._server.now(), reason)
        self._drain()

    def _note(self, text: str) -> None:
        number = self.link.number
        extra = {"at": self._server.now(), "link": number, "text": text}
        _LOGGER.info("#%d %s", number, text, extra=extra)

    # --- timers ---

    def _arm(self, until: float | None, now: float) -> None:
        """Wake at `until`. An earlier timer is kept, since waking early is harmless."""
        if until is None or (self._due is not None and self._due <= until):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = until
        self._timer = self._loop.call_later(max(0.0, until - now), self._guarded, self._wake)

    def _wake(self) -> None:
        self._due = self._timer = None
        self.link.handle_timeout(self._server.now())
        self._settle()

    def _cut_in(self, seconds: float) -> None:
        if self._cut is None:
            self._cut = self._loop.call_later(seconds, self.abort)

    def _cancel_cut(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
