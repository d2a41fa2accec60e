"""The recipes run as programs, and leave no order open at the embedded exchange."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.bitget_transports.redis_server import redis_server

import kill_switch
from bitget_proto import CancelOrder, Credentials, SessionState
from bitget_proto.testing import Fault, RestFault, ScriptedExchange
from bitget_transports import clock
from bitget_transports.asyncio import open_session
from bitget_transports.exchange import ExchangeThread, exchange_in_thread
from deploy import service

EXAMPLES = Path(__file__).parents[2] / "examples"
DEPLOY = EXAMPLES / "deploy"
KEY = Credentials("key", "secret", "passphrase")
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, 4)]
PATIENCE = 30.0
"""Seconds after which a program counts as hung."""


def run(*arguments: str, **environment: str) -> str:
    """Run an example and return what it printed."""
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=EXAMPLES,
        capture_output=True, text=True, timeout=PATIENCE, check=False, env=os.environ | environment,
    )  # fmt: skip
    # A store that answers late, on a busy machine, is logged.
    errors = [line for line in ran.stderr.splitlines() if "leases for account" not in line]
    assert (ran.returncode, errors) == (0, [])
    return ran.stdout


def test_the_bot_ends_orders_through_a_drop() -> None:
    assert run("-W", "error", "bot.py") == (
        "one order: Cancelled\nthe others: all over\nstill open at the exchange: 0\n"
    )


def test_the_kill_switch_cancels_everything_without_a_sign_of_life() -> None:
    armed, *cancelled = run("-W", "error", "kill_switch.py").splitlines()
    assert armed == "armed"
    assert sorted(cancelled) == ["1: Cancelled", "2: Cancelled", "3: Cancelled"]


@pytest.mark.slow
def test_processes_with_fixed_parts_stay_within_the_limit() -> None:
    assert run("-W", "error", "several_processes.py", REDIS_URL="") == (
        "6 of 6 accepted\n6 of 6 accepted\nstill open at the exchange: 0\n"
    )


@pytest.mark.slow
def test_processes_with_a_store_stay_within_the_limit(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        assert run("-W", "error", "several_processes.py", REDIS_URL=server.url) == (
            "6 of 6 accepted\n6 of 6 accepted\nstill open at the exchange: 0\n"
        )


@pytest.mark.slow
def test_the_tests_of_ones_own_bot_pass() -> None:
    assert re.search(
        r"^5 passed",
        run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_own_bot.py"),
        re.MULTILINE,
    )


# --- the kill switch ---


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_signs_of_life_keep_the_kill_switch_from_firing(tmp_path: Path) -> None:
    heartbeat, silence = tmp_path / "alive", 0.5
    beats: list[float] = []

    def beat() -> None:
        for _ in range(8):
            beats.append(clock())
            heartbeat.touch()
            time.sleep(0.1)

    with exchange_in_thread(ScriptedExchange(ORDERS)) as server:
        async with open_session(KEY, url=server.url) as channel:
            beating = threading.Thread(target=beat)
            beating.start()
            await kill_switch.wait_for_silence(heartbeat, silence, channel)
            fired = clock()
            beating.join()
    assert fired - max(at for at in beats if at < fired) >= silence


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_kill_switch_without_a_session_fails_before_it_is_needed(tmp_path: Path) -> None:
    with exchange_in_thread(ScriptedExchange(ORDERS)) as server:
        async with open_session(KEY, url=server.url) as channel:
            await channel.close()
            assert channel.state is SessionState.ENDED
            with pytest.raises(RuntimeError, match="has ended"):
                await kill_switch.wait_for_silence(tmp_path / "alive", 60.0, channel)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_kill_switch_tries_again_when_the_orders_cannot_be_listed(tmp_path: Path) -> None:
    exchange = ScriptedExchange(ORDERS)
    exchange.inject_rest(*[RestFault.EMPTY] * 5)
    with exchange_in_thread(exchange) as server:
        guarded = kill_switch.guard(KEY, tmp_path / "alive", url=server.url, silence=0.1)
        assert await guarded
    assert not exchange.live


# --- the service ---


@contextmanager
def running(environment: Mapping[str, str]) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(DEPLOY / "service.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
            **os.environ, "BITGET_API_KEY": "key", "BITGET_SECRET": "secret",
            "BITGET_PASSPHRASE": "passphrase", **environment,
            "PYTHONPATH": os.pathsep.join([*sys.path, str(EXAMPLES)]),
        },
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def serving(exchange: ScriptedExchange) -> Generator[tuple[ExchangeThread, subprocess.Popen[str]]]:
    with (
        exchange_in_thread(exchange) as server,
        running({"BITGET_URL": server.url}) as process,
    ):
        yield server, process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_service_leaves_no_order_open(number: signal.Signals) -> None:
    with serving(exchange := ScriptedExchange(ORDERS)) as (_, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (service.CLEAN, "all orders are over\n")
    assert not exchange.live


@pytest.mark.slow
def test_a_stop_while_the_connection_is_lost_is_still_clean() -> None:
    exchange = ScriptedExchange(ORDERS)
    exchange.inject(Fault.DROP_BEFORE)
    with serving(exchange) as (_, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (service.CLEAN, "all orders are over\n")
    assert not exchange.live


@pytest.mark.slow
def test_a_stop_that_cannot_list_the_orders_is_not_clean() -> None:
    exchange = ScriptedExchange(ORDERS)
    exchange.inject_rest(*[RestFault.EMPTY] * 5)
    with serving(exchange) as (_, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (service.NOT_CLEAN, "some orders may be open\n")
    assert "the open orders could not be read" in err


def test_a_refused_key_has_an_exit_code_of_its_own() -> None:
    exchange = ScriptedExchange(credentials=Credentials("other", "secret", "passphrase"))
    with serving(exchange) as (_, process):
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (service.REFUSED, "")
    assert "secret" not in err


# --- the files for systemd and Docker ---


def unit() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "bot.service", "utf-8")
    return parser["Service"]


def test_systemd_waits_for_a_clean_stop_and_does_not_repeat_a_refused_login() -> None:
    assert float(unit()["TimeoutStopSec"]) > service.STOP_WITHIN
    assert unit()["KillSignal"] == "SIGTERM"
    assert unit()["RestartPreventExitStatus"] == str(service.REFUSED)


def test_docker_starts_python_itself_and_waits_for_a_clean_stop() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    [start] = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert json.loads(start) == ["python", "service.py"]
    assert "STOPSIGNAL SIGTERM" in dockerfile
    [grace] = re.findall(
        r"^    stop_grace_period: (\d+)s$",
        (DEPLOY / "compose.yaml").read_text("utf-8"),
        re.MULTILINE,
    )
    assert float(grace) > service.STOP_WITHIN


def test_the_image_has_every_file_that_it_starts() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    [copied] = re.findall(r"^COPY (examples/.*) \./$", dockerfile, re.MULTILINE)
    assert all((EXAMPLES.parent / name).is_file() for name in copied.split())
    assert {"bot.py", "service.py"} == {Path(name).name for name in copied.split()}


def test_the_unit_is_valid_where_systemd_is_installed() -> None:
    try:
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(DEPLOY / "bot.service")],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs systemd-analyze")
    # The program itself is not installed here.
    complaints = [line for line in checked.stderr.splitlines() if "bot.service:" in line]
    assert [line for line in complaints if "is not executable" not in line] == []
