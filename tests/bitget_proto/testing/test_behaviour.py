"""Slow, held and silent exchanges, and networks that bunch frames or sleep."""

from __future__ import annotations

import json

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Config,
    Connection,
    Credentials,
    Hangup,
    Policy,
    Ready,
    SessionState,
    State,
    Timer,
    Transmit,
    Unresolved,
    Wait,
    WhyClosed,
    encode_cancel,
    sign_login,
)
from bitget_proto import Codec as Wire
from bitget_proto.testing import (
    ConnectionDropped,
    ExchangeConfig,
    Pair,
    ScriptedExchange,
    ScriptedLink,
    SeenFrame,
    SessionPair,
    StrictConnection,
    VirtualClock,
    WhyDropped,
)
from bitget_proto.testing._exchange.scripted_link import ScriptedOutput

ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(30)]
LOGIN = Wire().encode_login(sign_login(Credentials("key", "secret", "passphrase"), 1))


def ready(exchange: ScriptedExchange | None = None, client: Connection | None = None) -> Pair:
    pair = Pair(client, ScriptedExchange(ORDERS) if exchange is None else exchange)
    pair.open()
    assert pair.events.pop() == Ready()
    return pair


def drained(link: ScriptedLink, now: float, *, writable: bool = True) -> list[ScriptedOutput]:
    outputs: list[ScriptedOutput] = []
    while not outputs or not isinstance(outputs[-1], Wait):
        outputs.append(link.poll(now, writable))
    return outputs


# --- slow ---


def test_a_slow_exchange_delays_answers_and_pongs_in_order() -> None:
    pair = ready()
    pair.exchange.slow_down(4.0)
    first = pair.cancel(ORDERS[0])
    pair.run(1.0)
    second = pair.cancel(ORDERS[1])
    pair.run(2.999)
    assert not pair.outcomes
    pair.run(0.001)
    assert list(pair.outcomes) == [first]
    pair.run(1.0)
    assert [(id, type(outcome)) for id, outcome in pair.outcomes.items()] == [
        (first, Accepted),
        (second, Accepted),
    ]
    assert [act.at for act in pair.exchange.log] == [0.0, 1.0]
    pair.run(300.0)
    assert pair.client.state is State.READY


def test_a_pong_after_the_pong_timeout_ends_the_connection() -> None:
    pair = ready()
    pair.exchange.slow_down(10.5)
    pair.run_until_closed()
    assert isinstance(pair.events[-1], Closed)
    assert pair.events[-1].why is WhyClosed.NO_PONG


def test_a_fast_answer_does_not_overtake_earlier_slow_ones() -> None:
    pair = ready()
    pair.exchange.slow_down(3.0)
    first = pair.cancel(ORDERS[0])
    pair.exchange.slow_down(0)
    second = pair.cancel(ORDERS[1])
    assert not pair.outcomes
    pair.run(3.0)
    assert list(pair.outcomes) == [first, second]
    third = pair.cancel(ORDERS[2])
    assert third in pair.outcomes


def test_one_link_can_be_slow_alone() -> None:
    exchange = ScriptedExchange(ORDERS)
    one, other = ready(exchange), ready(exchange)
    assert exchange.links == (one.link, other.link)
    one.link.slow_down(2.0)
    slow, fast = one.cancel(ORDERS[0]), other.cancel(ORDERS[1])
    assert (slow in one.outcomes, fast in other.outcomes) == (False, True)


def test_later_links_are_slow_too_unless_set_otherwise() -> None:
    exchange = ScriptedExchange()
    early = exchange.link()
    fast = exchange.link()
    fast.slow_down(0.0)
    exchange.slow_down(2.0)
    for link, until in ((early, 2.0), (exchange.link(), 2.0), (fast, None)):
        link.opened(0.0)
        link.receive("ping", 0.0)
        *outputs, wait = drained(link, 0.0)
        assert outputs == ([] if until else [Transmit(text="pong")])
        assert wait == (
            Wait(until=until, timer=Timer.SCRIPT) if until else Wait(until=120.0, timer=Timer.IDLE)
        )


def test_a_slow_hangup_follows_all_frames_and_precedes_the_end() -> None:
    link = ScriptedExchange().link()
    link.opened(0.0)
    link.slow_down(2.0)
    link.receive("ping", 0.0)
    assert drained(link, 0.0) == [Wait(until=2.0, timer=Timer.SCRIPT)]
    link.close(1.0, 1001, "bye")
    assert drained(link, 1.0) == [Wait(until=2.0, timer=Timer.SCRIPT)]
    assert drained(link, 2.0) == [Transmit(text="pong"), Wait(until=3.0, timer=Timer.SCRIPT)]
    link.handle_timeout(3.0)
    assert drained(link, 3.0) == [
        Hangup(code=1001, reason="bye"),
        ConnectionDropped(why=WhyDropped.ASKED, detail="bye"),
        Wait(until=None, timer=None),
    ]


