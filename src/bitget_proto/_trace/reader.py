"""A life written down: one line of JSON for each call, with what it was told and what came out. Here it is read.

Rules of this file
- A step is read when it is asked for, so that a trace may be larger than the memory.
- Lines are ASCII. Only the last one may be torn, by a crash: `Trace` leaves it out, and tells.
- What no recorder writes is an error that names its place.

How a value is spelled stands in `values`, how a call is in `schema`. It does not know files, nor what a line means to a core:
the one that writes is `recorder`, the one that plays `replay`.

The first line says what was recorded:
    {"trace":1,"version":"0.1.0","core":"Connection","engine":"stdlib","config":{…},"budget":null}
Each other one is a call, and names no argument that has its default:
    {"n":4,"call":"receive","now":0.5,"message":"pong"}
    {"n":5,"call":"poll","now":0.5,"gave":{"kind":"Wait","until":30.0,"timer":"ping"}}
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
from cattrs import BaseValidationError, ForbiddenExtraKeysError, transform_error

from .._machine.connection_config import Config
from .._machine.rate_limit import Budget
from .._machine.session_config import SessionConfig
from .._values.errors import ValidationError, safe_repr
from .._values.set_module import set_module
from .._version import __version__
from .json_values import STRICT, WHOLE, line, loaded, restored
from .schema import ARGUMENTS, CALLS, is_whole

FORMAT: Final = 1

BESIDE_ARGUMENTS: Final = frozenset({"n", "call", "budget", "jitter", "gave", "raised"})
"""What else stands on the line of a call."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class TraceStep:
    """One call."""

    n: int
    """Its number, counted from 1."""

    call: str
    """The name of the method."""

    data: Mapping[str, Any]
    """The line as plain data: the arguments by their names, then `gave` or `raised`."""

    text: str
    """The line as it stands, without its end."""

    @property
    def replayable(self) -> bool:
        """Whether every argument was recorded. When not, the call was refused, and changed nothing."""
        return is_whole(self.data)

    def arguments(self) -> dict[str, Any]:
        """What the method was called with, as it takes it. A login is a stand-in with the stamp of the true one.

        Raises: ValidationError for what no recorder writes.
        """
        told = [(name, value) for name, value in self.data.items() if name not in BESIDE_ARGUMENTS]
        return {
            name: self._read(ARGUMENTS[name].read if name in ARGUMENTS else restored, value)
            for name, value in told
        }

    def drawn(self, name: str) -> list[Any]:
        """What the core learnt behind its driver's back, in order: the answers of its `budget`, the numbers of its `jitter`."""
        return [self._read(restored, value) for value in self._read(list, self.data.get(name, []))]

    def _read(self, read: Callable[[Any], Any], value: object) -> Any:
        try:
            return read(value)
        except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValidationError(
                f"step {self.n} of the trace cannot be read: {_why(error)}"
            ) from None


@attrs.frozen
class _Allowance:
    per_second: int | None
    pace_margin: float | None


def header(core: str, engine: str, config: Config | SessionConfig, budget: Budget | None) -> str:
    """The first line. Limits stand there one and all: a later version may have other defaults."""
    allowance = None if budget is None else _Allowance(budget.per_second, budget.pace_margin)
    said = {"trace": FORMAT, "version": __version__, "core": core, "engine": engine}
    return line(
        said | {"config": WHOLE.unstructure(config), "budget": WHOLE.unstructure(allowance)}
    )


