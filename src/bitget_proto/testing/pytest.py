"""Runs the conformance kit under pytest, one test per scenario.

    from bitget_proto.testing.pytest import scenarios
    from mypackage import make_driver

    test_the_driver_contract = scenarios(make_driver)

This is the only module of the package that imports pytest. It is not a pytest plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pytest

from ._kit.driver_thread import MakeDriver, MakeSessionDriver
from ._kit.report import Report, Result
from ._kit.runner import (
    PATIENCE,
    SCENARIOS,
    SESSION_SCENARIOS,
    check_thread,
    named,
    play,
    play_session,
)
from ._kit.scenario import Scenario


def scenarios(
    make_driver: MakeDriver,
    *,
    patience: float = PATIENCE,
    without: Collection[str] = (),
    known: Collection[str] = (),
    main_thread: bool = False,
) -> Callable[[Scenario], None]:
    """Return a parametrized test with one case per scenario.

    Assign it to a name that begins with `test_`. `make_driver`, `patience` and `main_thread` are
    those of `check_driver`. `without` names scenarios to leave out. `known` names scenarios that
    the driver is known to break: they are expected to fail, and the test fails when they pass.

    Raises: ValidationError for an unknown scenario name.
    """

    def run(scenario: Scenario) -> Result:
        return play(scenario, make_driver, patience=patience, main_thread=main_thread)

    return _test(SCENARIOS, run, without, known, main_thread=main_thread)


def session_scenarios(
    make_session_driver: MakeSessionDriver,
    *,
    patience: float = PATIENCE,
    without: Collection[str] = (),
    known: Collection[str] = (),
    main_thread: bool = False,
) -> Callable[[Scenario], None]:
    """Return a parametrized test with one case per scenario of `check_session_driver`.

    The arguments are those of `scenarios`.

    Raises: ValidationError for an unknown scenario name.
    """

    def run(scenario: Scenario) -> Result:
        return play_session(
            scenario, make_session_driver, patience=patience, main_thread=main_thread
        )

    return _test(SESSION_SCENARIOS, run, without, known, main_thread=main_thread)


def _test(
    scenarios: Sequence[Scenario],
    run: Callable[[Scenario], Result],
    without: Collection[str],
    known: Collection[str],
    *,
    main_thread: bool,
) -> Callable[[Scenario], None]:
    left_out, broken = ({named(name, scenarios) for name in names} for names in (without, known))
    expected = pytest.mark.xfail(reason="known to be broken", strict=True)
    parameters = [
        pytest.param(one, id=one.name.replace(" ", "-"), marks=[expected] if one in broken else [])
        for one in scenarios
        if one not in left_out
    ]

    @pytest.mark.parametrize("scenario", parameters)
    def test(scenario: Scenario) -> None:
        check_thread(main_thread=main_thread)
        result = run(scenario)
        if result.not_played:
            pytest.skip(result.not_played)
        Report([result]).check()

    return test
