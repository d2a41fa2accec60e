"""Tests of how the outcomes of attempts become the outcome of a cancel."""

from __future__ import annotations

import attrs
import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    CodeClass,
    Outcome,
    Rejected,
    Unresolved,
    WhyUnresolved,
)
from bitget_proto._machine.cancel_attempts import Cancel
from bitget_proto._machine.cancel_queue import Rank

ORDER = CancelOrder("BTCUSDT", order_id="1")


def cancel(*, resend: bool = False) -> Cancel:
    return Cancel(
        id="1",
        order=ORDER,
        taken_at=1.0,
        queue_until=20.0,
        timeout_at=30.0,
        number=1,
        rank=Rank.NORMAL,
        resend=resend,
    )


def accepted(sent_at: float = 2.0) -> Accepted:
    return Accepted(
        id="1", order=ORDER, taken_at=1.0, sent_at=sent_at, resolved_at=3.0, exchange_ts=7
    )


def rejected(code_class: CodeClass) -> Rejected:
    return Rejected(
        id="1", order=ORDER, taken_at=1.0, sent_at=2.0, resolved_at=3.0, code="5", code_class=code_class, message="no",
        exchange_ts=None,
    )  # fmt: skip


def unresolved(why: WhyUnresolved, sent_at: float | None = 2.0) -> Unresolved:
    return Unresolved(
        id="1",
        order=ORDER,
        taken_at=1.0,
        sent_at=sent_at,
        resolved_at=3.0,
        sent=sent_at is not None,
        why=why,
    )


def after_a_first_attempt() -> Cancel:
    made = cancel(resend=True)
    assert made.outcome_of(unresolved(WhyUnresolved.LOST), ending=False) is None
    assert (made.attempts, made.sent_at) == (1, 2.0)
    return made


def test_the_outcome_of_a_first_attempt_is_the_outcome_of_the_cancel() -> None:
    answer = accepted()
    assert cancel().outcome_of(answer, ending=False) is answer
    for code_class in CodeClass:
        outcome = cancel().outcome_of(rejected(code_class), ending=False)
        assert outcome == rejected(code_class)


@pytest.mark.parametrize(
    "code_class", [code_class for code_class in CodeClass if code_class is not CodeClass.ACCEPTED]
)
def test_a_second_attempt_is_rejected_only_by_finished(code_class: CodeClass) -> None:
    outcome = after_a_first_attempt().outcome_of(rejected(code_class), ending=False)
    assert outcome is not None
    assert (outcome.attempts, outcome.taken_at, outcome.sent_at) == (2, 1.0, 2.0)
    if code_class is CodeClass.FINISHED:
        assert isinstance(outcome, Rejected)
    else:
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why, outcome.code, outcome.message) == (
            True,
            WhyUnresolved.UNSURE,
            "5",
            "no",
        )


def test_an_accepted_second_attempt_is_accepted() -> None:
    outcome = after_a_first_attempt().outcome_of(accepted(sent_at=9.0), ending=False)
    assert outcome == attrs.evolve(accepted(sent_at=9.0), attempts=2)


@pytest.mark.parametrize("why", WhyUnresolved)
@pytest.mark.parametrize("sent_at", [None, 9.0])
@pytest.mark.parametrize("ending", [False, True])
def test_an_unresolved_second_attempt_keeps_the_first_one_counted(
    why: WhyUnresolved, sent_at: float | None, ending: bool
) -> None:
    made = after_a_first_attempt()
    outcome = made.outcome_of(unresolved(why, sent_at), ending=ending)
    if not ending and why in (WhyUnresolved.LOST, WhyUnresolved.CLOSED):
        assert outcome is None
        outcome = made.unresolved(WhyUnresolved.TIMEOUT, 20.0)
    assert isinstance(outcome, Unresolved)
    assert outcome.sent
    assert outcome.sent_at == (2.0 if sent_at is None else 9.0)
    assert outcome.attempts == (1 if sent_at is None else 2)


@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("why", WhyUnresolved)
@pytest.mark.parametrize("sent_at", [None, 2.0])
@pytest.mark.parametrize("ending", [False, True])
def test_which_cancels_go_to_the_next_link(
    resend: bool, why: WhyUnresolved, sent_at: float | None, ending: bool
) -> None:
    outcome: Outcome | None = cancel(resend=resend).outcome_of(
        unresolved(why, sent_at), ending=ending
    )
    back = (
        why in (WhyUnresolved.LOST, WhyUnresolved.CLOSED)
        and not ending
        and (resend or sent_at is None)
    )
    assert (outcome is None) == back
    if outcome is not None:
        assert outcome == unresolved(why, sent_at)


def test_an_attempt_in_progress_counts_and_sets_sent_at() -> None:
    made = cancel()
    made.trying_since = 4.0
    outcome = made.unresolved(WhyUnresolved.INTERRUPTED, 5.0)
    assert (outcome.sent, outcome.sent_at, outcome.attempts) == (True, 4.0, 1)
    made = after_a_first_attempt()
    made.trying_since = 4.0
    outcome = made.unresolved(WhyUnresolved.INTERRUPTED, 5.0)
    assert (outcome.sent, outcome.sent_at, outcome.attempts) == (True, 4.0, 2)


def test_an_attempt_that_has_ended_is_not_in_progress() -> None:
    made = cancel(resend=True)
    made.trying_since = 2.0
    assert made.outcome_of(unresolved(WhyUnresolved.LOST), ending=False) is None
    assert attrs.evolve(made).trying_since is None
    assert (made.attempts, made.sent_at) == (1, 2.0)
    made.trying_since = 4.0
    assert made.outcome_of(unresolved(WhyUnresolved.LOST, None), ending=False) is None, (
        "its frame was not sent"
    )
    assert attrs.evolve(made).trying_since is None
    assert (made.attempts, made.sent_at) == (1, 2.0)


def test_the_outcome_has_the_exchanges_code_and_message() -> None:
    attempt = attrs.evolve(unresolved(WhyUnresolved.UNSURE), code="40010", message="timed out")
    assert cancel().outcome_of(attempt, ending=False) == attempt


def test_an_outcome_without_a_link_has_the_cancels_times_and_no_code() -> None:
    assert cancel().unresolved(WhyUnresolved.NO_LINK, 11.0) == Unresolved(
        id="1",
        order=ORDER,
        taken_at=1.0,
        sent_at=None,
        resolved_at=11.0,
        sent=False,
        why=WhyUnresolved.NO_LINK,
    )
