"""Command-line arguments and help texts.

This module imports nothing that an extra installs, so `--help` and the checks of arguments work in
any installation. There is no argument for a secret: other users of the machine can read arguments.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

from bitget_proto import Dialect, Engine, InstType, __version__
from bitget_proto.explain import printable

from ._carriers import Carrier
from ._exit_codes import ALL_EXIT_CODES, EXIT_CODES
from ._guard import GUARD_EXAMPLES, GUARD_HELP
from ._help import (
    ALL_EXAMPLES,
    ALL_HELP,
    COMPLETION_HELP,
    DEMO_EXAMPLES,
    DEMO_HELP,
    EXAMPLES,
    EXCHANGE_EXAMPLES,
    EXCHANGE_HELP,
    FAULTS_HELP,
    ORDERS_EXAMPLES,
    ORDERS_HELP,
    REPLAY_EXAMPLES,
    REPLAY_HELP,
)
from ._keys import KEYS_HELP, VARIABLES
from ._order_files import FILES_HELP
from ._profiles import DEFAULT_FILE, PROFILES_HELP
from ._wrapping import Formatter

TRANSPORTS: Final = tuple(carrier.value for carrier in Carrier)
"""The values of `--transport`."""


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an unknown option with the usage of its subcommand.

    Unprintable characters in error messages are escaped.
    """

    def parse_known_args(self, *args: Any, **named: Any) -> Any:
        known, unknown = super().parse_known_args(*args, **named)
        if unknown:  # otherwise the top-level parser reports it, with its own usage
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def complete(top: argparse.ArgumentParser) -> None:
    """Complete the command line, and exit, when the shell asks for that; see `COMPLETION_HELP`."""
    if "_ARGCOMPLETE" in os.environ:
        with suppress(ImportError):
            import argcomplete

            argcomplete.autocomplete(top)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    debug = Parser(add_help=False)
    debug.add_argument(
        "--json",
        action="store_true",
        help="write JSON lines to standard output, and text to standard error",
    )
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")
    profile = Parser(add_help=False)
    top = Parser(
        prog="bitget-cancel",
        description=(
            "Cancel orders over Bitget's private WebSocket. Every cancel gets exactly one outcome."
        ),
        epilog=f"{EXAMPLES}\n{COMPLETION_HELP}",
        formatter_class=Formatter,
    )
    for command, default in ((top, None), (profile, argparse.SUPPRESS)):
        # Given after the command, these options replace those given before it.
        command.add_argument(
            "--profile",
            metavar="NAME",
            default=default,
            help="take the options that are not given from this profile of the configuration file",
        )
        command.add_argument(
            "--config",
            metavar="FILE",
            default=default,
            help=f"the configuration file (default: {DEFAULT_FILE})",
        )
    top.add_argument("--version", action="version", version=f"bitget-proto {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", parents=[debug], help="run a demonstration; needs no keys and no network",
        description=DEMO_HELP, epilog=DEMO_EXAMPLES, formatter_class=Formatter,
    )  # fmt: skip
    demo.add_argument(
        "--orders",
        type=_whole(1, 100_000),
        default=300,
        metavar="N",
        help="cancels over each transport (default: 300)",
    )
    demo.add_argument(
        "--transport",
        action="append",
        choices=TRANSPORTS,
        default=[],
        metavar="NAME",
        help=f"run only this transport; may be repeated (default: all): {', '.join(TRANSPORTS)}",
    )

    _add_account(demo)
    demo.add_argument(
        "--confirm",
        action="store_true",
        help="also look up what became of each order, and compare that; takes three times as long",
    )

    orders = commands.add_parser(
        "orders", parents=[debug, profile], help="cancel your orders", description=ORDERS_HELP,
        epilog=f"{FILES_HELP}\n{KEYS_HELP}\n{PROFILES_HELP}\n{EXIT_CODES}\n{ORDERS_EXAMPLES}",
        formatter_class=Formatter,
    )  # fmt: skip
    orders.add_argument(
        "ids",
        nargs="*",
        metavar="ID",
        help="order ids of the exchange; - reads from standard input",
    )
    orders.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="read orders from this file (see files below); may be repeated",
    )
    _add_instrument(orders)
    _add_client_oid(orders)
    _add_cancelling(orders)
    orders.add_argument(
        "--dry-run",
        action="store_true",
        help="print the frames instead of sending them; needs no keys",
    )

    everything = commands.add_parser(
        "all", parents=[debug, profile], help="cancel all open orders of an instrument",
        description=ALL_HELP, formatter_class=Formatter,
        epilog=f"{KEYS_HELP}\n{PROFILES_HELP}\n{ALL_EXIT_CODES}\n{ALL_EXAMPLES}",
    )  # fmt: skip
    _add_instrument(everything, required=True)
    _add_cancelling(everything)
    everything.add_argument(
        "--dry-run", action="store_true", help="list the open orders, and cancel none"
    )
    everything.add_argument(
        "--yes", action="store_true", help="in live trading, cancel without asking"
    )

    guard = commands.add_parser(
        "guard", parents=[debug], help="let the exchange cancel everything if this ends",
        description=GUARD_HELP, epilog=f"{KEYS_HELP}\n{GUARD_EXAMPLES}", formatter_class=Formatter,
    )  # fmt: skip
    guard.add_argument(
        "--countdown", type=_whole(5, 60), default=30, metavar="SECONDS",
        help="cancel all orders this long after the last renewal, 5 to 60 s (default: 30)",
    )  # fmt: skip
    guard.add_argument(
        "--leave-on", action="store_true",
        help="leave the countdown on at the end, so that the exchange cancels all orders",
    )  # fmt: skip
    _add_connecting(guard)
    guard.set_defaults(account=Dialect.UNIFIED.value, proxy=True, variables=VARIABLES)

    replay = commands.add_parser(
        "replay", parents=[debug], help="show a recording, replay it and compare", description=REPLAY_HELP,
        epilog=REPLAY_EXAMPLES, formatter_class=Formatter,
    )  # fmt: skip
    replay.add_argument(
        "file",
        metavar="FILE",
        help='the recording, made by "bitget-cancel orders --record"; - reads standard input',
    )
    replay.add_argument(
        "--engine",
        choices=[engine.value for engine in Engine],
        metavar="NAME",
        help=(
            "replay with this JSON engine (default: the one recorded): "
            f"{', '.join(engine.value for engine in Engine)}"
        ),
    )

    exchange = commands.add_parser(
        "exchange", parents=[debug], help="run the embedded exchange", description=EXCHANGE_HELP,
        epilog=f"{FILES_HELP}\n{FAULTS_HELP}\n{EXCHANGE_EXAMPLES}", formatter_class=Formatter,
    )  # fmt: skip
    exchange.add_argument(
        "--port",
        type=_whole(0, 65535),
        default=0,
        help="listen on this port of 127.0.0.1 (default: a free one)",
    )
    book = exchange.add_mutually_exclusive_group()
    book.add_argument(
        "--orders",
        action="append",
        default=[],
        metavar="FILE",
        help="read the live orders from this file (see files below); may be repeated",
    )
    book.add_argument(
        "--generate",
        type=_whole(0, 1_000_000),
        default=100,
        metavar="N",
        help="create N live orders (default: 100)",
    )
    _add_instrument(exchange, default="BTCUSDT")
    _add_account(exchange)
    _add_client_oid(exchange)
    exchange.add_argument(
        "--credentials",
        metavar="FILE",
        help="accept only the API key in this TOML file, and check signatures",
    )
    exchange.add_argument(
        "--any-key",
        action="store_true",
        help="accept any API key, even when the environment holds one",
    )
    exchange.add_argument(
        "--fault", action="append", default=[], metavar="NAME[:N]",
        help=(
            "inject this fault into the next N cancels (default: 1; see faults below); "
            "may be repeated"
        ),
    )  # fmt: skip
    exchange.add_argument(
        "--lenient",
        action="store_true",
        help="accept logins and subscriptions in the form that existing clients send",
    )
    exchange.add_argument(
        "--no-limits",
        action="store_true",
        help="lift the rate limits for messages and cancels",
    )
    exchange.add_argument(
        "--batches-per-second", type=_whole(1, 1_000_000), metavar="N",
        help=(
            "on a unified account, accept N batches a second; their orders then do not count as "
            "cancels (default: each order counts)"
        ),
    )  # fmt: skip
    exchange.add_argument(
        "--tells-limits",
        action="store_true",
        help="on a unified account, say in each answer how many cancels are left (rateLimit)",
    )
    exchange.add_argument(
        "--log",
        action="store_true",
        help="show every connection, its end, and every frame, without secrets",
    )
    return top


