"""Replays a trace and reports the first difference.

- The replayed core is recorded as well, and its lines must equal those of the trace, byte for byte.
  Only the messages of errors may differ, as they change between versions.
- Inputs that did not come from the driver are replayed as well: the numbers of the jitter and the
  answers of a shared budget.
- Only the first difference is reported, as later ones follow from it.
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
from .._values.events import CallerError
from .._values.set_module import set_module
from .._wire.codec import Codec
from .._wire.json_engines import Engine, EngineName
from .reader import Trace, TraceStep
from .recorder import RecordedConnection, RecordedSession

_drop_message = re.compile(r'("raised":\{"kind":"\w+"),"message":"[^"\\]*(?:\\.[^"\\]*)*"').sub


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Difference:
    """The first difference of a replay. `str` shows the two lines, field by field."""

    step: int
    """The number of the call, counted from 1."""

    call: str
    """The name of the method."""

    recorded: str
    """The line of the trace."""

    came: str
    """The line that the replay wrote."""

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
    """Replay a trace and return the first difference, or None when there is none.

    The replay must equal the trace byte for byte, except for the messages of errors, which may
    change with any version. `trace` is a `Trace`, or the lines of one. `engine` is the JSON engine
    to use, by default that of the recording.

    Raises: ValidationError when the trace cannot be read (see `Trace`); ImportError when the
    engine is not installed.
    """
    if not isinstance(trace, Trace):
        trace = Trace(trace)
    player = _Player(
        trace, Codec(cast("EngineName", trace.engine) if engine is None else engine, trace.dialect)
    )
    return next(
        (difference for step in trace if (difference := player.play(step)) is not None), None
    )


class _Player:
    """A core that replays a trace."""

    def __init__(self, trace: Trace, codec: Codec) -> None:
        self._answers: deque[float | None] = deque()
        self._numbers: deque[float | CallerError] = deque()
        self._lines: list[str] = []
        config = trace.config
        budget = _ReplayedBudget(trace, self._answers) if trace.has_budget else None
        self._core: RecordedConnection | RecordedSession
        if isinstance(config, SessionConfig):
            self._core = RecordedSession(
                Session(config, codec, budget, jitter=self._jitter), self._lines.append
            )
        else:
            self._core = RecordedConnection(Connection(config, codec, budget), self._lines.append)

    def play(self, step: TraceStep) -> Difference | None:
        """Replay one call, and return the difference if there is one."""
        if not step.replayable:
            self._core.writer.skip_to(step.n)
            return None
        arguments = step.arguments()
        self._prepare(step)
        self._lines.clear()
        with suppress(Exception):  # the recorder has written it
            getattr(self._core, step.call)(**arguments)
        if not self._lines:
            raise ValidationError(
                f"step {step.n} of the trace has arguments that {step.call} does not take: another version "
                "wrote it, or it was changed"
            )
        came = self._lines[0].rstrip("\n")
        if came == step.text or _drop_message(r"\1", came) == _drop_message(r"\1", step.text):
            return None
        return Difference(step=step.n, call=step.call, recorded=step.text, came=came)

    def _prepare(self, step: TraceStep) -> None:
        """Set the answers of the budget and the numbers of the jitter for this call."""
        self._answers.clear()
        self._answers.extend(step.drawn("budget"))
        self._numbers.clear()
        self._numbers.extend(
            CallerError(where="jitter", detail=drawn) if isinstance(drawn, str) else drawn
            for drawn in step.drawn("jitter")
        )

    def _jitter(self) -> Any:
        """Return the next number, or the failure that `Redial` returned in its place."""
        return self._numbers.popleft() if self._numbers else 0.0


class _ReplayedBudget(Budget):
    """A budget that gives the recorded answer where other users of the budget changed it."""

    __slots__ = ("_answers",)

    def __init__(self, trace: Trace, answers: deque[float | None]) -> None:
        super().__init__(trace.per_second, trace.pace_margin, trace.batches_per_second)
        self._answers = answers

    def allowed_at(self, now: float, waiting: int = 1) -> float:
        opens = super().allowed_at(now, waiting)
        recorded = self._answers.popleft() if self._answers else None
        return opens if recorded is None else recorded

    def room(self, now: float) -> int:
        room = super().room(now)
        recorded = self._answers.popleft() if self._answers else None
        return room if recorded is None else int(recorded)


def _parts(line: str) -> dict[str, str]:
    """Return the fields of a line, flattened, each with its value as JSON."""
    return dict(_flat("", json.loads(line)))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inside in cast("dict[str, Any]", value).items():
            yield from _flat(f"{name}.{key}" if name else key, inside)
    else:
        yield name, json.dumps(value)
