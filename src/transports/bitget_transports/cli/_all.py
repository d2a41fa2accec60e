"""`bitget-cancel all`: list the open orders of an instrument, ask, and cancel them.

- Only the orders of the list that the question is about are cancelled.
- The question is not asked with `--yes`, in demo trading, or for an exchange on this machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from bitget_proto import CancelOrder, Codec, Dialect, InstType, OpenOrders, ValidationError
from bitget_proto.explain import at_a_shell, quoted

from .. import RestFailed
from .._driver.account import Account
from .._driver.confirmer import Confirmer, Listing
from .._driver.host_names import is_loopback
from .._driver.rest import BlockingHttpxSender, origin_of
from .._driver.url import Target
from ._carriers import has_rest
from ._exit_codes import Exit, Failure, missing_extra
from ._ledger import Ledger
from ._order_list import MARGIN_IS_UNIFIED, line_of
from ._orders import Login, cancel, for_shell, login_of
from ._remaining import check_not_lost
from ._results import count
from ._screen import Column, Screen
from ._stop import Stop

_COLUMNS = (Column("instrument"), Column("product line"), Column("order"))


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:
    """Cancel all open orders of the instrument, and return the exit code."""
    line, inst_id = line_of(arguments), arguments.instrument
    _check(inst_id, line, Codec(dialect=arguments.account))
    login = login_of(arguments)
    check_not_lost(arguments.remaining, ())
    if not has_rest():
        raise Failure(missing_extra("listing the open orders", "rest"))
    asks = not (arguments.dry_run or arguments.yes) and is_live(login.target)
    if asks and (sys.stdin is None or not sys.stdin.isatty()):
        raise Failure(
            f"{login.target.host} is live trading, and there is no terminal to ask on: pass --yes "
            "to cancel without a question, or --dry-run to list the orders; nothing was sent"
        )
    what = inst_id if line is None else f"{inst_id} ({line.value})"
    orders = _open_orders(login, OpenOrders(line, inst_id), arguments)
    if arguments.dry_run or asks:
        _show(orders, screen)
    if not orders:
        screen.aside(f"{what} has no open orders: nothing to cancel")
        return Exit.DONE
    if arguments.dry_run:
        screen.aside(f"dry run: {count(len(orders), 'open order')} of {what}; nothing was sent")
        return Exit.DONE
    if asks:
        _ask(f"cancel {count(len(orders), 'open order')} of {what} on {login.target.host}?", screen)
    return cancel(arguments, login, Ledger(orders), screen, stop)


def is_live(target: Target) -> bool:
    """Return whether cancels may be of real orders: neither demo trading nor this machine."""
    _, demo = origin_of(target)
    return not demo and not is_loopback(target.host)


def _check(inst_id: str, line: InstType | None, codec: Codec) -> None:
    try:
        codec.check_order(CancelOrder(inst_id, order_id="1", inst_type=line))
    except ValidationError as error:
        margin = line is InstType.MARGIN and codec.dialect is Dialect.CLASSIC
        raise Failure(MARGIN_IS_UNIFIED if margin else at_a_shell(str(error))) from None


def _open_orders(
    login: Login, question: OpenOrders, arguments: argparse.Namespace
) -> list[CancelOrder]:
    """Return all open orders that the question is about.

    Raises: Failure when they cannot be read.
    """
    try:
        account = Account.of(
            login.credentials,
            login.url,
            login.target.tls if arguments.ca_file else None,
            time.time,
            allow_plaintext=arguments.allow_plaintext,
            proxy=login.proxy,
        )
    except (ValidationError, ImportError) as error:
        raise Failure(for_shell(str(error))) from error
    confirmer, send = Confirmer(account, login.dialect), BlockingHttpxSender(account.target)
    listing = Listing(confirmer, question)
    try:
        while not listing.complete:
            time.sleep(listing.delay)
            with listing.asking() as asked:
                asked.answer = send(asked.request, confirmer.signed(asked.request))
    except RestFailed as failed:
        raise Failure(f"{failed}; nothing was sent", Exit.NOT_CONNECTED) from failed
    finally:
        send.close()
    return listing.orders


def _show(orders: Sequence[CancelOrder], screen: Screen) -> None:
    for order in orders:
        screen.data(
            "order",
            inst_type=None if order.inst_type is None else order.inst_type.value,
            inst_id=order.inst_id,
            order_id=order.order_id,
            client_oid=order.client_oid,
        )
    if orders and not screen.json:
        screen.table(
            _COLUMNS,
            (
                (
                    order.inst_id or "",
                    "" if order.inst_type is None else order.inst_type.value,
                    order.order_id or f"client {order.client_oid}",
                )
                for order in orders
            ),
        )


def _ask(question: str, screen: Screen) -> None:
    """Ask on the terminal.

    Raises: Failure unless the answer is yes.
    """
    screen.aside(f"{question} Type yes to go on:", "bold")
    answer = sys.stdin.readline().strip()
    if answer.lower() not in ("y", "yes"):
        raise Failure(f"the answer was {quoted(answer)}, not yes: nothing was sent")