def _add_instrument(
    command: argparse.ArgumentParser, *, default: str | None = None, required: bool = False
) -> None:
    said = "" if default is None else f" (default: {default})"
    lines = [member.value for member in InstType]
    command.add_argument(
        "--instrument",
        metavar="INST_ID",
        default=default,
        required=required,
        help=f"the instrument, for example BTCUSDT{said}",
    )
    command.add_argument(
        "--inst-type",
        choices=lines,
        metavar="LINE",
        help=f"the product line (default: SPOT; any, on unified accounts): {', '.join(lines)}",
    )


def _add_client_oid(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--client-oid",
        action="store_true",
        help="ids without a column name are client order ids (clientOid), not order ids",
    )


def _add_account(command: argparse.ArgumentParser, default: str | None = "classic") -> None:
    command.add_argument(
        "--account",
        choices=[dialect.value for dialect in Dialect],
        default=default,
        metavar="KIND",
        help=f"the kind of account: {', '.join(dialect.value for dialect in Dialect)} (default: classic)",
    )


def _add_connecting(command: argparse.ArgumentParser) -> None:
    """Add the options that say where to connect, and with which key."""
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--demo-trading",
        action="store_true",
        help="connect to Bitget's demo trading; needs a demo API key",
    )
    where.add_argument("--url", help="connect to this URL instead of the exchange's")
    command.add_argument(
        "--credentials",
        metavar="FILE",
        help="read the API key from this TOML file (see keys below; default: the environment)",
    )
    command.add_argument(
        "--ca-file",
        metavar="FILE",
        help="trust the certificates in this PEM file instead of the system's",
    )
    command.add_argument(
        "--allow-plaintext", action="store_true",
        help="allow an unencrypted ws:// URL to another machine; the key can be read on the way",
    )  # fmt: skip


