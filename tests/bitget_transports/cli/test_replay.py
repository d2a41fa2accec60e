"""`bitget-cancel orders --record` and `bitget-cancel replay`."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitget_proto import (
    CancelOrder,
    Codec,
    Connection,
    Credentials,
    Dialect,
    Engine,
    Session,
    Trace,
    Wait,
    WhyUnresolved,
    record,
    replay,
    sign_login,
)
from bitget_proto.testing import ExchangeConfig, Fault, Pair, ScriptedExchange
from bitget_transports.cli._screen import Screen
from bitget_transports.cli._traces import Recording, recording
from bitget_transports.exchange import exchange_in_thread

from .running import CARRIERS, KEY, SECRETS, Shell, finished, process, spot

BTC = ("--instrument", "BTCUSDT")
TRACES = Path(__file__).parents[2] / "traces"


# --- recording ---


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_run_of_every_transport_is_recorded_and_replayed(
    shell: Shell, tmp_path: Path, carrier: str
) -> None:
    file = tmp_path / "record.jsonl"
    with exchange_in_thread(ScriptedExchange(spot("1", "2"), credentials=KEY)) as server:
        server.inject(None, None, Fault.DROP_AFTER)
        ran = shell(
            "orders",
            "--url",
            server.url,
            "--transport",
            carrier,
            "--record",
            str(file),
            *BTC,
            "1",
            "9",
            "2",
        )
    assert ran.code == 3
    assert f'recorded to "{file}": show it with bitget-cancel replay' in ran.err
    text = file.read_text("ascii")
    assert not any(secret in text for secret in SECRETS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert replay(text) is None
    ran = shell("replay", str(file))
    assert ran.code == 0
    for line in (
        "login (not shown)",
        "cancel BTCUSDT 9",
        "accepted, ",
        "rejected: 43001 not found",
        "may have taken effect",
    ):
        assert line in ran.out
    assert "replayed with the recorded engine: identical, byte for byte" in ran.out


def test_an_existing_file_is_not_overwritten(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    file.write_text("the only witness", "ascii")
    ran = shell("orders", "--url", "ws://127.0.0.1:1", "--record", str(file), *BTC, "1")
    assert ran.code == 2
    assert "already exists and is not overwritten" in ran.err
    assert file.read_text("ascii") == "the only witness"


def test_an_unwritable_file_is_reported_before_anything_is_sent(
    shell: Shell, tmp_path: Path
) -> None:
    ran = shell(
        "orders", "--url", "ws://127.0.0.1:1", "--record", str(tmp_path / "no" / "where"), *BTC, "1"
    )
    assert ran.code == 2
    assert "cannot record to" in ran.err
    assert "No such file or directory" in ran.err


def test_a_dry_run_records_nothing(shell: Shell, tmp_path: Path) -> None:
    ran = shell("orders", "--dry-run", "--record", str(tmp_path / "record"), *BTC, "1")
    assert ran.code == 2
    assert "leave one of them out" in ran.err


def test_a_failed_connection_is_recorded(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    assert shell("orders", "--url", "ws://127.0.0.1:1", "--record", str(file), *BTC, "1").code == 4
    ran = shell("replay", str(file))
    assert ran.code == 0
    assert "connection lost" in ran.out


class FullDisk(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_ends_the_record_and_the_error_is_kept() -> None:
    kept = Recording(FullDisk())
    with pytest.raises(OSError, match="No space left"):
        kept.write("line\n")
    assert kept.lost is not None


def test_a_record_that_ended_early_is_reported_at_the_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with recording(str(tmp_path / "record"), Screen()) as kept:
        assert kept is not None
        kept.lost = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "is incomplete: No space left on device" in capsys.readouterr().err


# --- replaying ---


def test_the_last_event_is_the_end(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    with exchange_in_thread(ScriptedExchange(spot("1"), credentials=KEY)) as server:
        assert shell("orders", "--url", server.url, "--record", str(file), *BTC, "1").code == 0
    texts = [moment["text"] for moment in shell("replay", "--json", str(file)).of("moment")]
    assert texts.count("close") == 1
    assert texts[-1] == "the session has ended (asked)"


def test_a_callers_error_is_shown_and_replayed(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    with file.open("w") as trace:
        session = record(Session(jitter=lambda: 2.0), trace.write)
        session.poll(0.0)
        session.lost(1, 0.0)
        while not isinstance(session.poll(0.0), Wait):
            pass
    ran = shell("replay", "--json", str(file))
    assert ran.code == 0
    texts = [moment["text"] for moment in ran.of("moment")]
    assert texts[-1].startswith("jitter failed: ValidationError('jitter must return a number from")


def test_a_frame_is_shown_by_what_it_carries(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    with file.open("w") as trace:
        pair = Pair(record(Connection(), trace.write), ScriptedExchange(spot("1")))
        pair.open()
        pair.cancel(spot("1")[0])
        pair.send('{"op":"subscribe"}')
        pair.run(31.0)
    sent = [
        one for one in shell("replay", "--json", str(file)).of("moment") if one["what"] == "sent"
    ]
    assert [(one["id"], one["text"]) for one in sent] == [
        (None, "login (not shown)"), ("bgproto1", "cancel"),
        (None, r'"{\"op\":\"subscribe\"}"'), (None, "ping"),
    ]  # fmt: skip


def test_the_batches_of_a_unified_account_are_shown(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    exchange = ScriptedExchange(spot("1", "2"), config=ExchangeConfig(dialect=Dialect.UNIFIED))
    with file.open("w") as trace:
        conn = record(Connection(codec=Codec(dialect=Dialect.UNIFIED)), trace.write)
        pair = Pair(conn, exchange)
        pair.open()
        pair.cancel_many([CancelOrder(order_id="1"), CancelOrder("BTCUSDT", order_id="2")])
        pair.cancel(CancelOrder(order_id="3"))
        pair.run(1.0)
    moments = shell("replay", "--json", str(file)).of("moment")
    shown = [(one["what"], one["id"], one["text"].split(", 0 ms")[0]) for one in moments]
    for line in (
        ("asked", None, "cancel 2 orders: bgproto1 order 1, bgproto2 BTCUSDT 2"),
        ("asked", "bgproto4", "cancel order 3"),
        ("sent", None, "2 cancels: bgproto1, bgproto2"),
        ("became", "bgproto2", "accepted"),
        ("became", "bgproto4", 'rejected: 25204 not found "Order does not exist"'),
    ):
        assert line in shown


def test_a_withdrawal_is_shown(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    with file.open("w") as trace:
        conn = record(Connection(), trace.write)
        conn.cancel(spot("1")[0], 0.0, id="mine")
        conn.withdraw("mine", 0.0)
        while not isinstance(conn.poll(0.0), Wait):
            pass
    moments = shell("replay", "--json", str(file)).of("moment")
    assert [(one["what"], one["id"]) for one in moments] == [
        ("asked", "mine"), ("asked", "mine"), ("became", "mine"),
    ]  # fmt: skip
    assert moments[1]["text"] == "withdraw"


@pytest.mark.parametrize("name", sorted(path.stem for path in TRACES.glob("*.jsonl")))
def test_every_committed_trace_is_shown_and_replayed(shell: Shell, name: str) -> None:
    file = str(TRACES / f"{name}.jsonl")
    ran = shell("replay", "--json", file)
    assert ran.code == 0
    (last,) = ran.of("replay")
    assert (last["same"], last["step"], last["torn"], last["exit_code"]) == (True, None, False, 0)
    moments = ran.of("moment")
    steps = list(Trace(Path(file).read_text("ascii")))
    assert [moment["n"] for moment in moments] == sorted({moment["n"] for moment in moments})
    outcomes = [
        step
        for step in steps
        if step.call == "poll"
        and step.data.get("gave", {}).get("kind") in ("Accepted", "Rejected", "Unresolved")
    ]
    assert [moment["n"] for moment in moments if moment["what"] == "became"] == [
        step.n for step in outcomes
    ]
    assert all(moment["text"] for moment in moments)
    for moment, step in zip(
        (one for one in moments if one["what"] == "became"), outcomes, strict=True
    ):
        if "why" in step.data["gave"]:
            assert WhyUnresolved(step.data["gave"]["why"]).sentence in moment["text"]


@pytest.mark.parametrize("engine", [engine.value for engine in Engine])
def test_a_record_is_replayed_by_the_chosen_engine(shell: Shell, engine: str) -> None:
    ran = shell("replay", "--engine", engine, str(TRACES / "resent.jsonl"))
    assert ran.code == 0
    assert f"replayed with the {engine} engine: identical" in ran.out


def changed(name: str, change: Callable[[list[str]], list[str]], tmp_path: Path) -> str:
    file = tmp_path / "changed.jsonl"
    file.write_text(
        "".join(change((TRACES / f"{name}.jsonl").read_text("ascii").splitlines(keepends=True))),
        "ascii",
    )
    return str(file)


def test_a_divergent_replay_is_exit_code_1_and_shows_where(shell: Shell, tmp_path: Path) -> None:
    file = changed(
        "late_reply",
        lambda lines: [line.replace('"why":"timeout"', '"why":"lost"') for line in lines],
        tmp_path,
    )
    ran = shell("replay", file)
    assert ran.code == 1
    assert '- gave.why: "lost"' in ran.out
    assert '+ gave.why: "timeout"' in ran.out
    ran = shell("replay", "--json", file)
    assert ran.code == 1
    (last,) = ran.of("replay")
    assert json.loads(last["recorded"])["n"] == last["step"] == json.loads(last["came"])["n"]
    assert "- gave.why" in ran.err


def test_a_torn_last_line_is_reported_and_is_no_divergence(shell: Shell, tmp_path: Path) -> None:
    file = changed("no_pong", lambda lines: [*lines[:-1], lines[-1][:20]], tmp_path)
    ran = shell("replay", file)
    assert ran.code == 0
    assert "the last line is incomplete" in ran.out
    assert shell("replay", "--json", file).of("replay")[0]["torn"] is True


def test_a_file_that_is_not_a_record_is_reported_in_one_line(shell: Shell, tmp_path: Path) -> None:
    def swapped(lines: list[str]) -> list[str]:
        return [lines[0], *reversed(lines[1:])]

    def without(key: str) -> Callable[[list[str]], list[str]]:
        def change(lines: list[str]) -> list[str]:
            made: list[str] = []
            for line in lines:
                data: dict[str, Any] = json.loads(line)
                data.pop(key, None)
                made.append(json.dumps(data) + "\n")
            return made

        return change

    changes: list[Callable[[list[str]], list[str]]] = [
        lambda lines: lines[:0], lambda lines: lines[1:], swapped, without("gave"), without("message"), without("order"),
    ]  # fmt: skip
    for change in changes:
        ran = shell("replay", changed("resent", change, tmp_path))
        assert ran.code == 2
        assert ran.err.count("\n") == 1
        assert "trace" in ran.err
    ran = shell("replay", str(tmp_path / "nowhere"))
    assert ran.code == 2
    assert "cannot read" in ran.err
    (tmp_path / "bytes").write_bytes(os.urandom(1000))
    assert shell("replay", str(tmp_path / "bytes")).code == 2


def test_a_record_can_be_read_from_standard_input() -> None:
    given = (TRACES / "going_away.jsonl").read_text("ascii")
    with process("replay", "--json", "-", given=given) as running:
        ran = finished(running)
    assert ran.code == 0
    assert ran.of("replay")[0]["core"] == "Session"


def test_a_missing_engine_is_reported_with_an_install_hint(shell: Shell) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    shell.patch.setattr("bitget_proto._wire.json_engines.import_module", missing)
    ran = shell("replay", "--engine", "orjson", str(TRACES / "resent.jsonl"))
    assert ran.code == 2
    assert "pip install 'bitget-proto[orjson]'" in ran.err


def test_the_timeline_tells_what_became_of_a_subscription_and_of_an_order(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "record.jsonl"
    arg = '"arg":{"instType":"SPOT","channel":"orders"}'
    with file.open("w", encoding="ascii") as trace:
        conn = record(Connection(), trace.write)
        conn.opened(0.0, login=sign_login(Credentials("key", "secret", "passphrase"), 1))
        for message in (
            '{"event":"login","code":0}',
            f'{{"event":"subscribe",{arg}}}',
            f'{{"event":"error",{arg},"code":30001,"msg":"no"}}',
            f'{{{arg},"data":[{{"orderId":"7","status":"filled"}}]}}',
        ):
            while not isinstance(conn.poll(0.0), Wait):
                pass
            conn.receive(message, 0.0)
        while not isinstance(conn.poll(0.0), Wait):
            pass
    ran = shell("replay", str(file))
    assert ran.code == 0
    for line in (
        "changes of orders are pushed from now on",
        "a subscription was refused: 30001",
        'order "7": "filled"',
    ):
        assert line in ran.out
