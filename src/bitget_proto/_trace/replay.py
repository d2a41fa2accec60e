"""Plays a recorded life again, and says where it takes another turn.

Rules of this file
- The recorder is the judge: the core that is played is recorded as well, and its lines must be the recorded ones, byte for
  byte. The words of an error alone may differ: any version may find better ones.
- What the core learnt behind its driver's back it is told again: the numbers of its jitter, the answers of a shared budget.
- The first difference is the last thing that is said: what follows from it is no news.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, cast

import attrs

from .._machine.connection import Connection
from .._machine.rate_limit import Budget
from .._machine.session import Session
from .._machine.session_config import SessionConfig
from .._values.errors import ValidationError
from .._values.set_module import set_module
from .._wire.codec import Codec
from .._wire.json_engines import Engine, EngineName
from .reader import Trace, TraceStep
from .recorder import RecordedConnection, RecordedSession

_drop_words = re.compile(r'("raised":\{"kind":"\w+"),"message":"[^"\\]*(?:\\.[^"\\]*)*"').sub


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Difference:
    """Where a replay took another turn; as a string, the two lines side by side, part by part."""

    step: int
    """The number of the call, counted from 1."""

    call: str
    """The name of the method."""

    recorded: str
    """The line of the trace."""

    came: str
    """The line that the replay would have written."""

    def __str__(self) -> str:
        recorded, came = _parts(self.recorded), _parts(self.came)
        lines = [f"step {self.step}, {self.call}: the replay differs from what was recorded"]
        for name in dict.fromkeys([*recorded, *came]):
            if recorded.get(name) == came.get(name):
                lines.append(f"  {name}: {recorded[name]}")
                continue
            lines += [
                f"{sign} {name}: {parts[name]}"
                for sign, parts in (("-", recorded), ("+", came))
                if name in parts
            ]
        return "\n".join(lines)


def replay(
    trace: Trace | str | Iterable[str], engine: Engine | EngineName | None = None
) -> Difference | None:
    """Play a trace again, and compare what comes out with what was recorded: None when it is the same, byte for byte. Only the
    words of an error are not compared: they may change with any version.

    `trace` is a `Trace`, or what one is read from. It is played with the JSON engine of the recording, or with `engine`.

    Raises: ValidationError when the trace cannot be read, as by `Trace`; ImportError when the engine is not installed.
    """
    if not isinstance(trace, Trace):
        trace = Trace(trace)
    player = _Player(trace, Codec(cast("EngineName", trace.engine) if engine is None else engine))
    return next(
        (difference for step in trace if (difference := player.play(step)) is not None), None
    )


class _Player:
    """A core that lives a recorded life."""

    def __init__(self, trace: Trace, codec: Codec) -> None:
        self._answers: deque[float | None] = deque()
        self._numbers: deque[float] = deque()
        self._lines: list[str] = []
        config = trace.config
        budget = _ToldBudget(trace, self._answers) if trace.has_budget else None
        self._core: RecordedConnection | RecordedSession
        if isinstance(config, SessionConfig):
            self._core = RecordedSession(
                Session(config, codec, budget, jitter=self._jitter), self._lines.append
            )
        else:
            self._core = RecordedConnection(Connection(config, codec, budget), self._lines.append)

    def play(self, step: TraceStep) -> Difference | None:
        """One call more."""
        if not step.replayable:
            self._core.life.skip_to(step.n)
            return None
        arguments = step.arguments()
        self._tell(step)
        self._lines.clear()
        with suppress(Exception):  # it is recorded
            getattr(self._core, step.call)(**arguments)
        if not self._lines:
            raise ValidationError(
                f"step {step.n} of the trace holds arguments that {step.call} does not take: another version wrote it, or it "
                "was changed"
            )
        came = self._lines[0].rstrip("\n")
        if came == step.text or _drop_words(r"\1", came) == _drop_words(r"\1", step.text):
            return None
        return Difference(step=step.n, call=step.call, recorded=step.text, came=came)

    def _tell(self, step: TraceStep) -> None:
        """Lay ready what the core is to hear during this call."""
        self._answers.clear()
        self._answers.extend(step.drawn("budget"))
        self._numbers.clear()
        self._numbers.extend(step.drawn("jitter"))

    def _jitter(self) -> float:
        return self._numbers.popleft() if self._numbers else 0.0


class _ToldBudget(Budget):
    """A budget that answers as the recorded one did, where others had spent from that or granted to it."""

    __slots__ = ("_answers",)

    def __init__(self, trace: Trace, answers: deque[float | None]) -> None:
        super().__init__(trace.per_second, trace.pace_margin)
        self._answers = answers

    def opens(self, now: float) -> float:
        opens = super().opens(now)
        told = self._answers.popleft() if self._answers else None
        return opens if told is None else told


def _parts(line: str) -> dict[str, str]:
    """A line as the names of its parts and what they hold."""
    return dict(_flat("", json.loads(line)))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inside in cast("dict[str, Any]", value).items():
            yield from _flat(f"{name}.{key}" if name else key, inside)
    else:
        yield name, json.dumps(value)
