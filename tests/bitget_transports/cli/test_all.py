"""`bitget-cancel all`: lists, asks in live trading, and cancels."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bitget_proto import CancelOrder, Dialect, InstType
from bitget_proto.testing import ExchangeConfig, Fault, RestFault, ScriptedExchange
from bitget_transports._driver.url import Target
from bitget_transports.cli import _all
from bitget_transports.exchange import exchange_in_thread

from .running import KEY, Ran, Shell, spot

FUTURES = CancelOrder("BTCUSDT", "901", inst_type=InstType.USDT_FUTURES)
OTHERS = [CancelOrder("ETHUSDT", "900"), FUTURES]


def exchange_of(*ids: str, dialect: Dialect = Dialect.CLASSIC) -> ScriptedExchange:
    return ScriptedExchange(
        [*spot(*ids), *OTHERS], credentials=KEY, config=ExchangeConfig(dialect=dialect)
    )


def run(shell: Shell, exchange: ScriptedExchange, *arguments: str) -> Ran:
    account = exchange.config.dialect.value
    options = ("--instrument", "BTCUSDT", "--account", account)
    with exchange_in_thread(exchange) as server:
        return shell("all", "--url", server.url, *options, *arguments)


def live_ids(exchange: ScriptedExchange) -> list[str | None]:
    return [order.order_id for order in exchange.live]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_live_trading(shell: Shell, typed: str | None) -> None:
    """Take the embedded exchange for live trading, and type this on the terminal, if any."""

    def live(_: Target) -> bool:
        return True

    shell.patch.setattr(_all, "is_live", live)
    shell.patch.setattr("sys.stdin", io.StringIO() if typed is None else Terminal(typed))


@pytest.mark.parametrize("dialect", Dialect)
def test_the_open_orders_of_the_instrument_are_cancelled(shell: Shell, dialect: Dialect) -> None:
    exchange = exchange_of("1", "2", "3", dialect=dialect)
    ran = run(shell, exchange, "--inst-type", "SPOT")
    assert ran.code == 0
    assert "3 cancels: 3 accepted" in ran.out
    assert live_ids(exchange) == ["900", "901"]


def test_a_unified_account_cancels_in_every_product_line(shell: Shell) -> None:
    exchange = exchange_of("1", dialect=Dialect.UNIFIED)
    assert run(shell, exchange).code == 0
    assert live_ids(exchange) == ["900"]


@pytest.mark.parametrize("dialect", Dialect)
def test_the_orders_of_another_product_line_are_confirmed(shell: Shell, dialect: Dialect) -> None:
    exchange = exchange_of("1", dialect=dialect)
    exchange.inject(Fault.HALF_FILL_FIRST)
    ran = run(shell, exchange, "--inst-type", "USDT-FUTURES", "--confirm", "--json")
    assert ran.code == 0
    (final,) = ran.of("final")
    assert (final["order_id"], final["state"], final["filled"], final["reason"]) == (
        "901",
        "cancelled",
        "0.5",
        "normal_cancel",
    )
    assert live_ids(exchange) == ["1", "900"]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_dry_run_lists_the_orders_and_cancels_none(
    shell: Shell, tmp_path: Path, dialect: Dialect
) -> None:
    exchange = exchange_of("1", "2", dialect=dialect)
    options = ("--dry-run", "--inst-type", "SPOT")
    ran = run(shell, exchange, *options)
    assert (ran.code, exchange.log) == (0, [])
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["BTCUSDT", "SPOT", "2"],
        ["BTCUSDT", "SPOT", "1"],
    ]
    assert "dry run: 2 open orders of BTCUSDT (SPOT); nothing was sent" in ran.err
    # Its JSON lines are a list that `orders` reads.
    listed = run(shell, exchange, *options, "--json")
    file = tmp_path / "orders.jsonl"
    file.write_text(listed.out)
    again = shell("orders", "--dry-run", "--file", str(file))
    assert again.code == 0
    assert len(again.out.splitlines()) == 2


def test_no_open_order_is_exit_code_0(shell: Shell) -> None:
    ran = run(shell, exchange_of())
    assert (ran.code, ran.out) == (0, "")
    assert "BTCUSDT has no open orders: nothing to cancel" in ran.err


@pytest.mark.parametrize("typed", ["yes\n", "Y\n"])
def test_in_live_trading_it_cancels_after_a_yes(shell: Shell, typed: str) -> None:
    exchange = exchange_of("1", "2")
    in_live_trading(shell, typed)
    ran = run(shell, exchange)
    assert ran.code == 0
    assert "cancel 2 open orders of BTCUSDT on 127.0.0.1? Type yes to go on:" in ran.err
    assert ran.out.splitlines()[1].split() == ["BTCUSDT", "SPOT", "2"]
    assert live_ids(exchange) == ["900", "901"]


@pytest.mark.parametrize("typed", ["no\n", "\n", "", "yes please\n"])
def test_in_live_trading_any_other_answer_sends_nothing(shell: Shell, typed: str) -> None:
    exchange = exchange_of("1")
    in_live_trading(shell, typed)
    ran = run(shell, exchange)
    assert (ran.code, exchange.log) == (2, [])
    assert "not yes: nothing was sent" in ran.err


def test_in_live_trading_without_a_terminal_it_needs_yes(shell: Shell) -> None:
    exchange = exchange_of("1")
    in_live_trading(shell, None)
    ran = run(shell, exchange)
    assert (ran.code, ran.out, exchange.log) == (2, "", [])
    assert "pass --yes to cancel without a question, or --dry-run to list the orders" in ran.err
    assert run(shell, exchange, "--dry-run").code == 0
    assert run(shell, exchange, "--yes").code == 0
    assert live_ids(exchange) == ["900", "901"]


@pytest.mark.parametrize(
    ("url", "live"),
    [
        (Dialect.CLASSIC.live_url, True),
        (Dialect.UNIFIED.demo_url, False),
        ("ws://127.0.0.1:8765/", False),
        ("wss://proxy.example/v2/ws/private", True),
    ],
)
def test_only_demo_trading_and_this_machine_are_not_live(url: str, live: bool) -> None:
    assert _all.is_live(Target.of(url, None, allow_plaintext=False)) is live


@pytest.mark.slow
def test_a_list_that_cannot_be_read_is_exit_code_4(shell: Shell) -> None:
    exchange = exchange_of("1")
    exchange.inject_rest(*[RestFault.UNAVAILABLE] * 5)
    ran = run(shell, exchange)
    assert (ran.code, exchange.log) == (4, [])
    assert "the open orders could not be read after 5 attempts: HTTP 503" in ran.err


def test_an_instrument_of_another_client_is_refused(shell: Shell) -> None:
    ran = shell("all", "--instrument", "BTC/USDT", "--dry-run")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "BTCUSDT" in ran.err
    assert shell("all").code == 2


def test_the_remaining_orders_are_kept(shell: Shell, tmp_path: Path) -> None:
    exchange = exchange_of("1", "2")
    exchange.inject(Fault.UNSURE)
    left = tmp_path / "left.jsonl"
    assert run(shell, exchange, "--remaining", str(left)).code == 3
    assert '"order_id": "2"' in left.read_text()
    assert run(shell, exchange, "--remaining", str(left)).code == 2  # it is not overwritten
