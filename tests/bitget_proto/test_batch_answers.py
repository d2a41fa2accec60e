"""Property test of what the answer to a batch means, and tests of what random runs have found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf
from typing import Any

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
    Outcome,
    Output,
    Rejected,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Pair,
    ScriptedExchange,
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
    conn: Connection, orders: Sequence[CancelOrder], timeout: float | None = None, at: float = 2.0
) -> tuple[str, list[str]]:
    """Send these in one batch; return its id, and theirs."""
    ids = conn.cancel_many(orders, at, timeout)
    (frame,) = frames(outputs(conn, at))
    assert list(frame.ids) == ids
    return json.loads(frame.text)["id"], ids


# --- the limits ---


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


CODES: dict[str, type[Outcome]] = {
    "0": Accepted,
    "25204": Rejected,
    "25245": Rejected,
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
        by_order_id = kind == "order_id"
        order = CancelOrder(
            order_id=str(number) if by_order_id else None,
            client_oid=None if by_order_id else str(number),
        )
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


def test_a_batch_is_taken_back_by_a_cancel_that_has_timed_out() -> None:
    conn = ready(budget=Budget(1, None))
    conn.cancel(BY_ORDER_ID[0], 2.0)
    assert len(frames(outputs(conn, 2.0))) == 1
    short = conn.cancel(BY_ORDER_ID[1], 2.0, timeout=2.0)
    long = conn.cancel(BY_ORDER_ID[2], 2.0)
    budget = conn._frames.budget
    assert budget is not None
    budget.grant(1, inf, 3.0)
    (batch,) = frames(outputs(conn, 3.0))
    assert batch.ids == (short, long)
    conn.handle_timeout(4.0)
    assert [one.id for one in outcomes(outputs(conn, 4.0))] == [short]
    conn.lost(4.0, "reset", [short])
    given = {one.id: one for one in outcomes(outputs(conn, 4.0))}
    outcome = given[long]
    assert isinstance(outcome, Unresolved)
    assert not outcome.sent


def test_a_batch_is_forgotten_only_beyond_the_bound_and_when_its_cancels_have_ended() -> None:
    conn = ready(Config(late_ids=2), Budget(None))
    ended, ids = sent(conn, BY_ORDER_ID[:2], timeout=0.5)
    conn.handle_timeout(2.5)
    outputs(conn, 2.5)
    open_ones = [sent(conn, BY_ORDER_ID[2:4], at=2.5)]
    conn.receive(answer(ended, [item("0"), item("1")]), 2.5)
    assert [late.id for late in only(LateReply, outputs(conn, 2.5))] == ids
    open_ones += [sent(conn, BY_ORDER_ID[n : n + 2], at=2.5) for n in (4, 6)]
    for (batch, ids), number in zip(open_ones, (2, 4, 6), strict=True):
        conn.receive(answer(batch, [item(str(number)), item(str(number + 1))]), 2.5)
        assert [one.id for one in only(Accepted, outputs(conn, 2.5))] == ids


# --- what mutation tests have found ---


def test_grants_make_room_in_a_batch() -> None:
    budget = Budget(2, None)
    conn = ready(budget=budget)
    budget.grant(3, inf, 2.0)
    conn.cancel_many(BY_ORDER_ID[:7], 2.0)
    assert [len(frame.ids) for frame in frames(outputs(conn, 2.0))] == [5]


def test_after_too_many_requests_no_batch_leaves_for_a_second() -> None:
    conn = ready(budget=Budget(1, None, batches_per_second=5))
    conn.receive('{"event":"error","code":30006,"msg":"request too many"}', 2.0)
    conn.cancel_many(BY_ORDER_ID[:4], 2.0)
    assert frames(outputs(conn, 2.5)) == []
    assert [len(frame.ids) for frame in frames(outputs(conn, 3.0))] == [4]


def test_no_order_is_twice_in_a_frame_wherever_it_waits() -> None:
    conn = ready(budget=Budget(None))
    conn.cancel_many([BY_ORDER_ID[n] for n in (0, 1, 1, 2)], 2.0)
    named = [json.loads(frame.text)["args"] for frame in frames(outputs(conn, 2.0))]
    assert [[arg["orderId"] for arg in args] for args in named] == [["0", "1", "2"], ["1"]]


def test_a_cancel_is_in_no_batch_at_its_deadline() -> None:
    conn = ready(budget=Budget(2, None))
    conn.cancel_many(BY_ORDER_ID[:2], 2.0)
    outputs(conn, 2.0)
    first = conn.cancel(BY_ORDER_ID[3], 2.0)
    conn.cancel(BY_ORDER_ID[4], 2.0, timeout=1.0)
    assert [frame.ids for frame in frames(outputs(conn, 3.0))] == [(first,)]


def test_observe_names_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="observe: remaining must be a whole number"):
        Budget().observe(-1, 0.0)


# --- the exchange's side ---


UNDOCUMENTED: list[tuple[dict[str, object], str, str]] = [
    ({"category": "SPOT"}, "41101", "Param category=SPOT error"),
    ({"args": []}, "30016", "args must hold 1 to 20 objects; got 0"),
    ({"args": [{"orderId": str(n)} for n in range(21)]}, "30016", "args must hold 1 to 20 ob"),
    ({"args": [{}]}, "30016", "CancelOrder needs"),
    ({"topic": "batch-place"}, "25002", "the topic batch-place is not supported"),
    ({"more": 1}, "30016", "unknown: more @ $; lenient=True accepts this form"),
]


@pytest.mark.parametrize(("change", "code", "message"), UNDOCUMENTED)
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
) -> dict[str, Any]:
    """Send a batch of two with this change to an exchange, and return its answer."""
    pair = Pair(
        StrictConnection(codec=CODEC),
        ScriptedExchange(BOTH, config=ExchangeConfig(dialect=Dialect.UNIFIED)),
    )
    pair.open()
    request = {"op": "trade", "id": "a", "topic": "batch-cancel"}
    pair.send(json.dumps({**request, "args": [{"orderId": "0"}, {"orderId": "1"}], **change}))
    text = getattr(pair.events[-1], "text", "{}")
    answered: dict[str, Any] = json.loads(text)
    assert {key: answered[key] for key in expected} == expected
    assert message in answered["msg"]
    assert len(pair.exchange.live) == len(BOTH) - gone
    return answered
