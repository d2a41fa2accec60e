"""`python -m tests.chaos`: cancel over a failing network and check each outcome.

Each transport cancels orders at the embedded exchange, with each policy, through a proxy that
delays, splits, cuts in mid-frame, resets, stalls, corrupts, and cuts messages into tiny fragments.
The exchange also misbehaves: it goes away, answers late or twice, and drops. Then each outcome is
checked against what the exchange received and did. A broken promise is printed, and the exit status
is 1.

The seed determines the fault of each connection and of each cancel. The number of cancels that a
cut affects depends on timing. All limits are the defaults, except those in `CONFIG`, `LIMITS` and
`make_exchange`.
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
    Dialect,
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
"""The size of a batch of cancels, its timeout in seconds, and the timeout of one batch in five."""

_BYTES = 80
"""Bytes per cancel by which the cuts are spread.

Less than a cancel or its answer takes on the wire, so that nearly all cuts happen during the run.
"""

FAULTS = (
    (None, 960), (Fault.GOING_AWAY, 8), (Fault.DUPLICATE, 8), (Fault.LATE, 8), (Fault.UNSURE, 8),
    (Fault.DROP_BEFORE, 4), (Fault.DROP_AFTER, 4), (Fault.ITEM_MISSING, 4), (Fault.ITEM_TWICE, 4),
    (Fault.REORDERED, 4), (Fault.CUT, 1),
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
    """The result of one run."""

    transport: Transport
    policy: Policy
    seconds: float
    outcomes: list[Outcome]
    events: list[ChannelEvent]
    links: int
    faults: Counter[NetworkFault]
    broken: list[str]

    def row(self) -> tuple[object, ...]:
        """Return the cells of the table."""
        kinds = Counter(
            (type(outcome), isinstance(outcome, Unresolved) and outcome.sent)
            for outcome in self.outcomes
        )
        resent = sum(outcome.attempts > 1 for outcome in self.outcomes)
        ups = sum(isinstance(event, Up) for event in self.events)
        return (
            self.transport.value, self.policy.value, len(self.outcomes),
            kinds[Accepted, False], kinds[Rejected, False],
            kinds[Unresolved, True], kinds[Unresolved, False],
            resent, self.faults.total(), self.links, ups,
            f"{self.seconds:.1f}", len(self.broken),
        )  # fmt: skip


_COLUMNS = (
    "transport", "policy", "cancels", "accepted", "rejected", "unresolved, sent", "not sent",
    "sent more than once", "cuts", "dials", "ups", "seconds", "broken",
)  # fmt: skip


def chaos(
    transport: Transport,
    policy: Policy,
    cancels: int,
    cuts: int,
    seed: int,
    dialect: Dialect = Dialect.CLASSIC,
) -> Result:
    """Run once and check the outcomes."""
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, cancels + 1)]
    chance = random.Random(seed)
    log = Log()
    # The exchange does not have one order in ten.
    exchange = make_exchange([order for order in orders if chance.random() > 0.1], log, dialect)
    exchange.inject(*draw(chance, FAULTS, 2 * cancels))
    exchange.inject_login(None, *draw(chance, _LOGIN_FAULTS, cuts))
    batches = [
        Batch(orders[at : at + _BATCH], _SHORT if at // _BATCH % 5 == 4 else _TIMEOUT)
        for at in range(0, cancels, _BATCH)
    ]
    answers: list[Answer] = []
    plan = random_plan(seed, cuts, max(300, _BYTES * cancels // max(cuts, 1)))
    began = time.monotonic()
    with exchange_in_thread(exchange) as server, FlakyProxy(server.url, plan) as proxy:
        config = attrs.evolve(CONFIG, policy=policy)
        rest = transport.run(Run(proxy.url, config, LIMITS, batches, answers.append, dialect))
        seconds = time.monotonic() - began
    # Everything is closed, so nothing can arrive any more.
    log.acts = exchange.log
    outcomes = [outcome for answer in answers for outcome in answer.outcomes]
    events = [event for answer in answers for event in answer.events] + rest
    asked = Counter(order.order_id or "" for order in orders)
    timeouts = {order.order_id or "": batch.timeout for batch in batches for order in batch.orders}
    broken = list(broken_promises(asked, outcomes, log, policy, timeouts))
    unrequested = (event for event in events if isinstance(event, Accepted | Rejected | Unresolved))
    broken += [f"an outcome of no requested cancel: {event!r}" for event in unrequested]
    return Result(
        transport, policy, seconds, outcomes, events, proxy.connections, proxy.befallen, broken
    )


def make_exchange(
    orders: Iterable[CancelOrder], log: Log, dialect: Dialect = Dialect.CLASSIC
) -> ScriptedExchange:
    """Return an exchange without rate limits whose delays are short, as time is real here."""
    return ScriptedExchange(
        orders,
        config=ExchangeConfig(messages_per_second=None, max_in_flight=None, dialect=dialect),
        cancels_per_second=None,
        same_order_interval=None,
        late_by=0.05,
        grace=0.05,
        on_frame=log.seen,
    )


def draw(
    chance: random.Random, faults: Sequence[tuple[Fault | None, int]], count: int
) -> list[Fault | None]:
    """Draw `count` faults according to their weights."""
    names, weights = zip(*faults, strict=True)
    return chance.choices(names, weights, k=count)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print the table and the broken promises."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Cancel orders over a failing network and check each outcome against "
        "the exchange's own log.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cancels",
        type=int,
        default=10_000,
        metavar="N",
        help="cancels in each run (default: %(default)s)",
    )
    parser.add_argument(
        "--cuts",
        type=int,
        default=300,
        metavar="N",
        help="connections that are cut in each run (default: %(default)s)",
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
        action="append",
        choices=[transport.value for transport in Transport],
        help="run only this transport; may be repeated (default: all)",
    )
    parser.add_argument(
        "--policy",
        action="append",
        choices=POLICIES,
        help="run only this policy; may be repeated (default: all)",
    )
    parser.add_argument(
        "--account",
        choices=[dialect.value for dialect in Dialect],
        default="classic",
        help="the kind of account (default: %(default)s)",
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
                Dialect(arguments.account),
            )


if __name__ == "__main__":
    sys.exit(main())
