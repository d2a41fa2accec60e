"""The kit reports each faulty driver of a session with the rule that it breaks, in real time."""

from __future__ import annotations

import pytest

from bitget_proto import Dial, LinkHangup
from bitget_proto.testing import Result, Rule, check_session_driver
from bitget_proto.testing._kit import scenarios_dials
from bitget_proto.testing.pytest import session_scenarios

from .faulty_session_drivers import SESSION_FAULTS, FiresTimersBeforeItReads
from .patience import BUSY, PATIENCE
from .selector_session_driver import SelectorSessionDriver

pytestmark = pytest.mark.slow

test_the_correct_driver_keeps_every_rule = pytest.mark.slow(
    session_scenarios(SelectorSessionDriver, patience=BUSY)
)


def run_scenario(driver: type[SelectorSessionDriver], scenario: str, rule: Rule) -> Result:
    """Return the result; if it is not the expected one, that with the default patience."""
    (result,) = check_session_driver(driver, [scenario], patience=PATIENCE).results
    if result.broken is not rule:
        (result,) = check_session_driver(driver, [scenario]).results
    return result


@pytest.mark.parametrize(
    ("driver", "rule", "scenario"),
    SESSION_FAULTS,
    ids=[driver.__name__ for driver, _, _ in SESSION_FAULTS],
)
def test_a_faulty_driver_is_reported_with_the_rule_that_it_breaks(
    driver: type[SelectorSessionDriver], rule: Rule, scenario: str
) -> None:
    result = run_scenario(driver, scenario, rule)
    assert result.broken is rule, f"{result}\n{result.story()}"


def test_every_rule_about_links_has_a_faulty_driver() -> None:
    assert {rule for _, rule, _ in SESSION_FAULTS} >= {Rule.DIAL, Rule.LINK}


class ReportsTheEndOfLinksThatItHasLeft(SelectorSessionDriver):
    def hang_up(self, output: LinkHangup) -> None:
        super().hang_up(output)
        self.calls.append(lambda session, now: session.lost(output.link, now, "left"))


def test_one_late_lost_of_each_link_breaks_no_rule() -> None:
    check_session_driver(
        ReportsTheEndOfLinksThatItHasLeft, ["two links", "dial given up"], patience=BUSY
    ).check()


def test_a_link_that_comes_late_may_be_given_up() -> None:
    check_session_driver(FiresTimersBeforeItReads, ["late link"], patience=BUSY).check()


class RequestsNothing(SelectorSessionDriver):
    """From the second link on."""

    def dial(self, output: Dial) -> None:
        super().dial(output)
        if output.link > 1:
            self.links[output.link].out = b""


def test_a_driver_that_never_dials_in_time_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios_dials, "_DIALS", 2)
    report = check_session_driver(RequestsNothing, ["dial given up"])
    assert "none of 2 dials was answered within dial_timeout" in str(report)
