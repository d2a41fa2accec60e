"""Cancels of a session that go by REST, because no link takes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Codec,
    CodeClass,
    Config,
    Credentials,
    Dial,
    Dialect,
    Ended,
    InstType,
    LateReply,
    LinkTransmit,
    LocalProtocolError,
    Outcome,
    Policy,
    Rejected,
    RestCancel,
    Session,
    SessionConfig,
    SessionOutput,
    SessionState,
    SignedLogin,
    Timer,
    Unresolved,
    ValidationError,
    Wait,
    WhyEnded,
    WhyUnresolved,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    RestFault,
    ScriptedExchange,
    SessionPair,
    StrictSession,
)

KEY = Credentials("key", "secret", "passphrase")
LOGIN = SignedLogin("key", "pass", "1700000000", "c2ln")
LOGGED_IN = '{"event":"login","code":0}'
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(40)]
ALONE = CancelOrder("BTCUSDT", client_oid="mine-1")
ONE, TWO = ORDERS[:2]
AFTER = 2.0
CONFIG = SessionConfig(rest_after=AFTER, backoff_max=0.5)


def down(
    *faults: RestFault,
    config: SessionConfig = CONFIG,
    exchange: ScriptedExchange | None = None,
    budget: Budget | None = None,
    latency: float = 0.0,
) -> SessionPair:
    """A session whose dials fail, with a REST API that works."""
    exchange = exchange or ScriptedExchange([*ORDERS[:30], ALONE], credentials=KEY)
    codec = Codec(dialect=exchange.config.dialect)
    session = StrictSession(config, codec, budget, jitter=lambda: 0.0)
    pair = SessionPair(session, exchange, latency=latency)
    pair.refuse_dials = True
    pair.start()
    exchange.inject_rest(*faults)
    return pair


def up(**options: Any) -> SessionPair:
    """The same, with a link."""
    pair = down(**options)
    pair.refuse_dials = False
    pair.run(1.0)
    assert pair.session.state is SessionState.UP
    return pair


def outcome(pair: SessionPair, id: str) -> Outcome:
    return pair.outcomes[id]


def unresolved(pair: SessionPair, id: str) -> Unresolved:
    found = pair.outcomes[id]
    assert isinstance(found, Unresolved)
    return found


def acts(pair: SessionPair) -> list[str | None]:
    """The orders that the exchange was asked to cancel."""
    return [act.order.order_id for act in pair.exchange.log]


# --- which way ---


def test_a_cancel_that_no_link_takes_goes_by_rest() -> None:
    pair = down()
    id = pair.cancel(ONE)
    pair.run(AFTER - 0.01)
    assert not pair.rest_sent
    pair.run(1.0)
    found = outcome(pair, id)
    assert isinstance(found, Accepted)
    assert (found.attempts, found.by_rest) == (1, (1,))
    assert (found.taken_at, found.sent_at, found.resolved_at) == (0.0, AFTER, AFTER)
    assert (found.exchange_ts, found.order_id) == (1_763_958_368_000, "0")
    [(at, request)] = pair.rest_sent
    assert (at, request.number, request.id) == (AFTER, 1, id)
    assert json.loads(request.request.body) == {"symbol": "BTCUSDT", "orderId": "0"}
    assert acts(pair) == ["0"]


def test_without_rest_after_nothing_goes_by_rest() -> None:
    pair = down(config=SessionConfig())
    id = pair.cancel(ONE)
    pair.run(20.0)
    assert unresolved(pair, id).why is WhyUnresolved.NO_LINK
    assert not pair.rest_sent
    with pytest.raises(LocalProtocolError, match="sends nothing by REST"):
        pair.session.rest_replied(1, (200, b"{}"), 20.0)


def test_a_link_that_comes_in_time_takes_the_cancel() -> None:
    pair = down()
    id = pair.cancel(ONE)
    pair.run(AFTER - 0.7)
    pair.refuse_dials = False
    pair.run(5.0)
    found = outcome(pair, id)
    assert isinstance(found, Accepted)
    assert found.by_rest == ()
    assert not pair.rest_sent


def test_a_link_that_comes_back_does_not_get_what_is_out_by_rest() -> None:
    pair = down(RestFault.FAILED_AFTER)
    pair.hold_rest = True
    ids = [pair.cancel(ONE), pair.cancel(TWO)]
    pair.run(AFTER)
    assert len(pair.rest_sent) == 2
    pair.refuse_dials = False
    pair.run(8.0)
    assert pair.session.state is SessionState.UP
    assert not [frame for _, frame in pair.sent if frame.ids]
    assert acts(pair) == ["0", "1"]
    pair.run(2.0)
    assert [unresolved(pair, id).why for id in ids] == [WhyUnresolved.TIMEOUT] * 2
    assert {unresolved(pair, id).by_rest for id in ids} == {(1,)}


def test_a_link_that_can_send_goes_before_rest() -> None:
    # The allowance lets five a second leave, and the queue waits for it.
    pair = up(budget=Budget(5))
    ids = [pair.cancel(order) for order in ORDERS[:30]]
    pair.run(10.0)
    assert all(isinstance(outcome(pair, id), Accepted) for id in ids)
    assert not pair.rest_sent


def test_what_a_slow_link_does_not_take_goes_by_rest_from_the_same_budget() -> None:
    link = Config(messages_per_second=2)
    config = SessionConfig(rest_after=0.5, link=link)
    pair = up(config=config, budget=Budget(6))
    begin = pair.clock.now
    ids = [pair.cancel(order) for order in ORDERS[:30]]
    pair.run(8.0)
    assert {type(outcome(pair, id)) for id in ids} == {Accepted}
    by_rest = [id for id in ids if outcome(pair, id).by_rest]
    assert len(by_rest) == len(pair.rest_sent) > 10
    assert set(by_rest).isdisjoint(id for _, frame in pair.sent for id in frame.ids)
    times = sorted([at for at, _ in pair.rest_sent] + [at for at, frame in pair.sent if frame.ids])
    assert all(later >= at + 1.0 for at, later in zip(times, times[6:], strict=False))
    assert times[-1] - begin < 6.0


def test_rest_and_a_debit_of_the_callers_share_the_budget() -> None:
    budget = Budget(2)
    pair = down(budget=budget)
    pair.cancel(ONE)
    budget.debit(2, AFTER - 0.01)
    pair.run(AFTER + 1.0)
    assert not pair.rest_sent
    pair.run(1.0)
    assert [at for at, _ in pair.rest_sent] == [AFTER - 0.01 + 1.05]


def test_a_wait_names_the_time_at_which_rest_may_be_used() -> None:
    session = Session(SessionConfig(rest_after=3.0), jitter=lambda: 0.0)
    session.cancel(ONE, 0.0)
    assert isinstance(session.poll(0.0), Dial)
    assert session.poll(0.0) == Wait(3.0, Timer.REST)
    assert isinstance(session.poll(3.0), RestCancel)
    assert session.poll(3.0) == Wait(13.0, Timer.REQUEST)


def test_nothing_goes_by_rest_after_its_deadline() -> None:
    session = Session(CONFIG, jitter=lambda: 0.0)
    session.cancel(ONE, 0.0, timeout=AFTER)
    drained(session, 0.0)
    assert session.poll(AFTER) == Wait(AFTER, Timer.REQUEST)
    session.handle_timeout(AFTER)
    (found,) = drained(session, AFTER)
    assert isinstance(found, Unresolved)
    assert (found.why, found.sent) == (WhyUnresolved.TIMEOUT, False)


def test_an_urgent_cancel_goes_first() -> None:
    pair = down(budget=Budget(1))
    pair.cancel(ONE)
    pair.cancel(TWO, urgent=True)
    pair.run(5.0)
    assert acts(pair) == ["1", "0"]


def test_a_busy_rest_gets_nothing_until_it_is_free() -> None:
    session = StrictSession(CONFIG, jitter=lambda: 0.0)
    session.cancel(ONE, 0.0)
    session.poll(0.0)
    session.poll(0.0)
    assert session.poll(AFTER, {0}) == Wait(10.0, Timer.NO_LINK)
    assert isinstance(session.poll(AFTER), RestCancel)


class Odd:
    """A container that is not one of Python's."""

    def __init__(self, *busy: int) -> None:
        self.busy = busy

    def __contains__(self, number: object) -> bool:
        return number in self.busy


