"""`bitget-cancel demo`: cancel orders on an embedded exchange with faults, check every outcome.

Every transport gets the same number of orders and the same faults, on a connection of its own. Only
the connection of the last transport is dropped. The verdict and the exit code come from this run.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping

import attrs
from rich.progress import Progress

from bitget_proto import Budget, CancelOrder, Config, Credentials, Dialect, Outcome, Unresolved
from bitget_proto.testing import ExchangeConfig, Fault, ScriptedExchange, SeenFrame

from .. import ConnectFailed
from ..exchange import ExchangeThread, exchange_in_thread
from ._carriers import Carrier, Job, carry, installed
from ._exit_codes import Exit, Failure, missing_extra
from ._ledger import Ledger, percentile
from ._order_list import name_of
from ._outcome_rows import state_of
from ._proof import contradictions, false_states, received
from ._screen import Column, Screen
from ._stop import Stop

_TIMEOUT = 1.2
"""The deadline of an answer, in seconds: short, because some answers never come."""

_LATE_BY = 0.3
"""The delay of a late answer, in seconds: it still comes within the deadline."""

_MAX_IN_FLIGHT = 40
"""Cancels in flight at a time."""

_FIRST_ID = 1376695893517410304
_INSTRUMENTS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")

_FAULTS = (
    Fault.DUPLICATE, Fault.LATE, Fault.SILENT, Fault.GOING_AWAY, Fault.GARBAGE, Fault.UNSURE, Fault.THROTTLE,
    Fault.NO_ARG, Fault.DUPLICATE, Fault.UNKNOWN_ID, Fault.LATE, Fault.WRONG_TYPES, Fault.UNSURE,
)  # fmt: skip
"""The faults of each run, evenly spread. None of these drops the connection."""

_BATCH_FAULTS = (Fault.ITEM_MISSING, Fault.REORDERED, Fault.ITEM_TWICE, Fault.CUT)
"""The additional faults of each run on a unified account."""

_ORDER_FAULTS = (
    Fault.FILL_FIRST, Fault.NO_PUSH, Fault.HALF_FILL_FIRST, Fault.PUSH_LATE, Fault.PUSH_TWICE, Fault.PUSH_FIRST,
)  # fmt: skip
"""The additional faults of each run with `--confirm`."""

_BATCHES_PER_SECOND = 50
"""The limit on a unified account, so that cancels wait and are sent in batches."""

_MAX_BATCH = 4

_LIMITS = {
    Dialect.CLASSIC: "No rate limit here",
    Dialect.UNIFIED: f"Here {_BATCHES_PER_SECOND} batches a second, of up to {_MAX_BATCH} cancels",
}

_REFUSALS = {Dialect.CLASSIC: ("40769", "45056"), Dialect.UNIFIED: ("25102", "25013")}
"""The codes with which some orders are refused."""

_MAX_SHOWN = 10
"""How many contradictions are shown one by one."""

_STATES = Column("orders")
"""The column that is shown only with `--confirm`."""

_COLUMNS = (
    Column("transport", "bold", wraps=True),
    Column("accepted", "green", number=True),
    Column("rejected", "yellow"),
    Column("unresolved\nsent", "red"),
    Column("unresolved\nnot sent", "magenta"),
    Column("p50\nms", number=True),
    Column("p99\nms", number=True),
    Column("outcomes/\ncancels", "bold", number=True),
)


@attrs.frozen
class _Run:
    """The result of one transport."""

    carrier: Carrier
    ledger: Ledger
    contradictions: tuple[str, ...]
    seconds: float


@attrs.frozen
class _Stage:
    """The embedded exchange, the frames that it received and sent, and its faults."""

    server: ExchangeThread
    frames: list[SeenFrame]
    faults: tuple[Fault, ...]
    confirm: bool


def run(arguments: argparse.Namespace, screen: Screen, stop: Stop) -> Exit:
    """Run all transports, check their outcomes, and return the exit code."""
    carriers = _carriers(arguments.transport, screen)
    dialect, confirm = Dialect(arguments.account), arguments.confirm
    faults = _faults(dialect, confirm=confirm)
    frames: list[SeenFrame] = []
    exchange = ScriptedExchange(
        config=ExchangeConfig(messages_per_second=None, max_in_flight=None, dialect=dialect),
        cancels_per_second=None,
        late_by=_LATE_BY,
        on_frame=frames.append,
    )
    screen.say(
        f"Sending {arguments.orders} cancels over each transport to an embedded exchange.\n"
        f"Injected faults: {_names(faults)}; the last connection is also dropped.\n"
        f"{_LIMITS[dialect]}; the real exchange allows 10 messages a second on a connection.\n"
    )
    runs: list[_Run] = []
    with stop.listening(), exchange_in_thread(exchange) as server, screen.progress() as progress:
        stage = _Stage(server, frames, faults, confirm)
        for carrier in carriers:
            if stop.asked:
                break
            done = _run(
                carrier, stage, arguments.orders, progress, stop, drops=carrier is carriers[-1]
            )
            runs.append(done)
    for done in runs:
        screen.data("run", **_fields(done, confirm=confirm))
    if runs:
        columns = (*_COLUMNS, _STATES) if confirm else _COLUMNS
        screen.table(columns, (_row(done)[: len(columns)] for done in runs))
    holds = _verdict(runs, exchange, frames, screen, confirm=confirm)
    if stop.asked:
        screen.aside("interrupted: the results are of the part that ran")
        return stop.why
    return Exit.DONE if holds else Exit.REJECTED


def _carriers(wanted: list[str], screen: Screen) -> list[Carrier]:
    """Return the wanted transports that are installed, and report the others as skipped."""
    able: list[Carrier] = []
    for carrier in Carrier:
        if wanted and carrier.value not in wanted:
            continue
        if installed(carrier):
            able.append(carrier)
        else:
            why = missing_extra(carrier.words, carrier.extra)
            screen.say(f"skipped: {why}", "yellow")
            screen.data(
                "skipped", transport=carrier.value, install=f"bitget-proto[{carrier.extra}]"
            )
    if not able:
        raise Failure("no transport is installed: pip install 'bitget-proto[cli]' installs all")
    return able


def _faults(dialect: Dialect, *, confirm: bool) -> tuple[Fault, ...]:
    of_batches = _BATCH_FAULTS if dialect is Dialect.UNIFIED else ()
    return (*_FAULTS, *of_batches, *(_ORDER_FAULTS if confirm else ()))


def _names(faults: tuple[Fault, ...]) -> str:
    return ", ".join(dict.fromkeys(fault.value for fault in faults))


# --- one run ---


def _run(
    carrier: Carrier, stage: _Stage, number: int, progress: Progress, stop: Stop, *, drops: bool
) -> _Run:
    dialect = stage.server.exchange.config.dialect
    unified = dialect is Dialect.UNIFIED
    asked, placed, refusals = _book(carrier, number, dialect)
    stage.server.place(*placed)
    stage.server.call(lambda: stage.server.exchange.refusals.update(refusals))
    # At least this many requests arrive, so that no fault is left for the next run.
    requests = max(1, number // _MAX_BATCH) if unified else number
    stage.server.inject(*_script(requests, stage.faults, drops=drops))
    ledger = Ledger(asked)
    task = progress.add_task(f"{carrier.words:<16}", total=number, said="")

    def on_outcome(outcome: Outcome) -> None:
        ledger.add(outcome)
        progress.update(
            task,
            advance=1,
            said=f"{ledger.accepted} accepted, {ledger.rejected.total()} rejected, {ledger.unresolved} unresolved",
        )

    began = time.monotonic()
    job = Job(
        credentials=Credentials("demo", "demo", "demo"),
        url=stage.server.url,
        dialect=dialect,
        budget=Budget(1, batches_per_second=_BATCHES_PER_SECOND) if unified else None,
        config=Config(
            messages_per_second=None,
            answer_timeout=_TIMEOUT,
            drain_timeout=_TIMEOUT,
            max_in_flight=_MAX_IN_FLIGHT,
            max_batch=_MAX_BATCH,
            id_prefix=f"{carrier.value}-",
        ),
        orders=ledger.orders(),
        stop=stop,
        on_outcome=on_outcome,
        confirm=stage.confirm,
        on_final=ledger.confirm,
        on_event=lambda _: None,
        on_connected=lambda: None,
        on_stopping=lambda: None,
    )
    try:
        carry(carrier, job)
    except ConnectFailed as failed:
        raise Failure(
            f"{carrier.words} could not connect to the embedded exchange: {failed}",
            Exit.NOT_CONNECTED,
        ) from failed
    found = _check(ledger, placed, stage)
    if stage.confirm and not stop.asked:
        found += [
            f"{name_of(outcome.order)} was not looked up"
            for outcome in ledger.outcomes
            if job.confirms(outcome) and outcome.order not in ledger.finals
        ]
    return _Run(carrier, ledger, tuple(found), time.monotonic() - began)


def _book(
    carrier: Carrier, number: int, dialect: Dialect
) -> tuple[list[CancelOrder], list[CancelOrder], dict[str, str]]:
    """Return the orders of a run, the orders to place, and the codes with which some are refused.

    The exchange does not find the orders that are not placed.
    """
    first = _FIRST_ID + list(Carrier).index(carrier) * 1_000_000
    # A unified account names an order by its id alone.
    instruments = _INSTRUMENTS if dialect is Dialect.CLASSIC else (None,)
    orders = [CancelOrder(instruments[n % len(instruments)], str(first + n)) for n in range(number)]
    placed = [order for n, order in enumerate(orders) if n % 20 != 7]
    ids = [str(order.order_id) for order in orders]
    often, seldom = _REFUSALS[dialect]
    return orders, placed, dict.fromkeys(ids[13::40], often) | dict.fromkeys(ids[31::100], seldom)


def _script(number: int, faults: tuple[Fault, ...], *, drops: bool) -> list[Fault | None]:
    """Return the fault of each request of a run, in the order of arrival."""
    script: list[Fault | None] = [None] * number
    for place, fault in enumerate(faults, 1):
        script[place * number // (len(faults) + 2)] = fault
    if drops:
        script[number - 1 - number // 8] = Fault.DROP_AFTER
    return script


def _check(ledger: Ledger, placed: list[CancelOrder], stage: _Stage) -> list[str]:
    """Compare the outcomes and the states with the exchange, in the exchange's thread."""
    mine = set(ledger.asked)
    asked = ledger.asked[: ledger.given]

    def check() -> list[str]:
        exchange = stage.server.exchange
        log = [act for act in exchange.log if act.order in mine]
        arrived, live = received(stage.frames), exchange.live
        return [
            *contradictions(asked, ledger.outcomes, log, arrived, live),
            *false_states(ledger.finals.values(), log, live, placed),
        ]

    return stage.server.call(check)


