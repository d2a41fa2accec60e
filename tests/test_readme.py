"""Tests that the examples of README and the quickstart run, each as a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitget_proto import CancelOrder
from bitget_proto.testing import ScriptedExchange
from bitget_transports.exchange import exchange_in_thread

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text("utf-8")
[HEAD] = re.findall(r"^```text\n(from .*?)^```", QUICKSTART, re.DOTALL | re.MULTILINE)
EXAMPLES = [
    code
    for code in re.findall(r"^```python\n(.*?)^```", QUICKSTART, re.DOTALL | re.MULTILINE)
    if "URL" in code
]
[FIRST] = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def run(program: str, place: Path) -> str:
    """Run a program as a file, and return what it printed."""
    file = place / "mine.py"
    file.write_text(program, "utf-8")
    ran = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def book() -> list[CancelOrder]:
    """The orders of `bitget-cancel exchange`."""
    return [CancelOrder("BTCUSDT", str(1000001 + n), f"mine-{n + 1}") for n in range(100)]


def test_the_first_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    [start] = re.findall(r"It prints `([^`…]+)…\)`", README)
    assert run(FIRST, tmp_path).startswith(start)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_quickstart_is_a_program(example: str, tmp_path: Path) -> None:
    with exchange_in_thread(ScriptedExchange(book())) as server:
        head = HEAD.replace("ws://127.0.0.1:8765/v2/ws/private", server.url)
        assert head != HEAD
        run(f"{head}\n{example}", tmp_path)
        assert server.exchange.log
        assert all(act.cancelled for act in server.exchange.log)


def test_three_examples_of_the_quickstart_use_an_exchange() -> None:
    assert len(EXAMPLES) == 3
