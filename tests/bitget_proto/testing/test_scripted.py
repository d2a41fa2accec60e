from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    CodeClass,
    Config,
    Credentials,
    ExchangeError,
    GoingAway,
    Hangup,
    InstType,
    LateReply,
    LoginRejected,
    Ready,
    Rejected,
    State,
    Unrecognised,
    Unresolved,
    ValidationError,
    Wait,
    WhyClosed,
    WhyUnrecognised,
    WhyUnresolved,
    encode_cancel,
    sign_login,
)
from bitget_proto.testing import ABORT, Act, Fault, Pair, ScriptedExchange, StrictConnection
from bitget_proto.testing._exchange.exchange_connection import LENIENT_HINT
from bitget_proto.testing._exchange.logins import Refusal, invalid_login
from bitget_proto.testing._exchange.scripted_link import ScriptedOutput

KEY = Credentials("key", "secret", "passphrase")
BOTH = CancelOrder("BTCUSDT", order_id="1", client_oid="mine", inst_type=InstType.SPOT)


def ready(exchange: ScriptedExchange) -> Pair:
    pair = Pair(exchange=exchange)
    pair.open()
    assert pair.events.pop() == Ready()
    return pair


def after(pair: Pair, *faults: Fault) -> str:
    """Cancel the order with these faults and wait for the outcome."""
    pair.exchange.inject(*faults)
    return pair.cancel(BOTH)


def test_a_live_order_is_cancelled_once() -> None:
    pair = ready(ScriptedExchange([BOTH]))
    assert pair.exchange.live == (BOTH,)
    first = pair.cancel(BOTH)
    pair.run(1.0)
    second = pair.cancel(BOTH)
    assert isinstance(pair.outcomes[first], Accepted)
    outcome = pair.outcomes[second]
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.code_class) == ("43001", CodeClass.NOT_FOUND)
    assert not pair.exchange.live
    assert pair.exchange.log == [
        Act(at=0.0, id=first, order=BOTH, cancelled=True, code="0"),
        Act(at=1.0, id=second, order=BOTH, cancelled=False, code="43001"),
    ]


def test_an_answer_has_the_exchanges_own_time() -> None:
    pair = ready(ScriptedExchange([BOTH], epoch=1_763_958_366.0))
    pair.run(2.5)
    outcome = pair.outcomes[pair.cancel(BOTH)]
    assert isinstance(outcome, Accepted)
    assert outcome.exchange_ts == 1_763_958_368_500


def test_either_id_finds_the_order_and_order_id_takes_precedence() -> None:
    pair = ready(ScriptedExchange([BOTH, CancelOrder("BTCUSDT", order_id="2")]))
    assert isinstance(
        pair.outcomes[pair.cancel(CancelOrder("BTCUSDT", client_oid="mine"))], Accepted
    )
    assert isinstance(pair.outcomes[pair.cancel(CancelOrder("BTCUSDT", order_id="1"))], Rejected)
    assert isinstance(
        pair.outcomes[pair.cancel(CancelOrder("BTCUSDT", order_id="2", client_oid="unknown"))],
        Accepted,
    )
    assert isinstance(pair.outcomes[pair.cancel(CancelOrder("ETHUSDT", order_id="2"))], Rejected)


def test_a_second_cancel_of_an_order_within_a_second_is_throttled() -> None:
    pair = ready(ScriptedExchange())
    pair.cancel(BOTH)
    pair.run(0.5)
    outcome = pair.outcomes[pair.cancel(BOTH)]
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.code_class) == ("45129", CodeClass.THROTTLED)


def test_all_links_share_the_allowance_of_the_account() -> None:
    exchange = ScriptedExchange(cancels_per_second=3)
    one, other = ready(exchange), ready(exchange)
    codes: list[str] = []
    for number, pair in enumerate((one, other, one, other)):
        outcome = pair.outcomes[pair.cancel(CancelOrder("BTCUSDT", order_id=str(number)))]
        assert isinstance(outcome, Rejected)
        codes.append(outcome.code)
    assert codes == ["43001", "43001", "43001", "429"]


