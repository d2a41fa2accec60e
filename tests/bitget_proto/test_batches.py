"""Batches of unified accounts: several cancels in one frame, each with an outcome of its own."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest
from tests.bitget_proto.driving import only, outcomes, outputs

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Credentials,
    Dialect,
    InstType,
    LateReply,
    OrderUpdate,
    Outcome,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    WhyUnrecognised,
    WhyUnresolved,
    record,
    replay,
    sign_login,
)
from bitget_proto.explain import explain, read
from bitget_proto.testing import (
    BatchRequested,
    CancelRequested,
    ExchangeConfig,
    ExchangeConnection,
    Fault,
    LoginRequested,
    Pair,
    ScriptedExchange,
    SessionPair,
)
from bitget_proto.testing._kit.recording_connection import Recorder
from bitget_proto.testing._kit.recording_session import SessionRecorder

CODEC = Codec(dialect=Dialect.UNIFIED)
LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)


def orders(count: int, first: int = 1) -> list[CancelOrder]:
    return [CancelOrder(order_id=str(n)) for n in range(first, first + count)]


def ready(budget: Budget | None = None, **limits: Any) -> Connection:
    """Return a connection that is logged in, with a budget that counts a batch as one."""
    budget = Budget(10, None, 5) if budget is None else budget
    conn = Connection(Config(pace_margin=None, **limits), CODEC, budget)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive('{"event":"login","code":0}', 0.0)
    outputs(conn, 0.0)
    return conn


def frames(conn: Connection, now: float) -> list[Transmit]:
    return only(Transmit, outputs(conn, now))


def answer(frame: Transmit, *items: tuple[str, object], code: object = "0", **more: object) -> str:
    """Return an answer to a batch; an item is an order id and its code."""
    return json.dumps({
        "event": "trade",
        "id": json.loads(frame.text)["id"],
        "topic": "batch-cancel",
        "args": [{"orderId": id, "code": code, "msg": "text"} for id, code in items],
        "code": code,
        "msg": "Success",
        "ts": "1768580937683",
        **more,
    })  # fmt: skip


def refusal(frame: Transmit, code: str) -> str:
    id = json.loads(frame.text)["id"]
    return json.dumps({"event": "error", "id": id, "code": code, "msg": "no"})


def sent(count: int = 3, **limits: Any) -> tuple[Connection, Transmit, list[str]]:
    """Return a connection that has sent one batch, its frame, and the ids of its cancels."""
    conn = ready(**limits)
    ids = conn.cancel_many(orders(count), 0.0)
    (frame,) = frames(conn, 0.0)
    return conn, frame, ids


# --- the frames ---


def test_a_batch_is_written_as_documented() -> None:
    _, frame, ids = sent(2)
    assert frame.text == (
        '{"op":"trade","id":"bgproto3","topic":"batch-cancel","args":[{"orderId":"1"},{"orderId":"2"}]}'
    )
    assert frame.ids == tuple(ids) == ("bgproto1", "bgproto2")


def test_one_waiting_cancel_is_a_frame_as_before() -> None:
    conn = ready()
    id = conn.cancel(CancelOrder(order_id="1"), 0.0)
    (frame,) = frames(conn, 0.0)
    assert frame == Transmit(CODEC.encode_cancel(CancelOrder(order_id="1"), id), (id,))


def test_a_frame_has_at_most_max_batch_cancels_in_their_order() -> None:
    conn = ready(max_batch=3)
    ids = conn.cancel_many(orders(7), 0.0)
    given = frames(conn, 0.0)
    assert [frame.ids for frame in given] == [tuple(ids[:3]), tuple(ids[3:6]), tuple(ids[6:])]
    assert json.loads(given[2].text)["topic"] == "cancel-order"


def test_a_max_batch_of_1_sends_each_cancel_alone() -> None:
    conn = ready(max_batch=1)
    conn.cancel_many(orders(4), 0.0)
    topics = [json.loads(frame.text)["topic"] for frame in frames(conn, 0.0)]
    assert topics == ["cancel-order"] * 4


def test_the_two_kinds_of_ids_never_share_a_frame() -> None:
    conn = ready()
    both = [CancelOrder(order_id="1", client_oid="x")]
    named = [CancelOrder(client_oid="a"), *both, CancelOrder(client_oid="b"), *orders(1, 2)]
    conn.cancel_many(named, 0.0)
    args = [json.loads(frame.text)["args"] for frame in frames(conn, 0.0)]
    assert args == [
        [{"clientOid": "a"}, {"clientOid": "b"}],
        [{"orderId": "1"}, {"orderId": "2"}],
    ]


def test_an_order_is_never_twice_in_a_frame() -> None:
    conn = ready()
    twice = [*orders(2), CancelOrder("BTCUSDT", "1", inst_type=InstType.SPOT)]
    ids = conn.cancel_many(twice, 0.0)
    assert [frame.ids for frame in frames(conn, 0.0)] == [tuple(ids[:2]), (ids[2],)]


def test_an_order_by_client_oid_and_product_line_is_sent_alone() -> None:
    """A batch has no product line, and an id of the client's may be used in two of them."""
    conn = ready()
    named = [CancelOrder(client_oid=id, inst_type=InstType.SPOT) for id in "ab"]
    conn.cancel_many(named, 0.0)
    given = [json.loads(frame.text) for frame in frames(conn, 0.0)]
    assert [(frame["topic"], frame["category"]) for frame in given] == [
        ("cancel-order", "spot")
    ] * 2


