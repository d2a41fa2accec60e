"""Import times, in a new interpreter each time, with compiled bytecode.

The new interpreter measures the `import` statement only, not its own start. The first round is
discarded, so the files are in the system's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from benchmarks.sides import Group, Side, Target, Turn

_PROGRAM = """
from time import perf_counter_ns, process_time_ns
cpu_before, before = process_time_ns(), perf_counter_ns()
import {}
print(perf_counter_ns() - before, process_time_ns() - cpu_before)
"""


def groups() -> Iterator[Group]:
    yield Group(name="import", sides=_sides, rounds=0.4)


def _sides(_: ExitStack) -> list[Side]:
    floor = "import attrs, cattrs"
    return [
        Side(name=floor, turn=_imports("attrs, cattrs")),
        Side(
            name="import bitget_proto",
            turn=_imports("bitget_proto"),
            floor=floor,
            target=Target(1.6, 1.35),
        ),
        Side(
            name="import bitget_transports.asyncio",
            turn=_imports("bitget_transports.asyncio"),
            floor=floor,
        ),
        Side(name="import asyncio", turn=_imports("asyncio")),
    ]


def _imports(names: str) -> Callable[[int], Turn]:
    # Let Python write bytecode, even when the environment forbids it.
    environment = {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    }
    command = [sys.executable, "-c", _PROGRAM.format(names)]

    def turn(count: int) -> Turn:
        seconds = cpu_seconds = 0
        for _ in range(count):
            done = subprocess.run(
                command, check=True, env=environment, stdout=subprocess.PIPE, text=True
            )
            taken, cpu_taken = map(int, done.stdout.split())
            seconds, cpu_seconds = seconds + taken, cpu_seconds + cpu_taken
        return Turn(seconds / 1e9, cpu_seconds / 1e9)

    return turn