def test_refusals_are_scripted_by_order_id() -> None:
    pair = ready(ScriptedExchange([BOTH], refusals={"1": "45056"}))
    outcome = pair.outcomes[pair.cancel(BOTH)]
    assert isinstance(outcome, Rejected)
    assert outcome.code_class is CodeClass.NOT_CANCELLABLE
    assert pair.exchange.live == (BOTH,)


def test_the_memory_of_recent_cancels_is_bounded() -> None:
    exchange = ScriptedExchange(cancels_per_second=None)
    for number in range(10_050):
        exchange._trading.act("id", CancelOrder("BTCUSDT", order_id=str(number)), 0.0, None)
    assert len(exchange._book._last_cancel) == 10_000


@pytest.mark.parametrize(
    ("login", "code"),
    [
        (sign_login(Credentials("other", "secret", "passphrase"), 1_763_958_366), "30011"),
        (sign_login(Credentials("key", "secret", "other"), 1_763_958_366), "30012"),
        (sign_login(KEY, 1_763_958_366 - 31), "30014"),
        (sign_login(KEY, 1_763_958_366 + 31), "30014"),
        (sign_login(Credentials("key", "other", "passphrase"), 1_763_958_366), "30015"),
    ],
    ids=["key", "passphrase", "stamp behind", "stamp ahead", "signature"],
)
def test_a_login_is_checked_when_the_exchange_has_credentials(login: object, code: str) -> None:
    pair = Pair(exchange=ScriptedExchange(credentials=KEY))
    pair.login = login  # type: ignore[assignment]  # a SignedLogin; its repr would be a bad name for a test
    pair.open()
    rejected, closed = pair.events
    assert isinstance(rejected, LoginRejected)
    assert rejected.code == code
    assert isinstance(closed, Closed)
    assert closed.why is WhyClosed.LOGIN_REFUSED
    assert "secret" not in repr(pair.events)


@pytest.mark.parametrize("stamp", ["", "x", "1763958366000", "١"])
def test_a_timestamp_that_is_not_in_seconds_is_refused(stamp: str) -> None:
    now = 1_763_958_366
    right = sign_login(KEY, now)
    if stamp:
        login = type(right)(right.api_key, right.passphrase, stamp, right.sign)
        refused = invalid_login(login, KEY, now, lenient=False)
        hint = LENIENT_HINT if len(stamp) == 13 else ""  # in milliseconds
        assert refused == Refusal("30013", f"Invalid ACCESS_TIMESTAMP{hint}")
    assert invalid_login(right, KEY, now, lenient=False) is None
    assert invalid_login(right, KEY, now + 30.0, lenient=False) is None


def test_an_answer_after_the_timeout_comes_after_the_outcome() -> None:
    pair = ready(ScriptedExchange([BOTH], late_by=12.0))
    id = after(pair, Fault.LATE)
    pair.run(12.0)
    outcome, late = pair.events
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.sent, outcome.why) == (id, True, WhyUnresolved.TIMEOUT)
    assert isinstance(late, LateReply)
    assert (late.id, late.order, late.code_class) == (id, BOTH, CodeClass.ACCEPTED)


def test_an_answer_before_the_timeout_is_the_outcome() -> None:
    pair = ready(ScriptedExchange([BOTH], late_by=2.0))
    id = after(pair, Fault.LATE)
    assert not pair.outcomes
    pair.run(2.0)
    assert isinstance(pair.outcomes[id], Accepted)


