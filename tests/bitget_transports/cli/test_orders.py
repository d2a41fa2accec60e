"""`bitget-cancel orders` against the embedded exchange.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import bitget_transports
from bitget_proto import Codec, InstType
from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports.cli._carriers import Carrier, Job
from bitget_transports.cli._orders import _SHELL_ADVICE
from bitget_transports.exchange import ExchangeThread, exchange_in_thread
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import HostileServer

from .running import CARRIERS, KEY, Shell, finished, process, spot

BTC = ("--instrument", "BTCUSDT")


@pytest.fixture
def server() -> Iterator[ExchangeThread]:
    exchange = ScriptedExchange(
        spot("1", "2", "3"), credentials=KEY, refusals={"40": "40014", "41": "429"}
    )
    with exchange_in_thread(exchange) as running:
        yield running


# --- outcomes ---


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_transport_reports_the_outcome_of_each_cancel(
    shell: Shell, server: ExchangeThread, carrier: str
) -> None:
    server.inject(None, None, Fault.UNSURE)
    ran = shell(
        "orders", "--json", "--url", server.url, "--transport", carrier, *BTC, "1", "9", "2"
    )
    assert ran.code == 3
    one, nine, two = sorted(
        ran.of("outcome"), key=lambda line: ["1", "9", "2"].index(line["order_id"])
    )
    assert (one["outcome"], one["sent"], one["inst_id"], one["inst_type"]) == (
        "accepted",
        True,
        "BTCUSDT",
        None,
    )
    assert one["latency_ms"] > 0.0
    assert one["exchange_ts"] > 1e12
    assert (nine["outcome"], nine["code"], nine["code_class"]) == ("rejected", "43001", "not found")
    assert (two["outcome"], two["sent"], two["why"], two["code"]) == (
        "unresolved",
        True,
        "unsure",
        "40010",
    )
    (summary,) = ran.of("summary")
    assert summary == {
        "type": "summary", "asked": 3, "accepted": 1, "rejected": {"not found": 1}, "unresolved_sent": 1,
        "unresolved_not_sent": 0, "no_outcome": 0, "stopped": False, "exit_code": 3,
    }  # fmt: skip
    assert [act.order.order_id for act in server.exchange.log] == ["1", "9", "2"]


def test_all_accepted_is_exit_code_0(shell: Shell, server: ExchangeThread) -> None:
    ran = shell("orders", "--url", server.url, *BTC, "1", "2")
    assert ran.code == 0
    assert "2 cancels: 2 accepted" in ran.out
    assert "the order may still fill" in ran.out
    assert "connected to 127.0.0.1:" in ran.err


def test_a_rejected_cancel_is_exit_code_1_with_advice_per_class(
    shell: Shell, server: ExchangeThread
) -> None:
    ran = shell("orders", "--url", server.url, *BTC, "1", "9", "40", "41")
    assert ran.code == 1
    assert 'not found: 43001 "The order does not exist"' in ran.out
    assert (
        '"Please contact your BD or RM to apply for access permissions" (Cancel Order Channel)'
        in ran.out
    )
    assert (
        "which does not prove that the order has ended: check --instrument and --inst-type, "
        "and look the order up" in ran.out
    )
    assert "there is nothing to cancel" not in ran.out
    assert "safe to send again, later" in ran.out


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.UNSURE])
def test_it_says_how_to_get_access_when_no_cancel_is_answered(
    shell: Shell, server: ExchangeThread, fault: Fault
) -> None:
    access = "contact your BD or RM to apply for access permissions"
    server.inject(fault)
    assert access in shell("orders", "--timeout", "0.2", "--url", server.url, *BTC, "1").out
    server.inject(None, fault)
    assert (
        access not in shell("orders", "--timeout", "0.2", "--url", server.url, *BTC, "2", "3").out
    )


def test_a_dropped_connection_is_redialled_and_sent_cancels_unresolved(
    shell: Shell,
) -> None:
    ids = [str(n) for n in range(1, 31)]
    exchange = ScriptedExchange(spot(*ids))
    exchange.inject(None, Fault.DROP_AFTER)
    with exchange_in_thread(exchange) as server:
        ran = shell("orders", "--json", "--url", server.url, *BTC, *ids)
    assert ran.code == 3
    outcomes = ran.of("outcome")
    assert sorted(int(line["order_id"]) for line in outcomes) == list(range(1, 31))
    received = [act.order.order_id for act in exchange.log]
    assert len(set(received)) == len(received)
    why = {line["why"] for line in outcomes if line["outcome"] == "unresolved"}
    # A busy machine may deliver frames in bursts, and the exchange then closes the connection (30007).
    assert {"lost"} <= why <= {"lost", "closed"}
    summary = ran.of("summary")[0]
    assert summary["unresolved_sent"] >= 1
    assert summary["accepted"] >= 20
    assert "the connection was lost after" in ran.err
    assert "reconnected after" in ran.err
    assert "look " in ran.err


def test_cancels_sent_on_a_dropped_connection_are_resent_on_request(shell: Shell) -> None:
    ids = [str(n) for n in range(1, 6)]
    exchange = ScriptedExchange(spot(*ids))
    exchange.inject(None, Fault.DROP_AFTER)
    with exchange_in_thread(exchange) as server:
        ran = shell("orders", "--json", "--resend", "--url", server.url, *BTC, *ids)
    outcomes = {line["order_id"]: line["outcome"] for line in ran.of("outcome")}
    # The second was cancelled but its answer was lost. To the resent cancel the exchange answers
    # "not found", which does not prove that the order has ended.
    # (A reset may also lose the answer to the first.)
    assert outcomes.pop("1") in ("accepted", "unresolved")
    assert outcomes == {"2": "unresolved", "3": "accepted", "4": "accepted", "5": "accepted"}
    assert ran.code == 3
    assert next(line for line in ran.of("outcome") if line["order_id"] == "2")["attempts"] == 2


def test_the_table_shows_attempts_when_there_were_several(shell: Shell) -> None:
    # No interval: on a busy machine the first attempt may arrive late, and the second at once.
    exchange = ScriptedExchange(spot("1"), same_order_interval=None)
    exchange.inject(Fault.DROP_AFTER)
    with exchange_in_thread(exchange) as server:
        resent = shell("orders", "--resend", "--url", server.url, *BTC, "1")
        once = shell("orders", "--url", server.url, *BTC, "1")
    heading, row, *_ = resent.out.splitlines()
    assert heading.split() == ["instrument", "order", "outcome", "attempts", "detail", "ms"]
    assert "unresolved, sent         2  unsure: 43001" in row
    assert "an earlier attempt may have cancelled it" in row
    assert "attempts" not in once.out


def test_a_late_answer_is_reported_beside_the_outcome(shell: Shell) -> None:
    shell.patch.setattr("bitget_transports.cli._orders._MAX_IN_FLIGHT", 1)
    exchange = ScriptedExchange(spot("1", "2", "3"), late_by=0.3)
    exchange.inject(Fault.LATE, Fault.SILENT, Fault.SILENT)
    with exchange_in_thread(exchange) as server:
        ran = shell(
            "orders", "--json", "--timeout", "0.2", "--url", server.url, *BTC, "1", "2", "3"
        )
    assert ran.code == 3
    assert [(line["why"], line["sent"]) for line in ran.of("outcome")] == [("timeout", True)] * 3
    assert "late answer for BTCUSDT 1: accepted (0)" in ran.err


def test_client_order_ids_and_other_product_lines_are_sent_as_such(
    shell: Shell, server: ExchangeThread
) -> None:
    options = ("--instrument", "ETHUSDT", "--inst-type", "USDT-FUTURES", "--client-oid")
    ran = shell("orders", "--url", server.url, *options, "mine-7")
    assert ran.code == 1
    (act,) = server.exchange.log
    assert (act.order.order_id, act.order.client_oid, act.order.inst_type) == (
        None,
        "mine-7",
        InstType.USDT_FUTURES,
    )
    assert "client mine-7" in ran.out


def test_a_duplicate_order_is_sent_once(shell: Shell, server: ExchangeThread) -> None:
    ran = shell("orders", "--url", server.url, *BTC, "1", "2", "1")
    assert ran.code == 0
    assert "argument 3: BTCUSDT 1 is a duplicate of argument 1: it is sent once" in ran.err
    assert len(server.exchange.log) == 2


# --- a dry run ---


def test_a_dry_run_prints_the_frames_and_needs_no_keys(shell: Shell) -> None:
    shell.patch.delenv("BITGET_SECRET")
    ran = shell("orders", "--dry-run", *BTC, "12", "13")
    assert ran.code == 0
    codec = Codec()
    assert ran.out.splitlines() == [
        codec.encode_cancel(order, str(n)) for n, order in enumerate(spot("12", "13"), 1)
    ]
    assert "2 frames; nothing was sent" in ran.err


def test_ids_come_from_standard_input() -> None:
    with process("orders", "--dry-run", *BTC, "-", given="5\n6\n") as running:
        ran = finished(running)
    assert ran.code == 0
    assert [json.loads(line)["args"][0]["params"] for line in ran.out.splitlines()] == [
        {"orderId": "5"},
        {"orderId": "6"},
    ]


# --- errors before anything is sent ---


@pytest.mark.parametrize("carrier", CARRIERS)
def test_wrong_keys_are_reported_in_one_line_with_exit_code_4(
    shell: Shell, server: ExchangeThread, carrier: str
) -> None:
    shell.patch.setenv("BITGET_SECRET", "another")
    ran = shell("orders", "--url", server.url, "--transport", carrier, *BTC, "1")
    assert (ran.code, ran.out) == (4, "")
    (line,) = ran.err.splitlines()
    assert "refused the login with code 30015, saying 'Invalid sign': check the secret" in line


def test_a_skewed_clock_is_reported(shell: Shell, server: ExchangeThread) -> None:
    server.exchange.epoch += 3600.0
    ran = shell("orders", "--json", "--url", server.url, *BTC, "1")
    assert ran.code == 4
    assert "check this machine's clock" in ran.err
    (error,) = ran.lines
    assert (error["type"], error["exit_code"]) == ("error", 4)
    assert "30014" in error["message"]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_refused_connection_is_reported_in_one_line(shell: Shell, carrier: str) -> None:
    with exchange_in_thread() as gone:
        url = gone.url
    ran = shell("orders", "--url", url, "--transport", carrier, *BTC, "1")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (4, "", 1)
    assert "nothing listens there" in ran.err


def test_a_refused_upgrade_shows_its_status_without_escapes(shell: Shell) -> None:
    with HostileServer(hostile_server.refuse(403, body=b"\x1b[2Jno")) as refusing:
        ran = shell("orders", "--url", refusing.url, *BTC, "1")
    assert ran.code == 4
    assert "HTTP status 403" in ran.err


def test_the_certificate_is_checked_and_a_private_ca_is_accepted(
    shell: Shell, tmp_path: Path
) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)  # pyright: ignore[reportUnknownMemberType]
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with exchange_in_thread(ScriptedExchange(spot("1")), tls=tls) as server:
        bad = shell("orders", "--url", server.url, *BTC, "1")
        good = shell("orders", "--url", server.url, "--ca-file", str(file), *BTC, "1")
    assert (bad.code, good.code) == (4, 0)
    assert "presented an invalid certificate" in bad.err
    assert "pass --ca-file FILE" in bad.err


def test_an_unreadable_certificate_file_is_reported_in_one_line(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    ran = shell("orders", "--url", "wss://localhost:1/", "--ca-file", str(file), *BTC, "1")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    file.write_text("no certificate")
    assert (
        shell("orders", "--url", "wss://localhost:1/", "--ca-file", str(file), *BTC, "1").code == 2
    )
    assert (
        shell("orders", "--url", "ws://localhost:1/", "--ca-file", str(file), *BTC, "1").code == 2
    )


@pytest.mark.parametrize(
    "url", ["ws://192.0.2.1/", "http://localhost/", "wss://user:pass@localhost/", "x"]
)
def test_a_url_that_is_not_allowed_is_refused(shell: Shell, url: str) -> None:
    ran = shell("orders", "--url", url, *BTC, "1")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "user:pass" not in ran.err
    if url.startswith("ws:"):
        assert "pass --allow-plaintext" in ran.err


def test_api_advice_is_rewritten_as_advice_about_the_command() -> None:
    sources = "".join(
        path.read_text("utf-8")
        for path in Path(bitget_transports.__file__).parent.rglob("*.py")
        if path.name != "__init__.py"
    )
    for programmer, _ in _SHELL_ADVICE:
        assert programmer in sources.replace('"\n                "', "").replace(
            '"\n            "', ""
        )


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_missing_extra_says_what_to_install(shell: Shell, carrier: str) -> None:
    module = {"trio": "anyio"}.get(carrier, carrier)
    shell.patch.setitem(sys.modules, f"bitget_transports.{module}", None)
    ran = shell("orders", "--url", "ws://localhost:1/", "--transport", carrier, *BTC, "1")
    assert (ran.code, ran.out) == (2, "")
    assert f"pip install 'bitget-proto[{Carrier(carrier).extra}]'" in ran.err


def test_missing_keys_are_reported_in_one_line(shell: Shell) -> None:
    for name in ("BITGET_API_KEY", "BITGET_SECRET", "BITGET_PASSPHRASE"):
        shell.patch.delenv(name)
    ran = shell("orders", *BTC, "1")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "set BITGET_API_KEY, BITGET_SECRET, BITGET_PASSPHRASE" in ran.err


def test_a_bug_is_one_line_and_the_known_outcomes_are_still_shown(
    shell: Shell, server: ExchangeThread
) -> None:
    def carry(_: object, job: Job) -> None:
        next(job.orders)
        raise RuntimeError("\x1b[2J")

    shell.patch.setattr("bitget_transports.cli._orders.carry", carry)
    ran = shell("orders", "--url", server.url, *BTC, "1", "2")
    assert ran.code == 70
    assert "BTCUSDT 1 has no outcome: it may have been sent, so look it up" in ran.err
    assert "1 cancel cannot have taken effect: safe to send again" in ran.out
    assert "internal error: RuntimeError" in ran.err