def test_an_expired_cancel_is_in_no_batch() -> None:
    conn = ready(messages_per_second=1)
    conn.cancel(orders(1)[0], 0.0, "old", timeout=0.5)
    conn.cancel(orders(1, 2)[0], 0.0, "a")
    conn.cancel(orders(1, 3)[0], 0.0, "b")
    assert frames(conn, 0.0) == []
    assert [frame.ids for frame in frames(conn, 1.0)] == [("a", "b")]


def test_an_urgent_cancel_is_the_first_of_a_batch() -> None:
    conn = ready(messages_per_second=1)
    conn.cancel_many(orders(2), 0.0)
    conn.cancel(CancelOrder(order_id="9"), 0.0, "urgent", urgent=True)
    assert [frame.ids for frame in frames(conn, 1.0)] == [("urgent", "bgproto1", "bgproto2")]


def test_classic_accounts_have_no_batches() -> None:
    conn = Connection(Config(pace_margin=None))
    conn.opened(0.0, login=LOGIN)
    conn.receive('{"event":"login","code":0}', 0.0)
    outputs(conn, 0.0)
    conn.cancel_many([CancelOrder("BTCUSDT", str(n)) for n in range(3)], 0.0)
    conn.receive('{"event":"login","code":0}', 0.0)
    assert all(len(frame.ids) == 1 for frame in frames(conn, 0.0))
    with pytest.raises(ValidationError, match=r"^classic accounts have no batches: call"):
        Codec().encode_batch(orders(2), "1")


@pytest.mark.parametrize(
    "given",
    [
        [],
        [*orders(1), *orders(1)],
        [*orders(1), CancelOrder(client_oid="a")],
        [CancelOrder("A", client_oid="a"), CancelOrder("B", client_oid="a")],
    ],
)
def test_the_codec_refuses_a_batch_that_cannot_be_answered(given: list[CancelOrder]) -> None:
    with pytest.raises(ValidationError, match=r"^a batch must name each order once, and all by"):
        CODEC.encode_batch(given, "1")


# --- the limits ---


