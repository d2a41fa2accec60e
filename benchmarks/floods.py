"""The longest turn of each transport while a peer sends tiny frames without end.

During a turn, timers and other tasks wait. On an event loop, it is the longest time between two
steps of a task that does nothing; on the blocking transport, the longest call of `pump(0)`. The
processor time beside it is that of the step that used the most. The server runs in a process of its
own: `python -m benchmarks.floods` prints its URLs, and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter, process_time
from typing import Any

from benchmarks.sides import Group, Part, Side, Target, Turn, missing
from bitget_proto import CancelOrder, Config, Credentials, Unresolved
from bitget_transports import Limits
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

FLOODS = {
    "continuation frames of two bytes": (b"\x01\x00", b"\x00\x00"),
    "pings of two bytes": (b"", b"\x89\x00"),
    "65,000 tiny messages": (b"", b"\x81\x02{}"),
}
"""The bytes that are sent once, and the bytes of which 65,000 copies are sent again and again."""

_AIM = "50 ms"
_SECONDS = 0.2
_KEY = Credentials("key", "secret", "passphrase")
_OPTIONS: dict[str, Any] = {
    "config": Config(messages_per_second=None),
    "limits": Limits(close_timeout=0.2),
}


def groups() -> Iterator[Group]:
    for number, flood in enumerate(FLOODS):
        yield Group(
            name=f"longest turn, {flood}", sides=partial(_sides, number), seconds=0.0, rounds=0.02
        )


def _sides(number: int, stack: ExitStack) -> Sequence[Part]:
    url = stack.enter_context(_servers())[number]
    sides: list[Part] = [Side(name=_AIM, turn=lambda count: Turn(0.05 * count, 0.0))]
    for name, module, longest in (
        ("bitget_transports.asyncio", None, _on_asyncio),
        ("bitget_transports.asyncio, uvloop", "uvloop", partial(_on_asyncio, uvloop=True)),
        (
            "bitget_transports.asyncio, framed by picows",
            "picows",
            partial(_on_asyncio, framing="picows"),
        ),
        ("bitget_transports.anyio, asyncio", "httpx_ws", partial(_on_anyio, backend="asyncio")),
        ("bitget_transports.anyio, trio", "trio", partial(_on_anyio, backend="trio")),
        ("bitget_transports.blocking", None, _blocking),
    ):
        absent = None if module is None else missing(module, name)
        turn = partial(_repeated, partial(longest, url))
        sides.append(
            absent or Side(name=name, turn=turn, floor=_AIM, target=Target(must=2.0, aim=1.0))
        )
    return sides


class _Longest:
    """The longest step so far, by the clock and by processor time."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self.start()

    def start(self) -> None:
        self._before = perf_counter(), process_time()

    def step(self) -> None:
        now = perf_counter(), process_time()
        self.seconds = max(self.seconds, now[0] - self._before[0])
        self.cpu_seconds = max(self.cpu_seconds, now[1] - self._before[1])
        self._before = now


def _repeated(measure: Callable[[], _Longest], count: int) -> Turn:
    found = [measure() for _ in range(count)]
    return Turn(sum(each.seconds for each in found), sum(each.cpu_seconds for each in found))


def _on_asyncio(url: str, *, uvloop: bool = False, **options: Any) -> _Longest:
    from bitget_transports.asyncio import connect

    new_loop = asyncio.new_event_loop
    if uvloop:
        from uvloop import new_event_loop as new_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_longest(partial(connect, url=url, **_OPTIONS, **options)))


def _on_anyio(url: str, backend: str) -> _Longest:
    import anyio

    from bitget_transports.anyio import connect

    return anyio.run(_longest, partial(connect, url=url, **_OPTIONS), backend=backend)


async def _longest(connect: Callable[[Credentials], Any]) -> _Longest:
    import anyio
    from anyio.lowlevel import checkpoint

    longest = _Longest()

    async def keep_stepping() -> None:
        longest.start()
        while True:
            await checkpoint()
            longest.step()

    async with connect(_KEY) as channel, anyio.create_task_group() as tasks:
        tasks.start_soon(keep_stepping)
        outcome = await channel.cancel(CancelOrder("BTCUSDT", "1"), timeout=_SECONDS)
        assert isinstance(outcome, Unresolved)
        tasks.cancel_scope.cancel()
    return longest


def _blocking(url: str) -> _Longest:
    from bitget_transports.blocking import connect

    with connect(_KEY, url=url, **_OPTIONS) as channel:
        channel.send('{"op":"trade"}')  # the flood begins
        longest, end = _Longest(), perf_counter() + _SECONDS
        while perf_counter() < end:
            channel.pump(0)
            longest.step()
    return longest


@contextmanager
def _servers() -> Generator[list[str]]:
    """Run the servers, and yield the URL of each flood."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floods"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().split()
        finally:
            process.stdin.close()
            process.wait(10.0)


def _flood(first: bytes, unit: bytes, victim: Victim) -> None:
    victim.reach(After.CANCEL)
    victim.write(first)
    while True:
        victim.write(unit * 65_000)


def main() -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(HostileServer(partial(_flood, first, unit)))
            for first, unit in FLOODS.values()
        ]
        print(*(server.url for server in servers), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