def test_a_transport_lost_before_a_slow_hangup_keeps_the_reason() -> None:
    link = ScriptedExchange().link()
    link.opened(0.0)
    link.slow_down(2.0)
    link.receive("ping", 0.0)
    link.close(0.0)
    assert drained(link, 0.0) == [Wait(until=2.0, timer=Timer.SCRIPT)]
    link.lost(1.0, "reset")
    assert drained(link, 1.0) == [
        ConnectionDropped(why=WhyDropped.ASKED, detail=""),
        Wait(until=None, timer=None),
    ]


def test_a_stalled_writer_is_not_woken_for_frames() -> None:
    link = ScriptedExchange().link()
    link.opened(0.0)
    link.receive("ping", 0.0)
    assert drained(link, 0.0, writable=False) == [Wait(until=120.0, timer=Timer.IDLE)]
    link.close(0.0)
    assert drained(link, 0.0, writable=False) == [Wait(until=None, timer=None)]
    assert [type(output) for output in drained(link, 0.0)] == [
        Transmit,
        Hangup,
        ConnectionDropped,
        Wait,
    ]


# --- held frames ---


def test_held_frames_are_released_together_in_order() -> None:
    pair = ready()
    pair.exchange.hold()
    ids = [pair.cancel(order) for order in ORDERS[:3]]
    pair.run(4.0)
    assert not pair.outcomes
    assert [act.cancelled for act in pair.exchange.log] == [True] * 3
    pair.exchange.release()
    pair.settle()
    assert list(pair.outcomes) == ids
    assert {outcome.resolved_at for outcome in pair.outcomes.values()} == {4.0}
    assert pair.cancel(ORDERS[3]) in pair.outcomes


# --- silent ---


def test_a_half_open_link_neither_reads_nor_sends_and_stays_open() -> None:
    seen: list[SeenFrame] = []
    pair = ready(ScriptedExchange(ORDERS, on_frame=seen.append))
    seen.clear()
    pair.link.go_silent()
    id = pair.cancel(ORDERS[0])
    pair.run_until_closed()
    assert isinstance(pair.events[-1], Closed)
    assert pair.events[-1].why is WhyClosed.NO_PONG
    assert isinstance(pair.outcomes[id], Unresolved)
    assert pair.exchange.log == []
    assert seen == []


def test_a_stuck_server_acts_but_does_not_answer() -> None:
    pair = ready()
    pair.link.go_silent(acts=True)
    id = pair.cancel(ORDERS[0], timeout=1.0)
    pair.run(1.0)
    assert isinstance(pair.outcomes[id], Unresolved)
    assert [act.cancelled for act in pair.exchange.log] == [True]


def test_no_timer_of_the_exchange_ends_a_silent_link() -> None:
    config = Config(ping_interval=None)
    pair = ready(client=StrictConnection(config))
    pair.link.go_silent()
    pair.run(1000.0)
    assert (pair.client.state, pair.link.state) == (State.READY, State.READY)
    pair.link.speak()
    pair.settle()
    assert (pair.client.state, pair.link.state) == (State.CLOSED, State.CLOSED)


def test_frames_of_a_silent_exchange_are_lost() -> None:
    pair = ready()
    pair.exchange.slow_down(1.0)
    late = pair.cancel(ORDERS[0], timeout=5.0)
    pair.exchange.go_silent(acts=True)
    lost = pair.cancel(ORDERS[1], timeout=5.0)
    pair.run(2.0)
    pair.exchange.speak()
    pair.exchange.slow_down(0.0)
    answered = pair.cancel(ORDERS[2])
    pair.run(5.0)
    assert [type(pair.outcomes[id]) for id in (late, lost, answered)] == [
        Unresolved,
        Unresolved,
        Accepted,
    ]


def test_a_silent_exchange_silences_all_current_and_later_links() -> None:
    exchange = ScriptedExchange(ORDERS)
    pair = ready(exchange)
    exchange.go_silent()
    late = Pair(exchange=exchange)
    late.open()
    late.run_until_closed()
    assert late.events == [
        Closed(why=WhyClosed.LOGIN_TIMEOUT, detail="no answer to the login within 10.0 s")
    ]
    pair.run_until_closed()
    exchange.speak()
    assert ready(exchange).client.state is State.READY


def test_a_link_that_ends_while_silent_is_hung_up_afterwards() -> None:
    exchange = ScriptedExchange(config=ExchangeConfig(messages_per_second=1))
    link = exchange.link()
    link.opened(0.0)
    link.go_silent(acts=True)
    link.receive("ping", 0.0)
    link.receive("ping", 0.0)
    assert drained(link, 0.0) == [Wait(until=None, timer=None)]
    link.handle_timeout(500.0)
    link.speak()
    assert [type(output) for output in drained(link, 500.0)] == [Hangup, ConnectionDropped, Wait]


def test_a_transport_that_ends_during_the_silence_ends_the_link() -> None:
    link = ScriptedExchange().link()
    link.opened(0.0)
    link.receive(LOGIN, 0.0)
    drained(link, 0.0)
    link.go_silent()
    link.receive(encode_cancel(ORDERS[0], "1"), 0.0)
    link.lost(1.0, "reset")
    assert drained(link, 1.0) == [
        ConnectionDropped(why=WhyDropped.CLIENT_LEFT, detail="reset"),
        Wait(until=None, timer=None),
    ]