@pytest.mark.parametrize(
    ("fault", "kind", "why"),
    [
        (Fault.DUPLICATE, Unrecognised, WhyUnrecognised.UNKNOWN_ID),
        (Fault.GARBAGE, Unrecognised, WhyUnrecognised.MALFORMED),
        (Fault.WRONG_TYPES, Unrecognised, WhyUnrecognised.NO_SINGLE_ID),
        (Fault.UNKNOWN_ID, Unrecognised, WhyUnrecognised.UNKNOWN_ID),
        (Fault.NO_ARG, ExchangeError, None),
        (Fault.THROTTLE, ExchangeError, None),
        (Fault.GOING_AWAY, GoingAway, None),
    ],
)
def test_each_fault_causes_its_event(fault: Fault, kind: type, why: WhyUnrecognised | None) -> None:
    pair = ready(ScriptedExchange([BOTH], grace=100.0))
    id = after(pair, fault)
    events = [event for event in pair.events if isinstance(event, kind)]
    assert len(events) == 1
    assert getattr(events[0], "why", None) is why
    pair.run(10.0)
    outcome = pair.outcomes[id]
    if fault in (Fault.DUPLICATE, Fault.GOING_AWAY):
        assert isinstance(outcome, Accepted)
    else:
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why) == (True, WhyUnresolved.TIMEOUT)
    assert [act.cancelled for act in pair.exchange.log] == (
        [] if fault is Fault.THROTTLE else [True]
    )


def test_silent_and_unsure_leave_a_cancel_unresolved_after_the_act() -> None:
    pair = ready(ScriptedExchange([BOTH, CancelOrder("BTCUSDT", order_id="2")]))
    silent = after(pair, Fault.SILENT, Fault.UNSURE)
    unsure = pair.cancel(CancelOrder("BTCUSDT", order_id="2"))
    outcome = pair.outcomes[unsure]
    assert isinstance(outcome, Unresolved)
    assert (outcome.why, outcome.code, outcome.message) == (
        WhyUnresolved.UNSURE,
        "40010",
        "Request timed out",
    )
    pair.run(10.0)
    assert isinstance(pair.outcomes[silent], Unresolved)
    assert [act.cancelled for act in pair.exchange.log] == [True, True]


@pytest.mark.parametrize(("fault", "acts"), [(Fault.DROP_BEFORE, []), (Fault.DROP_AFTER, [True])])
def test_a_drop_before_and_after_the_act_look_the_same_to_the_client(
    fault: Fault, acts: list[bool]
) -> None:
    pair = ready(ScriptedExchange([BOTH]))
    id = after(pair, fault)
    outcome, closed = pair.events
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.sent, outcome.why) == (id, True, WhyUnresolved.LOST)
    assert isinstance(closed, Closed)
    assert closed.why is WhyClosed.LOST
    assert [act.cancelled for act in pair.exchange.log] == acts


def test_going_away_ends_in_a_drop_after_the_grace() -> None:
    pair = ready(ScriptedExchange([BOTH], grace=20.0))
    after(pair, Fault.GOING_AWAY)
    pair.run(19.9)
    assert pair.client.state is State.READY
    pair.run(0.1)
    assert (pair.client.state, pair.link.state) == (State.CLOSED, State.CLOSED)


def test_each_fault_applies_to_one_request_in_order() -> None:
    pair = ready(
        ScriptedExchange(
            [BOTH, CancelOrder("BTCUSDT", order_id="2"), CancelOrder("BTCUSDT", order_id="3")]
        )
    )
    pair.exchange.inject(Fault.SILENT)
    pair.exchange.inject(None, Fault.SILENT)
    for number in "123":
        pair.cancel(CancelOrder("BTCUSDT", order_id=number))
    assert [act.fault for act in pair.exchange.log] == [Fault.SILENT, None, Fault.SILENT]
    assert len(pair.outcomes) == 1


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault.SILENT, State.AUTHENTICATING),
        (Fault.DROP_BEFORE, State.CLOSED),
        (Fault.DROP_AFTER, State.CLOSED),
        (Fault.GOING_AWAY, State.READY),
        (Fault.THROTTLE, State.READY),
        (Fault.GARBAGE, State.READY),
    ],
)
def test_a_fault_at_the_login(fault: Fault, state: State) -> None:
    pair = Pair(exchange=ScriptedExchange())
    pair.exchange.inject_login(fault)
    pair.open()
    assert pair.client.state is state
    if fault is Fault.SILENT:
        pair.run(10.0)
        assert pair.events == [
            Closed(why=WhyClosed.LOGIN_TIMEOUT, detail="no answer to the login within 10.0 s")
        ]


