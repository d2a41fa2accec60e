"""Random runs of a session whose cancels may go by REST, in virtual time.

Hypothesis lets links come and go, and REST fail in every way, in any order. Afterwards every cancel
must have one outcome, which must agree with the exchange's own log. No cancel may ever be out by REST
and on a link at once. Each run is recorded, and its trace must replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from math import inf, nextafter

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
    Codec,
    Config,
    Credentials,
    Dialect,
    Ended,
    InstType,
    LateReply,
    LinkClosed,
    LinkTransmit,
    LoginRejected,
    Outcome,
    Policy,
    Rejected,
    RestCancel,
    SessionConfig,
    SessionOutput,
    SessionState,
    State,
    Timer,
    Unresolved,
    Up,
    Wait,
    WhyEnded,
    WhyUnresolved,
    record,
    replay,
)
from bitget_proto._machine.arguments import Queued
from bitget_proto.testing import (
    Act,
    ExchangeConfig,
    Fault,
    RestFault,
    ScriptedExchange,
    SessionPair,
    StrictSession,
)

from .test_promise import in_time, name_of, names_of

KEY = Credentials("key", "secret", "passphrase")
WRONG_KEY = Credentials("key", "another secret", "passphrase")
ORDERS = [
    *(CancelOrder("BTCUSDT", order_id=str(n), inst_type=InstType.SPOT) for n in range(60)),
    *(CancelOrder("BTCUSDT", client_oid=f"alone-{n}") for n in range(10)),
    *(CancelOrder("BTCUSDT", order_id=f"gone-{n}") for n in range(3)),
]
GOING = '{"event":"error","code":30033,"msg":"going away"}'
RARELY = st.sampled_from([False, False, False, False, True])
AFTER = 1.5
QUEUE_TIMEOUT = 40.0
CONFIG = SessionConfig(
    link=Config(
        max_in_flight=30, drain_timeout=3.0, queue_timeout=QUEUE_TIMEOUT, answer_timeout=6.0
    ),
    rest_after=AFTER,
    no_link_timeout=12.0,
    backoff_max=4.0,
    dial_timeout=6.0,
)

visited: Counter[object] = Counter()


@attrs.define(eq=False)
class Try:
    """An attempt of a cancel."""

    at: float
    link: int | None
    """None for REST."""

    counts: bool = True
    """False if it was provably not sent, or refused with 429."""

    over: bool = False


class Watched(StrictSession):
    """A session that checks each output against its inputs."""

    def __init__(self, config: SessionConfig, codec: Codec, budget: Budget) -> None:
        super().__init__(config, codec, budget, jitter=lambda: 0.5)
        self.tries: dict[str, list[Try]] = {}
        """The attempts of each cancel that was taken."""
        self.taken: dict[str, tuple[float, float, Policy]] = {}
        """When it was taken, the end of its own timeout, and its policy."""
        self.answered: dict[str, Outcome] = {}
        self.asked: dict[int, Try] = {}
        self.frames: list[tuple[float, LinkTransmit]] = []
        self.spent: list[float] = []
        self.refused = False

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        taken = super().cancel(order, now, id, timeout, policy, urgent)
        until = now + (inf if timeout is None else timeout)
        self.taken[taken] = now, until, policy or self.config.policy
        self.tries[taken] = []
        return taken

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        for id in unsent:
            last = self.tries[id][-1]
            if last.link == link and id not in self.answered:
                last.counts = False
        super().lost(link, now, reason, unsent, retry_after)

    def rest_replied(self, number: int, reply: tuple[int, str | bytes], now: float) -> None:
        one = self.asked[number]
        one.over = True
        if reply[0] == 429:
            one.counts = one.counts and self.settled(one)
            visited["429"] += 1
        super().rest_replied(number, reply, now)

    def rest_failed(self, number: int, reason: str, now: float, *, unsent: bool = False) -> None:
        one = self.asked[number]
        one.over = True
        if unsent:
            one.counts = one.counts and self.settled(one)
            visited["unsent"] += 1
        super().rest_failed(number, reason, now, unsent=unsent)

    def settled(self, one: Try) -> bool:
        """Whether the cancel of this attempt had its outcome before."""
        return any(one in tries and id in self.answered for id, tries in self.tries.items())

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        visited[self.state] += 1
        match output:
            case Wait(timer=timer):
                visited["wait", timer] += 1
            case LinkTransmit(ids=ids, link=link):
                self.frames.append((now, output))
                for id in ids:
                    self.sends(id, now, link)
            case RestCancel(id=id, number=number):
                assert not self.refused, "by REST after a refused login"
                assert now >= self.taken[id][0] + AFTER, "by REST too early"
                self.asked[number] = self.sends(id, now, None)
                visited["link is up", self.state is SessionState.UP] += 1
            case LinkClosed(link=link):
                for one in (one for tries in self.tries.values() for one in tries):
                    one.over = one.over or one.link == link
            case LoginRejected(code=code):
                self.refused = self.refused or code != "45001"
            case Up():
                self.refused = False
                out = [one for one in self.asked.values() if not one.over]
                visited["up while REST is out"] += bool(out)
            case Accepted() | Rejected() | Unresolved():
                self.settles(output, now)
            case Ended(why=why):
                assert set(self.answered) == set(self.taken)
                visited[Ended, why] += 1
            case LateReply(id=id):
                late = self.answered[id]
                assert isinstance(late, Unresolved)
                assert late.sent
                visited[LateReply, self.tries[id][-1].link is None] += 1
            case _:
                pass
        return output

    def sends(self, id: str, now: float, link: int | None) -> Try:
        """An attempt is handed out."""
        at, until, policy = self.taken[id]
        assert id not in self.answered, "sent after it had its outcome"
        assert now < min(at + QUEUE_TIMEOUT, until), "sent after its deadline"
        before = self.tries[id]
        assert all(one.over for one in before), "both ways at once"
        if real := [one for one in before if one.counts]:
            assert policy is Policy.RESEND, "sent twice"
            assert now >= real[-1].at + 1.0, "the same order within a second"
            assert real[-1].link is not None, "sent again after an attempt by REST"
            visited["again", "by REST" if link is None else "by a link"] += 1
        elif before and before[-1].link is None and link is not None:
            visited["a link sends what REST did not take"] += 1
        self.spent.append(now)
        self.tries[id].append(one := Try(now, link))
        return one

    def settles(self, outcome: Outcome, now: float) -> None:
        id = outcome.id
        assert id not in self.answered, "a second outcome"
        self.answered[id] = outcome
        real = [one for one in self.tries[id] if one.counts]
        assert (outcome.taken_at, outcome.resolved_at) == (self.taken[id][0], now)
        assert outcome.attempts == max(1, len(real))
        by_rest = tuple(n for n, one in enumerate(real, 1) if one.link is None)
        assert outcome.by_rest == by_rest
        assert outcome.sent_at == (real[-1].at if real else None)
        way = "never" if not real else "by REST" if real[-1].link is None else "by a link"
        if isinstance(outcome, Unresolved):
            assert outcome.sent == bool(real)
            visited[way, outcome.why] += 1
            if outcome.why is WhyUnresolved.NO_LINK:
                assert self.state is not SessionState.UP
                assert now >= self.taken[id][0] + 12.0
        else:
            visited[way, type(outcome), outcome.attempts > 1] += 1


class Pair(SessionPair):
    """It notes which entries of the exchange's log are of which REST request."""

    acts: dict[int, str]

    def _let_arrive(self, request: object) -> None:
        before = len(self.exchange.log)
        super()._let_arrive(request)  # type: ignore[arg-type]
        for number in range(before, len(self.exchange.log)):
            self.acts[number] = request.cancel.id  # type: ignore[attr-defined]


