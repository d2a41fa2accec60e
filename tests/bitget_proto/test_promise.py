"""Property test of the outcome guarantee: a client and an exchange together, in virtual time.

The machine does what users, networks and exchanges do, in any order. Afterwards every cancel must
have one outcome, and each outcome must agree with the exchange's log and with the frames written.
On unified accounts the cancels of a batch are told apart by the orders that its frame names.
Coverage is counted: the test fails if a state, transition, timer, outcome or reason was never seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import inf, nextafter
from typing import cast

import attrs
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Closed,
    Codec,
    Config,
    Credentials,
    Dialect,
    ExchangeError,
    GoingAway,
    InstType,
    LateReply,
    LinkTransmit,
    LoginRejected,
    Output,
    Queued,
    Ready,
    Rejected,
    State,
    Timer,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    Wait,
    WhyClosed,
    WhyUnrecognised,
    WhyUnresolved,
    sign_login,
)
from bitget_proto._values.states import TRANSITIONS, Cause
from bitget_proto.testing import ExchangeConfig, Fault, Pair, ScriptedExchange, StrictConnection
from bitget_proto.testing._exchange.faults import AT_LOGIN

KEY = Credentials("key", "secret", "passphrase")
WRONG_KEY = Credentials("key", "another secret", "passphrase")
ORDERS = [
    CancelOrder("BTCUSDT", order_id=str(number), client_oid=f"mine-{number}")
    for number in range(40)
]
UNIFIED_ORDERS = [
    CancelOrder(client_oid=order.client_oid, inst_type=InstType.SPOT)
    if number % 8 == 7
    else (
        CancelOrder(order_id=order.order_id),
        order,
        CancelOrder(client_oid=order.client_oid),
        order,
    )[number // 3 % 4]
    for number, order in enumerate(ORDERS)
]
"""Named by one id or by both; by the client's and a product line, which fits into no batch."""
REFUSALS = {Dialect.CLASSIC: {"29": "45056"}, Dialect.UNIFIED: {"3": "25006", "mine-6": "25003"}}
UNRELATED = [
    "pong",
    "garbage",
    "[]",
    '{"action":"snapshot","arg":{"channel":"orders"},"data":[]}',
    '{"action":"snapshot","arg":{"channel":"orders","instType":"SPOT"},"data":[{}]}',
    '{"action":"snapshot","arg":{"topic":"order","instType":"UTA"},"data":[{}]}',
    '{"event":"other"}',
    '{"event":"subscribe","arg":{"channel":"orders"}}',
    '{"event":"trade","code":0,"msg":"Success"}',
    '{"event":"error","arg":[{"id":"1"},{"id":"2"}],"code":43001}',
    '{"event":"error","arg":[],"code":43001,"msg":"names none"}',
    '{"event":"error","code":30006,"msg":"request too many"}',
    '{"event":"error","code":30033,"msg":"going away"}',
    '{"event":"login","code":0}',
    '{"event":"login"}',
    '{"event":"trade","id":"mine","topic":"place-order","code":"0","msg":"Success"}',
]
FATAL = [
    '{"event":"error","code":30004,"msg":"not logged in"}',
    '{"event":"error","code":30007,"msg":"request too many"}',
]

PARAMS = {"side": "buy", "orderType": "limit", "force": "gtc", "price": "1", "size": "1"}
QUEUED: st.SearchStrategy[Queued] = st.sampled_from(["drop", "send"])
RARELY = st.sampled_from([False, False, False, False, True])

visited: Counter[object] = Counter()


class Watched(StrictConnection):
    """A `StrictConnection` that counts transitions and keeps frames with their times."""

    __slots__ = ("handed_out",)

    def __init__(self, config: Config, codec: Codec, budget: Budget | None) -> None:
        super().__init__(config, codec, budget)
        self.handed_out: list[tuple[float, Transmit]] = []

    def _move(self, cause: Cause) -> None:
        visited[self.state, cause] += 1
        super()._move(cause)

    def _fire(self, timer: Timer) -> None:
        visited["fired", timer] += 1
        super()._fire(timer)

    def poll(self, now: float, writable: bool = True) -> Output:
        output = super().poll(now, writable)
        visited[self.state] += 1
        if isinstance(output, Wait):
            visited["wait", output.timer] += 1
        elif isinstance(output, Transmit):
            self.handed_out.append((now, output))
        elif isinstance(output, Unresolved):
            visited[Unresolved, output.sent, output.why] += 1
        elif isinstance(output, Unrecognised):
            visited[Unrecognised, output.why] += 1
        else:
            visited[type(output)] += 1
        return output