def test_any_container_may_name_rest_as_busy() -> None:
    session = Session(CONFIG, jitter=lambda: 0.0)
    session.cancel(ONE, 0.0)
    session.poll(0.0)
    assert isinstance(session.poll(AFTER, Odd(0)), Wait)
    assert isinstance(session.poll(AFTER, Odd(1)), RestCancel)


def test_what_waits_behind_a_stalled_link_goes_by_rest() -> None:
    pair = up(config=SessionConfig(rest_after=AFTER, link=Config(silence=None)))
    pair.stall()
    held = pair.cancel(ONE)
    waits = pair.cancel(TWO)
    assert pair.session.poll(pair.clock.now, {2}) == Wait(pair.clock.now + AFTER, Timer.REST)
    pair.run(AFTER)
    assert isinstance(outcome(pair, waits), Accepted)
    assert outcome(pair, waits).by_rest == (1,)
    assert held not in pair.outcomes


def test_of_several_links_any_that_can_send_goes_before_rest() -> None:
    link = Config(silence=None)
    pair = up(config=SessionConfig(rest_after=AFTER, links=2, link=link, backoff_max=0.5))
    pair.run(1.0)
    first, second = pair.links
    pair.stall(first)
    ids = [pair.cancel(order) for order in ORDERS[:4]]
    pair.run(AFTER)
    answered = [id for id in ids if id in pair.outcomes]
    assert len(answered) == 3, "one is held by the stalled link"
    assert not pair.rest_sent
    pair.stall(second)
    held, waits = pair.cancel(ORDERS[4]), pair.cancel(ORDERS[5])
    pair.run(AFTER)
    assert outcome(pair, waits).by_rest == (1,)
    assert held not in pair.outcomes


