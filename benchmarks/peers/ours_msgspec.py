"""Our `Connection` without an event loop, driven by the driver contract, with the msgspec engine.

The rate limit is off.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from benchmarks.peers.ours import Prepare, connection_driven
from bitget_proto import Engine


def release() -> str:
    return ""


def driven() -> AbstractAsyncContextManager[Prepare]:
    return connection_driven(Engine.MSGSPEC)