@pytest.mark.parametrize(("apart", "seconds", "count"), [(None, 99.0, 100), (5, 9.0, 93)])
def test_a_thousand_cancels_leave_as_fast_as_the_limits_allow(
    apart: int | None, seconds: float, count: int
) -> None:
    exchange = ScriptedExchange(
        orders(1000), config=ExchangeConfig(dialect=Dialect.UNIFIED), batches_per_second=apart
    )
    pair = Pair(Connection(Config(pace_margin=None), CODEC, Budget(10, None, apart)), exchange)
    pair.open()
    pair.run(1.0)
    begin = pair.clock.now
    pair.cancel_many(orders(1000))
    pair.run(200.0)
    assert Counter(type(outcome) for outcome in pair.outcomes.values()) == {Accepted: 1000}
    times = [at for at, frame in pair.sent if frame.ids]
    assert (times[-1] - begin, len(times)) == (seconds, count)


def test_without_a_budget_a_connection_counts_the_orders_of_a_batch() -> None:
    conn = Connection(Config(messages_per_second=10, pace_margin=None), CODEC)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive('{"event":"login","code":0}', 0.0)
    conn.cancel_many(orders(30), 0.0)
    assert [len(frame.ids) for frame in frames(conn, 0.0)] == [10]
    assert [len(frame.ids) for frame in frames(conn, 1.0)] == [10]


def test_what_no_batch_takes_waits_for_the_limit_of_single_cancels() -> None:
    conn = ready(Budget(1, None, 5))
    named = [CancelOrder(client_oid=id, inst_type=InstType.SPOT) for id in "abc"]
    ids = conn.cancel_many(named, 0.0)
    for n, id in enumerate(ids):
        assert [frame.ids for frame in frames(conn, float(n))] == [(id,)]


def test_what_the_exchange_says_is_left_tightens_the_limit_for_a_second() -> None:
    conn = ready(Budget(10, None))
    ids = conn.cancel_many(orders(2), 0.0)
    (frame,) = frames(conn, 0.0)
    limits = [{"limit": "10", "remaining": 3}, {"limit": 20, "remaining": "2"}, "x", {}]
    conn.receive(answer(frame, ("1", "0"), ("2", "0"), rateLimit=limits), 0.0)
    assert [outcome.id for outcome in outcomes(outputs(conn, 0.0))] == ids
    conn.cancel_many(orders(9, 3), 0.0)
    assert [len(frame.ids) for frame in frames(conn, 0.0)] == [2]
    assert frames(conn, 0.5) == []
    assert [len(frame.ids) for frame in frames(conn, 1.0)] == [7]


def test_frames_in_flight_count_as_used_by_the_exchange() -> None:
    conn = ready(Budget(10, None), max_batch=1)
    first, *_ = conn.cancel_many(orders(3), 0.0)
    frames(conn, 0.0)
    ok = {"event": "trade", "id": first, "topic": "cancel-order", "args": [{"orderId": "1"}]}
    conn.receive(json.dumps({**ok, "code": "0", "rateLimit": [{"remaining": 3}]}), 0.0)
    conn.cancel_many(orders(5, 4), 0.0)
    assert len(frames(conn, 0.0)) == 1  # 3, less the 2 that are not answered


def test_the_answer_to_another_request_says_nothing_about_the_limit() -> None:
    conn = ready(Budget(10, None))
    conn.receive('{"event":"trade","id":"x","code":"0","rateLimit":[{"remaining":0}]}', 0.0)
    conn.cancel_many(orders(5), 0.0)
    assert [len(frame.ids) for frame in frames(conn, 0.0)] == [5]


# --- the answers ---


def test_each_item_settles_its_own_cancel_whatever_its_place() -> None:
    conn, frame, ids = sent(3)
    conn.receive(answer(frame, ("3", "25204"), ("1", "0"), ("2", 25000)), 1.0)
    given = {outcome.id: outcome for outcome in outcomes(outputs(conn, 1.0))}
    one, two, three = (given[id] for id in ids)
    assert isinstance(one, Accepted)
    assert (one.exchange_ts, one.order_id, one.sent_at) == (1768580937683, "1", 0.0)
    assert isinstance(two, Unresolved)
    assert (two.why, two.code, two.message) == (WhyUnresolved.UNSURE, "25000", "text")
    assert isinstance(three, Rejected)
    assert (three.code, three.message) == ("25204", "text")
    assert conn.in_flight == 0