def test_a_write_that_has_just_begun_is_no_stall() -> None:
    session = Session(SessionConfig(rest_after=0.5), jitter=lambda: 0.0)
    session.poll(0.0)
    session.opened(1, 0.0, login=LOGIN)
    session.poll(0.0)
    session.receive(1, LOGGED_IN, 0.0)
    drained(session, 0.0)
    session.cancel(ONE, 1.0)
    session.cancel(TWO, 1.0)
    # The first write was late, and is in progress: the link takes the second one in a moment.
    assert isinstance(session.poll(2.0), LinkTransmit)
    assert session.poll(2.0, {1}) == Wait(2.5, Timer.REST)
    assert isinstance(session.poll(2.0), LinkTransmit)


def drained(session: Session, now: float) -> list[SessionOutput]:
    outputs: list[SessionOutput] = []
    while not isinstance(output := session.poll(now), Wait):
        outputs.append(output)
    return outputs


# --- answers ---


def test_a_refusal_by_rest_is_a_refusal() -> None:
    pair = down()
    id = pair.cancel(ORDERS[35])
    pair.run(5.0)
    found = outcome(pair, id)
    assert isinstance(found, Rejected)
    assert (found.code, found.code_class) == ("43001", CodeClass.NOT_FOUND)
    assert (found.attempts, found.by_rest, found.sent_at) == (1, (1,), AFTER)


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize(
    ("fault", "code", "message", "hint"),
    [
        (RestFault.DOWN, None, None, "a REST request got no answer: connection reset"),
        (RestFault.CUT_AFTER, None, None, "a REST request got no answer: connection reset"),
        (RestFault.UNAVAILABLE, None, "HTTP 503, and a body that cannot be read", None),
        (RestFault.FAILED_AFTER, "40010", "Request timed out", None),
        (RestFault.EMPTY, None, "HTTP 200, and a body that cannot be read", None),
        (RestFault.CUT_IN_HALF, None, "HTTP 200, and a body that cannot be read", None),
    ],
)
def test_no_answer_and_one_that_proves_nothing_are_unsure(
    policy: Policy, fault: RestFault, code: str | None, message: str | None, hint: str | None
) -> None:
    pair = down(fault)
    id = pair.cancel(ONE, policy=policy)
    pair.run(20.0)
    found = unresolved(pair, id)
    assert (found.sent, found.why, found.by_rest) == (True, WhyUnresolved.UNSURE, (1,))
    assert (found.code, found.message, found.hint) == (code, message, hint)
    assert len(pair.rest_sent) == 1