def alive(life: RestLife) -> bool:
    return life.session.state is not SessionState.ENDED


def linked(life: RestLife) -> bool:
    return bool(life.pair.links)


class RestLife(RuleBasedStateMachine):
    """A session, from the start to the end."""

    dialect = Dialect.CLASSIC

    pair: Pair
    session: Watched
    exchange: ScriptedExchange
    lines: list[str]

    @initialize(
        how=st.sampled_from(["up", "up", "refused", "refused", "held", "wrong key", "skewed"]),
        latency=st.sampled_from([0.0, 0.05, 0.5]),
        policy=st.sampled_from(Policy),
        unique=st.booleans(),
        per_second=st.sampled_from([2, 5, 10]),
        slow=st.booleans(),
        links=st.sampled_from([1, 1, 2, 3]),
    )
    def begin(
        self,
        how: str,
        latency: float,
        policy: Policy,
        unique: bool,
        per_second: int,
        slow: bool,
        links: int,
    ) -> None:
        self.exchange = ScriptedExchange(
            [attrs.evolve(order, inst_type=InstType.SPOT) for order in ORDERS[:70]],
            credentials=KEY,
            config=ExchangeConfig(dialect=self.dialect),
            refusals={"58": "40018", "59": "25006" if self.dialect is Dialect.UNIFIED else "40769"},
            grace=20.0,
        )
        link = attrs.evolve(CONFIG.link, messages_per_second=2 if slow else 10)
        config = attrs.evolve(
            CONFIG, policy=policy, client_oids_unique=unique, link=link, links=links
        )
        self.budget = Budget(per_second)
        self.session = Watched(config, Codec(dialect=self.dialect), self.budget)
        self.lines = []
        session = record(self.session, self.lines.append)
        self.pair = pair = Pair(session, self.exchange, latency=latency, dial_time=latency)
        pair.acts = {}
        pair.refuse_dials, pair.hold_dials = how == "refused", how == "held"
        if how == "wrong key":
            pair.credentials = WRONG_KEY
            pair.hold_dials = True
        if how == "skewed":
            self.exchange.refuse_logins(2, "30013")
            pair.dial_time = 2.0
        pair.start()
        pair.run(3 * latency)

    @precondition(lambda self: self.session.capacity > 0)
    @rule(
        first=st.integers(0, len(ORDERS) - 1),
        many=st.integers(1, 6),
        timeout=st.sampled_from([None, None, None, 2.0, 5.0, 20.0]),
        policy=st.sampled_from([None, *Policy]),
        urgent=RARELY,
    )
    def cancel(
        self, first: int, many: int, timeout: float | None, policy: Policy | None, urgent: bool
    ) -> None:
        for number in range(many):
            if self.session.capacity:
                order = ORDERS[(first + number) % len(ORDERS)]
                self.pair.cancel(order, timeout=timeout, policy=policy, urgent=urgent)

    @precondition(lambda self: self.session.taken)
    @rule(which=st.integers(0, 5))
    def withdraw(self, which: int) -> None:
        ids = [*self.session.taken]
        self.pair.withdraw(ids[-1 - which % len(ids)])

    @rule(faults=st.lists(st.sampled_from([None, *RestFault]), min_size=1, max_size=4))
    def rest_goes_wrong(self, faults: list[RestFault | None]) -> None:
        self.exchange.inject_rest(*faults)

    @rule(how=st.sampled_from(["well", "well", "refused", "held"]))
    def rest_works(self, how: str) -> None:
        self.pair.refuse_rest, self.pair.hold_rest = how == "refused", how == "held"

    @rule(latency=st.sampled_from([0.0, 0.05, 0.5, 2.0, 7.0]))
    def network_is(self, latency: float) -> None:
        self.pair.latency = latency

    @rule(faults=st.lists(st.sampled_from([None, *Fault]), min_size=1, max_size=3))
    def link_goes_wrong(self, faults: list[Fault | None]) -> None:
        self.exchange.inject(*faults)

    @rule(how=st.sampled_from(["well", "well", "refused", "refused", "held", "slow"]))
    def dials_go(self, how: str) -> None:
        self.pair.refuse_dials, self.pair.hold_dials = how == "refused", how == "held"
        self.pair.dial_time = {"slow": 5.0}.get(how, 0.05)

    @rule(
        times=st.integers(1, 3),
        code=st.sampled_from(["30005", "45001", "30013", "30011"]),
        really=RARELY,
    )
    def logins_are_refused(self, times: int, code: str, really: bool) -> None:
        if really:
            self.exchange.refuse_logins(times, code)

    @rule(number=st.integers(1, 10))
    def another_client_spends(self, number: int) -> None:
        self.budget.debit(number, self.pair.clock.now)
        self.pair.start()

    @precondition(linked)
    @rule(how=st.sampled_from(["drop", "drop", "stall", "resume", "freeze", "thaw", "going away"]))
    def link_is(self, how: str) -> None:
        pair = self.pair
        match how:
            case "drop":
                pair.drop()
            case "stall":
                pair.stall()
            case "resume":
                pair.resume()
            case "freeze":
                pair.freeze()
            case "thaw":
                pair.thaw()
            case _:
                newest = max(pair.links)
                if pair.links[newest].state is not State.CLOSED:
                    pair.say(GOING, newest)

    @precondition(lambda self: self.session.capacity > 5)
    @rule(
        fault=st.sampled_from([None, *RestFault]),
        comes_back=st.booleans(),
        then=st.sampled_from(["wait", "wait", "wait", "close", "refused", "stamp"]),
        really=st.booleans(),
    )
    def lose_the_link(
        self, fault: RestFault | None, comes_back: bool, then: str, really: bool
    ) -> None:
        """The way to cancels that are out by REST, which nothing else walks often enough."""
        if not really:
            return
        pair = self.pair
        pair.latency = 0.5
        pair.refuse_dials, pair.hold_dials = True, False
        policy = Policy.RESEND if comes_back else Policy.REPORT
        if self.session.state is SessionState.UP:
            self.exchange.inject(Fault.SILENT)
            pair.cancel(ORDERS[40], policy=policy)
        if pair.links:
            pair.drop()
        self.exchange.inject_rest(fault)
        for order in ORDERS[41:44]:
            pair.cancel(order, policy=policy)
        pair.run(AFTER + 0.6)
        if then == "close" and fault in (None, RestFault.CUT_AFTER):
            pair.close()
            return
        if then in ("refused", "stamp") and fault is None:
            self.exchange.refuse_logins(3, "30011" if then == "refused" else "30013")
            pair.hold_rest = True
        pair.refuse_dials = not comes_back
        pair.dial_time = 0.05
        pair.run(5.0)

    @precondition(alive)
    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 15.0]))
    def wait(self, seconds: float) -> None:
        self.pair.run(seconds)

    @precondition(alive)
    @rule(seconds=st.sampled_from([0.5, 3.0, 8.0]), really=RARELY)
    def sleep(self, seconds: float, really: bool) -> None:
        if really:
            self.pair.sleep(seconds)

    @precondition(alive)
    @rule(times=st.integers(1, 5), when=st.sampled_from(["before", "at", "after"]))
    def wait_for_deadline(self, times: int, when: str) -> None:
        for _ in range(times):
            due = self.pair.next_due()
            if due == inf:
                return
            end = {"before": nextafter(due, -inf), "at": due, "after": nextafter(due, inf)}[when]
            self.pair._run_to(max(end, self.pair.clock.now))

    @precondition(alive)
    @rule(
        really=RARELY,
        queued=st.sampled_from(["drop", "send"]),
        within=st.sampled_from([None, None, 0.5, 5.0]),
    )
    def close(self, really: bool, queued: Queued, within: float | None) -> None:
        if really:
            self.pair.close(queued, within)

    @invariant()
    def what_is_in_flight_has_no_outcome(self) -> None:
        if hasattr(self, "pair"):
            session = self.session
            assert session.in_flight == len(session.taken) - len(session.answered)

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            if alive(self):
                self.pair.close()
                self.pair.close()
                self.pair.run_until_ended()
            self.check()

    def check(self) -> None:
        session = self.session
        assert isinstance(self.pair.events[-1], Ended)
        assert set(session.answered) == set(session.taken)
        in_time(sorted(session.spent), self.budget.per_second or 0, "the budget")
        named = names_of(session.frames)
        acts: dict[str, list[Act]] = {id: [] for id in session.taken}
        for number, act in enumerate(self.exchange.log):
            by_rest = self.pair.acts.get(number)
            acts[by_rest or named[act.id, name_of(act.order)]].append(act)
        for id, found in session.answered.items():
            cancelled = any(act.cancelled for act in acts[id])
            match found:
                case Accepted():
                    assert cancelled
                case Rejected(code=code):
                    assert code in {act.code for act in acts[id]} | {"40009"}
                    assert not cancelled or found.attempts > 1
                case Unresolved(sent=False):
                    # 429 is no attempt: the exchange did not act.
                    assert {act.code for act in acts[id]} <= {"429"}
                case Unresolved():
                    pass
        assert replay(self.lines) is None


