"""The kit reports each faulty driver with the rule that it breaks, in real time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitget_proto.testing import Rule

from .faulty_drivers import FAULTS, DoesNotReturn, LeavesAThread, LeavesItsSocketOpen
from .patience import run_scenario
from .selector_driver import SelectorDriver


@pytest.fixture(autouse=True)
def leftovers_of_faulty_drivers() -> Iterator[None]:
    yield
    for rests in (DoesNotReturn.rests, LeavesAThread.rests):
        rests.set()
        rests.clear()
    while LeavesItsSocketOpen.left:
        LeavesItsSocketOpen.left.pop().close()


@pytest.mark.parametrize(
    ("driver", "rule", "scenario"), FAULTS, ids=[driver.__name__ for driver, _, _ in FAULTS]
)
def test_a_faulty_driver_is_reported_with_the_rule_that_it_breaks(
    driver: type[SelectorDriver], rule: Rule, scenario: str
) -> None:
    result = run_scenario(driver, scenario, rule)
    assert result.broken is rule, f"{result}\n{result.story()}"


def test_every_rule_has_a_faulty_driver() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(Rule) - {Rule.DIAL, Rule.LINK}