# --- output ---


def _row(run: _Run) -> tuple[str, ...]:
    ledger = run.ledger
    return (
        run.carrier.words.replace(" on ", "\non "),
        str(ledger.accepted),
        _counts({code_class.value: n for code_class, n in ledger.rejected.items()}),
        _counts({why.value: n for why, n in ledger.sent.items()}),
        _counts({why.value: n for why, n in ledger.not_sent.items()}),
        *(_milliseconds(percentile(ledger.latencies, share)) for share in (0.5, 0.99)),
        f"{len(ledger.outcomes)}/{ledger.given}",
        _counts(_states(run)),
    )


def _states(run: _Run) -> Counter[str]:
    """Return how many of the orders that were looked up are in each state."""
    return Counter(map(state_of, run.ledger.finals.values()))


def _counts(counts: Mapping[str, int]) -> str:
    return (
        "\n".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
        or "0"
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f}"


def _fields(run: _Run, *, confirm: bool) -> dict[str, object]:
    ledger = run.ledger
    return {
        "transport": run.carrier.value,
        "cancels": ledger.given,
        "outcomes": len(ledger.outcomes),
        "accepted": ledger.accepted,
        "rejected": {code_class.value: n for code_class, n in ledger.rejected.items()},
        "unresolved_sent": {why.value: n for why, n in ledger.sent.items()},
        "unresolved_not_sent": {why.value: n for why, n in ledger.not_sent.items()},
        "p50_ms": _rounded(percentile(ledger.latencies, 0.5)),
        "p99_ms": _rounded(percentile(ledger.latencies, 0.99)),
        "seconds": round(run.seconds, 3),
        "contradictions": list(run.contradictions),
        **({"states": _states(run)} if confirm else {}),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _verdict(
    runs: list[_Run],
    exchange: ScriptedExchange,
    frames: list[SeenFrame],
    screen: Screen,
    *,
    confirm: bool,
) -> bool:
    """Show whether every cancel got exactly one correct outcome, with the numbers.

    With `confirm`, also whether the states of the orders are correct.
    """
    found = [f"{run.carrier.words}: {what}" for run in runs for what in run.contradictions]
    total = sum(run.ledger.given for run in runs)
    outcomes = sum(len(run.ledger.outcomes) for run in runs)
    accepted = sum(run.ledger.accepted for run in runs)
    rejected = sum(run.ledger.rejected.total() for run in runs)
    sent = sum(run.ledger.sent.total() for run in runs)
    not_sent = sum(run.ledger.not_sent.total() for run in runs)
    added = accepted + rejected + sent + not_sent
    holds = bool(runs) and not found and added == outcomes == total
    acted = {act.order for act in exchange.log if act.cancelled}
    unsure = [
        o.order for run in runs for o in run.ledger.outcomes if isinstance(o, Unresolved) and o.sent
    ]
    happened = sum(order in acted for order in unsure)
    screen.say()
    screen.say("Compared with the exchange's log and the frames that it received:")
    lines: tuple[tuple[int, str], ...] = (
        (accepted, "accepted: the exchange cancelled each by that request"),
        (rejected, "rejected: the exchange refused each with that code and cancelled none"),
        (
            sent,
            f"unresolved, sent: the exchange cancelled {happened} of them",
        ),
        (not_sent, "unresolved, not sent: none arrived at the exchange"),
    )
    if not found:
        for n, sentence in lines:
            screen.say(f"{n:>6}  {sentence}")
        if confirm:
            states: Counter[str] = sum(map(_states, runs), Counter[str]())
            named = ", ".join(f"{n} {state}" for state, n in states.most_common())
            screen.say(
                f"{states.total():>6}  orders looked up: {named}; each is so on the exchange"
            )
    for what in found[:_MAX_SHOWN]:
        screen.say(f"  {what}", "red")
    if len(found) > _MAX_SHOWN:
        screen.say(f"  … and {len(found) - _MAX_SHOWN} more", "red")
    verdict = (
        f"{accepted} + {rejected} + {sent} + {not_sent} = {added} outcomes for {total} cancels"
    )
    screen.say(
        f"PASSED: {verdict}, one each, all correct." if holds else f"FAILED: {verdict}.",
        "bold green" if holds else "bold red",
    )
    screen.data(
        "verdict",
        holds=holds,
        cancels=total,
        outcomes=outcomes,
        accepted=accepted,
        rejected=rejected,
        unresolved_sent=sent,
        unresolved_sent_but_done=happened,
        unresolved_not_sent=not_sent,
        arrived=received(frames).total(),
        batches=sum(len(frame.cancels) > 1 for frame in frames),
        contradictions=found,
    )
    return holds
