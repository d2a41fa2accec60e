"""Drivers that are not right are played with little patience, since what is broken is waited for so long."""

from __future__ import annotations

from bitget_proto.testing import Result, Rule, check_driver
from bitget_proto.testing._kit.harness import MakeDriver

PATIENCE = 0.3
"""In seconds."""

BUSY = 20.0
"""In seconds: for drivers that are right, whatever else the machine does meanwhile. They never wait for so long."""


def played(make_driver: MakeDriver, scenario: str, rule: Rule, words: str = "") -> Result:
    """The result of a scenario that breaks this rule, in these words.

    When it does not, the machine may have been busy with something else: then the default patience decides.
    """
    (result,) = check_driver(make_driver, [scenario], patience=PATIENCE).results
    if result.broken is not rule or words not in str(result):
        (result,) = check_driver(make_driver, [scenario]).results
    return result
