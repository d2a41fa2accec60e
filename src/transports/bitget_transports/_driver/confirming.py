"""`confirm` and `cancel_all` for `await`, on every event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import TypeAlias

from bitget_proto import (
    CancelOrder,
    Final,
    InstType,
    LookUp,
    OpenOrders,
    Outcome,
    RestRequest,
    Session,
    Unresolved,
)

from .account import Account
from .async_driver import AsyncDriver
from .clock import clock
from .confirmer import Confirmer, FinalWaiter, Listing, check_rounds
from .http_client import HttpClient
from .rest import TIMEOUT, HttpxSender, SendRest, check_rest
from .rest_cancels import RestCancels


def use_rest(
    driver: AsyncDriver,
    account: Account,
    rest: SendRest | None,
    client: HttpClient | None = None,
    *,
    orders: bool,
    session: Session | None = None,
) -> AsyncConfirming | None:
    """Enable a channel that was opened with `orders=True` to find out what becomes of its orders,
    and a session with `rest_after` to cancel by REST.

    REST requests go through `client` if it is given, and otherwise through a new client.

    Raises: ValidationError for an invalid `orders` or `rest`; ImportError without httpx.
    """
    rest_after = None if session is None else session.config.rest_after
    check_rest(rest, orders=orders, rest_after=rest_after)
    if not orders and rest_after is None:
        return None
    ours = rest is None and client is None
    if rest is None:
        rest = sender = HttpxSender(account.target, client)
        driver.last_step = sender.aclose
        # Opened now, because that takes a tenth of a second, in which no cancel could be sent.
        # Without httpx, `confirm` raises.
        with suppress(ImportError):
            sender.open()
    if session is not None and rest_after is not None:
        driver.rest, driver.rest_sender = RestCancels(session, driver, ours=ours), rest
    if not orders:
        return None
    confirmer = Confirmer(account, driver.router.core.codec.dialect)
    if isinstance(rest, HttpxSender):
        confirmer.check_rest = rest.open
    driver.follow_orders(confirmer)
    confirming = AsyncConfirming(driver, confirmer, rest)
    driver.ask_time = confirming.ask_time
    return confirming


CancelMany: TypeAlias = Callable[[Iterable[CancelOrder]], AsyncIterator[Outcome]]


class AsyncConfirming:
    """Waits for finals, and sends REST requests meanwhile."""

    def __init__(self, driver: AsyncDriver, confirmer: Confirmer, send: SendRest) -> None:
        self._driver = driver
        self._confirmer = confirmer
        self._send = send

    async def confirm(self, outcome: Outcome) -> Final:
        """Like `Channel.confirm`."""
        waiter = FinalWaiter()
        try:
            self._confirmer.confirm(outcome, waiter)
            await self._arrive(waiter)
            return waiter.finals.popleft()
        finally:
            self._confirmer.stop_waiting(waiter)

    async def cancel_all(
        self,
        cancel_many: CancelMany,
        inst_type: InstType | None,
        inst_id: str | None,
        rounds: int,
        *,
        by_symbol: bool,
    ) -> AsyncGenerator[tuple[Outcome, Final | None]]:
        """Like `Channel.cancel_all`."""
        check_rounds(rounds)
        confirmer = self._confirmer
        confirmer.check_rest()
        question = OpenOrders(inst_type, inst_id)
        with confirmer.noting_ends() as ended:
            if by_symbol:
                await self._cancel_by_symbol(confirmer.rest.cancel_by_symbol(inst_type, inst_id))
            for number in range(rounds):
                settling = by_symbol and number == 0
                listing = Listing(confirmer, question, settling=settling)
                orders = ended.without(await self._open_orders(listing))
                if not orders:
                    return
                waiter = FinalWaiter()
                try:
                    async for outcome in cancel_many(orders):
                        if isinstance(outcome, Unresolved) and not outcome.sent:
                            yield outcome, None
                        else:
                            confirmer.confirm(outcome, waiter)
                        await self._serve(waiter)
                        for final in waiter.take():
                            ended.add(final)
                            yield final.outcome, final
                    while waiter.expected:
                        await self._arrive(waiter)
                        for final in waiter.take():
                            ended.add(final)
                            yield final.outcome, final
                finally:
                    confirmer.stop_waiting(waiter)

    async def _cancel_by_symbol(self, request: RestRequest) -> None:
        with self._confirmer.cancelling_by_symbol(request, self._driver.log) as pending:
            headers = self._confirmer.signed(pending.request)
            pending.answer = await self._send(pending.request, headers)

    async def ask_time(self) -> None:
        """Request the exchange's time by REST. Then log in, with or without an answer."""
        with suppress(TimeoutError):
            async with self._driver.bounded(TIMEOUT):
                with self._confirmer.asking_time() as pending:
                    pending.answer = await self._send(pending.request, {})
        self._driver.time_answered(self._confirmer.server_time)

    async def _open_orders(self, listing: Listing) -> list[CancelOrder]:
        """Return all open orders, page by page.

        Raises: RestFailed.
        """
        while not listing.complete:
            if listing.delay:
                await self._driver.wait(self._driver.flag(), listing.delay)
            with listing.asking() as pending:
                headers = self._confirmer.signed(pending.request)
                pending.answer = await self._send(pending.request, headers)
        return listing.orders

    async def _arrive(self, waiter: FinalWaiter) -> None:
        """Wait until a final has arrived, and serve meanwhile."""
        confirmer, driver = self._confirmer, self._driver
        try:
            while not waiter.finals:
                flag = driver.flag()
                waiter.wake = flag.set
                if not confirmer.may_serve(waiter):
                    await flag.wait()
                elif (look_up := confirmer.next_look_up()) is not None:
                    await self._ask(look_up)
                else:
                    await driver.wait(flag, confirmer.until - clock())
        finally:
            confirmer.stop_serving(waiter)

    async def _serve(self, waiter: FinalWaiter) -> None:
        """Do what is due, but do not wait for anything else."""
        try:
            if (
                self._confirmer.may_serve(waiter)
                and (look_up := self._confirmer.next_look_up()) is not None
            ):
                await self._ask(look_up)
        finally:
            self._confirmer.stop_serving(waiter)

    async def _ask(self, look_up: LookUp) -> None:
        with self._confirmer.asking(look_up) as pending:
            headers = self._confirmer.signed(pending.request)
            pending.answer = await self._send(pending.request, headers)
