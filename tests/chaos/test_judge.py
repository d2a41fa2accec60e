"""`tests.chaos.judge` reports every false outcome and accepts every honest one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from tests.chaos.judge import Log, broken_finals, broken_promises

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    Codec,
    CodeClass,
    Dialect,
    Evidence,
    Filled,
    Final,
    NotFound,
    Outcome,
    Policy,
    Rejected,
    StillOpen,
    Unknown,
    Unresolved,
    WhyUnknown,
    WhyUnresolved,
    encode_cancel,
)
from bitget_proto.testing import Act, SeenFrame
from bitget_proto.testing._exchange.order_book import BookOrder, Moment, Status

ORDER = CancelOrder("BTCUSDT", order_id="1")
OTHER = CancelOrder("BTCUSDT", order_id="2")


def accepted(attempts: int = 1, id: str = "a") -> Accepted:
    return Accepted(
        id=id,
        order=ORDER,
        attempts=attempts,
        taken_at=0.0,
        sent_at=0.5,
        resolved_at=1.0,
        exchange_ts=None,
    )


def rejected(code: str, code_class: CodeClass, attempts: int = 1) -> Rejected:
    return Rejected(
        id="a", order=ORDER, attempts=attempts, taken_at=0.0, sent_at=0.5, resolved_at=1.0, code=code,
        code_class=code_class, message="", exchange_ts=None,
    )  # fmt: skip


def unresolved(*, sent: bool, attempts: int = 1, sent_at: float = 0.5) -> Unresolved:
    return Unresolved(
        id="a", order=ORDER, attempts=attempts, taken_at=0.0, sent_at=sent_at if sent else None, resolved_at=1.0, sent=sent,
        why=WhyUnresolved.LOST,
    )  # fmt: skip


def log(*codes: str, lost: int = 0) -> Log:
    """Return a log of answers with these codes, and of `lost` cancels received but not answered."""
    found = Log()
    for code in codes:
        found.acts.append(Act(at=0.6, id="a", order=ORDER, cancelled=code == "0", code=code))
    for _ in range(len(codes) + lost):
        found.seen(SeenFrame(at=0.6, link=1, direction="received", text=encode_cancel(ORDER, "a")))
    found.seen(SeenFrame(at=0.6, link=1, direction="sent", text=encode_cancel(ORDER, "a")))
    found.seen(SeenFrame(at=0.6, link=1, direction="received", text="ping"))
    return found


def verdict(
    outcomes: list[Outcome], found: Log, policy: Policy = Policy.REPORT, asked: int = 1
) -> list[str]:
    return list(broken_promises({"1": asked}, outcomes, found, policy, {"1": 5.0}))


@pytest.mark.parametrize(
    ("outcome", "found", "policy"),
    [
        (accepted(), log("0"), Policy.REPORT),
        (rejected("43001", CodeClass.NOT_FOUND), log("43001"), Policy.REPORT),
        (unresolved(sent=True), log(), Policy.REPORT),
        (unresolved(sent=True), log("0"), Policy.REPORT),
        (unresolved(sent=True), log(lost=1), Policy.REPORT),
        (unresolved(sent=False), log(), Policy.REPORT),
        (accepted(attempts=2), log("0"), Policy.RESEND),
        (accepted(attempts=2), log("0", lost=1), Policy.RESEND),
        (rejected("40769", CodeClass.FINISHED, attempts=2), log("0", "40769"), Policy.RESEND),
        (unresolved(sent=True, attempts=2), log("0", "45129"), Policy.RESEND),
    ],
)
def test_an_honest_outcome_passes(outcome: Outcome, found: Log, policy: Policy) -> None:
    assert verdict([outcome], found, policy) == []


@pytest.mark.parametrize(
    ("outcome", "found", "policy", "expected"),
    [
        (accepted(), log(), Policy.REPORT, "the exchange did not act"),
        (accepted(), log("43001"), Policy.REPORT, "the exchange did not act"),
        (
            rejected("43001", CodeClass.NOT_FOUND),
            log("45129"),
            Policy.REPORT,
            "gave no such answer",
        ),
        (rejected("43001", CodeClass.NOT_FOUND), log(), Policy.REPORT, "gave no such answer"),
        (
            rejected("0", CodeClass.NOT_FOUND),
            log("0"),
            Policy.REPORT,
            "rejected, but the exchange acted",
        ),
        (unresolved(sent=False), log("43001"), Policy.REPORT, "but received"),
        (unresolved(sent=False), log(lost=1), Policy.REPORT, "but received"),
        (accepted(), log("0", lost=1), Policy.REPORT, "received 2 times under REPORT"),
        (accepted(attempts=2), log("0"), Policy.REPORT, "under REPORT"),
        (accepted(attempts=2), log("0", lost=2), Policy.RESEND, "received 3 times"),
        (
            rejected("45129", CodeClass.THROTTLED, attempts=2),
            log("0", "45129"),
            Policy.RESEND,
            "rejected after a resend",
        ),
        (unresolved(sent=True, sent_at=5.1), log(), Policy.REPORT, "sent after its deadline"),
    ],
)
def test_a_false_outcome_is_reported(
    outcome: Outcome, found: Log, policy: Policy, expected: str
) -> None:
    (message,) = verdict([outcome], found, policy)
    assert expected in message


def test_outcomes_are_counted() -> None:
    assert verdict([], log()) == ["order 1: 1 cancels taken, 0 outcomes"]
    assert verdict([accepted()], log("0"), asked=2) == ["order 1: 2 cancels taken, 1 outcomes"]
    assert verdict([accepted(), accepted()], log("0")) == [
        "order 1: 1 cancels taken, 2 outcomes",
        "cancel a: 2 outcomes",
    ]
    assert list(broken_promises({}, [accepted()], log("0"), Policy.REPORT, {})) == [
        "order 1: 0 cancels taken, 1 outcomes"
    ]


def test_a_placement_with_the_id_of_a_cancel_is_not_counted_as_a_cancel() -> None:
    found = log("0")
    placement = encode_cancel(ORDER, "a").replace("cancel-order", "place-order")
    found.seen(SeenFrame(at=0.7, link=1, direction="received", text=placement))
    assert verdict([accepted()], found) == []


def test_an_order_without_an_order_id_is_counted_by_its_client_oid() -> None:
    order = CancelOrder("BTCUSDT", client_oid="mine")
    outcome = attrs.evolve(accepted(), order=order)
    assert list(broken_promises({"mine": 1}, [outcome], log("0"), Policy.REPORT, {})) == []
    assert list(broken_promises({"mine": 1}, [], log("0"), Policy.REPORT, {})) == [
        "order mine: 1 cancels taken, 0 outcomes"
    ]


def test_a_cancel_in_a_batch_is_found_by_its_order() -> None:
    batch = Codec(dialect=Dialect.UNIFIED).encode_batch([ORDER, OTHER], "batch")
    found = Log()
    found.seen(SeenFrame(at=0.6, link=1, direction="received", text=batch))
    assert verdict([unresolved(sent=True)], found) == []
    (message,) = verdict([unresolved(sent=False)], found)
    assert "but received" in message
    found.acts.append(Act(at=0.6, id="batch", order=ORDER, cancelled=True, code="0", batch=True))
    assert verdict([accepted()], found) == []
    found.acts[0] = Act(at=0.6, id="batch", order=OTHER, cancelled=True, code="0", batch=True)
    (message,) = verdict([accepted()], found)
    assert "the exchange did not act" in message


def in_batches(*cancelled: bool) -> Log:
    """Return a log of batches with the order, which cancelled it or not."""
    found = Log()
    batch = Codec(dialect=Dialect.UNIFIED).encode_batch([ORDER, OTHER], "x")
    for acted in cancelled:
        code = "0" if acted else "25204"
        act = Act(at=0.6, id="x", order=ORDER, cancelled=acted, code=code, batch=True)
        found.acts.append(act)
        found.seen(SeenFrame(at=0.6, link=1, direction="received", text=batch))
    return found


def test_an_order_may_be_cancelled_in_several_batches() -> None:
    first, second = accepted(), attrs.evolve(rejected("25204", CodeClass.NOT_FOUND), id="b")
    asked = {"1": 2}
    found = broken_promises(asked, [first, second], in_batches(True, False), Policy.REPORT, {})
    assert list(found) == []
    found = broken_promises(
        asked, [first, second], in_batches(True, False, False), Policy.REPORT, {}
    )
    assert ["received 2 times" in each for each in found] == [True, True]


# --- finals ---

OFFSET = 100.0
"""Seconds by which the client's clock is ahead."""

