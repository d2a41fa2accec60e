"""`bitget-cancel orders --remaining`: the file holds what is left, and the command goes on with it."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    CodeClass,
    Outcome,
    Rejected,
    Unresolved,
    WhyUnresolved,
)
from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports.cli._ledger import Ledger
from bitget_transports.exchange import exchange_in_thread

from .running import KEY, Shell, finished, line_of, process, spot

BTC = ("--instrument", "BTCUSDT")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("ascii").splitlines()]


def split(file: Path) -> tuple[set[str], set[str]]:
    """Return the ids of the orders that are safe to send, and of those that may be cancelled."""
    safe, maybe = set[str](), set[str]()
    for line in lines(file):
        (maybe if line.get("attempts") else safe).add(line["order_id"])
    return safe, maybe


@posix
def test_after_ctrl_c_the_same_command_goes_on(shell: Shell, tmp_path: Path) -> None:
    left = tmp_path / "left.jsonl"
    ids = [str(n) for n in range(1, 31)]
    exchange = ScriptedExchange(spot(*ids), credentials=KEY)
    exchange.inject(None, None, *[Fault.SILENT] * 40)
    options = (*BTC, "--json", "--timeout", "0.5", "--remaining", str(left))
    with (
        exchange_in_thread(exchange) as server,
        process("orders", "--url", server.url, *options, *ids) as running,
    ):
        before = [line_of(running.stdout), line_of(running.stdout)]
        running.send_signal(signal.SIGINT)
        ran = finished(running, before)
    safe, maybe = split(left)
    unresolved = {
        line["order_id"]: line["sent"]
        for line in ran.of("outcome")
        if line["outcome"] == "unresolved"
    }
    assert {id for id in ids if unresolved.get(id) is False} <= safe
    assert maybe == {id for id in ids if unresolved.get(id)}
    assert safe | maybe == set(ids) - {"1", "2"}
    assert not safe & {act.order.order_id for act in exchange.log}
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert f"{len(safe)} safe to send, {len(maybe)} that may have taken effect" in ran.err

    later = ScriptedExchange(spot(*safe), credentials=KEY)
    with exchange_in_thread(later) as server:
        again = ("orders", *options, "--url", server.url, "--file", str(left))
        assert shell(*again).code == 0
        assert {act.order.order_id for act in later.log} == safe
        assert split(left) == (set(), maybe)


def test_an_order_that_was_sent_is_resent_on_request_and_stays_without_an_answer(
    shell: Shell, tmp_path: Path
) -> None:
    left = tmp_path / "left.jsonl"
    text = '{"order_id": "1", "inst_id": "BTCUSDT", "inst_type": "SPOT", "attempts": 1}\n'
    left.write_text(text)
    exchange = ScriptedExchange(credentials=KEY)
    with exchange_in_thread(exchange) as server:
        options = ("--json", "--url", server.url, "--file", str(left), "--remaining", str(left))
        assert shell("orders", *options).code == 2
        assert (exchange.log, left.read_text()) == ([], text)
        ran = shell("orders", "--resend", *options)
    (outcome,) = ran.of("outcome")
    assert (outcome["outcome"], outcome["attempts"]) == ("rejected", 2)
    # "Not found" does not say what the first attempt did.
    assert left.read_text() == text


def test_after_a_refused_connection_everything_is_left(shell: Shell, tmp_path: Path) -> None:
    left = tmp_path / "left.jsonl"
    with exchange_in_thread() as gone:
        url = gone.url
    options = ("--inst-type", "USDT-FUTURES", "--client-oid", "--remaining", str(left))
    assert shell("orders", "--url", url, *BTC, *options, "a", "b").code == 4
    assert lines(left) == [
        {"client_oid": id, "inst_id": "BTCUSDT", "inst_type": "USDT-FUTURES"} for id in "ab"
    ]


def test_after_a_deadline_the_orders_to_look_up_are_left_out(shell: Shell, tmp_path: Path) -> None:
    left = tmp_path / "left.jsonl"
    exchange = ScriptedExchange(spot("1", "2"), credentials=KEY)
    exchange.inject(Fault.SILENT)
    options = (*BTC, "--timeout", "0.2", "--remaining", str(left))
    with exchange_in_thread(exchange) as server:
        shell("orders", "--url", server.url, *options, "1", "2")
        assert split(left) == (set(), {"1"})
        ran = shell("orders", "--url", server.url, *options, "--file", str(left), "3")
    assert (
        "1 order left out: an earlier run may have cancelled it; look up the state first" in ran.err
    )
    assert [act.order.order_id for act in exchange.log] == ["1", "2", "3"]
    assert split(left) == (set(), {"1"})


def test_a_client_order_id_is_never_resent_from_a_file(shell: Shell, tmp_path: Path) -> None:
    left = tmp_path / "left.jsonl"
    left.write_text('{"client_oid":"mine","attempts":1}\n')
    with exchange_in_thread(ScriptedExchange(credentials=KEY)) as server:
        ran = shell("orders", "--url", server.url, *BTC, "--resend", "--file", str(left))
    assert (ran.code, server.exchange.log) == (2, [])
    assert "a client order id may name another order by now" in ran.err


def test_when_nothing_is_left_the_file_is_empty(shell: Shell, tmp_path: Path) -> None:
    left = tmp_path / "left.jsonl"
    with exchange_in_thread(ScriptedExchange(spot("1"), credentials=KEY)) as server:
        ran = shell("orders", "--url", server.url, *BTC, "--remaining", str(left), "1")
    assert (ran.code, left.read_text(), os.listdir(tmp_path)) == (0, "", ["left.jsonl"])
    assert "no order remains" in ran.err


def test_a_file_that_was_not_read_is_not_replaced(shell: Shell, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("1\n")
    with exchange_in_thread(ScriptedExchange(credentials=KEY)) as server:
        ran = shell("orders", "--url", server.url, *BTC, "--remaining", str(there), "2")
    assert (ran.code, there.read_text(), server.exchange.log) == (2, "1\n", [])
    assert "already exists and was not read" in ran.err


def test_a_file_that_cannot_be_written_is_reported(shell: Shell, tmp_path: Path) -> None:
    with exchange_in_thread(ScriptedExchange(spot("1", "2"), credentials=KEY)) as server:
        options = ("orders", "--url", server.url, *BTC)
        nowhere = shell(*options, "--remaining", str(tmp_path / "no" / "left"), "1")
        assert (nowhere.code, server.exchange.log) == (2, [])

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        shell.patch.setattr(os, "replace", full)
        late = shell(*options, "--remaining", str(tmp_path / "left"), "1")
    assert late.code == 0
    assert "cannot write the remaining orders" in late.err


def test_a_dry_run_leaves_no_file(shell: Shell, tmp_path: Path) -> None:
    ran = shell("orders", *BTC, "--dry-run", "--remaining", str(tmp_path / "left"), "1")
    assert (ran.code, os.listdir(tmp_path)) == (2, [])


# --- what is left, by outcome ---

ORDER = CancelOrder("BTCUSDT", "1")


def rejected(code_class: CodeClass) -> Rejected:
    return Rejected(
        id="1", order=ORDER, taken_at=0.0, sent_at=0.0, resolved_at=1.0, code="1", message="",
        code_class=code_class, exchange_ts=None,
    )  # fmt: skip


def unresolved(*, sent: bool, attempts: int = 1) -> Unresolved:
    return Unresolved(
        id="1", order=ORDER, taken_at=0.0, sent_at=0.0 if sent else None, resolved_at=1.0,
        attempts=attempts, sent=sent, why=WhyUnresolved.LOST, code=None, message=None,
    )  # fmt: skip


ACCEPTED = Accepted(
    id="1", order=ORDER, taken_at=0.0, sent_at=0.0, resolved_at=1.0, exchange_ts=None
)


@pytest.mark.parametrize(
    ("outcome", "earlier", "left"),
    [
        (ACCEPTED, 0, None),
        (ACCEPTED, 2, None),
        (rejected(CodeClass.NOT_FOUND), 0, None),
        (rejected(CodeClass.FINISHED), 2, None),
        (rejected(CodeClass.THROTTLED), 0, 0),
        (rejected(CodeClass.THROTTLED), 2, 2),
        (rejected(CodeClass.NOT_FOUND), 2, 2),
        (unresolved(sent=False), 0, 0),
        (unresolved(sent=False), 2, 2),
        (unresolved(sent=True), 0, 1),
        (unresolved(sent=True, attempts=3), 2, 5),
    ],
)
def test_what_is_left_depends_on_the_outcome_and_on_earlier_attempts(
    outcome: Outcome, earlier: int, left: int | None
) -> None:
    ledger = Ledger([ORDER], {ORDER: earlier})
    list(ledger.orders())
    ledger.add(outcome)
    assert list(ledger.left()) == ([] if left is None else [(ORDER, left)])


def test_an_order_without_an_outcome_is_left_and_may_have_been_sent() -> None:
    other = CancelOrder("BTCUSDT", "2")
    ledger = Ledger([ORDER, other])
    next(ledger.orders())
    assert list(ledger.left()) == [(ORDER, 1), (other, 0)]
