"""Benchmarks of other libraries: build the request, write it to a fake socket, parse the reply.

- A peer runs in a process of its own (`worker`), because the peers pin conflicting versions. So do
  our sides.
- A peer is called through its public API with its defaults; only its rate limit is off, as ours is.
  The docstring of each module says how it is called and what it does not have to do here.
- A peer that is not installed is reported as skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.sides import Group, Part, Side, Skipped, Target, Turn

HERE = Path(__file__).parent
FOLDER = HERE / ".venv"
"""Where the peers are looked for first, and those for Node. Then in the current environment."""

_PIP = "benchmarks/peers/.venv/bin/python -m pip install"
INSTALL = f"python3 -m venv benchmarks/peers/.venv && {_PIP} -U pip && {_PIP} -e . --group peers"
INSTALL_NODE = "npm install --prefix benchmarks/peers/.venv bitget-api"

_AHEAD = Target(1.0, 1.0, at_least=True)
"""The target of a peer: it is not faster than ours."""

_OURS, _NAMES = (
    "Connection, msgspec",
    ("typed-bitget", "nexustrader", "ccxt", "python-binance", "pybit"),
)


def groups() -> Iterator[Group]:
    # Here ours is the floor, so a ratio says how many times as long a peer takes.
    yield Group(name="peers, a cancel in process", sides=_sides, seconds=5e-3)


def _sides(stack: ExitStack) -> list[Part]:
    python = FOLDER / "bin" / "python"
    at_home = [sys.executable, "-m", "benchmarks.peers.worker"]
    elsewhere = [
        str(python) if python.exists() else sys.executable,
        "-m",
        "benchmarks.peers.worker",
    ]
    parts: list[Part] = [
        _side(stack, _OURS, [*at_home, "ours_msgspec"], ours=None),
        _side(stack, "Connection, stdlib", [*at_home, "ours_stdlib"]),
        _side(stack, "bitget_transports.asyncio, with its frames", [*at_home, "ours_asyncio"]),
    ]
    for name in _NAMES:
        part = _side(stack, name, [*elsewhere, name.replace("-", "_")], _AHEAD)
        if isinstance(part, Skipped):
            part = Skipped(name=name, why=f"{part.why}; to install it: {INSTALL}")
        parts.append(part)
    node, package = shutil.which("node"), FOLDER / "node_modules" / "bitget-api"
    if node is not None and package.exists():
        parts.append(_side(stack, "bitget-api", [node, str(HERE / "bitget_api.cjs"), str(package)]))
    else:
        parts.append(Skipped(name="bitget-api", why=f"not installed, or no Node: {INSTALL_NODE}"))
    return parts


def _side(
    stack: ExitStack,
    name: str,
    command: list[str],
    target: Target | None = None,
    ours: str | None = _OURS,
) -> Part:
    """Start a worker process, and return a side that runs its turns there."""
    errors = stack.enter_context(TemporaryFile("w+"))  # noqa: SIM115 - the stack closes it
    process = stack.enter_context(
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=HERE.parents[1],
        )
    )
    # Some peers do not end their threads.
    stack.callback(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answers = process.stdin, process.stdout
    ready, _, release = answers.readline().strip().partition(" ")
    if ready != "ready":
        process.wait()
        errors.seek(0)
        lines = errors.read().strip().splitlines() or [f"exit code {process.returncode}"]
        return Skipped(name=name, why=lines[-1])

    def turn(count: int) -> Turn:
        print(count, file=asking, flush=True)
        line = answers.readline()
        if not line:
            errors.seek(0)
            raise ChildProcessError(f"{name} ended: {errors.read()}")
        seconds, cpu_seconds = map(int, line.split())
        return Turn(seconds / 1e9, cpu_seconds / 1e9)

    return Side(name=f"{name} {release}".strip(), turn=turn, floor=ours, target=target)
