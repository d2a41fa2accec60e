"""Tests of the rules of `Reconciler`, one by one."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from math import inf, nan
from typing import Any

import pytest

from bitget_proto import (
    Cancelled,
    CancelOrder,
    Evidence,
    Filled,
    Final,
    InstType,
    LocalProtocolError,
    LookUp,
    NoAnswer,
    NoRoom,
    NoSuchOrder,
    NotFound,
    OneOrder,
    OpenOrders,
    OrderHistory,
    OrderPage,
    OrderStatus,
    Outcome,
    Question,
    Reconciler,
    ReconcilerConfig,
    StillOpen,
    Timer,
    Unknown,
    ValidationError,
    Wait,
    WhyUnknown,
)

from .order_book import CANCELLED, FILLED, OPEN, accepted, drain, rejected, unresolved, update

ORDER = CancelOrder("BTCUSDT", order_id="1")
BY_CLIENT_OID = CancelOrder("BTCUSDT", client_oid="mine")
UNIQUE = ReconcilerConfig(client_oids_unique=True)
GONE = NoSuchOrder("43001")
NOTHING = OrderPage(())
WRONG: Any = 5


def orders(count: int, inst_type: InstType | None = None) -> list[CancelOrder]:
    return [CancelOrder("BTCUSDT", str(number), inst_type=inst_type) for number in range(count)]


def tracking(
    *given: CancelOrder, up: bool = False, config: ReconcilerConfig | None = None
) -> Reconciler:
    """A reconciler that tracks these orders since 0.0."""
    rec = Reconciler(config)
    if up:
        rec.up(0.0)
    for order in given:
        rec.track(accepted(order), 0.0)
    return rec


def one(found: list[LookUp]) -> LookUp:
    [only] = found
    return only


def final(rec: Reconciler, now: float) -> Final:
    """The only `Final` there is now."""
    _, [only], _ = drain(rec, now)
    return only


def look_up(rec: Reconciler, now: float) -> LookUp:
    """The only look-up there is now, before which nothing was settled."""
    asked, finals, _ = drain(rec, now)
    assert not finals
    return one(asked)


# --- what may be tracked ---


def test_a_cancel_that_was_never_sent_is_refused_with_a_sentence_that_says_what_to_do() -> None:
    rec = Reconciler()
    with pytest.raises(LocalProtocolError, match=r"never sent.*send it again"):
        rec.track(unresolved(ORDER, sent=False), 0.0)
    assert rec.tracked == 0
    assert drain(rec, 0.0) == ([], [], Wait(None, None))


def test_every_other_outcome_is_tracked_and_gets_a_number_of_its_own() -> None:
    rec = Reconciler()
    outcomes: list[Outcome] = [accepted(ORDER), rejected(ORDER), unresolved(ORDER), accepted(ORDER)]
    assert [rec.track(outcome, 0.0) for outcome in outcomes] == [1, 2, 3, 4]
    rec.pushed(update(status=CANCELLED), 0.5)
    _, finals, wait = drain(rec, 0.5)
    assert [(each.number, each.outcome) for each in finals] == list(enumerate(outcomes, 1))
    assert wait == Wait(None, None)


def test_no_more_are_tracked_than_the_limit_until_a_final_was_returned() -> None:
    rec = tracking(ORDER, config=ReconcilerConfig(max_tracked=1))
    with pytest.raises(NoRoom):
        rec.track(accepted(ORDER), 0.0)
    rec.pushed(update(status=FILLED), 0.0)
    with pytest.raises(NoRoom):
        rec.track(accepted(ORDER), 0.0)
    assert isinstance(final(rec, 0.0), Filled)
    assert rec.track(accepted(ORDER), 0.0) == 2


def test_what_is_wrong_is_refused_and_changes_nothing() -> None:
    rec = tracking(ORDER)
    for call in (
        lambda: rec.track(WRONG, 0.0),
        lambda: rec.pushed(WRONG, 0.0),
        lambda: rec.looked_up(1, WRONG, 0.0),
        lambda: rec.looked_up("1", GONE, 0.0),  # type: ignore[arg-type]
        lambda: rec.failed(True, "", 0.0),
        lambda: Reconciler(WRONG),
        lambda: ReconcilerConfig(deadline=None),  # type: ignore[arg-type]
        lambda: ReconcilerConfig(settle=-1.0),
        lambda: ReconcilerConfig(max_look_ups=0),
        lambda: ReconcilerConfig(client_oids_unique=WRONG),
    ):
        with pytest.raises(ValidationError):
            call()
    for late in (nan, inf):
        with pytest.raises(LocalProtocolError):
            rec.poll(late)
    assert (rec.tracked, look_up(rec, 0.0).question) == (1, OneOrder(ORDER))


def test_its_repr_and_its_config_say_what_it_holds() -> None:
    rec = tracking(ORDER, config=UNIQUE)
    assert rec.config is UNIQUE
    assert repr(rec) == "<Reconciler, 1 tracked>"
    rec.close(0.0)
    drain(rec, 0.0)
    assert repr(rec) == "<Reconciler, 0 tracked, closed>"


# --- end states ---


def test_a_push_of_an_end_state_is_final_and_says_all_that_is_known() -> None:
    rec = tracking(ORDER, up=True)
    rec.pushed(update(status=CANCELLED, filled="0.5", client_oid="mine", average_price="99"), 0.25)
    assert final(rec, 0.25) == Cancelled(
        number=1,
        outcome=accepted(ORDER),
        order_id="1",
        client_oid="mine",
        evidence=Evidence.PUSH,
        tracked_at=0.0,
        resolved_at=0.25,
        filled=Decimal("0.5"),
        average_price=Decimal(99),
        reason="normal_cancel",
        updated_at=1763958366000,
    )


def test_pushes_of_other_orders_settle_nothing() -> None:
    rec = tracking(ORDER, up=True)
    rec.pushed(update("2", CANCELLED), 0.0)
    rec.pushed(update(None, CANCELLED, client_oid="1"), 0.0)
    assert drain(rec, 0.0) == ([], [], Wait(2.0, Timer.LOOK_UP))


@pytest.mark.parametrize("status", [CANCELLED, FILLED])
def test_a_push_before_track_counts(status: OrderStatus) -> None:
    rec = Reconciler()
    rec.pushed(update(status=status, filled="1"), 0.0)
    rec.track(accepted(ORDER), 5.0)
    found = final(rec, 5.0)
    assert isinstance(found, Cancelled if status is CANCELLED else Filled)
    assert (found.evidence, found.filled, found.resolved_at) == (Evidence.PUSH, Decimal(1), 5.0)


def test_a_second_cancel_of_an_order_sees_the_end_that_settled_the_first() -> None:
    rec = tracking(ORDER)
    asked = look_up(rec, 0.0)
    rec.looked_up(asked.number, OrderPage((update(status=FILLED),)), 0.1)
    assert isinstance(final(rec, 0.1), Filled)
    rec.track(accepted(ORDER), 3.0)
    assert final(rec, 3.0).evidence is Evidence.LOOK_UP


def test_the_last_4096_end_states_are_kept_and_no_more() -> None:
    rec = Reconciler(UNIQUE)
    for number in range(4097):
        rec.pushed(update(str(number), CANCELLED, client_oid=f"mine-{number}"), 0.0)
    for number in (0, 1, 4096):
        rec.track(accepted(CancelOrder("BTCUSDT", client_oid=f"mine-{number}")), 0.0)
    asked, finals, _ = drain(rec, 0.0)
    assert [each.number for each in finals] == [2, 3]
    assert one(asked).question == OneOrder(CancelOrder("BTCUSDT", client_oid="mine-0"))


@pytest.mark.parametrize("config", [None, UNIQUE])
def test_the_oldest_end_state_is_forgotten_with_and_without_a_client_oid(
    config: ReconcilerConfig | None,
) -> None:
    rec = Reconciler(config)
    for number in range(2 * 4096):
        mine = f"mine-{number}" if number % 2 else None
        rec.pushed(update(str(number), CANCELLED, client_oid=mine), 0.0)
    for number, known in ((4095, False), (4096, True)):
        rec.track(accepted(CancelOrder("BTCUSDT", str(number))), 0.0)
        assert bool(drain(rec, 0.0)[1]) is known
    if config is UNIQUE:
        for number, known in ((4095, False), (4097, True)):
            rec.track(accepted(CancelOrder("BTCUSDT", client_oid=f"mine-{number}")), 0.0)
            assert bool(drain(rec, 0.0)[1]) is known


def test_the_history_of_other_orders_takes_no_place_among_the_end_states() -> None:
    rec = tracking(*orders(5))
    rec.pushed(update("kept", CANCELLED), 0.0)
    asked, _, _ = drain(rec, 0.0)
    others = tuple(update(f"other-{number}", CANCELLED) for number in range(5000))
    for each in asked:
        rec.looked_up(each.number, OrderPage(others), 0.1)
    rec.track(accepted(CancelOrder("BTCUSDT", "kept")), 0.2)
    assert isinstance(final(rec, 0.2), Cancelled)


def test_a_cancel_without_a_readable_fill_says_so() -> None:
    for unreadable in (None, "NaN"):
        rec = tracking(ORDER)
        rec.pushed(update(status=CANCELLED, filled=unreadable), 0.0)
        found = final(rec, 0.0)
        assert isinstance(found, Cancelled)
        assert found.filled is None


def test_the_larger_fill_counts_in_whatever_order_updates_come() -> None:
    shown = [
        update(status=OPEN, filled="1", average_price="10"),
        update(status=OPEN, filled="2", average_price="11"),
        update(status=OPEN, filled="2"),
    ]
    for last in (update(status=CANCELLED, filled="2"), update(status=CANCELLED, filled="0")):
        for before in permutations(shown):
            rec = tracking(ORDER, up=True)
            for each in (*before, last):
                rec.pushed(each, 0.0)
            found = final(rec, 0.0)
            assert isinstance(found, Cancelled)
            assert (found.filled, found.average_price) == (Decimal(2), Decimal(11))


def test_an_unknown_status_shows_a_fill_and_settles_nothing() -> None:
    rec = tracking(ORDER)
    asked = look_up(rec, 0.0)
    rec.looked_up(asked.number, OrderPage((update(status=OrderStatus.UNKNOWN, filled="3"),)), 0.1)
    asked = look_up(rec, 2.0)
    rec.looked_up(asked.number, OrderPage((update(status=OPEN, filled="1"),)), 2.1)
    found = final(rec, 2.1)
    assert isinstance(found, StillOpen)
    assert found.filled == Decimal(3)


# --- which order ---


def test_a_client_oid_alone_names_no_order() -> None:
    rec = tracking(BY_CLIENT_OID, up=True)
    found = final(rec, 0.0)
    assert isinstance(found, Unknown)
    assert (found.why, found.client_oid) == (WhyUnknown.AMBIGUOUS_ID, "mine")
    assert found.order_id is None
    assert drain(rec, 0.0) == ([], [], Wait(None, None))


def test_an_answer_that_names_the_order_id_makes_a_client_oid_enough() -> None:
    rec = Reconciler()
    rec.track(accepted(BY_CLIENT_OID, "77"), 0.0)
    rec.pushed(update("76", CANCELLED, client_oid="mine"), 0.0)
    assert look_up(rec, 0.0).question == OneOrder(CancelOrder("BTCUSDT", "77", "mine"))
    rec.pushed(update("77", FILLED), 0.1)
    found = final(rec, 0.1)
    assert isinstance(found, Filled)
    assert (found.order_id, found.client_oid) == ("77", "mine")


def test_an_order_id_that_is_learned_keeps_the_product_line() -> None:
    order = CancelOrder("BTCUSDT", client_oid="mine", inst_type=InstType.USDT_FUTURES)
    named = CancelOrder("BTCUSDT", "77", "mine", InstType.USDT_FUTURES)
    rec = Reconciler()
    rec.track(accepted(order, "77"), 0.0)
    assert look_up(rec, 0.0).question == OneOrder(named)
    rec = tracking(order, up=True, config=UNIQUE)
    rec.pushed(update("77", OPEN, client_oid="mine"), 0.1)
    assert look_up(rec, 2.0).question == OneOrder(named)


def test_an_order_id_that_no_order_can_have_names_none() -> None:
    rec = Reconciler()
    rec.track(accepted(BY_CLIENT_OID, "7\n7"), 0.0)
    found = final(rec, 0.0)
    assert isinstance(found, Unknown)
    assert found.why is WhyUnknown.AMBIGUOUS_ID


def test_client_oids_that_are_never_reused_name_an_order_and_its_order_id_is_learned() -> None:
    rec = tracking(BY_CLIENT_OID, BY_CLIENT_OID, config=UNIQUE)
    assert [each.question for each in drain(rec, 0.0)[0]] == [OneOrder(BY_CLIENT_OID)] * 2
    rec.pushed(update("5", OPEN, client_oid="mine"), 0.1)
    rec.pushed(update("6", CANCELLED, client_oid="mine"), 0.1)
    rec.pushed(update("5", CANCELLED), 0.1)
    _, finals, _ = drain(rec, 0.1)
    assert [(type(each), each.order_id) for each in finals] == [(Cancelled, "5")] * 2


def test_an_order_id_that_is_learned_but_cannot_be_asked_for_is_not_used() -> None:
    rec = tracking(BY_CLIENT_OID, up=True, config=UNIQUE)
    rec.pushed(update("5 5", OPEN, client_oid="mine"), 0.1)
    assert look_up(rec, 2.0).question == OneOrder(BY_CLIENT_OID)


def test_a_push_by_client_oid_before_track_counts_if_those_are_never_reused() -> None:
    rec = Reconciler(UNIQUE)
    rec.pushed(update("5", CANCELLED, client_oid="mine"), 0.0)
    rec.pushed(update(None, FILLED, client_oid="mine-2"), 0.0)  # kept under no id
    rec.track(accepted(BY_CLIENT_OID), 0.0)
    assert isinstance(final(rec, 0.0), Cancelled)


# --- when it is looked up ---


def test_while_pushes_arrive_it_waits_for_one_and_then_asks() -> None:
    rec = tracking(ORDER, up=True)
    assert drain(rec, 1.9) == ([], [], Wait(2.0, Timer.LOOK_UP))
    assert look_up(rec, 2.0).question == OneOrder(ORDER)


def test_without_pushes_it_asks_at_once() -> None:
    assert look_up(tracking(ORDER), 0.0).question == OneOrder(ORDER)


def test_after_a_drop_it_asks_at_once() -> None:
    rec = tracking(ORDER, up=True)
    assert drain(rec, 0.5)[0] == []
    rec.down(0.5)
    assert look_up(rec, 0.5).question == OneOrder(ORDER)
    rec.down(0.6)  # is not asked twice
    assert drain(rec, 0.6)[0] == []
    rec.looked_up(1, OrderPage((update(),)), 0.7)
    rec.down(0.8)
    assert drain(rec, 0.8) == ([], [], Wait(2.0, Timer.LOOK_UP))


def test_a_drop_asks_nothing_sooner_that_was_asked_without_success() -> None:
    rec = tracking(ORDER, up=True)
    rec.failed(look_up(rec, 2.0).number, "", 2.5)
    rec.down(2.6)
    assert drain(rec, 2.6) == ([], [], Wait(3.5, Timer.LOOK_UP))
    rec = tracking(*orders(5), up=True)
    for each in pages(drain(rec, 2.0)[0]):
        rec.looked_up(each.number, NOTHING, 2.5)
    rec.down(2.6)
    assert drain(rec, 2.6) == ([], [], Wait(3.5, Timer.LOOK_UP))


def test_what_was_shown_open_too_early_is_asked_again_as_soon_as_it_proves_something() -> None:
    rec = tracking(ORDER)
    early = look_up(rec, 0.0)
    rec.looked_up(early.number, OrderPage((update(filled="1"),)), 0.3)
    assert drain(rec, 0.3) == ([], [], Wait(2.0, Timer.LOOK_UP))
    asked = look_up(rec, 2.0)
    rec.looked_up(asked.number, OrderPage((update(filled="1", average_price="9"),)), 2.5)
    found = final(rec, 2.5)
    assert isinstance(found, StillOpen)
    assert (found.as_of, found.filled, found.evidence) == (0.0, Decimal(1), Evidence.LOOK_UP)
    assert found.average_price == Decimal(9)


def test_an_early_reply_that_comes_late_still_proves_nothing() -> None:
    rec = tracking(ORDER)
    early = look_up(rec, 0.0)
    rec.looked_up(early.number, OrderPage((update(),)), 5.0)
    assert look_up(rec, 5.0).question == OneOrder(ORDER)


def test_open_in_a_push_proves_nothing() -> None:
    rec = tracking(ORDER, up=True)
    rec.pushed(update(), 30.0)
    assert look_up(rec, 30.0).question == OneOrder(ORDER)


def test_a_look_up_without_an_answer_is_asked_again_after_longer_and_longer() -> None:
    rec, times, wait = tracking(ORDER, up=True), list[float](), Wait(2.0, Timer.LOOK_UP)
    while wait.timer is Timer.LOOK_UP:
        assert wait.until is not None
        times.append(wait.until)
        rec.failed(look_up(rec, wait.until).number, "connection reset", wait.until)
        wait = drain(rec, wait.until)[2]
    assert times == [2.0, 3.0, 5.0, 9.0, 17.0, 25.0, 33.0, 41.0, 49.0, 57.0]
    assert wait == Wait(60.0, Timer.UNKNOWN)
    rec.handle_timeout(60.0)
    found = final(rec, 60.0)
    assert isinstance(found, Unknown)
    assert (found.why, found.detail) == (WhyUnknown.DEADLINE, "connection reset")


def test_a_look_up_that_proves_nothing_is_asked_again_after_longer_and_longer() -> None:
    rec, times, now = tracking(ORDER, up=True), list[float](), 2.0
    for _ in range(5):
        reply = OrderPage((update(status=OrderStatus.UNKNOWN),))
        rec.looked_up(look_up(rec, now).number, reply, now)
        wait = drain(rec, now)[2]
        assert wait.until is not None
        times.append(wait.until - now)
        now = wait.until
    assert times == [1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("reply", [NOTHING, NoAnswer("empty"), OrderPage((update("2"),)), GONE])
def test_an_empty_answer_is_no_answer(reply: Any) -> None:
    rec = tracking(ORDER, config=UNIQUE, up=True)
    asked = look_up(rec, 2.0)
    rec.looked_up(asked.number, reply, 2.1)
    asked_again, finals, _ = drain(rec, 3.1)
    assert not finals
    assert OneOrder(ORDER) in [each.question for each in asked_again]


def test_a_look_up_that_is_not_answered_in_time_counts_as_failed() -> None:
    rec = tracking(ORDER)
    late = look_up(rec, 0.0)
    assert drain(rec, 9.9)[2] == Wait(10.0, Timer.ANSWER)
    rec.handle_timeout(10.0)
    assert drain(rec, 10.0)[2] == Wait(11.0, Timer.LOOK_UP)
    second = look_up(rec, 11.0)
    assert second.question == late.question
    # Its evidence counts all the same, and once.
    rec.looked_up(late.number, OrderPage((update(status=CANCELLED),)), 12.0)
    assert isinstance(final(rec, 12.0), Cancelled)
    rec.looked_up(second.number, OrderPage((update(status=CANCELLED),)), 12.0)
    rec.looked_up(second.number, OrderPage((update(status=CANCELLED),)), 12.0)
    assert drain(rec, 12.0) == ([], [], Wait(None, None))


def test_a_look_up_that_fails_after_its_timeout_is_not_counted_twice() -> None:
    rec = tracking(ORDER)
    late = look_up(rec, 0.0)
    rec.handle_timeout(10.0)
    rec.failed(late.number, "reset", 10.5)
    assert drain(rec, 10.5) == ([], [], Wait(11.0, Timer.LOOK_UP))


def test_a_late_no_such_order_is_evidence_and_asks_nothing_twice() -> None:
    rec = tracking(ORDER, up=True)
    late = look_up(rec, 2.0)
    rec.handle_timeout(12.0)
    second = look_up(rec, 13.0)
    rec.looked_up(late.number, GONE, 13.0)
    asked, _, _ = drain(rec, 13.0)
    assert [each.question for each in asked] == [OpenOrders(None)]
    rec.looked_up(second.number, OrderPage((update(),)), 13.1)
    assert isinstance(final(rec, 13.1), StillOpen)
    rec.looked_up(late.number, GONE, 13.2)
    assert drain(rec, 13.2)[1] == []


def test_no_such_order_after_the_deadline_makes_no_second_final() -> None:
    rec = tracking(ORDER, up=True)
    asked = look_up(rec, 59.0)
    rec.handle_timeout(60.0)
    assert isinstance(final(rec, 60.0), Unknown)
    rec.looked_up(asked.number, GONE, 61.0)
    assert drain(rec, 61.0) == ([], [], Wait(None, None))


def test_a_late_page_is_evidence_and_turns_no_page() -> None:
    rec = tracking(*orders(6), up=True)
    _, history = pages(drain(rec, 2.0)[0])
    rec.handle_timeout(12.0)
    assert len(pages(drain(rec, 13.0)[0])) == 2
    rec.looked_up(history.number, OrderPage((update("1", CANCELLED),), "p2"), 13.1)
    asked, [found], _ = drain(rec, 13.1)
    assert (asked, found.evidence) == ([], Evidence.HISTORY)


def test_of_look_ups_that_were_not_answered_in_time_the_last_256_are_kept() -> None:
    config = ReconcilerConfig(max_look_ups=400, look_ups_per_second=None, max_tracked=400)
    rec = tracking(ORDER, config=config)
    late = [look_up(rec, 0.0)]
    for number in range(1, 400):
        order = CancelOrder("BTCUSDT", f"x{number}")
        rec.track(accepted(order), 0.0)
        late.append(look_up(rec, 0.0))
    rec.handle_timeout(10.0)
    rec.looked_up(late[0].number, OrderPage((update(status=CANCELLED),)), 10.0)
    rec.looked_up(late[-1].number, OrderPage((update("x399", CANCELLED),)), 10.0)
    assert [each.number for each in drain(rec, 10.0)[1]] == [400]


def test_it_asks_for_no_order_past_its_deadline() -> None:
    rec = tracking(ORDER, up=True)
    assert drain(rec, 60.0) == ([], [], Wait(60.0, Timer.UNKNOWN))
    rec.pushed(update(status=CANCELLED), 61.0)  # a late timer changes nothing that is true
    rec.handle_timeout(61.0)
    assert isinstance(final(rec, 61.0), Cancelled)


# --- limits ---


def times_of(rec: Reconciler, until: float) -> list[tuple[float, type[Any]]]:
    """When it asks which questions, if each is answered at once that the order is not known yet."""
    now, asked = 0.0, list[tuple[float, type[Any]]]()
    while now <= until:
        found, _, wait = drain(rec, now)
        for each in found:
            asked.append((now, type(each.question)))
            rec.looked_up(each.number, NoAnswer("500"), now)
        if not found:
            assert wait.until is not None
            assert wait.until > now
            now = wait.until
    return asked


@pytest.mark.parametrize(
    ("inst_type", "limit"),
    [
        (None, 20),
        (InstType.SPOT, 20),
        (InstType.MARGIN, 20),
        (InstType.USDT_FUTURES, 10),
        (InstType.COIN_FUTURES, 10),
        (InstType.USDC_FUTURES, 10),
    ],
)
def test_look_ups_keep_the_limit_of_their_product_line(
    inst_type: InstType | None, limit: int
) -> None:
    rec = Reconciler(ReconcilerConfig(max_look_ups=100))
    for order in orders(100, inst_type):
        rec.track(accepted(order), 0.0)
    asked = times_of(rec, 8.0)
    for kind in (OneOrder, OpenOrders, OrderHistory):
        times = [at for at, other in asked if other is kind]
        apart = [later - first for first, later in zip(times, times[limit:], strict=False)]
        assert times
        assert all(seconds >= 1.0499 for seconds in apart)
        if kind is OneOrder:
            assert min(apart) < 1.0501


def test_futures_count_in_both_limits() -> None:
    rec = Reconciler(ReconcilerConfig(look_ups_per_second=3, futures_look_ups_per_second=2))
    for order in (*orders(4, InstType.USDT_FUTURES), *orders(4)):
        rec.track(accepted(order), 0.0)
    first = [each.question for each in drain(rec, 0.0)[0]]
    assert len(first) == 3
    assert sum(_line(question) is InstType.USDT_FUTURES for question in first) == 2


def test_each_kind_of_look_up_has_a_limit_of_its_own() -> None:
    config = ReconcilerConfig(look_ups_per_second=1)
    rec = tracking(*orders(5), config=config)
    pages(drain(rec, 0.0)[0])
    rec.track(accepted(CancelOrder("BTCUSDT", "x", inst_type=InstType.SPOT)), 0.0)
    assert isinstance(look_up(rec, 0.0).question, OneOrder)


def _line(question: Question) -> InstType | None:
    return question.order.inst_type if isinstance(question, OneOrder) else question.inst_type


def test_a_limit_of_none_is_none() -> None:
    config = ReconcilerConfig(look_ups_per_second=None, max_look_ups=200)
    rec = Reconciler(config)
    asked = 0
    for order in orders(100):
        rec.track(accepted(order), 0.0)
        asked += len(drain(rec, 0.0)[0])
    assert asked == 100


def test_no_more_look_ups_are_open_than_the_limit() -> None:
    rec = Reconciler(ReconcilerConfig(max_look_ups=2))
    rec.track(accepted(ORDER), 0.0)
    for order in orders(3, InstType.SPOT)[1:]:
        rec.track(accepted(order), 0.0)
    asked, _, wait = drain(rec, 0.0)
    assert (len(asked), wait) == (2, Wait(10.0, Timer.ANSWER))
    rec.failed(asked[0].number, "", 0.5)
    assert len(drain(rec, 0.5)[0]) == 1


def test_product_lines_take_turns() -> None:
    rec = Reconciler(ReconcilerConfig(look_ups_per_second=1))
    for inst_type in (None, InstType.USDT_FUTURES):
        for order in orders(2, inst_type):
            rec.track(accepted(order), 0.0)
    now, lines = 0.0, list[InstType | None]()
    while len(lines) < 4:
        asked, _, wait = drain(rec, now)
        lines += [_line(each.question) for each in asked]
        now = now if asked or wait.until is None else wait.until
    assert lines == [None, InstType.USDT_FUTURES] * 2


def test_too_many_requests_pauses_everything_for_longer_and_longer_until_an_answer() -> None:
    rec = tracking(*orders(2), up=True)
    throttled = NoAnswer("429", throttled=True)
    pauses, now = list[float](), 2.0
    for _ in range(5):
        asked, _, _ = drain(rec, now)
        assert len(asked) == 2
        for each in asked:  # two of the same burst count once
            rec.looked_up(each.number, throttled, now)
        wait = drain(rec, now)[2]
        assert wait.until is not None
        pauses.append(wait.until - now)
        now = wait.until
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    first, second = drain(rec, now)[0]
    rec.looked_up(first.number, NOTHING, now)
    rec.looked_up(second.number, throttled, now)
    assert drain(rec, now)[2].until == now + 1.0
    assert len(drain(rec, now + 1.0)[0]) == 2


def test_an_answer_from_before_a_pause_does_not_end_the_slowness() -> None:
    rec = tracking(*orders(2), up=True)
    first, second = drain(rec, 2.0)[0]
    throttled = NoAnswer("429", throttled=True)
    rec.looked_up(first.number, throttled, 2.1)
    rec.looked_up(second.number, NOTHING, 2.2)
    again, *_ = drain(rec, 3.1)[0]
    rec.looked_up(again.number, throttled, 3.2)
    rec.looked_up(6, throttled, 3.2)
    assert drain(rec, 3.2)[2].until == 5.2


# --- pages ---


def pages(asked: list[LookUp]) -> tuple[LookUp, LookUp]:
    """The look-ups of a round: open orders and history."""
    [open_orders] = [each for each in asked if isinstance(each.question, OpenOrders)]
    [history] = [each for each in asked if isinstance(each.question, OrderHistory)]
    assert len(asked) == 2
    return open_orders, history


def test_from_five_due_of_a_product_line_it_reads_pages() -> None:
    assert {type(each.question) for each in drain(tracking(*orders(4)), 0.0)[0]} == {OneOrder}
    for inst_type in (None, InstType.USDT_FUTURES):
        open_orders, history = pages(drain(tracking(*orders(5, inst_type)), 0.0)[0])
        assert open_orders.question == OpenOrders(inst_type)
        assert history.question == OrderHistory(inst_type)


def test_four_of_one_product_line_and_four_of_another_are_asked_one_by_one() -> None:
    rec = tracking(*orders(4), *orders(4, InstType.USDT_FUTURES))
    assert {type(each.question) for each in drain(rec, 0.0)[0]} == {OneOrder}


def test_pages_settle_orders_and_end_once_they_have_shown_all() -> None:
    rec = tracking(*orders(5), up=True)
    open_orders, history = pages(drain(rec, 3.0)[0])
    shown = tuple(update(str(number)) for number in range(2))
    rec.looked_up(open_orders.number, OrderPage(shown, "p2"), 3.1)
    asked, finals, _ = drain(rec, 3.1)
    assert one(asked).question == OpenOrders(None, page="p2")
    assert [(type(each), each.evidence) for each in finals] == [
        (StillOpen, Evidence.OPEN_ORDERS)
    ] * 2
    assert [each.as_of for each in finals if isinstance(each, StillOpen)] == [1.0] * 2
    ended = tuple(update(str(number), CANCELLED) for number in range(2, 5))
    rec.looked_up(history.number, OrderPage(ended, "p2"), 3.2)
    asked, finals, _ = drain(rec, 3.2)
    assert not asked
    assert [each.evidence for each in finals] == [Evidence.HISTORY] * 3
    rec.looked_up(4, OrderPage((), "p3"), 3.3)
    assert drain(rec, 3.3)[0] == []


def test_an_order_that_is_shown_open_too_early_by_a_page_is_asked_again() -> None:
    rec = tracking(*orders(5))
    open_orders, history = pages(drain(rec, 0.0)[0])
    rec.looked_up(open_orders.number, OrderPage(tuple(update(str(n)) for n in range(5))), 0.1)
    rec.looked_up(history.number, NOTHING, 0.1)
    asked, finals, wait = drain(rec, 0.1)
    assert (asked, finals, wait) == ([], [], Wait(2.0, Timer.LOOK_UP))
    pages(drain(rec, 2.0)[0])


def test_what_two_rounds_do_not_show_is_asked_one_by_one() -> None:
    rec = tracking(*orders(5), up=True)
    for now in (2.0, 3.0):
        for each in pages(drain(rec, now)[0]):
            rec.looked_up(each.number, NOTHING, now)
        if now == 2.0:
            assert drain(rec, now)[2].until == 3.0
    asked, _, _ = drain(rec, 3.0)
    assert {each.question for each in asked} == {OneOrder(order) for order in orders(5)}


def test_a_round_that_began_too_early_is_repeated_when_it_proves_something() -> None:
    rec = tracking(*orders(5))
    for each in pages(drain(rec, 0.0)[0]):
        rec.looked_up(each.number, NOTHING, 0.1)
    assert drain(rec, 0.1) == ([], [], Wait(2.0, Timer.LOOK_UP))
    pages(drain(rec, 2.0)[0])


def test_a_round_reads_no_more_pages_than_it_has_orders() -> None:
    rec = tracking(*orders(6), up=True)
    now, read = 2.0, 0
    found = drain(rec, now)[0]
    while found:
        for each in found:
            read += 1
            rec.looked_up(each.number, OrderPage((update("other", CANCELLED),), f"p{read}"), now)
        found = drain(rec, now)[0]
    assert read == 12


def test_a_round_goes_on_for_the_last_of_its_orders() -> None:
    rec = tracking(*orders(6), up=True)
    open_orders, _ = pages(drain(rec, 2.0)[0])
    shown = tuple(update(str(number)) for number in range(5))
    rec.looked_up(open_orders.number, OrderPage(shown, "p2"), 2.1)
    asked, finals, _ = drain(rec, 2.1)
    assert len(finals) == 5
    assert one(asked).question == OpenOrders(None, page="p2")


def test_a_page_after_one_that_came_may_fail_once() -> None:
    rec = tracking(*orders(5), up=True)
    open_orders, _ = pages(drain(rec, 2.0)[0])
    rec.failed(open_orders.number, "", 2.0)
    first = look_up(rec, 3.0)
    rec.looked_up(first.number, OrderPage((update("other"),), "p2"), 3.0)
    second = look_up(rec, 3.0)
    rec.failed(second.number, "", 3.0)
    assert drain(rec, 3.9)[0] == []
    assert look_up(rec, 4.0).question == OpenOrders(None, page="p2")


def test_the_first_page_of_a_second_round_may_fail_once() -> None:
    rec = tracking(*orders(5), up=True)
    for each in pages(drain(rec, 2.0)[0]):
        rec.looked_up(each.number, NOTHING, 2.0)
    open_orders, _ = pages(drain(rec, 3.0)[0])
    rec.failed(open_orders.number, "", 3.0)
    assert drain(rec, 3.9)[0] == []
    assert look_up(rec, 4.0).question == OpenOrders(None)


def test_a_page_that_shows_an_order_too_early_ends_its_round() -> None:
    rec = tracking(*orders(5))
    open_orders, history = pages(drain(rec, 0.0)[0])
    shown = OrderPage(tuple(update(str(number)) for number in range(5)), "p2")
    rec.looked_up(open_orders.number, shown, 0.1)
    rec.looked_up(history.number, OrderPage((update("other", CANCELLED),), "p2"), 0.1)
    assert drain(rec, 0.1) == ([], [], Wait(2.0, Timer.LOOK_UP))


def test_pages_that_fail_hold_up_nobody() -> None:
    rec = tracking(*orders(5), up=True)
    for now in (2.0, 3.0):
        for each in pages(drain(rec, now)[0]):
            rec.looked_up(each.number, NoAnswer("500"), now)
    asked, _, _ = drain(rec, 3.0)
    assert {each.question for each in asked} == {OneOrder(order) for order in orders(5)}
    # For a while, pages are not tried again.
    rec.down(3.0)
    more = [CancelOrder("BTCUSDT", f"x{number}") for number in range(6)]
    for order in more:
        rec.track(accepted(order), 3.0)
    assert {each.question for each in drain(rec, 3.0)[0]} == {OneOrder(order) for order in more}


def test_while_a_page_fails_what_becomes_due_is_asked_one_by_one() -> None:
    rec = tracking(*orders(5), up=True)
    open_orders, _ = pages(drain(rec, 2.0)[0])
    rec.failed(open_orders.number, "", 2.0)
    more = [CancelOrder("BTCUSDT", f"x{number}") for number in range(6)]
    rec.down(2.0)
    for order in more:
        rec.track(accepted(order), 2.0)
    assert [each.question for each in drain(rec, 2.0)[0]] == [OneOrder(order) for order in more]


def test_what_becomes_due_during_a_round_waits_for_the_next_one() -> None:
    rec = tracking(*orders(5), up=True)
    open_orders, history = pages(drain(rec, 2.0)[0])
    rec.down(2.0)
    for number in range(6):
        rec.track(accepted(CancelOrder("BTCUSDT", f"x{number}")), 2.0)
    assert drain(rec, 2.0)[0] == []
    rec.looked_up(history.number, NOTHING, 2.1)
    assert drain(rec, 2.1)[0] == []
    rec.looked_up(open_orders.number, NOTHING, 2.1)
    pages(drain(rec, 2.1)[0])


def test_a_throttled_page_is_asked_again_and_is_no_failure() -> None:
    rec, now = tracking(*orders(5), up=True), 2.0
    for _ in range(3):
        open_orders, history = pages(drain(rec, now)[0])
        rec.looked_up(open_orders.number, NoAnswer("429", throttled=True), now)
        rec.looked_up(history.number, NoAnswer("429", throttled=True), now)
        wait = drain(rec, now)[2]
        assert wait.until is not None
        now = wait.until
    pages(drain(rec, now)[0])


def test_no_such_order_is_no_reply_to_a_page() -> None:
    rec = tracking(*orders(5), up=True)
    for each in pages(drain(rec, 2.0)[0]):
        rec.looked_up(each.number, GONE, 2.0)
    assert drain(rec, 2.0) == ([], [], Wait(3.0, Timer.LOOK_UP))
    rec.handle_timeout(60.0)
    details = {found.detail for found in drain(rec, 60.0)[1] if isinstance(found, Unknown)}
    assert details == {"no such order, although a page was asked for"}


# --- not found ---


def test_not_found_needs_a_look_up_the_open_orders_and_later_the_history() -> None:
    rec = tracking(ORDER, up=True)
    asked = look_up(rec, 2.0)
    rec.looked_up(asked.number, GONE, 2.1)
    page = look_up(rec, 2.1)
    assert page.question == OpenOrders(None)
    rec.looked_up(page.number, OrderPage((), "p2"), 2.2)
    page = look_up(rec, 2.2)
    assert page.question == OpenOrders(None, page="p2")
    rec.looked_up(page.number, NOTHING, 2.3)
    retried = look_up(rec, 3.1)
    assert retried.question == OneOrder(ORDER)
    assert drain(rec, 4.2)[0] == []
    page = look_up(rec, 4.3)  # not before the history shows what was open at 2.3
    assert page.question == OrderHistory(None)
    rec.looked_up(page.number, OrderPage((update("2", FILLED),), "p2"), 4.4)
    page = look_up(rec, 4.4)
    assert page.question == OrderHistory(None, page="p2")
    rec.looked_up(page.number, NOTHING, 4.5)
    found = final(rec, 4.5)
    assert isinstance(found, NotFound)
    assert (found.order_id, found.evidence) == ("1", Evidence.HISTORY)


def doubted(config: ReconcilerConfig | None = None) -> tuple[Reconciler, LookUp]:
    """A reconciler that was told that there is no such order, and the page that it asks for."""
    rec = tracking(ORDER, up=True, config=config)
    rec.looked_up(look_up(rec, 2.0).number, GONE, 2.0)
    return rec, look_up(rec, 2.0)


def test_no_such_order_before_rest_has_settled_proves_nothing() -> None:
    rec = tracking(ORDER)
    rec.looked_up(look_up(rec, 0.0).number, GONE, 0.1)
    assert drain(rec, 0.1) == ([], [], Wait(2.0, Timer.LOOK_UP))
    assert look_up(rec, 2.0).question == OneOrder(ORDER)


def test_no_such_order_by_client_oid_proves_nothing() -> None:
    rec = tracking(BY_CLIENT_OID, up=True, config=UNIQUE)
    rec.looked_up(look_up(rec, 2.0).number, GONE, 2.0)
    assert look_up(rec, 3.0).question == OneOrder(BY_CLIENT_OID)


def test_an_order_that_was_ever_shown_is_never_not_found() -> None:
    rec, page = doubted()
    rec.pushed(update(), 2.1)
    rec.looked_up(page.number, NOTHING, 2.2)
    assert look_up(rec, 3.0).question == OneOrder(ORDER)
    assert drain(rec, 5.0)[0] == []


def test_no_such_order_for_one_that_was_shown_proves_nothing() -> None:
    rec = tracking(ORDER, up=True)
    rec.pushed(update(), 0.1)
    rec.looked_up(look_up(rec, 2.0).number, GONE, 2.1)
    assert look_up(rec, 3.5).question == OneOrder(ORDER)


def test_open_orders_prove_nothing_of_an_order_that_was_tracked_too_late_for_them() -> None:
    rec, page = doubted()
    late = CancelOrder("BTCUSDT", "2")
    rec.down(2.1)
    rec.track(accepted(late), 2.1)
    look_up(rec, 2.1)
    rec.failed(3, "", 2.2)
    asked, _, _ = drain(rec, 4.5)
    [single] = [each for each in asked if each.question == OneOrder(late)]
    rec.looked_up(single.number, GONE, 4.6)
    rec.looked_up(page.number, NOTHING, 4.7)  # asked at 2.0, it may show the book of 0.0
    asked, _, _ = drain(rec, 6.7)
    assert OpenOrders(None) in [each.question for each in asked]


def test_the_history_proves_nothing_of_an_order_that_may_have_been_open_when_it_began() -> None:
    rec = tracking(*orders(2), up=True)
    first, second = drain(rec, 2.0)[0]
    rec.looked_up(first.number, GONE, 2.0)
    rec.looked_up(look_up(rec, 2.0).number, NOTHING, 2.0)
    rec.looked_up(second.number, GONE, 2.2)
    drain(rec, 3.5)
    open_orders, history = pages(drain(rec, 4.0)[0])
    rec.looked_up(open_orders.number, NOTHING, 4.1)
    rec.looked_up(history.number, OrderPage((), "p2"), 6.2)
    [page] = [each for each in drain(rec, 6.2)[0] if isinstance(each.question, OrderHistory)]
    rec.looked_up(page.number, NOTHING, 6.3)
    assert [each.number for each in drain(rec, 6.3)[1]] == [1]


def test_a_doubted_order_among_the_open_ones_is_still_open() -> None:
    rec, page = doubted()
    rec.looked_up(page.number, OrderPage((update(),)), 2.1)
    assert isinstance(final(rec, 2.1), StillOpen)


def test_a_doubted_order_in_the_history_has_ended() -> None:
    rec, page = doubted()
    rec.looked_up(page.number, NOTHING, 2.1)
    look_up(rec, 3.0)
    page = look_up(rec, 4.5)
    rec.looked_up(page.number, OrderPage((update(status=FILLED),)), 4.6)
    assert isinstance(final(rec, 4.6), Filled)


def test_open_orders_that_are_not_read_to_the_end_prove_nothing() -> None:
    rec, page = doubted(ReconcilerConfig(max_pages=2))
    rec.looked_up(page.number, OrderPage((), "p2"), 2.1)
    rec.looked_up(look_up(rec, 2.1).number, OrderPage((), "p3"), 2.2)
    assert drain(rec, 2.2) == ([], [], Wait(3.0, Timer.LOOK_UP))
    rec.failed(look_up(rec, 3.0).number, "", 3.0)
    # It begins again, and the history is not asked before.
    asked, _, _ = drain(rec, 10.2)
    assert {type(each.question) for each in asked} == {OneOrder, OpenOrders}


def test_the_history_is_read_for_so_many_pages_at_most() -> None:
    rec, page = doubted(ReconcilerConfig(max_pages=2))
    rec.looked_up(page.number, NOTHING, 2.1)
    look_up(rec, 3.0)
    rec.looked_up(look_up(rec, 4.1).number, OrderPage((), "p2"), 4.1)
    rec.looked_up(look_up(rec, 4.1).number, OrderPage((), "p3"), 4.2)
    assert isinstance(final(rec, 4.2), NotFound)


def test_pages_that_fail_for_a_doubted_order_are_read_again_later() -> None:
    rec, page = doubted()
    rec.failed(page.number, "", 2.0)
    asked, _, _ = drain(rec, 3.0)
    [page] = [each for each in asked if isinstance(each.question, OpenOrders)]
    rec.failed(page.number, "", 3.0)
    assert drain(rec, 10.9)[0] == []
    asked, _, _ = drain(rec, 11.0)
    assert OpenOrders(None) in [each.question for each in asked]


def test_one_pass_serves_all_orders_that_came_to_be_doubted_meanwhile() -> None:
    rec = tracking(*orders(2), up=True)
    first, second = drain(rec, 2.0)[0]
    rec.looked_up(first.number, GONE, 2.0)
    page = look_up(rec, 2.0)
    rec.looked_up(page.number, NOTHING, 2.1)
    rec.looked_up(second.number, GONE, 2.2)
    for now in (2.2, 3.5):
        for each in drain(rec, now)[0]:
            assert isinstance(each.question, OneOrder)
    for each in pages(drain(rec, 4.125)[0]):
        rec.looked_up(each.number, NOTHING, 4.125)
    assert isinstance(final(rec, 4.125), NotFound)
    assert look_up(rec, 6.125).question == OrderHistory(None)


# --- the end ---


def test_close_settles_the_rest_and_takes_nothing_more() -> None:
    rec = tracking(ORDER)
    asked = look_up(rec, 0.0)
    rec.close(1.0)
    found = final(rec, 1.0)
    assert isinstance(found, Unknown)
    assert (found.why, found.resolved_at, found.detail) == (WhyUnknown.CLOSED, 1.0, "")
    rec.looked_up(asked.number, OrderPage((update(status=CANCELLED),)), 1.0)
    for call in (rec.up, rec.down, rec.close, rec.handle_timeout):
        call(100.0)
    assert drain(rec, 100.0) == ([], [], Wait(None, None))
    with pytest.raises(LocalProtocolError, match="closed"):
        rec.track(accepted(ORDER), 100.0)


def test_failures_from_before_an_order_was_tracked_are_not_its_own() -> None:
    rec = tracking(ORDER)
    rec.failed(look_up(rec, 0.0).number, "connection reset", 0.1)
    rec.track(accepted(CancelOrder("BTCUSDT", "2")), 0.2)
    rec.close(0.3)
    details = [each.detail for each in drain(rec, 0.3)[1] if isinstance(each, Unknown)]
    assert details == ["connection reset", ""]


def test_a_clock_that_runs_backwards_stands_still() -> None:
    rec = tracking(ORDER, up=True)
    rec.pushed(update(), 5.0)
    rec.pushed(update(status=CANCELLED), 1.0)
    assert final(rec, 0.0).resolved_at == 5.0


def test_whole_numbers_are_times_too() -> None:
    rec = tracking(ORDER, up=True)
    rec.track(accepted(ORDER), 1)
    assert drain(rec, 1)[2] == Wait(2.0, Timer.LOOK_UP)


def test_a_final_says_how_far_the_order_was_seen_filled() -> None:
    rec = tracking(ORDER)
    rec.pushed(update(filled="2"), 0.0)
    rec.close(0.0)
    found = final(rec, 0.0)
    assert isinstance(found, Unknown)
    assert (found.filled, found.evidence) == (Decimal(2), Evidence.PUSH)
