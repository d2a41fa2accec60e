from __future__ import annotations

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Config,
    Connection,
    Credentials,
    LocalProtocolError,
    Ready,
    State,
    Transmit,
    Unresolved,
    WhyClosed,
    WhyUnresolved,
    sign_login,
)
from bitget_proto.testing import Fault, Pair, ScriptedExchange, StrictConnection, VirtualClock

ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(30)]


def ready(latency: float = 0.0) -> Pair:
    pair = Pair(exchange=ScriptedExchange(ORDERS), latency=latency)
    pair.open()
    pair.run(2 * latency)
    assert pair.events.pop() == Ready()
    return pair


def test_without_latency_a_cancel_is_answered_at_once() -> None:
    pair = ready()
    id = pair.cancel(ORDERS[0])
    assert isinstance(pair.outcomes[id], Accepted)
    assert isinstance(pair.client, StrictConnection)
    assert "at 0.0" in repr(pair)


def test_a_message_takes_the_latency_in_each_direction() -> None:
    pair = ready(latency=0.25)
    id = pair.cancel(ORDERS[0])
    pair.run(0.499)
    assert not pair.outcomes
    pair.run(0.001)
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted)
    assert (outcome.taken_at, outcome.sent_at, outcome.resolved_at) == (0.5, 0.5, 1.0)


def test_messages_keep_their_order_with_any_latencies() -> None:
    latencies = iter([0.0, 0.0, 0.3, 0.1, 0.0, 0.0])
    pair = Pair(exchange=ScriptedExchange(ORDERS), latency=lambda: next(latencies))
    pair.open()
    first, second = pair.cancel(ORDERS[0]), pair.cancel(ORDERS[1])
    pair.run(1.0)
    assert list(pair.outcomes) == [first, second]
    assert [act.at for act in pair.exchange.log] == [0.3, 0.3]


def test_the_rate_limit_holds_in_virtual_time() -> None:
    pair = ready()
    for order in ORDERS:
        pair.cancel(order)
    assert len(pair.outcomes) == 9  # the login was the tenth message of this second
    pair.run(2.1)
    assert len(pair.outcomes) == 29
    assert {at for at, _ in pair.sent} == {0.0, 1.05, 2.1}


def test_a_drop_is_noticed_by_both_ends_once() -> None:
    pair = ready(latency=0.25)
    id = pair.cancel(ORDERS[0])
    pair.drop("cable cut")
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert outcome.sent
    assert pair.events[-1] == Closed(why=WhyClosed.LOST, detail="cable cut")
    assert pair.link.state is State.CLOSED
    pair.drop()
    pair.run(60.0)
    assert len(pair.events) == 2
    assert pair.exchange.log == []


def test_a_stalled_write_affects_one_cancel_and_the_others_stay_unsent() -> None:
    pair = ready()
    pair.stall()
    ids = [pair.cancel(order) for order in ORDERS[:3]]
    assert len(pair.sent) == 1  # the login
    pair.drop()
    outcomes = [pair.outcomes[id] for id in ids]
    assert [outcome.sent for outcome in outcomes if isinstance(outcome, Unresolved)] == [
        False,
        False,
        False,
    ]
    assert pair.exchange.log == []


def test_a_stalled_write_that_completes_is_sent() -> None:
    pair = ready()
    pair.stall()
    ids = [pair.cancel(order) for order in ORDERS[:3]]
    pair.run(3.0)
    pair.resume()
    assert [type(pair.outcomes[id]) for id in ids] == [Accepted, Accepted, Accepted]
    pair.resume()


def test_a_stalled_write_is_abandoned_when_the_client_hangs_up() -> None:
    pair = ready(latency=0.25)
    pair.stall()
    id = pair.cancel(ORDERS[0])
    pair.close()
    pair.run_until_closed()
    pair.resume()
    pair.run(1.0)
    assert isinstance(pair.outcomes[id], Unresolved)
    assert pair.exchange.log == []


def test_a_dead_route_is_detected_by_the_missing_pong() -> None:
    pair = ready()
    pair.freeze()
    id = pair.cancel(ORDERS[0], timeout=100.0)
    pair.run_until_closed()
    assert pair.clock.now == 5.0
    outcome, closed = pair.events
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.why) == (id, WhyUnresolved.LOST)
    assert isinstance(closed, Closed)
    assert closed.why is WhyClosed.NO_PONG


