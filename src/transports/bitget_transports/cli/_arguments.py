"""Command-line arguments and help texts.

This module imports nothing that an extra installs, so `--help` and the checks of arguments work in
any installation. There is no argument for a secret: other users of the machine can read arguments.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

from bitget_proto import Engine, InstType, __version__
from bitget_proto.explain import printable
from bitget_proto.testing import Fault

from ._carriers import Carrier
from ._exit_codes import EXIT_CODES
from ._keys import KEYS_HELP
from ._order_list import FILES_HELP

TRANSPORTS: Final = tuple(carrier.value for carrier in Carrier)
"""The values of `--transport`."""

FAULTS: Final = ("none", *(fault.value.replace(" ", "-") for fault in Fault))
"""The names that `--fault` accepts before the colon."""

_EXAMPLES: Final = """\
examples:
  bitget-cancel demo
  bitget-cancel orders --instrument BTCUSDT 1376695893517410304
  bitget-cancel exchange --port 8765
  bitget-cancel replay record.jsonl

Run "bitget-cancel COMMAND --help" for the options and examples of a command.
"""

_DEMO_HELP: Final = """\
Start an exchange in this process, place orders on it, and cancel them over real
WebSockets with each transport: anyio on asyncio, anyio on trio, asyncio, and a
blocking socket. Faults are injected on the way. At the end every outcome is
compared with what the exchange received and did.

No keys are needed and nothing leaves this machine. The rate limits are lifted on
both sides, so the demo takes seconds. Transports that are not installed are
skipped.
"""

_DEMO_EXAMPLES: Final = """\
examples:
  bitget-cancel demo
  bitget-cancel demo --orders 2000 --transport trio --transport blocking
  bitget-cancel demo --json | jq .

exit codes:
  0    every cancel got exactly one outcome, and every outcome is correct
  1    a cancel got no outcome, several outcomes, or a wrong one
  2    wrong arguments, or no transport is installed
  4    a transport could not connect to the embedded exchange
  130  interrupted by Ctrl-C (143: by SIGTERM)
  141  the output could not be written
"""

_ORDERS_HELP: Final = """\
Cancel your orders over Bitget's private WebSocket, at the exchange's limit of
10 messages a second. If the connection drops, it is opened again. The outcome of
each cancel is one of:

  accepted              the exchange accepted the request; the order may still
                        fill before the cancel takes effect
  rejected              the exchange refused the request
  unresolved, sent      no definite answer came: look the order up
  unresolved, not sent  the cancel never left: safe to send again

Ctrl-C stops sending, waits up to 5 s for the answers to the cancels already sent,
and reports every outcome. A second Ctrl-C skips the wait.
"""

_ORDERS_EXAMPLES: Final = """\
examples:
  bitget-cancel orders --instrument BTCUSDT 1376695893517410304 1376695893517410305
  bitget-cancel orders --instrument BTCUSDT --client-oid mine-7 mine-8
  bitget-cancel orders --file orders.csv --dry-run
  bitget-cancel orders --instrument BTCUSDT --json - < ids.txt
  bitget-cancel orders --inst-type USDT-FUTURES --instrument ETHUSDT \\
      --demo-trading --credentials keys.toml --file ids.txt

Put -- before an id that begins with a dash:
  bitget-cancel orders --instrument BTCUSDT -- -7
"""

_EXCHANGE_HELP: Final = """\
Run the embedded exchange on 127.0.0.1 until Ctrl-C. Any client can connect to it.
It checks requests strictly against Bitget's documentation and injects faults on
request.

Any API key is accepted, unless one is given by --credentials or by the
environment variables that "bitget-cancel orders" reads; then only that key is
accepted, and the timestamp and the signature of a login are checked.
"""

_FAULT_WORDS: Final = {
    "none": "no fault: none:5 leaves five cancels alone",
    "late": "the answer comes late",
    "duplicate": "the answer comes twice",
    "silent": "no answer comes",
    "garbage": "invalid JSON comes instead of the answer",
    "wrong-types": "the id of the answer is a number, and its code is true",
    "unknown-id": "the answer has an id that no request had",
    "no-arg": "an error that names no request (30016) comes instead of the answer",
    "unsure": "the answer is a code (40010) that leaves the outcome open",
    "drop-before": "the connection drops before the exchange acts",
    "drop-after": "the connection drops after the exchange acts, without an answer",
    "going-away": "a notice (30033), then the answer, then the connection drops",
    "throttle": "the exchange does not act: an error that names no request (30006) comes",
    "push-first": "the push of the orders channel comes before the answer",
    "no-push": "the push of the orders channel is lost",
}

_FAULTS_HELP: Final = "\n".join(
    (
        "faults, each applied to one cancel, in the order of the options:",
        *(f"  {name:<12} {_FAULT_WORDS.get(name, '')}".rstrip() for name in FAULTS),
        "",
    )
)

_EXCHANGE_EXAMPLES: Final = """\
examples:
  bitget-cancel exchange --port 8765 --generate 500
  bitget-cancel exchange --orders orders.csv --log
  bitget-cancel exchange --fault none:5 --fault silent:2 --fault drop-after

