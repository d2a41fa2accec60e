"""Every public name with its signature, collected in `tests/surface.txt`.

Run as a script to regenerate it.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, Protocol, get_args, get_origin

import attrs

import bitget_proto
import bitget_transports

PAGE = Path(__file__).with_name("surface.txt")
COMMAND = "python tests/test_surface_shown.py"

STABLE = (
    "bitget_proto", "bitget_proto.testing", "bitget_transports", "bitget_transports.asyncio", "bitget_transports.anyio",
    "bitget_transports.blocking", "bitget_transports.exchange",
)  # fmt: skip
"""Modules whose names are stable as docs/compatibility.md promises."""

PROVISIONAL = (
    "bitget_proto.explain",
    "bitget_proto.testing.framing",
    "bitget_transports.faults.hostile_server",
    "bitget_transports.faults.flaky_proxy",
    "bitget_transports.conformance",
    "bitget_transports.telemetry.opentelemetry",
    "bitget_transports.telemetry.prometheus",
)
"""Modules whose names may change in any minor version: they are new, or only for tests."""

RUN = (
    "bitget_proto.__main__", "bitget_proto.testing.__main__", "bitget_proto.testing.pytest", "bitget_transports.__main__",
    "bitget_transports.cli.__main__",
    "bitget_transports.cli", "bitget_transports.pytest_plugin",
)  # fmt: skip
"""Modules that a command or pytest runs: their public part is the command or the fixture."""


_WORDS_OF_PYTHON = (
    "__iter__", "__next__", "__aiter__", "__anext__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__call__", "__len__",
)  # fmt: skip
"""Special methods that a caller uses without their names."""

_LONGEST = 80
"""Maximum length of a shown value."""


# --- finding modules and names ---


def modules() -> set[str]:
    """Every module of the two packages without a leading underscore."""
    found = {"bitget_proto", "bitget_transports"}
    for package in (bitget_proto, bitget_transports):
        for module in walk_packages(
            package.__path__, f"{package.__name__}.", onerror=lambda _: None
        ):
            if not any(
                part.startswith("_") and part != "__main__" for part in module.name.split(".")
            ):
                found.add(module.name)
    return found


def public(module: ModuleType) -> list[str]:
    """The names of `__all__`, or else those defined there without a leading underscore."""
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
    ]
    names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
    return sorted(set(names) - {"__version__"}, key=lambda name: (name.lower(), name))


# --- formatting signatures ---


def written(module: ModuleType) -> str:
    lines: list[str] = []
    for name in public(module):
        value: Any = getattr(module, name)
        home = getattr(value, "__module__", module.__name__)
        first = next(
            (
                other
                for other in (*STABLE, *PROVISIONAL)
                if getattr(_loaded(other), name, None) is value
            ),
            module.__name__,
        )
        if first != module.__name__ and isinstance(home, str):
            lines.append(f"{name}: as {first}.{name}")
        elif inspect.isclass(value):
            lines += of_class(name, value)
        elif inspect.isfunction(value):
            lines += of_function(name, value)
        else:
            lines.append(of_value(name, value))
    return "\n".join(lines) + "\n"


def _loaded(name: str) -> ModuleType:
    return import_module(name)


def of_value(name: str, value: object) -> str:
    if get_args(value):
        return f"{name} = {of_type(value)}"
    text = repr(value)
    return f"{name} = {text}" if len(text) < _LONGEST else f"{name}: a {type(value).__name__}"


def of_type(value: Any) -> str:
    if value is Ellipsis:
        return "..."
    members = get_args(value)
    if get_origin(value) is Callable:
        taken = (
            "..."
            if members[0] is Ellipsis
            else f"[{', '.join(of_type(member) for member in members[0])}]"
        )
        return f"Callable[{taken}, {of_type(members[1])}]"
    if members:
        return " | ".join(of_type(member) for member in members)
    return str(getattr(value, "__name__", repr(value)))


def source_of(value: Any) -> ast.FunctionDef | ast.AsyncFunctionDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return node


def of_arguments(given: ast.arguments) -> str:
    """The arguments as in the source, without the first one of a method."""
    arguments: list[str] = []
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [
        *[None] * (len(positional) - len(given.defaults)),
        *given.defaults,
    ]
    for place, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
        if not (place == 0 and argument.arg in ("self", "cls")):
            arguments.append(_with_default(argument, default))
        if given.posonlyargs and place == len(given.posonlyargs) - 1:
            arguments.append("/")
    if given.vararg is not None or given.kwonlyargs:
        arguments.append("*" if given.vararg is None else f"*{ast.unparse(given.vararg)}")
    arguments += [
        _with_default(argument, default)
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg is not None:
        arguments.append(f"**{ast.unparse(given.kwarg)}")
    return ", ".join(arguments)


def _with_default(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + ("" if default is None else f" = {ast.unparse(default)}")


def of_function(name: str, value: Any, indent: str = "") -> list[str]:
    """The signature as in the source, with the decorators that matter to a caller."""
    node = source_of(value)
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    kept = [
        f"{indent}@{text}"
        for text in decorators
        if text not in ("property", "overload", "abstractmethod")
    ]
    returns = "" if node.returns is None else f" -> {of_annotation(ast.unparse(node.returns))}"
    word = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return [*kept, f"{indent}{word}{name}({of_arguments(node.args)}){returns}"]


def of_class(name: str, value: type[Any]) -> list[str]:
    if issubclass(value, Enum):
        return [f"enum {name}: {', '.join(value.__members__)}"]
    protocol = Protocol in value.__bases__
    bases = [
        base.__name__
        for base in value.__bases__
        if base is not object and not base.__name__.startswith("_")
    ]
    bases = [base for base in bases if base not in ("Generic", "Protocol", "ABC")]
    word = "exception" if issubclass(value, BaseException) else "protocol" if protocol else "class"
    made = "" if protocol else f"({', '.join(made_of(value))})"
    lines = [
        f"{word} {name}{'' if made.startswith(('(driver: ', '(channel: ')) else made}"
        + (f" is a {', '.join(bases)}" if bases else "")
    ]
    members: dict[str, Any] = {}
    for kind in reversed(value.__mro__):
        # Members of a private base are listed here; those of a public base are listed there.
        if kind is value or kind.__name__.startswith("_"):
            shown = {
                member: inside
                for member, inside in vars(kind).items()
                if not member.startswith("_")
            }
            members |= shown | {
                word: vars(kind)[word] for word in _WORDS_OF_PYTHON if word in vars(kind)
            }
            members |= {
                member: text for member, text in set_when_made(kind) if not member.startswith("_")
            }
    for member, inside in sorted(members.items()):
        if isinstance(inside, str):
            lines.append(f"    {member}{inside}")
        elif isinstance(inside, property):
            returns = inspect.get_annotations(inside.fget)["return"] if inside.fget else ""
            lines.append(f"    {member}: {of_annotation(returns)}")
        elif inspect.isfunction(made := getattr(inside, "__func__", inside)):
            lines += of_function(member, made, "    ")
    return lines


def set_when_made(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """The attributes that `__init__` sets, with their types if annotated."""
    made = vars(kind).get("__init__")
    if not inspect.isfunction(made) or attrs.has(kind):
        return
    for node in ast.walk(source_of(made)):
        targets = (
            [node.target]
            if isinstance(node, ast.AnnAssign)
            else node.targets
            if isinstance(node, ast.Assign)
            else []
        )
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield (
                    target.attr,
                    f": {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else "",
                )


def made_of(value: type[Any]) -> Iterator[str]:
    """Constructor parameters: the fields of an attrs class, or those of `__init__`."""
    if not attrs.has(value):
        own = next(
            (vars(kind)["__init__"] for kind in value.__mro__ if "__init__" in vars(kind)), None
        )
        if inspect.isfunction(own):
            yield of_arguments(source_of(own).args)
        return
    annotations = {
        name: of_annotation(text)
        for kind in reversed(value.__mro__)
        for name, text in inspect.get_annotations(kind).items()
    }
    keywords = False
    for field in attrs.fields(value):
        if field.init:
            if field.kw_only and not keywords:
                keywords = True
                yield "*"
            yield f"{field.name}: {annotations[field.name]}{of_default(field.default)}"


def of_annotation(value: Any) -> str:
    """A type as in the source, whether the annotation is a string or a class."""
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    return re.sub(
        r"__import__\('\w+'\)\.|\b(typing|collections\.abc|bitget_\w+(\.\w+)*)\.|'", "", text
    )


def of_default(value: object) -> str:
    if value is attrs.NOTHING:
        return ""
    text = f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)
    return f" = {text}" if len(text) < _LONGEST and "Factory(" not in text else " = …"


# --- the list ---


def text() -> str:
    parts = [f"The public surface. Made by {COMMAND}. A change here goes into CHANGELOG.md.\n"]
    for names, promise in ((STABLE, "stable"), (PROVISIONAL, "may change in a minor version")):
        parts += [f"{name} ({promise})\n\n{written(import_module(name))}" for name in names]
    return "\n".join(parts)


def test_every_public_module_is_listed_or_runnable() -> None:
    folders = {"bitget_transports.faults", "bitget_transports.telemetry"}
    assert modules() - folders == {*STABLE, *PROVISIONAL, *RUN}


def test_the_public_api_is_that_of_the_file() -> None:
    assert text() == PAGE.read_text("utf-8"), f"tests/surface.txt is out of date: run {COMMAND}"


def test_signatures_show_defaults_types_and_decorators() -> None:
    page = PAGE.read_text("utf-8")
    for line in (
        "class Dial(*, link: int, stamp_refused: bool = False)",
        "    withdraw(id: str, now: float) -> bool",
        "    capacity: int",
        "Outcome = Accepted | Rejected | Unresolved",
        "enum Policy: REPORT, RESEND",
        "exception NoRoom() is a LocalProtocolError",
        "    outcomes: dict[str, Outcome]",
        "@contextmanager",
    ):
        assert f"\n{line}\n" in page, line
    assert " at 0x" not in page


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
