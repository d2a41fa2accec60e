"""Patience for faulty drivers is short, because each missing step is waited for that long."""

from __future__ import annotations

from bitget_proto.testing import Result, Rule, check_driver
from bitget_proto.testing._kit.driver_thread import MakeDriver

PATIENCE = 0.3
"""In seconds."""

BUSY = 20.0
"""In seconds: for correct drivers on a busy machine. They never wait that long."""


def run_scenario(make_driver: MakeDriver, scenario: str, rule: Rule, words: str = "") -> Result:
    """Return the result of a scenario that breaks this rule, with `words` in it.

    If it does not, the machine may have been busy; the result with the default patience decides.
    """
    (result,) = check_driver(make_driver, [scenario], patience=PATIENCE).results
    if result.broken is not rule or words not in str(result):
        (result,) = check_driver(make_driver, [scenario]).results
    return result
