"""Records the runs of other property tests, and replays them byte for byte.

The runs are random inputs in any order, and runs with an exchange; of a connection and of a session.
Runs with an exchange share their budget with another user, who has spent from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import cycle
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from bitget_proto import Connection, Engine, Session, Trace, record, replay
from bitget_proto._trace.recorder import RecordedConnection, RecordedSession
from bitget_proto.testing import Pair, SessionPair

from . import test_connection_sequences as connection_sequences
from . import test_promise as promise
from . import test_session_promise as session_promise
from . import test_session_sequences as session_sequences

ENGINES = cycle(Engine)
"""Each trace is replayed with another engine."""

SOMETIMES = {
    "raised", "budget", "jitter", "writable", "busy", "unsent", "policy", "urgent", "queued", "within",
}  # fmt: skip
KINDS = {str: "id", list: "ids", bool: "whether", type(None): None}

seen: Counter[object] = Counter()


def judge(lines: list[str]) -> None:
    """Replay a finished run, up to an interrupt, which a trace cannot reproduce."""
    interrupted = next(
        (at for at, line in enumerate(lines) if '"raised":{"kind":"Interrupt"' in line), None
    )
    difference = replay(lines[:interrupted], next(ENGINES))
    assert difference is None, str(difference)
    seen["interrupted"] += interrupted is not None
    for step in Trace(lines):
        gave: Any = step.data.get("gave")
        seen[step.call, gave["kind"] if isinstance(gave, dict) else KINDS[type(gave)]] += 1
        seen.update(SOMETIMES & set(step.data))
    assert "passphrase" not in "".join(lines)


def recorded(core: Any, write: Callable[[str], object]) -> Any:
    return cast("Any", record)(core, write)


class Recorder:
    """Replaces a class: each instance that it makes is recorded in a trace of its own."""

    def __init__(self, kind: Callable[..., Any]) -> None:
        self.kind = kind
        self.traces: list[list[str]] = []

    def __call__(self, *args: Any, **named: Any) -> Any:
        lines: list[str] = []
        self.traces.append(lines)
        return recorded(self.kind(*args, **named), lines.append)

    def judge(self) -> None:
        traces, self.traces = self.traces, []
        assert traces
        for lines in traces:
            judge(lines)


@pytest.fixture(autouse=True)
def _transparent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property tests use private attributes; this forwards them to the recorded core."""

    def private(held: RecordedConnection | RecordedSession, name: str) -> Any:
        return getattr(held.core, name)

    for kind in (RecordedConnection, RecordedSession):
        monkeypatch.setattr(kind, "__getattr__", private, raising=False)


QUICK = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
CALLS = ["opened", "receive", "lost", "handle_timeout", "cancel", "send", "close"]


@pytest.mark.slow
def test_any_sequence_of_inputs_of_a_connection_is_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(Connection)
    monkeypatch.setattr(connection_sequences, "Connection", recorder)
    seen.clear()

    @QUICK
    @given(tape=st.binary(min_size=400, max_size=900))
    def runs(tape: bytes) -> None:
        connection_sequences.play(tape, Counter(), from_ready=tape[0] % 2 == 0)
        recorder.judge()

    runs()
    expected: set[object] = {(call, None) for call in CALLS if call != "cancel"}
    expected |= {
        ("cancel", "id"),
        ("poll", "Transmit"),
        ("poll", "Accepted"),
        ("poll", "LateReply"),
        ("poll", "Closed"),
    }
    assert expected | {"raised", "writable", "unsent", "interrupted"} <= set(seen)


def test_any_sequence_of_inputs_of_a_session_is_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(Session)
    monkeypatch.setattr(session_sequences, "Session", recorder)
    seen.clear()

    @QUICK
    @given(tape=st.binary(min_size=90, max_size=900))
    def runs(tape: bytes) -> None:
        noisy = bytes(
            byte ^ noise for byte, noise in zip(tape, session_sequences.NOISY, strict=False)
        )
        play = session_sequences.Play(Counter(), tape)
        for at in range(0, len(noisy) - 2, 3):
            play.step(*noisy[at : at + 3])
        play.end()
        recorder.judge()

    runs()
    expected: set[object] = {(call, None) for call in CALLS if call not in ("cancel", "send")}
    expected |= {("cancel", "id"), ("cancel_many", "ids"), ("withdraw", "whether")}
    expected |= {
        ("poll", "Dial"),
        ("poll", "LinkTransmit"),
        ("poll", "Up"),
        ("poll", "Down"),
        ("poll", "Ended"),
    }
    assert expected | {
        "raised",
        "jitter",
        "busy",
        "unsent",
        "policy",
        "urgent",
        "queued",
        "within",
    } <= set(seen)


class ConnectionLife(promise.Life):
    """A connection and an exchange, and their trace."""

    lines: list[str]

    def check(self) -> None:
        super().check()
        judge(self.lines)


class SessionLife(session_promise.Life):
    """A session, its links and an exchange, and their trace."""

    lines: list[str]

    def check(self) -> None:
        super().check()
        judge(self.lines)


class UnifiedConnectionLife(promise.UnifiedLife, ConnectionLife):
    """The same on a unified account, with batches."""


class UnifiedSessionLife(session_promise.UnifiedLife, SessionLife):
    """The same on a unified account, with batches."""


PROFILE = settings(
    stateful_step_count=50,
    max_examples=20,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


def spent(core: Connection | Session) -> None:
    """Another user has spent from the same budget."""
    budget = core._frames.budget if isinstance(core, Connection) else core._budget
    if budget is not None:
        budget.debit(2, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [ConnectionLife, SessionLife, UnifiedConnectionLife, UnifiedSessionLife]
)
def test_any_run_with_an_exchange_is_replayed(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, pair = (
        (promise, "Pair", Pair)
        if issubclass(kind, ConnectionLife)
        else (session_promise, "SessionPair", SessionPair)
    )
    traces: list[list[str]] = []

    def joined(core: Any, *args: Any, **named: Any) -> Any:
        traces.append([])
        held = recorded(core, traces[-1].append)
        spent(core)
        return pair(held, *args, **named)

    class Recorded(kind):  # type: ignore[misc]
        @property
        def lines(self) -> list[str]:
            return traces[-1]

    monkeypatch.setattr(module, name, joined)
    expected: set[object] = {
        "budget",
        ("poll", "Accepted"),
        ("poll", "Rejected"),
        ("poll", "LateReply"),
    }
    if issubclass(kind, ConnectionLife):
        expected.add("writable")
    else:
        expected.update(
            (
                "busy",
                "jitter",
                "urgent",
                "queued",
                ("poll", "Dial"),
                ("poll", "Up"),
                ("withdraw", "whether"),
            )
        )
    machine: type[RuleBasedStateMachine] = Recorded
    seen.clear()
    for number in range(40):
        run_state_machine_as_test(seed(number)(machine), settings=PROFILE)
        if expected <= set(seen):
            break
    assert expected <= set(seen), f"never recorded: {expected - set(seen)}"
