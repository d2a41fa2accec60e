"""A life written down: one line of JSON for each call, with what it was told and what came out. Here is how things are spelled.

Rules of this file
- Exact: what is read back is what was written. A number stays what it was, to the last bit; text and bytes are told apart.
- A login is written as its stamp and nothing more; its frame not at all. What a login held is hidden wherever else it turns up,
  frames of the user's own hide what looks like a secret, and an argument of a wrong type is written as its type alone.
- Lines are ASCII. Only the last one may be torn, by a crash: `Trace` leaves it out, and tells.

It does not know files, nor what a line means to a core: the one that writes is `_recording`, the one that plays `_replay`.

The first line says what was recorded:
    {"trace":1,"version":"0.1.0","core":"Connection","engine":"stdlib","config":{…},"budget":null}
Each other one is a call, and names no argument that has its default:
    {"n":4,"call":"receive","now":0.5,"message":"pong"}
    {"n":5,"call":"poll","now":0.5,"gave":{"kind":"Wait","until":30.0,"timer":"ping"}}
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error

from ._config import Config
from ._credentials import SignedLogin
from ._errors import ValidationError, shown
from ._events import Output, Transmit
from ._orders import CancelOrder
from ._redacted import HIDDEN, redacted
from ._session_config import Policy, SessionConfig
from ._session_events import SessionOutput
from ._version import __version__

FORMAT: Final = 1

_SECRET_FROM = 8
"""How long a part of a login is that is looked for elsewhere. What is shorter may be part of any word, and hides nothing: the
exchange's keys have 35 characters, its pass phrases 8 and more."""

_SECRETS_KEPT = 32
"""Parts of logins that are remembered: a signature is valid for 30 s."""

_DIGITS = 300
"""An integer with more has no time for its value."""

_NOT_RECORDED = "not recorded"

_is_hidden_frame = re.compile(r"<[0-9]+ characters that are no JSON object>").fullmatch
_dumps = json.JSONEncoder(separators=(",", ":")).encode

Plain: TypeAlias = dict[str, Any]
"""An object of JSON."""


# --- writing ---


