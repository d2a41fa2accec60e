"""The four ways to carry cancels, each with a connection or a session of its own: one function that hides which it is.

Rules of this file
- All that was taken is told: outcomes as they come, and after an interruption what the channel still held.
- The first request to stop closes the channel, which says what was not sent and waits, bounded, for the rest. While there is
  no channel yet, and at the second request, it ends at once. In each case everything is told.
- No protocol and no screen here.
"""

from __future__ import annotations

import asyncio
import selectors
import ssl
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from typing import Any

import attrs

from bitget_proto import (
    Accepted,
    CancelOrder,
    Config,
    Credentials,
    Outcome,
    Rejected,
    SessionConfig,
    Unresolved,
)

from .. import ChannelEvent, Limits
from ._exit_codes import Exit, Failure, missing_extra
from ._stop import Stop


class Carrier(Enum):
    """A way of doing I/O; the value is its name on the command line."""

    ANYIO = "anyio"
    """anyio on asyncio."""

    TRIO = "trio"
    """anyio on trio."""

    ASYNCIO = "asyncio"
    BLOCKING = "blocking"

    @property
    def words(self) -> str:
        """Its name for people."""
        return {Carrier.ANYIO: "anyio on asyncio", Carrier.TRIO: "anyio on trio"}.get(
            self, self.value
        )

    @property
    def extra(self) -> str:
        """What has to be installed for it."""
        return "anyio,trio" if self is Carrier.TRIO else self.value


@attrs.frozen(kw_only=True)
class Job:
    """What is to be carried, where to, and who wants to know."""

    credentials: Credentials
    url: str
    config: Config | SessionConfig
    """Of one connection; or of a session, which dials again when a connection drops."""
    limits: Limits = attrs.field(factory=Limits)
    tls: ssl.SSLContext | None = None
    allow_plaintext: bool = False
    trace: Callable[[str], object] | None = None
    """Called with each line of a record of what was done."""
    orders: Iterator[CancelOrder]
    stop: Stop
    tell: Callable[[Outcome], None]
    """Called with each outcome. It must not raise."""
    note: Callable[[ChannelEvent], None]
    """Called with each other event, at the end. It must not raise."""
    connected: Callable[[], None]
    """Called when logged in. It must not raise."""
    stopping: Callable[[], None]
    """Called when the first request to stop is heeded on a channel. It must not raise."""

    def dial(self) -> dict[str, Any]:
        """What every `connect` and `open_session` is told."""
        return {
            "credentials": self.credentials, "url": self.url, "config": self.config, "limits": self.limits,
            "tls": self.tls, "allow_plaintext": self.allow_plaintext, "trace": self.trace,
        }  # fmt: skip

    def heard(self, event: ChannelEvent | None) -> bool:
        """Pass an event of the channel on; False at the end."""
        if isinstance(event, (Accepted, Rejected, Unresolved)):
            self.tell(event)
        elif event is not None:
            self.note(event)
        return event is not None


def carry(carrier: Carrier, job: Job) -> None:
    """Connect, cancel all, and close. It returns when every outcome was told, or there was no channel when asked to stop.

    Raises: Failure when an extra is missing; ConnectFailed; ValidationError for what no `connect` takes.
    """
    try:
        _CARRY[carrier](job)
    except ImportError as error:
        # RSA keys need a package too, and the message says so.
        said = (
            str(error)
            if "bitget-proto[" in str(error)
            else missing_extra(carrier.words, carrier.extra)
        )
        raise Failure(said, Exit.USAGE) from error


def installed(carrier: Carrier) -> bool:
    """Whether what the carrier needs can be imported."""
    needed = {
        Carrier.ANYIO: ("bitget_transports.anyio",),
        Carrier.TRIO: ("bitget_transports.anyio", "trio"),
        Carrier.ASYNCIO: ("bitget_transports.asyncio",),
        Carrier.BLOCKING: ("bitget_transports.blocking",),
    }
    try:
        for module in needed[carrier]:
            import_module(module)
    except ImportError:
        return False
    return True


# --- asyncio ---


def _over_asyncio(job: Job) -> None:
    asyncio.run(_in_asyncio(job))


