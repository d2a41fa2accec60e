"""`python -m benchmarks.scaling`: measure how costs grow with cancels in flight and sessions.

Costs are measured; limits are the exchange's, each with its source; the rest is computed from
these. Idle sessions run in virtual time: a minute of pings is run as fast as possible, and the
processor time is divided by that minute.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from time import process_time_ns
from typing import Any

import attrs

from benchmarks.channels import bytes_per_channel
from benchmarks.cycles import ready
from benchmarks.frames import HEAD, ORDER, TAIL
from benchmarks.memory import up, weigh
from bitget_proto import Codec, LinkTransmit, Session, SessionConfig, Wait, fastest

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
_FIGURES = re.compile(
    r"(?<=<!-- figures: made by python -m benchmarks\.scaling --page -->\n\n).*?(?=\n<!-- end of figures -->)",
    re.DOTALL,
)

UID_LIMITS = (10, 60, 100)
"""Cancels a second of a UID: the default, and the VIP tiers (Cancel Order Channel)."""

CONNECTIONS_PER_IP, DIALS_PER_IP = 100, 300
"""Open connections at a time, and new ones in 5 minutes (Websocket API, Connect)."""

_IN_FLIGHT, _SESSIONS, _CYCLES = (
    (1, 10, 100, 1_000, 10_000, 100_000),
    (1, 10, 100, 1_000, 3_000),
    20_000,
)
_FEW_IN_FLIGHT, _FEW_SESSIONS, _FEW_CYCLES = (1, 100), (1, 10), 200
_PERIOD = 60.0
"""How long sessions are idle, in seconds of virtual time."""


@attrs.frozen
class InFlight:
    """The costs with `count` cancels in flight."""

    count: int
    cycle_seconds: float
    bytes_each: float


@attrs.frozen
class Idle:
    """The costs of `count` sessions that only ping."""

    count: int
    cpu_per_session_second: float
    bytes_each: float


@attrs.frozen
class Report:
    """All measurements."""

    in_flight: list[InFlight]
    idle: list[Idle]
    channel_bytes: float
    channel_bytes_tls: float


def measure(*, quick: bool) -> Report:
    """Measure everything. It takes about a minute, or seconds with `quick`."""
    return Report(
        [
            _in_flight(count, _FEW_CYCLES if quick else _CYCLES)
            for count in (_FEW_IN_FLIGHT if quick else _IN_FLIGHT)
        ],
        [_idle(count) for count in (_FEW_SESSIONS if quick else _SESSIONS)],
        bytes_per_channel(quick, tls=False),
        bytes_per_channel(quick, tls=True),
    )


def _in_flight(count: int, cycles: int) -> InFlight:
    engine = fastest()
    ready(engine, count)
    size = weigh(lambda: ready(engine, count))
    connection = ready(engine, count - 1)
    due = [(number * 1e-5, f"{HEAD}{number}{TAIL}") for number in range(1, cycles + 1)]
    gc.collect()
    before = process_time_ns()
    for now, reply in due:
        connection.cancel(ORDER, now)
        connection.poll(now)
        connection.poll(now)
        connection.receive(reply, now)
        connection.poll(now)
        connection.poll(now)
    seconds = (process_time_ns() - before) / cycles / 1e9
    assert connection.in_flight == count - 1
    return InFlight(count, seconds, (size - weigh(lambda: ready(engine, 0))) / count)


def _idle(count: int) -> Idle:
    config, codec = SessionConfig(), Codec(fastest())
    sessions: list[Session] = []
    size = weigh(lambda: sessions.extend(up(config, codec) for _ in range(count)))
    gc.collect()
    pings = 0
    before = process_time_ns()
    for session in sessions:
        pings += _ping(session)
    seconds = (process_time_ns() - before) / 1e9
    assert pings == 2 * count
    return Idle(count, seconds / count / _PERIOD, size / count)


def _ping(session: Session) -> int:
    """Drive a session through the period, and return the number of its pings."""
    now, pings = 0.0, 0
    while True:
        output = session.poll(now)
        if isinstance(output, LinkTransmit):
            pings += 1
            session.receive(output.link, "pong", now)
        elif isinstance(output, Wait):
            if output.until is None or output.until > _PERIOD:
                return pings
            now = output.until
            session.handle_timeout(now)


def show(report: Report) -> str:
    """Return the report as Markdown."""
    cycle = report.in_flight[0].cycle_seconds
    idle, lines = report.idle[-1], list[str]()
    lines += [
        "| cancels in flight | a cycle | a second and core | memory each |",
        "| ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.count:,} | {row.cycle_seconds * 1e6:.1f} µs | {1 / row.cycle_seconds:,.0f} | {row.bytes_each:,.0f} B |"
        for row in report.in_flight
    ]
    lines += [
        "",
        "| idle sessions | of a core | for each | memory each |",
        "| ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.count:,} | {row.count * row.cpu_per_session_second:.3%} | {row.cpu_per_session_second * 1e6:.2f} µs a second "
        f"| {row.bytes_each:,.0f} B |"
        for row in report.idle
    ]
    lines += [
        "",
        (
            f"An open channel needs {report.channel_bytes / 1024:,.0f} KiB of its process, "
            f"buffers included, and {report.channel_bytes_tls / 1024:,.0f} KiB with TLS."
        ),
        "",
        "| cancels a second of a UID | of a core, in the core of this library | UIDs that a core would carry |",
        "| ---: | ---: | ---: |",
    ]
    lines += [f"| {rate} | {rate * cycle:.3%} | {1 / (rate * cycle):,.0f} |" for rate in UID_LIMITS]
    most = CONNECTIONS_PER_IP
    lines += [
        "",
        (
            f"With {most} connections, the limit of an IP address, each at {UID_LIMITS[0]} messages "
            f"a second: {most * UID_LIMITS[0] * cycle:.1%} of a core for cancels, "
            f"{most * idle.cpu_per_session_second:.4%} for pings, and "
            f"{most * report.channel_bytes_tls / 2**20:,.0f} MiB for TLS. Reconnecting all of them "
            f"uses {most} of the {DIALS_PER_IP} connects that are allowed in 5 minutes."
        ),
    ]
    return "\n".join(lines) + "\n"


def on_page(text: str, part: str) -> str:
    """Return the page with its generated part replaced."""
    return _FIGURES.sub(lambda _: part, text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure a few, to check that the benchmark works"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures to this file"
    )
    parser.add_argument(
        "--page", action="store_true", help="write the figures into docs/scaling.md"
    )
    arguments = parser.parse_args(argv)
    report = measure(quick=arguments.quick)
    print(show(report), end="")
    if arguments.page:
        if arguments.quick:
            parser.error("--page needs a full run: leave --quick out")
        PAGE.write_text(on_page(PAGE.read_text(encoding="utf-8"), show(report)), encoding="utf-8")
    if arguments.json is not None:
        plain: dict[str, Any] = attrs.asdict(report)
        arguments.json.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