class Secrets:
    """The secrets that are known so far: each login tells its own."""

    __slots__ = ("_forms", "_known")

    def __init__(self) -> None:
        self._known: OrderedDict[str, re.Pattern[str] | None] = OrderedDict()
        """Each with the pattern of all its spellings, once it was needed."""
        self._forms: tuple[str, ...] = ()
        """As they are, and as JSON may spell them; the longest first."""

    def learn(self, login: SignedLogin) -> None:
        """Hide the parts of this login from now on."""
        known = self._known
        for secret in (login.api_key, login.passphrase, login.sign):
            if len(secret) >= _SECRET_FROM:
                known[secret] = known.pop(secret, None)
        while len(known) > _SECRETS_KEPT:
            known.popitem(last=False)
        forms: set[str] = set()
        for secret in known:
            for form in (secret, _dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
                forms |= {form, form.replace("/", "\\/")}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def out_of(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        if self._known and "\\u" in text:
            # Rare: JSON may spell any letter of a secret by its number.
            for secret, pattern in self._known.items():
                known = self._known[secret] = _any_spelling(secret) if pattern is None else pattern
                text = known.sub(HIDDEN, text)
        return text

    def plain(self, value: object) -> object:
        """Any value as JSON can hold it, without the secrets."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            text = self.out_of(str.__str__(value))
            return text if _is_unicode(text) else {"surrogates": _base64(text.encode("utf-8", "surrogatepass"))}
        if isinstance(value, bytes):
            data = self.out_of(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            try:
                return {"utf8": data.decode()}
            except UnicodeDecodeError:
                return {"base64": _base64(data)}
        if isinstance(value, float):
            return value if isfinite(value) else {"float": float.__repr__(value)}
        if isinstance(value, int) and abs(value) < 10**_DIGITS:
            return value
        if isinstance(value, dict):
            return {key: self.plain(inside) for key, inside in cast("Plain", value).items()}
        if isinstance(value, list):
            return [self.plain(inside) for inside in cast("list[object]", value)]
        return f"<a value of type {type(value).__name__}>"

    def output(self, output: Output | SessionOutput) -> object:
        """What `poll` gave."""
        data: Plain = {"kind": type(output).__name__, **_BRIEF.unstructure(output)}
        if isinstance(output, Transmit):
            if output.secret:
                del data["text"]
            elif output.id is None:
                data["text"] = own_frame(output.text)
        return self.plain(data)


def _any_spelling(secret: str) -> re.Pattern[str]:
    """The secret, each of its letters as it is or as JSON may escape it."""
    return re.compile("".join(f"(?:{'|'.join(_spellings(char))})" for char in secret))


def _spellings(char: str) -> Iterator[str]:
    yield re.escape(char)
    units = char.encode("utf-16-be", "surrogatepass")
    yield "".join(rf"\\u(?i:{units[at : at + 2].hex()})" for at in range(0, len(units), 2))
    if char in _SHORT:
        yield rf"\\{re.escape(_SHORT[char])}"


_SHORT: Final[Mapping[str, str]] = MappingProxyType({
    '"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t",
})  # fmt: skip
"""Characters with an escape of their own."""


def own_frame(text: str) -> str:
    """A frame of the user's own, as it is written. What was written once is written so again."""
    return text if not text or _is_hidden_frame(text) else redacted(text)


def unrecorded(value: object) -> Plain:
    """Instead of an argument of a wrong type: the call was refused, and what was passed may be anything."""
    return {"unrecorded": type(value).__name__}


def is_whole(data: Mapping[str, Any]) -> bool:
    """Whether every argument of a call is recorded."""
    return not any("unrecorded" in value for value in data.values() if isinstance(value, dict))


def header(core: str, engine: str, config: Config | SessionConfig, budget: Plain | None) -> str:
    """The first line."""
    said = {"trace": FORMAT, "version": __version__, "core": core, "engine": engine}
    return line(said | {"config": _WHOLE.unstructure(config), "budget": budget})


def line(data: Plain) -> str:
    """One line, with its end."""
    return _dumps(data) + "\n"


def order(value: object) -> object:
    """The order of a cancel."""
    return _BRIEF.unstructure(value, CancelOrder) if isinstance(value, CancelOrder) else unrecorded(value)


def number(value: object) -> object:
    """A time, or a number of seconds."""
    if isinstance(value, float):
        return value
    return value if isinstance(value, int) and abs(value) < 10**_DIGITS else unrecorded(value)


def sent(text: object, now: object) -> Plain:
    """A frame of the user's own, and when it was asked for."""
    told = own_frame(str.__str__(text)) if isinstance(text, str) and _is_unicode(text) else unrecorded(text)
    return {"now": number(now), "text": told}


def stamp(login: object) -> object:
    """What is written of a login."""
    if not isinstance(login, SignedLogin):
        return unrecorded(login)
    said = login.timestamp
    return {"stamp": said if len(said) <= 20 and said.isascii() and said.isdigit() else None}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


# --- reading ---


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
        told = [(name, value) for name, value in self.data.items() if name not in _NO_ARGUMENTS]
        return {name: self._read(_READ.get(name, _value), value) for name, value in told}

    def drawn(self, name: str) -> list[Any]:
        """What the core learnt behind its driver's back, in order: the answers of its `budget`, the numbers of its `jitter`."""
        return [self._read(_value, value) for value in self._read(list, self.data.get(name, []))]

    def _read(self, read: Callable[[Any], Any], value: object) -> Any:
        try:
            return read(value)
        except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValidationError(f"step {self.n} of the trace cannot be read: {_why(error)}") from None


@attrs.frozen
class _Allowance:
    per_second: int | None


class Trace:
    """A recorded life, read from its lines: a list, a file that is open for reading, or one string.

    Iterate over it, once, for its steps; they are read as they are asked for, so that a trace may be larger than the memory.

    Raises: ValidationError when the first line is not that of a trace, or of one that a later version has written. So does
    iterating, for a line that cannot be read and is not the last, and where lines are missing.
    """

    def __init__(self, lines: str | Iterable[str]) -> None:
        self._lines = enumerate(lines.splitlines() if isinstance(lines, str) else lines, 1)
        _, first = next(self._lines, (1, ""))
        said = _object(first) or {}
        if said.get("trace") != FORMAT:
            if "trace" in said:
                raise ValidationError(
                    f"a trace must be of format {FORMAT}; got {shown(said['trace'])}: read it with the version of bitget-proto "
                    "that wrote it"
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
            self.config: Final[Config | SessionConfig] = _STRICT.structure(said["config"], _CONFIGS[self.core])
            """The limits of the core."""
            budget: _Allowance | None = _STRICT.structure(said["budget"], _Allowance | None)
            self.has_budget: Final = budget is not None
            """Whether the core had a budget, …"""
            self.per_second: Final = None if budget is None else budget.per_second
            """… and how many cancels a second it allowed; None for any number."""
        except (BaseValidationError, ValueError, KeyError, TypeError) as error:
            raise ValidationError(f"line 1 of the trace cannot be read: {_why(error)}") from None
        self.torn: str | None = None
        """The last line, where it was not written whole; known when all steps were read."""

    def __repr__(self) -> str:
        return f"<Trace of a {self.core}, engine {shown(self.engine)}, version {shown(self.version)}>"

    def __iter__(self) -> Iterator[TraceStep]:
        for expected, (number, text) in enumerate(self._lines, 1):
            data = _object(text)
            if data is None:
                self._tear(number, text)
                return
            try:
                n, call = data["n"], _one_of("call", data["call"], _CALLS)
            except (KeyError, ValueError) as error:
                raise ValidationError(f"line {number} of the trace is no step: {_why(error)}") from None
            if n != expected:
                raise ValidationError(
                    f"line {number} of the trace must be step {expected}; got {shown(n)}: steps are missing, or are in another "
                    "order"
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

_CALLS: Final = frozenset({"opened", "receive", "lost", "handle_timeout", "cancel", "send", "close", "poll"})
_NO_ARGUMENTS: Final = frozenset({"n", "call", "budget", "jitter", "gave", "raised"})


def _object(text: str) -> Plain | None:
    """A line as plain data; None for what is no object of JSON."""
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Plain", data) if isinstance(data, dict) else None


def _value(data: object) -> Any:
    """What `Secrets.plain` has written, as it was."""
    if not isinstance(data, dict):
        return data
    ((kind, inside),) = cast("Plain", data).items()
    return _KINDS[kind](inside)


def _from_base64(text: str) -> bytes:
    return b64decode(text, validate=True)


_KINDS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType({
    "float": float,
    "utf8": str.encode,
    "base64": _from_base64,
    "surrogates": lambda text: _from_base64(text).decode("utf-8", "surrogatepass"),
})  # fmt: skip


def _login(data: Plain) -> SignedLogin:
    return SignedLogin(_NOT_RECORDED, _NOT_RECORDED, data["stamp"] or _NOT_RECORDED, _NOT_RECORDED)


def _order(data: object) -> CancelOrder:
    if not isinstance(data, dict):
        raise TypeError(f"order must be an object; got {shown(data)}")
    return cast("CancelOrder", _STRICT.structure(data, CancelOrder))


_READ: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType({
    "login": _login,
    "order": _order,
    "policy": lambda data: _STRICT.structure(data, Policy),
    "unsent": list,
    "busy": list,
})  # fmt: skip


def _one_of(name: str, value: object, choices: Collection[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    *others, last = sorted(choices)
    raise ValueError(f"{name} must be {', '.join(others)} or {last}; got {shown(value)}")


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


# --- cattrs ---


def _strictly(*allowed: type) -> Callable[[object, object], object]:
    def strictly(value: object, _: object) -> object:
        if type(value) not in allowed:
            raise TypeError(f"must be {' or '.join(kind.__name__ for kind in allowed)}; got {shown(value)}")
        return value

    return strictly


def _strict() -> Any:
    """From plain data to limits and orders: no coercion, and no field that is not known here."""
    converter: Any = Converter(forbid_extra_keys=True)
    for kind, allowed in ((str, (str,)), (bool, (bool,)), (int, (int,)), (float, (float, int))):
        converter.register_structure_hook(kind, _strictly(*allowed))
    return converter


# Any: cattrs' annotations leave the types of its hooks open.
_STRICT: Final[Any] = _strict()
_BRIEF: Final[Any] = Converter(omit_if_default=True)
_WHOLE: Final[Any] = Converter()
"""Limits are written one and all: a later version may have other defaults."""
