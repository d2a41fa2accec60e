"""Compares outcomes with what the exchange received and did.

The outcomes come from the client, the log and the frames from the exchange.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    Filled,
    Final,
    NotFound,
    Outcome,
    Rejected,
    StillOpen,
    Unknown,
    Unresolved,
)
from bitget_proto.testing import Act, SeenFrame

from ._order_list import name_of


def received(frames: Iterable[SeenFrame]) -> Counter[CancelOrder]:
    """Return how often a cancel of each order arrived at the exchange."""
    return Counter(order for frame in frames for order in frame.cancels)


def contradictions(
    asked: Sequence[CancelOrder],
    outcomes: Sequence[Outcome],
    log: Sequence[Act],
    arrived: Counter[CancelOrder],
    live: Collection[CancelOrder],
) -> list[str]:
    """Return a sentence for each violation of "exactly one outcome per cancel, and a correct one".

    `log` is what the exchange did, `arrived` what it received, and `live` the orders that are still
    live on it.
    """
    found: list[str] = []
    given = Counter(outcome.order for outcome in outcomes)
    for order in asked:
        if given[order] != 1:
            found.append(f"{name_of(order)} has {given[order]} outcomes")
        if arrived[order] > 1:
            found.append(f"{name_of(order)} arrived {arrived[order]} times")
    strangers = given.keys() - set(asked)
    found += [f"{name_of(order)} has an outcome, but was not requested" for order in strangers]
    acts: dict[CancelOrder, list[Act]] = {}
    for act in log:
        acts.setdefault(act.order, []).append(act)
    found += [
        f"{name_of(order)} reached the exchange, but was not requested"
        for order in acts.keys() - set(asked)
    ]
    still_live = set(live)
    for outcome in outcomes:
        done = acts.get(outcome.order, [])
        if what := _contradiction(
            outcome, done, arrived[outcome.order], live=outcome.order in still_live
        ):
            found.append(f"{name_of(outcome.order)} {what}")
    return found


def false_states(
    finals: Iterable[Final],
    log: Sequence[Act],
    live: Collection[CancelOrder],
    placed: Collection[CancelOrder],
) -> list[str]:
    """Return a sentence for each state that differs from the order's state on the exchange.

    `placed` are the orders that were on the exchange at the beginning.
    """
    cancelled = {act.order for act in log if act.cancelled}
    still_live, known = set(live), set(placed)
    found: list[str] = []
    for final in finals:
        order = final.outcome.order
        match final:
            case Cancelled():
                true = order in cancelled
            case Filled():
                true = order in known - cancelled - still_live
            case StillOpen():
                true = order in still_live
            case NotFound():
                true = order not in known
            case Unknown():  # it claims nothing
                true = True
        if not true:
            kind = type(final).__name__
            found.append(f"{name_of(order)} is {kind}, but the exchange shows something else")
    return found


def _contradiction(
    outcome: Outcome, done: Sequence[Act], arrived: int, *, live: bool
) -> str | None:
    match outcome:
        case Accepted() if live or not any(act.cancelled and _is_of(act, outcome) for act in done):
            return "is Accepted, but the exchange did not cancel it by that request"
        case Rejected(code=code) if not any(
            act.code == code and _is_of(act, outcome) for act in done
        ):
            return f"is Rejected with {code}, but the exchange did not answer with that code"
        case Rejected() if any(act.cancelled for act in done):
            return "is Rejected, but the exchange cancelled it"
        case Unresolved(sent=False) if done or arrived:
            return "is Unresolved(sent=False), but it arrived at the exchange"
        case _:
            return None


def _is_of(act: Act, outcome: Outcome) -> bool:
    """Return whether the exchange may have acted on the request of this outcome."""
    return act.batch or act.id == outcome.id
