"""The examples run as scripts and keep the driver contract, in real time.

The examples on another WebSocket library run every scenario. Those that drive a socket themselves
have most code in common and run a selection that covers every rule. In `examples/`,
`python -m bitget_proto.testing raw_selectors:make_driver` runs all scenarios with one of them.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
from tests.bitget_proto.testing.patience import BUSY

from bitget_proto.testing import Rule, check_driver
from bitget_proto.testing._kit.runner import SCENARIOS, named
from heavy import __main__ as heavy

EXAMPLES = Path(__file__).parents[2] / "examples"

SOCKET_DRIVERS = ["raw_selectors", "game_loop", "trio_without_anyio", "thread_with_queue"]
LIBRARY_DRIVERS = [
    "own_websockets_client", "own_aiohttp", "own_picows", "own_websocket_client", "on_glib",
]  # fmt: skip

SELECTED = [
    "login and a cancel", "WebSocket pings", "gap after a write has stalled", "gap while a message is handled",
    "close while cancels are in flight", "frames in order", "one frame unwritten", "wait moves sooner",
    "half a message", "deadline", "deadline while a write stalls", "gap", "flood", "abandoned wait", "fragments",
    "answer and end in one read", "answer while a write stalls", "reset", "close frame", "hangup", "nothing after the end",
    "connection refused", "upgrade refused", "clock", "calls from many threads",
]  # fmt: skip


def test_the_selected_scenarios_cover_every_rule() -> None:
    assert {named(name).rule for name in SELECTED} == set(Rule) - {Rule.DIAL, Rule.LINK}


def example(name: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # Debian's PyGObject
            return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(
            f"examples/{name}.py needs a library that is not installed (see its first lines): {error}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", SOCKET_DRIVERS)
def test_a_socket_driver_keeps_the_contract(name: str) -> None:
    check_driver(example(name).make_driver, SELECTED, patience=BUSY).check()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [scenario.name for scenario in SCENARIOS])
@pytest.mark.parametrize("name", LIBRARY_DRIVERS)
def test_a_driver_on_another_websocket_library_keeps_the_contract(name: str, scenario: str) -> None:
    check_driver(example(name).make_driver, [scenario], patience=BUSY).check()


@pytest.mark.parametrize("name", SOCKET_DRIVERS + LIBRARY_DRIVERS)
def test_an_example_runs_as_a_script(name: str) -> None:
    example(name)
    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "ignore::ImportWarning",
        str(EXAMPLES / f"{name}.py"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "8 cancels, one outcome each: {'Accepted': 6, 'Rejected': 2}\n"


def test_the_page_mentions_each_driver_on_a_framework() -> None:
    (part,) = heavy.PART.findall(heavy.PAGE.read_text("utf-8"))
    names = {path.stem for path in (EXAMPLES / "heavy").glob("on_*.py")}
    assert set(heavy.DRIVERS) == names == set(re.findall(r"`examples/heavy/(\w+)\.py`", part))
