"""`bitget-cancel exchange`, run as a process with real clients."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import sys
from pathlib import Path
from time import time

import pytest
from websockets.sync.client import connect

from bitget_proto import CancelOrder, Codec, Credentials, Dialect, sign_login
from bitget_proto.testing import Fault
from bitget_transports.cli._exchange import parse_fault
from bitget_transports.cli._exit_codes import Failure
from bitget_transports.cli._help import FAULTS

from .running import BOUND, SECRETS, Shell, finished, line_of, process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")

BTC = ("--instrument", "BTCUSDT")


def test_it_prints_its_url_serves_and_prints_a_summary(shell: Shell) -> None:
    options = ("--json", "--log", "--generate", "5", "--fault", "none:2", "--fault", "unsure")
    with process("exchange", *options) as running:
        before = [line_of(running.stdout)]
        listening = json.loads(before[0])
        assert (listening["orders"], listening["faults"], listening["signature_checked"]) == (
            5,
            3,
            True,
        )
        ran = shell(
            "orders",
            "--json",
            "--url",
            listening["url"],
            *BTC,
            "1000001",
            "1000002",
            "1000003",
            "7",
        )
        assert ran.code == 3
        assert [line["outcome"] for line in ran.of("outcome")] == [
            "accepted",
            "accepted",
            "unresolved",
            "rejected",
        ]
        shell.patch.setenv("BITGET_SECRET", "wrong")
        assert shell("orders", "--url", listening["url"], *BTC, "1000004").code == 4
        running.send_signal(signal.SIGINT)
        served = finished(running, before)
    assert served.code == 0
    assert not any(secret in served.out + served.err for secret in SECRETS)
    frames = served.of("frame")
    assert '"op":"login"' in frames[0]["text"]
    assert (frames[0]["direction"], frames[1]["text"]) == ("received", '{"event":"login","code":0}')
    connections = [line["text"] for line in served.of("connection")]
    assert connections[0].startswith("connected from 127.0.0.1:")
    assert connections[1] == "ended: the client has closed with code 1000"
    assert connections[3] == "closed with code 1000 by the exchange: Invalid sign"
    (summary,) = served.of("summary")
    assert summary == {
        "type": "summary", "received": 4, "cancelled": 3, "refused": {"not found": 1}, "faults": {"unsure": 1}, "live": 2,
    }  # fmt: skip


def test_a_unified_account_has_a_limit_of_batches_and_is_told_what_is_left() -> None:
    codec = Codec(dialect=Dialect.UNIFIED)
    orders = [CancelOrder(order_id=str(1000001 + number)) for number in range(20)]
    options = ("--account", "unified", "--any-key", "--batches-per-second", "1", "--tells-limits")
    with process("exchange", "--json", *options) as running:
        before = [line_of(running.stdout)]
        with connect(json.loads(before[0])["url"], proxy=None) as client:
            client.send(codec.encode_login(sign_login(Credentials("k", "s", "p"), int(time()))))
            client.recv(timeout=BOUND)
            for id in ("a", "b"):
                client.send(codec.encode_batch(orders, id))
            first, second = (json.loads(client.recv(timeout=BOUND)) for _ in range(2))
        running.send_signal(signal.SIGINT)
        served = finished(running, before)
    # Twenty orders are more than ten cancels a second, and two batches more than one.
    assert [item["code"] for item in first["args"]] == ["0"] * 20
    assert first["rateLimit"] == [{"limit": "10", "remaining": "10"}]
    assert (second["id"], second["code"]) == ("b", "429")
    assert served.of("summary")[0]["cancelled"] == 20


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--inst-type", "USDT-FUTURES"),
        ("--account", "unified"),
        ("--account", "unified", "--inst-type", "MARGIN"),
    ],
)
@pytest.mark.parametrize("from_a_file", [False, True])
def test_the_command_that_it_prints_cancels_an_order(
    shell: Shell, tmp_path: Path, options: tuple[str, ...], from_a_file: bool
) -> None:
    if from_a_file:
        (tmp_path / "orders.csv").write_text("client_oid\nmine-7\n", "ascii")
        options = (*options, "--orders", str(tmp_path / "orders.csv"))
    with process("exchange", *options) as running:
        while not (line := line_of(running.stdout)).startswith("  bitget-cancel orders "):
            pass
        ran = shell(*shlex.split(line)[1:])
    assert ran.code == 0, ran.err


def test_any_key_is_accepted_when_none_is_configured(shell: Shell, tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text("client_oid\nmine\n")
    with process("exchange", "--orders", str(orders), environment={}) as running:
        url = line_of(running.stdout).split()[-1]
        assert "any API key is accepted" in line_of(running.stdout)
        assert "BTCUSDT client mine" in line_of(running.stdout)
        assert shell("orders", "--url", url, *BTC, "--client-oid", "mine").code == 0
        running.send_signal(signal.SIGTERM)
        served = finished(running)
    assert served.code == 0
    assert "handled 1 cancel: 1 cancelled; 0 orders still live" in served.out


def test_a_login_that_only_lenient_accepts_says_so() -> None:
    with process("exchange", "--any-key", "--json") as running:
        url = json.loads(line_of(running.stdout))["url"]
        login = {"apiKey": "k", "passphrase": "p", "timestamp": 1763958366, "sign": "s"}
        with connect(url, proxy=None) as client:
            client.send(json.dumps({"op": "login", "args": [login]}))
            assert "lenient=True" in json.loads(client.recv(timeout=BOUND))["msg"]
        while "--lenient" not in line_of(running.stderr):
            pass
        running.send_signal(signal.SIGINT)
        served = finished(running)
    assert not served.of("connection")  # without --log


def test_the_environment_can_be_ignored() -> None:
    with process("exchange", "--any-key", "--json") as running:
        assert json.loads(line_of(running.stdout))["signature_checked"] is False


def test_a_port_in_use_is_reported_in_one_line(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = shell("exchange", "--port", str(taken.getsockname()[1]))
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "pass another --port" in ran.err


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_a_name(name: str) -> None:
    fault = None if name == "none" else Fault(name.replace("-", " "))
    assert parse_fault(name) == [fault]
    assert parse_fault(f"{name}:3") == [fault] * 3


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "late:", "late:0", "late:-1", "late:x", "late:9999999999", ":3", "late:²"],
)
def test_an_unknown_fault_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(Failure, match="--fault"):
        parse_fault(text)
