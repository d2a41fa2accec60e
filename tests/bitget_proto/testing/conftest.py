"""Ends the drivers that the kit has given up: some do not wait, and would slow down all later tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .selector_driver import SelectorDriver


@pytest.fixture(autouse=True)
def end_drivers() -> Iterator[None]:
    yield
    for driver in tuple(SelectorDriver.running):
        driver.closed = True
        driver.wake()
