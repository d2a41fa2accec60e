"""Ends the drivers that the kit has given up: some do not wait, and would slow down all later tests.

Their threads end too: the kit switches the garbage collection off while it frees a driver, which a
later test may notice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from .selector_driver import SelectorDriver


@pytest.fixture(autouse=True)
def end_drivers() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for driver in tuple(SelectorDriver.running):
        driver.closed = True
        driver.wake()
    for thread in set(threading.enumerate()) - before:
        thread.join(0.2)  # some drivers never end
