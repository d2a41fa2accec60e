"""`confirm` and `cancel_all` in the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from math import inf
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

from .._driver.account import Account
from .._driver.clock import clock
from .._driver.confirmer import Confirmer, FinalWaiter, Listing, check_rounds
from .._driver.rest import BlockingHttpxSender, SendRestBlocking, check_rest
from .._driver.rest_cancels import RestCancels
from ._driver import BlockingDriver

CancelMany: TypeAlias = Callable[[Iterable[CancelOrder]], Iterable[Outcome]]


class Confirming:
    """Waits for finals: serves the connection, and sends REST requests in between."""

    def __init__(
        self, driver: BlockingDriver, confirmer: Confirmer, send: SendRestBlocking
    ) -> None:
        self._driver = driver
        self._confirmer = confirmer
        self._send = send

    def confirm(self, outcome: Outcome) -> Final:
        """Like `Channel.confirm`."""
        waiter = FinalWaiter()
        try:
            self._confirmer.confirm(outcome, waiter)
            self._arrive(waiter)
            return waiter.finals.popleft()
        finally:
            self._confirmer.stop_waiting(waiter)

    def confirm_many(self, outcomes: Iterable[Outcome]) -> Generator[Final]:
        """Like `confirm`, for all these outcomes at once; finals come as they arrive."""
        waiter = FinalWaiter()
        try:
            for outcome in outcomes:
                self._confirmer.confirm(outcome, waiter)
            while waiter.expected or waiter.finals:
                self._arrive(waiter)
                yield from waiter.take()
        finally:
            self._confirmer.stop_waiting(waiter)

    def cancel_all(
        self,
        cancel_many: CancelMany,
        inst_type: InstType | None,
        inst_id: str | None,
        rounds: int,
        *,
        by_symbol: bool,
    ) -> Generator[tuple[Outcome, Final | None]]:
        """Like `Channel.cancel_all`."""
        check_rounds(rounds)
        confirmer = self._confirmer
        confirmer.check_rest()
        question = OpenOrders(inst_type, inst_id)
        with confirmer.noting_ends() as ended:
            if by_symbol:
                self._cancel_by_symbol(confirmer.rest.cancel_by_symbol(inst_type, inst_id))
            for number in range(rounds):
                settling = by_symbol and number == 0
                listing = Listing(confirmer, question, settling=settling)
                orders = ended.without(self._open_orders(listing))
                if not orders:
                    return
                waiter = FinalWaiter()
                try:
                    for outcome in cancel_many(orders):
                        if isinstance(outcome, Unresolved) and not outcome.sent:
                            yield outcome, None
                        else:
                            confirmer.confirm(outcome, waiter)
                        if (look_up := confirmer.next_look_up()) is not None:
                            self._ask(look_up)
                        for final in waiter.take():
                            ended.add(final)
                            yield final.outcome, final
                    while waiter.expected:
                        self._arrive(waiter)
                        for final in waiter.take():
                            ended.add(final)
                            yield final.outcome, final
                finally:
                    confirmer.stop_waiting(waiter)

    def _cancel_by_symbol(self, request: RestRequest) -> None:
        with self._confirmer.cancelling_by_symbol(request, self._driver.log) as pending:
            headers = self._confirmer.signed(pending.request)
            pending.answer = self._send(pending.request, headers)

    def ask_time(self) -> None:
        """Request the exchange's time by REST. Then log in, with or without an answer."""
        with self._confirmer.asking_time() as pending:
            pending.answer = self._send(pending.request, {})
        self._driver.execute(lambda: self._driver.time_answered(self._confirmer.server_time))

    def _open_orders(self, listing: Listing) -> list[CancelOrder]:
        """Return all open orders, page by page.

        Raises: RestFailed.
        """
        while not listing.complete:
            self._serve(clock() + listing.delay)
            with listing.asking() as pending:
                headers = self._confirmer.signed(pending.request)
                pending.answer = self._send(pending.request, headers)
        return listing.orders

    def _arrive(self, waiter: FinalWaiter) -> None:
        """Wait until a final has arrived."""
        confirmer = self._confirmer
        while not waiter.finals:
            if (look_up := confirmer.next_look_up()) is not None:
                self._ask(look_up)
                self._driver.run_once(clock())
            elif not waiter.finals:  # a deadline may just have expired
                self._serve_once(confirmer.until)

    def _ask(self, look_up: LookUp) -> None:
        with self._confirmer.asking(look_up) as pending:
            headers = self._confirmer.signed(pending.request)
            pending.answer = self._send(pending.request, headers)

    def _serve(self, until: float) -> None:
        """Serve the connection until this time."""
        while clock() < until:
            self._serve_once(until)

    def _serve_once(self, until: float) -> None:
        """Serve the connection until something arrives, or until this time."""
        if self._driver.router.closed is None:
            self._driver.run_once(until)
        elif until < inf:
            time.sleep(max(0.0, until - clock()))


def use_rest(
    driver: BlockingDriver,
    account: Account,
    rest: SendRestBlocking | None,
    *,
    orders: bool,
    session: Session | None = None,
) -> Confirming | None:
    """Enable a channel that was opened with `orders=True` to find out what becomes of its orders,
    and a session with `rest_after` to cancel by REST.

    Raises: ValidationError for an invalid `orders` or `rest`; ImportError without httpx.
    """
    rest_after = None if session is None else session.config.rest_after
    check_rest(rest, orders=orders, rest_after=rest_after)
    if not orders and rest_after is None:
        return None
    ours = rest is None
    if rest is None:
        rest = sender = BlockingHttpxSender(account.target)
        driver.last_step = sender.close
        # Opened now, because that takes a tenth of a second, in which no cancel could be sent.
        # Without httpx, `confirm` raises.
        with suppress(ImportError):
            sender.open()
    if session is not None and rest_after is not None:
        driver.rest = RestCancels(session, driver, ours=ours, at_once=1)
        driver.rest_sender = rest
    if not orders:
        return None
    confirmer = Confirmer(account, driver.router.core.codec.dialect)
    if isinstance(rest, BlockingHttpxSender):
        confirmer.check_rest = rest.open
    driver.follow_orders(confirmer)
    confirming = Confirming(driver, confirmer, rest)
    driver.ask_time = confirming.ask_time
    return confirming
