"""The words of the command: what it takes, and what its help says.

Rules of this file
- It imports nothing that an extra brings: `--help` and wrong arguments are answered by any installation.
- There is no argument for a secret: other users of the machine can read arguments.
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
"""What `--transport` takes."""

FAULTS: Final = ("none", *(fault.value.replace(" ", "-") for fault in Fault))
"""What `--fault` takes before the colon."""

_EXAMPLES: Final = """\
examples:
  bitget-cancel demo
  bitget-cancel orders --instrument BTCUSDT 1376695893517410304
  bitget-cancel exchange --port 8765
  bitget-cancel replay record.jsonl

Each command has a --help with examples of its own.
"""

_DEMO_HELP: Final = """\
Starts an exchange in this process, fills its book with orders, and cancels them over real WebSockets: through anyio on asyncio,
anyio on trio, asyncio, and a blocking socket, with faults mixed in. Then it holds every outcome against what the exchange
really received and did. Nothing leaves this machine and no keys are needed. The paces are raised on both sides, so that it
takes seconds. A transport whose extra is not installed is skipped.
"""

_DEMO_EXAMPLES: Final = """\
examples:
  bitget-cancel demo
  bitget-cancel demo --orders 2000 --transport trio --transport blocking
  bitget-cancel demo --json | jq .

exit codes: 0 when every cancel got exactly one outcome and each was honest, 1 when not, 2 for wrong arguments, 130 for Ctrl-C,
141 when the output could not be written
"""

_ORDERS_HELP: Final = """\
Cancels orders of yours at the exchange's pace of 10 messages a second, dials again when the connection drops, and says what
became of each: accepted (the exchange took the request; the order may still fill), rejected, or unresolved: sent (nobody
knows: look the order up) or not sent (safe to send again). Ctrl-C stops sending, waits at most 5 s for what is out, and
reports; a second Ctrl-C ends at once, and still reports.
"""

_ORDERS_EXAMPLES: Final = """\
examples:
  bitget-cancel orders --instrument BTCUSDT 1376695893517410304 1376695893517410305
  bitget-cancel orders --instrument BTCUSDT --client-oid mine-7 mine-8
  bitget-cancel orders --file orders.csv --dry-run
  bitget-cancel orders --instrument BTCUSDT --json - < ids.txt
  bitget-cancel orders --inst-type USDT-FUTURES --instrument ETHUSDT --demo-trading --credentials keys.toml --file ids.txt

An id that begins with a dash comes behind two of them: bitget-cancel orders --instrument BTCUSDT -- -7
"""

_EXCHANGE_HELP: Final = """\
Runs the embedded exchange on loopback until Ctrl-C, to point any client at. It is strict by the pages of the exchange, and
shows faults on request. Any key is welcome, unless it is told one: by --credentials, or by the environment variables of
`bitget-cancel orders`; then stamp and signature are checked.
"""

_FAULTS_HELP: Final = f"""\
faults:
  {", ".join(FAULTS[:9])},
  {", ".join(FAULTS[9:])}.
  They befall the coming cancels, one each, in the order of the options; none:5 leaves five alone.
"""

_EXCHANGE_EXAMPLES: Final = """\
examples:
  bitget-cancel exchange --port 8765 --generate 500
  bitget-cancel exchange --orders orders.csv --log
  bitget-cancel exchange --fault none:5 --fault silent:2 --fault drop-after

exit codes: 0 after Ctrl-C, 2 for wrong arguments or a port that is taken, 141 when the output could not be written
"""


_REPLAY_HELP: Final = """\
Tells the story of a record: what was asked, what was sent, what came, and what each cancel became and why. Then it plays the
record again, and compares what comes out of the core with what is recorded, byte for byte. Nothing is sent anywhere.
"""

_REPLAY_EXAMPLES: Final = """\
examples:
  bitget-cancel orders --instrument BTCUSDT --record record.jsonl 1376695893517410304
  bitget-cancel replay record.jsonl
  bitget-cancel replay --engine msgspec --json record.jsonl | jq .