def test_what_the_exchange_did_not_take_is_queued_again_and_is_no_attempt() -> None:
    pair = down(RestFault.TOO_MANY)
    id = pair.cancel(ONE)
    pair.run(AFTER + 0.1)
    assert not acts(pair)
    pair.refuse_dials = False
    pair.run(5.0)
    found = outcome(pair, id)
    assert isinstance(found, Accepted)
    assert (found.attempts, found.by_rest) == (1, ())
    assert len(pair.rest_sent) == 1
    assert found.sent_at is not None
    assert found.sent_at >= AFTER + 1.0, "the limits pause for a second"


def test_429_as_a_code_is_the_same_as_a_status() -> None:
    session = Session(CONFIG, jitter=lambda: 0.0)
    id = session.cancel(ONE, 0.0)
    assert isinstance(drained(session, AFTER)[-1], RestCancel)
    session.rest_replied(1, (400, '{"code":"429","msg":"Too Many Requests"}'), AFTER)
    assert not drained(session, AFTER)
    assert session.withdraw(id, AFTER)


def test_rest_is_tried_again_later() -> None:
    pair = down(RestFault.TOO_MANY)
    ids = [pair.cancel(ONE), pair.cancel(TWO)]
    pair.run(2 * AFTER + 1.0)
    assert [outcome(pair, id).by_rest for id in ids] == [(1,), (1,)]
    assert [at for at, _ in pair.rest_sent] == [AFTER, AFTER, 2 * AFTER]


def test_a_request_that_was_never_sent_is_no_attempt() -> None:
    pair = down()
    pair.refuse_rest = True
    id = pair.cancel(ONE)
    pair.run(9.0)
    assert id not in pair.outcomes
    pair.run(2.0)
    found = unresolved(pair, id)
    assert (found.why, found.sent, found.by_rest) == (WhyUnresolved.NO_LINK, False, ())
    assert found.resolved_at == 10.0


def test_what_came_back_in_another_order_waits_no_longer_without_a_link() -> None:
    session = Session(SessionConfig(rest_after=AFTER), jitter=lambda: 0.0)
    drained(session, 0.0)
    ids = [session.cancel(ONE, 0.0), session.cancel(TWO, 1.0)]
    requests = [one for one in drained(session, 3.0) if isinstance(one, RestCancel)]
    assert [request.id for request in requests] == ids
    session.rest_failed(2, "no route", 3.5, unsent=True)
    session.rest_failed(1, "no route", 3.6, unsent=True)
    session.handle_timeout(10.0)
    (found,) = [one for one in drained(session, 10.0) if isinstance(one, Unresolved)]
    assert (found.id, found.why) == (ids[0], WhyUnresolved.NO_LINK)


