"""The clock of all transports. It continues while the machine sleeps, where the system has such a
clock.
"""

from __future__ import annotations

import sys
import time


def clock() -> float:
    """Return the seconds on the clock of all transports. It starts at an arbitrary zero and never
    runs backwards.

    Everything that shares a `Budget` must use the same clock: pass this one to `Budget.debit`, to
    `Budget.grant`, and to a `Connection` of your own. It continues while the machine sleeps:
    CLOCK_BOOTTIME on Linux, CLOCK_MONOTONIC_RAW on macOS. Elsewhere it is `time.monotonic`: see
    docs/time.md.
    """
    return _gettime(_CLOCK)


if sys.platform == "darwin":
    _gettime, _CLOCK = time.clock_gettime, time.CLOCK_MONOTONIC_RAW
elif hasattr(time, "CLOCK_BOOTTIME"):
    _gettime, _CLOCK = time.clock_gettime, time.CLOCK_BOOTTIME
else:
    clock = time.monotonic