exit codes: 0 when the replay is the same, 1 when it differs, 2 when the file cannot be read as a record,
141 when the output could not be written
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors show the usage of the subcommand that they are about, and nothing that a screen obeys."""

    def parse_known_args(self, *args: Any, **named: Any) -> Any:
        known, unknown = super().parse_known_args(*args, **named)
        if unknown:  # else it is the whole that refuses what a command does not know, and shows its own usage
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def parser() -> argparse.ArgumentParser:
    """What reads the arguments."""
    plain = argparse.RawDescriptionHelpFormatter
    debug = Parser(add_help=False)
    debug.add_argument(
        "--json",
        action="store_true",
        help="JSON lines on standard output; words go to standard error",
    )
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")
    top = Parser(
        prog="bitget-cancel",
        description="Cancels orders over Bitget's private WebSocket: every cancel gets exactly one outcome, and it is honest.",
        epilog=_EXAMPLES,
        formatter_class=plain,
    )
    top.add_argument("--version", action="version", version=f"bitget-proto {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", parents=[debug], help="watch it work, without keys and network", description=_DEMO_HELP,
        epilog=_DEMO_EXAMPLES, formatter_class=plain,
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
        help="only this one; may be repeated",
    )

    orders = commands.add_parser(
        "orders", parents=[debug], help="cancel orders of yours", description=_ORDERS_HELP,
        epilog=f"{FILES_HELP}\n{KEYS_HELP}\n{EXIT_CODES}\n{_ORDERS_EXAMPLES}", formatter_class=plain,
    )  # fmt: skip
    orders.add_argument(
        "ids", nargs="*", metavar="ID", help="the exchange's order ids; - reads standard input"
    )
    orders.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="read orders from this file (below); may be repeated",
    )
    _add_instrument(orders, None)
    where = orders.add_mutually_exclusive_group()
    where.add_argument(
        "--demo-trading", action="store_true", help="connect to demo trading: it wants a demo key"
    )
    where.add_argument("--url", help="connect to this URL instead of the exchange's")
    orders.add_argument(
        "--credentials", metavar="FILE", help="the keys, in TOML (below); default: the environment"
    )
    orders.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="asyncio",
        help="what carries it (default: asyncio; trio is anyio on trio)",
    )
    orders.add_argument(
        "--timeout", type=_seconds, default=10.0, metavar="SECONDS",
        help="how long to wait for an answer to what was sent (default: 10)",
    )  # fmt: skip
    orders.add_argument(
        "--connect-timeout", type=_seconds, default=10.0, metavar="SECONDS",
        help="how long to connect may take, and then to log in (default: 10)",
    )  # fmt: skip
    orders.add_argument(
        "--ca-file",
        metavar="FILE",
        help="certificates in PEM form to trust instead of the system's",
    )
    orders.add_argument(
        "--allow-plaintext", action="store_true",
        help="allow a ws:// URL beyond this machine: everybody on the way reads the login",
    )  # fmt: skip
    orders.add_argument(
        "--resend", action="store_true",
        help="send again what was sent on a connection that dropped before the answer; it may act twice on the same order",
    )  # fmt: skip
    orders.add_argument(
        "--dry-run", action="store_true", help="print the frames; needs no keys and sends nothing"
    )

    orders.add_argument(
        "--record", metavar="FILE",
        help="write what happens to a new file, without secrets, for bitget-cancel replay",
    )  # fmt: skip

    replay = commands.add_parser(
        "replay", parents=[debug], help="tell what a record holds, and play it again", description=_REPLAY_HELP,
        epilog=_REPLAY_EXAMPLES, formatter_class=plain,
    )  # fmt: skip
    replay.add_argument(
        "file",
        metavar="FILE",
        help="what `bitget-cancel orders --record` has written; - is standard input",
    )
    replay.add_argument(
        "--engine",
        choices=[engine.value for engine in Engine],
        help="the JSON engine to play it with (default: as recorded)",
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
        help="the live orders (below); may be repeated",
    )
    book.add_argument(
        "--generate",
        type=_whole(0, 1_000_000),
        default=100,
        metavar="N",
        help="that many live orders (default: 100)",
    )
    _add_instrument(exchange, "BTCUSDT")
    exchange.add_argument(
        "--credentials",
        metavar="FILE",
        help="welcome this key only, in TOML, and check its signature",
    )
    exchange.add_argument(
        "--any-key", action="store_true", help="welcome any key, whatever the environment holds"
    )
    exchange.add_argument(
        "--fault", action="append", default=[], metavar="NAME[:N]",
        help="let this (below) befall the next N cancels (default: 1); may be repeated",
    )  # fmt: skip
    exchange.add_argument(
        "--lenient",
        action="store_true",
        help="take logins and subscriptions as real clients send them",
    )
    exchange.add_argument(
        "--no-limits", action="store_true", help="take any number of messages and cancels a second"
    )
    exchange.add_argument(
        "--log", action="store_true", help="show every frame, without its secrets"
    )
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
        help="plain ids are your own (clientOid), not the exchange's",
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