def test_a_cancel_that_a_link_lost_is_sent_again_by_rest() -> None:
    pair = up()
    pair.exchange.inject(Fault.DROP_BEFORE)
    pair.refuse_dials = True
    id = pair.cancel(ONE, policy=Policy.RESEND)
    pair.run(5.0)
    found = outcome(pair, id)
    assert isinstance(found, Accepted)
    assert (found.attempts, found.by_rest) == (2, (2,))


def test_after_an_attempt_by_a_link_not_found_by_rest_proves_nothing() -> None:
    pair = up()
    pair.exchange.inject(Fault.DROP_AFTER)
    pair.refuse_dials = True
    id = pair.cancel(ONE, policy=Policy.RESEND)
    pair.run(5.0)
    found = unresolved(pair, id)
    assert (found.attempts, found.by_rest) == (2, (2,))
    assert (found.sent, found.why, found.code) == (True, WhyUnresolved.UNSURE, "43001")


def test_rest_keeps_the_interval_between_two_cancels_of_an_order() -> None:
    config = SessionConfig(rest_after=0.1, backoff_max=0.5)
    pair = up(config=config)
    pair.exchange.inject(Fault.DROP_BEFORE)
    pair.refuse_dials = True
    begin = pair.clock.now
    id = pair.cancel(ONE, policy=Policy.RESEND)
    pair.run(5.0)
    assert outcome(pair, id).sent_at == begin + 1.0
    assert isinstance(outcome(pair, id), Accepted)


def test_an_order_with_a_client_oid_alone_goes_by_rest_once() -> None:
    pair = down()
    id = pair.cancel(ALONE)
    pair.run(5.0)
    assert isinstance(outcome(pair, id), Accepted)
    [(_, request)] = pair.rest_sent
    assert json.loads(request.request.body) == {"symbol": "BTCUSDT", "clientOid": "mine-1"}


def test_a_unified_account_goes_by_its_own_rest() -> None:
    order = CancelOrder(order_id="7", inst_type=InstType.USDT_FUTURES)
    exchange = ScriptedExchange(
        [order], credentials=KEY, config=ExchangeConfig(dialect=Dialect.UNIFIED)
    )
    pair = down(exchange=exchange)
    id = pair.cancel(order)
    pair.run(5.0)
    assert isinstance(outcome(pair, id), Accepted)
    assert pair.rest_sent[0][1].request.path == "/api/v3/trade/cancel-order"


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("inst_type", [None, *InstType])
@pytest.mark.parametrize("name", [{"order_id": "1"}, {"client_oid": "a"}])
def test_rest_can_name_every_order_that_a_session_takes(
    dialect: Dialect, inst_type: InstType | None, name: dict[str, str]
) -> None:
    session = Session(CONFIG, Codec(dialect=dialect), jitter=lambda: 0.0)
    order = CancelOrder("BTCUSDT", inst_type=inst_type, **name)
    try:
        session.cancel(order, 0.0)
    except ValidationError:
        assert (dialect, inst_type) == (Dialect.CLASSIC, InstType.MARGIN)
    else:
        assert isinstance(drained(session, AFTER)[-1], RestCancel)


def test_an_answer_that_comes_too_late_is_a_late_reply() -> None:
    pair = down(config=SessionConfig(rest_after=AFTER, link=Config(answer_timeout=1.0)))
    pair.latency = 1.0
    id = pair.cancel(ONE)
    pair.run(AFTER + 1.5)
    assert unresolved(pair, id).why is WhyUnresolved.TIMEOUT
    assert unresolved(pair, id).sent
    pair.run(1.0)
    late = pair.events[-1]
    assert isinstance(late, LateReply)
    assert (late.id, late.order, late.code_class) == (id, ONE, CodeClass.ACCEPTED)
    assert json.loads(late.text)["msg"] == "success"