class UnifiedRestLife(RestLife):
    """The same on a unified account."""

    dialect = Dialect.UNIFIED


TO_BE_VISITED: set[object] = {
    *SessionState,
    *(("wait", timer) for timer in (Timer.REST, Timer.REQUEST, Timer.DRAIN, Timer.PACING, Timer.NO_LINK, Timer.SPACING)),
    *((Ended, why) for why in WhyEnded if why is not WhyEnded.INTERRUPTED),
    *(("link is up", up) for up in (False, True)),
    *(("by REST", why) for why in (WhyUnresolved.UNSURE, WhyUnresolved.TIMEOUT, WhyUnresolved.CLOSED)),
    ("by REST", Accepted, False), ("by REST", Accepted, True), ("by REST", Rejected, False),
    *(("by a link", kind, False) for kind in (Accepted, Rejected)),
    *(("never", why) for why in (WhyUnresolved.NO_LINK, WhyUnresolved.TIMEOUT, WhyUnresolved.CLOSED, WhyUnresolved.WITHDRAWN)),
    *(("again", way) for way in ("by REST", "by a link")),
    *((LateReply, by_rest) for by_rest in (False, True)),
    "429", "unsent", "a link sends what REST did not take", "up while REST is out",
}  # fmt: skip

PROFILE = settings(
    stateful_step_count=40,
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


@pytest.mark.parametrize("life", [RestLife, UnifiedRestLife])
def test_a_few_runs_keep_the_promise(life: type[RestLife]) -> None:
    run_state_machine_as_test(seed(1)(life), settings=settings(PROFILE, max_examples=8))


@pytest.mark.slow
@pytest.mark.parametrize("life", [RestLife, UnifiedRestLife])
def test_every_cancel_gets_exactly_one_honest_outcome_by_one_way_at_a_time(
    life: type[RestLife],
) -> None:
    visited.clear()
    missing = TO_BE_VISITED
    for number in range(100):
        run_state_machine_as_test(seed(number)(life), settings=PROFILE)
        missing = TO_BE_VISITED - set(visited)
        if not missing and number >= 3:
            break
    assert not missing, f"never visited: {missing}"
