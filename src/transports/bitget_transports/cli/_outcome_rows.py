"""How `bitget-cancel` shows an outcome, and what became of its order: as a row, or as JSON."""

from __future__ import annotations

from bitget_proto import (
    Accepted,
    Cancelled,
    Filled,
    Final,
    NotFound,
    Outcome,
    Rejected,
    StillOpen,
    Unknown,
    Unresolved,
)
from bitget_proto.explain import quoted

from ._ledger import latency_of
from ._screen import Column

NOT_SENT = "unresolved, not sent"
_STYLES = {
    "accepted": "green",
    "rejected": "yellow",
    "unresolved, sent": "red",
    NOT_SENT: "magenta",
}
"""The colour of each outcome, as in the demo."""

NOT_LOOKED_UP = "not looked up"
STATES = {
    "cancelled": "green",
    "filled first": "yellow",
    "still open": "red",
    "not found": "red",
    "unknown": "red",
    NOT_LOOKED_UP: "magenta",
}
"""What became of an order, and its colour."""

COLUMNS = (
    Column("instrument"),
    Column("order"),
    Column("outcome", wraps=True, styles=_STYLES),
    Column("state", wraps=True, styles=STATES),
    Column("attempts", number=True),
    Column("detail", wraps=True),
    Column("ms", number=True),
)
STATE_COLUMN = 3
"""The place of the column that is shown only with `--confirm`."""
ATTEMPTS_COLUMN = 4
"""The place of the column that is shown only if a cancel had several attempts."""


def word_of(outcome: Outcome) -> str:
    match outcome:
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case Unresolved(sent=sent):
            return "unresolved, sent" if sent else NOT_SENT


def state_of(final: Final | None) -> str:
    """Return the word for what became of an order; None if it was not looked up."""
    match final:
        case Cancelled():
            return "cancelled"
        case Filled():
            return "filled first"
        case StillOpen():
            return "still open"
        case NotFound():
            return "not found"
        case Unknown():
            return "unknown"
        case None:
            return NOT_LOOKED_UP


def _about(final: Final | None) -> str:
    """Return what was filled, or why nothing is known."""
    match final:
        case Unknown(why=why, detail=detail):
            return f"{why.value}: {quoted(detail)}" if detail else why.value
        case Cancelled() | Filled() | StillOpen() if final.filled:
            price = "" if final.average_price is None else f" at {final.average_price}"
            return f"{final.filled} filled{price}"
        case _:
            return ""


def row_of(outcome: Outcome, attempts: int, final: Final | None) -> tuple[str, ...]:
    order = outcome.order
    named = order.order_id if order.order_id is not None else f"client {order.client_oid}"
    latency = latency_of(outcome)
    detail = ""
    match outcome:
        case Accepted():
            pass
        case Rejected(code=code, code_class=code_class, message=message):
            detail = f"{code_class.value}: {code} {quoted(message)}"
        case Unresolved(why=why, code=code, message=message):
            detail = why.value if code is None else f"{why.value}: {code} {quoted(message or '')}"
    if detail and attempts > (outcome.sent_at is not None):
        detail += "; an earlier attempt may have cancelled it"
    return (
        order.inst_id or "",
        named or "",
        word_of(outcome),
        state_of(final),
        str(attempts),
        "; ".join(filter(None, (detail, _about(final)))),
        "" if latency is None else f"{latency * 1000:.0f}",
    )


def as_fields(outcome: Outcome, attempts: int) -> dict[str, object]:
    """Return an outcome as plain data. Unknown values are None.

    `attempts` is how many attempts, with those of earlier runs, may have reached the exchange.
    """
    order, latency = outcome.order, latency_of(outcome)
    fields: dict[str, object] = {
        "outcome": type(outcome).__name__.lower(),
        "inst_type": None if order.inst_type is None else order.inst_type.value,
        "inst_id": order.inst_id,
        "order_id": order.order_id,
        "client_oid": order.client_oid,
        "request_id": outcome.id,
        "latency_ms": None if latency is None else round(latency * 1000, 3),
        "sent": outcome.sent_at is not None,
        "attempts": attempts,
        "code": None,
        "code_class": None,
        "message": None,
        "why": None,
        "exchange_ts": None,
    }
    match outcome:
        case Accepted(exchange_ts=exchange_ts):
            fields["exchange_ts"] = exchange_ts
        case Rejected(code=code, code_class=code_class, message=message, exchange_ts=exchange_ts):
            fields |= {
                "code": code,
                "code_class": code_class.value,
                "message": message,
                "exchange_ts": exchange_ts,
            }
        case Unresolved(sent=sent, why=why, code=code, message=message):
            fields |= {"sent": sent, "why": why.value, "code": code, "message": message}
    return fields


def final_fields(final: Final) -> dict[str, object]:
    """Return what became of an order as plain data. Unknown values are None, amounts strings."""
    order = final.outcome.order
    fields: dict[str, object] = {
        "state": state_of(final),
        "inst_type": None if order.inst_type is None else order.inst_type.value,
        "inst_id": order.inst_id,
        "order_id": final.order_id or order.order_id,
        "client_oid": final.client_oid or order.client_oid,
        "request_id": final.outcome.id,
        "evidence": None if final.evidence is None else final.evidence.value,
        "filled": None,
        "average_price": None,
        "reason": None,
        "why": None,
        "detail": None,
    }
    if not isinstance(final, NotFound):
        fields["filled"] = None if final.filled is None else str(final.filled)
    if isinstance(final, (Cancelled, Filled, StillOpen)) and final.average_price is not None:
        fields["average_price"] = str(final.average_price)
    match final:
        case Cancelled(reason=reason):
            fields["reason"] = reason
        case Unknown(why=why, detail=detail):
            fields |= {"why": why.value, "detail": detail}
        case _:
            pass
    return fields