def test_a_second_report_and_one_after_a_failure_are_ignored() -> None:
    session = Session(SessionConfig(rest_after=AFTER, link=Config(late_ids=1)), jitter=lambda: 0.0)
    for order in ORDERS[:3]:
        session.cancel(order, 0.0)
    drained(session, AFTER)
    session.handle_timeout(20.0)
    assert len(drained(session, 20.0)) == 3
    session.rest_replied(1, (200, b""), 20.0)  # forgotten
    session.rest_failed(3, "reset", 20.0)
    session.rest_replied(3, (200, b""), 20.0)
    assert not [one for one in drained(session, 20.0) if isinstance(one, LateReply)]


WRONG_REPORTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no number": (lambda session: session.rest_replied("1", (200, b""), 9.0), "number must be the"),
    "another number": (lambda session: session.rest_replied(2, (200, b""), 9.0), "with the number 2"),
    "no failure of it": (lambda session: session.rest_failed(0, "reset", 9.0), "with the number 0"),
    "no pair": (lambda session: session.rest_replied(1, 200, 9.0), "reply must be the status"),
    "no status": (lambda session: session.rest_replied(1, (True, b""), 9.0), "reply must be the"),
    "no body": (lambda session: session.rest_replied(1, (200, None), 9.0), "reply must be the"),
    "ids": (lambda session: session.rest_failed(1, "", 9.0, unsent=["a"]), "unsent must be True or"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_REPORTS)
def test_a_wrong_report_is_refused_and_changes_nothing(name: str) -> None:
    call, message = WRONG_REPORTS[name]
    session = Session(CONFIG, jitter=lambda: 0.0)
    session.cancel(ONE, 0.0)
    drained(session, AFTER)
    with pytest.raises(LocalProtocolError, match=message):
        call(session)
    session.rest_replied(1, (200, b'{"code":"00000"}'), AFTER)
    (found,) = drained(session, AFTER)
    assert isinstance(found, Accepted)


# --- refused logins ---


def test_nothing_goes_by_rest_between_a_refused_login_and_an_accepted_one() -> None:
    pair = down()
    pair.refuse_dials = False
    pair.exchange.refuse_logins(5, "30005")
    id = pair.cancel(ONE)
    pair.run(4.0)
    assert pair.session.poll(pair.clock.now).__class__ is Wait
    assert not pair.rest_sent
    pair.exchange.end_maintenance()
    pair.run(5.0)
    assert outcome(pair, id).by_rest == ()
    pair.refuse_dials = True
    pair.drop()
    again = pair.cancel(TWO)
    pair.run(5.0)
    assert outcome(pair, again).by_rest == (1,)


@pytest.mark.parametrize(("code", "by_rest"), [("45001", True), ("30005", False), ("99999", False)])
def test_a_busy_exchange_has_refused_no_login(code: str, by_rest: bool) -> None:
    pair = down(config=SessionConfig(rest_after=AFTER, backoff_max=0.5, no_link_timeout=4.0))
    pair.refuse_dials = False
    pair.exchange.refuse_logins(9, code)
    pair.run(1.0)
    pair.hold_dials = True
    id = pair.cancel(ONE)
    pair.run(5.0)
    assert bool(pair.rest_sent) is by_rest
    assert isinstance(outcome(pair, id), Accepted) is by_rest


def test_a_refused_signature_is_a_refusal_and_ends_the_use_of_rest() -> None:
    pair = down()
    pair.credentials = Credentials("key", "another secret", "passphrase")
    ids = [pair.cancel(ONE), pair.cancel(TWO)]
    pair.run(AFTER)
    first = outcome(pair, ids[0])
    assert isinstance(first, Rejected)
    assert first.code_class is CodeClass.LOGIN
    assert ids[1] in pair.outcomes or len(pair.rest_sent) == 2
    third = pair.cancel(ORDERS[2])
    pair.run(12.0)
    assert unresolved(pair, third).why is WhyUnresolved.NO_LINK


