"""Random runs of a `Session` and a `Connection` break no promise; planted faults are found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable
from typing import Any

import attrs
import pytest
from tests.chaos.lives_dice import Dice, shrink
from tests.chaos.lives_world import Core, Plant, RandomRun
from tests.chaos.session_lives import counterexample, main, run_many

from bitget_proto import (
    Accepted,
    CancelOrder,
    CodeClass,
    Config,
    Dialect,
    LinkTransmit,
    Policy,
    Rejected,
    SessionConfig,
    SessionOutput,
    SignedLogin,
    Unresolved,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)

RUNS, SEED = 500, 1


class Forwarding:
    """A core that forwards every call; the base class of the faulty cores."""

    def __init__(self, core: Core, dice: Dice) -> None:
        self.core = core
        self.outcomes = 0

    @property
    def capacity(self) -> int:
        return self.core.capacity

    @property
    def in_flight(self) -> int:
        return self.core.in_flight

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        return self.core.cancel(order, now, id, timeout, policy, urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        return self.core.cancel_many(orders, now, timeout, policy)

    def withdraw(self, id: str, now: float) -> bool:
        return self.core.withdraw(id, now)

    def send(self, text: str, now: float) -> None:
        self.core.send(text, now)

    def close(self, now: float, queued: str = "drop", within: float | None = None) -> None:
        self.core.close(now, queued, within)

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        self.core.opened(link, now, login=login)

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        self.core.receive(link, message, now)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        self.core.lost(link, now, reason, unsent, retry_after)

    def handle_timeout(self, now: float) -> None:
        self.core.handle_timeout(now)

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = self.core.poll(now, busy)
        if isinstance(output, Accepted | Rejected | Unresolved):
            self.outcomes += 1
        return output


class DropsAnOutcome(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, Accepted | Rejected | Unresolved) and self.outcomes == 5:
            return super().poll(now, busy)
        return output


class DoublesAnOutcome(Forwarding):
    again: SessionOutput | None = None

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        if self.again is not None:
            output, self.again = self.again, None
            return output
        output = super().poll(now, busy)
        if isinstance(output, Accepted | Rejected | Unresolved) and self.outcomes == 5:
            self.again = output
        return output


class ReportsWrongSent(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, Unresolved) and output.sent and output.why is WhyUnresolved.LOST:
            return attrs.evolve(output, sent=False)
        return output


class ReportsAcceptedForRejected(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, Rejected):
            return Accepted(
                id=output.id,
                order=output.order,
                attempts=output.attempts,
                taken_at=output.taken_at,
                sent_at=output.sent_at,
                resolved_at=output.resolved_at,
                exchange_ts=output.exchange_ts,
            )
        return output


class MiscountsAttempts(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, Accepted | Unresolved) and output.attempts > 1:
            return attrs.evolve(output, attempts=output.attempts - 1)
        return output


class SendsAfterTheDeadline(Forwarding):
    """Adds half a second to the timeout of each cancel."""

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        return self.core.cancel(
            order, now, id, None if timeout is None else timeout + 0.5, policy, urgent
        )


class SendsWhileBusy(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        return super().poll(now)


class IgnoresUnsent(Forwarding):
    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        forgotten = isinstance(unsent, list) and all(isinstance(id, str) for id in unsent)
        self.core.lost(link, now, reason, () if forgotten else unsent, retry_after)


class AlwaysWithdraws(Forwarding):
    def withdraw(self, id: str, now: float) -> bool:
        return self.core.withdraw(id, now) or True


class WaitsTooLong(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, Wait) and output.until is not None:
            return Wait(output.until + 0.5, output.timer)
        return output


class WaitsForever(Forwarding):
    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        return Wait(None, None) if isinstance(output, Wait) and self.core.in_flight else output


class Spins(Forwarding):
    fired = 0.0

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.fired = now

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, Wait) and output.until is not None and self.fired == now:
            return Wait(now, output.timer)
        return output


class DoublesAFrame(Forwarding):
    again: SessionOutput | None = None

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        if self.again is not None:
            output, self.again = self.again, None
            return output
        output = super().poll(now, busy)
        if isinstance(output, LinkTransmit) and any(id.endswith("3") for id in output.ids):
            self.again = output
        return output


class NamesAnotherOrder(Forwarding):
    """Names the first order of a batch again in place of the second one."""

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        output = super().poll(now, busy)
        if isinstance(output, LinkTransmit) and len(output.ids) > 1:
            frame = json.loads(output.text)
            frame["args"][1] = frame["args"][0]
            return attrs.evolve(output, text=json.dumps(frame))
        return output


class RaisesSomethingElse(Forwarding):
    def withdraw(self, id: str, now: float) -> bool:
        if self.outcomes == 3:
            raise KeyError(id)
        return self.core.withdraw(id, now)


class IgnoresUrgency(Forwarding):
    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        return self.core.cancel(order, now, id, timeout, policy)


def link(**changes: Any) -> Callable[[SessionConfig], SessionConfig]:
    return lambda config: attrs.evolve(config, link=attrs.evolve(config.link, **changes))


def whole(**changes: Any) -> Callable[[SessionConfig], SessionConfig]:
    return lambda config: attrs.evolve(config, **changes)


PLANTS = (
    (Plant("drops an outcome", wrap=DropsAnOutcome), {"one outcome", "late", "wait", "lost"}),
    (Plant("doubles an outcome", wrap=DoublesAnOutcome), {"one outcome"}),
    (Plant("reports a wrong sent", wrap=ReportsWrongSent), {"sent"}),
    (Plant("reports accepted for rejected", wrap=ReportsAcceptedForRejected), {"answer"}),
    (Plant("miscounts attempts", wrap=MiscountsAttempts), {"times"}),
    (
        Plant("sends after the deadline", wrap=SendsAfterTheDeadline),
        {"deadline", "late", "wait"},
    ),
    (Plant("sends while busy", wrap=SendsWhileBusy), {"busy"}),
    (
        Plant("ignores unsent", wrap=IgnoresUnsent),
        {"times", "sent", "lost", "resend", "late", "wait"},
    ),
    (Plant("withdraw always returns true", wrap=AlwaysWithdraws), {"withdraw"}),
    (Plant("waits too long", wrap=WaitsTooLong), {"wait", "late"}),
    (Plant("waits forever", wrap=WaitsForever), {"wait", "late"}),
    (Plant("spins", wrap=Spins), {"spin"}),
    (Plant("doubles a frame", wrap=DoublesAFrame), {"hand-out", "pace"}),
    (Plant("raises something else", wrap=RaisesSomethingElse), {"raise"}),
    (Plant("ignores urgency", wrap=IgnoresUrgency), {"turn"}),
    (Plant("11 frames per second", config=link(messages_per_second=11)), {"pace"}),
    (Plant("no pace_margin", config=link(pace_margin=None)), {"pace"}),
    (Plant("11 cancels per second", per_second=11), {"budget", "pace"}),
    (Plant("no queue_timeout", config=link(queue_timeout=None)), {"late", "wait"}),
    (Plant("a longer answer_timeout", config=link(answer_timeout=10.5)), {"late", "wait"}),
    (Plant("no silence timer", config=link(silence=None)), {"late", "wait"}),
    (Plant("a longer silence_pong", config=link(silence_pong=6.0)), {"late", "wait"}),
    (Plant("a longer no_link_timeout", config=whole(no_link_timeout=11.0)), {"late", "wait"}),
    (Plant("no dial_timeout", config=whole(dial_timeout=None)), {"late", "wait"}),
    (Plant("no backoff", config=whole(backoff_min=0.01)), {"backoff"}),
    (Plant("dials too often", config=whole(dials_per_5_minutes=None)), {"dials"}),
    (Plant("no resend_interval", config=whole(resend_interval=None)), {"resend"}),
    (Plant("resends with every policy", config=whole(policy=Policy.RESEND)), {"resend", "lost"}),
    (Plant("resends by client_oid", config=whole(client_oids_unique=True)), {"resend", "lost"}),
)


@pytest.mark.parametrize(("plant", "rules"), PLANTS, ids=[plant.name for plant, _ in PLANTS])
def test_a_planted_fault_is_found(plant: Plant, rules: set[str]) -> None:
    [found] = run_many(1000, SEED, Counter(), plant=plant)
    assert found.broken.rule in rules, found.broken


UNIFIED_PLANTS = (
    (Plant("names another order", wrap=NamesAnotherOrder), {"frame"}),
    (Plant("reports accepted for rejected", wrap=ReportsAcceptedForRejected), {"answer"}),
    (Plant("reports a wrong sent", wrap=ReportsWrongSent), {"sent"}),
    (Plant("11 cancels per second", per_second=11), {"budget", "pace"}),
    (Plant("larger batches", config=link(max_batch=None)), {"batch"}),
)


@pytest.mark.parametrize(
    ("plant", "rules"), UNIFIED_PLANTS, ids=[plant.name for plant, _ in UNIFIED_PLANTS]
)
def test_a_planted_fault_is_found_on_unified_accounts(plant: Plant, rules: set[str]) -> None:
    [found] = run_many(1000, SEED, Counter(), plant=plant, dialect=Dialect.UNIFIED)
    assert found.broken.rule in rules, found.broken


@pytest.mark.slow
@pytest.mark.parametrize("session", [True, False])
def test_no_promise_is_broken_on_unified_accounts(session: bool) -> None:
    visits: Counter[str] = Counter()
    assert run_many(RUNS, SEED, visits, session=session, dialect=Dialect.UNIFIED) == []
    wanted = {
        "batch",
        "answer to a batch",
        "items of a batch missing, twice or reordered",
        *(["a batch named in unsent"] if session else []),
        "outcome: accepted",
        "outcome: rejected, not found",
        "outcome: unresolved, unsure, sent",
        "LateReply",
    }
    assert {name for name in wanted if not visits[name]} == set()


@pytest.mark.slow
def test_no_promise_of_a_session_is_broken_and_all_cases_occur() -> None:
    visits: Counter[str] = Counter()
    assert run_many(RUNS, SEED, visits) == []
    wanted = {
        *(
            f"outcome: unresolved, {why.value}, sent"
            for why in (WhyUnresolved.TIMEOUT, WhyUnresolved.LOST, WhyUnresolved.UNSURE)
        ),
        *(
            f"outcome: unresolved, {why.value}, not sent"
            for why in (WhyUnresolved.TIMEOUT, WhyUnresolved.NO_LINK)
        ),
        *(
            f"outcome: rejected, {kind.value}"
            for kind in (CodeClass.NOT_FOUND, CodeClass.BAD_PARAMETERS, CodeClass.THROTTLED)
        ),
        *(f"closed: {why.value}" for why in WhyClosed if why is not WhyClosed.INTERRUPTED),
        *(f"ended: {why.value}" for why in WhyEnded if why is not WhyEnded.INTERRUPTED),
        "outcome: accepted",
        "outcome of a resent cancel",
        "LateReply",
        "id reused",
        "named in unsent",
        "moved",
        "granted",
        "debited",
        "own frame handed out",
    }
    assert {name for name in wanted if not visits[name]} == set()


@pytest.mark.slow
def test_no_promise_of_a_connection_is_broken() -> None:
    visits: Counter[str] = Counter()
    assert run_many(RUNS, SEED, visits, session=False) == []
    assert visits["outcome: accepted"] > 100


def test_a_counterexample_is_short_and_lists_the_calls() -> None:
    plant = Plant("doubles an outcome", wrap=DoublesAnOutcome)
    [found] = run_many(2000, SEED, Counter(), plant=plant)
    broken, log = counterexample(found, plant=plant, seconds=5.0)
    assert broken.rule == found.broken.rule
    assert log[0].startswith("s = Session(")
    assert sum(line.startswith("s.cancel(") for line in log) < 20


def test_a_tape_reproduces_its_run() -> None:
    first, again = Dice(7), Counter[str]()
    visits: Counter[str] = Counter()
    RandomRun(first, visits).run()
    RandomRun(Dice(tape=first.tape), again).run()
    assert visits == again


def test_a_tape_is_shrunk_to_the_failing_choice() -> None:
    tape = [[1, 2], [3], [4, 9, 5], [6], [7]]
    assert shrink(tape, lambda tape: any(9 in part for part in tape)) == [[], [9], []]


def test_the_command_prints_the_number_of_visits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "20", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert "20 runs of a session (classic) from seed 1" in printed
    assert "Every promise was kept." in printed
    assert Config().answer_timeout == 10.0
