"""`bitget-cancel exchange`: run the embedded exchange in a process of its own, for any client.

It listens on 127.0.0.1 only. Frames are shown without secrets, and a key to check is never shown.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import threading
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import attrs

from bitget_proto import CancelOrder, Codec, CodeClass, Credentials, Dialect
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange, SeenFrame

from .._driver.checks import safe_repr
from ..exchange import ExchangeThread, exchange_in_thread
from ._exit_codes import Exit, Failure
from ._help import FAULTS
from ._keys import VARIABLES, keys_if_any
from ._order_list import Defaults, line_of, read_orders
from ._results import count
from ._screen import OutputLost, Screen
from ._stop import Stop

_FIRST_ID = 1000001
_LENIENT = "lenient=True accepts this form"
"""Part of the message about a request whose form only a lenient exchange accepts."""

_MAX_COUNT = 1_000_000
"""The largest N of a `--fault` option."""


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:
    """Serve until a request to stop, and return the exit code."""
    credentials = None if arguments.any_key else keys_if_any(arguments.credentials, os.environ)
    orders = _orders(arguments)
    faults = [fault for text in arguments.fault for fault in parse_fault(text)]
    log = _Log(screen, stop, all=arguments.log)
    config = ExchangeConfig(dialect=Dialect(arguments.account))
    if arguments.no_limits:
        config = attrs.evolve(config, messages_per_second=None, max_in_flight=None)
    exchange = ScriptedExchange(
        orders,
        credentials=credentials,
        config=config,
        cancels_per_second=None if arguments.no_limits else 10,
        batches_per_second=arguments.batches_per_second,
        tells_limits=arguments.tells_limits,
        lenient=arguments.lenient,
        on_frame=log.frame,
    )
    exchange.inject(*faults)
    stopped = threading.Event()
    try:
        with (
            log.listening(),
            stop.listening(),
            stop.waking(stopped.set),
            exchange_in_thread(exchange, port=arguments.port) as server,
        ):
            _introduce(server, orders, credentials, len(faults), config.dialect, screen)
            while not stopped.wait(60.0):
                pass
    except OSError as error:
        raise Failure(
            f"cannot listen on port {arguments.port} ({error.strerror}): "
            "pass another --port, or 0 for a free one"
        ) from None
    _sum_up(exchange, screen)
    return Exit.DONE


def parse_fault(text: str) -> list[Fault | None]:
    """Return the faults of one `--fault NAME[:N]`; None stands for no fault.

    Raises: Failure when the name or the number is invalid.
    """
    name, colon, number = text.partition(":")
    if name not in FAULTS:
        raise Failure(f"--fault must be one of {', '.join(FAULTS)}; got {safe_repr(name)}")
    if colon and not (number.isascii() and number.isdigit() and 1 <= int(number) <= _MAX_COUNT):
        raise Failure(
            f"the N of --fault NAME:N must be a whole number from 1 to {_MAX_COUNT}; "
            f"got {safe_repr(number)}"
        )
    fault = None if name == "none" else Fault(name.replace("-", " "))
    return [fault] * (int(number) if colon else 1)


def _orders(arguments: argparse.Namespace) -> tuple[CancelOrder, ...]:
    if arguments.orders:
        return read_orders(
            (),
            arguments.orders,
            Defaults(
                inst_id=arguments.instrument,
                inst_type=line_of(arguments),
                client_oids=arguments.client_oid,
                codec=Codec(dialect=arguments.account),
            ),
        ).orders
    return tuple(
        CancelOrder(arguments.instrument, str(_FIRST_ID + n), f"mine-{n + 1}", line_of(arguments))
        for n in range(arguments.generate)
    )


def _introduce(
    server: ExchangeThread,
    orders: tuple[CancelOrder, ...],
    credentials: Credentials | None,
    faults: int,
    dialect: Dialect,
    screen: Screen,
) -> None:
    screen.data(
        "listening",
        url=server.url,
        orders=len(orders),
        faults=faults,
        signature_checked=credentials is not None,
    )
    screen.say(f"listening on {server.url}", "bold")
    if credentials is None:
        screen.say("keys: any API key is accepted; signatures are not checked")
    else:
        screen.say("keys: only the given API key is accepted; timestamp and signature are checked")
    screen.say(f"orders: {len(orders)} live{_range(orders)}")
    screen.say(f"faults: {faults} queued for the next cancels")
    if orders:
        keys = "" if credentials is not None else "=any ".join((*VARIABLES.values(), ""))
        screen.say("to cancel the first one, run in another shell:")
        screen.say(f"  {keys}bitget-cancel orders --url {server.url} {_named(orders[0], dialect)}")
        if credentials is not None:
            screen.say("(with the same API key: see bitget-cancel orders --help)")
    screen.say("press Ctrl-C to stop")


def _named(order: CancelOrder, dialect: Dialect) -> str:
    """Return the arguments of `bitget-cancel orders` that name this order."""
    words: list[str] = []
    if dialect is not Dialect.CLASSIC:
        words += ["--account", dialect.value]
    if order.inst_id is not None:
        words += ["--instrument", order.inst_id]
    if order.inst_type is not None:
        words += ["--inst-type", order.inst_type.value]
    if order.order_id is None:
        words += ["--client-oid"]
    return shlex.join([*words, str(order.order_id or order.client_oid)])


def _range(orders: tuple[CancelOrder, ...]) -> str:
    if not orders:
        return ""
    first, last = (
        order.order_id or f"client {order.client_oid}" for order in (orders[0], orders[-1])
    )
    return f", {orders[0].inst_id} {first}" + (f" to {last}" if len(orders) > 1 else "")


class _Log(logging.Handler):
    """Shows frames and connections if `all` is true, and always requests that need `--lenient`.

    Its methods are called in the server's thread.
    """

    def __init__(self, screen: Screen, stop: Stop, *, all: bool) -> None:
        super().__init__()
        self._screen, self._stop, self._all = screen, stop, all

    @contextmanager
    def listening(self) -> Generator[None]:
        """Receive the log of connections, if it is to be shown."""
        logger = logging.getLogger("bitget_transports.exchange")
        if self._all:
            logger.setLevel(logging.INFO)
            logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        at, link, text = (record.__dict__[name] for name in ("at", "link", "text"))
        self._show("connection", at, link, text, "--")

    def frame(self, frame: SeenFrame) -> None:
        """Show a frame."""
        sent = frame.direction == "sent"
        if self._all:
            way = "->" if sent else "<-"
            self._show("frame", frame.at, frame.link, frame.text, way, direction=frame.direction)
        if sent and _LENIENT in frame.text:
            self._screen.aside(
                f"#{frame.link}: refused a request in a form that is not documented; to accept "
                "such requests, start with --lenient",
                "yellow",
            )

    def _show(self, type: str, at: float, link: int, text: str, mark: str, **more: object) -> None:
        try:
            if self._screen.json:
                self._screen.data(type, at=round(at, 6), link=link, **more, text=text)
            else:
                self._screen.say(f"{at:10.3f}  #{link} {mark}  {text}")
        except OutputLost:
            self._stop.ask(Exit.PIPE_CLOSED)


def _sum_up(exchange: ScriptedExchange, screen: Screen) -> None:
    log = exchange.log
    cancelled = sum(act.cancelled for act in log)
    refused = Counter(
        CodeClass.of(act.code, exchange.config.dialect).value for act in log if not act.cancelled
    )
    faults = Counter(act.fault.value for act in log if act.fault is not None)
    screen.data(
        "summary",
        received=len(log),
        cancelled=cancelled,
        refused=dict(refused),
        faults=dict(faults),
        live=len(exchange.live),
    )
    parts = [f"{cancelled} cancelled", *(f"{n} refused: {name}" for name, n in refused.items())]
    screen.say(
        f"handled {count(len(log), 'cancel')}: {', '.join(parts)}; "
        f"{count(len(exchange.live), 'order')} still live"
    )
    if faults:
        screen.say(f"injected faults: {_list(faults)}")


def _list(counts: Counter[str]) -> str:
    pairs: Iterable[tuple[str, int]] = counts.most_common()
    return ", ".join(f"{n} {name}" for name, n in pairs)
