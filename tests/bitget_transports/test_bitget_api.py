"""npm's bitget-api cancels single orders and batches through the embedded exchange.

Its requests are the only ones of a unified account's WebSocket that are known from another client.
It sends the timestamp of its login as a number, which only a lenient exchange accepts, and a
product line with each batch.

Needs Node and the package: `npm install --prefix benchmarks/peers/.venv bitget-api`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bitget_proto import CancelOrder, Credentials, Dialect, InstType
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange
from bitget_transports.exchange import exchange_in_thread

PACKAGE = Path(__file__).parents[2] / "benchmarks/peers/.venv/node_modules/bitget-api"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not PACKAGE.exists(),
    reason="needs Node and: npm install --prefix benchmarks/peers/.venv bitget-api",
)

CALLS = [
    ("cancelOrder", "spot", {"orderId": "0"}),
    ("cancelOrder", "spot", {"orderId": "0"}),
    ("cancelOrder", "SPOT", {"orderId": "1"}),
    ("cancelBatchOrders", "spot", [{"orderId": "1"}, {"orderId": "2"}, {"orderId": "99"}]),
    ("cancelBatchOrders", "spot", [{"clientOid": "mine-3"}, {"clientOid": "mine-4"}]),
    ("cancelBatchOrders", "usdt-futures", [{"orderId": "5"}]),
    ("cancelBatchOrders", "SPOT", [{"orderId": "5"}]),
    ("cancelBatchOrders", "spot", [{"orderId": "6"}, {"orderId": "7"}]),
]


def test_bitget_api_cancels_and_batch_cancels_through_the_embedded_exchange() -> None:
    exchange = ScriptedExchange(
        [CancelOrder("BTCUSDT", str(n), f"mine-{n}", InstType.SPOT) for n in range(8)],
        credentials=Credentials("key", "secret", "passphrase"),
        config=ExchangeConfig(dialect=Dialect.UNIFIED),
        epoch=time.time(),
        cancels_per_second=None,
        lenient=True,
    )
    exchange.inject(*[None] * 5, Fault.UNSURE)
    with exchange_in_thread(exchange) as server:
        assert NODE is not None
        ran = subprocess.run(
            [
                NODE, str(Path(__file__).with_name("bitget_api.cjs")), str(PACKAGE), server.url,
                json.dumps(CALLS),
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(answer["event"], answer["code"]) for answer in answers] == [
        ("trade", "0"),
        ("error", "25204"),
        ("error", "41101"),
        ("trade", "0"),
        ("trade", "0"),
        ("trade", "0"),
        ("error", "41101"),
        ("error", "40010"),
    ]
    assert answers[2]["msg"] == "Param category=SPOT error"
    assert answers[0]["args"] == [{"orderId": "0", "clientOid": "mine-0"}]
    assert [
        [(item["code"], item.get("orderId")) for item in answer["args"]] for answer in answers[3:6]
    ] == [
        [("0", "1"), ("0", "2"), ("25204", "99")],
        [("0", "3"), ("0", "4")],
        # The wrong product line reads as "not found".
        [("25204", "5")],
    ]
    # After a time-out the outcome is not known: the exchange had acted.
    assert [order.order_id for order in exchange.live] == ["5"]
