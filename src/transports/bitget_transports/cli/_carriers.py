"""Runs a list of cancels over one of the four transports, behind one function.

- Every outcome is reported as it arrives; after an interrupt, so are the outcomes that the channel
  still holds.
- With `confirm`, what became of each order is reported once it is known. A request to stop ends
  this wait.
- The first request to stop closes the channel: unsent cancels become unresolved, and the answers to
  the sent ones are awaited for a bounded time. A second request, or one before the channel is open,
  ends at once. In each case every outcome is reported.
"""

from __future__ import annotations

import asyncio
import selectors
import ssl
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from typing import Any, Literal

import attrs

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Config,
    Credentials,
    Dialect,
    Final,
    Outcome,
    Rejected,
    SessionConfig,
    Unresolved,
)

from .. import ChannelEvent, Limits
from ._exit_codes import Exit, Failure, missing_extra
from ._stop import Stop

_MAX_CONFIRMING = 1000
"""The most orders whose state is looked up at the same time; a `Reconciler` can take more."""


class Carrier(Enum):
    """A transport. The value is its name on the command line."""

    ANYIO = "anyio"
    """anyio on asyncio."""

    TRIO = "trio"
    """anyio on trio."""

    ASYNCIO = "asyncio"
    BLOCKING = "blocking"

    @property
    def words(self) -> str:
        """The name in messages and tables."""
        return {Carrier.ANYIO: "anyio on asyncio", Carrier.TRIO: "anyio on trio"}.get(
            self, self.value
        )

    @property
    def extra(self) -> str:
        """The extra, or extras, that it needs."""
        return "anyio,trio" if self is Carrier.TRIO else self.value


@attrs.frozen(kw_only=True)
class Job:
    """The orders to cancel, how to connect, and the callbacks."""

    credentials: Credentials
    url: str
    dialect: Dialect = Dialect.CLASSIC
    config: Config | SessionConfig
    """The limits of a single connection, or of a session, which reconnects after a drop."""
    budget: Budget | None = None
    limits: Limits = attrs.field(factory=Limits)
    tls: ssl.SSLContext | None = None
    allow_plaintext: bool = False
    proxy: str | Literal[True] = True
    """The URL of a proxy; True means the proxy that the environment names, if any."""
    trace: Callable[[str], object] | None = None
    """Called with each line of the trace."""
    orders: Iterator[CancelOrder]
    stop: Stop
    on_outcome: Callable[[Outcome], None]
    """Called with each outcome. It must not raise."""
    confirm: bool = False
    """Whether to find out what became of each order whose cancel was sent."""
    on_final: Callable[[Final], None] = lambda _: None
    """Called with what became of each of these orders. It must not raise."""
    on_event: Callable[[ChannelEvent], None]
    """Called with each other event, at the end. It must not raise."""
    on_connected: Callable[[], None]
    """Called after the login. It must not raise."""
    on_stopping: Callable[[], None]
    """Called when the first request to stop closes the channel. It must not raise."""

    def options(self) -> dict[str, Any]:
        """Return the arguments for `connect` and `open_session`."""
        return {
            "credentials": self.credentials, "url": self.url, "dialect": self.dialect, "config": self.config,
            "limits": self.limits, "tls": self.tls, "allow_plaintext": self.allow_plaintext, "trace": self.trace,
            "budget": self.budget, "orders": self.confirm, "proxy": self.proxy,
        }  # fmt: skip

    def confirms(self, outcome: Outcome) -> bool:
        """Return whether to find out what became of the order of this outcome."""
        return self.confirm and not (isinstance(outcome, Unresolved) and not outcome.sent)

    def report(self, event: ChannelEvent | None) -> bool:
        """Pass an event to its callback. Return False for None, which ends a channel's events."""
        if isinstance(event, (Accepted, Rejected, Unresolved)):
            self.on_outcome(event)
        elif event is not None:
            self.on_event(event)
        return event is not None


def carry(carrier: Carrier, job: Job) -> None:
    """Connect, cancel all orders, and close.

    Return when every outcome was reported, or when a request to stop came before the channel was
    open.

    Raises: Failure when an extra is missing; ConnectFailed; ValidationError for invalid arguments.
    """
    if job.confirm and not has_rest():
        raise Failure(missing_extra("confirming", "rest"))
    try:
        _CARRY[carrier](job)
    except ImportError as error:
        # The message about the package for RSA keys names its extra already.
        message = (
            str(error)
            if "bitget-proto[" in str(error)
            else missing_extra(carrier.words, carrier.extra)
        )
        raise Failure(message, Exit.USAGE) from error