def test_frames_held_by_a_frozen_route_arrive_when_it_thaws() -> None:
    pair = ready()
    pair.freeze()
    id = pair.cancel(ORDERS[0])
    pair.run(4.0)
    pair.thaw()
    assert isinstance(pair.outcomes[id], Accepted)


def test_pings_keep_an_idle_connection_open() -> None:
    pair = ready()
    pair.run(1000.0)
    assert pair.client.state is State.READY
    assert [at for at, transmit in pair.sent if transmit.text == "ping"][:3] == [30.0, 60.0, 90.0]
    assert pair.events == []


def test_close_arrives_after_the_frames_before_it() -> None:
    pair = ready(latency=0.25)
    id = pair.cancel(ORDERS[0])
    pair.close()
    pair.run(0.25)
    assert (pair.client.state, pair.link.state) == (State.DRAINING, State.READY)
    pair.run(0.25)
    assert isinstance(pair.outcomes[id], Accepted)
    assert (pair.client.state, pair.link.state) == (State.CLOSED, State.READY)
    pair.run(0.25)
    assert (pair.client.state, pair.link.state) == (State.CLOSED, State.CLOSED)


def test_run_until_closed_raises_when_it_can_never_close() -> None:
    pair = Pair(
        StrictConnection(Config(ping_interval=None)),
        ScriptedExchange(config=None),
        clock=VirtualClock(7.0),
    )
    with pytest.raises(
        LocalProtocolError,
        match=r"^nothing is scheduled, and the client is new: close it or drop the network$",
    ):
        pair.run_until_closed()


def test_the_exchange_can_send_any_text_at_any_time() -> None:
    pair = ready()
    pair.say("pong")
    pair.say('{"action":"snapshot"}')
    assert len(pair.events) == 1


def test_a_plain_connection_and_a_custom_login_are_accepted() -> None:
    login = sign_login(Credentials("k", "s", "p"), 1_763_958_366)
    pair = Pair(Connection(), ScriptedExchange(ORDERS), login=login)
    pair.open()
    assert pair.events == [Ready()]
    assert pair.sent[0][1] == Transmit(text=pair.sent[0][1].text, secret=True)


def test_frames_after_the_clients_end_are_dropped() -> None:
    pair = ready(latency=0.25)
    pair.exchange.inject(Fault.DUPLICATE)
    pair.cancel(ORDERS[0])
    pair.close()
    pair.run(1.0)
    assert isinstance(pair.events[-1], Closed)


def test_a_pair_that_never_settles_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitget_proto.testing._virtual.network._TOO_LONG", 10)
    pair = ready()
    with pytest.raises(AssertionError, match="still busy after 10 steps"):
        pair.run(10_000.0)


def test_the_default_exchange_is_empty() -> None:
    pair = Pair()
    pair.open()
    assert pair.events == [Ready()]
    assert not pair.exchange.live


def test_cancel_many_an_urgent_cancel_and_a_withdrawn_one() -> None:
    pair = ready()
    ids = pair.cancel_many(ORDERS[:20])
    urgent = pair.cancel(ORDERS[20], urgent=True)
    assert pair.withdraw(ids[-1])
    assert not pair.withdraw(ids[0])
    pair.close(queued="send", within=60.0)
    pair.run_until_closed()
    assert list(pair.outcomes) == [*ids[:9], ids[-1], urgent, *ids[9:-1]]
    assert {type(outcome) for id, outcome in pair.outcomes.items() if id != ids[-1]} == {Accepted}


def test_an_abandoned_dial_does_not_reach_the_exchange() -> None:
    pair = Pair()
    id = pair.cancel(ORDERS[0])
    pair.close()
    outcome, closed = pair.events
    assert isinstance(outcome, Unresolved)
    assert (outcome.id, outcome.sent) == (id, False)
    assert isinstance(closed, Closed)
    assert pair.link.state is State.NEW


def test_both_ends_can_hang_up_at_the_same_time() -> None:
    pair = ready(latency=0.25)
    pair.link.close(pair.clock.now)
    pair._wire.drain()
    pair.close()
    pair.run(1.0)
    assert pair.events == [Closed(why=WhyClosed.ASKED, detail="")]
    assert pair.link.state is State.CLOSED


def test_a_drop_after_the_clients_end_has_no_effect() -> None:
    pair = ready(latency=0.25)
    pair.close()
    pair.drop()
    assert pair.events == [Closed(why=WhyClosed.ASKED, detail="")]
    assert pair.link.state is State.CLOSED
