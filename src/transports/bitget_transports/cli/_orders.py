"""`bitget-cancel orders`: cancel orders and report the outcome of each.

The list, the keys and the URL are checked before anything is sent. After an interrupt (see `_stop`)
all known outcomes are still reported.
"""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import attrs

from bitget_proto import (
    Budget,
    CancelOrder,
    Codec,
    Config,
    Credentials,
    Dialect,
    Policy,
    SessionConfig,
    ValidationError,
)
from bitget_proto.explain import quoted

from .. import ConnectFailed, Limits
from .._driver.url import Target
from ._carriers import Carrier, Job, carry
from ._exit_codes import Exit, Failure
from ._keys import keys_from
from ._ledger import Ledger
from ._order_list import Defaults, OrderList, line_of, read_orders
from ._remaining import check_not_lost, remaining
from ._results import Results, count
from ._screen import OutputLost, Screen
from ._stop import Stop
from ._traces import Recording, recording

_PER_SECOND = 10
"""The messages that a connection may send in a second, and the cancels that an account may."""

_MAX_IN_FLIGHT = 20
"""The most cancels in flight at this rate: the cancels of two seconds, so that few are unresolved
when the connection is lost."""

_DRAIN = 5.0
"""The longest wait for answers after Ctrl-C, in seconds."""

_SHELL_ADVICE = (
    ("pass tls=ssl.create_default_context(cafile=…)", "pass --ca-file FILE"),
    ("raise Limits.open_timeout", "raise --connect-timeout"),
    ("raise Config.login_timeout", "raise --connect-timeout"),
    ("pass allow_plaintext=True", "pass --allow-plaintext"),
    ("(proxy=, HTTPS_PROXY)", "(HTTPS_PROXY)"),
)
"""Advice in the library's messages, and the option of the command that replaces it."""


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:
    """Cancel the orders that the arguments name, and return the exit code."""
    ids = [id for id in arguments.ids if id != "-"]
    files = [*arguments.file, *(["-"] if "-" in arguments.ids else [])]
    if "-" in files and sys.stdin is not None and sys.stdin.isatty():
        screen.aside("reading order ids from the terminal: one per line, Ctrl-D to finish")
    wanted = read_orders(
        ids,
        files,
        Defaults(
            inst_id=arguments.instrument,
            inst_type=line_of(arguments),
            client_oids=arguments.client_oid,
            codec=Codec(dialect=arguments.account),
        ),
    )
    for sentence in wanted.duplicates:
        screen.aside(sentence, "yellow")
    kept, orders = _tried(wanted, screen, resend=arguments.resend)
    if arguments.dry_run:
        for option in ("record", "remaining"):
            if getattr(arguments, option) is not None:
                raise Failure(
                    f"--{option} and --dry-run cannot be combined, because a dry run sends "
                    "nothing: leave one of them out"
                )
        return _show_frames(orders, Codec(dialect=arguments.account), screen)
    login = login_of(arguments)
    check_not_lost(arguments.remaining, files)
    return cancel(arguments, login, Ledger(orders, wanted.attempts), screen, stop, kept)


def _tried(
    wanted: OrderList, screen: Screen, *, resend: bool
) -> tuple[list[tuple[CancelOrder, int]], tuple[CancelOrder, ...]]:
    """Return the orders to leave out, with their attempts, and the orders to send.

    Raises: Failure when no order is left to send.
    """
    kept = [
        (order, attempts)
        for order, attempts in wanted.attempts.items()
        if not resend or order.order_id is None
    ]
    if not kept:
        return kept, wanted.orders
    left_out = (
        f"{count(len(kept), 'order')} left out: an earlier run may have cancelled "
        f"{'it' if len(kept) == 1 else 'them'}; look up the state first"
    )
    left_out += (
        ", since a client order id may name another order by now"
        if resend
        else ", or pass --resend to send the cancel again where there is an order id"
    )
    orders = tuple(order for order in wanted.orders if order not in dict(kept))
    if not orders:
        raise Failure(f"no order to cancel: {left_out}")
    screen.aside(left_out, "yellow")
    return kept, orders


@attrs.frozen
class Login:
    """Where to connect to, and the keys to log in with."""

    url: str
    dialect: Dialect
    proxy: str | Literal[True]
    target: Target
    credentials: Credentials


