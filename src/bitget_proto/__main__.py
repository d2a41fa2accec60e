"""`python -m bitget_proto`: encode, decode and explain frames and codes on the command line.

It opens no connection and takes no credentials. The exit code is 0 on success, 1 when some frames
were malformed, and 2 on failure, with a one-line message on standard error and never a traceback.
Text from a peer must be printed through `explain`, which escapes it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NoReturn, TextIO

from ._values.dialects import Dialect
from ._values.errors import ValidationError, safe_repr
from ._values.orders import CancelOrder, InstType
from ._values.states import diagram
from ._version import __version__
from ._wire.codec import Codec
from ._wire.json_engines import Engine, fastest
from ._wire.json_text import read_code
from ._wire.messages import Malformed
from .explain import (
    at_a_shell,
    code_table,
    encodable,
    explain,
    explain_code,
    printable,
    quoted,
    read,
)

_MALFORMED, _FAILED, _INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141
"""Exit codes; the last two are those of a command that was ended by SIGINT or SIGPIPE."""

_LINE = 65536
"""The maximum length of a frame in bytes, as in `Config.max_message`."""

_EXAMPLES = """\
examples:
  python -m bitget_proto encode --instrument BTCUSDT --order-id 1376695893517410304
  python -m bitget_proto decode frames.txt
  python -m bitget_proto explain 43001 30033
  python -m bitget_proto diagram
"""

_ENCODE_EXAMPLES = """\
examples:
  python -m bitget_proto encode --instrument BTCUSDT --order-id 1376695893517410304
  python -m bitget_proto encode --instrument ETHUSDT --client-oid a7 --inst-type USDT-FUTURES --id 42
  python -m bitget_proto encode --account unified --order-id 1376695893517410304

Use an equals sign for a value that begins with a dash: --client-oid=-7
"""

_DECODE_EXAMPLES = """\
examples:
  python -m bitget_proto decode frames.txt
  python -m bitget_proto decode --json < frames.txt
  echo '{"event":"error","code":30004,"msg":""}' | python -m bitget_proto decode

exit codes: 0 if all frames were readable, 1 if some were malformed, 2 if the file could not be
read or the engine is not installed
"""

_DIAGRAM_EXAMPLES = """\
examples:
  python -m bitget_proto diagram
  python -m bitget_proto diagram > states.mmd
"""

_EXPLAIN_EXAMPLES = """\
examples:
  python -m bitget_proto explain              the whole table
  python -m bitget_proto explain 43001 30033  these two
