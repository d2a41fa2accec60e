"""Reports of the conformance kit.

A broken rule is reported under its name in the driver contract, with what was observed. A scenario
that was not played does not count as kept.
"""

from collections.abc import Iterator, Sequence

import attrs

from ..._values.set_module import set_module
from .driver_checks import Rule
from .recording import DriverStep
from .scenario import Scenario

_FOLD = 3
"""Length of a repeating pattern of steps; a long repetition is counted instead of shown."""


@attrs.frozen
class Break:
    """A broken rule, and what was observed."""

    rule: Rule
    what: str

    def __str__(self) -> str:
        return f'{self.what}.\n    Rule "{self.rule.value}": {self.rule.sentence}'


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class Result:
    """The result of one scenario."""

    scenario: Scenario
    breaks: Sequence[Break] = ()
    """The first is the probable cause; the others may be its consequences."""

    steps: Sequence[DriverStep] = attrs.field(default=(), repr=False)
    """All calls of the driver on its connection."""

    seconds: float = 0.0
    not_played: str = ""
    """Why the scenario was not played; empty when it was."""

    @property
    def kept(self) -> bool:
        """Whether the scenario was played and no rule was broken."""
        return not self.breaks and not self.not_played

    @property
    def broken(self) -> Rule | None:
        """The first broken rule, or None."""
        return self.breaks[0].rule if self.breaks else None

    def __str__(self) -> str:
        """One line if no rule was broken; otherwise a line for the scenario and the breaks."""
        if self.not_played:
            return f"not played  {self.scenario.name}: {self.not_played}"
        if not self.breaks:
            return f"kept        {self.scenario.name}  ({self.seconds * 1000:.0f} ms)"
        breaks = "\n  ".join(map(str, self.breaks))
        return f"BROKEN      {self.scenario.name}: {self.scenario.tells}\n  {breaks}"

    def story(self) -> str:
        """Return the steps, one per line; long repetitions are counted instead of shown."""
        return "\n".join(_folded(self.steps))


@set_module("bitget_proto.testing")
@attrs.frozen
class Report:
    """The results of all scenarios. Print it, or look at `kept`."""

    results: Sequence[Result]

    @property
    def kept(self) -> bool:
        """Whether no rule was broken and at least one scenario was played."""
        return not any(result.breaks for result in self.results) and any(
            result.kept for result in self.results
        )

    @property
    def broken(self) -> frozenset[Rule]:
        """The rules that were broken: the first break of each scenario."""
        return frozenset(result.broken for result in self.results if result.broken is not None)

    def __getitem__(self, scenario: str) -> Result:
        """Return the result of the scenario with this name.

        Raises: KeyError when it is not in the report.
        """
        for result in self.results:
            if result.scenario.name == scenario:
                return result
        raise KeyError(scenario)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.summary])

    @property
    def summary(self) -> str:
        """A summary in one line."""
        kept = sum(result.kept for result in self.results)
        broken = sum(bool(result.breaks) for result in self.results)
        rest = len(self.results) - kept - broken
        summary = f"{kept} scenarios kept, {broken} broken" + (
            f", {rest} not played" if rest else ""
        )
        if broken:
            summary += "; rules broken: " + ", ".join(
                rule.value for rule in Rule if rule in self.broken
            )
        return summary

    def check(self) -> None:
        """Check that no rule was broken.

        Raises: ContractBroken, an AssertionError, with the broken rules and the steps.
        """
        for result in self.results:
            if result.breaks:
                raise ContractBroken(result)


@set_module("bitget_proto.testing")
class ContractBroken(AssertionError):
    """A driver broke a rule of the driver contract; `result` has the details."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result}\nThe steps:\n{result.story()}")
        self.result = result


def _folded(steps: Sequence[DriverStep]) -> Iterator[str]:
    begin = 0
    while begin < len(steps):
        kinds = set(map(_kind, steps[begin : begin + _FOLD]))
        end = begin
        while end < len(steps) and _kind(steps[end]) in kinds:
            end += 1
        shown = end if end - begin <= 4 * _FOLD else begin + 2 * _FOLD
        yield from map(str, steps[begin:shown])
        if shown < end:
            yield f"{'':>12} … {end - shown} more like these …"
        begin = end


def _kind(step: DriverStep) -> tuple[str, str]:
    return step.call, step.what[:6]
