"""The examples that drive a socket themselves run alone, and keep the driver contract. Real time.

Here a choice of scenarios that has something of every rule is played, and no long one; in `examples/`,
`python -m bitget_proto.testing raw_selectors:make_driver` plays them all.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from bitget_proto.testing import Rule, check_driver
from bitget_proto.testing._check import named

EXAMPLES = Path(__file__).parents[2] / "examples"

NAMES = ["raw_selectors", "game_loop", "trio_without_anyio", "thread_with_queue"]

CHOICE = [
    "login and a cancel", "close while cancels are in flight", "frames in order", "one frame unwritten", "wait moves sooner",
    "half a message", "deadline", "deadline while a write stalls", "gap", "flood", "abandoned wait", "fragments",
    "answer and end in one read", "answer while a write stalls", "reset", "close frame", "hangup", "nothing after the end",
    "nobody there", "upgrade refused", "clock", "calls from many threads",
]  # fmt: skip


def test_the_choice_has_something_of_every_rule() -> None:
    assert {named(name).rule for name in CHOICE} == set(Rule)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_keeps_the_driver_contract(name: str) -> None:
    try:
        example = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"examples/{name}.py needs a library: {error}")
    check_driver(example.make_driver, CHOICE).check()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_alone(name: str) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "8 cancels, one outcome each: {'Accepted': 6, 'Rejected': 2}\n"
