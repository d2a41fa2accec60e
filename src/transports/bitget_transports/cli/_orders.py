"""`bitget-cancel orders`: cancel orders of your own, and say honestly what became of each.

Rules of this file
- Everything is checked before anything is sent: the list, the keys, the URL.
- What can be interrupted is interrupted in `_stop`'s way, and everything that is known is still reported.
"""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from urllib.parse import urlsplit

import attrs

from bitget_proto import (
    CancelOrder,
    Codec,
    Config,
    Credentials,
    InstType,
    Policy,
    SessionConfig,
    ValidationError,
)
from bitget_proto.explain import quoted

from .. import DEMO_URL, LIVE_URL, ConnectFailed, Limits
from .._driver.url import Target
from ._carriers import Carrier, Job, carry
from ._exit_codes import Exit, Failure
from ._keys import keys_from
from ._ledger import Ledger
from ._order_list import Defaults, read_orders
from ._results import Results, count
from ._screen import OutputLost, Screen
from ._stop import Stop
from ._traces import Recording, recording

_AT_A_TIME = 20
"""Cancels that are taken and unanswered at a time: two seconds of the exchange's pace, so that little is lost when the
connection is."""

_DRAIN = 5.0
"""Seconds that answers are waited for, at most, after Ctrl-C."""

_IN_THE_COMMANDS_WORDS = (
    ("pass tls=ssl.create_default_context(cafile=…)", "pass --ca-file FILE"),
    ("raise Limits.open_timeout", "raise --connect-timeout"),
    ("raise Config.login_timeout", "raise --connect-timeout"),
    ("pass allow_plaintext=True", "pass --allow-plaintext"),
)
"""What the library's messages tell a programmer to do, and what somebody at a shell does instead."""


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:
    """Cancel what the arguments name; gives the exit code."""
    ids = [id for id in arguments.ids if id != "-"]
    files = [*arguments.file, *(["-"] if "-" in arguments.ids else [])]
    if "-" in files and sys.stdin is not None and sys.stdin.isatty():
        screen.aside("reading order ids from the terminal: one a line, Ctrl-D ends")
    asked = read_orders(
        ids,
        files,
        Defaults(
            inst_id=arguments.instrument,
            inst_type=InstType(arguments.inst_type),
            client_oids=arguments.client_oid,
        ),
    )
    for sentence in asked.doubles:
        screen.aside(sentence, "yellow")
    if arguments.dry_run:
        if arguments.record is not None:
            raise Failure(
                "--record keeps what is sent, and --dry-run sends nothing: leave one of them out"
            )
        return _show_frames(asked.orders, screen)
    url = arguments.url or (DEMO_URL if arguments.demo_trading else LIVE_URL)
    target = _checked(url, arguments.ca_file, allow_plaintext=arguments.allow_plaintext)
    credentials = keys_from(arguments.credentials, os.environ)
    with recording(arguments.record, screen) as kept:
        return _carried(
            arguments, Where(url, target, credentials), asked.orders, screen, stop, kept
        )


@attrs.frozen
class Where:
    """Who logs in where."""

    url: str
    target: Target
    credentials: Credentials


def _carried(
    arguments: argparse.Namespace,
    where: Where,
    orders: tuple[CancelOrder, ...],
    screen: Screen,
    stop: Stop,
    kept: Recording | None,
) -> Exit:
    target = where.target
    patience = min(_DRAIN, arguments.timeout)
    results = Results(Ledger(orders), screen, stop, f"{target.host}:{target.port}", patience)
    job = Job(
        credentials=where.credentials,
        url=where.url,
        config=SessionConfig(
            link=Config(
                answer_timeout=arguments.timeout,
                drain_timeout=patience,
                login_timeout=arguments.connect_timeout,
                max_in_flight=_AT_A_TIME,
            ),
            policy=Policy.RESEND if arguments.resend else Policy.REPORT,
            dial_timeout=2 * arguments.connect_timeout,
        ),
        # Whoever waits at a shell is told at once that there is no connection; a dropped one is dialled again.
        limits=Limits(open_timeout=arguments.connect_timeout, first_dials=1),
        tls=target.tls if arguments.ca_file else None,
        allow_plaintext=arguments.allow_plaintext,
        trace=None if kept is None else kept.write,
        orders=results.ledger.orders(),
        stop=stop,
        tell=results.tell,
        note=results.note,
        connected=results.connected,
        stopping=results.stopping,
    )
    try:
        with stop.listening():
            with results.watched():
                carry(Carrier(arguments.transport), job)
            return results.show()
    except ConnectFailed as failed:
        raise Failure(in_the_commands_words(str(failed)), Exit.NOT_CONNECTED) from failed
    except ValidationError as error:
        raise Failure(in_the_commands_words(str(error))) from error
    except (Failure, OutputLost):
        raise
    except BaseException:  # a bug, or a third Ctrl-C
        results.show()
        raise


def in_the_commands_words(message: str) -> str:
    """The library's message, telling what to do at a shell."""
    for programmer, shell in _IN_THE_COMMANDS_WORDS:
        message = message.replace(programmer, shell)
    return message


def _checked(url: str, ca_file: str | None, *, allow_plaintext: bool) -> Target:
    """Check where to connect to, before keys leave for there."""
    tls = None
    if ca_file is not None:
        if urlsplit(url).scheme != "wss":
            raise Failure("--ca-file is for a wss:// URL: leave it out for ws://")
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ValueError) as error:
            raise Failure(
                f"cannot read certificates from {quoted(ca_file)}: {getattr(error, 'strerror', None) or error}: --ca-file "
                "wants a file in PEM form"
            ) from None
    try:
        return Target.of(url, tls, allow_plaintext=allow_plaintext)
    except ValidationError as error:
        raise Failure(in_the_commands_words(str(error))) from None


def _show_frames(orders: tuple[CancelOrder, ...], screen: Screen) -> Exit:
    codec = Codec()
    for number, order in enumerate(orders, 1):
        screen.raw(codec.encode_cancel(order, str(number)))
    screen.aside(f"dry run: {count(len(orders), 'frame')}, nothing was sent")
    return Exit.DONE