@pytest.mark.parametrize(
    ("items", "second"),
    [
        ([("1", "0")], Unresolved),  # missing
        ([("1", "0"), ("2", "0"), ("2", "0")], Unresolved),  # twice
        ([("1", "0"), ("2", None)], Unresolved),
        ([("1", "0"), ("2", True)], Unresolved),
        ([("1", "0"), (2, "0")], Unresolved),
        ([("1", "0"), ("2", "0"), ("77", "0")], Accepted),
        ([("1", "0"), ("2", "25204"), ("2 ", "0")], Rejected),
    ],
)
def test_only_one_item_with_the_orders_own_id_says_what_became_of_it(
    items: list[tuple[str, object]], second: type[Outcome]
) -> None:
    conn, frame, ids = sent(2)
    conn.receive(answer(frame, *items), 1.0)
    given = {outcome.id: outcome for outcome in outcomes(outputs(conn, 1.0))}
    assert isinstance(given[ids[0]], Accepted)
    outcome = given[ids[1]]
    assert type(outcome) is second
    if isinstance(outcome, Unresolved):
        assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)


@pytest.mark.parametrize("args", [None, {}, [], "x", [1, None, []], [{"orderId": "1"}]])
def test_the_success_of_the_whole_says_nothing_of_an_order(args: object) -> None:
    conn, frame, _ = sent(2)
    conn.receive(answer(frame, args=args), 1.0)
    given = outcomes(outputs(conn, 1.0))
    assert [type(outcome) for outcome in given] == [Unresolved] * 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [("25245", Rejected), ("429", Rejected), ("25001", Unresolved), ("99999", Unresolved), ("0", Unresolved)],
)  # fmt: skip
def test_a_refusal_of_the_whole_is_for_all(code: str, kind: type[Outcome]) -> None:
    conn, frame, ids = sent(3)
    conn.receive(refusal(frame, code), 1.0)
    given = outcomes(outputs(conn, 1.0))
    assert [(type(outcome), outcome.id) for outcome in given] == [(kind, id) for id in ids]


def test_a_refusal_of_the_whole_with_a_success_in_it_is_not_believed() -> None:
    conn, frame, ids = sent(3)
    text = answer(frame, ("1", "0"), ("2", "25204"), code="25245").replace('"trade"', '"error"')
    conn.receive(text, 1.0)
    given = {outcome.id: outcome for outcome in outcomes(outputs(conn, 1.0))}
    assert [type(given[id]) for id in ids] == [Unresolved, Rejected, Unresolved]
    assert [getattr(given[id], "code", None) for id in ids] == ["25245", "25204", "25245"]


@pytest.mark.parametrize("topic", ["cancel-order", "place-order", 7])
def test_an_answer_to_something_else_settles_nothing(topic: object) -> None:
    conn, frame, _ = sent(2)
    conn.receive(answer(frame, ("1", "0"), ("2", "0"), topic=topic), 1.0)
    (event,) = only(Unrecognised, outputs(conn, 1.0))
    assert event.why is WhyUnrecognised.OTHER_REQUEST
    assert conn.in_flight == 2


def test_an_answer_to_a_batch_under_the_id_of_a_cancel_settles_nothing() -> None:
    conn, frame, ids = sent(2)
    text = answer(frame, ("1", "0")).replace("bgproto3", ids[0])
    conn.receive(text, 1.0)
    (event,) = only(Unrecognised, outputs(conn, 1.0))
    assert event.why is WhyUnrecognised.OTHER_REQUEST
    assert conn.in_flight == 2


