"""Ctrl-C, SIGTERM and a closed pipe, on real processes.

Sending stops, and every outcome is still reported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports.cli._exit_codes import Exit
from bitget_transports.cli._stop import Stop
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

from .running import BOUND, CARRIERS, KEY, Ran, finished, line_of, process, spot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does"),
]

IDS = [str(n) for n in range(1, 61)]


@pytest.fixture
def server() -> Iterator[ExchangeThread]:
    """Run an exchange that answers only the first two cancels."""
    exchange = ScriptedExchange(spot(*IDS), credentials=KEY)
    exchange.inject(None, None, *[Fault.SILENT] * len(IDS))
    with exchange_in_thread(exchange) as running:
        yield running


def arguments(server: ExchangeThread, carrier: str = "asyncio", timeout: str = "60") -> list[str]:
    options = [
        "--json",
        "--url",
        server.url,
        "--instrument",
        "BTCUSDT",
        "--transport",
        carrier,
        "--timeout",
        timeout,
    ]
    return ["orders", *options, *IDS]


def check(ran: Ran, server: ExchangeThread) -> None:
    """Check that every outcome was reported once and is true."""
    outcomes = ran.of("outcome")
    assert sorted(int(line["order_id"]) for line in outcomes) == list(map(int, IDS))
    received = {act.order.order_id for act in server.exchange.log}
    accepted = {line["order_id"] for line in outcomes if line["outcome"] == "accepted"}
    unsent = {line["order_id"] for line in outcomes if not line["sent"]}
    assert accepted == {"1", "2"}
    assert unsent.isdisjoint(received)
    assert len(unsent) >= 10
    (summary,) = ran.of("summary")
    assert (summary["stopped"], summary["exit_code"], summary["unresolved_not_sent"]) == (
        True,
        ran.code,
        len(unsent),
    )
    assert "look " in ran.err
    assert "safe to send again" in ran.err


@pytest.mark.parametrize("carrier", CARRIERS)
def test_ctrl_c_stops_sending_and_still_reports_every_outcome(
    server: ExchangeThread, carrier: str
) -> None:
    with process(*arguments(server, carrier, timeout="1.5")) as running:
        before = [line_of(running.stdout), line_of(running.stdout)]
        running.send_signal(signal.SIGINT)
        ran = finished(running, before)
    assert ran.code == 130
    assert (
        "stopping: waiting up to 1.5 s for the answers to sent cancels; Ctrl-C again to skip the wait"
        in ran.err
    )
    check(ran, server)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_second_ctrl_c_ends_at_once_and_still_reports_every_outcome(
    server: ExchangeThread, carrier: str
) -> None:
    with process(*arguments(server, carrier)) as running:
        before = [line_of(running.stdout), line_of(running.stdout)]
        running.send_signal(signal.SIGINT)
        while not line_of(running.stderr).startswith("stopping"):
            pass
        running.send_signal(signal.SIGINT)
        ran = finished(running, before)
    assert ran.code == 130
    check(ran, server)


def test_sigterm_stops_it_too(server: ExchangeThread) -> None:
    with process(*arguments(server, timeout="0.5")) as running:
        before = [line_of(running.stdout), line_of(running.stdout)]
        running.send_signal(signal.SIGTERM)
        ran = finished(running, before)
    assert ran.code == 143


def test_a_closed_output_pipe_stops_the_sending(server: ExchangeThread) -> None:
    with process(*arguments(server, timeout="0.5")) as running:
        line_of(running.stdout)
        assert running.stdout is not None
        running.stdout.close()
        running.stdout = None
        ran = finished(running)
    assert ran.code == 141
    assert "safe to send again" in ran.err
    assert len(server.exchange.log) < len(IDS)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_ctrl_c_before_the_connection_is_open_sends_nothing(carrier: str) -> None:
    exchange = ScriptedExchange(spot(*IDS))
    exchange.inject_login(Fault.SILENT)
    with exchange_in_thread(exchange) as server, process(*arguments(server, carrier)) as running:
        while not server.connections:
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        ran = finished(running)
    assert ran.code == 130
    assert "nothing was sent" in ran.err
    assert not ran.of("outcome")
    assert ran.of("summary")[0]["unresolved_not_sent"] == len(IDS)


# --- Stop ---


def test_the_waker_is_called_for_each_stop_and_for_earlier_ones() -> None:
    stop, woken = Stop(), list[int]()
    stop.ask(Exit.TERMINATED)
    with stop.waking(lambda: woken.append(stop.asked)):
        stop.ask()
    stop.ask()
    assert woken == [1, 2]
    assert stop.why is Exit.TERMINATED


def test_the_signal_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = Stop()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        assert stop.asked == 1
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):  # Python's own handler takes the third
            signal.raise_signal(signal.SIGINT)
    assert stop.asked == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_waiting_for_a_list_ends_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "orders"
    os.mkfifo(fifo)
    with process("orders", "--instrument", "BTCUSDT", "--file", str(fifo)) as running:
        writing = None
        while writing is None:  # until the command has opened it for reading
            assert running.poll() is None
            with suppress(OSError):
                writing = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        running.send_signal(signal.SIGINT)
        try:
            out, err = running.communicate(timeout=BOUND / 3)
        except subprocess.TimeoutExpired:  # from Python 3.12 on, a signal within open() may be lost
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=BOUND)
        os.close(writing)
    # After a signal within open(), the garbage collector may have to close the file.
    assert (running.returncode, out, "Traceback" in err) == (130, "", False)
