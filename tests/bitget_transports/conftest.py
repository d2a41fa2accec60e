"""Marks as slow what repeats a test of a transport on another event loop."""

from __future__ import annotations

import pytest

from .colours import Colour

REPEATED = (Colour.UVLOOP, Colour.PICOWS_UVLOOP, Colour.ANYIO_TRIO)


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(str(colour) in item.name for colour in REPEATED):
            item.add_marker(pytest.mark.slow)