@attrs.frozen
class Start:
    """How a run begins."""

    how: str
    fault: Fault
    latency: float
    shared: bool
    short: bool
    max_batch: int | None
    batches_per_second: int | None
    tells_limits: bool


STARTS = st.builds(
    Start,
    how=st.sampled_from(
        ["ready", "ready", "ready", "ready", "new", "login goes wrong", "wrong key", "frozen"]
    ),
    fault=st.sampled_from(sorted(AT_LOGIN, key=str)),
    latency=st.sampled_from([0.0, 0.05, 3.0]),
    shared=st.booleans(),
    short=st.booleans(),
    max_batch=st.sampled_from([1, 2, 3, 20, None]),
    batches_per_second=st.sampled_from([None, None, 1, 5]),
    tells_limits=st.booleans(),
)


def alive(life: Life) -> bool:
    return life.pair.client.state is not State.CLOSED


class Life(RuleBasedStateMachine):
    """Random events on one connection after another. Half of the runs start from Ready."""

    dialect = Dialect.CLASSIC
    orders = ORDERS

    pair: Pair
    deadlines: dict[str, float]
    budget: Budget | None

    @initialize(start=STARTS)
    def begin(self, start: Start) -> None:
        self.deadlines = {}
        exchange = ScriptedExchange(
            [attrs.evolve(order, inst_type=InstType.SPOT) for order in ORDERS[:30]],
            credentials=KEY,
            refusals=REFUSALS[self.dialect],
            config=ExchangeConfig(lifetime=400.0, dialect=self.dialect),
            grace=20.0,
            batches_per_second=start.batches_per_second if start.shared else None,
            tells_limits=start.tells_limits,
        )
        # With the short interval pings and pongs fall due during login and drain.
        config = (
            Config(ping_interval=4.0, pong_timeout=5.0, drain_timeout=20.0)
            if start.short
            else Config()
        )
        self.budget = (
            Budget(5, batches_per_second=start.batches_per_second) if start.shared else None
        )
        client = Watched(
            attrs.evolve(config, max_batch=start.max_batch),
            Codec(dialect=self.dialect),
            self.budget,
        )
        self.pair = pair = Pair(client, exchange, latency=start.latency)
        if start.how == "new":
            return
        if start.how == "wrong key":
            pair.login = sign_login(WRONG_KEY, int(exchange.epoch))
        elif start.how == "login goes wrong":
            exchange.inject_login(start.fault)
        elif start.how == "frozen":
            pair.freeze()
        pair.open()
        if start.how == "ready":
            pair.run(2 * start.latency)
            assert client.state is State.READY

    @precondition(lambda self: not alive(self))
    @rule(start=STARTS)
    def begin_anew(self, start: Start) -> None:
        self.check()
        self.begin(start)

    @precondition(lambda self: self.pair.client.state is State.NEW)
    @rule(dial=st.booleans())
    def connect(self, dial: bool) -> None:
        if dial:
            self.pair.open()
        else:
            self.pair.client.lost(self.pair.clock.now, "no route to host")
            self.pair.settle()
            self.drain()

    @precondition(lambda self: self.pair.client.capacity > 0)
    @rule(
        number=st.integers(0, len(ORDERS) - 1),
        timeout=st.sampled_from([None, None, 1.0, 2.5, 31.0, inf]),
        many=st.integers(1, 8),
        urgent=st.booleans(),
    )
    def cancel(self, number: int, timeout: float | None, many: int, urgent: bool) -> None:
        for _ in range(many):
            if self.pair.client.capacity:
                now, order = self.pair.clock.now, self.orders[number]
                self.taken(self.pair.cancel(order, timeout=timeout, urgent=urgent), now, timeout)

    @precondition(lambda self: self.pair.client.capacity >= 12)
    @rule(first=st.integers(0, 28), timeout=st.sampled_from([None, 1.0]))
    def cancel_many(self, first: int, timeout: float | None) -> None:
        now = self.pair.clock.now
        for id in self.pair.cancel_many(self.orders[first : first + 12], timeout):
            self.taken(id, now, timeout)

    def taken(self, id: str, now: float, timeout: float | None) -> None:
        assert id not in self.deadlines
        self.deadlines[id] = now + min(150.0, inf if timeout is None else timeout)

    @precondition(lambda self: self.deadlines)
    @rule(number=st.integers(0, 1000))
    def withdraw(self, number: int) -> None:
        ids = list(self.deadlines)
        id = ids[-1 - number % len(ids)]
        handed_out = cast("Watched", self.pair.client).handed_out
        sent = any(id in transmit.ids for _, transmit in handed_out)
        done = id in self.pair.outcomes
        assert self.pair.withdraw(id) is not (sent or done)

    @precondition(alive)
    @rule(faults=st.lists(st.sampled_from([None, *Fault]), min_size=1, max_size=4))
    def go_wrong(self, faults: list[Fault | None]) -> None:
        self.pair.exchange.inject(*faults)

    @precondition(lambda self: self.pair.link.state in (State.AUTHENTICATING, State.READY))
    @rule(text=st.sampled_from(UNRELATED))
    def say(self, text: str) -> None:
        self.pair.say(text)

    @precondition(lambda self: self.pair.link.state is State.READY)
    @rule(text=st.sampled_from(FATAL), really=st.booleans())
    def say_it_is_over(self, text: str, really: bool) -> None:
        if really:
            self.pair.say(text)

    @precondition(lambda self: self.pair.client.capacity > 0)
    @rule()
    def send_own_frame(self) -> None:
        self.pair.send('{"op":"subscribe","args":[]}')

    @precondition(lambda self: self.pair.client.capacity > 0)
    @rule(number=st.integers(0, 3))
    def place_an_order(self, number: int) -> None:
        """With its own id, or with that of a cancel; the exchange replies with the same id."""
        id = [*reversed(self.deadlines), "mine"][: number + 1][-1]
        args = {"instType": "SPOT", "instId": "BTCUSDT", "channel": "place-order", "params": PARAMS}
        frame: dict[str, object] = {"op": "trade", "args": [{"id": id, **args}]}
        if self.dialect is Dialect.UNIFIED:
            frame = {"op": "trade", "id": id, "topic": "place-order", "args": [PARAMS]}
        try:
            self.pair.send(json.dumps(frame))
        except ValidationError:
            outcome = self.pair.outcomes.get(id)
            assert outcome is None or (isinstance(outcome, Unresolved) and outcome.sent), (
                "the id was free"
            )
            visited["placement refused"] += 1
        else:
            assert id == "mine" or id in self.pair.outcomes
            visited["placement under the id of a cancel"] += id != "mine"

    @precondition(alive)
    @rule(seconds=st.sampled_from([0.0, 0.001, 0.5, 1.0, 5.0, 10.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.pair.run(seconds)

    @precondition(alive)
    @rule(times=st.integers(1, 5), when=st.sampled_from(["before", "at", "after"]))
    def wait_for_deadline(self, times: int, when: str) -> None:
        """Move to the next deadline: a tick early, exactly, or a tick late."""
        for _ in range(times):
            due = self.pair.next_due()
            if due == inf:
                return
            end = {"before": nextafter(due, -inf), "at": due, "after": nextafter(due, inf)}[when]
            self.pair._run_to(max(end, self.pair.clock.now))

    @precondition(alive)
    @rule()
    def fire_early(self) -> None:
        """A timer that fires too early, or twice, is harmless."""
        self.pair.client.handle_timeout(self.pair.clock.now)
        self.drain()

    @precondition(alive)
    @rule(really=RARELY)
    def drop(self, really: bool) -> None:
        if really or self.pair.client.state is State.DRAINING:
            self.pair.drop()

    @precondition(alive)
    @rule(on=RARELY)
    def stall(self, on: bool) -> None:
        self.pair.stall() if on else self.pair.resume()

    @precondition(alive)
    @rule(on=RARELY)
    def freeze(self, on: bool) -> None:
        self.pair.freeze() if on else self.pair.thaw()

    @precondition(alive)
    @rule(
        really=RARELY,
        route_dies=st.booleans(),
        queued=QUEUED,
        within=st.sampled_from([None, 0.5, 5.0]),
    )
    def close(self, really: bool, route_dies: bool, queued: Queued, within: float | None) -> None:
        if really:
            if route_dies:
                self.pair.freeze()
            self.pair.close(queued, within)
            visited["close, what is queued first"] += queued == "send" and alive(self)

    @invariant()
    def what_is_in_flight_has_no_outcome(self) -> None:
        if hasattr(self, "pair"):
            assert set(self.pair.outcomes) <= set(self.deadlines)
            assert self.pair.client.in_flight == len(self.deadlines) - len(self.pair.outcomes)

    def drain(self) -> None:
        self.pair._drain_client()
        self.pair.settle()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.end()
            self.check()

    def end(self) -> None:
        client = self.pair.client
        if client.state is State.NEW:
            client.lost(self.pair.clock.now, "never dialled")
            self.drain()
        elif client.state is not State.CLOSED:
            self.pair.close()
            if self.pair.client.state is not State.CLOSED:
                self.pair.run_until_closed()

    def check(self) -> None:
        pair = self.pair
        # Exactly one outcome each: StrictConnection raises for a second one.
        assert set(pair.outcomes) == set(self.deadlines)
        assert isinstance(pair.events[-1], Closed)
        # After the end there are no outputs, even after a stray timer or a second close.
        pair.client.handle_timeout(pair.clock.now)
        assert pair.client.poll(pair.clock.now) == Wait(until=None, timer=None)
        pair.client.close(pair.clock.now)
        assert pair.client.poll(pair.clock.now) == Wait(until=None, timer=None)
        client = cast("Watched", pair.client)
        self.check_outcomes(client)
        self.check_paces(client)

    def check_outcomes(self, client: Watched) -> None:
        pair = self.pair
        named = names_of(client.handed_out)
        acts = {named[act.id, name_of(act.order)]: act for act in pair.exchange.log}
        assert len(acts) == len(pair.exchange.log), "a cancel was sent twice"
        handed_out = {id: at for at, transmit in client.handed_out for id in transmit.ids}
        written = {id for _, transmit in pair.sent for id in transmit.ids}
        for id, outcome in pair.outcomes.items():
            act = acts.get(id)
            batch = act is not None and act.batch
            visited[type(outcome), "in a batch"] += batch
            match outcome:
                case Accepted():
                    assert act is not None
                    assert act.cancelled
                    learned = outcome.order_id
                    assert (learned is None) is (self.dialect is Dialect.CLASSIC)
                    assert learned in (None, outcome.order.order_id or learned)
                case Rejected(code=code):
                    assert act is not None
                    assert act.code == code
                    assert not act.cancelled
                case Unresolved(sent=True):
                    assert outcome.sent_at == handed_out[id]
                    # In a batch one answer may be sure of some orders, and unsure of others.
                    if batch and outcome.why is WhyUnresolved.UNSURE:
                        visited["unsure in a batch", outcome.code is None] += 1
                case Unresolved():
                    assert act is None
                    assert id not in written
                    assert outcome.sent_at is None
                    visited["taken back"] += id in handed_out
        assert all(at < self.deadlines[id] for id, at in handed_out.items()), (
            "a cancel was sent after its deadline"
        )

    def check_paces(self, client: Watched) -> None:
        frames = [(at, len(transmit.ids)) for at, transmit in client.handed_out]
        in_time([at for at, _ in frames], 10, "the pace was exceeded")
        singles = [at for at, ids in frames for _ in range(ids) if ids == 1]
        batches = [at for at, ids in frames if ids > 1]
        limit = client.config.max_batch
        assert limit is None or all(ids <= limit for _, ids in frames)
        each = [at for at, ids in frames for _ in range(ids)]
        if self.budget is None:
            in_time(each, 10, "more cancels than messages, whose limit nobody raised")
        elif self.budget.batches_per_second is None:
            in_time(each, 5, "the budget was exceeded")
        else:
            in_time(singles, 5, "the budget was exceeded")
            in_time(batches, self.budget.batches_per_second, "the budget of batches was exceeded")
        visited["a batch"] += len(batches)


class UnifiedLife(Life):
    """The same on a unified account, with batches."""

    dialect = Dialect.UNIFIED
    orders = UNIFIED_ORDERS


def in_time(times: list[float], limit: int, message: str) -> None:
    """Check that no window of 1.05 s has more than `limit` of these times."""
    assert all(later >= at + 1.05 for at, later in zip(times, times[limit:], strict=False)), message


def name_of(order: CancelOrder) -> tuple[str | None, str | None]:
    """Return the id that prevails."""
    return order.order_id, None if order.order_id is not None else order.client_oid


def names_of(
    handed_out: Sequence[tuple[float, Transmit | LinkTransmit]],
) -> dict[tuple[str, tuple[str | None, str | None]], str]:
    """Return the id of each sent cancel, by the id of its request and the order named there."""
    ids: dict[tuple[str, tuple[str | None, str | None]], str] = {}
    for _, transmit in handed_out:
        if not transmit.ids:
            continue
        frame = json.loads(transmit.text)
        request = frame["id"] if "id" in frame else frame["args"][0]["id"]
        for cancel, arg in zip(transmit.ids, frame["args"], strict=True):
            named = arg.get("params", arg)
            name = named.get("orderId"), None if "orderId" in named else named["clientOid"]
            # A session sends a cancel again under its own id, but never a batch.
            assert ids.get((request, name)) in (None, request), "twice in a frame, or in a batch"
            assert len(transmit.ids) > 1 or request == cancel
            ids[request, name] = cancel
    return ids


PROFILE = settings(
    stateful_step_count=60,
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


@pytest.mark.slow
@pytest.mark.parametrize("life", [Life, UnifiedLife])
def test_every_cancel_gets_one_true_outcome_and_everything_is_visited(life: type[Life]) -> None:
    expected: set[object] = set(State)
    # Interrupts are tested elsewhere, and only a session has NO_LINK.
    expected |= {
        (state, why)
        for state, row in TRANSITIONS.items()
        for why in row
        if why is not WhyClosed.INTERRUPTED
    }
    expected |= {
        ("fired", timer)
        for timer in (Timer.LOGIN, Timer.PONG, Timer.DRAIN, Timer.PING, Timer.SILENCE)
    }
    expected |= {
        ("wait", timer)
        for timer in (
            None,
            Timer.REQUEST,
            Timer.LOGIN,
            Timer.PONG,
            Timer.DRAIN,
            Timer.PING,
            Timer.SILENCE,
            Timer.PACING,
        )
    }
    expected |= {
        Accepted,
        Rejected,
        Ready,
        LoginRejected,
        LateReply,
        ExchangeError,
        GoingAway,
        Closed,
    }
    reasons = set(WhyUnresolved) - {WhyUnresolved.INTERRUPTED, WhyUnresolved.NO_LINK}
    expected |= {(Unresolved, True, why) for why in reasons - {WhyUnresolved.WITHDRAWN}}
    expected |= {(Unresolved, False, why) for why in reasons - {WhyUnresolved.UNSURE}}
    expected |= {
        "placement refused",
        "placement under the id of a cancel",
        "close, what is queued first",
        "taken back",
    }
    if life is UnifiedLife:
        expected |= {(kind, "in a batch") for kind in (Accepted, Rejected, Unresolved)}
        expected |= {("unsure in a batch", True), ("unsure in a batch", False), "a batch"}
    expected |= {
        (Unrecognised, why) for why in WhyUnrecognised if why is not WhyUnrecognised.NEVER_SENT
    }
    visited.clear()
    missing = expected
    for number in range(20):
        # Several short runs reach more than a long one, which stays near what it found first.
        run_state_machine_as_test(seed(number)(life), settings=PROFILE)
        missing = expected - set(visited)
        if not missing and number >= 5:
            break
    assert not missing, f"never visited: {missing}"
    assert not [key for key in visited if key == (Unresolved, False, WhyUnresolved.UNSURE)]


@pytest.mark.parametrize("why", WhyClosed)
def test_every_way_to_end_is_in_the_table(why: WhyClosed) -> None:
    assert any(why in row for row in TRANSITIONS.values())