exit codes:
  0    stopped by Ctrl-C or SIGTERM
  2    wrong arguments, or the port is in use
  141  the output could not be written
"""


_REPLAY_HELP: Final = """\
Show a recording as a timeline: what was called, what was sent and received, and
the outcome of each cancel with its reason. Then replay the recording and compare
the output of the protocol core with the recorded output, byte for byte. Nothing
is sent.
"""

_REPLAY_EXAMPLES: Final = """\
examples:
  bitget-cancel orders --instrument BTCUSDT --record record.jsonl 1376695893517410304
  bitget-cancel replay record.jsonl
  bitget-cancel replay --engine msgspec --json record.jsonl | jq .

exit codes:
  0    the replay gave the recorded output
  1    the replay differs; the first difference is shown
  2    wrong arguments, or the file is not a valid recording
  141  the output could not be written
"""


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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    debug = Parser(add_help=False)
    debug.add_argument(
        "--json",
        action="store_true",
        help="write JSON lines to standard output, and text to standard error",
    )
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")
    top = Parser(
        prog="bitget-cancel",
        description=(
            "Cancel orders over Bitget's private WebSocket. Every cancel gets exactly one outcome."
        ),
        epilog=_EXAMPLES,
        formatter_class=plain,
    )
    top.add_argument("--version", action="version", version=f"bitget-proto {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", parents=[debug], help="run a demonstration; needs no keys and no network",
        description=_DEMO_HELP, epilog=_DEMO_EXAMPLES, formatter_class=plain,
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
        help="run only this transport; may be repeated (default: all)",
    )

    orders = commands.add_parser(
        "orders", parents=[debug], help="cancel your orders", description=_ORDERS_HELP,
        epilog=f"{FILES_HELP}\n{KEYS_HELP}\n{EXIT_CODES}\n{_ORDERS_EXAMPLES}", formatter_class=plain,
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
    _add_instrument(orders, None)
    where = orders.add_mutually_exclusive_group()
    where.add_argument(
        "--demo-trading",
        action="store_true",
        help="connect to Bitget's demo trading; needs a demo API key",
    )
    where.add_argument("--url", help="connect to this URL instead of the exchange's")
    orders.add_argument(
        "--credentials",
        metavar="FILE",
        help="read the API key from this TOML file (see keys below; default: the environment)",
    )
    orders.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="asyncio",
        help="the transport to use (default: asyncio; trio is anyio on trio)",
    )
    orders.add_argument(
        "--timeout", type=_seconds, default=10.0, metavar="SECONDS",
        help="how long to wait for the answer to a sent cancel (default: 10)",
    )  # fmt: skip
    orders.add_argument(
        "--connect-timeout", type=_seconds, default=10.0, metavar="SECONDS",
        help="how long connecting may take, and then logging in (default: 10)",
    )  # fmt: skip
    orders.add_argument(
        "--ca-file",
        metavar="FILE",
        help="trust the certificates in this PEM file instead of the system's",
    )
    orders.add_argument(
        "--allow-plaintext", action="store_true",
        help="allow an unencrypted ws:// URL to another machine; the login can be read on the way",
    )  # fmt: skip
    orders.add_argument(
        "--resend", action="store_true",
        help=(
            "after a dropped connection, send unanswered cancels again; "
            "the exchange may then get a cancel twice"
        ),
    )  # fmt: skip
    orders.add_argument(
        "--dry-run",
        action="store_true",
        help="print the frames instead of sending them; needs no keys",
    )
    orders.add_argument(
        "--record", metavar="FILE",
        help="record the run to a new file, without secrets (see bitget-cancel replay)",
    )  # fmt: skip

    replay = commands.add_parser(
        "replay", parents=[debug], help="show a recording, replay it and compare", description=_REPLAY_HELP,
        epilog=_REPLAY_EXAMPLES, formatter_class=plain,
    )  # fmt: skip
    replay.add_argument(
        "file",
        metavar="FILE",
        help='the recording, made by "bitget-cancel orders --record"; - reads standard input',
    )
    replay.add_argument(
        "--engine",
        choices=[engine.value for engine in Engine],
        help="replay with this JSON engine (default: the one recorded)",
    )

    exchange = commands.add_parser(
        "exchange", parents=[debug], help="run the embedded exchange", description=_EXCHANGE_HELP,
        epilog=f"{FILES_HELP}\n{_FAULTS_HELP}\n{_EXCHANGE_EXAMPLES}", formatter_class=plain,
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
    _add_instrument(exchange, "BTCUSDT")
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
    exchange.add_argument("--log", action="store_true", help="show every frame, without secrets")
    return top


def _add_instrument(command: argparse.ArgumentParser, instrument: str | None) -> None:
    default = "" if instrument is None else f" (default: {instrument})"
    lines = [member.value for member in InstType]
    command.add_argument(
        "--instrument",
        metavar="INST_ID",
        default=instrument,
        help=f"the instrument, for example BTCUSDT{default}",
    )
    command.add_argument(
        "--inst-type", choices=lines, default="SPOT", help="the product line (default: SPOT)"
    )
    command.add_argument(
        "--client-oid",
        action="store_true",
        help="ids without a column name are client order ids (clientOid), not order ids",
    )


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