def installed(carrier: Carrier) -> bool:
    """Return whether the modules of a transport can be imported."""
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


def has_rest() -> bool:
    """Return whether REST requests can be sent."""
    try:
        import_module("httpx")
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
    confirming: list[asyncio.Task[None]] = []

    room = asyncio.Semaphore(_MAX_CONFIRMING)

    async def confirm(channel: Channel, outcome: Outcome) -> None:
        async with room:
            job.on_final(await channel.confirm(outcome))

    def stopped() -> None:
        if channel is not None and not closing:
            job.on_stopping()
            for task_of_one in confirming:
                task_of_one.cancel()
            closing.append(loop.create_task(channel.close()))
        elif task is not None:
            task.cancel()

    with job.stop.waking(lambda: loop.call_soon_threadsafe(stopped)):
        try:
            async with opened(**job.options()) as channel, asyncio.TaskGroup() as tasks:
                job.on_connected()
                async for outcome in channel.cancel_many(job.orders):
                    job.on_outcome(outcome)
                    if job.confirms(outcome) and not closing:
                        confirming.append(tasks.create_task(confirm(channel, outcome)))
        except asyncio.CancelledError:
            if not job.stop.asked:
                raise
    if channel is not None:
        await asyncio.gather(*closing)
        while job.report(channel.events.take()):
            pass
        for order in job.orders:
            job.on_outcome(await channel.cancel(order))


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

    confirming: set[anyio.CancelScope] = set()
    room = anyio.Semaphore(_MAX_CONFIRMING)

    async def confirm(channel: Channel, outcome: Outcome) -> None:
        with anyio.CancelScope() as scope:
            confirming.add(scope)
            async with room:
                job.on_final(await channel.confirm(outcome))
        confirming.discard(scope)

    async def close(channel: Channel) -> None:
        await stopping.wait()
        for scope in confirming:
            scope.cancel()
        await channel.close()

    with anyio.CancelScope() as everything:

        def stopped() -> None:
            if channel is not None and not stopping.is_set():
                job.on_stopping()
                stopping.set()
            else:
                everything.cancel()

        with job.stop.waking(lambda: from_signal(stopped)):
            async with opened(**job.options()) as channel:
                job.on_connected()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(close, channel)
                    async with anyio.create_task_group() as finals:
                        async for outcome in channel.cancel_many(job.orders):
                            job.on_outcome(outcome)
                            if job.confirms(outcome) and not stopping.is_set():
                                finals.start_soon(confirm, channel, outcome)
                    tasks.cancel_scope.cancel()
    if channel is not None:
        while job.report(channel.events.take()):
            pass
        for order in job.orders:
            job.on_outcome(await channel.cancel(order))


# --- blocking ---


class _Stopped(Exception):
    """A request to stop came during a wait for I/O."""


def _over_blocking(job: Job) -> None:
    from ..blocking import Channel, connect, open_session

    opened = open_session if isinstance(job.config, SessionConfig) else connect
    stop = job.stop
    channel: Channel | None = None
    waiting, handled = False, 0

    def wake() -> None:
        """Called by the signal handler: raise only during a wait, where nothing can be lost."""
        if stop.asked > handled and waiting:
            interrupt()

    def interrupt() -> None:
        nonlocal handled
        handled = stop.asked
        raise _Stopped

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            nonlocal waiting
            waiting = True
            try:
                if stop.asked > handled:
                    interrupt()
                return super().select(timeout)
            finally:
                waiting = False

    try:
        with stop.waking(wake), opened(**job.options(), selector=Selector) as channel:
            job.on_connected()
            outcomes: list[Outcome] = []
            try:
                for outcome in channel.cancel_many(job.orders):
                    job.on_outcome(outcome)
                    outcomes.append(outcome)
                outcomes = list(filter(job.confirms, outcomes))
                for first in range(0, len(outcomes), _MAX_CONFIRMING):
                    some = outcomes[first : first + _MAX_CONFIRMING]
                    # `Channel.confirm` would look up one order after the other.
                    for final in channel._confirming_or_raise().confirm_many(some):
                        job.on_final(final)
                        if stop.asked > handled:
                            interrupt()
            except _Stopped:
                job.on_stopping()
                channel.close()
    except _Stopped:
        pass
    if channel is not None:
        while job.report(channel.events.take()):
            pass
        for order in job.orders:
            job.on_outcome(channel.cancel(order))


_CARRY: dict[Carrier, Callable[[Job], None]] = {
    Carrier.ANYIO: _over_anyio,
    Carrier.TRIO: _over_trio,
    Carrier.ASYNCIO: _over_asyncio,
    Carrier.BLOCKING: _over_blocking,
}
