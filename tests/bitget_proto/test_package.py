"""Tests of the public names of the package."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import bitget_proto
from bitget_proto import _LAZY

INIT = Path(bitget_proto.__file__)


@cache
def sources() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(INIT.parent)): ast.parse(path.read_text("utf-8"))
        for path in sorted(INIT.parent.rglob("*.py"))
    }


def test_all_lists_exactly_the_imported_names() -> None:
    imported = [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(INIT.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    ]
    assert sorted(bitget_proto.__all__) == sorted(imported)
    assert len(set(imported)) == len(imported)


def test_a_public_name_is_exported_by_one_module() -> None:
    modules = (
        "bitget_proto",
        "bitget_proto.testing",
        "bitget_transports",
        "bitget_transports.exchange",
    )
    homes = Counter(name for module in modules for name in import_module(module).__all__)
    assert [name for name, count in homes.items() if count > 1] == []


def test_all_is_a_literal() -> None:
    (value,) = [
        node.value
        for node in ast.parse(INIT.read_text("utf-8")).body
        if isinstance(node, ast.Assign)
        and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    assert ast.literal_eval(value) == bitget_proto.__all__


@pytest.mark.parametrize("name", bitget_proto.__all__)
def test_a_public_name_exists_and_has_no_underscore(name: str) -> None:
    assert hasattr(bitget_proto, name)
    assert name == "__version__" or not name.startswith("_")


def test_every_name_without_an_underscore_is_in_all() -> None:
    looks = {
        name
        for name, value in vars(bitget_proto).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert looks - {"TYPE_CHECKING", "MappingProxyType", "import_module"} == set(
        bitget_proto.__all__
    ) - {"__version__"} - set(_LAZY)
    assert set(dir(bitget_proto)) >= set(bitget_proto.__all__)
    with pytest.raises(AttributeError, match="module 'bitget_proto' has no attribute 'Sesion'"):
        bitget_proto.Sesion  # type: ignore[attr-defined]  # noqa: B018 - what an unchecked caller writes


@pytest.mark.parametrize("ask", ["Session", "SessionConfig", "replay"])
def test_names_that_a_connection_does_not_need_are_imported_lazily(ask: str) -> None:
    home = f"bitget_proto{_LAZY[ask]}"
    program = (
        "import sys, bitget_proto\n"
        "assert 'bitget_proto._machine.session' not in sys.modules\n"
        f"from bitget_proto import {ask}\n"
        f"assert {home!r} in sys.modules"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_a_program_without_a_reconciler_imports_nothing_of_it() -> None:
    program = (
        "import sys\n"
        "from bitget_proto import CancelOrder\n"
        "from bitget_proto.testing import ScriptedExchange, SessionPair\n"
        "order = CancelOrder('BTCUSDT', order_id='1')\n"
        "pair = SessionPair(exchange=ScriptedExchange([order]))\n"
        "pair.start()\n"
        "pair.cancel(order)\n"
        "assert pair.outcomes\n"
        "print(*(name for name in sys.modules if name.startswith('bitget_proto')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")
    parts = ("reconciler", "reconciler_config", "look_ups", "look_up_line", "tracked_orders")
    loaded = {name.rpartition(".")[2] for name in found.stdout.split()}
    assert "session" in loaded
    assert not loaded & {*parts, "finals", "rest"}


def documented_by_a_string(name: str) -> bool:
    """Whether any module assigns the name and has a string below the assignment."""
    for module in sources().values():
        for node, after in zip(module.body, module.body[1:], strict=False):
            if isinstance(node, ast.Assign):
                targets = [ast.unparse(target) for target in node.targets]
            elif isinstance(node, ast.AnnAssign):
                targets = [ast.unparse(node.target)]
            else:
                continue
            if (
                targets == [name]
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                return isinstance(after.value.value, str)
    return False


SAYS_IT_ITSELF = {"__version__"}
"""Names that need no docstring: the version, and a union of two documented enums."""


@pytest.mark.parametrize("name", sorted(set(bitget_proto.__all__) - SAYS_IT_ITSELF))
def test_a_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value: object = getattr(bitget_proto, name)
    if inspect.isclass(value):
        assert "__doc__" in vars(value)
        assert value.__doc__
        assert not value.__doc__.startswith("Method generated by attrs")
    else:
        assert inspect.isfunction(value) or documented_by_a_string(name)
        assert not inspect.isfunction(value) or value.__doc__


PUBLIC_METHODS = [
    (kind.__name__, name)
    for kind in (
        bitget_proto.Connection,
        bitget_proto.Session,
        bitget_proto.Codec,
        bitget_proto.Budget,
    )
    for name, value in vars(kind).items()
    if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
]


@pytest.mark.parametrize(("kind", "name"), PUBLIC_METHODS)
def test_a_public_method_of_a_core_is_documented(kind: str, name: str) -> None:
    assert getattr(getattr(bitget_proto, kind), name).__doc__


@pytest.mark.parametrize("name", sources())
def test_every_file_has_a_module_docstring(name: str) -> None:
    assert ast.get_docstring(sources()[name])


def test_the_version_is_valid_and_that_of_the_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev|\.post)\d+)*", bitget_proto.__version__)
    assert version("bitget-proto") == bitget_proto.__version__


def test_the_package_is_marked_as_typed() -> None:
    assert (INIT.parent / "py.typed").is_file()
