"""Each faulty driver is caught, and for the right rule; the correct one is left alone. Real time: see `faulty_drivers`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitget_proto.testing import Rule

from .faulty_drivers import FAULTS, DoesNotReturn, LeavesAThread, LeavesItsSocketOpen
from .patience import played
from .selector_driver import SelectorDriver


@pytest.fixture(autouse=True)
def what_faulty_drivers_leave_behind() -> Iterator[None]:
    yield
    for rests in (DoesNotReturn.rests, LeavesAThread.rests):
        rests.set()
        rests.clear()
    while LeavesItsSocketOpen.left:
        LeavesItsSocketOpen.left.pop().close()


@pytest.mark.parametrize(
    ("driver", "rule", "scenario"), FAULTS, ids=[driver.__name__ for driver, _, _ in FAULTS]
)
def test_a_faulty_driver_is_caught_for_the_rule_that_it_breaks(
    driver: type[SelectorDriver], rule: Rule, scenario: str
) -> None:
    result = played(driver, scenario, rule)
    assert result.broken is rule, f"{result}\n{result.story()}"


def test_every_rule_is_broken_by_somebody() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(Rule)