def test_a_second_answer_is_unrecognised() -> None:
    conn, frame, _ = sent(2)
    text = answer(frame, ("1", "0"), ("2", "0"))
    conn.receive(text, 1.0)
    outputs(conn, 1.0)
    conn.receive(text, 1.0)
    (event,) = only(Unrecognised, outputs(conn, 1.0))
    assert event.why is WhyUnrecognised.UNKNOWN_ID


def test_a_late_answer_says_what_became_of_each_order_that_it_names() -> None:
    conn, frame, ids = sent(3)
    conn.handle_timeout(10.0)
    given = outcomes(outputs(conn, 10.0))
    assert [getattr(outcome, "why", None) for outcome in given] == [WhyUnresolved.TIMEOUT] * 3
    conn.receive(answer(frame, ("1", "0"), ("3", "25204")), 11.0)
    late = only(LateReply, outputs(conn, 11.0))
    assert [(event.id, event.code) for event in late] == [(ids[0], "0"), (ids[2], "25204")]
    conn.receive(answer(frame, ("2", "0")), 12.0)
    (event,) = only(Unrecognised, outputs(conn, 12.0))
    assert event.why is WhyUnrecognised.UNKNOWN_ID


def test_a_cancel_of_a_batch_may_time_out_before_the_others_are_answered() -> None:
    conn = ready(messages_per_second=1)
    conn.cancel(orders(1)[0], 0.0, "hasty", timeout=3.0)
    conn.cancel(orders(1, 2)[0], 0.0, "patient")
    (frame,) = frames(conn, 1.0)
    assert frame.ids == ("hasty", "patient")
    conn.handle_timeout(3.0)
    (outcome,) = outcomes(outputs(conn, 3.0))
    assert (outcome.id, conn.in_flight) == ("hasty", 1)
    conn.receive(answer(frame, ("1", "25204"), ("2", "0")), 4.0)
    given = outputs(conn, 4.0)
    assert [event.id for event in only(LateReply, given)] == ["hasty"]
    assert [event.id for event in only(Accepted, given)] == ["patient"]


def test_the_id_of_a_batch_can_be_used_for_nothing_else() -> None:
    conn, frame, _ = sent(2)
    id = json.loads(frame.text)["id"]
    own = CODEC.encode_cancel(orders(1, 9)[0], id)
    for now in (5.0, 11.0):
        with pytest.raises(ValidationError, match=f"the id '{id}' was used for a cancel"):
            conn.cancel(orders(1, 9)[0], now, id)
        with pytest.raises(ValidationError, match=f"the id '{id}' in this frame was used"):
            conn.send(own, now)
        conn.handle_timeout(11.0)
        outputs(conn, 11.0)
    assert conn.in_flight == 0


def test_unanswered_batches_are_remembered_up_to_a_bound() -> None:
    conn = ready(late_ids=2, messages_per_second=None, max_in_flight=None, max_batch=2)
    conn.cancel_many(orders(2), 0.0)
    (first,) = frames(conn, 0.0)
    conn.cancel_many(orders(4, 3), 1.0)
    frames(conn, 1.0)
    conn.handle_timeout(10.0)
    outputs(conn, 10.0)
    conn.cancel_many(orders(2, 7), 10.0)
    frames(conn, 10.0)
    conn.receive(answer(first, ("1", "0")), 10.5)
    (event,) = only(Unrecognised, outputs(conn, 10.5))
    assert event.why is WhyUnrecognised.UNKNOWN_ID
    assert conn.in_flight == 6


# --- the end ---


def test_one_unsent_id_means_the_whole_frame() -> None:
    conn, _, ids = sent(3)
    conn.lost(1.0, "", ids[1:2])
    given = outcomes(outputs(conn, 1.0))
    assert [getattr(outcome, "sent", None) for outcome in given] == [False] * 3


def test_what_was_lost_with_a_batch_is_unresolved() -> None:
    conn, _, ids = sent(3)
    conn.lost(1.0)
    given = outcomes(outputs(conn, 1.0))
    assert [(outcome.id, getattr(outcome, "sent", None)) for outcome in given] == [
        (id, True) for id in ids
    ]


