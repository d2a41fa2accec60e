"""Batches of unified accounts: which cancels share a frame, and what its answer means for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Codec,
    Config,
    Connection,
    Dialect,
    InstType,
    LateReply,
    LocalProtocolError,
    Outcome,
    Output,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    State,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    Pair,
    ScriptedExchange,
    SessionPair,
    StrictConnection,
)

from .driving import LOGGED_IN, LOGIN, only, outcomes, outputs

CODEC = Codec(dialect=Dialect.UNIFIED)
BY_ORDER_ID = [CancelOrder(order_id=str(number)) for number in range(30)]
BY_CLIENT_OID = [CancelOrder(client_oid=f"mine-{number}") for number in range(30)]
BOTH = [CancelOrder("BTCUSDT", str(n), f"mine-{n}", InstType.SPOT) for n in range(30)]


def ready(config: Config | None = None, budget: Budget | None = None) -> Connection:
    """At 2 s: logged in, and the rate limits are unused."""
    conn = Connection(config, CODEC, budget)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    outputs(conn, 2.0)
    return conn


def frames(given: list[Output]) -> list[Transmit]:
    return [frame for frame in only(Transmit, given) if frame.ids]


def sent(
    conn: Connection, orders: Sequence[CancelOrder], timeout: float | None = None
) -> tuple[str, list[str]]:
    """Send these in one batch at 2 s; return its id, and theirs."""
    ids = conn.cancel_many(orders, 2.0, timeout)
    (frame,) = frames(outputs(conn, 2.0))
    assert list(frame.ids) == ids
    return json.loads(frame.text)["id"], ids


def named(frame: Transmit) -> list[str]:
    """Return the orders that a frame names."""
    return [next(iter(arg.values())) for arg in json.loads(frame.text)["args"]]


# --- which cancels share a frame ---


def test_a_batch_is_written_as_documented() -> None:
    conn = ready()
    batch, ids = sent(conn, BY_ORDER_ID[:2])
    conn.receive(answer(batch, [item("0"), item("1")]), 2.0)
    assert (ids, batch) == (["bgproto1", "bgproto2"], "bgproto3")
    conn.cancel_many(BY_CLIENT_OID[:2], 2.0)
    (frame,) = frames(outputs(conn, 3.1))
    assert frame == Transmit(
        '{"op":"trade","id":"bgproto6","topic":"batch-cancel","args":[{"clientOid":"mine-0"},'
        '{"clientOid":"mine-1"}]}',
        ("bgproto4", "bgproto5"),
    )


def test_ids_of_two_kinds_and_an_order_twice_never_share_a_frame() -> None:
    conn = ready(budget=Budget(None))
    a, b, mine = BY_ORDER_ID[0], BOTH[1], BY_CLIENT_OID[2]
    spot = attrs.evolve(BY_CLIENT_OID[3], inst_type=InstType.SPOT)
    conn.cancel_many([a, mine, spot, a, b, BY_CLIENT_OID[4]], 2.0)
    # By the client's id and with a product line, which a batch cannot name: alone, and exactly.
    expected = [["0", "1"], ["mine-2", "mine-4"], ["mine-3"], ["0"]]
    assert [named(frame) for frame in frames(outputs(conn, 2.0))] == expected


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(1, [1] * 10), (2, [2] * 5), (3, [3, 3, 3, 1]), (20, [10]), (None, [10])],
)
def test_a_batch_has_at_most_max_batch_orders_and_no_more_than_the_budget(
    limit: int | None, sizes: list[int]
) -> None:
    conn = ready(Config(max_batch=limit))
    conn.cancel_many(BY_ORDER_ID[:12], 2.0)
    assert [len(frame.ids) for frame in frames(outputs(conn, 2.0))] == sizes
    assert [len(frame.ids) for frame in frames(outputs(conn, 3.0))] == []
    assert sum(len(frame.ids) for frame in frames(outputs(conn, 3.05))) == 2


def test_with_a_limit_of_batches_their_orders_do_not_count() -> None:
    conn = ready(budget=Budget(2, None, batches_per_second=3))
    conn.cancel_many(BY_ORDER_ID, 2.0)
    conn.cancel_many(BY_ORDER_ID, 2.0)
    given = frames(outputs(conn, 2.0))
    assert [len(frame.ids) for frame in given] == [20, 20, 20]
    conn.cancel_many(BY_CLIENT_OID, 2.0)
    # The single cancels have a limit of their own, which is not used yet.
    assert [len(frame.ids) for frame in frames(outputs(conn, 2.5))] == [1, 1]
    assert [len(frame.ids) for frame in frames(outputs(conn, 3.0))] == [20, 8]


@pytest.mark.parametrize(
    ("codec", "limit"),
    [(CODEC, 1), (Codec(), 20)],
    ids=["batches switched off", "a classic account"],
)
def test_a_limit_of_batches_gives_no_room_to_single_cancels(codec: Codec, limit: int) -> None:
    conn = Connection(Config(max_batch=limit), codec, Budget(3, None, batches_per_second=5))
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.0)
    conn.cancel_many(BOTH[:10] if codec is CODEC else CLASSIC, 2.0)
    assert [len(frame.ids) for frame in frames(outputs(conn, 2.0))] == [1, 1, 1]
    assert [len(frame.ids) for frame in frames(outputs(conn, 3.0))] == [1, 1, 1]


CLASSIC = [CancelOrder("BTCUSDT", str(number)) for number in range(10)]


def test_an_expired_cancel_is_in_no_batch() -> None:
    conn = ready(budget=Budget(1, None))
    conn.cancel(BY_ORDER_ID[0], 2.0)
    assert len(frames(outputs(conn, 2.0))) == 1
    conn.cancel(BY_ORDER_ID[1], 2.0)
    conn.cancel(BY_ORDER_ID[2], 2.0, timeout=0.5)
    conn.cancel(BY_ORDER_ID[3], 2.0)
    budget = conn._frames.budget
    assert budget is not None
    budget.grant(5, inf, 2.5)
    assert [named(frame) for frame in frames(outputs(conn, 2.5))] == [["1", "3"]]


def test_no_other_request_gets_the_id_of_a_batch() -> None:
    conn = ready()
    batch, ids = sent(conn, BY_ORDER_ID[:2], timeout=0.5)
    conn.handle_timeout(2.5)
    assert [outcome.id for outcome in outcomes(outputs(conn, 2.5))] == ids
    with pytest.raises(ValidationError, match="whose answer may still come"):
        conn.cancel(BY_ORDER_ID[0], 2.5, id=batch)
    with pytest.raises(ValidationError, match="could be taken for the cancel's"):
        conn.send(json.dumps({"op": "trade", "id": batch, "topic": "place-order"}), 2.5)
    # Neither does a batch get the id of another request.
    conn.cancel(BY_ORDER_ID[0], 2.5, id="bgproto7")
    outputs(conn, 2.5)
    assert sent(conn, BY_ORDER_ID[3:5], timeout=0.5)[0] == "bgproto10"


# --- what an answer means ---


def item(
    order_id: str | None = None, code: object = "0", client_oid: str | None = None
) -> dict[str, object]:
    parts = {"code": code, "msg": "text", "orderId": order_id, "clientOid": client_oid}
    return {key: value for key, value in parts.items() if value is not None}


def answer(
    id: str,
    items: list[dict[str, object]],
    code: object = "0",
    event: str = "trade",
    topic: str | None = "batch-cancel",
) -> str:
    parts = {"event": event, "id": id, "topic": topic, "args": items, "code": code, "msg": "text"}
    return json.dumps({key: value for key, value in parts.items() if value is not None})


CODES = {
    "0": Accepted,
    "25204": Rejected,
    "25003": Unresolved,
    "25000": Unresolved,
    "x": Unresolved,
}
"""What each code means for the order that it is about."""

ITEMS = st.lists(
    st.tuples(
        st.sampled_from([*range(6), 9]),
        st.sampled_from([*CODES, *CODES, None]),
        st.sampled_from(["both", "both", "both", "the other kind", "none"]),
    ),
    max_size=8,
)


def expected_of(
    number: int, items: list[tuple[int, str | None, str]], event: str, code: str | None
) -> type[Outcome]:
    """Return what is known of an order, by the rules of the documentation.

    "Outer success says nothing of an order"; an item is found by its id, never by its place.
    """
    mine = [known for named, known, ids in items if named == number and ids == "both"]
    succeeded = event == "trade" and code == "0"
    if len(mine) > 1 or (succeeded and not mine):
        return Unresolved
    if succeeded:
        return CODES.get(mine[0] or "", Unresolved)
    said = CODES.get((mine[0] if mine else code) or "", Unresolved)
    contradicted = not mine and any(known == "0" for _, known, _ in items)
    return Unresolved if said is Accepted or contradicted else said


@given(
    kind=st.sampled_from(["order_id", "client_oid"]),
    items=ITEMS,
    event=st.sampled_from(["trade", "trade", "trade", "error"]),
    code=st.sampled_from(["0", "0", "0", "0", *CODES, None]),
    topic=st.sampled_from(["batch-cancel", "batch-cancel-order", None]),
    late=st.sets(st.integers(0, 5)),
)
def test_any_answer_gives_each_cancel_one_honest_outcome(
    kind: str,
    items: list[tuple[int, str | None, str]],
    event: str,
    code: str | None,
    topic: str | None,
    late: set[int],
) -> None:
    """Items refused, missing, twice, in any order, of strangers; some cancels have timed out."""
    conn = StrictConnection(codec=CODEC)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    ids: list[str] = []
    for number in range(6):
        order = CancelOrder(**{kind: str(number)})
        ids.append(conn.cancel(order, 0.0, timeout=3.0 if number in late else None))
        outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 2.0)
    (frame,) = frames(outputs(conn, 2.0))
    assert frame.ids == tuple(ids)
    conn.handle_timeout(3.0)
    timed_out = outcomes(outputs(conn, 3.0))
    assert [outcome.id for outcome in timed_out] == [ids[number] for number in sorted(late)]
    assert all(isinstance(one, Unresolved) and one.sent for one in timed_out)

    other = "client_oid" if kind == "order_id" else "order_id"
    named_by = {"both": (kind, other), "the other kind": (other,), "none": ()}
    args = [
        item(code=said, **dict.fromkeys(named_by[by], str(number))) for number, said, by in items
    ]
    text = answer(json.loads(frame.text)["id"], args, code, event, topic)
    conn.receive(text, 4.0)
    given = outputs(conn, 4.0)

    expected = {ids[n]: expected_of(n, items, event, code) for n in range(6)}
    settled = {outcome.id: outcome for outcome in outcomes(given)}
    assert list(settled) == [id for n, id in enumerate(ids) if n not in late]
    assert {id: type(outcome) for id, outcome in settled.items()} == {
        id: expected[id] for id in settled
    }
    for outcome in settled.values():
        if isinstance(outcome, Unresolved):
            assert (outcome.sent, outcome.why) == (True, WhyUnresolved.UNSURE)
            assert outcome.code != "0" or event == "error", "a success that says nothing of it"
        elif isinstance(outcome, Rejected):
            assert CODES[outcome.code] is Rejected
        elif kind == "client_oid":
            assert outcome.order_id == outcome.order.client_oid, "learned from its item"
    for reply in only(LateReply, given):
        assert reply.id in {one.id for one in timed_out}
        if reply.code is not None:
            kinds = {expected[reply.id]}
            assert kinds == {CODES[reply.code]} or (event, reply.code) == ("error", "0")
    # Exactly one event for each: a second copy of the answer changes nothing.
    assert len(settled) == len(outcomes(given))
    conn.receive(text, 4.0)
    assert [type(output) for output in outputs(conn, 4.0)] == [Unrecognised]
    conn.lost(4.0)
    assert not outcomes(outputs(conn, 4.0))


def test_an_answer_to_something_else_settles_no_batch() -> None:
    conn = ready()
    batch, ids = sent(conn, BY_ORDER_ID[:2])
    for topic in ("cancel-order", "place-order"):
        conn.receive(answer(batch, [item("0"), item("1")], topic=topic), 2.0)
    conn.receive(answer(ids[0], [item("0"), item("1")]), 2.0)
    assert [output.why for output in only(Unrecognised, outputs(conn, 2.0))] == [
        WhyUnrecognised.OTHER_REQUEST
    ] * 3
    assert conn.in_flight == 2


def test_half_an_answer_settles_nothing_and_the_whole_one_does_later() -> None:
    conn = ready()
    batch, ids = sent(conn, BY_ORDER_ID[:2], timeout=0.5)
    text = answer(batch, [item("0"), item("1", "25204")])
    conn.receive(text[: len(text) // 2], 2.0)
    assert [type(output) for output in outputs(conn, 2.0)] == [Unrecognised]
    conn.handle_timeout(2.5)
    assert [type(output) for output in outputs(conn, 2.5)] == [Unresolved, Unresolved]
    conn.receive(text, 3.0)
    late = only(LateReply, outputs(conn, 3.0))
    assert [(reply.id, reply.code, reply.text) for reply in late] == [
        (ids[0], "0", text),
        (ids[1], "25204", text),
    ]


def test_what_the_exchange_says_is_left_is_less_what_is_unanswered() -> None:
    conn = ready(budget=Budget(100, None))
    batch, _ = sent(conn, BY_ORDER_ID[:2])
    conn.cancel(BY_ORDER_ID[5], 2.0)
    assert len(frames(outputs(conn, 2.0))) == 1
    told = json.loads(answer(batch, [item("0"), item("1")]))
    conn.receive(json.dumps(told | {"rateLimit": [{"limit": "9", "remaining": "4"}]}), 2.5)
    outputs(conn, 2.5)
    conn.cancel_many(BY_ORDER_ID[10:20], 2.5)
    assert [len(frame.ids) for frame in frames(outputs(conn, 2.5))] == [3]
    assert [len(frame.ids) for frame in frames(outputs(conn, 3.5))] == [7]


# --- the end ---


def test_one_id_of_a_frame_that_was_not_written_means_all_of_them() -> None:
    conn = ready()
    _, ids = sent(conn, BY_ORDER_ID[:3])
    conn.cancel(BY_ORDER_ID[5], 2.0)
    (other,) = frames(outputs(conn, 2.0))
    conn.lost(2.0, "reset", [ids[1]])
    given = {one.id: one for one in outcomes(outputs(conn, 2.0))}
    assert all(isinstance(one, Unresolved) for one in given.values())
    assert {id: getattr(one, "sent", None) for id, one in given.items()} == {
        **dict.fromkeys(ids, False),
        other.ids[0]: True,
    }


def test_a_batch_is_taken_back_for_its_own_cancels_alone() -> None:
    """A caller may use an id again; the batch that had it before was sent all the same."""
    conn = StrictConnection(Config(late_ids=1), CODEC)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    for number, id in enumerate(("x", "y", "z")):
        conn.cancel(BY_ORDER_ID[number], 0.0, id, None if id == "z" else 1.0)
        outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.5)
    (batch,) = frames(outputs(conn, 0.5))
    assert batch.ids == ("x", "y", "z")
    conn.handle_timeout(1.0)
    outputs(conn, 1.0)
    conn.cancel(BY_ORDER_ID[9], 2.0, "x")
    (again,) = frames(outputs(conn, 2.0))
    assert again.ids == ("x",)
    conn.lost(2.0, "reset", ["x"])
    given = {one.id: one for one in outcomes(outputs(conn, 2.0))}
    assert {id: getattr(one, "sent", None) for id, one in given.items()} == {"x": False, "z": True}


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER])
def test_a_session_sends_the_orders_of_a_lost_batch_again(fault: Fault) -> None:
    made = ScriptedExchange(BOTH, config=ExchangeConfig(dialect=Dialect.UNIFIED))
    session = Session(SessionConfig(policy=Policy.RESEND), CODEC, jitter=lambda: 0.5)
    pair = SessionPair(session, made)
    pair.run(1.0)
    made.inject(fault)
    ids = pair.cancel_many(BY_ORDER_ID[:5])
    pair.run(30.0)
    expected = Unresolved if fault is Fault.DROP_AFTER else Accepted
    for id in ids:
        outcome = pair.outcomes[id]
        assert (type(outcome), outcome.attempts) == (expected, 2)
    assert len([frame for _, frame in pair.sent if frame.ids]) == 2
    assert len(made.live) == 25


def test_a_thousand_cancels_are_held_by_no_more_than_the_limits() -> None:
    """Orders counted singly, and batches counted apart, beside the least that the limits allow."""
    book = [CancelOrder("BTCUSDT", str(n), inst_type=InstType.SPOT) for n in range(1000)]
    for batches, least in ((None, 99.0), (5, 9.0)):
        made = ScriptedExchange(
            book,
            config=ExchangeConfig(dialect=Dialect.UNIFIED),
            batches_per_second=batches,
        )
        pair = Pair(
            StrictConnection(codec=CODEC, budget=Budget(10, batches_per_second=batches)), made
        )
        pair.open()
        start = pair.clock.now
        pair.cancel_many([CancelOrder(order_id=order.order_id) for order in book])
        while len(pair.outcomes) < len(book):
            pair.run(0.1)
        assert all(isinstance(outcome, Accepted) for outcome in pair.outcomes.values())
        assert pair.client.state is State.READY
        assert (pair.clock.now - start) / least <= 1.1


def test_a_command_that_is_refused_takes_none_of_the_orders() -> None:
    conn = ready(Config(max_in_flight=3))
    with pytest.raises(LocalProtocolError):
        conn.cancel_many(BY_ORDER_ID[:4], 2.0)
    assert conn.in_flight == 0


# --- the exchange's side ---


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"category": "SPOT"}, "41101", "Param category=SPOT error"),
        ({"args": []}, "30016", "args must hold 1 to 20 objects; got 0"),
        ({"args": [{"orderId": str(n)} for n in range(21)]}, "30016", "args must hold 1 to 20 ob"),
        ({"args": [{}]}, "30016", "CancelOrder needs"),
        ({"topic": "batch-place"}, "25002", "the topic batch-place is not supported"),
        ({"more": 1}, "30016", "unknown: more @ $; lenient=True accepts this form"),
    ],
)
def test_the_exchange_refuses_a_batch_that_is_not_documented(
    change: dict[str, object], code: str, message: str
) -> None:
    assert_answered(change, {"event": "error", "id": "a", "code": code}, message, gone=0)


def test_the_exchange_finds_the_orders_of_a_batch_in_its_product_line() -> None:
    for category, codes, gone in (("spot", ["0", "0"], 2), ("margin", ["25204", "25204"], 0)):
        answered = assert_answered({"category": category}, {"event": "trade"}, "Success", gone)
        assert [one["code"] for one in answered["args"]] == codes


def test_with_ids_of_both_kinds_the_exchange_ignores_those_of_the_client() -> None:
    answered = assert_answered(
        {"args": [{"clientOid": "mine-1"}, {"orderId": "0"}]}, {"code": "0"}, "Success", gone=1
    )
    assert [one["orderId"] for one in answered["args"]] == ["0"]


def assert_answered(
    change: dict[str, object], expected: dict[str, str], message: str, gone: int
) -> dict[str, list[dict[str, str]]]:
    """Send a batch of two with this change to an exchange, and return its answer."""
    pair = Pair(
        StrictConnection(codec=CODEC),
        ScriptedExchange(BOTH, config=ExchangeConfig(dialect=Dialect.UNIFIED)),
    )
    pair.open()
    request = {"op": "trade", "id": "a", "topic": "batch-cancel"}
    pair.send(json.dumps({**request, "args": [{"orderId": "0"}, {"orderId": "1"}], **change}))
    text = getattr(pair.events[-1], "text", "{}")
    answered = json.loads(text)
    assert {key: answered[key] for key in expected} == expected
    assert message in answered["msg"]
    assert len(pair.exchange.live) == len(BOTH) - gone
    return answered