def test_an_invalid_fault_is_refused() -> None:
    exchange = ScriptedExchange()
    with pytest.raises(
        ValidationError, match=r"^fault must be None or one of Fault\.LATE, .*; got 'silent'"
    ):
        exchange.inject(Fault.LATE, "silent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValidationError, match=r"one of Fault\.SILENT, .*; got a value of type Fault"
    ):
        exchange.inject_login(Fault.DUPLICATE)
    assert exchange._links.faults.pop() is None
    assert exchange._links.login_faults.pop() is None


@pytest.mark.parametrize("code", ["0", "00", "abc", "", 43001])
def test_an_invalid_code_for_a_refusal_is_refused(code: Any) -> None:
    with pytest.raises(
        ValidationError, match="code must be a decimal string other than '0', such as '43001'; got"
    ):
        ScriptedExchange(refusals={"1": code})


def test_unknown_requests_are_refused_and_resolve_no_cancel() -> None:
    pair = ready(ScriptedExchange([BOTH]))
    pair.exchange.inject(Fault.SILENT)
    pair.cancel(BOTH)
    pair.send('{"op":"subscribe","args":[]}')
    (error,) = pair.events
    assert isinstance(error, ExchangeError)
    assert error.code == "30001"


def test_delayed_answers_are_dropped_with_the_connection() -> None:
    pair = ready(ScriptedExchange([BOTH], late_by=3.0))
    after(pair, Fault.LATE)
    pair.drop()
    pair.run(10.0)
    assert len([event for event in pair.events if isinstance(event, Closed)]) == 1
    assert not [event for event in pair.events if isinstance(event, LateReply)]
    closing = ready(ScriptedExchange([BOTH], late_by=3.0))
    after(closing, Fault.LATE)
    closing.link.close(closing.clock.now)
    closing._wire.drain()
    closing.settle()
    assert closing.client.state is State.CLOSED
    assert "closed" in repr(closing.link)


def test_a_late_answer_does_not_outlive_the_link() -> None:
    exchange = ScriptedExchange([BOTH], late_by=3.0)
    pair = Pair(StrictConnection(Config(ping_interval=None)), exchange)
    pair.open()
    after(pair, Fault.LATE)
    # The link reaches its maximum age exactly when the answer is due.
    pair.link.connection._lifetime_at = 3.0
    pair.run(3.0)
    assert pair.link.state is State.CLOSED
    assert pair.client.state is State.CLOSED


def test_links_has_the_open_links_of_the_exchange() -> None:
    exchange = ScriptedExchange()
    first, second, third = exchange.link(), exchange.link(), exchange.link()
    third.close(0.0)
    for link in (first, second, third):
        link.opened(0.0)
    assert exchange.links == (first, second)
    first.close(1.0)
    assert [link.number for link in exchange.links] == [second.number]


def test_requests_behind_one_that_ends_the_link_have_no_effect() -> None:
    pair = ready(ScriptedExchange([BOTH, CancelOrder("BTCUSDT", order_id="2")]))
    pair.exchange.inject(Fault.DROP_AFTER)
    for number in "12":
        pair.link.receive(encode_cancel(CancelOrder("BTCUSDT", order_id=number), number), 0.0)
    outputs: list[ScriptedOutput] = []
    while not outputs or not isinstance(outputs[-1], Wait):
        outputs.append(pair.link.poll(0.0))
    assert outputs[0] == Hangup(code=ABORT, reason="drop after")
    assert [act.id for act in pair.exchange.log] == ["1"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: ScriptedExchange(config=5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            "config must be an ExchangeConfig, or None; got the int 5",
        ),
        (
            lambda: ScriptedExchange(credentials="key"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            "credentials must be a Credentials, or None; got 'key'",
        ),
    ],
)
def test_an_invalid_argument_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValidationError, match=f"^{why}$"):
        make()
