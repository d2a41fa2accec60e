"""`python -m tests.chaos`: cancels through a network that fails, held against the exchange's own log.

Each transport cancels orders at the embedded exchange, under each policy, through a proxy that delays, splits, cuts in
mid-frame, resets, stalls and corrupts; the exchange itself goes away, answers late or twice, and drops. Then each outcome is
held against what the exchange received and did. A broken promise is printed, and the exit status is 1.

Rules of this file
- What is done to which connection and to which cancel comes from the seed. How many cancels a cut meets does not: that is the
  machine's and the moment's.
- The limits are the real ones but for those that stand in `CONFIG`, `LIMITS` and `make_exchange`, by name.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import attrs
from tests.chaos.judge import Log, broken_promises
from tests.chaos.transports import Answer, Batch, Run, Transport

from bitget_proto import (
    Accepted,
    CancelOrder,
    Config,
    Outcome,
    Policy,
    Rejected,
    SessionConfig,
    Unresolved,
    Up,
)
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange
from bitget_transports import ChannelEvent, Limits
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.flaky_proxy import FlakyProxy, NetworkFault, random_plan

CONFIG = SessionConfig(
    link=Config(
        messages_per_second=None,
        max_in_flight=8,
        ping_interval=0.1,
        pong_timeout=0.2,
        login_timeout=0.5,
    ),
    dials_per_5_minutes=None,
    dial_timeout=1.0,
    backoff_min=0.002,
    backoff_max=0.02,
    steady_after=None,
    resend_interval=None,
)
LIMITS = Limits(open_timeout=0.5, write_timeout=0.5, close_timeout=0.2, max_events=None)

_BATCH, _TIMEOUT, _SHORT = 25, 5.0, 0.003
"""How many cancels are asked for at a time, and how many seconds they have; one batch in five has hardly any."""

_BYTES = 80
"""Less than a cancel or its answer takes on the wire, so that nearly all cuts come to pass before all is cancelled."""

FAULTS = (
    (None, 960), (Fault.GOING_AWAY, 8), (Fault.DUPLICATE, 8), (Fault.LATE, 8), (Fault.UNSURE, 8),
    (Fault.DROP_BEFORE, 4), (Fault.DROP_AFTER, 4),
)  # fmt: skip
_EXAMPLES = """\
examples:
  python -m tests.chaos
  python -m tests.chaos --cancels 1000 --cuts 40 --transport asyncio --policy resend
  python -m tests.chaos --seed 7