# --- sessions ---


def paired(policy: Policy, count: int = 6, **options: Any) -> SessionPair:
    made = ScriptedExchange(
        orders(count),
        config=ExchangeConfig(dialect=Dialect.UNIFIED),
        **options,
    )
    pair = SessionPair(Session(SessionConfig(policy=policy), CODEC, jitter=lambda: 0.5), made)
    pair.run(1.0)
    return pair


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("policy", Policy)
def test_no_fault_makes_a_session_lose_or_invent_an_outcome(fault: Fault, policy: Policy) -> None:
    pair = paired(policy)
    pair.exchange.inject(fault)
    ids = pair.cancel_many(orders(6))
    assert next(frame.ids for _, frame in pair.sent if frame.ids) == tuple(ids)
    pair.run(60.0)
    given = [event for event in pair.events if isinstance(event, Outcome)]
    assert sorted(outcome.id for outcome in given) == sorted(ids)
    for outcome in given:
        acts = [act for act in pair.exchange.log if act.order == outcome.order]
        if isinstance(outcome, Accepted):
            assert any(act.cancelled for act in acts)
        elif isinstance(outcome, Rejected):
            assert not any(act.cancelled for act in acts)
        elif not outcome.sent:
            assert not acts


def test_a_session_sends_a_lost_batch_again() -> None:
    pair = paired(Policy.RESEND)
    pair.exchange.inject(Fault.DROP_BEFORE)
    ids = pair.cancel_many(orders(6))
    pair.run(10.0)
    assert {pair.outcomes[id].attempts for id in ids} == {2}
    assert all(isinstance(pair.outcomes[id], Accepted) for id in ids)
    assert not pair.exchange.live


def test_no_batch_of_a_link_has_the_id_of_a_cancel_of_the_session() -> None:
    pair = paired(Policy.REPORT, 40)
    for first in range(1, 40, 10):
        pair.cancel_many(orders(10, first))
        pair.run(3.0)
    batches = [json.loads(frame.text)["id"] for _, frame in pair.sent if len(frame.ids) > 1]
    assert batches
    assert not set(batches) & set(pair.outcomes)
    assert all(isinstance(outcome, Accepted) for outcome in pair.outcomes.values())


# --- a channel that serves nothing ---


def test_a_time_out_says_what_to_check_if_no_cancel_was_ever_answered() -> None:
    conn, frame, _ = sent(2)
    late = conn.cancel(orders(1, 9)[0], 5.0)
    outputs(conn, 5.0)
    conn.handle_timeout(10.0)
    for outcome in outcomes(outputs(conn, 10.0)):
        assert isinstance(outcome, Unresolved)
        assert outcome.hint is not None
        assert "check that the account is of the kind" in outcome.hint
    conn.receive(answer(frame, ("1", "0")), 11.0)
    conn.handle_timeout(15.0)
    (outcome,) = outcomes(outputs(conn, 15.0))
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.why, outcome.hint) == (late, WhyUnresolved.TIMEOUT, None)


def test_what_was_never_sent_needs_no_hint() -> None:
    conn = ready(queue_timeout=1.0, messages_per_second=1)
    conn.cancel(orders(1)[0], 0.5)
    conn.receive('{"event":"trade"', 0.6)
    outputs(conn, 0.6)
    conn.cancel_many(orders(2), 0.6)
    conn.handle_timeout(30.0)
    given = outcomes(outputs(conn, 30.0))
    assert {getattr(outcome, "sent", None) for outcome in given} == {False}
    assert {getattr(outcome, "hint", None) for outcome in given} == {None}


