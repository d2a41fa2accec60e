"""`python -m benchmarks.leases`: measure what it costs to lease an account's cancels from Redis.

A lease for each cancel is compared with none, one cancel at a time. Then eight processes, one of which
is 4 ms farther from the store, cancel as fast as they may for a minute, and the exchange counts. It
needs redis-server.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median, quantiles

import attrs
from tests.bitget_transports.lease_fleet import run_fleet
from tests.bitget_transports.redis_server import redis_server

from bitget_proto import Accepted, Budget, CancelOrder, CodeClass, Credentials
from bitget_proto.testing import ScriptedExchange
from bitget_transports import clock
from bitget_transports.asyncio import open_session, shared_budget
from bitget_transports.exchange import exchange_in_thread

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
_FIGURES = re.compile(
    r"(?<=<!-- figures: made by python -m benchmarks\.leases --page -->\n\n).*?(?=\n<!-- end of figures -->)",
    re.DOTALL,
)

LIMITS = (10, 60)
"""Cancels a second of a UID: the default, and the first VIP tier (Cancel Order Channel)."""

_ORDERS = 200
_SPACE = 0.15
"""Seconds between two cancels whose times are compared: so many that the limits of a link and of
the account never delay a cancel."""

_WARM = 2.0
"""Seconds at the start of a run that do not count: a new store leases nothing for about one."""


@attrs.frozen
class Share:
    """How eight processes used the allowance, with `limit` cancels a second."""

    limit: int
    used: float
    """The share of the allowance that was used."""
    busiest: int
    """The most cancels that were sent in any second."""
    refused: int
    """How many of the `sent` cancels the exchange refused."""
    sent: int
    spread: float
    """The largest share of a process, as a multiple of the smallest."""
    farther: float
    """The share of the process that is farther away, as a multiple of the average share."""


@attrs.frozen
class Report:
    """All figures."""

    p50: float
    p99: float
    """The time of a cancel with a lease, as a multiple of the time without one."""
    shares: list[Share]


async def _times(url: str, store: str | None, count: int) -> list[float]:
    """Return how long each of `count` cancels takes, with leases from `store` or without."""
    shared = (
        nullcontext(Budget(None)) if store is None else shared_budget(store, "cost", per_second=100)
    )
    taken = list[float]()
    async with (
        shared as budget,
        open_session(Credentials("key", "secret", "passphrase"), url=url, budget=budget) as channel,
    ):
        await asyncio.sleep(_WARM)
        for number in range(count):
            started = clock()
            outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id=str(number + 1)))
            taken.append(clock() - started)
            assert isinstance(outcome, Accepted)
            await asyncio.sleep(_SPACE)
    return taken


def cost(store: str, count: int) -> tuple[float, float]:
    """Return p50 and p99 with a lease for each cancel, as multiples of those without."""
    found = list[list[float]]()
    for leased in (None, store):
        orders = [CancelOrder("BTCUSDT", order_id=str(number + 1)) for number in range(count)]
        with exchange_in_thread(ScriptedExchange(orders, cancels_per_second=None)) as server:
            found.append(asyncio.run(_times(server.url, leased, count)))
    without, leased_too = found
    return (
        median(leased_too) / median(without),
        quantiles(leased_too, n=100)[98] / quantiles(without, n=100)[98],
    )


def share(store: str, limit: int, seconds: float, processes: int) -> Share:
    """Let the processes cancel as fast as they may."""
    marks = list[float]()

    def during() -> None:
        time.sleep(_WARM)
        marks.append(clock())
        time.sleep(seconds)
        marks.append(clock())

    result = run_fleet(store, limit, during, processes)
    begin, end = marks
    counts = [sum(begin <= at < end for at in report["sent"]) for report in result.reports]
    return Share(
        limit=limit,
        used=sum(counts) / (limit * (end - begin)),
        busiest=result.busiest(),
        refused=result.kinds[CodeClass.THROTTLED.value],
        sent=len(result.sent),
        spread=max(counts) / max(1, min(counts)),
        farther=counts[0] / (sum(counts) / processes),
    )


def measure(*, quick: bool) -> Report:
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as server:
        p50, p99 = cost(server.url, 10 if quick else _ORDERS)
        shares = list[Share]()
        for limit in LIMITS[:1] if quick else LIMITS:
            server.flush()
            shares.append(share(server.url, limit, 2.0 if quick else 60.0, 2 if quick else 8))
    return Report(p50=p50, p99=p99, shares=shares)


def show(report: Report) -> str:
    lines = [
        (
            f"With a lease for each cancel, a cancel takes {report.p50:.1f} times as long as without"
            f" at the median, and {report.p99:.1f} times at p99, with the exchange and Redis on the"
            " same machine."
        ),
        "",
        (
            "| limit per second | used of it | most in any second | refused | largest share"
            " by smallest | share of the process that is farther away |"
        ),
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.limit} | {row.used:.0%} | {row.busiest} | {row.refused} of {row.sent:,} | "
        f"{row.spread:.1f} | {row.farther:.0%} of the average |"
        for row in report.shares
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leases", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure a little, to check that the benchmark works"
    )
    parser.add_argument(
        "--page", action="store_true", help="write the figures into docs/scaling.md"
    )
    arguments = parser.parse_args(argv)
    if arguments.page and arguments.quick:
        parser.error("--page needs a full run: leave --quick out")
    report = show(measure(quick=arguments.quick))
    print(report, end="")
    if arguments.page:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(_FIGURES.sub(lambda _: report, page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
