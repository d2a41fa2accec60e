"""One client of the ASGI app: passes messages between an ASGI WebSocket and a `ScriptedLink`.

There are two tasks: one reads; the other writes and handles timers. Nothing is read while output is
waiting to be written, so memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from bitget_proto import Hangup, State, Transmit, Wait
from bitget_proto.testing import ABORT, ConnectionDropped, ScriptedLink

from ._asgi import Receive, Send

_CUT = 1011
"""The close code for a dropped connection: 1006 is never sent, and an app has no socket to cut."""

_GONE = (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)
"""Raised by servers when the client has gone: OSError by the ASGI specification, the others by
in-process transports. A write that takes too long raises TimeoutError, which is an OSError too."""


class AppClient:
    """Serves one WebSocket until either side closes it."""

    def __init__(
        self,
        link: ScriptedLink,
        receive: Receive,
        send: Send,
        *,
        now: Callable[[], float],
        write_timeout: float,
        clients: set[AppClient],
    ) -> None:
        self._link = link
        self._now = now
        self._write_timeout = write_timeout
        self._clients = clients
        """The clients that have an open WebSocket, shared with the app."""
        self._receive = receive
        self._send = send
        self._woken = anyio.Event()
        self._written = anyio.Event()
        """Set when there is nothing left to write."""

    # --- called by the app ---

    def say(self, text: str) -> None:
        """Send any text, unless the connection has ended."""
        if self._link.state is not State.CLOSED:
            self._link.say(text, self._now())
            self._wake()

    def hang_up(self, code: int, reason: str) -> None:
        """End the connection."""
        self._link.close(self._now(), code, reason)
        self._wake()

    async def serve(self) -> None:
        """Serve the client until the connection ends."""
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept"})
        self._link.opened(self._now())
        self._link.on_output = self._wake
        self._clients.add(self)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read)
                await self._write()
                tasks.cancel_scope.cancel()
        finally:
            self._clients.discard(self)
            self._link.lost(self._now())

    # --- tasks ---

    async def _read(self) -> None:
        while True:
            try:
                message = await self._receive()
            except _GONE as error:
                self._lost(str(error))
                return
            if message["type"] == "websocket.disconnect":
                self._lost(f"closed with the code {message.get('code', 1005)}")
                return
            text: str | None = message.get("text")
            self._link.receive(message["bytes"] if text is None else text, self._now())
            self._written = anyio.Event()
            self._wake()
            await self._written.wait()

    async def _write(self) -> None:
        while True:
            output = self._link.poll(self._now())
            match output:
                case Transmit(text=text):
                    await self._send_message({"type": "websocket.send", "text": text})
                case Hangup(code=code, reason=reason):
                    code = _CUT if code == ABORT else code
                    await self._send_message(
                        {"type": "websocket.close", "code": code, "reason": reason}
                    )
                case ConnectionDropped():
                    return
                case Wait(until=until):
                    self._written.set()
                    with anyio.move_on_after(
                        None if until is None else max(0.0, until - self._now())
                    ):
                        await self._woken.wait()
                    self._woken = anyio.Event()
                    if until is not None and self._now() >= until:
                        self._link.handle_timeout(self._now())

    async def _send_message(self, message: dict[str, object]) -> None:
        try:
            with anyio.fail_after(self._write_timeout):
                await self._send(message)
        except _GONE as error:
            self._lost(str(error))

    def _lost(self, reason: str) -> None:
        self._link.lost(self._now(), reason)
        self._wake()

    def _wake(self) -> None:
        self._woken.set()
