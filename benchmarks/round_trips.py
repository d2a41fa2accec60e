"""Round trips over real sockets on loopback: our transports compared with the bare libraries.

- The server is `answerer`, in a process of its own. All sides of a group have a connection to the
  same server.
- A floor (`bare`) uses the underlying library directly: no checks, no deadlines, plain data.
- Each group is measured twice: with client and server on one core, where wake-ups between cores do
  not hide the client's cost, and without pinning. The targets are for one core.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks import bare, ours
from benchmarks.on_loop import Connected, NewLoop, on_loop
from benchmarks.other_end import answerer
from benchmarks.sides import Group, Part, Side, Target, missing, timed
from bitget_transports._driver.reporter import Observe

AT_ONCE = 64
_SECONDS = 0.02

_Sides = Callable[[ExitStack, int, bool], Sequence[Part]]


def groups() -> Iterator[Group]:
    for where, core in (("one core", max(os.sched_getaffinity(0))), ("free", None)):
        # The targets are for one core only.
        for name, sides in (
            ("round trip, blocking", _blocking),
            ("round trip, asyncio", partial(_asyncio, new_loop=asyncio.new_event_loop)),
            ("round trip, uvloop", _uvloop),
            ("round trip, anyio", _anyio),
            ("round trip, a session", _session),
            ("round trip, observed", _observed),
        ):
            yield Group(
                name=f"{name}, {where}", sides=partial(_connected, sides, core), seconds=_SECONDS
            )
        yield Group(
            name=f"{AT_ONCE} in flight, asyncio, {where}",
            sides=partial(_connected, _pipelined, core),
            seconds=_SECONDS,
            by_rate=True,
        )


def _connected(sides: _Sides, core: int | None, stack: ExitStack) -> Sequence[Part]:
    return sides(stack, stack.enter_context(answerer(core=core)), core is not None)


def _blocking(stack: ExitStack, port: int, targets: bool) -> list[Part]:
    floor, url, enter = "a bare socket, ready frames", _url(port), stack.enter_context
    return [
        Side(name=floor, turn=timed(enter(bare.ready_frames(port)))),
        Side(
            name="websockets' blocking client, untyped",
            turn=timed(enter(bare.blocking(url))),
            floor=floor,
        ),
        Side(
            name="bitget_transports.blocking",
            turn=timed(enter(ours.blocking(url))),
            floor=floor,
            target=Target(2.5, 2.0) if targets else None,
        ),
    ]


def _asyncio(stack: ExitStack, port: int, targets: bool, new_loop: NewLoop) -> list[Part]:
    floor, url, framed = (
        "picows, a future for each reply",
        _url(port),
        "bitget_transports.asyncio, framed by picows",
    )
    client = "websockets' asyncio client, untyped"

    def side(
        name: str, connected: Connected, target: Target | None = None, floor: str | None = floor
    ) -> Side:
        return Side(
            name=name,
            turn=timed(stack.enter_context(on_loop(new_loop, connected))),
            floor=floor,
            target=target,
        )

    return [
        missing("picows", floor) or side(floor, lambda: bare.picows(url), floor=None),
        side(client, lambda: bare.websockets(url)),
        side(
            "bitget_transports.asyncio",
            lambda: ours.asyncio(url),
            Target(1.05, 1.0) if targets else None,
            client,
        ),
        missing("picows", framed)
        or side(
            framed, lambda: ours.asyncio(url, "picows"), Target(1.5, 1.15) if targets else None
        ),
    ]


def _uvloop(stack: ExitStack, port: int, targets: bool) -> list[Part]:
    if skipped := missing("uvloop", "all"):
        return [skipped]
    from uvloop import new_event_loop

    return _asyncio(stack, port, targets, new_event_loop)


def _anyio(stack: ExitStack, port: int, targets: bool) -> list[Part]:
    floor, url = "bare httpx-ws, untyped", _url(port)

    def side(
        name: str, connected: Connected, target: Target | None = None, floor: str | None = floor
    ) -> Side:
        turn = timed(stack.enter_context(on_loop(asyncio.new_event_loop, connected)))
        return Side(name=name, turn=turn, floor=floor, target=target)

    return [
        side(floor, lambda: bare.httpx_ws(url), floor=None),
        side(
            "bitget_transports.anyio",
            lambda: ours.anyio(url),
            Target(1.15, 1.05) if targets else None,
        ),
    ]


def _session(stack: ExitStack, port: int, targets: bool) -> list[Part]:
    connected, url = "bitget_transports.asyncio, connect", _url(port)

    def side(
        name: str, made: Connected, target: Target | None = None, floor: str | None = None
    ) -> Side:
        turn = timed(stack.enter_context(on_loop(asyncio.new_event_loop, made)))
        return Side(name=name, turn=turn, floor=floor, target=target)

    target = Target(1.15, 1.10) if targets else None
    return [
        side(connected, lambda: ours.asyncio(url)),
        side(
            "bitget_transports.asyncio, open_session",
            lambda: ours.asyncio_session(url),
            target,
            connected,
        ),
    ]


def _observed(stack: ExitStack, port: int, targets: bool) -> list[Part]:
    """What `observe` adds: a function that does nothing, counters, and spans that are recorded."""
    without, url = "bitget_transports.asyncio, without observe", _url(port)

    def side(name: str, observe: Observe | None, target: Target | None = None) -> Side:
        connected = on_loop(asyncio.new_event_loop, lambda: ours.asyncio(url, observe=observe))
        return Side(
            name=name,
            turn=timed(stack.enter_context(connected)),
            floor=None if observe is None else without,
            target=target if targets else None,
        )

    parts: list[Part] = [side(without, None), side("a function that does nothing", _ignore)]
    prometheus, spans = "Prometheus metrics", "OpenTelemetry spans and metrics"
    if skipped := missing("prometheus_client", prometheus):
        parts.append(skipped)
    else:
        from prometheus_client import CollectorRegistry

        from bitget_transports.telemetry.prometheus import PrometheusMetrics

        metrics = PrometheusMetrics(CollectorRegistry())
        parts.append(side(prometheus, metrics.channel("main"), Target(1.1, 1.05)))
    if skipped := missing("opentelemetry.sdk", spans):
        parts.append(skipped)
    else:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider

        from bitget_transports.telemetry.opentelemetry import OpenTelemetry

        telemetry = OpenTelemetry(
            TracerProvider(shutdown_on_exit=False), MeterProvider(shutdown_on_exit=False)
        )
        parts.append(side(spans, telemetry.channel("main"), Target(1.1, 1.05)))
    return parts


def _ignore(_event: object, _at: float) -> None:
    """Do nothing."""


def _pipelined(stack: ExitStack, port: int, _targets: bool) -> list[Part]:
    """It has no targets: the exchange takes 10 messages a second, so no user reaches this rate."""
    row, tasks, url = (
        "websockets, one send after the other",
        "websockets, a task for each",
        _url(port),
    )
    framed = "bitget_transports.asyncio, framed by picows, a task for each"

    def side(name: str, connected: Connected, floor: str | None = None) -> Side:
        turn = timed(stack.enter_context(on_loop(asyncio.new_event_loop, connected)))
        return Side(name=name, turn=turn, floor=floor, per=AT_ONCE)

    return [
        side(row, lambda: bare.websockets(url, AT_ONCE)),
        side(
            "bitget_transports.asyncio, cancel_many", lambda: ours.asyncio_many(url, AT_ONCE), row
        ),
        side(tasks, lambda: bare.websockets_in_tasks(url, AT_ONCE)),
        side(
            "bitget_transports.asyncio, a task for each",
            lambda: ours.asyncio_in_tasks(url, AT_ONCE),
            tasks,
        ),
        missing("picows", framed)
        or side(framed, lambda: ours.asyncio_in_tasks(url, AT_ONCE, "picows"), tasks),
    ]


def _url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/v2/ws/private"
