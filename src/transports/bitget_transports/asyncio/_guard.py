"""`guard` over asyncio."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from math import inf
from typing import Any, Literal

from bitget_proto import (
    Armed,
    Credentials,
    Dialect,
    Lapsed,
    NotRenewed,
    SetCountdown,
    Stopped,
)

from .._driver.async_driver import Flag
from .._driver.guard import AsyncGuardDriver, Guard, guarded_account
from .._driver.rest import HttpxSender, SendRest, check_rest


@asynccontextmanager
async def guard(
    credentials: Credentials,
    *,
    countdown: int = 30,
    disarm: bool = True,
    dialect: Dialect = Dialect.UNIFIED,
    url: str | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    proxy: str | Literal[True] | None = True,
    wall_clock: Callable[[], float] = time.time,
    rest: SendRest | None = None,
    observe: Callable[[Armed | NotRenewed | Lapsed | Stopped, float], object] | None = None,
) -> AsyncGenerator[Guard]:
    """Keep the exchange's countdown from ending: a dead man's switch for a unified account.

    While this context is open, a task renews the countdown. If the program, its machine or its
    network fails, the exchange cancels all orders of the account, `countdown` seconds after the
    last renewal at the latest: 5 to 60 whole seconds (REST API V3, Countdown Cancel All). The
    exchange grants access to the countdown on request. Each account has one countdown: guard it in
    one process.

    Entering the context waits until the exchange has begun to count down. Leaving it without an
    exception turns the countdown off, or leaves it on with `disarm=False`. Leaving it with an
    exception leaves the countdown on, so that the exchange cancels all orders.

    Failed renewals, and a countdown that may have ended, are logged as warnings and errors, and
    passed to `observe` as `Armed`, `NotRenewed`, `Lapsed` and `Stopped`, each with its time on
    `bitget_transports.clock`. `Guard.check` raises while the countdown is not known to be on.
    Renewals continue until the context is left. While the event loop is blocked, nothing is
    renewed.

    `url` is the URL of the WebSocket. It decides where REST requests are sent, as for `connect`:
    pass `Dialect.UNIFIED.demo_url` for demo trading. `tls`, `allow_plaintext`, `proxy`,
    `wall_clock` and `rest` are as for `connect`. REST needs httpx (the extra `rest`), unless `rest`
    is given.

    Raises: GuardFailed if the countdown could not be started or turned off; ValidationError for an
    invalid argument, or for `Dialect.CLASSIC`: classic accounts have no countdown.
    """
    account = guarded_account(
        credentials,
        dialect,
        url,
        tls,
        wall_clock,
        allow_plaintext=allow_plaintext,
        proxy=proxy,
    )
    check_rest(rest, orders=True)
    sender = HttpxSender(account.target, None)
    driver = _Driver(account, countdown, disarm, observe, rest or sender)
    if rest is None:
        sender.open()
    serving = asyncio.create_task(driver.serve())
    try:
        await driver.arm()
        yield driver.guard
        await driver.finish()
    except BaseException:
        driver.stop(disarm=False)
        raise
    finally:
        driver.advance()  # report the end
        tasks = [serving, *driver.tasks]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.wait(tasks)
        finally:
            await sender.aclose()


class _Driver(AsyncGuardDriver):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.tasks: set[asyncio.Task[None]] = set()
        """The requests that have no answer."""

    def flag(self) -> Flag:
        return asyncio.Event()

    async def wait(self, flag: Flag, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == inf else seconds):
                await flag.wait()

    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    def spawn(
        self, ask: Callable[[SetCountdown], Coroutine[Any, Any, None]], request: SetCountdown
    ) -> None:
        task = asyncio.create_task(ask(request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
