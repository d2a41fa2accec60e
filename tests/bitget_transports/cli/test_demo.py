"""`bitget-cancel demo` shows what happened, and fails when the promise is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    Cancelled,
    CancelOrder,
    CodeClass,
    Dialect,
    Filled,
    Final,
    NotFound,
    Outcome,
    Rejected,
    StillOpen,
    Unknown,
    Unresolved,
    WhyUnknown,
    WhyUnresolved,
)
from bitget_proto.testing import Act
from bitget_transports.cli import _demo
from bitget_transports.cli._carriers import Carrier, Job, carry
from bitget_transports.cli._proof import contradictions, false_states

from .running import CARRIERS, Shell, finished, process, spot


@pytest.mark.slow
def test_every_transport_runs_and_the_counts_add_up() -> None:
    with process("demo", "--json", "--orders", "60", environment={}) as running:
        ran = finished(running)
    assert ran.code == 0
    runs = ran.of("run")
    assert [run["transport"] for run in runs] == list(CARRIERS)
    for run in runs:
        parts = sum(
            n
            for part in ("rejected", "unresolved_sent", "unresolved_not_sent")
            for n in run[part].values()
        )
        assert run["accepted"] + parts == run["cancels"] == run["outcomes"] == 60
        assert run["accepted"] > 20
        assert {"not found", "finished"} <= set(run["rejected"])
        assert 0.0 < run["p50_ms"] <= run["p99_ms"]
        assert not run["contradictions"]
    assert all("lost" not in run["unresolved_sent"] for run in runs[:-1])
    assert runs[-1]["unresolved_sent"]["lost"] > 0
    (verdict,) = ran.of("verdict")
    assert verdict["holds"] is True
    assert verdict["cancels"] == verdict["outcomes"] == 240
    assert "Injected faults: " in ran.err
    assert "No rate limit here" in ran.err


@pytest.mark.slow
def test_a_unified_account_cancels_in_batches(shell: Shell) -> None:
    ran = shell(
        "demo", "--account", "unified", "--orders", "120", "--transport", "blocking", "--json"
    )
    assert ran.code == 0
    (run,) = ran.of("run")
    assert run["accepted"] > 20
    # A fault may hide the refusal of an order that shares its frame.
    assert run["rejected"]
    assert {"unsure", "lost"} <= set(run["unresolved_sent"])
    (verdict,) = ran.of("verdict")
    assert verdict["holds"] is True
    assert verdict["cancels"] == verdict["outcomes"] == 120
    assert verdict["batches"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("dialect", Dialect)
def test_the_states_of_the_orders_are_looked_up_and_compared(
    shell: Shell, carrier: str, dialect: Dialect
) -> None:
    options = ("--confirm", "--orders", "100", "--account", dialect.value, "--transport", carrier)
    ran = shell("demo", *options, "--json")
    assert ran.code == 0
    (run,) = ran.of("run")
    states = run["states"]
    assert {"cancelled", "not found", "still open"} <= states.keys()
    unsent = sum(run["unresolved_not_sent"].values())
    assert sum(states.values()) == 100 - unsent
    assert "unknown" not in states
    assert "each is so on the exchange" in ran.err
    assert not run["contradictions"]


def test_output_is_plain_text_without_a_terminal(shell: Shell) -> None:
    ran = shell("demo", "--orders", "20", "--transport", "blocking")
    assert ran.code == 0
    assert not set("╭│━") & set(ran.out)
    assert "20 outcomes for 20 cancels, one each, all correct." in ran.out
    assert all(line == line.rstrip() for line in ran.out.splitlines())


def test_a_missing_transport_is_skipped_with_an_install_hint(
    shell: Shell,
) -> None:
    there = {Carrier.BLOCKING}
    shell.patch.setattr(_demo, "installed", there.__contains__)
    ran = shell("demo", "--orders", "1", "--json")
    assert ran.code == 0
    assert [line["install"] for line in ran.of("skipped")] == [
        "bitget-proto[anyio]", "bitget-proto[anyio,trio]", "bitget-proto[asyncio]",
    ]  # fmt: skip
    assert (
        "skipped: anyio on trio needs packages that are not installed: pip install 'bitget-proto[anyio,trio]'"
        in ran.err
    )
    there.clear()
    ran = shell("demo")
    assert ran.code == 2
    assert "bitget-proto[cli]" in ran.err


def accepted(order: CancelOrder, id: str = "x") -> Accepted:
    return Accepted(
        id=id, order=order, taken_at=0.0, sent_at=0.0, resolved_at=0.1, exchange_ts=None
    )


def unresolved(order: CancelOrder, *, sent: bool) -> Unresolved:
    return Unresolved(
        id="x",
        order=order,
        taken_at=0.0,
        sent_at=None,
        resolved_at=0.1,
        sent=sent,
        why=WhyUnresolved.TIMEOUT,
    )


def rejected(order: CancelOrder, code: str) -> Rejected:
    return Rejected(
        id="x", order=order, taken_at=0.0, sent_at=0.0, resolved_at=0.1, code=code, code_class=CodeClass.of(code), message="",
        exchange_ts=None,
    )  # fmt: skip


LIES: dict[str, Callable[[Outcome], list[Outcome]]] = {
    "lost": lambda _: [],
    "doubled": lambda outcome: [outcome, outcome],
    "guessed": lambda outcome: [accepted(outcome.order)],
    "denied": lambda outcome: [unresolved(outcome.order, sent=False)],
}


@pytest.mark.parametrize("lie", LIES)
def test_it_fails_when_a_transport_breaks_the_promise(shell: Shell, lie: str) -> None:
    def lying(carrier: Carrier, job: Job) -> None:
        on_outcome = job.on_outcome
        first = True

        def report(outcome: Outcome) -> None:
            nonlocal first
            for reported in LIES[lie](outcome) if first else [outcome]:
                on_outcome(reported)
            first = False

        object.__setattr__(job, "on_outcome", report)
        carry(carrier, job)

    shell.patch.setattr(_demo, "carry", lying)
    ran = shell("demo", "--orders", "1", "--transport", "blocking", "--json")
    assert ran.code == 1
    (verdict,) = ran.of("verdict")
    assert verdict["holds"] is False
    assert verdict["contradictions"]
    assert "FAILED: " in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("lie", ["lost", "wrong"])
def test_it_fails_when_a_state_is_missing_or_wrong(shell: Shell, lie: str) -> None:
    def lying(carrier: Carrier, job: Job) -> None:
        on_final = job.on_final

        def report(final: Final) -> None:
            if lie == "wrong":
                on_final(not_found(final.outcome))

        object.__setattr__(job, "on_final", report)
        carry(carrier, job)

    shell.patch.setattr(_demo, "carry", lying)
    ran = shell("demo", "--confirm", "--orders", "1", "--transport", "blocking", "--json")
    assert ran.code == 1
    (verdict,) = ran.of("verdict")
    said = "was not looked up" if lie == "lost" else "is NotFound, but the exchange shows"
    assert said in verdict["contradictions"][0]


# --- finding contradictions ---

ONE, TWO = spot("1", "2")


def act(*, cancelled: bool, code: str = "0", id: str = "x") -> Act:
    return Act(at=0.0, id=id, order=ONE, cancelled=cancelled, code=code)


@pytest.mark.parametrize(
    ("outcomes", "log", "arrived", "live", "said"),
    [
        ([accepted(ONE)], [act(cancelled=True)], 1, [], None),
        ([rejected(ONE, "43001")], [act(cancelled=False, code="43001")], 1, [], None),
        ([unresolved(ONE, sent=False)], [], 0, [ONE], None),
        ([unresolved(ONE, sent=True)], [], 0, [ONE], None),
        ([unresolved(ONE, sent=True)], [act(cancelled=True)], 1, [], None),
        ([], [], 0, [], "has 0 outcomes"),
        ([accepted(ONE)] * 2, [act(cancelled=True)], 1, [], "has 2 outcomes"),
        ([accepted(ONE), accepted(TWO)], [act(cancelled=True)], 1, [], "was not requested"),
        ([accepted(ONE)], [], 0, [], "did not cancel it"),
        ([accepted(ONE)], [act(cancelled=True, id="y")], 1, [], "did not cancel it"),
        ([accepted(ONE)], [act(cancelled=True)], 1, [ONE], "did not cancel it"),
        ([accepted(ONE)], [act(cancelled=True)], 2, [], "arrived 2 times"),
        (
            [rejected(ONE, "43001")],
            [act(cancelled=False, code="429")],
            1,
            [],
            "did not answer with that code",
        ),
        ([rejected(ONE, "0")], [act(cancelled=True)], 1, [], "the exchange cancelled it"),
        ([unresolved(ONE, sent=False)], [], 1, [ONE], "it arrived at the exchange"),
        ([unresolved(ONE, sent=False)], [act(cancelled=True)], 1, [], "it arrived at the exchange"),
    ],
)
def test_contradictions_are_found(
    outcomes: list[Outcome], log: list[Act], arrived: int, live: list[CancelOrder], said: str | None
) -> None:
    found = contradictions([ONE], outcomes, log, Counter({ONE: arrived}), live)
    assert found == [] if said is None else any(said in what for what in found)


def not_found(outcome: Outcome) -> NotFound:
    return NotFound(
        number=1, outcome=outcome, order_id=None, client_oid=None, evidence=None, tracked_at=0.0,
        resolved_at=0.0,
    )  # fmt: skip


def state(kind: type[Cancelled | Filled | StillOpen | Unknown]) -> Final:
    options: dict[type, dict[str, Any]] = {
        Cancelled: {"average_price": None, "reason": None, "updated_at": None},
        Filled: {"average_price": None, "updated_at": None},
        StillOpen: {"average_price": None, "as_of": 0.0},
        Unknown: {"why": WhyUnknown.DEADLINE, "detail": ""},
    }
    return kind(
        number=1, outcome=accepted(ONE), order_id=None, client_oid=None, evidence=None, tracked_at=0.0,
        resolved_at=0.0, filled=None, **options[kind],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("final", "log", "live", "placed", "true"),
    [
        (state(Cancelled), [act(cancelled=True)], [], [ONE], True),
        (state(Cancelled), [act(cancelled=False)], [ONE], [ONE], False),
        (state(Filled), [act(cancelled=False)], [], [ONE], True),
        (state(Filled), [act(cancelled=True)], [], [ONE], False),
        (state(Filled), [], [ONE], [ONE], False),
        (state(Filled), [], [], [], False),
        (state(StillOpen), [], [ONE], [ONE], True),
        (state(StillOpen), [act(cancelled=True)], [], [ONE], False),
        (not_found(accepted(ONE)), [], [], [], True),
        (not_found(accepted(ONE)), [], [], [ONE], False),
        (state(Unknown), [act(cancelled=True)], [], [ONE], True),
    ],
)  # fmt: skip
def test_false_states_are_found(
    final: Final, log: list[Act], live: list[CancelOrder], placed: list[CancelOrder], *, true: bool
) -> None:
    assert (false_states([final], log, live, placed) == []) is true


def test_a_cancel_that_was_not_requested_is_found() -> None:
    assert contradictions([], [], [act(cancelled=True)], Counter(), []) == [
        "BTCUSDT 1 reached the exchange, but was not requested"
    ]


def test_the_fault_script_has_one_entry_per_order() -> None:
    for number in (1, 2, 13, 300):
        assert len(_demo._script(number, _demo._FAULTS, drops=True)) == number
