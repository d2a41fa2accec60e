"""Mark tests as slow that repeat a transport's test on another event loop.

The coverage of the core is not measured here: its own tests cover it, and measuring doubles the
time that these take.
"""

from __future__ import annotations

import pytest

from .colours import Flavour

REPEATED = (Flavour.UVLOOP, Flavour.PICOWS_UVLOOP, Flavour.ANYIO_TRIO)


@pytest.hookimpl(tryfirst=True)  # before pytest deselects slow tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.no_cover)
        if any(str(flavour) in item.name for flavour in REPEATED):
            item.add_marker(pytest.mark.slow)
