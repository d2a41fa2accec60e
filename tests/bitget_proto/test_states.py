"""Tests of the table of transitions and of its diagram."""

from __future__ import annotations

import copy
import pickle
import re
from enum import Enum

import pytest

from bitget_proto import State, WhyClosed
from bitget_proto._values.states import TRANSITIONS, Cause, Step, diagram


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_state_can_be_reached_from_new() -> None:
    reached, border = {State.NEW}, [State.NEW]
    while border:
        for target in TRANSITIONS[border.pop()].values():
            if target not in reached:
                reached.add(target)
                border.append(target)
    assert reached == set(State)


def test_closed_is_the_only_final_state() -> None:
    assert [state for state, row in TRANSITIONS.items() if not row] == [State.CLOSED]


def test_every_why_closed_leads_to_closed_and_no_step_does() -> None:
    for row in TRANSITIONS.values():
        for cause, target in row.items():
            assert (target is State.CLOSED) == isinstance(cause, WhyClosed)


def test_no_transition_leads_back() -> None:
    order = list(State)
    for state, row in TRANSITIONS.items():
        assert all(order.index(target) > order.index(state) for target in row.values())


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_every_state_but_closed_can_be_ended_by_caller_or_transport(state: State) -> None:
    assert {WhyClosed.ASKED, WhyClosed.LOST} <= set(TRANSITIONS[state])


@pytest.mark.parametrize(
    ("cause", "states"),
    [
        (Step.OPENED, {State.NEW}),
        (Step.LOGGED_IN, {State.AUTHENTICATING}),
        (Step.CLOSING, {State.READY}),
        (WhyClosed.LOGIN_REFUSED, {State.AUTHENTICATING}),
        (WhyClosed.LOGIN_TIMEOUT, {State.AUTHENTICATING}),
        (WhyClosed.NO_PONG, {State.AUTHENTICATING, State.READY, State.DRAINING}),
        (WhyClosed.NOT_LOGGED_IN, {State.DRAINING}),
        (WhyClosed.THROWN_OUT, {State.DRAINING}),
        (WhyClosed.INTERRUPTED, set(State) - {State.CLOSED}),
        (WhyClosed.ASKED, set(State) - {State.CLOSED}),
        (WhyClosed.LOST, set(State) - {State.CLOSED}),
    ],
)
def test_a_cause_is_possible_only_in_these_states(cause: Cause, states: set[State]) -> None:
    assert {state for state, row in TRANSITIONS.items() if cause in row} == states


def test_every_cause_is_possible_in_some_state() -> None:
    assert {cause for row in TRANSITIONS.values() for cause in row} == {*Step, *WhyClosed}


def test_the_reasons_for_closing_are_the_documented_ones() -> None:
    assert [why.value for why in WhyClosed] == [
        "asked",
        "lost",
        "login refused",
        "login timeout",
        "no pong",
        "not logged in",
        "thrown out",
        "interrupted",
    ]


def test_the_table_of_transitions_is_read_only() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.CLOSED] = {}  # type: ignore[index]  # deliberate misuse
    with pytest.raises(TypeError):
        TRANSITIONS[State.CLOSED][Step.OPENED] = State.NEW  # type: ignore[index]  # deliberate misuse


@pytest.mark.parametrize("kind", [State, Step, WhyClosed])
def test_every_member_has_a_meaning_of_one_sentence(kind: type[State | Step | WhyClosed]) -> None:
    for member in kind:
        assert member.sentence[0] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ`"
        assert member.sentence.endswith(".")


@pytest.mark.parametrize("member", [*State, *Step, *WhyClosed])
def test_a_member_is_found_by_value_and_survives_copying(member: Enum) -> None:
    assert type(member)(member.value) is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert copy.deepcopy(member) is member
    assert {member: 1}[member] == 1


def test_the_diagram_shows_every_transition_and_no_other() -> None:
    text = diagram()
    first, *lines = text.removesuffix("\n").split("\n")
    assert first == "stateDiagram-v2"
    drawn: set[tuple[str, str, str]] = set()
    ends: list[str] = []
    for line in lines:
        arrow = re.fullmatch(r"    (\w+) --> (\w+): (.+)", line)
        if arrow is None:
            ends.append(line.strip())
        else:
            drawn |= {(arrow[1], cause, arrow[2]) for cause in arrow[3].split("<br>")}
    assert drawn == {
        (state.name, cause.value, target.name)
        for state, row in TRANSITIONS.items()
        for cause, target in row.items()
    }
    assert ends == ["[*] --> NEW", "CLOSED --> [*]"]
    assert text.endswith("[*]\n")