COMMON: dict[str, Any] = {
    "number": 1,
    "order_id": "1",
    "client_oid": None,
    "evidence": Evidence.PUSH,
    "tracked_at": OFFSET + 1.0,
    "resolved_at": OFFSET + 9.0,
}
FILL: dict[str, Any] = {"filled": Decimal(1), "average_price": None}
END: dict[str, Any] = FILL | {"updated_at": None}


def book_order(*states: tuple[float, Status, int]) -> BookOrder:
    moments = [Moment(at, status, Decimal(filled)) for at, status, filled in states]
    return BookOrder(1, ORDER, Decimal(4), Decimal(100), moments)


LIVE: tuple[float, Status, int] = (0.0, "live", 0)
IN_PART: tuple[float, Status, int] = (2.0, "partially_filled", 1)
OUTCOME = accepted()
OPEN_ORDER = book_order(LIVE, IN_PART)
CANCELLED_ORDER = book_order(LIVE, IN_PART, (5.0, "cancelled", 1))
FILLED_ORDER = book_order(LIVE, (5.0, "filled", 1))

FINALS = [
    (Cancelled(outcome=OUTCOME, reason=None, **COMMON, **END), CANCELLED_ORDER, None),
    (Cancelled(outcome=OUTCOME, reason=None, **COMMON, **END), FILLED_ORDER, "it is filled"),
    (Cancelled(outcome=OUTCOME, reason=None, **COMMON, **END), None, "there is no such order"),
    (
        Cancelled(outcome=OUTCOME, reason=None, **COMMON, **dict(END, filled=Decimal(0))),
        CANCELLED_ORDER,
        "it is cancelled, with 1 filled",
    ),
    (
        Cancelled(outcome=OUTCOME, reason=None, **dict(COMMON, resolved_at=OFFSET + 4.0), **END),
        CANCELLED_ORDER,
        "it was, but only 1.0 s later",
    ),
    (Filled(outcome=OUTCOME, **COMMON, **END), FILLED_ORDER, None),
    (Filled(outcome=OUTCOME, **COMMON, **END), CANCELLED_ORDER, "it is cancelled"),
    (StillOpen(outcome=OUTCOME, as_of=OFFSET + 4.9, **COMMON, **FILL), CANCELLED_ORDER, None),
    (
        StillOpen(outcome=OUTCOME, as_of=OFFSET + 5.0, **COMMON, **FILL),
        CANCELLED_ORDER,
        "it was not open then",
    ),
    (
        StillOpen(outcome=OUTCOME, as_of=OFFSET + 4.0, **COMMON, **dict(FILL, filled=Decimal(2))),
        OPEN_ORDER,
        "1 were filled then",
    ),
    (NotFound(outcome=OUTCOME, **COMMON), None, None),
    (NotFound(outcome=OUTCOME, **COMMON), OPEN_ORDER, "there is such an order"),
    (NotFound(outcome=accepted(), **COMMON), None, "a final of another outcome"),
    (
        Unknown(outcome=OUTCOME, why=WhyUnknown.DEADLINE, filled=None, detail="", **COMMON),
        OPEN_ORDER,
        None,
    ),
    (None, OPEN_ORDER, "no final"),
]


@pytest.mark.parametrize(("final", "placed", "fault"), FINALS)
def test_a_final_that_the_book_contradicts_is_reported(
    final: Final | None, placed: BookOrder | None, fault: str | None
) -> None:
    book = {} if placed is None else {"1": placed}
    found = list(broken_finals([(OUTCOME, final)], book, OFFSET))
    assert len(found) == (fault is not None)
    if fault is not None:
        assert found[0].startswith(f"cancel a: {fault}")


def test_a_cancel_that_was_not_sent_needs_no_final() -> None:
    assert list(broken_finals([(unresolved(sent=False), None)], {}, OFFSET)) == []