def test_delayed_frames_wait_for_the_end_of_the_silence() -> None:
    exchange = ScriptedExchange(grace=5.0)
    pair = ready(exchange)
    exchange.maintenance(0.0)
    pair.link.go_silent()
    pair.run(10.0)
    states = [pair.link.state]
    pair.link.speak()
    pair.settle()
    assert [*states, pair.link.state] == [State.READY, State.CLOSED]


# --- the network ---


def test_the_two_directions_can_have_different_latencies() -> None:
    pair = Pair(exchange=ScriptedExchange(ORDERS), latency=0.1, latency_back=0.4)
    pair.open()
    pair.run(0.5)
    id = pair.cancel(ORDERS[0])
    pair.run(1.0)
    assert [act.at for act in pair.exchange.log] == [0.6]
    assert pair.outcomes[id].resolved_at == 1.0


def test_a_network_that_bunches_frames_keeps_their_order() -> None:
    clock = VirtualClock()
    pair = Pair(
        exchange=ScriptedExchange(ORDERS),
        clock=clock,
        latency=lambda: -clock.now % 0.5,
        latency_back=0.0,
    )
    pair.open()
    ids: list[str] = []
    for order in ORDERS[:4]:
        pair.run(0.2)
        ids.append(pair.cancel(order))
    pair.run(1.0)
    assert list(pair.outcomes) == ids
    assert [act.at for act in pair.exchange.log] == [0.5, 0.5, 1.0, 1.0]


def test_frames_bunched_by_the_network_exceed_a_strict_rate_limit() -> None:
    pair = Pair(
        Connection(Config(messages_per_second=None)), ScriptedExchange(ORDERS), latency_back=0.0
    )
    pair.open()
    pair.run(5.0)
    pair.latency = 0.06
    for order in ORDERS[:10]:
        pair.cancel(order)
    pair.run(1.0)
    assert len(pair.exchange.log) == 10
    pair.latency = 0.0
    pair.cancel(ORDERS[10])
    assert len(pair.exchange.log) == 10
    assert isinstance(pair.events[-1], Closed)
    assert pair.events[-1].why is WhyClosed.THROWN_OUT


def test_frames_held_by_a_dead_route_are_lost_when_the_socket_is_aborted() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS))
    pair.start()
    pair.run(1.0)
    pair.freeze()
    pair.cancel(ORDERS[0], policy=Policy.RESEND)
    pair.run(30.0)
    pair.thaw(1)
    assert [act.cancelled for act in pair.exchange.log] == [True]
    assert [type(outcome) for outcome in pair.outcomes.values()] == [Accepted]
    assert list(pair.links) == [2]


@pytest.mark.parametrize("kind", ["pair", "session"])
def test_after_a_sleep_received_frames_come_before_timers(kind: str) -> None:
    exchange = ScriptedExchange(ORDERS)
    pair: Pair | SessionPair
    if kind == "pair":
        pair = Pair(exchange=exchange, latency=0.05)
        pair.open()
    else:
        pair = SessionPair(exchange=exchange, latency=0.05)
        pair.start()
    pair.run(1.0)
    id = pair.cancel(ORDERS[0], timeout=10.0)
    pair.sleep(60.0)
    assert pair.clock.now == 61.0
    assert [act.at for act in exchange.log] == [1.05]
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Accepted)
    assert outcome.resolved_at == 61.0


def test_the_exchange_drops_a_client_that_sleeps() -> None:
    pair = SessionPair(exchange=ScriptedExchange(ORDERS))
    pair.start()
    id = pair.cancel(ORDERS[0])
    assert id in pair.outcomes
    pair.sleep(7200.0)
    assert not pair.exchange.links
    states = [pair.session.state]
    pair.run(60.0)
    assert [*states, pair.session.state] == [SessionState.DOWN, SessionState.UP]


def test_nothing_arrives_on_a_dead_route_during_a_sleep() -> None:
    pair = ready()
    pair.freeze()
    pair.cancel(ORDERS[0])
    pair.sleep(5.0)
    assert pair.exchange.log == []
    pair.thaw()
    assert [act.at for act in pair.exchange.log] == [5.0]


def test_a_session_without_links_can_sleep() -> None:
    pair = SessionPair()
    pair.hold_dials = True
    pair.start()
    pair.sleep(5.0)
    assert pair.clock.now == 5.0


def test_a_sent_frame_is_seen_when_it_is_sent() -> None:
    seen: list[SeenFrame] = []
    pair = ready(ScriptedExchange(ORDERS, on_frame=seen.append))
    seen.clear()
    pair.exchange.slow_down(1.5)
    pair.cancel(ORDERS[0])
    pair.run(1.5)
    assert [(frame.direction, frame.at) for frame in seen] == [("received", 0.0), ("sent", 1.5)]
    assert json.loads(seen[1].text)["code"] == 0
