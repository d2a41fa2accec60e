"""`bitget-cancel orders --confirm`: what became of each order, on every transport."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from bitget_proto import Dialect
from bitget_proto.testing import ExchangeConfig, Fault, RestFault, ScriptedExchange
from bitget_transports.exchange import exchange_in_thread

from .running import CARRIERS, KEY, Ran, Shell, finished, line_of, process, spot

BTC = ("--instrument", "BTCUSDT")


def exchange_of(*ids: str, dialect: Dialect = Dialect.CLASSIC) -> ScriptedExchange:
    # Without an interval: a busy machine may deliver two cancels of an order at once.
    return ScriptedExchange(
        spot(*ids),
        credentials=KEY,
        config=ExchangeConfig(dialect=dialect),
        same_order_interval=None,
    )


def confirmed(shell: Shell, exchange: ScriptedExchange, *arguments: str) -> Ran:
    options = ("--confirm", "--account", exchange.config.dialect.value)
    with exchange_in_thread(exchange) as server:
        return shell("orders", "--url", server.url, *options, *BTC, *arguments)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_transport_says_what_became_of_each_order(
    shell: Shell, carrier: str, dialect: Dialect
) -> None:
    exchange = exchange_of("1", "2", "3", dialect=dialect)
    exchange.inject(None, Fault.FILL_FIRST, Fault.HALF_FILL_FIRST)
    # Each in a message of its own: a fault applies to a whole batch.
    shell.patch.setattr("bitget_transports.cli._orders._MAX_IN_FLIGHT", 1)
    ran = confirmed(shell, exchange, "--json", "--transport", carrier, "1", "2", "3")
    assert ran.code == 0
    finals = sorted(ran.of("final"), key=lambda line: str(line["order_id"]))
    assert [line["state"] for line in finals] == ["cancelled", "filled first", "cancelled"]
    assert [line["filled"] for line in finals] == ["0", "1", "0.5"]
    assert [line["average_price"] for line in finals] == [None, "100", "100"]
    assert {line["evidence"] for line in finals} == {"push"}
    (summary,) = ran.of("summary")
    assert summary["states"] == {"cancelled": 2, "filled first": 1}
    assert summary["rejected"] == {"not found": 1}
    assert len(ran.of("outcome")) == 3


def test_the_table_and_the_summary_show_the_states(shell: Shell) -> None:
    exchange = exchange_of("1", "2")
    exchange.inject(None, Fault.FILL_FIRST)
    ran = confirmed(shell, exchange, "1", "2")
    assert ran.code == 0
    heading, one, two, *said = ran.out.splitlines()
    assert heading.split() == ["instrument", "order", "outcome", "state", "detail", "ms"]
    assert one.split()[:4] == ["BTCUSDT", "1", "accepted", "cancelled"]
    assert "  filled first  " in two
    assert "; 1 filled at 100  " in two
    assert said[1] == "2 orders: 1 cancelled, 1 filled first"
    # The refusal is explained by the fill, and needs no advice.
    assert len(said) == 2


@pytest.mark.slow
@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_orders_that_are_open_or_not_found_are_exit_code_1(
    shell: Shell, tmp_path: Path, carrier: str, dialect: Dialect
) -> None:
    exchange = exchange_of("1", "2", dialect=dialect)
    exchange.inject(Fault.DROP_BEFORE)
    left = tmp_path / "left.jsonl"
    options = ("--transport", carrier, "--remaining", str(left), "1", "9")
    ran = confirmed(shell, exchange, *options)
    assert ran.code == 1
    assert "2 orders: 1 still open, 1 not found" in ran.out
    assert "still open: open when it was looked up after the cancel: cancel it again" in ran.out
    assert "not found: the exchange has no such order: check the ids" in ran.out
    kept = {line["order_id"]: line for line in map(json.loads, left.read_text().splitlines())}
    # The open one is safe to cancel again.
    assert "attempts" not in kept["1"]


def test_an_order_that_was_filled_or_cancelled_does_not_remain(
    shell: Shell, tmp_path: Path
) -> None:
    exchange = exchange_of("1")
    exchange.inject(Fault.UNSURE)
    left = tmp_path / "left.jsonl"
    ran = confirmed(shell, exchange, "--remaining", str(left), "1")
    assert ran.code == 0
    assert "1 cancel: 0 accepted, 1 unresolved" in ran.out
    assert "look it up" not in ran.out
    assert left.read_text() == ""


def test_an_order_that_only_a_client_oid_names_is_unknown(shell: Shell) -> None:
    ran = confirmed(shell, exchange_of(), "--json", "--client-oid", "mine")
    assert ran.code == 3
    (final,) = ran.of("final")
    assert (final["state"], final["why"], final["client_oid"]) == (
        "unknown",
        "ambiguous id",
        "mine",
    )


@pytest.mark.slow
def test_a_cancel_that_was_never_sent_is_not_looked_up(shell: Shell) -> None:
    exchange = exchange_of("1", "2")
    exchange.inject_login(None, *[Fault.SILENT] * 9)
    exchange.inject(Fault.DROP_AFTER)
    shell.patch.setattr("bitget_transports.cli._orders._MAX_IN_FLIGHT", 1)
    ran = confirmed(shell, exchange, "--json", "--timeout", "0.5", "1", "2")
    assert ran.code == 3
    (summary,) = ran.of("summary")
    assert summary["states"] == {"cancelled": 1, "not looked up": 1}
    assert "unresolved, not sent: 1 cancel cannot have taken effect" in ran.err


def test_without_httpx_it_says_what_to_install(shell: Shell) -> None:
    shell.patch.setitem(sys.modules, "httpx", None)
    exchange = exchange_of("1")
    ran = confirmed(shell, exchange, "1")
    assert (ran.code, exchange.log) == (2, [])
    assert "pip install 'bitget-proto[rest]'" in ran.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")
@pytest.mark.parametrize("carrier", CARRIERS)
def test_ctrl_c_ends_the_look_ups(carrier: str) -> None:
    exchange = exchange_of("1", "2")
    exchange.inject(None, Fault.NO_PUSH)
    exchange.inject_rest(*[RestFault.UNAVAILABLE] * 1000)
    with (
        exchange_in_thread(exchange) as server,
        process(
            "orders", "--json", "--confirm", "--transport", carrier, "--url", server.url, *BTC,
            "1", "2",
        ) as running,
    ):  # fmt: skip
        before = [line_of(running.stdout) for _ in range(3)]
        running.send_signal(signal.SIGINT)
        ran = finished(running, before)
    assert ran.code == 130
    assert len(ran.of("outcome")) == 2
    assert [line["order_id"] for line in ran.of("final")] == ["1"]
    assert ran.of("summary")[0]["states"] == {"cancelled": 1, "not looked up": 1}