@set_module("bitget_proto")
class Trace:
    """A recorded life, read from its lines: a list, a file that is open for reading, or one string.

    Iterate over it, once, for its steps; they are read as they are asked for, so that a trace may be larger than the memory.

    Raises: ValidationError when the first line is not that of a trace, or of one that a later version has written. So does
    iterating, for a line that cannot be read and is not the last, and where lines are missing.
    """

    def __init__(self, lines: str | Iterable[str]) -> None:
        self._lines = enumerate(lines.splitlines() if isinstance(lines, str) else lines, 1)
        _, first = next(self._lines, (1, ""))
        said = loaded(first) or {}
        if said.get("trace") != FORMAT:
            if "trace" in said:
                raise ValidationError(
                    f"a trace must be of format {FORMAT}; got {safe_repr(said['trace'])}: read it with the "
                    "version of bitget-proto that wrote it"
                )
            found = "another" if first.strip() else "an empty one"
            raise ValidationError(
                f'a trace must begin with a line {{"trace":{FORMAT},…}}; got {found}: pass what record wrote'
            )
        try:
            self.core: Final = _one_of("core", said["core"], _CONFIGS)
            """What was recorded: `Connection` or `Session`."""
            self.engine: Final = str(said["engine"])
            """The JSON engine that was at work."""
            self.version: Final = str(said["version"])
            """The version of this library that wrote it."""
            self.config: Final[Config | SessionConfig] = STRICT.structure(
                said["config"], _CONFIGS[self.core]
            )
            """The limits of the core."""
            budget: _Allowance | None = STRICT.structure(said["budget"], _Allowance | None)
            self.has_budget: Final = budget is not None
            """Whether the core had a budget, …"""
            self.per_second: Final = None if budget is None else budget.per_second
            """… how many cancels a second it allowed, None for any number, …"""
            self.pace_margin: Final = None if budget is None else budget.pace_margin
            """… and the seconds that it added to the second."""
        except (BaseValidationError, ValueError, KeyError, TypeError) as error:
            raise ValidationError(f"line 1 of the trace cannot be read: {_why(error)}") from None
        self.torn: str | None = None
        """The last line, where it was not written whole; known when all steps were read."""

    def __repr__(self) -> str:
        return f"<Trace of a {self.core}, engine {safe_repr(self.engine)}, version {safe_repr(self.version)}>"

    def __iter__(self) -> Iterator[TraceStep]:
        for expected, (number, text) in enumerate(self._lines, 1):
            data = loaded(text)
            if data is None:
                self._tear(number, text)
                return
            try:
                n, call = data["n"], _one_of("call", data["call"], CALLS)
            except (KeyError, ValueError) as error:
                raise ValidationError(
                    f"line {number} of the trace is no step: {_why(error)}"
                ) from None
            if n != expected:
                raise ValidationError(
                    f"line {number} of the trace must be step {expected}; got {safe_repr(n)}: steps are missing, or "
                    "are in another order"
                )
            yield TraceStep(n=n, call=call, data=data, text=text.rstrip("\r\n"))

    def _tear(self, number: int, text: str) -> None:
        """A line cannot be read: whoever wrote it crashed, if nothing comes after it."""
        if any(more.strip() for _, more in self._lines):
            raise ValidationError(
                f"line {number} of the trace cannot be read, and only the last may be torn: the file was damaged"
            )
        self.torn = text.rstrip("\r\n") or None


_CONFIGS: Final[Mapping[str, type[Config | SessionConfig]]] = MappingProxyType({
    "Connection": Config,
    "Session": SessionConfig,
})  # fmt: skip


def _one_of(name: str, value: object, choices: Collection[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    *others, last = sorted(choices)
    raise ValueError(f"{name} must be {', '.join(others)} or {last}; got {safe_repr(value)}")


def _why(error: Exception) -> str:
    if isinstance(error, BaseValidationError):
        return "; ".join(map(_named_first, transform_error(error, format_exception=_why_refused)))
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _why_refused(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"{', '.join(sorted(error.extra_fields))} is unknown"
    return str(error)


def _named_first(told: str) -> str:
    """What cattrs tells of a field, with the field at the beginning: it says «… @ $.field», and «… @ $» of the whole."""
    what, _, place = told.rpartition(" @ $")
    return f"{place.removeprefix('.')} {what}" if place else what
