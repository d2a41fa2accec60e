"""Ours without an event loop: a `Connection` driven as the driver contract has it, with the msgspec engine.

The pace is off, by name.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from benchmarks.peers.ours import Prepare, connection_driven
from bitget_proto import Engine


def release() -> str:
    return ""


def driven() -> AbstractAsyncContextManager[Prepare]:
    return connection_driven(Engine.MSGSPEC)