def login_of(arguments: argparse.Namespace) -> Login:
    """Check the URL and the certificates, and then read the keys.

    Raises: Failure.
    """
    dialect = Dialect(arguments.account)
    url = arguments.url or (dialect.demo_url if arguments.demo_trading else dialect.live_url)
    target = _checked(url, arguments)
    credentials = keys_from(arguments.credentials, os.environ, arguments.variables)
    return Login(url, dialect, arguments.proxy, target, credentials)


def cancel(
    arguments: argparse.Namespace,
    login: Login,
    ledger: Ledger,
    screen: Screen,
    stop: Stop,
    kept: Sequence[tuple[CancelOrder, int]] = (),
) -> Exit:
    """Cancel the orders of the ledger, show the results, and return the exit code.

    `kept` are orders that are left out, for the file of `--remaining`.

    Raises: Failure.
    """
    with (
        recording(arguments.record, screen) as record,
        remaining(arguments.remaining, lambda: (*kept, *ledger.left()), screen),
    ):
        return _cancel(arguments, login, ledger, screen, stop, record)


def _cancel(
    arguments: argparse.Namespace,
    login: Login,
    ledger: Ledger,
    screen: Screen,
    stop: Stop,
    record: Recording | None,
) -> Exit:
    target = login.target
    drain = min(_DRAIN, arguments.timeout)
    where, kept = f"{target.host}:{target.port}", arguments.remaining is not None
    confirm, rate = arguments.confirm, arguments.cancels_per_second or _PER_SECOND
    budget = None if arguments.cancels_per_second is None else Budget(rate)
    if login.dialect is Dialect.CLASSIC:  # a message has one cancel
        rate = min(rate, _PER_SECOND)
    results = Results(
        ledger, screen, stop, where, drain, rate=rate, remaining=kept, confirm=confirm
    )
    job = Job(
        credentials=login.credentials,
        url=login.url,
        dialect=login.dialect,
        proxy=login.proxy,
        budget=budget,
        config=SessionConfig(
            link=Config(
                answer_timeout=arguments.timeout,
                drain_timeout=drain,
                login_timeout=arguments.connect_timeout,
                max_in_flight=max(1, _MAX_IN_FLIGHT * rate // _PER_SECOND),
            ),
            policy=Policy.RESEND if arguments.resend else Policy.REPORT,
            dial_timeout=2 * arguments.connect_timeout,
        ),
        # A failed first connection is reported at once; only a dropped one is opened again.
        limits=Limits(open_timeout=arguments.connect_timeout, first_dials=1),
        tls=target.tls if arguments.ca_file else None,
        allow_plaintext=arguments.allow_plaintext,
        trace=None if record is None else record.write,
        orders=ledger.orders(),
        stop=stop,
        on_outcome=results.on_outcome,
        confirm=confirm,
        on_final=results.on_final,
        on_event=results.on_event,
        on_connected=results.on_connected,
        on_stopping=results.on_stopping,
    )
    try:
        with stop.listening():
            with results.watched():
                carry(Carrier(arguments.transport), job)
            return results.show()
    except ConnectFailed as failed:
        raise Failure(for_shell(str(failed)), Exit.NOT_CONNECTED) from failed
    except ValidationError as error:
        raise Failure(for_shell(str(error))) from error
    except (Failure, OutputLost):
        raise
    except BaseException:  # a bug, or a third Ctrl-C
        results.show()
        raise


def for_shell(message: str) -> str:
    """Replace the advice for programmers in a message by the command's options."""
    for library, shell in _SHELL_ADVICE:
        message = message.replace(library, shell)
    return message


def _checked(url: str, arguments: argparse.Namespace) -> Target:
    tls, ca_file = None, arguments.ca_file
    if ca_file is not None:
        if urlsplit(url).scheme != "wss":
            raise Failure("--ca-file needs a wss:// URL: leave it out for ws://")
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ValueError) as error:
            raise Failure(
                f"cannot read certificates from {quoted(ca_file)}: "
                f"{getattr(error, 'strerror', None) or error}: --ca-file needs a PEM file"
            ) from None
    try:
        return Target.of(url, tls, allow_plaintext=arguments.allow_plaintext, proxy=arguments.proxy)
    except ValidationError as error:
        raise Failure(for_shell(str(error))) from None
    except ImportError as error:  # for a SOCKS proxy; it names the extra
        raise Failure(str(error)) from None


def _show_frames(orders: tuple[CancelOrder, ...], codec: Codec, screen: Screen) -> Exit:
    for number, order in enumerate(orders, 1):
        screen.raw(codec.encode_cancel(order, str(number)))
    screen.aside(f"dry run: {count(len(orders), 'frame')}; nothing was sent")
    return Exit.DONE
