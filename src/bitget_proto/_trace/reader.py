"""Trace format and reader: JSON lines, one for each call of a core.

- Steps are read lazily, so a trace may be larger than memory.
- Lines are ASCII. Only the last line may be torn, by a crash; `Trace` leaves it out and sets
  `torn`.
- Anything that the recorder does not write raises an error that says where it is.

The encoding of values is in `json_values`, the encoding of calls in `schema`.

The first line describes the recording:
    {"trace":1,"version":"0.1.0","core":"Connection","engine":"stdlib","dialect":"classic","config":{…},"budget":null}
Every other line is a call. Arguments that equal their default are left out:
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
from .._values.dialects import Dialect
from .._values.errors import ValidationError, safe_repr
from .._values.set_module import set_module
from .._version import __version__
from .._wire.codec import Codec
from .json_values import STRICT, WHOLE, line, loaded, restored
from .schema import ARGUMENTS, CALLS, is_whole

FORMAT: Final = 1

BESIDE_ARGUMENTS: Final = frozenset({"n", "call", "budget", "jitter", "gave", "raised"})
"""The keys in the line of a call that are not arguments."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class TraceStep:
    """One recorded call."""

    n: int
    """Its number, counted from 1."""

    call: str
    """The name of the method."""

    data: Mapping[str, Any]
    """The line as plain data: the arguments by name, then `gave` or `raised`."""

    text: str
    """The line as read, without its line ending."""

    @property
    def replayable(self) -> bool:
        """Whether the call can be replayed, because every argument was recorded.

        A call with an argument that cannot be recorded was refused and changed nothing.
        """
        return is_whole(self.data)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the call, as the method takes them.

        A login is replaced by a placeholder without secrets, which has the timestamp of the login.

        Raises: ValidationError for an argument that no recorder writes.
        """
        recorded = [
            (name, value) for name, value in self.data.items() if name not in BESIDE_ARGUMENTS
        ]
        return {
            name: self._read(ARGUMENTS[name].read if name in ARGUMENTS else restored, value)
            for name, value in recorded
        }

    def drawn(self, name: str) -> list[Any]:
        """Return the inputs of this call that did not come from the driver, in order.

        `name` is `budget` for the answers of its budget or `jitter` for the numbers of its jitter.
        """
        return [self._read(restored, value) for value in self._read(list, self.data.get(name, []))]

    def _read(self, read: Callable[[Any], Any], value: object) -> Any:
        try:
            return read(value)
        except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValidationError(
                f"step {self.n} of the trace cannot be read: {_why(error)}"
            ) from None


@attrs.frozen
class _BudgetLimits:
    per_second: int | None
    pace_margin: float | None
    batches_per_second: int | None = None


def header(core: str, codec: Codec, config: Config | SessionConfig, budget: Budget | None) -> str:
    """Return the first line. It holds all limits, as a later version may have other defaults."""
    allowance = (
        None
        if budget is None
        else _BudgetLimits(budget.per_second, budget.pace_margin, budget.batches_per_second)
    )
    fields = {"trace": FORMAT, "version": __version__, "core": core}
    fields |= {"engine": codec.engine.value, "dialect": codec.dialect.value}
    return line(
        fields | {"config": WHOLE.unstructure(config), "budget": WHOLE.unstructure(allowance)}
    )


@set_module("bitget_proto")
class Trace:
    """A recorded trace, read from its lines: a list, an open file, or one string.

    Iterate over it, once, for its steps. They are read lazily, so a trace may be larger than
    memory.

    Raises: ValidationError when the first line is not the header of a trace, or names another
    format. Iterating raises it when a line other than the last cannot be read, and when lines are
    missing.
    """

    def __init__(self, lines: str | Iterable[str]) -> None:
        self._lines = enumerate(lines.splitlines() if isinstance(lines, str) else lines, 1)
        _, first = next(self._lines, (1, ""))
        fields = loaded(first) or {}
        if fields.get("trace") != FORMAT:
            if "trace" in fields:
                raise ValidationError(
                    f"a trace must be of format {FORMAT}; got {safe_repr(fields['trace'])}: read it with the "
                    "version of bitget-proto that wrote it"
                )
            found = "another line" if first.strip() else "an empty line"
            raise ValidationError(
                f'a trace must begin with a line {{"trace":{FORMAT},…}}; got {found}: pass the lines that record wrote'
            )
        try:
            self.core: Final = _one_of("core", fields["core"], _CONFIGS)
            """The kind of core that was recorded: `Connection` or `Session`."""
            self.engine: Final = str(fields["engine"])
            """The JSON engine that the core used."""
            self.dialect: Final = Dialect(fields.get("dialect", Dialect.CLASSIC.value))
            """The API of the account."""
            self.version: Final = str(fields["version"])
            """The version of this library that wrote the trace."""
            self.config: Final[Config | SessionConfig] = STRICT.structure(
                fields["config"], _CONFIGS[self.core]
            )
            """The limits of the core."""
            budget: _BudgetLimits | None = STRICT.structure(fields["budget"], _BudgetLimits | None)
            self.has_budget: Final = budget is not None
            """Whether the core had a budget."""
            self.per_second: Final = None if budget is None else budget.per_second
            """The cancels per second that the budget allowed; None for no limit or no budget."""
            self.pace_margin: Final = None if budget is None else budget.pace_margin
            """The seconds that the budget added to each second; None without a budget."""
            self.batches_per_second: Final = None if budget is None else budget.batches_per_second
            """The batches per second that the budget allowed in addition to cancels; None without a
            budget, or if the orders of batches counted as cancels."""
        except (BaseValidationError, ValueError, KeyError, TypeError) as error:
            raise ValidationError(f"line 1 of the trace cannot be read: {_why(error)}") from None
        self.torn: str | None = None
        """The last line if it is incomplete; set once all steps have been read."""

    def __repr__(self) -> str:
        return f"<Trace of a {self.core}, engine {safe_repr(self.engine)}, version {safe_repr(self.version)}>"

    def __iter__(self) -> Iterator[TraceStep]:
        for expected, (number, text) in enumerate(self._lines, 1):
            data = loaded(text)
            if data is None:
                self._end_torn(number, text)
                return
            try:
                n, call = data["n"], _one_of("call", data["call"], CALLS)
            except (KeyError, ValueError) as error:
                raise ValidationError(
                    f"line {number} of the trace is not a step: {_why(error)}"
                ) from None
            if n != expected:
                raise ValidationError(
                    f"line {number} of the trace must be step {expected}; got {safe_repr(n)}: steps are missing "
                    "or out of order"
                )
            yield TraceStep(n=n, call=call, data=data, text=text.rstrip("\r\n"))

    def _end_torn(self, number: int, text: str) -> None:
        """Handle a line that cannot be read: it was torn by a crash if no other line follows."""
        if any(more.strip() for _, more in self._lines):
            raise ValidationError(
                f"line {number} of the trace cannot be read, and only the last line may be torn: the file is damaged"
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
        return "; ".join(map(_field_first, transform_error(error, format_exception=_why_refused)))
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _why_refused(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"{', '.join(sorted(error.extra_fields))} is unknown"
    return str(error)


def _field_first(message: str) -> str:
    """Return a message of cattrs with the field first.

    cattrs writes "… @ $.field", and "… @ $" for the whole object.
    """
    what, _, place = message.rpartition(" @ $")
    return f"{place.removeprefix('.')} {what}" if place else what