@pytest.mark.parametrize(
    ("codes", "why"),
    [(["30011"], WhyEnded.REFUSED), (["30013", "30013"], WhyEnded.STAMP_REFUSED)],
)
def test_a_refused_login_ends_a_session_when_rest_has_answered(
    codes: list[str], why: WhyEnded
) -> None:
    session = Session(SessionConfig(rest_after=0.1), jitter=lambda: 0.0)
    id = session.cancel(ONE, 0.0)
    waits = session.cancel(TWO, 0.0)
    drained(session, 0.0)
    assert isinstance(session.poll(0.1), RestCancel)
    now, settled = 0.1, list[Unresolved]()
    for link, code in enumerate(codes, 1):
        session.opened(link, now, login=LOGIN)
        session.poll(now, {0})
        session.receive(link, f'{{"event":"error","code":{code},"msg":"no"}}', now)
        now += 1.0
        settled = [one for one in drained(session, now) if isinstance(one, Unresolved)]
    assert [one.id for one in settled] == [waits]
    assert session.state is SessionState.CLOSING
    session.rest_replied(1, (200, b'{"code":"00000"}'), now)
    found, ended = drained(session, now)
    assert isinstance(found, Accepted)
    assert found.id == id
    assert isinstance(ended, Ended)
    assert ended.why is why


# --- the end ---


def closing(now: float = AFTER, **options: Any) -> tuple[Session, str]:
    """A session that was closed while one cancel is out by REST."""
    session = Session(SessionConfig(rest_after=AFTER, **options), jitter=lambda: 0.0)
    id = session.cancel(ONE, 0.0)
    drained(session, AFTER)
    session.close(now)
    assert session.state is SessionState.CLOSING
    return session, id


def test_close_waits_for_the_answer() -> None:
    session, id = closing()
    assert {type(one).__name__ for one in drained(session, AFTER)} == {"LinkHangup", "LinkClosed"}
    assert session.poll(AFTER) == Wait(AFTER + 5.0, Timer.DRAIN)
    session.rest_replied(1, (200, b'{"code":"00000"}'), 3.0)
    found, ended = drained(session, 3.0)
    assert isinstance(found, Accepted)
    assert found.id == id
    assert ended == Ended(why=WhyEnded.ASKED, detail="", code=None)


def test_close_gives_up_what_is_not_answered_in_time() -> None:
    session, id = closing()
    drained(session, AFTER)
    session.handle_timeout(AFTER + 5.0)
    found, ended = drained(session, AFTER + 5.0)
    assert isinstance(found, Unresolved)
    assert (found.id, found.sent, found.why) == (id, True, WhyUnresolved.CLOSED)
    assert isinstance(ended, Ended)
    session.rest_replied(1, (200, b'{"code":"00000"}'), 8.0)
    assert session.poll(8.0) == Wait(None, None)


def test_an_answer_deadline_comes_before_the_end_of_a_long_close() -> None:
    session, id = closing(link=Config(answer_timeout=1.0, drain_timeout=None))
    drained(session, AFTER)
    assert session.poll(AFTER) == Wait(AFTER + 1.0, Timer.REQUEST)
    session.handle_timeout(AFTER + 1.0)
    found, ended = drained(session, AFTER + 1.0)
    assert isinstance(found, Unresolved)
    assert (found.id, found.why) == (id, WhyUnresolved.TIMEOUT)
    assert isinstance(ended, Ended)


def test_a_second_close_ends_at_once() -> None:
    session, _ = closing()
    drained(session, AFTER)
    session.close(3.0)
    found, ended = drained(session, 3.0)
    assert isinstance(found, Unresolved)
    assert (found.sent, found.why) == (True, WhyUnresolved.CLOSED)
    assert isinstance(ended, Ended)


