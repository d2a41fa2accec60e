"""Run `bitget-cancel` in this process, or in its own process for signals and pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import pytest

from bitget_proto import CancelOrder, Credentials
from bitget_transports.cli import main

BOUND = 30.0
"""The timeout of a process in seconds."""

KEY = Credentials("the-key", "the-secret", "the-passphrase")
SECRETS = ("the-key", "the-secret", "the-passphrase")
ENVIRONMENT = {
    "BITGET_API_KEY": SECRETS[0],
    "BITGET_SECRET": SECRETS[1],
    "BITGET_PASSPHRASE": SECRETS[2],
}
CARRIERS = ("anyio", "trio", "asyncio", "blocking")


def spot(*ids: str) -> list[CancelOrder]:
    return [CancelOrder("BTCUSDT", order_id=id) for id in ids]


@attrs.frozen
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output, parsed as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, type: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == type]


class Shell:
    """Runs the command in this process."""

    def __init__(self, captured: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._captured = captured
        self.patch = patch
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)

    def __call__(self, *arguments: str) -> Ran:
        self._captured.readouterr()
        code = main(arguments)
        out, err = self._captured.readouterr()
        assert not any(secret in out + err for secret in SECRETS)
        assert "Traceback" not in err
        assert "\x1b" not in out + err  # not a terminal
        return Ran(code, out, err)


@contextmanager
def process(
    *arguments: str, environment: Mapping[str, str] = ENVIRONMENT, given: str | None = None
) -> Generator[subprocess.Popen[str]]:
    """Run the command in its own process, and kill it if it is still running at the end."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("BITGET", "COV"))
    }
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "bitget_transports", *arguments],
        stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=clean | dict(environment),
    ) as running:
        try:
            if given is not None and running.stdin is not None:
                running.stdin.write(given)
                running.stdin.close()
                running.stdin = None
            yield running
        finally:
            running.kill()


def finished(running: subprocess.Popen[str], before: Iterable[str] = ()) -> Ran:
    """Wait for the process; return what it wrote, including the lines already read."""
    out, err = running.communicate(timeout=BOUND)
    assert "Traceback" not in err, err
    assert "Warning" not in err, err  # -X dev reports anything left unclosed
    return Ran(running.returncode, "".join(before) + (out or ""), err)


def line_of(stream: Any) -> str:
    """Return the next line; fail at the end of the pipe."""
    line = stream.readline()
    assert line, "the process has ended"
    return str(line)
