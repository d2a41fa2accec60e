"""The public names of the package, which are imported lazily."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bitget_transports


@pytest.mark.parametrize("name", bitget_transports.__all__)
def test_every_public_name_is_exported_and_documented(name: str) -> None:
    assert getattr(bitget_transports, name).__doc__
    assert name in dir(bitget_transports)


def test_the_public_names_are_the_lazily_imported_ones() -> None:
    assert set(bitget_transports._HOMES) == set(bitget_transports.__all__)


def test_an_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(
        AttributeError, match="module 'bitget_transports' has no attribute 'nothing'"
    ):
        bitget_transports.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_importing_it_imports_nothing_of_the_project() -> None:
    code = "import sys, bitget_transports; print([name for name in sys.modules if name.startswith('bitget')])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "['bitget_transports']\n"
