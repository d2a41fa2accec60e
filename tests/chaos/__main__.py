"""`python -m tests.chaos`: cancel over a failing network and check each outcome.

Each transport cancels orders at the embedded exchange, with each policy, through a proxy that
delays, splits, cuts in mid-frame, resets, stalls, corrupts, and cuts messages into tiny fragments.
The exchange also misbehaves: it goes away, answers late or twice, and drops. Then each outcome is
checked against what the exchange received and did. A broken promise is printed, and the exit status
is 1.

With `--confirm`, it also finds out what became of each order, and checks that against the exchange's
book. Then orders fill before their cancels, pushes are lost, late and doubled, and REST is a second
behind, fails, and goes through the same proxy.

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
from types import NoneType
from typing import TypeVar

import attrs
from tests.chaos.judge import Log, broken_finals, broken_promises, name_of
from tests.chaos.transports import Answer, Batch, Run, Transport

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    Config,
    Dialect,
    Evidence,
    Filled,
    Final,
    NotFound,
    Outcome,
    Policy,
    Rejected,
    SessionConfig,
    StillOpen,
    Unknown,
    Unresolved,
    Up,
)
from bitget_proto.testing import ExchangeConfig, Fault, RestFault, ScriptedExchange
from bitget_transports import ChannelEvent, Limits, clock
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
FILLS = (
    (Fault.FILL_FIRST, 100), (Fault.HALF_FILL_FIRST, 100), (Fault.NO_PUSH, 40), (Fault.PUSH_LATE, 40),
    (Fault.PUSH_TWICE, 20), (Fault.PUSH_FIRST, 20),
)  # fmt: skip
"""What else happens to cancels with `--confirm`."""

REST_FAULTS: Sequence[tuple[RestFault | None, int]] = (
    (None, 60),
    *((fault, 1) for fault in RestFault),
)
_REST_BEHIND = 1.0
_CONFIRMED_ALONE = 20
"""How many orders are confirmed one by one; the others by `cancel_all`."""

_EXAMPLES = """\
examples:
  python -m tests.chaos
  python -m tests.chaos --cancels 1000 --cuts 40 --transport asyncio --policy resend
  python -m tests.chaos --seed 7
  python -m tests.chaos --confirm --cancels 800 --cuts 20

exit codes: 0 when every promise was kept, 1 when one was broken
"""

_F = TypeVar("_F", Fault, RestFault)

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
        transport, policy, seconds, outcomes, events, proxy.connections, proxy.applied, broken
    )


@attrs.define
class Confirmed:
    """The result of one run with `--confirm`."""

    transport: Transport
    policy: Policy
    seconds: float
    pairs: list[tuple[Outcome, Final | None]]
    faults: Counter[NetworkFault]
    broken: list[str]

    def row(self) -> tuple[object, ...]:
        """Return the cells of the table."""
        kinds = Counter(type(final) for _, final in self.pairs)
        by = Counter(final.evidence for _, final in self.pairs if final is not None)
        kept = (kinds[kind] for kind in (Cancelled, Filled, StillOpen, NotFound, Unknown, NoneType))
        return (
            self.transport.value, self.policy.value, len(self.pairs), *kept,
            *(by[evidence] for evidence in Evidence),
            self.faults.total(), f"{self.seconds:.1f}", len(self.broken),
        )  # fmt: skip


_CONFIRMED_COLUMNS = (
    "transport", "policy", "outcomes", "cancelled", "filled", "still open", "not found", "unknown", "not sent",
    *(f"by {evidence.value}" for evidence in Evidence),
    "cuts", "seconds", "broken",
)  # fmt: skip


def confirmed_chaos(
    transport: Transport,
    policy: Policy,
    cancels: int,
    cuts: int,
    seed: int,
    dialect: Dialect = Dialect.CLASSIC,
) -> Confirmed:
    """Cancel and confirm every order once or more; check the outcomes and the finals."""
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, cancels + 1)]
    chance = random.Random(seed)
    log = Log()
    exchange = make_exchange(orders, log, dialect)
    exchange.rest_behind = _REST_BEHIND
    exchange.inject(*draw(chance, (*FAULTS, *FILLS), 4 * cancels))
    exchange.inject_login(None, *draw(chance, _LOGIN_FAULTS, cuts))
    exchange.inject_rest(*draw(chance, REST_FAULTS, cancels))
    # The exchange does not have the last three.
    missing = [CancelOrder("BTCUSDT", order_id=f"9{number}000000") for number in range(3)]
    alone = Batch([*chance.sample(orders, min(_CONFIRMED_ALONE, cancels)), *missing], _TIMEOUT)
    pairs: list[tuple[Outcome, Final | None]] = []

    def took(outcome: Outcome, final: Final | None) -> None:
        pairs.append((outcome, final))

    # REST is no WebSocket, whose messages have fragments.
    plan = (
        attrs.evolve(treatment, fragment=None)
        for treatment in random_plan(seed, cuts, max(300, 2 * _BYTES * cancels // max(cuts, 1)))
    )
    began = time.monotonic()
    with exchange_in_thread(exchange) as server, FlakyProxy(server.url, plan) as proxy:
        offset = clock() - server.now()
        config = attrs.evolve(CONFIG, policy=policy)
        run = Run(proxy.url, config, LIMITS, [alone], lambda _: None, dialect, took)
        transport.run(run)
        seconds = time.monotonic() - began
    log.acts = exchange.log
    outcomes = [outcome for outcome, _ in pairs]
    counts = Counter(name_of(outcome.order) for outcome in outcomes)
    broken = list(broken_promises(counts, outcomes, log, policy, {}))
    book = {name_of(placed.order): placed for placed in exchange._book.newest_first()}
    broken += broken_finals(pairs, book, offset)
    broken += [f"order {order.order_id}: still open at the end" for order in exchange.live]
    broken += [f"order {id}: no outcome" for id in book.keys() - counts.keys()]
    return Confirmed(transport, policy, seconds, pairs, proxy.applied, broken)


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
    chance: random.Random, faults: Sequence[tuple[_F | None, int]], count: int
) -> list[_F | None]:
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
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="also find out what became of each order, with fills, lost pushes and failing REST",
    )
    arguments = parser.parse_args(argv)
    columns = _CONFIRMED_COLUMNS if arguments.confirm else _COLUMNS
    print("  ".join(columns))
    kept = True
    for result in _results(arguments):
        cells = zip(result.row(), columns, strict=True)
        print("  ".join(f"{cell!s:>{len(column)}}" for cell, column in cells), flush=True)
        for promise in result.broken[:20]:
            print(f"  BROKEN  {promise}")
        kept = kept and not result.broken
    print("Every promise was kept." if kept else "Promises were broken.")
    return 0 if kept else 1


def _results(arguments: argparse.Namespace) -> Iterator[Result | Confirmed]:
    run = confirmed_chaos if arguments.confirm else chaos
    for transport in arguments.transport or [transport.value for transport in Transport]:
        for policy in arguments.policy or POLICIES:
            yield run(
                Transport(transport),
                POLICIES[policy],
                arguments.cancels,
                arguments.cuts,
                arguments.seed,
                Dialect(arguments.account),
            )


if __name__ == "__main__":
    sys.exit(main())
