"""Writes a trace: one line for each call of a core, with inputs that do not come from the driver.

- These inputs are the numbers of the jitter, and the answers of a budget that others spend from.
- Outcomes matter more than the trace: when `write` raises, it is not called again, and the core
  continues. `poll` returns a `CallerError` before the next `Wait` or the last event.

The encoding of calls is in `schema`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from .._machine.backoff import Draw
from .._machine.connection_config import Config
from .._machine.rate_limit import Budget
from .._machine.session_config import SessionConfig
from .._machine.session_events import Ended
from .._values.credentials import SignedLogin
from .._values.errors import LocalProtocolError
from .._values.events import CallerError, Closed, Transmit, Wait
from .._wire.codec import Codec
from .json_values import Plain, line, plain
from .reader import header
from .schema import CALLS, is_whole, unrecorded
from .trace_redaction import Secrets

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TraceWriter:
    """Writes the trace of one core."""

    __slots__ = (
        "_ended",
        "_failure",
        "_held",
        "_n",
        "_numbers",
        "_secrets",
        "_shared",
        "_write",
        "answers",
        "in_call",
    )  # fmt: skip

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write: Callable[[str], object] | None = write
        self._failure: CallerError | None = None
        """What `write` raised, until `poll` returns it."""
        self._ended = False
        """Whether `poll` has returned the last event."""
        self._held: object = None
        """An output of the core that `poll` has not returned yet, because Ctrl-C interrupted
        `write`, or because it is the last event and the failure of `write` comes before it."""
        self._secrets = Secrets()
        self._n = 0
        self.in_call = False
        """Whether a call is in progress: changes of the budget during it come from the core."""
        self._shared: Budget | None = None
        self.answers: list[float | None] = []
        """The answers of the budget during this call.

        None means that the other users of the budget made no difference: the answer is the same as
        if this core alone had spent from it."""
        self._numbers: list[float | str] = []
        """The numbers of the jitter during this call; a string for a jitter that failed."""

    def begin(self, kind: type, codec: Codec, config: Config | SessionConfig) -> None:
        """Write the first line."""
        self._put(header(kind.__name__, codec, config, self._shared))

    def skip_to(self, n: int) -> None:
        """Count calls up to and including this number as written."""
        self._n = n

    def call(self, name: str, do: Callable[_P, _T], /, *none: _P.args, **passed: _P.kwargs) -> _T:
        """Call a method of the core, and write the call with its result."""
        call = CALLS[name]
        if isinstance(login := passed.get("login"), SignedLogin):
            self._secrets.learn(login)
        bare = call.written(passed)
        written: Plain = {name: self._plain(value) for name, value in bare.items()}
        self._n += 1
        data: Plain = {"n": self._n, "call": name, **written}
        self.in_call = True
        try:
            gave = do(*none, **passed)
        except BaseException as error:
            if isinstance(error, LocalProtocolError):
                data |= _withheld(bare, written)
            self._add_inputs(data)
            data["raised"] = self._raised(error, data)
            self._put(line(data))
            raise
        if name == "poll" and not isinstance(gave, (Transmit, Wait)):
            self._held = gave
        self._add_inputs(data)
        result = call.gives(gave)
        self._put(line(data if result is None else data | {"gave": self._plain(result)}))
        return gave

    def poll(
        self, do: Callable[_P, _T], /, *none: _P.args, **passed: _P.kwargs
    ) -> _T | CallerError:
        """Call `poll` of the core, write the call, and return the output or the failed `write`."""
        output = cast("_T | None", self._held)
        if output is None:
            if self._failure is None:
                output = self.call("poll", do, *none, **passed)
            if self._failure is not None and (
                output is None or isinstance(output, (Wait, Closed, Ended))
            ):
                failure, self._failure = self._failure, None
                return failure
        if isinstance(output, (Closed, Ended)):
            self._ended = True
        self._held = None
        return cast("_T", output)

    def _add_inputs(self, data: Plain) -> None:
        self.in_call = False
        if any(answer is not None for answer in self.answers):
            data["budget"] = self._plain(self.answers)
        if self._numbers:
            data["jitter"] = self._plain(self._numbers)
        self.answers, self._numbers = [], []

    def _raised(self, error: BaseException, data: Plain) -> object:
        """Return an error as data.

        Its message may quote the arguments, so it is left out when an argument is not recorded.
        """
        kind = type(error).__name__
        return (
            {"kind": kind, "message": self._plain(str(error))} if is_whole(data) else {"kind": kind}
        )

    def _plain(self, value: object) -> object:
        return plain(value, self._secrets.out_of)

    def _put(self, text: str) -> None:
        if self._write is not None:
            try:
                self._write(text)
            except Exception as error:  # noqa: BLE001 - a failing trace must not affect the cancels
                self._write = None
                if not self._ended:
                    self._failure = CallerError(where="trace", error=error)

    # --- inputs that do not come from the driver ---

    def watch_budget(self, budget: Budget) -> Budget:
        """Return the same budget, with its answers to the core recorded."""
        self._shared = budget
        return _WatchedBudget(budget, self)

    def watch_jitter(self, jitter: Draw) -> Draw:
        """Return the same jitter, with its numbers and failures recorded."""

        def watched() -> float | CallerError:
            number = jitter()
            self._numbers.append(number.detail if isinstance(number, CallerError) else number)
            return number

        return watched


def _withheld(bare: Plain, written: Plain) -> Plain:
    """Return placeholders for the arguments of a refused call that contain a secret.

    If only the secret were replaced, the replayed call might be refused for a different reason, so
    the whole argument is left out.
    """
    return {
        name: unrecorded(value) for name, value in bare.items() if plain(value) != written[name]
    }


class _WatchedBudget(Budget):
    """A shared budget, compared with a copy that only this core spends from.

    Where the two answers differ, the answer of the shared budget is an input and is recorded.
    """

    __slots__ = ("_shared", "_writer")

    def __init__(self, shared: Budget, writer: TraceWriter) -> None:
        super().__init__(shared.per_second, shared.pace_margin, shared.batches_per_second)
        self._shared = shared
        self._writer = writer

    def needs_grant(self, now: float, waiting: int = 1) -> bool:
        return self._shared.needs_grant(now, waiting)

    def allowed_at(self, now: float, waiting: int = 1) -> float:
        opens, alone = self._shared.allowed_at(now, waiting), super().allowed_at(now, waiting)
        if self._writer.in_call:
            self._writer.answers.append(None if opens == alone else opens)
        return opens

    def room(self, now: float) -> int:
        room, alone = self._shared.room(now), super().room(now)
        self._writer.answers.append(None if room == alone else room)
        return room

    def debit(self, n: int, now: float, *, batch: bool = False) -> None:
        self._shared.debit(n, now, batch=batch)
        if self._writer.in_call:
            super().debit(n, now, batch=batch)

    def observe(self, remaining: int, now: float) -> None:
        self._shared.observe(remaining, now)
        super().observe(remaining, now)

    def pause(self, now: float) -> None:
        self._shared.pause(now)
        if self._writer.in_call:
            super().pause(now)

    def grant(self, n: int, until: float, now: float) -> None:
        self._shared.grant(n, until, now)
