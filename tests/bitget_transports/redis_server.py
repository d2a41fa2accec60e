"""A real Redis server on a free port, which can be killed, frozen, flushed and restarted."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

STARTS = 10.0
"""Seconds within which a server must start."""


class RedisServer:
    """The server. It keeps nothing on disk."""

    def __init__(self, program: str, directory: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(directory), "--loglevel", "warning",
        ]  # fmt: skip
        self.start()

    def client(self) -> Any:
        """Return a client that retries nothing. Its methods have no types worth having."""
        return Redis(port=self.port, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + STARTS
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except RedisConnectionError:
                    assert time.monotonic() < deadline, "redis-server does not start"
                    assert self._process.poll() is None, "redis-server has ended"
                    time.sleep(0.01)
                else:
                    return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()


@contextmanager
def redis_server(directory: Path) -> Generator[RedisServer]:
    """Run a server, or skip the test where none is installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    server = RedisServer(program, directory)
    try:
        yield server
    finally:
        server.kill()
