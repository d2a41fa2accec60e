"""`bitget-cancel guard`: it arms, says what happens, and ends as asked."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from bitget_proto import Armed, CancelOrder, DeadManSwitch, DeadManSwitchOutput, Dialect, Lapsed
from bitget_proto._machine import dead_man_switch
from bitget_proto.testing import ExchangeConfig, RestFault, ScriptedExchange
from bitget_transports.cli._exit_codes import Exit
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

from .running import BOUND, KEY, Shell, finished, line_of, process

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")


@pytest.fixture
def server() -> Iterator[ExchangeThread]:
    config = ExchangeConfig(dialect=Dialect.UNIFIED)
    exchange = ScriptedExchange([CancelOrder(order_id="1")], credentials=KEY, config=config)
    with exchange_in_thread(exchange) as running:
        yield running


@contextmanager
def interrupted_when_armed(server: ExchangeThread) -> Generator[None]:
    """Press Ctrl-C once the exchange counts down."""

    def press() -> None:
        end = time.monotonic() + BOUND
        while server.call(lambda: server.exchange.countdown_ends) is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@posix
def test_ctrl_c_turns_the_countdown_off(shell: Shell, server: ExchangeThread) -> None:
    with interrupted_when_armed(server):
        ran = shell("guard", "--json", "--url", server.url)
    assert ran.code == Exit.DONE
    assert ran.lines == [
        {"type": "armed", "countdown": 30},
        {"type": "stopped", "disarmed": True, "detail": ""},
    ]
    assert "armed: without a renewal, the exchange cancels all orders of the account" in ran.err
    assert "off: the exchange cancels nothing by itself" in ran.err
    assert server.call(lambda: server.exchange.countdown_ends) is None
    assert server.exchange.live


@posix
def test_the_countdown_may_be_left_on(shell: Shell, server: ExchangeThread) -> None:
    with interrupted_when_armed(server):
        ran = shell("guard", "--countdown", "60", "--leave-on", "--url", server.url)
    assert ran.code == Exit.DONE
    assert "left on: the exchange cancels all orders within 60 s" in ran.out
    assert server.call(lambda: server.exchange.countdown_ends) is not None


@posix
def test_the_exit_code_says_that_it_may_have_fired_in_between(
    shell: Shell, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dead_man_switch.DeadManSwitch.poll

    def poll(switch: DeadManSwitch, now: float) -> DeadManSwitchOutput:
        output = whole(switch, now)
        if isinstance(output, Armed):  # the countdown seems to have ended at once
            switch._outputs.append(Lapsed(at=now))
        return output

    monkeypatch.setattr(dead_man_switch.DeadManSwitch, "poll", poll)
    with interrupted_when_armed(server):
        ran = shell("guard", "--leave-on", "--url", server.url)
    assert ran.code == Exit.REJECTED
    assert "LAPSED: the exchange may have cancelled all orders of the account" in ran.out


def test_a_classic_account_has_no_countdown(shell: Shell) -> None:
    with exchange_in_thread(ScriptedExchange(credentials=KEY)) as server:
        ran = shell("guard", "--json", "--url", server.url)
    assert ran.code == Exit.NOT_CONNECTED
    assert "the account is a classic one" in ran.err
    assert "docs/scaling.md" in ran.err
    assert [line["type"] for line in ran.lines] == ["not_renewed", "stopped", "error"]
    assert ran.lines[0]["code"] == "40084"


def test_a_wrong_countdown_is_refused(shell: Shell) -> None:
    ran = shell("guard", "--countdown", "4")
    assert ran.code == Exit.USAGE
    assert "must be a whole number from 5 to 60" in ran.err


def test_the_url_of_classic_accounts_is_refused(shell: Shell) -> None:
    ran = shell("guard", "--url", Dialect.CLASSIC.live_url)
    assert ran.code == Exit.USAGE
    assert "serves classic accounts" in ran.err


@posix
@pytest.mark.slow
def test_failures_are_shown_and_the_exit_code_says_what_may_still_happen(
    server: ExchangeThread,
) -> None:
    with process("guard", "--json", "--countdown", "5", "--url", server.url) as running:
        lines = [line_of(running.stdout)]
        server.call(lambda: server.exchange.inject_rest(*[RestFault.UNAVAILABLE] * 4))
        while "lapsed" not in lines[-1]:
            lines.append(line_of(running.stdout))
        while '"armed", ' not in lines[-1]:
            lines.append(line_of(running.stdout))
        running.send_signal(signal.SIGTERM)
        ran = finished(running, lines)
    types = [line["type"] for line in ran.lines]
    assert types[0] == "armed"
    assert types.count("lapsed") == 1
    assert ran.lines[1]["why"] == "unreadable"
    assert ran.lines[1]["armed"] is True
    # The requests that failed in the last 30 s may still be done.
    assert types[-2:] == ["stopped", "error"]
    assert ran.code == Exit.UNRESOLVED
    assert "has no answer, and may still be done" in ran.err
    assert not server.exchange.live


@posix
@pytest.mark.slow
def test_a_process_that_is_killed_leaves_no_orders(server: ExchangeThread) -> None:
    with process("guard", "--json", "--countdown", "5", "--url", server.url) as running:
        line_of(running.stdout)
        running.kill()
        end = time.monotonic() + BOUND
        while server.call(lambda: server.exchange.live):
            assert time.monotonic() < end
            time.sleep(0.05)
