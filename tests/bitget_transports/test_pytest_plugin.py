"""The fixture `bitget_exchange`, in this pytest run and in inner ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from bitget_proto import CancelOrder
from bitget_proto.testing import Fault
from bitget_transports.exchange import ExchangeThread

ORDER = CancelOrder("BTCUSDT", order_id="1")

TESTS = """
import socket
from urllib.parse import urlsplit

import pytest

URLS = []


def test_the_exchange_runs(bitget_exchange):
    URLS.append(bitget_exchange.url)


def test_the_exchange_was_stopped():
    split = urlsplit(URLS[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((split.hostname, split.port))


@pytest.mark.bitget_exchange(cancels_per_second=None, lenient=True)
def test_the_mark_configures_the_exchange(bitget_exchange):
    assert bitget_exchange.exchange.config.lenient


@pytest.mark.bitget_exchange(unknown=1)
def test_an_invalid_mark_is_an_error(bitget_exchange):
    pass


def test_an_error_in_the_exchange_fails_the_test(bitget_exchange):
    bitget_exchange.call(lambda: bitget_exchange.server._state.failures.append(ZeroDivisionError()))
"""


def pytest_in(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(code, "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--strict-markers",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        *options,
        ".",
    ]
    # Options of the outer pytest (coverage, for example) must not reach the inner one.
    environment = os.environ | {"PYTEST_ADDOPTS": ""}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )


def test_the_fixture_is_a_running_exchange(bitget_exchange: ExchangeThread) -> None:
    bitget_exchange.place(ORDER)
    bitget_exchange.inject(Fault.SILENT)
    with connect(bitget_exchange.url, proxy=None, ping_interval=None) as client:
        client.send("ping")
        assert client.recv(timeout=10.0) == "pong"
    assert bitget_exchange.exchange.live == (ORDER,)


@pytest.mark.bitget_exchange([ORDER])
def test_the_mark_sets_the_arguments_of_the_exchange(bitget_exchange: ExchangeThread) -> None:
    assert bitget_exchange.exchange.live == (ORDER,)
    assert [thread.name for thread in threading.enumerate()].count("bitget exchange") == 1
    split = urlsplit(bitget_exchange.url)
    with socket.create_connection((split.hostname, split.port)):
        pass


def test_the_installed_plugin_stops_the_exchange_after_each_test(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, TESTS)
    assert "4 passed, 2 errors" in result.stdout
    assert "unexpected keyword argument 'unknown'" in result.stdout
    assert "ZeroDivisionError" in result.stdout


def test_the_plugin_imports_nothing_until_it_is_used(tmp_path: Path) -> None:
    code = """
import sys

def test_nothing_is_imported():
    assert "bitget_transports.pytest_plugin" in sys.modules
    assert not {"bitget_proto", "websockets", "attrs", "asyncio"} & set(sys.modules)
"""
    # Other plugins import asyncio and attrs, so only ours is loaded.
    result = pytest_in(
        tmp_path, code, "--disable-plugin-autoload", "-p", "bitget_transports.pytest_plugin"
    )
    assert "1 passed" in result.stdout, result.stdout


def test_pytest_lists_the_fixture(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, "", "--fixtures")
    assert "bitget_exchange" in result.stdout
    assert "A running exchange" in result.stdout
