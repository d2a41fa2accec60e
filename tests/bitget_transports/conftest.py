"""Mark tests as slow that repeat a transport's test on another event loop."""

from __future__ import annotations

import pytest

from .colours import Flavour

REPEATED = (Flavour.UVLOOP, Flavour.PICOWS, Flavour.PICOWS_UVLOOP, Flavour.ANYIO_TRIO)


@pytest.hookimpl(tryfirst=True)  # before pytest deselects slow tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(str(flavour) in item.name for flavour in REPEATED):
            item.add_marker(pytest.mark.slow)