@pytest.mark.parametrize("report", ["unsent", "429"])
def test_what_rest_did_not_take_while_closing_was_not_sent(report: str) -> None:
    session, _ = closing()
    drained(session, AFTER)
    if report == "429":
        session.rest_replied(1, (429, b""), 3.0)
    else:
        session.rest_failed(1, "refused", 3.0, unsent=True)
    found, ended = drained(session, 3.0)
    assert isinstance(found, Unresolved)
    assert (found.sent, found.why, found.by_rest) == (False, WhyUnresolved.CLOSED, ())
    assert isinstance(ended, Ended)


def test_a_close_that_sends_what_is_queued_sends_by_rest() -> None:
    pair = down()
    id = pair.cancel(ONE)
    pair.close("send")
    pair.run(AFTER)
    assert isinstance(outcome(pair, id), Accepted)
    assert pair.session.state is SessionState.ENDED


def test_nothing_goes_by_rest_after_the_time_of_such_a_close() -> None:
    session = Session(CONFIG, jitter=lambda: 0.0)
    session.cancel(ONE, 0.0)
    drained(session, 0.0)
    session.close(0.0, "send", within=AFTER)
    assert session.poll(AFTER) == Wait(AFTER, Timer.DRAIN)


def test_an_interruption_ends_what_is_out_as_sent() -> None:
    session = Session(CONFIG, jitter=lambda: 0.0)
    ids = [session.cancel(ONE, 0.0), session.cancel(TWO, 0.0)]
    drained(session, 0.0)
    assert isinstance(session.poll(AFTER), RestCancel)
    session._in_call = True
    session.rest_failed(1, "reset", AFTER)
    found = [one for one in drained(session, AFTER) if isinstance(one, Unresolved)]
    assert [(one.id, one.why, one.sent, one.by_rest) for one in found] == [
        (ids[0], WhyUnresolved.INTERRUPTED, True, (1,)),
        (ids[1], WhyUnresolved.INTERRUPTED, False, ()),
    ]


# --- commands meanwhile ---


def test_what_is_out_cannot_be_withdrawn() -> None:
    pair = down(RestFault.TOO_MANY, latency=0.5)
    id = pair.cancel(ONE)
    pair.run(AFTER + 0.1)
    assert not pair.withdraw(id)
    pair.run(1.0)
    assert pair.withdraw(id)
    assert unresolved(pair, id).why is WhyUnresolved.WITHDRAWN


def test_a_grant_lets_leave_what_waits_for_rest() -> None:
    budget = Budget(0)
    pair = down(budget=budget, config=SessionConfig(rest_after=AFTER, no_link_timeout=None))
    ids = [pair.cancel(ONE), pair.cancel(TWO)]
    assert pair.session.waiting_for_grant == 0
    pair.run(AFTER)
    assert pair.session.waiting_for_grant == 2
    budget.grant(1, inf, AFTER)
    pair.start()
    assert pair.session.waiting_for_grant == 1
    assert isinstance(outcome(pair, ids[0]), Accepted)
    pair.exchange.refuse_logins(9, "30005")
    pair.refuse_dials = False
    pair.run(3.0)
    assert pair.session.waiting_for_grant == 0, "after a refused login"


def test_rest_after_must_be_less_than_the_time_without_a_link() -> None:
    with pytest.raises(ValidationError, match=r"^rest_after must be less than no_link_timeout"):
        SessionConfig(rest_after=10.0)
    with pytest.raises(ValidationError, match=r"^rest_after must be"):
        SessionConfig(rest_after=0.0)
    assert SessionConfig(rest_after=20.0, no_link_timeout=None).rest_after == 20.0


def test_reports_of_a_request_are_checked_by_a_strict_session() -> None:
    from bitget_proto.testing import DriverError

    session = StrictSession(CONFIG, jitter=lambda: 0.0)
    session.cancel(ONE, 0.0)
    drained(session, 0.0)
    drained(session, AFTER)
    session.rest_failed(1, "reset", AFTER)
    drained(session, AFTER)
    with pytest.raises(DriverError, match="a second time for the REST request 1"):
        session.rest_replied(1, (200, b""), AFTER)