"""


class _Failure(Exception):
    """The command failed; the message is the line for standard error."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors show the usage of their subcommand.

    Control characters in the message are escaped.
    """

    def parse_known_args(self, *args: Any, **named: Any) -> Any:
        known, unknown = super().parse_known_args(*args, **named)
        if unknown:  # the main parser would report them with its own usage
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. The default for `argv` is `sys.argv[1:]`."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help or the error
        return stop.code if isinstance(stop.code, int) else _FAILED
    try:
        code = _run(arguments)
        _out().flush()
    except _Failure as failure:
        return _fail(str(failure))
    except BrokenPipeError:  # the reader of our output has closed it
        _silence()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        _silence()
        return _fail(f"cannot write the output: {error.strerror}")
    return code


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m bitget_proto",
        description=(
            "Encodes and explains the frames and codes of Bitget's private WebSocket. Nothing is "
            "sent."
        ),
        epilog=_EXAMPLES,
        formatter_class=plain,
    )
    parser.add_argument("--version", action="version", version=f"bitget-proto {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    encode = commands.add_parser(
        "encode",
        help="print the frame that cancels an order",
        description="Prints the frame that cancels an order. It must be sent after the login.",
        epilog=_ENCODE_EXAMPLES,
        formatter_class=plain,
    )
    encode.add_argument("--instrument", help="the instrument, for example BTCUSDT")
    encode.add_argument(
        "--order-id", help="the exchange's id of the order; it prevails if both ids are given"
    )
    encode.add_argument(
        "--client-oid", help="your own id of the order; at least one of the two ids is required"
    )
    product_lines = [member.value for member in InstType]
    encode.add_argument(
        "--inst-type",
        choices=product_lines,
        help="the product line (default: SPOT; any, on unified accounts)",
    )
    _add_account(encode)
    encode.add_argument(
        "--id", default="1", help="the request id, which the answer repeats (default: 1)"
    )

    decode = commands.add_parser(
        "decode",
        help="explain frames, one per line",
        description=(
            "Reads frames of either side, one per line, and explains each one. The secrets of a "
            "login are never shown."
        ),
        epilog=_DECODE_EXAMPLES,
        formatter_class=plain,
    )
    decode.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="the file to read; standard input if omitted or -",
    )
    engines = [*(member.value for member in Engine), "fastest"]
    decode.add_argument(
        "--engine", choices=engines, default="stdlib", help="the JSON library (default: stdlib)"
    )
    _add_account(decode)
    decode.add_argument("--json", action="store_true", help="print JSON lines")

    codes = commands.add_parser(
        "explain",
        help="explain what error codes mean for a cancel",
        description="Explains what codes of the exchange mean for a cancel, and its outcome.",
        epilog=_EXPLAIN_EXAMPLES,
        formatter_class=plain,
    )
    codes.add_argument(
        "codes", nargs="*", metavar="CODE", help="a code, such as 43001 (default: the whole table)"
    )

    commands.add_parser(
        "diagram",
        help="print the states of a connection as a Mermaid diagram",
        description="Prints the states of a connection and their transitions as a Mermaid diagram.",
        epilog=_DIAGRAM_EXAMPLES,
        formatter_class=plain,
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "encode":
        return _write([_encode(arguments)])
    if arguments.command == "decode":
        return _decode(arguments.file, arguments.engine, arguments.account, as_json=arguments.json)
    if arguments.command == "explain":
        return _write([explain_code(_checked(code)) for code in arguments.codes] or code_table())
    return _write([diagram()])


def _add_account(command: argparse.ArgumentParser) -> None:
    kinds = [dialect.value for dialect in Dialect]
    command.add_argument(
        "--account", choices=kinds, default="classic", help="the kind of account (default: classic)"
    )


# --- the commands ---


def _encode(arguments: argparse.Namespace) -> str:
    if arguments.order_id is None and arguments.client_oid is None:
        raise _Failure(
            "encode needs --order-id (the exchange's id) or --client-oid (yours), or both"
        )
    try:
        order = CancelOrder(
            arguments.instrument,
            arguments.order_id,
            arguments.client_oid,
            None if arguments.inst_type is None else InstType(arguments.inst_type),
        )
        return Codec(dialect=arguments.account).encode_cancel(order, arguments.id) + "\n"
    except ValidationError as error:
        raise _Failure(at_a_shell(str(error))) from None


def _decode(file: str, engine: str, account: str, *, as_json: bool) -> int:
    try:
        codec = Codec(fastest() if engine == "fastest" else Engine(engine), Dialect(account))
    except ImportError as error:
        raise _Failure(str(error)) from None
    code = 0
    with _reading(file) as stream:
        for number, frame in _frames(file, stream):
            message = read(codec, frame)
            if isinstance(message, Malformed):
                code = _MALFORMED
            explained = explain(message, frame)
            _write([explained.as_json(number) if as_json else explained.lines(number)])
    return code


def _checked(code: str) -> str:
    """Return a code without leading zeros; REST writes "00000" for 0."""
    known = read_code(code)
    if known is None:
        raise _Failure(f"CODE must be 1 to 12 digits, such as 43001; got {safe_repr(code)}")
    return known


# --- files ---


@contextmanager
def _reading(file: str) -> Generator[BinaryIO, None, None]:
    if file == "-":
        if sys.stdin is None:
            raise _Failure("cannot read standard input: it is closed")
        yield sys.stdin.buffer
        return
    try:
        stream = open(file, "rb")  # noqa: SIM115 - only errors of `open` itself are caught
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    with stream:
        yield stream


def _frames(file: str, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield non-empty lines and their numbers; a line over the limit is cut just beyond it."""
    number = 0
    try:
        while line := stream.readline(_LINE + 3):
            number += 1
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(_LINE)
            if frame := line.rstrip(b"\r\n"):
                yield number, frame
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: str, error: Exception) -> _Failure:
    name = "standard input" if file == "-" else quoted(file)
    return _Failure(f"cannot read {name}: {getattr(error, 'strerror', None) or error}")


def _out() -> TextIO:
    if sys.stdout is None:
        raise _Failure("cannot write the output: standard output is closed")
    return sys.stdout


def _write(texts: Iterable[str]) -> int:
    out = _out()
    for text in texts:
        out.write(encodable(text, out.encoding))
    return 0


def _fail(why: str) -> int:
    if sys.stderr is not None:
        print(
            encodable(f"python -m bitget_proto: {printable(why)}", sys.stderr.encoding),
            file=sys.stderr,
        )
    return _FAILED


def _silence() -> None:
    """Redirect standard output to the null device, so that Python's flush at exit cannot fail."""
    # An output without a file descriptor, as in a test, is not flushed at exit.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
