"""The examples run alone, and keep the driver contract. Real time.

Those that carry the core over somebody else's WebSocket are played every scenario; of those that drive a socket themselves, and
have most of it in common, a choice that has something of every rule. In `examples/`,
`python -m bitget_proto.testing raw_selectors:make_driver` plays all of them with one.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.bitget_proto.testing.patience import BUSY

from bitget_proto.testing import Rule, check_driver
from bitget_proto.testing._kit.runner import SCENARIOS, named
from heavy import __main__ as heavy

EXAMPLES = Path(__file__).parents[2] / "examples"

DRIVERS = ["raw_selectors", "game_loop", "trio_without_anyio", "thread_with_queue"]
CARRIERS = ["own_websockets_client", "own_aiohttp", "own_picows"]

CHOICE = [
    "login and a cancel", "close while cancels are in flight", "frames in order", "one frame unwritten", "wait moves sooner",
    "half a message", "deadline", "deadline while a write stalls", "gap", "flood", "abandoned wait", "fragments",
    "answer and end in one read", "answer while a write stalls", "reset", "close frame", "hangup", "nothing after the end",
    "connection refused", "upgrade refused", "clock", "calls from many threads",
]  # fmt: skip


def test_the_choice_has_something_of_every_rule() -> None:
    assert {named(name).rule for name in CHOICE} == set(Rule)


def example(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"examples/{name}.py needs a library, of the extra examples: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_of_a_socket_keeps_the_contract(name: str) -> None:
    check_driver(example(name).make_driver, CHOICE, patience=BUSY).check()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [scenario.name for scenario in SCENARIOS])
@pytest.mark.parametrize("name", CARRIERS)
def test_a_carrier_keeps_the_contract(name: str, scenario: str) -> None:
    check_driver(example(name).make_driver, [scenario], patience=BUSY).check()


@pytest.mark.parametrize("name", DRIVERS + CARRIERS)
def test_an_example_runs_alone(name: str) -> None:
    example(name)
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "8 cancels, one outcome each: {'Accepted': 6, 'Rejected': 2}\n"


def test_the_page_tells_of_every_driver_on_a_heavy_framework() -> None:
    (part,) = heavy.PART.findall(heavy.PAGE.read_text("utf-8"))
    names = {path.stem for path in (EXAMPLES / "heavy").glob("on_*.py")}
    assert set(heavy.DRIVERS) == names == set(re.findall(r"`examples/heavy/(\w+)\.py`", part))
