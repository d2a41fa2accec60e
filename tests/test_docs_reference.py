"""Tests that the reference has every public name exactly once, and no others."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import attrs
import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "reference.rst").read_text(encoding="utf-8")
WRITTEN = Counter(re.findall(r"^\.\. auto(?!module)\w+:: ([\w.]+)$", PAGE, re.MULTILINE))

MODULES = [
    "bitget_proto",
    "bitget_proto.testing",
    "bitget_transports",
    "bitget_transports.asyncio",
    "bitget_transports.anyio",
    "bitget_transports.blocking",
    "bitget_transports.exchange",
]


def stands_elsewhere(module: str, name: str) -> bool:
    """Whether an earlier module exports the same object."""
    found = getattr(import_module(module), name)
    before = [import_module(other) for other in MODULES[: MODULES.index(module)]]
    return any(getattr(other, name, None) is found for other in before)


@pytest.mark.parametrize("module", MODULES)
def test_the_module_of_a_public_class_is_where_it_is_imported_from(module: str) -> None:
    """Pickles name that module, and tools look up the types of its fields there."""
    for name in import_module(module).__all__:
        found = getattr(import_module(module), name)
        if isinstance(found, type) and not stands_elsewhere(module, name):
            assert (found.__module__, found.__qualname__) == (module, name)
            assert pickle.loads(pickle.dumps(found)) is found
            if attrs.has(found):
                attrs.resolve_types(found)


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name_once(module: str) -> None:
    public = {
        name for name in import_module(module).__all__ if not stands_elsewhere(module, name)
    } - {"__version__"}
    written = {
        name.rpartition(".")[2]: count
        for name, count in WRITTEN.items()
        if name.rpartition(".")[0] == module
    }
    assert written == dict.fromkeys(public, 1), "docs/reference.rst differs from __all__"