def test_a_session_that_was_answered_on_one_link_gives_no_hint_on_the_next() -> None:
    pair = paired(Policy.REPORT)
    answered = pair.cancel(orders(1)[0])
    pair.run(1.0)
    assert isinstance(pair.outcomes[answered], Accepted)
    pair.exchange.inject(Fault.DROP_BEFORE, Fault.SILENT)
    pair.cancel(orders(1, 2)[0])
    pair.run(5.0)
    id = pair.cancel(orders(1, 3)[0])
    pair.run(15.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert (outcome.why, outcome.hint) == (WhyUnresolved.TIMEOUT, None)


def test_a_session_that_was_never_answered_gives_the_hint() -> None:
    pair = paired(Policy.REPORT)
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(orders(1)[0])
    pair.run(15.0)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert outcome.hint is not None


# --- traces, explanations, and the exchange's side ---


def test_a_recorded_batch_is_replayed_with_what_others_spent_and_the_exchange_said() -> None:
    lines: list[str] = []
    budget = Budget(10, None)
    conn = record(Connection(Config(pace_margin=None), CODEC, budget), lines.append)
    assert conn.codec is CODEC
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive('{"event":"login","code":0}', 0.0)
    budget.debit(4, 0.0)  # another user of the budget
    budget.observe(9, 0.0)
    conn.cancel_many(orders(8), 0.0)
    (frame,) = frames(conn, 0.0)
    assert len(frame.ids) == 6
    items = [(str(n), "0") for n in range(1, 7)]
    conn.receive(answer(frame, *items, rateLimit=[{"remaining": 1}]), 0.5)
    outputs(conn, 0.5)
    assert [len(frame.ids) for frame in frames(conn, 1.6)] == [2]
    assert replay(lines) is None


def test_a_recorded_session_has_its_codec() -> None:
    session = Session(codec=CODEC, jitter=lambda: 0.5)
    assert session.codec is CODEC
    assert record(session, list[str]().append).codec is CODEC


def test_a_paused_budget_has_no_room() -> None:
    budget = Budget(10, None)
    budget.grant(5, 9.0, 0.0)
    assert budget.room(0.0) == 15
    budget.pause(0.0)
    assert (budget.room(0.5), budget.room(1.0)) == (0, 15)


def test_a_looser_count_of_the_exchange_changes_nothing() -> None:
    budget = Budget(10, None)
    budget.observe(2, 0.0)
    budget.observe(5, 0.1)
    assert (budget.room(0.5), budget.room(1.0)) == (2, 10)


def test_a_session_waits_for_the_limit_of_single_cancels() -> None:
    named = [CancelOrder(client_oid=id, inst_type=InstType.SPOT) for id in "abc"]
    made = ScriptedExchange(named, config=ExchangeConfig(dialect=Dialect.UNIFIED))
    pair = SessionPair(Session(codec=CODEC, budget=Budget(1, None, 5), jitter=lambda: 0.5), made)
    pair.run(1.0)
    ids = pair.cancel_many(named)
    pair.run(0.5)
    assert len(pair.outcomes) == 1
    pair.run(4.0)
    assert all(isinstance(pair.outcomes[id], Accepted) for id in ids)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        (CODEC.encode_batch(orders(2), "7"), "Each gets exactly one outcome."),
        (
            (
                '{"event":"trade","id":"7","topic":"batch-cancel","code":"0","args":'
                '[{"orderId":"1","code":"0"},{"clientOid":"a","code":"25204"}]}'
            ),
            "1: Accepted; a: Rejected; any other order of the batch: Unresolved.",
        ),
        (
            '{"event":"trade","id":"7","topic":"batch-cancel","code":"25245","msg":"no"}',
            "This applies to each order of the batch.",
        ),
    ],
)
def test_a_batch_is_explained(text: str, means: str) -> None:
    explained = explain(read(CODEC, text.encode()), text.encode())
    assert explained.means.endswith(means)


