"""`python -m tests.chaos.soak`: run one session over a failing network for a long time.

A line is printed every few seconds: memory (RSS), open files, threads, tasks, links, outcomes.
Compare the lines after the first minute to find a leak. Each batch of outcomes is checked against
the exchange's log; a broken promise makes the exit status 1.

The exchange, the proxy and the session run in this one process, so a leak in any of them shows.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from tests.chaos.__main__ import CONFIG, FAULTS, LIMITS, POLICIES, draw, make_exchange
from tests.chaos.judge import Log, broken_promises
from tests.chaos.transports import Answer, Batch, Run, Transport

from bitget_proto import CancelOrder, Outcome, Policy, SessionConfig, Unresolved, Up
from bitget_proto.testing import Act
from bitget_transports.exchange import ExchangeThread, exchange_in_thread
from bitget_transports.faults.flaky_proxy import FlakyProxy, random_plan

_BATCH, _TIMEOUT = 100, 5.0
_CUT_EVERY = 40_000
"""Average number of bytes between two cuts: some hundreds of cancels."""

_REMEMBERED = 100_000
"""Number of remembered ids of cancels reported as not sent, which must never arrive."""

_DESCRIPTORS = Path("/proc/self/fd")


_EXAMPLES = """\
examples:
  python -m tests.chaos.soak --minutes 60
  python -m tests.chaos.soak --minutes 5 --every 10 --rate 1000 --transport trio --policy report

exit codes: 0 when every promise was kept, 1 when one was broken
"""


class Soak:
    """The batches of one session and their results."""

    def __init__(
        self, transport: Transport, policy: Policy, seconds: float, every: float, seed: int
    ) -> None:
        self.broken = 0
        self._transport, self._policy, self._every = transport, policy, every
        self._end = time.monotonic() + seconds
        self._began = self._printed_at = time.monotonic()
        self._chance = random.Random(seed)
        self._log = Log()
        self._exchange = make_exchange((), self._log)
        self._orders = [
            CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, _BATCH + 1)
        ]
        self._not_sent: deque[str] = deque(maxlen=_REMEMBERED)
        self._outcomes: Counter[str] = Counter()
        self._ups = 0
        self._seed = seed

    def run(self, rate: int) -> None:
        """Run until the time is over; `rate` is the limit of messages per second."""
        link = attrs.evolve(CONFIG.link, messages_per_second=rate)
        config: SessionConfig = attrs.evolve(CONFIG, link=link, policy=self._policy)
        plan = random_plan(self._seed, sys.maxsize, _CUT_EVERY)
        with exchange_in_thread(self._exchange) as server, FlakyProxy(server.url, plan) as proxy:
            self._server, self._proxy = server, proxy
            limits = attrs.evolve(LIMITS, max_events=1000)
            self._transport.run(
                Run(proxy.url, config, limits, self._batches(server), self._answered)
            )
        self._print_line(0)

    def _batches(self, server: ExchangeThread) -> Iterator[Batch]:
        while time.monotonic() < self._end:
            # Each batch has the same orders, so that uncancelled ones do not accumulate.
            server.place(*self._orders)
            server.inject(*draw(self._chance, FAULTS, _BATCH))
            yield Batch(self._orders, _TIMEOUT)

    def _answered(self, answer: Answer) -> None:
        acts, received = self._server.call(self._take_log)
        log = Log(acts, received)
        asked = {order.order_id or "": 1 for order in self._orders}
        promises = list(
            broken_promises(
                asked, answer.outcomes, log, self._policy, dict.fromkeys(asked, _TIMEOUT)
            )
        )
        promises += [
            f"cancel {id}: reported as not sent, but received"
            for id in self._not_sent
            if received[id]
        ]
        for promise in promises:
            self.broken += 1
            print(f"  BROKEN  {promise}")
        self._not_sent.extend(
            o.id for o in answer.outcomes if isinstance(o, Unresolved) and not o.sent
        )
        self._outcomes.update(_kind(outcome) for outcome in answer.outcomes)
        self._ups += sum(isinstance(event, Up) for event in answer.events)
        if time.monotonic() >= self._printed_at + self._every:
            self._printed_at = time.monotonic()
            self._print_line(answer.tasks)

    def _take_log(self) -> tuple[list[Act], Counter[str]]:
        taken = list(self._exchange.log), Counter(self._log.received)
        self._exchange.log.clear()
        self._log.received.clear()
        self._exchange._links.faults._coming.clear()
        return taken

    def _print_line(self, tasks: int) -> None:
        gc.collect()
        files = len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else -1
        outcomes = " ".join(f"{name} {count}" for name, count in sorted(self._outcomes.items()))
        threads = threading.active_count()
        held = f"{_resident():7.1f} MB  {files:3} files  {threads:2} threads  {tasks:2} tasks"
        links = f"{self._proxy.connections:5} dials  {self._ups:5} ups"
        print(f"{time.monotonic() - self._began:6.0f} s  {held}  {links}  {outcomes}", flush=True)


def _kind(outcome: Outcome) -> str:
    name = type(outcome).__name__.lower()
    return f"{name}(sent={outcome.sent})" if isinstance(outcome, Unresolved) else name


def _resident() -> float:
    """Return the resident memory in MB; NaN where the system does not provide it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak test and print the broken promises."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.soak",
        description="Run one session over a failing network for a long time and print the "
        "resources that it uses.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        metavar="N",
        help="duration in minutes (default: %(default)s)",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="seconds between two lines (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=int,
        default=200,
        metavar="N",
        help="limit of cancels per second (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="seed of the random faults (default: %(default)s)",
    )
    parser.add_argument(
        "--transport",
        choices=[transport.value for transport in Transport],
        default="asyncio",
        help="transport of the session (default: %(default)s)",
    )
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="resend",
        help="policy of the cancels (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    soak = Soak(
        Transport(arguments.transport),
        POLICIES[arguments.policy],
        60 * arguments.minutes,
        arguments.every,
        arguments.seed,
    )
    soak.run(arguments.rate)
    print("Every promise was kept." if not soak.broken else f"{soak.broken} promises were broken.")
    return 1 if soak.broken else 0


if __name__ == "__main__":
    sys.exit(main())