async def _in_asyncio(job: Job) -> None:
    from .. import Channel
    from ..asyncio import connect, open_session

    opened = open_session if isinstance(job.config, SessionConfig) else connect
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    channel: Channel | None = None
    closing: list[asyncio.Task[None]] = []

    def stopped() -> None:
        if channel is not None and not closing:
            job.stopping()
            closing.append(loop.create_task(channel.close()))
        elif task is not None:
            task.cancel()

    with job.stop.waking(lambda: loop.call_soon_threadsafe(stopped)):
        try:
            async with opened(**job.dial()) as channel:
                job.connected()
                async for outcome in channel.cancel_many(job.orders):
                    job.tell(outcome)
        except asyncio.CancelledError:
            if not job.stop.asked:
                raise
    if channel is not None:
        await asyncio.gather(*closing)
        while job.heard(channel.events.take()):
            pass
        for order in job.orders:
            job.tell(await channel.cancel(order))


# --- anyio, on asyncio and on trio ---


def _over_anyio(job: Job) -> None:
    import anyio

    anyio.run(_in_anyio, job, _soon_in_asyncio, backend="asyncio")


def _over_trio(job: Job) -> None:
    import anyio

    anyio.run(_in_anyio, job, _soon_in_trio, backend="trio")


def _soon_in_asyncio() -> Callable[[Callable[[], None]], object]:
    return asyncio.get_running_loop().call_soon_threadsafe


def _soon_in_trio() -> Callable[[Callable[[], None]], object]:
    import trio

    return trio.lowlevel.current_trio_token().run_sync_soon


async def _in_anyio(job: Job, soon: Callable[[], Callable[[Callable[[], None]], object]]) -> None:
    import anyio

    from .. import Channel
    from ..anyio import connect, open_session

    opened = open_session if isinstance(job.config, SessionConfig) else connect
    channel: Channel | None = None
    stopping = anyio.Event()
    from_signal = soon()

    async def close(channel: Channel) -> None:
        await stopping.wait()
        await channel.close()

    with anyio.CancelScope() as everything:

        def stopped() -> None:
            if channel is not None and not stopping.is_set():
                job.stopping()
                stopping.set()
            else:
                everything.cancel()

        with job.stop.waking(lambda: from_signal(stopped)):
            async with opened(**job.dial()) as channel:
                job.connected()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(close, channel)
                    async for outcome in channel.cancel_many(job.orders):
                        job.tell(outcome)
                    tasks.cancel_scope.cancel()
    if channel is not None:
        while job.heard(channel.events.take()):
            pass
        for order in job.orders:
            job.tell(await channel.cancel(order))


# --- blocking ---


class _Stopped(Exception):
    """Somebody asked to stop while nothing was done but waiting."""


def _over_blocking(job: Job) -> None:
    from ..blocking import Channel, connect, open_session

    opened = open_session if isinstance(job.config, SessionConfig) else connect
    stop = job.stop
    channel: Channel | None = None
    waiting, heeded = False, 0

    def wake() -> None:
        """In the signal's handler: raise where it is safe, which is while nothing is done but waiting."""
        if stop.asked > heeded and waiting:
            heed()

    def heed() -> None:
        nonlocal heeded
        heeded = stop.asked
        raise _Stopped

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            nonlocal waiting
            waiting = True
            try:
                if stop.asked > heeded:
                    heed()
                return super().select(timeout)
            finally:
                waiting = False

    try:
        with stop.waking(wake), opened(**job.dial(), selector=Selector) as channel:
            job.connected()
            try:
                for outcome in channel.cancel_many(job.orders):
                    job.tell(outcome)
            except _Stopped:
                job.stopping()
                channel.close()
    except _Stopped:
        pass
    if channel is not None:
        while job.heard(channel.events.take()):
            pass
        for order in job.orders:
            job.tell(channel.cancel(order))


_CARRY: dict[Carrier, Callable[[Job], None]] = {
    Carrier.ANYIO: _over_anyio,
    Carrier.TRIO: _over_trio,
    Carrier.ASYNCIO: _over_asyncio,
    Carrier.BLOCKING: _over_blocking,
}
