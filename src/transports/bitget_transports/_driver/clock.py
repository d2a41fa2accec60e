"""The one clock of all transports: it goes on while the machine sleeps, where the system has such a clock."""

from __future__ import annotations

import sys
import time


def clock() -> float:
    """Seconds on the clock of all transports, from an arbitrary zero; they never run backwards.

    All that share a `Budget` must use one clock: pass this one to `Budget.debit`, to `Budget.grant`, and to a `Connection` of
    your own. It goes on while the machine sleeps: CLOCK_BOOTTIME on Linux, CLOCK_MONOTONIC_RAW on macOS. Elsewhere it is
    `time.monotonic`: see docs/time.md.
    """
    return _gettime(_CLOCK)


if sys.platform == "darwin":
    _gettime, _CLOCK = time.clock_gettime, time.CLOCK_MONOTONIC_RAW
elif hasattr(time, "CLOCK_BOOTTIME"):
    _gettime, _CLOCK = time.clock_gettime, time.CLOCK_BOOTTIME
else:
    clock = time.monotonic
