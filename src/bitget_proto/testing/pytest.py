"""The conformance kit as tests of your own: one for each scenario, in three lines.

    from bitget_proto.testing.pytest import scenarios
    from mypackage import make_driver

    test_the_driver_contract = scenarios(make_driver)

Rules of this file
- pytest is imported here and nowhere else in the package.
- It is no plugin: nothing happens until a test file asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from ._kit.harness import MakeDriver
from ._kit.report import Report
from ._kit.runner import PATIENCE, SCENARIOS, named, play
from ._kit.scenario import Scenario


def scenarios(
    make_driver: MakeDriver,
    *,
    patience: float = PATIENCE,
    without: Collection[str] = (),
    known: Collection[str] = (),
) -> Callable[[Scenario], None]:
    """A test for each scenario of the conformance kit: assign it to a name that begins with `test_`.

    `make_driver` and `patience` are those of `check_driver`. `without` are names of scenarios that are left out, `known` of
    those that the driver is known to break: they are expected to fail, and it is a failure when they do not.

    Raises: ValidationError for a name that no scenario has.
    """
    left_out, broken = set(map(named, without)), set(map(named, known))
    expected = pytest.mark.xfail(reason="known to be broken", strict=True)
    parameters = [
        pytest.param(one, id=one.name.replace(" ", "-"), marks=[expected] if one in broken else [])
        for one in SCENARIOS
        if one not in left_out
    ]

    @pytest.mark.parametrize("scenario", parameters)
    def test(scenario: Scenario) -> None:
        result = play(scenario, make_driver, patience=patience)
        if result.not_played:
            pytest.skip(result.not_played)
        Report([result]).check()

    return test
