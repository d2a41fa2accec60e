"""Tests that a replay reports the first difference, for a changed core or a changed trace."""

from __future__ import annotations

import builtins
import json
from contextlib import suppress
from typing import Any

import pytest

from bitget_proto import (
    Connection,
    Difference,
    Engine,
    Trace,
    ValidationError,
    WhyClosed,
    record,
    replay,
)

from .driving import LOGGED_IN, LOGIN, ORDER, outputs, reply


def a_trace() -> list[str]:
    """A trace: one cancel is accepted, and one is open when the connection is lost."""
    lines: list[str] = []
    conn = record(Connection(), lines.append)
    conn.opened(0.0, login=LOGIN)
    outputs(conn, 0.0)
    conn.receive(LOGGED_IN, 0.5)
    ids = [conn.cancel(ORDER, 0.5) for _ in range(2)]
    outputs(conn, 1.0)
    conn.receive(reply(ids[0]), 1.5)
    outputs(conn, 1.5)
    conn.lost(2.0, "reset")
    outputs(conn, 2.0)
    return lines


def test_replay_accepts_lines_or_a_trace_and_another_engine() -> None:
    lines = a_trace()
    assert replay(lines) is None
    assert replay(Trace(lines)) is None
    assert replay(Trace(lines), Engine.MSGSPEC) is None
    assert replay("".join(lines), "orjson") is None


def test_a_missing_engine_is_reported_as_by_a_codec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("bitget_proto._wire.json_engines.import_module", missing)
    with pytest.raises(ImportError, match="pip install"):
        replay(a_trace(), Engine.MSGSPEC)


def test_a_difference_names_the_step_and_shows_both_sides_by_field() -> None:
    lines = a_trace()
    at = next(n for n, line in enumerate(lines) if '"Accepted"' in line)
    lines[at] = (
        lines[at]
        .replace('"resolved_at":1.5', '"resolved_at":1.25')
        .replace('"attempts"', '"tries"')
    )
    difference = replay(lines)
    assert difference == Difference(
        step=at,
        call="poll",
        recorded=lines[at].rstrip("\n"),
        came=lines[at].rstrip("\n").replace('"resolved_at":1.25', '"resolved_at":1.5'),
    )
    shown = str(difference).split("\n")
    assert shown[0] == f"step {at}, poll: the replay differs from what was recorded"
    assert shown[1:4] == [f"  n: {at}", '  call: "poll"', "  now: 1.5"]
    assert '  gave.order.inst_id: "BTCUSDT"' in shown
    at = shown.index("- gave.resolved_at: 1.25")
    assert shown[at + 1] == "+ gave.resolved_at: 1.5"
    assert [line for line in shown[1:] if line[0] != " "] == shown[at : at + 2]


def test_a_field_of_only_one_side_is_shown_as_missing_on_the_other() -> None:
    recorded, came = (
        '{"n":1,"call":"close","raised":{"kind":"KeyError"}}',
        '{"n":1,"call":"close","gave":[],"x":{}}',
    )
    shown = str(Difference(step=1, call="close", recorded=recorded, came=came))
    assert shown.split("\n")[3:] == ['- raised.kind: "KeyError"', "+ gave: []", "+ x: {}"]


def test_any_change_of_an_output_is_found_at_its_step() -> None:
    lines = a_trace()
    changed = 0
    for at in range(1, len(lines)):
        data: dict[str, Any] = json.loads(lines[at])
        if data["call"] != "poll":
            continue
        gave: dict[str, object] = data["gave"]
        for key in gave:
            edited = {**data, "gave": {**gave, key: "something else"}}
            difference = replay(
                [*lines[:at], json.dumps(edited, separators=(",", ":")), *lines[at + 1 :]]
            )
            assert difference is not None
            assert (difference.step, difference.call) == (at, "poll")
            changed += 1
    assert changed > 30


def test_a_replay_compares_bytes_and_not_meanings() -> None:
    lines = a_trace()
    spaced = [lines[0], lines[1].replace(",", ", "), *lines[2:]]
    assert replay(spaced) is not None


def test_an_errors_message_may_differ_but_not_its_type() -> None:
    lines: list[str] = []
    conn = record(Connection(), lines.append)
    for text in ("", 'a "quote"\\'):
        with suppress(ValidationError):
            conn.cancel(ORDER, 0.0, id=f"no\n{text}")
    said = [json.loads(line)["raised"]["message"] for line in lines[1:]]
    for n, message in enumerate(said, 1):
        assert (
            replay(
                [*lines[:n], lines[n].replace(json.dumps(message), '"an id it is not: \\"x\\""')]
            )
            is None
        )
        difference = replay([*lines[:n], lines[n].replace('"ValidationError"', '"NoRoom"')])
        assert difference is not None
        assert difference.step == n


def test_another_limit_is_a_difference() -> None:
    lines = a_trace()
    lines[0] = lines[0].replace('"silence":2.0', '"silence":1.75')
    difference = replay(lines)
    assert difference is not None
    assert "- gave.until: 3.0\n+ gave.until: 2.75" in str(difference)


def test_a_replay_uses_no_clock_network_or_files(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = a_trace()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(builtins, "open", forbidden)
    monkeypatch.setattr(builtins, "print", forbidden)
    assert replay(lines) is None
    assert WhyClosed.LOST.value in lines[-2]