def _add_cancelling(command: argparse.ArgumentParser) -> None:
    """Add the options for connecting, cancelling and reporting.

    A default of None is filled in by `_profiles`.
    """
    _add_account(command, None)
    _add_connecting(command)
    command.add_argument(
        "--transport",
        choices=TRANSPORTS,
        metavar="NAME",
        help=f"the transport (default: asyncio; trio is anyio on trio): {', '.join(TRANSPORTS)}",
    )
    command.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS",
        help="how long to wait for the answer to a sent cancel (default: 10)",
    )  # fmt: skip
    command.add_argument(
        "--connect-timeout", type=_seconds, metavar="SECONDS",
        help="how long connecting may take, and then logging in (default: 10)",
    )  # fmt: skip
    command.add_argument(
        "--confirm", action="store_true",
        help="find out what became of each order, from pushes and REST, for up to 60 s",
    )  # fmt: skip
    command.add_argument(
        "--resend", action="store_true",
        help=(
            "send unanswered cancels again, after a dropped connection and from a --remaining "
            "file; the exchange may then get a cancel twice"
        ),
    )  # fmt: skip
    command.add_argument(
        "--record", metavar="FILE",
        help="record the run to a new file, without secrets (see bitget-cancel replay)",
    )  # fmt: skip
    command.add_argument(
        "--remaining", metavar="FILE",
        help="write the orders whose cancel is not settled to this file, for a later --file",
    )  # fmt: skip


def _whole(least: int, most: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not (
            text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most
        ):
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}; got {text!r}"
            )
        return int(text)

    return whole


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0; got {text!r}")
    return seconds
