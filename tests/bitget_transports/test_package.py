"""The public names of the package, which are imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bitget_transports


@pytest.mark.parametrize("name", bitget_transports.__all__)
def test_a_public_name_is_there_is_listed_and_says_what_it_is(name: str) -> None:
    assert getattr(bitget_transports, name).__doc__
    assert name in dir(bitget_transports)


def test_the_list_of_names_is_what_the_package_knows_where_to_find() -> None:
    assert set(bitget_transports._HOMES) == set(bitget_transports.__all__)


def test_another_name_is_an_attribute_error() -> None:
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