def test_the_exchanges_side_answers_a_batch() -> None:
    exchange = ExchangeConnection(ExchangeConfig(dialect=Dialect.UNIFIED))
    exchange.opened(0.0)
    exchange.receive(CODEC.encode_login(LOGIN), 0.0)
    while not isinstance(exchange.poll(0.0), LoginRequested):
        pass
    exchange.accept_login(0.0)
    exchange.receive(CODEC.encode_batch(orders(2), "7"), 0.0)
    given = [exchange.poll(0.0) for _ in range(3)]
    assert BatchRequested(id="7", orders=tuple(orders(2))) in given
    one, two = orders(2)
    exchange.answer_batch("7", [(one, "0", "Success"), (two, "25204", "gone")], 0.0)
    reply = exchange.poll(0.0)
    assert isinstance(reply, Transmit)
    assert '"args":[{"code":"0","msg":"Success","orderId":"1"},' in reply.text
    exchange.receive(CODEC.encode_cancel(one, "8"), 0.0)
    assert exchange.poll(0.0) == CancelRequested(id="8", order=one)
    exchange.accept("8", 0.0, order=CancelOrder(order_id="1", client_oid="mine"))
    reply = exchange.poll(0.0)
    assert isinstance(reply, Transmit)
    assert '"clientOid":"mine"' in reply.text


def test_the_limit_of_batches_refuses_a_batch_as_a_whole() -> None:
    made = ScriptedExchange(
        orders(30), config=ExchangeConfig(dialect=Dialect.UNIFIED), batches_per_second=1
    )
    pair = Pair(Connection(codec=CODEC, budget=Budget(None)), made)
    pair.open()
    ids = pair.cancel_many(orders(30))
    pair.run(1.0)
    given = Counter(type(pair.outcomes[id]) for id in ids)
    assert given == {Accepted: 20, Rejected: 10}
    assert len(made.live) == 10


# --- subscribing, on the pairs and the kit's cores ---


@pytest.mark.parametrize("fault", [Fault.PUSH_LATE, Fault.PUSH_TWICE, Fault.NO_PUSH])
def test_pushes_may_be_late_twice_or_lost(fault: Fault) -> None:
    made = ScriptedExchange([CancelOrder("BTCUSDT", "1")])
    pair, other = Pair(exchange=made), Pair(exchange=made)
    for each in (pair, other):
        each.open()
        each.subscribe_orders()
        each.run(1.0)
    made.inject(fault)
    pair.cancel(CancelOrder("BTCUSDT", "1"))
    other.run(0.0)
    seen = [sum(isinstance(event, OrderUpdate) for event in each.events) for each in (pair, other)]
    assert seen == [2 if fault is Fault.PUSH_TWICE else 0] * 2
    pair.run(20.0)
    other.run(0.0)
    late = sum(isinstance(event, OrderUpdate) for event in pair.events)
    assert late == {Fault.PUSH_LATE: 1, Fault.PUSH_TWICE: 2, Fault.NO_PUSH: 0}[fault]


def test_the_kits_cores_note_a_subscription() -> None:
    for core in (Recorder(Config()), SessionRecorder(SessionConfig())):
        core.subscribe_orders(time.monotonic())
        assert [step.call for step in core.steps] == ["subscribe_orders"]


@pytest.mark.parametrize("wrong", ["abc", "0", "-1", "NaN", "Infinity"])
def test_an_amount_is_a_number_above_0(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"^size must be a decimal number above 0, as text"):
        ScriptedExchange().place(CancelOrder("BTCUSDT", "1"), size=wrong)


def test_a_session_subscribes_once_on_each_link() -> None:
    pair = SessionPair(Session(jitter=lambda: 0.5), ScriptedExchange())
    pair.run(1.0)
    for _ in range(2):
        pair.subscribe_orders()
    pair.run(1.0)
    texts = [frame.text for _, frame in pair.sent if '"subscribe"' in frame.text]
    assert len(texts) == 2  # both ask for this link
    for link in list(pair.links):
        pair.drop(link)
    pair.run(10.0)
    again = [frame for _, frame in pair.sent if '"subscribe"' in frame.text]
    assert len(again) == 3