exit codes: 0 when every promise was kept, 1 when one was broken
"""

POLICIES = {policy.value: policy for policy in Policy}
_LOGIN_FAULTS = ((None, 95), (Fault.DROP_BEFORE, 5))


@attrs.define
class Result:
    """What came of one run."""

    transport: Transport
    policy: Policy
    seconds: float
    outcomes: list[Outcome]
    events: list[ChannelEvent]
    links: int
    faults: Counter[NetworkFault]
    broken: list[str]

    def row(self) -> tuple[object, ...]:
        """For the table."""
        kinds = Counter(
            (type(outcome), isinstance(outcome, Unresolved) and outcome.sent)
            for outcome in self.outcomes
        )
        resent = sum(outcome.attempts > 1 for outcome in self.outcomes)
        ups = sum(isinstance(event, Up) for event in self.events)
        return (
            self.transport.value, self.policy.value, len(self.outcomes), kinds[Accepted, False], kinds[Rejected, False],
            kinds[Unresolved, True], kinds[Unresolved, False], resent, self.faults.total(), self.links, ups,
            f"{self.seconds:.1f}", len(self.broken),
        )  # fmt: skip


_COLUMNS = (
    "transport", "policy", "cancels", "accepted", "rejected", "unresolved, sent", "not sent", "tried again", "cuts", "dials",
    "ups", "seconds", "broken",
)  # fmt: skip


def chaos(transport: Transport, policy: Policy, cancels: int, cuts: int, seed: int) -> Result:
    """One run."""
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, cancels + 1)]
    chance = random.Random(seed)
    log = Log()
    # One order in ten is not there to be cancelled.
    exchange = make_exchange([order for order in orders if chance.random() > 0.1], log)
    exchange.inject(*drawn(chance, FAULTS, 2 * cancels))
    exchange.inject_login(None, *drawn(chance, _LOGIN_FAULTS, cuts))
    batches = [
        Batch(orders[at : at + _BATCH], _SHORT if at // _BATCH % 5 == 4 else _TIMEOUT)
        for at in range(0, cancels, _BATCH)
    ]
    answers: list[Answer] = []
    plan = random_plan(seed, cuts, max(300, _BYTES * cancels // max(cuts, 1)))
    began = time.monotonic()
    with exchange_in_thread(exchange) as server, FlakyProxy(server.url, plan) as proxy:
        config = attrs.evolve(CONFIG, policy=policy)
        rest = transport.go(Run(proxy.url, config, LIMITS, batches, answers.append))
        seconds = time.monotonic() - began
    # All is closed: nothing that was under way can still arrive.
    log.acts = exchange.log
    outcomes = [outcome for answer in answers for outcome in answer.outcomes]
    events = [event for answer in answers for event in answer.events] + rest
    asked = Counter(order.order_id or "" for order in orders)
    timeouts = {order.order_id or "": batch.timeout for batch in batches for order in batch.orders}
    broken = list(broken_promises(asked, outcomes, log, policy, timeouts))
    unasked = (event for event in events if isinstance(event, Accepted | Rejected | Unresolved))
    broken += [f"an outcome that nobody asked for: {event!r}" for event in unasked]
    return Result(
        transport, policy, seconds, outcomes, events, proxy.connections, proxy.befallen, broken
    )


def make_exchange(orders: Iterable[CancelOrder], log: Log) -> ScriptedExchange:
    """One that takes any number of cancels, and is late and gone sooner than in virtual time."""
    return ScriptedExchange(
        orders,
        config=ExchangeConfig(messages_per_second=None, max_in_flight=None),
        cancels_per_second=None,
        same_order_interval=None,
        late_by=0.05,
        grace=0.05,
        on_frame=log.seen,
    )


def drawn(
    chance: random.Random, faults: Sequence[tuple[Fault | None, int]], count: int
) -> list[Fault | None]:
    """So many faults, as often as their weights say."""
    names, weights = zip(*faults, strict=True)
    return chance.choices(names, weights, k=count)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table, say what was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Cancels through a network that fails, and holds each outcome against the exchange's own log.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cancels",
        type=int,
        default=10_000,
        metavar="N",
        help="how many, in each run (default: %(default)s)",
    )
    parser.add_argument(
        "--cuts",
        type=int,
        default=300,
        metavar="N",
        help="connections that do not live long (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="what befalls whom comes from it (default: %(default)s)",
    )
    parser.add_argument(
        "--transport",
        action="append",
        choices=[transport.value for transport in Transport],
        help="only this one; may be repeated (default: all)",
    )
    parser.add_argument(
        "--policy",
        action="append",
        choices=POLICIES,
        help="only this one; may be repeated (default: all)",
    )
    arguments = parser.parse_args(argv)
    print("  ".join(_COLUMNS))
    kept = True
    for result in _results(arguments):
        cells = zip(result.row(), _COLUMNS, strict=True)
        print("  ".join(f"{cell!s:>{len(column)}}" for cell, column in cells), flush=True)
        for promise in result.broken[:20]:
            print(f"  BROKEN  {promise}")
        kept = kept and not result.broken
    print("Every promise was kept." if kept else "Promises were broken.")
    return 0 if kept else 1


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    for transport in arguments.transport or [transport.value for transport in Transport]:
        for policy in arguments.policy or POLICIES:
            yield chaos(
                Transport(transport),
                POLICIES[policy],
                arguments.cancels,
                arguments.cuts,
                arguments.seed,
            )


if __name__ == "__main__":
    sys.exit(main())
