"""Sessions with several links: how they share the cancels, and that one link's end is the others' work."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Codec,
    Config,
    Credentials,
    Dialect,
    Down,
    Ended,
    LinkClosed,
    LinkTransmit,
    LoginRejected,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    SessionState,
    State,
    Timer,
    Trace,
    Unresolved,
    Up,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
    record,
    replay,
)
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    ScriptedExchange,
    SessionPair,
    StrictSession,
)

KEY = Credentials("key", "secret", "passphrase")
GOING = '{"event":"error","code":30033,"msg":"going away"}'


def orders(count: int) -> list[CancelOrder]:
    return [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(count)]


def pair_of(
    links: int, count: int = 0, per_second: int | None = None, **options: Any
) -> SessionPair:
    """Return a session with this many links that is up, and an exchange with `count` orders."""
    exchange = options.pop("exchange", None) or ScriptedExchange(
        orders(count), cancels_per_second=per_second, same_order_interval=None
    )
    session = StrictSession(
        SessionConfig(links=links, **options),
        budget=Budget(per_second),
        jitter=lambda: 0.0,
    )
    pair = SessionPair(session, exchange, dial_time=0.01, latency=0.01)
    pair.start()
    return pair


def up(links: int, count: int = 0, per_second: int | None = None, **options: Any) -> SessionPair:
    pair = pair_of(links, count, per_second, **options)
    pair.run(2.0)
    assert len(of(pair, Up)) == links
    return pair


def of(pair: SessionPair, kind: Any) -> list[Any]:
    return [event for event in pair.events if isinstance(event, kind)]


def state_of(pair: SessionPair) -> SessionState:
    return pair.session.state


def carriers(pair: SessionPair) -> Counter[int]:
    """Return how many cancels each link has sent."""
    return Counter(frame.link for _, frame in pair.sent if frame.ids)


def test_the_first_link_is_dialled_alone_and_the_others_once_it_is_up() -> None:
    pair = pair_of(3)
    assert [dial.link for _, dial in pair.dials] == [1]
    pair.run(0.015)
    assert state_of(pair) is SessionState.DIALLING
    pair.run(2.0)
    assert [dial.link for _, dial in pair.dials] == [1, 2, 3]
    assert [event.link for event in of(pair, Up)] == [1, 2, 3]
    assert [event.down_for > 0 for event in of(pair, Up)] == [True, False, False]
    assert state_of(pair) is SessionState.UP


@pytest.mark.parametrize(("links", "per_second"), [(1, 60), (6, 60), (6, 10), (6, 30)])
def test_the_rate_is_that_of_the_links_or_of_the_account(links: int, per_second: int) -> None:
    pair = up(links, 300, per_second)
    began = pair.clock.now
    pair.session.cancel_many(orders(300), began)
    pair.start()
    pair.run(200.0)
    assert len(pair.exchange.log) == 300
    assert all(act.cancelled for act in pair.exchange.log), "none is refused"
    rate = min(10 * links, per_second)
    seconds = max(act.at for act in pair.exchange.log) - began
    assert (300 - rate) / rate <= seconds <= 1.1 * 300 / rate + 1.0
    if links == 6:
        assert max(carriers(pair).values()) <= 60
    frames = Counter((frame.link, int(at)) for at, frame in pair.sent)
    assert max(frames.values()) <= 10, "more than a link may send"


def test_one_link_s_end_is_the_others_work() -> None:
    pair = up(3, 100, 30)
    pair.session.cancel_many(orders(100), pair.clock.now)
    pair.start()
    assert pair.session.in_flight == 100
    pair.drop(2)
    assert of(pair, Down) == []
    assert state_of(pair) is SessionState.UP
    lost = [outcome for outcome in pair.outcomes.values() if isinstance(outcome, Unresolved)]
    assert {outcome.why for outcome in lost} == {WhyUnresolved.LOST}
    assert len(lost) == carriers(pair)[2] > 0
    pair.run(10.0)
    accepted = [outcome for outcome in pair.outcomes.values() if isinstance(outcome, Accepted)]
    assert len(accepted) == 100 - len(lost)
    assert [event.link for event in of(pair, Up)] == [1, 2, 3, 4]
    assert carriers(pair)[4] > 0, "its successor serves too"
    assert of(pair, Up)[-1].down_for == 0.0


def test_a_cancel_that_is_sent_again_takes_another_link() -> None:
    pair = up(2, 1)
    pair.exchange.inject(Fault.SILENT)
    id = pair.cancel(orders(1)[0], policy=Policy.RESEND)
    (first,) = carriers(pair)
    pair.run(0.1)
    pair.drop(first)
    pair.run(1.1)
    outcome = pair.outcomes[id]
    assert outcome.attempts == 2
    assert len(carriers(pair)) == 2


def test_a_link_that_cannot_write_gets_one_and_the_others_the_rest() -> None:
    pair = up(2, 10)
    pair.stall(1)
    for order in orders(10):
        pair.cancel(order)
    pair.run(0.1)
    assert carriers(pair) == {2: 9}
    assert len(of(pair, Accepted)) == 9
    pair.resume(1)
    pair.run(0.1)
    assert carriers(pair) == {1: 1, 2: 9}


def test_a_link_that_has_fallen_silent_gets_few() -> None:
    pair = up(2, 20)
    pair.freeze(1)
    for order in orders(20):
        pair.cancel(order)
        pair.run(0.2)
    assert carriers(pair)[1] == 1
    assert len(of(pair, Accepted)) == 19


def test_when_all_are_lost_it_is_down_once_and_dials_one_at_a_time() -> None:
    pair = up(4, 1)
    pair.refuse_dials = True
    dialled = len(pair.dials)
    for link in (1, 2, 3, 4):
        pair.drop(link)
    assert [event.link for event in of(pair, Down)] == [4]
    assert state_of(pair) is SessionState.DOWN
    id = pair.cancel(orders(1)[0])
    pair.run(60.0)
    times = [at for at, _ in pair.dials[dialled:]]
    # As with one link: after 0.5, 1, 2, 4, 8, 16 and 30 s, for which each lane may begin with 0.5.
    assert len(times) <= 7 + 1
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))
    outcome = pair.outcomes[id]
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (False, WhyUnresolved.NO_LINK)
    pair.refuse_dials = False
    pair.run(70.0)
    assert len(pair.links) == 4
    assert [event.down_for > 0 for event in of(pair, Up)[4:]] == [True, False, False, False]


def test_a_wrong_timestamp_is_corrected_once_for_all_links() -> None:
    session = Session(SessionConfig(links=3), jitter=lambda: 0.0)
    pair = SessionPair(session, ScriptedExchange(credentials=KEY), skew=-3600.0, dial_time=0.01)
    pair.start()
    pair.run(10.0)
    assert len(of(pair, LoginRejected)) == 1
    assert len(pair.links) == 3


def test_a_refused_key_ends_the_session_and_a_refused_second_login_does_not() -> None:
    exchange = ScriptedExchange()
    exchange.refuse_logins(1, "30011")
    pair = pair_of(3, exchange=exchange)
    pair.run(1.0)
    assert isinstance(pair.events[-1], Ended)
    assert len(pair.dials) == 1

    exchange = ScriptedExchange(orders(1))
    exchange.refuse_second_logins("40014")
    pair = pair_of(3, exchange=exchange)
    pair.run(100.0)
    assert state_of(pair) is SessionState.UP
    assert len(pair.links) == 1
    assert len(of(pair, Up)) == 1
    id = pair.cancel(orders(1)[0])
    pair.run(1.0)
    assert isinstance(pair.outcomes[id], Accepted)


def test_each_link_moves_by_itself() -> None:
    pair = up(2, 20)
    pair.say(GOING, 1)
    assert state_of(pair) is SessionState.UP
    pair.run(5.0)
    assert sorted(pair.links) == [2, 3]
    assert of(pair, Down) == []
    pair.say(GOING, 2)
    pair.say(GOING, 3)
    pair.run(0.05)
    assert state_of(pair) is SessionState.MOVING
    pair.run(5.0)
    assert sorted(pair.links) == [4, 5]
    assert of(pair, Down) == []


def test_links_are_replaced_before_their_age_ends_them() -> None:
    pair = up(3, lifetime=100.0, rotate_before=50.0)
    pair.run(60.0)
    assert sorted(pair.links) == [4, 5, 6]
    assert {event.why for event in of(pair, LinkClosed)} == {WhyClosed.ASKED}
    assert of(pair, Down) == []


def test_a_lost_link_whose_successor_is_dialled_is_no_end_while_another_serves() -> None:
    pair = up(2)
    pair.say(GOING, 1)
    pair.hold_dials = True
    pair.run(0.6)
    assert len(pair.dials) == 3
    pair.drop(1)
    assert state_of(pair) is SessionState.UP
    pair.drop(2)
    assert [event.link for event in of(pair, Down)] == [2]
    assert state_of(pair) is SessionState.DIALLING
    pair.run(10.0)
    assert len(pair.dials) == 3, "one at a time"
    pair.hold_dials = False
    pair.run(30.0)
    assert len(pair.links) == 2


def test_the_exchange_s_wait_is_for_all_links() -> None:
    exchange = ScriptedExchange()
    pair = up(2, exchange=exchange)
    exchange.refuse_handshakes(1, retry_after=60)
    pair.drop(1)
    pair.run(1.0)
    dialled = len(pair.dials)
    pair.drop(2)
    pair.run(50.0)
    assert len(pair.dials) == dialled
    pair.run(30.0)
    assert len(pair.links) == 2


def test_closing_ends_all_links_after_their_answers() -> None:
    pair = up(3, 30)
    pair.session.cancel_many(orders(30), pair.clock.now)
    pair.start()
    pair.close(queued="send")
    pair.run_until_ended()
    assert len(of(pair, Accepted)) == 30
    assert pair.events[-1] == Ended(why=WhyEnded.ASKED, detail="", code=None)
    assert {event.link for event in of(pair, LinkClosed)} == {1, 2, 3}


def test_frames_of_one_s_own_are_sent_on_a_link_that_serves() -> None:
    pair = up(2)
    pair.send("hello")
    pair.drop(1)
    pair.send("world")
    own = {frame.text: frame.link for _, frame in pair.sent if frame.text in ("hello", "world")}
    assert own == {"hello": 1, "world": 2}


def test_every_link_gets_the_pushes() -> None:
    exchange = ScriptedExchange(orders(1), config=ExchangeConfig(dialect=Dialect.CLASSIC))
    pair = up(2, exchange=exchange)
    pair.subscribe_orders()
    pair.run(1.0)
    subscribed = [frame.link for _, frame in pair.sent if "subscribe" in frame.text]
    assert sorted(subscribed) == [1, 2]


def test_links_wait_for_grants_together() -> None:
    session = Session(
        SessionConfig(links=2, link=Config(messages_per_second=3)),
        budget=Budget(0),
        jitter=lambda: 0.0,
    )
    pair = SessionPair(session, ScriptedExchange(orders(20)))
    assert session.waiting_for_grant == 0
    pair.start()
    pair.run(2.0)
    session.cancel_many(orders(5), pair.clock.now)
    pair.start()
    assert session.waiting_for_grant == 5
    session.cancel_many(orders(15)[5:], pair.clock.now)
    pair.start()
    assert session.waiting_for_grant == 6, "three for each link"
    session.close(pair.clock.now, queued="send", within=1.0)
    pair.start()
    assert session.waiting_for_grant == 6
    session.poll(pair.clock.now + 1.0)
    assert session.waiting_for_grant == 0, "nothing more is sent"


def test_the_next_timer_is_that_of_any_link() -> None:
    session = Session(SessionConfig(links=2), jitter=lambda: 0.0)
    pair = SessionPair(session, ScriptedExchange())
    pair.start()
    pair.hold_dials = True
    pair.run(3.0)
    pair.drop(1)
    pair.run(1.0)
    waits = set[Timer | None]()
    for _ in range(30):
        wait = session.poll(pair.clock.now)
        assert isinstance(wait, Wait)
        waits.add(wait.timer)
        pair.run(1.0)
    assert Timer.DIALLED in waits
    assert Timer.PING in waits


def test_a_session_with_several_links_is_recorded_and_replayed() -> None:
    lines: list[str] = []
    session = record(
        Session(SessionConfig(links=3), budget=Budget(30), jitter=Random(7).random), lines.append
    )
    pair = SessionPair(session, ScriptedExchange(orders(40), cancels_per_second=30))
    pair.start()
    for order in orders(40):
        pair.cancel(order)
    pair.drop(2)
    pair.run(20.0)
    pair.close()
    pair.run_until_ended()
    assert replay(Trace("".join(lines))) is None


# --- whatever happens ---


class Sent(list[tuple[float, LinkTransmit]]):
    """The frames that were sent, and how many events came before each."""

    def __init__(self, pair: SessionPair) -> None:
        super().__init__()
        self.events: list[int] = []
        self._pair = pair

    def append(self, sent: tuple[float, LinkTransmit], /) -> None:
        self.events.append(len(self._pair.events))
        super().append(sent)


class Life:
    """A session with several links, on bad days, and the ledger of what it did."""

    def __init__(self, links: int, seed: int, policy: Policy, dialect: Dialect) -> None:
        self.random = random = Random(seed)
        self.orders = orders(60)
        self.exchange = ScriptedExchange(
            self.orders,
            cancels_per_second=60,
            same_order_interval=None,
            config=ExchangeConfig(dialect=dialect),
        )
        session = StrictSession(
            SessionConfig(links=links, policy=policy, link=Config(silence=0.5, silence_pong=0.5)),
            codec=Codec(dialect=dialect),
            budget=Budget(60),
            jitter=random.random,
        )
        self.pair = SessionPair(
            session,
            self.exchange,
            latency=lambda: random.uniform(0.0, 0.05),
            dial_time=0.02,
        )
        self.pair.sent = self.sent = Sent(self.pair)
        self.taken: list[str] = []
        self.visited = Counter[str]()

    def live(self) -> None:
        pair, random = self.pair, self.random
        pair.start()
        pair.run(random.uniform(0.0, 1.0))
        for _ in range(40):
            self.step(random.choice(STEPS))
            pair.run(random.uniform(0.0, 0.4))
        pair.refuse_dials = pair.hold_dials = False
        for link in list(pair.links):
            pair.thaw(link)
        pair.run(300.0)
        pair.close()
        pair.run_until_ended()

    def step(self, what: str) -> None:
        pair, random, now = self.pair, self.random, self.pair.clock.now
        link = random.choice(sorted(pair.links)) if pair.links else None
        match what:
            case "cancel" if self.orders:
                self.taken.append(pair.cancel(self.orders.pop()))
            case "many" if len(self.orders) >= 8:
                many = [self.orders.pop() for _ in range(8)]
                self.taken += pair.session.cancel_many(many, now)
                pair.start()
            case "fault":
                self.exchange.inject(random.choice([Fault.SILENT, Fault.DROP_AFTER, Fault.LATE]))
            case "refuse":
                pair.refuse_dials = not pair.refuse_dials
            case "all" if random.random() < 0.3:
                for number in list(pair.links):
                    if number in pair.links:
                        pair.drop(number)
            case "drop" | "stall" | "freeze" | "going" if link is not None:
                if what == "going" and pair.links[link].state is State.READY:
                    pair.say(GOING, link)
                elif what == "going":
                    return
                else:
                    getattr(pair, what)(link)
            case _:
                return
        self.visited[what] += 1

    def judge(self) -> None:
        pair = self.pair
        outcomes = Counter(
            event.id for event in pair.events if isinstance(event, Accepted | Rejected | Unresolved)
        )
        assert outcomes == Counter(self.taken), "exactly one outcome each"
        ended: dict[int, int] = {
            event.link: place
            for place, event in enumerate(pair.events)
            if isinstance(event, LinkClosed)
        }
        attempts: dict[str, list[int]] = {}
        for (_, frame), events in zip(pair.sent, self.sent.events, strict=True):
            for id in frame.ids:
                before = attempts.setdefault(id, [])
                assert all(ended[link] < events for link in before), "on two links at once"
                before.append(frame.link)
            self.visited["batch"] += len(frame.ids) > 1
        acts = Counter(act.order.order_id for act in self.exchange.log if act.cancelled)
        for id, outcome in pair.outcomes.items():
            tried = attempts.get(id, [])
            assert len(set(tried)) == len(tried), "twice on one link"
            if isinstance(outcome, Accepted):
                assert acts[outcome.order.order_id] == 1
            if isinstance(outcome, Unresolved) and not outcome.sent:
                assert acts[outcome.order.order_id] == 0
            self.visited[f"attempts {len(tried)}"] += 1
            self.visited[type(outcome).__name__] += 1
        assert set(ended) == {dial.link for _, dial in pair.dials}


STEPS = (
    "cancel", "cancel", "cancel", "many", "many", "fault", "drop", "stall", "freeze", "going", "refuse", "all",
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    links=st.integers(2, 5),
    seed=st.integers(0, 2**32),
    policy=st.sampled_from(list(Policy)),
    dialect=st.sampled_from(list(Dialect)),
)
def test_every_cancel_has_one_outcome_and_is_on_one_link_at_a_time(
    links: int, seed: int, policy: Policy, dialect: Dialect
) -> None:
    life = Life(links, seed, policy, dialect)
    life.live()
    life.judge()


def test_the_lives_visit_what_they_should() -> None:
    visited = Counter[str]()
    for seed in range(25):
        life = Life(3, seed, Policy.RESEND, list(Dialect)[seed % 2])
        life.live()
        life.judge()
        visited += life.visited
    wanted = (*STEPS, "batch", "attempts 1", "attempts 2", "Accepted", "Unresolved")
    assert min(visited[name] for name in wanted) >= 5, visited
