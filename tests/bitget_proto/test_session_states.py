"""The table of transitions of a session."""

from __future__ import annotations

import pytest

from bitget_proto import SessionState, WhyEnded
from bitget_proto._machine.session_states import (
    SESSION_TRANSITIONS,
    SessionCause,
    SessionStep,
    session_diagram,
)


def test_every_state_has_a_row_and_can_be_reached_from_down() -> None:
    assert list(SESSION_TRANSITIONS) == list(SessionState)
    reached, border = {SessionState.DOWN}, [SessionState.DOWN]
    while border:
        for target in SESSION_TRANSITIONS[border.pop()].values():
            if target not in reached:
                reached.add(target)
                border.append(target)
    assert reached == set(SessionState)


def test_only_a_reason_to_end_leads_to_ended() -> None:
    assert [state for state, row in SESSION_TRANSITIONS.items() if not row] == [SessionState.ENDED]
    for row in SESSION_TRANSITIONS.values():
        for cause, target in row.items():
            assert (target is SessionState.ENDED) == isinstance(cause, WhyEnded)


@pytest.mark.parametrize(
    "state", [state for state in SessionState if state is not SessionState.ENDED]
)
def test_the_caller_can_end_a_session_in_any_state(state: SessionState) -> None:
    assert SESSION_TRANSITIONS[state][WhyEnded.ASKED] is SessionState.ENDED


@pytest.mark.parametrize(
    "state", [state for state in SessionState if state is not SessionState.ENDED]
)
def test_an_interruption_can_end_a_session_in_any_state(state: SessionState) -> None:
    assert SESSION_TRANSITIONS[state][WhyEnded.INTERRUPTED] is SessionState.ENDED


@pytest.mark.parametrize(
    ("why", "states"),
    [
        (WhyEnded.REFUSED, {SessionState.DIALLING, SessionState.CLOSING}),
        # It ends only a session that never was up. So it closes only for an answer of REST.
        (WhyEnded.STAMP_REFUSED, {SessionState.DIALLING, SessionState.CLOSING}),
    ],
)
def test_a_refused_login_ends_a_session_only_while_no_link_serves(
    why: SessionCause, states: set[SessionState]
) -> None:
    assert {state for state, row in SESSION_TRANSITIONS.items() if why in row} == states


def test_every_cause_is_in_the_table_and_has_a_description() -> None:
    assert {cause for row in SESSION_TRANSITIONS.values() for cause in row} == {
        *SessionStep,
        *WhyEnded,
    }
    for member in (*SessionState, *SessionStep, *WhyEnded):
        assert member.sentence[0] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ`"
        assert member.sentence.endswith(".")


def test_the_table_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        SESSION_TRANSITIONS[SessionState.ENDED] = {}  # type: ignore[index]  # this is the mistake


def test_the_diagram_starts_with_down_and_ends_with_ended() -> None:
    lines = session_diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> DOWN"]
    assert lines[-1] == "    ENDED --> [*]"
    assert "    UP --> MOVING: leaving" in lines
