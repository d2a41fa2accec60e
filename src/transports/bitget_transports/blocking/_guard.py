"""`guard` in a background thread."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
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

from .._driver.clock import clock
from .._driver.guard import Guard, GuardDriver, guarded_account
from .._driver.rest import BlockingHttpxSender, SendRestBlocking, check_rest

_MAX_THREADS = 4
"""The number of requests that may hang at the same time. Our choice."""


@contextmanager
def guard(
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
    rest: SendRestBlocking | None = None,
    observe: Callable[[Armed | NotRenewed | Lapsed | Stopped, float], object] | None = None,
) -> Generator[Guard]:
    """Keep the exchange's countdown from ending: a dead man's switch for a unified account.

    While this context is open, a thread renews the countdown. If the program, its machine or its
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
    Renewals continue until the context is left. `observe` is called in the thread that renews, and
    `rest` in other threads. Renewals also continue while the rest of your program hangs: if the
    countdown must end then, call `DeadManSwitch` from your own loop (docs/scaling.md).

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
    sender = BlockingHttpxSender(account.target)
    driver = _Driver(account, countdown, disarm, observe)
    driver.send = rest or sender
    if rest is None:
        sender.open()
    serving = threading.Thread(target=driver.serve, name="bitget guard", daemon=True)
    try:
        serving.start()
        driver.arm()
        yield driver.guard
        driver.finish()
    except BaseException:
        driver.stop_without_disarming()
        raise
    finally:
        if serving.ident is not None:
            serving.join()
        sender.close()


class _Driver(GuardDriver):
    send: SendRestBlocking

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._news = threading.Condition()
        """Held during each step, and notified after it."""
        self._over = False
        self._threads: set[threading.Thread] = set()
        """The requests that have no answer."""

    def serve(self) -> None:
        """Renew, until stopped."""
        with self._news:
            try:
                while self.stopped is None:
                    output = self.advance()
                    self._news.notify_all()
                    if isinstance(output, SetCountdown):
                        self._spawn(output)
                    elif self.stopped is None:
                        until = output.until
                        self._news.wait(None if until is None else max(0.0, until - clock()))
            finally:
                self._over = True
                self._news.notify_all()

    def arm(self) -> None:
        """Wait until the countdown has begun.

        Raises: GuardFailed.
        """
        with self._news:
            self._until(lambda: self.settled)
            if self.failure is not None or self._over:
                self._until(lambda: self.stopped is not None)
                raise self.not_armed()

    def finish(self) -> None:
        """Stop as asked, and wait until that is done.

        Raises: GuardFailed if the countdown should be off, but may still be on.
        """
        with self._news:
            self.stop_as_asked()
            self._until(lambda: self.stopped is not None)
            self.check_stopped()

    def stop_without_disarming(self) -> None:
        """End at once, and leave the countdown on."""
        with self._news:
            self.stop(disarm=False)
            self._news.notify_all()

    # --- private ---

    def _until(self, done: Callable[[], bool]) -> None:
        self._news.notify_all()
        while not (done() or self._over):
            self._news.wait()

    def _spawn(self, countdown: SetCountdown) -> None:
        if len(self._threads) == _MAX_THREADS:
            hang = TimeoutError(f"{_MAX_THREADS} requests hang: rest must return in bounded time")
            self.failed(countdown.number, hang, unsent=True)
            return
        thread = threading.Thread(
            target=self._ask, args=(countdown,), name="bitget guard request", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _ask(self, countdown: SetCountdown) -> None:
        number, answer, failure, unsent = countdown.number, None, None, True
        try:
            headers = self.signed(countdown.request)
            unsent = False
            answer = self.send(countdown.request, headers)
        except Exception as error:  # noqa: BLE001 - no answer, whatever the reason
            failure = error
        with self._news:
            self._threads.discard(threading.current_thread())
            if failure is None:
                self.answered(number, answer)
            else:
                self.failed(number, failure, unsent=unsent)
            self._news.notify_all()
